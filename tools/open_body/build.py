"""From the MakeHuman assets to the compact file that ships."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .decimate import Decimation
from .landmarks import fit_regressor, landmark_vertices
from .makehuman import assets_folder, read_figure
from .shapes import Bodies, ShapeSpace, fit_shape_space, read_expressions
from .skeleton import FINGERS, N_VERTICES, PARENTS, SLOTS
from .skinning import soften, spread
from .stretch import Body

# A relaxed hand: flexion of the three phalanges, radians; the left hand turns about -z, the right about +z.
CURL = {
    "index": (0.20, 0.30, 0.20), "middle": (0.28, 0.38, 0.25), "pinky": (0.38, 0.45, 0.30), "ring": (0.34, 0.42, 0.28),
    "thumb": (0.10, 0.10, 0.10),
}  # fmt: skip


class Built(NamedTuple):
    """The finished body and its expression units; metres."""

    body: Body
    expressions: np.ndarray  # (10,V,3)


def build() -> Built:
    """Read, sample, pose, decimate, regress and soften; deterministic on one machine."""
    root = assets_folder()
    figure = read_figure(root)
    used, faces = np.unique(figure.faces, return_inverse=True)
    faces = faces.reshape(-1, 3)
    weights = spread(figure.weights[used], faces)
    space = fit_shape_space(Bodies(root, figure), figure, weights, used)
    landmarks = landmark_vertices(figure, space, weights, used)
    faces = Decimation(space.template, faces, set(landmarks.values())).run(N_VERTICES)
    order = _vertex_order(np.unique(faces), landmarks)
    renumbered = np.empty(len(used), np.int64)
    renumbered[order] = np.arange(N_VERTICES)
    space, weights, faces = _subset(space, order), weights[order], renumbered[faces]
    body = Body(
        template=space.template,
        directions=space.directions,
        regressor=fit_regressor(space, weights),
        weights=weights,
        faces=faces,
        hand_mean=_hand_mean(),
    )
    expressions = read_expressions(root, len(figure.vertices))[:, used][:, order]
    return Built(soften(body), expressions)


def save(built: Built, path: Path) -> None:
    """Write the compact file: 16-bit displacements and weights, sparse regressor."""
    body = built.body
    displacements = np.concatenate([body.directions, built.expressions])
    scale = np.abs(displacements).max((1, 2))
    influences = int((body.weights > 0).sum(1).max())
    joints = np.argsort(-body.weights, axis=1, kind="stable")[:, :influences]
    rows, columns = np.nonzero(body.regressor > 1e-5)
    with path.open("wb") as stream:
        np.savez_compressed(
            stream,
            vertices=body.template.astype(np.float32),
            faces=body.faces.astype(np.uint16),
            displacements=np.round(displacements / scale[:, None, None] * 32767).astype(np.int16),
            displacement_scale=scale,
            weight_joints=joints.astype(np.uint8),
            weights=np.round(np.take_along_axis(body.weights, joints, 1) * 65535).astype(np.uint16),
            regressor_rows=rows.astype(np.uint8),
            regressor_columns=columns.astype(np.uint16),
            regressor=body.regressor[rows, columns].astype(np.float32),
            parents=PARENTS.astype(np.int8),
            hand_mean=body.hand_mean,
        )


def _vertex_order(kept: np.ndarray, landmarks: dict[str, int]) -> np.ndarray:
    """List the kept vertices so that each landmark gets the number the `smplx` class expects it at."""
    order = np.full(N_VERTICES, -1)
    for name, slot in SLOTS.items():
        order[slot] = landmarks[name]
    order[order < 0] = np.setdiff1d(kept, list(landmarks.values()))
    return order


def _subset(space: ShapeSpace, order: np.ndarray) -> ShapeSpace:
    return replace(
        space, template=space.template[order], directions=space.directions[:, order], samples=space.samples[:, order]
    )


def _hand_mean() -> np.ndarray:
    flexion = np.array([angle for finger in FINGERS for angle in CURL[finger]])
    left = np.zeros((15, 3))
    left[:, 2] = -flexion
    return np.concatenate([left, -left])
