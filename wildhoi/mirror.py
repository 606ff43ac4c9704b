"""Left and right exchanged: a sample as its picture would be seen in a mirror.

The frame of width W is reflected by `x -> W - 1 - x`, since the pixel (x, y) is the point (x, y). Space is reflected
by `M = diag(-1, 1, 1)`, in the SMPL frame and in the camera's alike. What has a name with a side takes the place of
its twin: the left wrist of the mirrored person is the right wrist of the person. Every map here undoes itself.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from wildhoi.errors import InputError
from wildhoi.objects import Category, find_category
from wildhoi.schema import Camera, Human, Sample

REFLECTION = np.array([-1.0, 1.0, 1.0])
"""The diagonal of M."""
AXIAL = np.array([1.0, -1.0, -1.0])
"""What M does to axis-angle: `M Rot(w) M = Rot(-M w)`, a rotation's axis being a pseudovector."""

Box = tuple[int, int, int, int]


def _exchange(count: int, pairs: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """The permutation of `count` places that exchanges the pairs and leaves the others."""
    table = list(range(count))
    for a, b in pairs:
        table[a], table[b] = b, a
    return tuple(table)


# SMPL's tree numbers a left joint before its right twin: hips, knees, ankles, feet, collars, shoulders, elbows, wrists.
BODY_EXCHANGE = _exchange(22, [(1, 2), (4, 5), (7, 8), (10, 11), (13, 14), (16, 17), (18, 19), (20, 21)])

# BODY_25 has nose 0, neck 1, right arm 2-4, left arm 5-7, hips' middle 8, right leg 9-11, left leg 12-14, right then
# left eye 15 16, right then left ear 17 18, left foot 19-21 and right foot 22-24 (big toe, small toe, heel).
OPENPOSE_EXCHANGE = _exchange(
    25, [(2, 5), (3, 6), (4, 7), (9, 12), (10, 13), (11, 14), (15, 16), (17, 18), (19, 22), (20, 23), (21, 24)]
)

# Pairs of the 68 face points, counted from the first. The outlines of jaw, brows, nostrils and lips run from one side
# to the other, so their twins are counted from the other end; the bridge of the nose (27-30) and the middle of the lips
# (51, 57, 62, 66) lie on the plane. An eye runs around: its upper side from 36 to 39 (43 42 of its twin: inner corner
# first), then its lower side back.
FACE_PAIRS = (
    *((k, 16 - k) for k in range(8)),  # jaw 0-16, 8 is the chin
    *((17 + k, 26 - k) for k in range(5)),  # brows 17-21, 22-26
    *((31 + k, 35 - k) for k in range(2)),  # nostrils 31-35
    *((36 + k, 45 - k) for k in range(4)),  # eyes, upper sides: 36-39, 42-45
    *((40 + k, 47 - k) for k in range(2)),  # eyes, lower sides: 40 41, 46 47
    *((48 + k, 54 - k) for k in range(3)),  # outer lip, above: 48-54
    *((55 + k, 59 - k) for k in range(2)),  # outer lip, below: 55-59
    *((60 + k, 64 - k) for k in range(2)),  # inner lip, above: 60-64
    (65, 67),  # inner lip, below: 65-67
)

# COCO-WholeBody joins the 17 of COCO (nose, then left before right: eyes, ears, shoulders, elbows, wrists, hips, knees,
# ankles), 6 of the feet (left big toe, small toe, heel, then right), 68 of the face, 21 of the left hand and 21 of the
# right hand.
FEET, FACE, LEFT_HAND, RIGHT_HAND = 17, 23, 91, 112
WHOLEBODY_EXCHANGE = _exchange(
    133,
    [
        *((k, k + 1) for k in range(1, 17, 2)),
        *((FEET + k, FEET + 3 + k) for k in range(3)),
        *((FACE + a, FACE + b) for a, b in FACE_PAIRS),
        *((LEFT_HAND + k, RIGHT_HAND + k) for k in range(21)),
    ],
)


def mirror_sample(sample: Sample) -> Sample:
    """The sample as seen in a mirror, left and right exchanged in the picture, the person and the object's keypoints.

    Dropped, because what the mirror makes of them is not known: the object's pose and correspondences (the table has no
    mirror plane of a template), both occlusions (nor which vertices are twins), and the expression (its components have
    no sides). Betas stay as they are: the shapes of body models are symmetric but for noise.

    Raises:
        InputError: the object does not look like itself in a mirror, or the frame's width is not known.
    """
    category = find_category(sample.object)
    _require_mirrored(category)
    if sample.frame_size is None:
        raise InputError(f"{sample.image_id}: frame_size is absent, want (width, height): it says where the mirror is")
    width = sample.frame_size[0]
    return replace(
        sample,
        **_pictures(sample, width),
        **_keypoints(sample, category, width),
        **_estimates(sample, width),
        object_pose=None,
        object_pose_success=False,
        object_correspondences=None,
        object_correspondences_box=None,
        object_correspondences_weights=None,
        human_occlusion=None,
        object_occlusion=None,
        expression=None,
    )


def mirror_body_keypoints(points: Float[np.ndarray, "*batch 22 2"], width: int) -> Float[np.ndarray, "*batch 22 2"]:
    """The 22 SMPL joints in the picture, pixels, as seen in a mirror; NaN stays NaN."""
    return _mirror_points(points, width)[..., BODY_EXCHANGE, :]


def mirror_wholebody(points: Float[np.ndarray, "*batch 133 3"], width: int) -> Float[np.ndarray, "*batch 133 3"]:
    """COCO-WholeBody keypoints (x, y, confidence) as seen in a mirror; what was not found stays where it is."""
    return _mirror_points(points, width)[..., WHOLEBODY_EXCHANGE, :]


def mirror_openpose(points: Float[np.ndarray, "*batch 25 3"], width: int) -> Float[np.ndarray, "*batch 25 3"]:
    """OpenPose's BODY_25 (x, y, confidence) as seen in a mirror; what was not found stays where it is."""
    return _mirror_points(points, width)[..., OPENPOSE_EXCHANGE, :]


def mirror_object_keypoints(
    points: Float[np.ndarray, "*batch k 2"], category: Category, width: int
) -> Float[np.ndarray, "*batch k 2"]:
    """A category's keypoints in the picture, pixels, as seen in a mirror; NaN stays NaN.

    Raises:
        InputError: the object does not look like itself in a mirror, or it has another number of keypoints.
    """
    _require_mirrored(category)
    flip = category.keypoint_flip
    if points.shape[-2] != len(flip):
        raise InputError(f"keypoints of {category.name}: got {points.shape[-2]}, want the {len(flip)} of the table")
    return _mirror_points(points, width)[..., flip, :]


def mirror_human(human: Human) -> Human:
    """The person in the mirror: poses of the sides exchanged, axis-angle (x, -y, -z), the same betas."""
    joints = np.array(BODY_EXCHANGE[1:]) - 1
    return Human(
        betas=human.betas,
        body_pose=human.body_pose[joints] * AXIAL,
        left_hand_pose=human.right_hand_pose * AXIAL,
        right_hand_pose=human.left_hand_pose * AXIAL,
    )


def mirror_camera(camera: Camera, width: int) -> Camera:
    """The camera that sees the mirrored scene in the mirrored picture: `R' = M R M`, `t' = M t`."""
    return Camera(
        rotation=REFLECTION[:, None] * camera.rotation * REFLECTION,
        translation=REFLECTION * camera.translation,
        focal=camera.focal,
        principal_point=_mirror_points(camera.principal_point, width),
    )


def _require_mirrored(category: Category) -> None:
    if not category.mirrored_images:
        raise InputError(
            f"object {category.name!r}: a mirrored picture would show another object (mirrored_images in objects.toml "
            "is not true); leave its images as they are"
        )


def _pictures(sample: Sample, width: int) -> dict[str, Any]:
    """The pixels and their rectangles."""
    return {
        "image": _mirror_columns(sample.image),
        "image_box": _mirror_rectangle(sample.image_box, width),
        "person_mask": _mirror_columns(sample.person_mask),
        "person_mask_box": _mirror_rectangle(sample.person_mask_box, width),
        "object_mask": _mirror_columns(sample.object_mask),
        "object_mask_box": _mirror_rectangle(sample.object_mask_box, width),
        "person_box": _mirror_corners(sample.person_box, width),
        "object_box": _mirror_corners(sample.object_box, width),
    }


def _keypoints(sample: Sample, category: Category, width: int) -> dict[str, Any]:
    """What was detected or projected in the picture."""
    body, thing = sample.body_keypoints, sample.object_keypoints
    wholebody, openpose = sample.wholebody_keypoints, sample.openpose_keypoints
    return {
        "wholebody_keypoints": None if wholebody is None else mirror_wholebody(wholebody, width),
        "openpose_keypoints": None if openpose is None else mirror_openpose(openpose, width),
        "body_keypoints": None if body is None else mirror_body_keypoints(body, width),
        "object_keypoints": None if thing is None else mirror_object_keypoints(thing, category, width),
    }


def _estimates(sample: Sample, width: int) -> dict[str, Any]:
    """The person, the camera and the crop that they were estimated from."""
    box, principal_point = sample.body_box, sample.principal_point
    return {
        "human": None if sample.human is None else mirror_human(sample.human),
        "jaw_pose": None if sample.jaw_pose is None else sample.jaw_pose * AXIAL,
        "camera": None if sample.camera is None else mirror_camera(sample.camera, width),
        # its middle is the principal point, so its sides are points and not pixels
        "body_box": None if box is None else np.array([width - 1 - box[0] - box[2], *box[1:]]),
        "principal_point": None if principal_point is None else _mirror_points(principal_point, width),
    }


def _mirror_points(points: Float[np.ndarray, "*batch c"], width: int) -> Float[np.ndarray, "*batch c"]:
    """Reflect x of points with x, y and perhaps a confidence; one of confidence 0 was not found and is left alone."""
    mirrored = points.copy()
    mirrored[..., 0] = width - 1 - points[..., 0]
    if points.shape[-1] == 3:
        absent = points[..., 2] == 0
        mirrored[absent] = points[absent]
    return mirrored


def _mirror_corners(box: Float[np.ndarray, "4"] | None, width: int) -> Float[np.ndarray, "4"] | None:
    """Reflect a box that is given by its first and its last pixel."""
    return None if box is None else np.array([width - 1 - box[2], box[1], width - 1 - box[0], box[3]])


def _mirror_rectangle(box: Box | None, width: int) -> Box | None:
    """Reflect a rectangle of whole pixels (x, y, width, height)."""
    return None if box is None else (width - box[0] - box[2], *box[1:])


def _mirror_columns(pixels: np.ndarray | None) -> np.ndarray | None:
    """Reflect an image or a mask within its rectangle."""
    return None if pixels is None else np.ascontiguousarray(pixels[:, ::-1])
