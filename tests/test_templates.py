"""Laws of the shipped templates: closed, of the released size, symmetric where they should be, rebuilt to the byte."""

import json

import igl
import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from tools.templates import BUILDERS
from tools.templates.mesh import Part, refined, volume
from tools.templates.primitives import geodesic
from tools.templates.template import assemble, write
from wildhoi.templates import SHIPPED, load_template

NAMES = list(BUILDERS)
TWO_PART = {"bicycle": ("front", "back")}
EXTENTS = {
    "skateboard": (0.1957, 0.1052, 0.7709),
    "tennis": (0.2749, 0.6858, 0.0392),
    "cello": (0.4733, 0.2591, 1.4022),
    "basketball": (0.2465, 0.2461, 0.2467),
    "baseball": (0.0784, 0.0784, 1.0668),
    "barbell": (2.1996, 0.4503, 0.4505),
    "yogaball": (0.7495, 0.7495, 0.7505),
    "bicycle": (0.7633, 1.0260, 1.8824),
    "violin": (0.2292, 0.1303, 0.6120),
}
KEYPOINTS = {"barbell": 4, "baseball": 2, "basketball": 1, "bicycle": 10, "cello": 14, "skateboard": 8}
KEYPOINTS |= {"tennis": 7, "violin": 14, "yogaball": 1}
STRINGS_FLIP = [0, 1, 2, 4, 3, 5, 6, 7, 8, 10, 9, 12, 11, 13]
MIRROR = {
    "barbell": [3, 2, 1, 0],
    "baseball": [0, 1],
    "basketball": [0],
    "bicycle": list(range(10)),
    "cello": STRINGS_FLIP,
    "skateboard": [0, 7, 6, 5, 4, 3, 2, 1],
    "tennis": [0, 1, 3, 2, 5, 4, 6],
    "violin": STRINGS_FLIP,
    "yogaball": [0],
}
HALF_TURN_Y, HALF_TURN_Z = np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1])


