"""Expanding the open body's compact file to the arrays of the SMPL-X layout."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

PATH = Path(__file__).parents[1] / "assets" / "open_body.npz"


def expand(compact: Mapping[str, Shaped[np.ndarray, "..."]]) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Expand quantised displacements, weights and the sparse regressor; metres, float64, no pose correctives."""
    n_vertices, n_joints = len(compact["vertices"]), len(compact["parents"])
    scale = compact["displacement_scale"] / 32767
    hands = compact["hand_mean"].reshape(2, -1)
    return {
        "v_template": compact["vertices"].astype(np.float64),
        "shapedirs": np.ascontiguousarray((compact["displacements"] * scale[:, None, None]).transpose(1, 2, 0)),
        "posedirs": np.zeros((n_vertices, 3, 9 * (n_joints - 1)), np.float32),
        "J_regressor": _regressor(compact, n_vertices),
        "weights": _weights(compact, n_joints),
        "kintree_table": np.stack([compact["parents"].astype(np.int64), np.arange(n_joints)]),
        "f": compact["faces"].astype(np.int64),
        "hands_meanl": hands[0],
        "hands_meanr": hands[1],
    }


def _weights(compact: Mapping[str, Shaped[np.ndarray, "..."]], n_joints: int) -> Float[np.ndarray, "v j"]:
    weights = np.zeros((len(compact["vertices"]), n_joints))
    joints: Int[np.ndarray, "v k"] = compact["weight_joints"].astype(np.int64)
    np.put_along_axis(weights, joints, compact["weights"].astype(np.float64), axis=1)
    weights /= weights.sum(1, keepdims=True)
    return weights


def _regressor(compact: Mapping[str, Shaped[np.ndarray, "..."]], n_vertices: int) -> Float[np.ndarray, "j v"]:
    regressor = np.zeros((len(compact["parents"]), n_vertices))
    regressor[compact["regressor_rows"], compact["regressor_columns"]] = compact["regressor"]
    regressor /= regressor.sum(1, keepdims=True)
    return regressor
