"""A film of an optimisation: frame by frame the meshes over the input and from the side, and the losses so far."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from wildhoi.errors import RunError
from wildhoi.files import atomic_path
from wildhoi.method import Moment
from wildhoi.schema import Camera, Reconstruction
from wildhoi.show.figure import region_of
from wildhoi.show.fit import Fit
from wildhoi.show.page import DPI, fill_axes, write_key, write_words
from wildhoi.show.panels import DARK, LINE, MESH_KEY, OBJECT_INK, PERSON_INK, SOFT, Panel, overlay
from wildhoi.show.scene import FAR_CAMERA, Meshes, bounds
from wildhoi.show.views import Space, directions, draw_bar, draw_direction, space_around, view
from wildhoi.show.window import GROUND, Window, window_around, with_aspect

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SECONDS, LAST = 0.1, 2.0
"""How long a frame is shown, and the last one."""
AREA, GAP, MARGIN, HEAD, TITLE, FOOT = 280**2, 14, 16, 44, 26, 34
"""Pixels of a panel, and of what is between and around them."""
COLOURS = 256
"""Of a GIF, the same in every frame and without dithering: what stands still costs nothing."""
INKS = ("#2b2f36", "#12857a", "#d6409f", "#b8860b", "#6a51c4", "#c0392b", "#3a9d3a", "#2f6fc4", "#8a8f98")
"""Of the curves, in the order of the losses."""
EXACT = (
    (255, 255, 255),
    GROUND,
    LINE,
    *(tuple(bytes.fromhex(ink[1:])) for ink in (SOFT, PERSON_INK, OBJECT_INK, *INKS)),
)
"""Colours of a GIF that are kept as they are."""
INSET, LEGEND, LEGEND_LINE = 34, 30, 15
"""Pixels left of the losses' axes, below them, and for a line of names there."""
DECADES = 5
"""Of the losses' axis at most: smaller values leave it."""
SHOWN_LOSSES, LONGEST_NAME = 8, 24


class Film:
    """What a method told while it worked on one image: some of its reconstructions, and the losses of every step.

    At most `most` reconstructions are drawn.
    """

    def __init__(self, fit: Fit, most: int) -> None:
        self.fit = fit
        self.most = most
        self.steps = 0
        self.shots: list[tuple[int, Reconstruction]] = []
        self.losses: list[tuple[int, Mapping[str, float]]] = []
        self._due = 0.0

    def take(self, moment: Moment) -> None:
        """Note a moment; keep where it stands from time to time."""
        self.steps = moment.done
        self.losses.append((moment.done, dict(moment.losses)))
        if moment.done >= self._due:
            # a method that has nothing to show at the moment gives none
            self.shots += [(moment.done, row) for row in moment.reconstructions()[:1]]
            self._due = moment.done + max(1.0, moment.total / self.most)

    def end(self, row: Reconstruction) -> None:
        """Take the method's result as the last frame."""
        if self.shots and self.shots[-1][0] == self.steps:
            self.shots.pop()
        self.shots.append((self.steps, row))

    @property
    def frames(self) -> list[tuple[int, Reconstruction]]:
        """The steps that are drawn, the first and the last among them."""
        places = np.unique(np.linspace(0, len(self.shots) - 1, self.most).round().astype(int))
        return [self.shots[place] for place in places]


def write_film(film: Film, out: Path) -> int:
    """Write a film as .gif or .mp4 and return its number of frames; the same film has the same bytes.

    Args:
        film: with at least one shot.
        out: the file, complete or not at all.

    Raises:
        RunError: this machine's OpenCV cannot write .mp4.
    """
    frames = list(_drawn(film))
    with atomic_path(out) as temporary:
        (_write_mp4 if out.suffix.lower() == ".mp4" else _write_gif)(temporary, frames)
    return len(frames)


