"""A comparison as a picture: how much better each method is than the baseline, with the interval of every bar."""

from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.comparison.comparing import OVERALL, Comparison, Difference
from evaluation.comparison.report import signed
from evaluation.metrics import METRICS
from wildhoi.errors import InputError
from wildhoi.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"better": "#1a7f37", "worse": "#b3261e", "tie": "#7a7f87"}
KINDS = (".png", ".svg", ".pdf")
ROW, HEAD, FOOT, PANEL = 0.42, 0.55, 0.75, 3.4
"""Inches: of a metric's line, above and below the lines, and how wide one method is."""
MOST = 200.0
"""Percent of the baseline's mean beyond which an arrow stands for the place."""


def plot_comparison(comparison: Comparison, out: Path) -> None:
    """Write a picture of a comparison over all images: a panel per method, a line per metric.

    A line is how much better the method is, percent of the baseline's mean: right of 0 is better, whatever the
    metric's direction.

    Raises:
        InputError: the file is neither PNG, SVG nor PDF.
    """
    if out.suffix.lower() not in KINDS:
        raise InputError(f"{out}: want a picture's file name: {', '.join(KINDS)}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = [each for each in comparison.differences if each.scope == OVERALL]
    metrics = list(dict.fromkeys(each.metric for each in found))
    height = HEAD + ROW * len(metrics) + FOOT
    figure = Figure(figsize=(1.7 + PANEL * len(comparison.methods), height), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(comparison.methods), sharey=True, squeeze=False)[0]
    for panel, method in zip(panels, comparison.methods, strict=True):
        _panel(panel, [each for each in found if each.method == method], metrics, method)
    panels[0].set_yticks(range(len(metrics)), [METRICS[name].label for name in metrics])
    figure.supxlabel(f"better than {comparison.baseline}, percent of its mean; 95 % interval", fontsize=9)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format=out.suffix[1:].lower())


def _panel(panel: "Axes", found: list[Difference], metrics: list[str], title: str) -> None:
    panel.axvline(0, color="#c9ccd1", linewidth=1, zorder=0)
    for difference in found:
        _line(panel, difference, metrics.index(difference.metric))
    panel.set_title(title, fontsize=10)
    panel.tick_params(axis="both", length=0, labelsize=9)
    panel.spines[["top", "right", "left"]].set_visible(False)
    low, high = panel.get_xlim()
    reach = max(abs(low), abs(high))
    panel.set_xlim(low - 0.12 * reach, high + 0.12 * reach)  # room for the words
    panel.set_ylim(len(metrics) - 0.5, -0.5)


def _line(panel: "Axes", difference: Difference, row: int) -> None:
    """An interval, a point, the difference in words; an arrow at the edge where it is far beyond."""
    gain, low, high = _gains(difference)
    place, low, high = (min(MOST, max(-MOST, value)) for value in (gain, low, high))
    marker = "o" if place == gain else "<" if gain < 0 else ">"
    metric, colour = METRICS[difference.metric], COLOURS[difference.verdict]
    panel.plot([low, high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
    panel.plot([place], [row], marker, color=colour, markersize=6)
    words = f"{signed(difference.difference, metric.digits)} {metric.unit}".strip()
    panel.annotate(words, (place, row), (0, 7), textcoords="offset points", ha="center", fontsize=8, color=colour)


def _gains(difference: Difference) -> tuple[float, float, float]:
    """How much better, percent of the baseline's mean, and its interval (its own place where there is none)."""
    scale = 100 / abs(difference.baseline) if difference.baseline else 0.0
    scale *= -1 if METRICS[difference.metric].lower_is_better else 1
    middle = difference.difference
    bounds = [middle if bound is None else bound for bound in (difference.low, difference.high)]
    low, high = sorted(scale * bound for bound in bounds)
    return scale * middle, low, high
