"""`wildhoi ablate`: the variants of a grid, each trained, run and scored where it is missing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wildhoi.cli.shared import Json, Progress, Workers, say, show, show_json
from wildhoi.errors import printable

if TYPE_CHECKING:
    from wildhoi.ablation.planning import Plan
    from wildhoi.ablation.runner import Outcome


def ablate(
    grid: Annotated[str, typer.Argument(help="A .toml file, or the name of a grid that ships.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The ablation folder; several grids may share one.")],
    dataset: Annotated[
        str | None, typer.Option("--dataset", "--data", help="A data folder or name; default: the grid's.")
    ] = None,
    train_dataset: Annotated[str | None, typer.Option(help="What is trained on; default: the data set.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="LABEL", help="Only this cell; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many images of every object.")] = None,
    list_cells: Annotated[bool, typer.Option("--list", help="Say which cells are missing, and do nothing.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Train, run and score the cells of a grid that are missing, and print their table.

    Interrupted work goes on with the same command. A cell that fails does not stop the others; exit code 1 then.
    """
    from wildhoi.ablation.grids import load_grid
    from wildhoi.ablation.planning import Choices, plan_ablation
    from wildhoi.dataset import find_data
    from wildhoi.files import require_writable

    wanted = load_grid(grid)
    require_writable(out)
    data = find_data(dataset or wanted.dataset)
    trained_on = find_data(train_dataset) if train_dataset else None
    plan = plan_ablation(wanted, data, out, Choices(limit, device, workers), trained_on)
    if list_cells:
        return _list(plan, as_json=as_json)
    from wildhoi.ablation.runner import Listener, run_ablation

    with Progress() as progress:
        outcomes = run_ablation(plan, only or (), listener=Listener(progress, say))
    if as_json:
        show_json([vars(outcome) for outcome in outcomes])
    else:
        _report(plan, outcomes)
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _list(plan: "Plan", *, as_json: bool) -> None:
    from wildhoi.ablation.runner import is_done

    found = [(cell, "done" if is_done(plan, cell) else "missing") for cell in plan.ablation.cells]
    if as_json:
        return show_json([{**vars(cell), "status": status} for cell, status in found])
    from rich.markup import escape
    from rich.table import Table

    table = Table("cell", "status", "folder", "method", "settings", "trained with", box=None, pad_edge=False)
    for cell, status in found:
        texts = (", ".join(f"{key}={value}" for key, value in pairs.items()) for pairs in (cell.settings, cell.train))
        table.add_row(*(escape(printable(text)) for text in (cell.label, status, cell.key, cell.method, *texts)))
    show(table)


def _report(plan: "Plan", outcomes: "list[Outcome]") -> None:
    """The table of the grid, and below it what failed."""
    from evaluation.leaderboard.ablation import ablation_board

    show(ablation_board(plan.out, names=(plan.ablation.name,)).to_rich())
    counts = {status: sum(outcome.status == status for outcome in outcomes) for status in ("done", "kept", "failed")}
    say(", ".join(f"{count} {status}" for status, count in counts.items()) + f"; the cells are in {plan.out}")
    for outcome in outcomes:
        if outcome.status == "failed":
            say(f"failed: {outcome.label}: {printable(outcome.reason)}")
