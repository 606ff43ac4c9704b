import json
import os
import pickle
import re
import shutil
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh
from raw_reader import Raw, image_of, plain, read_pickle, read_rows

from submissions import unchecked
from wildhoi.convert.frames import interaction_box
from wildhoi.convert.pipeline import run_conversion
from wildhoi.convert.wildhoi_release import plan_wildhoi
from wildhoi.errors import InputError, UnsafeError, WildhoiError

FPS = (30, 3)
SKELETON = """-  0 0 0  / 0 .07 -.09 0 / 0 -.07 -.09 0 / 0 0 .11 -.02 / 1 .10 -.47 0 / 2 -.10 -.47 0 / 3 0 .25 0
/ 4 .09 -.88 -.03 / 5 -.09 -.88 -.03 / 6 0 .30 .02 / 7 .12 -.94 .09 / 8 -.12 -.94 .09 / 9 0 .52 -.02
/ 9 .08 .42 -.01 / 9 -.08 .42 -.01 / 12 0 .60 .03 / 13 .19 .44 -.02 / 14 -.19 .44 -.02 / 16 .45 .43 -.04
/ 17 -.45 .43 -.04 / 18 .70 .43 -.04 / 19 -.70 .43 -.04"""
USED_KEYPOINTS = {"barbell": 4, "skateboard": 8, "bicycle": 10}
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


def same_floats(ours, theirs):
    """Whether ours are theirs as float32."""
    return np.array_equal(
        np.asarray(ours, np.float32).reshape(-1), np.asarray(theirs).astype(np.float32).reshape(-1), equal_nan=True
    )


# --- which rows ---------------------------------------------------------------------------------------------------


