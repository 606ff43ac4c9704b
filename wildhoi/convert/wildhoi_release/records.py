"""One record of the WildHOI release, an annotation or a result, as our types, with everything that is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from wildhoi.convert.pickle_arrays import clip
from wildhoi.convert.values import as_numbers, rotation_defect, rotation_error
from wildhoi.dataset.annotations import ROTATION_TOLERANCE
from wildhoi.geometry import nearest_rotation
from wildhoi.schema import Camera, Human, ObjectPose
from wildhoi.submission.defects import Defect
from wildhoi.submission.table import MAX_NUMBER, SAID_ROTATION_ERROR

HUMAN = {"smplx_betas": (10,), "smplx_body_pose": (21, 3), "smplx_lhand_pose": (15, 3), "smplx_rhand_pose": (15, 3)}
OBJECT = {"obj_rel_rotmat": (3, 3), "obj_rel_trans": (3,), "object_scale": (1,)}
ANGLE = {"object_rot_angle": (1,)}
CAMERA = {"hoi_rotmat": (3, 3), "hoi_trans": (3,), "focal": (2,), "princpt": (2,)}
IGNORED = ("image_id", "crop_bboxes")
ROTATIONS = ("obj_rel_rotmat", "hoi_rotmat")
FIELDS: Mapping[str, tuple[int, ...]] = {**HUMAN, **OBJECT, **ANGLE, **CAMERA}
FAILED_HINT = "mark the image as failed (status failed), or convert with --nan-as-failed"


@dataclass
class Record:
    """What was read of one record: valid fields by their names in the release, and the defects of the others.

    `rotation_error` is the largest deviation from orthonormal among its rotations before they were projected.
    """

    image_id: str
    row: int | None = None
    values: dict[str, np.ndarray] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)
    not_finite: list[str] = field(default_factory=list)
    rotation_error: float = 0.0

    def add(self, code: str, found: str, expected: str, hint: str, severity: str = "error") -> None:
        """Note a defect of this record."""
        self.defects.append(Defect(code, found, expected, hint, self.row, self.image_id, severity))

    @property
    def is_not_finite(self) -> bool:
        """Whether NaN or infinite numbers are the record's only defect."""
        return {defect.code for defect in self.defects if defect.severity == "error"} == {"not-finite"}

    @property
    def object_is_not_finite(self) -> bool:
        """Whether NaN or infinite numbers are the record's only defect, and all in the object's pose (a failed PnP)."""
        broken = {defect.code for defect in self.defects if defect.severity == "error"}
        return broken == {"not-finite"} and set(self.not_finite) <= {*OBJECT, *ANGLE}

    @property
    def human(self) -> Human:
        """The body of a valid record."""
        return Human(*(self.values[name] for name in HUMAN))

    @property
    def object_pose(self) -> ObjectPose:
        """The object's pose of a valid record."""
        rotation, translation, scale = (self.values[name] for name in OBJECT)
        angle = self.values.get("object_rot_angle")
        return ObjectPose(rotation, translation, float(scale[0]), None if angle is None else float(angle[0]))

    @property
    def camera(self) -> Camera | None:
        """The camera of a valid record, None where it has none."""
        return Camera(*(self.values[name] for name in CAMERA)) if "hoi_rotmat" in self.values else None


def read_record(raw: Mapping[str, Any], image_id: str, row: int | None, *, camera_required: bool) -> Record:
    """Check every field of a record; no defect hides another.

    Args:
        raw: the record, keyed as in the release.
        image_id: for the messages; of a result, its own entry.
        row: position in the result list, None for an annotation.
        camera_required: whether a record without any camera field is invalid.
    """
    record = Record(image_id, row)
    has_camera = camera_required or any(name in raw for name in CAMERA)
    for name in (*HUMAN, *OBJECT, *(CAMERA if has_camera else ())):
        if name not in raw:
            record.add("value-missing", f"no {name}", f"{name} of shape {FIELDS[name]}", "write the field again")
    for name, shape in FIELDS.items():
        if name in raw:
            _read_field(record, name, raw[name], shape)
    return record


def _read_field(record: Record, name: str, raw: Any, shape: tuple[int, ...]) -> None:
    array = as_numbers(raw)
    if array is None:
        found = f"an array of {raw.dtype}" if isinstance(raw, np.ndarray) else _kind(raw)
        record.add("value-type", f"{name} as {found}", f"numbers of shape {shape}", "store a float array")
    elif _without_ones(array.shape) != _without_ones(shape):
        record.add(
            "value-shape", f"{name} of shape {array.shape}", f"{shape}", "SMPL-X, 21 body and 15 + 15 hand joints"
        )
    elif not np.isfinite(array).all():
        record.not_finite.append(name)
        record.add("not-finite", f"NaN or infinity in {name}", "finite numbers", FAILED_HINT)
    else:
        _check_values(record, name, array.reshape(shape))


def _kind(raw: Any) -> str:
    """What a field holds instead of numbers: `a list of str`, `None`, `str 'one'`."""
    if isinstance(raw, (list, tuple)):
        kinds = sorted({type(item).__name__ for item in raw})
        return f"a {type(raw).__name__} of {' and '.join(kinds)}"
    shown = clip(raw, 40)
    return shown if raw is None or shown.startswith("a ") else f"{type(raw).__name__} {shown}"


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _check_values(record: Record, name: str, array: Float[np.ndarray, "..."]) -> None:
    if name in ROTATIONS:
        array = _check_rotation(record, name, array)
    elif np.abs(array).max() > MAX_NUMBER:
        record.add("too-large", f"{name} beyond {MAX_NUMBER:g}", "metres, radians or pixels", FAILED_HINT)
    elif name == "object_scale" and array[0] <= 0:
        record.add("object-scale", f"object_scale {array[0]:g}", "greater than 0", "1 is the template's own size")
    elif name == "focal" and (array <= 0).any():
        record.add("focal", f"focal {array.tolist()}", "greater than 0", "focal lengths in pixels of the full frame")
    record.values[name] = array


def _check_rotation(record: Record, name: str, matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """Project a matrix that is nearly a rotation, and say so; report one that is not."""
    defect = rotation_defect(matrix)
    if defect is not None:
        code, found = defect
        wanted = f"off by at most {ROTATION_TOLERANCE:g}, determinant +1"
        record.add(code, f"{name} {found}", wanted, "orthonormalise it, rows before columns")
        return matrix
    error = rotation_error(matrix)
    if error > SAID_ROTATION_ERROR:
        found = f"{name} off orthonormal by {error:.3g}"
        record.add("rotation-projected", found, "a rotation", "the nearest rotation is used", "warning")
    record.rotation_error = max(record.rotation_error, error)
    return nearest_rotation(matrix)
