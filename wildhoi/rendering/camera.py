"""Projection of batches to pixels; the package states the conventions."""

from jaxtyping import Float
from torch import Tensor

NEAR = 1e-2
"""Metres; a triangle with a vertex nearer than this is dropped whole, not clipped."""


def project(
    points: Float[Tensor, "b n 3"], focal: Float[Tensor, "b 2"], principal_point: Float[Tensor, "b 2"]
) -> Float[Tensor, "b n 2"]:
    """Project points of the camera frame (metres) to pixels; meaningless for points behind the camera."""
    return focal[:, None] * points[..., :2] / points[..., 2:] + principal_point[:, None]
