"""What groups are worth: how near neighbours are, how many count, and what they share where it is known."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from baselines.grouping.groups import STEEPNESS, Groups
from wildhoi.errors import InputError
from wildhoi.views import Views

FEWEST_EFFECTIVE = 4.0
"""Below so many effective neighbours a prior learns little but the views it is shown."""
QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Agreement:
    """How often neighbours share something that the views are known by."""

    share: float
    """Of the neighbours, where both views' is known."""
    chance: float
    """The share, were neighbours drawn at random."""
    best: float
    """The share, were as many neighbours as there are with the same taken first."""
    kinds: int
    """How many different ones there are."""


@dataclass(frozen=True)
class GroupReport:
    """Facts about groups; quantiles are 10, 50 and 90 % over views.

    Attributes:
        object: its name.
        views: how many.
        k: neighbours asked for.
        neighbours: found, mean over views.
        short: share of the views that have fewer than k.
        nearest: distance of the neighbour taken first, metres.
        distance_at_k: of the furthest neighbour, metres.
        effective: neighbours of a view after weighting, `(sum w)^2 / sum w^2 - 1` with the view itself at weight 1.
        same_scene: None where no two views are known to be of one scene.
        same_interaction: None where it is not known.
        warnings: what makes the groups of little use.
    """

    object: str
    views: int
    k: int
    neighbours: float
    short: float
    nearest: tuple[float, ...]
    distance_at_k: tuple[float, ...]
    effective: tuple[float, ...]
    same_scene: Agreement | None
    same_interaction: Agreement | None
    warnings: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """By name, for JSON; quantiles of nothing are None."""
        found = asdict(self)
        for name in ("nearest", "distance_at_k", "effective"):
            found[name] = [None if np.isnan(value) else value for value in found[name]]
        return found


def effective_neighbours(groups: Groups, steepness: float = STEEPNESS) -> Float[np.ndarray, " n"]:
    """How many equally weighted neighbours each view's are worth.

    The effective number of views that train, `(sum w)^2 / sum w^2` with the view itself at weight 1, less that one: k
    where all weigh 1, 0 where none weighs anything.
    """
    weights = groups.weights(steepness)
    number = (1 + weights.sum(axis=1)) ** 2 / (1 + (weights**2).sum(axis=1)) - 1
    return np.asarray(number)


def make_report(groups: Groups, views: Views, *, steepness: float = STEEPNESS) -> GroupReport:
    """Say what groups are worth.

    Args:
        groups: of these views.
        views: with their scenes and interactions, where known.
        steepness: of the training weight.

    Raises:
        InputError: the groups are of other views.
    """
    if groups.view_ids != views.view_ids:
        raise InputError(
            f"{groups.object}: the groups are of {len(groups)} views, and not of these {len(views.view_ids)}; "
            "group them again"
        )
    found = groups.neighbours >= 0
    some = found.any(axis=1)
    ends = np.where(found, groups.distances, 0).max(axis=1)[some]
    effective = effective_neighbours(groups, steepness)
    scenes, interactions = _agreement(views.scene_ids, groups), _agreement(views.interactions, groups)
    return GroupReport(
        object=groups.object,
        views=len(groups),
        k=groups.settings.k,
        neighbours=float(found.sum(axis=1).mean()),
        short=float((~found.all(axis=1)).mean()),
        nearest=_quantiles(groups.distances[some, 0]),
        distance_at_k=_quantiles(ends),
        effective=_quantiles(effective),
        same_scene=scenes if scenes and scenes.best else None,
        same_interaction=interactions,
        warnings=tuple(_warnings(groups, effective, interactions)),
    )


def _quantiles(values: Float[np.ndarray, " n"]) -> tuple[float, ...]:
    if not len(values):
        return (np.nan,) * len(QUANTILES)
    return tuple(float(value) for value in np.quantile(values.astype(np.float64), QUANTILES))


def _agreement(names: Sequence[str | None], groups: Groups) -> Agreement | None:
    """How often neighbours have the same name; None where no neighbours of known name are."""
    counts = Counter(name for name in names if name is not None)
    codes = {name: code for code, name in enumerate(counts)}
    code = np.array([-1 if name is None else codes[name] for name in names])
    near = groups.neighbours
    known: Bool[np.ndarray, "n k"] = (near >= 0) & (code[near] >= 0) & (code >= 0)[:, None]
    if not known.any():
        return None
    same = known & (code[near] == code[:, None])
    others = np.array([counts[name] - 1 if name is not None else 0 for name in names])
    of_each = known.sum(axis=1)
    chance = (of_each * others).sum() / max(1, sum(counts.values()) - 1)
    best = np.minimum(of_each, others).sum()
    total = of_each.sum()
    return Agreement(float(same.sum() / total), float(chance / total), float(best / total), len(counts))


def _warnings(groups: Groups, effective: Float[np.ndarray, " n"], interactions: Agreement | None) -> list[str]:
    warnings = []
    median = float(np.median(effective))
    if median < FEWEST_EFFECTIVE:
        warnings.append(
            f"half of the views have {median:.1f} effective neighbours or fewer, want {FEWEST_EFFECTIVE:g}: the prior "
            "will learn little but the views themselves; take more views, or more exact keypoints, or a larger k"
        )
    if groups.settings.distance != "true":
        warnings.append("distances are not divided by the sine between the rays: no metres, and near for alike views")
    if interactions is not None and interactions.kinds == 1:
        warnings.append("all views are of one interaction: the share of the same interaction says nothing")
    return warnings
