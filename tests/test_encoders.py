"""Encoders: that they learn, where their weights come from, what is frozen, what is kept."""

import json
import shutil
import sys
from dataclasses import replace

import pytest
import torch

from baselines.backbones import ARCHITECTURES, Backbone, restore_backbone
from baselines.encoders import Encoder, EncoderConfig, build_encoder, cached_features
from submissions import unchecked
from wildhoi.errors import InputError, MissingAssetError

NONE, SMALL = EncoderConfig("none"), EncoderConfig("small", size=64, context=64)
TINY = {
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "convnext": {"hidden_sizes": [8, 8, 8, 12], "depths": [1, 1, 1, 1]},
    "dinov2": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 56, "patch_size": 14},
    "vit": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 48},
}  # fmt: skip
SIDE = 64


def tiny(kind="resnet", seed=0, **config):
    """A small backbone of random weights behind an encoder, with statistics that differ from the first ones."""
    torch.manual_seed(seed)
    encoder = build_encoder(EncoderConfig(kind, SIDE, 7, **config), {"model_type": kind, **TINY[kind]})
    encoder.train()
    if not encoder.frozen:
        encoder(pictures(16, seed=99))
    return encoder.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small ResNet as `save_pretrained` writes it."""
    path = tmp_path_factory.mktemp("weights")
    tiny().backbone.model.save_pretrained(path)
    return path


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def from_folder(path, **config):
    return EncoderConfig("resnet", SIDE, 7, weights=str(path), **config)


def pictures(count=6, side=SIDE, seed=0):
    return torch.randint(
        0, 256, (count, 5, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


ENCODERS = {
    "none": lambda: build_encoder(NONE).eval(),
    "small": lambda: build_encoder(SMALL).eval(),
    "resnet": tiny,
    "masks": lambda: tiny(masks=True),
    "frozen": lambda: tiny(frozen=True),
}


# -- what all of them hold ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENCODERS)
def test_numbers_of_a_picture_do_not_depend_on_its_batch_nor_on_its_type(name):
    encoder, shown = ENCODERS[name](), pictures()
    batch = encoder(shown)
    assert batch.shape == (6, encoder.context) and batch.dtype == torch.float32
    single = torch.cat([encoder(shown[k : k + 1]) for k in range(6)])
    assert torch.allclose(batch, single, atol=1e-5)
    assert torch.equal(batch, encoder(shown.float()))
    assert torch.equal(batch, encoder.condense(encoder.features(shown)))


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "none"])
def test_pictures_change_what_is_said_of_them(name):
    said = ENCODERS[name]()(pictures())
    assert (said[:1] - said[1:]).abs().amax(1).min() > 1e-5


@pytest.mark.parametrize("name", ["small", "masks", "resnet", "frozen"])
def test_which_channels_are_looked_at(name):
    encoder, shown = ENCODERS[name](), pictures().float()
    for channel in range(5):
        changed = shown.clone()
        changed[:, channel] = shown[:, channel].roll(1, 0)
        same = torch.equal(encoder(changed), encoder(shown))
        assert same == (channel >= 3 and name in ("resnet", "frozen"))


def test_none_says_nothing_and_has_no_weights():
    encoder = build_encoder(NONE)
    assert encoder.context == 0 and not list(encoder.parameters())
    assert encoder(torch.empty(3, 0)).shape == (3, 0)  # of pictures that are not there


def test_dropout_is_for_training_alone():
    for encoder in (build_encoder(replace(SMALL, dropout=0.5)), tiny(dropout=0.5, frozen=True)):
        shown = pictures()
        assert torch.equal(encoder.eval()(shown), encoder(shown))
        assert not torch.equal(encoder.train()(shown), encoder(shown))


@pytest.mark.parametrize(
    "config, message",
    [
        (replace(SMALL, size=8), "size: got 8, want 16 to 1024"),
        (replace(SMALL, context=0), "context: got 0"),
        (replace(SMALL, dropout=1.0), "dropout: got 1.0"),
        (replace(SMALL, weights="x"), "only backbones have weights"),
        (replace(NONE, frozen=True), "frozen"),
        (EncoderConfig("resnet5000"), "resnet5000.*want one of none, small, .*resnet50"),
        (EncoderConfig("bert"), "bert.*no image model"),
    ],
)
def test_what_makes_no_sense_is_refused(config, message):
    with pytest.raises(InputError, match=message):
        build_encoder(config)


# -- the small one -----------------------------------------------------------------------------------------------------


def test_the_small_encoder_keeps_its_budget():
    assert sum(weight.numel() for weight in build_encoder(replace(SMALL, context=256)).parameters()) < 400_000


def scenes(count, seed):
    """Squares of one of two colours on noise, the second of which has its mask: where is it relative to the first?"""
    generator = torch.Generator().manual_seed(seed)
    shown = torch.randint(0, 256, (count, 5, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    shown[:, 3:] = 0
    places = torch.randint(8, SIDE - 16, (count, 2, 2), generator=generator)
    for picture, ((x, y), (u, v)) in zip(shown, places.tolist(), strict=True):
        picture[0, y : y + 8, x : x + 8] = 255
        picture[3, y : y + 8, x : x + 8] = 255
        picture[4, v : v + 8, u : u + 8] = 255
    return shown, (places[:, 1] - places[:, 0]).float() / SIDE


def test_the_small_encoder_learns_where_things_are():
    """From 400 pictures in 120 steps; a guess of the middle leaves all the variance."""
    torch.manual_seed(0)
    shown, offsets = scenes(400, 1)
    unseen, true = scenes(200, 2)
    with unchecked():
        encoder = build_encoder(replace(SMALL, context=2))
        adam = torch.optim.Adam(encoder.parameters(), 2e-3)
        for step in range(120):
            rows = slice(step * 32 % 384, step * 32 % 384 + 32)
            loss = (encoder(shown[rows]) - offsets[rows]).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        with torch.no_grad():
            error = (encoder.eval()(unseen) - true).square().mean()
    assert error < 0.2 * true.var()


# -- backbones ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TINY)
def test_every_kind_of_backbone_gives_the_average_of_its_last_output(kind):
    encoder = tiny(kind)
    normal = torch.rand((2, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    last = encoder.backbone.model(pixel_values=normal, **encoder.backbone.more).last_hidden_state
    expected = last.flatten(2).mean(2) if last.ndim == 4 else last.mean(1)
    assert torch.allclose(encoder.backbone(normal), expected, atol=1e-6)
    assert encoder.backbone.width(SIDE) == expected.shape[1]


def test_colours_are_normalised_as_those_of_imagenet():
    encoder, seen = tiny(), []
    encoder.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    shown = torch.zeros((1, 5, SIDE, SIDE), dtype=torch.uint8)
    shown[:, :3] = torch.tensor([124, 116, 104], dtype=torch.uint8)[:, None, None]
    encoder(shown)
    assert seen[0].abs().max() < 0.01
    encoder(torch.full_like(shown, 255))
    assert torch.allclose(seen[1][0, :, 0, 0], torch.tensor([2.2489, 2.4286, 2.6400]), atol=1e-3)


def test_masks_are_told_as_their_shares_of_cells():
    encoder, shown = tiny(masks=True), pictures()
    cells = encoder.features(shown)[:, -128:].view(6, 2, 8, 8)
    expected = shown[:, 3:].float().view(6, 2, 8, 8, 8, 8).mean((3, 5)) / 255
    assert torch.allclose(cells, expected, atol=1e-6)
    assert torch.equal(encoder.features(shown)[:, :-128], tiny().features(shown))


@pytest.mark.parametrize("name, width", [("resnet18", 512), ("resnet50", 2048)])
def test_the_named_architectures_are_those_published(name, width):
    """Weights of the classifiers without their last layer: 11.69 - 0.513 and 25.557 - 2.049 million."""
    with torch.device("meta"):
        architecture = {"model_type": ARCHITECTURES[name].model, **ARCHITECTURES[name].settings}
        backbone = restore_backbone(architecture)
    count = sum(weight.numel() for weight in backbone.parameters())
    assert count == {"resnet18": 11_176_512, "resnet50": 23_508_032}[name]
    assert backbone.model.config.hidden_sizes[-1] == width


def test_random_weights_are_said_to_be_random():
    encoder = build_encoder(EncoderConfig("resnet18", 32, 4))
    assert "random" in encoder.origin and "random" in build_encoder(SMALL).origin


def test_weights_of_a_folder_give_the_features_they_were_saved_with(folder):
    encoder = build_encoder(from_folder(folder)).eval()
    assert torch.equal(encoder.features(pictures()), tiny().features(pictures()))
    assert str(folder) in encoder.origin and "random" not in encoder.origin


def test_loading_leaves_the_library_as_talkative_as_it_was(folder, capfd):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    build_encoder(from_folder(folder))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


def test_the_hub_is_asked_for_what_is_no_folder(folder, monkeypatch):
    asked = []

    def fetch(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    encoder = build_encoder(replace(from_folder("lab/tiny"), name="resnet"))
    assert torch.equal(encoder.eval().features(pictures()), tiny().features(pictures()))
    assert encoder.origin == "the Hub's lab/tiny"
    assert asked[0][0] == "lab/tiny" and not any("bin" in pattern or "py" in pattern for pattern in asked[0][1])


def test_a_checkpoint_needs_no_weights_to_start_from(folder):
    first = build_encoder(from_folder(folder, masks=True)).eval()
    kept = json.loads(json.dumps(first.architecture))
    gone = from_folder("/nowhere/at/all", masks=True)
    second = build_encoder(gone, kept).eval()
    assert not torch.equal(second(pictures()), first(pictures()))
    second.load_state_dict(first.state_dict())
    assert torch.equal(second(pictures()), first(pictures()))


def test_weights_that_are_not_to_be_had_are_named(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingAssetError, match=r"microsoft/resnet-50.*hf download microsoft/resnet-50"):
        build_encoder(EncoderConfig("resnet50", weights="microsoft/resnet-50"))
    with pytest.raises(MissingAssetError, match=r"no folder /nowhere/at/all.*microsoft/resnet-18"):
        build_encoder(EncoderConfig("resnet18", weights="/nowhere/at/all"))


def test_an_absent_library_is_named_and_the_small_encoder_needs_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingAssetError, match=r"pip install 'wildhoi\[baselines\]'"):
        build_encoder(EncoderConfig("resnet50"))
    assert build_encoder(SMALL).context == 64


def test_weights_of_another_architecture_are_refused(folder):
    with pytest.raises(InputError, match=r"depths is \[1, 1\], but resnet18 has \[2, 2, 2, 2\].*'resnet'"):
        build_encoder(replace(from_folder(folder), name="resnet18"))
    with pytest.raises(InputError, match="model_type is resnet, but vit has vit"):
        build_encoder(replace(from_folder(folder), name="vit"))


def cut_short(path):
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def without_weights(path):
    (path / "model.safetensors").unlink()


def only_pickled(path):
    torch.save({}, path / "pytorch_model.bin")
    without_weights(path)


def without_some(path):
    from safetensors.torch import load_file, save_file

    kept = {name: value for name, value in load_file(path / "model.safetensors").items() if "stages.1" not in name}
    save_file(kept, path / "model.safetensors", metadata={"format": "pt"})


def no_json(path):
    (path / "config.json").write_text("{")


def foreign_code(path):
    config = json.loads((path / "config.json").read_text())
    config |= {"model_type": "strange", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "own.py").write_text(f"open({str(path / 'ran')!r}, 'w')")


@pytest.mark.parametrize("spoil", [cut_short, without_weights, only_pickled, without_some, no_json, foreign_code])
def test_spoilt_weights_end_in_one_error(spoil, copy):
    spoil(copy)
    with pytest.raises(InputError, match=f"weights from the folder {copy}"):
        build_encoder(from_folder(copy))
    assert not (copy / "ran").exists()


def test_a_picture_too_small_for_a_backbone_is_refused():
    with pytest.raises(InputError, match="pictures of 16 x 16"):
        build_encoder(EncoderConfig("convnext", 16, 4), {"model_type": "convnext", **TINY["convnext"]})


# -- frozen, and kept --------------------------------------------------------------------------------------------------


def test_a_frozen_backbone_neither_learns_nor_changes_its_mode():
    encoder, shown = tiny(frozen=True), pictures()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    quiet = encoder.features(shown)
    encoder.train()
    assert torch.equal(encoder.features(shown), quiet)
    adam = torch.optim.Adam([weight for weight in encoder.parameters() if weight.requires_grad], 1e-2)
    encoder(shown).square().sum().backward()
    assert all(weight.grad is None for weight in encoder.backbone.parameters())
    assert all(weight.grad is not None for weight in encoder.head.parameters())
    adam.step()
    after = encoder.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        name for name in before if name.startswith("head.")
    }


def test_a_backbone_that_is_not_frozen_learns_with_its_statistics():
    encoder = tiny().train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder(pictures()).square().sum().backward()
    assert all(weight.grad is not None for weight in encoder.parameters())
    after = encoder.state_dict()
    assert any("running_mean" in name for name in before if not torch.equal(before[name], after[name]))


@pytest.mark.parametrize("masks", [False, True])
def test_kept_features_are_those_of_the_pictures(masks):
    encoder, shown, told = tiny(frozen=True, masks=masks), pictures(7), []
    kept = cached_features(encoder.train(), shown, 3, lambda done, total: told.append((done, total)))
    assert torch.allclose(encoder.eval().condense(kept), encoder(shown), atol=1e-6)
    assert told == [(3, 7), (6, 7), (7, 7)] and not kept.requires_grad
    assert cached_features(encoder, shown[:0]).shape == (0, kept.shape[1])


@pytest.mark.parametrize("name", ["small", "resnet"])
def test_features_that_change_are_not_kept(name):
    with pytest.raises(InputError, match="frozen"):
        cached_features(ENCODERS[name](), pictures())


def test_the_parts_are_encoders():
    assert all(isinstance(make(), Encoder) for make in ENCODERS.values())
    assert isinstance(tiny().backbone, Backbone)
