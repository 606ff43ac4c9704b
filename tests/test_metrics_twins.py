"""Metrics against their slow twins, golden values and hand-made cases."""

import json
from dataclasses import replace

import numpy as np
import pytest
from golden_metrics import GOLDEN, golden_cases
from scenes import (
    assert_close,
    at,
    bicycle_like,
    made_template,
    make_pair,
    noisy,
    person,
    pose_of,
    score,
    small_protocol,
    template,
    transformed,
)
from scipy.spatial import KDTree
from slow_metrics import all_metrics, turn

from evaluation.metrics import METRICS
from evaluation.sampling import sample_surface, uniform_numbers
from wildhoi.schema import ObjectPose

WITHOUT_SYMMETRY = "backpack"
# twins and golden values


TWINS = [name for name in METRICS if name != "add_s"]


@pytest.fixture(scope="module")
def cases():
    return golden_cases()


@pytest.fixture(scope="module")
def golden():
    return json.loads(GOLDEN.read_text())["values"]


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_have_their_golden_values(metric, cases, golden):
    assert sorted(cases) == sorted(golden)
    compared = 0
    for case, pair in cases.items():
        if metric in golden[case]:
            value = golden[case][metric]
            expected = np.nan if value is None else value
            np.testing.assert_allclose(METRICS[metric].function(pair), expected, atol=1e-6, rtol=0, err_msg=case)
            compared += 1
    assert compared >= 9


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_their_slow_twins(seed):
    of = (template("tennis"), bicycle_like(), template("boxmedium"))[seed]
    truth, guess = pose_of(seed, scale=0.9, angle=0.2), noisy(pose_of(seed, angle=-0.5), 50, 0.06, seed)
    pair, _ = make_pair(
        of,
        small_protocol("open@1", points=60, contact_distance=0.15, f_score_threshold=0.05),
        truth,
        guess,
        predicted_body=person(seed=seed, noise=0.02),
    )
    assert_close(score(pair, *TWINS), {name: value for name, value in all_metrics(pair).items() if name in TWINS})


def test_add_s_goes_from_the_true_vertices_to_the_predicted_ones():
    """Hinterstoisser et al. 2012 and the BOP toolkit: the mean over the true vertices, the nearest predicted one."""
    vertices = np.array([[0.0, 0, 0], [0, 0, 1], [1, 0, 0], [3, 0, 0]])
    of = made_template(WITHOUT_SYMMETRY, vertices, np.array([[0, 1, 2], [1, 2, 3], [0, 1, 3]]))
    pair, _ = make_pair(of, small_protocol(), at(0.0), at(0.0, scale=0.5))
    # half as large: the true vertices are 0, 0.5, 0.5 and 1.5 from the nearest predicted one; the other way it is less
    assert score(pair, "add_s") == pytest.approx(100 * (0 + 0.5 + 0.5 + 1.5) / 4)
    turned, _ = make_pair(of, small_protocol(), at(0.0), ObjectPose(turn(np.array([0.0, 0, 1]), 90), np.zeros(3)))
    assert score(turned, "add_s") == pytest.approx(100 * (0 + 0 + 1 + 3) / 4)


# F-score


def test_the_f_score_draws_6000_points_of_each_surface_whatever_the_chamfer_distance_draws():
    pair, _ = make_pair(template("boxlarge"), small_protocol("open@1", f_score_points=6000), pose_of(0), pose_of(0))
    clouds = {
        (part, side): sample_surface(
            getattr(getattr(pair, side), part).vertices,
            getattr(getattr(pair, side), part).faces,
            uniform_numbers(6000, 3, 0, pair.image_id, part, side, "f-score"),
        )
        for part in ("human", "object")
        for side in ("prediction", "truth")
    }
    scene = np.concatenate([clouds["human", "truth"], clouds["object", "truth"]])
    near = 0.01 * 2 * np.linalg.norm(scene - scene.mean(axis=0), axis=1).max()
    found = {}
    for part in ("human", "object"):
        predicted, true = KDTree(clouds[part, "prediction"]), KDTree(clouds[part, "truth"])
        precision, recall = ((b.query(a.data)[0] < near).mean() for a, b in ((predicted, true), (true, predicted)))
        found[f"f_score_{part}"] = 2 * precision * recall / (precision + recall)
    assert_close(score(pair, *found), found)


def test_f_scores_of_the_right_and_of_a_far_prediction():
    truth = pose_of(0)
    protocol = small_protocol(points=3000)
    right = score(make_pair(template("boxlarge"), protocol, truth, truth)[0])
    far = replace(truth, translation=truth.translation + 5)
    wrong = score(make_pair(template("boxlarge"), protocol, truth, far, predicted_body=person((9, 9, 9)))[0])
    for name in ("f_score_human", "f_score_object", "f_score_combined"):
        assert right[name] > 0.5
        assert wrong[name] == 0.0


def test_the_f_score_does_not_change_with_the_size_of_the_whole_scene():
    truth, guess, (body, faces) = pose_of(0), noisy(pose_of(0), 10, 0.03), person()
    results = []
    for size in (1.0, 4.0):
        by = (size, np.eye(3), np.zeros(3))
        (big, big_truth), (_, big_guess) = transformed(body, truth, by), transformed(body, guess, by)
        pair, _ = make_pair(template("boxlarge"), small_protocol(points=800), big_truth, big_guess, (big, faces))
        results.append(score(pair, "f_score_human", "f_score_object", "f_score_combined"))
    assert_close(results[0], results[1])
