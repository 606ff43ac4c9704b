"""Who hides whom where a human and an object overlap in the picture."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wildhoi.rendering.camera import NEAR, project
from wildhoi.rendering.raster import Raster


class Occlusion(NamedTuple):
    """Who is seen where two silhouettes may cross; `overlap` is the region both cover."""

    human_visible: Bool[Tensor, "b h w"]
    object_visible: Bool[Tensor, "b h w"]
    overlap: Bool[Tensor, "b h w"]


def occlusion(human: Raster, obj: Raster) -> Occlusion:
    """Compare the rasters of a human and an object drawn with one camera; at equal depth the human is in front."""
    human_front = human.depth <= obj.depth
    covers_human, covers_object = human.face >= 0, obj.face >= 0
    return Occlusion(covers_human & human_front, covers_object & ~human_front, covers_human & covers_object)


def overlap_vertices(
    vertices: Float[Tensor, "b v 3"],
    overlap: Bool[Tensor, "b h w"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
) -> Bool[Tensor, "b v"]:
    """Mark the vertices, seen or hidden, whose projection falls on a pixel of the overlap: a vertex occlusion map.

    The mean of such maps over training images weighs the contact term (paper, eq. 14).
    """
    height, width = overlap.shape[1:]
    projected = project(vertices, focal, principal_point)
    inside = (vertices[..., 2] > NEAR) & (projected > -0.5).all(-1)
    inside &= (projected[..., 0] < width - 0.5) & (projected[..., 1] < height - 0.5)
    x, y = torch.where(inside[..., None], (projected + 0.5).floor(), 0).long().unbind(-1)
    image = torch.arange(len(vertices), device=vertices.device)[:, None]
    return overlap[image, y, x] & inside
