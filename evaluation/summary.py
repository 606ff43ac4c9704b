"""From rows per image to tables: per object and overall, mean, median, interval, recall, coverage."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.intervals import cluster_interval
from evaluation.metrics import METRICS
from evaluation.protocol import Protocol, Recall
from evaluation.scoring import DIGITS, Row

Table = dict[str, Any]


def summarise(rows: Sequence[Row], protocol: Protocol, diameters: Mapping[str, float], spheres: Sequence[str]) -> Table:
    """Aggregate the rows of a scoring run.

    Args:
        rows: one per annotated image, as `score_items` gives them.
        protocol: says which metrics, recalls, and how spheres count in the rotation.
        diameters: of each object's template, metres.
        spheres: objects without a rotation: none is given for them alone.

    Returns:
        `overall` and `objects[NAME]`, each with `coverage`, `metrics` (mean, median, interval, n; overall also
        mean_over_objects) and `recalls`; an aggregate of nothing is None.
    """
    names = sorted({row["object"] for row in rows})
    groups = {name: [row for row in rows if row["object"] == name] for name in names}
    objects = {name: _group(group, protocol, diameters, spheres) for name, group in groups.items()}
    overall = _group(rows, protocol, diameters, () if protocol.sphere_rotation == "zero" else spheres)
    for name, cell in overall["metrics"].items():
        means = [objects[o]["metrics"][name]["mean"] for o in names]
        cell["mean_over_objects"] = _mean([m for m in means if m is not None])
    without = [row["rotation"] for row in rows if row["object"] not in spheres and "rotation" in row]
    overall["rotation_without_spheres"] = _mean([v for v in without if not np.isnan(v)])
    return {"overall": overall, "objects": objects}


def _group(rows: Sequence[Row], protocol: Protocol, diameters: Mapping[str, float], unturned: Sequence[str]) -> Table:
    """Aggregate rows; the objects `unturned` have no part in anything of the rotation, scored or not."""

    def of(metric: str) -> list[Row]:
        return [row for row in rows if metric != "rotation" or row["object"] not in unturned]

    return {
        "coverage": _coverage(rows),
        "metrics": {name: _cell(of(name), name) for name in protocol.metrics},
        "recalls": {name: _recall_curve(of(r.metric), r, diameters) for name, r in protocol.recalls.items()},
    }


def _cell(rows: Sequence[Row], name: str) -> Table:
    values, videos = np.array([row[name] for row in rows], np.float64), [row["video_id"] for row in rows]
    kept = values[~np.isnan(values)]
    interval = cluster_interval(values, videos, name)
    return {
        "n": len(kept),
        "mean": _mean(kept),
        "median": round(float(np.median(kept)), DIGITS) if len(kept) else None,
        "interval": None if interval is None else [round(interval.low, DIGITS), round(interval.high, DIGITS)],
        "clusters": len({v for v, x in zip(videos, values, strict=True) if not np.isnan(x)}),
        "unit": METRICS[name].unit,
    }


def _mean(values: Sequence[float] | np.ndarray) -> float | None:
    # fsum-like order independence comes from the sorted rows; rounding hides the last bits of the sum
    return round(float(np.mean(values)), DIGITS) if len(values) else None


def _coverage(rows: Sequence[Row]) -> Table:
    counts = {status: sum(row["status"] == status for row in rows) for status in ("scored", "failed", "missing")}
    fallbacks: dict[str, int] = {}
    for row in rows:
        if row["status"] == "scored":
            fallbacks[row["alignment"]] = fallbacks.get(row["alignment"], 0) + 1
    share = round(counts["scored"] / len(rows), DIGITS) if rows else None
    return {"images": len(rows), **counts, "share": share, "alignments": fallbacks}


def _recall_curve(rows: Sequence[Row], recall: Recall, diameters: Mapping[str, float]) -> Table:
    """Share of all annotated images below each threshold (strictly), and the mean over thresholds."""
    scale = [100 * diameters[row["object"]] if recall.unit == "diameter" else 1.0 for row in rows]
    values = np.array([row[recall.metric] for row in rows], np.float64)
    curve = []
    for threshold in recall.thresholds:
        with np.errstate(invalid="ignore"):
            below = values < threshold * np.array(scale)  # NaN, of a failed image, is below nothing
        # an image that the metric does not apply to is in neither count
        counted = ~np.isnan(values) | np.array([row["status"] != "scored" for row in rows], bool)
        curve.append(round(float(below.sum() / counted.sum()), DIGITS) if counted.any() else None)
    known = [value for value in curve if value is not None]
    return {
        "metric": recall.metric,
        "unit": recall.unit,
        "thresholds": list(recall.thresholds),
        "curve": curve,
        "average": _mean(known),
    }
