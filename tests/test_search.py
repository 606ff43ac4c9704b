"""The search for where a prior likes objects: planted likes are found, turns tried, pictures kept as they were."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fit_scenes import problem, template, value_of
from tiny_priors import Planted

from baselines.fitting import Problem, Stage
from baselines.losses import JOINTS, TERMS
from baselines.placement import Place, initial_tensors, placement
from baselines.scene import BODY, CAMERAS, rotation_from_6d
from baselines.search import REACH, STEP, Search, search
from submissions import unchecked

THING = ("object_translation", "object_scale", "object_rotation")
OFFSETS = torch.tensor([-0.7, 0.3, 1.2], dtype=torch.float64)
"""Metres that the planted depths are behind the pelvis, by image; all of them on the grid."""


def in_camera_coordinates(name, *, fixed=False, prior=None):
    """The samples of a category, their objects moved as a fit in the cameras' coordinates moves them."""
    of = problem(name)
    with unchecked():
        means = of.scene.object_means
        start = Place(of.parameters["object_translation"], of.parameters["object_scale"])
        where = placement(
            "camera", of.observation.cameras, means.still[0] + means.share[0] * means.middle[0], start,
            rotation_from_6d(of.parameters["object_rotation"]), fixed_scale=fixed,
        )  # fmt: skip
        made = Problem(of.scene, of.observation, where, initial_tensors(of.parameters, where))
    return with_prior(made, prior) if prior is not None else made


def with_prior(of, scorer):
    return replace(of, observation=replace(of.observation, prior=scorer))


def keypoints(of):
    with unchecked():
        state = of.state()
        return torch.cat([state.human.joints[:, :JOINTS], state.object.keypoints], 1)


def seen(of):
    """Image coordinates of the object's keypoints."""
    with unchecked():
        points = of.observation.cameras.see(of.state().object.keypoints)
    return points[..., :2] / points[..., 2:]


def depths(of):
    """Of the objects' mean vertices behind the pelvis, along the camera's z."""
    with unchecked():
        middle = of.observation.cameras.see(of.state().object.means[:, :1])[:, 0, 2]
    return middle - of.observation.cameras.translation[:, 2]


def moved_to(of, offsets, turn=None):
    """The keypoints of the scenes with objects turned about the template's point, then drawn along their rays.

    One image at a time, from the definitions: a body that is scaled about the camera looks the same.
    """
    symmetry, found = of.scene.template.symmetry(), []
    turn = np.eye(3) if turn is None else turn
    with unchecked():
        state, cameras = of.state(), of.observation.cameras
        joints = state.human.joints[:, :JOINTS]
    vertices = of.scene.template.vertices
    corners = np.array(list(of.scene.template.keypoints.values()))
    for row, offset in enumerate(offsets):
        rotation, translation = (tensor[row].numpy() for tensor in (state.object.rotation, state.object.translation))
        turned = [(points - symmetry.point) @ turn.T + symmetry.point for points in (vertices, corners)]
        placed = [state.object.scale[row, 0].item() * points @ rotation.T + translation for points in turned]
        matrix, shift = cameras.rotation[row].numpy(), cameras.translation[row].numpy()
        middle, points = (each @ matrix.T + shift for each in placed)
        ratio = (shift[2] + float(offset)) / middle[:, 2].mean()
        found.append((ratio * points - shift) @ matrix)
    return torch.cat([joints, torch.from_numpy(np.stack(found))], 1)


def stage(steps=0, lr=0.005, train=THING, **more):
    return Stage(steps, train, {"prior": (TERMS["prior"].function, 1.0), **more}, lr)


def how(candidates=3, steps=0, prior=1.0, scale=0.0):
    return Search(candidates, steps, prior, scale)


def searched(of, settings=None, along=None):
    """After a search; the rigid template's symmetry."""
    with unchecked():
        search(of, along or stage(), of.scene.template.symmetry(), settings or how())
    return of


def planted(name, offsets=OFFSETS, turn=None, **kind):
    of = in_camera_coordinates(name, **kind)
    return with_prior(of, Planted(moved_to(of, offsets, turn)))


@pytest.mark.parametrize("name", ["cello", "barbell", "basketball"])
def test_a_planted_depth_is_found(name):
    of = planted(name)
    assert (depths(of) - OFFSETS).abs().min() > STEP
    searched(of)
    torch.testing.assert_close(depths(of), OFFSETS, rtol=0, atol=1e-6)
    torch.testing.assert_close(keypoints(of), of.observation.prior.wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["cello", "bicycle"])
def test_the_picture_stays_as_it_was(name):
    before, after = in_camera_coordinates(name), in_camera_coordinates(name)
    after = searched(with_prior(after, Planted(keypoints(after) + 1)))
    assert (depths(after) - depths(before)).abs().min() > 0.1
    # cameras are rotations to 32 bits only
    torch.testing.assert_close(seen(after), seen(before), rtol=0, atol=1e-7)


def test_an_object_of_fixed_size_keeps_it_and_the_place_of_its_middle():
    before, after = in_camera_coordinates("cello", fixed=True), in_camera_coordinates("cello", fixed=True)
    after = searched(with_prior(after, Planted(keypoints(after) + 1)))
    with unchecked():
        one, other = before.state().object, after.state().object
        torch.testing.assert_close(one.scale, other.scale)
        middles = [of.observation.cameras.see(of.state().object.means[:, :1])[:, 0] for of in (before, after)]
    assert (middles[0] - middles[1]).norm(dim=1).min() > 0.1
    torch.testing.assert_close(*(middle[:, :2] / middle[:, 2:] for middle in middles), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["barbell", "skateboard"])
