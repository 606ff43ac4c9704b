"""What raters preferred, how sure that is, and how far they agree with each other and with themselves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from evaluation.intervals import MIN_CLUSTERS
from evaluation.leaderboard.text import short
from evaluation.study.agreement import krippendorff_alpha, pairwise_agreement
from evaluation.study.answers import SAME, Answers, read_answers
from evaluation.study.intervals import crossed_interval
from evaluation.study.key import METHODS, Key, read_key

OVERALL = "all images"
EVEN = 0.5
VALUES = {"A": 1.0, "B": 0.0, SAME: EVEN}
"""What a choice adds to the share that prefers A: half where both are about the same."""

Verdict = Literal["A preferred", "B preferred", "tie", "too few to say"]


@dataclass(frozen=True)
class Preference:
    """Which method raters preferred, over some images.

    Attributes:
        scope: an object, or all images.
        images: that have an answer.
        clusters: videos they are of.
        raters: who answered.
        a: answers that prefer A.
        b: those that prefer B.
        same: those that say both are about the same.
        share: of the answers that prefer A, ties half; None without answers.
        low: of its 95 % interval; None with fewer than 5 raters or videos.
        high: of it.
        verdict: a tie where the interval holds one half.
    """

    scope: str
    images: int
    clusters: int
    raters: int
    a: int
    b: int
    same: int
    share: float | None
    low: float | None
    high: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Rater:
    """A rater: answers given, how often A and how often the left side was chosen (ties left out), pairs seen twice and
    answered alike, and the median of the seconds that an answer took.
    """

    name: str
    answers: int
    share: float | None
    left: float | None
    repeated: int
    consistent: int
    seconds: float


@dataclass(frozen=True)
class StudyScore:
    """The result of a study.

    Attributes:
        study: its name.
        methods: names of the submissions A and B.
        dataset: name, revision and split.
        overall: over all images; images that were shown twice count once, as first shown.
        objects: the same for each object.
        alpha: Krippendorff's, of all raters on all images; None where it is not defined.
        agreement: share of pairs of answers to one image that are equal.
        repeated: answers to images shown for the second time.
        consistent: share of these that are as the first time; a coin gives one half. None where there are none.
        left: share of the left side among all answers, ties left out; None where there are none.
        raters: each of them.
        notes: what a reader must know.
    """

    study: str
    methods: Mapping[str, str]
    dataset: Mapping[str, str]
    overall: Preference
    objects: tuple[Preference, ...]
    alpha: float | None
    agreement: float | None
    repeated: int
    consistent: float | None
    left: float | None
    raters: tuple[Rater, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data."""
        return asdict(self)


def score_study(folder: Path, paths: Sequence[Path]) -> StudyScore:
    """Score the answers to a study.

    Args:
        folder: that `wildhoi study make` wrote.
        paths: files of answers, or folders of them.

    Raises:
        InputError: the folder is no study, there are no answers, or some are damaged, of another study or twice.
    """
    key = read_key(folder)
    return score_answers(key, read_answers(paths, key))


def score_answers(key: Key, answers: Sequence[Answers]) -> StudyScore:
    """Score answers that were read, one set of each rater."""
    once = [trial for trial in key.trials if trial.repeats is None]
    ratings = _ratings(key, answers, [trial.name for trial in once])
    raters = tuple(_rater(key, each) for each in answers)
    objects = np.array([trial.object for trial in once], object)
    videos = np.array([trial.video_id for trial in once], object)
    overall = _preference(OVERALL, ratings, videos, key.study)
    kinds = sorted(set(objects)) if len(set(objects)) > 1 else []
    parts = [(name, objects == name) for name in kinds]
    repeated = sum(rater.repeated for rater in raters)
    sides = [choice for each in answers for choice in each.choices.values() if choice != SAME]
    return StudyScore(
        study=key.study,
        methods={name: key.methods[name].name for name in METHODS},
        dataset=dict(key.dataset),
        overall=overall,
        objects=tuple(_preference(n, ratings[:, at], videos[at], key.study) for n, at in parts if _any(ratings[:, at])),
        alpha=krippendorff_alpha(ratings),
        agreement=pairwise_agreement(ratings),
        repeated=repeated,
        consistent=sum(rater.consistent for rater in raters) / repeated if repeated else None,
        left=sides.count("left") / len(sides) if sides else None,
        raters=raters,
        notes=tuple(_notes(key, ratings, overall)),
    )


