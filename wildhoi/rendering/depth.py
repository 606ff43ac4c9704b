"""Depth that has a gradient: where the rays of pixels meet the planes of the faces they see."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wildhoi.errors import InputError
from wildhoi.rendering.fixed import nearest_faces_fixed
from wildhoi.rendering.raster import visible_faces

MIN_COSINE = 1e-2
"""Least cosine between ray and normal that depths divide by; bounds their gradient at about 100 m/m."""


class DepthMaps(NamedTuple):
    """Depths, metres, infinite where empty, with a gradient; and what `FixedFaces` says was dropped, a tensor."""

    depth: Float[Tensor, "b h w"]
    dropped: Int[Tensor, ""]


def depth_maps(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
    size: tuple[int, int],
    *,
    window: Int[Tensor, "b 4"] | None = None,
    renderer: str = "torch",
    capacity: int | None = None,
) -> DepthMaps:
    """Draw depths that can be differentiated with respect to the vertices.

    Without a capacity the work follows what is seen: best on a CPU. With one (`measure_capacity`) no shape depends on a
    value, so that on a GPU the host never waits; the maps agree.

    Args:
        vertices: metres, camera frame.
        faces: vertex indices, shared by the batch.
        focal: (fx, fy), pixels.
        principal_point: (cx, cy), pixels.
        size: (height, width).
        window: as `rasterize` has it.
        renderer: `torch`, or `pytorch3d` where that is installed.
        capacity: of `nearest_faces_fixed`.

    Raises:
        InputError: the renderer is unknown, or other than `torch` with a capacity.
        MissingAssetError: pytorch3d is not installed.
    """
    camera = focal, principal_point
    if capacity is None:
        face = visible_faces(vertices, faces, *camera, size, window=window, backend=renderer)
        none_dropped = torch.zeros((), dtype=torch.int64, device=vertices.device)
        return DepthMaps(plane_depth(vertices, faces, face, *camera), none_dropped)
    if renderer != "torch":
        raise InputError(f"capacity: is for the renderer torch, got {renderer!r}; leave the capacity out")
    face, dropped = nearest_faces_fixed(vertices, faces, *camera, size, capacity=capacity, window=window)
    height, width = size
    pixels = torch.arange(height * width, device=vertices.device)
    grid = torch.stack([pixels % width, pixels // width], -1).expand(len(vertices), -1, -1)
    return DepthMaps(pixel_depth(vertices, faces, face.flatten(1), grid, *camera).view(face.shape), dropped)


def plane_depth(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    raster_face: Int[Tensor, "b h w"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
) -> Float[Tensor, "b h w"]:
    """Intersect each pixel's ray with the plane of its face: depth in metres, differentiable, infinite where empty.

    `z = n.v0 / n.d`, with the normal n of the face (v0, v1, v2) and the ray d = ((x - cx)/fx, (y - cy)/fy, 1), worked
    out as `z0 + n.(v0 - z0 d) / n.d` since v0 lies next to the ray. For a face within MIN_COSINE of edge-on, |n.d|
    is held at that bound as a constant: the depth stays between z0 and the plane's, the gradient stays finite.
    Which face a pixel sees carries no gradient, so silhouettes do not move.
    """
    image, y, x = torch.nonzero(raster_face >= 0, as_tuple=True)
    pixels = torch.stack([x, y], -1)
    depth = listed_depth(vertices, faces, raster_face[image, y, x], image, pixels, focal, principal_point)
    empty = torch.full(raster_face.shape, torch.inf, dtype=depth.dtype, device=depth.device)
    return empty.index_put((image, y, x), depth)


def listed_depth(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    face: Int[Tensor, " n"],
    image: Int[Tensor, " n"],
    pixels: Int[Tensor, "n 2"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
) -> Float[Tensor, " n"]:
    """Work out `plane_depth` for a list of pixels (x, y), each of some image and seeing some face of it."""
    ray_xy = (pixels - principal_point[image]) / focal[image]
    return _meet(_corners(vertices, faces, face, image), ray_xy)


def pixel_depth(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    face_ids: Int[Tensor, "b n"],
    pixels: Int[Tensor, "b n 2"] | Float[Tensor, "b n 2"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
) -> Float[Tensor, "b n"]:
    """Work out `plane_depth` at given pixels, with shapes that no value decides and no host-device synchronisation.

    Args:
        vertices: metres, camera frame.
        faces: vertex indices, shared by the batch.
        face_ids: of the faces that the pixels see; -1: none, so an infinite depth without a gradient.
        pixels: (x, y).
        focal: (fx, fy), pixels.
        principal_point: (cx, cy), pixels.
    """
    batch, count = face_ids.shape
    if not len(faces):
        return vertices.new_full((batch, count), torch.inf)
    seen = (face_ids >= 0).view(-1)
    places = torch.arange(batch * count, device=vertices.device)
    # pixels that see nothing take some face each: adding all their zero gradients to one would be slow
    some_face = torch.where(seen, face_ids.view(-1), places % len(faces))
    corners = _corners(vertices, faces, some_face, places // max(count, 1))
    harmless = torch.eye(3, dtype=vertices.dtype, device=vertices.device)
    corners = torch.where(seen[:, None, None], corners, harmless)
    ray_xy = (pixels - principal_point[:, None]) / focal[:, None]
    return _meet(corners, ray_xy.view(-1, 2)).masked_fill(~seen, torch.inf).view(batch, count)


def _meet(corners: Float[Tensor, "n 3 3"], ray_xy: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """Depths at which rays (x, y, 1) meet the planes of faces, as `plane_depth` says."""
    v0, v1, v2 = corners.unbind(1)
    ray = torch.cat([ray_xy, torch.ones_like(ray_xy[:, :1])], -1)
    normal = torch.linalg.cross(v1 - v0, v2 - v0)
    slope = (normal * ray).sum(-1)
    least = MIN_COSINE * (normal.norm(dim=-1) * ray.norm(dim=-1)).detach()
    slope = torch.where(slope.abs() < least, torch.copysign(least, slope.detach()), slope)
    depth: Tensor = v0[:, 2] + (normal * (v0 - v0[:, 2:] * ray)).sum(-1) / slope
    return depth


def _corners(
    vertices: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], face: Int[Tensor, " n"], image: Int[Tensor, " n"]
) -> Float[Tensor, "n 3 3"]:
    """Look up the corners of some faces of some images."""
    index = faces.long().index_select(0, face) + image[:, None] * vertices.shape[1]
    return vertices.reshape(-1, 3).index_select(0, index.view(-1)).view(-1, 3, 3)
