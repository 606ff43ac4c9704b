"""Answers of raters are files from nobody knows whom: what is refused, and what is said of it."""

import json

import pytest
from study_made import key_of

from evaluation.study.answers import MOST_BYTES, is_name, read_answers, tidy
from evaluation.study.key import read_key, write_key
from wildhoi.errors import InputError
from wildhoi.submission.defects import DefectError


@pytest.fixture
def key():
    return key_of(6, repeats=1)


def content(key, rater="Ada", **changes):
    answers = [{"trial": trial.name, "choice": "left", "seconds": 2.5} for trial in key.trials]
    return {"format": 1, "study": key.study, "rater": rater, "answers": answers, **changes}


def written(folder, name, value):
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def codes(paths, key):
    with pytest.raises(DefectError) as error:
        read_answers(paths, key)
    return [defect.code for defect in error.value.defects]


def test_good_answers_are_read(key, tmp_path):
    paths = [written(tmp_path, f"{name}.json", content(key, name)) for name in ("Zoë", "  Ada  L. ", "李 四")]
    paths[1].write_text(json.dumps(content(key, "Ada  L.")))
    read = read_answers(paths, key)
    assert [each.rater for each in read] == ["Ada L.", "Zoë", "李 四"]
    assert read[0].choices == {trial.name: "left" for trial in key.trials} and read[0].seconds == (2.5,) * 7
    assert read_answers([tmp_path], key) == read == read_answers([tmp_path, *paths], key)


def test_some_answers_may_be_missing(key, tmp_path):
    some = content(key)
    some["answers"] = some["answers"][2:4]
    assert len(read_answers([written(tmp_path, "a.json", some)], key)[0].choices) == 2


WRONG = {
    "other-study": {"study": "0" * 16},
    "format": {"format": 2},
    "no-answers": {"answers": []},
    "many-answers": {"answers": [{"trial": "001", "choice": "left", "seconds": 1}] * 8},
    "unknown-field": {"<script>": 1},
    "odd-name": {"rater": "\x1b[31mred"},
}


@pytest.mark.parametrize("code", WRONG)
def test_a_wrong_head_is_refused(key, tmp_path, code):
    assert codes([written(tmp_path, "a.json", content(key, **WRONG[code]))], key) == [code]


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("unknown-trial", {"trial": "999"}),
        ("unknown-trial", {"trial": 1}),
        ("unknown-trial", {"trial": ["001"]}),
        ("duplicate-trial", {"trial": "002"}),
        ("odd-choice", {"choice": "A"}),
        ("odd-choice", {"choice": "same"}),
        ("odd-choice", {"choice": None}),
        ("odd-choice", {"choice": {}}),
        ("odd-seconds", {"seconds": -1}),
        ("odd-seconds", {"seconds": True}),
        ("odd-seconds", {"seconds": "2"}),
        ("odd-seconds", {"seconds": float("nan")}),
        ("odd-seconds", {"seconds": float("inf")}),
        ("odd-seconds", {"seconds": 10**400}),
        ("unknown-field", {"method": "A"}),
    ],
)
def test_a_wrong_answer_is_refused(key, tmp_path, code, change):
    wrong = content(key)
    wrong["answers"][0] |= change
    assert codes([written(tmp_path, "a.json", wrong)], key) == [code]


@pytest.mark.parametrize("field", ["trial", "choice", "seconds"])
def test_a_missing_field_is_refused(key, tmp_path, field):
    wrong = content(key)
    del wrong["answers"][3][field]
    assert codes([written(tmp_path, "a.json", wrong)], key) == ["missing-field"]


@pytest.mark.parametrize("field", ["format", "study", "rater", "answers"])
def test_a_missing_head_is_refused(key, tmp_path, field):
    wrong = content(key)
    del wrong[field]
    assert codes([written(tmp_path, "a.json", wrong)], key) == ["missing-field"]


@pytest.mark.parametrize("value", ["", "{", "[]", "3", "null", "[" * 100_000, '"text"', '{"answers": 3}'])
def test_what_is_no_file_of_answers_is_refused(key, tmp_path, value):
    assert codes([written(tmp_path, "a.json", value)], key)


