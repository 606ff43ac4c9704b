import json
import pickle
import shutil

import numpy as np
import pytest

from wildhoi.convert.pipeline import run_conversion
from wildhoi.convert.safe_pickle import load_pickle
from wildhoi.convert.wildhoi_release import plan_wildhoi, read_results
from wildhoi.dataset import find_data, load_annotations
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import sha256_file
from wildhoi.geometry import axis_rotation
from wildhoi.meshes import read_mesh
from wildhoi.schema import Failure, Reconstruction
from wildhoi.submission.defects import DefectError
from wildhoi.templates import load_template

OBJECTS = ("barbell", "bicycle", "skateboard")
FIELDS = {
    "smplx_betas": lambda a: a.human.betas,
    "smplx_body_pose": lambda a: a.human.body_pose,
    "smplx_lhand_pose": lambda a: a.human.left_hand_pose,
    "smplx_rhand_pose": lambda a: a.human.right_hand_pose,
    "obj_rel_rotmat": lambda a: a.object_pose.rotation,
    "obj_rel_trans": lambda a: a.object_pose.translation,
    "object_scale": lambda a: [a.object_pose.scale],
    "hoi_rotmat": lambda a: a.camera.rotation,
    "hoi_trans": lambda a: a.camera.translation,
    "focal": lambda a: a.camera.focal,
    "princpt": lambda a: a.camera.principal_point,
}


def convert_annotations(raw, data, out, *, objects=None):
    """The truth and the templates alone."""
    return run_conversion(plan_wildhoi(raw, data, objects=objects, pictures=False), out)


@pytest.fixture(scope="module")
def raw(fixtures_dir):
    return fixtures_dir / "wildhoi_raw"


