"""The picture of a fit: the input, the meshes over it and from three sides at one scale; the truth below."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from wildhoi.body import BodyModel, pose_person
from wildhoi.geometry import geodesic_angle
from wildhoi.schema import Annotation, Camera, Failure, Human, ObjectPose, Reconstruction, Sample
from wildhoi.show.figure import MODELS, region_of
from wildhoi.show.page import write_page
from wildhoi.show.panels import DARK, SOFT, Panel, overlay
from wildhoi.show.scene import FAR_CAMERA, Meshes, bounds, make_meshes
from wildhoi.show.views import directions, space_around, views
from wildhoi.show.window import Window, ground, picture_in, window_around, with_aspect
from wildhoi.templates import Template

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AREA = 400**2
"""Pixels of a panel in a row of five."""
FRONT, SIDE, TOP, TRUTH = "Front", "Side", "Top", "Truth"
LONGEST_NAME, LINE_LENGTH, MOST_LINES = 48, 34, 9
"""Letters of a method's name in the heading, of a line of a reason, and lines of it."""
CM = 100


@dataclass(frozen=True, eq=False)
class Fit:
    """A row of a submission and what it takes to look at it.

    `sample` and `truth` are None where the data have none; the truth also where it is not to be shown.
    """

    method: str
    row: Reconstruction | Failure
    sample: Sample | None
    truth: Annotation | None
    template: Template
    body: BodyModel

    @property
    def camera(self) -> Camera | None:
        """The reconstruction's own camera, else the one estimated with the inputs."""
        own = self.row.camera if isinstance(self.row, Reconstruction) else None
        return own or (None if self.sample is None else self.sample.camera)

    def meshes(self, human: Human, pose: ObjectPose) -> Meshes:
        """The posed body and object."""
        return make_meshes(human, pose, self.template, self.body)


def render_fit(fit: Fit, out: Path) -> dict[str, float]:
    """Write a PNG of a fit: input, meshes over it, front, side and top view; the truth's as a second row.

    Args:
        fit: what to show; a failure is shown as its reason over the input.
        out: the file to write, complete or not at all.

    Returns:
        the errors against the truth as `fit_errors` has them, none where no truth is shown.
    """
    errors = fit_errors(fit)
    window, panels = _window(fit), []
    panels.append(_input(fit, window))
    shown = [side for side in (_reconstructed(fit), _true(fit)) if side is not None]
    if shown:
        panels += _rows(fit, shown, window, errors)
    image = fit.sample or fit.truth
    subtitle = f"{fit.row.image_id} · {image.object}" if image is not None else fit.row.image_id
    title = shorten(fit.method, LONGEST_NAME, placeholder="...")
    write_page(out, panels, title, subtitle, _caption(fit), columns=min(5, len(panels)))
    return errors


def fit_errors(fit: Fit) -> dict[str, float]:
    """How far a fit is from the truth, in the SMPL frame as it stands: nothing is aligned first.

    Returns:
        object_translation_cm; object_rotation_deg, to the nearest symmetry of the template; object_scale, the ratio;
        joint_angle_deg for a template with a movable part; human_cm, the mean distance of the body's vertices.
    """
    if fit.truth is None or isinstance(fit.row, Failure):
        return {}
    found, true = fit.row.object_pose, fit.truth.object_pose
    relative = true.rotation.T @ found.rotation
    turned = float(geodesic_angle(relative, fit.template.symmetry().nearest(relative)))
    errors = {
        "object_translation_cm": CM * float(np.linalg.norm(found.translation - true.translation)),
        "object_rotation_deg": float(np.degrees(turned)),
        "object_scale": found.scale / true.scale,
    }
    if fit.template.category.joint is not None:
        bent = (found.angle or 0.0) - (true.angle or 0.0)
        errors["joint_angle_deg"] = float(np.degrees(abs((bent + np.pi) % (2 * np.pi) - np.pi)))
    bodies = [pose_person(human, fit.body)[0] for human in (fit.row.human, fit.truth.human)]
    return errors | {"human_cm": CM * float(np.linalg.norm(bodies[0] - bodies[1], axis=1).mean())}


@dataclass(frozen=True, eq=False)
class _Shown:
    """A row of the page: what it is of, its meshes and the camera they are seen in."""

    name: str
    meshes: Meshes
    camera: Camera | None


def _reconstructed(fit: Fit) -> _Shown | None:
    if isinstance(fit.row, Failure):
        return None
    return _Shown("Reconstruction", fit.meshes(fit.row.human, fit.row.object_pose), fit.camera)


def _true(fit: Fit) -> _Shown | None:
    if fit.truth is None:
        return None
    return _Shown(TRUTH, fit.meshes(fit.truth.human, fit.truth.object_pose), fit.truth.camera)


