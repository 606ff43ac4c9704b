"""Render the open body in a few poses, shapes and with its parts coloured: `python -m tools.render_body`."""

import argparse
import colorsys
import sys
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from tools.poses import (
    ARMS_DOWN,
    CROUCHED,
    LEFT_ELBOW,
    LEFT_SHOULDER,
    RIGHT_ELBOW,
    RIGHT_SHOULDER,
    SEATED,
    SWING,
    Pose,
)
from wildhoi.body import load_body
from wildhoi.geometry import axis_rotation
from wildhoi.rendering import picture

OUT = Path(__file__).parents[1] / "docs" / "open_body.png"
WIDTH, HEIGHT, DISTANCE = 256, 330, 12.0
FOCAL = 0.44 * HEIGHT * DISTANCE  # a tile is 2.3 m high
BACKGROUND, SKIN = (238, 239, 241), (0.80, 0.66, 0.56)
OVERHEAD: Pose = {
    LEFT_SHOULDER: (0, 0, 75),
    RIGHT_SHOULDER: (0, 0, -75),
    LEFT_ELBOW: (0, 0, 8),
    RIGHT_ELBOW: (0, 0, -8),
}

# body pose in degrees, shape, turn about the vertical in degrees, whether the parts are coloured
FIGURES: tuple[tuple[Pose, dict[int, float], int, bool], ...] = (
    ({}, {}, 0, False),
    (ARMS_DOWN, {0: 1.5}, 25, False),
    (OVERHEAD, {0: -1.5}, -20, False),
    (SWING | CROUCHED, {1: 1.5}, 40, False),
    (SEATED | ARMS_DOWN, {1: -1.5}, 60, False),
    (ARMS_DOWN, {}, 30, True),
    (ARMS_DOWN, {}, 205, True),
)


def figure(
    pose: dict[int, tuple[float, float, float]], shape: dict[int, float], turn: float, parts: bool
) -> Image.Image:
    """One body on a tile."""
    body = load_body("open")
    betas, rotations = torch.zeros(1, 10, dtype=torch.float64), torch.zeros(1, 21, 3, dtype=torch.float64)
    for index, value in shape.items():
        betas[0, index] = value
    for joint, degrees in pose.items():
        rotations[0, joint] = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    hands = torch.zeros(1, 15, 3, dtype=torch.float64)
    with torch.no_grad():
        vertices = body.surface(betas, rotations, hands, hands).vertices[0].numpy()
    rotation = np.diag([1.0, -1.0, -1.0]) @ axis_rotation(np.array([0.0, 1.0, 0.0]), np.radians(turn))
    points = vertices @ rotation.T
    points += [0, -(points[:, 1].min() + points[:, 1].max()) / 2, DISTANCE]
    pixels = picture(
        torch.from_numpy(points)[None],
        torch.as_tensor(np.asarray(body.faces), dtype=torch.int64),
        torch.full((1, 2), FOCAL, dtype=torch.float64),
        torch.tensor([[WIDTH / 2, HEIGHT / 2]], dtype=torch.float64),
        (HEIGHT, WIDTH),
        colors=torch.from_numpy(colours(len(points)) if parts else np.tile(SKIN, (len(points), 1))),
        background=torch.tensor(BACKGROUND, dtype=torch.uint8).expand(1, HEIGHT, WIDTH, 3),
    )
    return Image.fromarray(pixels[0].numpy())


def colours(count: int) -> Float[np.ndarray, "v 3"]:
    """A hue for every part; what belongs to none stays grey."""
    result = np.full((count, 3), 0.75)
    parts = load_body("open").parts
    sided = [name for name in parts if name.startswith(("left_", "right_"))]
    shown = [name for name in parts if name in sided or not any(s.endswith(name.rstrip("s")) for s in sided)]
    for index, name in enumerate(shown):
        result[parts[name]] = colorsys.hsv_to_rgb(index * 0.381966 % 1, 0.55, 0.9)
    return result


def main() -> None:
    """Lay the figures out in a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    sheet = Image.new("RGB", (WIDTH * len(FIGURES), HEIGHT), BACKGROUND)
    for index, settings in enumerate(FIGURES):
        sheet.paste(figure(*settings), (index * WIDTH, 0))
    sheet.save(out, optimize=True)
    sys.stdout.write(f"{out}: {out.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
