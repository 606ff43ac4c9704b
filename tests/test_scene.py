"""States against posed surfaces and templates, the parts that attract each other, and the painter."""

from dataclasses import replace

import numpy as np
import pytest
import slow_losses
import torch
from fit_scenes import TRIED, body, human_of, pose_of, problem, put_in_depth, template
from scipy.spatial.transform import Rotation

from baselines import painter as painter_module
from baselines.fitting import Problem
from baselines.losses import TERMS
from baselines.observation import FOCAL
from baselines.painter import Painter, bounds
from baselines.parts import Parts, matched_parts, named_pairs, released_parts
from baselines.scene import BODY, NEAREST, project, rotation_from_6d
from submissions import rotation, unchecked
from wildhoi.body import body_parameters, pose_people

EASY = [name for name in TERMS if name not in ("ordinal_depth", "contact", "contact_nearest")]
"""Terms that need no surface of the body."""


@pytest.fixture(scope="module", params=TRIED)
def case(request):
    """A problem, its state, and the same scene posed by the body model and the template (SMPL frame)."""
    of = problem(request.param)
    with unchecked():
        people = [human_of(of.parameters, row) for row in range(3)]
        posed = pose_people(people, body())
        things = np.stack(
            [template(request.param).posed(pose_of(of.parameters, row), articulate=True) for row in range(3)]
        )
        return of, of.state(), posed, things


def in_cameras(of, points):
    rotations, translations = (np.asarray(part) for part in of.observation.cameras)
    return points @ rotations.transpose(0, 2, 1) + translations[:, None]


def test_bodies_are_the_model_s(case):
    of, state, posed, _ = case
    with unchecked():
        assert np.allclose(state.human.vertices, posed.vertices, atol=1e-12)
        assert np.allclose(state.human.joints, posed.joints, atol=1e-12)
        assert np.allclose(state.human.seen, in_cameras(of, posed.vertices), atol=1e-10)


def test_objects_are_the_template_s(case):
    of, state, _, things = case
    with unchecked():
        assert np.allclose(state.object.vertices, things, atol=1e-12)
        assert np.allclose(state.object.seen, in_cameras(of, things), atol=1e-10)
        wanted = of.scene.template.keypoints_at(things)
        assert np.allclose(state.object.keypoints, wanted, atol=1e-12)


def test_means_are_those_of_all_vertices(case):
    of, state, posed, things = case
    parts = of.scene.parts
    with unchecked():
        for found, vertices, groups in (
            (state.human.means, posed.vertices, parts.body),
            (state.object.means, things, parts.object),
        ):
            wanted = [vertices.mean(1), *(vertices[:, group].mean(1) for group in groups)]
            assert np.allclose(found, np.stack(wanted, 1), atol=1e-6)


def test_boxes_are_those_of_all_vertices_of_a_part(case):
    of, state, posed, things = case
    parts = of.scene.parts
    with unchecked():
        for found, vertices, groups in (
            (state.human.boxes, posed.vertices, parts.body),
            (state.object.boxes, things, parts.object),
        ):
            seen = in_cameras(of, vertices)
            flat = np.concatenate([seen[..., :2] / seen[..., 2:], seen[..., 2:]], axis=2)
            assert np.allclose(found.low, np.stack([flat[:, group].min(1) for group in groups], 1), atol=1e-6)
            assert np.allclose(found.high, np.stack([flat[:, group].max(1) for group in groups], 1), atol=1e-6)
            assert not found.low.requires_grad


def test_the_65_keypoints_are_seen_where_they_are(case):
    of, state, *_ = case
    with unchecked():
        people = [human_of(of.parameters, row) for row in range(3)]
        points = slow_losses.class_keypoints(body(), body_parameters(people, body())).numpy()
    seen = in_cameras(of, points)
    with unchecked():
        assert np.allclose(state.human.keypoints, seen[..., :2] / seen[..., 2:], atol=1e-7)


def test_an_object_without_an_angle_is_the_template_unturned():
    of = problem("bicycle")
    del of.parameters["object_angle"]
    with unchecked():
        pose = pose_of(of.parameters, 0)
        assert pose.angle is None
        assert np.allclose(of.state().object.vertices[0], template("bicycle").posed(pose), atol=1e-12)


def test_a_part_of_both_sides_of_a_joint_keeps_its_box_and_its_mean():
    """Half of such a part turns: neither its hull at rest nor its mean at rest tells anything."""
    of = problem("bicycle")
    mixed = np.arange(0, len(template("bicycle").vertices), 7)
    parts = Parts([body().parts["chest"]], [mixed], np.array([[0, 0, 0]]))
    with unchecked():
        scene = type(of.scene)(body(), template("bicycle"), parts, of.scene.painter)
        made = Problem(scene, of.observation, of.placement, of.parameters)
        made.parameters["object_angle"] = torch.full((3, 1), 1.2, dtype=torch.float64)
        state = made.state()
        things = template("bicycle").posed(pose_of(made.parameters, 1), articulate=True)[mixed]
        assert np.allclose(state.object.means[1, 1], things.mean(0))
        seen = things @ of.observation.cameras.rotation[1].numpy().T + of.observation.cameras.translation[1].numpy()
        assert np.allclose(state.object.boxes.low[1, 0, :2], (seen[:, :2] / seen[:, 2:]).min(0))
        assert np.allclose(state.object.boxes.high[1, 0, 2], seen[:, 2].max())


