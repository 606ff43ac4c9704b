"""Training a flow prior on a data folder: what it learns from is read here, since methods read no data themselves."""

import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wildhoi import __version__
from wildhoi.dataset import DataFolder
from wildhoi.engine import contents
from wildhoi.errors import InputError
from wildhoi.files import canonical_json, require_writable, sha256_text
from wildhoi.mean_maps import Means, read_mean_maps
from wildhoi.objects import find_category
from wildhoi.templates import Template, find_template, load_template
from wildhoi.training.processes import make_accelerator, only_training_in
from wildhoi.training.reading import Progress, own_mean_maps, read_examples
from wildhoi.views import JOINTS

if TYPE_CHECKING:
    from baselines.encoders import EncoderConfig
    from baselines.prior import Prior
    from baselines.training.diary import Diary
    from baselines.training.examples import Examples
    from baselines.training.options import TrainOptions


@dataclass(frozen=True)
class Trained:
    """What a training wrote: epochs done, the best held-out likelihood (nats per dimension), its epoch, the folder."""

    object: str
    epochs: int
    best_epoch: int
    held_out: float
    images: int
    folder: str
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The facts as plain data."""
        return asdict(self)


def train_flow_prior(
    data: DataFolder,
    name: str,
    out: Path,
    options: Mapping[str, Any],
    *,
    preset: str = "small",
    device: str = "auto",
    resume: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """Train a prior of one object's scenes; under `accelerate launch` or `torchrun` on all their processes.

    Args:
        data: with samples of the training split; with layouts for true groups, with annotations for 3D supervision.
        name: of the object.
        out: the folder of the prior.
        options: see `baselines.training.options.train_options`; `contact` is a file of mean occlusion maps, as
            `wildhoi occlusion` writes it; by default they are made from the training images.
        preset: `paper`, `released` or `small`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        resume: go on with the training that the folder holds; the result is that of an uninterrupted one.
        progress: called with (what, done, of how many), and perhaps a note.

    Raises:
        InputError: an option is unknown, there are too few images, the folder holds something else, or the processes
            of a launch do not see the same.
        MissingAssetError: a template, a body model, weights of a backbone or a package is not there.
        RunError: the loss is not a number any more, or another training writes to the folder.
    """
    from baselines.training.diary import Diary
    from baselines.training.options import train_options

    find_category(name)
    require_writable(out)
    contact, rest = options.get("contact"), {key: value for key, value in options.items() if key != "contact"}
    chosen = train_options(preset, rest)
    tell = progress or (lambda *_: None)
    accelerator = make_accelerator(device, chosen)  # before all else: the processes of a launch find each other here
    asked = _asked(data, name, chosen, preset)
    with only_training_in(out):
        if _was_finished(out, resume=resume):
            return _finished(out, name, resume=resume, asked=asked)
        template = _template(data, name)
        given = None if contact is None else _maps_of(template, read_mean_maps(Path(contact)), contact)
        examples, report = read_examples(data, name, out, chosen, device=device, tell=tell)
        means = given or _maps_of(template, own_mean_maps(data, name, out, tell), data.path)
        source = {"name": data.name, "revision": data.revision_of("train"), "images": len(examples.image_ids), **report}
        told = {"training": _plain(chosen, preset), "data": source, "environment": _environment(accelerator)}
        prior = _untrained(template, chosen)
        facts = told | {"encoder": _origin(prior, chosen.encoder.weights)}
        examples = _with_features(examples, prior, accelerator, tell)
        diary = Diary(out, template, facts, means, _fingerprint(facts, examples, given), chosen.half)
        _run(prior, examples, chosen, accelerator, diary, tell)
        return _finished(out, name, resume=True, asked=asked)


def _was_finished(out: Path, *, resume: bool) -> bool:
    """Whether the folder holds a training that has ended; InputError where it holds what shall not be gone on with."""
    from baselines.training.diary import is_finished
    from baselines.training.sharing import require_agreement

    finished, empty = is_finished(out), not (out.is_dir() and contents(out))
    require_agreement(f"what {out} holds", (finished, empty))  # all have seen the folder as it was
    if not (finished or empty or resume):
        raise InputError(f"{out}: exists and is not empty; --resume goes on with a training, or choose another folder")
    return finished


def _run(
    prior: "Prior", examples: "Examples", options: "TrainOptions", accelerator: Any, diary: "Diary", tell: Progress
) -> None:
    """Train to the end; the first process writes for all."""
    from baselines.training.card import write_card
    from baselines.training.loop import Trainer
    from baselines.training.shown import plot_samples

    trainer = Trainer(prior, examples, options, accelerator, diary)
    trainer.watch = lambda done, total, numbers: tell("training", done, total, _note(numbers))
    trainer.picture = lambda trained, path: plot_samples(trained, trainer.examples, diary.template, path)
    standing = trainer.run()
    if accelerator.is_main_process:
        write_card(diary, standing)
        diary.finish(standing)
    accelerator.wait_for_everyone()


def _with_features(examples: "Examples", prior: "Prior", accelerator: Any, tell: Progress) -> "Examples":
    """With what a frozen backbone makes of the pictures, worked out once."""
    import torch

    from baselines.encoders import cached_features

    if not prior.encoder.frozen or examples.pictures is None:
        return examples
    prior.to(accelerator.device)
    both = [
        cached_features(prior.encoder, pictures, progress=lambda done, total: tell("looking at pictures", done, total))
        for pictures in (examples.pictures, examples.pictures.flip(-1))
    ]
    return replace(examples, features=torch.stack(both).cpu())


def _note(numbers: Mapping[str, float]) -> str:
    return f"(held out {numbers['held_out']:.3f}, {numbers['images_per_second']:.0f} images/s)"


def _untrained(template: Template, options: "TrainOptions") -> Any:
    import torch

    from baselines.prior import Prior, PriorConfig

    torch.manual_seed(options.seed)  # of the first weights
    count = JOINTS + len(template.keypoint_vertices)
    parts = {field: getattr(options, field) for field in ("supervision", "space", "noise", "camera_noise", "flow")}
    return Prior(PriorConfig(template.category.name, count, **parts, encoder=options.encoder))


def _environment(accelerator: Any) -> dict[str, Any]:
    import torch

    from wildhoi.devices import describe_device

    kind = accelerator.device.type
    return {
        "wildhoi": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": kind,
        "processor": describe_device("cpu" if kind == "cpu" else str(accelerator.device)),
        "processes": accelerator.num_processes,
    }


def _fingerprint(facts: Mapping[str, Any], examples: "Examples", given: Means | None) -> str:
    """The hash of all that the weights depend on; the number of processes only rounds them otherwise.

    Raises InputError where the processes of a launch differ in more than their hardware.
    """
    from baselines.training.sharing import require_agreement

    environment = {key: value for key, value in facts["environment"].items() if key != "processes"}
    everything = {**facts, "environment": environment}
    versions, digest = (environment["wildhoi"], environment["torch"]), _digest(examples, given)
    require_agreement("data, options or versions", (facts["training"], facts["data"], versions, digest))
    return sha256_text(canonical_json([everything, digest]))


def _digest(examples: "Examples", given: Means | None) -> str:
    """The hash of what is learned from, and of the mean maps that were given with it."""
    import hashlib

    found = hashlib.sha256()
    for tensor in (examples.pool.coordinates, examples.members, examples.weights, examples.pictures):
        if tensor is not None:
            found.update(tensor.contiguous().numpy().tobytes())
    for values in (given or {}).values():
        found.update(values.tobytes())
    return found.hexdigest()


def _template(data: DataFolder, name: str) -> Template:
    return load_template(find_template(data.objects, name, shipped=data.body_model == "open"))


def _maps_of(template: Template, means: Means | None, where: str | Path) -> Means | None:
    """The mean occlusion maps, if they are of the template's vertices."""
    if means is not None and len(means["object"]) != len(template.vertices):
        got, want = len(means["object"]), f"{len(template.vertices)} of {template.category.name}"
        raise InputError(f"{where}: mean occlusion maps of an object of {got} vertices, want {want}")
    return means


