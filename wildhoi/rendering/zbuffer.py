"""The nearest face of every pixel, in plain torch: test the pixels of each face's box, keep the least depth."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int
from torch import Tensor

from wildhoi.rendering.camera import NEAR

MAX_PAIRS = {"cpu": 2**15, "cuda": 2**22}
"""(face, pixel) candidates tested at once: bounds memory, and keeps the work in a processor's cache."""

MAX_FACES = {"cpu": 2**17, "cuda": 2**22}
"""Projected faces (images x faces) held at once, at least those of one image."""

EMPTY = torch.iinfo(torch.int64).max
"""The key of a pixel that no face covers: its lower half, all ones, reads as face -1."""


class Screen(NamedTuple):
    """Vertices in the picture: pixels and metres. Images come last, so that looking up a face's corner moves a row."""

    u: Float64[Tensor, "v b"]
    v: Float64[Tensor, "v b"]
    z: Float64[Tensor, "v b"]
    usable: Bool[Tensor, "v b"]


class Boxes(NamedTuple):
    """Pixels, inclusive, that a face may cover, as whole numbers; not a number, or right < left, where none."""

    left: Float32[Tensor, "f b"]
    top: Float32[Tensor, "f b"]
    right: Float32[Tensor, "f b"]
    bottom: Float32[Tensor, "f b"]

    @property
    def filled(self) -> Bool[Tensor, "f b"]:
        """Which boxes hold a pixel; a comparison with a not-a-number is false, so faces of broken vertices drop out."""
        return (self.left <= self.right) & (self.top <= self.bottom)


