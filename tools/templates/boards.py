"""Skateboard and tennis racket: both map onto themselves by a half turn about y."""

import numpy as np
from jaxtyping import Float

from tools.templates.mesh import Part, mirrored, moved
from tools.templates.primitives import curve, line, loft, oval, ovals, revolve, sweep, tube
from tools.templates.template import Keypoint, Region, Template

DECK_HALF_LENGTH, DECK_HALF_WIDTH, DECK_THICKNESS, DECK_TOP = 0.38545, 0.09785, 0.011, 0.070


def skateboard() -> Template:
    """Skateboard: y up, nose at +z, left edge at +x."""
    front = [part for side in (1, -1) for part in _wheel(side)] + _truck()
    turn = np.diag([-1.0, 1, -1])
    back = [moved(part, rotation=turn, name=f"{part.name} back") for part in front]
    corner, length = float(_rows()[-6]), DECK_HALF_LENGTH
    left = [(1, corner), (1, 0), (1, -corner)]
    outline = [(0, 1.01 * length), *left, (0, -1.01 * length), *((-side, -z) for side, z in left)]
    names = ["nose tip", "left front corner", "left middle", "left back corner", "tail tip"]
    names += ["right back corner", "right middle", "right front corner"]
    return Template(
        meshes={"template": [_deck(), *front, *back]},
        keypoints=[
            Keypoint(name, "deck", (side * float(_half_width(np.array(float(z)))), _middle(z), z))
            for name, (side, z) in zip(names, outline, strict=True)
        ],
        contact={
            "deck_front": [Region("deck", y=(0.0645, 1), z=(0.09, 0.23))],
            "deck_middle": [Region("deck", y=(0.0645, 1), z=(-0.09, 0.09))],
            "deck_back": [Region("deck", y=(0.0645, 1), z=(-0.23, -0.09))],
            "nose": [Region("deck", z=(0.23, 1))],
            "tail": [Region("deck", z=(-1, -0.23))],
            "left_edge": [Region("deck", x=(0.085, 1), y=(0.0620, 1), z=(-0.23, 0.23))],
            "right_edge": [Region("deck", x=(-1, -0.085), y=(0.0620, 1), z=(-0.23, 0.23))],
        },
        extents=(0.1957, 0.1052, 0.7709),
        mean_centred="y",
    )


def _lift(z: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Rise of the deck towards nose and tail at position z along it."""
    return np.asarray(0.0352 * np.clip((np.abs(z) - 0.225) / (DECK_HALF_LENGTH - 0.225), 0, 1) ** 1.5)


def _half_width(z: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Half the deck's width at position z: straight sides, round ends a little short of a point."""
    beyond = np.clip((np.abs(z) - 0.266) / (DECK_HALF_LENGTH - 0.266), 0, 0.9985)
    return np.asarray(DECK_HALF_WIDTH * (1 - beyond**2.2) ** (1 / 2.2))


def _rows() -> Float[np.ndarray, "n"]:
    """Positions of the deck's sections: even, then closer where the ends turn round."""
    end = [0.280, 0.294, 0.308, 0.322, 0.336, 0.349, 0.360, 0.3685, 0.3755, 0.381, 0.3844, DECK_HALF_LENGTH]
    return np.concatenate([-np.array(end[::-1]), np.linspace(-0.266, 0.266, 39), end])


def _middle(z: float) -> float:
    """Height of the rim at position z, halfway between top and bottom."""
    return DECK_TOP - DECK_THICKNESS / 2 + float(_lift(np.array(float(z))))


def _deck() -> Part:
    """Slightly dished deck with kicks, lofted from tail to nose: fine on top, coarser below, round at the rim."""
    z, half = _rows(), DECK_THICKNESS / 2
    across = np.concatenate([np.linspace(-0.96, 0.96, 15), [1], np.linspace(0.96, -0.96, 9), [-1]])
    level = np.concatenate([np.ones(15), [0], -np.ones(9), [0]])
    x = _half_width(z)[:, None] * across
    dish = 0.004 * (x**2 - _half_width(z)[:, None] ** 2) / DECK_HALF_WIDTH**2
    y = DECK_TOP - half + level * half + dish + _lift(z)[:, None]
    return loft("deck", np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], axis=2))


def _wheel(side: int) -> list[Part]:
    """Wheel with its axle nut, at the front truck."""
    profile = [(-0.016, 0.010), (-0.016, 0.018), (-0.012, 0.0262), (0.012, 0.0262), (0.016, 0.018), (0.013, 0.010)]
    nut = [(0.010, 0.0045), (0.0185, 0.0045)]
    centre, name = (side * 0.079, 0.0262, 0.178), "left" if side > 0 else "right"
    if side < 0:
        profile, nut = [(-a, r) for a, r in profile], [(-a, r) for a, r in nut]
    return [revolve(f"wheel {name}", profile, "x", 16, centre), revolve(f"nut {name}", nut, "x", 8, centre)]


