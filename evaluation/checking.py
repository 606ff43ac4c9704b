"""`wildhoi leaderboard check`: committed submissions scored again; every number must be the one that is stored."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from evaluation.protocol import Protocol, load_protocol, protocol_ids
from evaluation.scores import PER_IMAGE, SCORES, SEAL, Scores, per_image_table, read_scores, seal_of
from wildhoi.dataset import DataFolder
from wildhoi.engine import Local
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import sha256_file
from wildhoi.open_scenes.truth import truth_of
from wildhoi.parquet import MAX_RATIO, is_flat, most_claims
from wildhoi.submission.folder import MANIFEST, PREDICTIONS, Submission, read_submission

Status = Literal["ok", "differs", "invalid", "no scores", "not checked"]
NOTHING = "nothing"  # beside a value that the other side lacks
ENVIRONMENT = "versions"  # of scores.json: may differ, since no number may depend on it
MAX_TABLE_BYTES = 2**28  # of per_image.parquet, unpacked


@dataclass(frozen=True)
class Difference:
    """A place of scores.json or per_image.parquet, what is stored there, and what scoring again finds; both as text."""

    field: str
    stored: str
    found: str

    def __str__(self) -> str:
        return f"{self.field}: stored {self.stored}, found {self.found}"


@dataclass(frozen=True)
class Verdict:
    """What became of a folder: `reason` where it could not be compared, `differences` of what must be equal.

    `path` is relative to the folder that was searched; `versions` are those of the libraries that differ, which is no
    difference. `predictions` and `scores` are the sha256 of predictions.parquet and scores.json, None where
    there is none.
    """

    path: str
    status: Status
    protocol: str | None = None
    reason: str = ""
    differences: tuple[Difference, ...] = ()
    versions: tuple[Difference, ...] = ()
    predictions: str | None = None
    scores: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain data."""
        return asdict(self)


Progress = Callable[[str, int, int], None]


