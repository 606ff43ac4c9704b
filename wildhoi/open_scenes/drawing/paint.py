"""Paint: what covers a surface, as regions that lie over one another, and what all drawing of looks shares."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32

Colour = Float32[np.ndarray, "3"]
Field = Float32[np.ndarray, " v"]


@dataclass(frozen=True, eq=False)
class Paint:
    """The colours of a surface of v vertices in k regions; a region covers where its field is positive, later ones win.

    Fields are carried to the pixels before they are compared with 0, so borders are as sharp as the pixels, not as
    the mesh. Where `waves` has a frequency (per metre of the cloth coordinates) the accent takes every other stripe,
    and half of its share where two frequencies cross.

    Attributes:
        fields: of every region at every vertex.
        cloth: coordinates along the cloth at every vertex, metres.
        relief: smooth random vectors at every vertex, of about unit size: folds of cloth and unevenness.
        colours: of the regions, linear, 0 to 1.
        accents: of their stripes.
        waves: stripes per metre along either cloth coordinate, 0 for none.
        gloss: strength of the regions' highlights.
        folds: how much of the relief each region shows: it is added to the normals.
    """

    fields: Float32[np.ndarray, "v k"]
    cloth: Float32[np.ndarray, "v 2"]
    relief: Float32[np.ndarray, "v 3"]
    colours: Float32[np.ndarray, "k 3"]
    accents: Float32[np.ndarray, "k 3"]
    waves: Float32[np.ndarray, "k 2"]
    gloss: Float32[np.ndarray, " k"]
    folds: Float32[np.ndarray, " k"]


@dataclass
class Painter:
    """Collects regions, the undermost first."""

    fields: list[Field] = field(default_factory=list)
    colours: list[Colour] = field(default_factory=list)
    accents: list[Colour] = field(default_factory=list)
    waves: list[tuple[float, float]] = field(default_factory=list)
    gloss: list[float] = field(default_factory=list)
    folds: list[float] = field(default_factory=list)

    def add(
        self,
        where: Field,
        colour: Colour,
        gloss: float = 0.0,
        folds: float = 0.0,
        accent: Colour | None = None,
        waves: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Lay a region of an sRGB colour over those before; one that covers nothing is left out."""
        if not (where > 0).any():
            return
        self.fields.append(where.astype(np.float32))
        self.colours.append(linear(colour))
        self.accents.append(linear(colour if accent is None else accent))
        self.waves.append(waves)
        self.gloss.append(gloss)
        self.folds.append(folds)

    def paint(self, cloth: Float32[np.ndarray, "v 2"], relief: Float32[np.ndarray, "v 3"]) -> Paint:
        """The regions as one Paint."""
        return Paint(
            fields=np.stack(self.fields, axis=1),
            cloth=cloth.astype(np.float32),
            relief=relief.astype(np.float32),
            colours=np.stack(self.colours),
            accents=np.stack(self.accents),
            waves=np.array(self.waves, np.float32),
            gloss=np.array(self.gloss, np.float32),
            folds=np.array(self.folds, np.float32),
        )


def linear(colour: Float32[np.ndarray, "... 3"]) -> Float32[np.ndarray, "... 3"]:
    """Light from an sRGB colour; a square is near enough to the standard's curve and much faster."""
    return np.asarray(np.square(np.clip(colour, 0, 1)), np.float32)


def choose(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    """Draw a name by its share."""
    weights = np.array(list(shares.values()))
    return str(rng.choice(list(shares), p=weights / weights.sum()))


def uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Draw from a range."""
    return float(rng.uniform(*bounds))


def pick(rng: np.random.Generator, palette: Float32[np.ndarray, "n 3"], jitter: float) -> Colour:
    """Draw an sRGB colour of a palette, moved in brightness and a little in hue."""
    moved = palette[rng.integers(len(palette))] + rng.normal(0, jitter) + rng.normal(0, jitter / 2, 3)
    return np.asarray(np.clip(moved, 0.02, 0.98), np.float32)


def relief(
    rng: np.random.Generator, points: Float[np.ndarray, "v 3"], lengths: tuple[float, float]
) -> Float32[np.ndarray, "v 3"]:
    """Smooth random vectors of about unit size at points in space: sums of plane waves of these lengths, metres."""
    return np.stack([_waves(rng, points, lengths) for _ in range(3)], axis=1).astype(np.float32)


def _waves(
    rng: np.random.Generator, points: Float[np.ndarray, "v 3"], lengths: tuple[float, float]
) -> Float32[np.ndarray, " v"]:
    count = 5
    directions = rng.normal(size=(count, 3))
    directions *= (2 * np.pi / rng.uniform(*lengths, count) / np.linalg.norm(directions, axis=1))[:, None]
    phases = rng.uniform(0, 2 * np.pi, count)
    # sums in a fixed order, as a matrix product has none
    x, y, z = (points[:, axis, None].astype(np.float32) * directions[:, axis].astype(np.float32) for axis in range(3))
    waves = np.sin(x + y + z + phases.astype(np.float32))
    return np.asarray(waves.sum(axis=1) / np.float32(np.sqrt(count / 2)), np.float32)
