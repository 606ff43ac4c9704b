"""Intervals of a mean of judgements that are clustered twice: by who judged, and by what was judged."""

import numpy as np
from jaxtyping import Float

from evaluation.intervals import LEVEL, MIN_CLUSTERS, Interval, studentised
from evaluation.sampling import uniform_numbers

RESAMPLES = 2000
SPREAD = 1e-6
"""Of a standard error that comes from sums of squares, below which there is only rounding."""

Table = Float[np.ndarray, "raters clusters"]


def crossed_interval(sums: Table, counts: Table, key: str, resamples: int = RESAMPLES) -> Interval | None:
    """The 95 % interval of a share by a bootstrap of raters and of clusters of images, both at once, studentised.

    A resample draws as many raters as there are, with replacement, and as many clusters, and takes every judgement of
    a drawn rater on a drawn cluster. Its mean alone (the plain, or pigeonhole, bootstrap) would count what is neither
    the rater's nor the image's three times (Owen 2007), so each resample gives `t* = (mean* - mean) / se*` with the
    two-way error `se^2 = V_raters + V_clusters - V_cells` (Cameron, Gelbach and Miller 2011), at least either of the
    first two, and the interval is `mean - t*_high se, mean - t*_low se` within 0 and 1.

    Where all judge alike there is no spread to resample: then the other bound is that of so many independent
    judgements as there are raters or clusters, whichever are fewer (Clopper and Pearson 1934).

    Args:
        sums: of the judgements (0 to 1) of a rater on a cluster.
        counts: how many these are; 0 where there are none.
        key: keys the random stream.
        resamples: of the bootstrap.

    Returns:
        None with fewer than 5 raters or clusters that have a judgement; else also the smaller of the two numbers.
    """
    sums, counts = (table[counts.any(axis=1)][:, counts.any(axis=0)] for table in (sums, counts))
    fewest = min(sums.shape)
    if fewest < MIN_CLUSTERS:
        return None
    mean, error = (float(value[0]) for value in _statistics(sums, counts, *(np.ones((1, n)) for n in sums.shape)))
    if error <= SPREAD:
        return _unanimous(mean, fewest)
    raters, clusters = (
        _draws(resamples, n, key, name) for n, name in zip(sums.shape, ("raters", "images"), strict=True)
    )
    means, errors = _statistics(sums, counts, raters, clusters)
    found = studentised(mean, error, means, errors, fewest, spread=SPREAD)
    return Interval(max(0.0, found.low), min(1.0, found.high), fewest)


def _unanimous(mean: float, count: int) -> Interval:
    """All the same: exact for 0 and 1, of so many judgements; no wider than that for what lies between."""
    tail = ((1 - LEVEL) / 2) ** (1 / count)
    return Interval(mean * tail, 1 - (1 - mean) * tail, count)


def _draws(resamples: int, count: int, key: str, name: str) -> Float[np.ndarray, "b n"]:
    """How often each is drawn in each resample."""
    drawn = (uniform_numbers(resamples, count, "study", name, key) * count).astype(np.int64)
    rows = np.arange(resamples)[:, None] * count
    return np.bincount((drawn + rows).ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float64)


def _statistics(
    sums: Table, counts: Table, raters: Float[np.ndarray, "b r"], clusters: Float[np.ndarray, "b c"]
) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, " b"]]:
    """Means and two-way standard errors of resamples, given how often each rater and each cluster was drawn."""
    n_raters, n_clusters = sums.shape
    of_rater, on_cluster = (
        (clusters @ table.T for table in (sums, counts)),
        (raters @ table for table in (sums, counts)),
    )
    rater_sums, rater_counts = of_rater
    cluster_sums, cluster_counts = on_cluster
    total = (raters * rater_counts).sum(axis=1)
    known = np.maximum(total, 1)  # where many judgements are missing a resample may have drawn none
    mean = (raters * rater_sums).sum(axis=1) / known
    by_rater = (raters * (rater_sums - mean[:, None] * rater_counts) ** 2).sum(axis=1)
    by_cluster = (clusters * (cluster_sums - mean[:, None] * cluster_counts) ** 2).sum(axis=1)
    squares, mixed, sizes = (((raters @ table) * clusters).sum(axis=1) for table in (sums**2, sums * counts, counts**2))
    by_cell = squares - 2 * mean * mixed + mean**2 * sizes
    by_rater *= n_raters / (n_raters - 1)
    by_cluster *= n_clusters / (n_clusters - 1)
    variance = np.maximum(by_rater + by_cluster - by_cell, np.maximum(by_rater, by_cluster)) / known**2
    return mean, np.where(total > 0, np.sqrt(variance), 0.0)
