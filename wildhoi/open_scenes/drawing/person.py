"""Painting a person: skin, hair, face and clothes as regions of the rest pose."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from wildhoi.body.model import BodyModel
from wildhoi.open_scenes.drawing.paint import Colour, Field, Paint, Painter, choose, pick, relief, uniform
from wildhoi.open_scenes.drawing.settings import LookSettings, WardrobeSettings

FOLDS = (0.07, 0.30)  # metres: folds finer than the mesh would flicker
HEAD_HEIGHT = 0.246  # metres, of the head whose measures are used below; other heads are scaled to it
EYE_SHARE = 0.57  # height of the eyes in the head's box
DARK = 0.5  # skins darker than this have dark or grey hair
REACH = 0.25  # metres below the shoulders where a T-pose has no arm


class Build(NamedTuple):
    """Where the vertices of the rest pose lie along the limbs and on the head, metres."""

    rest: Float[np.ndarray, "v 3"]
    arm: Float[np.ndarray, " v"]
    """Outwards from the shoulder; negative on the trunk, and everywhere below the arms."""
    head: Float[np.ndarray, "v 3"]
    """From the middle of the eyes, scaled to the head's height; far away off the head and neck."""
    cloth: Float[np.ndarray, "v 2"]
    """Round and along trunk, arms and legs, without a jump at the shoulders."""
    levels: dict[str, float]
    """Heights of neck, shoulder, hip, knee, ankle and floor; lengths to elbow and wrist from the shoulder."""


@lru_cache(maxsize=8)
def measure(body: BodyModel) -> Build:
    """Measure a body's rest pose: y up, facing +z, arms along x."""
    rest, weights = (body.module.get_buffer(name).double().cpu().numpy() for name in ("v_template", "lbs_weights"))
    joints = body.module.get_buffer("J_regressor").double().cpu().numpy() @ rest
    at = {name: joints[i] for i, name in enumerate(body.joint_names)}
    outwards = np.abs(rest[:, 0]) - abs(at["left_shoulder"][0])
    arm = np.where(rest[:, 1] > at["left_shoulder"][1] - REACH, outwards, -0.1)
    first, last = rest[body.parts["head"]].min(axis=0), rest[body.parts["head"]].max(axis=0)
    eyes = np.array([0, first[1] + EYE_SHARE * (last[1] - first[1]), last[2]])
    near = weights[:, [body.joint_names.index(n) for n in ("head", "neck", "jaw") if n in body.joint_names]].sum(1)
    near += rest[:, 1] > last[1] - 0.6 * (last[1] - first[1])
    head = (rest - eyes) * HEAD_HEIGHT / (last[1] - first[1])
    head[near < 0.3] = (0, -1, 0)
    beyond = np.maximum(arm, 0)
    along = rest[:, 1] - beyond
    across = np.where(beyond > 0, np.sign(rest[:, 0]) * abs(at["left_shoulder"][0]) + rest[:, 2], rest[:, 0])
    levels = {name: float(at[joint][1]) for name, joint in LEVELS.items()} | {"floor": float(rest[:, 1].min())}
    levels |= {n: abs(at[f"left_{n}"][0]) - abs(at["left_shoulder"][0]) for n in ("elbow", "wrist")}
    levels |= {"leg": abs(at["left_hip"][0]), "chest": float(at["spine3"][2]), "face": float(at["neck"][2])}
    return Build(rest, arm, head, np.stack([across, along], 1), levels)


LEVELS = {"neck": "neck", "shoulder": "left_shoulder", "hip": "left_hip", "knee": "left_knee", "ankle": "left_ankle"}


