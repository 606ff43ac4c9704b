"""RHOBIN's result files (`results.pkl`, or the zip that is handed in) as reconstructions in the SMPL frame."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wildhoi.convert.archives import read_member
from wildhoi.convert.pickle_arrays import clip
from wildhoi.convert.rhobin.entries import (
    ANGLE,
    BODY,
    JOINT_TRACK,
    ROTATION,
    SHAPES,
    TRANSLATION,
    Entry,
    image_camera,
    read_entry,
)
from wildhoi.convert.safe_pickle import MAX_BYTES, load_pickle, loads_pickle
from wildhoi.errors import InputError
from wildhoi.schema import Annotation, Failure, Reconstruction
from wildhoi.submission.defects import Defect, DefectError, errors, warnings

RESULTS = "results.pkl"
SHOWN = 5
WANTED = f"want the joint track of single images: SMPL-H parameters {', '.join(JOINT_TRACK)} of every image"
OBJECT = (ROTATION, ANGLE, TRANSLATION)
POINTS, POINT_KEYS = "the template-free track (point clouds, which have no pose)", {"hum_pts", "obj_pts"}
TRACKING, TRACKING_KEYS = "the tracking track (a sequence)", {"smplh_poses", "poses", "obj_rots", "frames"}
HUMAN, HUMAN_KEYS = "the human track (no object)", {*BODY, "joints", "vertices"}
OBJECT_ALONE = "the object track (no body)"


def read_rhobin_results(
    path: Path, annotations: Sequence[Annotation], *, nan_as_failed: bool = False
) -> tuple[list[Reconstruction | Failure], list[str]]:
    """Read the results of the joint track of single images.

    Args:
        path: a pickle `{image id: {"pose", "betas", "trans", "obj_rot", "obj_trans"}}` in each image's camera frame, or
            a zip archive with it as `results.pkl`.
        annotations: of the data set that is to be scored; they say each image's gender and its camera's intrinsics.
            Results of other images (those of RHOBIN's other data sets are in the same file) are left out, and counted.
        nan_as_failed: turn images whose object pose has NaN or infinite numbers into failures, and say so.

    Returns:
        the rows in file order, the object placed by the predicted body's own pelvis; and warnings.

    Raises:
        InputError: no such file, results of another of RHOBIN's tracks, or none of an annotated image.
        DefectError: results are invalid; carries every defect of all of them.
        MissingAssetError: an SMPL-H file is not there; it tells where a body's pelvis is.
    """
    content = _load(path)
    known = {annotation.image_id: annotation for annotation in annotations}
    rows: list[Reconstruction | Failure] = []
    defects = _unknown_images(path, content, known)
    for number, (image_id, raw) in enumerate(content.items()):
        if image_id not in known:
            continue
        entry = read_entry(raw, image_id, number)
        if nan_as_failed and entry.is_only_not_finite and set(entry.not_finite) <= set(OBJECT):
            rows.append(Failure(image_id, entry.excuse("the image counts as failed")))
        elif not errors(entry.defects):
            rows.append(_reconstruction(entry, known[image_id]))
        defects += entry.defects
    defects += _extra_keys(content)
    if errors(defects):
        raise DefectError(str(path), defects)
    return rows, [str(defect) for defect in warnings(defects)]


def _load(path: Path) -> dict[Any, Any]:
    """The pickle's dict, which must be that of the joint track."""
    if path.suffix.lower() == ".zip":
        data = read_member(path, RESULTS, max_bytes=MAX_BYTES)
        content = loads_pickle(data, source=f"{path}, {RESULTS}")
    else:
        content = load_pickle(path)
    if not isinstance(content, dict) or not content:
        found = "an empty dict" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise InputError(f"{path}: got {found}, want a dict of results by image id")
    for image_id, raw in content.items():
        track = _other_track(raw) if isinstance(raw, dict) else None
        if track is not None:
            raise InputError(f"{path}: image {clip(image_id)} is a result of {track}; {WANTED}")
    return content


def _other_track(raw: Mapping[Any, Any]) -> str | None:
    """Which of RHOBIN's other tracks an entry is of, if of any."""
    if any(_has_frames(raw.get(name), shapes) for name, shapes in SHAPES.items()):
        return TRACKING
    keys = set(raw)
    if keys.issuperset(JOINT_TRACK):
        return None
    if keys & POINT_KEYS:
        return POINTS
    if keys & TRACKING_KEYS:
        return TRACKING
    if keys.isdisjoint(OBJECT):
        return HUMAN if keys & HUMAN_KEYS else None
    return OBJECT_ALONE if keys.isdisjoint(BODY) else None


def _has_frames(value: Any, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether an array is of several frames of one of the shapes."""
    shape = value.shape if isinstance(value, np.ndarray) else (1,)
    return shape[1:] in shapes and shape[0] > 1


def _reconstruction(entry: Entry, annotation: Annotation) -> Reconstruction:
    fit = entry.fit(annotation.gender)
    camera = image_camera(fit, annotation.camera.focal, annotation.camera.principal_point)
    return Reconstruction(entry.image_id, fit.human, entry.object_pose(fit), camera)


def _unknown_images(path: Path, content: Mapping[Any, Any], known: Mapping[str, Annotation]) -> list[Defect]:
    """Errors of ids that are no text, and one warning of those that no annotation has."""
    hint = "ids are text, as in RHOBIN's reference"
    defects = [
        Defect("image-id", f"{type(image_id).__name__} {clip(image_id)}", "text such as 135496", hint, row)
        for row, image_id in enumerate(content)
        if not isinstance(image_id, str)
    ]
    unknown = [str(image_id) for image_id in content if isinstance(image_id, str) and image_id not in known]
    if len(unknown) == len(content):
        raise InputError(
            f"{path}: none of its {len(content)} images is annotated, {_listing(unknown)}; are they of another of "
            "RHOBIN's data sets, or is --data another data set?"
        )
    if unknown:
        found = f"{len(unknown)} of {len(content)} images that are not annotated: {_listing(unknown)}"
        hint = "left out; they may be of RHOBIN's other data sets"
        defects.append(Defect("unknown-id", found, "images of the data set", hint, severity="warning"))
    return defects


def _listing(ids: Sequence[str]) -> str:
    return ", ".join(map(clip, ids[:SHOWN])) + (", ..." if len(ids) > SHOWN else "")


def _extra_keys(content: Mapping[Any, Any]) -> list[Defect]:
    """One warning for each key that no result should have."""
    counts = Counter(clip(key) for raw in content.values() if isinstance(raw, dict) for key in raw)
    for name in (*JOINT_TRACK, ANGLE):
        counts.pop(clip(name), None)
    return [
        Defect("extra-key", f"{key} in {count} images", "a known key", "it is ignored", severity="warning")
        for key, count in counts.items()
    ]
