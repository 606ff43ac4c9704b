"""The inputs of a data folder, `samples/OBJ/SPLIT-*.parquet`: their columns, and rows made of samples.

Pictures are stored encoded and numbers flat (row-major); what a sample lacks is null, a number that was searched for
and not found is NaN. The schema carries the features that the library `datasets` reads, so that it shows pictures.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Shaped

from wildhoi import columns
from wildhoi.dataset.pictures import encode_mask, encode_picture
from wildhoi.files import atomic_path
from wildhoi.schema import Sample

Shape = tuple[int, ...]
Row = Mapping[str, Any]

TEXTS = ("image_id", "object", "video_id", "gender")
PICTURES: Mapping[str, Callable[[Any], bytes]] = {
    "image": encode_picture,
    "person_mask": encode_mask,
    "object_mask": encode_mask,
}
INTEGERS: Mapping[str, Shape] = {
    "image_box": (4,),
    "frame_size": (2,),
    "person_mask_box": (4,),
    "object_mask_box": (4,),
}
PLAIN: Mapping[str, Shape] = {  # numbers that are fields of a sample by themselves
    "person_box": (4,),
    "object_box": (4,),
    "wholebody_keypoints": (133, 3),
    "openpose_keypoints": (25, 3),
    "jaw_pose": (3,),
    "expression": (10,),
    "body_box": (4,),
    "focal": (2,),
    "principal_point": (2,),
    "body_keypoints": (22, 2),
    "object_correspondences_box": (4,),
}
FLOATS: Mapping[str, Shape] = {**PLAIN, **columns.HUMAN, **columns.CAMERA, **columns.OBJECT, **columns.ANGLE}
LISTS: Mapping[str, Shape] = {  # of any length; -1 is what the list leaves open
    "object_keypoints": (-1, 2),
    "object_correspondences": (-1, -1, 3),
    "object_correspondences_weights": (-1, -1, 2),
}
GRID = "object_correspondences_size"  # rows and columns of the two grids
FLAGS = ("human_occlusion", "object_occlusion")
SUCCESS = "object_pose_success"

ROWS_PER_GROUP = 100
PLAIN_BYTES = ("image.bytes", "person_mask.bytes", "object_mask.bytes")  # compressed already


def _schema() -> pa.Schema:
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields: dict[str, pa.DataType] = {
        **dict.fromkeys(TEXTS, pa.string()),
        **dict.fromkeys(PICTURES, picture),
        **{name: pa.list_(pa.int32(), prod(shape)) for name, shape in INTEGERS.items()},
        **{name: pa.list_(pa.float32(), prod(shape)) if shape else pa.float32() for name, shape in FLOATS.items()},
        **dict.fromkeys(LISTS, pa.list_(pa.float32())),
        GRID: pa.list_(pa.int32(), 2),
        **dict.fromkeys(FLAGS, pa.list_(pa.bool_())),
        SUCCESS: pa.bool_(),
    }
    features = {name: {"_type": "Image"} if kind is picture else _feature(kind) for name, kind in fields.items()}
    note = json.dumps({"info": {"features": features}})
    return pa.schema([pa.field(name, kind) for name, kind in fields.items()], {"huggingface": note})


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """A column's type in the words of the library `datasets`."""
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        length = {"length": kind.list_size} if pa.types.is_fixed_size_list(kind) else {}
        return {"feature": _feature(kind.value_type), **length, "_type": "List"}
    return {"dtype": dtype_name(kind), "_type": "Value"}


def dtype_name(kind: pa.DataType) -> str:
    """The name that the library `datasets` has for a plain type."""
    return {"float": "float32"}.get(str(kind), str(kind))


SCHEMA = _schema()


def write_samples(path: Path, samples: Iterable[Sample]) -> int:
    """Write samples as one Parquet file, in their order and with the same bytes every time; returns how many."""
    return write_tables(path, _tables(samples))


def _tables(samples: Iterable[Sample]) -> Iterator[pa.Table]:
    stream = iter(samples)
    while group := [sample_row(sample) for sample in islice(stream, ROWS_PER_GROUP)]:
        yield make_table(group)


def write_tables(path: Path, tables: Iterable[pa.Table]) -> int:
    """Write tables of samples, one row group each; returns the number of rows."""
    rows = 0
    with atomic_path(path) as temporary, open_writer(temporary) as writer:
        for table in tables:
            writer.write_table(table)
            rows += table.num_rows
    return rows


def open_writer(sink: Path | BinaryIO) -> pq.ParquetWriter:
    """A Parquet writer of samples: pictures as they are, everything else packed."""
    compression = {name: "none" if name in PLAIN_BYTES else "zstd" for name in leaf_columns(SCHEMA)}
    return pq.ParquetWriter(sink, SCHEMA, compression=compression, use_dictionary=[*TEXTS[1:]], write_statistics=False)


def leaf_columns(schema: pa.Schema) -> list[str]:
    """The Parquet paths of the columns of a schema."""
    return [leaf for field in schema for leaf in _leaves(field.name, field.type)]


def _leaves(name: str, kind: pa.DataType) -> list[str]:
    if pa.types.is_struct(kind):
        return [leaf for child in kind for leaf in _leaves(f"{name}.{child.name}", child.type)]
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return [f"{name}.list.element"]
    return [name]


def sample_row(sample: Sample) -> dict[str, Any]:
    """The columns of a sample: texts, encoded pictures, arrays; None for what it lacks."""
    row: dict[str, Any] = {name: getattr(sample, name) for name in (*TEXTS, *INTEGERS, *LISTS, *FLAGS, SUCCESS)}
    row |= {name: _encoded(getattr(sample, name), encode) for name, encode in PICTURES.items()}
    row |= {name: getattr(sample, name, None) for name in FLOATS}
    row |= columns.human_row(sample.human) if sample.human is not None else {}
    row |= columns.camera_row(sample.camera)
    row |= columns.object_row(sample.object_pose) if sample.object_pose is not None else {}
    grid = sample.object_correspondences
    row[GRID] = None if grid is None else grid.shape[:2]
    return row


def _encoded(array: Any, encode: Callable[[Any], bytes]) -> dict[str, Any] | None:
    return None if array is None else {"bytes": encode(array), "path": None}


def make_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as a table of the schema of samples."""
    arrays = [_array(field.type, [row[field.name] for row in rows]) for field in SCHEMA]
    return pa.table(arrays, schema=SCHEMA)


def _array(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        return _fixed_lists(kind, values)
    if pa.types.is_list(kind):
        return _lists(kind, values)
    return pa.array(values, kind)


def _fixed_lists(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    flat = np.zeros((len(values), kind.list_size), kind.value_type.to_pandas_dtype())
    for place, value in zip(flat, values, strict=True):
        if value is not None:
            place[:] = np.asarray(value).reshape(-1)
    missing = pa.array([value is None for value in values])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), kind.list_size, mask=missing)


def _lists(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    dtype = kind.value_type.to_pandas_dtype()
    flat: list[Shaped[np.ndarray, " n"]] = [
        np.empty(0, dtype) if value is None else np.asarray(value, dtype).reshape(-1) for value in values
    ]
    offsets = np.cumsum([0, *(len(value) for value in flat)], dtype=np.int32)
    joined = pa.array(np.concatenate(flat)) if flat else pa.array([], kind.value_type)
    missing = pa.array([value is None for value in values])
    return pa.ListArray.from_arrays(pa.array(offsets), joined, mask=missing)
