"""Half-edge collapse with a quadric error (Garland and Heckbert 1997) that keeps a subset of the vertices.

Kept vertices keep their exact weights and blend shapes, so nothing has to be interpolated.
"""

import heapq

import numpy as np

SHORTNESS = 1e-2  # weight of the fourth power of the edge length: short edges go first, none gets tiny
WORST_SHAPE = 0.15  # triangle quality, 1 = equilateral, below which a collapse may not push a triangle
NORMAL_TURN = 0.5  # cosine: no triangle may turn by more than 60 degrees


class Decimation:
    """A triangle mesh under collapse: which faces and vertices live, and the error quadric of each vertex."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, keep: set[int]) -> None:
        self.vertices, self.faces, self.keep = vertices, faces.astype(np.int64), keep
        self.alive = np.ones(len(faces), bool)
        self.faces_of: list[set[int]] = [set() for _ in vertices]
        for i, face in enumerate(self.faces):
            for vertex in face:
                self.faces_of[vertex].add(i)
        self.quadrics = _vertex_quadrics(vertices, self.faces)
        self.homogeneous = np.c_[vertices, np.ones(len(vertices))]

    def run(self, target: int) -> np.ndarray:
        """Collapse cheapest edges first until `target` vertices are left; returns the faces."""
        edges = np.unique(np.sort(self.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1), axis=0).tolist()
        heap = [(self._cost(a, b), a, b) for e in edges for a, b in (e, e[::-1]) if a not in self.keep]
        heapq.heapify(heap)
        left = len(np.unique(self.faces))
        while left > target and heap:
            queued, gone, kept = heapq.heappop(heap)
            if not self.faces_of[gone] or kept not in self._neighbours(gone):
                continue
            cost = self._cost(gone, kept)
            if cost > queued * 1.0001 + 1e-15:
                heapq.heappush(heap, (cost, gone, kept))
                continue
            if not self._allowed(gone, kept):
                continue
            self._collapse(gone, kept)
            left -= 1
            for other in sorted(self._neighbours(kept)):
                for a, b in ((other, kept), (kept, other)):
                    if a not in self.keep:
                        heapq.heappush(heap, (self._cost(a, b), a, b))
        return self.faces[self.alive]

    def _neighbours(self, vertex: int) -> set[int]:
        return {int(x) for i in self.faces_of[vertex] for x in self.faces[i]} - {vertex}

    def _cost(self, gone: int, kept: int) -> float:
        point = self.homogeneous[kept]
        length = self.vertices[gone] - self.vertices[kept]
        error = point @ (self.quadrics[gone] + self.quadrics[kept]) @ point
        return float(error + SHORTNESS * (length @ length) ** 2)

    def _allowed(self, gone: int, kept: int) -> bool:
        """Hold the link condition (the surface stays a manifold) and the limits on turning and shape."""
        shared = self.faces_of[gone] & self.faces_of[kept]
        if len(shared) != 2 or len(self._neighbours(gone) & self._neighbours(kept)) != 2:
            return False
        moved = self.faces[sorted(self.faces_of[gone] - shared)]
        old, new = self.vertices[moved], self.vertices[np.where(moved == gone, kept, moved)]
        normal_old, normal_new = _normals(old), _normals(new)
        area_old, area_new = np.linalg.norm(normal_old, axis=1), np.linalg.norm(normal_new, axis=1)
        turned = (normal_old * normal_new).sum(1) < NORMAL_TURN * area_old * area_new + 1e-14
        shape_old, shape_new = _shape(old, area_old), _shape(new, area_new)
        return not (turned.any() or (shape_new < np.minimum(WORST_SHAPE, shape_old)).any())

    def _collapse(self, gone: int, kept: int) -> None:
        for i in sorted(self.faces_of[gone]):
            if i in self.faces_of[kept]:
                self.alive[i] = False
                for x in self.faces[i]:
                    self.faces_of[x].discard(i)
            else:
                self.faces[i][self.faces[i] == gone] = kept
                self.faces_of[kept].add(i)
        self.faces_of[gone] = set()
        self.quadrics[kept] += self.quadrics[gone]


def _vertex_quadrics(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted sum of squared distances to the planes around each vertex, as (N,4,4) forms."""
    corners = vertices[faces]
    normals = _normals(corners)
    area = np.linalg.norm(normals, axis=1) + 1e-12
    normals = normals / area[:, None]
    planes = np.c_[normals, -(normals * corners[:, 0]).sum(1)]
    quadrics = np.zeros((len(vertices), 4, 4))
    for k in range(3):
        np.add.at(quadrics, faces[:, k], planes[:, :, None] * planes[:, None] * area[:, None, None])
    return quadrics


def _normals(corners: np.ndarray) -> np.ndarray:
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _shape(corners: np.ndarray, twice_area: np.ndarray) -> np.ndarray:
    squares = ((corners - np.roll(corners, 1, axis=1)) ** 2).sum((1, 2))
    return 2 * np.sqrt(3) * twice_area / np.maximum(squares, 1e-30)
