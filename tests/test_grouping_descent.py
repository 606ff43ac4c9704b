"""The search among neighbours of neighbours: its slow twin, what it finds, that chance and order have no part in it."""

from dataclasses import replace

import numpy as np
import pytest
import slow_grouping as slow
import torch
from test_grouping import PLAIN, made_views, same_groups
from test_grouping_blocks import CASES, cut, threads  # noqa: F401 - fixtures

from baselines.grouping import GroupSettings, descent, group_views, pair_distances
from baselines.grouping.descent import join_lists, list_key, read_lists
from baselines.grouping.distances import line_distances, lines_of
from wildhoi.engine import Local
from wildhoi.errors import InputError

VIEWS = made_views(scenes=40, of_each=6, points=9, noise=0.03, spread=0.15)
SETTINGS = GroupSettings(k=4, rounds=3)


@pytest.fixture()
def short(monkeypatch):
    """Lists that start with few views and ask few, so that few views are many."""
    for name, value in (("SEEDS", 24), ("ASKED", 6), ("TOLD", 4)):
        monkeypatch.setattr(descent, name, value)


def found_in(work, rounds, parts=1):
    """The places of all lists after a round."""
    lists = [read_lists(work / f"round-{rounds}", part) for part in range(parts)]
    return torch.cat([each.places for each in lists]).numpy(), torch.cat([each.bounds for each in lists]).numpy()


@pytest.mark.parametrize("rounds", [1, 2, 3, 5])
def test_lists_equal_the_slow_twin(rounds, short, tmp_path):
    settings = replace(PLAIN, k=3, pool=5, rounds=rounds)
    group_views(VIEWS, settings, work=tmp_path)
    places, _ = found_in(tmp_path, rounds)
    lines = lines_of(VIEWS.rays, VIEWS.positions).float()
    metres = line_distances(lines.transpose(0, 1), lines.permute(1, 2, 0)[:, None], "true").numpy()
    seeds = descent._seeds(len(VIEWS), places.shape[1]).tolist()
    lists = slow.descent(metres, places.shape[1], rounds, seeds, descent.ASKED, descent.TOLD)
    assert places.tolist() == [[place for place, _ in each] for each in lists]


@pytest.mark.parametrize("name", sorted(set(CASES) - {"frames of clips"}))
def test_where_all_are_shown_at_first_the_groups_are_the_exact_ones(name):
    views, settings = CASES[name]
    same_groups(group_views(views, settings), group_views(views, replace(settings, rounds=1)))


def test_more_rounds_find_more_and_soon_nearly_all(short, tmp_path):
    exact = group_views(VIEWS, replace(PLAIN, k=5))
    pairs = pair_distances(VIEWS)
    shares, far = [], []
    settings = replace(PLAIN, k=16, pool=24, rounds=6)
    group_views(VIEWS, settings, work=tmp_path)
    for rounds in range(1, 7):
        places, metres = found_in(tmp_path, rounds)
        true = np.take_along_axis(pairs, places, 1)
        assert np.abs(metres - true)[true > 1e-3].max() < 1e-3
        far.append(true.mean())
        shares.append(np.mean([len(set(a) & set(b)) / 5 for a, b in zip(places, exact.neighbours, strict=True)]))
    assert (np.diff(far) <= 0).all() and shares[0] < 0.3 and shares[-1] > 0.9


def test_no_list_holds_a_view_twice_or_itself(short, tmp_path):
    group_views(VIEWS, SETTINGS, work=tmp_path)
    for rounds in (1, 2, 3):
        places, metres = found_in(tmp_path, rounds)
        assert all(len(set(row)) == len(row) for row in places.tolist())
        assert (places != np.arange(len(VIEWS))[:, None]).all() and (np.diff(metres, axis=1) >= 0).all()


def test_neither_cut_nor_threads_nor_workers_change_anything(short, cut, threads):  # noqa: F811 - fixtures
    whole = group_views(VIEWS, SETTINGS)
    assert not np.array_equal(whole.neighbours, group_views(VIEWS, replace(SETTINGS, rounds=1)).neighbours)
    same_groups(whole, group_views(VIEWS, replace(SETTINGS, memory=2**20)))
    for side, number in ((70, 1), (239, 2)):
        cut(side)
        threads(number)
        same_groups(whole, group_views(VIEWS, SETTINGS))


def test_worker_processes_find_the_same(cut):  # noqa: F811 - a fixture
    views = made_views(scenes=300, of_each=4, points=5, noise=0.03, spread=0.15)
    whole = group_views(views, SETTINGS)
    cut(700)
    same_groups(whole, group_views(views, SETTINGS, engine=Local(2)))


def test_a_search_goes_on_where_it_stopped(short, cut, tmp_path):  # noqa: F811 - a fixture
    cut(100)
    whole, seen = group_views(VIEWS, SETTINGS), []

    def stop(done, total):
        seen.append((done, total))
        if done == 5:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        group_views(VIEWS, SETTINGS, work=tmp_path, progress=stop)
    seen.clear()
    same_groups(whole, group_views(VIEWS, SETTINGS, work=tmp_path, progress=lambda *state: seen.append(state)))
    assert seen[:2] == [(3, 12), (5, 12)] and seen[-1] == (12, 12)


def test_who_lists_a_view_is_known_the_nearer_first(tmp_path, monkeypatch):
    monkeypatch.setattr(descent, "ASKED", 2)
    places, new = np.array([[1, 2], [2, 0], [1, 3], [1, 2], [2, 1]]), np.array([[1, 0], [0, 1], [0, 0], [1, 1], [1, 0]])
    for part, rows in enumerate((slice(0, 2), slice(2, 5))):
        with (tmp_path / list_key(part)).open("wb") as stream:
            np.savez(stream, keys=places[rows], new=new[rows].astype(bool))
    join_lists([tmp_path / list_key(part) for part in (0, 1)], tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "near.npy"), 2 * places + new)
    # 2 is first in the lists of 1 and 4 (there new), then second in those of 0 and 3, which find no room
    np.testing.assert_array_equal(np.load(tmp_path / "reverse.npy"), [[3, -1], [1, 4], [2, 9], [4, -1], [-1, -1]])


@pytest.mark.parametrize("rounds", [0, -1, 1.5, True, "many"])
def test_wrong_rounds_are_refused(rounds):
    with pytest.raises(InputError, match=r"grouping: rounds is .*want a whole number from 1, or none"):
        GroupSettings.of({"rounds": rounds})
