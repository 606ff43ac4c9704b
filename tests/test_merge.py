"""Several submissions made one."""

import json
from dataclasses import replace

import pytest
from command import run as command_run
from run_methods import Toy, make_runnable, plain_samples, run

import submissions
from wildhoi.errors import InputError
from wildhoi.schema import Failure
from wildhoi.submission.defects import DefectError
from wildhoi.submission.folder import PREDICTIONS, read_submission
from wildhoi.submission.merge import Merged, join_environments, merge_submissions


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_runnable(tmp_path_factory.mktemp("data"), plain_samples({"tennis": 7, "cello": 5}))


def timed(self, samples, setup):
    """Records whose stored bytes do not depend on the clock."""
    from run_methods import record

    return [Failure(s.image_id, "x", 1.0) if s.image_id.endswith("3") else record(s, seconds=2.0) for s in samples]


def make(folder, rows, **changes):
    return submissions.make_submission(folder, rows, replace(submissions.MANIFEST_ROW, **changes))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_shards_merged_are_the_whole_to_the_byte(data, tmp_path, n):
    whole, _ = run(Toy(timed, lr=0.5), data, tmp_path / "whole", batch=2)
    parts = [tmp_path / f"{i}" for i in range(1, n + 1)]
    for i, part in enumerate(parts, 1):
        run(Toy(timed, lr=0.5), data, part, batch=1 + i, shard=(i, n))
    done = merge_submissions(parts[::-1], tmp_path / "merged")
    assert done == Merged(12, whole.failures, ())
    merged, one = read_submission(tmp_path / "merged"), read_submission(tmp_path / "whole")
    assert (tmp_path / "merged" / PREDICTIONS).read_bytes() == (tmp_path / "whole" / PREDICTIONS).read_bytes()
    batches = [1 + i for i in range(n, 0, -1)]
    assert merged.manifest.settings == {**one.manifest.settings, "batch": batches if n > 1 else 2}
    assert replace(merged.manifest, settings={}) == replace(one.manifest, settings={})


def test_a_merger_of_one_per_object_and_of_a_merger(data, tmp_path):
    for name in ("tennis", "cello"):
        run(Toy(timed), data, tmp_path / name, objects=(name,))
    run(Toy(timed), data, tmp_path / "whole")
    merge_submissions([tmp_path / "tennis", tmp_path / "cello"], tmp_path / "merged")
    assert (tmp_path / "merged" / PREDICTIONS).read_bytes() == (tmp_path / "whole" / PREDICTIONS).read_bytes()
    assert (tmp_path / "merged/submission.yaml").read_bytes() == (tmp_path / "whole/submission.yaml").read_bytes()


def test_rows_are_kept_as_they_were_written_whoever_wrote_them(tmp_path):
    rows = submissions.varied_rows()
    make(tmp_path / "a", rows[:2])
    make(tmp_path / "b", rows[2:])
    submissions.spoil(tmp_path / "c", submissions.frame(submissions.rows(3)))  # lists of float64, few columns
    merge_submissions([tmp_path / name for name in "cab"], tmp_path / "merged")
    found = {row.image_id: row for row in read_submission(tmp_path / "merged").rows}
    wanted = [row for name in "abc" for row in read_submission(tmp_path / name).rows]
    assert len(found) == len(wanted) == 8
    for row in wanted:
        other = found[row.image_id]
        assert type(other) is type(row) and other.seconds == row.seconds
        if isinstance(row, Failure):
            assert other.reason == row.reason
        else:
            assert submissions.same(other.human, row.human, equal=lambda a, b: abs(a - b).max() < 1e-6)
            assert other.object_pose.angle == row.object_pose.angle and (other.camera is None) == (row.camera is None)


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("method", "x", "y"),
        ("dataset", "open", "wildhoi"),
        ("split", "train", "test"),
        ("revision", "any", "abc"),
        ("body_model", "open", "smplx"),
        ("inputs", ("human",), ()),
        ("supervision", "3D", "none"),
        ("code", "here", "there"),
        ("settings", {"lr": 1.0}, {"lr": 2.0}),
        ("settings", {"lr": 1.0}, {}),
        ("settings", {"seed": 0}, {"seed": 1}),
    ],
)
def test_a_field_that_differs_is_named_with_both_values(tmp_path, field, one, other):
    make(tmp_path / "a", submissions.rows(1), **{field: one})
    make(tmp_path / "b", [submissions.reconstruction("other")], **{field: other})
    with pytest.raises(InputError) as raised:
        merge_submissions([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
    name = f"settings.{next(iter(one))}" if field == "settings" else field
    values = (1.0, 2.0 if other else None) if one == {"lr": 1.0} else (0, 1) if field == "settings" else (one, other)
    assert str(raised.value).startswith(f"{name}: ")
    assert all(repr(value) in str(raised.value) for value in values)
    assert not (tmp_path / "merged").exists()


def test_an_image_of_two_parts_is_refused(tmp_path):
    make(tmp_path / "a", submissions.rows(2))
    make(tmp_path / "b", submissions.rows(1))
    for parts in (["a", "b"], ["a", "a"]):
        with pytest.raises(InputError, match=r"image '0000_001_000000' is in .*a and in "):
            merge_submissions([tmp_path / part for part in parts], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_what_is_no_submission_and_what_is_there_already(tmp_path):
    make(tmp_path / "a", submissions.rows(2))
    with pytest.raises(DefectError, match="nowhere"):
        merge_submissions([tmp_path / "a", tmp_path / "nowhere"], tmp_path / "merged")
    with pytest.raises(InputError, match="not empty"):
        merge_submissions([tmp_path / "a"], tmp_path / "a")
    with pytest.raises(InputError, match="nothing to merge"):
        merge_submissions([], tmp_path / "merged")


def test_shards_that_are_not_there_are_said(tmp_path):
    for name, shard in (("a", "1/3"), ("b", "3/3")):
        make(tmp_path / name, [submissions.reconstruction(name)], settings={"shard": shard, "batch": 8})
    done = merge_submissions([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
    assert done.absent == ("2/3",)
    assert read_submission(tmp_path / "merged").manifest.settings == {"batch": 8}


def test_environments_are_joined():
    cpu, gpu = {"torch": "2.6", "processor": "CPU"}, {"torch": "2.6", "processor": "GPU", "driver": "1"}
    assert join_environments([cpu, cpu]) == cpu
    joined = join_environments([cpu, gpu])
    assert joined == {"torch": "2.6", "processor": ["CPU", "GPU"], "driver": "1"}
    assert join_environments([joined, gpu, cpu]) == joined and join_environments([]) == {}


def test_the_command(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, shard in (("a", "1/3"), ("b", "3/3")):
        make(tmp_path / name, [Failure(name, "x")], settings={"shard": shard})
    outcome = command_run(monkeypatch, capfd, "submission", "merge", "a", "b", "-o", "merged")
    assert outcome.code == 0 and "0 reconstructions, 2 failures, from 2 parts" in outcome.err
    assert "shard 2/3" in outcome.err
    outcome = command_run(monkeypatch, capfd, "submission", "merge", "a", "b", "-o", "again", "--json")
    assert json.loads(outcome.out) == {"written": "again", "rows": 2, "failures": 2, "absent": ["2/3"]}
    outcome = command_run(monkeypatch, capfd, "submission", "merge", "a", "a", "-o", "twice")
    assert outcome.code == 2 and outcome.first.startswith("error: image 'a'")
