"""Submissions that share the images of a split, made one: the shards of a run, or one submission per object."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from wildhoi import columns
from wildhoi.errors import InputError
from wildhoi.files import require_new
from wildhoi.submission.folder import MANIFEST, PREDICTIONS, read_submission
from wildhoi.submission.manifest import Manifest, write_manifest
from wildhoi.submission.table import PREDICTIONS as LAYOUT

OF_A_PART = ("shard", "batch")  # settings that may differ between the parts of one submission


@dataclass(frozen=True)
class Merged:
    """How many rows a merger wrote, and which shards `i/n` of the run were not among the parts."""

    rows: int
    failures: int
    absent: tuple[str, ...]


def merge_submissions(parts: Sequence[Path], out: Path) -> Merged:
    """Write one submission with the rows of several, each as it was stored.

    Args:
        parts: folders of submissions whose manifests agree in everything but shard, batch and environment.
        out: the folder to make.

    Raises:
        DefectError: a part is no valid submission.
        InputError: two parts differ in a field, or have an image in common; nothing is written then.
    """
    require_new(out)
    found = [read_submission(part) for part in parts]
    if not found:
        raise InputError("nothing to merge; name the submissions")
    manifests = {part: submission.manifest for part, submission in zip(parts, found, strict=True)}
    merged = _join_manifests(manifests)
    rows = read_rows([part / PREDICTIONS for part in parts])
    _refuse_twins(parts, [[row.image_id for row in submission.rows] for submission in found])
    columns.write_rows(out / PREDICTIONS, LAYOUT, rows)
    write_manifest(out / MANIFEST, merged)
    failures = sum(row["status"] == "failed" for row in rows)
    return Merged(len(rows), failures, _absent([m.settings.get("shard") for m in manifests.values()]))


def read_rows(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of prediction files by column, as they are stored (no rotation is touched), sorted by image id.

    Raises:
        InputError: a file is not Parquet.
    """
    rows = []
    for file in files:
        table = columns.read_columns(file, LAYOUT)
        for row in range(table.n_rows):
            texts: dict[str, Any] = {name: values[row] for name, values in table.texts.items()}
            rows.append(texts | {n: v[row] for n, v in table.numbers.items() if table.present[n][row]})
    return sorted(rows, key=lambda row: str(row["image_id"]))


def join_environments(environments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One environment of several: a value where they agree, the list of all values where they do not."""
    joined: dict[str, Any] = {}
    for name in {name: None for environment in environments for name in environment}:
        values: list[Any] = []
        for environment in environments:
            value = environment.get(name)
            for item in value if isinstance(value, list) else [value]:
                if item is not None and item not in values:
                    values.append(item)
        joined[name] = values[0] if len(values) == 1 else values
    return joined


def _join_manifests(manifests: Mapping[Path, Manifest]) -> Manifest:
    (first, one), *others = manifests.items()
    for path, other in others:
        for field in fields(Manifest):
            if field.name not in ("settings", "environment"):
                _require_equal(field.name, first, getattr(one, field.name), path, getattr(other, field.name))
        for name in sorted({*one.settings, *other.settings} - {*OF_A_PART}):
            _require_equal(f"settings.{name}", first, one.settings.get(name), path, other.settings.get(name))
    settings = {name: value for name, value in one.settings.items() if name not in OF_A_PART}
    settings |= join_environments([{"batch": m.settings["batch"]} for m in manifests.values() if "batch" in m.settings])
    return replace(one, settings=settings, environment=join_environments([m.environment for m in manifests.values()]))


def _require_equal(name: str, first: Path, one: Any, second: Path, other: Any) -> None:
    if one != other:
        raise InputError(
            f"{name}: {first} has {one!r}, {second} has {other!r}; only parts of one submission are merged"
        )


def _refuse_twins(parts: Sequence[Path], ids: Sequence[Sequence[str]]) -> None:
    owner: dict[str, Path] = {}
    for part, own in zip(parts, ids, strict=True):
        for image_id in own:
            if image_id in owner:
                raise InputError(f"image {image_id!r} is in {owner[image_id]} and in {part}; give each part once")
        owner |= dict.fromkeys(own, part)


def _absent(shards: Sequence[Any]) -> tuple[str, ...]:
    """The shards i/n that are not there, of those numbers n that are."""
    given = {shard for shard in shards if isinstance(shard, str) and re.fullmatch(r"\d{1,6}/\d{1,4}", shard)}
    counts = sorted({int(shard.partition("/")[2]) for shard in given})
    return tuple(f"{i}/{count}" for count in counts for i in range(1, count + 1) if f"{i}/{count}" not in given)
