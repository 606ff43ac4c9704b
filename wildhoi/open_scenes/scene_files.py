"""Scenes as files: Parquet, one row a scene, with what was drawn again on the way to them."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wildhoi import columns
from wildhoi.errors import InputError
from wildhoi.files import atomic_path
from wildhoi.geometry import nearest_rotation
from wildhoi.open_scenes.scene import Scene
from wildhoi.schema import Camera

NOTES = b"wildhoi"
TAKEN = {name: f"taken_{name}" for name in columns.CAMERA}
"""Columns of the camera that took the picture; those without a prefix are the annotated one's, as everywhere."""

SCENES = columns.Layout(
    texts=("scene_id", "object", "interaction"),
    numbers={
        **columns.HUMAN,
        **columns.OBJECT,
        **columns.CAMERA,
        **{TAKEN[name]: shape for name, shape in columns.CAMERA.items()},
        "frame_size": (2,),
        "window": (3,),
        "body_box": (4,),
        "upright": (3, 3),
        "visible": (),
    },
    optional_numbers=columns.ANGLE,
)
ROTATIONS = [name for name, shape in SCENES.numbers.items() if shape == (3, 3)]


@dataclass(frozen=True)
class SceneFile:
    """The scenes of a file in their order, and the (scene, reason) of every attempt that did not hold."""

    scenes: list[Scene]
    redrawn: list[tuple[str, str]]


def write_scenes(path: Path, scenes: Sequence[Scene], redrawn: Sequence[tuple[str, str]]) -> None:
    """Write scenes, with the same bytes every time."""
    table = columns.make_rows_table(SCENES, [_row(scene) for scene in scenes])
    notes = json.dumps({"redrawn": [list(entry) for entry in redrawn]})
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata({NOTES: notes}), temporary, compression="zstd")


def _row(scene: Scene) -> dict[str, object]:
    taken = columns.camera_row(scene.camera)
    return {
        **{name: getattr(scene, name) for name in ("scene_id", "object", "interaction", "visible")},
        **{name: getattr(scene, name) for name in ("frame_size", "window", "body_box", "upright")},
        **columns.human_row(scene.human),
        **columns.object_row(scene.object_pose),
        **columns.camera_row(scene.annotated),
        **{TAKEN[name]: taken[name] for name in columns.CAMERA},
    }


def read_scenes(path: Path, names: Collection[str] | None = None) -> SceneFile:
    """Read a file of scenes; rotations are brought from float32 onto the nearest exact ones.

    Args:
        path: the file.
        names: of the scenes that are wanted; default all. What was drawn again is told of all.

    Raises:
        InputError: the file is absent, damaged or not one of scenes.
    """
    table = columns.read_columns(path, SCENES)
    if table.problems:
        raise InputError(f"{path}: {'; '.join(map(str, table.problems[:5]))}; make the data set again")
    try:
        notes = json.loads((pq.read_metadata(path).metadata or {})[NOTES])
        redrawn = [(str(scene), str(reason)) for scene, reason in notes["redrawn"]]
    except (pa.ArrowException, KeyError, TypeError, ValueError):
        raise InputError(f"{path}: does not say what was drawn again; make the data set again") from None
    exact = {name: nearest_rotation(table.numbers[name]) for name in ROTATIONS}
    table = replace(table, numbers=table.numbers | exact)
    wanted = [row for row, name in enumerate(table.texts["scene_id"]) if names is None or name in names]
    return SceneFile([_scene(table, row) for row in wanted], redrawn)


def _scene(table: columns.Columns, row: int) -> Scene:
    texts, numbers = table.texts, table.numbers
    width, height = (int(length) for length in numbers["frame_size"][row])
    x, y, side = (int(length) for length in numbers["window"][row])
    return Scene(
        scene_id=str(texts["scene_id"][row]),
        object=str(texts["object"][row]),
        interaction=str(texts["interaction"][row]),
        human=columns.read_human(table, row),
        object_pose=columns.read_object(table, row),
        camera=_camera(table, row, TAKEN),
        annotated=_camera(table, row, {name: name for name in columns.CAMERA}),
        frame_size=(width, height),
        window=(x, y, side),
        body_box=np.asarray(numbers["body_box"][row]),
        upright=np.asarray(numbers["upright"][row]),
        visible=float(numbers["visible"][row]),
    )


def _camera(table: columns.Columns, row: int, names: Mapping[str, str]) -> Camera:
    rotation, translation, focal, principal_point = (table.numbers[names[name]][row] for name in columns.CAMERA)
    return Camera(rotation, translation, focal, principal_point)
