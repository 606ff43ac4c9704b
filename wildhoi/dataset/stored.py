"""Rows of samples turned into samples; pictures and maps are decoded when they are first touched."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pyarrow as pa

from wildhoi import columns
from wildhoi.dataset.pictures import decode_mask, decode_picture
from wildhoi.dataset.samples import FLAGS, GRID, INTEGERS, LISTS, PICTURES, PLAIN, SCHEMA, SUCCESS, TEXTS
from wildhoi.errors import InputError
from wildhoi.parquet import is_flat
from wildhoi.schema import Camera, Human, ObjectPose, Sample

DECODERS = {"image": decode_picture, "person_mask": decode_mask, "object_mask": decode_mask}


class StoredSample(Sample):
    """A sample that keeps its pictures encoded until they are touched, and then keeps them decoded."""

    encoded: Mapping[str, bytes | None]

    def _decode(self, name: str) -> Any:
        data = self.encoded[name]
        try:
            return None if data is None else DECODERS[name](data)
        except InputError as error:
            raise InputError(f"sample {self.image_id!r}: {name}: {error}") from None

    @cached_property
    def image(self) -> Any:
        """The crop, RGB."""
        return self._decode("image")

    @cached_property
    def person_mask(self) -> Any:
        """The person's visible pixels."""
        return self._decode("person_mask")

    @cached_property
    def object_mask(self) -> Any:
        """The object's visible pixels."""
        return self._decode("object_mask")


def stored_sample(values: Mapping[str, Any], encoded: Mapping[str, bytes | None]) -> StoredSample:
    """Make a sample of its other values and its encoded pictures."""
    sample = StoredSample(**values)
    content = vars(sample)
    for name in PICTURES:  # an attribute of the instance would hide the one that decodes
        del content[name]
    content["encoded"] = dict(encoded)
    return sample


def read_sample(table: pa.Table | pa.RecordBatch, row: int) -> Sample:
    """The sample of a row of a table that `check_schema` has accepted.

    Raises:
        InputError: its lists do not fit each other.
    """
    try:
        raw = {name: _value(table.column(name), row) for name in SCHEMA.names if name not in PICTURES}
    except ValueError as error:  # a text that is no Unicode
        raise InputError(f"sample in row {row}: {error}") from None
    image_id = raw["image_id"]
    if not all(isinstance(raw[name], str) and raw[name] for name in TEXTS):
        raise InputError(f"sample {image_id!r}: one of {', '.join(TEXTS)} is empty")
    values: dict[str, Any] = {name: raw[name] for name in TEXTS}
    values |= {name: None if raw[name] is None else tuple(raw[name].tolist()) for name in INTEGERS}
    values |= {name: _shaped(raw[name], shape) for name, shape in PLAIN.items()}
    values |= {name: raw[name] for name in FLAGS}
    values[SUCCESS] = bool(raw[SUCCESS])
    try:
        values |= _estimates(raw)
        values |= {name: _shaped(raw[name], _open_shape(shape, raw[GRID])) for name, shape in LISTS.items()}
        return stored_sample(values, {name: _bytes(table.column(name), row) for name in PICTURES})
    except (ValueError, InputError) as error:
        raise InputError(f"sample {image_id!r}: {error}") from None


def _value(column: Any, row: int) -> Any:
    """A cell as text, number, or flat array; None where null."""
    cell = column[row]
    if not cell.is_valid:
        return None
    if isinstance(cell, pa.ListScalar | pa.FixedSizeListScalar):
        return cell.values.to_numpy(zero_copy_only=False)
    return cell.as_py()


def _bytes(column: Any, row: int) -> bytes | None:
    cell = column[row]
    return cell["bytes"].as_py() if cell.is_valid else None


def _shaped(flat: Any, shape: tuple[int, ...]) -> Any:
    return None if flat is None else flat.reshape(shape)


def _open_shape(shape: tuple[int, ...], grid: Any) -> tuple[int, ...]:
    """The shape of a list: the sizes that it leaves open are those of the grid, if there are two."""
    return (*map(int, grid), shape[-1]) if shape.count(-1) == 2 and grid is not None else shape


def _estimates(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The body, the camera and the object's pose of a row, each None where one of its columns is null."""

    def group(shapes: Mapping[str, tuple[int, ...]]) -> list[Any] | None:
        values = [raw[name] for name in shapes]
        if any(value is None for value in values):
            return None
        return [value.reshape(shape) if shape else value for value, shape in zip(values, shapes.values(), strict=True)]

    human, camera, pose = group(columns.HUMAN), group(columns.CAMERA), group(columns.OBJECT)
    return {
        "human": None if human is None else Human(*human),
        "camera": None if camera is None else Camera(*camera),
        "object_pose": None if pose is None else ObjectPose(pose[0], pose[1], pose[2], raw["object_angle"]),
    }


def check_schema(source: str, schema: pa.Schema) -> None:
    """Refuse a table whose columns are not those of samples; further columns are allowed.

    Raises:
        InputError: names the first column that is absent or of another type.
    """
    for field in SCHEMA:
        index = schema.get_field_index(field.name)
        found = "absent" if index < 0 else schema.field(index).type
        if found != field.type:
            raise InputError(f"{source}: column {field.name} is {found}, want {field.type}; convert the data again")
    for field in schema:
        if field.name not in SCHEMA.names and not is_flat(field.type):
            raise InputError(f"{source}: column {field.name} is {field.type}, want plain further columns; remove it")
