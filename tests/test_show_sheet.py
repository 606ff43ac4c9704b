"""The contact sheet: what is on the page, its size, and the command."""

import json
from dataclasses import replace

import numpy as np
import pytest
from command import run
from PIL import Image
from test_show import made_sample, template_of

import submissions
from wildhoi.body import load_body
from wildhoi.dataset import find_data, load_annotations, seal_folder, write_annotations
from wildhoi.dataset.samples import write_samples
from wildhoi.errors import InputError
from wildhoi.show import render_sheet
from wildhoi.show.page import MARGIN
from wildhoi.show.scene import OBJECT, PERSON
from wildhoi.show.sheet import CAPTION, FOOT, GAP, HEAD, NARROW_GAP, PANEL, ROW_GAP
from wildhoi.show.window import GROUND

THING = "violin"
KINDS = (None, "played", "carried")


@pytest.fixture(scope="module")
def body():
    return load_body("open")


@pytest.fixture(scope="module")
def entries(body):
    truths = [a for a in load_annotations(find_data("open-sample")) if a.object == THING][:3]
    named = [replace(truth, interaction=kind) for truth, kind in zip(truths, KINDS, strict=True)]
    return [(made_sample(truth, body), truth) for truth in named]


def panels(path, count, columns):
    """The three panels of each image, cut from the page."""
    page = np.asarray(Image.open(path).convert("RGB"))
    each, rows = 3 * PANEL + 2 * NARROW_GAP, -(-count // columns)
    height = HEAD + rows * (CAPTION + PANEL) + (rows - 1) * ROW_GAP + FOOT
    assert page.shape == (height, 2 * MARGIN + columns * each + (columns - 1) * GAP, 3)
    found = []
    for index in range(count):
        top = HEAD + index // columns * (CAPTION + PANEL + ROW_GAP) + CAPTION
        left = MARGIN + index % columns * (each + GAP)
        starts = (left + number * (PANEL + NARROW_GAP) for number in range(3))
        found.append([page[top + 3 : top + PANEL - 3, start + 3 : start + PANEL - 3] for start in starts])
    return found


def share(pixels, colour):
    """How much of a panel has about the hue of a colour."""
    wanted, shown = (np.asarray(c, float) - np.mean(c, axis=-1, keepdims=True) for c in (colour, pixels))
    lengths = np.linalg.norm(shown, axis=-1) * np.linalg.norm(wanted)
    return np.mean((shown @ wanted > 0.9 * lengths) & (np.linalg.norm(shown, axis=-1) > 40))


def test_every_image_has_its_picture_and_its_truth_from_two_sides(entries, body, tmp_path):
    render_sheet(entries, template_of(THING), body, tmp_path / "sheet.png", title="made up", columns=2)
    assert Image.open(tmp_path / "sheet.png").mode == "P"
    for picture, front, side in panels(tmp_path / "sheet.png", 3, 2):
        for meshes in (front, side):
            assert share(meshes, PERSON) > 0.02 and share(meshes, OBJECT) > 0.0005
        assert (side == GROUND).all(axis=-1).mean() > 0.3
        assert not np.array_equal(picture, front) and picture.std() > 5


def test_the_same_page_has_the_same_bytes_and_is_small(entries, body, tmp_path):
    for name in ("one.png", "two.png"):
        render_sheet(entries, template_of(THING), body, tmp_path / name, title="made up")
    one, two = ((tmp_path / name).read_bytes() for name in ("one.png", "two.png"))
    assert one == two and len(one) < 700_000 / 4


def test_what_cannot_be_drawn_is_refused(entries, body, tmp_path):
    other = [(entries[0][0], entries[1][1])]
    for wrong, template, told in (
        ([], template_of(THING), "0 images"),
        (other, template_of(THING), entries[1][1].image_id),
        (entries, template_of("skateboard"), "want inputs and truth of images of skateboard"),
    ):
        with pytest.raises(InputError, match=told):
            render_sheet(wrong, template, body, tmp_path / "sheet.png", title="made up")
    assert not any(tmp_path.iterdir())


@pytest.fixture(scope="module")
def folder(entries, tmp_path_factory):
    path, file = tmp_path_factory.mktemp("sheet") / "open", f"{THING}/test-00000-of-00001.parquet"
    with submissions.unchecked():
        write_samples(path / "samples" / file, [sample for sample, _ in entries])
        write_annotations(path / "annotations" / file, [truth for _, truth in entries])
        seal_folder(path, name="open", body_model="open")
    return path


def test_the_command_takes_images_from_all_that_people_do(entries, folder, tmp_path, monkeypatch, capfd):
    words = ("data", "sheet", THING, "--data", folder, "-o", tmp_path / "x.png", "--json")
    ids = {truth.interaction: truth.image_id for _, truth in entries}
    printed = json.loads(run(monkeypatch, capfd, *words).out)
    assert printed == {"written": str(tmp_path / "x.png"), "images": [ids[None], ids["carried"], ids["played"]]}
    assert len(panels(tmp_path / "x.png", 3, 3)) == 3
    two = json.loads(run(monkeypatch, capfd, *words, "--images", 2).out)["images"]
    assert two == [ids[None], ids["played"]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("spoon",), "'spoon' is unknown"),
        (("cello",), "no test samples of cello; there are violin"),
        ((THING, "--split", "train"), "has no samples of split 'train'"),
        ((THING, "-o", "/dev/null/x.png"), "no writable folder"),
    ],
)
def test_a_mistake_is_one_line(folder, tmp_path, monkeypatch, capfd, words, told):
    monkeypatch.chdir(tmp_path)
    outcome = run(monkeypatch, capfd, "data", "sheet", "--data", folder, *words)
    assert outcome.code == 2 and told in outcome.first and not any(tmp_path.iterdir())


def test_a_data_set_of_truth_alone_has_no_sheet(tmp_path, monkeypatch, capfd):
    submissions.make_data(tmp_path / "data", ["tennis"], 1)
    outcome = run(monkeypatch, capfd, "data", "sheet", "tennis", "--data", tmp_path / "data", "-o", tmp_path / "x.png")
    assert outcome.code == 2 and "has no samples" in outcome.first
