"""What names a version of the open set, and where the numbers that shape it are."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "assets" / "open-v1"


@dataclass(frozen=True)
class Version:
    """All of version.toml."""

    version: int
    seed: int
    development_seed: int
    objects: tuple[str, ...]
    train: int
    test: int
    layouts: int
    frozen: dict[str, str]


@cache
def load_version() -> Version:
    """Read version.toml, once per process."""
    entries = tomllib.loads((FOLDER / "version.toml").read_text())
    return Version(**{**entries, "objects": tuple(entries["objects"])})
