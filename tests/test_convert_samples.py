import json
import os
import pickle
import shutil
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import trimesh
from raw_reader import TRACKS, Raw, image_of, plain, read_pickle, read_rows

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


@pytest.fixture(scope="module")
def converted(raw, tmp_path_factory):
    """The release converted at both frame rates: rate -> folder."""
    folders = {fps: tmp_path_factory.mktemp("converted") / f"fps{fps}" for fps in FPS}
    run_conversion(plan_wildhoi(raw.root, fps=3), folders[3])
    with unchecked():  # beartype takes several times as long as the conversion
        run_conversion(plan_wildhoi(raw.root, fps=30), folders[30])
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
    assert n_left_out == {30: 7, 3: 0}[fps]


@pytest.mark.parametrize("fps", FPS)
def test_test_rows_are_the_annotated_images(raw, converted, fps):
    for name in raw.objects():
        inputs, truth = (read_rows(converted[fps], kind, "test", name) for kind in ("samples", "annotations"))
        assert sorted(inputs) == sorted(truth) == sorted(raw.annotations(name))
        assert {row["video_id"] for row in inputs.values()} <= set(raw.videos(name, "test"))
    assert not list((converted[fps] / "annotations").rglob("train-*"))


def test_a_lower_frame_rate_takes_rows_and_changes_none(samples):
    assert set(samples[3]) < set(samples[30])
    for image_id, row in samples[3].items():
        for field, value in row.items():
            np.testing.assert_equal(value, samples[30][image_id][field], err_msg=f"{image_id} {field}")


def test_no_annotated_video_is_trained_on(raw, tmp_path):
    release = copy_release(raw, tmp_path / "raw", "barbell", train_videos=["0037", "0092", "0374"])
    try:
        with unchecked():
            run_conversion(plan_wildhoi(release), tmp_path / "out")
    except InputError as error:
        assert "0092" in str(error)
    else:
        train, test = (read_rows(tmp_path / "out", "samples", part) for part in ("train", "test"))
        assert {i[:4] for i in train}.isdisjoint({i[:4] for i in test}) and len(test) == 4
        assert "0092" in json.dumps(load_report(tmp_path / "out")["objects"]["barbell"]["notes"])


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
        refined_differ |= not np.array_equal(record["keypoints"], other["keypoints"])
        assert row["openpose_keypoints"] is None
    assert refined_differ


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
    assert len(without) == 6 and all(image_id.startswith("0037_007_") for image_id in without)


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
    assert absent >= {"0092_001_008783"} and len(absent) == 10  # 3 + 1 NaN, 6 of the short instance


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
    found = 0
    for row in each(samples):
        record = raw.correspondences(row["object"], row["image_id"])
        if record is None:
            assert row["object_correspondences"] is None and row["object_correspondences_box"] is None
            continue
        found += 1
        height, width = row["object_correspondences_size"]
        assert record["coor"].shape == (height, width, 3)
        assert same_floats(row["object_correspondences"], record["coor"])
        assert row["object_correspondences_box"].tolist() == [record[k] for k in "luwh"]
        assert row["object_correspondences_weights"] is None
    assert found > 26


def test_a_cell_of_the_correspondences_is_the_pixel_its_point_falls_on(raw, converted, samples):
    checked = 0
    for row in samples[30].values():
        if row["object_correspondences"] is None or row["object_rotation"] is None or row["object"] == "bicycle":
            continue
        grid = row["object_correspondences"].reshape(*row["object_correspondences_size"], 3)
        x, y, w, h = row["object_correspondences_box"]
        j, i = np.nonzero(np.abs(grid).sum(2))
        cells = np.stack([x + i * w / grid.shape[1], y + j * h / grid.shape[0]], 1)
        checked += 1
        assert np.median(np.linalg.norm(project(row, grid[j, i]) - cells, axis=1)) < 1.5
    assert checked > 5


