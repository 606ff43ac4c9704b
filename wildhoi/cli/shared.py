"""What the commands share: options, printing, progress."""

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wildhoi.errors import InputError, printable
from wildhoi.submission.defects import Defect

if TYPE_CHECKING:
    from wildhoi.engine import Engine

PIPE_WIDTH = 120
QUIET = 30.0
"""Seconds between two lines of progress where there is no terminal to draw a bar on; work that takes longer gets a last
line with its speed."""

Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes at once; the result does not depend on it.")]
Processes = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Shards at once: default 1 process, or all a cluster has; changes no result."
    ),
]
EngineKind = Annotated[
    Literal["local", "ray"], typer.Option("--engine", help="This machine's processes, or a Ray cluster's.")
]
Address = Annotated[str, typer.Option("--address", help="Of the Ray cluster: auto, local (starts one) or host:port.")]
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


def make_engine(kind: str, workers: int | None, address: str, device: str = "cpu") -> "Engine":
    """The engine that the options name; on a cluster a shard takes a GPU where it is to compute on one."""
    from wildhoi.engine import Local, Ray

    if kind == "ray":
        return Ray(address, workers, 1.0 if device.startswith("cuda") else 0.0)
    return Local(workers or 1)


class Progress(AbstractContextManager["Progress"]):
    """Progress on stderr, with speed and memory: a bar where somebody looks, else a line every half minute."""

    def __init__(self, engine: "Engine | None" = None) -> None:
        from rich import progress
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

        speed = TextColumn("{task.fields[speed]}")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), speed, TimeRemainingColumn())
        console = Console(stderr=True)
        self._bar = progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._tasks: dict[str, _Task] = {}
        self._engine = engine

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bar.stop()
        for name, task in self._tasks.items():
            if kind is None and task.latest - task.began >= QUIET:
                speed = f"{task.speed(task.done)}{self._memory()}"
                say(f"{printable(name)}: {task.done:,} done in {task.latest - task.began:,.0f} s, {speed}")

    def __call__(self, name: str, done: int, total: int, note: str = "") -> None:
        """Move the bar of a piece of work; the note stands beside its name."""
        from rich.markup import escape

        if name not in self._tasks:
            self._tasks[name] = _Task(self._bar.add_task(name, total=total, speed=""), done, monotonic())
        task = self._tasks[name]
        task.done, task.latest = done, monotonic()
        text, speed = escape(f"{name} {note}".rstrip()), task.speed(done) + self._memory()
        self._bar.update(task.number, completed=done, total=total, visible=done < total, description=text, speed=speed)
        if self._bar.disable and task.is_due() and done < total:
            say(f"{printable(name)}: {done:,} of {total:,}{', ' if speed else ''}{speed}")

    def _memory(self) -> str:
        held = 0 if self._engine is None else self._engine.memory
        return f", {held / 2**20:,.0f} MiB a process" if held else ""


class _Task:
    """A piece of work: its bar, and how much was done when it was first heard of, which another run may have done."""

    def __init__(self, number: Any, done: int, began: float) -> None:
        self.number, self.first, self.began, self.told = number, done, began, began
        self.done, self.latest = done, began

    def speed(self, done: int) -> str:
        """What is done in a second or in a minute, since this run began."""
        spent = self.latest - self.began
        if done <= self.first or spent <= 0:
            return ""
        each = (done - self.first) / spent
        return f"{each:,.1f}/s" if each >= 1 else f"{60 * each:.1f}/min"

    def is_due(self) -> bool:
        """Whether it is time for another line."""
        due = self.latest - self.told >= QUIET
        self.told = self.latest if due else self.told
        return due


def say_defects(defects: Sequence[Defect]) -> None:
    """One line per kind of warning, so that a thousand alike do not hide the rest."""
    first: dict[str, Defect] = {}
    counts = Counter(defect.code for defect in defects)
    for defect in defects:
        first.setdefault(defect.code, defect)
    for code, defect in first.items():
        more = f" (and {counts[code] - 1} more such)" if counts[code] > 1 else ""
        say(f"{defect.severity}: {printable(defect)}{more}")
