"""Runs that are killed at the n-th change of a file, each resumed; a program, so that its children can be forks.

Usage: killed_runs.py DATA OUT STRIDE, with this folder on the path of modules.
Kills at the changes 1, 1 + STRIDE, ... until a run ends by itself.
"""

import json
import os
import signal
import sys
from pathlib import Path

import datasets  # noqa: F401 - imported once, for all forks
import torch  # noqa: F401 - likewise
from run_methods import Toy, without_seconds

from wildhoi.dataset import open_folder
from wildhoi.running import RunOptions, run_method
from wildhoi.submission.folder import read_submission

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


def kill_at(number: int, folder: Path) -> None:
    """End this process without warning just before so many-th change of a file in the folder."""
    left = number

    def hook(event, arguments):
        nonlocal left
        writes = event == "open" and isinstance(arguments[1], str) and set("wax") & set(arguments[1])
        inside = arguments and isinstance(arguments[0], str | os.PathLike) and str(arguments[0]).startswith(str(folder))
        if inside and (writes or event in CHANGES):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def child(data: Path, out: Path, *, resume: bool, kill: int = 0) -> int:
    """Run in a process of its own; returns how it ended, as os.waitpid says."""
    pid = os.fork()
    if pid == 0:
        if kill:
            kill_at(kill, out)
        code = 1
        try:
            method = Toy()
            run_method(method, open_folder(data), out, RunOptions(batch=2, device="cpu", resume=resume))
            (out.parent / f"{out.name}.calls").write_text(json.dumps(method.calls))
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def main() -> None:
    """Kill runs, resume them, and compare them with one that was left alone."""
    data, place, stride = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    assert child(data, place / "whole", resume=False) == 0
    whole = without_seconds(read_submission(place / "whole").rows)
    report = {"points": [], "killed": 0, "different": [], "repeated": []}
    for number in range(1, 1000, stride):
        out = place / f"killed-{number}"
        ending = child(data, out, resume=False, kill=number)
        if ending == 0:
            break
        finished = {path.name for path in (out / "state").glob("[!.]*-*")} if out.is_dir() else set()
        report["points"].append(number)
        report["killed"] += os.WIFSIGNALED(ending)
        if child(data, out, resume=True) != 0 or without_seconds(read_submission(out).rows) != whole:
            report["different"].append(number)
        batches = len(json.loads((place / f"killed-{number}.calls").read_text()))
        every = len(json.loads((place / "whole.calls").read_text()))
        if batches != every - len(finished):
            report["repeated"].append(number)
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
