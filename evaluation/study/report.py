"""The result of a study to be read: in the terminal, and as Markdown."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evaluation.leaderboard.documents import bullets, pipe_table
from evaluation.leaderboard.sheet import Cell, Sheet
from evaluation.leaderboard.terminal import bullets as rich_bullets
from evaluation.leaderboard.terminal import slim_table
from evaluation.leaderboard.text import NOTHING, markdown, number, short
from evaluation.study.scoring import EVEN, Preference, Rater, StudyScore

RATER_COLUMNS = ("Rater", "Answers", "Prefers A", "Left", "Consistent", "Seconds")


def to_rich(score: StudyScore) -> RenderableType:
    """A view for the terminal."""
    columns, rows = _preferences(score)
    parts: list[RenderableType] = [Text(_title(score), "bold"), Text(_origin(score), "dim"), Text()]
    style = "dim" if score.overall.verdict in ("tie", "too few to say") else "bold green"
    parts += [Text(verdict(score), style), Text(), _grid(columns, rows), Text()]
    parts += [Text(line) for line in _agreement(score)]
    parts += [Text(), _grid(RATER_COLUMNS, [_rater(rater) for rater in score.raters]), Text()]
    return Group(*parts, rich_bullets(score.notes, "dim"))


def to_markdown(score: StudyScore) -> str:
    """The same with pipe tables."""
    columns, rows = _preferences(score)
    parts = [f"# {markdown(_title(score))}", markdown(_origin(score)), f"**{markdown(verdict(score))}**"]
    parts += [_table(columns, rows), bullets(list(_agreement(score))), "## Raters"]
    parts += [_table(RATER_COLUMNS, [_rater(rater) for rater in score.raters]), bullets(score.notes)]
    return "\n\n".join(parts) + "\n"


def verdict(score: StudyScore) -> str:
    """The result in a sentence."""
    found = score.overall
    share, low, high = found.share, found.low, found.high
    if share is None:
        return "No image was judged when it was first shown"
    first = "B" if share < EVEN else "A"
    if first == "B":
        share, low, high = 1 - share, None if high is None else 1 - high, None if low is None else 1 - low
    interval = "no interval" if low is None or high is None else f"95 % interval {percent(low)} to {percent(high)}"
    said = {"tie": "A tie", "too few to say": "Too few answers to say"}.get(found.verdict)
    name = short(score.methods[first])
    if said is None:
        return f"{name} preferred: {percent(share)} ({interval})"
    return f"{said}: {percent(share)} prefer {name} ({interval})"


def percent(value: float | None) -> str:
    """A share as it is shown."""
    return NOTHING if value is None else f"{number(100 * value, 1)} %"


def _title(score: StudyScore) -> str:
    return f"A {short(score.methods['A'])} against B {short(score.methods['B'])}"


def _origin(score: StudyScore) -> str:
    data = score.dataset
    where = (
        f"{short(data.get('name', ''))} at {short(data.get('revision', ''))[:12]}, split {short(data.get('split', ''))}"
    )
    return f"Study {score.study}, data {where}; {len(score.raters)} raters, {score.overall.images} images."


def _preferences(score: StudyScore) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the table of preferences; a column for ties where there are any."""
    ties = score.overall.same > 0
    columns = [
        "",
        "Prefer A",
        "Prefer B",
        *(["Same"] if ties else []),
        "Share of A",
        "95 % interval",
        "Images",
        "Raters",
    ]
    return columns, [_preference(each, ties) for each in (score.overall, *score.objects)]


def _preference(found: Preference, ties: bool) -> list[str]:
    interval = NOTHING if found.low is None else f"{percent(found.low)} to {percent(found.high)}"
    counts = [found.a, found.b, *([found.same] if ties else [])]
    return [
        short(found.scope),
        *map(str, counts),
        percent(found.share),
        interval,
        str(found.images),
        str(found.raters),
    ]


def _agreement(score: StudyScore) -> Iterator[str]:
    if score.agreement is not None:
        alpha = "not defined, all answers are the same" if score.alpha is None else number(score.alpha, 2)
        pairs = f"{percent(score.agreement)} of pairs of answers to an image are equal"
        yield f"Raters with each other: Krippendorff's alpha {alpha}; {pairs}."
    if score.consistent is not None:
        yield (
            f"Raters with themselves: {percent(score.consistent)} of {score.repeated} answers to an image shown again, "
            f"sides exchanged, are as before{'' if score.overall.same else ' (a coin: 50 %)'}."
        )
    if score.left is not None:
        yield f"The left side was chosen in {percent(score.left)} of the answers."


def _rater(rater: Rater) -> list[str]:
    again = f"{rater.consistent} of {rater.repeated}" if rater.repeated else NOTHING
    shares = (percent(rater.share), percent(rater.left))
    return [short(rater.name), str(rater.answers), *shares, again, number(rater.seconds, 1)]


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    grid = slim_table()
    for place, name in enumerate(columns):
        grid.add_column(name, justify="right" if place else "left", overflow="fold")
    for row in rows:
        grid.add_row(*map(Text, row))
    return grid


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    right = tuple(place > 0 for place in range(len(columns)))
    return pipe_table(Sheet("", "", "", tuple(columns), right, tuple(tuple(map(Cell, row)) for row in rows), ()))
