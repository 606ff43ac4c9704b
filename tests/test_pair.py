"""Alignment, correspondence and the streams of a pair."""

from dataclasses import replace

import numpy as np
import pytest
from scenes import (
    assert_close,
    box,
    made_template,
    make_pair,
    noisy,
    person,
    pose_of,
    score,
    small_protocol,
    template,
)
from slow_metrics import uniforms

from evaluation.metrics import METRICS
from evaluation.pair import align, make_side
from evaluation.sampling import sample_surface
from evaluation.scoring import compare_on_device

# alignment and correspondence


def sides(body, of, other_body, other):
    protocol = small_protocol("behave@1")
    return (
        make_side("image", "prediction", *body, of, pose_of(0), protocol),
        make_side("image", "truth", *other_body, other, pose_of(1), protocol),
    )


def test_alignment_falls_back_where_vertices_do_not_correspond_and_says_so():
    fine, coarse = person(subdivisions=3), person()
    of, other = template("stool"), made_template("stool", *box((0.3, 0.2, 0.5), rounds=2))
    assert align(*sides(coarse, of, coarse, of), "combined")[1] == "combined"
    assert align(*sides(coarse, of, coarse, other), "combined")[1] == "human"
    assert align(*sides(fine, of, coarse, of), "combined")[1] == "none"
    assert align(*sides(fine, of, coarse, of), "human")[1] == "none"
    assert align(*sides(coarse, of, coarse, other), "human")[1] == "human"
    assert align(*sides(coarse, of, coarse, of), "none")[1] == "none"


def test_an_alignment_that_is_not_possible_leaves_the_prediction_as_it_is():
    prediction, truth = sides(person(subdivisions=3), template("stool"), person(), template("stool"))
    aligned, _ = align(prediction, truth, "combined")
    np.testing.assert_array_equal(aligned.human.vertices, prediction.human.vertices)


def test_human_alignment_looks_at_the_human_alone():
    body, other = person(), person(seed=3, noise=0.05)
    of = template("stool")
    prediction, truth = sides(body, of, other, of)
    by_human, _ = align(prediction, truth, "human")
    moved = replace(prediction, object=replace(prediction.object, vertices=prediction.object.vertices + 3))
    again, _ = align(moved, truth, "human")
    np.testing.assert_array_equal(by_human.human.vertices, again.human.vertices)
    combined, _ = align(prediction, truth, "combined")
    assert not np.allclose(combined.human.vertices, by_human.human.vertices)


def test_an_aligned_pose_places_the_template_where_the_aligned_vertices_are():
    prediction, truth = sides(person(), template("stool"), person(seed=1, noise=0.03), template("stool"))
    aligned, _ = align(prediction, truth, "combined")
    np.testing.assert_allclose(template("stool").posed(aligned.pose), aligned.object.vertices, atol=1e-12)


def test_metrics_of_corresponding_vertices_are_nothing_without_correspondence():
    pair, _ = make_pair(
        template("stool"), small_protocol("open@1"), pose_of(0), pose_of(0), person(subdivisions=3), person()
    )
    values = score(pair)
    for name in ("v2v_human", "contact_precision", "contact_recall", "contact_f1"):
        assert np.isnan(values[name])
    assert np.isfinite(values["chamfer_human"])


def test_sides_and_parts_of_an_image_have_streams_of_their_own():
    pair, _ = make_pair(template("stool"), small_protocol(), pose_of(0), pose_of(0))
    surfaces = [getattr(side, part) for side in (pair.prediction, pair.truth) for part in ("human", "object")]
    assert len({surface.stream for surface in surfaces}) == 4
    for surface, (side, part) in zip(
        surfaces, [(s, p) for s in ("prediction", "truth") for p in ("human", "object")], strict=True
    ):
        expected = uniforms(pair.protocol.points, 3, pair.protocol.seed, pair.image_id, part, side)
        np.testing.assert_allclose(
            surface.points, sample_surface(surface.vertices, surface.faces, expected), atol=1e-12
        )


def test_another_image_or_seed_changes_the_score_a_little_and_the_same_not_at_all():
    def of(image="a", seed=0):
        protocol = small_protocol("open@1", points=500, seed=seed)
        guess = noisy(pose_of(0), 10, 0.05)
        return score(make_pair(template("stool"), protocol, pose_of(0), guess, image_id=image)[0], "chamfer_object")

    assert of() == of()
    assert of() != of("b")
    assert of() != of(seed=1)
    assert of() == pytest.approx(of("b"), rel=0.1)


def test_every_metric_says_its_unit_and_label():
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.unit in ("cm", "deg", "%", "")
        assert metric.label


def test_clouds_compared_on_a_device_score_as_on_the_cpu():
    """A GPU compares many clouds at once; the same code on the CPU agrees with the kd-trees within 1e-5 cm."""
    names = ("chamfer_human", "chamfer_object")
    pairs = [
        make_pair(template("stool"), small_protocol(), pose_of(0), noisy(pose_of(0), 10, far), image_id=str(far))[0]
        for far in (0.02, 0.5, 10.0)
    ]
    expected = [score(pair, *names) for pair in pairs]
    compare_on_device(pairs, "cpu")
    for pair, values in zip(pairs, expected, strict=True):
        assert set(pair.chamfers) == {"human", "object"}
        assert_close(score(pair, *names), values, 1e-5)
