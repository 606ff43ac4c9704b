"""What goes into the ledger: the outcomes of a check that are new, and who verified a submission, and how."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evaluation.checking import Verdict
from evaluation.leaderboard.entries import read_entry
from evaluation.leaderboard.text import clean
from evaluation.ledger import Ledger, Line, Outcome, extend_ledger, read_ledger
from evaluation.scores import SCORES
from wildhoi import __version__
from wildhoi.errors import InputError
from wildhoi.files import sha256_file
from wildhoi.submission.folder import PREDICTIONS

SHOWN = 20  # differences in a line; `wildhoi leaderboard check --json` has all
LENGTH = 300  # characters of one
FACTS = ("method", "protocol", "protocol_hash", "dataset", "revision")
FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/:']+/)+")  # of a path of this machine, which is nobody's business
OWN = "made by whoever keeps the ledger"
CHECKED = ("ok", "differs", "invalid")  # the states that say something of a submission


@dataclass(frozen=True)
class Recorder:
    """A ledger, the folder that is checked, by its path and seen from the ledger's, and who does it."""

    ledger: Path
    folder: Path
    place: Path
    by: str

    def sign(self, line: Line, verdict: Outcome, **changes: Any) -> Line:
        """A line with an outcome of now."""
        return replace(line, date=now(), by=self.by, wildhoi=__version__, verdict=verdict, **changes)


def recorder(ledger: Path, folder: Path, by: str | None = None) -> Recorder:
    """Make sure that a folder can be recorded in a ledger, before any work is done.

    Args:
        ledger: the file, in the folder or above it, so that the paths in it are the same for every check.
        folder: of submissions.
        by: who checks; default $GITHUB_ACTOR, else git's user.name.

    Raises:
        InputError: the ledger is elsewhere or damaged, or nobody is named.
    """
    home = ledger.absolute().parent.resolve()
    if not folder.resolve().is_relative_to(home):
        raise InputError(f"{ledger}: want a ledger in {folder} or above it: its lines name submissions relative to it")
    read_ledger(ledger)
    return Recorder(ledger, folder, folder.resolve().relative_to(home), who(by, home))


def who(by: str | None, folder: Path) -> str:
    """The name that a line carries: the one given, $GITHUB_ACTOR, or git's user.name.

    Raises:
        InputError: there is none.
    """
    name = clean(by or os.environ.get("GITHUB_ACTOR") or _git_user(folder))[:LENGTH]
    if not name:
        raise InputError("nobody is named who checks: want --by NAME, $GITHUB_ACTOR, or `git config user.name NAME`")
    return name


