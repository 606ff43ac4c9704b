"""Pictures and turnable meshes of images: the input, the truth, and what every method made of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from evaluation.site.shapes import Parts, Shapes, Sparse, packed, sparse_body, sparse_object
from wildhoi.body import BodyModel, load_body
from wildhoi.dataset import DataFolder, find_sample, load_annotations
from wildhoi.dataset.folder import open_folder
from wildhoi.errors import InputError
from wildhoi.files import atomic_path, write_text
from wildhoi.schema import Annotation, BodyKind, Camera, Failure, Reconstruction, Sample
from wildhoi.show.figure import region_of
from wildhoi.show.scene import Meshes, bounds, render
from wildhoi.show.views import Space, directions, space_around, view
from wildhoi.show.window import Window, faded, ground, picture_in, window_around
from wildhoi.submission.folder import read_submission
from wildhoi.templates import find_template, load_template

STYLE = 1
"""Of what is drawn; raise it when pictures or scenes change, and all are drawn anew."""
OVER, FRONT, SIDE = "over", "front", "side"
AREA, VIEW = 300**2, (260, 260)
"""Pixels of an overlay, and of a view."""
EDGE = 0.25
"""Of the truth's extent, how much room views leave around it."""
QUALITY, SMOOTH = 82, 2
INK = (75, 82, 93)
TRUE = (0.72, 0.74, 0.77)
"""The colour of the true object behind a method's."""
KEPT_OPEN = 24
"""Submissions of which a process keeps the rows."""


@dataclass(frozen=True)
class Wanted:
    """What a method made of an image, to be drawn under a key; the truth where there is no submission."""

    key: str
    submission: Path | None


@dataclass(frozen=True)
class Picture:
    """An image and what is to be drawn of it, into `out`.

    Attributes:
        image_id: which.
        object: of it.
        data: the data folder.
        split: of the image.
        input: the key of the input's picture; None where it is there already.
        wanted: methods, and the truth.
        out: the site.
    """

    image_id: str
    object: str
    data: Path
    split: str
    input: str | None
    wanted: tuple[Wanted, ...]
    out: Path


def names_of(key: str) -> tuple[str, ...]:
    """The files, relative to the site, of what is drawn under a key."""
    return (*(f"pictures/{key}-{kind}.webp" for kind in (OVER, FRONT, SIDE)), f"scenes/{key}.js")


def input_name(key: str) -> str:
    """The file of an image's input."""
    return f"pictures/{key}-input.webp"


def draw(picture: Picture, done: Path) -> None:
    """Draw an image and everything wanted of it; `done` is written last, with what could not be drawn, and why.

    Raises:
        InputError: the data have no truth of it.
    """
    data = _folder(picture.data)
    truth = _truths(picture.data, picture.split, picture.object).get(picture.image_id)
    if truth is None:
        raise InputError(f"{picture.data}: has no truth of {picture.image_id!r} in split {picture.split}")
    has_samples = bool(data.categories(picture.split, "samples"))
    sample = find_sample(data, picture.image_id, picture.split) if has_samples else None
    scene = _Scene(sample, truth, _shapes(picture.data, truth.object, truth.gender))
    if picture.input is not None and sample is not None and sample.image is not None:
        _save(picture_in(sample.image, sample.image_box, scene.window), picture.out / input_name(picture.input))
    absent = {}
    for wanted in picture.wanted:
        row = truth if wanted.submission is None else _row(wanted.submission, picture.image_id)
        if isinstance(row, Failure):
            absent[wanted.key] = row.reason
        else:
            _draw_row(row, scene, (picture.out, wanted.key))
    write_text(done, json.dumps(absent))


@lru_cache(maxsize=4)
def _folder(path: Path) -> DataFolder:
    return open_folder(path)


@lru_cache(maxsize=32)
def _truths(path: Path, split: str, name: str) -> dict[str, Annotation]:
    return {truth.image_id: truth for truth in load_annotations(_folder(path), split, [name])}


def _row(path: Path, image_id: str) -> Reconstruction | Failure:
    """What a submission has of an image; one that is not valid takes nobody else's pictures away."""
    rows = _rows(path)
    return Failure(image_id, rows) if isinstance(rows, str) else rows.get(image_id, Failure(image_id, "no row"))


@lru_cache(maxsize=KEPT_OPEN)
def _rows(path: Path) -> dict[str, Reconstruction | Failure] | str:
    try:
        return {row.image_id: row for row in read_submission(path).rows}
    except InputError as error:
        return str(error)


@lru_cache(maxsize=32)
def _shapes(path: Path, name: str, gender: str) -> Shapes:
    data = _folder(path)
    body, person = _body(data.body_model, gender)
    template = load_template(find_template(data.objects, name, shipped=data.body_model == "open"))
    return Shapes(body, template, person, sparse_object(template))


