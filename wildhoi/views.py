"""Views of an object's scenes as the flow prior sees them: X_2.5D, the rays of keypoints and where the camera stands.

A view is `p = 22 + K` unit rays, from the camera to the body's first 22 joints and to the object's keypoints, and the
camera's position, all in the SMPL frame of the person in it (paper, equation 7). It comes from what an image's
estimates say, from the truth, or from the further views of a scene.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int

from wildhoi.errors import InputError
from wildhoi.geometry import viewing_rays
from wildhoi.mirror import BODY_EXCHANGE, REFLECTION
from wildhoi.objects import Category, find_category
from wildhoi.schema import Camera

JOINTS = 22


@dataclass(frozen=True, eq=False)
class Views:
    """Views of one object's scenes, SMPL frame, metres.

    Attributes:
        object: its name.
        view_ids: an image's id, or `SCENE/view-N` for a further view.
        scene_ids: None where not known.
        interactions: what the person does, None where not known.
        rays: unit vectors from the camera.
        positions: of the cameras.
        images: how many of the views, the first ones, are images' own; the others are further views.
        video_ids: what was filmed together; a further view has its scene's video. Empty where nothing is known.
        left_out: how many views were left out, by reason.
    """

    object: str
    view_ids: tuple[str, ...]
    scene_ids: tuple[str | None, ...]
    interactions: tuple[str | None, ...]
    rays: Float[np.ndarray, "n p 3"]
    positions: Float[np.ndarray, "n 3"]
    images: int = 0
    video_ids: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.view_ids)

    def take(self, rows: "Sequence[int] | Int[np.ndarray, ' m']") -> "Views":
        """Some of the views, in this order; images' own before further views."""
        return replace(
            self,
            view_ids=tuple(self.view_ids[row] for row in rows),
            scene_ids=tuple(self.scene_ids[row] for row in rows),
            interactions=tuple(self.interactions[row] for row in rows),
            video_ids=tuple(self.video_ids[row] for row in rows) if self.video_ids else (),
            rays=self.rays[rows],
            positions=self.positions[rows],
            images=int((np.asarray(rows) < self.images).sum()),
        )


def rays_of_pixels(
    body: Float[np.ndarray, "22 2"], thing: Float[np.ndarray, "k 2"], camera: Camera
) -> Float[np.ndarray, "_ 3"]:
    """The rays of keypoints in the picture, SMPL frame (paper, equation 6, left)."""
    pixels = np.concatenate([body, thing]).astype(np.float64)
    return viewing_rays(pixels, camera.rotation, camera.focal, camera.principal_point)


def rays_of_points(
    points: Float[np.ndarray, "*n p 3"], position: Float[np.ndarray, "*n 3"]
) -> Float[np.ndarray, "*n p 3"]:
    """The rays from camera positions to points, SMPL frame (paper, equation 6, right)."""
    offsets = points - position[..., None, :]
    return np.asarray(offsets / np.linalg.norm(offsets, axis=-1, keepdims=True))


def mirror_order(category: Category) -> Int[np.ndarray, " p"]:
    """Which keypoint of a scene is each keypoint of the mirrored scene: left and right exchanged."""
    return np.array([*BODY_EXCHANGE, *(JOINTS + flip for flip in category.keypoint_flip)])


def mirror_views(views: Views) -> Views:
    """The views of the mirrored scenes: space reflected (x changes sign), left and right keypoints exchanged.

    Raises:
        InputError: a mirrored picture would show another object.
    """
    category = find_category(views.object)
    if not category.mirrored_images:
        raise InputError(f"object {views.object!r}: a mirrored picture would show another object")
    rays = views.rays[:, mirror_order(category)] * REFLECTION
    return replace(views, rays=rays, positions=views.positions * REFLECTION)
