"""How far two submissions of one method are apart: image by image, and in the means that are reported."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wildhoi.geometry import geodesic_angle, rotvec_to_matrix
from wildhoi.objects import Symmetry
from wildhoi.schema import Reconstruction

FLOORS: Mapping[str, float] = {"cm": 0.1, "deg": 0.1, "%": 0.5, "": 0.01}
"""By unit: differences of means that are below what anybody reports, whatever share of a small number they are."""
CM = 100.0

Pair = tuple[Reconstruction, Reconstruction]
Differences = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Spread:
    """A difference over images."""

    median: float
    maximum: float


@dataclass(frozen=True)
class Means:
    """A headline metric's mean over the compared images, of the reference and of the refit; None of nothing."""

    reference: float | None
    refit: float | None
    unit: str

    def agree(self, tolerance: float) -> bool:
        """Whether they differ by no more than a share of the reference, or than the unit's floor."""
        if self.reference is None or self.refit is None:
            return self.reference is self.refit
        return abs(self.refit - self.reference) <= max(tolerance * abs(self.reference), FLOORS[self.unit])


@dataclass(frozen=True)
class Group:
    """An object's images, or all: how far the refit's predictions are from the reference's, and the means of both.

    `differences` are of the object's translation in cm, rotation in degrees (symmetries count; a sphere has none) and
    scale in percent, and of the body pose in degrees: of each image the joint that differs most.
    """

    images: int
    differences: Mapping[str, Spread]
    means: Mapping[str, Means]


@dataclass(frozen=True)
class Reproduction:
    """What came of a reference made again.

    `unequal` are images of which only one side has a reconstruction, `failed` those that neither has, `notes` what a
    reader should know.
    """

    method: str
    dataset: str
    protocol: str
    tolerance: float
    overall: Group
    objects: Mapping[str, Group]
    unequal: tuple[str, ...] = ()
    failed: int = 0
    notes: tuple[str, ...] = ()

    @cached_property
    def differing(self) -> tuple[str, ...]:
        """The headline metrics whose means over all images differ by more than the tolerance."""
        return tuple(name for name, means in self.overall.means.items() if not means.agree(self.tolerance))

    @property
    def passed(self) -> bool:
        """Whether both sides reconstruct the same images, and every headline mean agrees."""
        return not self.unequal and not self.differing

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {"passed": self.passed, "differing": list(self.differing), **asdict(self)}


def find_differences(pairs: Sequence[Pair], symmetry: Symmetry) -> Differences:
    """How far the sides of every image are apart, by kind; see `Group`."""
    kinds: dict[str, Callable[[Reconstruction, Reconstruction], float]] = {
        "translation": lambda a, b: CM * float(np.linalg.norm(b.object_pose.translation - a.object_pose.translation)),
        "rotation": lambda a, b: _turn(a, b, symmetry),
        "scale": lambda a, b: 100 * abs(b.object_pose.scale / a.object_pose.scale - 1),
        "body_pose": _bend,
    }
    if symmetry.kind == "sphere":
        del kinds["rotation"]
    return {kind: [difference(*pair) for pair in pairs] for kind, difference in kinds.items()}


def _turn(a: Reconstruction, b: Reconstruction, symmetry: Symmetry) -> float:
    """The angle between two poses of the object, the least over its symmetries; degrees."""
    relative = a.object_pose.rotation.T @ b.object_pose.rotation
    return float(np.degrees(geodesic_angle(relative, symmetry.nearest(relative))))


def _bend(a: Reconstruction, b: Reconstruction) -> float:
    """The largest angle between the joints of two bodies, degrees."""
    turns = geodesic_angle(*(rotvec_to_matrix(side.human.body_pose) for side in (a, b)))
    return float(np.degrees(turns.max()))


def join_differences(groups: Iterable[Differences]) -> Differences:
    """The differences of several objects as those of all their images."""
    found: dict[str, list[float]] = {}
    for group in groups:
        for kind, values in group.items():
            found.setdefault(kind, []).extend(values)
    return found


def find_spreads(differences: Differences) -> dict[str, Spread]:
    """Median and maximum of each kind of difference that has any."""
    return {kind: Spread(float(np.median(v)), float(max(v))) for kind, v in differences.items() if v}