def test_occlusion_maps_are_those_of_the_release(raw, samples):
    found = 0
    for row in each(samples):
        record = raw.occlusion(row["object"], row["image_id"])
        for column, key in (("human_occlusion", "smpl_v_mask"), ("object_occlusion", "object_v_mask")):
            assert row[column] is None if record is None else np.array_equal(row[column], record[key])
        found += record is not None
    assert found >= 26


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
    checked, turned = 0, 0
    for row in samples[30].values():
        record = raw.track(row["object"], "hoi_kps", row["image_id"])
        if record is None or row["object_rotation"] is None:
            continue
        ours = project(row, keypoints_of(converted[30], row["object"], row["object_angle"]))
        theirs = record["object_kps_seq"][: USED_KEYPOINTS[row["object"]]]
        assert np.isfinite(theirs).all() and np.abs(ours - theirs).max() < 0.5, row["image_id"]
        if row["object_angle"] is not None:
            turned += np.abs(project(row, keypoints_of(converted[30], row["object"], None)) - theirs).max() > 0.5
        checked += 1
    assert checked > 90 and turned > 10


def test_joints_posed_and_projected_fall_on_the_raw_ones(raw, samples):
    table = [line.split() for line in SKELETON.replace("\n", " ").split("/")]
    parents = [-1, *(int(line[0]) for line in table[1:])]
    rest = np.array([line[1:] for line in table], float)
    checked = 0
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
        checked += 1
    assert checked > 90


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
    total = 0
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
        total += len(left_out) + len(lacks)
    assert total > (30 if fps == 30 else 5)


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
    ids = {
        image_id
        for name in raw.objects()
        for image_id in planted(raw, name, [*wanted_train(raw, name, 30), *raw.annotations(name)])
    }
    with pytest.raises(WildhoiError) as caught:
        run_conversion(plan_wildhoi(raw.root, fps=30), tmp_path / "out", strict=True)
    assert any(image_id in str(caught.value) for image_id in ids | {"0037_001_008789", "0037_001_008792"})
    assert not (tmp_path / "out" / "dataset.json").exists() and not (tmp_path / "out" / "checksums.json").exists()


# --- a release that is damaged further ------------------------------------------------------------------------------


def copy_release(raw, to, name, **split):
    """One object of the release, writable."""
    shutil.copytree(raw.root / name, to / name)
    for folder in ("objects", "contact", f"annotation_hoi/{name}"):
        shutil.copytree(raw.root / "data" / folder, to / "data" / folder)
    split = {name: raw.split[name] | split}
    (to / "train_test_split.json").write_text(json.dumps(split))
    for path in to.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return to


def rewrite(path, edit):
    content = read_pickle(path)
    path.write_bytes(pickle.dumps(edit(content) or content))


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_frame(frame):
    return lambda records: [record for record in records if record["frame_id"] != frame]


def repeat_last(frame):
    return lambda records: [*records, {**records[-1], "frame_id": frame}]


def set_record(frame, **values):
    return lambda records: [{**r, **values} if r["frame_id"] == frame else r for r in records]


def damage_barbell(root, hostile):
    cut_short(root / "hoi_mask/0374/001/003426.pkl")
    (root / "hoi_mask/0374/001/003427.pkl").unlink()
    (root / "hoi_mask/0374/001/003428.pkl").write_bytes(pickle.dumps({"human": 3, "object": {"mask": "text"}}))
    rewrite(root / "smplx_tuned/0374/004_smplx.pkl", drop_frame("003430"))
    rewrite(root / "smplx_tuned/0374/004_smplx.pkl", repeat_last("003439"))
    rewrite(root / "smplx_tuned/0374/004_smplx.pkl", set_record("003432", cam_R=np.zeros((2, 2))))
    rewrite(root / "smplx_tuned/0374/004_smplx.pkl", set_record("003433", body_pose="text"))
    rewrite(root / "object_pose/0374/004_obj_RT.pkl", set_record("003434", rotmat=np.full((3, 3), 9.0)))
    rewrite(root / "object_pose/0374/004_obj_RT.pkl", repeat_last("003440"))
    (root / "wholebody_kps_refined/0374/004_wholebody_kps.pkl").unlink()
    cut_short(root / "object_annotations/corr/0092_008780_001-corr.pkl")
    shutil.copy(hostile / "truncated.jpg", root / "images_temp/0092/008777.jpg")
    (root / "images_temp/0092/008780.jpg").unlink()


def damage_skateboard(root, hostile):
    (root / "hoi_tracking/0323_tracking.pkl").unlink()
    (root / "hoi_tracking/0271_tracking.pkl").unlink()


