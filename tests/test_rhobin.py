import copy
import json
import pickle
import shutil
import zipfile
from dataclasses import replace

import body_files
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import submissions
from evaluation.evaluate import Options, evaluate
from evaluation.protocol import load_protocol
from wildhoi.convert.rhobin import convert_reference, read_rhobin_results
from wildhoi.convert.safe_pickle import load_pickle
from wildhoi.convert.smplh import pelvis
from wildhoi.dataset import find_data, load_annotations
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import sha256_file
from wildhoi.meshes import read_mesh
from wildhoi.schema import Failure
from wildhoi.submission.convert import convert_results
from wildhoi.submission.defects import DefectError
from wildhoi.submission.folder import check_submission, read_submission
from wildhoi.submission.manifest import Manifest
from wildhoi.templates import load_template

DATASETS = {"behave": ("135496", "518085"), "icap": ("092973", "594368"), "synz": ("355002",), "imhd": ("153700",)}
PARAMETERS = ("pose", "betas", "trans", "obj_rot", "obj_trans")
EVERY = [(name, image) for name, images in DATASETS.items() for image in images]


@pytest.fixture(scope="module", autouse=True)
def bodies(tmp_path_factory):
    """Made-up SMPL-H files whose pelvis is not at the origin and moves with the shape, differently by gender."""
    folder = body_files.write_smplh(tmp_path_factory.mktemp("bodies"))
    for gender, size in (("FEMALE", 0.93), ("NEUTRAL", 0.97)):
        path = folder / "smplh" / f"SMPLH_{gender}.npz"
        arrays = dict(np.load(path))
        np.savez(path, **{**arrays, "v_template": arrays["v_template"] * size + 0.01})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WILDHOI_BODY_MODELS", str(folder))
        yield folder


@pytest.fixture(scope="module")
def rhobin(fixtures_dir):
    return fixtures_dir / "rhobin"


@pytest.fixture(scope="module")
def reference(rhobin):
    return load_pickle(rhobin / "ref.pkl")


@pytest.fixture(scope="module")
def converted(rhobin, tmp_path_factory):
    """Every data set of the reference as a data folder, with its report."""
    root = tmp_path_factory.mktemp("converted")
    reports = {name: convert_reference(rhobin / "ref.pkl", root / name, dataset=name) for name in DATASETS}
    return {name: (find_data(root / name), report) for name, report in reports.items()}


@pytest.fixture
def content(reference):
    """The reference, to be spoilt."""
    return copy.deepcopy(reference)


def close(ours, wanted):
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-9)


def save(path, value):
    path.write_bytes(pickle.dumps(value))
    return path


def truth(converted, name):
    return {a.image_id: a for a in load_annotations(converted[name][0])}


def as_results(reference, **changes):
    """The reference handed in as results."""
    return {i: {key: a[key] for key in PARAMETERS} | changes for i, a in reference["annotations"].items()}


def own_pelvis(bodies, gender, betas):
    """J0 by its definition, from the file: row 0 of the regressor on the shaped template."""
    arrays = np.load(bodies / "smplh" / f"SMPLH_{gender.upper()}.npz")
    return arrays["J_regressor"][0] @ (arrays["v_template"] + arrays["shapedirs"][:, :, :10] @ betas[:10])


def convert(content, tmp_path, dataset="behave"):
    tmp_path.mkdir(exist_ok=True)
    return convert_reference(save(tmp_path / "ref.pkl", content), tmp_path / "out", dataset=dataset)


def refused(function, *parts, error=InputError):
    with pytest.raises(error) as caught:
        function()
    message = str(caught.value)
    assert "\n" not in message and all(part in message for part in parts), message
    return caught.value


# The reference


@pytest.mark.parametrize(("name", "image"), EVERY)
def test_every_annotation_arrives_with_its_numbers(reference, converted, name, image):
    raw, ours = reference["annotations"][image], truth(converted, name)[image]
    assert (name, ours.gender, ours.object) == raw["meta"] and ours.video_id == image
    flat = np.concatenate([ours.human.body_pose, ours.human.left_hand_pose, ours.human.right_hand_pose])
    np.testing.assert_allclose(flat.ravel(), raw["pose"][3:], atol=1e-7)
    np.testing.assert_allclose(ours.human.betas, raw["betas"][:10], atol=1e-7)
    assert ours.object_pose.scale == 1 and ours.object_pose.angle is None and ours.visible is None


