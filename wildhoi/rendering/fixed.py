"""The nearest face of every pixel with shapes that no value decides: nothing makes the host wait for a GPU.

The steps are the z-buffer's (wildhoi/rendering/zbuffer.py) and so are the bits of the result. But how many
candidates, (face, pixel), there are is known only to the device, so there is room for a fixed number of them; the rest
is counted, not drawn. Calls can be captured in a CUDA graph. Do not compile them: a fused multiply-add opens cracks
between faces.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from wildhoi.errors import InputError
from wildhoi.rendering import zbuffer
from wildhoi.rendering.zbuffer import EMPTY, Screen


class FixedFaces(NamedTuple):
    """What pixels see, and how many candidates found no room: above 0 the maps have holes."""

    face: Int[Tensor, "b h w"]
    dropped: Int[Tensor, ""]


class _Pairs(NamedTuple):
    """A face of an image and one pixel (x, y) of its box; meaningless where not `real`."""

    face: Int[Tensor, " n"]
    image: Int[Tensor, " n"]
    x: Float64[Tensor, " n"]
    y: Float64[Tensor, " n"]
    real: Bool[Tensor, " n"]


def nearest_faces_fixed(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
    size: tuple[int, int],
    *,
    capacity: int,
    window: Int[Tensor, "b 4"] | None = None,
) -> FixedFaces:
    """Find the nearest face of every pixel, as `visible_faces` does, without a host-device synchronisation.

    Args:
        vertices: metres, camera frame; no gradient comes back.
        faces: vertex indices, shared by the batch.
        focal: (fx, fy), pixels.
        principal_point: (cx, cy), pixels.
        size: (height, width).
        capacity: room for candidates, in the whole batch; `measure_capacity` finds it. Memory: some 300 bytes each.
        window: as `rasterize` has it.

    Raises:
        InputError: the capacity is not positive.
    """
    if capacity < 1:
        raise InputError(f"capacity: got {capacity}, want at least 1; measure_capacity finds what a batch needs")
    height, width = size
    batch, device = len(vertices), vertices.device
    keys = torch.full((batch * height * width,), EMPTY, device=device)
    dropped = torch.zeros((), dtype=torch.int64, device=device)
    if len(faces) and len(keys):
        with torch.no_grad():
            bounds = zbuffer.clipped_window(window, size, batch, device)
            screen, faces = zbuffer.to_screen(vertices, focal, principal_point), faces.long()
            pairs, total = _pairs(screen, faces, bounds, capacity)
            _lower(keys, screen, faces, pairs, size)
            dropped = (total - capacity).clamp(min=0)
    return FixedFaces(zbuffer.face_ids(keys).view(batch, height, width), dropped)


def measure_capacity(
    vertices: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    focal: Float[Tensor, "b 2"],
    principal_point: Float[Tensor, "b 2"],
    size: tuple[int, int],
    *,
    window: Int[Tensor, "b 4"] | None = None,
    margin: float = 2.0,
) -> int:
    """Count the candidates of a batch, once and with a synchronisation, and leave `margin` times the room.

    Moving meshes need more or less of it: watch `dropped`.
    """
    with torch.no_grad():
        bounds = zbuffer.clipped_window(window, size, len(vertices), vertices.device)
        screen = zbuffer.to_screen(vertices, focal, principal_point)
        total = _counts(zbuffer.face_boxes(screen, faces.long(), bounds)).sum()
    return max(1, math.ceil(float(total) * margin))


def _counts(boxes: zbuffer.Boxes) -> Int[Tensor, "f b"]:
    """Pixels of every box, 0 where it holds none."""
    # double: a box may hold more pixels than float32 counts
    area = (boxes.right - boxes.left + 1).double() * (boxes.bottom - boxes.top + 1)
    return area.masked_fill(~boxes.filled, 0).long()


def _pairs(
    screen: Screen, faces: Int[Tensor, "f 3"], bounds: Float64[Tensor, "b 4"], capacity: int
) -> tuple[_Pairs, Int[Tensor, ""]]:
    """Find, for each place up to the capacity, whose box it falls into; and how many places are wanted."""
    boxes = zbuffer.face_boxes(screen, faces, bounds)
    counts = _counts(boxes).reshape(-1)
    ends = counts.cumsum(0)
    place = torch.arange(capacity, device=ends.device)
    owner = torch.searchsorted(ends, place, right=True).clamp(max=len(ends) - 1)
    local = place - (ends - counts).index_select(0, owner)
    left, top, right = (edge.reshape(-1).index_select(0, owner).double() for edge in boxes[:3])
    x, y = zbuffer.box_pixels(local, left, top, right - left + 1)
    batch = screen.u.shape[1]
    return _Pairs(owner // batch, owner % batch, x, y, place < ends[-1]), ends[-1]


def _lower(
    keys: Int[Tensor, " n"], screen: Screen, faces: Int[Tensor, "f 3"], pairs: _Pairs, size: tuple[int, int]
) -> None:
    """Lower the keys of the pixels that pairs cover; the others compete with EMPTY, which never wins."""
    corners = zbuffer.face_corners(screen, faces, pairs.face, pairs.image)
    edges = zbuffer.edge_functions([(u - pairs.x, v - pairs.y) for u, v, _ in corners])
    hit = zbuffer.covers(edges) & pairs.real
    key = zbuffer.depth_keys(list(edges), [z for _, _, z in corners], pairs.face)
    # what belongs nowhere is spread over the picture: thousands of writes to one place would wait for each other
    anywhere = torch.arange(len(hit), device=keys.device) % len(keys)
    pixel = ((pairs.image * size[0] + pairs.y) * size[1] + pairs.x).where(hit, anywhere).long()
    keys.scatter_reduce_(0, pixel, key.masked_fill(~hit, EMPTY), "amin")
