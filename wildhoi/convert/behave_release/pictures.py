"""The pictures of a frame folder: the colour picture, and masks whose true pixels are above 127."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from wildhoi.convert.behave_release.facts import load_facts
from wildhoi.convert.frames import BoxedMask, boxed
from wildhoi.dataset.pictures import MAX_BYTES, decode_grey, decode_picture, picture_size
from wildhoi.errors import InputError
from wildhoi.files import read_bytes, read_json

MAX_KEYPOINT_BYTES = 2**20
TRUE_ABOVE = 127
N_BODY_25 = 25

Size = tuple[int, int]
MaskKind = Literal["person_mask", "object_mask", "object_full"]


def color_file(folder: Path | None, camera: int) -> Path | None:
    """The colour picture of a camera; None where there is none."""
    return _find(folder, [load_facts()["pictures"]["color"]], camera)


def read_color(folder: Path | None, camera: int, size: Size) -> UInt8[np.ndarray, "h w 3"] | str:
    """Read the colour picture of a camera as RGB, or say why there is none; `size` is (width, height)."""
    path = color_file(folder, camera)
    if path is None:
        return "no picture"
    picture = _read(path, decode_picture, size)
    return "picture cannot be decoded or is of another size" if picture is None else picture


def read_mask(kind: MaskKind, folder: Path | None, camera: int, size: Size) -> BoxedMask | str:
    """Read a mask, cut to the box of its pixels, or say why there is none.

    Args:
        kind: which; of the object there is the visible part and, in some copies, all of it.
        folder: of the frame.
        camera: number of the Kinect.
        size: (width, height) that the mask must have.
    """
    what = kind.replace("_", " ")
    path = _find(folder, load_facts()["pictures"][kind], camera)
    if path is None:
        return f"no {what}"
    grey = _read(path, decode_grey, size)
    if grey is None:
        return f"{what} cannot be decoded or is of another size"
    return boxed(grey > TRUE_ABOVE) or f"{what} is empty"


def visible_share(folder: Path | None, camera: int, size: Size) -> float | None:
    """Visible by all pixels of the object's silhouette; None where one of the two masks is not known."""
    full = read_mask("object_full", folder, camera, size)
    if isinstance(full, str):
        return None
    seen = read_mask("object_mask", folder, camera, size)
    if isinstance(seen, str):
        return 0.0 if seen.endswith("is empty") else None
    return min(1.0, float(seen.mask.sum() / full.mask.sum()))


def read_keypoints(folder: Path | None, camera: int) -> Float[np.ndarray, "25 3"] | str:
    """Read OpenPose's BODY_25 of a camera (x, y, confidence), or say why there is none."""
    path = _find(folder, [load_facts()["pictures"]["keypoints"]], camera)
    if path is None:
        return "no OpenPose keypoints"
    try:
        content = read_json(path, MAX_KEYPOINT_BYTES)
    except InputError:
        content = None
    raw = content.get("body_joints") if isinstance(content, dict) else None
    numbers = isinstance(raw, list) and all(type(value) in (int, float) and abs(value) < 1e6 for value in raw)
    if not isinstance(raw, list) or not numbers or len(raw) != 3 * N_BODY_25:
        return "OpenPose keypoints cannot be read"
    return np.array(raw, np.float64).reshape(N_BODY_25, 3)


def _find(folder: Path | None, patterns: Sequence[str], camera: int) -> Path | None:
    names = [pattern.format(k=camera) for pattern in patterns] if folder is not None else []
    return next((path for name in names if folder is not None and (path := folder / name).is_file()), None)


def _read(path: Path, decode: Callable[[bytes], UInt8[np.ndarray, "..."]], size: Size) -> np.ndarray | None:
    """A picture of the given size; None where the file is none."""
    try:
        data = read_bytes(path, MAX_BYTES, "picture")
        # the header tells the size before anything is unpacked
        return decode(data) if picture_size(data) == size else None
    except InputError:
        return None
