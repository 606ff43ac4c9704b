"""Painting a thing: colours for the regions that the table of looks gives its template."""

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float32, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from wildhoi.body.parts import vertex_normals
from wildhoi.open_scenes.drawing.paint import Paint, Painter, pick, relief
from wildhoi.open_scenes.drawing.settings import LookSettings, Region
from wildhoi.templates import Template

AXES = {"x": 0, "y": 1, "z": 2}
WEAR = 0.04  # of the normals: nothing that is used is quite even
COSINE = 0.3  # a region that faces somewhere: normals within about 70 degrees


def paint_thing(rng: np.random.Generator, template: Template, settings: LookSettings) -> Paint:
    """Draw the colours of a thing, independently of its pose."""
    pieces = _pieces(template)
    regions = settings.things.get(template.category.name) or _by_piece(int(pieces.max()) + 1)
    painter = Painter()
    for position, region in enumerate(regions):
        colour = pick(rng, settings.palettes[region.palette], settings.wardrobe.jitter)
        if rng.random() < region.chance or position == 0:
            painter.add(_field(region, template, pieces), colour, region.gloss, WEAR)
    size = float(np.ptp(template.vertices, axis=0).max())
    uneven = relief(rng, template.vertices, (0.1 * size, 0.5 * size))
    return painter.paint(np.zeros((len(uneven), 2), np.float32), uneven)


def _by_piece(count: int) -> tuple[Region, ...]:
    """One colour for the whole, and one for each connected piece as it comes; at most a few."""
    return tuple(Region("bright", 0.3, components=((first, count - 1),)) for first in range(min(count, 4)))


def _field(region: Region, template: Template, pieces: Int[np.ndarray, " v"]) -> Float32[np.ndarray, " v"]:
    """Positive at the vertices of a region, with the size of a distance where the region ends within a piece."""
    field = np.full(len(pieces), 1.0)
    if region.components is not None:
        inside: Bool[np.ndarray, " v"] = np.zeros(len(pieces), bool)
        for first, last in region.components:
            inside |= (first <= pieces) & (pieces <= last)
        field = np.where(inside, field, -1.0)
    if region.groups is not None:
        members = np.concatenate([template.contact_vertices[name] for name in region.groups])
        field = np.where(np.isin(np.arange(len(pieces)), members), field, -1.0)
    if region.along is not None:
        axis, low, high = region.along
        place = template.vertices[:, AXES[axis]]
        field = np.minimum(field, np.minimum(place - low, high - place) + 1e-3)
    if region.facing is not None:
        facing = vertex_normals(template.vertices, template.faces) @ np.array(region.facing)
        field = np.minimum(field, facing - COSINE)
    return field.astype(np.float32)


@lru_cache(maxsize=64)
def _pieces(template: Template) -> Int[np.ndarray, " v"]:
    """Number of the connected piece that each vertex belongs to, in the order of their first vertices."""
    edges = np.concatenate([template.faces[:, :2], template.faces[:, 1:]])
    count = len(template.vertices)
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count))
    labels: Int[np.ndarray, " v"] = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels
