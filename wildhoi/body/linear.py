"""Points that are weighted sums of the surface's vertices, posed without posing the surface."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from wildhoi.body.model import BodyModel, Posture, blend
from wildhoi.schema import N_BETAS


class _Sums(NamedTuple):
    """For each point and each joint that its vertices follow: what they add up to at rest; weight 0 fills up."""

    joint: Int[np.ndarray, "k m"]
    weight: Float[np.ndarray, "k m"]
    rest: Float[np.ndarray, "k m 3"]
    shape: Float[np.ndarray, "k m 3 10"]
    correctives: Float[np.ndarray, "k m 3 c"] | None


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
        sums = _take_sums(body, sparse.csr_matrix(weights))

        def tensor(array: np.ndarray) -> Tensor:
            return torch.as_tensor(array, dtype=body.dtype, device=body.device)

        self._joint = torch.as_tensor(sums.joint, device=body.device)
        self._weight, self._rest = tensor(sums.weight)[..., None], tensor(sums.rest)
        self._shape = tensor(sums.shape.reshape(-1, N_BETAS).T)
        self._correctives = None
        if sums.correctives is not None:
            self._correctives = tensor(sums.correctives.reshape(-1, sums.correctives.shape[-1]).T)

    def __call__(self, posture: Posture) -> Float[Tensor, "b k 3"]:
        """The points of posed bodies; metres, SMPL frame."""
        rest = self._rest + (posture.betas @ self._shape).view(len(posture.betas), *self._rest.shape)
        if self._correctives is not None:
            rest = rest + (posture.feature @ self._correctives).view(rest.shape)
        arm = rest - self._weight * posture.rest[:, self._joint]
        # a product of many small matrices is slow as such
        turned = (posture.joints.rotations[:, self._joint] * arm[..., None, :]).sum(-1)
        moved: Tensor = turned + self._weight * posture.joints.positions[:, self._joint]
        return moved.sum(2)


class SkinnedVertices:
    """Some vertices of the surface as functions of the posed skeleton, each blended as the whole surface is."""

    def __init__(self, body: BodyModel, index: Int[np.ndarray, " n"]) -> None:
        """Pick vertices by number."""
        rows = torch.as_tensor(index, device=body.device)
        template = body.rest_vertices(torch.zeros(1, N_BETAS, dtype=body.dtype, device=body.device))[0]
        coordinates = (3 * rows[:, None] + torch.arange(3, device=body.device)).flatten()
        self._skinning, self._rest = body.skinning[rows], template[rows]
        self._shape = body.shape_directions[coordinates].T.contiguous()
        self._correctives = None if body.correctives is None else body.correctives[:, coordinates]

    def __call__(self, posture: Posture) -> Float[Tensor, "b n 3"]:
        """The vertices of posed bodies; metres, SMPL frame."""
        shaped = self._rest + (posture.betas @ self._shape).view(len(posture.betas), -1, 3)
        if self._correctives is not None:
            shaped = shaped + (posture.feature @ self._correctives).view(shaped.shape)
        return blend(self._skinning, posture, shaped)


def _take_sums(body: BodyModel, weights: sparse.csr_matrix) -> _Sums:
    """Add up over the vertices of every point, once."""
    skinning = body.skinning.double().cpu().numpy()
    template = body.rest_vertices(torch.zeros(1, N_BETAS, dtype=body.dtype, device=body.device))[0]
    rest, shape = template.double().cpu().numpy(), body.shape_directions.double().cpu().numpy()
    directions = np.concatenate([rest[..., None], shape.reshape(-1, 3, N_BETAS)], axis=2)
    correctives = None if body.correctives is None else body.correctives.cpu().numpy().T.reshape(len(rest), 3, -1)
    rows = [weights.getrow(point) for point in range(weights.shape[0])]
    follows = [skinning[row.indices] * row.data[:, None] for row in rows]
    joints = [np.flatnonzero(np.abs(follow).sum(0)) for follow in follows]
    size = (len(rows), max((len(each) for each in joints), default=0))
    joint, weight = np.zeros(size, np.int64), np.zeros(size)
    moved = np.zeros((*size, 3, 1 + N_BETAS))
    pose = None if correctives is None else np.zeros((*size, 3, correctives.shape[2]))
    for point, (row, follow, chosen) in enumerate(zip(rows, follows, joints, strict=True)):
        shares, used = follow[:, chosen].T, slice(len(chosen))
        joint[point, used], weight[point, used] = chosen, shares.sum(1)
        moved[point, used] = np.tensordot(shares, directions[row.indices], 1)
        if pose is not None and correctives is not None:
            pose[point, used] = np.tensordot(shares, correctives[row.indices], 1)
    return _Sums(joint, weight, moved[..., 0], moved[..., 1:], pose)


def single_vertices(index: Int[np.ndarray, " n"], n_vertices: int) -> sparse.csr_matrix:
    """The weights of points that are one vertex each."""
    rows = np.arange(len(index))
    return sparse.csr_matrix((np.ones(len(index)), (rows, index)), shape=(len(index), n_vertices))


def means_of(parts: "list[Int[np.ndarray, '_']]", n_vertices: int) -> sparse.csr_matrix:
    """The weights of points that are the mean of some vertices each."""
    rows = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    shares = np.repeat([1 / len(part) for part in parts], [len(part) for part in parts])
    return sparse.csr_matrix((shares, (rows, np.concatenate(parts))), shape=(len(parts), n_vertices))
