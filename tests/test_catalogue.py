"""Which data sets there are, what a folder holds, and what is wrong with its files."""

import json
import shutil

import pytest

import submissions
from wildhoi.catalogue import KNOWN, describe_data, list_data_sets
from wildhoi.dataset import find_data, open_folder
from wildhoi.dataset.folder import SHIPPED
from wildhoi.errors import InputError

TEST = "test-00000-of-00001.parquet"


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """No data folder but those a test makes, and the ones that ship."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("WILDHOI_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def folder(tmp_path):
    return submissions.make_data(tmp_path / "data" / "behave", ["tennis", "violin"], 3, name="behave")


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# The list


def test_every_known_data_set_is_listed_once_and_absent_ones_have_no_place():
    found = {entry.name: entry for entry in list_data_sets()}
    assert list(found) == list(KNOWN) and all(entry.what for entry in found.values())
    assert found["open-sample"].path == str(SHIPPED["open-sample"])
    absent = found.keys() - {"open-sample"}
    assert {(found[name].path, found[name].revision, found[name].problem) for name in absent} == {(None, None, None)}


def test_a_folder_among_the_data_is_found_with_its_revision(folder):
    entry = next(entry for entry in list_data_sets() if entry.name == "behave")
    assert (entry.path, entry.revision) == (str(folder.path), folder.revision)
    assert entry.to_dict() == json.loads(json.dumps(entry.to_dict()))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "behave", "body_model": "clay"}', '{"name": 3}'])
def test_a_broken_folder_is_listed_with_what_is_wrong(folder, content):
    (folder.path / "dataset.json").write_text(content)
    entry = next(entry for entry in list_data_sets() if entry.name == "behave")
    assert entry.path is None and "dataset.json" in entry.problem


# What a folder holds


def test_rows_are_counted_by_object_kind_and_split(folder):
    shutil.copytree(folder.path / "annotations/tennis", folder.path / "samples/tennis")
    (folder.path / "annotations/violin" / TEST).rename(folder.path / "annotations/violin/train-00000-of-00001.parquet")
    (folder.path / "lists").mkdir()
    (folder.path / "lists/keyframes.json").write_text("[]")
    found = describe_data(folder)
    counts = {entry.name: (entry.samples, entry.annotations) for entry in found.objects}
    none = {"train": 0, "test": 0}
    assert counts == {
        "tennis": ({"train": 0, "test": 3}, {"train": 0, "test": 3}),
        "violin": (none, {"train": 3, "test": 0}),
    }
    assert found.lists == ("keyframes",) and found.track is None and found.body_model == "smplx"
    assert found.to_dict()["objects"][0]["annotations"] == {"train": 0, "test": 3}


def test_shards_of_a_split_add_up(folder):
    part = folder.path / "annotations/tennis"
    (part / TEST).rename(part / "test-00000-of-00002.parquet")
    shutil.copy(part / "test-00000-of-00002.parquet", part / "test-00001-of-00002.parquet")
    counts = {entry.name: entry.annotations["test"] for entry in describe_data(folder).objects}
    assert counts == {"tennis": 6, "violin": 3}


def test_files_and_bytes_are_those_that_are_seen(folder):
    (folder.path / ".hidden").write_text("x" * 10_000)
    found = describe_data(folder)
    names = files(folder.path) - {".hidden"}
    assert found.files == len(names)
    assert found.bytes == sum((folder.path / name).stat().st_size for name in names)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all"])
def test_a_damaged_file_is_named(folder, content):
    (folder.path / "annotations/tennis" / TEST).write_bytes(content)
    with pytest.raises(InputError, match=f"tennis/{TEST}: not a readable Parquet file.*wildhoi data verify"):
        describe_data(folder)


def test_a_folder_without_tables_is_described_too(tmp_path):
    found = describe_data(submissions.make_data(tmp_path / "empty", [], name="empty"))
    assert found.objects == () and found.files == 2


# Its files


def test_what_was_just_sealed_has_no_problem(folder):
    assert folder.problems() == {} and find_data("open-sample").problems() == {}


def test_one_byte_one_file_less_and_one_more_are_told_apart(folder):
    flipped, gone, added = folder.path / "annotations/tennis" / TEST, "objects/violin/keypoints.json", "lists/new.json"
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    (folder.path / gone).unlink()
    (folder.path / "lists").mkdir()
    (folder.path / added).write_text("[]")
    assert folder.problems() == {
        f"annotations/tennis/{TEST}": "is not as recorded",
        added: "is not recorded",
        gone: "is gone",
    }


def test_the_card_and_hidden_files_may_change(folder):
    (folder.path / "README.md").write_text("my own words")
    (folder.path / ".hub.json").write_text("{}")
    assert folder.problems() == {}


def test_a_folder_in_the_place_of_a_file_is_a_file_gone(folder):
    path = folder.path / "annotations/tennis" / TEST
    path.unlink()
    path.mkdir()
    assert folder.problems() == {f"annotations/tennis/{TEST}": "is gone"}


def test_an_edited_identity_is_seen(folder):
    path = folder.path / "dataset.json"
    path.write_text(path.read_text().replace("smplx", "smplh"))
    assert open_folder(folder.path).problems() == {"dataset.json": "is not as recorded"}


def test_progress_counts_every_file_once(folder):
    steps = []
    folder.problems(lambda done, total: steps.append((done, total)))
    n = len(folder.checksums)
    assert steps == [(done, n) for done in range(1, n + 1)]
