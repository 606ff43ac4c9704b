"""What encoders are shown: where things lie in the window, and how pictures are varied."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fit_scenes import TRIED, samples_of
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.pictures import MARGIN, Augment, encoder_picture, mirror_picture
from wildhoi.errors import InputError
from wildhoi.mirror import mirror_sample
from wildhoi.schema import Sample

STILL = Augment(shift=0.0, rotation=0.0, rotated=1.0, scale=0.0, colour=0.0)


def made(person=(40, 30, 60, 79), thing=(70, 60, 99, 69), image_box=(20, 10, 100, 100), **changes):
    """A frame's crop, black but for a red person and a green object that fill their boxes and masks."""
    x, y, width, height = image_box
    image = np.zeros((height, width, 3), np.uint8)
    for colour, (left, top, right, bottom) in enumerate((person, thing)):
        image[top - y : bottom + 1 - y, left - x : right + 1 - x, colour] = 200
    parts = {"image": image, "image_box": image_box}
    for name, (left, top, right, bottom) in (("person", person), ("object", thing)):
        parts[f"{name}_box"] = np.array([left, top, right, bottom], float)
        parts[f"{name}_mask_box"] = (left, top, right + 1 - left, bottom + 1 - top)
        parts[f"{name}_mask"] = np.ones((bottom + 1 - top, right + 1 - left), bool)
    return Sample("made", "skateboard", "video", **{**parts, **changes})


def extent(channel):
    """The first and last column and row that are not 0."""
    rows, columns = np.nonzero(channel)
    return columns.min(), rows.min(), columns.max(), rows.max()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def varied_by(augment, pictures, seed=0):
    return augment(pictures, augment.draw(len(pictures), generator(seed)))


def random_pictures(count=6, side=24, seed=0):
    return torch.randint(0, 256, (count, 5, side, side), dtype=torch.uint8, generator=generator(seed))


# -- the window --------------------------------------------------------------------------------------------------------


def test_the_window_is_about_both_boxes_with_a_margin():
    # together 40..99 x 30..79: 60 wide, so the window is 72 on a side, its middle at (69.5, 54.5): from (34, 19)
    picture = encoder_picture(made(), 72)
    assert picture.shape == (5, 72, 72) and picture.dtype == np.uint8
    assert extent(picture[3]) == extent(picture[0]) == (6, 11, 26, 60)
    assert extent(picture[4]) == extent(picture[1]) == (36, 41, 65, 50)
    assert not picture[2].any() and set(np.unique(picture[3:])) == {0, 255}


