"""What is drawn at random for a batch of scenes of one interaction: people, postures, grips, where the object is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wildhoi.body import BodyModel
from wildhoi.body.layout import BODY_JOINTS, SIDES
from wildhoi.geometry import axis_rotation, rotvec_to_matrix
from wildhoi.interactions import Interaction, Touch
from wildhoi.mirror import AXIAL
from wildhoi.open_scenes.posing.kinematics import Kinematics, State
from wildhoi.open_scenes.posing.settings import PosingSettings
from wildhoi.open_scenes.posing.skin import anchor_points
from wildhoi.templates import Template

X, Y, Z = np.eye(3)


@dataclass(frozen=True, eq=False)
class Person:
    """Who acts in a scene, with an object of which size; drawn once, whatever else is drawn again."""

    betas: Float[np.ndarray, "10"]
    scale: float


@dataclass(frozen=True, eq=False)
class Wish:
    """What a scene is drawn around; world frame, metres, radians.

    Attributes:
        turns: of the root and the body joints, rotation vectors.
        object_rotation: template frame to world.
        object_offset: of the template's origin from the joint that the interaction names.
        places: of every touch in the template frame, metres at scale 1.
        along: direction of the template that each touching part's own direction takes; zeros where there is none.
        facing: direction out of the template's skin at each touch; likewise.
        heights: of the parts that the interaction holds at a height.
        hands: rotation vectors of the finger joints, left then right.
        angle: of the template's movable part.
    """

    turns: Float[np.ndarray, "22 3"]
    object_rotation: Float[np.ndarray, "3 3"]
    object_offset: Float[np.ndarray, "3"]
    places: Float[np.ndarray, "t 3"]
    along: Float[np.ndarray, "t 3"]
    facing: Float[np.ndarray, "t 3"]
    heights: Float[np.ndarray, " h"]
    hands: Float[np.ndarray, "2 15 3"]
    angle: float | None


def draw_person(rng: np.random.Generator, settings: PosingSettings) -> Person:
    """Draw a body shape and the object's scale; both are drawn again beyond their limits."""
    shape = settings.shape
    betas = np.array([_within(rng, shape["betas"], shape["betas_limit"]) for _ in range(10)])
    return Person(betas, float(np.exp(_within(rng, shape["scale"], shape["scale_limit"]))))


def _within(rng: np.random.Generator, spread: float, limit: float) -> float:
    """A normal number, drawn again until it is within a limit."""
    while abs(value := float(rng.normal(0, spread))) > limit:
        pass
    return value


def draw_wish(interaction: Interaction, template: Template, rng: np.random.Generator, settings: PosingSettings) -> Wish:
    """Draw what varies within an interaction."""
    place = interaction.place
    turn = rng.normal(place.turn, place.turn_spread)
    slides = {touch.slide: rng.uniform() for touch in interaction.touch}
    angle = None if interaction.angle is None else float(np.radians(rng.uniform(*interaction.angle)))
    touched = [_touched(touch, slides[touch.slide], template, angle or 0.0) for touch in interaction.touch]
    places, along, facing = np.array(touched).reshape(-1, 3, 3).swapaxes(0, 1)
    return Wish(
        turns=_posture(interaction, rng, settings),
        object_rotation=_turned(np.radians(turn)),
        object_offset=rng.normal(place.offset, place.offset_spread),
        places=places,
        along=along,
        facing=facing,
        heights=np.array([rng.uniform(*height.between) for height in interaction.height]),
        hands=np.stack([_hand(interaction.hands.get(side, "relaxed"), side, rng, settings) for side in SIDES]),
        angle=angle,
    )


