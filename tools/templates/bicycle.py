"""Bicycle in two meshes: what turns with the handlebar, and the rest. Front wheel +z, up +y, left +x, drive side -x."""

import numpy as np
from jaxtyping import Float

from tools.templates.mesh import Part, mirrored, moved
from tools.templates.primitives import curve, hoop, line, loft, oval, ovals, revolve, sweep, tube
from tools.templates.template import Keypoint, Region, Template

# builder's frame: rear axle over the origin, ground at y = 0; points are (y, z) on the mid-plane
RADIUS = 0.366
REAR, FRONT = np.array([RADIUS, 0.0]), np.array([RADIUS, 1.1504])
BOTTOM_BRACKET = np.array([0.305, 0.440])
HEAD_ANGLE, FORK_OFFSET = np.deg2rad(68.5), 0.045
UP = np.array([np.sin(HEAD_ANGLE), -np.cos(HEAD_ANGLE)])
FOOT = FRONT - FORK_OFFSET * np.array([np.cos(HEAD_ANGLE), np.sin(HEAD_ANGLE)])
"""Foot of the perpendicular from the front axle to the steering axis, which runs along UP."""
CROWN, HEAD_LOW, HEAD_HIGH, CLAMP = 0.425, 0.450, 0.585, 0.620
"""Distances from FOOT along the steering axis."""
CRANK = 0.170
SEAT_UP = np.array([0.956, -0.293])
SADDLE = BOTTOM_BRACKET + 0.690 * SEAT_UP


def bicycle() -> Template:
    """Diamond-frame bicycle with a riser bar, straight at zero steering."""
    front = [*_wheel("front", FRONT, 0.050), *_fork(), *_cockpit()]
    back = [*_wheel("rear", REAR, 0.066), *_frame(), *_saddle(), *_drive()]
    return Template(
        meshes={"front": front, "back": back},
        keypoints=[
            Keypoint("front wheel foremost", "front tyre", _at(FRONT, ahead=RADIUS)),
            Keypoint("front wheel ground", "front tyre", _at(FRONT, up=-RADIUS)),
            Keypoint("front hub", "front hub", _at(FRONT)),
            Keypoint("handlebar middle", "handlebar", _at(_bar_middle())),
            Keypoint("steering axis, fork crown", "steerer", _at(FOOT + CROWN * UP)),
            Keypoint("steering axis, top", "steerer", _at(FOOT + CLAMP * UP)),
            Keypoint("rear wheel ground", "rear tyre", _at(REAR, up=-RADIUS)),
            Keypoint("rear wheel rearmost", "rear tyre", _at(REAR, ahead=-RADIUS)),
            Keypoint("saddle middle", "saddle", _at(SADDLE, up=0.3)),
            Keypoint("bottom bracket", "bottom bracket", _at(BOTTOM_BRACKET)),
        ],
        contact={
            "left_handle": [Region("left grip")],
            "right_handle": [Region("right grip")],
            "saddle": [Region("saddle")],
            "left_pedal": [Region("left pedal")],
            "right_pedal": [Region("right pedal")],
        },
        extents=(0.7633, 1.0260, 1.8824),
        box_centred="yz",
    )


def _at(point: Float[np.ndarray, "2"], x: float = 0, up: float = 0, ahead: float = 0) -> tuple[float, float, float]:
    """Point (y, z) of the plane at x, in three dimensions, moved `up` and `ahead`."""
    return x, float(point[0]) + up, float(point[1]) + ahead


def _wheel(name: str, axle: np.ndarray, half_hub: float) -> list[Part]:
    """Tyre, rim, hub and 28 spokes."""
    centre = _at(axle)
    tyre = hoop(RADIUS - 0.024, 56, centre)
    outward = tyre - np.array(centre)
    rim = hoop(RADIUS - 0.052, 56, centre)
    flange = 0.6 * half_hub
    hub = [
        (-half_hub, 0.008),
        (-flange - 0.004, 0.010),
        (-flange, 0.025),
        (0.004 - flange, 0.025),
        (0.008 - flange, 0.013),
    ]
    hub = hub + [(0, 0.013)] + [(-a, r) for a, r in hub[::-1]]
    parts = [
        sweep(f"{name} tyre", tyre, oval(0.024, 0.025, 8), outward, closed=True),
        sweep(f"{name} rim", rim, oval(0.011, 0.014, 6, 3), outward, closed=True),
        revolve(f"{name} hub", hub, "x", 12, centre),
    ]
    for k in range(28):
        side, out = (1 if k % 2 else -1), 2 * np.pi * k / 28
        # spokes leave the hub's flange almost along it, two ahead and two behind in turn
        lead = out + (0.9 if k % 4 < 2 else -0.9)
        start = axle + 0.022 * np.array([np.sin(lead), np.cos(lead)])
        end = axle + (RADIUS - 0.058) * np.array([np.sin(out), np.cos(out)])
        path = line(_at(start, side * (flange - 0.002)), _at(end, side * 0.003), 4)
        parts.append(tube(f"{name} spoke {k + 1}", path, 0.0016, 3))
    return parts


