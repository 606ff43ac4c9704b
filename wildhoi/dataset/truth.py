"""The content of a file of truth as a hash: of its rows, whatever library wrote them and in how many bytes."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from wildhoi.files import sha256_file
from wildhoi.parquet import is_flat


def truth_digest(path: Path) -> str:
    """A hash of the values of a Parquet file, column by column; of its bytes where it is none.

    A column without any value counts as absent: a schema that grows by an optional one keeps the digests of others.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names) or not all(is_flat(field.type) for field in file.schema_arrow):
                return sha256_file(path)
            table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError):
        return sha256_file(path)
    digest = sha256()
    for name in sorted(table.schema.names):
        column = table[name].combine_chunks()
        if column.null_count < len(column):
            for piece in (name.encode(), *_pieces(column)):
                digest.update(len(piece).to_bytes(8, "little") + piece)
    return digest.hexdigest()


def _pieces(column: pa.Array) -> Iterator[bytes]:
    """Which rows have a value, how long lists are, and the values; numbers as they are stored."""
    yield column.is_valid().to_numpy(zero_copy_only=False).tobytes()
    column = column.drop_null()
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        yield column.value_lengths().to_numpy(zero_copy_only=False).astype("<i8").tobytes()
        column = column.flatten()
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        yield column.to_numpy(zero_copy_only=False).tobytes()
    else:
        yield "\x1f".join(map(str, column.to_pylist())).encode()
