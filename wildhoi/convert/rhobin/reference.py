"""RHOBIN's reference pickle as a data folder: the truth of one of its data sets, in the SMPL frame."""

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from wildhoi.convert.conversion_report import ConversionReport, ObjectReport
from wildhoi.convert.pickle_arrays import clip
from wildhoi.convert.pipeline import Conversion, run_conversion
from wildhoi.convert.rhobin.entries import Entry, image_camera, read_entry
from wildhoi.convert.rhobin.templates import write_template
from wildhoi.convert.safe_pickle import load_pickle
from wildhoi.convert.template_report import TemplateReport
from wildhoi.dataset import write_annotations
from wildhoi.errors import InputError
from wildhoi.files import sha256_file
from wildhoi.objects import find_category, load_categories
from wildhoi.schema import GENDERS, Annotation, BodyKind
from wildhoi.submission.defects import Defect, DefectError, errors
from wildhoi.submission.table import IMAGE_ID

FACTS = Path(__file__).parents[2] / "assets" / "rhobin.toml"
BODY_MODEL: BodyKind = "smplh"
UNKNOWN = "other objects"  # the report's name for those that the category table lacks
OWN_VIDEO = (
    "RHOBIN's image ids name no video: every image counts as a video of its own, so intervals over videos are those "
    "over independent images, which images of one recording are not"
)


@dataclass(frozen=True)
class Facts:
    """What is known of one of RHOBIN's data sets: its camera, in pixels, and the gender of all its bodies, if one."""

    focal: Float[np.ndarray, "2"]
    principal_point: Float[np.ndarray, "2"]
    gender: str | None = None


@dataclass(frozen=True)
class Meta:
    """Whose image it is, and of what."""

    dataset: str
    gender: str
    object: str


def load_facts(dataset: str) -> Facts:
    """Look up one of RHOBIN's data sets.

    Raises:
        InputError: there is none of that name.
    """
    table = tomllib.loads(FACTS.read_text())
    if dataset not in table:
        raise InputError(f"--dataset {dataset!r} is none of RHOBIN's, want one of {', '.join(table)}")
    entry = table[dataset]
    return Facts(np.array(entry["focal"]), np.array(entry["principal_point"]), entry.get("gender"))


def plan_reference(ref: Path, *, dataset: str) -> Conversion:
    """Plan the conversion of the truth and the templates of one data set of a RHOBIN reference, `rhobin-DATASET`.

    Args:
        ref: `ref.pkl` of the joint or object track, `{"annotations": {id: ...}, "templates": {object: ...}}`.
        dataset: behave, icap, synz or imhd; their scores are never pooled.

    Raises:
        InputError: another kind of file, or no image of that data set.
    """
    facts = load_facts(dataset)
    content = _read(ref)
    annotations, templates = content["annotations"], content["templates"]
    chosen, defects = _choose(ref, annotations, dataset, facts)

    def prepare(out: Path) -> Mapping[str, ObjectReport]:
        reports, invalid = _convert(chosen, templates, facts, out)
        if errors([*defects, *invalid]):
            raise DefectError(str(ref), [*defects, *invalid])
        if not any(report.rows("annotations", "test") for report in reports.values()):
            reasons = ", ".join(f"{reason} ({n})" for reason, n in ConversionReport(reports).reasons("dropped").items())
            raise InputError(f"{ref}: no image of {dataset} is left, all were dropped: {reasons}")
        return reports

    def remarks(_: ConversionReport) -> list[str]:
        return [OWN_VIDEO, *_others(annotations, dataset)]

    settings = {"reference": sha256_file(ref)}
    return Conversion(f"rhobin-{dataset}", BODY_MODEL, None, settings, [], prepare, remarks)


def convert_reference(ref: Path, out: Path, *, dataset: str) -> ConversionReport:
    """Convert what `plan_reference` plans into the data folder `out`.

    Returns:
        counts, and the images that were dropped, with the reason.

    Raises:
        InputError: another kind of file, no image of that data set, or `out` holds something already.
        DefectError: annotations or templates are invalid; carries every defect of all of them.
        MissingAssetError: an SMPL-H file is not there; it tells where a body's pelvis is.
    """
    return run_conversion(plan_reference(ref, dataset=dataset), out)


def _read(ref: Path) -> dict[str, dict[Any, Any]]:
    """The reference as its two tables."""
    if ref.is_dir():
        raise InputError(f"{ref}: is a folder; give the reference pickle itself, such as {ref / 'ref.pkl'}")
    content = load_pickle(ref)
    tables: dict[str, dict[Any, Any]] = content if isinstance(content, dict) else {}
    if not all(isinstance(tables.get(key), dict) and tables[key] for key in ("annotations", "templates")):
        raise InputError(
            f"{ref}: is a {type(content).__name__} without annotations or templates, want RHOBIN's ref.pkl of single "
            'images (joint or object track): {"annotations": {id: ...}, "templates": {object: ...}}'
        )
    return tables


