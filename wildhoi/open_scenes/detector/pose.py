"""The object's pose from its correspondences, by RANSAC and PnP at scale 1, and the turn of its joint."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from wildhoi.geometry import project, rotvec_to_matrix
from wildhoi.open_scenes.detector.correspondences import CorrespondenceMap
from wildhoi.open_scenes.detector.settings import PoseSolve
from wildhoi.schema import Camera, ObjectPose
from wildhoi.templates import Template

ANGLE_ROUNDS, ANGLES = 4, 41
"""The angle is searched on grids, each round over two spacings of the last one to either side: to 1e-5 of the range."""


class Placed(NamedTuple):
    """An object in the camera's frame: `x_cam = rotation v + translation`, metres, its joint turned first."""

    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]
    angle: float | None


def solve_pose(
    found: CorrespondenceMap, template: Template, camera: Camera, rng: np.random.Generator, settings: PoseSolve
) -> Placed | None:
    """The pose that explains a correspondence map at scale 1; None where too little is seen or nothing agrees.

    Only focal and principal point of the camera count. The part that does not move places the object; where too little
    of it is seen, everything does, the joint straight.
    """
    points, pixels = found.points[found.filled], found.pixels()[found.filled]
    if len(points) > settings.most_cells:
        chosen = np.sort(rng.choice(len(points), settings.most_cells, replace=False))
        points, pixels = points[chosen], pixels[chosen]
    threshold = max(settings.least_threshold, settings.threshold * float(np.hypot(*found.box[2:])))
    moves = _moving(template, points)
    fixed = ~moves if (~moves).sum() >= settings.fewest_cells else np.ones_like(moves)
    seed = int(rng.integers(2**31))
    solved = _solve_rigid(points[fixed], pixels[fixed], camera, threshold, settings, seed)
    if solved is None or template.category.joint is None:
        return solved
    if fixed.all() or not moves.any():
        return solved._replace(angle=0.0)
    angle = _solve_angle(points[moves], pixels[moves], solved, template, camera, threshold, settings.angle_degrees)
    return solved._replace(angle=angle)


def in_smpl_frame(placed: Placed, camera: Camera) -> ObjectPose:
    """A pose of the camera's frame in that of the body, of which the camera is estimated."""
    return ObjectPose(
        rotation=camera.rotation.T @ placed.rotation,
        translation=camera.rotation.T @ (placed.translation - camera.translation),
        scale=1.0,
        angle=placed.angle,
    )


def _solve_rigid(
    points: Float[np.ndarray, "n 3"],
    pixels: Float[np.ndarray, "n 2"],
    camera: Camera,
    threshold: float,
    settings: PoseSolve,
    seed: int,
) -> Placed | None:
    """RANSAC, then least squares on its inliers."""
    import cv2

    if len(points) < settings.fewest_cells:
        return None
    matrix = np.diag([*camera.focal, 1.0])
    matrix[:2, 2] = camera.principal_point
    cv2.setRNGSeed(seed)
    try:
        success, rotation, translation, inliers = cv2.solvePnPRansac(
            points, pixels, matrix, None, iterationsCount=settings.rounds, reprojectionError=threshold,
            confidence=0.999, flags=cv2.SOLVEPNP_EPNP,
        )  # fmt: skip
        if not success or inliers is None or len(inliers) < settings.fewest_cells:
            return None
        kept = inliers[:, 0]
        rotation, translation = cv2.solvePnPRefineLM(points[kept], pixels[kept], matrix, None, rotation, translation)
    except cv2.error:  # degenerate points: all on a line
        return None
    place = translation[:, 0]
    usable = bool(np.isfinite(rotation).all() and np.isfinite(place).all() and place[2] > 0)
    return Placed(rotvec_to_matrix(rotation[:, 0]), place, None) if usable else None


@lru_cache(maxsize=16)
def _tree(template: Template) -> cKDTree:
    return cKDTree(template.vertices)


def _moving(template: Template, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
    """Which points of the template are nearest to the part that its joint turns."""
    if template.category.joint is None:
        return np.zeros(len(points), bool)
    part, nearest = template.joint_vertices, _tree(template).query(points)[1]
    return np.asarray((part.start <= nearest) & (nearest < part.stop))


def _solve_angle(
    points: Float[np.ndarray, "n 3"],
    pixels: Float[np.ndarray, "n 2"],
    placed: Placed,
    template: Template,
    camera: Camera,
    threshold: float,
    reach: float,
) -> float:
    """The joint's angle (radians) of least squared reprojection, an error beyond the threshold counting as that."""
    assert template.category.joint is not None
    first, second = (template.keypoints[name] for name in template.category.joint.axis_keypoints)

    axis = (second - first) / np.linalg.norm(second - first)
    best, half = 0.0, np.radians(reach)
    for _ in range(ANGLE_ROUNDS):
        angles = best + np.linspace(-half, half, ANGLES)
        turned = (points - first) @ np.swapaxes(rotvec_to_matrix(angles[:, None] * axis), 1, 2) + first
        seen = project(turned @ placed.rotation.T + placed.translation, camera.focal, camera.principal_point)
        costs = np.minimum(((seen - pixels) ** 2).sum(axis=2), threshold**2).sum(axis=1)
        best = float(angles[costs.argmin()])
        half *= 4 / (ANGLES - 1)
    return best