def wanted_train(raw, name, fps):
    """Every (30 / fps)-th entry of each training instance: image id -> why it cannot become a row, or None."""
    found = {}
    for video in raw.videos(name, "train"):
        for hoi, entries in raw.instances(name, video).items():
            for entry in entries[:: 30 // fps]:
                image_id = f"{video}_{hoi}_{entry['frame_id']}"
                gaps = {
                    "person": entry["person_bbox"] is None,
                    "object": entry["object_bbox"] is None,
                    "images_temp": not raw.picture_path(name, image_id).is_file(),
                }
                found[image_id] = next((gap for gap, there in gaps.items() if there), None)
    return found


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


def load_report(folder):
    return json.loads((folder / "conversion_report.json").read_text())


def said(report, fate, name):
    """Image id -> its reasons."""
    found = {}
    for reason, ids in report["objects"][name][fate].items():
        for image_id in ids:
            found.setdefault(image_id, []).append(reason)
    return found


def planted(raw, name, rows):
    """Image id -> words of the raw files that its reasons must name: what the rows of these ids lack."""
    lacks = {}
    for image_id in rows:
        body, pose, projected = (raw.track(name, k, image_id) for k in ("smplx_tuned", "object_pose", "hoi_kps"))
        annotated = image_id in raw.annotations(name)
        causes = {
            "smplx_tuned": body is None,
            "object_pose": pose is None or np.isnan(plain(pose["trans"])).any(),
            "hoi_kps": projected is None or np.isnan(projected["smpl_kps_seq"]).any()
            or np.isnan(projected["object_kps_seq"][: USED_KEYPOINTS[name]]).any(),
            "object_annotations": annotated and raw.correspondences(name, image_id) is None,
            "occlusion_maps": annotated and raw.occlusion(name, image_id) is None,
        }  # fmt: skip
        if any(causes.values()):
            lacks[image_id] = [cause for cause, there in causes.items() if there]
    return lacks


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


# --- a release that is damaged further ------------------------------------------------------------------------------


def copy_release(raw, to, names=None, **split):
    """Objects of the release, writable."""
    names = names or raw.objects()
    for name in names:
        for folder in (name, f"data/annotation_hoi/{name}"):
            shutil.copytree(raw.root / folder, to / folder)
    for folder in ("data/objects", "data/contact"):
        shutil.copytree(raw.root / folder, to / folder)
    (to / "train_test_split.json").write_text(json.dumps({name: raw.split[name] | split for name in names}))
    for path in to.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return Raw(to)


class Places:
    """Where the release of one object is damaged: images of it that lack nothing that is to be damaged.

    Attributes:
        pair: the training video with two instances; `one` and `two` are their images.
        other: the other training video; `others` are the images of its first instance.
        test: the annotated video; `annotated` are its images with both maps.
    """

    def __init__(self, raw, name):
        gaps = wanted_train(raw, name, 30)
        lacks = planted(raw, name, [image_id for image_id, gap in gaps.items() if gap is None])
        fitted = {}
        for image_id, gap in gaps.items():
            if gap is None and set(lacks.get(image_id, ())) <= {"hoi_kps"}:
                fitted.setdefault(image_id[:8], []).append(image_id)
        videos = [instance[:4] for instance in fitted]
        self.name, self.test = name, raw.videos(name, "test")[0]
        self.pair = next(video for video in videos if videos.count(video) == 2)
        self.other = next(video for video in videos if video != self.pair)
        self.one, self.two = (ids for instance, ids in fitted.items() if instance[:4] == self.pair)
        self.one = [image_id for image_id in self.one if image_id not in lacks]
        self.others = next(ids for instance, ids in fitted.items() if instance[:4] == self.other)
        self.annotated = [i for i in raw.annotations(name) if raw.correspondences(name, i) and raw.occlusion(name, i)]

    def stray(self, n):
        """The n-th image after those of the first instance of two."""
        return f"{self.one[-1][:8]}_{int(self.one[-1][9:]) + n:06}"


@pytest.fixture(scope="module")
def places(raw):
    return [Places(raw, name) for name in raw.objects()]


def rewrite(path, edit):
    content = read_pickle(path)
    path.write_bytes(pickle.dumps(edit(content) or content))


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit_track(release, name, kind, image_id, edit):
    """Change the records of a track; `edit` is given them and the frame."""
    rewrite(release.path(name, kind, image_id), lambda records: edit(records, image_id[9:]))


def drop_record(records, frame):
    return [record for record in records if record["frame_id"] != frame]


def repeat_last(records, frame):
    return [*records, {**records[-1], "frame_id": frame}]


def set_record(**values):
    return lambda records, frame: [{**r, **values} if r["frame_id"] == frame else r for r in records]


def shift_keypoints(records):
    return [{**record, "keypoints": record["keypoints"] + 3} for record in records]


POSES, BODIES, PROJECTED = "object_pose", "smplx_tuned", "hoi_kps"
REFINED, UNREFINED = "wholebody_kps_refined", "wholebody_kps"


def damage_files(release, at, hostile):
    """Files that are gone, cut short or of something else, and records that cannot be."""
    name = at.name
    cut_short(release.mask_path(name, at.two[0]))
    release.mask_path(name, at.two[1]).unlink()
    release.mask_path(name, at.two[2]).write_bytes(pickle.dumps({"human": 3, "object": {"mask": "text"}}))
    edit_track(release, name, BODIES, at.one[3], drop_record)
    edit_track(release, name, BODIES, at.one[5], set_record(cam_R=np.zeros((2, 2))))
    edit_track(release, name, BODIES, at.one[6], set_record(body_pose="text"))
    edit_track(release, name, BODIES, at.stray(1), repeat_last)
    edit_track(release, name, POSES, at.one[7], set_record(rotmat=np.full((3, 3), 9.0)))
    edit_track(release, name, POSES, at.stray(10), repeat_last)
    refined, unrefined = (release.path(name, kind, at.one[0]) for kind in (REFINED, UNREFINED))
    if not unrefined.exists():
        unrefined.parent.mkdir(parents=True)
        shutil.copy(refined, unrefined)
        rewrite(unrefined, shift_keypoints)
    refined.unlink()
    cut_short(release.correspondences_path(name, at.annotated[1]))
    shutil.copy(hostile / "truncated.jpg", release.picture_path(name, at.annotated[0]))
    release.picture_path(name, at.annotated[1]).unlink()
    cut_short(release.path(name, POSES, at.others[0]))
    shutil.copy(hostile / "truncated.jpg", release.picture_path(name, at.others[1]))
    shutil.copy(hostile / "text.jpg", release.picture_path(name, at.others[2]))
    release.picture_path(name, at.others[3]).write_bytes(b"")
    rewrite(release.tracking_path(name, at.other), lambda t: t["hoi_instances"].append(t["hoi_instances"][0]))


BOXES = [np.full(4, np.nan), np.array([0.0, 0.0, np.inf, 5.0]), "text", np.zeros(3), None]  # of images of `one`


def damage_tracking(release, at, hostile):
    """Videos, instances and boxes that the tracking lacks, and a track that is gone."""
    name = at.name
    release.tracking_path(name, at.other).unlink()
    release.tracking_path(name, at.test).unlink()
    release.path(name, PROJECTED, at.one[0]).unlink()

    def edit(tracking):
        instance = next(item for item in tracking["hoi_instances"] if item["hoi_id"] == at.one[0][5:8])
        for image_id, box in zip(at.one, BOXES, strict=False):
            next(e for e in instance["sequences"] if e["frame_id"] == image_id[9:])["person_bbox"] = box
        return {"hoi_instances": [instance]}

    rewrite(release.tracking_path(name, at.pair), edit)


NAN, FAR = np.full((3, 3), np.nan), np.array([0.0, 0.0, 1e300])
SPOILED = [  # kind of file, changes of a record: one for each image of `one`
    (POSES, {"rotmat": NAN}),
    (POSES, {"trans": np.array([0.0, np.inf, 0.0])}),
    (BODIES, {"body_pose": np.full((21, 3), np.nan)}),
    (BODIES, {"focal": None}),
    (REFINED, {"keypoints": np.zeros((17, 3))}),
    (BODIES, {"cam_T": FAR}),
    (BODIES, {"cam_R": np.zeros((3, 3))}),
    (BODIES, {"jaw_pose": np.full((1, 3), np.nan)}),
    (REFINED, {"keypoints": np.full((133, 3), np.nan)}),
    (POSES, {"rot_angle": np.float32(np.nan)}),
]
SUCCESS = [(0, False), (np.array([0.0]), False), (np.float64(1), True)]  # of the last images of `two`: written, meant
SHIFTS = [2**40, 1000, -1000]  # of the first images of `two`: by how much the mask's box is moved


def move_mask(shift):
    def edit(masks):
        human = masks["human"]
        return {**masks, "human": {**human, "mask_box": np.array(human["mask_box"]) + shift}}

    return edit


def damage_numbers(release, at, hostile):
    """Numbers that cannot be, or cannot belong together."""
    name = at.name
    for image_id, (kind, values) in zip(at.one, SPOILED, strict=True):
        if "rot_angle" not in values or "rot_angle" in release.track(name, kind, image_id):
            edit_track(release, name, kind, image_id, set_record(**values))
    for image_id, (success, _) in zip(at.two[-3:], SUCCESS, strict=True):
        edit_track(release, name, POSES, image_id, set_record(success=success))
    for image_id, shift in zip(at.two, SHIFTS, strict=False):
        rewrite(release.mask_path(name, image_id), move_mask(shift))
    rewrite(release.path(name, PROJECTED, at.others[0]), lambda t: {**t, "object_kps_seq": t["object_kps_seq"][:5]})

    def repeat_first(tracking):
        entries = tracking["hoi_instances"][0]["sequences"]
        entries.insert(1, dict(entries[0]))

    rewrite(release.tracking_path(name, at.other), repeat_first)


@pytest.fixture(scope="module")
def damaged(raw, places, fixtures_dir, tmp_path_factory):
    """The release with every object damaged, converted: what was done -> rows, report and the damaged release."""
    base = tmp_path_factory.mktemp("damaged")
    done = SimpleNamespace()
    for damage in (damage_files, damage_tracking, damage_numbers):
        what = damage.__name__.removeprefix("damage_")
        release = copy_release(raw, base / f"raw_{what}")
        for at in places:
            damage(release, at, fixtures_dir / "hostile")
        with unchecked():
            run_conversion(plan_wildhoi(release.root, fps=30), base / what)
        rows, report = read_rows(base / what, "samples"), load_report(base / what)
        setattr(done, what, SimpleNamespace(rows=rows, report=report, raw=Raw(release.root)))
    return done


def differing(before, after):
    return {k for k in before if not np.array_equal(repr(before[k]), repr(after[k]))}


@pytest.mark.parametrize("damage", range(3))
def test_a_row_without_readable_masks_is_kept_and_counted(samples, places, damaged, damage):
    columns = {"person_mask", "person_mask_box", "object_mask", "object_mask_box"}
    for at in places:
        image_id = at.two[damage]
        row = damaged.files.rows[image_id]
        assert differing(samples[30][image_id], row) == columns
        assert all(row[column] is None for column in columns)
        assert "mask" in " ".join(said(damaged.files.report, "incomplete", at.name)[image_id])


@pytest.mark.parametrize("damage", [3, 5, 6])
def test_a_row_without_a_usable_body_is_kept_and_its_neighbours_keep_theirs(samples, places, damaged, damage):
    for at in places:
        row = damaged.files.rows[at.one[damage]]
        assert all(row[column] is None for column in ("betas", "camera_rotation", "object_rotation"))
        assert row["image"] is not None and row["body_keypoints"] is not None
        assert "smplx_tuned" in " ".join(said(damaged.files.report, "incomplete", at.name)[at.one[damage]])
        for other in (at.one[2], at.one[4], at.one[9]):
            assert differing(samples[30][other], damaged.files.rows[other]) <= {"wholebody_keypoints"}


def test_a_pose_that_is_no_rotation_is_not_passed_on(places, damaged):
    for at in places:
        row = damaged.files.rows[at.one[7]]
        assert row["object_rotation"] is None and row["betas"] is not None
        assert "object_pose" in " ".join(said(damaged.files.report, "incomplete", at.name)[at.one[7]])


def test_without_refined_keypoints_the_unrefined_stand_in_and_that_is_said_for_each(samples, places, damaged):
    for at in places:
        noted = said(damaged.files.report, "incomplete", at.name)
        for image_id in (i for i in samples[30] if i.startswith(at.one[0][:8])):
            unrefined = damaged.files.raw.track(at.name, "wholebody_kps", image_id)["keypoints"]
            assert same_floats(damaged.files.rows[image_id]["wholebody_keypoints"], unrefined)
            assert "wholebody_kps_refined" in " ".join(noted.get(image_id, []))
        assert differing(samples[30][at.one[9]], damaged.files.rows[at.one[9]]) == {"wholebody_keypoints"}


def test_frames_that_only_a_track_has_make_no_rows_and_are_counted(samples, places, damaged):
    for at in places:
        of_pair = ({i for i in rows if i.startswith(at.pair)} for rows in (damaged.files.rows, samples[30]))
        assert len({*map(frozenset, of_pair)}) == 1
        text = json.dumps(damaged.files.report["objects"][at.name])
        assert at.stray(1) in text and at.stray(10) in text


def test_an_annotated_image_that_cannot_be_decoded_keeps_its_row(places, damaged):
    for at in places:
        noted = said(damaged.files.report, "incomplete", at.name)
        for image_id in at.annotated[:2]:
            row = damaged.files.rows[image_id]
            assert row["image"] is None and row["betas"] is not None
            assert "images_temp" in " ".join(noted[image_id])
        assert damaged.files.rows[at.annotated[1]]["object_correspondences"] is None
        assert "object_annotations" in " ".join(noted[at.annotated[1]])


def test_a_video_without_tracking_is_named(places, damaged):
    for at in places:
        assert not [i for i in damaged.tracking.rows if i.startswith(at.other)]
        assert [i for i in damaged.tracking.rows if i.startswith(at.pair)]
        text = json.dumps(damaged.tracking.report["objects"][at.name])
        assert at.other in text and "hoi_tracking" in text


def test_annotated_images_without_tracking_are_each_accounted_for(raw, damaged):
    for name in raw.objects():
        noted = said(damaged.tracking.report, "dropped", name) | said(damaged.tracking.report, "incomplete", name)
        for image_id in raw.annotations(name):
            assert image_id in noted
            assert image_id in damaged.tracking.rows, "kept whatever they lack: their truth is scored"


def test_an_instance_that_tracks_have_and_the_tracking_lacks_is_named(places, damaged):
    for at in places:
        assert not [i for i in damaged.tracking.rows if i.startswith(at.two[0][:8])]
        assert at.two[0][:8] in json.dumps(damaged.tracking.report)


def test_a_truncated_pose_file_takes_the_poses_alone(samples, places, damaged):
    for at in places:
        noted = said(damaged.files.report, "incomplete", at.name)
        angle = {"object_angle"} - {k for k, v in samples[30][at.others[0]].items() if v is None}
        for image_id in (i for i in at.others if i in damaged.files.rows):
            assert differing(samples[30][image_id], damaged.files.rows[image_id]) == {
                *("object_rotation", "object_translation", "object_scale", "object_pose_success"),
                *angle,
            }
            assert "object_pose" in " ".join(noted[image_id])


@pytest.mark.parametrize("damage", [1, 2, 3])
def test_a_training_image_that_cannot_be_decoded_is_dropped_and_counted(places, damaged, damage):
    for at in places:
        assert at.others[damage] not in damaged.files.rows
        assert "images_temp" in " ".join(said(damaged.files.report, "dropped", at.name)[at.others[damage]])


def check_spoiled(at, damaged, number):
    row, kind = damaged.numbers.rows[at.one[number]], SPOILED[number][0]
    assert kind in " ".join(said(damaged.numbers.report, "incomplete", at.name)[at.one[number]])
    for column, value in row.items():
        if isinstance(value, np.ndarray | float) and "keypoints" not in column:
            assert np.isfinite(value).all(), column


@pytest.mark.parametrize("number", range(len(SPOILED) - 1))
def test_numbers_that_cannot_be_are_counted_and_not_passed_on(places, damaged, number):
    for at in places:
        check_spoiled(at, damaged, number)


def test_an_angle_that_cannot_be_is_counted_and_not_passed_on(full_fixtures_dir, places, damaged):
    check_spoiled(next(at for at in places if at.name == "bicycle"), damaged, len(SPOILED) - 1)


def test_a_pose_without_success_is_kept_and_marked(samples, places, damaged):
    for at in places:
        for image_id, (_, success) in zip(at.two[-3:], SUCCESS, strict=True):
            row = damaged.numbers.rows[image_id]
            assert row["object_pose_success"] is success
            assert same_floats(row["object_rotation"], samples[30][image_id]["object_rotation"])


@pytest.mark.parametrize("number", range(len(SHIFTS)))
def test_a_mask_outside_the_frame_is_counted_and_not_passed_on(places, damaged, number):
    for at in places:
        assert damaged.numbers.rows[at.two[number]]["person_mask_box"] is None
        assert "hoi_mask" in " ".join(said(damaged.numbers.report, "incomplete", at.name)[at.two[number]])


def test_projections_of_another_length_than_their_frames_are_not_guessed(places, damaged):
    for at in places:
        noted = said(damaged.numbers.report, "incomplete", at.name)
        for image_id in at.others:
            assert damaged.numbers.rows[image_id]["object_keypoints"] is None
            assert "hoi_kps" in " ".join(noted[image_id])


@pytest.mark.parametrize("number", range(len(BOXES)))
def test_a_box_that_is_not_four_finite_numbers_is_no_box(places, damaged, number):
    for at in places:
        assert at.one[number] not in damaged.tracking.rows
        assert "person" in " ".join(said(damaged.tracking.report, "dropped", at.name)[at.one[number]])


def test_what_is_tracked_twice_is_one_row_and_said(samples, places, damaged):
    for at in places:
        first = at.others[0]
        for done in (damaged.files, damaged.numbers):  # the reading of rows refuses a second of a name
            assert first in done.rows and first in json.dumps(done.report["objects"][at.name])
        left_out = set(at.others) - set(damaged.files.rows)
        assert left_out == set(at.others[1:4]) and set(at.others) <= set(damaged.numbers.rows)


def test_deleted_projections_of_one_instance_are_counted_for_each_image(samples, places, damaged):
    for at in places:
        noted = said(damaged.tracking.report, "incomplete", at.name)
        hit = at.one[len(BOXES) :]
        assert len(hit) > 4
        for image_id in hit:
            row = damaged.tracking.rows[image_id]
            assert differing(samples[30][image_id], row) == {"body_keypoints", "object_keypoints"}
            assert "hoi_kps" in " ".join(noted[image_id])


# --- hostile releases -----------------------------------------------------------------------------------------------

HOSTILE = {  # a file of each kind, all read at the lowest frame rate
    "body": lambda release, at: release.path(at.name, BODIES, at.two[0]),
    "pose": lambda release, at: release.path(at.name, POSES, at.two[0]),
    "projections": lambda release, at: release.path(at.name, PROJECTED, at.two[0]),
    "keypoints": lambda release, at: release.path(at.name, REFINED, at.two[0]),
    "mask": lambda release, at: release.mask_path(at.name, at.one[0]),
    "tracking": lambda release, at: release.tracking_path(at.name, at.pair),
    "correspondences": lambda release, at: release.correspondences_path(at.name, at.annotated[0]),
    "occlusion": lambda release, at: release.occlusion_path(at.name, at.annotated[0]),
    "annotation": lambda release, at: release.annotation_path(at.name, at.annotated[0]),
}


@pytest.mark.parametrize(
    ("file", "kind"), [("run_command_tail.pkl", "body"), *(("run_command.pkl", kind) for kind in HOSTILE)]
)
def test_a_pickle_with_code_stops_the_conversion(raw, places, fixtures_dir, tmp_path, monkeypatch, kind, file):
    at = places[0]
    release = copy_release(raw, tmp_path / "raw", [at.name], train_videos=[at.pair])
    place = HOSTILE[kind](release, at)
    assert place.is_file()
    shutil.copy(fixtures_dir / "hostile" / file, place)
    monkeypatch.chdir(tmp_path)
    with unchecked(), pytest.raises(InputError) as caught:
        run_conversion(plan_wildhoi(release.root), tmp_path / "out")
    assert place.name in str(caught.value) and "\n" not in str(caught.value).strip()
    assert not list(tmp_path.rglob("pwned")) and not (tmp_path / "out/dataset.json").exists()
    assert isinstance(caught.value, UnsafeError) or kind == "annotation"  # defects of annotations come all at once


def test_a_pickle_with_code_stops_workers_too(raw, places, fixtures_dir, tmp_path, monkeypatch):
    at = places[0]
    release = copy_release(raw, tmp_path / "raw", [at.name])
    place = release.path(at.name, BODIES, at.two[0])
    shutil.copy(fixtures_dir / "hostile/run_command.pkl", place)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(place.name)):
        run_conversion(plan_wildhoi(release.root), tmp_path / "out", workers=2)
    assert not list(tmp_path.rglob("pwned")) and not (tmp_path / "out/dataset.json").exists()


