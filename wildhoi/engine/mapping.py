"""Every shard becomes its file: what is finished is kept, what fails is tried again or told, the rest goes on."""

import errno
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from wildhoi.engine.base import Engine, Outcome
from wildhoi.engine.folder import only_run_in, partial_folder, publish, require_safe, take_stock
from wildhoi.engine.local import Local
from wildhoi.engine.working import is_out_of_memory
from wildhoi.errors import InputError, MissingAssetError, RunError, ShardsError, WildhoiError

Shard = TypeVar("Shard")

TRIES = 3
"""Of a shard that the machine may be to blame for: once beside others, once at the end, once alone."""
HOPELESS = 10
"""Failed shards from which on a run ends where none has ever succeeded: that is no bad shard, but bad code."""
SHOWN = 5  # ids and shards named in a message
RESUME_HINT = "finished shards are kept and the same command resumes"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
"""Errors of the file system that no further try mends, and that every other shard would meet as well."""


def map_shards(
    work: Callable[[Shard, Path], Any],
    shards: Mapping[str, Shard],
    out: Path,
    *,
    engine: Engine | None = None,
    resume: bool = True,
    fingerprint: str = "",
    progress: Callable[[int, int], None] | None = None,
    done: Callable[[str, Any], None] | None = None,
) -> list[Path]:
    """Turn every shard into the file `out/key`, skipping those an earlier run with the same fingerprint finished.

    A shard sees neither its worker nor its neighbours, so the files depend on neither. A shard whose worker dies, or
    that runs out of memory or into an error of the system, is tried three times, the last time alone; one that fails
    for good is reported at the end, when all others are done. What the user has to mend, a full disk included, ends
    the run at once.

    Args:
        work: writes one file to the path given, named as the shard's key; a module-level function where processes or
            machines beside this one are to do it.
        shards: key to shard; keys are file names, shards can be pickled; those of an attribute `ids` are told by these.
        out: the folder of the results; made if absent.
        engine: where it is done; default in this process.
        resume: keep what is finished; otherwise everything is done again.
        fingerprint: names code, settings and inputs; a finished file of another fingerprint is done again.
        progress: called with (finished, total) at the start and after each shard; whatever file is there then is whole.
        done: called with a key and what `work` returned, before the file has its name.

    Returns:
        the files, in the order of the shards.

    Raises:
        InputError, MissingAssetError: a key is no safe file name; what `work` raised, unchanged.
        ShardsError: some failed; all others are done.
        RunError: too many failed, the disk is full, or another run writes to `out`.
    """
    require_safe([*shards])
    out, engine = Path(out), engine or Local()
    out.mkdir(parents=True, exist_ok=True)
    with only_run_in(out), engine, partial_folder(out) as partial:
        pending = take_stock(list(shards), out, resume=resume, fingerprint=fingerprint)
        run = _Run(shards, pending, out, partial, engine, progress, done)
        for outcome in engine.outcomes(work, run, partial):
            run.settle(outcome)
        run.conclude()
    return [out / key for key in shards]


