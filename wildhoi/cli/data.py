"""`wildhoi data`: raw releases become data folders."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from wildhoi.cli.shared import Json, Objects, names, say, show, show_json

app = typer.Typer(help="Convert raw releases into data folders.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Convert raw releases into data folders."""


@app.command("convert")
def convert(
    release: Annotated[Literal["wildhoi"], typer.Argument(help="Which raw release.")],
    raw: Annotated[Path, typer.Argument(help="Its unpacked folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The data folder to write.")],
    only: Annotated[Literal["annotations"], typer.Option(help="What to convert: the test truth and the templates.")],
    data: Annotated[Path | None, typer.Option("--data", help="The release's data/ folder; default RAW/data.")] = None,
    objects: Objects = "",
    as_json: Json = False,
) -> None:
    """Convert a raw release into a data folder."""
    from wildhoi.convert.wildhoi_release import convert_annotations
    from wildhoi.files import require_writable

    require_writable(out)
    report = convert_annotations(raw, data or raw / "data", out, objects=names(objects) or None)
    if as_json:
        return show_json(report.to_dict())
    show(report.to_text())
    say(f"wrote {out}")