def damage_bicycle(root, hostile):
    (root / "hoi_kps/0180/004_hoi_kps.pkl").unlink()
    cut_short(root / "object_pose/0201/001_obj_RT.pkl")
    shutil.copy(hostile / "truncated.jpg", root / "images_temp/0201/003466.jpg")
    shutil.copy(hostile / "text.jpg", root / "images_temp/0201/003467.jpg")
    (root / "images_temp/0201/003469.jpg").write_bytes(b"")
    rewrite(
        root / "hoi_tracking/0180_tracking.pkl",
        lambda t: {"hoi_instances": [i for i in t["hoi_instances"] if i["hoi_id"] == "001"]},
    )


NAN, FAR = np.full((3, 3), np.nan), np.array([0.0, 0.0, 1e300])
POSES, BODIES, KEYPOINTS = "object_pose", "smplx_tuned", "wholebody_kps_refined"
SPOILED = {  # frame of 0180_001: kind of file, changes of its record
    "007638": (POSES, {"rotmat": NAN}),
    "007639": (POSES, {"trans": np.array([0.0, np.inf, 0.0])}),
    "007640": (BODIES, {"body_pose": np.full((21, 3), np.nan)}),
    "007641": (BODIES, {"focal": None}),
    "007643": (KEYPOINTS, {"keypoints": np.zeros((17, 3))}),
    "007644": (BODIES, {"cam_T": FAR}),
    "007645": (BODIES, {"cam_R": np.zeros((3, 3))}),
    "007646": (BODIES, {"jaw_pose": np.full((1, 3), np.nan)}),
    "007647": (POSES, {"rot_angle": np.float32(np.nan)}),
    "007649": (KEYPOINTS, {"keypoints": np.full((133, 3), np.nan)}),
}
MASKS = {"007640": 2**40, "007641": 1000, "007643": -1000}  # frame of 0180_004: by how much the mask's box is moved


def move_mask(shift):
    def edit(masks):
        human = masks["human"]
        return {**masks, "human": {**human, "mask_box": np.array(human["mask_box"]) + shift}}

    return edit


def damage_numbers(root, hostile):
    for frame, (kind, values) in SPOILED.items():
        rewrite(root / kind / "0180" / f"001_{TRACKS[kind]}.pkl", set_record(frame, **values))
    for frame, success in (("007645", 0), ("007646", np.array([0.0])), ("007647", np.float64(1))):
        rewrite(root / "object_pose/0180/004_obj_RT.pkl", set_record(frame, success=success))
    for frame, shift in MASKS.items():
        rewrite(root / f"hoi_mask/0180/004/{frame}.pkl", move_mask(shift))
    rewrite(
        root / "hoi_kps/0201/001_hoi_kps.pkl", lambda tracks: {**tracks, "object_kps_seq": tracks["object_kps_seq"][:5]}
    )


DAMAGE = {
    "barbell": ("barbell", damage_barbell),
    "skateboard": ("skateboard", damage_skateboard),
    "bicycle": ("bicycle", damage_bicycle),
    "numbers": ("bicycle", damage_numbers),
}


@pytest.fixture(scope="module")
def damaged(raw, full_fixtures_dir, tmp_path_factory):
    """Releases of one object, damaged and converted: what was done -> (rows, report)."""
    base = tmp_path_factory.mktemp("damaged")
    done = {}
    for what, (name, damage) in DAMAGE.items():
        release = copy_release(raw, base / f"raw_{what}", name)
        damage(release / name, full_fixtures_dir / "hostile")
        with unchecked():
            run_conversion(plan_wildhoi(release, fps=30), base / what)
        done[what] = read_rows(base / what, "samples"), load_report(base / what)
    return done


def differing(before, after):
    return {k for k in before if not np.array_equal(repr(before[k]), repr(after[k]))}


@pytest.mark.parametrize("image_id", ["0374_001_003426", "0374_001_003427", "0374_001_003428"])
def test_a_row_without_readable_masks_is_kept_and_counted(samples, damaged, image_id):
    rows, report = damaged["barbell"]
    columns = {"person_mask", "person_mask_box", "object_mask", "object_mask_box"}
    assert differing(samples[30][image_id], rows[image_id]) == columns
    assert all(rows[image_id][column] is None for column in columns)
    assert "mask" in " ".join(said(report, "incomplete", "barbell")[image_id])


@pytest.mark.parametrize("image_id", ["0374_004_003430", "0374_004_003432", "0374_004_003433"])
def test_a_row_without_a_usable_body_is_kept_and_its_neighbours_keep_theirs(samples, damaged, image_id):
    rows, report = damaged["barbell"]
    assert all(rows[image_id][column] is None for column in ("betas", "camera_rotation", "object_rotation"))
    assert rows[image_id]["image"] is not None and rows[image_id]["body_keypoints"] is not None
    assert "smplx_tuned" in " ".join(said(report, "incomplete", "barbell")[image_id])
    for other in ("0374_004_003429", "0374_004_003431", "0374_004_003438"):
        assert differing(samples[30][other], rows[other]) <= {"wholebody_keypoints"}


