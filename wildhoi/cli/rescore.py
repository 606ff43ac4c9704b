"""`wildhoi rescore`: stored predictions scored again under another protocol version."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wildhoi.cli.shared import (
    Address,
    Data,
    EngineKind,
    Json,
    Processes,
    Progress,
    make_engine,
    say,
    show,
    show_json,
)
from wildhoi.errors import InputError, printable

if TYPE_CHECKING:
    from evaluation.rescoring import Rescored

WORST_LAST = (0, 3, 1, 2)
"""Exit codes: the last of those that submissions end with is the command's."""
Submissions = Annotated[
    list[Path], typer.Argument(metavar="SUBMISSION...", help="Scored submissions, or folders with some below.")
]


def rescore(
    submissions: Submissions,
    protocol: Annotated[
        str | None, typer.Option(help="Its id, or a .toml file; default the newest version of each one's own.")
    ] = None,
    data: Data = None,
    write: Annotated[bool, typer.Option("--write", help="Replace scores.json and per_image.parquet.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write them below this folder instead.")] = None,
    workers: Processes = None,
    engine: EngineKind = "local",
    address: Address = "auto",
    as_json: Json = False,
) -> None:
    """Score submissions again from their predictions and compare with the stored scores; writes nothing by itself.

    No method runs. Exit code 2 where a submission is invalid, else 1 where images could not be scored, else 3 where its
    data are not here; the others are done.
    """
    from evaluation.rescoring import rescore as score_again
    from wildhoi.files import require_writable

    if write and out is not None:
        raise InputError("rescore: want --write or --out, not both")
    if out is not None:
        require_writable(out)
    for folder in submissions if write else ():
        require_writable(folder)
    targets = _targets(submissions, out)
    done = []
    chosen = make_engine(engine, workers, address)
    with Progress(chosen) as progress, chosen:
        for folder, target in targets.items():
            work = folder if write else target
            for one in score_again(folder, protocol, data, engine=chosen, work=work, progress=progress):
                done.append(_finish(one, folder, target, write=write))
    if as_json:
        show_json([entry for _, entry in done])
    for one, entry in () if as_json else done:
        _show(one, entry["submission"])
    if not as_json and not write and out is None and any(one.new for one, _ in done):
        say("nothing was written; --write replaces the stored scores, -o DIR writes beside them")
    raise typer.Exit(max((one.exit_code for one, _ in done), key=WORST_LAST.index, default=0))


def _targets(folders: list[Path], out: Path | None) -> dict[Path, Path | None]:
    """Where the scores of each folder go with --out: below its name where there are several."""
    names = [folder.resolve().name for folder in folders]
    if out is not None and len({*names}) < len(names):
        raise InputError(f"--out {out}: two of the folders have one name; rescore them one by one")
    several = len(folders) > 1
    return {
        folder: out / name if out is not None and several else out for folder, name in zip(folders, names, strict=True)
    }


def _finish(one: "Rescored", folder: Path, out: Path | None, *, write: bool) -> tuple["Rescored", dict[str, Any]]:
    """Write what was scored where it is wanted; what came of it, as plain data too."""
    from evaluation.rescoring import replace_scores
    from evaluation.scores import write_scores

    written = None
    if one.new is not None and (write or out is not None):
        written = (folder if out is None else out) / one.path
        (replace_scores if write else write_scores)(written, one.new)
    path = (folder / one.path).as_posix()
    return one, {"submission": path, **one.to_dict(), "written": None if written is None else str(written)}


def _show(one: "Rescored", path: str) -> None:
    """A table of old against new, or why there is none."""
    from rich.markup import escape
    from rich.table import Table

    if one.new is None:
        return say(f"{printable(path)}: not scored again: {printable(one.reason)}")
    grid = Table("metric", box=None, pad_edge=False)
    for heading in ("old mean", "new mean", "new - old", "of images", "changed"):
        grid.add_column(heading, justify="right")
    for name, change in one.metrics.items():
        numbers = ("-" if value is None else f"{value:.6g}" for value in (change.old, change.new))
        apart = "-" if change.difference is None else f"{change.difference:+.6g}"
        label = f"{name} ({change.unit})" if change.unit else name
        grid.add_row(label, *numbers, apart, f"{change.images:,}", f"{change.changed:,}")
    unofficial = "" if one.official else ", unofficial"
    show(escape(printable(f"{path}: {one.old} -> {one.protocol}{unofficial}")), grid, "")
    before, now = ("unknown" if side is None else f"{side[0]:,} of {side[1]:,}" for side in one.coverage)
    if before != now:
        say(f"images scored: {before} -> {now}; an image that is not scored counts as failed in recalls and coverage")
