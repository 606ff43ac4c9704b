# ruff: noqa: E501 - tables of short things
"""Parquet files that are valid and hold what no reader expects: types, nulls, lengths, names, ways of packing."""

from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TYPES = (
    pa.string(), pa.large_string(), pa.binary(), pa.int8(), pa.int64(), pa.uint64(), pa.float16(), pa.float64(), pa.bool_(), pa.null(),
    pa.timestamp("us"), pa.date32(), pa.time64("ns"), pa.decimal128(20, 3), pa.list_(pa.float64()), pa.list_(pa.string()),
    pa.large_list(pa.float32()), pa.list_(pa.list_(pa.float32())), pa.list_(pa.float32(), 1), pa.list_(pa.int64()), pa.struct([("a", pa.int32())]),
    pa.dictionary(pa.int32(), pa.string()), pa.duration("s"), pa.list_(pa.struct([("a", pa.float32())])),
)  # fmt: skip
VALUES = (
    None, "", "a", "\x00\n\x1b[31m", "\u202e", "x" * 2000, b"", b"\xff\xd8\xff", 0, -1, 2**40, 0.5, float("nan"), float("inf"), 1e300, True, [], [1.0], [None],
    [float("nan")] * 3, [0.0] * 9, [1e30] * 9, [1.0, 0, 0, 0, 1, 0, 0, 0, -1], ["a"], [[1.0]], {"a": 1}, {"bytes": b"", "path": None}, Decimal(1), datetime(1, 1, 1, tzinfo=UTC),
)  # fmt: skip
NAMES = ("", "x", "image_id", "object", "seconds", "\u202e\n", "n" * 2000, "a.b", "list.element")


def reshape_table(table, tape) -> bytes:
    """A table with one to three changes, written in one of many ways."""
    for _ in range(1 + tape.below(3)):
        changed = tape.pick(CHANGES)(table, tape)
        table = table if changed is None else changed
    return _write(table, tape)


def _write(table, tape) -> bytes:
    stream = BytesIO()
    what = tape.below(32)
    options = {
        "compression": ("none", "zstd", "snappy", "gzip")[what % 4],
        "use_dictionary": what % 3 == 0,
        "data_page_version": "2.0" if what % 5 == 0 else "1.0",
        "store_schema": what % 7 != 0,
        "write_statistics": what % 2 == 0,
    }
    rows = 1 if what % 11 == 0 else None
    try:
        pq.write_table(table, stream, row_group_size=rows, **options)
    except (pa.ArrowException, OSError, ValueError):
        stream = BytesIO()
        pq.write_table(table.slice(0, 0).select([]), stream)
    return stream.getvalue()


def _column(table, tape) -> int:
    return tape.below(max(1, table.num_columns))


def other_type(table, tape):
    """A column of another type: what can be kept of it, or nothing but nulls."""
    if not table.num_columns:
        return None
    at, kind = _column(table, tape), tape.pick(TYPES)
    try:
        column = table.column(at).cast(kind, safe=False)
    except (pa.ArrowException, ValueError):
        column = _filled(kind, tape, table.num_rows)
    return table.set_column(at, table.schema.names[at], column)


def _filled(kind, tape, rows):
    try:
        return pa.array([tape.pick(VALUES)] * rows, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.nulls(rows, kind)


def other_value(table, tape):
    """A cell that holds something odd, in a column of its own type where that can hold it."""
    if not table.num_columns or not table.num_rows:
        return None
    at, row, value = _column(table, tape), tape.below(table.num_rows), tape.pick(VALUES)
    cells = table.column(at).to_pylist()
    cells[row] = value
    kind = table.schema.field(at).type
    for wanted in (
        kind,
        pa.list_(kind.value_type) if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) else kind,
        None,
    ):
        try:
            return table.set_column(at, table.schema.names[at], pa.array(cells, wanted))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            continue
    return None


def odd_number(table, tape):
    """A number inside a list, or a plain one, that is not finite or far too large."""
    at = _column(table, tape)
    if not table.num_columns or not table.num_rows:
        return None
    cells = table.column(at).to_pylist()
    row, number = tape.below(len(cells)), tape.pick((np.nan, np.inf, 1e30, -1.0, 0.0, 1e-30, 3e38))
    if isinstance(cells[row], list) and cells[row] and isinstance(cells[row][0], float):
        cells[row][tape.below(len(cells[row]))] = number
    elif isinstance(cells[row], float):
        cells[row] = number
    else:
        return None
    return table.set_column(at, table.schema.names[at], pa.array(cells, table.schema.field(at).type))


def drop(table, tape):
    return table.remove_column(_column(table, tape)) if table.num_columns else None


def double(table, tape):
    at = _column(table, tape)
    return table.append_column(table.schema.names[at], table.column(at)) if table.num_columns else None


def rename(table, tape):
    names = list(table.schema.names)
    if names:
        names[tape.below(len(names))] = tape.pick(NAMES)
    return table.rename_columns(names)


def extra(table, tape):
    return table.append_column(tape.pick(NAMES), _filled(tape.pick(TYPES), tape, table.num_rows))


def other_rows(table, tape):
    count = tape.pick((0, 1, 2, 3, 40))
    return pa.concat_tables([table] * count) if count else table.slice(0, 0)


def metadata(table, tape):
    notes = {
        tape.pick(("huggingface", "pandas", "wildhoi", "ARROW:schema")): tape.pick(
            ("", "{}", "[]", '{"info": 1}', "[" * 3000, "\x00", "!")
        )
    }
    return table.replace_schema_metadata(notes)


CHANGES = (
    other_type,
    other_type,
    other_value,
    other_value,
    odd_number,
    drop,
    double,
    rename,
    extra,
    other_rows,
    metadata,
)
