"""Protocols: every choice behind a number, as data with an id and a hash."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from wildhoi.errors import InputError
from wildhoi.files import canonical_json, sha256_text
from wildhoi.schema import BodyKind

FOLDER = Path(__file__).parent / "protocols"
CHOICES = {
    "frame": ("smpl",),
    "alignment": ("none", "combined", "human"),
    "articulation": ("ignored", "posed"),
    "sphere_rotation": ("zero", "excluded"),
    "body_model": ("smplx", "smplh", "open"),
}


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

    `points` are drawn per surface for the Chamfer distance, `surface_points` of them measure the distance to the
    other surface. `image_list` names the list of image ids (in the data folder) that is official. `symmetry`
    overrides single entries of the category table. `templates` maps an object to its template's hash, where it is
    fixed.
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
    f_score_threshold: float
    failures: str
    metrics: tuple[str, ...]
    headline: tuple[str, ...]
    recalls: Mapping[str, Recall]
    symmetry: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    caveat: str = ""

    @cached_property
    def hash(self) -> str:
        """Sha256 of the canonical JSON of all fields."""
        return sha256_text(canonical_json(asdict(self)))


def protocol_ids() -> list[str]:
    """The protocols that ship, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_protocol(name: str | Path) -> Protocol:
    """Read a protocol by id, or from a TOML file.

    Raises:
        InputError: there is none of that name, or a field is missing, unknown or has a forbidden value.
    """
    path = Path(name) if str(name).endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise InputError(f"protocol {str(name)!r} is unknown, want one of {', '.join(protocol_ids())} or a .toml file")
    try:
        raw = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from None
    return _parse(path, raw)


def _parse(path: Path, raw: dict[str, Any]) -> Protocol:
    names = {f.name for f in fields(Protocol)}
    optional = {"symmetry", "templates", "caveat"}
    if unknown := sorted(set(raw) - names):
        raise InputError(f"{path}: unknown fields {', '.join(unknown)}; a protocol has {', '.join(sorted(names))}")
    if missing := sorted(names - optional - set(raw)):
        raise InputError(f"{path}: missing fields {', '.join(missing)}")
    for name, allowed in CHOICES.items():
        if raw[name] not in allowed:
            raise InputError(f"{path}: {name} is {raw[name]!r}, want one of {', '.join(allowed)}")
    recalls = {
        name: Recall(entry["metric"], tuple(map(float, entry["thresholds"])), entry["unit"])
        for name, entry in raw.pop("recalls").items()
    }
    tuples = {name: tuple(raw[name]) for name in ("datasets", "metrics", "headline")}
    return Protocol(**{**raw, **tuples, "recalls": recalls})


def protocol_for(dataset: str) -> Protocol:
    """The newest protocol that names a data set.

    Raises:
        InputError: none does.
    """
    fitting = [p for p in map(load_protocol, protocol_ids()) if dataset in p.datasets]
    if not fitting:
        raise InputError(f"no protocol is made for data set {dataset!r}; name one of {', '.join(protocol_ids())}")
    return max(fitting, key=lambda p: int(p.id.rsplit("@", 1)[1]))
