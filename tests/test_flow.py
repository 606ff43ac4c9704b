"""The conditional flow: a bijection with its own Jacobian, a density, and what training makes of it."""

import sys
from dataclasses import replace
from math import log, pi

import pytest
import torch

from baselines.flow import PRESETS, ConditionalFlow, FlowConfig
from wildhoi.errors import InputError, MissingAssetError

pytest.importorskip("normflows", reason="the extra `baselines` is not installed")
SHAPES = [(2, 3), (5, 3), (6, 0)]


def flow(name="paper", dimension=5, context=3, *, spread=0.1, dtype=torch.float64, **changes):
    """A narrow flow of a preset, moved off everything that it starts from; evaluation mode."""
    torch.manual_seed(0)
    config = replace(PRESETS[name], **{"width": 16, "shift": 8} | changes)
    built = ConditionalFlow(dimension, context, config).to(dtype).eval()
    with torch.no_grad():
        for tensor in built.parameters():
            tensor += spread * torch.randn_like(tensor)
        for key, tensor in built.named_buffers():
            if key.endswith("running_mean"):
                tensor.normal_(0, 0.3)
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 2)
    return built


def draw(count, dimension, context, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(count, dimension + context, generator=generator, dtype=dtype)
    return numbers[:, :dimension], numbers[:, dimension:]


def gaussian(z):
    """Log-density of a standard Gaussian, from the formula."""
    return -(z.square().sum(1) + z.shape[1] * log(2 * pi)) / 2


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("dimension", "context"), SHAPES)
@pytest.mark.parametrize(("dtype", "spread", "tolerance"), [(torch.float64, 0.1, 1e-10), (torch.float32, 0.05, 1e-4)])
def test_decoding_undoes_encoding(name, dimension, context, dtype, spread, tolerance):
    built = flow(name, dimension, context, spread=spread, dtype=dtype)
    x, condition = draw(20, dimension, context, dtype=dtype)
    z, there = built.encode(x, condition)
    again, back = built.decode(z, condition)
    assert z.dtype == there.dtype == again.dtype == back.dtype == dtype
    assert (again - x).abs().max() < tolerance
    assert (there + back).abs().max() < tolerance
    assert (z - x).abs().max() > 0.1  # it does something


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("dimension", "context"), SHAPES)
@pytest.mark.parametrize("way", ["encode", "decode"])
def test_the_log_determinant_is_the_jacobians(name, dimension, context, way):
    built = flow(name, dimension, context)
    x, condition = draw(4, dimension, context)
    found = getattr(built, way)(x, condition)[1]
    for row in range(4):
        one = condition[row, None]
        jacobian = torch.autograd.functional.jacobian(lambda v, c=one: getattr(built, way)(v[None], c)[0][0], x[row])
        assert torch.linalg.slogdet(jacobian)[1].item() == pytest.approx(found[row].item(), abs=1e-9)
    assert found.abs().min() > 1e-3


@pytest.mark.parametrize("name", PRESETS)
def test_the_density_is_the_gaussians_at_z_and_the_determinant(name):
    built = flow(name)
    x, condition = draw(8, 5, 3)
    z, logdet = built.encode(x, condition)
    torch.testing.assert_close(built.log_prob(x, condition), gaussian(z) + logdet, rtol=0, atol=1e-12)
    torch.testing.assert_close(built(x, condition), built.log_prob(x, condition), rtol=0, atol=0)


@pytest.mark.parametrize("name", PRESETS)
def test_gradients_are_those_of_the_density(name):
    built = flow(name, depth=2)
    x, condition = (tensor.requires_grad_() for tensor in draw(3, 5, 3))
    assert torch.autograd.gradcheck(built.log_prob, (x, condition))


@pytest.mark.parametrize("name", PRESETS)
def test_every_number_that_is_trained_has_a_gradient(name):
    built = flow(name).train()
    x, condition = draw(32, 5, 3)
    built.log_prob(x, condition).sum().backward()
    assert [key for key, tensor in built.named_parameters() if tensor.grad is None or not tensor.grad.any()] == []


def plane(built, condition, cells=250):
    """Points on a grid of the plane that reaches well beyond samples, and the density times the area of a cell."""
    drawn = built.sample(condition.expand(2000, -1), torch.Generator().manual_seed(9))
    low, high = drawn.amin(0), drawn.amax(0)
    low, high = low - (high - low) / 2, high + (high - low) / 2
    points = torch.cartesian_prod(*(torch.linspace(*ends, cells).double() for ends in zip(low, high, strict=True)))
    with torch.no_grad():
        density = built.log_prob(points, condition.expand(len(points), -1)).exp()
    return points, density * ((high - low) / (cells - 1)).prod()


