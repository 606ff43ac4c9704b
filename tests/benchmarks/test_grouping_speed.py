"""Speed, memory and recall of grouping; run by hand: `pytest tests/benchmarks/test_grouping_speed.py --benchmark-only`.

Processor seconds are given besides those of the clock, and ratios to a plain version that takes turns with ours, since
other work shares the machine.
"""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nn_descent import Descent
from test_grouping import made_views

from baselines.grouping import GroupSettings, group_views, pair_distances
from baselines.grouping.distances import Bounds, lines_of
from wildhoi.engine import Local

PLAIN = GroupSettings(consistency=0.0, diversity=0.0)
MANY = 10_000
TARGET = 15.0
"""Seconds for MANY views of 26 keypoints on two cores."""
ROOT = Path(__file__).parents[2]


def views_like_data(count, seed=0):
    """Views of different scenes that resemble each other, one an image."""
    return made_views(scenes=count, of_each=1, points=26, seed=seed, spread=0.15)


def spent(work):
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - clock, time.process_time() - processor, result


def plain_distances(views, rows):
    """All distances of some views by broadcasting, keypoint by keypoint."""
    rays, positions = (torch.from_numpy(array).float() for array in (views.rays, views.positions))
    total = torch.zeros(rows, len(rays))
    gap = positions[:rows, None] - positions
    for k in range(rays.shape[1]):
        cross = torch.linalg.cross(rays[:rows, None, k].expand_as(gap), rays[None, :, k].expand_as(gap))
        total += (cross * gap).sum(-1).abs() / (cross.norm(dim=-1) + 1e-8)
    return total / rays.shape[1]


def test_estimating_distances(benchmark, say):
    views, rows = views_like_data(4000), 128
    lines = lines_of(views.rays, views.positions)
    estimate = Bounds(lines[:rows], lines, "true")
    times = {"ours": [], "plain": []}
    for _ in range(4):
        times["ours"].append(spent(lambda: estimate(0, rows))[1])
        times["plain"].append(spent(lambda: plain_distances(views, rows))[1])
    best = {name: min(each) / (rows * len(views) * 26) for name, each in times.items()}
    benchmark.pedantic(estimate, (0, rows), rounds=1)
    ratio = best["plain"] / best["ours"]
    whole = {name: value * 26 * MANY**2 for name, value in best.items()}
    say(
        f"all pairs of {MANY:,} views: ours {whole['ours']:.1f} s, plain {whole['plain']:.1f} s of one processor "
        f"({ratio:.1f} times as fast)"
    )
    if benchmark.enabled:
        assert ratio > 3


@pytest.mark.parametrize("settings", [PLAIN, GroupSettings()], ids=["nearest", "default"])
def test_grouping_ten_thousand_views(benchmark, say, settings):
    views = views_like_data(MANY)
    clock, processor, groups = benchmark.pedantic(lambda: spent(lambda: group_views(views, settings)), rounds=1)
    threads = torch.get_num_threads()
    say(f"{MANY:,} views x 26, k 16: {clock:.1f} s, {processor:.1f} s of a processor ({threads} threads)")
    some = np.random.default_rng(0).choice(MANY, 20, replace=False)
    exact = pair_distances(views.take(some), views).astype(np.float32)
    exact[np.arange(20), some] = np.inf
    if settings == PLAIN:
        np.testing.assert_array_equal(groups.neighbours[some], exact.argsort(1, kind="stable")[:, :16])
    if benchmark.enabled:
        assert processor < 2 * TARGET


def test_strong_scaling_over_processes(benchmark, say):
    views, groups = views_like_data(MANY), {}
    for workers in (1, 2):
        with Local(workers) as engine:
            group_views(views.take(range(200)), engine=engine)  # starts the processes
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            clock, _, groups[workers] = spent(lambda engine=engine: group_views(views, engine=engine))
            torch.set_num_threads(threads)
        say(f"{MANY:,} views x 26, k 16, {workers} processes of one thread: {clock:.1f} s")
    np.testing.assert_array_equal(groups[1].neighbours, groups[2].neighbours)
    benchmark.pedantic(group_views, (views.take(range(2000)),), rounds=1)


