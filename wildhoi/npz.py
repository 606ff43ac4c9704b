"""Arrays of an .npz file of unknown origin: plain numbers and strings within limits, never objects."""

import zlib
from collections.abc import Sequence
from io import BytesIO
from math import prod
from pathlib import Path
from struct import error as StructError
from tokenize import TokenError
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np

from wildhoi.convert.archives import DAMAGED, Bounded, trick_of, unpack
from wildhoi.errors import InputError, one_line

MAX_BYTES = 2**28
"""Of all arrays that are asked for, unpacked: thrice what the largest file that the project itself writes takes."""
KINDS = "biufUS"
"""Kinds of numbers and texts; not among them are objects, which are pickles, and records and dates."""
LAST_CHARACTER = 0x10FFFF
# beside what archives raise, what numpy raises for a header: it reads it as Python's literals, and mends it token by
# token (RecursionError and MemoryError: brackets within brackets)
DAMAGE = (*DAMAGED, zlib.error, StructError, SyntaxError, TokenError, TypeError, RecursionError, MemoryError)


def read_npz(path: Path, names: Sequence[str] | None = None, *, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Read named arrays, by default all of them; what else is in the file is left alone.

    No array gets memory that the bytes in the file do not fill, whatever its header claims.

    Args:
        path: the file.
        names: of the arrays, without the suffix .npy.
        max_bytes: limit of the arrays together, as they say and as they are.

    Raises:
        InputError: no such file, damaged, too large, or an array is absent, there twice, or of something else.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with Bounded(path) as stream, ZipFile(stream) as archive:
            members = _choose(path, archive.infolist(), names, max_bytes)
            return {name: _read(path, archive, name, member) for name, member in members.items()}
    except DAMAGE as error:
        raise InputError(f"{path}: cannot be read as .npz ({_reason(error)})") from None


def _read(path: Path, archive: ZipFile, name: str, member: ZipInfo) -> np.ndarray:
    try:
        return _parse(unpack(archive, member))
    except DAMAGE as error:
        raise InputError(f"{path}: array `{name}` cannot be read ({_reason(error)})") from None


def _reason(error: BaseException) -> str:
    return one_line(error, 120) or type(error).__name__


def _choose(path: Path, found: list[ZipInfo], names: Sequence[str] | None, most: int) -> dict[str, ZipInfo]:
    """The members of the arrays that are wanted, by name, after a look at what they say of themselves."""
    there = {member.filename.removesuffix(".npy"): member for member in found if member.filename.endswith(".npy")}
    chosen: dict[str, ZipInfo] = {}
    for name in there if names is None else names:
        if name not in there:
            raise InputError(f"{path}: no array `{name}`")
        chosen[name] = there[name]
        if trick := trick_of(there[name]):
            raise InputError(f"{path}: array `{name}`: a member {trick}")
    size = sum(member.file_size for member in chosen.values())
    if size > most:
        raise InputError(f"{path}: unpacks to {size:,} bytes, at most {most:,} are read")
    return chosen


def _parse(content: bytearray) -> np.ndarray:
    """The array of an .npy file, whose header must claim just the bytes that follow it."""
    head = BytesIO(content[: 2**14])  # more than numpy reads as a header
    version = np.lib.format.read_magic(head)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the .npy format")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(head)
    start = head.tell()
    _require_plain(dtype, shape, len(content) - start)
    array: np.ndarray = np.ndarray(shape, dtype, content, start, order="F" if fortran else "C")
    if dtype.kind == "U" and array.size:
        points = np.frombuffer(content, np.dtype(dtype.byteorder + "u4"), offset=start)
        if points.max(initial=0) > LAST_CHARACTER:
            raise ValueError("characters beyond Unicode")
    return array


def _require_plain(dtype: "np.dtype[Any]", shape: tuple[int, ...], n_bytes: int) -> None:
    if dtype.kind not in KINDS or min(shape, default=0) < 0 or dtype.itemsize * prod(shape) != n_bytes:
        raise ValueError(f"array of {dtype} and shape {shape} in {n_bytes} bytes")
