"""Which images of a section have pages, what is drawn for them, and how it comes about."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from evaluation.site.content import Result, Section, image_slug
from evaluation.site.drawing import STYLE, Picture, Wanted, draw, input_name, names_of
from wildhoi.dataset import DataFolder, find_data
from wildhoi.engine import Local, map_shards
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import canonical_json, sha256_text
from wildhoi.open_scenes.truth import truth_of
from wildhoi.threads import one_thread

EXTREMES = 4
"""Best and worst images on a method's page."""
SCORED = "scored"
BARE = "drawn without photographs: the inputs of {} are not at hand; --data says where they are"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Shot:
    """An image, its place in the section's field, and keys of what is drawn: of results by the names of their pages."""

    image_id: str
    object: str
    slug: str
    place: int
    input: str
    truth: str
    keys: Mapping[str, str]


@dataclass(frozen=True)
class Gallery:
    """The images of a section.

    Attributes:
        data: the data folder; None where nothing can be drawn.
        shots: that have a page, by object and id.
        extremes: of each result, by the name of its page: its best images, then its worst, of all there are.
        trouble: why nothing is drawn.
        note: what is drawn without.
    """

    data: DataFolder | None = None
    shots: tuple[Shot, ...] = ()
    extremes: Mapping[str, tuple[tuple[Shot, ...], tuple[Shot, ...]]] = field(default_factory=dict)
    trouble: str = ""
    note: str = ""

    @property
    def every(self) -> tuple[Shot, ...]:
        """With the extremes, which show one result each."""
        return (*self.shots, *(shot for ends in self.extremes.values() for end in ends for shot in end))

    @cached_property
    def paged(self) -> frozenset[str]:
        """The ids of the images that have a page."""
        return frozenset(shot.image_id for shot in self.shots)

    def files(self) -> set[str]:
        """What the pages show, relative to the site, whether it is there or not."""
        found = {name for shot in self.every for key in shot.keys.values() for name in names_of(key)}
        for shot in self.shots:
            found |= {input_name(shot.input), *names_of(shot.truth)}
        return found


@dataclass(frozen=True, eq=False)
class Part:
    """A section as the pages have it: with its images, and which of their files are there."""

    section: Section
    gallery: Gallery
    drawn: frozenset[str]

    def has(self, name: str) -> bool:
        """Whether a file of the site is there."""
        return name in self.drawn


def find_folder(section: Section, given: Mapping[str, DataFolder], stack: ExitStack) -> DataFolder | str:
    """The data of a section; why there are none, where there are none."""
    manifest = next((result.manifest for result in section.measured if result.manifest is not None), None)
    if section.field is None or manifest is None:
        return section.trouble or "no submission lies beside the scores"
    key = section.table.key
    try:
        data = given.get(manifest.dataset) or stack.enter_context(truth_of(manifest.dataset))
        if data.revision_of(key.split) != key.revision:
            return f"{data.path} is another revision than the scores': {data.revision_of(key.split)}"
    except (InputError, MissingAssetError) as error:
        return str(error)
    return data


def named_folders(places: Sequence[str | Path]) -> dict[str, DataFolder]:
    """Data folders by the name of what is in them.

    Raises:
        InputError: a folder is no data folder, or two are of one data set.
        MissingAssetError: one is not at hand.
    """
    found: dict[str, DataFolder] = {}
    for place in places:
        data = find_data(place)
        if data.name in found:
            raise InputError(f"--data {place}: the data {data.name} are given twice; leave one of them out")
        found[data.name] = data
    return found


def plan_gallery(section: Section, data: DataFolder, per_object: int | None) -> Gallery:
    """Choose the images with a page, evenly over the ids of each object, and the extremes of each method."""
    assert section.field is not None
    objects = section.field.objects
    rows = [place for name in sorted(set(objects)) for place in _evenly(objects, name, per_object)]
    shots = {row: _shot(section, data, row, section.measured) for row in rows}
    extremes = {
        result.slug: [tuple(_shot(section, data, row, [result]) for row in end) for end in _extremes(section, result)]
        for result in section.measured
    }
    note = "" if data.categories(section.table.key.split, "samples") else BARE.format(data.name)
    ends = {slug: (best, worst) for slug, (best, worst) in extremes.items()}
    return Gallery(data, tuple(shots.values()), ends, note=note)


