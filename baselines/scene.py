"""From the parameters of a batch to posed keypoints, parts and surfaces; only what a loss asks for is worked out."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from baselines.initial import NEAREST
from baselines.observation import Cameras
from baselines.painter import Painter
from baselines.parts import Parts, mirrors, spans
from wildhoi.body.linear import SkinnedVertices, SurfacePoints, means_of
from wildhoi.body.model import BodyModel, Posture
from wildhoi.body.wholebody import FittedKeypoints
from wildhoi.templates import Template

BODY = ("betas", "body_pose", "left_hand_pose", "right_hand_pose")
OBJECT = ("object_rotation", "object_translation", "object_scale", "object_angle")
CAMERAS = "virtual_cameras"
Parameters = Mapping[str, Tensor]
"""By name: betas (b, 10), body_pose (b, 21, 3), left_hand_pose and right_hand_pose (b, 15, 3), object_rotation (b, 6:
the first two rows), object_translation (b, 3), object_scale (b, 1) and, for objects with a joint, object_angle
(b, 1); for a prior that looks at views, the positions of its virtual_cameras (b, m, 3), metres, SMPL frame."""


class Boxes(NamedTuple):
    """Rectangles in image coordinates and ranges of depth (metres) of the parts of a batch; low and high corners."""

    low: Float[Tensor, "b p 3"]
    high: Float[Tensor, "b p 3"]


class VertexMeans(NamedTuple):
    """Means of vertices of the template: `still + share * turned(middle)`, template frame."""

    still: Float[Tensor, "k 3"]
    share: Float[Tensor, " k"]
    middle: Float[Tensor, "k 3"]


def project(points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 2"]:
    """Image coordinates x/z, y/z of points of a camera's frame; those behind it as if they were just in front."""
    return points[..., :2] / points[..., 2:].clamp(min=NEAREST)


def rotation_from_6d(six: Float[Tensor, "b 6"]) -> Float[Tensor, "b 3 3"]:
    """The rotation whose first two rows are the two vectors made orthonormal. Source: Zhou et al. 2019."""
    first = torch.nn.functional.normalize(six[:, :3], dim=1)
    second = six[:, 3:] - (first * six[:, 3:]).sum(1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=1)


class Scene:
    """A body model and a template, prepared for batches; everything that does not change from step to step."""

    def __init__(
        self,
        body: BodyModel,
        template: Template,
        parts: Parts,
        painter: Painter | None = None,
        regressor: Float[np.ndarray, "65 v"] | None = None,
        touching: Int[np.ndarray, " n"] | None = None,
    ) -> None:
        """Take the sums that keypoints and centroids need.

        Args:
            body: its device and type are those of the fit.
            template: of the object.
            parts: which parts of both attract each other.
            painter: draws depths; default the one that suits the body's device.
            regressor: of the 65 keypoints, instead of the table.
            touching: the vertices of the body that contact is ever asked of; default all.
        """
        self.body, self.template, self.parts = body, template, parts
        self.painter = painter or Painter(fixed=body.device.type == "cuda")
        self.keypoints = FittedKeypoints(body, regressor)
        everything = np.arange(body.n_vertices)
        self.body_means = SurfacePoints(body, means_of([everything, *parts.body], body.n_vertices))
        used = np.unique(np.concatenate([[0], *parts.body]))
        self.body_parts, self.body_spans = SkinnedVertices(body, used), self._integers(spans(parts.body, used))
        self.body_faces = self._integers(body.faces)
        self.vertices, self.faces = self._numbers(template.vertices), self._integers(template.faces)
        everything = np.arange(len(template.vertices))
        self.object_keypoints = self._sums(list(template.keypoint_vertices.values()))
        self.object_means = self._sums([everything, *parts.object])
        hulls = [parts.hull(template, part) for part in parts.object]
        used = np.unique(np.concatenate([[0], *hulls]))
        self.hulls, self.hull_spans = self._integers(used), self._integers(spans(hulls, used))
        self.moving = torch.zeros(len(template.vertices), dtype=body.dtype, device=body.device)
        self.moving[template.joint_vertices] = 1
        self.mirrors = self._numbers(mirrors(template))
        self.pairs = self._integers(parts.pairs)
        self.touching = np.arange(body.n_vertices) if touching is None else np.unique(np.r_[0, touching])
        self.touching_rows = self._integers(np.searchsorted(self.touching, np.arange(body.n_vertices)))

    def _numbers(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=self.body.dtype, device=self.body.device)

    def _integers(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(array, np.int64), device=self.body.device)

    def _sums(self, groups: "list[Int[np.ndarray, '_']]") -> VertexMeans:
        """Means of vertices as what stays and what turns with the joint."""
        weights = means_of(groups, len(self.template.vertices)).toarray()
        moves = np.zeros(len(self.template.vertices))
        moves[self.template.joint_vertices] = 1
        share = weights @ moves
        middle = weights @ (self.template.vertices * moves[:, None]) / np.maximum(share, 1e-12)[:, None]
        still = weights @ (self.template.vertices * (1 - moves[:, None]))
        return VertexMeans(*map(self._numbers, (still, share, middle)))

    @cached_property
    def touching_vertices(self) -> SkinnedVertices:
        """The vertices of the body that contact is asked of."""
        return SkinnedVertices(self.body, self.touching)

    @cached_property
    def axis(self) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
        """A point of the joint's axis and its unit direction, template frame."""
        joint = self.template.category.joint
        if joint is None:
            raise ValueError(f"{self.template.category.name}: has no joint")
        first, second = (self.template.keypoints[name] for name in joint.axis_keypoints)
        return self._numbers(first), self._numbers((second - first) / np.linalg.norm(second - first))


