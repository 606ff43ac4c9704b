"""Training of the flow prior: what it learns from, that it learns, what it leaves behind, how it ends and goes on."""

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scenes import template
from test_grouping import made_views
from training_runs import OPTIONS
from training_sets import (
    DIMENSION,
    ENCODER,
    FLOW,
    NONE,
    SIDE,
    THING,
    Crash,
    Stop,
    best_density,
    crash_at,
    gaussian_examples,
    same_weights,
    stop_after,
    tiny_options,
    tiny_trainer,
    write_made,
    write_means,
)

from baselines.backbones import restore_backbone
from baselines.encoders import BackboneEncoder, build_encoder
from baselines.prior import Prior, PriorConfig
from baselines.prior_files import CONFIG, WEIGHTS, read_prior
from baselines.training import diary as diary_module
from baselines.training.examples import Examples, Pool, hold_out, pool_of_points, pool_of_views, without_held_out
from baselines.training.loop import Trainer
from baselines.training.options import PRESETS, TrainOptions, train_options
from baselines.training.shown import plot_samples
from submissions import unchecked
from wildhoi.dataset import load_layouts
from wildhoi.errors import InputError, MissingAssetError, RunError, WildhoiError
from wildhoi.mirror import REFLECTION
from wildhoi.objects import load_categories
from wildhoi.templates import find_template, load_template
from wildhoi.training import train_flow_prior
from wildhoi.training.reading import read_examples
from wildhoi.view_reading import read_points, read_views
from wildhoi.views import mirror_order, mirror_views

HERE = Path(__file__).parent
QUICK = {"epochs": 2, "batch": 8, "draws": 2, "k": 3, "size": SIDE, "context": 4, "pictures_every": 0}
TWO = ("skateboard", "basketball")


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


def strict_json(text):
    def refuse(word):
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse)


