"""The panel of what was found in the picture: masks, boxes and keypoints."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from wildhoi.schema import Sample
from wildhoi.show.panels import DARK, MESH_KEY, OBJECT_INK, PERSON_INK, Panel
from wildhoi.show.scene import OBJECT, PERSON
from wildhoi.show.skeletons import OPENPOSE, SMPL, WHOLEBODY, Skeleton
from wildhoi.show.window import Window, mask_in, picture_in, tinted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT, RIGHT, MIDDLE = "#12b5a6", "#d6409f", "#f5f6f7"
SIDES_KEY = (("left side", LEFT), ("right side", RIGHT))
TINT = 0.45
"""Share of a mask's colour."""
CONFIDENT = 0.3
"""Keypoints below this confidence are not drawn."""
COARSE, FINE = 2.4, 0.8
"""Widths of the lines of the body, and of hands and face; points."""


def detections(sample: Sample, window: Window) -> Panel:
    """The crop with masks, boxes and keypoints."""
    pixels = picture_in(sample.image, sample.image_box, window)
    outlines = []
    for mask, box, colour in (
        (sample.person_mask, sample.person_mask_box, PERSON),
        (sample.object_mask, sample.object_mask_box, OBJECT),
    ):
        if mask is not None and box is not None and mask.size:
            cover = mask_in(mask, box, window)
            pixels = tinted(pixels, cover, colour, TINT)
            outlines.append((cover, colour))
    person = person_keypoints(sample)

    def draw(axes: "Axes") -> None:
        for cover, colour in outlines:
            draw_outline(axes, cover, colour)
        draw_box(axes, sample.person_box, window, PERSON_INK)
        draw_box(axes, sample.object_box, window, OBJECT_INK)
        if person is not None:
            points, found, skeleton = person
            draw_skeleton(axes, window.place(points), found, skeleton)
        draw_numbers(axes, sample.object_keypoints, window)

    return Panel("Detections", pixels, draw, MESH_KEY if person is None else (*MESH_KEY, *SIDES_KEY))


def draw_outline(
    axes: "Axes", cover: Float[np.ndarray, "h w"], colour: tuple[float, float, float], stroke: float = 1.4
) -> None:
    """The edge of a mask."""
    if cover.max() > 0.5 > cover.min():
        height, width = cover.shape
        x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
        axes.contour(x, y, cover, levels=[0.5], colors=[colour], linewidths=stroke)


def draw_box(
    axes: "Axes", box: Float[np.ndarray, "4"] | None, window: Window, colour: str, stroke: float = 1.6
) -> None:
    """A box around its first and last pixel."""
    from matplotlib.patches import Rectangle

    if box is None or not np.isfinite(box).all():
        return
    (x, y), (right, bottom) = window.place(box[:2] - 0.5), window.place(box[2:] + 0.5)
    axes.add_patch(Rectangle((x, y), right - x, bottom - y, fill=False, color=colour, lw=stroke, ls=(0, (5, 3))))


def person_keypoints(
    sample: Sample,
) -> tuple[Float[np.ndarray, "n 2"], Bool[np.ndarray, " n"], Skeleton] | None:
    """The person's keypoints, which of them were found, and their lines: detections, else the projected estimate."""
    for points, skeleton in (
        (sample.wholebody_keypoints, WHOLEBODY),
        (sample.openpose_keypoints, OPENPOSE),
        (sample.body_keypoints, SMPL),
    ):
        if points is not None:
            found = np.isfinite(points).all(axis=1)
            if points.shape[1] == 3:
                found &= points[:, 2] >= CONFIDENT
            if found.any():
                return points[:, :2].astype(np.float64), found, skeleton
    return None


def draw_skeleton(
    axes: "Axes", places: Float[np.ndarray, "n 2"], found: Bool[np.ndarray, " n"], skeleton: Skeleton
) -> None:
    """Lines between keypoints that were found, coloured by side, and dots on the body's."""
    from matplotlib.collections import LineCollection

    drawn = (
        (skeleton.fine_middle, MIDDLE, FINE), (skeleton.fine_right, RIGHT, FINE), (skeleton.fine_left, LEFT, FINE),
        (skeleton.middle, MIDDLE, COARSE), (skeleton.right, RIGHT, COARSE), (skeleton.left, LEFT, COARSE),
    )  # fmt: skip
    for numbers, colour, width in drawn:
        lines = [places[[a, b]] for a, b in numbers if found[a] and found[b]]
        for ink, wide in ((DARK, 1.55 * width + 0.3), (colour, width)):
            axes.add_collection(LineCollection(lines, colors=ink, linewidths=wide, capstyle="round"))
    joints = [k for k in sorted({k for line in (*skeleton.left, *skeleton.right) for k in line}) if found[k]]
    axes.scatter(places[joints, 0], places[joints, 1], s=14, color="white", edgecolors=DARK, linewidths=0.7, zorder=3)


def draw_numbers(axes: "Axes", points: Float[np.ndarray, "k 2"] | None, window: Window) -> None:
    """The object's keypoints with their numbers, counted from 1 as the files do."""
    if points is None:
        return
    for number, (x, y) in enumerate(window.place(np.asarray(points, np.float64)).tolist(), 1):
        if np.isfinite((x, y)).all():
            axes.scatter(x, y, s=165, color=OBJECT_INK, edgecolors="white", linewidths=1.2, zorder=4)
            axes.text(
                x,
                y,
                str(number),
                color="white",
                fontsize=9,
                weight="bold",
                ha="center",
                va="center_baseline",
                zorder=5,
                clip_on=True,
            )
