"""Detected masks: the visible pixels with ragged borders, and small holes and blobs at them."""

import numpy as np
from jaxtyping import Bool, Float

from wildhoi.convert.frames import Box, BoxedMask, boxed
from wildhoi.open_scenes.detector.fields import smooth_field
from wildhoi.open_scenes.detector.settings import MaskNoise


def ragged(
    mask: Bool[np.ndarray, "h w"], unit: float, rng: np.random.Generator, noise: MaskNoise
) -> Bool[np.ndarray, "h w"]:
    """Move the border of a mask in and out by a smooth field, and fleck it; only an empty mask ends empty.

    `unit` is a crop pixel in pixels of the mask.
    """
    if not mask.any():
        return mask
    height, width = mask.shape
    cells = tuple(max(1, round(side / (noise.wavelength * unit))) for side in (height, width))
    field = smooth_field((height, width), (cells[0], cells[1]), 1, rng)[..., 0]
    distance = signed_distance(mask)
    result = distance + noise.amplitude * unit * field > 0
    result = _flecked(result, distance, unit, rng, noise)
    return result if result.any() else mask


def signed_distance(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Distance to the border of a mask, pixels: positive inside; the border runs half-way between two pixels."""
    import cv2

    most = float(sum(mask.shape))  # where the mask has no border at all
    inside, outside = (
        np.minimum(cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), most)
        for part in (mask, ~mask)
    )
    return np.where(mask, inside - 0.5, 0.5 - outside).astype(np.float64)


def _flecked(
    mask: Bool[np.ndarray, "h w"],
    distance: Float[np.ndarray, "h w"],
    unit: float,
    rng: np.random.Generator,
    noise: MaskNoise,
) -> Bool[np.ndarray, "h w"]:
    """Turn small discs about random places of the border into holes or blobs."""
    border = np.argwhere(np.abs(distance) < max(1.0, noise.fleck_radius[1] * unit))
    flecks = int(rng.poisson(noise.flecks))
    choices, radii, full = rng.random(flecks), rng.uniform(*noise.fleck_radius, flecks) * unit, rng.random(flecks) < 0.5
    if not len(border):
        return mask
    result = mask.copy()
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    for choice, radius, fill in zip(choices, radii, full, strict=True):
        y, x = border[int(choice * len(border))]
        result[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = fill
    return result


def boxed_in_frame(mask: Bool[np.ndarray, "h w"], corner: tuple[int, int]) -> BoxedMask | None:
    """Cut a mask to its pixels, its box in the frame, where `corner` is the mask's first pixel; None where empty."""
    cut = boxed(mask)
    if cut is None:
        return None
    x, y, width, height = cut.box
    box: Box = (x + corner[0], y + corner[1], width, height)
    return BoxedMask(cut.mask, box)