@pytest.fixture(scope="module")
def converted(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted") / "wildhoi"
    return out, convert_annotations(raw, raw / "data", out)


@pytest.fixture
def release(raw, tmp_path):
    """A copy of the release that a test may damage."""
    for name in ("data/annotation_hoi", "data/objects", "data/contact"):
        shutil.copytree(raw / name, tmp_path / "raw" / name)
    shutil.copy(raw / "train_test_split.json", tmp_path / "raw")
    return tmp_path / "raw"


def edit(path, **changes):
    content = load_pickle(path)
    content.update(changes)
    path.chmod(0o644)
    path.write_bytes(pickle.dumps({key: value for key, value in content.items() if value is not None}))


def first(release, name):
    return sorted((release / "data/annotation_hoi" / name / "test").glob("*.pkl"))[0]


def test_every_annotation_arrives_with_its_numbers(raw, converted):
    out, report = converted
    data = find_data(out)
    assert (data.name, data.body_model, data.revision) == ("wildhoi", "smplx", report.revision)
    found = {a.image_id: a for a in load_annotations(data)}
    paths = list((raw / "data/annotation_hoi").glob("*/test/*.pkl"))
    assert sorted(found) == sorted(path.stem for path in paths) and len(paths) == 14
    for path in paths:
        truth, ours = load_pickle(path), found[path.stem]
        assert ours.object == path.parts[-3] and ours.video_id == path.stem[:4] and ours.gender == "neutral"
        for name, take in FIELDS.items():
            np.testing.assert_allclose(take(ours), truth[name], rtol=2e-7, atol=2e-7)
        angle = truth.get("object_rot_angle")
        assert ours.object_pose.angle == (None if angle is None else pytest.approx(float(angle[0]), abs=1e-7))


def test_templates_arrive_vertex_for_vertex(raw, converted):
    out, _ = converted
    for name, files in {
        "barbell": {"template.ply": "barbell.ply"},
        "skateboard": {"template.ply": "skateboard.ply"},
        "bicycle": {"front.ply": "bicycle_front.ply", "back.ply": "bicycle_back.ply"},
    }.items():
        for ours, theirs in files.items():
            mesh, source = read_mesh(out / "objects" / name / ours), read_mesh(raw / "data/objects" / theirs)
            assert np.array_equal(mesh.vertices, source.vertices) and np.array_equal(mesh.faces, source.faces)


def test_keypoints_are_those_in_use_in_order(raw, converted):
    out, _ = converted
    names = {"barbell": "barbell_keypoints_12", "skateboard": "skateboard_keypoints_8"}
    for name, count in (("barbell", 4), ("skateboard", 8)):
        ours = json.loads((out / "objects" / name / "keypoints.json").read_text())
        theirs = json.loads((raw / "data/objects" / f"{names[name]}.json").read_text())
        assert ours == {str(k): theirs[str(k)] for k in range(1, count + 1)}
    bicycle = load_template(out / "objects" / "bicycle")
    assert list(bicycle.keypoint_vertices) == [str(k) for k in range(1, 11)]
    parts = [read_mesh(raw / "data/objects" / f"bicycle_{part}.ply").vertices for part in ("front", "back")]
    groups = [
        json.loads((raw / f"data/objects/bicycle_{part}_keypoints.json").read_text()) for part in ("front", "back")
    ]
    wanted = [vertices[ids].mean(0) for vertices, group in zip(parts, groups, strict=True) for ids in group.values()]
    np.testing.assert_allclose(list(bicycle.keypoints.values()), wanted, atol=1e-12)


def test_contact_parts_of_several_meshes_are_numbered_through(raw, converted):
    out, _ = converted
    for name in ("barbell", "skateboard"):
        source = (raw / "data/contact" / f"{name}_contact.json").read_text()
        assert json.loads((out / "objects" / name / "contact.json").read_text()) == json.loads(source)
    ours = json.loads((out / "objects/bicycle/contact.json").read_text())
    front, back = (
        json.loads((raw / f"data/contact/bicycle_{part}_contact.json").read_text()) for part in ("front", "back")
    )
    n_front = len(read_mesh(raw / "data/objects/bicycle_front.ply").vertices)
    assert ours == {
        "1": front["1"],
        "2": front["2"],
        **{str(int(k) + 2): [i + n_front for i in v] for k, v in back.items()},
    }


def test_posed_templates_project_onto_the_tracked_keypoints(release_dir, converted):
    out, _ = converted
    for name in json.loads((release_dir / "train_test_split.json").read_text()):
        checked = 0
        template = load_template(out / "objects" / name)
        for path in sorted((release_dir / name / "hoi_kps").glob("*/*.pkl")):
            tracks, poses = (
                load_pickle(path),
                load_pickle(
                    path.parents[2] / "object_pose" / path.parent.name / path.name.replace("hoi_kps", "obj_RT")
                ),
            )
            for index, pose in enumerate(poses if "object_kps_seq" in tracks else []):
                points = _posed_keypoints(template, pose)
                pixels = points[:, :2] / points[:, 2:] * pose["smpl_focal"] + pose["smpl_princpt"]
                tracked = tracks["object_kps_seq"][index][: len(points)]
                if np.isfinite(tracked).all() and np.isfinite(pixels).all():
                    np.testing.assert_allclose(pixels, tracked, atol=2e-3)
                    checked += 1
        assert checked > 20, name


def _posed_keypoints(template, pose):
    vertices = template.articulated(float(pose.get("rot_angle", 0.0)))
    keypoints = np.stack([vertices[ids].mean(0) for ids in template.keypoint_vertices.values()])
    return keypoints @ np.asarray(pose["rotmat"]).T + np.asarray(pose["trans"]).reshape(3)


def test_the_folder_is_complete_sealed_and_the_same_every_time(raw, converted, tmp_path):
    out, report = converted
    files = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    checksums = json.loads((out / "checksums.json").read_text())
    assert files - set(checksums) == {"README.md", "checksums.json"}
    assert all(sha256_file(out / name) == digest for name, digest in checksums.items())
    assert {f"annotations/{name}/test-00000-of-00001.parquet" for name in OBJECTS} <= files
    again = convert_annotations(raw, raw / "data", tmp_path / "deep" / "again")
    assert again.revision == report.revision
    assert all(sha256_file(tmp_path / "deep/again" / name) == digest for name, digest in checksums.items())
    readme = (out / "README.md").read_text()
    assert readme.startswith("---\n") and "config_name: bicycle-annotations" in readme and str(out) not in readme


def test_the_report_counts_and_compares(converted):
    out, report = converted
    written = json.loads((out / "conversion_report.json").read_text())
    assert {name: entry["annotations"]["test"]["rows"] for name, entry in written["objects"].items()} == {
        "barbell": 4,
        "bicycle": 6,
        "skateboard": 4,
    }
    for entry in report.objects.values():
        assert entry.videos("test") == 1 and entry.dropped == {} and entry.template.notes == [] and entry.notes == []
        assert 0 < entry.rotation_error < 1e-6
    assert "14 annotated test images, the paper states about 2500: differs" in report.notes
    assert "no baseball, basketball" in report.to_text() and report.to_dict()["revision"] == report.revision


def test_one_object_alone_and_no_split_file(release, tmp_path):
    (release / "train_test_split.json").unlink()
    report = convert_annotations(release, release / "data", tmp_path / "out", objects=["skateboard"])
    assert list(report.objects) == ["skateboard"] and "train_test_split.json is absent" in report.to_text()
    assert [a.object for a in load_annotations(find_data(tmp_path / "out"))] == ["skateboard"] * 4


def test_a_pose_that_was_never_found_is_skipped_and_counted(release, tmp_path):
    path = first(release, "barbell")
    edit(path, obj_rel_trans=np.full(3, np.nan), obj_rel_rotmat=np.full((3, 3), np.nan))
    report = convert_annotations(release, release / "data", tmp_path / "out")
    reason = "annotation: NaN in obj_rel_rotmat, obj_rel_trans"
    assert report.objects["barbell"].dropped == {reason: [path.stem]}
    assert report.objects["barbell"].rows("annotations", "test") == 3 and reason in report.to_text()
    assert path.stem in (tmp_path / "out/conversion_report.json").read_text()


def test_near_rotations_are_projected_and_said(release, tmp_path):
    path = first(release, "skateboard")
    exact = axis_rotation(np.array([1.0, 2.0, 3.0]), 0.7)
    edit(path, obj_rel_rotmat=exact * 1.0004)
    report = convert_annotations(release, release / "data", tmp_path / "out")
    assert report.objects["skateboard"].notes == [f"rotations projected onto the nearest exact one: {path.stem}"]
    ours = next(a for a in load_annotations(find_data(tmp_path / "out")) if a.image_id == path.stem)
    np.testing.assert_allclose(ours.object_pose.rotation, exact, atol=1e-7)


def test_what_does_not_fit_the_table_is_noted(release, tmp_path):
    edit(first(release, "barbell"), mystery=1)
    (release / "data/contact/barbell_contact.json").unlink()
    split = json.loads((release / "train_test_split.json").read_text())
    split["skateboard"] = {"train_videos": ["0271"], "test_videos": []}
    (release / "train_test_split.json").chmod(0o644)
    (release / "train_test_split.json").write_text(json.dumps(split))
    mesh = release / "data/objects/skateboard.ply"
    mesh.chmod(0o644)
    shutil.copy(release / "data/objects/barbell.ply", mesh)
    text = convert_annotations(release, release / "data", tmp_path / "out").to_text()
    for remark in ("unknown fields ignored: mystery", "no contact parts", "split: 0271", "differ from [0.1957"):
        assert remark in text


def test_every_bad_annotation_is_named_and_nothing_is_written(release, tmp_path, fixtures_dir, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(
        fixtures_dir / "hostile/run_command.pkl", release / "data/annotation_hoi/barbell/test/0092_001_000001.pkl"
    )
    paths = {name: first(release, name) for name in ("skateboard", "bicycle")}
    edit(paths["skateboard"], obj_rel_rotmat=np.diag([1.0, 1, -1]), smplx_body_pose=np.zeros((23, 3)))
    edit(paths["bicycle"], hoi_trans=None)
    shutil.copy(paths["bicycle"], paths["bicycle"].with_name("notes.pkl"))
    with pytest.raises(DefectError) as caught:
        convert_annotations(release, release / "data", tmp_path / "out")
    found = {(defect.code, defect.image_id) for defect in caught.value.defects}
    assert found == {
        ("unreadable", "0092_001_000001"),
        ("reflection", paths["skateboard"].stem),
        ("value-shape", paths["skateboard"].stem),
        ("value-missing", paths["bicycle"].stem),
        ("annotation", None),
    }
    assert "posix.system" in str(caught.value) and "and 4 more" in str(caught.value) and "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_bad_templates_are_named(release, tmp_path, fixtures_dir):
    for name, source in (
        ("barbell.ply", "nan_vertex.ply"),
        ("skateboard_keypoints_8.json", "keypoints_out_of_range.json"),
    ):
        (release / "data/objects" / name).chmod(0o644)
        shutil.copy(fixtures_dir / "hostile" / source, release / "data/objects" / name)
    (release / "data/objects/bicycle_back.ply").unlink()
    with pytest.raises(DefectError) as caught:
        convert_annotations(release, release / "data", tmp_path / "out")
    text = " ".join(defect.found for defect in caught.value.defects)
    for part in ("barbell.ply: vertex", "'2' has 1000000, '3' has -2, '4' is empty", "bicycle_back.ply: no such file"):
        assert part in text
    assert not (tmp_path / "out").exists()


def test_options_that_cannot_be_met_are_refused(raw, release, tmp_path):
    with pytest.raises(InputError, match="object 'teapot' is unknown"):
        convert_annotations(raw, raw / "data", tmp_path / "out", objects=["teapot"])
    with pytest.raises(InputError, match="not in the WildHOI release"):
        convert_annotations(raw, raw / "data", tmp_path / "out", objects=["suitcase"])
    with pytest.raises(MissingAssetError, match="has no violin, has barbell"):
        convert_annotations(raw, raw / "data", tmp_path / "out", objects=["violin"])
    with pytest.raises(MissingAssetError, match="no WildHOI release"):
        convert_annotations(tmp_path, tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="exists and is not empty"):
        convert_annotations(raw, raw / "data", release)
    (release / "train_test_split.json").chmod(0o644)
    (release / "train_test_split.json").write_text("[1]")
    with pytest.raises(InputError, match="train_videos"):
        convert_annotations(release, release / "data", tmp_path / "out")


def test_an_image_of_two_objects_is_refused(release, tmp_path):
    path = first(release, "barbell")
    shutil.copy(path, release / "data/annotation_hoi/skateboard/test" / path.name)
    with pytest.raises(DefectError, match="in barbell and skateboard"):
        convert_annotations(release, release / "data", tmp_path / "out")


def test_result_lists_of_all_methods_are_read(raw):
    paths = sorted((raw / "outputs").glob("*/*.pkl"))
    assert len(paths) == 9
    for path in paths:
        rows, warnings = read_results(path)
        assert warnings == []
        for row, source in zip(rows, load_pickle(path), strict=True):
            assert isinstance(row, Reconstruction) and row.image_id == source["image_id"]
            for name, take in FIELDS.items():
                np.testing.assert_allclose(take(row), source[name], rtol=0, atol=1e-6)
            assert (row.object_pose.angle is not None) == ("object_rot_angle" in source)


@pytest.mark.parametrize(
    ("name", "codes", "parts"),
    [
        ("duplicate_image_id", ["duplicate-id"], ["row 4", "'0092_001_008780'"]),
        ("nan_rotation", ["not-finite"], ["obj_rel_rotmat", "--nan-as-failed"]),
        ("infinite_translation", ["not-finite"], ["obj_rel_trans"]),
        ("not_orthonormal", ["not-a-rotation"], ["obj_rel_rotmat", "0.001"]),
        ("reflection", ["reflection"], ["determinant -1"]),
        ("wrong_shapes", ["value-shape", "value-shape"], ["(23, 3)", "want (21, 3)", "and 1 more"]),
        ("missing_keys", ["value-missing", "image-id"], ["no obj_rel_rotmat", "and 1 more"]),
        ("string_numbers", ["value-type"], ["obj_rel_trans"]),
        ("negative_scale", ["object-scale"], ["object_scale -1"]),
    ],
)
def test_hostile_results_are_refused_with_all_their_defects(fixtures_dir, name, codes, parts):
    path = fixtures_dir / "hostile" / f"{name}.pkl"
    with pytest.raises(DefectError) as caught:
        read_results(path)
    assert [defect.code for defect in caught.value.defects] == codes
    assert all(part in str(caught.value) for part in (path.name, *parts)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["run_command", "run_command_tail", "truncated", "object_array", "huge_array_claim", "empty", "not_a_list"]
)
def test_hostile_pickles_are_refused_as_results(fixtures_dir, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=name) as caught:
        read_results(fixtures_dir / "hostile" / f"{name}.pkl")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["zeros_10mb.zip", "path_escape.zip", "no_results.zip", "not_a_zip.zip", "text.jpg"])
def test_other_files_are_no_results(fixtures_dir, name):
    with pytest.raises(InputError, match=name):
        read_results(fixtures_dir / "hostile" / name)


def test_results_to_be_accepted_are_accepted(fixtures_dir):
    rows, warnings = read_results(fixtures_dir / "hostile/control_results.pkl")
    assert len(rows) == 4 and warnings == []
    rows, warnings = read_results(fixtures_dir / "hostile/extra_key.pkl")
    assert len(rows) == 4 and warnings == ["extra-key: got 'debug_info' in 4 rows, want a known key; it is ignored"]


def test_lost_poses_become_failures_only_when_asked(fixtures_dir, tmp_path):
    for name in ("nan_rotation", "infinite_translation"):
        rows, warnings = read_results(fixtures_dir / "hostile" / f"{name}.pkl", nan_as_failed=True)
        assert isinstance(rows[0], Failure) and rows[0].image_id == "0092_001_008780" and len(warnings) == 1
        assert all(isinstance(row, Reconstruction) for row in rows[1:]) and len(rows) == 4
    content = load_pickle(fixtures_dir / "hostile/nan_rotation.pkl")
    content[1]["smplx_betas"] = np.full(10, np.nan, np.float32)
    (tmp_path / "body.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DefectError, match="smplx_betas"):
        read_results(tmp_path / "body.pkl", nan_as_failed=True)


def test_a_blown_up_translation_is_refused(fixtures_dir, tmp_path):
    content = load_pickle(fixtures_dir / "hostile/control_results.pkl")
    content[2]["obj_rel_trans"] = np.full(3, 1e9)
    (tmp_path / "far.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DefectError, match=r"too-large: got obj_rel_trans beyond 1e\+06"):
        read_results(tmp_path / "far.pkl")


def test_forms_that_the_release_varies_are_the_same_row(fixtures_dir, tmp_path):
    content = load_pickle(fixtures_dir / "hostile/control_results.pkl")
    row = dict(content[0])
    varied = {key: np.asarray(row[key], np.float64) for key in row if key not in ("image_id", "crop_bboxes")}
    varied |= {"obj_rel_trans": row["obj_rel_trans"][None], "object_scale": float(row["object_scale"][0])}
    varied |= {"smplx_betas": row["smplx_betas"].tolist(), "image_id": "0001_001_000001"}
    bare = {key: row[key] for key in row if key not in ("hoi_rotmat", "hoi_trans", "focal", "princpt")}
    path = tmp_path / "results.pkl"
    path.write_bytes(pickle.dumps([row, varied, {**bare, "image_id": "0001_001_000002"}]))
    (one, two, three), warnings = read_results(path)
    assert warnings == [] and three.camera is None
    for name, take in list(FIELDS.items())[:7]:
        assert np.array_equal(take(one), take(two)) and np.array_equal(take(one), take(three)), name
    path.write_bytes(
        pickle.dumps([{**bare, "focal": row["focal"]}, 3, {**row, "image_id": "a\nb"}, {**row, "focal": -row["focal"]}])
    )
    with pytest.raises(DefectError) as caught:
        read_results(path)
    assert [d.code for d in caught.value.defects] == ["value-missing"] * 3 + [
        "row-type",
        "image-id",
        "duplicate-id",
        "focal",
    ]
