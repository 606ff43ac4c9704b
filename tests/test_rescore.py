"""Stored predictions scored again: what changed, what is written, and that versions never share a table."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import run

import submissions
from evaluation import protocol as protocols
from evaluation.evaluate import Options, evaluate
from evaluation.leaderboard.board import leaderboard
from evaluation.leaderboard.tables import _shipped_hash
from evaluation.protocol import load_protocol
from evaluation.rescoring import _coverage, newest, replace_scores, rescore
from evaluation.scores import PER_IMAGE, SCORES, write_scores
from wildhoi.dataset import load_annotations
from wildhoi.errors import InputError
from wildhoi.schema import Failure
from wildhoi.submission.folder import PREDICTIONS, read_submission

SHIFT = np.array([0.03, 0, 0])
THINGS = ("baseball", "basketball")
MANIFEST = replace(submissions.MANIFEST_ROW, dataset="open", method="theirs")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return submissions.make_data(tmp_path_factory.mktemp("data"), THINGS, 3, body_model="open", name="open")


@pytest.fixture(scope="module")
def scored(tmp_path_factory, data):
    """A submission of which an image failed, scored under open-small@1; never to be changed."""
    folder = tmp_path_factory.mktemp("scored") / "open" / "theirs"
    records = [submissions.as_reconstruction(a) for a in load_annotations(data)]
    moved = [replace(r.object_pose, translation=r.object_pose.translation + SHIFT) for r in records]
    records = [replace(record, object_pose=pose) for record, pose in zip(records, moved, strict=True)]
    submissions.make_submission(folder, [Failure(records[0].image_id, "x"), *records[1:]], MANIFEST)
    write_scores(folder, evaluate(read_submission(folder), data, load_protocol("open-small@1"), Options()))
    return folder.parents[1]


@pytest.fixture
def copied(tmp_path, scored):
    shutil.copytree(scored, tmp_path / "subs")
    return tmp_path / "subs"


@pytest.fixture
def second(tmp_path, monkeypatch):
    """A second version of open-small that ships: fewer points, so other numbers."""
    folder = tmp_path / "protocols"
    shutil.copytree(protocols.FOLDER, folder)
    text = (folder / "open-small@1.toml").read_text().replace('"open-small@1"', '"open-small@2"')
    text = text.replace("surface_points = 2500", "surface_points = 100").replace("points = 10000", "points = 200")
    (folder / "open-small@2.toml").write_text(text)
    monkeypatch.setattr(protocols, "FOLDER", folder)
    _shipped_hash.cache_clear()
    yield "open-small@2"
    _shipped_hash.cache_clear()


@pytest.fixture
def command(monkeypatch, capfd):
    return lambda *words: run(monkeypatch, capfd, *words)


def only(folder, data, **kwargs):
    (found,) = rescore(folder, data=data.path, **kwargs)
    return found


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What changed


def test_the_same_version_finds_the_same(scored, data):
    before = contents(scored)
    found = only(scored, data)
    assert found.path == "open/theirs" and found.official and found.old == found.protocol
    assert all(change.changed == 0 and change.difference in (None, 0.0) for change in found.metrics.values())
    assert {change.images for name, change in found.metrics.items() if name == "translation"} == {5}
    assert contents(scored) == before


def test_a_sphere_s_rotation_is_in_no_mean(scored, data):
    change = only(scored, data).metrics["rotation"]
    stored = json.loads((scored / "open" / "theirs" / SCORES).read_text())["overall"]["metrics"]["rotation"]
    assert change.images == stored["n"] == 2 and change.old == pytest.approx(stored["mean"], abs=1e-5)


def test_lost_coverage_is_told(scored, data, command):
    told = command("rescore", scored, "--data", data.path, "--protocol", "open@1")
    assert told.code == 0 and "images scored" not in told.err
    found = only(scored, data)
    assert found.coverage == ((5, 6), (5, 6))
    stored = json.loads((scored / "open" / "theirs" / SCORES).read_text())
    stored["overall"]["coverage"] |= {"scored": 5, "images": 5}
    assert _coverage(stored) == (5, 5) and _coverage({"overall": 3}) is None


def test_another_version_is_compared_image_by_image(scored, data, second):
    assert newest("open-small@1") == second and newest("open@1") == "open@1"
    found = only(scored, data)
    stored = pq.read_table(scored / "open" / "theirs" / PER_IMAGE)
    values = {row["image_id"]: row for row in found.new.rows}
    for name in ("chamfer_human", "translation"):
        pairs = [
            (old, values[image][name])
            for image, old in zip(stored["image_id"].to_pylist(), stored[name].to_pylist(), strict=True)
            if not np.isnan(old)
        ]
        change = found.metrics[name]
        assert change.images == len(pairs) == 5
        assert change.changed == sum(old != new for old, new in pairs)
        assert change.difference == pytest.approx(np.mean([new - old for old, new in pairs]), abs=1e-12)
        assert change.new - change.old == pytest.approx(change.difference, abs=1e-9)
    assert found.metrics["chamfer_human"].changed == 5 and found.metrics["translation"].changed == 0


def test_an_image_that_one_side_lacks_has_changed_and_is_in_no_difference(copied, data):
    path = copied / "open" / "theirs" / PER_IMAGE
    table = pq.read_table(path)
    values = table["translation"].to_numpy().copy()
    values[-1], values[-2] = np.nan, 13.0
    place = table.schema.get_field_index("translation")
    pq.write_table(table.set_column(place, "translation", pa.array(values)).drop_columns(["mssd"]), path)
    found = only(copied, data).metrics
    assert (found["translation"].images, found["translation"].changed) == (4, 2)
    assert found["translation"].difference == pytest.approx(-10 / 4, abs=1e-5)
    assert (found["mssd"].old, found["mssd"].images, found["mssd"].changed) == (None, 0, 5)


# What cannot be scored again


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: (s / SCORES).unlink(), "no such file"),
        (lambda s: (s / PER_IMAGE).unlink(), "no such file beside"),
        (lambda s: (s / PER_IMAGE).write_bytes(b"PAR1"), "not a readable Parquet"),
        (lambda s: pq.write_table(pa.table({"x": [1]}), s / PER_IMAGE), "not a table of scores"),
        (
            lambda s: pq.write_table(pa.table({"image_id": ["a"], "mssd": ["b"]}), s / PER_IMAGE),
            "not a table of scores",
        ),
        (lambda s: (s / PREDICTIONS).write_bytes(b"PAR1"), "predictions-unreadable"),
        (lambda s: (s / SCORES).write_text("[]"), "not a score file"),
    ],
)
def test_what_is_damaged_is_said_and_the_rest_goes_on(copied, data, spoil, words):
    shutil.copytree(copied / "open" / "theirs", copied / "open" / "zz")
    spoil(copied / "open" / "theirs")
    first, second = rescore(copied, data=data.path)
    assert first.new is None and words in first.reason and first.exit_code == 2
    assert second.new is not None


def test_nothing_to_score_and_no_such_protocol_are_errors(tmp_path, scored):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="no submission is there or below it"):
            list(rescore(folder))
    with pytest.raises(InputError, match="is unknown"):
        list(rescore(scored, "open@99"))


# Writing


def test_both_files_are_replaced_or_none(copied, data, second, monkeypatch):
    folder = copied / "open" / "theirs"
    before, new = contents(folder), only(copied, data).new
    real = Path.replace

    def fail(self, target):
        if self.parent.name == "new" and self.name == SCORES:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        replace_scores(folder, new)
    assert contents(folder) == before
    monkeypatch.setattr(Path, "replace", real)
    replace_scores(folder, new)
    assert json.loads((folder / SCORES).read_text())["protocol"]["id"] == second
    assert set(contents(folder)) == {*before}


def test_nothing_is_written_unless_asked(command, copied, data, second, tmp_path):
    before = contents(copied)
    done = command("rescore", copied, "--data", data.path)
    assert done.code == 0 and "nothing was written" in done.err and contents(copied) == before
    assert "open-small@1" in done.out and second in done.out and "chamfer_human (cm)" in done.out
    done = command("rescore", copied, "--data", data.path, "-o", tmp_path / "out", "--json")
    (entry,) = json.loads(done.out)
    assert entry["written"] == str(tmp_path / "out" / "open" / "theirs") and contents(copied) == before
    assert {path.name for path in contents(tmp_path / "out")} == {SCORES, PER_IMAGE}
    assert entry["metrics"]["chamfer_human"]["changed"] == 5
    assert command("rescore", copied, "--data", data.path, "--write").code == 0
    assert command("leaderboard", "check", copied, "--data", data.path).code == 0
    again = json.loads(command("rescore", copied, "--data", data.path, "--json").out)
    assert all(change["changed"] == 0 for change in again[0]["metrics"].values())


def test_the_command_refuses_what_it_cannot_mean(command, copied, data, tmp_path):
    assert command("rescore", copied, "--write", "-o", tmp_path / "out").code == 2
    shutil.copytree(copied, tmp_path / "more" / "subs")
    assert "one name" in command("rescore", copied, tmp_path / "more" / "subs", "-o", tmp_path / "out").first
    records = list(read_submission(copied / "open" / "theirs").rows)
    submissions.make_submission(copied / "open" / "theirs", records, replace(MANIFEST, dataset="nowhere"))
    done = command("rescore", copied)
    assert done.code == 3 and "not at hand" in done.err
    (copied / "open" / "theirs" / SCORES).write_text("{")
    assert command("rescore", copied).code == 2


# Tables


def test_rows_of_two_versions_never_share_a_table(copied, data, second):
    shutil.copytree(copied / "open" / "theirs", copied / "open" / "again")
    replace_scores(copied / "open" / "again", only(copied / "open" / "again", data).new)
    board = leaderboard(copied, reported=False)
    assert [len(table.rows) for table in board.tables] == [1, 1] and not board.unofficial
    keys = {table.key.protocol: table.key.hash for table in board.tables}
    assert set(keys) == {"open-small@1", second} and len({*keys.values()}) == 2
    forged = copied / "open" / "forged"
    shutil.copytree(copied / "open" / "again", forged)
    content = json.loads((forged / SCORES).read_text())
    content["protocol"]["id"] = "open-small@1"  # the old name over the new version's numbers
    (forged / SCORES).write_text(json.dumps(content))
    board = leaderboard(copied, reported=False)
    assert [len(table.rows) for table in board.tables] == [1, 1, 1]
    assert len({table.key for table in board.tables}) == 3


def test_an_interrupted_rescoring_goes_on(copied, data, monkeypatch):
    from evaluation import scoring

    done, real = [], scoring.score_shard

    def score_shard(shard, path):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(path.name)
        real(shard, path)

    monkeypatch.setattr(scoring, "SHARD", 1)
    monkeypatch.setattr(scoring, "score_shard", score_shard)
    with pytest.raises(KeyboardInterrupt):
        list(rescore(copied, data=data.path, work=copied))
    monkeypatch.setattr(scoring, "score_shard", lambda shard, path: (done.append(path.name), real(shard, path))[1])
    first = next(iter(rescore(copied, data=data.path, work=copied)))
    assert first.new is not None and len(done) == len({*done}) == len(first.new.rows)


def test_images_that_cannot_be_scored_keep_no_other_submission_from_it(copied, data, monkeypatch, command):
    from evaluation import scoring

    shutil.copytree(copied / "open" / "theirs", copied / "open" / "zz")
    real, failing = scoring.score_shard, []

    def score_shard(shard, path):
        failing.append(path.name)
        if len(failing) == 2:
            raise ValueError("singular")
        real(shard, path)

    monkeypatch.setattr(scoring, "SHARD", 1)
    monkeypatch.setattr(scoring, "score_shard", score_shard)
    told = command("rescore", copied, "--data", data.path, "--write")
    assert told.code == 1 and "open/theirs: not scored again: shard 00000001.json" in told.err
    assert "Traceback" not in told.err and "open/zz" in told.out
    done = len(failing)
    assert command("rescore", copied / "open", "--data", data.path, "--write").code == 0
    assert len(failing) == done + 1 + 6  # the failed image, and all of the other submission
