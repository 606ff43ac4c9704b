"""The inputs of the WildHOI release: one sample for each frame of an instance that is wanted."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from wildhoi.convert.frames import cut, interaction_box
from wildhoi.convert.parts import Log
from wildhoi.convert.wildhoi_release.images import ABSENT, read_correspondences, read_frame, read_masks, read_occlusion
from wildhoi.convert.wildhoi_release.tracks import (
    BODY,
    KEYPOINTS,
    POSE,
    PROJECTED,
    UNREFINED,
    Instance,
    Record,
    Track,
    finite_numbers,
    numbers,
    read_track,
    read_tracking,
)
from wildhoi.errors import InputError, UnsafeError
from wildhoi.schema import Camera, Human, ObjectPose, Sample

FRAMES_PER_SECOND = 30  # of the videos, as the release counts
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
POSE_FIELDS = {"rotmat": (3, 3), "trans": (3,)}


@dataclass(frozen=True)
class VideoSpec:
    """What of a video is wanted: every `step`-th frame of its instances, or the images named.

    Images that are named are kept whatever they lack, because their truth is scored.
    """

    root: Path
    object: str
    video: str
    n_keypoints: int
    step: int = 1
    images: tuple[str, ...] | None = None


def read_video(spec: VideoSpec, log: Log) -> Iterator[Sample]:
    """Read the samples of a video, instance by instance; what is irregular goes to the log.

    Raises:
        UnsafeError: a file asks for something to be executed.
    """
    wanted = None if spec.images is None else set(spec.images)
    for instance in _instances(spec, log):
        ids = [f"{spec.video}_{instance.hoi}_{record['frame_id']}" for record in instance.sequence]
        chosen = [
            (image_id, record)
            for number, (image_id, record) in enumerate(zip(ids, instance.sequence, strict=True))
            if (number % spec.step == 0 if wanted is None else image_id in wanted)
        ]
        if chosen:
            tracks = {kind: read_track(spec.root, kind, spec.video, instance.hoi) for kind in (BODY, POSE, PROJECTED)}
            tracks[KEYPOINTS] = _wholebody(spec, instance, log, chosen[0][0])
        for image_id, record in chosen:
            if spec.images is not None or not _dropped(image_id, record, log):
                sample = _sample(spec, instance.hoi, image_id, record, tracks, log)
                if sample is not None:
                    yield sample
        if wanted is not None:
            wanted -= {image_id for image_id, _ in chosen}
    for image_id in sorted(wanted or ()):
        log.lack(image_id, "hoi_tracking: has no such frame")
        _, hoi, frame = image_id.split("_")
        tracks = {kind: read_track(spec.root, kind, spec.video, hoi) for kind in (BODY, POSE, PROJECTED, KEYPOINTS)}
        sample = _sample(spec, hoi, image_id, {"frame_id": frame}, tracks, log)
        if sample is not None:
            yield sample


def _instances(spec: VideoSpec, log: Log) -> list[Instance]:
    try:
        return read_tracking(spec.root / "hoi_tracking" / f"{spec.video}_tracking.pkl")
    except UnsafeError:
        raise
    except InputError:
        log.drop(spec.video, "hoi_tracking: no file of the video that can be read")
        return []


def _wholebody(spec: VideoSpec, instance: Instance, log: Log, image_id: str) -> Track:
    """The refined keypoints, or where they are absent those that they were made from."""
    refined = read_track(spec.root, KEYPOINTS, spec.video, instance.hoi)
    if refined.frames:
        return refined
    unrefined = read_track(spec.root, UNREFINED, spec.video, instance.hoi)
    if unrefined.frames:
        log.lack(image_id, "wholebody_kps_refined: the unrefined ones stand in for the whole instance")
    return unrefined if unrefined.frames else refined


def _dropped(image_id: str, record: Record, log: Log) -> bool:
    """Leave out a frame that shows no interaction."""
    missing = [what for what in ("person", "object") if numbers(record, f"{what}_bbox", (4,)) is None]
    if missing:
        log.drop(image_id, f"hoi_tracking: no {' and no '.join(missing)} in the frame")
    return bool(missing)


def _sample(
    spec: VideoSpec, hoi: str, image_id: str, record: Record, tracks: dict[str, Track], log: Log
) -> Sample | None:
    """The sample of a frame; None, and noted, where a picture is needed and there is none."""
    frame = record["frame_id"]
    person_box, object_box = (numbers(record, f"{what}_bbox", (4,)) for what in ("person", "object"))
    image, why = read_frame(spec.root, spec.video, frame)
    if image is None and spec.images is None:
        log.drop(image_id, f"images_temp: {why}")
        return None
    if image is None:
        log.lack(image_id, f"images_temp: {why}")
    values: dict[str, Any] = {"person_box": person_box, "object_box": object_box}
    if image is not None:
        values["frame_size"] = (image.shape[1], image.shape[0])
        values["image_box"] = interaction_box(person_box, object_box, values["frame_size"])
        values["image"] = cut(image, values["image_box"])
    values |= _masks(spec, hoi, image_id, frame, log)
    values |= _body(tracks[BODY], image_id, frame, log)
    values |= _object(tracks[POSE], values.get("camera"), image_id, frame, log)
    values |= _keypoints(tracks, spec.n_keypoints, image_id, frame, log)
    values |= _maps(spec, hoi, image_id, frame, log)
    return Sample(image_id=image_id, object=spec.object, video_id=spec.video, **values)


def _masks(spec: VideoSpec, hoi: str, image_id: str, frame: str, log: Log) -> dict[str, Any]:
    masks, reasons = read_masks(spec.root, spec.video, hoi, frame)
    for name, why in reasons.items():
        log.lack(image_id, f"hoi_mask: {name}: {why}")
    values: dict[str, Any] = {}
    for name, field in (("human", "person"), ("object", "object")):
        found = masks[name]
        if found is not None:
            values |= {f"{field}_mask": found.mask, f"{field}_mask_box": found.box}
    return values


def _body(track: Track, image_id: str, frame: str, log: Log) -> dict[str, Any]:
    """The tuned body and its camera; both or none."""
    record, why = track.at(frame)
    found = None if record is None else finite_numbers(record, BODY_FIELDS)
    if record is None or isinstance(found, str) or found is None:
        log.lack(image_id, f"{BODY}: {found or why}")
        return {}
    camera = Camera(found["cam_R"], found["cam_T"], found["focal"], found["princpt"])
    return {
        "human": Human(found["betas"], found["body_pose"], found["left_hand_pose"], found["right_hand_pose"]),
        "camera": camera,
        "focal": camera.focal,
        "principal_point": camera.principal_point,
        "body_box": numbers(record, "bbox", (4,)),
        "jaw_pose": numbers(record, "jaw_pose", (3,)),
        "expression": numbers(record, "expression", (10,)),
    }


def _object(track: Track, camera: Camera | None, image_id: str, frame: str, log: Log) -> dict[str, Any]:
    """The object's pose in the SMPL frame: `R^T R_o`, `R^T (t_o - t)`; it needs the camera of the body."""
    record, why = track.at(frame)
    found = None if record is None else finite_numbers(record, POSE_FIELDS)
    if record is None or isinstance(found, str) or found is None:
        log.lack(image_id, f"{POSE}: {found or why}")
        return {}
    if camera is None:
        log.lack(image_id, f"{POSE}: no body to relate it to")
        return {}
    success, angle = numbers(record, "success", ()), numbers(record, "rot_angle", ())
    pose = ObjectPose(
        camera.rotation.T @ found["rotmat"],
        camera.rotation.T @ (found["trans"] - camera.translation),
        angle=None if angle is None else float(angle),
    )
    return {"object_pose": pose, "object_pose_success": success is not None and float(success) > 0}


