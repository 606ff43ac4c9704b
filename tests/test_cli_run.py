"""`wildhoi run` and `wildhoi methods` as a user types them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from command import run as command_run
from run_methods import Toy, make_runnable, plain_samples

from wildhoi.cli.run import parse_settings, parse_shard, parse_value
from wildhoi.errors import InputError
from wildhoi.method import Moment, Option
from wildhoi.schema import Failure
from wildhoi.submission.folder import read_submission


@pytest.fixture()
def command(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WILDHOI_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    return lambda *words: command_run(monkeypatch, capfd, *words)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_runnable(tmp_path_factory.mktemp("data"), plain_samples({"tennis": 5, "cello": 3})).path


@pytest.fixture()
def toy(monkeypatch):
    """Put a behaviour in place of the installed methods."""

    def install(behave=None):
        monkeypatch.setattr("wildhoi.method.load_method", lambda name, settings: Toy(behave, name, **settings))

    return install


SAMPLE = ("run", "isolation", "--dataset", "open-sample")


def test_a_run_its_result_as_json_and_its_score(command):
    outcome = command(*SAMPLE, "--objects", "tennis,cello", "--limit", "2", "-o", "out", "--json")
    assert outcome.code == 0 and not outcome.err, outcome
    assert json.loads(outcome.out) == {"written": "out", "reconstructions": 4, "failures": 0, "reasons": {}}
    assert command("submission", "validate", "out", "--data", "open-sample").code == 0
    assert len(read_submission(Path("out")).rows) == 4


def test_failures_are_said_with_their_most_frequent_reasons(command, data, toy):
    def behave(self, samples, setup):
        setup.watch(Moment(3, 5, {"[red]": 1.0}, list))
        return [Failure(s.image_id, "no [bold] luck\x1b" if "tennis" in s.image_id else s.image_id) for s in samples]

    toy(behave)
    outcome = command("run", "toy", "--dataset", data, "-o", "out")
    assert outcome.code == 1, "no image at all was reconstructed"
    lines = outcome.err.splitlines()
    assert lines[0] == "wrote out: 0 reconstructions, 8 failures" and lines[1] == "  5 x no [bold] luck "
    assert (
        all(f"  1 x cello-00{i}" in lines for i in range(3))
        and lines[-1] == f"Next: wildhoi evaluate out --data {data}"
    )


def test_settings_reach_the_method_and_the_manifest(command, data, toy):
    toy()
    words = ("--set", "lr=0.02", "--set", "steps=1000,300", "--set", "term=off", "--set", "fast=true", "--seed", "4")
    assert command("run", "toy", "--dataset", data, "-o", "out", *words).code == 0
    settings = read_submission(Path("out")).manifest.settings
    wanted = {
        "lr": 0.02,
        "steps": [1000, 300],
        "term": "off",
        "fast": True,
        "seed": 4,
        "batch": 64,
        "renderer": "torch",
    }
    assert settings == wanted


def test_shards_say_what_comes_next(command):
    for i in (1, 2):
        outcome = command(*SAMPLE, "--objects", "tennis", "--shard", f"{i}/2", "-o", f"part{i}")
        assert outcome.code == 0 and "wildhoi submission merge part" in outcome.err and "evaluate" not in outcome.err
    assert command("submission", "merge", "part1", "part2", "-o", "whole").code == 0
    assert len(read_submission(Path("whole")).rows) == 3


def test_a_second_start_needs_resume_and_ctrl_c_says_so(command, data, toy):
    def stop(self, samples, setup):
        raise KeyboardInterrupt

    toy(stop)
    outcome = command("run", "toy", "--dataset", data, "-o", "out")
    assert outcome.code == 130 and "--resume" in outcome.err
    toy()
    outcome = command("run", "toy", "--dataset", data, "-o", "out")
    assert outcome.code == 2 and "--resume" in outcome.first
    assert command("run", "toy", "--dataset", data, "-o", "out", "--resume").code == 0


def test_a_method_that_fails_is_one_line(command, data, toy):
    def fail(self, samples, setup):
        raise ZeroDivisionError("division\nby zero")

    toy(fail)
    outcome = command("run", "toy", "--dataset", data, "-o", "out")
    assert outcome.code == 1 and len(outcome.err.splitlines()) == 1
    assert (
        "method toy, batch cello-neutral-000" in outcome.first
        and "ZeroDivisionError: division by zero" in outcome.first
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nothing", "--dataset", "open-sample"), 2, "isolation"),
        (("isolation", "--dataset", "nowhere"), 3, "nowhere"),
        (("isolation", "--dataset", "open-sample", "--objects", "spoon"), 2, "spoon"),
        (("isolation", "--dataset", "open-sample", "--objects", ","), 2, "names nothing"),
        (("isolation", "--dataset", "open-sample", "--shard", "3/2"), 2, "--shard 3/2"),
        (("isolation", "--dataset", "open-sample", "--shard", "half"), 2, "--shard half"),
        (("isolation", "--dataset", "open-sample", "--shard", "9/9"), 2, "no image is left"),
        (("isolation", "--dataset", "open-sample", "--set", "lr=1"), 2, "has no setting 'lr'"),
        (("isolation", "--dataset", "open-sample", "--set", "lr"), 2, "NAME=VALUE"),
        (("isolation", "--dataset", "open-sample", "--device", "cuda:77"), 2, "cuda:77"),
        (("isolation", "--dataset", "open-sample", "--device", "abacus"), 2, "abacus"),
        (("isolation", "--dataset", "open-sample", "--seed", "99999999999"), 2, "--seed"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line_and_leaves_nothing(command, words, code, said):
    outcome = command("run", *words, "-o", "out")
    assert outcome.code == code and outcome.first.startswith("error: ") and said in outcome.first, outcome
    assert len(outcome.err.splitlines()) == 1 and not Path("out").exists()


def test_a_place_that_cannot_be_written_is_refused(command):
    Path("file").write_text("x")
    outcome = command(*SAMPLE, "-o", "file")
    assert outcome.code == 2 and "file" in outcome.first and Path("file").read_text() == "x"


def test_the_settings_of_a_method_without_any(command):
    outcome = command("methods", "info", "isolation")
    assert outcome.code == 0 and "no settings" in outcome.out and "object_pose" in outcome.out
    assert json.loads(command("methods", "info", "isolation", "--json").out)["options"] == {}
    assert command("methods", "info", "nothing").code == 2


def test_defaults_are_shown_as_they_are_typed(command, monkeypatch):
    defaults = {"steps": (4000, 1000), "lr": 0.05, "fast": False, "limit": None, "mode": "free"}
    method = Toy()
    method.info = replace(method.info, options={name: Option(value, "") for name, value in defaults.items()})
    monkeypatch.setattr("wildhoi.method.load_method", lambda name: method)
    lines = [line.split() for line in command("methods", "info", "toy").out.splitlines()]
    shown = {words[0]: words[1] for words in lines if words and words[0] in defaults}
    assert {name: parse_value(text) for name, text in shown.items()} == {**defaults, "steps": [4000, 1000]}
    assert shown["fast"] == "false"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.02", 0.02), ("1e-3", 1e-3), (".5", 0.5), ("5.", 5.0), ("-7", -7), ("+7", 7), ("007", 7), ("true", True),
        ("False", False), ("null", None), ("NULL", None), ("", ""), ("off", "off"), ("a b", "a b"), ("1.2.3", "1.2.3"),
        ("nan", "nan"), ("inf", "inf"), ("1_000", "1_000"), ("0x10", "0x10"), ("1000,300", [1000, 300]),
        ("[1000]", [1000]),
        ("5,", [5]), ("[]", []), ("[0.5, x, true]", [0.5, "x", True]), ("12345678901234567890", 12345678901234567890.0),
    ],
)  # fmt: skip
def test_values_are_read_as_typed(text, value):
    found = parse_value(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("words", [["x"], ["=1"], [""], ["a=1", "a=2"], ["a=1e999"]])
def test_settings_that_are_none_are_refused(words):
    with pytest.raises(InputError, match="--set"):
        parse_settings(words)


def test_a_setting_may_hold_an_equals_sign():
    assert parse_settings(["a=b=c", " x = 1 "]) == {"a": "b=c", "x": 1}


@pytest.mark.parametrize("text", ["", "1", "1/", "/2", "a/b", "1/2/3", "-1/2", "1.5/2"])
def test_shards_that_are_none_are_refused(text):
    with pytest.raises(InputError, match="want i/n"):
        parse_shard(text)
    assert parse_shard(" 2/3 ") == (2, 3)
