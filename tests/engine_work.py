"""Work for the engine's tests: module-level, so that worker processes can import it by name."""

import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from wildhoi.errors import InputError, MissingAssetError


class Unpicklable(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class GatedError(MissingAssetError):
    """A subclass from outside the package's own family."""


@dataclass(frozen=True)
class Job:
    """What one shard does: write `text`, then `action`; every call is logged, so tests can count them."""

    text: str
    log: Path
    action: str = ""
    seconds: float = 0.0
    ids: tuple[str, ...] = ()


def write(job: Job, path: Path) -> int:
    with job.log.open("a") as stream:
        stream.write(f"{path.name} {os.getpid()}\n")
    tries = sum(line.split()[0] == path.name for line in job.log.read_text().splitlines())
    time.sleep(job.seconds)  # stands for long work, so that a test can interrupt it; 0 unless it asks
    path.write_text(job.text)
    match job.action:
        case "value error":
            raise ValueError("the matrix is singular")
        case "input error":
            raise InputError("row 3: got nan, wanted a number")
        case "gated":
            raise GatedError("the body model is missing")
        case "unpicklable":
            raise Unpicklable("this", "that")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill twice" if tries <= 2:
            os.kill(os.getpid(), signal.SIGKILL)
        case "memory twice" if tries <= 2:
            raise MemoryError("cannot allocate 8 GiB")
        case "memory":
            raise MemoryError("cannot allocate 8 GiB")
        case "no tensor":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 GiB")
        case "full":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        case "exit":
            os._exit(7)
        case "nothing":
            path.unlink()
        case "interrupt":
            raise KeyboardInterrupt
    return len(job.text)


def environment(job: Job, path: Path) -> None:
    path.write_text(",".join(os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")))


def place(job: Job, path: Path) -> None:
    path.write_text(f"{Path('log').resolve()} {os.environ.get('WILDHOI_BODY_MODELS', '')}")


def threads(job: Job, path: Path) -> None:
    import torch

    path.write_text(str(torch.get_num_threads()))


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
