"""Meshes from the front, the side and above at one scale: what stands metres away is seen to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from wildhoi.schema import Camera
from wildhoi.show.panels import DARK, LINE, MESH_KEY, SOFT, Panel
from wildhoi.show.scene import Meshes, render
from wildhoi.show.window import Window, ground

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARGIN = 0.08
"""Share of a view that is left free on each side."""
AWAY = 200
"""The views are taken from so many times their own size away: nearly without perspective."""
LEAST = 0.5
"""Metres that a view shows at least."""
BARS = tuple(step * 10.0**power for power in range(-2, 6) for step in (1, 2, 5))
LONGEST_BAR = 0.5
"""Metres of the bars that may be drawn: the longest that takes at most this share of a view's width."""
LEVEL = 0.02
"""A camera steeper than this, sine to the body's vertical, has no heading of its own."""


@dataclass(frozen=True, eq=False)
class Space:
    """The piece of space that views show: its middle (metres, SMPL frame), pixels for a metre, width and height."""

    middle: Float[np.ndarray, "3"]
    metre: float
    size: tuple[int, int]

    @property
    def bar(self) -> float:
        """Metres of the bar that says the scale."""
        fitting = [length for length in BARS if length * self.metre <= LONGEST_BAR * self.size[0]]
        return fitting[-1] if fitting else BARS[0]

    @property
    def words(self) -> float:
        """Size of the words in a view, points."""
        return float(np.clip(min(self.size) / 36, 8, 11))

    @property
    def window(self) -> Window:
        """The panel as a window of a frame of its own."""
        width, height = self.size
        return Window(0.0, 0.0, float(width), float(height), width * height)

    def camera(self, rotation: Float[np.ndarray, "3 3"]) -> Camera:
        """A distant camera that looks at the middle."""
        distance = AWAY * max(self.size) / self.metre
        translation = np.array([0.0, 0.0, distance]) - rotation @ self.middle
        return Camera(rotation, translation, np.full(2, distance * self.metre), (np.array(self.size) - 1) / 2)


def directions(camera: Camera) -> dict[str, Float[np.ndarray, "3 3"]]:
    """The rotations of three views, by name, for a camera whose direction the front view has.

    The other two stand level with the body: from the side it is turned a quarter about the body's vertical (y), so that
    the camera looked to the right of the picture; from above the camera looked up the picture. Both show along the
    camera's axis what the camera cannot see.
    """
    up = np.array([0.0, 1.0, 0.0])
    heading = _heading(camera)
    side = np.stack([heading, -up, np.cross(heading, -up)])
    above = np.stack([np.cross(heading, up), -heading, -up])
    return {"front": camera.rotation, "side": side, "top": above}


def _heading(camera: Camera) -> Float[np.ndarray, "3"]:
    """Where a camera looks, level with the body; of one that looks straight up or down, what is up in its picture."""
    level = np.array([1.0, 0.0, 1.0])
    forward = level * camera.rotation[2]
    if np.linalg.norm(forward) < LEVEL:
        forward = -level * camera.rotation[1] * (1 if camera.rotation[2, 1] < 0 else -1)
    return np.asarray(forward / np.linalg.norm(forward))


def space_around(
    points: Float[np.ndarray, "n 3"], rotations: Mapping[str, Float[np.ndarray, "3 3"]], size: tuple[int, int]
) -> Space:
    """The largest common scale, in pixels for a metre, at which all points are in every view of a size in pixels."""
    axes = rotations["side"]
    turned = points @ axes.T
    middle = axes.T @ ((turned.min(axis=0) + turned.max(axis=0)) / 2)
    room = (1 - 2 * MARGIN) * np.array(size) / 2
    reach = np.array([np.abs((points - middle) @ rotation[:2].T).max(axis=0) for rotation in rotations.values()])
    return Space(middle, float((room / np.maximum(reach, LEAST / 2)).min()), size)


def view(
    meshes: Meshes, space: Space, rotation: Float[np.ndarray, "3 3"], *, supersampling: int = 3
) -> UInt8[np.ndarray, "h w 3"]:
    """Meshes on the ground of a view, before lines through the pelvis at every length of the bar."""
    camera, window = space.camera(rotation), space.window
    lined = ground(window)
    pelvis = camera.principal_point + space.metre * (rotation @ -space.middle)[:2]
    width, height = space.size
    step = space.bar * space.metre
    lined[:, np.arange(pelvis[0] % step, width, step).astype(int)] = LINE
    lined[np.arange(pelvis[1] % step, height, step).astype(int)] = LINE
    return render(meshes, camera, window, lined, supersampling=supersampling)


def views(
    meshes: Meshes, space: Space, rotations: Mapping[str, Float[np.ndarray, "3 3"]], titles: Sequence[str]
) -> list[Panel]:
    """Panels of the meshes from every direction, each with the bar and with where the camera looked."""
    forward = rotations["front"][2]
    made = []
    for title, rotation in zip(titles, rotations.values(), strict=True):
        seen = (rotation @ forward)[:2]

        def draw(axes: "Axes", seen: Float[np.ndarray, "2"] = seen) -> None:
            draw_bar(axes, space)
            draw_direction(axes, space, seen)

        made.append(Panel(title, view(meshes, space, rotation), draw, MESH_KEY))
    return made


def draw_bar(axes: "Axes", space: Space) -> None:
    """The scale: a bar with its length in metres, at the lower right."""
    width, height = space.size
    right, bottom, length = width - 16, height - 16, space.bar * space.metre
    axes.plot([right - length, right], [bottom, bottom], color=DARK, lw=2.2, solid_capstyle="butt", zorder=5)
    for end in (right - length, right):
        axes.plot([end, end], [bottom - 4, bottom + 4], color=DARK, lw=1.4, solid_capstyle="butt", zorder=5)
    words = f"{space.bar:g} m"
    axes.text(
        right - length / 2, bottom - 7, words, color=DARK, fontsize=space.words, ha="center", va="bottom", zorder=5
    )


def draw_direction(axes: "Axes", space: Space, seen: Float[np.ndarray, "2"]) -> None:
    """An arrow along the camera's axis at the lower left; none where that is the view's own."""
    if np.linalg.norm(seen) < 0.1:
        return
    length, bottom = 46.0, space.size[1] - 16
    x, y = (float(value) for value in length * seen)
    left, top = 16 + max(0.0, -x), bottom - max(0.0, y)
    arrow = {"arrowstyle": "-|>", "color": SOFT, "lw": 1.5, "mutation_scale": 12, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (left + x, top + y), (left, top), arrowprops=arrow, zorder=5)
    axes.text(left + max(0.0, x) + 8, bottom + 4, "camera", color=SOFT, fontsize=space.words, va="bottom", zorder=5)
