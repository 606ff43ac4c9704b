"""What a study's answers say: agreement, intervals that are as sure as they say, verdicts."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from study_made import key_of

from evaluation.sampling import uniform_numbers
from evaluation.study import to_markdown
from evaluation.study.agreement import krippendorff_alpha, pairwise_agreement
from evaluation.study.answers import Answers
from evaluation.study.drawing import other
from evaluation.study.intervals import _draws, _statistics, crossed_interval
from evaluation.study.report import verdict
from evaluation.study.scoring import score_answers

NONE = np.nan


# Agreement


def slow_alpha(ratings):
    """Krippendorff's alpha pair by pair, as it is defined."""
    units = [[v for v in unit if not np.isnan(v)] for unit in ratings.T]
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]
    observed = sum((a != b) / (len(u) - 1) for u in units for a, b in itertools.permutations(u, 2)) / len(values)
    expected = np.mean([a != b for a, b in itertools.permutations(values, 2)])
    return 1 - observed / expected


def test_alpha_of_the_published_examples():
    """K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), sections A and C."""
    two = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]], float)
    assert krippendorff_alpha(two) == pytest.approx(0.095, abs=5e-4)
    four = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
            [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
        ]
    )
    assert krippendorff_alpha(four) == pytest.approx(0.743, abs=5e-4)


def test_alpha_by_hand():
    """Units (A A) (A B) (B B): of 6 values 3 are A, so D_e = 18 / 30; one unit of three disagrees, so D_o = 1 / 3."""
    ratings = np.array([[1, 1, 0], [1, 0, 0]], float)
    assert krippendorff_alpha(ratings) == pytest.approx(1 - (1 / 3) / (18 / 30))
    assert pairwise_agreement(ratings) == pytest.approx(2 / 3)


def test_alpha_at_its_ends():
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 50).astype(float)
    assert krippendorff_alpha(np.tile(truth, (6, 1))) == 1
    assert krippendorff_alpha(np.stack([truth, 1 - truth])) < -0.9
    chance = [krippendorff_alpha(random.integers(0, 2, (8, 300)).astype(float)) for _ in range(20)]
    assert abs(np.mean(chance)) < 0.01 and np.max(np.abs(chance)) < 0.06
    assert krippendorff_alpha(np.ones((3, 9))) is None and krippendorff_alpha(np.eye(3) * NONE + NONE) is None


@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_that_of_all_pairs(seed):
    random = np.random.default_rng(seed)
    ratings = random.choice([0, 0.5, 1], (5, 17), p=[0.5, 0.2, 0.3])
    ratings[random.random(ratings.shape) < 0.4] = NONE
    assert krippendorff_alpha(ratings) == pytest.approx(slow_alpha(ratings))
    order = random.permutation(17)
    assert krippendorff_alpha(ratings[::-1, order]) == pytest.approx(slow_alpha(ratings))


# Intervals


def judged(raters, images, shift, rater_spread, image_spread, random):
    """Judgements of raters with a leaning on images with one (probit), and the share in the population of both."""
    leaning = shift + random.normal(0, rater_spread, (raters, 1)) + random.normal(0, image_spread, (1, images))
    truth = stats.norm.cdf(shift / np.sqrt(1 + rater_spread**2 + image_spread**2))
    return (random.random((raters, images)) < stats.norm.cdf(leaning)).astype(float), truth


def coverage(raters, images, case, missing=0.0, studies=500):
    random, covered = np.random.default_rng(7), 0
    for number in range(studies):
        values, truth = judged(raters, images, *case, random)
        known = (random.random(values.shape) >= missing).astype(float)
        found = crossed_interval(values * known, known, str(number), 400)
        covered += found.low <= truth <= found.high
    return covered / studies


@pytest.mark.parametrize(
    "case",
    [(0.0, 0.3, 0.8), (0.3, 0.0, 0.0), (0.5, 0.8, 0.3)],
    ids=["images differ", "nothing differs", "raters differ"],
)
def test_the_interval_covers_the_truth_as_often_as_it_says(case):
    assert 0.92 <= coverage(10, 40, case) <= 0.98


def test_it_does_with_answers_missing():
    assert 0.92 <= coverage(10, 40, (0.3, 0.3, 0.8), missing=0.3) <= 0.98


