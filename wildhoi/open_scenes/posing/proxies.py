"""Keeping things out of each other while a scene is solved: round proxies of the body, points of the object."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from wildhoi.open_scenes.posing.kinematics import Moving, Posed, State, joints_of, object_points
from wildhoi.open_scenes.posing.settings import PosingSettings
from wildhoi.open_scenes.posing.skin import Capsules
from wildhoi.open_scenes.posing.solids import Solid
from wildhoi.open_scenes.posing.solver import Term
from wildhoi.templates import Template

N_POINTS = 500
DEEPEST = 3
ALONG = (0.2, 0.6, 1.0)
"""Where on the axis of a limb it is kept out of others."""
WHOLE = (0.0, 0.25, 0.5, 0.75, 1.0)
HOLDING = ("left_hand", "right_hand")
"""What holds the object cannot be kept out of it."""


@dataclass(frozen=True, eq=False)
class Proxies:
    """The proxies of a problem.

    Attributes:
        capsules: of the people.
        solid: the object, at scale 1.
        scale: of the object.
        points: of its skin, template frame times scale, metres: thin parts fall through the grid of a solid.
        grounded: whether there is a ground that nothing may sink into.
    """

    capsules: Capsules
    solid: Solid
    scale: Float[Tensor, " b"]
    points: Float[Tensor, "b n 3"]
    grounded: bool
    settings: PosingSettings

    def terms(self, state: State, posed: Posed) -> list[Term]:
        """Object out of body, limbs out of body, object out of the ground."""
        ends = self._ends(posed)
        found = [self._object_outside(state, ends), self._body_outside(state, ends), self._limbs_outside(ends)]
        return [*found, self._above_ground(state)] if self.grounded else found

    def deepest_limb(self, posed: Posed) -> Float[Tensor, " b"]:
        """How deep any limb is in another part of the body, metres; 0 where none is."""
        depth = self._limbs_outside(self._ends(posed)).residual * self.settings.wanted["inside"]
        return depth.amax(1) if depth.shape[1] else depth.new_zeros(len(depth))

    def _ends(self, posed: Posed) -> tuple[Moving, Moving]:
        """Both ends of all capsules."""
        weights = self.capsules.ends
        used = torch.nonzero(weights.sum((0, 1)))[:, 0]
        joints = joints_of(posed, used)

        def mixed(side: Float[Tensor, "c j"]) -> Moving:
            values = torch.einsum("cj,bjx->bcx", side[:, used], joints.values)
            return Moving(values, torch.einsum("cj,bjxu->bcxu", side[:, used], joints.jacobian))

        return mixed(weights[0]), mixed(weights[1])

    def _object_outside(self, state: State, ends: tuple[Moving, Moving]) -> Term:
        """The object's points that are deepest in each proxy out of it."""
        chosen = self._apart_from_hands(state)
        first, second = ends[0].values[:, chosen], ends[1].values[:, chosen]
        places = self.points @ state.object_rotation.transpose(-1, -2) + state.object_translation[:, None]
        distance, _ = _from_axes(places[:, None], first[:, :, None], second[:, :, None])
        nearest, deepest = distance.topk(DEEPEST, dim=2, largest=False)
        owner = chosen.repeat_interleave(DEEPEST)
        depth = self.capsules.radii[:, owner] - self.settings.wanted["slack"] - nearest.flatten(1)
        rows = _active(depth)
        picked = self.points.gather(1, deepest.flatten(1)[:, rows, None].expand(-1, -1, 3))
        axes = ends[0][owner[rows]], ends[1][owner[rows]]
        return self._kept_out(object_points(state, picked), *axes, depth[:, rows])

    def _apart_from_hands(self, state: State) -> Int[Tensor, " c"]:
        """The numbers of the proxies that the object is kept out of."""
        chosen = [row for row, name in enumerate(self.capsules.names) if name not in HOLDING]
        return torch.tensor(chosen, device=state.root.device)

    def _body_outside(self, state: State, ends: tuple[Moving, Moving]) -> Term:
        """Points on the axes of the body's proxies out of the solid object, by their radii."""
        chosen = self._apart_from_hands(state)
        owner = chosen.repeat_interleave(len(WHOLE))
        share = state.root.new_tensor(WHOLE * len(chosen))[:, None]
        places = ends[0].values[:, owner] * (1 - share) + ends[1].values[:, owner] * share
        local = (places - state.object_translation[:, None]) @ state.object_rotation
        distance, gradient = self.solid.look_up(local / self.scale[:, None, None])
        depth = self.capsules.radii[:, owner] - self.settings.wanted["slack"] - distance * self.scale[:, None]
        rows = _active(depth)
        skeleton = _between(ends[0][owner[rows]], ends[1][owner[rows]], share[rows].T)
        out = gradient[:, rows] @ state.object_rotation.transpose(-1, -2)
        return self._pushed(skeleton - object_points(state, local[:, rows]), out, depth[:, rows])

    def _limbs_outside(self, ends: tuple[Moving, Moving]) -> Term:
        """Points on the axes of arms and legs out of the parts that they have no business in."""
        names, device = self.capsules.names, ends[0].values.device
        pairs = [(names.index(a), names.index(b)) for a, others in self.settings.apart.items() for b in others]
        limb, other = torch.tensor(pairs, device=device).repeat_interleave(len(ALONG), dim=0).T
        share = ends[0].values.new_tensor(ALONG * len(pairs))[:, None]
        places = ends[0].values[:, limb] * (1 - share) + ends[1].values[:, limb] * share
        distance, _ = _from_axes(places, ends[0].values[:, other], ends[1].values[:, other])
        radii = self.capsules.radii[:, limb] + self.capsules.radii[:, other] - 2 * self.settings.wanted["slack"]
        depth = radii - distance
        rows = _active(depth)
        points = _between(ends[0][limb[rows]], ends[1][limb[rows]], share[rows].T)
        return self._kept_out(points, ends[0][other[rows]], ends[1][other[rows]], depth[:, rows])

    def _kept_out(self, points: Moving, first: Moving, second: Moving, depth: Float[Tensor, "b n"]) -> Term:
        """Points pushed away from the axes that they are too near to."""
        distance, share = _from_axes(points.values, first.values, second.values)
        away = points - _between(first, second, share)
        return self._pushed(away, away.values / distance.clamp(min=1e-6)[..., None], depth)

    def _pushed(self, away: Moving, out: Float[Tensor, "b n 3"], depth: Float[Tensor, "b n"]) -> Term:
        """How deep points are, in standard deviations; they get less deep as they move along `out`."""
        slope = -torch.einsum("bnx,bnxu->bnu", out, away.jacobian) * (depth > 0)[..., None]
        sigma = self.settings.wanted["inside"]
        return Term(depth.clamp(min=0) / sigma, slope / sigma)

    def _above_ground(self, state: State) -> Term:
        heights = (self.points @ state.object_rotation.transpose(-1, -2))[..., 1] + state.object_translation[:, 1:2]
        lowest = heights.topk(DEEPEST, dim=1, largest=False).indices
        thing = object_points(state, self.points.gather(1, lowest[..., None].expand(-1, -1, 3)))
        below = thing.values[..., 1].clamp(max=0)
        sigma = self.settings.wanted["inside"]
        return Term(below / sigma, thing.jacobian[..., 1, :] * (below < 0)[..., None] / sigma)


