"""`wildhoi submission`: make, check, convert and merge submissions."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from wildhoi.cli.shared import Data, Json, printable, say, show, show_json
from wildhoi.submission.defects import Defect, errors
from wildhoi.submission.folder import Submission

app = typer.Typer(help="Make, check, convert and merge submissions.", no_args_is_help=True)
SHOWN_DEFECTS = 200  # of a table that somebody reads


@app.command("init")
def init(
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    data: Data = "open-sample",
    method: Annotated[str, typer.Option(help="The method's name.")] = "my-method",
    split: Annotated[Literal["train", "test"], typer.Option(help="Which images.")] = "test",
    as_json: Json = False,
) -> None:
    """Start a submission: a manifest, and one row per image, marked as failed until you fill it in."""
    from wildhoi.dataset import find_data, load_annotations
    from wildhoi.files import require_new
    from wildhoi.schema import Failure
    from wildhoi.submission.folder import write_submission
    from wildhoi.submission.manifest import Manifest

    require_new(folder)
    source = find_data(str(data))
    rows = [Failure(a.image_id, "not reconstructed yet") for a in load_annotations(source, split)]
    manifest = Manifest(method, source.name, split, source.revision_of(split), source.body_model)
    write_submission(folder, manifest, rows)
    if as_json:
        return show_json({"written": str(folder), "rows": len(rows)})
    say(f"wrote {folder} with {len(rows)} rows; fill in predictions.parquet (docs/submission.md), then")
    say(f"  wildhoi submission validate {folder} --data {data}")


@app.command("validate")
def validate(
    submission: Annotated[Path, typer.Argument(help="A folder with submission.yaml and predictions.parquet.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Check a submission and list every defect at once; exit code 2 if there is an error."""
    from wildhoi.dataset import find_data
    from wildhoi.submission.folder import check_submission

    checked, defects = check_submission(submission, find_data(data) if data else None)
    if as_json:
        show_json({"valid": not errors(defects), "defects": [defect.to_dict() for defect in defects]})
    else:
        _show_defects(submission, checked, defects)
    if errors(defects):
        raise typer.Exit(2)


def _show_defects(path: Path, checked: Submission | None, defects: Sequence[Defect]) -> None:
    from rich.markup import escape
    from rich.table import Table

    if defects:
        table = Table("", "code", "row", "image_id", "found", "expected", "hint", box=None, pad_edge=False)
        colour = {"error": "red", "warning": "yellow"}
        for d in defects[:SHOWN_DEFECTS]:
            mark = f"[{colour[d.severity]}]{d.severity}[/]"
            row = "" if d.row is None else str(d.row)
            cells = (d.code, row, d.image_id or "", d.found, d.expected, d.hint)
            table.add_row(mark, *(escape(printable(cell)) for cell in cells))
        show(table)
    if len(defects) > SHOWN_DEFECTS:
        say(f"... and {len(defects) - SHOWN_DEFECTS} more; --json lists all")
    if checked is None or errors(defects):
        return say(f"{path}: {len(errors(defects))} errors, {len(defects) - len(errors(defects))} warnings: not valid")
    say(f"{path}: valid, {len(checked.rows)} rows" + (f", {len(defects)} warnings" if defects else ""))


@app.command("convert")
def convert(
    sources: Annotated[list[Path], typer.Argument(help="Result files, or folders of them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The submission to write.")],
    method: Annotated[str, typer.Option(help="The method's name.")],
    origin: Annotated[
        Literal["wildhoi", "rhobin"],
        typer.Option("--from", help="Whose files: the WildHOI authors' lists, RHOBIN's results.pkl or zip."),
    ] = "wildhoi",
    data: Data = None,
    dataset: Annotated[str, typer.Option(help="The data set they are for.")] = "wildhoi",
    body_model: Annotated[Literal["smplx", "smplh", "open"], typer.Option(help="Whose parameters they are.")] = "smplx",
    nan_as_failed: Annotated[bool, typer.Option("--nan-as-failed", help="Rows with NaN become failures.")] = False,
    as_json: Json = False,
) -> None:
    """Turn other people's result files into a submission; nothing in them is ever executed."""
    from wildhoi.dataset import find_data
    from wildhoi.files import require_writable
    from wildhoi.submission.convert import convert_results
    from wildhoi.submission.manifest import Manifest

    require_writable(out)
    manifest = Manifest(method, dataset, body_model=body_model, supervision="unknown")
    source = find_data(data) if data else None
    done = convert_results(sources, out, manifest, origin=origin, data=source, nan_as_failed=nan_as_failed)
    if as_json:
        return show_json({"written": str(out), **asdict(done)})
    for warning in done.warnings:
        say(f"warning: {warning}")
    files = f"{done.files} file" + ("s" if done.files > 1 else "")
    say(f"wrote {out}: {done.reconstructions} reconstructions, {done.failures} failures, from {files}")


@app.command("merge")
def merge(
    parts: Annotated[
        list[Path], typer.Argument(metavar="PART...", help="Submissions of one method with other images.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The submission to write.")],
    as_json: Json = False,
) -> None:
    """Make one submission of several: the shards of a run, or one submission per object."""
    from wildhoi.files import require_writable
    from wildhoi.submission.merge import merge_submissions

    require_writable(out)
    done = merge_submissions(parts, out)
    if as_json:
        return show_json({"written": str(out), **asdict(done)})
    if done.absent:
        say(f"warning: not among the parts: shard {', '.join(done.absent)}")
    say(f"wrote {out}: {done.rows - done.failures} reconstructions, {done.failures} failures, from {len(parts)} parts")
