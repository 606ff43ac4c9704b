"""The nearest face of every pixel, found by pytorch3d where that is installed; looked for only when asked for."""

from importlib import import_module

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wildhoi.errors import MissingAssetError
from wildhoi.rendering.camera import NEAR, project


def nearest_faces(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
    size: tuple[int, int],
    window: Int[Tensor, "b 4"] | None = None,
) -> Int[Tensor, "b h w"]:
    """Find the nearest faces with pytorch3d, whose image plane has x left, y up and the shorter side from -1 to 1.

    It draws whole pictures: what lies outside a window is erased afterwards.
    """
    try:
        renderer = import_module("pytorch3d.renderer.mesh.rasterize_meshes")
        structures = import_module("pytorch3d.structures")
    except ImportError:
        raise MissingAssetError(
            'backend "pytorch3d": the package is not installed; install it (docs/renderers.md), or use "torch"'
        ) from None
    height, width = size
    extent = torch.tensor([width - 1, height - 1], device=vertices.device)
    vertices = vertices.double()
    plane = (extent - 2 * project(vertices, focal.double(), principal_point.double())) / min(size)
    screen = torch.cat([plane, vertices[..., 2:]], -1).float()
    in_front = (vertices[..., 2] >= NEAR)[:, faces].all(-1)
    kept = [torch.nonzero(row)[:, 0] for row in in_front]
    meshes = structures.Meshes(list(screen), [faces[ids] for ids in kept])
    packed = renderer.rasterize_meshes(meshes, size, blur_radius=0.0, faces_per_pixel=1, perspective_correct=True)[0]
    ids = torch.cat([*kept, torch.tensor([-1], device=vertices.device)])
    found = ids[packed[..., 0]]
    return found if window is None else torch.where(_inside(window, size), found, -1)


def _inside(window: Int[Tensor, "b 4"], size: tuple[int, int]) -> Bool[Tensor, "b h w"]:
    """Which pixels lie in their image's window."""
    left, top, right, bottom = window[:, :, None].unbind(1)
    x, y = (torch.arange(count, device=window.device) for count in (size[1], size[0]))
    return ((y >= top) & (y <= bottom))[:, :, None] & ((x >= left) & (x <= right))[:, None]
