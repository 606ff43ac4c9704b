"""Scoring a submission: one row per annotated image, computed in shards that any number of processes may share."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from evaluation.metrics import METRICS
from evaluation.neighbours import chamfer_distances_batched
from evaluation.pair import Pair, align, make_side
from evaluation.protocol import Protocol
from wildhoi.engine import Engine, map_shards
from wildhoi.schema import Annotation, BodyKind, Failure, Reconstruction
from wildhoi.templates import Template, find_template, load_template
from wildhoi.threads import one_thread

SHARD = 16  # images per shard: fixed, so that the batches, and with them every bit, do not depend on the workers
DIGITS = 6  # scores are rounded to 1e-6 of their unit

Row = dict[str, Any]


@dataclass(frozen=True)
class Item:
    """An annotated image with what a submission says of it; None where it says nothing."""

    annotation: Annotation
    record: Reconstruction | Failure | None


@dataclass(frozen=True)
class Job:
    """What every shard of a scoring run shares; plain data, so that it travels to other processes."""

    protocol: Protocol
    body: BodyKind
    flat_hands: bool
    objects: Path
    shipped_templates: bool = False
    device: str = "cpu"
    body_folder: Path | None = None


@dataclass(frozen=True)
class Shard:
    """A part of a scoring run."""

    job: Job
    items: list[Item] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """The images, for messages."""
        return [item.annotation.image_id for item in self.items]


def score_items(
    items: Sequence[Item],
    job: Job,
    *,
    engine: Engine | None = None,
    folder: Path | None = None,
    fingerprint: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Score annotated images; rows come sorted by object and image id, whatever the order and the engine.

    Args:
        items: what is scored.
        job: how.
        engine: where; default in this process.
        folder: keeps what is scored, so that an interrupted scoring goes on; default none.
        fingerprint: of everything that the rows depend on; names what in the folder is still true.
        progress: called with (images scored, images).

    Returns:
        per image: image_id, object, video_id, status (scored | failed | missing), reason, alignment, and the
        protocol's metrics in their units (NaN where there is none).
    """
    ordered = sorted(items, key=lambda item: (item.annotation.object, item.annotation.image_id))
    shards = {
        f"{start:08d}.json": Shard(job, ordered[start : start + SHARD]) for start in range(0, len(ordered), SHARD)
    }
    told = None if progress is None else (lambda done, _: progress(min(done * SHARD, len(ordered)), len(ordered)))
    with nullcontext(folder) if folder else TemporaryDirectory(prefix="wildhoi-") as place:
        paths = map_shards(score_shard, shards, Path(place), engine=engine, fingerprint=fingerprint, progress=told)
        return [row for path in paths for row in json.loads(path.read_text())]


def score_shard(shard: Shard, path: Path) -> None:
    """Score the images of a shard and write their rows as JSON."""
    with one_thread():
        rows = {item.annotation.image_id: _empty_row(item, shard.job.protocol) for item in shard.items}
        for gender in sorted({item.annotation.gender for item in shard.items}):
            posed = [i for i in shard.items if i.annotation.gender == gender and isinstance(i.record, Reconstruction)]
            for pair, alignment in _make_pairs(posed, shard.job, gender):
                rows[pair.image_id] |= {"status": "scored", "alignment": alignment} | _values(pair)
    path.write_text(json.dumps(list(rows.values())))


def _empty_row(item: Item, protocol: Protocol) -> Row:
    """The row of an image before it is scored: failed or missing until a reconstruction says otherwise."""
    annotation, record = item.annotation, item.record
    return {
        "image_id": annotation.image_id,
        "object": annotation.object,
        "video_id": annotation.video_id,
        "status": "missing" if record is None else "failed",
        "reason": record.reason if isinstance(record, Failure) else None,
        "alignment": None,
        **dict.fromkeys(protocol.metrics, float("nan")),
    }


def _values(pair: Pair) -> Row:
    with np.errstate(all="ignore"):
        return {name: round(METRICS[name].function(pair), DIGITS) for name in pair.protocol.metrics}


def _make_pairs(items: Sequence[Item], job: Job, gender: str) -> list[tuple[Pair, str]]:
    """Pose both sides of every item with one batch through the body, align them, and compare clouds on a GPU."""
    from wildhoi.body import load_body, pose_people

    if not items:
        return []
    flat = job.flat_hands if job.body == "open" else None
    body = load_body(job.body, gender=gender, device=job.device, flat_hand_mean=flat, folder=job.body_folder)
    humans = [side.human for item in items for side in _sides(item)]
    vertices = pose_people(humans, body).vertices
    faces = np.asarray(body.faces, np.int64)
    pairs = []
    for index, item in enumerate(items):
        template = template_of(job, item.annotation.object)
        poses = [side.object_pose for side in _sides(item)]
        prediction, truth = (
            make_side(item.annotation.image_id, name, vertices[2 * index + k], faces, template, poses[k], job.protocol)
            for k, name in enumerate(("prediction", "truth"))
        )
        aligned, alignment = align(prediction, truth, job.protocol.alignment)
        symmetry = template.symmetry(job.protocol.symmetry.get(item.annotation.object))
        pairs.append((Pair(item.annotation.image_id, template, symmetry, job.protocol, aligned, truth), alignment))
    if not job.device.startswith("cpu"):
        compare_on_device([pair for pair, _ in pairs], job.device)
    return pairs


def _sides(item: Item) -> tuple[Reconstruction, Annotation]:
    assert isinstance(item.record, Reconstruction)
    return item.record, item.annotation


def compare_on_device(pairs: Sequence[Pair], device: str) -> None:
    """Fill in the Chamfer distances of many pairs with one batched comparison per part."""
    for part in ("human", "object"):
        predicted, true = (
            np.stack([getattr(getattr(pair, side), part).points for pair in pairs]) for side in ("prediction", "truth")
        )
        for pair, distance in zip(pairs, chamfer_distances_batched(predicted, true, device), strict=True):
            pair.chamfers[part] = float(distance)


def template_of(job: Job, name: str) -> Template:
    """The template of an object as the run's data folder has it."""
    return load_template(find_template(job.objects, name, shipped=job.shipped_templates))


def template_hashes(job: Job, items: Sequence[Item]) -> Mapping[str, str]:
    """The hash of every template in use, by object."""
    return {name: template_of(job, name).sha256 for name in sorted({item.annotation.object for item in items})}
