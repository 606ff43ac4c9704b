"""What the commands share: options, printing, progress."""

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Annotated, Any

import typer

from wildhoi.errors import InputError
from wildhoi.submission.defects import Defect

PIPE_WIDTH = 120

Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes at once; the result does not depend on it.")]
Objects = Annotated[str, typer.Option("--objects", help="Only these objects, separated by commas.")]
Data = Annotated[str | None, typer.Option("--data", help="A data folder or the name of a data set.")]


def show(*things: Any) -> None:
    """Print a result; into a file or a pipe as wide as a table likes to be."""
    from rich.console import Console

    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(highlight=False, width=None if known else PIPE_WIDTH).print(*things)


def say(text: str) -> None:
    """Tell the user something that is no result."""
    from rich.console import Console

    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)


def printable(value: object) -> str:
    """A text of one line without control characters: foreign files may hold any."""
    return "".join(c if c.isprintable() else " " for c in str(value))


def show_json(value: Any) -> None:
    """Print a result as JSON."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def names(text: str) -> tuple[str, ...]:
    """The names in a comma-separated option; none where it is not given.

    Raises:
        InputError: it is given and names nothing.
    """
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if text and not found:
        raise InputError(f"{text!r}: names nothing; give names separated by commas, or leave the option out")
    return found


class Progress(AbstractContextManager["Progress"]):
    """A progress bar on stderr, only where somebody looks."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._bar = progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, name: str, done: int, total: int, note: str = "") -> None:
        """Move the bar of a piece of work; the note stands beside its name."""
        from rich.markup import escape

        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=total)
        text = escape(f"{name} {note}".rstrip())
        self._bar.update(self._tasks[name], completed=done, total=total, visible=done < total, description=text)


def say_defects(defects: Sequence[Defect]) -> None:
    """One line per kind of warning, so that a thousand alike do not hide the rest."""
    first: dict[str, Defect] = {}
    counts = Counter(defect.code for defect in defects)
    for defect in defects:
        first.setdefault(defect.code, defect)
    for code, defect in first.items():
        more = f" (and {counts[code] - 1} more such)" if counts[code] > 1 else ""
        say(f"{defect.severity}: {printable(defect)}{more}")
