"""Rows of the open set without noise: pictures, detections and truth say the same, as independent code sees it."""

from dataclasses import replace

import igl
import numpy as np
import pytest
from rendering_scenes import embree
from scipy.stats import ks_2samp

from submissions import unchecked
from wildhoi.body import load_body, pose_person
from wildhoi.convert.pipeline import run_conversion
from wildhoi.dataset import load_annotations, load_samples
from wildhoi.dataset.layouts import load_layouts
from wildhoi.open_scenes import assembling
from wildhoi.open_scenes.assembling import make_sample, make_views
from wildhoi.open_scenes.cameras import FAR_FOCAL, draw_camera, load_camera_settings
from wildhoi.open_scenes.detector.settings import load_settings
from wildhoi.open_scenes.making import draw_role, make_scenes
from wildhoi.open_scenes.plan import Request, plan_open
from wildhoi.open_scenes.randomness import generator
from wildhoi.open_scenes.scene_files import read_scenes, write_scenes
from wildhoi.templates import SHIPPED, load_template

OBJECTS = ("bicycle", "tennis")  # with a joint, and without
SEED, SIZE, TRAIN, TEST, LAYOUTS = 91, 256, 4, 2, 3
STORED = 1e-3
"""Pixels: a place of 40 m at a focal length of 5000 is stored in float32."""
CROP, CROP_FOCAL = 256, 5000.0
COCO_JOINTS = {  # of COCO's 17 keypoints, the joints of SMPL-X
    5: 16, 6: 17, 7: 18, 8: 19, 9: 20, 10: 21, 11: 1, 12: 2, 13: 4, 14: 5, 15: 7, 16: 8,
}  # fmt: skip


def see(points, camera):
    """The pinhole camera, written out."""
    x, y, z = camera.rotation @ points.T + camera.translation[:, None]
    (fx, fy), (cx, cy) = camera.focal, camera.principal_point
    return np.stack([fx * x / z + cx, fy * y / z + cy], 1)


def surfaces(row):
    """Vertices and joints of the true person and vertices of the true object, SMPL frame."""
    human, joints = pose_person(row.human, load_body("open"))
    return human, joints, load_template(SHIPPED / row.object).posed(row.object_pose, articulate=True)


def keypoints(thing, name):
    return np.array([thing[index].mean(0) for index in load_template(SHIPPED / name).keypoint_vertices.values()])


def cast(points, faces, camera, corner, size):
    """Faces and depths of a part of the frame by rays of another renderer."""
    vertices = points @ camera.rotation.T + camera.translation
    across, up = camera.focal
    vertices = vertices * (1, up / across, 1)  # its pixels are square
    return embree(vertices, faces, across, camera.principal_point - corner, size)


def near_border(mask, reach=1):
    """Pixels within reach of a border of the mask."""
    wide = np.pad(mask, reach, mode="edge")
    h, w = mask.shape
    shifted = [wide[y : y + h, x : x + w] for y in range(2 * reach + 1) for x in range(2 * reach + 1)]
    return np.any(shifted, axis=0) & ~np.all(shifted, axis=0)


def noiseless_set(out):
    """A data set of far cameras without noise, through the files as a user gets them."""
    with pytest.MonkeyPatch.context() as patch, unchecked():
        patch.setattr(assembling, "load_settings", lambda: load_settings().noiseless())
        patch.setitem(load_camera_settings().lens, "near", 0.0)
        request = Request(OBJECTS, train=TRAIN, test=TEST, seed=SEED, layouts=LAYOUTS, size=SIZE)
        run_conversion(plan_open(request, out), out)
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        datasets.disable_progress_bars()
        yield noiseless_set(tmp_path_factory.mktemp("exact") / "out")


@pytest.fixture(scope="module")
def rows(made):
    """Inputs and truth of every image."""
    found = []
    for split in ("train", "test"):
        truth = {row.image_id: row for row in load_annotations(made, split)}
        found += [(sample, truth[sample.image_id]) for sample in load_samples(made, split)]
    assert len(found) == len(OBJECTS) * (TRAIN + TEST)
    return found


def scenes_through_lenses(name, count, tmp_path, near):
    """Solved scenes of real or far lenses only, as their file gives them back."""
    template = load_template(SHIPPED / name)
    with pytest.MonkeyPatch.context() as patch, unchecked():
        patch.setitem(load_camera_settings().lens, "near", near)
        roles = [draw_role(f"{name}-lens-{i}", SEED, template, ()) for i in range(count)]
        made = make_scenes(roles, template, load_body("open"))
    write_scenes(tmp_path / "scenes.parquet", made.scenes, made.redrawn)
    return read_scenes(tmp_path / "scenes.parquet").scenes


