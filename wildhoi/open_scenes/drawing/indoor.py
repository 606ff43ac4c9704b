"""Indoor places: rooms, halls and a studio."""

import numpy as np

from wildhoi.open_scenes.drawing.background_parts import Canvas, as_bytes, court, lay_floor, noise, planks, rough, tiles
from wildhoi.open_scenes.drawing.paint import Colour
from wildhoi.open_scenes.drawing.settings import ScenerySettings

WHITE = np.array([0.93, 0.93, 0.91], np.float32)


def room(canvas: Canvas, settings: ScenerySettings) -> None:
    """Walls with a corner, windows, pictures, shelves or doors above a floor of wood, tiles or carpet."""
    rng, wall = canvas.rng, canvas.pick(settings.walls)
    _wall(canvas, wall, settings)
    for _ in range(int(rng.integers(2, 6))):
        part = (_window, _frame, _shelf, _door, _curtain, _plant, _lamp)[int(rng.integers(7))]
        part(canvas, settings)
    _floor(canvas, settings)
    skirting = canvas.rng.uniform(0.012, 0.03)
    canvas.box(0.0, canvas.horizon - skirting, 1.0, skirting, WHITE * 0.95 if canvas.chance(0.6) else wall * 0.6)
    if canvas.chance(0.5):
        _sofa(canvas, settings)
    _uneven(canvas)


def hall(canvas: Canvas, settings: ScenerySettings) -> None:
    """A gym or a workshop: a high wall in two colours or of bricks, beams, a row of windows, a marked floor."""
    rng, wall = canvas.rng, canvas.pick(settings.walls)
    _wall(canvas, wall, settings)
    level = rng.uniform(0.3, 0.8) * canvas.horizon
    if canvas.chance(0.5):
        canvas.box(0.0, level, 1.0, canvas.horizon - level, canvas.pick(settings.courts))
    if canvas.chance(0.6):
        count, top = int(rng.integers(3, 9)), rng.uniform(0.02, 0.12)
        for i in range(count):
            canvas.box((i + 0.15) / count, top, 0.7 / count, rng.uniform(0.10, 0.14), WHITE * rng.uniform(0.85, 1.05))
    if canvas.chance(0.5):
        first, gap = rng.uniform(0, 0.2), rng.uniform(0.12, 0.3)
        for x in np.arange(first, 1, gap):
            canvas.box(x, 0.0, 0.018, canvas.horizon, wall * 0.7)
    if canvas.chance(0.5):
        _wall_bars(canvas)
    if canvas.chance(0.5):
        for _ in range(int(rng.integers(1, 4))):
            _banner(canvas, settings)
    colour, line = canvas.pick(settings.courts if canvas.chance(0.5) else settings.floors), canvas.pick(settings.walls)
    lay_floor(canvas, court(rng, colour, line) if canvas.chance(0.7) else planks(rng, colour))
    _uneven(canvas)


def studio(canvas: Canvas, settings: ScenerySettings) -> None:
    """A backdrop without a corner, brighter where a lamp falls on it."""
    rng, colour = canvas.rng, canvas.pick(settings.walls)
    canvas.box(0.0, 0.0, 1.0, 1.0, colour)
    canvas.fade(canvas.horizon - 0.1, 1.0, colour, colour * rng.uniform(0.7, 0.95))
    place = np.linspace(0, 1, canvas.side, dtype=np.float32)
    x, y = (place[None] - rng.uniform(0.2, 0.8)), (place[:, None] - rng.uniform(0.1, 0.6))
    canvas.shade((0.55 + 0.6 * np.exp(-(x * x + y * y) / rng.uniform(0.15, 0.5))).astype(np.float32))
    _uneven(canvas)


def _wall(canvas: Canvas, colour: Colour, settings: ScenerySettings) -> None:
    """A plain, panelled, tiled or brick wall, with a corner at times."""
    rng = canvas.rng
    canvas.fade(0.0, canvas.horizon, colour * rng.uniform(0.8, 1.0), colour)
    kind = str(rng.choice(["plain", "panels", "bricks", "tiles"], p=[0.55, 0.2, 0.15, 0.1]))
    if kind == "panels":
        gap = rng.uniform(0.05, 0.14)
        for x in np.arange(rng.uniform(0, gap), 1, gap):
            canvas.line((x, 0.0), (x, canvas.horizon), 0.004, colour * 0.72)
    elif kind != "plain":
        _courses(canvas, canvas.pick(settings.facades) if kind == "bricks" else colour, offset=kind == "bricks")
    if canvas.chance(0.4):
        x = rng.uniform(0.1, 0.9)
        side = canvas.picture[: round(canvas.horizon * canvas.side), round(x * canvas.side) :]
        np.copyto(side, (side * np.float32(rng.uniform(0.72, 0.9))).astype(np.uint8))


