"""Other people's result files as submissions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from wildhoi.convert.rhobin.results import read_rhobin_results
from wildhoi.convert.wildhoi_release import read_results
from wildhoi.dataset import DataFolder, load_annotations
from wildhoi.errors import InputError
from wildhoi.files import require_new
from wildhoi.schema import BodyKind, Failure, Reconstruction
from wildhoi.submission.defects import Defect, DefectError, errors
from wildhoi.submission.folder import write_submission
from wildhoi.submission.manifest import Manifest

Rows = tuple[list[Reconstruction | Failure], list[str]]


@dataclass(frozen=True)
class Origin:
    """Whose result files: how a folder names them (the first pattern that is there), and what reads one.

    With a `body_model` the reader needs `annotations`, those of a data set with such bodies.
    """

    files: tuple[str, ...]
    read: Callable[..., Rows]
    body_model: BodyKind | None = None


ORIGINS: Mapping[str, Origin] = MappingProxyType(
    {
        "wildhoi": Origin(("*_{split}.pkl",), read_results),
        "rhobin": Origin(("results.pkl", "results.zip"), read_rhobin_results, body_model="smplh"),
    }
)


@dataclass(frozen=True)
class Converted:
    """How many rows a conversion wrote, of how many files, and what was said of them."""

    files: int
    reconstructions: int
    failures: int
    warnings: tuple[str, ...]


def convert_results(
    sources: Sequence[Path],
    out: Path,
    manifest: Manifest,
    *,
    origin: str = "wildhoi",
    data: DataFolder | None = None,
    nan_as_failed: bool = False,
) -> Converted:
    """Turn other people's result files, or folders of them, into one submission.

    Args:
        sources: the WildHOI authors' result lists (`OBJ_test.pkl`), or RHOBIN's `results.pkl` or its zip archive.
        out: the submission to make.
        manifest: who and how.
        origin: "wildhoi" or "rhobin".
        data: the data set they are for, whose name, revision and body model the manifest then takes; RHOBIN's results
            need it: they leave out gender and intrinsics.
        nan_as_failed: turn images whose object pose has NaN or infinite numbers into failures.

    Raises:
        DefectError: a file holds something invalid, or an image twice; nothing is written then.
        InputError: a file is of another kind, a folder holds none, or the data set is missing or does not fit.
        MissingAssetError: a body file that the conversion needs is not there.
    """
    require_new(out)
    chosen = _find_origin(origin)
    files = [file for source in sources for file in _result_files(source, chosen, manifest.split)]
    if data is not None:
        revision = data.revision_of(manifest.split)
        manifest = replace(manifest, dataset=data.name, revision=revision, body_model=data.body_model)
    read = _reader(origin, chosen, data, manifest.split)
    rows: list[Reconstruction | Failure] = []
    said: list[str] = []
    for file in files:
        found, warnings = read(file, nan_as_failed=nan_as_failed)
        rows += found
        said += [f"{file.name}: {warning}" for warning in warnings]
    _refuse_twins(files, rows)
    write_submission(out, manifest, rows)
    failures = sum(isinstance(row, Failure) for row in rows)
    return Converted(len(files), len(rows) - failures, failures, tuple(said))


def _find_origin(name: str) -> Origin:
    if name not in ORIGINS:
        raise InputError(f"--from {name!r} is unknown, want one of {', '.join(ORIGINS)}")
    return ORIGINS[name]


def _reader(name: str, origin: Origin, data: DataFolder | None, split: str) -> Callable[..., Rows]:
    """What reads a file, with the annotations if it needs them."""
    if origin.body_model is None:
        return origin.read
    if data is None:
        raise InputError(
            f"--from {name}: needs --data, the data set that the results are for (`wildhoi data convert {name}` makes "
            "it of the reference): the results tell neither gender nor intrinsics"
        )
    if data.body_model != origin.body_model:
        raise InputError(
            f"--data {data.path}: has bodies of {data.body_model}, results from {name} are {origin.body_model}"
        )
    return partial(origin.read, annotations=load_annotations(data, split))


def _result_files(source: Path, origin: Origin, split: str) -> list[Path]:
    if not source.is_dir():
        return [source]
    patterns = [pattern.format(split=split) for pattern in origin.files]
    found = next((files for pattern in patterns if (files := sorted(source.glob(pattern)))), [])
    if not found:
        raise InputError(
            f"{source}: holds no {' or '.join(patterns)}; name the folder of one experiment (outputs/EXP), or the files"
        )
    return found


def _refuse_twins(files: Sequence[Path], rows: Sequence[Reconstruction | Failure]) -> None:
    seen: set[str] = set()
    defects = []
    for row in rows:
        if row.image_id in seen:
            hint = "give each file once"
            defects.append(
                Defect("duplicate-id", "an image of two lists", "each image once", hint, image_id=row.image_id)
            )
        seen.add(row.image_id)
    if errors(defects):
        raise DefectError(", ".join(str(file) for file in files), defects)
