"""Scoring committed submissions again, and the overview that the tool writes into a README."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import run
from score_files import given_scores, save

import submissions
from evaluation.checking import check_submissions
from evaluation.evaluate import Options, evaluate
from evaluation.leaderboard.board import build, leaderboard
from evaluation.leaderboard.overview import EMPTY, END, START
from evaluation.protocol import load_protocol
from evaluation.scores import PER_IMAGE, SCORES, SEAL, seal_of, write_scores
from wildhoi import parquet
from wildhoi.dataset import load_annotations
from wildhoi.errors import InputError
from wildhoi.schema import Failure
from wildhoi.submission.folder import PREDICTIONS, read_submission

THINGS = ("baseball", "basketball")
MANIFEST = replace(submissions.MANIFEST_ROW, dataset="open", method="theirs")
COMMITTED = Path(__file__).parents[1] / "submissions"


def shifted(annotation, metres):
    record = submissions.as_reconstruction(annotation)
    pose = replace(record.object_pose, translation=record.object_pose.translation + np.array([metres, 0, 0]))
    return replace(record, object_pose=pose)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return submissions.make_data(tmp_path_factory.mktemp("data"), THINGS, 2, body_model="open", name="open")


@pytest.fixture(scope="module")
def scored(tmp_path_factory, data):
    """A submission of which every other image failed, scored; never to be changed."""
    folder = tmp_path_factory.mktemp("scored") / "open" / "theirs"
    records = [shifted(a, 0.03) for a in load_annotations(data)]
    records[::2] = [Failure(record.image_id, "x") for record in records[::2]]
    submissions.make_submission(folder, records, MANIFEST)
    write_scores(folder, evaluate(read_submission(folder), data, load_protocol("open-small@1"), Options()))
    return folder.parents[1]


@pytest.fixture
def copied(tmp_path, scored):
    """A copy of it to be spoilt: the folder to search, and the submission's."""
    shutil.copytree(scored, tmp_path / "subs")
    return tmp_path / "subs", tmp_path / "subs" / "open" / "theirs"


def only(folder, data):
    (verdict,) = check_submissions(folder, data.path)
    return verdict


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def scored_elsewhere(submission, **versions):
    """Make scores those of a machine with other versions of libraries."""
    table = pq.read_table(submission / PER_IMAGE).to_pylist()
    edit(submission / SCORES, lambda scores: scores["versions"].update(versions))
    edit(submission / SCORES, lambda scores: scores.update({SEAL: seal_of(scores, table)}))


def fields_of(verdict):
    return [difference.field for difference in verdict.differences]


# What is as it was stored


def test_what_was_scored_is_found_again(scored, data):
    verdict = only(scored, data)
    assert (verdict.status, verdict.path, verdict.protocol) == ("ok", "open/theirs", "open-small@1")
    assert verdict.differences == verdict.versions == ()


def test_another_version_of_a_library_is_said_and_is_no_difference(copied, data):
    folder, submission = copied
    scored_elsewhere(submission, torch="0.1", python="2.7")
    verdict = only(folder, data)
    assert verdict.status == "ok"
    assert {d.field: d.stored for d in verdict.versions} == {"versions.torch": '"0.1"', "versions.python": '"2.7"'}


# What is not


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda s: s["overall"]["metrics"]["translation"].update(mean=2.999999), "overall.metrics.translation.mean"),
        (lambda s: s["objects"][THINGS[0]]["recalls"]["add_s"]["curve"].__setitem__(3, 0.25), "add_s.curve[3]"),
        (lambda s: s["objects"].update(spoon={}), "objects.spoon"),
        (lambda s: s["objects"].pop(THINGS[1]), f"objects.{THINGS[1]}"),
        (lambda s: s["overall"]["coverage"].update(images=4.0), "overall.coverage.images"),
        (lambda s: s["overall"]["coverage"].update(failed=True), "overall.coverage.failed"),
        (lambda s: s["overall"]["metrics"]["translation"].update(interval=[0, 0]), "translation.interval"),
        (lambda s: s["overall"].update(rotation_without_spheres=float("nan")), "rotation_without_spheres"),
        (lambda s: s["protocol"].update(hash="0" * 64), "protocol.hash"),
        (lambda s: s["dataset"].update(revision="0" * 16), "dataset.revision"),
        (lambda s: s["body"]["sha256"].update(neutral="0"), "body.sha256.neutral"),
        (lambda s: s["submission"].update(method="ours"), "submission.method"),
        (lambda s: s.update(official=False), "official"),
        (lambda s: s.update(more="?"), "more"),
        (lambda s: s.update(headline=["translation"]), "headline"),
    ],
)
def test_a_changed_score_is_found_where_it_is(copied, data, change, field):
    folder, submission = copied
    edit(submission / SCORES, change)
    verdict = only(folder, data)
    assert verdict.status == "differs" and len(verdict.differences) == 1
    assert fields_of(verdict)[0].endswith(field)


