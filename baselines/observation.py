"""What the images of a batch say of their scenes, as tensors that the losses are measured against."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from wildhoi.body.people import PARAMETERS
from wildhoi.body.wholebody import FITTED
from wildhoi.schema import Camera, Human, Sample
from wildhoi.templates import Template

FOCAL, CROP = 5000.0, 256
"""Pixels: focal length and side of the crop in which correspondences and masks are compared."""
GRID = 128
"""Cells of the square that a correspondence map is resampled to, at most, on a side."""
KEPT = 0.98
"""Share of the object's cells that count: the worst 2 % are taken for wrong."""
TIE = 1e-9
"""Cells: a place between two of a map's cells is in the later one, whatever way its number was rounded."""
SURE = 0.5
"""Least confidence of a keypoint that counts."""


class Cameras(NamedTuple):
    """The cameras of a batch: `x_cam = rotation x + translation`, metres."""

    rotation: Float[Tensor, "b 3 3"]
    translation: Float[Tensor, "b 3"]

    def see(self, points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 3"]:
        """Points of the SMPL frame in the cameras' frames, metres."""
        return points @ self.rotation.mT + self.translation[:, None]


@runtime_checkable
class Scores(Protocol):
    """A prior that knows the pictures of a batch: what it thinks of their scenes."""

    def score(self, points: Float[Tensor, "b p 3"], cameras: Float[Tensor, "b m 3"] | None) -> Float[Tensor, "b _"]:
        """Log-density of keypoints (SMPL frame, metres) as seen from cameras, nats per dimension."""
        ...

    def take(self, rows: Int[Tensor, " n"]) -> "Scores":
        """The same for some of the pictures, each as often as it is named."""
        ...


class Trimming(NamedTuple):
    """How many cells are kept and dropped by image, and at most."""

    kept: Int[Tensor, "b 1"]
    dropped: Int[Tensor, "b 1"]
    most_kept: int
    most_dropped: int


@dataclass(frozen=True, eq=False)
class Observation:
    """The detections of a batch; image coordinates are `(pixel - principal point) / focal`, that is x/z and y/z.

    Attributes:
        cameras: fixed during a fit.
        keypoints: of the body and the hands, image coordinates; `confidence` is 0 where one is lost or unsure.
        points: of the template (metres), which are seen at `places` (image coordinates). Where `cells` is 0 there is
            none; 1: a cell of the object, 2: a cell of the background, whose point is the template's origin.
        moving: 1 where a point is of the part that the joint turns.
        grid: how many cells the square of the map has.
        person, object: visible masks on the crop of 256 pixels at focal length 5000 around the principal point.
        initial: the body's parameters as they were estimated, by name, as in `scene.Parameters`.
        human_contact, object_contact: vertices that may touch, -1 where there is none, with their weights.
        prior: of the scenes, given their pictures.
    """

    cameras: Cameras
    keypoints: Float[Tensor, "b 65 2"]
    confidence: Float[Tensor, "b 65"]
    points: Float[Tensor, "b n 3"]
    places: Float[Tensor, "b n 2"]
    cells: Int[Tensor, "b n"]
    moving: Float[Tensor, "b n"]
    grid: Float[Tensor, " b"]
    person: Bool[Tensor, "b 256 256"]
    object: Bool[Tensor, "b 256 256"]
    initial: Mapping[str, Tensor]
    human_contact: Int[Tensor, "b m"] | None = None
    human_weight: Float[Tensor, "b m"] | None = None
    object_contact: Int[Tensor, "b k"] | None = None
    object_weight: Float[Tensor, "b k"] | None = None
    prior: Scores | None = None

    @cached_property
    def person_first(self) -> Bool[Tensor, "b 256 256"]:
        """Where the person is seen and the object is not."""
        return self.person & ~self.object

    @cached_property
    def object_first(self) -> Bool[Tensor, "b 256 256"]:
        """Where the object is seen and the person is not."""
        return self.object & ~self.person

    @cached_property
    def one_seen(self) -> Bool[Tensor, "b 256 256"]:
        """Where exactly one of the two is seen, so that who is in front is known."""
        return self.person ^ self.object

    @cached_property
    def trimming(self) -> "Trimming":
        """How many cells of each image count, the rest being the worst; looks at values, so once for all steps."""
        cells, shown = (self.cells > 0).sum(1, keepdim=True), (self.cells == 1).sum(1, keepdim=True)
        kept = (KEPT * shown).floor().long()
        return Trimming(kept, cells - kept, int(kept.max()), int((cells - kept).max()))

    def to(self, device: torch.device, dtype: torch.dtype) -> "Observation":
        """The same on a device, with real numbers of a type."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)

        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {name: move(tensor) for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
        initial = {name: move(tensor) for name, tensor in self.initial.items()}
        return replace(self, cameras=Cameras(*map(move, self.cameras)), initial=initial, **moved)

    def take(self, rows: Int[Tensor, " n"]) -> "Observation":
        """The detections of some images, each as often as it is named."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        taken: dict[str, Any] = {name: tensor[rows] for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
        initial = {name: tensor[rows] for name, tensor in self.initial.items()}
        cameras = Cameras(*(tensor[rows] for tensor in self.cameras))
        prior = None if self.prior is None else self.prior.take(rows)
        return replace(self, cameras=cameras, initial=initial, prior=prior, **taken)


def observe(samples: Sequence[Sample], template: Template, *, background: bool = False) -> Observation:
    """Read the detections of samples of one object; what a sample lacks is left empty.

    Args:
        samples: each with a camera.
        template: of their object.
        background: keep the cells of the background too, as the authors' code does.
    """
    maps = [_correspondences(sample, background) for sample in samples]
    longest = max(1, *(len(m.cells) for m in maps))
    keypoints = np.stack([_keypoints(sample) for sample in samples])
    points = np.stack([_padded(m.points, longest) for m in maps])
    cameras = [_camera(sample) for sample in samples]
    arrays = {
        "keypoints": keypoints[..., :2],
        "confidence": keypoints[..., 2],
        "points": points,
        "places": np.stack([_padded(m.places, longest) for m in maps]),
        "cells": np.stack([_padded(m.cells, longest) for m in maps]),
        "moving": _moving(points, template),
        "grid": np.array([float(m.side**2) for m in maps]),
        "person": np.stack([_crop(s, s.person_mask, s.person_mask_box) for s in samples]),
        "object": np.stack([_crop(s, s.object_mask, s.object_mask_box) for s in samples]),
    }
    poses = (np.stack([camera.rotation for camera in cameras]), np.stack([camera.translation for camera in cameras]))
    tensors: dict[str, Any] = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    people = [require_human(sample) for sample in samples]
    initial = {name: torch.from_numpy(np.stack([getattr(human, name) for human in people])) for name in PARAMETERS}
    return Observation(Cameras(*map(torch.from_numpy, poses)), **tensors, initial=initial)


def require_human(sample: Sample) -> Human:
    """The estimated body; ValueError where there is none: such samples are refused before."""
    if sample.human is None:
        raise ValueError(f"{sample.image_id}: has no estimated body")
    return sample.human


def _camera(sample: Sample) -> Camera:
    if sample.camera is None:
        raise ValueError(f"{sample.image_id}: has no camera")
    return sample.camera


def _image_coordinates(pixels: Float[np.ndarray, "*n 2"], camera: Camera) -> Float[np.ndarray, "*n 2"]:
    return np.asarray((pixels - camera.principal_point) / camera.focal)


def _keypoints(sample: Sample) -> Float[np.ndarray, "65 3"]:
    """Image coordinates and confidence; what is lost, unsure or not finite has confidence 0 and place 0."""
    found = np.zeros((len(FITTED), 3))
    if sample.wholebody_keypoints is not None:
        found = sample.wholebody_keypoints[FITTED].astype(np.float64)
        found[:, :2] = _image_coordinates(found[:, :2], _camera(sample))
        found[~np.isfinite(found).all(1) | (found[:, 2] < SURE)] = 0
    return found


class _Map(NamedTuple):
    """The cells of a map that count, and the side of the square they are of."""

    points: Float[np.ndarray, "n 3"]
    places: Float[np.ndarray, "n 2"]
    cells: Int[np.ndarray, " n"]
    side: int


def _correspondences(sample: Sample, background: bool) -> _Map:
    """Resample the map to a square about its box: the nearest cell for each, which keeps its own pixel.

    The square has the box's longer side and at most 128 cells on it, no more than the map has: copies of a cell would
    cost time and say nothing, since sums over cells are divided by their number.
    """
    grid, box = sample.object_correspondences, sample.object_correspondences_box
    if grid is None or box is None or not _has_cells(sample):
        return _Map(np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0, np.int64), 1)
    shape = np.array(grid.shape[1::-1])  # columns, rows
    pitch = box[2:] / shape
    side = int(np.clip(round(float(box[2:].max() / pitch.min())), 1, GRID))
    span = box[2:].max() / pitch  # cells of the map across the square
    steps = (np.arange(side) + 0.5) / side - 0.5
    columns, rows = (np.floor(shape[k] / 2 + steps * span[k] + TIE).astype(np.int64) for k in (0, 1))
    inside = ((columns >= 0) & (columns < shape[0]))[None] & ((rows >= 0) & (rows < shape[1]))[:, None]
    values = grid[rows.clip(0, shape[1] - 1)][:, columns.clip(0, shape[0] - 1)] * inside[..., None]
    seen = _seen_cells(values)
    pixels = np.stack(np.meshgrid(box[0] + columns * pitch[0], box[1] + rows * pitch[1]), axis=-1)
    chosen = np.ones_like(seen) if background else seen
    points = np.where(seen[..., None], values, 0)[chosen]
    kind = np.where(seen, 1, 2)[chosen]
    return _Map(points.astype(np.float64), _image_coordinates(pixels[chosen], _camera(sample)), kind, side)


