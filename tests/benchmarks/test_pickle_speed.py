"""How long reading the raw release's tracks takes; run by hand with `pytest tests/benchmarks/test_pickle_speed.py`.

The reference is the standard library's unpickler written in Python, which checks nothing: an interpreter of the same
opcodes in the same language. Both take turns, and the best round of each counts, so that the ratio holds on a busy
machine too. They run in a process of their own, without the tests' checks of argument types.
"""

import io
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch_pickles import TorchNames

from wildhoi.convert.safe_pickle import load_pickle, loads_pickle

ROOT = Path(__file__).parents[2]
ROUNDS = 200
TRACKS = {
    "smplx_tuned": "*_smplx.pkl",
    "object_pose": "*_obj_RT.pkl",
    "wholebody_kps_refined": "*_wholebody_kps.pkl",
    "hoi_kps": "*_hoi_kps.pkl",
    "hoi_tracking": "*_tracking.pkl",
    "hoi_mask": "*.pkl",
}
# a row of a video of 30 frames a second that is read at 3: ten frames of every track, one mask
FRAMES_OF_A_ROW = {name: 1 if name == "hoi_mask" else 10 for name in TRACKS}
MAX_MILLISECONDS_OF_A_ROW = 2.5
TARGET_RATIO = 1.1


class Unchecked(TorchNames, pickle._Unpickler):
    """Python's own unpickler in Python; torch reads the storages."""


def frames_of(name, content):
    if name == "hoi_mask":
        return 1
    if name == "hoi_tracking":
        return max(len(instance["sequences"]) for instance in content["hoi_instances"])
    return len(content["frame_ids"] if name == "hoi_kps" else content)


def best_seconds(*functions):
    best = [float("inf")] * len(functions)
    for _ in range(ROUNDS):
        for number, function in enumerate(functions):
            start = time.perf_counter()
            function()
            best[number] = min(best[number], time.perf_counter() - start)
    return best


def measure(path, name):
    """Microseconds a frame: of reading the pickle, of reading the file, of the reference."""
    data = path.read_bytes()
    frames = frames_of(name, load_pickle(path, torch_tensors=True))
    best = best_seconds(
        lambda: loads_pickle(data, source=name, torch_tensors=True),
        lambda: load_pickle(path, torch_tensors=True),
        lambda: Unchecked(io.BytesIO(data)).load(),
    )
    return [1e6 * seconds / frames for seconds in best]


@pytest.fixture(scope="module")
def measured(full_fixtures_dir):
    command = [sys.executable, __file__, full_fixtures_dir / "wildhoi_raw"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))), "OMP_NUM_THREADS": "1"}
    return json.loads(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)


@pytest.mark.parametrize("name", TRACKS)
def test_a_track_is_read_faster_than_by_pythons_own_unpickler(say, measured, name):
    read, file, reference = measured[name]
    say(
        f"{name}: {read:.1f} us a frame ({file:.1f} with opening the file), "
        f"Python's own {reference:.1f}: ratio {reference / read:.1f}"
    )
    assert reference / read >= TARGET_RATIO


def test_the_tracks_of_a_row_leave_most_of_its_time(say, measured):
    spent = sum(measured[name][1] * FRAMES_OF_A_ROW[name] for name in TRACKS) / 1e3
    say(f"tracks of a row: {spent:.2f} ms")
    assert spent < MAX_MILLISECONDS_OF_A_ROW


if __name__ == "__main__":
    found = {name: sorted(Path(sys.argv[1]).glob(f"*/{name}/**/{pattern}"))[0] for name, pattern in TRACKS.items()}
    sys.stdout.write(json.dumps({name: measure(path, name) for name, path in found.items()}))
