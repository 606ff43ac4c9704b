"""The 133 COCO-WholeBody keypoints of the body in space, and OpenPose's BODY_25 made of the same points.

The order is told beside `WHOLEBODY_EXCHANGE` of `wildhoi.mirror`. A keypoint is a joint or a vertex of the body.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from wildhoi.body.layout import SIDES
from wildhoi.body.model import BodyModel
from wildhoi.body.parts import vertex_normals
from wildhoi.body.wholebody import N_BODY, extra_vertices, fitted_index
from wildhoi.errors import InputError
from wildhoi.mirror import FACE_PAIRS, FEET
from wildhoi.open_scenes.detector.settings import FaceRow

N_KEYPOINTS, N_FACE = 133, 68
# Which of the 133 make each of BODY_25: one of them, or the middle of two.
OPENPOSE_SOURCES: tuple[tuple[int, ...], ...] = (
    (0,), (5, 6), (6,), (8,), (10,), (5,), (7,), (9,), (11, 12), (12,), (14,), (16,), (11,), (13,), (15,),
    (2,), (1,), (4,), (3,),
    *((FEET + k,) for k in range(6)),
)  # fmt: skip

FRONT_SHARE = 0.2
"""Metres aside that a metre towards the front outweighs: the skin is taken, not the mouth's hollow or the nape."""


def wholebody_points(
    body: BodyModel,
    vertices: Float[np.ndarray, "v 3"],
    joints: Float[np.ndarray, "j 3"],
    face: tuple[FaceRow, ...],
) -> Float[np.ndarray, "133 3"]:
    """The keypoints of a posed body, metres, in the frame of its vertices and joints."""
    return np.asarray(np.concatenate([joints, vertices])[keypoint_index(body, face)])


def openpose_from_wholebody(points: Float[np.ndarray, "133 3"]) -> Float[np.ndarray, "25 3"]:
    """BODY_25 (x, y, confidence): the same points, and middles of two, which are only as sure as the less sure one.

    A middle of which one is lost (confidence 0) is lost.
    """
    result = np.array([points[list(sources)].mean(axis=0) for sources in OPENPOSE_SOURCES])
    result[:, 2] = [points[list(sources), 2].min() for sources in OPENPOSE_SOURCES]
    result[result[:, 2] == 0] = 0
    return result


@lru_cache(maxsize=8)
def keypoint_index(body: BodyModel, face: tuple[FaceRow, ...]) -> Int[np.ndarray, "133"]:
    """Where each keypoint stands in a list of the body's joints followed by its vertices."""
    fitted = fitted_index(body)
    return np.array([*fitted[:N_BODY], *(body.n_joints + face_vertices(body, face)), *fitted[N_BODY:]], np.int64)


@lru_cache(maxsize=8)
def face_vertices(body: BodyModel, face: tuple[FaceRow, ...]) -> Int[np.ndarray, "68"]:
    """The vertices of the head nearest to the places of a table of half a face, and to their mirror images.

    Raises:
        InputError: the table leaves a face point out.
    """
    vertices = rest_vertices(body)
    head = body.parts["head"][vertex_normals(vertices, body.faces)[body.parts["head"], 2] > 0]
    eyes = vertices[[extra_vertices(body)[f"{side}_eye"] for side in SIDES]]
    chin_part = vertices[body.parts["chin"]]
    chin = chin_part[chin_part[:, 2].argmax()]
    half, level = (eyes[0, 0] - eyes[1, 0]) / 2, eyes[:, 1].mean()
    twins = dict(FACE_PAIRS) | {b: a for a, b in FACE_PAIRS}
    chosen = np.full(N_FACE, -1, np.int64)
    for place, across, up in face:
        aim = np.array([-across * half, level + up * (level - chin[1])])
        chosen[place] = head[_nearest_in_front(vertices[head], aim)]
        mirrored = vertices[chosen[place]] * (-1, 1, 1)
        if place in twins:
            chosen[twins[place]] = head[np.linalg.norm(vertices[head] - mirrored, axis=1).argmin()]
    if missing := np.flatnonzero(chosen < 0).tolist():
        raise InputError(f"table of face points: has no row for {missing} or their twins")
    return chosen


def _nearest_in_front(head: Float[np.ndarray, "n 3"], aim: Float[np.ndarray, "2"]) -> int:
    aside: Float[np.ndarray, " n"] = np.linalg.norm(head[:, :2] - aim, axis=1)
    return int((aside - FRONT_SHARE * head[:, 2]).argmin())


def rest_vertices(body: BodyModel) -> Float[np.ndarray, "v 3"]:
    """The surface of the mean body at rest, metres, as its file has it."""
    return np.asarray(body.module.get_buffer("v_template").double().cpu().numpy())
