"""Image backbones of `transformers`: which there are, where their weights come from, one number a channel.

Weights are read as safetensors only, and no code of a repository is ever run.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wildhoi.errors import InputError, MissingAssetError

RANDOM = "random weights"
FILES = ("config.json", "model*.safetensors", "model.safetensors.index.json")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Architecture:
    """A backbone by name: its model type in transformers, the Hub's weights for it, settings beside the type's own."""

    model: str
    hub: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def _resnet(layers: tuple[int, ...], hub: str, *, basic: bool = False) -> Architecture:
    sizes = [64, 128, 256, 512] if basic else [256, 512, 1024, 2048]
    settings = {"depths": list(layers), "hidden_sizes": sizes, "layer_type": "basic" if basic else "bottleneck"}
    return Architecture("resnet", hub, settings)


ARCHITECTURES = {
    "resnet18": _resnet((2, 2, 2, 2), "microsoft/resnet-18", basic=True),
    "resnet34": _resnet((3, 4, 6, 3), "microsoft/resnet-34", basic=True),
    "resnet50": _resnet((3, 4, 6, 3), "microsoft/resnet-50"),
    "convnext-tiny": Architecture(
        "convnext", "facebook/convnext-tiny-224", {"depths": [3, 3, 9, 3], "hidden_sizes": [96, 192, 384, 768]}
    ),
    "dinov2-small": Architecture(
        "dinov2", "facebook/dinov2-small", {"hidden_size": 384, "num_attention_heads": 6, "num_hidden_layers": 12}
    ),
    "dinov2-base": Architecture(
        "dinov2", "facebook/dinov2-base", {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12}
    ),
}
"""The backbones with names of their own; every other image model of transformers goes by its model type."""


class Backbone(nn.Module):
    """A model of transformers whose last output, a map or a row of tokens, is averaged."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        # position tables of another picture size are stretched by models that have them
        stretches = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        self.more = {"interpolate_pos_encoding": True} if stretches else {}

    @property
    def architecture(self) -> dict[str, Any]:
        """Whatever is needed to build the model again, JSON."""
        return dict(self.model.config.to_diff_dict())

    def forward(self, pictures: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b n"]:
        """The average of the last output over its places, of normalised pictures."""
        last: Tensor = self.model(pixel_values=pictures, **self.more).last_hidden_state
        return last.mean((2, 3)) if last.ndim == 4 else last.mean(1)

    @torch.no_grad()
    def width(self, size: int) -> int:
        """How many numbers it gives for pictures of a size; InputError where it cannot work on them."""
        training = self.training
        weight = next(self.parameters())
        try:
            found = self.eval()(torch.zeros((1, 3, size, size), dtype=weight.dtype, device=weight.device))
        except (ValueError, RuntimeError, TypeError, AttributeError) as error:
            kind = self.model.config.model_type
            raise InputError(
                f"backbone {kind}: cannot work on pictures of {size} x {size} ({_line(error)}); choose another size"
            ) from None
        finally:
            self.train(training)
        return int(found.shape[1])


def load_backbone(name: str, weights: str | None) -> tuple[Backbone, str]:
    """Make a backbone, and say where its weights come from.

    Args:
        name: of `ARCHITECTURES`, or a model type of transformers.
        weights: a folder as `save_pretrained` writes it, or a repository of the Hub; None: random ones.

    Raises:
        InputError: there is no such model, or the weights are of another architecture, incomplete or damaged.
        MissingAssetError: transformers is not installed, or the weights are neither here nor to be had.
    """
    transformers = _transformers()
    if weights is None:
        return restore_backbone(_wanted(name)), f"{RANDOM} (none were given)"
    folder, origin = _find(name, weights)
    loaded = _read(transformers, origin, folder)
    _require_same(name, origin, loaded.config)
    return Backbone(loaded), origin


def restore_backbone(architecture: Mapping[str, Any]) -> Backbone:
    """Make a backbone of an architecture, with random weights.

    Raises:
        InputError: transformers cannot make such a model.
        MissingAssetError: transformers is not installed.
    """
    transformers = _transformers()
    settings = dict(architecture)
    kind = settings.pop("model_type", None)
    try:
        config = transformers.AutoConfig.for_model(kind, **settings)
        model = transformers.AutoModel.from_config(config, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - a library of hundreds of models raises anything for foreign settings
        known = ", ".join(("none", "small", *ARCHITECTURES))
        raise InputError(
            f"backbone {kind!r}: transformers cannot make it ({_line(error)[:160]}); want one of {known}, or the model "
            "type of an image model"
        ) from None
    _require_images(str(kind), model)
    return Backbone(model.float())


def _wanted(name: str) -> dict[str, Any]:
    known = ARCHITECTURES.get(name)
    return {"model_type": name} if known is None else {"model_type": known.model, **known.settings}


def _transformers() -> ModuleType:
    """The library, imported late: that takes seconds."""
    try:
        import transformers
    except ImportError:
        raise MissingAssetError(
            "transformers is not installed, and image backbones come from it; `pip install 'wildhoi[baselines]'`, or "
            "use the encoder 'small'"
        ) from None
    return transformers


def _find(name: str, weights: str) -> tuple[Path, str]:
    """The folder of weights, fetched if need be, and what to call it."""
    folder = Path(weights).expanduser()
    if folder.is_dir():
        return folder, f"the folder {weights}"
    hint = f" ({ARCHITECTURES[name].hub})" if name in ARCHITECTURES else ""
    if not HUB_NAME.fullmatch(weights):
        raise MissingAssetError(
            f"weights of {name}: there is no folder {weights}; give one as `save_pretrained` writes it, or the name of "
            f"a repository of the Hub{hint}"
        )
    from wildhoi.hub.models import fetch_model

    try:
        return fetch_model(weights, FILES), f"the Hub's {weights}"
    except (OSError, ValueError) as error:
        raise MissingAssetError(
            f"weights of {name}: {weights} is no folder here, not in the Hub's cache, and cannot be fetched "
            f"({type(error).__name__}: {_line(error)[:160]}); with a connection run `hf download {weights}`, or give "
            "a folder that `save_pretrained` wrote, or no weights for random ones"
        ) from None


def _read(transformers: ModuleType, origin: str, folder: Path) -> Any:
    """Read a model; every weight must be there, but for the pooling layer, which is not used."""
    with _quiet(transformers):
        try:
            loaded, report = transformers.AutoModel.from_pretrained(
                str(folder), use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
        except Exception as error:  # noqa: BLE001 - so do its readers, for foreign and damaged files
            raise InputError(
                f"weights from {origin}: cannot be read ({type(error).__name__}: {_line(error)[:160]}); want a folder "
                "with config.json and model.safetensors of an image model, as `save_pretrained` writes it"
            ) from None
    _require_images(origin, loaded)
    absent = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if absent or report["mismatched_keys"]:
        raise InputError(
            f"weights from {origin}: {len(absent)} of the model are absent ({', '.join(absent[:3])}), "
            f"{len(report['mismatched_keys'])} of another shape; want those of a whole image model"
        )
    return loaded.float()


def _require_images(origin: str, model: Any) -> None:
    if getattr(model, "main_input_name", "") != "pixel_values":
        raise InputError(f"backbone {origin}: is no image model; want one of {', '.join(ARCHITECTURES)} or its like")


def _require_same(name: str, origin: str, config: Any) -> None:
    """Refuse weights of another architecture than the one asked for."""
    for key, wanted in _wanted(name).items():
        found = getattr(config, key, None)
        if found != wanted:
            raise InputError(
                f"weights from {origin}: {key} is {found}, but {name} has {wanted}; give the weights of a {name}, or "
                f"the name {config.model_type!r}, which takes any"
            )


@contextmanager
def _quiet(transformers: ModuleType) -> Iterator[None]:
    """No bars and no advice on loading: what matters of it becomes an error."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _line(error: BaseException) -> str:
    """An error's words on one line."""
    return " ".join(str(error).split())
