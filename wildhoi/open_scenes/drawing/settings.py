"""What looks are drawn from: colours, shares and ranges of the open set, read from `looks.toml`."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float32

from wildhoi.open_scenes.version import FOLDER

PATH = FOLDER / "looks.toml"

Range = tuple[float, float]
Shares = Mapping[str, float]
Palette = Float32[np.ndarray, "_ 3"]


@dataclass(frozen=True, eq=False)
class WardrobeSettings:
    """Shares of persons who have or wear a thing; lengths in metres."""

    sleeves: Shares
    legs: Shares
    pattern: Shares
    neck: Shares
    hair: Shares
    footwear: Shares
    sleeves_end: Mapping[str, Range]
    legs_end: Mapping[str, Range]
    lengths: Mapping[str, Range]
    cap: float
    beard: float
    gloves: float
    jacket: float
    tucked: float
    belt: float
    print: float
    trim: float
    side_stripe: float
    socks: float
    wristband: float
    one_colour: float
    period: Range
    jitter: float
    folds: Range
    cloth_gloss: Range
    skin_gloss: Range


@dataclass(frozen=True, eq=False)
class LightSettings:
    """Strengths of lights, and the lamp's height (degrees) and temperature (kelvin)."""

    elevation: Range
    key: Range
    sky: Range
    bounce: Range
    kelvin: Range
    behind: float
    contact_shade: Range


@dataclass(frozen=True, eq=False)
class SensorSettings:
    """What lens, sensor and coding do to a picture; lengths in pixels of a picture 256 pixels wide."""

    exposure: Range
    contrast: Range
    saturation: Range
    balance: float
    vignette: Range
    read_noise: Range
    shot_noise: Range
    defocus: Range
    motion: float
    motion_length: Range
    quality: Range


@dataclass(frozen=True, eq=False)
class ScenerySettings:
    """Places and their colours, sRGB 0 to 1; `sky` holds pairs of zenith and horizon."""

    places: Shares
    horizon: Range
    roll: Range
    blur: Range
    walls: Palette
    floors: Palette
    grass: Palette
    courts: Palette
    paving: Palette
    sky: Float32[np.ndarray, "_ 2 3"]
    foliage: Palette
    facades: Palette


@dataclass(frozen=True)
class Region:
    """A part of a thing that has one colour: the vertices that pass every condition that is not None."""

    palette: str
    gloss: float
    chance: float = 1.0
    components: tuple[tuple[int, int], ...] | None = None
    groups: tuple[str, ...] | None = None
    along: tuple[str, float, float] | None = None
    facing: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class LookSettings:
    """All that looks are drawn from; palettes in sRGB, 0 to 1."""

    palettes: Mapping[str, Palette]
    wardrobe: WardrobeSettings
    light: LightSettings
    sensor: SensorSettings
    scenery: ScenerySettings
    things: Mapping[str, tuple[Region, ...]]


@lru_cache(maxsize=1)
def load_look_settings() -> LookSettings:
    """Read the settings that ship with the package, once per process."""
    table = tomllib.loads(PATH.read_text())
    return LookSettings(
        palettes={name: _colours(entry) for name, entry in table["palettes"].items()},
        wardrobe=_fill(WardrobeSettings, table["wardrobe"]),
        light=_fill(LightSettings, table["light"]),
        sensor=_fill(SensorSettings, table["sensor"]),
        scenery=_fill(ScenerySettings, table["scenery"]),
        things={name: tuple(Region(**_frozen(region)) for region in entry) for name, entry in table["things"].items()},
    )


def _fill(kind: Any, table: Mapping[str, Any]) -> Any:
    """Make a dataclass of a table: hex colours become arrays, lists of numbers ranges."""
    return kind(**{field.name: _value(table[field.name]) for field in fields(kind)})


def _value(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {name: _value(part) for name, part in entry.items()}
    if not isinstance(entry, list):
        return entry
    first = entry[0][0] if isinstance(entry[0], list) else entry[0]
    return _colours(entry) if isinstance(first, str) else tuple(map(float, entry))


def _colours(entry: Sequence[Any]) -> Float32[np.ndarray, "... 3"]:
    """Hex codes, nested as they are, as numbers from 0 to 1."""
    rows = [
        _colours(part) if isinstance(part, list) else np.frombuffer(bytes.fromhex(part[1:]), "u1") / 255
        for part in entry
    ]
    return np.asarray(rows, np.float32)


def _frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as tuples, those inside them too."""

    def freeze(value: Any) -> Any:
        return tuple(map(freeze, value)) if isinstance(value, list) else value

    return {name: freeze(value) for name, value in table.items()}
