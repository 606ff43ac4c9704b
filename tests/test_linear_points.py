"""Sums of vertices without the surface, and the 65 keypoints by the names that the `smplx` class gives."""

import numpy as np
import pytest
import slow_losses
import torch
from body_files import open_arrays, write_smplh
from fit_scenes import body
from scipy import sparse

from submissions import human, unchecked
from wildhoi.body import body_parameters, load_body
from wildhoi.body.linear import SurfacePoints, means_of, single_vertices
from wildhoi.body.wholebody import FittedKeypoints, read_regressor
from wildhoi.errors import InputError


def smplx_with_correctives(folder):
    """A made-up SMPL-X file: the open body with pose correctives of a millimetre or so."""
    arrays = open_arrays()
    rng = np.random.default_rng(0)
    correctives = 1e-3 * rng.normal(size=(len(arrays["v_template"]), 3, 486))
    (folder / "smplx").mkdir()
    np.savez(folder / "smplx" / "SMPLX_NEUTRAL.npz", **{**arrays, "posedirs": correctives.astype(np.float16)})
    return load_body("smplx", folder=folder)


@pytest.fixture(scope="module", params=["open", "smplx", "smplh"])
def model(request, tmp_path_factory):
    with unchecked():
        if request.param == "open":
            return body()
        folder = tmp_path_factory.mktemp(request.param)
        if request.param == "smplx":
            return smplx_with_correctives(folder)
        return load_body("smplh", gender="male", folder=write_smplh(folder, genders=("male",)))


@pytest.fixture(scope="module")
def people(model):
    with unchecked():
        return body_parameters([human(seed, size=0.4) for seed in range(3)], model)


@pytest.fixture(scope="module")
def surface(model, people):
    with unchecked():
        return model.surface(*people).vertices


def test_the_made_up_bodies_have_correctives(model):
    assert (model.correctives is None) == (model.kind == "open")


def test_part_means_are_those_of_the_surface(model, people, surface):
    parts = [np.arange(model.n_vertices), *model.parts.values()]
    parts = [part for part in parts if len(part)]
    with unchecked():
        found = SurfacePoints(model, means_of(parts, model.n_vertices))(model.posture(*people))
    wanted = torch.stack([surface[:, part].mean(1) for part in parts], dim=1)
    assert (found - wanted).norm(dim=-1).max() < 1e-6


def test_single_vertices_are_those_of_the_surface(model, people, surface):
    index = np.random.default_rng(1).choice(model.n_vertices, 200)
    with unchecked():
        found = SurfacePoints(model, single_vertices(index, model.n_vertices))(model.posture(*people))
    assert (found - surface[:, index]).norm(dim=-1).max() < 1e-6


def test_any_sums_are_those_of_the_surface(model, people, surface):
    """Negative weights, sums other than 1, a row of nothing."""
    rng = np.random.default_rng(2)
    weights = np.where(rng.random((6, model.n_vertices)) < 0.01, rng.normal(size=(6, model.n_vertices)), 0)
    weights[3] = 0
    with unchecked():
        found = SurfacePoints(model, sparse.csr_matrix(weights))(model.posture(*people))
    wanted = torch.from_numpy(weights) @ surface
    assert not found[:, 3].any()
    assert (found - wanted).norm(dim=-1).max() < 1e-6 * np.abs(weights).sum(1).max()


def test_sums_have_the_surface_s_gradient(model, people):
    parts = [model.parts["left_palm"], model.parts["chest"]]
    ours, theirs = ([tensor.clone().requires_grad_(True) for tensor in people] for _ in range(2))
    pull = torch.from_numpy(np.random.default_rng(3).normal(size=(3, 2, 3)))
    with unchecked():
        (SurfacePoints(model, means_of(parts, model.n_vertices))(model.posture(*ours)) * pull).sum().backward()
        vertices = model.surface(*theirs).vertices
    (torch.stack([vertices[:, part].mean(1) for part in parts], dim=1) * pull).sum().backward()
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.grad, other.grad, rtol=1e-5, atol=1e-6)


def test_the_keypoints_are_the_class_s_joints_by_name(model, people):
    with unchecked():
        found = FittedKeypoints(model)(model.posture(*people))
        wanted = slow_losses.class_keypoints(model, people)
    assert found.shape == (3, 65, 3)
    assert (found - wanted).norm(dim=-1).max() < 1e-6


def test_a_regressor_replaces_the_table(model, people, surface):
    rng = np.random.default_rng(4)
    matrix = np.where(rng.random((65, model.n_vertices)) < 0.002, rng.random((65, model.n_vertices)), 0)
    with unchecked():
        found = FittedKeypoints(model, matrix)(model.posture(*people))
    assert torch.allclose(found, torch.from_numpy(matrix) @ surface, atol=1e-5)


def test_a_regressor_is_read_and_checked(model, tmp_path):
    good = np.zeros((65, model.n_vertices))
    good[:, :65] = np.eye(65)
    np.savez(tmp_path / "good.npz", wholebody_regressor=good.astype(np.float32))
    if model.kind != "smplx":
        with pytest.raises(InputError, match="set keypoints=table"):
            read_regressor(tmp_path / "good.npz", model)
        return
    assert np.array_equal(read_regressor(tmp_path / "good.npz", model), good)
    for name, spoiled in (("short", good[:, 1:]), ("nan", np.where(good, np.nan, 0)), ("few", good[:64])):
        np.savez(tmp_path / f"{name}.npz", wholebody_regressor=spoiled)
        with pytest.raises(InputError, match="wholebody_regressor"):
            read_regressor(tmp_path / f"{name}.npz", model)
    np.savez(tmp_path / "other.npz", another=good[:2])
    for name in ("other.npz", "absent.npz"):
        with pytest.raises(InputError):
            read_regressor(tmp_path / name, model)
