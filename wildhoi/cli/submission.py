"""`wildhoi submission`: make, check, convert, merge and publish submissions."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wildhoi.cli.shared import Data, Json, Progress, say, show, show_json
from wildhoi.errors import printable
from wildhoi.submission.defects import Defect, errors
from wildhoi.submission.folder import Submission

if TYPE_CHECKING:
    from wildhoi.hub import Published

app = typer.Typer(help="Make, check, convert, merge and publish submissions.", no_args_is_help=True)
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


@app.command("export")
def export(
    submission: Annotated[Path, typer.Argument(help="A scored submission.")],
    form: Annotated[
        Literal["eval-results", "model-index"],
        typer.Option("--format", help="A .eval_results/*.yaml file, or the model-index of a card."),
    ] = "eval-results",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The file to write; default the terminal.")] = None,
    unofficial: Annotated[bool, typer.Option("--unofficial", help="Scores that stand in no table too.")] = False,
) -> None:
    """Give the scores as the Hugging Face Hub reads them, at full precision: YAML for a model's repository."""
    from evaluation.exporting import export_scores
    from wildhoi.files import write_text

    text = export_scores(submission, form, unofficial=unofficial)
    if out is None:
        sys.stdout.write(text)
        return
    write_text(out, text)
    say(f"wrote {out}")


@app.command("push")
def push(
    submission: Annotated[Path, typer.Argument(help="A scored submission.")],
    repository: Annotated[str, typer.Argument(metavar="REPO_ID", help="OWNER/NAME of a model's repository.")],
    data: Data = None,
    private: Annotated[bool, typer.Option("--private", help="Only you and your organisation see it.")] = False,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request; main stays.")] = False,
    run_log: Annotated[bool, typer.Option("--run-log", help="With the diary run.jsonl of its run.")] = False,
    unofficial: Annotated[bool, typer.Option("--unofficial", help="Unofficial scores among the results too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and do nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Publish a submission on the Hugging Face Hub, validated first: its files, a card and its results, one commit."""
    from evaluation.publishing import prepare
    from wildhoi import hub
    from wildhoi.dataset import find_data
    from wildhoi.submission.folder import check_submission

    checked, defects = check_submission(submission, find_data(data) if data else None)
    if checked is None or errors(defects):
        if as_json:
            show_json({"valid": False, "defects": [defect.to_dict() for defect in defects]})
        else:
            _show_defects(submission, checked, defects)
        raise typer.Exit(2)
    files = prepare(checked, diary=run_log, unofficial=unofficial)
    message = f"{checked.manifest.method} on {checked.manifest.dataset}"
    with Progress() as progress:
        done = hub.push_files(
            files, repository, message, private=private, create_pr=create_pr, dry_run=dry_run, progress=progress
        )
    if as_json:
        return show_json(done.to_dict())
    _show_push(done, dry_run=dry_run)


def _show_push(done: "Published", *, dry_run: bool) -> None:
    for change in done.changes if dry_run else ():
        say(f"{change.what:<9}{change.size / 1e3:>10,.1f} kB  {printable(change.name)}")
    for name in done.kept:
        say(f"{name} there is somebody's own and stays; `wildhoi submission export` has the results for it")
    what = f"{len(done.sent)} files, {done.bytes / 1e3:,.1f} kB, {'private' if done.private else 'open to all'}"
    if not done.sent:
        return say(f"{done.url}: has all of it already")
    say(f"{'would push' if dry_run else 'pushed'} to {done.pull_request or done.url}: {what}")
