"""The part of a frame that a panel shows, and the pixels of the panel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from wildhoi.schema import Camera

GROUND = (238, 239, 241)
"""What is seen where there is no picture."""
PANEL_AREA = 620**2
"""Pixels of a panel, unless its window has an area of its own."""
ASPECTS = (0.66, 1.8)
"""Width over height of the narrowest and of the widest panel."""


@dataclass(frozen=True)
class Window:
    """A rectangle of the frame, from the outer edge of its first pixel, shown on about `area` pixels of a panel."""

    x: float
    y: float
    width: float
    height: float
    area: int | None = None

    @property
    def scale(self) -> float:
        """Pixels of the panel for one of the frame."""
        return float(np.sqrt((self.area or PANEL_AREA) / (self.width * self.height)))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the panel."""
        return round(self.width * self.scale), round(self.height * self.scale)

    def place(self, points: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
        """Points of the frame in the panel, counted from the corner of its first pixel."""
        return np.asarray((points + 0.5 - [self.x, self.y]) * self.scale)

    def view(self, camera: Camera) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
        """Focal lengths and principal point of a camera whose picture is the panel."""
        return camera.focal * self.scale, self.place(camera.principal_point) - 0.5

    def lay(self, pixels: np.ndarray, box: tuple[int, int, int, int]) -> Image.Image:
        """A picture or a mask of a rectangle of the frame, where it falls in the panel; empty elsewhere, with alpha."""
        left, top = ((box[0] - self.x) * self.scale, (box[1] - self.y) * self.scale)
        size = (max(1, round(box[2] * self.scale)), max(1, round(box[3] * self.scale)))
        layer = Image.new("RGBA", self.size, (0, 0, 0, 0))
        shown = Image.fromarray(pixels).convert("RGBA").resize(size, Image.Resampling.BICUBIC)
        layer.paste(shown, (round(left), round(top)))
        return layer


def window_around(box: Sequence[int | float], margin: float = 0.0, area: int | None = None) -> Window:
    """The window of a rectangle (x, y, width, height) and a margin, widened or heightened to the shape of a panel."""
    x, y, width, height = (float(value) for value in box)
    middle_x, middle_y = x + width / 2, y + height / 2
    width, height = width * (1 + 2 * margin), height * (1 + 2 * margin)
    narrowest, widest = ASPECTS
    shown_width, shown_height = max(width, height * narrowest, 1), max(height, width / widest, 1)
    return Window(middle_x - shown_width / 2, middle_y - shown_height / 2, shown_width, shown_height, area)


def with_aspect(window: Window, aspect: float) -> Window:
    """The smallest window of a given shape that holds another, about the same middle."""
    width, height = max(window.width, window.height * aspect), max(window.height, window.width / aspect)
    x, y = window.x + window.width / 2, window.y + window.height / 2
    return Window(x - width / 2, y - height / 2, width, height, window.area)


def ground(window: Window) -> UInt8[np.ndarray, "h w 3"]:
    """A panel without a picture."""
    width, height = window.size
    return np.full((height, width, 3), GROUND, np.uint8)


def picture_in(
    image: UInt8[np.ndarray, "h w 3"] | None, box: tuple[int, int, int, int] | None, window: Window
) -> UInt8[np.ndarray, "ph pw 3"]:
    """The crop of a sample on the ground; the ground alone where there is none."""
    if image is None or box is None:
        return ground(window)
    base = Image.fromarray(ground(window)).convert("RGBA")
    return np.asarray(Image.alpha_composite(base, window.lay(image, box)).convert("RGB"))


def mask_in(mask: np.ndarray, box: tuple[int, int, int, int], window: Window) -> Float[np.ndarray, "ph pw"]:
    """How much of each pixel of the panel a mask covers, 0 to 1."""
    layer = window.lay(np.asarray(mask, np.uint8) * 255, box)
    return np.asarray(np.asarray(layer, np.float64)[..., 0] / 255)


def faded(pixels: UInt8[np.ndarray, "h w 3"], colour: float = 0.45, light: float = 0.35) -> UInt8[np.ndarray, "h w 3"]:
    """A picture that steps back: shares of its colour kept, and of white mixed in."""
    grey = pixels.mean(axis=2, keepdims=True)
    muted = grey + colour * (pixels - grey)
    return np.asarray((muted + light * (255 - muted)).round(), np.uint8)


def tinted(
    pixels: UInt8[np.ndarray, "h w 3"], cover: Float[np.ndarray, "h w"], colour: Sequence[float], share: float
) -> UInt8[np.ndarray, "h w 3"]:
    """A picture with a colour (0 to 1) mixed in where it is covered."""
    weight = (share * cover)[..., None]
    return np.asarray((pixels * (1 - weight) + 255 * np.asarray(colour) * weight).round(), np.uint8)
