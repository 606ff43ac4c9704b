"""People posed with objects: a batch of wishes solved, and brought into the SMPL frame."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wildhoi.body import BodyModel
from wildhoi.interactions import Interaction
from wildhoi.mirror import AXIAL, BODY_EXCHANGE, REFLECTION
from wildhoi.open_scenes.posing.kinematics import State, rotation_vectors
from wildhoi.open_scenes.posing.proxies import Proxies, spread_points
from wildhoi.open_scenes.posing.settings import PosingSettings
from wildhoi.open_scenes.posing.skin import make_capsules
from wildhoi.open_scenes.posing.solids import make_solid
from wildhoi.open_scenes.posing.solver import solve
from wildhoi.open_scenes.posing.terms import Wanted
from wildhoi.open_scenes.posing.wishes import Person, Problem, Wish, make_problem
from wildhoi.schema import Human, ObjectPose
from wildhoi.templates import Template


@dataclass(frozen=True, eq=False)
class Posed:
    """A person and an object in the SMPL frame, and the world's axes seen from there.

    `upright` turns the SMPL frame into the world, y up; `pelvis_height` is the pelvis' height above the ground, metres.
    """

    human: Human
    object_pose: ObjectPose
    upright: Float[np.ndarray, "3 3"]
    pelvis_height: float


@dataclass(frozen=True, eq=False)
class Solved:
    """A batch of scenes as the solver left them, in the world frame."""

    problem: Problem
    proxies: Proxies
    state: State


def solve_wishes(
    interaction: Interaction,
    template: Template,
    body: BodyModel,
    people: Sequence[Person],
    wishes: Sequence[Wish],
    settings: PosingSettings,
) -> Solved:
    """Solve a batch of scenes of one interaction."""
    problem = make_problem(interaction, body, people, wishes)
    points = torch.as_tensor(spread_points(template), dtype=body.dtype, device=body.device)
    grounded = bool(interaction.ground or interaction.tiptoe or interaction.on_ground)
    capsules = make_capsules(problem.kinematics, settings)
    solid = make_solid(template, body.dtype, body.device)
    spread = points * problem.scale[:, None, None]
    proxies = Proxies(capsules, solid, problem.scale, spread, grounded, settings)
    wanted = Wanted(problem, settings, proxies)
    steps, damping = int(settings.solver["steps"]), settings.solver["damping"]
    return Solved(problem, proxies, solve(wanted, problem.start, steps=steps, damping=damping))


def into_smpl_frame(solved: Solved, wishes: Sequence[Wish]) -> list[Posed]:
    """Solved scenes as parameters in the SMPL frame."""
    problem, state = solved.problem, solved.state
    mean_hands = problem.body.mean_hands.double().cpu().numpy()
    turns = rotation_vectors(state.rotations).double().cpu().numpy()
    world = state.rotations[:, 0]
    rotation, translation = _seen_from(world, state)
    found = []
    for row, wish in enumerate(wishes):
        hands = wish.hands - mean_hands
        human = Human(problem.kinematics.betas[row].cpu().numpy(), turns[row, 1:], hands[0], hands[1])
        pose = ObjectPose(rotation[row], translation[row], float(problem.scale[row]), wish.angle)
        found.append(Posed(human, pose, world[row].double().cpu().numpy(), float(state.root[row, 1])))
    return found


def _seen_from(
    world: Float[Tensor, "b 3 3"], state: State
) -> tuple[Float[np.ndarray, "b 3 3"], Float[np.ndarray, "b 3"]]:
    """The object's pose in the frame of the pelvis."""
    back = world.transpose(-1, -2)
    rotation = back @ state.object_rotation
    translation = (back @ (state.object_translation - state.root)[..., None])[..., 0]
    return rotation.double().cpu().numpy(), translation.double().cpu().numpy()


def mirrored(posed: Posed) -> Posed:
    """The scene as in a mirror, for an object that is its own mirror image across x.

    The body is symmetric but for noise, so betas stay; hands change sides.
    """
    human, pose = posed.human, posed.object_pose
    reflection = np.diag(REFLECTION)
    body = np.concatenate([np.zeros((1, 3)), human.body_pose])[list(BODY_EXCHANGE)][1:] * AXIAL
    twin = Human(human.betas, body, human.right_hand_pose * AXIAL, human.left_hand_pose * AXIAL)
    turned = reflection @ pose.rotation @ reflection
    angle = None if pose.angle is None else -pose.angle  # the joint's axis lies in the mirror
    return Posed(
        twin,
        replace(pose, rotation=turned, translation=REFLECTION * pose.translation, angle=angle),
        reflection @ posed.upright @ reflection,
        posed.pelvis_height,
    )
