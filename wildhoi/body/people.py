"""People as records, posed by a body model: batches of arrays in and out of torch, in one place."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wildhoi.body.model import BodyModel
from wildhoi.schema import Human

PARAMETERS = ("betas", "body_pose", "left_hand_pose", "right_hand_pose")
"""Fields of a `Human`, in the order in which the body model takes them."""


class PosedPeople(NamedTuple):
    """Vertices and joints of people; float64, metres, SMPL frame."""

    vertices: Float[np.ndarray, "b v 3"]
    joints: Float[np.ndarray, "b j 3"]


def body_parameters(humans: Sequence[Human], body: BodyModel) -> tuple[Tensor, ...]:
    """The parameters of people as the body model takes them: (b, 10), (b, 21, 3) and twice (b, 15, 3)."""
    stacked = (np.stack([getattr(human, name) for human in humans]) for name in PARAMETERS)
    return tuple(torch.as_tensor(array, dtype=body.dtype, device=body.device) for array in stacked)


def pose_people(humans: Sequence[Human], body: BodyModel) -> PosedPeople:
    """Pose people; no gradient is kept."""
    with torch.no_grad():
        surface = body.surface(*body_parameters(humans, body))
    return PosedPeople(*(part.double().cpu().numpy() for part in surface))


def posed_joints(humans: Sequence[Human], body: BodyModel) -> Float[np.ndarray, "b j 3"]:
    """The joints of people alone, which is much faster; float64, metres, SMPL frame."""
    with torch.no_grad():
        return np.asarray(body.joints(*body_parameters(humans, body)).double().cpu().numpy())


def pose_person(human: Human, body: BodyModel) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "j 3"]]:
    """Vertices and joints of one person; float64, metres, SMPL frame."""
    people = pose_people([human], body)
    return people.vertices[0], people.joints[0]
