"""Work that is ended without warning at random moments, and started again: it ends in the same files."""

import random
import shutil

import pytest
from endurance.child import spawn_workers
from endurance.commands import COMMANDS, KILLS, LONG, LONGER
from endurance.contents import contents, hidden
from endurance.starting import run, run_killed, run_killed_at

from wildhoi.engine.folder import LEDGER, PARTIAL
from wildhoi.files import UNFINISHED

CHOSEN = COMMANDS | LONGER if LONG else COMMANDS
STARTING = 4.0
"""Seconds in which workers may be importing what they need."""


def drawn(name, number):
    """Random numbers of a test, the same every time."""
    return random.Random(f"{name} {number}")


def share(name, number):
    """A number in 0 to 1, one from each of as many equal parts as there are kills, so that nothing is left out."""
    return (number + drawn(name, number).random()) / KILLS


@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("name", CHOSEN)
def test_a_command_killed_at_random_moments_ends_in_the_same_files(name, number, inputs, whole, tmp_path):
    command, left_alone, out = CHOSEN[name], whole(name), tmp_path / "out"
    random_numbers = drawn(f"{name} again", number)
    workers = 1 + number % 2 if command.workers else 1
    # real workers import everything anew: the long tests alone have the time
    spawned = [spawn_workers] if LONG and workers > 1 and number % 4 == 1 else []
    seconds = share(name, number) * (left_alone.ended.seconds + STARTING * len(spawned))
    while not run_killed(
        command.line(inputs, out, workers), out, seconds, *spawned, group=random_numbers.random() < 0.5
    ).killed:  # it was faster than the one left alone
        shutil.rmtree(out)
        seconds /= 2
    assert_nothing_is_claimed(command, out, left_alone)
    again = command.line(inputs, out, workers, again=True)
    run_killed_at(again, out, 1 + int(random_numbers.random() * left_alone.ended.changes))  # if there are as many
    assert_nothing_is_claimed(command, out, left_alone)
    if not command.finished(out):
        plant_halves(out)
    assert_goes_on(command, inputs, out, left_alone, workers)


@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("name", CHOSEN if LONG else ["run"])
def test_a_command_killed_at_a_change_of_a_file_ends_in_the_same_files(name, number, inputs, whole, tmp_path):
    command, left_alone, out = CHOSEN[name], whole(name), tmp_path / "out"
    change = 1 + int(share(f"{name} changes", number) * left_alone.ended.changes)
    ended = run_killed_at(command.line(inputs, out), out, change)
    assert ended.killed, ended.said
    assert_nothing_is_claimed(command, out, left_alone)
    assert_goes_on(command, inputs, out, left_alone)


def plant_halves(out):
    """Put half of a file beside every file that is there, as a writer that is killed leaves it."""
    for path in [path for path in out.rglob("*") if path.is_file()]:
        half = path.with_name(f".{path.name}.planted{UNFINISHED}")
        half.mkdir()
        (half / path.name).write_text("half")
    for folder in {path.parent for path in out.rglob(LEDGER)}:
        (folder / f"{PARTIAL}planted").mkdir()
        for path in folder.glob("[!.]*"):
            (folder / f"{PARTIAL}planted" / path.name).write_text("half")


def assert_nothing_is_claimed(command, out, left_alone):
    """What says that it is whole is whole."""
    if command.finished(out):
        found = contents(out)
        assert {name: found.get(name) for name in left_alone.contents} == left_alone.contents


def assert_goes_on(command, inputs, out, left_alone, workers=1):
    """A further start ends as one that was left alone; nothing finished is done again, and nothing half is left."""
    finished = {path: path.stat().st_ino for path in out.glob("state/[!.]*-*")}
    over = command.finished(out)
    ended = run(command.line(inputs, out, workers, again=True), out)
    # a conversion that was over but for its sweeping says so
    assert ended.code == 0 or (over and "is a finished data folder" in ended.said), ended.said
    assert "Traceback" not in ended.said
    assert hidden(out) == set()
    assert contents(out) == left_alone.contents
    assert finished == {path: path.stat().st_ino for path in finished}
