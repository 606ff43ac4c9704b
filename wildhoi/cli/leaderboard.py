"""`wildhoi leaderboard`: tables of scored submissions and published rows."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wildhoi.cli.shared import Data, Json, Progress, Workers, printable, say, show, show_json
from wildhoi.errors import InputError

if TYPE_CHECKING:
    from evaluation.checking import Verdict
    from evaluation.leaderboard.ablation import AblationBoard
    from evaluation.leaderboard.board import Leaderboard

app = typer.Typer(help="Tables of scored submissions and published rows.", no_args_is_help=True)
PerObject = Annotated[bool, typer.Option("--per-object", help="A column per object, as in the paper.")]
Statistic = Annotated[Literal["mean", "median"], typer.Option(help="Which statistic.")]
Format = Literal["table", "markdown", "csv", "latex", "json"]
Form = Annotated[Format, typer.Option("--format", help="How to print it.")]
EXIT_CODES = {"invalid": 2, "differs": 1, "not checked": 3}  # the first that is met


@app.callback(invoke_without_command=True)
def tables(
    context: typer.Context,
    ablation: Annotated[Path | None, typer.Option(help="An ablation folder: print its tables.")] = None,
    form: Form = "table",
    per_object: PerObject = False,
    statistic: Statistic = "mean",
) -> None:
    """Tables of scored submissions and published rows; with --ablation those of an ablation folder."""
    if context.invoked_subcommand is not None:
        if ablation is not None or (form, per_object, statistic) != ("table", False, "mean"):
            raise InputError(
                f"leaderboard: options before {context.invoked_subcommand} are those of --ablation, which stands "
                "alone; put them behind the command"
            )
        return
    if ablation is None:
        raise InputError("leaderboard: want --ablation DIR, or one of the commands show, build and check")
    from evaluation.leaderboard.ablation import ablation_board

    print_board(ablation_board(ablation, per_object=per_object, statistic=statistic), form)


def print_board(board: "Leaderboard | AblationBoard", form: Format) -> None:
    """Print tables in a format."""
    if form == "table":
        return show(board.to_rich())
    text = {"markdown": board.to_markdown, "csv": board.to_csv, "latex": board.to_latex, "json": board.to_json}[form]()
    sys.stdout.write(text)


@app.command("show")
def show_tables(
    folder: Annotated[Path | None, typer.Argument(help="A folder of scored submissions.")] = None,
    form: Form = "table",
    per_object: PerObject = False,
    statistic: Statistic = "mean",
) -> None:
    """Print the tables: scored submissions and published rows, one table per protocol."""
    from evaluation.leaderboard import leaderboard

    print_board(leaderboard(folder, per_object=per_object, statistic=statistic), form)


@app.command("build")
def build_tables(
    folder: Annotated[Path, typer.Argument(help="A folder of scored submissions.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where LEADERBOARD.md, .csv, .tex and .json go.")],
    per_object: PerObject = False,
    statistic: Statistic = "mean",
) -> None:
    """Write the tables as Markdown, CSV, LaTeX and JSON, and an overview into the marked part of a README.md there."""
    from evaluation.leaderboard import build

    for path in build(folder, out, per_object=per_object, statistic=statistic):
        say(f"wrote {path}")


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="A folder of submissions, at any depth.")],
    data: Data = None,
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Score submissions again: every number must be the stored one, to the last bit.

    The truth is the data set's that a submission names; that of the open set ships. Exit code 2 where something is
    invalid, else 1 where something differs, else 3 where the data are not here.
    """
    from evaluation.checking import check_submissions

    with Progress() as progress:
        verdicts = check_submissions(folder, data, workers=workers, progress=progress)
    if as_json:
        show_json([verdict.to_dict() for verdict in verdicts])
    for verdict in () if as_json else verdicts:
        _show_verdict(verdict)
    if not as_json and not verdicts:
        say(f"{folder}: no submission is below it")
    met = {verdict.status for verdict in verdicts}
    raise typer.Exit(next((code for status, code in EXIT_CODES.items() if status in met), 0))


def _show_verdict(verdict: "Verdict") -> None:
    """One line of a submission, and one of the libraries that are others than it was scored with."""
    why = verdict.reason
    if verdict.differences:
        more = len(verdict.differences) - 1
        why = f"{verdict.differences[0]}" + (f" (and {more} more; --json lists all)" if more else "")
    protocol = f" ({verdict.protocol})" if verdict.protocol else ""
    line = f"{verdict.path}{protocol}: {verdict.status}" + (f": {why}" if why else "")
    sys.stdout.write(f"{printable(line)}\n")
    if verdict.versions:
        listed = ", ".join(f"{d.field.partition('.')[2]} {d.stored} then, {d.found} now" for d in verdict.versions)
        say(f"  other versions: {printable(listed)}")
