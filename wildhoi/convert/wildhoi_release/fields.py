"""What a frame of an instance has in the WildHOI release, group by group; what it lacks goes to the log."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from wildhoi.convert.frames import cut, interaction_box
from wildhoi.convert.parts import Log
from wildhoi.convert.values import as_numbers, rotation_defect
from wildhoi.convert.wildhoi_release.images import (
    ABSENT,
    read_correspondences,
    read_frame,
    read_masks,
    read_occlusion,
)
from wildhoi.convert.wildhoi_release.tracks import (
    BODY,
    KEYPOINTS,
    POSE,
    PROJECTED,
    UNREFINED,
    Record,
    Track,
    finite_numbers,
    numbers,
)
from wildhoi.schema import Camera, Human, ObjectPose

BODY_FIELDS = {
    "betas": (10,),
    "body_pose": (21, 3),
    "left_hand_pose": (15, 3),
    "right_hand_pose": (15, 3),
    "cam_R": (3, 3),
    "cam_T": (3,),
    "focal": (2,),
    "princpt": (2,),
}
FACE_FIELDS = {"jaw_pose": (3,), "expression": (10,), "bbox": (4,)}
POSE_FIELDS = {"rotmat": (3, 3), "trans": (3,)}

Values = dict[str, Any]
Boxes = Mapping[str, Float[np.ndarray, "4"] | None]


@dataclass(frozen=True)
class Place:
    """A frame of an instance: where its files are, and where what it lacks is noted.

    A frame that is `scored` is one whose maps somebody made, so that it lacks those that are not there.
    """

    root: Path
    video: str
    hoi: str
    frame: str
    log: Log
    scored: bool

    @property
    def image_id(self) -> str:
        """The name of the image."""
        return f"{self.video}_{self.hoi}_{self.frame}"

    def lack(self, what: str, why: str) -> None:
        """Note that the frame lacks something."""
        self.log.lack(self.image_id, f"{what}: {why}")


def read_picture(place: Place, boxes: Boxes) -> tuple[Values, str]:
    """The crop about person and object, its box and the frame's size; or why there is no picture."""
    image, why = read_frame(place.root, place.video, place.frame)
    if image is None:
        return {}, why
    size = (image.shape[1], image.shape[0])
    box = interaction_box(boxes["person"], boxes["object"], size)
    return {"frame_size": size, "image_box": box, "image": cut(image, box)}, ""


def masks(place: Place, size: tuple[int, int] | None) -> Values:
    """The visible pixels of person and object, each with its box inside the frame."""
    found, reasons = read_masks(place.root, place.video, place.hoi, place.frame, size)
    for name, why in reasons.items():
        place.lack("hoi_mask", f"{name}: {why}")
    values: Values = {}
    for name, field in (("human", "person"), ("object", "object")):
        mask = found[name]
        if mask is not None:
            values |= {f"{field}_mask": mask.mask, f"{field}_mask_box": mask.box}
    return values


def body(place: Place, track: Track) -> Values:
    """The tuned body and its camera; both or none."""
    record, why = track.at(place.frame)
    found = why if record is None else finite_numbers(record, BODY_FIELDS)
    if not isinstance(found, str) and rotation_defect(found["cam_R"]):
        found = "cam_R is no rotation"
    if record is None or isinstance(found, str):
        place.lack(BODY, str(found))
        return {}
    camera = Camera(found["cam_R"], found["cam_T"], found["focal"], found["princpt"])
    face = {name: _extra(place, BODY, record, name, shape) for name, shape in FACE_FIELDS.items()}
    return {
        "human": Human(found["betas"], found["body_pose"], found["left_hand_pose"], found["right_hand_pose"]),
        "camera": camera,
        "focal": camera.focal,
        "principal_point": camera.principal_point,
        "body_box": face.pop("bbox"),
        **face,
    }