@dataclass(frozen=True, eq=False)
class _Outfit:
    """What goes through the painting of one person."""

    rng: np.random.Generator
    build: Build
    settings: LookSettings
    painter: Painter
    folds: float

    @property
    def wardrobe(self) -> WardrobeSettings:
        return self.settings.wardrobe

    def has(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def colour(self, palette: str) -> Colour:
        return pick(self.rng, self.settings.palettes[palette], self.wardrobe.jitter)


def paint_person(rng: np.random.Generator, body: BodyModel, settings: LookSettings) -> Paint:
    """Draw skin, hair and clothes, independently of shape and pose."""
    build = measure(body)
    outfit = _Outfit(rng, build, settings, Painter(), uniform(rng, settings.wardrobe.folds))
    skin = _grown(outfit, "skin")
    hair = _grown(outfit, "hair" if skin.mean() > DARK else "dark_hair")
    outfit.painter.add(np.ones(len(build.rest), np.float32), skin, uniform(rng, settings.wardrobe.skin_gloss))
    suit = outfit.colour("cloth") if outfit.has(settings.wardrobe.one_colour) else None
    _feet(outfit)
    if outfit.has(settings.wardrobe.tucked):
        _shirt(outfit, suit)
        _trousers(outfit, suit)
    else:
        _trousers(outfit, suit)
        _shirt(outfit, suit)
    _hands(outfit)
    _face(outfit, skin, hair)
    _hair(outfit, skin, hair)
    return outfit.painter.paint(build.cloth.astype(np.float32), relief(rng, build.rest, FOLDS))


def _grown(outfit: _Outfit, palette: str) -> Colour:
    """A colour between two neighbours of a palette of skin or hair: no dye."""
    colours = outfit.settings.palettes[palette]
    place = outfit.rng.uniform(0, len(colours) - 1)
    share = np.float32(place % 1)
    return np.asarray((1 - share) * colours[int(place)] + share * colours[int(place) + 1], np.float32)


def _feet(outfit: _Outfit) -> None:
    """Socks, shoes and soles."""
    rng, levels, height = outfit.rng, outfit.build.levels, outfit.build.rest[:, 1]
    kind, colour, sole = choose(rng, outfit.wardrobe.footwear), outfit.colour("shoes"), outfit.colour("shoes")
    sock, long = outfit.colour("cloth"), uniform(rng, outfit.wardrobe.lengths["sock"])
    if kind == "bare":
        return
    if outfit.has(outfit.wardrobe.socks):
        outfit.painter.add(_f(levels["ankle"] + long - height), sock, 0.0, outfit.folds)
    top = uniform(rng, outfit.wardrobe.lengths[kind])
    outfit.painter.add(_f(levels["ankle"] + top - height), colour, rng.uniform(0.1, 0.4))
    outfit.painter.add(_f(levels["floor"] + uniform(rng, outfit.wardrobe.lengths["sole"]) - height), sole, 0.1)


def _trousers(outfit: _Outfit, suit: Colour | None) -> None:
    """Shorts or trousers, with a belt or a stripe down the sides."""
    rng, levels, rest = outfit.rng, outfit.build.levels, outfit.build.rest
    kind, colour, accent = choose(rng, outfit.wardrobe.legs), outfit.colour("trousers"), outfit.colour("cloth")
    colour = colour if suit is None else suit
    gloss = uniform(rng, outfit.wardrobe.cloth_gloss)
    thigh, shin = levels["hip"] - levels["knee"], levels["knee"] - levels["ankle"]
    share = uniform(rng, outfit.wardrobe.legs_end[kind])
    cuff = levels["knee"] + share * thigh if kind == "shorts" else levels["ankle"] + share * shin
    waist = levels["hip"] + uniform(rng, outfit.wardrobe.lengths["waist"])
    body = np.minimum(waist - rest[:, 1], rest[:, 1] - cuff)
    outfit.painter.add(_f(body), colour, gloss, outfit.folds)
    if outfit.has(outfit.wardrobe.side_stripe):
        outer = np.minimum(0.02 - np.abs(rest[:, 2] - levels["chest"] - 0.03), np.abs(rest[:, 0]) - levels["leg"])
        outfit.painter.add(_f(np.minimum(body, outer)), accent, gloss, outfit.folds)
    if outfit.has(outfit.wardrobe.belt):
        band = np.minimum(waist - rest[:, 1], rest[:, 1] - waist + 0.035)
        outfit.painter.add(_f(band), outfit.colour("rubber"), 0.3)


def _shirt(outfit: _Outfit, suit: Colour | None) -> None:
    """A shirt with sleeves of some length, its pattern, print and trims, or a jacket over it."""
    rng, levels, build = outfit.rng, outfit.build.levels, outfit.build
    colour, accent = outfit.colour("cloth"), outfit.colour("cloth")
    colour = colour if suit is None else suit
    sleeve = levels["wrist"] * uniform(rng, outfit.wardrobe.sleeves_end[choose(rng, outfit.wardrobe.sleeves)])
    hem = levels["hip"] + uniform(rng, outfit.wardrobe.lengths["hem"])
    trunk = np.minimum(_neckline(outfit), build.rest[:, 1] - hem)
    shirt = np.minimum(trunk, sleeve - build.arm)
    pattern, period = choose(rng, outfit.wardrobe.pattern), uniform(rng, outfit.wardrobe.period)
    waves = {"across": (0.0, 1 / period), "along": (1 / period, 0.0), "checks": (1 / period, 1 / period)}
    gloss = uniform(rng, outfit.wardrobe.cloth_gloss)
    outfit.painter.add(_f(shirt), colour, gloss, outfit.folds, accent, waves.get(pattern, (0.0, 0.0)))
    if pattern == "blocks":
        edge = build.arm - rng.uniform(-0.02, 0.03) if outfit.has(0.5) else rng.uniform(-0.15, 0.05) - build.rest[:, 1]
        outfit.painter.add(_f(np.minimum(shirt, edge)), accent, gloss, outfit.folds)
    if outfit.has(outfit.wardrobe.trim):
        ends = np.maximum(build.arm - sleeve + 0.025, hem + 0.025 - build.rest[:, 1])
        outfit.painter.add(_f(np.minimum(shirt, ends)), accent, gloss, outfit.folds)
    front = build.rest[:, 2] - levels["chest"] - 0.05
    if outfit.has(outfit.wardrobe.jacket):
        gap = rng.uniform(0.03, 0.06) + 0.15 * (build.rest[:, 1] - levels["shoulder"] + 0.25) - np.abs(build.rest[:, 0])
        outfit.painter.add(_f(np.minimum(np.minimum(trunk, gap), front)), outfit.colour("cloth"), gloss, outfit.folds)
    elif outfit.has(outfit.wardrobe.print):
        outfit.painter.add(_f(np.minimum(_print(outfit), front)), accent, gloss, outfit.folds)


def _neckline(outfit: _Outfit) -> Float[np.ndarray, " v"]:
    """Positive below the neckline: round the neck, dipping in front."""
    rng, levels, rest = outfit.rng, outfit.build.levels, outfit.build.rest
    kind = choose(rng, outfit.wardrobe.neck)
    base, dip, width = {
        "crew": (-0.01, rng.uniform(0.05, 0.09), 0.16),
        "vee": (-0.005, rng.uniform(0.12, 0.20), 0.09),
        "high": (rng.uniform(0.02, 0.06), 0.01, 0.2),
    }[kind]
    forward = np.clip((rest[:, 2] - levels["face"]) / 0.08, 0, 1)
    dips = dip * forward * np.clip(1 - np.abs(rest[:, 0]) / width, 0, 1)
    return np.asarray(levels["neck"] + base - dips - rest[:, 1])


def _print(outfit: _Outfit) -> Float[np.ndarray, " v"]:
    """A disc, a box or a band on the chest."""
    rng, build = outfit.rng, outfit.build
    x = build.rest[:, 0] - rng.choice([0.0, 0.0, 0.07])
    y = build.rest[:, 1] - build.levels["shoulder"] + rng.uniform(0.10, 0.18)
    size = rng.uniform(0.03, 0.07)
    shapes = [size - np.hypot(x, y), np.minimum(1.4 * size - np.abs(x), 0.6 * size - np.abs(y)), 0.5 * size - np.abs(y)]
    chosen = shapes[rng.integers(len(shapes))]
    return np.asarray(np.where(build.arm > 0.02, -1, chosen))


def _hands(outfit: _Outfit) -> None:
    """Gloves rarely, a band round one wrist."""
    rng, build = outfit.rng, outfit.build
    colour, side = outfit.colour("cloth"), rng.choice([-1, 1])
    if outfit.has(outfit.wardrobe.gloves):
        outfit.painter.add(_f(build.arm - build.levels["wrist"] + 0.02), colour, 0.1)
    elif outfit.has(outfit.wardrobe.wristband):
        band = 0.018 - np.abs(build.arm - build.levels["wrist"] + 0.03)
        outfit.painter.add(_f(np.where(build.rest[:, 0] * side > 0, band, -1)), colour, 0.2)


def _face(outfit: _Outfit, skin: Colour, hair: Colour) -> None:
    """Lips, cheeks, eyes and brows: enough to tell a face from the back of a head."""
    x, y, z = outfit.build.head.T
    front = z + 0.055
    aside = np.abs(x)
    lips = outfit.colour("lips") * np.clip(skin.mean() + 0.35, 0.5, 1)
    outfit.painter.add(_f(np.minimum(0.008 - np.hypot(x / 3, y + 0.067), front)), lips.astype(np.float32), 0.2)
    socket = np.minimum(0.014 - np.hypot((aside - 0.030) / 1.4, y), front)
    outfit.painter.add(_f(socket), (skin * 0.72).astype(np.float32), 0.05)
    outfit.painter.add(_f(np.minimum(0.0085 - np.hypot((aside - 0.030) / 1.6, y), front)), _f([0.9, 0.89, 0.87]), 0.5)
    outfit.painter.add(_f(np.minimum(0.0075 - np.hypot(aside - 0.030, y), front)), outfit.colour("iris"), 0.6)
    brow = np.minimum(0.0055 - np.abs(y - 0.021 + 0.15 * np.abs(aside - 0.032)), 0.019 - np.abs(aside - 0.032))
    outfit.painter.add(_f(np.minimum(brow, front)), (hair * 0.8).astype(np.float32))


def _hair(outfit: _Outfit, skin: Colour, hair: Colour) -> None:
    """Hair of some length, a beard, a cap."""
    rng, (x, y, z) = outfit.rng, outfit.build.head.T
    kind = choose(rng, outfit.wardrobe.hair)
    nape = {"short": -0.07, "medium": -0.14, "long": -0.22, "shaved": -0.06, "bald": -0.06}[kind] + rng.uniform(
        -0.02, 0.02
    )
    temple = {"short": -0.02, "medium": -0.05, "long": -0.12}.get(kind, -0.01)
    forehead = rng.uniform(0.052, 0.072) + (0.03 if kind == "shaved" else 0)
    line = np.interp(z, [-0.13, -0.09, -0.06, -0.035, -0.015], [nape, temple, 0.0 + temple / 3, 0.045, forehead])
    shown = {"shaved": 0.35, "bald": 0.0}.get(kind, 1.0)
    if outfit.has(outfit.wardrobe.beard):
        cheek = np.interp(z, [-0.09, -0.05, -0.02, 0.0], [-0.02, -0.045, -0.055, -0.052])
        beard = np.minimum(np.minimum(cheek - y, y + 0.125), z + 0.085)
        mouth = np.hypot(x / 2.4, y + 0.067) - 0.0075
        outfit.painter.add(_f(np.minimum(beard, mouth)), hair)
    if kind != "bald":
        colour = hair if shown == 1 else (0.6 * hair + 0.4 * skin).astype(np.float32)
        ear = np.maximum(0.075 - np.abs(x), np.abs(y + 0.005) - 0.035)
        covered = y - line if kind in ("medium", "long") else np.minimum(y - line, ear)
        outfit.painter.add(_f(covered), colour, 0.08, 0.3)
    if outfit.has(outfit.wardrobe.cap):
        edge = rng.uniform(0.035, 0.05)
        outfit.painter.add(_f(y - edge - 0.1 * (z + 0.09)), outfit.colour("cloth"), 0.1)


def _f(values: np.ndarray | list[float]) -> Field:
    return np.asarray(values, np.float32)