def _any(ratings: Float[np.ndarray, "raters images"]) -> bool:
    return not bool(np.isnan(ratings).all())


def _chosen(key: Key, answers: Answers) -> dict[str, str]:
    """The method (or that both are about the same) by trial."""
    trials = {trial.name: trial for trial in key.trials}
    sides: dict[str, Literal["left", "right"]] = {"left": "left", "right": "right"}
    return {
        name: SAME if choice == SAME else trials[name].method(sides[choice]) for name, choice in answers.choices.items()
    }


def _ratings(key: Key, answers: Sequence[Answers], names: Sequence[str]) -> Float[np.ndarray, "raters images"]:
    """How each rater judged each image when it was first shown, NaN where not."""
    table = np.full((len(answers), len(names)), np.nan)
    for row, each in enumerate(answers):
        chosen = _chosen(key, each)
        table[row] = [VALUES[chosen[name]] if name in chosen else np.nan for name in names]
    return table


def _preference(scope: str, ratings: Float[np.ndarray, "raters images"], videos: np.ndarray, key: str) -> Preference:
    known: Bool[np.ndarray, "raters images"] = ~np.isnan(ratings)
    values = ratings[known]
    names, cluster = np.unique(videos.astype(str), return_inverse=True)
    sums, counts = np.zeros((2, len(ratings), len(names)))
    for image, place in enumerate(cluster):
        sums[:, place] += np.nan_to_num(ratings[:, image])
        counts[:, place] += known[:, image]
    found = crossed_interval(sums, counts, f"{key}|{scope}")
    low, high = (None, None) if found is None else (found.low, found.high)
    return Preference(
        scope=scope,
        images=int(known.any(axis=0).sum()),
        clusters=int(counts.any(axis=0).sum()),
        raters=int(known.any(axis=1).sum()),
        a=int((values == VALUES["A"]).sum()),
        b=int((values == VALUES["B"]).sum()),
        same=int((values == EVEN).sum()),
        share=float(values.mean()) if len(values) else None,
        low=low,
        high=high,
        verdict=_verdict(low, high),
    )


def _verdict(low: float | None, high: float | None) -> Verdict:
    if low is None or high is None:
        return "too few to say"
    return "A preferred" if low > EVEN else "B preferred" if high < EVEN else "tie"


def _rater(key: Key, answers: Answers) -> Rater:
    chosen = _chosen(key, answers)
    sides = [choice for choice in answers.choices.values() if choice != SAME]
    twice = [(t.name, t.repeats) for t in key.trials if t.repeats is not None]
    pairs = [(chosen[a], chosen[b]) for a, b in twice if a in chosen and b in chosen]
    return Rater(
        name=answers.rater,
        answers=len(chosen),
        share=_share(chosen, [t.name for t in key.trials if t.repeats is None]),
        left=sides.count("left") / len(sides) if sides else None,
        repeated=len(pairs),
        consistent=sum(one == two for one, two in pairs),
        seconds=float(np.median(answers.seconds)),
    )


def _share(chosen: Mapping[str, str], first: Sequence[str]) -> float | None:
    """The share of A among a rater's answers, as overall: images as first shown, a tie half for each."""
    judged = [chosen[name] for name in first if name in chosen]
    return (judged.count("A") + 0.5 * judged.count(SAME)) / len(judged) if judged else None


def _notes(key: Key, ratings: Float[np.ndarray, "raters images"], overall: Preference) -> Iterator[str]:
    if overall.low is None:
        yield (
            f"No interval: {overall.raters} raters and {overall.clusters} videos answered, want at least "
            f"{MIN_CLUSTERS} of both."
        )
    if lost := int(np.isnan(ratings).sum()):
        yield f"{lost} of {ratings.size} answers are missing: their raters did not finish."
    if lone := [
        f"{key.left_out[name]} that only {short(key.methods[name].name)} has"
        for name in METHODS
        if key.left_out.get(name)
    ]:
        yield f"Images that both reconstructed; left out are {' and '.join(lone)}."
    if overall.same:
        yield "Ties count half for each."
    yield (
        "95 % intervals resample raters and videos, both at once; those of single objects are not corrected for being "
        "several."
    )
