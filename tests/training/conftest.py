"""Data folders to train on, and a process of its own for each test."""

import pytest
import torch
from training_sets import TWO, trained, write_made, write_means

from baselines.backbones import restore_backbone
from baselines.training import diary as diary_module
from submissions import unchecked


@pytest.fixture(autouse=True)
def alone():
    """Every test is a process of its own to the library that spreads work."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def always_kept(monkeypatch):
    """States are kept after every epoch, however short it is."""
    monkeypatch.setattr(diary_module, "KEEP_EVERY", 0.0)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A data folder of two objects, and a file of mean maps of the first."""
    folder = tmp_path_factory.mktemp("training")
    return write_made(folder / "data", TWO, 24), str(write_means(folder / "means.npz", TWO[0]))


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    """A small ResNet as `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    settings = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    torch.manual_seed(3)
    restore_backbone({"model_type": "resnet", **settings}).model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def finished(made, tmp_path_factory):
    """The folder of a training that has ended, and what it said."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    out = tmp_path_factory.mktemp("finished") / TWO[0]
    with unchecked():
        return out, trained(made, out, pictures_every=1, held_out=0.2)