def _drawn(film: Film) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Every frame as pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fit, frames = film.fit, film.frames
    meshes = [fit.meshes(row.human, row.object_pose) for _, row in frames]
    fits = [replace(fit, row=row) for _, row in frames]
    window = _window(fits[-1], meshes[-1])
    rotations = directions(fits[-1].camera or FAR_CAMERA)
    points = np.concatenate([_extremes(mesh, rotations["side"]) for mesh in meshes])
    space = space_around(points, {"side": rotations["side"]}, window.size)
    width, height = 2 * MARGIN + 3 * window.size[0] + 2 * GAP, HEAD + TITLE + window.size[1] + FOOT
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    for (step, _), now, mesh in zip(frames, fits, meshes, strict=True):
        figure.clear()
        over = _over(now, mesh, window)
        seen = (rotations["side"] @ rotations["front"][2])[:2]
        aside = Panel("Side", view(mesh, space, rotations["side"]), _signs(space, seen), MESH_KEY)
        _draw_page(figure, (over, aside), film, step)
        canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib has no types for it
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]  # likewise


def _extremes(meshes: Meshes, rotation: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "2 3"]:
    """Two points that reach as far as all vertices along the axes of a view."""
    turned = meshes.vertices @ rotation.T
    return np.asarray(np.stack([turned.min(axis=0), turned.max(axis=0)]) @ rotation)


def _window(fit: Fit, meshes: Meshes) -> Window:
    """The crop, or what the last meshes cover."""
    region = None if fit.sample is None else region_of(fit.sample)
    if region is None:
        return window_around(bounds(meshes.seen(fit.camera or FAR_CAMERA)), 0.2, AREA)
    return window_around(region, area=AREA)


def _over(fit: Fit, meshes: Meshes, window: Window) -> Panel:
    """The meshes over the input; by themselves where no camera is known."""
    camera: Camera | None = fit.camera
    if camera is not None:
        return overlay("Over the input", meshes, camera, fit.sample, window)
    alone = with_aspect(window_around(bounds(meshes.seen(FAR_CAMERA)), 0.2, AREA), window.width / window.height)
    return overlay("Front", meshes, FAR_CAMERA, None, alone)


def _signs(space: Space, seen: np.ndarray) -> Any:
    """What is drawn over the side view."""

    def draw(axes: "Axes") -> None:
        draw_bar(axes, space)
        draw_direction(axes, space, seen)

    return draw


