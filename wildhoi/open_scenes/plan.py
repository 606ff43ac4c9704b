"""The open set as a plan: scenes solved in chunks, then turned into samples, annotations and layouts."""

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch

from wildhoi.body import load_body, open_body
from wildhoi.convert.conversion_report import ConversionReport, ObjectReport
from wildhoi.convert.parts import KINDS, Kind, Log, Part
from wildhoi.convert.pipeline import GROUNDWORK, Conversion, Progress
from wildhoi.convert.template_report import TemplateReport, write_info
from wildhoi.dataset.folder import SPLITS
from wildhoi.engine import Engine, map_shards
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import canonical_json, sha256_file, sha256_text
from wildhoi.layout import CONVERTING
from wildhoi.objects import TABLE, Category, find_category, load_categories
from wildhoi.open_scenes.assembling import Source, read_annotations, read_layouts, read_samples
from wildhoi.open_scenes.making import draw_role, make_scenes
from wildhoi.open_scenes.scene_files import write_scenes
from wildhoi.open_scenes.version import FOLDER, load_version
from wildhoi.templates import SHIPPED, load_template
from wildhoi.threads import one_thread

NAME = "open"
DEVICES = ("cpu", "cuda")
SMALLEST, LARGEST = 64, 2048
"""Sides of pictures, pixels: below nothing is told, above a picture takes gigabytes to draw."""
CHUNK = 48
"""Scenes of a part: solved together, by a few tens for each of their interactions."""
READERS: Mapping[Kind, Callable[[Source, Log], Any]] = {
    "samples": read_samples,
    "annotations": read_annotations,
    "layouts": read_layouts,
}


def _of_version(name: str) -> Any:
    """A field that is as version.toml has it unless something else is asked for."""
    return field(default_factory=lambda: getattr(load_version(), name))


@dataclass(frozen=True)
class Request:
    """What of the set is asked for, and what it is called then.

    `kinds` limits the interactions, `layouts` counts the further views of a training scene.
    """

    objects: Sequence[str] = _of_version("objects")
    train: int = _of_version("train")
    test: int = _of_version("test")
    seed: int = _of_version("seed")
    size: int = 256
    layouts: int = _of_version("layouts")
    kinds: Sequence[str] = ()
    device: str = "cpu"
    name: str = NAME


@dataclass(frozen=True)
class Chunk:
    """Scenes that are solved together: their names, and what they are of."""

    object: str
    names: tuple[str, ...]
    seed: int
    kinds: tuple[str, ...]
    device: str

    @property
    def ids(self) -> tuple[str, ...]:
        """The scenes, for messages."""
        return self.names


def plan_open(request: Request, out: Path) -> Conversion:
    """Plan a data set of the open set's form.

    Raises:
        InputError: an object, an interaction, a count or a size that is none.
        MissingAssetError: an object has no shipped template.
    """
    _require_counts(request)
    _require_device(request.device)
    categories = _choose(request)
    work = out.resolve() / CONVERTING / GROUNDWORK
    chunks: dict[str, Chunk] = {}
    parts: list[Part] = []
    for category in categories:
        for split, count in (("train", request.train), ("test", request.test)):
            for path, names in _pieces(category.name, split, count, request, work):
                if path.parent == work:
                    chunks[path.name] = Chunk(category.name, names, request.seed, tuple(request.kinds), request.device)
                parts += _parts(category.name, split, path, names, request)
    version = load_version()
    published = request.seed == version.seed and not request.kinds

    def prepare(folder: Path) -> Mapping[str, ObjectReport]:
        names = [category.name for category in categories]
        return {name: _copy_template(name, folder) for name in [*names, *_template_only(request)]}

    def groundwork(folder: Path, engine: Engine, progress: Progress | None) -> None:
        told = None if progress is None else (lambda done, total: progress("scenes", done, total))
        map_shards(solve_chunk, chunks, folder, engine=engine, fingerprint=_generator(), progress=told)

    return Conversion(
        request.name,
        "open",
        None if published else "-".join([f"seed-{request.seed}", *request.kinds]),
        {"seed": request.seed, "size": request.size, "interactions": [*request.kinds], "generator": _generator()},
        parts,
        prepare,
        lambda report: [_attempts(report), f"made with seed {request.seed}, pictures of {request.size} pixels"],
        version=version.version,
        groundwork=groundwork,
    )


def _choose(request: Request) -> list[Category]:
    """The categories asked for, each once, with interactions and a template."""
    able = ", ".join(category.name for category in load_categories().values() if category.interactions)
    categories = [find_category(name) for name in dict.fromkeys(request.objects)]
    for category in categories:
        if not (SHIPPED / category.name).is_dir():
            raise MissingAssetError(f"{category.name}: no template ships; the open set can have {able}")
        if not category.interactions:
            raise InputError(f"{category.name}: no interaction is known, so no scene can be made; choose of {able}")
        unknown = [kind for kind in request.kinds if kind not in category.interactions]
        if unknown:
            raise InputError(
                f"interaction {unknown[0]!r} of {category.name} is unknown, want {', '.join(category.interactions)}"
            )
    return categories


