"""Which results may be compared with which: one table for a protocol's hash on one revision of one data set."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from evaluation.leaderboard.entries import Entry, Group
from evaluation.leaderboard.text import clean, rounded, short
from evaluation.metrics import METRICS, Metric
from evaluation.protocol import load_protocol, protocol_ids

Statistic = Literal["mean", "median"]

OVERALL = ""  # the scope of the numbers over all images, beside the names of objects


@dataclass(frozen=True)
class Key:
    """What the rows of a table share; hash and revision are None where it has published rows alone."""

    protocol: str
    hash: str | None
    dataset: str
    revision: str | None
    split: str


@dataclass(frozen=True)
class TableRow:
    """An entry under the name that tells it from the others; `best` holds (scope, metric) of its bold numbers."""

    name: str
    entry: Entry
    best: frozenset[tuple[str, str]]

    def group(self, scope: str) -> Group:
        """The numbers of an object, or over all images."""
        return scope_of(self.entry, scope)


@dataclass(frozen=True)
class LeaderboardTable:
    """Comparable results, best first; `apart` says why they do not stand in the protocol's first table."""

    key: Key
    title: str
    metrics: tuple[Metric, ...]
    objects: tuple[str, ...]
    rows: tuple[TableRow, ...]
    statistic: Statistic
    apart: str = ""

    @property
    def sorted_by(self) -> Metric:
        """The metric that orders the rows."""
        return main_metric(self.metrics)


def scope_of(entry: Entry, scope: str) -> Group:
    """The numbers of an object, or over all images; an empty group where the entry has none."""
    return entry.overall if scope == OVERALL else entry.objects.get(scope, Group())


def value_of(group: Group, metric: str, statistic: Statistic) -> float | None:
    """A number of a group, None where it has none."""
    cell = group.metrics.get(metric)
    return None if cell is None else getattr(cell, statistic)


def main_metric(metrics: Sequence[Metric]) -> Metric:
    """The first headline metric of the object's surface: what the task is about, and what the methods differ in."""
    return next((m for m in metrics if m.name.endswith("_object")), metrics[0])


def tables(entries: Sequence[Entry], statistic: Statistic = "mean") -> list[LeaderboardTable]:
    """Split the official entries into tables that never mix protocol, hash, data set, revision or split.

    Published rows carry neither hash nor revision: they stand in the table of their protocol as it ships, on their
    data set and split; among several revisions in that with the most measured rows, and alone where there is none.
    """
    reported: dict[str, list[Entry]] = defaultdict(list)
    measured: dict[Key, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.reported:
            reported[entry.protocol].append(entry)
        elif entry.official:
            measured[_key(entry)].append(entry)
    protocols = [*reported, *sorted({key.protocol for key in measured} - set(reported))]
    return [
        table
        for protocol in protocols
        for table in _tables_of(
            {key: rows for key, rows in measured.items() if key.protocol == protocol},
            reported.get(protocol, []),
            statistic,
        )
    ]


def _key(entry: Entry) -> Key:
    return Key(entry.protocol, entry.protocol_hash, entry.dataset, entry.revision, entry.split)


def _tables_of(
    measured: dict[Key, list[Entry]], reported: Sequence[Entry], statistic: Statistic
) -> list[LeaderboardTable]:
    """The tables of one protocol id: first the home of its published rows, then those set apart."""
    groups = dict(measured)
    order = sorted(groups, key=lambda key: (not _ships(key), -len(groups[key]), str(key)))
    if reported:
        home = next((key for key in order if _ships(key) and _on(key) == _on(_key(reported[0]))), _key(reported[0]))
        groups[home] = [*groups.get(home, []), *reported]
        order = [home, *(key for key in order if key != home)]
    return [_table(key, groups[key], statistic, "" if key == order[0] else _apart(key, order[0])) for key in order]


def _on(key: Key) -> tuple[str, str]:
    return key.dataset, key.split


@cache
def _shipped_hash(protocol: str) -> str | None:
    return load_protocol(protocol).hash if protocol in protocol_ids() else None


def _ships(key: Key) -> bool:
    """Whether the protocol is the one of that id that ships with this version."""
    return key.hash is not None and key.hash == _shipped_hash(key.protocol)


def _apart(key: Key, first: Key) -> str:
    """What differs from the protocol's first table; where that has published rows alone, from the protocol shipped."""
    wanted = first.hash or _shipped_hash(first.protocol) or ""
    pairs = (
        ("protocol hash", key.hash or "", wanted),
        ("data set", key.dataset, first.dataset),
        ("data revision", key.revision or "", first.revision or key.revision or ""),
        ("split", key.split, first.split),
    )
    return "; ".join(_difference(name, mine, theirs) for name, mine, theirs in pairs if mine != theirs)


def _difference(name: str, mine: str, theirs: str) -> str:
    shown = (mine[:12], theirs[:12]) if mine[:12] != theirs[:12] else (mine, theirs)
    return f"{name} is {clean(shown[0])}, not {clean(shown[1])}"


def _table(key: Key, entries: Sequence[Entry], statistic: Statistic, apart: str) -> LeaderboardTable:
    metrics = tuple(METRICS[name] for name in dict.fromkeys(name for entry in entries for name in entry.headline))
    objects = tuple(sorted({name for entry in entries for name in entry.objects}))
    by, sign = main_metric(metrics), 1 if main_metric(metrics).lower_is_better else -1

    def rank(entry: Entry) -> tuple[bool, float, str, str]:
        value = value_of(entry.overall, by.name, statistic)
        if value is None:  # published results have means alone
            value = value_of(entry.overall, by.name, "mean")
        return value is None, sign * (value or 0.0), entry.method, f"{entry.sha256} {entry.path}"

    ordered = sorted(entries, key=rank)
    best = best_of(ordered, metrics, (OVERALL, *objects), statistic)
    names = _names(ordered)
    rows = tuple(TableRow(names[i], entry, frozenset(best[i])) for i, entry in enumerate(ordered))
    return LeaderboardTable(key, entries[0].title, metrics, objects, rows, statistic, apart)


def best_of(
    entries: Sequence[Entry], metrics: Sequence[Metric], scopes: Sequence[str], statistic: Statistic
) -> list[set[tuple[str, str]]]:
    """Per entry the (scope, metric) where nothing complete is better at the digits shown: equals are all best."""
    best: list[set[tuple[str, str]]] = [set() for _ in entries]
    for scope in scopes:
        for metric in metrics:
            values = [_comparable(scope_of(entry, scope), metric, statistic) for entry in entries]
            known = [value for value in values if value is not None]
            target = (min if metric.lower_is_better else max)(known, default=None)
            for index, value in enumerate(values):
                if value is not None and value == target:
                    best[index].add((scope, metric.name))
    return best


def _comparable(group: Group, metric: Metric, statistic: Statistic) -> float | None:
    value = value_of(group, metric.name, statistic)
    return None if value is None or not group.complete else rounded(value, metric.digits)


def _names(entries: Sequence[Entry]) -> list[str]:
    """A name per entry: the method, with the submission's short hash where two measured ones look the same."""
    count = Counter(short(entry.method) for entry in entries if not entry.reported)
    return [
        f"{short(entry.method)} ({clean(entry.sha256)[:8]})"
        if entry.sha256 is not None and count[short(entry.method)] > 1
        else short(entry.method)
        for entry in entries
    ]
