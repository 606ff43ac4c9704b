"""What a Parquet file says of its size, read from its footer before any library makes room for it.

The footer is in the compact protocol of Thrift. Arrow's own reader of it ends the process where the statistics of a
column are damaged (a C++ exception that nobody can catch), so the few numbers that limits need are read here.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"PAR1"
MOST_FOOTER = 2**26
"""Bytes: a thousand columns in a thousand row groups."""
MOST_DEPTH = 16
"""Of structures and lists within each other: a footer has eight levels."""
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
# fields by their number in parquet.thrift: of the file, a row group, a column chunk and its description
NUM_ROWS, ROW_GROUPS = 3, 4
COLUMNS, TOTAL_BYTES = 1, 2
DESCRIPTION = 3
PATH, NUM_VALUES = 3, 5
Read = tuple[Any, int]


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
        values = [(chunk[PATH][0], _size(chunk[NUM_VALUES])) for chunk in chunks]
        return Claims(
            rows=_size(footer[NUM_ROWS]),
            values=sum([number for name, number in values if name in names]),
            bytes=sum([_size(group[TOTAL_BYTES]) for group in groups]),
        )
    except (IndexError, KeyError, TypeError, AttributeError):
        raise ValueError("its footer is damaged") from None


def _size(stored: Any) -> int:
    """A number that is not negative; twice of it is stored."""
    if not isinstance(stored, int) or stored & 1:
        raise ValueError("its footer has sizes that are none")
    return stored >> 1


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


def _structure(data: bytes, at: int, depth: int) -> Read:
    """The fields of a structure by number."""
    if not depth:
        raise ValueError("structures too deep within each other")
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        kind, step, at = head & 15, head >> 4, at + 1
        if step:
            number += step
        else:
            stored, at = _varint(data, at, depth)
            number = (stored >> 1) ^ -(stored & 1)
        fields[number], at = (kind == TRUE, at) if kind in (TRUE, FALSE) else READERS[kind](data, at, depth - 1)
    return fields, at + 1


def _list(data: bytes, at: int, depth: int) -> Read:
    head, at = data[at], at + 1
    count, read = head >> 4, READERS[head & 15]
    if count == 15:
        count, at = _varint(data, at, depth)
    if not depth or count > len(data) - at:
        raise ValueError("a list longer than its footer, or too deep in others")
    items = []
    for _ in range(count):
        item, at = read(data, at, depth - 1)
        items.append(item)
    return items, at


def _text(data: bytes, at: int, depth: int) -> Read:
    length, at = _varint(data, at, depth)
    if length > len(data) - at:
        raise ValueError("a text longer than its footer")
    return data[at : at + length], at + length


def _varint(data: bytes, at: int, _: int) -> tuple[int, int]:
    """An integer as it is stored: without a sign, or twice a number that has one."""
    value = shift = 0
    while (byte := data[at]) > 127:
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if shift > 63:
            raise ValueError("an integer of more than 64 bits")
    return value | byte << shift, at + 1


READERS: Mapping[int, Callable[[bytes, int, int], Read]] = {
    **dict.fromkeys((TRUE, FALSE, BYTE), lambda data, at, _: (data[at], at + 1)),
    **dict.fromkeys((I16, I32, I64), _varint),
    DOUBLE: lambda data, at, _: (None, at + 8),
    BINARY: _text,
    **dict.fromkeys((LIST, SET), _list),
    STRUCT: _structure,
}
"""What reads a value of a type: of the bytes, from a place in them, at most so deep; and where it ends."""
