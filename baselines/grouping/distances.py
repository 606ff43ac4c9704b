"""Distances of views: the mean over keypoints of how far two rays pass each other (paper, equation 11).

A ray `d` from a camera at `t` is the line with Pluecker coordinates (d, m), `m = t x d`. For two lines,
`(d x d') . (t - t') = -(d . m' + d' . m)` and `|d x d'|^2 = 1 - (d . d')^2`, so both are matrix products over all
pairs. Cameras stand tens of metres away, but the lines pass within a metre or two of the pelvis, so the moments are
small: taken in float64 and rounded to float32 they cost about a ten-millionth of a metre.

Lines at an angle of less than `PARALLEL` have the distance of parallel ones, `|(t - t') x d| = |m - m'|`. As published,
the quotient with 1e-8 added below is 0 there however far the lines are apart.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from baselines.grouping.groups import DISTANCES
from wildhoi.errors import InputError
from wildhoi.views import Views

PARALLEL = 1e-6
"""Radians: in float64 the quotient still has three digits here."""
SMALLEST_SINE = 1e-3
"""Of estimates: below, float32 does not know the angle. Taken for larger, it only makes a distance smaller."""
TILE = {"cpu": 2**17, "cuda": 2**22}
"""Pairs of views that are estimated at once: fits a processor's cache, and keeps a GPU busy."""
EXACT_NUMBERS = 20
"""Numbers of float64 that the exact distance of two lines takes while it is worked out, lines included."""


def lines_of(rays: Float[np.ndarray, "n p 3"], positions: Float[np.ndarray, "n 3"]) -> Float[Tensor, "6 n p"]:
    """Pluecker coordinates of the rays of views, directions then moments; metres, SMPL frame, float64."""
    moments = np.cross(positions[:, None], rays)
    return torch.from_numpy(np.ascontiguousarray(np.concatenate([rays, moments], axis=2).transpose(2, 0, 1)))


def line_distances(
    views: Float[Tensor, "6 *b p"], others: Float[Tensor, "6 *#b p m"], distance: str
) -> Float[Tensor, "*b m"]:
    """Distances of views to others of theirs from the lines of both, metres; exact to 1e-8 in float64.

    In float32 they are estimates, as those of `Estimator`.
    """
    one = views[..., None]
    product = one[0] * others[3]
    for i in range(1, 6):
        product.addcmul_(one[i], others[(i + 3) % 6])
    product.abs_()
    if distance == "unnormalised":
        return product.mean(-2)
    cosine = (one[0] * others[0]).addcmul_(one[1], others[1]).addcmul_(one[2], others[2])
    squared = torch.addcmul(cosine.new_ones(()), cosine, cosine, value=-1)
    if squared.dtype == torch.float32:
        return product.mul_(squared.clamp_(min=SMALLEST_SINE**2).rsqrt_()).mean(-2)
    parallel = squared < PARALLEL**2
    product.div_(squared.clamp_(min=PARALLEL**2).sqrt_())
    if parallel.any():  # few, so only these are gathered
        here, there = (lines[3:].expand(3, *product.shape)[:, parallel] for lines in (one, others))
        product[parallel] = (here - cosine[parallel].sign() * there).norm(dim=0)
    return product.mean(-2)


class Estimator:
    """Estimates the distances of views to all views, some views at a time: float32, never TF32.

    Errors are about 3e-7 m over the sine of the angle between two rays; nearly parallel ones come out too near.
    """

    def __init__(self, lines: Float[Tensor, "6 n p"], distance: str) -> None:
        """Round the lines of all views."""
        both = lines.permute(2, 1, 0).float()
        self.divided = distance == "true"
        self.left = both.contiguous()
        self.right = torch.cat([both[..., 3:], both[..., :3]], dim=2).mT.contiguous()
        self.tile = TILE[lines.device.type]

    def __call__(self, start: int, stop: int) -> Float[Tensor, "b n"]:
        """The distances of the views from `start` to before `stop`, metres."""
        rows, count, points = stop - start, self.right.shape[2], len(self.left)
        total = self.left.new_zeros(rows, count)
        width = min(count, max(1, self.tile // rows))
        space = self.left.new_empty(2, rows * width)
        one = self.left.new_ones(())
        with full_products():
            for begin in range(0, count, width):
                sums = total[:, begin : begin + width]
                product, cosine = space[:, : sums.numel()].view(2, *sums.shape)
                for left, right in zip(self.left[:, start:stop], self.right[:, :, begin : begin + width], strict=True):
                    torch.mm(left, right, out=product)
                    if self.divided:
                        torch.mm(left[:, :3], right[3:], out=cosine)
                        torch.addcmul(one, cosine, cosine, value=-1, out=cosine)
                        product.mul_(cosine.clamp_(min=SMALLEST_SINE**2).rsqrt_())
                    sums.add_(product.abs_())
        return total.div_(points)


@contextmanager
def full_products() -> Iterator[None]:
    """Work out float32 products in full, on a GPU (no TF32) and on a CPU (no bfloat16), whatever the process chose."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def pair_distances(
    views: Views, others: Views | None = None, *, distance: str = "true", memory: int = 2**28, device: str = "cpu"
) -> Float[np.ndarray, "n m"]:
    """The distances of all pairs of views (paper, equation 11), metres, exact to 1e-8, a block of views at a time.

    Args:
        views: whose distances.
        others: to which; default to each other.
        distance: `true`, of lines in space, or `unnormalised`, as equation 11 is printed.
        memory: bytes that a block may take, at least those of one view.
        device: a torch device.

    Raises:
        InputError: the distance is unknown.
    """
    if distance not in DISTANCES:
        raise InputError(f"distance is {distance!r}, want {' or '.join(DISTANCES)}")
    lines = lines_of(views.rays, views.positions).to(device)
    far = lines if others is None else lines_of(others.rays, others.positions).to(device)
    right = far.mT[:, None]
    step = max(1, memory // (8 * EXACT_NUMBERS * right[0].numel()))
    parts = [line_distances(part, right, distance).cpu() for part in torch.split(lines, step, dim=1)]
    return torch.cat(parts).numpy()
