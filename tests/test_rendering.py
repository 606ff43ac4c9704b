import sys
from types import ModuleType

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from wildhoi.errors import InputError, MissingAssetError
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
    zbuffer,
)
from wildhoi.rendering.pictures import vertex_normals


def camera(batch=1, focal=5000.0, center=(128.0, 127.0), dtype=torch.float32):
    return torch.full((batch, 2), focal, dtype=dtype), torch.tensor([center] * batch, dtype=dtype)


def mesh_tensors(mesh, offset=(0.0, 0.0, 0.0), dtype=torch.float32):
    vertices = torch.tensor(np.asarray(mesh.vertices) + offset, dtype=dtype)
    return vertices[None], torch.tensor(np.asarray(mesh.faces), dtype=torch.int64)


def body_sized(subdivisions=5):
    """A closed mesh as wide, tall and deep as a person, turned so that no edge lies along an axis."""
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    mesh.apply_scale([0.27, 0.85, 0.15])
    mesh.apply_transform(trimesh.transformations.rotation_matrix(0.4, [0.3, 1, 0.2]))
    return mesh


def torus():
    mesh = trimesh.creation.torus(0.5, 0.2, major_sections=60, minor_sections=30)
    mesh.apply_transform(trimesh.transformations.rotation_matrix(1.1, [1, 0.5, 0.2]))
    return mesh


def soup(seed, count=40, batch=1, dtype=torch.float32):
    """Random triangles in front of the camera, some of them repeated so that depths tie."""
    rng = np.random.default_rng(seed)
    vertices = rng.uniform([-1, -1, 2], [1, 1, 4], (batch, 3 * count, 3))
    faces = rng.permutation(3 * count).reshape(-1, 3)
    return torch.tensor(vertices, dtype=dtype), torch.tensor(np.concatenate([faces, faces[:10, [1, 2, 0]]]))


def slow_faces(vertices, faces, focal, center, size):
    """Every face at every pixel, one at a time; nearest float32 depth wins, the earlier face when equal."""
    height, width = size
    vertices, focal, center = (np.asarray(value, dtype=np.float64) for value in (vertices, focal, center))
    screen = focal * vertices[:, :2] / vertices[:, 2:] + center
    nearest = np.full(size, np.inf, dtype=np.float32)
    found = np.full(size, -1)
    for index, face in enumerate(np.asarray(faces)):
        if vertices[face, 2].min() < 0.01:
            continue
        for y in range(height):
            for x in range(width):
                a, b, c = screen[face] - (x, y)
                edges = [b[0] * c[1] - c[0] * b[1], c[0] * a[1] - a[0] * c[1], a[0] * b[1] - b[0] * a[1]]
                if (min(edges) >= 0 and max(edges) > 0) or (max(edges) <= 0 and min(edges) < 0):
                    inverse = sum(edge / z for edge, z in zip(edges, vertices[face, 2], strict=True))
                    depth = np.float32(sum(edges) / inverse)
                    if depth < nearest[y, x]:
                        nearest[y, x], found[y, x] = depth, index
    return found, nearest


def embree(vertices, faces, focal, center, size):
    """Face and depth of every pixel by casting rays with an independent library."""
    from embreex import rtcore_scene
    from embreex.mesh_construction import TriangleMesh

    y, x = np.mgrid[: size[0], : size[1]].reshape(2, -1)
    rays = np.stack([(x - center[0]) / focal, (y - center[1]) / focal, np.ones(x.shape)], -1).astype(np.float32)
    scene = rtcore_scene.EmbreeScene()
    TriangleMesh(scene, vertices.astype(np.float32), faces.astype(np.int32))
    hits = scene.run(np.zeros_like(rays), rays, output=1)
    missed = hits["primID"] < 0
    return hits["primID"].reshape(size), np.where(missed, np.inf, hits["tfar"]).reshape(size)


@pytest.mark.parametrize(("distance", "focal"), [(42.0, 5000.0), (2.5, 300.0)])
@pytest.mark.parametrize("make", [body_sized, torus])
def test_agrees_with_ray_casting(make, distance, focal):
    mesh = make()
    vertices, faces = mesh_tensors(mesh, (0.013, -0.021, distance))
    raster = rasterize(vertices, faces, *camera(focal=focal, center=(127.3, 126.6)), (256, 256))
    face, depth = embree(vertices[0].numpy(), faces.numpy(), focal, (127.3, 126.6), (256, 256))
    covered = (raster.face[0].numpy() >= 0) | (face >= 0)
    both = (raster.face[0].numpy() >= 0) & (face >= 0)
    assert covered.sum() > 5000
    assert (raster.face[0].numpy() == face)[covered].mean() >= 0.999
    assert np.abs(raster.depth[0].numpy() - depth)[both].max() < 1e-4


