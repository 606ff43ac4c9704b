"""Detected 2D keypoints: where the body's points are seen, what hides them, and how a detector errs."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from wildhoi.geometry import project
from wildhoi.mirror import FACE, FEET, LEFT_HAND, RIGHT_HAND
from wildhoi.open_scenes.detector.settings import KeypointNoise
from wildhoi.open_scenes.detector.view import View
from wildhoi.open_scenes.detector.wholebody import N_KEYPOINTS
from wildhoi.schema import Camera

CELL = 3.0
"""Crop pixels of the coarse depth map that hidden joints are found with: vertices lie a pixel or two apart."""

# What is lost together and errs together: feet, face, hands.
CLUMPS = (
    slice(FEET, FEET + 3),
    slice(FEET + 3, FACE),
    slice(FACE, LEFT_HAND),
    slice(LEFT_HAND, RIGHT_HAND),
    slice(RIGHT_HAND, N_KEYPOINTS),
)


class Seen(NamedTuple):
    """True places of keypoints in the frame, pixels, and whether something hides them or they lie outside."""

    pixels: Float[np.ndarray, "n 2"]
    hidden: Bool[np.ndarray, " n"]
    outside: Bool[np.ndarray, " n"]


def look(view: View, points: Float[np.ndarray, "n 3"], depth_margin: float) -> Seen:
    """Project points of the body (SMPL frame, metres) and find which of them are not seen.

    Hidden is what lies where the picture shows the object, or more than `depth_margin` metres behind the nearest part
    of the body. Outside is what lies out of the frame, where the detector has no pixels.
    """
    scene = view.scene
    placed, surface = in_camera(points, scene.camera), in_camera(view.vertices, scene.camera)
    pixels = project(placed, scene.camera.focal, scene.camera.principal_point)
    outside = ((pixels < -0.5) | (pixels > np.array(scene.frame_size) - 0.5)).any(axis=1)
    drawn = project(surface, scene.camera.focal, scene.camera.principal_point)
    nearest = _nearest_surface(pixels, drawn, surface[:, 2], CELL * view.unit)
    hidden = _shown(view.thing, pixels, scene.image_box) | (placed[:, 2] > nearest + depth_margin)
    return Seen(pixels, np.asarray(hidden & ~outside), np.asarray(outside))


def in_camera(points: Float[np.ndarray, "n 3"], camera: Camera) -> Float[np.ndarray, "n 3"]:
    """Points of the SMPL frame in the camera's, metres."""
    return np.asarray(points @ camera.rotation.T + camera.translation)


def _nearest_surface(
    pixels: Float[np.ndarray, "n 2"], drawn: Float[np.ndarray, "v 2"], depth: Float[np.ndarray, " v"], cell: float
) -> Float[np.ndarray, " n"]:
    """Depth of the nearest vertex drawn in the cell of each pixel, infinite where there is none."""
    low = drawn.min(axis=0)
    columns, rows = (np.floor((drawn.max(axis=0) - low) / cell).astype(np.int64) + 1).tolist()
    table = np.full((rows, columns), np.inf)
    x, y = np.floor((drawn - low) / cell).astype(np.int64).T
    np.minimum.at(table, (y, x), depth)
    x, y = np.floor((pixels - low) / cell).astype(np.int64).T
    inside = (x >= 0) & (y >= 0) & (x < columns) & (y < rows)
    return np.asarray(np.where(inside, table[np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)], np.inf))


def _shown(
    mask: Bool[np.ndarray, "h w"], pixels: Float[np.ndarray, "n 2"], box: tuple[int, int, int, int]
) -> Bool[np.ndarray, " n"]:
    """Whether the mask, whose corner is that of the box, covers each pixel of the frame."""
    nearest: Int[np.ndarray, "n 2"] = np.rint(pixels).astype(np.int64) - box[:2]
    x, y = nearest.T
    height, width = mask.shape
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    return np.asarray(inside & mask[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)])


def exact(seen: Seen, noise: KeypointNoise) -> Float[np.ndarray, "n 3"]:
    """The true places, as sure as a detector is of such points on average."""
    return np.column_stack([seen.pixels, _confidence(seen, noise)])


def detect_keypoints(
    seen: Seen, unit: float, rng: np.random.Generator, noise: KeypointNoise
) -> Float[np.ndarray, "133 3"]:
    """The 133 keypoints as a detector reports them: x, y in the frame, confidence; all 0 where it reports none.

    `unit` is a crop pixel in pixels of the frame.
    """
    factor = np.where(seen.outside, noise.outside_factor, np.where(seen.hidden, noise.hidden_factor, 1.0))
    spread = (_sigmas(noise) * factor)[:, None]
    error = spread * rng.standard_normal((N_KEYPOINTS, 2))
    for clump in CLUMPS:
        error[clump] += noise.clump * float(np.median(factor[clump])) * rng.standard_normal(2)
    confidence = _confidence(seen, noise) + noise.confidence.spread * rng.standard_normal(N_KEYPOINTS)
    found = np.column_stack([seen.pixels + unit * error, np.clip(confidence, 0.01, 1.0)])
    found[_lost(rng, noise)] = 0
    return found


def _confidence(seen: Seen, noise: KeypointNoise) -> Float[np.ndarray, " n"]:
    mean = noise.confidence
    return np.where(seen.outside, mean.outside, np.where(seen.hidden, mean.hidden, mean.seen))


def _sigmas(noise: KeypointNoise) -> Float[np.ndarray, "133"]:
    """Sigma of each keypoint by itself, crop pixels."""
    sigmas = np.full(N_KEYPOINTS, noise.body)
    sigmas[FEET:FACE], sigmas[FACE:LEFT_HAND], sigmas[LEFT_HAND:] = noise.foot, noise.face, noise.hand
    return sigmas


def _lost(rng: np.random.Generator, noise: KeypointNoise) -> Bool[np.ndarray, "133"]:
    """Keypoints without an answer: single ones, and whole clumps."""
    lost = rng.random(N_KEYPOINTS) < noise.lost_point
    for clump, draw in zip(CLUMPS, rng.random(len(CLUMPS)), strict=True):
        lost[clump] |= draw < noise.lost_clump
    return lost