def test_a_last_bit_is_a_difference(copied, data):
    folder, submission = copied
    table = pq.read_table(submission / PER_IMAGE)
    values = table["translation"].to_numpy().copy()
    values[-1] = np.nextafter(values[-1], 0)
    place = table.schema.get_field_index("translation")
    pq.write_table(table.set_column(place, "translation", pa.array(values)), submission / PER_IMAGE)
    verdict = only(folder, data)
    image_id = table["image_id"][len(values) - 1].as_py()
    assert verdict.status == "differs" and fields_of(verdict) == [f"{PER_IMAGE}: {image_id}: translation"]


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.slice(1),
        lambda table: table.drop_columns(["mssd"]),
        lambda table: table.append_column("more", table["mssd"]),
        lambda table: table.take(pa.array([1, 0, 2, 3])),
        lambda table: table.cast(table.schema.set(7, pa.field(table.schema.names[7], pa.float32()))),
        lambda table: table.set_column(4, "reason", pa.array(["y", None, "x", None])),
    ],
)
def test_a_changed_table_of_images_is_found(copied, data, change):
    folder, submission = copied
    pq.write_table(change(pq.read_table(submission / PER_IMAGE)), submission / PER_IMAGE)
    verdict = only(folder, data)
    assert verdict.status == "differs" and all(field.startswith(PER_IMAGE) for field in fields_of(verdict))


def test_changed_predictions_change_hash_and_numbers(copied, data):
    folder, submission = copied
    records = [shifted(a, 0.03 if i else 0.04) for i, a in enumerate(load_annotations(data))]
    submissions.make_submission(submission, records, MANIFEST)
    fields = fields_of(only(folder, data))
    assert fields[0] == "submission.sha256"
    assert {"overall.metrics.translation.mean", "overall.coverage.failed"} <= set(fields)


def test_changed_data_are_a_difference(copied, data, tmp_path):
    shutil.copytree(data.path, tmp_path / "data")
    path = tmp_path / "data" / "objects" / THINGS[0] / "keypoints.json"
    path.write_text(path.read_text() + " ")
    fields = fields_of(only(copied[0], replace(data, path=tmp_path / "data")))
    assert "official" in fields and f"templates.{THINGS[0]}" in fields


# What cannot be compared


def damaged(name):
    def spoil(submission):
        (submission / name).write_bytes(b"PAR1 not really PAR1")

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damaged(SCORES), "cannot be read as JSON"),
        (damaged(PER_IMAGE), "not a readable Parquet file"),
        (damaged(PREDICTIONS), "predictions-unreadable"),
        (damaged("submission.yaml"), "manifest"),
        (lambda s: (s / "submission.yaml").unlink(), "manifest-missing"),
        (lambda s: (s / PER_IMAGE).unlink(), "no such file beside scores.json"),
        (lambda s: edit(s / SCORES, lambda c: c.pop("objects")), "not a score file"),
        (lambda s: edit(s / SCORES, lambda c: c.update(protocol="open@1")), "protocol None is unknown"),
        (lambda s: edit(s / SCORES, lambda c: c["protocol"].update(id="../../x.toml")), "is unknown"),
        (lambda s: edit(s / SCORES, lambda c: c["protocol"].update(id=["open@1"])), "is unknown"),
        (lambda s: submissions.make_submission(s, submissions.rows(), MANIFEST), "no-known-image"),
        (
            lambda s: submissions.make_submission(s, submissions.rows(), replace(MANIFEST, body_model="smplx")),
            "wrong-body_model",
        ),
    ],
)
def test_what_is_invalid_is_said_and_the_rest_goes_on(copied, data, spoil, words):
    folder, submission = copied
    shutil.copytree(submission, folder / "open" / "zz")
    spoil(submission)
    first, second = check_submissions(folder, data.path)
    assert first.status == "invalid" and words in first.reason
    assert second.status == "ok"