def _turned(angles: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation about x, then y, then z of the world."""
    x, y, z = (axis_rotation(axis, float(angle)) for axis, angle in zip((X, Y, Z), angles, strict=True))
    return np.asarray(z @ y @ x)


def _touched(touch: Touch, share: float, template: Template, angle: float) -> Float[np.ndarray, "3 3"]:
    """Where a touch is on the template, and its two directions; turned with the movable part if they are on it."""
    first, last = (np.array(end, np.float64) for end in touch.at)
    place = first + share * (last - first)
    along, facing = (_unit(direction) for direction in (touch.along, touch.facing))
    joint = template.category.joint
    if touch.moves and joint is not None:
        start, end = (template.keypoints[name] for name in joint.axis_keypoints)
        turn = axis_rotation(end - start, angle)
        place, along, facing = turn @ (place - start) + start, turn @ along, turn @ facing
    return np.stack([place, along, facing])


def _unit(direction: tuple[float, float, float] | None) -> Float[np.ndarray, "3"]:
    """A direction of length 1; zeros where there is none."""
    return np.zeros(3) if direction is None else np.array(direction, np.float64) / np.linalg.norm(direction)


def _posture(interaction: Interaction, rng: np.random.Generator, settings: PosingSettings) -> Float[np.ndarray, "22 3"]:
    """The interaction's posture with a rotation of each joint's own drawn on top."""
    turns = np.zeros((len(BODY_JOINTS), 3))
    for name, angles in both_sides(interaction.pose).items():
        turns[BODY_JOINTS.index(name)] = np.radians(angles)
    spread = np.array([settings.variation.get(name, 0.0) for name in BODY_JOINTS]) * np.radians(interaction.spread)
    turns += rng.normal(size=turns.shape) * spread[:, None] * _used(settings)
    turns[0] = np.radians(rng.normal(interaction.lean, interaction.lean_spread))
    return turns


def _used(settings: PosingSettings) -> Float[np.ndarray, "22 3"]:
    """How much each component of a joint may vary: a hinge bends about one axis only."""
    widths = np.ones((len(BODY_JOINTS), 3))
    for name, bounds in settings.limits.items():
        widths[BODY_JOINTS.index(name)] = np.minimum(1, (bounds[:, 1] - bounds[:, 0]) / np.radians(60))
    return widths


def both_sides(pose: Mapping[str, tuple[float, float, float]]) -> dict[str, Float[np.ndarray, "3"]]:
    """Rotations by joint: an entry without a side becomes one of the left and, mirrored, one of the right."""
    found: dict[str, Float[np.ndarray, 3]] = {}
    for name, angles in pose.items():
        vector = np.array(angles, np.float64)
        if name in BODY_JOINTS:
            found[name] = vector
        else:
            found[f"left_{name}"] = vector
            found[f"right_{name}"] = vector * AXIAL
    return found


def _hand(shape: str, side: str, rng: np.random.Generator, settings: PosingSettings) -> Float[np.ndarray, "15 3"]:
    """A shape of the fingers: all bend a little more or less together, and each a little by itself."""
    turns, spread = settings.hands[shape]
    bent = turns * (1 + rng.normal(0, spread)) + rng.normal(0, spread / 2, turns.shape) * (np.abs(turns) > 0)
    return np.asarray(bent * AXIAL if side == "right" else bent)


@dataclass(frozen=True, eq=False)
class Problem:
    """A batch of scenes of one interaction, ready to be solved: people, wishes as tensors, and a first state."""

    interaction: Interaction
    kinematics: Kinematics
    scale: Float[Tensor, " b"]
    start: State
    object_offset: Float[Tensor, "b 3"]
    places: Float[Tensor, "b t 3"]
    along: Float[Tensor, "b t 3"]
    facing: Float[Tensor, "b t 3"]
    heights: Float[Tensor, "b h"]

    @property
    def body(self) -> BodyModel:
        """The body model."""
        return self.kinematics.body


def make_problem(
    interaction: Interaction, body: BodyModel, people: Sequence[Person], wishes: Sequence[Wish]
) -> Problem:
    """Stack what was drawn; the first state is what was wished for, with the feet on the ground."""

    def tensor(rows: Sequence[np.ndarray | float]) -> Tensor:
        return torch.as_tensor(np.stack([np.asarray(row) for row in rows]), dtype=body.dtype, device=body.device)

    hands = tensor([rotvec_to_matrix(wish.hands.reshape(30, 3)) for wish in wishes])
    kinematics = Kinematics(body, tensor([person.betas for person in people]), hands)
    offset = tensor([wish.object_offset for wish in wishes])
    rotations = tensor([rotvec_to_matrix(wish.turns) for wish in wishes])
    still = offset.new_zeros(len(people), 3)
    state = State(rotations, still, tensor([wish.object_rotation for wish in wishes]), still)
    scale = tensor([person.scale for person in people])
    places = tensor([wish.places for wish in wishes]) * scale[:, None, None]
    along, facing = (tensor([getattr(wish, name) for wish in wishes]) for name in ("along", "facing"))
    heights = tensor([wish.heights for wish in wishes])
    start = _placed(interaction, kinematics, state, offset, heights)
    return Problem(interaction, kinematics, scale, start, offset, places, along, facing, heights)


def _placed(interaction: Interaction, kinematics: Kinematics, state: State, offset: Tensor, heights: Tensor) -> State:
    """A state with the person on the ground, or at the height that is wished for, and the object where it is wished."""
    posed = kinematics.pose(state)
    if interaction.height:
        held = anchor_points(kinematics, [height.body for height in interaction.height]).of(posed).values[..., 1]
        lift = (heights - held).mean(1)
    else:
        soles = anchor_points(kinematics, ["left_heel", "left_ball", "right_heel", "right_ball"]).of(posed)
        lift = -soles.values[..., 1].min(1).values
    root = torch.stack([torch.zeros_like(lift), lift, torch.zeros_like(lift)], 1)
    joint = kinematics.body.joint_names.index(interaction.place.joint)
    place = posed.positions[:, joint] + root + offset
    return State(state.rotations, root, state.object_rotation, place)
