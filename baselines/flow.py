"""A conditional normalizing flow: the density of a scene's view given an image (paper, 3.2; design of Glow).

Each step is an actnorm whose scale and bias the condition shifts, an invertible linear map `W = P L U`, and a coupling;
a learned diagonal layer comes last. Data becomes Gaussian by matrix products alone, since that is the way that fitting
takes thousands of times; the way back solves triangles. The Gaussian, the residual networks and the perceptrons are
those of `normflows`. Its actnorm and its couplings take no condition; of its linear maps one calls what torch no longer
wants, the other copies indices to the device at every call: these three are written here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wildhoi.errors import InputError, MissingAssetError

LEAST_SPREAD = 1e-4
"""Of a coordinate at the start, so that one that never varies gets no infinite density."""


@dataclass(frozen=True)
class FlowConfig:
    """The size and the choices of a flow.

    Attributes:
        depth: steps.
        width: of the coupling's networks.
        coupling: whether a half is stretched and moved by what the other half says, or only moved (volume is kept).
        blocks: residual blocks of a coupling's network.
        dropout: in these blocks, in training.
        batch_norm: in these blocks.
        shift, shift_layers: width and number of the hidden layers that turn the condition into an actnorm's shifts.
        mixing: linear maps start as a random order of the coordinates, or as the identity, and couplings halve them by
            `parity`, even and odd in turn.
        start: actnorms start from the first batch (`initialise`), unconditioned, or from zero, randomly conditioned.
    """

    depth: int
    width: int
    coupling: Literal["affine", "additive"] = "affine"
    blocks: int = 2
    dropout: float = 0.0
    batch_norm: bool = False
    shift: int = 64
    shift_layers: int = 1
    mixing: Literal["shuffle", "parity"] = "shuffle"
    start: Literal["data", "zero"] = "data"

    def __post_init__(self) -> None:
        """Refuse sizes that make no flow; raises InputError."""
        least = {"depth": 1, "width": 1, "blocks": 0, "shift": 1, "shift_layers": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise InputError(f"flow: {name} is {getattr(self, name)}, want at least {value}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"flow: dropout is {self.dropout:g}, want 0 to below 1")


PRESETS: Mapping[str, FlowConfig] = {
    "paper": FlowConfig(depth=8, width=512, shift=512),
    "released": FlowConfig(4, 512, "additive", 2, 0.5, True, shift=512, shift_layers=2, mixing="parity", start="zero"),
    "small": FlowConfig(depth=6, width=96, blocks=1, shift=32),
}
"""The paper's sizes, those of the published code, and what a CPU trains in minutes."""


