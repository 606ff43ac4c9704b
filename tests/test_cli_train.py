"""`wildhoi train flow-prior`: what it prints, and how it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import run
from training_sets import SIDE, write_made, write_means

from baselines.prior_files import read_prior
from submissions import unchecked
from wildhoi.templates import find_template, load_template

HERE = Path(__file__).parent
TWO = ("skateboard", "basketball")
BOTH = ",".join(TWO)
QUICK = [
    "--epochs", 2, "--k", 3, "--device", "cpu", "--set", "batch=8", "--set", "draws=2", "--set", f"size={SIDE}",
    "--set", "context=4", "--set", "pictures_every=0",
]  # fmt: skip


@pytest.fixture(autouse=True)
def alone():
    """Every test is a process of its own to the library that spreads work."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data folder of two objects whose samples carry occlusion maps, as the open set's do."""
    folder = tmp_path_factory.mktemp("data")
    marks = np.zeros(10_475, bool)
    marks[:40] = True

    def maps(name):
        count = len(load_template(find_template(folder, name, shipped=True)).vertices)
        return {"human_occlusion": marks, "object_occlusion": np.arange(count) < 9}

    return write_made(folder / "made up", TWO, 20, change_of=maps)


@pytest.fixture()
def command(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WILDHOI_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    return lambda *words: run(monkeypatch, capfd, *words)


def train(command, made, *words, things=BOTH, out="priors"):
    return command("train", "flow-prior", "--dataset", made.path, "--object", things, *QUICK, "-o", out, *words)


def refused(outcome, code, *words):
    assert outcome.code == code, outcome
    assert outcome.first.startswith("error: ") and all(word in outcome.first for word in words), outcome.first
    assert "Traceback" not in outcome.err and "defect" not in outcome.err and not outcome.out


def test_priors_of_several_objects(command, made):
    outcome = train(command, made)
    assert outcome.code == 0 and not outcome.out, outcome
    *lines, last = [line for line in outcome.err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 2
    for name, line in zip(TWO, lines, strict=True):
        assert line.startswith(f"{name}: 2 epochs over 20 images, best held-out log-density ")
        assert "nats per dimension at epoch" in line
        with unchecked():
            of = load_template(find_template(made.objects, name, shipped=True))
            found = [read_prior(place, of) for place in (Path("priors"), Path("priors") / name)]
        assert found[0].facts == found[1].facts and found[0].prior.config.object == name
        assert found[0].contact["human"][:40].min() > 0 and found[0].contact["human"][40:].max() == 0
        assert len(found[0].contact["object"]) == len(of.vertices)
    assert last.startswith("Next: wildhoi run flow-prior --checkpoint priors ") and ",".join(TWO) in last
    refused(train(command, made), 2, TWO[0], "finished", "--resume")
    again = train(command, made, "--resume")
    assert again.code == 0 and again.err == outcome.err  # nothing is done twice


def test_the_next_command_can_be_typed(command, made):
    outcome = train(command, made, things=TWO[0])
    assert f"'{made.path}'" in outcome.err.splitlines()[-1]


def test_json(command, made):
    outcome = train(command, made, "--json", "--grouping", "gt")
    assert outcome.code == 0 and not outcome.err
    entries = json.loads(outcome.out)
    assert [entry["object"] for entry in entries] == [*TWO]
    for entry in entries:
        assert set(entry) == {"object", "epochs", "best_epoch", "held_out", "images", "folder", "warnings"}
        assert (entry["epochs"], entry["images"]) == (2, 20) and entry["best_epoch"] in (1, 2)
        config = json.loads((Path(entry["folder"]) / "config.json").read_text())
        assert config["held_out"] == entry["held_out"]
        assert config["training"]["grouping"] == "gt" and config["training"]["draws"] == 2


def test_what_is_asked_for_is_done(command, made):
    words = [
        "--preset", "released", "--condition", "none", "--grouping", "none", "--supervision", "3d", "--seed", 3,
        "--precision", "bf16", "--set", "held_out=0.3", "--set", "augment=false", "--set", "half=true",
        "--set", "noise=0.05",
    ]  # fmt: skip
    outcome = train(command, made, *words, things=TWO[0], out="deep/out")
    assert outcome.code == 0, outcome
    config = json.loads(Path("deep/out", TWO[0], "config.json").read_text())
    training = config["training"]
    assert [training[name] for name in ("preset", "grouping", "supervision", "seed", "precision")] == [
        "released", "none", "3d", 3, "bf16",
    ]  # fmt: skip
    assert (training["held_out"], training["augment"], training["half"], training["noise"]) == (0.3, False, True, 0.05)
    assert training["encoder"]["name"] == "none" and config["prior"]["supervision"] == "3d"


BAD = {
    "object": (["--object", "nothing"], 2, ["nothing", "skateboard"]),
    "absent": (["--object", "barbell"], 2, ["barbell"]),
    "no object": (["--object", ","], 2, ["names nothing"]),
    "setting": (["--set", "depht=3"], 2, ["depht"]),
    "value": (["--set", "lr=fast"], 2, ["lr"]),
    "negative": (["--set", "noise=-1"], 2, ["noise"]),
    "k": (["--k", "20"], 2, ["20", "k"]),
    "device": (["--device", "tpu"], 2, ["tpu", "cpu"]),
    "space": (["--supervision", "3d"], 2, ["--grouping none"]),
    "data": (["--dataset", "absent"], 3, ["absent"]),
    "weights": (["--condition", "resnet50", "--weights", "absent"], 3, ["absent"]),
    "backbone": (["--condition", "resnet5"], 2, ["resnet5"]),
    "contact": (["--contact", "absent.npz"], 3, ["absent.npz", "wildhoi occlusion"]),
    "fp16": (["--precision", "fp16"], 2, ["fp16", "bf16"]),
    "held out": (["--set", "held_out=0.99"], 2, ["held_out"]),
    "rate": (["--set", "lr=1e9", "--set", "clip=0", "--epochs", "30"], 1, ["finite", "lr"]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_done_is_one_line(command, made, name):
    words, code, told = BAD[name]
    refused(train(command, made, *words, things=TWO[0]), code, *told)


def test_words_of_the_parser(command, made):
    for words in (["--preset", "huge"], ["--grouping", "best"], ["--epochs", "0"], ["--seed", "-1"], ["--k", "0"]):
        outcome = train(command, made, *words)
        assert outcome.code == 2 and words[0] in outcome.err and not Path("priors").exists()
    assert command("train", "other", "--dataset", made.path, "--object", "x", "-o", "out").code == 2


def test_a_mistake_leaves_the_folder_such_that_the_corrected_command_works(command, made):
    means = write_means(Path.cwd() / "means.npz", TWO[0])
    refused(train(command, made, "--contact", "absent.npz", things=TWO[0]), 3, "absent.npz")
    assert train(command, made, "--contact", means, things=TWO[0]).code == 0


def test_objects_are_looked_at_before_the_first_is_trained(command, made):
    refused(train(command, made, things=f"{TWO[0]},nothing"), 2, "nothing")
    assert not Path("priors").exists()


def test_an_object_named_twice_is_trained_once(command, made):
    outcome = train(command, made, "--json", things=f"{TWO[0]},{TWO[0]}")
    assert outcome.code == 0 and len(json.loads(outcome.out)) == 1


def test_two_processes_speak_once(made, tmp_path):
    words = ["train", "flow-prior", "--dataset", made.path, "--object", ",".join(TWO), *QUICK, "-o", "out", "--json"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "wildhoi"]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, *map(str, words)], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    entries = json.loads(done.stdout)
    assert [entry["object"] for entry in entries] == [*TWO]
    for name in TWO:
        folder = tmp_path / "out" / name
        assert json.loads((folder / "config.json").read_text())["environment"]["processes"] == 2
        assert [json.loads(line)["epoch"] for line in (folder / "train.jsonl").read_text().splitlines()] == [1, 2]
