"""Small data to run on, and methods that behave, or misbehave, as a test asks."""

import os
import shutil
import signal
from pathlib import Path
from zlib import crc32

import numpy as np

import submissions
from wildhoi.dataset import DataFolder, seal_folder
from wildhoi.dataset.samples import write_samples
from wildhoi.method import MethodInfo
from wildhoi.running import RunOptions, Watch, run_method
from wildhoi.schema import Failure, Sample
from wildhoi.submission.folder import read_submission
from wildhoi.templates import SHIPPED


def make_runnable(folder: Path, samples, files=1, split="test") -> DataFolder:
    """A data folder with samples in the order given, spread over so many files of each object."""
    for name in {sample.object for sample in samples}:
        own = [sample for sample in samples if sample.object == name]
        for number in range(files):
            path = folder / "samples" / name / f"{split}-{number:05d}-of-{files:05d}.parquet"
            write_samples(path, own[number::files])
        if not (folder / "objects" / name).exists():
            shutil.copytree(SHIPPED / name, folder / "objects" / name)
    return seal_folder(folder, name="runnable", body_model="open")


def plain_samples(counts, genders=("neutral",), seed=0):
    """So many samples of each object in a random order, their genders in turn."""
    samples = [
        Sample(
            f"{name}-{i:03d}", name, f"{name}-v{i // 2}", human=submissions.human(i), gender=genders[i % len(genders)]
        )
        for name, count in counts.items()
        for i in range(count)
    ]
    return [samples[i] for i in np.random.default_rng(seed).permutation(len(samples))]


def record(sample, **changes):
    """What a method may make of a sample: it depends on the image and on nothing else."""
    return submissions.reconstruction(sample.image_id, seed=crc32(sample.image_id.encode()), **changes)


class Toy:
    """Makes `record` of every sample; `behave(self, samples, setup)` may raise, or give something else back."""

    def __init__(self, behave=None, name="toy", **settings):
        self.info = MethodInfo(name, "for tests", inputs=("human",), supervision="2D", authors="nobody", code="here")
        self.settings, self.behave, self.calls = settings, behave, []

    def reconstruct(self, samples, setup):
        self.calls.append([sample.image_id for sample in samples])
        other = self.behave(self, samples, setup) if self.behave else None
        return [record(sample) for sample in samples] if other is None else other


class Objects(Toy):
    """Fails for each sample with the name of its object."""

    def reconstruct(self, samples, setup):
        return [Failure(sample.image_id, sample.object) for sample in samples]


def kill_once(method, samples, setup):
    """End the process that is given the first batch."""
    mark = setup.checkpoint.parents[3] / "killed"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def run(method, data, out, watch=None, engine=None, **options):
    """Run on the CPU and read what was written."""
    with submissions.unchecked():
        options = RunOptions(**{"device": "cpu", **options})
        ran = run_method(method, data, out, options, watch or Watch(), engine=engine)
    return ran, read_submission(out)


def without_seconds(rows):
    """Rows as values that can be compared, whatever time they took."""
    return [
        (row.image_id, row.reason)
        if isinstance(row, Failure)
        else (
            row.image_id,
            *(value.tobytes() for value in vars(row.human).values()),
            row.object_pose.rotation.tobytes(),
            row.object_pose.translation.tobytes(),
            row.object_pose.scale,
        )
        for row in rows
    ]
