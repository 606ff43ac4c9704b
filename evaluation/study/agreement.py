"""How far raters agree beyond chance, where not every rater has judged everything."""

import numpy as np
from jaxtyping import Float


def krippendorff_alpha(ratings: Float[np.ndarray, "raters units"]) -> float | None:
    """Krippendorff's alpha for nominal data: `1 - D_o / D_e`.

    The m values of a unit (m > 1) make m (m - 1) ordered pairs, which weigh 1 / (m - 1) each, so that every value
    counts once. D_o is the share of pairs of unequal values within units; D_e is that share among all n paired
    values, whatever unit they are of: `D_e = 1 - sum_c n_c (n_c - 1) / (n (n - 1))`. 1 is perfect agreement, 0 what
    chance gives, less than 0 systematic disagreement. Source: K. Krippendorff, Computing Krippendorff's
    Alpha-Reliability, 2011.

    Args:
        ratings: any number stands for a category; NaN where a rater has not judged a unit.

    Returns:
        None where it is not defined: no unit has two ratings, or all of these are of one category.
    """
    counts = _counts(ratings)
    counts = counts[counts.sum(axis=1) > 1]
    each, total = counts.sum(axis=1), counts.sum()
    of_category = counts.sum(axis=0)
    expected = total * (total - 1) - (of_category * (of_category - 1)).sum()
    if expected == 0:
        return None
    unequal = (each * (each - 1) - (counts * (counts - 1)).sum(axis=1)) / (each - 1)
    return float(1 - (total - 1) * unequal.sum() / expected)


def pairwise_agreement(ratings: Float[np.ndarray, "raters units"]) -> float | None:
    """Share of pairs of ratings of one unit that are equal, weighed as for alpha; None where there is no pair."""
    counts = _counts(ratings)
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts):
        return None
    each = counts.sum(axis=1)
    return float(((counts * (counts - 1)).sum(axis=1) / (each - 1)).sum() / each.sum())


def _counts(ratings: Float[np.ndarray, "raters units"]) -> Float[np.ndarray, "units categories"]:
    """How many raters put each unit into each category."""
    categories = np.unique(ratings[~np.isnan(ratings)])
    return np.asarray((ratings[:, :, None] == categories).sum(axis=0).astype(np.float64))
