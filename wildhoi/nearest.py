"""Nearest neighbours between batches of point clouds, with distances that have a gradient; for losses.

For the exact distances that scores are made of see `evaluation.neighbours`.
"""

from importlib import import_module
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wildhoi.errors import InputError, MissingAssetError

MAX_DISTANCES = {"cpu": 2**18, "cuda": 2**26}
"""Distances held at once, at least those of one point in every image: bounds memory, and fits a processor's cache."""


class Nearest(NamedTuple):
    """What is nearest to each point, and how far that is, metres."""

    distance: Float[Tensor, "b n"]
    """0 for padding, infinite where the other cloud is empty; its gradient is 0 there and at distance 0."""
    neighbour: Int[Tensor, "b n"]
    """Its index among the others (int64); -1 for padding and where the other cloud is empty."""


def nearest_points(
    points: Float[Tensor, "b n 3"],
    others: Float[Tensor, "b m 3"],
    *,
    lengths: Int[Tensor, " b"] | None = None,
    other_lengths: Int[Tensor, " b"] | None = None,
    backend: str = "torch",
) -> Nearest:
    """Find for each point the nearest of the others of its image, without a host-device synchronisation.

    Which one is nearest carries no gradient; the distance to it is differentiable in both clouds and worked out from
    coordinate differences, so that it is as exact 42 m away from the origin as near it.

    Args:
        points: metres, any frame.
        others: likewise.
        lengths: how many rows of `points` count in each image, where not all; the rest is padding.
        other_lengths: likewise of `others`.
        backend: `torch`, or `pytorch3d` where that is installed.

    Raises:
        InputError: the backend is unknown.
        MissingAssetError: pytorch3d is not installed.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend: got {backend!r}, wanted one of {', '.join(BACKENDS)}")
    (batch, count, _), available = points.shape, others.shape[1]
    counts = _lengths(lengths, batch, count, points.device), _lengths(other_lengths, batch, available, points.device)
    real = torch.arange(count, device=points.device) < counts[0][:, None]
    found = real & (counts[1] > 0)[:, None]
    if not available or not count or not batch:
        index = torch.full((batch, count), -1, device=points.device)
        return Nearest(points.new_zeros((batch, count)).masked_fill(real, torch.inf), index)
    with torch.no_grad():
        index = BACKENDS[backend](points.detach(), others.detach(), *counts).masked_fill(~found, -1)
    return Nearest(_distances(points, others, index, found).masked_fill(real & ~found, torch.inf), index)


def _distances(
    points: Float[Tensor, "b n 3"],
    others: Float[Tensor, "b m 3"],
    index: Int[Tensor, "b n"],
    found: Bool[Tensor, "b n"],
) -> Float[Tensor, "b n"]:
    """Distances to the others of these indices, 0 where nothing was found."""
    partner = others.gather(1, index.clamp(min=0)[..., None].expand(-1, -1, 3))
    distances: Tensor = torch.linalg.vector_norm((points - partner).masked_fill(~found[..., None], 0), dim=-1)
    return distances


def _lengths(lengths: Int[Tensor, " b"] | None, batch: int, count: int, device: torch.device) -> Int[Tensor, " b"]:
    return torch.full((batch,), count, device=device) if lengths is None else lengths.long()


def _by_torch(
    points: Float[Tensor, "b n 3"],
    others: Float[Tensor, "b m 3"],
    lengths: Int[Tensor, " b"],
    other_lengths: Int[Tensor, " b"],
) -> Int[Tensor, "b n"]:
    """Compare all pairs, a block of points at a time."""
    padding = torch.arange(others.shape[1], device=others.device) >= other_lengths[:, None]
    others = others.masked_fill(padding[..., None], torch.inf)
    limit = MAX_DISTANCES.get(points.device.type, MAX_DISTANCES["cpu"])
    block = max(1, limit // (len(others) * others.shape[1]))
    # the quick formula |x|^2 - 2 x.y + |y|^2 loses millimetres to centimetres far from the origin
    mode = "donot_use_mm_for_euclid_dist"
    parts = [torch.cdist(part, others, compute_mode=mode).argmin(-1) for part in torch.split(points, block, dim=1)]
    return torch.cat(parts, 1)


def _by_pytorch3d(
    points: Float[Tensor, "b n 3"],
    others: Float[Tensor, "b m 3"],
    lengths: Int[Tensor, " b"],
    other_lengths: Int[Tensor, " b"],
) -> Int[Tensor, "b n"]:
    """Ask pytorch3d, in float32 as its CPU code wants it; only its choice is used, since its distances are squared."""
    try:
        ops = import_module("pytorch3d.ops")
    except ImportError:
        raise MissingAssetError(
            'backend "pytorch3d": the package is not installed; install it (docs/renderers.md), or use "torch"'
        ) from None
    found = ops.knn_points(points.float(), others.float(), lengths1=lengths, lengths2=other_lengths, K=1)
    index: Tensor = found.idx[..., 0]
    return index


BACKENDS = {"torch": _by_torch, "pytorch3d": _by_pytorch3d}
