"""The flow as the published code builds it, from the same definitions: what `baselines.flow` is compared with.

Its actnorms repeat their numbers for every row; its perceptrons of the condition have actnorms of their own; triangles
are filled entry by entry from lists of indices; couplings gather and scatter their halves; the last layer is a linear
map of zeros. Kinder than the published code in one thing: the way back solves triangles by the call that torch keeps.
"""

from math import e

import numpy as np
import torch
from torch import nn
from torch.nn.functional import linear, relu, softplus

EPS = 1e-3
"""The least that the linear map's diagonal is."""


class PlainActnorm(nn.Module):
    def __init__(self, dimension):
        super().__init__()
        self.scale, self.bias = nn.Parameter(torch.zeros(dimension)), nn.Parameter(torch.zeros(dimension))

    def forward(self, x, scale=0, bias=0):
        scale = self.scale[None].repeat(len(x), 1) + scale
        bias = self.bias[None].repeat(len(x), 1) + bias
        return (x - bias) * torch.exp(-scale), -scale.sum(-1)

    def back(self, z, scale, bias):
        return z * torch.exp(self.scale + scale) + self.bias + bias


class PlainPerceptron(nn.Module):
    def __init__(self, sizes, width):
        super().__init__()
        self.first, self.second = nn.Linear(sizes[0], width), nn.Linear(width, width)
        self.third = nn.Linear(width, sizes[1])
        self.norms = nn.ModuleList(PlainActnorm(width) for _ in range(2))

    def forward(self, x):
        hidden = relu(self.norms[0](self.first(x))[0])
        return self.third(relu(self.norms[1](self.second(hidden))[0]))


class PlainLinear(nn.Module):
    def __init__(self, dimension):
        super().__init__()
        self.below, self.above = np.tril_indices(dimension, -1), np.triu_indices(dimension, 1)
        self.on = np.diag_indices(dimension)
        self.lower = nn.Parameter(torch.zeros(len(self.below[0])))
        self.upper = nn.Parameter(torch.zeros(len(self.above[0])))
        self.diagonal = nn.Parameter(torch.full((dimension,), float(np.log(e ** (1 - EPS) - 1))))
        self.bias = nn.Parameter(torch.zeros(dimension))

    def triangles(self):
        dimension = len(self.bias)
        lower, upper = (self.lower.new_zeros(dimension, dimension) for _ in range(2))
        lower[self.below] = self.lower
        lower[self.on] = 1.0
        upper[self.above] = self.upper
        upper[self.on] = softplus(self.diagonal) + EPS
        return lower, upper

    def forward(self, x):
        lower, upper = self.triangles()
        logdet = torch.log(softplus(self.diagonal) + EPS).sum()
        return linear(x, lower @ upper, self.bias), logdet * x.new_ones(len(x))

    def back(self, z):
        lower, upper = self.triangles()
        one = torch.eye(len(lower), dtype=z.dtype)
        inverse = torch.linalg.solve_triangular(lower, one, upper=False, unitriangular=True)
        return linear(z - self.bias, torch.linalg.solve_triangular(upper, inverse, upper=True))


class PlainBlock(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.lines = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        inner = self.lines[0](relu(self.norms[0](x)))
        return x + self.lines[1](self.dropout(relu(self.norms[1](inner))))


class PlainCoupling(nn.Module):
    def __init__(self, parity, dimension, context, width, blocks, dropout):
        super().__init__()
        places = torch.arange(dimension)
        self.register_buffer("kept", places[places % 2 == parity])
        self.register_buffer("moved", places[places % 2 != parity])
        self.first = nn.Linear(len(self.kept) + context, width)
        self.blocks = nn.ModuleList(PlainBlock(width, dropout) for _ in range(blocks))
        self.final = nn.Linear(width, len(self.moved))

    def offset(self, kept, context):
        hidden = self.first(torch.cat([kept, context], dim=-1))
        for block in self.blocks:
            hidden = block(hidden)
        return self.final(hidden)

    def forward(self, x, context):
        z = torch.empty_like(x)
        kept, moved = x[:, self.kept], x[:, self.moved]
        offset = self.offset(kept, context)
        scale = torch.ones_like(offset)
        z[:, self.kept] = kept
        z[:, self.moved] = scale * moved + offset
        return z, scale.log().sum(-1)

    def back(self, z, context):
        x = torch.empty_like(z)
        kept, moved = z[:, self.kept], z[:, self.moved]
        x[:, self.kept] = kept
        x[:, self.moved] = moved - self.offset(kept, context)
        return x


class PlainLast(nn.Module):
    def __init__(self, dimension):
        super().__init__()
        self.net = nn.Linear(dimension, 2 * dimension)
        self.factor = nn.Parameter(torch.zeros(2 * dimension))
        nn.init.zeros_(self.net.weight)
        nn.init.zeros_(self.net.bias)

    def terms(self, x):
        return (self.net(torch.zeros_like(x)) * self.factor.exp()).chunk(2, dim=-1)

    def forward(self, x):
        mean, log_scale = self.terms(x)
        return (x - mean) * torch.exp(-log_scale), -log_scale.sum(-1)

    def back(self, z):
        mean, log_scale = self.terms(z)
        return mean + z * torch.exp(log_scale)


class PlainStep(nn.Module):
    def __init__(self, number, dimension, context, config):
        super().__init__()
        self.shift = PlainPerceptron((context, 2 * dimension), config.shift)
        self.actnorm, self.linear = PlainActnorm(dimension), PlainLinear(dimension)
        sizes = (config.width, config.blocks, config.dropout)
        self.coupling = PlainCoupling(number % 2, dimension, context, *sizes)

    def forward(self, x, context):
        bias, scale = self.shift(context).chunk(2, dim=-1)
        x, first = self.actnorm(x, scale, bias)
        x, second = self.linear(x)
        x, third = self.coupling(x, context)
        return x, first + second + third

    def back(self, z, context):
        bias, scale = self.shift(context).chunk(2, dim=-1)
        return self.actnorm.back(self.linear.back(self.coupling.back(z, context)), scale, bias)


class PlainFlow(nn.Module):
    """Additive couplings of alternating parity, everything started from zero."""

    def __init__(self, dimension, context, config):
        super().__init__()
        self.dimension = dimension
        self.steps = nn.ModuleList(PlainStep(k, dimension, context, config) for k in range(config.depth))
        self.last = PlainLast(dimension)

    def log_prob(self, x, context):
        total = 0
        for step in self.steps:
            x, logdet = step(x, context)
            total = total + logdet
        z, logdet = self.last(x)
        return torch.distributions.Normal(0, 1).log_prob(z).sum(-1) + total + logdet

    @torch.no_grad()
    def sample(self, context):
        x = self.last.back(torch.randn(len(context), self.dimension, dtype=context.dtype))
        for step in reversed(self.steps):
            x = step.back(x, context)
        return x
