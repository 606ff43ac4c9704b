"""Odd ends of conversions and data folders, each of which once went wrong."""

import json
import shutil
import zipfile

import numpy as np
import pytest

import submissions
from wildhoi.body.reading import read_arrays
from wildhoi.convert.behave_release.npz import read_npz
from wildhoi.convert.parts import Log
from wildhoi.convert.pipeline import run_conversion
from wildhoi.convert.wildhoi_release import plan_wildhoi
from wildhoi.convert.wildhoi_release.fields import Place, object_pose
from wildhoi.convert.wildhoi_release.tracks import Track
from wildhoi.dataset import find_sample, load_annotations, load_samples, open_folder
from wildhoi.engine import only_run_in
from wildhoi.errors import InputError, RunError
from wildhoi.hub import contents
from wildhoi.schema import Camera
from wildhoi.templates import SHIPPED, read_template


@pytest.fixture(scope="module")
def converted(release_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("edges") / "data"
    with submissions.unchecked():
        run_conversion(plan_wildhoi(release_dir, objects=["skateboard"]), out)
    return out


def interrupt(plan, out, monkeypatch):
    with submissions.unchecked(), monkeypatch.context() as patch:
        patch.setattr("wildhoi.convert.pipeline.write_mini", lambda out: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_conversion(plan, out)


def test_a_release_that_changed_meanwhile_is_not_continued(release_dir, tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    shutil.copytree(release_dir, raw)
    interrupt(plan_wildhoi(raw, objects=["skateboard"]), tmp_path / "out", monkeypatch)
    split = json.loads((raw / "train_test_split.json").read_text())
    split["skateboard"]["train_videos"].pop()
    (raw / "train_test_split.json").chmod(0o644)
    (raw / "train_test_split.json").write_text(json.dumps(split))
    with pytest.raises(InputError, match="other settings"):
        run_conversion(plan_wildhoi(raw, objects=["skateboard"]), tmp_path / "out")


def test_a_run_killed_in_its_first_instant_is_begun_anew(release_dir, converted, tmp_path):
    (tmp_path / "out" / ".conversion").mkdir(parents=True)
    with submissions.unchecked():
        run_conversion(plan_wildhoi(release_dir, objects=["skateboard"]), tmp_path / "out")
    assert open_folder(tmp_path / "out").checksums == open_folder(converted).checksums


def test_two_runs_do_not_write_into_one_folder(release_dir, tmp_path):
    (tmp_path / "out").mkdir()
    with only_run_in(tmp_path / "out"), pytest.raises(RunError, match="another run is writing"):
        run_conversion(plan_wildhoi(release_dir, objects=["skateboard"]), tmp_path / "out")


def test_a_folder_may_be_called_like_a_pattern(converted, tmp_path):
    odd = tmp_path / "a[1]*?"
    shutil.copytree(converted, odd)
    assert len(load_samples(odd, "train")) == len(load_samples(converted, "train")) > 0
    assert sum(1 for _ in load_samples(odd, "train", streaming=True)) > 0


def test_damaged_pages_are_said_of_the_file(converted, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(converted, copy)
    (path,) = (copy / "samples/skateboard").glob("test-*.parquet")
    image_id = load_samples(converted, "test")[0].image_id
    path.chmod(0o644)
    with path.open("r+b") as stream:  # the footer stays
        stream.seek(4)
        stream.write(b"\xff" * 600)
    with pytest.raises(InputError, match=r"test-0.*cannot be read.*wildhoi data verify"):
        find_sample(open_folder(copy), image_id)
    with pytest.raises(InputError, match=r"cannot be read on.*wildhoi data verify"):
        list(load_samples(copy, "test", streaming=True))


@pytest.mark.parametrize("read", [load_samples, load_annotations])
def test_no_objects_are_not_all_of_them(converted, read):
    with pytest.raises(InputError, match="an empty list"):
        read(converted, "test", [])
    assert len(read(converted, "test", ["skateboard", "skateboard"])) == len(read(converted, "test"))


def test_images_of_one_name_are_not_found_by_it(converted, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(converted, copy)
    (path,) = (copy / "samples/skateboard").glob("test-*.parquet")
    shutil.copy(path, path.with_name("test-00001-of-00001.parquet"))
    samples = load_samples(copy, "test")
    with pytest.raises(InputError, match="there twice"):
        samples.find(samples[0].image_id)


@pytest.mark.parametrize("name", ["samples/notes.txt", "mini/x", "objects", "samples", "", "../x"])
def test_stray_files_are_of_no_group(name):
    assert contents.group_of(name) is None


@pytest.mark.parametrize(
    ("raw", "success", "said"),
    [
        (True, True, False),
        (np.False_, False, False),
        (np.float64(1), True, False),
        (np.array([1.0]), True, False),
        (0, False, False),
        ("yes", False, True),
        (None, False, True),
        (np.nan, False, True),
        (np.ones(2), False, True),
    ],
)
def test_success_is_a_number_or_a_truth_value(tmp_path, raw, success, said):
    log = Log()
    place = Place(tmp_path, "0001", "001", "000001", log, scored=False)
    record = {"frame_id": "000001", "rotmat": np.eye(3), "trans": np.zeros(3), "success": raw}
    camera = Camera(np.eye(3), np.zeros(3), np.ones(2), np.zeros(2))
    values = object_pose(place, Track({"000001": record}), camera)
    assert values["object_pose_success"] is success
    assert bool(log.incomplete) is said


def test_a_row_group_that_unpacks_to_too_much_is_not_read(converted, monkeypatch):
    monkeypatch.setattr("wildhoi.dataset.finding.MAX_GROUP_BYTES", 100)
    with pytest.raises(InputError, match=r"a row group of .* bytes unpacked"):
        load_samples(converted, "test")


def test_a_template_too_dense_for_its_diameter_is_refused(monkeypatch):
    template = read_template(SHIPPED / "skateboard")
    monkeypatch.setattr("wildhoi.templates.MAX_EXTREME_POINTS", 10)
    with pytest.raises(InputError, match=r"template of skateboard: has .* want a simplified mesh"):
        _ = template.diameter


@pytest.mark.parametrize(
    "header", [b"((((", b"{'descr': '<f8", b"'''", b"  x\n y", b"{'descr': ','}", b"1" * 5000, b"\0"]
)
@pytest.mark.parametrize("read", [read_npz, lambda path, names: read_arrays(path, tuple(names))], ids=["fits", "body"])
def test_an_array_whose_header_is_none_is_one_line(tmp_path, header, read):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8))
    with pytest.raises(InputError, match="cannot be read") as caught:
        read(path, ["x"])
    assert "\n" not in str(caught.value)
