"""The nearest face of every pixel, found by pytorch3d where that is installed; looked for only when asked for."""

from importlib import import_module

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wildhoi.errors import MissingAssetError
from wildhoi.rendering.camera import NEAR, project


def nearest_faces(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
    size: tuple[int, int],
) -> Int[Tensor, "b h w"]:
    """Find the nearest faces with pytorch3d, whose image plane has x left, y up and the shorter side from -1 to 1."""
    try:
        renderer = import_module("pytorch3d.renderer.mesh.rasterize_meshes")
        structures = import_module("pytorch3d.structures")
    except ImportError:
        raise MissingAssetError(
            'backend "pytorch3d": the package is not installed; install it (conda, or from source), or use "torch"'
        ) from None
    height, width = size
    extent = torch.tensor([width - 1, height - 1], device=vertices.device)
    plane = (extent - 2 * project(vertices, focal, principal_point)) / min(size)
    screen = torch.cat([plane, vertices[..., 2:]], -1).float()
    in_front = (vertices[..., 2] >= NEAR)[:, faces].all(-1)
    kept = [torch.nonzero(row)[:, 0] for row in in_front]
    meshes = structures.Meshes(list(screen), [faces[ids] for ids in kept])
    packed = renderer.rasterize_meshes(meshes, size, blur_radius=0.0, faces_per_pixel=1, perspective_correct=True)[0]
    ids = torch.cat([*kept, torch.tensor([-1], device=vertices.device)])
    return ids[packed[..., 0]]