def _fork() -> list[Part]:
    """Crown, two legs and the steerer that runs up through the head tube."""
    crown = FOOT + CROWN * UP
    ahead = np.array([np.cos(HEAD_ANGLE), np.sin(HEAD_ANGLE)])
    bend = [
        (CROWN, 0.0, 0.040),
        (0.36, 0.002, 0.054),
        (0.24, 0.008, 0.059),
        (0.12, 0.022, 0.060),
        (0.0, FORK_OFFSET, 0.060),
    ]
    knots = [_at(FOOT + up * UP + out * ahead, x) for up, out, x in bend]
    leg = tube("left fork leg", curve(knots, 20), np.linspace(0.0165, 0.0115, 20), 10, (0, 0.3, 1))
    top = sweep("crown", line(_at(crown, -0.045), _at(crown, 0.045), 5), oval(0.021, 0.018, 10, 3), (0, 0, 1))
    steerer = tube(
        "steerer", [_at(FOOT + d * UP) for d in (CROWN, HEAD_LOW, HEAD_HIGH, CLAMP, CLAMP + 0.022)], 0.0145, 12
    )
    cups = [
        tube(f"headset {k}", [_at(FOOT + d * UP) for d in (at, at + 0.006, at + 0.012)], (0.021, 0.024, 0.021), 12)
        for k, at in ((1, HEAD_LOW - 0.014), (2, HEAD_HIGH + 0.002))
    ]
    return [top, leg, mirrored(leg, "right fork leg"), steerer, *cups]


def _bar_middle() -> Float[np.ndarray, "2"]:
    """Middle of the handlebar, held by the stem."""
    return np.asarray(FOOT + CLAMP * UP + np.array([0.028, 0.070]))


def _cockpit() -> list[Part]:
    """Stem, riser bar, grips and brake levers."""
    middle = _bar_middle()
    stem = tube("stem", [_at(FOOT + CLAMP * UP), _at(middle)], (0.020, 0.0165), 12)
    rise, sweep_back = 1.0030 - middle[0], 0.025
    knots = [
        (0.0, 0, 0),
        (0.05, 0, 0),
        (0.10, 0.25, -0.004),
        (0.17, 0.9, -0.012),
        (0.24, 1, -0.017),
        (0.3787, 1, -0.007 - sweep_back),
    ]
    half = curve([(x, middle[0] + up * rise, middle[1] + back) for x, up, back in knots], 20)
    bar = np.concatenate([half[:0:-1] * np.array([-1.0, 1, 1]), half])
    grip = line(half[-1] - 0.128 * _direction(half[-1] - half[-3]), half[-1] + np.array([0.001, 0, 0]), 10)
    wide = [0.0185, 0.0165, 0.0155, 0.0158, 0.0165, 0.0168, 0.0162, 0.0158, 0.0175, 0.0165]
    left = tube("left grip", grip, wide, 12, (0, 1, 0))
    start = grip[0] - 0.030 * _direction(grip[1] - grip[0])
    clamp = revolve("left clamp", [(-0.008, 0.0165), (0.008, 0.0165)], "x", 10, start)
    bend = np.array([(-0.004, -0.006, 0.012), (0.01, -0.018, 0.040), (0.06, -0.020, 0.048), (0.105, -0.018, 0.052)])
    lever = curve(start + bend, 9)
    blade = sweep("left lever", lever, oval(0.006, 0.0042, 8), (0, 1, 0))
    middle_parts = [stem, tube("handlebar", bar, 0.0125, 8, (0, 1, 0))]
    sides = [left, clamp, blade]
    return middle_parts + sides + [mirrored(part, part.name.replace("left", "right")) for part in sides]


