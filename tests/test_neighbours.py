import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from slow_metrics import chamfer, nearest

from evaluation.neighbours import (
    candidates,
    chamfer_distance,
    chamfer_distances_batched,
    nearest_distances,
    within,
)

seeds = st.integers(0, 2**32 - 1)


def cloud(seed, count=300, spread=0.4):
    return spread * np.random.default_rng(seed).standard_normal((count, 3))


def far_apart(distance, seed=0):
    direction = np.array([0.48, 0.6, 0.64])
    return cloud(seed), cloud(seed + 1, 250) + distance * direction


SHAPES = {
    "duplicated": (np.repeat(cloud(0, 5), 80, axis=0), np.repeat(cloud(1, 3), 120, axis=0)),
    "one point each": (cloud(0, 1), cloud(1, 1)),
    "one query": (cloud(0, 1), cloud(1, 200)),
    "one point": (cloud(0, 200), cloud(1, 1)),
    "all queries alike": (np.zeros((100, 3)), cloud(1, 200)),
    "collinear": (np.linspace(0, 1, 200)[:, None] * [[1.0, 2.0, 3.0]], np.linspace(5, 6, 150)[:, None] * [[1.0, 2, 3]]),
    "planar": (cloud(0) * [1, 1, 0], cloud(1) * [1, 1, 0] + [3, 0, 0]),
    "equal": (cloud(0), cloud(0)),
    "thin and far": (cloud(0) * [10, 0.01, 0.01], cloud(1) * [0.01, 10, 0.01] + [0, 0, 30]),
    "two heaps": (np.concatenate([cloud(0), cloud(1) + 50]), np.concatenate([cloud(2) - 20, cloud(3) + 100])),
    "a ring": (cloud(0), 3 * np.array([(np.cos(a), np.sin(a), 0.0) for a in np.linspace(0, 6.28, 300)])),
}


@pytest.mark.parametrize("distance", [0.0, 0.02, 0.5, 2.0, 10.0, 100.0, 1e4])
def test_nearest_distances_equal_all_pairs_however_far_the_clouds(distance):
    queries, points = far_apart(distance)
    np.testing.assert_allclose(nearest_distances(queries, points), nearest(queries, points), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_nearest_distances_equal_all_pairs_for_clouds_of_any_shape(shape):
    queries, points = SHAPES[shape]
    np.testing.assert_allclose(nearest_distances(queries, points), nearest(queries, points), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(nearest_distances(points, queries), nearest(points, queries), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("distance", [0.0, 3.0, 20.0])
def test_large_clouds_are_exact_too(distance):
    queries, points = cloud(0, 3000), cloud(1, 3000) + np.array([distance, 0, 0])
    np.testing.assert_allclose(nearest_distances(queries, points), nearest(queries, points), rtol=1e-12, atol=1e-12)


@given(seeds, st.floats(0, 1e4), st.floats(1e-6, 10), st.floats(1e-6, 10))
@settings(max_examples=60, deadline=None)
def test_candidates_never_leave_the_nearest_point_out(seed, distance, spread_queries, spread_points):
    rng = np.random.default_rng(seed)
    stretch = 10.0 ** rng.uniform(-3, 0, (2, 3))
    queries = cloud(seed, 40, spread_queries) * stretch[0]
    points = cloud(seed + 1, 50, spread_points) * stretch[1] + distance * stretch[1] / np.linalg.norm(stretch[1])
    kept = candidates(queries, points)
    assert kept.any()
    np.testing.assert_allclose(nearest(queries, points[kept]), nearest(queries, points), rtol=1e-12)


@given(seeds, st.floats(0, 100), st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_nearest_distances_of_random_clouds(seed, distance, n_queries, n_points):
    rng = np.random.default_rng(seed)
    queries = np.round(cloud(seed, n_queries), 2)
    points = np.round(cloud(seed + 1, n_points) + distance * rng.standard_normal(3), 2)
    np.testing.assert_allclose(nearest_distances(queries, points), nearest(queries, points), rtol=1e-12, atol=1e-12)


def test_within_is_strict():
    queries, points = np.array([[0.0, 0, 0], [0.5, 0, 0]]), np.array([[1.0, 0, 0]])
    assert within(queries, points, 1.0).tolist() == [False, True]
    assert within(queries, points, 1.0 + 1e-9).tolist() == [True, True]
    assert within(queries, points, 0.5).tolist() == [False, False]


@pytest.mark.parametrize("distance", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("threshold", [0.01, 0.05, 0.3])
def test_within_equals_all_pairs(distance, threshold):
    queries, points = far_apart(distance)
    expected = (cdist(queries, points) < threshold).any(axis=1)
    np.testing.assert_array_equal(within(queries, points, threshold), expected)


def test_the_chamfer_distance_is_the_sum_of_both_directions_and_not_squared():
    x = np.array([[0.0, 0, 0], [0, 0, 4]])
    y = np.array([[3.0, 0, 0]])
    # from x: 3 and 5, their mean 4; from y: 3
    assert chamfer_distance(x, y) == pytest.approx(7.0, abs=1e-15)


@given(seeds, st.floats(0, 20))
@settings(max_examples=25, deadline=None)
def test_the_chamfer_distance_is_symmetric_and_equals_all_pairs(seed, distance):
    x, y = cloud(seed, 60), cloud(seed + 1, 45) + np.array([0, distance, 0])
    assert chamfer_distance(x, y) == pytest.approx(chamfer(x, y), rel=1e-12)
    assert chamfer_distance(x, y) == pytest.approx(chamfer_distance(y, x), rel=1e-14)


def test_the_chamfer_distance_of_a_cloud_to_itself_is_zero_and_scales_with_it():
    x, y = cloud(0), cloud(1)
    assert chamfer_distance(x, x) == 0.0
    assert chamfer_distance(3 * x, 3 * y) == pytest.approx(3 * chamfer_distance(x, y), rel=1e-12)


@pytest.mark.parametrize("block", [7, 512])
def test_the_batched_comparison_of_all_pairs_equals_the_tree(block):
    x = np.stack([cloud(k) for k in range(4)])
    y = np.stack([cloud(k + 9, 200) + np.array([0, 0, place]) for k, place in enumerate((0.0, 0.5, 10.0, 50.0))])
    expected = [chamfer_distance(a, b) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(chamfer_distances_batched(x, y, "cpu", block=block), expected, atol=1e-7)


def test_the_batched_comparison_is_as_good_tens_of_metres_from_the_origin():
    x, y = cloud(0)[None] + 40, cloud(1)[None] + 40
    np.testing.assert_allclose(chamfer_distances_batched(x, y, "cpu"), chamfer_distance(x[0], y[0]), atol=1e-7)
