"""Samples of a data folder found by their images, straight from its files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wildhoi.dataset.folder import DataFolder
from wildhoi.dataset.stored import check_schema, read_sample
from wildhoi.errors import InputError, one_line
from wildhoi.schema import Sample

DAMAGED_HINT = "`wildhoi data verify` says which file is damaged"
MAX_GROUP_BYTES = 2**30


def find_sample(folder: DataFolder, image_id: str, split: str = "test") -> Sample | None:
    """Read one sample of a data folder straight from its files; None where it has none of that image.

    Raises:
        InputError: the split is not there, or a file is no file of samples.
    """
    finder = SampleFinder(folder, split)
    return finder.read([image_id])[0] if image_id in finder.places else None


class SampleFinder:
    """Reads samples of a split by image, in any order: where they are is looked up once, their row groups when asked.

    It holds one row group, so images that are asked for in the order of the files are read once.
    """

    def __init__(self, folder: DataFolder, split: str, objects: Sequence[str] | None = None) -> None:
        """Look at nothing yet; `objects` are names of categories, default all."""
        self.folder, self.split, self.objects = folder, split, objects
        self._held: tuple[Path, int, Any] | None = None

    @cached_property
    def places(self) -> dict[str, tuple[Path, int, int]]:
        """The file, the row group and the row in it of every image.

        Raises:
            InputError: the split or an object is not there, or a file is no file of samples.
        """
        found: dict[str, tuple[Path, int, int]] = {}
        for path in self.folder.files("samples", self.split, self.objects):
            check_file(path)
            with _readable(path), pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    ids = file.read_row_group(group, columns=["image_id"])["image_id"].to_pylist()
                    found |= {image_id: (path, group, row) for row, image_id in enumerate(ids)}
        return found

    def read(self, image_ids: Sequence[str]) -> list[Sample]:
        """The samples of images, in their order.

        Raises:
            InputError: an image is not there, or a file cannot be read.
        """
        return [self._read(image_id) for image_id in image_ids]

    def _read(self, image_id: str) -> Sample:
        if image_id not in self.places:
            raise InputError(f"{self.folder.path}: image {image_id!r} is not among the samples of split {self.split}")
        path, group, row = self.places[image_id]
        if self._held is None or self._held[:2] != (path, group):
            with _readable(path), pq.ParquetFile(path) as file:
                self._held = path, group, file.read_row_group(group)
        return read_sample(self._held[2], row)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: its samples cannot be read ({one_line(error, 200)}); {DAMAGED_HINT}") from None


def check_file(path: Path) -> None:
    """Look at a file before it is read: its columns, and how much one of its row groups says it unpacks to.

    Raises:
        InputError: it is no file of samples, or larger than one can be.
    """
    try:
        with pq.ParquetFile(path) as file:
            metadata, schema = file.metadata, file.schema_arrow
        check_schema(str(path), schema)
        largest = max((metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups)), default=0)
        if largest > MAX_GROUP_BYTES:
            raise InputError(f"{path}: a row group of {largest} bytes unpacked, at most {MAX_GROUP_BYTES} are read")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({one_line(error, 200)}); download or convert it again"
        ) from None
