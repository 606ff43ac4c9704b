"""Which vertices may touch, by the occlusion of an image and of many others, and how far they are apart."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PIECE = 8
"""Images whose pairs of vertices are compared at once on a processor."""


def contact_candidates(
    occlusion: Sequence[np.ndarray], mean: Float[np.ndarray, " v"], threshold: float, most: int = 0
) -> tuple[Int[Tensor, "b m"], Float[Tensor, "b m"]]:
    """The vertices whose occlusion times mean occlusion passes a threshold, and these products (paper, equation 14).

    Args:
        occlusion: maps of the images, 0 and 1 by vertex.
        mean: of the training images.
        threshold: the paper's eta.
        most: of an image's candidates only so many, at even distances in the mesh's order, and of those that any
            image can have three times as many, so that few vertices are posed; 0: all of them.
    """
    able = np.zeros_like(mean)
    able[_thinned(np.flatnonzero(mean > threshold), 3 * most)] = 1
    products = [np.asarray(each, np.float64) * mean * able for each in occlusion]
    chosen = [_thinned(np.flatnonzero(product > threshold), most) for product in products]
    longest = max(1, *(len(index) for index in chosen))
    index = np.full((len(chosen), longest), -1)
    weight = np.zeros((len(chosen), longest))
    for row, (vertices, product) in enumerate(zip(chosen, products, strict=True)):
        index[row, : len(vertices)], weight[row, : len(vertices)] = vertices, product[vertices]
    return torch.from_numpy(index), torch.from_numpy(weight)


def _thinned(index: Int[np.ndarray, " n"], most: int) -> Int[np.ndarray, " m"]:
    if not most or len(index) <= most:
        return index
    return index[np.linspace(0, len(index) - 1, most).round().astype(np.int64)]


def weighted_chamfer(
    one: "tuple[Float[Tensor, 'b m 3'], Float[Tensor, 'b m'], Bool[Tensor, 'b m']]",
    other: "tuple[Float[Tensor, 'b k 3'], Float[Tensor, 'b k'], Bool[Tensor, 'b k']]",
    *,
    inside: bool,
) -> Float[Tensor, " b"]:
    """Mean weighted distance of one side's points to the other's nearest, and the reverse (paper, equation 14), metres.

    The nearest are looked for without gradients; the distances to them alone are differentiated. With `inside` the
    nearest is that of the least weighted distance, as printed. Where a side has no point it is 0.
    """
    (points, weight, valid), (things, thing_weight, thing_valid) = one, other
    weights = (weight, thing_weight) if inside else (torch.ones_like(weight), torch.ones_like(thing_weight))
    # a point's own weight is the same for all its partners, and squares are in the order of distances
    factors = [torch.where(v, w.square(), torch.inf) for v, w in zip((valid, thing_valid), weights, strict=True)]
    partners, thing_partners = _partners(points, factors[0], things, factors[1])
    here = _to_partners(points, weight, things, thing_weight, partners)
    there = _to_partners(things, thing_weight, points, weight, thing_partners)
    return _mean_where(here, valid, thing_valid) + _mean_where(there, thing_valid, valid)


@torch.no_grad()
def _partners(
    points: Float[Tensor, "b m 3"],
    own: Float[Tensor, "b m"],
    things: Float[Tensor, "b k 3"],
    other: Float[Tensor, "b k"],
) -> tuple[Int[Tensor, "b m"], Int[Tensor, "b k"]]:
    """For each point the thing, and for each thing the point, of the least weighted square of their distance."""
    # what fits a processor's cache is several times faster; a GPU takes all at once
    size = PIECE if points.device.type == "cpu" else len(points)
    found = []
    for first in range(0, len(points), size):
        part = slice(first, first + size)
        squares = _squared_distances(points[part], things[part])
        found.append(
            ((squares * other[part, None]).min(2).indices, (squares * own[part, :, None]).min(1).indices),
        )
    one, two = zip(*found, strict=True)
    return torch.cat(one), torch.cat(two)


def _squared_distances(a: Float[Tensor, "b m 3"], b: Float[Tensor, "b k 3"]) -> Float[Tensor, "b m k"]:
    """Of all pairs, above 0, by a product of matrices: about a common middle, to 0.1 mm for float32."""
    middle = b.mean(1, keepdim=True)
    a, b = a - middle, b - middle
    lengths = b.square().sum(2)[:, None] + a.square().sum(2)[:, :, None]
    return torch.baddbmm(lengths, a, b.mT, alpha=-2).clamp_(min=1e-12)


def _to_partners(
    points: Float[Tensor, "b m 3"],
    weight: Float[Tensor, "b m"],
    others: Float[Tensor, "b k 3"],
    other_weight: Float[Tensor, "b k"],
    partners: Int[Tensor, "b m"],
) -> Float[Tensor, "b m"]:
    """Weighted distances of points to their partners."""
    there = others.gather(1, partners[..., None].expand(-1, -1, 3))
    distances: Tensor = torch.linalg.vector_norm(points - there, dim=2)
    return weight * other_weight.gather(1, partners) * distances


def _mean_where(
    values: Float[Tensor, "b m"], valid: Bool[Tensor, "b m"], others: Bool[Tensor, "b k"]
) -> Float[Tensor, " b"]:
    """The mean of an image's valid values; 0 where one of both sides has none."""
    counted = valid & others.any(1, keepdim=True)
    return torch.where(counted, values, 0).sum(1) / valid.sum(1).clamp(min=1)
