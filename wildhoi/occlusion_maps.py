"""Occlusion maps: which vertices of a person and of an object lie where the two overlap in the picture.

The map of an image marks the vertices, seen or hidden, that project into the region which the rendered person and the
rendered object both cover, in a crop of 256 x 256 pixels at focal 5000. The mean map of an object is their average over
training images, without near-duplicates: it weighs the contact term (paper, eq. 14). An overlap is no contact.

The view distance of two images is taken of their X_2.5D: the unit rays from the camera to the body's first 22 joints
and to the object's keypoints, and the unit vector from the pelvis to the camera, all in the SMPL frame. It is the mean,
over these vectors and their three components, of the absolute difference. An image is a near-duplicate where its
distance to one that was kept is below the limit; images are taken in the data set's order, so the first is always kept.
Cameras stand so far away that the rays of a picture are nearly parallel: 0.1 is 10 to 17 degrees between viewpoints.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool, Float

from wildhoi.body import BodyModel, load_body, pose_people
from wildhoi.dataset import DataFolder, load_samples
from wildhoi.errors import InputError
from wildhoi.files import atomic_path, require_writable
from wildhoi.geometry import camera_position
from wildhoi.mean_maps import Tally
from wildhoi.objects import find_category
from wildhoi.rendering import occlusion, overlap_vertices, rasterize
from wildhoi.schema import Camera, Human, ObjectPose, Sample
from wildhoi.templates import Template, find_template, load_template
from wildhoi.views import JOINTS

FOCAL, CROP = 5000.0, 256
"""Focal length of the crop, at so many pixels: how the wild set's cameras are annotated."""
BATCH = 8
"""Images rendered at once: more take memory and are no faster on a CPU."""
LEAST_INSIDE = 0.5
"""Share of the body's vertices that the crop must hold; with less, the camera is not annotated as in the wild set."""
SCHEMA = pa.schema(
    {
        "image_id": pa.string(),
        "human_occlusion": pa.list_(pa.bool_()),
        "object_occlusion": pa.list_(pa.bool_()),
        "kept": pa.bool_(),
    }
)

Progress = Callable[[int, int], None]


class Maps(NamedTuple):
    """The maps of some images, what is marked; their X_2.5D, and how much of the body the crop holds."""

    human: Bool[np.ndarray, "b v"]
    object: Bool[np.ndarray, "b n"]
    views: Float[np.ndarray, "b _ 3"]
    inside: Float[np.ndarray, " b"]


@dataclass(frozen=True)
class OcclusionReport:
    """What was made: images by fate, and the two files; `lacking` says of what images without a map have none."""

    object: str
    split: str
    images: int
    mapped: int
    kept: int
    lacking: dict[str, int]
    maps: str
    mean: str

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self)


def occlusion_maps(
    human: Human, object_pose: ObjectPose, camera: Camera, body: BodyModel, template: Template, *, size: int = CROP
) -> tuple[Bool[np.ndarray, " v"], Bool[np.ndarray, " n"]]:
    """The occlusion maps of one image: which vertices of the body, and which of the template, lie in the overlap.

    Args:
        human: the person.
        object_pose: the object; its movable part is turned.
        camera: of the frame; the crop is the square of 256 / 5000 of its focal length about its principal point.
        body: the model to pose.
        template: of the object.
        size: side of the picture that is rendered, pixels.
    """
    maps = batched_occlusion_maps([human], [object_pose], [camera], body, template, size=size)
    return maps.human[0], maps.object[0]


def batched_occlusion_maps(
    humans: Sequence[Human],
    object_poses: Sequence[ObjectPose],
    cameras: Sequence[Camera],
    body: BodyModel,
    template: Template,
    *,
    size: int = CROP,
) -> Maps:
    """The occlusion maps of several images of one object, with their X_2.5D; arguments as for one image."""
    device = body.device
    vertices, joints = pose_people(humans, body)
    things = np.stack([template.posed(pose, articulate=True) for pose in object_poses])
    rotation, translation, focal, principal = _crops(cameras, size, device)
    person, thing = (torch.from_numpy(points).to(device) @ rotation.mT + translation for points in (vertices, things))
    meshes = ((person, torch.from_numpy(body.faces)), (thing, torch.from_numpy(template.faces)))
    rasters = [rasterize(points, faces.to(device), focal, principal, (size, size)) for points, faces in meshes]
    overlap = occlusion(*rasters).overlap
    marks = [overlap_vertices(points, overlap, focal, principal).cpu().numpy() for points in (person, thing)]
    whole = torch.ones_like(overlap)
    inside = overlap_vertices(person, whole, focal, principal).double().mean(1).cpu().numpy()
    points = np.concatenate([joints[:, :JOINTS], template.keypoints_at(things)], axis=1)
    views = np.stack([view_vectors(each, camera) for each, camera in zip(points, cameras, strict=True)])
    return Maps(marks[0], marks[1], views, inside)


