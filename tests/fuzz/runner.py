"""The process that watches: it starts those that parse, ends them where they hang, and collects what they found."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import forkserver, get_context
from pathlib import Path

from fuzz import child
from fuzz.child import BATCH, Room
from fuzz.targets import find_target

HANG = 5.0
"""Seconds of processor time for one input: what a user waits for before he thinks that a program hangs."""
LOST = 120.0
"""Seconds by the clock, for a process that waits instead of working; a busy machine takes its time too."""
BATCHES = 5
"""Batches of one process: what libraries keep from input to input does not count as memory of one of them."""
MOST_DEATHS = 8
TESTS = Path(__file__).parents[1]
SHARED = Path("/dev/shm")
TICKS = os.sysconf("SC_CLK_TCK")

Process = get_context("forkserver").Process


@dataclass(frozen=True)
class Failure:
    """An input that failed, and how."""

    target: str
    wrong: str
    data: bytes


@dataclass
class Result:
    """What came of a target: the inputs that it was given, and those that failed."""

    target: str
    inputs: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)


def start_server() -> None:
    """Start the process that the others are made from, which has imported everything once."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["fuzz.preload"])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(TESTS.parent), str(TESTS), before)))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def run_target(name: str, inputs: int, progress: Callable[[Result], None] | None = None, first: int = 0) -> Result:
    """Give a target many inputs.

    Args:
        name: of the target.
        inputs: how many.
        progress: called with what there is so far.
        first: number of the first batch; others give other inputs.
    """
    result, begun, number = Result(name), time.monotonic(), first
    per_batch, last = min(BATCH, inputs), first + max(1, inputs // BATCH)
    deaths = 0
    while number < last and deaths < MOST_DEATHS:
        with _room() as room:
            job = (name, room.folder, number, min(last, number + BATCHES), per_batch)
            death = _watch(Process(target=child.work, args=job), room)
            at, done = room.progress()
            result.failures += _collect(name, room, death)
            result.inputs += (max(at, number) - number) * per_batch + done
            number = job[3] if death is None else max(at, number) + 1
            deaths += death is not None
        result.seconds = time.monotonic() - begun
        if progress is not None:
            progress(result)
    return result


def replay(name: str, inputs: list[Path]) -> Result:
    """Run files on a target again, all of them also where one ends the process."""
    result, left = Result(name), list(inputs)
    while left:
        with _room() as room:
            death = _watch(Process(target=child.replay, args=(name, room.folder, left)), room)
            _, done = room.progress()
            result.failures += _collect(name, room, death)
            result.inputs += done
            left = left[done:] if death is not None and done else []
    return result


class _room:
    """A folder in memory where there is one, gone in the end."""

    def __enter__(self) -> Room:
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=SHARED if os.access(SHARED, os.W_OK) else None))
        room = Room(self.folder)
        room.make()
        return room

    def __exit__(self, *_) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _watch(process, room: Room) -> str | None:
    """Wait for a process, and kill it where one input takes too long; how it died, None where it did not."""
    process.start()
    seen, since, spent = room.progress(), time.monotonic(), 0.0
    while process.is_alive():
        process.join(0.1)
        now, used = room.progress(), _processor_seconds(process.pid)
        if now != seen:
            seen, since, spent = now, time.monotonic(), used
        begun = seen[1] > 0  # imports and seeds take what they take
        if begun and (used - spent > HANG or time.monotonic() - since > LOST):
            process.kill()
            process.join()
            return f"hangs: not done after {HANG:g} seconds"
    if process.exitcode == 0:
        return None
    said = (room.folder / "stderr").read_text(errors="replace")[-300:]
    how = f"by signal {-process.exitcode}" if process.exitcode < 0 else f"with exit code {process.exitcode}"
    return f"ends the process {how}: {said}"


def _processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _collect(name: str, room: Room, death: str | None) -> list[Failure]:
    found = [
        Failure(name, json.loads(path.read_text()), path.with_suffix("").read_bytes())
        for path in sorted(room.found.glob("*.json"))
    ]
    if death is not None:
        last = room.input / find_target(name).file
        found.append(Failure(name, death, last.read_bytes() if last.is_file() else b""))
    return found