def _window(fit: Fit) -> Window:
    """The part of the frame that is looked at: the crop, else what the meshes cover."""
    area = None if isinstance(fit.row, Failure) and fit.truth is None else AREA
    region = None if fit.sample is None else region_of(fit.sample)
    if region is None:
        shown = _reconstructed(fit) or _true(fit)
        region = (0, 0, 1, 1) if shown is None else bounds(shown.meshes.seen(shown.camera or FAR_CAMERA))
        return window_around(region, 0.1, area)
    return window_around(region, area=area)


def _input(fit: Fit, window: Window) -> Panel:
    """The crop as it is given; over it why there is no reconstruction, where there is none."""
    sample = fit.sample
    pixels = ground(window) if sample is None else picture_in(sample.image, sample.image_box, window)
    words = "" if sample is not None and sample.image is not None else "no picture"
    lines = [words] if words else []
    if isinstance(fit.row, Failure):
        lines = ["No reconstruction", "", *_broken(fit.row.reason)]

    def draw(axes: "Axes") -> None:
        if lines:
            middle = (window.size[0] / 2, window.size[1] / 2)
            box = {"boxstyle": "round,pad=0.8", "facecolor": "white", "edgecolor": "none", "alpha": 0.86}
            big = 11 if window.area else 15
            style: dict[str, Any] = {"ha": "center", "va": "center", "linespacing": 1.5, "bbox": box, "color": DARK}
            axes.text(*middle, "\n".join(lines), fontsize=big, **style)

    return Panel("Input", pixels, draw)


def _broken(reason: str) -> list[str]:
    """A reason in lines that fit over a picture."""
    plain = "".join(letter if letter.isprintable() else " " for letter in reason)
    return wrap(plain, LINE_LENGTH, max_lines=MOST_LINES, placeholder=" ...") or ["no reason is given"]


def _rows(fit: Fit, shown: Sequence[_Shown], window: Window, errors: dict[str, float]) -> list[Panel]:
    """The panels beside the input, and those of the second row with the errors under the input."""
    rotations = directions(shown[0].camera or FAR_CAMERA)
    space = space_around(np.concatenate([row.meshes.vertices for row in shown]), rotations, window.size)
    panels: list[Panel] = []
    for number, row in enumerate(shown):
        if number:
            panels.append(_errors(errors, window))
        name = "over the input" if fit.sample is not None and fit.sample.image is not None else "in the camera"
        panels.append(_over(f"{row.name} {name}", fit, row, window))
        titles = [f"{title}, truth" if row.name == TRUTH else title for title in (FRONT, SIDE, TOP)]
        panels += views(row.meshes, space, rotations, titles)
    return panels


def _over(title: str, fit: Fit, row: _Shown, window: Window) -> Panel:
    """Meshes over the crop; without a camera they have no place in it, so they stand by themselves."""
    if row.camera is not None:
        return overlay(title, row.meshes, row.camera, fit.sample, window)
    alone = with_aspect(window_around(bounds(row.meshes.seen(FAR_CAMERA)), 0.1, AREA), window.width / window.height)
    return overlay(title, row.meshes, FAR_CAMERA, None, alone)


def _errors(errors: dict[str, float], window: Window) -> Panel:
    """The errors as a small table."""
    pixels: UInt8[np.ndarray, "h w 3"] = np.full((window.size[1], window.size[0], 3), 255, np.uint8)
    lines = [(name, text.format(errors[key])) for key, (name, text) in WORDS.items() if key in errors]

    def draw(axes: "Axes") -> None:
        for number, (name, text) in enumerate(lines):
            y = 26 + 34 * number
            axes.text(0, y, name, fontsize=13, color=SOFT, va="center")
            axes.text(window.size[0] - 24, y, text, fontsize=14, color=DARK, va="center", ha="right", weight="bold")
        axes.axis("off")

    return Panel("Errors", pixels, draw)


WORDS = {
    "object_translation_cm": ("object's translation", "{:,.1f} cm"),
    "object_rotation_deg": ("object's rotation", "{:.1f}°"),
    "object_scale": ("object's scale", "× {:.3f}"),
    "joint_angle_deg": ("movable part's angle", "{:.1f}°"),
    "human_cm": ("body's vertices", "{:,.1f} cm"),
}
"""How the errors are called on the page."""


def _caption(fit: Fit) -> str:
    """What the meshes are, and in which frame errors are."""
    if isinstance(fit.row, Failure) and fit.truth is None:
        return "The reason is the method's own."
    name = MODELS[fit.body.kind] + (f" ({fit.body.gender})" if fit.body.gender != "neutral" else "")
    text = f"On the {name}; front, side and top view at one scale."
    if isinstance(fit.row, Failure):
        return f"Meshes: the truth. {text}"
    if fit.truth is not None:
        text += " Errors in the body's frame as it stands, nothing aligned."
    return text if fit.camera is not None else f"{text} No camera is known."