# --- detections and truth -------------------------------------------------------------------------------------------


def test_estimates_are_the_truth(rows):
    for sample, truth in rows:
        for part in ("human", "object_pose", "camera"):
            estimate, exact = vars(getattr(sample, part)), vars(getattr(truth, part))
            for name, value in exact.items():
                assert (estimate[name] is None) == (value is None)
                assert value is None or np.allclose(estimate[name], value, rtol=0, atol=1e-6)
        assert np.allclose(sample.focal, FAR_FOCAL * sample.body_box[3], rtol=1e-6, atol=0)
        assert np.allclose(sample.principal_point, sample.body_box[:2] + sample.body_box[2:] / 2, rtol=0, atol=STORED)
        assert sample.object_pose_success


def test_keypoints_are_projections_of_the_truth(rows):
    for sample, truth in rows:
        human, joints, thing = surfaces(truth)
        pixels = see(joints, truth.camera)
        assert np.abs(sample.body_keypoints - pixels[:22]).max() < STORED
        assert np.abs(sample.object_keypoints - see(keypoints(thing, truth.object), truth.camera)).max() < STORED
        for point, joint in COCO_JOINTS.items():
            assert np.abs(sample.wholebody_keypoints[point, :2] - pixels[joint]).max() < STORED
        candidates = np.concatenate([pixels, see(human, truth.camera)])  # each of the 133 is a joint or a vertex
        apart = np.abs(sample.wholebody_keypoints[:, None, :2] - candidates).max(2).min(1)
        assert apart.max() < STORED and (sample.wholebody_keypoints[:, 2] > 0).all()
        assert np.abs(sample.openpose_keypoints[4, :2] - pixels[21]).max() < STORED  # the right wrist
        assert np.abs(sample.openpose_keypoints[8, :2] - (pixels[1] + pixels[2]) / 2).max() < STORED  # between the hips


def test_masks_are_the_silhouettes_of_another_renderer(rows):
    for sample, truth in rows:
        left, top, width, height = sample.image_box
        human, _, thing = surfaces(truth)
        template = load_template(SHIPPED / truth.object)
        meshes = ((human, load_body("open").faces), (thing, template.faces))
        depths = [cast(*mesh, truth.camera, (left, top), (height, width))[1] for mesh in meshes]
        person = (depths[0] <= depths[1]) & np.isfinite(depths[0])
        shown = (depths[1] < depths[0]) & np.isfinite(depths[1])
        for name, wanted in (("person", person), ("object", shown)):
            x, y, across, up = getattr(sample, f"{name}_mask_box")
            found = np.zeros((height, width), bool)
            found[y - top : y - top + up, x - left : x - left + across] = getattr(sample, f"{name}_mask")
            # where the two meet within a centimetre the two renderers may differ by the rounding of a depth of 40 m
            with np.errstate(invalid="ignore"):
                touching = np.abs(depths[0] - depths[1]) < 1e-4
            inner = ~(near_border(wanted) | touching)
            assert np.array_equal(found[inner], wanted[inner]), (sample.image_id, name)
            assert (found ^ wanted).sum() <= 0.02 * near_border(wanted).sum() + 2
            assert np.array_equal(getattr(sample, f"{name}_box"), [x, y, x + across - 1, y + up - 1])


def test_the_visible_share_is_that_of_the_masks(rows):
    for sample, truth in rows:
        thing = surfaces(truth)[2]
        margin = 2 * SIZE  # the window holds the whole object; the frame may not
        corner = np.array(sample.image_box[:2]) - margin // 2
        faces = load_template(SHIPPED / truth.object).faces
        whole = cast(thing, faces, truth.camera, corner, (SIZE + margin, SIZE + margin))[0] >= 0
        assert truth.visible == pytest.approx(sample.object_mask.sum() / whole.sum(), rel=5e-3, abs=2e-3)


def on_template(points, template):
    """Corners and weights of the faces that points of the template lie on."""
    surface, faces = np.ascontiguousarray(template.vertices), np.asarray(template.faces, np.int64)
    distance, face, nearest = igl.point_mesh_squared_distance(points, surface, faces)[:3]
    assert np.sqrt(distance).max() < 1e-6
    corners = faces[face]
    systems = np.concatenate([np.swapaxes(surface[corners], 1, 2), np.ones((len(points), 1, 3))], 1)
    goals = np.concatenate([nearest, np.ones((len(points), 1))], 1)
    return corners, np.einsum("nij,nj->ni", np.linalg.pinv(systems), goals)


