"""One part of a conversion: a video or a sequence becomes a Parquet file that carries what was noticed on the way."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from wildhoi.columns import arrow_schema, make_rows_table
from wildhoi.dataset.annotations import ANNOTATIONS, annotation_row
from wildhoi.dataset.layouts import LAYOUTS, layout_row
from wildhoi.dataset.samples import ROWS_PER_GROUP, SCHEMA, make_table, open_writer, sample_row
from wildhoi.errors import InputError
from wildhoi.schema import Annotation, Sample, SceneView
from wildhoi.submission.defects import Defect, DefectError

Kind = Literal["samples", "annotations", "layouts"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Found = dict[str, list[str]]

NOTES = b"wildhoi"
STRICT_HINT = "mend the release, or convert without --strict"


@dataclass
class Log:
    """What was odd about one part: the images of every reason, in the order in which they were met.

    `dropped` have no row; `incomplete` have one that lacks something. `redrawn` is no irregularity: the scenes of which
    a made-up data set drew another one for that reason, as many times as it did; to be noted by parts of one kind only.
    """

    dropped: Found = field(default_factory=lambda: defaultdict(list))
    incomplete: Found = field(default_factory=lambda: defaultdict(list))
    redrawn: Found = field(default_factory=lambda: defaultdict(list))

    def drop(self, image_id: str, reason: str) -> None:
        """Note that an image is left out."""
        self.dropped[reason].append(image_id)

    def lack(self, image_id: str, reason: str) -> None:
        """Note that the row of an image lacks something."""
        self.incomplete[reason].append(image_id)

    def redraw(self, scene_id: str, reason: str) -> None:
        """Note that a scene had to be drawn again."""
        self.redrawn[reason].append(scene_id)

    def defects(self) -> list[Defect]:
        """Every irregularity, as a defect of a release that should have none."""
        return irregular(self.dropped, self.incomplete)


def irregular(*found: Found) -> list[Defect]:
    """The images of every reason, as defects of a release that should have none."""
    return [
        Defect("irregular", reason, "a complete release", STRICT_HINT, image_id=image_id)
        for images_of in found
        for reason, images in images_of.items()
        for image_id in images
    ]


@dataclass(frozen=True)
class Part:
    """A piece of work of a conversion; those of one kind, object and split become one list of rows, in order.

    `read` is a function of a module, so that a fresh process finds it; `spec` is what it is given, small and plain.
    """

    kind: Kind
    object: str
    split: str
    key: str
    read: Callable[[Any, Log], Iterator[Sample] | Iterator[Annotation] | Iterator[SceneView]]
    spec: Any

    @property
    def ids(self) -> tuple[str, ...]:
        """What it is about, for messages: its images where their names are known."""
        return tuple(getattr(self.spec, "names", ())) or (f"{self.kind} of {self.object}, {self.split}",)


@dataclass(frozen=True)
class PartNotes:
    """What a part's file says of itself; `filled` are the columns that have any value."""

    rows: int
    videos: Sequence[str]
    filled: Sequence[str]
    dropped: Found
    incomplete: Found
    redrawn: Found


ROWS: Mapping[Kind, tuple[Callable[[Any], Mapping[str, Any]], Callable[[Sequence[Any]], pa.Table]]] = {
    "samples": (sample_row, make_table),
    "annotations": (annotation_row, partial(make_rows_table, ANNOTATIONS)),
    "layouts": (layout_row, partial(make_rows_table, LAYOUTS)),
}
SCHEMAS: Mapping[Kind, pa.Schema] = {
    "samples": SCHEMA,
    "annotations": arrow_schema(ANNOTATIONS),
    "layouts": arrow_schema(LAYOUTS),
}


def convert_part(part: Part, path: Path) -> None:
    """Write a part as a Parquet file with its notes."""
    _write(part, path, strict=False)


def convert_part_strictly(part: Part, path: Path) -> None:
    """Write a part as a Parquet file; raises DefectError where anything is irregular."""
    _write(part, path, strict=True)


def _write(part: Part, path: Path, *, strict: bool) -> None:
    log, videos, filled, rows = Log(), dict[str, None](), set[str](), 0
    stream: Iterator[Sample | Annotation | SceneView] = iter(part.read(part.spec, log))
    with open_part_writer(part.kind, path) as writer:
        row_of, make = ROWS[part.kind]
        # encoded one by one: a hundred decoded frames would take a gigabyte
        while group := [row_of(item) for item in islice(stream, ROWS_PER_GROUP)]:
            table = make(group)
            writer.write_table(table)
            filled |= {name for name in table.schema.names if table[name].null_count < len(table)}
            videos |= dict.fromkeys(row["video_id"] for row in group if "video_id" in row)
            rows += len(group)
        if strict and (defects := log.defects()):
            raise DefectError(f"{part.object}, {part.split}, {part.key}", defects)
        notes = {
            "rows": rows,
            "videos": [*videos],
            "filled": sorted(filled),
            "dropped": log.dropped,
            "incomplete": log.incomplete,
            "redrawn": log.redrawn,
        }
        writer.add_key_value_metadata({NOTES.decode(): json.dumps(notes)})


def open_part_writer(kind: Kind, sink: Path | BinaryIO) -> pq.ParquetWriter:
    """A Parquet writer of tables of one kind."""
    if kind == "samples":
        return open_writer(sink)
    return pq.ParquetWriter(sink, SCHEMAS[kind], compression="zstd")


def read_notes(path: Path) -> PartNotes:
    """What the file of a finished part says of itself.

    Raises:
        InputError: the file is no finished part.
    """
    try:
        content = json.loads((pq.read_metadata(path).metadata or {})[NOTES])
        return PartNotes(**{field.name: content[field.name] for field in fields(PartNotes)})
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        raise _damaged(path) from None


def read_tables(path: Path) -> Iterator[pa.Table]:
    """The row groups of a part, one at a time.

    Raises:
        InputError: the file is no finished part.
    """
    try:
        with pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                yield file.read_row_group(number)
    except (OSError, pa.ArrowException):
        raise _damaged(path) from None


def _damaged(path: Path) -> InputError:
    return InputError(f"{path}: is damaged; remove the unfinished folder and convert again")
