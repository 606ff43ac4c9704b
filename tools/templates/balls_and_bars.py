"""Barbell, baseball bat, basketball and yoga ball: solids of revolution."""

import numpy as np

from tools.templates.mesh import Part, mirrored
from tools.templates.primitives import curve, geodesic, hoop, oval, revolve, sweep
from tools.templates.template import Keypoint, Region, Template


def barbell() -> Template:
    """Olympic barbell with two bumper plates a side; the bar along x, its left end at +x."""
    half, grip, sleeve = 1.0998, 0.64, 0.0250
    rows = np.linspace(-grip, grip, 73)
    bar = revolve("bar", [(x, 0.014) for x in rows], "x", 12)
    left = [
        revolve(
            "sleeve left",
            [(0.635, 0.012), (0.635, 0.033), (0.640, 0.038), (0.660, 0.038), (0.665, 0.033), (0.667, sleeve)]
            + [(x, sleeve) for x in np.linspace(0.70, half - 0.004, 9)]
            + [(half, sleeve - 0.004), (half, 0.010)],
            "x",
            12,
        ),
        _bumper("plate inner left", 0.672, 0.058, outer=False),
        _bumper("plate outer left", 0.734, 0.040, outer=True),
        revolve(
            "clip left",
            [(0.778, 0.024), (0.778, 0.036), (0.782, 0.040), (0.806, 0.040), (0.810, 0.036), (0.810, 0.024)],
            "x",
            20,
        ),
    ]
    right = [mirrored(part, part.name.replace("left", "right")) for part in left]
    return Template(
        meshes={"template": [bar, *left, *right]},
        keypoints=[
            Keypoint("left bar end", "sleeve left", (half, 0, 0)),
            Keypoint("left inner collar", "sleeve left", (0.660, 0, 0), slack=5e-4),
            Keypoint("right inner collar", "sleeve right", (-0.660, 0, 0), slack=5e-4),
            Keypoint("right bar end", "sleeve right", (-half, 0, 0)),
        ],
        contact={
            "left_grip": [Region("bar", x=(0.2, grip))],
            "right_grip": [Region("bar", x=(-grip, -0.2))],
            "bar_middle": [Region("bar", x=(-0.2, 0.2))],
        },
        extents=(2.1996, 0.4503, 0.4505),
    )


def _bumper(name: str, start: float, thickness: float, *, outer: bool) -> Part:
    """Plate with its axis x and a round rim; the face away from its twin has a raised hub and a recess."""
    middle, half, radius = start + thickness / 2, thickness / 2, 0.2252
    plain = [(half, 0.020), (half, radius - 0.010), (half - 0.008, radius)]
    shaped = [(half - 0.001, 0.020), (half - 0.001, 0.060), (half - 0.010, 0.068), (half - 0.010, 0.165)]
    shaped += [(half, 0.173), *plain[1:]]
    low, high = (plain, shaped) if outer else (shaped, plain)
    profile = [(middle - along, across) for along, across in low]
    return revolve(name, profile + [(middle + along, across) for along, across in reversed(high)], "x", 32)


def baseball() -> Template:
    """Baseball bat along z: knob at -z, barrel end at +z."""
    length, barrel = 1.0668, 0.0392
    shape = [(0.034, 0.0135), (0.10, 0.0128), (0.28, 0.0140), (0.45, 0.0185), (0.62, 0.0270), (0.76, 0.0350)]
    shape += [(0.88, 0.0388), (0.95, barrel), (1.02, barrel), (1.045, 0.0382)]
    knob = [(0.0, 0.010), (0.001, 0.018), (0.005, 0.0235), (0.012, 0.0250), (0.019, 0.0225), (0.026, 0.0165)]
    cup = [(1.058, 0.0340), (1.0650, 0.0265), (length, 0.0180), (1.0620, 0.0120), (1.0600, 0.0060)]
    bat = revolve("bat", knob + [tuple(row) for row in curve(shape, 64).tolist()] + cup, "z", 24)
    return Template(
        meshes={"template": [bat]},
        keypoints=[
            Keypoint("knob end", "bat", (0, 0, 0.012)),
            Keypoint("barrel end", "bat", (0, 0, length)),
        ],
        contact={"grip": [Region("bat", z=(0, 0.42))], "barrel": [Region("bat", z=(0.62, length))]},
        extents=(0.0784, 0.0784, length),
        mean_centred="z",
    )


def basketball() -> Template:
    """Basketball: a sphere with the eight panels' seams standing out by a millimetre."""
    radius = 0.1228
    ball = geodesic("ball", radius, 12)
    angle = np.arange(60) * 2 * np.pi / 60
    y, z = 0.64 * np.cos(angle), 0.87 * np.sin(angle)
    bow = np.stack([np.sqrt(1 - y**2 - z**2), y, z], axis=1)
    circle = hoop(1, 60)
    paths = [circle, circle[:, [1, 0, 2]], bow, bow * np.array([-1.0, 1, 1])]
    seams = [
        sweep(f"seam {k}", path * (radius - 0.0003), oval(0.0012, 0.0030, 4), path, closed=True)
        for k, path in enumerate(paths, start=1)
    ]
    parts = [ball, *seams]
    return Template(
        meshes={"template": parts},
        keypoints=[Keypoint("centre", "ball", (0, 0, 0), slack=1)],
        contact={"surface": [Region(part.name) for part in parts]},
        extents=(0.2465, 0.2461, 0.2467),
        mean_centred="xyz",
    )


def yogaball() -> Template:
    """Yoga ball: a sphere with two ridges; its size allows edges of 3 cm only, against 2 cm elsewhere."""
    radius = 0.3745
    ball = geodesic("ball", radius, 16)
    ridges = []
    for k, lift in enumerate((-0.1, 0.1), start=1):
        around = np.sqrt(radius**2 - lift**2) - 0.0003
        ring = hoop(around, 72)[:, [1, 0, 2]] + np.array([0, lift, 0])
        ridges.append(sweep(f"ridge {k}", ring, oval(0.0016, 0.007, 3), ring, closed=True))
    return Template(
        meshes={"template": [ball, *ridges]},
        keypoints=[Keypoint("centre", "ball", (0, 0, 0), slack=1)],
        contact={"surface": [Region("ball")]},
        extents=(0.7495, 0.7495, 0.7505),
        mean_centred="xyz",
        contact_edge=0.031,
    )
