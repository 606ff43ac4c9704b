"""`wildhoi evaluate`: a submission against the truth under a protocol."""

import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.protocol import Protocol, is_shipped
from evaluation.sampling import STREAM
from evaluation.scores import SPEC, WORK, Scores, sealed, write_scores
from evaluation.scoring import Item, Job, score_items, template_hashes, template_of
from evaluation.summary import summarise
from wildhoi.body import load_body
from wildhoi.code_version import code_version
from wildhoi.dataset import DataFolder, load_annotations
from wildhoi.devices import find_device
from wildhoi.engine import Engine, only_run_in
from wildhoi.errors import InputError
from wildhoi.files import canonical_json, read_json, remove_unfinished, sha256_file, sha256_text
from wildhoi.schema import Annotation, BodyKind, Reconstruction
from wildhoi.submission.defects import Defect, DefectError, errors
from wildhoi.submission.folder import Submission, check_against

VERSIONS = ("wildhoi", "torch", "numpy", "scipy", "smplx", "pykdtree", "libigl")


@dataclass(frozen=True)
class Options:
    """How to score.

    Attributes:
        body: default the protocol's.
        objects: a subset of them; default all.
        strict: refuse a submission that misses images.
        engine: where shards of images are scored; default in this process.
        device: a torch device; the processor is canonical.
        body_folder: where the body models are; default as the environment says.
        work: a folder that keeps what is scored, so that an interrupted scoring goes on; default none.
    """

    body: BodyKind | None = None
    objects: tuple[str, ...] = ()
    strict: bool = False
    engine: Engine | None = None
    device: str = "cpu"
    body_folder: Path | None = None
    work: Path | None = None


