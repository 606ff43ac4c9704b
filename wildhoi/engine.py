"""Long work cut into shards, one file each, on this machine's processes; resumes and never leaves half a file."""

import fcntl
import os
import pickle
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from wildhoi.errors import InputError, RunError, WildhoiError
from wildhoi.files import canonical_json, read_json, write_text

Shard = TypeVar("Shard")
Work = Callable[[Shard, Path], None]

LEDGER = ".fingerprint"
PARTIAL = ".partial"
SAFE_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=+-]{0,199}")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
RESUME_HINT = "finished shards are kept and the same command resumes"


def map_shards(
    work: Work[Shard],
    shards: Mapping[str, Shard],
    out: Path,
    *,
    workers: int = 1,
    resume: bool = True,
    fingerprint: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Turn every shard into the file `out/key`, skipping those an earlier run with the same fingerprint finished.

    With one worker the work runs in this process, with its threads; with more, each runs in a fresh process that
    computes on one thread. A shard sees neither its worker nor its neighbours, so the files do not depend on `workers`.

    Args:
        work: writes one file to the path given, named as the shard's key; a module-level function if `workers` > 1.
        shards: key to shard; keys are file names, shards can be pickled.
        out: the folder of the results; made if absent.
        workers: processes at once.
        resume: keep what is finished; otherwise everything is done again.
        fingerprint: names code, settings and inputs; a finished file of another fingerprint is done again.
        progress: called with (finished, total) at the start and after each shard.

    Returns:
        the files, in the order of the shards.

    Raises:
        InputError: a key is no safe file name, `workers` is below 1.
        WildhoiError: what `work` raised, unchanged.
        RunError: `work` failed in another way or wrote no file, a worker died, another run writes to `out`.
    """
    _check(shards, workers)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with only_run_in(out), _partial_folder(out) as partial:
        pending = _take_stock(list(shards), out, resume=resume, fingerprint=fingerprint)
        tally = _Tally(out, partial, len(shards) - len(pending), len(shards), progress)
        if min(workers, len(pending)) > 1:
            with _Pool(work, min(workers, len(pending))) as pool:
                pool.run({key: shards[key] for key in pending}, tally)
        else:
            _run_here(work, {key: shards[key] for key in pending}, tally)
    return [out / key for key in shards]


def _check(shards: Mapping[str, Shard], workers: int) -> None:
    if workers < 1:
        raise InputError(f"workers: got {workers}, wanted at least 1")
    for key in shards:
        if not SAFE_KEY.fullmatch(key):
            raise InputError(
                f"shard key {key!r}: not a safe file name; wanted letters, digits and . _ = + -, at most 200, "
                "beginning with a letter, a digit or _"
            )


@contextmanager
def only_run_in(out: Path) -> Iterator[None]:
    """Hold the folder's lock; the system releases it when this process ends, however it ends."""
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise RunError(f"{out}: another run is writing here; wait for it or choose another folder") from None
    finally:
        os.close(descriptor)


@contextmanager
def _partial_folder(out: Path) -> Iterator[Path]:
    """Make the folder of unfinished files, empty, and remove it with all it holds."""
    partial = out / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _take_stock(keys: list[str], out: Path, *, resume: bool, fingerprint: str) -> list[str]:
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
    try:
        ledger = read_json(out / LEDGER)
    except InputError:
        return {}
    return ledger if isinstance(ledger, dict) else {}


class _Tally:
    """Publishes finished files and counts them."""

    def __init__(
        self, out: Path, partial: Path, done: int, total: int, progress: Callable[[int, int], None] | None
    ) -> None:
        self.out, self.partial, self.done, self.total, self.progress = out, partial, done, total, progress
        self._report()

    def publish(self, key: str) -> None:
        temporary = self.partial / key
        if not temporary.is_file():
            raise RunError(f"shard {key}: the work ended without writing its file; {RESUME_HINT}")
        temporary.replace(self.out / key)
        self.done += 1
        self._report()

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self.done, self.total)


