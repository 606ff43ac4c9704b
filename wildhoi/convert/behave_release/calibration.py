"""The Kinects: where they stand in the world, and the intrinsics of their colour cameras."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from wildhoi.convert.values import rotation_defect
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import read_json
from wildhoi.schema import Matrix3, Vector3

MAX_BYTES = 2**20


@dataclass(frozen=True, eq=False)
class Kinect:
    """A camera of the release: `x_world = rotation x_cam + translation`, metres; pixels of the colour picture.

    The lens distortion of the file is left out, as in published scores; `size` is (width, height).
    """

    rotation: Matrix3
    translation: Vector3
    focal: Float[np.ndarray, "2"]
    principal_point: Float[np.ndarray, "2"]
    size: tuple[int, int]


@lru_cache(maxsize=64)
def read_kinect(raw: Path, date: str, camera: int) -> Kinect:
    """Read the calibration of a camera on a date.

    Raises:
        MissingAssetError: a file of it is absent.
        InputError: a file does not hold a calibration.
    """
    place = raw / "calibs" / date / "config" / str(camera) / "config.json"
    lens = raw / "calibs" / "intrinsics" / str(camera) / "calibration.json"
    for path in (place, lens):
        if not path.is_file():
            raise MissingAssetError(f"{path}: no such file; unpack BEHAVE's calibs.zip into {raw}")
    config, color = _table(place, None), _table(lens, "color")
    rotation = _numbers(place, config, "rotation", 9).reshape(3, 3)
    if rotation_defect(rotation):
        raise InputError(f"{place}: rotation is no rotation matrix (row by row)")
    fx, fy, cx, cy = (_numbers(lens, color, key, 1)[0] for key in ("fx", "fy", "cx", "cy"))
    width, height = (int(_numbers(lens, color, key, 1)[0]) for key in ("width", "height"))
    if not (fx > 0 and fy > 0) or not (0 < width < 2**16 and 0 < height < 2**16):
        raise InputError(f"{lens}: color has focal lengths {fx}, {fy} and size {width} x {height}")
    return Kinect(
        rotation, _numbers(place, config, "translation", 3), np.array([fx, fy]), np.array([cx, cy]), (width, height)
    )


def _table(path: Path, key: str | None) -> dict[str, Any]:
    content = read_json(path, MAX_BYTES)
    table = content.get(key) if key is not None and isinstance(content, dict) else content
    if not isinstance(table, dict):
        raise InputError(f"{path}: want an object{f' with an object {key!r}' if key else ''}")
    return table


def _numbers(path: Path, table: dict[str, Any], key: str, count: int) -> Float[np.ndarray, " n"]:
    raw = table.get(key)
    flat: list[Any] = raw if isinstance(raw, list) else [raw]
    if len(flat) != count or not all(type(value) in (int, float) and abs(value) < 1e6 for value in flat):
        raise InputError(f"{path}: {key} is {str(raw)[:80]}, want {count} number{'s' if count > 1 else ''}")
    return np.array(flat, np.float64)
