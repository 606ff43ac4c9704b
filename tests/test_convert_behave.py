"""BEHAVE's release as a data folder: every number against the raw files by way of world coordinates."""

import json
import pickle
import shutil
from types import SimpleNamespace
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from behave_files import (
    BODY_25_JOINTS,
    BODY_25_ROWS,
    CAMERAS,
    SIZE,
    copy_release,
    pose_joints,
    read_calibration,
    read_fits,
    read_grey,
    write_config,
    write_fits,
    write_frame,
    write_mask,
    write_tracks,
)
from body_files import write_smplh
from PIL import Image
from scipy.spatial.transform import Rotation

from wildhoi import columns
from wildhoi.convert.behave_release import plan_behave
from wildhoi.convert.behave_release.calibration import Kinect
from wildhoi.convert.behave_release.correspondences import Correspondences, solve_pose
from wildhoi.convert.behave_release.initial import LAYOUT
from wildhoi.convert.conversion_report import ConversionReport
from wildhoi.convert.parts import Log
from wildhoi.convert.pipeline import run_conversion
from wildhoi.dataset.annotations import load_annotations
from wildhoi.dataset.folder import open_folder
from wildhoi.errors import InputError, MissingAssetError, UnsafeError
from wildhoi.meshes import read_mesh

BALL, BOX, TEST = "Date01_Sub01_basketball", "Date02_Sub02_boxmedium_hand", "Date03_Sub03_basketball"


@pytest.fixture(scope="module")
def bodies(tmp_path_factory):
    """SMPL-H files: J0 at the origin, as the fixtures have it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = write_smplh(tmp_path_factory.mktemp("bodies"), genders=("male",), pelvis_at_origin=True)
        patch.setenv("WILDHOI_BODY_MODELS", str(folder))
        yield folder


@pytest.fixture(scope="module")
def behave_raw(fixtures_dir):
    folder = fixtures_dir / "behave_raw"
    if not folder.is_dir():
        pytest.skip("needs the full fixtures: behave_raw is not in the trimmed copy")
    return folder


@pytest.fixture
def raw(behave_raw, bodies, tmp_path):
    """A copy of the release that a test may change."""
    return copy_release(behave_raw, tmp_path / "raw")


@pytest.fixture(scope="module")
def converted(behave_raw, bodies):
    return convert(behave_raw)


def convert(raw, **options):
    """Every row of a conversion by image id, and what was noticed."""
    plan, log = plan_behave(raw, **options), Log()
    rows = {"samples": {}, "annotations": {}}
    for part in plan.parts:
        found = {row.image_id: row for row in part.read(part.spec, log)}
        assert not set(found) & set(rows[part.kind])
        rows[part.kind] |= found
    assert list(rows["samples"]) == list(rows["annotations"])
    return SimpleNamespace(plan=plan, log=log, notes="\n".join(plan.remarks(ConversionReport())), **rows)


def scan(raw, name):
    """The template as poses apply to it, by the definition."""
    vertices = read_mesh(raw / "objects" / name / f"{name}_f1000.ply").vertices
    return vertices - vertices.mean(axis=0)


def to_pixels(points, focal, centre):
    return points[:, :2] / points[:, 2:] * focal + centre


def in_camera(points, camera):
    return points @ camera.rotation.T + camera.translation


def posed(vertices, pose):
    return vertices @ pose.rotation.T + pose.translation


def frames(raw):
    """Every frame that has fits: sequence, folder, the object's name and that of its folder."""
    for sequence in sorted((raw / "sequences").iterdir()):
        for folder in sorted(sequence.glob("t*")):
            for fit in folder.glob("*/fit01"):
                yield sequence.name, folder, sequence.name.split("_")[2], fit.parent.name


def image_id(sequence, folder, camera):
    date, subject, thing, *action = sequence.split("_")
    return f"{date[-1]}_{subject[-1]}_{thing}_{''.join(action) or 'none'}_{folder.name[2:5]}_{camera}"


# the whole release


def test_every_frame_and_camera_with_fits_is_a_row(behave_raw, converted):
    expected = {image_id(s, f, k): f"{s}/{f.name}" for s, f, *_ in frames(behave_raw) for k in CAMERAS}
    assert len(expected) == 20 and "3_3_basketball_none_004_2" in expected and "2_2_boxmedium_hand_003_0" in expected
    assert {name: row.scene_id for name, row in converted.annotations.items()} == expected
    for name, row in converted.annotations.items():
        sample = converted.samples[name]
        assert (row.object, row.video_id) == (name.split("_")[2], expected[name].split("/")[0])
        assert (sample.object, sample.video_id, sample.gender, row.gender) == (row.object, row.video_id, "male", "male")
    without_fits = [f"2_2_boxmedium_hand_004_{k}" for k in CAMERAS]
    assert {reason: sorted(set(ids)) for reason, ids in converted.log.dropped.items()} == {
        "no fit of the person": without_fits
    }
    assert dict(converted.log.incomplete) == {"no object mask": [f"1_1_basketball_none_004_{k}" for k in CAMERAS]}
    assert (converted.plan.name, converted.plan.body_model, converted.plan.track) == ("behave", "smplh", "gt-rendered")


