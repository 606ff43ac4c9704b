"""X_2.5D in tensors, and the coordinates in which its density is learned: metres at the subject.

A view is the unit rays from a camera to the keypoints, and the camera's position, SMPL frame (paper, equation 7). As
they are, the rays of a picture taken from tens of metres away differ by a degree or two, and the same noise is
centimetres in one data set and millimetres in another. So the flow sees metres: for a camera at `t = r u` (u unit), a
ray `d` becomes `(d + u) r`, how far it passes from the pelvis, and the position becomes `u log(1 + r)`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

NEAR = 1e-6
"""Metres: no camera is nearer to the pelvis."""


class View(NamedTuple):
    """Rays (unit) and camera positions (metres), SMPL frame."""

    rays: Float[Tensor, "*b p 3"]
    position: Float[Tensor, "*b 3"]


def rays_from_pixels(
    places: Float[Tensor, "*b p 2"], rotation: Float[Tensor, "*b 3 3"], translation: Float[Tensor, "*b 3"]
) -> View:
    """The view of image coordinates (x/z, y/z) through cameras `x_cam = R x + t` (paper, equation 6, left)."""
    plane = torch.cat([places, torch.ones_like(places[..., :1])], dim=-1)
    rays = torch.nn.functional.normalize(plane, dim=-1) @ rotation
    return View(rays, -(translation[..., None, :] @ rotation).squeeze(-2))


def rays_from_points(points: Float[Tensor, "*b p 3"], position: Float[Tensor, "*b 3"]) -> View:
    """The view of points from camera positions (paper, equation 6, right)."""
    offsets = points - position[..., None, :]
    return View(torch.nn.functional.normalize(offsets, dim=-1), position)


def to_metres(view: View) -> tuple[Float[Tensor, "*b d"], Float[Tensor, " *b"]]:
    """The coordinates of views in metres at the subject, d = 3 (p + 1), and the log-determinant of getting there."""
    r = view.position.norm(dim=-1, keepdim=True).clamp(min=NEAR)
    u = view.position / r
    offsets = (view.rays + u[..., None, :]) * r[..., None]
    count = view.rays.shape[-2]
    log_r = torch.log1p(r)
    # a radial map r -> log(1 + r) of space: g'(r) along the ray, g(r) / r in the two directions across it
    determinant = 3 * count * r.log() - log_r + 2 * (log_r.log() - r.log())
    return torch.cat([offsets.flatten(-2), u * log_r], dim=-1), determinant.squeeze(-1)


def from_metres(coordinates: Float[Tensor, "*b d"]) -> View:
    """Undo `to_metres`; the rays of coordinates that no view has (noise, samples) are not of unit length."""
    offsets, camera = coordinates[..., :-3], coordinates[..., -3:]
    position = camera_of(camera)
    r = position.norm(dim=-1, keepdim=True).clamp(min=NEAR)
    rays = _triples(offsets) / r[..., None] - (position / r)[..., None, :]
    return View(rays, position)


def _triples(numbers: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n 3"]:
    return numbers.reshape(*numbers.shape[:-1], -1, 3)


def camera_of(coordinates: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """Camera positions of their coordinates `u log(1 + r)`."""
    length = coordinates.norm(dim=-1, keepdim=True).clamp(min=NEAR)
    position: Tensor = coordinates / length * torch.expm1(length)
    return position


def flat(view: View) -> Float[Tensor, "*b d"]:
    """X_2.5D as it is, rays then position: what the published code learns the density of."""
    return torch.cat([view.rays.flatten(-2), view.position], dim=-1)


def unflat(coordinates: Float[Tensor, "*b d"]) -> View:
    """Undo `flat`."""
    return View(_triples(coordinates[..., :-3]), coordinates[..., -3:])
