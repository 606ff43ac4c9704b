"""Reading the views of an object's scenes from a data folder."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from wildhoi.dataset import DataFolder, load_annotations, load_layouts, load_samples
from wildhoi.errors import InputError
from wildhoi.geometry import camera_position
from wildhoi.objects import find_category
from wildhoi.schema import Annotation, Sample
from wildhoi.templates import find_template, load_template
from wildhoi.views import JOINTS, Views, rays_of_pixels, rays_of_points

Source = Literal["estimates", "truth"]
Which = Literal["images", "all"]


@dataclass(frozen=True, eq=False)
class Placed:
    """The keypoints of scenes in space, X_3D, SMPL frame, metres."""

    image_ids: tuple[str, ...]
    video_ids: tuple[str, ...]
    points: Float[np.ndarray, "n p 3"]


def read_views(
    data: DataFolder, name: str, *, split: str = "train", views: Which = "images", source: Source = "estimates"
) -> Views:
    """Read the views of an object.

    Args:
        data: a folder with samples (for estimates), annotations (for the truth), layouts (for all views).
        name: of the object.
        split: `train` or `test`.
        views: one view an image, or also the further views of its scenes, which are exact.
        source: whether an image's keypoints and camera are those that were estimated, or the annotated ones.

    Raises:
        InputError: there are none, or only such as have numbers that are not finite.
        MissingAssetError: for the truth, the body model or the template is not there.
    """
    find_category(name)
    truths = _truths(data, name, split) if source == "truth" or name in data.categories(split) else {}
    if source == "truth":
        found = list(_true_views(data, name, list(truths.values())))
        left_out: Counter[str] = Counter()
    else:
        found, left_out = _estimated_views(load_samples(data.path, split, [name], streaming=True), truths, name)
    images = len(found)
    if views == "all":
        found += _further_views(data, name, split, truths)
    if not found:
        reasons = "; ".join(f"{count} {reason}" for reason, count in left_out.items()) or "there is no image"
        mend = "estimates come with the data set's conversion; source=truth takes annotated keypoints"
        raise InputError(f"{data.path}: no view of {name} in split {split!r}: {reasons}; {mend}")
    ids, videos, scenes, kinds, rays, positions = zip(*found, strict=True)
    return Views(name, ids, scenes, kinds, np.stack(rays), np.stack(positions), images, videos, dict(left_out))


def read_points(data: DataFolder, name: str, *, split: str = "train") -> Placed:
    """Read the annotated keypoints of an object's scenes, X_3D: what only 3D supervision knows.

    Raises:
        InputError: the split has no annotations of the object.
        MissingAssetError: the body model or the template is not there.
    """
    truths = list(_truths(data, name, split).values())
    ids, videos = (tuple(getattr(truth, field) for truth in truths) for field in ("image_id", "video_id"))
    return Placed(ids, videos, _points(data, name, truths))


_Row = tuple[str, str, str | None, str | None, np.ndarray, np.ndarray]


def _truths(data: DataFolder, name: str, split: str) -> dict[str, Annotation]:
    if name not in data.categories(split):
        raise InputError(f"{data.path}: has no annotations of {name} in split {split!r}")
    return {truth.image_id: truth for truth in load_annotations(data, split, [name])}


def _estimated_views(
    samples: Iterable[Sample], truths: Mapping[str, Annotation], name: str
) -> "tuple[list[_Row], Counter[str]]":
    """Views of images that have a camera and keypoints, all numbers; the others are counted."""
    found: list[_Row] = []
    left_out: Counter[str] = Counter()
    count = len(find_category(name).keypoints)
    for sample in samples:
        camera, body, thing = sample.camera, sample.body_keypoints, sample.object_keypoints
        lacking = {"camera": camera, "body keypoints": body, "object keypoints": thing}
        absent = [what for what, value in lacking.items() if value is None]
        if absent or camera is None or body is None or thing is None:
            left_out[f"without {absent[0]}"] += 1
            continue
        if len(thing) != count:
            raise InputError(f"{sample.image_id}: object_keypoints: got {len(thing)}, want the {count} of the table")
        position = camera_position(camera.rotation, camera.translation)
        rays = rays_of_pixels(body, thing, camera)
        if not (np.isfinite(rays).all() and np.isfinite(position).all()):
            left_out["with keypoints or a camera that are not finite"] += 1
            continue
        truth = truths.get(sample.image_id)
        kind, scene = (truth.interaction, truth.scene_id) if truth else (None, None)
        found.append((sample.image_id, sample.video_id, scene, kind, rays, position))
    return found, left_out


def _true_views(data: DataFolder, name: str, truths: Sequence[Annotation]) -> Iterator[_Row]:
    for truth, points in zip(truths, _points(data, name, truths), strict=True):
        position = camera_position(truth.camera.rotation, truth.camera.translation)
        rays = rays_of_points(points, position)
        yield truth.image_id, truth.video_id, truth.scene_id, truth.interaction, rays, position


def _further_views(data: DataFolder, name: str, split: str, truths: Mapping[str, Annotation]) -> Iterator[_Row]:
    of_scene = {truth.scene_id: (truth.video_id, truth.interaction) for truth in truths.values()}
    for view in load_layouts(data, split, [name]):
        video, kind = of_scene.get(view.scene_id, (view.scene_id, None))
        rays = rays_of_pixels(view.body_keypoints, view.object_keypoints, view.camera)
        position = camera_position(view.camera.rotation, view.camera.translation)
        yield f"{view.scene_id}/view-{view.view}", video, view.scene_id, kind, rays, position


def _points(data: DataFolder, name: str, truths: Sequence[Annotation]) -> Float[np.ndarray, "n p 3"]:
    """The annotated keypoints of scenes: the body's joints, then the template's keypoints."""
    from wildhoi.body import load_body
    from wildhoi.body.people import posed_joints

    template = load_template(find_template(data.objects, name, shipped=data.body_model == "open"))
    count = JOINTS + len(template.keypoint_vertices)
    points = np.empty((len(truths), count, 3))
    for gender in sorted({truth.gender for truth in truths}):
        rows = [row for row, truth in enumerate(truths) if truth.gender == gender]
        body = load_body(data.body_model, gender=gender, flat_hand_mean=data.body_model == "smplh")
        points[rows, :JOINTS] = posed_joints([truths[row].human for row in rows], body)[:, :JOINTS]
    for row, truth in enumerate(truths):
        points[row, JOINTS:] = template.keypoints_at(template.posed(truth.object_pose, articulate=True))
    return points