@pytest.mark.parametrize(("name", "image"), EVERY)
def test_posed_points_stand_where_the_reference_has_them(reference, converted, bodies, name, image):
    raw, ours = reference["annotations"][image], truth(converted, name)[image]
    rng = np.random.default_rng(0)
    j0 = own_pelvis(bodies, raw["meta"][1], raw["betas"])
    assert np.linalg.norm(j0) > 0.01
    body, thing = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    rg = Rotation.from_rotvec(raw["pose"][:3]).as_matrix()
    wanted_body = (body - j0) @ rg.T + j0 + raw["trans"].reshape(3)
    wanted_thing = thing @ raw["obj_rot"].T + raw["obj_trans"].reshape(3)
    posed = thing @ ours.object_pose.rotation.T + ours.object_pose.translation
    for smpl, wanted in ((body - j0, wanted_body), (posed, wanted_thing)):
        np.testing.assert_allclose(smpl @ ours.camera.rotation.T + ours.camera.translation, wanted, atol=2e-6)


def test_the_pelvis_is_that_of_the_gender_and_moves_with_the_shape(bodies):
    rng = np.random.default_rng(1)
    for gender in ("male", "female", "neutral"):
        for betas in (np.zeros(10), rng.normal(size=10)):
            np.testing.assert_allclose(
                pelvis(gender, tuple(betas.tolist())), own_pelvis(bodies, gender, betas), atol=1e-7
            )


@pytest.mark.parametrize(
    ("name", "focal", "centre"),
    [
        ("behave", (979.784, 979.840), (1018.952, 779.486)),
        ("synz", (979.784, 979.840), (1018.952, 779.486)),
        ("icap", (912.862, 912.676), (956.720, 554.216)),
        ("imhd", (1428.7549, 1432.7926), (956.3587, 515.546)),
    ],
)
def test_intrinsics_are_those_of_the_data_set(converted, name, focal, centre):
    for ours in truth(converted, name).values():
        np.testing.assert_allclose(ours.camera.focal, focal, rtol=1e-7)
        np.testing.assert_allclose(ours.camera.principal_point, centre, rtol=1e-7)


def test_data_sets_are_never_pooled(rhobin, converted, tmp_path):
    for name, images in DATASETS.items():
        data, report = converted[name]
        assert (data.name, data.body_model, data.revision) == (f"rhobin-{name}", "smplh", report.revision)
        assert tuple(truth(converted, name)) == images and report.rows("annotations", "test") == len(images)
    assert "imhd (1), synz (1)" in converted["behave"][1].to_text()
    refused(
        lambda: convert_reference(rhobin / "ref.pkl", tmp_path / "out", dataset="tracking"),
        "'tracking'",
        "behave, synz, icap, imhd",
    )


def test_an_absent_data_set_is_refused_with_those_that_are_there(content, tmp_path):
    content["annotations"] = {k: content["annotations"][k] for k in (*DATASETS["behave"], *DATASETS["icap"])}
    refused(lambda: convert(content, tmp_path, "imhd"), "no image of imhd", "behave (2), icap (2)")
    assert not (tmp_path / "out").exists()


def test_templates_arrive_vertex_for_vertex_with_size_and_symmetries(reference, converted):
    for name in DATASETS:
        data, report = converted[name]
        for thing, entry in report.objects.items():
            raw, folder = reference["templates"][thing], data.objects / thing
            mesh = read_mesh(folder / "template.ply")
            assert np.array_equal(mesh.vertices, raw["verts"].astype(np.float32))
            assert np.array_equal(mesh.faces, raw["faces"])
            info = json.loads((folder / "info.json").read_text())
            assert (info["vertices"], info["faces"]) == (len(raw["verts"]), len(raw["faces"]))
            assert entry.template.vertices == [len(raw["verts"])] and entry.template.extents == info["extents"]
            np.testing.assert_allclose(info["extents"], np.ptp(raw["verts"], axis=0), atol=1e-4)
            gaps = np.linalg.norm(raw["verts"][:, None] - raw["verts"], axis=-1)
            assert info["diameter"] == pytest.approx(gaps.max(), abs=1e-6)
            symmetries = json.loads((folder / "symmetries.json").read_text())
            for ours, theirs in zip(symmetries, raw["symmetries"], strict=True):
                assert np.array_equal(ours["R"], theirs["R"]) and np.array_equal(ours["t"], theirs["t"].ravel())
            assert load_template(folder).category.name == thing


