"""What a training is made of: presets by name, and how their values are checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from baselines.encoders import EncoderConfig
from baselines.flow import PRESETS as FLOWS
from baselines.flow import FlowConfig
from baselines.plain import from_plain
from baselines.prior import Space, Supervision
from wildhoi.errors import InputError

Grouping = Literal["knn", "gt", "none"]


@dataclass(frozen=True)
class TrainOptions:
    """The choices of a training.

    Attributes:
        grouping: where an image's further views come from: its nearest neighbours, the true further views of its
            scene, or nowhere.
        supervision: see `prior.PriorConfig`.
        source: keypoints and cameras as they were estimated, or as annotated.
        views: the pool that neighbours come from: one view an image, or all further views too.
        k: neighbours of an image.
        threshold: metres; farther neighbours are dropped.
        steepness: of a neighbour's weight, per metre to the fourth.
        mirrored: whether half the images are shown mirrored, with left and right exchanged.
        space, noise, camera_noise, flow, encoder: see `prior.PriorConfig`.
        epochs, batch: images are gone through so often, so many at once.
        draws: views of an image in a step, drawn from its group by weight.
        lr, final_lr: Adam's learning rate, and the share of it at the last epoch, reached on half a cosine.
        clip: the gradient's norm at most.
        held_out: share of the images that are kept to watch the likelihood of.
        patience: epochs without a better likelihood after which training ends; 0: never.
        augment: whether pictures are shifted, turned, scaled and coloured.
        precision: of the encoder: `float32`, `bf16` or `fp16`; the flow is always float32.
        half: whether the weights are stored with 16 bits.
        pictures_every: epochs between two pictures of samples; 0: none.
        seed: of everything random.
    """

    flow: FlowConfig
    encoder: EncoderConfig
    grouping: Grouping = "knn"
    supervision: Supervision = "2d"
    source: Literal["estimates", "truth"] = "estimates"
    views: Literal["images", "all"] = "images"
    k: int = 16
    threshold: float = 0.1
    steepness: float = 1e5
    mirrored: bool = True
    space: Space = "metres"
    noise: float = 0.02
    camera_noise: float = 0.02
    epochs: int = 30
    batch: int = 64
    draws: int = 17
    lr: float = 1e-4
    final_lr: float = 1.0
    clip: float = 1.0
    held_out: float = 0.05
    patience: int = 0
    augment: bool = True
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    half: bool = False
    pictures_every: int = 5
    seed: int = 0


PRESETS: Mapping[str, TrainOptions] = {
    # the paper's sizes; noise and coordinates are ours, since the published ones mean another prior in every data set
    "paper": TrainOptions(
        FLOWS["paper"], EncoderConfig("resnet50", size=256, context=256), epochs=60, final_lr=0.01, patience=10
    ),
    "released": TrainOptions(
        FLOWS["released"],
        EncoderConfig("resnet50", size=256, context=256, dropout=0.5),
        space="rays",
        noise=0.001,
        camera_noise=0.001,
        epochs=60,
        threshold=1e3,
    ),
    "small": TrainOptions(
        FLOWS["small"],
        EncoderConfig("small", size=64, context=64),
        epochs=40,
        draws=8,
        lr=1e-3,
        final_lr=0.01,
        patience=10,
        half=True,
        pictures_every=10,
    ),
}


def train_options(preset: str, given: Mapping[str, Any]) -> TrainOptions:
    """The options of a preset with some given, checked.

    Args:
        preset: `paper`, `released` or `small`.
        given: values by name; `condition` is the encoder's name (`none` for no picture), its other fields have
            their own names: `size`, `context`, `frozen`, `weights`, `dropout`, `masks`.

    Raises:
        InputError: a name is unknown, or a value of the wrong kind or out of range.
    """
    if preset not in PRESETS:
        raise InputError(f"preset {preset!r}: unknown, want {', '.join(PRESETS)}")
    base = PRESETS[preset]
    names = (field.name for field in fields(EncoderConfig))
    encoder_names = {"condition" if name == "name" else name: name for name in names}
    changes = {encoder_names[name]: value for name, value in given.items() if name in encoder_names}
    plain = {field.name: getattr(base.encoder, field.name) for field in fields(EncoderConfig)} | changes
    encoder = from_plain(EncoderConfig, plain, "train: condition")
    rest = {name: value for name, value in given.items() if name not in encoder_names}
    plain = {name: value for name, value in _flat(base).items() if name not in ("flow", "encoder")} | rest
    options = from_plain(TrainOptions, {**plain, "flow": _flat(base.flow), "encoder": _flat(encoder)}, "train")
    _require_ranges(options)
    return options


def _flat(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(config)}


UNBOUNDED = "without noise the density has no bound"
LEAST: Mapping[str, float] = {
    "k": 1,
    "threshold": 0,
    "steepness": 0,
    "noise": 0,
    "camera_noise": 0,
    "epochs": 1,
    "batch": 1,
    "draws": 1,
    "lr": 0,
    "final_lr": 0,
    "clip": 0,
    "patience": 0,
    "pictures_every": 0,
    "seed": 0,
}


def _require_ranges(options: TrainOptions) -> None:
    for name, least in LEAST.items():
        if getattr(options, name) < least:
            raise InputError(f"train: {name}: got {getattr(options, name):g}, want at least {least:g}")
    for name in ("noise", "camera_noise", "lr"):
        if not getattr(options, name):
            raise InputError(f"train: {name}: got 0, want more: {'nothing is learned' if name == 'lr' else UNBOUNDED}")
    if options.final_lr > 1:
        raise InputError(f"train: final_lr: got {options.final_lr:g}, want a share of lr, at most 1")
    if not 0 < options.held_out < 1:
        raise InputError(f"train: held_out: got {options.held_out:g}, want a share between 0 and 1")
    if options.supervision == "3d" and options.grouping != "none":
        raise InputError("train: 3D supervision looks at no views; give --grouping none")
