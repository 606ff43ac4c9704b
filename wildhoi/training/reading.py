"""What a prior learns from, read from a data folder: views in groups, pictures, mean occlusion maps."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from wildhoi.dataset import DataFolder, load_samples
from wildhoi.errors import InputError
from wildhoi.training.processes import is_first_process
from wildhoi.view_reading import read_points, read_views
from wildhoi.views import Views

if TYPE_CHECKING:
    from baselines.training.examples import Examples, Pool
    from baselines.training.options import TrainOptions

GROUPS = "groups.npz"
Progress = Callable[..., None]
"""Told (what, done, of how many), and perhaps a note."""


def read_examples(
    data: DataFolder,
    name: str,
    out: Path,
    options: "TrainOptions",
    *,
    device: str,
    tell: Progress,
) -> "tuple[Examples, dict[str, Any]]":
    """What is learned from, and what is to be said of it."""
    import torch

    from baselines.training.examples import Examples, hold_out, without_held_out

    tell("reading views", 0, 1)
    pool, image_ids, groups, report = _pool(data, name, out, options, device=device, tell=tell)
    members, weights, videos = groups
    held = hold_out(image_ids, options.held_out, videos[: len(image_ids)])
    hidden = {videos[row] for row in np.flatnonzero(held)}
    of_pool = np.array([video in hidden for video in videos])
    weights = without_held_out(members, weights, held, of_pool)
    counted = weights[~held]
    report["effective_views"] = float(np.median(counted.sum(1) ** 2 / (counted**2).sum(1)))
    return Examples(
        image_ids,
        pool,
        torch.from_numpy(members.clip(min=0)),
        torch.from_numpy(weights).float(),
        _pictures(data, name, image_ids, options, tell),
        torch.from_numpy(held),
    ), report


_Members = tuple[Int[np.ndarray, "i v"], Float[np.ndarray, "i v"], tuple[str, ...]]


def _pool(
    data: DataFolder, name: str, out: Path, options: "TrainOptions", *, device: str, tell: Progress
) -> "tuple[Pool, tuple[str, ...], _Members, dict[str, Any]]":
    """The pool, the images, rows of the pool that each learns from with their weights, and the pool's videos."""
    from baselines.training.examples import pool_of_points, pool_of_views

    if options.supervision == "3d":
        placed = read_points(data, name)
        count = len(placed.image_ids)
        own = np.arange(count)[:, None]
        pool = pool_of_points(name, placed.points, mirrored=options.mirrored)
        return pool, placed.image_ids, (own, np.ones((count, 1)), placed.video_ids), {"views": count}
    which = "all" if options.grouping == "gt" else options.views
    views = read_views(data, name, views=which, source=options.source)
    members, weights, report = _GROUPINGS[options.grouping](views, out, options, device, tell)
    pool = pool_of_views(views, options.space, mirrored=options.mirrored)
    report = {"views": len(views), "left_out": dict(views.left_out), **report}
    return pool, views.view_ids[: views.images], (members, weights, views.video_ids), report


def _by_neighbours(
    views: Views, out: Path, options: "TrainOptions", device: str, tell: Progress
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """An image's own view, then its nearest neighbours in the pool (paper, equation 12)."""
    from baselines.grouping import GroupSettings, group_views, make_report, write_groups
    from wildhoi.devices import find_device

    settings = GroupSettings(k=options.k, threshold=options.threshold or None)
    groups = group_views(
        views,
        settings,
        device=find_device(device),
        provenance={"views": options.views, "source": options.source},
        progress=lambda done, total: tell("grouping views", done, total),
    )
    if is_first_process():
        out.mkdir(parents=True, exist_ok=True)
        write_groups(out / GROUPS, groups)
    report = make_report(groups, views)
    own = np.arange(views.images)[:, None]
    neighbours = groups.neighbours[: views.images]
    weights = groups.weights(options.steepness)[: views.images]
    members = np.concatenate([own, neighbours], axis=1)
    return members, np.concatenate([np.ones_like(own, float), weights], axis=1), {"groups": report.to_dict()}


def _by_truth(
    views: Views, out: Path, options: "TrainOptions", device: str, tell: Progress
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """An image's own view, then the true further views of its scene, at most k."""
    further: dict[str, list[int]] = {}
    for row in range(views.images, len(views)):
        further.setdefault(str(views.scene_ids[row]), []).append(row)
    members = np.full((views.images, 1 + options.k), -1)
    members[:, 0] = np.arange(views.images)
    for row in range(views.images):
        others = further.get(str(views.scene_ids[row]), [])[: options.k]
        members[row, 1 : 1 + len(others)] = others
    if (members[:, 1:] < 0).all():
        raise InputError(f"no image of {views.object} has further views of its scene, which --grouping gt learns from")
    return members, (members >= 0).astype(float), {}


def _by_itself(
    views: Views, out: Path, options: "TrainOptions", device: str, tell: Progress
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """An image's own view alone."""
    return np.arange(views.images)[:, None], np.ones((views.images, 1)), {}


_GROUPINGS = {"knn": _by_neighbours, "gt": _by_truth, "none": _by_itself}


def _pictures(data: DataFolder, name: str, image_ids: tuple[str, ...], options: "TrainOptions", tell: Progress) -> Any:
    """What the encoder is shown of the images, uint8; None where it is shown nothing."""
    import torch

    from baselines.encoders import NONE
    from baselines.pictures import encoder_picture

    if options.encoder.name == NONE:
        return None
    size = options.encoder.size
    shown = torch.empty(len(image_ids), 5, size, size, dtype=torch.uint8)
    rows = {image_id: row for row, image_id in enumerate(image_ids)}
    for sample in load_samples(data.path, "train", [name], streaming=True):
        row = rows.pop(sample.image_id, None)
        if row is not None:
            shown[row] = torch.from_numpy(encoder_picture(sample, size))
            tell("reading pictures", len(image_ids) - len(rows), len(image_ids))
    if rows:
        raise InputError(f"{data.path}: {len(rows)} images of {name} have no sample, such as {min(rows)}")
    return shown


def own_mean_maps(data: DataFolder, name: str, out: Path, tell: Progress) -> "dict[str, np.ndarray] | None":
    """The mean occlusion maps of what samples carry, or rendered from estimates; None for other processes."""
    from wildhoi.mean_maps import mean_of_samples, read_mean_maps

    if not is_first_process() or name not in data.categories("train", "samples"):
        return None
    tell("averaging occlusion maps", 0, 1)
    means = mean_of_samples(load_samples(data.path, "train", [name], streaming=True))
    if means is not None:
        return means
    from wildhoi.occlusion_maps import write_occlusion_maps

    report = write_occlusion_maps(
        data, name, out / "occlusion", progress=lambda done, total: tell("rendering occlusion maps", done, total)
    )
    return read_mean_maps(Path(report.mean))
