"""Leaderboards to be computed with: CSV and JSON, at full precision."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO
from typing import Any

from evaluation.leaderboard.entries import Entry, Group
from evaluation.leaderboard.tables import OVERALL, LeaderboardTable, TableRow, value_of
from evaluation.leaderboard.text import spreadsheet
from evaluation.metrics import METRICS, Metric

SPEC = 1
KEYS = ("protocol", "protocol_hash", "dataset", "revision", "split", "statistic")
IDENTITY = ("method", "sha256", "supervision", "source")


def csv_document(tables: Sequence[LeaderboardTable], *, per_object: bool = False) -> str:
    """One line per row of every table; the first columns tell the tables apart, an empty field is no number.

    Texts that a spreadsheet would run as a formula start with an apostrophe.
    """
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows(_object_lines(tables) if per_object else _metric_lines(tables))
    return stream.getvalue()


def _metric_lines(tables: Sequence[LeaderboardTable]) -> list[list[Any]]:
    used = {metric.name for table in tables for metric in table.metrics}
    metrics = [metric for metric in METRICS.values() if metric.name in used]
    lines: list[list[Any]] = [[*KEYS, *IDENTITY, "images", "scored", *map(_column, metrics)]]
    for table in tables:
        for row in table.rows:
            values = [value_of(row.entry.overall, metric.name, table.statistic) for metric in metrics]
            lines.append([*_identity(table, row), *_coverage(row.entry.overall), *values])
    return lines


def _object_lines(tables: Sequence[LeaderboardTable]) -> list[list[Any]]:
    objects = sorted({name for table in tables for name in table.objects})
    lines: list[list[Any]] = [[*KEYS, *IDENTITY, "metric", "unit", *map(spreadsheet, objects), "overall"]]
    for table in tables:
        for row in table.rows:
            for metric in table.metrics:
                groups = [row.group(scope) for scope in (*objects, OVERALL)]
                values = [value_of(group, metric.name, table.statistic) for group in groups]
                lines.append([*_identity(table, row), metric.name, metric.unit, *values])
    return lines


def _column(metric: Metric) -> str:
    return f"{metric.name} [{metric.unit}]" if metric.unit else metric.name


def _identity(table: LeaderboardTable, row: TableRow) -> list[str]:
    key, entry = table.key, row.entry
    texts = (key.protocol, key.hash, key.dataset, key.revision, key.split, table.statistic)
    return [spreadsheet(text or "") for text in (*texts, entry.method, entry.sha256, entry.supervision, entry.source)]


def _coverage(group: Group) -> list[Any]:
    return ["", ""] if group.coverage is None else [group.coverage.images, group.coverage.scored]


def json_document(
    tables: Sequence[LeaderboardTable], unofficial: Sequence[Entry], unreadable: Sequence[str], statistic: str
) -> str:
    """Everything the tables are made of, per object too; ASCII, so that no text in it steers a terminal."""
    content = {
        "spec": SPEC,
        "statistic": statistic,
        "tables": list(map(_table, tables)),
        "unofficial": [
            {name: getattr(entry, name) for name in ("method", "sha256", "protocol", "path", "unofficial_because")}
            for entry in unofficial
        ],
        "unreadable": list(unreadable),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _table(table: LeaderboardTable) -> dict[str, Any]:
    metrics = [
        {"name": m.name, "label": m.label, "unit": m.unit, "lower_is_better": m.lower_is_better, "digits": m.digits}
        for m in table.metrics
    ]
    return {
        "protocol": {"id": table.key.protocol, "hash": table.key.hash, "title": table.title},
        "dataset": {"name": table.key.dataset, "revision": table.key.revision, "split": table.key.split},
        "apart": table.apart or None,
        "sorted_by": table.sorted_by.name,
        "metrics": metrics,
        "objects": list(table.objects),
        "rows": list(map(_row, table.rows)),
    }


def _row(row: TableRow) -> dict[str, Any]:
    entry = row.entry
    return {
        "name": row.name,
        "method": entry.method,
        "supervision": entry.supervision,
        "source": entry.source,
        "reported": entry.reported,
        "sha256": entry.sha256,
        "path": entry.path,
        "overall": _group(row, OVERALL),
        "objects": {name: _group(row, name) for name in entry.objects},
    }


def _group(row: TableRow, scope: str) -> dict[str, Any]:
    group = row.group(scope)
    return {
        "coverage": None if group.coverage is None else asdict(group.coverage),
        "metrics": {name: asdict(cell) for name, cell in group.metrics.items()},
        "best": sorted(metric for of, metric in row.best if of == scope),
    }
