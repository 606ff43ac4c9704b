"""The columns that submissions and annotations share, and the one Parquet reader, which trusts nothing it reads.

A column holds numbers of one shape per row, stored flat (row-major) as a fixed-size list of float32.
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

MAX_ROWS = 2_000_000
MAX_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Layout:
    """The columns of one kind of file: texts and numbers that must be there, and those that may be."""

    texts: tuple[str, ...]
    numbers: Mapping[str, Shape]
    optional_texts: tuple[str, ...] = ()
    optional_numbers: Mapping[str, Shape] = field(default_factory=dict)

    @property
    def all_numbers(self) -> dict[str, Shape]:
        """Every number column, required ones first."""
        return {**self.numbers, **self.optional_numbers}


@dataclass(frozen=True)
class Columns:
    """A file as read: texts by column (None where null), numbers by column as float64 (n, *shape), NaN where null."""

    n_rows: int
    texts: dict[str, list[str | None]]
    numbers: dict[str, np.ndarray]
    present: dict[str, np.ndarray]
    problems: tuple[tuple[str, str, str], ...]
    extra: tuple[str, ...]


def arrow_schema(layout: Layout) -> pa.Schema:
    """The Arrow schema that files of a layout are written with."""
    texts = [pa.field(name, pa.string()) for name in (*layout.texts, *layout.optional_texts)]
    return pa.schema(texts + [pa.field(name, _arrow_type(shape)) for name, shape in layout.all_numbers.items()])


def _arrow_type(shape: Shape) -> pa.DataType:
    return pa.list_(pa.float32(), prod(shape)) if shape else pa.float32()


def write_rows(path: Path, layout: Layout, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows (column -> text, number, array or None) as Parquet, atomically and with the same bytes every time."""
    schema = arrow_schema(layout)
    shapes = layout.all_numbers
    columns = [
        [_flat(row.get(name), shapes[name]) if name in shapes else row.get(name) for row in rows]
        for name in schema.names
    ]
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _flat(value: Any, shape: Shape) -> Any:
    if value is None or not shape:
        return None if value is None else float(value)
    return np.asarray(value, np.float32).reshape(-1)


def read_columns(path: Path, layout: Layout) -> Columns:
    """Read a Parquet file of a layout; wrong or missing columns are reported in `problems` as (column, found, wanted).

    Raises:
        InputError: the file is absent, not Parquet, truncated, or larger than the limits.
    """
    table = _read_parquet(path, (*layout.texts, *layout.optional_texts, *layout.all_numbers))
    problems: list[tuple[str, str, str]] = []
    texts: dict[str, list[str | None]] = {}
    numbers, present = {}, {}
    for name in (*layout.texts, *layout.optional_texts):
        column = _column(table, name, name in layout.texts, problems, "text")
        if column is not None:
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                texts[name] = column.to_pylist()
            else:
                problems.append((name, str(column.type), "text"))
    for name, shape in layout.all_numbers.items():
        wanted = f"{prod(shape)} float32 numbers" if shape else "a float32 number"
        column = _column(table, name, name in layout.numbers, problems, wanted)
        if column is not None:
            try:
                numbers[name], present[name] = _numbers(column, shape)
            except InputError as error:
                problems.append((name, str(error), wanted))
    known = {*layout.texts, *layout.optional_texts, *layout.all_numbers}
    extra = tuple(name for name in table.schema.names if name not in known)
    return Columns(table.num_rows, texts, numbers, present, tuple(problems), extra)


def _column(table: pa.Table, name: str, required: bool, problems: list[tuple[str, str, str]], wanted: str) -> Any:
    found = table.schema.get_all_field_indices(name)
    if len(found) == 1:
        return table.column(found[0]).combine_chunks()
    if found or required:
        problems.append((name, "absent" if not found else f"{len(found)} columns of that name", wanted))
    return None


def _read_parquet(path: Path, wanted: Sequence[str]) -> pa.Table:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with pq.ParquetFile(path, thrift_string_size_limit=2**26, thrift_container_size_limit=2**22) as file:
            rows = file.metadata.num_rows
            size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
            if rows > MAX_ROWS or size > MAX_BYTES:
                raise InputError(
                    f"{path}: {rows} rows, {size} bytes unpacked; at most {MAX_ROWS} and {MAX_BYTES} are read"
                )
            names = file.schema_arrow.names
            table = file.read(columns=[name for name in wanted if name in names])
            for name in names:
                if name not in table.schema.names:  # an extra column is named, never read
                    table = table.append_column(name, pa.nulls(table.num_rows))
            return table
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = str(error).split("\n")[0][:200]
        raise InputError(
            f"{path}: not a readable Parquet file ({reason}); write it again with `wildhoi submission`"
        ) from None


def _numbers(column: pa.Array, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """A number column as float64 (n, *shape) and which rows have it."""
    size = prod(shape)
    present = column.is_valid().to_numpy(zero_copy_only=False)
    values = column
    if shape:
        if (
            not pa.types.is_list(column.type)
            and not pa.types.is_large_list(column.type)
            and not pa.types.is_fixed_size_list(column.type)
        ):
            raise InputError(str(column.type))
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        wrong = present & (lengths != size)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(f"{int(lengths[row])} numbers in row {row} ({int(wrong.sum())} such rows)")
        values = column.drop_null().flatten()
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise InputError(str(column.type))
    flat = values.to_numpy(zero_copy_only=False).astype(np.float64)
    if not shape:
        return flat, present
    out = np.full((len(column), *shape), np.nan)
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
