"""Grouping: for every view the k others whose rays pass its own nearest (paper, equations 11 and 12).

All pairs are estimated in float32, and the nearest by estimate, a pool of some times k, measured exactly. From its pool
each view takes neighbours one by one: next is the one with the least mix of the distance to the view and the mean
distance to those taken before, among those seen from elsewhere than all of these. The published search (NN-descent)
mixes and compares with whatever neighbours it has at the moment, so that its result depends on chance and order; this
is its deterministic counterpart. Ties go to the nearer view, then to the lower place.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from baselines.grouping.distances import EXACT_NUMBERS, Estimator, line_distances, lines_of
from baselines.grouping.groups import Groups, GroupSettings
from wildhoi.errors import InputError
from wildhoi.views import Views

ROWS = {"cpu": 128, "cuda": 4096}
"""Views whose distances to all are estimated at once, memory allowing."""
CHOOSING = {"cpu": 32, "cuda": 4096}
"""Views that choose at once: what they choose from fits a processor's cache."""
DEFAULT = GroupSettings()
SCAN_BYTES = 24
"""For each pair of views in a block: the estimate, and what finding the nearest takes."""


class _Table(NamedTuple):
    """All views on the device."""

    lines: Float[Tensor, "6 n p"]
    """float64."""
    vectors: Float[Tensor, "n v"]
    """X_2.5D as unit vectors, float32: the rays, and from the pelvis to the camera."""


class _Pool(NamedTuple):
    """The candidates of a block of views, nearest first."""

    indices: Int[Tensor, "b m"]
    distances: Float[Tensor, "b m"]
    lines: Float[Tensor, "6 b p m"]
    vectors: Float[Tensor, "b m v"]


