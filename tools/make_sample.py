"""Make the sample data that ship: a few rows of the open set, and three submissions of seeded noise around their truth.

Usage: python -m tools.make_sample. Same bytes on every run on one platform.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from wildhoi.convert.pipeline import run_conversion
from wildhoi.dataset import SHIPPED, load_annotations, open_folder, seal_folder
from wildhoi.geometry import rotvec_to_matrix
from wildhoi.open_scenes.plan import Request, plan_open
from wildhoi.open_scenes.version import load_version
from wildhoi.schema import Annotation, Failure, Human, Reconstruction
from wildhoi.submission.folder import write_submission
from wildhoi.submission.manifest import Manifest
from wildhoi.workflows import SAMPLE_SUBMISSIONS

NAME = "open-sample"
TEST, TRAIN, LAYOUTS = 3, 1, 4  # rows of each object, and further views of a training scene
SEED = 2024

# name: translation (m), rotation (rad), joints (rad), betas, log scale; failed and missing images
NOISE = {
    "sample-noise-small": (0.02, 0.05, 0.03, 0.2, 0.02),
    "sample-noise-medium": (0.08, 0.2, 0.08, 0.5, 0.05),
    "sample-noise-large": (0.30, 0.6, 0.2, 1.0, 0.15),
}
INCOMPLETE = "sample-noise-large"  # one image failed and one missing, to show how they count


def make_data(out: Path) -> None:
    """Write the sample data folder; templates ship beside it, so it has none of its own."""
    request = Request(train=TRAIN, test=TEST, layouts=LAYOUTS, name=NAME)
    run_conversion(plan_open(request, out), out)
    shutil.rmtree(out / "objects")
    seal_folder(out, name=NAME, body_model="open", version=load_version().version)


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


def make_submissions(out: Path, truths: list[Annotation], revision: str) -> None:
    """Write one submission per noise level."""
    rng = np.random.default_rng(SEED + 1)
    for name, noise in NOISE.items():
        rows: list[Reconstruction | Failure] = [disturb(truth, noise, rng) for truth in truths]
        if name == INCOMPLETE:
            rows = [Failure(rows[0].image_id, "left out, to show how a failed image counts"), *rows[1:-1]]
        manifest = Manifest(name, NAME, revision=revision, body_model="open", inputs=("truth",), supervision="noise")
        write_submission(out / name, manifest, rows)


def main() -> None:
    """Make both folders anew."""
    data = SHIPPED[NAME]
    for folder in (data, SAMPLE_SUBMISSIONS):
        shutil.rmtree(folder, ignore_errors=True)
    make_data(data)
    make_submissions(SAMPLE_SUBMISSIONS, load_annotations(open_folder(data)), open_folder(data).revision_of("test"))


if __name__ == "__main__":
    main()
