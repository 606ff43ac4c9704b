"""Keeping things out of each other while a scene is solved: round proxies of the body, points of the object."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wildhoi.open_scenes.kinematics import Moving, Posed, State, joints_of, object_points
from wildhoi.open_scenes.posing_settings import PosingSettings
from wildhoi.open_scenes.skin import Capsules
from wildhoi.open_scenes.solids import Solid
from wildhoi.open_scenes.solver import Term
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
        return self._limbs_outside(self._ends(posed)).residual.amax(1) * self.settings.wanted["inside"]

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
        chosen = [row for row, name in enumerate(self.capsules.names) if name not in HOLDING]
        first, second = ends[0][chosen], ends[1][chosen]
        places = self.points @ state.object_rotation.transpose(-1, -2) + state.object_translation[:, None]
        distance, _ = _from_axes(places[:, None], first.values[:, :, None], second.values[:, :, None])
        deepest = distance.topk(DEEPEST, dim=2, largest=False).indices.flatten(1)
        picked = self.points.gather(1, deepest[..., None].expand(-1, -1, 3))
        thing = object_points(state, picked)
        owner = torch.arange(len(chosen), device=places.device).repeat_interleave(DEEPEST)
        radii = self.capsules.radii[:, chosen][:, owner] - self.settings.wanted["slack"]
        return self._kept_out(thing, first[owner], second[owner], radii)

    def _body_outside(self, state: State, ends: tuple[Moving, Moving]) -> Term:
        """Points on the axes of the body's proxies out of the solid object, by their radii."""
        chosen = [row for row, name in enumerate(self.capsules.names) if name not in HOLDING]
        owner = torch.tensor(chosen, device=state.root.device).repeat_interleave(len(WHOLE))
        share = state.root.new_tensor(WHOLE * len(chosen)).expand(len(state.root), -1)
        skeleton = ends[0][owner].scaled(1 - share) + ends[1][owner].scaled(share)
        local = (skeleton.values - state.object_translation[:, None]) @ state.object_rotation
        distance, gradient = self.solid.look_up(local / self.scale[:, None, None])
        depth = self.capsules.radii[:, owner] - self.settings.wanted["slack"] - distance * self.scale[:, None]
        out = gradient @ state.object_rotation.transpose(-1, -2)
        away = skeleton - object_points(state, local)
        slope = -torch.einsum("bnx,bnxu->bnu", out, away.jacobian) * (depth > 0)[..., None]
        sigma = self.settings.wanted["inside"]
        return Term(depth.clamp(min=0) / sigma, slope / sigma)

    def _limbs_outside(self, ends: tuple[Moving, Moving]) -> Term:
        names = self.capsules.names
        pairs = [(names.index(a), names.index(b)) for a, others in self.settings.apart.items() for b in others]
        limb = torch.tensor([a for a, _ in pairs for _ in ALONG], device=ends[0].values.device)
        other = torch.tensor([b for _, b in pairs for _ in ALONG], device=ends[0].values.device)
        share = ends[0].values.new_tensor(ALONG * len(pairs)).expand(len(ends[0].values), -1)
        points = ends[0][limb].scaled(1 - share) + ends[1][limb].scaled(share)
        radii = self.capsules.radii[:, limb] + self.capsules.radii[:, other] - 2 * self.settings.wanted["slack"]
        return self._kept_out(points, ends[0][other], ends[1][other], radii)

    def _kept_out(self, points: Moving, first: Moving, second: Moving, radii: Float[Tensor, "b n"]) -> Term:
        """How deep points are inside capsules, in standard deviations."""
        distance, share = _from_axes(points.values, first.values, second.values)
        nearest = first.scaled(1 - share) + second.scaled(share)
        away = points - nearest
        out = away.values / distance.clamp(min=1e-6)[..., None]
        depth = (radii - distance).clamp(min=0)
        slope = -torch.einsum("bnx,bnxu->bnu", out, away.jacobian) * (depth > 0)[..., None]
        sigma = self.settings.wanted["inside"]
        return Term(depth / sigma, slope / sigma)

    def _above_ground(self, state: State) -> Term:
        heights = (self.points @ state.object_rotation.transpose(-1, -2))[..., 1] + state.object_translation[:, 1:2]
        lowest = heights.topk(DEEPEST, dim=1, largest=False).indices
        thing = object_points(state, self.points.gather(1, lowest[..., None].expand(-1, -1, 3)))
        below = thing.values[..., 1].clamp(max=0)
        sigma = self.settings.wanted["inside"]
        return Term(below / sigma, thing.jacobian[..., 1, :] * (below < 0)[..., None] / sigma)


def _from_axes(
    points: Float[Tensor, "*n 3"], first: Float[Tensor, "*n 3"], second: Float[Tensor, "*n 3"]
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