def _keypoints(tracks: dict[str, Track], n: int, image_id: str, frame: str, log: Log) -> dict[str, Any]:
    """The 133 detected keypoints, and the projected ones of body and object; of the object's the first are in use."""
    values: dict[str, Any] = {}
    record, why = tracks[KEYPOINTS].at(frame)
    detected = None if record is None else numbers(record, "keypoints", (133, 3))
    if detected is None or not detected.any():
        log.lack(image_id, f"{KEYPOINTS}: {why or ('malformed' if detected is None else 'no person found')}")
    else:
        values["wholebody_keypoints"] = detected
    record, why = tracks[PROJECTED].at(frame)
    body = None if record is None else numbers(record, "smpl_kps_seq", (22, 2))
    objects = None if record is None else _first_keypoints(record["object_kps_seq"], n)
    if body is None or objects is None:
        log.lack(image_id, f"{PROJECTED}: {why or 'malformed'}")
        return values
    for name, points in (("body", body), ("object", objects)):
        if not np.isfinite(points).all():
            log.lack(image_id, f"{PROJECTED}: NaN in the {name}'s keypoints")
    return {**values, "body_keypoints": body, "object_keypoints": objects}


def _first_keypoints(points: Float[np.ndarray, "..."], n: int) -> Float[np.ndarray, "n 2"] | None:
    fits = points.dtype.kind == "f" and points.ndim == 2 and points.shape[1] == 2 and len(points) >= n
    return points[:n].astype(np.float64) if fits else None


def _maps(spec: VideoSpec, hoi: str, image_id: str, frame: str, log: Log) -> dict[str, Any]:
    """The correspondence and occlusion maps; they are made for few images, so only an annotated one lacks them."""
    values: dict[str, Any] = {}
    points, why = read_correspondences(spec.root, spec.video, hoi, frame)
    if points is not None:
        values["object_correspondences"] = points[0]
        values["object_correspondences_box"] = np.array(points[1], np.float64)
    elif spec.images is not None or why != ABSENT:
        log.lack(image_id, f"object_annotations: {why}")
    maps, why = read_occlusion(spec.root, spec.video, hoi, frame)
    if maps is not None:
        values["human_occlusion"], values["object_occlusion"] = maps
    elif spec.images is not None or why != ABSENT:
        log.lack(image_id, f"occlusion_maps: {why}")
    return values
