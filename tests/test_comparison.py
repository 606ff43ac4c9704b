"""Comparing scored submissions: intervals and tests that are right, verdicts, what does not compare, the command."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from evaluation.comparison import compare_submissions, to_markdown
from evaluation.comparison.plot import plot_comparison
from evaluation.comparison.statistics import _resampled, holm, paired_statistics
from evaluation.intervals import cluster_interval
from wildhoi.cli import app
from wildhoi.errors import InputError

ROWS = Path(__file__).parents[1] / "submissions" / "open"
FEW = 500  # resamples of tests that look at no interval


def videos_of(sizes):
    return [f"video {number}" for number, size in enumerate(sizes) for _ in range(size)]


def clustered(sizes, columns, shift=0.0, seed=0):
    """Differences whose clusters have something in common; a column is a data set of its own."""
    random = np.random.default_rng(seed)
    common = np.repeat(random.standard_normal((len(sizes), columns)), sizes, axis=0)
    return shift + common + random.standard_normal((sum(sizes), columns))


@pytest.fixture
def copy(tmp_path):
    """Copies of a committed submission without predictions, changed image by image."""

    def make(name, change=None, method="phosa", scores=None, order=None):
        folder = tmp_path / name
        shutil.copytree(ROWS / method, folder)
        (folder / "predictions.parquet").unlink()
        table = pd.read_parquet(folder / "per_image.parquet")
        if change is not None:
            table = change(table)
        if order is not None:
            table = table.iloc[order]
        table.to_parquet(folder / "per_image.parquet", index=False)
        if scores is not None:
            content = json.loads((folder / "scores.json").read_text())
            scores(content)
            (folder / "scores.json").write_text(json.dumps(content))
        return folder

    return make


# Intervals and tests


SIZES = [*range(1, 13), *range(1, 13)]  # 24 videos of 1 to 12 images


def test_the_interval_covers_the_truth_as_often_as_it_says():
    found = paired_statistics(clustered(SIZES, 2000), videos_of(SIZES), "coverage", 2000)
    covered = np.mean([each.low <= 0 <= each.high for each in found])
    assert 0.92 <= covered <= 0.97


def test_p_values_are_uniform_where_there_is_no_difference():
    p = np.array([each.p for each in paired_statistics(clustered(SIZES, 2000, seed=1), videos_of(SIZES), "null", 2000)])
    assert stats.kstest(p, "uniform").statistic < 0.04
    assert 0.035 < (p < 0.05).mean() < 0.065


def test_a_difference_is_found():
    found = paired_statistics(clustered(SIZES, 300, shift=1.5, seed=2), videos_of(SIZES), "shift", 2000)
    assert np.mean([each.low > 0 and each.p < 0.05 for each in found]) > 0.9
    assert abs(np.mean([each.mean for each in found]) - 1.5) < 0.1


@pytest.mark.parametrize("sizes", [[1] * 40, [3] * 30, SIZES])
def test_it_agrees_with_the_interval_of_a_table(sizes):
    values, videos = clustered(sizes, 1, seed=3), videos_of(sizes)
    (paired,) = paired_statistics(values, videos, "agree")
    one = cluster_interval(values[:, 0], videos, "agree")
    width = one.high - one.low
    assert abs(paired.low - one.low) < 0.08 * width and abs(paired.high - one.high) < 0.08 * width


def test_resamples_are_those_of_images_drawn_one_by_one():
    sizes = [2, 1, 4, 3, 2, 5]
    values, videos = clustered(sizes, 2, seed=4), np.array(videos_of(sizes))
    sums = np.stack([values[videos == name].sum(0) for name in sorted(set(videos))])
    means, errors = _resampled(sums, np.array(sizes, float), "slow", 20)
    from evaluation.sampling import uniform_numbers

    drawn = (uniform_numbers(20, 6, "comparison", "slow", 0) * 6).astype(int)
    for row, groups in enumerate(drawn):
        there = [values[videos == sorted(set(videos))[group]] for group in groups]
        mean = np.concatenate(there).mean(0)
        spread = sum((each.sum(0) - mean * len(each)) ** 2 for each in there)
        np.testing.assert_allclose(means[row], mean, atol=1e-12)
        np.testing.assert_allclose(errors[row], np.sqrt(6 / 5 * spread) / len(np.concatenate(there)), atol=1e-7)


@pytest.mark.parametrize("groups", [1, 2, 5, 9])
def test_few_clusters_are_exchanged_in_every_way(groups):
    sizes = [2] * groups
    values, videos = clustered(sizes, 1, shift=0.5, seed=5), videos_of(sizes)
    sums = values[:, 0].reshape(groups, 2).sum(1)
    totals = [abs(np.dot(signs, sums)) for signs in itertools.product([1, -1], repeat=groups)]
    wanted = np.mean(np.array(totals) >= abs(sums.sum()) - 1e-12)
    (paired,) = paired_statistics(values, videos, "exact")
    assert paired.p == pytest.approx(wanted) and paired.clusters == groups
    assert (paired.low is None) == (groups < 5)


def test_the_order_of_images_and_the_other_metrics_change_nothing():
    values, videos = clustered(SIZES, 3, seed=6), videos_of(SIZES)
    values[5, 2] = np.nan
    order = np.random.default_rng(7).permutation(len(videos))
    found = paired_statistics(values, videos, "order", FEW)
    assert paired_statistics(values[order], [videos[n] for n in order], "order", FEW) == found
    for column in range(3):
        alone = paired_statistics(values[:, [column]], videos, "order", FEW)
        assert alone[0] == pytest.approx(found[column], rel=1e-9)


def test_nothing_is_nothing_and_a_constant_is_sure():
    videos = videos_of([2] * 10)
    nothing, constant, unknown = paired_statistics(
        np.stack([np.zeros(20), np.full(20, 0.1), np.full(20, np.nan)], axis=1), videos, "edge", FEW
    )
    assert nothing == (0, 0, 0, 1, 20, 10) and unknown is None
    assert constant[:3] == pytest.approx((0.1, 0.1, 0.1)) and constant.p == pytest.approx(2 / 2**10)


def test_p_values_among_many():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []
    random = np.random.default_rng(0).uniform(0, 1, 9).tolist()
    assert all(a >= b for a, b in zip(holm(random), random, strict=True))


# Comparisons


def by_metric(comparison, **of):
    return {
        each.metric: each
        for each in comparison.differences
        if all(getattr(each, name) == value for name, value in {"scope": "all images", **of}.items())
    }


def test_a_submission_is_no_better_than_itself(copy):
    found = compare_submissions([ROWS / "phosa", copy("again")], resamples=FEW)
    assert found.methods == ("phosa (again)",) and found.baseline == "phosa (phosa)" and not found.far
    for each in found.differences:
        assert (each.difference, each.low, each.high, each.p, each.wins, each.verdict) == (0, 0, 0, 1, 0.5, "tie")


def test_the_order_of_rows_does_not_matter(copy):
    order = np.random.default_rng(0).permutation(200)
    shuffled = copy("shuffled", method="flow-prior", order=order)
    found, other = (
        compare_submissions([ROWS / "phosa", second], resamples=FEW) for second in (ROWS / "flow-prior", shuffled)
    )
    assert found == other


def test_exchanged_they_say_the_opposite():
    pair = [ROWS / "phosa", ROWS / "flow-prior"]
    found, other = (by_metric(compare_submissions(pair, each, resamples=FEW)) for each in pair)
    opposite = {"better": "worse", "worse": "better", "tie": "tie"}
    for name, each in found.items():
        back = other[name]
        assert back.verdict == opposite[each.verdict] and back.p == each.p
        numbers = (-each.difference, -each.high, -each.low, 1 - each.wins, each.mean, each.baseline)
        assert (back.difference, back.low, back.high, back.wins, back.baseline, back.mean) == pytest.approx(numbers)


def test_better_is_less_error_and_more_score(copy):
    def change(table):
        random = np.random.default_rng(0)
        return table.assign(
            translation=table.translation - random.uniform(0, 2, 200), contact_f1=table.contact_f1 - 0.1
        )

    metrics = ["translation", "contact_f1", "rotation"]
    found = by_metric(compare_submissions([ROWS / "phosa", copy("changed", change)], None, metrics, resamples=FEW))
    assert [found[name].verdict for name in metrics] == ["better", "worse", "tie"]
    assert found["translation"].wins == 1 and found["contact_f1"].wins == 0 and found["rotation"].wins == 0.5
    assert found["translation"].difference == pytest.approx(-1, abs=0.15)


def test_what_is_small_beside_the_noise_is_a_tie(copy):
    def change(table):
        return table.assign(translation=table.translation + np.random.default_rng(0).normal(0.2, 5, 200))

    found = by_metric(compare_submissions([ROWS / "phosa", copy("noise", change)], None, ["translation"]))
    assert found["translation"].verdict == "tie"


def test_one_test_among_many_must_be_surer(copy):
    def change(table):
        names = ["surface_human", "surface_object", "rotation", "chamfer_human", "chamfer_object"]
        random = np.random.default_rng(1)
        noise = {name: table[name] + random.normal(0, 3, 200) for name in names}
        return table.assign(**noise, translation=table.translation + np.random.default_rng(2).normal(0.9, 5, 200))

    folder = copy("noise", change)
    alone = by_metric(compare_submissions([ROWS / "phosa", folder], None, ["translation"]))["translation"]
    among = by_metric(compare_submissions([ROWS / "phosa", folder]))["translation"]
    assert alone.p == among.p == alone.adjusted < 0.05 < among.adjusted
    assert (alone.verdict, among.verdict) == ("worse", "tie")


def test_images_that_one_lacks_are_lost_and_in_no_difference(copy):
    def change(table):
        failed = table.index < 20
        numbers = table.select_dtypes("number").columns
        table.loc[failed, "status"] = "failed"
        table.loc[failed, numbers] = np.nan
        return table

    found = compare_submissions([ROWS / "phosa", copy("failing", change)], None, ["translation"], resamples=FEW)
    (each,) = found.differences
    assert each.images == 180 and each.difference == 0 and each.wins == pytest.approx(0.5 * 180 / 200)
    assert any("20 of 200 images not scored" in note for note in found.notes)
    back = compare_submissions([copy("also", change), ROWS / "phosa"], None, ["translation"], resamples=FEW)
    assert back.differences[0].wins == pytest.approx(1 - 0.45)


def test_where_nothing_can_be_told_it_is_said(copy):
    pair = [copy("one", lambda t: t.iloc[:6]), copy("two", lambda t: t.iloc[:6], method="isolation")]
    found = compare_submissions(pair, resamples=FEW)
    assert {each.verdict for each in found.differences} == {"tie"}
    assert any("6 videos or fewer cannot tell in 6 tests at once" in note for note in found.notes)
    alone = compare_submissions(pair, None, ["translation"], resamples=FEW)
    assert alone.differences[0].verdict == "worse" and not any("cannot tell" in note for note in alone.notes)


def test_nothing_scored_is_nothing_to_compare(copy, tmp_path):
    def none(table):
        table["status"] = "failed"
        table[table.select_dtypes("number").columns] = np.nan
        return table

    with pytest.raises(InputError, match="there is nothing to compare"):
        compare_submissions([ROWS / "phosa", copy("none", none)], resamples=FEW)
    with pytest.raises(InputError, match="no such folder"):
        compare_submissions([ROWS / "phosa", tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("count", "words", "bounded"),
    [(19, "fewer than 20 videos is too narrow", True), (4, "no interval below 5 videos", False), (20, "", True)],
)
def test_few_videos_are_warned_of(copy, count, words, bounded):
    pair = [copy("one", lambda t: t.iloc[:count]), copy("two", lambda t: t.iloc[:count], method="flow-prior")]
    found = compare_submissions(pair, None, ["translation"], resamples=FEW)
    (each,) = found.differences
    assert each.clusters == count and (each.low is not None) == bounded
    warnings = [note for note in found.notes if "too narrow" in note or "no interval" in note]
    assert len(warnings) == bool(words) and all(words in note for note in warnings)


def test_a_sphere_has_no_rotation():
    found = by_metric(compare_submissions([ROWS / "phosa", ROWS / "flow-prior"], resamples=FEW))
    assert found["rotation"].images == 175 and found["translation"].images == 200


def test_by_object():
    found = compare_submissions([ROWS / "phosa", ROWS / "flow-prior"], by_object=True, resamples=FEW)
    assert len({each.scope for each in found.differences}) == 9
    assert by_metric(found, scope="cello")["translation"].images == 25
    assert "rotation" not in by_metric(found, scope="basketball")
    cells = by_metric(found)["translation"], [by_metric(found, scope=s)["translation"] for s in ("tennis", "violin")]
    assert cells[0].clusters == 200 and all(each.clusters == 25 for each in cells[1])


def test_the_images_that_differ_most():
    found = compare_submissions([ROWS / "phosa", ROWS / "flow-prior"], None, ["translation"], resamples=FEW)
    one, two = (pd.read_parquet(ROWS / name / "per_image.parquet") for name in ("phosa", "flow-prior"))
    gain = (one.translation - two.translation).to_numpy()
    wanted = [*np.sort(gain)[::-1][:5], *np.sort(gain)[:5][::-1]]
    assert [far.baseline - far.value for far in found.far] == pytest.approx(wanted)
    assert found.main == "translation" and found.far[0].image_id == one.image_id[int(gain.argmax())]


# What does not compare


def edited(path, value):
    def edit(content):
        *rest, last = path.split(".")
        for name in rest:
            content = content[name]
        content[last] = value

    return edit


def test_other_rules_and_data_are_refused_with_all_that_differs(copy):
    def both(content):
        edited("protocol.hash", "0" * 64)(content)
        edited("dataset.revision", "other")(content)

    with pytest.raises(InputError) as error:
        compare_submissions([ROWS / "phosa", copy("other", scores=both)])
    text = str(error.value)
    assert "protocol.hash" in text and "dataset.revision: 671e31274e3dac6c in" in text and "evaluate all" in text
    for field in ("protocol.id", "dataset.name", "dataset.split", "body.model", "templates.violin"):
        with pytest.raises(InputError, match="do not compare"):
            compare_submissions([ROWS / "phosa", copy(field, scores=edited(field, "other"))])


def test_other_images_are_refused(copy):
    fewer, renamed = copy("fewer", lambda t: t.iloc[7:]), copy("renamed", lambda t: t.assign(video_id="one"))
    with pytest.raises(InputError, match=r"fewer lacks 7 \(barbell-test-00000, .*, \.\.\.\)"):
        compare_submissions([ROWS / "phosa", fewer])
    with pytest.raises(InputError, match=r"fewer lacks 7"):
        compare_submissions([fewer, ROWS / "phosa"])
    with pytest.raises(InputError, match="other objects or videos"):
        compare_submissions([ROWS / "phosa", renamed])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="video_id"), "has no column video_id"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "not what `wildhoi evaluate` writes"),
        (lambda t: t.assign(object=None), "not what `wildhoi evaluate` writes"),
        (lambda t: t.assign(translation="far"), "not what `wildhoi evaluate` writes"),
        (lambda t: t.assign(image_id=range(len(t))), "not what `wildhoi evaluate` writes"),
    ],
)
def test_tables_of_another_form_are_refused(copy, change, words):
    with pytest.raises(InputError, match=words):
        compare_submissions([ROWS / "phosa", copy("odd", change)])


def test_damaged_and_unscored_submissions_are_named(copy, tmp_path):
    folder = copy("damaged")
    (folder / "per_image.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(InputError, match=r"damaged/per_image\.parquet: not a readable Parquet file"):
        compare_submissions([ROWS / "phosa", folder])
    (folder / "scores.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        compare_submissions([ROWS / "phosa", folder])
    (folder / "scores.json").unlink()
    with pytest.raises(InputError, match=r"has no scores\.json; score the submission first: wildhoi evaluate"):
        compare_submissions([ROWS / "phosa", folder])
    changed = tmp_path / "changed"
    shutil.copytree(ROWS / "phosa", changed)
    shutil.copy(ROWS / "flow-prior" / "predictions.parquet", changed)
    with pytest.raises(InputError, match="has changed since it was scored"):
        compare_submissions([ROWS / "phosa", changed])


def test_what_is_asked_for_must_be_there():
    pair = [ROWS / "phosa", ROWS / "flow-prior"]
    with pytest.raises(InputError, match=r"metric 'speed' is unknown, want one of .*translation"):
        compare_submissions(pair, None, ["speed"])
    with pytest.raises(InputError, match="none of those compared"):
        compare_submissions(pair, ROWS / "isolation")
    with pytest.raises(InputError, match="want at least two"):
        compare_submissions(pair[:1])


def test_hostile_names_are_shown_as_text(copy):
    name = "<script>alert(1)</script>\u202eevil [x](javascript:1) " + "a" * 500
    found = compare_submissions(
        [ROWS / "phosa", copy("odd", lambda t: t, scores=edited("submission.method", name))], resamples=FEW
    )
    text = to_markdown(found)
    assert "\u202e" not in text and "<script>" not in text and "[x](" not in text
    assert len(found.methods[0]) <= 60


# The command


def run(*words):
    return CliRunner().invoke(app, ["compare", *map(str, words)])


def test_the_command_prints_every_format(tmp_path):
    pair = [ROWS / "phosa", ROWS / "flow-prior"]
    text = run(*pair, "--metric", "translation", "--metric", "contact_f1")
    assert text.exit_code == 0 and "flow-prior against phosa: all images" in text.stdout and "better" in text.stdout
    content = json.loads(run(*pair, "--format", "json", "--by", "object").stdout)
    assert content["baseline"] == "phosa" and len({each["scope"] for each in content["differences"]}) == 9
    markdown = run(*pair, "--baseline", pair[1], "--format", "markdown").stdout
    assert markdown.startswith("# Compared with flow-prior\n") and "**worse**" in markdown


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_picture(tmp_path, kind):
    three = [ROWS / name for name in ("phosa", "flow-prior", "isolation")]
    done = run(*three, "--plot", tmp_path / f"picture.{kind}", "--format", "json")
    assert done.exit_code == 0 and (tmp_path / f"picture.{kind}").stat().st_size > 5000
    with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf"):
        plot_comparison(compare_submissions(three[:2], resamples=FEW), tmp_path / "picture.exe")
