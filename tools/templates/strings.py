"""Violin and cello: one family of shapes in two sizes. Builder's frame: front (strings) +y, scroll +z."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tools.templates.mesh import Part, mirrored, moved
from tools.templates.primitives import curve, line, loft, oval, revolve, sweep, tube
from tools.templates.template import Keypoint, Region, Template

# half outline over body length: width, height; lower bout, waist, upper bout, meeting in the corners
LOWER = [
    (0, 0),
    (0.06, 0.002),
    (0.13, 0.018),
    (0.21, 0.058),
    (0.27, 0.125),
    (0.29, 0.205),
    (0.278, 0.28),
    (0.252, 0.33),
]
LOWER += [(0.264, 0.362)]
WAIST = [(0.264, 0.362), (0.212, 0.386), (0.172, 0.435), (0.158, 0.5), (0.165, 0.565), (0.192, 0.614), (0.236, 0.643)]
UPPER = [(0.236, 0.643), (0.222, 0.672), (0.229, 0.73), (0.2345, 0.80), (0.215, 0.88), (0.165, 0.945), (0.09, 0.985)]
UPPER += [(0.04, 0.995), (0, 1)]
HUB = 0.48
"""Height over body length of the point towards which the plates' rings shrink."""
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
    knots += [
        (0.121, 0.0),
        (0.131, -0.045),
        (0.143, -0.090),
        (0.162, -0.105),
        (0.179, -0.094),
        (0.178, -0.074),
        (0.163, -0.072),
    ]
    path = on_top(plate, size.body * (curve(knots, 21) + [0, size.stop]))
    wide = 0.0045 + 0.0035 * np.sin(np.linspace(0, np.pi, 21)) ** 2
    wide[[0, 1, -2, -1]] = 0.0085
    band = np.stack([np.full(21, 0.0035), wide], axis=1)[:, None] * oval(1, 1, 4) * size.body
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
    held = np.linspace(_held(size), top + 0.02 * size.neck, max(8, round(size.neck / 0.014)))
    rows = np.concatenate([np.linspace(end, held[0], 6)[:-1], held])
    along = np.stack([0 * rows, [size.board(at) - thick / 2 for at in rows], rows], axis=1)
    width = np.interp(rows, [end, top], [1.78, 1.0]) * size.nut
    section = np.stack([width, np.full(len(rows), thick / 2)], axis=1)[:, None] * oval(1, 1, 8, 3.5)
    return [loft("neck", np.array(rings)), sweep("fingerboard", along, section, (1, 0, 0))]


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
    section = np.stack([wide, deep], axis=1)[:, None] * oval(1, 1, 8, 3.5)
    pegs = []
    for k in range(4):
        side, at = (1 if k % 2 == 0 else -1), np.array([0, *path[1 + k + (k > 1), 1:]])
        peg = [(-1.25, 0.17), (1.3, 0.24), (1.9, 0.55), (2.4, 0.72), (2.9, 0.5), (3.0, 0.2)]
        pegs.append(revolve(f"peg {k + 1}", [(side * a * size.nut, r * size.nut) for a, r in peg], "x", 6, at))
    return [sweep("scroll", path, section, (1, 0, 0)), *pegs]


