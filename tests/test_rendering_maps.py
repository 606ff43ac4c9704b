import numpy as np
import pytest
import torch
import trimesh
from rendering_scenes import body_sized, camera, mesh_tensors, soup, torus

from wildhoi.rendering import (
    Raster,
    interpolate,
    occlusion,
    overlap_vertices,
    picture,
    plane_depth,
    project,
    rasterize,
    shade,
)
from wildhoi.rendering.pictures import vertex_normals


@pytest.mark.parametrize("distance", [2.5, 42.0])
def test_plane_depth_is_the_depth_of_the_raster(distance):
    vertices, faces = mesh_tensors(body_sized(), (0, 0, distance))
    view = camera(focal=120.0 * distance)
    raster = rasterize(vertices, faces, *view, (256, 256))
    depth = plane_depth(vertices, faces, raster.face, *view)
    hit = raster.face >= 0
    assert torch.isinf(depth[~hit]).all()
    error = (depth - raster.depth)[hit].abs()
    assert error.quantile(0.999) < 2e-5 and error.max() < 1e-3


def test_plane_depth_has_the_right_gradient():
    vertices, faces = soup(7, count=6, dtype=torch.float64)
    view = camera(focal=15.0, center=(5.2, 5.7), dtype=torch.float64)
    face = rasterize(vertices, faces, *view, (12, 12)).face
    hit = face >= 0
    assert hit.sum() > 20
    vertices.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda v: plane_depth(v, faces, face, *view)[hit], vertices)


def test_plane_depth_follows_a_moving_mesh():
    """Its gradient is the finite difference of depths drawn anew."""
    vertices, faces = mesh_tensors(trimesh.creation.icosphere(subdivisions=2), (0, 0, 5.0), torch.float64)
    view = camera(focal=60.0, center=(31.6, 31.4), dtype=torch.float64)
    direction = torch.tensor([0.3, -0.2, 1.0], dtype=torch.float64)

    def drawn(step):
        return rasterize(vertices + step * direction, faces, *view, (64, 64))

    middle, less, more = drawn(0), drawn(-1e-6), drawn(1e-6)
    same = (middle.face >= 0) & (less.face == middle.face) & (more.face == middle.face)
    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    depth = plane_depth(vertices + step * direction, faces, middle.face, *view)
    (slope,) = torch.autograd.grad(depth[same].sum(), step)
    assert same.sum() > 300
    assert torch.isclose(slope, ((more.depth - less.depth)[same] / 2e-6).sum(), rtol=1e-5)


def test_grazing_faces_have_bounded_gradients_and_depths_between_their_corners():
    vertices = torch.tensor([[[-1.0, 0.001, 2], [1, 0.001, 2], [0, 0.0011, 9]]], requires_grad=True)
    face = torch.full((1, 9, 9), -1)
    face[0, 4, 2:7] = 0
    depth = plane_depth(vertices, torch.tensor([[0, 1, 2]]), face, *camera(focal=8.0, center=(4.0, 4.0)))
    depth[face >= 0].sum().backward()
    assert (depth[face >= 0] - 2).abs().max() < 0.2
    assert vertices.grad.abs().max() < 5 * 100 * 1.1


def test_interpolation_reproduces_linear_functions_and_passes_gradients():
    vertices, faces = soup(4, batch=2, dtype=torch.float64)
    raster = rasterize(vertices, faces, *camera(2, focal=12.0, center=(5.0, 5.0), dtype=torch.float64), (11, 10))
    matrix = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points = interpolate(vertices, faces, raster)
    assert torch.allclose(interpolate(vertices @ matrix, faces, raster), points @ matrix)
    shared = torch.rand(vertices.shape[1], 2, dtype=torch.float64)
    assert torch.equal(interpolate(shared, faces, raster), interpolate(shared.expand(2, -1, -1), faces, raster))
    assert (points[raster.face < 0] == 0).all()
    assert torch.autograd.gradcheck(lambda a: interpolate(a, faces, raster), shared.requires_grad_(True))


def flat_raster(depth):
    depth = torch.tensor(depth)[None]
    face = torch.where(depth.isfinite(), 0, -1)
    return Raster(face, depth, torch.zeros(*depth.shape, 3))


def test_occlusion_says_who_is_in_front():
    inf = np.inf
    human = flat_raster([[1.0, 3.0, 2.0, 2.0, inf, inf]])
    thing = flat_raster([[2.0, 2.0, 2.0, inf, 2.0, inf]])
    seen = occlusion(human, thing)
    assert seen.human_visible.tolist() == [[[True, False, True, True, False, False]]]
    assert seen.object_visible.tolist() == [[[False, True, False, False, True, False]]]
    assert seen.overlap.tolist() == [[[True, True, True, False, False, False]]]


