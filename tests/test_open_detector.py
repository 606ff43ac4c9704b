"""The detectors of the open set: exact without noise, laws of what errs, and hard cases."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from wildhoi.body import body_parameters, load_body
from wildhoi.errors import InputError
from wildhoi.geometry import geodesic_angle, project, rotvec_to_matrix
from wildhoi.mirror import FACE, FEET, LEFT_HAND, OPENPOSE_EXCHANGE, RIGHT_HAND, WHOLEBODY_EXCHANGE
from wildhoi.open_scenes.detector import tuning
from wildhoi.open_scenes.detector.correspondences import CorrespondenceMap, disturb_map, render_map
from wildhoi.open_scenes.detector.detect import detect
from wildhoi.open_scenes.detector.estimate import disturb_camera, disturb_human
from wildhoi.open_scenes.detector.fields import smooth_field
from wildhoi.open_scenes.detector.keypoints import in_camera, look
from wildhoi.open_scenes.detector.masks import boxed_in_frame, ragged, signed_distance
from wildhoi.open_scenes.detector.pose import solve_pose
from wildhoi.open_scenes.detector.settings import load_settings
from wildhoi.open_scenes.detector.view import View
from wildhoi.open_scenes.detector.wholebody import keypoint_index, openpose_from_wholebody, wholebody_points
from wildhoi.open_scenes.randomness import generator
from wildhoi.open_scenes.scene import Scene
from wildhoi.rendering.occlusion import occlusion
from wildhoi.rendering.raster import rasterize
from wildhoi.schema import Camera, Human, ObjectPose
from wildhoi.templates import SHIPPED, load_template

NAMES = sorted(path.name for path in SHIPPED.iterdir())
ROTATED = [name for name in NAMES if load_template(SHIPPED / name).symmetry().kind != "sphere"]
SETTINGS = load_settings()
POSTURES = {  # joint of the body: axis-angle; the rest is straight
    "t-pose": {},
    "arms down": {15: (0, 0, -1.2), 16: (0, 0, 1.2), 17: (0, -0.4, 0), 18: (0, 0.5, 0)},
    "seated": {0: (-1.5, 0, 0), 1: (-1.5, 0, 0), 3: (1.4, 0, 0), 4: (1.4, 0, 0), 15: (0, -0.8, -0.6)},
}


def make_human(posture, rng):
    pose = 0.1 * rng.standard_normal((21, 3))
    for joint, turn in POSTURES[posture].items():
        pose[joint] += turn
    hands = 0.1 * rng.standard_normal((2, 15, 3))
    return Human(rng.standard_normal(10), pose, *hands)


def make_camera(joints, rng, persons_pixels=205.0):
    """A camera some 40 m away all round, as wild ones are annotated; the frame; the crop of the body."""
    turn = rotvec_to_matrix(np.array([0, rng.uniform(-np.pi, np.pi), 0]))
    tilt = rotvec_to_matrix(np.array([rng.normal(0, 0.15), 0, rng.normal(0, 0.05)]))
    rotation = np.diag([1.0, -1, -1]) @ tilt @ turn
    height = np.ptp((joints @ rotation.T)[:, 1]) * 1.1
    box_height = persons_pixels * 1.25
    focal = 5000 / 256 * box_height
    depth = focal * height / persons_pixels
    centre = np.array([rng.uniform(300, 340), rng.uniform(220, 260)])
    translation = np.array([0, 0, depth]) - rotation @ joints[:22].mean(axis=0) * (1, 1, 0)
    camera = Camera(rotation, translation, np.array([focal, focal]), centre)
    corner = centre - np.array([0.375, 0.5]) * box_height
    return camera, np.array([*corner, 0.75 * box_height, box_height])


def make_scene(name, seed, *, posture=None, spread=0.12, shift=(0.0, 0.0, 0.0), nearer=1.0):
    """A person and an object at a hand in any rotation, with a scale that the solver does not know.

    `nearer` > 1: photographed from that much nearer with a lens that much wider than annotated.
    """
    rng, body, template = generator(seed, name), load_body("open"), load_template(SHIPPED / name)
    human = make_human(posture or list(POSTURES)[seed % 3], rng)
    surface = body.surface(*body_parameters([human], body))
    vertices, joints = surface.vertices[0].numpy(), surface.joints[0].numpy()
    camera, body_box = make_camera(joints, rng)
    angle = rng.uniform(-0.5, 0.5) if template.category.joint else None
    rotation, scale = Rotation.random(random_state=seed).as_matrix(), float(np.exp(spread * rng.standard_normal()))
    grip = joints[20 + seed % 2] + 0.1 * rng.standard_normal(3)
    centre = template.vertices.mean(axis=0)
    pose = ObjectPose(rotation, grip - scale * rotation @ centre + np.array(shift), scale, angle)
    window = (*np.round(camera.principal_point - 128).astype(int).tolist(), 256)
    taken = replace(camera, focal=camera.focal / nearer, translation=camera.translation / (1, 1, nearer))
    seen = (taken, camera, (640, 480), window, body_box)
    scene = Scene(f"{name}-{seed}", name, "held", human, pose, *seen, upright=np.eye(3), visible=1.0)
    return scene, vertices, joints


def make_view(scene, vertices, joints):
    """The masks as the z-buffer has them."""
    x, y, width, height = scene.image_box
    template = load_template(SHIPPED / scene.object)
    focal = torch.from_numpy(scene.camera.focal)[None]
    principal_point = torch.from_numpy(scene.camera.principal_point - (x, y))[None]
    rasters = [
        rasterize(
            torch.from_numpy(in_camera(points, scene.camera))[None],
            torch.from_numpy(faces),
            focal,
            principal_point,
            (height, width),
        )
        for points, faces in (
            (vertices, load_body("open").faces),
            (template.posed(scene.object_pose, articulate=True), template.faces),
        )
    ]
    seen = occlusion(*rasters)
    image = np.zeros((height, width, 3), np.uint8)
    return View(scene, image, seen.human_visible[0].numpy(), seen.object_visible[0].numpy(), vertices, joints)


def make(name, seed, **choices):
    view = make_view(*make_scene(name, seed, **choices))
    return view, load_template(SHIPPED / name)


def run(view, template, seed=0, settings=SETTINGS):
    return detect(view, load_body("open"), template, generator(seed, "detect"), settings)


def see(points, camera):
    return project(in_camera(points, camera), camera.focal, camera.principal_point)


def object_points(template, pose):
    """The keypoints of a posed template, SMPL frame."""
    posed = template.posed(pose, articulate=True)
    return np.array([posed[index].mean(axis=0) for index in template.keypoint_vertices.values()])


def grid_map(sample):
    return CorrespondenceMap(
        sample.object_correspondences, tuple(int(value) for value in sample.object_correspondences_box)
    )


# ------------------------------------------------------------------------------------------------ without noise


@pytest.mark.parametrize("name", NAMES)
def test_without_noise_everything_agrees(name):
    view, template = make(name, 3)
    sample, scene = run(view, template, settings=SETTINGS.noiseless()), view.scene
    points = wholebody_points(load_body("open"), view.vertices, view.joints, SETTINGS.face)
    assert np.allclose(sample.wholebody_keypoints[:, :2], see(points, scene.camera), rtol=0, atol=1e-9)
    assert sample.human is scene.human
    assert sample.object_pose is scene.object_pose
    assert sample.camera is scene.annotated
    assert np.allclose(sample.body_keypoints, see(view.joints[:22], scene.camera), rtol=0, atol=1e-9)
    expected = see(object_points(template, scene.object_pose), scene.camera)
    assert np.allclose(sample.object_keypoints, expected, rtol=0, atol=1e-9)
    x, y, width, height = np.subtract(sample.person_mask_box, (*scene.image_box[:2], 0, 0))
    assert np.array_equal(sample.person_mask, view.person[y : y + height, x : x + width])
    assert sample.person_mask.sum() == view.person.sum()
    assert np.array_equal(sample.object_box[:2], sample.object_mask_box[:2])
    assert np.array_equal(sample.object_box[2:], np.add(sample.object_mask_box[:2], sample.object_mask_box[2:]) - 1)


@pytest.mark.parametrize("name", NAMES)
def test_exact_correspondences_project_to_their_pixels(name):
    view, template = make(name, 5)
    sample, scene = run(view, template, settings=SETTINGS.noiseless()), view.scene
    found, pose = grid_map(sample), scene.object_pose
    straight = found.points[found.filled]
    candidates = [straight]  # a cell does not say which part it shows: one of the two must fit
    if pose.angle is not None:
        first, second = (template.keypoints[name] for name in template.category.joint.axis_keypoints)
        axis = (second - first) / np.linalg.norm(second - first)
        candidates.append((straight - first) @ rotvec_to_matrix(axis * pose.angle).T + first)
    errors = [
        np.abs(
            see(pose.scale * points @ pose.rotation.T + pose.translation, scene.camera) - found.pixels()[found.filled]
        )
        for points in candidates
    ]
    assert np.min([error.max(axis=1) for error in errors], axis=0).max() < 1e-8
    assert max(found.points.shape[:2]) <= SETTINGS.grid


def test_a_small_object_has_a_cell_for_every_pixel():
    view, template = make("basketball", 1)
    found = grid_map(run(view, template, settings=SETTINGS.noiseless()))
    assert found.points.shape[:2] == found.box[:1:-1]
    x, y, *_ = view.scene.image_box
    rows, columns = np.nonzero(view.thing)
    cells = np.column_stack([rows + y - found.box[1], columns + x - found.box[0]])
    assert found.filled[tuple(cells.T)].all()  # the map shows hidden parts too


def test_a_photograph_of_another_lens_keeps_the_annotated_estimates():
    view, template = make("tennis", 4, nearer=5.0)
    exact, noisy = run(view, template, settings=SETTINGS.noiseless()), run(view, template)
    scene = view.scene
    wrists = see(view.joints[20:22], scene.camera)
    assert np.allclose(exact.wholebody_keypoints[[9, 10], :2], wrists, rtol=0, atol=1e-9)
    assert np.array_equal(noisy.focal, scene.annotated.focal)
    error = np.linalg.norm(noisy.body_keypoints - see(view.joints[:22], scene.camera), axis=1)
    assert np.median(error) < 3


# ------------------------------------------------------------------------------------------------ keypoints


def rest_points():
    body = load_body("open")
    human = Human(np.zeros(10), np.zeros((21, 3)), np.zeros((15, 3)), np.zeros((15, 3)))
    surface = body.surface(*body_parameters([human], body))
    return wholebody_points(body, surface.vertices[0].numpy(), surface.joints[0].numpy(), SETTINGS.face)


def test_keypoints_of_the_rest_pose_are_their_mirror_twins():
    points = rest_points()
    assert points.shape == (133, 3)
    mirrored = points[list(WHOLEBODY_EXCHANGE)] * (-1, 1, 1)
    assert np.linalg.norm(mirrored - points, axis=1).max() < 5e-3
    full = np.column_stack([points, np.ones(133)])[:, [0, 1, 3]]
    openpose = openpose_from_wholebody(full)
    assert np.abs(openpose[list(OPENPOSE_EXCHANGE)] * (-1, 1, 1) - openpose).max() < 5e-3


def test_keypoints_stand_in_their_order():
    points = rest_points()
    height = points[:, 1]
    shoulders, wrists, hips, ankles = points[5:7], points[9:11], points[11:13], points[15:17]
    for left, right in (points[1:3], points[3:5], shoulders, wrists, hips, ankles, points[[17, 20]]):
        assert left[0] > 0 > right[0]
    assert np.array_equal(points[[LEFT_HAND, RIGHT_HAND]], wrists)
    assert height[1] > height[5] > height[11] > height[13] > height[15] > height[FEET + 2]
    for start in (LEFT_HAND, RIGHT_HAND):
        reach = np.abs(points[start : start + 21, 0])
        fingers = reach[1:].reshape(5, 4)
        assert (np.diff(fingers[1:], axis=1) > 0).all()  # from the root to the tip, away from the body
        roots = points[start + 5 : start + 21 : 4, 2]
        assert (np.diff(roots) < 0).all()  # index, middle, ring, little: from the front to the back
    face = points[FACE:LEFT_HAND]
    assert face[:17, 1].argmin() == 8  # the chin
    assert face[30, 2] == face[:, 2].max()  # the tip of the nose
    assert face[19, 1] > face[37, 1] > face[33, 1] > face[51, 1] > face[57, 1] > face[8, 1]
    assert (np.diff(face[:17, 0]) > 0).all()  # the person's right first


def test_openpose_points_are_the_same_points():
    points = np.random.default_rng(0).random((133, 3)) + 0.1
    points[5] = 0  # the left shoulder was not found
    openpose = openpose_from_wholebody(points)
    assert np.array_equal(openpose[[0, 4, 7, 10, 13, 24]], points[[0, 10, 9, 14, 13, 22]])
    assert np.array_equal(openpose[8, :2], points[11:13, :2].mean(axis=0))
    assert openpose[8, 2] == points[11:13, 2].min()
    assert np.array_equal(openpose[1], np.zeros(3))


@pytest.mark.parametrize("behind", [False, True])
def test_a_face_is_hidden_from_behind(behind):
    view, _ = make(NAMES[0], 0, posture="t-pose", shift=(30.0, 0, 0))
    turn = np.diag([1.0, -1, -1]) @ rotvec_to_matrix(np.array([0, np.pi * behind, 0]))
    camera = replace(view.scene.camera, rotation=turn, translation=np.array([0, 0, 40.0]))
    view = replace(view, scene=replace(view.scene, camera=camera))
    points = wholebody_points(load_body("open"), view.vertices, view.joints, SETTINGS.face)
    seen = look(view, points, SETTINGS.keypoints.depth_margin)
    assert seen.hidden[FACE:LEFT_HAND].mean() == pytest.approx(float(behind), abs=0.3)
    assert not seen.hidden[5:15].any()  # joints lie inside the limbs; ankles may stand behind toes


def test_what_the_object_covers_is_hidden():
    view, _ = make(NAMES[0], 0, posture="t-pose", shift=(30.0, 0, 0))
    points = wholebody_points(load_body("open"), view.vertices, view.joints, SETTINGS.face)
    open_view = look(view, points, SETTINGS.keypoints.depth_margin)
    covered = look(replace(view, thing=np.ones_like(view.thing)), points, SETTINGS.keypoints.depth_margin)
    x, y, width, height = view.scene.image_box
    inside = ((open_view.pixels >= (x, y)) & (open_view.pixels <= (x + width - 1, y + height - 1))).all(axis=1)
    assert covered.hidden[inside].all()
    assert inside.sum() > 100


def test_points_out_of_the_frame_are_unsure():
    view, template = make("tennis", 2)
    cut = replace(view.scene, frame_size=(640, 240))
    height = cut.image_box[3]
    view = replace(view, scene=cut, image=view.image[:height], person=view.person[:height], thing=view.thing[:height])
    exact, noisy = (run(view, template, settings=s).wholebody_keypoints for s in (SETTINGS.noiseless(), SETTINGS))
    outside = exact[:, 1] > 239.5
    assert outside.any()
    assert exact[outside, 2].max() < exact[~outside, 2].min()
    assert np.median(noisy[outside, 2]) < np.median(noisy[~outside, 2])
    assert max(run(view, template).person_box[[1, 3]]) <= 239


def test_keypoint_errors_grow_with_their_setting():
    view, template = make("tennis", 6)
    exact = run(view, template, settings=SETTINGS.noiseless()).wholebody_keypoints
    medians = []
    for factor in (0.0, 1.0, 3.0):
        k = SETTINGS.keypoints
        scaled = {name: factor * getattr(k, name) for name in ("body", "foot", "face", "hand", "clump")}
        noise = replace(SETTINGS, keypoints=replace(k, **scaled, lost_point=0.0, lost_clump=0.0))
        found = run(view, template, settings=noise).wholebody_keypoints
        medians.append(np.median(np.linalg.norm((found - exact)[:, :2], axis=1)))
    assert medians[0] < 1e-9
    assert medians[2] == pytest.approx(3 * medians[1])


def test_lost_hands_are_lost_whole():
    view, template = make("tennis", 6)
    lossy = replace(SETTINGS, keypoints=replace(SETTINGS.keypoints, lost_point=0.0, lost_clump=0.5))
    rows = [run(view, template, seed, lossy).wholebody_keypoints for seed in range(8)]
    lost = np.array([row[LEFT_HAND:RIGHT_HAND, 2] == 0 for row in rows])
    assert (lost.all(axis=1) == lost.any(axis=1)).all()
    assert 0 < lost[:, 0].sum() < 8
    assert all((row[row[:, 2] == 0] == 0).all() for row in rows)


# ------------------------------------------------------------------------------------------------ masks


def disc(size=64, radius=20):
    rows, columns = np.ogrid[:size, :size]
    return (rows - size / 2) ** 2 + (columns - size / 2) ** 2 <= radius**2


def test_masks_differ_more_with_more_noise_and_only_near_the_border():
    mask, distance = disc(), signed_distance(disc())
    changed = []
    for amplitude in (0.0, 0.7, 1.5, 4.0):
        noise = replace(SETTINGS.masks, amplitude=amplitude, flecks=0.0)
        different = ragged(mask, 1.0, generator("mask"), noise) ^ mask
        assert (np.abs(distance[different]) < 4 * amplitude + 1e-9).all()
        changed.append(int(different.sum()))
    assert changed[0] == 0
    assert changed == sorted(changed)
    assert changed[1] > 0


def test_signed_distance_against_all_pairs():
    mask = np.random.default_rng(0).random((9, 12)) < 0.6
    places = np.argwhere(np.ones_like(mask)).reshape(*mask.shape, 2)
    slow = np.zeros(mask.shape)
    for index in np.ndindex(mask.shape):
        others = places[mask != mask[index]]
        nearest = np.linalg.norm(others - index, axis=1).min()
        slow[index] = nearest - 0.5 if mask[index] else 0.5 - nearest
    assert np.allclose(signed_distance(mask), slow, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_a_mask_never_vanishes(seed):
    single = np.zeros((30, 30), bool)
    single[3, 28] = True
    wild = replace(SETTINGS.masks, amplitude=20.0, flecks=20.0)
    assert ragged(single, 1.0, generator(seed), wild).any()
    assert not ragged(np.zeros((30, 30), bool), 1.0, generator(seed), wild).any()
    assert ragged(np.ones((30, 30), bool), 1.0, generator(seed), wild).any()


def test_boxes_are_those_of_the_noisy_masks():
    view, template = make("tennis", 8)
    sample = run(view, template)
    for mask, box, corners in (
        (sample.person_mask, sample.person_mask_box, sample.person_box),
        (sample.object_mask, sample.object_mask_box, sample.object_box),
    ):
        assert mask.shape == box[:1:-1]
        assert mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any()
        assert np.array_equal(corners, [box[0], box[1], box[0] + box[2] - 1, box[1] + box[3] - 1])
    whole = np.zeros((50, 60), bool)
    whole[4:9, 7:20] = True
    assert boxed_in_frame(whole, (100, 200)).box == (107, 204, 13, 5)


# ------------------------------------------------------------------------------------------------ correspondences


def test_fields_are_smooth_and_of_unit_variance():
    rng = generator("field")
    fields = np.stack([smooth_field((60, 90), (3, 3), 3, rng) for _ in range(100)])
    assert fields.shape == (100, 60, 90, 3)
    assert 0.6 < fields.std() < 1.0
    assert np.abs(np.diff(fields, axis=1)).max() < 0.5
    borders, middles = fields[:, [0, -1]].std(), fields[:, 29:31].std()
    assert borders == pytest.approx(middles, rel=0.3)
    assert smooth_field((1, 1), (3, 3), 3, generator("field")).shape == (1, 1, 3)


def test_correspondence_errors_grow_with_their_settings():
    scene, *_ = make_scene("cello", 2)
    template = load_template(SHIPPED / "cello")
    exact, extents = render_map(scene, template, SETTINGS.grid), np.ptp(template.vertices, axis=0)
    quiet = replace(SETTINGS.correspondences, bias=0.0, cell=0.0, outliers=0.0, border=0.0)
    step = quiet.rounding
    still = disturb_map(exact, extents, generator("map"), quiet)
    assert np.abs(still.points - exact.points).max() <= step / 2 + 1e-12
    assert np.array_equal(still.filled, exact.filled)
    medians = []
    for factor in (1.0, 2.0, 4.0):
        noise = replace(quiet, bias=factor * 0.02, cell=factor * 0.01)
        found = disturb_map(exact, extents, generator("map"), noise)
        medians.append(np.median(np.linalg.norm(found.points - exact.points, axis=-1)[exact.filled]))
    assert np.allclose(np.divide(medians, medians[0]), [1, 2, 4], rtol=0.05)


def test_noisy_maps_are_rounded_lose_their_outline_and_hold_outliers():
    scene, *_ = make_scene("cello", 2)
    template = load_template(SHIPPED / "cello")
    exact, extents = render_map(scene, template, SETTINGS.grid), np.ptp(template.vertices, axis=0)
    lossy = replace(SETTINGS.correspondences, border=1.0, outliers=0.0)
    found = disturb_map(exact, extents, generator("map"), lossy)
    steps = found.points / lossy.rounding
    assert np.array_equal(steps, np.rint(steps))
    assert not (found.filled & ~exact.filled).any()
    lost = exact.filled & ~found.filled
    wide = np.pad(exact.filled, 1)
    neighbours = wide[:-2, 1:-1].astype(int) + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    assert np.array_equal(lost, exact.filled & (neighbours < 4))
    strayed = replace(SETTINGS.correspondences, bias=0.0, cell=0.0, border=0.0, outliers=0.2)
    far = np.abs(disturb_map(exact, extents, generator("map"), strayed).points - exact.points).max(axis=-1) > 1e-3
    assert 0.1 < far[exact.filled].mean() < 0.25


# ------------------------------------------------------------------------------------------------ object pose


@pytest.mark.parametrize("name", NAMES)
def test_exact_maps_give_the_exact_pose(name):
    scene, *_ = make_scene(name, 4, spread=0.0)
    template, truth, camera = load_template(SHIPPED / name), scene.object_pose, scene.camera
    found = render_map(scene, template, SETTINGS.grid)
    placed = solve_pose(found, template, camera, generator("pose"), SETTINGS.pose)
    centre = camera.rotation @ truth.translation + camera.translation
    assert np.abs(placed.translation - centre)[:2].max() < 1e-3
    assert abs(placed.translation - centre)[2] < 0.02
    assert np.degrees(geodesic_angle(placed.rotation, camera.rotation @ truth.rotation)) < 0.05
    if truth.angle is not None:
        assert placed.angle == pytest.approx(truth.angle, abs=1e-3)


def test_an_unknown_scale_becomes_depth():
    scene, *_ = make_scene("violin", 4, spread=0.0)
    template, camera = load_template(SHIPPED / "violin"), scene.camera
    depths = []
    for scale in (1.0, 1.1):
        larger = replace(scene, object_pose=replace(scene.object_pose, scale=scale))
        found = render_map(larger, template, SETTINGS.grid)
        depths.append(solve_pose(found, template, camera, generator("pose"), SETTINGS.pose).translation[2])
    assert depths[1] == pytest.approx(depths[0] / 1.1, rel=0.01)


def test_too_few_cells_have_no_pose():
    scene, *_ = make_scene("tennis", 4)
    template = load_template(SHIPPED / "tennis")
    found = render_map(scene, template, SETTINGS.grid)
    few = np.zeros_like(found.points)
    rows, columns = np.nonzero(found.filled)
    for count in (1, SETTINGS.pose.fewest_cells - 1):
        few[rows[:count], columns[:count]] = found.points[rows[:count], columns[:count]]
        poor = CorrespondenceMap(few, found.box)
        assert solve_pose(poor, template, scene.camera, generator("pose"), SETTINGS.pose) is None


def test_points_on_a_line_or_one_point_many_times_do_no_harm():
    template, camera = load_template(SHIPPED / "tennis"), make_scene("tennis", 4)[0].camera
    line = np.zeros((4, 20, 3))
    line[0, :, 1] = np.linspace(-0.3, 0.3, 20)
    same = np.full((4, 20, 3), 0.01)
    for points in (line, same):
        placed = solve_pose(
            CorrespondenceMap(points, (300, 200, 20, 4)), template, camera, generator("pose"), SETTINGS.pose
        )
        assert placed is None or np.isfinite(placed.translation).all()


# ------------------------------------------------------------------------------------------------ body


def test_the_slopes_of_the_tuning_are_those_of_small_steps():
    scene, *_ = make_scene(NAMES[0], 2)
    body, human, camera = load_body("open"), scene.human, scene.camera
    anchors = tuning._anchors(human, body, keypoint_index(body, SETTINGS.face)[list(tuning.TUNED)])
    posed = tuning._pose(human, body, anchors)
    slope = tuning._jacobian(posed, in_camera(posed.points, camera), camera, anchors)
    for unknown in (0, 10, 37, 44, 62, 63, 65, 66, 68):
        seen = []
        for size in (-1e-5, 1e-5):
            step = np.zeros(69)
            step[unknown] = size
            moved_human, moved_camera = tuning._moved(human, camera, posed, step, body)
            seen.append(see(tuning._pose(moved_human, body, anchors).points, moved_camera))
        assert np.allclose(slope[..., unknown], (seen[1] - seen[0]) / 2e-5, rtol=1e-4, atol=1e-4)


def test_anchored_points_are_those_of_the_surface():
    scene, vertices, joints = make_scene(NAMES[0], 2)
    body = load_body("open")
    index = keypoint_index(body, SETTINGS.face)[list(tuning.TUNED)]
    anchors = tuning._anchors(scene.human, body, index)
    points = tuning._pose(scene.human, body, anchors).points
    assert np.abs(points - np.concatenate([joints, vertices])[index]).max() < 5e-3


def test_tuning_meets_exact_keypoints():
    scene, vertices, joints = make_scene(NAMES[0], 5)
    body, rng = load_body("open"), generator("tuning")
    points = see(wholebody_points(body, vertices, joints, SETTINGS.face), scene.camera)
    human = disturb_human(scene.human, body, rng, SETTINGS.body)
    camera = disturb_camera(scene.camera, rng, SETTINGS.body)
    found = np.column_stack([points, np.ones(133)])
    before = see(body.joints(*body_parameters([human], body))[0, :22].numpy(), camera)
    tuned, tuned_camera = tuning.tune(human, camera, found, 1.0, body, SETTINGS.face, SETTINGS.tuning)
    after = see(body.joints(*body_parameters([tuned], body))[0, :22].numpy(), tuned_camera)
    limbs, truth = [4, 5, 7, 8, 18, 19, 20, 21], see(joints[:22], scene.camera)
    assert np.linalg.norm((after - truth)[limbs], axis=1).max() < 2.5
    assert (
        np.linalg.norm((after - truth)[limbs], axis=1).mean() < np.linalg.norm((before - truth)[limbs], axis=1).mean()
    )


def test_no_error_leaves_the_body_alone():
    scene, *_ = make_scene(NAMES[0], 5)
    still = replace(SETTINGS.body, **dict.fromkeys(vars(SETTINGS.body), 0.0))
    human = disturb_human(scene.human, load_body("open"), generator("body"), still)
    assert np.allclose(human.body_pose, scene.human.body_pose, rtol=0, atol=1e-6)
    assert np.array_equal(human.betas, scene.human.betas)


# ------------------------------------------------------------------------------------------------ rows


def flat(sample):
    values = {**vars(sample), **{f"{part}.{k}": v for part in ("human", "camera", "object_pose")
              for k, v in vars(getattr(sample, part)).items()}}  # fmt: skip
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray | tuple)}


def test_same_generator_same_row():
    view, template = make("bicycle", 1)
    first, again, other = (flat(run(view, template, seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["wholebody_keypoints"], other["wholebody_keypoints"])
    assert not np.array_equal(first["object_pose.rotation"], other["object_pose.rotation"])


def test_noise_of_one_thing_moves_no_other():
    view, template = make("tennis", 1)
    smooth = replace(SETTINGS, masks=replace(SETTINGS.masks, flecks=0.0, amplitude=0.0))
    plain, changed = flat(run(view, template)), flat(run(view, template, settings=smooth))
    moved = {name for name in plain if not np.array_equal(plain[name], changed[name])}
    assert moved
    assert all("mask" in name or name in ("person_box", "object_box") for name in moved)


def test_errors_are_as_large_as_in_the_wild():
    reprojection, wrists, rotations, translations = [], [], [], []
    for number, name in enumerate(3 * ROTATED):
        view, template = make(name, 20 + number)
        sample, scene = run(view, template), view.scene
        error = sample.body_keypoints - see(view.joints[:22], scene.camera)
        reprojection += (np.linalg.norm(error, axis=1) / view.unit).tolist()
        joints = load_body("open").joints(*body_parameters([sample.human], load_body("open")))[0].numpy()
        wrists += np.linalg.norm((joints - view.joints)[20:22], axis=1).tolist()
        relative = scene.object_pose.rotation.T @ sample.object_pose.rotation
        nearest = template.symmetry().nearest(relative)
        rotations.append(np.degrees(geodesic_angle(relative, nearest)))
        moved = object_points(template, sample.object_pose) - object_points(template, scene.object_pose)
        translations.append(np.linalg.norm(moved.mean(axis=0)))
    assert 0.7 < np.median(reprojection) < 3
    assert 0.02 < np.median(wrists) < 0.06
    assert 2 < np.median(rotations) < 14
    assert 0.5 < np.median(translations) < 9


def test_an_object_out_of_the_frame_is_not_found():
    view, template = make("tennis", 3, shift=(30.0, 0.0, 0.0))
    for settings in (SETTINGS, SETTINGS.noiseless()):
        sample = run(view, template, settings=settings)
        assert sample.object_mask is None
        assert sample.object_box is None
        assert sample.object_correspondences is None
        assert sample.object_correspondences_box is None
    sample = run(view, template)
    assert sample.object_pose is None
    assert not sample.object_pose_success
    assert np.isnan(sample.object_keypoints).all()


def test_an_object_that_is_hidden_keeps_its_correspondences():
    view, template = make("tennis", 3)
    sample = run(replace(view, thing=np.zeros_like(view.thing)), template)
    assert sample.object_mask is None
    assert sample.object_correspondences is not None
    assert sample.object_pose_success


def test_a_speck_of_an_object_is_a_map_of_few_cells():
    scene, vertices, joints = make_scene("basketball", 3)
    speck = replace(scene, object_pose=replace(scene.object_pose, scale=0.06))
    sample = run(make_view(speck, vertices, joints), load_template(SHIPPED / "basketball"))
    if sample.object_correspondences is not None:
        assert sample.object_correspondences.shape[0] <= 4
        assert (sample.object_correspondences != 0).any()
    assert sample.object_pose_success == (sample.object_pose is not None)


def test_settings_that_are_damaged_say_so(tmp_path):
    path = tmp_path / "detector.toml"
    for text in ("grid = 64", "grid = [", "grid = 64\n[keypoints]\nbody = 1.0"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"detector\.toml"):
            load_settings(path)
        load_settings.cache_clear()
