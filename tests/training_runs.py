"""Trainings in several processes that share the work.

Usage, under torchrun: training_runs.py DATA MEANS OUT.
"""

import hashlib
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from training_sets import (
    ENCODER,
    FLOW,
    NONE,
    SIDE,
    THING,
    Stop,
    gaussian_examples,
    interrupted_after,
    tiny_options,
    tiny_trainer,
)

from baselines.encoders import EncoderConfig
from baselines.flow import FlowConfig
from baselines.training import diary
from baselines.training.examples import Pool
from wildhoi.dataset import open_folder
from wildhoi.errors import WildhoiError
from wildhoi.training import train_flow_prior

OPTIONS = {
    "epochs": 2, "batch": 8, "draws": 2, "k": 2, "size": 16, "context": 4, "pictures_every": 0, "patience": 2,
}  # fmt: skip
RESNET = {
    "model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic",
}  # fmt: skip
BACKBONE = EncoderConfig("resnet", SIDE, 8, dropout=0.3, masks=True)
NORMED = FlowConfig(2, 24, "additive", 1, 0.5, True, shift=16, mixing="parity", start="zero")


@dataclass(frozen=True)
class Case:
    """A training that is the same however many processes share it: its images, its options, its backbone."""

    images: int
    options: dict[str, Any]
    share: float = 0.25
    mirrored: bool = True
    architecture: dict[str, Any] | None = None


CASES = {
    "odd batches, the last shorter; pictures varied, gradients clipped": Case(40, {"batch": 7, "clip": 0.05}),
    "one image left over for two processes; dropout": Case(
        28, {"batch": 5, "encoder": replace(ENCODER, dropout=0.4), "flow": replace(FLOW, dropout=0.3)}
    ),
    "one view, one image left over, a norm over the batch": Case(
        22, {"batch": 8, "draws": 1, "flow": replace(FLOW, batch_norm=True), "lr": 1e-3}, share=0.22, mirrored=False
    ),
    "the published flow, an image left over": Case(28, {"batch": 5, "flow": NORMED, "encoder": NONE, "lr": 1e-3}),
    "a backbone with norms, an image left over": Case(
        28, {"batch": 5, "encoder": BACKBONE, "lr": 1e-3}, architecture=RESNET
    ),
}


def case_trainer(name: str, folder: Path, accelerator: Any = None) -> Any:
    """The training of a case."""
    case = CASES[name]
    examples = gaussian_examples(case.images, share=case.share)
    if case.mirrored:
        examples = replace(examples, pool=Pool(examples.pool.coordinates, -examples.pool.coordinates))
    options = tiny_options(epochs=2, **case.options)
    return tiny_trainer(folder, examples, options, accelerator=accelerator, architecture=case.architecture)


def spread(data: Path, means: Path, out: Path) -> None:
    """Train on this process's share; tells what this process has in the end, as OUT/RANK.json and arrays."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    rank = accelerator.process_index
    report = {"rank": rank, "processes": accelerator.num_processes, "weights": {}, "held_out": {}}
    for number, name in enumerate(CASES):
        trainer = case_trainer(name, out / str(number), accelerator)
        report["held_out"][name] = trainer.run().best
        weights = {key: value.numpy() for key, value in trainer.prior.state_dict().items()}
        report["weights"][name] = digest(weights)
        if rank == 0:
            np.savez(out / f"{number}.npz", **weights)
    diary.KEEP_EVERY = 0.0
    report |= commands(data, {**OPTIONS, "half": False, "contact": str(means)}, out, rank)
    (out / f"{rank}.json").write_text(json.dumps(report))


def commands(data: Path, options: dict[str, Any], out: Path, rank: int) -> dict[str, Any]:
    """What trainings by command say: one broken off, one gone on with, one in a locked folder, one of two minds."""
    words = {"begun": options, "resumed": options, "locked": options, "differing": options | {"seed": rank}}
    said = {}
    for name, given in words.items():
        try:
            with interrupted_after(1 if name == "begun" else 9):
                done = train_flow_prior(
                    open_folder(data), THING, out / name, given, device="cpu", resume=name == "resumed"
                )
            said[name] = done.held_out
        except (Stop, WildhoiError) as error:
            said[name] = f"{type(error).__name__}: {error}"
    return said


def digest(weights: dict[str, np.ndarray]) -> str:
    found = hashlib.sha256()
    for name, values in sorted(weights.items()):
        found.update(name.encode() + values.tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    spread(*map(Path, sys.argv[1:]))
