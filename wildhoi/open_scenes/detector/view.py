"""What the detectors look at: the scene as it is, and its picture."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from wildhoi.open_scenes.detector.settings import CROP_PIXELS
from wildhoi.open_scenes.scene import Scene


@dataclass(frozen=True, eq=False)
class View:
    """A scene, its picture and what is seen of whom: the truth behind one row.

    Attributes:
        scene: who, what, and the camera.
        image: the part `scene.image_box` of the frame.
        person: pixels of the image that show the person.
        thing: pixels of the image that show the object.
        vertices: the person's surface, metres, SMPL frame.
        joints: the person's joints, likewise.
    """

    scene: Scene
    image: UInt8[np.ndarray, "h w 3"]
    person: Bool[np.ndarray, "h w"]
    thing: Bool[np.ndarray, "h w"]
    vertices: Float[np.ndarray, "v 3"]
    joints: Float[np.ndarray, "j 3"]

    @property
    def unit(self) -> float:
        """Pixels of the frame in a crop pixel: errors are told for a body box of 256."""
        return float(self.scene.body_box[3]) / CROP_PIXELS