def by_hand(sample, size):
    """The window at a size of which its side is a multiple: the mean of each block of pixels."""
    boxes = np.stack([sample.person_box, sample.object_box])
    first, last = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    side = round(MARGIN * (last - first + 1).max())
    left, top = ((first + last + 1 - side) // 2).astype(int)
    layers = np.zeros((5, side, side))
    pictures = [(sample.image, sample.image_box, slice(0, 3))]
    pictures += [(sample.person_mask[..., None] * 255.0, sample.person_mask_box, slice(3, 4))]
    pictures += [(sample.object_mask[..., None] * 255.0, sample.object_mask_box, slice(4, 5))]
    for pixels, (x, y, width, height), channels in pictures:
        for row in range(height):
            for column in range(width):
                at = y + row - top, x + column - left
                if min(at) >= 0 and max(at) < side:
                    layers[channels, at[0], at[1]] = pixels[row, column]
    assert side % size == 0
    return layers.reshape(5, size, side // size, size, side // size).mean((2, 4))


@pytest.mark.parametrize("size", [72, 36, 24, 12])
def test_pixels_are_averaged_over_their_area(size):
    rng = np.random.default_rng(size)
    noise = rng.integers(0, 256, (100, 100, 3), dtype=np.uint8)
    sample = made(image=noise, person_mask=rng.random((50, 21)) < 0.5)
    assert np.abs(encoder_picture(sample, size) - by_hand(sample, size)).max() <= 0.5 + 1e-6


@settings(max_examples=40, deadline=None)
@given(st.integers(-300, 300), st.integers(-300, 300), st.integers(8, 40), st.integers(60, 63))
def test_a_shift_of_the_frame_changes_nothing(x, y, size, right):
    one, moved = made(person=(40, 30, right, 79 - right % 2)), {}
    for name in ("person_box", "object_box"):
        moved[name] = getattr(one, name) + np.array([x, y, x, y])
    for name in ("image_box", "person_mask_box", "object_mask_box"):
        box = getattr(one, name)
        moved[name] = (box[0] + x, box[1] + y, *box[2:])
    assert np.array_equal(encoder_picture(replace(one, **moved), size), encoder_picture(one, size))


def test_it_is_black_where_the_image_has_ended():
    sample = made(person=(20, 10, 30, 109), thing=(20, 20, 25, 30), image=np.full((100, 100, 3), 90, np.uint8))
    picture = encoder_picture(sample, 60)  # 120 pixels on a side from (-35, 0): by halves
    assert (picture[:3, 5:55, 28:] == 90).all()
    assert not picture[:3, :, :26].any() and not picture[:3, :5].any() and not picture[:3, 55:].any()


@pytest.mark.parametrize("box", [[1e12, 0, 2e12, 9], [np.nan] * 4, [-1e30, -1e30, -1e29, -1e29], [50, 50, 40, 40]])
def test_a_box_that_shows_nothing_is_left_out(box):
    box = np.array(box, float)
    thing_alone = encoder_picture(made(person_box=None), 36)
    assert np.array_equal(encoder_picture(made(person_box=box), 36), thing_alone)
    assert np.array_equal(encoder_picture(made(person_box=box, object_box=box), 36), encoder_picture(made(), 36))


def test_a_box_is_no_larger_than_the_image():
    huge = np.array([-1e9, -1e9, 1e9, 1e9])
    assert np.array_equal(
        encoder_picture(made(person_box=huge), 30), encoder_picture(made(person_box=np.array([20, 10, 119, 109.0])), 30)
    )


def test_without_boxes_it_is_about_the_masks_and_without_those_about_the_image():
    none = {"person_box": None, "object_box": None}
    assert np.array_equal(encoder_picture(made(**none), 36), encoder_picture(made(), 36))
    none |= {"person_mask": None, "person_mask_box": None, "object_mask": None, "object_mask_box": None}
    picture = encoder_picture(made(**none), 120)  # the image of 100 pixels from (20, 10), the window from (10, 0)
    assert extent(picture[0]) == (30, 30, 50, 79)
    assert not picture[3:].any()
    assert np.array_equal(encoder_picture(replace(made(**none), image_box=None), 120), picture)


@pytest.mark.parametrize("absent", ["person", "object"])
def test_an_absent_mask_is_zero_and_changes_nothing_else(absent):
    expected = encoder_picture(made(), 30)
    expected[3 if absent == "person" else 4] = 0
    assert np.array_equal(encoder_picture(made(**{f"{absent}_mask": None}), 30), expected)
    assert np.array_equal(encoder_picture(made(**{f"{absent}_mask_box": None}), 30), expected)


def test_a_sample_without_image_is_refused():
    for image in (None, np.zeros((0, 0, 3), np.uint8)):
        with pytest.raises(InputError, match="made: has no image"):
            encoder_picture(made(image=image), 32)


@pytest.mark.parametrize("name", TRIED)
def test_colours_and_masks_of_the_data_lie_on_each_other(name):
    """Each mask lies in its own box, as large as the detector made it."""
    for sample in samples_of(name):
        picture = encoder_picture(sample, 64).astype(float) / 255
        boxes = np.stack([sample.person_box, sample.object_box])
        limits = np.array([*sample.image_box[:2], *np.add(sample.image_box[:2], sample.image_box[2:]) - 1])
        boxes = np.concatenate([np.maximum(boxes[:, :2], limits[:2]), np.minimum(boxes[:, 2:], limits[2:])], axis=1)
        first, last = boxes[:, :2].min(0), boxes[:, 2:].max(0)
        scale = 64 / (MARGIN * (last - first + 1).max())
        for channel, mask, box in ((3, sample.person_mask, boxes[0]), (4, sample.object_mask, boxes[1])):
            assert picture[channel].sum() == pytest.approx(mask.sum() * scale**2, rel=0.05, abs=1)
            start = 32 + (box[:2] - (first + last + 1) / 2) * scale
            end = 32 + (box[2:] + 1 - (first + last + 1) / 2) * scale
            found = extent(picture[channel] > 0.02)
            assert (found[:2] >= start - 2).all() and (np.array(found[2:]) <= end + 2).all()


@pytest.mark.parametrize("name", [name for name in TRIED if name != "cello"])
def test_the_mirrored_sample_has_the_mirrored_picture(name):
    for sample in samples_of(name):
        expected = mirror_picture(encoder_picture(sample, 48)).astype(float)
        found = encoder_picture(mirror_sample(sample), 48).astype(float)
        off = [np.abs(np.roll(found, k, axis=-1) - expected)[:, :, 2:-2].mean() for k in (-1, 0, 1)]
        # a window of whole pixels may lie one pixel of the frame beside the mirrored one
        assert off[1] == min(off) and off[1] < 6


def test_a_mirror_reverses_columns_and_undoes_itself():
    picture = random_pictures(2).numpy()
    assert np.array_equal(mirror_picture(picture)[0, 3, :, 0], picture[0, 3, :, -1])
    assert np.array_equal(mirror_picture(mirror_picture(picture[0])), picture[0])


# -- variation ---------------------------------------------------------------------------------------------------------


def test_no_strength_changes_nothing():
    pictures = random_pictures()
    assert torch.allclose(varied_by(STILL, pictures), pictures.float(), atol=0.01)


def test_it_is_told_by_the_generator_alone():
    pictures = random_pictures()
    first, again, other = (varied_by(Augment(), pictures, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.allclose(first, other, atol=10)
    state = torch.random.get_rng_state()
    varied_by(Augment(), pictures)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_values_stay_within_bounds_and_real_pictures_are_taken_as_whole_ones():
    pictures = random_pictures(64)
    varied = varied_by(Augment(colour=0.9), pictures)
    assert varied.dtype == torch.float32 and varied.min() >= 0 and varied.max() == 255
    assert torch.equal(varied, varied_by(Augment(colour=0.9), pictures.float()))


def disc(x, y, side=96, radius=6):
    """A white disc in all channels."""
    grid = torch.arange(side) - (side - 1) / 2
    inside = (grid[None] - x) ** 2 + (grid[:, None] - y) ** 2 < radius**2
    return (inside * 255).to(torch.uint8).expand(5, side, side)


def middle(channel):
    """The centre of mass, pixels from the middle of the picture."""
    grid = torch.arange(channel.shape[-1]) - (channel.shape[-1] - 1) / 2
    total = channel.sum((-2, -1))
    return torch.stack([(channel * grid).sum((-2, -1)), (channel * grid[:, None]).sum((-2, -1))], -1) / total[..., None]


def test_masks_and_colours_move_together():
    pictures = torch.stack([disc(12, -8)] * 32)
    varied = varied_by(Augment(), pictures)
    masks, colours = middle(varied[:, 3:]), middle(varied[:, :3])
    assert torch.allclose(masks[:, :1].expand(-1, 3, -1), colours, atol=0.5)
    assert torch.equal(masks[:, 0], masks[:, 1])
    assert (masks[:, 0].std(0) > 1).all()


def test_the_strengths_are_those_published():
    """Discs at three places tell the warp: shift, turn and scale, to be compared with what was asked for."""
    count, side = 400, 96
    middles = [
        middle(varied_by(Augment(colour=0.0), torch.stack([disc(x, y, side)] * count))[:, 3].double())
        for x, y in ((0, 0), (20, 0), (0, 20))
    ]
    right, down = (point - middles[0] for point in middles[1:])
    angle, length = torch.atan2(right[:, 1], right[:, 0]).rad2deg(), right.norm(dim=1)
    turned = angle.abs() > 0.3
    assert abs(turned.double().mean() - 0.5) < 0.08
    assert angle[turned].std() == pytest.approx(10, rel=0.15)
    scale = 20 / length  # a window twice as wide shows things half as large
    assert scale.std() == pytest.approx(0.1, rel=0.15) and scale.mean() == pytest.approx(1, abs=0.02)
    shown = middles[0] * scale[:, None] / side
    assert shown.std() == pytest.approx(0.1 / 3, rel=0.15) and abs(shown.mean()) < 0.005
    # no mirror and no shear: right and down stay at a right angle, in this order, equally long
    assert torch.allclose(torch.stack([-right[:, 1], right[:, 0]], 1), down, atol=0.5)


def test_colours_are_scaled_one_by_one_and_masks_are_not():
    grey = torch.full((500, 5, 4, 4), 100, dtype=torch.uint8)
    varied = varied_by(replace(STILL, colour=0.2), grey)[:, :, 1:3, 1:3].mean((2, 3))
    gains = varied[:, :3] / 100
    assert torch.allclose(varied[:, 3:], torch.tensor(100.0), atol=0.01)
    assert gains.min() >= 0.799 and gains.max() <= 1.201 and gains.std() == pytest.approx(0.4 / 12**0.5, rel=0.1)
    assert torch.corrcoef(gains.T).fill_diagonal_(0).abs().max() < 0.15


def test_a_picture_is_varied_without_regard_to_the_others():
    pictures = random_pictures(4)
    others = pictures.clone()
    others[1:] = 0
    assert torch.equal(varied_by(Augment(), pictures)[0], varied_by(Augment(), others)[0])
