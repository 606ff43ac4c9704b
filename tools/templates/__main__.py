"""Write the shipped templates: `python -m tools.templates [--out wildhoi/assets/objects] [NAME ...]`."""

import argparse
import sys
from pathlib import Path

from tools.templates import BUILDERS
from tools.templates.template import assemble, write

SHIPPED = Path(__file__).parents[2] / "wildhoi" / "assets" / "objects"


def main() -> None:
    """Build and write each template, and say how large it came out."""
    parser = argparse.ArgumentParser(prog="python -m tools.templates", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"objects to build, all by default: {', '.join(BUILDERS)}"
    )
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder that gets one folder per object")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(BUILDERS))
    if unknown:
        parser.error(f"no builder for {', '.join(unknown)}; there are {', '.join(BUILDERS)}")
    for name in arguments.names or BUILDERS:
        template = assemble(BUILDERS[name]())
        write(template, arguments.out / name)
        for stem, (vertices, faces) in template.meshes.items():
            sys.stdout.write(f"{name}/{stem}.ply: {len(vertices)} vertices, {len(faces)} faces\n")


if __name__ == "__main__":
    main()
