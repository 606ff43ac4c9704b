"""Where every baseline starts: the estimates of a sample, and the published fallback where one is not usable."""

from dataclasses import replace

import numpy as np

from wildhoi.objects import find_category
from wildhoi.schema import Camera, Human, ObjectPose, Sample

NEAREST = 0.1
"""Metres: what is nearer to a camera is behind it."""


def initial_human(sample: Sample) -> Human | None:
    """The estimated body, SMPL frame; None where the sample has none, or one with numbers that are not finite."""
    human = sample.human
    if human is None or not _finite(human.betas, human.body_pose, human.left_hand_pose, human.right_hand_pose):
        return None
    return human


def initial_camera(sample: Sample) -> Camera | None:
    """The estimated camera, seen from the SMPL frame; None where there is none, or one that cannot be computed with."""
    camera = sample.camera
    if camera is None or not _finite(camera.rotation, camera.translation, camera.focal, camera.principal_point):
        return None
    return camera if (camera.focal > 0).all() else None


def initial_object(sample: Sample) -> ObjectPose:
    """The object's estimated pose, SMPL frame, metres; the published fallback where it is absent or not finite.

    The fallback gives the object the person's own camera pose: in the SMPL frame no rotation and no translation, at
    the template's size. A pose behind the camera is no estimate either; whether the estimator called it a success does
    not matter, as in the published code. The movable part of a category that has one is at its estimated angle
    (radians), or at 0.

    Raises:
        InputError: the sample's object is no category of the table.
    """
    joint = find_category(sample.object).joint
    pose = sample.object_pose
    if pose is None or not _usable(pose) or _behind(pose, initial_camera(sample)):
        pose = ObjectPose(np.eye(3), np.zeros(3))
    if joint is None:
        return replace(pose, angle=None)
    known = pose.angle is not None and _finite(pose.angle)
    return pose if known else replace(pose, angle=0.0)


def _usable(pose: ObjectPose) -> bool:
    return _finite(pose.rotation, pose.translation, pose.scale) and pose.scale > 0


def _behind(pose: ObjectPose, camera: Camera | None) -> bool:
    """Whether the object's origin lies behind a camera, or where it stands."""
    return camera is not None and float(camera.rotation[2] @ pose.translation + camera.translation[2]) < NEAREST


def _finite(*values: np.ndarray | float) -> bool:
    return all(bool(np.isfinite(value).all()) for value in values)
