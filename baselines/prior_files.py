"""A trained prior as a folder: `config.json`, `model.safetensors`, `contact.npz` and a card; nothing is unpickled."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

import wildhoi
from baselines.encoders import NONE
from baselines.plain import from_plain
from baselines.prior import Prior, PriorConfig
from wildhoi.errors import InputError, MissingAssetError, RunError, WildhoiError
from wildhoi.files import atomic_path, canonical_json, read_json, sha256_file, sha256_text, write_text
from wildhoi.mean_maps import Means, read_mean_maps
from wildhoi.objects import Category
from wildhoi.templates import Template
from wildhoi.views import JOINTS

CONFIG, WEIGHTS, CONTACT, CARD = "config.json", "model.safetensors", "contact.npz", "README.md"
FORMAT = 1
HASH = 16
"""Characters of a hash that are shown and compared."""
SUPERVISION = {"2d": "2D images", "3d": "3D annotations"}
MOST_LAYERS, MOST_WIDTH = 256, 65_536
MOST_CONFIG, MOST_WEIGHTS = 2**20, 2 * 2**30
SHIPPED = Path(wildhoi.__file__).parent / "assets" / "checkpoints"
HINT = "train one with `wildhoi train flow-prior --dataset DATA --object {name} -o DIR`"


@dataclass(frozen=True, eq=False)
class TrainedPrior:
    """A prior with what belongs to it.

    Attributes:
        prior: in evaluation mode.
        contact: mean occlusion maps of the training images, `human` and `object`, where they were made.
        facts: where and how it was trained, as its configuration has it.
    """

    prior: Prior
    contact: Means | None
    facts: Mapping[str, Any]


def find_priors(name: str) -> Path:
    """The folder of priors: one that is given, one in `$WILDHOI_CHECKPOINTS`, or one that ships.

    Raises:
        MissingAssetError: there is none.
    """
    places = [Path(name), SHIPPED / name]
    if os.environ.get("WILDHOI_CHECKPOINTS"):
        places.insert(1, Path(os.environ["WILDHOI_CHECKPOINTS"]) / name)
    found = next((place for place in places if os.path.isdir(place)), None)  # noqa: PTH112 - false for an endless name
    if found is None:
        shipped = ", ".join(sorted(path.name for path in SHIPPED.glob("*/"))) or "none"
        raise MissingAssetError(
            f"checkpoint {name}: no such folder, and none of this name ships (there are: {shipped}); "
            f"{HINT.format(name='OBJECT')}"
        )
    return found.resolve()


class Fact(NamedTuple):
    """What a prior says of itself: supervision, its weights' hash, whether it looks at pictures, how it was trained."""

    supervision: str
    weights: str
    looks: bool
    training: str


def facts_of(folder: Path | None) -> dict[str, Fact]:
    """The facts of each prior in a folder, by object; what cannot be read is told when it is needed."""
    found: dict[str, Fact] = {}
    for path in sorted(folder.glob(f"*/{CONFIG}")) + sorted(folder.glob(CONFIG)) if folder else ():
        try:
            content = read_json(path, MOST_CONFIG)
            prior = content["prior"]
            supervision, weights = SUPERVISION[prior["supervision"]], str(content["weights"])[:HASH]
            looks = prior["encoder"]["name"] != NONE
            found[str(prior["object"])] = Fact(supervision, weights, looks, _how_trained(content))
        except (WildhoiError, KeyError, TypeError):
            continue
    return found


def _how_trained(content: Mapping[str, Any]) -> str:
    """How and where a prior was trained, in a line; nothing where its configuration does not say."""
    try:
        how, data, where = content["training"], content["data"], content["environment"]
        return (
            f"{how['preset']}, grouping {how['grouping']} ({how['k']}), {how['source']}, {content['epochs']} epochs of "
            f"{data['images']} images of {data['name']}@{str(data['revision'])[:8]}, on {where['processor']} "
            f"({where['device']}, {where['processes']} process{'' if where['processes'] == 1 else 'es'})"
        )
    except (KeyError, TypeError):
        return ""


