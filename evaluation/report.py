"""What `wildhoi evaluate` shows of a score: tables for 100 columns of a terminal, and what to know to read them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evaluation.intervals import FEW_CLUSTERS, MIN_CLUSTERS
from evaluation.leaderboard.terminal import bullets, slim_table
from evaluation.leaderboard.text import clean, number, short
from evaluation.metrics import METRICS, Metric
from evaluation.protocol import load_protocol, protocol_ids

WIDTH = 100
SHOWN_THRESHOLDS = (0, 1, 3, 5, 9)  # of a recall curve: 5, 10, 20, 30, 50 of the shipped protocols

Scores = Mapping[str, Any]


def score_report(scores: Scores) -> RenderableType:
    """Everything about a score: heading, tables of errors and recalls, notes.

    Args:
        scores: the content of scores.json.
    """
    parts: list[RenderableType] = [_heading(scores)]
    for table in (*score_tables(scores), *recall_tables(scores)):
        parts += [Text(), table]
    warnings, facts = score_notes(scores)
    return Group(*parts, Text(), bullets(warnings, "yellow"), bullets(facts, "dim"))


def _heading(scores: Scores) -> Text:
    protocol, dataset = scores["protocol"], scores["dataset"]
    official = ("official", "bold green") if scores["official"] else ("UNOFFICIAL", "bold red")
    return Text.assemble(
        "\n",
        (short(scores["submission"]["method"]), "bold"),
        f" on {clean(dataset['name'])} {clean(dataset['split'])}   ",
        official,
        (f"\n{clean(protocol['title'])}", "dim"),
    )


def score_tables(scores: Scores) -> list[Table]:
    """Errors per object and over all: mean with its 95 % interval, the median below; as many tables as the width asks.

    The metrics are the protocol's headline. A row of two lines per object, then over all images, then the mean of the
    objects' means.
    """
    columns = [_column(METRICS[name], scores) for name in scores["headline"]]
    labels = _labels(scores)
    room = WIDTH - max(map(_width, labels))
    return [_table(labels, block) for block in _blocks(columns, room)]


def _groups(scores: Scores) -> list[Mapping[str, Any]]:
    return [*scores["objects"].values(), scores["overall"]]


def _labels(scores: Scores) -> list[Text]:
    """What a row is of, over the scored of its annotated images."""
    labels = []
    names = [*(Text(short(name)) for name in scores["objects"]), Text("all images", "bold")]
    for name, group in zip(names, _groups(scores), strict=True):
        coverage = group["coverage"]
        style = "dim" if coverage["scored"] == coverage["images"] else "yellow"
        labels.append(Text.assemble(name, (f"\n{coverage['scored']:,}/{coverage['images']:,}", style)))
    return [*labels, Text("mean of objects", "bold")]


def _width(text: Text) -> int:
    return max(map(len, text.plain.split("\n")))


Column = tuple[Metric, list[Text]]


def _column(metric: Metric, scores: Scores) -> Column:
    """The cells of a metric: per group "mean [interval]" over "median", both with the decimal points in line."""
    cells = [group["metrics"][metric.name] for group in _groups(scores)]
    means = [number(cell["mean"], metric.digits) for cell in cells]
    medians = [number(cell["median"], metric.digits) for cell in cells]
    over_objects = number(cells[-1]["mean_over_objects"], metric.digits)
    width = max(map(len, [*means, *medians, over_objects]))
    intervals = [_interval(cell["interval"], metric.digits) for cell in cells]
    texts = [
        Text.assemble(f"{mean:>{width}}", (interval, "dim"), (f"\n{median:>{width}}", "dim"))
        for mean, median, interval in zip(means, medians, intervals, strict=True)
    ]
    return metric, [*texts, Text(f"{over_objects:>{width}}")]


def _interval(bounds: Sequence[float] | None, digits: int) -> str:
    """Bounds with one digit fewer than the mean, without any from 100 on: they are not known better."""
    if bounds is None:
        return ""
    fewer = 0 if max(map(abs, bounds)) >= 100 else max(digits - 1, 1)
    return f" [{number(bounds[0], fewer)}, {number(bounds[1], fewer)}]"


def _blocks(columns: Sequence[Column], room: int) -> list[list[Column]]:
    """Fill one table after another with as many columns as fit beside each other."""
    blocks: list[list[Column]] = [[]]
    left = room
    for metric, cells in columns:
        width = max(map(_width, [*cells, _head(metric)])) + 2
        if width > left and blocks[-1]:
            blocks.append([])
            left = room
        blocks[-1].append((metric, cells))
        left -= width
    return blocks


def _head(metric: Metric) -> Text:
    direction = "↓" if metric.lower_is_better else "↑"
    return Text.assemble(metric.label, (f"\n{metric.unit} {direction}".replace("\n ", "\n"), "dim"))


def _table(labels: Sequence[Text], columns: Sequence[Column]) -> Table:
    table = slim_table()
    table.add_column(Text.assemble("Object", ("\nscored/images", "dim")), no_wrap=True)
    for metric, _ in columns:
        table.add_column(_head(metric), no_wrap=True)
    for index, label in enumerate(labels):
        if index == len(labels) - 2:
            table.add_section()
        table.add_row(label, *(cells[index] for _, cells in columns))
    return table


def recall_tables(scores: Scores) -> list[Table]:
    """The overall recalls: the average over all thresholds, and the curve at some of them; none without recalls."""
    recalls = scores["overall"]["recalls"]
    if not recalls:
        return []
    table = slim_table()
    table.add_column("Recall")
    table.add_column("average", justify="right")
    for index in range(len(SHOWN_THRESHOLDS)):
        table.add_column("error below" if index == 0 else "", justify="right", no_wrap=True)
    for recall in recalls.values():
        points = list(zip(recall["thresholds"], recall["curve"], strict=True))
        shown = [points[index] for index in SHOWN_THRESHOLDS if index < len(points)]
        cells = (
            Text.assemble((_threshold(at, recall["unit"]), "dim"), f" {_percent(share, 0):>3}") for at, share in shown
        )
        table.add_row(METRICS[recall["metric"]].label, Text(f"{_percent(recall['average'], 1)} %"), *cells)
    return [table]


def _threshold(value: float, unit: str) -> str:
    short_unit = {"degrees": "°", "diameter": " d"}.get(unit, f" {unit}")
    return f"{value:g}{short_unit}:"


def _percent(share: float | None, digits: int) -> str:
    return number(None if share is None else 100 * share, digits)


def score_notes(scores: Scores) -> tuple[list[str], list[str]]:
    """Every reason to read the numbers with care, and what they are of; a line each."""
    warnings = [*_unofficial(scores), *_unscored(scores), *_alignments(scores), *_few_videos(scores)]
    return warnings, [*_reading(scores), _what(scores), *_rotation(scores), *_caveat(scores)]


def _unofficial(scores: Scores) -> list[str]:
    if scores["official"]:
        return []
    return [f"UNOFFICIAL, in no leaderboard table: {clean('; '.join(scores['unofficial_because']))}"]


def _unscored(scores: Scores) -> list[str]:
    coverage = scores["overall"]["coverage"]
    if coverage["scored"] == coverage["images"]:
        return []
    counts = f"{coverage['failed']:,} failed and {coverage['missing']:,} missing of {coverage['images']:,} images"
    return [f"{counts}: below no threshold of the recalls, left out of means, medians and intervals"]


def _alignments(scores: Scores) -> list[str]:
    """How many images could not be aligned as the protocol asks; without its file, how many by each alignment."""
    counts, protocol = scores["overall"]["coverage"]["alignments"], scores["protocol"]
    shipped = load_protocol(protocol["id"]) if protocol["id"] in protocol_ids() else None
    asked = shipped.alignment if shipped and shipped.hash == protocol["hash"] else None
    if asked is None:
        listed = ", ".join(f"{clean(name)} {count:,}" for name, count in counts.items())
        return [f"alignments: {listed} images"] if len(counts) > 1 else []
    return [
        f"{count:,} images fell back from alignment {asked} to {clean(name)}: their meshes do not correspond"
        for name, count in counts.items()
        if name != asked
    ]


def _few_videos(scores: Scores) -> list[str]:
    """Which intervals are missing or too narrow, by the number of videos behind them."""
    videos = {name: _videos(group) for name, group in scores["objects"].items()} | {
        "all images": _videos(scores["overall"])
    }
    none = [f"{short(name)} ({count})" for name, count in videos.items() if count < MIN_CLUSTERS]
    few = [f"{short(name)} ({count})" for name, count in videos.items() if MIN_CLUSTERS <= count < FEW_CLUSTERS]
    lines = []
    if none:
        lines.append(f"no interval below {MIN_CLUSTERS} videos: {', '.join(none)}")
    if few:
        lines.append(f"interval too narrow over fewer than {FEW_CLUSTERS} videos: {', '.join(few)}")
    return lines


def _videos(group: Mapping[str, Any]) -> int:
    return max((cell["clusters"] for cell in group["metrics"].values()), default=0)


def _what(scores: Scores) -> str:
    protocol, dataset, body = scores["protocol"], scores["dataset"], scores["body"]
    hashes = ", ".join(sorted(clean(value)[:8] for value in body["sha256"].values()))
    return (
        f"protocol {clean(protocol['id'])} ({clean(protocol['hash'])[:12]}), "
        f"data {clean(dataset['name'])} at {clean(dataset['revision'])[:12]}, "
        f"body {clean(body['model'])} ({hashes}), {clean(scores['device'])}"
    )


def _rotation(scores: Scores) -> list[str]:
    spheres, cell = scores["spheres"], scores["overall"]["metrics"].get("rotation")
    if not spheres or cell is None:
        return []
    without = number(scores["overall"]["rotation_without_spheres"], METRICS["rotation"].digits)
    same = number(cell["mean"], METRICS["rotation"].digits) == without
    how = "left out overall" if same else "0 in the overall numbers"
    names = ", ".join(map(short, spheres))
    return [f"a sphere has no rotation: {names} {how}; mean rotation without: {without} deg"]


def _reading(scores: Scores) -> list[str]:
    lines = ["mean [95 % interval of the mean, resampling videos], below it the median"]
    if scores["overall"]["recalls"]:
        lines.append("recall: percent of images with a smaller error; average over all thresholds; d: object diameter")
    return lines


def _caveat(scores: Scores) -> list[str]:
    caveat = scores["protocol"]["caveat"]
    return [f"caveat: {clean(caveat)}"] if caveat else []
