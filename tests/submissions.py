"""Small valid submissions and data folders, for tests that then spoil them."""

import shutil
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import config
from scipy.spatial.transform import Rotation

from wildhoi.dataset import DataFolder, seal_folder, write_annotations
from wildhoi.schema import Annotation, Camera, Failure, Human, ObjectPose, Reconstruction
from wildhoi.submission.folder import MANIFEST, PREDICTIONS, write_submission
from wildhoi.submission.manifest import Manifest
from wildhoi.templates import SHIPPED

DATASET = "open-sample"
MANIFEST_ROW = Manifest("made up", DATASET, body_model="open")


@contextmanager
def unchecked():
    """What a caller outside the tests sees: no beartype in front."""
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)


def rotation(seed):
    return Rotation.random(random_state=np.random.default_rng(seed)).as_matrix()


def human(seed=0, size=0.1):
    rng = np.random.default_rng(seed)
    return Human(*(size * rng.standard_normal(shape) for shape in (10, (21, 3), (15, 3), (15, 3))))


def camera(seed=0):
    rng = np.random.default_rng(seed)
    return Camera(rotation(seed), rng.normal(size=3), np.array([900.0, 910.0]), np.array([320.0, 240.0]))


def reconstruction(image_id, seed=0, **changes):
    """A plausible row; `changes` replace its fields."""
    centre = np.random.default_rng(seed).normal(size=3)
    return replace(Reconstruction(image_id, human(seed), ObjectPose(rotation(seed), centre)), **changes)


def rows(n=10):
    return [reconstruction(f"{i:04d}_001_{i:06d}", seed=i) for i in range(n)]


def varied_rows():
    """Rows that use every optional column, and a failure."""
    posed = ObjectPose(rotation(1), np.array([0.1, -0.2, 0.3]), 1.25, 0.4)
    return [
        reconstruction("a", 1, object_pose=posed, camera=camera(3), seconds=1.5),
        reconstruction("b", 2),
        Failure("c", "no person was found", 0.25),
        Failure("d", "ran out of memory"),
        reconstruction("e", 5, camera=camera(5)),
    ]


def make_submission(folder: Path, records=None, manifest=MANIFEST_ROW) -> Path:
    write_submission(folder, manifest, rows() if records is None else records)
    return folder


def frame(records=None) -> pd.DataFrame:
    """The rows as a user would hold them: a data frame with lists of floats."""
    table = []
    for record in rows() if records is None else records:
        row = {"image_id": record.image_id, "status": "ok"}
        row |= {
            name: getattr(record.human, name).ravel()
            for name in ("betas", "body_pose", "left_hand_pose", "right_hand_pose")
        }
        pose = record.object_pose
        row |= {"object_rotation": pose.rotation.ravel(), "object_translation": pose.translation}
        table.append(row | {"object_scale": pose.scale})
    return pd.DataFrame(table)


def spoil(folder: Path, table: pd.DataFrame, manifest: str | None = None) -> Path:
    """Write a data frame as the predictions of a submission, as a user's own code would."""
    make_submission(folder, [])
    table.to_parquet(folder / PREDICTIONS)
    if manifest is not None:
        (folder / MANIFEST).write_text(manifest)
    return folder


def make_data(folder: Path, objects, n=2, *, body_model="smplx", name="made-up", split="test") -> DataFolder:
    """A data folder with annotations of some objects, and with copies of the templates that ship."""
    for thing in objects:
        truth = [
            Annotation(
                image_id=f"{thing}_{i:04d}",
                object=thing,
                video_id=f"{thing}_{i}",
                human=human(i),
                object_pose=ObjectPose(rotation(i), np.array([0.2, 0.1, 0.4 + 0.1 * i])),
                camera=camera(i),
            )
            for i in range(n)
        ]
        write_annotations(folder / "annotations" / thing / f"{split}-00000-of-00001.parquet", truth)
        shutil.copytree(SHIPPED / thing, folder / "objects" / thing)
    return seal_folder(folder, name=name, body_model=body_model)


def as_reconstruction(annotation: Annotation) -> Reconstruction:
    """A method that is always right."""
    return Reconstruction(annotation.image_id, annotation.human, annotation.object_pose)


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def same(a, b, equal=np.array_equal):
    """Compare two values of the same dataclass field by field, arrays by `equal`."""
    if type(a) is not type(b):
        return False
    if is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name), equal) for f in fields(a))
    return equal(a, b) if isinstance(a, np.ndarray) else bool(a == b)
