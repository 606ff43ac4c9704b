"""The front page: tables with both statistics, groups of ranks, curves, heat maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.leaderboard.entries import Entry
from evaluation.leaderboard.sheet import images
from evaluation.leaderboard.tables import OVERALL, Statistic, best_of, scope_of, value_of
from evaluation.leaderboard.text import NOTHING, number, short
from evaluation.metrics import METRICS, Metric
from evaluation.site.charts import Scale, cumulative, scale_of
from evaluation.site.content import Section
from evaluation.site.gallery import Part
from evaluation.site.ranking import parted

STATISTICS: tuple[Statistic, ...] = ("median", "mean")
CURVES = ("translation", "rotation")
"""Metrics with a curve, beside the one that sorts the table."""


@dataclass(frozen=True)
class Number:
    """A number as a table shows it: in words, to sort by, best of its column or not, and its bar (0 to 1)."""

    text: str
    value: float | None
    best: bool
    place: float
    low: float
    high: float
    interval: str = ""


def table_facts(part: Part) -> dict[str, Any]:
    """A section's table with both statistics, its curves and heat maps."""
    section = part.section
    rows: list[dict[str, Any]] = [
        {"result": result, "numbers": numbers, "images": images(result.entry.overall.coverage)}
        for result, numbers in zip(section.results, _numbers(section), strict=True)
    ]
    # published results have means alone
    told = [s for s in STATISTICS if any(n.value is not None for row in rows for n in row["numbers"][s].values())]
    return {
        "part": part,
        "statistics": told,
        "statistic": section.table.statistic if section.table.statistic in told else "".join(told[:1]),
        "rows": rows,
        "groups": _groups(section),
        "curves": list(_curves(section)),
        "heat": list(_heat(section)),
        "supervision": sorted({short(result.entry.supervision) for result in section.results} - {""}),
        "inputs": sorted({name for result in section.results for name in result.inputs or ()}),
    }


def _numbers(section: Section) -> list[dict[str, dict[str, Number]]]:
    """Of each result its numbers by statistic and metric."""
    entries, metrics = [result.entry for result in section.results], section.table.metrics
    found: list[dict[str, dict[str, Number]]] = [{} for _ in entries]
    for statistic in STATISTICS:
        best = best_of(entries, metrics, (OVERALL,), statistic)
        for metric in metrics:
            scale = _scale(entries, metric, statistic)
            for place, entry in enumerate(entries):
                is_best = (OVERALL, metric.name) in best[place]
                made = _number(entry, metric, statistic, scale, best=is_best)
                found[place].setdefault(statistic, {})[metric.name] = made
    return found


def _scale(entries: Sequence[Entry], metric: Metric, statistic: Statistic) -> Scale:
    groups = [entry.overall for entry in entries]
    values = [value_of(group, metric.name, statistic) for group in groups]
    if statistic == "mean":
        cells = [group.metrics.get(metric.name) for group in groups]
        values += [end for cell in cells if cell is not None and cell.interval is not None for end in cell.interval]
    return scale_of(values)


def _number(entry: Entry, metric: Metric, statistic: Statistic, scale: Scale, *, best: bool) -> Number:
    value, cell = value_of(entry.overall, metric.name, statistic), entry.overall.metrics.get(metric.name)
    if value is None:
        return Number(NOTHING, None, best=False, place=0.0, low=0.0, high=0.0)
    ends, words = (value, value), ""
    if statistic == "mean" and cell is not None and cell.interval is not None:
        ends, words = cell.interval, "–".join(number(end, metric.digits) for end in cell.interval)
    shares = [scale.share(each) if metric.lower_is_better else 1 - scale.share(each) for each in (value, *ends)]
    place, low, high = (round(share, 3) for share in (shares[0], min(shares), max(shares)))
    return Number(number(value, metric.digits), value, best, place, low, high, words)


def _groups(section: Section) -> frozenset[str]:
    """The pages of the results that a line stands above."""
    return frozenset(section.ranked[place].slug for place in parted(section.won))


def _curves(section: Section) -> Iterator[dict[str, Any]]:
    if section.field is None:
        return
    names = dict.fromkeys((*CURVES, section.table.sorted_by.name))
    shown = [result for result in section.measured if result.contestant is not None]
    for name in (name for name in names if METRICS[name].lower_is_better and _is_scored(section, name)):
        errors = np.stack([section.values(result, name) for result in shown])
        # what no method has a number of, the rotation of a ball, is not theirs to have
        chart = cumulative(list(errors[:, np.isfinite(errors).any(axis=0)]))
        if chart is not None:
            yield {"metric": METRICS[name], "chart": chart, "results": shown}


def _is_scored(section: Section, name: str) -> bool:
    found = [result.contestant for result in section.measured if result.contestant is not None]
    return bool(found) and all(name in contestant.values for contestant in found)


def _heat(section: Section) -> Iterator[dict[str, Any]]:
    """For each metric a grid of results and objects, medians (means where only those were published)."""
    objects = section.table.objects
    entries = [result for result in section.results if result.entry.objects]
    for metric in section.table.metrics if objects and entries else ():
        values = [[_middle(result.entry, name, metric) for name in objects] for result in entries]
        scale = scale_of([value for row in values for value in row])
        rows = [
            (result, [(number(value, metric.digits), _badness(value, metric, scale)) for value in row])
            for result, row in zip(entries, values, strict=True)
        ]
        if any(value is not None for row in values for value in row):
            yield {"metric": metric, "rows": rows, "objects": objects}


def _badness(value: float | None, metric: Metric, scale: Scale) -> float | None:
    """0 for the best of a grid, 1 for the worst."""
    if value is None:
        return None
    return scale.share(value) if metric.lower_is_better else 1 - scale.share(value)


def _middle(entry: Entry, name: str, metric: Metric) -> float | None:
    group = scope_of(entry, name)
    median = value_of(group, metric.name, "median")
    return value_of(group, metric.name, "mean") if median is None else median
