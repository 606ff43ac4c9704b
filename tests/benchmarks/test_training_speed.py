"""Training of the flow prior: images a second, seconds an epoch, memory.

Run with `python -m pytest tests/benchmarks/test_training_speed.py`. Pictures and views are random numbers of the sizes
that the presets have for an object of 8 keypoints. Figures are of the best epoch but the first, in which kernels are
chosen; nothing is asserted but that it ran.
"""

import json
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from scenes import template
from training_sets import program

from baselines.encoders import EncoderConfig, cached_features
from baselines.prior import Prior, PriorConfig
from baselines.training.diary import Diary
from baselines.training.examples import Examples, Pool
from baselines.training.loop import Trainer
from baselines.training.options import PRESETS
from submissions import unchecked
from wildhoi.devices import describe_device, find_device

HERE = Path(__file__).parent
THING, KEYPOINTS = "skateboard", 30
EPOCHS = 4
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, torch sees none")


@dataclass(frozen=True)
class Case:
    """A preset on a device with other settings, and how many images."""

    preset: str
    device: str
    images: int
    changes: dict
    frozen: bool = False


CASES = {
    "small, CPU": Case("small", "cpu", 512, {}),
    "small without pictures, CPU": Case("small", "cpu", 512, {"encoder": EncoderConfig("none")}),
    "small": Case("small", "cuda", 2048, {}),
    "small, 17 views": Case("small", "cuda", 2048, {"draws": 17}),
    "small, bf16": Case("small", "cuda", 2048, {"precision": "bf16"}),
    "paper without pictures": Case("paper", "cuda", 2048, {"encoder": EncoderConfig("none")}),
    "paper, frozen": Case("paper", "cuda", 2048, {}, frozen=True),
    "paper, frozen, batch 512": Case("paper", "cuda", 2048, {"batch": 512}, frozen=True),
    "paper": Case("paper", "cuda", 512, {}),
    "paper, bf16": Case("paper", "cuda", 512, {"precision": "bf16"}),
    "released": Case("released", "cuda", 512, {}),
}


@pytest.fixture(autouse=True)
def alone():
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    with unchecked():
        yield
    AcceleratorState._reset_state(reset_partial_state=True)


def random_examples(images, dimension, size):
    """Images with their own view and 16 more, all in a mirror too."""
    generator = torch.Generator().manual_seed(0)
    views = 0.3 * torch.randn(images, dimension, generator=generator)
    members = torch.randint(images, (images, 17), generator=generator)
    members[:, 0] = torch.arange(images)
    pictures = torch.randint(256, (images, 5, size, size), generator=generator, dtype=torch.uint8) if size else None
    held_out = torch.arange(images) % 20 == 0
    names = tuple(map(str, range(images)))
    return Examples(names, Pool(views, -views), members, torch.ones(members.shape), pictures, held_out)


def made_trainer(case, options, folder):
    """A training, and the seconds that the features of a frozen backbone took."""
    from accelerate import Accelerator

    accelerator = Accelerator(
        cpu=case.device == "cpu", mixed_precision={"float32": "no"}.get(options.precision, options.precision)
    )
    parts = {name: getattr(options, name) for name in ("supervision", "space", "noise", "camera_noise", "flow")}
    prior = Prior(PriorConfig(THING, KEYPOINTS, **parts, encoder=options.encoder)).to(accelerator.device)
    size = 0 if options.encoder.name == "none" else options.encoder.size
    examples, seconds = random_examples(case.images, prior.config.dimension, size), 0.0
    if case.frozen:
        start = time.perf_counter()
        features = cached_features(prior.encoder, examples.pictures)
        seconds = time.perf_counter() - start
        examples = replace(examples, features=torch.stack([features, features]).cpu())
    return Trainer(prior, examples, options, accelerator, Diary(folder, template(THING), {}, None, "x")), seconds


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if "CPU" in name else NO_GPU) for name in CASES])
def test_training(name, tmp_path, say):
    case = CASES[name]
    options = replace(PRESETS[case.preset], epochs=EPOCHS, pictures_every=0, patience=0, **case.changes)
    if case.frozen:
        options = replace(options, encoder=replace(options.encoder, frozen=True))
    if case.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    trainer, seconds = made_trainer(case, options, tmp_path)
    told = []
    trainer.watch = lambda done, total, numbers: told.append(dict(numbers))
    standing = trainer.run()
    best = max(told[1:], key=lambda numbers: numbers["images_per_second"])
    if case.device == "cuda":
        memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of the GPU"
    else:
        memory = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB of this process"
    looked = f", features of {case.images} pictures {seconds:.1f} s" if case.frozen else ""
    say(
        f"{name} ({describe_device(find_device(case.device))}): {best['images_per_second']:,.0f} images a second with "
        f"{options.draws} views each, batch {options.batch}, {best['seconds']:.2f} s for an epoch of "
        f"{len(trainer.examples.learned)} images, peak {memory}{looked}"
    )
    assert standing.epoch == EPOCHS


@pytest.mark.parametrize("batch", [64, 256])
def test_training_on_processes(batch, tmp_path, say):
    found = {}
    for count in (1, 2):
        launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", count)
        done = program(*launch, HERE / "shared_training.py", tmp_path / str(count), batch, path=HERE)
        assert done.returncode == 0, done.stderr
        found[count] = json.loads((tmp_path / str(count) / "speed.json").read_text())
    rates = ", ".join(f"{each['images_per_second']:,.0f} on {count}" for count, each in found.items())
    say(
        f"small, CPU, batch {batch}: images a second by number of processes: {rates}; each draws the numbers of the "
        f"whole batch: {1e3 * found[2]['drawing']:.2f} ms of a step of {1e3 * found[2]['step']:.1f} ms"
    )
