"""Trainings in processes of their own: one that is killed, or several that share the work.

Usage: training_runs.py killed DATA MEANS OUT N, which ends without warning before the N-th change of a file in OUT; or,
under torchrun, training_runs.py spread OUT.
"""

import hashlib
import json
import sys
from pathlib import Path

from killed_runs import kill_at
from training_sets import THING, gaussian_examples, tiny_options, tiny_trainer

from baselines.training import diary
from wildhoi.dataset import open_folder
from wildhoi.training import train_flow_prior

OPTIONS = {
    "epochs": 2, "batch": 8, "draws": 2, "k": 2, "size": 16, "context": 4, "pictures_every": 0, "patience": 2,
}  # fmt: skip


def killed(data: Path, means: Path, out: Path, number: int) -> None:
    """Train as the command does, until the end comes."""
    diary.KEEP_EVERY = 0.0
    kill_at(number, out)
    train_flow_prior(open_folder(data), THING, out, OPTIONS | {"contact": str(means)}, device="cpu")


def spread(out: Path) -> dict:
    """Train on this process's share; tells what this process has in the end."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    options = tiny_options(batch=20, epochs=2, patience=1)
    trainer = tiny_trainer(out, gaussian_examples(images=40), options, accelerator=accelerator)
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
    }


def main() -> None:
    """Do what the first word says; each of several processes writes a report, OUT-RANK.json."""
    what, *words = sys.argv[1:]
    if what == "killed":
        data, means, out = map(Path, words[:3])
        return killed(data, means, out, int(words[3]))
    out = Path(words[0])
    report = spread(out)
    out.with_name(f"{out.name}-{report['rank']}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
