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
from wildhoi.engine import map_shards, only_run_in
from wildhoi.errors import InputError
from wildhoi.method import Method, Setup
from wildhoi.running.options import RunOptions
from wildhoi.running.plan import Batch, SampleReader, plan_batches
from wildhoi.running.record import (
    CHECKPOINTS,
    STATE,
    Diary,
    Record,
    environment,
    make_record,
    plain,
    start_folder,
)
from wildhoi.running.watching import Watch
from wildhoi.running.work import Worker
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
    method: Method, data: DataFolder, out: Path, options: RunOptions | None = None, watch: Watch | None = None
) -> Ran:
    """Reconstruct the images of a split, batch by batch, into a submission with its record.

    The folder gets `submission.yaml`, `predictions.parquet`, `run.json`, `run.jsonl` and `state/`, the finished
    batches. A run that was interrupted in any way goes on with `resume` where it stopped, and ends in the same result.

    Args:
        method: as `load_method` builds it.
        data: where the samples and the templates are.
        out: the folder of the run.
        options: what to run on, and how.
        watch: who listens.

    Raises:
        InputError: there is nothing to run on, or the folder holds something else.
        MissingAssetError: a template or a body model is not there.
        RunError: the method failed, or another run writes to the folder.
    """
    options, watch = options or RunOptions(), watch or Watch()
    _require_free_names(method)
    device = find_device(options.device)
    batches = plan_batches(data, options)
    record = make_record(method, data, options, device, batches)
    out.mkdir(parents=True, exist_ok=True)
    with only_run_in(out):
        start_folder(out, record, resume=options.resume)
        files = _run_batches(method, data, out, options, watch, batches=batches, record=record, device=device)
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


def _run_batches(
    method: Method,
    data: DataFolder,
    out: Path,
    options: RunOptions,
    watch: Watch,
    *,
    batches: Mapping[str, Batch],
    record: Record,
    device: str,
) -> list[Path]:
    """The files of all batches, those that were finished before among them."""
    diary, state = Diary(out), out / STATE
    checkpoints = state / CHECKPOINTS
    checkpoints.mkdir(parents=True, exist_ok=True)
    diary.write("start", images=record.facts["images"], batches=len(batches), environment=environment(device))
    setup = Setup(data.body_model, data.objects, device, options.seed, options.renderer)
    reader = SampleReader(data, options.split, batches)
    worker = Worker(method, setup, reader, diary, watch, checkpoints, options.batch)
    images = record.facts["images"]

    def progress(finished: int, _: int) -> None:
        done = [key for key in batches if (state / key).is_file()]
        _drop_checkpoints(checkpoints, done)
        watch.images(sum(len(batches[key].ids) for key in done), images)

    return map_shards(worker.work, batches, state, fingerprint=record.fingerprint, progress=progress)


def _drop_checkpoints(folder: Path, done: list[str]) -> None:
    """Remove what methods kept of batches whose files stand; not before, or a kill would lose their work."""
    for path in folder.iterdir():
        if any(path.name.lstrip(".").startswith(f"{key}.") for key in done):
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
