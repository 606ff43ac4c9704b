"""Leaderboards in the terminal, for 100 columns."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evaluation.leaderboard.sheet import Cell, cell, header, images, notes, origin, stacked_header
from evaluation.leaderboard.tables import OVERALL, LeaderboardTable
from evaluation.leaderboard.text import NOTHING, clean, short

BEST = "bold green"
WIDTH = 100
NAME = 24  # of them for the methods of a table per object
LONGEST = 16  # the name of an object is folded from here on


def terminal_view(
    tables: Sequence[LeaderboardTable], exclusions: Sequence[str], *, per_object: bool = False
) -> RenderableType:
    """Every table under its heading, and below what stands in none."""
    parts: list[RenderableType] = []
    for table in tables:
        parts.append(_heading(table))
        for grid in _object_blocks(table) if per_object else [_metric_table(table)]:
            parts += [Text(), grid]
        marked = per_object and any(row.entry.reported for row in table.rows)
        legend = ("Reported rows carry a *.",) if marked else ()
        parts += [Text(), bullets((*notes(table), *legend), "dim"), Text()]
    if exclusions:
        parts += [bullets(exclusions, "yellow"), Text()]
    return Group(*parts)


def _heading(table: LeaderboardTable) -> Text:
    text = Text.assemble((clean(table.title), "bold"), "\n", (origin(table), "dim"))
    if table.apart:
        text.append(f"\nSet apart: {table.apart}.", "yellow")
    return text


def bullets(lines: Sequence[str], style: str) -> Table:
    """Notes in one style, a line that is too long continued below its own text."""
    grid = Table.grid(padding=(0, 1))
    for line in lines:
        grid.add_row(Text(" ·", style), Text(line, style))
    return grid


def slim_table() -> Table:
    """A table with a rule below its head and two spaces between columns."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 2))


def _metric_table(table: LeaderboardTable) -> Table:
    grid = slim_table()
    reported = any(row.entry.reported for row in table.rows)
    grid.add_column("Method", overflow="fold", min_width=12)
    grid.add_column("Super-\nvision", overflow="fold")
    for metric in table.metrics:
        grid.add_column(stacked_header(metric), justify="right", no_wrap=True)
    grid.add_column("Images", justify="right", no_wrap=True)
    grid.add_column("Source", overflow="fold", min_width=19 if reported else 8)
    for row in table.rows:
        coverage = row.entry.overall.coverage
        incomplete = coverage is not None and not coverage.complete
        grid.add_row(
            Text(row.name),
            Text(short(row.entry.supervision) or NOTHING),
            *(_text(cell(row, OVERALL, metric, table)) for metric in table.metrics),
            Text(images(coverage), "yellow" if incomplete else ""),
            Text(row.entry.source, "dim" if row.entry.reported else ""),
        )
    return grid


def _text(cell: Cell) -> Text:
    return Text(cell.text, BEST if cell.best else "")


def _object_blocks(table: LeaderboardTable) -> list[Table]:
    """A section per metric, so that the methods stand below each other; as many blocks as the objects' names ask."""
    blocks: list[dict[str, int]] = [{}]
    for scope in (*table.objects, OVERALL):
        width = _object_width(table, scope)
        if sum(blocks[-1].values()) + len(blocks[-1]) + width + 1 > WIDTH - NAME:
            blocks.append({})
        blocks[-1][scope] = width
    return [_object_block(table, block) for block in blocks if block]


def _object_width(table: LeaderboardTable, scope: str) -> int:
    numbers = [cell(row, scope, metric, table).text for row in table.rows for metric in table.metrics]
    counts = [images(row.group(scope).coverage) for row in table.rows]
    return max(min(len(_scope_name(scope)), LONGEST), *map(len, [*numbers, *counts]))


def _scope_name(scope: str) -> str:
    return short(scope) or "overall"


def _object_block(table: LeaderboardTable, widths: Mapping[str, int]) -> Table:
    """Some objects side by side; a method that has no number of any of them is left out."""
    grid = slim_table()
    grid.padding = (0, 0)  # the names of eight objects leave little room
    grid.add_column("", overflow="fold", width=NAME)
    for scope, width in widths.items():
        grid.add_column(Text(_scope_name(scope)), justify="right", overflow="fold", width=width)
    for metric in table.metrics:
        grid.add_row(Text(header(metric), "bold cyan"))
        for row in table.rows:
            cells = [cell(row, scope, metric, table) for scope in widths]
            if any(number.text != NOTHING for number in cells):
                name = Text.assemble(row.name, (" *" if row.entry.reported else "", "dim"))
                grid.add_row(_indented(name), *map(_text, cells))
        grid.add_section()
    measured = [row for row in table.rows if not row.entry.reported]
    if measured:
        grid.add_row(Text("Images", "bold cyan"))
    for row in measured:
        counts = (Text(images(row.group(scope).coverage)) for scope in widths)
        grid.add_row(_indented(Text(row.name)), *counts)
    return grid