def _truck() -> list[Part]:
    """Front truck: base plate, hanger, axle and kingpin."""
    plate = sweep("base plate", line((0, 0.0565, 0.142), (0, 0.0565, 0.216), 5), oval(0.028, 0.0035, 12, 6), (1, 0, 0))
    body = [(-0.060, 0.0055), (-0.052, 0.009), (-0.03, 0.012), (0, 0.0165), (0.03, 0.012), (0.052, 0.009)]
    hanger = revolve("hanger", [*body, (0.060, 0.0055)], "x", 12, (0, 0.0285, 0.178))
    axle = revolve("axle", [(-0.072, 0.004), (0.072, 0.004)], "x", 8, (0, 0.0262, 0.178))
    bushing = tube("bushing", [(0, 0.030, 0.172), (0, 0.044, 0.163), (0, 0.056, 0.155)], (0.011, 0.014, 0.012), 12)
    pivot = tube("pivot", [(0, 0.030, 0.182), (0, 0.0560, 0.200)], (0.008, 0.011), 10)
    return [plate, hanger, axle, bushing, pivot]


HEAD = (0.5135, 0.1310, 0.1662)
"""Tennis head: its centre along y and the half axes of the frame's centre line."""


def tennis() -> Template:
    """Tennis racket: butt at -y, head at +y, the strings in the plane z = 0; left at +x."""
    centre, half_width, half_length = HEAD
    angle = np.arange(64) * 2 * np.pi / 64
    ring = np.stack([half_width * np.sin(angle), centre + half_length * np.cos(angle), 0 * angle], axis=1)
    frame = sweep("frame", ring, oval(0.0115, 0.0064, 8, 2.6), (0, 0, 1), closed=True)
    grip_end = [(0.0085, 0.205, 0), (0.013, 0.25, 0), (0.036, 0.322, 0)]
    arm = curve([*grip_end, (0.0842, 0.3862, 0), (0.1003, 0.4067, 0), (0.1134, 0.4304, 0)], 16)
    # the arm's end disappears inside the frame
    slim = np.clip((0.445 - arm[:, 1]) / 0.05, 0.3, 1)
    left = sweep("throat left", arm, ovals(0.0112 * slim, 0.0072 * slim, 8, 2.6), (0, 0, 1))
    parts = [frame, left, mirrored(left, "throat right"), _handle(), *_strings()]
    return Template(
        meshes={"template": parts},
        keypoints=[
            Keypoint("head tip", "frame", (0, centre + half_length, 0), slack=4e-3),
            Keypoint("butt end", "handle", (0, 0.004, 0), slack=3e-3),
            Keypoint("head left", "frame", (half_width, centre, 0), slack=4e-3),
            Keypoint("head right", "frame", (-half_width, centre, 0), slack=4e-3),
            Keypoint("throat left", "frame", (0.0842, 0.3862, 0), slack=4e-3),
            Keypoint("throat right", "frame", (-0.0842, 0.3862, 0), slack=4e-3),
            Keypoint("grip top", "handle", (0, 0.196, 0), slack=3e-3),
        ],
        contact={
            "grip": [Region("handle", y=(0, 0.2))],
            "throat": [Region("throat left"), Region("throat right"), Region("handle", y=(0.2, 0.3))],
            "frame": [Region("frame")],
        },
        extents=(0.2749, 0.6858, 0.0392),
        mean_centred="y",
    )


def _handle() -> Part:
    """Octagonal grip with a flared butt cap."""
    rows = [(0.0, 0.0150, 0.0180), (0.003, 0.0165, 0.0196), (0.016, 0.0162, 0.0194), (0.026, 0.0145, 0.0170)]
    rows += [(y, 0.0135, 0.0155) for y in np.linspace(0.04, 0.180, 10)]
    rows += [(0.196, 0.0135, 0.0155), (0.200, 0.0155, 0.0135), (0.212, 0.0152, 0.0126), (0.232, 0.0150, 0.0115)]
    turn = (np.arange(8) + 0.5) * np.pi / 4
    octagon = np.stack([np.cos(turn), np.sin(turn)], axis=1) / np.cos(np.pi / 8)
    rings = [np.stack([w * octagon[:, 0], np.full(8, y), d * octagon[:, 1]], axis=1) for y, w, d in rows]
    return loft("handle", np.array(rings))


def _strings() -> list[Part]:
    """Sixteen mains and nineteen crosses between the frame's centre lines."""
    centre, half_width, half_length = HEAD
    strings = []
    for k, x in enumerate((np.arange(16) - 7.5) * 0.0148):
        reach = half_length * np.sqrt(1 - (x / half_width) ** 2)
        path = line((x, centre - reach, 0), (x, centre + reach, 0), 2 * round(reach / 0.025) + 1)
        strings.append(tube(f"main {k + 1}", path, 0.0009, 3, (0, 0, 1)))
    for k, y in enumerate((np.arange(19) - 9) * 0.0166):
        reach = half_width * np.sqrt(1 - (y / half_length) ** 2)
        path = line((-reach, centre + y, 0), (reach, centre + y, 0), 2 * round(reach / 0.025) + 1)
        strings.append(tube(f"cross {k + 1}", path, 0.0009, 4, (0, 0, 1)))
    return strings
