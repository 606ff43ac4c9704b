"""Grouping in blocks: the same bytes however the matrix is cut and shared, killed runs, two runs at once."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import slow_grouping as slow
import torch
from test_grouping import PLAIN, made_views, same_groups

from baselines.grouping import GroupSettings, blocks, distances, group_views, pair_distances, selection, table
from baselines.grouping import work_folder as folder_of
from wildhoi.engine import Local
from wildhoi.errors import RunError

TESTS = Path(__file__).parent


@pytest.fixture()
def cut(monkeypatch):
    """Sets how the work is cut: views along a side of a block, that choose at once, and pairs of a tile."""

    def set_cut(side, choosing=32, tile=2**17, rows=4096):
        monkeypatch.setitem(blocks.SIDE, "cpu", side)
        monkeypatch.setattr(blocks, "PARTS", 2**20)
        monkeypatch.setitem(selection.CHOOSING, "cpu", choosing)
        monkeypatch.setitem(distances.TILE, "cpu", tile)
        monkeypatch.setattr(table, "ROWS", rows)

    return set_cut


@pytest.fixture()
def threads():
    """Sets how many threads compute, restored."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def with_copies(views, rows):
    """Views some of which are there several times."""
    return replace(views.take(rows), view_ids=tuple(f"copy-{row}" for row in range(len(rows))))


def frames(scenes=8, of_each=14):
    """Views of some clips, whose frames look nearly the same way: a thousandth apart, points a centimetre."""
    rows = np.repeat(np.arange(scenes), of_each)
    moved, rng = with_copies(made_views(scenes=scenes, of_each=1, noise=0.05), rows), np.random.default_rng(0)
    rays = moved.rays + 3e-4 * rng.standard_normal(moved.rays.shape)
    positions = moved.positions + 0.03 * rng.standard_normal(moved.positions.shape)
    return replace(moved, rays=rays / np.linalg.norm(rays, axis=2, keepdims=True), positions=positions)


CASES = {
    "plain": (made_views(scenes=37, of_each=3, noise=0.05), replace(PLAIN, k=4)),
    "chosen": (made_views(scenes=37, of_each=3, noise=0.05), GroupSettings(k=4)),
    "as printed": (made_views(scenes=37, of_each=3, noise=0.05), GroupSettings(k=4, distance="unnormalised")),
    "threshold": (made_views(scenes=37, of_each=3, noise=0.05), GroupSettings(k=4, threshold=0.1, diversity=0.0)),
    "frames of clips": (frames(), replace(PLAIN, k=4)),
    "copies": (with_copies(made_views(scenes=5, of_each=1), [0, 1, 2, 3, 4, 1, 1] * 17), replace(PLAIN, k=16)),
    "all of all": (made_views(scenes=33, of_each=1), GroupSettings(k=32, diversity=0.0)),
    "a pool of all": (made_views(scenes=33, of_each=2), GroupSettings(k=4, pool=65)),
    "one more than k": (made_views(scenes=17, of_each=1), PLAIN),
}
CASE = pytest.mark.parametrize(("views", "settings"), CASES.values(), ids=CASES)


@CASE
def test_however_the_matrix_is_cut_the_groups_are_the_same(views, settings, cut):
    whole = group_views(views, settings)
    same_groups(whole, group_views(views, replace(settings, memory=2**20)))
    for side, choosing, tile, rows in ((23, 3, 100, 5), (40, 1000, 2**17, 64), (len(views) - 1, 1, 7, 1)):
        cut(side, choosing, tile, rows)
        same_groups(whole, group_views(views, settings))
        same_groups(whole, group_views(views, replace(settings, memory=2**20)))


@CASE
@pytest.mark.parametrize("side", [29, 4096])
def test_what_blocks_keep_too_little_of_is_measured_all_the_same(views, settings, side, cut, monkeypatch):
    whole = group_views(views, settings)
    cut(side)
    monkeypatch.setattr(blocks, "SHARE", 1)
    monkeypatch.setattr(blocks, "SPARE", 0)
    monkeypatch.setattr(selection, "SPARE", 0)
    same_groups(whole, group_views(views, settings))


@pytest.mark.parametrize("settings", [replace(PLAIN, k=20), replace(PLAIN, k=3, pool=3)], ids=str)
def test_bounds_that_say_nothing_make_it_slow_and_not_wrong(settings, cut, monkeypatch):
    views = made_views(scenes=40, of_each=2, noise=0.05)
    cut(33)
    call = distances.Bounds.__call__
    monkeypatch.setattr(distances.Bounds, "__call__", lambda self, *rows: call(self, *rows).fill_(-1.0))
    groups = group_views(views, settings)
    pairs = pair_distances(views).astype(np.float32)
    np.fill_diagonal(pairs, np.inf)
    np.testing.assert_array_equal(groups.neighbours, pairs.argsort(axis=1, kind="stable")[:, : settings.k])