def test_joints_land_on_the_stored_keypoints(behave_raw, converted):
    for sequence, folder, *_ in frames(behave_raw):
        for camera in CAMERAS:
            row = converted.annotations[image_id(sequence, folder, camera)]
            joints = in_camera(pose_joints(row.human.body_pose), row.camera)
            pixels = to_pixels(joints, row.camera.focal, row.camera.principal_point)
            stored = np.array(json.loads((folder / f"k{camera}.color.json").read_text())["body_joints"]).reshape(25, 3)
            np.testing.assert_allclose(pixels[list(BODY_25_JOINTS)], stored[BODY_25_ROWS, :2], atol=6e-4)
            np.testing.assert_allclose(converted.samples[row.image_id].openpose_keypoints, stored)


def test_objects_are_where_world_coordinates_put_them(behave_raw, converted):
    for sequence, folder, name, stem in frames(behave_raw):
        body, placed = read_fits(folder, stem)
        world = Rotation.from_rotvec(placed["angle"]).apply(scan(behave_raw, name)) + placed["trans"]
        stored = read_mesh(folder / stem / "fit01" / f"{stem}_fit.ply").vertices
        np.testing.assert_allclose(world, stored, atol=1e-6)
        relative = []
        for camera in CAMERAS:
            row = converted.annotations[image_id(sequence, folder, camera)]
            rotation, translation, focal, centre = read_calibration(behave_raw, sequence[:6], camera)
            seen = in_camera(posed(scan(behave_raw, name), row.object_pose), row.camera)
            np.testing.assert_allclose(seen, (world - translation) @ rotation, atol=1e-6)
            assert (row.camera.focal == focal).all() and (row.camera.principal_point == centre).all()
            np.testing.assert_allclose(row.human.left_hand_pose.ravel(), body["pose"][66:111])
            np.testing.assert_allclose(row.human.right_hand_pose.ravel(), body["pose"][111:])
            np.testing.assert_allclose(row.human.betas, np.ravel(body["betas"]))
            relative.append(np.hstack([row.object_pose.rotation, row.object_pose.translation[:, None]]))
        assert np.ptp(relative, axis=0).max() < 1e-5


@pytest.mark.parametrize("seed", range(3))
def test_any_calibration_and_pelvis_give_one_relative_pose(raw, tmp_path, monkeypatch, seed):
    rng = np.random.default_rng(seed)
    folder = write_smplh(tmp_path / "bodies", genders=("male",))
    monkeypatch.setenv("WILDHOI_BODY_MODELS", str(folder))
    arrays = np.load(folder / "smplh" / "SMPLH_MALE.npz")
    for camera in CAMERAS:
        turn = Rotation.from_rotvec(rng.normal(0, 1, 3)).as_matrix()
        write_config(raw, "Date02", camera, turn, rng.normal(0, 1, 3))
    place = raw / "sequences" / BOX / "t0003.000"
    body, placed = read_fits(place, "boxmedium")
    body = {**body, "pose": rng.normal(0, 0.5, 156), "betas": rng.normal(0, 1, 10)}
    write_fits(place, "boxmedium", body, placed)
    rest = arrays["J_regressor"][0] @ (arrays["v_template"] + arrays["shapedirs"][:, :, :10] @ body["betas"])
    root = Rotation.from_rotvec(body["pose"][:3])
    # a point of the body's own frame with the pelvis at the origin: where does the release put it in the world?
    points = rng.normal(0, 1, (5, 3))
    world = root.apply(points) + rest + body["trans"]
    world_object = Rotation.from_rotvec(placed["angle"]).apply(scan(raw, "boxmedium")) + placed["trans"]
    rows = convert(raw, objects=["boxmedium"]).annotations.values()
    assert len(rows) == 4
    for row in rows:
        rotation, translation, *_ = read_calibration(raw, "Date02", int(row.image_id[-1]))
        np.testing.assert_allclose(in_camera(points, row.camera), (world - translation) @ rotation, atol=1e-9)
        seen = in_camera(posed(scan(raw, "boxmedium"), row.object_pose), row.camera)
        np.testing.assert_allclose(seen, (world_object - translation) @ rotation, atol=1e-6)
    poses = [np.hstack([row.object_pose.rotation, row.object_pose.translation[:, None]]) for row in rows]
    assert np.ptp(poses, axis=0).max() < 1e-5


def test_crops_and_masks_are_those_of_the_pictures(behave_raw, converted):
    for sequence, folder, *_ in frames(behave_raw):
        for camera in CAMERAS:
            sample = converted.samples[image_id(sequence, folder, camera)]
            assert sample.frame_size == SIZE
            corners = []
            for who, stem in (("person", "person_mask"), ("object", "obj_rend_mask")):
                if not (folder / f"k{camera}.{stem}.jpg").is_file():
                    assert getattr(sample, f"{who}_mask") is None and getattr(sample, f"{who}_box") is None
                    continue
                whole = read_grey(folder / f"k{camera}.{stem}.jpg")
                x, y, w, h = getattr(sample, f"{who}_mask_box")
                rebuilt = np.zeros_like(whole)
                rebuilt[y : y + h, x : x + w] = getattr(sample, f"{who}_mask")
                assert (rebuilt == whole).all()
                ys, xs = np.nonzero(whole)
                expected = [xs.min(), ys.min(), xs.max(), ys.max()]
                assert getattr(sample, f"{who}_box").tolist() == expected
                corners.append(expected)
            x, y, w, h = sample.image_box
            (left, top), (right, bottom) = np.min(corners, 0)[:2], np.max(corners, 0)[2:]
            half = 0.6 * max(right - left, bottom - top)
            assert abs(x - max((left + right) / 2 - half, 0)) <= 1 and abs(y - max((top + bottom) / 2 - half, 0)) <= 1
            assert abs(x + w - 1 - min((left + right) / 2 + half, SIZE[0] - 1)) <= 1
            picture = np.asarray(Image.open(folder / f"k{camera}.color.jpg").convert("RGB")).astype(int)
            assert np.abs(sample.image.astype(int) - picture[y : y + h, x : x + w]).max() <= 3


