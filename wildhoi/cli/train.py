"""`wildhoi train flow-prior`: the prior of one object or of several, one after the other."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from wildhoi.cli.run import Settings, parse_settings
from wildhoi.cli.shared import Json, Progress, names, say, show_json
from wildhoi.errors import InputError


def train(
    method: Annotated[Literal["flow-prior"], typer.Argument(help="What is trained.")],
    dataset: Annotated[str, typer.Option("--dataset", "--data", help="A data folder or the name of a data set.")],
    things: Annotated[str, typer.Option("--object", "--objects", help="One object, or several separated by commas.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder of the priors: each goes to OUT/OBJECT.")],
    preset: Annotated[
        Literal["paper", "released", "small"], typer.Option(help="small: for a CPU; paper, released: for a GPU.")
    ] = "small",
    grouping: Annotated[
        Literal["knn", "gt", "none"] | None, typer.Option(help="Nearest neighbours, a scene's true views, or none.")
    ] = None,
    supervision: Annotated[Literal["2d", "3d"] | None, typer.Option(help="3d: annotated keypoints in space.")] = None,
    k: Annotated[int | None, typer.Option(min=1, help="Neighbours of an image.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Times that all images are gone through.")] = None,
    condition: Annotated[
        str | None, typer.Option(help="The image's encoder: none, small, resnet50 or another name of transformers.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Of a backbone: a folder, or a repository of the Hub.")] = None,
    contact: Annotated[
        Path | None, typer.Option(help="Mean occlusion maps of `wildhoi occlusion`; default from the images.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[
        Literal["float32", "bf16", "fp16"] | None, typer.Option(help="Of the encoder; the flow is float32.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what the folder holds.")] = False,
    as_json: Json = False,
) -> None:
    """Train the flow prior on a data set's training images; see docs/flow_prior.md for --set and for many GPUs."""
    from wildhoi.dataset import find_data
    from wildhoi.training import train_flow_prior

    folder = find_data(dataset)
    wanted = names(things)
    if not wanted:
        raise InputError("--object: names no object")
    given: dict[str, Any] = {
        "grouping": grouping,
        "supervision": supervision,
        "k": k,
        "epochs": epochs,
        "condition": condition,
        "weights": weights,
        "precision": precision,
        "seed": seed,
        "contact": contact,
    }
    options = {name: value for name, value in given.items() if value is not None} | dict(parse_settings(settings or []))
    done = []
    with Progress() as progress:
        for name in wanted:
            done.append(
                train_flow_prior(
                    folder,
                    name,
                    out / name,
                    options,
                    preset=preset,
                    device=device,
                    resume=resume,
                    progress=lambda what, *numbers, name=name: progress(f"{name}: {what}", *numbers),
                )
            )
    if as_json:
        return show_json([entry.to_dict() for entry in done])
    for entry in done:
        for warning in entry.warnings:
            say(f"warning: {entry.object}: {warning}")
        say(
            f"{entry.object}: {entry.epochs} epochs over {entry.images:,} images, best held-out log-density "
            f"{entry.held_out:.3f} nats per dimension at epoch {entry.best_epoch}"
        )
    say(f"Next: wildhoi run flow-prior --checkpoint {out} --dataset {dataset} --objects {','.join(wanted)} -o RUN")