def group_views(
    views: Views,
    settings: GroupSettings = DEFAULT,
    *,
    device: str = "cpu",
    provenance: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Groups:
    """Find the neighbours of every view among the others.

    Args:
        views: of one object.
        settings: how.
        device: a torch device, `cpu` or `cuda:N`.
        provenance: where the views come from, to be kept with the groups.
        progress: called with (views done, views).

    Raises:
        InputError: there are not more than k views, or a ray or a position is not finite, or a ray no unit vector.
    """
    _check(views, settings)
    count = len(views.view_ids)
    table = _table(views, device)
    neighbours = np.empty((count, settings.k), np.int64)
    distances = np.empty((count, settings.k), np.float32)
    kind = table.lines.device.type
    rows = _fitting(ROWS[kind], settings.memory // 2, SCAN_BYTES * count)
    with torch.no_grad():
        estimate = Estimator(table.lines, settings.distance)
        for start in range(0, count, rows):
            stop = min(start + rows, count)
            near = _nearest(estimate(start, stop), start, min(settings.candidates, count - 1))
            places = torch.arange(start, stop, device=device)
            step = _fitting(CHOOSING[kind], settings.memory // 2, _pool_bytes(views, settings))
            parts = [
                _taken(_pool(table, here, pool, settings), settings)
                for here, pool in zip(torch.split(places, step), torch.split(near, step), strict=True)
            ]
            neighbours[start:stop] = torch.cat([indices for indices, _ in parts]).cpu().numpy()
            distances[start:stop] = torch.cat([metres for _, metres in parts]).cpu().numpy()
            if progress is not None:
                progress(stop, count)
    return Groups(views.object, views.view_ids, neighbours, distances, settings, dict(provenance or {}))


def _check(views: Views, settings: GroupSettings) -> None:
    count = len(views.view_ids)
    if count <= settings.k:
        raise InputError(
            f"{views.object}: got {count} views, want at least {settings.k + 1} for k = {settings.k} neighbours of "
            "each; add images, or lower k"
        )
    whole = np.isfinite(views.rays).all((1, 2)) & np.isfinite(views.positions).all(1)
    unit = np.abs(np.linalg.norm(views.rays, axis=2) - 1).max(1) < 1e-6
    for good, what in ((whole, "a ray or a position that is not finite"), (unit, "a ray that is no unit vector")):
        if not good.all():
            first = views.view_ids[int(good.argmin())]
            raise InputError(
                f"{views.object}: view {first!r} has {what} ({(~good).sum()} such views); leave them out, or estimate "
                "their keypoints and cameras again"
            )


def _table(views: Views, device: str) -> _Table:
    away = np.linalg.norm(views.positions, axis=1, keepdims=True)
    camera = views.positions / np.maximum(away, 1e-12)
    vectors = np.concatenate([views.rays, camera[:, None]], axis=1).reshape(len(camera), -1)
    return _Table(lines_of(views.rays, views.positions).to(device), torch.from_numpy(vectors).float().to(device))


def _fitting(most: int, memory: int, each: int) -> int:
    """How many views of `each` bytes are worked on at once."""
    return max(1, min(most, memory // each))


def _pool_bytes(views: Views, settings: GroupSettings) -> int:
    lines = int(views.rays.shape[1])
    return 8 * EXACT_NUMBERS * lines * min(settings.candidates, len(views.view_ids))


def _nearest(estimates: Float[Tensor, "b n"], start: int, count: int) -> Int[Tensor, "b m"]:
    """The places of the views nearest by estimate, the view itself left out; of equal ones the lower places."""
    rows = torch.arange(len(estimates), device=estimates.device)
    estimates[rows, start + rows] = torch.inf
    values, places = estimates.topk(count, largest=False)
    # of several at the same distance as the last `topk` takes any
    tied = (estimates <= values[:, -1:]).sum(1) > count
    if tied.any():
        places[tied] = estimates[tied].sort(stable=True).indices[:, :count]
    return places.sort().values


def _pool(table: _Table, here: Int[Tensor, " b"], near: Int[Tensor, "b m"], settings: GroupSettings) -> _Pool:
    """Measure the candidates of the views `here`, given in the order of their places, and sort them by distance."""
    lines = table.lines[:, near].mT.contiguous()
    # rounded, so that equal views are at equal distances however they were worked out
    distances, order = line_distances(table.lines[:, here], lines, settings.distance).float().sort(stable=True)
    near = near.gather(1, order)
    if settings.consistency:
        lines = lines.float().gather(3, order[None, :, None].expand_as(lines))
    return _Pool(near, distances, lines, table.vectors[near] if settings.diversity else lines.new_empty(0))


def _taken(pool: _Pool, settings: GroupSettings) -> tuple[Int[Tensor, "b k"], Float[Tensor, "b k"]]:
    """Neighbours and their distances in the order in which they are taken; -1 and infinity where none is left."""
    rows = torch.arange(len(pool.indices), device=pool.indices.device)
    shape = (len(rows), settings.k)
    neighbours, distances = pool.indices.new_full(shape, -1), pool.distances.new_full(shape, torch.inf)
    free = torch.ones_like(pool.distances, dtype=torch.bool)
    if settings.threshold is not None:
        free &= pool.distances <= settings.threshold
    share, between = settings.consistency, torch.zeros_like(pool.distances)
    for step in range(min(settings.k, free.shape[1])):
        mixed = (1 - share) * pool.distances + share * between / step if share and step else pool.distances
        best = mixed.masked_fill(~free, torch.inf).argmin(1)
        found = free[rows, best]
        neighbours[:, step] = pool.indices[rows, best].masked_fill(~found, -1)
        distances[:, step] = pool.distances[rows, best].masked_fill(~found, torch.inf)
        free[rows, best] = False
        if share:
            between += line_distances(pool.lines[:, rows, :, best].permute(1, 0, 2), pool.lines, settings.distance)
        if settings.diversity:
            vectors = pool.vectors[rows, best]
            free &= (pool.vectors - vectors[:, None]).abs().mean(2) > settings.diversity
    return neighbours, distances
