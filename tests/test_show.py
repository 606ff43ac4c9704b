from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from wildhoi.body import load_body
from wildhoi.convert.safe_pickle import load_pickle
from wildhoi.dataset import find_data, load_annotations
from wildhoi.errors import InputError
from wildhoi.geometry import project
from wildhoi.rendering import interpolate, rasterize, shade
from wildhoi.schema import Camera, Human, ObjectPose, Sample
from wildhoi.show import render_image
from wildhoi.show.correspondences import coordinate_colours, correspondences
from wildhoi.show.detections import LEFT, detections
from wildhoi.show.page import write_page
from wildhoi.show.panels import overlay, side
from wildhoi.show.scene import OBJECT, PERSON, bounds, make_meshes
from wildhoi.show.skeletons import OPENPOSE, SMPL, WHOLEBODY
from wildhoi.show.window import window_around
from wildhoi.templates import find_template, load_template


@pytest.fixture(scope="module")
def body():
    return load_body("open")


@pytest.fixture(scope="module")
def annotations():
    return {a.object: a for a in load_annotations(find_data("open-sample"))}


def template_of(name):
    return load_template(find_template(find_data("open-sample").objects, name, shipped=True))


def unpack(part):
    x1, y1, x2, y2 = (int(value) for value in part["mask_box"])
    height, width = part["mask_shape"]
    mask = np.unpackbits(part["mask"])[: height * width].reshape(height, width).astype(bool)
    return mask, (x1, y1, x2 - x1 + 1, y2 - y1 + 1)


def release_sample(raw, name, video, instance, frame):
    """A sample read straight from the raw release's files."""
    root = raw / name

    def row(folder, suffix):
        rows = load_pickle(root / folder / video / f"{instance}_{suffix}.pkl", torch_tensors=True)
        return next(entry for entry in rows if entry["frame_id"] == frame)

    fit, pose = row("smplx_tuned", "smplx"), row("object_pose", "obj_RT")
    masks = load_pickle(root / "hoi_mask" / video / instance / f"{frame}.pkl")
    (person, person_box), (thing, thing_box) = unpack(masks["human"]), unpack(masks["object"])
    picture = np.asarray(Image.open(root / "images_temp" / video / f"{frame}.jpg"))
    corners = np.array([(x, y, x + w - 1, y + h - 1) for x, y, w, h in (person_box, thing_box)], float)
    (x1, y1), (x2, y2) = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    side = 1.2 * max(x2 - x1, y2 - y1)
    left, top = (max(0, round((a + b - side) / 2)) for a, b in ((x1, x2), (y1, y2)))
    crop = picture[top : top + round(side), left : left + round(side)]
    camera = Camera(fit["cam_R"], np.ravel(fit["cam_T"]), np.ravel(fit["focal"]), np.ravel(fit["princpt"]))
    rotation, translation = camera.rotation.T @ pose["rotmat"], np.ravel(pose["trans"]) - camera.translation
    keypoints = load_pickle(root / "hoi_kps" / video / f"{instance}_hoi_kps.pkl")
    index = keypoints["frame_ids"].index(frame)
    used = len(template_of(name).category.keypoints)
    corr = root / "object_annotations" / "corr" / f"{video}_{frame}_{instance}-corr.pkl"
    table = load_pickle(corr) if corr.exists() else None
    return Sample(
        image_id=f"{video}_{instance}_{frame}",
        object=name,
        video_id=video,
        image=crop,
        image_box=(left, top, crop.shape[1], crop.shape[0]),
        frame_size=(picture.shape[1], picture.shape[0]),
        person_box=corners[0],
        object_box=corners[1],
        person_mask=person,
        person_mask_box=person_box,
        object_mask=thing,
        object_mask_box=thing_box,
        wholebody_keypoints=np.asarray(row("wholebody_kps_refined", "wholebody_kps")["keypoints"]),
        human=Human(fit["betas"], fit["body_pose"], fit["left_hand_pose"], fit["right_hand_pose"]),
        camera=camera,
        object_pose=ObjectPose(
            rotation, camera.rotation.T @ translation, 1.0, float(pose["rot_angle"]) if "rot_angle" in pose else None
        ),
        object_pose_success=True,
        body_keypoints=keypoints["smpl_kps_seq"][index],
        object_keypoints=keypoints["object_kps_seq"][index, :used],
        object_correspondences=None if table is None else table["coor"],
        object_correspondences_box=None if table is None else np.array([table[k] for k in ("l", "u", "w", "h")], float),
    )


