"""Samples of a data set, from a folder or from the Hub, at random or as a stream."""

import glob
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Shaped

from wildhoi.dataset.finding import DAMAGED_HINT, check_file
from wildhoi.dataset.folder import SPLITS, find_local
from wildhoi.dataset.samples import FLOATS, INTEGERS, TEXTS
from wildhoi.dataset.stored import check_schema, read_sample
from wildhoi.dataset.tables import fetch_files, require_matches, table_patterns
from wildhoi.errors import InputError, RunError, one_line
from wildhoi.schema import Sample

ROWS_AT_ONCE = 500  # while the library copies files to its cache; small batches cost it much overhead
NUMBERS = {**FLOATS, **INTEGERS}


@dataclass(frozen=True, eq=False)
class Samples(Sequence[Sample]):
    """The samples of a split at random access; safe to hand to the workers of a torch DataLoader.

    `table` is the data set as the library `datasets` has it, mapped from disk.
    """

    source: str
    table: Any

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Samples": ...
    def __getitem__(self, index: int | slice) -> "Sample | Samples":
        if isinstance(index, slice):
            return Samples(self.source, self.table.select(range(*index.indices(len(self)))))
        row = range(len(self))[index]
        return read_sample(self._arrow[row], 0)

    def __iter__(self) -> Iterator[Sample]:
        return (self[row] for row in range(len(self)))

    @cached_property
    def _arrow(self) -> Any:
        return self.table.with_format("arrow")

    @cached_property
    def rows(self) -> dict[str, int]:
        """Where each image is."""
        ids = self.arrays("image_id")["image_id"].tolist()
        found = {image_id: row for row, image_id in enumerate(ids)}
        if len(found) < len(ids):
            raise InputError(f"{self.source}: {len(ids) - len(found)} image ids are there twice; choose one object")
        return found

    def find(self, image_id: str) -> Sample:
        """The sample of an image.

        Raises:
            InputError: there is none.
        """
        if image_id not in self.rows:
            raise InputError(f"{self.source}: has no sample {image_id!r}, the first of {len(self)} is {self._first()}")
        return self[self.rows[image_id]]

    def _first(self) -> str:
        return repr(next(iter(self.rows), None))

    def arrays(self, *names: str) -> dict[str, Shaped[np.ndarray, "..."]]:
        """Whole columns as arrays (n, *shape); numbers are NaN, texts empty and integers -1 where a sample has none.

        Args:
            names: of texts and of numbers with a fixed shape, such as `betas` or `wholebody_keypoints`.

        Raises:
            InputError: a name is not of such a column.
        """
        unknown = sorted(set(names) - {*NUMBERS, *TEXTS})
        if unknown:
            raise InputError(
                f"no columns of one shape: {', '.join(unknown)}; there are {', '.join([*TEXTS, *NUMBERS])}"
            )
        table = self._arrow.select_columns(list(names))[:]
        return {name: _array(table.column(name), name) for name in names}


