"""Writing, reading, and comparing with a data set."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from submission_checks import arrow, check, check_arrow, codes

import submissions
from submissions import same
from wildhoi.dataset import find_data, load_annotations
from wildhoi.schema import Failure, ObjectPose
from wildhoi.submission.folder import MANIFEST, PREDICTIONS, check_submission, read_submission, write_submission
from wildhoi.submission.manifest import Manifest, read_manifest, write_manifest

# Writing and reading


def test_round_trip_is_exact_in_float32(tmp_path):
    written = submissions.varied_rows()
    read = read_submission(submissions.make_submission(tmp_path, written)).rows
    assert [r.image_id for r in read] == [r.image_id for r in written]

    def as_stored(a, b):
        return np.array_equal(a.astype(np.float32), b.astype(np.float32))

    for a, b in zip(written, read, strict=True):
        if isinstance(a, Failure):
            assert a == b
            continue
        assert same(a.human, b.human, as_stored)
        assert np.abs(a.object_pose.rotation - b.object_pose.rotation).max() < 2e-7
        assert as_stored(a.object_pose.translation, b.object_pose.translation)
        assert (a.camera is None) == (b.camera is None) and a.seconds == b.seconds
        assert np.float32(a.object_pose.scale) == np.float32(b.object_pose.scale)
        assert (a.object_pose.angle is None) == (b.object_pose.angle is None)


def test_reading_what_was_read_and_written_changes_no_more_than_rounding(tmp_path):
    first = read_submission(submissions.make_submission(tmp_path / "1", submissions.varied_rows()))
    second = read_submission(submissions.make_submission(tmp_path / "2", first.rows))
    assert all(
        same(a, b, partial(np.allclose, rtol=0, atol=2e-7)) for a, b in zip(first.rows, second.rows, strict=True)
    )


def test_any_order_of_rows_gives_the_same_bytes(tmp_path):
    written = submissions.varied_rows()
    one = submissions.make_submission(tmp_path / "1", written)
    two = submissions.make_submission(tmp_path / "2", written[::-1])
    assert (one / PREDICTIONS).read_bytes() == (two / PREDICTIONS).read_bytes()


def test_rotations_come_out_exact(tmp_path):
    for row in read_submission(submissions.make_submission(tmp_path)).rows:
        assert np.abs(row.object_pose.rotation.T @ row.object_pose.rotation - np.eye(3)).max() < 1e-14


def test_manifest_round_trip(tmp_path):
    shared = [1, 2]
    written = Manifest(
        "Ünïcode: # method", "open", "train", "abc", "smplh", ("masks",), "none", "me", "a", "b",
        {"lr": 0.1, "x": shared, "y": shared}, {"gpu": None},
    )  # fmt: skip
    write_manifest(tmp_path / MANIFEST, written)
    read, defects = read_manifest(tmp_path / MANIFEST)
    assert read == written and not defects


# Other writers


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f,
        lambda f: f.sample(frac=1, random_state=0),
        lambda f: f.set_index("image_id"),
        lambda f: f.astype({"image_id": "category", "status": "category"}),
        lambda f: f.astype({"image_id": object}),
        lambda f: f.map(lambda v: v.tolist() if isinstance(v, np.ndarray) else v),
        lambda f: f.map(lambda v: v.astype(np.float32) if isinstance(v, np.ndarray) else v),
        lambda f: f.assign(object_scale=1),
        lambda f: f.assign(reason=None, seconds=np.nan, object_angle=None, camera_rotation=None),
        lambda f: f.assign(reason=np.nan, focal=np.nan),
    ],
    ids=["plain", "shuffled", "index", "category", "object", "lists", "float32", "integers", "nulls", "nan"],
)
def test_what_pandas_writes_is_read(tmp_path, change):
    wanted = read_submission(submissions.make_submission(tmp_path / "ours"))
    submission, defects = check(tmp_path / "theirs", change(submissions.frame()))
    assert not codes(defects)
    found = {row.image_id: row for row in submission.rows}
    assert all(same(row, found[row.image_id], lambda a, b: np.allclose(a, b, atol=1e-6)) for row in wanted.rows)


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_every_arrow_text_is_read(tmp_path, kind):
    ids = submissions.frame()["image_id"].tolist()
    submission, _ = check_arrow(tmp_path, arrow(image_id=pa.array(ids, kind)))
    assert [row.image_id for row in submission.rows] == ids


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float64()),
        pa.list_(pa.float32(), 10),
        pa.large_list(pa.float32()),
        pa.list_(pa.float16()),
        pa.list_view(pa.float32()),
        pa.large_list_view(pa.float64()),
    ],
    ids=str,
)
def test_every_arrow_list_is_read(tmp_path, kind):
    betas = np.linspace(-1, 1, 10).astype(np.float16)
    cast = {pa.float16(): np.float16, pa.float32(): np.float32, pa.float64(): np.float64}[kind.value_type]
    submission, _ = check_arrow(tmp_path, arrow(betas=pa.array([betas.astype(cast)] * 10, kind)))
    assert all(np.array_equal(row.human.betas, betas.astype(np.float64)) for row in submission.rows)


def test_a_frame_of_failures_alone_is_read(tmp_path):
    empty = dict.fromkeys(submissions.frame().columns) | {"image_id": ["a", "b"], "status": "failed", "reason": "x"}
    submission, defects = check(tmp_path, pd.DataFrame(empty))
    assert submission.rows == [Failure("a", "x"), Failure("b", "x")] and not defects


def test_the_numbers_of_failed_rows_do_not_count(tmp_path):
    table = submissions.frame()
    table.loc[3, "status"], table.at[3, "betas"] = "failed", np.full(10, np.nan)
    table.loc[4, "status"], table.at[4, "body_pose"] = "failed", []
    table.loc[5, "status"], table.at[5, "object_rotation"] = "failed", np.zeros(9)
    submission, defects = check(tmp_path, table)
    assert not defects and sum(isinstance(row, Failure) for row in submission.rows) == 3


def test_writing_a_submission_leaves_only_its_files(tmp_path):
    write_submission(tmp_path / "a b" / "ü", submissions.MANIFEST_ROW, submissions.rows(1))
    assert submissions.files_below(tmp_path / "a b" / "ü") == {MANIFEST, PREDICTIONS}
    assert len(read_submission(tmp_path / "a b" / "ü").rows) == 1


# Against the data set


@pytest.fixture(scope="module")
def data():
    return find_data("open-sample")


@pytest.fixture(scope="module")
def truth(data):
    return [submissions.as_reconstruction(annotation) for annotation in load_annotations(data)]


def against(folder, data, records, **manifest):
    submissions.make_submission(folder, records, replace(submissions.MANIFEST_ROW, **manifest))
    return check_submission(folder, data)[1]


def test_the_truth_is_valid(tmp_path, data, truth):
    assert against(tmp_path, data, truth, revision=data.revision_of("test")) == []


def test_what_it_is_for_is_compared(tmp_path, data, truth):
    defects = against(tmp_path, data, truth, dataset="wildhoi", body_model="smplx", revision="0123")
    assert codes(defects) == ["wrong-dataset", "wrong-body_model"] and codes(defects, "warning") == ["revision"]


def test_a_split_that_the_data_lack_is_said(tmp_path, truth):
    data = submissions.make_data(tmp_path / "data", ["tennis"], 1)
    assert codes(against(tmp_path / "sub", data, truth, split="train")) == ["wrong-split"]


def test_unknown_images_are_named_each_and_missing_ones_counted(tmp_path, data, truth):
    records = [submissions.reconstruction("nobody"), submissions.reconstruction("nowhere"), *truth[1:]]
    defects = against(tmp_path, data, records)
    assert sorted(d.image_id for d in defects if d.code == "unknown-id") == ["nobody", "nowhere"]
    (missing,) = [d for d in defects if d.severity == "warning"]
    assert missing.code == "missing-id" and truth[0].image_id in missing.found


def test_no_known_image_is_one_defect(tmp_path, data):
    assert codes(against(tmp_path, data, submissions.rows())) == ["no-known-image"]


def test_defects_of_rows_and_of_images_come_together(tmp_path, data, truth):
    mirrored = ObjectPose(-np.eye(3), np.zeros(3))
    records = [replace(truth[0], object_pose=mirrored), *truth[2:], submissions.reconstruction("nobody")]
    defects = against(tmp_path, data, records)
    assert sorted(codes(defects)) == ["reflection", "unknown-id"] and codes(defects, "warning") == ["missing-id"]
