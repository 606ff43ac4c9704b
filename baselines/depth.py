"""How far the depths of person and object disagree with who is in front by the masks."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from baselines.observation import Observation
from baselines.painter import bounds
from baselines.scene import State

FURTHEST = 2.0
"""Metres: a larger gap counts as this much and pulls no more."""


def ordinal_depth_sums(state: State, seen: Observation) -> Float[Tensor, "b 2"]:
    """For each image the sum over violated pixels, person in front by the masks and object in front.

    A pixel is violated where both meshes cover it, the visible masks show one of the two alone, and the other renders
    nearer; it counts `log(1 + exp(gap))`. Source: CHORE's ordinal depth loss on a crop of 256 pixels.
    """
    return _dense_sums(state, seen) if state.object.scene.painter.fixed else _listed_sums(state, seen)


def _penalty(gap: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """What a pixel counts whose wrong mesh is in front by a gap; nothing where it is not."""
    return torch.where(gap > 0, torch.nn.functional.softplus(gap.clamp(0, FURTHEST)), 0)


def _listed_sums(state: State, seen: Observation) -> Float[Tensor, "b 2"]:
    """Depths are worked out at the few pixels that both meshes cover: best on a CPU."""
    human, thing, scene = state.human, state.object, state.object.scene
    painter, body, template = scene.painter, scene.body_faces, scene.faces
    where = seen.one_seen
    # who is drawn second is drawn only where the first is; people who stand still are drawn once
    if human.still:
        if "faces" not in human.drawn:
            drawn = painter.faces(human.seen, body, bounds(where))
            human.drawn |= {"faces": drawn, "where": where & (drawn >= 0)}
            human.drawn["window"] = bounds(human.drawn["where"])
        person, where = human.drawn["faces"], human.drawn["where"]
        other = painter.faces(thing.seen, template, human.drawn["window"])
        both = where & (other >= 0)
    else:
        other = painter.faces(thing.seen, template, bounds(where))
        where = where & (other >= 0)
        person = painter.faces(human.seen, body, bounds(where))
        both = where & (person >= 0)
    image, y, x = torch.nonzero(both, as_tuple=True)
    pixels = torch.stack([x, y], dim=1)
    depth = painter.listed(human.seen, body, person[image, y, x], image, pixels)
    gap = depth - painter.listed(thing.seen, template, other[image, y, x], image, pixels)
    person_first = seen.person_first[image, y, x]
    sums = gap.new_zeros(len(person), 2)
    sums = sums.index_put((image, 0 * image), torch.where(person_first, _penalty(gap), 0), accumulate=True)
    return sums.index_put((image, 0 * image + 1), torch.where(person_first, 0, _penalty(-gap)), accumulate=True)


def _dense_sums(state: State, seen: Observation) -> Float[Tensor, "b 2"]:
    """Depths are worked out at every pixel, with shapes that no value decides: for a GPU."""
    human, thing = _depth_maps(state, seen.one_seen)
    covered = human.isfinite() & thing.isfinite()
    gap = torch.where(covered, human, 0) - torch.where(covered, thing, 0)
    person = torch.where(covered & seen.person_first, _penalty(gap), 0)
    other = torch.where(covered & seen.object_first, _penalty(-gap), 0)
    return torch.stack([person.sum((1, 2)), other.sum((1, 2))], dim=1)


def _depth_maps(state: State, where: Bool[Tensor, "b h w"]) -> tuple[Float[Tensor, "b h w"], Float[Tensor, "b h w"]]:
    """Depth maps of person and object, infinite where either covers nothing or it does not matter."""
    human, thing, scene = state.human, state.object, state.object.scene
    if human.still:
        if "depth" not in human.drawn:
            human.drawn["depth"] = scene.painter.depth("body", human.seen, scene.body_faces, where)
        first = human.drawn["depth"]
        return first, scene.painter.depth("object", thing.seen, scene.faces, where & first.isfinite())
    second = scene.painter.depth("object", thing.seen, scene.faces, where)
    return scene.painter.depth("body", human.seen, scene.body_faces, where & second.isfinite()), second
