"""Closed triangle meshes as plain arrays: moving, mirroring, joining, refining where it matters, and writing as PLY."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from wildhoi.files import atomic_path


@dataclass(frozen=True)
class Part:
    """One closed, outward oriented component of a template; metres."""

    name: str
    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]


def volume(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> float:
    """Signed volume enclosed by a closed mesh, positive when its faces look outward (divergence theorem)."""
    corners = vertices[faces]
    return float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)


def outward(name: str, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Part:
    """Make a part of a closed mesh, its faces turned to look outward."""
    return Part(name, vertices, faces if volume(vertices, faces) > 0 else faces[:, ::-1])


def moved(
    part: Part, shift: Iterable[float] = (0, 0, 0), rotation: Float[np.ndarray, "3 3"] | None = None, name: str = ""
) -> Part:
    """Rotate, then shift a part; a new name is optional."""
    vertices = part.vertices if rotation is None else part.vertices @ rotation.T
    return Part(name or part.name, vertices + np.asarray(tuple(shift), dtype=float), part.faces)


def mirrored(part: Part, name: str = "") -> Part:
    """Mirror a part in the plane x = 0, its faces still looking outward."""
    return Part(name or part.name, part.vertices * np.array([-1.0, 1, 1]), part.faces[:, ::-1])


def joined(parts: list[Part]) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Concatenate the vertices and faces of several parts in their order."""
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    faces = [part.faces + start for part, start in zip(parts, starts, strict=True)]
    return np.concatenate([part.vertices for part in parts]), np.concatenate(faces)


def refined(part: Part, touched: Callable[[Float[np.ndarray, "v 3"]], Bool[np.ndarray, "v"]], longest: float) -> Part:
    """Halve edges until no face that has a touched vertex has an edge above `longest` metres.

    Every face beside a halved edge is divided too, so the mesh stays closed.

    Args:
        part: what to refine.
        touched: tells for points in the part's frame whether they are wanted dense.
        longest: the bound in metres.
    """
    while True:
        near = touched(part.vertices)[part.faces].any(axis=1)
        sides = np.stack([part.faces, np.roll(part.faces, -1, axis=1)], axis=-1)
        edges, edge_of = np.unique(np.sort(sides, axis=-1).reshape(-1, 2), axis=0, return_inverse=True)
        edge_of = edge_of.reshape(-1, 3)
        ends = part.vertices[edges]
        halve = np.zeros(len(edges), dtype=bool)
        halve[edge_of[near]] = True
        halve &= np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1) > longest
        if not halve.any():
            return part
        middle = len(part.vertices) + np.cumsum(halve) - 1
        faces = _divided(part.faces, np.where(halve, middle, -1)[edge_of])
        part = replace(part, vertices=np.concatenate([part.vertices, ends[halve].mean(axis=1)]), faces=faces)


def _divided(faces: Int[np.ndarray, "f 3"], middle: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "g 3"]:
    """Divide faces at the middle vertices of their edges (corner k to k + 1; -1 where an edge stays whole)."""
    count = (middle >= 0).sum(axis=1)
    # one edge halved: it is turned to the front; two: the whole one is turned to the back
    lead = np.where(count == 1, np.argmax(middle >= 0, axis=1), (np.argmin(middle >= 0, axis=1) + 1) % 3)
    order = (lead[:, None] + np.arange(3)) % 3
    a, b, c = np.take_along_axis(faces, order, axis=1).T
    p, q, r = np.take_along_axis(middle, order, axis=1).T
    patterns = {
        0: [(a, b, c)],
        1: [(a, p, c), (p, b, c)],
        2: [(b, q, p), (a, p, q), (a, q, c)],
        3: [(a, p, r), (b, q, p), (c, r, q), (p, q, r)],
    }
    return np.concatenate([np.stack(t, axis=1)[count == k] for k, new in patterns.items() for t in new])


def write_ply(path: Path, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> None:
    """Write a binary little-endian PLY file: float32 vertices, int32 faces."""
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.zeros(len(faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    rows["count"], rows["corners"] = 3, faces
    with atomic_path(path) as temporary:
        temporary.write_bytes(header.encode() + vertices.astype("<f4").tobytes() + rows.tobytes())
