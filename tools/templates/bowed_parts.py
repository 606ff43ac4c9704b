"""Parts of a violin or cello of any size, in a frame with the front (strings) at +y and the scroll at +z."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tools.templates.mesh import Part, mirrored
from tools.templates.primitives import curve, line, loft, ovals, revolve, sweep, tube

# half outline over body length: width, height; lower bout, waist, upper bout, meeting in the corners
LOWER = [(0, 0), (0.06, 0.002), (0.13, 0.018), (0.21, 0.058), (0.27, 0.125), (0.29, 0.205), (0.278, 0.28)]
LOWER += [(0.252, 0.33), (0.264, 0.362)]
WAIST = [(0.264, 0.362), (0.212, 0.386), (0.172, 0.435), (0.158, 0.5), (0.165, 0.565), (0.192, 0.614), (0.236, 0.643)]
UPPER = [(0.236, 0.643), (0.222, 0.672), (0.229, 0.73), (0.2345, 0.80), (0.215, 0.88), (0.165, 0.945), (0.09, 0.985)]
UPPER += [(0.04, 0.995), (0, 1)]
HUB = 0.48
"""Height over body length of the point towards which the plates' rings shrink."""
TAIL_TOP = 0.29
"""Height over body length of the tailpiece's upper end."""
BACK_RINGS, TOP_RINGS = (0.1, 0.3, 0.465, 0.63, 0.795, 0.94, 1.0), (0.1, 0.36, 0.68, 0.93, 1.0)


@dataclass(frozen=True)
class Size:
    """Proportions of one instrument, metres.

    Args:
        body: length of the body.
        rib: height of the ribs between the plates.
        arch: rise of each plate.
        edge: thickness of a plate's edge, also its overhang.
        bridge: height of the bridge above the top plate; it stands at `stop` of the body's length.
        neck: from the body to the nut.
        head: from the nut to the top of the scroll.
        nut: half the width of the fingerboard at the nut.
        string: radius of a string.
        points: points of the outline.
        stop: height of the bridge over the body's length.
        wide: factor on the outline's width.
    """

    body: float
    rib: float
    arch: float
    edge: float
    bridge: float
    neck: float
    head: float
    nut: float
    string: float
    points: int
    stop: float = 0.45
    wide: float = 1.0

    @property
    def rim(self) -> float:
        """Height y of the top plate's edge."""
        return self.rib / 2 + self.edge

    @property
    def crest(self) -> float:
        """Height y of the bridge's top."""
        return self.rim + self.arch + self.bridge

    @property
    def tail(self) -> float:
        """Height y of the tailpiece's upper end."""
        return self.rim + self.arch + 0.42 * self.bridge

    @property
    def held(self) -> float:
        """Height z from which the neck is thin enough to be held."""
        return self.body + 2.5 * self.nut

    def board(self, z: float) -> float:
        """Height y of the fingerboard's upper side: level with the rim at the nut, rising towards the bridge."""
        top, low = self.body + self.neck, self.stop * self.body
        return self.rim + (self.arch + 0.78 * self.bridge) * (top - z) / (top - low)


def outline(size: Size) -> Float[np.ndarray, "n 2"]:
    """Closed outline (x, z) of the plates, mirror symmetric, without repeated points."""
    share = {"lower": 0.42, "waist": 0.23, "upper": 0.35}
    half = size.points // 2
    pieces = [
        curve(knots, round(half * share[name]) + 1)[:-1]
        for name, knots in (("lower", LOWER), ("waist", WAIST), ("upper", UPPER))
    ]
    right = np.concatenate([*pieces, [UPPER[-1]]])
    right = right * size.body * np.array([size.wide, 1])
    return np.concatenate([right, right[-2:0:-1] * np.array([-1.0, 1])])


