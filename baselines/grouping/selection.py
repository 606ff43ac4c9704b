"""Choosing neighbours: from the views that bounds do not rule out to the pool, and from the pool to the neighbours.

Views are measured in the order of their bounds until no other can be nearer than the last of the pool, so that the
pool is exact wherever the bounds come from. From it each view takes neighbours one by one: next is the one with the
least mix of the distance to the view and the mean distance to those taken before, among those seen from elsewhere than
all of these. Ties go to the nearer view, then to the lower place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from baselines.grouping.blocks import Cut, Near, read_near
from baselines.grouping.descent import read_lists
from baselines.grouping.distances import EXACT_NUMBERS, line_distances, mean_of, measure
from baselines.grouping.groups import GroupSettings
from baselines.grouping.table import Table, read_table

CHOOSING = {"cpu": 20, "cuda": 4096}
"""Views that choose at once: what they choose from fits a processor's cache."""
SPARE = 4
"""Views that are measured beside as many as the pool has: bounds order views a little otherwise than distances."""


@dataclass(frozen=True)
class Choice:
    """The views of a part, that choose among what was found for them."""

    folder: Path
    """Of the table."""
    found: Path
    """Of the files of all blocks, or of the last round's lists."""
    cut: Cut
    part: int
    settings: GroupSettings
    device: str


class Kept(NamedTuple):
    """What is known of the distances of some views to all others."""

    bounds: Float[Tensor, "b c"]
    places: Int[Tensor, "b c"]
    rest: Float[Tensor, "b s"]
    """For each part, a bound of what was not kept of it; infinite where all was."""

    def of(self, rows: slice) -> "Kept":
        """Some of the views."""
        return Kept(*(each[rows] for each in self))


class Pool(NamedTuple):
    """The candidates of a block of views, nearest first."""

    indices: Int[Tensor, "b m"]
    distances: Float[Tensor, "b m"]
    lines: Float[Tensor, "6 b p m"]
    vectors: Float[Tensor, "b v m"]


def choose(choice: Choice, path: Path) -> None:
    """Choose the neighbours of the views of a part and write them with their distances."""
    settings, parts = choice.settings, choice.cut.parts
    table, part = read_table(choice.folder, choice.device), parts[choice.part]
    if settings.rounds is None:
        kept = _kept(read_near(choice.found, choice.part, len(parts)), parts, choice.device)
    else:
        kept = _listed(read_lists(choice.found, choice.part), choice.device)
    size = min(settings.candidates, choice.cut.count - 1)
    each = 8 * EXACT_NUMBERS * table.lines.shape[2] * (size + SPARE)
    step = max(1, min(CHOOSING[torch.device(choice.device).type], settings.memory // 2 // each))
    found = []
    with torch.no_grad():
        for start in range(0, len(part), step):
            rows = slice(start, min(start + step, len(part)))
            here = torch.arange(part.start + rows.start, part.start + rows.stop, device=choice.device)
            found.append(taken(_pool(table, here, kept.of(rows), parts, size, settings), settings))
    neighbours, distances = (torch.cat(arrays).cpu().numpy() for arrays in zip(*found, strict=True))
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, neighbours=neighbours.astype(np.int32), distances=distances)


def read_choice(file: Path) -> tuple[Int[np.ndarray, "b k"], Float[np.ndarray, "b k"]]:
    """The neighbours and distances of a part."""
    with np.load(file, allow_pickle=False) as arrays:
        return arrays["neighbours"], arrays["distances"]


def _kept(near: Sequence[Near], parts: Sequence[range], device: str) -> Kept:
    bounds = torch.cat([each.bounds for each in near], 1)
    places = torch.cat([each.places + part.start for each, part in zip(near, parts, strict=True)], 1)
    whole = [each.bounds.shape[1] == len(part) for each, part in zip(near, parts, strict=True)]
    rest = torch.stack([each.bounds.amax(1) for each in near], 1).masked_fill(torch.tensor(whole), torch.inf)
    return Kept(bounds.to(device), places.to(device), rest.to(device))


def _listed(near: Near, device: str) -> Kept:
    """What a list holds, as if that were all there is."""
    return Kept(near.bounds.to(device), near.places.to(device), near.bounds.new_empty(len(near.bounds), 0).to(device))


def _pool(
    table: Table, here: Int[Tensor, " b"], kept: Kept, parts: Sequence[range], size: int, settings: GroupSettings
) -> Pool:
    """The nearest views, `size` of them, and what choosing among them takes."""
    most = size + SPARE
    bounds, order = kept.bounds.topk(min(most + 1, kept.bounds.shape[1]), largest=False)
    unseen = torch.cat([bounds[:, most:], kept.rest, torch.full_like(bounds[:, :1], torch.inf)], 1).amin(1)
    near = kept.places.gather(1, order[:, :most]).long().sort(1).values
    distances, lines = measure(table.lines, here, near, settings.distance)
    distances, order = distances.sort(stable=True)
    distances, order = distances[:, :size].contiguous(), order[:, :size]
    near = near.gather(1, order)
    lines = lines.float().gather(3, order[None, :, None].expand(6, -1, lines.shape[2], -1))
    for row in torch.nonzero(unseen <= distances[:, -1]).flatten().tolist():
        further = _places_within(float(distances[row, -1]), kept.of(slice(row, row + 1)), parts)
        near[row], distances[row] = _nearest(table, int(here[row]), further, size, settings)
        lines[:, row] = table.lines[near[row]].float().permute(1, 2, 0)
    vectors = table.vectors[near].mT.contiguous() if settings.diversity else lines.new_empty(0, 0, 0)
    return Pool(near, distances, lines, vectors)


def _places_within(metres: float, kept: Kept, parts: Sequence[range]) -> Int[Tensor, " m"]:
    """All views that may be so near to a view: of those it kept, and of the parts of which it kept too few."""
    some = kept.places[kept.bounds <= metres].cpu().numpy()
    wide = [part for part, rest in zip(parts, kept.rest[0].tolist(), strict=True) if rest <= metres]
    places = np.unique(np.concatenate([some, *(np.arange(part.start, part.stop) for part in wide)]))
    return torch.from_numpy(places.astype(np.int64)).to(kept.places.device)


def _nearest(
    table: Table, view: int, places: Int[Tensor, " m"], size: int, settings: GroupSettings
) -> tuple[Int[Tensor, " k"], Float[Tensor, " k"]]:
    """The nearest of the views at these places, in order."""
    here = places.new_tensor([view])
    each = 8 * EXACT_NUMBERS * table.lines.shape[2]
    split = torch.split(places, max(1, settings.memory // 2 // each))
    distances = torch.cat([measure(table.lines, here, part[None], settings.distance)[0][0] for part in split])
    distances, order = distances.sort(stable=True)
    return places[order[:size]], distances[:size]


def taken(pool: Pool, settings: GroupSettings) -> tuple[Int[Tensor, "b k"], Float[Tensor, "b k"]]:
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
            vectors = pool.vectors[rows, :, best]
            free &= mean_of((pool.vectors - vectors[..., None]).abs_()) > settings.diversity
    return neighbours, distances
