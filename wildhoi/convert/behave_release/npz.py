"""The tracks of an .npz file: arrays of one row a frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wildhoi import npz
from wildhoi.errors import InputError


def read_npz(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read named arrays of equal length; raises InputError as `wildhoi.npz` does, and where lengths differ."""
    arrays = npz.read_npz(path, names)
    lengths = {array.shape[:1] for array in arrays.values()}
    if len(lengths) != 1 or lengths == {()}:
        raise InputError(f"{path}: arrays of different lengths: {[array.shape for array in arrays.values()]}")
    return arrays
