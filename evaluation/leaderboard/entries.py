"""What may stand on a leaderboard: scores measured here, found below a folder, and published results."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from evaluation.metrics import METRICS
from evaluation.protocol import load_protocol
from evaluation.scores import read_scores
from wildhoi.errors import InputError
from wildhoi.files import sha256_file
from wildhoi.submission.folder import PREDICTIONS

REPORTED = Path(__file__).parents[1] / "reported_results.yaml"
COMMON_TRACK = "given"  # initial estimates of other methods, as published results had them
FACTS = {"protocol", "dataset", "split", "source", "objects", "method", "variant", "supervision"}


@dataclass(frozen=True)
class Statistics:
    """A metric over images, in its unit; None where there is nothing, or the source says nothing."""

    mean: float | None
    median: float | None = None
    mean_over_objects: float | None = None
    interval: tuple[float, float] | None = None
    n: int | None = None
    clusters: int | None = None


@dataclass(frozen=True)
class Coverage:
    """How many annotated images there are, and what became of them."""

    images: int
    scored: int
    failed: int
    missing: int

    @property
    def complete(self) -> bool:
        """Whether every image is scored."""
        return self.scored == self.images > 0


@dataclass(frozen=True)
class Group:
    """The numbers of one object, or of all of them; coverage is None where it was reported without."""

    metrics: Mapping[str, Statistics] = field(default_factory=dict)
    coverage: Coverage | None = None

    @property
    def complete(self) -> bool:
        """Whether the numbers may be compared for the best; published ones are taken to be of every image."""
        return self.coverage is None or self.coverage.complete


@dataclass(frozen=True)
class Entry:
    """A method's result under a protocol.

    Published results carry no protocol hash, data revision, coverage or hash of a submission: these are None.
    `path` is relative to the folder that was searched.
    """

    method: str
    supervision: str
    source: str
    protocol: str
    title: str
    caveat: str
    dataset: str
    split: str
    headline: tuple[str, ...]
    overall: Group
    objects: Mapping[str, Group]
    protocol_hash: str | None = None
    revision: str | None = None
    sha256: str | None = None
    body: str | None = None
    path: str | None = None
    unofficial_because: tuple[str, ...] = ()
    official: bool = True

    @property
    def reported(self) -> bool:
        """Whether the numbers were published elsewhere, not measured here."""
        return self.protocol_hash is None


def collect(folder: Path) -> tuple[list[Entry], list[str]]:
    """Read every scores.json below a folder, in the order of their paths; hidden folders are left out.

    Returns:
        the entries, and one line for each file that is not a score file.

    Raises:
        InputError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, want one with scored submissions below it")
    entries, unreadable = [], []
    for path in sorted(folder.rglob("scores.json")):
        name = path.relative_to(folder).as_posix()
        # a file on its way to its place lies in a hidden folder
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        try:
            entries.append(read_entry(path, name))
        except InputError as error:
            unreadable.append(f"{name}: {str(error).removeprefix(f'{path}: ').replace(str(path), name)}")
    return entries, unreadable


def read_entry(path: Path, name: str) -> Entry:
    """Read one score file, `name` being what it is called in notes.

    Raises:
        InputError: it is not a score file, or a field in it has the wrong form.
    """
    scores = read_scores(path)
    try:
        return _unless_changed(path.parent / PREDICTIONS, _measured(scores, name))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path}: a malformed score file ({reason}); score the submission again") from None


def _unless_changed(predictions: Path, entry: Entry) -> Entry:
    """The entry, in no table if the predictions beside the scores are others than those scored."""
    if not predictions.is_file() or sha256_file(predictions) == entry.sha256:
        return entry
    reason = f"{predictions.name} has changed since it was scored: evaluate it again"
    return replace(entry, official=False, unofficial_because=(*entry.unofficial_because, reason))


def _measured(scores: Mapping[str, Any], name: str) -> Entry:
    protocol, submission, dataset = scores["protocol"], scores["submission"], scores["dataset"]
    headline = tuple(scores["headline"])
    if not headline or not set(headline) <= set(METRICS):
        raise ValueError(f"headline {list(headline)!r}, want names of metrics")
    if "" in scores["objects"]:
        raise ValueError("an object without a name")
    reasons = tuple(_text(reason) for reason in scores["unofficial_because"])
    return Entry(
        method=_text(submission["method"]),
        supervision=_text(submission["supervision"]),
        source="measured",
        protocol=_text(protocol["id"]),
        title=_text(protocol["title"]),
        caveat=_text(protocol["caveat"]),
        dataset=_dataset(dataset),
        split=_text(dataset["split"]),
        headline=headline,
        overall=_group(scores["overall"], headline),
        objects={_text(key): _group(value, headline) for key, value in scores["objects"].items()},
        protocol_hash=_text(protocol["hash"]),
        revision=_text(dataset["revision"]),
        sha256=_text(submission["sha256"]),
        body=" ".join(sorted(_text(value) for value in scores["body"]["sha256"].values())),
        path=name,
        unofficial_because=reasons,
        official=scores["official"] is True and not reasons,
    )


def _dataset(dataset: Mapping[str, Any]) -> str:
    """The data set's name; with its track where that grants other inputs than published results had."""
    name, track = _text(dataset["name"]), dataset.get("track")
    return name if track in (None, COMMON_TRACK) else f"{name} ({_text(track)})"


def _group(table: Mapping[str, Any], headline: tuple[str, ...]) -> Group:
    coverage = Coverage(**{key: _count(table["coverage"][key]) for key in ("images", "scored", "failed", "missing")})
    return Group({name: _statistics(table["metrics"][name]) for name in headline}, coverage)


def _statistics(cell: Mapping[str, Any]) -> Statistics:
    interval = cell["interval"]
    if interval is not None:
        low, high = interval
        interval = (_value(low), _value(high))
    numbers = {key: _number(cell.get(key)) for key in ("mean", "median", "mean_over_objects")}
    return Statistics(**numbers, interval=interval, n=_count(cell["n"]), clusters=_count(cell["clusters"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"got {value!r:.60}, want a text")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"got {value!r:.60}, want a count")
    return value


def _value(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"got {value!r:.60}, want a finite number")
    return float(value)


def _number(value: Any) -> float | None:
    return None if value is None else _value(value)


def reported_rows() -> list[Entry]:
    """The published results, in the order of the file; numbers of one source over all and per object are one entry."""
    entries: dict[tuple[str, str, str], Entry] = {}
    for block in yaml.safe_load(REPORTED.read_text()):
        for row in block["rows"]:
            new = _reported(block, row)
            key = (new.protocol, new.method, new.source)
            old = entries.get(key)
            entries[key] = new if old is None else replace(old, objects=new.objects)
    return list(entries.values())


def _reported(block: Mapping[str, Any], row: Mapping[str, Any]) -> Entry:
    protocol = load_protocol(block["protocol"])
    values = {name: value for name, value in row.items() if name not in FACTS}
    names = block.get("objects", ())
    objects = {
        name: Group({metric: Statistics(column[index]) for metric, column in values.items()})
        for index, name in enumerate(names)
    }
    overall = Group() if names else Group({metric: Statistics(value) for metric, value in values.items()})
    variant = row.get("variant")
    return Entry(
        method=f"{row['method']} ({variant})" if variant else row["method"],
        supervision=row.get("supervision", ""),
        source=f"reported: {block['source']}",
        protocol=protocol.id,
        title=protocol.title,
        caveat=protocol.caveat,
        dataset=block["dataset"],
        split=block["split"],
        headline=protocol.headline,
        overall=overall,
        objects=objects,
    )