OPENED = []
LISTENING = []


def _listen(event, arguments):
    if LISTENING and event in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename") and arguments:
        OPENED.append(arguments[0])


@pytest.fixture
def opened():
    """Every path that Python opens or lists while a test runs."""
    if not OPENED:
        sys.addaudithook(_listen)
    OPENED.clear()
    LISTENING.append(True)
    yield OPENED
    LISTENING.clear()
    OPENED[:] = ["hooked"]


def outside(paths, secret):
    names = (os.fspath(p) for p in paths if isinstance(p, str | bytes | os.PathLike))
    texts = (n.decode(errors="replace") if isinstance(n, bytes) else n for n in names)
    return [t for t in texts if os.path.realpath(t).startswith(str(secret))]


def tree(folder, *without):
    return {
        p.relative_to(folder): p.stat().st_mtime_ns
        for p in folder.rglob("*")
        if p.is_file() and not any(w in p.parents for w in without)
    }


@pytest.mark.parametrize("escape", ["../../../secret/x", "/SECRET/x", "PAIR/../../../../secret", "x\0y", 7])
@pytest.mark.parametrize("field", ["hoi_id", "frame_id", "train_videos", "test_videos"])
def test_ids_that_are_paths_lead_nowhere(raw, places, tmp_path, opened, escape, field):
    at = places[0]
    secret = tmp_path / "secret"
    (secret / "x").mkdir(parents=True)
    (secret / "x.jpg").write_bytes(raw.picture_path(at.name, at.one[0]).read_bytes())
    for name in ("_tracking.pkl", "x_tracking.pkl", "x_smplx.pkl", "x_hoi_kps.pkl"):
        (secret / name).write_bytes(pickle.dumps([]))
    if isinstance(escape, str):
        escape = escape.replace("/SECRET", str(secret)).replace("PAIR", at.pair)
    release = tmp_path / "raw"
    shutil.copytree(raw.root / "data/objects", release / "data/objects")
    shutil.copytree(raw.root / "data/contact", release / "data/contact")
    split = {"train_videos": [at.pair], "test_videos": [at.test]}
    tracking = read_pickle(raw.tracking_path(at.name, at.pair))
    instance = tracking["hoi_instances"][0]
    if field == "hoi_id":
        instance["hoi_id"] = escape
    elif field == "frame_id":
        instance["sequences"][0]["frame_id"] = escape
    else:
        split[field] = [escape, *split[field]]
    (release / "train_test_split.json").write_text(json.dumps({at.name: split}))
    path = Raw(release).tracking_path(at.name, at.pair)
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(tracking))
    before = tree(tmp_path)
    opened.clear()
    try:
        run_conversion(plan_wildhoi(release, fps=30), tmp_path / "out")
    except InputError as error:
        assert "\n" not in str(error).strip()
    assert not outside(opened, secret)
    assert tree(tmp_path, tmp_path / "out") == before
