"""Reading, checking and writing a submission folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wildhoi.dataset import DataFolder, load_annotations
from wildhoi.errors import InputError
from wildhoi.files import sha256_file
from wildhoi.schema import Annotation, Failure, Reconstruction
from wildhoi.submission.defects import Defect, DefectError
from wildhoi.submission.manifest import Manifest, read_manifest, write_manifest
from wildhoi.submission.table import read_predictions, write_predictions

MANIFEST, PREDICTIONS = "submission.yaml", "predictions.parquet"
SHOWN_IDS = 5


@dataclass(frozen=True)
class Submission:
    """A valid submission: its manifest, its rows in file order, and what was said of it while reading.

    `sha256` is of the predictions, `manifest_sha256` of the manifest.
    """

    path: Path
    manifest: Manifest
    rows: list[Reconstruction | Failure]
    sha256: str
    manifest_sha256: str
    warnings: tuple[Defect, ...] = ()


def check_submission(path: Path, data: DataFolder | None = None) -> tuple[Submission | None, list[Defect]]:
    """Read a submission folder and find every defect in it; the submission is None where it cannot be used.

    Args:
        path: the folder.
        data: the data set that it should be for, compared with it too.
    """
    if not path.is_dir():
        wanted = f"a folder with {MANIFEST} and {PREDICTIONS}"
        found = "a file" if path.exists() else "nothing"
        return None, [
            Defect("folder", f"{found} at {path}", wanted, "`wildhoi submission convert` makes one from result files")
        ]
    manifest, defects = read_manifest(path / MANIFEST)
    try:
        predictions, more = read_predictions(path / PREDICTIONS)
        defects += more
        if manifest is not None and data is not None:
            defects += _check_data(manifest, predictions.ids, data)
    except InputError as error:
        predictions = None
        hint = "`wildhoi submission convert` writes the file from result lists"
        defects.append(Defect("predictions-unreadable", str(error), "a Parquet file", hint))
    if manifest is None or predictions is None or predictions.rows is None:
        return None, defects
    hashes = sha256_file(path / PREDICTIONS), sha256_file(path / MANIFEST)
    return Submission(path, manifest, predictions.rows, *hashes, warnings=tuple(defects)), defects


def read_submission(path: Path) -> Submission:
    """Read a submission that must be valid.

    Raises:
        DefectError: it is not; carries every defect.
    """
    submission, defects = check_submission(path)
    if submission is None:
        raise DefectError(str(path), defects)
    return submission


def _check_data(manifest: Manifest, ids: Sequence[str | None], data: DataFolder) -> list[Defect]:
    if data.categories(manifest.split):
        return check_against(manifest, ids, data, load_annotations(data, manifest.split))
    hint = f"the data at {data.path} have no annotations of it"
    return [Defect("wrong-split", manifest.split, "a split of the data set", hint)]


def check_against(
    manifest: Manifest, ids: Sequence[str | None], data: DataFolder, annotations: Sequence[Annotation]
) -> list[Defect]:
    """Compare a submission with the data set it is for: name, body model, revision, and which images it has."""
    defects = []
    for field, found, wanted in (
        ("dataset", manifest.dataset, data.name),
        ("body_model", manifest.body_model, data.body_model),
    ):
        if found != wanted:
            defects.append(Defect(f"wrong-{field}", found, wanted, f"the data at {data.path} are {wanted}"))
    revision = data.revision_of(manifest.split)
    if manifest.revision not in ("any", revision):
        hint = "the score names the revision it was made with"
        defects.append(Defect("revision", manifest.revision, revision, hint, severity="warning"))
    return defects + _check_images(ids, {a.image_id for a in annotations}, manifest.split)


def _check_images(ids: Sequence[str | None], wanted: set[str], split: str) -> list[Defect]:
    named = {name for name in ids if name}
    unknown, missing = sorted(named - wanted), sorted(wanted - named)
    defects = []
    if unknown and len(unknown) == len(named):
        found = f"none of {len(named)} image ids, {_listing(unknown)}"
        defects.append(
            Defect("no-known-image", found, f"images of split {split}", "is this another split or data set?")
        )
    elif unknown:
        hint = "remove the row: each image must be annotated in the split"
        lost = set(unknown)
        defects += [
            Defect("unknown-id", "an image that is not annotated", f"images of split {split}", hint, row, name)
            for row, name in enumerate(ids)
            if name in lost
        ]
    if missing:
        found, hint = f"{len(missing)} of {len(wanted)} missing: {_listing(missing)}", "they count as failed"
        defects.append(Defect("missing-id", found, "a row for every image", hint, severity="warning"))
    return defects


def _listing(ids: Sequence[str]) -> str:
    return ", ".join(ids[:SHOWN_IDS]) + (", ..." if len(ids) > SHOWN_IDS else "")


def write_submission(path: Path, manifest: Manifest, rows: Sequence[Reconstruction | Failure]) -> None:
    """Write a submission folder; the manifest last, so that a folder with one is complete."""
    write_predictions(path / PREDICTIONS, rows)
    write_manifest(path / MANIFEST, manifest)