def test_a_soup_agrees_with_ray_casting():
    vertices, faces = soup(0, count=300)
    faces = faces[:300]
    raster = rasterize(vertices, faces, *camera(focal=200.0), (256, 256))
    face, depth = embree(vertices[0].numpy(), faces.numpy(), 200.0, (128.0, 127.0), (256, 256))
    same = raster.face[0].numpy() == face
    assert same.mean() >= 0.999
    assert np.abs(raster.depth[0].numpy() - depth)[same & (face >= 0)].max() < 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_slow_twin_ties_included(seed):
    vertices, faces = soup(seed)
    focal, center = camera(focal=30.0, center=(15.5, 16.0))
    raster = rasterize(vertices, faces, focal, center, (32, 32))
    face, depth = slow_faces(vertices[0], faces, focal[0], center[0], (32, 32))
    assert (raster.face[0].numpy() == face).all()
    assert (raster.depth[0].numpy() == depth).all()
    assert face.max() < 40, "a repeated face never wins"


def test_equals_the_slow_twin_on_vertices_at_pixel_centres():
    rng = np.random.default_rng(3)
    vertices = torch.tensor(np.concatenate([rng.integers(0, 12, (90, 2)), np.full((90, 1), 1)], 1), dtype=torch.float64)
    faces = torch.arange(90).view(-1, 3)
    focal, center = camera(focal=1.0, center=(0.0, 0.0), dtype=torch.float64)
    raster = rasterize(vertices[None], faces, focal, center, (12, 10))
    face, _ = slow_faces(vertices, faces, focal[0], center[0], (12, 10))
    assert (raster.face[0].numpy() == face).all()


def test_at_equal_depth_the_lowest_face_wins_in_any_order():
    vertices = torch.tensor([[[-9.0, -9, 2], [9, -9, 2], [0, 9, 2]]])
    for count in (1, 5):
        faces = torch.tensor([[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1]][:count])
        raster = rasterize(vertices, faces, *camera(focal=4.0, center=(4.0, 4.0)), (8, 8))
        assert set(raster.face.unique().tolist()) <= {-1, 0}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 7]), st.sampled_from([torch.float32, torch.float64]))
