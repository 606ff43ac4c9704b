"""The body model: loaded by the `smplx` classes, posed by a faster path of our own that equals theirs."""

from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import cached_property
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import smplx
import torch
from jaxtyping import Float, Int, Shaped
from smplx.lbs import batch_rodrigues
from torch import Tensor

from wildhoi.body.layout import joint_names
from wildhoi.body.parts import find_parts
from wildhoi.schema import N_BETAS, N_BODY_JOINTS, N_HAND_JOINTS, BodyKind


class Surface(NamedTuple):
    """Posed vertices and joints; metres, SMPL frame."""

    vertices: Float[Tensor, "b v 3"]
    joints: Float[Tensor, "b j 3"]


class JointTransforms(NamedTuple):
    """Global rotation and position of every joint; metres, SMPL frame."""

    rotations: Float[Tensor, "b j 3 3"]
    positions: Float[Tensor, "b j 3"]


class Posture(NamedTuple):
    """A posed skeleton: each joint's own rotation, the rest joints in the model file's frame, and where joints are."""

    betas: Float[Tensor, "b 10"]
    local: Float[Tensor, "b j 3 3"]
    rest: Float[Tensor, "b j 3"]
    joints: JointTransforms

    @property
    def feature(self) -> Float[Tensor, "b c"]:
        """What pose correctives are linear in: every rotation but the first, less the identity (SMPL, equation 9)."""
        return (self.local[:, 1:] - torch.eye(3, dtype=self.local.dtype, device=self.local.device)).flatten(1)


