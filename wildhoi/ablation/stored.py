"""Ablation folders: grids as they were last run in `grids/NAME.json`, their cells in `cells/KEY`, a submission each.

A key names everything that a cell's result depends on. So a cell that two grids share is run once, and a cell of a
grid that has changed is another one.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wildhoi.errors import InputError
from wildhoi.files import read_json, write_text

GRIDS, CELLS, CHECKPOINTS = "grids", "cells", "checkpoints"
SPEC = 1
KEY = re.compile(r"[0-9a-f]{16}")
LEVELS = 20  # of lists and tables within each other
TEXTS = ("name", "title", "note", "protocol", "protocol_hash", "dataset", "revision", "split")


@dataclass(frozen=True)
class Placed:
    """A cell of a grid: the key of its folder, and of the folder of its checkpoints where it has any."""

    label: str
    method: str
    key: str
    settings: Mapping[str, Any]
    train: Mapping[str, Any]
    training: str | None = None


@dataclass(frozen=True)
class Ablation:
    """A grid as it was run: what all its scores share, and its cells in the order of the table."""

    name: str
    title: str
    note: str
    protocol: str
    protocol_hash: str
    dataset: str
    revision: str
    split: str
    cells: tuple[Placed, ...]


def write_ablation(folder: Path, ablation: Ablation) -> None:
    """Write what a grid is into an ablation folder, in place of what it was."""
    content = {"spec": SPEC, **asdict(ablation)}
    write_text(folder / GRIDS / f"{ablation.name}.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_ablations(folder: Path, names: tuple[str, ...] = ()) -> tuple[list[Ablation], list[str]]:
    """Read the grids of an ablation folder, by name.

    Args:
        folder: as `wildhoi ablate` makes it.
        names: only these; none for all.

    Returns:
        the grids, and one line for each file that is none.

    Raises:
        InputError: the folder has none at all, or none of a name.
    """
    paths = {path.stem: path for path in sorted((folder / GRIDS).glob("*.json")) if not path.name.startswith(".")}
    if not paths:
        raise InputError(
            f"{folder}: no ablation folder, it has no {GRIDS}/*.json; `wildhoi ablate GRID -o DIR` makes one"
        )
    if lost := [name for name in names if name not in paths]:
        raise InputError(f"{folder}: has no grid {', '.join(lost)}; there are {', '.join(paths)}")
    found, unreadable = [], []
    for name in names or paths:
        try:
            found.append(_read(paths[name]))
        except InputError as error:
            unreadable.append(str(error).replace(f"{folder}/", ""))
    return found, unreadable


def _read(path: Path) -> Ablation:
    content = read_json(path)
    try:
        if content["spec"] != SPEC:
            raise ValueError(f"spec {content['spec']!r:.60}, this version reads {SPEC}")
        texts = {name: _checked(content[name], str) for name in TEXTS}
        cells = tuple(_placed(cell) for cell in _checked(content["cells"], list))
        labels = [cell.label for cell in cells]
        if len(set(labels)) != len(labels) or texts["name"] != path.stem:
            raise ValueError("its name is another, or several cells have one label")
        return Ablation(**texts, cells=cells)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path}: no grid of an ablation ({reason}); `wildhoi ablate` writes it anew") from None


def _placed(raw: Any) -> Placed:
    texts = {name: _checked(raw[name], str) for name in ("label", "method", "key")}
    tables = {name: _plain(_checked(raw[name], dict)) for name in ("settings", "train")}
    training = raw["training"]
    for key in (texts["key"], *(() if training is None else (training,))):
        if not KEY.fullmatch(_checked(key, str)):  # the name of a folder: nothing that leads elsewhere
            raise ValueError(f"key {key!r:.60}, want 16 hexadecimal digits")
    return Placed(**texts, **tables, training=training)


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"got {value!r:.60}, want a value of type {kind.__name__}")
    return value


def _plain(value: Any, levels: int = LEVELS) -> Any:
    """The value, found to be one that can be written again."""
    if not levels or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("a number that is not finite, or tables too deep within each other")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _plain(item, levels - 1)
    return value
