"""Points that are weighted sums of the surface's vertices, posed without posing the surface."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from wildhoi.body.model import BodyModel, Posture
from wildhoi.schema import N_BETAS


class _Terms(NamedTuple):
    """Which point and joint each term belongs to, and what the vertices that follow the joint add up to at rest."""

    point: Int[np.ndarray, " n"]
    joint: Int[np.ndarray, " n"]
    weight: Float[np.ndarray, " n"]
    rest: Float[np.ndarray, "n 3"]
    shape: Float[np.ndarray, "n 3 10"]
    correctives: Float[np.ndarray, "n 3 c"] | None


class SurfacePoints:
    """Weighted sums of vertices (keypoints, centroids of parts) as functions of the posed skeleton.

    Linear blend skinning is linear in the vertices at rest, so that a sum over vertices needs for each joint only their
    weighted sum at rest:

        sum_v a_v x_v = sum_j R_j (sum_v a_v w_vj r_v - W_j J_j) + W_j p_j,    W_j = sum_v a_v w_vj

    with rest vertices r that are linear in the betas and the pose feature, rest joints J and posed joints (R, p). The
    sums over vertices are taken once, here. Source: SMPL (Loper et al. 2015), equations 2 to 10, rearranged.
    """

    def __init__(self, body: BodyModel, weights: sparse.csr_matrix) -> None:
        """Take the sums.

        Args:
            body: the model; its device and type are taken.
            weights: of each point (row) for each vertex (column).
        """
        self.n_points = int(weights.shape[0])
        terms = _take_sums(body, sparse.csr_matrix(weights))

        def tensor(array: np.ndarray) -> Tensor:
            return torch.as_tensor(array, dtype=body.dtype, device=body.device)

        self._joint = torch.as_tensor(terms.joint, device=body.device)
        self._weight, self._rest = tensor(terms.weight)[:, None], tensor(terms.rest)
        self._shape = tensor(terms.shape.reshape(-1, N_BETAS).T)
        self._correctives = None if terms.correctives is None else tensor(np.moveaxis(terms.correctives, 2, 0))
        self._sum = tensor(terms.point == np.arange(self.n_points)[:, None])

    def __call__(self, posture: Posture) -> Float[Tensor, "b k 3"]:
        """The points of posed bodies; metres, SMPL frame."""
        rest = self._rest + (posture.betas @ self._shape).view(len(posture.betas), -1, 3)
        if self._correctives is not None:
            rest = rest + (posture.feature @ self._correctives.flatten(1)).view(len(posture.betas), -1, 3)
        arm = rest - self._weight * posture.rest[:, self._joint]
        turned = (posture.joints.rotations[:, self._joint] @ arm[..., None])[..., 0]
        moved: Tensor = turned + self._weight * posture.joints.positions[:, self._joint]
        return self._sum @ moved


def _take_sums(body: BodyModel, weights: sparse.csr_matrix) -> _Terms:
    """For every point and every joint that its vertices follow: what they add up to."""
    skinning = body.skinning.double().cpu().numpy()
    template = body.rest_vertices(torch.zeros(1, N_BETAS, dtype=body.dtype, device=body.device))[0]
    rest, shape = template.double().cpu().numpy(), body.shape_directions.double().cpu().numpy()
    directions = np.concatenate([rest[..., None], shape.reshape(-1, 3, N_BETAS)], axis=2)
    correctives = None if body.correctives is None else body.correctives.cpu().numpy().T.reshape(len(rest), 3, -1)
    parts: list[tuple[np.ndarray, ...]] = []
    for point in range(weights.shape[0]):
        row = weights.getrow(point)
        follows = skinning[row.indices] * row.data[:, None]
        joints = np.flatnonzero(np.abs(follows).sum(0))
        shares = follows[:, joints].T
        parts.append((
            np.full(len(joints), point), joints, shares.sum(1),
            np.tensordot(shares, directions[row.indices], 1),
            np.empty(0) if correctives is None else np.tensordot(shares, correctives[row.indices], 1),
        ))  # fmt: skip
    point_, joint, weight, moved, pose = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Terms(point_, joint, weight, moved[..., 0], moved[..., 1:], pose if correctives is not None else None)


def single_vertices(index: Int[np.ndarray, " n"], n_vertices: int) -> sparse.csr_matrix:
    """The weights of points that are one vertex each."""
    rows = np.arange(len(index))
    return sparse.csr_matrix((np.ones(len(index)), (rows, index)), shape=(len(index), n_vertices))


def means_of(parts: "list[Int[np.ndarray, '_']]", n_vertices: int) -> sparse.csr_matrix:
    """The weights of points that are the mean of some vertices each."""
    rows = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    shares = np.repeat([1 / len(part) for part in parts], [len(part) for part in parts])
    return sparse.csr_matrix((shares, (rows, np.concatenate(parts))), shape=(len(parts), n_vertices))