@CASE
def test_in_blocks_the_groups_are_those_of_the_slow_twin(views, settings, cut):
    cut(31)
    groups = group_views(views, settings)
    pairs = pair_distances(views, distance=settings.distance)
    if settings == CASES["copies"][1]:  # which are equally far to the last bit in one sum, and not in another
        pairs = pairs.round(12)
    for row in range(0, len(views), 5):
        near = groups.neighbours[row]
        assert near[near >= 0].tolist() == slow.neighbours(views, row, pairs, settings)


@pytest.mark.parametrize("side", [51, 4096])
def test_threads_change_nothing(side, cut, threads):
    cut(side)
    views = made_views(scenes=30, of_each=4, points=26, noise=0.05)
    threads(1)
    whole = group_views(views)
    for number in (2, 3):
        threads(number)
        same_groups(whole, group_views(views))


def test_neither_workers_nor_the_order_of_blocks_change_anything(cut, tmp_path, monkeypatch):
    views = made_views(scenes=40, of_each=4, noise=0.05)
    whole = group_views(views)
    cut(60)
    same_groups(whole, group_views(views, engine=Local(2)))
    turned = blocks.blocks
    monkeypatch.setattr("baselines.grouping.search.blocks", lambda *given: dict(reversed(turned(*given).items())))
    same_groups(whole, group_views(views))


def test_distances_have_the_same_bits_whatever_is_measured_with_them():
    views = made_views(scenes=41, of_each=3, points=26, noise=0.05)
    lines = distances.lines_of(views.rays, views.positions)
    for kind in (torch.float64, torch.float32):
        here, there = lines[:7].to(kind).transpose(0, 1), lines.to(kind).permute(1, 2, 0)[:, None]
        whole = distances.line_distances(here, there, "true")
        for row in range(7):
            for width in (1, 5, 8, 33):
                part = distances.line_distances(here[:, row : row + 1], there[..., :width].contiguous(), "true")
                assert torch.equal(part, whole[row : row + 1, :width])


# The folder of what is unfinished


KILLED = """
import os, signal, sys
from pathlib import Path
from test_grouping import made_views
from baselines.grouping import GroupSettings, blocks, group_views, work_folder
blocks.SIDE["cpu"] = 50

def stop(done, total):
    if done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

with work_folder(Path(sys.argv[1])) as work:
    group_views(made_views(scenes=60, of_each=4), GroupSettings(k=4), work=work, progress=stop)
"""
BLOCKS, PARTS = 15, 5
"""Of the views of that program."""


@pytest.mark.parametrize("pieces", [7, BLOCKS + 2])
def test_a_killed_run_goes_on_where_it_stopped(pieces, tmp_path, cut):
    views, out = made_views(scenes=60, of_each=4), tmp_path / "groups.npz"
    whole = group_views(views, GroupSettings(k=4))
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}"}
    done = subprocess.run([sys.executable, "-c", KILLED, out, str(pieces)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL and (tmp_path / ".groups.npz.work").is_dir()
    cut(50)
    seen = []
    with folder_of(out) as work:
        groups = group_views(views, GroupSettings(k=4), work=work, progress=lambda *state: seen.append(state))
    same_groups(whole, groups)
    assert seen[0] == (min(pieces, BLOCKS), BLOCKS + PARTS) and seen[-1] == (BLOCKS + PARTS, BLOCKS + PARTS)
    # a piece that was finished is not told of again: one call at the start of each stage, one for every new piece
    assert len(seen) == 2 + BLOCKS + PARTS - pieces
    assert list(tmp_path.iterdir()) == []


def test_what_other_views_or_settings_left_is_not_taken(tmp_path, cut):
    cut(50)
    views, out = made_views(scenes=60, of_each=4), tmp_path / "groups.npz"
    moved = replace(views, positions=views.positions * 1.01)
    for given, settings in (
        (views, GroupSettings(k=4)),
        (views, GroupSettings(k=5)),
        (views, GroupSettings(k=5, diversity=0.0)),
        (moved, GroupSettings(k=5, diversity=0.0)),
    ):
        expected = group_views(given, settings)
        with pytest.raises(ZeroDivisionError), folder_of(out) as work:
            same_groups(expected, group_views(given, settings, work=work))
            raise ZeroDivisionError
        assert (tmp_path / ".groups.npz.work").is_dir()


def test_memory_is_no_other_setting(tmp_path, cut):
    cut(50)
    seen = []
    views = made_views(scenes=60, of_each=4)
    for memory in (2**30, 2**20):
        settings = GroupSettings(k=4, memory=memory)
        group_views(views, settings, work=tmp_path, progress=lambda *state: seen.append(state))
    assert seen[-2:] == [(BLOCKS, BLOCKS + PARTS), (BLOCKS + PARTS, BLOCKS + PARTS)]


def test_two_runs_of_one_file_are_refused(tmp_path):
    out = tmp_path / "groups.npz"
    with folder_of(out), pytest.raises(RunError, match="another run is writing here"), folder_of(out):
        pass
    with folder_of(out):
        pass
    assert list(tmp_path.iterdir()) == []


def test_without_a_file_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    group_views(made_views())
    assert list(tmp_path.iterdir()) == []