@dataclass(eq=False)
class HumanState:
    """The people of a batch; what is asked for is worked out once. SMPL frame unless it says camera; metres."""

    scene: Scene
    cameras: Cameras
    parameters: Parameters

    @cached_property
    def posture(self) -> Posture:
        """The posed skeleton."""
        return self.scene.body.posture(*(self.parameters[name] for name in BODY))

    @property
    def still(self) -> bool:
        """Whether nothing of the people is being fitted, so that what is known of them stays."""
        return not any(self.parameters[name].requires_grad for name in BODY)

    @cached_property
    def joints(self) -> Float[Tensor, "b j 3"]:
        """All joints."""
        return self.posture.joints.positions

    @cached_property
    def keypoints(self) -> Float[Tensor, "b 65 2"]:
        """The 65 keypoints, image coordinates."""
        return project(self.cameras.see(self.scene.keypoints(self.posture)))

    @cached_property
    def means(self) -> Float[Tensor, "b p 3"]:
        """The mean vertex of the body, then those of its parts: not a vertex is posed for them."""
        return self.scene.body_means(self.posture)

    @cached_property
    def boxes(self) -> Boxes:
        """Of the parts, camera; no gradient."""
        with torch.no_grad():
            points = self.cameras.see(self.scene.body_parts(self.posture))
            return _boxes(points, self.scene.body_spans)

    @cached_property
    def vertices(self) -> Float[Tensor, "b v 3"]:
        """The whole surface."""
        return self.scene.body.skin(self.posture)

    @cached_property
    def _touching(self) -> Float[Tensor, "b n 3"]:
        """The vertices that contact is asked of: those of all images of the batch."""
        return self.scene.touching_vertices(self.posture)

    def touching(self, index: Int[Tensor, "b m"]) -> Float[Tensor, "b m 3"]:
        """Some vertices of the surface, of those that contact is asked of."""
        rows = self.scene.touching_rows[index]
        return self._touching.gather(1, rows[..., None].expand(-1, -1, 3))

    @cached_property
    def seen(self) -> Float[Tensor, "b v 3"]:
        """The whole surface, camera."""
        return self.cameras.see(self.vertices)

    @cached_property
    def drawn(self) -> dict[str, Tensor]:
        """What has been rendered of people who stand still."""
        return {}