class BodyModel:
    """A body of 10 betas and axis-angle poses in the SMPL frame: zero orientation, pelvis joint at the origin.

    Jaw, eyes and expression stay at zero. Every call takes any batch size and is differentiable.

    Attributes:
        kind: open, smplx or smplh.
        gender: neutral, male or female.
        sha256: of the file the model was read from.
        faces: triangles, counter-clockwise from outside.
        parents: joint above each joint, -1 for the pelvis.
        joint_names: in the order of the joints.
        module: the `smplx` class that loaded the file, which the paths here equal.
        flat_hand_mean: whether hand poses are full (True) or relative to the file's mean hand.
    """

    def __init__(
        self,
        arrays: Mapping[str, Shaped[np.ndarray, "..."]],
        *,
        kind: BodyKind,
        gender: str,
        sha256: str,
        flat_hand_mean: bool,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.kind, self.gender, self.sha256, self.flat_hand_mean = kind, gender, sha256, flat_hand_mean
        self.dtype, self.device = dtype, device
        self.joint_names = joint_names(kind)
        self.faces: Int[np.ndarray, "f 3"] = arrays["f"].astype(np.int64)
        self.parents: Int[np.ndarray, " j"] = np.r_[-1, arrays["kintree_table"][0, 1:].astype(np.int64)]
        self._weights: Float[np.ndarray, "v j"] = arrays["weights"]
        self._template: Float[np.ndarray, "v 3"] = arrays["v_template"]
        self._regressor: Float[np.ndarray, "j v"] = arrays["J_regressor"]
        self.module = _smplx_module(arrays, kind, flat_hand_mean, dtype).to(device)
        regressor, template, directions = (
            self.module.get_buffer(name).double() for name in ("J_regressor", "v_template", "shapedirs")
        )
        self._joint_template = (regressor @ template).to(dtype)
        self._joint_directions = torch.einsum("jv,vcs->jcs", regressor, directions).to(dtype)
        self._rest_template, self._skinning = template.to(dtype), self.module.get_buffer("lbs_weights")
        self._correctives = self.module.get_buffer("posedirs")
        self._shape_directions = directions[..., :N_BETAS].to(dtype).flatten(0, 1)
        self._has_correctives = bool(self._correctives.any())
        mean_hands = np.stack([arrays["hands_meanl"], arrays["hands_meanr"]]).reshape(2, N_HAND_JOINTS, 3)
        self._mean_hands = torch.tensor(mean_hands * (not flat_hand_mean), dtype=dtype, device=device)
        self._levels, order = _kinematic_levels(self.parents, device)
        self._order: Int[Tensor, " j"] = order

    @property
    def n_vertices(self) -> int:
        """Number of vertices."""
        return len(self._template)

    @property
    def n_joints(self) -> int:
        """Number of joints: 55, SMPL-H 52."""
        return len(self.parents)

    @cached_property
    def parts(self) -> Mapping[str, Int[np.ndarray, " n"]]:
        """Vertex numbers of each named part of the body, sorted; see `wildhoi.body.parts`."""
        joints = self._regressor @ self._template
        return find_parts(self._template, self.faces, self._weights, dict(zip(self.joint_names, joints, strict=True)))

    def surface(
        self,
        betas: Float[Tensor, "b 10"],
        body_pose: Float[Tensor, "b 21 3"],
        left_hand_pose: Float[Tensor, "b 15 3"],
        right_hand_pose: Float[Tensor, "b 15 3"],
    ) -> Surface:
        """Pose the whole surface by linear blend skinning; metres, SMPL frame.

        Equals the `smplx` class, whose loaded tensors it uses, several times faster: joints come from the fast path,
        all vertices of a batch are blended by one matrix product, and correctives that are all zero are not applied.
        Source: Loper et al. 2015, equations 2 to 6.
        """
        posture = self.posture(betas, body_pose, left_hand_pose, right_hand_pose)
        return Surface(self.skin(posture), posture.joints.positions)

    def skin(self, posture: Posture) -> Float[Tensor, "b v 3"]:
        """The whole surface of a posed skeleton; metres, SMPL frame."""
        shaped = self.rest_vertices(posture.betas)
        if self._has_correctives:
            shaped = shaped + (posture.feature @ self._correctives).reshape(shaped.shape)
        return blend(self._skinning, posture, shaped)

    def joints(
        self,
        betas: Float[Tensor, "b 10"],
        body_pose: Float[Tensor, "b 21 3"],
        left_hand_pose: Float[Tensor, "b 15 3"],
        right_hand_pose: Float[Tensor, "b 15 3"],
    ) -> Float[Tensor, "b j 3"]:
        """Pose the joints alone, without touching a vertex; metres, SMPL frame. Equals those of `surface`."""
        return self.joint_transforms(betas, body_pose, left_hand_pose, right_hand_pose).positions

    def joint_transforms(
        self,
        betas: Float[Tensor, "b 10"],
        body_pose: Float[Tensor, "b 21 3"],
        left_hand_pose: Float[Tensor, "b 15 3"],
        right_hand_pose: Float[Tensor, "b 15 3"],
    ) -> JointTransforms:
        """Follow the kinematic tree level by level; metres, SMPL frame.

        Pose correctives move no joint, so rest joints are linear in the betas (SMPL, Loper et al. 2015, equation 10).
        """
        return self.posture(betas, body_pose, left_hand_pose, right_hand_pose).joints

    def posture(
        self,
        betas: Float[Tensor, "b 10"],
        body_pose: Float[Tensor, "b 21 3"],
        left_hand_pose: Float[Tensor, "b 15 3"],
        right_hand_pose: Float[Tensor, "b 15 3"],
    ) -> Posture:
        """The posed skeleton with what it was made of: all that a vertex of the surface depends on."""
        local, rest = _rotations(self._full_pose(body_pose, left_hand_pose, right_hand_pose)), self.rest_joints(betas)
        return Posture(betas, local, rest, self.follow(local, rest))

    def follow(self, local: Float[Tensor, "b j 3 3"], rest: Float[Tensor, "b j 3"]) -> JointTransforms:
        """Follow the kinematic tree from each joint's own rotation and the rest joints; the first joint at the origin.

        The first rotation may be any orientation of the whole: then the frame is the world's.
        """
        rotations, positions = [local[:, :1]], [torch.zeros_like(rest[:, :1])]
        for joints, parents, rows in self._levels:
            above = rotations[-1][:, rows]
            bones = (rest[:, joints] - rest[:, parents])[..., None]
            positions.append(positions[-1][:, rows] + (above @ bones)[..., 0])
            rotations.append(above @ local[:, joints])
        return JointTransforms(torch.cat(rotations, 1)[:, self._order], torch.cat(positions, 1)[:, self._order])

    def rest_vertices(self, betas: Float[Tensor, "b 10"]) -> Float[Tensor, "b v 3"]:
        """Shape the template; metres, the model file's own frame."""
        return self._rest_template + (self._shape_directions @ betas.T).T.reshape(len(betas), -1, 3)

    @property
    def mean_hands(self) -> Float[Tensor, "2 15 3"]:
        """What hand poses are added to, left then right; zeros where they are complete by themselves."""
        return self._mean_hands

    @property
    def skinning(self) -> Float[Tensor, "v j"]:
        """How much each vertex follows each joint; rows sum to 1."""
        return self._skinning

    @property
    def shape_directions(self) -> Float[Tensor, "n 10"]:
        """How the coordinates of the shaped template, vertex by vertex, follow the betas; metres."""
        return self._shape_directions

    @property
    def correctives(self) -> Float[Tensor, "c n"] | None:
        """How the same coordinates follow the pose feature; None where the model has no correctives."""
        return self._correctives if self._has_correctives else None

    def rest_joints(self, betas: Float[Tensor, "b 10"]) -> Float[Tensor, "b j 3"]:
        """Shape the skeleton; metres, the model file's own frame."""
        return self._joint_template + torch.einsum("bs,jcs->bjc", betas, self._joint_directions)

    def pelvis(self, betas: Float[Tensor, "b 10"]) -> Float[Tensor, "b 3"]:
        """Locate the pelvis joint in the model file's own frame, from where `trans` of SMPL fits counts; metres.

        Row 0 of the joint regressor on the shaped template: depends on the betas, not on the pose.
        """
        return self._joint_template[0] + betas @ self._joint_directions[0].T

    def _full_pose(
        self,
        body_pose: Float[Tensor, "b 21 3"],
        left_hand_pose: Float[Tensor, "b 15 3"],
        right_hand_pose: Float[Tensor, "b 15 3"],
    ) -> Float[Tensor, "b j 3"]:
        """Assemble global orientation, body, face and hands, the mean hand added where hand poses are relative."""
        batch = len(body_pose)
        face = body_pose.new_zeros(batch, self.n_joints - 1 - N_BODY_JOINTS - 2 * N_HAND_JOINTS, 3)
        hands = [left_hand_pose + self._mean_hands[0], right_hand_pose + self._mean_hands[1]]
        return torch.cat([body_pose.new_zeros(batch, 1, 3), body_pose, face, *hands], dim=1)


def _rotations(pose: Float[Tensor, "b j 3"]) -> Float[Tensor, "b j 3 3"]:
    """Each joint's own rotation."""
    rotations: Tensor = batch_rodrigues(pose.reshape(-1, 3)).reshape(*pose.shape, 3)
    return rotations


def blend(skinning: Float[Tensor, "n j"], posture: Posture, shaped: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 3"]:
    """Let vertices at rest follow the joints by their weights, in one matrix product; metres, SMPL frame."""
    (rotations, positions), rest = posture.joints, posture.rest
    # Weights sum to 1 only to float32: blending about the file's own pelvis keeps the class's digits.
    offsets = (positions + rest[:, :1])[..., None] - rotations @ rest[..., None]
    transforms = torch.cat([rotations, offsets], dim=-1).permute(1, 2, 3, 0)
    blended = (skinning @ transforms.flatten(1)).reshape(-1, 3, 4, len(shaped)).unbind(2)
    x, y, z = (column[:, None] for column in shaped.permute(1, 2, 0).unbind(1))
    vertices = blended[0] * x + blended[1] * y + blended[2] * z + blended[3]
    return (vertices.permute(2, 0, 1) - rest[:, :1]).contiguous()


Level = tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, " n"]]


