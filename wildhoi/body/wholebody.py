"""The 65 keypoints of COCO-WholeBody that bodies are fitted to: 23 of the body and 21 of each hand.

| numbers | of the 133 | points | on the body model |
|---|---|---|---|
| 0 | 0 | nose | vertex of the `smplx` class |
| 1 to 4 | 1 to 4 | left eye, right eye, left ear, right ear | vertices of the class |
| 5 to 16 | 5 to 16 | shoulders, elbows, wrists, hips, knees, ankles, each left then right | joints |
| 17 to 22 | 17 to 22 | big toe, small toe, heel of the left foot, then of the right | vertices of the class |
| 23 to 43 | 91 to 111 | left hand: wrist, then each finger from thumb to little, root to tip | joints; tips vertices |
| 44 to 64 | 112 to 132 | right hand, likewise | joints; tips vertices |
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from wildhoi.body.layout import SIDES
from wildhoi.body.linear import SurfacePoints, single_vertices
from wildhoi.body.model import BodyModel, Posture
from wildhoi.body.reading import read_arrays
from wildhoi.errors import InputError

PAIRED = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
FINGERS = ("thumb", "index", "middle", "ring", "pinky")

# The extra joints of the `smplx` class, which are vertices: face, left foot, right foot, left tips, right tips.
EXTRA = (
    "nose", "right_eye", "left_eye", "right_ear", "left_ear",
    *(f"{side}_{point}" for side in SIDES for point in ("big_toe", "small_toe", "heel")),
    *(f"{side}_{finger}_tip" for side in SIDES for finger in FINGERS),
)  # fmt: skip
FACE_NAMES = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
FOOT_NAMES = tuple(f"{side}_{point}" for side in SIDES for point in ("big_toe", "small_toe", "heel"))
BODY_NAMES = (*FACE_NAMES, *(f"{side}_{name}" for name in PAIRED for side in SIDES), *FOOT_NAMES)
N_BODY, N_HAND, N_FITTED = 23, 21, 65
FITTED = np.r_[0:23, 91:133]
"""Which of the 133 keypoints the 65 are."""
REGRESSOR = "smplx_wholebody_regressor.npz"


def hand_names(side: str) -> list[str]:
    """The wrist, then every finger from its root to its tip."""
    return [f"{side}_wrist", *(f"{side}_{finger}{k}" for finger in FINGERS for k in ("1", "2", "3", "_tip"))]


def extra_vertices(body: BodyModel) -> dict[str, int]:
    """The vertices behind the extra joints of the `smplx` class, by name."""
    ids = body.module.get_buffer("vertex_joint_selector.extra_joints_idxs").tolist()
    return dict(zip(EXTRA, ids, strict=True))


@lru_cache(maxsize=8)
def fitted_index(body: BodyModel) -> Int[np.ndarray, "65"]:
    """Where each of the 65 keypoints stands in a list of the body's joints followed by its vertices."""
    place = {name: number for number, name in enumerate(body.joint_names)}
    place |= {name: body.n_joints + vertex for name, vertex in extra_vertices(body).items()}  # an eye is its surface
    return np.array([place[name] for name in (*BODY_NAMES, *(n for side in SIDES for n in hand_names(side)))])


def read_regressor(path: Path, body: BodyModel) -> Float[np.ndarray, "65 v"]:
    """Read the authors' regressor of the 65 keypoints from SMPL-X's vertices: array `wholebody_regressor`.

    Raises:
        InputError: the file is absent or damaged, or not of this body's vertices.
    """
    if body.kind != "smplx":
        raise InputError(f"{path}: is of SMPL-X's vertices, the data's body model is {body.kind}; set keypoints=table")
    matrix = read_arrays(path, ("wholebody_regressor",))["wholebody_regressor"]
    if matrix.shape != (N_FITTED, body.n_vertices) or not np.isfinite(matrix).all():
        wanted = f"finite numbers of shape ({N_FITTED}, {body.n_vertices})"
        raise InputError(f"{path}: wholebody_regressor has shape {matrix.shape}, wanted {wanted}; set keypoints=table")
    return np.asarray(matrix, np.float64)


class FittedKeypoints:
    """The 65 keypoints of posed bodies, from the table above or from a regressor of vertices."""

    def __init__(self, body: BodyModel, regressor: Float[np.ndarray, "65 v"] | None = None) -> None:
        """Prepare for a body; the regressor of the authors replaces the table where it is given."""
        if regressor is not None:
            self._points, self._order = SurfacePoints(body, sparse.csr_matrix(regressor)), None
            return
        index = fitted_index(body)
        vertices = index[index >= body.n_joints] - body.n_joints
        self._points = SurfacePoints(body, single_vertices(vertices, body.n_vertices))
        order = np.where(index < body.n_joints, index, body.n_joints + np.cumsum(index >= body.n_joints) - 1)
        self._order = torch.as_tensor(order, device=body.device)

    def __call__(self, posture: Posture) -> Float[Tensor, "b 65 3"]:
        """The keypoints; metres, SMPL frame."""
        points = self._points(posture)
        if self._order is None:
            return points
        return torch.cat([posture.joints.positions, points], dim=1)[:, self._order]
