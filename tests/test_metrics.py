import json
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from scenes import (
    AXIS_CATEGORIES,
    CATEGORIES,
    SPHERES,
    bicycle_like,
    box,
    equivalent,
    made_template,
    make_pair,
    mesh_arrays,
    noisy,
    person,
    pose_of,
    random_rotation,
    small_protocol,
    template,
    transformed,
)
from scipy.spatial import KDTree
from slow_metrics import (
    GOLDEN,
    all_metrics,
    golden_cases,
    mssd_error,
    symmetry_of,
    turn,
    uniforms,
    winding_number,
)

from evaluation.metrics import METRICS
from evaluation.pair import align, make_side
from evaluation.protocol import load_protocol
from evaluation.sampling import sample_surface, uniform_numbers
from evaluation.surfaces import penetration, point_to_surface
from wildhoi.schema import ObjectPose

PROTOCOLS = ("wildhoi@1", "behave@1", "open@1")
ZERO_WHEN_PERFECT = (
    "surface_human", "surface_object", "v2v_human", "v2v_object", "rotation", "translation", "mssd", "add_s",
)  # fmt: skip
WITHOUT_SYMMETRY = "backpack"


def score(pair, *names):
    values = {name: METRICS[name].function(pair) for name in names or pair.protocol.metrics}
    return values[names[0]] if len(names) == 1 else values


def assert_close(found, expected, tolerance=1e-6):
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=tolerance, err_msg=name)


# a perfect prediction ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", CATEGORIES)
def test_every_metric_of_a_perfect_prediction_of_every_category(name, protocol):
    of, truth = template(name), pose_of(1, angle=0.3 if name == "bicycle" else None)
    pair, _ = make_pair(of, small_protocol(protocol, contact_distance=0.2), truth, truth)
    values = score(pair)
    for metric in ZERO_WHEN_PERFECT:
        assert abs(values[metric]) < 1e-6, metric
    assert values["contact_precision"] == values["contact_recall"] == values["contact_f1"] == 1.0
    jointed = {name: values.pop(name) for name in ("joint_angle", "chamfer_articulated") if name in values}
    assert all(np.isfinite(value) for value in values.values())
    assert all((name == "bicycle") == np.isfinite(value) for value in jointed.values())
    if jointed and name == "bicycle":
        assert jointed["joint_angle"] == 0.0


