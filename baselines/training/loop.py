"""The steps of a training: on one processor or GPU, or on many under `accelerate launch` or `torchrun`."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from baselines.pictures import Augment
from baselines.prior import Prior
from baselines.training.diary import Diary, Standing
from baselines.training.examples import Examples
from baselines.training.options import TrainOptions
from wildhoi.errors import RunError

PIECE = 256
"""Held-out images looked at together."""
FIRST = 1024
"""Images that the flow's normalising layers are set from."""

Watch = Callable[[int, int, Mapping[str, float]], None]
"""Told the epochs done, of how many, and the latest numbers."""


class Likelihood(nn.Module):
    """The training objective as a module, so that it can be spread over devices: mean negative log-density."""

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, shown: Tensor, coordinates: Float[Tensor, "b v d"]) -> Float[Tensor, ""]:
        """Nats per dimension; `shown` is what the encoder takes."""
        context = self.prior.context(shown)
        with torch.autocast(coordinates.device.type, enabled=False):  # a log-determinant has no digits to spare
            repeated = context.float()[:, None].expand(-1, coordinates.shape[1], -1)
            log_p = self.prior.log_density(coordinates.flatten(0, 1), repeated.flatten(0, 1))
        return -log_p.mean()


@dataclass(eq=False)
class Trainer:
    """A training under way; `accelerator` spreads it."""

    prior: Prior
    examples: Examples
    options: TrainOptions
    accelerator: Any
    diary: Diary
    watch: Watch | None = None
    picture: Callable[[Prior, Path], None] | None = None

    def __post_init__(self) -> None:
        options = self.options
        device = self.accelerator.device
        self.examples = self._placed(device)
        self.prior.to(device)
        self.standing = Standing()
        self._initialise()
        self.optimiser = torch.optim.Adam(self.prior.parameters(), lr=options.lr)
        self.model, self.adam = self.accelerator.prepare(Likelihood(self.prior), self.optimiser)
        self.augment = Augment() if options.augment else None
        self.steps = math.ceil(len(self.examples.learned) / options.batch)

    def run(self) -> Standing:
        """Train to the end; what is kept in the diary's folder is the epoch of the best held-out likelihood.

        Raises:
            RunError: the loss is not a number any more.
        """
        self.standing = self.diary.restore(self.prior, self.optimiser)
        while self.standing.epoch < self.options.epochs and not self._waited_enough():
            self._epoch()
        return self.standing

    def _waited_enough(self) -> bool:
        return 0 < self.options.patience <= self.standing.epoch - self.standing.best_epoch

    def _placed(self, device: torch.device) -> Examples:
        from dataclasses import replace

        return replace(self.examples, pool=self.examples.pool.to(device))

    def _generator(self, purpose: int, epoch: int) -> torch.Generator:
        """Random numbers of an epoch: what is drawn does not depend on what came before, so that a resume is exact."""
        rank = self.accelerator.process_index
        return torch.Generator().manual_seed(((self.options.seed * 4096 + rank) * 16 + purpose) * 65536 + epoch)

    def _initialise(self) -> None:
        """Set the normalising layers from the first images."""
        generator = torch.Generator().manual_seed(self.options.seed)
        images = self.examples.learned[:FIRST]
        plain = torch.zeros(len(images), dtype=torch.bool)
        first = self.examples.draw(images, 1, plain, generator)[:, 0]
        with torch.no_grad():
            context = self._context(images)
            noisy = first + self.prior.noise(first.cpu(), generator).to(first)
            self.prior.flow.initialise(noisy, context)

    def _context(self, images: Int[Tensor, " b"]) -> Float[Tensor, "b c"]:
        self.prior.eval()
        return torch.cat(
            [
                self.prior.context(self.examples.shown(piece).to(self.accelerator.device))
                for piece in torch.split(images, PIECE)
            ]
        )

    def _batches(self, generator: torch.Generator) -> Iterator[Int[Tensor, " b"]]:
        """This process's share of each batch, of the same images in the same order on every process."""
        shared = torch.Generator().manual_seed(self.options.seed * 65536 + self.standing.epoch)
        learned = self.examples.learned
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        shuffled = learned[torch.randperm(len(learned), generator=shared)]
        for batch in torch.split(shuffled, self.options.batch):
            share = batch[rank::world]
            share = share if len(share) else batch[:1]
            # norms over a batch need two vectors; an image shown twice weighs as before
            yield share.repeat(2) if len(share) * self.options.draws == 1 else share

    def _epoch(self) -> None:
        began, epoch = monotonic(), self.standing.epoch
        generator = self._generator(0, epoch)
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))  # of dropout
        count, losses = 0, []
        self.model.train()
        for step, images in enumerate(self._batches(generator)):
            losses.append(self._step(images, epoch * self.steps + step, generator))
            count += len(images) * self.accelerator.num_processes
        total = float(self.accelerator.reduce(torch.stack(losses).mean(), reduction="mean"))
        if not math.isfinite(total):
            raise RunError(self.diary.diverged(epoch + 1, self.standing))
        spent = monotonic() - began
        held = self._held_out()
        self.standing.advance(held)
        numbers = {
            "loss": total,
            "held_out": held,
            "lr": self._rate(epoch * self.steps),
            "images_per_second": count / spent,
            "views": self.options.draws,
            "seconds": spent,
        }
        self._tell(numbers)

    def _tell(self, numbers: Mapping[str, float]) -> None:
        """Write the diary and keep the state; one process does it for all."""
        standing = self.standing
        if self.accelerator.is_main_process:
            self.diary.epoch(standing, numbers, self.prior, self.optimiser)
            every = self.options.pictures_every
            if self.picture is not None and every and (standing.epoch % every == 0 or standing.epoch == 1):
                self.prior.eval()
                self.picture(self.prior, self.diary.picture(standing.epoch))
            if self.watch is not None:
                self.watch(standing.epoch, self.options.epochs, numbers)
        self.accelerator.wait_for_everyone()

    def _rate(self, step: int) -> float:
        share = min(1.0, step / max(1, self.options.epochs * self.steps - 1))
        low = self.options.final_lr
        return self.options.lr * (low + (1 - low) * (1 + math.cos(math.pi * share)) / 2)

    def _step(self, images: Int[Tensor, " b"], step: int, generator: torch.Generator) -> Float[Tensor, ""]:
        options, device = self.options, self.accelerator.device
        flip = self._flips(len(images), generator)
        shown = self.examples.shown(images, flip).to(device, non_blocking=True)
        if self.augment is not None and shown.ndim > 2:
            shown = self.augment(shown, generator)
        coordinates = self.examples.draw(images, options.draws, flip, generator)
        flattened = coordinates.flatten(0, 1)
        noise = self.prior.noise(
            flattened.cpu() if device.type == "cpu" else flattened, self._device_generator(generator)
        )
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(step)
        self.adam.zero_grad(set_to_none=True)
        loss: Tensor = self.model(shown, coordinates + noise.view_as(coordinates))
        self.accelerator.backward(loss)
        if options.clip:
            self.accelerator.clip_grad_norm_(self.model.parameters(), options.clip)
        self.adam.step()
        return loss.detach()

    def _device_generator(self, generator: torch.Generator) -> torch.Generator:
        """A generator on the device, seeded by the epoch's."""
        if self.accelerator.device.type == "cpu":
            return generator
        seed = int(torch.randint(2**31, (1,), generator=generator))
        return torch.Generator(self.accelerator.device).manual_seed(seed)

    def _flips(self, count: int, generator: torch.Generator) -> Bool[Tensor, " b"]:
        """Which images of a batch are shown in a mirror: half, where they may be."""
        drawn = torch.rand(count, generator=generator) < 0.5
        return drawn if self.examples.pool.mirrored is not None else torch.zeros_like(drawn)

    @torch.no_grad()
    def _held_out(self) -> float:
        """Mean log-density of the held-out images' own views, nats per dimension; always the same noise."""
        self.model.eval()
        generator = torch.Generator().manual_seed(self.options.seed + 1)
        images = self.examples.watched
        own = self.examples.pool.coordinates[self.examples.members[images, 0].to(self.accelerator.device)]
        noisy = own + self.prior.noise(own.cpu(), generator).to(own)
        log_p = self.prior.log_density(noisy, self._context(images)).mean()
        held = float(self._agreed(log_p))
        if not math.isfinite(held):  # what the last step made of the weights shows here first
            raise RunError(self.diary.diverged(self.standing.epoch + 1, self.standing))
        return held

    def _agreed(self, value: Tensor) -> Tensor:
        """The first process's number, so that all stop together."""
        if self.accelerator.num_processes == 1:
            return value
        from accelerate.utils import broadcast

        agreed: Tensor = broadcast(value.contiguous(), from_process=0)
        return agreed
