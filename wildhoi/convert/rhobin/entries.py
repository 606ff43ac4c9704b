"""One image of RHOBIN, a truth or a result: body and object in the camera's frame, and all that is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from wildhoi.convert.pickle_arrays import clip
from wildhoi.convert.smplh import Fit, read_fit
from wildhoi.convert.values import as_numbers, rotation_defect, rotation_error
from wildhoi.geometry import nearest_rotation, rotvec_to_matrix
from wildhoi.schema import Camera, Matrix3, ObjectPose
from wildhoi.submission.defects import Defect, errors, warnings
from wildhoi.submission.table import MAX_NUMBER, SAID_ROTATION_ERROR

Numbers = Float[np.ndarray, "..."]

BODY, ROTATION, ANGLE, TRANSLATION = ("pose", "betas", "trans"), "obj_rot", "obj_angle", "obj_trans"
JOINT_TRACK = (*BODY, ROTATION, TRANSLATION)
SHAPES: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "pose": ((156,), (72,)),
    "betas": ((10,), (16,)),
    "trans": ((3,),),
    ROTATION: ((3, 3),),
    ANGLE: ((3,),),
    TRANSLATION: ((3,),),
}


@dataclass
class Entry:
    """What was read of one image: valid fields by RHOBIN's names, and the defects of the others."""

    image_id: str
    row: int
    values: dict[str, np.ndarray] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)
    not_finite: list[str] = field(default_factory=list)

    def add(self, code: str, found: str, expected: str, hint: str, severity: str = "error") -> None:
        """Note a defect of this image."""
        self.defects.append(Defect(code, found, expected, hint, self.row, self.image_id, severity))

    @property
    def is_only_not_finite(self) -> bool:
        """Whether NaN or infinite numbers are all that is wrong."""
        return {defect.code for defect in errors(self.defects)} == {"not-finite"}

    def excuse(self, hint: str) -> str:
        """Turn the defects of numbers that are not finite into one warning; returns what was found."""
        found = f"NaN or infinity in {', '.join(self.not_finite)}"
        self.defects = warnings(self.defects)
        self.add("not-finite", found, "finite numbers", hint, "warning")
        return found

    def fit(self, gender: str) -> Fit:
        """The body of a valid entry, with the pelvis of that gender's SMPL-H file."""
        return read_fit(self.values["pose"], self.values["betas"], self.values["trans"], gender)

    def object_pose(self, fit: Fit) -> ObjectPose:
        """The object of a valid entry, in the SMPL frame of the body."""
        return fit.place(self.values[ROTATION], self.values[TRANSLATION])


def image_camera(fit: Fit, focal: Float[np.ndarray, "2"], principal_point: Float[np.ndarray, "2"]) -> Camera:
    """The camera whose own frame a fit is in."""
    return fit.camera(np.eye(3), np.zeros(3), focal, principal_point)


def read_entry(raw: Any, image_id: str, row: int) -> Entry:
    """Check every field of an image; no defect hides another.

    `pose` has 156 numbers (SMPL-H) or 72 (SMPL), `betas` 10 or 16; axes of size 1 are dropped. The object's rotation
    may be a matrix `obj_rot` or, without one, axis-angle `obj_angle`. Matrices near a rotation become one.
    """
    entry = Entry(image_id, row)
    if not isinstance(raw, dict):
        entry.add("entry-type", f"a {type(raw).__name__}", "a dict", f"one dict per image, with {', '.join(BODY)}, ...")
        return entry
    rotation = ANGLE if ANGLE in raw and ROTATION not in raw else ROTATION
    for name in (*BODY, rotation, TRANSLATION):
        if name in raw:
            _read_field(entry, name, raw[name])
        else:
            entry.add("value-missing", f"no {name}", f"{name} of shape {_shapes(name)}", "write the field again")
    if ANGLE in entry.values:
        entry.values[ROTATION] = rotvec_to_matrix(entry.values.pop(ANGLE))
    return entry


def _read_field(entry: Entry, name: str, raw: Any) -> None:
    array = as_numbers(raw)
    if array is None:
        found = f"{name} as {raw.dtype if isinstance(raw, np.ndarray) else clip(raw, 40)}"
        entry.add("value-type", found, f"numbers of shape {_shapes(name)}", "store a float array")
        return
    shape = tuple(size for size in array.shape if size != 1)
    if shape not in SHAPES[name]:
        hint = "SMPL-H parameters of one image, in the camera's frame"
        entry.add("value-shape", f"{name} of shape {array.shape}", _shapes(name), hint)
    elif not np.isfinite(array).all():
        entry.not_finite.append(name)
        hint = "leave the image out, or convert with --nan-as-failed if it is the object's pose"
        entry.add("not-finite", f"NaN or infinity in {name}", "finite numbers", hint)
    elif name == ROTATION:
        entry.values[name] = _read_rotation(entry, array.reshape(shape))
    else:
        if np.abs(array).max() > MAX_NUMBER:
            entry.add("too-large", f"{name} beyond {MAX_NUMBER:g}", "metres and radians", "leave the image out")
        entry.values[name] = array.reshape(shape)


def _shapes(name: str) -> str:
    return " or ".join(map(str, SHAPES[name]))


def _read_rotation(entry: Entry, matrix: Matrix3) -> Matrix3:
    """The nearest rotation; says where a matrix is not quite one, and reports one that is none."""
    if defect := rotation_defect(matrix):
        entry.add(defect[0], f"{ROTATION} {defect[1]}", "a rotation", "orthonormalise it, rows before columns")
        return matrix
    error = rotation_error(matrix)
    if error > SAID_ROTATION_ERROR:
        found = f"{ROTATION} off orthonormal by {error:.3g}"
        entry.add("rotation-projected", found, "a rotation", "the nearest rotation is used", "warning")
    return nearest_rotation(matrix)
