"""Methods compared image by image: how much better, how sure that is, how often, and where they differ most."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from evaluation.comparison.reading import Contestant, Field, read_field
from evaluation.comparison.statistics import (
    LEVEL,
    RESAMPLES,
    Paired,
    enough_exchanges,
    holm,
    is_sure,
    least_p,
    paired_statistics,
)
from evaluation.intervals import FEW_CLUSTERS, MIN_CLUSTERS
from evaluation.leaderboard.tables import main_metric
from evaluation.metrics import METRICS
from wildhoi.errors import InputError

OVERALL = "all images"
CAUTION = 200
"""Videos below which errors with heavy tails make verdicts on means wrong more often than they say."""
FAR = 5
"""Images shown at either end."""

Verdict = Literal["better", "worse", "tie"]


@dataclass(frozen=True)
class Difference:
    """What a method has more than the baseline in a metric, over the images that both scored.

    Attributes:
        method: the other.
        metric: its name.
        scope: an object, or all images.
        images: that both scored and the metric applies to.
        clusters: videos they are of.
        baseline: mean of the baseline over these images.
        mean: of the other.
        difference: the other's less the baseline's, in the metric's unit.
        low: of its 95 % interval; None below 5 videos.
        high: of it.
        p: of the paired permutation test.
        adjusted: the same among all tests of the comparison (Holm).
        wins: share of images where the other is better, ties half; one that only the other scored is won.
        verdict: on the other: a tie unless the interval leaves 0 out and the corrected test says the same.
    """

    method: str
    metric: str
    scope: str
    images: int
    clusters: int
    baseline: float
    mean: float
    difference: float
    low: float | None
    high: float | None
    p: float
    adjusted: float
    wins: float
    verdict: Verdict


@dataclass(frozen=True)
class Far:
    """An image on which a method and the baseline differ much in the main metric."""

    method: str
    image_id: str
    object: str
    baseline: float
    value: float


@dataclass(frozen=True)
class Comparison:
    """Methods against a baseline, in the order given; `far` are images for each by the `main` metric, best first."""

    baseline: str
    methods: tuple[str, ...]
    protocol: str
    dataset: str
    images: int
    differences: tuple[Difference, ...]
    main: str
    far: tuple[Far, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain data."""
        return asdict(self)


