"""Views of an object's scenes as the flow prior sees them: X_2.5D, the rays of keypoints and where the camera stands.

A view is `p = 22 + K` unit rays, from the camera to the body's first 22 joints and to the object's keypoints, and the
camera's position, all in the SMPL frame of the person in it (paper, equation 7). It comes from what an image's
estimates say, from the truth, or from the further views of a scene.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from wildhoi.dataset import DataFolder, load_annotations, load_layouts, load_samples
from wildhoi.errors import InputError
from wildhoi.geometry import camera_position, viewing_rays
from wildhoi.mirror import BODY_EXCHANGE, REFLECTION
from wildhoi.objects import Category, find_category
from wildhoi.schema import Annotation, Camera, Sample
from wildhoi.templates import find_template, load_template

JOINTS = 22
Source = Literal["estimates", "truth"]
Which = Literal["images", "all"]


@dataclass(frozen=True, eq=False)
class Views:
    """Views of one object's scenes, SMPL frame, metres.

    Attributes:
        object: its name.
        view_ids: an image's id, or `SCENE/view-N` for a further view.
        scene_ids: None where not known.
        interactions: what the person does, None where not known.
        rays: unit vectors from the camera.
        positions: of the cameras.
        images: how many of the views, the first ones, are images' own; the others are further views.
        left_out: how many views were left out, by reason.
    """

    object: str
    view_ids: tuple[str, ...]
    scene_ids: tuple[str | None, ...]
    interactions: tuple[str | None, ...]
    rays: Float[np.ndarray, "n p 3"]
    positions: Float[np.ndarray, "n 3"]
    images: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.view_ids)

    def take(self, rows: "Sequence[int] | Int[np.ndarray, ' m']") -> "Views":
        """Some of the views, in this order; images' own before further views."""
        return replace(
            self,
            view_ids=tuple(self.view_ids[row] for row in rows),
            scene_ids=tuple(self.scene_ids[row] for row in rows),
            interactions=tuple(self.interactions[row] for row in rows),
            rays=self.rays[rows],
            positions=self.positions[rows],
            images=int((np.asarray(rows) < self.images).sum()),
        )


@dataclass(frozen=True, eq=False)
class Placed:
    """The keypoints of scenes in space, X_3D, SMPL frame, metres."""

    image_ids: tuple[str, ...]
    points: Float[np.ndarray, "n p 3"]


def rays_of_pixels(
    body: Float[np.ndarray, "22 2"], thing: Float[np.ndarray, "k 2"], camera: Camera
) -> Float[np.ndarray, "_ 3"]:
    """The rays of keypoints in the picture, SMPL frame (paper, equation 6, left)."""
    pixels = np.concatenate([body, thing]).astype(np.float64)
    return viewing_rays(pixels, camera.rotation, camera.focal, camera.principal_point)


def rays_of_points(
    points: Float[np.ndarray, "*n p 3"], position: Float[np.ndarray, "*n 3"]
) -> Float[np.ndarray, "*n p 3"]:
    """The rays from camera positions to points, SMPL frame (paper, equation 6, right)."""
    offsets = points - position[..., None, :]
    return np.asarray(offsets / np.linalg.norm(offsets, axis=-1, keepdims=True))


def mirror_order(category: Category) -> Int[np.ndarray, " p"]:
    """Which keypoint of a scene is each keypoint of the mirrored scene: left and right exchanged."""
    return np.array([*BODY_EXCHANGE, *(JOINTS + flip for flip in category.keypoint_flip)])


def mirror_views(views: Views) -> Views:
    """The views of the mirrored scenes: space reflected (x changes sign), left and right keypoints exchanged.

    Raises:
        InputError: a mirrored picture would show another object.
    """
    category = find_category(views.object)
    if not category.mirrored_images:
        raise InputError(f"object {views.object!r}: a mirrored picture would show another object")
    rays = views.rays[:, mirror_order(category)] * REFLECTION
    return replace(views, rays=rays, positions=views.positions * REFLECTION)


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
    truths = _truths(data, name, split) if source == "truth" or data.categories(split) else {}
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
        raise InputError(f"{data.path}: no view of {name} in split {split!r}: {reasons}")
    ids, scenes, kinds, rays, positions = zip(*found, strict=True)
    return Views(name, ids, scenes, kinds, np.stack(rays), np.stack(positions), images, dict(left_out))


def read_points(data: DataFolder, name: str, *, split: str = "train") -> Placed:
    """Read the annotated keypoints of an object's scenes, X_3D: what only 3D supervision knows.

    Raises:
        InputError: the split has no annotations of the object.
        MissingAssetError: the body model or the template is not there.
    """
    truths = list(_truths(data, name, split).values())
    return Placed(tuple(truth.image_id for truth in truths), _points(data, name, truths))


_Row = tuple[str, str | None, str | None, np.ndarray, np.ndarray]


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
        found.append((sample.image_id, scene, kind, rays, position))
    return found, left_out


def _true_views(data: DataFolder, name: str, truths: Sequence[Annotation]) -> Iterator[_Row]:
    for truth, points in zip(truths, _points(data, name, truths), strict=True):
        position = camera_position(truth.camera.rotation, truth.camera.translation)
        yield truth.image_id, truth.scene_id, truth.interaction, rays_of_points(points, position), position


def _further_views(data: DataFolder, name: str, split: str, truths: Mapping[str, Annotation]) -> list[_Row]:
    kinds = {truth.scene_id: truth.interaction for truth in truths.values()}
    return [
        (
            f"{view.scene_id}/view-{view.view}",
            view.scene_id,
            kinds.get(view.scene_id),
            rays_of_pixels(view.body_keypoints, view.object_keypoints, view.camera),
            camera_position(view.camera.rotation, view.camera.translation),
        )
        for view in load_layouts(data, split, [name])
    ]


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
