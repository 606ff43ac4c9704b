"""`predictions.parquet`: one row per image, reconstructed or failed."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from wildhoi import columns
from wildhoi.dataset import ROTATION_TOLERANCE
from wildhoi.geometry import nearest_rotation, orthonormality_error
from wildhoi.schema import Failure, Reconstruction
from wildhoi.submission.defects import Defect, errors

STATUS = ("ok", "failed")
MAX_NUMBER = 1e6  # beyond it is a blown-up optimisation: distances would lose their digits
SAID_ROTATION_ERROR = 1e-5  # float32 storage alone leaves 1e-7
MAX_ID, MAX_REASON = 200, 500  # characters
IMAGE_ID = re.compile(rf"[\w.:/@+-]{{1,{MAX_ID}}}")

PREDICTIONS = columns.Layout(
    texts=("image_id", "status"),
    numbers={**columns.HUMAN, **columns.OBJECT},
    optional_texts=("reason",),
    optional_numbers={**columns.ANGLE, **columns.CAMERA, "seconds": ()},
)
COLUMN_HINT = "see docs/submission.md for the columns"


@dataclass(frozen=True)
class Predictions:
    """A file's image ids, in file order, and its rows with exact rotations; `rows` is None where there is an error."""

    ids: list[str | None]
    rows: list[Reconstruction | Failure] | None


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


def read_predictions(path: Path) -> tuple[Predictions, list[Defect]]:
    """Read and check every row; all defects at once, those of the whole file first.

    Raises:
        InputError: the file is no Parquet file at all.
    """
    table = columns.read_columns(path, PREDICTIONS)
    ids = [_cut(name, MAX_ID + 1) for name in table.texts.get("image_id", [None] * table.n_rows)]
    report = _Report(ids)
    for name in table.extra:
        report.defects.append(
            Defect("extra-column", repr(name)[:80], "a known column", "it is ignored", severity="warning")
        )
    if table.n_rows == 0:
        hint = "a failed image is a row too"
        report.defects.append(Defect("no-rows", "0 rows", "one row per image of the split", hint))
    _check_columns(table, report)
    _check_ids(table, report)
    _check_status(table, report)
    _check_numbers(table, report)
    _check_cameras(table, report)
    defects = sorted(report.defects, key=lambda d: -1 if d.row is None else d.row)
    if errors(defects):
        return Predictions(ids, None), defects
    exact = _exact_rotations(table)
    return Predictions(ids, [_record(exact, row) for row in range(table.n_rows)]), defects


def _cut(text: str | None, length: int) -> str | None:
    return text if text is None else text[:length]


@dataclass
class _Report:
    """Collects what is wrong with the rows."""

    ids: list[str | None]
    defects: list[Defect] = field(default_factory=list)

    def add(
        self,
        rows: np.ndarray | Iterable[int],
        code: str,
        found: str | Callable[[int], str],
        expected: str,
        hint: str,
        severity: str = "error",
    ) -> None:
        """Say the same of many rows: a mask of them, or their numbers."""
        for row in np.flatnonzero(rows) if isinstance(rows, np.ndarray) else rows:
            text = found if isinstance(found, str) else found(int(row))
            self.defects.append(Defect(code, text, expected, hint, int(row), self.ids[row], severity))


def _check_columns(table: columns.Columns, report: _Report) -> None:
    ok = _reconstructed(table)
    for problem in table.problems:
        found = f"{problem.column}: {problem.found}"
        if problem.row is None:
            report.defects.append(Defect("column", found, problem.wanted, COLUMN_HINT))
        elif ok[problem.row]:
            report.add([problem.row], "length", found, problem.wanted, COLUMN_HINT)


def _check_ids(table: columns.Columns, report: _Report) -> None:
    first: dict[str, int] = {}
    for row, name in enumerate(report.ids if "image_id" in table.texts else ()):
        if not name or not IMAGE_ID.fullmatch(name):
            hint = "1 to 200 letters, digits, '_', '-', '.', ':', '/', '@', '+'"
            report.add([row], "image-id", repr(_cut(name, 80)), "an image id", hint)
        elif name in first:
            report.add([row], "duplicate-id", f"also in row {first[name]}", "each image once", "remove one")
        else:
            first[name] = row


def _check_status(table: columns.Columns, report: _Report) -> None:
    for row, status in enumerate(table.texts.get("status", ())):
        if status not in STATUS:
            hint = "failed rows carry a reason"
            report.add([row], "status", repr(_cut(status, 80)), "ok or failed", hint)


def _reconstructed(table: columns.Columns) -> np.ndarray:
    """The rows (n,) whose numbers count."""
    return np.array([status == "ok" for status in table.texts.get("status", ["ok"] * table.n_rows)], bool)


