"""What the image says to the flow: a small network trained from nothing, or a backbone of `transformers`.

All take pictures (`baselines.pictures`: colours, person's mask, object's mask, 0 to 255, uint8 or float) and give
numbers to condition on. Work is in two parts, `features` and `condense`: where a backbone is frozen the first never
changes, so `cached_features` computes it once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from baselines.backbones import load_backbone, restore_backbone
from baselines.pictures import CHANNELS, COLOURS, TOP
from wildhoi.errors import InputError

NONE, SMALL = "none", "small"
SIDES = (16, 1024)
"""Least and greatest side of a picture, pixels."""
WIDTHS, GROUPS, HIDDEN = (16, 32, 64, 96), 8, 128
"""The small network: channels of its convolutions, groups of each normalisation, width of its last hidden layer."""
PLACES = 4
"""Cells on a side of the small network's last map: where something is stays known."""
MASK_CELLS = 8
"""Cells on a side of the grid that masks are averaged over for a backbone."""
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the colours of ImageNet, on which the backbones were trained."""


@dataclass(frozen=True)
class EncoderConfig:
    """Which encoder, and how large.

    Attributes:
        name: `none`, `small`, a name of `baselines.backbones.ARCHITECTURES`, or a model type of transformers.
        size: side of the pictures, pixels; as published 256.
        context: how many numbers it gives; as published 256; `none` gives 0 whatever this says.
        frozen: the backbone does not learn, what follows it does.
        weights: of a backbone: a folder as `save_pretrained` writes it, or a repository of the Hub; None: random.
        dropout: share of the hidden numbers that is dropped in training, before the last layer.
        masks: a backbone is told the masks too, averaged over 8 x 8 cells and put beside its own numbers; the small
            network always sees them.
    """

    name: str = SMALL
    size: int = 64
    context: int = 64
    frozen: bool = False
    weights: str | None = None
    dropout: float = 0.0
    masks: bool = False


class Encoder(nn.Module):
    """Numbers to condition on, of pictures.

    Attributes:
        context: how many.
        origin: where its weights come from, in words.
        frozen: whether `features` never changes.
        architecture: of its backbone, JSON; empty for the others. With it the encoder can be built again for the
            weights of a checkpoint, without those that it started from.
    """

    def __init__(
        self, context: int, origin: str, *, frozen: bool = False, architecture: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.context, self.origin, self.frozen = context, origin, frozen
        self.architecture = dict(architecture or {})

    def features(self, pictures: Shaped[Tensor, "b 5 s s"]) -> Float[Tensor, "b n"]:
        """The first part of the work, which a frozen encoder does the same for ever."""
        raise NotImplementedError  # each encoder has its own

    def condense(self, features: Float[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """The rest of the work."""
        raise NotImplementedError  # each encoder has its own

    def forward(self, pictures: Shaped[Tensor, "b 5 s s"]) -> Float[Tensor, "b c"]:
        """The numbers of pictures, 0 to 255."""
        return self.condense(self.features(pictures))


class NoEncoder(Encoder):
    """Says nothing of any picture, whatever its shape: the row that shows what the others add."""

    def __init__(self) -> None:
        super().__init__(0, "no image is looked at")

    def features(self, pictures: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b n"]:
        """None."""
        return torch.zeros((len(pictures), 0), device=pictures.device)

    def condense(self, features: Float[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """None."""
        return features

    def forward(self, pictures: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b c"]:
        """None."""
        return self.features(pictures)


class SmallEncoder(Encoder):
    """Four convolutions of stride 2 and two layers, 0.3 million parameters, on colours and masks.

    Normalised by groups of channels and not over the batch: an image's numbers never depend on other images.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config.context, "trained from random weights")
        layers: list[nn.Module] = []
        for before, after in zip((CHANNELS, *WIDTHS), WIDTHS, strict=False):
            kernel = 3 if layers else 5
            layers += [nn.Conv2d(before, after, kernel, 2, kernel // 2, bias=False), nn.GroupNorm(GROUPS, after)]
            layers.append(nn.SiLU())  # units of a ReLU die at rates such as 2e-3, and with them the whole encoder
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(PLACES), nn.Flatten())
        self.hidden = nn.Sequential(nn.Linear(WIDTHS[-1] * PLACES**2, HIDDEN), nn.SiLU(), nn.Dropout(config.dropout))
        self.last = nn.Linear(HIDDEN, config.context)

    def features(self, pictures: Shaped[Tensor, "b 5 s s"]) -> Float[Tensor, "b n"]:
        """What the convolutions find, by channel and place."""
        found: Tensor = self.trunk(pictures.to(self.last.weight.dtype) * (2 / TOP) - 1)
        return found

    def condense(self, features: Float[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """The two last layers."""
        condensed: Tensor = self.last(self.hidden(features))
        return condensed


class BackboneEncoder(Encoder):
    """The last map of a backbone, averaged over its places, a linear layer of the same width and one to the context.

    These are the published 1 x 1 convolution on the average and the layer after it, for any width.
    """

    mean: Float[Tensor, "3 1 1"]
    spread: Float[Tensor, "3 1 1"]

    def __init__(self, config: EncoderConfig, architecture: Mapping[str, Any] | None = None) -> None:
        if architecture is None:
            backbone, origin = load_backbone(config.name, config.weights)
        else:
            backbone, origin = restore_backbone(architecture), "its checkpoint"
        super().__init__(config.context, origin, frozen=config.frozen, architecture=backbone.architecture)
        self.masks, self.backbone = config.masks, backbone.requires_grad_(not config.frozen)
        self.register_buffer("mean", torch.tensor(MEAN).view(COLOURS, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(SPREAD).view(COLOURS, 1, 1), persistent=False)
        width = backbone.width(config.size)
        masks = (CHANNELS - COLOURS) * MASK_CELLS**2 if config.masks else 0
        self.head = nn.Sequential(
            nn.Linear(width + masks, width), nn.Dropout(config.dropout), nn.Linear(width, config.context)
        )
        self.train()

    def train(self, mode: bool = True) -> "BackboneEncoder":
        """Set the mode of what learns: the batch norms of a frozen backbone keep their statistics."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def features(self, pictures: Shaped[Tensor, "b 5 s s"]) -> Float[Tensor, "b n"]:
        """The backbone's average, and the masks averaged over cells where they are told."""
        shown = pictures.to(self.mean.dtype) / TOP
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            found: Tensor = self.backbone((shown[:, :COLOURS] - self.mean) / self.spread)
        if not self.masks:
            return found
        cells = adaptive_avg_pool2d(shown[:, COLOURS:], MASK_CELLS).flatten(1)
        return torch.cat([found, cells.to(found.dtype)], dim=1)

    def condense(self, features: Float[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """The layers that follow the backbone."""
        condensed: Tensor = self.head(features)
        return condensed


def build_encoder(config: EncoderConfig, architecture: Mapping[str, Any] | None = None) -> Encoder:
    """Build an encoder.

    Args:
        config: what is wanted.
        architecture: that of an encoder of the same config whose weights will be loaded into this one: then
            `config.weights` is not read.

    Raises:
        InputError: the config makes no sense, or the weights are of another architecture or damaged.
        MissingAssetError: transformers is not installed, or the weights are not at hand.
    """
    _check(config)
    if config.name == NONE:
        return NoEncoder()
    return SmallEncoder(config) if config.name == SMALL else BackboneEncoder(config, architecture)


def _check(config: EncoderConfig) -> None:
    where = f"encoder {config.name!r}"
    if not SIDES[0] <= config.size <= SIDES[1]:
        raise InputError(f"{where}: size: got {config.size}, want {SIDES[0]} to {SIDES[1]} pixels")
    if config.name != NONE and config.context < 1:
        raise InputError(f"{where}: context: got {config.context}, want 1 or more (for no condition: name {NONE!r})")
    if not 0 <= config.dropout < 1:
        raise InputError(f"{where}: dropout: got {config.dropout}, want a share from 0 to below 1")
    if config.name in (NONE, SMALL):
        if config.weights is not None:
            raise InputError(f"{where}: weights: got {config.weights!r}; only backbones have weights, leave them out")
        if config.frozen:
            raise InputError(f"{where}: frozen: it starts from random weights, so it has to learn; leave that out")


@torch.no_grad()
def cached_features(
    encoder: Encoder,
    pictures: Shaped[Tensor, "n 5 s s"],
    batch: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "n c"]:
    """Compute the features of pictures once, for `encoder.condense`; so the pictures cannot be varied in training.

    Args:
        encoder: a frozen one; it computes on the device that it is on.
        pictures: 0 to 255, on any device.
        batch: how many at a time.
        progress: called with pictures done and all.

    Returns:
        On the device of the pictures.

    Raises:
        InputError: the encoder is not frozen, so that its features change while it learns.
    """
    if not encoder.frozen:
        raise InputError("features are kept of a frozen backbone only: this encoder learns; freeze it or keep none")
    device = next(encoder.parameters()).device
    parts = []
    for start in range(0, len(pictures), batch):
        part = encoder.features(pictures[start : start + batch].to(device))
        parts.append(part.to(pictures.device))
        if progress is not None:
            progress(min(start + batch, len(pictures)), len(pictures))
    return torch.cat(parts) if parts else encoder.features(pictures.to(device)).to(pictures.device)
