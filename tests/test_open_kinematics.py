"""The moving skeleton of the open set's solver: places are those of the body model, Jacobians their derivatives."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from wildhoi.body.layout import BODY_JOINTS
from wildhoi.body.loading import load_body
from wildhoi.open_scenes.posing.kinematics import (
    N_TURNS,
    N_UNKNOWNS,
    OBJECT_PLACE,
    OBJECT_TURN,
    ROOT_PLACE,
    Kinematics,
    State,
    cross_matrices,
    directions_of,
    joints_of,
    object_directions,
    object_points,
    rotation_matrices,
    rotation_vectors,
)
from wildhoi.open_scenes.posing.settings import load_posing_settings, swap_sides
from wildhoi.open_scenes.posing.skin import anchor_points, find_patches, make_capsules, segment_distance, skin_points
from wildhoi.open_scenes.posing.solver import Term, solve

BODY = load_body("open")
SETTINGS = load_posing_settings()
BATCH = 3
STEP = 1e-5


def normal(rng, *shape, size=1.0):
    return torch.tensor(rng.normal(0, size, shape))


def make_case(seed=0, batch=BATCH):
    """People of random shapes, postures and hands at random places, with an object anywhere."""
    rng = np.random.default_rng(seed)
    turns, hands = normal(rng, batch, N_TURNS, 3, size=0.5), normal(rng, batch, 2, 15, 3, size=0.4)
    betas = normal(rng, batch, 10)
    state = State(
        rotation_matrices(turns),
        normal(rng, batch, 3),
        rotation_matrices(normal(rng, batch, 3)),
        normal(rng, batch, 3),
    )
    kinematics = Kinematics(BODY, betas, rotation_matrices(hands.flatten(1, 2)))
    return kinematics, state, betas, turns, hands


CASE = make_case()


def surface_in_world(betas, turns, hands, state):
    """The slow way: the whole surface of the body model, turned and moved into the world."""
    relative = hands - BODY.mean_hands
    found = BODY.surface(betas, turns[:, 1:], relative[:, 0], relative[:, 1])
    world = state.rotations[:, 0].transpose(1, 2)
    return tuple(points @ world + state.root[:, None] for points in found)


def differences(function, state, batch=BATCH):
    """The derivatives of values (b, n, 3) by a step, column by column from both sides."""
    columns = []
    for column in range(N_UNKNOWNS):
        step = torch.zeros(batch, N_UNKNOWNS, dtype=torch.float64)
        step[:, column] = STEP
        columns.append((function(state.moved(step)) - function(state.moved(-step))) / (2 * STEP))
    return torch.stack(columns, -1)


# rotations -----------------------------------------------------------------------------------------------------------


def test_rotation_matrices_are_those_of_scipy_and_exact_at_zero():
    vectors = np.random.default_rng(0).normal(0, 2, (200, 3))
    assert np.allclose(rotation_matrices(torch.tensor(vectors)), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-13)
    assert torch.equal(rotation_matrices(torch.zeros(2, 3)), torch.eye(3).expand(2, 3, 3))


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-9, 1e-8, 3e-7, 1e-4, 0.5, 2.0, 3.0, np.pi - 1e-3])
def test_rotation_vectors_undo_rotation_matrices_below_half_a_turn(angle):
    rng = np.random.default_rng(1)
    axes = rng.normal(size=(50, 3))
    vectors = torch.tensor(angle * axes / np.linalg.norm(axes, axis=1, keepdims=True))
    assert torch.allclose(rotation_vectors(rotation_matrices(vectors)), vectors, rtol=1e-9, atol=1e-15)


def test_cross_matrices_are_cross_products():
    rng = np.random.default_rng(2)
    a, b = normal(rng, 7, 3), normal(rng, 7, 3)
    assert torch.allclose((cross_matrices(a) @ b[..., None])[..., 0], torch.linalg.cross(a, b), atol=1e-15)


# states --------------------------------------------------------------------------------------------------------------


def test_a_step_of_nothing_moves_nothing():
    state = CASE[1]
    still = state.moved(torch.zeros(BATCH, N_UNKNOWNS, dtype=torch.float64))
    for entry in fields(State):
        assert torch.allclose(getattr(still, entry.name), getattr(state, entry.name), rtol=0, atol=1e-15)


def test_steps_about_one_axis_and_along_one_line_add_up_and_can_be_taken_back():
    state = CASE[1]
    step = normal(np.random.default_rng(3), BATCH, N_UNKNOWNS, size=0.3)
    twice, parts, back = state.moved(step), state.moved(0.25 * step).moved(0.75 * step), state.moved(step).moved(-step)
    for entry in fields(State):
        assert torch.allclose(getattr(twice, entry.name), getattr(parts, entry.name), atol=1e-13)
        assert torch.allclose(getattr(back, entry.name), getattr(state, entry.name), atol=1e-13)


def test_every_part_of_a_step_moves_its_own_part_of_the_state():
    state = CASE[1]
    parts = {
        "rotations": slice(0, ROOT_PLACE),
        "root": slice(ROOT_PLACE, OBJECT_TURN),
        "object_rotation": slice(OBJECT_TURN, OBJECT_PLACE),
        "object_translation": slice(OBJECT_PLACE, N_UNKNOWNS),
    }
    for name, columns in parts.items():
        step = torch.zeros(BATCH, N_UNKNOWNS, dtype=torch.float64)
        step[:, columns] = 0.2
        moved = state.moved(step)
        changed = {n for n in parts if not torch.allclose(getattr(moved, n), getattr(state, n), atol=1e-12)}
        assert changed == {name}


def test_where_picks_scene_by_scene():
    state = CASE[1]
    other = state.moved(torch.ones(BATCH, N_UNKNOWNS, dtype=torch.float64))
    mixed = state.where(torch.tensor([True, False, True]), other)
    for entry in fields(State):
        mine, theirs, got = (getattr(s, entry.name) for s in (state, other, mixed))
        assert torch.equal(got, torch.stack([mine[0], theirs[1], mine[2]]))


# places --------------------------------------------------------------------------------------------------------------


def test_joints_and_skin_are_those_of_the_whole_surface():
    kinematics, state, *person = CASE
    vertices, joints = surface_in_world(*person, state)
    posed = kinematics.pose(state)
    rng = np.random.default_rng(4)
    groups = [rng.choice(BODY.n_vertices, size, replace=False) for size in (1, 2, 10, 150, 1000)]
    slow = torch.stack([vertices[:, group].mean(1) for group in groups], 1)
    assert torch.allclose(posed.positions, joints, atol=1e-9)
    # weights of the body's file sum to 1 to float32: millionths of a metre
    assert torch.allclose(skin_points(kinematics, groups).of(posed).values, slow, atol=3e-6)


def test_anchors_are_means_of_their_patches():
    kinematics, state, *person = CASE
    vertices = surface_in_world(*person, state)[0]
    patches = find_patches(BODY)
    found = anchor_points(kinematics, patches.names).of(kinematics.pose(state)).values
    slow = torch.stack([vertices[:, group].mean(1) for group in patches.vertices], 1)
    assert torch.allclose(found, slow, atol=3e-6)


def test_anchors_of_both_sides_are_mirror_images_and_lie_on_their_parts():
    patches = find_patches(BODY)
    rest = BODY.rest_vertices(torch.zeros(1, 10, dtype=BODY.dtype))[0].numpy()
    rest = rest - BODY.rest_joints(torch.zeros(1, 10, dtype=BODY.dtype))[0, 0].numpy()
    for name, group in zip(patches.names, patches.vertices, strict=True):
        anchor = SETTINGS.anchors[name]
        assert len(group) == min(anchor.count, len(BODY.parts[anchor.part]))
        assert set(group) <= set(BODY.parts[anchor.part])
        twin = patches.vertices[patches.names.index(swap_sides(name))]
        assert np.linalg.norm(rest[group].mean(0) * [-1, 1, 1] - rest[twin].mean(0)) < 0.006


def test_the_hands_given_are_the_hands_posed():
    kinematics, state, *_ = CASE
    posed = kinematics.pose(state)
    first = BODY.n_joints - 30
    for number in range(30):
        joint = first + number
        above = posed.rotations[:, int(BODY.parents[joint])]
        assert torch.allclose(
            above.transpose(1, 2) @ posed.rotations[:, joint], kinematics.hands[:, number], atol=1e-13
        )


def test_some_of_a_batch_are_the_same_people():
    kinematics, state, *_ = CASE
    rows = torch.tensor([2, 0])
    some = State(*(getattr(state, entry.name)[rows] for entry in fields(State)))
    assert torch.allclose(
        kinematics.take(rows).pose(some).positions, kinematics.pose(state).positions[rows], atol=1e-14
    )


# Jacobians -----------------------------------------------------------------------------------------------------------


def test_how_joints_move():
    kinematics, state, *_ = CASE
    every = torch.arange(BODY.n_joints)
    found = joints_of(kinematics.pose(state), every)
    slow = differences(lambda s: kinematics.pose(s).positions, state)
    assert torch.allclose(found.jacobian, slow, atol=1e-8)


def test_how_skin_moves():
    kinematics, state, *_ = CASE
    points = anchor_points(kinematics, find_patches(BODY).names)
    found = points.of(kinematics.pose(state))
    slow = differences(lambda s: points.of(kinematics.pose(s)).values, state)
    assert torch.allclose(found.jacobian, slow, atol=1e-8)


def test_how_directions_of_the_body_turn():
    kinematics, state, *_ = CASE
    joints, local = torch.arange(N_TURNS), normal(np.random.default_rng(5), N_TURNS, 3)

    def slow(s):
        return (kinematics.pose(s).rotations[:, joints] @ local[None, ..., None])[..., 0]

    found = directions_of(kinematics.pose(state), joints, local)
    assert torch.allclose(found.values, slow(state), atol=1e-14)
    assert torch.allclose(found.jacobian, differences(slow, state), atol=1e-8)


@pytest.mark.parametrize(("function", "moves"), [(object_points, 1.0), (object_directions, 0.0)])
def test_how_the_object_moves(function, moves):
    state, points = CASE[1], normal(np.random.default_rng(6), BATCH, 5, 3)

    def slow(s):
        return torch.einsum("bij,bnj->bni", s.object_rotation, points) + moves * s.object_translation[:, None]

    found = function(state, points)
    assert torch.allclose(found.values, slow(state), atol=1e-14)
    assert torch.allclose(found.jacobian, differences(slow, state), atol=1e-8)


def test_sums_parts_and_multiples_move_as_they_say():
    kinematics, state, *_ = CASE
    factor = normal(np.random.default_rng(7), BATCH, 2)
    rows = torch.tensor([20, 5])

    def mixed(s):
        joints = joints_of(kinematics.pose(s), rows)
        thing = object_points(s, torch.ones(BATCH, 2, 3, dtype=torch.float64))
        return (joints - thing + joints[[1, 0]]).scaled(factor)

    assert torch.allclose(mixed(state).jacobian, differences(lambda s: mixed(s).values, state), atol=1e-8)


# the body's new doors ------------------------------------------------------------------------------------------------


def test_the_rest_pose_is_the_shaped_template():
    rng = np.random.default_rng(8)
    betas, zero = normal(rng, 2, 10), torch.zeros(2, 21, 3, dtype=torch.float64)
    flat = -BODY.mean_hands.expand(2, -1, -1, -1)
    surface = BODY.surface(betas, zero, flat[:, 0], flat[:, 1])
    pelvis = BODY.pelvis(betas)[:, None]
    assert torch.allclose(BODY.rest_joints(betas) - pelvis, surface.joints, atol=1e-12)
    assert torch.allclose(BODY.rest_vertices(betas) - pelvis, surface.vertices, atol=1e-6)
    assert torch.allclose(BODY.skinning.sum(1), torch.ones(BODY.n_vertices, dtype=torch.float64), atol=1e-6)


def test_following_any_orientation_turns_the_whole_body():
    rng = np.random.default_rng(9)
    betas, turns = normal(rng, 2, 10), normal(rng, 2, BODY.n_joints, 3, size=0.4)
    local, rest = rotation_matrices(turns), BODY.rest_joints(betas)
    upright = local.clone()
    upright[:, 0] = torch.eye(3, dtype=torch.float64)
    turned, straight = BODY.follow(local, rest), BODY.follow(upright, rest)
    assert torch.allclose(turned.positions, straight.positions @ local[:, 0].transpose(1, 2), atol=1e-13)
    assert torch.allclose(turned.rotations, local[:, :1] @ straight.rotations, atol=1e-13)
    assert torch.equal(turned.positions[:, 0], torch.zeros(2, 3, dtype=torch.float64))


def test_following_the_tree_equals_a_walk_joint_by_joint():
    kinematics, state, betas, turns, hands = CASE
    face = torch.zeros(BATCH, BODY.n_joints - N_TURNS - 30, 3, dtype=torch.float64)
    local = rotation_matrices(torch.cat([turns, face, hands.flatten(1, 2)], 1))
    rest, found = BODY.rest_joints(betas), kinematics.pose(state)
    for row in range(BATCH):
        rotations, places = [local[row, 0]], [state.root[row]]
        for joint in range(1, BODY.n_joints):
            above = int(BODY.parents[joint])
            rotations.append(rotations[above] @ local[row, joint])
            places.append(places[above] + rotations[above] @ (rest[row, joint] - rest[row, above]))
        assert torch.allclose(found.rotations[row], torch.stack(rotations), atol=1e-12)
        assert torch.allclose(found.positions[row], torch.stack(places), atol=1e-12)


def test_hand_poses_of_zero_are_the_mean_hands():
    betas, zero = torch.zeros(1, 10, dtype=BODY.dtype), torch.zeros(1, 15, 3, dtype=BODY.dtype)
    found = BODY.joint_transforms(betas, torch.zeros(1, 21, 3, dtype=BODY.dtype), zero, zero)
    hands = rotation_matrices(BODY.mean_hands.reshape(1, 30, 3))
    straight = State(
        torch.eye(3, dtype=BODY.dtype).expand(1, N_TURNS, 3, 3),
        zero[:, 0],
        torch.eye(3, dtype=BODY.dtype)[None],
        zero[:, 0],
    )
    posed = Kinematics(BODY, betas, hands).pose(straight)
    assert torch.allclose(posed.rotations, found.rotations, atol=1e-7)
    assert torch.allclose(posed.positions, found.positions, atol=1e-8)
    assert BODY.mean_hands.shape == (2, 15, 3)
    assert not load_body("open", flat_hand_mean=True).mean_hands.any()


def test_mean_hands_are_mirror_images():
    left, right = BODY.mean_hands
    assert torch.allclose(left * left.new_tensor([1, -1, -1]), right, atol=1e-6)


# round proxies -------------------------------------------------------------------------------------------------------


def test_distances_from_a_segment_are_those_of_its_nearest_point():
    rng = np.random.default_rng(10)
    points, first, second = normal(rng, 2, 20, 3), normal(rng, 2, 3), normal(rng, 2, 3)
    share = torch.linspace(0, 1, 20001, dtype=torch.float64)[:, None]
    for row in range(2):
        line = first[row] + share * (second[row] - first[row])
        slow = torch.cdist(points[row], line).min(1).values
        assert torch.allclose(segment_distance(points, first, second)[row], slow, atol=1e-6)
    point = segment_distance(points, first, first)
    assert torch.allclose(point, torch.linalg.vector_norm(points - first[:, None], dim=-1))


def test_proxies_are_as_thick_as_the_body_and_alike_on_both_sides():
    kinematics = Kinematics(
        BODY, torch.zeros(1, 10, dtype=BODY.dtype), torch.eye(3, dtype=BODY.dtype).expand(1, 30, 3, 3)
    )
    capsules = make_capsules(kinematics, SETTINGS)
    radii = dict(zip(capsules.names, capsules.radii[0].tolist(), strict=True))
    assert torch.allclose(capsules.ends.sum(2), torch.ones(2, len(capsules.names), dtype=BODY.dtype))
    assert all(abs(radii[name] - radii[swap_sides(name)]) < 0.003 for name in radii)
    assert 0.02 < radii["left_forearm"] < radii["left_thigh"] < radii["left_torso"] < 0.2


def test_larger_people_have_thicker_proxies():
    rng = np.random.default_rng(11)
    people = Kinematics(BODY, normal(rng, 6, 10), torch.eye(3, dtype=BODY.dtype).expand(6, 30, 3, 3))
    radii = make_capsules(people, SETTINGS).radii
    alone = [make_capsules(people.take(torch.tensor([row])), SETTINGS).radii[0] for row in range(6)]
    assert torch.allclose(radii, torch.stack(alone), atol=1e-12)
    assert (radii.std(0) > 1e-4).all()


# the solver ----------------------------------------------------------------------------------------------------------


def reach(goals, sigma=0.01):
    """Terms that want wrists at given places, and everything else near the rest pose."""
    kinematics, start = make_case(12, len(goals))[:2]
    numbers = torch.tensor([BODY_JOINTS.index("left_wrist"), BODY_JOINTS.index("right_wrist")])
    still = torch.eye(N_UNKNOWNS, dtype=torch.float64)

    def terms(people, wanted, begin):
        def at(state):
            hands = joints_of(people.pose(state), numbers)
            missed = Term((hands.values - wanted).flatten(1) / sigma, hands.jacobian.flatten(1, 2) / sigma)
            local = begin.rotations.transpose(-1, -2) @ state.rotations
            away = [rotation_vectors(local).flatten(1), state.root - begin.root]
            away.append(rotation_vectors(state.object_rotation @ begin.object_rotation.transpose(-1, -2)))
            away.append(state.object_translation - begin.object_translation)
            moved = torch.cat(away, 1)
            return [missed, Term(moved, still.expand(len(moved), -1, -1))]

        return at

    return kinematics, start, goals, terms


def only(state, row):
    return State(*(getattr(state, entry.name)[row : row + 1] for entry in fields(State)))


def cost_of(terms, state):
    return sum((term.residual**2).sum(1) for term in terms(state))


@pytest.fixture(scope="module")
def reaching():
    kinematics, start = make_case(12, 4)[:2]
    rng = np.random.default_rng(13)
    shoulders = kinematics.pose(start).positions[:, [16, 17]]
    return reach(shoulders + normal(rng, 4, 2, 3, size=0.2))


def test_a_solution_reaches_the_known_optimum_of_a_quadratic():
    start = CASE[1]
    goal = normal(np.random.default_rng(14), BATCH, 3)
    eye = torch.zeros(BATCH, 3, N_UNKNOWNS, dtype=torch.float64)
    eye[:, :, OBJECT_PLACE:] = torch.eye(3, dtype=torch.float64)
    turned = torch.zeros(BATCH, 3, N_UNKNOWNS, dtype=torch.float64)
    turned[:, :, OBJECT_TURN:OBJECT_PLACE] = torch.eye(3, dtype=torch.float64)

    def terms(state):
        # two pulls on the object's place, of weights 4 and 1: it rests a fifth of the way; none on the rest
        far = [Term(2 * (state.object_translation - goal), 2 * eye), Term(state.object_translation, eye)]
        return [*far, Term(rotation_vectors(state.object_rotation), turned)]

    found = solve(terms, start, steps=60, damping=1e-2)
    assert torch.allclose(found.object_translation, 0.8 * goal, atol=1e-7)
    assert torch.allclose(found.object_rotation, torch.eye(3, dtype=torch.float64).expand(BATCH, 3, 3), atol=1e-6)
    assert torch.allclose(found.rotations, start.rotations, atol=1e-9)
    assert torch.allclose(found.root, start.root, atol=1e-9)


def test_a_solution_is_where_no_step_helps(reaching):
    kinematics, start, goals, make = reaching
    terms = make(kinematics, goals, start)
    found = solve(terms, start, steps=80, damping=1e-2)
    missed = joints_of(kinematics.pose(found), torch.tensor([20, 21])).values - goals
    assert torch.linalg.vector_norm(missed, dim=-1).median() < 0.01
    least = cost_of(terms, found)
    rng = np.random.default_rng(15)
    for _ in range(30):
        assert (cost_of(terms, found.moved(normal(rng, 4, N_UNKNOWNS, size=1e-3))) > least - 1e-9).all()


def test_more_steps_are_never_worse(reaching):
    kinematics, start, goals, make = reaching
    terms = make(kinematics, goals, start)
    costs = torch.stack([cost_of(terms, solve(terms, start, steps=n, damping=1e-2)) for n in range(16)])
    assert torch.allclose(costs[0], cost_of(terms, start))
    assert (costs.diff(dim=0) <= 1e-12).all()
    assert (costs[-1] < 0.05 * costs[0]).all()


def test_a_step_that_would_be_worse_is_not_taken(reaching):
    kinematics, start, goals, make = reaching
    honest = make(kinematics, goals, start)

    def lying(state):
        return [Term(term.residual, -term.jacobian) for term in honest(state)]

    found = solve(lying, start, steps=10, damping=1e-2)
    assert (cost_of(honest, found) <= cost_of(honest, start)).all()


def test_a_batch_is_solved_as_each_scene_alone_and_the_same_every_time(reaching):
    kinematics, start, goals, make = reaching
    together = solve(make(kinematics, goals, start), start, steps=24, damping=1e-2)
    again = solve(make(kinematics, goals, start), start, steps=24, damping=1e-2)
    for row in range(len(goals)):
        first = only(start, row)
        person = kinematics.take(torch.tensor([row]))
        alone = solve(make(person, goals[row : row + 1], first), first, steps=24, damping=1e-2)
        for entry in fields(State):
            whole = getattr(together, entry.name)
            assert torch.equal(whole, getattr(again, entry.name))
            assert torch.allclose(whole[row], getattr(alone, entry.name)[0], rtol=0, atol=1e-9)
