"""Training of the flow prior: that it learns, what it leaves behind, precision, bad input."""

import json
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scenes import template
from training_sets import (
    NONE,
    QUICK,
    THING,
    TWO,
    best_density,
    gaussian_examples,
    lines_of,
    mean_density,
    read,
    refused,
    same_weights,
    stored,
    tiny_options,
    tiny_trainer,
    trained,
    write_made,
    write_means,
)

from baselines.backbones import restore_backbone
from baselines.encoders import BackboneEncoder
from baselines.prior import Prior, PriorConfig
from baselines.prior_files import CONFIG, WEIGHTS, read_prior
from baselines.training.options import PRESETS, TrainOptions, train_options
from baselines.training.shown import plot_samples
from submissions import unchecked
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.objects import load_categories
from wildhoi.templates import find_template, load_template

# It learns


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A training of some epochs on views of a known density."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    folder = tmp_path_factory.mktemp("learned")
    trainer = tiny_trainer(folder, gaussian_examples(160), tiny_options(epochs=15))
    return folder, trainer, trainer.run()


def test_a_known_density_is_approached_and_never_exceeded(learned):
    folder, trainer, standing = learned
    held = [line["held_out"] for line in lines_of(folder)]
    best = best_density(trainer.options.noise)
    assert held[-1] > held[0] + 0.5
    assert best - 0.3 < standing.best < best + 0.05
    assert standing.best == max(held) and standing.best_epoch == 1 + int(np.argmax(held))
    without = tiny_trainer(folder / "blind", trainer.examples, replace(trainer.options, encoder=NONE)).run()
    assert without.best < standing.best - 0.08  # what the pictures tell


def test_what_is_held_out_is_measured_as_it_is_defined(learned):
    folder, trainer, standing = learned
    again = mean_density(stored(folder), trainer.examples, trainer.options.noise)
    assert standing.best == pytest.approx(again, abs=0.03)
    config = json.loads((folder / CONFIG).read_text())
    assert config["held_out"] == standing.best and config["best_epoch"] == standing.best_epoch


def test_pictures_of_others_lower_the_likelihood(learned):
    folder, trainer, standing = learned
    others = trainer.examples.pictures.roll(7, 0)
    assert mean_density(stored(folder), trainer.examples, 0.05, pictures=others) < standing.best - 0.1


def test_sixteen_bits_change_the_likelihood_by_less_than_a_thousandth(learned, tmp_path):
    folder, trainer, _ = learned
    halved = tiny_trainer(tmp_path, trainer.examples, replace(trainer.options, half=True))
    halved.run()
    assert same_weights(halved.prior, trainer.prior)  # they are computed with 32
    sizes = [(place / WEIGHTS).stat().st_size for place in (tmp_path, folder)]
    assert sizes[0] < 0.65 * sizes[1]
    both = [mean_density(stored(place), trainer.examples, 0.05) for place in (tmp_path, folder)]
    assert both[0] == pytest.approx(both[1], abs=1e-3)
    assert not same_weights(stored(tmp_path), stored(folder))


# What it leaves behind


def test_all_that_a_prior_needs_is_there(finished, made):
    out, told = finished
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    pictures = {f"pictures/epoch-000{n}.png" for n in (1, 2)}
    assert (
        names
        == {"README.md", "config.json", "contact.npz", "groups.npz", "model.safetensors", "train.jsonl"} | pictures
    )
    prior = read_prior(out, load_template(find_template(made[0].objects, TWO[0], shipped=True)))
    assert set(prior.contact) == {"human", "object"}
    examples, _ = read(made, out.parent / "again", held_out=0.2)
    prior.prior.eval()
    found = mean_density(prior.prior, examples, 0.02)
    assert told.held_out == pytest.approx(found, abs=0.05)
    assert (told.object, told.epochs, told.images, told.folder) == (TWO[0], 2, 24, str(out))


def test_card_and_configuration_say_how_it_was_made(finished):
    out, told = finished
    config, card = json.loads((out / CONFIG).read_text()), (out / "README.md").read_text()
    options = train_options("small", {**QUICK, "pictures_every": 1, "held_out": 0.2})
    for field in fields(TrainOptions):
        value = getattr(options, field.name)
        found = config["training"][field.name]
        assert found == (value if not hasattr(value, "__dataclass_fields__") else vars(value)), field.name
    assert config["training"]["preset"] == "small" and config["finished"] is True
    assert config["data"]["name"] == "made-up" and config["data"]["images"] == config["data"]["views"] == 24
    assert {"wildhoi", "torch", "python", "device", "processor", "processes"} <= set(config["environment"])
    assert config["epochs"] == 2 and config["held_out"] == told.held_out
    for word in (
        "skateboard", "2D-supervised", "made-up", "24 images", config["data"]["revision"], "3 nearest", "depth 6",
        "width 96", "affine", "small", "2 epochs of 8 images x 2 views", f"{told.held_out:.3f}", "cpu", "0.02",
        config["environment"]["torch"],
    ):  # fmt: skip
        assert word in card, word
    assert "{" not in card


