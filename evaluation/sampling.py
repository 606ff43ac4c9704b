"""Seeded points on surfaces: the same numbers on every machine, in every order, for ever."""

import hashlib

import numpy as np
from jaxtyping import Float, Int

STREAM = "philox-sha256@1"  # the name of the recipe below, written into every score


def uniform_numbers(count: int, width: int, *key: str | int) -> Float[np.ndarray, "count width"]:
    """Uniform numbers in [0, 1) that depend on the key alone.

    Philox4x64 with the first 128 bits of sha256(key joined by "|") as its key; a number is the upper 53 bits of a raw
    64-bit word. Nothing here is left to a library's choice of distribution code.
    """
    digest = hashlib.sha256("|".join(map(str, key)).encode()).digest()
    raw = np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(count * width)
    return (raw >> np.uint64(11)).astype(np.float64).reshape(count, width) * 2.0**-53


def sample_surface(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], uniforms: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 3"]:
    """Points uniform by area: the first number picks the face, the other two the place in it."""
    corner = vertices[faces[:, 0]]
    edges = vertices[faces[:, 1:]] - corner[:, None]
    areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    cumulative = np.cumsum(areas)
    chosen = np.searchsorted(cumulative, uniforms[:, 0] * cumulative[-1], side="right").clip(max=len(faces) - 1)
    u, v = uniforms[:, 1], uniforms[:, 2]
    # the half of the parallelogram beyond the diagonal is folded back onto the triangle
    outside = u + v > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    picked = edges[chosen]
    return np.asarray(corner[chosen] + u[:, None] * picked[:, 0] + v[:, None] * picked[:, 1])
