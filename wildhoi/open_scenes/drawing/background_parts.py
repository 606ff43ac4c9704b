"""What backgrounds are made of: noise, shapes, and floors laid in perspective."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

from wildhoi.open_scenes.drawing.paint import Colour, pick

TILE = 256  # pixels along either side of a floor's plan
JITTER = 0.04


@dataclass(frozen=True, eq=False)
class Canvas:
    """A square picture (sRGB bytes) that shapes are drawn on; places on it are shares of its side, x right, y down."""

    picture: UInt8[np.ndarray, "s s 3"]
    rng: np.random.Generator
    horizon: float
    """Height of the horizon: where walls meet the floor, or the sky the ground."""

    @property
    def side(self) -> int:
        """Pixels along either side."""
        return len(self.picture)

    def box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Fill an upright rectangle, cut off at the canvas's edge."""
        left, top, right, bottom = (round(part * self.side) for part in (x, y, x + width, y + height))
        self.picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = as_bytes(colour)

    def disc(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Fill an ellipse about its centre."""
        import cv2

        centre, axes = (
            (round(x * self.side), round(y * self.side)),
            (round(width * self.side), round(height * self.side)),
        )
        cv2.ellipse(self.picture, centre, axes, 0, 0, 360, _ink(colour), -1, cv2.LINE_AA)

    def polygon(self, points: Float[np.ndarray, "n 2"], colour: Colour) -> None:
        """Fill a polygon."""
        import cv2

        corners = np.round(points * self.side * 16).astype(np.int32)
        cv2.fillPoly(self.picture, [corners], _ink(colour), cv2.LINE_AA, 4)

    def line(self, start: tuple[float, float], end: tuple[float, float], width: float, colour: Colour) -> None:
        """Draw a line of some width, a share of the side."""
        import cv2

        first, last = ((round(x * self.side), round(y * self.side)) for x, y in (start, end))
        cv2.line(self.picture, first, last, _ink(colour), max(1, round(width * self.side)), cv2.LINE_AA)

    def fade(self, top: float, bottom: float, first: Colour, last: Colour) -> None:
        """Fill the rows from `top` to `bottom` with a gradient."""
        start, stop = max(0, round(top * self.side)), min(self.side, round(bottom * self.side))
        share = np.linspace(0, 1, max(0, stop - start), dtype=np.float32)[:, None]
        self.picture[start:stop] = as_bytes(first + share * (last - first))[:, None]

    def shade(self, factor: Float32[np.ndarray, "s s"]) -> None:
        """Multiply the brightness of the whole canvas."""
        np.copyto(self.picture, np.clip(self.picture * factor[..., None], 0, 255).astype(np.uint8))

    def chance(self, share: float) -> bool:
        """Whether something happens that does so with this share."""
        return bool(self.rng.random() < share)

    def pick(self, palette: Float32[np.ndarray, "n 3"]) -> Colour:
        """A colour of a palette, a little moved."""
        return pick(self.rng, palette, JITTER)


def as_bytes(colour: Float32[np.ndarray, "... 3"]) -> UInt8[np.ndarray, "... 3"]:
    """Bytes of an sRGB colour."""
    return np.asarray(np.clip(colour, 0, 1) * 255, np.uint8)


def _ink(colour: Colour) -> list[int]:
    """Bytes of one sRGB colour, as OpenCV takes it; by far faster than `as_bytes` for one."""
    return [min(max(int(255 * part), 0), 255) for part in colour.tolist()]


def noise(rng: np.random.Generator, size: int, cells: int, octaves: int = 3) -> Float32[np.ndarray, "s s"]:
    """Smooth noise of about unit size: grids of random numbers, each twice as fine and half as strong as the last."""
    import cv2

    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        count = min(cells * 2**octave, size)
        grid = rng.standard_normal((count, count), np.float32)
        total += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) * np.float32(0.6**octave)
    return total


def lay_floor(canvas: Canvas, plan: Float32[np.ndarray, "t t 3"]) -> None:
    """Lay a repeating plan on the ground below the horizon, seen in perspective and turned; far away it fades.

    A pixel (u, v) sees the ground at ((u - centre) / (v - horizon), 1 / (v - horizon)) times the camera's height.
    """
    import cv2

    side, rng = canvas.side, canvas.rng
    top = round(canvas.horizon * side)
    # the eye level lies above the floor's far edge: a wall stands there, or the ground ends in haze
    level = top - rng.uniform(0.06, 0.25) * side
    scale, angle, centre = rng.uniform(0.25, 0.5) * TILE, rng.uniform(-0.6, 0.6), rng.uniform(-0.1, 1.1) * side
    cos, sin = np.cos(angle), np.sin(angle)
    depth = 1.2 * side
    lateral, ahead = np.array([1, 0, -centre]), np.array([0, 0, depth])
    shift = rng.uniform(0, TILE, 2)
    below = np.array([0, 1, -level])
    warp = np.stack([scale * (cos * lateral + sin * ahead) + shift[0] * below,
                     scale * (cos * ahead - sin * lateral) + shift[1] * below, below])  # fmt: skip
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpPerspective(plan, warp, (side, side), flags=flags, borderMode=cv2.BORDER_WRAP)
    near = np.clip((np.arange(side) - level) / (0.35 * side), 0, 1).astype(np.float32)[:, None, None]
    haze = plan.mean(axis=(0, 1)) * np.float32(rng.uniform(0.85, 1.1))
    canvas.picture[top:] = as_bytes(haze + near * (seen - haze))[top:]


def planks(rng: np.random.Generator, colour: Colour) -> Float32[np.ndarray, "t t 3"]:
    """Boards side by side, each of its own brightness, with dark joints."""
    count = int(rng.choice([8, 16]))
    width = TILE // count
    brightness = 1 + 0.10 * rng.standard_normal((1, count), np.float32)
    plan = np.repeat(np.repeat(brightness, width, axis=1), TILE, axis=0)
    plan[:, ::width] *= 0.6
    for column in range(count):
        plan[int(rng.integers(TILE)), column * width : (column + 1) * width] *= 0.6
    return np.asarray(plan[..., None] * colour, np.float32)


def tiles(rng: np.random.Generator, first: Colour, second: Colour) -> Float32[np.ndarray, "t t 3"]:
    """Square tiles, chequered where the colours differ, with joints."""
    width = TILE // int(rng.choice([2, 4, 8]))
    rows = np.arange(TILE) // width
    odd = ((rows[:, None] + rows) % 2)[..., None].astype(np.float32)
    plan = first + odd * (second - first)
    plan[::width], plan[:, ::width] = 0.7 * plan[::width], 0.7 * plan[:, ::width]
    return np.asarray(plan, np.float32)


def rough(rng: np.random.Generator, colour: Colour, strength: float, cells: int = 16) -> Float32[np.ndarray, "t t 3"]:
    """Grass, asphalt, sand or carpet: a colour with noise."""
    return np.asarray((1 + np.float32(strength) * noise(rng, TILE, cells, 4))[..., None] * colour, np.float32)


def court(rng: np.random.Generator, colour: Colour, line: Colour) -> Float32[np.ndarray, "t t 3"]:
    """A playing field with lines and perhaps a circle."""
    import cv2

    plan = rough(rng, colour, 0.03)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(8, TILE - 8))
        (plan if rng.random() < 0.5 else plan.swapaxes(0, 1))[place : place + 3] = line
    if rng.random() < 0.5:
        centre = tuple(int(c) for c in rng.integers(60, TILE - 60, 2))
        cv2.circle(plan, centre, int(rng.integers(25, 55)), line.tolist(), 3, cv2.LINE_AA)
    return plan
