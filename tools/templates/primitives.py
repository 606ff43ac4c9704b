"""Closed solids: everything but the geodesic sphere is a loft, a stack of rings with the same number of points."""

from collections.abc import Iterable

import numpy as np
import trimesh
from jaxtyping import Float

from tools.templates.mesh import Part, outward


def loft(name: str, rings: Float[np.ndarray, "n m 3"], *, closed: bool = False) -> Part:
    """Join neighbouring rings by triangles; the ends are closed by fans, or joined when `closed`."""
    index = np.arange(rings.shape[0] * rings.shape[1]).reshape(rings.shape[:2])
    here = index if closed else index[:-1]
    there = np.roll(index, -1, axis=0) if closed else index[1:]
    here_next, there_next = np.roll(here, -1, axis=1), np.roll(there, -1, axis=1)
    faces = [np.stack(t, axis=-1).reshape(-1, 3) for t in ((here, here_next, there_next), (here, there_next, there))]
    vertices = rings.reshape(-1, 3)
    if not closed:
        first, last = np.full_like(index[0], index.size), np.full_like(index[0], index.size + 1)
        faces.append(np.stack([first, np.roll(index[0], -1), index[0]], axis=-1))
        faces.append(np.stack([last, index[-1], np.roll(index[-1], -1)], axis=-1))
        vertices = np.concatenate([vertices, rings[[0, -1]].mean(axis=1)])
    return outward(name, vertices, np.concatenate(faces))


def oval(width: float, height: float, sides: int = 12, power: float = 2) -> Float[np.ndarray, "m 2"]:
    """Superellipse with the given half axes: 2 is an ellipse, larger powers approach a rectangle."""
    angle = np.arange(sides) * 2 * np.pi / sides
    wave = np.stack([np.cos(angle), np.sin(angle)], axis=1).round(12)
    return np.asarray(np.sign(wave) * np.abs(wave) ** (2 / power) * np.array([width, height]))


def ovals(
    width: Iterable[float], height: Iterable[float] | float, sides: int = 12, power: float = 2
) -> Float[np.ndarray, "n m 2"]:
    """Superellipses of the given half axes, one for each width."""
    widths = np.asarray(width, dtype=float)
    axes = np.stack([widths, np.broadcast_to(np.asarray(height, dtype=float), widths.shape)], axis=1)
    return np.asarray(axes[:, None] * oval(1, 1, sides, power))


def revolve(
    name: str, profile: Iterable[tuple[float, float]], axis: str, sides: int = 24, centre: Iterable[float] = (0, 0, 0)
) -> Part:
    """Turn a profile of (position along the axis, radius) about the axis `x`, `y` or `z` through `centre`."""
    along, radius = np.array(list(profile), dtype=float).T
    across = radius[:, None, None] * oval(1, 1, sides)
    rings = np.concatenate([np.broadcast_to(along[:, None, None], (len(along), sides, 1)), across], axis=2)
    return loft(name, np.roll(rings, "xyz".index(axis), axis=2) + np.asarray(tuple(centre), dtype=float))


def sweep(
    name: str,
    path: Float[np.ndarray, "n 3"],
    section: Float[np.ndarray, "m 2"] | Float[np.ndarray, "n m 2"],
    normal: Float[np.ndarray, "..."] | Iterable[float],
    *,
    closed: bool = False,
) -> Part:
    """Carry a section along a path.

    Args:
        name: the part's name.
        path: points, metres.
        section: one for all points or one each; its first axis follows `normal` made perpendicular to the path,
            its second the cross product of path direction and normal.
        normal: one direction for all points or one each, nowhere parallel to the path.
        closed: whether the path returns to its first point (which is not repeated).
    """
    ahead, behind = np.roll(path, -1, axis=0), np.roll(path, 1, axis=0)
    tangent = _unit(ahead - behind if closed else np.gradient(path, axis=0))
    first = np.broadcast_to(np.asarray(normal, dtype=float), path.shape)
    first = _unit(first - (first * tangent).sum(axis=1, keepdims=True) * tangent)
    second = np.cross(tangent, first)
    section = np.broadcast_to(section, (len(path), *section.shape[-2:]))
    rings = path[:, None] + section[..., :1] * first[:, None] + section[..., 1:] * second[:, None]
    return loft(name, rings, closed=closed)


def tube(
    name: str,
    path: Float[np.ndarray, "n 3"] | Iterable[Iterable[float]],
    radius: float | Iterable[float],
    sides: int = 10,
    normal: Iterable[float] = (1, 0, 0),
) -> Part:
    """Round tube along a path; the radius is one number or one per point."""
    points = np.asarray(path, dtype=float)
    radii = np.broadcast_to(np.asarray(radius, dtype=float), len(points))
    return sweep(name, points, ovals(radii, radii, sides), normal)


def curve(points: Iterable[Iterable[float]], count: int) -> Float[np.ndarray, "n d"]:
    """Smooth curve through points (cubic Hermite, chord-length parameter), sampled evenly in that parameter."""
    knots = np.asarray([tuple(point) for point in points], dtype=float)
    at = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    slope = np.gradient(knots, at, axis=0, edge_order=2 if len(knots) > 2 else 1)
    want = np.linspace(0, at[-1], count)
    left = np.clip(np.searchsorted(at, want, side="right") - 1, 0, len(at) - 2)
    step = (at[left + 1] - at[left])[:, None]
    u = (want - at[left])[:, None] / step
    start = (1 + 2 * u) * (1 - u) ** 2 * knots[left] + u * (1 - u) ** 2 * step * slope[left]
    end = u**2 * (3 - 2 * u) * knots[left + 1] + u**2 * (u - 1) * step * slope[left + 1]
    return np.asarray(start + end)


def line(start: Iterable[float], end: Iterable[float], count: int = 2) -> Float[np.ndarray, "n 3"]:
    """Points on a straight line, both ends included."""
    return np.linspace(tuple(start), tuple(end), count).astype(float)


def hoop(radius: float, count: int, centre: Iterable[float] = (0, 0, 0)) -> Float[np.ndarray, "n 3"]:
    """Circle about the x direction, in the plane x = constant; the first point lies at +z."""
    ring = oval(radius, radius, count)
    flat = np.stack([np.zeros(count), ring[:, 1], ring[:, 0]], axis=1)
    return np.asarray(flat + np.array(tuple(centre), dtype=float))


def geodesic(name: str, radius: float, frequency: int) -> Part:
    """Sphere about the origin: each icosahedron face divided into frequency^2 triangles."""
    solid = trimesh.creation.icosahedron()
    i, j = np.array([(i, j) for i in range(frequency + 1) for j in range(frequency + 1 - i)]).T
    weights = np.stack([frequency - i - j, i, j], axis=1) / frequency
    number = {(a, b): k for k, (a, b) in enumerate(zip(i.tolist(), j.tolist(), strict=True))}
    small = [
        (number[a, b], number[a + 1, b], number[a, b + 1]) for a in range(frequency) for b in range(frequency - a)
    ] + [
        (number[a + 1, b], number[a + 1, b + 1], number[a, b + 1])
        for a in range(frequency - 1)
        for b in range(frequency - 1 - a)
    ]
    points = np.einsum("kc,fcd->fkd", weights, solid.vertices[solid.faces]).reshape(-1, 3)
    faces = (np.array(small)[None] + np.arange(20)[:, None, None] * len(weights)).reshape(-1, 3)
    _, kept, merged = np.unique(points.round(9), axis=0, return_index=True, return_inverse=True)
    return outward(name, radius * _unit(points[kept]), merged.reshape(-1)[faces])


def _unit(vectors: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Scale vectors to length one."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