def test_occlusion_is_the_raster_of_both_meshes_together():
    human, human_faces = mesh_tensors(body_sized(3), (0, 0, 42))
    thing, thing_faces = mesh_tensors(torus(), (0.1, 0.2, 42))
    view = (*camera(), (256, 256))
    seen = occlusion(rasterize(human, human_faces, *view), rasterize(thing, thing_faces, *view))
    faces = torch.cat([human_faces, thing_faces + human.shape[1]])
    both = rasterize(torch.cat([human, thing], 1), faces, *view).face
    assert torch.equal(seen.human_visible, (both >= 0) & (both < len(human_faces)))
    assert torch.equal(seen.object_visible, both >= len(human_faces))
    assert seen.overlap.any() and not (seen.human_visible & seen.object_visible).any()


def test_overlap_vertices_look_up_the_nearest_pixel():
    overlap = torch.zeros(2, 4, 5, dtype=torch.bool)
    overlap[0, 1, 2] = overlap[0, 0, 0] = overlap[1, 3, 4] = True
    pixels = torch.tensor(
        [[2, 1], [2.4, 0.6], [2.6, 1], [2, 1], [-0.4, -0.4], [-0.6, 0], [4.4, 3.4], [4.6, 3], [9e9, 9e9]]
    )
    depth = torch.tensor([2.0, 2, 2, -2, 2, 2, 2, 2, 2])
    vertices = torch.cat([pixels * depth[:, None], depth[:, None]], -1).expand(2, -1, -1)
    marks = overlap_vertices(vertices, overlap, *camera(2, focal=1.0, center=(0.0, 0.0)))
    assert marks[0].tolist() == [True, True, False, False, True, False, False, False, False]
    assert marks[1].tolist() == [False, False, False, False, False, False, True, False, False]


def test_vertices_of_an_object_behind_a_person_are_marked_hidden_or_not():
    human, human_faces = mesh_tensors(body_sized(3), (0, 0, 42))
    thing, thing_faces = mesh_tensors(torus(), (0.0, 0.0, 43))
    view = camera()
    seen = occlusion(*(rasterize(*mesh, *view, (256, 256)) for mesh in ((human, human_faces), (thing, thing_faces))))
    marks = overlap_vertices(thing, seen.overlap, *view)
    beside = project(thing, *view)[..., 0] > 128 + 5000 * 0.3 / 42
    assert marks.any() and not marks[beside].any()


def test_vertex_normals_of_a_small_sphere_point_outward():
    mesh = trimesh.creation.icosphere(subdivisions=3)
    vertices, faces = mesh_tensors(mesh)
    for scale in (1.0, 1e-4):
        normals = vertex_normals(vertices * scale, faces)
        assert torch.allclose(normals, vertices, atol=0.02)
        assert torch.allclose(normals.norm(dim=-1), torch.ones(1, normals.shape[1]))


def test_pictures_are_light_on_a_background():
    vertices, faces = mesh_tensors(trimesh.creation.icosphere(subdivisions=3), (0, 0, 5))
    view = camera(focal=60.0, center=(20.0, 22.0))
    image = picture(vertices, faces, *view, (48, 40))
    assert image.dtype == torch.uint8 and image.shape == (1, 48, 40, 3)
    assert (image[0, 0, 0] == 255).all() and image[0, 22, 20, 0] < 240
    upper, lower = image[0, 16, 20].int(), image[0, 28, 20].int()
    assert (upper > lower).all(), "light comes from above"
    turned = picture(vertices, faces.flip(1), *view, (48, 40))
    assert (turned.int() - image.int()).abs().max() <= 1, "both sides of a face look alike"


def test_opacity_and_background_mix():
    vertices, faces = mesh_tensors(trimesh.creation.icosphere(subdivisions=1), (0, 0, 5))
    raster = rasterize(vertices, faces, *camera(focal=20.0, center=(8.0, 8.0)), (16, 16))
    background = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shade(raster, vertices, faces, opacity=0.0, background=background), background)
    black = shade(raster, vertices, faces, colors=torch.zeros(vertices.shape[1], 3), background=background)
    hit = raster.face >= 0
    assert (black[hit] == 0).all() and torch.equal(black[~hit], background[~hit])


def test_a_supersampled_picture_stays_where_the_plain_one_is():
    vertices, faces = mesh_tensors(trimesh.creation.icosphere(subdivisions=4), (0, 0, 50))
    black = torch.zeros(vertices.shape[1], 3)
    image = picture(vertices, faces, *camera(focal=500.0, center=(20.25, 17.5)), (40, 44), colors=black)
    darkness = 255.0 - image[0, ..., 0].double()
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(44.0), indexing="ij")
    assert abs(float((darkness * x).sum() / darkness.sum()) - 20.25) < 0.05
    assert abs(float((darkness * y).sum() / darkness.sum()) - 17.5) < 0.05
    assert abs(float(darkness.sum()) / 255 / (np.pi * 100) - 1) < 0.02
