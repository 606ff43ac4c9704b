"""Every bad file of the fixtures through the entry point that a user would give it to."""

import shutil
import sys
import time
from pathlib import Path

import pytest
from command import run

import submissions
from wildhoi.convert.wildhoi_release import read_results
from wildhoi.errors import InputError
from wildhoi.meshes import read_mesh, read_vertex_groups
from wildhoi.submission.folder import PREDICTIONS, read_submission

# file: words that its one line must hold, besides the file's name
PICKLES = {
    "run_command.pkl": ("system",),
    "run_command_tail.pkl": ("system",),
    "truncated.pkl": (),
    "object_array.pkl": ("object array", "image_id=", "smplx_betas"),
    "duplicate_image_id.pkl": ("row", "image_id", "duplicate"),
    "nan_rotation.pkl": ("row", "image_id", "rotmat"),
    "not_orthonormal.pkl": ("row", "image_id", "rotmat"),
    "reflection.pkl": ("row", "image_id", "rotmat", "-1"),
    "wrong_shapes.pkl": ("row", "image_id"),
    "missing_keys.pkl": ("row",),
    "string_numbers.pkl": ("row", "image_id", "obj_rel_trans as a list of str,"),
    "infinite_translation.pkl": ("row", "image_id", "trans"),
    "negative_scale.pkl": ("row", "image_id", "scale"),
    "not_a_list.pkl": ("dict",),
    "deep_nesting.pkl": (),
    "huge_array_claim.pkl": (),
    "empty.pkl": (),
    "zeros_10mb.zip": (),
    "path_escape.zip": (),
    "no_results.zip": (),
    "not_a_zip.zip": (),
}
PARQUETS = ("truncated.parquet", "wrong_types.parquet", "csv_in_disguise.parquet", "empty.parquet")
MESHES = {"faces_out_of_range.ply": "triangle", "nan_vertex.ply": "vertex"}
GROUPS = ("keypoints_out_of_range.json", "keypoints_truncated.json")
# Only listed: no command of this version reads pictures.
PICTURES = ("truncated.jpg", "text.jpg")
# They are sound result lists: what is wrong with them, if anything, shows beside the data set.
ACCEPTED = ("control_results.pkl", "extra_key.pkl", "unknown_image_ids.pkl")


@pytest.fixture()
def hostile(fixtures_dir):
    return fixtures_dir / "hostile"


