"""Names of joints, and the arrays a body file holds."""

from typing import get_args

from wildhoi.schema import N_HAND_JOINTS, BodyKind

KINDS: tuple[BodyKind, ...] = get_args(BodyKind)

SIDES = ("left", "right")
FINGERS = ("index", "middle", "pinky", "ring", "thumb")

BODY_JOINTS = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
FACE_JOINTS = ("jaw", "left_eye", "right_eye")
HAND_JOINTS = tuple(f"{side}_{finger}{phalanx}" for side in SIDES for finger in FINGERS for phalanx in (1, 2, 3))

# The smallest mesh that holds the vertices behind the extra joints of the `smplx` classes.
FEWEST_VERTICES = {"open": 9930, "smplx": 9930, "smplh": 6788}


def joint_names(kind: BodyKind) -> tuple[str, ...]:
    """List the joints in file order: 55, or the 52 of SMPL-H, which has no jaw and no eyes."""
    return BODY_JOINTS + (() if kind == "smplh" else FACE_JOINTS) + HAND_JOINTS


def wanted_shapes(kind: BodyKind) -> dict[str, tuple[str | int, ...]]:
    """State each array read from a body file and its shape; V and F are free, S is at least 10."""
    joints = len(joint_names(kind))
    return {
        "v_template": ("V", 3),
        "shapedirs": ("V", 3, "S"),
        "posedirs": ("V", 3, 9 * (joints - 1)),
        "J_regressor": (joints, "V"),
        "weights": ("V", joints),
        "kintree_table": (2, joints),
        "f": ("F", 3),
        "hands_meanl": (3 * N_HAND_JOINTS,),
        "hands_meanr": (3 * N_HAND_JOINTS,),
    }
