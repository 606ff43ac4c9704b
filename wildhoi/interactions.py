"""What people do with an object: entries of the category table, as data that a solver of scenes reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Vector = tuple[float, float, float]
Span = tuple[float, float]

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Touch:
    """A part of the body that is at a place of the object.

    Attributes:
        body: name of the part.
        at: the ends of a line of the template frame, metres; where on it is drawn for each scene, and the same share
            for all touches of one `slide`.
        radius: distance of the line from the object's skin, metres.
        along: direction of the template that the part's own direction takes (a hand's: from the little finger to the
            index finger).
        facing: direction of the template, out of its skin, that the part faces.
        loose: metres; the part only hovers about so near, and it is no contact.
        slide: touches of the same name share where they are.
        moves: whether the place is on the template's movable part.
    """

    body: str
    at: tuple[Vector, Vector]
    radius: float = 0.0
    along: Vector | None = None
    facing: Vector | None = None
    loose: float | None = None
    slide: str = "hands"
    moves: bool = False


@dataclass(frozen=True)
class Height:
    """A part of the body so high above the ground, metres."""

    body: str
    between: Span


@dataclass(frozen=True)
class Place:
    """About where the object is: the world's axes, x to the left of somebody who faces z, y up.

    Attributes:
        turn: degrees about x, then y, then z of the world, from the template frame.
        turn_spread: their standard deviations.
        joint: of the body, from which `offset` counts.
        offset: of the template's origin, metres.
        offset_spread: its standard deviations.
        firm: how near the object stays to where it was drawn: radians and metres.
    """

    turn: Vector
    turn_spread: Vector
    joint: str
    offset: Vector
    offset_spread: Vector
    firm: Span = (0.15, 0.08)


@dataclass(frozen=True)
class Interaction:
    """One thing that people do with an object.

    Attributes:
        name: of the interaction.
        place: of the object.
        pose: joint -> rotation in degrees (axis-angle in the rest pose's axes) that the posture is drawn around; a name
            without its side is for the left one and, mirrored, the right one.
        spread: standard deviation of the posture, degrees.
        lean: of the pelvis in the world, degrees, and its standard deviations.
        lean_spread: see `lean`.
        touch: contacts.
        ground: parts that stand on the ground; none where the ground does not matter.
        tiptoe: parts that stand on their front alone.
        height: of parts above the ground.
        level: directions of the template that are horizontal.
        on_ground: points of the template that touch the ground.
        gaze: where the face looks: "object", or a direction of the world.
        hands: side -> shape of the fingers.
        angle: of the template's movable part, degrees.
        mirrored: share of scenes that are seen in a mirror.
        share: how often, relative to the object's other interactions.
    """

    name: str
    place: Place
    pose: Mapping[str, Vector] = field(default_factory=lambda: NOTHING)
    spread: float = 6.0
    lean: Vector = (0.0, 0.0, 0.0)
    lean_spread: Vector = (4.0, 8.0, 3.0)
    touch: tuple[Touch, ...] = ()
    ground: tuple[str, ...] = ()
    tiptoe: tuple[str, ...] = ()
    height: tuple[Height, ...] = ()
    level: tuple[Vector, ...] = ()
    on_ground: tuple[Vector, ...] = ()
    gaze: str | Vector | None = None
    hands: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    angle: Span | None = None
    mirrored: float = 0.0
    share: float = 1.0

    @property
    def stands(self) -> bool:
        """Whether the person's weight is on the feet alone."""
        return bool(self.ground or self.tiptoe) and not self.height


def read_interaction(name: str, entry: Mapping[str, Any]) -> Interaction:
    """Make an interaction of its entry of the table."""
    entry = _numbers_as_floats(entry)
    parts: dict[str, Callable[[Any], Any]] = {
        "place": lambda e: Place(**e),
        "touch": lambda e: tuple(Touch(**t) for t in e),
    }
    parts |= {"height": lambda e: tuple(Height(**h) for h in e)}
    return Interaction(name, **{key: parts[key](value) if key in parts else value for key, value in entry.items()})


def _numbers_as_floats(value: Any) -> Any:
    """A value of the table with whole numbers as floats; a table may write 0 for 0.0."""
    if isinstance(value, Mapping):
        return {key: _numbers_as_floats(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_numbers_as_floats(item) for item in value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