def _origin(prior: "Prior", weights: str | None) -> str:
    """Where the encoder's weights are from; what is written of it names a folder, not its place."""
    prior.config = replace(prior.config, encoder=_told(prior.config.encoder))
    origin: str = prior.encoder.origin
    return origin.replace(weights, Path(weights).name) if weights else origin


def _plain(options: "TrainOptions", preset: str) -> dict[str, Any]:
    """The options as plain data, without the place of a folder."""
    told = asdict(replace(options, encoder=_told(options.encoder)))
    return {**json.loads(json.dumps(told)), "preset": preset}


def _told(encoder: "EncoderConfig") -> "EncoderConfig":
    """An encoder's configuration with the name of a folder of weights instead of its place."""
    weights = encoder.weights
    return replace(encoder, weights=Path(weights).name) if weights and Path(weights).is_dir() else encoder


def _asked(data: DataFolder, name: str, options: "TrainOptions", preset: str) -> dict[str, Any]:
    """What a finished training must agree in."""
    facts = {"object": name, "data": data.name, "revision": data.revision_of("train")}
    return {**facts, **_plain(options, preset)}


def _finished(out: Path, name: str, *, resume: bool, asked: Mapping[str, Any]) -> Trained:
    """What a finished training says of itself."""
    from baselines.prior_files import CONFIG
    from baselines.training.diary import STATE
    from wildhoi.files import read_json

    shutil.rmtree(out / STATE, ignore_errors=True)  # left where a training was broken off at its very end
    if not resume:
        raise InputError(f"{out}: holds a finished training; choose another folder, or --resume to keep it")
    content = read_json(out / CONFIG)
    data = content["data"]
    held = {"object": content["prior"]["object"], "data": data["name"], "revision": data["revision"]}
    held |= content["training"]
    other = [f"{key} is {held.get(key)} there and {asked[key]} now" for key in asked if held.get(key) != asked[key]]
    if other:
        raise InputError(f"{out}: holds another finished training: {'; '.join(other)[:300]}; choose another folder")
    warnings = tuple(content.get("data", {}).get("groups", {}).get("warnings", ()))
    return Trained(
        name,
        int(content["epochs"]),
        int(content["best_epoch"]),
        float(content["held_out"]),
        int(content["data"]["images"]),
        str(out),
        warnings,
    )
