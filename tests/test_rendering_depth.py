"""Depth at given pixels, and depth maps by either path."""

import sys

import pytest
import torch
from rendering_scenes import body_sized, camera, mesh_tensors, soup

from wildhoi.errors import InputError, MissingAssetError
from wildhoi.rendering import depth_maps, measure_capacity, pixel_depth, plane_depth, rasterize, visible_faces


def grid(batch, height, width):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], -1).view(1, -1, 2).expand(batch, -1, -1)


def test_at_all_pixels_it_is_plane_depth_bit_for_bit():
    for vertices, faces, view, size in (
        (*soup(4, batch=3), camera(3, focal=12.0, center=(5.0, 5.0)), (11, 10)),
        (*mesh_tensors(body_sized(4), (0, 0, 42)), camera(), (256, 256)),
    ):
        face = visible_faces(vertices, faces, *view, size)
        wanted = plane_depth(vertices, faces, face, *view)
        depth = pixel_depth(vertices, faces.int(), face.flatten(1), grid(len(face), *size), *view).view(face.shape)
        assert torch.equal(depth, wanted)
        assert (face >= 0).any() and torch.equal(face < 0, depth.isinf())


def test_a_ray_between_pixels_meets_the_plane():
    """Four corners of a slanted plane z = 2 + x / 2, looked at off the pixel grid."""
    vertices = torch.tensor([[[-1.0, -1, 1.5], [1, -1, 2.5], [1, 1, 2.5], [-1, 1, 1.5]]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    view = camera(focal=10.0, center=(5.0, 5.0), dtype=torch.float64)
    pixels = torch.tensor([[[5.25, 4.5], [6.75, 7.0]]], dtype=torch.float64)
    for face in (0, 1):
        depth = pixel_depth(vertices, faces, torch.full((1, 2), face), pixels, *view)
        ray_x = (pixels[..., 0] - 5) / 10
        assert torch.allclose(depth, 2 / (1 - ray_x / 2), atol=1e-12)


def test_its_gradient_is_right_and_nothing_comes_from_empty_pixels():
    vertices, faces = soup(7, count=6, batch=2, dtype=torch.float64)
    view = camera(2, focal=15.0, center=(5.2, 5.7), dtype=torch.float64)
    face = rasterize(vertices, faces, *view, (12, 12)).face.flatten(1)
    pixels = torch.randint(0, 12, (2, 40, 2), generator=torch.Generator().manual_seed(1))
    ids = face.gather(1, pixels[..., 1] * 12 + pixels[..., 0])
    assert 10 < (ids >= 0).sum() < 75
    vertices.requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda v: pixel_depth(v, faces, ids, pixels, *view).masked_fill(ids < 0, 0.0), vertices
    )


def test_empty_pixels_are_infinite_without_gradient_even_among_broken_faces():
    vertices = torch.zeros(2, 6, 3)
    vertices[:, :3] = torch.tensor([[-1.0, -1, 2], [1, -1, 2], [0, 1, 2]])
    vertices[0, 3:] = torch.nan
    vertices.requires_grad_(True)
    faces = torch.tensor([[3, 4, 5], [0, 0, 0], [0, 1, 2]])
    ids = torch.tensor([[-1, 2, -1, -1], [-1, -1, -1, -1]])
    pixels = torch.full((2, 4, 2), 4)
    depth = pixel_depth(vertices, faces, ids, pixels, *camera(2, focal=8.0, center=(4.0, 4.0)))
    assert depth.tolist() == [[torch.inf, 2.0, torch.inf, torch.inf], [torch.inf] * 4]
    depth.where(ids >= 0, 0.0).sum().backward()
    assert vertices.grad[0, :3, 2].sum() > 0 and (vertices.grad[1] == 0).all() and (vertices.grad[0, 3:] == 0).all()
    vertices.grad = None
    pixel_depth(vertices, faces, ids, pixels, *camera(2, focal=8.0, center=(4.0, 4.0))).sum().backward()
    assert vertices.grad.isfinite().all()


def test_no_faces_or_no_pixels_give_nothing():
    vertices, faces = soup(0, batch=2)
    view = camera(2)
    none = torch.zeros((0, 3), dtype=torch.int64)
    nothing = pixel_depth(vertices, none, torch.full((2, 5), -1), torch.zeros(2, 5, 2), *view)
    assert nothing.shape == (2, 5) and nothing.isinf().all()
    assert (
        pixel_depth(vertices, faces, torch.zeros((2, 0), dtype=torch.int64), torch.zeros(2, 0, 2), *view).numel() == 0
    )


def test_both_paths_draw_the_same_depths_and_gradients():
    vertices, faces = soup(8, batch=3)
    view = (*camera(3, focal=30.0, center=(15.5, 12.0)), (24, 32))
    window = torch.tensor([[3, 2, 25, 20], [0, 0, 40, 40], [9, 9, 8, 8]])
    found = []
    for capacity in (None, measure_capacity(vertices, faces, *view, window=window)):
        moving = vertices.clone().requires_grad_(True)
        depth, dropped = depth_maps(moving, faces, *view, window=window, capacity=capacity)
        depth.where(depth.isfinite(), 0.0).square().sum().backward()
        assert dropped == 0
        found.append((depth.detach(), moving.grad))
    assert torch.equal(found[0][0], found[1][0]) and found[0][0].isfinite().any()
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-4, atol=1e-3)
    assert found[0][1].abs().sum() > 0


def test_too_little_room_is_told():
    vertices, faces = soup(8)
    view = (*camera(focal=30.0, center=(15.5, 12.0)), (24, 32))
    needed = measure_capacity(vertices, faces, *view, margin=1.0)
    assert depth_maps(vertices, faces, *view, capacity=needed - 7).dropped == 7


def test_the_renderer_is_passed_on(monkeypatch):
    vertices, faces = soup(8)
    view = (*camera(), (8, 8))
    with pytest.raises(InputError, match="wanted one of torch, pytorch3d"):
        depth_maps(vertices, faces, *view, renderer="opengl")
    with pytest.raises(InputError, match="leave the capacity out"):
        depth_maps(vertices, faces, *view, renderer="pytorch3d", capacity=9)
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    with pytest.raises(MissingAssetError, match="docs/renderers"):
        depth_maps(vertices, faces, *view, renderer="pytorch3d")
