"""What a solved scene must pass: contacts that touch, nothing deep in anything, feet on the ground, sound joints."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from wildhoi.body import pose_people
from wildhoi.body.layout import BODY_JOINTS
from wildhoi.open_scenes.posing.kinematics import State, rotation_vectors
from wildhoi.open_scenes.posing.settings import PosingSettings
from wildhoi.open_scenes.posing.skin import find_patches
from wildhoi.open_scenes.posing.solving import Posed, Solved
from wildhoi.open_scenes.posing.terms import joint_ranges
from wildhoi.open_scenes.posing.wishes import Problem
from wildhoi.templates import Template

TRUNK = ("pelvis", "spine1", "spine2", "spine3", "neck")


class Verdict(NamedTuple):
    """How good a solved scene is; metres and radians.

    Attributes:
        gaps: of every contact, between the part's skin and the object's.
        inside: how deep the deepest vertex of either is in the other.
        limbs: how deep an arm or leg is in another part of the body, by their proxies and beyond what both skins give.
        below: how far the lowest vertex of either is below the ground; 0 where the ground does not matter.
        beyond: the largest excess over a joint's range.
        strain: how far trunk and neck are from the posture that was drawn, in standard deviations.
    """

    gaps: tuple[float, ...]
    inside: float
    limbs: float
    below: float
    beyond: float
    strain: float

    def reason(self, settings: PosingSettings) -> str | None:
        """Why the scene is refused; None where it holds."""
        limits = settings.checks
        reasons = {
            "a contact is open": max(self.gaps, default=0.0) > limits["gap"],
            "body and object are in each other": self.inside > limits["inside"],
            "limbs are in each other": self.limbs > limits["limbs"],
            "something is below the ground": self.below > limits["ground"],
            "a joint is beyond its range": self.beyond > limits["limits"],
            "the posture is strained": self.strain > limits["strain"],
        }
        return next((why for why, wrong in reasons.items() if wrong), None)


def check(solved: Solved, posed: Sequence[Posed], template: Template, settings: PosingSettings) -> list[Verdict]:
    """Check solved scenes on their whole surfaces."""
    problem, state = solved.problem, solved.state
    skins = pose_people([scene.human for scene in posed], problem.body).vertices
    figures = [_beyond_ranges(state, settings), _strain(problem, state, settings)]
    figures.append(solved.proxies.deepest_limb(problem.kinematics.pose(state)))
    beyond, strain, limbs = (figure.double().cpu().numpy() for figure in figures)
    verdicts = []
    for row, scene in enumerate(posed):
        thing = template.posed(scene.object_pose, articulate=True)
        deepest = max(
            depth_inside(thing, skins[row], problem.body.faces), depth_inside(skins[row], thing, template.faces)
        )
        gaps = _gaps(problem, skins[row], thing, template.faces)
        below = _below_ground(problem, scene, skins[row], thing)
        verdicts.append(Verdict(gaps, deepest, float(limbs[row]), below, float(beyond[row]), float(strain[row])))
    return verdicts


def _beyond_ranges(state: State, settings: PosingSettings) -> Float[Tensor, " b"]:
    angles = rotation_vectors(state.rotations).flatten(1)
    low, high = joint_ranges(settings, angles)
    excess: Tensor = torch.maximum(angles - high, low - angles).amax(1)
    return excess


def _strain(problem: Problem, state: State, settings: PosingSettings) -> Float[Tensor, " b"]:
    """The largest turn of a joint of the trunk away from what was drawn, in units of its stiffness."""
    away = rotation_vectors(problem.start.rotations.transpose(-1, -2) @ state.rotations)
    rows = [BODY_JOINTS.index(name) for name in TRUNK]
    stiffness = away.new_tensor([settings.stiffness[name] for name in TRUNK])
    strain: Tensor = (torch.linalg.vector_norm(away[:, rows], dim=-1) / stiffness).amax(1)
    return strain


def _gaps(
    problem: Problem, skin: Float[np.ndarray, "v 3"], thing: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[float, ...]:
    """The distance of each contact's nearest vertex from the object's surface."""
    import igl

    patches = find_patches(problem.body)
    touches = [touch for touch in problem.interaction.touch if touch.loose is None]
    groups = [patches.vertices[row] for row in patches.rows([touch.body for touch in touches])]
    if not groups:
        return ()
    squared = igl.point_mesh_squared_distance(skin[np.concatenate(groups)], thing, faces)[0]
    ends = np.cumsum([len(group) for group in groups])[:-1]
    return tuple(float(np.sqrt(part.min())) for part in np.split(squared, ends))


def depth_inside(
    points: Float[np.ndarray, "n 3"], vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> float:
    """How deep the deepest point is inside a mesh, metres; 0 where none is.

    Inside is where the mesh winds around a point; only points in the mesh's box are looked at.
    """
    import igl

    inner = points[((points > vertices.min(0)) & (points < vertices.max(0))).all(1)]
    if len(inner):
        inner = inner[igl.fast_winding_number(vertices, faces, inner) > 0.5]
    if not len(inner):
        return 0.0
    return float(np.sqrt(igl.point_mesh_squared_distance(inner, vertices, faces)[0].max()))


def _below_ground(
    problem: Problem, posed: Posed, skin: Float[np.ndarray, "v 3"], thing: Float[np.ndarray, "n 3"]
) -> float:
    """How far anything is below the ground, which is where the parts that stand on it are."""
    interaction = problem.interaction
    if not (interaction.ground or interaction.tiptoe or interaction.on_ground):
        return 0.0
    up = posed.upright[1]
    lowest = min(float((skin @ up).min()), float((thing @ up).min()))
    return max(0.0, -(lowest + posed.pelvis_height))