def test_phase_one_poses_no_surface_that_no_term_needs(monkeypatch):
    of = problem("bicycle")

    def refuse(*_):
        raise AssertionError("the surface was posed")

    monkeypatch.setattr(of.scene.body, "surface", refuse)
    monkeypatch.setattr(of.scene.body, "skin", refuse)
    with unchecked():
        state = of.state()
        assert all(TERMS[name].function(state, of.observation).isfinite().all() for name in EASY)
        assert all(TERMS[name].function(state, of.observation).isfinite().all() for name in ("contact", "prior"))
        with pytest.raises(AssertionError, match="surface was posed"):
            TERMS["ordinal_depth"].function(of.state(), of.observation)


@pytest.mark.parametrize("fixed", [False, True])
def test_what_stands_still_is_posed_and_drawn_once(monkeypatch, fixed):
    of = put_in_depth(problem("bicycle", fixed=fixed), [-0.5] * 3)
    counts = {"surface": 0, len(of.scene.body_faces): 0, len(of.scene.faces): 0}
    surface, drawer = of.scene.body.skin, "nearest_faces_fixed" if fixed else "visible_faces"
    draw = getattr(painter_module, drawer)

    def posing(*arguments):
        counts["surface"] += 1
        return surface(*arguments)

    def drawing(vertices, faces, *arguments, **options):
        counts[len(faces)] += 1
        return draw(vertices, faces, *arguments, **options)

    monkeypatch.setattr(of.scene.body, "skin", posing)
    monkeypatch.setattr(painter_module, drawer, drawing)
    with unchecked():
        human = of.state().human
        for _ in range(3):
            state = of.state(human)
            TERMS["ordinal_depth"].function(state, of.observation)
            TERMS["contact"].function(state, of.observation)
    assert list(counts.values()) == [1, 1, 3]


# -- rotations and projection ------------------------------------------------------------------------------------------


def test_six_numbers_of_a_rotation_give_it_back():
    turns = torch.tensor(np.stack([rotation(seed) for seed in range(20)]))
    assert torch.allclose(rotation_from_6d(turns[:, :2].flatten(1)), turns, atol=1e-12)


def test_any_six_numbers_give_a_rotation():
    six = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 6)))
    turns = rotation_from_6d(six)
    assert torch.allclose(turns @ turns.mT, torch.eye(3, dtype=torch.float64).expand(50, 3, 3), atol=1e-12)
    assert torch.allclose(turns.det(), torch.ones(50, dtype=torch.float64))
    assert torch.allclose(turns[:, 0], torch.nn.functional.normalize(six[:, :3], dim=1))
    inside = (turns[:, 2] * six[:, 3:]).sum(1)  # the second row is in the plane of the two vectors
    assert inside.abs().max() < 1e-12
    assert torch.allclose(rotation_from_6d(six * torch.tensor([3.0] * 3 + [0.2] * 3)), turns)


def test_rotations_have_the_right_gradient():
    six = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 6))).requires_grad_(True)
    assert torch.autograd.gradcheck(rotation_from_6d, six)


def test_points_near_or_behind_the_camera_are_projected_as_if_they_were_just_before_it():
    points = torch.tensor([[1.0, 2, 4], [1, 2, 0.05], [1, 2, -3]])
    wanted = torch.tensor([[0.25, 0.5], [1 / NEAREST, 2 / NEAREST], [1 / NEAREST, 2 / NEAREST]])
    assert torch.allclose(project(points), wanted)