def _direction(vector: Float[np.ndarray, "d"]) -> Float[np.ndarray, "d"]:
    """Unit vector."""
    return np.asarray(vector / np.linalg.norm(vector))


def _frame() -> list[Part]:
    """Main triangle, head tube, bottom bracket shell, stays and seat post."""
    low, high = FOOT + (HEAD_LOW + 0.03) * UP, FOOT + (HEAD_HIGH - 0.025) * UP
    seat = BOTTOM_BRACKET + 0.470 * SEAT_UP
    main = [
        tube("head tube", line(_at(FOOT + HEAD_LOW * UP), _at(FOOT + HEAD_HIGH * UP), 4), 0.0205, 14),
        tube("down tube", line(_at(BOTTOM_BRACKET), _at(low), 14), 0.0205, 12),
        tube("top tube", line(_at(seat - 0.035 * SEAT_UP), _at(high), 14), 0.0170, 12),
        tube("seat tube", line(_at(BOTTOM_BRACKET), _at(seat), 11), 0.0170, 12),
        tube("seat post", line(_at(seat - 0.04 * SEAT_UP), _at(SADDLE - 0.030 * SEAT_UP), 7), 0.0136, 12),
        tube("seat clamp", [_at(seat - 0.012 * SEAT_UP), _at(seat + 0.004 * SEAT_UP)], 0.0205, 12),
        revolve("bottom bracket", [(-0.036, 0.021), (0, 0.021), (0.036, 0.021)], "x", 14, _at(BOTTOM_BRACKET)),
    ]
    # the stays spread fast enough to pass the tyre
    chain_path = line(_at(BOTTOM_BRACKET, ahead=-0.012), _at(REAR), 16)
    seat_path = line(_at(seat - 0.03 * SEAT_UP), _at(REAR), 18)
    chain_path[:, 0] = 0.026 + 0.046 * np.linspace(0, 1, 16) ** 0.6
    seat_path[:, 0] = 0.012 + 0.060 * np.linspace(0, 1, 18) ** 0.6
    stays = [tube("left chain stay", chain_path, np.linspace(0.0115, 0.0085, 16), 8, (0, 1, 0))]
    stays.append(tube("left seat stay", seat_path, np.linspace(0.0095, 0.0075, 18), 8, (1, 0, 0.4)))
    return main + stays + [mirrored(stay, stay.name.replace("left", "right")) for stay in stays]


def _saddle() -> list[Part]:
    """Saddle lofted from its back to its nose, on two rails."""
    z = np.concatenate([[-0.134, -0.130, -0.120], np.linspace(-0.105, 0.120, 15), [0.131, 0.137]])
    wide = np.interp(
        z,
        [-0.134, -0.130, -0.12, -0.09, -0.05, 0.0, 0.05, 0.12, 0.131, 0.137],
        [0.030, 0.048, 0.062, 0.072, 0.066, 0.042, 0.026, 0.019, 0.015, 0.007],
    )
    top = 0.004 + 0.016 * (np.clip(-z, 0, 1) / 0.134) ** 2 - 0.008 * np.clip(z / 0.137, 0, 1) ** 3
    deep = np.interp(z, [-0.134, -0.12, 0.0, 0.12, 0.137], [0.012, 0.026, 0.034, 0.026, 0.010])
    turn = np.arange(16) * 2 * np.pi / 16
    x = np.sign(np.cos(turn)) * np.abs(np.cos(turn).round(12)) ** 0.8
    y = np.where(np.sin(turn) > 0, np.sin(turn), 0.75 * np.sin(turn))
    rings = np.stack(
        [
            wide[:, None] * x,
            SADDLE[0] + top[:, None] + deep[:, None] * (0.5 * y - 0.5),
            np.broadcast_to(SADDLE[1] + 0.015 + z[:, None], (len(z), 16)),
        ],
        axis=2,
    )
    low = SADDLE[0] - 0.032
    rail = curve(
        [
            (0.036, low + 0.012, SADDLE[1] - 0.085),
            (0.023, low, SADDLE[1] - 0.03),
            (0.022, low, SADDLE[1] + 0.04),
            (0.010, low + 0.012, SADDLE[1] + 0.11),
        ],
        12,
    )
    left = tube("left rail", rail, 0.0036, 6, (0, 1, 0))
    clamp = sweep(
        "saddle clamp",
        line((-0.028, low, SADDLE[1] + 0.008), (0.028, low, SADDLE[1] + 0.008), 3),
        oval(0.010, 0.019, 10, 3),
        (0, 1, 0),
    )
    return [loft("saddle", rings), left, mirrored(left, "right rail"), clamp]


