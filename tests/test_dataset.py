import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import submissions
from submissions import same
from wildhoi.dataset import find_data, load_annotations, open_folder, read_annotations, seal_folder, write_annotations
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.templates import SHIPPED as TEMPLATES


def close(a, b):
    return np.allclose(a, b, rtol=1e-6, atol=1e-6)


def only_file(data, thing):
    return next((data.path / "annotations" / thing).iterdir())


def test_annotations_round_trip(tmp_path):
    data = submissions.make_data(tmp_path, ["barbell"], 3)
    written = load_annotations(data)
    written[1] = replace(written[1], scene_id="s", visible=0.5, gender="female")
    write_annotations(tmp_path / "again.parquet", written[::-1])
    read = read_annotations(tmp_path / "again.parquet")
    assert all(same(a, b, close) for a, b in zip(written, read, strict=True))


def test_annotations_are_sorted_and_filtered_by_object(tmp_path):
    data = submissions.make_data(tmp_path, ["tennis", "barbell"])
    ids = [a.image_id for a in load_annotations(data)]
    assert ids == sorted(ids) and len(ids) == 4
    assert {a.object for a in load_annotations(data, objects=["tennis"])} == {"tennis"}
    assert data.categories("test") == ["barbell", "tennis"] and data.categories("train") == []


@pytest.mark.parametrize(("split", "objects"), [("train", None), ("val", None), ("../test", None), ("test", ["cello"])])
def test_what_the_folder_lacks_is_said(tmp_path, split, objects):
    data = submissions.make_data(tmp_path, ["tennis"])
    with pytest.raises(InputError, match=r"tennis|there are those of: test"):
        load_annotations(data, split, objects)


def test_an_image_annotated_twice_is_refused(tmp_path):
    data = submissions.make_data(tmp_path, ["tennis"])
    truth = load_annotations(data)
    write_annotations(tmp_path / "annotations" / "tennis" / "test-00001-of-00002.parquet", truth[:1])
    with pytest.raises(InputError, match=f"{truth[0].image_id}.*twice"):
        load_annotations(data)


def test_the_revision_names_the_content(tmp_path):
    one = submissions.make_data(tmp_path / "1", ["tennis"], 2)
    twin = submissions.make_data(tmp_path / "2", ["tennis"], 2)
    other = submissions.make_data(tmp_path / "3", ["tennis"], 3)
    assert one.revision == twin.revision != other.revision


def test_scores_name_the_truth_of_their_split_alone(tmp_path):
    one, more = (
        submissions.make_data(tmp_path / "1", ["tennis"], 2),
        submissions.make_data(tmp_path / "2", ["tennis"], 2),
    )
    write_annotations(more.path / "annotations" / "tennis" / "train-00000-of-00001.parquet", load_annotations(more)[:1])
    shutil.copytree(TEMPLATES / "cello", more.path / "objects" / "cello")
    more = seal_folder(more.path, name=more.name, body_model=more.body_model)
    assert one.revision != more.revision and one.revision_of("test") == more.revision_of("test")
    assert more.revision_of("train") != more.revision_of("test")


def test_scores_do_not_name_the_bytes_of_parquet_but_the_truth_in_it(tmp_path):
    data = submissions.make_data(tmp_path, ["tennis"], 2)
    before, (path,) = data.revision_of("test"), data.files("annotations", "test")
    table = pq.read_table(path)
    for changed, equal in (
        (table, True),
        (table.append_column("interaction_", pa.nulls(2, pa.string())), True),
        (table.slice(0, 1), False),
        (table.set_column(0, "image_id", pa.array(["x", "y"])), False),
        (table.set_column(table.schema.get_field_index("object_scale"), "object_scale", pa.array([1, 2], "f4")), False),
    ):
        pq.write_table(changed, path, compression="none", row_group_size=1)
        sealed = seal_folder(tmp_path, name=data.name, body_model=data.body_model)
        assert sealed.revision != data.revision and (sealed.revision_of("test") == before) == equal


