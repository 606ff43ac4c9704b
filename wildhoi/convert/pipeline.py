"""A conversion from its plan to a sealed data folder: parts on many processes, joined into shards, resumed.

Everything unfinished lies in `OUT/.conversion/`; `dataset.json`, without which OUT is no data folder, comes last.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from wildhoi import __version__
from wildhoi.convert.card import write_card
from wildhoi.convert.conversion_report import ConversionReport, ObjectReport
from wildhoi.convert.mini import write_mini
from wildhoi.convert.parts import (
    KINDS,
    Kind,
    Part,
    PartNotes,
    convert_part,
    convert_part_strictly,
    irregular,
    read_notes,
)
from wildhoi.convert.shards import Shards
from wildhoi.dataset.folder import SPLITS, seal_folder
from wildhoi.engine import Engine, Local, contents, map_shards, only_run_in
from wildhoi.errors import InputError, ShardsError
from wildhoi.files import canonical_json, read_json, remove_unfinished, sha256_text, write_text
from wildhoi.layout import CONVERTING, IDENTITY
from wildhoi.schema import BodyKind
from wildhoi.submission.defects import DefectError

SETTINGS = "settings.json"

GROUNDWORK = "groundwork"

Progress = Callable[[str, int, int], None]
Groundwork = Callable[[Path, Engine, Progress | None], None]
Group = tuple[Kind, str, str]


@dataclass(frozen=True)
class Conversion:
    """The plan of a conversion.

    Attributes:
        name: of the data set.
        body_model: whose parameters its bodies are.
        track: where the initial estimates come from, where there is more than one answer.
        settings: plain data that name this conversion; only the same conversion continues an unfinished one.
        parts: the pieces of work.
        prepare: writes `objects/`, `lists/` and what else is small into the folder given, the same every time, and
            returns the report of every object.
        remarks: adds to the finished counts what they say about the release.
        estimates: a name of the files that initial estimates were given in.
        version: of a data set that is made, not converted; later ones are other data.
        groundwork: makes what the parts read, by the engine and told of progress, in the folder given, which is kept
            until the end; it is called again when a conversion continues, and resumes by itself. What a part is told
            of that folder belongs in no `repr` of its `spec`, by which a conversion is known again.
    """

    name: str
    body_model: BodyKind
    track: str | None
    settings: Mapping[str, Any]
    parts: Sequence[Part]
    prepare: Callable[[Path], Mapping[str, ObjectReport]]
    remarks: Callable[[ConversionReport], list[str]]
    estimates: str | None = None
    version: int | None = None
    groundwork: Groundwork | None = None


def run_conversion(
    conversion: Conversion,
    out: Path,
    *,
    engine: Engine | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> ConversionReport:
    """Convert a release into a data folder, or finish what an interrupted run of the same conversion began.

    Args:
        conversion: the plan.
        out: the data folder; new, empty, or with an unfinished conversion of the same settings.
        engine: where it is done; default in this process. The result does not depend on it.
        strict: refuse a release with any irregularity instead of counting it.
        progress: called with (what, finished, total).

    Raises:
        InputError: `out` holds something else, or a file is invalid in a way that stops a conversion.
        DefectError: `strict`, and something is irregular; carries all of the first part that is.
        ShardsError: some parts failed; all others are done.
        RunError: another run is writing to `out`, or the disk is full.
    """
    out = out.resolve()  # what is removed after a failure must not be a link
    settings = _settings(conversion)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; choose another folder, or remove it")
    out.mkdir(parents=True, exist_ok=True)
    with only_run_in(out), engine or Local() as engine:
        fresh = not contents(out)
        _claim(out, out / CONVERTING, settings)
        report = _prepare(conversion, out, fresh=fresh)
        if strict:
            _refuse_irregular(report)  # before long work is done
        if conversion.groundwork is not None:
            (out / CONVERTING / GROUNDWORK).mkdir(exist_ok=True)
            conversion.groundwork(out / CONVERTING / GROUNDWORK, engine, progress)
        run = _Run(engine, strict, sha256_text(settings), progress)
        _convert_groups(_groups(conversion.parts), out, run, report)
        _refuse_empty(conversion, report)
        if strict:
            _refuse_irregular(report)
        _finish(conversion, out, report)
    return report


def _prepare(conversion: Conversion, out: Path, *, fresh: bool) -> ConversionReport:
    """Write what is small; a failure leaves nothing behind in a folder that was not there, or empty."""
    try:
        return ConversionReport(dict(conversion.prepare(out)), track=conversion.track)
    except BaseException:
        if fresh:
            shutil.rmtree(out, ignore_errors=True)  # NFS keeps a lock that is held
        raise


def _finish(conversion: Conversion, out: Path, report: ConversionReport) -> None:
    """Write what is made from all rows, seal the folder and remove what was kept for resuming."""
    write_mini(out)
    _sweep(out)
    report.notes += conversion.remarks(report)
    write_text(out / "conversion_report.json", report.to_json())
    write_card(conversion.name, report, out)
    identity = {"track": conversion.track, "estimates": conversion.estimates, "version": conversion.version}
    report.revision = seal_folder(out, name=conversion.name, body_model=conversion.body_model, **identity).revision
    shutil.rmtree(out / CONVERTING)


def _refuse_irregular(report: ConversionReport) -> None:
    """Refuse a release of which something was left out or lacks something."""
    found = [images for entry in report.objects.values() for images in (entry.dropped, entry.incomplete)]
    defects = irregular(*found)
    if defects:
        raise DefectError("the release", defects)


def _refuse_empty(conversion: Conversion, report: ConversionReport) -> None:
    """Refuse a conversion whose parts made no row."""
    if conversion.parts and not any(report.rows(kind, split) for kind in KINDS for split in SPLITS):
        reasons = report.reasons("dropped")
        why = "; ".join(f"{number} images: {reason}" for reason, number in reasons.items()) or "no image is listed"
        raise InputError(f"nothing of {conversion.name} was converted: {why}; is this what you wanted to convert?")


def _sweep(out: Path) -> None:
    """Remove what runs that were killed while they wrote a file have left beside it."""
    for path in [path for path in out.rglob(".*") if CONVERTING not in path.relative_to(out).parts]:
        if path.is_dir():  # not the lock
            shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True)
class _Run:
    """How the parts are worked on."""

    engine: Engine
    strict: bool
    fingerprint: str
    progress: Progress | None


def _settings(conversion: Conversion) -> str:
    parts = [[part.kind, part.object, part.split, part.key, repr(part.spec)] for part in conversion.parts]
    content = {"name": conversion.name, "track": conversion.track, "wildhoi": __version__}
    content["parts"] = sha256_text(canonical_json(parts))
    if conversion.version is not None:
        content["version"] = str(conversion.version)
    return canonical_json(content | dict(conversion.settings)) + "\n"


def _claim(out: Path, work: Path, settings: str) -> None:
    """Refuse a folder that holds anything but an unfinished run of this conversion."""
    if (out / IDENTITY).exists():
        shutil.rmtree(work, ignore_errors=True)  # of a run that was cut off right after its end
        remove_unfinished(out)  # likewise
        raise InputError(f"{out}: is a finished data folder; choose another folder, or remove it")
    if (work / SETTINGS).is_file():
        begun = read_json(work / SETTINGS)
        if canonical_json(begun) + "\n" != settings:
            raise InputError(
                f"{out}: holds an unfinished conversion with other settings; finish that one, or remove the folder"
            )
    elif any(path != work for path in contents(out)):
        raise InputError(f"{out}: exists and is not empty; choose another folder, or remove it")
    write_text(work / SETTINGS, settings)


def _groups(parts: Sequence[Part]) -> dict[Group, list[Part]]:
    """The parts by kind, object and split; each group becomes shards of its own."""

    def group(part: Part) -> Group:
        return part.kind, part.object, part.split

    ordered = sorted(parts, key=group)  # stable: within a group the order of the plan
    return {key: list(members) for key, members in groupby(ordered, key=group)}


def _convert_groups(groups: Mapping[Group, Sequence[Part]], out: Path, run: _Run, report: ConversionReport) -> None:
    """Convert every group, one with a part that fails too, before the first failure is told."""
    failures = []
    for group, parts in groups.items():
        try:
            _convert_group(group, parts, out, run, report)
        except ShardsError as failure:
            failures.append(failure)
    if failures:
        several = f"in {len(failures)} of {len(groups)} tables parts failed; the first: " if failures[1:] else ""
        raise ShardsError(f"{several}{failures[0]}") from failures[0].__cause__


def _convert_group(group: Group, parts: Sequence[Part], out: Path, run: _Run, report: ConversionReport) -> None:
    """Convert the parts of a group, join them and count what they say; a finished group is only counted."""
    name = "-".join(group)
    done = out / CONVERTING / f"{name}.json"
    if not done.is_file():
        folder = out / CONVERTING / name
        files = [folder / part.key for part in parts]
        with Shards(files, out / group[0] / group[1], group[2], group[0]) as shards:

            def settled(finished: int, total: int) -> None:
                shards.join_finished()  # while others are converted; a file that is there is one of this conversion
                if run.progress is not None:
                    run.progress(" ".join(group), finished, total)

            map_shards(
                convert_part_strictly if run.strict else convert_part,
                {part.key: part for part in parts},
                folder,
                engine=run.engine,
                fingerprint=run.fingerprint,
                progress=settled,
            )
            notes = _merge([read_notes(file) for file in files])
            shards.finish()
        write_text(done, canonical_json(notes) + "\n")
        shutil.rmtree(folder)
    report.objects[group[1]].count(group[0], group[2], read_json(done))


def _merge(notes: Sequence[PartNotes]) -> dict[str, Any]:
    """The notes of many parts as those of one."""
    found: dict[str, dict[str, list[str]]] = {"dropped": {}, "incomplete": {}, "redrawn": {}}
    for note in notes:
        for fate, reasons in found.items():
            for reason, ids in getattr(note, fate).items():
                reasons.setdefault(reason, []).extend(ids)
    videos = sorted({video for note in notes for video in note.videos})
    filled = sorted({name for note in notes for name in note.filled})
    return {"rows": sum(note.rows for note in notes), "videos": videos, "filled": filled, **found}
