"""`wildhoi occlusion`: the occlusion maps of a data set's images, and their mean."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from wildhoi.cli.shared import Json, Progress, say, show_json


def occlusion(
    data: Annotated[str, typer.Option("--dataset", "--data", help="A data folder or the name of a data set.")],
    thing: Annotated[str, typer.Option("--object", help="The object, such as data info lists them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")],
    split: Annotated[Literal["train", "test"], typer.Option(help="Of the samples.")] = "train",
    limit: Annotated[
        float, typer.Option("--view-distance", min=0.0, help="Images nearer to one before are left out of the mean.")
    ] = 0.1,
    images: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    as_json: Json = False,
) -> None:
    """Render which vertices of person and object overlap in each image, and average them over distinct views."""
    from wildhoi.dataset import find_data
    from wildhoi.files import require_writable
    from wildhoi.objects import find_category

    folder = find_data(data)
    find_category(thing)
    require_writable(out)
    # torch comes only after what can be refused without it
    from wildhoi.occlusion_maps import write_occlusion_maps

    with Progress() as progress:
        done = write_occlusion_maps(
            folder, thing, out, split=split, limit=limit, images=images,
            progress=lambda finished, total: progress("rendering", finished, total),
        )  # fmt: skip
    if as_json:
        return show_json(done.to_dict())
    for what, number in done.lacking.items():
        say(f"{number:,} images {what}")
    say(f"{done.object}: maps of {done.mapped:,} of {done.images:,} images, {done.kept:,} distinct views in the mean")
    say(f"wrote {done.maps} and {done.mean}")
