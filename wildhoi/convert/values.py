"""Numbers in foreign files: what is an array of them, and what is a rotation."""

from typing import Any

import numpy as np
from jaxtyping import Float

from wildhoi.dataset.annotations import ROTATION_TOLERANCE
from wildhoi.geometry import orthonormality_error
from wildhoi.schema import Matrix3

NUMERIC = (np.ndarray, np.number, float, int, list, tuple)


def as_numbers(raw: Any) -> Float[np.ndarray, "..."] | None:
    """The value as float64, or None where it holds anything but numbers; NaN and infinite ones are numbers."""
    if not isinstance(raw, NUMERIC) or isinstance(raw, bool):
        return None
    try:
        array = np.asarray(raw)
    except ValueError:
        return None
    with np.errstate(invalid="ignore"):
        return array.astype(np.float64) if array.dtype.kind in "fiu" else None


def rotation_error(matrix: Matrix3) -> float:
    """How far a finite matrix is off orthonormal; infinite where its numbers are beyond any measure."""
    with np.errstate(over="ignore", invalid="ignore"):
        error = float(orthonormality_error(matrix))
    return error if error >= 0 else float("inf")


def rotation_defect(matrix: Matrix3, tolerance: float = ROTATION_TOLERANCE) -> tuple[str, str] | None:
    """Code and finding of a finite matrix that is no rotation; None for one that is, up to the tolerance."""
    error = rotation_error(matrix)
    if error > tolerance:
        return "not-a-rotation", f"off orthonormal by {error:.3g}"
    return ("reflection", "with determinant -1") if np.linalg.det(matrix) < 0 else None
