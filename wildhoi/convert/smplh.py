"""SMPL-H fits in a world or camera frame, as BEHAVE and RHOBIN store them, brought into the SMPL frame."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from wildhoi.convert.values import as_numbers
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.geometry import rotvec_to_matrix
from wildhoi.schema import N_BETAS, Camera, Human, ObjectPose, Vector3

N_POSE, N_SMPL_POSE = 156, 72
RIGHT_HAND = slice(111, 114)  # of an SMPL-H pose: its joint 37, where SMPL has its one right-hand joint
SMPL_BODY, SMPL_RIGHT_HAND = slice(0, 69), slice(69, 72)


@dataclass(frozen=True)
class Fit:
    """An SMPL-H body: its parameters, and where it stands; `x = rotation (v - pelvis) + pelvis + trans`, metres."""

    human: Human
    rotation: Float[np.ndarray, "3 3"]
    pelvis: Vector3
    trans: Vector3

    @property
    def root(self) -> Vector3:
        """The pelvis joint in the fit's own frame, metres."""
        return np.asarray(self.pelvis + self.trans)

    def camera(
        self,
        rotation: Float[np.ndarray, "3 3"],
        translation: Vector3,
        focal: Float[np.ndarray, "2"],
        principal_point: Float[np.ndarray, "2"],
    ) -> Camera:
        """The camera seen from the SMPL frame: `R = C^T Rg`, `t = C^T (J0 + trans - c)`.

        Given are C and c, which tell how it stands in the fit's frame: `x = C x_cam + c`.
        """
        return Camera(rotation.T @ self.rotation, rotation.T @ (self.root - translation), focal, principal_point)

    def place(self, rotation: Float[np.ndarray, "3 3"], translation: Vector3) -> ObjectPose:
        """An object of the fit's frame in the SMPL frame: `R_rel = Rg^T R_o`, `t_rel = Rg^T (t_o - root)`."""
        return ObjectPose(self.rotation.T @ rotation, self.rotation.T @ (translation - self.root))


def read_fit(pose: object, betas: object, trans: object, gender: str) -> Fit:
    """Make a fit of raw numbers.

    Args:
        pose: (156,) SMPL-H axis-angle, or (72,) SMPL's, whose hands become wrist joints with straight fingers.
        betas: (10,) or more, of which the first 10 count.
        trans: (3,) or (1, 3), metres.
        gender: picks the body file that the pelvis comes from.

    Raises:
        InputError: wrong shapes, or NaN or infinite numbers.
        MissingAssetError: the SMPL-H file of that gender is not there.
    """
    full = full_pose(finite_numbers("pose", pose))
    shape, place = finite_numbers("betas", betas), finite_numbers("trans", trans)
    if len(shape) < N_BETAS or place.shape != (3,):
        raise InputError(f"betas of {len(shape)} and trans of {len(place)} numbers, want at least {N_BETAS} and 3")
    shape = shape[:N_BETAS]
    human = Human(shape, full[3:66].reshape(21, 3), full[66:111].reshape(15, 3), full[111:].reshape(15, 3))
    return Fit(human, rotvec_to_matrix(full[:3]), pelvis(gender, tuple(shape.tolist())), place)


def full_pose(pose: Float[np.ndarray, " n"]) -> Float[np.ndarray, "156"]:
    """An SMPL-H pose of 156 numbers; one of 72 is SMPL's: its left hand is joint 22, its right hand becomes joint 37.

    Raises:
        InputError: any other length.
    """
    if len(pose) == N_POSE:
        return pose
    if len(pose) != N_SMPL_POSE:
        raise InputError(f"pose of {len(pose)} numbers, want {N_POSE} (SMPL-H) or {N_SMPL_POSE} (SMPL)")
    full = np.zeros(N_POSE)
    full[SMPL_BODY], full[RIGHT_HAND] = pose[SMPL_BODY], pose[SMPL_RIGHT_HAND]
    return full


def finite_numbers(name: str, value: object) -> Float[np.ndarray, " n"]:
    """A flat float64 array.

    Raises:
        InputError: not numbers, or NaN or infinite ones; says `name`.
    """
    array = as_numbers(value)
    if array is None or array.ndim > 2 or not np.isfinite(array).all():
        raise InputError(f"{name}: not an array of finite numbers")
    return array.reshape(-1)


def pelvis(gender: str, betas: tuple[float, ...]) -> Vector3:
    """The pelvis joint J0 of the shaped SMPL-H template, metres; it depends on shape and gender, not on the pose.

    Raises:
        MissingAssetError: the SMPL-H file of that gender is not there.
    """
    from wildhoi.body.loading import FOLDER_VARIABLE

    return _pelvis(gender, betas, os.environ.get(FOLDER_VARIABLE))


@lru_cache(maxsize=4096)
def _pelvis(gender: str, betas: tuple[float, ...], folder: str | None) -> Vector3:
    """The joint by the folder that the body file is in, because that may change."""
    # the one place where a conversion needs a body, and with it torch
    import torch

    from wildhoi.body import load_body
    from wildhoi.body.loading import FOLDER_VARIABLE, LICENCES

    try:
        body = load_body("smplh", gender=gender, folder=None if folder is None else Path(folder))
    except MissingAssetError:
        raise MissingAssetError(
            f"body model smplh/SMPLH_{gender.upper()}.npz (or .pkl) is missing: a conversion needs the pelvis of every "
            f"body; get it under its licence from {LICENCES['smplh']}, and let {FOLDER_VARIABLE} name the folder "
            f"that it is put into (now: {folder or 'not set'})"
        ) from None
    return np.asarray(body.pelvis(torch.tensor([betas], dtype=torch.float64))[0].numpy())