def made_sample(truth, body):
    """A sample whose picture, masks, map, keypoints and estimate are those of an annotation, rendered."""
    template, camera = template_of(truth.object), truth.camera
    meshes = make_meshes(truth.human, truth.object_pose, template, body)
    x, y, w, h = bounds(meshes.seen(camera))
    crop = left, top, width, height = int(x) - 8, int(y) - 8, 4 * (int(w / 4) + 5), 4 * (int(h / 4) + 5)
    arguments = (
        torch.from_numpy(meshes.vertices @ camera.rotation.T + camera.translation)[None],
        torch.from_numpy(meshes.faces),
        torch.from_numpy(camera.focal)[None],
        torch.from_numpy(camera.principal_point - [left, top])[None],
    )
    raster = rasterize(*arguments, (height, width))
    face = raster.face[0].numpy()
    person, thing = (face >= 0) & (face < len(body.faces)), face >= len(body.faces)
    table = torch.from_numpy(np.concatenate([np.zeros((body.n_vertices, 3)), template.vertices]))
    arrays = (truth.human.betas, truth.human.body_pose, truth.human.left_hand_pose, truth.human.right_hand_pose)
    joints = body.joints(*(torch.from_numpy(array)[None] for array in arrays))[0, :22].numpy()
    keypoints = np.stack(list(template.keypoints.values()))
    places = truth.object_pose.scale * keypoints @ truth.object_pose.rotation.T + truth.object_pose.translation
    seen = [
        project(p @ camera.rotation.T + camera.translation, camera.focal, camera.principal_point)
        for p in (joints, places)
    ]
    wholebody = np.zeros((133, 3))
    wholebody[:17] = np.c_[seen[0][[15, 15, 15, 15, 15, 16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8]], np.full(17, 0.9)]
    return Sample(
        image_id=truth.image_id,
        object=truth.object,
        video_id=truth.video_id,
        image=np.asarray(shade(raster, *arguments[:2])[0].numpy()),
        image_box=crop,
        frame_size=(1280, 720),
        person_box=box_of(person, crop),
        object_box=box_of(thing, crop),
        person_mask=person,
        person_mask_box=crop,
        object_mask=thing,
        object_mask_box=crop,
        wholebody_keypoints=wholebody,
        human=truth.human,
        camera=camera,
        object_pose=truth.object_pose,
        object_pose_success=True,
        body_keypoints=seen[0],
        object_keypoints=seen[1],
        object_correspondences=interpolate(table, arguments[1], raster)[0].numpy() * thing[..., None],
        object_correspondences_box=np.array(crop, float),
    )


def box_of(mask, crop):
    y, x = np.nonzero(mask)
    return np.array([x.min() + crop[0], y.min() + crop[1], x.max() + crop[0], y.max() + crop[1]], float)


@pytest.fixture(scope="module")
def sample(annotations, body):
    return made_sample(annotations["barbell"], body)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Panels of a fraction of the usual area: faster."""
    monkeypatch.setattr("wildhoi.show.window.PANEL_AREA", 160**2)


@pytest.fixture
def draw(body, tmp_path, monkeypatch):
    """Draw, and give the panels by title, the words of the page and the picture."""
    written = []
    monkeypatch.setattr("wildhoi.show.figure.write_page", lambda *page: written.append(page) or write_page(*page))

    def run(sample, annotation, name="barbell", **options):
        out = tmp_path / "deep" / "picture.png"
        render_image(sample, annotation, template_of(name), body, out, **options)
        _, panels, title, subtitle, caption = written[-1]
        with Image.open(out) as picture:
            picture.load()
            assert picture.format == "PNG" and picture.width > 2 * 100
        return {panel.title: panel for panel in panels}, (title, subtitle, caption), picture

    return run


def covered(panel, colour):
    """The pixels of a panel of about a mesh's hue."""
    hue = np.asarray(colour) / np.linalg.norm(colour)
    pixels = panel.pixels.astype(float)
    return (pixels @ hue) / np.maximum(np.linalg.norm(pixels, axis=-1), 1) > 0.985


def centre(where):
    y, x = np.nonzero(where)
    return np.array([x.mean(), y.mean()])


def test_an_annotation_alone_shows_its_meshes_twice(draw, annotations):
    truth = annotations["bicycle"]
    panels, words, _ = draw(None, truth, truth.object, split="test")
    assert list(panels) == ["Truth", "From the side"]
    assert words == (truth.image_id, "bicycle · test", "Meshes: the truth, on the open body.")
    for panel in panels.values():
        for colour in (PERSON, OBJECT):
            assert covered(panel, colour).mean() > 0.02


