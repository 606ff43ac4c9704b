"""Grouping: for every view the k others whose rays pass its own nearest (paper, equations 11 and 12).

The matrix of distances is cut into blocks. In a first stage each block gives bounds from below, and for each view the
columns that are nearest by bound; in a second the views of each part measure what they kept of all blocks, and choose.
The published search (NN-descent) mixes and compares with whatever neighbours it has at the moment, so that its result
depends on chance and order; this is its deterministic counterpart, the same bytes however the work is cut and shared.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from baselines.grouping.blocks import Cut, blocks, scan_block
from baselines.grouping.groups import Groups, GroupSettings
from baselines.grouping.selection import Choice, choose
from baselines.grouping.table import write_table
from wildhoi import __version__
from wildhoi.engine import Engine, Local, map_shards, only_run_in
from wildhoi.errors import InputError
from wildhoi.files import canonical_json
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
        yield folder
        shutil.rmtree(folder)


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
    """Neighbours and distances, from the files of both stages."""
    cut = Cut.of(len(views), device)
    write_table(work, views)
    scans = blocks(work, cut, settings, device)
    choices = {
        f"{part:05}.npz": Choice(work, work / "blocks", cut, part, settings, device) for part in range(len(cut.parts))
    }
    mark, total = _fingerprint(views, settings, cut), len(scans) + len(choices)

    def told(before: int) -> Progress | None:
        return None if progress is None else lambda done, _: progress(before + done, total)

    map_shards(scan_block, scans, work / "blocks", engine=engine, fingerprint=mark, progress=told(0))
    files = map_shards(choose, choices, work / "choices", engine=engine, fingerprint=mark, progress=told(len(scans)))
    arrays = [dict(np.load(file, allow_pickle=False)) for file in files]
    neighbours, distances = (np.concatenate([each[name] for each in arrays]) for name in ("neighbours", "distances"))
    return neighbours.astype(np.int64), distances


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
