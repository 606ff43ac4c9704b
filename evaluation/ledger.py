"""The ledger of a leaderboard: who found what of which submission, when, by which version. It is only added to."""

import fcntl
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from io import FileIO
from pathlib import Path
from typing import Any, Literal, get_args

from wildhoi.errors import InputError, RunError
from wildhoi.files import canonical_json

LEDGER = "ledger.jsonl"
SPEC = 1
MAX_BYTES = 64 * 2**20
MAX_TEXT = 1000  # characters
MAX_ITEMS = 100  # changes, or means, of a line
Outcome = Literal["added", "re-scored", "changed", "differs", "invalid", "removed", "verified"]
Level = Literal["reported", "scored", "re-scored", "verified"]
FOUND = ("added", "re-scored", "changed")
"""The outcomes of a check that found every number as it is stored."""
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Line:
    """What was found of a submission once.

    Attributes:
        date: UTC.
        by: who found it.
        wildhoi: the version that scored.
        path: of the submission, relative to the ledger's folder.
        verdict: the outcome that is new.
        changed: what is other than before, or than scoring again finds.
        how: how it was verified; empty for a check.
        method, protocol, protocol_hash, dataset, revision: as its scores say; None where they cannot be read.
        predictions, scores: sha256 of predictions.parquet and scores.json; None where there is none.
        means: of the headline metrics, where scoring again found them.
    """

    date: str
    by: str
    wildhoi: str
    path: str
    verdict: Outcome
    changed: tuple[str, ...] = ()
    how: str = ""
    method: str | None = None
    protocol: str | None = None
    protocol_hash: str | None = None
    dataset: str | None = None
    revision: str | None = None
    predictions: str | None = None
    scores: str | None = None
    means: Mapping[str, float | None] = field(default_factory=dict)
    spec: int = SPEC

    @property
    def found(self) -> bool:
        """Whether it is of a check that found every number as it is stored."""
        return self.verdict in FOUND

    @property
    def files(self) -> tuple[str | None, str | None]:
        """The hashes of what it speaks of."""
        return self.predictions, self.scores

    def to_dict(self) -> dict[str, Any]:
        """The line as plain data."""
        return {"spec": self.spec, **asdict(self), "changed": list(self.changed)}

    def to_json(self) -> str:
        """The line as it is stored: ASCII, so that no text in it steers a terminal."""
        return json.dumps(self.to_dict(), allow_nan=False)


Ledger = Sequence[Line]


@dataclass(frozen=True)
class Mark:
    """How far a row can be trusted, and the line that says so.

    `reported`: copied from a paper. `scored`: nobody but its author has scored it. `re-scored`: its stored scores were
    found again. `verified`: and the method was run again with the same result, or by those who keep the ledger.
    """

    level: Level = "scored"
    line: Line | None = None


REPORTED = Mark("reported")


def mark_of(ledger: Ledger, predictions: str, scores: str) -> Mark:
    """The mark of a submission: what the ledger says of exactly these files.

    A method that was run again vouches for the predictions under a protocol and a revision of the data, in whatever
    file their scores stand; that these are right is what a check says.

    Args:
        ledger: as `read_ledger` gives it.
        predictions: sha256 of predictions.parquet.
        scores: sha256 of scores.json.
    """
    checked: dict[str, Line] = {}  # a copy elsewhere that was found to differ takes nothing from this one
    verified: dict[str, Line] = {}
    for line in ledger:
        if line.verdict == "verified" and line.predictions == predictions:
            verified[line.path] = line
        elif line.files == (predictions, scores) and line.verdict != "removed":
            checked[line.path] = line
    good = {path: line for path, line in checked.items() if line.found}
    for path, line in good.items():
        again = verified.get(path)
        if again and (again.protocol_hash, again.revision) == (line.protocol_hash, line.revision):
            return Mark("verified", again)
    return Mark("re-scored", next(iter(good.values()))) if good else Mark()


def read_ledger(path: Path) -> tuple[Line, ...]:
    """Read a ledger; one that is not there has no lines.

    Raises:
        InputError: a line of it is not one, with its number; or it cannot be read.
    """
    if not path.exists():
        return ()
    with _opened(path, "rb") as stream:
        return _read(path, stream)


