"""Strong scaling of whole commands over processes, and over a Ray cluster with the same shards.

Every figure is of a command as a user gives it, its start and its imports included. Needs two free cores and some ten
minutes; the tests of the cluster need the extra `cluster`.
"""

import importlib.util
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from raw_release import write_release

import submissions
from wildhoi.dataset import load_annotations
from wildhoi.open_scenes.truth import truth_of

ROOT = Path(__file__).parents[2]
TARGET = 1.6
"""Times as fast with two processes as with one, at least."""
OVERHEAD = 0.05
"""Share of the time that a cluster may take more than processes of this machine, for shards of half a minute."""
FITS = ("run", "phosa", "--split", "train", "--objects", "barbell,basketball", "--device", "cpu", "--set")
WITH_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra: cluster)")


def command(*words):
    """Seconds that a command takes."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "wildhoi", *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - start


@pytest.fixture
def scaling(benchmark, say):
    """Measures a command with one and with two processes."""

    def measure(what, *words, out, count, unit):
        one = command(*words, "-o", out / "one", "--workers", 1)
        two = benchmark.pedantic(lambda: command(*words, "-o", out / "two", "--workers", 2), rounds=1)
        say(f"{what}: {one:.1f} s with one process ({count / one:.2f} {unit}/s), {two:.1f} s with two: {one / two:.2f}")
        benchmark.extra_info.update({"one": round(one, 1), "two": round(two, 1), "ratio": round(one / two, 2)})
        if benchmark.enabled:
            assert one / two >= TARGET
        return out / "one", out / "two"

    return measure


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Pictures to fit."""
    out = tmp_path_factory.mktemp("made") / "data"
    command("data", "make", "open", "-o", out, "--objects", "barbell,basketball", "--train", 32, "--test", 0,
            "--layouts", 0, "--seed", 12, "--workers", 2)  # fmt: skip
    return out


def same_files(one, two, pattern):
    files = [sorted(path.relative_to(folder) for path in folder.rglob(pattern)) for folder in (one, two)]
    return files[0] == files[1] and all((one / path).read_bytes() == (two / path).read_bytes() for path in files[0])


def test_convert(scaling, tmp_path):
    """Every frame of 64 videos of 20 s: long enough that the start of the processes is a small part."""
    templates = ROOT / "tests" / "data" / "fixtures" / "wildhoi_raw" / "data"
    raw = write_release(tmp_path / "raw", videos=64, frames=600, templates=templates)
    words = ("data", "convert", "wildhoi", raw, "--splits", "train", "--fps", 30)
    one, two = scaling("convert", *words, out=tmp_path, count=38_400, unit="images")
    assert same_files(one, two, "*.parquet")


def test_make(scaling, tmp_path):
    """Solved, drawn and detected scenes of two objects."""
    words = ("data", "make", "open", "--objects", "barbell,basketball", "--train", 192, "--test", 0, "--layouts", 0)
    one, two = scaling("make", *words, "--seed", 12, out=tmp_path, count=384, unit="images")
    assert same_files(one, two, "*.parquet")


def test_run(scaling, made, tmp_path):
    """Fits of PHOSA, eight images at once."""
    words = (*FITS, "steps=200,100", "--dataset", made, "--batch", 8)
    scaling("run phosa", *words, out=tmp_path, count=64, unit="images")


def test_evaluate(scaling, tmp_path):
    """The 800 test images of the open set, under all metrics."""
    with truth_of("open") as data:
        rng = np.random.default_rng(0)
        records = []
        for annotation in load_annotations(data, "test"):
            record = submissions.as_reconstruction(annotation)
            moved = record.object_pose.translation + rng.normal(0, 0.05, 3)
            records.append(replace(record, object_pose=replace(record.object_pose, translation=moved)))
        manifest = replace(submissions.MANIFEST_ROW, dataset="open", method="noise", revision=data.revision_of("test"))
        submissions.make_submission(tmp_path / "noise", records, manifest)
    words = ("evaluate", tmp_path / "noise", "--protocol", "open@1")
    one, two = scaling("evaluate", *words, out=tmp_path, count=len(records), unit="images")
    assert same_files(one, two, "*.json") and same_files(one, two, "per_image.parquet")


@WITH_RAY
def test_a_cluster_takes_little_more_than_processes(benchmark, say, made, tmp_path):
    """Four shards of about half a minute each, on two processes and on a cluster of two processors that stands."""
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    subprocess.run(
        [*ray, "start", "--head", "--num-cpus=2", "--include-dashboard=false"], capture_output=True, check=True
    )
    try:
        words = (*FITS, "steps=600,200", "--dataset", made, "--batch", 16)
        here = command(*words, "-o", tmp_path / "here", "--workers", 2)
        there = benchmark.pedantic(lambda: command(*words, "-o", tmp_path / "there", "--engine", "ray"), rounds=1)
    finally:
        subprocess.run([*ray, "stop", "--force"], capture_output=True, check=False)
    apart = there / here - 1
    say(f"4 shards of {here / 2:.0f} s: {here:.1f} s on two processes, {there:.1f} s on a cluster ({apart:+.1%})")
    if benchmark.enabled:
        assert apart < OVERHEAD
