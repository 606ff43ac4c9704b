"""Draw the documentation's fit and its film: `python -m tools.render_fit --data data/open`."""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from wildhoi.dataset import find_data, find_sample
from wildhoi.errors import InputError
from wildhoi.method import Setup, load_method
from wildhoi.showing import film_fit, show_fit
from wildhoi.submission.folder import write_submission
from wildhoi.submission.manifest import Manifest

DOCS = Path(__file__).parents[1] / "docs"
METHOD, STEPS, IMAGE = "phosa", [240, 80], "bicycle-test-00040"
WIDTH, COLOURS, FRAMES = 1600, 256, 32
"""Of the page in pixels, of its palette, and of the film: small files."""


def shrink(path: Path) -> None:
    """Make a page small: fewer pixels and colours."""
    with Image.open(path) as page:
        whole = page.convert("RGB")
    size = (WIDTH, round(WIDTH / whole.width * whole.height))
    small = whole.resize(size, Image.Resampling.LANCZOS)
    # a palette that reaches every colour, also those of few pixels
    palette = small.quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
    small.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


def main() -> None:
    """Fit one test image of the open set in a few steps, draw it beside the truth and film it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="open", help="the open set: a folder or its name")
    parser.add_argument("--out", type=Path, default=DOCS)
    given = parser.parse_args()
    data = find_data(given.data)
    sample = find_sample(data, IMAGE)
    if sample is None:
        raise InputError(f"{data.path}: has no image {IMAGE}; want the open set with 41 test images or more")
    method = load_method(METHOD, {"steps": STEPS})
    rows = method.reconstruct([sample], Setup(data.body_model, data.objects))
    with TemporaryDirectory() as work:
        run = Path(work)
        manifest = Manifest(METHOD, data.name, body_model=data.body_model, settings={"steps": STEPS})
        write_submission(run, manifest, rows)
        show_fit(run, IMAGE, given.out / "fit.png", data=data.path, truth=True)
        shrink(given.out / "fit.png")
        film_fit(run, IMAGE, given.out / "fit.gif", data=data.path, frames=FRAMES)
    for name in ("fit.png", "fit.gif"):
        sys.stdout.write(f"{given.out / name}: {(given.out / name).stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