def _crops(cameras: Sequence[Camera], size: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Rotations, translations (b, 1, 3), focal lengths and principal points of the crops; the pixels are square."""
    rotation = np.stack([camera.rotation for camera in cameras])
    translation = np.stack([camera.translation for camera in cameras])[:, None]
    focal = np.stack([camera.focal for camera in cameras])
    focal = focal / focal[:, 1:] * (FOCAL * size / CROP)
    principal = np.full((len(cameras), 2), size / 2)
    rotation_, translation_, focal_, principal_ = (
        torch.from_numpy(array).to(device) for array in (rotation, translation, focal, principal)
    )
    return rotation_, translation_, focal_, principal_


def view_vectors(points: Float[np.ndarray, "n 3"], camera: Camera) -> Float[np.ndarray, "_ 3"]:
    """X_2.5D as unit vectors: the rays from the camera to points, and from the pelvis to the camera; SMPL frame."""
    position = camera_position(camera.rotation, camera.translation)
    vectors = np.concatenate([points - position, position[None]])
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def write_occlusion_maps(
    data: DataFolder,
    name: str,
    out: Path,
    *,
    split: str = "train",
    limit: float = 0.1,
    images: int | None = None,
    progress: Progress | None = None,
) -> OcclusionReport:
    """Write the occlusion maps of a data set's images of one object, from the estimates of its samples, and their mean.

    `NAME.parquet` has a row for each image that has estimates: image_id, human_occlusion, object_occlusion (flags by
    vertex) and kept (whether it is in the mean). `NAME-mean.npz` has the arrays `human` and `object`, the mean maps,
    `images`, how many they are of, `view_distance`, and `body` and `template`, the hashes of whose vertices they are.

    Args:
        data: with samples of the split.
        name: of the object.
        out: the folder of the two files.
        split: `train` or `test`.
        limit: the view distance below which an image is a near-duplicate.
        images: only the first so many.
        progress: called with (images read, images).

    Raises:
        InputError: the object is unknown or has no samples, no image has estimates, or the folder cannot be written.
        MissingAssetError: the body model or the template is not there.
    """
    find_category(name)
    files = data.files("samples", split, [name])
    require_writable(out)
    template = load_template(find_template(data.objects, name, shipped=data.body_model == "open"))
    total = sum(pq.read_metadata(file).num_rows for file in files)
    total = total if images is None else min(total, images)
    run = _Run(data, template, Tally(limit), Counter(), {})
    samples = _told(islice(load_samples(data.path, split, [name], streaming=True), total), total, progress)
    maps, mean = out / f"{name}.parquet", out / f"{name}-mean.npz"
    with atomic_path(maps) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        for body, group in _batches(samples, run):
            writer.write_table(_mapped(group, body, run))
        facts = {
            "template": template.sha256,
            "body": " ".join(run.bodies),
            "data": data.name,
            "revision": data.revision,
        }
        writer.add_key_value_metadata(facts)
        if not run.tally.views:
            why = "; ".join(f"{number} {what}" for what, number in run.lacking.items()) or "it has no image"
            raise InputError(f"{data.path}: no image of {name} in split {split!r} gives an occlusion map: {why}")
    content: dict[str, Any] = {**run.tally.means, "images": len(run.tally.views), "view_distance": limit, **facts}
    with atomic_path(mean) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **content)
    mapped = total - sum(run.lacking.values())
    return OcclusionReport(name, split, total, mapped, len(run.tally.views), dict(run.lacking), str(maps), str(mean))


@dataclass(frozen=True, eq=False)
class _Run:
    """What the images of a run go through, and what is found: the images that lack something, the bodies' hashes."""

    data: DataFolder
    template: Template
    tally: Tally
    lacking: "Counter[str]"
    bodies: dict[str, None]


def _told(samples: Iterator[Sample], total: int, progress: Progress | None) -> Iterator[Sample]:
    for done, sample in enumerate(samples, 1):
        yield sample
        if progress is not None:
            progress(done, total)


def _batches(samples: Iterator[Sample], run: _Run) -> Iterator[tuple[BodyModel, list[Sample]]]:
    """Samples with estimates in their order, a few of one body model at a time; the others are counted."""
    whole = (sample for sample in samples if _has_estimates(sample, run))
    for gender, same in groupby(whole, lambda sample: sample.gender):
        kind = run.data.body_model
        body = load_body(kind, gender=gender, flat_hand_mean=kind == "smplh")
        run.bodies[body.sha256] = None
        while group := list(islice(same, BATCH)):
            yield body, group


def _has_estimates(sample: Sample, run: _Run) -> bool:
    """Whether an image has a body, a camera and an object's pose, all numbers; what it lacks first is counted."""
    for what, estimate in (("body", sample.human), ("camera", sample.camera), ("object's pose", sample.object_pose)):
        if estimate is None or not all(
            np.isfinite(value).all() for value in vars(estimate).values() if value is not None
        ):
            run.lacking[f"without an estimate of the {what}"] += 1
            return False
    return True


def _mapped(group: Sequence[Sample], body: BodyModel, run: _Run) -> pa.Table:
    """The rows of some images that have estimates; those outside their own crop have none, and are counted."""
    whole = [(s.human, s.object_pose, s.camera) for s in group if s.human and s.object_pose and s.camera]
    humans, poses, cameras = zip(*whole, strict=True)
    maps = batched_occlusion_maps(humans, poses, cameras, body, run.template)
    rows = []
    for sample, human, thing, view, inside in zip(group, *maps, strict=True):
        if inside < LEAST_INSIDE:
            run.lacking["with the person outside the crop that a focal length of 5000 makes"] += 1
            continue
        kept = run.tally.add(human, thing, view)
        rows.append(dict(zip(SCHEMA.names, (sample.image_id, human, thing, kept), strict=True)))
    return pa.Table.from_pylist(rows, schema=SCHEMA)
