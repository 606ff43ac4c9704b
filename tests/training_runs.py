"""Trainings in processes of their own: killed at the n-th change of a file and resumed, or spread over processes.

Usage: training_runs.py killed DATA MEANS OUT STRIDE; or, under torchrun, training_runs.py spread OUT BACKBONE.
"""

import hashlib
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import accelerate  # noqa: F401 - imported once, for all forks; so are the others of which nothing is used here
import cv2  # noqa: F401
import datasets  # noqa: F401
import normflows  # noqa: F401
import pyarrow.parquet  # noqa: F401
import safetensors.torch  # noqa: F401
import torch._dynamo  # noqa: F401
from killed_runs import kill_at
from scenes import template
from training_sets import THING, gaussian_examples, tiny_options, tiny_trainer

from baselines.encoders import EncoderConfig
from baselines.prior_files import CONFIG, read_prior
from baselines.training import diary
from wildhoi.dataset import open_folder
from wildhoi.errors import WildhoiError
from wildhoi.templates import find_template, load_template
from wildhoi.training import train_flow_prior

OPTIONS = {
    "epochs": 2, "batch": 8, "draws": 2, "k": 2, "size": 16, "context": 4, "pictures_every": 0, "patience": 2,
}  # fmt: skip


def train(data: Path, means: Path, out: Path, *, resume: bool = False) -> None:
    """Train as the command does."""
    train_flow_prior(open_folder(data), THING, out, OPTIONS | {"contact": str(means)}, device="cpu", resume=resume)


def child(data: Path, means: Path, out: Path, *, resume: bool, kill: int = 0) -> int:
    """Train in a process of its own; returns how it ended, as os.waitpid says."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if kill:
                kill_at(kill, out)
            train(data, means, out, resume=resume)
            code = 0
        except WildhoiError as error:
            sys.stderr.write(f"{out.name}: {error}\n")
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def result(out: Path) -> list:
    """Whatever must not depend on interruptions."""
    lines = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    numbers = [[line[name] for name in ("epoch", "loss", "held_out", "lr")] for line in lines]
    weights = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    return [numbers, weights, json.loads((out / CONFIG).read_text()), sorted(p.name for p in out.iterdir())]


def killed(data: Path, means: Path, place: Path, stride: int) -> dict:
    """Kill trainings, resume them, and compare them with one that was left alone."""
    diary.KEEP_EVERY = 0.0
    of = load_template(find_template(data, THING, shipped=True))
    assert child(data, means, place / "whole", resume=False) == 0
    whole = result(place / "whole")
    report = {"points": [], "killed": 0, "unreadable": [], "refused": [], "different": []}
    for number in range(1, 1000, stride):
        out = place / f"killed-{number}"
        ending = child(data, means, out, resume=False, kill=number)
        if ending == 0:
            break
        report["points"].append(number)
        report["killed"] += os.WIFSIGNALED(ending) and os.WTERMSIG(ending) == signal.SIGKILL
        try:
            if (out / CONFIG).is_file():
                read_prior(out, of)
        except WildhoiError:
            report["unreadable"].append(number)
        if child(data, means, out, resume=True) != 0:
            report["refused"].append(number)
        elif result(out) != whole:
            report["different"].append(number)
    return report


def spread(out: Path, backbone: str) -> dict:
    """Train on this process's share; tells what this process has in the end."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    options = tiny_options(batch=20, epochs=2, patience=1)
    examples = gaussian_examples(images=40)
    if backbone:
        options = replace(options, encoder=EncoderConfig(backbone, size=16, context=8))
    trainer = tiny_trainer(out, examples, options, accelerator=accelerator)
    standing = trainer.run()
    digest = hashlib.sha256()
    for name, tensor in sorted(trainer.prior.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return {
        "processes": accelerator.num_processes,
        "rank": accelerator.process_index,
        "weights": digest.hexdigest(),
        "held_out": standing.best,
        "epochs": standing.epoch,
        "template": template(THING).sha256,
    }


def main() -> None:
    """Do what the first word says; the report is JSON, in a file of its own for each process where there are many."""
    what, *words = sys.argv[1:]
    if what == "killed":
        data, means, place, stride = words
        sys.stdout.write(json.dumps(killed(Path(data), Path(means), Path(place), int(stride))))
        return
    out = Path(words[0])
    report = spread(out, words[1] if len(words) > 1 else "")
    out.with_name(f"{out.name}-{report['rank']}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
