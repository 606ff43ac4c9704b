"""Smooth random fields: errors that neighbouring pixels share."""

import numpy as np
from jaxtyping import Float


def smooth_field(
    size: tuple[int, int], cells: tuple[int, int], channels: int, rng: np.random.Generator
) -> Float[np.ndarray, "h w c"]:
    """Random values of variance near one at `cells` (rows, columns) of a grid, joined smoothly over `size` pixels.

    The grid has one more ring of values around it, so that borders vary as the middle does.
    """
    import cv2

    rows, columns = (max(count, 1) for count in cells)
    values = rng.standard_normal((rows + 2, columns + 2, channels)).astype(np.float32)
    height, width = size
    tall, wide = -(-height * (rows + 2) // rows), -(-width * (columns + 2) // columns)
    spread = cv2.resize(values, (wide, tall), interpolation=cv2.INTER_CUBIC).reshape(tall, wide, channels)
    top, left = (tall - height) // 2, (wide - width) // 2
    return spread[top : top + height, left : left + width].astype(np.float64)
