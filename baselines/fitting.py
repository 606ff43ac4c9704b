"""Staged gradient descent over a batch of images: knows parameters, stages and weights, but no term by name.

Equation 15 of the paper is one table of weights; its two phases are two stages. Everything in a step is batched over
images, has fixed shapes on a GPU and never waits for it.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from baselines.checkpoint import Checkpoint, Progress
from baselines.losses import Function
from baselines.observation import Observation
from baselines.placement import Place, Placement
from baselines.scene import BODY, HumanState, ObjectState, Scene, State, rotation_from_6d

CHECK_EVERY = 50
"""Steps between two looks at whether images have converged."""
TELL_EVERY = 0.5
"""Seconds between two reports."""

Watch = Callable[["Report"], None]


@dataclass(frozen=True)
class Stage:
    """A phase of a fit.

    Attributes:
        steps: of the optimiser.
        train: names of the parameters that move.
        terms: function and weight of each term, by name; a term of weight 0 is not worked out.
        lr: learning rate at the first step; metres, radians and shares alike.
        final_lr: its share at the last step, reached geometrically.
        beta2: of Adam, how long it remembers the size of gradients.
        fresh: begin with a new optimiser; otherwise its moments go on from the stage before.
        own_lr: learning rates of parameters that have one of their own, at the first step.
    """

    steps: int
    train: tuple[str, ...]
    terms: Mapping[str, tuple[Function, float]]
    lr: float
    final_lr: float = 1.0
    beta2: float = 0.999
    fresh: bool = True
    own_lr: Mapping[str, float] = field(default_factory=dict)

    def rate(self, step: int, name: str = "") -> float:
        """The learning rate of a step, counted from 0; of a parameter that may have its own."""
        return float(self.own_lr.get(name, self.lr) * self.final_lr ** (step / max(1, self.steps - 1)))


@dataclass(frozen=True)
class Report:
    """How far a fit is: steps done of all, the mean over images of each unweighted term."""

    done: int
    total: int
    losses: Mapping[str, float]


@dataclass(eq=False)
class Problem:
    """A batch to fit.

    Attributes:
        scene: body and template.
        observation: what the images say.
        placement: the coordinates that objects are moved in.
        parameters: by name, in these coordinates; changed in place by a fit.
        objective: `sum` over images; the published code takes the `mean`, which matters to Adam's epsilon alone.
        tolerance: an image stops when its loss falls by less than this share in 50 steps; 0: never.
    """

    scene: Scene
    observation: Observation
    placement: Placement
    parameters: dict[str, Tensor]
    objective: Literal["sum", "mean"] = "sum"
    tolerance: float = 0.0

    def state(self, human: HumanState | None = None) -> State:
        """The scenes that the parameters stand for; `human` where people stand still and are known already."""
        moved, cameras = self.parameters, self.observation.cameras
        rotation = rotation_from_6d(moved["object_rotation"])
        place = self.placement.decode(Place(moved["object_translation"], moved["object_scale"]), rotation)
        thing = ObjectState(self.scene, cameras, rotation, *place, moved.get("object_angle"))
        return State(human or HumanState(self.scene, cameras, moved), thing, moved)


def fit(
    problem: Problem,
    stages: Sequence[Stage],
    *,
    checkpoint: Checkpoint | None = None,
    watch: Watch | None = None,
    watch_every: int = 0,
) -> None:
    """Move the parameters of a problem down its stages.

    Args:
        problem: its parameters are changed in place.
        stages: in turn.
        checkpoint: where to keep the state, and to go on from; the result is the same as without an interruption.
        watch: told where the fit stands about twice a second, or every so many steps, and at the end.
        watch_every: so many.
    """
    at, moments = (Progress(), {}) if checkpoint is None else checkpoint.restore(problem.parameters)
    reporter = _Reporter(problem, sum(stage.steps for stage in stages), watch, watch_every)
    optimiser: torch.optim.Optimizer | None = None
    before = 0
    for number, stage in enumerate(stages):
        if optimiser is None or stage.fresh:
            optimiser = _adam(problem.parameters, stages[number:])
        if number >= at.stage:
            first = at.step if number == at.stage else 0
            if moments and number == at.stage:
                optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
            _run(problem, stage, optimiser, first, _Desk(number, before, reporter, checkpoint))
        before += stage.steps
    for tensor in problem.parameters.values():
        tensor.requires_grad_(False)
    reporter.finish()


def _adam(parameters: Mapping[str, Tensor], stages: Sequence[Stage]) -> torch.optim.Optimizer:
    """One optimiser for whatever the coming stages train; what is not trained yet has no gradient and is skipped."""
    names = dict.fromkeys(name for stage in stages for name in stage.train if name in parameters)
    groups = [{"params": [parameters[name]], "name": name} for name in names]
    return torch.optim.Adam(groups, lr=stages[0].lr, betas=(0.9, stages[0].beta2))


@dataclass(eq=False)
class _Desk:
    """Where a stage reports and keeps its state."""

    stage: int
    before: int
    reporter: "_Reporter"
    checkpoint: Checkpoint | None

    def tell(self, step: int, terms: Mapping[str, Tensor]) -> None:
        self.reporter.step(self.before + step, terms)

    def keep(self, step: int, problem: Problem, adam: torch.optim.Optimizer) -> None:
        if self.checkpoint is not None:
            self.checkpoint.keep(Progress(self.stage, step), problem.parameters, adam)


def _run(problem: Problem, stage: Stage, adam: torch.optim.Optimizer, first: int, desk: _Desk) -> None:
    """The steps of a stage from `first` on."""
    for name, tensor in problem.parameters.items():
        tensor.requires_grad_(name in stage.train)
        tensor.grad = None
    still = None if any(name in stage.train for name in BODY) else problem.state().human
    resting = _Resting(problem) if problem.tolerance else None
    safe = _Safe(problem, adam, first) if problem.scene.painter.fixed else None
    step = first
    while step < stage.steps:
        for group in adam.param_groups:
            group["lr"] = stage.rate(step, group["name"])
        terms, loss = _step(problem, stage, adam, still)
        step += 1
        if safe is not None and (step % CHECK_EVERY == 0 or step == stage.steps):
            step = safe.look(step)
        desk.tell(step, terms)
        if safe is None or safe.step == step:  # a state that is kept was drawn whole
            desk.keep(step, problem, adam)
        if resting is not None and resting.all_after(step, loss.detach()):
            return


def _step(
    problem: Problem, stage: Stage, adam: torch.optim.Optimizer, still: HumanState | None
) -> tuple[dict[str, Tensor], Float[Tensor, " b"]]:
    """One step of the optimiser; each term, and the weighted sum, by image. Where nothing moves it, nothing moves."""
    adam.zero_grad(set_to_none=True)
    state = problem.state(still)
    active = {name: pair for name, pair in stage.terms.items() if pair[1]}
    terms = {name: function(state, problem.observation) for name, (function, _) in active.items()}
    loss = state.object.translation.new_zeros(len(state.object.translation))
    for name, (_, weight) in active.items():
        loss = loss + weight * terms[name]
    if loss.requires_grad:
        total = loss.sum() if problem.objective == "sum" else loss.mean()
        total.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        adam.step()
    return terms, loss


class _Safe:
    """The last state before which every picture was drawn whole, to go back to when room did not suffice."""

    def __init__(self, problem: Problem, adam: torch.optim.Optimizer, step: int) -> None:
        self.problem, self.adam = problem, adam
        self._keep(step)

    def _keep(self, step: int) -> None:
        self.step = step
        self.parameters = {name: tensor.detach().clone() for name, tensor in self.problem.parameters.items()}
        self.moments = deepcopy(self.adam.state_dict())

    def look(self, step: int) -> int:
        """Keep the state, or go back to the last and take its steps again with more room; the step to go on from."""
        if not self.problem.scene.painter.overflowed():
            self._keep(step)
            return step
        for name, tensor in self.problem.parameters.items():
            tensor.data.copy_(self.parameters[name])
        self.adam.load_state_dict(deepcopy(self.moments))
        return self.step


class _Resting:
    """Which images have converged in a stage: they keep their parameters, whatever the others still do."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.last: Float[Tensor, " b"] | None = None
        self.resting: Bool[Tensor, " b"] | None = None
        self.kept: dict[str, Tensor] = {}

    def all_after(self, step: int, loss: Float[Tensor, " b"]) -> bool:
        """Hold those that rest; now and then see who else does; whether all do."""
        moved = {name: tensor for name, tensor in self.problem.parameters.items() if tensor.requires_grad}
        if self.resting is not None:
            for name, tensor in moved.items():
                mask = self.resting.view(-1, *[1] * (tensor.ndim - 1))
                tensor.data.copy_(torch.where(mask, self.kept[name], tensor.data))
        if step % CHECK_EVERY:
            return False
        calm = torch.zeros_like(loss, dtype=torch.bool)
        if self.last is not None:
            calm = (self.last - loss) < self.problem.tolerance * self.last.abs()
        self.last = loss
        self.resting = calm if self.resting is None else self.resting | calm
        self.kept = {name: tensor.detach().clone() for name, tensor in moved.items()}
        return bool(self.resting.all())


class _Reporter:
    """Tells where a fit stands; reads the losses from the device only then."""

    def __init__(self, problem: Problem, total: int, watch: Watch | None, every: int) -> None:
        self.problem, self.total, self.watch, self.every = problem, total, watch, every
        self.told = monotonic()
        self.latest: Mapping[str, Tensor] = {}

    def step(self, done: int, terms: Mapping[str, Tensor]) -> None:
        if self.watch is None:
            return
        self.latest = terms
        due = done % self.every == 0 if self.every else monotonic() - self.told > TELL_EVERY
        if due or done == 1:
            self._tell(done)

    def _tell(self, done: int) -> None:
        if self.watch is not None:
            losses = {name: float(value.detach().nanmean()) for name, value in self.latest.items()}
            self.told = monotonic()
            self.watch(Report(done, self.total, losses))

    def finish(self) -> None:
        """Tell the end, where somebody listens."""
        self._tell(self.total)