def test_a_sample_alone_shows_its_estimate(draw, sample):
    panels, (title, subtitle, caption), _ = draw(sample, None)
    assert list(panels) == ["Detections", "Initial estimate", "From the side", "Correspondences"]
    assert (title, subtitle) == (sample.image_id, "barbell")
    assert caption == "Meshes: the initial estimate, on the open body."
    assert len({panel.pixels.shape for panel in panels.values()}) == 1


def test_truth_comes_first_and_the_estimate_on_demand(draw, sample, annotations):
    truth = annotations["barbell"]
    assert "Truth" in draw(sample, truth)[0]
    assert "Initial estimate" in draw(sample, truth, shown="estimate")[0]


def test_meshes_stand_where_the_camera_sees_them(sample, body):
    """The overlay's object is where the template's vertices project to: an independent sum of the frames."""
    window = window_around(sample.image_box)
    meshes = make_meshes(sample.human, sample.object_pose, template_of("barbell"), body)
    panel = overlay("", meshes, sample.camera, None, window)
    vertices = sample.object_pose.rotation @ template_of("barbell").vertices.T + sample.object_pose.translation[:, None]
    x, _, z = sample.camera.rotation @ vertices + sample.camera.translation[:, None]
    focal, principal_point = sample.camera.focal, sample.camera.principal_point
    left, right = np.percentile(x / z * focal[0] + principal_point[0], [0, 100])
    columns = np.nonzero(covered(panel, OBJECT).any(axis=0))[0]
    seen = (columns[[0, -1]] + 0.5) / window.scale + window.x - 0.5
    np.testing.assert_allclose(seen, (left, right), atol=2 / window.scale)


def test_from_the_side_what_is_near_is_on_the_left(body, annotations):
    """The side view looks to the right along the camera's axis: an object nearer than the person is left of him."""
    truth = annotations["barbell"]
    towards = truth.camera.rotation.T @ np.array([0, 0, 1.0])
    towards[1] = 0
    for metres, sign in ((-2.0, -1), (2.0, 1)):
        pose = ObjectPose(truth.object_pose.rotation, metres * towards)
        panel = side(make_meshes(truth.human, pose, template_of("barbell"), body), truth.camera, 1.0)
        assert np.sign((centre(covered(panel, OBJECT)) - centre(covered(panel, PERSON)))[0]) == sign


RELEASED = [  # a frame of the release, and the least share of the side view that each mesh covers: a board is thin
    (("bicycle", "0106", "001", "008719"), 0.02),
    (("skateboard", "0323", "001", "005648"), 0.004),
]


def test_the_raw_release_is_shown(draw, release_dir):
    """A frame of the release, small and low in detail, with everything in it; with a movable part if there is one."""
    frame, share = next(row for row in RELEASED if (release_dir / row[0][0]).is_dir())
    panels, _, _ = draw(release_sample(release_dir, *frame), None, frame[0], split="train")
    assert list(panels) == ["Detections", "Initial estimate", "From the side", "Correspondences"]
    for colour in (PERSON, OBJECT):
        assert covered(panels["From the side"], colour).mean() > share


def test_a_failed_object_leaves_the_body_and_says_so(draw, sample):
    panels, (_, _, caption), _ = draw(replace(sample, object_pose=None, object_pose_success=False), None)
    assert "no pose of the object was found" in caption
    assert not covered(panels["From the side"], OBJECT).any() and covered(panels["From the side"], PERSON).any()


@pytest.mark.parametrize(
    ("absent", "titles"),
    [
        (["human", "camera"], ["Detections", "Correspondences"]),
        (["camera"], ["Detections", "Initial estimate", "From the side", "Correspondences"]),
        (["object_correspondences"], ["Detections", "Initial estimate", "From the side"]),
        (["person_mask", "object_mask", "person_box", "wholebody_keypoints"], None),
        (["wholebody_keypoints", "body_keypoints", "object_keypoints"], None),
        (["image", "image_box"], ["Detections", "Initial estimate", "From the side", "Correspondences"]),
        (["image", "image_box", "person_box", "object_box"], ["Initial estimate", "From the side"]),
    ],
)
def test_whatever_is_there_is_shown(draw, sample, absent, titles):
    panels, _, _ = draw(replace(sample, **dict.fromkeys(absent)), None)
    assert titles is None or list(panels) == titles


def test_the_other_keypoints_are_drawn(draw, sample):
    """BODY_25, and points that are not there."""
    points = np.zeros((25, 3))
    points[:, :2] = sample.body_keypoints[0] + 5 * np.arange(25)[:, None]
    points[3:, 2] = 1
    broken = np.full_like(sample.object_keypoints, np.nan)
    panels, _, _ = draw(
        replace(sample, wholebody_keypoints=None, openpose_keypoints=points, object_keypoints=broken), None
    )
    assert ("left side", LEFT) in panels["Detections"].key
    unsure = replace(sample, wholebody_keypoints=np.zeros((133, 3)), body_keypoints=None)
    assert ("left side", LEFT) not in draw(unsure, None)[0]["Detections"].key