def extend_ledger(path: Path, more: Callable[[Ledger], Sequence[Line]]) -> list[Line]:
    """Add what `more` makes of the lines that are there: all of it or nothing, and nobody else meanwhile.

    Raises:
        InputError: the ledger is damaged, or its folder is not there.
        RunError: it cannot be written.
    """
    if not path.exists() and not more(()):
        return []  # nothing to say is no reason for a file
    with _opened(path, "ab+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        lines = list(more(_read(path, stream)))
        if lines:
            _append(path, stream, "".join(f"{_stored(path, line)}\n" for line in lines))
    return lines


def _stored(path: Path, line: Line) -> str:
    """The text of a line that can be read back; a name may have thousands of characters."""
    text = line.to_json()
    try:
        _parse(text.encode())
    except ValueError as error:
        raise InputError(
            f"{path}: {line.path:.200}: cannot be a line of it ({error}); give it a shorter name"
        ) from None
    return text


@contextmanager
def _opened(path: Path, mode: Literal["rb", "ab+"]) -> Iterator[FileIO]:
    """The file without a buffer, so that one write is one write."""
    try:
        stream = path.open(mode, buffering=0)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened as a ledger ({error.strerror}); want a file in a folder") from None
    with stream:
        yield stream


def _append(path: Path, stream: FileIO, text: str) -> None:
    """Write at the end in one piece; what is written in part is taken back."""
    size = os.fstat(stream.fileno()).st_size
    content = (b"" if _ends_a_line(stream, size) else b"\n") + text.encode()
    try:
        if stream.write(content) != len(content):
            raise OSError(None, "the disk is full")
        os.fsync(stream.fileno())
    except BaseException as error:
        os.ftruncate(stream.fileno(), size)
        if isinstance(error, OSError):
            raise RunError(f"{path}: cannot be written ({error.strerror}); it is as it was") from None
        raise


def _ends_a_line(stream: FileIO, size: int) -> bool:
    """Whether the next text begins a line: editors may drop the last line's end."""
    return size == 0 or os.pread(stream.fileno(), 1, size - 1) == b"\n"


def _read(path: Path, stream: FileIO) -> tuple[Line, ...]:
    size = os.fstat(stream.fileno()).st_size
    if size > MAX_BYTES:
        raise InputError(f"{path}: a ledger of {size} bytes, at most {MAX_BYTES} are read")
    stream.seek(0)
    lines = []
    for number, text in enumerate(stream.read().removesuffix(b"\n").split(b"\n") if size else [], 1):
        try:
            lines.append(_parse(text))
        except (ValueError, OverflowError, RecursionError) as error:
            raise InputError(
                f"{path}: line {number}: {' '.join(str(error).split())[:200]}; a ledger is only added to: take the "
                "line from the history of the repository"
            ) from None
    return tuple(lines)


def _parse(text: bytes) -> Line:
    """One line; raises ValueError where it is none."""
    content = json.loads(text)
    names = [f.name for f in fields(Line)]
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    if content.get("spec") != SPEC:
        raise ValueError(f"has spec {content.get('spec')!r:.40}, this version reads {SPEC}")
    if wrong := sorted(set(content) ^ set(names)):
        raise ValueError(f"want exactly the fields {', '.join(names)}; {wrong[0]!r:.60} is missing or too many")
    for name, value in content.items():
        if not _fits(name, value):
            raise ValueError(f"{name} is {canonical_json(value)[:60]}")
    return Line(**{**content, "changed": tuple(content["changed"])})


def _fits(name: str, value: Any) -> bool:
    """Whether a field has a value of its kind."""
    if name == "spec":
        return type(value) is int
    if name == "verdict":
        return value in get_args(Outcome)
    if name == "changed":
        return isinstance(value, list) and len(value) <= MAX_ITEMS and all(map(_is_text, value))
    if name == "means":
        return isinstance(value, dict) and len(value) <= MAX_ITEMS and all(map(_is_mean, value.values()))
    if value is None:
        return name not in ("date", "by", "wildhoi", "path", "how")
    if not _is_text(value):
        return False
    pattern = {"date": DATE, "predictions": SHA256, "scores": SHA256}.get(name)
    return pattern is None or pattern.fullmatch(value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_mean(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
