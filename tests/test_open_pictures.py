"""The pictures of the open set: masks are the rasterizer's own, looks tell nothing but what they are."""

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch

from wildhoi.body.loading import load_body
from wildhoi.open_scenes.drawing.backgrounds import PLACES, draw_scenery
from wildhoi.open_scenes.drawing.looks import draw_look
from wildhoi.open_scenes.drawing.person import measure
from wildhoi.open_scenes.drawing.render import _averaged, _uppermost, draw, draw_background
from wildhoi.open_scenes.drawing.settings import load_look_settings
from wildhoi.open_scenes.randomness import generator
from wildhoi.rendering.occlusion import occlusion
from wildhoi.rendering.raster import rasterize
from wildhoi.templates import SHIPPED, load_template

BODY = load_body("open")
SETTINGS = load_look_settings()
FACES = torch.tensor(BODY.faces)
BALL, LARGE = (load_template(SHIPPED / name) for name in ("basketball", "bicycle"))


def look(*names, template=BALL):
    return draw_look(generator(*names), BODY, template, SETTINGS)


def place(template, seeds, size, offset=(0.15, 0.0, 0.2)):
    """A person with spread arms in random poses, the thing before the chest; 42 m away, about 3/4 of the window."""
    human, thing = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        pose = [torch.tensor(rng.normal(0, s, (1, *shape))) for s, shape in ((1, (10,)), (0.2, (21, 3)))]
        vertices = BODY.surface(*pose, *torch.zeros(2, 1, 15, 3, dtype=torch.float64)).vertices[0]
        turn = torch.tensor(cv2.Rodrigues(rng.normal(0, 2, 3))[0])
        moved = torch.tensor(template.vertices) @ turn.T + torch.tensor(offset, dtype=torch.float64)
        flip, away = torch.tensor([1.0, -1, -1]), torch.tensor([0.0, 0, 42])
        human.append((vertices * flip + away).float())
        thing.append((moved * flip + away).float())
    focal = torch.full((len(seeds), 2), 42 * 0.42 * size)
    point = torch.tensor([[size / 2 - 3.3, size / 2.6]]).expand(len(seeds), 2)
    return torch.stack(human), torch.stack(thing), FACES, torch.tensor(template.faces), focal, point, size


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("template", "size"), [(BALL, 96), (LARGE, 131)])
def test_masks_are_those_of_the_rasterizer_at_the_size_of_the_picture(template, size):
    scene = place(template, [1, 2], size)
    human, thing, *faces, focal, point, _ = scene
    drawing = draw([look(1, template=template)] * 2, *scene)
    rasters = [rasterize(v, f, focal, point, (size, size)) for v, f in zip((human, thing), faces, strict=True)]
    wanted = occlusion(*rasters)
    assert drawing.images.shape == (2, size, size, 3)
    assert np.array_equal(drawing.person, wanted.human_visible)
    assert np.array_equal(drawing.thing, wanted.object_visible)
    assert np.array_equal(drawing.person_whole, rasters[0].face >= 0)
    assert np.array_equal(drawing.thing_whole, rasters[1].face >= 0)
    assert wanted.overlap.any()


