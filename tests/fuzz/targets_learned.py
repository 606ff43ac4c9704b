# ruff: noqa: E501 - tables of short things
"""What is learned and kept: groups, occlusion maps, priors, the state of a training and of a fit."""

import hashlib
import json
import shutil
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from tiny_priors import BLIND, template, tiny_prior, write_prior

from baselines.checkpoint import Checkpoint
from baselines.grouping import stored
from baselines.grouping.groups import Groups, GroupSettings
from baselines.prior_files import facts_of, read_prior, read_tensors
from baselines.training.diary import Diary, is_finished
from fuzz import seeds
from fuzz.containers import known
from fuzz.target import Target
from wildhoi.mean_maps import read_mean_maps

THING = "skateboard"


def groups():
    found = Groups(
        THING, ("a", "b", "c"), np.array([[1, 2], [0, 2], [0, -1]]),
        np.array([[0.1, 0.2], [0.1, 0.3], [0.2, np.inf]], np.float32), GroupSettings(k=2), {"data": "open"},
    )  # fmt: skip
    data = seeds.written(stored.write_groups, found)
    with np.load(BytesIO(data)) as arrays:
        return [known(data, dict(arrays)), *seeds.npz_seeds(dict(arrays))]


def parse_groups(path, out):
    return stored.read_groups(path).weights()


def maps():
    return seeds.npz_seeds(
        {"human": np.linspace(0, 1, 9), "object": np.zeros(4, np.float32), "images": np.array(["a", "b"])}
    )


@cache
def _prior():
    """A tiny prior that looks at nothing; its files are a few kilobytes."""
    return tiny_prior(THING, encoder=BLIND)


@cache
def _trained():
    """One that is restored over and over."""
    return tiny_prior(THING, encoder=BLIND).requires_grad_(True)


def prepare_prior(folder):
    maps = {"human": np.zeros(9), "object": np.zeros(len(template(THING).vertices))}
    write_prior(folder, _prior(), template(THING), {"trained": "not at all"}, maps)


def parse_prior(path, out):
    facts_of(path.parent)
    is_finished(path.parent)
    return read_prior(path.parent, template(THING))


def configurations():
    with TemporaryDirectory() as folder:
        prepare_prior(Path(folder))
        return seeds.json_seeds(json.loads((Path(folder) / "config.json").read_text()))


def weights():
    tensors = {key: value.numpy() for key, value in _prior().state_dict().items()}
    return [seeds.safetensors_seed({"a": np.eye(2), "b": np.zeros(3)}), seeds.safetensors_seed(tensors)]


def place_weights(path, data):
    """The configuration names whatever weights there are: a forger can count as well."""
    path.write_bytes(data)
    rename_hash(path.parent / "config.json", "weights", data)


def place_contact(path, data):
    path.write_bytes(data)
    rename_hash(path.parent / "config.json", "contact", data)


def rename_hash(path, name, data):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {name: hashlib.sha256(data).hexdigest()}))


def parse_state(path, out):
    """As a training resumes."""
    folder = shutil.copytree(path.parents[1], out / "training")
    diary = Diary(folder, template(THING), {}, None, "f")
    diary.restore(_trained(), torch.optim.AdamW(_trained().parameters()))


STATE = {"fingerprint": "f", "file": "000001.safetensors", "sha256": "", "epoch": 1, "best": 0.5, "best_epoch": 1}


def prepare_state(folder):
    (folder / "state").mkdir()
    (folder / "train.jsonl").write_text("")
    data = state_weights()[0]
    (folder / "state" / "000001.safetensors").write_bytes(data)
    (folder / "state" / "state.json").write_text(json.dumps(STATE))
    rename_hash(folder / "state" / "state.json", "sha256", data)


def state_weights():
    state = {f"prior.{key}": value.numpy() for key, value in _prior().state_dict().items()}
    more = {f"moment.0.{name}": np.zeros(()) for name in ("step", "exp_avg", "exp_avg_sq")}
    return [
        seeds.safetensors_seed(state | more),
        seeds.safetensors_seed({"prior.a": np.eye(2), "moment.0.step": np.ones(1)}),
    ]


def states():
    return seeds.json_seeds({**STATE, "sha256": hashlib.sha256(state_weights()[0]).hexdigest()})


def place_state(path, data):
    path.write_bytes(data)
    rename_hash(path.parent / "state.json", "sha256", data)


PARAMETERS = {"a": (2, 3), "b": (4,)}


def parse_checkpoint(path, out):
    parameters = {name: torch.zeros(shape, requires_grad=True) for name, shape in PARAMETERS.items()}
    return Checkpoint(path, "f").restore(parameters)


def checkpoints():
    arrays = {"fingerprint": np.array("f"), "at": np.array([1, 2]), "seconds": np.array(1.5)}
    arrays |= {f"parameter.{name}": np.zeros(shape, np.float32) for name, shape in PARAMETERS.items()}
    arrays |= {f"moment.0.{key}": np.zeros(()) for key in ("step", "exp_avg", "exp_avg_sq")}
    return seeds.npz_seeds(arrays)


TARGETS = (
    Target("groups", "npz", parse_groups, groups, "groups.npz"),
    Target("mean_maps", "npz", lambda path, out: read_mean_maps(path), maps, "x-mean.npz"),
    Target("tensors", "safetensors", lambda path, out: read_tensors(path), weights, "model.safetensors"),
    Target("prior_config", "json", parse_prior, configurations, "config.json", prepare_prior, named=False),
    Target("prior_weights", "safetensors", parse_prior, weights, "model.safetensors", prepare_prior, place_weights, named=False),
    Target("prior_contact", "npz", parse_prior, maps, "contact.npz", prepare_prior, place_contact, named=False),
    Target("training_state", "json", parse_state, states, "state/state.json", prepare_state, named=False),
    Target("training_weights", "safetensors", parse_state, state_weights, "state/000001.safetensors", prepare_state, place_state, named=False),
    Target("fit_state", "npz", parse_checkpoint, checkpoints, "state.npz"),
)  # fmt: skip