def _courses(canvas: Canvas, colour: Colour, *, offset: bool) -> None:
    """Rows of bricks or tiles with joints, each of its own brightness."""
    import cv2

    rng, rows = canvas.rng, int(canvas.rng.integers(12, 30))
    columns = rows if not offset else rows // 2
    top = round(canvas.horizon * canvas.side)
    bright = 1 + (0.10 if offset else 0.03) * rng.standard_normal((rows, columns), np.float32)
    size = (canvas.side, canvas.side)
    field = cv2.resize(bright, size, interpolation=cv2.INTER_NEAREST)[..., None] * colour
    high, wide = canvas.side / rows, canvas.side / columns
    for row in range(rows):
        first, last = round(row * high), round((row + 1) * high)
        if offset and row % 2:
            field[first:last] = np.roll(field[first:last], round(wide / 2), axis=1)
        field[first : first + 1] = colour * 1.2
        joints = (np.arange(columns) * wide + (wide / 2 if offset and row % 2 else 0)).astype(int) % canvas.side
        field[first:last, joints] = colour * 1.2
    canvas.picture[:top] = as_bytes(field[:top])


def _floor(canvas: Canvas, settings: ScenerySettings) -> None:
    """Boards, tiles or carpet."""
    rng, colour = canvas.rng, canvas.pick(settings.floors)
    kind = str(rng.choice(["planks", "tiles", "carpet"], p=[0.5, 0.25, 0.25]))
    if kind == "planks":
        lay_floor(canvas, planks(rng, colour))
    elif kind == "tiles":
        lay_floor(canvas, tiles(rng, colour, colour if canvas.chance(0.5) else canvas.pick(settings.floors)))
    else:
        lay_floor(canvas, rough(rng, colour, 0.05))


def _uneven(canvas: Canvas) -> None:
    """Light that falls unevenly."""
    canvas.shade((1 + 0.06 * noise(canvas.rng, canvas.side, 3, 2)).astype(np.float32))


def _window(canvas: Canvas, settings: ScenerySettings) -> None:
    """A bright window with bars, some green outside."""
    rng = canvas.rng
    width, height = rng.uniform(0.15, 0.4), rng.uniform(0.2, 0.45)
    x, y = rng.uniform(-0.1, 0.9), rng.uniform(0.0, max(0.02, canvas.horizon - height - 0.1))
    frame = WHITE * rng.uniform(0.6, 1.0)
    canvas.box(x - 0.015, y - 0.015, width + 0.03, height + 0.03, frame)
    zenith, low = settings.sky[int(rng.integers(len(settings.sky)))]
    canvas.box(x, y, width, height, np.maximum(zenith, 0.6))
    canvas.box(x, y + height / 2, width, height / 2, np.maximum(low, 0.75))
    if canvas.chance(0.6):
        canvas.box(x, y + 0.7 * height, width, 0.3 * height, canvas.pick(settings.foliage))
    for i in range(1, int(rng.integers(2, 4))):
        canvas.box(x + i * width / 3, y, 0.01, height, frame)
    canvas.box(x, y + height / 2, width, 0.01, frame)


def _frame(canvas: Canvas, settings: ScenerySettings) -> None:
    """A picture on the wall."""
    rng = canvas.rng
    x, y = rng.uniform(0, 0.9), rng.uniform(0.03, max(0.04, canvas.horizon - 0.3))
    width, height = rng.uniform(0.08, 0.25, 2)
    canvas.box(x, y, width, height, canvas.pick(settings.floors) * 0.6)
    canvas.box(x + 0.01, y + 0.01, width - 0.02, height - 0.02, WHITE)
    for _ in range(5):
        u, v, w, h = rng.uniform(0.1, 0.5, 4)
        colour = canvas.pick(settings.courts)
        canvas.box(x + u * width, y + v * height, w * 0.8 * width, h * 0.8 * height, colour)


def _shelf(canvas: Canvas, settings: ScenerySettings) -> None:
    """Boards with books of all colours."""
    rng = canvas.rng
    x, width, rows = rng.uniform(-0.1, 0.8), rng.uniform(0.2, 0.5), int(rng.integers(2, 5))
    height = rng.uniform(0.10, 0.14)
    top = canvas.horizon - rows * height - rng.uniform(0, 0.15)
    wood = canvas.pick(settings.floors)
    canvas.box(x - 0.01, top - 0.01, width + 0.02, rows * height + 0.02, wood * 0.8)
    for row in range(rows):
        canvas.box(x, top + row * height, width, height - 0.014, wood * 0.4)
        place = x
        while place < x + width - 0.03:
            book, tall = rng.uniform(0.008, 0.028), rng.uniform(0.55, 0.95) * (height - 0.014)
            if canvas.chance(0.85):
                canvas.box(place, top + (row + 1.0) * height - 0.014 - tall, book, tall, canvas.pick(settings.courts))
            place += book


