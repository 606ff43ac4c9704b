"""Everything that can be wrong with predictions."""

import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from submission_checks import arrow, check, check_arrow, codes

import submissions
from wildhoi.submission.defects import DefectError
from wildhoi.submission.folder import MANIFEST, PREDICTIONS, check_submission, read_submission

# Every defect at once

GOOD = np.eye(3).ravel()


def cell(column, value):
    return lambda table, row: table.__setitem__(
        column, [value if i == row else v for i, v in enumerate(table.get(column, [None] * len(table)))]
    )


def mirror(table, row):
    cell("object_rotation", np.diag([1.0, 1.0, -1.0]).ravel())(table, row)


ROW_DEFECTS = {
    "not-finite": cell("betas", np.r_[np.nan, np.zeros(9)]),
    "reflection": mirror,
    "not-a-rotation": cell("object_rotation", GOOD * 1.001),
    "object-scale": cell("object_scale", 0.0),
    "image-id": cell("image_id", "two words"),
    "status": cell("status", "done"),
    "value-missing": cell("object_translation", None),
    "length": cell("body_pose", np.zeros(62)),
    "too-large": cell("object_translation", np.array([0.0, 0.0, 2e6])),
    "camera": cell("focal", np.ones(2)),
    "seconds": cell("seconds", -1.0),
}


@pytest.mark.parametrize("code", ROW_DEFECTS)
def test_each_defect_of_a_row_is_found_alone(tmp_path, code):
    table = submissions.frame()
    ROW_DEFECTS[code](table, 4)
    if code == "camera":
        table["camera_rotation"] = table["camera_translation"] = table["principal_point"] = None
    submission, defects = check(tmp_path, table)
    assert submission is None
    assert [(d.code, d.row, d.image_id) for d in defects] == [(code, 4, table["image_id"][4])]


def test_ten_defects_in_ten_rows_are_ten_defects(tmp_path):
    table = submissions.frame()
    wanted = list(ROW_DEFECTS)[:9]
    for row, code in enumerate(wanted):
        ROW_DEFECTS[code](table, row)
    cell("image_id", table["image_id"][0])(table, 9)
    _, defects = check(tmp_path, table)
    assert [(d.code, d.row) for d in defects] == [*zip(wanted, range(9), strict=True), ("duplicate-id", 9)]
    assert [d.image_id for d in defects] == table["image_id"].tolist()
    with pytest.raises(DefectError, match=r"row 0, image_id .* \(and 9 more\)"):
        read_submission(tmp_path)


def test_several_defects_of_one_row_are_all_said(tmp_path):
    table = submissions.frame()
    for code in ("not-finite", "reflection", "object-scale"):
        ROW_DEFECTS[code](table, 2)
    _, defects = check(tmp_path, table)
    assert sorted(codes(defects)) == ["not-finite", "object-scale", "reflection"]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("column", ["body_pose", "object_rotation", "object_translation", "object_scale", "seconds"])
def test_no_number_may_be_infinite_or_nan(tmp_path, column, value):
    array = {"body_pose": np.zeros(63), "object_rotation": GOOD.copy(), "object_translation": np.zeros(3)}.get(column)
    if array is not None:
        array[0] = value
    numbers = [array if i == 1 else v for i, v in enumerate(submissions.frame().get(column, [1.0] * 10))]
    if array is None:
        numbers[1] = value  # pandas would write null for NaN
        _, defects = check_arrow(tmp_path, arrow(**{column: pa.array(numbers, pa.float64())}))
    else:
        _, defects = check(tmp_path, submissions.frame().assign(**{column: numbers}))
    assert [(d.code, d.row) for d in defects] == [("not-finite", 1)]
    assert column in defects[0].found


def test_a_rotation_near_enough_is_projected_and_said(tmp_path):
    table = submissions.frame()
    shear = np.array([[1.0002, 0, 0], [0, 1, 1e-4], [0, 0, 1]])
    off = table["object_rotation"][1].reshape(3, 3) @ shear
    cell("object_rotation", off.ravel())(table, 1)
    submission, defects = check(tmp_path, table)
    assert [(d.code, d.row, d.severity) for d in defects] == [("rotation-projected", 1, "warning")]
    rotation = submission.rows[1].object_pose.rotation
    assert np.abs(rotation.T @ rotation - np.eye(3)).max() < 1e-14
    assert np.abs(rotation - off).max() < 1e-3
    assert submission.warnings == tuple(defects)


def test_a_camera_must_be_whole_and_its_rotation_one(tmp_path):
    bad = submissions.camera(1)
    written = [
        submissions.reconstruction("a", 1, camera=replace(bad, rotation=-bad.rotation)),
        submissions.reconstruction("b", 1, camera=replace(bad, focal=np.array([-1.0, 1.0]))),
    ]
    _, defects = check_submission(submissions.make_submission(tmp_path, written))
    assert [(d.code, d.image_id) for d in defects] == [("reflection", "a"), ("focal", "b")]