class _Candidates(NamedTuple):
    """Faces whose box holds a pixel; face i owns the pairs starts[i] to ends[i], which fill its box row by row."""

    corners: list[tuple[Tensor, Tensor, Tensor]]
    left: Float64[Tensor, " n"]
    top: Float64[Tensor, " n"]
    width: Float64[Tensor, " n"]
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
    window: Int[Tensor, "b 4"] | None = None,
) -> Int[Tensor, "b h w"]:
    """Find the nearest face of every pixel, -1 where there is none; equal float32 depths go to the lowest face id.

    The z-buffer is one integer a pixel, the bits of the float32 depth above the face id: bits of positive floats sort
    as the floats do, so the least integer is the answer, in whatever order the faces come.
    """
    height, width = size
    batch, device = len(vertices), vertices.device
    bounds = clipped_window(window, size, batch, device)
    keys = torch.full((batch, height * width), EMPTY, device=device)
    group = max(1, MAX_FACES.get(device.type, MAX_FACES["cpu"]) // max(1, len(faces)))
    chunk = MAX_PAIRS.get(device.type, MAX_PAIRS["cpu"])
    for first in range(0, batch, group):
        part = slice(first, first + group)
        screen = to_screen(vertices[part], focal[part], principal_point[part])
        candidates = _candidates(screen, faces, bounds[part])
        total = int(candidates.ends[-1]) if len(candidates.ends) else 0
        for start in range(0, total, chunk):
            _draw(candidates, start, min(start + chunk, total), size, keys[part].view(-1))
        face_ids(keys[part])
    return keys.view(batch, height, width)


def clipped_window(
    window: Int[Tensor, "b 4"] | None, size: tuple[int, int], batch: int, device: torch.device
) -> Float64[Tensor, "b 4"]:
    """The part of the picture to draw in each image: left, top, right, bottom, inclusive; empty where right < left."""
    height, width = size
    if window is None:
        window = torch.zeros((batch, 4), dtype=torch.int64, device=device) + EMPTY
        window[:, :2] = 0
    left, top, right, bottom = window.unbind(-1)
    edges = left.clamp(min=0), top.clamp(min=0), right.clamp(max=width - 1), bottom.clamp(max=height - 1)
    return torch.stack(edges, -1).double()


def to_screen(
    vertices: Float[Tensor, "b v 3"], focal: Float[Tensor, "b 2"], principal_point: Float[Tensor, "b 2"]
) -> Screen:
    """Project in float64; a vertex is usable where it is finite, in the picture too, and not nearer than NEAR."""
    x, y, z = vertices.permute(2, 1, 0).double().contiguous()
    (fx, fy), (cx, cy) = focal.double().unbind(-1), principal_point.double().unbind(-1)
    u, v = fx * x / z + cx, fy * y / z + cy
    return Screen(u, v, z, (z >= NEAR) & z.isfinite() & u.isfinite() & v.isfinite())


def face_boxes(screen: Screen, faces: Int[Tensor, "f 3"], bounds: Float64[Tensor, "b 4"]) -> Boxes:
    """Box every face within the bounds.

    Rounding and clamping keep order, so the corners' numbers are rounded and clamped and the least of them taken: small
    whole numbers, exact in float32. Right and bottom are negated meanwhile: one minimum serves all four.
    """
    left, top, right, bottom = bounds.unbind(-1)
    low_u = screen.u.ceil().clamp(left, right + 1).masked_fill_(~screen.usable, torch.nan)
    low_v, high_u = screen.v.ceil().clamp(top, bottom + 1), screen.u.floor().clamp(left - 1, right)
    high_v = screen.v.floor().clamp(top - 1, bottom)
    table = torch.stack([low_u, low_v, -high_u, -high_v], 1).float()
    first, second, third = (table.index_select(0, corner) for corner in faces.unbind(-1))
    boxes = torch.minimum(torch.minimum(first, second, out=first), third, out=first).unbind(1)
    return Boxes(boxes[0], boxes[1], -boxes[2], -boxes[3])


def _candidates(screen: Screen, faces: Int[Tensor, "f 3"], bounds: Float64[Tensor, "b 4"]) -> _Candidates:
    """Box every face and keep those that may cover a pixel."""
    boxes = face_boxes(screen, faces, bounds)
    face, image = torch.nonzero(boxes.filled, as_tuple=True)
    place = face * boxes.left.shape[1] + image
    left, top, right, bottom = (edge.reshape(-1).index_select(0, place).double() for edge in boxes)
    width = right - left + 1
    counts = (width * (bottom - top + 1)).long()
    ends = counts.cumsum(0)
    corners = face_corners(screen, faces, face, image)
    return _Candidates(corners, left, top, width, image, face, ends - counts, ends)


def face_corners(
    screen: Screen, faces: Int[Tensor, "f 3"], face: Int[Tensor, " n"], image: Int[Tensor, " n"]
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(u, v, z) of the three corners of some faces of some images."""
    places = [corner.index_select(0, face) * screen.u.shape[1] + image for corner in faces.unbind(-1)]
    u, v, z = (column.view(-1) for column in screen[:3])
    # index_select is four times as fast as indexing on a CPU
    return [(u.index_select(0, place), v.index_select(0, place), z.index_select(0, place)) for place in places]


def _draw(candidates: _Candidates, start: int, stop: int, size: tuple[int, int], keys: Int[Tensor, " n"]) -> None:
    """Test the candidate pairs from `start` to `stop` and lower the keys of the pixels they cover."""
    c, device = candidates, keys.device
    first = int(torch.searchsorted(c.ends, start, right=True))
    last = int(torch.searchsorted(c.starts, stop))
    repeats = c.ends[first:last].clamp(max=stop) - c.starts[first:last].clamp(min=start)
    owner = torch.repeat_interleave(torch.arange(first, last, device=device), repeats, output_size=stop - start)
    local = torch.arange(start, stop, device=device) - c.starts.index_select(0, owner)
    x, y = box_pixels(local, *(column.index_select(0, owner) for column in (c.left, c.top, c.width)))
    edges = edge_functions([(u.index_select(0, owner) - x, v.index_select(0, owner) - y) for u, v, _ in c.corners])
    hit = torch.nonzero(covers(edges))[:, 0]
    owner, x, y = owner.index_select(0, hit), x.index_select(0, hit), y.index_select(0, hit)
    depths = [z.index_select(0, owner) for _, _, z in c.corners]
    key = depth_keys([edge.index_select(0, hit) for edge in edges], depths, c.face.index_select(0, owner))
    pixel = (c.image.index_select(0, owner) * size[0] + y.long()) * size[1] + x.long()
    keys.scatter_reduce_(0, pixel, key, "amin")


def box_pixels(
    local: Int[Tensor, " n"], left: Float64[Tensor, " n"], top: Float64[Tensor, " n"], width: Float64[Tensor, " n"]
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
    """Pixel (x, y) number `local` of a box, row by row, as whole numbers; exact while a box has under 2^52 pixels."""
    number = local.double()
    row = (number / width).floor()
    return left + (number - row * width), top + row


def covers(edges: tuple[Tensor, Tensor, Tensor]) -> Bool[Tensor, " n"]:
    """Whether faces of these edge functions, of either orientation but not without area, cover the pixel."""
    least = torch.minimum(torch.minimum(edges[0], edges[1]), edges[2])
    most = torch.maximum(torch.maximum(edges[0], edges[1]), edges[2])
    return ((least >= 0) & (most > 0)) | ((most <= 0) & (least < 0))


def depth_keys(edges: list[Tensor], depths: list[Tensor], face: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """The integers that compete for a pixel: bits of the depth there, as float32, above the face id."""
    (e0, e1, e2), (z0, z1, z2) = edges, depths
    depth = (e0 + e1 + e2) / (e0 / z0 + e1 / z1 + e2 / z2)
    return (depth.float().view(torch.int32).long() << 32) | face


def face_ids(keys: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """Turn keys, in place, into the face ids of their lower halves; that of EMPTY is -1."""
    return keys.bitwise_left_shift_(32).bitwise_right_shift_(32)


def edge_functions(corners: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Twice the signed areas of pixel and edge opposite to each corner, for corners (x, y) relative to the pixel.

    Two faces on either side of an edge compute the same two products, so their numbers are exactly opposite: a pixel
    on the edge is missed by neither. The products are separate operations; a fused one would round them differently.
    """
    (ax, ay), (bx, by), (cx, cy) = corners
    return bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
