"""Occlusion maps: laws, a slow twin, and the files that the command writes."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from command import run

import submissions
from wildhoi.body import load_body
from wildhoi.dataset import open_folder, seal_folder
from wildhoi.dataset.samples import write_samples
from wildhoi.errors import InputError
from wildhoi.geometry import axis_rotation, camera_position
from wildhoi.mean_maps import Tally, view_distance
from wildhoi.occlusion_maps import (
    batched_occlusion_maps,
    occlusion_maps,
    view_vectors,
    write_occlusion_maps,
)
from wildhoi.schema import Camera, Human, ObjectPose, Sample
from wildhoi.templates import SHIPPED, load_template

OBJECT = "tennis"
HUMAN = Human(np.zeros(10), np.zeros((21, 3)), np.zeros((15, 3)), np.zeros((15, 3)))
NEAR = ObjectPose(axis_rotation(np.array([1.0, 0.5, 0.2]), 1.0), np.array([0.05, 0.1, 0.3]), 1.3)


def camera(degrees=0.0, height=200.0, distance=40.0):
    """A camera about the person that stands turned, as the wild set's cameras are annotated: for a body box so high."""
    turn = axis_rotation(np.array([0.0, 1.0, 0.0]), np.radians(degrees))
    focal = np.full(2, 5000 / 256 * height)
    return Camera(np.diag([1.0, -1, -1]) @ turn, np.array([0.1, 0.1, distance]), focal, np.array([700.0, 300.0]))


@pytest.fixture(scope="module")
def body():
    return load_body("open")


@pytest.fixture(scope="module")
def template():
    return load_template(SHIPPED / OBJECT)


def surfaces(body, template, pose, view, size=256):
    """Both meshes in the crop: pixels and depths of their vertices, and their faces."""
    with torch.no_grad():
        arrays = [torch.zeros(1, *shape, dtype=body.dtype) for shape in ((10,), (21, 3), (15, 3), (15, 3))]
        person = body.surface(*arrays).vertices[0].double().numpy()
    found = []
    for vertices, faces in ((person, body.faces), (template.posed(pose, articulate=True), template.faces)):
        points = vertices @ view.rotation.T + view.translation
        found.append((5000 * size / 256 * points[:, :2] / points[:, 2:] + size / 2, faces))
    return found


