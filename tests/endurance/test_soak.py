"""Long scoring holds no more memory at its end than soon after its beginning."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from endurance.commands import LONG

HERE = Path(__file__)
FLAT = 1.05
WARM = 2
"""Rounds, or tenths of a round, in which libraries are loaded and caches are filled."""


def soaked(folder, images, rounds):
    path = os.pathsep.join([str(HERE.parents[2]), str(HERE.parents[1])])
    words = [sys.executable, str(HERE.with_name("soak.py")), str(folder), str(images), str(rounds)]
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=7200, check=False)
    assert done.returncode == 0, done.stderr
    sys.stdout.write(done.stdout + "\n")  # shown with -s
    return json.loads(done.stdout)


def assert_flat(held):
    warm = held[WARM:]
    assert max(warm) <= FLAT * min(warm), [f"{number / 2**20:.0f} MiB" for number in held]


def test_memory_is_flat_over_many_rounds_which_all_score_the_same(tmp_path):
    found = soaked(tmp_path, *((250, 20) if LONG else (4, 6)))
    assert_flat(found["after"])
    assert found["seals"] == 1


@pytest.mark.skipif(not LONG, reason="takes minutes; `make endurance` does it")
def test_memory_is_flat_within_one_large_scoring(tmp_path):
    found = soaked(tmp_path, 2500, 1)
    assert len(found["within"]) == 10
    assert_flat(found["within"])