def _require_counts(request: Request) -> None:
    """Refuse numbers that are none, and a request for nothing."""
    most = sys.maxsize
    limits = {"train": (0, most), "test": (0, most), "layouts": (0, most), "size": (SMALLEST, LARGEST)}
    for name, (least, largest) in limits.items():
        value = getattr(request, name)
        if not least <= value <= largest:
            wanted = f"at least {least}" if largest == most else f"{least} to {largest}"
            raise InputError(f"--{name}: got {value}, want {wanted}")
    if not request.objects or request.train + request.test < 1:
        raise InputError("no image is asked for; want at least one object, and --train or --test above 0")


def _require_device(name: str) -> None:
    """Refuse a device that this machine has not, or that computes in other precision."""
    try:
        there = torch.device(name).type in DEVICES and bool(torch.zeros(1, dtype=torch.float64, device=name) == 0)
    except (RuntimeError, AssertionError):  # torch raises either, by how it was built
        there = False
    if not there:
        raise InputError(f"--device: got {name!r}, which this machine's PyTorch has not; use cpu")


def _template_only(request: Request) -> list[str]:
    """Shipped templates of objects that nobody is posed with yet; they are in the whole set alone."""
    whole = set(load_version().objects) <= set(request.objects)
    idle = [path.name for path in sorted(SHIPPED.iterdir()) if not find_category(path.name).interactions]
    return idle if whole else []


def _pieces(name: str, split: str, count: int, request: Request, work: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Files of scenes and the names that are taken from them: first those that ship, then those to be solved."""
    names = [f"{name}-{split}-{number:05}" for number in range(count)]
    stored = stored_scenes(name)
    shipped = 0
    if request.seed == load_version().seed and not request.kinds and split == "test" and stored.is_file():
        shipped = min(count, load_version().test)
    if shipped:
        yield stored, tuple(names[:shipped])
    for number, chunk in enumerate(_chunks_of(names[shipped:])):
        yield work / f"{name}-{split}-{number:05}.parquet", chunk


def _chunks_of(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Names in chunks."""
    return (tuple(names[start : start + CHUNK]) for start in range(0, len(names), CHUNK))


def stored_scenes(name: str) -> Path:
    """The file of an object's solved test scenes, which ship."""
    return FOLDER / "scenes" / f"{name}.parquet"


def _parts(name: str, split: str, path: Path, names: tuple[str, ...], request: Request) -> list[Part]:
    """The tables of a file of scenes; further views are for training."""
    kinds = [kind for kind in KINDS if kind != "layouts" or (split == "train" and request.layouts)]
    found = []
    for number, some in enumerate(_chunks_of(names)):
        source = Source(path, some, request.seed, request.size, request.layouts, request.device)
        key = f"{path.stem}-{number:03}.parquet"
        found += [Part(kind, name, split, key, READERS[kind], source) for kind in kinds]
    return found


def solve_chunk(chunk: Chunk, path: Path) -> None:
    """Solve scenes and write them as a file."""
    template, body = load_template(SHIPPED / chunk.object), load_body("open", device=chunk.device)
    with one_thread():
        made = make_scenes([draw_role(name, chunk.seed, template, chunk.kinds) for name in chunk.names], template, body)
    write_scenes(path, made.scenes, made.redrawn)


def _copy_template(name: str, out: Path) -> ObjectReport:
    """Put a shipped template into the data folder."""
    folder = out / "objects" / name
    shutil.copytree(SHIPPED / name, folder, dirs_exist_ok=True)
    template = load_template(SHIPPED / name)
    report = TemplateReport(
        vertices=list(template.mesh_sizes),
        faces=[len(template.faces)],
        keypoints=len(template.keypoints),
        contact_parts=len(template.contact_vertices),
    )
    write_info(folder, template, report)
    return ObjectReport(report)


@cache
def _generator() -> str:
    """A hash of everything that scenes and pictures are made with beside the code."""
    files = {path.relative_to(root).as_posix(): path for root in (FOLDER, SHIPPED) for path in root.rglob("*.*")}
    files |= {path.name: path for path in (TABLE, open_body.PATH)}
    return sha256_text(canonical_json({name: sha256_file(path) for name, path in sorted(files.items())}))


def _attempts(report: ConversionReport) -> str:
    """How many attempts did not hold."""
    refused = sum(report.reasons("redrawn").values())
    rows = sum(report.rows("annotations", split) for split in SPLITS)
    return f"scenes: {rows:,}, of {rows + refused:,} attempts; {refused:,} did not hold and were drawn again"