def test_the_folder_is_complete_sealed_and_the_same_every_time(rhobin, converted, tmp_path):
    data, report = converted["icap"]
    files = {p.relative_to(data.path).as_posix() for p in data.path.rglob("*") if p.is_file()}
    assert files - set(data.checksums) <= {"README.md", "checksums.json"}
    assert data.changed_files("test") == []
    again = convert_reference(rhobin / "ref.pkl", tmp_path / "deep" / "again", dataset="icap")
    assert again == report
    assert all(sha256_file(tmp_path / "deep/again" / name) == digest for name, digest in data.checksums.items())
    written = json.loads((data.path / "conversion_report.json").read_text())
    assert "name no video" in written["notes"][0]
    assert [entry["annotations"]["test"]["rows"] for entry in written["objects"].values()] == [2]
    readme = (data.path / "README.md").read_text()
    assert readme.startswith("---\n") and "-annotations\n" in readme and str(data.path) not in readme


def test_images_of_unknown_objects_are_dropped_and_counted(content, tmp_path):
    first, second = DATASETS["behave"]
    content["annotations"][first]["meta"] = ("behave", "male", "teapot")
    report = convert(content, tmp_path)
    assert report.objects["other objects"].dropped == {"no object 'teapot' in the category table": [first]}
    assert "left out 1: no object 'teapot'" in report.to_text()
    assert "left out: 1 (no object 'teapot'" in (tmp_path / "out/README.md").read_text()
    assert [a.image_id for a in load_annotations(find_data(tmp_path / "out"))] == [second]
    written = json.loads((tmp_path / "out/conversion_report.json").read_text())
    assert written["objects"]["other objects"]["dropped"] == report.objects["other objects"].dropped


def test_images_without_template_or_with_lost_numbers_are_dropped_and_counted(content, tmp_path):
    first, second = DATASETS["behave"]
    content["annotations"][first]["trans"] = np.full(3, np.nan)
    content["annotations"]["more"] = dict(content["annotations"][second], meta=("behave", "male", "suitcase"))
    report = convert(content, tmp_path)
    known = content["annotations"][first]["meta"][2]
    assert report.objects[known].dropped == {"NaN or infinity in trans": [first]}
    assert report.objects["suitcase"].dropped == {"no template of suitcase in the reference": ["more"]}
    assert sorted(report.reasons("dropped").values()) == [1, 1]


