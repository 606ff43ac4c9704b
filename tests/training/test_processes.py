"""Training on several processes: what it learns is what one process learns from the same batches."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from test_resuming import failure
from torch import nn
from training_runs import CASES, OPTIONS, RESNET, case_trainer
from training_sets import (
    SIDE,
    THING,
    Stop,
    gaussian_examples,
    interrupted_after,
    lines_of,
    program,
    refused,
    tiny_options,
    tiny_trainer,
    trained,
    write_made,
    write_means,
)

from baselines.encoders import EncoderConfig
from baselines.prior_files import CONFIG, WEIGHTS, read_tensors
from baselines.training import diary as diary_module
from baselines.training.sharing import Share, SharedDropout, SharedNorm, share_layers, share_of
from submissions import unchecked
from wildhoi.engine import only_run_in
from wildhoi.errors import RunError
from wildhoi.training import training as training_module

TESTS = Path(__file__).parents[1]
CLOSE = 1e-5
GIVEN = {**OPTIONS, "half": False}


def reset():
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


@dataclass(frozen=True)
class Spread:
    """What two processes left in a folder, what each of them says, and what they trained on."""

    folder: Path
    reports: list
    made: tuple


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    """All that two processes do in these tests, at one start."""
    reset()
    folder = tmp_path_factory.mktemp("spread")
    made = write_made(folder / "data", (THING,), 12), str(write_means(folder / "means.npz"))
    out = folder / "out"
    with pytest.MonkeyPatch.context() as patch, unchecked():
        patch.setattr(diary_module, "KEEP_EVERY", 0.0)
        with interrupted_after(1), pytest.raises(Stop):
            trained(made, out / "resumed", THING, **GIVEN)
    (out / "locked").mkdir()
    with only_run_in(out / "locked"):
        launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2)
        done = program(*launch, TESTS / "training_runs.py", made[0].path, made[1], out)
    assert done.returncode == 0, done.stderr
    return Spread(out, [json.loads((out / f"{rank}.json").read_text()) for rank in (0, 1)], made)


@pytest.fixture(scope="module")
def whole(spread):
    """The folder of the training by command that one process did from beginning to end."""
    reset()
    with unchecked():
        trained(spread.made, spread.folder / "whole", THING, **GIVEN)
    return spread.folder / "whole"


def equal_lines(found, wanted):
    assert [line["epoch"] for line in found] == [line["epoch"] for line in wanted]
    for name in ("loss", "held_out", "lr"):
        np.testing.assert_allclose([line[name] for line in found], [line[name] for line in wanted], atol=CLOSE, rtol=0)


def equal_weights(found, wanted):
    assert sorted(found) == sorted(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, atol=CLOSE, rtol=CLOSE, err_msg=name)


def arrays(prior):
    return {name: tensor.numpy() for name, tensor in prior.state_dict().items()}


def kept(folder):
    return {name: tensor.numpy() for name, tensor in read_tensors(folder / WEIGHTS).items()}


# Two processes and one


@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_learns(spread, tmp_path, name):
    number = list(CASES).index(name)
    with unchecked():
        one = case_trainer(name, tmp_path)
        before = {name: values.copy() for name, values in arrays(one.prior).items()}
        one.run()
    equal_lines(lines_of(spread.folder / str(number)), lines_of(tmp_path))
    equal_weights(dict(np.load(spread.folder / f"{number}.npz")), arrays(one.prior))
    moved = max(np.abs(values - before[name]).max() for name, values in arrays(one.prior).items())
    assert moved > 100 * CLOSE


@pytest.mark.parametrize("name", CASES)
def test_two_processes_end_in_one_prior(spread, name):
    first, second = spread.reports
    assert [first["rank"], second["rank"], first["processes"]] == [0, 1, 2]
    assert first["weights"][name] == second["weights"][name]
    assert first["held_out"][name] == second["held_out"][name]
    folder = spread.folder / str(list(CASES).index(name))
    assert first["held_out"][name] == max(line["held_out"] for line in lines_of(folder))


def test_a_training_that_two_processes_began_is_ended_by_one(spread, whole):
    assert [report["begun"] for report in spread.reports] == ["Stop: "] * 2
    assert not failure(trained, spread.made, spread.folder / "begun", THING, resume=True, **GIVEN)
    equal_lines(lines_of(spread.folder / "begun"), lines_of(whole))
    equal_weights(kept(spread.folder / "begun"), kept(whole))


def test_a_training_that_one_process_began_is_ended_by_two(spread, whole):
    assert (
        spread.reports[0]["resumed"]
        == spread.reports[1]["resumed"]
        == max(line["held_out"] for line in lines_of(spread.folder / "resumed"))
    )
    equal_lines(lines_of(spread.folder / "resumed"), lines_of(whole))
    equal_weights(kept(spread.folder / "resumed"), kept(whole))
    config = json.loads((spread.folder / "resumed" / CONFIG).read_text())
    assert config["environment"]["processes"] == 2


def test_other_versions_are_another_training(spread, tmp_path, monkeypatch):
    with interrupted_after(1), pytest.raises(Stop):
        trained(spread.made, tmp_path / "out", THING, **GIVEN)
    environment = training_module._environment
    monkeypatch.setattr(training_module, "_environment", lambda found: environment(found) | {"torch": "1.0"})
    refusal = failure(trained, spread.made, tmp_path / "out", THING, resume=True, **GIVEN)
    assert "InputError" in refusal and "versions" in refusal


def test_processes_of_two_minds_are_refused(spread):
    for report in spread.reports:
        assert "InputError" in report["differing"] and "process 1 of 2 differs" in report["differing"]


# One training in a folder


def test_a_second_training_in_a_folder_is_refused(spread, tmp_path):
    for out in (tmp_path / "empty", tmp_path / "held"):
        out.mkdir()
        with only_run_in(out), pytest.raises(RunError) as error:
            trained(spread.made, out, THING, resume=out.name == "held", **GIVEN)
        refused(error, str(out), "another run is writing")
        assert not any(out.iterdir())


def test_a_folder_in_use_is_refused_by_every_process_of_a_launch(spread):
    for report in spread.reports:
        assert "RunError" in report["locked"] and "another run is writing" in report["locked"]
    assert not any((spread.folder / "locked").iterdir())


# Shares of a batch


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("whole", [1, 2, 5, 8, 64])
def test_shares_make_up_a_batch(whole, world):
    shares = [share_of(whole, rank, world) for rank in range(world)]
    counted = [share for share in shares if share.weight]
    rows = torch.arange(3 * whole).view(whole, 3)
    assert torch.equal(torch.cat([share.of(rows) for share in counted]), rows)
    assert torch.equal(torch.cat([share.of(rows.flatten()) for share in counted]), rows.flatten())
    assert all(share.count >= 1 for share in shares)
    assert max(share.count for share in counted) - min(share.count for share in counted) <= 1
    values = torch.rand(whole, dtype=torch.float64)
    mean = sum(share.weight * share.of(values).mean() for share in shares) / world
    assert float(mean) == pytest.approx(float(values.mean()), abs=1e-12)


@pytest.mark.parametrize("views", [1, 3])
def test_numbers_are_dropped_by_their_place_in_the_batch(views):
    x = 1 + torch.rand(7 * views, 5)

    def dropped(share):
        layer = SharedDropout(0.4)
        layer.share = share
        torch.manual_seed(3)
        return layer(share.of(x)), torch.rand(1)

    whole, after = dropped(Share(0, 7, 7, 1.0))
    parts = [dropped(share_of(7, rank, 3)) for rank in range(3)]
    assert torch.equal(torch.cat([part for part, _ in parts]), whole)
    assert all(torch.equal(left, after) for _, left in parts)
    torch.manual_seed(3)
    assert torch.equal(nn.functional.dropout(x, 0.4), whole)  # one process drops what it always dropped
    torch.testing.assert_close(whole[whole != 0], (x / 0.6)[whole != 0])
    assert torch.equal(SharedDropout(0.4).eval()(x), x)


def test_what_all_images_share_is_dropped_too():
    layer = SharedDropout(0.5)
    layer.share = Share(2, 4, 8, 1.0)
    assert layer(torch.ones(1, 1000)).eq(0).float().mean() == pytest.approx(0.5, abs=0.1)


@pytest.fixture
def one_of_one():
    """This process as the only one of a group."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


