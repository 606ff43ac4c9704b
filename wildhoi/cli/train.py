"""`wildhoi train flow-prior`: the prior of one object or of several, one after the other."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wildhoi.cli.run import Settings, parse_settings
from wildhoi.cli.shared import Json, Progress, names, say, show_json
from wildhoi.errors import InputError
from wildhoi.objects import find_category

if TYPE_CHECKING:
    from wildhoi.training import Trained

Method = Annotated[Literal["flow-prior"], typer.Argument(help="What is trained.")]
Dataset = Annotated[str, typer.Option("--dataset", "--data", help="A data folder or the name of a data set.")]
Things = Annotated[str, typer.Option("--object", "--objects", help="One object, or several separated by commas.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="The folder of the priors: each goes to OUT/OBJECT.")]
Preset = Annotated[
    Literal["paper", "released", "small"], typer.Option(help="small: for a CPU; paper, released: for a GPU.")
]
Grouping = Annotated[
    Literal["knn", "gt", "none"] | None, typer.Option(help="Nearest neighbours, a scene's true views, or none.")
]
Supervision = Annotated[Literal["2d", "3d"] | None, typer.Option(help="3d: annotated keypoints in space.")]
K = Annotated[int | None, typer.Option("--k", min=1, help="Neighbours of an image.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Times that all images are gone through.")]
Condition = Annotated[
    str | None, typer.Option(help="The image's encoder: none, small, resnet50 or another name of transformers.")
]
Weights = Annotated[str | None, typer.Option(help="Of a backbone: a folder, or a repository of the Hub.")]
Contact = Annotated[
    Path | None, typer.Option(help="Mean occlusion maps of `wildhoi occlusion`; default from the images.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[
    Literal["float32", "bf16", "fp16"] | None, typer.Option(help="Of the encoder; the flow is float32.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what the folder holds.")]


def train(
    method: Method,
    dataset: Dataset,
    things: Things,
    out: Out,
    preset: Preset = "small",
    grouping: Grouping = None,
    supervision: Supervision = None,
    k: K = None,
    epochs: Epochs = None,
    condition: Condition = None,
    weights: Weights = None,
    contact: Contact = None,
    device: Device = "auto",
    precision: Precision = None,
    seed: Seed = 0,
    settings: Settings = None,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Train the flow prior on a data set's training images; docs/flow_prior.md has what --set takes, and many GPUs."""
    how = {"grouping": grouping, "supervision": supervision, "k": k, "epochs": epochs, "condition": condition}
    more = {"weights": weights, "contact": contact, "precision": precision, "seed": seed}
    options: dict[str, Any] = {name: value for name, value in (how | more).items() if value is not None}
    options |= parse_settings(settings or [])
    wanted = list(dict.fromkeys(names(things)))
    if not wanted:
        raise InputError("--object: names no object")
    for name in wanted:
        find_category(name)
    done = _train_all(dataset, wanted, out, options, preset=preset, device=device, resume=resume)
    if os.environ.get("RANK", "0") != "0":  # of the processes of a launcher the first one speaks
        return
    if as_json:
        return show_json([entry.to_dict() for entry in done])
    for entry in done:
        _say_trained(entry)
    words = ["--checkpoint", str(out), "--dataset", dataset, "--objects", ",".join(wanted)]
    say(f"Next: wildhoi run flow-prior {shlex.join(words)} -o RUN")


def _train_all(
    dataset: str, wanted: Sequence[str], out: Path, options: dict[str, Any], *, preset: str, device: str, resume: bool
) -> "list[Trained]":
    from wildhoi.dataset import find_data
    from wildhoi.training import train_flow_prior

    folder, done = find_data(dataset), []
    with Progress() as progress:
        for name in wanted:
            tell = lambda what, *numbers, name=name: progress(f"{name}: {what}", *numbers)  # noqa: E731 - one line
            done.append(
                train_flow_prior(
                    folder, name, out / name, options, preset=preset, device=device, resume=resume, progress=tell
                )
            )
    return done


def _say_trained(entry: "Trained") -> None:
    for warning in entry.warnings:
        say(f"warning: {entry.object}: {warning}")
    say(
        f"{entry.object}: {entry.epochs} epochs over {entry.images:,} images, best held-out log-density "
        f"{entry.held_out:.3f} nats per dimension at epoch {entry.best_epoch}"
    )
