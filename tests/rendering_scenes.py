"""Meshes, cameras and slow, foreign or imitated renderers for the tests of rendering."""

import sys
from types import ModuleType

import numpy as np
import torch
import trimesh
from torch.utils._python_dispatch import TorchDispatchMode


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


class FakeMeshes:
    def __init__(self, vertices, faces):
        self.vertices, self.faces = vertices, faces


def fake_rasterize_meshes(meshes, image_size, **options):
    """A slow pytorch3d: the documented pixel centres of its image plane, and ids counted through the batch."""
    assert options == {"blur_radius": 0.0, "faces_per_pixel": 1, "perspective_correct": True}
    assert all(vertices.dtype == torch.float32 for vertices in meshes.vertices)
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


def install_fake_rasterizer(monkeypatch):
    renderer, structures = ModuleType("renderer"), ModuleType("structures")
    renderer.rasterize_meshes, structures.Meshes = fake_rasterize_meshes, FakeMeshes
    monkeypatch.setitem(sys.modules, "pytorch3d", ModuleType("pytorch3d"))
    monkeypatch.setitem(sys.modules, "pytorch3d.renderer.mesh.rasterize_meshes", renderer)
    monkeypatch.setitem(sys.modules, "pytorch3d.structures", structures)


class NoSync(TorchDispatchMode):
    """Refuses every operation that, on a GPU, makes the host wait or brings data from it."""

    FORBIDDEN = (
        "_local_scalar_dense",
        "bincount",
        "equal",
        "item",
        "lift_fresh",
        "masked_select",
        "nonzero",
        "repeat_interleave",
        "_unique",
        "unique_",
    )

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__
        if name.startswith(self.FORBIDDEN):
            raise AssertionError(f"{name} makes the host wait")
        if name.startswith(("index.", "index_put", "_index_put")):
            masks = [index for index in args[1] if index is not None and index.dtype in (torch.bool, torch.uint8)]
            if masks:
                raise AssertionError(f"{name} with a mask makes the host wait")
        return function(*args, **(kwargs or {}))
