"""Conversion and reading of data: rows a second, memory over videos, cold start, columns of many rows."""

import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from raw_release import OBJECT, write_release

from wildhoi.convert.pipeline import run_conversion
from wildhoi.convert.wildhoi_release import plan_wildhoi
from wildhoi.dataset import seal_folder
from wildhoi.dataset.loading import load_samples
from wildhoi.dataset.samples import FLOATS, INTEGERS, make_table, sample_row, write_tables
from wildhoi.schema import Camera, Human, ObjectPose, Sample

BENCHMARKS = Path(__file__).parent
TRAIN_ROWS, TEST_ROWS, MANY_ROWS = 300, 2_500, 100_000


@pytest.fixture(scope="module")
def templates():
    return BENCHMARKS.parent / "data" / "fixtures" / "wildhoi_raw" / "data"


def test_conversion_of_training_rows(benchmark, templates, tmp_path):
    """Rows of 480 x 270 at 3 frames a second of 30, on one core: tracks, JPEG decoded and encoded, two masks."""
    raw = write_release(tmp_path / "raw", videos=5, frames=600, templates=templates)
    plan = plan_wildhoi(raw, splits=["train"], fps=3)
    names = count()

    def convert():
        return run_conversion(plan, tmp_path / f"out{next(names)}")

    report = benchmark.pedantic(convert, rounds=3, warmup_rounds=1)
    assert report.objects[OBJECT].rows("samples", "train") == TRAIN_ROWS
    benchmark.extra_info["rows_per_second"] = round(TRAIN_ROWS / benchmark.stats["median"])


@pytest.mark.parametrize("videos", [4, 16])
def test_memory_of_a_conversion_over_videos(benchmark, templates, tmp_path, videos):
    """Peak memory of a process that converts; it must not grow with the number of videos."""
    raw = write_release(tmp_path / "raw", videos=videos, frames=300, templates=templates)
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from wildhoi.convert.pipeline import run_conversion\n"
        "from wildhoi.convert.wildhoi_release import plan_wildhoi\n"
        "raw, out = map(Path, sys.argv[1:])\n"
        "run_conversion(plan_wildhoi(raw, splits=['train']), out)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    names = count()

    def convert():
        words = [sys.executable, "-c", code, str(raw), str(tmp_path / f"out{next(names)}")]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    peak = benchmark.pedantic(convert, rounds=1)
    benchmark.extra_info["peak_mb"] = round(int(peak) / 1024)


def test_cold_start_of_load_samples(benchmark, tmp_path, monkeypatch):
    """2,500 rows with pictures of 60 kB, from nothing in the library's cache to the first sample."""
    import datasets

    datasets.disable_progress_bars()
    folder = write_folder(tmp_path / "data", "test", TEST_ROWS, picture=60_000)
    caches = count()

    def load():
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / f"cache{next(caches)}")
        samples = load_samples(folder, "test")
        return len(samples), samples[1_000].image_id

    rows, image_id = benchmark.pedantic(load, rounds=5, warmup_rounds=1)
    assert rows == TEST_ROWS and image_id == "000000001000"


def test_numeric_columns_of_many_rows(benchmark, tmp_path, monkeypatch):
    """Every number of fixed shape of 100,000 rows, as arrays."""
    import datasets

    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    samples = load_samples(write_folder(tmp_path / "data", "train", MANY_ROWS), "train")
    arrays = benchmark.pedantic(lambda: samples.arrays(*FLOATS, *INTEGERS), rounds=3, warmup_rounds=1)
    assert arrays["wholebody_keypoints"].shape == (MANY_ROWS, 133, 3)
    benchmark.extra_info["megabytes"] = round(sum(array.nbytes for array in arrays.values()) / 1e6)


def write_folder(root, split, rows, picture=0):
    """A data folder whose samples have every number, and bytes in the place of pictures."""
    rng = np.random.default_rng(0)
    sample = Sample(
        image_id="",
        object=OBJECT,
        video_id="0001",
        image_box=(0, 0, 270, 270),
        person_box=rng.random(4),
        object_box=rng.random(4),
        wholebody_keypoints=rng.random((133, 3)),
        human=Human(rng.random(10), rng.random((21, 3)), rng.random((15, 3)), rng.random((15, 3))),
        camera=Camera(np.eye(3), rng.random(3), rng.random(2), rng.random(2)),
        object_pose=ObjectPose(np.eye(3), rng.random(3)),
        body_keypoints=rng.random((22, 2)),
        object_keypoints=rng.random((8, 2)),
    )
    image = {"bytes": rng.bytes(picture), "path": None} if picture else None
    row = {**sample_row(sample), "image": image}
    ids = (f"{number:012}" for number in range(rows))
    tables = (make_table([{**row, "image_id": next(ids)} for _ in range(100)]) for _ in range(rows // 100))
    write_tables(root / "samples" / OBJECT / f"{split}-00000-of-00001.parquet", tables)
    seal_folder(root, name="made-up", body_model="smplx")
    return root
