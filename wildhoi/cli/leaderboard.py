"""`wildhoi leaderboard`: tables of scored submissions and published rows."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from wildhoi.cli.shared import say, show

app = typer.Typer(help="Tables of scored submissions and published rows.", no_args_is_help=True)
PerObject = Annotated[bool, typer.Option("--per-object", help="A column per object, as in the paper.")]
Statistic = Annotated[Literal["mean", "median"], typer.Option(help="Which statistic.")]
Format = Literal["table", "markdown", "csv", "latex", "json"]


@app.command("show")
def show_tables(
    folder: Annotated[Path | None, typer.Argument(help="A folder of scored submissions.")] = None,
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = "table",
    per_object: PerObject = False,
    statistic: Statistic = "mean",
) -> None:
    """Print the tables: scored submissions and published rows, one table per protocol."""
    from evaluation.leaderboard import leaderboard

    board = leaderboard(folder, per_object=per_object, statistic=statistic)
    if form == "table":
        return show(board.to_rich())
    text = {"markdown": board.to_markdown, "csv": board.to_csv, "latex": board.to_latex, "json": board.to_json}[form]()
    sys.stdout.write(text)


@app.command("build")
def build_tables(
    folder: Annotated[Path, typer.Argument(help="A folder of scored submissions.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where LEADERBOARD.md, .csv, .tex and .json go.")],
    per_object: PerObject = False,
    statistic: Statistic = "mean",
) -> None:
    """Write the tables as Markdown, CSV, LaTeX and JSON."""
    from evaluation.leaderboard import build

    for path in build(folder, out, per_object=per_object, statistic=statistic):
        say(f"wrote {path}")
