"""Charts as SVG, drawn once for any screen: colours and what is hidden are the stylesheet's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

STEPS = (1, 2, 5)
POINTS = 80
"""Of a curve at most: more is not seen."""
WIDTH, HEIGHT = 520, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 10, 40
TAIL = 0.01
"""Share of the images at either end that a chart may leave outside."""


@dataclass(frozen=True)
class Tick:
    """A line across a chart: where, in its units of length, and what is written there."""

    place: float
    text: str


@dataclass(frozen=True)
class Curve:
    """A method's line: its points as SVG has them, and the share of images at the end."""

    points: str
    end: float


@dataclass(frozen=True)
class Chart:
    """Curves over a logarithmic axis and their ticks; lengths are of a box `WIDTH` by `HEIGHT`."""

    curves: tuple[Curve, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def cumulative(errors: Sequence[Float[np.ndarray, " n"]]) -> Chart | None:
    """How many images have at most an error, percent of all: a curve for each method; None where nothing was measured.

    Args:
        errors: of each method by image; NaN, an image without a number, is in no share.
    """
    known = np.concatenate([values[np.isfinite(values) & (values > 0)] for values in errors] or [np.zeros(0)])
    if not len(known):
        return None
    low, high = _rounded_out(*np.quantile(known, [TAIL, 1 - TAIL]).tolist())
    up = tuple(Tick(_height(share), f"{share:g} %") for share in (0.0, 25.0, 50.0, 75.0, 100.0))
    across = tuple(Tick(_place(value, low, high), f"{value:g}") for value in _between(low, high))
    return Chart(tuple(_curve(values, low, high) for values in errors), across, up)


def _curve(values: Float[np.ndarray, " n"], low: float, high: float) -> Curve:
    finite = np.sort(values[np.isfinite(values)])
    count = max(1, len(values))
    places = np.geomspace(low, high, POINTS).tolist()
    shares = (100 * np.searchsorted(finite, places, side="right") / count).tolist()
    kept = [0, *(i for i in range(1, POINTS - 1) if not shares[i - 1] == shares[i] == shares[i + 1]), POINTS - 1]
    points = " ".join(f"{_place(places[i], low, high):.1f},{_height(shares[i]):.1f}" for i in kept)
    return Curve(points, float(shares[-1]))


def _place(value: float, low: float, high: float) -> float:
    share = np.log(value / low) / np.log(high / low)
    return float(LEFT + share * (WIDTH - LEFT - RIGHT))


def _height(share: float) -> float:
    return float(HEIGHT - BOTTOM - share / 100 * (HEIGHT - TOP - BOTTOM))


def _rounded_out(low: float, high: float) -> tuple[float, float]:
    """The next of 1, 2 and 5 times a power of ten on either side, which are not the same."""
    under = max(value for value in _steps(low) if value <= low)
    above = min(value for value in _steps(high) if value >= high)
    return under, above if above > under else 2 * under


def _between(low: float, high: float) -> list[float]:
    """The 1, 2 and 5 of an axis; fewer where it is long."""
    found = sorted({value for end in np.geomspace(low, high, 40) for value in _steps(float(end))})
    inside = [value for value in found if low * 0.999 <= value <= high * 1.001]
    return inside if len(inside) <= 10 else [value for value in inside if f"{value:e}"[0] == "1"]


def _steps(value: float) -> list[float]:
    power = np.floor(np.log10(value))
    return [float(f"{step}e{int(power + shift)}") for shift in (-1, 0, 1) for step in STEPS]


@dataclass(frozen=True)
class Scale:
    """Where a value stands between the ends of its column, 0 to 1, on a logarithmic axis where it spans much."""

    low: float
    high: float
    logarithmic: bool

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high one."""
        if self.high <= self.low:
            return 0.5
        if self.logarithmic:
            return float(np.clip(np.log(max(value, self.low) / self.low) / np.log(self.high / self.low), 0, 1))
        return float(np.clip((value - self.low) / (self.high - self.low), 0, 1))


FAR = 20.0
"""Times the low end from which on an axis is logarithmic."""


def scale_of(values: Sequence[float | None]) -> Scale:
    """The scale that holds all values there are."""
    known = [value for value in values if value is not None and np.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    return Scale(low, high, low > 0 and high / low > FAR)