def machine_paths(out):
    texts = [(out / name).read_text() for name in (CONFIG, "README.md", "train.jsonl")]
    return [text for text in texts if "/tmp" in text or str(Path.home()) in text or str(out.parent) in text]


def test_no_path_of_the_machine_is_told(finished):
    assert not machine_paths(finished[0])


def test_one_line_an_epoch(finished):
    lines = lines_of(finished[0])
    assert [line["epoch"] for line in lines] == [1, 2]
    for line in lines:
        assert {"loss", "held_out", "lr", "images_per_second", "views", "seconds"} < set(line)
        assert line["views"] == 2 and line["images_per_second"] > 0
    assert lines[0]["lr"] > lines[1]["lr"]


@pytest.mark.parametrize("kind", ["2d", "rays", "3d", "none"])
def test_pictures_show_the_image_its_view_and_samples(kind, made, tmp_path):
    options = {
        "2d": {}, "rays": {"space": "rays"}, "3d": {"supervision": "3d", "grouping": "none"},
        "none": {"condition": "none", "grouping": "none"},
    }[kind]  # fmt: skip
    trained(made, tmp_path / "out", pictures_every=1, held_out=0.2, **options)
    found = [cv2.imread(str(tmp_path / f"out/pictures/epoch-000{n}.png")) for n in (1, 2)]
    height, width = found[0].shape[:2]
    assert found[1].shape == found[0].shape and not np.array_equal(*found)
    rows, columns = 4, 7
    for row in range(rows):
        top, bottom = ((height - 50) * share // rows + 20 for share in (row, row + 1))
        for column in range(columns):
            panel = found[1][top:bottom, column * width // columns : (column + 1) * width // columns]
            assert (np.ptp(panel.astype(int), axis=2) + 255 - panel.max(2) > 20).sum() > 50, (row, column)


def test_pictures_do_not_change_what_is_learned(tmp_path):
    both = []
    for every in (0, 1):
        trainer = tiny_trainer(tmp_path / str(every), options=tiny_options(pictures_every=every, epochs=2))
        trainer.picture = lambda prior, path, trainer=trainer: plot_samples(
            prior, trainer.examples, template(THING), path
        )
        trainer.run()
        both.append(trainer)
    assert same_weights(both[0].prior, both[1].prior)
    assert sorted(path.name for path in (tmp_path / "1" / "pictures").iterdir()) == [
        f"epoch-000{n}.png" for n in (1, 2)
    ]
    assert not (tmp_path / "0" / "pictures").exists()


# Precision, frozen backbones


def test_half_the_digits_train_too(made, tmp_path):
    told = trained(made, tmp_path / "bf16", precision="bf16")
    exact = json.loads((tmp_path / "bf16" / CONFIG).read_text())
    assert np.isfinite(told.held_out) and exact["training"]["precision"] == "bf16"
    assert (tmp_path / "bf16" / WEIGHTS).is_file()


def test_trainings_of_other_precision_follow_each_other(made, tmp_path):
    both = [trained(made, tmp_path / precision, precision=precision).held_out for precision in ("float32", "bf16")]
    assert both[0] != both[1] and both[0] == pytest.approx(both[1], abs=0.1)


def test_sixteen_bit_training_needs_a_gpu(made, tmp_path):
    with pytest.raises(InputError) as error:
        trained(made, tmp_path, precision="fp16")
    refused(error, "fp16", "bf16")


def test_a_frozen_backbone_looks_at_each_picture_once(made, backbone, tmp_path, monkeypatch):
    seen, features = [], BackboneEncoder.features

    def counted(encoder, pictures):
        seen.append(len(pictures))
        return features(encoder, pictures)

    monkeypatch.setattr(BackboneEncoder, "features", counted)
    options = {"condition": "resnet", "weights": str(backbone), "frozen": True, "epochs": 3}
    told = trained(made, tmp_path / "out", **options)
    assert sum(seen) == 2 * 24  # as it is, and mirrored
    found = read_prior(tmp_path / "out", load_template(find_template(made[0].objects, TWO[0], shipped=True))).prior
    start = restore_backbone(found.encoder.architecture)
    from transformers import AutoModel

    start.model.load_state_dict(AutoModel.from_pretrained(backbone).state_dict())
    kept = found.encoder.backbone.state_dict()
    assert all(
        torch.allclose(kept[name].float(), value.float(), atol=1e-2) for name, value in start.state_dict().items()
    )
    examples, _ = read(made, tmp_path)
    assert told.held_out == pytest.approx(mean_density(found, examples, 0.02), abs=0.1)


def test_the_folder_of_weights_is_not_told(made, backbone, tmp_path):
    trained(made, tmp_path / "out", condition="resnet", weights=str(backbone), frozen=True, epochs=1)
    assert not machine_paths(tmp_path / "out")


# Bad input


def test_too_few_images(tmp_path):
    means = str(write_means(tmp_path / "means.npz"))
    data = write_made(tmp_path / "data", (THING,), 7)
    for grouping in ("none", "gt"):
        with pytest.raises(InputError) as error:
            trained((data, means), tmp_path / grouping, THING, grouping=grouping)
        refused(error, "7 images", "at least 8")


def test_too_few_images_for_k(made, tmp_path):
    with pytest.raises(InputError) as error:
        trained(made, tmp_path / "out", k=24)
    refused(error, "24", "k")


def test_keypoints_that_are_no_numbers(tmp_path):
    nothing = np.full((22, 2), np.nan)
    data = write_made(tmp_path / "data", (THING,), 12, change=lambda n: {"body_keypoints": nothing})
    with pytest.raises(InputError) as error:
        trained((data, None), tmp_path / "out", THING)
    refused(error, THING, "not finite", "12")


@pytest.mark.parametrize("name", ["nothing", "tennis"])
def test_an_object_that_is_not_there(made, tmp_path, name):
    with pytest.raises(InputError) as error:
        trained(made, tmp_path / "out", name)
    refused(error, name)
    assert not (tmp_path / "out").exists()


def test_groups_without_layouts(tmp_path):
    for further, annotated in ((0, True), (3, False)):
        data = write_made(tmp_path / f"data-{further}", (THING,), 12, further=further, annotated=annotated)
        with pytest.raises(InputError) as error:
            trained((data, None), tmp_path / "out", THING, grouping="gt")
        refused(error, "layouts")


def test_layouts_of_other_scenes(tmp_path):
    data = write_made(tmp_path / "data", (THING,), 12, scene_of=lambda n: f"elsewhere-{n}")
    with pytest.raises(InputError) as error:
        trained((data, None), tmp_path / "out", THING, grouping="gt")
    refused(error, THING, "further views")


def test_supervision_in_space_has_no_groups_and_needs_annotations(made, tmp_path):
    with pytest.raises(InputError) as error:
        trained(made, tmp_path / "out", supervision="3d", grouping="knn")
    refused(error, "3D", "--grouping none")
    data = write_made(tmp_path / "data", (THING,), 12, annotated=False)
    with pytest.raises(InputError) as error:
        trained((data, None), tmp_path / "out", THING, supervision="3d", grouping="none")
    refused(error, "annotations", THING)


BAD = {
    "unknown": ({"depht": 3}, "depht"),
    "epochs": ({"epochs": 0}, "epochs"),
    "text": ({"lr": "fast"}, "lr"),
    "negative": ({"noise": -1.0}, "noise"),
    "nan": ({"lr": float("nan")}, "lr"),
    "share": ({"held_out": 1.0}, "held_out"),
    "grouping": ({"grouping": "best"}, "grouping"),
    "condition": ({"condition": "small", "weights": "x"}, "weights"),
    "size": ({"size": 4}, "size"),
    "frozen": ({"frozen": True}, "frozen"),
}


@pytest.mark.parametrize("name", BAD)
def test_options_that_make_no_sense(made, tmp_path, name):
    options, word = BAD[name]
    with unchecked(), pytest.raises(InputError) as error:
        trained(made, tmp_path / "out", **options)
    refused(error, word)


def test_means_that_are_not_there(made, tmp_path):
    with pytest.raises(MissingAssetError) as error:
        trained(made, tmp_path / "out", contact=str(tmp_path / "absent.npz"))
    refused(error, "absent.npz", "wildhoi occlusion")


def test_means_of_another_object(made, tmp_path):
    with pytest.raises(InputError) as error:
        trained(made, tmp_path / "out", TWO[1])
    refused(error, "means.npz", "object")


def test_nothing_left_to_learn_from(made, tmp_path):
    with pytest.raises(InputError) as error:
        trained(made, tmp_path / "out", held_out=0.99)
    refused(error, "held_out")


def test_presets_are_what_they_are_said_to_be():
    paper, released, small = (PRESETS[name] for name in ("paper", "released", "small"))
    for each in (paper, released):
        assert (each.lr, each.clip, each.batch, each.draws, each.k, each.encoder.name) == (
            1e-4,
            1,
            64,
            17,
            16,
            "resnet50",
        )
        assert each.encoder.context == 256 and each.augment and each.mirrored
    assert (paper.flow.depth, paper.flow.width, paper.flow.coupling) == (8, 512, "affine")
    assert (released.flow.depth, released.flow.coupling, released.flow.batch_norm) == (4, "additive", True)
    assert released.encoder.dropout == 0.5 and released.space == "rays"
    with torch.no_grad():
        prior = largest(small)
    assert sum(tensor.numel() for tensor in prior.parameters()) <= 900_000


def largest(options):
    """A prior of the object with the most keypoints."""
    keypoints = 22 + max(len(category.keypoints) for category in load_categories().values())
    parts = {name: getattr(options, name) for name in ("supervision", "space", "noise", "camera_noise", "flow")}
    return Prior(PriorConfig("cello", keypoints, **parts, encoder=options.encoder))