@dataclass(eq=False)
class ObjectState:
    """The objects of a batch; `x = scale * rotation v + translation`, as everywhere."""

    scene: Scene
    cameras: Cameras
    rotation: Float[Tensor, "b 3 3"]
    translation: Float[Tensor, "b 3"]
    scale: Float[Tensor, "b 1"]
    angle: Float[Tensor, "b 1"] | None = None

    def place(self, points: Float[Tensor, "b n 3"], moving: Float[Tensor, "b n"]) -> Float[Tensor, "b n 3"]:
        """Points of the template in the SMPL frame; those that move are turned about the joint first."""
        turned = points
        if self.turn is not None:
            matrix, shift = self.turn
            turned = torch.where(moving[..., None] > 0, points @ matrix.mT + shift[:, None], points)
        return self.scale[..., None] * turned @ self.rotation.mT + self.translation[:, None]

    def see(
        self, points: Float[Tensor, "b n 3"], moving: Float[Tensor, "b n"], sign: Float[Tensor, "3"]
    ) -> Float[Tensor, "b 3 n"]:
        """Points of the template, with signs to their coordinates, in the cameras' frames: one product for each."""
        matrix = self.scale[..., None] * (self.cameras.rotation @ self.rotation)
        shift = self.cameras.rotation @ self.translation[..., None] + self.cameras.translation[..., None]
        seen = torch.baddbmm(shift, matrix * sign, points.mT)
        if self.turn is None:
            return seen
        turn, offset = self.turn
        turned = torch.baddbmm(matrix @ offset[..., None] + shift, matrix @ turn * sign, points.mT)
        return torch.where(moving[:, None] > 0, turned, seen)

    @cached_property
    def turn(self) -> tuple[Float[Tensor, "b 3 3"], Float[Tensor, "b 3"]] | None:
        """The joint's motion of the template, `x -> R x + t`; None without a joint."""
        if self.angle is None:
            return None
        origin, axis = self.scene.axis
        cosine, sine = self.angle.cos()[..., None], self.angle.sin()[..., None]
        identity = torch.eye(3, dtype=axis.dtype, device=axis.device)
        cross = torch.linalg.cross(axis.expand(3, 3), identity).mT
        matrix = cosine * identity + sine * cross + (1 - cosine) * axis[:, None] * axis
        return matrix, origin - (matrix @ origin)

    @cached_property
    def vertices(self) -> Float[Tensor, "b n 3"]:
        """The whole surface, SMPL frame."""
        return self.place(self._repeated(self.scene.vertices), self._repeated(self.scene.moving))

    def some(self, index: Int[Tensor, "b m"]) -> Float[Tensor, "b m 3"]:
        """Some vertices of the surface, SMPL frame."""
        return self.place(self.scene.vertices[index], self.scene.moving[index])

    def _repeated(self, table: Float[Tensor, "*n"]) -> Float[Tensor, "b *n"]:
        return table.expand(len(self.rotation), *table.shape)

    def _means(self, sums: VertexMeans) -> Float[Tensor, "b k 3"]:
        """Means of vertices: one still and one turned point stand for them all."""
        middle = self._repeated(sums.middle)
        if self.turn is not None:
            matrix, shift = self.turn
            middle = middle @ matrix.mT + shift[:, None]
        mean: Tensor = sums.still + sums.share[:, None] * middle
        return self.scale[..., None] * mean @ self.rotation.mT + self.translation[:, None]

    @cached_property
    def means(self) -> Float[Tensor, "b p 3"]:
        """The mean vertex of the object, then those of its parts, SMPL frame."""
        return self._means(self.scene.object_means)

    @cached_property
    def keypoints(self) -> Float[Tensor, "b k 3"]:
        """The keypoints of the template, SMPL frame."""
        return self._means(self.scene.object_keypoints)

    @cached_property
    def boxes(self) -> Boxes:
        """Of the parts, camera; no gradient. A rigid part's box is that of its convex hull."""
        with torch.no_grad():
            hulls = self.scene.hulls
            points = self.place(self._repeated(self.scene.vertices[hulls]), self._repeated(self.scene.moving[hulls]))
            return _boxes(self.cameras.see(points), self.scene.hull_spans)

    @cached_property
    def seen(self) -> Float[Tensor, "b n 3"]:
        """The whole surface, camera."""
        return self.cameras.see(self.vertices)


def _boxes(points: Float[Tensor, "b n 3"], spans: Int[Tensor, "p m"]) -> Boxes:
    spread = torch.cat([project(points), points[..., 2:]], dim=-1)[:, spans]
    return Boxes(spread.amin(2), spread.amax(2))


class State(NamedTuple):
    """A batch of people with objects, and the parameters they are made of."""

    human: HumanState
    object: ObjectState
    parameters: Parameters
