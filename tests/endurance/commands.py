"""The commands whose work is long, on inputs so small that each takes about a second."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training_sets import THING

KILLS = int(os.environ.get("WILDHOI_KILLS", "3"))
"""How often each command is killed."""
LONG = KILLS > 3
"""Whether there is time for more than the default tests do."""
OBJECTS = "tennis,cello"
FIRST = OBJECTS.split(",")[0]
PICTURES = f"pictures_every={int(LONG)}"
SETTINGS = ("batch=8", "draws=2", "size=16", "context=4", "patience=2", "held_out=0.1", PICTURES)
TRAIN = ["--epochs", 2, "--k", 2, "--device", "cpu", *(word for each in SETTINGS for word in ("--set", each))]


@dataclass(frozen=True)
class Inputs:
    """What commands read, in a folder: a raw release, an open set, a submission, a set to train on with its maps."""

    place: Path

    @property
    def raw(self) -> Path:
        return self.place / "raw"

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def submission(self) -> Path:
        return self.place / "submission"

    @property
    def train(self) -> Path:
        return self.place / "train"

    @property
    def means(self) -> Path:
        return self.place / "means.npz"


@dataclass(frozen=True)
class Command:
    """A command that may be killed and started again.

    Attributes:
        words: what it is called with, given its inputs and the folder it writes.
        again: what is said besides when it is started again.
        finished: whether a folder claims to hold its whole result.
        workers: whether it has them.
    """

    name: str
    words: Callable[[Inputs, Path], Sequence]
    finished: Callable[[Path], bool]
    again: tuple[str, ...] = ()
    workers: bool = True

    def line(self, inputs: Inputs, out: Path, workers: int = 1, *, again: bool = False) -> list:
        more = ["--workers", workers] if self.workers else []
        return [*self.words(inputs, out), *more, *(self.again if again else ())]


def _there(name: str) -> Callable[[Path], bool]:
    return lambda out: (out / name).is_file()


def _is_trained(out: Path) -> bool:
    config = out / THING / "config.json"
    return config.is_file() and json.loads(config.read_text())["finished"]


COMMANDS = {
    command.name: command
    for command in (
        Command(
            "convert",
            lambda given, out: ["data", "convert", "wildhoi", given.raw, "--objects", "skateboard", "-o", out],
            _there("dataset.json"),
        ),
        Command(
            "make",
            lambda given, out: [
                "data", "make", "open", "--objects", OBJECTS, "--test", 2, "--train", 0, "--size", 64, "-o", out,
            ],
            _there("dataset.json"),
        ),
        Command(
            "run",
            lambda given, out: ["run", "isolation", "--data", given.data, "--batch", 1, "--device", "cpu", "-o", out],
            _there("submission.yaml"),
            ("--resume",),
        ),
        Command(
            "evaluate",
            lambda given, out: ["evaluate", given.submission, "--data", given.data, "--objects", FIRST, "-o", out],
            _there("scores.json"),
        ),
        Command(
            "train",
            lambda given, out: [
                "train", "flow-prior", "--data", given.train, "--object", THING, "--contact", given.means, *TRAIN,
                "-o", out,
            ],
            _is_trained,
            ("--resume",),
            workers=False,
        ),
        Command(
            "group",
            lambda given, out: [
                "group", "--data", given.train, "--object", THING, "--k", 2, "--device", "cpu",
                "-o", out / "groups.npz",
            ],
            _there("groups.npz"),
        ),
    )
}  # fmt: skip
LONGER = {
    command.name: command
    for command in (
        Command(
            "solve",
            lambda given, out: [
                "data", "make", "open", "--objects", OBJECTS, "--test", 1, "--train", 2, "--layouts", 2, "--size", 64,
                "-o", out,
            ],
            _there("dataset.json"),
        ),
        Command(
            "fit",
            lambda given, out: [
                "run", "phosa", "--data", given.data, "--set", "steps=4,2", "--batch", 1, "--device", "cpu", "-o", out,
            ],
            _there("submission.yaml"),
            ("--resume",),
        ),
    )
}  # fmt: skip
"""What only the long tests do: scenes that are solved, and a method that keeps what it has of a batch."""
