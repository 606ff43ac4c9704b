"""Object categories and their symmetry: the only reader of the category table `objects.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float

from wildhoi.errors import InputError
from wildhoi.geometry import axis_rotation, rotvec_to_matrix
from wildhoi.interactions import Interaction, read_interaction

Spec = Mapping[str, Any]

# One candidate per half degree or so on a continuous axis, for the errors that have no closed form (BOP steps by 1 %
# of the diameter, about 0.6 degrees); the best twist is a candidate by itself, so the step costs no exactness at zero.
AXIS_STEPS = 720

TABLE = Path(__file__).with_name("objects.toml")


@dataclass(frozen=True)
class Joint:
    """A movable part: the mesh file that turns, about the axis from one keypoint to another."""

    mesh: str
    axis_keypoints: tuple[str, str]


@dataclass(frozen=True)
class Release:
    """Where the raw WildHOI release keeps a category, and the extents of its template (3,), metres."""

    extents: tuple[float, float, float]
    meshes: tuple[str, ...]
    keypoints: tuple[tuple[str, tuple[str, ...]], ...]
    contact: tuple[str, ...]
    human_contact: str


@dataclass(frozen=True)
class BehaveFacts:
    """What BEHAVE's files say of a category; `coordinate_norm` (metres) is a network constant near half the extents."""

    index: int
    template: str
    template_vertices: int
    keypoints: int
    coordinate_norm: tuple[float, float, float]
    alias: str | None = None


@dataclass(frozen=True)
class Category:
    """One entry of the table; ids of keypoints are the keys of `keypoints.json`, permutations are 0-based."""

    name: str
    meshes: tuple[str, ...]
    keypoints: tuple[str, ...] = ()
    keypoint_flip: tuple[int, ...] = ()
    keypoint_permutations: tuple[tuple[int, ...], ...] = ()
    mirrored_images: bool = False
    mirror_axes: tuple[int, ...] | None = None
    symmetry: Spec = field(default_factory=lambda: MappingProxyType({}))
    joint: Joint | None = None
    contact: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    interactions: Mapping[str, Interaction] = field(default_factory=lambda: MappingProxyType({}))
    wildhoi: Release | None = None
    behave: BehaveFacts | None = None

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets that have this category."""
        named = {"wildhoi": self.wildhoi, "behave": self.behave}
        return tuple(name for name, facts in named.items() if facts)


@dataclass(frozen=True, eq=False)
class Symmetry:
    """The rotations that leave a template as it is, about `point` of the template frame (3,), metres.

    kind "finite": exactly `rotations` (n, 3, 3). kind "axis": every turn about the unit `axis` after one of
    `rotations` (identity, and the end-for-end flip where there is one). kind "sphere": every rotation.
    """

    kind: str
    point: Float[np.ndarray, "3"]
    rotations: Float[np.ndarray, "n 3 3"]
    axis: Float[np.ndarray, "3"] | None = None

    def nearest(self, relative: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
        """The element S nearest to a rotation of the template frame: least `angle(relative, S)`, in closed form."""
        if self.kind == "sphere":
            return relative
        candidates = self.rotations
        if self.axis is not None:
            candidates = np.stack([axis_rotation(self.axis, _twist(relative @ s.T, self.axis)) @ s for s in candidates])
        return np.asarray(candidates[np.argmax(np.einsum("nij,ij->n", candidates, relative))])

    @cached_property
    def _turns(self) -> Float[np.ndarray, "n 3 3"]:
        """The turns that a continuous axis is stepped by; the first is none."""
        angles = np.arange(AXIS_STEPS) * (2 * np.pi / AXIS_STEPS)
        return rotvec_to_matrix(angles[:, None] * (np.zeros(3) if self.axis is None else self.axis))

    def candidates(self, relative: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "n 3 3"]:
        """Elements dense enough for a minimum over the group of any smooth error near `relative`.

        A continuous axis is stepped finely, starting at the element nearest to `relative`; on a sphere that element
        alone stands for the group, because it leaves only the offset of the centres.
        """
        best = self.nearest(relative)
        if self.kind == "sphere":
            return best[None]
        if self.axis is None:
            return self.rotations
        return np.concatenate([self._turns @ best @ s for s in self.rotations])


def _twist(rotation: Float[np.ndarray, "3 3"], axis: Float[np.ndarray, "3"]) -> float:
    """The turn about `axis` nearest to a rotation, radians.

    It maximises `tr(Rot(a, t)^T R) = cos t (tr R - a R a) + sin t (a . w) + a R a`.
    """
    w = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    return float(np.arctan2(axis @ w, np.trace(rotation) - axis @ rotation @ axis))


def _direction(value: Any, keypoints: Mapping[str, np.ndarray]) -> Float[np.ndarray, "3"]:
    """The unit vector that an axis entry of the table stands for."""
    if isinstance(value[0], list | tuple):
        differences = [keypoints[a] - keypoints[b] for a, b in value]
        vector = differences[0] if len(differences) == 1 else np.cross(differences[0], differences[1])
    else:
        vector = np.asarray(value, np.float64)
    return np.asarray(vector / np.linalg.norm(vector))


def resolve_symmetry(spec: Spec, keypoints: Mapping[str, Float[np.ndarray, "3"]]) -> Symmetry:
    """Make the concrete group of a symmetry entry for the template whose keypoints (by id, metres) are given.

    Raises:
        InputError: the entry names a keypoint that the template lacks, or an unknown kind.
    """
    kind = spec.get("kind", "finite")
    try:
        point = np.asarray(spec.get("point", (0.0, 0.0, 0.0)), np.float64)
        if "point_keypoints" in spec:
            point = np.mean([keypoints[name] for name in spec["point_keypoints"]], axis=0)
        if "axis" not in spec:
            if kind not in ("finite", "sphere"):
                raise InputError(f"symmetry kind {kind!r} needs an axis")
            return Symmetry(kind, point, np.eye(3)[None])
        axis = _direction(spec["axis"], keypoints)
        across = _direction(spec["across"], keypoints) if "across" in spec else None
    except KeyError as error:
        raise InputError(
            f"symmetry names keypoint {error}, the template has {', '.join(keypoints) or 'none'}"
        ) from None
    if kind == "axis":
        ends = [np.eye(3), axis_rotation(_orthogonal(axis), np.pi)] if spec.get("flip") else [np.eye(3)]
        return Symmetry(kind, point, np.stack(ends), axis)
    if kind != "finite":
        raise InputError(f"symmetry kind {kind!r} is unknown: finite, axis or sphere")
    turns = [axis_rotation(axis, 2 * np.pi * k / spec["order"]) for k in range(spec["order"])]
    turns[0] = np.eye(3)
    if across is not None:
        # The published axes are fitted by hand: only exactly orthogonal ones generate a finite group.
        half_turn = axis_rotation(across - (across @ axis) * axis, np.pi)
        turns += [turn @ half_turn for turn in turns]
    return Symmetry(kind, point, np.stack(turns))


def _orthogonal(axis: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Some vector orthogonal to `axis`."""
    return np.asarray(np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))]))


