"""Laying panels out on a page under a heading, and writing the file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wildhoi.files import atomic_path
from wildhoi.show.panels import DARK, SOFT, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 100
GAP, MARGIN, HEAD, FOOT, TITLE = 22, 28, 64, 46, 32
"""Pixels between panels, around them, above and below all, and above each; of a page as wide as `NORMAL`."""
NORMAL = 1400
NARROW = 1000
"""On a page narrower than this the key has a line of its own."""
WIDE = 1.15
"""Four panels wider than this over their height stand in two rows."""


def write_page(
    out: Path, panels: list[Panel], title: str, subtitle: str, caption: str, *, columns: int | None = None
) -> None:
    """Write panels of one size as a PNG: in a row, or in two rows where four would be too wide.

    Args:
        out: the file, complete or not at all.
        panels: at least one.
        title: the heading, bold.
        subtitle: beside it.
        caption: the line below.
        columns: panels in a row, where that is known better.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = panels[0].pixels.shape[:2]
    columns = columns or (2 if len(panels) == 4 and width > WIDE * height else len(panels))
    rows = -(-len(panels) // columns)
    # words grow with the page, which is looked at as a whole
    zoom = float(np.clip(columns * width / NORMAL, 1, 1.6))
    head, foot, above = (round(zoom * length) for length in (HEAD, FOOT, TITLE))
    full = 2 * MARGIN + columns * width + (columns - 1) * GAP
    lines = 2 if full < NARROW else 1
    size = (
        full,
        (lines - 1) * above + head + foot + rows * (height + above) + (rows - 1) * GAP,
    )
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    # the page is drawn in pixels from its upper left corner, as the panels are
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(size[1], 0))
    page.axis("off")
    for index, panel in enumerate(panels):
        left = MARGIN + index % columns * (width + GAP)
        top = head + above + index // columns * (height + above + GAP)
        write_words(page, left, top - above / 2, panel.title, fontsize=11 * zoom, weight="bold", color=DARK)
        axes = figure.add_axes((left / size[0], 1 - (top + height) / size[1], width / size[0], height / size[1]))
        fill_axes(axes, panel)
    end = write_words(page, MARGIN, head / 2 + 4, title, fontsize=17 * zoom, weight="bold", color=DARK)
    write_words(page, end + 14 * zoom, head / 2 + 6, subtitle, fontsize=13 * zoom, color=SOFT)
    write_words(page, MARGIN, size[1] - foot / 2 - (lines - 1) * above, caption, fontsize=10 * zoom, color=SOFT)
    key = dict.fromkeys(entry for panel in panels for entry in panel.key)
    write_key(page, size[0] - MARGIN, size[1] - foot / 2, list(key), zoom)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})


def fill_axes(axes: "Axes", panel: Panel) -> None:
    """Show a panel pixel by pixel; what is drawn over it may not change what is in view."""
    height, width = panel.pixels.shape[:2]
    axes.imshow(panel.pixels, extent=(0, width, height, 0), interpolation="nearest", aspect="auto")
    panel.draw(axes)
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color="#d0d4da", linewidth=1)


def write_words(page: "Axes", x: int | float, y: int | float, words: str, **style: Any) -> float:
    """Write a line and return where it ends."""
    text = page.text(x, y, words, va="center", **style)
    return float(x + text.get_window_extent().width)


def write_key(page: "Axes", right: int | float, y: int | float, entries: list[tuple[str, str]], zoom: float) -> None:
    """Dots and what they stand for, ending at `right`."""
    for name, colour in reversed(entries):
        text = page.text(right, y, name, va="center", ha="right", fontsize=10 * zoom, color=SOFT)
        left = right - text.get_window_extent().width - 14 * zoom
        page.scatter(left, y, s=70 * zoom**2, color=colour)
        right = left - 26 * zoom
