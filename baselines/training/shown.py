"""Pictures of what a prior has learned: views drawn from it, beside the image that it was given."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from baselines.prior import Prior
from baselines.rays import View, to_metres, unflat
from baselines.training.examples import Examples
from wildhoi.files import atomic_path
from wildhoi.show.panels import DARK, OBJECT_INK, PERSON_INK, SOFT
from wildhoi.show.skeletons import SMPL
from wildhoi.templates import Template
from wildhoi.views import JOINTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS, DRAWN = 4, 5
"""Images on a picture, and samples of each."""
REACH = 1.5
"""Metres about the pelvis that a panel shows."""
UP = np.array([0.0, 1.0, 0.0])


def plot_samples(prior: Prior, examples: Examples, template: Template, out: Path, *, seed: int = 0) -> None:
    """Write a PNG: held-out images, their own view, and views that the prior draws for them.

    Each panel shows 2D keypoints as a virtual camera sees them, in metres about the pelvis, the camera's direction
    drawn too; a prior of points is shown from the front.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    images = examples.watched[:ROWS]
    device = next(prior.parameters()).device
    with torch.no_grad():
        shown = examples.shown(images).to(device)
        drawn = prior.draw(prior.context(shown), DRAWN, torch.Generator().manual_seed(seed)).cpu()
    own = examples.pool.coordinates[examples.members[images, 0].to(examples.pool.coordinates.device)].cpu()
    figure = Figure(figsize=(2 * (DRAWN + 2), 2.15 * len(images) + 0.5), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(images), DRAWN + 2, squeeze=False)
    for row, image in enumerate(images.tolist()):
        _picture(axes[row, 0], examples, image)
        for column, coordinates in enumerate([own[row], *drawn[row]], 1):
            _view(axes[row, column], *_plane(prior, coordinates))
    for column, title in enumerate(("image, held out", "its own view", *[f"sample {n + 1}" for n in range(DRAWN)])):
        axes[0, column].set_title(title, fontsize=9, color=DARK)
    name = template.category.name
    figure.text(
        0.01, 0.005, f"{name}: keypoints as seen from drawn viewpoints, {2 * REACH:g} m wide", fontsize=8, color=SOFT
    )
    figure.subplots_adjust(0.01, 0.03, 0.99, 0.95, 0.04, 0.04)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format="png")


def _picture(axes: "Axes", examples: Examples, image: int) -> None:
    axes.set_axis_off()
    if examples.pictures is None:
        axes.text(0.5, 0.5, "not looked at", ha="center", va="center", color=SOFT, transform=axes.transAxes)
        return
    axes.imshow(examples.pictures[image, :3].permute(1, 2, 0).numpy())


def _plane(
    prior: Prior, coordinates: Float[torch.Tensor, " d"]
) -> tuple[Float[np.ndarray, "p 2"], Float[np.ndarray, "3"]]:
    """Keypoints across the viewing direction, metres, and that direction (from the pelvis to the camera)."""
    if prior.config.supervision == "3d":
        points, towards = coordinates.view(-1, 3).numpy(), np.array([0.0, 0.0, 1.0])
    else:
        if prior.config.space == "rays":
            coordinates = to_metres(View(*unflat(coordinates)))[0]
        numbers = coordinates.numpy()
        points, towards = numbers[:-3].reshape(-1, 3), numbers[-3:] / np.linalg.norm(numbers[-3:])
    up = UP - (UP @ towards) * towards
    up /= max(float(np.linalg.norm(up)), 1e-6)
    return np.stack([points @ np.cross(up, towards), points @ up], axis=1), towards


def _view(axes: "Axes", points: Float[np.ndarray, "p 2"], towards: Float[np.ndarray, "3"]) -> None:
    for a, b in (*SMPL.left, *SMPL.middle, *SMPL.right):
        axes.plot(*points[[a, b]].T, color=PERSON_INK, linewidth=1.6, solid_capstyle="round")
    axes.plot(*points[list(sum(SMPL.left, ()))].T, ".", color=PERSON_INK, markersize=3)
    thing = points[JOINTS:]
    axes.plot(*thing.T, "-" if len(thing) < 5 else "", color=OBJECT_INK, linewidth=1.2)
    axes.plot(*thing.T, "o", color=OBJECT_INK, markersize=4)
    azimuth, height = np.degrees([np.arctan2(towards[0], towards[2]), np.arcsin(np.clip(towards[1], -1, 1))])
    axes.text(0.03, 0.03, f"{azimuth:.0f}°, {height:+.0f}°", transform=axes.transAxes, fontsize=7, color=SOFT)
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color("#dddddd")
