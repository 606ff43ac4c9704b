"""Grouping: laws of the distance and of the choice, the slow twin, the report and the file."""

import json
from dataclasses import replace

import numpy as np
import pytest
import slow_grouping as slow
import torch
from command import run
from scipy.spatial.transform import Rotation

from baselines.grouping import (
    Groups,
    GroupSettings,
    group_views,
    make_report,
    pair_distances,
    read_groups,
    work_folder,
    write_groups,
)
from baselines.grouping import stored as stored_module
from baselines.grouping.distances import Bounds, full_products, lines_of
from baselines.grouping.report import effective_neighbours
from wildhoi.errors import InputError
from wildhoi.views import Views, mirror_views, rays_of_points

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, torch sees none")
DEVICES = ["cpu", pytest.param("cuda", marks=NO_GPU)]
PLAIN = GroupSettings(consistency=0.0, diversity=0.0)


def made_views(scenes=12, of_each=3, points=6, seed=0, away=42.0, noise=0.0, spread=0.5):
    """Scenes of points about the pelvis, each seen by cameras all around; the views in mixed order.

    Points of different scenes differ by `spread` about a common layout, metres, and move by `noise` from view to view.
    """
    rng = np.random.default_rng(seed)
    layout = 0.5 * rng.standard_normal((points, 3)) if spread < 0.5 else 0.0
    space = np.repeat(layout + spread * rng.standard_normal((scenes, points, 3)), of_each, axis=0)
    space[:, 0] = 0
    space = space + noise * rng.standard_normal(space.shape)
    positions = rng.standard_normal((len(space), 3)) * [1, 0.3, 1]
    positions *= away * rng.uniform(0.6, 1.4, (len(space), 1)) / np.linalg.norm(positions, axis=1, keepdims=True)
    kinds = [f"kind-{number % 3}" for number in range(scenes)]
    order = rng.permutation(len(space))
    return Views(
        "barbell",
        tuple(f"view-{row}" for row in range(len(space))),
        tuple(f"scene-{row // of_each}" for row in order),
        tuple(kinds[row // of_each] for row in order),
        rays_of_points(space, positions)[order],
        positions[order],
    )


def one_ray(*lines):
    """Views of one keypoint, from (direction, position)."""
    rays, positions = (np.array([line[k] for line in lines], float) for k in (0, 1))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    names = tuple(f"view-{row}" for row in range(len(lines)))
    return Views("basketball", names, (None,) * len(lines), (None,) * len(lines), rays[:, None], positions)


def same_groups(one, other):
    np.testing.assert_array_equal(one.neighbours, other.neighbours)
    np.testing.assert_array_equal(one.distances, other.distances)


# The distance


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("distance", ["true", "unnormalised"])
@pytest.mark.parametrize("away", [2.5, 42.0])
def test_pair_distances_equal_the_definition(distance, away, device):
    views = made_views(away=away)
    found = pair_distances(views, distance=distance, device=device)
    np.testing.assert_allclose(found, slow.distances(views, divided=distance == "true"), atol=1e-8)
    some = views.take([3, 1, 20])
    np.testing.assert_allclose(pair_distances(some, views, distance=distance), found[[3, 1, 20]], atol=1e-12)


def test_the_distance_of_lines_known_by_hand():
    views = one_ray(([0, 0, 1], [0, 0, -5]), ([1, 0, 0], [-9, 2, 7]), ([0, 3, 4], [0, -3, 0]))
    found = pair_distances(views)
    # the first and the second pass each other along y; the first and the third lie in the plane x = 0
    assert found[0, 1] == pytest.approx(2.0) and found[0, 2] == pytest.approx(0.0, abs=1e-12)
    assert pair_distances(views, distance="unnormalised")[0, 1] == pytest.approx(2.0)
    # a sine of 4 / 5 between the first and the fourth
    slanted = one_ray(([0, 0, 1], [0, 0, -5]), ([4, 0, 3], [1, 0.5, 2]))
    assert pair_distances(slanted)[0, 1] == pytest.approx(0.5)
    assert pair_distances(slanted, distance="unnormalised")[0, 1] == pytest.approx(0.4)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("angle", [0.0, 1e-7, 9e-7])
def test_parallel_lines_are_as_far_apart_as_they_are(sign, angle):
    turned = Rotation.from_rotvec([0, angle, 0]).apply([0.0, 0, sign])
    views = one_ray(([0, 0, 1], [0, 0, -40]), (turned, [0.3, 0.4, -38 * sign]))
    assert pair_distances(views)[0, 1] == pytest.approx(0.5, abs=5e-5)


@pytest.mark.parametrize("angle", [1e-5, 1e-4, 1e-2, np.pi / 2])
def test_nearly_parallel_lines_are_as_near_as_they_come(angle):
    # both lines pass 0.3 m from each other at the pelvis, at any angle
    turned = Rotation.from_rotvec([0, angle, 0]).apply([0.0, 0, 1])
    views = one_ray(([0, 0, 1], [0, 0.3, -40]), (turned, -35 * turned))
    assert pair_distances(views)[0, 1] == pytest.approx(0.3, abs=1e-7)


@pytest.mark.parametrize("distance", ["true", "unnormalised"])
def test_the_distance_is_symmetric_and_zero_within_a_scene(distance):
    views = made_views(of_each=4)
    found = pair_distances(views, distance=distance)
    np.testing.assert_allclose(found, found.T, atol=1e-10)
    same = np.equal.outer(np.array(views.scene_ids), np.array(views.scene_ids))
    assert found[same].max() < 1e-8 and found[~same].min() > 1e-4


@pytest.mark.parametrize("distance", ["true", "unnormalised"])
def test_turning_space_about_the_pelvis_changes_no_distance_and_scaling_scales_it(distance):
    views = made_views()
    found = pair_distances(views, distance=distance)
    turn = Rotation.random(random_state=3).as_matrix()
    turned = replace(views, rays=views.rays @ turn.T, positions=views.positions @ turn.T)
    np.testing.assert_allclose(pair_distances(turned, distance=distance), found, atol=1e-9)
    larger = replace(views, positions=3 * views.positions)
    np.testing.assert_allclose(pair_distances(larger, distance=distance), 3 * found, atol=1e-8)


def test_mirrored_scenes_have_the_distances_of_the_scenes():
    views = made_views(points=26)
    np.testing.assert_allclose(pair_distances(mirror_views(views)), pair_distances(views), atol=1e-9)


def bounds_and_distances(views, distance="true", device="cpu", rows=slice(None)):
    lines = lines_of(views.rays, views.positions).to(device)
    start, stop, _ = rows.indices(len(views))
    found = Bounds(lines, lines, distance)(start, stop).cpu().numpy()
    return found, pair_distances(views, distance=distance)[rows].astype(np.float32)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("distance", ["true", "unnormalised"])
@pytest.mark.parametrize("away", [3.0, 42.0, 60.0])
def test_bounds_are_from_below_and_within_micrometres_unless_rays_are_nearly_parallel(distance, away, device):
    views = made_views(scenes=60, of_each=4, points=9, away=away, noise=0.02)
    found, exact = bounds_and_distances(views, distance, device, slice(10, 200))
    assert (found <= exact).all()
    cosines = np.abs(np.einsum("ikx,jkx->ijk", views.rays, views.rays)).max(2)[10:200]
    apart = np.sin(np.arccos(np.minimum(cosines, 1)))
    error = exact - found
    assert error[apart > 0.2].max() < 5e-5
    assert np.median(error) < 1e-5


@pytest.mark.parametrize("turn", [0.0, 1e-8, 1e-6, 2e-6, 1e-4, 1e-3, 1e-2, 0.1])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("distance", ["true", "unnormalised"])
def test_bounds_of_views_that_look_nearly_the_same_way_are_from_below(distance, sign, turn):
    views = made_views(scenes=100, of_each=1, noise=0.05)
    near = Rotation.from_rotvec(turn * np.random.default_rng(1).standard_normal((100, 3))).as_matrix()
    rays, positions = np.einsum("nxy,npy->npx", near, views.rays), np.einsum("nxy,ny->nx", near, views.positions)
    both = views.take([*range(100), *range(100)])
    both.rays[100:], both.positions[100:] = sign * rays, positions
    found, exact = bounds_and_distances(both, distance)
    assert (found <= exact).all()


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1e2, 1e6])
def test_bounds_are_from_below_at_any_scale(scale):
    views = made_views(scenes=100, of_each=1)
    found, exact = bounds_and_distances(replace(views, positions=scale * views.positions))
    assert (found <= exact).all() and np.isfinite(found).all()


