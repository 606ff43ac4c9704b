"""Made-up body files in the layouts of the licensed ones, cut from the open body."""

import numpy as np

from wildhoi.body import open_body
from wildhoi.body.layout import joint_names
from wildhoi.body.reading import read_arrays

N_SMPLH = 6890


def open_arrays():
    """The open body, which has SMPL-X's layout."""
    return open_body.expand(read_arrays(open_body.PATH))


def smplh_arrays(arrays=None, *, pelvis_at_origin=False):
    """An SMPL-H file: vertices and joints of the open body without jaw and eyes; faces among those left.

    With `pelvis_at_origin` the pelvis joint is there for every shape, as in the fixtures.
    """
    arrays = arrays or open_arrays()
    joints = [i for i, name in enumerate(joint_names("smplx")) if name in joint_names("smplh")]
    keep = np.linspace(0, len(arrays["v_template"]) - 1, N_SMPLH).astype(int)
    weights = arrays["weights"][keep][:, joints] + 1e-6
    regressor = arrays["J_regressor"][joints][:, keep] + 1e-9
    regressor /= regressor.sum(1, keepdims=True)
    place = {old: new for new, old in enumerate(joints)}
    parents = [place.get(int(p), 15 if p >= 22 else 0) for p in arrays["kintree_table"][0, joints]]
    parents[0] = 2**32 - 1
    template = arrays["v_template"][keep].astype(np.float64)
    directions = np.concatenate([arrays["shapedirs"][keep]] * 2, axis=2)[:, :, :16].astype(np.float64)
    if pelvis_at_origin:
        template -= regressor[0] @ template
        directions -= np.einsum("v,vcb->cb", regressor[0], directions)
    return {
        "v_template": template,
        "shapedirs": directions,
        "posedirs": np.eye(3, 459, dtype=np.float16) * np.linspace(0, 1e-3, N_SMPLH, dtype=np.float16)[:, None, None],
        "J_regressor": regressor,
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([parents, range(52)], np.uint32),
        "f": np.stack([np.arange(N_SMPLH - 2), np.arange(1, N_SMPLH - 1), np.arange(2, N_SMPLH)], 1).astype(np.uint32),
        "hands_meanl": np.full(45, 0.1),
        "hands_meanr": np.full(45, -0.1),
    }


def write_smplh(folder, *, genders=("male", "female", "neutral"), pelvis_at_origin=False):
    """Write SMPL-H files where `WILDHOI_BODY_MODELS` = folder finds them; returns the folder."""
    (folder / "smplh").mkdir(parents=True, exist_ok=True)
    arrays = smplh_arrays(pelvis_at_origin=pelvis_at_origin)
    for gender in genders:
        np.savez(folder / "smplh" / f"SMPLH_{gender.upper()}.npz", **arrays)
    return folder
