"""Samples of the raw WildHOI fixture: which rows there are, every number of them, crops, geometry, irregularities."""

import json
from collections import Counter

import numpy as np
import pytest
import trimesh
from raw_reader import Raw, image_of, plain, read_rows
from wildhoi_rows import USED_KEYPOINTS, copy_release, load_report, planted, said, same_floats, wanted_train

from submissions import unchecked
from wildhoi.convert.frames import interaction_box
from wildhoi.convert.pipeline import run_conversion
from wildhoi.convert.wildhoi_release import plan_wildhoi
from wildhoi.errors import WildhoiError

FPS = (30, 3)
SKELETON = """-  0 0 0  / 0 .07 -.09 0 / 0 -.07 -.09 0 / 0 0 .11 -.02 / 1 .10 -.47 0 / 2 -.10 -.47 0 / 3 0 .25 0
/ 4 .09 -.88 -.03 / 5 -.09 -.88 -.03 / 6 0 .30 .02 / 7 .12 -.94 .09 / 8 -.12 -.94 .09 / 9 0 .52 -.02
/ 9 .08 .42 -.01 / 9 -.08 .42 -.01 / 12 0 .60 .03 / 13 .19 .44 -.02 / 14 -.19 .44 -.02 / 16 .45 .43 -.04
/ 17 -.45 .43 -.04 / 18 .70 .43 -.04 / 19 -.70 .43 -.04"""
# what is planted in the fixtures: training images left out, rows without a body, and without an object's pose
LEFT_OUT = {"barbell": 3, "skateboard": 2, "bicycle": 2}
NO_BODY = {"barbell": 6, "skateboard": 0, "bicycle": 0}  # all of the short instance
NO_POSE = {"barbell": 8, "skateboard": 1, "bicycle": 1}  # the short instance, and NaN
IRREGULAR = {30: {"barbell": 13, "skateboard": 17, "bicycle": 4}, 3: {"barbell": 4, "skateboard": 3, "bicycle": 1}}
TEMPLATES = {"barbell": ["template.ply"], "skateboard": ["template.ply"], "bicycle": ["front.ply", "back.ply"]}
BODY = {
    "betas": "betas",
    "body_pose": "body_pose",
    "left_hand_pose": "left_hand_pose",
    "right_hand_pose": "right_hand_pose",
    "jaw_pose": "jaw_pose",
    "expression": "expression",
    "body_box": "bbox",
    "camera_rotation": "cam_R",
    "camera_translation": "cam_T",
    "focal": "focal",
    "principal_point": "princpt",
}
TRUTH = {
    "betas": "smplx_betas",
    "body_pose": "smplx_body_pose",
    "left_hand_pose": "smplx_lhand_pose",
    "right_hand_pose": "smplx_rhand_pose",
    "object_rotation": "obj_rel_rotmat",
    "object_translation": "obj_rel_trans",
    "object_scale": "object_scale",
    "camera_rotation": "hoi_rotmat",
    "camera_translation": "hoi_trans",
    "focal": "focal",
    "principal_point": "princpt",
}


@pytest.fixture(scope="module")
def raw(release_dir):
    return Raw(release_dir)


def planted_in(table, raw):
    return sum(table[name] for name in raw.objects())


@pytest.fixture(scope="module")
def converted(raw, tmp_path_factory):
    """The release converted at both frame rates: rate -> folder."""
    folders = {fps: tmp_path_factory.mktemp("converted") / f"fps{fps}" for fps in FPS}
    with unchecked():  # beartype takes several times as long as the conversion
        for fps, out in folders.items():
            run_conversion(plan_wildhoi(raw.root, fps=fps), out)
    return folders


@pytest.fixture(scope="module")
def samples(converted):
    return {fps: read_rows(out, "samples") for fps, out in converted.items()}


def each(samples):
    for rows in samples.values():
        yield from rows.values()


# --- which rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", FPS)
def test_train_rows_are_every_nth_entry_that_shows_an_interaction(raw, converted, fps):
    n_left_out = 0
    for name in raw.objects():
        wanted = wanted_train(raw, name, fps)
        n_left_out += sum(gap is not None for gap in wanted.values())
        rows = read_rows(converted[fps], "samples", "train", name)
        assert raw.videos(name, "train") == sorted(raw.videos(name, "train"))  # so that the order below is one
        assert list(rows) == [image_id for image_id, gap in wanted.items() if gap is None]
        assert {row["video_id"] for row in rows.values()} <= set(raw.videos(name, "train"))
        assert all(row["object"] == name and row["gender"] == "neutral" for row in rows.values())
        assert all(image_id.split("_")[0] == row["video_id"] for image_id, row in rows.items())
    assert n_left_out == (planted_in(LEFT_OUT, raw) if fps == 30 else 0)