def test_every_turn_that_looks_alike_is_tried_about_the_templates_point(name):
    for turn in template(name).symmetry().rotations[1:]:
        of = planted(name, turn=turn)
        before = rotation_from_6d(of.parameters["object_rotation"])
        searched(of)
        torch.testing.assert_close(keypoints(of), of.observation.prior.wanted, rtol=0, atol=1e-6)
        after = rotation_from_6d(of.parameters["object_rotation"])
        torch.testing.assert_close(after, before @ torch.from_numpy(turn), rtol=0, atol=1e-9)


def test_a_turn_that_nothing_prefers_is_not_made():
    of = planted("barbell")
    before = rotation_from_6d(of.parameters["object_rotation"])
    torch.testing.assert_close(rotation_from_6d(searched(of).parameters["object_rotation"]), before)


def test_where_the_prior_says_nothing_the_size_decides():
    class Silent(Planted):
        def score(self, points, cameras):
            return points.new_zeros(len(points), 1)

        def take(self, rows):
            return self

    of = with_prior(in_camera_coordinates("cello"), Silent(torch.zeros(3)))
    start, cameras = of.parameters, of.observation.cameras
    reach = torch.arange(-REACH, REACH + STEP / 2, STEP, dtype=torch.float64)
    grid = cameras.translation[:, 2:] + reach
    sizes = start["object_scale"] * grid / start["object_translation"][:, 2:]
    wanted = reach[(sizes - 1).square().argmin(1)]
    searched(of, how(scale=1.0))
    torch.testing.assert_close(depths(of), wanted, rtol=0, atol=1e-6)


def test_refining_goes_between_the_depths_of_the_grid():
    offsets = OFFSETS + 0.011
    coarse, fine = searched(planted("cello", offsets)), planted("cello", offsets)
    searched(fine, how(steps=60), stage(lr=1e-3))
    apart = [(keypoints(of) - of.observation.prior.wanted)[:, JOINTS:].norm(dim=2).mean(1) for of in (coarse, fine)]
    assert (apart[0] > 0.008).all() and (apart[1] < 0.5 * apart[0]).all()


class Wells(Planted):
    """Likes each of two arrangements, the first a little better."""

    def __init__(self, one, other):
        object.__setattr__(self, "wanted", one)
        object.__setattr__(self, "other", other)

    def score(self, points, cameras):
        scores = [-(points - wanted).square().mean((1, 2)) for wanted in (self.wanted, self.other)]
        return torch.maximum(scores[0], scores[1] - 1e-4)[:, None]

    def take(self, rows):
        return Wells(self.wanted[rows], self.other[rows])


def wells(name="cello"):
    of = in_camera_coordinates(name)
    return with_prior(of, Wells(moved_to(of, OFFSETS), moved_to(of, -OFFSETS)))


def test_of_the_candidates_the_one_stays_that_all_terms_like_best():
    def prefers_the_second(state, observation):
        points = torch.cat([state.human.joints[:, :JOINTS], state.object.keypoints], 1)
        return 10 * (points - observation.prior.other).square().mean((1, 2))

    torch.testing.assert_close(depths(searched(wells())), OFFSETS, rtol=0, atol=1e-6)
    other = stage(other=(prefers_the_second, 1.0))
    torch.testing.assert_close(depths(searched(wells(), along=other)), -OFFSETS, rtol=0, atol=1e-6)
    torch.testing.assert_close(depths(searched(wells(), how(candidates=1), other)), OFFSETS, rtol=0, atol=1e-6)
    off = stage(other=(prefers_the_second, 0.0))
    torch.testing.assert_close(depths(searched(wells(), along=off)), OFFSETS, rtol=0, atol=1e-6)


def test_the_result_is_no_worse_than_that_of_any_fewer_candidates():
    function = TERMS["prior"].function
    losses = [value_of(function, searched(wells(), how(candidates=n, steps=5))) for n in (1, 2, 4)]
    assert (losses[1] <= losses[0] + 1e-12).all() and (losses[2] <= losses[1] + 1e-12).all()


def test_more_candidates_than_there_are_change_nothing():
    torch.testing.assert_close(depths(searched(planted("cello"), how(candidates=60))), OFFSETS, rtol=0, atol=1e-6)


def test_people_stay_and_cameras_move_only_where_they_are_trained():
    before = in_camera_coordinates("cello").parameters
    still, moving = in_camera_coordinates("cello"), in_camera_coordinates("cello")
    tensors = dict(still.parameters)
    searched(still, how(steps=3))
    searched(moving, how(steps=3), stage(train=(*THING, CAMERAS)))
    assert all(still.parameters[name] is tensor for name, tensor in tensors.items())
    assert all(not tensor.requires_grad for tensor in moving.parameters.values())
    for name in (*BODY, CAMERAS):
        assert torch.equal(still.parameters[name], before[name]), name
    assert all(torch.equal(moving.parameters[name], before[name]) for name in BODY)
    assert not torch.equal(moving.parameters[CAMERAS], before[CAMERAS])


@pytest.mark.parametrize("spoil", [lambda v: v + 0.3, lambda v: v * torch.nan], ids=["other", "NaN"])
def test_an_image_does_not_feel_its_batch(spoil):
    one, other = planted("bicycle"), planted("bicycle")
    wanted = other.observation.prior.wanted
    other = with_prior(other, Planted(torch.cat([wanted[:1], spoil(wanted[1:])])))
    for of in (one, other):
        searched(of, how(steps=4))
    for name, tensor in one.parameters.items():
        torch.testing.assert_close(other.parameters[name][:1], tensor[:1], rtol=0, atol=1e-9)


def test_a_movable_part_stays_where_it_is():
    of = planted("bicycle")
    angle = of.parameters["object_angle"].clone()
    searched(of)
    assert torch.equal(of.parameters["object_angle"], angle)