def test_too_large_a_table_is_not_read(copied, data, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_ROWS", 3)
    monkeypatch.setattr(parquet, "BYTES_PER_ROW", 10**6)
    verdict = only(copied[0], data)
    assert verdict.status == "invalid" and "4 rows" in verdict.reason


def test_without_scores_there_is_nothing_to_compare(copied, data):
    folder, submission = copied
    (submission / SCORES).unlink()
    assert only(folder, data).status == "no scores"


def test_nothing_below_a_folder_is_nothing_and_no_folder_is_an_error(tmp_path, data):
    (tmp_path / ".half" / "x").mkdir(parents=True)
    (tmp_path / ".half" / "x" / SCORES).write_text("{}")
    assert check_submissions(tmp_path, data.path) == []
    with pytest.raises(InputError, match="no such folder"):
        check_submissions(tmp_path / "gone", data.path)


def test_data_that_are_not_here_leave_a_submission_unchecked(copied):
    folder, submission = copied
    records = list(read_submission(submission).rows)
    submissions.make_submission(submission, records, replace(MANIFEST, dataset="nowhere"))
    (verdict,) = check_submissions(folder)
    assert verdict.status == "not checked" and "'nowhere' is not at hand" in verdict.reason


def test_the_truth_of_the_open_set_comes_from_the_package(copied, tmp_path, monkeypatch):
    monkeypatch.setenv("WILDHOI_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    (verdict,) = check_submissions(copied[0])
    assert verdict.status == "invalid" and "no-known-image" in verdict.reason  # its images are made up


# The command


@pytest.fixture
def command(monkeypatch, capfd):
    return lambda *words: run(monkeypatch, capfd, *words)


def test_the_command_says_a_line_each_and_the_worst_code(command, copied, data):
    folder, submission = copied
    words = ("leaderboard", "check", folder, "--data", data.path)
    assert command(*words)[:2] == (0, "open/theirs (open-small@1): ok\n")
    shutil.copytree(submission, folder / "open" / "b")
    edit(folder / "open" / "b" / SCORES, lambda s: s["overall"]["metrics"]["translation"].update(mean=1.0))
    scored_elsewhere(submission, torch="0.1")
    done = command(*words)
    first, second = done.out.splitlines()
    assert done.code == 1 and second.endswith("ok") and 'torch "0.1" then' in done.err
    assert first == "open/b (open-small@1): differs: overall.metrics.translation.mean: stored 1.0, found 3.0"
    (folder / "open" / "c").mkdir()
    (folder / "open" / "c" / "submission.yaml").write_text("method: \x1b[31m")
    done = command(*words)
    assert done.code == 2 and "open/c: invalid" in done.out and "\x1b" not in done.out
    found = json.loads(command(*words, "--json").out)
    assert [entry["status"] for entry in found] == ["differs", "invalid", "ok"]


def test_the_command_of_an_empty_folder(command, tmp_path):
    done = command("leaderboard", "check", tmp_path)
    assert (done.code, done.out) == (0, "") and "no submission is below it" in done.err
    assert command("leaderboard", "check", tmp_path / "gone").code == 2
    assert command("leaderboard", "check", tmp_path, "--data", tmp_path / "gone").code == 3


# The overview


def readme(folder, text=f"# Head\n\n{START}\nof before\n{END}\n\nTail\n"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(text)
    return folder


def six(translation, rotation=10.0):
    return [2.0, 50.0, rotation, translation, 3.0, 55.0]


def table_of(folder):
    build(folder, folder)
    lines = [line for line in (folder / "README.md").read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_overview_says_how_many_times_smaller_than_isolation(tmp_path):
    folder = readme(tmp_path)
    for method, value in (("isolation", 400.0), ("theirs", 40.0), ("half", 200.0)):
        save(tmp_path / method, given_scores(six(value), method=method, protocol="open-small@1"))
    head, _, *rows = table_of(folder)
    assert head == [
        "Method",
        "Translation (cm) ↓",
        "Rotation (deg) ↓",
        "Surface human (cm) ↓",
        "Surface object (cm) ↓",
        "isolation / method",
        "Images",
    ]
    cells = {row[0]: row for row in rows}
    assert cells["theirs"][1] == "**20.00 (40.00)**" and cells["isolation"][1] == "200.00 (400.00)"
    assert {name: row[-2:] for name, row in cells.items()} == {
        "isolation": ["1.0", "10/10"],
        "theirs": ["10.0", "10/10"],
        "half": ["2.0", "10/10"],
    }
    text = (folder / "README.md").read_text()
    assert text.startswith("# Head\n") and text.endswith("\nTail\n") and "of before" not in text


def test_protocols_have_tables_of_their_own(tmp_path):
    folder = readme(tmp_path)
    for protocol in ("open@1", "open-small@1"):
        facts = {"protocol": protocol, "method": "isolation", "revision": "a" * 16}
        save(tmp_path / protocol, given_scores(six(400.0), **facts))
    rows = table_of(folder)
    assert [row[0] for row in rows].count("isolation") == [row[0] for row in rows].count("Method") == 2
    keys = [table.key.protocol for table in leaderboard(tmp_path, reported=False).tables]
    assert keys == ["open-small@1", "open@1"]


def test_without_one_baseline_there_is_no_ratio(tmp_path):
    folder = readme(tmp_path)
    save(tmp_path / "1", given_scores(six(40.0), method="theirs", protocol="open@1"))
    assert "isolation" not in " ".join(table_of(folder)[0])
    for name in "23":
        save(tmp_path / name, given_scores(six(400.0), method="isolation", protocol="open@1"))
    assert "isolation / method" not in table_of(folder)[0]


def test_a_protocol_without_a_pose_in_its_headline_shows_what_it_has(tmp_path):
    folder = readme(tmp_path)
    save(tmp_path / "1", given_scores([4.0, 9.0], method="isolation", protocol="behave@1"))
    assert table_of(folder)[0] == ["Method", "Chamfer human (cm) ↓", "Chamfer object (cm) ↓", "Images"]


def test_nothing_scored_and_unofficial_scores_leave_the_overview_empty(tmp_path):
    folder = readme(tmp_path)
    save(tmp_path / "1", given_scores(six(40.0), protocol="open@1", unofficial_because=["a reason"]))
    build(folder, folder)
    assert f"{START}\n\n{EMPTY}\n\n{END}" in (folder / "README.md").read_text()


def test_a_readme_without_marks_is_left_alone_and_half_a_mark_is_refused(tmp_path):
    folder = readme(tmp_path, "# Mine\n")
    assert folder / "README.md" not in build(folder, folder)
    assert (folder / "README.md").read_text() == "# Mine\n"
    for text in (START, END, f"{END}{START}", f"{START}{START}{END}", f"{START}{END}{END}"):
        with pytest.raises(InputError, match=r"README\.md.*mark"):
            build(readme(folder, text), folder)
        assert (folder / "README.md").read_text() == text


def test_the_committed_pages_are_what_the_tool_writes(tmp_path):
    copy, front = tmp_path / "submissions", tmp_path / "README.md"
    copy.mkdir()
    shutil.copy(COMMITTED / "README.md", copy)
    shutil.copy(COMMITTED.parent / "README.md", front)
    for path in build(COMMITTED, copy, readmes=[front]):
        committed = COMMITTED.parent / path.relative_to(tmp_path)
        if committed.is_file():
            hint = "`wildhoi leaderboard build submissions -o submissions --tables --readme README.md` writes it"
            assert committed.read_text() == path.read_text(), (path.name, hint)
    assert "(submissions/LEADERBOARD.md)" in front.read_text()


def test_a_page_that_is_named_must_have_the_marks(tmp_path):
    (tmp_path / "page.md").write_text("# Nothing\n")
    with pytest.raises(InputError, match=r"page\.md: has no place for the overview; put the line"):
        build(COMMITTED, tmp_path / "out", readmes=[tmp_path / "page.md"])
    with pytest.raises(InputError, match=r"absent\.md: has no place"):
        build(COMMITTED, tmp_path / "out", readmes=[tmp_path / "absent.md"])
    assert not (tmp_path / "out").exists()
