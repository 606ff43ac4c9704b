"""`wildhoi leaderboard`: tables of scored submissions and published rows."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wildhoi.cli.shared import Data, Json, Progress, Workers, say, show, show_json
from wildhoi.errors import InputError, printable

if TYPE_CHECKING:
    from evaluation.checking import Verdict
    from evaluation.leaderboard.ablation import AblationBoard
    from evaluation.leaderboard.board import Leaderboard
    from evaluation.site.building import Site

app = typer.Typer(help="Tables of scored submissions and published rows.", no_args_is_help=True)
PerObject = Annotated[bool, typer.Option("--per-object", help="A column per object, as in the paper.")]
Statistic = Annotated[Literal["mean", "median"], typer.Option(help="Which statistic.")]
Format = Literal["table", "markdown", "csv", "latex", "json"]
Form = Annotated[Format, typer.Option("--format", help="How to print it.")]
By = Annotated[str | None, typer.Option(help="Who does it; default $GITHUB_ACTOR, else git's user.name.")]
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
        raise InputError("leaderboard: want --ablation DIR, or one of the commands show, build, check and verify")
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
def build(
    folder: Annotated[Path, typer.Argument(help="A folder of scored submissions.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The site; a new folder, or one that was built before.")],
    tables_only: Annotated[
        bool, typer.Option("--tables", help="Only LEADERBOARD.md, .csv, .tex, .json and a README.md's overview.")
    ] = False,
    readme: Annotated[
        list[Path] | None, typer.Option(help="With --tables: a further page whose marked part gets the overview.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="A data folder, for its pictures; repeatable. Default: by the name.")
    ] = None,
    ablation: Annotated[list[Path] | None, typer.Option(help="An ablation folder; repeatable.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Images of each object that have a page.")] = 10,
    all_images: Annotated[bool, typer.Option("--all-images", help="Every image has a page.")] = False,
    workers: Workers = 1,
    per_object: Annotated[bool, typer.Option("--per-object", help="With --tables: a column per object.")] = False,
    statistic: Annotated[
        Literal["mean", "median"] | None, typer.Option(help="Of the tables; default mean, and median on the pages.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build the site: plain files that open from disk and need no server. What is drawn already is kept."""
    if tables_only:
        from evaluation.leaderboard import build as build_tables

        pages = tuple(readme or ())
        written = build_tables(folder, out, per_object=per_object, statistic=statistic or "mean", readmes=pages)
        return _say_written(written, _left_out(folder), as_json=as_json)
    if readme or per_object:
        raise InputError("--readme and --per-object are of the tables: give --tables, or leave them out")
    from evaluation.site import SiteOptions, build_site

    options = SiteOptions(
        None if all_images else images, tuple(data or ()), tuple(ablation or ()), statistic or "median", workers=workers
    )
    with Progress() as progress:
        site = build_site(folder, out, options, progress)
    _say_site(site, as_json=as_json)


def _say_site(site: "Site", *, as_json: bool) -> None:
    if as_json:
        return show_json({**asdict(site), "path": str(site.path)})
    for line in (*site.notes, *site.troubles):
        say(printable(line))
    removed = f", {site.removed} stale files removed" if site.removed else ""
    say(f"wrote {site.pages} pages and {site.pictures} pictures and scenes{removed}; open {site.path / 'index.html'}")


def _left_out(folder: Path) -> tuple[str, ...]:
    """What is below a folder and stands in no table."""
    from evaluation.leaderboard import leaderboard

    return leaderboard(folder, reported=False).notes


def _say_written(written: Sequence[Path], notes: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        return show_json({"written": [str(path) for path in written], "notes": list(notes)})
    for note in notes:
        say(printable(note))
    for path in written:
        say(f"wrote {path}")


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="A folder of submissions, at any depth.")],
    data: Data = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Add what is new to this file, a line each; without it nothing is written.")
    ] = None,
    by: By = None,
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Score submissions again: every number must be the stored one, to the last bit.

    The truth is the data set's that a submission names; that of the open set ships. Exit code 2 where something is
    invalid, else 1 where something differs, else 3 where the data are not here.
    """
    from evaluation.checking import check_submissions
    from evaluation.recording import record_checks, recorder

    if by and ledger is None:
        raise InputError("leaderboard check: --by goes with --ledger FILE; without one nothing is written")
    book = None if ledger is None else recorder(ledger, folder, by)
    with Progress() as progress:
        verdicts = check_submissions(folder, data, workers=workers, progress=progress)
    for line in () if book is None else record_checks(book, verdicts):
        say(f"{ledger}: {printable(line.path)} {line.verdict}{printable(_listed(line.changed))}")
    if as_json:
        show_json([verdict.to_dict() for verdict in verdicts])
    for verdict in () if as_json else verdicts:
        _show_verdict(verdict)
    if not as_json and not verdicts:
        say(f"{folder}: no submission is below it")
    met = {verdict.status for verdict in verdicts}
    raise typer.Exit(next((code for status, code in EXIT_CODES.items() if status in met), 0))


def _listed(changes: Sequence[str]) -> str:
    """What changed, in brackets; nothing where nothing did."""
    return f" ({'; '.join(changes)})" if changes else ""


@app.command("verify")
def verify(
    submission: Annotated[Path, typer.Argument(help="A submission that a check has recorded.")],
    ledger: Annotated[Path, typer.Option(help="Add to this file that it was verified.")],
    rerun: Annotated[Path | None, typer.Option(help="The run that `wildhoi reproduce` or `run` made of it.")] = None,
    own: Annotated[bool, typer.Option("--own", help="No rerun: whoever keeps the ledger made it.")] = False,
    data: Data = None,
    tolerance: Annotated[float, typer.Option(help="Share of a mean by which the rerun may differ.")] = 0.05,
    by: By = None,
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Record that a method was run again and agrees, as `wildhoi reproduce` compares; exit code 1 where it does not.

    Both sides are scored here once more, so that nobody's report is taken at its word.
    """
    from evaluation.recording import OWN, record_verified, recorder
    from wildhoi.open_scenes.truth import truth_of
    from wildhoi.reproducing import Refit, compare_rerun
    from wildhoi.submission.folder import read_submission

    if own == (rerun is not None):
        raise InputError("leaderboard verify: want --rerun FOLDER, or --own, and not both")
    book, how = recorder(ledger, submission, by), OWN
    if rerun is not None:
        reference, made = read_submission(submission), read_submission(rerun)
        with truth_of(data or reference.manifest.dataset) as truth:
            found = compare_rerun(reference, made, truth, Refit(tolerance=tolerance, workers=workers))
        again = f"{found.overall.images} of {len(reference.rows)} images run again"
        if not found.passed or not found.overall.images:
            apart = ", ".join(found.differing) or "which images have a reconstruction"
            say(f"{submission}: not verified: {again}, and they differ in {printable(apart)}")
            raise typer.Exit(1)
        how = f"{again}: headline means agree within {100 * tolerance:g} % under {found.protocol}"
    line = record_verified(book, how)
    if as_json:
        show_json({"submission": str(submission), "how": how, "added": line is not None})
    else:
        say(f"{ledger}: {submission} " + (f"verified ({printable(how)})" if line else "is on record as verified so"))


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
