"""Which parts of a body attract which parts of an object: by the category table, or as the authors' code does."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy.spatial import ConvexHull, QhullError

from wildhoi.body.model import BodyModel
from wildhoi.templates import Template

Vertices = Int[np.ndarray, "_"]


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts and pairs of them.

    Attributes:
        body: vertices of each part of the body.
        object: vertices of each part of the template.
        pairs: rows (part of the body, part of the object, part of the body whose box must meet the object's part).
    """

    body: list[Vertices]
    object: list[Vertices]
    pairs: Int[np.ndarray, "p 3"]

    @staticmethod
    def hull(template: Template, part: Vertices) -> Vertices:
        """The vertices of a part on its convex hull, whose projection has the same box; all where it is not rigid."""
        moves = np.zeros(len(template.vertices), bool)
        moves[template.joint_vertices] = True
        if moves[part].any() and not moves[part].all():
            return part
        try:
            return np.asarray(part[ConvexHull(template.vertices[part]).vertices], np.int64)
        except (QhullError, ValueError):  # a flat part, or one of few vertices
            return part


def named_pairs(body: BodyModel, template: Template) -> list[tuple[Vertices, Vertices]]:
    """The parts that touch, as vertices of the body and of the template.

    They are the pairs of the category table; where the template has none of the parts that the table names, those of
    the same name in the template's own lists of both sides (the authors' files); else every part of the body that the
    table names, with the whole object.
    """
    table, own, theirs = template.category.contact, template.contact_vertices, template.human_contact_vertices
    known = {part: body.parts[part] for part in table}
    pairs = [(known[part], own[name]) for part, names in table.items() for name in names if name in own]
    if pairs:
        return pairs
    if own and theirs:
        return [(theirs[name], own[name]) for name in own if name in theirs]
    return [(vertices, np.arange(len(template.vertices))) for vertices in known.values()]


def matched_parts(body: BodyModel, template: Template) -> Parts:
    """Each part of the body with the parts of the object that it touches, where its own box meets theirs."""
    pairs = named_pairs(body, template)
    rows = np.arange(len(pairs))
    return Parts([one for one, _ in pairs], [other for _, other in pairs], np.stack([rows, rows, rows], axis=1))


def released_parts(body: BodyModel, template: Template) -> Parts:
    """Every part of the body with every part of the object, as the authors' code pairs them.

    It looks the person's box up under the name of the object's part. So it is the box of the part that touches the
    object's part that decides, whichever part of the body is then attracted.
    """
    pairs = named_pairs(body, template)
    bodies, things = [one for one, _ in pairs], [other for _, other in pairs]
    distinct = [k for k, part in enumerate(bodies) if not any(np.array_equal(part, bodies[j]) for j in range(k))]
    rows = [(part, thing, thing) for thing in range(len(things)) for part in distinct]
    return Parts(bodies, things, np.array(rows, np.int64).reshape(-1, 3))
