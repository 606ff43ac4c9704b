"""The scores of a submission as the Hub reads them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from evaluation.leaderboard.entries import Entry, read_entry
from evaluation.leaderboard.text import clean
from evaluation.metrics import METRICS
from evaluation.scores import SCORES, read_scores
from wildhoi.errors import InputError
from wildhoi.hub import repository
from wildhoi.hub.results import Evaluation, Result, eval_results, model_index

Format = Literal["eval-results", "model-index"]
PERCENT_DIGITS = 4  # of a share that is stored to 1e-6


def export_scores(path: Path, form: Format, *, unofficial: bool = False) -> str:
    """The YAML of a scored submission: a `.eval_results/*.yaml` file, or a card's `model-index`.

    Args:
        path: the submission's folder.
        form: which of both.
        unofficial: export scores that stand in no table too, with the reasons in the notes.

    Raises:
        InputError: there are no scores, they are damaged, or unofficial and not asked for.
    """
    evaluation = read_evaluation(path, unofficial=unofficial)
    return eval_results(evaluation) if form == "eval-results" else model_index(evaluation)


def read_evaluation(folder: Path, *, unofficial: bool = False) -> Evaluation:
    """The means of the headline metrics and the recalls of a scored submission; raises as `export_scores` does."""
    path = folder / SCORES
    if not path.is_file():
        raise InputError(f"{folder}: no {SCORES} in it; `wildhoi evaluate {folder}` makes it")
    entry, scores = read_entry(path, SCORES), read_scores(path)
    if not entry.official and not unofficial:
        reasons = "; ".join(map(clean, entry.unofficial_because)) or "not marked official"
        raise InputError(f"{path}: its scores are not official ({reasons}); --unofficial exports them and says so")
    return Evaluation(
        method=clean(entry.method),
        dataset=repository(str(scores["dataset"]["name"])),
        dataset_name=clean(entry.dataset),
        split=clean(entry.split),
        revision=clean(entry.revision or ""),
        notes=_notes(entry),
        results=(*_means(entry), *_recalls(path, entry, scores["overall"].get("recalls"))),
    )


def _notes(entry: Entry) -> str:
    """What tells which numbers these are."""
    coverage = entry.overall.coverage
    parts = [
        f"protocol {entry.protocol} ({entry.protocol_hash})",
        f"data {entry.dataset} at {entry.revision}",
        f"{coverage.scored} of {coverage.images} images" if coverage else "",
        f"predictions sha256 {entry.sha256}",
        "" if entry.official else f"unofficial: {'; '.join(entry.unofficial_because) or 'not marked official'}",
    ]
    return "; ".join(clean(part) for part in parts if part)


def _means(entry: Entry) -> Iterator[Result]:
    for name in entry.headline:
        metric, value = METRICS[name], entry.overall.metrics[name].mean
        if value is not None:
            unit = f" in {metric.unit}" if metric.unit else ""
            better = "lower" if metric.lower_is_better else "higher"
            yield Result(name, f"{metric.label}, mean{unit}, {better} is better", value, _task(entry, name))


def _recalls(path: Path, entry: Entry, curves: Any) -> Iterator[Result]:
    """Averages of the recall curves in percent: of all numbers these alone are better the higher they are."""
    for name, curve in curves.items() if isinstance(curves, Mapping) else ():
        share = curve.get("average") if isinstance(curve, Mapping) else None
        metric = METRICS.get(str(curve.get("metric"))) if isinstance(curve, Mapping) else None
        if share is None:
            continue
        if metric is None or not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 1:
            raise InputError(f"{path}: recall {str(name)!r:.60} is no curve; score the submission again")
        label = f"{metric.label}, recall averaged over thresholds, percent, higher is better"
        key = f"recall_{_slug(str(name))}"
        yield Result(key, label, round(100 * share, PERCENT_DIGITS), _task(entry, key))


def _task(entry: Entry, metric: str) -> str:
    """The identifier of a benchmark's task: protocol and metric, so that versions never mix."""
    return f"{_slug(entry.protocol)}_{metric}"


def _slug(text: str) -> str:
    return re.sub("[^a-z0-9]+", "_", text.lower())[:60].strip("_")