def test_resamples_are_those_of_judgements_drawn_one_by_one():
    random = np.random.default_rng(1)
    counts = random.integers(0, 3, (6, 8)).astype(float)
    sums = np.floor(random.random((6, 8)) * (counts + 1))
    weights = [_draws(12, n, "slow", name) for n, name in ((6, "raters"), (8, "images"))]
    means, errors = _statistics(sums, counts, *weights)
    drawn = [(uniform_numbers(12, n, "study", k, "slow") * n).astype(int) for n, k in ((6, "raters"), (8, "images"))]
    for row, (raters, clusters) in enumerate(zip(*drawn, strict=True)):
        s, n = sums[np.ix_(raters, clusters)], counts[np.ix_(raters, clusters)]
        rest = s - s.sum() / n.sum() * n
        parts = 6 / 5 * (rest.sum(1) ** 2).sum(), 8 / 7 * (rest.sum(0) ** 2).sum(), (rest**2).sum()
        variance = max(parts[0] + parts[1] - parts[2], parts[0], parts[1])
        assert means[row] == pytest.approx(s.sum() / n.sum())
        assert errors[row] == pytest.approx(np.sqrt(variance) / n.sum(), abs=1e-9)


def test_clusters_of_one_video_are_one_witness():
    """Ten frames that are judged alike say no more than one of them."""
    values = judged(8, 12, 0.2, 0.3, 0.5, np.random.default_rng(2))[0]
    one, ten = (crossed_interval(values * n, np.full(values.shape, float(n)), "k") for n in (1, 10))
    assert ten == pytest.approx(one)


def test_exchanged_methods_have_the_mirrored_interval():
    values = judged(8, 12, 0.4, 0.3, 0.5, np.random.default_rng(3))[0]
    one, two = (crossed_interval(v, np.ones(values.shape), "k") for v in (values, 1 - values))
    assert (1 - two.high, 1 - two.low) == pytest.approx((one.low, one.high))


def test_few_and_unanimous():
    ones = np.ones((9, 9))
    assert crossed_interval(ones[:4], ones[:4], "k") is None and crossed_interval(ones[:, :4], ones[:, :4], "k") is None
    empty = np.concatenate([ones, np.zeros((9, 9))], axis=1)
    low, high, count = crossed_interval(empty, empty, "k")
    assert (high, count) == (1, 9) and low == pytest.approx(stats.beta.ppf(0.025, 9, 1))
    low, high, _ = crossed_interval(0 * ones, ones, "k")
    assert low == 0 and high == pytest.approx(1 - stats.beta.ppf(0.025, 9, 1))


def test_more_raters_and_images_make_it_narrower():
    values = judged(40, 100, 0.3, 0.3, 0.5, np.random.default_rng(4))[0]
    widths = [np.subtract(*crossed_interval(v, np.ones(v.shape), "k")[1::-1]) for v in (values[:6, :10], values)]
    assert widths[1] < 0.5 * widths[0]


# Scores


def answered(key, name="Ada", prefer=lambda trial: "A", skip=()):
    """Answers of a rater who prefers a method, or finds two about the same."""
    choices = {}
    for trial in key.trials:
        method = prefer(trial)
        if trial.name not in skip:
            choices[trial.name] = method if method == "same" else "left" if trial.left == method else "right"
    return Answers(name, choices, tuple(float(n) for n in range(len(choices))))


def people(key, count, share, seed=0):
    random = np.random.default_rng(seed)
    return [answered(key, f"r{n}", lambda _: "A" if random.random() < share else "B") for n in range(count)]


def test_counts_are_those_of_images_not_of_trials():
    key = key_of(6, repeats=2, ties=True)
    first = {"001": "A", "002": "A", "003": "A", "004": "B", "005": "same", "006": "B", "007": "A", "008": "B"}
    score = score_answers(key, [answered(key, prefer=lambda trial: first[trial.name])])
    assert (score.overall.a, score.overall.b, score.overall.same, score.overall.images) == (3, 2, 1, 6)
    assert score.overall.share == pytest.approx(3.5 / 6)
    assert score.repeated == 2 and score.consistent == 0.5  # 007 repeats 001 with A again, 008 says B where 002 said A
    assert score.raters[0].consistent == 1 and score.raters[0].seconds == 3.5
    assert [(each.scope, each.a, each.b, each.same) for each in score.objects] == [("one", 2, 0, 1), ("two", 1, 2, 0)]


