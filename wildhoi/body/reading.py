"""Reading and checking body files; nothing in them is executed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from wildhoi import npz
from wildhoi.body.layout import FEWEST_VERTICES, wanted_shapes
from wildhoi.errors import InputError
from wildhoi.schema import N_BETAS, BodyKind

MEND = "download the file again, or convert a published .pkl with `wildhoi body convert`"
LARGEST_BYTES = 2 * 2**30
"""Of a published pickle, the largest of which has half a gigabyte; it unpacks to no more than it has."""
LARGEST_ARRAYS = 2**29
"""Bytes of the arrays of a body, unpacked: twice those of SMPL-X with 400 shapes in 64 bits."""


def read_npz(path: Path, kind: BodyKind) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Read the arrays a body model needs from an .npz; other entries, pickled ones too, are left alone.

    Raises:
        InputError: not an .npz, truncated, too large, or an array is absent, pickled or not as `check` wants it.
    """
    arrays = read_arrays(path, tuple(wanted_shapes(kind)))
    check(arrays, kind, path)
    return arrays


def read_arrays(path: Path, keys: tuple[str, ...] | None = None) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Read the named arrays of an .npz, all of them by default, without unpickling.

    Raises:
        InputError: not an .npz, truncated, too large, or an array is absent or pickled.
    """
    try:
        return dict(npz.read_npz(path, keys, max_bytes=LARGEST_ARRAYS))
    except InputError as error:
        raise InputError(f"{error}; {MEND}") from None


def check(arrays: Mapping[str, Shaped[np.ndarray, "..."]], kind: BodyKind, path: Path) -> None:
    """Hold arrays against the layout of a kind of body.

    Raises:
        InputError: a shape, a type, an index, a parent or a value is not that of such a body; names the key.
    """
    sizes: dict[str, int] = {}
    for key, wanted in wanted_shapes(kind).items():
        array = arrays[key]
        if not _fits(array.shape, wanted, sizes):
            got, want = (_shape_text(s) for s in (array.shape, tuple(sizes.get(str(w), w) for w in wanted)))
            raise InputError(f"{path}: array `{key}` has shape {got}, wanted {want} for a {kind} body; {MEND}")
        if array.dtype.kind not in "fiu":
            raise InputError(f"{path}: array `{key}` has type {array.dtype}, wanted numbers; {MEND}")
        if not np.isfinite(array).all():
            raise InputError(f"{path}: array `{key}` holds NaN or infinite values, wanted finite numbers; {MEND}")
    _check_values(arrays, kind, path)


def _check_values(arrays: Mapping[str, Shaped[np.ndarray, "..."]], kind: BodyKind, path: Path) -> None:
    n_vertices, faces, weights = len(arrays["v_template"]), arrays["f"], arrays["weights"]
    parents = arrays["kintree_table"][0, 1:].astype(np.int64)
    fewest, directions = FEWEST_VERTICES[kind], arrays["shapedirs"].shape[2]
    above = np.arange(len(parents))  # the largest parent each joint may have
    off = np.abs(weights.sum(1) - 1).max(initial=0)
    problems = {
        "v_template": (n_vertices < fewest, f"{n_vertices} vertices, wanted at least {fewest}"),
        "shapedirs": (directions < N_BETAS, f"{directions} shape directions, wanted at least {N_BETAS}"),
        "f": (faces.min(initial=0) < 0 or faces.max(initial=0) >= n_vertices, "a vertex number out of range"),
        "kintree_table": (((parents < 0) | (parents > above)).any(), "a joint before its parent"),
        "weights": (
            off > 1e-2 or weights.min(initial=0) < -1e-3,
            f"weights that miss the wanted sum of 1 by {off:.2g}",
        ),
    }
    for key, (wrong, what) in problems.items():
        if wrong:
            raise InputError(f"{path}: array `{key}` has {what}; not a {kind} body file; {MEND}")


def _fits(shape: tuple[int, ...], wanted: tuple[str | int, ...], sizes: dict[str, int]) -> bool:
    """Compare a shape with a wanted one; a letter takes the first size it meets."""
    return len(shape) == len(wanted) and all(
        got == (sizes.setdefault(want, got) if isinstance(want, str) else want)
        for got, want in zip(shape, wanted, strict=True)
    )


def _shape_text(shape: tuple[str | int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"
