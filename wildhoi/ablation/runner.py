"""The cells of a grid trained, run and scored, each only where it is missing."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from wildhoi.ablation.grids import CHECKPOINT
from wildhoi.ablation.planning import Plan
from wildhoi.ablation.stored import Placed, write_ablation
from wildhoi.dataset import DataFolder
from wildhoi.engine import Local, only_run_in
from wildhoi.errors import InputError, RunError, WildhoiError
from wildhoi.files import read_json
from wildhoi.method import load_method
from wildhoi.submission.folder import read_submission

CONFIG, FINISHED = "config.json", "finished"  # of a checkpoint: the file and its field that say so

Status = Literal["kept", "done", "failed"]


Progress = Callable[[str, int, int], None]


@runtime_checkable
class Trainer(Protocol):
    """Trains the checkpoint of one object; goes on with what the folder holds, and says there when it is finished."""

    def __call__(
        self, data: DataFolder, name: str, out: Path, options: Mapping[str, Any], *, device: str, progress: Progress
    ) -> object:
        """Train on the split `train` with the options of a cell's `train`; raises WildhoiError."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: `kept` as it was, `done` now, or `failed` for the reason given."""

    label: str
    status: Status
    reason: str = ""


def _nothing(*_: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Listener:
    """Who listens: `progress` is called with (what, done, total), `say` with a sentence for the user."""

    progress: Progress = _nothing
    say: Callable[[str], None] = _nothing


def is_done(plan: Plan, cell: Placed) -> bool:
    """Whether a cell has scores of what its folder holds, under the protocol of the grid."""
    from evaluation.leaderboard.ablation import read_cell

    try:
        read_cell(plan.out, plan.ablation, cell)
    except InputError:
        return False
    return True


def run_ablation(
    plan: Plan, only: Sequence[str] = (), trainer: Trainer | None = None, listener: Listener | None = None
) -> list[Outcome]:
    """Train, run and score the cells of a grid that are missing; one that fails does not stop the others.

    A run or a training that was interrupted goes on where it stopped.

    Args:
        plan: of the grid.
        only: the labels of the cells to do; none for all.
        trainer: default `wildhoi.training.train_flow_prior`.
        listener: who listens.

    Returns:
        what became of each cell, in the order of the grid.

    Raises:
        InputError: a label is unknown.
    """
    cells = plan.ablation.cells
    if unknown := [label for label in only if label not in [cell.label for cell in cells]]:
        known = ", ".join(repr(cell.label) for cell in cells)
        raise InputError(f"--only {unknown[0]}: grid {plan.ablation.name} has no such cell, want some of {known}")
    write_ablation(plan.out, plan.ablation)
    chosen = [cell for cell in cells if not only or cell.label in only]
    runner = _Runner(plan, trainer or _train, listener or Listener())
    outcomes = []
    for number, cell in enumerate(chosen):
        runner.listener.progress("cells", number, len(chosen))
        outcomes.append(runner.run(cell))
    runner.listener.progress("cells", len(chosen), len(chosen))
    return outcomes


def _train(
    data: DataFolder, name: str, out: Path, options: Mapping[str, Any], *, device: str, progress: Progress
) -> object:
    from wildhoi.training import train_flow_prior  # torch and more, only where something is trained

    preset = options.get("preset", "small")
    rest = {key: value for key, value in options.items() if key != "preset"}
    return train_flow_prior(data, name, out, rest, preset=preset, device=device, resume=True, progress=progress)


@dataclass
class _Runner:
    """Does one cell after another; a training that failed is not begun again for the next cell that needs it."""

    plan: Plan
    trainer: Trainer
    listener: Listener
    failed_trainings: dict[str, str] = field(default_factory=dict)

    def run(self, cell: Placed) -> Outcome:
        if is_done(self.plan, cell):
            return Outcome(cell.label, "kept")
        self.listener.say(f"{cell.label}: begins")
        try:
            self._train(cell)
            self._fit(cell)
            self._score(cell)
        except Exception as error:  # the other cells of a long night shall not suffer from one
            if os.environ.get("WILDHOI_DEBUG") and not isinstance(error, WildhoiError):
                raise
            return Outcome(cell.label, "failed", self.failed_trainings.get(cell.training or "", _reason(error)))
        return Outcome(cell.label, "done")

    def _train(self, cell: Placed) -> None:
        """Train the checkpoints of a cell that are not finished, an object at a time."""
        if cell.training is None:
            return
        if cell.training in self.failed_trainings:
            raise RunError(self.failed_trainings[cell.training])
        folder = self.plan.checkpoints(cell.training)
        folder.mkdir(parents=True, exist_ok=True)
        with only_run_in(folder):
            for name in self.plan.objects:
                try:
                    self._train_object(cell, name, folder / name)
                except Exception as error:
                    self.failed_trainings[cell.training] = f"training on {name} failed: {_reason(error)}"
                    raise

    def _train_object(self, cell: Placed, name: str, out: Path) -> None:
        if is_finished(out):
            return
        self.listener.say(f"{cell.label}: trains on {name} in {out}")

        device, progress = self.plan.options.device, self.listener.progress
        self.trainer(self.plan.training_data, name, out, cell.train, device=device, progress=progress)
        if not is_finished(out):
            raise RunError(f"{out}: the training ended and is not finished ({CONFIG} has no true {FINISHED!r})")

    def _fit(self, cell: Placed) -> None:
        from wildhoi.running import Watch, run_method

        settings = dict(cell.settings)
        if cell.training is not None:
            # in full: the same folder is named otherwise from elsewhere, and a run resumes only with equal settings
            settings[CHECKPOINT] = str(self.plan.checkpoints(cell.training).resolve())
        method = load_method(cell.method, settings)
        watch = Watch(
            images=lambda done, total: self.listener.progress("images", done, total),
            moment=lambda _, told: self.listener.progress("steps", told.done, told.total),
            say=self.listener.say,
        )
        ran = run_method(method, self.plan.data, self.plan.folder(cell), self.plan.options, watch)
        if not ran.reconstructions:
            raise RunError(f"no image has a reconstruction: {next(iter(ran.reasons), 'no reason given')}")

    def _score(self, cell: Placed) -> None:
        from evaluation.evaluate import Options, evaluate
        from evaluation.scores import write_scores

        plan = self.plan
        options = Options(objects=plan.options.objects, engine=Local(plan.workers))
        submission = read_submission(plan.folder(cell))
        scores = evaluate(
            submission,
            plan.data,
            plan.rules,
            options,
            lambda done, total: self.listener.progress("scoring", done, total),
        )
        write_scores(plan.folder(cell), scores)


def _reason(error: Exception) -> str:
    """What a user is told of an error; of one that is not meant for users its kind too."""
    return str(error) if isinstance(error, WildhoiError) else f"{type(error).__name__}: {' '.join(str(error).split())}"


def is_finished(checkpoint: Path) -> bool:
    """Whether the training of a checkpoint has ended."""
    try:
        config = read_json(checkpoint / CONFIG)
    except InputError:
        return False
    return isinstance(config, dict) and config.get(FINISHED) is True
