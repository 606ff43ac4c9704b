"""Draw the documentation's contact sheets of the open set: `python -m tools.render_sheets`."""

from pathlib import Path
from tempfile import TemporaryDirectory

from wildhoi.convert.pipeline import run_conversion
from wildhoi.dataset import open_folder
from wildhoi.open_scenes.plan import Request, plan_open
from wildhoi.open_scenes.version import load_version
from wildhoi.workflows import show_sheet

OUT = Path(__file__).parents[1] / "docs" / "open"
IMAGES = 12
FROM = 48  # the first test images, of which the sheet shows some at even distances over the interactions


def main() -> None:
    """Make the first test images of every object and draw a sheet of each."""
    with TemporaryDirectory() as work:
        folder = Path(work) / "open"
        run_conversion(plan_open(Request(train=0, test=FROM), folder), folder, workers=2)
        OUT.mkdir(exist_ok=True)
        for name in load_version().objects:
            show_sheet(open_folder(folder), name, OUT / f"{name}.png", split="test", images=IMAGES)


if __name__ == "__main__":
    main()
