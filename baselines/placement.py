"""What the optimiser moves when it moves an object: its pose as it is, or where and how large it is in the picture."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from baselines.initial import NEAREST
from baselines.observation import Cameras
from baselines.scene import rotation_from_6d

Coordinates = Literal["camera", "smpl"]


class Place(NamedTuple):
    """An object in the SMPL frame, metres."""

    translation: Float[Tensor, "b 3"]
    scale: Float[Tensor, "b 1"]


@dataclass(frozen=True, eq=False)
class SmplCoordinates:
    """Translation and scale themselves, as the published code has them."""

    def encode(self, place: Place, rotation: Float[Tensor, "b 3 3"]) -> Place:
        """What is optimised."""
        return place

    def decode(self, moved: Place, rotation: Float[Tensor, "b 3 3"]) -> Place:
        """The place that it stands for."""
        return moved

    def take(self, rows: Int[Tensor, " n"]) -> "SmplCoordinates":
        """The coordinates of some images of the batch."""
        return self


@dataclass(frozen=True, eq=False)
class CameraCoordinates:
    """The object's middle as `(x z0/z, y z0/z, z)` in the camera, and its scale as `s z0/z`, with z0 its first depth.

    Only the third number moves the object along its viewing ray, and the picture hardly changes as it does. A camera
    tens of metres away makes the pose itself a bad thing to optimise: the one direction in which the picture says
    nothing lies oblique to every axis, and steps aside are punished 10,000 times as much as steps along it. An object
    of fixed scale keeps it, and looks smaller as it goes.
    """

    cameras: Cameras
    middle: Float[Tensor, "3"]
    depth: Float[Tensor, "b 1"]
    fixed_scale: bool = False

    def encode(self, place: Place, rotation: Float[Tensor, "b 3 3"]) -> Place:
        """What is optimised."""
        seen = self.cameras.see((place.translation + place.scale * (rotation @ self.middle))[:, None])[:, 0]
        depth = seen[:, 2:].clamp(min=NEAREST)
        ratio = self.depth / depth
        size = place.scale if self.fixed_scale else place.scale * ratio
        return Place(torch.cat([seen[:, :2] * ratio, depth], dim=1), size)

    def decode(self, moved: Place, rotation: Float[Tensor, "b 3 3"]) -> Place:
        """The place that it stands for."""
        depth = moved.translation[:, 2:].clamp(min=NEAREST)
        ratio = depth / self.depth
        scale = moved.scale if self.fixed_scale else moved.scale * ratio
        seen = torch.cat([moved.translation[:, :2] * ratio, depth], dim=1)
        middle = ((seen - self.cameras.translation)[:, None] @ self.cameras.rotation)[:, 0]
        return Place(middle - scale * (rotation @ self.middle), scale)

    def take(self, rows: Int[Tensor, " n"]) -> "CameraCoordinates":
        """The coordinates of some images of the batch."""
        cameras = Cameras(*(tensor[rows] for tensor in self.cameras))
        return replace(self, cameras=cameras, depth=self.depth[rows])


Placement = SmplCoordinates | CameraCoordinates


def placement(
    coordinates: Coordinates,
    cameras: Cameras,
    middle: Float[Tensor, "3"],
    start: Place,
    rotation: Float[Tensor, "b 3 3"],
    *,
    fixed_scale: bool = False,
) -> Placement:
    """The coordinates of a batch, by name, for objects that start where they do."""
    if coordinates == "smpl":
        return SmplCoordinates()
    seen = cameras.see((start.translation + start.scale * (rotation @ middle))[:, None])
    return CameraCoordinates(cameras, middle, seen[:, 0, 2:].clamp(min=NEAREST), fixed_scale)


def initial_tensors(start: Mapping[str, Tensor], where: Placement) -> dict[str, Tensor]:
    """Parameters with the object's place as these coordinates have it."""
    place = Place(start["object_translation"], start["object_scale"])
    moved = where.encode(place, rotation_from_6d(start["object_rotation"]))
    return {**start, "object_translation": moved.translation, "object_scale": moved.scale}
