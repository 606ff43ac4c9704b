"""The state of a fit in a file, so that an interrupted one goes on where it was and ends in the same numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wildhoi.errors import InputError
from wildhoi.files import atomic_path
from wildhoi.npz import read_npz

KEEP_EVERY = 20.0
"""Seconds between two states: the most work that an interruption costs."""
LARGEST_BYTES = 2**28
"""Of a state: a batch has thousands of numbers, and the file may be anything."""
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Progress:
    """Stage and steps of it that are done."""

    stage: int = 0
    step: int = 0


@dataclass(eq=False)
class Checkpoint:
    """A file for the state of one batch.

    `fingerprint` names method, settings and images; data, device and versions are the affair of who hands out the file.
    """

    path: Path
    fingerprint: str
    seconds: float = 0.0
    _started: float = field(default_factory=monotonic)
    _kept: float = field(default_factory=monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds of work, those before an interruption included."""
        return self.seconds + monotonic() - self._started

    def keep(self, at: Progress, parameters: Mapping[str, Tensor], adam: torch.optim.Optimizer) -> None:
        """Write the state, if the last one is old enough."""
        if monotonic() - self._kept < KEEP_EVERY:
            return
        arrays: dict[str, Any] = {
            "fingerprint": np.array(self.fingerprint),
            "at": np.array([at.stage, at.step]),
            "seconds": np.array(self.elapsed),
        }
        arrays |= {f"parameter.{name}": tensor.detach().cpu().numpy() for name, tensor in parameters.items()}
        for number, moments in adam.state_dict()["state"].items():
            arrays |= {f"moment.{number}.{key}": torch.as_tensor(moments[key]).cpu().numpy() for key in MOMENTS}
        with atomic_path(self.path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        self._kept = monotonic()

    def restore(self, parameters: Mapping[str, Tensor]) -> tuple[Progress, dict[int, dict[str, Tensor]]]:
        """Set the parameters as they were kept; nothing where there is no sound state of this fingerprint."""
        try:
            arrays = read_npz(self.path, max_bytes=LARGEST_BYTES)
            kept = {name: torch.from_numpy(arrays[f"parameter.{name}"]) for name in parameters}
            moments: dict[int, dict[str, Tensor]] = {}
            for _, number, name in (key.split(".") for key in arrays if key.startswith("moment.")):
                moments.setdefault(int(number), {})[name] = torch.from_numpy(arrays[f"moment.{number}.{name}"])
            seconds, (stage, step) = float(arrays["seconds"]), map(int, arrays["at"])
            same = str(arrays["fingerprint"]) == self.fingerprint
        except (InputError, KeyError, ValueError, TypeError, OverflowError):  # damaged, foreign, or of another shape
            return Progress(), {}
        if not same or any(kept[name].shape != tensor.shape for name, tensor in parameters.items()):
            return Progress(), {}
        for name, tensor in parameters.items():
            tensor.data.copy_(kept[name])
        self.seconds = seconds
        return Progress(stage, step), moments
