"""The demo: sample submissions scored, and methods side by side on the objects whose priors ship."""

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import run

import submissions
from evaluation.protocol import protocol_for
from wildhoi import workflows
from wildhoi.dataset import find_data, load_annotations, load_samples
from wildhoi.errors import MissingAssetError
from wildhoi.show import comparison
from wildhoi.submission.folder import read_submission

DATA = "open-sample"
METHODS = ["isolation", "phosa", "flow-prior"]
SAMPLES = {f"sample-noise-{name}" for name in ("small", "medium", "large")}


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    return lambda *words: run(monkeypatch, capfd, *words)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Scoring with few points, of one object where all were asked for; fits of a few steps."""
    from evaluation.evaluate import Options, evaluate

    def few(submission, data, protocol, options, tell):
        protocol = replace(protocol, points=200, surface_points=100)
        return evaluate(submission, data, protocol, Options(objects=options.objects or ("baseball",)), tell)

    monkeypatch.setattr("evaluation.evaluate.evaluate", few)
    monkeypatch.setattr(workflows, "STEPS", (3, 1))
    methods = workflows.compared_methods()
    methods["flow-prior"] |= {"search_steps": 2, "candidates": 1}
    monkeypatch.setattr(workflows, "compared_methods", lambda: methods)
    monkeypatch.setattr(comparison, "PANEL", 148)
    monkeypatch.setattr(comparison, "SIDE", 80)


@pytest.fixture
def one_prior(tmp_path, monkeypatch):
    """Priors of one object alone; gives its name."""
    name = sorted(path.name for path in (workflows.CHECKPOINTS / "small").iterdir())[-1]
    place = tmp_path / "priors" / "small" / name
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}")
    monkeypatch.setattr(workflows, "CHECKPOINTS", tmp_path / "priors")
    return name


@pytest.fixture
def without_packages(monkeypatch):
    monkeypatch.setattr(workflows, "PACKAGES", ("json", "a_package_of_nobody"))


def rows_of(folder):
    return {row.image_id: row for row in read_submission(folder).rows}


def test_methods_side_by_side(one_prior, tmp_path):
    told, out = [], tmp_path / "out"
    with submissions.unchecked():
        compared = workflows.compare(out, picture=out / "demo.png", progress=lambda *words: told.append(words))
    assert list(compared.scores) == list(compared.seconds) == METHODS
    assert compared.objects == (one_prior,) and compared.steps == (3, 1)
    assert compared.picture == str(out / "demo.png") and (out / "demo.png").stat().st_size > 10_000
    truths = {a.image_id for a in load_annotations(find_data(DATA), "test", [one_prior])}
    for name in METHODS:
        assert rows_of(out / name).keys() == truths
        scores = json.loads((out / name / "scores.json").read_text())
        assert scores == json.loads(json.dumps(compared.scores[name]))
        assert scores["overall"]["coverage"]["scored"] == len(truths) and list(scores["objects"]) == [one_prior]
        assert any(name in words[0] for words in told)
    for sample in load_samples(DATA, "test", [one_prior], streaming=True):
        places = [rows_of(out / name)[sample.image_id].object_pose.translation for name in METHODS]
        away = np.linalg.norm(places - sample.object_pose.translation, axis=1)
        assert away[0] < 1e-6 and (away[1:] > 1e-3).all(), "isolation is the estimates, the others move away"
    assert protocol_for(DATA).id == "open@1" == scores["protocol"]["id"]
    assert all(done <= total for _, done, total in told)


def poses(folder):
    """Where each method put the object of each image."""
    return {
        name: {image: row.object_pose.translation.tolist() for image, row in rows_of(folder / "methods" / name).items()}
        for name in METHODS
    }


def test_the_command_and_again_as_json(command, one_prior):
    outcome, kept = command("demo", "-o", "kept"), Path("kept")
    assert outcome.code == 0, outcome
    assert all(name in outcome.out for name in SAMPLES | {*METHODS})
    for words in ("Median (mean) over 3 images", one_prior, "4 long steps", "not a result", "wrote kept/demo.png"):
        assert words in outcome.err
    assert {path.parent.name for path in kept.glob("samples/*/scores.json")} == SAMPLES
    first = poses(kept)
    again = json.loads(command("demo", "-o", "kept", "--json").out)
    shown = json.loads(command("leaderboard", "show", "kept/samples", "--format", "json").out)
    assert again.keys() - shown.keys() == {"comparison", "no_comparison_because"} and shown.keys() <= again.keys()
    assert {name for name in SAMPLES if name in json.dumps(again)} == SAMPLES
    assert again["no_comparison_because"] is None and again["comparison"]["picture"] == "kept/demo.png"
    assert list(again["comparison"]["scores"]) == METHODS and poses(kept) == first


def test_without_packages_the_first_part_alone(command, without_packages):
    outcome = command("demo")
    assert outcome.code == 0 and all(name in outcome.out for name in SAMPLES)
    assert "phosa" not in outcome.out and "a_package_of_nobody; pip install 'wildhoi[baselines]'" in outcome.err
    printed = json.loads(command("demo", "--json").out)
    assert printed["comparison"] is None and "pip install" in printed["no_comparison_because"]
    with pytest.raises(MissingAssetError, match="not installed: a_package_of_nobody; pip install"):
        workflows.compare(Path())


def test_what_the_demo_cannot_do(command, tmp_path, monkeypatch):
    Path("file").write_text("")
    refused = command("demo", "-o", "file/kept")
    assert refused.code == 2 and "file/kept: cannot be written" in refused.first
    monkeypatch.setattr(workflows, "CHECKPOINTS", tmp_path)
    with pytest.raises(MissingAssetError, match="no prior ships"):
        workflows.compare(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_the_packages_that_are_looked_for_are_those_of_the_extra():
    extras = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    wanted = {
        re.match(r"[\w-]+", line)[0] for line in extras["optional-dependencies"]["baselines"] + extras["dependencies"]
    }
    assert set(workflows.PACKAGES) <= wanted
