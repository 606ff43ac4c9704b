"""Search among neighbours of neighbours: what finds the pool of each view where there are too many pairs to scan.

Every view has a list of the nearest that it knows, first of views drawn at random. In a round it is shown the lists
of those in its own list, and of those in whose lists it is; what is nearer than the last of its list enters. Only what
is new to one of both lists is measured, so that later rounds take less and less. The cost grows with the number of
views, not with its square.

Two views that each pass a third near need not pass each other near: what is found is not always what is nearest
(`docs/flow_prior.md` has the measured recall). But it is always the same: rounds are done by all views at once, from
what the round before left, and distances have the same bits wherever they are measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from baselines.grouping.blocks import Cut, Near
from baselines.grouping.distances import EXACT_NUMBERS, measure
from baselines.grouping.groups import GroupSettings
from baselines.grouping.table import Table, read_table
from wildhoi.files import atomic_path

LONGER = 16
"""How much longer a list is than the pool: distances are estimated before they are measured."""
SEEDS = 256
"""Views that a list is first chosen from, at least."""
ASKED, TOLD = 32, 32
"""Views of a list that are asked for theirs, and as many in whose lists the view is; how many views each tells."""
AT_ONCE = {"cpu": 8, "cuda": 512}
"""Views that are shown lists at once."""
NEAR, REVERSE = "near.npy", "reverse.npy"
PLACE = 2**32 - 1
"""The bits of a key that are the place; those above are the distance, as float32, so that keys sort by it."""


@dataclass(frozen=True)
class Round:
    """The views of a part, in a round."""

    folder: Path
    """Of the table."""
    before: Path | None
    """What the round before left; None in the first."""
    cut: Cut
    part: int
    settings: GroupSettings
    device: str

    @property
    def length(self) -> int:
        """Of a list."""
        return min(self.settings.candidates + LONGER, self.cut.count - 1)


class Known(NamedTuple):
    """What a round starts from. A view is twice its place, and one more where it is new; -1: none."""

    near: Int[Tensor, "n a"]
    """The first of each view's list."""
    reverse: Int[Tensor, "n a"]
    """Views in whose lists each view is."""
    keys: Int[Tensor, "b m"]
    """The lists of the part."""


def list_key(part: int) -> str:
    """The name of a part's file in the folder of a round."""
    return f"{part:05}.npz"


def search_round(task: Round, path: Path) -> None:
    """Show lists to the views of a part; write theirs: keys in order, and whether each is new."""
    table, part = read_table(task.folder, task.device), task.cut.parts[task.part]
    seeds = _seeds(task.cut.count, task.length).to(task.device)
    known = None if task.before is None else _known(task.before, task.part, task.device)
    each = 4 * EXACT_NUMBERS * table.lines.shape[2] * max(len(seeds), 2 * ASKED * TOLD)
    step = max(1, min(AT_ONCE[torch.device(task.device).type], task.settings.memory // 2 // each))
    lists = []
    with torch.no_grad():
        for start in range(0, len(part), step):
            stop = min(start + step, len(part))
            here = torch.arange(part.start + start, part.start + stop, device=task.device)
            if known is None:
                keys, shown = here.new_empty(len(here), 0), (here[:, None] + seeds) % task.cut.count
            else:
                keys, shown = known.keys[start:stop], _shown(known, here)
            lists.append(_entered(table, here, keys, shown, task))
    found = {
        name: torch.cat(each).cpu().numpy()
        for name, each in zip(("keys", "new"), zip(*lists, strict=True), strict=True)
    }
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **found)


def _seeds(count: int, length: int) -> Int[Tensor, " s"]:
    """How far from its own place each view's first candidates are: the same for all views, at random."""
    drawn = np.random.default_rng(0).permutation(count - 1)[: max(SEEDS, length)]
    return torch.from_numpy(drawn + 1)


def _known(before: Path, part: int, device: str) -> Known:
    near, reverse = (torch.from_numpy(np.load(before / name, mmap_mode="c")) for name in (NEAR, REVERSE))
    with np.load(before / list_key(part), allow_pickle=False) as arrays:
        keys = torch.from_numpy(arrays["keys"])
    return Known(near.to(device), reverse.to(device), keys.to(device))


def _shown(known: Known, here: Int[Tensor, " b"]) -> Int[Tensor, "b c"]:
    """Places that views have not been shown before: what is new to them, or to those who tell; -1: none."""
    behind = known.reverse[here].long()
    asked = torch.cat([known.near[here].long(), behind], 1)
    told = known.near[asked.clamp(min=0) >> 1][..., :TOLD].long()
    fresh = ((asked[..., None] | told) & 1 == 1) & (asked[..., None] >= 0)
    return torch.cat([torch.where(fresh, told >> 1, -1).flatten(1), torch.where(behind & 1 == 1, behind >> 1, -1)], 1)


def _entered(
    table: Table, here: Int[Tensor, " b"], keys: Int[Tensor, "b m"], shown: Int[Tensor, "b c"], task: Round
) -> tuple[Int[Tensor, "b k"], Bool[Tensor, "b k"]]:
    """The lists after what was shown has entered, and what in them is new."""
    # each view once, and those that are listed first of all
    coded = torch.cat([2 * (keys & PLACE), 2 * shown + 1], 1).sort(1).values
    places = coded >> 1
    fresh = (coded & 1 == 1) & (places >= 0) & (places != here[:, None])
    fresh[:, 1:] &= places[:, 1:] != places[:, :-1]
    width = int(fresh.sum(1).max())
    places = torch.where(fresh, places, task.cut.count).sort(1).values[:, :width]
    places = torch.where(places < task.cut.count, places, here[:, None])
    metres, _ = measure(table.lines, here, places, task.settings.distance, torch.float32)
    both = torch.cat([keys, metres.view(torch.int32).long() << 32 | places], 1)
    best, order = both.topk(task.length, largest=False)
    return best, order >= keys.shape[1]


def read_lists(folder: Path, part: int) -> Near:
    """The lists of a part's views, from the folder of a round."""
    with np.load(folder / list_key(part), allow_pickle=False) as arrays:
        keys = torch.from_numpy(arrays["keys"])
    return Near((keys >> 32).int().view(torch.float32), (keys & PLACE).int())


def join_lists(files: Sequence[Path], folder: Path) -> None:
    """Write what the next round starts from: the first of all lists, and in whose lists each view is."""
    near = np.concatenate([_first(file) for file in files])
    reverse = np.full(near.shape, -1, np.int32)
    filled = np.zeros(len(near), np.int64)
    for column in near.T:  # the nearer first
        order = (column >> 1).argsort(kind="stable")
        targets = column[order] >> 1
        starts = np.flatnonzero(np.diff(targets, prepend=-1))
        counts = np.diff(starts, append=len(targets))
        slots = filled[targets] + np.arange(len(targets)) - np.repeat(starts, counts)
        room = slots < near.shape[1]
        reverse[targets[room], slots[room]] = 2 * order[room] + (column[order[room]] & 1)
        filled[targets[starts]] += counts
    for name, array in ((NEAR, near), (REVERSE, reverse)):
        with atomic_path(folder / name) as temporary, temporary.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)


def _first(file: Path) -> Int[np.ndarray, "b a"]:
    with np.load(file, allow_pickle=False) as arrays:
        places, new = arrays["keys"][:, :ASKED] & PLACE, arrays["new"][:, :ASKED]
    return np.asarray(2 * places + new, np.int32)
