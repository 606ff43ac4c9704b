"""The path of fixed shapes: the z-buffer's bits, room that may be too small, and a host that never waits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rendering_scenes import NoSync, body_sized, camera, mesh_tensors, soup, torus

from wildhoi.errors import InputError
from wildhoi.rendering import depth_maps, measure_capacity, nearest_faces_fixed, pixel_depth, visible_faces

SIZE = (24, 32)


def small_scene(seed=0, batch=3):
    vertices, faces = soup(seed, count=30, batch=batch)
    window = torch.tensor(np.random.default_rng(seed).integers(-6, 40, (batch, 4)))
    return vertices, faces, (*camera(batch, focal=30.0, center=(15.5, 12.0)), SIZE), window


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(0, 1000))
def test_with_enough_room_it_is_the_dynamic_path_bit_for_bit(seed, windowed, spare):
    vertices, faces, view, window = small_scene(seed)
    vertices[0, 5, 2], vertices[1, 7, 0], vertices[2, 9] = -1, torch.nan, torch.inf
    window = window if windowed else None
    capacity = measure_capacity(vertices, faces, *view, window=window, margin=1.0)
    face, dropped = nearest_faces_fixed(vertices, faces, *view, capacity=capacity + spare, window=window)
    assert dropped == 0
    assert torch.equal(face, visible_faces(vertices, faces, *view, window=window))


@pytest.mark.parametrize("mesh", [body_sized(4), torus()])
def test_meshes_at_both_distances_agree(mesh):
    for distance, focal in ((42.0, 5000.0), (2.5, 300.0)):
        vertices, faces = mesh_tensors(mesh, (0.013, -0.021, distance))
        view = (*camera(focal=focal, center=(127.3, 126.6)), (256, 256))
        capacity = measure_capacity(vertices, faces, *view)
        face, dropped = nearest_faces_fixed(vertices, faces.int(), *view, capacity=capacity)
        assert dropped == 0 and (face >= 0).sum() > 5000
        assert torch.equal(face, visible_faces(vertices, faces, *view))


def test_the_measure_is_exact_and_what_finds_no_room_is_counted():
    vertices, faces, view, _ = small_scene()
    needed = measure_capacity(vertices, faces, *view, margin=1.0)
    assert measure_capacity(vertices, faces, *view, margin=1.5) == int(np.ceil(1.5 * needed))
    whole = nearest_faces_fixed(vertices, faces, *view, capacity=needed)
    for capacity in (needed - 1, needed // 2, 1):
        part = nearest_faces_fixed(vertices, faces, *view, capacity=capacity)
        assert whole.dropped == 0 and part.dropped == needed - capacity
        drawn = part.face >= 0
        assert drawn.sum() <= (whole.face >= 0).sum() and (whole.face[drawn] >= 0).all()
    assert (part.face >= 0).sum() <= 1


def test_a_face_that_fills_millions_of_pixels_is_counted_exactly():
    vertices = torch.tensor([[[-9.0, -9, 1], [9, -9, 1], [0, 9, 1]]])
    view = (*camera(focal=9e4, center=(2500.0, 2500.0)), (5001, 4999))
    assert measure_capacity(vertices, torch.tensor([[0, 1, 2]]), *view, margin=1.0) == 5001 * 4999


def test_nothing_to_draw_gives_empty_maps():
    vertices, faces, view, _ = small_scene(batch=2)
    none = torch.zeros((0, 3), dtype=torch.int64)
    behind = nearest_faces_fixed(-vertices, faces, *view, capacity=5)
    assert measure_capacity(-vertices, faces, *view) == 1
    for face, dropped in (behind, nearest_faces_fixed(vertices, none, *view, capacity=5)):
        assert face.shape == (2, *SIZE) and (face == -1).all() and dropped == 0
    nobody = nearest_faces_fixed(vertices[:0], faces, torch.ones(0, 2), torch.ones(0, 2), SIZE, capacity=5)
    assert nobody.face.shape == (0, *SIZE) and nobody.dropped == 0


def test_room_for_nothing_is_refused():
    vertices, faces, view, _ = small_scene()
    with pytest.raises(InputError, match="measure_capacity"):
        nearest_faces_fixed(vertices, faces, *view, capacity=0)


def test_the_host_never_waits_in_a_step_of_fitting():
    """Every operation of drawing, of depths and of their gradient is looked at."""
    vertices, faces, view, _ = small_scene()
    window = torch.tensor([[3, 2, 25, 20], [0, 0, 40, 40], [9, 9, 8, 8]])
    capacity = measure_capacity(vertices, faces, *view, window=window)
    vertices.requires_grad_(True)
    pixels = torch.randint(0, 24, (3, 50, 2), generator=torch.Generator().manual_seed(0))
    with NoSync():
        face, _ = nearest_faces_fixed(vertices, faces, *view, capacity=capacity, window=window)
        seen = face.flatten(1).gather(1, pixels[..., 1] * SIZE[1] + pixels[..., 0])
        some = pixel_depth(vertices, faces, seen, pixels, *view[:2])
        depth = depth_maps(vertices, faces, *view, window=window, capacity=capacity).depth
        total = depth.nan_to_num(posinf=0.0).sum() + some.nan_to_num(posinf=0.0).sum()
        total.backward()
    assert (vertices.grad.abs().sum((1, 2)) > 0).tolist() == [True, True, False]
    with NoSync(), pytest.raises(AssertionError, match="host wait"):
        depth_maps(vertices, faces, *view)


def test_no_shape_depends_on_a_value():
    """Tensors without values pass through the fixed path, not through the other; all the work is on their device."""
    vertices, faces, (focal, center, size), window = small_scene()
    empty = vertices.to("meta").requires_grad_(True)
    rest = faces.to("meta"), focal.to("meta"), center.to("meta"), size
    maps = depth_maps(empty, *rest, window=window.to("meta"), capacity=100)
    assert maps.depth.shape == (3, *SIZE) and maps.depth.device.type == "meta" and maps.dropped.shape == ()
    maps.depth.sum().backward()
    assert empty.grad.shape == vertices.shape
    with pytest.raises(NotImplementedError):  # the dynamic path asks how many pixels there are: meta tensors cannot say
        depth_maps(empty, *rest)


@pytest.mark.parametrize("capacity", [None, 20_000])
def test_on_a_gpu_the_result_is_the_same(capacity):
    if not torch.cuda.is_available():
        pytest.skip("no GPU: the drawing there is not compared with the CPU's")
    vertices, faces, (focal, center, size), window = small_scene()
    here = visible_faces(vertices, faces, focal, center, size, window=window)
    there = depth_maps(
        vertices.cuda(), faces.cuda(), focal.cuda(), center.cuda(), size, window=window.cuda(), capacity=capacity
    )
    assert torch.equal(there.depth.isfinite().cpu(), here >= 0) and there.dropped == 0
