"""A prior that has seen the pictures of a batch, and its virtual cameras."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from baselines.pictures import encoder_picture
from baselines.prior import Prior
from wildhoi.schema import Sample

DRAWN = 4
"""Cameras drawn for each that is kept."""
LIKELY = 0.75
"""Share of the draws that may be kept: the others are the least likely."""


@dataclass(frozen=True, eq=False)
class Conditioned:
    """A prior given pictures; see `observation.Scores`."""

    prior: Prior
    context: Float[Tensor, "b c"]

    def score(self, points: Float[Tensor, "b p 3"], cameras: Float[Tensor, "b m 3"] | None) -> Float[Tensor, "b _"]:
        """Log-density of keypoints as seen from cameras, nats per dimension."""
        if cameras is None:
            cameras = points.new_zeros(len(points), 1, 3)
        return self.prior.score(points, cameras, self.context)

    def take(self, rows: Int[Tensor, " n"]) -> "Conditioned":
        """The same for some of the pictures."""
        return replace(self, context=self.context[rows])


def condition(prior: Prior, samples: Sequence[Sample], device: torch.device, dtype: torch.dtype) -> Conditioned:
    """Show a prior the pictures of samples; one that is not conditioned on them needs none.

    Raises:
        InputError: a sample has no picture.
    """
    prior = prior.to(device, dtype)
    with torch.no_grad():
        if not prior.encoder.context:
            return Conditioned(prior, torch.zeros(len(samples), 0, device=device, dtype=dtype))
        size = prior.config.encoder.size
        # one by one: what an image is given does not depend on its batch, to the last bit
        shown = [torch.from_numpy(encoder_picture(sample, size))[None].to(device) for sample in samples]
        return Conditioned(prior, torch.cat([prior.context(picture).to(dtype) for picture in shown]))


@torch.no_grad()
def draw_cameras(
    conditioned: Conditioned, image_ids: Sequence[str], count: int, seed: int
) -> Float[Tensor, "b m 3"] | None:
    """Virtual cameras drawn from the prior (paper, 3.3): positions, metres, SMPL frame; None for a prior of points.

    For each four views are drawn, the least likely quarter of an image's is refused, and the first of the others are
    kept. An image's draws depend on its id and the seed alone.
    """
    prior, context = conditioned.prior, conditioned.context
    if prior.config.supervision == "3d":
        return None
    normal = torch.stack([_normal(image_id, seed, DRAWN * count, prior.config.dimension) for image_id in image_ids])
    repeated = context[:, None].expand(-1, DRAWN * count, -1).flatten(0, 1)
    drawn = prior.flow.decode(normal.flatten(0, 1).to(context), repeated)[0]
    likely = prior.log_density(drawn, repeated)
    position = prior.position(drawn)
    usable = torch.isfinite(position).all(-1) & torch.isfinite(likely)
    likely = torch.where(usable, likely, -torch.inf).view(len(image_ids), -1)
    limit = likely.sort(dim=1, descending=True).values[:, int(LIKELY * likely.shape[1]) - 1, None]
    refused = (likely < limit) | ~torch.isfinite(likely)
    first = torch.argsort(refused.int(), dim=1, stable=True)[:, :count]
    positions = position.view(len(image_ids), -1, 3)
    kept: Tensor = positions.gather(1, first[..., None].expand(-1, -1, 3))
    return kept


def _normal(image_id: str, seed: int, count: int, dimension: int) -> Float[Tensor, "n d"]:
    """Normal numbers of an image."""
    digest = hashlib.sha256(f"{seed}/{image_id}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.randn(count, dimension, generator=generator)
