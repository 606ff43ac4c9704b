"""Parts joined into the Parquet shards of a data folder, each below a limit, with the same bytes every time."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa

from wildhoi.convert.parts import Kind, open_part_writer, read_tables
from wildhoi.dataset.samples import ROWS_PER_GROUP

# A shard ends with the row group that passes the limit, and the writer is one row group behind: together below 300 MB
SHARD_BYTES = 220 * 2**20
GROUP_BYTES = 32 * 2**20


def join_parts(files: Sequence[Path], folder: Path, split: str, kind: Kind) -> list[Path]:
    """Join the rows of parts, in order, into `folder/SPLIT-00000-of-00003.parquet` and so on.

    Parts without rows leave no trace; without any row nothing is written.

    Returns:
        the shards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    groups = _row_groups(table for file in files for table in read_tables(file))
    unnamed: list[Path] = []
    for first in groups:
        unnamed.append(folder / f".{split}-{len(unnamed):05}.parquet")
        _write_shard(unnamed[-1], chain([first], groups), kind)
    names = [folder / f"{split}-{number:05}-of-{len(unnamed):05}.parquet" for number in range(len(unnamed))]
    for path, name in zip(unnamed, names, strict=True):
        path.replace(name)
    if not any(folder.iterdir()):
        folder.rmdir()
    return names


def _write_shard(path: Path, groups: Iterator[pa.Table], kind: Kind) -> None:
    """Write row groups until the shard is full, and leave the others."""
    with path.open("wb") as stream, open_part_writer(kind, stream) as writer:
        for group in groups:
            writer.write_table(group)
            if stream.tell() >= SHARD_BYTES:
                break


def _row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables cut and put together into row groups that are neither too small to read fast nor too large to hold."""
    waiting: list[pa.Table] = []
    rows = size = 0
    for piece in (piece for table in tables for piece in _pieces(table)):
        if waiting and (rows + piece.num_rows > ROWS_PER_GROUP or size + piece.nbytes > GROUP_BYTES):
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, rows, size = [], 0, 0
        waiting.append(piece)
        rows, size = rows + piece.num_rows, size + piece.nbytes
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _pieces(table: pa.Table) -> Iterator[pa.Table]:
    """A table cut into pieces of about the size of a row group, if it is larger."""
    rows = max(1, int(table.num_rows * GROUP_BYTES / max(table.nbytes, GROUP_BYTES)))
    return (table.slice(start, rows) for start in range(0, table.num_rows, rows))
