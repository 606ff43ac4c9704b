"""Grids: which variants of a method are compared, on which images, as a TOML file.

Beside the facts of `Grid`, a file has `[base]` (`method`, `set`: settings, `train`: what checkpoints are trained with),
a `[[cell]]` for each variant (`label`, and what differs from the base), and `[axes]` (lists of values of `set.NAME` and
`train.NAME`, all combinations of which are cells). Those in `assets/grids` ship.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from wildhoi.errors import InputError, shown
from wildhoi.files import read_toml

FOLDER = Path(__file__).parents[1] / "assets" / "grids"
MAX_BYTES = 2**20
MAX_CELLS = 1000
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
MAX_LABEL = 40  # characters, for which a table has room
FIELDS = ("name", "title", "note", "dataset", "protocol", "objects", "seed", "batch", "base", "axes", "cell")
SETTLED = ("set", "train")  # the tables of a cell, which it inherits from the base
CHECKPOINT = "checkpoint"  # the setting by which a method is told where its trained parts are


@dataclass(frozen=True)
class Cell:
    """A variant: a method, values of some of its settings, and what its checkpoints are trained with; {}: nothing."""

    label: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """Variants to be compared on the same images.

    Attributes:
        name: of the grid, and of its file in an ablation folder.
        title: of its table.
        note: what a reader of the table must know.
        dataset: the name of the data set.
        protocol: its id; the data set's own where it is empty.
        objects: names of categories; none for all.
        cells: in the order of the table.
        seed, batch: of every run.
    """

    name: str
    title: str
    note: str
    dataset: str
    protocol: str
    objects: tuple[str, ...]
    cells: tuple[Cell, ...]
    seed: int = 0
    batch: int = 64


def grid_names() -> list[str]:
    """The grids that ship, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_grid(name: str | Path) -> Grid:
    """Read a grid by name, or from a TOML file.

    Raises:
        InputError: there is none of that name, or a field is missing, unknown or of the wrong form.
    """
    path = Path(name) if str(name).endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise InputError(f"grid {shown(str(name))} is unknown, want one of {', '.join(grid_names())} or a .toml file")
    return _parse(str(path), read_toml(path, MAX_BYTES))


def _parse(where: str, raw: dict[str, Any]) -> Grid:
    _require_fields(where, raw, FIELDS)
    name = _text(where, raw, "name")
    if not NAME.fullmatch(name):
        raise InputError(f"{where}: name is {shown(name)}, want up to 40 small letters, digits and -")
    objects = raw.get("objects", [])
    if not isinstance(objects, list) or not all(isinstance(item, str) and item for item in objects):
        raise InputError(f"{where}: objects is {shown(objects)}, want a list of names, or nothing for all")
    return Grid(
        name=name,
        title=_text(where, raw, "title"),
        note=_text(where, raw, "note", ""),
        dataset=_text(where, raw, "dataset"),
        protocol=_text(where, raw, "protocol", ""),
        objects=tuple(sorted(set(objects))),
        cells=_cells(where, raw),
        seed=_number(where, raw, "seed", Grid.seed),
        batch=_number(where, raw, "batch", Grid.batch),
    )


def _require_fields(where: str, raw: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if unknown := sorted(set(raw) - set(known)):
        raise InputError(f"{where}: unknown fields {', '.join(unknown)}; there are {', '.join(known)}")


def _text(where: str, raw: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = raw.get(name, default)
    if not isinstance(value, str) or (default is None and not value):
        raise InputError(f"{where}: {name} is {'missing' if value is None else shown(value)}, want text")
    return value


def _number(where: str, raw: Mapping[str, Any], name: str, default: int) -> int:
    value = raw.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{where}: {name} is {shown(value)}, want a whole number")
    return value


def _table(where: str, raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = raw.get(name, {})
    if not isinstance(value, dict):
        raise InputError(f"{where}: {name} is {shown(value)}, want a table")
    return value


def _cells(where: str, raw: Mapping[str, Any]) -> tuple[Cell, ...]:
    """The cells that are written out, then those that the axes span."""
    base = _table(where, raw, "base")
    _require_fields(f"{where}: base", base, ("method", *SETTLED))
    entries = raw.get("cell", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{where}: cell is no list of tables; write [[cell]]")
    entries = [*entries, *_spanned(where, _table(where, raw, "axes"))]
    if not 0 < len(entries) <= MAX_CELLS:
        raise InputError(f"{where}: has {len(entries)} cells, want 1 to {MAX_CELLS}; write [[cell]] or [axes]")
    cells = tuple(_cell(f"{where}: cell {number}", base, entry) for number, entry in enumerate(entries, 1))
    labels = [cell.label for cell in cells]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise InputError(f"{where}: several cells are called {shown(twice[0])}; give each a label of its own")
    return cells


def _spanned(where: str, axes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A cell for each combination of the values of all axes, the last axis running fastest."""
    _require_fields(f"{where}: axes", axes, SETTLED)
    named = [(kind, name, values) for kind in axes for name, values in _table(f"{where}: axes", axes, kind).items()]
    count = 1 if named else 0
    for kind, name, values in named:
        if not isinstance(values, list) or not values:
            raise InputError(f"{where}: axes.{kind}.{name} is {shown(values)}, want a list of values")
        count *= len(values)
    if count > MAX_CELLS:
        raise InputError(f"{where}: the axes span {count} cells, want at most {MAX_CELLS}")
    found = []
    for chosen in product(*(values for _, _, values in named)) if named else ():
        entry: dict[str, Any] = {"label": ", ".join(f"{n}={v}" for (_, n, _), v in zip(named, chosen, strict=True))}
        for (kind, name, _), value in zip(named, chosen, strict=True):
            entry.setdefault(kind, {})[name] = value
        found.append(entry)
    return found


def _cell(where: str, base: Mapping[str, Any], raw: Mapping[str, Any]) -> Cell:
    """A cell with what it inherits; one of another method than the base's inherits no setting."""
    _require_fields(where, raw, ("label", "method", *SETTLED))
    label = _text(where, raw, "label")
    if len(label) > MAX_LABEL or not label.isprintable() or label != label.strip():
        raise InputError(f"{where}: label is {label!r:.80}, want 1 to {MAX_LABEL} printable characters")
    method = _text(where, {**base, **raw}, "method")
    inherited = base if method == base.get("method", method) else {}
    settings, train = ({**_table(where, inherited, kind), **_table(where, raw, kind)} for kind in SETTLED)
    if train and CHECKPOINT in settings:
        raise InputError(f"{where} ({label}): sets {CHECKPOINT}, which `train` gives; leave one of them out")
    return Cell(label, method, settings, train)
