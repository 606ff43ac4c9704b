"""What holds of posed scenes, the same in a mirror, and what is refused."""

from dataclasses import fields, replace

import igl
import numpy as np
import pytest
import torch
from open_posed import (
    ATTEMPTS,
    BODY,
    HOLDING,
    KINDS,
    NAMED,
    OBJECTS,
    SETTINGS,
    attempt,
    chest_of,
    found,
    interaction_of,
    slow_distances,
    with_ball_at,
)

from wildhoi.body import pose_person
from wildhoi.body.layout import BODY_JOINTS
from wildhoi.mirror import BODY_EXCHANGE, REFLECTION
from wildhoi.open_scenes.posing.checks import Verdict, check
from wildhoi.open_scenes.posing.kinematics import OBJECT_PLACE, OBJECT_TURN, ROOT_PLACE, State, rotation_vectors
from wildhoi.open_scenes.posing.settings import swap_sides
from wildhoi.open_scenes.posing.skin import anchor_points, find_patches
from wildhoi.open_scenes.posing.solving import Solved, into_smpl_frame, mirrored

# what holds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_every_interaction_can_be_solved(name, kind):
    good = found(name, kind)
    assert len(good) >= HOLDING
    interaction = interaction_of(name, kind)
    grounded = interaction.ground or interaction.tiptoe or interaction.on_ground
    for solved, row, posed, verdict in good:
        assert np.median([0.0, *verdict.gaps]) < 0.01
        assert len(verdict.gaps) == sum(touch.loose is None for touch in interaction.touch)
        assert verdict.inside <= 0.03
        turns = rotation_vectors(solved.state.rotations[row])
        for joint, bounds in SETTINGS.limits.items():
            angles = turns[BODY_JOINTS.index(joint)].numpy()
            assert (angles > bounds[:, 0] - np.radians(5)).all()
            assert (angles < bounds[:, 1] + np.radians(5)).all()
        if grounded:
            thing = OBJECTS[name].posed(posed.object_pose, articulate=True)
            skin = pose_person(posed.human, solved.problem.body)[0]
            lowest = (np.concatenate([skin, thing]) @ posed.upright[1]).min() + posed.pelvis_height
            assert lowest > -0.015
            if interaction.ground or interaction.tiptoe:
                assert (skin @ posed.upright[1]).min() + posed.pelvis_height < 0.03  # and stands on it


def test_contacts_are_closed_where_they_are_wanted():
    """Not only near any part of the object: the middle of the part is at its place on the object."""
    missed = []
    for name, kind in KINDS:
        for solved, row, _, _ in found(name, kind):
            touches = solved.problem.interaction.touch
            if touches:
                points = anchor_points(solved.problem.kinematics, [touch.body for touch in touches])
                skin = points.of(solved.problem.kinematics.pose(solved.state)).values[row]
                places = solved.problem.places[row] @ solved.state.object_rotation[row].T
                distance = torch.linalg.vector_norm(skin - places - solved.state.object_translation[row], dim=-1)
                radii = solved.problem.scale[row] * torch.tensor([touch.radius for touch in touches])
                missed += [
                    abs(float(d - r)) for d, r, t in zip(distance, radii, touches, strict=True) if t.loose is None
                ]
    assert np.median(missed) < 0.003
    assert np.quantile(missed, 0.95) < 0.02


def test_loose_touches_only_hover():
    hover = []
    for name, kind in KINDS:
        for solved, row, _, _ in found(name, kind):
            loose = [n for n, touch in enumerate(solved.problem.interaction.touch) if touch.loose is not None]
            names = [solved.problem.interaction.touch[n].body for n in loose]
            if loose:
                points = anchor_points(solved.problem.kinematics, names)
                skin = points.of(solved.problem.kinematics.pose(solved.state)).values[row]
                places = solved.problem.places[row][loose] @ solved.state.object_rotation[row].T
                hover += torch.linalg.vector_norm(skin - places - solved.state.object_translation[row], dim=-1).tolist()
    assert np.median(hover) < 0.1  # twice what is wished for


