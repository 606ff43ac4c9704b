"""`wildhoi study`: blinded pairs of two submissions for people to judge, and what they preferred."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wildhoi.cli.shared import Data, Json, Objects, Progress, Workers, names, say, show, show_json
from wildhoi.errors import InputError, printable
from wildhoi.schema import BodyKind

if TYPE_CHECKING:
    from evaluation.study import MadeStudy

app = typer.Typer(help="A human study: which of two submissions people prefer.", no_args_is_help=True)


@app.command("make")
def make(
    first: Annotated[Path, typer.Argument(metavar="A", help="A submission.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another, for the same data.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to make: page/ for raters, key.json for you.")],
    data: Data = None,
    images: Annotated[int | None, typer.Option(min=1, help="How many, evenly over objects; default all.")] = None,
    objects: Objects = "",
    seed: Annotated[int, typer.Option(help="Draws the images and their sides.")] = 0,
    ties: Annotated[bool, typer.Option("--ties", help="Raters may say that both are about the same.")] = False,
    body: Annotated[BodyKind | None, typer.Option(help="Body model to draw; default the submissions'.")] = None,
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Write a page with blinded pairs of two submissions, and the key that tells which is which."""
    from evaluation.study import StudyOptions, make_study

    options = StudyOptions(images, names(objects), seed, ties, body)
    with Progress() as progress:
        made = make_study(first, second, out, options, data=data, workers=workers, progress=progress)
    if as_json:
        return show_json(made.to_dict())
    _say_made(made)


def _say_made(made: "MadeStudy") -> None:
    from evaluation.intervals import MIN_CLUSTERS

    pairs = made.images + made.repeats
    size = f"{pairs} pairs, {made.bytes / 1e6:.1f} MB"
    say(f"study {made.study}: {made.images} images of {len(made.objects)} objects, {size}")
    for name in ("A", "B"):
        if lone := made.left_out[name]:
            say(f"  {lone} images that only {name} ({printable(made.methods[name])}) reconstructed are left out")
    if made.images < MIN_CLUSTERS:
        say(f"warning: {made.images} images give no interval and no verdict, which want {MIN_CLUSTERS} videos or more")
    say(f"wrote {Path(made.page).parent}: give this folder to the raters; they open {Path(made.page).name}")
    say(f"wrote {made.key}: keep it; then wildhoi study score {made.written} answers-*.json")


@app.command("score")
def score(
    study: Annotated[Path, typer.Argument(help="The folder of the study, with its key.")],
    answers: Annotated[list[Path], typer.Argument(help="The raters' files, or folders of them.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """Say which submission raters preferred, how sure that is, and how far they agree."""
    if markdown and as_json:
        raise InputError("--markdown and --json: two forms at once; leave one out")
    from evaluation.study import score_study, to_markdown, to_rich

    found = score_study(study, answers)
    if as_json:
        show_json(found.to_dict())
    elif markdown:
        sys.stdout.write(to_markdown(found))
    else:
        show(to_rich(found))
