"""Blocks of the matrix of distances: for each view of a block's rows, the columns that bounds do not rule out.

The matrix is symmetric, so that a block above the diagonal serves its rows and, turned over, its columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from baselines.grouping.distances import Bounds
from baselines.grouping.groups import GroupSettings
from baselines.grouping.table import read_table

PARTS = 32
"""Blocks along a side of the matrix, but for few views."""
SIDE = {"cpu": 1024, "cuda": 8192}
"""Views along a side of a block at least."""
SHARE, SPARE = 4, 16
"""Views that a row keeps of a block: so many times what it would keep of views in any order, and so many more."""
SCAN_BYTES = 32
"""For each pair of views that are scanned at once: the bound, and what finding the nearest takes."""


@dataclass(frozen=True)
class Cut:
    """Where the matrix is cut; no result depends on it."""

    count: int
    side: int

    @classmethod
    def of(cls, count: int, device: str) -> "Cut":
        """The cut of so many views."""
        return cls(count, max(SIDE[torch.device(device).type], -(-count // PARTS)))

    @property
    def parts(self) -> list[range]:
        """The views of each part."""
        return [range(start, min(start + self.side, self.count)) for start in range(0, self.count, self.side)]

    def kept(self, part: range, candidates: int) -> int:
        """How many views of a part a row keeps."""
        return min(len(part), SHARE * -(-candidates * len(part) // self.count) + SPARE)


@dataclass(frozen=True)
class Block:
    """A block: the views of both parts are read from the folder."""

    folder: Path
    cut: Cut
    row: int
    column: int
    settings: GroupSettings
    device: str


class Near(NamedTuple):
    """What views keep of a part, in any order."""

    bounds: Float[Tensor, "b m"]
    """Metres; infinite for the view itself. Those that are not kept are not below the largest of a row."""
    places: Int[Tensor, "b m"]
    """From the first of the part."""


def block_key(row: int, column: int) -> str:
    """The name of a block's file."""
    return f"{row:05}-{column:05}.npz"


def blocks(folder: Path, cut: Cut, settings: GroupSettings, device: str) -> Mapping[str, Block]:
    """The blocks on and above the diagonal, by their files."""
    sides = range(len(cut.parts))
    pairs = [(row, column) for row in sides for column in sides if row <= column]
    return {block_key(*pair): Block(folder, cut, *pair, settings, device) for pair in pairs}


def scan_block(block: Block, path: Path) -> None:
    """Find what the views of a block's rows keep of its columns, and the other way round; write both."""
    rows, columns = (block.cut.parts[part] for part in (block.row, block.column))
    lines = read_table(block.folder).lines
    here, there = (lines[part.start : part.stop].to(block.device) for part in (rows, columns))
    with torch.no_grad():
        across, down = _scan(block, Bounds(here, there, block.settings.distance), len(rows), len(columns))
    arrays = {"across_bounds": across.bounds, "across_places": across.places}
    if down is not None:
        arrays |= {"down_bounds": down.bounds, "down_places": down.places}
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **{name: value.cpu().numpy() for name, value in arrays.items()})


def _scan(block: Block, bounds: Bounds, height: int, width: int) -> tuple[Near, Near | None]:
    """What rows keep of columns and, of a block beside the diagonal, columns of rows."""
    parts, candidates = block.cut.parts, block.settings.candidates
    of_columns, of_rows = (block.cut.kept(parts[part], candidates) for part in (block.column, block.row))
    step = max(1, min(height, block.settings.memory // (SCAN_BYTES * (width + of_rows))))
    across, down = [], None
    for start in range(0, height, step):
        found = bounds(start, min(start + step, height))
        if block.row == block.column:
            found.diagonal(start).fill_(torch.inf)
        else:
            turned = _near(found.T.contiguous(), start)
            down = _least(turned if down is None else Near(*_beside(down, turned)), of_rows)
        across.append(_least(_near(found, 0), of_columns))
    return Near(*map(torch.cat, zip(*across, strict=True))), down


def _near(bounds: Float[Tensor, "b m"], first: int) -> Near:
    places = torch.arange(first, first + bounds.shape[1], dtype=torch.int32, device=bounds.device)
    return Near(bounds, places.expand(len(bounds), -1))


def _beside(*near: Near) -> list[Tensor]:
    return [torch.cat(columns, 1) for columns in zip(*near, strict=True)]


def _least(near: Near, count: int) -> Near:
    bounds, order = near.bounds.topk(min(count, near.bounds.shape[1]), largest=False, sorted=False)
    return Near(bounds, near.places.gather(1, order))


def read_near(folder: Path, part: int, parts: int) -> list[Near]:
    """What the views of a part keep of each part, from the blocks' files."""
    found = []
    for other in range(parts):
        side = "across" if part <= other else "down"
        with np.load(folder / block_key(min(part, other), max(part, other)), allow_pickle=False) as arrays:
            found.append(Near(*(torch.from_numpy(arrays[f"{side}_{what}"]) for what in ("bounds", "places"))))
    return found
