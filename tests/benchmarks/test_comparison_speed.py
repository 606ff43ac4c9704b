"""How long a comparison of two large submissions takes, beside resampling image by image in a loop."""

import numpy as np
import pytest

from evaluation.comparison.statistics import paired_statistics

IMAGES, METRICS, RESAMPLES = 2500, 6, 10_000


@pytest.fixture(scope="module")
def differences():
    random = np.random.default_rng(0)
    return random.normal(0.1, 1, (IMAGES, METRICS)), [f"video {k // 2}" for k in range(IMAGES)]


def test_comparing_two_large_submissions(benchmark, differences):
    benchmark.pedantic(lambda: paired_statistics(*differences, "speed", RESAMPLES), rounds=3, warmup_rounds=1)


def test_every_image_a_video_of_its_own(benchmark, differences):
    values, _ = differences
    videos = [f"video {k}" for k in range(IMAGES)]
    benchmark.pedantic(lambda: paired_statistics(values, videos, "speed", RESAMPLES), rounds=3)


def test_in_a_loop_over_resamples(benchmark, differences):
    """The plain way, of one metric and a hundredth of the resamples."""
    values, videos = differences
    names, random = sorted(set(videos)), np.random.default_rng(1)
    rows = {name: np.flatnonzero(np.array(videos) == name) for name in names}

    def resample():
        drawn = random.choice(len(names), len(names))
        return values[np.concatenate([rows[names[k]] for k in drawn]), 0].mean()

    benchmark.pedantic(lambda: [resample() for _ in range(RESAMPLES // 100)], rounds=1)