@pytest.mark.parametrize("fps", FPS)
def test_test_rows_are_the_annotated_images(raw, converted, fps):
    for name in raw.objects():
        inputs, truth = (read_rows(converted[fps], kind, "test", name) for kind in ("samples", "annotations"))
        assert sorted(inputs) == sorted(truth) == sorted(raw.annotations(name))
        assert {row["video_id"] for row in inputs.values()} <= set(raw.videos(name, "test"))
    assert not list((converted[fps] / "annotations").rglob("train-*"))


def test_types_and_shapes_are_those_annotated_and_checking_them_changes_nothing(raw, converted, tmp_path):
    run_conversion(plan_wildhoi(raw.root, fps=3), tmp_path / "checked")
    assert (tmp_path / "checked/checksums.json").read_bytes() == (converted[3] / "checksums.json").read_bytes()


def test_a_lower_frame_rate_takes_rows_and_changes_none(samples):
    assert set(samples[3]) < set(samples[30])
    for image_id, row in samples[3].items():
        for field, value in row.items():
            np.testing.assert_equal(value, samples[30][image_id][field], err_msg=f"{image_id} {field}")


def test_no_annotated_video_is_trained_on(raw, tmp_path):
    release = copy_release(raw, tmp_path / "raw")
    split = {
        name: {**raw.split[name], "train_videos": [v for key in raw.split[name] for v in raw.split[name][key]]}
        for name in raw.objects()
    }
    (release.root / "train_test_split.json").write_text(json.dumps(split))
    with unchecked():
        run_conversion(plan_wildhoi(release.root), tmp_path / "out")
    for name in raw.objects():
        train, test = (read_rows(tmp_path / "out", "samples", part, name) for part in ("train", "test"))
        assert {i[:4] for i in train} == set(raw.videos(name, "train"))
        assert sorted(test) == sorted(raw.annotations(name))
        notes = json.dumps(load_report(tmp_path / "out")["objects"][name]["notes"])
        assert all(video in notes for video in raw.videos(name, "test"))


def test_inputs_hold_no_truth_and_truth_no_inputs(raw, samples, converted):
    inputs = next(each(samples))
    truth = next(iter(read_rows(converted[3], "annotations").values()))
    assert {"visible", "scene_id"}.isdisjoint(inputs)
    assert not [column for column in truth if "mask" in column or "keypoints" in column or "image" in column][1:]
    for name in raw.objects():
        for image_id, annotation in raw.annotations(name).items():  # estimates, not the annotated values
            pose = samples[30][image_id]["object_rotation"]
            assert pose is None or not same_floats(pose, annotation["obj_rel_rotmat"])


# --- every number -------------------------------------------------------------------------------------------------


def test_boxes_are_those_of_the_tracking(raw, samples):
    for row in each(samples):
        entry = raw.entry(row["object"], row["image_id"])
        assert same_floats(row["person_box"], entry["person_bbox"])
        assert same_floats(row["object_box"], entry["object_bbox"])


def test_masks_are_those_of_the_release_to_the_pixel(raw, samples):
    for row in samples[30].values():
        width, height = row["frame_size"]
        for column, of in (("person", "human"), ("object", "object")):
            x, y, w, h = row[f"{column}_mask_box"]
            ours = np.zeros((height, width), bool)
            ours[y : y + h, x : x + w] = image_of(row[f"{column}_mask"])
            assert np.array_equal(ours, raw.mask(row["object"], row["image_id"], of, (width, height)))


def test_detected_keypoints_are_the_refined_ones(raw, samples):
    refined_differ = False
    for row in each(samples):
        record = raw.track(row["object"], "wholebody_kps_refined", row["image_id"])
        other = raw.track(row["object"], "wholebody_kps", row["image_id"])
        assert record["keypoints"].shape == (133, 3) and same_floats(row["wholebody_keypoints"], record["keypoints"])
        refined_differ |= other is not None and not np.array_equal(record["keypoints"], other["keypoints"])
        assert row["openpose_keypoints"] is None
    assert refined_differ == (raw.files("wholebody_kps") > 0)


