"""How processes share a batch, so that together they learn what one of them would learn from all of it.

Every process draws the random numbers of the whole batch and keeps those of its own images; what looks at the whole of
a batch, such as a norm, looks at the shares of all.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wildhoi.errors import InputError

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Share:
    """The images of a batch that a process works on: `count` of them from the `first` on, of `whole`.

    Attributes:
        weight: of the mean over this share, such that the mean over all processes is that over the batch. It is 0 where
            there are fewer images than processes: then the first image is looked at, since all have to take part.
    """

    first: int
    count: int
    whole: int
    weight: float

    def of(self, rows: Shaped[Tensor, "n *_"]) -> Shaped[Tensor, "m *_"]:
        """The rows of this share, out of those of a whole batch that has as many of each image."""
        each = len(rows) // self.whole
        return rows[self.first * each : (self.first + self.count) * each]


def share_of(whole: int, rank: int, world: int) -> Share:
    """The share of a batch of `whole` images that the process `rank` of `world` works on: neighbours in the batch."""
    first, last = rank * whole // world, (rank + 1) * whole // world
    if first == last:
        return Share(0, 1, whole, 0.0)
    return Share(first, last - first, whole, (last - first) * world / whole)


class SharedDropout(nn.Dropout):
    """Dropout whose numbers belong to the place in the batch: those of a process are its part of those of one alone."""

    share = Share(0, 1, 1, 1.0)

    def forward(self, x: Shaped[Tensor, "n *_"]) -> Shaped[Tensor, "n *_"]:
        """The numbers, in training a share of them 0 and the others larger; an image's rows stand together."""
        if not self.training or not self.p or len(x) % self.share.count:  # such as a table that all images share
            plain: Tensor = super().forward(x)
            return plain
        rows = len(x) // self.share.count * self.share.whole
        kept = torch.empty((rows, *x.shape[1:]), dtype=x.dtype, device=x.device).bernoulli_(1 - self.p).div_(1 - self.p)
        return x * self.share.of(kept)


class SharedNorm(_BatchNorm):
    """A batch norm whose statistics are those of the shares of all processes, on any device.

    That of torch works on GPUs only, and has no weights for the shares.
    """

    share = Share(0, 1, 1, 1.0)

    def forward(self, x: Float[Tensor, "n c *_"]) -> Float[Tensor, "n c *_"]:
        """As torch's batch norms make them of the whole batch."""
        if not self.training:
            normed: Tensor = super().forward(x)
            return normed
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean, variance = self._statistics(wide)
        scale = (variance + self.eps).rsqrt() * (self.weight if self.affine else 1)
        offset = (self.bias if self.affine else 0) - mean * scale
        shape = (1, -1, *[1] * (x.ndim - 2))
        return (wide * scale.view(shape) + offset.view(shape)).to(x.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any is right that was right for the norm that this one stands for."""

    def _statistics(self, x: Float[Tensor, "n c *_"]) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """Mean and variance of each channel over the batch; what is kept for evaluation moves towards them."""
        variance, mean = torch.var_mean(x, [0, *range(2, x.ndim)], correction=0)
        count = mean.new_tensor([x.numel() / len(mean) if self.share.weight else 0.0])
        own = torch.cat([mean, variance, count])
        told: Tensor = _Gathered.apply(own)  # type: ignore[no-untyped-call]  # torch has no types for it
        means, variances, counts = told.tensor_split([len(mean), 2 * len(mean)], dim=1)
        total = counts.sum()
        mean = (counts / total * means).sum(0)
        variance = (counts / total * (variances + (means - mean).square())).sum(0)
        self._track(mean.detach(), (variance * total / (total - 1)).detach())
        return mean, variance

    @torch.no_grad()
    def _track(self, mean: Float[Tensor, " c"], variance: Float[Tensor, " c"]) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        step = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), step)
        self.running_var.lerp_(variance.to(self.running_var), step)


class _Gathered(torch.autograd.Function):
    """What each process has, a row each; gradients come back from all."""

    @staticmethod
    def forward(ctx: Any, own: Float[Tensor, " n"]) -> Float[Tensor, "w n"]:
        rows = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(rows, own.contiguous())
        return torch.stack(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Float[Tensor, "w n"]) -> Float[Tensor, " n"]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total[torch.distributed.get_rank()]


def share_layers(model: nn.Module, world: int) -> list[SharedDropout | SharedNorm]:
    """Put the layers of this module in the place of torch's, which look at the share of one process; returns them.

    One process keeps the norms of torch. Weights and their names stay.
    """
    found: list[SharedDropout | SharedNorm] = []
    for name, layer in list(model.named_modules(remove_duplicate=False)):
        if type(layer) is nn.Dropout:
            found.append(SharedDropout(layer.p))
        elif type(layer) in NORMS and world > 1:
            found.append(_shared(layer))
        else:
            continue
        model.set_submodule(name, found[-1].train(layer.training))
    return found


def _shared(norm: Any) -> SharedNorm:
    shared = SharedNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        setattr(shared, name, getattr(norm, name))
    return shared


def normalises_batches(model: nn.Module) -> bool:
    """Whether there is a layer that needs two vectors in a batch."""
    return any(isinstance(layer, _BatchNorm) for layer in model.modules())


def require_agreement(what: str, value: Any) -> None:
    """Refuse to go on where the processes of a training do not have the same, instead of waiting for ever.

    Raises:
        InputError: on every process.
    """
    from accelerate.utils import gather_object

    found = gather_object([value])
    others = [number for number, other in enumerate(found) if other != found[0]]
    if others:
        raise InputError(
            f"training: process {others[0]} of {len(found)} differs from the first in {what}; give all machines the "
            "same command and versions, the same data, and an output folder that all of them see"
        )
