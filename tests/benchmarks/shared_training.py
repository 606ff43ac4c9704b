"""A training that several processes share; a program for torchrun.

Usage: shared_training.py OUT BATCH, which writes OUT/speed.json: images a second of the best epoch, and the share of a
step that drawing the numbers of the whole batch takes.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch
from test_training_speed import Case, made_trainer

from baselines.training.options import PRESETS
from baselines.training.sharing import share_of

EPOCHS = 3


def main() -> None:
    out, batch = Path(sys.argv[1]), int(sys.argv[2])
    options = replace(PRESETS["small"], epochs=EPOCHS, pictures_every=0, patience=0, batch=batch)
    trainer, _ = made_trainer(Case("small", "cpu", 512, {}), options, out)
    told = []
    trainer.watch = lambda done, total, numbers: told.append(dict(numbers))
    trainer.run()
    if trainer.accelerator.is_main_process:
        best = max(told[1:], key=lambda numbers: numbers["images_per_second"])
        step = best["seconds"] / trainer.steps
        speed = {"images_per_second": best["images_per_second"], "step": step, "drawing": drawing(trainer, batch)}
        (out / "speed.json").write_text(json.dumps(speed))


def drawing(trainer, batch):
    """Seconds that a step's views and their noise take, which every process draws for the whole batch."""
    images, generator = trainer.examples.learned[:batch], torch.Generator().manual_seed(0)
    trainer.examples = replace(trainer.examples, pictures=None)
    share, seconds = share_of(len(images), 0, 1), []
    for _ in range(10):
        start = perf_counter()
        trainer._drawn(images, share, generator)
        seconds.append(perf_counter() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
