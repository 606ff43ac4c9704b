"""Grouping: for every view the k others whose rays pass its own nearest (paper, equations 11 and 12).

The matrix of distances is cut into blocks. In a first stage each block gives bounds from below, and for each view the
columns that are nearest by bound; in a second the views of each part measure what they kept of all blocks, and choose.
The published search (NN-descent) mixes and compares with whatever neighbours it has at the moment, so that its result
depends on chance and order; this is its deterministic counterpart, the same bytes however the work is cut and shared.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from baselines.grouping.blocks import Cut, blocks, scan_block
from baselines.grouping.descent import Round, join_lists, list_key, search_round
from baselines.grouping.groups import Groups, GroupSettings
from baselines.grouping.selection import Choice, choose, read_choice
from baselines.grouping.table import write_table
from wildhoi import __version__
from wildhoi.engine import Engine, Local, map_shards, only_run_in
from wildhoi.errors import InputError
from wildhoi.files import canonical_json, remove_unfinished
from wildhoi.views import Views

DEFAULT = GroupSettings()
Progress = Callable[[int, int], None]


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """The folder, beside a file of groups, of what is not yet finished: kept where the work is cut short, else removed.

    Raises:
        RunError: another process is making the same file.
    """
    folder = out.absolute().with_name(f".{out.name}.work")
    folder.mkdir(parents=True, exist_ok=True)
    with only_run_in(folder):
        remove_unfinished(out.absolute().parent, out.name)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)  # NFS keeps a lock that is held
    with suppress(OSError):
        folder.rmdir()


def group_views(
    views: Views,
    settings: GroupSettings = DEFAULT,
    *,
    device: str = "cpu",
    engine: Engine | None = None,
    work: Path | None = None,
    provenance: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Groups:
    """Find the neighbours of every view among the others.

    Args:
        views: of one object.
        settings: how.
        device: a torch device, `cpu` or `cuda:N`.
        engine: where the work is done; default in this process; no result depends on it.
        work: a folder as of `work_folder`, where finished blocks are kept and found again; default one for now. All
            machines of a cluster must see it.
        provenance: where the views come from, to be kept with the groups.
        progress: called with (pieces of work done, of how many).

    Raises:
        InputError: there are not more than k views, or a ray or a position is not finite, or a ray no unit vector.
    """
    _check(views, settings)
    if engine is not None and engine.remote and work is None:
        raise InputError("a cluster reads the views from a folder: keep the groups with -o, on a disk that it shares")
    place = TemporaryDirectory(prefix="wildhoi-groups-") if work is None else nullcontext(work)
    with place as folder, engine or Local() as engine:
        found = _search(views, settings, device, engine, Path(folder).absolute(), progress)
    return Groups(views.object, views.view_ids, *found, settings, dict(provenance or {}))


def _search(
    views: Views, settings: GroupSettings, device: str, engine: Engine, work: Path, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours and distances, from the files of the last stage."""
    cut = Cut.of(len(views), device)
    write_table(work, views)
    stages = _Stages(work, cut, settings, device, engine, _fingerprint(views, settings, cut), progress)
    found = stages.blocks() if settings.rounds is None else stages.rounds(settings.rounds)
    neighbours, distances = map(np.concatenate, zip(*map(read_choice, stages.choices(found)), strict=True))
    return neighbours.astype(np.int64), distances


class _Stages:
    """The stages of a search, each in a folder of its own, and how much of all is done."""

    def __init__(
        self,
        work: Path,
        cut: Cut,
        settings: GroupSettings,
        device: str,
        engine: Engine,
        fingerprint: str,
        progress: Progress | None,
    ) -> None:
        self.work, self.cut, self.settings, self.device = work, cut, settings, device
        self.engine, self.fingerprint, self.progress = engine, fingerprint, progress
        parts = len(cut.parts)
        self.before, scans = 0, parts * (parts + 1) // 2 if settings.rounds is None else parts * settings.rounds
        self.total = scans + parts

    def blocks(self) -> Path:
        """Scan all blocks; the folder of their files."""
        return self._do(scan_block, blocks(self.work, self.cut, self.settings, self.device), "blocks")[0].parent

    def rounds(self, count: int) -> Path:
        """Do so many rounds of the search among neighbours of neighbours; the folder of the last lists."""
        before = None
        for number in range(count):
            lists = {
                list_key(part): Round(self.work, before, self.cut, part, self.settings, self.device)
                for part in range(len(self.cut.parts))
            }
            files = self._do(search_round, lists, f"round-{number + 1}")
            before = files[0].parent
            if number + 1 < count:
                join_lists(files, before)
        assert before is not None
        return before

    def choices(self, found: Path) -> list[Path]:
        """Choose among what was found; the files of all parts."""
        parts = range(len(self.cut.parts))
        tasks = {list_key(part): Choice(self.work, found, self.cut, part, self.settings, self.device) for part in parts}
        return self._do(choose, tasks, "choices")

    def _do(self, work: Callable[[Any, Path], None], shards: Mapping[str, Any], name: str) -> list[Path]:
        before, told = self.before, self.progress
        self.before += len(shards)
        return map_shards(
            work,
            shards,
            self.work / name,
            engine=self.engine,
            fingerprint=self.fingerprint,
            progress=None if told is None else lambda done, _: told(before + done, self.total),
        )


def _fingerprint(views: Views, settings: GroupSettings, cut: Cut) -> str:
    """Names everything that the files of a stage depend on."""
    table = settings.to_dict() | {"memory": None, "side": cut.side, "version": __version__}
    digest = sha256(canonical_json([table, *views.rays.shape]).encode())
    for array in (views.rays, views.positions):
        digest.update(np.ascontiguousarray(array, np.float64).data)
    return digest.hexdigest()


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