def lines_of(folder):
    return [strict_json(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def without_times(lines):
    return [{name: line[name] for name in ("epoch", "loss", "held_out", "lr", "views")} for line in lines]


def stored(folder):
    return read_prior(folder, template(THING)).prior


def trained(made, out, name=TWO[0], resume=False, **options):
    data, means = made
    given = {**QUICK, "contact": means} | options
    return train_flow_prior(data, name, out, given, device="cpu", resume=resume)


def refused(error, *words):
    text = str(error.value)
    assert all(word in text for word in words), text
    assert "\n" not in text and len(text) < 500


def mean_density(prior, examples, noise, rows=None, pictures=None, turns=20):
    """The mean log-density of images' own views, one image at a time, over many draws of the noise."""
    prior.eval()
    generator = torch.Generator().manual_seed(77)
    found = []
    for image in examples.watched.tolist() if rows is None else rows:
        own = examples.pool.coordinates[examples.members[image, 0]].expand(turns, -1)
        shown = (examples.pictures if pictures is None else pictures)[image : image + 1]
        with torch.no_grad():
            context = prior.context(shown).expand(turns, -1)
            noisy = own + noise * torch.randn(own.shape, generator=generator)
            found.append(float(prior.log_density(noisy, context).mean()))
    return float(np.mean(found))


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


# What is learned from


def test_views_are_drawn_as_often_as_they_weigh():
    examples = gaussian_examples(4, further=4)
    weights = torch.tensor([[1, 0.5, 0.25, 0.25, 0], [1, 0, 0, 0, 0], [2, 1, 1, 0, 4.0], [1, 1, 1, 1, 1]])
    examples = replace(examples, weights=weights, pool=Pool(torch.arange(20.0)[:, None], None))
    images = torch.tensor([2, 0, 1, 3])
    count = 40_000
    drawn = examples.draw(images, count, torch.zeros(4, dtype=torch.bool), torch.Generator().manual_seed(0))
    assert drawn.shape == (4, count, 1)
    for image, values in zip(images.tolist(), drawn[..., 0].int(), strict=True):
        found = torch.bincount(values, minlength=20)
        assert found[: 5 * image].sum() == 0 and found[5 * image + 5 :].sum() == 0
        shares = (weights[image] / weights[image].sum()).numpy()
        bound = 5 * np.sqrt(shares * (1 - shares) / count)
        assert (np.abs(found[5 * image :][:5].numpy() / count - shares) <= bound).all()


def slow_coordinates(rays, position, space):
    """The flow's coordinates of one view, from the definition."""
    if space == "rays":
        return np.concatenate([rays.ravel(), position])
    r = np.linalg.norm(position)
    offsets = [(ray + position / r) * r for ray in rays]
    return np.concatenate([*offsets, position / r * np.log(1 + r)])


@pytest.mark.parametrize("space", ["metres", "rays"])
@pytest.mark.parametrize("name", ["skateboard", "barbell", "basketball"])
def test_coordinates_are_those_of_the_views_and_of_the_mirrored_views(name, space):
    keypoints = len(template(name).keypoint_vertices)
    views = replace(made_views(scenes=5, points=22 + keypoints), object=name)
    pool = pool_of_views(views, space, mirrored=True)
    for each, found in ((views, pool.coordinates), (mirror_views(views), pool.mirrored)):
        wanted = [slow_coordinates(*pair, space) for pair in zip(each.rays, each.positions, strict=True)]
        np.testing.assert_allclose(found.numpy(), wanted, atol=2e-5)
    assert (pool.mirrored - pool.coordinates).abs().max() > 0.1
    assert pool_of_views(views, space, mirrored=False).mirrored is None


def test_an_object_that_a_mirror_changes_is_not_mirrored():
    changed = [name for name, category in load_categories().items() if not category.mirrored_images]
    assert changed
    for name in changed:
        keypoints = len(load_categories()[name].keypoints)
        views = replace(made_views(scenes=3, points=22 + keypoints), object=name)
        assert pool_of_views(views, "metres", mirrored=True).mirrored is None
        assert pool_of_points(name, np.zeros((3, 22 + keypoints, 3)), mirrored=True).mirrored is None


def test_mirrored_points_exchange_left_and_right():
    points = np.random.default_rng(0).standard_normal((4, 30, 3))
    pool = pool_of_points("skateboard", points, mirrored=True)
    order = mirror_order(load_categories()["skateboard"])
    wanted = [[scene[order[k]] * REFLECTION for k in range(30)] for scene in points]
    np.testing.assert_allclose(pool.mirrored.view(4, 30, 3).numpy(), wanted, atol=1e-6)
    np.testing.assert_allclose(pool.coordinates.view(4, 30, 3).numpy(), points, atol=1e-6)


def told_examples(images=24):
    """Images whose picture tells which they are and whether it is mirrored, and so do their coordinates."""
    pictures = torch.zeros(images, 5, SIDE, SIDE, dtype=torch.uint8)
    pictures[..., : SIDE // 2] = (10 + torch.arange(images)).to(torch.uint8)[:, None, None, None]
    plain = (10.0 + torch.arange(images))[:, None] + torch.rand(images, DIMENSION)
    return Examples(
        tuple(map(str, range(images))),
        Pool(plain, plain + 1000),
        torch.arange(images)[:, None],
        torch.ones(images, 1),
        pictures,
        torch.arange(images) < 4,
    )


class Recorder:
    """Stands where the model stands, and keeps what it is given."""

    def __init__(self, model):
        self.model, self.calls = model, []

    def __call__(self, shown, coordinates):
        self.calls.append((shown.clone(), coordinates.clone()))
        return self.model(shown, coordinates)

    def __getattr__(self, name):
        return getattr(self.model, name)


def recorded(trainer):
    trainer.model = recorder = Recorder(trainer.model)
    trainer.run()
    return recorder.calls


@pytest.mark.parametrize("cached", [False, True])
def test_pictures_and_coordinates_are_mirrored_together(tmp_path, cached):
    examples = told_examples()
    options = tiny_options(augment=False, noise=0.0, draws=3, epochs=6, batch=7)
    if cached:  # features as of a frozen backbone: the brightness left and right, and what else the encoder condenses
        halves = [p.float().mean((1, 2))[:, [0, -1]] for p in (examples.pictures, examples.pictures.flip(-1))]
        width = build_encoder(ENCODER).features(examples.pictures).shape[1]
        examples = replace(examples, features=torch.nn.functional.pad(torch.stack(halves), (0, width - 2)))
    trainer = tiny_trainer(tmp_path, examples, options)
    seen, flipped = [], 0
    for shown, coordinates in recorded(trainer):
        for picture, views in zip(shown, coordinates, strict=True):
            left, right = (picture[0], picture[1]) if cached else (picture[0, 0, 0], picture[0, 0, -1])
            number, mirrored = int(max(left, right)), bool(right > left)
            assert ((views - 1000 * mirrored).floor() == number).all()
            seen.append(number - 10)
            flipped += mirrored
    assert sorted(seen) == sorted(6 * list(range(4, 24)))  # each that is learned from, once an epoch
    assert 0.3 < flipped / len(seen) < 0.7


def slow_weights(members, weights, held_out, of_pool):
    found = np.zeros(weights.shape)
    for i in range(len(members)):
        for j in range(members.shape[1]):
            if j == 0 or (members[i, j] >= 0 and not held_out[i] and not of_pool[members[i, j]]):
                found[i, j] = weights[i, j]
    return found


@pytest.mark.parametrize("seed", range(5))
def test_weights_without_what_is_held_out_equal_the_definition(seed):
    rng = np.random.default_rng(seed)
    images, views = 12, 40
    members = rng.integers(-1, views, (images, 6))
    members[:, 0] = np.arange(images)
    held = rng.random(images) < 0.3
    of_pool = np.concatenate([held, rng.random(views - images) < 0.3])
    weights = rng.uniform(0.1, 1, members.shape)
    np.testing.assert_array_equal(
        without_held_out(members, weights, held, of_pool), slow_weights(members, weights, held, of_pool)
    )


def test_an_image_is_held_out_whichever_the_others_are():
    rng = np.random.default_rng(0)
    ids = [f"image_{number:05}" for number in range(200)]
    by_share = np.array([hold_out(ids, share) for share in np.arange(1, 190) / 200])
    assert by_share.sum(1).tolist() == list(range(1, 190))
    place = dict(zip(ids, (~by_share).sum(0), strict=True))  # the order in which images are held out
    for _ in range(10):
        some = [str(each) for each in rng.permutation(ids)[: rng.integers(8, 200)]]
        share = rng.uniform(0.02, 0.5)
        flags = hold_out(some, share)
        count = max(1, round(share * len(some)))
        assert {some[n] for n in np.flatnonzero(flags)} == {*sorted(some, key=lambda each: place[each])[:count]}
    shares = [hold_out([f"{n}-{seed}" for n in range(100)], 0.1)[:50].mean() for seed in range(40)]
    assert 0.07 < np.mean(shares) < 0.13  # neither the first nor the last


def test_nothing_held_out_changes_what_is_learned(tmp_path):
    examples = gaussian_examples(40, further=1)
    options = tiny_options(epochs=2, batch=12)
    first = tiny_trainer(tmp_path / "a", examples, options)
    first.run()
    hidden = examples.members[examples.watched].flatten()
    coordinates = examples.pool.coordinates.clone()
    coordinates[hidden] = 3 - 2 * coordinates[hidden]
    pictures = examples.pictures.clone()
    pictures[examples.watched] = 255 - pictures[examples.watched]
    other = tiny_trainer(tmp_path / "b", replace(examples, pool=Pool(coordinates, None), pictures=pictures), options)
    other.run()
    assert same_weights(first.prior, other.prior)
    both = [[line["held_out"] for line in lines_of(tmp_path / name)] for name in "ab"]
    assert both[0] != both[1]


def read(made, tmp_path, name=TWO[0], **options):
    chosen = train_options("small", {**QUICK, **options})
    return read_examples(made[0], name, tmp_path, chosen, device="cpu", tell=lambda *_: None)


def test_true_groups_are_the_further_views_of_the_same_scene(made, tmp_path):
    examples, report = read(made, tmp_path, grouping="gt", held_out=0.2)
    views = read_views(made[0], TWO[0], views="all")
    assert len(load_layouts(made[0], "train", [TWO[0]])) == 72 and len(views) == 96 == report["views"]
    for image, (members, weights) in enumerate(zip(examples.members, examples.weights, strict=True)):
        taken = members[weights > 0].tolist()
        assert taken[0] == image and examples.image_ids[image] == views.view_ids[image]
        scene = views.scene_ids[image]
        further = [row for row in range(24, 96) if views.scene_ids[row] == scene]
        assert taken[1:] == ([] if examples.held_out[image] else further)
    assert report["effective_views"] == 4


def test_neighbours_of_what_is_held_out_are_not_learned_from(made, tmp_path):
    for options in ({"views": "images"}, {"views": "all", "threshold": 1.0, "k": 8}):
        examples, _ = read(made, tmp_path, held_out=0.3, steepness=1.0, **options)
        views = read_views(made[0], TWO[0], views=options["views"])
        hidden = {views.scene_ids[row] for row in examples.watched.tolist()}
        for image in examples.learned.tolist():
            taken = examples.members[image][examples.weights[image] > 0].tolist()
            assert taken[0] == image and len(taken) > 1
            assert not hidden & {views.scene_ids[row] for row in taken}
        assert (examples.weights[examples.watched, 1:] == 0).all() and (examples.weights[:, 0] == 1).all()


@pytest.mark.parametrize("grouping", ["knn", "none"])
def test_no_other_image_of_a_held_out_video_is_learned_from(tmp_path, grouping):
    data = write_made(
        tmp_path / "data", (THING,), 24, further=0, change=lambda number: {"video_id": f"shared-{number // 4}"}
    )
    examples, _ = read((data, ""), tmp_path, THING, grouping=grouping, held_out=0.2)
    videos = read_views(data, THING).video_ids
    hidden = {videos[image] for image in examples.watched.tolist()}
    rows = [examples.members[image][examples.weights[image] > 0] for image in examples.learned.tolist()]
    assert hidden and rows and not hidden & {videos[row] for row in torch.cat(rows).tolist()}


def test_whole_videos_are_held_out_where_they_fit():
    ids = [f"image_{number:03}" for number in range(100)]
    videos = [f"video_{number // 5}" for number in range(100)]
    held = hold_out(ids, 0.1, videos)
    assert held.sum() == 10 and (held.reshape(20, 5).all(1) == held.reshape(20, 5).any(1)).all()
    first = [*videos[:5], *("one long video",) * 95]
    assert hold_out(ids, 0.1, first).tolist() == [True] * 5 + [False] * 95  # the long one is passed over
    whole = hold_out(ids, 0.1, ["one video"] * 100)
    assert whole.tolist() == hold_out(ids, 0.1).tolist() and whole.sum() == 10
    assert hold_out(ids, 0.1, ids).tolist() == hold_out(ids, 0.1).tolist()


def test_supervision_in_space_learns_from_points(made, tmp_path):
    examples, report = read(made, tmp_path, supervision="3d", grouping="none")
    points = read_points(made[0], TWO[0])
    np.testing.assert_allclose(examples.pool.coordinates.view(24, -1, 3).numpy(), points.points, atol=1e-6)
    assert examples.members.tolist() == [[n] for n in range(24)] and report["views"] == 24
    assert points.image_ids == examples.image_ids


@pytest.mark.parametrize("source", ["estimates", "truth"])
def test_no_groups_means_the_own_view_alone(made, tmp_path, source):
    examples, _ = read(made, tmp_path, grouping="none", source=source)
    views = read_views(made[0], TWO[0], source=source)
    assert examples.members.tolist() == [[n] for n in range(24)]
    wanted = [slow_coordinates(*pair, "metres") for pair in zip(views.rays, views.positions, strict=True)]
    np.testing.assert_allclose(examples.pool.coordinates.numpy(), wanted, atol=2e-5)
    held = hold_out(examples.image_ids, 0.05)
    assert examples.held_out.tolist() == held.tolist()


def test_what_has_no_keypoints_is_left_out_with_its_picture(tmp_path):
    gaps = {3: {"body_keypoints": None}, 7: {"camera": None}, 9: {"object_keypoints": np.full((1, 2), np.nan)}}
    data = write_made(tmp_path / "data", (THING,), 20, change=lambda n: gaps.get(n, {}))
    whole = write_made(tmp_path / "whole", (THING,), 20)
    some, report = read((data, ""), tmp_path, THING, grouping="none")
    every, _ = read((whole, ""), tmp_path, THING, grouping="none")
    kept = [n for n in range(20) if n not in gaps]
    assert some.image_ids == tuple(every.image_ids[n] for n in kept)
    assert torch.equal(some.pictures, every.pictures[kept])
    assert torch.equal(some.pool.coordinates, every.pool.coordinates[kept])
    assert sum(report["left_out"].values()) == 3


# How it goes on


RESUMED = {
    "plain": {"augment": False},
    "varied": {},
    "dropped": {"encoder": replace(ENCODER, dropout=0.4), "flow": replace(FLOW, dropout=0.3)},
    "normalised": {"flow": replace(FLOW, batch_norm=True), "lr": 1e-4},
    "halved": {"half": True, "clip": 0.0},
    "blind": {"encoder": NONE},
    "bf16": {"precision": "bf16"},
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_training_ends_in_the_same_weights(name, tmp_path, monkeypatch):
    from accelerate import Accelerator

    options = tiny_options(epochs=4, batch=25, **RESUMED[name])
    examples = replace(gaussian_examples(60), pool=mirrored_pool(gaussian_examples(60).pool))

    def trainer(folder, **more):
        accelerator = Accelerator(cpu=True, mixed_precision="bf16" if options.precision == "bf16" else "no")
        found = tiny_trainer(folder, examples, options, accelerator=accelerator, **more)
        torch.manual_seed(int.from_bytes(os.urandom(3), "big"))
        return found

    whole = trainer(tmp_path / "whole")
    assert whole.run().epoch == 4
    for kept, often in (("seldom", 1e9), ("often", 0.0)):
        monkeypatch.setattr(diary_module, "KEEP_EVERY", often)
        folder = tmp_path / kept
        for epochs in (1, 3):
            with pytest.raises(Stop):
                trainer(folder, watch=stop_after(epochs)).run()
        told = []
        resumed = trainer(folder, watch=lambda done, *_, told=told: told.append(done))
        assert resumed.run() == whole.standing
        assert told == ([4] if kept == "often" else [3, 4])  # the first epoch of a run is kept
        assert same_weights(resumed.prior, whole.prior)
        assert (folder / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
        assert json.loads((folder / CONFIG).read_text()) == json.loads((tmp_path / "whole" / CONFIG).read_text())
        assert without_times(lines_of(folder)) == without_times(lines_of(tmp_path / "whole"))


def mirrored_pool(pool):
    return Pool(pool.coordinates, -pool.coordinates)


def test_a_training_that_breaks_within_an_epoch_ends_in_the_same_weights(tmp_path, always_kept):
    options = tiny_options(epochs=3, batch=10)
    whole = tiny_trainer(tmp_path / "whole", options=options)
    whole.run()
    broken = tiny_trainer(tmp_path / "broken", options=options)
    step = broken._step

    def failing(images, number, generator):
        if number == broken.steps + 3:
            raise Stop
        return step(images, number, generator)

    broken._step = failing
    with pytest.raises(Stop):
        broken.run()
    again = tiny_trainer(tmp_path / "broken", options=options)
    again.run()
    assert same_weights(again.prior, whole.prior)
    assert without_times(lines_of(tmp_path / "broken")) == without_times(lines_of(tmp_path / "whole"))


def interrupt(monkeypatch, after):
    """Interrupt trainings after so many epochs."""
    epoch = Trainer._epoch

    def counted(trainer):
        if trainer.standing.epoch == after:
            raise Stop
        epoch(trainer)

    monkeypatch.setattr(Trainer, "_epoch", counted)


@pytest.fixture(scope="module")
def interrupted(made, tmp_path_factory):
    """The folder of a training that was interrupted after an epoch."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    out = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        interrupt(patch, 1)
        trained(made, out)
    return out


def program(*words, timeout=300):
    environment = os.environ | {"PYTHONPATH": f"{HERE.parent}:{HERE}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A small data folder, mean maps, and what a training on it ends in that is left alone."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    folder = tmp_path_factory.mktemp("few")
    data, means = write_made(folder / "data", (THING,), 12), str(write_means(folder / "means.npz"))
    with unchecked():
        trained((data, means), folder / "whole", THING, **OPTIONS)
    return data, means, result(folder / "whole")


def result(out):
    """Whatever must not depend on interruptions: lines, weights, configuration, files that are not hidden."""
    names = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    return without_times(lines_of(out)), (out / WEIGHTS).read_bytes(), json.loads((out / CONFIG).read_text()), names


def crashed(few, out, number):
    """Whether a training ended at so many changes of files."""
    try:
        with unchecked(), crash_at(number, out):
            trained(few[:2], out, THING, **OPTIONS)
    except Crash:
        return True
    return False


POINTS, STRIDE = 200, 7


@dataclass(frozen=True)
class Ended:
    """A training that was broken off: the prior it left could be read, what going on said, and its result."""

    readable: bool
    error: str
    result: tuple


@pytest.fixture(scope="module")
def broken(few, tmp_path_factory):
    """Trainings broken off at many changes of files, by number, and gone on with."""
    place, found = tmp_path_factory.mktemp("broken"), {}
    of = load_template(find_template(few[0].objects, THING, shipped=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diary_module, "KEEP_EVERY", 0.0)
        for number in range(2, POINTS, STRIDE):
            out = place / str(number)
            if not crashed(few, out, number):
                break
            readable = not (out / CONFIG).is_file() or not failure(read_prior, out, of)
            error = failure(trained, few[:2], out, THING, resume=True, **OPTIONS)
            found[number] = Ended(readable, error, result(out))
    assert 5 < len(found) < POINTS // STRIDE - 1
    return found


def failure(function, *words, **named):
    """What it raises, in words."""
    with unchecked():
        try:
            function(*words, **named)
        except (WildhoiError, OSError) as error:
            return f"{type(error).__name__}: {error}"
    return ""


def test_a_training_broken_off_anywhere_goes_on_to_the_same_weights(broken, few):
    assert not [number for number, ended in broken.items() if ended.result[1:3] != few[2][1:3]]


def test_a_training_broken_off_anywhere_goes_on_without_an_error(broken):
    assert not {number: ended.error for number, ended in broken.items() if ended.error}


def test_a_training_broken_off_anywhere_has_a_line_an_epoch(broken, few):
    assert not [number for number, ended in broken.items() if ended.result[0] != few[2][0]]


def test_the_prior_is_readable_wherever_a_training_is_broken_off(broken):
    assert not [number for number, ended in broken.items() if not ended.readable]


def test_a_training_broken_off_anywhere_leaves_the_same_files(broken, few):
    assert not [number for number, ended in broken.items() if ended.result[3] != few[2][3]]


def test_a_full_disk_leaves_the_last_good_prior(tmp_path, monkeypatch):
    with pytest.raises(Stop):
        tiny_trainer(tmp_path, watch=stop_after(1)).run()
    kept = stored(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space"):
        tiny_trainer(tmp_path).run()
    monkeypatch.undo()
    assert same_weights(stored(tmp_path), kept)


def test_a_killed_training_goes_on_to_the_same_end(few, tmp_path):
    done = program(HERE / "training_runs.py", "killed", few[0].path, few[1], tmp_path / "out", 60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not failure(trained, few[:2], tmp_path / "out", THING, resume=True, **OPTIONS)
    assert result(tmp_path / "out") == few[2]


CHANGES = {
    "lr": 2e-3, "epochs": 5, "seed": 1, "noise": 0.03, "k": 4, "half": False, "context": 5, "held_out": 0.3,
    "condition": "none", "grouping": "none",
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_training_is_not_resumed_with_other_options(made, interrupted, name):
    def contents():
        files = {path.name: path.read_bytes() for path in interrupted.rglob("*") if path.is_file()}
        return {name: content for name, content in files.items() if name != "groups.npz"}

    before = contents()
    with pytest.raises(InputError) as error:
        trained(made, interrupted, resume=True, **{name: CHANGES[name]})
    refused(error, str(interrupted), "other options")
    assert contents() == before


def test_a_training_is_not_resumed_on_other_data(made, interrupted, tmp_path):
    darker = write_made(tmp_path / "data", TWO[:1], 24, change=lambda n: {"image": np.zeros((48, 64, 3), np.uint8)})
    with pytest.raises(InputError) as error:
        trained((darker, made[1]), interrupted, resume=True)
    refused(error, "data")


@pytest.mark.parametrize("spoil", ["cut", "flipped", "gone", "state"])
def test_a_damaged_state_is_refused(tmp_path, spoil):
    with pytest.raises(Stop):
        tiny_trainer(tmp_path, watch=stop_after(1)).run()
    (weights,) = (tmp_path / "state").glob("*.safetensors")
    content = weights.read_bytes()
    if spoil == "gone":
        weights.unlink()
    elif spoil == "state":
        (tmp_path / "state" / "state.json").write_text('{"epoch": 1}')
    else:
        weights.write_bytes(content[:-9] if spoil == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WildhoiError) as error:
        tiny_trainer(tmp_path).run()
    refused(error, str(tmp_path))


def test_nothing_but_a_resume_touches_a_folder_that_holds_something(made, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError) as error:
        trained(made, tmp_path)
    refused(error, str(tmp_path), "not empty", "--resume")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.fixture(scope="module")
def finished(made, tmp_path_factory):
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    out = tmp_path_factory.mktemp("finished") / TWO[0]
    with unchecked():
        return out, trained(made, out, pictures_every=1, held_out=0.2)


def test_a_finished_training_is_kept(finished, made):
    out, told = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(InputError) as error:
        trained(made, out, pictures_every=1, held_out=0.2)
    refused(error, str(out), "finished")
    assert trained(made, out, pictures_every=1, held_out=0.2, resume=True) == told
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize("changes", [{"epochs": 9}, {"noise": 0.3}, {"grouping": "none"}], ids=str)
def test_a_finished_training_of_other_options_is_refused(finished, made, changes):
    with pytest.raises(InputError):
        trained(made, finished[0], resume=True, **{"pictures_every": 1, "held_out": 0.2, **changes})


def test_a_finished_training_of_another_object_is_refused(finished, made):
    with pytest.raises(InputError):
        trained(made, finished[0], TWO[1], resume=True, pictures_every=1, held_out=0.2)


# How it ends


def held_out_as(monkeypatch, values):
    left = iter(values)
    monkeypatch.setattr(Trainer, "_held_out", lambda trainer: next(left))


def test_it_stops_when_it_gets_no_better_and_keeps_the_best(tmp_path, monkeypatch, always_kept):
    held_out_as(monkeypatch, [0.0, 1.0, 0.5, 0.9, 1.0, 2.0, 3.0])
    options = tiny_options(epochs=9, patience=3)
    seen = {}

    def watch(done, total, numbers):
        assert total == 9
        seen[done] = {name: value.clone() for name, value in trainer.prior.state_dict().items()}

    trainer = tiny_trainer(tmp_path, options=options, watch=watch)
    standing = trainer.run()
    assert (standing.epoch, standing.best, standing.best_epoch) == (5, 1.0, 2)  # as good is not better
    kept = stored(tmp_path).state_dict()
    assert all(torch.equal(kept[name], seen[2][name]) for name in kept)
    assert not all(torch.equal(kept[name], seen[5][name]) for name in kept)
    again = tiny_trainer(tmp_path, options=options)
    assert again.run() == standing and len(lines_of(tmp_path)) == 5  # nor does it go on


def test_without_patience_it_goes_on_to_the_end(tmp_path, monkeypatch):
    held_out_as(monkeypatch, [5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    standing = tiny_trainer(tmp_path, options=tiny_options(epochs=6)).run()
    assert (standing.epoch, standing.best_epoch) == (6, 1)


def test_a_last_batch_of_one_image_and_one_view(tmp_path):
    options = tiny_options(flow=replace(FLOW, batch_norm=True), batch=16, draws=1, epochs=1)
    trainer = tiny_trainer(tmp_path, gaussian_examples(22, share=0.22), options)
    assert len(trainer.examples.learned) == 17 and trainer.run().epoch == 1


def test_the_rate_falls_on_half_a_cosine(tmp_path):
    trainer = tiny_trainer(tmp_path, options=tiny_options(epochs=3, batch=24, lr=1e-3, final_lr=0.1))
    rates, step = [], trainer._step
    trainer._step = lambda *words: (step(*words), rates.append(trainer.optimiser.param_groups[0]["lr"]))[0]
    trainer.run()
    count = 3 * trainer.steps
    assert len(rates) == count == 9
    wanted = [0.1 + 0.9 * (1 + np.cos(np.pi * n / (count - 1))) / 2 for n in range(count)]
    np.testing.assert_allclose(rates, 1e-3 * np.array(wanted), atol=1e-12)


def test_a_loss_that_is_no_number_ends_it_and_keeps_the_best(tmp_path, always_kept):
    def watch(done, total, numbers):
        if done == 2:
            with torch.no_grad():
                next(trainer.prior.parameters()).fill_(torch.nan)

    trainer = tiny_trainer(tmp_path, options=tiny_options(epochs=6), watch=watch)
    with pytest.raises(RunError) as error:
        trainer.run()
    refused(error, "epoch 3", "epoch 2", str(tmp_path), "lr")
    assert error.value.exit_code == 1
    assert all(bool(tensor.isfinite().all()) for tensor in stored(tmp_path).state_dict().values())
    assert json.loads((tmp_path / CONFIG).read_text())["best_epoch"] == 2
    assert [line["epoch"] for line in lines_of(tmp_path)] == [1, 2]


@pytest.mark.parametrize("row", ["own", "further"])
def test_a_view_that_is_no_number_ends_it(tmp_path, row):
    examples = gaussian_examples(40, further=1)
    coordinates = examples.pool.coordinates.clone()
    coordinates[examples.members[examples.learned[5], 0 if row == "own" else 1], 3] = torch.nan
    with pytest.raises(WildhoiError) as error:
        tiny_trainer(tmp_path, replace(examples, pool=Pool(coordinates, None)), tiny_options(draws=8)).run()
    assert "finite" in str(error.value)
    assert not (tmp_path / CONFIG).exists()


def test_a_rate_that_is_far_too_high_ends_it(tmp_path):
    with pytest.raises(RunError) as error:
        tiny_trainer(tmp_path, options=tiny_options(lr=1e9, clip=0.0, epochs=20)).run()
    refused(error, "finite", "lr")


def test_weights_that_the_last_step_spoiled_end_it(made, tmp_path):
    with pytest.raises(RunError):
        trained(made, tmp_path, epochs=1, batch=64, lr=1e9)


def test_the_log_is_json_whatever_is_held_out(tmp_path, monkeypatch):
    held_out_as(monkeypatch, [0.0, float("nan"), float("-inf"), 0.5])
    tiny_trainer(tmp_path, options=tiny_options(epochs=4)).run()
    assert [line["epoch"] for line in lines_of(tmp_path)] == [1, 2, 3, 4]


def test_a_likelihood_that_is_no_number_is_not_the_best(tmp_path, monkeypatch):
    held_out_as(monkeypatch, [0.0, float("nan"), float("-inf"), 0.5])
    standing = tiny_trainer(tmp_path, options=tiny_options(epochs=4)).run()
    assert (standing.best, standing.best_epoch) == (0.5, 4)


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


# Precision, frozen backbones, many processes


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


def spread(*words):
    return program("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2, *words)


def test_two_processes_end_in_one_prior(tmp_path):
    done = spread(HERE / "training_runs.py", "spread", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    reports = [json.loads((tmp_path / f"out-{rank}.json").read_text()) for rank in (0, 1)]
    assert [report["rank"] for report in reports] == [0, 1] and reports[0]["processes"] == 2
    assert len({report["weights"] for report in reports}) == 1
    assert (
        reports[0]["held_out"] == reports[1]["held_out"] == max(line["held_out"] for line in lines_of(tmp_path / "out"))
    )
    assert [line["epoch"] for line in lines_of(tmp_path / "out")] == [1, 2]
    stored(tmp_path / "out")


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
