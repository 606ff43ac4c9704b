import json
import shutil

import pytest

import submissions
from wildhoi.errors import InputError
from wildhoi.files import (
    UNFINISHED,
    atomic_path,
    canonical_json,
    read_json,
    remove_unfinished,
    require_writable,
    sha256_file,
    sha256_text,
    write_text,
)


def test_atomic_path_makes_the_folder_and_the_file(tmp_path):
    with atomic_path(tmp_path / "new" / "file.txt") as temporary:
        assert temporary.parent.parent == tmp_path / "new"
        temporary.write_text("whole")
    assert submissions.files_below(tmp_path) == {"new", "new/file.txt"}
    assert (tmp_path / "new" / "file.txt").read_text() == "whole"


def test_atomic_path_leaves_nothing_behind_on_an_exception(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert submissions.files_below(tmp_path) == {"file.txt"}


def test_atomic_path_without_a_file_written_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "file.txt"):
        pass
    assert submissions.files_below(tmp_path) == set()


def test_atomic_path_replaces(tmp_path):
    for text in ("one", "two"):
        write_text(tmp_path / "naïve name.txt", text)
    assert (tmp_path / "naïve name.txt").read_text() == "two"


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    for name in ("file.txt", "other.txt"):
        with atomic_path(tmp_path / name) as temporary:
            shutil.copytree(temporary.parent, tmp_path / f".{name}.left{UNFINISHED}")
            temporary.write_text("whole")
    (tmp_path / ".git").mkdir()
    remove_unfinished(tmp_path, "file.txt")
    assert submissions.files_below(tmp_path) == {"file.txt", "other.txt", ".git", f".other.txt.left{UNFINISHED}"}
    remove_unfinished(tmp_path)
    assert submissions.files_below(tmp_path) == {"file.txt", "other.txt", ".git"}
    remove_unfinished(tmp_path / "absent")


def test_what_is_written_is_known_by_its_name_until_it_is_whole(tmp_path):
    with atomic_path(tmp_path / "file.txt") as temporary:
        temporary.write_text("half")
        remove_unfinished(tmp_path)
        assert not temporary.exists()
        temporary.parent.mkdir()
        temporary.write_text("whole")


def test_canonical_json_does_not_depend_on_order():
    assert canonical_json({"b": 1, "a": {"d": [1, 2.5], "c": "é"}}) == '{"a":{"c":"é","d":[1,2.5]},"b":1}'
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})


def test_canonical_json_is_json_of_the_value():
    value = {"x": [1, None, True, "\n"], "y": {}}
    assert json.loads(canonical_json(value)) == value


def test_canonical_json_refuses_nan():
    with pytest.raises(ValueError):
        canonical_json([float("nan")])


def test_hashes_agree(tmp_path):
    write_text(tmp_path / "f", "some text\n")
    assert sha256_file(tmp_path / "f") == sha256_text("some text\n")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"{'a': 1}", b'"\\ud800"', b'{"\\uD9ab": 1}', b'"\xed\xa0\x80"']
)
def test_broken_json_is_one_error_naming_the_file(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.json"):
        read_json(path)


def test_any_unicode_is_read(tmp_path):
    (tmp_path / "good.json").write_bytes('\ufeff["ü", "\\ud83d\\ude00", "\\\\ud800"]'.encode())
    assert read_json(tmp_path / "good.json") == ["ü", "\U0001f600", "\\ud800"]


def test_json_of_another_place_or_size_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "absent.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path)
    (tmp_path / "long.json").write_text("[1, 2, 3]")
    with pytest.raises(InputError, match="9 bytes, at most 8"):
        read_json(tmp_path / "long.json", limit=8)


def test_require_writable_changes_nothing(tmp_path):
    require_writable(tmp_path / "a" / "b")
    assert submissions.files_below(tmp_path) == set()


def test_require_writable_refuses_what_is_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        with pytest.raises(InputError, match="no writable folder"):
            require_writable(tmp_path / place)
