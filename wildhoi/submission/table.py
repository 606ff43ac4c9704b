"""`predictions.parquet`: one row per image, reconstructed or failed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wildhoi import columns
from wildhoi.dataset import ROTATION_TOLERANCE
from wildhoi.geometry import nearest_rotation, orthonormality_error
from wildhoi.schema import Camera, Failure, ObjectPose, Reconstruction
from wildhoi.submission.defects import Defect

STATUS = ("ok", "failed")
MAX_METRES = 1e6  # beyond it a translation is a blown-up optimisation: distances would lose their digits
SAID_ROTATION_ERROR = 1e-5  # float32 storage alone leaves 1e-7
IMAGE_ID = re.compile(r"[\w.:/@+-]{1,200}")

PREDICTIONS = columns.Layout(
    texts=("image_id", "status"),
    numbers={**columns.HUMAN, **columns.OBJECT},
    optional_texts=("reason",),
    optional_numbers={**columns.ANGLE, **columns.CAMERA, "seconds": ()},
)
COLUMN_HINT = "see docs/submission.md for the columns"


@dataclass(frozen=True)
class Predictions:
    """The rows of a valid file, in file order; rotations are exact."""

    rows: list[Reconstruction | Failure]


def write_predictions(path: Path, rows: Sequence[Reconstruction | Failure]) -> None:
    """Write reconstructions and failures, sorted by image id: the same rows give the same bytes."""
    columns.write_rows(path, PREDICTIONS, [_row(r) for r in sorted(rows, key=lambda r: r.image_id)])


def _row(record: Reconstruction | Failure) -> dict[str, Any]:
    if isinstance(record, Failure):
        return {"image_id": record.image_id, "status": "failed", "reason": record.reason, "seconds": record.seconds}
    return {
        "image_id": record.image_id,
        "status": "ok",
        "seconds": record.seconds,
        **columns.human_row(record.human),
        **columns.object_row(record.object_pose),
        **columns.camera_row(record.camera),
    }


def read_predictions(path: Path) -> tuple[Predictions | None, list[Defect]]:
    """Read and check every row; all defects at once, the rows None where there is an error.

    Raises:
        InputError: the file is no Parquet file at all.
    """
    table = columns.read_columns(path, PREDICTIONS)
    defects = [Defect("column", f"{name}: {found}", wanted, COLUMN_HINT) for name, found, wanted in table.problems]
    defects += [
        Defect("extra-column", name, "a known column", "it is ignored", severity="warning") for name in table.extra
    ]
    if table.problems:
        return None, defects
    if table.n_rows == 0:
        defects.append(Defect("no-rows", "0 rows", "one row per image of the split", "a failed image is a row too"))
    defects += _check_ids(table) + _check_status(table)
    ok = np.array([status == "ok" for status in table.texts["status"]], bool)
    defects += _check_numbers(table, ok)
    if any(defect.severity == "error" for defect in defects):
        return None, sorted(defects, key=lambda d: -1 if d.row is None else d.row)
    return Predictions([_record(table, row) for row in range(table.n_rows)]), defects


def _check_ids(table: columns.Columns) -> list[Defect]:
    defects: list[Defect] = []
    first: dict[str, int] = {}
    for row, name in enumerate(table.texts["image_id"]):
        if not name or not IMAGE_ID.fullmatch(name):
            hint = "1 to 200 letters, digits, '_', '-', '.', ':', '/', '@', '+'"
            defects.append(Defect("image-id", repr(name)[:80], "an image id", hint, row))
        elif name in first:
            defects.append(
                Defect("duplicate-id", f"also in row {first[name]}", "each image once", "remove one", row, name)
            )
        else:
            first[name] = row
    return defects


def _check_status(table: columns.Columns) -> list[Defect]:
    return [
        Defect(
            "status", repr(status)[:80], "ok or failed", "failed rows carry a reason", row, table.texts["image_id"][row]
        )
        for row, status in enumerate(table.texts["status"])
        if status not in STATUS
    ]


def _check_numbers(table: columns.Columns, ok: np.ndarray) -> list[Defect]:
    defects: list[Defect] = []

    def say(rows: np.ndarray, code: str, found: Any, expected: str, hint: str, severity: str = "error") -> None:
        for row in np.flatnonzero(rows):
            text = found(row) if callable(found) else found
            defects.append(Defect(code, text, expected, hint, int(row), table.texts["image_id"][row], severity))

    for name, values in table.numbers.items():
        present, finite = table.present[name], np.isfinite(values.reshape(table.n_rows, -1)).all(axis=1)
        if name in PREDICTIONS.numbers:
            say(ok & ~present, "value-missing", f"no {name}", name, "give the value, or status failed with a reason")
        bad = ok & present & ~finite
        say(
            bad, "not-finite", f"NaN or infinity in {name}", "finite numbers", "mark the image as failed, with a reason"
        )
        usable = ok & present & finite
        if name in columns.ROTATIONS:
            _check_rotations(name, values, usable, say)
        if name.endswith("_translation"):
            far = usable & (np.abs(values).max(axis=1, initial=0) > MAX_METRES)
            say(
                far,
                "translation",
                f"{name} beyond {MAX_METRES:g} m",
                "metres",
                "check the unit, or mark the image as failed",
            )
        if name in ("object_scale", "focal"):
            low = usable & (values.reshape(table.n_rows, -1) <= 0).any(axis=1)
            say(
                low,
                name.replace("_", "-"),
                lambda row, v=values, n=name: f"{n} {v[row]}",
                "greater than 0",
                "1 for the template",
            )
        if name == "seconds":
            say(
                usable & (values < 0),
                "seconds",
                "a negative time",
                "seconds >= 0 or null",
                "leave it out if not measured",
            )
    has = [table.present.get(name, np.zeros(table.n_rows, bool)) for name in columns.CAMERA]
    partial = ok & np.any(has, axis=0) & ~np.all(has, axis=0)
    say(
        partial,
        "camera",
        "a part of the camera",
        f"all of {', '.join(columns.CAMERA)}, or none",
        "give or drop the rest",
    )
    return defects


def _check_rotations(name: str, values: np.ndarray, usable: np.ndarray, say: Any) -> None:
    """Report matrices that are no rotation, and those near one that are projected."""
    exact = np.where(usable[:, None, None], values, np.eye(3))
    with np.errstate(over="ignore", invalid="ignore"):
        error = orthonormality_error(exact)
    far = ~(error <= ROTATION_TOLERANCE)
    found = lambda row: f"{name} off orthonormal by {error[row]:.3g}"  # noqa: E731
    say(far, "not-a-rotation", found, f"at most {ROTATION_TOLERANCE:g}", "orthonormalise it, rows before columns")
    mirrored = ~far & (np.linalg.det(np.where(far[:, None, None], np.eye(3), exact)) < 0)
    say(mirrored, "reflection", f"{name} with determinant -1", "determinant +1", "a rotation, not a mirror image")
    near = ~far & ~mirrored & (error > SAID_ROTATION_ERROR)
    say(near, "rotation-projected", found, "a rotation", "the nearest rotation is used", "warning")


def _record(table: columns.Columns, row: int) -> Reconstruction | Failure:
    image_id = str(table.texts["image_id"][row])
    seconds = table.numbers["seconds"][row] if "seconds" in table.numbers else np.nan
    taken = None if np.isnan(seconds) else float(seconds)
    if table.texts["status"][row] == "failed":
        reason = table.texts.get("reason", [None] * table.n_rows)[row]
        return Failure(image_id, reason or "no reason given", taken)
    pose, camera = columns.read_object(table, row), columns.read_camera(table, row)
    if camera is not None:
        camera = Camera(nearest_rotation(camera.rotation), camera.translation, camera.focal, camera.principal_point)
    exact = ObjectPose(nearest_rotation(pose.rotation), pose.translation, pose.scale, pose.angle)
    return Reconstruction(image_id, columns.read_human(table, row), exact, camera, taken)
