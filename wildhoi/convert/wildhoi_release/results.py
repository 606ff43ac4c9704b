"""The result lists of the WildHOI authors as reconstructions."""

from pathlib import Path
from typing import Any

from wildhoi.convert.pickle_arrays import clip
from wildhoi.convert.safe_pickle import load_pickle
from wildhoi.convert.wildhoi_release.records import FIELDS, IGNORED, Record, read_record
from wildhoi.errors import InputError
from wildhoi.schema import Failure, Reconstruction
from wildhoi.submission.defects import Defect, DefectError, errors, warnings
from wildhoi.submission.table import IMAGE_ID

MAX_FILE_BYTES = 512 * 2**20
NOT_FINITE = "NaN in the object's pose"


def read_results(path: Path, *, nan_as_failed: bool = False) -> tuple[list[Reconstruction | Failure], list[str]]:
    """Read a result list as the authors' code writes it (`outputs/EXP/OBJ_test.pkl`).

    Args:
        path: a pickle of a list of dicts, one per image.
        nan_as_failed: turn rows whose object pose has NaN or infinite numbers into failures, and say so.

    Returns:
        the rows in file order, and warnings.

    Raises:
        InputError: the file is no pickle of plain data, or no list.
        DefectError: rows are invalid; carries every defect of all of them.
    """
    content = load_pickle(path, max_bytes=MAX_FILE_BYTES)
    if not isinstance(content, list) or not content:
        found = "an empty list" if isinstance(content, list) else f"a {type(content).__name__}"
        raise InputError(f"{path}: got {found}, want a list of dicts, one per image, each with its image_id")
    rows: list[Reconstruction | Failure] = []
    defects: list[Defect] = []
    seen: dict[str, int] = {}
    for number, raw in enumerate(content):
        image_id = _image_id(raw, number, seen, defects)
        record = read_record(raw, image_id, number, camera_required=False) if isinstance(raw, dict) else None
        if record is not None and nan_as_failed and record.object_is_not_finite:
            _note_failure(record)
            rows.append(Failure(image_id, NOT_FINITE))
        elif record is not None and not errors(record.defects):
            rows.append(Reconstruction(image_id, record.human, record.object_pose, record.camera))
        defects += record.defects if record is not None else []
    defects += _extra_keys(content)
    if errors(defects):
        raise DefectError(str(path), defects)
    return rows, [str(defect) for defect in warnings(defects)]


def _image_id(raw: Any, number: int, seen: dict[str, int], defects: list[Defect]) -> str:
    """The id of a result row; notes where there is none or it came before."""
    if not isinstance(raw, dict):
        defects.append(Defect("row-type", f"a {type(raw).__name__}", "a dict", "one dict per image", number))
        return ""
    image_id = raw.get("image_id")
    if not isinstance(image_id, str) or not IMAGE_ID.fullmatch(image_id):
        found = f"image_id {clip(image_id)}" if "image_id" in raw else "no image_id"
        defects.append(Defect("image-id", found, "text such as 0012_001_002414", "VID_HOI_FRM of the image", number))
        return ""
    if image_id in seen:
        found = f"also in row {seen[image_id]}"
        defects.append(Defect("duplicate-id", found, "each image once", "remove one", number, image_id))
    seen.setdefault(image_id, number)
    return str(image_id)


def _note_failure(record: Record) -> None:
    """Replace the defects of a row whose object pose is not finite by a warning."""
    record.defects = warnings(record.defects)
    fields = ", ".join(record.not_finite)
    record.add("not-finite", f"NaN or infinity in {fields}", "finite numbers", "the image counts as failed", "warning")


def _extra_keys(content: list[Any]) -> list[Defect]:
    """One warning for each key that no row should have."""
    counts: dict[str, int] = {}
    for key in (key for raw in content if isinstance(raw, dict) for key in raw):
        counts[str(key)] = counts.get(str(key), 0) + 1
    hint = "it is ignored"
    return [
        Defect("extra-key", f"{clip(key)} in {count} rows", "a known key", hint, severity="warning")
        for key, count in counts.items()
        if key not in FIELDS and key not in IGNORED
    ]