def test_elbows_bend_in_their_planes():
    out = []
    for name, kind in KINDS:
        for solved, row, _, _ in found(name, kind):
            for joint, (bone, normal) in SETTINGS.hinges.items():
                turned = solved.state.rotations[row, BODY_JOINTS.index(joint)].numpy()
                out.append(abs(np.degrees(np.arcsin(np.clip(normal @ turned @ bone, -1, 1)))))
    assert np.median(out) < 1
    assert max(out) < 10


@pytest.mark.parametrize("name", NAMED)
def test_no_two_scenes_of_a_kind_are_alike(name):
    for kind in OBJECTS[name].category.interactions:
        (_, _, first, _), (_, _, second, _) = found(name, kind)[:2]
        mine, other = first.human, second.human
        assert np.degrees(np.abs(mine.body_pose - other.body_pose).max(axis=1)).mean() > 2
        assert np.abs(mine.betas - other.betas).max() > 0.1
        assert np.abs(mine.left_hand_pose - other.left_hand_pose).max() > 0.005
        assert abs(first.object_pose.scale - second.object_pose.scale) > 1e-3
        assert np.linalg.norm(first.object_pose.translation - second.object_pose.translation) > 0.005


def test_the_smpl_frame_is_the_world_seen_from_the_pelvis():
    solved, wishes, posed = attempt("bicycle", "steered", 17)
    thing = OBJECTS["bicycle"]
    world = solved.problem.kinematics.pose(solved.state).positions
    for row, scene in enumerate(posed):
        human = scene.human
        tensors = [
            torch.tensor(array)[None]
            for array in (human.betas, human.body_pose, human.left_hand_pose, human.right_hand_pose)
        ]
        joints = BODY.joints(*tensors)[0].numpy()
        moved = joints @ scene.upright.T + solved.state.root[row].numpy()
        assert np.allclose(moved, world[row].numpy(), atol=1e-8)
        assert np.isclose(scene.pelvis_height, world[row, 0, 1])
        assert scene.object_pose.angle == wishes[row].angle
        seen = thing.posed(scene.object_pose, articulate=True) @ scene.upright.T + solved.state.root[row].numpy()
        slow = thing.articulated(wishes[row].angle) * float(solved.problem.scale[row])
        slow = slow @ solved.state.object_rotation[row].numpy().T + solved.state.object_translation[row].numpy()
        assert np.allclose(seen, slow, atol=1e-9)


# in a mirror ---------------------------------------------------------------------------------------------------------


def joints_of(posed):
    human = posed.human
    arrays = (human.betas, human.body_pose, human.left_hand_pose, human.right_hand_pose)
    return BODY.surface(*(torch.tensor(array)[None] for array in arrays))


MIRRORED = [("basketball", "under_arm"), ("tennis", "backhand"), ("skateboard", "pushing"), ("baseball", "swing")]


@pytest.mark.parametrize(("name", "kind"), MIRRORED)
def test_a_mirrored_scene_is_the_scene_in_a_mirror(name, kind):
    solved, _, posed, _ = found(name, kind)[0]
    twin, template = mirrored(posed), OBJECTS[name]
    real, image = joints_of(posed), joints_of(twin)
    joints = image.joints[0, list(BODY_EXCHANGE)].numpy() * REFLECTION
    assert np.linalg.norm(joints - real.joints[0, :22].numpy(), axis=1).max() < 0.006
    skin, reflected = real.vertices[0].numpy(), image.vertices[0].numpy() * REFLECTION
    distance = np.sqrt(igl.point_mesh_squared_distance(reflected, skin, BODY.faces)[0])
    assert np.median(distance) < 0.002
    assert np.quantile(distance, 0.99) < 0.008
    thing, other = template.posed(posed.object_pose), template.posed(twin.object_pose) * REFLECTION
    assert np.sqrt(igl.point_mesh_squared_distance(other, thing, template.faces)[0].max()) < 0.002
    patches = find_patches(BODY)
    for touch in solved.problem.interaction.touch:
        here, there = (patches.vertices[patches.names.index(n)] for n in (touch.body, swap_sides(touch.body)))
        gaps = [
            np.sqrt(
                igl.point_mesh_squared_distance(v.numpy()[group], template.posed(p.object_pose), template.faces)[
                    0
                ].min()
            )
            for v, group, p in ((real.vertices[0], here, posed), (image.vertices[0], there, twin))
        ]
        assert abs(gaps[0] - gaps[1]) < 0.006
    heights = [
        (v.numpy() @ p.upright[1]).min() + p.pelvis_height
        for v, p in ((real.vertices[0], posed), (image.vertices[0], twin))
    ]
    assert abs(heights[0] - heights[1]) < 0.004