class ConditionalFlow(nn.Module):
    """The density of vectors given a condition; float32 or float64, as its parameters are.

    In evaluation mode nothing depends on the other rows of a batch. What is random at first follows torch's seed.

    Attributes:
        dimension, context: numbers of a vector, at least 2, and of a condition; 0: unconditional.
        config: its size and choices.
    """

    def __init__(self, dimension: int, context: int, config: FlowConfig) -> None:
        super().__init__()
        if dimension < 2 or context < 0:
            raise InputError(f"flow: dimension {dimension} and context {context}, want at least 2 and at least 0")
        self.dimension, self.context, self.config = dimension, context, config
        self.steps = nn.ModuleList(_Step(dimension, context, config, number) for number in range(config.depth))
        self.last = _Diagonal(dimension, 0, config)
        self.base = _normflows().distributions.DiagGaussian(dimension, trainable=False)

    def forward(self, x: Float[Tensor, "b d"], context: Float[Tensor, "b c"]) -> Float[Tensor, " b"]:
        """`log_prob`, where wrappers for many devices look for it."""
        return self.log_prob(x, context)

    def log_prob(self, x: Float[Tensor, "b d"], context: Float[Tensor, "b c"]) -> Float[Tensor, " b"]:
        """The logarithm of the density, nats; of the whole vector, not by dimension."""
        z, logdet = self.encode(x, context)
        log_base: Tensor = self.base.log_prob(z)
        return logdet + log_base

    def encode(
        self, x: Float[Tensor, "b d"], context: Float[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, " b"]]:
        """From data to the Gaussian, and the log-determinant of the way there."""
        self._check(x, context)
        logdet = x.new_zeros(len(x))
        for layer in self._layers():
            x, more = layer.encode(x, context)
            logdet = logdet + more
        return x, logdet

    def decode(
        self, z: Float[Tensor, "b d"], context: Float[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, " b"]]:
        """From the Gaussian to data, and the log-determinant of the way back."""
        self._check(z, context)
        logdet = z.new_zeros(len(z))
        for layer in reversed(self._layers()):
            z, more = layer.decode(z, context)
            logdet = logdet + more
        return z, logdet

    @torch.no_grad()
    def sample(
        self, context: Float[Tensor, "b c"], generator: torch.Generator | None = None, temperature: float = 1.0
    ) -> Float[Tensor, "b d"]:
        """Draw one vector for each condition, from a Gaussian whose spread is multiplied by the temperature.

        A generator of the CPU draws the same numbers for a flow on any device.
        """
        source = context.device if generator is None else generator.device
        noise = torch.randn(len(context), self.dimension, generator=generator, dtype=context.dtype, device=source)
        return self.decode(temperature * noise.to(context.device), context)[0]

    @torch.no_grad()
    def initialise(self, x: Float[Tensor, "b d"], context: Float[Tensor, "b c"]) -> None:
        """Set the actnorms and the last layer such that a batch comes out of each with mean 0 and variance 1.

        Once, before training. A flow that starts from zero stays as it is. Raises InputError where a batch is of fewer
        than two vectors, or has numbers that are not finite.
        """
        self._check(x, context)
        if len(x) < 2 or not bool(x.isfinite().all() & context.isfinite().all()):
            raise InputError(f"flow: got {len(x)} vectors to start from, want at least 2, all numbers finite")
        if self.config.start == "zero":
            return
        training = self.training
        self.eval()
        for layer in self._layers():
            (layer.actnorm if isinstance(layer, _Step) else layer).initialise(x)
            x = layer.encode(x, context)[0]
        self.train(training)

    def _layers(self) -> "list[_Step | _Diagonal]":
        return [*self.steps, self.last]

    def _check(self, x: Tensor, context: Tensor) -> None:
        if x.shape[1] != self.dimension or context.shape[1] != self.context:
            got, want = (x.shape[1], context.shape[1]), (self.dimension, self.context)
            raise InputError(f"flow: got {got} numbers of vector and condition, want {want}: is it another object's?")


