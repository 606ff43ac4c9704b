"""The wild camera: who looks at a scene from where, with which lens, and what the annotation takes it for.

Annotation follows SMPLer-X: `focal = 5000 / 256` of the height of the body's crop, principal point in its middle. Most
pictures are taken with just that camera, so they are exactly what their annotation says. A share of them is taken with
a real lens from nearby instead, and the annotated far camera is fitted to its joints.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import ConvexHull

from wildhoi.convert.frames import CROP_FACTOR
from wildhoi.geometry import axis_rotation, project, rotvec_to_matrix
from wildhoi.open_scenes.scene import as_stored
from wildhoi.open_scenes.version import FOLDER
from wildhoi.schema import Camera

FAR_FOCAL = 5000 / 256
X, Y, Z = np.eye(3)
LOOKING_DOWN_Z = np.diag([1.0, -1.0, -1.0])
"""World axes (y up) seen by a camera (y down) in front of somebody who faces z."""
FIT_STEPS = 12


@dataclass(frozen=True)
class CameraSettings:
    """All of cameras.toml, by its tables."""

    view: dict[str, Any]
    box: dict[str, float]
    window: dict[str, Any]
    lens: dict[str, float]

    @property
    def side(self) -> int:
        """Of the window, pixels."""
        return int(self.window["side"])


@cache
def load_camera_settings() -> CameraSettings:
    """Read cameras.toml, once per process."""
    return CameraSettings(**tomllib.loads((FOLDER / "cameras.toml").read_text()))


class Seen(NamedTuple):
    """A scene's cameras and rectangles; see `wildhoi.open_scenes.scene.Scene`."""

    camera: Camera
    annotated: Camera
    frame_size: tuple[int, int]
    window: tuple[int, int, int]
    body_box: Float[np.ndarray, "4"]


def draw_camera(
    person: Float[np.ndarray, "v 3"],
    thing: Float[np.ndarray, "n 3"],
    joints: Float[np.ndarray, "22 3"],
    upright: Float[np.ndarray, "3 3"],
    rng: np.random.Generator,
) -> Seen:
    """Draw who looks at a scene.

    Args:
        person: vertices, SMPL frame, metres.
        thing: vertices of the object, likewise.
        joints: that the annotated camera is fitted to.
        upright: SMPL frame to world.
        rng: random numbers.
    """
    settings = load_camera_settings()
    size = settings.side
    rotation = _view(rng, settings) @ upright
    frame = _frame(size, rng, settings)
    corner = _corner(size, frame, rng, settings)
    near = rng.uniform() < settings.lens["near"]
    low, high = np.log([settings.lens["focal_low"], settings.lens["focal_high"]])
    focal = float(np.exp(rng.uniform(low, high))) * max(frame)
    margins = rng.normal(0, 1, 3)
    person, everything = outermost(person), outermost(np.concatenate([person, thing]))
    target = np.array(corner) + size / 2
    if near:
        camera = _aimed(rotation, everything, np.full(2, focal), np.array(frame) / 2, target, size / CROP_FACTOR)
        box = _body_box(camera, person, margins, settings)
    else:
        camera, box = _far_camera(rotation, everything, person, target, size / CROP_FACTOR, margins, settings)
    annotated = _fitted(camera, joints, box) if near else camera
    return Seen(_stored(camera), _stored(annotated), frame, (*corner, size), as_stored(box))


def outermost(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "_ 3"]:
    """The corners of the convex hull: a camera in front sees them, and only them, at the edges of the points' box."""
    return np.asarray(points[ConvexHull(points).vertices])


def draw_view(
    points: Float[np.ndarray, "n 3"],
    person: Float[np.ndarray, "v 3"],
    upright: Float[np.ndarray, "3 3"],
    rng: np.random.Generator,
) -> Camera:
    """Draw another far camera of a scene, in a frame as large as its window.

    Args:
        points: outermost vertices of person and object, SMPL frame, metres.
        person: those of the person.
        upright: SMPL frame to world.
        rng: random numbers.
    """
    settings = load_camera_settings()
    target, side = np.full(2, settings.side / 2), settings.side / CROP_FACTOR
    rotation = _view(rng, settings) @ upright
    return _stored(_far_camera(rotation, points, person, target, side, rng.normal(0, 1, 3), settings)[0])


def _stored(camera: Camera) -> Camera:
    """The camera as float32 columns hold it, so that pictures show what the files say."""
    fields = (camera.rotation, camera.translation, camera.focal, camera.principal_point)
    return Camera(*(as_stored(value) for value in fields))


def _view(rng: np.random.Generator, settings: CameraSettings) -> Float[np.ndarray, "3 3"]:
    """World to camera: from all round, somewhat above or below, a little rolled."""
    view = settings.view
    azimuth = rng.uniform(-np.pi, np.pi)
    elevation = np.clip(rng.normal(view["elevation_mean"], view["elevation_spread"]), *view["elevation_limits"])
    roll = rng.normal(0, np.radians(view["roll_spread"]))
    down = axis_rotation(X, float(np.radians(elevation)))
    return np.asarray(axis_rotation(Z, roll) @ LOOKING_DOWN_Z @ down @ axis_rotation(Y, azimuth))


def _frame(size: int, rng: np.random.Generator, settings: CameraSettings) -> tuple[int, int]:
    """Width and height of the frame; no side is shorter than the window."""
    shapes = settings.window["frames"]
    across, up = shapes[int(rng.integers(len(shapes)))]
    unit = size * np.sqrt(settings.window["frame_area"] / (across * up))
    return max(size, round(across * unit)), max(size, round(up * unit))


