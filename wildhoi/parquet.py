"""Reading Parquet files of unknown origin: within limits, and no column of a type that nobody wants."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from wildhoi.errors import InputError
from wildhoi.parquet_claims import Claims, read_claims

MAX_ROWS = 500_000
"""A hundred times the test images of the largest data set: every frame of every video of it."""
MAX_VALUES = 200 * MAX_ROWS
"""Of all columns read, 400 MB of numbers: run lengths can claim any number in a few bytes."""
MAX_BYTES = 2**30
"""Of all columns, unpacked: the values at their most, and texts."""
BYTES_PER_ROW = 100
"""Of a file with more rows than those: names and a few numbers take that, so what is claimed is also there."""
MAX_RATIO = 8
"""Unpacked to stored bytes, of a file with more than MAX_BYTES: numbers are hardly ever packed to half."""


def read_parquet(
    path: Path, wanted: Sequence[str], texts: Sequence[str]
) -> tuple[pa.Table, Sequence[str], dict[str, str]]:
    """Read the wanted columns; texts stay dictionaries, so that one long text in every row takes its length once.

    Returns:
        a table of the columns that are plain or lists of plain values, the names of all columns of the file, and the
        types of the wanted ones that are neither and were not read.

    Raises:
        InputError: the file is absent, not Parquet, truncated, or larger than the limits.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        _check_size(path, wanted)
        limits = {"thrift_string_size_limit": 2**26, "thrift_container_size_limit": 2**22}
        with pq.ParquetFile(path, **limits) as file:
            metadata, schema = file.metadata, file.schema_arrow
        found = [(field.name, field.type) for field in schema if field.name in wanted]
        unread = {name: str(kind) for name, kind in found if not is_flat(kind)}
        packed = [name for name, kind in found if name in texts and is_text(kind)]
        with pq.ParquetFile(path, metadata=metadata, read_dictionary=packed) as file:
            table = file.read(columns=[name for name in dict(found) if name not in unread])
        return table, schema.names, unread
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, KeyError) as error:
        reason = str(error).split("\n")[0][:200]
        raise InputError(f"{path}: not a readable Parquet file ({reason}); write it again") from None


def is_flat(kind: pa.DataType) -> bool:
    """Whether a type is plain, or lists of something plain; not so structures, maps and lists of lists."""
    listed = is_list(kind) or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)
    return not pa.types.is_nested(kind.value_type if listed else kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _check_size(path: Path, wanted: Sequence[str]) -> None:
    """Refuse a file that says it unpacks to more than the limits."""
    claims, most = read_claims(path, wanted), most_claims(path.stat().st_size)
    if claims.rows > most.rows or claims.values > most.values or claims.bytes > most.bytes:
        got = f"{claims.rows} rows, {claims.values} values, {claims.bytes} bytes unpacked"
        raise InputError(
            f"{path}: {got}; of a file of this size at most {most.rows}, {most.values} and {most.bytes} are read"
        )


def most_claims(size: int) -> Claims:
    """What a file of so many bytes may claim: the limits, or in proportion to what it is itself."""
    return Claims(max(MAX_ROWS, size // BYTES_PER_ROW), max(MAX_VALUES, size), max(MAX_BYTES, MAX_RATIO * size))


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is lists, of a fixed size or not."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