@pytest.mark.parametrize("rounds", [3, 5])
def test_searching_among_neighbours_of_neighbours(benchmark, say, rounds):
    views = made_views(scenes=MANY // 5, of_each=5, points=26, noise=0.02, spread=0.15)
    _, whole, exact = spent(lambda: group_views(views, replace(PLAIN, k=16)))
    work = replace(PLAIN, k=16, rounds=rounds)
    clock, processor, found = benchmark.pedantic(lambda: spent(lambda: group_views(views, work)), rounds=1)
    recall = np.mean([len(set(a) & set(b)) / 16 for a, b in zip(found.neighbours, exact.neighbours, strict=True)])
    farther = found.distances.mean() / exact.distances.mean() - 1
    say(
        f"{MANY:,} views, {rounds} rounds: {clock:.1f} s, {processor:.1f} s of a processor (all pairs {whole:.1f} s), "
        f"{100 * recall:.1f} % of the 16 nearest, mean distance {100 * farther:+.2f} %"
    )
    assert recall > 0.8


def test_recall_and_speed_of_the_published_search(benchmark, say):
    views, k, sweeps = made_views(scenes=60, of_each=5, points=26, noise=0.02, spread=0.15), 16, 20
    exact = pair_distances(views)
    np.fill_diagonal(exact, np.inf)
    nearest = exact.argsort(1)[:, :k]
    for name, share, diversity in (("nearest alone", 0.0, 0.0), ("mixed and diverse", 0.5, 0.2)):
        settings = GroupSettings(k=k, consistency=share, diversity=diversity)
        _, ours_time, ours = spent(lambda settings=settings: group_views(views, settings))
        search = Descent(views, k, consistency=share, diversity=diversity)
        _, theirs_time, _ = spent(lambda search=search: [search.sweep() for _ in range(sweeps)])
        lines = [f"{name}, {len(views)} views: ours {ours_time:.2f} s, {sweeps} sweeps {theirs_time:.1f} s"]
        for who, found in (("ours", ours.neighbours), ("theirs", search.neighbours)):
            recall = np.mean([len(set(a) & set(b)) / k for a, b in zip(found, nearest, strict=True)])
            metres = np.take_along_axis(exact, np.maximum(found, 0), 1)[found >= 0].mean()
            lines.append(
                f"  {who}: recall of the {k} nearest {100 * recall:.1f} %, mean distance {100 * metres:.2f} cm"
            )
        say("\n".join(lines))
        if benchmark.enabled:
            assert theirs_time > 20 * ours_time
    benchmark.pedantic(group_views, (views, GroupSettings(k=k)), rounds=2)


PEAK = """
import sys
from pathlib import Path
from test_grouping_speed import views_like_data
from baselines.grouping import GroupSettings, group_views
class Enough(BaseException): pass
def stop(done, total):
    if done == stop_at: raise Enough
def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if name in line).split()[1]) // 1024
count, stop_at = int(sys.argv[1]), int(sys.argv[3])
views = views_like_data(count)
group_views(views.take(range(200)))
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
try: group_views(views, GroupSettings(memory=int(sys.argv[2])), progress=stop)
except Enough: pass
print(memory("VmHWM") - before, views.rays.nbytes >> 20)
"""


@pytest.mark.parametrize(("count", "pieces"), [(100_000, 3), (10_000, -1)], ids=["scanning", "all stages"])
def test_memory_of_many_views(benchmark, say, count, pieces):
    def peak(memory):
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{ROOT / 'tests/benchmarks'}"}
        command = [sys.executable, "-c", PEAK, str(count), str(memory), str(pieces)]
        done = subprocess.run(command, env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        return [int(word) for word in done.stdout.split()]

    (little, rays), (much, _) = peak(2**26), benchmark.pedantic(peak, (2**28,), rounds=1)
    say(f"{count:,} views, rays {rays} MB: {little} MB more with 64 MB to work in, {much} with 256 MB")
    # the views' lines and vectors as files in memory, and what rows keep of the blocks
    assert little < 12 * rays + 64 and much < 12 * rays + 256


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, torch sees none")
def test_a_hundred_thousand_views_on_a_gpu(benchmark, say):
    views = views_like_data(100_000)
    group_views(views.take(range(2000)), device="cuda")
    for settings in (PLAIN, GroupSettings()):
        torch.cuda.reset_peak_memory_stats()
        clock, _, _ = spent(lambda settings=settings: group_views(views, settings, device="cuda"))
        say(f"100,000 views: {clock:.1f} s, peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
        if benchmark.enabled:
            assert clock < 10
    benchmark.pedantic(group_views, (views.take(range(2000)),), {"device": "cuda"}, rounds=1)
