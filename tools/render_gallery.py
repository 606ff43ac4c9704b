"""Render the shipped templates with their keypoints into one picture: `python -m tools.render_gallery [--out FILE]`."""

import argparse
import colorsys
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from wildhoi.rendering import picture, project
from wildhoi.templates import SHIPPED, load_template

ROOT = Path(__file__).parents[1]

WIDTH, HEIGHT, CAPTION = 340, 266, 32
FINE = 2
"""Pixels drawn along each side of one shown, besides the renderer's own averaging."""
BACKGROUND, INK = (238, 239, 241), (70, 74, 80)
FOCAL = 4.0
"""Focal length over the tile's height: a distant camera, little perspective."""
CREASE = np.deg2rad(40)
"""Edges bent by more keep their corner in the shading."""


@dataclass(frozen=True)
class View:
    """Where one template is seen from: direction towards the camera and upward direction, template frame; a colour."""

    towards: tuple[float, float, float]
    up: tuple[float, float, float]
    color: tuple[float, float, float]


VIEWS = {
    "barbell": View((0.62, 0.30, 1.0), (0, 1, 0), (0.50, 0.55, 0.62)),
    "baseball": View((0.35, 1.0, 0.15), (0.75, 0, 0.7), (0.86, 0.68, 0.46)),
    "basketball": View((0.35, 0.35, 1.0), (0, 1, 0), (0.90, 0.52, 0.26)),
    "bicycle": View((-1.0, 0.28, 0.45), (0, 1, 0), (0.36, 0.58, 0.66)),
    "cello": View((-0.40, -1.0, 0.25), (-1.0, 0, 0.9), (0.90, 0.58, 0.36)),
    "skateboard": View((1.0, 0.62, 0.62), (0, 1, 0), (0.52, 0.64, 0.44)),
    "tennis": View((0.35, 0.15, 1.0), (0.65, 0.75, 0), (0.62, 0.50, 0.72)),
    "violin": View((0.40, 1.0, 0.25), (0.95, 0, 0.9), (0.94, 0.60, 0.34)),
    "yogaball": View((0.35, 0.35, 1.0), (0, 1, 0), (0.46, 0.60, 0.80)),
}


def camera_frame(view: View) -> Float[np.ndarray, "3 3"]:
    """Rotation from the template's frame to the camera's: rows x right, y down, z forward."""
    forward = -np.array(view.towards) / np.linalg.norm(view.towards)
    right = np.cross(forward, view.up)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def tile(name: str, view: View) -> Image.Image:
    """One template above its name."""
    template = load_template(SHIPPED / name)
    rotation = camera_frame(view)
    mesh = trimesh.Trimesh(template.vertices, template.faces, process=False)
    shaded = trimesh.graph.smooth_shade(mesh, angle=CREASE)
    size = (HEIGHT * FINE, WIDTH * FINE)
    points = np.asarray(shaded.vertices) @ rotation.T
    low, high = points.min(axis=0), points.max(axis=0)
    span = max((high - low)[0] * HEIGHT / WIDTH, (high - low)[1])
    shift = np.array([0, 0, FOCAL * span * 1.12 + (high - low)[2] / 2]) - (low + high) / 2
    focal = torch.full((1, 2), FOCAL * size[0], dtype=torch.float64)
    centre = torch.tensor([[size[1] / 2, size[0] / 2]], dtype=torch.float64)
    pixels = picture(
        torch.from_numpy(points + shift)[None],
        torch.from_numpy(np.array(shaded.faces)),
        focal,
        centre,
        size,
        colors=torch.tensor(view.color, dtype=torch.float64).expand(len(points), 3),
        background=torch.tensor(BACKGROUND, dtype=torch.uint8).expand(1, *size, 3),
    )
    image = Image.fromarray(pixels[0].numpy())
    keypoints = np.stack(list(template.keypoints.values())) @ rotation.T + shift
    draw_keypoints(image, project(torch.from_numpy(keypoints)[None], focal, centre)[0].numpy())
    return captioned(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS), name)


def draw_keypoints(image: Image.Image, points: Float[np.ndarray, "k 2"]) -> None:
    """Mark keypoints by dots whose hue runs with their number."""
    draw, radius = ImageDraw.Draw(image), 4.5 * FINE
    for k, (x, y) in enumerate(points.tolist()):
        color = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(0.85 * k / max(len(points), 2), 0.85, 0.92))
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=color, outline="white", width=FINE)


def captioned(image: Image.Image, name: str) -> Image.Image:
    """Add a line with the name below."""
    whole = Image.new("RGB", (WIDTH, HEIGHT + CAPTION), BACKGROUND)
    whole.paste(image, (0, 0))
    font = ImageFont.load_default(size=18)
    ImageDraw.Draw(whole).text((WIDTH / 2, HEIGHT + CAPTION / 2 - 4), name, fill=INK, font=font, anchor="mm")
    return whole


def main() -> None:
    """Lay the tiles out in three rows of three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "templates.png")
    out = parser.parse_args().out
    sheet = Image.new("RGB", (3 * WIDTH, 3 * (HEIGHT + CAPTION)), BACKGROUND)
    for k, (name, view) in enumerate(VIEWS.items()):
        sheet.paste(tile(name, view), (k % 3 * WIDTH, k // 3 * (HEIGHT + CAPTION)))
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, optimize=True)
    sys.stdout.write(f"{out}: {out.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
