"""What the releases' frames have in common: the crop around an interaction, and masks cut to their boxes."""

from math import ceil, floor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

CROP_FACTOR = 1.2  # side of the crop, in longer sides of the box of person and object

Box = tuple[int, int, int, int]


def interaction_box(
    person_box: Float[np.ndarray, "4"] | None, object_box: Float[np.ndarray, "4"] | None, frame_size: tuple[int, int]
) -> Box:
    """The part of the frame that shows an interaction: a square about person and object, cut off at the frame's edge.

    Args:
        person_box: x, y of the first and of the last pixel, or None.
        object_box: likewise.
        frame_size: width and height, pixels.

    Returns:
        x, y, width, height of whole pixels; the whole frame where there is no box.
    """
    boxes = [box for box in (person_box, object_box) if box is not None]
    if not boxes:
        return 0, 0, *frame_size
    low, high = np.min([box[:2] for box in boxes], axis=0), np.max([box[2:] for box in boxes], axis=0)
    centre, half = (low + high) / 2, CROP_FACTOR / 2 * float((high - low).max())
    first = [min(max(floor(c - half), 0), size - 1) for c, size in zip(centre, frame_size, strict=True)]
    last = [max(min(ceil(c + half), size - 1), f) for c, size, f in zip(centre, frame_size, first, strict=True)]
    return first[0], first[1], last[0] - first[0] + 1, last[1] - first[1] + 1


def cut(frame: UInt8[np.ndarray, "h w 3"], box: Box) -> UInt8[np.ndarray, "bh bw 3"]:
    """The pixels of a box that lies inside the frame."""
    x, y, width, height = box
    return frame[y : y + height, x : x + width]


class BoxedMask(NamedTuple):
    """A mask cut to the box of its pixels, and that box in the frame."""

    mask: Bool[np.ndarray, "h w"]
    box: Box

    @property
    def corners(self) -> Float[np.ndarray, "4"]:
        """The box as x, y of its first and of its last pixel."""
        x, y, width, height = self.box
        return np.array([x, y, x + width - 1, y + height - 1], np.float64)


def boxed(mask: Bool[np.ndarray, "h w"]) -> BoxedMask | None:
    """Cut a mask of the whole frame to its pixels; None where it has none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    y, x = int(rows[0]), int(columns[0])
    height, width = int(rows[-1]) - y + 1, int(columns[-1]) - x + 1
    return BoxedMask(mask[y : y + height, x : x + width], (x, y, width, height))
