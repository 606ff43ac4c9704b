"""Draw the demo's picture for the documentation: `python -m tools.render_comparison`."""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.render_fit import DOCS, shrink
from wildhoi.workflows import compare


def main() -> None:
    """Run the methods of the demo and draw what they made of its images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DOCS)
    picture: Path = parser.parse_args().out / "demo.png"
    with TemporaryDirectory() as work:
        compare(Path(work), picture=picture)
    shrink(picture)
    sys.stdout.write(f"{picture}: {picture.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