def _kinematic_levels(parents: Int[np.ndarray, " j"], device: torch.device) -> tuple[list[Level], Int[Tensor, " j"]]:
    """Group the joints by depth: (joints, their parents, the parents' rows in the level above); and the way back."""
    level, visited, levels = [0], [0], []
    while children := [j for j in range(len(parents)) if parents[j] in level]:
        above = [int(parents[j]) for j in children]
        rows = [level.index(p) for p in above]
        levels.append((
            torch.tensor(children, device=device), torch.tensor(above, device=device), torch.tensor(rows, device=device)
        ))  # fmt: skip
        visited += children
        level = children
    return levels, torch.tensor(np.argsort(visited), device=device)


def _smplx_module(
    arrays: Mapping[str, Shaped[np.ndarray, "..."]], kind: BodyKind, flat_hand_mean: bool, dtype: torch.dtype
) -> torch.nn.Module:
    """Construct the `smplx` class from checked arrays.

    The class reads files only, and unpickles what they hold; so it is given a clean copy. Hand components and face
    landmarks, which it insists on and we do not use, are blanks. It writes warnings to stdout.
    """
    shapes = arrays["shapedirs"]
    expression = 300 if kind != "smplh" and shapes.shape[2] >= 400 else N_BETAS  # first expression column
    blanks = {
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
        "lmk_faces_idx": np.zeros(51, np.int64),
        "lmk_bary_coords": np.zeros((51, 3)),
    }
    twenty = [*range(N_BETAS), *range(expression, min(expression + 10, shapes.shape[2]))]
    clean = {**arrays, **blanks, "shapedirs": shapes[:, :, twenty]}
    if kind != "smplh" and len(twenty) < 20:  # a file without expressions
        clean["shapedirs"] = np.pad(clean["shapedirs"], ((0, 0), (0, 0), (0, 20 - len(twenty))))
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        path = Path(folder) / "body.npz"
        np.savez(path, allow_pickle=False, **clean)
        module: torch.nn.Module = (smplx.SMPLH if kind == "smplh" else smplx.SMPLX)(
            str(path), ext="npz", use_pca=False, flat_hand_mean=flat_hand_mean, num_betas=N_BETAS, dtype=dtype,
            create_transl=False,
        )  # fmt: skip
    return module.requires_grad_(False).eval()