def _run_here(work: Work[Shard], shards: Mapping[str, Shard], tally: _Tally) -> None:
    for key, shard in shards.items():
        try:
            work(shard, tally.partial / key)
        except Exception as error:  # noqa: BLE001 - whatever the work raises is reported with its shard
            failure = _failure(key, error)
            raise failure from failure.__cause__
        tally.publish(key)


def _failure(key: str, error: Exception) -> WildhoiError:
    """Keep a message meant for the user as it is; give any other error its shard."""
    if isinstance(error, WildhoiError):
        return error
    failure = RunError(f"shard {key}: {type(error).__name__}: {error}; {RESUME_HINT}")
    failure.__cause__ = error
    return failure


class _Pool(Generic[Shard]):
    """Worker processes, each with a pipe of its own, so that a worker that dies names the shard it held."""

    def __init__(self, work: Work[Shard], workers: int) -> None:
        self.work, self.workers = work, workers
        self.processes: dict[Connection, SpawnProcess] = {}
        self.running: dict[Connection, str] = {}
        self.failures: dict[str, WildhoiError] = {}

    def __enter__(self) -> "_Pool[Shard]":
        # spawn: a fork of a process whose libraries have started threads can hang
        context = get_context("spawn")
        try:
            with _single_threaded_environment():
                for _ in range(self.workers):
                    ours, theirs = context.Pipe()
                    process = context.Process(target=_serve, args=(self.work, theirs))
                    self.processes[ours] = process
                    process.start()
                    theirs.close()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, shards: Mapping[str, Shard], tally: _Tally) -> None:
        """Hand the shards out in order; after a failure let the running ones finish, then raise the first in order."""
        waiting = iter(shards.items())
        for connection in self.processes:
            self._hand_out(connection, waiting, tally.partial)
        while self.running:
            answered = wait(list(self.running))
            for connection in [each for each in self.running if each in answered]:
                self._take_back(connection, tally)
                self._hand_out(connection, waiting, tally.partial)
        for key in shards:
            if key in self.failures:
                raise self.failures[key]

    def _hand_out(self, connection: Connection, waiting: Iterator[tuple[str, Shard]], partial: Path) -> None:
        task = None if self.failures else next(waiting, None)
        if task is None:
            return
        key, shard = task
        self.running[connection] = key
        # a worker that is already dead shows as the end of its pipe when its answer is read
        with suppress(BrokenPipeError):
            connection.send((shard, partial / key))

    def _take_back(self, connection: Connection, tally: _Tally) -> None:
        key = self.running.pop(connection)
        try:
            error = connection.recv()
            if error is None:
                tally.publish(key)
            else:
                self.failures[key] = _failure(key, error)
        except (EOFError, ConnectionError):
            self.failures[key] = self._death(connection, key)
        except RunError as error:
            self.failures[key] = error

    def _death(self, connection: Connection, key: str) -> RunError:
        process = self.processes[connection]
        process.join()
        code = process.exitcode or 0
        ending = f"signal {-code}, often too little memory" if code < 0 else f"exit code {code}"
        return RunError(f"shard {key}: its worker process died ({ending}); {RESUME_HINT}")

    def _stop(self) -> None:
        for connection, process in self.processes.items():
            connection.close()
            if process.pid is not None:
                process.kill()
                process.join()


@contextmanager
def _single_threaded_environment() -> Iterator[None]:
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


def _serve(work: Work[Any], connection: Connection) -> None:
    """Do what the pipe asks until it closes; the life of one worker process."""
    # Ctrl-C reaches every process of the terminal; the parent alone answers it and stops its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    with suppress(EOFError, ConnectionError):
        while True:
            shard, temporary = connection.recv()
            connection.send(_attempt(work, shard, temporary))


def _attempt(work: Work[Shard], shard: Shard, temporary: Path) -> Exception | None:
    try:
        work(shard, temporary)
    except Exception as error:  # noqa: BLE001 - travels to the parent, which raises it
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        return _portable(error)
    return None


def _portable(error: Exception) -> Exception:
    """Keep an exception that survives pickling, else send its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - a foreign exception's pickling may raise anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
