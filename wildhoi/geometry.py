"""Rotations, projection, viewing rays and similarity alignment on numpy arrays; leading batch dimensions are free."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Matrices = Float[np.ndarray, "*batch 3 3"]
Points = Float[np.ndarray, "*batch n 3"]


def rotvec_to_matrix(rotvec: Float[np.ndarray, "*batch 3"]) -> Matrices:
    """Rotation matrices of axis-angle vectors (radians), by Rodrigues' formula; exact at zero."""
    angle = np.linalg.norm(rotvec, axis=-1)[..., None, None]
    k = cross_matrix(rotvec)
    # sin(a)/a and (1 - cos a)/a^2 through sinc: no division by a small angle
    first = np.sinc(angle / np.pi)
    second = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.asarray(np.eye(3) + first * k + second * (k @ k))


def cross_matrix(vector: Float[np.ndarray, "*batch 3"]) -> Matrices:
    """The matrices K with `K x = vector x x`."""
    x, y, z = np.moveaxis(np.asarray(vector), -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)


def axis_rotation(axis: Float[np.ndarray, "3"], angle: float) -> Float[np.ndarray, "3 3"]:
    """The rotation about `axis` (any length but zero) by `angle` radians."""
    return rotvec_to_matrix(np.asarray(axis, np.float64) / np.linalg.norm(axis) * angle)


def geodesic_angle(a: Matrices, b: Matrices) -> Float[np.ndarray, "*batch"]:
    """The angle between rotations, radians in [0, pi].

    From the chord `|a - b| = 2 sqrt(2) sin(angle / 2)`, so it is exactly 0 for equal matrices, and from the trace,
    which is steep where the chord is flat. Source: `angle = arccos((tr(a^T b) - 1) / 2)`.
    """
    half_sine = np.linalg.norm(a - b, axis=(-2, -1)) / np.sqrt(8)
    cosine = (np.einsum("...ij,...ij->...", a, b) - 1) / 2
    half_cosine = np.sqrt(np.clip((1 + cosine) / 2, 0, 1))
    return np.asarray(2 * np.arctan2(np.clip(half_sine, 0, 1), half_cosine))


def orthonormality_error(matrix: Matrices) -> Float[np.ndarray, "*batch"]:
    """The largest entry of `|R^T R - I|`: 0 for a rotation or a reflection."""
    return np.asarray(np.abs(np.swapaxes(matrix, -1, -2) @ matrix - np.eye(3)).max(axis=(-2, -1)))


def nearest_rotation(matrix: Matrices) -> Matrices:
    """The rotations nearest in the Frobenius norm (Procrustes); never a reflection."""
    u, _, vt = np.linalg.svd(np.asarray(matrix, np.float64))
    u[..., :, 2] *= np.linalg.det(u @ vt)[..., None]
    return np.asarray(u @ vt)


def project(points_camera: Points, focal: Float[np.ndarray, "2"], principal: Float[np.ndarray, "2"]) -> np.ndarray:
    """Pixels (..., n, 2) of points in the camera frame: `u = fx X/Z + cx`."""
    return np.asarray(points_camera[..., :2] / points_camera[..., 2:] * focal + principal)


def viewing_rays(
    pixels: Float[np.ndarray, "n 2"],
    rotation: Matrices,
    focal: Float[np.ndarray, "2"],
    principal: Float[np.ndarray, "2"],
) -> Float[np.ndarray, "n 3"]:
    """Unit directions of pixels in the SMPL frame: `d = R^T (u', v', 1) / |.|` (paper, equation 6, left)."""
    plane = np.concatenate([(pixels - principal) / focal, np.ones((len(pixels), 1))], axis=1)
    return np.asarray(plane / np.linalg.norm(plane, axis=1, keepdims=True) @ rotation)


def camera_position(rotation: Matrices, translation: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Where the camera stands in the SMPL frame: `-R^T t`, metres."""
    return np.asarray(-np.einsum("...ij,...i->...j", rotation, translation))


def _rounding(mean: Float[np.ndarray, "3"], count: int) -> float:
    """The size that rounding alone gives a centred cloud of equal points."""
    return float(1e-12 * np.abs(mean).max() * np.sqrt(count))


class Similarity(NamedTuple):
    """A map `x -> scale * rotation x + translation`; the rotation's determinant is +1."""

    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]
    scale: float

    def apply(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Map points, metres."""
        return np.asarray(self.scale * points @ self.rotation.T + self.translation)


def align_similarity(source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"]) -> Similarity:
    """The similarity that brings `source` nearest to `target` in the least squares, corresponding points in order.

    `K = sum (p - mp)(g - mg)^T = U S V^T, R = V diag(1, 1, det) U^T, s = tr(R K) / sum |p - mp|^2, t = mg - s R mp`.
    Float64 inside; never a reflection; the scale of a cloud without extent is 1. Source: Umeyama 1991.
    """
    p, g = np.asarray(source, np.float64), np.asarray(target, np.float64)
    mp, mg = p.mean(axis=0), g.mean(axis=0)
    p, g = p - mp, g - mg
    # Both clouds are brought to unit size first, so that tiny ones keep all their digits in the SVD.
    size_p, size_g = np.sqrt((p**2).sum()), np.sqrt((g**2).sum())
    if size_p <= _rounding(mp, len(p)) or size_g <= _rounding(mg, len(g)):
        return Similarity(np.eye(3), mg - mp, 1.0)
    u, s, vt = np.linalg.svd((p / size_p).T @ (g / size_g))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (vt.T * sign) @ u.T
    scale = float((s * sign).sum() * size_g / size_p)
    return Similarity(rotation, mg - scale * rotation @ mp, scale)
