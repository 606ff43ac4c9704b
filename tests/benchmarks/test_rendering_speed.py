"""Speed of the renderer on one core; run with `pytest tests/benchmarks/test_rendering_speed.py --benchmark-only`."""

import pytest
import torch
import trimesh

from wildhoi.rendering import plane_depth, rasterize

FOCAL, CENTER, SIZE = 5000.0, 127.5, (256, 256)
TARGET_SECONDS = 0.030
"""One map of 11,000 covered pixels and 20,000 faces."""


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scene(batch):
    """A closed mesh as big as a person, 20,480 faces, seen from 42 m: about 11,000 pixels."""
    mesh = trimesh.creation.icosphere(subdivisions=5).apply_scale([0.29, 0.86, 0.15])
    vertices = torch.tensor(mesh.vertices, dtype=torch.float32) + torch.tensor([0.0, 0.0, 42.0])
    faces = torch.tensor(mesh.faces, dtype=torch.int64)
    return vertices.expand(batch, -1, -1), faces, torch.full((batch, 2), FOCAL), torch.full((batch, 2), CENTER), SIZE


@pytest.mark.parametrize("batch", [1, 8])
def test_rasterize(benchmark, batch):
    arguments = scene(batch)
    covered = int((rasterize(*arguments).face[0] >= 0).sum())
    assert 10_500 < covered < 11_500
    benchmark(rasterize, *arguments)
    if benchmark.enabled:
        assert benchmark.stats["min"] / batch <= TARGET_SECONDS


def test_rasterize_faces_that_fill_the_picture(benchmark):
    vertices = torch.tensor([[[-9.0, -9, 2], [9, -9, 2], [0, 18, 2]]]) + torch.linspace(0, 1, 100).view(-1, 1, 1)
    faces = torch.arange(300).view(-1, 3)
    camera = torch.full((1, 2), FOCAL), torch.full((1, 2), CENTER)
    benchmark.pedantic(rasterize, (vertices.reshape(1, -1, 3), faces, *camera, SIZE), rounds=3)


def test_depth_and_its_gradient(benchmark):
    vertices, faces, focal, center, size = scene(1)
    face = rasterize(vertices, faces, focal, center, size).face

    def step():
        moving = vertices.clone().requires_grad_(True)
        depth = plane_depth(moving, faces, face, focal, center)
        depth[face >= 0].sum().backward()
        return moving.grad

    assert torch.isfinite(benchmark(step)).all()
