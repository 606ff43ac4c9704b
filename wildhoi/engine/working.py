"""What happens where a shard is done: on one thread, and whatever goes wrong is brought back."""

import os
import pickle
import re
import resource
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wildhoi.engine.base import Work

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


OUT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|alloc_failed|(can't|cannot|could not|unable to|failed to) allocate", re.IGNORECASE
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory did not suffice, on the processor or on a GPU."""
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(str(error)) is not None


def attempt(work: Work, shard: Any, path: Path) -> tuple[Any, Exception | None]:
    """What the work returned, or what it raised, fit to travel to another process."""
    try:
        value = work(shard, path)
        pickle.dumps(value)
    except Exception as error:  # noqa: BLE001 - travels to the parent, which raises it
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        return None, portable(error)
    return value, None


def portable(error: Exception) -> Exception:
    """Keep an exception that survives pickling, else send its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - a foreign exception's pickling may raise anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def peak_memory() -> int:
    """The most that this process has held, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def single_threaded_environment() -> Iterator[None]:
    """Let processes started here inherit one thread per library, set before any library is imported there."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
