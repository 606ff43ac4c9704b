"""The views as those who group them read them: arrays in a folder, of which each takes the rows that it needs."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from baselines.grouping.distances import lines_of
from wildhoi.files import atomic_path
from wildhoi.views import Views

LINES, VECTORS = "lines.npy", "vectors.npy"
ROWS = 4096
"""Views that are worked out at once."""


class Table(NamedTuple):
    """All views; on a processor they stay in their files until rows are taken."""

    lines: Float[Tensor, "n 6 p"]
    """float64."""
    vectors: Float[Tensor, "n v"]
    """X_2.5D as unit vectors, float32: the rays, and from the pelvis to the camera."""


def write_table(folder: Path, views: Views) -> None:
    """Write the table of views into a folder, complete or not at all."""
    count, points = views.rays.shape[:2]
    parts = [slice(start, start + ROWS) for start in range(0, count, ROWS)]
    lines = (lines_of(views.rays[rows], views.positions[rows]).numpy() for rows in parts)
    _write(folder / LINES, lines, (count, 6, points), np.float64)
    vectors = (_vectors(views.rays[rows], views.positions[rows]) for rows in parts)
    _write(folder / VECTORS, vectors, (count, 3 * points + 3), np.float32)


def read_table(folder: Path, device: str = "cpu") -> Table:
    """Open the table in a folder."""
    # copy-on-write, though nothing writes: torch takes no array that cannot be written
    lines, vectors = (torch.from_numpy(np.load(folder / name, mmap_mode="c")) for name in (LINES, VECTORS))
    return Table(lines.to(device), vectors.to(device))


def _vectors(rays: Float[np.ndarray, "n p 3"], positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n v"]:
    away = np.linalg.norm(positions, axis=1, keepdims=True)
    camera = positions / np.maximum(away, 1e-12)
    return np.concatenate([rays, camera[:, None]], axis=1).reshape(len(rays), -1)


def _write(path: Path, parts: Iterator[np.ndarray], shape: tuple[int, ...], kind: type) -> None:
    """Write an array row by row, so that it is never there as a whole."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(kind)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for part in parts:
            stream.write(np.ascontiguousarray(part, kind).data)
