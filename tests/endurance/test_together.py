"""Two processes that want to write into the same folder: one does, the other is refused in a clear line."""

import time
from functools import partial

import pytest
from endurance.child import pause_at
from endurance.commands import COMMANDS, KILLS, LONG
from endurance.contents import contents, hidden
from endurance.starting import LONGEST, refusal, run, start

OVER = ("is a finished data folder", "exists and is not empty", "holds a finished training")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_process_is_refused_while_the_first_works(name, inputs, whole, tmp_path):
    command, left_alone, out, gate = COMMANDS[name], whole(name), tmp_path / "out", tmp_path / "gate"
    first = start(command.line(inputs, out), out, partial(pause_at, left_alone.ended.changes // 2, gate))
    wait_for(gate.with_name("paused"))
    second = run(command.line(inputs, out), out)
    assert second.code == 1
    assert str(out) in refusal(second) and "wait for it or choose another" in refusal(second)
    gate.touch()
    ended = first.end()
    assert ended.code == 0, ended.said
    assert hidden(out) == set()
    assert contents(out) == left_alone.contents


@pytest.mark.parametrize("number", range(KILLS // 3))
@pytest.mark.parametrize("name", COMMANDS if LONG else ["run"])
def test_of_two_processes_that_start_at_once_one_does_the_work(name, number, inputs, whole, tmp_path):
    command, left_alone, out = COMMANDS[name], whole(name), tmp_path / "out"
    started = [start(command.line(inputs, out), out) for _ in range(2)]
    ended = sorted((each.end() for each in started), key=lambda each: each.code)
    assert ended[0].code == 0, ended
    if ended[1].code:  # it is not, where it came when the other was done
        said = refusal(ended[1])
        assert "wait for it or choose another" in said or any(words in said for words in OVER)
    assert hidden(out) == set()
    assert contents(out) == left_alone.contents


def wait_for(path):
    deadline = time.monotonic() + LONGEST
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)  # until the other process is there; the deadline bounds it
    assert path.exists()
