"""Measure how far the initial estimates of a data folder are from its truth: what the open set was tuned by.

Usage: python -m tools.open_facts FOLDER [SPLIT].
"""

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from wildhoi.body import load_body, pose_person
from wildhoi.dataset import load_annotations, load_samples
from wildhoi.geometry import geodesic_angle, project
from wildhoi.schema import Annotation, Camera, Sample
from wildhoi.templates import SHIPPED, load_template

HEADS = ("translation m", "rotation deg", "wrists cm", "surface cm", "joints px", "visible", "distance m")
WRISTS, BODY = slice(20, 22), slice(0, 22)


def facts(sample: Sample, truth: Annotation) -> list[float]:
    """The errors of one image's estimates, in the order of HEADS; NaN where there is no estimate."""
    body = load_body("open")
    if sample.human is None or sample.camera is None:
        return [np.nan] * len(HEADS)
    skin, joints = pose_person(sample.human, body)
    true_skin, true_joints = pose_person(truth.human, body)
    miss = np.linalg.norm(joints - true_joints, axis=1)
    pixels = np.linalg.norm(_seen(joints, sample.camera) - _seen(true_joints, truth.camera), axis=1)
    return [
        *_object_errors(sample, truth),
        100 * float(miss[WRISTS].mean()),
        100 * float(np.linalg.norm(skin - true_skin, axis=1).mean()),
        float(pixels.mean()),
        np.nan if truth.visible is None else truth.visible,
        float(truth.camera.translation[2]),
    ]


def _object_errors(sample: Sample, truth: Annotation) -> list[float]:
    """Translation in metres and rotation in degrees, the nearest of the symmetric ones."""
    if sample.object_pose is None:
        return [np.nan, np.nan]
    symmetry = load_template(SHIPPED / truth.object).symmetry()
    estimated, true = sample.object_pose.rotation, truth.object_pose.rotation
    nearest = true @ symmetry.nearest(true.T @ estimated)
    angle = np.nan if symmetry.kind == "sphere" else np.degrees(geodesic_angle(estimated, nearest))
    return [float(np.linalg.norm(sample.object_pose.translation - truth.object_pose.translation)), float(angle)]


def _seen(joints: np.ndarray, camera: Camera) -> np.ndarray:
    points = joints[BODY] @ camera.rotation.T + camera.translation
    return project(points, camera.focal, camera.principal_point)


def main(folder: Path, split: str = "test") -> None:
    """Print medians by object, and of all images."""
    truths = {truth.image_id: truth for truth in load_annotations(folder, split)}
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for sample in load_samples(folder, split):
        rows[sample.object].append(facts(sample, truths[sample.image_id]))
    rows["all"] = [row for found in list(rows.values()) for row in found]
    lines = ["median of | images | " + " | ".join(HEADS), "---|" + "---:|" * len(HEADS) + "---:"]
    for name, found in rows.items():
        columns = [column[np.isfinite(column)] for column in np.array(found).T]
        middle = [f"{np.median(column):.2f}" if len(column) else "-" for column in columns]
        lines.append(f"{name} | {len(found)} | " + " | ".join(middle))
    sys.stdout.writelines(f"| {line} |\n" for line in lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
