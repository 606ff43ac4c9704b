"""What there is to show of an image: which meshes, in which camera, and the words that say what they are."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from wildhoi.body import BodyModel, pose_person
from wildhoi.errors import InputError
from wildhoi.geometry import axis_rotation, project
from wildhoi.rendering.camera import NEAR
from wildhoi.rendering.pictures import finer, shade
from wildhoi.rendering.raster import rasterize
from wildhoi.schema import Annotation, Camera, Human, ObjectPose, Sample
from wildhoi.show.window import Window
from wildhoi.templates import Template

Shown = Literal["truth", "estimate"]

PERSON, OBJECT = (0.50, 0.66, 0.90), (0.97, 0.62, 0.30)
FAR_CAMERA = Camera(np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 40.0]), np.full(2, 8000.0), np.zeros(2))
"""In front of the person, where no camera is known."""


@dataclass(frozen=True, eq=False)
class Meshes:
    """The person and, where it has a pose, the object: metres, SMPL frame."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    colours: Float[np.ndarray, "v 3"]

    def seen(self, camera: Camera) -> Float[np.ndarray, "_ 2"]:
        """Where the vertices in front of a camera are in its picture, pixels of the frame."""
        points = self.vertices @ camera.rotation.T + camera.translation
        return project(points[points[:, 2] > NEAR], camera.focal, camera.principal_point)


def choose(sample: Sample | None, annotation: Annotation | None, shown: Shown | None) -> Shown:
    """Truth or estimate: what was asked for, else the truth where there is one.

    Raises:
        InputError: there is nothing to show, not what was asked for, or the two are of different images.
    """
    if sample is None and annotation is None:
        raise InputError("nothing to show: neither a sample nor an annotation is given")
    if sample is not None and annotation is not None and sample.image_id != annotation.image_id:
        raise InputError(
            f"the sample is of {sample.image_id} and the annotation of {annotation.image_id}, want one image"
        )
    if shown == "truth" and annotation is None and sample is not None:
        raise InputError(f"{sample.image_id}: has no annotation, so its truth cannot be shown; show the estimate")
    if shown == "estimate" and sample is None and annotation is not None:
        raise InputError(f"{annotation.image_id}: has no sample, so no estimate can be shown; show the truth")
    return shown or ("estimate" if annotation is None else "truth")


def make_meshes(human: Human, pose: ObjectPose | None, template: Template, body: BodyModel) -> Meshes:
    """Pose the body and the template; a template's movable part is turned."""
    person, _ = pose_person(human, body)
    vertices, faces, counts = [person], [np.asarray(body.faces)], [len(person)]
    if pose is not None:
        vertices.append(template.posed(pose, articulate=True))
        faces.append(template.faces + len(person))
        counts.append(len(template.vertices))
    colours = np.repeat([PERSON, OBJECT][: len(counts)], counts, axis=0)
    return Meshes(np.concatenate(vertices), np.concatenate(faces), colours)


def render(
    meshes: Meshes,
    camera: Camera,
    window: Window,
    background: UInt8[np.ndarray, "h w 3"],
    opacity: float = 1.0,
    *,
    supersampling: int = 3,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw meshes over a panel; the edges of less supersampling are coarser and sooner there."""
    focal, principal_point = window.view(camera)
    points = meshes.vertices @ camera.rotation.T + camera.translation
    left, top, right, bottom = _covered(points, focal, principal_point, background.shape)
    pixels = background.copy()
    if right > left and bottom > top:
        # what the meshes do not cover need not be worked out
        posed, faces = torch.from_numpy(points.astype(np.float32))[None], torch.from_numpy(meshes.faces)
        corner = (principal_point - [left, top]).astype(np.float32)
        lens = torch.from_numpy(focal.astype(np.float32))[None], torch.from_numpy(corner)[None]
        drawn = shade(
            rasterize(posed, faces, *finer(*lens, (bottom - top, right - left), supersampling)),
            posed,
            faces,
            colors=torch.from_numpy(meshes.colours.astype(np.float32)),
            opacity=opacity,
            background=torch.from_numpy(pixels[top:bottom, left:right].copy())[None],
            supersampling=supersampling,
        )
        pixels[top:bottom, left:right] = drawn[0].numpy()
    return pixels


def _covered(
    points: Float[np.ndarray, "n 3"],
    focal: Float[np.ndarray, "2"],
    principal_point: Float[np.ndarray, "2"],
    shape: tuple[int, ...],
) -> tuple[int, int, int, int]:
    """The pixels (left, top, right, bottom) that hold a mesh; the whole panel where it reaches behind the camera."""
    height, width = shape[:2]
    if not (points[:, 2] > NEAR).all():
        return 0, 0, width, height
    seen = project(points, focal, principal_point)
    if not np.isfinite(seen).all():  # farther away than numbers go
        return 0, 0, width, height
    low, high = np.floor(seen.min(axis=0)) - 1, np.ceil(seen.max(axis=0)) + 2
    left, top = np.clip(low, 0, [width, height]).astype(int)
    right, bottom = np.clip(high, 0, [width, height]).astype(int)
    return int(left), int(top), int(right), int(bottom)


def from_the_side(camera: Camera) -> Camera:
    """The camera gone a quarter round, about its own vertical: to the right of the picture is where it looked."""
    return replace(camera, rotation=axis_rotation(np.array([0.0, 1.0, 0.0]), np.pi / 2) @ camera.rotation)


def bounds(points: Float[np.ndarray, "n 2"]) -> tuple[float, float, float, float]:
    """The rectangle (x, y, width, height) that holds points, pixels; of one pixel where there are none."""
    if not len(points):
        return 0.0, 0.0, 1.0, 1.0
    (x, y), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(x), float(y), float(right - x), float(bottom - y)
