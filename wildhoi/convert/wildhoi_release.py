"""The authors' WildHOI release: test truth and templates as a data folder, result lists as reconstructions."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from wildhoi.convert.conversion_report import ConversionReport, ObjectReport, render_readme
from wildhoi.convert.pickle_arrays import clip
from wildhoi.convert.safe_pickle import load_pickle
from wildhoi.convert.wildhoi_records import ANGLE, FIELDS, IGNORED, Record, read_record
from wildhoi.convert.wildhoi_templates import convert_template, require_release
from wildhoi.dataset import seal_folder, write_annotations
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import read_json, require_new, write_text
from wildhoi.objects import Category, find_category, load_categories
from wildhoi.schema import Annotation, Failure, Reconstruction
from wildhoi.submission.defects import Defect, DefectError, errors, warnings
from wildhoi.submission.table import IMAGE_ID

NAME, BODY_MODEL = "wildhoi", "smplx"
RELEASE_ID = re.compile(r"(?P<video>[0-9]{4})_[0-9]{3}_[0-9]{6}")
MAX_FILE_BYTES = 64 * 2**20
GIVE = "give the release's unpacked folder, or --data with its data/ folder"
NOT_FINITE = "NaN in the object's pose"


def convert_annotations(raw: Path, data: Path, out: Path, *, objects: Sequence[str] | None = None) -> ConversionReport:
    """Convert the test truth and the templates of the release into a data folder.

    Args:
        raw: the release's root, with `train_test_split.json` where there is one.
        data: the release's data folder: `annotation_hoi/OBJ/test/*.pkl`, `objects/`, `contact/`.
        out: the data folder to make; it appears when everything is in it, or not at all.
        objects: their names; default all that have annotations.

    Returns:
        counts, what was skipped and why, and how the release fits what is known of it.

    Raises:
        InputError: an unknown object, or `out` holds something already.
        MissingAssetError: no annotations are there.
        DefectError: annotation or template files are invalid; carries every defect of all of them.
    """
    categories = _choose(raw, data, objects)
    report, defects = ConversionReport(), list[Defect]()
    split = _read_split(raw / "train_test_split.json", report)
    with _appearing(out) as folder:
        for category in categories:
            defects += _convert_object(category, data, split, folder, report)
        defects += _twins(report, data)
        if errors(defects):
            raise DefectError(str(data), defects)
        report.finish()
        write_text(folder / "conversion_report.json", report.to_json())
        write_text(folder / "README.md", render_readme(report))
        report.revision = seal_folder(folder, name=NAME, body_model=BODY_MODEL).revision
    return report


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
    content = load_pickle(path, max_bytes=8 * MAX_FILE_BYTES)
    if not isinstance(content, list) or not content:
        found = "an empty list" if content == [] else f"a {type(content).__name__}"
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


def _choose(raw: Path, data: Path, objects: Sequence[str] | None) -> list[Category]:
    """The categories to convert: those named, else those of the table that have annotations."""
    folder = data / "annotation_hoi"
    nowhere = next((place for place in (raw, data, folder) if not place.is_dir()), None)
    if nowhere is not None:
        raise MissingAssetError(f"{nowhere}: does not exist, so no annotations of any object are found; {GIVE}")
    present = [name for name in load_categories() if (folder / name / "test").is_dir()]
    chosen = [find_category(name) for name in (objects if objects is not None else present)]
    for category in chosen:
        require_release(category)
    if not present:
        raise MissingAssetError(f"{folder}: holds no OBJ/test folder of a known object; {GIVE}")
    absent = [category.name for category in chosen if category.name not in present]
    if absent:
        raise MissingAssetError(
            f"{folder}: no OBJ/test folder of {', '.join(absent)}, has {', '.join(present)}; {GIVE}"
        )
    return chosen


def _read_split(path: Path, report: ConversionReport) -> Mapping[str, Any]:
    """The videos of each object's splits; empty, with a note, where the file is absent."""
    if not path.is_file():
        report.notes.append(f"{path.name} is absent: videos are taken from the image ids, the split is not checked")
        return {}
    split = read_json(path)
    if not isinstance(split, dict) or not all(isinstance(entry, dict) for entry in split.values()):
        raise InputError(f'{path}: want {{"OBJ": {{"train_videos": [...], "test_videos": [...]}}, ...}}')
    return split


