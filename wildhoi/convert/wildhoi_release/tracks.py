"""The per-instance files of the WildHOI release, by frame: bodies, object poses and keypoints."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from wildhoi.convert.safe_pickle import load_pickle
from wildhoi.convert.values import as_numbers
from wildhoi.errors import InputError, UnsafeError
from wildhoi.submission.table import MAX_NUMBER

MAX_TRACK_BYTES = 512 * 2**20
# Folder, and the file's name behind the instance's number
BODY, POSE, KEYPOINTS, PROJECTED = "smplx_tuned", "object_pose", "wholebody_kps_refined", "hoi_kps"
UNREFINED = "wholebody_kps"
FILES = {
    BODY: "smplx",
    POSE: "obj_RT",
    KEYPOINTS: "wholebody_kps",
    UNREFINED: "wholebody_kps",
    PROJECTED: "hoi_kps",
}
SAFE_ID = re.compile(r"[0-9]{1,12}", re.ASCII)  # ids become parts of paths
PROJECTIONS = ("smpl_kps_seq", "object_kps_seq")

Record = Mapping[str, Any]


@dataclass
class Track:
    """One file of an instance: its records by frame, or why there are none."""

    frames: dict[str, Record] = field(default_factory=dict)
    reason: str = ""

    def at(self, frame: str) -> tuple[Record | None, str]:
        """The record of a frame, or why there is none."""
        if frame in self.frames:
            return self.frames[frame], ""
        return None, self.reason or "has no such frame"


@dataclass(frozen=True)
class Instance:
    """A person with an object through consecutive frames."""

    hoi: str
    sequence: Sequence[Record]


def read_tracking(path: Path) -> tuple[list[Instance], bool]:
    """The instances of a video, and whether some of them or of their frames were malformed and are left out.

    Raises:
        UnsafeError: the file asks for something to be executed.
        InputError: the file is absent, damaged, or of another structure.
    """
    content = load_pickle(path, max_bytes=MAX_TRACK_BYTES)
    entries = content.get("hoi_instances") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise InputError(f'{path}: want {{"hoi_instances": [...]}}')
    found, malformed = [], False
    for entry in entries:
        records = entry.get("sequences") if isinstance(entry, dict) else None
        if not isinstance(records, list) or not _is_id(entry.get("hoi_id")):
            malformed = True
            continue
        sequence = [record for record in records if isinstance(record, dict) and _is_id(record.get("frame_id"))]
        malformed |= len(sequence) < len(records)
        found.append(Instance(entry["hoi_id"], sequence))
    return found, malformed


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and SAFE_ID.fullmatch(value) is not None


def read_track(root: Path, kind: str, video: str, hoi: str) -> Track:
    """Read one of an instance's files; one that is absent or damaged is a track without frames.

    Raises:
        UnsafeError: the file asks for something to be executed.
    """
    path = root / kind / video / f"{hoi}_{FILES[kind]}.pkl"
    if not path.is_file():
        return Track(reason="no file of the instance")
    try:
        content = load_pickle(path, torch_tensors=True, max_bytes=MAX_TRACK_BYTES)
    except UnsafeError:
        raise
    except InputError:
        return Track(reason="a file that cannot be read")
    frames = _by_index(content) if kind == PROJECTED else _by_frame(content)
    return Track(frames) if frames is not None else Track(reason="a file without the arrays")


def _by_frame(content: Any) -> dict[str, Record] | None:
    if not isinstance(content, list):
        return None
    return {r["frame_id"]: r for r in content if isinstance(r, dict) and isinstance(r.get("frame_id"), str)}


def _by_index(content: Any) -> dict[str, Record] | None:
    """The arrays of a whole instance as one record a frame; none where the file has no arrays."""
    ids = content.get("frame_ids") if isinstance(content, dict) else None
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        return None
    arrays = {name: array for name in PROJECTIONS if isinstance(array := content.get(name), np.ndarray) and array.ndim}
    if len(arrays) < len(PROJECTIONS) or any(len(array) != len(ids) for array in arrays.values()):
        return None
    return {frame: {name: array[row] for name, array in arrays.items()} for row, frame in enumerate(ids)}


def numbers(record: Record, name: str, shape: tuple[int, ...]) -> Float[np.ndarray, "..."] | None:
    """A field as float64 of a shape; lists of single numbers and dimensions of one are taken as they are meant."""
    value = record.get(name)
    if isinstance(value, list):
        value = [np.asarray(item).reshape(-1)[0] if np.size(item) == 1 else item for item in value]
    array = as_numbers(value)
    return array.reshape(shape) if array is not None and array.size == prod(shape) else None


def finite_numbers(record: Record, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Shaped[np.ndarray, "..."]] | str:
    """Several fields as float64, or what is wrong with one of them."""
    found: dict[str, Shaped[np.ndarray, ...]] = {}
    for name, shape in shapes.items():
        value = numbers(record, name, shape)
        if value is None:
            return "malformed"
        if not np.isfinite(value).all():
            return "NaN"
        if np.abs(value).max(initial=0) > MAX_NUMBER:
            return "beyond any measure"
        found[name] = value
    return found
