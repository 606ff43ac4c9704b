"""Further views of a data folder's scenes: `layouts/OBJ/SPLIT-*.parquet`, one row a view, without pictures."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from wildhoi import columns
from wildhoi.dataset.annotations import ROTATION_TOLERANCE
from wildhoi.dataset.folder import DataFolder
from wildhoi.dataset.tables import find_tables
from wildhoi.errors import InputError
from wildhoi.geometry import nearest_rotation, orthonormality_error
from wildhoi.objects import find_category
from wildhoi.schema import Camera, SceneView

LAYOUTS = columns.Layout(
    texts=("scene_id", "object"),
    integers=("view",),
    numbers={**columns.CAMERA, "body_keypoints": (22, 2), "object_keypoints": (-1, 2)},
)


def write_layouts(path: Path, views: Sequence[SceneView]) -> None:
    """Write views as one Parquet file, rows sorted by scene and view."""
    columns.write_rows(path, LAYOUTS, [layout_row(view) for view in sorted(views, key=_place)])


def layout_row(view: SceneView) -> dict[str, Any]:
    """The columns of a view."""
    return {
        **{name: getattr(view, name) for name in (*LAYOUTS.texts, *LAYOUTS.integers)},
        **columns.camera_row(view.camera),
        "body_keypoints": view.body_keypoints,
        "object_keypoints": view.object_keypoints,
    }


def load_layouts(
    data: DataFolder | str | Path,
    split: str = "train",
    objects: Sequence[str] | None = None,
    *,
    mini: bool = False,
    revision: str | None = None,
) -> list[SceneView]:
    """Read the further views of a split's scenes, sorted by scene and view.

    Args:
        data: a data folder, the name of one at hand, else a data set of the Hub (`open`, or `user/name`).
        split: `train` or `test`.
        objects: names of categories; default all.
        mini: those of the few scenes that are for trying things out.
        revision: of a data set of the Hub: a tag, branch or commit; default its main branch.

    Raises:
        InputError: the split or an object has no layouts here, or a file is invalid.
        MissingAssetError: the data set is neither at hand nor on the Hub, or needs a permission.
    """
    source, files = find_tables(data, "mini/layouts" if mini else "layouts", split, objects, revision)
    found = sorted((view for path in files for view in read_layouts(path)), key=_place)
    twice = [_place(a) for a, b in pairwise(found) if _place(a) == _place(b)]
    if twice:
        scene, view = twice[0]
        raise InputError(f"{source}: scene_id {scene!r} has view {view} twice in split {split} ({len(twice)} such)")
    return found


def _place(view: SceneView) -> tuple[str, int]:
    return view.scene_id, view.view


def read_layouts(path: Path) -> list[SceneView]:
    """Read one file of views, all of the object that its folder is named by; rotations become the nearest exact ones.

    Raises:
        InputError: a column is absent or wrong, or a value is not finite, no rotation or another object's; names file,
            scene and field.
    """
    keypoints = {"object_keypoints": (len(find_category(path.parent.name).keypoints), 2)}
    table = columns.read_columns(path, replace(LAYOUTS, numbers={**LAYOUTS.numbers, **keypoints}))
    if table.problems:
        raise InputError(f"{path}: {'; '.join(map(str, table.problems[:10]))}")
    _check(path, table)
    rotations = nearest_rotation(table.numbers["camera_rotation"])
    return [_view(table, row, rotations[row]) for row in range(table.n_rows)]


def _check(path: Path, table: columns.Columns) -> None:
    """Refuse the first row that is no view of the file's object, whole columns at a time: there are many rows."""
    numbers, rotations = table.numbers, table.numbers["camera_rotation"]
    bad = {f"{name} is not finite": ~np.isfinite(v).all(axis=tuple(range(1, v.ndim))) for name, v in numbers.items()}
    bad["view is no count"] = np.not_equal(numbers["view"], np.abs(numbers["view"]).round())
    wrong = (orthonormality_error(rotations) > ROTATION_TOLERANCE) | (np.linalg.det(rotations) < 0)
    bad["camera_rotation is no rotation"] = wrong
    bad["scene_id is empty"] = np.array([not text for text in table.texts["scene_id"]], bool)
    other = f"object is not {path.parent.name!r}, which the folder is that of"
    bad[other] = np.array([text != path.parent.name for text in table.texts["object"]], bool)
    for what, rows in bad.items():
        if rows.any():
            row = int(np.flatnonzero(rows)[0])
            raise InputError(f"{path}: row {row}, scene_id {table.texts['scene_id'][row]!r}: {what}")


def _view(table: columns.Columns, row: int, rotation: np.ndarray) -> SceneView:
    numbers = {name: values[row] for name, values in table.numbers.items()}
    return SceneView(
        scene_id=str(table.texts["scene_id"][row]),
        object=str(table.texts["object"][row]),
        view=int(numbers["view"]),
        camera=Camera(rotation, numbers["camera_translation"], numbers["focal"], numbers["principal_point"]),
        body_keypoints=numbers["body_keypoints"],
        object_keypoints=numbers["object_keypoints"],
    )
