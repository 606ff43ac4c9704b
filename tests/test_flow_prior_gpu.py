"""The prior on a GPU: its density, its term and that of contact are those of a CPU."""

from dataclasses import replace

import fit_scenes as fits
import pytest
import torch
from tiny_priors import tiny_prior

from baselines.conditioned import Conditioned
from baselines.losses import contact, contact_nearest, prior
from submissions import unchecked

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, torch sees none")
CLOSE = {"rtol": 1e-4, "atol": 1e-6}
CAMERAS = 5


def parts_on(device, name, dtype, space):
    """Log-density of vectors, terms and their gradients, of the same numbers on a device; brought back."""
    draw = torch.Generator().manual_seed(0)
    scorer = tiny_prior(name, space=space).to(device, dtype)
    of = fits.problem(name, dtype=dtype, device=device, fixed=device == "cuda")
    count = len(of.parameters["betas"])
    context = torch.randn(count, scorer.encoder.context, generator=draw).to(device, dtype)
    vectors = torch.randn(count, scorer.config.dimension, generator=draw).to(device, dtype)
    cameras = 4 * torch.nn.functional.normalize(torch.randn(count, CAMERAS, 3, generator=draw), dim=2)
    of.observation = replace(of.observation, prior=Conditioned(scorer, context))
    of.parameters["virtual_cameras"] = cameras.to(device, dtype)
    found = {"log-density": scorer.log_density(vectors, context)}
    for function in (prior, contact, contact_nearest):
        moved = {key: tensor.detach().clone().requires_grad_() for key, tensor in of.parameters.items()}
        state = replace(of, parameters=moved).state()
        values = function(state, of.observation)
        values.sum().backward()
        found[function.__name__] = values.detach()
        for key in ("object_translation", "object_rotation", "body_pose"):
            found[f"{function.__name__}, gradient in {key}"] = moved[key].grad
    return {name: tensor.double().cpu() for name, tensor in found.items()}


@needs_gpu
@pytest.mark.parametrize("space", ["metres", "rays"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["barbell", "bicycle"])
def test_a_gpu_gives_what_a_cpu_gives(name, dtype, space):
    with unchecked():
        found = parts_on("cuda", name, dtype, space)
        expected = parts_on("cpu", name, dtype, space)
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        scale = float(tensor.abs().max())
        assert scale > 0, key
        torch.testing.assert_close(
            found[key] / scale, tensor / scale, **CLOSE, msg=lambda text, key=key: f"{key}: {text}"
        )