NORMS = {"vectors": (nn.BatchNorm1d, (9, 4)), "maps": (nn.BatchNorm2d, (5, 4, 3, 2))}


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("name", NORMS)
def test_a_shared_norm_is_the_norm_of_the_batch(one_of_one, name, momentum):
    kind, shape = NORMS[name]
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(kind(4, eps=1e-3, momentum=momentum), nn.Dropout(0.0)).double()
    nn.init.normal_(model[0].weight, generator=generator)
    nn.init.normal_(model[0].bias, generator=generator)
    shared = copy.deepcopy(model)
    assert {type(layer) for layer in share_layers(shared, 2)} == {SharedNorm, SharedDropout}
    for _ in range(3):
        x = 5 + torch.randn(shape, generator=generator, dtype=torch.float64)
        both, towards = [x.clone().requires_grad_(), x.clone().requires_grad_()], torch.randn(shape).double()
        found = [each(given) for each, given in zip((model, shared), both, strict=True)]
        torch.testing.assert_close(found[1], found[0])
        for out in found:
            (out * towards).sum().backward()
        torch.testing.assert_close(both[1].grad, both[0].grad)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[key], value)
    for one, other in zip(model.parameters(), shared.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad)
    torch.testing.assert_close(shared.eval()(x), model.eval()(x))


def test_a_shared_norm_keeps_the_digits_that_it_is_given(one_of_one):
    shared = nn.Sequential(nn.BatchNorm1d(3))
    share_layers(shared, 2)
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert shared(x).dtype == torch.bfloat16
    torch.testing.assert_close(shared(x).float(), nn.BatchNorm1d(3)(x.float()), atol=0.02, rtol=0.02)


def test_one_process_keeps_the_norms_of_torch():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    share_layers(model, 1)
    assert [type(layer) for layer in model] == [nn.BatchNorm1d, SharedDropout]


def test_a_last_image_alone_passes_the_norms_of_a_backbone(tmp_path):
    """Its last map has one place: a norm would have one number of each channel."""
    architecture = RESNET | {"hidden_sizes": [8, 8, 16], "depths": [1, 1, 1]}
    options = tiny_options(encoder=EncoderConfig("resnet", SIDE, 4), batch=16, epochs=1)
    examples = gaussian_examples(22, share=0.22)
    assert len(examples.learned) == 17
    assert tiny_trainer(tmp_path, examples, options, architecture=architecture).run().epoch == 1
