"""The same targets under atheris, which looks for inputs that reach code no other has reached.

Atheris is no dependency: `pip install atheris` where there is a wheel of it. It is given files, and changes them by its
own means and by ours in turn. Each target runs in a process of its own, since libFuzzer ends the one that it is in.
"""

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1]
MEMORY_MB = 3000
"""Of the process, imports and the recording of its coverage included."""


def run_guided(name: str, seconds: int, kept: Path):
    """Run atheris on a target for some time; what fails is kept as libFuzzer names it."""
    from fuzz.runner import Failure, Result  # here, since what is imported before the recording starts is not recorded

    kept.mkdir(parents=True, exist_ok=True)
    before = set(kept.iterdir())
    words = [sys.executable, "-m", "fuzz.guided", name, str(seconds), f"{kept}/"]
    path = os.pathsep.join(filter(None, (str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    found = [
        Failure(name, f"under atheris, kept as {path}", path.read_bytes()) for path in set(kept.iterdir()) - before
    ]
    if done.returncode and not found:
        found = [Failure(name, f"atheris ends with exit code {done.returncode}: {done.stderr[-300:]}", b"")]
    runs = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("Done ")]
    return Result(name, int(runs[0]) if runs else 0, float(seconds), found)


def fuzz(name: str, seconds: int, artifacts: str) -> None:
    """Run in this process, and end it."""
    import atheris

    with atheris.instrument_imports(include=["wildhoi", "evaluation", "baselines"]):
        from fuzz import child
        from fuzz.mutation import PROGRAM, make_input
    room = child.Room(Path(tempfile.mkdtemp(prefix="fuzz-")))
    room.make()
    child._be_quiet = lambda _: None  # libFuzzer tells what it does
    child.limit_memory = lambda: None  # it has a limit of its own
    worker = child.Worker(name, room)
    corpus = room.folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate(worker.seeds):
        (corpus / str(number)).write_bytes(data)

    def change(data, most, number):
        if number % 2:
            return atheris.Mutate(data, most)
        return make_input(worker.target.kind, worker.seeds, random.Random(number).randbytes(PROGRAM))[:most]

    def once(data):
        wrong = worker.outcome(data)
        worker._clear()
        if wrong is not None:
            Path(f"{artifacts}{name}-guided").write_bytes(data)
            raise RuntimeError(wrong)

    limits = [f"-max_total_time={seconds}", "-timeout=5", f"-rss_limit_mb={MEMORY_MB}", "-max_len=65536"]
    atheris.Setup([name, str(corpus), f"-artifact_prefix={artifacts}", *limits], once, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    fuzz(sys.argv[1], int(sys.argv[2]), sys.argv[3])
