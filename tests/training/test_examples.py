"""What a training learns from: pools of views, groups, what is held out, pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import template
from test_grouping import made_views
from training_sets import (
    DIMENSION,
    ENCODER,
    SIDE,
    THING,
    TWO,
    gaussian_examples,
    lines_of,
    read,
    same_weights,
    tiny_options,
    tiny_trainer,
    write_made,
)

from baselines.encoders import build_encoder
from baselines.training.examples import Examples, Pool, hold_out, pool_of_points, pool_of_views, without_held_out
from wildhoi.dataset import load_layouts
from wildhoi.mirror import REFLECTION
from wildhoi.objects import load_categories
from wildhoi.view_reading import read_points, read_views
from wildhoi.views import mirror_order, mirror_views

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
    parts = torch.randint(2**12, (images, DIMENSION)) / 2**12  # exact beside a thousand too: none is rounded up to 1
    plain = (10.0 + torch.arange(images))[:, None] + parts
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
