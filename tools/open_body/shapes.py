"""Sampling MakeHuman bodies, and the linear shape space fitted to them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from .makehuman import DECIMETRE, Figure, read_target
from .rest_pose import to_rest_pose

SAMPLES = 320
GENDERS = ("male", "female")
LEVELS = ("min", "average", "max")
RACES = ("african", "asian", "caucasian")
# Local traits vary each body on top of age-independent build; pairs NAME-decr, NAME-incr.
TRAITS = (
    "torso/torso-scale-horiz", "torso/torso-scale-depth", "torso/torso-scale-vert", "torso/torso-vshape",
    "torso/measure-shoulder-dist", "hip/hip-scale-horiz", "hip/hip-scale-depth", "stomach/stomach-tone",
    "stomach/stomach-pregnant", "buttocks/buttocks-volume", "neck/neck-scale-horiz", "neck/neck-scale-vert",
    "head/head-fat", "head/head-scale-vert", "legs/measure-upperleg-height", "legs/measure-lowerleg-height",
    "legs/measure-thigh-circ", "arms/measure-upperarm-length", "arms/measure-lowerarm-length",
    "arms/measure-upperarm-circ",
)  # fmt: skip
EXPRESSIONS = (
    "mouth-open", "mouth-corner-puller", "mouth-depression", "mouth-protusion", "eyebrows-left-up",
    "eyebrows-right-up", "eyebrows-left-down", "eyebrows-right-down", "eye-left-closure", "eye-right-closure",
)  # fmt: skip
N_BETAS = 10
WEAKEST_RMS = 0.004  # metres; a beta of 1 moves the vertices by at least this much, before softening


@dataclass(frozen=True)
class ShapeSpace:
    """Mean body, displacement per unit beta, and the samples they were fitted to; metres, rest pose."""

    template: np.ndarray  # (V,3)
    directions: np.ndarray  # (10,V,3)
    joints: np.ndarray  # (55,3)
    samples: np.ndarray  # (S,V,3)
    sample_joints: np.ndarray  # (S,55,3)


class Bodies:
    """MakeHuman's parametric figure: macro targets by gender, muscle, weight, height, proportions, plus traits."""

    def __init__(self, root: Path, figure: Figure) -> None:
        self.base = figure.vertices
        targets, n = root / "targets", len(figure.vertices)
        macro = targets / "macrodetails"

        def read(path: Path) -> np.ndarray:
            return read_target(path.with_name(path.name + ".target.gz"), n)

        self.races = {g: np.stack([read(macro / f"{race}-{g}-young") for race in RACES]) for g in GENDERS}
        self.builds: dict[tuple[str, str, str], dict[str, np.ndarray]] = {}
        for gender in GENDERS:
            for muscle in LEVELS:
                for weight in LEVELS:
                    name = f"{gender}-young-{muscle}muscle-{weight}weight"
                    self.builds[gender, muscle, weight] = {
                        "build": read(macro / f"universal-{name}"),
                        "ideal": read(macro / "proportions" / f"{name}-idealproportions"),
                        "uncommon": read(macro / "proportions" / f"{name}-uncommonproportions"),
                        "short": read(macro / "height" / f"{name}-minheight"),
                        "tall": read(macro / "height" / f"{name}-maxheight"),
                    }
        self.traits = [(read(targets / f"{trait}-decr"), read(targets / f"{trait}-incr")) for trait in TRAITS]

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Draw one adult body; (N,3) metres, A-pose."""
        male = _within_unit(rng.beta(0.7, 0.7))
        muscle, weight, height = _within_unit(0.5 + np.array([0.18, 0.18, 0.10]) * rng.standard_normal(3))
        proportion = 2 * _within_unit(0.5 + 0.25 * rng.standard_normal()) - 1
        race = rng.dirichlet([1, 1, 1])
        traits = np.clip(0.5 * rng.standard_normal(len(TRAITS)), -1, 1)
        body = self.base.copy()
        for gender, share in (("male", male), ("female", 1 - male)):
            body += share * np.tensordot(race, self.races[gender], 1)
            for muscle_level, m in _hat(muscle).items():
                for weight_level, w in _hat(weight).items():
                    build = self.builds[gender, muscle_level, weight_level]
                    stature = _hat(height)
                    body += share * m * w * (
                        build["build"] + max(0.0, proportion) * build["ideal"]
                        + max(0.0, -proportion) * build["uncommon"]
                        + stature["min"] * build["short"] + stature["max"] * build["tall"]
                    )  # fmt: skip
        for (less, more), amount in zip(self.traits, traits, strict=True):
            body += max(0.0, amount) * more + max(0.0, -amount) * less
        return body * DECIMETRE


def fit_shape_space(bodies: Bodies, figure: Figure, weights: np.ndarray, used: np.ndarray) -> ShapeSpace:
    """Sample bodies, bring them to the rest pose and keep the ten principal components.

    A beta has unit variance over the samples; the weaker components are amplified to `WEAKEST_RMS`.
    """
    rng = np.random.default_rng(0)
    rested = [to_rest_pose(bodies.sample(rng), figure, weights, used) for _ in range(SAMPLES)]
    samples, joints = np.stack([v for v, _ in rested]), np.stack([j for _, j in rested])
    template = samples.mean(0)
    _, scale, components = np.linalg.svd((samples - template).reshape(SAMPLES, -1), full_matrices=False)
    directions = (components[:N_BETAS] * scale[:N_BETAS, None] / np.sqrt(SAMPLES - 1)).reshape(N_BETAS, -1, 3)
    rms = np.sqrt((directions**2).sum(2).mean(1))
    directions *= np.maximum(1, WEAKEST_RMS / rms)[:, None, None]
    directions *= np.array([_sign(template, d) for d in directions])[:, None, None]
    return ShapeSpace(template, directions, joints.mean(0), samples, joints)


def read_expressions(root: Path, n_vertices: int) -> np.ndarray:
    """Read ten expression units, half strength per unit; (10,N,3) metres."""
    folder = root / "targets/expression/units/caucasian"
    return np.stack([read_target(folder / f"{name}.target.gz", n_vertices) for name in EXPRESSIONS]) * DECIMETRE * 0.5


def _sign(template: np.ndarray, direction: np.ndarray) -> float:
    """Orient a direction so that a positive beta makes the body taller, which a singular vector leaves open."""
    return 1.0 if np.ptp(template[:, 1] + direction[:, 1]) >= np.ptp(template[:, 1]) else -1.0


def _hat(x: float) -> dict[str, float]:
    return {"min": max(0.0, 1 - 2 * x), "average": 1 - abs(2 * x - 1), "max": max(0.0, 2 * x - 1)}


def _within_unit(x: ArrayLike) -> np.ndarray:
    return np.clip(x, 0.02, 0.98)
