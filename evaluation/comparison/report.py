"""A comparison to be read: in the terminal, and as Markdown."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evaluation.comparison.comparing import Comparison, Difference, Far
from evaluation.leaderboard.documents import bullets, pipe_table
from evaluation.leaderboard.sheet import Cell, Sheet, header
from evaluation.leaderboard.terminal import bullets as rich_bullets
from evaluation.leaderboard.terminal import slim_table
from evaluation.leaderboard.text import NOTHING, markdown, number, short
from evaluation.metrics import METRICS

STYLES = {"better": "bold green", "worse": "bold red", "tie": "dim"}
COLUMNS = ("Metric", "Baseline", "Method", "Difference", "95 % interval", "p", "Wins", "Images", "Verdict")
FAR_COLUMNS = ("Image", "Object", "Baseline", "Method", "Difference")


def to_rich(comparison: Comparison) -> RenderableType:
    """A view for the terminal."""
    parts: list[RenderableType] = []
    for title, found in _tables(comparison):
        grid = _grid(COLUMNS, left=1)
        for difference in found:
            *words, verdict = _words(difference)
            grid.add_row(*map(Text, words), Text(verdict, STYLES[difference.verdict]))
        parts += [Text(title, "bold"), Text(_origin(comparison), "dim"), Text(), grid, Text()]
    for method in comparison.methods:
        if images := [far for far in comparison.far if far.method == method]:
            grid = _grid(FAR_COLUMNS, left=2)
            for far in images:
                grid.add_row(*map(Text, _far_words(far, comparison)))
            parts += [Text(_far_title(comparison, method), "bold"), Text(), grid, Text()]
    return Group(*parts, rich_bullets(comparison.notes, "dim"))


def to_markdown(comparison: Comparison) -> str:
    """Sections with a pipe table each; a verdict that is no tie is bold."""
    parts = [f"# Compared with {markdown(comparison.baseline)}", markdown(_origin(comparison))]
    for title, found in _tables(comparison):
        rows = tuple(
            tuple(Cell(text, best=place == len(COLUMNS) - 1 and difference.verdict != "tie") for place, text in words)
            for difference in found
            for words in [list(enumerate(_words(difference)))]
        )
        parts += [f"## {markdown(title)}", pipe_table(_sheet(COLUMNS, rows, left=1))]
    for method in comparison.methods:
        if images := [far for far in comparison.far if far.method == method]:
            rows = tuple(tuple(map(Cell, _far_words(far, comparison))) for far in images)
            parts += [f"## {markdown(_far_title(comparison, method))}", pipe_table(_sheet(FAR_COLUMNS, rows, left=2))]
    return "\n\n".join([*parts, bullets(comparison.notes)]) + "\n"


def _tables(comparison: Comparison) -> Iterator[tuple[str, list[Difference]]]:
    """A title and the differences below it: for each scope, for each method."""
    for scope in dict.fromkeys(each.scope for each in comparison.differences):
        for method in comparison.methods:
            found = [each for each in comparison.differences if (each.scope, each.method) == (scope, method)]
            if found:
                yield f"{method} against {comparison.baseline}: {short(scope)}", found


def _origin(comparison: Comparison) -> str:
    return f"Protocol {comparison.protocol}, data {comparison.dataset}; {comparison.images} images."


def _words(difference: Difference) -> list[str]:
    metric = METRICS[difference.metric]
    d = metric.digits
    interval = NOTHING
    if difference.low is not None and difference.high is not None:
        interval = f"{signed(difference.low, d)} to {signed(difference.high, d)}"
    return [
        header(metric),
        number(difference.baseline, d),
        number(difference.mean, d),
        signed(difference.difference, d),
        interval,
        _p(difference.adjusted),
        f"{100 * difference.wins:.0f} %",
        str(difference.images),
        difference.verdict,
    ]


def signed(value: float, digits: int) -> str:
    """A difference as it is shown: with its sign, unless it is nothing."""
    text = number(value, digits)
    return f"+{text}" if float(text) > 0 else text


def _p(value: float) -> str:
    return "< 0.01" if value < 0.01 else f"{value:.2f}"


def _far_title(comparison: Comparison, method: str) -> str:
    return f"Where {method} and {comparison.baseline} differ most: {header(METRICS[comparison.main])}"


def _far_words(far: Far, comparison: Comparison) -> list[str]:
    d = METRICS[comparison.main].digits
    gap = signed(far.value - far.baseline, d)
    return [short(far.image_id), short(far.object), number(far.baseline, d), number(far.value, d), gap]


def _grid(columns: Sequence[str], left: int) -> Table:
    grid = slim_table()
    for place, name in enumerate(columns):
        grid.add_column(name, justify="left" if place < left else "right", overflow="fold")
    return grid


def _sheet(columns: Sequence[str], rows: tuple[tuple[Cell, ...], ...], left: int) -> Sheet:
    right = tuple(place >= left for place in range(len(columns)))
    return Sheet("", "", "", tuple(columns), right, rows, ())