def test_bodies_and_cameras_are_the_tuned_ones(raw, samples):
    without = set()
    for row in each(samples):
        record = raw.track(row["object"], "smplx_tuned", row["image_id"])
        for ours, theirs in BODY.items():
            if record is None:
                assert row[ours] is None
                without.add(row["image_id"])
            else:
                assert same_floats(row[ours], plain(record[theirs])), (row["image_id"], ours)
    assert len(without) == planted_in(NO_BODY, raw)


def test_object_poses_brought_back_to_the_camera_are_those_of_the_release(raw, samples):
    absent = set()
    for row in each(samples):
        record = raw.track(row["object"], "object_pose", row["image_id"])
        if record is None or not np.isfinite([*plain(record["rotmat"]).flat, *plain(record["trans"])]).all():
            assert row["object_rotation"] is None and row["object_translation"] is None and row["object_angle"] is None
            assert not row["object_pose_success"]
            absent.add(row["image_id"])
            continue
        camera, shift = row["camera_rotation"].reshape(3, 3), row["camera_translation"]
        rotation, translation = row["object_rotation"].reshape(3, 3), row["object_translation"]
        reach = max(1.0, np.linalg.norm(translation))
        np.testing.assert_allclose(camera @ rotation, plain(record["rotmat"]), atol=5e-7)
        np.testing.assert_allclose(
            camera @ translation + shift, plain(record["trans"]), atol=3e-7 * reach + np.spacing(np.float32(64))
        )
        assert row["object_scale"] == 1.0
        assert row["object_pose_success"] == bool(plain(record["success"]))
        angle = record.get("rot_angle")
        assert row["object_angle"] is None if angle is None else same_floats(row["object_angle"], plain(angle))
    assert len(absent) == planted_in(NO_POSE, raw)


def test_projected_keypoints_are_those_of_the_release(raw, samples):
    for row in each(samples):
        record = raw.track(row["object"], "hoi_kps", row["image_id"])
        n = USED_KEYPOINTS[row["object"]]
        for column, theirs in (
            ("body_keypoints", record and record["smpl_kps_seq"]),
            ("object_keypoints", record and record["object_kps_seq"][:n]),
        ):
            if theirs is None or np.isnan(theirs).all():
                assert row[column] is None or np.isnan(row[column]).all(), (row["image_id"], column)
            else:
                assert same_floats(row[column], theirs), (row["image_id"], column)


def test_correspondences_are_those_of_the_release(raw, samples):
    found = set()
    for row in each(samples):
        record = raw.correspondences(row["object"], row["image_id"])
        if record is None:
            assert row["object_correspondences"] is None and row["object_correspondences_box"] is None
            continue
        found.add(row["image_id"])
        height, width = row["object_correspondences_size"]
        assert record["coor"].shape == (height, width, 3)
        assert same_floats(row["object_correspondences"], record["coor"])
        assert row["object_correspondences_box"].tolist() == [record[k] for k in "luwh"]
        assert row["object_correspondences_weights"] is None
    assert len(found) == raw.files("object_annotations") >= 5 * len(raw.objects())


def test_a_cell_of_the_correspondences_is_the_pixel_its_point_falls_on(raw, samples):
    checked = Counter()
    for row in samples[30].values():
        if row["object_correspondences"] is None or row["object_rotation"] is None or row["object"] == "bicycle":
            continue
        grid = row["object_correspondences"].reshape(*row["object_correspondences_size"], 3)
        x, y, w, h = row["object_correspondences_box"]
        j, i = np.nonzero(np.abs(grid).sum(2))
        cells = np.stack([x + i * w / grid.shape[1], y + j * h / grid.shape[0]], 1)
        checked[row["object"]] += 1
        assert np.median(np.linalg.norm(project(row, grid[j, i]) - cells, axis=1)) < 1.5
    assert all(checked[name] >= 5 for name in raw.objects() if name != "bicycle")


def test_occlusion_maps_are_those_of_the_release(raw, samples):
    found = set()
    for row in each(samples):
        record = raw.occlusion(row["object"], row["image_id"])
        for column, key in (("human_occlusion", "smpl_v_mask"), ("object_occlusion", "object_v_mask")):
            assert row[column] is None if record is None else np.array_equal(row[column], record[key])
        if record is not None:
            found.add(row["image_id"])
    assert len(found) == raw.files("occlusion_maps") >= 3 * len(raw.objects())