def _freeze(value: Any) -> Any:
    """Lists of the parsed table as tuples, tables as read-only mappings."""
    if isinstance(value, list):
        return tuple(_freeze(item) for item in value)
    if isinstance(value, dict):
        return MappingProxyType({key: _freeze(item) for key, item in value.items()})
    return value


def _release(entry: Spec) -> Release:
    keypoints = tuple((group["file"], group["ids"]) for group in entry["keypoints"])
    return Release(**{**entry, "keypoints": keypoints})


@cache
def load_categories(path: Path = TABLE) -> Mapping[str, Category]:
    """Read the category table: name -> Category, sorted by name."""
    table = tomllib.loads(path.read_text())
    categories = {}
    for name, raw in sorted(table.items()):
        entry = dict(_freeze(raw))
        for key, make in (
            ("joint", lambda e: Joint(**e)),
            ("interactions", lambda e: MappingProxyType({kind: read_interaction(kind, e[kind]) for kind in e})),
            ("wildhoi", _release),
            ("behave", lambda e: BehaveFacts(**e)),
        ):
            if key in entry:
                entry[key] = make(entry[key])
        categories[name] = Category(name=name, **entry)
    return MappingProxyType(categories)


def find_category(name: str) -> Category:
    """Look a category up by name.

    Raises:
        InputError: there is none of that name.
    """
    categories = load_categories()
    if name not in categories:
        raise InputError(f"object {name!r} is unknown, want one of: {', '.join(categories)}")
    return categories[name]
