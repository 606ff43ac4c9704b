"""The detectors' errors, as data: how far keypoints, masks, correspondences and the estimated body are off."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from wildhoi.errors import InputError
from wildhoi.open_scenes.version import FOLDER

TABLE = FOLDER / "detector.toml"
CROP_PIXELS = 256
"""Height of the body estimator's crop: errors in "crop pixels" grow with the person's size in the picture."""


FaceRow = tuple[int, float, float]
"""Place among the 68 face points, across, up."""


@dataclass(frozen=True)
class Confidence:
    """Mean confidences of a keypoint that is seen, hidden, out of the frame; and their spread."""

    seen: float
    hidden: float
    outside: float
    spread: float


@dataclass(frozen=True)
class KeypointNoise:
    """Errors of keypoints, crop pixels; factors where nothing is seen; shares of lost points and clumps.

    `clump` is what all points of a hand, a foot or the face are off by together; `depth_margin` (metres) tells a joint
    inside a limb from one behind another part of the body.
    """

    body: float
    foot: float
    face: float
    hand: float
    clump: float
    hidden_factor: float
    outside_factor: float
    lost_point: float
    lost_clump: float
    depth_margin: float
    confidence: Confidence


@dataclass(frozen=True)
class MaskNoise:
    """Raggedness of a mask's border and flecks at it, crop pixels; `flecks` is their mean number."""

    amplitude: float
    wavelength: float
    flecks: float
    fleck_radius: tuple[float, float]


@dataclass(frozen=True)
class CorrespondenceNoise:
    """Errors of template coordinates, as shares of the template's extents: a smooth bias, and noise of every cell.

    `bias_cells` is how many independent values the bias has along a side of the box; `outliers` the share of cells
    that show another place of the object, `border` the share of cells at its outline that are lost. Noisy coordinates
    are rounded to `rounding` metres.
    """

    bias: float
    bias_cells: int
    cell: float
    outliers: float
    border: float
    rounding: float


@dataclass(frozen=True)
class PoseSolve:
    """The solve of an object's pose: most cells used, fewest wanted, RANSAC's rounds, and its threshold.

    The threshold is a share of the diagonal of the object's box, at least `least_threshold` pixels; `angle_degrees` is
    as far as a joint is searched either way.
    """

    most_cells: int
    fewest_cells: int
    rounds: int
    threshold: float
    least_threshold: float
    angle_degrees: float


@dataclass(frozen=True)
class BodyNoise:
    """Errors of the estimated body before tuning, degrees but for `size` and `shape` (units of betas).

    `carry` is the share of the error of the bone above that a bone's direction inherits.
    """

    size: float
    shape: float
    trunk: float
    head: float
    leg: float
    foot: float
    arm: float
    wrist: float
    carry: float
    finger: float
    camera: float
    jaw: float
    expression: float


@dataclass(frozen=True)
class Tuning:
    """The tuning of pose and camera to the keypoints: steps, and how firmly each thing is held, one sigma.

    Crop pixels for `keypoint` and the `outlier` scale, degrees for `pose` and `camera`, metres for the translation
    `aside`, and a share of the distance for `depth`.
    """

    steps: int
    keypoint: float
    outlier: float
    pose: float
    camera: float
    aside: float
    depth: float


@dataclass(frozen=True)
class DetectorSettings:
    """All numbers of the detectors; `noise` off leaves what they look for exactly as it is.

    `face` has one row (place among the 68 face points, across, up) for every point of the right side and the middle.
    """

    keypoints: KeypointNoise
    masks: MaskNoise
    correspondences: CorrespondenceNoise
    pose: PoseSolve
    body: BodyNoise
    tuning: Tuning
    face: tuple[FaceRow, ...]
    grid: int
    noise: bool = True

    def noiseless(self) -> "DetectorSettings":
        """The same without errors: detections are the truth, seen through the camera."""
        return replace(self, noise=False)


@cache
def load_settings(path: Path = TABLE) -> DetectorSettings:
    """Read the table of the detectors' numbers.

    Raises:
        InputError: the file is not TOML, or an entry is missing or unknown.
    """
    try:
        return _settings(tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is not a table of detector settings: {error}") from None


def _settings(table: Mapping[str, Any]) -> DetectorSettings:
    keypoints = {**table["keypoints"], "confidence": Confidence(**table["keypoints"]["confidence"])}
    masks = {**table["masks"], "fleck_radius": tuple(table["masks"]["fleck_radius"])}
    return DetectorSettings(
        keypoints=KeypointNoise(**keypoints),
        masks=MaskNoise(**masks),
        correspondences=CorrespondenceNoise(**table["correspondences"]),
        pose=PoseSolve(**table["pose"]),
        body=BodyNoise(**table["body"]),
        tuning=Tuning(**table["tuning"]),
        face=tuple((int(place), float(across), float(up)) for place, across, up in table["face"]["points"]),
        grid=int(table["grid"]),
    )
