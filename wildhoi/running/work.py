"""One batch after another through a method: what it gives back is checked, and too large a batch is cut."""

import gc
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any

from wildhoi.dataset import SampleFinder, open_folder
from wildhoi.engine.working import is_out_of_memory
from wildhoi.errors import RunError, WildhoiError
from wildhoi.method import Method, Moment, Setup
from wildhoi.running.plan import Batch
from wildhoi.running.record import environment
from wildhoi.running.watching import Watch
from wildhoi.schema import Camera, Failure, Human, ObjectPose, Reconstruction, Sample
from wildhoi.submission.table import MAX_REASON, read_predictions, write_predictions
from wildhoi.threads import one_thread

Records = list[Reconstruction | Failure]

CHECKPOINT = ".npz"


@dataclass(frozen=True)
class Job:
    """What all batches of a run share; travels to other processes, so `setup` listens to nobody.

    `fingerprint` is the run's, `size` how many images the method is given at once, `checkpoints` where it may keep
    what it has of a batch.
    """

    method: Method
    setup: Setup
    data: Path
    split: str
    fingerprint: str
    checkpoints: Path
    size: int


@dataclass(frozen=True)
class Task:
    """A batch to be reconstructed."""

    job: Job
    batch: Batch

    @property
    def ids(self) -> tuple[str, ...]:
        """The images, for messages."""
        return self.batch.ids


_kept: dict[tuple[str, Path], "Worker"] = {}
"""The worker of the latest run that this process took part in: it knows where samples are, and what memory allows."""


def reconstruct_batch(task: Task, path: Path) -> dict[str, Any]:
    """Reconstruct a batch in a process beside the one that runs; what it says of it, see `Worker.work`."""
    run = task.job.fingerprint, task.job.checkpoints  # one process may take part in the same run into two folders
    if run not in _kept:
        _kept.clear()
        _kept[run] = Worker(task.job)
    facts = _kept[run].work(task, path)
    return {**facts, "environment": environment(task.job.setup.device)}


