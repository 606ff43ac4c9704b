"""The folder of a run's results: its lock, its unfinished files, and which of its files are finished."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from wildhoi.errors import InputError, RunError
from wildhoi.files import canonical_json, read_json, remove_unfinished, write_text

LEDGER = ".fingerprint"
PARTIAL = ".partial-"
LOCK = ".lock"
"""The file whose lock is held; not the folder itself, whose locks NFS keeps to each machine."""
SAFE_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=+-]{0,199}")
MOST_LEDGER = 2**30
"""Bytes: of some millions of shards."""


def require_safe(keys: Sequence[str]) -> None:
    """Refuse a key that is no file name everywhere.

    Raises:
        InputError: with the first such key.
    """
    for key in keys:
        if not SAFE_KEY.fullmatch(key):
            raise InputError(
                f"shard key {key!r}: not a safe file name; wanted letters, digits and . _ = + -, at most 200, "
                "beginning with a letter, a digit or _"
            )


@contextmanager
def only_run_in(out: Path) -> Iterator[None]:
    """Hold the folder's lock; the system releases it when this process ends, however it ends.

    Raises:
        RunError: another process holds it.
        OSError: the folder cannot be written, or its file system has no locks.
    """
    refusal = f"{out}: another run is writing here; wait for it or choose another folder"
    path = out / LOCK
    with ExitStack() as held:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            current = os.path.samestat(os.fstat(descriptor), path.stat())
        except (BlockingIOError, FileNotFoundError):
            raise RunError(refusal) from None
        if not current:  # its holder has removed it just now, and somebody else made a new one
            raise RunError(refusal)
        try:
            yield
        finally:
            with suppress(OSError):  # a file that nobody holds is no harm, and another error is what counts
                path.unlink()  # while it is still held


def contents(folder: Path) -> list[Path]:
    """What is in a folder beside its lock."""
    return [path for path in folder.iterdir() if path.name != LOCK]


@contextmanager
def partial_folder(out: Path) -> Iterator[Path]:
    """Make a folder of unfinished files, removed with all it holds; those that killed runs left are removed too.

    Its name is new every time: a worker that has outlived a killed run can write no file of the next one.
    """
    remove_unfinished(out)  # of the ledger
    for left in out.glob(f"{PARTIAL}*"):
        shutil.rmtree(left, ignore_errors=True)
    partial = Path(mkdtemp(prefix=PARTIAL, dir=out))
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def take_stock(keys: Sequence[str], out: Path, *, resume: bool, fingerprint: str) -> list[str]:
    """List the keys to do, so that from here on a file that exists is a file of this fingerprint.

    Stale files go before the ledger changes: a run killed at any point leaves no old file under a new fingerprint.
    """
    ledger = _read_ledger(out)
    pending = [key for key in keys if not (resume and (out / key).is_file() and ledger.get(key) == fingerprint)]
    for key in pending:
        (out / key).unlink(missing_ok=True)
    if pending:
        write_text(out / LEDGER, canonical_json(ledger | dict.fromkeys(pending, fingerprint)) + "\n")
    return pending


def _read_ledger(out: Path) -> dict[str, Any]:
    """Read key to fingerprint; an absent or damaged ledger knows of no finished shard."""
    with suppress(InputError):
        ledger = read_json(out / LEDGER, MOST_LEDGER)
        return ledger if isinstance(ledger, dict) else {}
    return {}


def publish(temporary: Path, final: Path) -> None:
    """Give a finished file its name, once its bytes are on the disk."""
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(final)
