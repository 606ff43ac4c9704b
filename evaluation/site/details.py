"""The pages of methods and of images: what is known of each, and what it looks like."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from evaluation.leaderboard.sheet import images
from evaluation.leaderboard.tables import scope_of, value_of
from evaluation.leaderboard.text import NOTHING, clean, number
from evaluation.metrics import METRICS
from evaluation.site.content import Result, Section
from evaluation.site.drawing import input_name, names_of
from evaluation.site.front import STATISTICS
from evaluation.site.gallery import Part, Shot

ERRORS = ("translation", "rotation", "surface_object", "surface_human")
"""Metrics under a picture, those of them that were scored."""


def method_facts(part: Part, result: Result) -> dict[str, Any]:
    """What the page of a result is made of."""
    section = part.section
    return {
        "part": part,
        "result": result,
        "facts": list(_facts(result)),
        "settings": [] if result.manifest is None else list(_flat(result.manifest.settings)),
        "environment": [] if result.manifest is None else list(_flat(result.manifest.environment)),
        "metrics": list(_all_metrics(section, result)),
        "objects": _objects(section, result),
        "timing": _timing(result),
        "duels": list(_duels(section, result)),
        "extremes": [
            (title, [_shot(part, shot, result) for shot in shots])
            for title, shots in zip(("Best", "Worst"), part.gallery.extremes.get(result.slug, ((), ())), strict=True)
        ],
    }


def _facts(result: Result) -> Iterator[tuple[str, str]]:
    entry, manifest = result.entry, result.manifest
    yield "Supervision", entry.supervision
    if manifest is not None:
        yield "Inputs", ", ".join(name.replace("_", " ") for name in manifest.inputs) or "none declared"
        yield from (("Authors", manifest.authors), ("Paper", manifest.paper), ("Code", manifest.code))
        yield "Body model", manifest.body_model
    yield "Data", f"{entry.dataset} at {entry.revision}, split {entry.split}"
    yield "Protocol", f"{entry.protocol} ({str(entry.protocol_hash)[:12]})"
    yield "Predictions", f"sha256 {entry.sha256}"


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as lines, a dotted name each."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield clean(f"{prefix}{name}"), clean(words)[:300]


def _all_metrics(section: Section, result: Result) -> Iterator[dict[str, Any]]:
    """Median, mean and count of every metric that was scored."""
    for name, metric in METRICS.items():
        if result.contestant is None or name not in result.contestant.values:
            continue
        values = section.values(result, name)
        known = values[np.isfinite(values)]
        if len(known):
            middle, mean = (number(float(value), metric.digits) for value in (np.median(known), known.mean()))
            yield {"metric": metric, "median": middle, "mean": mean, "count": len(known)}


def _objects(section: Section, result: Result) -> dict[str, Any]:
    """The headline metrics by object, median with the mean in brackets."""
    rows = []
    for name in sorted(result.entry.objects):
        group = scope_of(result.entry, name)
        cells = [
            tuple(number(value_of(group, m.name, statistic), m.digits) for statistic in STATISTICS)
            for m in section.table.metrics
        ]
        rows.append((name, cells, images(group.coverage)))
    return {"metrics": section.table.metrics, "rows": rows}


def _timing(result: Result) -> dict[str, str]:
    seconds = np.array(list(result.seconds.values()))
    if not len(seconds):
        return {}
    middle, slow = (number(float(value), 2) for value in np.quantile(seconds, [0.5, 0.9]))
    return {"images": str(len(seconds)), "median": middle, "slow": slow, "total": number(seconds.sum() / 60, 1)}


def _duels(section: Section, result: Result) -> Iterator[tuple[Result, int]]:
    if result not in section.ranked:
        return
    row = section.won[section.ranked.index(result)]
    yield from ((other, int(won)) for other, won in zip(section.ranked, row, strict=True) if other is not result)


def image_facts(part: Part) -> Iterator[dict[str, Any]]:
    """What the page of each image is made of, in their order."""
    shots = part.gallery.shots
    for place, shot in enumerate(shots):
        yield {
            "part": part,
            "shot": shot,
            "input": input_name(shot.input) if part.has(input_name(shot.input)) else "",
            "truth": _files(part, shot.truth),
            "cards": [_shot(part, shot, result) for result in part.section.measured],
            "before": shots[place - 1].slug if place else "",
            "after": shots[place + 1].slug if place + 1 < len(shots) else "",
        }


def _shot(part: Part, shot: Shot, result: Result) -> dict[str, Any]:
    """What a result made of an image, with its errors there."""
    key = shot.keys.get(result.slug)
    errors = [
        (METRICS[name], number(float(part.section.values(result, name)[shot.place]), METRICS[name].digits))
        for name in ERRORS
        if result.contestant is not None and name in result.contestant.values
    ]
    status = "" if result.contestant is None else result.contestant.status[shot.place]
    paged = shot.image_id in part.gallery.paged
    drawn = _files(part, key) if key is not None else None
    shown = [(metric, text) for metric, text in errors if text != NOTHING]
    return {"shot": shot, "result": result, "files": drawn, "errors": shown, "status": status, "paged": paged}


def _files(part: Part, key: str) -> dict[str, str] | None:
    """The files of a drawing, None where one is not there."""
    over, front, side, scene = names_of(key)
    if not all(part.has(name) for name in (over, front, side, scene)):
        return None
    return {"over": over, "front": front, "side": side, "scene": key}
