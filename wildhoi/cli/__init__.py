"""The command `wildhoi`: parse, call one library function, print. Heavy imports wait until a command needs them."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from wildhoi import __version__
from wildhoi.cli import (
    ablate,
    body,
    compare,
    data,
    group,
    leaderboard,
    methods,
    occlusion,
    reproduce,
    rescore,
    run,
    study,
    submission,
    train,
)
from wildhoi.cli.demo import demo as run_demo
from wildhoi.cli.fits import show as show_fit
from wildhoi.cli.shared import (
    Address,
    Data,
    EngineKind,
    Json,
    Objects,
    Processes,
    Progress,
    make_engine,
    names,
    say,
    say_defects,
    show,
    show_json,
)
from wildhoi.errors import INTERRUPTED, WildhoiError, printable
from wildhoi.schema import BodyKind

MEMORY_HINT = (
    "finished work is kept, the same command goes on (a run or a training: with --resume); ask for less at once"
)
SHOWN_DEFECTS = 20  # beside the one in the headline

app = typer.Typer(
    help="Benchmark of monocular human-object 3D reconstruction: convert data, score submissions, compare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
GROUPS = {
    "data": data,
    "methods": methods,
    "submission": submission,
    "leaderboard": leaderboard,
    "body": body,
    "study": study,
}
for name, commands in GROUPS.items():
    app.add_typer(commands.app, name=name)
app.command("demo")(run_demo)
app.command()(run.run)
app.command("show")(show_fit)
app.command()(occlusion.occlusion)
app.command()(group.group)
app.command()(reproduce.reproduce)
app.command()(train.train)
app.command()(ablate.ablate)
app.command()(compare.compare)
app.command()(rescore.rescore)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what is installed, which body models and data are found, and where to get the rest."""
    from wildhoi.doctor import examine

    findings = examine()
    if as_json:
        return show_json([finding.to_dict() for finding in findings])
    marks = {"ok": "[green]ok[/]", "optional": "[yellow]--[/]", "missing": "[red]missing[/]"}
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        table.add_row(marks[finding.status], escape(finding.what), escape(finding.detail))
    show(table)
    for finding in findings:
        if finding.mend:
            show(f"\n[bold]{escape(finding.what)}[/]: {escape(finding.mend)}")
    if any(finding.status == "missing" for finding in findings):
        raise typer.Exit(1)


@app.command()
def evaluate(
    submission: Annotated[Path, typer.Argument(help="A folder with submission.yaml and predictions.parquet.")],
    data: Data = None,
    protocol: Annotated[str | None, typer.Option(help="Its id, or a .toml file; default: the data set's.")] = None,
    body: Annotated[
        BodyKind | None, typer.Option(help="Body model: smplx, smplh or open (unofficial elsewhere).")
    ] = None,
    objects: Objects = "",
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a submission that misses images.")] = False,
    workers: Processes = None,
    engine: EngineKind = "local",
    address: Address = "auto",
    device: Annotated[str, typer.Option(help="cpu is canonical; cuda is marked.")] = "cpu",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Default: into the submission.")] = None,
    as_json: Json = False,
) -> None:
    """Score a submission: prints a table, writes scores.json and per_image.parquet."""
    from evaluation.protocol import load_protocol, protocol_for
    from wildhoi.files import require_writable
    from wildhoi.open_scenes.truth import truth_of
    from wildhoi.submission.folder import read_submission

    target = out or submission
    require_writable(target)
    handed_in = read_submission(submission)
    where = make_engine(engine, workers, address, device)
    with Progress(where) as progress, truth_of(data or handed_in.manifest.dataset) as folder:
        chosen = load_protocol(protocol) if protocol else protocol_for(folder.name)
        # torch comes only after everything that can be refused without it
        from evaluation.evaluate import Options, evaluate_into

        options = Options(body, names(objects), strict, where, device)
        told = partial(progress, "scoring")
        scores = evaluate_into(target, handed_in, folder, chosen, options, told)
    from evaluation.report import score_report

    if as_json:
        return show_json(scores.scores)
    say_defects(handed_in.warnings + tuple(scores.warnings))
    show(score_report(scores.scores))
    say(f"wrote {target / 'scores.json'} and {target / 'per_image.parquet'}")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        sys.stdout.write(f"wildhoi {__version__}\n")
        raise typer.Exit


def main() -> None:
    """Run the command line; a user's mistake is one line and an exit code, never a traceback."""
    try:
        app(prog_name="wildhoi")
    except WildhoiError as error:
        say(f"error: {printable(error)}")
        _all_defects(error)
        sys.exit(error.exit_code)
    except SystemExit as ending:
        if ending.code == INTERRUPTED:
            say(
                "stopped; what was finished is kept, and long work goes on with the same command (a run: with --resume)"
            )
        raise
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        say(f"error: {printable(error.filename or 'file system')}: {error.strerror or error}")
        sys.exit(1)
    except Exception as error:
        if os.environ.get("WILDHOI_DEBUG"):
            raise
        say(f"error: {_unexpected(error)}")
        sys.exit(1)


def _unexpected(error: Exception) -> str:
    """What to say of an error that nobody has foreseen, but for memory, which may be short anywhere."""
    from wildhoi.engine.working import is_out_of_memory

    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if is_out_of_memory(error):
        return f"memory did not suffice: {reason}; {MEMORY_HINT}"
    return f"a defect of wildhoi itself: {reason}; WILDHOI_DEBUG=1 shows where"


def _all_defects(error: WildhoiError) -> None:
    """The defects behind the one in the headline, which is the first error."""
    defects = getattr(error, "defects", ())
    headline = next((defect for defect in defects if defect.severity == "error"), None)
    for defect in [defect for defect in defects if defect is not headline][:SHOWN_DEFECTS]:
        say(f"  {defect.severity}: {printable(defect)}")
