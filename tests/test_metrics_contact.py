"""Contact, penetration and the movable part."""

import numpy as np
import pytest
import trimesh
from scenes import (
    assert_close,
    at,
    bicycle_like,
    made_template,
    make_pair,
    mesh_arrays,
    person,
    pose_of,
    score,
    small_protocol,
)
from slow_metrics import turn, winding_number

from evaluation.protocol import load_protocol
from evaluation.surfaces import penetration, point_to_surface
from wildhoi.schema import ObjectPose

WITHOUT_SYMMETRY = "backpack"
# contact


def ball(radius=0.1, subdivisions=2):
    vertices, faces = mesh_arrays(trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius))
    return made_template("basketball", vertices, faces, [(0.0, 0.0, 0.0)])


def test_contact_with_and_without_touching_sides():
    protocol = small_protocol("open@1", contact_distance=0.1)
    touching, apart = at(0.35), at(5.0)
    both = score(make_pair(ball(), protocol, touching, touching)[0])
    assert (both["contact_precision"], both["contact_recall"], both["contact_f1"]) == (1, 1, 1)
    none = score(make_pair(ball(), protocol, apart, apart)[0])
    assert np.isnan([none["contact_precision"], none["contact_recall"], none["contact_f1"]]).all()
    missed = score(make_pair(ball(), protocol, touching, apart)[0])
    assert np.isnan(missed["contact_precision"])
    assert (missed["contact_recall"], missed["contact_f1"]) == (0, 0)
    invented = score(make_pair(ball(), protocol, apart, touching)[0])
    assert np.isnan(invented["contact_recall"])
    assert (invented["contact_precision"], invented["contact_f1"]) == (0, 0)


def test_contact_counts_human_vertices_strictly_nearer_than_5_centimetres():
    assert load_protocol("wildhoi@1").contact_distance == 0.05
    body, faces = np.array([[0.0, 0, 0], [0, 0, 1], [0, 1, 1], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]])
    of = made_template(WITHOUT_SYMMETRY, np.array([[0.0, 0, 0], [2, 0, 0], [2, 1, 0]]), np.array([[0, 1, 2]]))
    for gap, expected in ((0.0499, 1), (0.0501, 0)):
        pair, _ = make_pair(of, small_protocol("wildhoi@1"), at(gap), at(gap), truth_body=(body, faces))
        assert pair.contacts.truth.sum() == expected


def test_contact_precision_and_recall_are_shares_of_vertices():
    protocol = small_protocol("open@1", contact_distance=0.2)
    pair, _ = make_pair(ball(), protocol, at(0.3), ObjectPose(np.eye(3), np.array([0.25, 0.15, 0.0])))
    predicted, true = pair.contacts
    values = score(pair)
    assert 0 < values["contact_precision"] < 1
    assert values["contact_precision"] == pytest.approx((predicted & true).sum() / predicted.sum())
    assert values["contact_recall"] == pytest.approx((predicted & true).sum() / true.sum())


# penetration


def big_ball():
    return mesh_arrays(trimesh.creation.icosphere(subdivisions=4, radius=1.0))


@pytest.mark.parametrize("place", [0.9, 0.95, 1.0, 1.05])
def test_penetration_of_a_small_ball_in_a_big_one_is_the_analytic_one(place):
    """A sphere of radius r at distance d has the share (R^2 - (d - r)^2) / 4dr of its area within the unit ball."""
    radius = 0.1
    share = (1 - (place - radius) ** 2) / (4 * place * radius)
    depth = 1 - (place - radius)
    of = ball(radius, subdivisions=4)
    pair, _ = make_pair(of, small_protocol(), at(5.0), at(place), truth_body=big_ball())
    assert score(pair, "penetration_share") == pytest.approx(100 * np.clip(share, 0, 1), abs=2)
    assert score(pair, "penetration_depth") == pytest.approx(100 * depth, abs=0.3)


def test_an_object_outside_or_only_touching_the_box_about_the_human_does_not_penetrate():
    for pose in (at(2.0), ObjectPose(np.eye(3), np.full(3, 0.85))):
        pair, _ = make_pair(ball(), small_protocol(), pose, pose, truth_body=big_ball())
        assert score(pair, "penetration_share", "penetration_depth") == {"penetration_share": 0, "penetration_depth": 0}


