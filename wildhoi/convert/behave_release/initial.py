"""Initial estimates from a Parquet file: bodies, object poses and correspondences that someone's networks found.

Columns by image; all but `image_id` may be absent, or null in a row. Metres, radians, pixels of the whole picture.

- the body: `betas` (10), `body_pose` (63), `left_hand_pose` and `right_hand_pose` (45 each, straight where absent),
  and the camera from its pelvis: `camera_rotation` (9, row by row), `camera_translation` (3);
- the object: `object_rotation` and `object_translation` in the SMPL frame of that body, or
  `object_camera_rotation` and `object_camera_translation` in the camera frame; `object_scale` where it is not 1;
- correspondences: `x3d` (4096 x 3), `x2d` and `w2d` (4096 x 2), 64 x 64 cells row by row, x fastest.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from wildhoi import columns
from wildhoi.convert.behave_release.calibration import Kinect
from wildhoi.convert.behave_release.correspondences import Correspondences, read_grid
from wildhoi.convert.values import rotation_defect
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.geometry import nearest_rotation
from wildhoi.schema import Camera, Human, Matrix3, ObjectPose

ROTATION_TOLERANCE = 1e-2  # networks write float32, or rounded numbers
BODY = ("betas", "body_pose")
HANDS = ("left_hand_pose", "right_hand_pose")
CAMERA = ("camera_rotation", "camera_translation")
IN_SMPL = ("object_rotation", "object_translation")
IN_CAMERA = ("object_camera_rotation", "object_camera_translation")
MAPS = ("x3d", "x2d", "w2d")

LAYOUT = columns.Layout(
    texts=("image_id",),
    numbers={},
    optional_numbers={
        **columns.HUMAN,
        "camera_rotation": (3, 3),
        "camera_translation": (3,),
        **columns.OBJECT,
        "object_camera_rotation": (3, 3),
        "object_camera_translation": (3,),
        "x3d": (4096, 3),
        "x2d": (4096, 2),
        "w2d": (4096, 2),
    },
)
WHOLE_SECOND = re.compile(r"_(\d{3})_(\d)$", re.ASCII)
IDS = columns.Layout(texts=("image_id",), numbers={})


def in_full(image_id: str) -> str:
    """An image id with its time to the millisecond: `.._026_0` and `.._026.000_0` are one image."""
    return WHOLE_SECOND.sub(r"_\1.000_\2", image_id)


@dataclass(frozen=True)
class Estimate:
    """What a file says of one image, and what of it could not be used."""

    human: Human | None = None
    camera: Camera | None = None
    object_pose: ObjectPose | None = None
    correspondences: Correspondences | None = None
    problems: tuple[str, ...] = ()


def find_files(init: Path) -> list[Path]:
    """The Parquet files of initial estimates: the one given, or those of the folder given.

    Raises:
        MissingAssetError: there is none.
    """
    files = [init] if init.is_file() else sorted(init.glob("*.parquet"))
    if not files:
        raise MissingAssetError(f"{init}: no such file, and no folder of .parquet files with initial estimates")
    return files


@dataclass(frozen=True)
class FileFacts:
    """What a file of estimates has: images, and whether anything of the object."""

    images: frozenset[str]
    objects: bool


def check_file(path: Path) -> FileFacts:
    """Read a whole file once, before long work is done with it.

    Raises:
        InputError: it is no readable file of estimates, or has an image twice.
    """
    table = read_file(path)
    names = [in_full(name) for name in table.texts["image_id"] if name]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise InputError(f"{path}: image_id {twice[0]!r} is there twice ({len(twice)} such), want each image once")
    objects = any(bool(table.present[name].any()) for name in (*IN_SMPL, *IN_CAMERA, *MAPS) if name in table.present)
    return FileFacts(frozenset(names), objects)


def check_files(paths: list[Path]) -> dict[Path, FileFacts]:
    """Read all files of estimates once.

    Raises:
        InputError: one is no readable file of estimates, or an image is in two of them or twice in one.
    """
    found = {path: check_file(path) for path in paths}
    owners: dict[str, Path] = {}
    for path, facts in found.items():
        for image_id in sorted(facts.images & owners.keys()):
            raise InputError(f"{path}: image_id {image_id!r} is in {owners[image_id]} too, want each image once")
        owners.update(dict.fromkeys(facts.images, path))
    return found


def read_file(path: Path) -> columns.Columns:
    """Read a file of estimates.

    Raises:
        InputError: the file is not Parquet, too large, or a column has the wrong type or length.
    """
    table = columns.read_columns(path, LAYOUT)
    if table.problems:
        raise InputError(f"{path}: {'; '.join(map(str, table.problems[:5]))}")
    return table


_keep_file = lru_cache(maxsize=2)(read_file)  # files by sequence or by camera; one with maps takes up to a gigabyte


class Estimates:
    """The estimates of a few files by image."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._places: dict[str, tuple[Path, int]] = {}
        for path in files:
            names = columns.read_columns(path, IDS).texts["image_id"]
            self._places.update({in_full(name): (path, row) for row, name in enumerate(names) if name})

    def find(self, image_id: str, kinect: Kinect) -> Estimate | None:
        """The estimate of an image; None where no file knows it."""
        place = self._places.get(in_full(image_id))
        if place is None:
            return None
        path, row = place
        table = _keep_file(path)
        values = {name: array[row] for name, array in table.numbers.items() if table.present[name][row]}
        return _estimate(values, kinect)


