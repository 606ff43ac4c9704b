"""How far a transfer of many files is."""

from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import Any

Progress = Callable[[str, int, int], None]
"""Told the file that moved, the bytes done of the whole transfer, and the bytes of the whole transfer."""


class Stopped(Exception):
    """Another file has failed, or the user has had enough."""


class Meter:
    """The bytes of a transfer, counted by file; several threads may report."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total = total
        self._progress = progress
        self._done: Counter[str] = Counter()
        self._lock = Lock()
        self._stopped = False

    def stop(self) -> None:
        """End the transfers that still report: their next report raises `Stopped`."""
        self._stopped = True

    def add(self, name: str, count: int) -> None:
        """So many more bytes of a file, or fewer where some are to be sent again."""
        if self._stopped:
            raise Stopped(name)
        with self._lock:
            self._done[name] += count
            self._tell(name)

    def put(self, name: str, count: int) -> None:
        """So many bytes of a file in all."""
        with self._lock:
            self._done[name] = count
            self._tell(name)

    def _tell(self, name: str) -> None:
        if self._progress:
            self._progress(name, min(self._done.total(), self.total), self.total)


def bar_of(meter: Meter, name: str) -> type[Any]:
    """What `huggingface_hub` takes for a progress bar class, reporting one file to a meter and showing nothing."""

    class Bar:
        def __init__(self, **_: Any) -> None:
            self.n = 0
            self.total = 0

        def update(self, count: int = 1) -> None:
            meter.add(name, count)

        def nothing(self, *_: Any, **__: Any) -> None:
            """What a bar that is drawn would do."""

        # that there is an `update_transfer` keeps the library from making a second bar for the same bytes
        update_transfer = set_transfer_postfix_str = set_postfix_str = refresh = close = __exit__ = nothing

        def __enter__(self) -> "Bar":
            return self

    return Bar