@pytest.fixture()
def work(tmp_path, monkeypatch):
    """A current folder of its own, in which nothing may appear."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield tmp_path / "work"
    appeared = {name.rsplit("/")[-1] for name in submissions.files_below(tmp_path)}
    assert not appeared & {"pwned", "escaped.txt"}


@pytest.fixture()
def command(monkeypatch, capfd):
    return lambda *words: run(monkeypatch, capfd, *words)


def refused(outcome, *words):
    """One line that names what it must, no traceback, exit code 2."""
    assert outcome.code == 2, outcome
    assert outcome.first.startswith("error: ") and "Traceback" not in outcome.err + outcome.out
    assert all(word in outcome.first for word in words), outcome.first
    assert len(outcome.first) < 1500 and outcome.first.isprintable()


@pytest.fixture()
def release(fixtures_dir, tmp_path):
    """A copy of the raw release, outside the current folder, for a test to damage."""
    for name in ("annotation_hoi", "objects", "contact"):
        shutil.copytree(fixtures_dir / "wildhoi_raw" / "data" / name, tmp_path / "raw" / "data" / name)
    return tmp_path / "raw"


def converted(release, command):
    return command("data", "convert", "wildhoi", release, "--only", "annotations", "--objects", "barbell", "-o", "out")


def damage(release, name, source):
    target = release / "data" / "objects" / name
    target.unlink()
    shutil.copyfile(source, target)


def test_every_hostile_file_is_named_here(hostile):
    here = {*PICKLES, *PARQUETS, *MESHES, *GROUPS, *PICTURES, *ACCEPTED, "README.md"}
    assert {path.name for path in hostile.iterdir()} <= here


@pytest.mark.parametrize("name", PICKLES)
def test_result_lists_are_refused_in_one_line(hostile, work, command, name):
    if not (hostile / name).exists():
        pytest.skip(f"{name} is not in the trimmed copy")
    start = time.perf_counter()
    outcome = command("submission", "convert", hostile / name, "-o", "out", "--method", "m")
    refused(outcome, name, *PICKLES[name])
    assert time.perf_counter() - start < 10
    assert submissions.files_below(work) == set()


def test_both_wrong_shapes_and_both_missing_keys_are_named(hostile, work, command):
    outcome = command("submission", "convert", hostile / "wrong_shapes.pkl", "-o", "out", "--method", "m")
    assert "body_pose" in outcome.err and "trans" in outcome.err
    outcome = command("submission", "convert", hostile / "missing_keys.pkl", "-o", "out", "--method", "m")
    assert "image_id" in outcome.err and "rotmat" in outcome.err


def test_the_control_is_accepted(hostile, work, command):
    outcome = command("submission", "convert", hostile / "control_results.pkl", "-o", "out", "--method", "m")
    assert outcome.code == 0, outcome
    assert len(read_submission(work / "out").rows) == len(read_results(hostile / "control_results.pkl")[0]) > 0


def test_an_extra_key_is_said(hostile, work, command):
    outcome = command("submission", "convert", hostile / "extra_key.pkl", "-o", "out", "--method", "m")
    assert outcome.code == 0 and "warning" in outcome.err and "extra-key" in outcome.err


def test_images_that_nobody_annotated_are_refused(hostile, work, command):
    source = hostile / "unknown_image_ids.pkl"
    assert command("submission", "convert", source, "-o", "out", "--method", "m").code == 0
    data = submissions.make_data(work / "data", ["barbell"], name="wildhoi")
    for outcome in (
        command("submission", "validate", "out", "--data", data.path),
        command("evaluate", "out", "--data", data.path, "--body", "open"),
    ):
        assert outcome.code == 2 and "no-known-image" in outcome.out + outcome.err
    assert not list(Path("out").glob("*.json"))


@pytest.mark.parametrize("name", PARQUETS)
@pytest.mark.parametrize("words", [("submission", "validate"), ("evaluate",)], ids=["validate", "evaluate"])
def test_bad_parquet_is_refused(hostile, work, command, name, words):
    submissions.make_submission(work / "sub", [])
    shutil.copyfile(hostile / name, work / "sub" / PREDICTIONS)
    before = submissions.files_below(work)
    outcome = command(*words, "sub")
    assert outcome.code == 2 and "Traceback" not in outcome.err + outcome.out
    if words == ("evaluate",):
        refused(outcome, "sub")
    said = " ".join((outcome.out + outcome.err).split())
    wanted = ("image_id", "object_rotation", "betas") if name == "wrong_types.parquet" else ("predictions-unreadable",)
    assert all(word in said for word in wanted)
    assert submissions.files_below(work) == before


@pytest.mark.parametrize("name", MESHES)
def test_bad_meshes_are_refused(hostile, name):
    with pytest.raises(InputError, match=rf"{name}: {MESHES[name]}"):
        read_mesh(hostile / name)


@pytest.mark.parametrize("name", MESHES)
def test_a_release_with_a_bad_mesh_is_not_converted(hostile, release, work, command, name):
    damage(release, "barbell.ply", hostile / name)
    refused(converted(release, command), "barbell.ply", MESHES[name])
    assert submissions.files_below(work) == set() and not any(work.iterdir())


@pytest.mark.parametrize("name", GROUPS)
def test_a_release_with_bad_keypoints_is_not_converted(hostile, release, work, command, name):
    damage(release, "barbell_keypoints_12.json", hostile / name)
    refused(converted(release, command), "barbell_keypoints_12.json")
    assert submissions.files_below(work) == set() and not any(work.iterdir())


def test_the_release_without_damage_is_converted(release, work, command):
    assert converted(release, command).code == 0 and (work / "out" / "objects" / "barbell").is_dir()


@pytest.mark.parametrize("name", GROUPS)
def test_bad_keypoints_are_refused(hostile, name):
    with pytest.raises(InputError, match=name) as caught:
        read_vertex_groups(hostile / name, 8)
    if name == "keypoints_out_of_range.json":
        assert all(repr(key) in str(caught.value) for key in ("2", "3", "4"))


@pytest.mark.parametrize("name", ["control_results.pkl", "run_command_tail.pkl"])
def test_nothing_is_executed_even_where_torch_is_loaded(hostile, work, command, name):
    __import__("torch")
    command("submission", "convert", hostile / name, "-o", "out", "--method", "m")
    assert "torch" in sys.modules and not Path("pwned").exists()


def test_a_folder_of_lists_with_one_bad_writes_nothing(hostile, work, command):
    (work / "lists").mkdir()
    for name, source in (("a_test.pkl", "control_results.pkl"), ("b_test.pkl", "reflection.pkl")):
        shutil.copyfile(hostile / source, work / "lists" / name)
    refused(command("submission", "convert", "lists", "-o", "out", "--method", "m"), "b_test.pkl")
    assert not Path("out").exists()


def test_one_list_given_twice_is_refused(hostile, work, command):
    control = hostile / "control_results.pkl"
    refused(command("submission", "convert", control, control, "-o", "out", "--method", "m"), "duplicate-id")
    assert not Path("out").exists()