@pytest.mark.parametrize(("name", "kind"), MIRRORED)
def test_a_mirror_of_a_mirror_shows_the_scene(name, kind):
    posed = found(name, kind)[0][2]
    again = mirrored(mirrored(posed))
    for part, values in (("human", posed.human), ("object_pose", posed.object_pose)):
        for entry in fields(values):
            mine, other = getattr(values, entry.name), getattr(getattr(again, part), entry.name)
            assert mine is other or np.array_equal(mine, other)
    assert np.array_equal(again.upright, posed.upright)
    assert again.pelvis_height == posed.pelvis_height
    assert np.isclose(np.linalg.det(mirrored(posed).object_pose.rotation), 1)
    assert np.isclose(np.linalg.det(mirrored(posed).upright), 1)


# what is refused -----------------------------------------------------------------------------------------------------

SOUND = Verdict(gaps=(0.001, 0.0), inside=0.01, limbs=0.0, below=0.0, beyond=-0.1, strain=1.0)
WRONG = {
    "a contact is open": ("gaps", (0.0, 0.02)),
    "body and object are in each other": ("inside", 0.031),
    "limbs are in each other": ("limbs", 0.05),
    "something is below the ground": ("below", 0.016),
    "a joint is beyond its range": ("beyond", 0.1),
    "the posture is strained": ("strain", 2.6),
}


def test_limits_are_no_wider_than_promised():
    assert SETTINGS.checks["inside"] <= 0.03
    assert SETTINGS.checks["gap"] <= 0.012
    assert SETTINGS.checks["ground"] <= 0.015
    assert np.isclose(SETTINGS.checks["limits"], np.radians(5))


def test_a_sound_scene_is_not_refused_and_neither_is_one_without_contacts():
    assert SOUND.reason(SETTINGS) is None
    assert SOUND._replace(gaps=()).reason(SETTINGS) is None


@pytest.mark.parametrize("reason", WRONG)
def test_every_reason_refuses_by_itself(reason):
    name, value = WRONG[reason]
    assert SOUND._replace(**{name: value}).reason(SETTINGS) == reason


def verdict_of(solved, state, wishes, name):
    changed = Solved(solved.problem, solved.proxies, state)
    return check(changed, into_smpl_frame(changed, wishes), OBJECTS[name], SETTINGS)[0]


@pytest.fixture(scope="module")
def sound():
    """One scene that holds: a ball near a hand, which touches nothing."""
    for seed in range(ATTEMPTS):
        solved, wishes, _ = attempt("basketball", "in_air", seed, 1)
        verdict = verdict_of(solved, solved.state, wishes, "basketball")
        if verdict.reason(SETTINGS) is None:
            return solved, wishes, verdict
    raise AssertionError("no scene holds")


def stepped(state, **parts):
    """A state after turns of joints and moves of root and object."""
    step = torch.zeros(1, 75, dtype=BODY.dtype)
    places = {"root": ROOT_PLACE, "object_turn": OBJECT_TURN, "object": OBJECT_PLACE}
    for name, values in parts.items():
        first = places[name] if name in places else 3 * BODY_JOINTS.index(name)
        step[0, first : first + 3] = torch.tensor(values, dtype=BODY.dtype)
    return state.moved(step)


def changed_fields(before, after):
    return {
        name
        for name in Verdict._fields
        if not np.allclose(getattr(before, name), getattr(after, name), rtol=0, atol=1e-7)
    }


def test_a_ball_in_the_chest_is_refused(sound):
    solved, wishes, before = sound
    inside = with_ball_at(solved, chest_of(solved) + torch.tensor([[0.0, 0.05, 0.15]], dtype=BODY.dtype))
    after = verdict_of(solved, inside, wishes, "basketball")
    assert after.reason(SETTINGS) == "body and object are in each other"
    assert changed_fields(before, after) == {"inside"}