@pytest.mark.parametrize(
    ("change", "code", "what"),
    [
        (lambda f: f.drop(columns="betas"), "column", "betas: absent"),
        (lambda f: f.drop(columns="image_id"), "column", "image_id: absent"),
        (lambda f: f.drop(columns="status"), "column", "status: absent"),
        (lambda f: f.assign(object_scale="1"), "column", "object_scale: large_string"),
        (lambda f: f.assign(object_scale=True), "column", "object_scale: bool"),
        (lambda f: f.assign(image_id=range(10)), "column", "image_id: int64"),
        (lambda f: f.assign(reason=3), "column", "reason: int64"),
        (lambda f: f.assign(betas=1.0), "column", "betas: double"),
        (lambda f: f.assign(betas=[["1"] * 10] * 10), "column", "betas: list"),
        (lambda f: f.assign(object_rotation=[np.eye(3).tolist()] * 10), "column", "object_rotation: list"),
        (lambda f: f.iloc[:0], "no-rows", "0 rows"),
    ],
)
def test_a_wrong_column_is_named(tmp_path, change, code, what):
    _, defects = check(tmp_path, change(submissions.frame()))
    assert codes(defects) == [code] and defects[0].found.startswith(what)


def test_a_missing_column_hides_no_other_defect(tmp_path):
    table = submissions.frame().drop(columns=["betas", "status"])
    for row, code in enumerate(("reflection", "image-id", "length")):
        ROW_DEFECTS[code](table, row)
    _, defects = check(tmp_path, table, manifest="spec: 1\n")
    expected = ["manifest-field-missing"] * 4 + ["column"] * 2 + ["reflection", "image-id", "length"]
    assert codes(defects) == expected


def test_our_own_file_without_rows_has_no_rows(tmp_path):
    assert codes(check_submission(submissions.make_submission(tmp_path, []))[1]) == ["no-rows"]


def test_two_columns_of_a_name_are_refused(tmp_path):
    table = arrow()
    _, defects = check_arrow(tmp_path, table.append_column("betas", table.column("betas")))
    assert codes(defects) == ["column"] and defects[0].found == "betas: 2 columns of that name"


def test_extra_columns_are_ignored_and_said(tmp_path):
    table = submissions.frame().assign(loss=0.5, note=[{"betas": 1}] * 10)
    submission, defects = check(tmp_path, table)
    assert len(submission.rows) == 10
    assert [(d.code, d.found, d.severity) for d in defects] == [
        ("extra-column", "'loss'", "warning"),
        ("extra-column", "'note'", "warning"),
    ]


@pytest.mark.parametrize("name", ["", " ", "a b", "a\nb", "\x1b[31mred", "x" * 201, "[bold]", "a'b"])
def test_unfit_image_ids_are_refused(tmp_path, name):
    table = submissions.frame()
    cell("image_id", name)(table, 0)
    _, defects = check(tmp_path, table)
    assert codes(defects) == ["image-id"]


# Files that are none


@pytest.mark.parametrize("content", [b"", b"PAR1", b"image_id,status\na,ok\n", b"PAR1" * 50, bytes(1000)])
def test_what_is_no_parquet_is_one_defect(tmp_path, content):
    submissions.make_submission(tmp_path)
    (tmp_path / PREDICTIONS).write_bytes(content)
    submission, defects = check_submission(tmp_path)
    assert submission is None and codes(defects) == ["predictions-unreadable"]
    assert str(tmp_path / PREDICTIONS) in defects[0].found


def test_no_cut_of_a_file_gets_through(tmp_path):
    content = (submissions.make_submission(tmp_path, submissions.rows(2)) / PREDICTIONS).read_bytes()
    for end in range(0, len(content), 97):
        (tmp_path / PREDICTIONS).write_bytes(content[:end])
        assert codes(check_submission(tmp_path)[1]) == ["predictions-unreadable"]


def test_no_flipped_byte_is_a_crash(tmp_path):
    content = (submissions.make_submission(tmp_path, submissions.rows(2)) / PREDICTIONS).read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 60):
        broken = bytearray(content)
        broken[place] ^= int(rng.integers(1, 256))
        (tmp_path / PREDICTIONS).write_bytes(bytes(broken))
        submission, defects = check_submission(tmp_path)
        assert (submission is None) == bool(codes(defects))


def test_missing_files_are_all_said(tmp_path):
    assert codes(check_submission(tmp_path)[1]) == ["manifest-missing", "predictions-unreadable"]
    assert codes(check_submission(tmp_path / "absent")[1]) == ["folder"]
    (tmp_path / "file").write_text("")
    assert codes(check_submission(tmp_path / "file")[1]) == ["folder"]


def test_a_folder_in_place_of_a_file_is_said(tmp_path):
    (tmp_path / PREDICTIONS).mkdir()
    (tmp_path / MANIFEST).mkdir()
    assert codes(check_submission(tmp_path)[1]) == ["manifest-unreadable", "predictions-unreadable"]


def test_a_file_that_claims_more_than_the_limits_is_refused_unread(tmp_path):
    submissions.make_submission(tmp_path, [])
    writer = pq.ParquetWriter(tmp_path / PREDICTIONS, pa.schema([("image_id", pa.string())]))
    for _ in range(6):
        writer.write_table(pa.table({"image_id": pa.array(["x"] * 100_000)}))
    writer.close()
    (defect,) = check_submission(tmp_path)[1]
    assert "600000 rows" in defect.found


def test_one_long_text_in_many_rows_costs_its_length_once(tmp_path):
    submissions.make_submission(tmp_path, [])
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(5000, np.int32)), pa.array(["x" * 10**6]))
    pq.write_table(pa.table({"image_id": text, "status": text}), tmp_path / PREDICTIONS, store_schema=False)
    start = time.process_time()
    _, defects = check_submission(tmp_path)
    assert {"image-id", "status", "column"} == set(codes(defects))
    assert all(len(str(d)) < 1000 for d in defects)
    assert time.process_time() - start < 2
