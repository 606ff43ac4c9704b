"""The picture of an image: which panels there is something for, and the words around them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wildhoi.body import BodyModel
from wildhoi.errors import InputError
from wildhoi.schema import Annotation, Camera, Human, ObjectPose, Sample
from wildhoi.show.correspondences import correspondences
from wildhoi.show.detections import detections
from wildhoi.show.page import write_page
from wildhoi.show.panels import Panel, overlay, side
from wildhoi.show.scene import FAR_CAMERA, Meshes, Shown, bounds, choose, make_meshes
from wildhoi.show.window import window_around, with_aspect
from wildhoi.templates import Template

MODELS = {"open": "open body", "smplx": "SMPL-X", "smplh": "SMPL-H"}


def render_image(
    sample: Sample | None,
    annotation: Annotation | None,
    template: Template,
    body: BodyModel,
    out: Path,
    *,
    shown: Shown | None = None,
    split: str | None = None,
) -> None:
    """Write one PNG of an image: detections, meshes over the crop and from the side, correspondences.

    Args:
        sample: the inputs, or None: then there is no picture.
        annotation: the truth, or None.
        template: of the image's object.
        body: the model to pose.
        out: the file to write.
        shown: whose meshes: the "truth", or the sample's initial "estimate"; default the truth where there is one.
        split: named in the caption.

    Raises:
        InputError: there is nothing to show, not what was asked for, or the template is another object's.
    """
    shown = choose(sample, annotation, shown)
    image = annotation if sample is None else sample
    if image is None or image.object != template.category.name:
        raise InputError(
            f"the template is of {template.category.name}, the image of {image.object if image else 'none'}"
        )
    human, pose, camera = _subject(sample, annotation, shown)
    meshes = None if human is None else make_meshes(human, pose, template, body)
    made = _panels(sample, template, meshes, camera, shown)
    if not made:
        raise InputError(f"{image.image_id}: has no picture, no detection and no estimate to show")
    heading = " · ".join(text for text in (image.object, split) if text)
    write_page(out, made, image.image_id, heading, _words(human, pose, camera, shown, body))


def _subject(
    sample: Sample | None, annotation: Annotation | None, shown: Shown
) -> tuple[Human | None, ObjectPose | None, Camera | None]:
    """The person, the object's pose and the camera that are shown."""
    source = annotation if shown == "truth" else sample
    return (None, None, None) if source is None else (source.human, source.object_pose, source.camera)


def _words(human: Human | None, pose: ObjectPose | None, camera: Camera | None, shown: Shown, body: BodyModel) -> str:
    """What the meshes are."""
    if human is None:
        return "No meshes: the person was not estimated."
    what = "the truth" if shown == "truth" else "the initial estimate"
    name = MODELS[body.kind]
    text = f"Meshes: {what}, on the {name}" + (f" ({body.gender})" if body.gender != "neutral" else "")
    text += "" if pose is not None else "; no pose of the object was found, so the body alone"
    return text + ("." if camera is not None else "; no camera is known, so seen from the front.")


def _panels(
    sample: Sample | None, template: Template, meshes: Meshes | None, camera: Camera | None, shown: Shown
) -> list[Panel]:
    """The panels that there is something for."""
    made, region = [], None if sample is None else region_of(sample)
    view = camera or FAR_CAMERA
    # without a camera the meshes have no place in the frame
    seen = region if camera is not None else None
    if sample is not None and region is not None:
        made.append(detections(sample, window_around(region)))
    if meshes is not None:
        window = window_around(bounds(meshes.seen(view)), 0.1) if seen is None else window_around(seen)
        if made and seen is None:
            window = with_aspect(window, made[0].aspect)
        title = "Truth" if shown == "truth" else "Initial estimate"
        made.append(overlay(title, meshes, view, sample if seen is not None else None, window))
        made.append(side(meshes, view, made[0].aspect))
    if sample is not None and region is not None and sample.object_correspondences is not None:
        made.append(correspondences(sample, template, window_around(region)))
    return made


def region_of(sample: Sample) -> Sequence[int | float] | None:
    """The rectangle of the frame (x, y, width, height) to look at: the crop, else what holds the boxes."""
    if sample.image_box is not None:
        return sample.image_box
    corners = [box for box in (sample.person_box, sample.object_box) if box is not None and np.isfinite(box).all()]
    return bounds(np.concatenate(corners).reshape(-1, 2)) if corners else None
