"""Methods side by side: what is on the page, what its views say, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from test_show import centre, covered, template_of

import submissions
from wildhoi.body import load_body
from wildhoi.dataset import find_data, find_sample, load_annotations
from wildhoi.errors import InputError
from wildhoi.schema import Failure
from wildhoi.show import comparison
from wildhoi.show.comparison import render_comparison
from wildhoi.show.fit import Fit, fit_errors
from wildhoi.show.page import write_words
from wildhoi.show.scene import OBJECT, PERSON

DATA = "open-sample"
THINGS = ("barbell", "tennis")


@pytest.fixture(scope="module")
def body():
    return load_body("open")


@pytest.fixture(scope="module")
def images(body):
    """Of one image of each object: the truth with the object where it is, and so many metres behind it."""
    found = []
    for name in THINGS:
        truth = next(a for a in load_annotations(find_data(DATA)) if a.object == name)
        sample = find_sample(find_data(DATA), truth.image_id)
        fits = [
            Fit(f"{metres} m", behind(truth, metres), sample, truth, template_of(name), body) for metres in (0, 1, 2)
        ]
        found.append(fits)
    return found


def behind(truth, metres):
    """The truth with the object moved along the viewing direction."""
    row, shift = submissions.as_reconstruction(truth), metres * truth.camera.rotation[2]
    return replace(
        row, camera=truth.camera, object_pose=replace(row.object_pose, translation=row.object_pose.translation + shift)
    )


@pytest.fixture
def small(monkeypatch):
    """Panels of a quarter of the usual area: faster."""
    monkeypatch.setattr(comparison, "PANEL", 148)
    monkeypatch.setattr(comparison, "SIDE", 80)


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Draw a comparison; gives its blocks, the words of the page with where each begins and ends, and the file."""

    def draw(images, **words):
        blocks, written = [], []

        def block(*given):
            blocks.append(kept(*given))
            return blocks[-1]

        def write(page, x, y, text, **style):
            written.append((text, x, write_words(page, x, y, text, **style)))
            return written[-1][2]

        with monkeypatch.context() as patch:
            kept = comparison._block
            patch.setattr(comparison, "_block", block)
            patch.setattr(comparison, "write_words", write)
            render_comparison(images, tmp_path / "new" / "out.png", **{"title": "Side by side", **words})
        return blocks, written, tmp_path / "new" / "out.png"

    return draw


def test_a_block_for_each_image_with_a_column_for_each_method_and_the_truth(draw, images):
    blocks, written, out = draw(images, subtitle="a few")
    assert [block.object for block in blocks] == list(THINGS)
    words = [text for text, _, _ in written]
    assert words[:2] == ["Side by side", "a few"] and "open body" in words[-1]
    for block, fits in zip(blocks, images, strict=True):
        assert [column.title for column in block.columns] == ["0 m", "1 m", "2 m", "Truth"]
        far = [fit_errors(fit)["object_translation_cm"] for fit in fits]
        np.testing.assert_allclose(far, [0, 100, 200], atol=1e-6)
        assert [column.error for column in block.columns] == [*(f"object {cm:.1f} cm off" for cm in far), ""]
        assert f"lines every {block.step:g} m" in words
    height, width = np.asarray(Image.open(out)).shape[:2]
    assert width == 1600 and height < 1300


def test_the_side_view_shows_depth_at_one_scale_and_to_the_right(small, draw, images):
    for block in draw(images)[0]:
        here, one, two, truth = (column.side for column in block.columns)
        np.testing.assert_array_equal(here.pixels, truth.pixels)
        things = [centre(covered(panel, OBJECT)) for panel in (one, two)]
        people = [centre(covered(panel, PERSON)) for panel in (one, two)]
        moved = things[1] - things[0]
        assert moved[0] > 10 and abs(moved[1]) < 2, "a metre farther is to the right, level"
        np.testing.assert_allclose(people[0], people[1], atol=2)


def test_over_the_picture_meshes_stand_where_the_truth_does(small, draw, images):
    block = draw(images)[0][1]
    right, one, _, truth = (column.over for column in block.columns)
    np.testing.assert_array_equal(right.pixels, truth.pixels)
    assert np.linalg.norm(centre(covered(one, PERSON)) - centre(covered(truth, PERSON))) < 3
    assert not np.array_equal(block.picture.pixels, right.pixels)


def test_no_words_leave_their_column(draw, images):
    named = [[replace(fit, method="a method of a name that has no end " * 3) for fit in fits[:2]] for fits in images]
    _, written, out = draw(named, subtitle="the first test image of each object, 4000 + 1000 steps")
    step, width = comparison.PANEL + comparison.GAP, Image.open(out).size[0]
    titles = [entry for entry in written if "…" in entry[0]]
    assert len(titles) == 4 and all(end - begin < step for _, begin, end in titles)
    assert max(end for _, _, end in written) < width - comparison.MARGIN


def test_a_failure_is_said(small, draw, images):
    failure = Failure(images[0][0].row.image_id, "no map")
    block = draw([[images[0][0], replace(images[0][1], row=failure)]])[0][0]
    failed = block.columns[1]
    axes = Figure().add_subplot()
    failed.over.draw(axes)
    assert [text.get_text() for text in axes.texts] == ["no reconstruction"] and failed.error == "no reconstruction"
    assert not covered(failed.side, PERSON).any() and not covered(failed.side, OBJECT).any()


def test_without_a_picture_or_a_camera(small, draw, images):
    blind = [replace(fit, sample=replace(fit.sample, image=None, image_box=None, camera=None)) for fit in images[0]]
    block = draw([blind])[0][0]
    assert len({tuple(pixel) for pixel in block.picture.pixels.reshape(-1, 3)}) == 1
    assert covered(block.columns[0].over, PERSON).any()


def test_the_same_comparison_has_the_same_bytes(small, draw, images):
    first = draw(images[:1])[2].read_bytes()
    assert draw(images[:1])[2].read_bytes() == first


def test_what_cannot_be_compared(images, tmp_path):
    first, second = images
    other = [replace(fit, method="other") for fit in second]
    for wrong, words in (
        ([], "want one image or more"),
        ([[]], "got 0 fits, 0 of them with sample and truth, of none"),
        ([first, other], "of each the same methods"),
        ([first, second[:1]], "of each the same methods"),
        ([[first[0], second[0]]], "got 2 fits, 2 of them .* all of that image"),
        ([[first[0], replace(first[1], truth=None)]], "2 fits, 1 of them with sample and truth"),
        ([[replace(first[0], sample=None)]], "1 fits, 0 of them with sample and truth"),
    ):
        with pytest.raises(InputError, match=words):
            render_comparison(wrong, tmp_path / "out.png", title="")
    assert not list(tmp_path.iterdir())