def test_penetration_is_of_the_prediction_and_whole_when_swallowed():
    pair, _ = make_pair(ball(), small_protocol(), at(5.0), at(0.2), truth_body=big_ball())
    assert score(pair, "penetration_share") == 100
    swapped, _ = make_pair(ball(), small_protocol(), at(0.2), at(5.0), truth_body=big_ball())
    assert score(swapped, "penetration_share") == 0


def test_the_inside_is_where_the_exact_winding_number_is_above_one_half():
    vertices, faces = person(seed=1, noise=0.01)
    points = 0.5 * np.random.default_rng(0).standard_normal((400, 3))
    inside = winding_number(points, vertices, faces) > 0.5
    found = penetration(points, vertices, faces)
    assert found.share == inside.mean()
    assert found.depth == pytest.approx(point_to_surface(points[inside], vertices, faces).max())


def test_a_person_with_a_small_hole_still_has_an_inside():
    vertices, faces = person()
    points = 0.1 * np.random.default_rng(0).standard_normal((200, 3))
    assert penetration(points, vertices, faces[4:]).share == penetration(points, vertices, faces).share


# bicycle


def test_the_published_object_distance_ignores_the_steering_and_the_articulated_one_sees_it():
    truth, guess = pose_of(0, angle=0.0), pose_of(0, angle=0.8)
    protocol = small_protocol("open@1", points=1500)
    straight, turned = (score(make_pair(bicycle_like(), protocol, truth, pose)[0]) for pose in (truth, guess))
    for metric in ("chamfer_object", "surface_object", "mssd", "add_s", "rotation"):
        assert turned[metric] == straight[metric]
    assert straight["chamfer_articulated"] == pytest.approx(straight["chamfer_object"])
    assert turned["chamfer_articulated"] > 1.5 * straight["chamfer_articulated"]


def test_the_articulated_distance_of_equal_steering_is_the_floor():
    both = pose_of(0, angle=0.8)
    values = score(make_pair(bicycle_like(), small_protocol("open@1", points=1500), both, both)[0])
    assert values["chamfer_articulated"] == pytest.approx(values["chamfer_object"], rel=0.05)


@pytest.mark.parametrize(
    ("predicted", "true", "degrees"),
    [(0.1, 0.1, 0), (None, 0.5, np.degrees(0.5)), (3.1, -3.1, np.degrees(2 * np.pi - 6.2)), (2 * np.pi, 0.0, 0),
     (np.pi, 0.0, 180), (-7.0, 0.0, np.degrees(7 - 2 * np.pi)), (None, None, 0), (0.0, 1.5 * np.pi, 90)],
)  # fmt: skip
def test_the_joint_angle_wraps_and_an_absent_one_is_straight(predicted, true, degrees):
    pair, _ = make_pair(bicycle_like(), small_protocol("open@1"), pose_of(0, angle=true), pose_of(0, angle=predicted))
    assert score(pair, "joint_angle") == pytest.approx(degrees, abs=1e-6)


def test_posed_articulation_turns_the_front_on_both_sides():
    protocol = small_protocol("open@1", articulation="posed")
    both = pose_of(0, angle=0.8)
    assert_close(score(make_pair(bicycle_like(), protocol, both, both)[0]), {"surface_object": 0, "v2v_object": 0})
    moved = score(make_pair(bicycle_like(), protocol, both, pose_of(0, angle=0.0))[0])
    assert moved["v2v_object"] > 1
    assert moved["chamfer_object"] == pytest.approx(moved["chamfer_articulated"])


def test_the_front_turns_about_its_steering_axis_and_the_back_stays():
    of = bicycle_like()
    turned = of.articulated(np.pi / 2)
    front = slice(0, of.mesh_sizes[0])
    np.testing.assert_array_equal(turned[of.mesh_sizes[0] :], of.vertices[of.mesh_sizes[0] :])
    start, end = of.keypoints["5"], of.keypoints["6"]
    for point in (start, end):
        before, after = (np.linalg.norm(v[front] - point, axis=1) for v in (of.vertices, turned))
        np.testing.assert_allclose(after, before, atol=1e-12)
    expected = (of.vertices[front] - start) @ turn((end - start) / np.linalg.norm(end - start), 90).T + start
    np.testing.assert_allclose(turned[front], expected, atol=1e-12)
