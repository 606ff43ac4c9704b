"""The panel of the 2D-3D map: which point of the template each pixel of the object shows."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from wildhoi.rendering import picture
from wildhoi.schema import Sample
from wildhoi.show.panels import Panel
from wildhoi.show.window import GROUND, Window, faded, picture_in
from wildhoi.templates import Template

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHADED = 1.3
"""How much brighter a mesh is coloured, so that shading leaves about the colour that was meant."""
MARGIN = 12
"""Pixels between the template's picture and the panel's edge."""


def correspondences(sample: Sample, template: Template, window: Window) -> Panel:
    """The 2D-3D map as colours over the crop, and the template in the same colours."""
    points, box = sample.object_correspondences, sample.object_correspondences_box
    if points is None or box is None:
        raise ValueError("correspondences need a map and its box")
    pixels = faded(picture_in(sample.image, sample.image_box, window), light=0.5)
    width, height = window.size
    columns, rows = (
        np.rint((((np.arange(size) + 0.5) / window.scale + first - 0.5) - box[k]) * cells / box[2 + k]).astype(int)
        for k, (size, first, cells) in enumerate(
            ((width, window.x, points.shape[1]), (height, window.y, points.shape[0]))
        )
    )
    inside = ((rows >= 0) & (rows < points.shape[0]))[:, None] & ((columns >= 0) & (columns < points.shape[1]))[None]
    looked_up = points[rows.clip(0, points.shape[0] - 1)][:, columns.clip(0, points.shape[1] - 1)]
    filled = inside & (looked_up != 0).any(axis=-1)
    pixels[filled] = (255 * coordinate_colours(looked_up[filled], template)).round().astype(np.uint8)

    key = _template_picture(template, round(0.34 * min(width, height)))
    left, top = _emptiest_corner(filled, key.shape[1] + MARGIN, key.shape[0] + MARGIN)

    def draw(axes: "Axes") -> None:
        from matplotlib.patches import Rectangle

        right, bottom = left + key.shape[1], top + key.shape[0]
        axes.imshow(key, extent=(left, right, bottom, top), interpolation="nearest", zorder=3)
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, ec="white", lw=2.5, zorder=4))

    return Panel("Correspondences", pixels, draw)


def _emptiest_corner(filled: Bool[np.ndarray, "h w"], width: int, height: int) -> tuple[int, int]:
    """Where a rectangle hides the least: its left and top in the corner it goes to, with some margin."""
    rows = {MARGIN: slice(0, height), len(filled) - height: slice(len(filled) - height, None)}
    columns = {MARGIN: slice(0, width), filled.shape[1] - width: slice(filled.shape[1] - width, None)}
    hidden = {(x, y): int(filled[rows[y], columns[x]].sum()) for y in reversed(rows) for x in reversed(columns)}
    return min(hidden, key=lambda corner: hidden[corner])


def coordinate_colours(points: Float[np.ndarray, "*n 3"], template: Template) -> Float[np.ndarray, "*n 3"]:
    """Red, green and blue for x, y and z between the template's extremes."""
    low, high = template.vertices.min(axis=0), template.vertices.max(axis=0)
    return np.asarray(0.12 + 0.83 * ((points - low) / (high - low)).clip(0, 1))


def _template_picture(template: Template, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """The template in its own coordinates' colours, as high as it needs, seen obliquely across its shortest extent."""
    points = template.vertices @ _oblique(np.ptp(template.vertices, axis=0)).T
    points -= (points.min(axis=0) + points.max(axis=0)) / 2
    span = np.ptp(points[:, :2], axis=0)
    height = round(width * float(np.clip(span[1] / span[0], 0.4, 1.2)))
    distance = 10 * template.diameter
    points[:, 2] += distance
    focal = 0.84 * distance * min(width / span[0], height / span[1])
    drawn = picture(
        torch.from_numpy(points)[None],
        torch.from_numpy(template.faces),
        torch.full((1, 2), float(focal), dtype=torch.float64),
        torch.tensor([[(width - 1) / 2, (height - 1) / 2]], dtype=torch.float64),
        (height, width),
        colors=torch.from_numpy(coordinate_colours(template.vertices, template)) * SHADED,
        background=torch.tensor(GROUND, dtype=torch.uint8).expand(1, height, width, 3),
    )
    return np.asarray(drawn[0].numpy())


def _oblique(extents: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Rotation to a camera that looks across the shortest extent, a little from above, the longest lying flat."""
    shortest, middle, longest = np.argsort(extents, kind="stable")
    forward, up = np.zeros(3), np.zeros(3)
    # templates stand along y, or lie flat if that is the shortest: then what is up in the picture is far away
    forward[[shortest, middle, longest]] = -1, 0.3 if shortest == 1 else -0.3, -0.35
    up[middle] = 1
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, up) / np.linalg.norm(np.cross(forward, up))
    return np.stack([right, np.cross(forward, right), forward])