def test_the_readme_is_no_part_of_the_revision(tmp_path):
    before = submissions.make_data(tmp_path, ["tennis"])
    (tmp_path / "README.md").write_text("words")
    assert seal_folder(tmp_path, name=before.name, body_model=before.body_model).revision == before.revision


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("betas", [float("nan")] * 10),
        ("object_rotation", [1.0, 0, 0, 0, 1, 0, 0, 0, -1]),
        ("camera_rotation", [1.1, 0, 0, 0, 1, 0, 0, 0, 1]),
        ("object_translation", None),
        ("video_id", None),
        ("object", "spoon"),
        ("object_scale", 0.0),
        ("object_scale", -1.0),
        ("gender", "robot"),
        ("betas", [0.0] * 9),
    ],
)
def test_a_bad_value_is_refused_by_name(tmp_path, column, value):
    path = only_file(submissions.make_data(tmp_path, ["tennis"]), "tennis")
    table = pq.read_table(path)
    index = table.schema.get_field_index(column)
    values = table.column(column).to_pylist()
    pq.write_table(table.set_column(index, column, pa.array([values[0], value])), path)
    with pytest.raises(InputError, match=f"row 1.*({column}|spoon)"):
        read_annotations(path)


def test_an_annotation_in_the_folder_of_another_object_is_refused(tmp_path):
    data = submissions.make_data(tmp_path, ["tennis", "violin"], 1)
    only_file(data, "violin").write_bytes(only_file(data, "tennis").read_bytes())
    with pytest.raises(InputError, match=r"violin.*row 0.*object is 'tennis'"):
        load_annotations(data)


def test_missing_columns_are_all_named(tmp_path):
    path = only_file(submissions.make_data(tmp_path, ["tennis"]), "tennis")
    pq.write_table(pq.read_table(path).drop_columns(["betas", "focal"]), path)
    with pytest.raises(InputError, match=r"test-.*betas.*absent.*focal"):
        read_annotations(path)


# Finding a data set


def test_a_name_is_a_folder_or_below_the_variable_or_shipped(tmp_path, monkeypatch):
    data = submissions.make_data(tmp_path / "with space" / "mine", ["tennis"])
    assert find_data(data.path).revision == find_data(str(data.path)).revision == data.revision
    monkeypatch.setenv("WILDHOI_DATA", str(tmp_path / "with space"))
    assert find_data("mine").path == data.path
    assert find_data("open-sample").body_model == "open"


def test_a_folder_that_happens_to_have_the_name_is_no_data_set(tmp_path, monkeypatch):
    (tmp_path / "wildhoi").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WILDHOI_DATA", raising=False)
    with pytest.raises(MissingAssetError, match="not at hand"):
        find_data("wildhoi")


def test_a_folder_given_that_is_none_is_an_invalid_input(tmp_path):
    with pytest.raises(InputError, match="data folder"):
        find_data(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("dataset.json", "[]"),
        ("dataset.json", "{}"),
        ("dataset.json", '{"name": 3, "body_model": "open"}'),
        ("dataset.json", '{"name": "x", "body_model": "smpl"}'),
        ("dataset.json", "{"),
        ("checksums.json", "[1]"),
        ("checksums.json", '{"a": NaN}'),
        ("checksums.json", ""),
        ("checksums.json", None),
    ],
)
def test_a_broken_identity_is_one_error_naming_the_file(tmp_path, file, content):
    data = submissions.make_data(tmp_path, ["tennis"])
    (tmp_path / file).write_text(content) if content is not None else (tmp_path / file).unlink()
    with pytest.raises(InputError, match=file):
        open_folder(data.path)


def test_the_sample_says_what_it_is():
    data = find_data("open-sample")
    identity = json.loads((data.path / "dataset.json").read_text())
    assert identity.pop("truth").keys() == {"train", "test"}
    assert identity == {"body_model": "open", "name": "open-sample", "version": 1}
    truth = load_annotations(data)
    assert len(truth) == 24 and len({a.object for a in truth}) == 8


def test_inputs_do_not_name_the_revision_truth_does(tmp_path):
    data = submissions.make_data(tmp_path, ["tennis"], 2)
    samples = tmp_path / "samples" / "tennis" / "test-00000-of-00001.parquet"
    samples.parent.mkdir(parents=True)
    samples.write_bytes(b"PAR1")
    more = seal_folder(tmp_path, name=data.name, body_model=data.body_model)
    assert more.revision == data.revision and samples.relative_to(tmp_path).as_posix() in more.checksums
    other = seal_folder(tmp_path, name=data.name, body_model=data.body_model, track="another")
    assert other.revision != data.revision


def test_hidden_files_are_no_part_of_a_folder(tmp_path):
    data = submissions.make_data(tmp_path, ["tennis"])
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "file").write_text("x")
    (tmp_path / ".file").write_text("x")
    assert data.problems() == {}
    assert seal_folder(tmp_path, name=data.name, body_model=data.body_model).checksums == data.checksums
