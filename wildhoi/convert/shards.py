"""Parts joined into the Parquet shards of a data folder, each below a limit, with the same bytes every time."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from wildhoi.convert.parts import Kind, open_part_writer, read_tables
from wildhoi.dataset.samples import ROWS_PER_GROUP

# A shard ends with the row group that passes the limit, and the writer is one row group behind: together below 300 MB
SHARD_BYTES = 220 * 2**20
GROUP_BYTES = 32 * 2**20


class Shards:
    """The shards `folder/SPLIT-00000-of-00003.parquet` and so on on their way: parts are joined while others are made.

    A context: leaving it closes the shard at work. Until `finish` they have hidden names.
    """

    def __init__(self, files: Sequence[Path], folder: Path, split: str, kind: Kind) -> None:
        """Choose the parts, in the order of their rows; they need not be there yet."""
        self.folder, self.split, self.kind = folder, split, kind
        self._left = deque(files)
        self._unnamed: list[Path] = []
        self._group: list[pa.Table] = []
        self._rows = self._bytes = 0
        self._shard: tuple[BinaryIO, pq.ParquetWriter] | None = None
        self._open = ExitStack()

    def __enter__(self) -> "Shards":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def join_finished(self) -> None:
        """Join the parts whose files are there, up to the first that is not."""
        while self._left and self._left[0].is_file():
            for table in read_tables(self._left.popleft()):
                for piece in _pieces(table):
                    self._add(piece)

    def finish(self) -> list[Path]:
        """Give the shards their names, and return them, once all parts are there; without any row there is none."""
        self.join_finished()
        assert not self._left, f"not finished: {self._left[0]}"
        self._write_group()
        self._open.close()
        number = len(self._unnamed)
        names = [self.folder / f"{self.split}-{i:05}-of-{number:05}.parquet" for i in range(number)]
        for path, name in zip(self._unnamed, names, strict=True):
            path.replace(name)
        return names

    def _add(self, piece: pa.Table) -> None:
        """Put rows into row groups that are neither too small to read fast nor too large to hold."""
        size = piece.nbytes
        if self._rows + piece.num_rows > ROWS_PER_GROUP or self._bytes + size > GROUP_BYTES:
            self._write_group()
        self._group.append(piece)
        self._rows, self._bytes = self._rows + piece.num_rows, self._bytes + size

    def _write_group(self) -> None:
        """Write the rows that wait, if any, into the shard at work; one that is full then is closed."""
        if not self._group:
            return
        stream, writer = self._shard = self._shard or self._begin()
        writer.write_table(pa.concat_tables(self._group).combine_chunks())
        self._group, self._rows, self._bytes = [], 0, 0
        if stream.tell() >= SHARD_BYTES:
            self._open.close()
            self._shard = None

    def _begin(self) -> tuple[BinaryIO, pq.ParquetWriter]:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._unnamed.append(self.folder / f".{self.split}-{len(self._unnamed):05}.parquet")
        stream = self._open.enter_context(self._unnamed[-1].open("wb"))
        return stream, self._open.enter_context(open_part_writer(self.kind, stream))


def _pieces(table: pa.Table) -> Iterator[pa.Table]:
    """A table cut into pieces of about the size of a row group, if it is larger."""
    rows = max(1, int(table.num_rows * GROUP_BYTES / max(table.nbytes, GROUP_BYTES)))
    return (table.slice(start, rows) for start in range(0, table.num_rows, rows))
