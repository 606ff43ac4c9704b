"""Procedural backgrounds: a place drawn in image space, independent of person, thing and camera."""

import numpy as np
from jaxtyping import Float32

from wildhoi.open_scenes.drawing.background_parts import Canvas
from wildhoi.open_scenes.drawing.indoor import hall, room, studio
from wildhoi.open_scenes.drawing.looks import Scenery
from wildhoi.open_scenes.drawing.outdoor import ground, park, street
from wildhoi.open_scenes.drawing.paint import linear, uniform
from wildhoi.open_scenes.randomness import generator

PLACES = {"room": room, "hall": hall, "studio": studio, "street": street, "park": park, "ground": ground}
MARGIN = 0.15  # of the picture's side, on every side: what the roll of the camera brings in, and things cut by the edge
REFERENCE = 256  # pixels across of the picture that blurs are stated for


def draw_scenery(scenery: Scenery, size: int) -> Float32[np.ndarray, "s s 3"]:
    """Draw a place as linear light, 0 to 1, out of focus; the same scenery gives the same place at every size."""
    import cv2

    rng = generator(scenery.seed, "scenery")
    settings = scenery.settings
    roll, blur = uniform(rng, settings.roll), uniform(rng, settings.blur) * size / REFERENCE
    horizon = uniform(rng, settings.horizon)
    margin = round(MARGIN * size)
    side = size + 2 * margin
    canvas = Canvas(np.zeros((side, side, 3), np.uint8), rng, (horizon * size + margin) / side)
    PLACES[scenery.place](canvas, settings)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), roll, 1.0)
    turn[:, 2] -= margin
    turned = cv2.warpAffine(canvas.picture, turn, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    light = linear(turned.astype(np.float32) / 255)
    return np.asarray(cv2.GaussianBlur(light, (0, 0), max(0.3, blur)))
