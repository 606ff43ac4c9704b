"""What an image encoder is shown of a sample, and how pictures are varied while it is trained.

A picture has five channels of one square window of the frame: red, green, blue, the person's mask, the object's mask.
"""

from dataclasses import dataclass
from math import floor, pi

import cv2
import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from wildhoi.errors import InputError
from wildhoi.schema import Sample

CHANNELS = 5
COLOURS = 3
"""The first channels; the masks follow."""
MARGIN = 1.2
"""Side of the window over the longer side of what it is about, as in the published code."""
LEAST, MOST = 0.5, 2.0
"""Bounds of the side of a varied window: beyond them nothing is left to be seen."""
TOP = 255.0
"""The largest value of a picture, as whole numbers and as real ones."""
NORMAL = 4
"""Normal numbers that a picture is varied by: its turn, its size, and its place along each side."""

Rectangle = tuple[int, int, int, int]
Picture = UInt8[np.ndarray, "5 s s"]


def encoder_picture(sample: Sample, size: int) -> Picture:
    """Cut the square window about person and object out of a sample, and resize it.

    The window has the middle of the rectangle about both boxes and 1.2 times its longer side, in whole pixels; it is
    black where the image has ended. Without boxes it is about the masks, without those about the image. What is shrunk
    is averaged over the area of each new pixel.

    Args:
        sample: with an image; a mask that it lacks is 0 everywhere.
        size: pixels on a side.

    Returns:
        Colours, and masks from 0 to 255.

    Raises:
        InputError: the sample has no image.
    """
    image = sample.image
    if image is None or image.size == 0:
        raise InputError(f"{sample.image_id}: has no image to show an encoder; read the samples with their pictures")
    place = sample.image_box or (0, 0)
    frame: Rectangle = (place[0], place[1], image.shape[1], image.shape[0])
    window = _window(sample, frame)
    picture = np.zeros((CHANNELS, size, size), np.uint8)
    picture[:COLOURS] = _resized(_cut(image, frame, window), size).transpose(2, 0, 1)
    masks = ((sample.person_mask, sample.person_mask_box), (sample.object_mask, sample.object_mask_box))
    for channel, (mask, box) in enumerate(masks, start=COLOURS):
        if mask is not None and box is not None:
            seen = (mask > 0).astype(np.uint8) * np.uint8(TOP)
            picture[channel] = _resized(_cut(seen, box, window), size)
    return picture


def mirror_picture(picture: UInt8[np.ndarray, "*b 5 s s"]) -> UInt8[np.ndarray, "*b 5 s s"]:
    """The picture in a mirror: its columns reversed; person and object keep their channels."""
    return np.ascontiguousarray(picture[..., ::-1])


def _window(sample: Sample, frame: Rectangle) -> Rectangle:
    """The window of a sample in whole pixels of the frame."""
    corners = [_inside(box, frame) for box in (sample.person_box, sample.object_box) if box is not None]
    if not any(corner is not None for corner in corners):
        masks = [box for box in (sample.person_mask_box, sample.object_mask_box) if box is not None]
        corners = [_inside(_corners(box), frame) for box in masks]
    seen = np.array([corner for corner in corners if corner is not None] or [_corners(frame)])
    first, last = seen[:, :2].min(0), seen[:, 2:].max(0)
    side = max(1, round(MARGIN * float((last - first).max() + 1)))
    # floor, unlike round, says the same of halves wherever they lie
    left, top = (floor(float(corner)) for corner in (first + last + 1 - side) / 2)
    return (left, top, side, side)


def _corners(box: Rectangle) -> Float[np.ndarray, "4"]:
    """The first and the last pixel of a rectangle."""
    return np.array([box[0], box[1], box[0] + box[2] - 1, box[1] + box[3] - 1], np.float64)


def _inside(box: Float[np.ndarray, "4"], frame: Rectangle) -> Float[np.ndarray, "4"] | None:
    """The part of a box that the image shows, so that no box makes the window larger than that; None where none is."""
    limits = _corners(frame)
    first, last = np.maximum(box[:2], limits[:2]), np.minimum(box[2:], limits[2:])
    # false for numbers that are none, too
    return np.concatenate([first, last]) if (first <= last).all() else None


def _cut(pixels: Shaped[np.ndarray, "h w *c"], box: Rectangle, window: Rectangle) -> Shaped[np.ndarray, "s s *c"]:
    """The window out of pixels that fill a box of the frame; 0 where they have ended."""
    (x, y), (left, top, side, _) = box[:2], window
    height, width = pixels.shape[:2]
    cut = np.zeros((side, side, *pixels.shape[2:]), pixels.dtype)
    rows, columns = (_overlap(a, n, b, side) for a, n, b in ((y, height, top), (x, width, left)))
    cut[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = pixels[
        rows.start - y : rows.stop - y, columns.start - x : columns.stop - x
    ]
    return cut


def _overlap(start: int, length: int, other: int, side: int) -> range:
    """What two runs of pixels share; an empty one lies at the start of the second."""
    first, last = max(start, other), min(start + length, other + side)
    return range(first, last) if first < last else range(max(start, other), max(start, other))


def _resized(pixels: UInt8[np.ndarray, "h w *c"], size: int) -> UInt8[np.ndarray, "s s *c"]:
    return np.asarray(cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA))


@dataclass(frozen=True)
class Augment:
    """Vary pictures as the published training does; masks follow the colours, and no picture depends on another.

    Attributes:
        shift: of the window, standard deviation along each side, share of its side.
        rotation: of the window, standard deviation, degrees.
        rotated: the share of pictures that are turned at all.
        scale: of the window's side, standard deviation about 1, kept between 0.5 and 2.
        colour: each colour is multiplied by a number within this of 1.
    """

    shift: float = 0.1 / 3
    rotation: float = 30 / 3
    rotated: float = 0.5
    scale: float = 0.3 / 3
    colour: float = 0.2

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "b 8"]:
        """What so many pictures are varied by: normal numbers, then even ones.

        They are drawn where the generator lives: with one of the CPU they are the same for every device.
        """
        normal = torch.randn((count, NORMAL), generator=generator, device=generator.device)
        even = torch.rand((count, 1 + COLOURS), generator=generator, device=generator.device)
        return torch.cat([normal, even], dim=1)

    def __call__(self, pictures: Shaped[Tensor, "b 5 s s"], drawn: Float[Tensor, "b 8"]) -> Float[Tensor, "b 5 s s"]:
        """Pictures (0 to 255) varied by what was drawn, on their device; what lies outside of a picture is black."""
        count = len(pictures)
        normal, even = drawn.to(pictures.device).tensor_split([NORMAL], dim=1)
        angle = normal[:, 0] * self.rotation * pi / 180 * (even[:, 0] < self.rotated)
        side = (1 + normal[:, 1] * self.scale).clamp(LEAST, MOST)
        cosine, sine = side * angle.cos(), side * angle.sin()
        # half of a picture's side is 1 here
        x, y = (2 * self.shift * normal[:, 2:]).unbind(1)
        warp = torch.stack([cosine, -sine, x, sine, cosine, y], dim=1).view(count, 2, 3)
        grid = affine_grid(warp, list(pictures.shape), align_corners=False)
        varied = grid_sample(pictures.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        gains = torch.ones((count, CHANNELS), device=pictures.device)
        gains[:, :COLOURS] += self.colour * (2 * even[:, 1:] - 1)
        return (varied * gains[..., None, None]).clamp(0, TOP)
