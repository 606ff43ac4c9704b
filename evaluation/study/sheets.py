"""The pictures of an image: the input, and of both methods the meshes over it and from around, alike in all else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from wildhoi.body import BodyModel, load_body
from wildhoi.dataset import find_sample, open_folder
from wildhoi.errors import InputError
from wildhoi.geometry import axis_rotation, project
from wildhoi.schema import Annotation, BodyKind, Camera, Reconstruction, Sample
from wildhoi.show.figure import region_of
from wildhoi.show.scene import OBJECT, Meshes, bounds, make_meshes, render
from wildhoi.show.views import Space, space_around
from wildhoi.show.window import faded, ground, picture_in, window_around, with_aspect
from wildhoi.templates import find_template, load_template
from wildhoi.threads import one_thread

OVER, VIEW = 512, 288
"""Pixels: sides of the pictures over the input, and of a view from around."""
TURNS = tuple(range(0, 360, 60))
"""Degrees that the views are turned about the vertical of the image's camera; the first is seen as the picture is."""
REACH = 2.5
"""Metres from the pelvis that views show at least of a far object; an arrow points to one that is all beyond."""
QUALITY = 82
ARROW = 13
"""Pixels of that arrow."""
INPUT, OVERLAID, AROUND = "input", "over", "around"


@dataclass(frozen=True, eq=False)
class Pair:
    """Two reconstructions of an image and what it takes to draw them.

    Attributes:
        truth: says which image, object and camera; what it says of body and pose is not looked at.
        rows: the reconstructions.
        data: folder of the data set.
        split: that the image is in.
        body: kind of the body model.
        flat: whether hand poses are complete by themselves.
    """

    truth: Annotation
    rows: tuple[Reconstruction, Reconstruction]
    data: Path
    split: str
    body: BodyKind
    flat: bool


def picture_names() -> list[str]:
    """What the pictures of an image are called: the input, then two of each reconstruction."""
    return [INPUT, *(f"{number}-{what}" for number in (0, 1) for what in (OVERLAID, AROUND))]


def draw_pair(pair: Pair, out: Path) -> None:
    """Write the pictures of a pair into one file, to be read by `read_pictures`.

    Raises:
        InputError: the image has no picture.
        MissingAssetError: the body model or the template is not there.
    """
    with one_thread():
        pictures = dict(zip(picture_names(), _pictures(pair), strict=True))
        packed = {name: np.frombuffer(_encoded(pixels), np.uint8) for name, pixels in pictures.items()}
    with out.open("wb") as stream:
        np.savez(stream, **packed)  # type: ignore[arg-type]  # its stub takes any array for its flag allow_pickle


def read_pictures(path: Path) -> dict[str, bytes]:
    """The pictures of a pair as WebP, by name."""
    with np.load(path, allow_pickle=False) as packed:
        return {name: packed[name].tobytes() for name in picture_names()}


def _encoded(pixels: UInt8[np.ndarray, "h w 3"]) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", quality=QUALITY, method=4)
    return stream.getvalue()


def _pictures(pair: Pair) -> list[UInt8[np.ndarray, "h w 3"]]:
    """The pictures in the order of their names."""
    sample, body = _sample(pair), load_body(pair.body, gender=pair.truth.gender, flat_hand_mean=pair.flat)
    template = load_template(find_template(_objects(pair.data), pair.truth.object, shipped=_ships(pair.data)))
    meshes = [make_meshes(row.human, row.object_pose, template, body) for row in pair.rows]
    camera = pair.truth.camera
    window = with_aspect(window_around(region_of(sample) or bounds(meshes[0].seen(camera)), area=OVER**2), 1.0)
    shown = picture_in(sample.image, sample.image_box, window)
    rotations = ring(camera)
    space = _space(meshes, rotations, body)
    pictures = [shown]
    for row, mesh in zip(pair.rows, meshes, strict=True):
        pictures.append(render(mesh, row.camera or sample.camera or camera, window, faded(shown), 0.94))
        pictures.append(np.concatenate([_view(mesh, space, rotation, body) for rotation in rotations], axis=1))
    return pictures


def _sample(pair: Pair) -> Sample:
    sample = find_sample(open_folder(pair.data), pair.truth.image_id, pair.split)
    if sample is None or sample.image is None:
        raise InputError(
            f"{pair.data}: has no picture of {pair.truth.image_id}, and a study shows it; convert the data with their "
            "pictures, or choose other images"
        )
    return sample


@lru_cache(maxsize=2)
def _objects(data: Path) -> Path:
    return open_folder(data).objects


@lru_cache(maxsize=2)
def _ships(data: Path) -> bool:
    return open_folder(data).body_model == "open"


def ring(camera: Camera) -> list[Float[np.ndarray, "3 3"]]:
    """The rotations of the views: as the camera looks, and turned about its own vertical by 60 degrees each."""
    vertical = np.array([0.0, 1.0, 0.0])
    return [axis_rotation(vertical, np.radians(turn)) @ camera.rotation for turn in TURNS]


def _space(meshes: Sequence[Meshes], rotations: Sequence[Float[np.ndarray, "3 3"]], body: BodyModel) -> Space:
    """What all views show, at one scale: both bodies, and of both objects what is near enough."""
    points = []
    for mesh in meshes:
        people, things = mesh.vertices[: body.n_vertices], mesh.vertices[body.n_vertices :]
        far = np.linalg.norm(things, axis=1, keepdims=True)
        points += [people, things * np.minimum(1.0, REACH / np.maximum(far, REACH))]
    named: Mapping[str, Float[np.ndarray, "3 3"]] = {
        "side" if number == 0 else str(number): rotation for number, rotation in enumerate(rotations)
    }
    return space_around(np.concatenate(points), named, (VIEW, VIEW))


def _view(
    meshes: Meshes, space: Space, rotation: Float[np.ndarray, "3 3"], body: BodyModel
) -> UInt8[np.ndarray, "h w 3"]:
    """The meshes from one side; an arrow at the edge where the object is wholly beyond it."""
    camera = space.camera(rotation)
    pixels = render(meshes, camera, space.window, ground(space.window))
    things = meshes.vertices[body.n_vertices :] @ camera.rotation.T + camera.translation
    seen = project(things, camera.focal, camera.principal_point)
    inside = ((seen >= 0) & (seen <= np.array(space.size) - 1)).all(axis=1)
    return pixels if inside.any() else _pointing(pixels, seen.mean(axis=0))


def _pointing(pixels: UInt8[np.ndarray, "h w 3"], target: Float[np.ndarray, "2"]) -> UInt8[np.ndarray, "h w 3"]:
    """A triangle in the object's colour near the edge, towards a point outside."""
    middle = (np.array([pixels.shape[1], pixels.shape[0]]) - 1) / 2
    towards = (target - middle) / np.linalg.norm(target - middle)
    tip = middle + towards * (middle / np.maximum(np.abs(towards), 1e-9)).min() - 4 * towards
    across, foot = np.array([-towards[1], towards[0]]), tip - ARROW * towards
    corners = [tip, foot + 0.6 * ARROW * across, foot - 0.6 * ARROW * across]
    drawn = Image.fromarray(pixels)
    colour = tuple(round(255 * value) for value in OBJECT)
    ImageDraw.Draw(drawn).polygon([(float(x), float(y)) for x, y in corners], fill=colour)
    return np.asarray(drawn)
