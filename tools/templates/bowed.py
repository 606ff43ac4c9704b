"""Violin and cello: one family of shapes in two sizes, each with its own rests or endpin."""

import numpy as np

from tools.templates.bowed_parts import HUB, Size, instrument
from tools.templates.mesh import Part
from tools.templates.primitives import curve, loft, oval, revolve, sweep, tube
from tools.templates.template import Keypoint, Region, Template

VIOLIN = Size(
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
CELLO = Size(
    body=0.757,
    rib=0.116,
    arch=0.024,
    edge=0.006,
    bridge=0.083,
    neck=0.275,
    head=0.200,
    nut=0.0165,
    string=0.0017,
    points=50,
    wide=1.078,
)


def keypoints(size: Size, end: Keypoint, left: int = 1) -> list[Keypoint]:
    """Fourteen keypoints: pairs 4-5, 10-11, 12-13 (counted from 1) are left and right, the others on the mid-plane.

    `left` is the sign of x, in the builder's frame, of what the template calls left.
    """
    widest = {"upper bout": (0.2345, 0.80), "waist": (0.158, 0.5), "lower bout": (0.29, 0.205)}
    pairs = {
        name: [
            Keypoint(f"{side} {name}", "body", (sign * x * size.wide * size.body, 0, z * size.body), 1e-3)
            for side, sign in (("left", left), ("right", -left))
        ]
        for name, (x, z) in widest.items()
    }
    top, low = size.body + size.neck, size.stop * size.body
    return [
        Keypoint("scroll top", "scroll", (0, size.board(top), top + 1.1 * size.head), 1e-3),
        Keypoint("nut", "fingerboard", (0, size.board(top), top + 0.02 * size.neck), 1e-3),
        Keypoint("neck heel", "neck", (0, -size.rim, 0.985 * size.body), 1e-3),
        *pairs["upper bout"],
        Keypoint("fingerboard end", "fingerboard", (0, size.board(0.61 * size.body), 0.61 * size.body), 1e-3),
        Keypoint("bridge top", "bridge", (0, size.crest, low), 3e-3),
        Keypoint("tailpiece top", "tailpiece", (0, size.tail, 0.3 * size.body), 1e-3),
        Keypoint("back middle", "body", (0, -size.rim - 2 * size.arch, HUB * size.body), 1e-3),
        *pairs["waist"],
        *pairs["lower bout"],
        end,
    ]


def _hold(size: Size) -> list[Region]:
    """Where the hand holds the neck, clear of the heel."""
    above = (size.held + 0.001, 2.0)
    return [Region("neck", z=above), Region("fingerboard", z=above)]


def _bowed(size: Size) -> list[Region]:
    """Strings between the bridge and the end of the fingerboard."""
    between = ((size.stop + 0.01) * size.body, 0.61 * size.body)
    return [Region(f"string {k}", z=between) for k in range(1, 5)]


def violin() -> Template:
    """Violin with chin rest and shoulder rest: strings +y, scroll +z, the player's left (and the chin rest) +x."""
    return Template(
        meshes={"template": [*instrument(VIOLIN), *_chin_rest(), *_shoulder_rest()]},
        keypoints=keypoints(VIOLIN, Keypoint("end button", "button", (0, 0, -0.03 * VIOLIN.body), 1e-3)),
        contact={
            "chin_rest": [Region("chin rest")],
            "shoulder_rest": [Region("shoulder rest")],
            "neck": _hold(VIOLIN),
            "back_edge": [Region("body", y=(-1, -0.01), z=(-1, 0.06))],
            "strings": _bowed(VIOLIN),
        },
        extents=(0.2292, 0.1303, 0.6120),
        mean_centred="yz",
    )


def _chin_rest() -> list[Part]:
    """Hollow oval left of the tailpiece and the clamp around the ribs."""
    angle, top = np.arange(24) * 2 * np.pi / 24, VIOLIN.rim + 0.019
    shape = np.stack([0.046 * np.cos(angle) * (1 + 0.10 * np.sin(angle)), 0.033 * np.sin(angle)], axis=1)
    rings = [(0.55, -0.010), (0.95, -0.004), (1.0, 0.001), (0.93, 0.003), (0.7, -0.001), (0.45, -0.003), (0.2, -0.004)]
    cup = [np.insert(np.array([0.052, 0.043]) + s * shape, 1, top + y, axis=1) for s, y in rings]
    hook = [(top - 0.008, 0.014), (VIOLIN.rim, 0.0), (-VIOLIN.rim - 0.004, -0.001), (-VIOLIN.rim - 0.005, 0.012)]
    return [loft("chin rest", np.array(cup)), tube("chin rest clamp", [(0.040, y, z) for y, z in hook], 0.0045, 8)]


def _shoulder_rest() -> list[Part]:
    """Padded bar across the back on two feet that clasp the lower bouts."""
    low = -VIOLIN.rim - VIOLIN.arch
    knots = [(-0.1055, -0.004, 0.072), (-0.06, -0.020, 0.083), (0, -0.0225, 0.086), (0.06, -0.020, 0.089)]
    bow = curve([*knots, (0.1055, -0.004, 0.098)], 14) + np.array([0, low, 0])
    feet = [
        tube(
            f"foot {name}",
            [(x, low - 0.006, z), (1.06 * x, low + 0.006, z), (1.02 * x, -VIOLIN.rim + 0.006, z)],
            (0.006, 0.006, 0.0045),
            8,
            (0, 0, 1),
        )
        for name, x, z in (("left", 0.1022, 0.098), ("right", -0.1022, 0.072))
    ]
    return [sweep("shoulder rest", bow, oval(0.0055, 0.016, 8, 2.8), (0, 1, 0)), *feet]


def cello() -> Template:
    """Cello: strings -y, scroll +z, the player's left +x, so the whole is turned from the builder's frame."""
    pin = [(-0.175, 0.0015), (-0.168, 0.0045), *((z, 0.0045) for z in np.linspace(-0.15, 0.02, 10))]
    parts = [*instrument(CELLO), revolve("endpin", pin, "z", 6)]
    side = 0.045
    return Template(
        meshes={"template": parts},
        keypoints=keypoints(CELLO, Keypoint("endpin tip", "endpin", (0, 0, -0.18), 1e-3), left=-1),
        contact={
            "neck": _hold(CELLO),
            "body_back": [Region("body", y=(-1, -0.066), x=(-0.08, 0.08), z=(0.55, 1))],
            "body_left_side": [Region("body", y=(-side, side), x=(-1, -0.1), z=(0.29, 0.43))],
            "body_right_side": [Region("body", y=(-side, side), x=(0.1, 1), z=(0.29, 0.43))],
            "strings": _bowed(CELLO),
            "endpin": [Region("endpin")],
        },
        extents=(0.4733, 0.2591, 1.4022),
        mean_centred="yz",
        turned=np.diag([-1.0, -1, 1]),
    )
