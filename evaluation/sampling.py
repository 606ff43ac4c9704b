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
    """Points uniform by area: the first number picks the face, the other two the place in it.

    The first numbers are sorted, so the points come face by face: the same set of points, in an order in which
    neighbours in the list are neighbours in space, which searches are faster in.
    """
    corner, second, third = (vertices.take(faces[:, k], axis=0) for k in range(3))
    along, across = second - corner, third - corner
    cumulative = np.cumsum(_doubled_areas(along, across))
    chosen = np.searchsorted(cumulative, np.sort(uniforms[:, 0]) * cumulative[-1], side="right")
    chosen = chosen.clip(max=len(faces) - 1)
    u, v = uniforms[:, 1:2], uniforms[:, 2:]
    # the half of the parallelogram beyond the diagonal is folded back onto the triangle
    outside = u + v > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    return np.asarray(corner.take(chosen, axis=0) + u * along.take(chosen, axis=0) + v * across.take(chosen, axis=0))


def _doubled_areas(a: Float[np.ndarray, "f 3"], b: Float[np.ndarray, "f 3"]) -> Float[np.ndarray, "f"]:
    """Lengths of the cross products, written out: several times faster than `np.cross` and a norm."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.asarray(np.sqrt((ay * bz - az * by) ** 2 + (az * bx - ax * bz) ** 2 + (ax * by - ay * bx) ** 2))


def spread_over(points: Float[np.ndarray, "n 3"], count: int) -> Float[np.ndarray, "count 3"]:
    """`count` of the points at even steps through the list: sampled points come by face, so all over the surface."""
    return points[np.arange(count) * len(points) // count]
