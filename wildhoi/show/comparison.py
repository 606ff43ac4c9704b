"""The picture of several methods on the same images: each over the picture and from the side, beside the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wildhoi.errors import InputError
from wildhoi.files import atomic_path
from wildhoi.schema import Annotation, Failure, Sample
from wildhoi.show.figure import MODELS, region_of
from wildhoi.show.fit import TRUTH, Fit, fit_errors
from wildhoi.show.page import DPI, MARGIN, fill_axes, write_key, write_words
from wildhoi.show.panels import DARK, MESH_KEY, SOFT, Panel, overlay
from wildhoi.show.scene import Meshes, bounds, from_the_side
from wildhoi.show.views import space_around, view
from wildhoi.show.window import Window, faded, ground, picture_in, window_around, with_aspect

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL, SIDE = 296, 160
"""Pixels: side of a panel over the picture; height of one from the side, which is as wide."""
GAP, NARROW_GAP, BLOCK_GAP = 16, 6, 24
"""Pixels between columns, between the two panels of a column, and between images."""
HEAD, TITLE, ERROR, FOOT = 78, 40, 36, 62
"""Pixels above the first image, of the titles above an image, of the errors below it, and below the last."""
ARROW = 60
"""Pixels of the arrow that says where the camera looked."""
LONGEST_NAME = 24
"""Letters of a method's name above its column."""
FAILED = "no reconstruction"


@dataclass(frozen=True, eq=False)
class _Column:
    """What stands below each other: a title, the meshes over the picture, from the side, and the error."""

    title: str
    over: Panel
    side: Panel
    error: str


@dataclass(frozen=True, eq=False)
class _Block:
    """An image: its object, its picture, a column of each method and of the truth, and metres between lines."""

    object: str
    picture: Panel
    columns: list[_Column]
    step: float


def render_comparison(images: Sequence[Sequence[Fit]], out: Path, *, title: str, subtitle: str = "") -> None:
    """Write a PNG with a block for each image: the picture, what each method made of it, and the truth.

    Meshes stand over the picture and, below it, as seen from a quarter turn about the camera's vertical, all of an
    image at one scale. Under each is how far the object is from the truth (cm, SMPL frame, nothing aligned).

    Args:
        images: of each the fits of the methods, in the order of the columns, with sample and truth.
        out: the file to write, complete or not at all.
        title: the heading.
        subtitle: beside it.

    Raises:
        InputError: there is nothing to compare, the fits of a block are of different images, one is without sample or
            truth, or the methods of two blocks differ.
    """
    methods = [[fit.method for fit in fits] for fits in images]
    whole = [_shared(fits) for fits in images]
    if not methods or any(names != methods[0] for names in methods):
        raise InputError(f"a comparison of the methods {methods}: want one image or more, of each the same methods")
    blocks = [_block(fits, *pair) for fits, pair in zip(images, whole, strict=True)]
    name = MODELS[images[0][0].body.kind]
    caption = f"Top: over the picture. Below: from the side, where errors in depth show. Meshes on the {name}."
    _write_page(out, blocks, title, subtitle, caption)


def _shared(fits: Sequence[Fit]) -> tuple[Sample, Annotation]:
    """The inputs and the truth of an image, which all its fits have."""
    whole = [(fit.sample, fit.truth) for fit in fits if fit.sample is not None and fit.truth is not None]
    names = {fit.row.image_id for fit in fits} | {image.image_id for pair in whole for image in pair}
    if not fits or len(whole) != len(fits) or len(names) != 1:
        found = f"{len(fits)} fits, {len(whole)} of them with sample and truth, of {', '.join(sorted(names)) or 'none'}"
        raise InputError(f"a comparison on one image: got {found}; want one fit or more with both, all of that image")
    return whole[0]


def _block(fits: Sequence[Fit], sample: Sample, truth: Annotation) -> _Block:
    true = fits[0].meshes(truth.human, truth.object_pose)
    made = [None if isinstance(f.row, Failure) else f.meshes(f.row.human, f.row.object_pose) for f in fits]
    region = region_of(sample) or bounds(true.seen(truth.camera))
    window = with_aspect(window_around(region, area=PANEL**2), 1.0)
    rotation = from_the_side(truth.camera).rotation
    points = np.concatenate([meshes.vertices for meshes in (*made, true) if meshes is not None])
    space = space_around(points, {"side": rotation}, (PANEL, SIDE))

    def side(meshes: Meshes | None) -> Panel:
        pixels = ground(space.window) if meshes is None else view(meshes, space, rotation)
        return Panel("", pixels, _nothing, MESH_KEY)

    columns = [
        _Column(_shortened(fit.method), _over(fit, meshes, sample, truth, window), side(meshes), _error(fit))
        for fit, meshes in zip(fits, made, strict=True)
    ]
    columns.append(_Column(TRUTH, overlay("", true, truth.camera, sample, window), side(true), ""))
    picture = Panel("", picture_in(sample.image, sample.image_box, window), _nothing)
    return _Block(sample.object, picture, columns, space.bar)


