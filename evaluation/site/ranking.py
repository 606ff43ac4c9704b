"""Ranks that claim no more than is certain: which methods are surely better than which, and so a range for each."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Int

from evaluation.comparison.reading import Field
from evaluation.comparison.statistics import RESAMPLES, enough_exchanges, holm, is_sure, paired_statistics
from evaluation.metrics import METRICS


@dataclass(frozen=True)
class Rank:
    """The best and the worst rank that a method may have: 1 + how many are surely better, n - how many surely worse."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}–{self.last}"


def duels(field: Field, metric: str, resamples: int = RESAMPLES) -> Int[np.ndarray, "n n"]:
    """Who is surely better than whom in a metric: 1 where the row is, -1 where the column is, 0 for a tie.

    Every pair is compared on the images that both scored, with the interval and the test of `wildhoi compare`, whose
    p-values are corrected for all pairs (Holm).
    """
    sign = 1 if METRICS[metric].lower_is_better else -1
    values = [sign * field.values(contestant, metric) for contestant in field.contestants]
    pairs = list(combinations(range(len(values)), 2))
    won = np.zeros((len(values), len(values)), np.int64)
    if not pairs:
        return won
    gaps = np.stack([values[j] - values[i] for i, j in pairs], axis=1)
    statistics = paired_statistics(gaps, field.video_ids, "duels", resamples, enough_exchanges(len(pairs), resamples))
    found = [(pair, paired) for pair, paired in zip(pairs, statistics, strict=True) if paired is not None]
    for ((i, j), paired), p in zip(found, holm([paired.p for _, paired in found]), strict=True):
        if is_sure(paired.low, paired.high, p):
            won[i, j] = 1 if paired.mean > 0 else -1
            won[j, i] = -won[i, j]
    return won


def ranks(won: Int[np.ndarray, "n n"]) -> list[Rank]:
    """The range of ranks of each method; those with the same best rank form a group."""
    better, worse = (won < 0).sum(axis=1), (won > 0).sum(axis=1)
    return [Rank(int(1 + b), int(len(won) - w)) for b, w in zip(better, worse, strict=True)]


def parted(won: Int[np.ndarray, "n n"]) -> list[int]:
    """The places, in the order of the rows, before which all are surely better than all from there on."""
    return [place for place in range(1, len(won)) if (won[:place, place:] > 0).all()]
