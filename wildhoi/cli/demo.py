"""`wildhoi demo`: shipped submissions scored, and methods side by side on shipped images."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wildhoi.cli.shared import Json, Progress, Workers, say, show

if TYPE_CHECKING:
    from rich.table import Table

    from wildhoi.workflows import Comparison

METRICS = ("translation", "chamfer_object", "rotation", "chamfer_human")
PICTURE = "demo.png"


def demo(
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Keep the scores and a picture here.")] = None,
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Score sample submissions, then fit and compare methods: on shipped data, no licence, no network."""
    from evaluation.leaderboard import leaderboard
    from wildhoi.files import require_writable
    from wildhoi.workflows import compare, lacking_packages
    from wildhoi.workflows import demo as score_samples

    if out is not None:
        require_writable(out)
    with TemporaryDirectory(prefix="wildhoi-demo-") as temporary:
        folder = out or Path(temporary)
        with Progress() as progress:
            score_samples(folder / "samples", workers=workers, progress=progress)
        board = leaderboard(folder / "samples", reported=False)
        if not as_json:
            show(board.to_rich())
            say(
                "Sample data: exaggerated noise on made-up poses, to show the machinery; these are no methods' results."
            )
        lacking, compared = lacking_packages(), None
        if not lacking:
            say("Fitting: isolation, PHOSA and the flow prior on a few images; about a minute ...")
            picture = None if out is None else out / PICTURE
            with Progress() as progress:
                compared = compare(folder / "methods", picture=picture, workers=workers, progress=progress)
    missing = f"not installed: {', '.join(lacking)}; pip install 'wildhoi[baselines]'" if lacking else None
    if as_json:
        more: dict[str, Any] = {"comparison": compared and compared.to_dict(), "no_comparison_because": missing}
        sys.stdout.write(json.dumps(json.loads(board.to_json()) | more, indent=1) + "\n")
        return
    if compared is None:
        say(f"The second part, methods side by side, is left out: {missing}")
    else:
        _report(compared)
    say("Next: score your own file: see docs/submission.md, then `wildhoi evaluate SUBMISSION --data DATA`.")


def _report(compared: "Comparison") -> None:
    """The table of the methods, what it is not, and where the picture is."""
    show(comparison_table(compared))
    images = max(scores["overall"]["coverage"]["images"] for scores in compared.scores.values())
    say(
        f"Median (mean) over {images} images of {' and '.join(compared.objects)}, fitted in {sum(compared.steps)} long "
        "steps instead of 1,300: a look at the methods, not a result; submissions/LEADERBOARD.md has those."
    )
    if compared.picture is None:
        say("`wildhoi demo -o DIR` keeps the reconstructions with their scores, and draws some of them.")
    else:
        say(f"wrote {compared.picture}: the first image of each object, with what every method made of it")


def comparison_table(compared: "Comparison") -> "Table":
    """A row for each method: medians with the means in brackets, scored images, and the seconds it took."""
    from rich.text import Text

    from evaluation.leaderboard.terminal import slim_table
    from evaluation.leaderboard.text import number
    from evaluation.metrics import METRICS as KNOWN

    table = slim_table()
    table.add_column("Method")
    for name in METRICS:
        metric = KNOWN[name]
        table.add_column(Text(f"{metric.label}\n{metric.unit} ↓"), justify="right", no_wrap=True)
    table.add_column("Images", justify="right")
    table.add_column("Seconds", justify="right")
    for method, scores in compared.scores.items():
        cells, coverage = scores["overall"]["metrics"], scores["overall"]["coverage"]
        table.add_row(
            method,
            *(f"{number(cells[n]['median'], 1)} ({number(cells[n]['mean'], 1)})" for n in METRICS),
            f"{coverage['scored']}/{coverage['images']}",
            number(compared.seconds[method], 1),
        )
    return table
