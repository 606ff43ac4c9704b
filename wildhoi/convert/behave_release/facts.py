"""What is known of the release: its table of facts, and how its sequences, frames and images are named."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from wildhoi.errors import InputError

FACTS = Path(__file__).parents[2] / "assets" / "behave_release.toml"

SEQUENCE = re.compile(r"(Date\d\d)_(Sub\d\d)_([a-z]+)(?:_([A-Za-z0-9-]+))?", re.ASCII)
FRAME = re.compile(r"t0\d{3}\.\d{3}", re.ASCII)


@cache
def load_facts() -> Mapping[str, Any]:
    """The table of facts."""
    return tomllib.loads(FACTS.read_text())


@dataclass(frozen=True)
class Sequence:
    """A sequence by its name `DateDD_SubSS_object[_action]`."""

    name: str
    date: str
    subject: str
    object: str
    action: str

    @property
    def parts(self) -> tuple[str, ...]:
        """This sequence and the second parts that belong to it."""
        second: Mapping[str, str] = load_facts()["second_parts"]
        return (self.name, *(part for part, first in second.items() if first == self.name))

    def image_id(self, frame: str, camera: int, *, whole_seconds: bool) -> str:
        """The id of an image, as StackFLOW writes it.

        Args:
            frame: the folder's name, such as t0026.000.
            camera: number of the Kinect.
            whole_seconds: frames are one second apart, so that `026` names one; else `026.000`.
        """
        time = frame[2:]
        if whole_seconds and time.endswith(".000"):
            time = time[:3]
        return f"{int(self.date[4:])}_{int(self.subject[3:])}_{self.object}_{self.action}_{time}_{camera}"


def parse_sequence(name: str) -> Sequence:
    """Take a sequence's name apart.

    Raises:
        InputError: it has another form.
    """
    match = SEQUENCE.fullmatch(name)
    if match is None:
        raise InputError(f"sequence {name[:80]!r}: want a name such as Date03_Sub04_object_action")
    return Sequence(name, match[1], match[2], match[3], match[4] or "none")


def first_part(name: str) -> str:
    """The sequence that a second part belongs to; any other is its own."""
    first: str = load_facts()["second_parts"].get(name, name)
    return first
