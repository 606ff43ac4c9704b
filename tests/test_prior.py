"""The learned prior: what it scores, against one camera at a time, and what it draws."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_priors import BLIND, SHOWN, tiny_prior

from baselines.prior import Prior
from baselines.rays import View, flat, rays_from_points, to_metres
from submissions import unchecked

NAME = "barbell"
KEYPOINTS = 26
KINDS = {
    "metres": {},
    "rays": {"space": "rays"},
    "points": {"supervision": "3d"},
    "blind": {"encoder": BLIND},
}


def prior(kind="metres", dtype=torch.float64):
    return tiny_prior(NAME, **KINDS[kind]).to(dtype)


def scenes(count=3, cameras=4, context=8, seed=0, dtype=torch.float64):
    """Points about the pelvis, cameras 10 to 40 m away, conditions."""
    rng = np.random.default_rng(seed)
    positions = rng.normal(size=(count, cameras, 3))
    positions *= rng.uniform(10, 40, (count, cameras, 1)) / np.linalg.norm(positions, axis=-1, keepdims=True)
    arrays = 0.5 * rng.normal(size=(count, KEYPOINTS, 3)), positions, rng.normal(size=(count, context))
    return tuple(torch.from_numpy(array).to(dtype) for array in arrays)


def context_of(kind):
    return 0 if kind == "blind" else 8


def slow_score(of, points, cameras, context):
    """Camera by camera, keypoint by keypoint, from the definitions; the flow alone is the prior's own."""
    found = np.empty(cameras.shape[:2])
    for row in range(len(points)):
        for column, camera in enumerate(cameras[row].numpy()):
            distance = np.linalg.norm(camera)
            rays = [(x - camera) / np.linalg.norm(x - camera) for x in points[row].numpy()]
            if of.config.space == "metres":
                seen = [(d + camera / distance) * distance for d in rays]
                seen.append(camera / distance * np.log(1 + distance))
            else:
                seen = [*rays, camera]
            numbers = torch.from_numpy(np.concatenate(seen))[None]
            found[row, column] = of.flow.log_prob(numbers, context[row : row + 1]).item() / (3 * (KEYPOINTS + 1))
    return found


@pytest.mark.parametrize("kind", ["metres", "rays", "blind"])
def test_a_score_is_the_density_of_what_each_camera_sees(kind):
    of, (points, cameras, context) = prior(kind), scenes(context=context_of(kind))
    found = of.score(points, cameras, context)
    np.testing.assert_allclose(found, slow_score(of, points, cameras, context), rtol=1e-9)
    assert found.isfinite().all() and found.std() > 0


def test_with_3d_supervision_cameras_do_not_matter():
    of, (points, cameras, context) = prior("points"), scenes()
    found = of.score(points, cameras, context)
    wanted = [of.flow.log_prob(points[row].reshape(1, -1), context[row : row + 1]).item() / 78 for row in range(3)]
    np.testing.assert_allclose(found[:, 0], wanted, rtol=1e-9)
    assert found.shape == (3, 1) and of.config.dimension == 78
    assert torch.equal(of.score(points, cameras * torch.nan, context), found)


@pytest.mark.parametrize("kind", KINDS)
def test_batched_is_one_at_a_time_and_batch_mates_change_nothing(kind):
    of, (points, cameras, context) = prior(kind), scenes(context=context_of(kind))
    together = of.score(points, cameras, context)
    for row in range(3):
        one = slice(row, row + 1)
        torch.testing.assert_close(of.score(points[one], cameras[one], context[one]), together[one])
    spoilt = points.clone()
    spoilt[1:] *= torch.nan
    torch.testing.assert_close(of.score(spoilt, cameras, context)[:1], together[:1])


def test_cameras_do_not_see_each_other():
    of, (points, cameras, context) = prior(), scenes()
    together = of.score(points, cameras, context)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(of.score(points, cameras[:, order], context), together[:, order])
    torch.testing.assert_close(of.score(points, cameras[:, 1:2], context), together[:, 1:2])


