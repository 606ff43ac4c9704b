"""Which parts of a body attract which parts of an object: by the category table, or as the authors' code does."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import ConvexHull, QhullError

from wildhoi.body.model import BodyModel
from wildhoi.templates import Template

Vertices = Int[np.ndarray, "_"]
Row = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts and pairs of them.

    Attributes:
        body: vertices of the different parts of the body.
        object: vertices of the different parts of the template.
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


def _numbered(parts: list[Vertices]) -> tuple[list[Vertices], list[int]]:
    """The different ones among parts, and which of them each is."""
    distinct: dict[bytes, int] = {}
    numbers = [distinct.setdefault(part.tobytes(), len(distinct)) for part in parts]
    return [parts[numbers.index(number)] for number in range(len(distinct))], numbers


def _parts(pairs: list[tuple[Vertices, Vertices]], rows: Callable[[list[int], list[int]], list[Row]]) -> Parts:
    bodies, body_numbers = _numbered([one for one, _ in pairs])
    things, thing_numbers = _numbered([other for _, other in pairs])
    return Parts(bodies, things, np.array(rows(body_numbers, thing_numbers), np.int64).reshape(-1, 3))


def matched_parts(body: BodyModel, template: Template) -> Parts:
    """Each part of the body with the parts of the object that it touches, where its own box meets theirs."""
    return _parts(named_pairs(body, template), lambda bodies, things: list(zip(bodies, things, bodies, strict=True)))


def released_parts(body: BodyModel, template: Template) -> Parts:
    """Every part of the body with every part of the object, as the authors' code pairs them.

    It looks the person's box up under the name of the object's part. So it is the box of the part that touches the
    object's part that decides, whichever part of the body is then attracted. A part of the object that two parts of the
    body touch counts as two, since the authors' parts have a name for each touching pair.
    """
    return _parts(
        named_pairs(body, template),
        lambda bodies, things: [
            (part, thing, gate) for gate, thing in zip(bodies, things, strict=True) for part in sorted({*bodies})
        ],
    )


def mirrors(template: Template) -> Float[np.ndarray, "m 3"]:
    """The signs that turn a correspondence map into itself and, where the object has one, its symmetric twin."""
    axes = template.category.mirror_axes
    return np.array([(1, 1, 1)] if axes is None else [(1, 1, 1), axes], np.float64)


def spans(parts: "list[Int[np.ndarray, '_']]", used: Int[np.ndarray, " n"]) -> Int[np.ndarray, "p m"]:
    """Where the vertices of each part are among those used; short parts repeat their first, which no box minds."""
    longest = max((len(part) for part in parts), default=1)
    rows = [np.r_[part, np.full(longest - len(part), part[0])] for part in parts]
    return np.searchsorted(used, np.array(rows, np.int64).reshape(-1, longest))