def _active(depth: Float[Tensor, "b n"]) -> Int[Tensor, " r"]:
    """The columns in which anything is deep: all others have no residual and no slope, so they are left out."""
    return torch.nonzero((depth > 0).any(0))[:, 0]


def _between(first: Moving, second: Moving, share: Float[Tensor, "#b n"]) -> Moving:
    """Points on segments, `share` of the way."""
    return first.scaled(1 - share) + second.scaled(share)


def _from_axes(
    points: Float[Tensor, "*#n 3"], first: Float[Tensor, "*#n 3"], second: Float[Tensor, "*#n 3"]
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Distances of points from segments, metres, and where on the segments the nearest points are, 0 to 1."""
    line = second - first
    share = ((points - first) * line).sum(-1) / (line * line).sum(-1).clamp(min=1e-12)
    share = share.clamp(0, 1)
    return torch.linalg.vector_norm(points - first - share[..., None] * line, dim=-1), share


@cache
def spread_points(template: Template) -> Float[np.ndarray, "n 3"]:
    """Vertices of a template that are far from each other, each the farthest from those before it."""
    vertices = template.vertices
    chosen = [int(np.argmax(np.linalg.norm(vertices - vertices.mean(0), axis=1)))]
    distance = np.full(len(vertices), np.inf)
    for _ in range(min(N_POINTS, len(vertices)) - 1):
        distance = np.minimum(distance, np.linalg.norm(vertices - vertices[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return np.asarray(vertices[chosen])
