"""Which vertices may touch, by the occlusion of an image and of many others."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


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