def covered(pixels, screen, faces):
    """Which pixels are in any triangle, edges included: every triangle at every pixel."""
    a, b, c = (screen[faces[:, k]] for k in range(3))

    def side(p, q, x):
        return (q[:, 0] - p[:, 0]) * (x[1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (x[0] - p[:, 0])

    def any_holds(x):
        sides = np.stack([side(a, b, x), side(b, c, x), side(c, a, x)])
        return bool(((sides >= 0).all(0) | (sides <= 0).all(0)).any())

    return np.array([any_holds(x) for x in pixels], bool)


def slow_maps(body, template, pose, view, size):
    meshes = surfaces(body, template, pose, view, size)
    marks = []
    for screen, _ in meshes:
        nearest = np.floor(screen + 0.5)
        pixels, where = np.unique(nearest, axis=0, return_inverse=True)
        hit = np.all([covered(pixels, *mesh) for mesh in meshes], axis=0)
        hit &= ((pixels >= 0) & (pixels < size)).all(axis=1)
        marks.append(hit[where.ravel()])
    return marks


@pytest.mark.parametrize(("degrees", "size"), [(0, 64), (70, 40)])
def test_the_maps_are_those_of_every_triangle_at_every_pixel(body, template, degrees, size):
    view = camera(degrees)
    found = occlusion_maps(HUMAN, NEAR, view, body, template, size=size)
    for fast, slow in zip(found, slow_maps(body, template, NEAR, view, size), strict=True):
        assert slow.any() and not slow.all()
        assert np.array_equal(fast, slow)


@pytest.mark.parametrize("degrees", [0, 90, 200])
def test_no_vertex_outside_the_crossing_is_marked(body, template, degrees):
    view = camera(degrees)
    marks = occlusion_maps(HUMAN, NEAR, view, body, template)
    (person, _), (thing, _) = surfaces(body, template, NEAR, view)
    low, high = np.maximum(person.min(0), thing.min(0)), np.minimum(person.max(0), thing.max(0))
    for marked, screen in zip(marks, (person, thing), strict=True):
        outside = ((screen < low - 1) | (screen > high + 1)).any(axis=1)
        assert marked.any() and not marked[outside].any()


def test_an_object_far_aside_overlaps_nothing(body, template):
    aside = replace(NEAR, translation=np.array([3.0, 0.0, 0.0]))
    assert not any(marks.any() for marks in occlusion_maps(HUMAN, aside, camera(), body, template))


def test_hidden_vertices_count_and_who_is_in_front_does_not(body, template):
    """A ray through the body meets front and back: both are marked, with the object before or behind."""
    maps = []
    for depth in (0.3, -0.3):  # moved along the ray and scaled, so that the picture stays
        far = (40 - depth) / 40
        pose = ObjectPose(NEAR.rotation, np.array([0.05 * far, 0.1 * far, depth]), 1.3 * far)
        view = replace(camera(), translation=np.array([0.0, 0.0, 40.0]))
        maps.append(occlusion_maps(HUMAN, pose, view, body, template))
    assert np.mean(maps[0][0] == maps[1][0]) > 0.999 and maps[0][0].any()
    front = surfaces(body, template, NEAR, camera())[0][0]
    assert len(front) == len(maps[0][0])


def test_a_bulky_object_has_the_same_maps_at_every_resolution(body):
    """All but the vertices near the outline of the overlap; thin strings are another matter."""
    ball = load_template(SHIPPED / "basketball")
    pose = replace(NEAR, translation=np.array([0.15, 0.1, 0.3]))
    coarse, fine = (occlusion_maps(HUMAN, pose, camera(), body, ball, size=size) for size in (256, 512))
    assert all(marks.any() and np.mean(a == marks) > 0.95 for a, marks in zip(coarse, fine, strict=True))


def test_the_size_of_the_persons_box_changes_nothing(body, template):
    small, large = (occlusion_maps(HUMAN, NEAR, camera(height=h), body, template) for h in (200.0, 431.7))
    assert all(np.array_equal(a, b) for a, b in zip(small, large, strict=True))


def test_a_batch_is_its_images(body, template):
    views = [camera(degrees) for degrees in (0, 40, 120)]
    poses = [NEAR, replace(NEAR, scale=1.0), replace(NEAR, translation=np.array([0.3, 0.4, 0.1]))]
    batch = batched_occlusion_maps([HUMAN] * 3, poses, views, body, template)
    for row, (pose, view) in enumerate(zip(poses, views, strict=True)):
        alone = occlusion_maps(HUMAN, pose, view, body, template)
        assert np.array_equal(batch.human[row], alone[0]) and np.array_equal(batch.object[row], alone[1])
    assert batch.views.shape == (3, 22 + len(template.keypoints) + 1, 3) and (batch.inside == 1).all()


# View distance


def test_the_view_distance_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    points, other = rng.normal(size=(2, 5, 3))
    one, two = view_vectors(points, camera(0)), view_vectors(other, camera(50))
    total = 0.0
    for a, b in ((points, camera(0)), (other, camera(50))):
        position = camera_position(b.rotation, b.translation)
        wanted = [(p - position) / np.linalg.norm(p - position) for p in a] + [position / np.linalg.norm(position)]
        assert np.allclose(view_vectors(a, b), wanted)
    for a, b in zip(one, two, strict=True):
        total += sum(abs(x - y) for x, y in zip(a, b, strict=True))
    assert np.isclose(view_distance(one, two), total / (3 * 6)) and view_distance(one, one) == 0
    assert np.array_equal(view_distance(np.stack([one, two]), two) == 0, [False, True])


def test_near_duplicates_are_left_out_in_order():
    points = np.random.default_rng(1).normal(0, 0.3, (6, 3))
    tally, flags = Tally(0.1), np.array([True, False])
    kept = [tally.add(flags if degrees else ~flags, flags, view_vectors(points, camera(degrees)))
            for degrees in (0, 5, 9, 30, 33, 2, 90)]  # fmt: skip
    assert kept == [True, False, False, True, False, False, True]
    assert tally.means["human"].tolist() == [2 / 3, 1 / 3] and tally.means["object"].tolist() == [1, 0]


# The files


def make_sample(name, view, pose=NEAR, human=HUMAN, **changes):
    return Sample(name, OBJECT, name, human=human, camera=view, object_pose=pose, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "open"
    lost = ObjectPose(np.full((3, 3), np.nan), np.full(3, np.nan))
    real = replace(camera(), focal=np.full(2, 1000.0), translation=np.array([0.0, 0.0, 2.5]))
    rows = [
        make_sample("a", camera(0)),
        make_sample("b", camera(2)),
        make_sample("c", camera(80)),
        make_sample("d", camera(0), pose=None),
        make_sample("e", camera(0), pose=lost),
        make_sample("f", None),
        make_sample("g", real),
    ]
    with submissions.unchecked():
        write_samples(path / "samples" / OBJECT / "train-00000-of-00001.parquet", rows)
        seal_folder(path, name="open", body_model="open")
    return path


def test_the_command_writes_maps_and_their_mean(folder, tmp_path, monkeypatch, capfd, body, template):
    words = ("occlusion", "--dataset", folder, "--object", OBJECT, "-o", tmp_path / "out", "--json")
    done = json.loads(run(monkeypatch, capfd, *words).out)
    lacking = {
        "without an estimate of the object's pose": 2,
        "without an estimate of the camera": 1,
        "with the person outside the crop that a focal length of 5000 makes": 1,
    }
    assert (done["images"], done["mapped"], done["kept"], done["lacking"]) == (7, 3, 2, lacking)
    table = pq.read_table(done["maps"])
    assert table["image_id"].to_pylist() == ["a", "b", "c"] and table["kept"].to_pylist() == [True, False, True]
    maps = [occlusion_maps(HUMAN, NEAR, camera(degrees), body, template) for degrees in (0, 2, 80)]
    for column, side in (("human_occlusion", 0), ("object_occlusion", 1)):
        assert all(np.array_equal(a, m[side]) for a, m in zip(table[column].to_pylist(), maps, strict=True))
    with np.load(done["mean"]) as mean:
        assert np.array_equal(mean["human"], (maps[0][0] * 1.0 + maps[2][0]) / 2)
        assert np.array_equal(mean["object"], (maps[0][1] * 1.0 + maps[2][1]) / 2)
        assert mean["images"] == 2 and str(mean["body"]) == body.sha256 and str(mean["template"]) == template.sha256
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{OBJECT}.parquet", f"{OBJECT}-mean.npz"}


def test_the_same_bytes_again_and_fewer_images_on_demand(folder, tmp_path, monkeypatch, capfd):
    for name in ("one", "two"):
        write_occlusion_maps(open_folder(folder), OBJECT, tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    told = []
    few = write_occlusion_maps(
        open_folder(folder), OBJECT, tmp_path / "few", images=2, limit=0.0, progress=lambda *n: told.append(n)
    )
    assert (few.images, few.mapped, few.kept) == (2, 2, 2) and told == [(1, 2), (2, 2)]
    words = ("occlusion", "--dataset", folder, "--object", OBJECT, "-o", tmp_path / "out", "--images", 4)
    outcome = run(monkeypatch, capfd, *words)
    assert "maps of 3 of 4 images, 2 distinct views" in outcome.err and "1 images without an estimate" in outcome.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--object", "spoon"), "'spoon' is unknown"),
        (("--object", "violin"), "no train samples of violin; there are tennis"),
        (("--object", OBJECT, "--split", "test"), "has no samples of split 'test'"),
        (("--object", OBJECT, "--dataset", "nowhere"), "'nowhere' is not at hand"),
        (("--object", OBJECT, "-o", "/dev/null/x"), "no writable folder"),
    ],
)
def test_a_mistake_is_one_line(folder, tmp_path, monkeypatch, capfd, words, told):
    monkeypatch.chdir(tmp_path)
    outcome = run(monkeypatch, capfd, "occlusion", "--dataset", folder, "-o", "out", *words)
    assert outcome.code in (2, 3) and told in outcome.first and not (tmp_path / "out").exists()


def test_a_data_set_of_truth_alone_is_said(tmp_path, monkeypatch, capfd):
    submissions.make_data(tmp_path / "data", ["tennis"], 1)
    outcome = run(monkeypatch, capfd, "occlusion", "--dataset", tmp_path / "data", "--object", "tennis", "-o", "out")
    assert outcome.code == 2 and "has no samples of split 'train'" in outcome.first


def test_images_without_estimates_are_no_maps(tmp_path):
    rows = [make_sample("d", camera(0), pose=None), make_sample("e", None)]
    with submissions.unchecked():
        write_samples(tmp_path / "data" / "samples" / OBJECT / "train-00000-of-00001.parquet", rows)
        data = seal_folder(tmp_path / "data", name="open", body_model="open")
    with pytest.raises(InputError, match=r"gives an occlusion map: 1 without an estimate of the object's pose; 1 with"):
        write_occlusion_maps(data, OBJECT, tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())