def test_nothing_of_the_truth_but_correspondences_is_in_a_sample(converted):
    for sample in converted.samples.values():
        assert sample.human is None and sample.camera is None and sample.object_pose is None
        assert not sample.object_pose_success
        assert set(np.unique(sample.object_correspondences_weights)) == {0, 1}


def test_rendered_correspondences_reproject_into_their_cells(behave_raw, converted):
    for name, sample in converted.samples.items():
        row = converted.annotations[name]
        cells, box = sample.object_correspondences, sample.object_correspondences_box
        covered = sample.object_correspondences_weights[:, :, 0] == 1
        assert (cells.any(axis=-1) == covered).all() and covered.sum() > 500 and box[2] == box[3]
        j, i = np.nonzero(covered)
        seen = in_camera(posed(cells[covered], row.object_pose), row.camera)
        wanted = box[:2] + np.stack([i, j], 1) * box[2:] / 64
        error = to_pixels(seen, row.camera.focal, row.camera.principal_point) - wanted
        assert np.abs(error).max() < 1e-2 < 0.75 * box[2] / 64
        # the whole silhouette, which fills 1 / 1.2 of the box: as wide as the posed template
        pixels = to_pixels(
            in_camera(posed(scan(behave_raw, row.object), row.object_pose), row.camera),
            row.camera.focal, row.camera.principal_point,
        )  # fmt: skip
        middle, size = (pixels.max(0) + pixels.min(0)) / 2, np.ptp(pixels, axis=0).max()
        np.testing.assert_allclose(box[:2] + box[2:] / 2, middle, atol=1e-3)
        np.testing.assert_allclose(box[2], 1.2 * size, atol=1e-3)
        if sample.object_mask is not None:  # the visible part lies on it
            ys, xs = np.nonzero(sample.object_mask)
            at = np.rint((np.stack([xs, ys], 1) + sample.object_mask_box[:2] - box[:2]) * 64 / box[2:]).astype(int)
            assert covered[at[:, 1].clip(0, 63), at[:, 0].clip(0, 63)].mean() > 0.9