@pytest.mark.parametrize("fps", FPS)
def test_annotations_are_those_of_the_release(raw, converted, fps):
    rows = read_rows(converted[fps], "annotations")
    for name in raw.objects():
        for image_id, truth in raw.annotations(name).items():
            row = rows.pop(image_id)
            for ours, theirs in TRUTH.items():  # rotations are moved to the nearest exact one
                np.testing.assert_allclose(np.ravel(row[ours]), plain(truth[theirs]).ravel(), rtol=3e-7, atol=3e-7)
            angle = truth.get("object_rot_angle")
            assert row["object_angle"] is None if angle is None else same_floats(row["object_angle"], plain(angle))
            assert (row["object"], row["video_id"], row["gender"]) == (name, image_id[:4], "neutral")
    assert not rows


# --- the crop -----------------------------------------------------------------------------------------------------


def test_the_crop_shows_the_frame(raw, samples):
    for row in [*samples[30].values()][::3]:
        x, y, w, h = row["image_box"]
        frame, crop = raw.picture(row["object"], row["image_id"]), image_of(row["image"])
        assert tuple(row["frame_size"]) == (frame.shape[1], frame.shape[0]) and crop.shape == (h, w, 3)
        theirs = frame[y : y + h, x : x + w]
        assert np.abs(crop.astype(int) - theirs).mean() < 3
        shifted = np.roll(theirs, 1, axis=1)  # one pixel off would be seen
        assert np.abs(crop.astype(int) - shifted).mean() > np.abs(crop.astype(int) - theirs).mean()


def check_crop(crop, person, thing, frame_size):
    """The crop is the square of 1.2 times the longer side, cut off at the frame's edge; returns whether it was cut."""
    x, y, w, h = crop
    width, height = frame_size
    assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= width and y + h <= height
    both = np.stack([person, thing])
    x1, y1, x2, y2 = *both[:, :2].min(0), *both[:, 2:].max(0)
    assert x <= max(x1, 0) and y <= max(y1, 0)
    assert x + w - 1 >= min(x2, width - 1) and y + h - 1 >= min(y2, height - 1)
    half = 1.2 * max(x2 - x1, y2 - y1) / 2
    square = np.array([(x1 + x2) / 2 - half, (y1 + y2) / 2 - half, (x1 + x2) / 2 + half, (y1 + y2) / 2 + half])
    inside = np.clip(square, 0, [width, height, width, height])
    np.testing.assert_allclose([x, y, x + w, y + h], inside, atol=2)
    cut_off = bool((inside != square).any())
    assert cut_off or abs(w - h) <= 1
    return cut_off


def test_the_crop_is_the_square_about_both_boxes(samples):
    for row in samples[30].values():
        check_crop(row["image_box"], row["person_box"], row["object_box"], row["frame_size"])


def test_the_crop_is_cut_off_at_the_frame():
    random = np.random.default_rng(3)
    cut_off = 0
    for _ in range(300):
        width, height = random.integers(40, 900, 2)
        boxes = np.sort(random.integers(0, [[width], [height]], (2, 2, 2)), axis=2)  # person or object, x or y, ends
        boxes = boxes.transpose(1, 2, 0).reshape(2, 4).astype(float)
        crop = interaction_box(boxes[0], boxes[1], (int(width), int(height)))
        cut_off += check_crop(crop, *boxes, (width, height))
        alone = interaction_box(boxes[0], None, (int(width), int(height)))
        check_crop(alone, boxes[0], boxes[0], (width, height))
    assert 30 < cut_off < 300


# --- geometry -----------------------------------------------------------------------------------------------------


def turn(vector):
    """Rodrigues' formula."""
    angle = np.linalg.norm(vector)
    x, y, z = vector / max(angle, 1e-12)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def project(row, points):
    """Points of the template to pixels, by the row's pose and camera."""
    posed = row["object_scale"] * points @ row["object_rotation"].reshape(3, 3).T + row["object_translation"]
    return see(row, posed)


def see(row, points):
    seen = points @ row["camera_rotation"].reshape(3, 3).T + row["camera_translation"]
    return seen[:, :2] / seen[:, 2:] * row["focal"] + row["principal_point"]


def keypoints_of(folder, name, angle):
    """The means of the keypoints' vertices, the first mesh turned about the axis through keypoints 5 and 6."""
    meshes = [trimesh.load(folder / "objects" / name / file, process=False).vertices for file in TEMPLATES[name]]
    groups = json.loads((folder / "objects" / name / "keypoints.json").read_text())
    vertices = np.concatenate(meshes)
    points = np.stack([vertices[ids].mean(0) for ids in groups.values()])
    if angle is not None:
        foot, top = points[4], points[5]
        moved = turn(angle * (top - foot) / np.linalg.norm(top - foot))
        vertices[: len(meshes[0])] = (vertices[: len(meshes[0])] - foot) @ moved.T + foot
        points = np.stack([vertices[ids].mean(0) for ids in groups.values()])
    return points


