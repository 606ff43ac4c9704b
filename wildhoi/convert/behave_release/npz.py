"""Arrays of an .npz file of unknown origin: plain numbers and strings within limits, never objects."""

from collections.abc import Sequence
from io import BytesIO
from math import prod
from pathlib import Path
from tokenize import TokenError

import numpy as np

from wildhoi.convert.archives import read_member
from wildhoi.errors import InputError

MAX_BYTES = 256 * 2**20
# what numpy raises for a header that is not one: it reads it as Python's literals, and mends it token by token
DAMAGE = (ValueError, SyntaxError, TokenError, RecursionError)


def read_npz(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read named arrays of equal length.

    Args:
        path: the file, of at most 256 MiB before and after unpacking.
        names: of the arrays.

    Raises:
        InputError: damaged, too large, an array is absent or of objects, or lengths differ.
    """
    try:
        arrays = {name: _parse(read_member(path, f"{name}.npy", max_bytes=MAX_BYTES)) for name in names}
    except DAMAGE as error:
        raise InputError(f"{path}: cannot be read as an .npz file with {', '.join(names)} ({error})") from None
    lengths = {array.shape[:1] for array in arrays.values()}
    if len(lengths) != 1 or lengths == {()}:
        raise InputError(f"{path}: arrays of different lengths: {[array.shape for array in arrays.values()]}")
    return arrays


def _parse(data: bytes) -> np.ndarray:
    """The array of an .npy file, whose header must claim just the bytes that follow it."""
    stream = BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the .npy format")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    rest = data[stream.tell() :]
    if dtype.kind not in "fiuUS" or dtype.itemsize * prod(shape) != len(rest):
        raise ValueError(f"array of {dtype} and shape {shape} in {len(rest)} bytes")
    return np.frombuffer(rest, dtype).reshape(shape, order="F" if fortran else "C")