def test_masks_tint_their_own_pixels(sample):
    window = window_around(sample.image_box)
    plain, tinted = (
        detections(s, window).pixels.astype(int) for s in (replace(sample, person_mask=None, object_mask=None), sample)
    )
    changed = (plain != tinted).any(axis=-1)
    for mask, box in ((sample.person_mask, sample.person_mask_box), (sample.object_mask, sample.object_mask_box)):
        rows, columns = np.nonzero(mask)
        x, y = np.floor(window.place(np.c_[columns + box[0], rows + box[1]].astype(float))).astype(int).T
        assert changed[y, x].mean() > 0.97
    assert changed.mean() < 0.5


def test_correspondences_are_coloured_by_the_template_point(sample):
    """On a grid of one cell for four pixels, each way."""
    sample = replace(sample, object_correspondences=sample.object_correspondences[::4, ::4])
    window = window_around(sample.image_box)
    pixels = correspondences(sample, template_of("barbell"), window).pixels
    box, points = sample.object_correspondences_box, sample.object_correspondences
    colours = 255 * coordinate_colours(points, template_of("barbell"))
    rows, columns = np.nonzero((points != 0).any(axis=-1))
    frame = np.c_[box[0] + columns * box[2] / points.shape[1], box[1] + rows * box[3] / points.shape[0]]
    x, y = np.floor(window.place(frame)).astype(int).T
    assert len(x) > 200
    assert (np.abs(pixels[y, x] - colours[rows, columns]).max(axis=1) <= 1).all()


def test_the_skeletons_join_both_sides_alike():
    for skeleton in (SMPL, OPENPOSE, WHOLEBODY):
        count = len(skeleton.exchange)
        lines = [*skeleton.left, *skeleton.middle, *skeleton.right, *skeleton.fine_left, *skeleton.fine_right]
        assert all(0 <= k < count for line in [*lines, *skeleton.fine_middle] for k in line)
        both = {frozenset(line) for line in lines}
        assert {frozenset(skeleton.exchange[k] for k in line) for line in both} == both
        assert not set(skeleton.left) & set(skeleton.right)


def test_the_same_picture_has_the_same_bytes(draw, annotations, tmp_path):
    out = tmp_path / "deep" / "picture.png"
    draw(None, annotations["tennis"], "tennis")
    first = out.read_bytes()
    draw(None, annotations["tennis"], "tennis")
    assert out.read_bytes() == first and sorted(out.parent.iterdir()) == [out]


def test_a_movable_part_is_turned(body, annotations):
    truth = annotations["bicycle"]
    template = template_of("bicycle")
    straight, turned = (
        make_meshes(truth.human, replace(truth.object_pose, angle=angle), template, body).vertices[body.n_vertices :]
        for angle in (0.0, 0.5)
    )
    moved = np.linalg.norm(straight - turned, axis=1) > 1e-9
    assert (
        moved[template.joint_vertices].any()
        and not np.delete(moved, np.arange(*template.joint_vertices.indices(len(moved)))).any()
    )


def test_what_cannot_be_shown_is_said(draw, body, annotations, sample, tmp_path):
    truth = annotations["barbell"]
    bare = Sample("0001_001_000001", "barbell", "0001")
    with pytest.raises(InputError, match="nothing to show"):
        draw(None, None)
    with pytest.raises(InputError, match=f"{sample.image_id}.*no annotation"):
        draw(sample, None, shown="truth")
    with pytest.raises(InputError, match=f"{truth.image_id}.*no sample"):
        draw(None, truth, shown="estimate")
    with pytest.raises(InputError, match="want one image"):
        draw(replace(sample, image_id="0002_001_000002"), truth)
    with pytest.raises(InputError, match="template is of tennis"):
        draw(None, truth, "tennis")
    with pytest.raises(InputError, match="no picture, no detection and no estimate"):
        draw(bare, None)
    assert list(tmp_path.iterdir()) == []


def test_hopeless_estimates_are_still_drawn(draw, sample):
    """An object kilometres away or behind the camera, and a camera inside the person."""
    far = ObjectPose(np.eye(3), np.array([500.0, 0, -3000.0]))
    assert "From the side" in draw(replace(sample, object_pose=far), None)[0]
    inside = replace(sample.camera, translation=np.zeros(3))
    assert "From the side" in draw(replace(sample, camera=inside), None)[0]
