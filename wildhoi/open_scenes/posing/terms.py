"""What a solved scene is wanted to fulfil, as residuals in standard deviations with exact Jacobians."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wildhoi.body.layout import BODY_JOINTS
from wildhoi.open_scenes.posing.kinematics import (
    N_UNKNOWNS,
    OBJECT_TURN,
    Moving,
    Posed,
    State,
    directions_of,
    joints_of,
    object_directions,
    object_points,
    rotation_vectors,
    turn_slopes,
)
from wildhoi.open_scenes.posing.proxies import Proxies
from wildhoi.open_scenes.posing.settings import PosingSettings
from wildhoi.open_scenes.posing.skin import anchor_points, find_patches
from wildhoi.open_scenes.posing.solver import Term
from wildhoi.open_scenes.posing.wishes import Problem

FLAT, RAISED = ("heel", "ball"), ("ball", "toe")
"""What of a foot is on the ground, standing and with the heel up."""
BALANCED = ("left_hip", "right_hip", "left_shoulder", "right_shoulder", "head")
UP = 1


@dataclass(frozen=True, eq=False)
class Wanted:
    """All terms of a problem; called with a state."""

    problem: Problem
    settings: PosingSettings
    proxies: Proxies

    def __call__(self, state: State) -> list[Term]:
        """The residuals of a state, never empty."""
        posed = self.problem.kinematics.pose(state)
        terms = [
            self._posture(state),
            self._limits(state),
            self._hinges(state),
            *self._object(state, posed),
            *self._touches(state, posed),
        ]
        terms += [*self._standing(posed), *self._object_on_ground(state), *self._gaze(state, posed)]
        return terms + self.proxies.terms(state, posed)

    def _posture(self, state: State) -> Term:
        """Near the posture that was drawn."""
        away = rotation_vectors(self.problem.start.rotations.transpose(-1, -2) @ state.rotations)
        stiffness = away.new_tensor([self.settings.stiffness[name] for name in BODY_JOINTS])
        return _turns(away, turn_slopes(away), stiffness, 0)

    def _limits(self, state: State) -> Term:
        """Within the range of every joint, component by component of its axis-angle."""
        angles = rotation_vectors(state.rotations)
        low, high = (bound.view(-1, 3) for bound in joint_ranges(self.settings, angles))
        beyond = (angles - high).clamp(min=0) - (low - angles).clamp(min=0)
        slopes = turn_slopes(angles) * (beyond != 0)[..., None]
        return _turns(beyond, slopes, angles.new_full((len(BODY_JOINTS),), self.settings.wanted["limits"]), 0)

    def _hinges(self, state: State) -> Term:
        """Bones beyond a hinge in the plane that it bends in: `n . R b = 0`."""
        hinges = self.settings.hinges
        rows = [BODY_JOINTS.index(name) for name in hinges]
        bone, normal = (state.root.new_tensor(np.stack([pair[k] for pair in hinges.values()])) for k in range(2))
        turned = state.rotations[:, rows]
        out_of_plane = torch.einsum("nr,bnrc,nc->bn", normal, turned, bone)
        # a turn d moves R b by R (d x b), so the residual by (b x R^T n) . d
        lever = torch.linalg.cross(bone.expand(len(turned), -1, -1), torch.einsum("bnrc,nr->bnc", turned, normal))
        jacobian = lever.new_zeros(*out_of_plane.shape, N_UNKNOWNS)
        for number, row in enumerate(rows):
            jacobian[:, number, 3 * row : 3 * row + 3] = lever[:, number]
        sigma = self.settings.wanted["hinges"]
        return Term(out_of_plane / sigma, jacobian / sigma)

    def _object(self, state: State, posed: Posed) -> list[Term]:
        """The object about where it was drawn, seen from its joint."""
        interaction, start = self.problem.interaction, self.problem.start
        radians, metres = interaction.place.firm
        away = rotation_vectors(state.object_rotation @ start.object_rotation.transpose(-1, -2))[:, None]
        turned = _turns(away, turn_slopes(away).transpose(-1, -2), away.new_full((1,), radians), OBJECT_TURN)
        joint = torch.tensor([self.problem.body.joint_names.index(interaction.place.joint)])
        near = joints_of(posed, joint)
        origin = object_points(state, away.new_zeros(len(away), 1, 3))
        gap = (origin - near).values - self.problem.object_offset[:, None]
        moved = Term(gap.flatten(1) / metres, (origin - near).jacobian.flatten(1, 2) / metres)
        return [turned, moved]

    def _touches(self, state: State, posed: Posed) -> list[Term]:
        """Every contact closed, hands along handles, skin facing skin."""
        touches, wanted = self.problem.interaction.touch, self.settings.wanted
        if not touches:
            return []
        names = [touch.body for touch in touches]
        patches = find_patches(self.problem.body)
        rows = patches.rows(names)
        skin = anchor_points(self.problem.kinematics, names).of(posed)
        faces = directions_of(posed, patches.joints[rows], patches.faces[rows])
        radius = self.problem.scale[:, None] * skin.values.new_tensor([touch.radius for touch in touches])
        gap = skin + faces.scaled(radius) - object_points(state, self.problem.places)
        sigma = skin.values.new_tensor([wanted["touch"] if t.loose is None else t.loose for t in touches])
        terms = [_vectors(gap.scaled((1 / sigma).expand(len(gap.values), -1)))]
        along = directions_of(posed, patches.joints[rows], patches.along[rows])
        for number, touch in enumerate(touches):
            if touch.along is not None:
                miss = along[[number]] - object_directions(state, self.problem.along[:, [number]])
                terms.append(_vectors(miss, wanted["along"]))
            if touch.facing is not None:
                miss = faces[[number]] + object_directions(state, self.problem.facing[:, [number]])
                terms.append(_vectors(miss, wanted["facing"]))
        return terms

    def _standing(self, posed: Posed) -> list[Term]:
        """Feet on the ground, parts at their heights, and the weight over the feet."""
        interaction, wanted, kinematics = self.problem.interaction, self.settings.wanted, self.problem.kinematics
        parts = standing_parts(interaction.ground, interaction.tiptoe)
        terms = []
        if parts:
            feet = anchor_points(kinematics, parts).of(posed)
            terms.append(_component(feet, UP, wanted["sole"], wanted["ground"]))
            soles = torch.tensor(
                [
                    self.problem.body.joint_names.index(f"{side}_foot")
                    for side in (*interaction.ground, *interaction.tiptoe)
                ]
            )
            across = directions_of(posed, soles, feet.values.new_tensor([[1.0, 0.0, 0.0]]).expand(len(soles), 3))
            terms.append(_component(across, UP, 0.0, wanted["level"]))
            if interaction.stands:
                numbers = torch.tensor([self.problem.body.joint_names.index(name) for name in BALANCED])
                over = _mean(joints_of(posed, numbers)) - _mean(feet)
                terms += [_component(over, axis, 0.0, wanted["balance"]) for axis in (0, 2)]
        if interaction.height:
            held = anchor_points(kinematics, [height.body for height in interaction.height]).of(posed)
            terms.append(_component(held, UP, self.problem.heights, wanted["height"]))
        return terms

    def _object_on_ground(self, state: State) -> list[Term]:
        """Wheels and pins on the ground, and what is level level."""
        interaction, wanted = self.problem.interaction, self.settings.wanted
        terms = []
        if interaction.level:
            flat = state.root.new_tensor(interaction.level).expand(len(state.root), -1, 3)
            terms.append(_component(object_directions(state, flat), UP, 0.0, wanted["level"]))
        if interaction.on_ground:
            points = state.root.new_tensor(interaction.on_ground) * self.problem.scale[:, None, None]
            terms.append(_component(object_points(state, points), UP, 0.0, wanted["ground"]))
        return terms

    def _gaze(self, state: State, posed: Posed) -> list[Term]:
        """The face towards what is looked at."""
        gaze = self.problem.interaction.gaze
        if gaze is None:
            return []
        head = torch.tensor([self.problem.body.joint_names.index("head")])
        face = directions_of(posed, head, state.root.new_tensor([[0.0, 0.0, 1.0]]))
        if isinstance(gaze, str):
            origin = object_points(state, state.root.new_zeros(len(state.root), 1, 3))
            miss = face - _unit(origin - joints_of(posed, head))
        else:
            goal = state.root.new_tensor(gaze)
            miss = Moving(face.values - goal / torch.linalg.vector_norm(goal), face.jacobian)
        return [_vectors(miss, self.settings.wanted["gaze"])]


def standing_parts(ground: Sequence[str], tiptoe: Sequence[str]) -> list[str]:
    """The anchors that stand: heel and ball of a foot, ball and toes where the heel is up."""
    parts = ((ground, FLAT), (tiptoe, RAISED))
    return [f"{side}_{end}" for sides, ends in parts for side in sides for end in ends]


def joint_ranges(settings: PosingSettings, like: Tensor) -> tuple[Float[Tensor, " 66"], Float[Tensor, " 66"]]:
    """The least and the largest axis-angle components of root and body joints; the root has none."""
    free = np.tile([-np.inf, np.inf], (3, 1))
    bounds = like.new_tensor(np.concatenate([settings.limits.get(name, free) for name in BODY_JOINTS]))
    return bounds[:, 0], bounds[:, 1]


def _turns(
    vectors: Float[Tensor, "b t 3"], slopes: Float[Tensor, "b t 3 3"], sigma: Float[Tensor, " t"], first: int
) -> Term:
    """A term of axis-angles and how they change with the turns of a step, which are its columns from `first` on."""
    jacobian = vectors.new_zeros(*vectors.shape, N_UNKNOWNS)
    for turn in range(vectors.shape[1]):
        jacobian[:, turn, :, first + 3 * turn : first + 3 * turn + 3] = slopes[:, turn] / sigma[turn]
    return Term((vectors / sigma[:, None]).flatten(1), jacobian.flatten(1, 2))


def _unit(moving: Moving) -> Moving:
    """Directions of length 1."""
    length = torch.linalg.vector_norm(moving.values, dim=-1, keepdim=True).clamp(min=1e-6)
    values = moving.values / length
    along = torch.einsum("bnx,bnxu->bnu", values, moving.jacobian)
    return Moving(values, (moving.jacobian - values[..., None] * along[..., None, :]) / length[..., None])


def _vectors(moving: Moving, sigma: float = 1.0) -> Term:
    return Term(moving.values.flatten(1) / sigma, moving.jacobian.flatten(1, 2) / sigma)


def _component(moving: Moving, axis: int, goal: Tensor | float, sigma: float) -> Term:
    return Term((moving.values[..., axis] - goal) / sigma, moving.jacobian[..., axis, :] / sigma)


def _mean(moving: Moving) -> Moving:
    return Moving(moving.values.mean(1, keepdim=True), moving.jacobian.mean(1, keepdim=True))
