"""How a training goes on after it was broken off anywhere, and how it ends."""

import errno
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import OPTIONS
from training_sets import (
    ENCODER,
    FLOW,
    NONE,
    THING,
    TWO,
    Crash,
    Stop,
    crash_at,
    gaussian_examples,
    interrupted_after,
    lines_of,
    refused,
    same_weights,
    stop_after,
    stored,
    tiny_options,
    tiny_trainer,
    trained,
    without_times,
    write_made,
    write_means,
)

from baselines.prior_files import CONFIG, WEIGHTS, read_prior
from baselines.training import diary as diary_module
from baselines.training.examples import Pool
from baselines.training.loop import Trainer
from submissions import unchecked
from wildhoi.errors import InputError, RunError, WildhoiError
from wildhoi.templates import find_template, load_template

TESTS = Path(__file__).parents[1]


# How it goes on


RESUMED = {
    "plain": {"augment": False},
    "varied": {},
    "dropped": {"encoder": replace(ENCODER, dropout=0.4), "flow": replace(FLOW, dropout=0.3)},
    "normalised": {"flow": replace(FLOW, batch_norm=True), "lr": 1e-4},
    "halved": {"half": True, "clip": 0.0},
    "blind": {"encoder": NONE},
    "bf16": {"precision": "bf16"},
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_training_ends_in_the_same_weights(name, tmp_path, monkeypatch):
    from accelerate import Accelerator

    options = tiny_options(epochs=4, batch=25, **RESUMED[name])
    examples = replace(gaussian_examples(60), pool=mirrored_pool(gaussian_examples(60).pool))

    def trainer(folder, **more):
        accelerator = Accelerator(cpu=True, mixed_precision="bf16" if options.precision == "bf16" else "no")
        found = tiny_trainer(folder, examples, options, accelerator=accelerator, **more)
        torch.manual_seed(int.from_bytes(os.urandom(3), "big"))
        return found

    whole = trainer(tmp_path / "whole")
    assert whole.run().epoch == 4
    for kept, often in (("seldom", 1e9), ("often", 0.0)):
        monkeypatch.setattr(diary_module, "KEEP_EVERY", often)
        folder = tmp_path / kept
        for epochs in (1, 3):
            with pytest.raises(Stop):
                trainer(folder, watch=stop_after(epochs)).run()
        told = []
        resumed = trainer(folder, watch=lambda done, *_, told=told: told.append(done))
        assert resumed.run() == whole.standing
        assert told == ([4] if kept == "often" else [3, 4])  # the first epoch of a run is kept
        assert same_weights(resumed.prior, whole.prior)
        assert (folder / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
        assert json.loads((folder / CONFIG).read_text()) == json.loads((tmp_path / "whole" / CONFIG).read_text())
        assert without_times(lines_of(folder)) == without_times(lines_of(tmp_path / "whole"))


def mirrored_pool(pool):
    return Pool(pool.coordinates, -pool.coordinates)


def test_a_training_that_breaks_within_an_epoch_ends_in_the_same_weights(tmp_path, always_kept):
    options = tiny_options(epochs=3, batch=10)
    whole = tiny_trainer(tmp_path / "whole", options=options)
    whole.run()
    broken = tiny_trainer(tmp_path / "broken", options=options)
    step = broken._step

    def failing(images, number, generator):
        if number == broken.steps + 3:
            raise Stop
        return step(images, number, generator)

    broken._step = failing
    with pytest.raises(Stop):
        broken.run()
    again = tiny_trainer(tmp_path / "broken", options=options)
    again.run()
    assert same_weights(again.prior, whole.prior)
    assert without_times(lines_of(tmp_path / "broken")) == without_times(lines_of(tmp_path / "whole"))


@pytest.fixture(scope="module")
def interrupted(made, tmp_path_factory):
    """The folder of a training that was interrupted after an epoch."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    out = tmp_path_factory.mktemp("interrupted")
    with interrupted_after(1), pytest.raises(Stop):
        trained(made, out)
    return out


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A small data folder, mean maps, and what a training on it ends in that is left alone."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    folder = tmp_path_factory.mktemp("few")
    data, means = write_made(folder / "data", (THING,), 12), str(write_means(folder / "means.npz"))
    with unchecked():
        trained((data, means), folder / "whole", THING, **OPTIONS)
    return data, means, result(folder / "whole")


def result(out):
    """Whatever must not depend on interruptions: lines, weights, configuration, files that are not hidden."""
    names = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    return without_times(lines_of(out)), (out / WEIGHTS).read_bytes(), json.loads((out / CONFIG).read_text()), names


def crashed(few, out, number):
    """Whether a training ended at so many changes of files."""
    try:
        with unchecked(), crash_at(number, out):
            trained(few[:2], out, THING, **OPTIONS)
    except Crash:
        return True
    return False


POINTS, STRIDE = 200, 7


@dataclass(frozen=True)
class Ended:
    """A training that was broken off: the prior it left could be read, what going on said, and its result."""

    readable: bool
    error: str
    result: tuple


@pytest.fixture(scope="module")
def broken(few, tmp_path_factory):
    """Trainings broken off at many changes of files, by number, and gone on with."""
    place, found = tmp_path_factory.mktemp("broken"), {}
    of = load_template(find_template(few[0].objects, THING, shipped=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diary_module, "KEEP_EVERY", 0.0)
        for number in range(2, POINTS, STRIDE):
            out = place / str(number)
            if not crashed(few, out, number):
                break
            readable = not (out / CONFIG).is_file() or not failure(read_prior, out, of)
            error = failure(trained, few[:2], out, THING, resume=True, **OPTIONS)
            found[number] = Ended(readable, error, result(out))
    assert 5 < len(found) < POINTS // STRIDE - 1
    return found


def failure(function, *words, **named):
    """What it raises, in words."""
    with unchecked():
        try:
            function(*words, **named)
        except (WildhoiError, OSError) as error:
            return f"{type(error).__name__}: {error}"
    return ""


def test_a_training_broken_off_anywhere_goes_on_to_the_same_weights(broken, few):
    assert not [number for number, ended in broken.items() if ended.result[1:3] != few[2][1:3]]


def test_a_training_broken_off_anywhere_goes_on_without_an_error(broken):
    assert not {number: ended.error for number, ended in broken.items() if ended.error}


def test_a_training_broken_off_anywhere_has_a_line_an_epoch(broken, few):
    assert not [number for number, ended in broken.items() if ended.result[0] != few[2][0]]


def test_the_prior_is_readable_wherever_a_training_is_broken_off(broken):
    assert not [number for number, ended in broken.items() if not ended.readable]


def test_a_training_broken_off_anywhere_leaves_the_same_files(broken, few):
    assert not [number for number, ended in broken.items() if ended.result[3] != few[2][3]]


def test_a_full_disk_leaves_the_last_good_prior(tmp_path, monkeypatch):
    with pytest.raises(Stop):
        tiny_trainer(tmp_path, watch=stop_after(1)).run()
    kept = stored(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space"):
        tiny_trainer(tmp_path).run()
    monkeypatch.undo()
    assert same_weights(stored(tmp_path), kept)


CHANGES = {
    "lr": 2e-3, "epochs": 5, "seed": 1, "noise": 0.03, "k": 4, "half": False, "context": 5, "held_out": 0.3,
    "condition": "none", "grouping": "none",
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_training_is_not_resumed_with_other_options(made, interrupted, name):
    def contents():
        files = {path.name: path.read_bytes() for path in interrupted.rglob("*") if path.is_file()}
        return {name: content for name, content in files.items() if name != "groups.npz"}

    before = contents()
    with pytest.raises(InputError) as error:
        trained(made, interrupted, resume=True, **{name: CHANGES[name]})
    refused(error, str(interrupted), "other options")
    assert contents() == before


def test_a_training_is_not_resumed_on_other_data(made, interrupted, tmp_path):
    darker = write_made(tmp_path / "data", TWO[:1], 24, change=lambda n: {"image": np.zeros((48, 64, 3), np.uint8)})
    with pytest.raises(InputError) as error:
        trained((darker, made[1]), interrupted, resume=True)
    refused(error, "data")


@pytest.mark.parametrize("spoil", ["cut", "flipped", "gone", "state"])
def test_a_damaged_state_is_refused(tmp_path, spoil):
    with pytest.raises(Stop):
        tiny_trainer(tmp_path, watch=stop_after(1)).run()
    (weights,) = (tmp_path / "state").glob("*.safetensors")
    content = weights.read_bytes()
    if spoil == "gone":
        weights.unlink()
    elif spoil == "state":
        (tmp_path / "state" / "state.json").write_text('{"epoch": 1}')
    else:
        weights.write_bytes(content[:-9] if spoil == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WildhoiError) as error:
        tiny_trainer(tmp_path).run()
    refused(error, str(tmp_path))


def test_nothing_but_a_resume_touches_a_folder_that_holds_something(made, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError) as error:
        trained(made, tmp_path)
    refused(error, str(tmp_path), "not empty", "--resume")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_finished_training_is_kept(finished, made):
    out, told = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(InputError) as error:
        trained(made, out, pictures_every=1, held_out=0.2)
    refused(error, str(out), "finished")
    assert trained(made, out, pictures_every=1, held_out=0.2, resume=True) == told
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize("changes", [{"epochs": 9}, {"noise": 0.3}, {"grouping": "none"}], ids=str)
def test_a_finished_training_of_other_options_is_refused(finished, made, changes):
    with pytest.raises(InputError):
        trained(made, finished[0], resume=True, **{"pictures_every": 1, "held_out": 0.2, **changes})


def test_a_finished_training_of_another_object_is_refused(finished, made):
    with pytest.raises(InputError):
        trained(made, finished[0], TWO[1], resume=True, pictures_every=1, held_out=0.2)


# How it ends


def held_out_as(monkeypatch, values):
    left = iter(values)
    monkeypatch.setattr(Trainer, "_held_out", lambda trainer: next(left))


def test_it_stops_when_it_gets_no_better_and_keeps_the_best(tmp_path, monkeypatch, always_kept):
    held_out_as(monkeypatch, [0.0, 1.0, 0.5, 0.9, 1.0, 2.0, 3.0])
    options = tiny_options(epochs=9, patience=3)
    seen = {}

    def watch(done, total, numbers):
        assert total == 9
        seen[done] = {name: value.clone() for name, value in trainer.prior.state_dict().items()}

    trainer = tiny_trainer(tmp_path, options=options, watch=watch)
    standing = trainer.run()
    assert (standing.epoch, standing.best, standing.best_epoch) == (5, 1.0, 2)  # as good is not better
    kept = stored(tmp_path).state_dict()
    assert all(torch.equal(kept[name], seen[2][name]) for name in kept)
    assert not all(torch.equal(kept[name], seen[5][name]) for name in kept)
    again = tiny_trainer(tmp_path, options=options)
    assert again.run() == standing and len(lines_of(tmp_path)) == 5  # nor does it go on


def test_without_patience_it_goes_on_to_the_end(tmp_path, monkeypatch):
    held_out_as(monkeypatch, [5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    standing = tiny_trainer(tmp_path, options=tiny_options(epochs=6)).run()
    assert (standing.epoch, standing.best_epoch) == (6, 1)


def test_a_last_batch_of_one_image_and_one_view(tmp_path):
    options = tiny_options(flow=replace(FLOW, batch_norm=True), batch=16, draws=1, epochs=1)
    trainer = tiny_trainer(tmp_path, gaussian_examples(22, share=0.22), options)
    assert len(trainer.examples.learned) == 17 and trainer.run().epoch == 1


def test_the_rate_falls_on_half_a_cosine(tmp_path):
    trainer = tiny_trainer(tmp_path, options=tiny_options(epochs=3, batch=24, lr=1e-3, final_lr=0.1))
    rates, step = [], trainer._step
    trainer._step = lambda *words: (step(*words), rates.append(trainer.optimiser.param_groups[0]["lr"]))[0]
    trainer.run()
    count = 3 * trainer.steps
    assert len(rates) == count == 9
    wanted = [0.1 + 0.9 * (1 + np.cos(np.pi * n / (count - 1))) / 2 for n in range(count)]
    np.testing.assert_allclose(rates, 1e-3 * np.array(wanted), atol=1e-12)


def test_a_loss_that_is_no_number_ends_it_and_keeps_the_best(tmp_path, always_kept):
    def watch(done, total, numbers):
        if done == 2:
            with torch.no_grad():
                next(trainer.prior.parameters()).fill_(torch.nan)

    trainer = tiny_trainer(tmp_path, options=tiny_options(epochs=6), watch=watch)
    with pytest.raises(RunError) as error:
        trainer.run()
    refused(error, "epoch 3", "epoch 2", str(tmp_path), "lr")
    assert error.value.exit_code == 1
    assert all(bool(tensor.isfinite().all()) for tensor in stored(tmp_path).state_dict().values())
    assert json.loads((tmp_path / CONFIG).read_text())["best_epoch"] == 2
    assert [line["epoch"] for line in lines_of(tmp_path)] == [1, 2]


@pytest.mark.parametrize("row", ["own", "further"])
def test_a_view_that_is_no_number_ends_it(tmp_path, row):
    examples = gaussian_examples(40, further=1)
    coordinates = examples.pool.coordinates.clone()
    coordinates[examples.members[examples.learned[5], 0 if row == "own" else 1], 3] = torch.nan
    with pytest.raises(WildhoiError) as error:
        tiny_trainer(tmp_path, replace(examples, pool=Pool(coordinates, None)), tiny_options(draws=8)).run()
    assert "finite" in str(error.value)
    assert not (tmp_path / CONFIG).exists()


def test_a_rate_that_is_far_too_high_ends_it(tmp_path):
    with pytest.raises(RunError) as error:
        tiny_trainer(tmp_path, options=tiny_options(lr=1e9, clip=0.0, epochs=20)).run()
    refused(error, "finite", "lr")


def test_weights_that_the_last_step_spoiled_end_it(made, tmp_path):
    with pytest.raises(RunError):
        trained(made, tmp_path, epochs=1, batch=64, lr=1e9)


def test_the_log_is_json_whatever_is_held_out(tmp_path, monkeypatch):
    held_out_as(monkeypatch, [0.0, float("nan"), float("-inf"), 0.5])
    tiny_trainer(tmp_path, options=tiny_options(epochs=4)).run()
    assert [line["epoch"] for line in lines_of(tmp_path)] == [1, 2, 3, 4]


def test_a_likelihood_that_is_no_number_is_not_the_best(tmp_path, monkeypatch):
    held_out_as(monkeypatch, [0.0, float("nan"), float("-inf"), 0.5])
    standing = tiny_trainer(tmp_path, options=tiny_options(epochs=4)).run()
    assert (standing.best, standing.best_epoch) == (0.5, 4)