def _door(canvas: Canvas, settings: ScenerySettings) -> None:
    """A door in its frame."""
    rng, colour = canvas.rng, canvas.pick(settings.floors if canvas.chance(0.5) else settings.walls)
    x, width, height = rng.uniform(-0.05, 0.85), rng.uniform(0.16, 0.22), rng.uniform(0.4, 0.6)
    top = canvas.horizon - height
    canvas.box(x - 0.015, top - 0.015, width + 0.03, height + 0.015, WHITE)
    canvas.box(x, top, width, height, colour)
    for share in (0.08, 0.54):
        canvas.box(x + 0.2 * width, top + share * height, 0.6 * width, 0.38 * height, colour * 0.88)
    canvas.disc(x + 0.9 * width, top + 0.5 * height, 0.008, 0.008, WHITE * 0.7)


def _curtain(canvas: Canvas, settings: ScenerySettings) -> None:
    """Folds of cloth from the ceiling down."""
    rng, colour = canvas.rng, canvas.pick(settings.walls if canvas.chance(0.5) else settings.courts)
    x, width = rng.uniform(-0.1, 0.9), rng.uniform(0.1, 0.3)
    for place in np.arange(x, x + width, 0.006):
        fold = 0.85 + 0.15 * np.sin(place * 160 + 2 * np.sin(place * 37))
        canvas.box(float(place), 0.0, 0.008, canvas.horizon - 0.02, colour * np.float32(fold))


def _plant(canvas: Canvas, settings: ScenerySettings) -> None:
    """Leaves above a pot."""
    rng = canvas.rng
    x, size = rng.uniform(0.05, 0.95), rng.uniform(0.06, 0.12)
    canvas.box(x - 0.3 * size, canvas.horizon - size, 0.6 * size, size, canvas.pick(settings.facades))
    for _ in range(30):
        away, up = rng.normal(0, 0.6, 2) * size
        leaf = canvas.pick(settings.foliage)
        canvas.disc(x + away, canvas.horizon - 2 * size + up, 0.25 * size, 0.12 * size, leaf)


def _lamp(canvas: Canvas, settings: ScenerySettings) -> None:
    """A lamp that stands, its shade bright."""
    rng = canvas.rng
    x, y, size = rng.uniform(0.05, 0.95), rng.uniform(0.1, 0.5) * canvas.horizon, rng.uniform(0.04, 0.08)
    canvas.box(x - 0.004, y, 0.008, canvas.horizon - y, canvas.pick(settings.floors) * 0.4)
    corners = [(x - 0.6 * size, y - size), (x + 0.6 * size, y - size), (x + size, y + size), (x - size, y + size)]
    canvas.polygon(np.array(corners), np.array([1.0, 0.93, 0.75], np.float32))


def _sofa(canvas: Canvas, settings: ScenerySettings) -> None:
    """A couch or a chest before the wall."""
    rng, colour = canvas.rng, canvas.pick(settings.walls if canvas.chance(0.4) else settings.courts)
    x, width, height = rng.uniform(-0.2, 0.9), rng.uniform(0.25, 0.5), rng.uniform(0.08, 0.16)
    foot = canvas.horizon + rng.uniform(0.02, 0.06)
    canvas.box(x, foot - 2 * height, width, height, colour * 0.85)
    canvas.box(x, foot - 1.2 * height, width, height, colour)
    canvas.box(x - 0.03, foot - 1.5 * height, 0.05, 1.4 * height, colour * 0.92)
    canvas.box(x + width - 0.02, foot - 1.5 * height, 0.05, 1.4 * height, colour * 0.92)
    canvas.box(x, foot - 0.2 * height, width, 0.2 * height, colour * 0.5)


def _wall_bars(canvas: Canvas) -> None:
    """Wooden bars to climb."""
    rng, wood = canvas.rng, np.array([0.72, 0.55, 0.34], np.float32)
    x, width, top = rng.uniform(-0.1, 0.9), rng.uniform(0.12, 0.3), rng.uniform(0.1, 0.4) * canvas.horizon
    for y in np.arange(top, canvas.horizon, 0.022):
        canvas.box(x, float(y), width, 0.007, wood)
    for side in (x, x + width):
        canvas.box(side, top, 0.012, canvas.horizon - top, wood * 0.85)


def _banner(canvas: Canvas, settings: ScenerySettings) -> None:
    """A board with bands of colour."""
    rng = canvas.rng
    x, y, width, height = rng.uniform(0, 0.9), rng.uniform(0.1, 0.7) * canvas.horizon, *rng.uniform(0.06, 0.25, 2)
    height = min(height, 0.15)
    canvas.box(x, y, width, height, canvas.pick(settings.courts))
    canvas.box(x, y + 0.35 * height, width, 0.3 * height, canvas.pick(settings.walls))
