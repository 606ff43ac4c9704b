import os

# before any library that asks: small work on many threads is slow where cores are shared
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest

TRIMMED = Path(__file__).parent / "data" / "fixtures"
DEFAULT = Path(__file__).parents[2] / "shared" / "fixtures"
FULL = Path(os.environ.get("WILDHOI_FIXTURES", DEFAULT))


@pytest.fixture(scope="session")
def fixtures_dir():
    """The full fixtures where they are at hand, else the trimmed copy of the repository."""
    return FULL if FULL.is_dir() else TRIMMED


@pytest.fixture(scope="session")
def full_fixtures_dir():
    """The full fixtures; tests that need more than the trimmed copy are skipped, and counted, without them."""
    if not FULL.is_dir():
        pytest.skip(f"needs the full fixtures: {FULL} is absent (set WILDHOI_FIXTURES)")
    return FULL
