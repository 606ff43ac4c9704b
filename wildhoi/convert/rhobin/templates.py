"""Templates of RHOBIN's reference in the form of a data folder: meshes, sizes, and the symmetries as given."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from wildhoi.convert.pickle_arrays import clip
from wildhoi.convert.template_report import TemplateReport, write_info
from wildhoi.convert.values import as_numbers, rotation_defect
from wildhoi.errors import InputError
from wildhoi.files import write_text
from wildhoi.meshes import MAX_COORDINATE, write_ply
from wildhoi.objects import Category
from wildhoi.ply import MAX_ELEMENTS
from wildhoi.templates import read_template

SYMMETRIES = "symmetries.json"


def write_template(raw: Any, category: Category, folder: Path) -> TemplateReport:
    """Write the template folder of a category: the mesh vertex for vertex, `info.json` and `symmetries.json`.

    Args:
        raw: `{"verts" (n, 3) metres, "faces" (m, 3), "symmetries": [{"R" (3, 3), "t" (3, 1)}, ...]}`.
        category: one of a single mesh.
        folder: what to fill.

    Raises:
        InputError: no such dict, NaN, indices out of range, or a symmetry that is no rigid motion.
    """
    if not isinstance(raw, dict) or len(category.meshes) != 1:
        raise InputError(f"got a {type(raw).__name__} for {len(category.meshes)} meshes, want verts and faces of one")
    vertices = _vertices(raw.get("verts"))
    faces = _faces(raw.get("faces"), len(vertices))
    symmetries = [_symmetry(number, entry) for number, entry in enumerate(_list(raw.get("symmetries", [])))]
    write_ply(folder / category.meshes[0], vertices.astype(np.float32), faces)
    template = read_template(folder)
    report = TemplateReport([len(template.vertices)], [len(template.faces)])
    write_info(folder, template, report)
    write_text(folder / SYMMETRIES, json.dumps(symmetries) + "\n")
    return report


def _vertices(raw: Any) -> Float[np.ndarray, "n 3"]:
    array = as_numbers(raw)
    if array is None or array.ndim != 2 or array.shape[1] != 3 or not 0 < len(array) <= MAX_ELEMENTS:
        raise InputError(f"verts are {_kind(raw)}, want (n, 3) numbers")
    with np.errstate(invalid="ignore"):
        if not (np.abs(array) <= MAX_COORDINATE).all():
            raise InputError("verts have NaN, infinite or far too large numbers, want metres")
    return array


def _faces(raw: Any, n_vertices: int) -> Int[np.ndarray, "n 3"]:
    array = np.asarray(raw) if isinstance(raw, np.ndarray) else np.empty(0)
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != 3 or not 0 < len(array) <= MAX_ELEMENTS:
        raise InputError(f"faces are {_kind(raw)}, want (n, 3) vertex indices")
    if array.min() < 0 or array.max() >= n_vertices:
        raise InputError(f"faces point to vertices {array.min()} to {array.max()}, want 0 to {n_vertices - 1}")
    return array.astype(np.int64)


def _symmetry(number: int, raw: Any) -> dict[str, list[Any]]:
    """A motion `x -> R x + t` of the template frame, as plain numbers."""
    rotation, shift = (as_numbers(raw.get(key)) if isinstance(raw, dict) else None for key in ("R", "t"))
    if rotation is None or shift is None or rotation.shape != (3, 3) or shift.size != 3:
        raise InputError(f"symmetries[{number}] is {_kind(raw)}, want R (3, 3) and t (3, 1)")
    if not (np.isfinite(rotation).all() and np.isfinite(shift).all()):
        raise InputError(f"symmetries[{number}] has NaN or infinite numbers")
    if defect := rotation_defect(rotation):
        raise InputError(f"symmetries[{number}]: R is {defect[0].replace('-', ' ')}, {defect[1]}")
    return {"R": rotation.tolist(), "t": shift.reshape(-1).tolist()}


def _list(raw: Any) -> list[Any]:
    if not isinstance(raw, (list, tuple)):
        raise InputError(f"symmetries are {_kind(raw)}, want a list")
    return list(raw)


def _kind(raw: Any) -> str:
    if isinstance(raw, np.ndarray):
        return f"an array {raw.shape} of {raw.dtype}"
    if not isinstance(raw, dict):
        return f"a {type(raw).__name__}"
    return f"a dict of {', '.join(clip(key) for key in list(raw)[:4]) or 'nothing'}"
