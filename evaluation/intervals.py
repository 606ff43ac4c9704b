"""Confidence intervals of means over images in clusters: the frames of one video are no independent witnesses."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from evaluation.sampling import uniform_numbers

MIN_CLUSTERS = 5  # no interval below
FEW_CLUSTERS = 20  # too narrow below, and said so
RESAMPLES = 2000
LEVEL = 0.95


class Interval(NamedTuple):
    """The bounds of a mean, and how many clusters they stand on."""

    low: float
    high: float
    clusters: int


def cluster_interval(
    values: Float[np.ndarray, "n"], clusters: Sequence[str], key: str, level: float = LEVEL
) -> Interval | None:
    """Studentised bootstrap interval of the mean over images, resampling whole clusters (bootstrap-t).

    Each resample gives `t* = (mean* - mean) / se*`; the interval is `mean - t*_high se, mean - t*_low se`, with the
    standard error of a ratio: `se^2 = G/(G-1) sum_g (S_g - mean n_g)^2 / n^2` for cluster sums S_g and sizes n_g.

    Where so many resamples lack spread that the quantiles are theirs, Student's interval of the clusters stands in.

    Args:
        values: one per image; NaN is left out.
        clusters: the cluster of each image.
        key: keys the random stream; the same values and key give the same interval.
        level: coverage aimed at.

    Returns:
        None below 5 clusters.
    """
    kept = ~np.isnan(values)
    _, cluster = np.unique(np.asarray(clusters, object)[kept].astype(str), return_inverse=True)
    count = int(cluster.max()) + 1 if kept.any() else 0
    if count < MIN_CLUSTERS:
        return None
    sums, sizes = np.bincount(cluster, values[kept]), np.bincount(cluster).astype(np.float64)
    mean, error = _mean_and_error(sums[None], sizes[None])
    if error[0] == 0:
        return Interval(float(mean[0]), float(mean[0]), count)
    draws = (uniform_numbers(RESAMPLES, count, "bootstrap", key) * count).astype(np.int64)
    means, errors = _mean_and_error(sums[draws], sizes[draws])
    return studentised(float(mean[0]), float(error[0]), means, errors, count, level)


def studentised(
    mean: float,
    error: float,
    means: Float[np.ndarray, "r"],
    errors: Float[np.ndarray, "r"],
    clusters: int,
    level: float = LEVEL,
    spread: float = 1e-9,
) -> Interval:
    """The bootstrap-t interval from a mean, its standard error, and those of resamples.

    Args:
        mean: over the images.
        error: its standard error.
        means: of resamples.
        errors: their standard errors.
        clusters: how many were resampled.
        level: coverage aimed at.
        spread: share of `error` below which a resample drew clusters without spread: only rounding to divide by.
    """
    usable = errors > spread * error
    if (~usable).mean() > (1 - level) / 2:
        half = float(stats.t.ppf((1 + level) / 2, clusters - 1) * error)
        return Interval(mean - half, mean + half, clusters)
    t = (means[usable] - mean) / errors[usable]
    low, high = np.quantile(t, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(mean - high * error), float(mean - low * error), clusters)


def _mean_and_error(
    sums: Float[np.ndarray, "r g"], sizes: Float[np.ndarray, "r g"]
) -> tuple[Float[np.ndarray, "r"], Float[np.ndarray, "r"]]:
    """Mean over images and its standard error, for rows of clusters."""
    total, groups = sizes.sum(axis=1), sums.shape[1]
    mean = sums.sum(axis=1) / total
    spread = ((sums - mean[:, None] * sizes) ** 2).sum(axis=1)
    return mean, np.sqrt(groups / (groups - 1) * spread) / total
