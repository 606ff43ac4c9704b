"""Distances to triangles and the inside of a closed surface."""

from typing import NamedTuple

import igl
import numpy as np
from jaxtyping import Float, Int

Points = Float[np.ndarray, "n 3"]
Vertices = Float[np.ndarray, "v 3"]
Faces = Int[np.ndarray, "f 3"]


def point_to_surface(points: Points, vertices: Vertices, faces: Faces) -> Float[np.ndarray, "n"]:
    """Distance of each point to the nearest place on the triangles, metres."""
    squared = igl.point_mesh_squared_distance(points, vertices, faces)[0]
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


class Penetration(NamedTuple):
    """How far one surface is inside another: the share of its vertices inside, and the largest depth in metres."""

    share: float
    depth: float


def penetration(points: Points, vertices: Vertices, faces: Faces) -> Penetration:
    """Share of the points inside a closed surface, and how deep the deepest of them is (0 where none is).

    Inside is where the winding number is above one half, which open seams and touching parts do not upset.
    """
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    inside = ((points >= low) & (points <= high)).all(axis=1)
    near = points[inside]
    if len(near):
        near = near[igl.fast_winding_number(vertices, faces, near) > 0.5]
    if not len(near):
        return Penetration(0.0, 0.0)
    return Penetration(len(near) / len(points), float(point_to_surface(near, vertices, faces).max()))
