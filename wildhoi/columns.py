"""The columns that submissions and annotations share, and the one Parquet reader, which trusts nothing it reads.

A column holds numbers of one shape per row, stored flat (row-major) as a fixed-size list of float32. A shape with -1 is
of any length: its lists are of no fixed size, and whoever reads them says in a layout of his own how long they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wildhoi.errors import InputError
from wildhoi.files import atomic_path
from wildhoi.parquet import is_list, is_text, read_parquet
from wildhoi.schema import Camera, Human, ObjectPose

Shape = tuple[int, ...]

HUMAN: dict[str, Shape] = {"betas": (10,), "body_pose": (21, 3), "left_hand_pose": (15, 3), "right_hand_pose": (15, 3)}
OBJECT: dict[str, Shape] = {"object_rotation": (3, 3), "object_translation": (3,), "object_scale": ()}
ANGLE: dict[str, Shape] = {"object_angle": ()}
CAMERA: dict[str, Shape] = {
    "camera_rotation": (3, 3),
    "camera_translation": (3,),
    "focal": (2,),
    "principal_point": (2,),
}
ROTATIONS = ("object_rotation", "camera_rotation")


@dataclass(frozen=True)
class Layout:
    """The columns of one kind of file: texts, integers and numbers that must be there, and those that may be."""

    texts: tuple[str, ...]
    numbers: Mapping[str, Shape]
    optional_texts: tuple[str, ...] = ()
    optional_numbers: Mapping[str, Shape] = field(default_factory=dict)
    integers: tuple[str, ...] = ()

    @property
    def required_numbers(self) -> dict[str, Shape]:
        """The number columns that must be there, integers first."""
        return {**dict.fromkeys(self.integers, ()), **self.numbers}

    @property
    def all_numbers(self) -> dict[str, Shape]:
        """Every number column, required ones first."""
        return {**self.required_numbers, **self.optional_numbers}


@dataclass(frozen=True)
class Problem:
    """A column that is absent or of the wrong type, or (with `row`) a list of the wrong length."""

    column: str
    found: str
    wanted: str
    row: int | None = None

    def __str__(self) -> str:
        place = "" if self.row is None else f"row {self.row}, "
        return f"{place}{self.column}: got {self.found}, want {self.wanted}"


@dataclass(frozen=True)
class Columns:
    """A file as read: texts by column (None where null), numbers by column as float64 (n, *shape), NaN where null.

    Only columns without a problem of type are in it; a list of the wrong length is null in it, and a problem.
    """

    n_rows: int
    texts: dict[str, list[str | None]]
    numbers: dict[str, np.ndarray]
    present: dict[str, np.ndarray]
    problems: tuple[Problem, ...]
    extra: tuple[str, ...]


def arrow_schema(layout: Layout) -> pa.Schema:
    """The Arrow schema that files of a layout are written with."""
    texts = [pa.field(name, pa.string()) for name in (*layout.texts, *layout.optional_texts)]
    types = {name: _arrow_type(shape) for name, shape in layout.all_numbers.items()}
    types |= dict.fromkeys(layout.integers, pa.int32())
    return pa.schema(texts + [pa.field(name, kind) for name, kind in types.items()])


def _arrow_type(shape: Shape) -> pa.DataType:
    if -1 in shape:
        return pa.list_(pa.float32())
    return pa.list_(pa.float32(), prod(shape)) if shape else pa.float32()


def make_rows_table(layout: Layout, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows (column -> text, number, array or None) as a table of a layout."""
    schema = arrow_schema(layout)
    shapes = layout.all_numbers
    columns = [
        [_flat(row.get(name), shapes[name]) if name in shapes else row.get(name) for row in rows]
        for name in schema.names
    ]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def write_rows(path: Path, layout: Layout, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as Parquet, atomically and with the same bytes every time."""
    table = make_rows_table(layout, rows)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _flat(value: Any, shape: Shape) -> Any:
    if value is None or not shape:
        return None if value is None else float(value)
    return np.asarray(value, np.float32).reshape(-1)


def read_columns(path: Path, layout: Layout) -> Columns:
    """Read a Parquet file of a layout; wrong and missing columns, and lists of a wrong length, are in `problems`.

    Raises:
        InputError: the file is absent, not Parquet, truncated, or larger than the limits.
    """
    known = (*layout.texts, *layout.optional_texts, *layout.all_numbers)
    table, names, unread = read_parquet(path, known, (*layout.texts, *layout.optional_texts))
    problems: list[Problem] = []
    texts: dict[str, list[str | None]] = {}
    numbers, present = {}, {}
    for name in known:
        shape = layout.all_numbers.get(name)
        wanted = "text" if shape is None else f"{prod(shape)} float32 numbers" if shape else "a float32 number"
        if name in unread:
            problems.append(Problem(name, unread[name], wanted))
            continue
        try:
            column = _column(table, name, required=name in layout.texts or name in layout.required_numbers)
            if column is not None and shape is None:
                texts[name] = _texts(column)
            elif column is not None and shape is not None:
                wrong = _wrong_lengths(column, prod(shape)) if shape else {}
                problems += [Problem(name, f"{length} numbers", wanted, row) for row, length in wrong.items()]
                numbers[name], present[name] = _numbers(column, shape, [*wrong])
        except InputError as error:
            problems.append(Problem(name, str(error), wanted))
    extra = tuple(
        name for name in names if name not in layout.texts + layout.optional_texts and name not in layout.all_numbers
    )
    return Columns(table.num_rows, texts, numbers, present, tuple(problems), extra)


def _column(table: pa.Table, name: str, *, required: bool) -> Any:
    """The one column of a name; list views, which other writers use, become lists."""
    found = table.schema.get_all_field_indices(name)
    if len(found) > 1 or (required and not found):
        raise InputError("absent" if not found else f"{len(found)} columns of that name")
    if not found:
        return None
    column = table.column(found[0])
    if pa.types.is_list_view(column.type) or pa.types.is_large_list_view(column.type):
        column = column.cast(pa.large_list(column.type.value_type))
    column = column.combine_chunks()
    try:
        column.validate(full=True)  # a text need not be Unicode in the file
    except pa.ArrowInvalid as error:
        raise InputError(f"damaged values ({error})") from None
    return column


def _texts(column: pa.Array) -> list[str | None]:
    """A text column; one without any value may have any type, because writers have none to infer it from."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        values = _texts(column.dictionary)
        return [None if index is None else values[index] for index in column.indices.to_pylist()]
    if is_text(kind):
        return list(column.to_pylist())
    if _is_void(column):
        return [None] * len(column)
    raise InputError(str(kind))


def _is_void(column: pa.Array) -> bool:
    """Whether a column has no value: nulls, or the NaN that pandas writes for them."""
    return column.null_count == len(column) or (
        pa.types.is_floating(column.type) and bool(np.isnan(column.to_numpy(zero_copy_only=False)).all())
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _wrong_lengths(column: pa.Array, size: int) -> dict[int, int]:
    """The lists of another length than `size`, by row."""
    if not is_list(column.type) or not _is_number(column.type.value_type):
        return {}
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    wrong = column.is_valid().to_numpy(zero_copy_only=False) & (lengths != size)
    return {int(row): int(lengths[row]) for row in np.flatnonzero(wrong)}


def _numbers(column: pa.Array, shape: Shape, left_out: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """A number column as float64 (n, *shape), NaN in the rows left out, and which rows have it."""
    kind, out = column.type, np.full((len(column), *shape), np.nan)
    if _is_void(column):
        return out, np.zeros(len(column), bool)
    if is_list(kind) != bool(shape) or not _is_number(kind.value_type if shape else kind):
        raise InputError(str(kind))
    present = column.is_valid().to_numpy(zero_copy_only=False).copy()
    present[list(left_out)] = False
    values = column.filter(pa.array(present))
    flat = (values.flatten() if shape else values).to_numpy(zero_copy_only=False).astype(np.float64)
    out[present] = flat.reshape(-1, *shape)
    return out, present


def human_row(human: Human) -> dict[str, np.ndarray]:
    """The columns of a body."""
    return {name: getattr(human, name) for name in HUMAN}


def object_row(pose: ObjectPose) -> dict[str, Any]:
    """The columns of an object's pose."""
    return {
        "object_rotation": pose.rotation,
        "object_translation": pose.translation,
        "object_scale": pose.scale,
        "object_angle": pose.angle,
    }


def camera_row(camera: Camera | None) -> dict[str, np.ndarray]:
    """The columns of a camera; none for None."""
    if camera is None:
        return {}
    return {
        "camera_rotation": camera.rotation,
        "camera_translation": camera.translation,
        "focal": camera.focal,
        "principal_point": camera.principal_point,
    }


def read_human(columns: Columns, row: int) -> Human:
    """The body of a row."""
    return Human(**{name: columns.numbers[name][row] for name in HUMAN})


def read_object(columns: Columns, row: int) -> ObjectPose:
    """The object's pose of a row."""
    angle = columns.numbers["object_angle"][row] if "object_angle" in columns.numbers else np.nan
    return ObjectPose(
        rotation=columns.numbers["object_rotation"][row],
        translation=columns.numbers["object_translation"][row],
        scale=float(columns.numbers["object_scale"][row]),
        angle=None if np.isnan(angle) else float(angle),
    )


def read_camera(columns: Columns, row: int) -> Camera | None:
    """The camera of a row; None where the file or the row has none."""
    if not all(name in columns.numbers and columns.present[name][row] for name in CAMERA):
        return None
    rotation, translation, focal, principal = (columns.numbers[name][row] for name in CAMERA)
    return Camera(rotation, translation, focal, principal)