def test_nothing_left_is_an_error(content, tmp_path):
    for image in DATASETS["icap"]:
        content["annotations"][image]["meta"] = ("icap", "female", "../teapot")
    refused(
        lambda: convert(content, tmp_path, "icap"), "no image of icap is left", "'../teapot' in the category table (2)"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ref.pkl"]


def test_the_forms_of_one_annotation_are_the_same(reference, converted, content, tmp_path):
    for annotation in content["annotations"].values():
        del annotation["obj_rot"]  # as in the training files: axis-angle only
        annotation["trans"] = annotation["trans"].reshape(1, 3)
        annotation["obj_trans"] = annotation["obj_trans"].reshape(3, 1)
        annotation["meta"] = list(annotation["meta"])
        annotation["betas"] = np.concatenate([annotation["betas"][:10], np.full(6, 3.0)])
        annotation |= {"verts_smpl": np.zeros((6890, 3), np.float32), "verts_obj": np.zeros((5, 3))}
    for name in DATASETS:
        convert_reference(save(tmp_path / "ref.pkl", content), tmp_path / name, dataset=name)
        theirs = load_annotations(find_data(tmp_path / name))
        for ours in theirs:
            wanted = truth(converted, name)[ours.image_id]
            assert submissions.same(ours, wanted, lambda a, b: np.allclose(a, b, atol=3e-7))


def test_the_neutral_data_set_is_neutral_whatever_is_said(content, tmp_path, converted):
    content["annotations"]["153700"]["meta"] = ("imhd", "unknown", content["annotations"]["153700"]["meta"][2])
    convert(content, tmp_path, "imhd")
    (ours,), (wanted,) = load_annotations(find_data(tmp_path / "out")), truth(converted, "imhd").values()
    assert submissions.same(ours, wanted)


def test_every_bad_annotation_is_named_and_nothing_is_written(content, tmp_path):
    first, second = DATASETS["behave"]
    content["annotations"][first] |= {"obj_rot": np.diag([1.0, 1, -1]), "betas": np.zeros(7)}
    del content["annotations"][second]["pose"]
    content["annotations"]["more"] = dict(
        content["annotations"][first], meta=("behave", "robot", content["annotations"][first]["meta"][2])
    )
    content["annotations"]["other"] = {"pose": np.zeros(156)}
    content["annotations"][7] = 3
    error = refused(lambda: convert(content, tmp_path), "and 7 more", error=DefectError)
    assert {(d.code, d.image_id) for d in error.defects} == {
        ("reflection", first),
        ("value-shape", first),
        ("value-missing", second),
        ("gender", "more"),
        ("reflection", "more"),
        ("value-shape", "more"),
        ("meta", "other"),
        ("image-id", None),
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ref.pkl"]


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("verts", np.full((514, 3), np.nan), "NaN"),
        ("verts", np.zeros((514, 2)), "(514, 2)"),
        ("verts", None, "a NoneType"),
        ("verts", np.zeros((0, 3)), "(0, 3)"),
        ("faces", np.array([[0, 1, 600]]), "0 to 600, want 0 to 513"),
        ("faces", np.array([[0, 1, -1]]), "-1 to 1"),
        ("faces", np.array([[0.0, 1, 2]]), "float64"),
        ("faces", [], "a list"),
        ("symmetries", 3, "a int"),
        ("symmetries", [{"R": np.eye(3)}], "symmetries[0] is a dict of 'R'"),
        (
            "symmetries",
            [{"R": np.eye(3), "t": np.zeros((3, 1))}, {"R": -np.eye(3), "t": np.zeros(3)}],
            "[1]: R is reflection",
        ),
        ("symmetries", [{"R": np.ones((3, 3)), "t": np.zeros(3)}], "not a rotation"),
        ("symmetries", [{"R": np.eye(3), "t": np.full(3, np.inf)}], "infinite"),
    ],
)
def test_bad_templates_are_named(content, tmp_path, key, value, part):
    thing = content["annotations"][DATASETS["icap"][0]]["meta"][2]
    content["templates"][thing][key] = value
    refused(lambda: convert(content, tmp_path, "icap"), "template", thing, part, error=DefectError)
    assert not (tmp_path / "out").exists()


def test_a_template_without_symmetries_has_none(content, tmp_path):
    thing = content["annotations"][DATASETS["icap"][0]]["meta"][2]
    del content["templates"][thing]["symmetries"]
    convert(content, tmp_path, "icap")
    assert json.loads((tmp_path / "out/objects" / thing / "symmetries.json").read_text()) == []


@pytest.mark.parametrize(
    "value", [[1], {}, {"annotations": {}}, {"annotations": {"a": 1}, "templates": []}, "text", None]
)
def test_other_pickles_are_no_reference(tmp_path, value):
    refused(lambda: convert(value, tmp_path), "ref.pkl", "templates")