def evaluate(
    submission: Submission,
    data: DataFolder,
    protocol: Protocol,
    options: Options,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score a submission.

    Raises:
        DefectError: it is for other data, none of its images is known, or it is incomplete and `strict` is set.
        MissingAssetError: the body model or a template is not at hand.
    """
    if protocol.stream != STREAM:
        raise InputError(f"protocol {protocol.id} asks for stream {protocol.stream!r}, this version has {STREAM!r}")
    every = load_annotations(data, submission.manifest.split)
    official, unofficial = _official_images(every, data, protocol)
    defects = _defects(submission, data, every, official)
    if options.strict:
        defects += [
            Defect("incomplete", d.found, d.expected, "drop --strict to count them as failed")
            for d in defects
            if d.code == "missing-id"
        ]
    if errors(defects):
        raise DefectError(str(submission.path), errors(defects))
    annotations, reasons = _chosen(official, options.objects)
    records = {row.image_id: row for row in submission.rows}
    items = [Item(annotation, records.get(annotation.image_id)) for annotation in annotations]
    job = _job(data, protocol, options)
    hashes = template_hashes(job, items)
    unofficial += reasons + _unofficial(job, data, protocol, hashes) + _unsound(job, data, submission, items)
    head = _header(submission, data, protocol, job, hashes, annotations)
    mark = _fingerprint(head, data, submission.manifest.split)
    rows = score_items(items, job, engine=options.engine, folder=options.work, fingerprint=mark, progress=progress)
    templates = {name: template_of(job, name) for name in hashes}
    spheres = [n for n, t in templates.items() if t.symmetry(protocol.symmetry.get(n)).kind == "sphere"]
    table = summarise(rows, protocol, {n: t.diameter for n, t in templates.items()}, spheres)
    facts = {"official": not unofficial, "unofficial_because": unofficial, "spheres": spheres}
    return sealed(Scores({**head, **facts, **table}, rows, defects))


def evaluate_into(
    folder: Path,
    submission: Submission,
    data: DataFolder,
    protocol: Protocol,
    options: Options,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score a submission and write its scores into a folder; what is scored is kept there until all is.

    Raises:
        DefectError, InputError, MissingAssetError: as `evaluate` does.
        RunError: another process writes to the folder, shards failed, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with only_run_in(folder):
        remove_unfinished(folder)
        work = folder / WORK
        scores = evaluate(submission, data, protocol, replace(options, work=work), progress)
        write_scores(folder, scores)
        shutil.rmtree(work)
    return scores


def _fingerprint(head: Mapping[str, Any], data: DataFolder, split: str) -> str:
    """The name of everything that rows depend on; the truth by its bytes, which may have been changed."""
    truth = [sha256_file(file) for file in data.files("annotations", split)]
    return sha256_text(canonical_json([head, truth]))


def _official_images(
    every: Sequence[Annotation], data: DataFolder, protocol: Protocol
) -> tuple[list[Annotation], list[str]]:
    """The annotations that the protocol scores, and why a score of them would not be the official one."""
    kept, reasons = list(every), []
    if protocol.image_list:
        path = data.path / "lists" / f"{protocol.image_list}.json"
        if path.is_file():
            listed = _image_list(path)
            kept = [a for a in kept if a.image_id in listed]
        else:
            reasons.append(
                f"the official image list lists/{path.name} is not in the data folder: every image is scored"
            )
    if protocol.min_visible > 0:
        if any(a.visible is None for a in kept):
            raise InputError(f"{data.path}: {protocol.id} needs the visible share of every image, some have none")
        kept = [a for a in kept if (a.visible or 0.0) >= protocol.min_visible]
    if protocol.images_per_object:
        kept = _first_of_each(kept, protocol.images_per_object)
    if not kept:
        raise InputError(f"{data.path}: no annotated image is left to score under {protocol.id}")
    return kept, reasons


def _first_of_each(annotations: Sequence[Annotation], count: int) -> list[Annotation]:
    """The first so many annotations of every object by image id."""
    kept: dict[str, list[Annotation]] = {}
    for annotation in sorted(annotations, key=lambda a: a.image_id):
        kept.setdefault(annotation.object, []).append(annotation)
    return [annotation for some in kept.values() for annotation in some[:count]]


def _defects(
    submission: Submission, data: DataFolder, every: Sequence[Annotation], official: Sequence[Annotation]
) -> list[Defect]:
    """What does not fit the data; an image that the protocol leaves out may be in the submission or not."""
    left_out = {a.image_id for a in every} - {a.image_id for a in official}
    ids = [None if row.image_id in left_out else row.image_id for row in submission.rows]
    return check_against(submission.manifest, ids, data, official)


def _chosen(official: Sequence[Annotation], objects: Sequence[str]) -> tuple[list[Annotation], list[str]]:
    """The annotations of the objects asked for, all where none is, and why a score of them is not the official one."""
    if not objects:
        return list(official), []
    there = {a.object for a in official}
    if unknown := sorted(set(objects) - there):
        known = ", ".join(sorted(there))
        raise InputError(f"--objects: {', '.join(unknown)} not among the split's objects, want some of {known}")
    reason = f"only the objects {', '.join(sorted(objects))} are scored"
    return [a for a in official if a.object in objects], [reason]


def _image_list(path: Path) -> set[str]:
    """The image ids of an official list."""
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise InputError(f"{path}: want a list of image ids")
    return set(content)


def _job(data: DataFolder, protocol: Protocol, options: Options) -> Job:
    body = options.body or protocol.body_model
    if body not in ("open", data.body_model):
        chosen = f"--body {body}" if options.body else f"{protocol.id} scores with body model {body}"
        raise InputError(
            f"{chosen}, the data at {data.path} are parameters of {data.body_model}: "
            f"want --body {data.body_model} or --body open"
        )
    return Job(
        protocol,
        body,
        flat_hands=data.body_model == "smplh",
        objects=data.objects,
        shipped_templates=data.body_model == "open",
        device=find_device(options.device),
        body_folder=options.body_folder,
    )


def _unofficial(job: Job, data: DataFolder, protocol: Protocol, hashes: Mapping[str, str]) -> list[str]:
    reasons = []
    if not is_shipped(protocol):
        reasons.append(f"protocol {protocol.id} with hash {protocol.hash[:12]} is not the one that ships")
    if job.body != protocol.body_model:
        reasons.append(f"body model {job.body}, the protocol's is {protocol.body_model}")
    if data.name not in protocol.datasets:
        reasons.append(f"data set {data.name}, the protocol is made for {', '.join(protocol.datasets)}")
    if job.device != "cpu":
        reasons.append(f"computed on {job.device}, the canonical score is the CPU's")
    for name, wanted in protocol.templates.items():
        if name in hashes and hashes[name] != wanted:
            reasons.append(f"template of {name} has hash {hashes[name][:12]}, the protocol's is {wanted[:12]}")
    return reasons


def _unsound(job: Job, data: DataFolder, submission: Submission, items: Sequence[Item]) -> list[str]:
    """What makes a score of the right protocol unfit for a table: changed data, a stand-in body, nothing to score."""
    reasons = []
    if changed := data.changed_files(submission.manifest.split):
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        reasons.append(f"the data folder is not as it was sealed: {changed[0]}{more} differs from checksums.json")
    if job.body == "smplx" and np.array_equal(
        load_body("smplx", folder=job.body_folder).faces, load_body("open").faces
    ):
        reasons.append("the file of body model smplx holds the open body")
    if not any(isinstance(item.record, Reconstruction) for item in items):
        reasons.append("no image is reconstructed")
    return reasons


def _header(
    submission: Submission,
    data: DataFolder,
    protocol: Protocol,
    job: Job,
    hashes: Mapping[str, str],
    annotations: Sequence[Annotation],
) -> dict[str, Any]:
    """Everything that tells which numbers these are."""
    manifest = submission.manifest
    genders = sorted({a.gender for a in annotations})
    bodies = {g: load_body(job.body, gender=g, folder=job.body_folder).sha256 for g in genders}
    return {
        "spec": SPEC,
        "protocol": {"id": protocol.id, "hash": protocol.hash, "title": protocol.title, "caveat": protocol.caveat},
        "submission": {
            "method": manifest.method,
            "supervision": manifest.supervision,
            "inputs": list(manifest.inputs),
            "body_model": manifest.body_model,
            "sha256": submission.sha256,
            "manifest": submission.manifest_sha256,
        },
        "dataset": {
            "name": data.name,
            "revision": data.revision_of(manifest.split),
            "split": manifest.split,
            "track": data.track,
        },
        "body": {"model": job.body, "sha256": bodies},
        "templates": hashes,
        "seed": protocol.seed,
        "device": job.device,
        "versions": {name: version(name) for name in VERSIONS}
        | {"python": platform.python_version(), "code": code_version()},
        "headline": list(protocol.headline),
    }
