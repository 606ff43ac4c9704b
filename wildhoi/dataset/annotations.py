"""The truth of a data folder: `annotations/OBJ/SPLIT-*.parquet`, one row per image."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from wildhoi import columns
from wildhoi.dataset.folder import DataFolder
from wildhoi.dataset.tables import find_tables
from wildhoi.errors import InputError
from wildhoi.geometry import nearest_rotation, orthonormality_error
from wildhoi.objects import find_category
from wildhoi.schema import GENDERS, Annotation, Camera, ObjectPose

ROTATION_TOLERANCE = 1e-3

ANNOTATIONS = columns.Layout(
    texts=("image_id", "object", "video_id", "gender"),
    numbers={**columns.HUMAN, **columns.OBJECT, **columns.CAMERA},
    optional_texts=("scene_id", "interaction"),
    optional_numbers={**columns.ANGLE, "visible": ()},
)


def write_annotations(path: Path, annotations: Sequence[Annotation]) -> None:
    """Write annotations as one Parquet file, rows sorted by image id."""
    rows = [annotation_row(annotation) for annotation in sorted(annotations, key=lambda a: a.image_id)]
    columns.write_rows(path, ANNOTATIONS, rows)


def annotation_row(annotation: Annotation) -> dict[str, Any]:
    """The columns of an annotation."""
    return {
        **{name: getattr(annotation, name) for name in (*ANNOTATIONS.texts, *ANNOTATIONS.optional_texts, "visible")},
        **columns.human_row(annotation.human),
        **columns.object_row(annotation.object_pose),
        **columns.camera_row(annotation.camera),
    }


def load_annotations(
    data: DataFolder | str | Path,
    split: str = "test",
    objects: Sequence[str] | None = None,
    *,
    mini: bool = False,
    revision: str | None = None,
) -> list[Annotation]:
    """Read the truth of a split, sorted by image id.

    Args:
        data: a data folder, the name of one at hand, else a data set of the Hub (`wildhoi`, or `user/name`).
        split: `train` or `test`.
        objects: names of categories; default all.
        mini: that of the few rows that are for trying things out.
        revision: of a data set of the Hub: a tag, branch or commit; default its main branch.

    Raises:
        InputError: the split or an object has no annotations here, or a file is invalid.
        MissingAssetError: the data set is neither at hand nor on the Hub, or needs a permission.
    """
    kind = "mini/annotations" if mini else "annotations"
    source, files = find_tables(data, kind, split, objects, revision)
    found = sorted((a for path in files for a in _read_of(path, path.parent.name)), key=lambda a: a.image_id)
    twice = [a.image_id for a, b in pairwise(found) if a.image_id == b.image_id]
    if twice:
        raise InputError(f"{source}: image_id {twice[0]!r} is annotated twice in split {split} ({len(twice)} such)")
    return found


def _read_of(path: Path, name: str) -> list[Annotation]:
    """The annotations of a file that must all be of one object."""
    annotations = read_annotations(path)
    for row, annotation in enumerate(annotations):
        if annotation.object != name:
            where = f"{path}: row {row}, image_id {annotation.image_id!r}"
            raise InputError(f"{where}: object is {annotation.object!r}, the folder is that of {name!r}")
    return annotations


def read_annotations(path: Path) -> list[Annotation]:
    """Read one file of annotations; rotations are projected onto the nearest exact ones.

    Raises:
        InputError: a column is absent or wrong, or a value is not finite or no rotation; names file, id and field.
    """
    table = columns.read_columns(path, ANNOTATIONS)
    if table.problems:
        listing = "; ".join(map(str, table.problems[:10]))
        raise InputError(f"{path}: {listing}")
    return [_annotation(path, table, row) for row in range(table.n_rows)]


def _annotation(path: Path, table: columns.Columns, row: int) -> Annotation:
    texts = {name: values[row] for name, values in table.texts.items()}
    where = f"{path}: row {row}, image_id {texts['image_id']!r}"
    for name in ANNOTATIONS.texts:
        if not texts[name]:
            raise InputError(f"{where}: {name} is empty")
    for name in ANNOTATIONS.numbers:
        if not np.isfinite(table.numbers[name][row]).all():
            raise InputError(f"{where}: {name} is not finite")
    try:
        find_category(str(texts["object"]))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if texts["gender"] not in GENDERS:
        raise InputError(f"{where}: gender is {texts['gender']!r}, want {', '.join(GENDERS)}")
    pose, camera = columns.read_object(table, row), columns.read_camera(table, row)
    if camera is None:
        raise InputError(f"{where}: has no camera")
    if not pose.scale > 0:
        raise InputError(f"{where}: object_scale is {pose.scale}, want more than 0")
    visible = table.numbers["visible"][row] if "visible" in table.numbers else np.nan
    return Annotation(
        image_id=str(texts["image_id"]),
        object=str(texts["object"]),
        video_id=str(texts["video_id"]),
        gender=str(texts["gender"]),
        scene_id=texts.get("scene_id"),
        interaction=texts.get("interaction"),
        human=columns.read_human(table, row),
        object_pose=ObjectPose(
            _exact(where, "object_rotation", pose.rotation), pose.translation, pose.scale, pose.angle
        ),
        camera=Camera(
            _exact(where, "camera_rotation", camera.rotation), camera.translation, camera.focal, camera.principal_point
        ),
        visible=None if np.isnan(visible) else float(visible),
    )


def _exact(where: str, name: str, matrix: np.ndarray) -> np.ndarray:
    """The rotation that a stored matrix stands for; float32 storage leaves it off by 1e-7."""
    error = float(orthonormality_error(matrix))
    if error > ROTATION_TOLERANCE or np.linalg.det(matrix) < 0:
        raise InputError(
            f"{where}: {name} is no rotation (|R^T R - I| is {error:.2g}, determinant {np.linalg.det(matrix):.3g})"
        )
    return nearest_rotation(matrix)