def check_submissions(
    folder: Path, data: str | Path | None = None, *, workers: int = 1, progress: Progress | None = None
) -> list[Verdict]:
    """Score every submission below a folder again and compare with the scores beside it, bit for bit.

    Args:
        folder: searched at any depth; hidden folders are left out.
        data: the truth of all of them; default the data set that a submission names, the open set's from the package
            where it is not at hand.
        workers: processes at once.
        progress: called with (submission, images scored, images).

    Raises:
        InputError: there is no such folder, or `data` is no data folder.
        MissingAssetError: `data` is not at hand.
        RunError: a worker died.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, want one with submissions below it")
    with ExitStack() as stack:
        truths: dict[str, DataFolder] = {}

        def truth(name: str) -> DataFolder:
            if name not in truths:
                truths[name] = stack.enter_context(truth_of(name))
            return truths[name]

        given = None if data is None else stack.enter_context(truth_of(data))
        return [
            _check(path, path.relative_to(folder).as_posix(), given or truth, workers, progress)
            for path in find_submissions(folder)
        ]


def find_submissions(folder: Path) -> list[Path]:
    """The folders below one, or it itself, that hold a submission, or scores that should be of one, sorted."""
    found = {path.parent for name in (MANIFEST, SCORES) for path in folder.rglob(name)}
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


Truth = DataFolder | Callable[[str], DataFolder]


def _check(path: Path, name: str, truth: Truth, workers: int, progress: Progress | None) -> Verdict:
    """The verdict of a folder, with the hashes of its files as they were before they were read."""
    files = (path / PREDICTIONS, path / SCORES)
    predictions, scores = (sha256_file(file) if file.is_file() else None for file in files)
    return replace(_verdict(path, name, truth, workers, progress), predictions=predictions, scores=scores)


def _verdict(path: Path, name: str, truth: Truth, workers: int, progress: Progress | None) -> Verdict:
    protocol = None
    told = None if progress is None else (lambda done, total: progress(name, done, total))
    try:
        submission = read_submission(path)
        if not (path / SCORES).is_file():
            return Verdict(name, "no scores")
        stored = read_scores(path / SCORES)
        rules = protocol_of(path / SCORES, stored)
        protocol = rules.id
        data = truth if isinstance(truth, DataFolder) else truth(submission.manifest.dataset)
        found = _score(submission, data, rules, workers, told)
        table = read_table(path / PER_IMAGE)
        differences = [*_differences(stored, found), *_table_differences(table, found)] or [*_broken(stored, table)]
    except MissingAssetError as error:
        return Verdict(name, "not checked", protocol, str(error))
    except InputError as error:
        return Verdict(name, "invalid", protocol, str(error))
    versions = tuple(_compare(ENVIRONMENT, stored.get(ENVIRONMENT), _plain(found)[ENVIRONMENT]))
    return Verdict(name, "differs" if differences else "ok", protocol, "", tuple(differences), versions)


def protocol_of(path: Path, stored: Mapping[str, Any]) -> Protocol:
    """The shipped protocol that a score file names.

    Raises:
        InputError: it names none, or one that does not ship.
    """
    protocol = stored["protocol"]
    name = protocol.get("id") if isinstance(protocol, dict) else None
    if name not in protocol_ids():
        raise InputError(f"{path}: protocol {name!r:.60} is unknown, want one of {', '.join(protocol_ids())}")
    return load_protocol(str(name))


def _score(
    submission: Submission,
    data: DataFolder,
    protocol: Protocol,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> Scores:
    from evaluation.evaluate import Options, evaluate  # torch, for those that have something to score

    return evaluate(submission, data, protocol, Options(engine=Local(workers)), progress)


def _plain(scores: Scores) -> dict[str, Any]:
    """The content of scores.json as it is read back."""
    return dict(json.loads(json.dumps(scores.scores)))


def _broken(stored: Mapping[str, Any], table: Any) -> Iterator[Difference]:
    """Where a score file was changed after it was sealed, if only in what may differ between two machines."""
    seal = seal_of(stored, table.to_pylist())
    if stored.get(SEAL) != seal:
        yield Difference(SEAL, _shown(stored.get(SEAL, _Absent)), _shown(seal))


def _differences(stored: Mapping[str, Any], found: Scores) -> Iterator[Difference]:
    """Where a score file differs from what scoring again would write."""
    apart = {ENVIRONMENT, SEAL}  # which seals the environment too
    sides = [{name: value for name, value in side.items() if name not in apart} for side in (stored, _plain(found))]
    yield from _compare("", *sides)


def _compare(field: str, stored: Any, found: Any) -> Iterator[Difference]:
    """Every place where two JSON values differ; numbers are equal where their shortest texts are, to the last bit."""
    if isinstance(stored, dict) and isinstance(found, dict):
        for name in dict.fromkeys((*found, *stored)):
            there = [side.get(name, _Absent) for side in (stored, found)]
            yield from _compare(f"{field}.{name}" if field else name, *there)
    elif isinstance(stored, list) and isinstance(found, list) and len(stored) == len(found):
        for index, pair in enumerate(zip(stored, found, strict=True)):
            yield from _compare(f"{field}[{index}]", *pair)
    elif repr(stored) != repr(found):
        yield Difference(field, _shown(stored), _shown(found))


class _Absent:
    """Stands for a value that is not there, which null is."""


def _shown(value: Any) -> str:
    if value is _Absent:
        return NOTHING
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _table_differences(stored: Any, found: Scores) -> Iterator[Difference]:
    """Where per_image.parquet differs from what scoring again would write: columns, their types, rows, cells."""
    wanted = per_image_table(found)
    if stored.schema.names != wanted.schema.names or stored.num_rows != wanted.num_rows:
        sizes = (f"{table.num_rows} rows of {', '.join(table.schema.names)}" for table in (stored, wanted))
        yield Difference(PER_IMAGE, *sizes)
        return
    ids = wanted["image_id"].to_pylist()
    for name in wanted.schema.names:
        kinds = [str(table.schema.field(name).type) for table in (stored, wanted)]
        if kinds[0] != kinds[1]:
            yield Difference(f"{PER_IMAGE}: {name}", *kinds)
        cells = zip(ids, stored[name].to_pylist(), wanted[name].to_pylist(), strict=True)
        for image_id, old, new in cells:
            if repr(old) != repr(new):
                yield Difference(f"{PER_IMAGE}: {image_id}: {name}", str(old)[:60], str(new)[:60])


def read_table(path: Path) -> Any:
    """The stored table of images; a file of nobody knows whom, so no larger than a table of images may be.

    Raises:
        InputError: there is none, it is not readable, or larger than one can be.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(f"{path}: no such file beside {SCORES}; `wildhoi evaluate` writes both")
    try:
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
            size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
            stored = path.stat().st_size
            if size > max(MAX_TABLE_BYTES, MAX_RATIO * stored) or metadata.num_rows > most_claims(stored).rows:
                raise InputError(
                    f"{path}: {metadata.num_rows} rows, {size} bytes unpacked; no table of images is so large"
                )
            if nested := [field.name for field in file.schema_arrow if not is_flat(field.type)]:
                raise InputError(f"{path}: column {nested[0]} holds tables, want texts and numbers; score it again")
            if len(set(names := file.schema_arrow.names)) < len(names):
                raise InputError(f"{path}: two columns of one name; score it again")
            table = file.read()
            table.validate(full=True)  # texts need not be Unicode in the file
            return table
    except (OSError, pa.ArrowException, ValueError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({' '.join(str(error).split())[:200]})") from None
