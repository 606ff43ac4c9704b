"""The nearest face of every pixel, in plain torch: test the pixels of each face's box, keep the least depth."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wildhoi.rendering.camera import NEAR, project

MAX_PAIRS = 2**18
"""(face, pixel) candidates tested at once: bounds memory, and keeps the work in a processor's cache."""

MAX_FACES = {"cpu": 2**16, "cuda": 2**22}
"""Projected faces (images x faces) held at once, at least those of one image."""

EMPTY = torch.iinfo(torch.int64).max


class _Candidates(NamedTuple):
    """Faces whose box holds a pixel; face i owns the pairs starts[i] to ends[i], which fill its box row by row."""

    corners: list[tuple[Tensor, Tensor, Tensor]]
    left: Int[Tensor, " n"]
    top: Int[Tensor, " n"]
    width: Int[Tensor, " n"]
    image: Int[Tensor, " n"]
    face: Int[Tensor, " n"]
    starts: Int[Tensor, " n"]
    ends: Int[Tensor, " n"]


def nearest_faces(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
    size: tuple[int, int],
) -> Int[Tensor, "b h w"]:
    """Find the nearest face of every pixel, -1 where there is none; equal float32 depths go to the lowest face id.

    The z-buffer is one integer a pixel, the bits of the float32 depth above the face id: bits of positive floats sort
    as the floats do, so the least integer is the answer, in whatever order the faces come.
    """
    height, width = size
    screen = torch.cat([project(vertices, focal, principal_point), vertices[..., 2:]], -1)
    # one infinite coordinate spoils the vertex: as not-a-number it drops every face that uses it
    screen = torch.where(screen.isfinite().all(-1, keepdim=True), screen, torch.nan)
    keys = torch.full((len(vertices), height * width), EMPTY, device=vertices.device)
    group = max(1, MAX_FACES.get(vertices.device.type, MAX_FACES["cpu"]) // max(1, len(faces)))
    for part, part_keys in zip(torch.split(screen, group), torch.split(keys, group), strict=True):
        candidates = _candidates(part, faces, size)
        total = int(candidates.ends[-1]) if len(candidates.ends) else 0
        for start in range(0, total, MAX_PAIRS):
            _draw(candidates, start, min(start + MAX_PAIRS, total), size, part_keys.view(-1))
    return torch.where(keys == EMPTY, -1, keys & 0xFFFFFFFF).view(-1, height, width)


def _candidates(screen: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], size: tuple[int, int]) -> _Candidates:
    """Box every face, given (u, v, z) of its vertices, and drop those that can cover no pixel."""
    height, width = size
    columns = [[screen[..., axis][:, faces[:, corner]].flatten() for axis in range(3)] for corner in range(3)]
    (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = columns
    left = torch.minimum(torch.minimum(x0, x1), x2).ceil().clamp(min=0)
    right = torch.maximum(torch.maximum(x0, x1), x2).floor().clamp(max=width - 1)
    top = torch.minimum(torch.minimum(y0, y1), y2).ceil().clamp(min=0)
    bottom = torch.maximum(torch.maximum(y0, y1), y2).floor().clamp(max=height - 1)
    in_front = torch.minimum(torch.minimum(z0, z1), z2) >= NEAR
    # every comparison with a not-a-number is false, so broken vertices drop out here
    kept = torch.nonzero(in_front & (left <= right) & (top <= bottom))[:, 0]
    left, right, top, bottom = (edge[kept].long() for edge in (left, right, top, bottom))
    counts = (right - left + 1) * (bottom - top + 1)
    ends = counts.cumsum(0)
    image = kept // len(faces) if len(faces) else kept
    corners = [(x[kept], y[kept], z[kept]) for x, y, z in columns]
    return _Candidates(corners, left, top, right - left + 1, image, kept - image * len(faces), ends - counts, ends)


def _draw(candidates: _Candidates, start: int, stop: int, size: tuple[int, int], keys: Int[Tensor, " n"]) -> None:
    """Test the candidate pairs from `start` to `stop` and lower the keys of the pixels they cover."""
    c, device = candidates, keys.device
    first = int(torch.searchsorted(c.ends, start, right=True))
    last = int(torch.searchsorted(c.starts, stop))
    repeats = c.ends[first:last].clamp(max=stop) - c.starts[first:last].clamp(min=start)
    owner = torch.repeat_interleave(torch.arange(first, last, device=device), repeats, output_size=stop - start)
    local = torch.arange(start, stop, device=device) - c.starts[owner]
    row = local // c.width[owner]
    y, x = c.top[owner] + row, c.left[owner] + local - row * c.width[owner]
    edges = edge_functions([(u[owner] - x, v[owner] - y) for u, v, _ in c.corners])
    least = torch.minimum(torch.minimum(edges[0], edges[1]), edges[2])
    most = torch.maximum(torch.maximum(edges[0], edges[1]), edges[2])
    hit = torch.nonzero(((least >= 0) & (most > 0)) | ((most <= 0) & (least < 0)))[:, 0]
    owner, x, y = owner[hit], x[hit], y[hit]
    e0, e1, e2 = (edge[hit] for edge in edges)
    z0, z1, z2 = (z[owner] for _, _, z in c.corners)
    depth = (e0 + e1 + e2) / (e0 / z0 + e1 / z1 + e2 / z2)
    key = (depth.float().view(torch.int32).long() << 32) | c.face[owner]
    pixel = (c.image[owner] * size[0] + y) * size[1] + x
    keys.scatter_reduce_(0, pixel, key, "amin")


def edge_functions(corners: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Twice the signed areas of pixel and edge opposite to each corner, for corners (x, y) relative to the pixel.

    Two faces on either side of an edge compute the same two products, so their numbers are exactly opposite: a pixel
    on the edge is missed by neither. The products are separate operations; a fused one would round them differently.
    """
    (ax, ay), (bx, by), (cx, cy) = corners
    return bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
