"""Conversions of the raw WildHOI fixture: what their rows and reports should say."""

import json
import shutil

import numpy as np
from raw_reader import Raw, plain

USED_KEYPOINTS = {"barbell": 4, "skateboard": 8, "bicycle": 10}


def same_floats(ours, theirs):
    """Whether ours are theirs as float32."""
    return np.array_equal(
        np.asarray(ours, np.float32).reshape(-1), np.asarray(theirs).astype(np.float32).reshape(-1), equal_nan=True
    )


def wanted_train(raw, name, fps):
    """Every (30 / fps)-th entry of each training instance: image id -> why it cannot become a row, or None."""
    found = {}
    for video in raw.videos(name, "train"):
        for hoi, entries in raw.instances(name, video).items():
            for entry in entries[:: 30 // fps]:
                image_id = f"{video}_{hoi}_{entry['frame_id']}"
                gaps = {
                    "person": entry["person_bbox"] is None,
                    "object": entry["object_bbox"] is None,
                    "images_temp": not raw.picture_path(name, image_id).is_file(),
                }
                found[image_id] = next((gap for gap, there in gaps.items() if there), None)
    return found


def load_report(folder):
    return json.loads((folder / "conversion_report.json").read_text())


def said(report, fate, name):
    """Image id -> its reasons."""
    found = {}
    for reason, ids in report["objects"][name][fate].items():
        for image_id in ids:
            found.setdefault(image_id, []).append(reason)
    return found


def planted(raw, name, rows):
    """Image id -> words of the raw files that its reasons must name: what the rows of these ids lack."""
    lacks = {}
    for image_id in rows:
        body, pose, projected = (raw.track(name, k, image_id) for k in ("smplx_tuned", "object_pose", "hoi_kps"))
        annotated = image_id in raw.annotations(name)
        causes = {
            "smplx_tuned": body is None,
            "object_pose": pose is None or np.isnan(plain(pose["trans"])).any(),
            "hoi_kps": projected is None or np.isnan(projected["smpl_kps_seq"]).any()
            or np.isnan(projected["object_kps_seq"][: USED_KEYPOINTS[name]]).any(),
            "object_annotations": annotated and raw.correspondences(name, image_id) is None,
            "occlusion_maps": annotated and raw.occlusion(name, image_id) is None,
        }  # fmt: skip
        if any(causes.values()):
            lacks[image_id] = [cause for cause, there in causes.items() if there]
    return lacks


def copy_release(raw, to, names=None, **split):
    """Objects of the release, writable."""
    names = names or raw.objects()
    for name in names:
        for folder in (name, f"data/annotation_hoi/{name}"):
            shutil.copytree(raw.root / folder, to / folder)
    for folder in ("data/objects", "data/contact"):
        shutil.copytree(raw.root / folder, to / folder)
    (to / "train_test_split.json").write_text(json.dumps({name: raw.split[name] | split for name in names}))
    for path in to.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return Raw(to)
