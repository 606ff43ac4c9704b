"""Which data sets there are, where they are, and what a data folder holds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wildhoi.dataset.folder import SPLITS, DataFolder, cache_root, data_root, find_data, list_files
from wildhoi.errors import InputError, WildhoiError
from wildhoi.layout import IDENTITY, IMAGES, TABLES
from wildhoi.parquet import is_flat

SHOWN_IDS = 3
KNOWN: Mapping[str, str] = {
    "open-sample": "a few images of the open set, to try things out",
    "open": "people and objects posed and drawn by this package, with exact truth and without a licence",
    "wildhoi": "people and objects in videos of the Internet",
    "behave": "people and objects before four Kinects, under BEHAVE's licence",
}


@dataclass(frozen=True)
class Entry:
    """A data set by name: where it is, or how to get it."""

    name: str
    what: str
    path: str | None = None
    revision: str | None = None
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The entry as plain data."""
        return asdict(self)


def list_data_sets() -> list[Entry]:
    """Look for every data set that is known by name, and for what else `$WILDHOI_DATA` and the cache hold."""
    places = dict.fromkeys((data_root(), cache_root()))
    others = {path.parent.name for place in places for path in place.glob(f"*/{IDENTITY}")} - set(KNOWN)
    return [_entry(name) for name in (*KNOWN, *sorted(others))]


def _entry(name: str) -> Entry:
    try:
        folder = find_data(name)
        return Entry(name, KNOWN.get(name, "yours"), str(folder.path), folder.revision)
    except WildhoiError as error:
        return Entry(name, KNOWN.get(name, "yours"), problem=None if error.exit_code == 3 else str(error))


@dataclass(frozen=True)
class Counts:
    """Rows of an object by kind and split; `layouts` only in data sets that have any."""

    name: str
    samples: Mapping[str, int]
    annotations: Mapping[str, int]
    layouts: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain data."""
        return {key: value for key, value in asdict(self).items() if key != "layouts" or value}


@dataclass(frozen=True)
class Description:
    """What a data folder holds."""

    name: str
    path: str
    revision: str
    body_model: str
    track: str | None
    files: int
    bytes: int
    objects: tuple[Counts, ...]
    lists: tuple[str, ...]
    images: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The description as plain data."""
        return {**asdict(self), "objects": [entry.to_dict() for entry in self.objects]}

    def to_rich(self) -> Any:
        """The description for the eyes."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        kinds = [kind for kind in TABLES if kind in IMAGES or any(getattr(entry, kind) for entry in self.objects)]
        heads = [f"{split} {kind}" for kind in kinds for split in SPLITS]
        table = Table("object", *heads, box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for entry in self.objects:
            numbers = [getattr(entry, kind).get(split, 0) for kind in kinds for split in SPLITS]
            table.add_row(entry.name, *(f"{number:,}" if number else "-" for number in numbers))
        facts = [
            f"{self.name} at {self.path}",
            f"revision {self.revision}, bodies {self.body_model}" + (f", track {self.track}" if self.track else ""),
            f"{self.files} files, {self.bytes / 1e6:,.1f} MB"
            + (f", lists {', '.join(self.lists)}" if self.lists else ""),
            f"images such as {', '.join(self.images)}",
        ]
        return Group(*(Text(fact) for fact in facts), Text(), table)


def describe_data(folder: DataFolder) -> Description:
    """Count what a data folder holds, from the footers of its files.

    Raises:
        InputError: a file is no Parquet.
    """
    kinds = [kind for kind in TABLES if kind in IMAGES or any(folder.categories(split, kind) for split in SPLITS)]
    names = sorted({name for kind in kinds for split in SPLITS for name in folder.categories(split, kind)})
    files = list_files(folder.path)
    return Description(
        name=folder.name,
        path=str(folder.path),
        revision=folder.revision,
        body_model=folder.body_model,
        track=folder.track,
        files=len(files),
        bytes=sum((folder.path / file).stat().st_size for file in files),
        objects=tuple(
            Counts(name, *({s: _rows(folder, kind, s, name) for s in SPLITS} for kind in kinds)) for name in names
        ),
        lists=tuple(sorted(path.stem for path in folder.path.glob("lists/*.json"))),
        images=tuple(first_ids(folder)),
    )


def _rows(folder: DataFolder, kind: str, split: str, name: str) -> int:
    rows = 0
    for path in (folder.path / kind / name).glob(f"{split}-*.parquet"):
        try:
            rows += pq.read_metadata(path).num_rows
        except (OSError, pa.ArrowException):
            raise InputError(
                f"{path}: not a readable Parquet file; `wildhoi data verify` lists all that are not"
            ) from None
    return rows


def first_ids(folder: DataFolder) -> list[str]:
    """The first image of each of the first few tables, so that somebody has one to ask for."""
    tables = [path for kind in IMAGES for path in sorted(folder.path.glob(f"{kind}/*/*.parquet"))]
    found: dict[str, None] = {}
    for path in tables:
        try:
            with pq.ParquetFile(path) as file:
                if not is_flat(file.schema_arrow.field("image_id").type):
                    continue
                batch = next(file.iter_batches(1, columns=["image_id"]), None)
            first = None if batch is None else batch["image_id"][0].as_py()
        except (OSError, ValueError, KeyError, IndexError, pa.ArrowException):
            continue
        if isinstance(first, str):
            found[first] = None
        if len(found) == SHOWN_IDS:
            break
    return list(found)
