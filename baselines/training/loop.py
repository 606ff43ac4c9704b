"""The steps of a training: on one processor or GPU, or on many under `accelerate launch` or `torchrun`."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from baselines.pictures import Augment
from baselines.prior import Prior
from baselines.training.diary import Diary, Standing
from baselines.training.examples import Examples
from baselines.training.options import TrainOptions
from baselines.training.sharing import Share, normalises_batches, require_agreement, share_layers, share_of
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
        self.layers = share_layers(self.prior, self.accelerator.num_processes)
        self.optimiser = torch.optim.Adam(self.prior.parameters(), lr=options.lr)
        self.model, self.adam = self.accelerator.prepare(Likelihood(self.prior), self.optimiser)
        self.augment = Augment() if options.augment else None
        self.steps = math.ceil(len(self.examples.learned) / options.batch)

    def run(self) -> Standing:
        """Train to the end; what is kept in the diary's folder is the epoch of the best held-out likelihood.

        Raises:
            InputError: what is kept is of another training, or not every process finds it.
            RunError: the loss is not a number any more.
        """
        self.standing = self.diary.restore(self.prior, self.optimiser)
        require_agreement(f"how far the training in {self.diary.folder} is", self.standing)
        while self.standing.epoch < self.options.epochs and not self._waited_enough():
            self._epoch()
        return self.standing

    def _waited_enough(self) -> bool:
        return 0 < self.options.patience <= self.standing.epoch - self.standing.best_epoch

    def _placed(self, device: torch.device) -> Examples:
        from dataclasses import replace

        return replace(self.examples, pool=self.examples.pool.to(device))

    def _generator(self, epoch: int) -> torch.Generator:
        """Random numbers of an epoch, the same in every process, whatever came before: so that a resume is exact."""
        return torch.Generator().manual_seed(self.options.seed * 2**32 + epoch)

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

    def _batches(self) -> Iterator[Int[Tensor, " b"]]:
        """The images of each step, of all processes together."""
        shared = torch.Generator().manual_seed(self.options.seed * 65536 + self.standing.epoch)
        learned = self.examples.learned
        views = 1 if normalises_batches(self.prior.encoder) else self.options.draws
        for batch in torch.split(learned[torch.randperm(len(learned), generator=shared)], self.options.batch):
            # norms over a batch need two vectors; an image shown twice weighs as before
            yield batch.repeat(2) if len(batch) * views == 1 else batch

    def _epoch(self) -> None:
        began, epoch = monotonic(), self.standing.epoch
        generator = self._generator(epoch)
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))  # of dropout
        losses = []
        self.model.train()
        for step, images in enumerate(self._batches()):
            losses.append(self._step(images, epoch * self.steps + step, generator))
        total = float(self.accelerator.reduce(torch.stack(losses).mean(), reduction="mean"))  # of whole batches
        if not math.isfinite(total):
            raise RunError(self.diary.diverged(epoch + 1, self.standing))
        spent = monotonic() - began
        held = self._held_out()
        self.standing.advance(held)
        numbers = {
            "loss": total,
            "held_out": held,
            "lr": self._rate(epoch * self.steps),
            "images_per_second": len(self.examples.learned) / spent,
            "views": self.options.draws,
            "seconds": spent,
        }
        self._tell(numbers)

    def _tell(self, numbers: Mapping[str, float]) -> None:
        """Write the diary and keep the state; one process does it for all."""
        standing = self.standing
        if self.accelerator.is_main_process:
            every = self.options.pictures_every
            # before the state, with which an epoch is done for good
            if self.picture is not None and every and (standing.epoch % every == 0 or standing.epoch == 1):
                self.prior.eval()
                self.picture(self.prior, self.diary.picture(standing.epoch))
            self.diary.epoch(standing, numbers, self.prior, self.optimiser)
            if self.watch is not None:
                self.watch(standing.epoch, self.options.epochs, numbers)
        self.accelerator.wait_for_everyone()

    def _rate(self, step: int) -> float:
        share = min(1.0, step / max(1, self.options.epochs * self.steps - 1))
        low = self.options.final_lr
        return self.options.lr * (low + (1 - low) * (1 + math.cos(math.pi * share)) / 2)

    def _step(self, images: Int[Tensor, " b"], step: int, generator: torch.Generator) -> Float[Tensor, ""]:
        """Learn from a batch; returns the mean over this process's share, weighted as `Share` says."""
        share = share_of(len(images), self.accelerator.process_index, self.accelerator.num_processes)
        for layer in self.layers:
            layer.share = share
        shown, coordinates = self._drawn(images, share, generator)
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(step)
        self.adam.zero_grad(set_to_none=True)
        loss: Tensor = self.model(shown, coordinates) * share.weight
        self.accelerator.backward(loss)  # from here on gradients are the mean over processes
        if self.options.clip:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.options.clip)
        self.adam.step()
        return loss.detach()

    def _drawn(
        self, images: Int[Tensor, " b"], share: Share, generator: torch.Generator
    ) -> tuple[Shaped[Tensor, "s *_"], Float[Tensor, "s v d"]]:
        """What the model is shown of a share, and the noisy views: drawn for the whole batch by every process."""
        device = self.accelerator.device
        flip = self._flips(len(images), generator)
        shown = self.examples.shown(share.of(images), share.of(flip)).to(device, non_blocking=True)
        if self.augment is not None and shown.ndim > 2:
            shown = self.augment(shown, share.of(self.augment.draw(len(images), generator)))
        coordinates = self.examples.draw(images, self.options.draws, flip, generator)
        noise = self.prior.noise(coordinates.flatten(0, 1), self._device_generator(generator))
        return shown, share.of(coordinates + noise.view_as(coordinates))

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
