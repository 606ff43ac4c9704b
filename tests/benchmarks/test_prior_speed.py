"""Milliseconds of a step of the fit with the learned prior, 64 images, beside the published way (`plain_prior`).

Run with `python -m pytest tests/benchmarks/test_prior_speed.py`. On a CPU one thread's own time counts and the two
take turns, the best turn of each, so that the ratio holds on a busy machine; on a GPU what the wall clock says. The
objects are those of the shipped sample with the fewest and with the most keypoints; priors are untrained, and mean
occlusion maps those of the sample's few training images, so that there are about as many candidates of contact as
with maps of thousands.
"""

import time
from dataclasses import replace
from functools import cache

import fit_scenes as fits
import pytest
import torch
from plain_prior import PlainPrior
from test_flow_speed import copied
from tiny_priors import mean_maps

from baselines.conditioned import Conditioned
from baselines.encoders import EncoderConfig
from baselines.fitting import _adam, _step
from baselines.flow import PRESETS
from baselines.flow_prior import TOUCHING, build_flow_prior, build_released
from baselines.losses import JOINTS
from baselines.painter import Painter
from baselines.prior import Prior, PriorConfig
from baselines.prior_files import TrainedPrior
from baselines.scene import CAMERAS
from submissions import unchecked
from wildhoi.body import load_body
from wildhoi.dataset import load_samples

BATCH, TURNS, STEPS = 64, 3, 2
TARGETS = {False: 3.0, True: 8.0}
"""How many times faster than the published way a fit with the small prior is; without and with contact."""
SAME_FLOW = 2.0
"""And with a flow of the published size, whose matrix products are most of a step."""
CONTEXT, SPACE = {"small": 64, "released": 256, "paper": 256}, {"released": "rays"}
GPU_LIMIT, GPU_CAMERAS = 6.0, 8
"""Milliseconds with contact on one H200."""
METHODS = {"flow-prior": build_flow_prior, "flow-prior-released": build_released}
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with unchecked():
        yield
    torch.set_num_threads(before)


@cache
def fewest_and_most():
    """Objects by their keypoints."""
    names = sorted({sample.object for sample in load_samples("open-sample", "test")})
    counts = {name: len(fits.template(name).keypoint_vertices) for name in names}
    return {"fewest": min(counts, key=counts.get), "most": max(counts, key=counts.get)}


@cache
def samples(name, count=BATCH):
    """The shipped samples of an object, again and again under other names."""
    found = fits.samples_of(name)
    return [replace(found[k % len(found)], image_id=f"{found[k % len(found)].image_id}-{k}") for k in range(count)]


def untrained(name, preset):
    """A new prior whose flow is of a preset and which looks at pictures briefly, with the sample's mean maps."""
    torch.manual_seed(0)
    encoder = EncoderConfig("small", size=16, context=CONTEXT[preset])
    keypoints = JOINTS + len(fits.template(name).keypoint_vertices)
    config = PriorConfig(name, keypoints, "2d", SPACE.get(preset, "metres"), 0.02, 0.02, PRESETS[preset], encoder)
    return TrainedPrior(Prior(config).eval().requires_grad_(False), mean_maps(name), {})


class Ours:
    """A method's fit of a batch, to be taken step by step."""

    def __init__(self, name, preset, cameras, *, method="flow-prior", device="cpu", precision="float32", count=BATCH):
        self.settings = {"start": "published", "cameras": cameras, "precision": precision}
        self.template, self.build = fits.template(name), METHODS[method]
        built = self.build(self.settings)
        built.trained, built.seed = untrained(name, preset), 0
        body = load_body("open", dtype=getattr(torch, precision), device=device)
        self.problem = built._problem(samples(name, count), self.template, body, Painter(fixed=device == "cuda"))

    def stage(self, phase, *, contact):
        return self.build(self.settings if contact else self.settings | {"contact": 0})._stages(self.template)[phase]

    def begin(self, phase, *, contact=True):
        """Choose the phase, where the batch starts: gives its step."""
        stage = self.stage(phase, contact=contact)
        parameters = {name: tensor.detach().clone() for name, tensor in self.problem.parameters.items()}
        for key, tensor in parameters.items():
            tensor.requires_grad_(key in stage.train)
        adam = _adam(parameters, [stage])
        for group in adam.param_groups:
            group["lr"] = stage.rate(0, group["name"])
        problem = replace(self.problem, parameters=parameters)
        still = None if phase else problem.state().human
        return lambda: _step(problem, stage, adam, still)


@cache
def fitted(name, preset, cameras):
    """One such fit, for all that is measured of it."""
    return Ours(name, preset, cameras)