def _choose(
    ref: Path, annotations: Mapping[Any, Any], dataset: str, facts: Facts
) -> tuple[list[tuple[Entry, Meta]], list[Defect]]:
    """The images of one data set as they were read, and the defects of those that do not tell whose they are."""
    chosen: list[tuple[Entry, Meta]] = []
    defects: list[Defect] = []
    for row, (image_id, raw) in enumerate(annotations.items()):
        if not isinstance(image_id, str) or not IMAGE_ID.fullmatch(image_id):
            hint = "letters, digits, '_', '-', '.', ':', '/', '@', '+'"
            defects.append(Defect("image-id", clip(image_id), "text such as 135496", hint, row))
            continue
        meta = _meta(raw)
        if meta is None:
            found = f"meta {clip(raw.get('meta'))}" if isinstance(raw, dict) else f"a {type(raw).__name__}"
            hint = "per-image training files name neither data set nor object: give ref.pkl"
            defects.append(Defect("meta", found, "(data set, gender, object)", hint, row, image_id))
        elif meta.dataset == dataset:
            meta = replace(meta, gender=facts.gender or meta.gender)
            chosen.append((_read_truth(raw, image_id, row, meta), meta))
    if not chosen and not defects:
        there = ", ".join(f"{name} ({count})" for name, count in _datasets(annotations).items())
        raise InputError(f"{ref}: has no image of {dataset}, there are those of: {there}")
    return chosen, defects


def _read_truth(raw: Any, image_id: str, row: int, meta: Meta) -> Entry:
    """An annotation; its gender must be known, because the pelvis depends on it."""
    entry = read_entry(raw, image_id, row)
    if meta.gender not in GENDERS:
        entry.add("gender", f"gender {clip(meta.gender)}", ", ".join(GENDERS), "meta is (data set, gender, object)")
    return entry


def _meta(raw: Any) -> Meta | None:
    """Whose image an annotation is of; None where it does not say."""
    value = raw.get("meta") if isinstance(raw, dict) else None
    if not isinstance(value, (tuple, list)) or len(value) != 3 or not all(isinstance(text, str) for text in value):
        return None
    return Meta(*value) if value[0].isidentifier() else None


def _datasets(annotations: Mapping[Any, Any]) -> dict[str, int]:
    """How many images each data set has."""
    metas = [_meta(raw) for raw in annotations.values()]
    return dict(sorted(Counter(meta.dataset for meta in metas if meta is not None).items()))


def _others(annotations: Mapping[Any, Any], dataset: str) -> list[str]:
    others = [f"{name} ({count})" for name, count in _datasets(annotations).items() if name != dataset]
    return [f"left out, as data sets are never pooled: {', '.join(others)}"] if others else []


def _unusable(entry: Entry, meta: Meta, templates: Mapping[Any, Any]) -> str | None:
    """Why an image is dropped; None where it is not. Other defects are errors: the file is not what it should be."""
    if meta.object not in load_categories():
        return f"no object {clip(meta.object)} in the category table"
    if meta.object not in templates:
        return f"no template of {meta.object} in the reference"
    return f"NaN or infinity in {', '.join(entry.not_finite)}" if entry.is_only_not_finite else None


def _convert(
    chosen: Sequence[tuple[Entry, Meta]], templates: Mapping[Any, Any], facts: Facts, out: Path
) -> tuple[dict[str, ObjectReport], list[Defect]]:
    """Write templates and annotations and report on every object; returns what is invalid too."""
    reports: dict[str, ObjectReport] = {}
    annotations: dict[str, list[Annotation]] = {}
    defects: list[Defect] = []
    for entry, meta in chosen:
        name = meta.object if meta.object in load_categories() else UNKNOWN
        report = reports.setdefault(name, ObjectReport(TemplateReport(notes=["not converted"])))
        reason = _unusable(entry, meta, templates)
        if reason is not None:
            report.drop(entry.image_id, reason)
            continue
        defects += entry.defects
        if not errors(entry.defects):
            annotations.setdefault(name, []).append(_annotation(entry, meta, facts))
    for name, rows in annotations.items():
        defects += _write_object(name, rows, templates[name], out, reports[name])
        near = {defect.image_id for defect in defects if defect.code == "rotation-projected"}
        reports[name].remark(
            "rotations projected onto the nearest exact one", [a.image_id for a in rows if a.image_id in near]
        )
    return dict(sorted(reports.items())), defects


def _annotation(entry: Entry, meta: Meta, facts: Facts) -> Annotation:
    fit = entry.fit(meta.gender)
    return Annotation(
        image_id=entry.image_id,
        object=meta.object,
        video_id=entry.image_id,
        human=fit.human,
        object_pose=entry.object_pose(fit),
        camera=image_camera(fit, facts.focal, facts.principal_point),
        gender=meta.gender,
    )


def _write_object(name: str, rows: list[Annotation], template: Any, out: Path, report: ObjectReport) -> list[Defect]:
    """Write an object's template and annotations and report on them; returns what is invalid."""
    try:
        report.template = write_template(template, find_category(name), out / "objects" / name)
    except InputError as error:
        return [Defect("template", f"{name}: {error}", f"the template of {name}", "copy ref.pkl again")]
    report.count("annotations", "test", {"rows": len(rows), "videos": sorted(row.video_id for row in rows)})
    write_annotations(out / "annotations" / name / "test-00000-of-00001.parquet", rows)
    return []
