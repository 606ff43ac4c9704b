"""`wildhoi body`: what is found, and clean copies of licensed files."""

from pathlib import Path
from typing import Annotated

import typer

from wildhoi.cli.shared import Json, say, show_json

app = typer.Typer(help="Body models: what is found, and clean copies of licensed files.", no_args_is_help=True)


@app.command("info")
def info(as_json: Json = False) -> None:
    """List the body models: found where, with which hash; or where to get them."""
    from wildhoi.doctor import body_models

    findings = body_models()
    if as_json:
        return show_json([finding.to_dict() for finding in findings])
    for finding in findings:
        say(f"{finding.what}: {finding.detail}" + (f"\n  {finding.mend}" if finding.mend else ""))


@app.command("convert")
def convert(
    source: Annotated[Path, typer.Argument(help="The published .pkl of SMPL-H or SMPL-X.")],
    out: Annotated[Path, typer.Argument(help="The .npz to write.")],
) -> None:
    """Turn a published body pickle into a plain .npz without executing anything in it."""
    from wildhoi.body import convert_body

    say(f"wrote {convert_body(source, out)}")
