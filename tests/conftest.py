import os

# before any library that asks: small work on many threads is slow where cores are shared
os.environ.setdefault("OMP_NUM_THREADS", "1")
# parallel test processes are given the width of some terminal: tables would break lines that tests look for
os.environ.pop("COLUMNS", None)

import gc
import json
import shutil
from pathlib import Path

import pytest

# modules and collected tests are millions of objects that live to the end: looked through again and again for nothing
gc.set_threshold(50_000, 20, 100)

TRIMMED = Path(__file__).parent / "data" / "fixtures"
DEFAULT = Path(__file__).parents[2] / "shared" / "fixtures"
LONG = {"endurance", "fuzz", "training", "test_open_tells", "test_site", "test_site_browser"}
FULL = Path(os.environ.get("WILDHOI_FIXTURES", DEFAULT))


def pytest_collection_modifyitems(items):
    """Begin with what takes long: a long file at the end would keep all processes but one waiting."""
    items.sort(key=lambda item: LONG.isdisjoint({item.path.stem, item.path.parent.name}))


def pytest_collection_finish():
    gc.freeze()


@pytest.fixture(scope="session")
def fixtures_dir():
    """The full fixtures where they are at hand, else the trimmed copy of the repository."""
    return FULL if FULL.is_dir() else TRIMMED


@pytest.fixture(scope="session")
def release_dir(tmp_path_factory):
    """A raw WildHOI release of whole objects: the fixtures' three, or the one that the trimmed copy has whole."""
    if FULL.is_dir():
        return FULL / "wildhoi_raw"
    root, source = tmp_path_factory.mktemp("release"), TRIMMED / "wildhoi_raw"
    split = json.loads((source / "train_test_split.json").read_text())
    whole = {name: videos for name, videos in split.items() if (source / name / "hoi_tracking").is_dir()}
    (root / "train_test_split.json").write_text(json.dumps(whole))
    for folder in ("data/objects", "data/contact"):
        shutil.copytree(source / folder, root / folder)
    for name in whole:
        shutil.copytree(source / name, root / name)
        shutil.copytree(source / "data/annotation_hoi" / name, root / "data/annotation_hoi" / name)
    return root


@pytest.fixture(scope="session")
def full_fixtures_dir():
    """The full fixtures; tests that need more than the trimmed copy are skipped, and counted, without them."""
    if not FULL.is_dir():
        pytest.skip(f"needs the full fixtures: {FULL} is absent (set WILDHOI_FIXTURES)")
    return FULL
