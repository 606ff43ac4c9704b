"""One input row: everything that is detected and estimated from the picture of a scene."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from wildhoi.body import BodyModel, body_parameters
from wildhoi.geometry import project
from wildhoi.open_scenes.detector.correspondences import disturb_map, render_map
from wildhoi.open_scenes.detector.estimate import disturb_camera, disturb_human
from wildhoi.open_scenes.detector.keypoints import detect_keypoints, exact, in_camera, look
from wildhoi.open_scenes.detector.masks import boxed_in_frame, ragged
from wildhoi.open_scenes.detector.pose import in_smpl_frame, solve_pose
from wildhoi.open_scenes.detector.settings import DetectorSettings
from wildhoi.open_scenes.detector.tuning import tune
from wildhoi.open_scenes.detector.view import View
from wildhoi.open_scenes.detector.wholebody import openpose_from_wholebody, wholebody_points
from wildhoi.open_scenes.randomness import generator
from wildhoi.schema import N_BODY_JOINTS, Camera, Human, ObjectPose, Sample
from wildhoi.templates import Template


class _Body(NamedTuple):
    """The estimated person."""

    human: Human
    camera: Camera
    jaw_pose: Float[np.ndarray, "3"]
    expression: Float[np.ndarray, "10"]


def detect(
    view: View, body: BodyModel, template: Template, rng: np.random.Generator, settings: DetectorSettings
) -> Sample:
    """The input row of a view, without occlusion maps: errors drawn from `rng`, or none where the settings say so.

    Without noise the detections are the truth seen through the scene's camera, and the estimates are the true person
    and object with the annotated camera.
    """
    scene = view.scene
    seed = int(rng.integers(2**63))  # one draw: what errs in one thing depends on nothing drawn for another
    keypoints = _find_keypoints(view, body, generator(seed, "keypoints"), settings)
    person = _estimate_body(view, keypoints, body, generator(seed, "body"), settings)
    return Sample(
        image_id=scene.scene_id,
        object=scene.object,
        video_id=scene.scene_id,
        image=view.image,
        image_box=scene.image_box,
        frame_size=scene.frame_size,
        wholebody_keypoints=keypoints,
        openpose_keypoints=openpose_from_wholebody(keypoints),
        **person._asdict(),
        body_box=scene.body_box,
        focal=person.camera.focal,
        principal_point=person.camera.principal_point,
        body_keypoints=_joint_pixels(person, body),
        **_mask_fields("person", view.person, view, generator(seed, "person mask"), settings),
        **_mask_fields("object", view.thing, view, generator(seed, "object mask"), settings),
        **_object_fields(view, template, person.camera, generator(seed, "object"), settings),
    )


def _find_keypoints(
    view: View, body: BodyModel, rng: np.random.Generator, settings: DetectorSettings
) -> Float[np.ndarray, "133 3"]:
    points = wholebody_points(body, view.vertices, view.joints, settings.face)
    seen = look(view, points, settings.keypoints.depth_margin)
    if not settings.noise:
        return exact(seen, settings.keypoints)
    return detect_keypoints(seen, view.unit, rng, settings.keypoints)


def _estimate_body(
    view: View,
    keypoints: Float[np.ndarray, "133 3"],
    body: BodyModel,
    rng: np.random.Generator,
    settings: DetectorSettings,
) -> _Body:
    scene, noise = view.scene, settings.body
    if not settings.noise:
        return _Body(scene.human, scene.annotated, np.zeros(3), np.zeros(10))
    human = disturb_human(scene.human, body, rng, noise)
    camera = disturb_camera(scene.annotated, rng, noise)
    human, camera = tune(human, camera, keypoints, view.unit, body, settings.face, settings.tuning)
    jaw, expression = np.radians(noise.jaw) * rng.standard_normal(3), noise.expression * rng.standard_normal(10)
    return _Body(human, camera, jaw, expression)


def _joint_pixels(person: _Body, body: BodyModel) -> Float[np.ndarray, "22 2"]:
    """The estimated joints in the picture."""
    joints = body.joints(*body_parameters([person.human], body))[0, : N_BODY_JOINTS + 1].double().cpu().numpy()
    camera = person.camera
    return np.asarray(project(in_camera(joints, camera), camera.focal, camera.principal_point))


def _mask_fields(
    name: str, mask: Bool[np.ndarray, "h w"], view: View, rng: np.random.Generator, settings: DetectorSettings
) -> dict[str, Any]:
    """A mask and its boxes in the frame, as fields of a sample; none where nothing is seen."""
    found = ragged(mask, view.unit, rng, settings.masks) if settings.noise else mask
    cut = boxed_in_frame(found, view.scene.image_box[:2])
    if cut is None:
        return {}
    return {f"{name}_mask": cut.mask, f"{name}_mask_box": cut.box, f"{name}_box": cut.corners}


def _object_fields(
    view: View, template: Template, camera: Camera, rng: np.random.Generator, settings: DetectorSettings
) -> dict[str, Any]:
    """Correspondences and what is solved from them, as fields of a sample; none where the frame shows nothing of it."""
    nowhere = np.full((len(template.keypoints), 2), np.nan)
    found = render_map(view.scene, template, settings.grid)
    pose: ObjectPose | None = None
    if not settings.noise:
        pose = view.scene.object_pose
    elif found is not None:
        found = disturb_map(found, np.ptp(template.vertices, axis=0), rng, settings.correspondences)
        placed = solve_pose(found, template, camera, rng, settings.pose)
        pose = None if placed is None else in_smpl_frame(placed, camera)
    return {
        "object_pose": pose,
        "object_pose_success": pose is not None,
        "object_keypoints": nowhere if pose is None else _object_keypoints(pose, template, camera),
        "object_correspondences": None if found is None else found.points,
        "object_correspondences_box": None if found is None else np.array(found.box, np.float64),
    }


def _object_keypoints(pose: ObjectPose, template: Template, camera: Camera) -> Float[np.ndarray, "k 2"]:
    """The keypoints of a placed object in the picture, its joint turned."""
    posed = template.posed(pose, articulate=True)
    points = in_camera(template.keypoints_at(posed), camera)
    return np.asarray(project(points, camera.focal, camera.principal_point))
