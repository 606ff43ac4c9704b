"""Drawing depth maps of a batch on the crop in which masks are compared."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from baselines.observation import CROP, FOCAL
from wildhoi.rendering import listed_depth, measure_capacity, nearest_faces_fixed, pixel_depth, visible_faces

SIZE = (CROP, CROP)


class Painter:
    """Draws depth maps on the crop of 256 pixels, in the way that suits a device.

    On a CPU the work follows what is seen (`faces`, `listed`). On a GPU (`fixed`) every shape is fixed, so that the
    host never waits (`depth`): there is room for a number of candidates that is measured at the first picture of a
    mesh, and `overflowed` says when it did not suffice, so that the caller can take the steps since then again.
    """

    def __init__(self, backend: str = "torch", *, fixed: bool = False) -> None:
        self.backend, self.fixed = backend, fixed
        self.capacities: dict[str, int] = {}
        self._dropped: list[Tensor] = []

    def faces(
        self, vertices: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], window: Int[Tensor, "b 4"]
    ) -> Int[Tensor, "b h w"]:
        """The faces that pixels within a window see, -1 where none; vertices in metres, camera."""
        return visible_faces(vertices, faces, *_camera(vertices), SIZE, window=window, backend=self.backend)

    def listed(
        self,
        vertices: Float[Tensor, "b v 3"],
        faces: Int[Tensor, "f 3"],
        face: Int[Tensor, " n"],
        image: Int[Tensor, " n"],
        pixels: Int[Tensor, "n 2"],
    ) -> Float[Tensor, " n"]:
        """Depths of pixels that see known faces, metres, differentiable."""
        return listed_depth(vertices, faces, face, image, pixels, *_camera(vertices))

    def depth(
        self, mesh: str, vertices: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], where: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, "b h w"]:
        """Depth in metres, differentiable, at the pixels of a mask that a mesh covers; infinite elsewhere.

        Every shape is fixed; `mesh` is a name, for the room it needs.
        """
        camera, window = _camera(vertices), bounds(where)
        if mesh not in self.capacities:
            self.capacities[mesh] = measure_capacity(vertices, faces, *camera, SIZE, window=window)
        room = self.capacities[mesh]
        face, dropped = nearest_faces_fixed(vertices, faces, *camera, SIZE, capacity=room, window=window)
        self._dropped.append(dropped)
        pixels = torch.arange(CROP * CROP, device=vertices.device)
        grid = torch.stack([pixels % CROP, pixels // CROP], -1).expand(len(vertices), -1, -1)
        ids = torch.where(where, face, -1).flatten(1)
        return pixel_depth(vertices, faces, ids, grid, *camera).view(where.shape)

    def overflowed(self) -> bool:
        """Whether a picture since the last call had too little room; the room is doubled then. Waits for the device."""
        lost = bool(torch.stack(self._dropped).sum()) if self._dropped else False
        self._dropped = []
        if lost:
            self.capacities = {mesh: 2 * room for mesh, room in self.capacities.items()}
        return lost


def _camera(vertices: Float[Tensor, "b v 3"]) -> tuple[Float[Tensor, "b 2"], Float[Tensor, "b 2"]]:
    focal = torch.full((len(vertices), 2), FOCAL, dtype=vertices.dtype, device=vertices.device)
    return focal, torch.full_like(focal, CROP / 2)


def bounds(where: Bool[Tensor, "b h w"]) -> Int[Tensor, "b 4"]:
    """The box (left, top, right, bottom), inclusive, of the marked pixels; right below left where there is none."""
    columns, rows = where.any(1), where.any(2)
    place = torch.arange(CROP, device=where.device)
    edges = [torch.where(marks, place, CROP).amin(1) for marks in (columns, rows)]
    ends = [torch.where(marks, place, -1).amax(1) for marks in (columns, rows)]
    return torch.stack([*edges, *ends], dim=1)