def test_the_same_names_give_the_same_bytes_and_others_do_not():
    scene = place(BALL, [3], 64)
    first, again, other = (draw([look("a", n)], *scene).images for n in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 5


def test_a_picture_is_the_same_in_any_batch():
    looks = [look("batch", n) for n in range(3)]
    human, thing, *faces, focal, point, size = place(BALL, [4, 5, 6], 96)
    together = draw(looks, human, thing, *faces, focal, point, size)
    for i in range(3):
        one = slice(i, i + 1)
        alone = draw(looks[one], human[one], thing[one], *faces, focal[one], point[one], size)
        assert same(alone, (part[one] for part in together))


def test_what_is_seen_of_the_background_tells_nothing_of_person_and_thing():
    chosen, size = look("background"), 128
    chosen = replace(chosen, sensor=replace(chosen.sensor, quality=100, motion=(0.0, 0.0)))
    alone = draw_background(chosen, size).astype(int)
    for seed in (7, 8):
        drawing = draw([chosen], *place(BALL, [seed], size))
        silhouette = (drawing.person_whole | drawing.thing_whole)[0].astype(np.uint8)
        far = cv2.dilate(silhouette, np.ones((49, 49))) == 0  # farther than lens and blocks of the JPEG reach
        assert far.mean() > 0.2
        assert np.array_equal(drawing.images[0][far], alone[far])


def test_a_picture_of_nothing_is_its_background():
    human, thing, *rest = place(BALL, [9], 64)
    away = torch.tensor([100.0, 0, 0])
    drawing = draw([look("nothing")], human + away, thing + away, *rest)
    assert not any(mask.any() for mask in drawing[1:])
    assert np.array_equal(drawing.images[0], draw_background(look("nothing"), 64))


def test_a_thing_moves_no_other_part_of_the_look():
    first, second = look("parts", template=BALL), look("parts", template=LARGE)
    for part in ("person", "light", "scenery", "sensor"):
        one, two = getattr(first, part), getattr(second, part)
        assert all(
            np.array_equal(getattr(one, f.name), getattr(two, f.name)) for f in fields(one) if f.name != "settings"
        )


def test_looks_draw_nothing_from_global_random_numbers():
    state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002 - the global state is the subject
    draw([look("global")], *place(BALL, [1], 64))
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002 - likewise
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize("template", [BALL, LARGE])
def test_paint_covers_every_vertex_with_possible_colours(template):
    for n in range(20):
        for paint in (look("paint", n).person, look("paint", n, template=template).thing):
            count, regions = paint.fields.shape
            assert (paint.fields > 0).any(axis=1).all()
            assert np.isfinite(paint.fields).all() and np.isfinite(paint.relief).all()
            assert paint.cloth.shape == (count, 2) and paint.relief.shape == (count, 3)
            for table in (paint.colours, paint.accents, paint.waves, paint.gloss, paint.folds):
                assert len(table) == regions
            assert paint.colours.min() >= 0 and paint.colours.max() <= 1


def test_a_template_without_an_entry_is_painted_piece_by_piece():
    paint = draw_look(generator(1), BODY, BALL, replace(SETTINGS, things={})).thing
    assert len(paint.colours) == 4
    assert (paint.fields[:, 0] > 0).all()


def test_faces_and_backs_of_heads_differ():
    head = np.abs(measure(BODY).head[:, 1]) < 0.1
    front, back = (head & (sign * (measure(BODY).rest[:, 2] + 0.02) > 0.06) for sign in (1, -1))
    assert front.sum() > 50 and back.sum() > 50
    for n in range(10):
        paint = look("head", n).person
        uppermost = _uppermost(torch.tensor(paint.fields)).numpy()
        shown = [paint.colours[uppermost[part]] for part in (front, back)]
        assert shown[0].std(axis=0).sum() > shown[1].std(axis=0).sum()
        assert len(np.unique(uppermost[front])) > len(np.unique(uppermost[back]))


def test_the_uppermost_region_wins():
    rng = np.random.default_rng(0)
    signs = rng.normal(size=(50, 6)).astype(np.float32)
    signs[:, 0] = 1
    assert _uppermost(torch.tensor(signs)).tolist() == [max(np.flatnonzero(row > 0)) for row in signs]


def test_samples_are_averaged_about_the_centres_of_pixels():
    fine = torch.rand(4, 10, 10, generator=torch.Generator().manual_seed(0))
    padded = np.pad(fine.numpy(), ((0, 0), (1, 0), (1, 0)), mode="edge")
    tent = np.outer([1, 2, 1], [1, 2, 1]) / 16
    for y in range(5):
        for x in range(5):
            window = padded[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
            assert np.allclose(_averaged(fine)[:, y, x], (window * tent).sum((1, 2)), atol=1e-6)


@pytest.mark.parametrize("kind", PLACES)
def test_a_place_is_the_same_at_every_size_and_never_the_same_twice(kind):
    sceneries = [replace(look("place", n).scenery, place=kind) for n in range(3)]
    large, small = draw_scenery(sceneries[0], 256), draw_scenery(sceneries[0], 128)
    reduced = cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA)
    others = [draw_scenery(scenery, 128) for scenery in sceneries[1:]]
    assert large.dtype == np.float32 and large.min() >= 0 and large.max() < 1.001
    assert np.abs(reduced - small).mean() < 0.04
    assert min(np.abs(small - other).mean() for other in others) > 0.04


def test_the_settings_name_what_there_is():
    assert set(SETTINGS.scenery.places) == set(PLACES)
    assert set(SETTINGS.things) == {folder.name for folder in SHIPPED.iterdir()}
    for name, regions in SETTINGS.things.items():
        groups = set(load_template(SHIPPED / name).contact_vertices)
        assert {region.palette for region in regions} <= set(SETTINGS.palettes)
        assert {group for region in regions for group in region.groups or ()} <= groups


@pytest.mark.parametrize("part", ["wardrobe", "light", "sensor", "scenery"])
def test_ranges_rise(part):
    settings = getattr(SETTINGS, part)
    values = [getattr(settings, field.name) for field in fields(settings)]
    values += [part for value in values if isinstance(value, dict) for part in value.values()]
    ranges = [value for value in values if isinstance(value, tuple)]
    assert ranges and all(low <= high for low, high in ranges)


def test_every_person_is_dressed():
    """Belly and bottom are covered by some cloth."""
    parts = np.concatenate([BODY.parts["bottom"], BODY.parts["belly"]])
    for n in range(30):
        paint = look("dressed", n).person
        assert (_uppermost(torch.tensor(paint.fields))[parts] > 0).float().mean() > 0.9
