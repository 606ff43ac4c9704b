from dataclasses import replace

import numpy as np
import pytest

from evaluation.protocol import load_protocol
from evaluation.summary import summarise

DIAMETERS = {"barbell": 2.2, "basketball": 0.25, "cello": 1.4}
SPHERES = ("basketball",)


def protocol(name="wildhoi@1", **changes):
    return replace(load_protocol(name), **changes)


def row(number, name, values, status="scored", video=None, alignment="none"):
    """A row of scoring; `values` is one number for every metric, or a mapping that fills some of them in."""
    metrics = load_protocol("wildhoi@1").metrics
    given = values if isinstance(values, dict) else dict.fromkeys(metrics, values)
    every = {metric: float(given.get(metric, 1.0)) for metric in metrics}
    if status != "scored":
        every = dict.fromkeys(metrics, float("nan"))
    return {
        "image_id": f"{number:04d}", "object": name, "video_id": video or f"v{number % 7}", "status": status,
        "reason": "", "alignment": alignment if status == "scored" else "", **every,
    }  # fmt: skip


def lost(number, name, status="missing"):
    return row(number, name, np.nan, status)


def table(rows, of="wildhoi@1", **changes):
    return summarise(rows, protocol(of, **changes), DIAMETERS, SPHERES)


def test_overall_means_are_over_images_and_the_mean_over_objects_stands_beside():
    rows = [row(k, "barbell", 10) for k in range(8)] + [row(8 + k, "cello", 40) for k in range(2)]
    found = table(rows)
    cell = found["overall"]["metrics"]["chamfer_object"]
    assert cell["mean"] == pytest.approx((8 * 10 + 2 * 40) / 10)
    assert cell["mean_over_objects"] == pytest.approx(25)
    assert cell["median"] == 10
    assert cell["n"] == 10
    assert found["objects"]["barbell"]["metrics"]["chamfer_object"]["mean"] == 10
    assert found["objects"]["cello"]["metrics"]["chamfer_object"]["mean"] == 40
    assert sorted(found["objects"]) == ["barbell", "cello"]


def test_an_object_without_a_scored_image_is_left_out_of_the_mean_over_objects():
    found = table([row(0, "barbell", 10), lost(1, "cello")])
    assert found["overall"]["metrics"]["translation"]["mean_over_objects"] == 10
    assert found["objects"]["cello"]["metrics"]["translation"]["mean"] is None


# the failure rule


def test_missing_and_failed_images_are_in_no_mean_and_in_every_coverage():
    rows = [row(0, "barbell", 10), row(1, "barbell", 20), lost(2, "barbell"), lost(3, "barbell", "failed")]
    for group in (table(rows)["overall"], table(rows)["objects"]["barbell"]):
        assert group["metrics"]["chamfer_human"]["mean"] == 15
        assert group["metrics"]["chamfer_human"]["n"] == 2
        coverage = group["coverage"]
        assert (coverage["images"], coverage["scored"], coverage["failed"], coverage["missing"]) == (4, 2, 1, 1)
        assert coverage["share"] == 0.5


@pytest.mark.parametrize("status", ["missing", "failed"])
@pytest.mark.parametrize("name", ["translation", "rotation", "mssd", "add_s"])
def test_missing_and_failed_images_are_in_the_denominator_of_every_recall(name, status):
    rows = [row(0, "barbell", 1), lost(1, "barbell", status), lost(2, "barbell", status), row(3, "barbell", 1)]
    for group in (table(rows)["overall"], table(rows)["objects"]["barbell"]):
        assert group["recalls"][name]["curve"] == [0.5] * 10
        assert group["recalls"][name]["average"] == 0.5


def test_recall_is_the_share_strictly_below_the_threshold():
    rows = [
        row(k, "barbell", {"translation": v, "rotation": v}) for k, v in enumerate((4.9, 5.0, 7.0, 49.9, 50.0, 300))
    ]
    for name in ("translation", "rotation"):
        recall = table(rows)["overall"]["recalls"][name]
        assert recall["thresholds"] == [5, 10, 15, 20, 25, 30, 35, 40, 45, 50]
        np.testing.assert_allclose(recall["curve"], [1 / 6] + [3 / 6] * 8 + [4 / 6], atol=1e-6)
        assert recall["average"] == pytest.approx(np.mean([1] + [3] * 8 + [4]) / 6, abs=1e-6)


def test_thresholds_of_the_diameter_are_those_of_each_object():
    """A tenth of the barbell's 220 cm is 22 cm, of the cello's 140 cm 14 cm: 15 cm is below the one alone."""
    rows = [row(0, "barbell", {"mssd": 15.0, "add_s": 15.0}), row(1, "cello", {"mssd": 15.0, "add_s": 15.0})]
    for name in ("mssd", "add_s"):
        recall = table(rows)["overall"]["recalls"][name]
        assert recall["unit"] == "diameter"
        assert recall["curve"][:3] == [0.0, 0.5, 1.0]


def test_recall_curves_never_fall():
    values = np.random.default_rng(0).uniform(0, 80, 40)
    rows = [row(k, "cello", dict.fromkeys(("translation", "rotation", "mssd"), v)) for k, v in enumerate(values)]
    for recall in table(rows)["overall"]["recalls"].values():
        assert recall["curve"] == sorted(recall["curve"])


# spheres