def test_ties_count_only_where_they_are_allowed(tmp_path):
    key = key_of(6, ties=True)
    same = content(key)
    same["answers"][0]["choice"] = "same"
    path = written(tmp_path, "a.json", same)
    assert read_answers([path], key)[0].choices["001"] == "same"
    assert codes([path], key_of(6)) == ["odd-choice"]


def test_every_defect_of_every_file_is_told_at_once(key, tmp_path):
    wrong = content(key, rater="", study="x")
    wrong["answers"][0]["choice"] = "up"
    wrong["answers"][1]["trial"] = "nine"
    paths = [written(tmp_path, "a.json", wrong), written(tmp_path, "b.json", "{"), tmp_path / "gone.json"]
    assert codes(paths, key) == ["other-study", "odd-name", "odd-choice", "unknown-trial", "unreadable", "unreadable"]


def test_one_rater_twice_is_refused(key, tmp_path):
    paths = [written(tmp_path, f"{n}.json", content(key, name)) for n, name in enumerate(("Ada L", "ada  l", "Bo"))]
    with pytest.raises(DefectError, match=r"duplicate-rater: got 'ada l' in .*0\.json and .*1\.json"):
        read_answers(paths, key)


def test_a_large_file_is_not_read(key, tmp_path):
    path = written(tmp_path, "a.json", " " * (MOST_BYTES + 1))
    with pytest.raises(DefectError, match="at most 2097152 are read"):
        read_answers([path], key)


def test_foreign_text_is_told_harmlessly(key, tmp_path):
    evil = "\x1b]0;x\x07\u202eabc\ud800" + "y" * 1000
    wrong = content(key, rater=evil)
    wrong["answers"][0]["choice"] = evil
    wrong["answers"][1][evil] = 1
    with pytest.raises(DefectError) as error:
        read_answers([written(tmp_path, "a.json", json.dumps(wrong))], key)
    text = "\n".join(map(str, error.value.defects))
    assert (
        text.replace("\n", "").isprintable()
        and not set(evil) & {*text} - {*map(chr, range(32, 127))}
        and len(text) < 2000
    )


def test_no_file_is_said(key, tmp_path):
    for paths in ([], [tmp_path]):
        with pytest.raises(InputError, match="0 files of answers"):
            read_answers(paths, key)


def test_names():
    assert all(map(is_name, ("Ada", "R2-D2", "José", "नमिता", "a" * 40, "7", "Dr. No", "x_y")))
    assert not any(map(is_name, ("", " a", "a" * 41, "a\n", "a/b", "../x", "a\u202e", "<b>", 3, None, "-x", "😀")))
    assert tidy("  e\u0301  x ") == "\u00e9 x"


# The key


def test_a_key_is_read_as_it_was_written(key, tmp_path):
    write_key(tmp_path, key)
    assert read_key(tmp_path) == key


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c.clear(),
        lambda c: c.update(format=9),
        lambda c: c.update(trials=[]),
        lambda c: c.update(trials="001"),
        lambda c: c["trials"][0].update(left="C"),
        lambda c: c["trials"][0].update(repeats=["001"]),
        lambda c: c["trials"][0].update(repeats={}),
        lambda c: c["trials"][0].pop("object"),
        lambda c: c["trials"][0].update(name="002"),
        lambda c: c["trials"][-1].update(repeats="099"),
        lambda c: c["methods"].pop("A"),
        lambda c: c["methods"]["B"].update(name=3),
        lambda c: c.update(ties="no"),
        lambda c: c.update(dataset=3),
    ],
)
def test_a_damaged_key_is_said(key, tmp_path, spoil):
    write_key(tmp_path, key)
    damaged = json.loads((tmp_path / "key.json").read_text())
    spoil(damaged)
    (tmp_path / "key.json").write_text(json.dumps(damaged))
    with pytest.raises(InputError, match=r"key\.json: .*make the study again"):
        read_key(tmp_path)


def test_another_folder_is_no_study(tmp_path):
    with pytest.raises(InputError, match="want a folder that `wildhoi study make` wrote"):
        read_key(tmp_path)