def _git_user(folder: Path) -> str:
    try:
        done = subprocess.run(
            ["git", "config", "user.name"], cwd=folder, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def now() -> str:
    """The time in UTC; $SOURCE_DATE_EPOCH, in seconds since 1970, stands for it where it is set.

    Raises:
        InputError: it is no such number.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.now(UTC) if given is None else datetime.fromtimestamp(int(given), UTC)
    except (ValueError, OverflowError, OSError):
        raise InputError(f"SOURCE_DATE_EPOCH is {given!r:.40}, want seconds since 1970") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def record_checks(book: Recorder, verdicts: Sequence[Verdict]) -> list[Line]:
    """Add a line for every submission whose outcome is new; what could not be checked has none.

    Returns:
        the lines that were added.

    Raises:
        InputError, RunError: the ledger is damaged, or cannot be written.
    """
    checked = [(verdict, _facts(book, verdict)) for verdict in verdicts if verdict.status in CHECKED]

    def news(held: Ledger) -> list[Line]:
        last = {line.path: line for line in held if line.verdict != "verified"}
        lines = [_news(verdict, facts, last.get(facts.path)) for verdict, facts in checked]
        return [*(line for line in lines if line is not None), *_gone(book, verdicts, last)]

    return extend_ledger(book.ledger, news)


def record_verified(book: Recorder, how: str) -> Line | None:
    """Add that the submission at the recorder's folder was verified; None where that is on record already.

    Raises:
        InputError: the ledger does not say that exactly its scores were found again.
    """
    if not book.folder.is_dir():
        raise InputError(f"{book.folder}: no such folder, want a submission")
    path, files = book.place.as_posix(), tuple(_sha256(book.folder / name) for name in (PREDICTIONS, SCORES))

    def news(held: Ledger) -> list[Line]:
        last = next((line for line in reversed(held) if line.path == path and line.verdict != "verified"), None)
        if last is None or not last.found or last.files != files:
            raise InputError(
                f"{book.folder}: {book.ledger} does not say that exactly these scores were found again; "
                f"`wildhoi leaderboard check {book.folder} --ledger {book.ledger}` does that first"
            )
        line = book.sign(last, "verified", changed=(), how=clean(how)[:LENGTH])
        alike = [old for old in held if old.verdict == "verified" and (old.path, old.files) == (path, files)]
        known = any(replace(old, date=line.date, wildhoi=line.wildhoi) == line for old in alike)
        # who made a row says less than that it was run again
        return [] if known or (how == OWN and alike) else [line]

    return next(iter(extend_ledger(book.ledger, news)), None)


def _sha256(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None


def _path(book: Recorder, verdict: Verdict) -> str:
    return (book.place / verdict.path).as_posix()


def _facts(book: Recorder, verdict: Verdict) -> Line:
    """A line of what is there now; its outcome is still to be found."""
    line = Line(now(), book.by, __version__, _path(book, verdict), "invalid")
    line = replace(line, predictions=verdict.predictions, scores=verdict.scores)
    try:
        entry = read_entry(book.folder / verdict.path / SCORES, verdict.path)
    except InputError:
        return line
    means = {name: cell.mean for name, cell in entry.overall.metrics.items()} if verdict.status == "ok" else {}
    texts: dict[str, Any] = {name: clean(str(getattr(entry, name)))[:LENGTH] for name in FACTS}
    return replace(line, **texts, means=means)


def _news(verdict: Verdict, facts: Line, last: Line | None) -> Line | None:
    """The line of a submission that is there; None where the last one says the same."""
    if last is not None and last.verdict == "removed":
        last = None
    if verdict.status == "ok":
        return _good_news(facts, last)
    found = [_plain(str(difference)) for difference in verdict.differences] or [_plain(verdict.reason)]
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    outcome: Outcome = "differs" if verdict.status == "differs" else "invalid"
    line = replace(facts, verdict=outcome, changed=(*found[:SHOWN], *more))
    return None if last is not None and replace(line, date=last.date, by=last.by) == last else line


def _good_news(facts: Line, last: Line | None) -> Line | None:
    if last is None:
        return replace(facts, verdict="added")
    if last.found and last.files == facts.files and last.wildhoi == facts.wildhoi:
        return None
    same = last.found and last.predictions == facts.predictions and last.means == facts.means
    return replace(facts, verdict="re-scored" if same else "changed", changed=tuple(_changes(last, facts)))


def _changes(old: Line, new: Line) -> Iterator[str]:
    """What is other than in the last line, in a few words each."""
    if not old.found:
        yield f"{old.verdict} before"
    for name in (*FACTS, "wildhoi"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield f"{name}: {str(before)[:60]} -> {str(after)[:60]}"
    for name, before, after in zip((PREDICTIONS, SCORES), old.files, new.files, strict=True):
        if before != after:
            yield name
    for name in dict.fromkeys((*old.means, *new.means)) if old.found else ():
        if old.means.get(name) != new.means.get(name):
            yield f"{name}: {old.means.get(name)} -> {new.means.get(name)}"


def _plain(text: str) -> str:
    """A foreign text on one line, without the folders of this machine."""
    return FOLDERS.sub("", clean(text))[:LENGTH]


def _gone(book: Recorder, verdicts: Sequence[Verdict], last: Mapping[str, Line]) -> Iterator[Line]:
    """Lines of submissions below the folder that are there no more, or without scores."""
    states = {_path(book, verdict): verdict.status for verdict in verdicts}
    for path, line in last.items():
        below = Path(path).is_relative_to(book.place)
        if below and line.verdict != "removed" and states.get(path, "no scores") == "no scores":
            why = f"it has no {SCORES} any more" if path in states else "its folder is gone"
            yield book.sign(line, "removed", changed=(why,), means={})