def test_moments_are_why_float32_is_enough():
    views = made_views(scenes=60, of_each=4, points=9, away=42.0, noise=0.02)
    exact = pair_distances(views, distance="unnormalised")
    lines = lines_of(views.rays, views.positions).float().permute(2, 0, 1)
    turned = torch.cat([lines[..., 3:], lines[..., :3]], dim=2).mT
    by_moments = (lines @ turned).abs().mean(0).numpy()
    rays, positions = views.rays.astype(np.float32), views.positions.astype(np.float32)
    gaps = positions[:, None] - positions
    products = [(np.cross(rays[:, None, k], rays[None, :, k]) * gaps).sum(-1) for k in range(rays.shape[1])]
    by_positions = np.abs(products).mean(0)
    assert np.abs(by_moments - exact).mean() < 0.2 * np.abs(by_positions - exact).mean()


@pytest.fixture()
def precision():
    """The process's choice of how exact products are, restored."""
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("chosen", ["highest", "high", "medium"])
def test_products_are_full_for_as_long_as_they_must_be(precision, chosen):
    precision(chosen)
    with pytest.raises(ZeroDivisionError), full_products():
        assert torch.get_float32_matmul_precision() == "highest"
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == chosen


@pytest.mark.parametrize("device", DEVICES)
def test_bounds_do_not_depend_on_how_exact_the_process_wants_products(precision, device):
    views = made_views(scenes=100)
    lines = lines_of(views.rays, views.positions).to(device)
    expected = Bounds(lines, lines, "true")(0, 100)
    precision("medium")
    assert torch.equal(Bounds(lines, lines, "true")(0, 100), expected)