def test_a_pose_that_is_no_rotation_is_not_passed_on(damaged):
    rows, report = damaged["barbell"]
    assert rows["0374_004_003434"]["object_rotation"] is None and rows["0374_004_003434"]["betas"] is not None
    assert "object_pose" in " ".join(said(report, "incomplete", "barbell")["0374_004_003434"])


def test_without_refined_keypoints_the_unrefined_stand_in_and_that_is_said(raw, damaged):
    rows, report = damaged["barbell"]
    for image_id, row in rows.items():
        if image_id.startswith("0374_004"):
            record = raw.track("barbell", "wholebody_kps", image_id)
            assert same_floats(row["wholebody_keypoints"], record["keypoints"])
    assert "wholebody_kps_refined" in json.dumps(report["objects"]["barbell"])


def test_each_image_with_unrefined_keypoints_is_counted(damaged):
    rows, report = damaged["barbell"]
    noted = said(report, "incomplete", "barbell")
    for image_id in (i for i in rows if i.startswith("0374_004")):
        assert "wholebody_kps_refined" in " ".join(noted.get(image_id, []))


def test_frames_that_only_a_track_has_make_no_rows_and_change_none(samples, damaged):
    rows, _ = damaged["barbell"]
    assert {i for i in rows if i.startswith("0374")} == {i for i in samples[30] if i.startswith("0374")}
    assert differing(samples[30]["0374_004_003438"], rows["0374_004_003438"]) == {"wholebody_keypoints"}


def test_frames_that_only_a_track_has_are_counted(damaged):
    text = json.dumps(damaged["barbell"][1])
    assert "0374_004_003439" in text and "0374_004_003440" in text


def test_an_annotated_image_that_cannot_be_decoded_keeps_its_row(samples, damaged):
    rows, report = damaged["barbell"]
    for image_id in ("0092_001_008777", "0092_001_008780"):
        assert rows[image_id]["image"] is None and rows[image_id]["betas"] is not None
        assert "images_temp" in " ".join(said(report, "incomplete", "barbell")[image_id])
    assert rows["0092_001_008780"]["object_correspondences"] is None
    assert "object_annotations" in " ".join(said(report, "incomplete", "barbell")["0092_001_008780"])


def test_a_video_without_tracking_is_named(samples, damaged):
    rows, report = damaged["skateboard"]
    assert not [i for i in rows if i.startswith("0323")] and [i for i in rows if i.startswith("0071")]
    text = json.dumps(report["objects"]["skateboard"])
    assert "0323" in text and "hoi_tracking" in text


def test_annotated_images_without_tracking_are_each_accounted_for(raw, damaged):
    rows, report = damaged["skateboard"]
    noted = said(report, "dropped", "skateboard") | said(report, "incomplete", "skateboard")
    for image_id in raw.annotations("skateboard"):
        assert image_id in noted
    assert all(i in rows for i in raw.annotations("skateboard")), "kept whatever they lack: their truth is scored"


def test_an_instance_that_tracks_have_and_the_tracking_lacks_is_named(damaged):
    rows, report = damaged["bicycle"]
    assert not [i for i in rows if i.startswith("0180_004")] and [i for i in rows if i.startswith("0180_001")]
    assert "0180_004" in json.dumps(report)


def test_a_truncated_pose_file_takes_the_poses_alone(samples, damaged):
    rows, report = damaged["bicycle"]
    noted = said(report, "incomplete", "bicycle")
    for image_id in (i for i in rows if i.startswith("0201_001")):
        assert differing(samples[30][image_id], rows[image_id]) == {
            *("object_rotation", "object_translation", "object_scale", "object_angle", "object_pose_success")
        }
        assert "object_pose" in " ".join(noted[image_id])


@pytest.mark.parametrize("frame", ["003466", "003467", "003469"])
def test_a_training_image_that_cannot_be_decoded_is_dropped_and_counted(damaged, frame):
    rows, report = damaged["bicycle"]
    assert f"0201_001_{frame}" not in rows
    assert "images_temp" in " ".join(said(report, "dropped", "bicycle")[f"0201_001_{frame}"])


