"""What pixels see of a mesh: face, depth and place on the face, and vertex attributes carried there."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wildhoi.errors import InputError
from wildhoi.rendering import pytorch3d_backend, zbuffer
from wildhoi.rendering.camera import project

BACKENDS = {"torch": zbuffer.nearest_faces, "pytorch3d": pytorch3d_backend.nearest_faces}


class Raster(NamedTuple):
    """What every pixel sees: `point = sum_i barycentric_i vertex_i` of its face, at `depth = point.z`."""

    face: Int[Tensor, "b h w"]
    """Index of the nearest face (int64), -1 where empty."""
    depth: Float[Tensor, "b h w"]
    """Metres along z, infinite where empty."""
    barycentric: Float[Tensor, "b h w 3"]
    """Weights of the face's corners on its surface (perspective-correct), 0 where empty."""


def rasterize(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
    size: tuple[int, int],
    *,
    window: Int[Tensor, "b 4"] | None = None,
    backend: str = "torch",
) -> Raster:
    """Find the nearest face of every pixel; both sides of a face are seen, and nothing here has a gradient.

    Coverage is decided in float64 with edges included, and an edge gives both its faces the same number, so closed
    meshes have no cracks. Depths are compared as float32 (4e-6 m at 42 m) and equal ones go to the lowest face id, so
    neither the batch nor the order of the work changes a bit. Faces without area are ignored; faces with a vertex that
    is nearer than 1 cm or not finite are dropped whole, not clipped.

    Args:
        vertices: metres, camera frame.
        faces: vertex indices, shared by the batch.
        focal: (fx, fy), pixels.
        principal_point: (cx, cy), pixels.
        size: (height, width).
        window: pixels (left, top, right, bottom), inclusive, to draw of each image, where not all of it: within, every
            bit is that of the whole picture; outside it is empty; where right < left nothing is drawn.
        backend: `torch`, or `pytorch3d` where that is installed.

    Raises:
        InputError: the backend is unknown.
        MissingAssetError: pytorch3d is not installed.
    """
    face = visible_faces(vertices, faces, focal, principal_point, size, window=window, backend=backend)
    with torch.no_grad():
        camera = focal.double(), principal_point.double()
        depth, barycentric = _surface(vertices.detach().double(), faces.long(), face, *camera)
        return Raster(face, depth.to(vertices.dtype), barycentric.to(vertices.dtype))


def visible_faces(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
    size: tuple[int, int],
    *,
    window: Int[Tensor, "b 4"] | None = None,
    backend: str = "torch",
) -> Int[Tensor, "b h w"]:
    """Find the nearest face of every pixel, -1 where empty: `rasterize` without its depths and places, and its errors.

    The work for a window grows with it, but for one look at every face; the maps are of the picture's size. To have
    them of the window's size as well, take its corner from the principal point: see docs/renderers.md.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend: got {backend!r}, wanted one of {', '.join(BACKENDS)}")
    with torch.no_grad():
        return BACKENDS[backend](vertices.detach(), faces.long(), focal, principal_point, size, window)


def interpolate(
    attributes: Float[Tensor, "*b v c"], faces: Int[Tensor, "f 3"], raster: Raster
) -> Float[Tensor, "b h w c"]:
    """Carry a vertex attribute to the pixels, 0 where empty; differentiable in the attribute.

    The object's own coordinates as attribute give its correspondence map.

    Args:
        attributes: one table for the whole batch (v, c), or one for each image (b, v, c).
        faces: the faces the raster was made of.
        raster: where to evaluate.
    """
    image, y, x = torch.nonzero(raster.face >= 0, as_tuple=True)
    tables = attributes.expand(len(raster.face), -1, -1)
    weights = raster.barycentric[image, y, x].to(attributes.dtype)
    corners = _corners(tables, faces, raster.face, image, y, x)
    values = sum(weights[:, i, None] * corner for i, corner in enumerate(corners))
    empty = torch.zeros((*raster.face.shape, attributes.shape[-1]), dtype=attributes.dtype, device=attributes.device)
    return empty.index_put((image, y, x), torch.as_tensor(values))


def _surface(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    face: Int[Tensor, "b h w"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
) -> tuple[Float[Tensor, "b h w"], Float[Tensor, "b h w 3"]]:
    """Evaluate depth and perspective-correct barycentric coordinates of the faces that pixels see."""
    image, y, x = torch.nonzero(face >= 0, as_tuple=True)
    screen = torch.cat([project(vertices, focal, principal_point), vertices[..., 2:]], -1)
    corners = [corner.unbind(-1) for corner in _corners(screen, faces, face, image, y, x)]
    edges = zbuffer.edge_functions([(u - x, v - y) for u, v, _ in corners])
    weights = torch.stack([edge / corner[2] for edge, corner in zip(edges, corners, strict=True)], -1)
    total = weights.sum(-1)
    depth = torch.full(face.shape, torch.inf, dtype=vertices.dtype, device=vertices.device)
    depth[image, y, x] = (edges[0] + edges[1] + edges[2]) / total
    barycentric = torch.zeros((*face.shape, 3), dtype=vertices.dtype, device=vertices.device)
    barycentric[image, y, x] = weights / total[:, None]
    return depth, barycentric


def _corners(
    tables: Float[Tensor, "b v c"],
    faces: Int[Tensor, "f 3"],
    raster_face: Int[Tensor, "b h w"],
    image: Int[Tensor, " n"],
    y: Int[Tensor, " n"],
    x: Int[Tensor, " n"],
) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n c"], Float[Tensor, "n c"]]:
    """Look up a table at the three corners of the faces that the given pixels see."""
    flat = tables.reshape(-1, tables.shape[-1])
    index = faces[raster_face[image, y, x]].long() + image[:, None] * tables.shape[1]
    return flat[index[:, 0]], flat[index[:, 1]], flat[index[:, 2]]
