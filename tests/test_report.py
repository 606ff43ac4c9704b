import re
from io import StringIO

import pytest
from rich.console import Console
from score_files import drawn_scores

from evaluation.metrics import METRICS
from evaluation.report import score_notes, score_report, score_tables

NAMES = tuple(f"object-{i}" for i in range(8))


def shown(renderable, width=100):
    console = Console(width=width, record=True, file=StringIO(), force_terminal=False)
    console.print(renderable)
    return console.export_text()


def notes(scores):
    warnings, facts = score_notes(scores)
    return "\n".join(warnings), "\n".join(facts)


@pytest.mark.parametrize("protocol", ["wildhoi@1", "behave@1", "open@1"])
def test_the_report_fits_a_hundred_columns_and_shows_every_mean_and_median(protocol):
    scores = drawn_scores(protocol=protocol, objects=NAMES, spheres=NAMES[:1], images=24)
    text = shown(score_report(scores))
    assert max(map(len, text.split("\n"))) <= 100
    assert "…" not in text and "nan" not in text.lower() and "None" not in text
    for group in [*scores["objects"].values(), scores["overall"]]:
        assert f"{group['coverage']['scored']}/{group['coverage']['images']}" in text
        for name in scores["headline"]:
            for statistic in ("mean", "median"):
                value = group["metrics"][name][statistic]
                assert value is None or f"{value:.{METRICS[name].digits}f}" in text
    for name in scores["headline"]:
        assert METRICS[name].label in text


def test_tables_hold_each_headline_metric_once_in_order():
    scores = drawn_scores(protocol="open@1", images=24)
    made = score_tables(scores)
    heads = [column.header.plain.split("\n")[0] for table in made for column in table.columns[1:]]
    assert heads == [METRICS[name].label for name in scores["headline"]]
    assert {table.row_count for table in made} == {len(scores["objects"]) + 2}
    assert len(score_tables(drawn_scores(protocol="behave@1"))) == 1


def test_a_sphere_has_no_rotation_and_the_mean_without_it_is_said():
    counted = drawn_scores(images=24)
    cells = list(score_tables(counted)[0].columns[3].cells)
    assert [str(cell).split() for cell in cells][1] == ["-", "-"]
    without = f"{counted['overall']['rotation_without_spheres']:.2f} deg"
    assert "ball 0 in the overall numbers" in notes(counted)[1] and without in notes(counted)[1]
    assert "ball left out overall" in notes(drawn_scores(protocol="open@1", images=24))[1]
    assert "sphere" not in notes(drawn_scores(images=24, spheres=()))[1]


def test_intervals_stand_beside_means_and_their_absence_is_said():
    few, none, many = (drawn_scores(images=n, objects=("apple",), spheres=()) for n in (40, 12, 84))
    assert "interval too narrow over fewer than 20 videos: apple (10), all images (10)" in notes(few)[0]
    assert "no interval below 5 videos: apple (3), all images (3)" in notes(none)[0]
    assert "videos" not in notes(many)[0]
    pattern = r"\d+\.\d\d \[\d+\.\d, \d+\.\d\]"
    assert len(re.findall(pattern, shown(score_tables(few)[0]))) == 2 * 4
    assert "[" not in shown(score_tables(none)[0])


def test_unscored_images_fall_backs_and_unofficial_reasons_are_warned_of():
    scores = drawn_scores(protocol="behave@1", images=84, unofficial_because=["reason one", "reason two"])
    warnings, facts = notes(scores)
    assert "reason one; reason two" in warnings and "UNOFFICIAL" in shown(score_report(scores))
    assert "3 failed and 0 missing of 252 images" in warnings
    assert "3 images fell back from alignment combined to human" in warnings
    assert "behave@1" in facts and scores["protocol"]["hash"][:12] in facts and "smplh" in facts
    unknown = {**scores, "protocol": {**scores["protocol"], "hash": "0" * 64}}
    assert "alignments: combined 246, human 3 images" in notes(unknown)[0]
    assert notes(drawn_scores(images=84, objects=("apple",), spheres=()))[0].count("\n") == 0


def test_recalls_are_shown_in_percent_with_their_average():
    scores = drawn_scores(images=24)
    text = shown(score_report(scores))
    for recall in scores["overall"]["recalls"].values():
        line = next(x for x in text.split("\n") if x.startswith(METRICS[recall["metric"]].label) and "%" in x)
        assert f"{100 * recall['average']:.1f} %" in line
        assert all(f" {100 * recall['curve'][i]:.0f} " in f"{line} " for i in (0, 1, 3, 5, 9))


def test_nothing_scored_shows_dashes_not_zeros():
    scores = drawn_scores(images=24, objects=("apple",), spheres=())
    for group in (scores["overall"], scores["objects"]["apple"]):
        group["coverage"].update(scored=0, failed=24, alignments={})
        for cell in group["metrics"].values():
            cell.update(n=0, mean=None, median=None, interval=None, clusters=0)
            cell.pop("mean_over_objects", None)
    for cell in scores["overall"]["metrics"].values():
        cell["mean_over_objects"] = None
    for recall in scores["overall"]["recalls"].values():
        recall.update(curve=[None] * len(recall["curve"]), average=None)
    text = shown(score_report(scores))
    assert "0/24" in text and "0.00" not in text.replace("0.05", "")


def test_a_hostile_method_name_steers_nothing():
    scores = drawn_scores(images=8, method="\x1b[31m[red]name[/red]\n\x07")
    text = shown(score_report(scores))
    assert "[red]name[/red]" in text and "\x1b" not in text and "\x07" not in text
