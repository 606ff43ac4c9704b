"""The panels with meshes, and what a panel is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from wildhoi.geometry import project
from wildhoi.rendering.camera import NEAR
from wildhoi.schema import Camera, Sample
from wildhoi.show.scene import Meshes, bounds, from_the_side, render
from wildhoi.show.window import Window, faded, ground, picture_in, window_around, with_aspect

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DARK, SOFT, LINE = "#2b2f36", "#6b717b", (219, 222, 227)
PERSON_INK, OBJECT_INK = "#2f6fc4", "#d9691a"
MESH_KEY = (("person", PERSON_INK), ("object", OBJECT_INK))
GRIDS, LINE_GAP = (0.5, 1.0, 2.0, 5.0, 10.0, 50.0), 36
"""Metres between the lines behind the side view: the first that lays them this many pixels apart."""


@dataclass(frozen=True, eq=False)
class Panel:
    """A title, the pixels, what draws over them in panel coordinates, and what its colours stand for."""

    title: str
    pixels: UInt8[np.ndarray, "h w 3"]
    draw: Callable[[Any], None]
    key: tuple[tuple[str, str], ...] = ()

    @property
    def aspect(self) -> float:
        """Width over height."""
        return float(self.pixels.shape[1] / self.pixels.shape[0])


def overlay(title: str, meshes: Meshes, camera: Camera, sample: Sample | None, window: Window) -> Panel:
    """The meshes over the crop, in the image's camera."""
    if sample is None or sample.image is None:
        return Panel(title, render(meshes, camera, window, ground(window)), _nothing, MESH_KEY)
    background = faded(picture_in(sample.image, sample.image_box, window))
    return Panel(title, render(meshes, camera, window, background, 0.94), _nothing, MESH_KEY)


def side_view(
    meshes: Meshes, camera: Camera, aspect: float, area: int | None = None
) -> tuple[UInt8[np.ndarray, "h w 3"], float | None]:
    """The meshes seen from a quarter turn to the right, before a grid in the pelvis' depth, and its step in metres."""
    turned = from_the_side(camera)
    window = with_aspect(window_around(bounds(meshes.seen(turned)), 0.1, area), aspect)
    backdrop, grid = _backdrop(turned, window)
    return render(meshes, turned, window, backdrop), grid


def side(meshes: Meshes, camera: Camera, aspect: float) -> Panel:
    """The side view with the direction of the camera."""
    pixels, grid = side_view(meshes, camera, aspect)

    def draw(axes: "Axes") -> None:
        height, width = pixels.shape[:2]
        left, right, bottom = 24, width - 24, height - 24
        arrow = {"arrowstyle": "-|>", "color": DARK, "lw": 1.6, "mutation_scale": 14}
        axes.annotate("", (left + 104, bottom), (left, bottom), arrowprops=arrow)
        axes.text(left, bottom - 12, "camera's view", color=DARK, fontsize=12, va="bottom")
        words = "" if grid is None else f"grid {grid:g} m"
        axes.text(right, bottom, words, color=SOFT, fontsize=12, ha="right", va="center")

    return Panel("From the side", pixels, draw, MESH_KEY)


def _nothing(axes: "Axes") -> None:
    """What is drawn over a panel that needs no words."""


def _backdrop(camera: Camera, window: Window) -> tuple[UInt8[np.ndarray, "h w 3"], float | None]:
    """The ground with thin lines through the pelvis and at every step from it, and the step in metres.

    Without lines where the pelvis is behind the camera or all steps are too small.
    """
    lined, depth = ground(window), float(camera.translation[2])
    metre = float(camera.focal[0]) * window.scale / depth if depth > NEAR else 0.0
    grid = next((step for step in GRIDS if step * metre >= LINE_GAP), None)
    if grid is not None:
        height, width = lined.shape[:2]
        pelvis = window.place(project(camera.translation[None], camera.focal, camera.principal_point))[0]
        lined[:, np.arange(pelvis[0] % (grid * metre), width, grid * metre).astype(int)] = LINE
        lined[np.arange(pelvis[1] % (grid * metre), height, grid * metre).astype(int)] = LINE
    return lined, grid
