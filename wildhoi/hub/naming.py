"""What repositories of the Hub are called, and where they are.

`HF_ENDPOINT`, `HF_HUB_OFFLINE` and `WILDHOI_HUB_OWNER` are read when something is asked, not at import.
"""

import os
import re
from dataclasses import dataclass
from typing import Literal

from wildhoi.errors import InputError

OWNER = "wildhoi"
Kind = Literal["dataset", "model"]
KIND: Kind = "dataset"
PART = r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"


@dataclass(frozen=True)
class Asked:
    """What was asked of the Hub: a thing by the name the user gave, its repository, a revision or None, the kind."""

    name: str
    repository: str
    revision: str | None = None
    kind: Kind = KIND

    def __str__(self) -> str:
        return f"{self.repository} @ {self.revision or 'main'}"


def repository(name: str) -> str:
    """The repository of a data set: the owner's (`WILDHOI_HUB_OWNER` overrides it), or the name itself if it has a "/".

    Raises:
        InputError: it is no name that a repository can have.
    """
    owner = os.environ.get("WILDHOI_HUB_OWNER") or OWNER
    full = name if "/" in name else f"{owner}/{name}"
    if not re.fullmatch("/".join(f"(?:{PART})" for _ in range(2)), full, re.ASCII):
        raise InputError(f"{full!r} is no repository; want NAME or OWNER/NAME of letters, digits, '-', '_' and '.'")
    return full


def endpoint() -> str:
    """The address of the Hub."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def access_url(repository: str, kind: Kind = KIND) -> str:
    """The page of a repository, where a gate's terms are accepted."""
    return f"{endpoint()}/{'datasets/' if kind == 'dataset' else ''}{repository}"


def is_offline() -> bool:
    """Whether the user has forbidden requests."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
