import sys

import pytest


@pytest.fixture
def say(capsys):
    """Prints a figure although the test passes."""

    def write(text):
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return write
