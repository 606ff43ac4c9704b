"""A contact sheet: images of one object on a page, each as it is given, and its truth from the front and the side."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from wildhoi.body import BodyModel
from wildhoi.errors import InputError
from wildhoi.files import atomic_path
from wildhoi.schema import Annotation, Sample
from wildhoi.show.detections import draw_box, draw_outline
from wildhoi.show.figure import MODELS, region_of
from wildhoi.show.page import DPI, MARGIN, fill_axes, write_key, write_words
from wildhoi.show.panels import DARK, MESH_KEY, OBJECT_INK, PERSON_INK, SOFT, Panel, overlay, side_view
from wildhoi.show.scene import OBJECT, PERSON, bounds, make_meshes
from wildhoi.show.window import GROUND, Window, mask_in, picture_in, window_around, with_aspect
from wildhoi.templates import Template

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL, NARROW_GAP, GAP = 190, 4, 26
"""Side of a panel, between the panels of an image, and between images; pixels."""
HEAD, FOOT, CAPTION, ROW_GAP = 86, 50, 28, 16
"""Above the first row, below the last, above each image, and between rows; pixels."""
TITLES = ("picture and detections", "truth", "truth from the side")
COLOURS = 256
"""Of the page: with dithering enough for panels of this size, and half the bytes."""
EXACT = ((255, 255, 255), GROUND, *(tuple(bytes.fromhex(ink[1:])) for ink in (PERSON_INK, OBJECT_INK)))
"""Colours of even areas, where dithering would show."""


def render_sheet(
    entries: Sequence[tuple[Sample, Annotation]],
    template: Template,
    body: BodyModel | Mapping[str, BodyModel],
    out: Path,
    *,
    title: str,
    columns: int = 3,
) -> None:
    """Write a PNG of some images of one object, each with three panels: its inputs, and its truth from two sides.

    Args:
        entries: the inputs and the truth of each image, in the order of the page.
        template: of their object.
        body: the model to pose, or one for each gender.
        out: the file to write, complete or not at all.
        title: the heading.
        columns: images side by side.

    Raises:
        InputError: there is no image, or one is of another object than the template.
    """
    if not entries or columns < 1:
        raise InputError(f"a sheet of {len(entries)} images in {columns} columns: want at least one of each")
    for sample, annotation in entries:
        if {sample.object, annotation.object} != {template.category.name} or sample.image_id != annotation.image_id:
            pair = f"{sample.image_id} of {sample.object} and {annotation.image_id} of {annotation.object}"
            raise InputError(f"want inputs and truth of images of {template.category.name}, got {pair}")
    models = {a.gender: body if isinstance(body, BodyModel) else body[a.gender] for _, a in entries}
    panels = [_panels(sample, truth, template, models[truth.gender]) for sample, truth in entries]
    columns = min(columns, len(entries))
    name = MODELS[models[entries[0][1].gender].kind]
    foot = f"Outlines and dashed boxes: masks and boxes as detected. Meshes: the truth, on the {name}."
    _write_page(out, [truth for _, truth in entries], panels, (title, foot), columns)


def _panels(sample: Sample, truth: Annotation, template: Template, body: BodyModel) -> list[Panel]:
    """The three panels of an image, squares of one size."""
    meshes = make_meshes(truth.human, truth.object_pose, template, body)
    region = region_of(sample)
    seen = window_around(bounds(meshes.seen(truth.camera)) if region is None else region, area=PANEL**2)
    window = with_aspect(seen, 1.0)
    pixels, grid = side_view(meshes, truth.camera, 1.0, PANEL**2)

    def draw(axes: "Axes") -> None:
        arrow = {"arrowstyle": "-|>", "color": SOFT, "lw": 1.0, "mutation_scale": 8}
        axes.annotate("", (34, PANEL - 10), (8, PANEL - 10), arrowprops=arrow)
        words = "" if grid is None else f"{grid:g} m"
        axes.text(PANEL - 7, PANEL - 10, words, color=SOFT, fontsize=7, ha="right", va="center")

    front = overlay(TITLES[1], meshes, truth.camera, sample, window)
    return [_picture(sample, window), front, Panel(TITLES[2], pixels, draw)]


def _picture(sample: Sample, window: Window) -> Panel:
    """The crop, with thin outlines of the masks and thin boxes."""
    pixels = picture_in(sample.image, sample.image_box, window)
    masks = (
        (sample.person_mask, sample.person_mask_box, PERSON),
        (sample.object_mask, sample.object_mask_box, OBJECT),
    )

    def draw(axes: "Axes") -> None:
        for mask, box, colour in masks:
            if mask is not None and box is not None and mask.size:
                draw_outline(axes, mask_in(mask, box, window), colour, 0.6)
        for corners, ink in ((sample.person_box, PERSON_INK), (sample.object_box, OBJECT_INK)):
            draw_box(axes, corners, window, ink, 0.6)

    return Panel(TITLES[0], pixels, draw)


def _write_page(
    out: Path, truths: Sequence[Annotation], panels: Sequence[list[Panel]], words: tuple[str, str], columns: int
) -> None:
    """Lay the images out under the heading, in rows, each under its caption."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    each, rows = 3 * PANEL + 2 * NARROW_GAP, -(-len(truths) // columns)
    width = 2 * MARGIN + columns * each + (columns - 1) * GAP
    height = HEAD + rows * (CAPTION + PANEL) + (rows - 1) * ROW_GAP + FOOT
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    page.axis("off")
    write_words(page, MARGIN, 34, words[0], fontsize=17, weight="bold", color=DARK)
    for column in range(columns):
        for number, head in enumerate(TITLES):
            left = MARGIN + column * (each + GAP) + number * (PANEL + NARROW_GAP)
            write_words(page, left, HEAD - 14, head, fontsize=8.5, color=SOFT)
    for index, (truth, three) in enumerate(zip(truths, panels, strict=True)):
        left = MARGIN + index % columns * (each + GAP)
        top = HEAD + index // columns * (CAPTION + PANEL + ROW_GAP)
        _write_caption(page, left, top + CAPTION / 2, truth)
        for number, panel in enumerate(three):
            place = (left + number * (PANEL + NARROW_GAP), top + CAPTION)
            fill_axes(_axes(figure, place, (width, height)), panel)
    write_words(page, MARGIN, height - FOOT / 2, words[1], fontsize=9, color=SOFT)
    write_key(page, width - MARGIN, height - FOOT / 2, list(MESH_KEY), 0.9)
    with BytesIO() as drawn:
        figure.savefig(drawn, format="png", dpi=DPI)
        _save(out, Image.open(drawn))