def _evenly(objects: Sequence[str], name: str, count: int | None) -> list[int]:
    rows = [row for row, each in enumerate(objects) if each == name]
    if count is None or len(rows) <= count:
        return rows
    return [rows[place] for place in np.linspace(0, len(rows) - 1, count).round().astype(int)]


def _extremes(section: Section, result: Result) -> tuple[list[int], list[int]]:
    """The best images by the main metric, and the worst with those that failed first."""
    metric = section.table.sorted_by
    values = (1 if metric.lower_is_better else -1) * section.values(result, metric.name)
    assert result.contestant is not None
    failed = [row for row, status in enumerate(result.contestant.status) if status != SCORED]
    order = [int(row) for row in np.argsort(values, kind="stable") if np.isfinite(values[row])]
    return order[:EXTREMES], [*failed, *order[::-1]][:EXTREMES]


def _shot(section: Section, data: DataFolder, row: int, results: Sequence[Result]) -> Shot:
    assert section.field is not None
    image_id, name = section.field.image_ids[row], section.field.objects[row]
    keys = {
        result.slug: _key(section, data, image_id, name, str(result.entry.sha256))
        for result in results
        if result.contestant is not None and result.contestant.status[row] == SCORED
    }
    seen, truth = (_key(section, data, image_id, name, what) for what in ("input", "truth"))
    return Shot(image_id, name, image_slug(image_id), row, seen, truth, keys)


def _key(section: Section, data: DataFolder, image_id: str, name: str, what: str) -> str:
    """Names everything that a picture depends on."""
    split = section.table.key.split
    inputs = [data.checksums.get(f"samples/{name}/{file.name}") for file in _samples(data, split, name)]
    body = section.measured[0].entry.body
    content = [STYLE, data.name, data.revision_of(split), inputs, body, split, image_id, what]
    return sha256_text(canonical_json(content))[:20]


def _samples(data: DataFolder, split: str, name: str) -> list[Path]:
    return data.files("samples", split, [name]) if name in data.categories(split, "samples") else []


def draw_gallery(
    section: Section, gallery: Gallery, out: Path, *, workers: int = 1, progress: Progress | None = None
) -> None:
    """Draw what is not drawn yet.

    Raises:
        InputError: the data or a submission are not what they were.
        MissingAssetError: the body model or a template is not there.
        RunError: a process died.
    """
    pictures = _pending(section, gallery, out)
    told = None if progress is None else (lambda done, total: progress(f"drawing {section.slug}", done, total))
    # pictures this small gain nothing from threads, and where cores are busy they wait for each other
    with one_thread(), TemporaryDirectory(prefix="wildhoi-site-") as folder:
        map_shards(draw, pictures, Path(folder), engine=Local(workers), progress=told if pictures else None)


def _pending(section: Section, gallery: Gallery, out: Path) -> dict[str, Picture]:
    """What is to be drawn, by image."""
    assert gallery.data is not None
    folders = {result.slug: result.folder for result in section.measured}
    wanted: dict[str, dict[str, Path | None]] = {}
    for shot in gallery.every:
        wanted.setdefault(shot.image_id, {}).update({key: folders[slug] for slug, key in shot.keys.items()})
    paged = {shot.image_id: shot for shot in gallery.shots}
    objects = {shot.image_id: shot.object for shot in gallery.every}
    split, made = section.table.key.split, {}
    for image_id, keys in wanted.items():
        page = paged.get(image_id)
        truth = {} if page is None else {page.truth: None}
        rows = tuple(Wanted(key, place) for key, place in (truth | keys).items() if not _is_drawn(out, names_of(key)))
        own = None if page is None or _is_drawn(out, [input_name(page.input)]) else page.input
        if rows or (own is not None and _samples(gallery.data, split, objects[image_id])):
            picture = Picture(image_id, objects[image_id], gallery.data.path, split, own, rows, out)
            made[sha256_text(image_id)[:32]] = picture
    return made


def _is_drawn(out: Path, names: Sequence[str]) -> bool:
    return all((out / name).is_file() for name in names)
