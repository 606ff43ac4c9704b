"""A table as plain texts in cells, the same for every document format; the formats escape and mark it up."""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.leaderboard.entries import Coverage, Entry
from evaluation.leaderboard.tables import OVERALL, LeaderboardTable, TableRow, main_metric, value_of
from evaluation.leaderboard.text import NOTHING, clean, number, short
from evaluation.metrics import Metric


@dataclass(frozen=True)
class Cell:
    """A text, bold where it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Sheet:
    """Headings, columns (`right` says which are aligned so), rows and the notes below."""

    title: str
    origin: str
    apart: str
    headers: tuple[str, ...]
    right: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]


def make_sheet(table: LeaderboardTable, *, per_object: bool = False) -> Sheet:
    """Lay a table out: a row per method, or a row per method and metric with a column per object."""
    headers, right, rows = _by_object(table) if per_object else _by_metric(table)
    return Sheet(clean(table.title), origin(table), table.apart, headers, right, rows, notes(table))


def origin(table: LeaderboardTable) -> str:
    """One line that tells which protocol, data and statistic the numbers are of."""
    key = table.key
    protocol = key.protocol if key.hash is None else f"{key.protocol} ({key.hash[:12]})"
    revision = "" if key.revision is None else f" at {key.revision[:12]}"
    return clean(f"Protocol {protocol}, data {key.dataset}{revision}, split {key.split}; {table.statistic}s.")


def header(metric: Metric) -> str:
    """A metric's label, unit and the direction of better."""
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.label}{unit} {'↓' if metric.lower_is_better else '↑'}"


def stacked_header(metric: Metric) -> str:
    """The same in a narrow column: a word a line."""
    unit = f"{metric.unit} " if metric.unit else ""
    return "\n".join([*metric.label.split(), f"{unit}{'↓' if metric.lower_is_better else '↑'}"])


def images(coverage: Coverage | None) -> str:
    """Scored of annotated images, "-" where the source does not say."""
    return NOTHING if coverage is None else f"{coverage.scored:,}/{coverage.images:,}"


def cell(row: TableRow, scope: str, metric: Metric, table: LeaderboardTable) -> Cell:
    """A number as it is shown."""
    value = value_of(row.group(scope), metric.name, table.statistic)
    return Cell(number(value, metric.digits), (scope, metric.name) in row.best)


Layout = tuple[tuple[str, ...], tuple[bool, ...], tuple[tuple[Cell, ...], ...]]


def _by_metric(table: LeaderboardTable) -> Layout:
    headers = ("Method", "Supervision", *map(header, table.metrics), "Images", "Source")
    right = (False, False, *(True for _ in table.metrics), True, False)
    rows = tuple(
        (
            Cell(row.name),
            Cell(short(row.entry.supervision) or NOTHING),
            *(cell(row, OVERALL, metric, table) for metric in table.metrics),
            Cell(images(row.entry.overall.coverage)),
            Cell(row.entry.source),
        )
        for row in table.rows
    )
    return headers, right, rows


def _by_object(table: LeaderboardTable) -> Layout:
    scopes = (*table.objects, OVERALL)
    headers = ("Method", "Metric", *map(short, table.objects), "Overall", "Source")
    right = (False, False, *(True for _ in scopes), False)
    rows = []
    for row in table.rows:
        ends = Cell(row.name), Cell(row.entry.source)
        for metric in table.metrics:
            numbers = (cell(row, scope, metric, table) for scope in scopes)
            rows.append((ends[0], Cell(header(metric)), *numbers, ends[1]))
        if not row.entry.reported:
            counts = (Cell(images(row.group(scope).coverage)) for scope in scopes)
            rows.append((ends[0], Cell("Images"), *counts, ends[1]))
    return headers, right, tuple(rows)


def notes(table: LeaderboardTable) -> tuple[str, ...]:
    """What a reader must know to compare the rows."""
    entries = [row.entry for row in table.rows]
    lines = [f"Sorted by {main_metric(table.metrics).label}, best first; the best of a column is bold."]
    if any(not entry.overall.complete for entry in entries):
        lines.append("Images: scored of annotated; a row with unscored images is not compared for the best.")
    if any(entry.reported for entry in entries):
        said = "" if table.statistic == "mean" else " and give means only"
        lines.append(f"Reported rows are copied from the source named, taken to be of every image{said}.")
    if len({entry.body for entry in entries if entry.body is not None}) > 1:
        lines.append("The measured rows were scored with different body files: see `body` in their score files.")
    caveats = dict.fromkeys(clean(entry.caveat) for entry in entries if entry.caveat)
    lines += [f"Caveat: {caveat}." for caveat in caveats]
    return tuple(lines)


def exclusions(unofficial: Sequence[Entry], unreadable: Sequence[str]) -> tuple[str, ...]:
    """What was found and stands in no table, with the reason."""
    lines = []
    if unofficial:
        lines.append(f"In no table: {_count(len(unofficial), 'unofficial score')}.")
    for entry in unofficial:
        reasons = "; ".join(entry.unofficial_because) or "not marked official"
        origin = f"{clean(entry.path or '')}, {clean(entry.protocol)}"
        lines.append(f"{short(entry.method)} ({origin}): {clean(reasons)}.")
    if unreadable:
        lines.append(f"Not read: {_count(len(unreadable), 'file')}.")
    return (*lines, *map(clean, unreadable))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