def fittings(size: Size) -> list[Part]:
    """Bridge, tailpiece, end button and four strings."""
    z, foot = size.stop * size.body, size.rim + 0.82 * size.arch
    tall, wide = size.crest - foot, 1.75 * size.nut
    half = [
        (0.42, 0.16),
        (0.45, 0.0),
        (1.0, 0.0),
        (0.98, 0.14),
        (0.72, 0.28),
        (0.78, 0.48),
        (0.98, 0.62),
        (0.93, 0.8),
        (0.5, 0.94),
    ]
    right = [(0.0, 0.30), *half, (0.0, 1.0)]
    edge = np.array(right + [(-a, b) for a, b in half[::-1]]) * [wide, tall] + [0, foot]
    thick = 0.006 * size.body
    bridge = loft("bridge", np.array([np.insert(edge, 2, z + side * thick, axis=1) for side in (-1, 1)]))
    low, high = 0.03 * size.body, 0.29 * size.body
    heights = [size.rim + 0.55 * size.arch, size.rim + size.arch + 0.42 * size.bridge]
    path = line((0, heights[0], low), (0, heights[1], high), 8)
    section = np.stack([np.linspace(0.95, 1.75, 8) * size.nut, np.full(8, 0.35 * size.nut)], axis=1)[:, None]
    tailpiece = sweep("tailpiece", path, section * oval(1, 1, 10, 3), (1, 0, 0))
    saddle = tube(
        "tailgut",
        [(0, heights[0], low + 0.01), (0, size.rim + 0.004, -0.001), (0, 0, -0.014 * size.body)],
        size.string * 2.5,
        6,
    )
    button = [(-0.03, 0.010), (-0.03, 0.019), (-0.012, 0.019), (-0.006, 0.012), (0.01, 0.012)]
    parts = [bridge, tailpiece, saddle, revolve("button", [(a * size.body, r * size.body) for a, r in button], "z", 10)]
    top = size.body + size.neck
    for k, share in enumerate((1.0, 1 / 3, -1 / 3, -1.0), start=1):
        stops = [(share * 1.2 * size.nut, heights[1] + 0.3 * size.nut, high - 0.02 * size.body)]
        stops += [
            (share * 1.45 * size.nut, size.crest - 0.06 * tall * share**2, z),
            (share * 0.72 * size.nut, size.board(top) + size.string, top),
        ]
        bowed = 0.19
        share_of = np.concatenate([np.linspace(0, bowed, 9)[:-1], np.linspace(bowed, 1, 5)])[:, None]
        path = np.concatenate([line(stops[0], stops[1], 3)[:-1], stops[1] + share_of * np.subtract(stops[2], stops[1])])
        parts.append(tube(f"string {k}", path, size.string, 3))
    return parts


def instrument(size: Size) -> list[Part]:
    """All parts the two instruments share."""
    case = body(size)
    left = f_hole(size, case)
    return [case, *neck(size), *head(size), *fittings(size), left, mirrored(left, "f-hole right")]


def keypoints(size: Size, end: Keypoint, left: int = 1) -> list[Keypoint]:
    """Fourteen keypoints: pairs 4-5, 10-11, 12-13 (counted from 1) are left and right, the others on the mid-plane.

    `left` is the sign of x, in the builder's frame, of what the template calls left.
    """
    rim = {"upper": (0.2345, 0.80), "waist": (0.158, 0.5), "lower": (0.29, 0.205)}
    pairs = {
        f"{side} {name}": Keypoint(
            f"{side} {name} bout" if name != "waist" else f"{side} waist",
            "body",
            (sign * x * size.wide * size.body, 0, z * size.body),
        )
        for name, (x, z) in rim.items()
        for side, sign in (("left", left), ("right", -left))
    }
    top, low = size.body + size.neck, size.stop * size.body
    middle = size.rim + size.arch
    return [
        Keypoint("scroll top", "scroll", (0, size.board(top), top + 1.1 * size.head), 1e-3),
        Keypoint("nut", "fingerboard", (0, size.board(top), top + 0.02 * size.neck), 1e-3),
        Keypoint("neck heel", "neck", (0, -size.rim, 0.985 * size.body), 1e-3),
        pairs["left upper"],
        pairs["right upper"],
        Keypoint("fingerboard end", "fingerboard", (0, size.board(0.61 * size.body), 0.61 * size.body), 1e-3),
        Keypoint("bridge top", "bridge", (0, size.crest, low), 3e-3),
        Keypoint("tailpiece top", "tailpiece", (0, middle + 0.42 * size.bridge, 0.3 * size.body), 1e-3),
        Keypoint("back middle", "body", (0, -size.rim - 2 * size.arch, HUB * size.body), 1e-3),
        pairs["left waist"],
        pairs["right waist"],
        pairs["left lower"],
        pairs["right lower"],
        end,
    ]


def _held(size: Size) -> float:
    """Height from which the neck is thin enough to be held."""
    return size.body + 2.5 * size.nut


def _hold(size: Size) -> list[Region]:
    """Where the hand holds the neck, clear of the heel."""
    above = (_held(size) + 0.001, 2.0)
    return [Region("neck", z=above), Region("fingerboard", z=above)]