@lru_cache(maxsize=4)
def _body(kind: BodyKind, gender: str) -> tuple[BodyModel, Sparse]:
    """A body and its few faces, once for all objects."""
    body = load_body(kind, gender=gender, flat_hand_mean=kind == "smplh")
    return body, sparse_body(body)


def _draw_row(row: Annotation | Reconstruction, scene: "_Scene", place: tuple[Path, str]) -> None:
    """Meshes over the picture, from the front, from the side, and as a scene that turns."""
    out, key = place
    shapes, sample, truth = scene.shapes, scene.sample, scene.truth
    parts = shapes.parts(row.human, row.object_pose)
    meshes = shapes.meshes(*parts)
    camera = row.camera or (None if sample is None else sample.camera) or truth.camera
    images = (scene.over(meshes, camera), *scene.views(meshes))
    for name, pixels in zip(names_of(key), images, strict=False):
        _save(pixels, out / name)
    _save_scene(shapes, parts, truth.camera, out / f"scenes/{key}.js")


class _Scene:
    """An image that several rows are drawn on: what is behind them is drawn once."""

    def __init__(self, sample: Sample | None, truth: Annotation, shapes: Shapes) -> None:
        self.sample, self.truth, self.shapes = sample, truth, shapes
        self.true = shapes.meshes(*shapes.parts(truth.human, truth.object_pose))
        self.window = self._window()
        self._grounds: dict[tuple[float, ...], list[UInt8[np.ndarray, "h w 3"]]] = {}

    def _window(self) -> Window:
        """The part of the frame that is shown: the crop, else what the truth covers."""
        region = None if self.sample is None else region_of(self.sample)
        if region is not None:
            return window_around(region, area=AREA)
        return window_around(bounds(self.true.seen(self.truth.camera)), 0.1, AREA)

    @cached_property
    def _photo(self) -> UInt8[np.ndarray, "h w 3"]:
        """The picture, stepped back; plain ground where there is none."""
        sample = self.sample
        if sample is None or sample.image is None:
            return ground(self.window)
        return faded(picture_in(sample.image, sample.image_box, self.window))

    def over(self, meshes: Meshes, camera: Camera) -> UInt8[np.ndarray, "h w 3"]:
        """Meshes over the picture."""
        return render(meshes, camera, self.window, self._photo, 0.94, supersampling=SMOOTH)

    def views(self, meshes: Meshes) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """From the front and the side, the true object in grey behind; at the truth's scale, or one that shows all."""
        turns = {name: rotation for name, rotation in directions(self.truth.camera).items() if name != "top"}
        middle = self.true.vertices.mean(axis=0)
        roomy = middle + (1 + EDGE) * (self.true.vertices - middle)
        space = space_around(np.concatenate([roomy, meshes.vertices]), turns, VIEW)
        key = (space.metre, *space.middle.tolist())
        if key not in self._grounds:
            self._grounds[key] = [self._ground(space, rotation) for rotation in turns.values()]
        for rotation, behind in zip(turns.values(), self._grounds[key], strict=True):
            yield render(meshes, space.camera(rotation), space.window, behind, supersampling=SMOOTH)

    def _ground(self, space: Space, rotation: Float[np.ndarray, "3 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """A view of the true object alone, with the scale."""
        things = len(self.shapes.object.kept)
        grey = Meshes(self.true.vertices[-things:], self.shapes.object.faces, np.tile(TRUE, (things, 1)))
        return _with_bar(view(grey, space, rotation, supersampling=SMOOTH), space)


def _with_bar(pixels: UInt8[np.ndarray, "h w 3"], space: Space) -> UInt8[np.ndarray, "h w 3"]:
    """The scale, at the lower right."""
    image = Image.fromarray(pixels)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    right, bottom, length = image.width - 10, image.height - 9, space.bar * space.metre
    pen.line([right - length, bottom, right, bottom], INK, 2)
    pen.text((right - length / 2, bottom - 3), f"{space.bar:g} m", INK, font, anchor="mb")
    return np.asarray(image)


def _save(pixels: UInt8[np.ndarray, "h w 3"], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, "WEBP", quality=QUALITY, method=4)


def _save_scene(shapes: Shapes, posed: Parts, camera: Camera, path: Path) -> None:
    """The meshes as a script, which a page that was opened from disk may load where it may fetch nothing."""
    parts = [
        {"faces": _save_faces(sparse, path.parent), "colour": colour, **packed(points)}
        for sparse, points, colour in ((shapes.person, posed[0], "person"), (shapes.object, posed[1], "object"))
    ]
    view = np.round(camera.rotation, 6).ravel().tolist()
    write_text(path, f"wildhoi.scene({json.dumps(path.stem)}, {json.dumps(parts)}, {json.dumps(view)});\n")


def _save_faces(sparse: Sparse, folder: Path) -> str:
    """The faces that many scenes share, as a script of their own."""
    path = folder / f"faces-{sparse.key}.js"
    if not path.is_file():
        write_text(path, f'wildhoi.faces("{sparse.key}", "{sparse.text}");\n')
    return sparse.key