def category_digest(category: Category) -> str:
    """The hash of what a prior depends on in the category table: keypoints, what a mirror does to them, the joint."""
    names = ("name", "meshes", "keypoints", "keypoint_flip", "mirrored_images")
    facts = {name: getattr(category, name) for name in names}
    return sha256_text(canonical_json({**facts, "joint": category.joint and asdict(category.joint)}))


def write_prior(
    folder: Path,
    prior: Prior,
    template: Template,
    facts: Mapping[str, Any],
    contact: Mapping[str, Float[np.ndarray, " v"]] | None = None,
    *,
    half: bool = False,
) -> None:
    """Write a prior; the configuration comes last, so that what has one is whole.

    Args:
        folder: created where it is absent.
        prior: its weights are written as they are.
        template: of the object; its hash and the category's go with the prior.
        facts: plain data about the training.
        contact: mean occlusion maps `human` and `object`.
        half: store the weights with 16 bits; they are computed with 32 all the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS) as temporary:
        _save(temporary, _halved(prior) if half else dict(prior.state_dict()))
        # never a configuration beside weights that it does not name, nor none as long as there is no room for new ones
        (folder / CONFIG).unlink(missing_ok=True)
    if contact is None:
        (folder / CONTACT).unlink(missing_ok=True)
    else:
        with atomic_path(folder / CONTACT) as temporary, temporary.open("wb") as stream:
            arrays: dict[str, Any] = {name: np.asarray(mean, np.float32) for name, mean in contact.items()}
            np.savez_compressed(stream, **arrays)
    content = {
        "format": FORMAT,
        "prior": asdict(prior.config),
        "category": category_digest(template.category),
        "template": template.sha256,
        "weights": sha256_file(folder / WEIGHTS),
        "contact": None if contact is None else sha256_file(folder / CONTACT),
        "architecture": getattr(prior.encoder, "architecture", None),
        **facts,
    }
    write_text(folder / CONFIG, json.dumps(content, indent=1, sort_keys=True) + "\n")


def _halved(prior: Prior) -> dict[str, Tensor]:
    return {name: t.half() if t.dtype == torch.float32 else t for name, t in prior.state_dict().items()}


def read_prior(folder: Path, template: Template, device: str = "cpu") -> TrainedPrior:
    """Read a prior for an object.

    Args:
        folder: of the prior, or one that holds it under the object's name.
        template: of the object.
        device: of the weights.

    Raises:
        MissingAssetError: there is none.
        InputError: it is damaged, of another object, or of another category table or template.
    """
    name = template.category.name
    place = folder / name if (folder / name / CONFIG).is_file() else folder
    if not (place / CONFIG).is_file():
        held = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}")) if folder.is_dir() else []
        found = f"it has {', '.join(held)}" if held else "it has none" if folder.is_dir() else "there is no such folder"
        raise MissingAssetError(f"{folder}: no prior of {name} ({found}); {HINT.format(name=name)}")
    where = place / CONFIG
    content = read_json(where, MOST_CONFIG)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{where}: not the configuration of a prior of format {FORMAT}; {HINT.format(name=name)}")
    config = from_plain(PriorConfig, content.get("prior"), str(where))
    _require_same(where, content, config, template)
    contact = _read_contact(place / CONTACT, template, content.get("contact"))
    prior = _with_weights(place / WEIGHTS, config, content, device)
    facts = {name: value for name, value in content.items() if name not in ("format", "architecture")}
    return TrainedPrior(prior, contact, facts)


def _require_same(where: Path, content: Mapping[str, Any], config: PriorConfig, template: Template) -> None:
    """Refuse a prior of another object, keypoints, table or template."""
    category, name = template.category, template.category.name
    if config.object != name:
        raise InputError(f"{where}: a prior of {config.object!r}, want one of {name!r}; {HINT.format(name=name)}")
    wanted = JOINTS + len(template.keypoint_vertices)
    if config.keypoints != wanted:
        raise InputError(f"{where}: keypoints: got {config.keypoints}, want the {wanted} of {name}; train it again")
    if content.get("category") != category_digest(category):
        raise InputError(f"{where}: the category table has changed {name} since this prior was trained; train it again")
    if content.get("template") != template.sha256:
        found, want = str(content.get("template"))[:12], template.sha256[:12]
        raise InputError(
            f"{where}: trained with another template of {name} (hash {found}, here {want}); train it again"
        )


def _with_weights(path: Path, config: PriorConfig, content: Mapping[str, Any], device: str) -> Prior:
    tensors = read_tensors(path)
    if sha256_file(path) != content.get("weights"):
        raise InputError(f"{path}: not the weights that {CONFIG} names (hash); download or train it again")
    architecture = content.get("architecture")
    if architecture is not None and not isinstance(architecture, dict):
        raise InputError(f"{path.parent / CONFIG}: architecture: got {type(architecture).__name__}, want a table")
    _require_bounded(path.parent / CONFIG, config, architecture)
    # the file has the backbone's weights too: nothing is fetched
    config = replace(config, encoder=replace(config.encoder, weights=None))
    try:
        with torch.device("meta"):  # sizes without memory: a file cannot ask for more than it holds
            want = {key: tuple(tensor.shape) for key, tensor in Prior(config, architecture).state_dict().items()}
    except InputError as error:
        raise InputError(f"{path.parent / CONFIG}: {error}") from None
    found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    wrong = [key for key in sorted({*want, *found}) if want.get(key) != found.get(key)]
    if wrong:
        shown = "; ".join(f"{key} {found.get(key, 'absent')}, want {want.get(key, 'none')}" for key in wrong[:3])
        raise InputError(f"{path}: tensors do not suit the configuration: {shown}; train it again")
    prior = Prior(config, architecture)
    prior.load_state_dict(tensors)
    if not all(bool(tensor.isfinite().all()) for tensor in prior.state_dict().values()):
        raise InputError(f"{path}: weights that are not finite; train it again")
    for key, order in prior.state_dict().items():
        if key.endswith("linear.order") and not torch.equal(order.sort()[0], torch.arange(len(order))):
            raise InputError(f"{path}: {key}: not every coordinate once; train it again")
    return prior.to(device).eval().requires_grad_(False)


def _require_bounded(where: Path, config: PriorConfig, architecture: Mapping[str, Any] | None) -> None:
    """Refuse more layers than anybody trains: even without memory they take time."""
    flow = config.flow
    counts: dict[str, Any] = {"depth": flow.depth, "blocks": flow.blocks, "shift_layers": flow.shift_layers}
    for name, value in {**counts, **(architecture or {})}.items():
        numbers = value if isinstance(value, list) else [value]
        most = MOST_LAYERS if "depth" in name or "layers" in name or name in counts else MOST_WIDTH
        whole = [number for number in numbers if isinstance(number, int)]
        if len(numbers) > MOST_LAYERS or any(not -1 <= number <= most for number in whole) or sum(whole) > most * 16:
            raise InputError(f"{where}: {name}: got {str(value)[:60]}, want whole numbers up to {most}")


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically."""
    with atomic_path(path) as temporary:
        _save(temporary, tensors)


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, str(path))
    except SafetensorError as error:  # a full disk is one
        raise RunError(f"{path.name}: cannot be written ({error}); mend that: --resume goes on") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, on the CPU.

    Raises:
        MissingAssetError: it is not there.
        InputError: it is no such file, or a huge one.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        size = path.stat().st_size
    except OSError:
        raise MissingAssetError(f"{path}: is not there; copy the whole folder, or train it again") from None
    if size > MOST_WEIGHTS:
        raise InputError(f"{path}: {size:,} bytes, want at most {MOST_WEIGHTS:,}")
    try:
        return dict(load_file(str(path), device="cpu"))
    except (SafetensorError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: damaged, or no safetensors file ({reason}); download or train it again") from None


def _read_contact(path: Path, template: Template, digest: Any) -> Means | None:
    """The mean occlusion maps; None where the prior was trained without."""
    if digest is None:
        return None
    if not path.is_file() or sha256_file(path) != digest:
        raise InputError(f"{path}: not the mean occlusion maps that {CONFIG} names; copy the whole folder again")
    found = read_mean_maps(path)
    if len(found["object"]) != len(template.vertices):
        got, want = len(found["object"]), len(template.vertices)
        raise InputError(f"{path}: object: got {got} vertices, want the template's {want}; train it again")
    return found
