"""The inputs of the WildHOI release: one sample for each frame of an instance that is wanted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from wildhoi.convert.parts import Log
from wildhoi.convert.wildhoi_release.fields import (
    Place,
    body,
    keypoints,
    maps,
    masks,
    object_pose,
    projections,
    read_picture,
)
from wildhoi.convert.wildhoi_release.tracks import (
    BODY,
    FILES,
    KEYPOINTS,
    POSE,
    PROJECTED,
    UNREFINED,
    Instance,
    Record,
    Track,
    finite_numbers,
    read_track,
    read_tracking,
)
from wildhoi.errors import InputError, UnsafeError
from wildhoi.schema import Sample

FRAMES_PER_SECOND = 30  # of the videos, as the release counts
TRACKING = "hoi_tracking"


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
    instances = _instances(spec, log)
    seen: set[str] = set()
    for instance in instances:
        chosen = _choose(spec, instance, seen, log)
        if chosen:
            tracks = _read_tracks(spec, instance.hoi, [frame for frame, _ in chosen])
            yield from _samples(spec, instance.hoi, chosen, tracks, log)
            if spec.images is None:
                _note_untracked(spec, instance, tracks, log)
    if spec.images is None:
        _note_unknown_instances(spec, {instance.hoi for instance in instances}, log)
        return
    for image_id in sorted(set(spec.images) - seen):
        log.lack(image_id, f"{TRACKING}: has no such frame")
        _, hoi, frame = image_id.split("_")
        yield from _samples(spec, hoi, [(frame, {})], _read_tracks(spec, hoi, [frame]), log)


def _instances(spec: VideoSpec, log: Log) -> Sequence[Instance]:
    try:
        instances, malformed = read_tracking(spec.root / TRACKING / f"{spec.video}_tracking.pkl")
    except UnsafeError:
        raise
    except InputError:
        log.drop(spec.video, f"{TRACKING}: none that can be read, a whole video is left out")
        return []
    if malformed:
        log.drop(spec.video, f"{TRACKING}: a malformed instance or frame")
    return instances


def _choose(spec: VideoSpec, instance: Instance, seen: set[str], log: Log) -> list[tuple[str, Record]]:
    """The frames of an instance that are wanted, each once."""
    chosen = []
    for number, record in enumerate(instance.sequence):
        image_id = f"{spec.video}_{instance.hoi}_{record['frame_id']}"
        if number % spec.step if spec.images is None else image_id not in spec.images:
            continue
        if image_id in seen:
            log.drop(image_id, f"{TRACKING}: listed a second time")
            continue
        seen.add(image_id)
        chosen.append((record["frame_id"], record))
    return chosen


def _read_tracks(spec: VideoSpec, hoi: str, frames: Sequence[str]) -> dict[str, Track]:
    """The files of an instance; unrefined keypoints only where refined ones are missing."""
    tracks = {kind: read_track(spec.root, kind, spec.video, hoi) for kind in (BODY, POSE, PROJECTED, KEYPOINTS)}
    complete = all(frame in tracks[KEYPOINTS].frames for frame in frames)
    tracks[UNREFINED] = Track() if complete else read_track(spec.root, UNREFINED, spec.video, hoi)
    return tracks


def _note_untracked(spec: VideoSpec, instance: Instance, tracks: Mapping[str, Track], log: Log) -> None:
    """Note the frames that other files of the instance have and its tracking lacks."""
    others = {frame for track in tracks.values() for frame in track.frames}
    for frame in sorted(others - {record["frame_id"] for record in instance.sequence}):
        log.drop(f"{spec.video}_{instance.hoi}_{frame}", f"{TRACKING}: has no such frame, other files do")


def _note_unknown_instances(spec: VideoSpec, known: set[str], log: Log) -> None:
    """Note the instances that other files are of and the tracking lacks."""
    files = [path for kind in FILES for path in (spec.root / kind / spec.video).glob("*_*.pkl")]
    for hoi in sorted({path.name.split("_")[0] for path in files} - known):
        log.drop(f"{spec.video}_{hoi}", f"{TRACKING}: has no such instance, other files do")


def _samples(
    spec: VideoSpec, hoi: str, chosen: Sequence[tuple[str, Record]], tracks: Mapping[str, Track], log: Log
) -> Iterator[Sample]:
    """The samples of frames; a frame that is not scored needs a person, an object and a picture."""
    for frame, record in chosen:
        place = Place(spec.root, spec.video, hoi, frame, log, scored=spec.images is not None)
        boxes = {what: _box(record, what) for what in ("person", "object")}
        absent = [what for what, box in boxes.items() if box is None]
        if absent and not place.scored:
            log.drop(place.image_id, f"{TRACKING}: no {' and no '.join(absent)} in the frame")
            continue
        picture, why = read_picture(place, boxes)
        if not picture and not place.scored:
            log.drop(place.image_id, f"images_temp: {why}")
            continue
        if not picture:
            place.lack("images_temp", why)
        found = body(place, tracks[BODY])
        yield Sample(
            image_id=place.image_id,
            object=spec.object,
            video_id=spec.video,
            person_box=boxes["person"],
            object_box=boxes["object"],
            **picture,
            **masks(place, picture.get("frame_size")),
            **found,
            **object_pose(place, tracks[POSE], found.get("camera")),
            **keypoints(place, tracks),
            **projections(place, tracks[PROJECTED], spec.n_keypoints),
            **maps(place),
        )


def _box(record: Record, what: str) -> Float[np.ndarray, "4"] | None:
    """The box of the person or the object, x, y of its first and last pixel; None where it is none."""
    found = finite_numbers(record, {f"{what}_bbox": (4,)})
    if isinstance(found, str):
        return None
    box = found[f"{what}_bbox"]
    return box if (box[2:] >= box[:2]).all() else None
