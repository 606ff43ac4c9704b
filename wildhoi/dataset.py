"""Data folders: finding one by name, reading and writing its annotations, and the revision that names its content.

A data folder holds `dataset.json` (who it is), `checksums.json`, `annotations/OBJ/SPLIT-*.parquet` and
`objects/OBJ/` (templates).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import get_args

import numpy as np

from wildhoi import columns
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import canonical_json, read_json, sha256_file, sha256_text, write_text
from wildhoi.geometry import nearest_rotation, orthonormality_error
from wildhoi.objects import find_category
from wildhoi.schema import GENDERS, Annotation, BodyKind, Camera, ObjectPose

SPLITS = ("train", "test")
IDENTITY = "dataset.json"
BODY_MODELS: tuple[BodyKind, ...] = get_args(BodyKind)
ROTATION_TOLERANCE = 1e-3
SHIPPED = {"open-sample": Path(__file__).parent / "assets" / "sample"}

ANNOTATIONS = columns.Layout(
    texts=("image_id", "object", "video_id", "gender"),
    numbers={**columns.HUMAN, **columns.OBJECT, **columns.CAMERA},
    optional_texts=("scene_id",),
    optional_numbers={**columns.ANGLE, "visible": ()},
)


@dataclass(frozen=True)
class DataFolder:
    """A data set on disk. `revision` is derived from `checksums`, the recorded hashes of its files by relative path."""

    path: Path
    name: str
    body_model: BodyKind
    checksums: Mapping[str, str]

    @property
    def revision(self) -> str:
        """The name of the content as it was sealed; `changed_files` tells whether it still is that."""
        return sha256_text(canonical_json(dict(self.checksums)))[:16]

    @property
    def objects(self) -> Path:
        """Where the templates are."""
        return self.path / "objects"

    def categories(self, split: str) -> list[str]:
        """The objects that have annotations of a split, sorted."""
        return sorted({path.parent.name for path in self.path.glob(f"annotations/*/{split}-*.parquet")})

    def changed_files(self, split: str) -> list[str]:
        """The files a score of a split is made from that are not as recorded: changed, added or gone."""
        patterns = (IDENTITY, f"annotations/*/{split}-*.parquet", "objects/*/*", "lists/*")
        there = {p.relative_to(self.path).as_posix(): p for pattern in patterns for p in self.path.glob(pattern)}
        changed = [name for name, path in there.items() if sha256_file(path) != self.checksums.get(name)]
        gone = [
            name for name in self.checksums if name not in there and any(fnmatch(name, pattern) for pattern in patterns)
        ]
        return sorted(changed + gone)


def find_data(name: str | Path) -> DataFolder:
    """Resolve a data set: a folder given, `$WILDHOI_DATA/NAME`, or one that ships with the package.

    Raises:
        MissingAssetError: nothing of that name is at hand.
        InputError: the folder is not a data folder.
    """
    root = os.environ.get("WILDHOI_DATA")
    places = [
        Path(name),
        *([Path(root) / name] if root else []),
        *([SHIPPED[str(name)]] if str(name) in SHIPPED else []),
    ]
    for place in places:
        if (place / IDENTITY).is_file():
            return open_folder(place)
    if os.sep in str(name) and Path(name).is_dir():
        raise InputError(f"{name}: has no {IDENTITY}, so it is no data folder; `wildhoi data convert` makes one")
    raise MissingAssetError(
        f"data set {str(name)!r} is not at hand: it is no data folder, $WILDHOI_DATA is {root or 'not set'}, and "
        f"{', '.join(SHIPPED)} is what ships; convert your copy of a raw release with `wildhoi data convert`"
    )


def open_folder(path: Path) -> DataFolder:
    """Read what a data folder says of itself.

    Raises:
        InputError: `dataset.json` or `checksums.json` is absent or invalid.
    """
    identity = read_json(path / IDENTITY)
    if not isinstance(identity, dict) or not isinstance(identity.get("name"), str):
        raise InputError(f"{path / IDENTITY}: want an object with the fields name and body_model")
    if identity.get("body_model") not in BODY_MODELS:
        raise InputError(f"{path / IDENTITY}: body_model is {identity.get('body_model')!r}, want one of {BODY_MODELS}")
    checksums = read_json(path / "checksums.json")
    if not isinstance(checksums, dict) or not all(isinstance(value, str) for value in checksums.values()):
        raise InputError(f"{path / 'checksums.json'}: want an object of file names and their hashes")
    return DataFolder(path, identity["name"], identity["body_model"], MappingProxyType(checksums))


def seal_folder(path: Path, *, name: str, body_model: str) -> DataFolder:
    """Write `dataset.json` and `checksums.json` of a finished data folder, in that order, and open it."""
    write_text(path / IDENTITY, canonical_json({"name": name, "body_model": body_model}) + "\n")
    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    hashes = {
        p.relative_to(path).as_posix(): sha256_file(p) for p in files if p.name not in ("checksums.json", "README.md")
    }
    write_text(path / "checksums.json", canonical_json(hashes) + "\n")
    return open_folder(path)


def write_annotations(path: Path, annotations: Sequence[Annotation]) -> None:
    """Write annotations as one Parquet file, rows sorted by image id."""
    rows = [
        {
            "image_id": a.image_id,
            "object": a.object,
            "video_id": a.video_id,
            "gender": a.gender,
            "scene_id": a.scene_id,
            "visible": a.visible,
            **columns.human_row(a.human),
            **columns.object_row(a.object_pose),
            **columns.camera_row(a.camera),
        }
        for a in sorted(annotations, key=lambda a: a.image_id)
    ]
    columns.write_rows(path, ANNOTATIONS, rows)


def load_annotations(data: DataFolder, split: str = "test", objects: Sequence[str] | None = None) -> list[Annotation]:
    """Read the truth of a split, sorted by image id.

    Raises:
        InputError: the split or an object has no annotations here, or a file is invalid.
    """
    available = data.categories(split)
    if split not in SPLITS or not available:
        there = ", ".join(name for name in SPLITS if data.categories(name)) or "none"
        raise InputError(f"{data.path}: has no annotations of split {split!r}, there are those of: {there}")
    wrong = sorted(set(objects or ()) - set(available))
    if wrong:
        raise InputError(f"{data.path}: no {split} annotations of {', '.join(wrong)}; there are {', '.join(available)}")
    files = [
        path
        for name in objects or available
        for path in sorted((data.path / "annotations" / name).glob(f"{split}-*.parquet"))
    ]
    found = sorted((a for path in files for a in _read_of(path, path.parent.name)), key=lambda a: a.image_id)
    twice = [a.image_id for a, b in pairwise(found) if a.image_id == b.image_id]
    if twice:
        raise InputError(f"{data.path}: image_id {twice[0]!r} is annotated twice in split {split} ({len(twice)} such)")
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