def _drive() -> list[Part]:
    """Chainring on its spider, cassette, chain, derailleur, cranks and pedals."""
    x, ring = -0.046, hoop(1, 40)
    teeth = [(-0.010, -0.002), (0.006, -0.002), (0.0105, -0.0008), (0.0105, 0.0008), (0.006, 0.002), (-0.010, 0.002)]
    chainring = sweep("chainring", ring * 0.08 + _at(BOTTOM_BRACKET, x), np.array(teeth), ring, closed=True)
    spider = [
        tube(f"spider {k + 1}", line(_at(BOTTOM_BRACKET, x), _at(BOTTOM_BRACKET, x, up, ahead), 3), 0.0055, 6)
        for k, (up, ahead) in enumerate(oval(0.075, 0.075, 5).tolist())
    ]
    cogs = [(-0.052, 0.020), (-0.051, 0.034), (-0.044, 0.040), (-0.036, 0.048), (-0.028, 0.055), (-0.026, 0.030)]
    cassette = revolve("cassette", cogs, "x", 24, _at(REAR))
    return [chainring, *spider, cassette, _chain(x), _changer(), *_cranks()]


def _cranks() -> list[Part]:
    """Cranks and pedals, the left ones forward, the right ones their half turn about the bottom bracket."""
    eye = _at(BOTTOM_BRACKET, ahead=CRANK)
    deep = (0.019, 0.018, 0.0155, 0.0140, 0.0130, 0.0125, 0.0125, 0.014, 0.012)
    along = line(_at(BOTTOM_BRACKET, 0.062), _at(BOTTOM_BRACKET, 0.072, ahead=CRANK), len(deep))
    pedal = sweep("left pedal", line((0.086, 0, 0), (0.188, 0, 0), 9), oval(0.0095, 0.044, 14, 4), (0, 1, 0))
    left = [
        sweep("left crank", along, ovals(np.full(len(deep), 0.0075), deep, 10, 3), (1, 0, 0)),
        moved(pedal, eye),
        revolve("left spindle", [(0.070, 0.007), (0.120, 0.007)], "x", 8, eye),
    ]
    centre = (0, 0, 2 * float(BOTTOM_BRACKET[1]))
    right = [moved(part, centre, np.diag([-1.0, 1, -1]), part.name.replace("left", "right")) for part in left]
    axle = revolve("crank axle", [(-0.064, 0.011), (0.064, 0.011)], "x", 12, _at(BOTTOM_BRACKET))
    return [axle, *left, *right]


def _chain(x: float) -> Part:
    """Chain as a flat band around chainring and cassette and two straight runs."""
    big, small = 0.0895, 0.046
    tilt = np.arcsin((big - small) / np.linalg.norm(BOTTOM_BRACKET - REAR))
    slope = np.arctan2(*(BOTTOM_BRACKET - REAR))
    fore = np.linspace(np.pi / 2 + tilt, -np.pi / 2 - tilt, 24) + slope
    aft = np.linspace(-np.pi / 2 - tilt, -3 * np.pi / 2 + tilt, 14) + slope
    front = BOTTOM_BRACKET + big * np.stack([np.sin(fore), np.cos(fore)], axis=1)
    rear = REAR + small * np.stack([np.sin(aft), np.cos(aft)], axis=1)
    runs = [front, np.linspace(front[-1], rear[0], 16)[1:-1], rear, np.linspace(rear[-1], front[0], 16)[1:-1]]
    path = np.insert(np.concatenate(runs), 0, x + 0.003, axis=1)
    return sweep("chain", path, oval(0.0042, 0.0035, 4, 2), (1, 0, 0), closed=True)


def _changer() -> Part:
    """Rear derailleur's cage below the cassette."""
    path = curve(
        [
            _at(REAR, -0.076, -0.015, 0.012),
            _at(REAR, -0.068, -0.055, 0.026),
            _at(REAR, -0.052, -0.115, 0.010),
            _at(REAR, -0.048, -0.155, 0.040),
        ],
        8,
    )
    return sweep(
        "derailleur", path, ovals(np.linspace(0.0092, 0.0064, 8), np.linspace(0.0138, 0.0096, 8), 8), (1, 0, 0)
    )