class _Run:
    """Which shards wait, which have failed and how often; gives the engine its tasks."""

    def __init__(
        self,
        shards: Mapping[str, Any],
        pending: Sequence[str],
        out: Path,
        partial: Path,
        engine: Engine,
        progress: Callable[[int, int], None] | None,
        done: Callable[[str, Any], None] | None,
    ) -> None:
        self.shards, self.out, self.partial, self.engine = shards, out, partial, engine
        self.progress, self.done = progress, done
        self.waiting = deque(pending)
        self.again: deque[str] = deque()
        self.tries: dict[str, int] = {}
        self.failures: dict[str, WildhoiError] = {}
        self.stopped: dict[str, WildhoiError] = {}
        self.finished = len(shards) - len(pending)
        self._report()

    def __len__(self) -> int:
        return len(self.waiting) + len(self.again)

    def shard(self, key: str) -> Any:
        return self.shards[key]

    def take(self, running: int) -> str | None:
        """The next key: those that never failed, then those that did, and what failed twice when nothing else runs."""
        if self.stopped or self._hopeless():
            return None
        if self.waiting:
            return self.waiting.popleft()
        if self.again and (running == 0 or self.tries[self.again[0]] < TRIES - 1):
            return self.again.popleft()
        return None

    def settle(self, outcome: Outcome) -> None:
        """Publish what succeeded; put back or note what failed."""
        self.engine.memory = max(self.engine.memory, outcome.memory)
        key, error = outcome.key, outcome.error
        if error is None and not outcome.death:
            error = self._publish(outcome)
        if error is None and not outcome.death:
            return
        if error is not None and (final := _ends_the_run(error)) is not None:
            self.stopped[key] = final
        elif error is None or isinstance(error, OSError) or is_out_of_memory(error):
            self._try_again(key, outcome.death, error)
        else:
            self.failures[key] = self._failure(key, error)

    def _publish(self, outcome: Outcome) -> Exception | None:
        """Give the file its name; what came between."""
        temporary = self.partial / outcome.key
        try:
            if outcome.content is not None:
                temporary.write_bytes(outcome.content)
            if not temporary.is_file():
                return RunError(f"shard {outcome.key}: the work ended without writing its file; {RESUME_HINT}")
            if self.done is not None:
                self.done(outcome.key, outcome.value)
            publish(temporary, self.out / outcome.key)
        except OSError as error:
            error.filename = str(self.out)  # a write that fails names nothing, others the place of what is unfinished
            return error
        self.finished += 1
        self._report()
        return None

    def _try_again(self, key: str, death: str, error: Exception | None) -> None:
        self.tries[key] = self.tries.get(key, 0) + 1
        (self.partial / key).unlink(missing_ok=True)
        if self.tries[key] < TRIES:
            self.again.append(key)
        elif error is not None:
            self.failures[key] = self._failure(key, error)
        else:
            what = f"shard {key}{self._ids(key)}: its worker process died {TRIES} times ({death})"
            self.failures[key] = RunError(f"{what}; {RESUME_HINT}")

    def _failure(self, key: str, error: Exception) -> WildhoiError:
        """Keep a message meant for the user as it is; give any other error its shard."""
        if isinstance(error, WildhoiError):
            return error
        failure = RunError(f"shard {key}{self._ids(key)}: {type(error).__name__}: {error}; {RESUME_HINT}")
        failure.__cause__ = error
        return failure

    def _ids(self, key: str) -> str:
        ids = [str(each) for each in getattr(self.shards[key], "ids", ())]
        more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        return f" ({', '.join(ids[:SHOWN])}{more})" if ids else ""

    def _hopeless(self) -> bool:
        return len(self.failures) >= HOPELESS and not self.finished

    def conclude(self) -> None:
        """Raise what ended the run, else what failed: the first in the order of the shards, with how many others."""
        for key in self.shards:
            if key in self.stopped:
                raise self.stopped[key] from self.stopped[key].__cause__
        failed = [key for key in self.shards if key in self.failures]
        if not failed:
            return
        first, left = self.failures[failed[0]], len(self)
        if len(failed) == 1:
            said = str(first)
        else:
            names = ", ".join(failed[:SHOWN]) + (" ..." if len(failed) > SHOWN else "")
            many = f"{len(failed)} of {len(self.shards)} shards failed" + (f", {left} were not begun" if left else "")
            said = f"{many}: {names}; the first: {first}"
        raise (RunError if left else ShardsError)(said) from first.__cause__

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self.finished, len(self.shards))


def _ends_the_run(error: Exception) -> WildhoiError | None:
    """The error in the user's words, where no other shard is worth beginning before it is mended."""
    if isinstance(error, InputError | MissingAssetError):
        return error
    if isinstance(error, OSError) and error.errno in FULL:
        where = f"{error.filename}: " if error.filename else ""
        failure = RunError(f"{where}{error.strerror}; mend that: {RESUME_HINT}")
        failure.__cause__ = error
        return failure
    return None