@pytest.mark.parametrize("part", ["human", "object"])
def test_the_chamfer_distance_of_a_perfect_prediction_is_the_floor_of_the_sampling(part):
    pair, _ = make_pair(template("boxlarge"), small_protocol(points=2000), pose_of(1), pose_of(1))
    surface = getattr(pair.truth, part)
    corners = surface.vertices[surface.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    assert score(pair, f"chamfer_{part}") == pytest.approx(100 * np.sqrt(area / 2000), rel=0.08)


@pytest.mark.parametrize("name", ["backpack", "barbell", "bicycle", "stool", "basketball"])
@pytest.mark.parametrize("alignment", ["combined", "human"])
def test_a_similarity_transform_of_the_truth_is_perfect_after_alignment(name, alignment):
    rng = np.random.default_rng(5)
    of, truth, (body, faces) = template(name), pose_of(2, scale=1.2), person()
    by = (1.7, random_rotation(rng), rng.standard_normal(3))
    moved, guess = transformed(body, truth, by)
    protocol = small_protocol("behave@1", alignment=alignment, contact_distance=0.2)
    pair, used = make_pair(of, protocol, truth, guess, predicted_body=(moved, faces))
    assert used == alignment
    values = score(pair)
    for metric in ZERO_WHEN_PERFECT:
        assert abs(values[metric]) < 1e-6, metric
    assert pair.prediction.pose.scale == pytest.approx(truth.scale)
    assert values["contact_precision"] == values["contact_recall"] == 1.0
    perfect, _ = make_pair(of, protocol, truth, truth)
    assert_close(values, score(perfect, "chamfer_human", "chamfer_object", "penetration_share", "f_score_combined"))


def test_without_alignment_a_similarity_transform_is_not_perfect():
    truth, (body, faces) = pose_of(2), person()
    moved, guess = transformed(body, truth, (1.0, np.eye(3), np.array([0.1, 0, 0])))
    pair, used = make_pair(template("stool"), small_protocol("open@1"), truth, guess, predicted_body=(moved, faces))
    assert used == "none"
    assert_close(score(pair), {"translation": 10.0, "v2v_human": 10.0, "v2v_object": 10.0, "mssd": 10.0, "rotation": 0})


# symmetry ---------------------------------------------------------------------------------------------------------


def elements(symmetry, seed=3):
    if symmetry.kind == "sphere":
        rng = np.random.default_rng(seed)
        return [random_rotation(rng) for _ in range(3)]
    turns = [turn(symmetry.axis, d) for d in (0, 17.3, 90, 180, 211.9)] if symmetry.kind == "axis" else [np.eye(3)]
    return [one @ end for one in turns for end in symmetry.rotations]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", CATEGORIES)
def test_every_pose_equivalent_under_the_group_is_perfect(name, protocol):
    of, truth = template(name), pose_of(4, scale=1.3)
    protocol = small_protocol(protocol, alignment="none")
    symmetry = of.symmetry(protocol.symmetry.get(name))
    for element in elements(symmetry):
        pair, _ = make_pair(of, protocol, truth, equivalent(truth, element, symmetry.point))
        assert score(pair, "rotation") < 1e-5
        assert score(pair, "mssd") < 1e-6


@pytest.mark.parametrize("name", ["boxlarge", "boxtiny", "stool", "tablesquare", "toolbox", "skateboard", "tennis"])
def test_a_symmetric_mesh_in_an_equivalent_pose_is_the_same_surface(name):
    """The mesh is the union of a lump's images under the group, so that the group maps it onto itself."""
    plain = template(name)
    symmetry = plain.symmetry()
    lump, lump_faces = box((0.1, 0.08, 0.12), centre=(0.2, 0.1, 0.05), rounds=0)
    images = [(lump - symmetry.point) @ s.T + symmetry.point for s in symmetry.rotations]
    faces = np.concatenate([lump_faces + k * len(lump) for k in range(len(images))])
    keypoints = list(plain.keypoints.values())
    of, truth = made_template(name, np.concatenate(images), faces), pose_of(3)
    of = made_template(name, np.concatenate(images), faces, keypoints)
    protocol = small_protocol("open@1", contact_distance=0.3)
    perfect = score(make_pair(of, protocol, truth, truth)[0])
    for element in symmetry.rotations[1:]:
        found = score(make_pair(of, protocol, truth, equivalent(truth, element, symmetry.point))[0])
        assert_close(found, {"surface_object": 0, "rotation": 0, "mssd": 0}, 1e-5)
        assert found["v2v_object"] > 1
        assert found["penetration_share"] == pytest.approx(perfect["penetration_share"])


def test_a_turn_outside_the_group_is_an_error():
    for name in sorted(set(CATEGORIES) - set(SPHERES)):
        of, truth = template(name), pose_of(4)
        symmetry = of.symmetry()
        across = np.cross(symmetry.axis, [0.3, 0.5, 0.8]) if symmetry.axis is not None else np.array([0.3, 0.5, 0.8])
        guess = equivalent(truth, turn(across / np.linalg.norm(across), 20), symmetry.point)
        found = score(make_pair(of, small_protocol(), truth, guess)[0], "rotation")
        assert 2 < found <= 20 + 1e-5, name


def test_the_barbell_turned_end_for_end_is_wrong_as_published_and_right_in_truth():
    of, truth = template("barbell"), pose_of(0)
    point = of.symmetry().point
    guess = equivalent(truth, turn(np.array([0.0, 0.6, 0.8]), 180), point)
    published = score(make_pair(of, small_protocol("wildhoi@1"), truth, guess)[0])
    assert published["rotation"] == pytest.approx(180, abs=1e-4)
    assert published["mssd"] > 50
    assert_close(score(make_pair(of, small_protocol("open@1"), truth, guess)[0]), {"rotation": 0, "mssd": 0}, 1e-5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_sphere_has_no_rotation_error_but_a_translation_error(protocol):
    guess = noisy(pose_of(0), 120, 0.07)
    pair, _ = make_pair(template("basketball"), small_protocol(protocol, alignment="none"), pose_of(0), guess)
    assert_close(score(pair, "rotation", "translation", "mssd"), {"rotation": 0, "translation": 7, "mssd": 7}, 1e-5)


def test_scale_counts_for_the_mesh_and_not_for_rotation_and_translation():
    truth = pose_of(0)
    pair, _ = make_pair(template(WITHOUT_SYMMETRY), small_protocol(), truth, replace(truth, scale=1.5))
    values = score(pair)
    assert_close(values, {"rotation": 0, "translation": 0})
    assert values["surface_object"] > 1
    assert values["mssd"] == pytest.approx(50 * np.linalg.norm(pair.template.vertices, axis=1).max())


@pytest.mark.parametrize("degrees", [0.01, 1, 30, 90, 179, 180])
def test_the_rotation_error_is_the_angle_of_the_turn(degrees):
    guess = noisy(pose_of(0), degrees, 0.0)
    pair, _ = make_pair(template(WITHOUT_SYMMETRY), small_protocol(), pose_of(0), guess)
    assert score(pair, "rotation") == pytest.approx(degrees, abs=5e-6)


@pytest.mark.parametrize("name", AXIS_CATEGORIES)
def test_the_stepped_mssd_of_a_continuous_axis_is_a_close_upper_bound(name):
    of, truth = template(name), pose_of(1)
    guess = noisy(truth, 40, 0.1)
    pair, _ = make_pair(of, small_protocol(), truth, guess)
    exact = 100 * mssd_error(of.vertices, guess, truth, symmetry_of(name, of.keypoints))
    arm = np.linalg.norm(np.cross(of.vertices - pair.symmetry.point, pair.symmetry.axis), axis=1).max()
    assert exact - 1e-6 <= score(pair, "mssd") <= exact + 100 * arm * np.radians(0.26)


# order of predictions ---------------------------------------------------------------------------------------------


LOWER = ("chamfer_object", "surface_object", "v2v_object", "rotation", "translation", "mssd", "add_s")


def mean_scores(errors, names=LOWER):
    of, protocol = template(WITHOUT_SYMMETRY), small_protocol(points=300)
    rows = []
    for seed in range(6):
        truth, body = pose_of(seed), person(seed=seed, noise=errors[1])
        pair, _ = make_pair(of, protocol, truth, noisy(truth, *errors, seed), predicted_body=body)
        rows.append([METRICS[name].function(pair) for name in names])
    return dict(zip(names, np.mean(rows, axis=0), strict=True))


def test_growing_noise_gives_growing_errors():
    names = (*LOWER, "chamfer_human", "surface_human", "v2v_human")
    steps = [mean_scores(errors, names) for errors in ((2, 0.01), (10, 0.05), (30, 0.15), (80, 0.6))]
    for name in names:
        values = [step[name] for step in steps]
        assert values == sorted(values), name


def test_growing_noise_gives_falling_f_scores():
    names = ("f_score_human", "f_score_object", "f_score_combined")
    steps = [mean_scores(errors, names) for errors in ((1, 0.003), (10, 0.08), (60, 0.8))]
    for name in names:
        assert [step[name] for step in steps] == sorted((step[name] for step in steps), reverse=True), name


def test_predictions_of_other_images_are_worse_than_noisy_ones():
    of, protocol = template(WITHOUT_SYMMETRY), small_protocol(points=300)
    shuffled, near = (
        np.mean([
            [METRICS[name].function(make_pair(of, protocol, pose_of(seed), guess(seed))[0]) for name in LOWER]
            for seed in range(6)
        ], axis=0)
        for guess in (lambda seed: pose_of(seed + 1), lambda seed: noisy(pose_of(seed), 3, 0.01, seed))
    )  # fmt: skip
    assert (shuffled > near).all()


# twins and golden values ------------------------------------------------------------------------------------------


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


# F-score ----------------------------------------------------------------------------------------------------------


def test_the_f_score_draws_6000_points_of_each_surface_whatever_the_protocol_draws():
    pair, _ = make_pair(template("boxlarge"), small_protocol("open@1", points=10_000), pose_of(0), pose_of(0))
    clouds = {
        (part, side): sample_surface(
            getattr(getattr(pair, side), part).vertices,
            getattr(getattr(pair, side), part).faces,
            uniform_numbers(6000, 3, 0, pair.image_id, part, side),
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


# contact ----------------------------------------------------------------------------------------------------------


def ball(radius=0.1, subdivisions=2):
    vertices, faces = mesh_arrays(trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius))
    return made_template("basketball", vertices, faces, [(0.0, 0.0, 0.0)])


def at(x, scale=1.0):
    return ObjectPose(np.eye(3), np.array([x, 0.0, 0.0]), scale)


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


# penetration ------------------------------------------------------------------------------------------------------


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


# bicycle ----------------------------------------------------------------------------------------------------------


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


# alignment and correspondence -------------------------------------------------------------------------------------


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
        expected = uniforms(3, 3, pair.protocol.seed, pair.image_id, part, side)
        np.testing.assert_allclose(
            surface.points[:3], sample_surface(surface.vertices, surface.faces, expected), atol=1e-12
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