@pytest.mark.parametrize("kind", ["metres", "points"])
def test_its_gradient_is_right(kind):
    of, (points, cameras, context) = prior(kind), scenes(count=2, cameras=2)
    inputs = points.requires_grad_(True), cameras.requires_grad_(True)
    with unchecked():
        assert torch.autograd.gradcheck(lambda x, t: of.score(x, t, context), inputs, fast_mode=True)
    slopes = torch.autograd.grad(of.score(points, cameras, context).sum(), inputs, allow_unused=True)
    assert slopes[0].any()
    assert slopes[1].any() if kind == "metres" else slopes[1] is None


def test_what_the_picture_says_matters_unless_it_is_not_looked_at():
    points, cameras, context = scenes()
    of, generator = prior(), torch.Generator().manual_seed(0)
    assert (of.score(points, cameras, context) - of.score(points, cameras, context.flip(0))).abs().max() > 1e-4
    pictures = torch.randint(0, 256, (2, 5, 16, 16), dtype=torch.uint8, generator=generator)
    assert of.context(pictures).shape == (2, 8) and prior("blind").context(pictures).shape == (2, 0)
    features = of.encoder.features(pictures)
    torch.testing.assert_close(of.context(features), of.context(pictures))


@pytest.mark.parametrize("kind", KINDS)
def test_coordinates_and_positions_are_of_the_space(kind):
    of, (points, cameras, _) = prior(kind), scenes()
    view = rays_from_points(points[:, None].expand(-1, 4, -1, -1), cameras)
    wanted = flat(view) if kind == "rays" else to_metres(view)[0]
    assert torch.equal(of.coordinates(view), wanted)
    torch.testing.assert_close(of.position(wanted), cameras)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_as_large_as_it_says(kind):
    of = prior(kind)
    own = Prior(replace(of.config, noise=0.5, camera_noise=3.0)).double()
    like = torch.zeros(20000, of.config.dimension, dtype=torch.float64)
    drawn = own.noise(like, torch.Generator().manual_seed(0))
    wanted = np.full(of.config.dimension, 0.5)
    if kind != "points":
        wanted[-3:] = 3.0
    np.testing.assert_allclose(drawn.std(0), wanted, rtol=0.05)
    assert torch.equal(own.noise(like, torch.Generator().manual_seed(0)), drawn)
    np.testing.assert_allclose(np.corrcoef(drawn[:, :4].T), np.eye(4), atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_of_the_flow_for_each_picture(kind):
    of, (_, _, context) = prior(kind), scenes(context=context_of(kind))
    drawn = of.draw(context, 5, torch.Generator().manual_seed(1))
    assert drawn.shape == (3, 5, of.config.dimension)
    again = of.flow.sample(context.repeat_interleave(5, 0), torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn.flatten(0, 1), again)


def test_draws_of_a_tiny_prior_look_like_views():
    """Norms set on data: cameras tens of metres away, and keypoints within a few metres of the pelvis."""
    of, (_, _, context) = prior("metres"), scenes()
    drawn = of.draw(context, 50, torch.Generator().manual_seed(1))
    assert 5 < of.position(drawn).norm(dim=-1).median() < 500
    assert drawn[..., :-3].abs().median() < 3


def test_a_score_is_per_dimension():
    of, (points, cameras, context) = prior(), scenes()
    view = rays_from_points(points, cameras[:, 0])
    whole = of.flow.log_prob(of.coordinates(View(*view)), context)
    assert of.config.dimension == 81
    torch.testing.assert_close(of.score(points, cameras[:, :1], context)[:, 0], whole / 81)


def test_its_encoder_is_the_one_that_was_asked_for():
    assert prior().encoder.context == SHOWN.context and prior("blind").encoder.context == 0
    assert not any(weights.requires_grad for weights in prior().parameters())