# -- parts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRIED)
def test_pairs_are_the_category_table_s(name):
    parts, wanted = matched_parts(body(), template(name)), slow_losses.touching(body(), template(name))
    found = [(parts.body[h], parts.object[o], parts.body[g]) for h, o, g in parts.pairs]
    assert len(found) == len(wanted) > 0
    assert all(all(map(np.array_equal, one, other)) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", TRIED)
def test_the_published_pairs_are_every_part_with_every_part(name):
    parts, wanted = released_parts(body(), template(name)), slow_losses.published_pairs(body(), template(name))
    found = [(parts.body[h], parts.object[o], parts.body[g]) for h, o, g in parts.pairs]
    assert len(found) == len(wanted)
    assert all(all(map(np.array_equal, one, other)) for one, other in zip(found, wanted, strict=True))


def test_without_the_table_s_parts_the_authors_names_pair_them():
    one, two, three = (np.arange(k, k + 3) for k in (0, 10, 20))
    made = replace(template("cello"), contact_vertices={"a": one, "b": two}, human_contact_vertices={"b": three})
    pairs = named_pairs(body(), made)
    assert len(pairs) == 1 and pairs[0][0] is three and pairs[0][1] is two
    bare = replace(template("cello"), contact_vertices={}, human_contact_vertices={})
    parts = matched_parts(body(), bare)
    assert len(parts.body) == len(bare.category.contact)
    assert all(np.array_equal(part, np.arange(len(bare.vertices))) for part in parts.object)


def test_a_hull_has_the_part_s_extent_in_every_direction():
    directions = Rotation.random(40, random_state=0).as_matrix()[:, 0]
    for part in template("cello").contact_vertices.values():
        hull = Parts.hull(template("cello"), part)
        assert set(hull) <= set(part)
        points = template("cello").vertices
        assert np.allclose((points[hull] @ directions.T).max(0), (points[part] @ directions.T).max(0))
    flat = np.flatnonzero(np.isclose(template("cello").vertices[:, 0], template("cello").vertices[0, 0]))[:2]
    assert np.array_equal(Parts.hull(template("cello"), flat), flat)


# -- painter -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def meshes():
    """A body and an object before the camera, as the painter takes them, and a mask of ragged pixels."""
    of = problem("cello", dtype=torch.float32)
    with unchecked():
        state = of.state()
        where = torch.from_numpy(np.random.default_rng(0).random((3, 256, 256)) < 0.5)
        where[0] = False
        where[1, :, :120] = False
        return {"body": (state.human.seen, of.scene.body_faces), "object": (state.object.seen, of.scene.faces)}, where


def listed(vertices, faces, where):
    """What the path of a CPU draws, as a map."""
    painter = Painter()
    face = torch.where(where, painter.faces(vertices, faces, bounds(where)), -1)
    image, y, x = torch.nonzero(face >= 0, as_tuple=True)
    depth = painter.listed(vertices, faces, face[image, y, x], image, torch.stack([x, y], dim=1))
    return torch.full(where.shape, torch.inf).index_put((image, y, x), depth)


@pytest.mark.parametrize("mesh", ["body", "object"])
def test_the_fixed_path_draws_what_the_other_draws(meshes, mesh):
    (vertices, faces), where = meshes[0][mesh], meshes[1]
    painter = Painter(fixed=True)
    drawn = []
    for draw in (listed, lambda *arguments: painter.depth(mesh, *arguments)):
        moving = vertices.clone().requires_grad_(True)
        with unchecked():
            depth = draw(moving, faces, where)
        depth.where(depth.isfinite(), 0.0).sum().backward()
        drawn.append((depth.detach(), moving.grad))
    assert not painter.overflowed()
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert drawn[0][0].isfinite().any() and not drawn[0][0].isfinite()[~where].any()
    assert torch.allclose(drawn[0][1], drawn[1][1], rtol=1e-3, atol=1e-3)


def test_too_little_room_is_told_once_and_doubled(meshes):
    (vertices, faces), where = meshes[0]["body"], meshes[1]
    painter = Painter(fixed=True)
    with unchecked():
        whole = painter.depth("body", vertices, faces, where)
        enough = painter.capacities["body"]
        assert not painter.overflowed()
        painter.capacities = {"body": enough // 16, "object": 7}
        holed = painter.depth("body", vertices, faces, where)
        painter.depth("body", vertices[:1], faces, where[:1])  # nothing to draw: does not hide what came before
        assert holed.isfinite().sum() < whole.isfinite().sum()
        assert painter.overflowed() and painter.capacities == {"body": enough // 16 * 2, "object": 14}
        assert not painter.overflowed() and painter.capacities["object"] == 14
        rounds = 0
        while not torch.equal(painter.depth("body", vertices, faces, where), whole):
            assert painter.overflowed()
            rounds += 1
        assert not painter.overflowed() and 1 <= rounds <= 4


def test_bounds_are_the_box_of_the_marked_pixels():
    where = torch.zeros(3, 256, 256, dtype=torch.bool)
    where[0, 3, 200] = where[0, 17, 5] = True
    where[1, 255, 0] = True
    found = bounds(where)
    assert found[:2].tolist() == [[5, 3, 200, 17], [0, 255, 0, 255]]
    assert found[2, 2] < found[2, 0] and found[2, 3] < found[2, 1]


def test_the_crop_s_middle_is_the_principal_point():
    """A face before the camera that covers but pixel (128, 128): image coordinates 0, 0."""
    corner = 0.6 / FOCAL
    vertices = torch.tensor([[[-corner, -corner, 1.0], [corner, -corner, 1.0], [0.0, corner, 1.0]]]) * 40
    where = torch.ones(1, 256, 256, dtype=torch.bool)
    for draw in (listed, lambda *arguments: Painter(fixed=True).depth("made", *arguments)):
        depth = draw(vertices, torch.tensor([[0, 1, 2]]), where)
        assert depth.isfinite().nonzero().tolist() == [[0, 128, 128]]
        assert depth[0, 128, 128] == 40


def test_nothing_of_people_is_fitted_when_they_stand_still():
    of = problem("cello")
    assert of.state().human.still
    for name in BODY:
        moved = Problem(of.scene, of.observation, of.placement,
                        of.parameters | {name: of.parameters[name].clone().requires_grad_(True)})  # fmt: skip
        assert not moved.state().human.still
