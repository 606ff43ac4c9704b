"""How far the depths of person and object disagree with who is in front by the masks."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from baselines.observation import Observation
from baselines.scene import State

FURTHEST = 2.0
"""Metres: a larger gap counts as this much and pulls no more."""


def ordinal_depth_sums(state: State, seen: Observation) -> Float[Tensor, "b 2"]:
    """For each image the sum over violated pixels, person in front by the masks and object in front.

    A pixel is violated where both meshes cover it, the visible masks show one of the two alone, and the other renders
    nearer. Source: CHORE's ordinal depth loss on a crop of 256 pixels.
    """
    person_first, object_first = seen.person & ~seen.object, seen.object & ~seen.person
    human, thing = _depths(state, person_first | object_first)
    covered = human.isfinite() & thing.isfinite()
    gaps = torch.where(covered, human, 0) - torch.where(covered, thing, 0)
    sums = []
    for first, behind in ((person_first, gaps), (object_first, -gaps)):
        violated = covered & first & (behind > 0)
        penalty = torch.nn.functional.softplus(behind.clamp(0, FURTHEST))
        sums.append(torch.where(violated, penalty, 0).sum((1, 2)))
    return torch.stack(sums, dim=1)


def _depths(state: State, relevant: Bool[Tensor, "b h w"]) -> tuple[Float[Tensor, "b h w"], Float[Tensor, "b h w"]]:
    """Depth maps of person and object, infinite where either covers nothing or it does not matter.

    Whoever is drawn second is drawn only where the first was; people who stand still are drawn once.
    """
    human, thing, scene = state.human, state.object, state.object.scene
    if human.still:
        if "depth" not in human.drawn:
            human.drawn["depth"] = scene.painter.depth("body", human.seen, scene.body_faces, relevant)
        first = human.drawn["depth"]
        return first, scene.painter.depth("object", thing.seen, scene.faces, relevant & first.isfinite())
    second = scene.painter.depth("object", thing.seen, scene.faces, relevant)
    return scene.painter.depth("body", human.seen, scene.body_faces, relevant & second.isfinite()), second