def violin() -> Template:
    """Violin with chin rest and shoulder rest: strings +y, scroll +z, the player's left (and the chin rest) +x."""
    size = Size(
        body=0.358,
        rib=0.031,
        arch=0.0145,
        edge=0.004,
        bridge=0.033,
        neck=0.134,
        head=0.109,
        nut=0.0122,
        string=0.0008,
        points=60,
    )
    angle = np.arange(24) * 2 * np.pi / 24
    shape = np.stack([0.046 * np.cos(angle) * (1 + 0.10 * np.sin(angle)), 0.033 * np.sin(angle)], axis=1)
    centre, top = np.array([0.052, 0.043]), size.rim + 0.019
    rings = [(0.55, -0.010), (0.95, -0.004), (1.0, 0.001), (0.93, 0.003), (0.7, -0.001), (0.45, -0.003), (0.2, -0.004)]
    cup = [np.insert(centre + s * shape, 1, top + y, axis=1) for s, y in rings]
    rest = loft("chin rest", np.array(cup))
    clamp = tube(
        "chin rest clamp",
        [
            (0.040, top - 0.008, 0.014),
            (0.040, size.rim, 0.0),
            (0.040, -size.rim - 0.004, -0.001),
            (0.040, -size.rim - 0.005, 0.012),
        ],
        0.0045,
        8,
    )
    low = -size.rim - size.arch
    bow = curve(
        [
            (-0.1055, low - 0.004, 0.072),
            (-0.06, low - 0.020, 0.083),
            (0, low - 0.0225, 0.086),
            (0.06, low - 0.020, 0.089),
            (0.1055, low - 0.004, 0.098),
        ],
        14,
    )
    pad = sweep("shoulder rest", bow, oval(0.0055, 0.016, 8, 2.8), (0, 1, 0))
    feet = [
        tube(
            f"foot {name}",
            [(x, low - 0.006, z), (1.06 * x, low + 0.006, z), (1.02 * x, -size.rim + 0.006, z)],
            (0.006, 0.006, 0.0045),
            8,
            (0, 0, 1),
        )
        for name, x, z in (("left", 0.1022, 0.098), ("right", -0.1022, 0.072))
    ]
    return Template(
        meshes={"template": [*instrument(size), rest, clamp, pad, *feet]},
        keypoints=keypoints(size, Keypoint("end button", "button", (0, 0, -0.03 * size.body), 1e-3)),
        contact={
            "chin_rest": [Region("chin rest")],
            "shoulder_rest": [Region("shoulder rest")],
            "neck": _hold(size),
            "back_edge": [Region("body", y=(-1, -0.01), z=(-1, 0.06))],
            "strings": [Region(f"string {k}", z=(0.46 * size.body, 0.61 * size.body)) for k in range(1, 5)],
        },
        extents=(0.2292, 0.1303, 0.6120),
        mean_centred="yz",
    )


def cello() -> Template:
    """Cello: strings -y, scroll +z, the player's left +x, so the whole is turned from the builder's frame."""
    size = Size(
        body=0.757,
        rib=0.116,
        arch=0.024,
        edge=0.006,
        bridge=0.083,
        neck=0.275,
        head=0.200,
        nut=0.0165,
        string=0.0017,
        points=54,
        wide=1.078,
    )
    pin = [(-0.175, 0.0015), (-0.168, 0.0045), *((z, 0.0045) for z in np.linspace(-0.15, 0.02, 10))]
    parts = [*instrument(size), revolve("endpin", pin, "z", 6)]
    side = 0.045
    return Template(
        meshes={"template": parts},
        keypoints=keypoints(size, Keypoint("endpin tip", "endpin", (0, 0, -0.18), 1e-3), left=-1),
        contact={
            "neck": _hold(size),
            "body_back": [Region("body", y=(-1, -0.066), x=(-0.08, 0.08), z=(0.55, 1))],
            "body_left_side": [Region("body", y=(-side, side), x=(-1, -0.1), z=(0.29, 0.43))],
            "body_right_side": [Region("body", y=(-side, side), x=(0.1, 1), z=(0.29, 0.43))],
            "strings": [Region(f"string {k}", z=(0.46 * size.body, 0.61 * size.body)) for k in range(1, 5)],
            "endpin": [Region("endpin")],
        },
        extents=(0.4733, 0.2591, 1.4022),
        mean_centred="yz",
        turned=np.diag([-1.0, -1, 1]),
    )