def object_pose(place: Place, track: Track, camera: Camera | None) -> Values:
    """The object's pose in the SMPL frame: `R^T R_o`, `R^T (t_o - t)`; it needs the camera of the body."""
    record, why = track.at(place.frame)
    found = why if record is None else finite_numbers(record, POSE_FIELDS)
    if not isinstance(found, str) and rotation_defect(found["rotmat"]):
        found = "rotmat is no rotation"
    if not isinstance(found, str) and camera is None:
        found = "no body to relate it to"
    if record is None or camera is None or isinstance(found, str):
        place.lack(POSE, str(found))
        return {}
    angle = _extra(place, POSE, record, "rot_angle", ()) if "rot_angle" in record else None
    pose = ObjectPose(
        camera.rotation.T @ found["rotmat"],
        camera.rotation.T @ (found["trans"] - camera.translation),
        angle=None if angle is None else float(angle),
    )
    return {"object_pose": pose, "object_pose_success": _success(place, record.get("success"))}


def _success(place: Place, raw: Any) -> bool:
    """Whether the solver trusts its pose: a number above 0, or a truth value, alone or in an array of one."""
    found = as_numbers(int(raw) if isinstance(raw, bool | np.bool_) else raw)
    if found is None or found.size != 1 or not np.isfinite(found).all():
        place.lack(POSE, "success: no number")
        return False
    return bool(found.reshape(-1)[0] > 0)


def _extra(
    place: Place, kind: str, record: Record, name: str, shape: tuple[int, ...]
) -> Shaped[np.ndarray, "..."] | None:
    """A field that the rest can do without; None, and noted, where it is not finite."""
    found = finite_numbers(record, {name: shape})
    if isinstance(found, str):
        place.lack(kind, f"{name}: {found}")
        return None
    return found[name]


def keypoints(place: Place, tracks: Mapping[str, Track]) -> Values:
    """The 133 detected keypoints, the refined ones where they are."""
    record, why = tracks[KEYPOINTS].at(place.frame)
    if record is None:
        record, _ = tracks[UNREFINED].at(place.frame)
        if record is not None:
            place.lack(KEYPOINTS, "the unrefined ones stand in")
    found = why if record is None else finite_numbers(record, {"keypoints": (133, 3)})
    if not isinstance(found, str) and not found["keypoints"].any():
        found = "no person found"
    if isinstance(found, str):
        place.lack(KEYPOINTS, found)
        return {}
    return {"wholebody_keypoints": found["keypoints"]}


def projections(place: Place, track: Track, n_keypoints: int) -> Values:
    """The projected keypoints of body and object, NaN where there is none; of the object's the first are in use."""
    record, why = track.at(place.frame)
    joints = None if record is None else numbers(record, "smpl_kps_seq", (22, 2))
    points = None if record is None else _first(record["object_kps_seq"], n_keypoints)
    if joints is None or points is None:
        place.lack(PROJECTED, why or "malformed")
        return {}
    for name, found in (("body", joints), ("object", points)):
        if not np.isfinite(found).all():
            place.lack(PROJECTED, f"NaN in the {name}'s keypoints")
    return {"body_keypoints": joints, "object_keypoints": points}


def _first(points: Any, count: int) -> Float[np.ndarray, "n 2"] | None:
    array = np.asarray(points)
    fits = array.dtype.kind == "f" and array.ndim == 2 and array.shape[1] == 2 and len(array) >= count
    return array[:count].astype(np.float64) if fits else None


def maps(place: Place) -> Values:
    """The correspondence and occlusion maps, which are made for few images."""
    values: Values = {}
    points, why = read_correspondences(place.root, place.video, place.hoi, place.frame)
    if points is not None:
        values["object_correspondences"] = points[0]
        values["object_correspondences_box"] = np.array(points[1], np.float64)
    elif place.scored or why != ABSENT:
        place.lack("object_annotations", why)
    flags, why = read_occlusion(place.root, place.video, place.hoi, place.frame)
    if flags is not None:
        values["human_occlusion"], values["object_occlusion"] = flags
    elif place.scored or why != ABSENT:
        place.lack("occlusion_maps", why)
    return values
