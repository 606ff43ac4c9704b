"""What a training leaves behind: the best prior so far, the state to go on from, a line an epoch, pictures."""

import json
import math
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from baselines.prior import Prior
from baselines.prior_files import CONFIG, read_tensors, write_prior, write_tensors
from wildhoi.errors import InputError, WildhoiError
from wildhoi.files import read_json, sha256_file, write_text
from wildhoi.templates import Template

LINES, PICTURES, STATE = "train.jsonl", "pictures", "state"
KEEP_EVERY = 20.0
"""Seconds between two states: the most that an interruption costs, beside the epoch at work."""
MOST_STATE = 2**20
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
STATE_FILE = re.compile(r"[0-9]{6,12}\.safetensors", re.ASCII)


@dataclass
class Standing:
    """How far a training is: epochs done, the best held-out likelihood (nats per dimension) and when it was."""

    epoch: int = 0
    best: float = -math.inf
    best_epoch: int = 0

    def advance(self, held_out: float) -> None:
        """Count an epoch."""
        self.epoch += 1
        if held_out > self.best:
            self.best, self.best_epoch = held_out, self.epoch


@dataclass(eq=False)
class Diary:
    """The folder of a training.

    Attributes:
        folder: of the prior.
        template: of the object.
        facts: of the training, plain data; go to the prior's configuration.
        contact: mean occlusion maps, if there are any.
        fingerprint: of all that the result depends on.
        half: store the prior's weights with 16 bits.
        kept: when the state was written last.
    """

    folder: Path
    template: Template
    facts: Mapping[str, Any]
    contact: Mapping[str, Float[np.ndarray, " v"]] | None
    fingerprint: str
    half: bool = False
    kept: float = -math.inf

    def restore(self, prior: Prior, optimiser: torch.optim.Optimizer) -> Standing:
        """Set weights and moments as they were kept; where nothing is, nothing changes.

        Raises:
            InputError: the state is damaged, or of a training with other options, data or versions.
        """
        path = self._state("state.json")
        if not path.is_file():
            self._forget_after(0)
            return Standing()
        content = read_json(path, MOST_STATE)
        try:
            fingerprint, file, digest = (str(content[key]) for key in ("fingerprint", "file", "sha256"))
            best = -math.inf if content["best"] is None else float(content["best"])
            standing = Standing(int(content["epoch"]), best, int(content["best_epoch"]))
            if not STATE_FILE.fullmatch(file):
                raise ValueError("the name of no state")
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InputError(f"{path}: damaged; remove {self.folder} and train again") from None
        if fingerprint != self.fingerprint:
            raise InputError(
                f"{self.folder}: holds a training with other options, data or versions; "
                "give the same to --resume it, or another folder"
            )
        weights = self._state(file)
        if not weights.is_file() or sha256_file(weights) != digest:
            raise InputError(f"{weights}: damaged (hash); remove {self.folder} and train again")
        try:
            self._load(read_tensors(weights), prior, optimiser)
        except (RuntimeError, KeyError, ValueError, IndexError):  # tensors of other names or shapes
            raise InputError(f"{weights}: not the state of this prior; remove {self.folder} and train again") from None
        self._forget_after(standing.epoch)
        return standing

    def _load(self, tensors: Mapping[str, torch.Tensor], prior: Prior, optimiser: torch.optim.Optimizer) -> None:
        own = {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith("prior.")}
        prior.load_state_dict(own)
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("moment."):
                _, number, name = key.split(".")
                moments.setdefault(int(number), {})[name] = value
        optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})

    def _forget_after(self, epoch: int) -> None:
        """Drop the lines of epochs that will be done again."""
        path = self.folder / LINES
        if path.is_file():
            lines = [line for line in path.read_text().splitlines() if _epoch_of(line) <= epoch]
            write_text(path, "".join(f"{line}\n" for line in lines))

    def epoch(
        self, standing: Standing, numbers: Mapping[str, float], prior: Prior, optimiser: torch.optim.Optimizer
    ) -> None:
        """Write the line of an epoch, the prior if it is the best so far, and the state if the last one is old."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if standing.best_epoch == standing.epoch:
            facts = self._facts(standing, finished=False)
            write_prior(self.folder, prior, self.template, facts, self.contact, half=self.half)
        with (self.folder / LINES).open("a") as stream:
            line = {"epoch": standing.epoch} | {name: _finite(number) for name, number in numbers.items()}
            stream.write(json.dumps(line, allow_nan=False) + "\n")
        if time.monotonic() - self.kept > KEEP_EVERY:
            self._keep(standing, prior, optimiser)

    def _facts(self, standing: Standing, *, finished: bool) -> dict[str, Any]:
        held = {"held_out": standing.best, "best_epoch": standing.best_epoch, "epochs": standing.epoch}
        return {**self.facts, **held, "finished": finished}

    def _keep(self, standing: Standing, prior: Prior, optimiser: torch.optim.Optimizer) -> None:
        tensors = {f"prior.{key}": value for key, value in prior.state_dict().items()}
        for number, moments in optimiser.state_dict()["state"].items():
            tensors |= {f"moment.{number}.{name}": torch.as_tensor(moments[name]) for name in MOMENTS}
        file = f"{standing.epoch:06d}.safetensors"
        self._state("").mkdir(parents=True, exist_ok=True)
        write_tensors(self._state(file), tensors)
        content = {
            "fingerprint": self.fingerprint,
            "file": file,
            "sha256": sha256_file(self._state(file)),
            "epoch": standing.epoch,
            "best": _finite(standing.best),
            "best_epoch": standing.best_epoch,
        }
        write_text(self._state("state.json"), json.dumps(content) + "\n")
        for old in self._state("").glob("*.safetensors"):
            if old.name != file:
                old.unlink(missing_ok=True)
        self.kept = time.monotonic()

    def finish(self, standing: Standing) -> None:
        """Say in the configuration that the training has ended; the state is not needed any more."""
        content = read_json(self.folder / CONFIG)
        content |= self._facts(standing, finished=True)
        write_text(self.folder / CONFIG, json.dumps(content, indent=1, sort_keys=True) + "\n")
        shutil.rmtree(self._state(""), ignore_errors=True)

    def picture(self, epoch: int) -> Path:
        """Where the picture of an epoch goes."""
        (self.folder / PICTURES).mkdir(parents=True, exist_ok=True)
        return self.folder / PICTURES / f"epoch-{epoch:04d}.png"

    def diverged(self, epoch: int, standing: Standing) -> str:
        """What to say when the loss is no number any more."""
        best = f"the best prior so far, of epoch {standing.best_epoch}, is in {self.folder}"
        kept = best if standing.best_epoch else "no prior was kept"
        mend = "train into another folder with a smaller --set lr, or float32"
        return f"epoch {epoch}: the loss is not a finite number; {kept}; {mend}"

    def _state(self, file: str) -> Path:
        return self.folder / STATE / file


def _finite(number: int | float) -> int | float | None:
    """A number as JSON has it."""
    return number if math.isfinite(number) else None


def _epoch_of(line: str) -> int:
    """The epoch of a line; one that is cut or foreign is of none that is kept."""
    try:
        return int(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 2**31


def is_finished(folder: Path) -> bool:
    """Whether a folder holds a prior whose training has ended."""
    try:
        return bool(read_json(folder / CONFIG).get("finished"))
    except (WildhoiError, OSError, AttributeError):
        return False