@dataclass(frozen=True, eq=False)
class SampleStream:
    """The samples of a split in turn, read as they are asked for; a torch DataLoader's workers share its files.

    `table` is the iterable data set of the library `datasets`.
    """

    source: str
    table: Any

    def __iter__(self) -> Iterator[Sample]:
        try:
            for row in self.table.with_format("arrow"):
                yield read_sample(row, 0)
        except (OSError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{self.source}: its samples cannot be read on ({reason}); {DAMAGED_HINT}") from None

    def shuffle(self, seed: int, buffer_size: int = 1000) -> "SampleStream":
        """The same samples with files and rows in another order, rows within a buffer of that size."""
        return SampleStream(self.source, self.table.shuffle(seed=seed, buffer_size=buffer_size))


@overload
def load_samples(
    name: str | Path,
    split: str = "test",
    objects: Sequence[str] | None = None,
    *,
    streaming: Literal[False] = False,
    mini: bool = False,
    revision: str | None = None,
) -> Samples: ...
@overload
def load_samples(
    name: str | Path,
    split: str = "test",
    objects: Sequence[str] | None = None,
    *,
    streaming: Literal[True],
    mini: bool = False,
    revision: str | None = None,
) -> SampleStream: ...
def load_samples(
    name: str | Path,
    split: str = "test",
    objects: Sequence[str] | None = None,
    *,
    streaming: bool = False,
    mini: bool = False,
    revision: str | None = None,
) -> Samples | SampleStream:
    """Read the inputs of a split; their pictures are decoded when they are touched.

    Args:
        name: a data folder, the name of one at hand, else a data set of the Hub (`wildhoi`, or `user/name`).
        split: `train` or `test`.
        objects: names of categories; default all.
        streaming: read in turn, without a copy on disk, instead of at random.
        mini: the few rows of every object that are for trying things out.
        revision: of a data set of the Hub: a tag, branch or commit; default its main branch.

    Raises:
        InputError: the split or an object is not there, or a file is no file of samples.
        MissingAssetError: the data set is neither at hand nor on the Hub, or needs a permission.
        RunError: the Hub cannot be reached.
    """
    if split not in SPLITS:
        raise InputError(f"split {split!r}: want one of {', '.join(SPLITS)}")
    folder = find_local(name, revision)
    if folder is not None:
        return _open_files(str(folder.path), folder.files(_kind(mini), split, objects), split, streaming)
    patterns = table_patterns(_kind(mini), split, objects)
    if streaming:
        return _stream_hub(str(name), patterns, split, revision)
    return _open_files(*fetch_files(str(name), patterns, revision), split, streaming)


def _open_files(source: str, files: Sequence[Path], split: str, streaming: bool) -> Samples | SampleStream:
    import datasets

    for file in files:
        check_file(file)
        _check_notes(file)
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # local files are nobody's business: it would tell a server
    names = {split: [glob.escape(str(file)) for file in files]}  # which the library takes as patterns
    options = {} if streaming else {"batch_size": ROWS_AT_ONCE}
    try:
        table = datasets.load_dataset("parquet", data_files=names, split=split, streaming=streaming, **options)
        return _stream(source, table) if streaming else Samples(source, table)
    except datasets.exceptions.DatasetGenerationError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise InputError(f"{source}: its samples cannot be read ({reason}); {DAMAGED_HINT}") from None


def _check_notes(path: Path) -> None:
    """Refuse a file whose notes on its columns `datasets` cannot read: it takes them as they are."""
    import datasets

    try:
        datasets.Features.from_arrow_schema(pq.read_schema(path))
    except Exception as error:  # noqa: BLE001 - the library tests nothing of them: any kind may come out
        reason = f"{type(error).__name__}: {one_line(error, 200)}"
        raise InputError(
            f"{path}: its notes on columns cannot be read ({reason}); download or convert it again"
        ) from None


def _kind(mini: bool) -> str:
    return "mini/samples" if mini else "samples"


def _stream_hub(name: str, patterns: list[str], split: str, revision: str | None) -> SampleStream:
    """The samples of the Hub in turn, without a copy on disk."""
    import datasets

    from wildhoi import hub

    repository, commit = hub.resolve(name, revision)
    source = f"{repository} at {commit[:12]}"
    require_matches(source, hub.list_names(name, commit), patterns)
    files = {split: patterns}
    try:
        table = datasets.load_dataset(repository, data_files=files, split=split, streaming=True, revision=commit)
    except (FileNotFoundError, datasets.exceptions.DatasetNotFoundError):
        raise InputError(f"{source}: has none of {', '.join(patterns)}") from None
    except OSError as error:
        hint = "check the connection; without streaming=True, what was fetched before is read offline"
        raise RunError(f"{source}: cannot be streamed ({' '.join(str(error).split())[:200]}); {hint}") from None
    check_schema(source, table.features.arrow_schema)
    return _stream(source, table)


def _stream(source: str, table: Any) -> SampleStream:
    if "torch" in sys.modules:  # so that a DataLoader reads it in turn instead of asking for rows
        sys.modules["torch"].utils.data.IterableDataset.register(SampleStream)
    return SampleStream(source, table)


def _array(column: Any, name: str) -> Shaped[np.ndarray, "..."]:
    """A column as one array; the places of nulls are filled."""
    chunk = column.combine_chunks()
    if name in TEXTS:
        return np.array(chunk.fill_null("").to_pylist())
    shape = NUMBERS[name]
    kind, empty = (np.int32, -1) if name in INTEGERS else (np.float32, np.nan)
    values = chunk.flatten() if shape else chunk.drop_null()
    if chunk.null_count == 0:
        return np.asarray(values.to_numpy(zero_copy_only=False).reshape(len(chunk), *shape))
    out = np.full((len(chunk), *shape), empty, kind)
    out[chunk.is_valid().to_numpy(zero_copy_only=False)] = values.to_numpy(zero_copy_only=False).reshape(-1, *shape)
    return out
