"""What an engine is: something that does tasks somewhere and says what became of each."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

Work = Callable[[Any, Path], Any]
"""Writes one file to the path given, which is named as the shard's key; may return something small."""


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        key: of its shard.
        value: what the work returned.
        error: what the work raised.
        death: how the worker ended, where it did not survive.
        content: the file, where it was written on another machine.
        memory: the most that the worker has held so far, bytes.
    """

    key: str
    value: Any = None
    error: Exception | None = None
    death: str = ""
    content: bytes | None = None
    memory: int = 0


@runtime_checkable
class Tasks(Protocol):
    """Shards that wait to be done."""

    def take(self, running: int) -> str | None:
        """The key of the next one, given how many are running; None where none may be begun now."""

    def shard(self, key: str) -> Any:
        """What the work is given."""

    def __len__(self) -> int:
        """How many wait."""


class Engine(ABC):
    """Where shards are done.

    As a context manager it keeps its processes between several calls of `map_shards`; without, each call starts and
    stops them. No result depends on the engine, nor on how many workers it has.
    """

    remote = False
    """Whether work is done on machines that may have other devices than this one."""

    here = False
    """Whether work is done in this very process."""

    def __init__(self) -> None:
        self.memory = 0
        """The most that any worker has held, bytes."""
        self._depth = 0

    def __enter__(self) -> "Engine":
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.stop()

    @abstractmethod
    def outcomes(self, work: Work, tasks: Tasks, partial: Path) -> Iterator[Outcome]:
        """Take tasks and do them until none is left and none is running.

        Args:
            work: what is done with each.
            tasks: may get back some of those that were taken, until the last outcome has been looked at.
            partial: the folder of unfinished files, on this machine.
        """

    @abstractmethod
    def stop(self) -> None:
        """End all processes; the next task starts new ones."""
