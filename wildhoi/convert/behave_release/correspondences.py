"""Object correspondences on the 64 x 64 grid that EPro-PnP uses: read, drawn from a pose, and solved for one."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from wildhoi.convert.behave_release.calibration import Kinect
from wildhoi.convert.behave_release.templates import read_scan
from wildhoi.geometry import project, rotvec_to_matrix
from wildhoi.schema import ObjectPose

GRID = 64
PADDING = 1.2  # of the silhouette's box, as interaction crops are padded
GRID_TOLERANCE = 0.01  # pixels
LEAST_POINTS = 6
LEAST_WEIGHT = 0.1  # of the largest one of the image; the rest is background to the network that gave them
INLIER_CELLS = 2.0
LEAST_INLIERS = 0.25
SEED = 0


@dataclass(frozen=True, eq=False)
class Correspondences:
    """Points of the template in metres (0 where empty) over `box` (x, y, width, height in pixels), with weights."""

    points: Float32[np.ndarray, "64 64 3"]
    box: Float[np.ndarray, "4"]
    weights: Float32[np.ndarray, "64 64 2"]

    @property
    def pixels(self) -> Float[np.ndarray, "64 64 2"]:
        """The pixel that each cell stands for."""
        return grid_pixels(self.box)


def grid_pixels(box: Float[np.ndarray, "4"]) -> Float[np.ndarray, "64 64 2"]:
    """The pixel that each cell of the grid over a box stands for: `(x + i w / 64, y + j h / 64)` for cell (j, i)."""
    steps = np.arange(GRID) / GRID
    x, y = np.meshgrid(box[0] + box[2] * steps, box[1] + box[3] * steps)
    return np.stack([x, y], axis=-1)


def read_grid(
    points: Float[np.ndarray, "4096 3"], pixels: Float[np.ndarray, "4096 2"], weights: Float[np.ndarray, "4096 2"]
) -> Correspondences | str:
    """Take the correspondences of a network, row by row (x fastest), or say why they are none.

    Args:
        points: of the vertex-mean-centred template, metres.
        pixels: of the whole picture; must form a regular grid to 0.01 px.
        weights: at least 0.
    """
    if not all(np.isfinite(values).all() for values in (points, pixels, weights)) or (weights < 0).any():
        return "correspondences with NaN numbers or negative weights"
    grid = pixels.reshape(GRID, GRID, 2)
    box = np.array([*grid[0, 0], *((grid[-1, -1] - grid[0, 0]) * GRID / (GRID - 1))])
    shape = (GRID, GRID, -1)
    found = Correspondences(points.reshape(shape).astype(np.float32), box, weights.reshape(shape).astype(np.float32))
    if not (box[2:] > 0).all() or np.abs(found.pixels - grid).max() > GRID_TOLERANCE:
        return "correspondences whose pixels are no regular grid"
    return found


def draw_correspondences(template: Path, pose: ObjectPose, kinect: Kinect) -> Correspondences | None:
    """Draw the map of an object's pose in the camera frame; None where the picture shows nothing of it.

    The box is square, 1.2 x the longer side of the silhouette's box within the picture. Cells see the object whole,
    also behind the person; those beyond the picture are empty.
    """
    vertices, _ = _template(template)
    posed = vertices @ pose.rotation.T + pose.translation
    box = _silhouette_box(posed, kinect)
    if box is None:
        return None
    points, pixels = _render(template, posed, kinect, box), grid_pixels(box)
    inside = ((pixels >= -0.5) & (pixels <= np.array(kinect.size) - 0.5)).all(axis=-1)
    covered = np.asarray(inside & points.any(axis=-1))
    if not covered.any():
        return None
    kept = covered.astype(np.float32)
    return Correspondences(points * kept[:, :, None], box, np.stack([kept, kept], axis=-1))


def solve_pose(found: Correspondences, kinect: Kinect) -> ObjectPose | None:
    """Solve PnP for the object's pose in the camera frame; None where the correspondences do not agree on one.

    Cells of low weight are left out, then RANSAC finds those that agree, and they are refined together.
    """
    import cv2

    weights = found.weights.mean(axis=-1)
    kept = (weights > 0) & (weights >= LEAST_WEIGHT * weights.max())
    points, pixels = found.points[kept].astype(np.float64), found.pixels[kept]
    if len(points) < LEAST_POINTS:
        return None
    matrix = np.array(
        [[kinect.focal[0], 0, kinect.principal_point[0]], [0, kinect.focal[1], kinect.principal_point[1]], [0, 0, 1]]
    )
    distance = INLIER_CELLS * float(found.box[2:].max()) / GRID
    cv2.setRNGSeed(SEED)
    try:
        solved, turn, shift, inliers = cv2.solvePnPRansac(
            points, pixels, matrix, None, iterationsCount=200, reprojectionError=distance, flags=cv2.SOLVEPNP_EPNP
        )
        if not solved or inliers is None or len(inliers) < max(LEAST_POINTS, LEAST_INLIERS * len(points)):
            return None
        chosen = inliers[:, 0]
        turn, shift = cv2.solvePnPRefineLM(points[chosen], pixels[chosen], matrix, None, turn, shift)
    except cv2.error:
        return None
    pose = ObjectPose(rotvec_to_matrix(np.asarray(turn).reshape(3)), np.asarray(shift).reshape(3))
    if not np.isfinite(pose.rotation).all() or not pose.translation[2] > 0:
        return None
    return pose


@lru_cache(maxsize=32)
def _template(path: Path) -> tuple[Float[np.ndarray, "v 3"], np.ndarray]:
    template = read_scan(path)
    return template.vertices.astype(np.float64), template.faces


def _silhouette_box(posed: Float[np.ndarray, "v 3"], kinect: Kinect) -> Float[np.ndarray, "4"] | None:
    """The padded square (x, y, side, side) about the part of the silhouette that the picture shows."""
    if (posed[:, 2] <= 0).any():
        return None
    pixels = project(posed, kinect.focal, kinect.principal_point)
    first = np.maximum(pixels.min(axis=0), 0)
    last = np.minimum(pixels.max(axis=0), np.array(kinect.size) - 1)
    side = PADDING * float((last - first).max())
    if not (last > first).all():
        return None
    return np.array([*((first + last) / 2 - side / 2), side, side])


def _render(
    template: Path, posed: Float[np.ndarray, "v 3"], kinect: Kinect, box: Float[np.ndarray, "4"]
) -> Float32[np.ndarray, "64 64 3"]:
    """The point of the template that each cell of the grid sees."""
    # the one place where a conversion draws, and with it needs torch
    import torch

    from wildhoi.rendering.raster import interpolate, rasterize

    vertices, faces = _template(template)
    scale = GRID / box[2:]
    focal, principal_point = (
        torch.tensor((values * scale)[None]) for values in (kinect.focal, kinect.principal_point - box[:2])
    )
    triangles = torch.as_tensor(faces)
    raster = rasterize(torch.tensor(posed[None]), triangles, focal, principal_point, (GRID, GRID))
    points: np.ndarray = interpolate(torch.tensor(vertices), triangles, raster)[0].numpy()
    return points.astype(np.float32)
