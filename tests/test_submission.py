import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import submissions
from wildhoi.dataset import find_data, load_annotations
from wildhoi.schema import Failure, Human, ObjectPose, same
from wildhoi.submission.defects import DefectError
from wildhoi.submission.folder import MANIFEST, PREDICTIONS, check_submission, read_submission, write_submission
from wildhoi.submission.manifest import Manifest, read_manifest, write_manifest

VALID = "spec: 1\nmethod: made up\ndataset: open-sample\nsplit: test\nbody_model: open\n"


def codes(defects, severity="error"):
    return [d.code for d in defects if d.severity == severity]


def check(folder, table=None, manifest=None, data=None):
    if table is not None:
        submissions.spoil(folder, table, manifest)
    return check_submission(folder, data)


def arrow(**columns):
    """A valid file as an Arrow table with some columns replaced."""
    table = pa.Table.from_pandas(submissions.frame(), preserve_index=False)
    for name, column in columns.items():
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, column) if index >= 0 else table.append_column(name, column)
    return table


def check_arrow(folder, table):
    submissions.make_submission(folder, [])
    pq.write_table(table, folder / PREDICTIONS)
    return check_submission(folder)


# Writing and reading


def test_round_trip_is_exact_in_float32(tmp_path):
    written = submissions.varied_rows()
    read = read_submission(submissions.make_submission(tmp_path, written)).rows
    assert [r.image_id for r in read] == [r.image_id for r in written]
    as_stored = lambda a, b: np.array_equal(a.astype(np.float32), b.astype(np.float32))  # noqa: E731
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
    near = lambda a, b: np.allclose(a, b, rtol=0, atol=2e-7)  # noqa: E731
    assert all(same(a, b, near) for a, b in zip(first.rows, second.rows, strict=True))


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
    start = time.perf_counter()
    _, defects = check_submission(tmp_path)
    assert {"image-id", "status", "column"} == set(codes(defects))
    assert all(len(str(d)) < 1000 for d in defects)
    assert time.perf_counter() - start < 2


# The manifest


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ["manifest-unreadable"]),
        ("- a\n- list\n", ["manifest-unreadable"]),
        ("a: b: c", ["manifest-unreadable"]),
        ("\x00", ["manifest-unreadable"]),
        ("x: " + "[" * 5000, ["manifest-unreadable"]),
        ("!!python/object/apply:os.system ['touch pwned']\n", ["manifest-unreadable"]),
        (VALID + "settings: !!python/object/apply:os.system ['touch pwned']\n", ["manifest-unreadable"]),
        (VALID + "settings: &a {x: 1}\nenvironment: *a\n", ["manifest-unreadable"]),
        (VALID + "authors: " + "x" * 200_000, ["manifest-size"]),
        (VALID.replace("made up", "123"), ["manifest-field-type"]),
        (VALID.replace("made up", "[a]"), ["manifest-field-type"]),
        (VALID.replace("made up", "''"), ["manifest-field-missing"]),
        (VALID.replace("made up", "2024-01-01"), ["manifest-field-type"]),
        (VALID.replace("spec: 1", "spec: '1'"), ["manifest-field-type"]),
        (VALID.replace("spec: 1", "spec: true"), ["manifest-field-type"]),
        (VALID.replace("spec: 1", "spec: 2"), ["manifest-field-value"]),
        (VALID.replace("split: test", "split: val"), ["manifest-field-value"]),
        (VALID.replace("body_model: open", "body_model: SMPL"), ["manifest-field-value"]),
        (VALID + "inputs: masks\n", ["manifest-field-type"]),
        (VALID + "inputs: [masks, 3]\n", ["manifest-field-type"]),
        (VALID + "settings: [1]\n", ["manifest-field-type"]),
        ("{}", ["manifest-field-missing"] * 5),
        (
            "spec: 1\nsplit: val\nmethod: 3\n",
            [*["manifest-field-missing"] * 2, "manifest-field-type", "manifest-field-value"],
        ),
    ],
)
def test_each_defect_of_a_manifest(tmp_path, text, wanted, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / MANIFEST).write_text(text)
    manifest, defects = read_manifest(tmp_path / MANIFEST)
    assert manifest is None and sorted(codes(defects)) == sorted(wanted)
    assert all(len(str(defect)) < 1000 for defect in defects)
    assert not Path("pwned").exists()


def test_a_yaml_bomb_takes_no_time(tmp_path):
    lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 12)]
    (tmp_path / MANIFEST).write_text("\n".join(lines))
    start = time.perf_counter()
    assert codes(read_manifest(tmp_path / MANIFEST)[1]) == ["manifest-unreadable"]
    assert time.perf_counter() - start < 1


def test_an_unknown_field_is_said_and_the_manifest_used(tmp_path):
    (tmp_path / MANIFEST).write_text(VALID + "colour: blue\n1: 2\n")
    manifest, defects = read_manifest(tmp_path / MANIFEST)
    assert manifest == submissions.MANIFEST_ROW and codes(defects, "warning") == ["manifest-extra-field"] * 2


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
    assert against(tmp_path, data, truth, revision=data.revision) == []


def test_what_it_is_for_is_compared(tmp_path, data, truth):
    defects = against(tmp_path, data, truth, dataset="wildhoi", body_model="smplx", revision="0123")
    assert codes(defects) == ["wrong-dataset", "wrong-body_model"] and codes(defects, "warning") == ["revision"]


def test_a_split_that_the_data_lack_is_said(tmp_path, data, truth):
    assert codes(against(tmp_path, data, truth, split="train")) == ["wrong-split"]


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


# Speed


def test_ten_thousand_rows_are_checked_within_two_seconds(tmp_path):
    body = Human(np.zeros(10), np.zeros((21, 3)), np.zeros((15, 3)), np.zeros((15, 3)))
    table = pd.concat([submissions.frame([submissions.reconstruction("x", human=body)])] * 10_000, ignore_index=True)
    table["image_id"] = [f"{i:06d}" for i in range(10_000)]
    submissions.spoil(tmp_path, table)
    start = time.process_time()
    with submissions.unchecked():
        submission, defects = check_submission(tmp_path)
    assert len(submission.rows) == 10_000 and not defects
    assert time.process_time() - start < 2


def test_writing_a_submission_leaves_only_its_files(tmp_path):
    write_submission(tmp_path / "a b" / "ü", submissions.MANIFEST_ROW, submissions.rows(1))
    assert submissions.files_below(tmp_path / "a b" / "ü") == {MANIFEST, PREDICTIONS}
    assert len(read_submission(tmp_path / "a b" / "ü").rows) == 1
