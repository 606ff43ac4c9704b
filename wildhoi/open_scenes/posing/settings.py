"""How people are posed: the numbers of `assets/open-v1/posing.toml`, the right side made from the left."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from wildhoi.body.layout import FINGERS
from wildhoi.mirror import REFLECTION
from wildhoi.open_scenes.version import FOLDER


@dataclass(frozen=True, eq=False)
class Anchor:
    """A point of the skin: vertices of a part near a point of a line between joints; see posing.toml."""

    part: str
    line: tuple[str, str]
    at: float
    offset: Float[np.ndarray, "3"]
    count: int
    joint: str
    faces: Float[np.ndarray, "3"]
    along: Float[np.ndarray, "3"]


@dataclass(frozen=True, eq=False)
class PosingSettings:
    """All of posing.toml; angles in radians, every mapping with both sides."""

    shape: Mapping[str, float]
    anchors: Mapping[str, Anchor]
    hands: Mapping[str, tuple[Float[np.ndarray, "15 3"], float]]
    limits: Mapping[str, Float[np.ndarray, "3 2"]]
    hinges: Mapping[str, tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]]
    stiffness: Mapping[str, float]
    variation: Mapping[str, float]
    wanted: Mapping[str, float]
    solver: Mapping[str, float]
    capsules: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    apart: Mapping[str, tuple[str, ...]]
    checks: Mapping[str, float]


ANGLES = ("along", "facing", "level", "gaze", "limits", "hinges")


@cache
def load_posing_settings() -> PosingSettings:
    """Read posing.toml, once per process."""
    table = tomllib.loads((FOLDER / "posing.toml").read_text())
    limits = {name: np.radians(np.array(ranges, np.float64)) for name, ranges in table["limits"].items()}
    hands = {name: (_finger_turns(entry), float(np.radians(entry["spread"]))) for name, entry in table["hands"].items()}
    hinges = {name: tuple(np.array(vector, np.float64) for vector in pair) for name, pair in table["hinges"].items()}
    apart = {name: tuple(others) for name, others in table["apart"].items()}
    return PosingSettings(
        shape=table["shape"],
        anchors=_both_sides({name: _anchor(entry) for name, entry in table["anchors"].items()}, _mirrored_anchor),
        hands=hands,
        limits=_both_sides(limits, _mirrored_range),
        hinges=_both_sides(hinges, lambda pair: tuple(vector * REFLECTION for vector in pair)),
        stiffness=_both_sides(_radians(table["stiffness"], table["stiffness"]), lambda value: value),
        variation=_both_sides(table["variation"], lambda value: value),
        wanted=_radians(table["wanted"], ANGLES),
        solver=_radians(table["solver"], ()),
        capsules={name: (tuple(a), tuple(b)) for name, (a, b) in table["capsules"].items()},
        apart=_both_sides(apart, lambda names: tuple(swap_sides(name) for name in names)),
        checks=_radians(table["checks"], ANGLES),
    )


def _radians(numbers: Mapping[str, float | int], angles: Any) -> dict[str, float]:
    return {name: float(np.radians(value)) if name in angles else float(value) for name, value in numbers.items()}


def _both_sides(entries: Mapping[str, Any], mirrored: Any) -> dict[str, Any]:
    """Entries of the left side and, mirrored, of the right one, and those of neither."""
    right = {swap_sides(name): mirrored(value) for name, value in entries.items() if name.startswith("left_")}
    return {**entries, **right}


def swap_sides(name: str) -> str:
    """The name of the other side's twin; a name without a side stays."""
    sides = {"left": "right", "right": "left"}
    return "_".join(sides.get(word, word) for word in name.split("_"))


def _anchor(entry: Mapping[str, Any]) -> Anchor:
    vectors = {name: np.array(entry[name], np.float64) for name in ("offset", "faces", "along")}
    for name in ("faces", "along"):
        vectors[name] /= np.linalg.norm(vectors[name])
    return Anchor(**{**entry, **vectors, "line": tuple(entry["line"])})


def _mirrored_anchor(anchor: Anchor) -> Anchor:
    first, second = anchor.line
    return Anchor(
        swap_sides(anchor.part),
        (swap_sides(first), swap_sides(second)),
        anchor.at,
        anchor.offset * REFLECTION,
        anchor.count,
        swap_sides(anchor.joint),
        anchor.faces * REFLECTION,
        anchor.along * REFLECTION,
    )


def _mirrored_range(bounds: Float[np.ndarray, "3 2"]) -> Float[np.ndarray, "3 2"]:
    return np.stack([bounds[0], -bounds[1, ::-1], -bounds[2, ::-1]])


def _finger_turns(entry: Mapping[str, Any]) -> Float[np.ndarray, "15 3"]:
    """Rotations of the left hand's joints, in the order of a body file: fingers bend about -z, the thumb as it is."""
    bend = np.radians(np.array([[0, 0, -angle] for angle in entry["bend"]], np.float64))
    thumb = np.radians(np.array(entry["thumb"], np.float64))
    return np.concatenate([thumb if finger == "thumb" else bend for finger in FINGERS])
