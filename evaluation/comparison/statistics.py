"""What is certain of paired differences: intervals and tests that know that the frames of a video are no witnesses."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from evaluation.intervals import MIN_CLUSTERS, studentised
from evaluation.sampling import uniform_numbers

RESAMPLES = 10_000
LEVEL = 0.05
"""Of the corrected test, and of the interval: what is more likely by chance is a tie."""
PER_TEST = 200
"""Exchanges for each test that p-values are corrected for: what cannot be rarer than one in them stays below 0.005."""
PIECE = 500
"""Resamples worked out at once: memory stays below 100 MB for 10,000 clusters."""
MOST_EXACT = 13
"""Clusters up to which all 2^n assignments of signs are gone through."""
SPREAD = 1e-6
"""Of a standard error that comes from sums of squares, below which there is only rounding."""


class Paired(NamedTuple):
    """A mean difference, its 95 % interval (None below 5 clusters), the p-value, images and clusters behind them."""

    mean: float
    low: float | None
    high: float | None
    p: float
    images: int
    clusters: int


def paired_statistics(
    differences: Float[np.ndarray, "n m"],
    clusters: Sequence[str],
    key: str,
    resamples: int = RESAMPLES,
    exchanges: int | None = None,
) -> list[Paired | None]:
    """The statistics of each column of differences; NaN is left out, None where nothing is left.

    The interval is that of `evaluation.intervals`: bootstrap-t over whole clusters. The p-value is of a permutation
    test: under the null hypothesis the two methods of a pair may be exchanged, in all images of a cluster together,
    which turns the sign of the cluster's sum. It is exact up to 13 clusters, above of random exchanges.

    Args:
        differences: a row per image, a column per metric.
        clusters: what was filmed together, of each image.
        key: keys the random stream; the order of the images changes nothing.
        resamples: of the bootstrap.
        exchanges: of the test; default as many. No p-value can be below 1 / (exchanges + 1).
    """
    found: list[Paired | None] = [None] * differences.shape[1]
    known = ~np.isnan(differences)
    for pattern in np.unique(known.T, axis=0):
        columns = np.flatnonzero((known == pattern[:, None]).all(axis=0))
        if pattern.any():
            values = _of_clusters(differences[pattern][:, columns], np.asarray(clusters, object)[pattern])
            for column, paired in zip(
                columns, _statistics(*values, key, resamples, exchanges or resamples), strict=True
            ):
                found[column] = paired
    return found


def _of_clusters(
    values: Float[np.ndarray, "n m"], clusters: np.ndarray
) -> tuple[Float[np.ndarray, "g m"], Float[np.ndarray, " g"]]:
    """The sum of each cluster's values, and how many they are, in the order of the clusters' names."""
    _, cluster = np.unique(clusters.astype(str), return_inverse=True)
    order = np.lexsort((*values.T, cluster))  # the same sums to the last bit in whatever order images come
    sums = np.zeros((cluster.max() + 1, values.shape[1]))
    np.add.at(sums, cluster[order], values[order])
    return sums, np.bincount(cluster).astype(np.float64)


def _statistics(
    sums: Float[np.ndarray, "g m"], sizes: Float[np.ndarray, " g"], key: str, resamples: int, exchanges: int
) -> Iterator[Paired]:
    groups, images = len(sizes), int(sizes.sum())
    mean = sums.sum(axis=0) / images
    p_values = _p_values(sums, key, exchanges)
    if groups < MIN_CLUSTERS:
        yield from (Paired(float(m), None, None, float(p), images, groups) for m, p in zip(mean, p_values, strict=True))
        return
    centred = sums - mean * sizes[:, None]  # so that squares keep their digits
    error = np.sqrt(groups / (groups - 1) * (centred**2).sum(axis=0)) / images
    means, errors = _resampled(centred, sizes, key, resamples)
    for column, (m, e, p) in enumerate(zip(mean, error, p_values, strict=True)):
        if e <= 1e-12 * abs(m) or e == 0:  # every cluster differs alike
            yield Paired(float(m), float(m), float(m), float(p), images, groups)
            continue
        interval = studentised(0.0, float(e), means[:, column], errors[:, column], groups, spread=SPREAD)
        yield Paired(float(m), float(m) + interval.low, float(m) + interval.high, float(p), images, groups)


def _resampled(
    sums: Float[np.ndarray, "g m"], sizes: Float[np.ndarray, " g"], key: str, resamples: int
) -> tuple[Float[np.ndarray, "r m"], Float[np.ndarray, "r m"]]:
    """Means and standard errors of resamples: both are linear in how often each cluster was drawn."""
    groups, columns = sums.shape
    facts = np.concatenate([sums, sums**2, sums * sizes[:, None], sizes[:, None], sizes[:, None] ** 2], axis=1)
    drawn = np.concatenate([_counts(groups, count, key, number) @ facts for number, count in _pieces(resamples)])
    first, squares, mixed = (drawn[:, k * columns : (k + 1) * columns] for k in range(3))
    images, squared_sizes = drawn[:, -2:-1], drawn[:, -1:]
    means = first / images
    spread = (squares - 2 * means * mixed + means**2 * squared_sizes).clip(min=0)
    return means, np.sqrt(groups / (groups - 1) * spread) / images


def _pieces(resamples: int) -> Iterator[tuple[int, int]]:
    return ((number, min(PIECE, resamples - start)) for number, start in enumerate(range(0, resamples, PIECE)))


def _counts(groups: int, count: int, key: str, number: int) -> Float[np.ndarray, "count groups"]:
    """How often each cluster is drawn in some resamples."""
    drawn = (uniform_numbers(count, groups, "comparison", key, number) * groups).astype(np.int64)
    rows = np.arange(count)[:, None] * groups
    return np.bincount((drawn + rows).ravel(), minlength=count * groups).reshape(count, groups).astype(np.float64)


def _p_values(sums: Float[np.ndarray, "g m"], key: str, exchanges: int) -> Float[np.ndarray, " m"]:
    """How rarely an exchange of the methods in some clusters makes a difference as large as the one seen."""
    groups = len(sums)
    seen = np.abs(sums.sum(axis=0)) - 1e-9 * np.abs(sums).sum(axis=0)  # what is equal but for rounding is equal
    if groups <= MOST_EXACT:
        kept = (np.arange(2**groups)[:, None] >> np.arange(groups) & 1).astype(bool)
        return np.asarray((_totals(kept, sums) >= seen).mean(axis=0))
    larger = np.zeros(sums.shape[1])
    for number, count in _pieces(exchanges):
        kept = uniform_numbers(count, groups, "exchange", key, number) < 0.5
        larger += (_totals(kept, sums) >= seen).sum(axis=0)
    return np.asarray((1 + larger) / (1 + exchanges))


def _totals(kept: Bool[np.ndarray, "r g"], sums: Float[np.ndarray, "g m"]) -> Float[np.ndarray, "r m"]:
    """Sizes of the sums where the clusters that are not kept are exchanged."""
    return np.asarray(np.abs(2 * (kept.astype(np.float64) @ sums) - sums.sum(axis=0)))


def enough_exchanges(tests: int, resamples: int) -> int:
    """How many exchanges so many tests at once take, for a difference that none of them reaches to count as one."""
    return max(resamples, PER_TEST * tests)


def least_p(clusters: int) -> float:
    """The smallest p-value that so few clusters allow: all signs alike, of 2^n; 0 where they are many."""
    return 2.0 ** (1 - clusters) if clusters <= MOST_EXACT else 0.0


def is_sure(low: float | None, high: float | None, adjusted: float) -> bool:
    """Whether a difference is more than chance: its interval leaves 0 out, and the corrected test says the same."""
    return low is not None and high is not None and not low <= 0 <= high and adjusted < LEVEL


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values as they count among so many tests at once (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted
