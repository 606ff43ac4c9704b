"""`wildhoi show`: one fit of a submission as a picture, and as a film of its optimisation."""

from pathlib import Path
from typing import Annotated

import typer

from wildhoi.cli.shared import Data, Json, Progress, say, show_json
from wildhoi.errors import printable
from wildhoi.schema import BodyKind


def show(
    run: Annotated[Path, typer.Argument(help="A submission: a folder with submission.yaml and predictions.parquet.")],
    image_id: Annotated[str, typer.Argument(help="The image, as in the column image_id.")],
    data: Data = None,
    truth: Annotated[bool, typer.Option("--truth", help="Draw the truth below and say the errors.")] = False,
    video: Annotated[
        Path | None, typer.Option(help="Run the method again on the image and film it: a .gif or .mp4.")
    ] = None,
    body: Annotated[BodyKind | None, typer.Option(help="Body model to draw; default the submission's.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The picture; default IMAGE_ID.png.")] = None,
    as_json: Json = False,
) -> None:
    """Draw a fit: the input, the meshes over it and from the front, the side and above at one scale."""
    from wildhoi.showing import FILMS, film_fit, require_file, show_fit

    path = out or Path(f"{image_id.replace('/', '_')}.png")
    if video is not None:
        require_file(video, FILMS)
    drawn = show_fit(run, image_id, path, data=data, truth=truth, body=body)
    if not as_json:
        say(f"wrote {path}" + (f": a failure, {printable(drawn.failure)}" if drawn.failure is not None else ""))
    if video is None:
        return show_json(drawn.to_dict()) if as_json else None
    with Progress() as progress:
        told = lambda done, total: progress("running again", done, total)  # noqa: E731 - a name for the line below
        film = film_fit(run, image_id, video, data=data, body=body, progress=told)
    if as_json:
        return show_json(drawn.to_dict() | {"film": film.to_dict()})
    say(f"wrote {video}: {film.frames} frames of {film.steps:,} steps")
    if film.elsewhere:
        where = "its row is a failure" if film.apart is None else f"it is {100 * film.apart:,.1f} cm away"
        say(f"warning: run again on this image alone, the method ends elsewhere than in the submission: {where}")
