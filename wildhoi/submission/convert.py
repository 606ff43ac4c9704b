"""Other people's result files as submissions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wildhoi.convert.wildhoi_release import read_results
from wildhoi.errors import InputError
from wildhoi.files import require_new
from wildhoi.schema import Failure, Reconstruction
from wildhoi.submission.defects import Defect, DefectError, errors
from wildhoi.submission.folder import write_submission
from wildhoi.submission.manifest import Manifest


@dataclass(frozen=True)
class Converted:
    """How many rows a conversion wrote, of how many files, and what was said of them."""

    files: int
    reconstructions: int
    failures: int
    warnings: tuple[str, ...]


def convert_results(
    sources: Sequence[Path], out: Path, manifest: Manifest, *, nan_as_failed: bool = False
) -> Converted:
    """Turn the authors' result lists (`OBJ_test.pkl`, or folders of them) into one submission.

    Raises:
        DefectError: a list holds something invalid, or an image twice; nothing is written then.
        InputError: a file is no result list, or a folder holds none.
    """
    require_new(out)
    files = [file for source in sources for file in _result_files(source, manifest.split)]
    rows: list[Reconstruction | Failure] = []
    said: list[str] = []
    for file in files:
        found, warnings = read_results(file, nan_as_failed=nan_as_failed)
        rows += found
        said += [f"{file.name}: {warning}" for warning in warnings]
    _refuse_twins(files, rows)
    write_submission(out, manifest, rows)
    failures = sum(isinstance(row, Failure) for row in rows)
    return Converted(len(files), len(rows) - failures, failures, tuple(said))


def _result_files(source: Path, split: str) -> list[Path]:
    if not source.is_dir():
        return [source]
    found = sorted(source.glob(f"*_{split}.pkl"))
    if not found:
        raise InputError(
            f"{source}: holds no *_{split}.pkl; name the folder of one experiment (outputs/EXP), or the files"
        )
    return found


def _refuse_twins(files: Sequence[Path], rows: Sequence[Reconstruction | Failure]) -> None:
    seen: set[str] = set()
    defects = []
    for row in rows:
        if row.image_id in seen:
            hint = "give each object's list once"
            defects.append(
                Defect("duplicate-id", "an image of two lists", "each image once", hint, image_id=row.image_id)
            )
        seen.add(row.image_id)
    if errors(defects):
        raise DefectError(", ".join(str(file) for file in files), defects)
