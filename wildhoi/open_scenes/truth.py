"""The open set's truth without its pictures, of the solved test scenes that ship: all that scores are made from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from wildhoi.dataset.folder import DataFolder, find_data, open_folder
from wildhoi.errors import MissingAssetError

NAME = "open"


def write_open_truth(out: Path) -> DataFolder:
    """Write truth and templates of the published test split as a data folder, in a second or two.

    Its `revision_of("test")` is that of a folder that `wildhoi data make open` made with pictures and training images.

    Raises:
        InputError: `out` holds something else.
    """
    from wildhoi.convert.pipeline import run_conversion
    from wildhoi.open_scenes.plan import Request, plan_open  # torch, only for those without a folder

    whole = plan_open(Request(train=0, layouts=0), out)
    truth = [part for part in whole.parts if part.kind == "annotations"]
    run_conversion(replace(whole, parts=truth, groundwork=None), out)
    return open_folder(out)


@contextmanager
def truth_of(name: str | Path) -> Iterator[DataFolder]:
    """A data set to score against: its folder; for the open set, where there is none, its truth written for the while.

    Args:
        name: of a data set, or a data folder.

    Raises:
        MissingAssetError: the data set is not at hand, and its truth does not ship.
        InputError: the folder is no data folder, or not a finished one.
    """
    try:
        found = find_data(name)
    except MissingAssetError:
        if str(name) != NAME:
            raise
        found = None
    if found is not None:
        yield found
        return
    with TemporaryDirectory(prefix="wildhoi-open-") as folder:
        yield write_open_truth(Path(folder) / NAME)
