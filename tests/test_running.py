"""Running a method: what it is given, what is kept, and that an interruption changes nothing."""

import json
import os
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np
import pytest
from run_methods import Objects, Toy, kill_once, make_runnable, plain_samples, record, run, without_seconds

from wildhoi.dataset import SampleFinder
from wildhoi.devices import describe_device, find_device
from wildhoi.engine import Local, only_run_in
from wildhoi.engine.working import is_out_of_memory
from wildhoi.errors import InputError, MissingAssetError, RunError
from wildhoi.method import Moment
from wildhoi.running import RunOptions, Watch
from wildhoi.running.plan import plan_batches
from wildhoi.running.record import plain
from wildhoi.schema import Failure
from wildhoi.submission.folder import check_submission

COUNTS = {"tennis": 7, "cello": 4}
GENDERS = ("male", "female", "female")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_runnable(tmp_path_factory.mktemp("data"), plain_samples(COUNTS, GENDERS), files=2)


@pytest.fixture()
def out(tmp_path):
    return tmp_path / "run"


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """The folder of a run with a setting; not to be changed."""
    out = tmp_path_factory.mktemp("finished")
    run(Toy(lr=1.0), data, out, batch=2)
    return out


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The rows of a run that nothing interrupts."""
    _, submission = run(Toy(), data, tmp_path_factory.mktemp("whole"), batch=2)
    return without_seconds(submission.rows)


def ids(data, **options):
    return [image_id for batch in plan_batches(data, RunOptions(**options)).values() for image_id in batch.ids]


def lines(out, event="batch"):
    found = [json.loads(line) for line in (out / "run.jsonl").read_text().splitlines()]
    return [line for line in found if line["event"] == event]


# What a method is given


@pytest.mark.parametrize("batch", [1, 2, 3, 64])
def test_batches_are_of_one_object_and_gender_sorted_and_hold_every_image_once(data, out, batch):
    method = Toy()
    genders = {sample.image_id: sample.gender for sample in plain_samples(COUNTS, GENDERS)}
    ran, submission = run(method, data, out, batch=batch)
    assert sorted(i for call in method.calls for i in call) == sorted(genders)
    for call in method.calls:
        assert call == sorted(call) and len(call) <= batch
        assert len({(i.partition("-")[0], genders[i]) for i in call}) == 1
    groups = {(i.partition("-")[0], gender): 0 for i, gender in genders.items()}
    for i, gender in genders.items():
        groups[i.partition("-")[0], gender] += 1
    assert len(method.calls) == sum(ceil(n / batch) for n in groups.values())
    assert [row.image_id for row in submission.rows] == sorted(genders)
    assert (ran.reconstructions, ran.failures) == (11, 0)


def test_samples_are_those_of_the_files(data, out):
    seen = {}
    run(Toy(lambda _, samples, setup: seen.update({s.image_id: s for s in samples})), data, out, batch=2)
    for wanted in plain_samples(COUNTS, GENDERS):
        found = seen[wanted.image_id]
        assert (found.object, found.gender, found.video_id) == (wanted.object, wanted.gender, wanted.video_id)
        np.testing.assert_array_equal(found.human.betas, wanted.human.betas.astype(np.float32))


def test_the_setup_says_what_was_asked_for(data, out):
    setups = []
    run(Toy(lambda _, samples, setup: setups.append(setup)), data, out, seed=7, objects=("cello",))
    assert {(s.body_model, s.objects, s.device, s.seed, s.renderer) for s in setups} == {
        ("open", data.objects, "cpu", 7, "torch")
    }
    assert {s.checkpoint.parent for s in setups} == {out / "state" / "checkpoints"}
    assert len({s.checkpoint for s in setups}) == len(setups)
    assert setups[0].template("cello").category.name == "cello"


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 2), (1, 1)])
def test_samples_are_found_in_any_order(data, order):
    batches = list(plan_batches(data, RunOptions(batch=2)).values())
    finder = SampleFinder(data, "test")
    for number in order:
        assert [s.image_id for s in finder.read(batches[number].ids)] == list(batches[number].ids)


def test_an_image_that_has_gone_is_said(tmp_path):
    data = make_runnable(tmp_path / "a", plain_samples({"tennis": 4}))
    batches = plan_batches(data, RunOptions())
    less = make_runnable(tmp_path / "b", plain_samples({"tennis": 3}))
    with pytest.raises(InputError, match=r"tennis-003.* not among the samples"):
        SampleFinder(less, "test").read(next(iter(batches.values())).ids)


# Which images


def test_limit_takes_the_first_of_every_object_by_id(data):
    assert sorted(ids(data, limit=2)) == ["cello-000", "cello-001", "tennis-000", "tennis-001"]


@pytest.mark.parametrize(("n", "limit"), [(1, None), (2, None), (3, 5)])
def test_shards_are_even_within_each_object_and_together_the_whole(data, n, limit):
    shards = [ids(data, shard=(i, n), limit=limit) for i in range(1, n + 1)]
    assert sorted(image_id for shard in shards for image_id in shard) == sorted(ids(data, limit=limit))
    for name, count in COUNTS.items():
        sizes = [sum(image.startswith(name) for image in shard) for shard in shards]
        assert max(sizes) - min(sizes) <= 1 and sum(sizes) == min(count, limit or count)


@pytest.mark.parametrize(
    "options",
    [
        {"shard": (0, 3)}, {"shard": (4, 3)}, {"shard": (1, 0)}, {"limit": 0}, {"batch": 0}, {"seed": -1},
        {"split": "val"}, {"renderer": "crayons"},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        RunOptions(**options)


def test_a_renderer_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr("wildhoi.running.options.find_spec", lambda name: None)
    with pytest.raises(MissingAssetError, match="pytorch3d"):
        RunOptions(renderer="pytorch3d")


@pytest.mark.parametrize(
    ("options", "said"),
    [({"objects": ("spoon",)}, "spoon"), ({"split": "train"}, "train"), ({"shard": (8, 9)}, "no image is left")],
)
def test_a_run_of_nothing_is_refused_and_leaves_nothing(data, out, options, said):
    with pytest.raises(InputError, match=said):
        run(Toy(), data, out, **options)
    assert not out.exists()


def test_an_image_that_is_there_twice_is_refused(tmp_path):
    samples = plain_samples({"tennis": 2})
    twice = make_runnable(tmp_path / "twice", [*samples, samples[0]], files=2)
    with pytest.raises(InputError, match="twice"):
        plan_batches(twice, RunOptions())
    two = make_runnable(tmp_path / "two", [samples[0], replace(samples[0], object="cello")])
    with pytest.raises(InputError, match="cello and of tennis"):
        plan_batches(two, RunOptions())
    bad = make_runnable(tmp_path / "bad", [replace(samples[0], image_id="a b")])
    with pytest.raises(InputError, match="no image id"):
        plan_batches(bad, RunOptions())


# What it gives back


def test_the_manifest_says_how(data, out):
    _, submission = run(
        Toy(lr=0.5, steps=(10, 20), part={"x": None}), data, out, batch=3, seed=5, limit=2, shard=(1, 2)
    )
    manifest = submission.manifest
    assert (manifest.method, manifest.dataset, manifest.split) == ("toy", "runnable", "test")
    assert manifest.revision == data.revision_of("test") and manifest.body_model == "open"
    assert (manifest.inputs, manifest.supervision, manifest.authors, manifest.code) == (
        ("human",),
        "2D",
        "nobody",
        "here",
    )
    assert manifest.settings == {
        "lr": 0.5, "steps": [10, 20], "part": {"x": None},
        "seed": 5, "renderer": "torch", "batch": 3, "limit": 2, "shard": "1/2",
    }  # fmt: skip
    assert {"python", "torch", "numpy", "wildhoi", "machine", "processor", "threads"} == set(manifest.environment)
    text = (out / "submission.yaml").read_text()
    assert str(data.path) not in text and os.uname().nodename not in text


def test_the_diary_has_a_line_for_every_batch(data, out):
    def behave(self, samples, setup):
        setup.watch(Moment(1, 2, {"a": 2.0, "b": float("nan")}, list))
        setup.watch(Moment(2, 2, {"a": 1.5, "b": float("nan")}, list))
        return [Failure(s.image_id, "x") if s.image_id.endswith("0") else record(s) for s in samples]

    seen, images = [], []
    watch = Watch(images=lambda *a: images.append(a), moment=lambda key, told: seen.append((key, told.done)))
    ran, _ = run(Toy(behave), data, out, watch, batch=4)
    found = lines(out)
    assert [line["key"] for line in found] == list(plan_batches(data, RunOptions(batch=4)))
    assert all(line["losses"] == {"a": 1.5, "b": None} and line["device"] == "cpu" for line in found)
    assert sum(line["images"] for line in found) == 11 and sum(line["failures"] for line in found) == 2
    assert (ran.reconstructions, dict(ran.reasons)) == (9, {"x": 2})
    assert seen == [(line["key"], done) for line in found for done in (1, 2)]
    assert images[0] == (0, 11) and images[-1] == (11, 11) and images == sorted(images)
    (start,) = lines(out, "start")
    assert start["images"] == 11 and start["batches"] == len(found)


def test_seconds_are_the_methods_own_or_those_of_the_batch(data, out):
    own = {"tennis-000": 12.5}
    behave = lambda _, samples, setup: [record(s, seconds=own.get(s.image_id)) for s in samples]  # noqa: E731
    _, submission = run(Toy(behave), data, out)
    seconds = {row.image_id: row.seconds for row in submission.rows}
    assert seconds["tennis-000"] == 12.5
    assert all(0 <= value < 10 for image_id, value in seconds.items() if image_id not in own)


WRONG = {
    "none": lambda samples: (),
    "nothing": lambda samples: iter(()),
    "one too few": lambda samples: [record(s) for s in samples[:-1]],
    "another order": lambda samples: [record(s) for s in samples[::-1]],
    "a wrong type": lambda samples: [None for s in samples],
    "no body": lambda samples: [replace(record(s), human=None) for s in samples],
    "a text for a time": lambda samples: [Failure(s.image_id, "x", "fast") for s in samples],
    "no reason": lambda samples: [Failure(s.image_id, None) for s in samples],
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_not_one_record_for_each_image_in_order_is_refused(data, out, wrong):
    with pytest.raises(RunError, match=r"method toy, batch tennis-female-000 \(.* 'tennis-001'.*gave back"):
        behave = lambda _, samples, setup: WRONG[wrong](samples) if len(samples) > 1 else None  # noqa: E731
        run(Toy(behave), data, out, objects=("tennis",), limit=3)
    assert not (out / "submission.yaml").exists()


SPOILT = {
    "not-finite": lambda r: replace(r, object_pose=replace(r.object_pose, translation=np.full(3, np.nan))),
    "too-large": lambda r: replace(r, human=replace(r.human, betas=np.full(10, 1e9))),
    "object-scale": lambda r: replace(r, object_pose=replace(r.object_pose, scale=-1.0)),
    "not-a-rotation": lambda r: replace(r, object_pose=replace(r.object_pose, rotation=np.ones((3, 3)))),
    "reflection": lambda r: replace(r, object_pose=replace(r.object_pose, rotation=-np.eye(3))),
    "seconds": lambda r: replace(r, seconds=-1.0),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_reconstruction_that_is_no_numbers_is_a_failure_with_its_reason(data, out, spoilt):
    bad = {"tennis-002", "cello-001"}
    behave = lambda _, samples, setup: [  # noqa: E731
        SPOILT[spoilt](record(s)) if s.image_id in bad else record(s) for s in samples
    ]
    ran, submission = run(Toy(behave), data, out, batch=3)
    failed = {row.image_id: row.reason for row in submission.rows if isinstance(row, Failure)}
    assert failed.keys() == bad and all(f"invalid reconstruction: {spoilt}" in reason for reason in failed.values())
    assert ran.failures == 2 and check_submission(out)[1] == []


# Interruptions


def boom(after, error):
    """A behaviour that raises from a certain call on."""

    def behave(self, samples, setup):
        if len(self.calls) > after:
            raise error

    return behave


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (ValueError("singular\nmatrix"), 0),
        (KeyboardInterrupt(), 1),
        (KeyboardInterrupt(), 5),
        (MissingAssetError("x"), 3),
    ],
)
def test_a_run_that_stopped_goes_on_and_ends_in_the_same(data, out, whole, after, error):
    kind = RunError if isinstance(error, ValueError) else type(error)
    with pytest.raises(kind) as raised:
        run(Toy(boom(after, error)), data, out, batch=2)
    if kind is RunError:
        assert all(word in str(raised.value) for word in ("method toy, batch", "singular matrix", "--resume"))
    method = Toy()
    _, submission = run(method, data, out, batch=2, resume=True)
    assert len(method.calls) == len(plan_batches(data, RunOptions(batch=2))) - after
    assert without_seconds(submission.rows) == whole
    assert len(lines(out)) == len(plan_batches(data, RunOptions(batch=2))) and len(lines(out, "start")) == 2


def test_a_finished_run_is_not_done_again(data, out):
    run(Toy(), data, out, batch=2)
    before = {name: (out / name).read_bytes() for name in ("submission.yaml", "predictions.parquet", "run.json")}
    method = Toy()
    run(method, data, out, batch=2, resume=True)
    assert method.calls == [] and before == {name: (out / name).read_bytes() for name in before}


def test_a_checkpoint_lives_until_its_batch_is_finished(data, out, whole):
    """A method of ten steps a batch that saves each, and is stopped in the midst of the third batch."""
    steps = []

    def behave(self, samples, setup):
        done = int(setup.checkpoint.read_text()) if setup.checkpoint.exists() else 0
        for step in range(done, 10):
            if stop and len(self.calls) == 3 and step == 4:
                raise KeyboardInterrupt
            steps.append((samples[0].image_id, step))
            setup.checkpoint.write_text(str(step + 1))

    stop = True
    with pytest.raises(KeyboardInterrupt):
        run(Toy(behave), data, out, batch=2)
    kept = list((out / "state" / "checkpoints").iterdir())
    assert len(kept) == 1 and kept[0].read_text() == "4"
    (out / "state" / "checkpoints" / f".{kept[0].name}.abc").mkdir()  # half a file of one that was killed
    stop = False
    _, submission = run(Toy(behave), data, out, batch=2, resume=True)
    assert len(steps) == len(set(steps)) == 10 * len(plan_batches(data, RunOptions(batch=2)))
    assert list((out / "state" / "checkpoints").iterdir()) == []
    assert without_seconds(submission.rows) == whole


def test_several_processes_end_in_the_same_even_if_one_dies(data, out, whole):
    watched = []
    watch = Watch(images=lambda done, total: watched.append((done, total)))
    ran, made = run(Toy(kill_once), data, out, watch, engine=Local(2), batch=2)
    assert (out.parent / "killed").exists() and ran.failures == 0
    assert without_seconds(made.rows) == whole
    assert watched[0][0] == 0 and watched[-1][0] == watched[-1][1] == len(made.rows)
    assert sum(line["images"] for line in lines(out)) == len(made.rows)
    assert made.manifest.environment["threads"] == 1
    assert not any((out / "state" / "checkpoints").iterdir())


def test_a_line_that_a_full_disk_has_cut_does_not_take_the_next_with_it(data, out):
    run(Toy(), data, out, batch=2)
    manifest = (out / "submission.yaml").read_bytes()
    with (out / "run.jsonl").open("a") as stream:
        stream.write('{"event": "batch", "key"')
    run(Toy(), data, out, batch=2, resume=True)
    *_, cut, start = (out / "run.jsonl").read_text().splitlines()
    assert not cut.endswith("}") and json.loads(start)["event"] == "start"
    assert (out / "submission.yaml").read_bytes() == manifest


@pytest.mark.parametrize("workers", [1, 2])
def test_an_image_of_the_same_name_of_another_object_is_not_taken_for_it(tmp_path, workers):
    samples = [replace(sample, image_id="same") for sample in plain_samples({"cello": 1, "tennis": 1})]
    data = make_runnable(tmp_path / "data", samples)
    _, made = run(Objects(), data, tmp_path / "run", engine=Local(workers), objects=("cello",))
    assert [row.reason for row in made.rows] == ["cello"]


def test_a_method_that_cannot_travel_is_said(data, out):
    with pytest.raises(InputError, match=r"cannot be sent to another process.*--workers 1"):
        run(Toy(lambda *_: None), data, out, engine=Local(2))


def test_two_runs_do_not_share_a_folder(data, out):
    out.mkdir()
    with only_run_in(out), pytest.raises(RunError, match="another run is writing"):
        run(Toy(), data, out)


def test_a_folder_that_is_not_empty_is_left_alone(data, out):
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    for resume in (False, True):
        with pytest.raises(InputError, match="another folder"):
            run(Toy(), data, out, resume=resume)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    (out / "thesis.txt").unlink()
    run(Toy(), data, out, resume=True)  # an empty folder is a start
    with pytest.raises(InputError, match="--resume"):
        run(Toy(), data, out)


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        (Toy(lr=2.0), {}, "settings.lr is 1.0 there and 2.0 now"),
        (Toy(), {}, "settings.lr is 1.0 there and None now"),
        (Toy(name="other", lr=1.0), {}, "method is toy there and other now"),
        (Toy(lr=1.0), {"batch": 3}, "batch is 2 there and 3 now"),
        (Toy(lr=1.0), {"seed": 3}, "seed is 0 there and 3 now"),
        (Toy(lr=1.0), {"limit": 3}, "limit is None there and 3 now"),
        (Toy(lr=1.0), {"shard": (1, 2)}, "shard is 1/1 there and 1/2 now"),
        (Toy(lr=1.0), {"objects": ("cello",)}, "objects is .* there and .*cello.* now"),
    ],
)
def test_another_run_is_not_resumed(data, finished, method, options, said):
    out = finished
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=f"holds another run: .*{said}"):
        run(method, data, out, **{"batch": 2, "resume": True, **options})
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_other_samples_are_another_run_but_another_place_is_not(tmp_path, out):
    data = make_runnable(tmp_path / "a", plain_samples({"tennis": 2}))
    run(Toy(), data, out)
    moved = make_runnable(tmp_path / "b", plain_samples({"tennis": 2}))
    run(Toy(), moved, out, resume=True)
    samples = [replace(sample, video_id="changed") for sample in plain_samples({"tennis": 2})]
    changed = make_runnable(tmp_path / "c", samples)
    with pytest.raises(InputError, match="samples is"):
        run(Toy(), changed, out, resume=True)


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_damaged_record_of_the_run_is_said(data, out, content):
    run(Toy(), data, out)
    (out / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json"):
        run(Toy(), data, out, resume=True)


def test_a_torn_diary_is_no_obstacle(data, out, whole):
    run(Toy(), data, out, batch=2)
    text = (out / "run.jsonl").read_text()
    (out / "run.jsonl").write_text(text + '{"event": "ba\n\x00\n[]\n')
    _, submission = run(Toy(), data, out, batch=2, resume=True)
    assert without_seconds(submission.rows) == whole and submission.manifest.environment["python"]


def test_a_setting_that_cannot_be_written_down_is_refused(data, out):
    for value in (float("nan"), object(), Path("x")):
        with pytest.raises(InputError, match=r"settings\.lr"):
            run(Toy(lr=value), data, out)
    with pytest.raises(InputError, match="'seed'"):
        run(Toy(seed=1), data, out)
    assert plain({"a": (np.float32(0.5), np.int64(2), True)}, "x") == {"a": [0.5, 2, True]}


# Memory


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


NO_MEMORY = (
    MemoryError(),
    OutOfMemoryError("CUDA"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried 4 bytes"),
    RuntimeError("CUDA error: out of memory"),
)


def test_a_real_allocation_that_fails_is_seen_as_such():
    import torch

    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**55, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)
    with pytest.raises(MemoryError) as other:
        np.empty(2**55, np.uint8)
    assert is_out_of_memory(other.value)
    assert not is_out_of_memory(RuntimeError("shapes do not fit")) and not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(("error", "fits"), [*zip(NO_MEMORY, (1, 2, 3, 1), strict=True)])
def test_a_batch_too_large_is_cut_in_halves_and_stays_small(tmp_path, whole, data, error, fits):
    def behave(self, samples, setup):
        if len(samples) > fits:
            raise error

    said, method = [], Toy(behave)
    _, submission = run(method, data, tmp_path / "run", Watch(say=said.append), batch=8)
    assert without_seconds(submission.rows) == whole
    bound, refused = 8, 0
    for size in map(len, method.calls):
        assert size <= bound
        if size > fits:
            bound, refused = ceil(size / 2), refused + 1
    assert len(said) == refused >= 1 and all("too many for the memory" in text for text in said)


def test_an_image_too_large_by_itself_is_a_failure(data, out):
    def behave(self, samples, setup):
        if any(sample.image_id == "tennis-004" for sample in samples):
            raise MemoryError

    ran, submission = run(Toy(behave), data, out)
    (failed,) = (row for row in submission.rows if isinstance(row, Failure))
    assert (failed.image_id, failed.reason, ran.failures) == ("tennis-004", "out of memory", 1)


def test_a_part_of_a_batch_has_a_checkpoint_of_its_own(data, out):
    seen = []

    def behave(self, samples, setup):
        assert not setup.checkpoint.exists()
        setup.checkpoint.write_text("state")
        seen.append(setup.checkpoint.name)
        if len(samples) > 2:
            raise MemoryError

    run(Toy(behave), data, out, objects=("tennis",))
    assert len(set(seen)) == len(seen) and list((out / "state" / "checkpoints").iterdir()) == []


# Devices


def test_devices(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert find_device("auto") == find_device("cpu") == "cpu"
    for name in ("cuda", "cuda:0", "gpu", "cuda:x", "", "CPU", "cuda:-1", "cpu:0"):
        with pytest.raises(InputError, match=f"--device {name}"):
            find_device(name)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [find_device(name) for name in ("auto", "cpu", "cuda", "cuda:1")] == ["cuda:0", "cpu", "cuda:0", "cuda:1"]
    with pytest.raises(InputError, match="sees 2 GPUs"):
        find_device("cuda:2")
    assert describe_device("cpu")