def test_a_data_folder_holds_it_all(behave_raw, bodies, converted, tmp_path):
    run_conversion(plan_behave(behave_raw), tmp_path / "out")
    folder = open_folder(tmp_path / "out")
    rows = [row for split in ("train", "test") for row in load_annotations(folder, split)]
    assert sorted(row.image_id for row in rows) == sorted(converted.annotations)
    for row in rows:
        known = converted.annotations[row.image_id]
        np.testing.assert_allclose(row.object_pose.translation, known.object_pose.translation, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(row.human.body_pose, known.human.body_pose, rtol=1e-6, atol=1e-7)
    for name, vertices in (("basketball", 310), ("boxmedium", 514)):
        info = json.loads((folder.objects / name / "info.json").read_text())
        mesh = read_mesh(folder.objects / name / "template.ply")
        np.testing.assert_allclose(mesh.vertices, scan(behave_raw, name), atol=1e-7)
        assert info["vertices"] == len(mesh.vertices) == vertices and info["faces"] == len(mesh.faces)
        np.testing.assert_allclose(info["extents"], np.ptp(mesh.vertices, axis=0), atol=1e-4)
        np.testing.assert_allclose(scan(behave_raw, name) + info["mean"], mesh.vertices + info["mean"], atol=1e-6)
        gaps = np.linalg.norm(mesh.vertices[:, None] - mesh.vertices[None], axis=-1)
        assert abs(info["diameter"] - gaps.max()) < 1e-5
    lists = json.loads((tmp_path / "out" / "lists" / "split.json").read_text())
    assert lists == json.loads((behave_raw / "split.json").read_text())
    report = (tmp_path / "out" / "conversion_report.json").read_text()
    assert "vertices, the published one 508" in report and "no fit of the person" in report


# irregularities


def test_full_masks_tell_the_visible_share(raw):
    place = raw / "sequences" / BALL / "t0003.000"
    seen = read_grey(place / "k1.obj_rend_mask.jpg")
    full = seen.copy()
    ys, xs = np.nonzero(seen)
    full[ys.min() : ys.max() + 1, xs.min() - 60 : xs.max() + 1] = True
    write_mask(place / "k1.obj_rend_full.jpg", full)
    write_mask(place / "k2.obj_rend_full.png", np.ones_like(full))
    write_mask(place / "k2.obj_rend_mask.jpg", np.zeros_like(full))
    write_mask(place / "k3.obj_rend_full.png", np.ones((192, 256), bool))
    found = convert(raw, objects=["basketball"], splits=["train"])
    rows = {k: found.annotations[f"1_1_basketball_none_003_{k}"] for k in CAMERAS}
    full = read_grey(place / "k1.obj_rend_full.jpg")
    assert rows[1].visible == pytest.approx(seen.sum() / full.sum()) and 0 < rows[1].visible < 1
    assert rows[2].visible == 0.0 and rows[0].visible is None and rows[3].visible is None
    assert found.log.incomplete["object mask is empty"] == ["1_1_basketball_none_003_2"]
    # the crop is about the whole object, the mask the visible part of it
    assert found.samples["1_1_basketball_none_003_2"].image_box == (0, 0, *SIZE)


def test_what_is_missing_is_counted(raw):
    place = raw / "sequences" / BALL / "t0003.000"
    (place / "k0.color.jpg").unlink()
    (place / "k1.person_mask.jpg").unlink()
    (place / "k2.color.json").unlink()
    (place / "k3.color.json").write_text('{"body_joints": [1, 2, "a"]}')
    shutil.copy(place / "k1.obj_rend_mask.jpg", place / "k1.obj_mask.jpg")
    (place / "k1.obj_rend_mask.jpg").unlink()
    shutil.rmtree(raw / "sequences" / BALL / "t0004.000" / "basketball")
    found = convert(raw, objects=["basketball"], splits=["train"])
    start = "1_1_basketball_none_00"
    assert {reason: sorted(set(ids)) for reason, ids in found.log.dropped.items()} == {
        "no picture": [start + "3_0"],
        "no fit of the object": [f"{start}4_{k}" for k in CAMERAS],
    }
    assert dict(found.log.incomplete) == {
        "no person mask": [start + "3_1"],
        "no OpenPose keypoints": [start + "3_2"],
        "OpenPose keypoints cannot be read": [start + "3_3"],
    }
    assert found.samples[start + "3_1"].object_mask is not None


def test_hostile_and_damaged_files_cost_a_row_or_a_field(raw, fixtures_dir, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    hostile = fixtures_dir / "hostile"
    first, second = (raw / "sequences" / BALL / f"t000{n}.000" for n in (3, 4))
    shutil.copy(hostile / "truncated.pkl", second / "person/fit02/person_fit.pkl")
    shutil.copy(hostile / "text.jpg", first / "k0.color.jpg")
    shutil.copy(hostile / "truncated.jpg", first / "k1.obj_rend_mask.jpg")
    (first / "k2.color.jpg").write_bytes((first / "k3.color.jpg").read_bytes()[:5000])
    body, placed = read_fits(raw / "sequences" / TEST / "t0003.000", "sports ball")
    write_fits(raw / "sequences" / TEST / "t0003.000", "sports ball", body, {**placed, "trans": np.full(3, np.nan)})
    body, placed = read_fits(raw / "sequences" / TEST / "t0004.000", "sports ball")
    write_fits(raw / "sequences" / TEST / "t0004.000", "sports ball", {**body, "pose": np.zeros(7)}, placed)
    found = convert(raw, objects=["basketball"])
    assert {reason: len(set(ids)) for reason, ids in found.log.dropped.items()} == {
        "fit of the person cannot be read": 4,
        "fit of the object has wrong or NaN numbers": 4,
        "fit of the person has wrong or NaN numbers": 4,
    }
    start = "1_1_basketball_none_003_"
    bad = "picture cannot be decoded or is of another size"
    assert found.log.incomplete[bad] == [start + "0", start + "2"] and found.samples[start + "0"].image is None
    assert found.log.incomplete["object mask cannot be decoded or is of another size"] == [start + "1"]


def test_a_fit_with_code_stops_the_conversion(raw, fixtures_dir, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    fit = raw / "sequences" / BALL / "t0004.000" / "person/fit02/person_fit.pkl"
    shutil.copy(fixtures_dir / "hostile/run_command.pkl", fit)
    with pytest.raises(UnsafeError, match=r"person_fit.pkl.*posix.system"):
        convert(raw, objects=["basketball"])
    assert not list(tmp_path.rglob("pwned")) and not list(raw.rglob("pwned"))


def test_old_pickles_are_read(raw):
    place = raw / "sequences" / BALL / "t0003.000"
    body, placed = read_fits(place, "basketball")
    for path, content in (("person/fit02/person_fit.pkl", body), ("basketball/fit01/basketball_fit.pkl", placed)):
        (place / path).write_bytes(pickle.dumps({k: np.asarray(v) for k, v in content.items()}, protocol=2))
    assert "1_1_basketball_none_003_0" in convert(raw, objects=["basketball"], splits=["train"]).annotations


def test_information_that_is_not_given_is_known_by_subject(raw):
    path = raw / "sequences" / BALL / "info.json"
    info = json.loads(path.read_text())
    del info["kinects"], info["gender"]
    path.write_text(json.dumps(info))
    (raw / "sequences" / TEST / "info.json").write_text("{")
    found = convert(raw, objects=["basketball"])
    assert {name[-1] for name in found.annotations if name.startswith("1")} == {"0", "1", "2"}
    assert {name[-1] for name in found.annotations if name.startswith("3")} == {"0", "1", "2", "3"}
    assert {row.gender for row in found.annotations.values()} == {"male"}
    assert f"{TEST}: info.json cannot be read" in found.notes


def test_split_and_disk_may_differ(raw):
    split = json.loads((raw / "split.json").read_text())
    split["train"] += ["Date01_Sub01_boxmedium_lift", "../../evil", "Date01_Sub01_unheardof"]
    split["train"].remove(BOX)
    (raw / "split.json").write_text(json.dumps(split))
    found = convert(raw)
    assert {row.video_id for row in found.annotations.values()} == {BALL, TEST}
    assert "1 sequences of the split are not on disk: Date01_Sub01_boxmedium_lift" in found.notes
    assert "2 names of the split are of no known object: ../../evil, Date01_Sub01_unheardof" in found.notes
    assert f"1 sequences on disk are in no split: {BOX}" in found.notes
    assert "published are 231 + 90 or 217 + 82" in found.notes


# 30 fps


def test_tracks_are_joined_by_time(raw, behave_raw):
    pictures = behave_raw / "sequences" / BALL / "t0003.000"
    times = [f"t{3 + n / 30:08.3f}" for n in range(9)]
    for time in times[1:]:
        write_frame(raw, BALL, time, pictures=pictures)
    folder = raw / "behave-30fps-params-v1" / BALL
    body, placed = (dict(np.load(folder / f"{who}_fit_all.npz")) for who in ("smpl", "object"))
    assert (len(body["poses"]), len(placed["angles"])) == (9, 7)
    # the object starts two frames late, so that an index means another time in each track
    np.savez(folder / "object_fit_all.npz", **{key: value[2:] for key, value in placed.items()})
    found = convert(raw, fits="30fps", objects=["basketball"], splits=["train"])
    assert sorted(found.annotations) == sorted(
        f"1_1_basketball_none_{time[2:]}_{k}" for time in times[2:7] for k in CAMERAS
    )
    for row in found.annotations.values():
        i = times.index(row.scene_id.split("/")[1])
        rotation, translation, *_ = read_calibration(raw, "Date01", int(row.image_id[-1]))
        root, turn = (Rotation.from_rotvec(values[i]) for values in (body["poses"][:, :3], placed["angles"]))
        joints = pose_joints(body["poses"][i, 3:66].reshape(21, 3), body["poses"][i, :3]) + body["trans"][i]
        np.testing.assert_allclose(
            in_camera(pose_joints(row.human.body_pose), row.camera), (joints - translation) @ rotation, atol=1e-9
        )
        np.testing.assert_allclose(row.object_pose.rotation, (root.inv() * turn).as_matrix(), atol=1e-9)
        np.testing.assert_allclose(
            row.object_pose.translation, root.inv().apply(placed["trans"][i] - body["trans"][i]), atol=1e-9
        )
    lost = found.log.dropped
    assert {name.split("_")[4] for name in lost["no fit of the object"]} == {t[2:] for t in times[:2] + times[7:]}
    assert {name.split("_")[4] for name in lost["no fit of the person"]} == {"004.000"}


def test_second_parts_belong_to_their_first(raw, behave_raw):
    first = "Date02_Sub02_toolbox"
    scans = raw / "objects" / "toolbox"
    scans.mkdir()
    shutil.copy(raw / "objects/boxmedium/boxmedium_f1000.ply", scans / "toolbox_f2000.ply")
    split = json.loads((raw / "split.json").read_text())
    split["train"].append(first)
    (raw / "split.json").write_text(json.dumps(split))
    rng, pictures = np.random.default_rng(0), behave_raw / "sequences" / BALL / "t0003.000"
    write_frame(raw, first, "t0003.000", pictures=pictures)
    write_frame(raw, first + "_part2", "t0040.033", pictures=pictures)
    tracks = raw / "behave-30fps-params-v1"
    bodies_1, _ = write_tracks(tracks / first, ["t0003.000", "t0003.033"], ["t0003.000"], rng)
    bodies_2, _ = write_tracks(tracks / f"{first}_part2", ["t0040.033"], ["t0040.000", "t0040.033"], rng, dtype="S9")
    found = convert(raw, fits="30fps", objects=["toolbox"])
    assert {name[:-2] for name in found.annotations} == {"2_2_toolbox_none_003.000", "2_2_toolbox_none_040.033"}
    assert {row.video_id for row in found.annotations.values()} == {first}
    for name, body in (("003.000", bodies_1["t0003.000"]), ("040.033", bodies_2["t0040.033"])):
        row = found.annotations[f"2_2_toolbox_none_{name}_1"]
        np.testing.assert_allclose(row.human.body_pose.ravel(), body["poses"][3:66])
    assert "in no split" not in found.notes
    listed = raw / "list.txt"
    listed.write_text(f"{first}_part2/t0040.033/k2.color.jpg\n\nsomewhere/{first}/t0003.000/k0.color.jpg\n")
    key = convert(raw, keyframes=listed)
    assert list(key.annotations) == ["2_2_toolbox_none_003.000_0", "2_2_toolbox_none_040.033_2"]
    reports = key.plan.prepare(raw / "out")
    assert "made from toolbox_f2000.ply" in "".join(reports["toolbox"].template.notes)


def forge_header(path, old, new):
    """Let the header of an array claim another shape, in an archive that is otherwise sound."""
    with ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert len(old) == len(new) and old in members["poses.npy"]
    members["poses.npy"] = members["poses.npy"].replace(old, new)
    with ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("damage", ["cut", "pickled", "claim", "text", "lengths"])
def test_damaged_tracks_cost_their_rows(raw, damage):
    path = raw / "behave-30fps-params-v1" / BALL / "smpl_fit_all.npz"
    arrays = dict(np.load(path))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    elif damage == "pickled":
        np.savez(path, **{**arrays, "frame_times": np.array([["a"], "b"] * 5, object)})
    elif damage == "claim":
        forge_header(path, b"(9, 156), }     ", b"(999999, 156), }")
    elif damage == "text":
        path.write_bytes(b"no archive")
    else:
        np.savez(path, **{**arrays, "trans": arrays["trans"][1:]})
    found = convert(raw, fits="30fps", objects=["basketball"], splits=["train"])
    assert not found.annotations
    assert {reason: len(set(ids)) for reason, ids in found.log.dropped.items()} == {
        "30 fps fits of the person cannot be read": 8
    }


# key frames


def key_frame_file(path, entries):
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps({"train": entries[:1], "test": entries[1:]}))
    elif path.suffix == ".json":
        path.write_text(json.dumps({"train": entries[:1], "test": entries[1:]}))
    else:
        path.write_text("\n".join(entries))
    return path


@pytest.mark.parametrize("suffix", [".pkl", ".json", ".txt"])
def test_key_frames_alone_are_converted(raw, tmp_path, suffix):
    entries = [
        f"{BALL}/t0003.000/k2.color.jpg",
        f"{BALL}/t0003.067/k1.color.jpg",
        f"{BALL}/t0003.267/k0.color.jpg",
        f"{TEST}/t0003.000/k0.color.jpg",
        "Date03_Sub04_boxtiny_part2/t0003.000/k0.color.jpg",
    ]
    found = convert(raw, keyframes=key_frame_file(tmp_path / f"list{suffix}", entries))
    start = "1_1_basketball_none_003."
    assert list(found.annotations) == [start + "000_2", start + "067_1"]
    # a key frame is a row even where its picture was never taken out of the video
    assert found.samples[start + "067_1"].image is None and found.log.incomplete["no picture"] == [start + "067_1"]
    assert set(found.log.dropped["no fit of the object"]) == {start + "267_0"}
    assert set(found.log.dropped["no fit of the person"]) == {"3_3_basketball_none_003.000_0"}
    assert "not converted: 3_4_boxtiny_none_003.000_0" in found.notes
    found.plan.prepare(tmp_path / "out")
    listed = json.loads((tmp_path / "out/lists/keyframes.json").read_text())
    assert set(found.annotations) < set(listed) and len(listed) == 5
    at_one_fps = convert(raw, fits="frames", keyframes=key_frame_file(tmp_path / f"list{suffix}", entries))
    assert list(at_one_fps.annotations) == [start + "000_2", "3_3_basketball_none_003.000_0"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'["../../etc/passwd"]', "entry"),
        ("a.json", b'{"test": "x"}', "want a list"),
        ("a.json", b"[]", "lists no image"),
        ("a.json", b"[1]", "entry '1'"),
        ("a.csv", b"", "as .pkl, .json or .txt"),
        ("a.txt", b"x/t0003.000/k0.color.jpg", "sequence 'x'"),
        ("a.txt", b"Date05_Sub05_stool/t0003.000/k0.color.jpg", "no key frame is of a sequence"),
    ],
)
def test_what_is_no_list_of_key_frames_is_refused(behave_raw, bodies, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        plan_behave(behave_raw, keyframes=tmp_path / name)


def test_a_list_with_code_is_refused(behave_raw, bodies, fixtures_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="system"):
        plan_behave(behave_raw, keyframes=fixtures_dir / "hostile" / "run_command.pkl")
    assert not (tmp_path / "pwned").exists()


# initial estimates


def body_row(annotation):
    """An estimate that happens to be the truth."""
    return {
        **columns.human_row(annotation.human),
        "camera_rotation": annotation.camera.rotation,
        "camera_translation": annotation.camera.translation,
    }


def map_row(sample):
    """A sample's correspondences in the form of EPro-PnP's files."""
    j, i = np.mgrid[:64, :64]
    x, y, side, _ = sample.object_correspondences_box
    pixels = np.stack([x + i * side / 64, y + j * side / 64], -1)
    weights = sample.object_correspondences_weights * 0.3
    return {"x3d": sample.object_correspondences, "x2d": pixels, "w2d": weights}


def camera_row(annotation):
    """The object's pose in the camera frame."""
    camera, pose = annotation.camera, annotation.object_pose
    return {
        "object_camera_rotation": camera.rotation @ pose.rotation,
        "object_camera_translation": camera.rotation @ pose.translation + camera.translation,
    }


def write_init(path, rows):
    columns.write_rows(path, LAYOUT, [{"image_id": name, **row} for name, row in rows.items()])
    return path


def assert_same_pose(found, wanted, tolerance=2e-5):
    np.testing.assert_allclose(found.rotation, wanted.rotation, atol=tolerance)
    np.testing.assert_allclose(found.translation, wanted.translation, atol=tolerance)


def test_a_file_of_estimates_comes_out_in_the_samples(behave_raw, bodies, converted, tmp_path):
    names = [f"1_1_basketball_none_00{frame}_{k}" for frame in (3, 4) for k in CAMERAS]
    truth, maps = converted.annotations, {name: map_row(converted.samples[name]) for name in names}
    bent = {**maps[names[4]], "x2d": maps[names[4]]["x2d"] + np.eye(64)[..., None]}
    rows = {
        names[0]: {
            **body_row(truth[names[0]]),
            **columns.object_row(truth[names[0]].object_pose),
            "object_scale": 1.5,
            **maps[names[0]],
        },
        names[1]: {**body_row(truth[names[1]]), **camera_row(truth[names[1]])},
        names[2]: {**body_row(truth[names[2]]), **maps[names[2]]},
        names[3]: maps[names[3]],
        names[4]: {**body_row(truth[names[4]]), **bent},
        names[5]: {**body_row(truth[names[5]]), "camera_rotation": 2 * np.eye(3), **camera_row(truth[names[5]])},
        names[6]: {**body_row(truth[names[6]]), "betas": np.full(10, np.nan), "x3d": maps[names[6]]["x3d"]},
        "1_1_basketball_none_099_0": {},
    }
    path = write_init(tmp_path / "init.parquet", rows)
    found = convert(behave_raw, init=path, objects=["basketball"], splits=["train"])
    assert found.plan.track == "given"
    samples = [found.samples[name] for name in names]
    assert dict(found.log.incomplete) == {
        "no object mask": names[4:],
        "no object pose or correspondences in the initial estimate": names[4:7],
        "correspondences whose pixels are no regular grid": [names[4]],
        "initial camera_rotation is no rotation": [names[5]],
        "initial object pose in the camera frame, but no camera of an estimated body": [names[5]],
        "initial estimate with NaN or infinite numbers": [names[6]],
        "correspondences without one of x3d, x2d, w2d": [names[6]],
        "no initial estimate": [names[7]],
    }
    for sample, name in zip(samples[:3], names, strict=False):
        np.testing.assert_allclose(sample.human.body_pose, truth[name].human.body_pose, atol=1e-6)
        np.testing.assert_allclose(sample.camera.rotation, truth[name].camera.rotation, atol=1e-6)
        np.testing.assert_allclose(sample.camera.translation, truth[name].camera.translation, atol=1e-6)
        assert (sample.camera.focal == truth[name].camera.focal).all()
    assert_same_pose(samples[0].object_pose, truth[names[0]].object_pose, 1e-6)
    assert_same_pose(samples[1].object_pose, truth[names[1]].object_pose, 1e-6)
    assert_same_pose(samples[2].object_pose, truth[names[2]].object_pose, 1e-4)  # solved
    assert [s.object_pose.scale for s in samples[:3]] == [1.5, 1.0, 1.0]
    assert [s.object_pose_success for s in samples] == [True, True, True] + [False] * 5
    for i in (0, 2, 3):
        drawn = converted.samples[names[i]]
        assert (samples[i].object_correspondences == drawn.object_correspondences).all()
        np.testing.assert_allclose(samples[i].object_correspondences_box, drawn.object_correspondences_box, atol=2e-3)
        np.testing.assert_allclose(
            samples[i].object_correspondences_weights, 0.3 * drawn.object_correspondences_weights
        )
    # no body, no frame to stand in; and the tracks do not mix
    assert samples[3].object_pose is None and samples[3].camera is None
    assert all(samples[i].object_correspondences is None for i in (1, 4, 5, 6, 7))
    assert samples[6].human is None and samples[6].camera is not None


def test_bodies_alone_leave_the_object_to_the_rendered_track(behave_raw, bodies, converted, tmp_path):
    truth = {name: row for name, row in converted.annotations.items() if row.object == "boxmedium"}
    for name, row in truth.items():
        write_init(tmp_path / "init" / f"{name}.parquet", {name: {**body_row(row), "left_hand_pose": None}})
    found = convert(behave_raw, init=tmp_path / "init", objects=["boxmedium"])
    assert found.plan.track == "gt-rendered" and list(found.samples) == list(truth)
    for name, sample in found.samples.items():
        assert_same_pose(sample.object_pose, truth[name].object_pose, 1e-4)
        assert sample.object_pose_success and not sample.human.left_hand_pose.any()
        np.testing.assert_allclose(sample.human.right_hand_pose, truth[name].human.right_hand_pose, atol=1e-6)


def test_files_that_hold_no_estimates_are_refused(behave_raw, bodies, fixtures_dir, tmp_path):
    pq.write_table(pa.table({"image_id": ["a"], "betas": [[1.0, 2.0]]}), tmp_path / "short.parquet")
    pq.write_table(pa.table({"image_id": ["a", "b", "a"]}), tmp_path / "twice.parquet")
    pq.write_table(pa.table({"image_id": ["a"], "x3d": ["b"]}), tmp_path / "text.parquet")
    pq.write_table(pa.table({"name": ["a"]}), tmp_path / "nameless.parquet")
    for path, error, message in (
        (tmp_path / "short.parquet", InputError, "betas: got 2 numbers, want 10"),
        (tmp_path / "twice.parquet", InputError, "'a' is there twice"),
        (tmp_path / "text.parquet", InputError, "x3d: got string"),
        (tmp_path / "nameless.parquet", InputError, "image_id: got absent"),
        (fixtures_dir / "hostile" / "truncated.parquet", InputError, "not a readable Parquet"),
        (tmp_path / "absent.parquet", MissingAssetError, "no such file"),
    ):
        with pytest.raises(error, match=message):
            plan_behave(behave_raw, init=path)


# a folder that is no release


@pytest.mark.parametrize("missing", ["split.json", "sequences", "calibs", "objects"])
def test_what_is_no_release_is_named(raw, missing):
    path = raw / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(MissingAssetError, match=f"has no {missing}"):
        plan_behave(raw)


@pytest.mark.parametrize(
    ("path", "content", "error", "message"),
    [
        ("split.json", "{", InputError, "cannot be read as JSON"),
        ("split.json", '{"train": []}', InputError, "want"),
        ("split.json", '{"train": [1], "test": []}', InputError, "want"),
        ("split.json", '{"train": ["a"], "test": ["a"]}', InputError, "in train and in test"),
        ("split.json", '{"train": [], "test": []}', MissingAssetError, "has no sequence of split train, test"),
        ("calibs/Date03/config/2/config.json", None, MissingAssetError, "Date03/config/2/config.json: no such file"),
        ("calibs/Date03/config/2/config.json", '{"rotation": [1]}', InputError, "want 9 numbers"),
        ("calibs/Date03/config/2/config.json", '{"rotation": [1,0,0,0,1,0,0,0,2]}', InputError, "no rotation"),
        ("calibs/intrinsics/1/calibration.json", "{}", InputError, "want an object with an object 'color'"),
        ("objects/boxmedium/boxmedium_f1000.ply", None, MissingAssetError, "no template of boxmedium"),
    ],
)
def test_what_a_conversion_cannot_do_without_is_named(raw, path, content, error, message):
    if content is None:
        (raw / path).unlink()
    else:
        (raw / path).write_text(content)
    with pytest.raises(error, match=message):
        plan_behave(raw)


def test_options_are_checked(behave_raw, bodies, monkeypatch):
    for options, message in (
        ({"objects": ["barbell"]}, "not in BEHAVE"),
        ({"objects": ["nothing"]}, "unknown"),
        ({"splits": ["val"]}, "'val'"),
        ({"fits": "10fps"}, "want frames or 30fps"),
    ):
        with pytest.raises(InputError, match=message):
            plan_behave(behave_raw, **options)
    monkeypatch.setenv("WILDHOI_BODY_MODELS", str(behave_raw))
    with pytest.raises(MissingAssetError, match="SMPLH_MALE"):
        plan_behave(behave_raw)


def test_keypoints_come_with_the_template(raw, tmp_path):
    path = raw / "behave_obj_keypoints" / "basketball_keypoints.json"
    path.parent.mkdir()
    path.write_text('{"0": [1, 2, 3]}')
    report = plan_behave(raw, objects=["basketball"]).prepare(tmp_path)["basketball"]
    assert json.loads((tmp_path / "objects/basketball/keypoints.json").read_text()) == {"0": [1, 2, 3]}
    assert report.template.keypoints == 1


def test_a_pose_is_solved_from_what_agrees():
    rng = np.random.default_rng(0)
    kinect = Kinect(np.eye(3), np.zeros(3), np.array([980.0, 981.0]), np.array([1020.0, 780.0]), (2048, 1536))
    turn, shift = Rotation.from_rotvec([0.4, -0.9, 0.3]).as_matrix(), np.array([0.2, 0.1, 2.5])
    found = Correspondences(
        np.zeros((64, 64, 3), np.float32), np.array([950.0, 650.0, 300, 300]), np.zeros((64, 64, 2), np.float32)
    )
    rays = np.dstack([(found.pixels - kinect.principal_point) / kinect.focal, np.ones((64, 64))])
    depth = 2.5 + rng.uniform(-0.2, 0.2, (64, 64, 1))
    points = ((rays * depth - shift) @ turn).astype(np.float32)
    weights = np.full((64, 64, 2), 0.3, np.float32)
    points[:16], weights[:16] = 0, 0.001  # background
    wrong = rng.random((64, 64)) < 0.3
    points[wrong] += rng.normal(0, 0.2, (wrong.sum(), 3)).astype(np.float32)
    agreed = Correspondences(points, found.box, weights)
    for _ in range(2):  # the same every time
        pose = solve_pose(agreed, kinect)
        np.testing.assert_allclose(pose.rotation, turn, atol=1e-3)
        np.testing.assert_allclose(pose.translation, shift, atol=2e-3)
    assert solve_pose(found, kinect) is None
    noise = Correspondences(rng.normal(0, 1, (64, 64, 3)).astype(np.float32), found.box, weights)
    assert solve_pose(noise, kinect) is None