def compare_submissions(
    folders: Sequence[Path],
    baseline: Path | None = None,
    metrics: Sequence[str] = (),
    *,
    by_object: bool = False,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare scored submissions with one of them, image by image.

    Args:
        folders: of submissions that `wildhoi evaluate` has scored.
        baseline: one of them; default the first.
        metrics: names; default the protocol's headline.
        by_object: for each object beside all images.
        resamples: of bootstrap and permutation test.

    Raises:
        InputError: a metric is unknown or was not scored, the baseline is none of them, or they do not compare.
    """
    if len(folders) < 2:
        raise InputError(f"{len(folders)} submission to compare, want at least two")
    field = read_field(list(folders))
    chosen = _chosen(field, metrics)
    first = _baseline_of(folders, baseline)
    own = field.contestants[first]
    others = [each for number, each in enumerate(field.contestants) if number != first]
    scopes = list(_scopes(field, by_object=by_object))
    draws = resamples, enough_exchanges(len(scopes) * len(others) * len(chosen), resamples)
    found = [
        difference
        for scope, images in scopes
        for other in others
        for difference in _differences(field, (own, other), chosen, scope, images, draws)
    ]
    if not found:
        raise InputError("there is nothing to compare: no image was scored of both, in any of these metrics")
    settled = tuple(_settle(found))
    main = main_metric([METRICS[name] for name in chosen]).name
    far = tuple(image for other in others for image in _far(field, own, other, main))
    notes = tuple(_notes(field, own, others, settled))
    methods = tuple(other.name for other in others)
    count = len(field.image_ids)
    return Comparison(own.name, methods, field.protocol, field.dataset, count, settled, main, far, notes)


def _chosen(field: Field, metrics: Sequence[str]) -> list[str]:
    scored = [name for name in METRICS if all(name in each.values for each in field.contestants)]
    for name in metrics:
        if name not in scored:
            what = "is unknown" if name not in METRICS else "was not scored of all"
            raise InputError(f"metric {name!r:.60} {what}, want one of {', '.join(scored)}")
    return list(dict.fromkeys(metrics)) or [name for name in field.headline if name in scored]


def _baseline_of(folders: Sequence[Path], baseline: Path | None) -> int:
    if baseline is None:
        return 0
    places = [Path(folder).resolve() for folder in folders]
    if baseline.resolve() not in places:
        raise InputError(f"--baseline {baseline}: none of those compared ({', '.join(map(str, folders))})")
    return places.index(baseline.resolve())


def _scopes(field: Field, *, by_object: bool) -> Iterator[tuple[str, Bool[np.ndarray, " n"]]]:
    objects = np.array(field.objects, object)
    yield OVERALL, np.ones(len(objects), bool)
    if by_object and len(set(field.objects)) > 1:
        for name in sorted(set(field.objects)):
            yield name, objects == name


def _differences(
    field: Field,
    pair: tuple[Contestant, Contestant],
    metrics: Sequence[str],
    scope: str,
    images: Bool[np.ndarray, " n"],
    draws: tuple[int, int],
) -> Iterator[Difference]:
    other = pair[1]
    pairs = {name: [field.values(each, name)[images] for each in pair] for name in metrics}
    gaps = np.stack([theirs - ours for ours, theirs in pairs.values()], axis=1)
    videos = [video for video, there in zip(field.video_ids, images, strict=True) if there]
    for name, paired in zip(metrics, paired_statistics(gaps, videos, scope, *draws), strict=True):
        if paired is not None:
            yield _difference(other.name, name, scope, paired, *pairs[name])


def _difference(
    method: str, metric: str, scope: str, paired: Paired, ours: Float[np.ndarray, " n"], theirs: Float[np.ndarray, " n"]
) -> Difference:
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    return Difference(
        method,
        metric,
        scope,
        paired.images,
        paired.clusters,
        float(ours[both].mean()),
        float(theirs[both].mean()),
        paired.mean,
        paired.low,
        paired.high,
        paired.p,
        paired.p,
        _wins(metric, ours, theirs),
        "tie",
    )


def _wins(metric: str, ours: Float[np.ndarray, " n"], theirs: Float[np.ndarray, " n"]) -> float:
    """The share of images that the other wins; what has no number loses against what has one."""
    sign = 1 if METRICS[metric].lower_is_better else -1
    ours, theirs = (np.where(np.isnan(values), np.inf, sign * values) for values in (ours, theirs))
    counted = np.isfinite(ours) | np.isfinite(theirs)
    won = (theirs < ours) + 0.5 * (theirs == ours)
    return float(won[counted].mean())


def _settle(found: Sequence[Difference]) -> Iterator[Difference]:
    """With p-values corrected for all tests, and verdicts."""
    for difference, adjusted in zip(found, holm([each.p for each in found]), strict=True):
        sure = is_sure(difference.low, difference.high, adjusted)
        less = difference.difference < 0
        better = less == METRICS[difference.metric].lower_is_better
        verdict: Verdict = ("better" if better else "worse") if sure else "tie"
        yield replace(difference, adjusted=adjusted, verdict=verdict)


def _far(field: Field, own: Contestant, other: Contestant, metric: str) -> Iterator[Far]:
    """The images of the largest differences in a metric: the other's best, then its worst."""
    ours, theirs = (field.values(each, metric) for each in (own, other))
    gain = (ours - theirs) * (1 if METRICS[metric].lower_is_better else -1)
    order = [row for row in np.argsort(-gain, kind="stable") if np.isfinite(gain[row])]
    best = [row for row in order[:FAR] if gain[row] > 0]
    worst = [row for row in order[-FAR:] if gain[row] < 0]
    for row in best + worst:
        yield Far(other.name, field.image_ids[row], field.objects[row], float(ours[row]), float(theirs[row]))


def _notes(field: Field, own: Contestant, others: Sequence[Contestant], found: Sequence[Difference]) -> Iterator[str]:
    yield "difference: the other's mean less the baseline's, over images that both scored; 95 % interval over videos"
    yield "p: paired permutation test, videos exchanged whole, corrected for all tests here (Holm); intervals are not"
    yield "tie: the interval holds 0, or p is not below 0.05"
    if any(each.path.resolve() == own.path.resolve() for each in others):
        yield "a submission is compared with itself"
    yield "wins: images where the other is better, ties half; what only one scored is won by it"
    for each in (own, *others):
        lost = sum(status != "scored" for status in each.status)
        if lost:
            yield f"{each.name}: {lost} of {len(each.status)} images not scored, in no difference"
        if each.unofficial:
            yield f"{each.name}: no official scores ({'; '.join(each.unofficial)})"
    few = sorted({each.clusters for each in found if each.clusters < FEW_CLUSTERS})
    if few and few[0] < MIN_CLUSTERS:
        yield f"no interval below {MIN_CLUSTERS} videos, so no verdict either: a tie"
    if few and few[-1] >= MIN_CLUSTERS:
        yield f"an interval over fewer than {FEW_CLUSTERS} videos is too narrow"
    if dull := [each.clusters for each in found if len(found) * least_p(each.clusters) >= LEVEL]:
        yield f"{max(dull)} videos or fewer cannot tell in {len(found)} tests at once: always a tie; ask for less"
    if any(MIN_CLUSTERS <= each.clusters < CAUTION for each in found):
        yield (
            f"over fewer than {CAUTION} videos a few images that are far off make means, intervals and verdicts less "
            "certain than they say (docs/leaderboard.md); see the wins too"
        )