@pytest.mark.parametrize("name", PRESETS)
def test_the_density_integrates_to_one(name):
    built = flow(name, 2, 3)
    for row in range(2):
        mass = plane(built, draw(2, 2, 3)[1][row, None])[1]
        assert mass.sum().item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", PRESETS)
def test_samples_follow_the_density(name):
    """Means, spreads and the share in a half-plane, against sums over the grid."""
    built = flow(name, 2, 3)
    condition = draw(1, 2, 3)[1]
    points, mass = plane(built, condition)
    drawn = built.sample(condition.expand(20_000, -1), torch.Generator().manual_seed(2))
    mean = (mass[:, None] * points).sum(0)
    spread = (mass[:, None] * (points - mean).square()).sum(0).sqrt()
    assert ((drawn.mean(0) - mean) / spread).abs().max() < 0.03
    assert (drawn.std(0) / spread - 1).abs().max() < 0.03
    side = torch.tensor([1.0, -0.5], dtype=torch.float64) / spread
    share = mass[(points - mean) @ side > 0].sum()
    assert ((drawn - mean) @ side > 0).double().mean().item() == pytest.approx(share.item(), abs=0.015)


def test_draws_follow_their_generator():
    built = flow()
    condition = draw(6, 5, 3)[1]
    first, again, other = (built.sample(condition, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(5)
    unseeded = built.sample(condition)
    torch.manual_seed(5)
    assert torch.equal(built.sample(condition, None), unseeded)


def test_the_temperature_is_the_gaussians_spread():
    built = flow()
    condition = draw(6, 5, 3)[1]
    cold, half, whole = (built.sample(condition, torch.Generator().manual_seed(0), t) for t in (0.0, 0.5, 1.0))
    zero = torch.zeros(6, 5, dtype=torch.float64)
    torch.testing.assert_close(cold, built.decode(zero, condition)[0])
    z = built.encode(whole, condition)[0]
    torch.testing.assert_close(built.encode(half, condition)[0], z / 2)


@pytest.mark.parametrize("name", PRESETS)
def test_a_row_does_not_depend_on_its_batch(name):
    built = flow(name, dropout=0.5)
    x, condition = draw(7, 5, 3)
    together = built.log_prob(x, condition)
    alone = torch.cat([built.log_prob(x[k, None], condition[k, None]) for k in range(7)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
    z = built.encode(x, condition)[0]
    alone = torch.cat([built.decode(z[k, None], condition[k, None])[0] for k in range(7)])
    torch.testing.assert_close(x, alone, rtol=0, atol=1e-10)


def test_dropout_and_batch_norms_are_of_training_alone():
    x, condition = draw(7, 5, 3)
    dropping, norming = flow("paper", dropout=0.5).train(), flow("paper", batch_norm=True).train()
    assert not torch.equal(dropping.log_prob(x, condition), dropping.log_prob(x, condition))
    assert torch.equal(dropping.eval().log_prob(x, condition), dropping.log_prob(x, condition))
    assert not torch.allclose(norming.log_prob(x, condition)[:4], norming.log_prob(x[:4], condition[:4]))
    before = {key: tensor.clone() for key, tensor in norming.eval().named_buffers()}
    norming.log_prob(x, condition)
    assert all(torch.equal(tensor, before[key]) for key, tensor in norming.named_buffers())


@pytest.mark.parametrize("name", PRESETS)
def test_the_condition_reaches_every_part(name):
    built = flow(name)
    x, condition = draw(6, 5, 3)
    for step in built.steps:
        (one, det), (other, det_of_other) = (step.actnorm.encode(x, c) for c in (condition, condition.roll(1, 0)))
        assert ((one - other).abs() > 1e-6).all()
        assert ((det - det_of_other).abs() > 1e-6).all()
        kept = step.coupling.kept
        one, other = (step.coupling.encode(x, c)[0] for c in (condition, condition.roll(1, 0)))
        assert torch.equal(one[:, :kept], other[:, :kept])
        assert ((one - other)[:, kept:].abs() > 1e-6).all()


@pytest.mark.parametrize("name", PRESETS)
def test_saved_and_loaded_it_is_the_same(name):
    tensors = pytest.importorskip("safetensors.torch")
    built = flow(name, dtype=torch.float32)
    torch.manual_seed(99)  # other random orders
    other = ConditionalFlow(5, 3, built.config).eval()
    x, condition = draw(9, 5, 3, dtype=torch.float32)
    assert not torch.equal(other.log_prob(x, condition), built.log_prob(x, condition))
    other.load_state_dict(tensors.load(tensors.save(built.state_dict())))
    assert torch.equal(other.log_prob(x, condition), built.log_prob(x, condition))
    seeds = [torch.Generator().manual_seed(0) for _ in range(2)]
    assert torch.equal(other.sample(condition, seeds[0]), built.sample(condition, seeds[1]))


def through(built, x, condition):
    """What comes out of every actnorm, and of the last layer."""
    for step in built.steps:
        yield step.actnorm.encode(x, condition)[0]
        x = step.encode(x, condition)[0]
    yield built.last.encode(x, condition)[0]


@pytest.mark.parametrize("name", ["paper", "small"])
def test_the_first_batch_sets_the_scales(name):
    torch.manual_seed(0)
    built = ConditionalFlow(5, 3, replace(PRESETS[name], width=16, dropout=0.5)).double()
    x, condition = draw(300, 5, 3)
    x = x @ torch.tensor([0.001, 0.1, 1, 10, 100]).double().diag() + 7
    built.initialise(x, condition)
    assert built.training  # as it was
    built.eval()
    for out in through(built, x, condition):
        torch.testing.assert_close(out.mean(0), torch.zeros(5).double(), rtol=0, atol=1e-9)
        torch.testing.assert_close(out.var(0), torch.ones(5).double(), rtol=0, atol=1e-9)


def test_a_coordinate_that_never_varies_has_a_finite_density():
    built = ConditionalFlow(5, 3, replace(PRESETS["small"], width=16)).eval()
    x, condition = draw(50, 5, 3, dtype=torch.float32)
    x = x.clone()
    x[:, 2] = 1.5
    built.initialise(x, condition)
    assert built.log_prob(x, condition).isfinite().all()


def test_nothing_is_set_unasked():
    for name in PRESETS:
        built = ConditionalFlow(5, 3, replace(PRESETS[name], width=16))
        before = {key: tensor.clone() for key, tensor in built.named_parameters()}
        x, condition = draw(30, 5, 3, dtype=torch.float32)
        built.log_prob(9 * x, condition)
        built.sample(condition)
        if built.config.start == "zero":
            built.initialise(9 * x, condition)
        assert all(torch.equal(tensor, before[key]) for key, tensor in built.named_parameters())


def test_the_published_flow_starts_from_zero():
    built = ConditionalFlow(5, 3, PRESETS["released"])
    for step in built.steps:
        assert not any(tensor.any() for tensor in (step.actnorm.bias, step.actnorm.log_scale, step.linear.factors))
    assert not built.last.bias.any()
    assert not built.last.log_scale.any()


def test_additive_couplings_keep_the_volume():
    """Their determinant is 1, so that all rows of one condition have the same."""
    built = flow("released")
    x, condition = draw(9, 5, 3)
    assert all(not step.coupling.encode(x, condition)[1].any() for step in built.steps)
    same = condition[:1].expand(9, -1)
    assert built.encode(x, same)[1].std() < 1e-12
    assert flow("paper").encode(x, same)[1].std() > 1e-2


def test_affine_couplings_stretch_within_bounds():
    built = flow("paper", spread=50.0)
    x, condition = draw(50, 5, 3)
    for step in built.steps:
        logdet = step.coupling.encode(100 * x, condition)[1]
        assert 0.9 < logdet.abs().max() <= 5 - step.coupling.kept


@pytest.mark.parametrize("dimension", [2, 5, 6])
def test_published_couplings_take_turns_with_even_and_odd_coordinates(dimension):
    """Where one coupling alone acts, it moves those of one parity, wherever the steps before have put them."""
    for number in range(4):
        built = ConditionalFlow(dimension, 0, replace(PRESETS["released"], width=16, batch_norm=False)).eval()
        places = torch.arange(float(dimension))[None]
        nothing = torch.zeros(1, 0)
        with torch.no_grad():
            for step in built.steps:
                step.coupling.net.final_layer.weight.zero_()
                step.coupling.net.final_layer.bias.zero_()
            order = built.encode(places, nothing)[0].round().long()[0]
            built.steps[number].coupling.net.final_layer.bias.fill_(0.25)
            out = torch.empty(dimension)
            out[order] = built.encode(places, nothing)[0][0]
        moved = (out - places[0]).abs() > 0.1
        assert moved.tolist() == [k % 2 == (number + 1) % 2 for k in range(dimension)]


def test_presets_have_their_sizes():
    paper, released, small = (PRESETS[name] for name in ("paper", "released", "small"))
    assert (paper.depth, paper.width, paper.coupling) == (8, 512, "affine")
    assert (released.depth, released.width, released.coupling, released.blocks) == (4, 512, "additive", 2)
    assert released.batch_norm
    assert (released.dropout, released.start, released.mixing) == (0.5, "zero", "parity")
    flow = ConditionalFlow(111, 64, small)
    assert sum(tensor.numel() for tensor in flow.parameters()) <= 450_000


def truth(condition):
    """A correlated Gaussian shifted by the condition."""
    generator = torch.Generator().manual_seed(0)
    shift = torch.randn(2, 4, generator=generator)
    factor = torch.randn(4, 4, generator=generator).tril(-1) + torch.diag(torch.tensor([0.3, 1.0, 2.0, 5.0]))
    return torch.distributions.MultivariateNormal(condition @ shift, scale_tril=factor)


def known(count, seed):
    """Conditions, and a vector for each."""
    numbers = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    condition, noise = numbers[:, :2], numbers[:, 2:]
    of = truth(condition)
    return condition, of.mean + noise @ of.scale_tril[0].T


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    built = ConditionalFlow(4, 2, replace(PRESETS["small"], depth=3, width=24, shift=8))
    condition, x = known(20_000, 1)
    built.initialise(x[:1000], condition[:1000])
    adam = torch.optim.Adam(built.parameters(), lr=1e-2)
    steps = 200
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for step in range(steps):
        rows = torch.arange(500 * step, 500 * (step + 1)) % len(x)
        adam.zero_grad()
        (-built.log_prob(x[rows], condition[rows]).mean()).backward()
        adam.step()
        schedule.step()
    return built.eval()


@torch.no_grad()
def test_a_known_distribution_is_recovered(trained):
    """Likelihood of what it has not seen, in nats, beside that of the truth."""
    condition, x = known(20_000, 2)
    gap = (truth(condition).log_prob(x) - trained.log_prob(x, condition)).mean().item()
    assert -1e-3 < gap < 0.03


@torch.no_grad()
def test_samples_of_a_known_distribution(trained):
    condition = torch.tensor([[0.8, -0.6]]).expand(40_000, -1)
    drawn, of = trained.sample(condition, torch.Generator().manual_seed(7)), truth(condition[0])
    assert ((drawn.mean(0) - of.mean) / of.stddev).abs().max() < 0.1
    assert ((drawn.T.cov() - of.covariance_matrix) / torch.outer(of.stddev, of.stddev)).abs().max() < 0.1


@torch.no_grad()
def test_conditions_of_others_lower_the_likelihood(trained):
    condition, x = known(5000, 3)
    right, wrong = (trained.log_prob(x, rows).mean() for rows in (condition, condition.roll(1, 0)))
    assert wrong < right - 0.3


@torch.no_grad()
@pytest.mark.parametrize("name", PRESETS)
def test_single_precision_is_close(name):
    x, condition = draw(20, 5, 3)
    wide, narrow = flow(name), flow(name)
    narrow.float()
    found = narrow.log_prob(x.float(), condition.float())
    torch.testing.assert_close(found.double(), wide.log_prob(x, condition), rtol=1e-4, atol=1e-4)


def test_what_is_no_flow_is_refused():
    for changes in ({"depth": 0}, {"width": 0}, {"blocks": -1}, {"shift": 0}, {"dropout": 1.0}, {"dropout": -0.1}):
        with pytest.raises(InputError, match=next(iter(changes))):
            replace(PRESETS["small"], **changes)
    for dimension, context in ((1, 3), (5, -1)):
        with pytest.raises(InputError, match="want at least 2 and at least 0"):
            ConditionalFlow(dimension, context, PRESETS["small"])


def test_vectors_of_another_object_are_refused():
    built = flow()
    for dimension, context in ((6, 3), (5, 2)):
        x, condition = draw(4, dimension, context)
        for way in (built.encode, built.decode, built.log_prob, built.initialise):
            with pytest.raises(InputError, match=rf"got \({dimension}, {context}\).*want \(5, 3\)"):
                way(x, condition)


def test_a_flow_starts_from_numbers_alone():
    built = flow()
    x, condition = draw(4, 5, 3)
    with pytest.raises(InputError, match="got 1 vectors"):
        built.initialise(x[:1], condition[:1])
    for tensor in (x, condition):
        broken = tensor.clone()
        broken[2, 1] = torch.nan
        with pytest.raises(InputError, match="finite"):
            built.initialise(*(broken if part is tensor else part for part in (x, condition)))


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "normflows", None)
    with pytest.raises(MissingAssetError, match=r"pip install 'wildhoi\[baselines\]'"):
        ConditionalFlow(5, 3, FlowConfig(depth=1, width=8))
