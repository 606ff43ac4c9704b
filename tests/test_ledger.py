"""The ledger: what a check writes down, what it never does, and the marks that it gives."""

import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from command import run
from hypothesis import given, settings
from hypothesis import strategies as st

import submissions
from evaluation import ledger as ledger_module
from evaluation import recording
from evaluation.checking import check_submissions
from evaluation.evaluate import Options, evaluate
from evaluation.ledger import LEDGER, REPORTED, Line, Mark, extend_ledger, mark_of, read_ledger
from evaluation.protocol import load_protocol
from evaluation.recording import now, record_checks, record_verified, recorder, who
from evaluation.scores import PER_IMAGE, SCORES, write_scores
from wildhoi import __version__
from wildhoi.dataset import load_annotations
from wildhoi.errors import InputError, RunError
from wildhoi.files import sha256_file
from wildhoi.submission.folder import PREDICTIONS, read_submission

THINGS = ("baseball",)
MANIFEST = replace(submissions.MANIFEST_ROW, dataset="open", method="theirs")
COMMITTED = Path(__file__).parents[1] / "submissions"
LINE = Line("2026-01-01T00:00:00Z", "me", "1.0", "a", "added", predictions="a" * 64, scores="b" * 64)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return submissions.make_data(tmp_path_factory.mktemp("data"), THINGS, 1, body_model="open", name="open")


@pytest.fixture(scope="module")
def made(tmp_path_factory, data):
    """Two scored submissions; never to be changed."""
    folder = tmp_path_factory.mktemp("made")
    for name, metres in (("one", 0.03), ("two", 0.05)):
        submit(folder / "open" / name, data, metres)
    return folder


@pytest.fixture
def board(tmp_path, made, monkeypatch):
    """A copy of them to be spoilt."""
    monkeypatch.delenv("GITHUB_ACTOR", raising=False)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    shutil.copytree(made, tmp_path / "board")
    return tmp_path / "board"


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *words: run(monkeypatch, capfd, *words)


def submit(folder, data, metres, protocol="open-small@1"):
    records = [submissions.as_reconstruction(a) for a in load_annotations(data)]
    shift = [metres, 0, 0]
    records = [
        replace(r, object_pose=replace(r.object_pose, translation=r.object_pose.translation + shift)) for r in records
    ]
    submissions.make_submission(folder, records, MANIFEST)
    write_scores(folder, evaluate(read_submission(folder), data, load_protocol(protocol), Options()))


def check(board, data, below=".", by="me"):
    """Check and record; the verdicts of the lines that were added, by path."""
    folder = board / below
    lines = record_checks(recorder(board / LEDGER, folder, by), check_submissions(folder, data.path))
    return {line.path: line.verdict for line in lines}


def hashes(folder):
    return sha256_file(folder / PREDICTIONS), sha256_file(folder / SCORES)


def mark(board, name):
    return mark_of(read_ledger(board / LEDGER), *hashes(board / "open" / name))


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def one_mean(scores):
    scores["overall"]["metrics"]["translation"].update(mean=1.0)


# What a check writes down


def test_every_submission_is_added_once(board, data):
    assert check(board, data) == {"open/one": "added", "open/two": "added"}
    before = (board / LEDGER).read_bytes()
    assert check(board, data) == check(board, data, "open") == check(board, data, "open/one", by="you") == {}
    assert (board / LEDGER).read_bytes() == before