def mixed():
    barbells = [row(k, "barbell", {"rotation": 30.0}) for k in range(6)]
    return barbells + [row(6 + k, "basketball", {"rotation": 0.0}) for k in range(4)]


def test_a_sphere_counts_as_zero_degrees_in_the_published_average_and_not_in_the_one_beside():
    found = table(mixed())
    assert found["overall"]["metrics"]["rotation"]["mean"] == pytest.approx(18)
    assert found["overall"]["metrics"]["rotation"]["n"] == 10
    assert found["overall"]["rotation_without_spheres"] == 30
    assert found["overall"]["metrics"]["rotation"]["mean_over_objects"] == 30
    assert found["overall"]["recalls"]["rotation"]["curve"][0] == pytest.approx(0.4)


@pytest.mark.parametrize("name", ["open@1", "behave@1"])
def test_a_sphere_is_left_out_of_the_rotation_elsewhere(name):
    found = table(mixed(), name)
    assert found["overall"]["metrics"]["rotation"]["mean"] == 30
    assert found["overall"]["metrics"]["rotation"]["n"] == 6
    assert found["overall"]["rotation_without_spheres"] == 30
    assert found["overall"]["recalls"]["rotation"]["curve"][0] == 0.0
    assert found["overall"]["metrics"]["translation"]["n"] == 10


@pytest.mark.parametrize("name", ["wildhoi@1", "open@1"])
def test_a_sphere_has_no_rotation_of_its_own(name):
    ball = table(mixed(), name)["objects"]["basketball"]
    assert ball["metrics"]["rotation"]["mean"] is None
    assert ball["metrics"]["rotation"]["interval"] is None
    assert ball["metrics"]["rotation"]["n"] == 0
    assert "rotation" not in ball["recalls"] or ball["recalls"]["rotation"]["average"] is None
    assert ball["metrics"]["translation"]["mean"] == 1


def test_a_lost_sphere_does_not_lower_a_rotation_recall_that_leaves_spheres_out():
    """What is in no numerator must be in no denominator: else a method that fails on balls is punished in rotation."""
    barbells = [row(k, "barbell", {"rotation": 1.0}) for k in range(6)]
    found = table([*barbells, lost(6, "basketball"), lost(7, "basketball", "failed")], "open@1")
    assert found["overall"]["recalls"]["rotation"]["average"] == 1.0
    assert found["overall"]["recalls"]["translation"]["average"] == pytest.approx(0.75)


# nothing to aggregate


def empty(value):
    return value is None


@pytest.mark.parametrize("rows", [[], [lost(0, "barbell"), lost(1, "basketball", "failed")]])
def test_an_aggregate_of_nothing_is_none_and_never_zero(rows):
    overall = table(rows)["overall"]
    for cell in overall["metrics"].values():
        assert cell["n"] == 0
        assert all(empty(cell[key]) for key in ("mean", "median", "interval", "mean_over_objects"))
    assert overall["rotation_without_spheres"] is None
    assert overall["coverage"]["images"] == len(rows)
    if rows:
        assert overall["coverage"]["share"] == 0.0
        assert overall["recalls"]["translation"]["average"] == 0.0
    else:
        assert overall["coverage"]["share"] is None
        assert overall["recalls"]["translation"]["average"] is None


def test_a_metric_that_applies_to_some_images_is_averaged_over_those():
    values = {"joint_angle": np.nan, "contact_precision": np.nan}
    rows = [row(0, "barbell", values), row(1, "barbell", {"joint_angle": 4.0, "contact_precision": 0.5})]
    cells = table(rows)["overall"]["metrics"]
    assert (cells["joint_angle"]["mean"], cells["joint_angle"]["n"]) == (4.0, 1)
    assert (cells["contact_precision"]["mean"], cells["contact_precision"]["n"]) == (0.5, 1)
    assert cells["translation"]["n"] == 2


# the rest


def test_intervals_are_over_videos_and_absent_below_five():
    rng = np.random.default_rng(0)
    values = rng.uniform(5, 15, 60)
    many = [row(k, "barbell", v, video=f"v{k % 12}") for k, v in enumerate(values)]
    cell = table(many)["overall"]["metrics"]["translation"]
    assert cell["clusters"] == 12
    assert cell["interval"][0] < cell["mean"] < cell["interval"][1]
    few = [row(k, "barbell", v, video=f"v{k % 4}") for k, v in enumerate(values)]
    assert table(few)["overall"]["metrics"]["translation"]["interval"] is None


def test_alignments_that_were_used_are_counted():
    rows = [row(0, "barbell", 1, alignment="combined"), row(1, "barbell", 1, alignment="human"), lost(2, "barbell")]
    assert table(rows)["overall"]["coverage"]["alignments"] == {"combined": 1, "human": 1}


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(1)
    names = ("barbell", "cello", "basketball")
    rows = [row(k, names[k % 3], value, video=f"v{k % 9}") for k, value in enumerate(rng.uniform(0, 60, 45))]
    shuffled = [rows[k] for k in rng.permutation(len(rows))]
    assert_nearly(table(shuffled), table(rows))


def assert_nearly(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_nearly(a[key], b[key])
    elif isinstance(a, list):
        for one, other in zip(a, b, strict=True):
            assert_nearly(one, other)
    elif isinstance(a, float):
        assert a == pytest.approx(b, abs=2e-6)
    else:
        assert a == b
