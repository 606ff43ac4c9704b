"""What the commands read, and an undisturbed run of each to compare with."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from endurance.commands import COMMANDS, LONGER, Inputs
from endurance.contents import contents, hidden
from endurance.places import used
from endurance.starting import Ended, run
from training_sets import THING, write_made, write_means

from submissions import unchecked

EVERY = COMMANDS | LONGER
TRIMMED = Path(__file__).parents[1] / "data" / "fixtures" / "wildhoi_raw"


@dataclass(frozen=True)
class Whole:
    """What an undisturbed start left, and how it went; bytes on the disk, and of the largest file."""

    ended: Ended
    contents: dict
    bytes: int
    largest: int


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    place = tmp_path_factory.mktemp("inputs")
    shutil.copytree(TRIMMED, place / "raw")
    split = json.loads((place / "raw" / "train_test_split.json").read_text())
    (place / "raw" / "train_test_split.json").chmod(0o644)
    (place / "raw" / "train_test_split.json").write_text(json.dumps({"skateboard": split["skateboard"]}))
    with unchecked():
        write_made(place / "train", (THING,), 12)
        write_means(place / "means.npz", THING)
    found = Inputs(place)
    for name, out in (("make", found.data), ("run", found.submission)):
        ended = run(COMMANDS[name].line(found, out), out)
        assert ended.code == 0, ended.said
    return found


@pytest.fixture(scope="session")
def whole(inputs, tmp_path_factory):
    """The undisturbed run of a command by name; each is done once."""
    place, found = tmp_path_factory.mktemp("whole"), {}

    def undisturbed(name):
        if name not in found:
            out = place / name
            ended = run(EVERY[name].line(inputs, out), out)
            assert ended.code == 0, ended.said
            assert not hidden(out)
            largest = max(path.stat().st_size for path in out.rglob("*"))
            found[name] = Whole(ended, contents(out), used(out), largest)
        return found[name]

    return undisturbed