def test_correspondences_lead_back_to_their_cells(rows):
    """Each is a place of the template that lies, the template placed and turned, where the cell looks."""
    for sample, truth in rows:
        template, pose = load_template(SHIPPED / truth.object), truth.object_pose
        points, (x, y, width, height) = sample.object_correspondences, sample.object_correspondences_box
        (up, across), filled = points.shape[:2], (points != 0).any(2)
        lines, columns = np.nonzero(filled)
        cells = np.stack([x + columns * width / across, y + lines * height / up], 1)
        corners, weights = on_template(points[filled], template)
        posed = template.posed(pose, articulate=True)
        placed = (weights[..., None] * posed[corners]).sum(1)
        assert np.abs(see(placed, truth.camera) - cells).max() < 5 * STORED, sample.image_id
        # it is the nearest surface there, and every cell that shows the object has one
        scale = np.array([across / width, up / height])
        principal_point = (truth.camera.principal_point - (x, y)) * scale
        grid = replace(truth.camera, focal=truth.camera.focal * scale, principal_point=principal_point)
        hit, depth = cast(posed, template.faces, grid, (0, 0), (up, across))
        inner = ~near_border(hit >= 0)
        assert np.array_equal(filled[inner], (hit >= 0)[inner])
        own = (placed @ truth.camera.rotation.T + truth.camera.translation)[:, 2]
        behind = np.abs(own - depth[filled])[inner[filled]]
        assert np.quantile(behind, 0.99) < 1e-3 and np.median(behind) < 1e-4


