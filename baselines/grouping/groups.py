"""What grouping is told and what it gives: settings, and the neighbours of every view."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from wildhoi.errors import InputError
from wildhoi.method import require_known

DISTANCES = ("true", "unnormalised")
POOL = 8
"""Times k: how many views neighbours are chosen from."""
STEEPNESS = 1e5
"""Of the training weight, per metre to the fourth (published code): half the weight is lost at 6.4 cm."""
LEAST_MEMORY = 2**20


@dataclass(frozen=True)
class GroupSettings:
    """How views are grouped; the defaults are the published code's.

    Attributes:
        k: neighbours of a view.
        distance: `true`, of lines in space, or `unnormalised`, as equation 11 is printed.
        pool: how many exact nearest views the selection chooses from; all, where there are fewer. None: 8 k.
        consistency: share of the mean distance to the neighbours already taken, beside that to the view itself; 0: off.
        diversity: a view is taken only where it differs by more than this from those already taken, in the mean
            absolute component of X_2.5D as unit vectors; the view itself does not count, as published; 0: off.
        threshold: metres; views further away are no neighbours. None: off.
        rounds: None: all pairs are compared, and the pool is exact. Else so many rounds of a search among neighbours of
            neighbours, whose cost grows with the number of views and not with its square.
        memory: bytes that the work on a block of views may take, beside the views themselves; no result depends on it.
    """

    k: int = 16
    distance: str = "true"
    pool: int | None = None
    consistency: float = 0.5
    diversity: float = 0.2
    threshold: float | None = None
    rounds: int | None = None
    memory: int = 2**30

    def __post_init__(self) -> None:
        _require_sound(self.to_dict())

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "GroupSettings":
        """Settings of a table, such as a file's.

        Raises:
            InputError: a name is unknown, or a value is none that it may have.
        """
        defaults = cls().to_dict()
        require_known("grouping", values, defaults)
        _require_sound(defaults | dict(values))
        whole = ("k", "pool", "rounds", "memory")  # where a table says 1, a number of any other setting is meant as 1.0
        given: dict[str, Any] = {n: float(v) if type(v) is int and n not in whole else v for n, v in values.items()}
        return cls(**given)

    @property
    def candidates(self) -> int:
        """How many views the selection chooses from."""
        return POOL * self.k if self.pool is None else self.pool

    def to_dict(self) -> dict[str, Any]:
        """By name, for files and reports."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


def _require_sound(values: Mapping[str, Any]) -> None:
    """Refuse values of settings, all of them given, that are not what they may be."""
    k, pool, threshold, rounds = (values[name] for name in ("k", "pool", "threshold", "rounds"))
    checks = {
        "k": (_whole(k, 1), "a whole number from 1"),
        "distance": (values["distance"] in DISTANCES, " or ".join(DISTANCES)),
        "pool": (pool is None or _whole(pool, 1), "a whole number from 1, or none"),
        "consistency": (_number(values["consistency"], 0.0, 1.0), "a share from 0 to 1"),
        "diversity": (_number(values["diversity"], 0.0, 2.0), "a number from 0 to 2"),
        "threshold": (threshold is None or (_number(threshold, 0.0) and threshold > 0), "metres above 0, or none"),
        "rounds": (rounds is None or _whole(rounds, 1), "a whole number from 1, or none"),
        "memory": (_whole(values["memory"], LEAST_MEMORY), f"a whole number of bytes, at least {LEAST_MEMORY:,}"),
    }
    for name, (good, what) in checks.items():
        if not good:
            raise InputError(f"grouping: {name} is {values[name]!r}, want {what}")
    if pool is not None and pool < k:
        raise InputError(f"grouping: pool is {pool}, want at least k = {k}: neighbours are chosen from it")


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _number(value: Any, least: float, most: float = float("inf")) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and bool(np.isfinite(value)) and least <= value <= most


@dataclass(frozen=True, eq=False)
class Groups:
    """The neighbours of every view (paper, equation 12), in the order in which they were taken.

    The neighbours of a smaller k are thus the first of a row, where the pool is the same.

    Attributes:
        object: its name.
        view_ids: of the views, in order.
        neighbours: places in `view_ids`; -1 where there are fewer than k.
        distances: to the view itself, metres (`unnormalised`: metres times a sine); infinite where there is none.
        settings: that they were made with.
        provenance: where the views come from: data, revision, split and the like.
    """

    object: str
    view_ids: tuple[str, ...]
    neighbours: Int[np.ndarray, "n k"]
    distances: Float[np.ndarray, "n k"]
    settings: GroupSettings = GroupSettings()
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.view_ids)

    def weights(self, steepness: float = STEEPNESS) -> Float[np.ndarray, "n k"]:
        """The training weight of each neighbour: `(x + 1) e^-x` for `x = steepness d^4`; 0 where there is none.

        The view itself has weight 1. Source: published code.
        """
        # beyond 700 the exponential is 0 in float64; an infinite x would give infinity times zero
        x = np.minimum(steepness * self.distances.astype(np.float64) ** 4, 700.0)
        return np.where(self.neighbours < 0, 0.0, (x + 1) * np.exp(-x))
