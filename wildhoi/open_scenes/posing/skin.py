"""The parts of a body that a scene is solved with: points of the skin, their directions, and round proxies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from wildhoi.body import BodyModel
from wildhoi.open_scenes.posing.kinematics import BodyPoints, Kinematics
from wildhoi.open_scenes.posing.settings import PosingSettings, load_posing_settings

Ends = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Patches:
    """The vertices of every anchor of a body; found on the rest pose of the mean shape."""

    names: tuple[str, ...]
    vertices: tuple[Int[np.ndarray, "_"], ...]
    joints: Int[Tensor, " n"]
    faces: Float[Tensor, "n 3"]
    along: Float[Tensor, "n 3"]

    def rows(self, names: Sequence[str]) -> list[int]:
        """The numbers of anchors."""
        return [self.names.index(name) for name in names]


@cache
def find_patches(body: BodyModel) -> Patches:
    """Find the anchors of posing.toml on a body, once."""
    anchors = load_posing_settings().anchors
    zero = torch.zeros(1, 10, dtype=body.dtype, device=body.device)
    joints, vertices = (found[0].double().cpu().numpy() for found in (body.rest_joints(zero), body.rest_vertices(zero)))
    place = {name: joints[number] for number, name in enumerate(body.joint_names)}
    chosen = []
    for anchor in anchors.values():
        first, second = (place[name] for name in anchor.line)
        target = first + anchor.at * (second - first) + anchor.offset
        part = body.parts[anchor.part]
        nearest = np.argsort(np.linalg.norm(vertices[part] - target, axis=1), kind="stable")[: anchor.count]
        chosen.append(np.sort(part[nearest]))
    numbers = [body.joint_names.index(anchor.joint) for anchor in anchors.values()]
    faces, along = (
        torch.as_tensor(
            np.stack([getattr(anchor, what) for anchor in anchors.values()]), dtype=body.dtype, device=body.device
        )
        for what in ("faces", "along")
    )
    return Patches(tuple(anchors), tuple(chosen), torch.tensor(numbers, device=body.device), faces, along)


def anchor_points(kinematics: Kinematics, names: Sequence[str]) -> BodyPoints:
    """The anchors of the names given as points that follow the skeleton."""
    body = kinematics.body
    patches = find_patches(body)
    return skin_points(kinematics, [patches.vertices[row] for row in patches.rows(names)])


def skin_points(kinematics: Kinematics, groups: Sequence[Int[np.ndarray, "_"]]) -> BodyPoints:
    """The means of groups of vertices as points that follow the skeleton."""
    body, rest = kinematics.body, kinematics.rest
    index = torch.as_tensor(np.concatenate(groups), device=body.device)
    owner = torch.as_tensor(np.repeat(np.arange(len(groups)), [len(g) for g in groups]), device=body.device)
    mean = torch.zeros(len(groups), len(index), dtype=body.dtype, device=body.device)
    mean[owner, torch.arange(len(index), device=body.device)] = 1
    mean /= mean.sum(1, keepdim=True)
    weights = body.skinning[index].to(body.dtype)
    shares = mean @ weights
    vertices = body.rest_vertices(kinematics.betas)[:, index]
    carried = torch.einsum("nv,vj,bvc->bnjc", mean, weights, vertices)
    return BodyPoints(shares, carried - shares[..., None] * rest[:, None])


@dataclass(frozen=True, eq=False)
class Capsules:
    """Round proxies of the body: `ends` are weights of the joints, first ends then second ones; radii in metres."""

    names: tuple[str, ...]
    ends: Float[Tensor, "2 c j"]
    radii: Float[Tensor, "b c"]


def make_capsules(kinematics: Kinematics, settings: PosingSettings) -> Capsules:
    """The capsules of posing.toml: a radius is the mean distance of the vertices that are nearest to its axis."""
    body = kinematics.body
    ends = _capsule_ends(body, settings.capsules)
    a, b = (ends[k] @ kinematics.rest for k in range(2))
    vertices = body.rest_vertices(kinematics.betas)
    owner = _owners(body, settings)
    radii = torch.stack(
        [segment_distance(vertices[:, owner == c], a[:, c], b[:, c]).mean(1) for c in range(len(settings.capsules))], 1
    )
    return Capsules(tuple(settings.capsules), ends, radii)


def _capsule_ends(
    body: BodyModel, capsules: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
) -> Float[Tensor, "2 c j"]:
    weights = torch.zeros(2, len(capsules), body.n_joints, dtype=body.dtype, device=body.device)
    for c, both in enumerate(capsules.values()):
        for end, names in enumerate(both):
            for name in names:
                weights[end, c, body.joint_names.index(name)] = 1 / len(names)
    return weights


@cache
def _owners(body: BodyModel, settings: PosingSettings) -> Int[Tensor, " v"]:
    """The capsule that each vertex of the mean shape is nearest to."""
    zero = torch.zeros(1, 10, dtype=body.dtype, device=body.device)
    ends = _capsule_ends(body, settings.capsules)
    a, b = (ends[k] @ body.rest_joints(zero) for k in range(2))
    vertices = body.rest_vertices(zero)
    distances = [segment_distance(vertices, a[:, c], b[:, c])[0] for c in range(len(settings.capsules))]
    return torch.stack(distances).argmin(0)


def segment_distance(
    points: Float[Tensor, "b n 3"], first: Float[Tensor, "b 3"], second: Float[Tensor, "b 3"]
) -> Float[Tensor, "b n"]:
    """Distances of points from a segment, metres."""
    line = (second - first)[:, None]
    share = ((points - first[:, None]) * line).sum(-1) / (line * line).sum(-1).clamp(min=1e-12)
    nearest = first[:, None] + share.clamp(0, 1)[..., None] * line
    distance: Tensor = torch.linalg.vector_norm(points - nearest, dim=-1)
    return distance