def _convert_object(
    category: Category, data: Path, split: Mapping[str, Any], folder: Path, report: ConversionReport
) -> list[Defect]:
    """Write an object's template and annotations and report on them; returns what is invalid."""
    try:
        template = convert_template(category, data, folder / "objects" / category.name)
    except InputError as error:
        hint = "copy the release's data/objects and data/contact again"
        return [Defect("template", str(error), f"the template of {category.name}", hint)]
    entry = report.objects[category.name] = ObjectReport(template)
    annotations, defects = _read_object(category, data / "annotation_hoi" / category.name / "test", entry)
    videos = {annotation.video_id for annotation in annotations}
    entry.images, entry.videos = len(annotations), len(videos)
    entry.outside_split = _outside_split(videos, split.get(category.name, {}))
    write_annotations(folder / "annotations" / category.name / "test-00000-of-00001.parquet", annotations)
    return defects


def _outside_split(videos: set[str], split: Mapping[str, Any]) -> list[str]:
    """The annotated videos that the split names as training videos, or does not name as test videos."""
    test, train = split.get("test_videos"), split.get("train_videos")
    outside = videos - set(map(str, test)) if isinstance(test, list) else set()
    return sorted(outside | (videos & set(map(str, train)) if isinstance(train, list) else set()))


def _read_object(category: Category, folder: Path, entry: ObjectReport) -> tuple[list[Annotation], list[Defect]]:
    """Read every annotation of an object: the valid ones, and the defects of the others."""
    annotations: list[Annotation] = []
    defects: list[Defect] = []
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
        record = _read_annotation(raw, path.stem, category, entry)
        defects += errors(record.defects)
        if path.stem not in entry.skipped and not errors(record.defects):
            annotations.append(_annotation(record, category, match["video"]))
    if not annotations:
        defects.append(Defect("no-annotations", f"none in {folder}", "at least one image", "is this the release?"))
    return annotations, defects


def _read_annotation(raw: Mapping[str, Any], name: str, category: Category, entry: ObjectReport) -> Record:
    """Read one annotation and count it: skipped where the object's pose was never found, projected, fields ignored."""
    ignored = {*IGNORED, *(ANGLE if category.joint is None else ())}
    record = read_record({k: v for k, v in raw.items() if k not in ignored}, name, None, camera_required=True)
    if record.object_is_not_finite:
        entry.skipped[name] = f"NaN in {', '.join(record.not_finite)}"
        record.defects = warnings(record.defects)
    unknown = {str(key) for key in raw if key not in FIELDS and key not in ignored}
    entry.ignored_fields = sorted({*entry.ignored_fields, *unknown})
    entry.rotation_error = max(entry.rotation_error, round(record.rotation_error, 9))
    entry.projected += [name] if record.defects and not errors(record.defects) else []
    return record


def _annotation(record: Record, category: Category, video_id: str) -> Annotation:
    camera = record.camera
    if camera is None:
        raise InputError(f"{record.image_id}: has no camera")
    return Annotation(record.image_id, category.name, video_id, record.human, record.object_pose, camera)


def _twins(report: ConversionReport, data: Path) -> list[Defect]:
    """The image ids that more than one object has: an id must name one image."""
    owners: dict[str, str] = {}
    defects = []
    for name in report.objects:
        for path in sorted((data / "annotation_hoi" / name / "test").glob("*.pkl")):
            if path.stem in owners:
                found, hint = f"in {owners[path.stem]} and {name}", "convert these objects into folders of their own"
                defects.append(Defect("duplicate-id", found, "an id of one object", hint, image_id=path.stem))
            owners.setdefault(path.stem, name)
    return defects


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that becomes it when the block ends well, and vanishes when it does not."""
    require_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    temporary.chmod(0o755)
    try:
        yield temporary
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
