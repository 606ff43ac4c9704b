"""The key of a study: which method is where, and what the pictures were made from. Raters never get it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluation.study.drawing import Trial
from wildhoi.errors import InputError
from wildhoi.files import read_json, write_text

KEY, PAGE = "key.json", "page"
FORMAT = 1
METHODS = ("A", "B")


@dataclass(frozen=True)
class Contender:
    """A submission in a study: its method's name, its folder's name, and the sha256 of its predictions."""

    name: str
    folder: str
    sha256: str


@dataclass(frozen=True)
class Key:
    """What is known of a study beside its page.

    Attributes:
        study: its name, a hash of everything that raters see.
        methods: the two submissions, A and B.
        trials: in the order of their numbers.
        ties: whether raters may say that two are about the same.
        seed: that all was drawn with.
        dataset: name, revision and split.
        body: kind and sha256 of the body model that was posed.
        left_out: images of the data that only A, only B or neither reconstructed.
    """

    study: str
    methods: Mapping[str, Contender]
    trials: tuple[Trial, ...]
    ties: bool
    seed: int
    dataset: Mapping[str, str]
    body: Mapping[str, str]
    left_out: Mapping[str, int]


def write_key(folder: Path, key: Key) -> None:
    """Write a study's key into its folder."""
    content = {"format": FORMAT, **asdict(key)}
    write_text(folder / KEY, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_key(folder: Path) -> Key:
    """Read the key of a study.

    Raises:
        InputError: the folder is no study, or its key is damaged.
    """
    path = folder / KEY
    if not path.is_file():
        raise InputError(f"{folder}: has no {KEY}, want a folder that `wildhoi study make` wrote")
    content = read_json(path)
    try:
        key = _key(content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise InputError(f"{path}: not the key of a study as this version writes it; make the study again") from None
    names = {trial.name for trial in key.trials}
    if len(names) != len(key.trials) or not all(t.repeats is None or t.repeats in names for t in key.trials):
        raise InputError(f"{path}: its trials are not one of each number; make the study again")
    return key


def _key(content: Any) -> Key:
    """A key from plain data; any error where it is something else."""
    if content["format"] != FORMAT or set(content["methods"]) != set(METHODS):
        raise ValueError("another format")
    trials = tuple(Trial(**trial) for trial in content["trials"])
    texts = [text for t in trials for text in (t.name, t.image_id, t.object, t.video_id, t.left)]
    texts += [t.repeats for t in trials if t.repeats is not None]
    if not trials or not all(isinstance(text, str) for text in texts) or not {t.left for t in trials} <= {*METHODS}:
        raise ValueError("odd trials")
    if not isinstance(content["study"], str) or not isinstance(content["ties"], bool):
        raise TypeError("an odd head")
    methods = {name: Contender(**content["methods"][name]) for name in METHODS}
    if not all(isinstance(text, str) for each in methods.values() for text in asdict(each).values()):
        raise TypeError("odd methods")
    tables = {name: dict(content[name]) for name in ("dataset", "body", "left_out")}
    return Key(content["study"], methods, trials, content["ties"], int(content["seed"]), **tables)