@dataclass
class Worker:
    """Turns batches into files of predictions; `size` shrinks, for good, when memory runs out."""

    job: Job
    watch: Watch = field(default_factory=Watch)
    _losses: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.method, self.setup, self.size = self.job.method, self.job.setup, self.job.size
        self.data = open_folder(self.job.data)
        self.finders: dict[str, SampleFinder] = {}

    def work(self, task: Task, path: Path) -> dict[str, Any]:
        """Reconstruct a batch and write its file; what is to be said of it, plain data.

        On a processor it computes on one thread: the numbers may depend on how many there are.

        Raises:
            RunError: the method failed, or gave back something else than one record for each image in order.
        """
        samples = self._finder(task.batch.object).read(task.batch.ids)
        start = time.perf_counter()
        with one_thread() if self.setup.device == "cpu" else nullcontext():
            records = self._reconstruct(path.name, samples)
        seconds = time.perf_counter() - start
        records = self._store(path, records)
        return {
            "images": len(records),
            "failures": sum(isinstance(record, Failure) for record in records),
            "seconds": round(seconds, 3),
            "losses": {name: value if math.isfinite(value) else None for name, value in self._losses.items()},
            "device": self.setup.device,
            "size": self.size,
        }

    def _finder(self, name: str) -> SampleFinder:
        """Where the samples of an object are, and of it alone: another may have images of the same names."""
        if name not in self.finders:
            self.finders = {name: SampleFinder(self.data, self.job.split, [name])}
        return self.finders[name]

    def _reconstruct(self, key: str, samples: Sequence[Sample]) -> Records:
        """The records of a batch; parts of it, each half as large as before, where memory does not suffice."""
        self._losses = {}
        records: Records = []
        while len(records) < len(samples):
            first = len(records)
            part = samples[first : first + self.size]
            found = self._attempt(key, part, "" if len(part) == len(samples) else f".{first}-{first + len(part)}")
            if found is not None:
                records += found
            elif len(part) == 1:
                records.append(Failure(part[0].image_id, "out of memory"))
            else:
                self.size = (len(part) + 1) // 2
                self.watch.say(
                    f"{key}: {len(part)} images at once are too many for the memory; {self.size} from here on"
                )
        return records

    def _attempt(self, key: str, samples: Sequence[Sample], part: str) -> Records | None:
        """What the method makes of some images; None where memory ran out."""
        checkpoint = self.job.checkpoints / f"{key}{part}{CHECKPOINT}"
        setup = replace(self.setup, checkpoint=checkpoint, watch=self._listener(key))
        start = time.perf_counter()
        try:
            found = self.method.reconstruct(samples, setup)
        except WildhoiError:
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                raise self._failure(key, samples, f"{type(error).__name__}: {error}") from error
        else:
            each = (time.perf_counter() - start) / len(samples)
            return [_timed(record, each) for record in self._checked(key, samples, found)]
        # outside the handler, whose exception keeps what the method had allocated
        checkpoint.unlink(missing_ok=True)
        _free_memory()
        return None

    def _listener(self, key: str) -> Callable[[Moment], None]:
        def listen(moment: Moment) -> None:
            self._losses = {str(name): float(value) for name, value in moment.losses.items()}
            self.watch.moment(key, moment)

        return listen

    def _checked(self, key: str, samples: Sequence[Sample], found: Any) -> Records:
        """The records, found to be one for each sample, in their order."""
        if not isinstance(found, list | tuple) or len(found) != len(samples):
            got = f"{len(found)} records" if isinstance(found, list | tuple) else type(found).__name__
            raise self._failure(key, samples, f"gave back {got}, want a list of {len(samples)} records")
        for sample, record in zip(samples, found, strict=True):
            if wrong := _wrong(record, sample.image_id):
                raise self._failure(key, samples, f"gave back {wrong} for image {sample.image_id!r}")
        return list(found)

    def _failure(self, key: str, samples: Sequence[Sample], what: str) -> RunError:
        images = f"{len(samples)} images from {samples[0].image_id!r} on"
        text = " ".join(what.split())
        return RunError(
            f"method {self.method.info.name}, batch {key} ({images}): {text}; finished batches are kept, and the same "
            "command with --resume goes on"
        )

    def _store(self, path: Path, records: Records) -> Records:
        """Write a batch; a reconstruction that no submission may hold becomes a failure that says why."""
        write_predictions(path, records)
        _, defects = read_predictions(path)
        wrong = {defect.image_id: defect for defect in reversed(defects) if defect.severity == "error"}
        if not wrong:
            return records
        kept: Records = []
        for record in records:
            if defect := wrong.get(record.image_id):
                reason = f"invalid reconstruction: {defect.code}: {defect.found}"[:MAX_REASON]
                kept.append(Failure(record.image_id, reason))
            else:
                kept.append(record)
        write_predictions(path, kept)
        return kept


def _wrong(record: Any, image_id: str) -> str:
    """What is wrong with a record, in words; nothing where it is one of that image."""
    if isinstance(record, Failure):
        parts: dict[str, tuple[Any, type | tuple[type, ...]]] = {"reason": (record.reason, str)}
    elif isinstance(record, Reconstruction):
        parts = {
            "human": (record.human, Human),
            "object_pose": (record.object_pose, ObjectPose),
            "camera": (record.camera, (Camera, type(None))),
        }
        if isinstance(record.object_pose, ObjectPose):
            parts["scale"] = (record.object_pose.scale, Real)
            parts["angle"] = (record.object_pose.angle, (Real, type(None)))
    else:
        return f"{type(record).__name__}, want Reconstruction or Failure,"
    parts["seconds"] = (record.seconds, (Real, type(None)))
    if record.image_id != image_id:
        return f"a record of {record.image_id!r}"
    named = [name for name, (value, kinds) in parts.items() if not isinstance(value, kinds)]
    return f"a record with {named[0]} of type {type(parts[named[0]][0]).__name__}" if named else ""


def _timed(record: Reconstruction | Failure, seconds: float) -> Reconstruction | Failure:
    return record if record.seconds is not None else replace(record, seconds=seconds)


def _free_memory() -> None:
    gc.collect()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
        sys.modules["torch"].cuda.empty_cache()