def test_a_line_says_who_when_and_of_what(board, data, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    check(board, data, by="\x1b[31mme\n")
    line = read_ledger(board / LEDGER)[0]
    scores = json.loads((board / "open" / "one" / SCORES).read_text())
    assert (line.date, line.by, line.wildhoi) == ("1970-01-02T00:00:00Z", "\ufffd[31mme", __version__)
    assert line.files == hashes(board / "open" / "one")
    assert (line.protocol, line.protocol_hash) == (scores["protocol"]["id"], scores["protocol"]["hash"])
    assert (line.method, line.dataset, line.revision) == ("theirs", "open", scores["dataset"]["revision"])
    cells = scores["overall"]["metrics"]
    assert line.means == {name: cells[name]["mean"] for name in scores["headline"]} and line.changed == ()


def test_nothing_is_ever_rewritten(board, data):
    check(board, data)
    before = (board / LEDGER).read_bytes()
    edit(board / "open" / "one" / SCORES, one_mean)
    shutil.rmtree(board / "open" / "two")
    check(board, data)
    assert (board / LEDGER).read_bytes().startswith(before)
    assert len(read_ledger(board / LEDGER)) == 4


def test_other_predictions_are_a_change_with_its_numbers(board, data):
    check(board, data)
    old = read_ledger(board / LEDGER)[0].means["translation"]
    submit(board / "open" / "one", data, 0.07)
    assert check(board, data) == {"open/one": "changed"}
    changed, new = read_ledger(board / LEDGER)[-1].changed, read_ledger(board / LEDGER)[-1].means["translation"]
    assert {PREDICTIONS, SCORES, f"translation: {old} -> {new}"} <= {*changed}


def test_the_same_numbers_by_another_version_are_a_new_score(board, data, monkeypatch):
    check(board, data)
    monkeypatch.setattr(recording, "__version__", "9.9")
    assert check(board, data) == {"open/one": "re-scored", "open/two": "re-scored"}
    assert read_ledger(board / LEDGER)[-1].changed == (f"wildhoi: {__version__} -> 9.9",)
    assert check(board, data) == {}


def test_the_same_means_under_another_protocol_are_a_new_score(board, data):
    check(board, data)
    submit(board / "open" / "one", data, 0.03, protocol="open@1")
    assert check(board, data) == {"open/one": "re-scored"}
    changed = read_ledger(board / LEDGER)[-1].changed
    assert "protocol: open-small@1 -> open@1" in changed and SCORES in changed and PREDICTIONS not in changed


def test_a_difference_is_written_once_and_so_is_its_end(board, data):
    path = board / "open" / "one" / SCORES
    good = path.read_bytes()
    edit(path, one_mean)
    assert check(board, data) == {"open/one": "differs", "open/two": "added"}
    line = read_ledger(board / LEDGER)[0]
    assert line.changed == ("overall.metrics.translation.mean: stored 1.0, found 3.0",) and line.means == {}
    assert check(board, data) == {}
    edit(path, lambda scores: scores.update(official=False))
    assert check(board, data) == {"open/one": "differs"}  # another one
    path.write_bytes(good)
    assert check(board, data) == {"open/one": "changed"}
    assert read_ledger(board / LEDGER)[-1].changed[0] == "differs before"


def test_a_damaged_submission_is_invalid_and_says_no_folder_of_this_machine(board, data):
    (board / "open" / "one" / SCORES).write_text("{")
    (board / "open" / "two" / PREDICTIONS).unlink()
    assert set(check(board, data).values()) == {"invalid"} and check(board, data) == {}
    text = (board / LEDGER).read_text()
    assert str(board.parent) not in text and "cannot be read as JSON" in text
    assert read_ledger(board / LEDGER)[1].predictions is None


def test_many_differences_are_counted(board, data):
    def change(scores):
        for cell in scores["overall"]["metrics"].values():
            cell.update(mean=1e9, median=1e9)

    edit(board / "open" / "one" / SCORES, change)
    check(board, data, "open/one")
    (line,) = read_ledger(board / LEDGER)
    assert len(line.changed) == recording.SHOWN + 1 and line.changed[-1].startswith("and ")


def test_what_is_gone_is_removed_once_and_comes_back(board, data, tmp_path):
    check(board, data)
    shutil.move(board / "open" / "one", tmp_path / "kept")
    (board / "open" / "two" / SCORES).unlink()
    assert check(board, data) == {"open/one": "removed", "open/two": "removed"}
    assert [line.changed for line in read_ledger(board / LEDGER)[2:]] == [
        ("its folder is gone",),
        (f"it has no {SCORES} any more",),
    ]
    assert check(board, data) == {}
    shutil.move(tmp_path / "kept", board / "open" / "one")
    assert check(board, data) == {"open/one": "added"}


def test_a_check_of_a_part_removes_nothing_elsewhere(board, data):
    check(board, data)
    shutil.rmtree(board / "open" / "two")
    assert check(board, data, "open/one") == {}
    (board / "op").mkdir()
    assert check(board, data, "op") == {}  # "open/two" begins so, and is not below it


def test_what_cannot_be_checked_leaves_no_line(board, data, tmp_path, monkeypatch):
    (tmp_path / "found" / "open").parent.mkdir()
    (tmp_path / "found" / "open").symlink_to(data.path)
    monkeypatch.setenv("WILDHOI_DATA", str(tmp_path / "found"))
    check(board, data)
    folder = board / "open" / "one"
    rows = list(read_submission(folder).rows)
    submissions.make_submission(folder, rows, replace(MANIFEST, dataset="nowhere"))
    verdicts = check_submissions(board)
    assert "not checked" in {verdict.status for verdict in verdicts}
    lines = record_checks(recorder(board / LEDGER, board, "me"), [v for v in verdicts if v.status == "not checked"])
    assert [line.path for line in lines] == ["open/two"]  # which the shortened list lacks


def test_with_nothing_to_say_there_is_no_file(tmp_path, data):
    (tmp_path / "empty").mkdir()
    assert check(tmp_path / "empty", data) == {}
    assert not (tmp_path / "empty" / LEDGER).exists()


# Where it lies, who writes, when


def test_a_ledger_lies_above_what_it_speaks_of(board, tmp_path):
    for place in (tmp_path / "elsewhere" / LEDGER, board / "open" / "one" / LEDGER):
        with pytest.raises(InputError, match="or above it"):
            recorder(place, board, "me")
    assert recorder(tmp_path / LEDGER, board / "open", "me").place == Path("board/open")


def test_who_checks_is_named_or_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GITHUB_ACTOR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(InputError, match="want --by NAME"):
        who(None, tmp_path)
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = Git User\n")
    assert who(None, tmp_path) == "Git User"
    monkeypatch.setenv("GITHUB_ACTOR", "actor")
    assert who(None, tmp_path) == "actor" and who("me", tmp_path) == "me"


@pytest.mark.parametrize("value", ["", "soon", "1e9", str(10**30)])
def test_a_date_that_is_none_is_refused(monkeypatch, value):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    with pytest.raises(InputError, match="SOURCE_DATE_EPOCH"):
        now()


# The file


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=40), st.lists(st.text(max_size=40), max_size=3), st.floats(allow_nan=False, allow_infinity=False)
)
def test_a_line_reads_back_as_it_was(text, changed, mean):
    line = replace(LINE, path=text, method=text, changed=tuple(changed), means={text: mean, "b": None}, how=text)
    assert ledger_module._parse(line.to_json().encode()) == line and line.to_json().isascii()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(spec=2), "has spec 2"),
        (lambda c: c.update(spec=True), "spec is true"),
        (lambda c: c.pop("by"), "'by' is missing or too many"),
        (lambda c: c.update(more=1), "'more' is missing or too many"),
        (lambda c: c.update(verdict="fine"), 'verdict is "fine"'),
        (lambda c: c.update(verdict=["added"]), "verdict is"),
        (lambda c: c.update(date="yesterday"), "date is"),
        (lambda c: c.update(scores="b" * 63), "scores is"),
        (lambda c: c.update(predictions=3), "predictions is 3"),
        (lambda c: c.update(path=None), "path is null"),
        (lambda c: c.update(by="x" * 2000), "by is"),
        (lambda c: c.update(changed="x"), "changed is"),
        (lambda c: c.update(changed=["x"] * 1000), "changed is"),
        (lambda c: c.update(means={"a": True}), "means is"),
        (lambda c: c.update(means={"a": 10**400}), "."),
        (lambda c: c.update(means={"a": float("nan")}), "."),
        (lambda c: c.update(means=[]), "means is"),
    ],
)
def test_a_damaged_line_is_one_error_with_its_number(tmp_path, change, words):
    content = LINE.to_dict()
    change(content)
    path = tmp_path / LEDGER
    path.write_text(f"{LINE.to_json()}\n{json.dumps(content)}\n{LINE.to_json()}\n")
    with pytest.raises(InputError, match=rf"ledger\.jsonl: line 2: .*{words}"):
        read_ledger(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="line 2"):
        extend_ledger(path, lambda held: [LINE])
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", [b"{", b"[]", b"", b"\xff", b'{"spec": 1' + b"[" * 100_000, b"null", b"<<<<<<< HEAD"])
def test_what_is_no_line_is_said(tmp_path, text):
    (tmp_path / LEDGER).write_bytes(f"{LINE.to_json()}\n".encode() + text + b"\n")
    with pytest.raises(InputError, match="line 2: "):
        read_ledger(tmp_path / LEDGER)


def test_no_ledger_is_empty_and_a_folder_is_none(tmp_path, monkeypatch):
    assert read_ledger(tmp_path / LEDGER) == ()
    with pytest.raises(InputError, match="cannot be opened as a ledger"):
        read_ledger(tmp_path)
    with pytest.raises(InputError, match="cannot be opened as a ledger"):
        extend_ledger(tmp_path / "absent" / LEDGER, lambda held: [LINE])
    monkeypatch.setattr(ledger_module, "MAX_BYTES", 10)
    (tmp_path / LEDGER).write_text(LINE.to_json())
    with pytest.raises(InputError, match="at most 10 are read"):
        read_ledger(tmp_path / LEDGER)


def test_a_lost_line_end_is_no_harm(tmp_path):
    (tmp_path / LEDGER).write_text(LINE.to_json())
    extend_ledger(tmp_path / LEDGER, lambda held: [LINE])
    assert read_ledger(tmp_path / LEDGER) == (LINE, LINE)


def test_a_line_that_could_not_be_read_back_is_never_written(tmp_path):
    with pytest.raises(InputError, match="shorter name"):
        extend_ledger(tmp_path / LEDGER, lambda held: [LINE, replace(LINE, path="x" * 5000)])
    assert read_ledger(tmp_path / LEDGER) == ()


@pytest.mark.parametrize("fault", ["short", "full", "killed"])
def test_what_is_written_in_part_is_taken_back(tmp_path, monkeypatch, fault):
    path = tmp_path / LEDGER
    extend_ledger(path, lambda held: [LINE])
    before = path.read_bytes()

    def sync(descriptor):
        if fault == "killed":
            raise KeyboardInterrupt
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", sync)
    if fault == "short":
        real = ledger_module._opened

        class Short(ledger_module.FileIO):
            def write(self, content):
                return super().write(content[:7])

        monkeypatch.setattr(
            ledger_module, "_opened", lambda p, mode: Short(p, "a+") if mode == "ab+" else real(p, mode)
        )
    with pytest.raises(KeyboardInterrupt if fault == "killed" else RunError):
        extend_ledger(path, lambda held: [LINE, LINE])
    assert path.read_bytes() == before


def test_two_writers_lose_nothing_and_repeat_nothing(tmp_path):
    path = tmp_path / LEDGER

    def write(name):
        for number in range(20):
            wanted = replace(LINE, path=str(number), by=name)
            extend_ledger(path, lambda held: [] if any(line.path == wanted.path for line in held) else [wanted])  # noqa: B023

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(int(line.path) for line in read_ledger(path)) == list(range(20))


# The marks


def test_a_mark_is_of_exactly_these_files(board, data):
    assert mark(board, "one") == Mark("scored")
    check(board, data)
    assert mark(board, "one").level == "re-scored" and mark(board, "one").line.by == "me"
    ledger, (predictions, scores) = read_ledger(board / LEDGER), hashes(board / "open" / "one")
    other = hashes(board / "open" / "two")
    assert mark_of(ledger, predictions, other[1]).level == mark_of(ledger, other[0], scores).level == "scored"
    edit(board / "open" / "one" / SCORES, lambda content: content["versions"].update(torch="0"))
    assert mark(board, "one").level == "scored"
    assert REPORTED.level == "reported"


def test_a_later_difference_of_the_same_files_takes_the_mark(board, data):
    check(board, data)
    record_verified(recorder(board / LEDGER, board / "open" / "one", "me"), "by hand")
    assert mark(board, "one").level == "verified" and mark(board, "one").line.how == "by hand"
    shutil.copy(board / "open" / "two" / PER_IMAGE, board / "open" / "one" / PER_IMAGE)
    assert check(board, data) == {"open/one": "differs"}
    assert mark(board, "one").level == "scored" and mark(board, "two").level == "re-scored"


def test_a_damaged_copy_elsewhere_takes_no_mark(board, data):
    check(board, data)
    shutil.copytree(board / "open" / "one", board / "open" / "copy")
    shutil.copy(board / "open" / "two" / PER_IMAGE, board / "open" / "copy" / PER_IMAGE)
    assert check(board, data) == {"open/copy": "differs"}
    assert mark(board, "one").level == "re-scored"


def test_a_new_version_that_agrees_keeps_what_was_verified(board, data, monkeypatch):
    check(board, data)
    record_verified(recorder(board / LEDGER, board / "open" / "one", "me"), "by hand")
    monkeypatch.setattr(recording, "__version__", "9.9")
    check(board, data)
    assert mark(board, "one").level == "verified" and mark(board, "two").line.wildhoi == "9.9"


def test_verified_needs_a_check_of_these_files_and_is_written_once(board, data):
    book = recorder(board / LEDGER, board / "open" / "one", "me")
    with pytest.raises(InputError, match="does that first"):
        record_verified(book, "by hand")
    assert not (board / LEDGER).exists()
    check(board, data)
    assert record_verified(book, "by hand") is not None and record_verified(book, "by hand") is None
    assert record_verified(replace(book, by="you"), "by hand") is not None
    edit(board / "open" / "one" / SCORES, lambda content: content["versions"].update(torch="0"))
    with pytest.raises(InputError, match="does that first"):
        record_verified(book, "by hand")


# The commands


def test_a_check_alone_reads_alone(command, board, data):
    before = submissions.files_below(board)
    words = ("leaderboard", "check", board, "--data", data.path)
    assert command(*words).code == 0 and submissions.files_below(board) == before
    assert command(*words, "--by", "me").code == 2
    done = command(*words, "--ledger", board / LEDGER, "--by", "me")
    assert done.code == 0 and "open/one added" in done.err and len(done.out.splitlines()) == 2
    recorded = (board / LEDGER).read_bytes()
    edit(board / "open" / "one" / SCORES, one_mean)
    assert command(*words).code == 1 and (board / LEDGER).read_bytes() == recorded
    done = command(*words, "--ledger", board / LEDGER, "--by", "me", "--json")
    assert done.code == 1 and len(json.loads(done.out)) == 2 and "differs (overall.metrics" in done.err


def test_a_damaged_ledger_stops_a_check_before_it_begins(command, board, data, monkeypatch):
    (board / LEDGER).write_text("{\n")
    monkeypatch.setattr("evaluation.checking.check_submissions", lambda *a, **k: pytest.fail("began"))
    done = command("leaderboard", "check", board, "--data", data.path, "--ledger", board / LEDGER, "--by", "me")
    assert done.code == 2 and "line 1: " in done.first and len(done.err.splitlines()) == 1


def test_verifying_scores_both_sides(command, board, data, tmp_path):
    one, again = board / "open" / "one", tmp_path / "again"
    words = ("leaderboard", "verify", one, "--ledger", board / LEDGER, "--data", data.path, "--by", "me")
    check(board, data)
    submit(again, data, 0.0305)
    assert "no run.jsonl" in command(*words, "--rerun", again).first
    (again / "run.jsonl").touch()
    assert command(*words).code == command(*words, "--rerun", again, "--own").code == 2
    done = command(*words, "--rerun", again)
    assert done.code == 0 and "verified (1 of 1 images run again" in done.err, done
    assert mark(board, "one").level == "verified"
    assert "on record" in command(*words, "--rerun", again).err
    submit(again, data, 0.09)
    done = command(*words, "--rerun", again)
    assert done.code == 1 and "not verified" in done.first and "translation" in done.first
    records = list(read_submission(again).rows)
    submissions.make_submission(again, records, replace(MANIFEST, settings={"steps": 2}))
    assert "steps is 2" in command(*words, "--rerun", again).first
    submissions.make_submission(again, records, replace(MANIFEST, method="other"))
    assert "method is 'other'" in command(*words, "--rerun", again).first
    two = ("leaderboard", "verify", board / "open" / "two", *words[3:], "--own", "--json")
    assert json.loads(command(*two).out)["added"] and "keeps the ledger" in mark(board, "two").line.how
    command(*words, "--own")
    assert "run again" in mark(board, "one").line.how  # says more than who made it
    assert "no such folder" in command("leaderboard", "verify", board / "nowhere", *words[3:], "--own").first


# What is committed


def test_the_committed_ledger_has_every_committed_row_as_it_is():
    ledger = read_ledger(COMMITTED / LEDGER)
    found = {path.parent.relative_to(COMMITTED).as_posix() for path in COMMITTED.rglob(SCORES)}
    assert found and {line.path for line in ledger} == found
    for name in found:
        level = mark_of(ledger, *hashes(COMMITTED / name)).level
        assert level in ("re-scored", "verified"), f"{name}: `wildhoi leaderboard check submissions --ledger ...`"
