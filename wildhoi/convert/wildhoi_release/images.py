"""The per-frame files of the WildHOI release: frames, masks, correspondence maps, occlusion maps."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from wildhoi.convert.frames import Box, BoxedMask
from wildhoi.convert.safe_pickle import load_pickle
from wildhoi.dataset.pictures import MAX_BYTES, MAX_SIDE, decode_picture
from wildhoi.errors import InputError, UnsafeError
from wildhoi.files import read_bytes

MAX_FILE_BYTES = 256 * 2**20
ABSENT, DAMAGED, EMPTY = "no file", "a file that cannot be read", "empty"

Loaded = tuple[Any, str]  # a value, or None and why


def read_frame(root: Path, video: str, frame: str) -> tuple[UInt8[np.ndarray, "h w 3"] | None, str]:
    """A video frame, RGB, or why there is none."""
    path = root / "images_temp" / video / f"{frame}.jpg"
    if not path.is_file():
        return None, ABSENT
    try:
        return decode_picture(read_bytes(path, MAX_BYTES, "picture")), ""
    except InputError:
        return None, "cannot be decoded"


def read_masks(
    root: Path, video: str, hoi: str, frame: str, size: tuple[int, int] | None
) -> tuple[dict[str, BoxedMask | None], dict[str, str]]:
    """The visible pixels of person (`human`) and `object`, inside a frame of this size; and why one is not there."""
    content, why = _load(root / "hoi_mask" / video / hoi / f"{frame}.pkl")
    masks: dict[str, BoxedMask | None] = {}
    reasons: dict[str, str] = {}
    for name in ("human", "object"):
        entry = content.get(name) if isinstance(content, dict) else None
        masks[name], reason = (None, why or DAMAGED) if not isinstance(entry, dict) else _unpack(entry, size)
        if reason:
            reasons[name] = reason
    return masks, reasons


def _unpack(entry: dict[str, Any], frame_size: tuple[int, int] | None) -> tuple[BoxedMask | None, str]:
    """A mask of its packed bits (row-major) and its box of first and last pixels."""
    packed, box, shape = (entry.get(key) for key in ("mask", "mask_box", "mask_shape"))
    if packed is None:
        return None, EMPTY
    corners, size = _integers(box, 4), _integers(shape, 2)
    if corners is None or size is None or not isinstance(packed, np.ndarray) or packed.dtype != np.uint8:
        return None, DAMAGED
    x, y, right, bottom = corners
    height, width = size
    if (height, width) != (bottom - y + 1, right - x + 1) or min(height, width) < 1 or packed.ndim != 1:
        return None, DAMAGED
    if len(packed) != (height * width + 7) // 8:
        return None, DAMAGED
    limits = frame_size or (MAX_SIDE, MAX_SIDE)
    if min(x, y) < 0 or right >= limits[0] or bottom >= limits[1]:
        return None, "outside the frame"
    mask: Bool[np.ndarray, "h w"] = np.unpackbits(packed, count=height * width).reshape(height, width).astype(bool)
    return BoxedMask(mask, (x, y, width, height)), ""


def _integers(value: Any, count: int) -> list[int] | None:
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    if array.dtype.kind not in "iu" or array.shape != (count,):
        return None
    return [int(number) for number in array]


def read_correspondences(
    root: Path, video: str, hoi: str, frame: str
) -> tuple[tuple[Float[np.ndarray, "h w 3"], Box] | None, str]:
    """The map of the object's points (metres, scale 1) and its x, y, width, height; or why there is none."""
    content, why = _load(root / "object_annotations" / "corr" / f"{video}_{frame}_{hoi}-corr.pkl")
    if content is None:
        return None, why
    points = content.get("coor") if isinstance(content, dict) else None
    box = _integers([content.get(key) for key in "luwh"], 4) if isinstance(content, dict) else None
    if not isinstance(points, np.ndarray) or points.ndim != 3 or points.shape[2] != 3 or box is None:
        return None, DAMAGED
    if points.dtype.kind != "f" or points.size == 0 or not np.isfinite(points).all():
        return None, DAMAGED
    x, y, width, height = box
    return ((points, (x, y, width, height)), "") if points.shape[:2] == (height, width) else (None, DAMAGED)


def read_occlusion(
    root: Path, video: str, hoi: str, frame: str
) -> tuple[tuple[Bool[np.ndarray, " v"], Bool[np.ndarray, " n"]] | None, str]:
    """The vertices of body and object on the overlap of both, or why there are none."""
    content, why = _load(root / "occlusion_maps" / video / hoi / f"{frame}.pkl")
    if content is None:
        return None, why
    fields = content if isinstance(content, dict) else {}
    human, thing = (_flags(fields.get(name)) for name in ("smpl_v_mask", "object_v_mask"))
    if human is None or thing is None:
        return None, DAMAGED
    return (human, thing), ""


def _flags(value: Any) -> Bool[np.ndarray, " v"] | None:
    return value if isinstance(value, np.ndarray) and value.dtype == np.bool_ and value.ndim == 1 else None


def _load(path: Path) -> Loaded:
    if not path.is_file():
        return None, ABSENT
    try:
        return load_pickle(path, torch_tensors=True, max_bytes=MAX_FILE_BYTES), ""
    except UnsafeError:
        raise
    except InputError:
        return None, DAMAGED