# The choice


SETTINGS = [
    GroupSettings(k=4),
    GroupSettings(k=4, pool=9),
    GroupSettings(k=5, pool=50, diversity=0.0),
    GroupSettings(k=5, pool=50, consistency=0.0),
    GroupSettings(k=6, pool=50, diversity=0.4, consistency=0.3),
    GroupSettings(k=3, pool=50, consistency=1.0),
    GroupSettings(k=5, pool=50, distance="unnormalised"),
    GroupSettings(k=8, threshold=0.12, diversity=0.0),
    GroupSettings(k=1),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_groups_equal_the_slow_twin(settings, device):
    views = made_views(scenes=10, of_each=4, noise=0.05)
    groups = group_views(views, settings, device=device)
    pairs = slow.distances(views, divided=settings.distance == "true")
    for row, near in enumerate(groups.neighbours):
        expected = slow.neighbours(views, row, pairs, settings)
        assert near[near >= 0].tolist() == expected
        np.testing.assert_allclose(groups.distances[row, : len(expected)], pairs[row, expected], atol=1e-6)
        assert np.isinf(groups.distances[row, len(expected) :]).all()


def test_without_mixing_and_diversity_the_neighbours_are_the_exact_nearest():
    views = made_views(scenes=300, of_each=2, noise=0.03)
    groups = group_views(views, replace(PLAIN, k=20))
    pairs = pair_distances(views).astype(np.float32)
    np.fill_diagonal(pairs, np.inf)
    np.testing.assert_array_equal(groups.neighbours, pairs.argsort(axis=1, kind="stable")[:, :20])


def test_the_true_distance_finds_the_other_views_of_a_scene_and_the_unnormalised_does_not():
    views = made_views(scenes=60, of_each=17, points=26, noise=0.02, spread=0.1)
    shares = {}
    for distance in ("true", "unnormalised"):
        groups = group_views(views, replace(PLAIN, distance=distance))
        shares[distance] = make_report(groups, views).same_scene.share
    assert shares["true"] > 0.99 and shares["unnormalised"] < 0.5


def test_blocks_of_pairs_change_no_distance():
    views = made_views()
    np.testing.assert_array_equal(pair_distances(views, memory=1), pair_distances(views))


def test_the_order_of_the_views_does_not_matter():
    views = made_views(scenes=20, noise=0.05)
    order = np.random.default_rng(4).permutation(len(views))
    groups, mixed = group_views(views, GroupSettings(k=4)), group_views(views.take(order), GroupSettings(k=4))
    assert mixed.view_ids == tuple(views.view_ids[row] for row in order)
    np.testing.assert_array_equal(order[mixed.neighbours], groups.neighbours[order])


def test_mirrored_views_have_the_same_neighbours():
    views = made_views(points=26, noise=0.05)
    settings = GroupSettings(k=5)
    np.testing.assert_array_equal(
        group_views(mirror_views(views), settings).neighbours, group_views(views, settings).neighbours
    )


@pytest.mark.parametrize(("copies", "pool"), [(2, 30), (5, 30), (60, 8), (60, 30)])
def test_of_equal_views_the_lower_place_comes_first(copies, pool):
    few = made_views(scenes=2, of_each=1)
    rows = [0, 1] * copies
    views = replace(few.take(rows), view_ids=tuple(map(str, range(len(rows)))))
    k = min(4, copies - 1)
    groups = group_views(views, replace(PLAIN, k=k, pool=pool))
    for row, near in enumerate(groups.neighbours):
        alike = [other for other in range(row % 2, len(rows), 2) if other != row]
        assert near.tolist() == alike[:k]
    assert groups.distances.max() < 1e-7


def test_neighbours_differ_from_each_other_by_the_diversity():
    views = made_views(scenes=10, of_each=12, noise=0.02)
    groups = group_views(views, GroupSettings(k=6, pool=119, diversity=0.3))
    for near in groups.neighbours:
        near = near[near >= 0]
        assert all(slow.difference(views, i, j) > 0.3 for i in near for j in near if i < j)
    assert (groups.neighbours[:, 1] >= 0).any()


def test_no_neighbour_is_beyond_the_threshold():
    views = made_views(scenes=10, of_each=4, noise=0.05)
    groups = group_views(views, replace(PLAIN, threshold=0.1))
    pairs = pair_distances(views)
    np.testing.assert_array_equal((groups.neighbours >= 0).sum(1), np.minimum(((pairs < 0.1).sum(1) - 1), 16))
    assert group_views(views, replace(PLAIN, threshold=1e-9)).neighbours.max() == -1


def test_a_smaller_k_takes_the_first_of_a_larger():
    views = made_views(scenes=20, of_each=4, noise=0.05)
    many, few = (group_views(views, GroupSettings(k=k, pool=40)) for k in (8, 3))
    np.testing.assert_array_equal(few.neighbours, many.neighbours[:, :3])


def test_mixing_prefers_neighbours_that_agree():
    views = made_views(scenes=30, of_each=4, noise=0.05)
    pairs = pair_distances(views)

    def spread(settings):
        near = group_views(views, settings).neighbours
        return np.mean([pairs[np.ix_(row, row)][np.triu_indices(len(row), 1)].mean() for row in near])

    settings = GroupSettings(k=6, pool=40, diversity=0.0)
    assert spread(settings) < 0.98 * spread(replace(settings, consistency=0.0))


def test_progress_ends_when_all_is_done():
    seen = []
    group_views(made_views(scenes=100), GroupSettings(k=2), progress=lambda done, total: seen.append((done, total)))
    assert sorted(set(seen)) == [(0, 2), (1, 2), (2, 2)] and seen == sorted(seen)


# What cannot be grouped


def test_too_few_views_say_how_many_are_needed():
    with pytest.raises(InputError, match=r"barbell: got 16 views, want at least 17 for k = 16.*lower k"):
        group_views(made_views(scenes=16, of_each=1))
    assert group_views(made_views(scenes=17, of_each=1), PLAIN).neighbours.min() == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("what", ["rays", "positions"])
def test_numbers_that_are_not_finite_are_refused(what, value):
    views = made_views()
    broken = getattr(views, what).copy()
    broken[5, 1], broken[9, 0] = value, value
    with pytest.raises(InputError, match=r"'view-5' has a ray or a position that is not finite \(2 such views\)"):
        group_views(replace(views, **{what: broken}), GroupSettings(k=2))


def test_rays_of_another_length_are_refused():
    views = made_views()
    with pytest.raises(InputError, match="no unit vector"):
        group_views(replace(views, rays=2 * views.rays), GroupSettings(k=2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"k": 0}, "k is 0, want a whole number"),
        ({"k": 2.0}, "k is 2.0"),
        ({"k": True}, "k is True"),
        ({"k": "16"}, "k is '16'"),
        ({"distance": "euclidean"}, "true or unnormalised"),
        ({"pool": 8}, "want at least k = 16"),
        ({"pool": -1}, "pool is -1"),
        ({"consistency": 1.5}, "share from 0 to 1"),
        ({"consistency": np.nan}, "consistency is nan"),
        ({"diversity": -0.1}, "diversity is -0.1"),
        ({"threshold": 0.0}, "metres above 0"),
        ({"threshold": np.inf}, "threshold is inf"),
        ({"memory": 1000}, "at least 1,048,576"),
        ({"neighbours": 3}, "no setting 'neighbours'"),
        ({"diversty": 0.1}, "did you mean diversity"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        GroupSettings.of(changes)


def test_settings_of_a_table():
    assert GroupSettings.of({}) == GroupSettings()
    changed = GroupSettings(k=8, threshold=0.2, pool=20)
    assert GroupSettings.of(changed.to_dict()) == changed
    assert GroupSettings(k=8).candidates == 64 and changed.candidates == 20


def test_an_unknown_distance_of_pairs_is_refused():
    with pytest.raises(InputError, match="true or unnormalised"):
        pair_distances(made_views(), distance="cosine")


# Weights and the report


def made_groups(neighbours, distances, settings=None):
    near = np.array(neighbours)
    settings = settings or GroupSettings(k=near.shape[1])
    names = tuple(f"view-{row}" for row in range(len(near)))
    return Groups("barbell", names, near, np.array(distances, np.float32), settings)


def views_of(names, scenes=None, kinds=None):
    count = len(names)
    nobody = (None,) * count
    rays = np.tile([0.0, 0, 1], (count, 1, 1))
    return Views("barbell", tuple(names), scenes or nobody, kinds or nobody, rays, np.zeros((count, 3)))


def test_weights_are_the_published_ones():
    metres = [0.0, 0.03, 0.064, 0.1, 5.0, np.inf]
    groups = made_groups([[1, 2, 3, 4, 5, -1]], [metres])
    weights = groups.weights()[0]
    np.testing.assert_allclose(
        weights[:5], [slow.weight(float(np.float32(m))) for m in metres[:5]], rtol=1e-6, atol=1e-200
    )
    assert weights[0] == 1 and weights[2] == pytest.approx(0.5, abs=0.01) and weights[5] == 0
    assert (np.diff(weights) <= 0).all()
    flat = groups.weights(1e3)[0]
    np.testing.assert_allclose(
        flat[:5], [slow.weight(float(np.float32(m)), 1e3) for m in metres[:5]], rtol=1e-6, atol=1e-200
    )


def test_effective_neighbours_count_those_that_weigh():
    near = [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, -1, -1]]
    far = [[0, 0, 0], [0, 9, 9], [9, 9, 9], [0, np.inf, np.inf]]
    assert effective_neighbours(made_groups(near, far)) == pytest.approx([3, 1, 0, 1])


def test_the_report_counts_what_neighbours_share():
    near = [[1, 2], [0, 3], [3, 0], [2, -1], [0, 1]]
    far = [[0.01, 0.02], [0.01, 0.03], [0.02, 0.05], [0.04, np.inf], [0.1, 0.3]]
    scenes, kinds = ("a", "a", "b", "b", None), ("run", "run", "run", "sit", "sit")
    groups = made_groups(near, far)
    found = make_report(groups, views_of(groups.view_ids, scenes, kinds))
    # known pairs of views 0 to 3: 01 02 10 13 23 20 32, of which 01 10 23 32 are of one scene
    assert found.same_scene.share == pytest.approx(4 / 7)
    assert found.same_scene.best == pytest.approx(4 / 7) and found.same_scene.chance == pytest.approx(1 / 3)
    # 01 02 10 20 are the same; 13 23 32 40 41 are not
    assert found.same_interaction.share == pytest.approx(4 / 9) and found.same_interaction.kinds == 2
    # by chance: views 0, 1, 2 find 2 of 4 others alike, views 3 and 4 find 1 of 4
    assert found.same_interaction.chance == pytest.approx((6 * 2 / 4 + 3 * 1 / 4) / 9)
    assert found.same_interaction.best == pytest.approx((6 + 1 + 1) / 9)
    assert found.neighbours == pytest.approx(9 / 5) and found.short == pytest.approx(1 / 5)
    assert found.distance_at_k[1] == pytest.approx(0.04) and found.nearest[1] == pytest.approx(0.02)
    assert json.loads(json.dumps(found.to_dict()))["same_scene"]["kinds"] == 2


def test_the_report_says_what_is_not_known():
    groups = made_groups([[1], [0]], [[0.01], [0.01]])
    found = make_report(groups, views_of(groups.view_ids, ("a", "b"), (None, "run")))
    assert found.same_scene is None and found.same_interaction is None
    with pytest.raises(InputError, match="group them again"):
        make_report(groups, views_of(["other", "views"]))


def test_the_report_of_no_neighbours_is_valid_json():
    groups = made_groups([[-1], [-1]], [[np.inf], [np.inf]])
    found = make_report(groups, views_of(groups.view_ids)).to_dict()
    assert found["distance_at_k"] == [None] * 3 and found["effective"] == [0.0] * 3
    json.dumps(found, allow_nan=False)


def test_the_report_warns_where_a_prior_would_learn_nothing():
    near = [[j for j in range(9) if j != i] for i in range(9)]
    for metres, warned in ((0.01, False), (0.2, True)):
        groups = made_groups(near, np.full((9, 8), metres))
        found = make_report(groups, views_of(groups.view_ids))
        assert found.effective[1] == pytest.approx(0 if warned else 8, abs=0.01)
        assert any("effective neighbours" in text and "want 4" in text for text in found.warnings) == warned


def test_the_report_says_where_all_views_are_of_one_interaction():
    views = made_views(scenes=20)
    views = replace(views, interactions=("run",) * len(views))
    found = make_report(group_views(views, GroupSettings(k=3)), views)
    assert found.same_interaction.share == 1.0 and any("one interaction" in text for text in found.warnings)


# The file


@pytest.fixture()
def stored(tmp_path):
    views = made_views(scenes=10, noise=0.05)
    views = replace(views, view_ids=tuple(f"vidéo/{name}" for name in views.view_ids))
    groups = group_views(views, GroupSettings(k=4, threshold=0.3), provenance={"data": "made-up", "split": "train"})
    path = tmp_path / "groups ü.npz"
    write_groups(path, groups)
    return path, groups


def rewritten(path, **changes):
    """The file with other arrays; None leaves one out."""
    with np.load(path) as file:
        arrays = dict(file) | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def test_groups_are_read_as_they_were_written(stored):
    path, groups = stored
    found = read_groups(path)
    same_groups(found, groups)
    assert (found.view_ids, found.object) == (groups.view_ids, groups.object)
    assert (found.settings, found.provenance) == (groups.settings, groups.provenance)
    assert (groups.neighbours < 0).any()  # so that what is lacking went through the file too


def test_writing_twice_gives_the_same_bytes_of_arrays(stored, tmp_path):
    path, groups = stored
    write_groups(tmp_path / "again.npz", groups)
    with np.load(path) as one, np.load(tmp_path / "again.npz") as other:
        assert one.files == other.files and all(one[name].tobytes() == other[name].tobytes() for name in one.files)


class Payload:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def wrong_files():
    near = np.array([[1, -1], [0, -1], [0, 1]], np.int32)
    far = np.where(near < 0, np.inf, 0.1).astype(np.float32)
    facts = {"format": "wildhoi-groups-1", "object": "barbell", "settings": {"k": 2}, "provenance": {}}

    def told(**changes):
        return {"facts": np.array(json.dumps(facts | changes))}

    right = {"view_ids": np.array(["a", "b", "c"]), "neighbours": near, "distances": far, **told()}
    wrong = {
        "pickled": {"neighbours": np.array([Payload()], object)},
        "ids pickled": {"view_ids": np.array([Payload()], object)},
        "no distances": {"distances": None},
        "floats for places": {"neighbours": near.astype(float)},
        "ids as numbers": {"view_ids": np.arange(3)},
        "one axis": {"neighbours": near[0]},
        "too few rows": {"neighbours": near[:2]},
        "another k": {"distances": far[:, :1]},
        "a place too high": {"neighbours": np.where(near == 0, 3, near).astype(np.int32)},
        "a place too low": {"neighbours": np.where(near == -1, -2, near).astype(np.int32)},
        "itself": {"neighbours": np.array([[0, -1], [0, -1], [0, 1]], np.int32)},
        "one twice": {"neighbours": np.array([[1, -1], [0, -1], [0, 0]], np.int32)},
        "nan": {"distances": np.where(near < 0, np.inf, np.nan)},
        "negative": {"distances": -far},
        "infinite for a neighbour": {"distances": np.full((3, 2), np.inf)},
        "an id twice": {"view_ids": np.array(["a", "b", "a"])},
        "facts no JSON": {"facts": np.array("{")},
        "facts deep": {"facts": np.array("[" * 5000)},
        "facts long": {"facts": np.array(json.dumps(facts | {"x": "x" * 70000}))},
        "facts a list": {"facts": np.array("[1]")},
        "another format": told(format="wildhoi-groups-9"),
        "no object": told(object=None),
        "settings a list": told(settings=[]),
        "a setting unknown": told(settings={"k": 2, "speed": 3}),
        "a setting wrong": told(settings={"k": -2}),
        "provenance no texts": told(provenance={"data": [1]}),
    }
    return right, wrong


RIGHT, WRONG = wrong_files()


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_wrong_is_refused_in_one_line(tmp_path, name):
    path = tmp_path / "groups.npz"
    np.savez(path, **RIGHT)
    assert len(read_groups(path)) == 3
    rewritten(path, **WRONG[name])
    with pytest.raises(InputError) as caught:
        read_groups(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "make it again with `wildhoi group`" in text and "\n" not in text


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_file_that_is_cut_off_is_refused(stored, share):
    path, _ = stored
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="cannot be read"):
        read_groups(path)


def test_a_damaged_byte_is_an_error_or_makes_no_difference(stored):
    path, groups = stored
    content = path.read_bytes()
    refused = 0
    for place in np.random.default_rng(0).integers(0, len(content), 60):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            same_groups(read_groups(path), groups)
        except InputError:
            refused += 1
    assert refused > 20


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, **RIGHT | {"distances": np.zeros((2**20, 1))})
    assert path.stat().st_size < 2**14
    monkeypatch.setattr(stored_module, "LARGEST_BYTES", 2**22)
    with pytest.raises(InputError, match="at most 4,194,304 are read"):
        read_groups(path)


