"""Meshes for a browser: few faces, whole numbers, text that a script file can hold."""

from base64 import b64encode
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from wildhoi.body import BodyModel, pose_person
from wildhoi.files import sha256_text
from wildhoi.schema import Human, ObjectPose
from wildhoi.show.scene import OBJECT, PERSON, Meshes
from wildhoi.templates import Template

BODY_FACES, OBJECT_FACES = 4000, 1500
LARGEST = 32767
Parts = tuple[Float[np.ndarray, "p 3"], Float[np.ndarray, "o 3"]]
"""The kept vertices of a person and an object, posed: metres, SMPL frame."""


@dataclass(frozen=True, eq=False)
class Sparse:
    """Some vertices of a mesh, and faces over them: what is left when it is decimated."""

    kept: Int[np.ndarray, " v"]
    faces: Int[np.ndarray, "f 3"]

    @cached_property
    def key(self) -> str:
        """A name for what its faces are."""
        return sha256_text(self.text)[:16]

    @cached_property
    def text(self) -> str:
        """The faces as base64 of 16 bits each."""
        return b64encode(self.faces.astype("<u2").tobytes()).decode()


def decimated(vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "m 3"], count: int) -> Sparse:
    """Take a mesh down to about `count` faces by quadric edge collapse, onto vertices that it has.

    What is left of a body in one pose is right in every other: a kept vertex moves as it did.
    """
    from igl import qslim
    from scipy.spatial import cKDTree

    if len(faces) <= count:
        kept, places = np.unique(faces, return_inverse=True)
        return Sparse(kept, places.reshape(-1, 3))
    points, left = qslim(vertices.astype(np.float64), faces.astype(np.int64), count)[:2]
    near = np.asarray(cKDTree(vertices).query(points)[1])[left]
    near = near[(near[:, 0] != near[:, 1]) & (near[:, 1] != near[:, 2]) & (near[:, 2] != near[:, 0])]
    kept, places = np.unique(near, return_inverse=True)
    return Sparse(kept, places.reshape(-1, 3))


def sparse_body(body: BodyModel) -> Sparse:
    """The faces of a body that a browser turns."""
    straight = Human(np.zeros(10), np.zeros((21, 3)), np.zeros((15, 3)), np.zeros((15, 3)))
    return decimated(pose_person(straight, body)[0], np.asarray(body.faces), BODY_FACES)


def sparse_object(template: Template) -> Sparse:
    """The faces of an object that a browser turns."""
    return decimated(template.vertices, template.faces, OBJECT_FACES)


@dataclass(frozen=True, eq=False)
class Shapes:
    """A body and an object with few faces; made once for all images of them."""

    body: BodyModel
    template: Template
    person: Sparse
    object: Sparse

    def parts(self, human: Human, pose: ObjectPose) -> Parts:
        """The kept vertices, posed: metres, SMPL frame."""
        person, _ = pose_person(human, self.body)
        return person[self.person.kept], self.template.posed(pose, articulate=True)[self.object.kept]

    def meshes(self, person: Float[np.ndarray, "p 3"], thing: Float[np.ndarray, "o 3"]) -> Meshes:
        """Both as pictures are made of them."""
        faces = np.concatenate([self.person.faces, self.object.faces + len(person)])
        colours = np.repeat([PERSON, OBJECT], [len(person), len(thing)], axis=0)
        return Meshes(np.concatenate([person, thing]), faces, colours)


def packed(points: Float[np.ndarray, "n 3"]) -> dict[str, object]:
    """Points as 16-bit numbers about a middle, as the site's script unpacks them; half a step is under 0.1 mm a metre.

    Returns:
        middle, three metres; step, metres; points, base64 of little-endian numbers.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    step = max(float((high - low).max()) / 2 / LARGEST, 1e-9)
    whole = np.round((points - middle) / step).astype("<i2")
    return {"middle": [*map(float, middle)], "step": step, "points": b64encode(whole.tobytes()).decode()}
