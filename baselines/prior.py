"""The learned prior: an encoder of the picture and a flow over X_2.5D (or X_3D), what it scores and what it draws."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from baselines.encoders import EncoderConfig, build_encoder
from baselines.flow import ConditionalFlow, FlowConfig
from baselines.rays import View, camera_of, flat, rays_from_points, to_metres, unflat

Supervision = Literal["2d", "3d"]
Space = Literal["metres", "rays"]


@dataclass(frozen=True)
class PriorConfig:
    """What a prior is made of, beside its weights.

    Attributes:
        object: name of the category.
        keypoints: of the body and the object together.
        supervision: `2d` models X_2.5D, `3d` the keypoints in space, X_3D, without cameras.
        space: coordinates of X_2.5D: `metres` at the subject, or the bare `rays` of the published code.
        noise: standard deviation of what is added in training: to rays in metres at the subject (to the bare rays in
            their own unit), to points in metres.
        camera_noise: added to a camera's coordinates `u log(1 + r)` (to a bare position, in metres).
        flow, encoder: their own settings.
    """

    object: str
    keypoints: int
    supervision: Supervision
    space: Space
    noise: float
    camera_noise: float
    flow: FlowConfig
    encoder: EncoderConfig

    @property
    def dimension(self) -> int:
        """Of what the flow models: 3 numbers a keypoint, and the camera's where there is one."""
        return 3 * (self.keypoints + (self.supervision == "2d"))


class Prior(nn.Module):
    """Density of human-object arrangements given a picture; evaluation mode unless it is being trained."""

    def __init__(self, config: PriorConfig, architecture: Mapping[str, Any] | None = None) -> None:
        """Make an untrained prior.

        Args:
            config: what it is made of.
            architecture: of a backbone whose weights will be loaded; without one the backbone is looked for by name.

        Raises:
            InputError, MissingAssetError: see `encoders.build_encoder`.
        """
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder, architecture)
        self.flow = ConditionalFlow(config.dimension, self.encoder.context, config.flow)

    def context(self, shown: Shaped[Tensor, "b *_"]) -> Float[Tensor, "b c"]:
        """What pictures (b, 5, s, s) or a frozen backbone's features (b, n) say; no numbers without an encoder."""
        said: Tensor = self.encoder.condense(shown) if shown.ndim == 2 else self.encoder(shown)
        return said

    def coordinates(self, view: View) -> Float[Tensor, "*b d"]:
        """Views in the coordinates of the flow."""
        return to_metres(view)[0] if self.config.space == "metres" else flat(view)

    def position(self, coordinates: Float[Tensor, "*b d"]) -> Float[Tensor, "*b 3"]:
        """The camera positions of the flow's coordinates."""
        if self.config.space == "metres":
            return camera_of(coordinates[..., -3:])
        return unflat(coordinates).position

    def noise(self, like: Float[Tensor, "b d"], generator: torch.Generator | None) -> Float[Tensor, "b d"]:
        """Noise to train with: without it the density has no bound, since unit rays fill no volume."""
        sigma = like.new_full((like.shape[1],), self.config.noise)
        if self.config.supervision == "2d":
            sigma[-3:] = self.config.camera_noise
        return sigma * torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)

    def log_density(self, coordinates: Float[Tensor, "b d"], context: Float[Tensor, "b c"]) -> Float[Tensor, " b"]:
        """Log-density in the flow's own coordinates, nats per dimension."""
        return self.flow.log_prob(coordinates, context) / self.config.dimension

    def score(
        self, points: Float[Tensor, "b p 3"], cameras: Float[Tensor, "b m 3"], context: Float[Tensor, "b c"]
    ) -> Float[Tensor, "b _"]:
        """Log-density of scenes as seen from virtual cameras, nats per dimension (paper, equations 1 and 13).

        It is the density in the flow's coordinates: that of bare rays would have cameras fly away, since rays crowd
        together with distance. A prior of 3D supervision looks at the points alone: one column.
        """
        if self.config.supervision == "3d":
            return self.log_density(points.flatten(1), context)[:, None]
        views = rays_from_points(points[:, None].expand(-1, cameras.shape[1], -1, -1), cameras)
        seen = self.coordinates(views)
        repeated = context[:, None].expand(-1, cameras.shape[1], -1)
        return self.log_density(seen.flatten(0, 1), repeated.flatten(0, 1)).view(cameras.shape[:2])

    @torch.no_grad()
    def draw(
        self, context: Float[Tensor, "b c"], count: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "b m d"]:
        """Samples in the flow's coordinates, `count` for each context."""
        repeated = context[:, None].expand(-1, count, -1).flatten(0, 1)
        drawn: Tensor = self.flow.sample(repeated, generator)
        return drawn.view(len(context), count, -1)