def _check_numbers(table: columns.Columns, report: _Report) -> None:
    """Report values that are absent, not finite or out of range, column by column."""
    ok = _reconstructed(table)
    for name, values in table.numbers.items():
        flat = values.reshape(table.n_rows, prod(values.shape[1:]))
        finite = np.isfinite(flat).all(axis=1)
        given = table.present[name] & (ok if name != "seconds" else True)
        usable = given & finite
        if name in PREDICTIONS.numbers and "status" in table.texts:
            absent = ok & ~table.present[name]
            absent[[p.row for p in table.problems if p.column == name and p.row is not None]] = False
            report.add(absent, "value-missing", f"no {name}", name, "give the value, or status failed with a reason")
        hint = "mark the image as failed, with a reason"
        report.add(given & ~finite, "not-finite", f"NaN or infinity in {name}", "finite numbers", hint)
        if name in columns.ROTATIONS:
            _check_rotations(name, values, usable, report)
            continue
        large = usable & (np.abs(flat).max(axis=1, initial=0) > MAX_NUMBER)
        report.add(large, "too-large", f"{name} beyond {MAX_NUMBER:g}", "metres, radians or pixels", hint)
        if name in ("object_scale", "focal"):
            low = usable & (flat <= 0).any(axis=1)
            hint = "a scale of 1 is the template's size"
            report.add(low, name.replace("_", "-"), _value_of(name, values), "greater than 0", hint)
        if name == "seconds":
            hint = "leave it out if not measured"
            report.add(usable & (flat[:, 0] < 0), "seconds", "a negative time", "seconds >= 0 or null", hint)


def _value_of(name: str, values: np.ndarray) -> Callable[[int], str]:
    """What to say of a row: its own value."""
    return lambda row: f"{name} {values[row]}"


def _check_cameras(table: columns.Columns, report: _Report) -> None:
    """Report rows with a part of a camera, where the file's camera columns can be told apart at all."""
    if any(problem.column in columns.CAMERA for problem in table.problems):
        return
    has = [table.present.get(name, np.zeros(table.n_rows, bool)) for name in columns.CAMERA]
    partial = _reconstructed(table) & np.any(has, axis=0) & ~np.all(has, axis=0)
    wanted = f"all of {', '.join(columns.CAMERA)}, or none"
    report.add(partial, "camera", "a part of the camera", wanted, "give or drop the rest")


def _check_rotations(name: str, values: np.ndarray, usable: np.ndarray, report: _Report) -> None:
    """Report matrices that are no rotation, and those near one that are projected."""
    exact = np.where(usable[:, None, None], values, np.eye(3))
    with np.errstate(over="ignore", invalid="ignore"):
        error = orthonormality_error(exact)
    far = ~(error <= ROTATION_TOLERANCE)

    def found(row: int) -> str:
        return f"{name} off orthonormal by {error[row]:.3g}"

    wanted = f"at most {ROTATION_TOLERANCE:g}"
    report.add(far, "not-a-rotation", found, wanted, "make it orthonormal, or check that it is stored row by row")
    mirrored = ~far & (np.linalg.det(np.where(far[:, None, None], np.eye(3), exact)) < 0)
    hint = "a rotation, not a mirror image"
    report.add(mirrored, "reflection", f"{name} with determinant -1", "determinant +1", hint)
    near = ~far & ~mirrored & (error > SAID_ROTATION_ERROR)
    report.add(near, "rotation-projected", found, "a rotation", "the nearest rotation is used", "warning")


def _exact_rotations(table: columns.Columns) -> columns.Columns:
    """The table with the nearest rotation in place of each given matrix."""
    exact = {
        name: nearest_rotation(np.where(np.isfinite(table.numbers[name]), table.numbers[name], np.eye(3)))
        for name in columns.ROTATIONS
        if name in table.numbers
    }
    return replace(table, numbers={**table.numbers, **exact})


def _record(table: columns.Columns, row: int) -> Reconstruction | Failure:
    image_id = str(table.texts["image_id"][row])
    seconds = table.numbers["seconds"][row] if "seconds" in table.numbers else np.nan
    taken = None if np.isnan(seconds) else float(seconds)
    if table.texts["status"][row] == "failed":
        reason = table.texts.get("reason", [None] * table.n_rows)[row]
        return Failure(image_id, _cut(reason, MAX_REASON) or "no reason given", taken)
    human, pose = columns.read_human(table, row), columns.read_object(table, row)
    return Reconstruction(image_id, human, pose, columns.read_camera(table, row), taken)
