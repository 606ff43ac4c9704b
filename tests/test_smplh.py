"""SMPL-H fits: the SMPL frame and camera made of them against the route over world coordinates."""

import numpy as np
import pytest
import torch
from body_files import write_smplh
from scipy.spatial.transform import Rotation

from wildhoi.body import load_body
from wildhoi.convert.smplh import full_pose, pelvis, read_fit
from wildhoi.errors import InputError, MissingAssetError

FOCAL, CENTRE = np.array([900.0, 910.0]), np.array([500.0, 400.0])


@pytest.fixture(scope="module")
def bodies(tmp_path_factory):
    """SMPL-H files whose pelvis is off the origin and moves with the shape."""
    with pytest.MonkeyPatch.context() as patch:
        folder = write_smplh(tmp_path_factory.mktemp("bodies"), genders=("male",))
        patch.setenv("WILDHOI_BODY_MODELS", str(folder))
        yield folder / "smplh"


def raw_fit(rng):
    pose = rng.normal(0, 0.3, 156)
    pose[:3] = rng.normal(0, 1.5, 3)
    return pose, rng.normal(0, 1, 10), rng.normal(0, 1, 3)


def rest_pelvis(folder, gender, betas):
    """J0 by its definition."""
    arrays = np.load(folder / f"SMPLH_{gender.upper()}.npz")
    shaped = arrays["v_template"] + arrays["shapedirs"][:, :, :10] @ betas
    return arrays["J_regressor"][0] @ shaped


def rooted_vertices(human):
    """The posed body with the pelvis at the origin, zero orientation."""
    arrays = (human.betas, human.body_pose, human.left_hand_pose, human.right_hand_pose)
    return load_body("smplh", gender="male").surface(*(torch.tensor(a[None]) for a in arrays)).vertices[0].numpy()


@pytest.mark.parametrize("seed", range(5))
def test_camera_and_object_agree_with_world_coordinates(bodies, seed):
    rng = np.random.default_rng(seed)
    pose, betas, trans = raw_fit(rng)
    fit = read_fit(pose, betas, trans, "male")
    place = rest_pelvis(bodies, "male", betas)
    assert np.linalg.norm(place) > 0.05
    body_world = rooted_vertices(fit.human) @ Rotation.from_rotvec(pose[:3]).as_matrix().T + place + trans
    turn, shift = Rotation.random(random_state=seed).as_matrix(), rng.normal(0, 1, 3)
    template = rng.normal(0, 0.3, (20, 3))
    placed = fit.place(turn, shift)
    relative = []
    for camera in range(4):
        config, centre = Rotation.random(random_state=100 * seed + camera).as_matrix(), rng.normal(0, 2, 3)
        seen = fit.camera(config, centre, FOCAL, CENTRE)
        np.testing.assert_allclose(
            rooted_vertices(fit.human) @ seen.rotation.T + seen.translation, (body_world - centre) @ config, atol=1e-9
        )
        smpl = template @ placed.rotation.T + placed.translation
        world = template @ turn.T + shift
        np.testing.assert_allclose(smpl @ seen.rotation.T + seen.translation, (world - centre) @ config, atol=1e-9)
        # the relative pose as a camera gives it: R^T R_o, R^T (t_o - t)
        in_camera = config.T @ turn, config.T @ (shift - centre)
        relative.append(
            np.hstack([seen.rotation.T @ in_camera[0], (seen.rotation.T @ (in_camera[1] - seen.translation))[:, None]])
        )
    assert np.ptp(relative, axis=0).max() < 1e-5
    np.testing.assert_allclose(relative[0], np.hstack([placed.rotation, placed.translation[:, None]]), atol=1e-9)


def test_the_first_joint_of_the_hands_and_body_come_out_in_order():
    fit_pose = np.arange(156) / 1000.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wildhoi.convert.smplh.pelvis", lambda *_: np.zeros(3))
        human = read_fit(fit_pose, np.zeros(16), np.zeros((1, 3)), "male").human
    assert human.body_pose[0, 0] == 0.003 and human.left_hand_pose[0, 0] == 0.066
    assert human.right_hand_pose[0, 0] == 0.111 and human.betas.shape == (10,)


def test_poses_of_smpl_keep_body_and_hands_in_place():
    pose = np.arange(1.0, 73.0)
    full = full_pose(pose)
    assert (full[:69] == pose[:69]).all() and (full[111:114] == pose[69:]).all()
    assert not full[69:111].any() and not full[114:].any()


def test_the_pelvis_is_that_of_gender_and_shape(bodies, tmp_path, monkeypatch):
    betas = np.linspace(-1, 1, 10)
    np.testing.assert_allclose(pelvis("male", tuple(betas)), rest_pelvis(bodies, "male", betas), atol=1e-9)
    arrays = dict(np.load(bodies / "SMPLH_MALE.npz"))
    arrays["v_template"] = arrays["v_template"] + [0, 0, 0.25]
    (tmp_path / "smplh").mkdir()
    np.savez(tmp_path / "smplh" / "SMPLH_FEMALE.npz", **arrays)
    monkeypatch.setenv("WILDHOI_BODY_MODELS", str(tmp_path))
    np.testing.assert_allclose(
        pelvis("female", tuple(betas)), rest_pelvis(bodies, "male", betas) + np.array([0, 0, 0.25]), atol=1e-9
    )
    with pytest.raises(MissingAssetError, match="SMPLH_MALE"):
        pelvis("male", tuple(betas))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pose": np.zeros(150)}, "pose of 150"),
        ({"pose": np.full(156, np.nan)}, "pose: not an array of finite"),
        ({"pose": [["a"]]}, "pose: not"),
        ({"pose": [[1.0], [1.0, 2.0]]}, "pose: not"),
        ({"betas": np.zeros(9)}, "betas of 9"),
        ({"betas": {"a": 1}}, "betas: not"),
        ({"trans": np.array([0, 0, np.inf])}, "trans: not"),
        ({"trans": np.zeros(4)}, "trans of 4"),
    ],
    ids=str,
)
def test_wrong_numbers_are_refused(change, message):
    raw = {"pose": np.zeros(156), "betas": np.zeros(10), "trans": np.zeros(3)} | change
    with pytest.raises(InputError, match=message):
        read_fit(raw["pose"], raw["betas"], raw["trans"], "male")