def _seen_cells(grid: Float[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
    """Which cells of a map hold a point: numbers, not all 0."""
    return np.asarray(np.isfinite(grid).all(2) & (grid != 0).any(2))


def _has_cells(sample: Sample) -> bool:
    """Whether a sample has a map with a point in it, over a box that has an area."""
    grid, box = sample.object_correspondences, sample.object_correspondences_box
    if grid is None or box is None or not np.isfinite(box).all() or not (box[2:] > 0).all():
        return False
    return bool(_seen_cells(grid).any())


def _has_masks(sample: Sample) -> bool:
    """Whether both masks are there, each with the rectangle it is of."""
    pairs = ((sample.person_mask, sample.person_mask_box), (sample.object_mask, sample.object_mask_box))
    return all(mask is not None and box is not None and mask.size > 0 for mask, box in pairs)


def _padded(array: np.ndarray, length: int) -> np.ndarray:
    return np.concatenate([array, np.zeros((length - len(array), *array.shape[1:]), array.dtype)])


def _moving(points: Float[np.ndarray, "b n 3"], template: Template) -> Float[np.ndarray, "b n"]:
    """Whether the template's nearest vertex is one that the joint turns."""
    if template.category.joint is None:
        return np.zeros(points.shape[:2])
    turns = np.zeros(len(template.vertices))
    turns[template.joint_vertices] = 1
    return np.asarray(turns[cKDTree(template.vertices).query(points)[1]])


def _crop(
    sample: Sample, mask: np.ndarray | None, box: tuple[int, int, int, int] | None
) -> Bool[np.ndarray, "256 256"]:
    """A mask on the crop of 256 pixels at focal length 5000: the nearest pixel of the frame for each."""
    if mask is None or box is None:
        return np.zeros((CROP, CROP), bool)
    camera = _camera(sample)
    steps = (np.arange(CROP) - CROP / 2) / FOCAL
    columns = np.floor(steps * camera.focal[0] + camera.principal_point[0] + 0.5).astype(np.int64) - box[0]
    rows = np.floor(steps * camera.focal[1] + camera.principal_point[1] + 0.5).astype(np.int64) - box[1]
    height, width = mask.shape[:2]
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
    covered = mask[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)] > 0
    return np.asarray(covered & inside)


LACKS: dict[str, Callable[[Sample], bool]] = {
    "wholebody_keypoints": lambda s: s.wholebody_keypoints is None,
    "object_correspondences": lambda s: not _has_cells(s),
    "masks": lambda s: not _has_masks(s),
    "occlusion": lambda s: s.human_occlusion is None or s.object_occlusion is None,
}
"""What a term may need of a sample, and how to tell that it is not there."""
