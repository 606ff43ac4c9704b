"""Make the sample data that ship: 24 annotations without images, and three submissions of seeded noise around them.

Usage: python -m tools.make_sample. Same bytes on every run.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from wildhoi.body import load_body
from wildhoi.dataset import SHIPPED, open_folder, seal_folder, write_annotations
from wildhoi.geometry import axis_rotation, rotvec_to_matrix
from wildhoi.schema import Annotation, Camera, Failure, Human, ObjectPose, Reconstruction
from wildhoi.submission.folder import write_submission
from wildhoi.submission.manifest import Manifest
from wildhoi.workflows import SAMPLE_SUBMISSIONS

PER_OBJECT = 3
SEED = 2024
X, Y, Z = np.eye(3)
LEFT_HIP, RIGHT_HIP, LEFT_KNEE, RIGHT_KNEE = 0, 1, 3, 4
LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW, RIGHT_ELBOW = 15, 16, 17, 18
LEFT_FOOT, LEFT_WRIST, RIGHT_WRIST = 10, 20, 21

# body rotations in degrees about the T-pose axes, by row of body_pose
ARMS_DOWN = {LEFT_SHOULDER: (0, 0, -75), RIGHT_SHOULDER: (0, 0, 75)}
ARMS_FRONT = {
    LEFT_SHOULDER: (0, -70, -40),
    RIGHT_SHOULDER: (0, 70, 40),
    LEFT_ELBOW: (0, -40, 0),
    RIGHT_ELBOW: (0, 40, 0),
}
SEATED = {LEFT_HIP: (-85, 0, 10), RIGHT_HIP: (-85, 0, -10), LEFT_KNEE: (85, 0, 0), RIGHT_KNEE: (85, 0, 0)}
SWING = {LEFT_SHOULDER: (0, -95, -30), RIGHT_SHOULDER: (0, 20, 30), LEFT_ELBOW: (0, -20, 0), RIGHT_ELBOW: (0, 90, 0)}
CROUCHED = {LEFT_HIP: (-40, 0, 12), RIGHT_HIP: (-40, 0, -12), LEFT_KNEE: (55, 0, 0), RIGHT_KNEE: (55, 0, 0)}

Place = Callable[[np.ndarray], np.ndarray]


def _hands(joints: np.ndarray) -> np.ndarray:
    return (joints[LEFT_WRIST] + joints[RIGHT_WRIST]) / 2


# object: body pose, object rotation, where its centre is, given the joints (55, 3)
SCENES: dict[str, tuple[dict[int, tuple[float, float, float]], np.ndarray, Place]] = {
    "barbell": (ARMS_DOWN, np.eye(3), lambda j: _hands(j) + 0.05 * Z),
    "baseball": (SWING, axis_rotation(X, -1.0), lambda j: _hands(j) - 0.1 * X + 0.3 * Y + 0.1 * Z),
    "basketball": (ARMS_FRONT, np.eye(3), lambda j: _hands(j) + 0.1 * Z),
    "bicycle": (SEATED | ARMS_FRONT, np.eye(3), lambda j: np.array([0.0, -0.55, 0.2])),
    "cello": (SEATED | ARMS_FRONT, axis_rotation(X, -1.2), lambda j: np.array([0.0, -0.05, 0.35])),
    "skateboard": (CROUCHED, axis_rotation(Y, 1.5), lambda j: np.array([0.0, j[LEFT_FOOT, 1] - 0.1, 0.1])),
    "tennis": (SWING, axis_rotation(Z, 0.8), lambda j: j[RIGHT_WRIST] - 0.15 * X + 0.25 * Y + 0.05 * Z),
    "violin": (SWING, axis_rotation(Y, 1.0), lambda j: j[16] + 0.1 * X + 0.12 * Y + 0.2 * Z),
}

# name: translation (m), rotation (rad), joints (rad), betas, log scale; failed and missing images
NOISE = {
    "sample-noise-small": (0.02, 0.05, 0.03, 0.2, 0.02),
    "sample-noise-medium": (0.08, 0.2, 0.08, 0.5, 0.05),
    "sample-noise-large": (0.30, 0.6, 0.2, 1.0, 0.15),
}
INCOMPLETE = "sample-noise-large"  # one image failed and one missing, to show how they count


def make_annotation(name: str, index: int, rng: np.random.Generator) -> Annotation:
    """One truth: the scene's pose varied, seen by the wild set's far camera."""
    rotations, turn, place = SCENES[name]
    pose = rng.normal(0, 0.08, (21, 3))
    for row, degrees in rotations.items():
        pose[row] += np.radians(degrees)
    human = Human(rng.normal(0, 0.8, 10), pose, rng.normal(0, 0.1, (15, 3)), rng.normal(0, 0.1, (15, 3)))
    joints = _joints(human)
    thing = ObjectPose(
        rotvec_to_matrix(rng.normal(0, 0.1, 3)) @ turn,
        place(joints) + rng.normal(0, 0.02, 3),
        float(np.exp(rng.normal(0, 0.03))),
        float(rng.normal(0, 0.2)) if name == "bicycle" else None,
    )
    yaw = rng.uniform(-np.pi, np.pi)
    camera = Camera(
        np.diag([1.0, -1.0, -1.0]) @ axis_rotation(Y, yaw),
        np.array([rng.normal(0, 0.1), rng.normal(0, 0.1), rng.uniform(38, 46)]),
        np.full(2, 5000 / 256 * 400),
        np.array([640.0, 360.0]),
    )
    number = f"{1 + list(SCENES).index(name) * PER_OBJECT + index:04d}"
    return Annotation(f"{number}_001_{30 * (index + 1):06d}", name, number, human, thing, camera)


def _joints(human: Human) -> np.ndarray:
    arrays = (human.betas, human.body_pose, human.left_hand_pose, human.right_hand_pose)
    with torch.no_grad():
        return np.asarray(load_body("open").joints(*(torch.as_tensor(a[None]) for a in arrays))[0].numpy())


def disturb(truth: Annotation, noise: tuple[float, ...], rng: np.random.Generator) -> Reconstruction:
    """A reconstruction: the truth with Gaussian noise."""
    metres, radians, joints, betas, log_scale = noise
    human, thing = truth.human, truth.object_pose
    return Reconstruction(
        truth.image_id,
        Human(
            human.betas + rng.normal(0, betas, 10),
            human.body_pose + rng.normal(0, joints, (21, 3)),
            human.left_hand_pose,
            human.right_hand_pose,
        ),
        replace(
            thing,
            rotation=rotvec_to_matrix(rng.normal(0, radians, 3)) @ thing.rotation,
            translation=thing.translation + rng.normal(0, metres, 3),
            scale=thing.scale * float(np.exp(rng.normal(0, log_scale))),
            angle=None if thing.angle is None else thing.angle + float(rng.normal(0, radians)),
        ),
        truth.camera,
    )


def make_data(out: Path) -> list[Annotation]:
    """Write the sample data folder."""
    rng = np.random.default_rng(SEED)
    truths = [make_annotation(name, index, rng) for name in SCENES for index in range(PER_OBJECT)]
    for name in SCENES:
        write_annotations(
            out / "annotations" / name / "test-00000-of-00001.parquet", [t for t in truths if t.object == name]
        )
    seal_folder(out, name="open-sample", body_model="open")
    return truths


def make_submissions(out: Path, truths: list[Annotation], revision: str) -> None:
    """Write one submission per noise level."""
    rng = np.random.default_rng(SEED + 1)
    for name, noise in NOISE.items():
        rows: list[Reconstruction | Failure] = [disturb(truth, noise, rng) for truth in truths]
        if name == INCOMPLETE:
            rows = [Failure(rows[0].image_id, "left out, to show how a failed image counts"), *rows[1:-1]]
        manifest = Manifest(
            name, "open-sample", revision=revision, body_model="open", inputs=("truth",), supervision="noise"
        )
        write_submission(out / name, manifest, rows)


def main() -> None:
    """Make both folders anew."""
    data = SHIPPED["open-sample"]
    for folder in (data, SAMPLE_SUBMISSIONS):
        shutil.rmtree(folder, ignore_errors=True)
    truths = make_data(data)
    make_submissions(SAMPLE_SUBMISSIONS, truths, open_folder(data).revision)


if __name__ == "__main__":
    main()