def test_a_sheet_of_triangles_has_no_cracks(seed, snap, dtype):
    """A bent, ragged sheet wider than the picture covers it all, with vertices on pixel centres for snap 1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-2:18, -2:18].astype(float)
    inner = (slice(1, -1), slice(1, -1))
    x[inner] += np.round(rng.uniform(-0.4, 0.4, (18, 18)) * snap) / snap
    y[inner] += np.round(rng.uniform(-0.4, 0.4, (18, 18)) * snap) / snap
    depth = rng.uniform(40, 44, x.shape)
    vertices = np.stack([(x - 7) * depth / 5000, (y - 7) * depth / 5000, depth], -1).reshape(1, -1, 3)
    corner = (np.arange(19)[:, None] * 20 + np.arange(19)).ravel()
    quads = np.stack([corner, corner + 1, corner + 21, corner + 20], -1)
    faces = torch.tensor(np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]))
    raster = rasterize(torch.tensor(vertices, dtype=dtype), faces, *camera(center=(7.0, 7.0), dtype=dtype), (16, 16))
    assert (raster.face >= 0).all()


def test_a_closed_convex_mesh_fills_its_outline():
    vertices, faces = mesh_tensors(body_sized(4), (0, 0, 42))
    covered = rasterize(vertices, faces, *camera(), (256, 256)).face[0] >= 0
    for rows in (covered, covered.T):
        starts = (rows[:, 1:] & ~rows[:, :-1]).sum(1)
        assert (starts <= 1).all()


def test_the_order_of_faces_renames_them_and_changes_nothing_else():
    vertices, faces = mesh_tensors(torus(), (0, 0, 2.5))
    order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(0))
    one = rasterize(vertices, faces, *camera(focal=300.0), (256, 256))
    other = rasterize(vertices, faces[order], *camera(focal=300.0), (256, 256))
    hit = one.face >= 0
    assert torch.equal(hit, other.face >= 0)
    assert (order[other.face[hit]] == one.face[hit]).float().mean() > 0.999
    assert torch.allclose(one.depth[hit], other.depth[hit], atol=1e-6)


def test_a_batch_is_its_images_and_chunks_do_not_matter(monkeypatch):
    vertices, faces = soup(5, batch=4)
    focal, center = camera(4, focal=30.0, center=(15.5, 16.0))
    center = center + torch.arange(4.0)[:, None]
    batched = rasterize(vertices, faces, focal, center, (32, 24))
    for i in range(4):
        single = rasterize(vertices[i : i + 1], faces, focal[i : i + 1], center[i : i + 1], (32, 24))
        assert all(torch.equal(one[0], many[i]) for one, many in zip(single, batched, strict=True))
    pairs = []
    draw = zbuffer._draw
    monkeypatch.setattr(zbuffer, "_draw", lambda *a: (pairs.append(a[2] - a[1]), draw(*a)))
    monkeypatch.setattr(zbuffer, "MAX_PAIRS", 37)
    monkeypatch.setattr(zbuffer, "MAX_FACES", {"cpu": 100})
    chunked = rasterize(vertices, faces, focal, center, (32, 24))
    assert all(torch.equal(one, many) for one, many in zip(chunked, batched, strict=True))
    assert max(pairs) == 37 and len(pairs) > 100


def test_moving_the_principal_point_by_whole_pixels_moves_the_picture():
    vertices, faces = mesh_tensors(torus(), (0, 0, 42))
    one = rasterize(vertices, faces, *camera(focal=1500.0, center=(64.2, 60.3)), (128, 128))
    other = rasterize(vertices, faces, *camera(focal=1500.0, center=(69.2, 57.3)), (128, 128))
    for before, after in zip(one, other, strict=True):
        assert torch.allclose(after[:, :-3, 5:], before[:, 3:, :-5], atol=1e-4)
    assert torch.equal(other.face[:, :-3, 5:], one.face[:, 3:, :-5])


def test_a_vertex_is_drawn_at_its_projection():
    """The pixel convention: a dot that projects to (x, y) covers the pixel [y, x]."""
    dot = torch.tensor([[-0.2, -0.2], [0.3, -0.2], [-0.2, 0.3]])
    vertices = torch.cat([(dot + torch.tensor([5.0, 3.0])) * 2, torch.full((3, 1), 2.0)], -1)[None]
    raster = rasterize(vertices, torch.tensor([[0, 1, 2]]), *camera(focal=1.0, center=(0.0, 0.0)), (8, 9))
    assert torch.nonzero(raster.face[0] >= 0).tolist() == [[3, 5]]


def test_barycentric_coordinates_give_the_point_behind_the_pixel():
    vertices, faces = soup(1, dtype=torch.float64)
    focal, center = camera(focal=200.0, center=(60.0, 64.0), dtype=torch.float64)
    raster = rasterize(vertices, faces, focal, center, (128, 120))
    points = interpolate(vertices, faces, raster)
    hit = raster.face >= 0
    _, y, x = torch.nonzero(hit, as_tuple=True)
    pixels = project(points[hit][None], focal, center)[0]
    assert torch.allclose(pixels, torch.stack([x, y], -1).double(), atol=1e-9)
    assert torch.allclose(points[hit][:, 2], raster.depth[hit], atol=1e-12)
    assert torch.allclose(raster.barycentric.sum(-1), hit.double())
    assert (raster.barycentric >= 0).all()


def test_empty_pixels_say_so():
    vertices, faces = soup(2)
    raster = rasterize(vertices, faces, *camera(focal=10.0, center=(15.0, 15.0)), (32, 32))
    empty = raster.face < 0
    assert empty.any() and (raster.face[empty] == -1).all()
    assert torch.isinf(raster.depth[empty]).all() and torch.isfinite(raster.depth[~empty]).all()
    assert (raster.barycentric[empty] == 0).all()
    assert raster.face.dtype == torch.int64 and raster.depth.dtype == vertices.dtype


@pytest.mark.parametrize(
    "bad",
    [
        (0.0, 0.0, 0.005),
        (0.0, 0.0, -1.0),
        (0.0, 0.0, 0.0),
        (np.nan, 0, 2),
        (0, np.inf, 2),
        (0, 0, np.nan),
        (0, 0, np.inf),
    ],
)
def test_faces_at_the_camera_or_not_finite_are_dropped_whole(bad):
    good = [[-1.0, -1, 2], [1, -1, 2], [0, 1, 2]]
    vertices = torch.tensor([[*good, [-1, -1, 1], [1, -1, 1], list(bad)]])
    view = (*camera(focal=8.0, center=(4.0, 4.0)), (9, 9))
    alone = rasterize(vertices[:, :3], torch.tensor([[0, 1, 2]]), *view)
    both = rasterize(vertices, torch.tensor([[0, 1, 2], [3, 4, 5]]), *view)
    assert all(torch.equal(one, two) for one, two in zip(alone, both, strict=True))


def test_faces_without_area_are_ignored():
    vertices = torch.tensor([[[-1.0, 0, 1], [1, 0, 1], [0, 1, 1]]])
    faces = torch.tensor([[0, 0, 0], [0, 1, 1], [0, 1, 0], [2, 2, 1]])
    assert (rasterize(vertices, faces, *camera(focal=4.0, center=(4.0, 4.0)), (9, 9)).face == -1).all()


def test_no_faces_or_no_images_give_empty_maps():
    none = torch.zeros((0, 3), dtype=torch.int64)
    assert (rasterize(torch.zeros(2, 4, 3), none, *camera(2), (5, 6)).face == -1).all()
    nothing = rasterize(torch.zeros(0, 4, 3), torch.tensor([[0, 1, 2]]), torch.ones(0, 2), torch.ones(0, 2), (5, 6))
    assert nothing.face.shape == (0, 5, 6)


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
    view = camera(focal=12.0, center=(5.2, 5.7), dtype=torch.float64)
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


def test_an_unknown_backend_and_an_absent_one_are_clear_errors(monkeypatch):
    vertices, faces = soup(0)
    with pytest.raises(InputError, match="wanted one of torch, pytorch3d"):
        rasterize(vertices, faces, *camera(), (8, 8), backend="opengl")
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    with pytest.raises(MissingAssetError, match="not installed"):
        rasterize(vertices, faces, *camera(), (8, 8), backend="pytorch3d")


class FakeMeshes:
    def __init__(self, vertices, faces):
        self.vertices, self.faces = vertices, faces


def fake_rasterize_meshes(meshes, image_size, **options):
    """A slow pytorch3d: the documented pixel centres of its image plane, and ids counted through the batch."""
    assert options == {"blur_radius": 0.0, "faces_per_pixel": 1, "perspective_correct": True}
    height, width = image_size
    shorter = min(image_size)
    first, maps = 0, []
    for vertices, faces in zip(meshes.vertices, meshes.faces, strict=True):
        pixels = vertices.double().clone()
        # centre of pixel i of n, before the flip of both axes: -n/s + (2 i + 1)/s
        for axis, count in ((0, width), (1, height)):
            flipped = (vertices[:, axis].double() * shorter + count - 1) / 2
            pixels[:, axis] = (count - 1 - flipped) * pixels[:, 2]
        face, _ = slow_faces(pixels, faces, (1.0, 1.0), (0.0, 0.0), image_size)
        maps.append(np.where(face >= 0, face + first, -1))
        first += len(faces)
    return torch.tensor(np.stack(maps))[..., None], None, None, None


@pytest.mark.parametrize("size", [(20, 14), (14, 20)])
def test_the_pytorch3d_backend_speaks_its_conventions(size, monkeypatch):
    renderer, structures = ModuleType("renderer"), ModuleType("structures")
    renderer.rasterize_meshes, structures.Meshes = fake_rasterize_meshes, FakeMeshes
    monkeypatch.setitem(sys.modules, "pytorch3d", ModuleType("pytorch3d"))
    monkeypatch.setitem(sys.modules, "pytorch3d.renderer.mesh.rasterize_meshes", renderer)
    monkeypatch.setitem(sys.modules, "pytorch3d.structures", structures)
    vertices, faces = soup(6, count=20, batch=2)
    vertices[0, 5, 2] = -1
    view = (*camera(2, focal=12.0, center=(7.3, 8.1)), size)
    ours, theirs = (rasterize(vertices, faces, *view, backend=name) for name in ("torch", "pytorch3d"))
    assert (ours.face == theirs.face).float().mean() > 0.99
    assert (ours.face >= 0).any() and (ours.face == -1).any()


def test_the_real_pytorch3d_agrees():
    pytest.importorskip("pytorch3d")
    vertices, faces = mesh_tensors(body_sized(3), (0, 0, 42))
    ours, theirs = (rasterize(vertices, faces, *camera(), (64, 64), backend=name) for name in ("torch", "pytorch3d"))
    assert (ours.face == theirs.face).float().mean() > 0.999


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
