"""A prior that has seen pictures: what it scores by picture, and the virtual cameras that it draws."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fit_scenes import samples_of
from tiny_priors import BLIND, tiny_prior

from baselines.conditioned import Conditioned, condition, draw_cameras
from baselines.pictures import encoder_picture
from submissions import unchecked
from wildhoi.errors import InputError

NAME = "barbell"
CPU = torch.device("cpu")
IDS = ["a", "b", "c"]


def shown(dtype=torch.float64, **kind):
    with unchecked():
        return condition(tiny_prior(NAME, **kind), samples_of(NAME), CPU, dtype)


def test_each_picture_is_seen_for_itself():
    together = shown()
    assert together.context.shape == (3, 8) and together.context.dtype == torch.float64
    for row, sample in enumerate(samples_of(NAME)):
        alone = condition(tiny_prior(NAME), [sample], CPU, torch.float64)
        assert torch.equal(alone.context[0], together.context[row])
        picture = torch.from_numpy(encoder_picture(sample, 16))[None]
        torch.testing.assert_close(together.prior.context(picture)[0], together.context[row])
    assert (together.context[0] - together.context[1]).abs().max() > 1e-6


def test_a_prior_that_looks_at_no_picture_needs_none():
    blind = [replace(sample, image=None) for sample in samples_of(NAME)]
    assert condition(tiny_prior(NAME, encoder=BLIND), blind, CPU, torch.float32).context.shape == (3, 0)
    with pytest.raises(InputError, match=f"{blind[0].image_id}: has no image"):
        condition(tiny_prior(NAME), blind, CPU, torch.float32)


def test_some_pictures_are_taken_as_often_as_they_are_named():
    of, rows = shown(), torch.tensor([2, 0, 2])
    points = torch.from_numpy(0.5 * np.random.default_rng(0).normal(size=(3, 26, 3)))
    cameras = 20 * torch.eye(3, dtype=torch.float64).expand(3, -1, -1)
    taken = of.take(rows)
    torch.testing.assert_close(taken.score(points[rows], cameras), of.score(points, cameras)[rows])
    torch.testing.assert_close(of.score(points, cameras), of.prior.score(points, cameras, of.context))


def test_a_prior_of_points_needs_no_cameras():
    of = shown(supervision="3d")
    points = torch.from_numpy(0.5 * np.random.default_rng(0).normal(size=(3, 26, 3)))
    assert draw_cameras(of, IDS, 4, 0) is None
    torch.testing.assert_close(of.score(points, None), of.score(points, torch.ones(3, 2, 3, dtype=torch.float64)))


# -- cameras -----------------------------------------------------------------------------------------------------------


def test_an_images_cameras_depend_on_its_id_and_the_seed_alone():
    of = shown()
    drawn = draw_cameras(of, IDS, 4, 0)
    assert drawn.shape == (3, 4, 3) and drawn.dtype == torch.float64
    torch.testing.assert_close(draw_cameras(of, IDS, 4, 0), drawn)
    for row in range(3):
        alone = draw_cameras(of.take(torch.tensor([row])), IDS[row : row + 1], 4, 0)
        torch.testing.assert_close(alone[0], drawn[row])
    order = [2, 0, 1]
    torch.testing.assert_close(draw_cameras(of.take(torch.tensor(order)), [IDS[k] for k in order], 4, 0), drawn[order])
    torch.manual_seed(5)
    torch.testing.assert_close(draw_cameras(of, IDS, 4, 0), drawn)
    same = of.take(torch.zeros(3, dtype=torch.long))
    others = draw_cameras(same, IDS, 4, 0)
    assert (others[0] - others[1]).abs().max() > 1e-3  # one picture, another name
    assert (draw_cameras(of, IDS, 4, 1) - drawn).abs().max() > 1e-3


def test_32_bits_draw_the_same_cameras():
    exact, rough = draw_cameras(shown(), IDS, 8, 0), draw_cameras(shown(torch.float32), IDS, 8, 0)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough.double(), exact, rtol=1e-3, atol=1e-3)


def recorded(of, monkeypatch):
    """Every draw with its likelihood, as the prior works them out."""
    seen, own = {}, type(of.prior).log_density

    def log_density(self, coordinates, context):
        seen["drawn"], seen["likely"] = coordinates, own(self, coordinates, context)
        return seen["likely"]

    monkeypatch.setattr(type(of.prior), "log_density", log_density)
    return seen


@pytest.mark.parametrize("count", [1, 4, 7])
def test_the_least_likely_quarter_is_refused_and_the_first_of_the_others_stay(monkeypatch, count):
    of = shown()
    seen = recorded(of, monkeypatch)
    drawn = draw_cameras(of, IDS, count, 0)
    likely = seen["likely"].view(3, -1).numpy()
    assert likely.shape == (3, 4 * count)
    for row in range(3):
        refused = set(np.argsort(likely[row])[:count])
        kept = [k for k in range(4 * count) if k not in refused][:count]
        wanted = of.prior.position(seen["drawn"].view(3, 4 * count, -1)[row, kept])
        torch.testing.assert_close(drawn[row], wanted)


class Wild:
    """A flow whose draws are no numbers, for all but some."""

    def __init__(self, sound):
        self.sound = sound

    def decode(self, z, context):
        found = torch.full_like(z, torch.nan)
        found[self.sound] = z[self.sound]
        return found, z[:, 0]

    def log_prob(self, x, context):
        return -x.square().sum(1)


@pytest.mark.parametrize("sound", [16, 12, 8, 4], ids=lambda n: f"{n}-of-16")
def test_draws_that_are_no_numbers_are_refused(sound):
    """As long as enough sound ones are there."""
    of = shown(encoder=BLIND).take(torch.tensor([0]))
    object.__setattr__(of.prior, "flow", None)
    of.prior._modules.pop("flow", None)
    of.prior.__dict__["flow"] = Wild(list(range(16 - sound, 16)))
    assert draw_cameras(of, ["a"], 4, 0).isfinite().all()


def test_scores_are_of_the_protocol():
    from baselines.observation import Scores

    assert isinstance(shown(), Scores) and isinstance(shown(), Conditioned)
