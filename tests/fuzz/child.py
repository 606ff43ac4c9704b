"""The process that runs a parser on many inputs; whatever happens to it, the input is in its folder."""

import hashlib
import json
import mmap
import os
import shutil
import struct
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fuzz.guard import Forbidden, Guard, judge, limit_memory
from fuzz.mutation import PROGRAM, make_input
from fuzz.targets import find_target

BATCH = 1000
"""Inputs of one run of hypothesis, which remembers all that it has drawn."""
AT_ONCE = 20
"""Inputs of one example of hypothesis, which takes longer to draw than most parsers to parse."""
STATUS = struct.Struct("<QQ")
MOST_FOUND = 20
"""Different failures of one process that are kept: whoever has so many mends them first."""


class Room:
    """The folder of a process: `in` for the input, `out` for what a parser writes, `found` for what failed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.input, self.out, self.found, self.status = (folder / name for name in ("in", "out", "found", "status"))

    def make(self) -> None:
        for folder in (self.input, self.out, self.found):
            folder.mkdir(parents=True, exist_ok=True)
        self.status.write_bytes(STATUS.pack(0, 0))

    def progress(self) -> tuple[int, int]:
        """The batch that is at work, and the inputs that were begun in it."""
        return STATUS.unpack(self.status.read_bytes())


class Worker:
    """A target with its seeds, in a room, under guard."""

    def __init__(self, name: str, room: Room, seeds: list[bytes] | None = None) -> None:
        _be_quiet(room)
        self.target, self.room = find_target(name), room
        os.environ["WILDHOI_BODY_MODELS"] = str(room.input)
        os.environ["HOME"] = str(room.out)
        self.target.prepare(room.input)
        self.path = room.input / self.target.file
        self.seeds = self.target.seeds() if seeds is None else seeds
        self.failures: dict[str, int] = {}
        self._warm_up()
        self.guard = Guard(room.out)
        limit_memory()
        with room.status.open("r+b") as stream:
            self.status = mmap.mmap(stream.fileno(), STATUS.size)

    def _warm_up(self) -> None:
        """Parse the seeds unwatched: what is imported and cached on the way is not an input's doing."""
        for data in self.seeds or self.target.seeds():
            self.target.place(self.path, data)
            with suppress(Exception):
                self.target.parse(self.path, self.room.out)
            self._clear()

    def outcome(self, data: bytes) -> str | None:
        """Give an input to the parser; what is wrong with what came of it, None where nothing is."""
        self.target.place(self.path, data)
        error: BaseException | None = None
        with self.guard.watching():
            try:
                self.target.parse(self.path, self.room.out)
            except Forbidden:
                pass
            except Exception as caught:  # noqa: BLE001 - whatever a parser raises is what is looked for
                error = caught
        if self.guard.deeds:
            return self.guard.deeds[0]
        return judge(error, self.path.name if self.target.named else None)

    def run(self, data: bytes) -> None:
        """Give an input to the parser and keep it where it fails in a way that no other one did."""
        wrong = self.outcome(data)
        if wrong is not None and len(self.failures) < MOST_FOUND:
            kind = "".join(c for c in wrong if not c.isdigit())[:60]
            if len(data) < self.failures.get(kind, 2**62):
                self.failures[kind] = len(data)
                keep(self.room.found, kind, data, wrong)
        self._clear()

    def _clear(self) -> None:
        """Remove what was written."""
        if any(self.room.out.iterdir()):
            shutil.rmtree(self.room.out)
            self.room.out.mkdir()

    def run_batch(self, number: int, inputs: int) -> None:
        """A number of inputs that hypothesis draws; the same ones for the same number of the batch."""
        done = 0

        @seed(number)
        @settings(
            max_examples=max(1, inputs // AT_ONCE),
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(st.binary(min_size=AT_ONCE * PROGRAM, max_size=AT_ONCE * PROGRAM))
        def given_programs(programs):
            nonlocal done
            for start in range(0, len(programs), PROGRAM):
                done += 1
                data = make_input(self.target.kind, self.seeds, programs[start : start + PROGRAM])
                STATUS.pack_into(self.status, 0, number, done)
                self.run(data)

        given_programs()


def _be_quiet(room: Room) -> None:
    """Warnings of libraries go nowhere, what they write when they die to a file; temporary files go to `out`."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    sys.dont_write_bytecode = True
    tempfile.tempdir = str(room.out)
    with (room.folder / "stderr").open("wb") as stream:
        os.dup2(stream.fileno(), 2)


def keep(found: Path, kind: str, data: bytes, wrong: str) -> None:
    """Write a failing input down, and beside it what it did."""
    name = hashlib.sha256(kind.encode()).hexdigest()[:12]
    (found / name).write_bytes(data)
    (found / f"{name}.json").write_text(json.dumps(wrong))


def work(name: str, folder: Path, first: int, last: int, inputs: int) -> None:
    """Run the batches from `first` to before `last` on a target, in a process of its own."""
    worker = Worker(name, Room(folder))
    for number in range(first, last):
        worker.run_batch(number, inputs)


def replay(name: str, folder: Path, inputs: list[Path]) -> None:
    """Run inputs that were kept, in a process of its own."""
    worker = Worker(name, Room(folder), [])
    for number, path in enumerate(inputs, 1):
        STATUS.pack_into(worker.status, 0, 0, number)
        worker.run(path.read_bytes())
