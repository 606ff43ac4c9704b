import numpy as np
import pytest
from slow_metrics import uniforms

from evaluation.intervals import FEW_CLUSTERS, LEVEL, MIN_CLUSTERS, RESAMPLES, cluster_interval


def clustered(seed, n_clusters=20, between=1.0, within=0.5, mean=10.0):
    """Values of clusters of uneven sizes that share a level."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 12, n_clusters)
    levels = mean + between * rng.standard_normal(n_clusters)
    clusters = [f"video {k}" for k in range(n_clusters) for _ in range(sizes[k])]
    values = np.concatenate([levels[k] + within * rng.standard_normal(sizes[k]) for k in range(n_clusters)])
    return values, clusters


def mean_and_error(groups):
    """Mean over all values of all groups, and the standard error of that ratio of sums."""
    n = sum(len(group) for group in groups)
    mean = sum(sum(group) for group in groups) / n
    spread = sum((sum(group) - mean * len(group)) ** 2 for group in groups)
    return mean, np.sqrt(len(groups) / (len(groups) - 1) * spread) / n


def slow_interval(values, clusters, key, level=0.95, resamples=2000):
    names = sorted({name for name, value in zip(clusters, values, strict=True) if not np.isnan(value)})
    groups = [[v for v, c in zip(values, clusters, strict=True) if c == name and not np.isnan(v)] for name in names]
    mean, error = mean_and_error(groups)
    statistics = []
    for row in uniforms(resamples, len(groups), "bootstrap", key):
        drawn_mean, drawn_error = mean_and_error([groups[int(number * len(groups))] for number in row])
        if drawn_error > 0:
            statistics.append((drawn_mean - mean) / drawn_error)
    statistics.sort()
    low, high = np.percentile(statistics, [100 * (1 - level) / 2, 100 * (1 + level) / 2])
    return mean - high * error, mean - low * error


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_the_interval_equals_an_obvious_loop(level):
    values, clusters = clustered(0, n_clusters=7)
    values[3] = np.nan
    found = cluster_interval(values, clusters, "translation", level)
    np.testing.assert_allclose(found[:2], slow_interval(values, clusters, "translation", level), atol=1e-9)
    assert found.clusters == 7


def test_limits_are_the_documented_ones():
    assert (MIN_CLUSTERS, FEW_CLUSTERS, LEVEL) == (5, 20, 0.95)
    assert RESAMPLES >= 1000


def test_there_is_no_interval_below_five_clusters():
    values, clusters = clustered(1, n_clusters=4)
    assert cluster_interval(values, clusters, "k") is None
    assert cluster_interval(np.array([]), [], "k") is None
    assert cluster_interval(np.full(50, np.nan), [str(k) for k in range(50)], "k") is None


def test_frames_are_no_clusters():
    values = np.random.default_rng(0).standard_normal(400)
    assert cluster_interval(values, ["one", "two"] * 200, "k") is None


def test_clusters_without_a_value_do_not_count():
    values, clusters = clustered(2, n_clusters=6)
    values[np.array(clusters) == "video 0"] = np.nan
    assert cluster_interval(values, clusters, "k").clusters == 5
    values[np.array(clusters) == "video 1"] = np.nan
    assert cluster_interval(values, clusters, "k") is None


def test_nan_is_left_out():
    values, clusters = clustered(3)
    with_gaps = np.append(values, [np.nan] * 5)
    assert cluster_interval(with_gaps, [*clusters, *clusters[:5]], "k") == cluster_interval(values, clusters, "k")


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 7.3])
def test_values_without_spread_have_an_interval_without_width(value):
    found = cluster_interval(np.full(60, value), [str(k // 6) for k in range(60)], "k")
    assert found.low == pytest.approx(value, abs=1e-12)
    assert found.high == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.7, 1.0])
def test_one_odd_cluster_among_equal_ones_gives_bounds_of_the_size_of_the_values(value):
    """Resamples without the odd one have no spread but rounding: neither divide by it nor drop them all."""
    values = np.full(100, value)
    values[:10] = 5.0
    found = cluster_interval(values, [str(k // 10) for k in range(100)], "k")
    assert -20 < found.low < values.mean() < found.high < 20


def test_the_order_of_rows_does_not_matter():
    values, clusters = clustered(4)
    order = np.random.default_rng(0).permutation(len(values))
    shuffled = cluster_interval(values[order], [clusters[k] for k in order], "k")
    np.testing.assert_allclose(shuffled[:2], cluster_interval(values, clusters, "k")[:2], atol=1e-12)


def test_the_same_values_and_key_give_the_same_interval_and_another_key_nearly():
    values, clusters = clustered(5)
    first = cluster_interval(values, clusters, "rotation")
    assert first == cluster_interval(values, clusters, "rotation")
    other = cluster_interval(values, clusters, "translation")
    assert other != first
    width = first.high - first.low
    np.testing.assert_allclose(other[:2], first[:2], atol=0.15 * width)


def test_the_interval_moves_and_stretches_with_the_values():
    values, clusters = clustered(6)
    plain, moved = (cluster_interval(v, clusters, "k") for v in (values, 3 * values + 5))
    np.testing.assert_allclose(moved[:2], 3 * np.array(plain[:2]) + 5, atol=1e-9)


def test_the_interval_holds_the_mean_and_widens_with_the_level():
    values, clusters = clustered(7)
    narrow, wide = (cluster_interval(values, clusters, "k", level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < values.mean() < narrow.high < wide.high


def test_more_frames_of_the_same_videos_do_not_narrow_the_interval():
    """Copies of each frame add no witness: the clusters are what is resampled."""
    values, clusters = clustered(8)
    once, tenfold = cluster_interval(values, clusters, "k"), cluster_interval(np.tile(values, 10), clusters * 10, "k")
    np.testing.assert_allclose(tenfold[:2], once[:2], atol=1e-9)


@pytest.mark.parametrize("kind", ["normal", "skewed"])
def test_the_interval_covers_the_true_mean_as_often_as_it_says(kind):
    """About 95 % for normal clusters, less where values are skewed; within-cluster sizes do not depend on levels."""
    hits = 0
    for seed in range(200):
        values, clusters = clustered(seed, mean=0.0)
        true = 0.0
        if kind == "skewed":
            rng = np.random.default_rng(seed)
            levels = dict(zip(dict.fromkeys(clusters), rng.exponential(1.0, 20), strict=True))
            values = np.array([levels[name] for name in clusters]) + 0.1 * rng.standard_normal(len(clusters))
            true = 1.0
        low, high, _ = cluster_interval(values, clusters, "k")
        hits += low <= true <= high
    assert 0.88 <= hits / 200 <= 0.99