class _Step(nn.Module):
    """Actnorm, linear map, coupling."""

    def __init__(self, dimension: int, context: int, config: FlowConfig, number: int) -> None:
        super().__init__()
        self.actnorm = _Diagonal(dimension, context, config)
        self.linear = _Linear(torch.randperm(dimension) if config.mixing == "shuffle" else _halves(dimension, number))
        self.coupling = _Coupling(_kept(dimension, number), dimension, context, config)

    def encode(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        x, by_actnorm = self.actnorm.encode(x, context)
        x, by_linear = self.linear.encode(x)
        x, by_coupling = self.coupling.encode(x, context)
        return x, by_actnorm + by_linear + by_coupling

    def decode(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        z, by_coupling = self.coupling.decode(z, context)
        z, by_linear = self.linear.decode(z)
        z, by_actnorm = self.actnorm.decode(z, context)
        return z, by_actnorm + by_linear + by_coupling


def _kept(dimension: int, number: int) -> int:
    """How many coordinates a step's coupling looks at: half of them, the larger half and the smaller in turn."""
    return (dimension + 1 - number % 2) // 2


def _halves(dimension: int, number: int) -> Tensor:
    """The order that puts even coordinates before odd ones; after the first step, that exchanges the halves."""
    places = torch.arange(dimension)
    return places.roll(-_kept(dimension, number - 1)) if number else torch.cat([places[::2], places[1::2]])


class _Diagonal(nn.Module):
    """`(x - bias) exp(-log_scale)`, both shifted by a perceptron of the condition."""

    def __init__(self, dimension: int, context: int, config: FlowConfig) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(dimension))
        self.log_scale = nn.Parameter(torch.zeros(dimension))
        self.shift: nn.Module | None = None
        if context:
            layers = [context, *[config.shift] * config.shift_layers, 2 * dimension]
            self.shift = _normflows().nets.MLP(layers, init_zeros=config.start == "data")

    def initialise(self, x: Tensor) -> None:
        self.bias.copy_(x.mean(0))
        self.log_scale.copy_(x.std(0).clamp(min=LEAST_SPREAD).log())

    def encode(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        bias, log_scale = self._terms(x, context)
        return (x - bias) * torch.exp(-log_scale), -log_scale.sum(-1)

    def decode(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        bias, log_scale = self._terms(z, context)
        return z * torch.exp(log_scale) + bias, log_scale.sum(-1)

    def _terms(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        if self.shift is None:
            return self.bias, self.log_scale
        bias, log_scale = self.shift(context).chunk(2, dim=-1)
        return self.bias + bias, self.log_scale + log_scale


class _Linear(nn.Module):
    """`P L U x + bias`, P fixed; one matrix holds L below the diagonal, U above it, and on it the logarithm of U's."""

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)
        self.factors = nn.Parameter(torch.zeros(len(order), len(order)))
        self.bias = nn.Parameter(torch.zeros(len(order)))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper, logdet = self._triangles()
        return nn.functional.linear(x, lower[self.order] @ upper, self.bias), logdet

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper, logdet = self._triangles()
        mixed = (z - self.bias)[:, self.order.argsort()].mT
        mixed = torch.linalg.solve_triangular(lower, mixed, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, mixed, upper=True).mT, -logdet

    def _triangles(self) -> tuple[Tensor, Tensor, Tensor]:
        """L, U, and the log-determinant; an order's is 0."""
        diagonal = self.factors.diagonal()
        lower = self.factors.tril(-1) + torch.eye(len(diagonal), dtype=diagonal.dtype, device=diagonal.device)
        return lower, self.factors.triu(1) + diagonal.exp().diag(), diagonal.sum()


class _Coupling(nn.Module):
    """Moves (and stretches) the coordinates after the first `kept` by what these and the condition say."""

    def __init__(self, kept: int, dimension: int, context: int, config: FlowConfig) -> None:
        super().__init__()
        self.kept, self.affine = kept, config.coupling == "affine"
        moved = dimension - kept
        self.net = _normflows().nets.ResidualNet(
            kept + context,
            2 * moved if self.affine else moved,
            config.width,
            num_blocks=config.blocks,
            dropout_probability=config.dropout,
            use_batch_norm=config.batch_norm,
        )
        edge = 0.01 / config.width**0.5  # all but the identity, as in the published code
        nn.init.uniform_(self.net.final_layer.weight, -edge, edge)
        nn.init.uniform_(self.net.final_layer.bias, -edge, edge)

    def encode(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = x.tensor_split([self.kept], dim=1)
        offset, log_scale = self._terms(kept, context)
        return torch.cat([kept, moved * log_scale.exp() + offset], dim=1), log_scale.sum(1)

    def decode(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = z.tensor_split([self.kept], dim=1)
        offset, log_scale = self._terms(kept, context)
        return torch.cat([kept, (moved - offset) * torch.exp(-log_scale)], dim=1), -log_scale.sum(1)

    def _terms(self, kept: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """How far each coordinate moves, and the logarithm of how much it is stretched: from 1/e to e times."""
        found = self.net(torch.cat([kept, context], dim=1))
        if not self.affine:
            return found, torch.zeros_like(found)
        offset, raw = found.chunk(2, dim=1)
        return offset, torch.tanh(raw)


def _normflows() -> Any:
    """The library, where it is installed; it comes with an extra."""
    try:
        return import_module("normflows")
    except ImportError:
        wanted = "the flow prior: the package normflows is not installed: pip install 'wildhoi[baselines]'"
        raise MissingAssetError(wanted) from None
