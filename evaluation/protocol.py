"""Protocols: every choice behind a number, as data with an id and a hash."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from evaluation.sampling import STREAM
from wildhoi.errors import InputError, shown
from wildhoi.files import canonical_json, read_toml, sha256_text
from wildhoi.objects import find_category
from wildhoi.schema import BodyKind

FOLDER = Path(__file__).parent / "protocols"
MAX_BYTES = 2**20
"""Of a protocol, which has a few thousand."""
CHOICES = {
    "frame": ("smpl",),
    "alignment": ("none", "combined", "human"),
    "articulation": ("ignored", "posed"),
    "sphere_rotation": ("zero", "excluded"),
    "body_model": ("smplx", "smplh", "open"),
    "stream": (STREAM,),
    "failures": ("counted",),
}
RANGES: dict[str, tuple[type, float, float]] = {
    "points": (int, 1, 1_000_000),
    "surface_points": (int, 1, 1_000_000),
    "f_score_points": (int, 1, 1_000_000),
    "seed": (int, 0, 2**63 - 1),
    "min_visible": (float, 0, 1),
    "images_per_object": (int, 0, 1_000_000),
    "contact_distance": (float, 0, 100),
    "f_score_threshold": (float, 0, 100),
}
SYMMETRY = {"kind", "axis", "across", "order", "flip", "point", "point_keypoints"}
UNITS = ("cm", "degrees", "diameter")
NUMBERS = {int: "a whole number", float: "a number"}
LATER: dict[str, int] = {"images_per_object": 0, "default": True}
"""Fields that came after scores were published, and what their absence means: as such they are in no hash."""
TEXTS = {"id": r"[\w.-]+@\d+", "title": ".*", "image_list": r"[\w.-]*"}


@dataclass(frozen=True)
class Recall:
    """A recall curve: the share of all annotated images with `metric` below each threshold.

    `unit` is the metric's own, or "diameter" for fractions of the template's largest extent.
    """

    metric: str
    thresholds: tuple[float, ...]
    unit: str


@dataclass(frozen=True)
class Protocol:
    """The choices of a protocol.

    `points` are drawn per surface for the Chamfer distance; `surface_points` of them, spread over the surface, measure
    the distance to the other one; the F-score draws `f_score_points` of its own. `image_list` names the list of image
    ids (in the data folder) that is official. Of the images that it and `min_visible` leave, the first
    `images_per_object` of every object by id are scored; 0: all. `symmetry` overrides single entries of the category
    table. `templates` maps an object to its template's hash, where it is fixed. A protocol that is no `default` must be
    asked for by name.
    """

    id: str
    title: str
    datasets: tuple[str, ...]
    body_model: BodyKind
    frame: str
    alignment: str
    points: int
    surface_points: int
    seed: int
    stream: str
    articulation: str
    sphere_rotation: str
    min_visible: float
    image_list: str
    contact_distance: float
    f_score_points: int
    f_score_threshold: float
    failures: str
    metrics: tuple[str, ...]
    headline: tuple[str, ...]
    recalls: Mapping[str, Recall]
    symmetry: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    caveat: str = ""
    images_per_object: int = 0
    default: bool = True

    @cached_property
    def hash(self) -> str:
        """Sha256 of the canonical JSON of all fields but those of `LATER` that say nothing new."""
        content = {name: value for name, value in asdict(self).items() if name not in LATER or value != LATER[name]}
        return sha256_text(canonical_json(content))


def protocol_ids() -> list[str]:
    """The protocols that ship, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def is_shipped(protocol: Protocol) -> bool:
    """Whether a protocol is, in every choice, the one that ships under its id."""
    return protocol.id in protocol_ids() and load_protocol(protocol.id).hash == protocol.hash


def load_protocol(name: str | Path) -> Protocol:
    """Read a protocol by id, or from a TOML file.

    Raises:
        InputError: there is none of that name, or a field is missing, unknown or has a forbidden value.
    """
    path = Path(name) if str(name).endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise InputError(f"protocol {str(name)!r} is unknown, want one of {', '.join(protocol_ids())} or a .toml file")
    return _parse(path, read_toml(path, MAX_BYTES))


