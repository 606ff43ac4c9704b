"""`wildhoi compare`: scored submissions against one of them, image by image."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from wildhoi.cli.shared import say, show, show_json


def compare(
    submissions: Annotated[list[Path], typer.Argument(help="Scored submissions, at least two.")],
    baseline: Annotated[
        Path | None, typer.Option(help="The one that the others are compared with; default the first.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="A metric; repeatable. Default: the protocol's headline.")
    ] = None,
    by: Annotated[Literal["object"] | None, typer.Option(help="For each object too.")] = None,
    form: Annotated[Literal["table", "markdown", "json"], typer.Option("--format", help="How to print it.")] = "table",
    plot: Annotated[Path | None, typer.Option(help="A picture of it: .png, .svg or .pdf.")] = None,
) -> None:
    """Compare scored submissions on the same images: differences with intervals, tests, wins; ties are called ties."""
    from evaluation.comparison import compare_submissions, to_markdown, to_rich

    found = compare_submissions(submissions, baseline, metric or (), by_object=by == "object")
    if plot is not None:
        from evaluation.comparison.plot import plot_comparison

        plot_comparison(found, plot)
        say(f"wrote {plot}")
    if form == "json":
        show_json(found.to_dict())
    elif form == "markdown":
        sys.stdout.write(to_markdown(found))
    else:
        show(to_rich(found))
