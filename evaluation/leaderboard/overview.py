"""The measured rows at a glance: the part of a README between two marks that the tool writes."""

from collections.abc import Sequence

from evaluation.leaderboard.documents import bullets, pipe_table
from evaluation.leaderboard.entries import Entry
from evaluation.leaderboard.sheet import Cell, Sheet, header, images, origin
from evaluation.leaderboard.tables import OVERALL, LeaderboardTable, TableRow, tables, value_of
from evaluation.leaderboard.text import NOTHING, clean, markdown, number
from evaluation.metrics import METRICS, Metric
from wildhoi.errors import InputError

START, END = "<!-- overview: made by `wildhoi leaderboard build`, not by hand -->", "<!-- end of the overview -->"
BASELINE = "isolation"  # the method that the others are compared with: the initial estimates as they are
COMPARED = "translation"
EMPTY = "No submission is scored yet."
REST = "Means alone, every headline metric and published rows: [LEADERBOARD.md]({tables})."


def fill_in(text: str, entries: Sequence[Entry], tables_at: str = "LEADERBOARD.md") -> str | None:
    """A text with the overview between its marks; None where it has none.

    Args:
        text: of a page.
        entries: scored.
        tables_at: where LEADERBOARD.md is from there.

    Raises:
        InputError: only one of the marks is there, or they are in the wrong order or there twice.
    """
    if START not in text and END not in text:
        return None
    head, _, rest = text.partition(START)
    _, found, tail = rest.partition(END)
    if not found or START in rest or END in head + tail:
        raise InputError(f"want the mark {START!r} once, and after it {END!r} once; mend them and build again")
    return f"{head}{START}\n\n{overview(entries, tables_at)}\n\n{END}{tail}"


def overview(entries: Sequence[Entry], tables_at: str = "LEADERBOARD.md") -> str:
    """A Markdown table for each protocol and data set: medians and means, best first; official measured rows alone."""
    measured = tables([entry for entry in entries if not entry.reported], "median")
    if not measured:
        return EMPTY
    parts = [part for table in measured for part in _parts(_sheet(table))]
    return "\n\n".join([*parts, REST.format(tables=tables_at)])


def _parts(sheet: Sheet) -> list[str]:
    apart = [f"**Set apart:** {markdown(sheet.apart)}."] if sheet.apart else []
    return [f"### {markdown(sheet.title)}", markdown(sheet.origin), *apart, pipe_table(sheet), bullets(sheet.notes)]


def _sheet(table: LeaderboardTable) -> Sheet:
    metrics = _metrics(table.metrics)
    ratios = _ratios(table.rows)
    shown = METRICS[COMPARED].label.lower()
    compared = (f"{BASELINE} / method",) if ratios else ()
    rows = tuple(
        (
            Cell(row.name),
            *(_cell(row, metric) for metric in metrics),
            *(Cell(ratios[place]) for _ in compared),
            Cell(images(row.entry.overall.coverage)),
        )
        for place, row in enumerate(table.rows)
    )
    notes = ["Median (mean) over the scored images; the best median of a column is bold. Images: scored of annotated."]
    if ratios:
        notes.append(
            f"{BASELINE} / method: how many times smaller the median {shown} error is than that of {BASELINE}."
        )
    headers = ("Method", *map(header, metrics), *compared, "Images")
    where = origin(table).replace(f"; {table.statistic}s.", ".")
    return Sheet(
        clean(table.title), where, table.apart, headers, (False, *[True] * (len(headers) - 1)), rows, (*notes,)
    )


def _metrics(headline: Sequence[Metric]) -> list[Metric]:
    """The object's pose, then one distance of the human and one of the object, of those in the headline."""
    names = [metric.name for metric in headline]
    pose = [name for name in (COMPARED, "rotation") if name in names]
    sides = [next((name for name in names if name.endswith(side)), None) for side in ("_human", "_object")]
    return [METRICS[name] for name in (*pose, *sides) if name is not None]


def _cell(row: TableRow, metric: Metric) -> Cell:
    group = row.group(OVERALL)
    median, mean = (number(value_of(group, metric.name, which), metric.digits) for which in ("median", "mean"))
    return Cell(f"{median} ({mean})", (OVERALL, metric.name) in row.best)


def _ratios(rows: Sequence[TableRow]) -> list[str]:
    """Of every row, the baseline's median over its own; empty where there is not exactly one baseline."""
    medians = [value_of(row.group(OVERALL), COMPARED, "median") for row in rows]
    found = [median for row, median in zip(rows, medians, strict=True) if row.entry.method == BASELINE]
    if len(found) != 1 or not found[0]:
        return []
    return [number(found[0] / median, 1) if median else NOTHING for median in medians]
