"""Correspondence maps: which point of the template a pixel shows; rendered, and as a network would estimate them."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float

from wildhoi.geometry import project
from wildhoi.open_scenes.detector.fields import smooth_field
from wildhoi.open_scenes.detector.keypoints import in_camera
from wildhoi.open_scenes.detector.settings import CorrespondenceNoise
from wildhoi.open_scenes.scene import Scene
from wildhoi.rendering.camera import NEAR
from wildhoi.rendering.raster import interpolate, rasterize
from wildhoi.templates import Template


class CorrespondenceMap(NamedTuple):
    """Points of the template, metres, 0 where empty, on a grid over a box (x, y, width, height) of the frame."""

    points: Float[np.ndarray, "ch cw 3"]
    box: tuple[int, int, int, int]

    @property
    def filled(self) -> Bool[np.ndarray, "ch cw"]:
        """Cells that show the object."""
        return np.asarray((self.points != 0).any(axis=-1))

    def pixels(self) -> Float[np.ndarray, "ch cw 2"]:
        """The pixel of the frame that each cell stands for."""
        x, y, width, height = self.box
        rows, columns = self.points.shape[:2]
        grid = np.meshgrid(x + np.arange(columns) * width / columns, y + np.arange(rows) * height / rows)
        return np.stack(grid, axis=-1)


def render_map(scene: Scene, template: Template, grid: int) -> CorrespondenceMap | None:
    """Draw the whole object, hidden or not, with its template coordinates; at most `grid` cells a side.

    The box is that of the drawn object, cut to the frame. None where nothing of it lies in the frame.
    """
    vertices = in_camera(template.posed(scene.object_pose, articulate=True), scene.camera)
    box = _frame_box(vertices, scene)
    if box is None:
        return None
    x, y, width, height = box
    columns, rows = min(width, grid), min(height, grid)
    scale = np.array([columns / width, rows / height])
    focal = torch.from_numpy(scene.camera.focal * scale)[None]
    principal_point = torch.from_numpy((scene.camera.principal_point - (x, y)) * scale)[None]
    faces = torch.from_numpy(template.faces)
    raster = rasterize(torch.from_numpy(vertices)[None], faces, focal, principal_point, (rows, columns))
    points = interpolate(torch.from_numpy(np.asarray(template.vertices, np.float64)), faces, raster)[0].numpy()
    return CorrespondenceMap(points, box) if (points != 0).any() else None


def _frame_box(vertices: Float[np.ndarray, "v 3"], scene: Scene) -> tuple[int, int, int, int] | None:
    """The pixels between the outermost vertices (camera frame) that lie in the frame."""
    if (vertices[:, 2] <= NEAR).any():
        return None
    drawn = project(vertices, scene.camera.focal, scene.camera.principal_point)
    first = np.maximum(np.ceil(drawn.min(axis=0)), 0).astype(int)
    last = np.minimum(np.floor(drawn.max(axis=0)), np.array(scene.frame_size) - 1).astype(int)
    if (first > last).any():
        return None
    return int(first[0]), int(first[1]), int(last[0] - first[0] + 1), int(last[1] - first[1] + 1)


def disturb_map(
    exact: CorrespondenceMap, extents: Float[np.ndarray, "3"], rng: np.random.Generator, noise: CorrespondenceNoise
) -> CorrespondenceMap:
    """Give a map a network's errors: smooth bias, noise, outliers, lost cells at the outline; rounded.

    `extents` are the template's, metres: networks estimate each coordinate as a share of them, so they err by shares.
    One cell at least is left.
    """
    size = exact.points.shape[:2]
    filled = exact.filled
    cells = (noise.bias_cells, noise.bias_cells)
    error = noise.bias * smooth_field(size, cells, 3, rng) + noise.cell * rng.standard_normal((*size, 3))
    points = exact.points + extents * error
    strayed = filled & (rng.random(size) < noise.outliers)
    places = exact.points[filled]
    points[strayed] = places[rng.integers(len(places), size=int(strayed.sum()))]
    kept = filled & ~(_outline(filled) & (rng.random(size) < noise.border))
    return CorrespondenceMap(_rounded(points, kept if kept.any() else filled, noise.rounding), exact.box)


def _outline(filled: Bool[np.ndarray, "ch cw"]) -> Bool[np.ndarray, "ch cw"]:
    """Filled cells next to an empty one, or at the edge of the grid."""
    wide = np.pad(filled, 1)
    inner = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return np.asarray(filled & ~inner)


def _rounded(
    points: Float[np.ndarray, "ch cw 3"], kept: Bool[np.ndarray, "ch cw"], step: float
) -> Float[np.ndarray, "ch cw 3"]:
    """Round the kept points to multiples of `step`, the others to 0; a kept one never ends as the empty 0."""
    rounded = np.rint(points / step) * step
    rounded[(rounded == 0).all(axis=-1)] = step
    return np.where(kept[..., None], rounded, 0.0)
