"""A prediction beside its truth, posed, aligned and sampled: what every metric is a function of."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from evaluation.neighbours import within
from evaluation.protocol import Protocol
from evaluation.sampling import sample_surface, uniform_numbers
from evaluation.surfaces import Penetration, penetration
from wildhoi.geometry import Similarity, align_similarity
from wildhoi.objects import Symmetry
from wildhoi.schema import ObjectPose
from wildhoi.templates import Template

Vertices = Float[np.ndarray, "v 3"]


@dataclass(frozen=True, eq=False)
class Surface:
    """A posed mesh in the scored frame, metres; `stream` keys its random points."""

    vertices: Vertices
    faces: Int[np.ndarray, "f 3"]
    stream: tuple[str | int, ...]
    n_points: int
    n_f_score_points: int

    @cached_property
    def points(self) -> Float[np.ndarray, "n 3"]:
        """Points uniform by area, drawn from this surface's own stream."""
        return self.draw(self.n_points)

    @cached_property
    def f_score_points(self) -> Float[np.ndarray, "n 3"]:
        """Points uniform by area for the F-score, from a stream of their own."""
        return self.draw(self.n_f_score_points, "f-score")

    def draw(self, count: int, *purpose: str) -> Float[np.ndarray, "n 3"]:
        """So many points uniform by area; a purpose has a stream of its own."""
        return sample_surface(self.vertices, self.faces, uniform_numbers(count, 3, *self.stream, *purpose))


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison: the human, the object as the protocol articulates it, and the object's pose."""

    human: Surface
    object: Surface
    pose: ObjectPose

    def moved(self, by: Similarity) -> "Side":
        """The side after a similarity: vertices mapped, the pose as `R R_p, s R t_p + t`, the scale times s."""
        pose = ObjectPose(
            by.rotation @ self.pose.rotation,
            by.scale * by.rotation @ self.pose.translation + by.translation,
            by.scale * self.pose.scale,
            self.pose.angle,
        )
        human, thing = (replace(part, vertices=by.apply(part.vertices)) for part in (self.human, self.object))
        return Side(human, thing, pose)


@dataclass(frozen=True, eq=False)
class Pair:
    """A prediction (aligned) and its truth. `chamfers` holds distances that a GPU computed for many pairs at once."""

    image_id: str
    template: Template
    symmetry: Symmetry
    protocol: Protocol
    prediction: Side
    truth: Side
    chamfers: dict[str, float] = field(default_factory=dict)

    @cached_property
    def contacts(self) -> "Contacts":
        """Which human vertices have an object vertex nearer than the protocol's distance, on both sides."""
        return Contacts(
            *(
                within(side.human.vertices, side.object.vertices, self.protocol.contact_distance)
                for side in (self.prediction, self.truth)
            )
        )

    @cached_property
    def penetration(self) -> Penetration:
        """How far the predicted object is inside the predicted human."""
        human = self.prediction.human
        return penetration(self.prediction.object.vertices, human.vertices, human.faces)


class Contacts(NamedTuple):
    """Contact vertices of the human, predicted and true; of different lengths where the bodies do not correspond."""

    prediction: Bool[np.ndarray, "v"]
    truth: Bool[np.ndarray, "w"]


def make_side(
    image_id: str,
    side: str,
    human: Vertices,
    faces: Int[np.ndarray, "f 3"],
    template: Template,
    pose: ObjectPose,
    protocol: Protocol,
) -> Side:
    """Place the object beside a posed body and key the streams: one per image, part and side."""
    posed = template.posed(pose, articulate=protocol.articulation == "posed")
    key = (protocol.seed, image_id)
    return Side(
        Surface(human, faces, (*key, "human", side), protocol.points, protocol.f_score_points),
        Surface(posed, template.faces, (*key, "object", side), protocol.points, protocol.f_score_points),
        pose,
    )


def align(prediction: Side, truth: Side, alignment: str) -> tuple[Side, str]:
    """Bring the prediction to the truth as a protocol says, and say which alignment was possible.

    "none"; "combined": one similarity from the vertices of human and object together; "human": from the human's
    alone. Where the objects' vertices do not correspond "combined" falls back to "human", where the humans' do not
    to "none": the returned name says so.
    """
    if len(prediction.human.vertices) != len(truth.human.vertices):
        alignment = "none"
    elif alignment == "combined" and len(prediction.object.vertices) != len(truth.object.vertices):
        alignment = "human"
    if alignment == "none":
        return prediction, alignment
    parts = ("human", "object") if alignment == "combined" else ("human",)
    source, target = (np.concatenate([getattr(side, part).vertices for part in parts]) for side in (prediction, truth))
    return prediction.moved(align_similarity(source, target)), alignment
