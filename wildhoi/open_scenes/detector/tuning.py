"""Tuning a body and its camera to 2D keypoints by damped Gauss-Newton steps, as reprojection tuning does.

In the picture the joints come to lie where they were detected; along the ray they stay as wrong as they were.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation

from wildhoi.body import BodyModel, body_parameters
from wildhoi.geometry import cross_matrix, project
from wildhoi.mirror import FACE, LEFT_HAND, RIGHT_HAND
from wildhoi.open_scenes.detector.settings import FaceRow, Tuning
from wildhoi.open_scenes.detector.wholebody import keypoint_index
from wildhoi.schema import N_BODY_JOINTS, N_HAND_JOINTS, Camera, Human

# Body and feet, and the roots of index and little finger, which tell how a wrist is turned.
TUNED = (*range(FACE), LEFT_HAND + 5, LEFT_HAND + 17, RIGHT_HAND + 5, RIGHT_HAND + 17)
N_POSE = 3 * N_BODY_JOINTS


class _Anchors(NamedTuple):
    """Points that ride on joints: the joint, the place in its frame (metres), and which body joints move each point."""

    joint: Int[np.ndarray, " k"]
    offset: Float[np.ndarray, "k 3"]
    moved_by: Bool[np.ndarray, "k 21"]


class _Posed(NamedTuple):
    """Joints and anchored points, SMPL frame."""

    rotations: Float[np.ndarray, "j 3 3"]
    positions: Float[np.ndarray, "j 3"]
    points: Float[np.ndarray, "k 3"]


def tune(
    human: Human,
    camera: Camera,
    keypoints: Float[np.ndarray, "133 3"],
    unit: float,
    body: BodyModel,
    face: tuple[FaceRow, ...],
    settings: Tuning,
) -> tuple[Human, Camera]:
    """Turn the body's joints and move the camera so that the keypoints are met, staying near the estimates.

    Each step solves `(J^T W J + P) d = J^T W r - P a`, with the residuals r in crop pixels (`unit` of the frame's),
    weights W from confidences and a robust factor, and P what holds the sum a of all steps to zero.
    """
    anchors = _anchors(human, body, keypoint_index(body, face)[list(TUNED)])
    found = keypoints[list(TUNED)]
    holding = _holding(camera, settings)
    total = np.zeros(N_POSE + 6)
    for _ in range(settings.steps):
        posed = _pose(human, body, anchors)
        placed = posed.points @ camera.rotation.T + camera.translation
        residual = (found[:, :2] - project(placed, camera.focal, camera.principal_point)) / unit
        pull = found[:, 2] / settings.keypoint / np.sqrt(1 + (residual**2).sum(axis=1) / settings.outlier**2)
        slope = _jacobian(posed, placed, camera, anchors) / unit * pull[:, None, None]
        rows, target = slope.reshape(-1, len(total)), (residual * pull[:, None]).reshape(-1)
        step = np.linalg.solve(rows.T @ rows + np.diag(holding), rows.T @ target - holding * total)
        total += step
        human, camera = _moved(human, camera, posed, step, body)
    return human, camera


def _holding(camera: Camera, settings: Tuning) -> Float[np.ndarray, "69"]:
    """Inverse squared sigmas of the unknowns: joints, the camera's turn, its translation."""
    depth = settings.depth * abs(float(camera.translation[2]))
    pose, turn = np.radians([settings.pose, settings.camera])
    sigmas = [*[pose] * N_POSE, *[turn] * 3, settings.aside, settings.aside, depth]
    return np.asarray(1 / np.square(sigmas))


def _anchors(human: Human, body: BodyModel, index: Int[np.ndarray, " k"]) -> _Anchors:
    """Keypoints as points that ride on joints: joints themselves, and vertices on the joint that moves them most."""
    is_joint = index < body.n_joints
    vertex = np.where(is_joint, 0, index - body.n_joints)
    weights, template, directions = (
        body.module.get_buffer(name) for name in ("lbs_weights", "v_template", "shapedirs")
    )
    rows = torch.as_tensor(vertex, device=body.device)
    joint = np.where(is_joint, index, weights[rows].argmax(dim=1).cpu().numpy())
    betas = body_parameters([human], body)[0]
    shaped = template[rows] + directions[rows][..., : betas.shape[1]] @ betas[0]
    still, hands = betas.new_zeros(1, N_BODY_JOINTS, 3), betas.new_zeros(1, N_HAND_JOINTS, 3)
    rest = body.joints(betas, still, hands, hands)[0].cpu().numpy()
    offset = (shaped - body.pelvis(betas)).cpu().numpy() - rest[joint]
    offset[is_joint] = 0
    return _Anchors(joint, offset, _ancestry(body.parents)[joint])


def _ancestry(parents: Int[np.ndarray, " j"]) -> Bool[np.ndarray, "j 21"]:
    """Which of the body's joints (without the pelvis) turn each joint's frame."""
    above = np.eye(len(parents), dtype=bool)
    for joint in range(1, len(parents)):
        above[joint] |= above[parents[joint]]
    return above[:, 1 : N_BODY_JOINTS + 1]


def _pose(human: Human, body: BodyModel, anchors: _Anchors) -> _Posed:
    transforms = body.joint_transforms(*body_parameters([human], body))
    rotations, positions = (part[0].cpu().numpy() for part in transforms)
    points = positions[anchors.joint] + np.einsum("kij,kj->ki", rotations[anchors.joint], anchors.offset)
    return _Posed(rotations, positions, points)


def _jacobian(
    posed: _Posed, placed: Float[np.ndarray, "k 3"], camera: Camera, anchors: _Anchors
) -> Float[np.ndarray, "k 2 69"]:
    """Slopes of the projections: by turns of the joints in space (21 x 3), the camera's turn, its translation.

    A turn w at joint j moves the points below it by `w x (p - p_j)`, one of the camera all of them by `w x (R p)`.
    """
    x, y, z = placed.T
    zero = np.zeros_like(z)
    lens = np.stack([1 / z, zero, -x / z**2, zero, 1 / z, -y / z**2], axis=-1).reshape(-1, 2, 3)
    lens *= camera.focal[:, None]
    arms = posed.points[:, None] - posed.positions[None, 1 : N_BODY_JOINTS + 1]
    turns = -cross_matrix(arms) * anchors.moved_by[..., None, None]
    by_pose = np.einsum("kab,bc,kjcd->kajd", lens, camera.rotation, turns, optimize=True).reshape(len(z), 2, N_POSE)
    by_turn = lens @ -cross_matrix(placed - camera.translation)
    return np.concatenate([by_pose, by_turn, lens], axis=-1)


def _moved(
    human: Human, camera: Camera, posed: _Posed, step: Float[np.ndarray, "69"], body: BodyModel
) -> tuple[Human, Camera]:
    """Turn each joint in space by its part of the step, all below it following; turn and shift the camera."""
    above = posed.rotations[body.parents[1 : N_BODY_JOINTS + 1]]
    local = np.einsum("jba,jb->ja", above, step[:N_POSE].reshape(-1, 3))
    pose = (Rotation.from_rotvec(local) * Rotation.from_rotvec(human.body_pose)).as_rotvec()
    turn = Rotation.from_rotvec(step[N_POSE : N_POSE + 3]).as_matrix()
    return (
        Human(human.betas, pose, human.left_hand_pose, human.right_hand_pose),
        Camera(turn @ camera.rotation, camera.translation + step[-3:], camera.focal, camera.principal_point),
    )