@pytest.mark.parametrize("frame", [pytest.param(f) for f in SPOILED])
def test_numbers_that_cannot_be_are_counted_and_not_passed_on(damaged, frame):
    rows, report = damaged["numbers"]
    row, kind = rows[f"0180_001_{frame}"], SPOILED[frame][0]
    assert kind in " ".join(said(report, "incomplete", "bicycle")[f"0180_001_{frame}"])
    for column, value in row.items():
        if isinstance(value, np.ndarray | float) and "keypoints" not in column:
            assert np.isfinite(value).all(), column


def test_a_pose_without_success_is_kept_and_marked(samples, damaged):
    rows, _ = damaged["numbers"]
    for frame, success in (("007645", False), ("007646", False), ("007647", True)):
        row = rows[f"0180_004_{frame}"]
        assert row["object_pose_success"] is success
        assert same_floats(row["object_rotation"], samples[30][f"0180_004_{frame}"]["object_rotation"])


@pytest.mark.parametrize("frame", [pytest.param(f) for f in MASKS])
def test_a_mask_outside_the_frame_is_counted_and_not_passed_on(damaged, frame):
    rows, report = damaged["numbers"]
    assert rows[f"0180_004_{frame}"]["person_mask_box"] is None
    assert "hoi_mask" in " ".join(said(report, "incomplete", "bicycle")[f"0180_004_{frame}"])


def test_projections_of_another_length_than_their_frames_are_not_guessed(damaged):
    rows, report = damaged["numbers"]
    noted = said(report, "incomplete", "bicycle")
    for image_id in (i for i in rows if i.startswith("0201_001")):
        assert rows[image_id]["object_keypoints"] is None and "hoi_kps" in " ".join(noted[image_id])


def spoil_tracking(raw, to, edit):
    """A conversion of one video after its tracking was edited: rows as a list of ids, report."""
    release = copy_release(raw, to / "raw", "bicycle", train_videos=["0180"])

    def edited(tracking):
        edit(tracking["hoi_instances"])
        return tracking

    rewrite(release / "bicycle/hoi_tracking/0180_tracking.pkl", edited)
    with unchecked():
        run_conversion(plan_wildhoi(release, fps=30), to / "out")
    files = sorted((to / "out/samples/bicycle").glob("train-*"))
    return [i for file in files for i in pq.read_table(file)["image_id"].to_pylist()], load_report(to / "out")


@pytest.mark.parametrize("box", [np.full(4, np.nan), np.array([0.0, 0.0, np.inf, 5.0])])
def test_a_box_that_is_not_finite_is_no_box(raw, tmp_path, box):
    ids, report = spoil_tracking(raw, tmp_path, lambda instances: instances[0]["sequences"][0].update(person_bbox=box))
    assert "0180_001_007638" not in ids and len(ids) > 20
    assert "0180_001_007638" in said(report, "dropped", "bicycle")


@pytest.mark.parametrize("box", ["text", np.zeros(3), None])
def test_a_box_that_is_none_is_no_box(raw, tmp_path, box):
    ids, report = spoil_tracking(raw, tmp_path, lambda instances: instances[0]["sequences"][0].update(person_bbox=box))
    assert "0180_001_007638" not in ids and len(ids) > 20
    assert "0180_001_007638" in said(report, "dropped", "bicycle")


@pytest.mark.parametrize(
    "twice", [lambda i: i.append(i[0]), lambda i: i[0]["sequences"].insert(1, dict(i[0]["sequences"][0]))]
)
def test_what_is_tracked_twice_is_one_row_and_said(raw, tmp_path, twice):
    ids, report = spoil_tracking(raw, tmp_path, twice)
    assert len(ids) == len(set(ids)) > 20
    assert "0180_001_007638" in json.dumps(report)


def test_deleted_projections_of_one_instance_are_counted_for_each_image(raw, samples, tmp_path):
    release = copy_release(raw, tmp_path / "raw", "bicycle")
    (release / "bicycle/hoi_kps/0180/004_hoi_kps.pkl").unlink()
    with unchecked():
        run_conversion(plan_wildhoi(release, fps=30), tmp_path / "out")
    rows, noted = read_rows(tmp_path / "out", "samples"), said(load_report(tmp_path / "out"), "incomplete", "bicycle")
    hit = [i for i in rows if i.startswith("0180_004")]
    assert len(hit) == 12
    for image_id in hit:
        assert differing(samples[30][image_id], rows[image_id]) == {"body_keypoints", "object_keypoints"}
        assert "hoi_kps" in " ".join(noted[image_id])


