"""What a command says while it works, where there is no terminal to draw a bar on."""

import pytest

from wildhoi.cli import shared
from wildhoi.engine import Local


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, to be set."""
    now = [0.0]
    monkeypatch.setattr(shared, "monotonic", lambda: now[0])
    return now


def told(capsys):
    return capsys.readouterr().err.splitlines()


def test_a_line_every_half_minute_and_a_last_one(clock, capsys):
    engine = Local(2)
    engine.memory = 512 * 2**20
    with shared.Progress(engine) as progress:
        for clock[0], done in ((0.0, 100), (20.0, 140), (40.0, 180), (50.0, 200), (70.0, 240), (80.0, 300)):
            progress("scoring", done, 300)
        assert told(capsys) == [
            "scoring: 180 of 300, 2.0/s, 512 MiB a process",
            "scoring: 240 of 300, 2.0/s, 512 MiB a process",
        ]
    assert told(capsys) == ["scoring: 300 done in 80 s, 2.5/s, 512 MiB a process"]


def test_what_another_run_did_does_not_count_for_the_speed(clock, capsys):
    with shared.Progress() as progress:
        progress("images", 900, 1000)
        clock[0] = 60.0
        progress("images", 930, 1000)
    assert told(capsys) == ["images: 930 of 1,000, 30.0/min", "images: 930 done in 60 s, 30.0/min"]


def test_short_work_says_nothing(clock, capsys):
    with shared.Progress() as progress:
        for clock[0] in (0.0, 10.0, 20.0):
            progress("images", int(clock[0]), 20)
    assert told(capsys) == []


def test_work_that_failed_has_no_last_line(clock, capsys):
    with pytest.raises(KeyError), shared.Progress() as progress:
        progress("images", 0, 2)
        clock[0] = 29.0
        progress("images", 1, 2)
        clock[0] = 70.0
        raise KeyError
    assert told(capsys) == []