@pytest.mark.parametrize(
    "name", ["run_command.pkl", "truncated.pkl", "empty.pkl", "no_results.zip", "text.jpg", "control_results.pkl"]
)
def test_hostile_files_are_no_reference(fixtures_dir, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    refused(lambda: convert_reference(fixtures_dir / "hostile" / name, tmp_path / "out", dataset="behave"), name)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_body_file_is_named(rhobin, tmp_path, monkeypatch):
    monkeypatch.setenv("WILDHOI_BODY_MODELS", str(tmp_path))
    refused(
        lambda: convert_reference(rhobin / "ref.pkl", tmp_path / "out", dataset="behave"),
        "SMPLH_MALE",
        error=MissingAssetError,
    )
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(rhobin, tmp_path):
    (tmp_path / "mine").write_text("x")
    refused(lambda: convert_reference(rhobin / "ref.pkl", tmp_path, dataset="behave"), "exists and is not empty")


# Results


def read(path, converted, name="behave", **options):
    return read_rhobin_results(path, load_annotations(converted[name][0]), **options)


@pytest.mark.parametrize("name", DATASETS)
def test_the_reference_as_results_is_the_truth_bit_for_bit(reference, converted, tmp_path, name):
    data, _ = converted[name]
    source = save(tmp_path / "results.pkl", as_results(reference))
    out = tmp_path / "submission"
    convert_results([source], out, Manifest("truth", "?"), origin="rhobin", data=data)
    rows = {row.image_id: row for row in read_submission(out).rows}
    assert rows.keys() == truth(converted, name).keys()
    for image, ours in truth(converted, name).items():
        for field in ("human", "object_pose", "camera"):
            assert submissions.same(getattr(rows[image], field), getattr(ours, field)), field


@pytest.mark.parametrize("image", ["135496", "092973", "153700"])
def test_moving_the_camera_frame_leaves_the_relative_pose(reference, converted, tmp_path, image):
    name, gender, _ = reference["annotations"][image]["meta"]
    raw = as_results(reference)[image]
    j0 = pelvis(gender, tuple(raw["betas"][:10].tolist()))
    rng = np.random.default_rng(3)
    (still,), _ = read(save(tmp_path / "a.pkl", {image: raw}), converted, name)
    for turn in (*Rotation.random(4, rng).as_matrix(), Rotation.from_rotvec([0, np.pi, 0]).as_matrix()):
        q = rng.normal(size=3)
        rg = turn @ Rotation.from_rotvec(raw["pose"][:3]).as_matrix()
        moved = {
            "pose": np.concatenate([Rotation.from_matrix(rg).as_rotvec(), raw["pose"][3:]]),
            "betas": raw["betas"],
            "trans": turn @ (j0 + raw["trans"].reshape(3)) + q - j0,
            "obj_rot": turn @ raw["obj_rot"],
            "obj_trans": turn @ raw["obj_trans"] + q,
        }
        (ours,), _ = read(save(tmp_path / "b.pkl", {image: moved}), converted, name)
        close(ours.object_pose.rotation, still.object_pose.rotation)
        close(ours.object_pose.translation, still.object_pose.translation)
        assert submissions.same(ours.human, still.human)
        vertices, thing = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
        placed = (vertices - j0) @ rg.T + j0 + moved["trans"]
        camera, pose = ours.camera, ours.object_pose
        close((vertices - j0) @ camera.rotation.T + camera.translation, placed)
        smpl = thing @ pose.rotation.T + pose.translation
        wanted = thing @ moved["obj_rot"].T + moved["obj_trans"]
        close(smpl @ camera.rotation.T + camera.translation, wanted)
        close((placed - wanted) @ rg, (vertices - j0) - smpl)


@pytest.mark.parametrize("name", DATASETS)
def test_short_poses_equal_their_padded_form(rhobin, converted, tmp_path, name):
    short = load_pickle(rhobin / "pose72/results.pkl")
    padded = {}
    for image, raw in short.items():
        pose = np.zeros(156)
        for joint in range(23):
            pose[3 * joint : 3 * joint + 3] = raw["pose"][3 * joint : 3 * joint + 3]
        pose[3 * 37 : 3 * 38] = raw["pose"][69:72]
        padded[image] = {**raw, "pose": pose}
    ours, _ = read(rhobin / "pose72/results.pkl", converted, name)
    theirs, _ = read(save(tmp_path / "results.pkl", padded), converted, name)
    assert all(submissions.same(a, b) for a, b in zip(ours, theirs, strict=True))
    assert all(not row.human.left_hand_pose[1:].any() and row.human.right_hand_pose[0].any() for row in ours)


@pytest.mark.parametrize("name", DATASETS)
def test_the_archive_is_the_pickle(rhobin, converted, tmp_path, name):
    with zipfile.ZipFile(tmp_path / "deep.ZIP", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("res/results.pkl", (rhobin / "results.pkl").read_bytes())
        archive.writestr("readme.txt", "my results")
    wanted, warnings = read(rhobin / "results.pkl", converted, name)
    for path in (rhobin / "results.zip", tmp_path / "deep.ZIP"):
        rows, said = read(path, converted, name)
        assert said == warnings and all(submissions.same(a, b) for a, b in zip(rows, wanted, strict=True))


def test_results_of_other_images_are_left_out_and_counted(rhobin, converted):
    rows, (warning,) = read(rhobin / "results.pkl", converted)
    assert [row.image_id for row in rows] == list(DATASETS["behave"])
    assert "4 of 6 images" in warning and "'092973'" in warning
    foreign = [replace(a, image_id=f"x{a.image_id}") for a in load_annotations(converted["behave"][0])]
    refused(lambda: read_rhobin_results(rhobin / "results.pkl", foreign), "none of its 6 images", "--data")


def test_missing_images_are_left_to_the_scorer(reference, converted, tmp_path):
    results = as_results(reference)
    del results["135496"]
    rows, _ = read(save(tmp_path / "results.pkl", results), converted)
    assert [row.image_id for row in rows] == ["518085"]


@pytest.mark.parametrize(
    ("change", "code", "part"),
    [
        ({"pose": np.zeros(75)}, "value-shape", "pose of shape (75,), want (156,) or (72,)"),
        ({"pose": np.zeros((52, 3))}, "value-shape", "(52, 3)"),
        ({"betas": np.zeros(11)}, "value-shape", "(10,) or (16,)"),
        ({"trans": np.zeros(4)}, "value-shape", "trans of shape (4,)"),
        ({"obj_rot": np.zeros(9)}, "value-shape", "(3, 3)"),
        ({"obj_rot": np.zeros((3, 3))}, "not-a-rotation", "obj_rot off orthonormal"),
        ({"obj_rot": np.full((3, 3), 1e200)}, "not-a-rotation", "off orthonormal"),
        ({"obj_rot": np.diag([1.0, 1, -1])}, "reflection", "determinant -1"),
        ({"obj_rot": np.full((3, 3), np.nan)}, "not-finite", "obj_rot"),
        ({"pose": np.full(156, np.inf)}, "not-finite", "pose"),
        ({"obj_trans": np.full(3, 1e9)}, "too-large", "obj_trans"),
        ({"trans": ["1", "2", "3"]}, "value-type", "a list"),
        ({"trans": np.array(["1", "2", "3"])}, "value-type", "<U1"),
        ({"betas": None}, "value-type", "None"),
        ({"trans": [[1.0], [2.0, 3.0]]}, "value-type", "trans"),
        ({"trans": np.ones(3, bool)}, "value-type", "bool"),
        ({"obj_rot": True}, "value-type", "True"),
    ],
)
def test_bad_values_are_named(reference, converted, tmp_path, change, code, part):
    results = as_results(reference)
    results["518085"] |= change
    path = save(tmp_path / "results.pkl", results)
    error = refused(lambda: read(path, converted), "'518085'", part, error=DefectError)
    assert [(d.code, d.row) for d in error.defects if d.severity == "error"] == [(code, 4)]


def test_all_defects_are_said_at_once(reference, converted, tmp_path):
    results = as_results(reference)
    results["135496"] |= {"pose": np.zeros(3), "obj_rot": np.zeros((3, 3)), "trans": np.full(3, np.nan)}
    results["518085"] = {"obj_rot": np.eye(3), "pose": np.zeros(72)}
    results[12] = results["135496"]
    error = refused(lambda: read(save(tmp_path / "r.pkl", results), converted), "and 6 more", error=DefectError)
    codes = [d.code for d in error.defects if d.severity == "error"]
    assert codes == ["image-id", "value-shape", "not-finite", "not-a-rotation"] + ["value-missing"] * 3
    results = as_results(reference) | {"135496": 3}
    refused(lambda: read(save(tmp_path / "r.pkl", results), converted), "entry-type", "a int", error=DefectError)


def test_forms_that_results_vary_in_are_the_same_row(reference, converted, tmp_path):
    results = as_results(reference)
    wanted, _ = read(save(tmp_path / "a.pkl", results), converted)
    for raw in results.values():
        raw |= {"trans": raw["trans"].reshape(1, 3).tolist(), "obj_trans": raw["obj_trans"][:, None]}
        raw |= {
            "obj_angle": Rotation.from_matrix(raw.pop("obj_rot")).as_rotvec(),
            "betas": np.append(raw["betas"][:10], [9.0] * 6),
        }
    rows, warnings = read(save(tmp_path / "b.pkl", results), converted)
    assert len(warnings) == 1
    for ours, theirs in zip(rows, wanted, strict=True):
        assert submissions.same(ours, theirs, lambda a, b: np.allclose(a, b, atol=1e-12))


def test_near_rotations_are_projected_and_unknown_keys_ignored_and_both_said(reference, converted, tmp_path):
    results = as_results(reference, seconds=1.0)
    wanted, _ = read(save(tmp_path / "a.pkl", results), converted)
    results["135496"]["obj_rot"] = results["135496"]["obj_rot"] * 1.0004
    rows, warnings = read(save(tmp_path / "b.pkl", results), converted)
    assert [w.split(":")[0].split(", ")[-1] for w in warnings] == ["unknown-id", "rotation-projected", "extra-key"]
    assert "'seconds' in 6 images" in warnings[2]
    np.testing.assert_allclose(rows[0].object_pose.rotation, wanted[0].object_pose.rotation, atol=1e-12)


def test_lost_poses_become_failures_only_when_asked(reference, converted, tmp_path):
    results = as_results(reference)
    results["135496"]["obj_rot"] = np.full((3, 3), np.nan)
    path = save(tmp_path / "r.pkl", results)
    refused(lambda: read(path, converted), "--nan-as-failed", error=DefectError)
    rows, warnings = read(path, converted, nan_as_failed=True)
    assert rows[0] == Failure("135496", "NaN or infinity in obj_rot") and len(rows) == 2 and len(warnings) == 2
    results["135496"]["betas"] = np.full(10, np.nan)
    refused(lambda: read(save(path, results), converted, nan_as_failed=True), "betas", error=DefectError)


POINTS = {"hum_pts": np.zeros((6000, 3), np.float16), "obj_pts": np.zeros((6000, 3), np.float16)}


@pytest.mark.parametrize(
    ("entry", "track"),
    [
        (POINTS, "template-free track (point clouds"),
        ({"joints": np.zeros((24, 3)), "vertices": np.zeros((6890, 3), np.float16)}, "human track"),
        ({"pose": np.zeros(72), "betas": np.zeros(10), "trans": np.zeros(3)}, "human track"),
        ({"obj_rot": np.eye(3), "obj_trans": np.zeros(3)}, "object track"),
        ({"smplh_poses": np.zeros((4, 156)), "obj_rot": np.zeros((4, 3, 3))}, "tracking track"),
        ({"frames": ["t1"], "poses": np.zeros((4, 72)), "obj_rots": np.zeros((4, 3, 3))}, "tracking track"),
        (
            {
                "pose": np.zeros((4, 156)),
                "betas": np.zeros((4, 10)),
                "trans": np.zeros((4, 3)),
                "obj_rot": np.zeros((4, 3, 3)),
                "obj_trans": np.zeros((4, 3)),
            },
            "tracking track",
        ),
        ({"pose": np.zeros((3, 72)), "trans": np.zeros((3, 3))}, "tracking track"),
    ],
)
def test_other_tracks_are_refused_with_one_message(converted, tmp_path, entry, track):
    path = save(tmp_path / "results.pkl", dict.fromkeys(("135496", "518085"), entry))
    error = refused(
        lambda: read(path, converted), "'135496'", track, "want the joint track", "SMPL-H parameters pose, betas"
    )
    assert not isinstance(error, DefectError)


def test_the_template_free_fixture_is_refused(full_fixtures_dir, converted):
    path = full_fixtures_dir / "rhobin/tfree/results.pkl"
    refused(lambda: read(path, converted), "template-free", "joint track")


@pytest.mark.parametrize("value", [[], {}, [1, 2], "text", None])
def test_other_pickles_are_no_results(converted, tmp_path, value):
    refused(lambda: read(save(tmp_path / "r.pkl", value), converted), "want a dict of results by image id")


HOSTILE = [
    *(f"{name}.zip" for name in ("path_escape", "zeros_10mb", "no_results", "not_a_zip")),
    *(f"{name}.pkl" for name in ("run_command", "run_command_tail", "truncated", "object_array", "huge_array_claim")),
    *("empty.pkl", "control_results.pkl", "text.jpg"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_no_results(fixtures_dir, converted, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    refused(lambda: read(fixtures_dir / "hostile" / name, converted), name)
    assert list(tmp_path.iterdir()) == []


def test_code_in_an_archive_is_never_run(fixtures_dir, converted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        archive.write(fixtures_dir / "hostile/run_command.pkl", "results.pkl")
    refused(lambda: read(tmp_path / "r.zip", converted), "r.zip, results.pkl", "system", "nothing was run")
    assert [path.name for path in tmp_path.iterdir()] == ["r.zip"]


ODD = [None, 2**70, "x\n", [[]], {"a": 1}, np.zeros(()), np.zeros((0, 3)), np.zeros((2, 2, 2, 2)), np.array(["a"])]
ODD += [np.full((3, 3), 1e308), np.uint64(2**63), np.zeros((2**16, 3), np.uint64)]


def only_refused(function, *arguments):
    """Runs it; whatever is wrong with the input is one line."""
    try:
        function(*arguments)
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_odd_values_anywhere_are_said_never_a_crash(content, converted, tmp_path, value):
    images = DATASETS["icap"]
    for key in (*PARAMETERS, "obj_angle", "meta"):
        annotation = content["annotations"][images[0]]
        spoilt = {**annotation, key: value}
        if key == "obj_angle":
            del spoilt["obj_rot"]
        annotations = {**content["annotations"], images[0]: spoilt}
        only_refused(convert, {**content, "annotations": annotations}, tmp_path / key, "icap")
        results = {image: {k: a[k] for k in PARAMETERS if k in a} for image, a in annotations.items()}
        results[images[1]] |= {key: value}
        only_refused(read, save(tmp_path / "r.pkl", results), converted, "icap")
    thing = content["annotations"][images[0]]["meta"][2]
    for key in ("verts", "faces", "symmetries"):
        templates = {**content["templates"], thing: {**content["templates"][thing], key: value}}
        only_refused(convert, {**content, "templates": templates}, tmp_path / key, "icap")
    for spoilt in (value, {"annotations": value, "templates": value}, {**content, "templates": {thing: value}}):
        only_refused(convert, spoilt, tmp_path / "whole", "icap")


# Submissions


def test_a_submission_takes_its_identity_from_the_data(rhobin, converted, tmp_path):
    data, _ = converted["icap"]
    shutil.copytree(rhobin, tmp_path / "in")
    done = convert_results([tmp_path / "in"], tmp_path / "out", Manifest("mine", "wildhoi"), origin="rhobin", data=data)
    assert (done.files, done.reconstructions, done.failures) == (1, 2, 0)
    assert done.warnings[0].startswith("results.pkl: unknown-id")
    checked, defects = check_submission(tmp_path / "out", data)
    assert defects == [] and checked.manifest == Manifest(
        "mine", "rhobin-icap", revision=data.revision_of("test"), body_model="smplh"
    )


def test_what_a_conversion_needs_is_asked_for(rhobin, converted, tmp_path):
    path, out = rhobin / "results.zip", tmp_path / "out"
    manifest = Manifest("mine", "wildhoi")
    refused(lambda: convert_results([path], out, manifest, origin="rhobin"), "needs --data")
    refused(lambda: convert_results([path], out, manifest, origin="bop"), "want one of wildhoi, rhobin")
    other = submissions.make_data(tmp_path / "data", ["skateboard"])
    refused(lambda: convert_results([path], out, manifest, origin="rhobin", data=other), "bodies of smplx", "smplh")
    data = converted["behave"][0]
    refused(
        lambda: convert_results([rhobin / "pose72", tmp_path], out, manifest, origin="rhobin", data=data),
        "holds no results.pkl or results.zip",
    )
    refused(
        lambda: convert_results([path, path], out, manifest, origin="rhobin", data=data),
        "duplicate-id",
        error=DefectError,
    )
    assert not out.exists()


def test_results_are_scored_against_the_reference(rhobin, reference, converted, tmp_path):
    data, _ = converted["icap"]
    protocol = replace(load_protocol("behave@1"), points=400, surface_points=100, f_score_points=200)
    scores = {}
    for name, source in {
        "truth": save(tmp_path / "results.pkl", as_results(reference)),
        "fixture": rhobin / "results.zip",
        "short": rhobin / "pose72/results.pkl",
    }.items():
        convert_results([source], tmp_path / name, Manifest(name, "?"), origin="rhobin", data=data)
        scores[name] = evaluate(read_submission(tmp_path / name), data, protocol, Options())
    means = {name: {row["image_id"]: row for row in found.rows} for name, found in scores.items()}
    for image in DATASETS["icap"]:
        perfect, ours = means["truth"][image], means["fixture"][image]
        assert perfect["status"] == ours["status"] == "scored"
        for metric in ("rotation", "translation", "v2v_human", "v2v_object", "surface_human", "mssd"):
            assert perfect[metric] == pytest.approx(0, abs=1e-4) and 0.1 < ours[metric] < 60, metric
        assert means["short"][image]["v2v_human"] != ours["v2v_human"]
    assert "data set rhobin-icap, the protocol is made for behave" in scores["truth"].scores["unofficial_because"]