@cache
def published():
    """The published way by object; both objects' at once, since a dense regressor takes 1.8 GB while it is made."""
    return {
        name: PlainPrior(fitted(name, "released", 16).problem, samples(name), mean_maps(name), TOUCHING)
        for name in fewest_and_most().values()
    }


def milliseconds(device, function, repeats):
    if device == "cuda":
        torch.cuda.synchronize()
    clock = time.perf_counter if device == "cuda" else time.process_time
    start = clock()
    for _ in range(repeats):
        function()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1000 * (clock() - start) / repeats


def best_in_turns(functions):
    """Best milliseconds of each of some steps by name; the published way, whose steps are long, takes one in a turn."""
    best = {}
    for function in functions.values():
        function()  # what is worked out once in a phase
    for _ in range(TURNS):
        for name, function in functions.items():
            spent = milliseconds("cpu", function, 1 if name == "plain" else STEPS)
            best[name] = min(spent, best.get(name, spent))
    return best


@pytest.mark.parametrize("keypoints", ["fewest", "most"])
def test_both_mean_the_same(keypoints):
    """The two terms of a batch as ours and the plain twin have them, the same numbers in both flows."""
    name = fewest_and_most()[keypoints]
    batch = len(fits.samples_of(name))
    ours = Ours(name, "released", 3, method="flow-prior-released", precision="float64", count=batch)
    problem, flow = ours.problem, ours.problem.observation.prior.prior.flow
    torch.manual_seed(0)
    for tensor in flow.parameters():
        tensor += 0.01 * torch.randn_like(tensor)
    plain = PlainPrior(problem, samples(name, batch), mean_maps(name), TOUCHING)
    copied(plain.flow.eval(), flow)
    with torch.no_grad():
        seen = Conditioned(problem.observation.prior.prior, plain.embedding(plain.features))
        observation, state = replace(problem.observation, prior=seen), problem.state()
        stage = ours.stage(0, contact=True)
        own = {key: stage.terms[key][0](state, observation) for key in ("prior", "contact")}
        theirs = plain.terms(contact=True)
    both = (observation.human_contact >= 0).any(1) & (observation.object_contact >= 0).any(1)
    assert both.any()
    assert float(theirs["prior"]) == pytest.approx(float(own["prior"].mean()), rel=1e-6)
    assert float(theirs["contact"]) == pytest.approx(float(own["contact"].sum() / both.sum()), rel=1e-5)
    assert abs(float(theirs["prior"])) > 0.1
    assert float(theirs["contact"]) > 0


@pytest.mark.parametrize("contact", [False, True], ids=["prior", "prior_and_contact"])
@pytest.mark.parametrize("phase", [0, 1], ids=["object", "body_too"])
@pytest.mark.parametrize(("keypoints", "cameras"), [("fewest", 16), ("most", 8), ("most", 16)])
def test_a_step_against_the_published_way(keypoints, cameras, phase, contact, say):
    name = fewest_and_most()[keypoints]
    plain = published()[name]
    steps = {preset: fitted(name, preset, cameras).begin(phase, contact=contact) for preset in PRESETS}
    drawn = fitted(name, "released", cameras).problem.parameters[CAMERAS]
    adam = plain.begin(drawn, object_alone=phase == 0)
    best = best_in_turns({**steps, "plain": lambda: plain.step(adam, contact=contact)})
    ratios = {preset: best["plain"] / best[preset] for preset in PRESETS}
    found = ", ".join(f"{preset} {best[preset]:.0f} ms ({ratio:.1f} x)" for preset, ratio in ratios.items())
    terms = "prior and contact" if contact else "prior"
    say(f"{name}, {terms}, m = {cameras}, phase {phase + 1}: plain {best['plain']:.0f} ms, {found}")
    assert ratios["small"] >= TARGETS[contact]
    assert ratios["released"] >= SAME_FLOW


@needs_gpu
@pytest.mark.parametrize("phase", [0, 1], ids=["object", "body_too"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("keypoints", ["fewest", "most"])
def test_a_step_on_a_gpu(keypoints, preset, phase, say):
    name = fewest_and_most()[keypoints]
    step = Ours(name, preset, GPU_CAMERAS, device="cuda").begin(phase)
    milliseconds("cuda", step, 10 * STEPS)  # the first steps set up the device
    torch.cuda.reset_peak_memory_stats()
    spent = min(milliseconds("cuda", step, 10 * STEPS) for _ in range(TURNS))
    gigabytes = torch.cuda.max_memory_allocated() / 1e9
    say(
        f"cuda, {name}, {preset}, prior and contact, m = {GPU_CAMERAS}, phase {phase + 1}: {spent:.1f} ms, "
        f"limit {GPU_LIMIT:g}; {gigabytes:.2f} GB"
    )