def _parse(path: Path, raw: dict[str, Any]) -> Protocol:
    names = {f.name for f in fields(Protocol)}
    optional = {"symmetry", "templates", "caveat", *LATER}
    if unknown := sorted(set(raw) - names):
        raise InputError(f"{path}: unknown fields {', '.join(unknown)}; a protocol has {', '.join(sorted(names))}")
    if missing := sorted(names - optional - set(raw)):
        raise InputError(f"{path}: missing fields {', '.join(missing)}")
    raw = {**LATER, **raw}
    for name, allowed in CHOICES.items():
        if raw[name] not in allowed:
            raise InputError(f"{path}: {name} is {shown(raw[name])}, want one of {', '.join(allowed)}")
    _check_values(path, raw)
    if path.parent != FOLDER:  # those that ship are checked by the tests: the metrics take a while to import
        _check_references(path, raw)
    _check_selections(path, raw)
    recalls = {
        name: Recall(entry["metric"], tuple(map(float, entry["thresholds"])), entry["unit"])
        for name, entry in raw.pop("recalls").items()
    }
    tuples = {name: tuple(raw[name]) for name in ("datasets", "metrics", "headline")}
    numbers = {name: kind(raw[name]) for name, (kind, _, _) in RANGES.items()}
    return Protocol(**{**raw, **numbers, **tuples, "recalls": recalls})


def _check_values(path: Path, raw: dict[str, Any]) -> None:
    """Refuse values of the wrong type or range."""
    for name, (kind, low, high) in RANGES.items():
        value = raw[name]
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (whole or (kind is float and isinstance(value, float))) or not low <= value <= high:
            raise InputError(f"{path}: {name} is {shown(value)}, want {NUMBERS[kind]} from {low:g} to {high:g}")
    for name, pattern in TEXTS.items():
        if not isinstance(raw[name], str) or not re.fullmatch(pattern, raw[name]):
            raise InputError(f"{path}: {name} is {shown(raw[name])}, want text like {pattern}")
    if not isinstance(raw["default"], bool):
        raise InputError(f"{path}: default is {shown(raw['default'])}, want true or false")
    for name in ("datasets", "metrics", "headline"):
        if not isinstance(raw[name], list) or not all(isinstance(item, str) for item in raw[name]):
            raise InputError(f"{path}: {name} is {shown(raw[name])}, want a list of names")
    for name in ("recalls", "symmetry", "templates"):
        if not isinstance(raw.get(name, {}), dict):
            raise InputError(f"{path}: {name} is {shown(raw[name])}, want a table")
    try:
        canonical_json(raw)
    except (TypeError, ValueError):
        raise InputError(f"{path}: holds a date, or a number that is not finite; its hash has neither") from None
    if raw["surface_points"] > raw["points"]:
        raise InputError(f"{path}: surface_points is {raw['surface_points']}, want at most points, {raw['points']}")


def _check_selections(path: Path, raw: dict[str, Any]) -> None:
    """Refuse a headline or a recall of a metric that the protocol does not compute."""
    if lost := [name for name in raw["headline"] if name not in raw["metrics"]]:
        raise InputError(f"{path}: headline names {', '.join(lost)}, want some of its metrics")
    for name, entry in raw["recalls"].items():
        _check_recall(f"{path}: recalls.{name}", entry, raw["metrics"])


def _check_references(path: Path, raw: dict[str, Any]) -> None:
    """Refuse names of metrics, objects and symmetry entries that do not exist."""
    from evaluation.metrics import METRICS

    if lost := [name for name in raw["metrics"] if name not in METRICS]:
        raise InputError(f"{path}: metrics are {', '.join(lost)}, want some of {', '.join(METRICS)}")
    for name, entry in raw.get("symmetry", {}).items():
        try:
            find_category(name)
        except InputError as error:
            raise InputError(f"{path}: symmetry: {error}") from None
        if not isinstance(entry, dict) or not set(entry) <= SYMMETRY:
            raise InputError(
                f"{path}: symmetry.{name} is {shown(entry)}, want a table of {', '.join(sorted(SYMMETRY))}"
            )


def _check_recall(where: str, entry: Any, metrics: list[str]) -> None:
    if not isinstance(entry, dict) or set(entry) != {f.name for f in fields(Recall)}:
        raise InputError(f"{where}: want exactly {', '.join(f.name for f in fields(Recall))}")
    if entry["metric"] not in metrics or entry["unit"] not in UNITS:
        wanted = f"one of its metrics in {' or '.join(UNITS)}"
        raise InputError(f"{where}: metric {shown(entry['metric'])} in unit {shown(entry['unit'])}, want {wanted}")
    steps = entry["thresholds"]
    if not isinstance(steps, list) or not steps or not all(type(s) in (int, float) and 0 < s < 1e9 for s in steps):
        raise InputError(f"{where}: thresholds are {shown(steps)}, want a list of positive numbers")


def protocol_for(dataset: str) -> Protocol:
    """The newest protocol that names a data set and is not to be asked for by name.

    Raises:
        InputError: none does.
    """
    fitting = [p for p in map(load_protocol, protocol_ids()) if p.default and dataset in p.datasets]
    if not fitting:
        raise InputError(f"no protocol is made for data set {dataset!r}; name one of {', '.join(protocol_ids())}")
    return max(fitting, key=lambda p: int(p.id.rsplit("@", 1)[1]))
