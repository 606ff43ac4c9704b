"""Damped least squares on a batch of scenes: Levenberg-Marquardt with exact Jacobians."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from wildhoi.open_scenes.posing.kinematics import State


class Term(NamedTuple):
    """Residuals in units of their standard deviations, and how a step changes them."""

    residual: Float[Tensor, "b m"]
    jacobian: Float[Tensor, "b m 75"]


Terms = Callable[[State], Sequence[Term]]


def solve(terms: Terms, state: State, *, steps: int, damping: float) -> State:
    """Minimise the sum of squared residuals; every scene of the batch has a damping of its own.

    A step that makes a scene worse is taken back and tried again with four times the damping.
    """
    cost, normal, slope = _system(terms(state))
    damp = cost.new_full(cost.shape, damping)
    for _ in range(steps):
        lifted = normal + torch.diag_embed(damp[:, None] * (normal.diagonal(dim1=1, dim2=2) + 1e-3))
        factor = torch.linalg.cholesky(lifted)
        step = -torch.cholesky_solve(slope[..., None], factor)[..., 0]
        tried = state.moved(step)
        found = _system(terms(tried))
        better = found[0] < cost
        state = tried.where(better, state)
        damp = torch.where(better, damp * 0.4, damp * 4).clamp(1e-7, 1e6)
        cost = torch.where(better, found[0], cost)
        normal = torch.where(better[:, None, None], found[1], normal)
        slope = torch.where(better[:, None], found[2], slope)
    return state


def _system(terms: Sequence[Term]) -> tuple[Float[Tensor, " b"], Float[Tensor, "b 75 75"], Float[Tensor, "b 75"]]:
    """The cost, the normal matrix and the gradient."""
    residual = torch.cat([term.residual for term in terms], 1)
    jacobian = torch.cat([term.jacobian for term in terms], 1)
    transposed = jacobian.transpose(1, 2)
    return (residual**2).sum(1), transposed @ jacobian, (transposed @ residual[..., None])[..., 0]