def _write_caption(page: "Axes", left: int | float, middle: int | float, truth: Annotation) -> None:
    """What the person does, where that is known, and the image's name."""
    end = left
    if truth.interaction:
        doing = truth.interaction.replace("_", " ")
        end = 8 + write_words(page, left, middle, doing, fontsize=10, weight="bold", color=DARK)
    write_words(page, end, middle, truth.image_id, fontsize=8.5, color=SOFT)


def _axes(figure: "Figure", place: tuple[int, int], size: tuple[int, int]) -> Any:
    """Axes of one panel, given its upper left corner and the page's size in pixels."""
    (left, top), (width, height) = place, size
    return figure.add_axes((left / width, 1 - (top + PANEL) / height, PANEL / width, PANEL / height))


def _save(out: Path, page: Image.Image) -> None:
    """Write a page with few colours, so that the file stays small: `EXACT` ones as they are, the others dithered."""
    whole = page.convert("RGB")
    room = COLOURS - len(EXACT)
    chosen = (whole.quantize(room, Image.Quantize.MEDIANCUT).getpalette() or [])[: 3 * room]
    colours = np.concatenate([np.reshape(chosen, (-1, 3)), EXACT]).astype(np.uint8)
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours.tobytes())
    pixels = np.array(whole.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG))
    for number, colour in enumerate(EXACT, len(colours) - len(EXACT)):
        pixels[(np.asarray(whole) == colour).all(axis=2)] = number
    few = Image.fromarray(pixels)
    few.putpalette(colours.tobytes())
    with atomic_path(out) as temporary:
        few.save(temporary, format="png", optimize=True)
