"""The joints-only path and the surface against the `smplx` class, 64 bodies, forward and backward."""

import pytest
import torch
from smplx_class import by_class

from wildhoi.body import load_body

BATCH = 64


@pytest.fixture(scope="module")
def body():
    return load_body("open", dtype=torch.float32)


@pytest.fixture(scope="module")
def pose():
    draw = torch.Generator().manual_seed(0)
    return [0.3 * torch.randn(BATCH, *size, generator=draw) for size in ((10,), (21, 3), (15, 3), (15, 3))]


def _backward(function, pose):
    leaves = [p.clone().requires_grad_() for p in pose]
    function(*leaves)[:, :22].square().sum().backward()
    return leaves[0].grad


@pytest.mark.benchmark(group="body forward")
def test_joints(benchmark, body, pose):
    assert benchmark(body.joints, *pose).shape == (BATCH, 55, 3)


@pytest.mark.benchmark(group="body forward")
def test_surface(benchmark, body, pose):
    assert benchmark(body.surface, *pose).vertices.shape == (BATCH, 10475, 3)


@pytest.mark.benchmark(group="body forward")
def test_smplx_class(benchmark, body, pose):
    assert benchmark(by_class, body, *pose)[0].shape == (BATCH, 10475, 3)


@pytest.mark.benchmark(group="body forward and backward")
def test_joints_gradient(benchmark, body, pose):
    assert benchmark(_backward, body.joints, pose).isfinite().all()


@pytest.mark.benchmark(group="body forward and backward")
def test_surface_gradient(benchmark, body, pose):
    assert benchmark(_backward, lambda *p: body.surface(*p).joints, pose).isfinite().all()


@pytest.mark.benchmark(group="body forward and backward")
def test_smplx_class_gradient(benchmark, body, pose):
    assert benchmark(_backward, lambda *p: by_class(body, *p)[1], pose).isfinite().all()
