"""Speed of the renderer on one core; run with `pytest tests/benchmarks/test_rendering_speed.py --benchmark-only`."""

import time

import pytest
import torch
import trimesh

from wildhoi.body import load_body
from wildhoi.rendering import depth_maps, measure_capacity, nearest_faces_fixed, plane_depth, rasterize, visible_faces

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


WINDOW = 60
"""Pixels along a side: where silhouettes and masks of a person and an object typically meet, at 256 x 256."""

IMAGES = 64


def fitting_scene(who):
    """64 pictures of a mesh in a crop of a person at 42 m, seen from all around: a closed object, or the open body."""
    if who == "body":
        body = load_body("open", dtype=torch.float32)
        vertices = body.surface(torch.zeros(1, 10), *(torch.zeros(1, n, 3) for n in (21, 15, 15))).vertices[0]
        vertices, faces = vertices - vertices.mean(0), torch.as_tensor(body.faces).long()
    else:
        mesh = trimesh.creation.icosphere(subdivisions=4).apply_scale([0.11, 0.45, 0.06])
        vertices, faces = torch.tensor(mesh.vertices).float(), torch.tensor(mesh.faces)
    angle = torch.linspace(0, 6.28, IMAGES)
    about = torch.zeros(IMAGES, 3, 3)
    about[:, 0, 0] = about[:, 2, 2] = angle.cos()
    about[:, 0, 2], about[:, 2, 0], about[:, 1, 1] = angle.sin(), -angle.sin(), 1.0
    camera = torch.full((IMAGES, 2), FOCAL), torch.full((IMAGES, 2), CENTER)
    return vertices @ about.mT + torch.tensor([0.0, 0.0, 42.0]), faces, *camera


def milliseconds(function, rounds=5):
    """The quickest of some runs, after one to warm up; time of this process, since cores may be shared."""
    function()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1000 * min(times)


@pytest.mark.parametrize("who", ["object", "body"])
def test_windows_and_fixed_shapes_in_one_run(who, say):
    """The whole picture, a window of it and a crop to that window, by either path, and a step with its gradient."""
    vertices, faces, focal, center = fitting_scene(who)
    window = torch.tensor([[100, 80, 99 + WINDOW, 79 + WINDOW]]).expand(IMAGES, -1)
    whole = vertices, faces, focal, center, SIZE
    crop = vertices, faces, focal, center - window[:, :2], (WINDOW, WINDOW)
    room = {key: measure_capacity(*view, margin=1.5) for key, view in (("whole", whole), ("crop", crop))}

    def step(**options):
        moving = vertices.clone().requires_grad_(True)
        depth, _ = depth_maps(moving, *crop[1:], **options)
        depth.where(depth.isfinite(), 0.0).sum().backward()

    found = {
        "rasterize, whole picture": milliseconds(lambda: rasterize(*whole)),
        "faces, whole picture": milliseconds(lambda: visible_faces(*whole)),
        "faces, window": milliseconds(lambda: visible_faces(*whole, window=window)),
        "faces, crop": milliseconds(lambda: visible_faces(*crop)),
        "faces, whole picture, fixed": milliseconds(lambda: nearest_faces_fixed(*whole, capacity=room["whole"])),
        "faces, crop, fixed": milliseconds(lambda: nearest_faces_fixed(*crop, capacity=room["crop"])),
        "depth and gradient, crop": milliseconds(step),
        "depth and gradient, crop, fixed": milliseconds(lambda: step(capacity=room["crop"])),
    }
    covered = float((visible_faces(*crop) >= 0).float().mean())
    say(
        f"{who}: {IMAGES} images, {len(faces)} faces, {covered:.0%} of the crop covered, ms\n"
        + "\n".join(f"  {key:32s} {value:8.1f}" for key, value in found.items())
    )
    assert found["faces, crop"] < found["faces, whole picture"] < found["rasterize, whole picture"]
