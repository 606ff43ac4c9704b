"""Plain pictures of meshes for the documentation: smooth normals, a lamp and a sky, averaged pixels."""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from wildhoi.rendering.raster import Raster, interpolate, rasterize

LAMP = (-0.4, -0.6, -0.7)
"""Direction towards the lamp, camera frame: above the camera's left shoulder."""

AMBIENT, SKY, DIFFUSE = 0.3, 0.25, 0.5
"""Shares of the light: from everywhere, from above (hemisphere), from the lamp (Lambert)."""


def picture(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
    size: tuple[int, int],
    *,
    colors: Float[Tensor, "v 3"] | None = None,
    opacity: float = 1.0,
    background: UInt8[Tensor, "b h w 3"] | None = None,
) -> UInt8[Tensor, "b h w 3"]:
    """Rasterize at three times the size and shade: a smooth picture in one call; arguments as those two have them."""
    raster = rasterize(vertices, faces, *finer(focal, principal_point, size, 3))
    return shade(raster, vertices, faces, colors=colors, opacity=opacity, background=background, supersampling=3)


def finer(
    focal: Float[Tensor, "b 2"], principal_point: Float[Tensor, "b 2"], size: tuple[int, int], times: int
) -> tuple[Float[Tensor, "b 2"], Float[Tensor, "b 2"], tuple[int, int]]:
    """The same camera's focal lengths, principal point and size of a picture with `times` as many pixels each way."""
    # pixel centres are integers, so it is the pixels' corners, at -0.5, that keep their place
    return focal * times, (principal_point + 0.5) * times - 0.5, (size[0] * times, size[1] * times)


def shade(
    raster: Raster,
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    *,
    colors: Float[Tensor, "v 3"] | None = None,
    opacity: float = 1.0,
    background: UInt8[Tensor, "b h w 3"] | None = None,
    supersampling: int = 1,
) -> UInt8[Tensor, "b _ _ 3"]:
    """Light a raster and lay it over a background; several meshes are shown by concatenating them.

    Args:
        raster: of these vertices and faces, `supersampling` times as wide and high as the picture.
        vertices: metres, camera frame.
        faces: the faces the raster was made of.
        colors: of the vertices, 0 to 1; light grey by default.
        opacity: 1 hides the background, 0 the mesh.
        background: at the picture's size; white by default.
        supersampling: how many pixels, along each side, are averaged into one.
    """
    if colors is None:
        colors = vertices.new_full((vertices.shape[1], 3), 0.75)
    lit = interpolate(colors.to(vertices.dtype), faces, raster) * _light(raster, vertices, faces)[..., None]
    layers = torch.cat([lit, (raster.face >= 0)[..., None].to(lit.dtype)], -1).movedim(-1, 1)
    averaged = avg_pool2d(layers, supersampling).movedim(1, -1) * opacity
    behind = torch.ones_like(averaged[..., :3]) if background is None else background.to(averaged.dtype) / 255
    shown = averaged[..., :3] + behind * (1 - averaged[..., 3:])
    return (shown.clamp(0, 1) * 255).round().to(torch.uint8)


def _light(raster: Raster, vertices: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "b h w"]:
    """Brightness of every pixel from its smooth normal, turned to the side of the face that is seen."""
    normals = normalize(interpolate(vertex_normals(vertices, faces), faces, raster), dim=-1)
    away = (_face_normals(vertices, faces) * vertices[:, faces[:, 0].long()]).sum(-1) > 0
    seen_from_behind = away.gather(1, raster.face.clamp(min=0).flatten(1)).view(raster.face.shape)
    normals = torch.where(seen_from_behind[..., None], -normals, normals)
    lamp = normalize(normals.new_tensor(LAMP), dim=0)
    from_above = 0.5 - 0.5 * normals[..., 1]
    return AMBIENT + SKY * from_above + DIFFUSE * (normals @ lamp).clamp(min=0)


def vertex_normals(vertices: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "b v 3"]:
    """Average the normals of the faces around each vertex, weighted by their areas; unit length, 0 without faces."""
    normals = _face_normals(vertices, faces)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total.index_add_(1, faces[:, corner].long(), normals)
    # millimetre faces have areas far below the floor that `normalize` puts under a length
    length = torch.linalg.vector_norm(total, dim=-1, keepdim=True)
    return torch.where(length > 0, total / length, 0)


def _face_normals(vertices: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "b f 3"]:
    """Normals of twice the faces' areas in length."""
    v0, v1, v2 = (vertices[:, faces[:, corner].long()] for corner in range(3))
    normals: Tensor = torch.linalg.cross(v1 - v0, v2 - v0)
    return normals
