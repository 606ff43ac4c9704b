"""Running a method over the images of a split: a submission, whole after any interruption."""

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildhoi import columns
from wildhoi.dataset import DataFolder
from wildhoi.devices import find_device
from wildhoi.engine import Engine, Local, map_shards, only_run_in
from wildhoi.errors import InputError
from wildhoi.method import Method, Setup
from wildhoi.running.options import RunOptions
from wildhoi.running.plan import Batch, plan_batches
from wildhoi.running.record import (
    CHECKPOINTS,
    STATE,
    Diary,
    environment,
    make_record,
    plain,
    start_folder,
)
from wildhoi.running.watching import Watch
from wildhoi.running.work import Job, Task, Worker, reconstruct_batch
from wildhoi.submission.folder import MANIFEST, PREDICTIONS
from wildhoi.submission.manifest import Manifest, write_manifest
from wildhoi.submission.merge import read_rows
from wildhoi.submission.table import PREDICTIONS as LAYOUT

RUN_SETTINGS = ("seed", "renderer", "batch", "limit", "shard")  # beside the method's own in a manifest


@dataclass(frozen=True)
class Ran:
    """What a run wrote: reconstructions, and failures by reason."""

    reconstructions: int
    reasons: Mapping[str, int]

    @property
    def failures(self) -> int:
        """The images without a reconstruction."""
        return sum(self.reasons.values())


def run_method(
    method: Method,
    data: DataFolder,
    out: Path,
    options: RunOptions | None = None,
    watch: Watch | None = None,
    *,
    engine: Engine | None = None,
) -> Ran:
    """Reconstruct the images of a split, batch by batch, into a submission with its record.

    The folder gets `submission.yaml`, `predictions.parquet`, `run.json`, `run.jsonl` and `state/`, the finished
    batches. A run that was interrupted in any way goes on with `resume` where it stopped, and ends in the same result.

    Args:
        method: as `load_method` builds it.
        data: where the samples and the templates are.
        out: the folder of the run.
        options: what to run on, and how.
        watch: who listens; to the steps of a batch only where it is done in this process.
        engine: where batches are done; default in this process. But for the seconds it changes no result.

    Raises:
        InputError: there is nothing to run on, or the folder holds something else.
        MissingAssetError: a template or a body model is not there.
        RunError: the method failed, no cluster answers, or another run writes to the folder.
    """
    options, watch, engine = options or RunOptions(), watch or Watch(), engine or Local()
    _require_free_names(method)
    device = _device(options.device, engine)
    batches = plan_batches(data, options)
    record = make_record(method, data, options, device, batches)
    out.mkdir(parents=True, exist_ok=True)
    with only_run_in(out), engine:
        start_folder(out, record, resume=options.resume)
        setup = Setup(data.body_model, data.objects, device, options.seed, options.renderer)
        job = Job(method, setup, data.path, options.split, record.fingerprint, out / STATE / CHECKPOINTS, options.batch)
        files = _run_batches(job, batches, out, watch, engine)
        rows = read_rows(files)
        columns.write_rows(out / PREDICTIONS, LAYOUT, rows)
        write_manifest(out / MANIFEST, _manifest(method, data, options, Diary(out).environments()))
    reasons = Counter(row.get("reason") or "no reason given" for row in rows if row["status"] == "failed")
    return Ran(len(rows) - reasons.total(), dict(reasons.most_common()))


def _require_free_names(method: Method) -> None:
    taken = sorted({*method.settings} & {*RUN_SETTINGS})
    if taken:
        raise InputError(
            f"method {method.info.name}: has a setting named {taken[0]!r}, which every run has; name it otherwise"
        )


def _device(asked: str, engine: Engine) -> str:
    """The device of a batch; whether a machine of a cluster has it shows there."""
    if engine.remote:
        return "cuda" if asked.startswith("cuda") else "cpu"
    return find_device(asked)


def _run_batches(job: Job, batches: Mapping[str, Batch], out: Path, watch: Watch, engine: Engine) -> list[Path]:
    """The files of all batches, those that were finished before among them."""
    job.checkpoints.mkdir(parents=True, exist_ok=True)
    account = _Account(job, batches, out, watch, engine)
    tasks = {key: Task(job, batch) for key, batch in batches.items()}
    return map_shards(
        Worker(job, watch).work if engine.here else reconstruct_batch,
        tasks,
        out / STATE,
        engine=engine,
        fingerprint=job.fingerprint,
        progress=account.progress,
        done=account.done,
    )


class _Account:
    """Keeps the diary, tells who watches, and clears away what is not needed any more."""

    def __init__(self, job: Job, batches: Mapping[str, Batch], out: Path, watch: Watch, engine: Engine) -> None:
        self.job, self.diary, self.watch, self.here = job, Diary(out), watch, engine.here
        self.images = {key: len(batch.ids) for key, batch in batches.items()}
        self.environment = None if engine.remote else environment(job.setup.device)
        self.finished = [key for key in batches if (out / STATE / key).is_file()]
        self.counted, self.size = 0, job.size
        total = sum(self.images.values())
        self.diary.write("start", images=total, batches=len(batches), environment=self.environment)

    def done(self, key: str, facts: Mapping[str, Any]) -> None:
        """A batch is about to be finished; its line comes first, so that no finished batch is without one."""
        told = {name: fact for name, fact in facts.items() if name != "environment" or fact != self.environment}
        self.diary.write("batch", key=key, **told)
        self.finished.append(key)
        if not self.here and facts["size"] < self.size:
            self.size = facts["size"]
            self.watch.say(f"{key}: memory sufficed for {self.size} images at once")

    def progress(self, finished: int, total: int) -> None:
        """Batches are finished."""
        del finished, total  # batches are not all of one size
        for key in self.finished:
            _drop_checkpoints(self.job.checkpoints, key)
            self.counted += self.images[key]
        self.finished = []
        self.watch.images(self.counted, sum(self.images.values()))


def _drop_checkpoints(folder: Path, key: str) -> None:
    """Remove what methods kept of a batch whose file stands; not before, or a kill would lose their work."""
    for path in (*folder.glob(f"{key}.*"), *folder.glob(f".{key}.*")):
        if path.is_dir():  # what a writer that was killed left
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _manifest(method: Method, data: DataFolder, options: RunOptions, environments: Mapping[str, Any]) -> Manifest:
    info = method.info
    index, count = options.shard
    chosen = {
        "seed": options.seed,
        "renderer": options.renderer,
        "batch": options.batch,
        **({"limit": options.limit} if options.limit else {}),
        **({"shard": f"{index}/{count}"} if count > 1 else {}),
    }
    return Manifest(
        method=info.name,
        dataset=data.name,
        split=options.split,
        revision=data.revision_of(options.split),
        body_model=data.body_model,
        inputs=tuple(info.inputs),
        supervision=info.supervision,
        authors=info.authors,
        paper=info.paper,
        code=info.code,
        settings={**plain(dict(method.settings), info.name), **chosen},
        environment=environments,
    )
