"""This machine's processes: this one alone, or some that each compute on one thread."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from pickle import PicklingError
from typing import Any

from wildhoi.engine.base import Engine, Outcome, Tasks, Work
from wildhoi.engine.working import attempt, peak_memory, single_threaded_environment
from wildhoi.errors import InputError

MOST = 16
"""Workers for each processor of the machine: more only take each other's time and memory."""
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>


class Local(Engine):
    """Processes of this machine; with one worker the work is done in this process, which ends if a shard kills it."""

    def __init__(self, workers: int = 1) -> None:
        """Choose how many; raises InputError where that is below 1, or far more than this machine has processors."""
        super().__init__()
        most = MOST * (os.cpu_count() or 1)
        if not 1 <= workers <= most:
            raise InputError(f"workers: got {workers}, wanted 1 to {most}, {MOST} for each processor here")
        self.workers, self.here = workers, workers == 1
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, _Worker] = {}

    def outcomes(self, work: Work, tasks: Tasks, partial: Path) -> Iterator[Outcome]:
        """Do the tasks here, or hand them to worker processes, each with a pipe of its own."""
        return (_here if self.here else self._there)(work, tasks, partial)

    def stop(self) -> None:
        """End all worker processes."""
        for worker in [*self._idle, *self._busy.values()]:
            worker.kill()
        self._idle, self._busy = [], {}

    def _there(self, work: Work, tasks: Tasks, partial: Path) -> Iterator[Outcome]:
        try:
            while True:
                self._hand_out(work, tasks, partial)
                if not self._busy:
                    return
                for connection in wait(list(self._busy)):
                    assert isinstance(connection, Connection)
                    yield self._take_back(connection)
        finally:
            if self._busy:  # nobody waits for what they are doing any more
                self.stop()

    def _hand_out(self, work: Work, tasks: Tasks, partial: Path) -> None:
        while len(self._busy) < self.workers and (key := tasks.take(len(self._busy))) is not None:
            worker = self._idle.pop() if self._idle else _Worker()
            worker.key = key
            self._busy[worker.connection] = worker
            worker.give(work, tasks.shard(key), partial / key)

    def _take_back(self, connection: Connection) -> Outcome:
        worker = self._busy.pop(connection)
        try:
            value, error, memory = connection.recv()
        except (EOFError, ConnectionError):
            return Outcome(worker.key, death=worker.death())
        self._idle.append(worker)
        return Outcome(worker.key, value, error, memory=memory)


def _here(work: Work, tasks: Tasks, partial: Path) -> Iterator[Outcome]:
    while (key := tasks.take(0)) is not None:
        try:
            value = work(tasks.shard(key), partial / key)
        except Exception as error:  # noqa: BLE001 - whatever the work raises is reported with its shard
            yield Outcome(key, error=error, memory=peak_memory())
        else:
            yield Outcome(key, value, memory=peak_memory())


class _Worker:
    """A process, and this end of the pipe to it."""

    def __init__(self) -> None:
        # spawn: a fork of a process whose libraries have started threads can hang
        context = get_context("spawn")
        self.key = ""
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs, os.getpid()))
        with single_threaded_environment():
            self.process.start()
        theirs.close()

    def give(self, *task: Any) -> None:
        """Send a task.

        Raises:
            InputError: it holds something that cannot travel.
        """
        # a worker that is already dead shows as the end of its pipe when its answer is read
        with suppress(BrokenPipeError):
            try:
                self.connection.send(task)
            except (PicklingError, AttributeError, TypeError) as error:
                raise InputError(
                    f"shard {self.key}: cannot be sent to another process ({error}); with --workers 1 it need not be"
                ) from None

    def death(self) -> str:
        """How the process ended."""
        self.process.join()
        self.connection.close()
        code = self.process.exitcode or 0
        return f"signal {-code}, often too little memory" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """End the process at once."""
        self.connection.close()
        self.process.kill()
        self.process.join()


def _serve(connection: Connection, parent: int) -> None:
    """Do what the pipe asks until it closes; the life of one worker process."""
    # Ctrl-C reaches every process of the terminal; the parent alone answers it and stops its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with(parent)
    with suppress(EOFError, ConnectionError):
        while True:
            value, error = _answer(connection)
            connection.send((value, error, peak_memory()))


def _answer(connection: Connection) -> tuple[Any, Exception | None]:
    """Do the next task."""
    try:
        work, shard, path = connection.recv()
    except (EOFError, ConnectionError):
        raise
    except Exception as error:  # noqa: BLE001 - a foreign class may not be importable in this process
        return None, RuntimeError(f"cannot be read in a worker process ({type(error).__name__}: {error})")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    return attempt(work, shard, path)


def _end_with(parent: int) -> None:
    """Let the system kill this process when its parent is gone, however that ended.

    Elsewhere than on Linux the pipe's end does it, after the shard at work.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before
        os._exit(1)