def covered(pixels, screen, faces):
    """Which pixels lie in any triangle, edges included: every triangle at every pixel."""
    a, b, c = (screen[faces[:, k]] for k in range(3))

    def side(p, q, x):
        return (q[:, 0] - p[:, 0]) * (x[1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (x[0] - p[:, 0])

    def hit(x):
        sides = np.stack([side(a, b, x), side(b, c, x), side(c, a, x)])
        return bool(((sides >= 0).all(0) | (sides <= 0).all(0)).any())

    return np.array([hit(x) for x in pixels], bool)


@pytest.mark.parametrize("number", [0, TRAIN])
def test_occlusion_flags_are_those_of_every_vertex_by_itself(rows, number):
    """The crop of focal 5000, in which an image is annotated; vertices that fall on a pixel both silhouettes cover."""
    sample, truth = rows[number]
    human, _, thing = surfaces(truth)
    crop = replace(truth.camera, focal=np.full(2, CROP_FOCAL), principal_point=np.full(2, CROP / 2))
    template = load_template(SHIPPED / truth.object)
    screens = [see(human, crop), see(thing, crop)]
    low, high = (np.array([f(s, 0) for s in screens]) for f in (np.min, np.max))
    low, high = low.max(0) - 1, high.min(0) + 1
    for flags, screen in zip((sample.human_occlusion, sample.object_occlusion), screens, strict=True):
        assert len(flags) == len(screen)
        places = np.floor(screen + 0.5)
        near = ((places >= low) & (places <= high) & (places >= 0) & (places < CROP)).all(1)
        assert not np.asarray(flags)[~near].any()
        pixels, which = np.unique(places[near], axis=0, return_inverse=True)
        both = covered(pixels, screens[1], template.faces)
        both[both] = covered(pixels[both], screens[0], load_body("open").faces)
        wrong = np.asarray(flags)[near] != both[which.ravel()]
        assert wrong.sum() <= 1e-3 * len(flags), wrong.sum()  # rounding of a pixel on an edge


# --- real lenses ----------------------------------------------------------------------------------------------------


def test_a_real_lens_is_annotated_as_a_far_one_that_meets_the_joints(tmp_path):
    """Detections are of the camera that took the picture, estimates of the one it is annotated with."""
    body, settings = load_body("open"), load_settings().noiseless()
    for scene in scenes_through_lenses("tennis", 5, tmp_path, near=1.0):
        human, joints, thing = surfaces(scene)
        sample, unit = make_sample(scene, SEED, body, settings), scene.body_box[3] / 256
        taken, annotated = see(joints[:22], scene.camera), see(joints[:22], scene.annotated)
        assert np.abs(sample.wholebody_keypoints[[9, 10], :2] - taken[20:22]).max() < 1e-9
        assert np.abs(sample.body_keypoints - annotated).max() < 1e-9
        assert np.sqrt(((taken - annotated) ** 2).sum(1).mean()) < 6 * unit
        assert scene.annotated.translation[2] > 1.3 * scene.camera.translation[2]
        assert scene.annotated.focal == pytest.approx(FAR_FOCAL * scene.body_box[3], rel=1e-6)
        assert np.abs(sample.object_keypoints - see(keypoints(thing, "tennis"), scene.annotated)).max() < 1e-9
        left, top, width, height = scene.image_box
        shown = cast(human, body.faces, scene.camera, (left, top), (height, width))[0] >= 0
        x, y, across, up = sample.person_mask_box
        found = np.zeros((height, width), bool)
        found[y - top : y - top + up, x - left : x - left + across] = sample.person_mask
        assert not (found & ~shown & ~near_border(shown)).any()


@pytest.mark.parametrize("size", [64, 200, 512])
def test_another_size_shows_the_same(tmp_path, size):
    [scene] = scenes_through_lenses("tennis", 1, tmp_path, near=0.0)
    resized, factor = scene.resized(size), size / SIZE
    joints = surfaces(scene)[1]
    before = (see(joints, scene.camera) - scene.window[:2] + 0.5) * factor - 0.5
    after = see(joints, resized.camera) - resized.window[:2]
    assert np.abs(before - after).max() < 1e-9 and resized.window[2] == size
    samples = [make_sample(s, SEED, load_body("open"), load_settings().noiseless()) for s in (scene, resized)]
    shares = [sample.object_mask.sum() / side**2 for sample, side in zip(samples, (SIZE, size), strict=True)]
    assert shares[0] == pytest.approx(shares[1], rel=0.15)
    assert resized.annotated.focal == pytest.approx(FAR_FOCAL * resized.body_box[3], rel=1e-6)


# --- further views --------------------------------------------------------------------------------------------------


def test_layouts_are_exact_projections_of_the_truth(made):
    truth = {row.scene_id: row for row in load_annotations(made, "train")}
    views = load_layouts(made)
    assert len(views) == len(truth) * LAYOUTS
    assert {(view.scene_id, view.view) for view in views} == {(name, k) for name in truth for k in range(LAYOUTS)}
    for view in views:
        row = truth[view.scene_id]
        _, joints, thing = surfaces(row)
        assert view.object == row.object
        assert np.abs(view.body_keypoints - see(joints[:22], view.camera)).max() < STORED
        assert np.abs(view.object_keypoints - see(keypoints(thing, row.object), view.camera)).max() < STORED
        assert np.abs(view.camera.rotation - row.camera.rotation).max() > 1e-3  # another view


def test_layouts_are_seen_from_where_pictures_are_taken(tmp_path):
    """Azimuth, elevation, roll, distance and focal length, of one scene, by the two ways of drawing a far camera."""
    [scene] = scenes_through_lenses("tennis", 1, tmp_path, near=0.0)
    human, joints, thing = surfaces(scene)

    def place(camera):
        world = camera.rotation @ scene.upright.T  # world to camera
        back = -world.T @ camera.translation
        azimuth, elevation = np.arctan2(back[0], back[2]), np.arcsin(back[1] / np.linalg.norm(back))
        up = world @ [0, 1, 0]
        return azimuth, elevation, np.arctan2(up[0], -up[1]), camera.translation[2], camera.focal[0]

    with pytest.MonkeyPatch.context() as patch, unchecked():
        patch.setitem(load_camera_settings().lens, "near", 0.0)
        pictures = [draw_camera(human, thing, joints[:22], scene.upright, generator(i, "picture")) for i in range(250)]
        views = list(make_views(scene, SEED, 250, load_body("open")))
    taken, further = (np.array([place(seen.camera) for seen in some]) for some in (pictures, views))
    for name, a, b in zip(("azimuth", "elevation", "roll", "depth", "focal"), taken.T, further.T, strict=True):
        assert ks_2samp(a, b).pvalue > 1e-3, name
    assert np.histogram(further[:, 0], 4, (-np.pi, np.pi))[0].min() > 30
    pixels = np.concatenate([np.concatenate([view.body_keypoints, view.object_keypoints]) for view in views])
    assert (pixels > 0).all() and (pixels < load_camera_settings().side).all()


def test_views_of_a_scene_do_not_depend_on_how_many_there_are(tmp_path):
    [scene] = scenes_through_lenses("tennis", 1, tmp_path, near=0.0)
    few, many = (list(make_views(scene, SEED, count, load_body("open"))) for count in (2, 4))
    for one, other in zip(few, many, strict=False):
        assert np.array_equal(one.camera.translation, other.camera.translation)
        assert np.array_equal(one.body_keypoints, other.body_keypoints)


def test_the_picture_does_not_depend_on_noise(tmp_path):
    """Detectors err; what they look at stays."""
    [scene] = scenes_through_lenses("tennis", 1, tmp_path, near=0.0)
    settings = load_settings()
    exact, noisy = (make_sample(scene, SEED, load_body("open"), s) for s in (settings.noiseless(), settings))
    assert np.array_equal(exact.image, noisy.image) and exact.image_box == noisy.image_box
    assert not np.array_equal(exact.person_mask, noisy.person_mask)
