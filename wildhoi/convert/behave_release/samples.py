"""The samples of a sequence: crops, masks, keypoints, and initial estimates; nothing of the truth but the track's."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from wildhoi.convert.behave_release.correspondences import Correspondences, draw_correspondences, solve_pose
from wildhoi.convert.behave_release.initial import Estimate, Estimates, from_camera
from wildhoi.convert.behave_release.pictures import read_color, read_keypoints, read_mask
from wildhoi.convert.behave_release.rows import Row, SequenceSpec, read_rows
from wildhoi.convert.frames import BoxedMask, cut, interaction_box
from wildhoi.convert.parts import Log
from wildhoi.schema import ObjectPose, Sample

GIVEN, RENDERED = "given", "gt-rendered"
NO_ESTIMATE = "no initial estimate"
NOTHING = Estimate()


def read_samples(spec: SequenceSpec, log: Log) -> Iterator[Sample]:
    """The inputs of a sequence; what a sample has to do without goes to the log."""
    estimates = Estimates(spec.init)
    for row in read_rows(spec, log):
        estimate = estimates.find(row.image_id, row.kinect)
        if estimate is None and spec.has_estimates:
            log.lack(row.image_id, NO_ESTIMATE)
        estimate = estimate or NOTHING
        for problem in estimate.problems:
            log.lack(row.image_id, problem)
        yield Sample(
            image_id=row.image_id,
            object=spec.sequence.object,
            video_id=spec.sequence.name,
            **_pictures(row, log),
            human=estimate.human,
            camera=estimate.camera,
            focal=row.kinect.focal,
            principal_point=row.kinect.principal_point,
            frame_size=row.kinect.size,
            gender=spec.gender,
            **_object(row, spec, estimate, log),
        )


def _pictures(row: Row, log: Log) -> dict[str, Any]:
    """Crop, masks, boxes and keypoints."""
    place, size = (row.folder, row.number), row.kinect.size
    person = _found(read_mask("person_mask", *place, size), row, log)
    seen = _found(read_mask("object_mask", *place, size), row, log)
    full = read_mask("object_full", *place, size)
    around = full if isinstance(full, BoxedMask) else seen
    picture = _found(read_color(*place, size), row, log)
    box = interaction_box(person and person.corners, around and around.corners, size)
    return {
        "image": None if picture is None else cut(picture, box),
        "image_box": box,
        **_mask_fields("person", person),
        **_mask_fields("object", seen),
        "openpose_keypoints": _found(read_keypoints(*place), row, log),
    }


def _found(value: Any, row: Row, log: Log) -> Any:
    """The value, or None and a word in the log where it is the reason why there is none."""
    if isinstance(value, str):
        log.lack(row.image_id, value)
        return None
    return value


def _mask_fields(who: str, found: BoxedMask | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {f"{who}_mask": found.mask, f"{who}_mask_box": found.box, f"{who}_box": found.corners}


def _object(row: Row, spec: SequenceSpec, estimate: Estimate, log: Log) -> dict[str, Any]:
    """Correspondences of the track, and the object's pose: the one given, or solved from them."""
    found = estimate.correspondences
    if spec.track == RENDERED:
        found = draw_correspondences(spec.template, row.object_in_camera, row.kinect)
        if found is None:
            log.lack(row.image_id, "object is not in the picture: no correspondences")
    pose = estimate.object_pose
    if spec.track == GIVEN and estimate is not NOTHING and pose is None and found is None:
        log.lack(row.image_id, "no object pose or correspondences in the initial estimate")
    if pose is None and found is not None:
        pose = _solved(found, row, estimate, log)
    fields = {"object_pose": pose, "object_pose_success": pose is not None}
    return fields if found is None else {**fields, **_correspondence_fields(found)}


def _solved(found: Correspondences, row: Row, estimate: Estimate, log: Log) -> ObjectPose | None:
    """The pose that correspondences give, which needs an estimated body for a frame to stand in."""
    if estimate.camera is None:
        return None
    pose = solve_pose(found, row.kinect)
    if pose is None:
        log.lack(row.image_id, "no object pose fits the correspondences")
        return None
    return from_camera(pose, estimate.camera)


def _correspondence_fields(found: Correspondences) -> dict[str, np.ndarray]:
    return {
        "object_correspondences": found.points,
        "object_correspondences_box": found.box,
        "object_correspondences_weights": found.weights,
    }