def test_a_file_that_is_not_there(tmp_path):
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_groups(path)


# The command


@pytest.fixture()
def command(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WILDHOI_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    return lambda *words: run(monkeypatch, capfd, "group", *words)


@pytest.fixture()
def few_images(monkeypatch):
    """Views of the shipped set's test images, in place of training images, of which it has none."""
    views = replace(made_views(scenes=10, noise=0.05), left_out={"without camera": 3})
    asked = []

    def read(data, name, **given):
        asked.append((data.name, name, given))
        return views

    monkeypatch.setattr("wildhoi.view_reading.read_views", read)
    return views, asked


WORDS = ("--dataset", "open-sample", "--object", "barbell")


def test_the_command_prints_a_report_and_writes_groups(command, few_images, tmp_path):
    views, asked = few_images
    outcome = command(*WORDS, "--k", "4", "--diversity", "0", "--views", "all", "--source", "truth", "-o", "new/a.npz")
    assert outcome.code == 0, outcome
    for text in ("30 of barbell", "4.0 of 4", "distance at k", "effective neighbours", "of the same scene"):
        assert text in outcome.out
    assert "3 images without camera" in outcome.err and "wrote new/a.npz" in outcome.err
    assert asked == [("open-sample", "barbell", {"split": "train", "views": "all", "source": "truth"})]
    found = read_groups(tmp_path / "new/a.npz")
    same_groups(found, group_views(views, GroupSettings(k=4, diversity=0.0)))
    facts = {"data": "open-sample", "split": "train", "views": "all", "source": "truth"}
    assert facts.items() <= found.provenance.items() and found.provenance["revision"]


def test_the_command_as_json(command, few_images):
    views, _ = few_images
    outcome = command(*WORDS, "--k", "3", "--json")
    found = json.loads(outcome.out)
    assert outcome.code == 0 and (found["views"], found["settings"]["k"]) == (30, 3)
    expected = make_report(group_views(views, GroupSettings(k=3)), views)
    assert found["distance_at_k"] == pytest.approx(expected.distance_at_k)


def test_the_command_searches_on_several_workers(command, few_images, tmp_path):
    views, _ = few_images
    outcome = command(*WORDS, "--k", "3", "--rounds", "2", "--workers", "2", "-o", "a.npz")
    assert outcome.code == 0, outcome
    found = read_groups(tmp_path / "a.npz")
    assert found.settings == GroupSettings(k=3, rounds=2)
    same_groups(found, group_views(views, GroupSettings(k=3)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_the_command_refuses_a_file_that_is_being_made(command, few_images, tmp_path):
    with work_folder(tmp_path / "a.npz"):
        outcome = command(*WORDS, "--k", "3", "-o", "a.npz")
    assert outcome.code == 1 and "another run is writing here" in outcome.first


def test_the_command_keeps_what_is_finished_until_the_file_is_there(command, few_images, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("baselines.grouping.write_groups", lambda *_: 1 / 0)
        assert command(*WORDS, "--k", "3", "-o", "a.npz").code != 0
    assert len(list((tmp_path / ".a.npz.work/choices").glob("*.npz"))) == 1
    assert command(*WORDS, "--k", "3", "-o", "a.npz").code == 0 and read_groups(tmp_path / "a.npz")


def test_a_cluster_needs_a_folder_that_it_shares(command, few_images):
    outcome = command(*WORDS, "--k", "3", "--engine", "ray")
    assert outcome.code == 2 and "keep the groups with -o" in outcome.first


def test_the_command_warns(command, few_images):
    outcome = command(*WORDS, "--k", "1")
    assert outcome.code == 0 and "warning: half of the views have" in outcome.err


def test_the_command_groups_the_shipped_images(command):
    outcome = command(*WORDS, "--split", "test", "--k", "2", "--diversity", "0")
    assert outcome.code == 0 and "3 of barbell" in outcome.out and "2.0 of 2" in outcome.out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--split", "test"), 2, "got 3 views, want at least 17 for k = 16"),
        (("--object", "spoon"), 2, "spoon"),
        (("--dataset", "nowhere"), 3, "nowhere"),
        (("--memory", "0"), 2, "--memory 0"),
        (("--memory", "nan"), 2, "--memory nan"),
        (("--threshold", "-1"), 2, "threshold is -1"),
        (("--pool", "3"), 2, "want at least k = 16"),
        (("--device", "cuda:77"), 2, "cuda:77"),
        (("-o", "groups.json"), 2, "want the name of an .npz file"),
        (("-o", "file/groups.npz"), 2, "file"),
    ],
)
def test_the_command_refuses_in_one_line(command, tmp_path, words, code, said):
    (tmp_path / "file").write_text("")
    outcome = command(*WORDS, *words)
    assert outcome.code == code and outcome.first.startswith("error: ") and said in outcome.first, outcome
    assert "Traceback" not in outcome.err and len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize("words", [("--distance", "far"), ("--k", "0"), ("--consistency", "2"), ("--views", "some")])
def test_the_command_misused(command, words):
    outcome = command(*WORDS, *words)
    assert outcome.code == 2 and "Usage: wildhoi group" in outcome.err
