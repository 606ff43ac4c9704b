"""Outdoor places: streets, parks and playing fields."""

from itertools import product

import numpy as np
from jaxtyping import Float

from wildhoi.open_scenes.drawing.background_parts import TILE, Canvas, as_bytes, court, lay_floor, noise, rough, tiles
from wildhoi.open_scenes.drawing.paint import Colour
from wildhoi.open_scenes.drawing.settings import ScenerySettings

WHITE = np.array([0.95, 0.95, 0.93], np.float32)
GLASS = np.array([0.35, 0.42, 0.50], np.float32)


def street(canvas: Canvas, settings: ScenerySettings) -> None:
    """Facades or a distant skyline above a pavement."""
    rng, haze = canvas.rng, _sky(canvas, settings)
    if canvas.chance(0.5):
        _skyline(canvas, settings, haze)
    if canvas.chance(0.75):
        _facades(canvas, settings)
    for _ in range(int(rng.integers(0, 3))):
        _tree(canvas, settings)
    colour = canvas.pick(settings.paving)
    plan = tiles(rng, colour, colour * 0.96) if canvas.chance(0.35) else rough(rng, colour, 0.05)
    if canvas.chance(0.4):
        plan[:, TILE // 2 : TILE // 2 + 5] = WHITE * 0.9
    lay_floor(canvas, plan)
    if canvas.chance(0.35):
        _cars(canvas, settings)
    if canvas.chance(0.3):
        _fence(canvas, settings)


def park(canvas: Canvas, settings: ScenerySettings) -> None:
    """Hills, trees and hedges above grass, earth or sand."""
    rng, haze = canvas.rng, _sky(canvas, settings)
    for step in range(int(rng.integers(0, 4)), 0, -1):
        far = np.float32(0.3 + 0.2 * step)
        _ridge(canvas, 0.04 + 0.07 * step, canvas.pick(settings.foliage) * (1 - far) + haze * far)
    if canvas.chance(0.8):
        _tree_line(canvas, settings)
    for _ in range(int(rng.integers(0, 4))):
        _tree(canvas, settings)
    colour = canvas.pick(settings.paving if canvas.chance(0.25) else settings.grass)
    lay_floor(canvas, rough(rng, colour, rng.uniform(0.06, 0.12), int(rng.choice([8, 16, 32]))))
    if canvas.chance(0.35):
        _path(canvas, settings)
    if canvas.chance(0.25):
        _fence(canvas, settings)


def ground(canvas: Canvas, settings: ScenerySettings) -> None:
    """A playing field with lines, trees or stands behind it."""
    rng, _ = canvas.rng, _sky(canvas, settings)
    if canvas.chance(0.5):
        _stands(canvas, settings)
    else:
        _tree_line(canvas, settings)
    if canvas.chance(0.6):
        _fence(canvas, settings)
    if canvas.chance(0.5):
        height = rng.uniform(0.03, 0.08)
        for x in np.arange(rng.uniform(-0.2, 0), 1, 0.25):
            canvas.box(float(x), canvas.horizon - height, 0.25, height, canvas.pick(settings.courts))
    colour = canvas.pick(settings.courts if canvas.chance(0.6) else settings.grass)
    lay_floor(canvas, court(rng, colour, WHITE))


def _sky(canvas: Canvas, settings: ScenerySettings) -> Colour:
    """A gradient with clouds; returns the colour at the horizon, which far things take on."""
    rng = canvas.rng
    zenith, haze = settings.sky[int(rng.integers(len(settings.sky)))]
    canvas.fade(0.0, canvas.horizon, zenith, haze)
    if canvas.chance(0.7):
        top = round(canvas.horizon * canvas.side)
        puffs = noise(rng, canvas.side, int(rng.integers(2, 5)), 4)
        puffs = puffs[: 2 * top : 2] if 2 * top <= canvas.side else puffs[:top]  # clouds are wider than high
        cover = 0.8 * np.clip(puffs - np.float32(rng.uniform(-0.2, 0.8)), 0, 1)[..., None]
        sky = canvas.picture[:top] / np.float32(255)
        canvas.picture[:top] = as_bytes(sky + cover * (WHITE - sky))
    return np.asarray(haze)


def _outline(canvas: Canvas, height: float, cells: int) -> Float[np.ndarray, "n 2"]:
    """A ragged line above the horizon, closed below it."""
    x = np.linspace(-0.02, 1.02, 90)
    knots = canvas.rng.normal(0, 1, cells + 2)
    rough_part = 0.25 * canvas.rng.normal(0, 1, 45)
    y = np.interp(x, np.linspace(-0.02, 1.02, cells + 2), knots) + np.interp(
        x, np.linspace(-0.02, 1.02, 45), rough_part
    )
    line = canvas.horizon - height * (1 + 0.4 * y)
    return np.concatenate([np.stack([x, line], 1), [[1.1, canvas.horizon + 0.02], [-0.1, canvas.horizon + 0.02]]])


def _ridge(canvas: Canvas, height: float, colour: Colour) -> None:
    canvas.polygon(_outline(canvas, height, 5), colour)


def _tree_line(canvas: Canvas, settings: ScenerySettings) -> None:
    """A wood's edge or a hedge: many crowns side by side, darker below."""
    rng, height = canvas.rng, canvas.rng.uniform(0.05, 0.28)
    base = canvas.pick(settings.foliage)
    canvas.polygon(_outline(canvas, 0.8 * height, 8), base * 0.7)
    for up in np.linspace(1.1, 0.15, 110):  # from the top down, so that lower crowns stand before higher ones
        x, size = rng.uniform(-0.05, 1.05), rng.uniform(0.07, 0.2) * height
        colour = base * np.float32(0.5 + 0.5 * up + 0.12 * rng.normal())
        canvas.disc(x, canvas.horizon - up * height, 1.2 * size, size, colour)


def _tree(canvas: Canvas, settings: ScenerySettings) -> None:
    """A trunk and a crown of leaves, lit from above."""
    rng = canvas.rng
    x, size, foot = rng.uniform(-0.05, 1.05), rng.uniform(0.08, 0.22), canvas.horizon + 0.01
    trunk = np.array([0.28, 0.21, 0.15], np.float32)
    canvas.box(x - 0.08 * size, foot - 2 * size, 0.16 * size, 2 * size, trunk)
    leaf = canvas.pick(settings.foliage)
    for _ in range(150):
        away, up = size * np.sqrt(rng.random()) * np.array([np.cos(a := rng.uniform(0, 2 * np.pi)), 0.9 * np.sin(a)])
        bright = max(np.float32(0.95 + 0.45 * up / size + 0.2 * rng.normal()), np.float32(0.35))
        canvas.disc(x + away, foot - 2.3 * size - up, 0.13 * size, 0.09 * size, leaf * bright)


def _skyline(canvas: Canvas, settings: ScenerySettings, haze: Colour) -> None:
    """Towers far away, pale."""
    rng, x = canvas.rng, -0.05
    while x < 1:
        width, height = rng.uniform(0.04, 0.13), rng.uniform(0.05, 0.4) * canvas.horizon
        colour = 0.45 * canvas.pick(settings.facades) + 0.55 * haze
        canvas.box(x, canvas.horizon - height, width, height, colour)
        for y in np.arange(canvas.horizon - height + 0.01, canvas.horizon, 0.022):
            canvas.box(x + 0.1 * width, float(y), 0.8 * width, 0.008, colour * 0.88)
        x += width * rng.uniform(0.8, 1.3)


def _facades(canvas: Canvas, settings: ScenerySettings) -> None:
    """Houses side by side with rows of windows and shop fronts."""
    rng, x = canvas.rng, canvas.rng.uniform(-0.3, 0)
    while x < 1:
        width, height = rng.uniform(0.25, 0.6), rng.uniform(0.5, 1.2) * canvas.horizon
        colour, top = canvas.pick(settings.facades), canvas.horizon - height
        canvas.box(x, top, width, height, colour)
        canvas.box(x, top, width, 0.015, colour * 0.75)
        columns, rows = max(2, int(width / rng.uniform(0.07, 0.13))), max(1, int(height / rng.uniform(0.12, 0.18)))
        wide, high = width / columns, height / rows
        for i, j in product(range(columns), range(rows)):
            glass = GLASS * np.float32(rng.uniform(0.5, 1.4)) if canvas.chance(0.9) else WHITE * 0.9
            left, upper = x + (i + 0.22) * wide, top + (j + 0.2) * high
            canvas.box(left - 0.006, upper - 0.006, 0.56 * wide + 0.012, 0.6 * high + 0.012, WHITE * 0.8)
            canvas.box(left, upper, 0.56 * wide, 0.6 * high, glass)
        x += width if canvas.chance(0.75) else width + rng.uniform(0.05, 0.3)


def _cars(canvas: Canvas, settings: ScenerySettings) -> None:
    """Parked cars, seen from the side and out of focus."""
    rng = canvas.rng
    for x in np.arange(rng.uniform(-0.3, 0.3), 1, 0.5):
        colour, length = canvas.pick(settings.courts), rng.uniform(0.28, 0.4)
        foot, high = canvas.horizon + 0.035, 0.28 * length
        roof = [(0.15, 0.55), (0.3, 1.0), (0.7, 1.0), (0.88, 0.55)]
        canvas.polygon(np.array([(x + u * length, foot - v * high) for u, v in roof]), GLASS * 0.6)
        canvas.box(float(x), foot - 0.6 * high, length, 0.45 * high, colour)
        for share in (0.2, 0.8):
            canvas.disc(x + share * length, foot - 0.15 * high, 0.2 * high, 0.2 * high, GLASS * 0.25)


def _fence(canvas: Canvas, settings: ScenerySettings) -> None:
    """Posts with rails or a mesh of wire."""
    rng, colour = canvas.rng, canvas.pick(settings.facades) * 0.7
    height, gap = rng.uniform(0.08, 0.3), rng.uniform(0.1, 0.25)
    top = canvas.horizon - height
    for x in np.arange(rng.uniform(-gap, 0), 1, gap):
        canvas.box(float(x), top, 0.012, height + 0.01, colour)
    for y in np.linspace(top + 0.01, canvas.horizon - 0.01, int(rng.integers(2, 7))):
        canvas.box(0.0, float(y), 1.0, 0.006, colour)


def _path(canvas: Canvas, settings: ScenerySettings) -> None:
    """A way that narrows to the horizon."""
    rng, colour = canvas.rng, canvas.pick(settings.paving)
    far, near, width = rng.uniform(0, 1), rng.uniform(-0.5, 1.5), rng.uniform(0.15, 0.5)
    corners = [(far - 0.01, canvas.horizon), (far + 0.01, canvas.horizon), (near + width, 1.0), (near - width, 1.0)]
    canvas.polygon(np.array(corners), colour)


def _stands(canvas: Canvas, settings: ScenerySettings) -> None:
    """Rows of seats, some of them taken."""
    rng, colour = canvas.rng, canvas.pick(settings.courts)
    rows, height = int(rng.integers(4, 9)), rng.uniform(0.15, 0.35)
    for row in range(rows):
        y = canvas.horizon - height * (1 - row / rows)
        canvas.box(0.0, y, 1.0, height / rows, colour * np.float32(0.6 + 0.4 * (row % 2)))
        for x in rng.uniform(0, 1, 25):
            canvas.disc(float(x), y + 0.4 * height / rows, 0.010, 0.012, canvas.pick(settings.walls) * 0.8)
