"""Where points and directions of a posed body are, and how they move: positions with exact Jacobians, batched.

A scene is solved in a world frame: y up, the ground at y = 0. The state is the root's place and orientation, the 21
body rotations and the object's pose; a step turns every joint in its own frame (`R <- R exp(d)`), moves the root, turns
the object about its own origin in the world's axes and moves it: 75 numbers, in that order.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wildhoi.body import BodyModel
from wildhoi.schema import N_BODY_JOINTS

N_TURNS = 1 + N_BODY_JOINTS
ROOT_PLACE = 3 * N_TURNS
OBJECT_TURN = ROOT_PLACE + 3
OBJECT_PLACE = OBJECT_TURN + 3
N_UNKNOWNS = OBJECT_PLACE + 3


@dataclass(frozen=True, eq=False)
class State:
    """The unknowns of a batch of scenes; metres, world frame.

    Attributes:
        rotations: of the root in the world, then of each body joint in its parent's frame.
        root: the pelvis joint.
        object_rotation: template frame to world.
        object_translation: of the template's origin.
    """

    rotations: Float[Tensor, "b 22 3 3"]
    root: Float[Tensor, "b 3"]
    object_rotation: Float[Tensor, "b 3 3"]
    object_translation: Float[Tensor, "b 3"]

    def moved(self, step: Float[Tensor, "b 75"]) -> "State":
        """The state after a step."""
        turns = rotation_matrices(step[:, :ROOT_PLACE].view(-1, N_TURNS, 3))
        return State(
            self.rotations @ turns,
            self.root + step[:, ROOT_PLACE:OBJECT_TURN],
            rotation_matrices(step[:, OBJECT_TURN:OBJECT_PLACE]) @ self.object_rotation,
            self.object_translation + step[:, OBJECT_PLACE:],
        )

    def where(self, choice: Bool[Tensor, " b"], other: "State") -> "State":
        """This state where `choice` is true, the other elsewhere."""

        def pick(a: Tensor, b: Tensor) -> Tensor:
            return torch.where(choice.view(-1, *[1] * (a.dim() - 1)), a, b)

        return State(
            pick(self.rotations, other.rotations),
            pick(self.root, other.root),
            pick(self.object_rotation, other.object_rotation),
            pick(self.object_translation, other.object_translation),
        )


def rotation_matrices(vectors: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """Rotations of axis-angle vectors, radians; exact at zero (Rodrigues through sinc)."""
    angle = torch.linalg.vector_norm(vectors, dim=-1)[..., None, None]
    k = cross_matrices(vectors)
    first = torch.sinc(angle / torch.pi)
    second = 0.5 * torch.sinc(angle / (2 * torch.pi)) ** 2
    turned: Tensor = torch.eye(3, dtype=vectors.dtype, device=vectors.device) + first * k + second * (k @ k)
    return turned


def cross_matrices(vectors: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """The matrices K with `K x = vector x x`."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vectors.shape, 3)