def turn(axis, degrees):
    """Rotation about a coordinate axis."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.roll(np.array([[1, 0, 0], [0, c, -s], [0, s, c]]), "xyz".index(axis), axis=(0, 1))


SYMMETRIES = {
    "barbell": [turn("x", 37), turn("x", 90), HALF_TURN_Y, turn("x", 11) @ HALF_TURN_Y],
    "baseball": [turn("z", 37), turn("z", 90), HALF_TURN_Z],
    "skateboard": [HALF_TURN_Y],
    "tennis": [HALF_TURN_Y],
    "basketball": [turn("x", 37) @ turn("z", 61), turn("y", 17)],
    "yogaball": [turn("x", 37) @ turn("z", 61), turn("y", 17)],
}
PERMUTATIONS = {
    "barbell": (HALF_TURN_Y, [3, 2, 1, 0]),
    "baseball": (turn("z", 37), [0, 1]),
    "skateboard": (HALF_TURN_Y, [4, 5, 6, 7, 0, 1, 2, 3]),
    "tennis": (HALF_TURN_Y, [0, 1, 3, 2, 5, 4, 6]),
}
LONGEST = {"yogaball": 0.0315}


class Shipped:
    """The files of one template, read the plain way."""

    def __init__(self, name):
        folder = SHIPPED / name
        meshes = [trimesh.load(folder / f"{stem}.ply", process=False) for stem in TWO_PART.get(name, ("template",))]
        self.sizes = [len(mesh.vertices) for mesh in meshes]
        starts = np.cumsum([0, *self.sizes[:-1]])
        self.vertices = np.concatenate([np.asarray(mesh.vertices) for mesh in meshes])
        self.faces = np.concatenate(
            [np.asarray(mesh.faces) + start for mesh, start in zip(meshes, starts, strict=True)]
        )
        self.groups = json.loads((folder / "keypoints.json").read_text())
        self.contact = json.loads((folder / "contact.json").read_text())
        self.keypoints = np.array([self.vertices[index].mean(axis=0) for index in self.groups.values()])


@pytest.fixture(scope="module")
def shipped():
    return {name: Shipped(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_component_is_closed_and_looks_outward(shipped, name):
    mesh = trimesh.Trimesh(shipped[name].vertices, shipped[name].faces, process=False)
    for component in mesh.split(only_watertight=False):
        assert component.is_watertight
        assert component.is_winding_consistent
        assert component.volume > 0
    assert mesh.area_faces.min() > 1e-10
    assert len(np.unique(shipped[name].faces)) == len(shipped[name].vertices), "a vertex belongs to no face"


@pytest.mark.parametrize("name", NAMES)
def test_size_and_origin(shipped, name):
    vertices = shipped[name].vertices
    np.testing.assert_allclose(np.ptp(vertices, axis=0), EXTENTS[name], rtol=1e-3)
    if name == "bicycle":
        np.testing.assert_allclose(vertices.min(axis=0), -vertices.max(axis=0), atol=1e-4)
    else:
        np.testing.assert_allclose(vertices.mean(axis=0), 0, atol=5e-3)
    assert len(shipped[name].faces) < (15000 if name == "bicycle" else 6000)


@pytest.mark.parametrize("name", NAMES)
def test_keypoints_keep_their_order_and_mirror(shipped, name):
    item = shipped[name]
    assert list(item.groups) == [str(k) for k in range(1, KEYPOINTS[name] + 1)]
    mirrored = item.keypoints * [-1, 1, 1]
    np.testing.assert_allclose(mirrored, item.keypoints[MIRROR[name]], atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_keypoints_follow_their_vertices(shipped, name):
    template, item = load_template(SHIPPED / name), shipped[name]
    rng = np.random.default_rng(4)
    turns, shifts = Rotation.random(3, random_state=rng).as_matrix(), rng.normal(size=(3, 1, 3))
    moved = template.keypoints_at(item.vertices @ turns + shifts)
    np.testing.assert_allclose(moved, item.keypoints @ turns + shifts, atol=1e-12)
    alone = template.keypoints_at(item.vertices @ turns[1] + shifts[1])
    np.testing.assert_allclose(alone, moved[1], atol=1e-12)
    np.testing.assert_allclose(np.stack([*template.keypoints.values()]), item.keypoints, atol=1e-12)


@pytest.mark.parametrize("name", PERMUTATIONS)
def test_symmetry_permutes_the_keypoints(shipped, name):
    rotation, order = PERMUTATIONS[name]
    keypoints = shipped[name].keypoints
    np.testing.assert_allclose(keypoints @ rotation.T, keypoints[order], atol=1e-3)


@pytest.mark.parametrize("name", SYMMETRIES)
def test_symmetry_maps_the_surface_onto_itself(shipped, name):
    item = shipped[name]
    mesh = trimesh.Trimesh(item.vertices, item.faces, process=False)
    points, _ = trimesh.sample.sample_surface(mesh, 3000, seed=0)
    for rotation in SYMMETRIES[name]:
        squared, _, _ = igl.point_mesh_squared_distance(
            np.ascontiguousarray(points @ rotation.T), item.vertices, item.faces
        )
        assert np.sqrt(squared.max()) < 2e-3


@pytest.mark.parametrize("name", NAMES)
def test_edges_are_short_where_bodies_touch(shipped, name):
    item = shipped[name]
    touched = np.zeros(len(item.vertices), dtype=bool)
    for index in item.contact.values():
        assert len(index) >= 20
        touched[index] = True
    near = item.faces[touched[item.faces].any(axis=1)]
    edges = item.vertices[near] - item.vertices[np.roll(near, -1, axis=1)]
    assert np.linalg.norm(edges, axis=2).max() <= LONGEST.get(name, 0.02)


def test_left_is_positive_x(shipped):
    for name in NAMES:
        for part, index in shipped[name].contact.items():
            x = shipped[name].vertices[index].mean(axis=0)[0]
            if "left" in part or "right" in part:
                assert (x > 0) == ("left" in part), (name, part)


def test_steering_turns_clear_of_the_frame(shipped):
    item = shipped["bicycle"]
    low, high = item.keypoints[4:6]
    axis = (high - low) / np.linalg.norm(high - low)
    assert axis[1] > 0.8
    assert axis[2] < -0.2
    front, back = item.vertices[: item.sizes[0]], item.vertices[item.sizes[0] :]
    # the steerer, headset and crown belong inside and around the head tube
    around = np.linalg.norm(np.cross(front - low, axis), axis=1) > 0.05
    tree = cKDTree(back)
    for degrees in (-60, -30, 0, 30, 60):
        angle = np.deg2rad(degrees)
        rotation = trimesh.transformations.rotation_matrix(angle, axis, low)
        moved = trimesh.transform_points(front[around], rotation)
        assert tree.query(moved)[0].min() > 0.015


@pytest.mark.parametrize("name", NAMES)
def test_rebuilding_gives_the_same_bytes(tmp_path, name):
    write(assemble(BUILDERS[name]()), tmp_path / name)
    built = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    kept = {path.name: path.read_bytes() for path in (SHIPPED / name).iterdir()}
    assert built == kept


def test_the_files_stay_small():
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*.ply")) < 2_000_000


def test_refining_keeps_the_volume_and_bounds_the_edges():
    ball = geodesic("ball", 1.0, 2)
    fine = refined(ball, lambda points: points[:, 2] > 0.5, 0.15)
    mesh = trimesh.Trimesh(fine.vertices, fine.faces, process=False)
    assert mesh.is_watertight
    assert volume(fine.vertices, fine.faces) == pytest.approx(volume(ball.vertices, ball.faces))
    near = fine.faces[(fine.vertices[:, 2] > 0.5)[fine.faces].any(axis=1)]
    assert np.linalg.norm(fine.vertices[near] - fine.vertices[np.roll(near, 1, axis=1)], axis=2).max() <= 0.15
    assert len(fine.faces) < len(refined(Part("ball", ball.vertices, ball.faces), lambda p: p[:, 2] > -2, 0.15).faces)