def _over(fit: Fit, meshes: Meshes | None, sample: Sample, truth: Annotation, window: Window) -> Panel:
    """A method's meshes over the picture; the picture alone where it has none."""
    if meshes is not None:
        return overlay("", meshes, fit.camera or truth.camera, sample, window)

    def draw(axes: "Axes") -> None:
        axes.text(PANEL / 2, PANEL / 2, FAILED, fontsize=15, color=DARK, ha="center", va="center")

    return Panel("", faded(picture_in(sample.image, sample.image_box, window), light=0.6), draw)


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _error(fit: Fit) -> str:
    errors = fit_errors(fit)
    return f"object {errors['object_translation_cm']:,.1f} cm off" if errors else FAILED


def _nothing(axes: "Axes") -> None:
    """What is drawn over a panel that needs no words."""


def _write_page(out: Path, blocks: Sequence[_Block], title: str, subtitle: str, caption: str) -> None:
    """Lay the images out below each other under the heading."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 1 + len(blocks[0].columns)
    each = TITLE + PANEL + NARROW_GAP + SIDE + ERROR
    width = 2 * MARGIN + columns * PANEL + (columns - 1) * GAP
    height = HEAD + len(blocks) * each + (len(blocks) - 1) * BLOCK_GAP + FOOT
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    page.axis("off")
    end = write_words(page, MARGIN, HEAD / 2, title, fontsize=21, weight="bold", color=DARK)
    write_words(page, end + 16, HEAD / 2 + 3, subtitle, fontsize=15, color=SOFT)
    for number, block in enumerate(blocks):
        _draw_block(figure, page, block, HEAD + number * (each + BLOCK_GAP), (width, height))
    write_words(page, MARGIN, height - FOOT / 2, caption, fontsize=13, color=SOFT)
    write_key(page, width - MARGIN, height - FOOT / 2, list(MESH_KEY), 1.3)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})


def _draw_block(figure: "Figure", page: "Axes", block: _Block, top: int, size: tuple[int, int]) -> None:
    """One image: the column of its picture, then those of the methods and of the truth."""
    middle, over, side = top + TITLE / 2, top + TITLE, top + TITLE + PANEL + NARROW_GAP
    end = write_words(page, MARGIN, middle, "Input", fontsize=15, weight="bold", color=DARK)
    write_words(page, end + 10, middle, block.object, fontsize=15, color=SOFT)
    fill_axes(_axes(figure, (MARGIN, over), PANEL, size), block.picture)
    _draw_legend(page, block, (MARGIN, side))
    for number, column in enumerate(block.columns, 1):
        left = MARGIN + number * (PANEL + GAP)
        write_words(page, left, middle, column.title, fontsize=15, weight="bold", color=DARK)
        fill_axes(_axes(figure, (left, over), PANEL, size), column.over)
        fill_axes(_axes(figure, (left, side), SIDE, size), column.side)
        write_words(page, left, side + SIDE + ERROR / 2, column.error, fontsize=13, color=DARK)


def _draw_legend(page: "Axes", block: _Block, corner: tuple[int, int]) -> None:
    """Beside the views from the side: what they are, that the camera looked to the right, how far lines are apart."""
    left, top = corner
    write_words(page, left, top + 24, "From the side", fontsize=15, weight="bold", color=DARK)
    arrow = {"arrowstyle": "-|>", "color": SOFT, "lw": 2.2, "mutation_scale": 17, "shrinkA": 0, "shrinkB": 0}
    page.annotate("", (left + ARROW, top + 64), (left, top + 64), arrowprops=arrow)
    write_words(page, left + ARROW + 12, top + 64, "camera's view", fontsize=13, color=SOFT)
    write_words(page, left, top + 100, f"lines every {block.step:g} m", fontsize=13, color=SOFT)


def _axes(figure: "Figure", corner: tuple[int, int], height: int, size: tuple[int, int]) -> Any:
    """Axes of a panel, given its upper left corner, its height and the page's size in pixels."""
    (left, top), (width, whole) = corner, size
    return figure.add_axes((left / width, 1 - (top + height) / whole, PANEL / width, height / whole))