def test_a_hand_in_a_ball_is_refused(sound):
    """The other way round: vertices of the body in the object."""
    solved, wishes, before = sound
    wrist = solved.problem.kinematics.pose(solved.state).positions[:, BODY.joint_names.index("right_middle2")]
    after = verdict_of(solved, with_ball_at(solved, wrist), wishes, "basketball")
    assert after.reason(SETTINGS) == "body and object are in each other"
    assert changed_fields(before, after) == {"inside"}


def test_crossed_legs_are_refused(sound):
    solved, wishes, _ = sound
    crossed = stepped(solved.state, left_hip=[0.0, 0.0, -0.42], right_hip=[0.0, 0.0, 0.42])
    after = verdict_of(solved, crossed, wishes, "basketball")
    assert after.limbs > SETTINGS.checks["limbs"]
    assert after.reason(SETTINGS) == "limbs are in each other"


def test_sinking_is_refused_of_person_and_of_object_and_allowed_where_there_is_no_ground(sound):
    solved, wishes, before = sound
    sunk = stepped(solved.state, root=[0.0, -0.05, 0.0], object=[0.0, -0.05, 0.0])
    after = verdict_of(solved, sunk, wishes, "basketball")
    assert after.reason(SETTINGS) == "something is below the ground"
    assert changed_fields(before, after) == {"below"}
    buried = with_ball_at(solved, torch.tensor([[2.0, 0.0, 0.0]], dtype=BODY.dtype))
    after = verdict_of(solved, buried, wishes, "basketball")
    assert after.reason(SETTINGS) == "something is below the ground"
    assert abs(after.below - 0.1225 * float(solved.problem.scale)) < 0.003
    free = replace(solved.problem, interaction=replace(solved.problem.interaction, tiptoe=(), ground=()))
    assert verdict_of(replace(solved, problem=free), sunk, wishes, "basketball").below == 0


def test_a_twisted_neck_is_refused(sound):
    solved, wishes, before = sound
    after = verdict_of(solved, stepped(solved.state, head=[0.0, 1.3, 0.0]), wishes, "basketball")
    assert after.reason(SETTINGS) == "a joint is beyond its range"
    assert changed_fields(before, after) <= {"beyond", "inside"}


def test_a_posture_far_from_what_was_drawn_is_refused(sound):
    solved, wishes, before = sound
    state = solved.state
    yaw = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]], dtype=BODY.dtype)
    rotations = state.rotations.clone()
    rotations[:, 0] = yaw @ rotations[:, 0]
    place = (yaw @ (state.object_translation - state.root)[..., None])[..., 0] + state.root
    away = State(rotations, state.root, yaw @ state.object_rotation, place)
    after = verdict_of(solved, away, wishes, "basketball")
    assert after.reason(SETTINGS) == "the posture is strained"
    assert changed_fields(before, after) == {"strain"}


def test_an_open_contact_is_refused():
    for seed in range(ATTEMPTS):
        solved, wishes, _ = attempt("barbell", "overhead", seed, 1)
        before = verdict_of(solved, solved.state, wishes, "barbell")
        if before.reason(SETTINGS) is None:
            break
    assert max(before.gaps) < 0.01
    after = verdict_of(solved, stepped(solved.state, object=[0.0, 0.3, 0.0]), wishes, "barbell")
    assert after.reason(SETTINGS) == "a contact is open"
    assert min(after.gaps) > 0.1
    assert changed_fields(before, after) <= {"gaps", "inside"}


def test_gaps_are_those_of_a_slow_search():
    solved, _, posed, verdict = found("violin", "played")[0]
    template, patches = OBJECTS["violin"], find_patches(BODY)
    skin = pose_person(posed.human, solved.problem.body)[0]
    thing = template.posed(posed.object_pose, articulate=True)
    touches = [touch for touch in solved.problem.interaction.touch if touch.loose is None]
    for touch, gap in zip(touches, verdict.gaps, strict=True):
        group = patches.vertices[patches.names.index(touch.body)]
        slow = min(np.abs(slow_distances(skin[group], thing, template.faces)))
        assert np.isclose(gap, slow, atol=1e-6)