def rotation_vectors(matrices: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3"]:
    """Axis-angle of rotations below half a turn, radians; exact near none."""
    odd = torch.stack(
        [
            matrices[..., 2, 1] - matrices[..., 1, 2],
            matrices[..., 0, 2] - matrices[..., 2, 0],
            matrices[..., 1, 0] - matrices[..., 0, 1],
        ],
        -1,
    )
    cosine = (matrices.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    sine = torch.linalg.vector_norm(odd, dim=-1) / 2
    angle = torch.atan2(sine, cosine)
    return odd * torch.where(sine > 1e-7, angle / (2 * sine).clamp(min=1e-12), 0.5 + 0 * sine)[..., None]


def turn_slopes(vectors: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """How an axis-angle changes as its rotation is turned further: `log(R exp(d)) = w + J d`, below a whole turn.

    J is the inverse of the right Jacobian; transposed it is that of `log(exp(d) R)`.
    """
    half = torch.linalg.vector_norm(vectors, dim=-1)[..., None, None] / 2
    k = cross_matrices(vectors)
    # (1 - a/2 cot(a/2)) / a^2, which goes to 1/12
    second = torch.where(
        half > 1e-3, (1 - half / torch.tan(half)) / (4 * half**2).clamp(min=1e-12), 1 / 12 + half**2 / 180
    )
    slopes: Tensor = torch.eye(3, dtype=vectors.dtype, device=vectors.device) + 0.5 * k + second * (k @ k)
    return slopes


@dataclass(frozen=True, eq=False)
class Posed:
    """A body posed in the world: global rotations and places of all joints, and what a turn of each joint moves.

    Attributes:
        rotations: global.
        positions: metres.
        below: `below[j, k]` is 1 where joint k is body joint j or hangs from it.
    """

    rotations: Float[Tensor, "b j 3 3"]
    positions: Float[Tensor, "b j 3"]
    below: Float[Tensor, "22 j"]

    @cached_property
    def axes(self) -> Float[Tensor, "b 66 3"]:
        """The world axes about which the 66 turns of a step turn."""
        return self.rotations[:, :N_TURNS].transpose(-1, -2).flatten(1, 2)


class Kinematics:
    """The moving skeleton of people of given shapes, hands and all, in one batch.

    Args:
        body: the model.
        betas: shapes.
        hands: full rotations of the 30 finger joints, left hand first; they do not move while a scene is solved.
    """

    def __init__(self, body: BodyModel, betas: Float[Tensor, "b 10"], hands: Float[Tensor, "b 30 3 3"]) -> None:
        self.body, self.betas, self.hands = body, betas, hands
        self.rest = body.rest_joints(betas)
        parents = [int(p) for p in body.parents]
        below = torch.eye(body.n_joints, dtype=betas.dtype, device=betas.device)
        for joint in range(body.n_joints - 1, 0, -1):  # a child has a higher number than its parent
            below[parents[joint]] += below[joint]
        self._below = below[:N_TURNS]

    def take(self, rows: Int[Tensor, " n"]) -> "Kinematics":
        """The skeletons of some of the batch."""
        return Kinematics(self.body, self.betas[rows], self.hands[rows])

    def pose(self, state: State) -> Posed:
        """Pose the skeleton."""
        still = self.body.n_joints - N_TURNS - self.hands.shape[1]  # jaw and eyes
        identity = torch.eye(3, dtype=self.rest.dtype, device=self.rest.device).expand(len(self.rest), still, 3, 3)
        local = torch.cat([state.rotations, identity, self.hands], 1)
        found = self.body.follow(local, self.rest)
        return Posed(found.rotations, found.positions + state.root[:, None], self._below)


@dataclass(frozen=True, eq=False)
class Moving:
    """Points or directions of a batch and their Jacobians with respect to a step; metres, world frame."""

    values: Float[Tensor, "b n 3"]
    jacobian: Float[Tensor, "b n 3 75"]

    def __getitem__(self, rows: Int[Tensor, " n"] | list[int]) -> "Moving":
        return replace(self, values=self.values[:, rows], jacobian=self.jacobian[:, rows])

    def __sub__(self, other: "Moving") -> "Moving":
        return Moving(self.values - other.values, self.jacobian - other.jacobian)

    def __add__(self, other: "Moving") -> "Moving":
        return Moving(self.values + other.values, self.jacobian + other.jacobian)

    def scaled(self, factor: Float[Tensor, "b n"]) -> "Moving":
        """Every vector times a constant."""
        return Moving(self.values * factor[..., None], self.jacobian * factor[..., None, None])


@dataclass(frozen=True, eq=False)
class BodyPoints:
    """Points of the skin, each the mean of some vertices, blended by the skinning weights as the surface is.

    Attributes:
        shares: how much of each point follows each joint.
        offsets: `sum_v c_v w_vj (v - rest_j)`: with these a point is `sum_j shares_j p_j + R_j offsets_j`.
    """

    shares: Float[Tensor, "n j"]
    offsets: Float[Tensor, "b n j 3"]

    def of(self, posed: Posed) -> Moving:
        """Where the points of a posed body are."""
        parts = torch.einsum("bjrc,bnjc->bnjr", posed.rotations, self.offsets)
        parts = parts + self.shares[..., None] * posed.positions[:, None]
        moved = torch.einsum("tj,bnjc->bntc", posed.below, parts)  # the part of a point that a turn carries along
        held = self.shares @ posed.below.T
        arms = moved - held[..., None] * posed.positions[:, None, :N_TURNS]
        return _turned(posed, parts.sum(2), arms)


def joints_of(posed: Posed, joints: Int[Tensor, " n"]) -> Moving:
    """Where joints are."""
    places = posed.positions[:, joints]
    held = posed.below[:, joints].T
    arms = held[..., None] * (places[:, :, None] - posed.positions[:, None, :N_TURNS])
    return _turned(posed, places, arms)


def _turned(posed: Posed, places: Float[Tensor, "b n 3"], arms: Float[Tensor, "b n 22 3"]) -> Moving:
    """Points with the Jacobian `axis x arm` of every turn, and the root's place."""
    axes = posed.axes[:, None].expand(-1, arms.shape[1], -1, -1)
    turned = torch.linalg.cross(axes, arms.repeat_interleave(3, dim=2))
    jacobian = places.new_zeros(*places.shape, N_UNKNOWNS)
    jacobian[..., :ROOT_PLACE] = turned.transpose(-1, -2)
    jacobian[..., ROOT_PLACE:OBJECT_TURN] = torch.eye(3, dtype=places.dtype, device=places.device)
    return Moving(places, jacobian)


def directions_of(posed: Posed, joints: Int[Tensor, " n"], local: Float[Tensor, "n 3"]) -> Moving:
    """Directions fixed to joints, given in the rest pose."""
    values = torch.einsum("bnrc,nc->bnr", posed.rotations[:, joints], local)
    arms = posed.below[:, joints].T[..., None] * values[:, :, None]
    found = _turned(posed, values, arms)
    found.jacobian[..., ROOT_PLACE:OBJECT_TURN] = 0
    return found


def object_points(state: State, points: Float[Tensor, "b n 3"]) -> Moving:
    """Where points of the object are, given in the template frame times the scale."""
    arms = points @ state.object_rotation.transpose(-1, -2)
    jacobian = _object_turned(arms)
    jacobian[..., OBJECT_PLACE:] = torch.eye(3, dtype=arms.dtype, device=arms.device)
    return Moving(arms + state.object_translation[:, None], jacobian)


def object_directions(state: State, directions: Float[Tensor, "b n 3"]) -> Moving:
    """Directions fixed to the object, given in the template frame."""
    values = directions @ state.object_rotation.transpose(-1, -2)
    return Moving(values, _object_turned(values))


def _object_turned(arms: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 3 75"]:
    jacobian = arms.new_zeros(*arms.shape, N_UNKNOWNS)
    jacobian[..., OBJECT_TURN:OBJECT_PLACE] = -cross_matrices(arms)  # w x arm = -arm x w
    return jacobian
