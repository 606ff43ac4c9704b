"""The 55 joints of the SMPL-X layout, and where each is found in the MakeHuman rig."""

import numpy as np

N_VERTICES = 10475
SIDES = {"left": "l", "right": "r"}
FINGERS = {"index": 2, "middle": 3, "pinky": 5, "ring": 4, "thumb": 1}  # name: number in the MakeHuman rig

BODY = [
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "jaw", "left_eye", "right_eye",
]  # fmt: skip
NAMES = BODY + [f"{side}_{finger}{k}" for side in SIDES for finger in FINGERS for k in (1, 2, 3)]
JOINT = {name: i for i, name in enumerate(NAMES)}


def _parents() -> np.ndarray:
    body = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15]
    fingers = [
        JOINT[f"{side}_wrist"] if k == 1 else JOINT[f"{side}_{finger}{k - 1}"]
        for side in SIDES
        for finger in FINGERS
        for k in (1, 2, 3)
    ]
    return np.array(body + fingers)


PARENTS = _parents()

# The `smplx` class reads its extra joints (nose, eyes, toes, finger tips, ...) from these vertex numbers.
SLOTS = {
    "nose": 9120, "reye": 9929, "leye": 9448, "rear": 616, "lear": 6, "rthumb": 8079, "rindex": 7669, "rmiddle": 7794,
    "rring": 7905, "rpinky": 8022, "lthumb": 5361, "lindex": 4933, "lmiddle": 5058, "lring": 5169, "lpinky": 5286,
    "LBigToe": 5770, "LSmallToe": 5780, "LHeel": 8846, "RBigToe": 8463, "RSmallToe": 8474, "RHeel": 8635,
}  # fmt: skip

_BONE_JOINT = {
    "root": "pelvis", "pelvis": "pelvis", "spine05": "pelvis", "spine04": "spine1", "spine03": "spine2",
    "spine02": "spine3", "spine01": "spine3", "breast": "spine3", "clavicle": "collar", "shoulder01": "collar",
    "upperarm01": "shoulder", "upperarm02": "shoulder", "lowerarm01": "elbow", "lowerarm02": "elbow", "wrist": "wrist",
    "upperleg01": "hip", "upperleg02": "hip", "lowerleg01": "knee", "lowerleg02": "knee", "foot": "ankle",
    "neck01": "neck", "neck02": "neck", "neck03": "neck", "head": "head", "jaw": "jaw", "eye": "eye",
}  # fmt: skip
_BONE_PREFIX_JOINT = {
    "metacarpal": "wrist", "toe": "foot", "tongue": "jaw", "special04": "jaw", "oris06": "jaw", "oris07": "jaw",
    "oris02": "jaw", "oris01": "jaw",
}  # fmt: skip
_FINGER_OF_NUMBER = {number: name for name, number in FINGERS.items()}


def joint_of_bone(bone: str) -> int:
    """Map one of the 163 MakeHuman bones to the joint that moves it; face bones without a joint follow the head."""
    stem, side = (bone[:-2], {".L": "left_", ".R": "right_"}[bone[-2:]]) if bone[-2:] in (".L", ".R") else (bone, "")
    if stem in _BONE_JOINT:
        joint = _BONE_JOINT[stem]
    elif stem.startswith("finger"):  # finger2-3: second finger, third phalanx
        joint = _FINGER_OF_NUMBER[int(stem[6])] + stem[8]
    else:
        joint = next((j for prefix, j in _BONE_PREFIX_JOINT.items() if stem.startswith(prefix)), "head")
    return JOINT[joint] if joint in JOINT else JOINT[side + joint]


def joint_markers() -> list[list[str]]:
    """Name, per joint, the MakeHuman marker cubes whose mean is the joint's position."""
    markers = {
        "pelvis": ["joint-pelvis"], "spine1": ["joint-spine-4"], "spine2": ["joint-spine-3"],
        "spine3": ["joint-spine-2"], "neck": ["joint-neck"], "head": ["joint-head"], "jaw": ["joint-mouth"],
    }  # fmt: skip
    limbs = {
        "hip": "upper-leg", "knee": "knee", "ankle": "ankle", "collar": "clavicle", "shoulder": "shoulder",
        "elbow": "elbow", "wrist": "hand", "eye": "eye",
    }  # fmt: skip
    for side, s in SIDES.items():
        markers |= {f"{side}_{joint}": [f"joint-{s}-{marker}"] for joint, marker in limbs.items()}
        markers[f"{side}_foot"] = [f"joint-{s}-toe-{k}-1" for k in range(1, 6)]
        for finger, number in FINGERS.items():
            markers |= {f"{side}_{finger}{k}": [f"joint-{s}-finger-{number}-{k}"] for k in (1, 2, 3)}
    return [markers[name] for name in NAMES]


def tip_markers() -> dict[int, str]:
    """Name the marker cube at the tip of each finger, by the finger's last joint."""
    return {
        JOINT[f"{side}_{finger}3"]: f"joint-{s}-finger-{number}-4"
        for side, s in SIDES.items()
        for finger, number in FINGERS.items()
    }