def _estimate(values: Mapping[str, np.ndarray], kinect: Kinect) -> Estimate:
    problems: list[str] = []
    bad = [name for name, value in values.items() if name not in MAPS and not np.isfinite(value).all()]
    if bad:
        problems.append("initial estimate with NaN or infinite numbers")
    values = {name: value for name, value in values.items() if name not in bad}
    camera = _camera(values, kinect, problems)
    found = _correspondences(values, problems)
    pose = _object_pose(values, camera, problems)
    return Estimate(_human(values), camera, pose, found, tuple(problems))


def _correspondences(values: Mapping[str, np.ndarray], problems: list[str]) -> Correspondences | None:
    maps = [values[name] for name in MAPS if name in values]
    if not maps:
        return None
    if len(maps) < len(MAPS):
        problems.append("correspondences without one of x3d, x2d, w2d")
        return None
    found = read_grid(maps[0], maps[1], maps[2])
    if isinstance(found, str):
        problems.append(found)
        return None
    return found


def _human(values: Mapping[str, np.ndarray]) -> Human | None:
    if not all(name in values for name in BODY):
        return None
    left, right = (values.get(name, np.zeros((15, 3))) for name in HANDS)
    return Human(values["betas"], values["body_pose"], left, right)


def _camera(values: Mapping[str, np.ndarray], kinect: Kinect, problems: list[str]) -> Camera | None:
    if not all(name in values for name in CAMERA):
        return None
    rotation = _rotation(values["camera_rotation"])
    if rotation is None:
        problems.append("initial camera_rotation is no rotation")
        return None
    return Camera(rotation, values["camera_translation"], kinect.focal, kinect.principal_point)


def _object_pose(values: Mapping[str, np.ndarray], camera: Camera | None, problems: list[str]) -> ObjectPose | None:
    """The object in the SMPL frame of the estimated body."""
    names = next((names for names in (IN_SMPL, IN_CAMERA) if all(name in values for name in names)), None)
    if names is None:
        return None
    rotation, scale = _rotation(values[names[0]]), float(values.get("object_scale", np.float64(1.0)))
    if rotation is None or not scale > 0:
        problems.append("initial object pose is no rotation, or has no positive scale")
        return None
    pose = ObjectPose(rotation, values[names[1]], scale)
    if names == IN_SMPL:
        return pose
    if camera is None:
        problems.append("initial object pose in the camera frame, but no camera of an estimated body")
        return None
    return from_camera(pose, camera)


def from_camera(pose: ObjectPose, camera: Camera) -> ObjectPose:
    """A pose of the camera frame in the SMPL frame: `R_rel = R^T R_o`, `t_rel = R^T (t_o - t)`."""
    inverse = camera.rotation.T
    return ObjectPose(inverse @ pose.rotation, inverse @ (pose.translation - camera.translation), pose.scale)


def _rotation(matrix: Float[np.ndarray, "3 3"]) -> Matrix3 | None:
    return None if rotation_defect(matrix, ROTATION_TOLERANCE) else nearest_rotation(matrix)
