"""Naming the parts of a body by one table of rules, evaluated on any model's rest pose.

The rest pose is the T-pose: y up, facing +z, left hand towards +x, palms down.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from wildhoi.body.layout import FINGERS, SIDES

AXES = {"x": 0, "y": 1, "z": 2}

Span = tuple[str, str, str, float, float]  # axis, joint at 0, joint at 1, from, to


@dataclass(frozen=True)
class Rule:
    """Vertices that mostly follow some joints and pass every condition given; `{side}` stands for left and right."""

    joints: tuple[str, ...]
    facing: tuple[float, float, float] | None = None  # rest normal within `degrees` of this, for the left side
    degrees: float = 60.0
    spans: tuple[Span, ...] = ()
    box: tuple[str, float, float] | None = None  # axis, from, to: shares of the extent of the vertices of the joints


DOWN, UP, FRONT, REAR, INWARD = (0.0, -1.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, -1.0), (-1.0, 0.0, 0.0)
BELOW_REAR = (0.0, -0.4, -1.0)
HAND = ("{side}_wrist", *(f"{{side}}_{finger}{k}" for finger in FINGERS for k in (1, 2, 3)))
FOOT = ("{side}_ankle", "{side}_foot")
LEG = ("pelvis", "{side}_hip", "{side}_knee")
HEAD = ("head", "jaw", "left_eye", "right_eye")
TRUNK = ("pelvis", "left_hip", "right_hip", "spine1", "spine2", "spine3", "left_collar", "right_collar",
         "left_shoulder", "right_shoulder")  # fmt: skip
BETWEEN_ARMS: Span = ("x", "right_shoulder", "left_shoulder", 0.05, 0.95)

# plural: (singular, rule); each gives left_SINGULAR, right_SINGULAR and, both together, PLURAL.
SIDED: dict[str, tuple[str, Rule]] = {
    "hands": ("hand", Rule(HAND)),
    "palms": ("palm", Rule(HAND, facing=DOWN)),
    "feet": ("foot", Rule(FOOT)),
    "soles": ("sole", Rule(FOOT, facing=DOWN, degrees=50.0, box=("y", 0.0, 0.35))),
    "upper_arms": ("upper_arm", Rule(("{side}_shoulder",))),
    "forearms": ("forearm", Rule(("{side}_elbow",))),
    "thighs": ("thigh", Rule(LEG, spans=(("y", "{side}_hip", "{side}_knee", 0.15, 0.9),))),
    "inner_thighs": (
        "inner_thigh",
        Rule(LEG, facing=INWARD, degrees=70.0, spans=(("y", "{side}_hip", "{side}_knee", 0.15, 0.8),)),
    ),
    "knees": ("knee", Rule(LEG, facing=FRONT, degrees=80.0, spans=(("y", "{side}_hip", "{side}_knee", 0.86, 1.14),))),
    "shins": ("shin", Rule(LEG, facing=FRONT, degrees=80.0, spans=(("y", "{side}_knee", "{side}_ankle", 0.15, 0.95),))),
    "calves": ("calf", Rule(LEG, facing=REAR, degrees=80.0, spans=(("y", "{side}_knee", "{side}_ankle", 0.0, 0.8),))),
    "shoulders": (
        "shoulder",
        Rule(
            ("{side}_collar", "{side}_shoulder", "spine3"),
            facing=UP,
            degrees=75.0,
            spans=(("x", "{side}_shoulder", "{side}_elbow", -0.3, 0.3),),
        ),
    ),
}
MIDDLE: dict[str, Rule] = {
    "head": Rule(HEAD),
    "chin": Rule(HEAD, facing=(0.0, -0.4, 1.0), degrees=80.0, box=("y", 0.0, 0.2)),
    "neck": Rule(("neck",)),
    "back": Rule(TRUNK, facing=REAR, degrees=70.0, spans=(BETWEEN_ARMS, ("y", "spine1", "neck", 0.0, 0.9))),
    "chest": Rule(TRUNK, facing=FRONT, degrees=70.0, spans=(BETWEEN_ARMS, ("y", "spine3", "neck", -0.1, 0.8))),
    "belly": Rule(TRUNK, facing=FRONT, degrees=70.0, spans=(BETWEEN_ARMS, ("y", "pelvis", "spine3", 0.1, 0.9))),
    "bottom": Rule(TRUNK, facing=BELOW_REAR, degrees=75.0, spans=(("y", "left_hip", "left_knee", -0.2, 0.3),)),
}


def find_parts(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    weights: Float[np.ndarray, "v j"],
    joints: Mapping[str, Float[np.ndarray, " 3"]],
) -> dict[str, Int[np.ndarray, " n"]]:
    """Evaluate the table on a rest pose.

    Args:
        vertices: rest pose, metres.
        faces: counter-clockwise from outside.
        weights: skinning weights, columns in the order of `joints`.
        joints: rest position by name, in the order of the model's joints.

    Returns:
        Sorted vertex numbers by part name: `chin`, `left_palm`, `right_palm`, `palms`, ...
    """
    normals, names = vertex_normals(vertices, faces), list(joints)
    strongest = np.array(names)[weights.argmax(1)]

    def find(rule: Rule, side: str) -> Int[np.ndarray, " n"]:
        chosen = np.isin(strongest, [name.format(side=side) for name in rule.joints])
        if "pelvis" in rule.joints and "{side}_hip" in rule.joints:
            chosen &= (vertices[:, 0] > 0) == (side == "left")
        if rule.box is not None:
            axis, low, high = rule.box
            chosen &= _between(vertices[:, AXES[axis]], *_extent(vertices[chosen, AXES[axis]]), low, high)
        for axis, start, end, low, high in rule.spans:
            at = [float(joints[name.format(side=side)][AXES[axis]]) for name in (start, end)]
            chosen &= _between(vertices[:, AXES[axis]], at[0], at[1], low, high)
        if rule.facing is not None:
            direction = np.array(rule.facing) * (-1 if side == "right" else 1, 1, 1)
            chosen &= normals @ (direction / np.linalg.norm(direction)) > np.cos(np.radians(rule.degrees))
        return np.flatnonzero(chosen)

    parts = {name: find(rule, "") for name, rule in MIDDLE.items()}
    for plural, (singular, rule) in SIDED.items():
        both = {f"{side}_{singular}": find(rule, side) for side in SIDES}
        parts |= both | {plural: np.sort(np.concatenate(list(both.values())))}
    return parts


def vertex_normals(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "v 3"]:
    """Area-weighted unit normals; zero at vertices without a face."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(total, faces[:, k], normals)
    total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)
    return total


def _extent(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


def _between(
    values: Float[np.ndarray, " n"], start: float, end: float, low: float, high: float
) -> Bool[np.ndarray, " n"]:
    share = (values - start) / (end - start)
    return (low <= share) & (share <= high)
