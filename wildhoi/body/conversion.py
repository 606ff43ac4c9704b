"""Turning the published body pickles into plain .npz files without running what they hold."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from scipy import sparse

from wildhoi.body.layout import wanted_shapes
from wildhoi.body.reading import LARGEST_BYTES, check
from wildhoi.convert.safe_pickle import load_pickle
from wildhoi.errors import InputError
from wildhoi.files import atomic_path
from wildhoi.schema import BodyKind


class _State:
    """Stands in for a foreign class: keeps the pickled state, does nothing with it."""

    def __init__(self, *_: object) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


class _Leaf(_State):
    """A chumpy leaf, `chumpy.ch.Ch`: an array `x`."""


class _CompressedColumns(_State):
    """A scipy matrix in compressed sparse column form."""


class _CompressedRows(_State):
    """A scipy matrix in compressed sparse row form."""


STAND_INS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("chumpy.ch", "Ch"): _Leaf,
    ("chumpy", "Ch"): _Leaf,
    ("scipy.sparse.csc", "csc_matrix"): _CompressedColumns,
    ("scipy.sparse._csc", "csc_matrix"): _CompressedColumns,
    ("scipy.sparse.csr", "csr_matrix"): _CompressedRows,
    ("scipy.sparse._csr", "csr_matrix"): _CompressedRows,
}


def convert_body(source: Path, destination: Path) -> Path:
    """Convert a published SMPL-H or SMPL-X .pkl to an .npz of plain arrays.

    Args:
        source: the downloaded pickle, with chumpy and scipy.sparse objects or without.
        destination: the .npz to write.

    Returns:
        The destination.

    Raises:
        InputError: the pickle holds other classes, or is not a body of either kind.
    """
    arrays = read_pickle(source)
    with atomic_path(destination) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
    return destination


def read_pickle(path: Path, kind: BodyKind | None = None) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Read the arrays of a published body pickle; the kind is told by the number of joints unless given.

    Raises:
        InputError: the pickle holds other classes, lacks an array, or is not a body of that kind.
    """
    content = load_pickle(path, extra=STAND_INS, encoding="latin1", max_bytes=LARGEST_BYTES)
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, wanted the dictionary of a body model")
    arrays = {key: _plain(content[key], key, path) for key in wanted_shapes("smplx") if key in content}
    for key in wanted_shapes("smplx"):
        if key not in arrays:
            raise InputError(f"{path}: no array `{key}`, wanted a SMPL-H or SMPL-X model (plain SMPL has no hands)")
    check(arrays, kind or ("smplh" if arrays["kintree_table"].shape[-1:] == (52,) else "smplx"), path)
    return arrays


def _plain(value: Any, key: str, path: Path) -> Shaped[np.ndarray, "..."]:
    """Take the array out of a stand-in."""
    if isinstance(value, _Leaf):
        value = value.state.get("x")
    if isinstance(value, _CompressedColumns | _CompressedRows):
        return _dense(value, key, path)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        what = f"array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise InputError(f"{path}: `{key}` is a {what}, wanted an array of numbers")
    return value


def _dense(matrix: _CompressedColumns | _CompressedRows, key: str, path: Path) -> Shaped[np.ndarray, "r c"]:
    """Expand a sparse matrix after checking its indices, which scipy trusts when it expands."""
    state = matrix.state
    build = sparse.csc_matrix if isinstance(matrix, _CompressedColumns) else sparse.csr_matrix
    try:
        rows, columns = (int(n) for n in state.get("_shape", state.get("shape", ())))
        if not 0 < rows * columns < 10**8:
            raise ValueError(f"shape {rows} x {columns}")
        plain = build((state["data"], state["indices"], state["indptr"]), shape=(rows, columns))
        plain.check_format(full_check=True)
        return np.asarray(plain.toarray())
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{path}: `{key}` is not a valid sparse matrix ({error})") from None
