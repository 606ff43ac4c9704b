"""Small people and objects made of primitives, and Pairs of them, for the tests of scoring."""

from dataclasses import replace

import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from evaluation.metrics import METRICS
from evaluation.pair import Pair, align, make_side
from evaluation.protocol import load_protocol
from wildhoi.objects import find_category, load_categories
from wildhoi.schema import ObjectPose
from wildhoi.templates import Template

CATEGORIES = sorted(load_categories())
AXIS_CATEGORIES = ("barbell", "baseball", "trashbin", "yogamat")
SPHERES = ("basketball", "yogaball")

# Keypoints of made-up templates, in the order and with the symmetry that the table states, metres.
RIM = [(0.07 * np.sin(a), 0.0, 0.3 * np.cos(a)) for a in np.arange(8) * np.pi / 4]
SCROLL = [(0.0, 0.0, 0.02 * k) for k in range(14)]
KEYPOINTS = {
    "barbell": [(1.0, 0.01, 0.0), (0.3, 0.01, 0.0), (-0.3, 0.01, 0.0), (-1.0, 0.01, 0.0)],
    "baseball": [(0.0, 0.0, 0.5), (0.0, 0.0, -0.5)],
    "basketball": [(0.0, 0.0, 0.0)],
    "yogaball": [(0.0, 0.0, 0.0)],
    "bicycle": [
        (0, 0.3, 0.9), (0, -0.3, 0.9), (0, 0, 0.6), (0, 0, 1.2), (0, 0.5, 0.5), (0, 0.1, 0.7),
        (0, 0.3, -0.5), (0, -0.3, -0.5), (0, 0, -0.8), (0, 0, -0.2),
    ],
    "cello": SCROLL,
    "violin": SCROLL,
    "skateboard": RIM,
    "tennis": [
        (0.0, -0.3, 0.0), (0.0, 0.3, 0.0), (0.1, 0.1, 0.0), (-0.1, 0.1, 0.0), (0.05, 0, 0.01), (-0.05, 0, -0.01),
        (0, 0, 0),
    ],
}  # fmt: skip


def mesh_arrays(mesh):
    return np.array(mesh.vertices, np.float64), np.array(mesh.faces, np.int64)


def person(shift=(0.0, 0.0, 0.0), seed=None, noise=0.0, subdivisions=2):
    """A closed lump as wide, tall and deep as a person; vertices moved by seeded noise, metres."""
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    vertices, faces = mesh_arrays(mesh)
    vertices = vertices * [0.27, 0.85, 0.15] + np.array(shift)
    if seed is not None:
        vertices = vertices + noise * np.random.default_rng(seed).standard_normal(vertices.shape)
    return vertices, faces


def box(extents, centre=(0.0, 0.0, 0.0), rounds=1):
    """A box of finer triangles than twelve, its corners skewed so that it has no symmetry of its own."""
    mesh = trimesh.creation.box(extents=extents)
    for _ in range(rounds):
        mesh = mesh.subdivide()
    vertices, faces = mesh_arrays(mesh)
    return vertices * (1 + 0.2 * vertices[:, [1, 2, 0]]) + np.array(centre), faces


def made_template(name, vertices, faces, keypoints=(), mesh_sizes=None):
    """A template in memory; the keypoints join the last mesh as vertices of no face."""
    points = np.array(keypoints, np.float64).reshape(-1, 3)
    first = len(vertices)
    sizes = mesh_sizes or (first + len(points),)
    return Template(
        category=find_category(name),
        vertices=np.concatenate([vertices, points]),
        faces=faces,
        mesh_sizes=tuple(sizes),
        keypoint_vertices={str(k + 1): np.array([first + k]) for k in range(len(points))},
        contact_vertices={},
        sha256="made up",
    )


def template(name):
    """A lopsided template of any category: one or two boxes and the keypoints its symmetry is stated by."""
    if find_category(name).joint:
        return bicycle_like(name)
    vertices, faces = box((0.3, 0.2, 0.5), centre=(0.01, 0.02, -0.03))
    return made_template(name, vertices, faces, KEYPOINTS.get(name, ()))


