"""The truth of the WildHOI release: `data/annotation_hoi/OBJ/test/VID_HOI_FRM.pkl`, with the templates it is about."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wildhoi.convert.conversion_report import ObjectReport
from wildhoi.convert.safe_pickle import load_pickle
from wildhoi.convert.wildhoi_release.records import ANGLE, FIELDS, IGNORED, Record, read_record
from wildhoi.convert.wildhoi_release.templates import convert_template
from wildhoi.dataset.annotations import write_annotations
from wildhoi.errors import InputError
from wildhoi.objects import Category
from wildhoi.schema import Annotation
from wildhoi.submission.defects import Defect, DefectError, errors, warnings

RELEASE_ID = re.compile(r"(?P<video>[0-9]{4})_(?P<hoi>[0-9]{3})_(?P<frame>[0-9]{6})")
MAX_FILE_BYTES = 64 * 2**20
SHARD = "test-00000-of-00001.parquet"


def convert_truth(
    categories: Sequence[Category], data: Path, split: Mapping[str, Any], out: Path
) -> dict[str, ObjectReport]:
    """Write the template and the truth of every object, and report on them.

    Args:
        categories: the objects; those without annotations get a template only.
        data: the release's data folder: `annotation_hoi/OBJ/test/*.pkl`, `objects/`, `contact/`.
        split: the content of `train_test_split.json`.
        out: the data folder.

    Raises:
        DefectError: annotation or template files are invalid; carries every defect of all of them.
    """
    reports: dict[str, ObjectReport] = {}
    defects = _twins([category.name for category in categories], data)
    for category in categories:
        try:
            template = convert_template(category, data, out / "objects" / category.name)
        except InputError as error:
            hint = "copy the release's data/objects and data/contact again"
            defects.append(Defect("template", str(error), f"the template of {category.name}", hint))
            continue
        report = reports[category.name] = ObjectReport(template)
        defects += _convert_object(category, data, split.get(category.name, {}), out, report)
    if errors(defects):
        raise DefectError(str(data), defects)
    return reports


def annotated_ids(data: Path, name: str) -> list[str]:
    """The annotated images of an object, sorted; those of unreadable annotations too."""
    return sorted(path.stem for path in _folder(data, name).glob("*.pkl") if RELEASE_ID.fullmatch(path.stem))


def _folder(data: Path, name: str) -> Path:
    return data / "annotation_hoi" / name / "test"


def _convert_object(
    category: Category, data: Path, split: Mapping[str, Any], out: Path, report: ObjectReport
) -> list[Defect]:
    """Write an object's annotations and report on them; returns what is invalid."""
    folder = _folder(data, category.name)
    if not folder.is_dir():
        report.notes.append("no annotations")
        return []
    annotations, defects = _read_object(category, folder, report)
    videos = sorted({annotation.video_id for annotation in annotations})
    report.count("annotations", "test", {"rows": len(annotations), "videos": videos})
    outside = _outside_split(set(videos), split)
    report.remark("annotated, but not a test video of the split", outside)
    if annotations:
        write_annotations(out / "annotations" / category.name / SHARD, annotations)
    return defects


def _outside_split(videos: set[str], split: Mapping[str, Any]) -> list[str]:
    """The annotated videos that the split names as training videos, or does not name as test videos."""
    test, train = split.get("test_videos"), split.get("train_videos")
    outside = videos - set(map(str, test)) if isinstance(test, list) else set()
    return sorted(outside | (videos & set(map(str, train)) if isinstance(train, list) else set()))


def _read_object(category: Category, folder: Path, report: ObjectReport) -> tuple[list[Annotation], list[Defect]]:
    """Read every annotation of an object: the valid ones, and the defects of the others."""
    annotations: list[Annotation] = []
    defects: list[Defect] = []
    notes = _Notes()
    for path in sorted(folder.glob("*.pkl")):
        try:
            raw = load_pickle(path, max_bytes=MAX_FILE_BYTES)
        except InputError as error:
            hint = "copy the file again from the release"
            defects.append(Defect("unreadable", str(error), "an annotation pickle", hint, image_id=path.stem))
            continue
        match = RELEASE_ID.fullmatch(path.stem)
        if match is None or not isinstance(raw, dict):
            hint = "annotations are named VID_HOI_FRM.pkl and hold a dict"
            found = f"{path.name} with a {type(raw).__name__}"
            defects.append(Defect("annotation", found, "a dict in a file such as 0012_001_002414.pkl", hint))
            continue
        record = _read_annotation(raw, path.stem, category, notes, report)
        defects += errors(record.defects)
        if not errors(record.defects) and record.camera is not None and not record.not_finite:
            camera = record.camera
            pose = record.object_pose
            annotations.append(Annotation(path.stem, category.name, match["video"], record.human, pose, camera))
    if not annotations and not errors(defects):
        defects.append(Defect("no-annotations", f"none in {folder}", "at least one image", "is this the release?"))
    report.remark("rotations projected onto the nearest exact one", notes.projected)
    report.remark("unknown fields ignored", sorted(notes.ignored))
    report.rotation_error = round(notes.rotation_error, 9)
    return annotations, defects


class _Notes:
    """What is said once of all annotations of an object."""

    def __init__(self) -> None:
        self.projected: list[str] = []
        self.ignored: set[str] = set()
        self.rotation_error = 0.0


def _read_annotation(
    raw: Mapping[str, Any], name: str, category: Category, notes: _Notes, report: ObjectReport
) -> Record:
    """Read one annotation; one with a pose that was never found is dropped."""
    ignored = {*IGNORED, *(ANGLE if category.joint is None else ())}
    record = read_record({k: v for k, v in raw.items() if k not in ignored}, name, None, camera_required=True)
    if record.is_not_finite:
        report.drop(name, f"annotation: NaN in {', '.join(record.not_finite)}")
        record.defects = warnings(record.defects)
    notes.ignored |= {str(key) for key in raw if key not in FIELDS and key not in ignored}
    notes.rotation_error = max(notes.rotation_error, record.rotation_error)
    notes.projected += [name] if record.defects and not errors(record.defects) else []
    return record


def _twins(names: Sequence[str], data: Path) -> list[Defect]:
    """The image ids that more than one object has: an id must name one image."""
    owners: dict[str, str] = {}
    defects = []
    for name in names:
        for image_id in annotated_ids(data, name):
            if image_id in owners:
                found, hint = f"in {owners[image_id]} and {name}", "convert these objects into folders of their own"
                defects.append(Defect("duplicate-id", found, "an id of one object", hint, image_id=image_id))
            owners.setdefault(image_id, name)
    return defects
