"""Templates as solids: signed distances on a grid, looked up with their gradients."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wildhoi.templates import Template

CELLS = 40
"""Cells along the longest side."""
MARGIN = 0.12
"""Metres around the template that the grid covers; as far out as the thickest limb reaches."""
CORNERS = torch.tensor([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])


@dataclass(frozen=True, eq=False)
class Solid:
    """Signed distance of a template, negative inside, metres; node (i, j, k) is at `origin + step (i, j, k)`."""

    values: Float[Tensor, "x y z"]
    origin: Float[Tensor, "3"]
    step: float

    def look_up(self, points: Float[Tensor, "b n 3"]) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n 3"]]:
        """Distances and their gradients at points of the template frame, trilinear; far outside, the margin and 0."""
        place = (points - self.origin) / self.step
        size = torch.tensor(self.values.shape, device=points.device)
        within = ((place >= 0) & (place < size - 1)).all(-1)
        cell = torch.minimum(place.floor().clamp(min=0).long(), size - 2)
        share = (place - cell).clamp(0, 1)
        corners = CORNERS.to(points.device)
        index = cell[..., None, :] + corners
        values = self.values[index[..., 0], index[..., 1], index[..., 2]]
        weights = torch.where(corners.bool(), share[..., None, :], 1 - share[..., None, :])
        signs = (2 * corners - 1).to(points.dtype)
        slopes = [
            (values * signs[:, axis] * weights[..., [a for a in range(3) if a != axis]].prod(-1)).sum(-1)
            for axis in range(3)
        ]
        distance = (values * weights.prod(-1)).sum(-1)
        gradient = torch.stack(slopes, -1) / self.step
        return torch.where(within, distance, MARGIN), torch.where(within[..., None], gradient, 0)


@cache
def make_solid(template: Template, dtype: torch.dtype, device: torch.device) -> Solid:
    """Sample a template on a grid, once."""
    import igl

    low, high = template.vertices.min(0) - MARGIN, template.vertices.max(0) + MARGIN
    step = float((high - low).max()) / CELLS
    axes = [np.arange(start, end + step, step) for start, end in zip(low, high, strict=True)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    distance = np.sqrt(igl.point_mesh_squared_distance(nodes, template.vertices, template.faces)[0])
    inside = igl.fast_winding_number(template.vertices, template.faces, nodes) > 0.5
    signed = np.where(inside, -distance, distance).reshape([len(axis) for axis in axes])
    values, origin = (torch.as_tensor(array, dtype=dtype, device=device) for array in (signed, low))
    return Solid(values, origin, step)