@pytest.mark.parametrize(("share", "wanted"), [(0.8, "A preferred"), (0.5, "tie"), (0.2, "B preferred")])
def test_verdicts(share, wanted):
    key = key_of()
    score = score_answers(key, people(key, 10, share))
    assert score.overall.verdict == wanted and score.overall.low < share < score.overall.high
    assert abs(score.alpha) < 0.05 and score.agreement == pytest.approx(share**2 + (1 - share) ** 2, abs=0.08)


def test_too_few_have_no_interval_and_a_note():
    few, short = key_of(), key_of(4, repeats=0)
    for key, raters in ((few, 4), (short, 8)):
        score = score_answers(key, people(key, raters, 0.9))
        assert score.overall.low is None and score.overall.verdict == "too few to say"
        assert any("want at least 5" in note for note in score.notes) and "no interval" in verdict(score)
    videos = key_of(40, per_video=10)
    assert score_answers(videos, people(videos, 9, 0.9)).overall.clusters == 4


def test_methods_exchanged_say_the_opposite():
    key = key_of()
    swapped = replace(
        key,
        methods={"A": key.methods["B"], "B": key.methods["A"]},
        trials=tuple(replace(trial, left=other(trial.left)) for trial in key.trials),
    )
    answers = people(key, 8, 0.7)
    one, two = score_answers(key, answers), score_answers(swapped, answers)
    assert two.overall.share == pytest.approx(1 - one.overall.share)
    assert (two.overall.low, two.overall.high) == pytest.approx((1 - one.overall.high, 1 - one.overall.low))
    assert (one.overall.verdict, two.overall.verdict) == ("A preferred", "B preferred")
    assert (two.alpha, two.consistent, two.left) == pytest.approx((one.alpha, one.consistent, one.left))
    assert verdict(one) == verdict(two) and verdict(one).startswith("method A preferred: 6")


def test_one_who_always_takes_a_side_is_seen():
    key = key_of()
    lazy = Answers("lazy", {trial.name: "left" for trial in key.trials}, (1.0,) * len(key.trials))
    score = score_answers(key, [lazy])
    assert score.left == 1 and score.consistent == 0 and score.overall.share == 0.5


def test_a_constant_rater_agrees_with_himself():
    key = key_of()
    score = score_answers(key, [answered(key, f"r{n}") for n in range(6)])
    assert score.consistent == 1 and score.alpha is None and score.agreement == 1
    assert "not defined" in to_markdown(score) and score.overall.high == 1


def test_missing_answers_are_said():
    key = key_of()
    half = answered(key, "half", skip={trial.name for trial in key.trials[::2]})
    score = score_answers(key, [*people(key, 6, 0.6), half])
    assert any(note.startswith("20 of 280 answers are missing") for note in score.notes)
    assert score.raters[-1].answers == 22 and score.overall.a + score.overall.b == 260


def test_answers_to_repeats_alone_say_nothing():
    key = key_of()
    score = score_answers(key, [answered(key, skip={trial.name for trial in key.trials[:40]})])
    assert score.overall.share is None and score.consistent is None and score.left == 0.5
    assert "No image was judged" in to_markdown(score)
    json.dumps(score.to_dict(), allow_nan=False)


def test_what_one_method_failed_on_is_said():
    key = replace(key_of(), left_out={"A": 3, "B": 0, "neither": 1})
    notes = score_answers(key, people(key, 5, 0.5)).notes
    assert any("3 that only method A has" in note and "method B" not in note for note in notes)


def test_markdown_escapes_and_json_is_plain():
    key = key_of()
    key = replace(key, methods={**key.methods, "A": replace(key.methods["A"], name="<b>|`x`\n\x1b[31m")})
    score = score_answers(key, people(key, 6, 0.7))
    text = to_markdown(score)
    assert "<b>" not in text and "\x1b" not in text and "| Rater" in text and "## Raters" in text
    assert json.loads(json.dumps(score.to_dict(), allow_nan=False))["overall"]["verdict"] == "A preferred"
