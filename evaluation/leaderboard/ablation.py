"""The table of an ablation: the cells of a grid in its order, with the intervals of their means."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from evaluation.leaderboard.documents import bullets, latex_document, pipe_table
from evaluation.leaderboard.entries import Entry, read_entry
from evaluation.leaderboard.sheet import Cell, Sheet, exclusions, header, images, make_sheet, origin, stacked_header
from evaluation.leaderboard.tables import OVERALL, LeaderboardTable, Statistic, TableRow, scope_of, tables, value_of
from evaluation.leaderboard.terminal import BEST, slim_table
from evaluation.leaderboard.terminal import bullets as rich_bullets
from evaluation.leaderboard.text import clean, markdown, number, short, spreadsheet
from evaluation.metrics import METRICS, Metric
from evaluation.scores import SCORES
from wildhoi.ablation.stored import CELLS, Ablation, Placed, read_ablations
from wildhoi.errors import InputError
from wildhoi.files import sha256_file
from wildhoi.submission.folder import PREDICTIONS

SPEC = 1
KEYS = ("grid", "protocol", "protocol_hash", "dataset", "revision", "split", "cell", "method", "key", "object")
NUMBERS = ("images", "scored", "metric", "unit", "mean", "low", "high", "median")


@dataclass(frozen=True)
class AblationTable:
    """A grid, its scored cells in order (None where there is none), and why each other cell is not among them."""

    ablation: Ablation
    table: LeaderboardTable | None
    absent: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class AblationBoard:
    """The tables of an ablation folder, in every format; `unreadable` are its files that are no grids."""

    tables: tuple[AblationTable, ...]
    unreadable: tuple[str, ...]
    statistic: Statistic
    per_object: bool

    def to_markdown(self) -> str:
        """Pipe tables, the best of a column in bold."""
        parts = ["# Ablations"]
        for sheet in self.sheets():
            parts += [f"## {markdown(sheet.title)}", markdown(sheet.origin), pipe_table(sheet), bullets(sheet.notes)]
        if self.unreadable:
            parts += ["## Not in the tables", bullets(self._exclusions())]
        return "\n\n".join(parts) + "\n"

    def to_latex(self) -> str:
        """Tables for a paper, with booktabs."""
        return latex_document(self.sheets(), self._exclusions())

    def to_csv(self) -> str:
        """A line for every cell and metric at full precision; with a column for the object, empty for all."""
        stream = StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*KEYS, *NUMBERS])
        for table in self.tables:
            writer.writerows(_lines(table, per_object=self.per_object))
        return stream.getvalue()

    def to_json(self) -> str:
        """Everything at full precision, per object too; ASCII, so that no text in it steers a terminal."""
        content = {
            "spec": SPEC,
            "statistic": self.statistic,
            "grids": [_facts(table) for table in self.tables],
            "unreadable": list(self.unreadable),
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    def to_rich(self) -> RenderableType:
        """A view for the terminal: the interval stands below its mean."""
        parts: list[RenderableType] = []
        for sheet in self.sheets(stacked=True):
            parts += [Text.assemble((sheet.title, "bold"), "\n", (sheet.origin, "dim")), Text()]
            parts += [_grid(sheet), Text(), rich_bullets(sheet.notes, "dim"), Text()]
        if self.unreadable:
            parts += [rich_bullets(self._exclusions(), "yellow"), Text()]
        return Group(*parts)

    def sheets(self, *, stacked: bool = False) -> list[Sheet]:
        """The tables as texts in cells; `stacked` puts intervals below their means."""
        return [_sheet(table, per_object=self.per_object, stacked=stacked) for table in self.tables]

    def _exclusions(self) -> tuple[str, ...]:
        return exclusions((), self.unreadable)


def ablation_board(
    folder: Path, *, names: tuple[str, ...] = (), per_object: bool = False, statistic: Statistic = "mean"
) -> AblationBoard:
    """Make the tables of an ablation folder.

    Args:
        folder: as `wildhoi ablate` makes it.
        names: of grids; none for all that were run there.
        per_object: a row per cell and metric with a column per object.
        statistic: over images; means have intervals.

    Raises:
        InputError: the folder has no grid, or none of a name.
    """
    found, unreadable = read_ablations(folder, names)
    return AblationBoard(
        tuple(_table(folder, ablation, statistic) for ablation in found), tuple(unreadable), statistic, per_object
    )


def read_cell(folder: Path, ablation: Ablation, cell: Placed) -> Entry:
    """Read the scores of a cell: of what it holds now, under the grid's protocol and data.

    Raises:
        InputError: it has none, or others.
    """
    place = folder / CELLS / cell.key
    path = place / SCORES
    if not path.is_file():
        raise InputError("not run yet" if not place.is_dir() else "not finished, or not scored")
    entry = read_entry(path, cell.key)
    wanted = (ablation.protocol_hash, ablation.revision, ablation.split)
    # a data set on another track than the published results' is called NAME (TRACK)
    named = entry.dataset == ablation.dataset or entry.dataset.startswith(f"{ablation.dataset} (")
    if not named or (entry.protocol_hash, entry.revision, entry.split) != wanted:
        raise InputError(f"{path}: scores under another protocol, or of other data, than the grid's")
    predictions = place / PREDICTIONS
    if not predictions.is_file() or sha256_file(predictions) != entry.sha256:
        raise InputError(f"{path}: {PREDICTIONS} is gone, or has changed since it was scored")
    return entry


def _table(folder: Path, ablation: Ablation, statistic: Statistic) -> AblationTable:
    entries: list[Entry] = []
    absent: list[tuple[str, str]] = []
    for cell in ablation.cells:
        try:
            # scores of some objects, or of an own protocol, stand on no leaderboard, but may be compared here
            entry = read_cell(folder, ablation, cell)
            entries.append(replace(entry, method=cell.label, path=cell.label, official=True))
        except InputError as error:
            absent.append((cell.label, str(error).replace(f"{folder}/", "")))
    made = tables(entries, statistic)
    if not made:
        return AblationTable(ablation, None, tuple(absent))
    rows = {row.entry.path: row for table in made[:1] for row in table.rows}
    absent += [
        (entry.method, "its scores cannot be compared with the others'") for entry in entries if entry.path not in rows
    ]
    order = [replace(rows[cell.label], name=short(cell.label)) for cell in ablation.cells if cell.label in rows]
    return AblationTable(ablation, replace(made[0], title=ablation.title, rows=tuple(order), apart=""), tuple(absent))


def _sheet(made: AblationTable, *, per_object: bool, stacked: bool) -> Sheet:
    """Lay a table out; `stacked` puts intervals, and the words of headings, below each other."""
    title, table = clean(made.ablation.title), made.table
    if table is None:
        return Sheet(title, _origin(made.ablation), "", ("Cell",), (False,), (), _notes(made))
    if per_object:
        sheet = make_sheet(table, per_object=True)
        rows = tuple(row[:-1] for row in sheet.rows)  # without the source: everything is measured
        return replace(
            sheet, headers=("Cell", *sheet.headers[1:-1]), right=sheet.right[:-1], rows=rows, notes=_notes(made)
        )
    methods = {cell.label: cell.method for cell in made.ablation.cells}
    several = len({methods[str(row.entry.path)] for row in table.rows}) > 1
    heading = stacked_header if stacked else header
    headers = ("Cell", *(["Method"] if several else []), *map(heading, table.metrics), "Images")
    rows = tuple(
        (
            Cell(row.name),
            *([Cell(short(methods[str(row.entry.path)]))] if several else []),
            *(_cell(row, metric, table.statistic, stacked=stacked) for metric in table.metrics),
            Cell(images(row.entry.overall.coverage)),
        )
        for row in table.rows
    )
    right = tuple(place > several for place in range(len(headers)))
    return Sheet(title, origin(table), "", headers, right, rows, _notes(made))


def _origin(ablation: Ablation) -> str:
    return clean(f"Protocol {ablation.protocol}, data {ablation.dataset}, split {ablation.split}.")


def _cell(row: TableRow, metric: Metric, statistic: Statistic, *, stacked: bool) -> Cell:
    """A number, a mean with its interval."""
    group = row.group(OVERALL)
    text = number(value_of(group, metric.name, statistic), metric.digits)
    cell = group.metrics.get(metric.name)
    if statistic == "mean" and cell is not None and cell.interval is not None:
        between = "–".join(number(end, metric.digits) for end in cell.interval)
        text += f"\n{between}" if stacked else f" ({between})"
    return Cell(text, (OVERALL, metric.name) in row.best)


def _notes(made: AblationTable) -> tuple[str, ...]:
    """What a reader must know to compare the cells, and which are not there."""
    lines = [clean(made.ablation.note)] if made.ablation.note else []
    entries = [row.entry for row in made.table.rows] if made.table is not None else []
    if entries:
        lines.append(f"{clean(entries[0].protocol)}: {clean(entries[0].title)}.")
        lines.append("Cells in the order of the grid; the best of a column is bold.")
    if made.table is not None and made.table.statistic == "mean":
        lines.append("Beside a mean: its 95 % interval over videos.")
    if any(not entry.overall.complete for entry in entries):
        lines.append("Images: scored of annotated; a row with unscored images is not compared for the best.")
    reasons = dict.fromkeys(clean(reason) for entry in entries for reason in entry.unofficial_because)
    if reasons:
        lines.append(f"No official scores: {'; '.join(reasons)}.")
    lines += [f"Caveat: {clean(caveat)}." for caveat in dict.fromkeys(e.caveat for e in entries if e.caveat)]
    lines += [f"Not in the table: {short(label)} ({clean(reason)})." for label, reason in made.absent]
    return tuple(lines)


def _grid(sheet: Sheet) -> Any:
    """A sheet as a table for the terminal."""
    grid = slim_table()
    for heading, right in zip(sheet.headers, sheet.right, strict=True):
        grid.add_column(
            Text(heading), justify="right" if right else "left", overflow="ellipsis" if right else "fold", no_wrap=right
        )
    for row in sheet.rows:
        grid.add_row(*(Text(cell.text, BEST if cell.best else "") for cell in row))
    return grid


def _lines(made: AblationTable, *, per_object: bool) -> Sequence[list[Any]]:
    ablation, table, lines = made.ablation, made.table, []
    placed = {cell.label: cell for cell in ablation.cells}
    for row in table.rows if table is not None else ():
        cell = placed[str(row.entry.path)]
        for scope in (OVERALL, *(sorted(row.entry.objects) if per_object else ())):
            group = scope_of(row.entry, scope)
            texts = (ablation.name, ablation.protocol, ablation.protocol_hash, ablation.dataset, ablation.revision)
            whose = [*texts, ablation.split, cell.label, cell.method, cell.key, scope]
            counts = ["", ""] if group.coverage is None else [group.coverage.images, group.coverage.scored]
            for name, found in group.metrics.items():
                low, high = found.interval or ("", "")
                metric = METRICS[name]
                numbers = [name, metric.unit, found.mean, low, high, found.median]
                lines.append([*map(spreadsheet, whose), *counts, *numbers])
    return lines


def _facts(made: AblationTable) -> dict[str, Any]:
    """A grid with the numbers of its cells; those of a cell that is not in the table are null."""
    rows = {row.entry.path: row for row in made.table.rows} if made.table is not None else {}
    reasons = dict(made.absent)
    cells = []
    for cell in made.ablation.cells:
        row = rows.get(cell.label)
        numbers = {
            "overall": None if row is None else _numbers(row, OVERALL),
            "objects": {} if row is None else {name: _numbers(row, name) for name in row.entry.objects},
            "absent_because": reasons.get(cell.label),
        }
        cells.append({**vars(cell), **numbers})
    return {**vars(made.ablation), "cells": cells}


def _numbers(row: TableRow, scope: str) -> dict[str, Any]:
    return {**asdict(row.group(scope)), "best": sorted(metric for of, metric in row.best if of == scope)}