def bicycle_like(name="bicycle"):
    """Two boxes, the front one first with keypoints 1 to 6, the back one with the other four."""
    front, front_faces = box((0.05, 0.6, 0.6), centre=(0.0, 0.0, 0.7))
    back, back_faces = box((0.05, 0.6, 0.6), centre=(0.0, 0.0, -0.5))
    points = np.array(KEYPOINTS["bicycle"], np.float64)
    vertices = np.concatenate([front, points[:6], back, points[6:]])
    offset = len(front) + 6
    rows = [*range(len(front), offset), *range(offset + len(back), len(vertices))]
    return Template(
        category=find_category(name),
        vertices=vertices,
        faces=np.concatenate([front_faces, back_faces + offset]),
        mesh_sizes=(offset, len(back) + 4),
        keypoint_vertices={str(k + 1): np.array([row]) for k, row in enumerate(rows)},
        contact_vertices={},
        sha256="made up",
    )


def small_protocol(name="open@1", points=150, **changes):
    """A shipped protocol with few points, so that tests are fast."""
    few = {"points": points, "surface_points": points // 2, "f_score_points": points}
    return replace(load_protocol(name), **(few | changes))


def random_rotation(rng):
    return Rotation.random(random_state=rng).as_matrix()


def pose_of(seed, scale=1.0, angle=None, centre=(0.3, 0.1, 0.2)):
    rng = np.random.default_rng(seed)
    return ObjectPose(random_rotation(rng), np.array(centre) + 0.05 * rng.standard_normal(3), scale, angle)


def noisy(pose, degrees, metres, seed=0):
    """A pose turned about a random axis by exactly `degrees` and shifted by exactly `metres`."""
    rng = np.random.default_rng(seed)
    axis, shift = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    turn = Rotation.from_rotvec(np.radians(degrees) * axis).as_matrix()
    return replace(pose, rotation=turn @ pose.rotation, translation=pose.translation + metres * shift)


def make_pair(
    of, protocol, truth_pose, predicted_pose, truth_body=None, predicted_body=None, image_id="0001_001_000001"
):
    """Pose, align and pair a prediction and a truth as scoring does; gives the alignment that was possible too."""
    truth_body = truth_body or person()
    predicted_body = predicted_body or truth_body
    prediction, truth = (
        make_side(image_id, side, *body, of, pose, protocol)
        for side, body, pose in (("prediction", predicted_body, predicted_pose), ("truth", truth_body, truth_pose))
    )
    aligned, alignment = align(prediction, truth, protocol.alignment)
    symmetry = of.symmetry(protocol.symmetry.get(of.category.name))
    return Pair(image_id, of, symmetry, protocol, aligned, truth), alignment


def equivalent(pose, element, point):
    """The pose that shows the object turned by a symmetry `x -> S (x - c) + c` of its template."""
    shift = point - element @ point
    return replace(
        pose,
        rotation=pose.rotation @ element,
        translation=pose.translation + pose.scale * pose.rotation @ shift,
    )


def transformed(vertices, pose, by):
    """A body and an object's pose after a similarity (scale, rotation, translation)."""
    scale, rotation, translation = by
    moved = scale * vertices @ rotation.T + translation
    return moved, ObjectPose(
        rotation @ pose.rotation, scale * rotation @ pose.translation + translation, scale * pose.scale, pose.angle
    )


def at(x, scale=1.0):
    """An unturned pose on the x axis."""
    return ObjectPose(np.eye(3), np.array([x, 0.0, 0.0]), scale)


def score(pair, *names):
    """The named metrics of a pair (default: its protocol's) by name; a single one as a number."""
    values = {name: METRICS[name].function(pair) for name in names or pair.protocol.metrics}
    return values[names[0]] if len(names) == 1 else values


def assert_close(found, expected, tolerance=1e-6):
    """Compare the expected metrics with those found, NaN equal to NaN."""
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=tolerance, err_msg=name)