def body(size: Size) -> Part:
    """Body in one piece: back plate, ribs set in below the overhang, top plate."""
    rim, hub = outline(size), np.array([0, HUB * size.body])
    soft = rim
    for _ in range(size.points // 4):
        soft = (np.roll(soft, 1, axis=0) + 2 * soft + np.roll(soft, -1, axis=0)) / 4

    def plate(scales: tuple[float, ...], side: int) -> list[Float[np.ndarray, "n 3"]]:
        # the corners fade inwards, or each would leave a crease up to the hub
        rings = [hub + s * (soft - hub + s**8 * (rim - soft)) for s in scales]
        lifts = [size.rim + size.arch * (0.5 + 0.5 * np.cos(np.pi * s)) ** 0.75 for s in scales]
        return [np.insert(ring, 1, side * lift, axis=1) for ring, lift in zip(rings, lifts, strict=True)]

    inset = hub + 0.975 * (rim - hub)
    edge, step, row = (
        np.insert(ring, 1, y, axis=1) for ring, y in ((rim, size.rib / 2), (inset, size.rib / 2), (inset, size.rib / 6))
    )
    under = np.array([1.0, -1, 1])
    ribs = [edge * under, step * under, row * under, row, step, edge]
    return loft("body", np.array([*plate(BACK_RINGS, -1), *ribs, *plate(TOP_RINGS, 1)[::-1]]))


def on_top(plate: Part, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 3"]:
    """Lift points (x, z) onto the upper side of a body."""
    corners = plate.vertices[plate.faces]
    corners = corners[corners[..., 1].min(axis=1) > plate.vertices[:, 1].max() / 2]
    a, b, c = corners[..., [0, 2]].swapaxes(0, 1)
    ab, ac, ap = b - a, c - a, points[:, None] - a
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    area = np.where(np.abs(area) < 1e-12, np.nan, area)
    u = (ap[..., 0] * ac[:, 1] - ap[..., 1] * ac[:, 0]) / area
    v = (ab[:, 0] * ap[..., 1] - ab[:, 1] * ap[..., 0]) / area
    inside = np.nan_to_num(np.minimum(np.minimum(u, v), 1 - u - v), nan=-np.inf)
    best, row = inside.argmax(axis=1), np.arange(len(points))
    y = corners[..., 1]
    height = y[best, 0] + u[row, best] * (y[best, 1] - y[best, 0]) + v[row, best] * (y[best, 2] - y[best, 0])
    return np.stack([points[:, 0], height, points[:, 1]], axis=1)


def f_hole(size: Size, plate: Part) -> Part:
    """Left f-hole, drawn as a thin raised band on the top plate."""
    knots = [(0.078, 0.075), (0.064, 0.080), (0.064, 0.099), (0.084, 0.107), (0.102, 0.090), (0.112, 0.045)]
    knots += [(0.121, 0.0), (0.131, -0.045), (0.143, -0.090), (0.162, -0.105), (0.179, -0.094), (0.178, -0.074)]
    knots += [(0.163, -0.072)]
    path = on_top(plate, size.body * (curve(knots, 21) + np.array([0, size.stop])))
    wide = 0.0045 + 0.0035 * np.sin(np.linspace(0, np.pi, 21)) ** 2
    wide[[0, 1, -2, -1]] = 0.0085
    band = ovals(np.full(21, 0.0035) * size.body, wide * size.body, 4)
    return sweep("f-hole left", path, band, (0, 1, 0))


def neck(size: Size) -> list[Part]:
    """Neck with its heel, and the fingerboard above it reaching over the body."""
    start, top = 0.985 * size.body, size.body + size.neck
    thick = 0.5 * size.nut
    heel = start + size.nut * np.array([0, 0.7, 1.4, 2.2, 3.2])
    z = np.concatenate([heel, np.linspace(heel[-1], top, max(8, round(size.neck / 0.0155)))[1:]])
    high = np.array([size.board(at) - 0.4 * thick for at in z])
    grip = np.interp(z, [heel[-1], top], [1.6, 1.35]) * size.nut
    drop = np.interp(z, heel, [1, 0.72, 0.36, 0.12, 0])
    low = (1 - drop) * (high - grip) - drop * size.rim
    wide = np.interp(z, [start, heel[-1], top], [1.25, 1.15, 1.0]) * size.nut
    turn = np.arange(8) * 2 * np.pi / 8
    rings = [
        np.stack([w * np.cos(turn), (a + b) / 2 + (b - a) / 2 * np.sin(turn), np.full(8, at)], axis=1)
        for at, a, b, w in zip(z, low, high, wide, strict=True)
    ]
    end = 0.61 * size.body
    held = np.linspace(size.held, top + 0.02 * size.neck, max(8, round(size.neck / 0.014)))
    rows = np.concatenate([np.linspace(end, held[0], 6)[:-1], held])
    along = np.stack([0 * rows, [size.board(at) - thick / 2 for at in rows], rows], axis=1)
    width = np.interp(rows, [end, top], [1.78, 1.0]) * size.nut
    return [loft("neck", np.array(rings)), sweep("fingerboard", along, ovals(width, thick / 2, 8, 3.5), (1, 0, 0))]


def head(size: Size) -> list[Part]:
    """Pegbox running into the scroll, and four pegs."""
    top, unit = size.body + size.neck, size.head
    turn = np.linspace(0, 2.9 * np.pi, 28)
    radius = 0.175 * unit * (1 - 0.86 * (turn / turn[-1]) ** 0.8)
    eye = np.array([0, size.board(top) - 0.175 * unit, top + 0.815 * unit])
    spiral = eye + np.stack([0 * turn, -radius * np.cos(turn), radius * np.sin(turn)], axis=1)
    box = curve(
        [
            (0, size.board(top) - 0.6 * size.nut, top),
            (0, spiral[0, 1] * 0.45 + size.board(top) * 0.48, top + 0.4 * unit),
            spiral[0],
        ],
        8,
    )
    path = np.concatenate([box[:-1], spiral])
    deep = np.interp(np.arange(len(path)), [0, 7, 18, len(path)], [0.105, 0.070, 0.050, 0.026]) * unit
    wide = np.interp(np.arange(len(path)), [0, 7, 15, len(path)], [1.0, 0.72, 0.62, 1.15]) * size.nut
    pegs = []
    for k in range(4):
        side, at = (1 if k % 2 == 0 else -1), np.array([0, *path[1 + k + (k > 1), 1:]])
        peg = [(-1.25, 0.17), (1.3, 0.24), (1.9, 0.55), (2.4, 0.72), (2.9, 0.5), (3.0, 0.2)]
        pegs.append(revolve(f"peg {k + 1}", [(side * a * size.nut, r * size.nut) for a, r in peg], "x", 6, at))
    return [sweep("scroll", path, ovals(wide, deep, 8, 3.5), (1, 0, 0)), *pegs]


def bridge(size: Size) -> Part:
    """Bridge on two feet, waisted, its top an arch."""
    half = [(0.42, 0.16), (0.45, 0.0), (1.0, 0.0), (0.98, 0.14), (0.72, 0.28), (0.78, 0.48), (0.98, 0.62), (0.93, 0.8)]
    half += [(0.5, 0.94)]
    right, foot = [(0.0, 0.30), *half, (0.0, 1.0)], size.rim + 0.82 * size.arch
    edge = np.array(right + [(-a, b) for a, b in half[::-1]]) * [1.75 * size.nut, size.crest - foot] + [0, foot]
    middle, thick = size.stop * size.body, 0.006 * size.body
    return loft("bridge", np.array([np.insert(edge, 2, middle + side * thick, axis=1) for side in (-1, 1)]))


def tail(size: Size) -> list[Part]:
    """Tailpiece, the gut that holds it, and the end button."""
    low = size.rim + 0.55 * size.arch
    path = line((0, low, 0.03 * size.body), (0, size.tail, TAIL_TOP * size.body), 8)
    section = ovals(np.linspace(0.95, 1.75, 8) * size.nut, 0.35 * size.nut, 10, 3)
    gut = [(0, low, 0.03 * size.body + 0.01), (0, size.rim + 0.004, -0.001), (0, 0, -0.014 * size.body)]
    button = [(-0.03, 0.010), (-0.03, 0.019), (-0.012, 0.019), (-0.006, 0.012), (0.01, 0.012)]
    return [
        sweep("tailpiece", path, section, (1, 0, 0)),
        tube("tailgut", gut, size.string * 2.5, 6),
        revolve("button", [(a * size.body, r * size.body) for a, r in button], "z", 10),
    ]


def strings(size: Size) -> list[Part]:
    """Four strings from the tailpiece over the bridge to the nut, with closer rows where they are bowed."""
    top, bowed = size.body + size.neck, 0.19
    share = np.concatenate([np.linspace(0, bowed, 9)[:-1], np.linspace(bowed, 1, 5)])[:, None]
    made = []
    for k, side in enumerate((1.0, 1 / 3, -1 / 3, -1.0), start=1):
        tail_end = (side * 1.2 * size.nut, size.tail + 0.3 * size.nut, (TAIL_TOP - 0.02) * size.body)
        crest = (side * 1.45 * size.nut, size.crest - 0.06 * size.bridge * side**2, size.stop * size.body)
        nut = (side * 0.72 * size.nut, size.board(top) + size.string, top)
        path = np.concatenate([line(tail_end, crest, 3)[:-1], crest + share * np.subtract(nut, crest)])
        made.append(tube(f"string {k}", path, size.string, 3))
    return made


def instrument(size: Size) -> list[Part]:
    """All parts the two instruments share."""
    case = body(size)
    left = f_hole(size, case)
    return [
        case,
        *neck(size),
        *head(size),
        bridge(size),
        *tail(size),
        *strings(size),
        left,
        mirrored(left, "f-hole right"),
    ]
