"""From MakeHuman's A-pose to the T-pose of the SMPL-X layout."""

import numpy as np

from .makehuman import Figure
from .skeleton import JOINT, NAMES, PARENTS

ANKLE_X = 0.115  # metres from the middle plane, so the feet stand 23 cm apart
FINGER_SPREAD = 0.35  # share of the fingers' forward spread that is kept
PELVIS_Y = -0.35  # metres; non-zero on purpose, so that forgetting to subtract the pelvis shows
ARM_CHAIN = {"shoulder": "elbow", "elbow": "wrist", "wrist": "middle1"}


def to_rest_pose(
    body: np.ndarray, figure: Figure, weights: np.ndarray, used: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pose one A-posed body into the T-pose by linear blend skinning.

    Args:
        body: (N,3) metres, helpers included.
        figure: the base figure.
        weights: (V,55) skinning weights of the used vertices.
        used: (V,) the vertices to return.

    Returns:
        (V,3) vertices and (55,3) joints: y up, facing +z, left = +x.
    """
    joints = np.stack([body[ids].mean(0) for ids in figure.joint_vertices])
    tips = {joint: body[ids].mean(0) for joint, ids in figure.tip_vertices.items()}
    rotations = _rest_rotations(joints, tips)
    posed = joints.copy()
    for j, parent in enumerate(PARENTS[1:], start=1):
        posed[j] = posed[parent] + rotations[parent] @ (joints[j] - joints[parent])
    shifts = posed - np.einsum("jab,jb->ja", rotations, joints)
    blended = (weights @ rotations.reshape(-1, 9)).reshape(-1, 3, 3)
    vertices = np.einsum("vab,vb->va", blended, body[used]) + weights @ shifts
    offset = np.array([0, PELVIS_Y - posed[0, 1], -vertices[:, 2].mean()])
    return vertices + offset, posed + offset


def _rest_rotations(joints: np.ndarray, tips: dict[int, np.ndarray]) -> np.ndarray:
    """Global rotation of each joint that takes the A-pose to the T-pose; (55,3,3)."""
    rotations = np.tile(np.eye(3), (len(joints), 1, 1))
    for j, name in enumerate(NAMES):
        side, _, part = name.partition("_")
        outward = 1.0 if side == "left" else -1.0
        inherited = rotations[max(PARENTS[j], 0)]
        if part in ARM_CHAIN:
            bone = inherited @ (joints[JOINT[f"{side}_{ARM_CHAIN[part]}"]] - joints[j])
            rotations[j] = _align(bone, np.array([outward, 0, 0])) @ inherited
        elif part[-1:] in ("1", "2", "3") and "thumb" not in part:
            end = tips[j] if part[-1] == "3" else joints[j + 1]
            bone = inherited @ (end - joints[j])
            rotations[j] = _align(bone, np.array([bone[0], 0, FINGER_SPREAD * bone[2]])) @ inherited
        elif part == "hip":
            leg = joints[JOINT[f"{side}_ankle"]] - joints[j]
            rotations[j] = _align(leg, np.array([outward * ANKLE_X - joints[j, 0], leg[1], leg[2]]))
        elif part in ("ankle", "foot"):
            rotations[j] = np.eye(3)  # soles stay flat on the ground
        else:
            rotations[j] = inherited
    return rotations


def _align(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Smallest rotation that turns direction a into direction b; never used for opposite ones."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    x, y, z = np.cross(a, b)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + a @ b)