def _corner(size: int, frame: tuple[int, int], rng: np.random.Generator, settings: CameraSettings) -> tuple[int, int]:
    """Where the window is in the frame: anywhere within, or over one of its edges."""
    corner = [int(rng.integers(side - size + 1)) for side in frame]
    depth, axis, end = rng.uniform(*settings.window["truncated_depth"]), int(rng.integers(2)), int(rng.integers(2))
    if rng.uniform() < settings.window["truncated"]:
        corner[axis] = round(-depth * size) if end == 0 else round(frame[axis] - (1 - depth) * size)
    return corner[0], corner[1]


def _bounds(pixels: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    return pixels.min(0), pixels.max(0)


def _aimed(
    rotation: Float[np.ndarray, "3 3"],
    points: Float[np.ndarray, "n 3"],
    focal: Float[np.ndarray, "2"],
    principal_point: Float[np.ndarray, "2"],
    target: Float[np.ndarray, "2"],
    side: float,
) -> Camera:
    """A camera that sees points in a box about `target` whose longer side is `side` pixels.

    The rotation is relative to the ray through the target, so that what is off the optical axis is not turned away.
    """
    ray = np.append((target - principal_point) / focal, 1.0)
    turned = _onto(ray / np.linalg.norm(ray)) @ rotation
    seen = points @ turned.T
    depth = float(focal[0] * np.ptp(seen, axis=0)[:2].max() / side)
    place = np.zeros(2)
    for _ in range(8):  # perspective moves the box a little: a few corrections settle it
        translation = np.append(place, depth)
        low, high = _bounds(project(seen + translation, focal, principal_point))
        depth = float(depth * max(high - low) / side)
        place = place + ((target - (low + high) / 2) / focal) * depth
    return Camera(turned, np.append(place, depth), focal, principal_point)


def _onto(ray: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The least rotation that takes the optical axis to a ray."""
    axis = np.cross(Z, ray)
    sine = np.linalg.norm(axis)
    return np.eye(3) if sine < 1e-12 else axis_rotation(axis, float(np.arctan2(sine, ray[2])))


def _far_camera(
    rotation: Float[np.ndarray, "3 3"],
    points: Float[np.ndarray, "n 3"],
    person: Float[np.ndarray, "v 3"],
    target: Float[np.ndarray, "2"],
    side: float,
    margins: Float[np.ndarray, "3"],
    settings: CameraSettings,
) -> tuple[Camera, Float[np.ndarray, "4"]]:
    """The camera whose focal length and principal point are those of the body's crop, and that crop."""
    focal, middle = np.full(2, FAR_FOCAL * side), target
    for _ in range(3):  # the crop depends on the camera, hardly: at 40 m a box moves by hundredths of a pixel
        camera = _aimed(rotation, points, focal, middle, target, side)
        box = _body_box(camera, person, margins, settings)
        focal, middle = np.full(2, FAR_FOCAL * box[3]), box[:2] + box[2:] / 2
    return _aimed(rotation, points, focal, middle, target, side), box


def _body_box(
    camera: Camera, person: Float[np.ndarray, "v 3"], margins: Float[np.ndarray, "3"], settings: CameraSettings
) -> Float[np.ndarray, "4"]:
    """The body estimator's crop: the person's box widened to 3 : 4, a little off; x, y, width, height."""
    low, high = _bounds(project(person @ camera.rotation.T + camera.translation, camera.focal, camera.principal_point))
    width, height = high - low
    tall = max(height, width * 4 / 3) * settings.box["widening"] * np.exp(settings.box["widening_spread"] * margins[0])
    middle = (low + high) / 2 + settings.box["offset_spread"] * tall * margins[1:]
    return np.array([middle[0] - tall * 3 / 8, middle[1] - tall / 2, tall * 3 / 4, tall])


def _fitted(camera: Camera, joints: Float[np.ndarray, "j 3"], box: Float[np.ndarray, "4"]) -> Camera:
    """The far camera of a crop that shows the joints nearest to where a camera shows them, in the least squares."""
    focal, middle = np.full(2, FAR_FOCAL * box[3]), box[:2] + box[2:] / 2
    goal = project(joints @ camera.rotation.T + camera.translation, camera.focal, camera.principal_point)
    # start: the same view, turned to the middle of the crop, at the depth that gives the size
    ray = np.append((goal.mean(0) - camera.principal_point) / camera.focal, 1.0)
    rotation = _onto(ray / np.linalg.norm(ray)).T @ camera.rotation
    depth = camera.translation[2] * focal[0] / camera.focal[0]
    translation = np.append((goal.mean(0) - middle) / focal * depth, depth)
    for _ in range(FIT_STEPS):
        seen = joints @ rotation.T
        place = seen + translation
        residual = (project(place, focal, middle) - goal).ravel()
        step = np.linalg.lstsq(_pose_jacobian(seen, place, focal), -residual, rcond=None)[0]
        rotation = rotvec_to_matrix(step[:3]) @ rotation
        translation = translation + step[3:]
    return Camera(rotation, translation, focal, middle)


def _pose_jacobian(
    arms: Float[np.ndarray, "j 3"], place: Float[np.ndarray, "j 3"], focal: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "m 6"]:
    """How pixels move with a turn of the view about the pelvis and with the translation."""
    x, y, z = place.T
    zero = np.zeros_like(z)
    slope = np.stack(
        [
            np.stack([focal[0] / z, zero, -focal[0] * x / z**2], 1),
            np.stack([zero, focal[1] / z, -focal[1] * y / z**2], 1),
        ],
        1,
    )
    turned = np.stack([np.cross(np.broadcast_to(axis, arms.shape), arms) for axis in np.eye(3)], 2)
    return np.concatenate([slope @ turned, slope], 2).reshape(-1, 6)
