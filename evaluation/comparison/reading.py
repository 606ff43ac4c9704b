"""Scored submissions that are to be compared: what each scored on each image, if all were scored alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from evaluation.checking import protocol_of, read_table
from evaluation.leaderboard.entries import read_entry
from evaluation.leaderboard.text import short
from evaluation.metrics import METRICS
from evaluation.scores import PER_IMAGE, SCORES, read_scores
from wildhoi.errors import InputError
from wildhoi.files import sha256_file
from wildhoi.submission.folder import PREDICTIONS

ALIKE = ("protocol.id", "protocol.hash", "dataset.name", "dataset.revision", "dataset.split", "body", "templates")
"""What scores must share to be compared."""
SHOWN = 3
"""Images named where some are missing."""


@dataclass(frozen=True, eq=False)
class Contestant:
    """A scored submission.

    Attributes:
        name: of its method; with its folder's name where several have one.
        path: its folder.
        unofficial: why its scores are none for a leaderboard; empty where they are.
        status: of each image: scored, failed or missing.
        values: of each metric by image, NaN where there is none.
    """

    name: str
    path: Path
    unofficial: tuple[str, ...]
    status: tuple[str, ...]
    values: Mapping[str, Float[np.ndarray, " n"]]


@dataclass(frozen=True, eq=False)
class Field:
    """Contestants on the same images, in the order of the images' ids."""

    contestants: tuple[Contestant, ...]
    image_ids: tuple[str, ...]
    objects: tuple[str, ...]
    video_ids: tuple[str, ...]
    protocol: str
    dataset: str
    headline: tuple[str, ...]
    spheres: frozenset[str]

    def values(self, contestant: Contestant, metric: str) -> Float[np.ndarray, " n"]:
        """A metric of a contestant by image, NaN where it does not apply: a sphere has no rotation."""
        values = contestant.values[metric]
        if metric != "rotation":
            return values
        return np.where(self._of_spheres, np.nan, values)

    @cached_property
    def _of_spheres(self) -> Bool[np.ndarray, " n"]:
        return np.array([name in self.spheres for name in self.objects], bool)


def read_field(folders: Sequence[Path]) -> Field:
    """Read scored submissions.

    Raises:
        InputError: one is not scored, damaged or changed since; or they differ in protocol, data, split, body,
            templates or images: all differences are told.
    """
    scores = [_scores(folder) for folder in folders]
    _require_alike(folders, scores)
    tables = [_table(folder) for folder in folders]
    ids = _same_images(folders, tables)
    first = tables[0]
    rules = protocol_of(folders[0] / SCORES, scores[0])
    spheres = frozenset() if rules.sphere_rotation == "zero" else frozenset(map(str, scores[0].get("spheres", ())))
    objects, videos = (tuple(first[name][i] for i in ids) for name in ("object", "video_id"))
    contestants = tuple(
        _contestant(name, folder, score, table, ids)
        for name, folder, score, table in zip(_names(folders, scores), folders, scores, tables, strict=True)
    )
    data = scores[0]["dataset"]
    dataset = f"{data['name']} at {str(data['revision'])[:12]}, split {data['split']}"
    headline = tuple(name for name in scores[0]["headline"] if name in METRICS)
    return Field(contestants, ids, objects, videos, _protocol(scores[0]), dataset, headline, spheres)


def _scores(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, want one of a scored submission")
    if not (folder / SCORES).is_file():
        raise InputError(f"{folder}: has no {SCORES}; score the submission first: wildhoi evaluate {folder}")
    read_entry(folder / SCORES, SCORES)  # refuses what is malformed
    scores = read_scores(folder / SCORES)
    predictions = folder / PREDICTIONS
    if predictions.is_file() and sha256_file(predictions) != _at(scores, "submission.sha256"):
        raise InputError(f"{predictions}: has changed since it was scored; evaluate it again")
    return scores


def _at(scores: Mapping[str, Any], field: str) -> Any:
    value: Any = scores
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _require_alike(folders: Sequence[Path], scores: Sequence[Mapping[str, Any]]) -> None:
    found = []
    for folder, other in zip(folders[1:], scores[1:], strict=True):
        for field in ALIKE:
            one, two = _at(scores[0], field), _at(other, field)
            if one != two:
                found.append(f"{field}: {_told(one)} in {folders[0]}, {_told(two)} in {folder}")
    if found:
        raise InputError(
            f"these scores do not compare: {'; '.join(found)}; evaluate all under one protocol, on one data set"
        )


def _told(value: Any) -> str:
    return short(str(value))[:16] if isinstance(value, str | int) else "others" if value else "nothing"


def _table(folder: Path) -> dict[str, dict[str, Any]]:
    """The columns of a table of images, each by image id."""
    table = read_table(folder / PER_IMAGE)
    texts = ("image_id", "object", "video_id", "status")
    if lost := [name for name in texts if name not in table.schema.names]:
        raise InputError(f"{folder / PER_IMAGE}: has no column {', '.join(lost)}; evaluate the submission again")
    columns = {name: table[name].to_pylist() for name in table.schema.names if name in (*texts, *METRICS)}
    ids = columns["image_id"]
    broken = any(not isinstance(text, str) for name in texts for text in columns[name]) or len(set(ids)) != len(ids)
    numbers = [value for name in columns if name in METRICS for value in columns[name]]
    if broken or not all(value is None or isinstance(value, float) for value in numbers):
        raise InputError(f"{folder / PER_IMAGE}: not what `wildhoi evaluate` writes; evaluate the submission again")
    return {name: dict(zip(ids, values, strict=True)) for name, values in columns.items()}


def _same_images(folders: Sequence[Path], tables: Sequence[Mapping[str, Mapping[str, Any]]]) -> tuple[str, ...]:
    first = tables[0]["image_id"]
    for folder, table in zip(folders[1:], tables[1:], strict=True):
        for where, lost in (
            (folder, sorted(first.keys() - table["image_id"].keys())),
            (folders[0], sorted(table["image_id"].keys() - first.keys())),
        ):
            if lost:
                named = ", ".join(map(short, lost[:SHOWN])) + (", ..." if len(lost) > SHOWN else "")
                raise InputError(f"these scores are of other images: {where} lacks {len(lost)} ({named})")
        if any(tables[0][name] != table[name] for name in ("object", "video_id")):
            raise InputError(f"{folder / PER_IMAGE}: its images are of other objects or videos than in {folders[0]}")
    return tuple(sorted(first))


def _names(folders: Sequence[Path], scores: Sequence[Mapping[str, Any]]) -> list[str]:
    methods = [short(str(_at(score, "submission.method"))) for score in scores]
    names = [
        method if methods.count(method) == 1 else f"{method} ({short(folder.resolve().name)})"
        for method, folder in zip(methods, folders, strict=True)
    ]
    return [name if names.count(name) == 1 else f"{name} #{1 + names[:k].count(name)}" for k, name in enumerate(names)]


def _contestant(
    name: str, folder: Path, scores: Mapping[str, Any], table: Mapping[str, Mapping[str, Any]], ids: tuple[str, ...]
) -> Contestant:
    values = {metric: np.array([table[metric][i] for i in ids], np.float64) for metric in METRICS if metric in table}
    reasons = scores.get("unofficial_because") or ()
    unofficial = () if scores["official"] else tuple(short(str(reason)) for reason in reasons) or ("no reason told",)
    return Contestant(name, folder, unofficial, tuple(table["status"][i] for i in ids), values)


def _protocol(scores: Mapping[str, Any]) -> str:
    return f"{short(str(_at(scores, 'protocol.id')))} ({short(str(_at(scores, 'protocol.hash')))[:12]})"