def test_object_keypoints_posed_and_projected_fall_on_the_raw_ones(raw, converted, samples):
    checked, turned = Counter(), 0
    for row in samples[30].values():
        record = raw.track(row["object"], "hoi_kps", row["image_id"])
        if record is None or row["object_rotation"] is None:
            continue
        ours = project(row, keypoints_of(converted[30], row["object"], row["object_angle"]))
        theirs = record["object_kps_seq"][: USED_KEYPOINTS[row["object"]]]
        assert np.isfinite(theirs).all() and np.abs(ours - theirs).max() < 0.5, row["image_id"]
        if row["object_angle"] is not None:
            turned += np.abs(project(row, keypoints_of(converted[30], row["object"], None)) - theirs).max() > 0.5
        checked[row["object"]] += 1
    assert all(checked[name] > 22 for name in raw.objects())
    assert turned > 10 or "bicycle" not in raw.objects()


def test_joints_posed_and_projected_fall_on_the_raw_ones(raw, samples):
    table = [line.split() for line in SKELETON.replace("\n", " ").split("/")]
    parents = [-1, *(int(line[0]) for line in table[1:])]
    rest = np.array([line[1:] for line in table], float)
    checked = Counter()
    for row in samples[30].values():
        record = raw.track(row["object"], "hoi_kps", row["image_id"])
        if record is None or row["body_pose"] is None or np.isnan(record["smpl_kps_seq"]).any():
            continue
        turns, joints = [np.eye(3)], [np.zeros(3)]
        for joint in range(1, 22):
            parent = parents[joint]
            joints.append(joints[parent] + turns[parent] @ (rest[joint] - rest[parent]))
            turns.append(turns[parent] @ turn(row["body_pose"].reshape(21, 3)[joint - 1]))
        assert np.abs(see(row, np.stack(joints)) - record["smpl_kps_seq"]).max() < 0.5, row["image_id"]
        checked[row["object"]] += 1
    assert all(checked[name] > 22 for name in raw.objects())


# --- irregularities -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", FPS)
def test_every_planted_irregularity_is_reported_and_nothing_else(raw, converted, fps):
    report = load_report(converted[fps])
    for name in raw.objects():
        wanted = wanted_train(raw, name, fps)
        left_out = {image_id: gap for image_id, gap in wanted.items() if gap}
        dropped = said(report, "dropped", name)
        assert set(dropped) == set(left_out)
        assert all(left_out[image_id] in " ".join(dropped[image_id]) for image_id in dropped)
        lacks = planted(raw, name, [*(i for i in wanted if i not in left_out), *raw.annotations(name)])
        incomplete = said(report, "incomplete", name)
        assert set(incomplete) == set(lacks)
        for image_id, causes in lacks.items():
            assert all(cause in " ".join(incomplete[image_id]) for cause in causes), image_id
            assert all(image_id not in reason for reason in incomplete[image_id])
        assert len(left_out) + len(lacks) == IRREGULAR[fps][name]


def test_the_reports_counts_are_the_rows(converted):
    for folder in converted.values():
        for name, entry in load_report(folder)["objects"].items():
            for kind in ("samples", "annotations"):
                for split in ("train", "test"):
                    rows = read_rows(folder, kind, split, name)
                    counted = entry[kind].get(split, {"rows": 0, "videos": []})
                    assert counted["rows"] == len(rows)
                    assert set(counted["videos"]) == {row["video_id"] for row in rows.values()}


def test_strict_names_an_irregular_image_and_leaves_no_data_folder(raw, tmp_path):
    ids = set()
    for name in raw.objects():
        wanted = wanted_train(raw, name, 30)
        ids |= {image_id for image_id, gap in wanted.items() if gap}
        ids |= set(planted(raw, name, [*wanted, *raw.annotations(name)]))
    with pytest.raises(WildhoiError) as caught:
        run_conversion(plan_wildhoi(raw.root, fps=30), tmp_path / "out", strict=True)
    assert any(image_id in str(caught.value) for image_id in ids)
    assert not (tmp_path / "out" / "dataset.json").exists() and not (tmp_path / "out" / "checksums.json").exists()
