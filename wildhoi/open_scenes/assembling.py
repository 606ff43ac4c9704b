"""Rows of the open set, made of solved scenes: pictures and detections, truth, and further views."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wildhoi.body import BodyModel, load_body, pose_person
from wildhoi.body.layout import BODY_JOINTS
from wildhoi.convert.parts import Log
from wildhoi.geometry import project
from wildhoi.occlusion_maps import occlusion_maps
from wildhoi.open_scenes.cameras import draw_view, outermost
from wildhoi.open_scenes.detector.detect import detect
from wildhoi.open_scenes.detector.settings import DetectorSettings, load_settings
from wildhoi.open_scenes.detector.view import View
from wildhoi.open_scenes.drawing.looks import draw_look
from wildhoi.open_scenes.drawing.render import Drawing, draw
from wildhoi.open_scenes.drawing.settings import load_look_settings
from wildhoi.open_scenes.randomness import generator
from wildhoi.open_scenes.scene import Scene
from wildhoi.open_scenes.scene_files import read_scenes
from wildhoi.schema import Annotation, Camera, Sample, SceneView
from wildhoi.templates import SHIPPED, Template, load_template
from wildhoi.threads import one_thread

GAVE_UP = "no attempt to pose the scene held"


@dataclass(frozen=True)
class Source:
    """Where the scenes of a part are, and how they are shown.

    `path` is not in its `repr`, by which an unfinished run is known again wherever its folder is by now.
    """

    path: Path = field(repr=False)
    names: tuple[str, ...]
    seed: int
    size: int
    layouts: int
    device: str


def read_samples(source: Source, log: Log) -> Iterator[Sample]:
    """The inputs of a part, one scene at a time."""
    settings, body = load_settings(), load_body("open", device=source.device)
    with one_thread():
        for scene in _scenes(source, log):
            yield make_sample(scene, source.seed, body, settings)


def read_annotations(source: Source, log: Log) -> Iterator[Annotation]:
    """The truth of a part."""
    del log  # the samples of the same scenes say what was drawn again
    for scene in _scenes(source, Log()):
        yield scene.annotation()


def read_layouts(source: Source, log: Log) -> Iterator[SceneView]:
    """Further views of the scenes of a part."""
    del log
    body = load_body("open", device=source.device)
    with one_thread():
        for scene in _scenes(source, Log()):
            yield from make_views(scene, source.seed, source.layouts, body)


def _scenes(source: Source, log: Log) -> Iterator[Scene]:
    """The scenes of a part in the order of their names; what was drawn again, and what never held, is noted."""
    stored = read_scenes(source.path, source.names)
    found = {scene.scene_id: scene for scene in stored.scenes}
    for scene_id, reason in stored.redrawn:
        if scene_id in source.names:
            log.redraw(scene_id, reason)
    for name in source.names:
        if name in found:
            yield found[name].resized(source.size)
        else:
            log.drop(name, GAVE_UP)


def make_sample(scene: Scene, seed: int, body: BodyModel, settings: DetectorSettings) -> Sample:
    """The input row of a scene: its picture, and what detectors make of it."""
    template = load_template(SHIPPED / scene.object)
    vertices, joints = pose_person(scene.human, body)
    drawing = draw_scene(scene, seed, vertices, body, template)
    x, y, _ = scene.window
    left, top, width, height = scene.image_box
    cut = (0, slice(top - y, top - y + height), slice(left - x, left - x + width))
    image = np.ascontiguousarray(drawing.images[cut])
    view = View(scene, image, drawing.person[cut], drawing.thing[cut], vertices, joints)
    sample = detect(view, body, template, generator(seed, scene.scene_id, "detector"), settings)
    if sample.human is None or sample.camera is None or sample.object_pose is None:
        return sample
    human, thing = occlusion_maps(sample.human, sample.object_pose, sample.camera, body, template)
    return replace(sample, human_occlusion=human, object_occlusion=thing)


def draw_scene(
    scene: Scene, seed: int, vertices: Float[np.ndarray, "v 3"], body: BodyModel, template: Template
) -> Drawing:
    """Draw the window of a scene; what it looks like depends on nothing but its name and the seed."""
    camera, (x, y, side) = scene.camera, scene.window
    thing = template.posed(scene.object_pose, articulate=True)
    look = draw_look(generator(seed, scene.scene_id, "look"), body, template, load_look_settings())

    def tensor(array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(array)[None], dtype=body.dtype, device=body.device)

    def seen(points: Float[np.ndarray, "n 3"]) -> Tensor:
        return tensor(points @ camera.rotation.T + camera.translation)

    human_faces, thing_faces = (torch.as_tensor(array, device=body.device) for array in (body.faces, template.faces))
    focal, principal_point = tensor(camera.focal), tensor(camera.principal_point - [x, y])
    return draw([look], seen(vertices), seen(thing), human_faces, thing_faces, focal, principal_point, side)


def make_views(scene: Scene, seed: int, count: int, body: BodyModel) -> Iterator[SceneView]:
    """Views of a scene by other far cameras of the same distribution: exact projections of its truth."""
    template = load_template(SHIPPED / scene.object)
    vertices, joints = pose_person(scene.human, body)
    thing = template.posed(scene.object_pose, articulate=True)
    keypoints = template.keypoints_at(thing)
    person, everything = outermost(vertices), outermost(np.concatenate([vertices, thing]))
    for number in range(count):
        camera = draw_view(everything, person, scene.upright, generator(seed, scene.scene_id, "view", number))
        yield SceneView(
            scene_id=scene.scene_id,
            object=scene.object,
            view=number,
            camera=camera,
            body_keypoints=_pixels(joints[: len(BODY_JOINTS)], camera),
            object_keypoints=_pixels(keypoints, camera),
        )


def _pixels(points: Float[np.ndarray, "n 3"], camera: Camera) -> Float[np.ndarray, "n 2"]:
    return project(points @ camera.rotation.T + camera.translation, camera.focal, camera.principal_point)
