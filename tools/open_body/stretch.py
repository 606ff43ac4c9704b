"""How far edges stretch over random poses: the measure that the skinning weights are softened against."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from .skeleton import PARENTS

BODY_JOINTS = slice(1, 22)


@dataclass(frozen=True)
class Body:
    """What linear blend skinning needs; metres, rest pose."""

    template: np.ndarray  # (V,3)
    directions: np.ndarray  # (10,V,3)
    regressor: np.ndarray  # (55,V)
    weights: np.ndarray  # (V,55)
    faces: np.ndarray  # (F,3)
    hand_mean: np.ndarray  # (30,3) axis-angle, left then right


def edges_of(faces: np.ndarray) -> np.ndarray:
    """List every edge once; (E,2)."""
    return np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1), axis=0)


def edge_stretches(body: Body, poses: int, sigma: float, seed: int) -> np.ndarray:
    """Posed over rest length of every edge, no edge left out.

    Args:
        body: the body.
        poses: how many random bodies and poses.
        sigma: standard deviation of each axis-angle component of the 21 body joints, radians; betas are N(0,1).
        seed: of the generator.

    Returns:
        (poses, E) ratios.
    """
    rng, edges = np.random.default_rng(seed), edges_of(body.faces)
    ratios = np.empty((poses, len(edges)), np.float32)
    for i in range(poses):
        shaped = body.template + np.tensordot(rng.standard_normal(len(body.directions)), body.directions, 1)
        pose = np.zeros((len(PARENTS), 3))
        pose[BODY_JOINTS] = sigma * rng.standard_normal((21, 3))
        pose[25:] = body.hand_mean
        posed = skin(shaped, body.regressor @ shaped, body.weights, pose)
        ratios[i] = _lengths(posed, edges) / _lengths(shaped, edges)
    return ratios


def skin(shaped: np.ndarray, joints: np.ndarray, weights: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Linear blend skinning; (V,3) vertices of the (55,3) axis-angle pose."""
    rotations = Rotation.from_rotvec(pose).as_matrix()
    posed = joints.copy()
    for j, parent in enumerate(PARENTS[1:], start=1):
        posed[j] = posed[parent] + rotations[parent] @ (joints[j] - joints[parent])
        rotations[j] = rotations[parent] @ rotations[j]
    shifts = posed - np.einsum("jab,jb->ja", rotations, joints)
    blended = (weights @ rotations.reshape(-1, 9)).reshape(-1, 3, 3)
    return np.einsum("vab,vb->va", blended, shaped) + weights @ shifts


def summary(ratios: np.ndarray) -> str:
    """State worst, 99.9 per cent and median of the per-pose maximum."""
    worst = ratios.max(1)
    return (
        f"worst {worst.max():.2f}, median of a pose's worst {np.median(worst):.2f}, "
        f"99.9 % of edges below {np.quantile(ratios, 0.999):.2f}"
    )


def _lengths(vertices: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