def _draw_page(figure: "Figure", panels: tuple[Panel, Panel], film: Film, step: int) -> None:
    """Lay out one frame: heading and step, two panels, the curves."""
    width, height = (round(length * DPI) for length in figure.get_size_inches())
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    page.axis("off")
    name = shorten(film.fit.method, LONGEST_NAME, placeholder="...")
    end = write_words(page, MARGIN, HEAD / 2, name, fontsize=14, weight="bold", color=DARK)
    write_words(page, end + 10, HEAD / 2 + 1, film.fit.row.image_id, fontsize=11, color=SOFT)
    words = f"step {step:,} of {film.steps:,}"
    page.text(width - MARGIN, HEAD / 2 + 1, words, fontsize=11, color=DARK, va="center", ha="right")
    shown_height, shown_width = panels[0].pixels.shape[:2]
    top = HEAD + TITLE
    places = [MARGIN + number * (shown_width + GAP) for number in range(3)]
    for left, title in zip(places, (*(panel.title for panel in panels), "Losses"), strict=True):
        write_words(page, left, top - TITLE / 2, title, fontsize=10, weight="bold", color=DARK)
    for left, panel in zip(places, panels, strict=False):
        fill_axes(_axes(figure, (left, top, shown_width, shown_height)), panel)
    names = _shown_losses(film)
    below = LEGEND + LEGEND_LINE * -(-len(names) // 2)
    axes = _axes(figure, (places[2] + INSET, top, shown_width - INSET, shown_height - below))
    _draw_losses(axes, film, names, step)
    write_key(page, places[1] + shown_width, height - FOOT / 2, list(MESH_KEY), 0.9)


def _axes(figure: "Figure", place: tuple[int, int, int, int]) -> "Axes":
    """Axes at the left, top, width and height in pixels of the page."""
    width, height = figure.get_size_inches() * DPI
    left, top, across, down = place
    return figure.add_axes((left / width, 1 - (top + down) / height, across / width, down / height))


def _shown_losses(film: Film) -> list[str]:
    """The names of the losses that are drawn, in the order in which they were told."""
    return list(dict.fromkeys(name for _, losses in film.losses for name in losses))[:SHOWN_LOSSES]


def _draw_losses(axes: "Axes", film: Film, names: list[str], step: int) -> None:
    """The curves up to a step, on axes that hold the whole film: a logarithmic one for the losses."""
    values = np.array([[losses.get(name, np.nan) for name in names] for _, losses in film.losses], float)
    values = np.where(np.isfinite(values) & (values > 0), values, np.nan).reshape(len(film.losses), len(names))
    steps = np.array([done for done, _ in film.losses])
    axes.set(xlim=(min(0, steps.min()), max(1, steps.max())), yscale="log")
    if np.isfinite(values).any():
        most = float(np.nanmax(values))
        axes.set_ylim(max(float(np.nanmin(values)) * 0.7, most * 10.0**-DECADES), most * 1.6)
    for column, (name, ink) in enumerate(zip(names, INKS, strict=False)):
        kept = (steps <= step) & np.isfinite(values[:, column])
        axes.plot(steps[kept], values[kept, column], color=ink, lw=1.3, label=name.replace("_", " "))
        axes.plot(steps[kept][-1:], values[kept, column][-1:], "o", color=ink, ms=3, clip_on=False)
    axes.tick_params(labelsize=7.5, colors=SOFT, length=3)
    axes.minorticks_off()
    if names:
        width, height = axes.bbox.size
        corner = (-INSET / width, -LEGEND / height)
        style: dict[str, Any] = {"fontsize": 7.5, "frameon": False, "labelcolor": "linecolor", "borderpad": 0}
        axes.legend(loc="upper left", bbox_to_anchor=corner, ncol=2, handlelength=1.2, borderaxespad=0, **style)
    for spine in axes.spines.values():
        spine.set(color="#d0d4da", linewidth=1)


def _write_gif(out: Path, frames: list[UInt8[np.ndarray, "h w 3"]]) -> None:
    """One palette for all frames, made of the first, the last and one between."""
    some = np.concatenate([frames[place] for place in sorted({0, len(frames) // 2, len(frames) - 1})])
    room = COLOURS - len(EXACT)
    chosen = (Image.fromarray(some).quantize(room, Image.Quantize.MEDIANCUT).getpalette() or [])[: 3 * room]
    colours = [*chosen, *(value for colour in EXACT for value in colour)]
    few = [_coloured(frame, colours) for frame in frames]
    times = [round(1000 * SECONDS)] * (len(few) - 1) + [round(1000 * LAST)]
    few[0].save(out, format="gif", save_all=True, append_images=few[1:], duration=times, loop=0, disposal=1)


def _coloured(frame: UInt8[np.ndarray, "h w 3"], colours: list[int]) -> Image.Image:
    """A frame in the colours of a palette whose last ones are exact: its search for the nearest is a little off."""
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours)
    numbers = np.array(Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE))
    for number, colour in enumerate(EXACT, len(colours) // 3 - len(EXACT)):
        numbers[(frame == colour).all(axis=2)] = number
    few = Image.fromarray(numbers)
    few.putpalette(colours)
    return few


def _write_mp4(out: Path, frames: list[UInt8[np.ndarray, "h w 3"]]) -> None:
    """Through OpenCV, whose encoders want even sides; the last frame is repeated for as long as it is shown."""
    import cv2

    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), 1 / SECONDS, (width, height))
    if not writer.isOpened():
        raise RunError(f"{out.name}: this machine's OpenCV has no encoder for .mp4; give the film the suffix .gif")
    for frame in [*frames, *[frames[-1]] * round(LAST / SECONDS)]:
        writer.write(np.ascontiguousarray(frame[:height, :width, ::-1]))
    writer.release()
