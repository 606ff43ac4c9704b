"""What a sample, a truth and a reconstruction are: shapes, frames and units are stated here and nowhere else.

Frames. The SMPL frame is the body model's own at zero global orientation with the pelvis joint (joint 0) moved to
the origin; x to the person's left, y up, z forward. A camera has y down and z forward: `x_cam = R x + t`,
`u = fx X/Z + cx`, and the pixel (x, y) is the point (x, y). Metres, radians, pixels; rotations are axis-angle where
they have 3 numbers and matrices where they have 3 x 3.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped

from wildhoi.errors import InputError

N_BETAS, N_BODY_JOINTS, N_HAND_JOINTS = 10, 21, 15

BodyKind = Literal["open", "smplx", "smplh"]
GENDERS = ("neutral", "male", "female")

Vector3 = Float[np.ndarray, "3"]
Matrix3 = Float[np.ndarray, "3 3"]


def _as_float(owner: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    """Turn the named fields of a frozen dataclass into float64 arrays of the stated shape, or say what is wrong."""
    for name, shape in shapes.items():
        value = getattr(owner, name)
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{name}: got {type(value).__name__}, want numbers of shape {shape}") from None
        if array.shape != shape:
            raise InputError(f"{name}: got shape {array.shape}, want {shape}")
        object.__setattr__(owner, name, array)


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera seen from the SMPL frame: `x_cam = rotation x + translation`, metres and pixels."""

    rotation: Matrix3
    translation: Vector3
    focal: Float[np.ndarray, "2"]
    principal_point: Float[np.ndarray, "2"]

    def __post_init__(self) -> None:
        _as_float(self, {"rotation": (3, 3), "translation": (3,), "focal": (2,), "principal_point": (2,)})


@dataclass(frozen=True, eq=False)
class Human:
    """The parameters of a body in the SMPL frame; axis-angle, radians.

    Hand poses are in the convention of the data set's body model: added to the model's mean hand for SMPL-X and the
    open body, complete by themselves for SMPL-H.
    """

    betas: Float[np.ndarray, "10"]
    body_pose: Float[np.ndarray, "21 3"]
    left_hand_pose: Float[np.ndarray, "15 3"]
    right_hand_pose: Float[np.ndarray, "15 3"]

    def __post_init__(self) -> None:
        hand = (N_HAND_JOINTS, 3)
        shapes = {"betas": (N_BETAS,), "body_pose": (N_BODY_JOINTS, 3), "left_hand_pose": hand, "right_hand_pose": hand}
        _as_float(self, shapes)


@dataclass(frozen=True, eq=False)
class ObjectPose:
    """A template placed in the SMPL frame: `x = scale * rotation v + translation`, metres.

    `angle` turns the template's movable part about its joint first (radians); None for a category without one.
    """

    rotation: Matrix3
    translation: Vector3
    scale: float = 1.0
    angle: float | None = None

    def __post_init__(self) -> None:
        _as_float(self, {"rotation": (3, 3), "translation": (3,)})


@dataclass(frozen=True, eq=False)
class Annotation:
    """The truth of one interaction: it has no input, as a Sample has no truth.

    `video_id` groups what was filmed together: it is the bootstrap's cluster. `gender` picks the body model's file
    (neutral where absent). `visible` is the visible share of the object's silhouette, and `interaction` what the person
    does, a name of the category table, each where known.
    """

    image_id: str
    object: str
    video_id: str
    human: Human
    object_pose: ObjectPose
    camera: Camera
    gender: str = "neutral"
    scene_id: str | None = None
    visible: float | None = None
    interaction: str | None = None


@dataclass(frozen=True, eq=False)
class SceneView:
    """A scene from a further viewpoint, without a picture: the paper's X_2.5D of that view.

    Made for the ablation of supervision. `view` counts the further views of a scene. The keypoints, the body's first 22
    joints and those of the template, are pixels of that camera: exact projections of the truth, in the frame or not.
    """

    scene_id: str
    object: str
    view: int
    camera: Camera
    body_keypoints: Float[np.ndarray, "22 2"]
    object_keypoints: Float[np.ndarray, "k 2"]


@dataclass(frozen=True, eq=False)
class Sample:
    """What a method is given of one interaction: pictures, detections and initial estimates, never the truth.

    The image is a crop of the video frame at native resolution; `image_box` is its rectangle in the frame (x, y,
    width, height, integers), and boxes (x, y of the first and of the last pixel), keypoints, focal and principal point
    are in pixels of the full frame. Masks and maps keep rectangles of their own. Keypoints are x, y and confidence:
    COCO-WholeBody and OpenPose's BODY_25; `body_keypoints` and `object_keypoints` are projections of estimates, NaN
    where there are none. `human`, `jaw_pose`, `expression`, `camera` and `object_pose` are estimates: the tuned body,
    made from the crop `body_box` (x, y, width, height), and the pose solved from the correspondences (None where it
    failed). `focal` and `principal_point` are those of `camera` too, and stand alone where no body is estimated.

    `object_correspondences` are points of the template in metres, 0 where empty, on a grid over its box: cell (j, i)
    of (ch, cw) stands for the pixel (x + i width / cw, y + j height / ch); with weights for both directions where
    something estimated them.
    """

    image_id: str
    object: str
    video_id: str
    image: Shaped[np.ndarray, "h w 3"] | None = None
    image_box: tuple[int, int, int, int] | None = None
    frame_size: tuple[int, int] | None = None
    person_box: Float[np.ndarray, "4"] | None = None
    object_box: Float[np.ndarray, "4"] | None = None
    person_mask: Shaped[np.ndarray, "ph pw"] | None = None
    person_mask_box: tuple[int, int, int, int] | None = None
    object_mask: Shaped[np.ndarray, "oh ow"] | None = None
    object_mask_box: tuple[int, int, int, int] | None = None
    wholebody_keypoints: Float[np.ndarray, "133 3"] | None = None
    openpose_keypoints: Float[np.ndarray, "25 3"] | None = None
    human: Human | None = None
    jaw_pose: Float[np.ndarray, "3"] | None = None
    expression: Float[np.ndarray, "10"] | None = None
    body_box: Float[np.ndarray, "4"] | None = None
    camera: Camera | None = None
    focal: Float[np.ndarray, "2"] | None = None
    principal_point: Float[np.ndarray, "2"] | None = None
    object_pose: ObjectPose | None = None
    object_pose_success: bool = False
    body_keypoints: Float[np.ndarray, "22 2"] | None = None
    object_keypoints: Float[np.ndarray, "k 2"] | None = None
    object_correspondences: Float[np.ndarray, "ch cw 3"] | None = None
    object_correspondences_box: Float[np.ndarray, "4"] | None = None
    object_correspondences_weights: Float[np.ndarray, "ch cw 2"] | None = None
    human_occlusion: Shaped[np.ndarray, "v"] | None = None
    object_occlusion: Shaped[np.ndarray, "n"] | None = None
    gender: str = "neutral"


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What a method says of one interaction; `seconds` is its wall time."""

    image_id: str
    human: Human
    object_pose: ObjectPose
    camera: Camera | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Failure:
    """A method's own word that it has no reconstruction of an image: a value, stored and counted."""

    image_id: str
    reason: str
    seconds: float | None = None
