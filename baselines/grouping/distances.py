"""Distances of views: the mean over keypoints of how far two rays pass each other (paper, equation 11).

A ray `d` from a camera at `t` is the line with Pluecker coordinates (d, m), `m = t x d`. For two lines,
`(d x d') . (t - t') = -(d . m' + d' . m)` and `|d x d'|^2 = 1 - (d . d')^2`, so both are matrix products over all
pairs. Cameras stand tens of metres away, but the lines pass within a metre or two of the pelvis, so the moments are
small: taken in float64 and rounded to float32 they cost about a ten-millionth of a metre.

Lines at an angle of less than `PARALLEL` have the distance of parallel ones, `|(t - t') x d| = |m - m'|`. As published,
the quotient with 1e-8 added below is 0 there however far the lines are apart.

A measured distance is made of sums, products, quotients and roots that are each rounded once and in an order of their
own. It therefore has the same bits whatever is measured along with it, in whatever block, thread, process or machine.
Matrix products have not: their last bits change with the shapes. They only give `Bounds`, from below.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from baselines.grouping.groups import DISTANCES
from wildhoi.errors import InputError
from wildhoi.views import Views

PARALLEL = 1e-6
"""Radians: in float64 the quotient still has three digits here."""
SMALLEST_SINE = 1e-3
"""Of estimates: below, float32 does not know the angle. Taken for larger, it only makes a distance smaller."""
ULP = 2.0**-24
"""What rounding to float32 changes at most, as a share."""
TILE = {"cpu": 2**17, "cuda": 2**22}
"""Pairs of views that are estimated at once: fits a processor's cache, and keeps a GPU busy."""
EXACT_NUMBERS = 20
"""Numbers of float64 that the exact distance of two lines takes while it is worked out, lines included."""


def lines_of(rays: Float[np.ndarray, "n p 3"], positions: Float[np.ndarray, "n 3"]) -> Float[Tensor, "n 6 p"]:
    """Pluecker coordinates of the rays of views, directions then moments; metres, SMPL frame, float64."""
    rays = rays / np.linalg.norm(rays, axis=2, keepdims=True)
    moments = np.cross(positions[:, None], rays)
    return torch.from_numpy(np.ascontiguousarray(np.concatenate([rays, moments], axis=2).transpose(0, 2, 1)))


def line_distances(
    views: Float[Tensor, "6 *b p"], others: Float[Tensor, "6 *#b p m"], distance: str
) -> Float[Tensor, "*b m"]:
    """Distances of views to others of theirs from the lines of both, metres; exact to 1e-8 in float64."""
    each = views[..., None]
    product, cosine = each[0] * others[3], each[0] * others[0]
    space = torch.empty_like(product)
    for i in range(1, 6):
        product += torch.mul(each[i], others[(i + 3) % 6], out=space)
    product.abs_()
    if distance == "unnormalised":
        return mean_of(product)
    for i in (1, 2):
        cosine += torch.mul(each[i], others[i], out=space)
    estimated = product.dtype == torch.float32
    one = product.new_full((), 1 + SMALLEST_SINE**2 if estimated else 1)
    squared = torch.sub(one, torch.mul(cosine, cosine, out=space), out=space)
    if estimated:
        return mean_of(product.div_(squared.sqrt_()))
    parallel = squared < PARALLEL**2
    product.div_(squared.clamp_(min=PARALLEL**2).sqrt_())
    if parallel.any():  # few, so only these are gathered
        here, there = (lines[3:].expand(3, *product.shape)[:, parallel] for lines in (each, others))
        x, y, z = (here - cosine[parallel].sign() * there).square()
        product[parallel] = (x + y + z).sqrt()
    return mean_of(product)


def measure(
    lines: Float[Tensor, "n 6 p"],
    here: Int[Tensor, " b"],
    near: Int[Tensor, "b m"],
    distance: str,
    kind: torch.dtype = torch.float64,
) -> tuple[Float[Tensor, "b m"], Float[Tensor, "6 b p m"]]:
    """The distances of views to others of theirs, metres, infinite to a view itself, and the lines of the others.

    Rounded to float32, so that equal views are at equal distances.
    """
    there = lines.flatten(1)[near].to(kind).mT.contiguous().view(len(near), *lines.shape[1:], -1).transpose(0, 1)
    distances = line_distances(lines[here].to(kind).transpose(0, 1), there, distance).float()
    return distances.masked_fill_(near == here[:, None], torch.inf), there


def mean_of(terms: Float[Tensor, "*b p m"]) -> Float[Tensor, "*b m"]:
    """The mean over the last axis but one, which is overwritten: always the same sums, of halves."""
    count = left = terms.shape[-2]
    while left > 1:
        half = left // 2
        terms[..., :half, :] += terms[..., left - half : left, :]
        left -= half
    return terms[..., 0, :] / count


class Bounds:
    """Bounds from below of the distances of views to others, some views at a time: float32, never TF32.

    No distance that is measured, rounded to float32, is less than its bound. For one keypoint let P be the product of
    the lines and s the sine. With the lines and the products rounded in any order, `P` is wrong by at most 8 ULP times
    the sum of the lengths of both moments, and `1 - cos^2` by 14 ULP. So 10 ULP of the longest moments are taken from
    |P|, and 1e-6, more than 16 ULP, is added to `s^2`, which also bounds lines that are nearly parallel. A term is then
    at most `|P| / s`, or negative; what rounding its root and quotient and the mean of p terms may add is at most
    `p + 10` ULP of it. Bounds are within some micrometres unless rays are nearly parallel.
    """

    def __init__(self, lines: Float[Tensor, "n 6 p"], others: Float[Tensor, "m 6 p"], distance: str) -> None:
        """Round the lines of both."""
        longest = [float(each[:, 3:].square().sum(1).max().sqrt()) for each in (lines, others)]
        self.less = 10 * ULP * sum(longest) + 1e-9
        self.divided = distance == "true"
        self.left = lines.permute(2, 0, 1).float().contiguous()
        self.right = torch.cat([others[:, 3:], others[:, :3]], dim=1).permute(2, 1, 0).float().contiguous()
        self.tile = TILE[lines.device.type]

    def __call__(self, start: int, stop: int) -> Float[Tensor, "b m"]:
        """The bounds of the views from `start` to before `stop`, metres."""
        rows, count, points = stop - start, self.right.shape[2], len(self.left)
        total = self.left.new_zeros(rows, count)
        width = min(count, max(1, self.tile // rows))
        space = self.left.new_empty(2, rows * width)
        more = self.left.new_full((), 1 + SMALLEST_SINE**2)
        with full_products():
            for begin in range(0, count, width):
                sums = total[:, begin : begin + width]
                product, cosine = space[:, : sums.numel()].view(2, *sums.shape)
                for left, right in zip(self.left[:, start:stop], self.right[:, :, begin : begin + width], strict=True):
                    torch.mm(left, right, out=product).abs_().sub_(self.less)
                    if self.divided:
                        torch.mm(left[:, :3], right[3:], out=cosine)
                        torch.addcmul(more, cosine, cosine, value=-1, out=cosine)
                        product.mul_(cosine.rsqrt_())
                    sums.add_(product)
        return total.mul_((1 - 2 * (points + 16) * ULP) / points)


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
    right = far.permute(1, 2, 0)[:, None]
    step = max(1, memory // (8 * EXACT_NUMBERS * right[0].numel()))
    parts = [line_distances(part.transpose(0, 1), right, distance).cpu() for part in torch.split(lines, step)]
    return torch.cat(parts).numpy()
