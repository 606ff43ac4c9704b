"""The 21 vertices behind the extra joints of the `smplx` class, and the regressor of the 55 joints."""

import numpy as np
from scipy.optimize import nnls

from .makehuman import Figure
from .shapes import ShapeSpace
from .skeleton import FINGERS, JOINT, PARENTS, SIDES

CANDIDATES = 240  # vertices a joint may be regressed from
FITTED_SHAPES = 24
SUM_TO_ONE = 30.0  # weight of the row that asks the regressor's entries to sum to one


def landmark_vertices(figure: Figure, space: ShapeSpace, weights: np.ndarray, used: np.ndarray) -> dict[str, int]:
    """Find nose, eyes, ears, finger tips, toes and heels by geometry; numbers count within `used`."""
    position = {int(v): i for i, v in enumerate(used)}
    x, y, z = space.template.T
    head = np.flatnonzero(weights[:, JOINT["head"]] > 0.5)

    def local(vertices: np.ndarray) -> np.ndarray:
        return np.array([position[int(v)] for v in vertices if int(v) in position])

    middle = head[(abs(x[head]) < 0.01) & (y[head] > space.joints[JOINT["jaw"], 1])]
    found = {"nose": middle[z[middle].argmax()]}
    for side, s in SIDES.items():
        eye = local(figure.group(f"helper-{s}-eye"))
        found[f"{s}eye"] = eye[z[eye].argmax()]
        found[f"{s}ear"] = head[(x[head] if side == "left" else -x[head]).argmax()]
        for finger, number in FINGERS.items():
            tip = local(figure.bone_vertices[f"finger{number}-3.{s.upper()}"])
            knuckle = space.joints[JOINT[f"{side}_{finger}3"]]
            found[f"{s}{finger}"] = tip[np.linalg.norm(space.template[tip] - knuckle, axis=1).argmax()]
        for name, bone in (("BigToe", "toe1-2"), ("SmallToe", "toe5-3")):
            toe = local(figure.bone_vertices[f"{bone}.{s.upper()}"])
            found[f"{s.upper()}{name}"] = toe[z[toe].argmax()]
        foot = np.flatnonzero(weights[:, JOINT[f"{side}_ankle"]] > 0.5)
        found[f"{s.upper()}Heel"] = foot[(z[foot] + 2 * y[foot]).argmin()]
    return {name: int(vertex) for name, vertex in found.items()}


def fit_regressor(space: ShapeSpace, weights: np.ndarray) -> np.ndarray:
    """Fit each joint as a convex combination of nearby vertices, over the mean and some sampled shapes; (55,V)."""
    shapes = np.concatenate([space.template[None], space.samples[:FITTED_SHAPES]])
    joints = np.concatenate([space.joints[None], space.sample_joints[:FITTED_SHAPES]])
    regressor = np.zeros((len(PARENTS), len(space.template)))
    for j, parent in enumerate(PARENTS):
        near = np.flatnonzero(weights[:, j] + weights[:, max(parent, 0)] > 0.02)
        distance = np.linalg.norm(space.template[near] - space.joints[j], axis=1)
        near = near[np.argsort(distance, kind="stable")[:CANDIDATES]]
        rows = shapes[:, near].transpose(0, 2, 1).reshape(-1, len(near))
        solution, _ = nnls(np.r_[rows, np.full((1, len(near)), SUM_TO_ONE)], np.r_[joints[:, j].ravel(), SUM_TO_ONE])
        regressor[j, near] = solution / solution.sum()
    return regressor