# --- hostile releases -----------------------------------------------------------------------------------------------

PLACES = [
    "barbell/smplx_tuned/0374/004_smplx.pkl",
    "barbell/object_pose/0374/004_obj_RT.pkl",
    "barbell/hoi_kps/0374/004_hoi_kps.pkl",
    "barbell/wholebody_kps_refined/0374/004_wholebody_kps.pkl",
    "barbell/hoi_mask/0374/001/003425.pkl",
    "barbell/hoi_tracking/0374_tracking.pkl",
    "barbell/object_annotations/corr/0092_008777_001-corr.pkl",
    "barbell/occlusion_maps/0092/001/008777.pkl",
]
ANNOTATION = "data/annotation_hoi/barbell/test/0092_001_008777.pkl"


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("run_command.pkl", ANNOTATION),
        ("run_command_tail.pkl", PLACES[0]),
        *(("run_command.pkl", place) for place in PLACES),
    ],
)
def test_a_pickle_with_code_stops_the_conversion(raw, full_fixtures_dir, tmp_path, monkeypatch, place, file):
    release = copy_release(raw, tmp_path / "raw", "barbell", train_videos=["0374"])
    shutil.copy(full_fixtures_dir / "hostile" / file, release / place)
    monkeypatch.chdir(tmp_path)
    with unchecked(), pytest.raises(InputError) as caught:
        run_conversion(plan_wildhoi(release), tmp_path / "out")
    assert place.rsplit("/", 1)[1] in str(caught.value) and "\n" not in str(caught.value).strip()
    assert not list(tmp_path.rglob("pwned")) and not (tmp_path / "out/dataset.json").exists()
    assert isinstance(caught.value, UnsafeError) or place == ANNOTATION  # defects of annotations come all at once


def test_a_pickle_with_code_stops_workers_too(raw, full_fixtures_dir, tmp_path, monkeypatch):
    release = copy_release(raw, tmp_path / "raw", "barbell", train_videos=["0037", "0374"])
    shutil.copy(full_fixtures_dir / "hostile/run_command.pkl", release / PLACES[0])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"004_smplx\.pkl"):
        run_conversion(plan_wildhoi(release), tmp_path / "out", workers=2)
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


@pytest.mark.parametrize("escape", ["../../../secret/x", "/SECRET/x", "0374/../../../../secret", "x\0y", 7])
@pytest.mark.parametrize("field", ["hoi_id", "frame_id", "train_videos", "test_videos"])
def test_ids_that_are_paths_lead_nowhere(raw, tmp_path, opened, escape, field):
    secret = tmp_path / "secret"
    (secret / "x").mkdir(parents=True)
    (secret / "x.jpg").write_bytes(raw.picture_path("barbell", "0374_001_003425").read_bytes())
    for name in ("_tracking.pkl", "x_tracking.pkl", "x_smplx.pkl", "x_hoi_kps.pkl"):
        (secret / name).write_bytes(pickle.dumps([]))
    escape = escape.replace("/SECRET", str(secret)) if isinstance(escape, str) else escape
    release = tmp_path / "raw"
    shutil.copytree(raw.root / "data/objects", release / "data/objects")
    shutil.copytree(raw.root / "data/contact", release / "data/contact")
    (release / "barbell/hoi_tracking").mkdir(parents=True)
    split = {"train_videos": ["0374"], "test_videos": ["0092"]}
    tracking = read_pickle(raw.root / "barbell/hoi_tracking/0374_tracking.pkl")
    instance = tracking["hoi_instances"][0]
    if field == "hoi_id":
        instance["hoi_id"] = escape
    elif field == "frame_id":
        instance["sequences"][0]["frame_id"] = escape
    else:
        split[field] = [escape, *split[field]]
    (release / "train_test_split.json").write_text(json.dumps({"barbell": split}))
    (release / "barbell/hoi_tracking/0374_tracking.pkl").write_bytes(pickle.dumps(tracking))
    before = tree(tmp_path)
    opened.clear()
    try:
        run_conversion(plan_wildhoi(release, fps=30), tmp_path / "out")
    except InputError as error:
        assert "\n" not in str(error).strip()
    assert not outside(opened, secret)
    assert tree(tmp_path, tmp_path / "out") == before
