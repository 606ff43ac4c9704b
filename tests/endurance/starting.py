"""Starting commands in processes of their own, ending them without warning, and looking at what they left."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from endurance.child import Trouble, kill_at, serve

TESTS = Path(__file__).parents[1]
LONGEST = 300.0
"""Seconds that a command may take before a test gives it up."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative for a signal), what it said, seconds and changes of files."""

    code: int
    said: str
    seconds: float = 0.0
    changes: int = 0

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


@dataclass
class Started:
    """A command that works."""

    process: ForkServerProcess
    log: Path
    told: object
    took: tuple = field(default=(0.0, 0))

    def end(self) -> Ended:
        """Wait for the end, and for that of all processes it had started."""
        if self.told.poll(LONGEST):
            with suppress(EOFError):  # it was killed
                self.took = self.told.recv()
        self.process.join(LONGEST)
        wait_for_session(self.process.pid)
        said = self.log.read_text(errors="replace")
        rmtree(self.log.parent)
        return Ended(self.process.exitcode, said, *self.took)

    def kill(self, *, group: bool) -> None:
        """End the process without warning; with all that it started, or it alone."""
        if group:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            os.kill(self.process.pid, signal.SIGKILL)

    def is_over(self) -> bool:
        return self.told.poll() or not self.process.is_alive()


def start(words: list, out: Path, *troubles: Trouble) -> Started:
    """Start `wildhoi WORDS`, which writes to `out`; it has begun when this returns."""
    context = _context()
    ours, theirs = context.Pipe(duplex=False)
    log = Path(mkdtemp()) / "said"  # not beside what is written, which may be a disk that is full
    process = context.Process(target=serve, args=([str(word) for word in words], out, log, theirs, list(troubles)))
    process.start()
    theirs.close()
    assert ours.poll(LONGEST) and ours.recv() == "begun"
    return Started(process, log, ours)


def run(words: list, out: Path, *troubles: Trouble) -> Ended:
    """Run `wildhoi WORDS` to its end."""
    return start(words, out, *troubles).end()


def run_killed(words: list, out: Path, seconds: float, *troubles: Trouble, group: bool) -> Ended:
    """Run `wildhoi WORDS` and end it without warning after so many seconds, if it still works then."""
    started = start(words, out, *troubles)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not started.is_over():
        time.sleep(min(0.01, max(0.0, deadline - time.monotonic())))  # until the moment that was drawn
    if not started.is_over():
        started.kill(group=group)
    return started.end()


def run_killed_at(words: list, out: Path, change: int, *troubles: Trouble) -> Ended:
    """Run `wildhoi WORDS` and end it without warning just before so many-th change of a file."""
    return run(words, out, *troubles, partial(kill_at, change))


def _context():
    """The server that children are forked from: it has imported everything, and has no thread."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["endurance.child"])
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "OMP_NUM_THREADS")}
    os.environ |= {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]), "OMP_NUM_THREADS": "1"}
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return context


def wait_for_session(leader: int) -> None:
    """Wait until no process of a session lives; those that outlive their parent are sent a signal, which takes time."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not any(_is_of_session(stat, leader) for stat in Path("/proc").glob("[0-9]*/stat")):
            return
        time.sleep(0.005)
    raise AssertionError(f"processes of session {leader} live on after its end")


def _is_of_session(stat: Path, leader: int) -> bool:
    try:
        state, _, _, session = stat.read_text().rsplit(")", 1)[1].split()[:4]
    except (OSError, IndexError):
        return False
    return int(session) == leader and state != "Z"


def refusal(ended: Ended) -> str:
    """The one line that says why a command did not do its work."""
    found = [line for line in ended.said.splitlines() if not line.startswith("warning: ")]
    assert len(found) == 1 and found[0].startswith("error: "), ended.said
    assert "Traceback" not in found[0] and "defect of wildhoi" not in found[0], found[0]
    return found[0]
