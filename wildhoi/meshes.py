"""Template files: meshes as PLY or OBJ and vertex groups as JSON, read without trusting, merging or reordering."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from wildhoi.errors import InputError
from wildhoi.files import atomic_path, read_bytes, read_json
from wildhoi.ply import MAX_ELEMENTS, parse_ply

MAX_FILE_BYTES = 512 * 2**20
MAX_COORDINATE = 1e6


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh: vertices (V, 3) in the file's unit and order, faces (F, 3) as vertex indices."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]


def read_mesh(path: Path, *, max_vertices: int = MAX_ELEMENTS, max_faces: int = MAX_ELEMENTS) -> Mesh:
    """Read a mesh with every vertex in its place; polygons become fans of triangles.

    Args:
        path: a PLY (ascii or binary, recognised by content) or OBJ file.
        max_vertices: limit, checked against the header before anything is read.
        max_faces: limit of the polygons and of the triangles.

    Raises:
        InputError: no mesh, cut short, without faces, NaN or infinite vertices, or face indices out of range.
    """
    data = read_bytes(path, MAX_FILE_BYTES, "mesh file")
    source = str(path)
    if data[:4] in (b"ply\n", b"ply\r"):
        vertices, faces = parse_ply(data, source, max_vertices, max_faces)
    elif path.suffix.lower() == ".obj":
        vertices, faces = _parse_obj(data, source, max_vertices, max_faces)
    else:
        raise InputError(f"{path}: is not a mesh (starts with {data[:12]!r}), want PLY or OBJ")
    _check_vertices(vertices, source)
    _check_faces(faces, len(vertices), max_faces, source)
    return Mesh(vertices, faces)


def write_ply(path: Path, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> None:
    """Write a binary little-endian PLY, float32 vertices and int32 faces: atomic, the same bytes for the same mesh."""
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    records = np.empty(len(faces), np.dtype([("count", "u1"), ("indices", "<i4", (3,))]))
    records["count"] = 3
    records["indices"] = faces
    with atomic_path(path) as temporary:
        temporary.write_bytes(header.encode() + np.asarray(vertices, "<f4").tobytes() + records.tobytes())


def read_vertex_groups(path: Path, n_vertices: int) -> dict[str, list[int]]:
    """Read named groups of vertices, keys in file order: keypoints (each the mean of its group) or contact parts.

    Args:
        path: JSON `{"name": [vertex index, ...], ...}`.
        n_vertices: of the mesh that the indices point into.

    Raises:
        InputError: not such a file, or groups that are empty or point outside the mesh; names them all.
    """
    groups = read_json(path)
    if not isinstance(groups, dict):
        raise InputError(f'{path}: got a {type(groups).__name__}, want {{"name": [vertex indices], ...}}')
    problems = []
    for name, indices in groups.items():
        if not isinstance(indices, list) or not all(type(index) is int for index in indices):
            problems.append(f"{name!r} is not a list of whole numbers")
        elif not indices:
            problems.append(f"{name!r} is empty")
        else:
            outside = [index for index in indices if not 0 <= index < n_vertices]
            problems += [f"{name!r} has {outside[0]}"] if outside else []
    if problems:
        more = f" and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise InputError(f"{path}: {', '.join(problems[:8])}{more}; want vertex indices from 0 to {n_vertices - 1}")
    return groups


def _check_vertices(vertices: Float[np.ndarray, "v 3"], source: str) -> None:
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(vertices) <= MAX_COORDINATE).all(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{source}: vertex {row} is {vertices[row].tolist()} ({bad.sum()} such), want finite metres")


def _check_faces(faces: Int[np.ndarray, "f 3"], n_vertices: int, max_faces: int, source: str) -> None:
    if not 0 < len(faces) <= max_faces:
        raise InputError(f"{source}: has {len(faces)} triangles, want 1 to {max_faces}")
    bad = ((faces < 0) | (faces >= n_vertices)).any(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{source}: triangle {row} has vertices {faces[row].tolist()} ({bad.sum()} such), "
            f"want 0 to {n_vertices - 1}"
        )


def _parse_obj(
    data: bytes, source: str, max_vertices: int, max_faces: int
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Read the `v` and `f` lines of a Wavefront OBJ; textures, normals and groups are passed over."""
    vertices: list[list[float]] = []
    faces: list[list[int]] = []
    for number, line in enumerate(data.decode("latin1").splitlines(), 1):
        fields = line.split()
        try:
            if fields[:1] == ["v"]:
                x, y, z = fields[1:4]
                vertices.append([float(x), float(y), float(z)])
            elif fields[:1] == ["f"]:
                corners = [_obj_index(corner, len(vertices)) for corner in fields[1:]]
                if len(corners) < 3:
                    raise ValueError
                faces += [[corners[0], b, c] for b, c in pairwise(corners[1:])]
        except ValueError:
            raise InputError(f"{source}: line {number} is {line[:60]!a}, want a vertex or a face") from None
        if len(vertices) > max_vertices or len(faces) > max_faces:
            raise InputError(f"{source}: more than {max_vertices} vertices or {max_faces} triangles")
    return np.array(vertices, np.float64).reshape(-1, 3), _as_indices(faces, source)


def _obj_index(corner: str, n_so_far: int) -> int:
    """The 0-based vertex of a corner `v/vt/vn`; negative ones count back from the last vertex."""
    index = int(corner.split("/")[0])
    if index == 0:
        raise ValueError
    return index - 1 if index > 0 else n_so_far + index


def _as_indices(faces: list[list[int]], source: str) -> Int[np.ndarray, "f 3"]:
    try:
        return np.array(faces, np.int64).reshape(-1, 3)
    except OverflowError:
        raise InputError(f"{source}: a face index of more than 64 bits") from None
