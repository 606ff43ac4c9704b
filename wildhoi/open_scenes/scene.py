"""A scene of the open set: who does what with which thing, and the camera that sees it."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from wildhoi.schema import Annotation, Camera, Human, ObjectPose


def as_stored(array: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Numbers as float32 columns hold them, so that pictures show exactly what the files say."""
    return np.asarray(array, np.float32).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Scene:
    """One solved scene and its one view; SMPL frame, metres, pixels of the frame.

    Attributes:
        scene_id: names the scene, its image and its video, since a scene is seen once.
        object: category.
        interaction: what the person does, a name of the category table.
        human: the person.
        object_pose: the object.
        camera: that takes the picture.
        annotated: the camera as annotated: `focal = 5000 / 256` of the height of `body_box`, principal point at its
            middle, fitted to the joints; `camera` itself where the picture was taken with such a lens.
        frame_size: width and height.
        window: x, y, side of the square around person and object; may reach over the frame's edge.
        body_box: the body estimator's crop, x, y, width, height, 3 : 4.
        upright: rotation of the SMPL frame to the world, y up.
        visible: share of the object's silhouette that is seen.
    """

    scene_id: str
    object: str
    interaction: str
    human: Human
    object_pose: ObjectPose
    camera: Camera
    annotated: Camera
    frame_size: tuple[int, int]
    window: tuple[int, int, int]
    body_box: Float[np.ndarray, "4"]
    upright: Float[np.ndarray, "3 3"]
    visible: float

    @property
    def image_box(self) -> tuple[int, int, int, int]:
        """The part of the window inside the frame: x, y, width, height."""
        x, y, side = self.window
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + side, self.frame_size[0]), min(y + side, self.frame_size[1])
        return left, top, right - left, bottom - top

    def annotation(self) -> Annotation:
        """The truth of the scene's image."""
        return Annotation(
            image_id=self.scene_id,
            object=self.object,
            video_id=self.scene_id,
            human=self.human,
            object_pose=self.object_pose,
            camera=self.annotated,
            scene_id=self.scene_id,
            visible=self.visible,
            interaction=self.interaction,
        )

    def resized(self, side: int) -> "Scene":
        """The scene with a window of another side: every pixel becomes so much larger or smaller.

        Corners stay whole pixels, so frame and window are rounded; what the window shows stays the same.
        """
        x, y, old = self.window
        if side == old:
            return self
        factor = side / old
        corner = np.round(np.array([x, y]) * factor).astype(int)

        def moved(point: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
            # a pixel is its centre, so it is the edges at -0.5 that are scaled
            return np.asarray((point - [x, y] + 0.5) * factor - 0.5 + corner)

        def lens(camera: Camera) -> Camera:
            return replace(camera, focal=camera.focal * factor, principal_point=moved(camera.principal_point))

        box = np.concatenate([moved(self.body_box[:2]), self.body_box[2:] * factor])
        width, height = (max(1, round(length * factor)) for length in self.frame_size)
        window = (int(corner[0]), int(corner[1]), side)
        seen = replace(self, camera=lens(self.camera), annotated=lens(self.annotated), body_box=box)
        return replace(seen, frame_size=(width, height), window=window)
