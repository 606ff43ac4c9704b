"""What a Parquet file says of its size, read from its footer before any library makes room for it.

The footer is in the compact protocol of Thrift. Arrow's own reader of it ends the process where the statistics of a
column are damaged (a C++ exception that nobody can catch), so the few numbers that limits need are read here.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"PAR1"
MOST_FOOTER = 2**26
"""Bytes: a thousand columns in a thousand row groups."""
MOST_DEPTH = 8
"""Of structures within each other: a footer has six levels."""
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
# fields by their number in parquet.thrift: of the file, a row group, a column chunk and its description
NUM_ROWS, ROW_GROUPS = 3, 4
COLUMNS, TOTAL_BYTES = 1, 2
DESCRIPTION = 3
PATH, NUM_VALUES = 3, 5


@dataclass(frozen=True)
class Claims:
    """Rows of the file, values of the columns that are wanted (those in lists each count), bytes unpacked."""

    rows: int
    values: int
    bytes: int


def read_claims(path: Path, wanted: Sequence[str]) -> Claims:
    """Read what a file says of itself.

    Args:
        path: the file.
        wanted: names of columns, of which values are counted.

    Raises:
        OSError: it cannot be read.
        ValueError: its footer is damaged.
    """
    try:
        footer, _ = _structure(_footer(path), 0, MOST_DEPTH)
        groups = footer.get(ROW_GROUPS, [])
        chunks = [chunk[DESCRIPTION] for group in groups for chunk in group[COLUMNS]]
        names = {name.encode() for name in wanted}
        values = sum(chunk[NUM_VALUES] for chunk in chunks if chunk[PATH][0] in names)
        rows, size = footer[NUM_ROWS], sum(group[TOTAL_BYTES] for group in groups)
        sizes = (rows, size, *(chunk[NUM_VALUES] for chunk in chunks), *(group[TOTAL_BYTES] for group in groups))
        if not all(isinstance(number, int) and number >= 0 for number in sizes):
            raise ValueError("its footer has sizes that are none")
        return Claims(rows, values, size)
    except (IndexError, KeyError, TypeError, AttributeError):
        raise ValueError("its footer is damaged") from None


def _footer(path: Path) -> bytes:
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(max(0, size - 8))
        tail = stream.read(8)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != MAGIC or not 0 < length <= min(size - 12, MOST_FOOTER):
            raise ValueError("no Parquet footer at its end")
        stream.seek(size - 8 - length)
        return stream.read(length)


def _structure(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """The fields of a structure by number, and where it ends."""
    if not depth:
        raise ValueError("structures too deep within each other")
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(data, at)
        kind = head & 15
        fields[number], at = (kind == TRUE, at) if kind in (TRUE, FALSE) else _value(data, at, kind, depth)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind == STRUCT:
        return _structure(data, at, depth - 1)
    if kind in (LIST, SET):
        return _list(data, at, depth)
    if kind == BINARY:
        length, at = _varint(data, at)
        if length > len(data) - at:
            raise ValueError("a text longer than its footer")
        return data[at : at + length], at + length
    simple: dict[int, Callable[[bytes, int], tuple[int, int]]] = {I16: _integer, I32: _integer, I64: _integer}
    if kind in simple:
        return simple[kind](data, at)
    if kind in (TRUE, FALSE, BYTE):
        return data[at], at + 1
    if kind == DOUBLE:
        return None, at + 8
    raise ValueError(f"a field of type {kind}, which no footer has")


def _list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    head, at = data[at], at + 1
    count = head >> 4
    if count == 15:
        count, at = _varint(data, at)
    if count > len(data) - at:
        raise ValueError("a list longer than its footer")
    items = []
    for _ in range(count):
        item, at = _value(data, at, head & 15, depth)
        items.append(item)
    return items, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("an integer of more than 64 bits")


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at
