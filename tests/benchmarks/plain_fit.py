"""A step of PHOSA's fit as the published code takes it, from the same definitions: what `baselines` is compared with.

The `smplx` class skins the whole surface in every step, whatever is fitted; a dense matrix makes keypoints of vertices;
correspondences are 128 x 128 cells an image, the background's too, all sorted; parts that attract each other are found
and summed in loops over images and pairs. Every term is worked out in both phases. Kinder than the published code:
vertex numbers are tensors, an object without a symmetric twin has one map, and no loss is read in a step.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from smplx_class import by_class
from torch import Tensor
from torch.nn.functional import mse_loss

from baselines.fitting import Problem
from baselines.observation import CROP, FOCAL, GRID
from baselines.scene import BODY, OBJECT, ObjectState, project, rotation_from_6d
from wildhoi.body import BodyModel
from wildhoi.body.wholebody import fitted_index
from wildhoi.rendering import depth_maps
from wildhoi.schema import Sample
from wildhoi.templates import Template

GROWN, FARTHEST, FURTHEST = 1.5, 5.0, 2.0
"""Of a part's box, its new size as a share; metres between parts that attract; metres of a gap that still pull."""
SECOND_SHARE = 1 / 11
"""Of the weights, in the second phase."""
INTERACTION = ("coarse_interaction", "fine_interaction")


class Cells(NamedTuple):
    """The square maps of a batch: points (template, metres), places (image coordinates), what turns, what counts."""

    points: Tensor
    places: Tensor
    moving: Tensor
    kept: Tensor


class Posed(NamedTuple):
    """Vertices of both and keypoints, camera, metres; and the object's pose."""

    person: Tensor
    thing: Tensor
    keypoints: Tensor
    pose: ObjectState


class PlainFit:
    """The fit of a problem's batch, begun where the problem stands, object moved in the SMPL frame."""

    def __init__(self, problem: Problem, samples: Sequence[Sample], weights: Mapping[str, float], side: int = GRID):
        self.scene, self.seen, self.weights = problem.scene, problem.observation, weights
        thing, parts, device = problem.state().object, problem.scene.parts, self.scene.body.device
        self.parameters = {name: tensor.detach().clone() for name, tensor in problem.parameters.items()}
        self.parameters["object_translation"] = thing.translation.detach().clone()
        self.parameters["object_scale"] = thing.scale.detach().clone()
        self.regressor = torch.as_tensor(dense_regressor(self.scene.body), dtype=self.scene.body.dtype, device=device)
        self.body_parts = [torch.as_tensor(part, device=device) for part in parts.body]
        self.object_parts = [torch.as_tensor(part, device=device) for part in parts.object]
        self.pairs = parts.pairs.tolist()
        self.cells = read_cells(samples, self.scene.template, side, self.scene.vertices)
        self.share = 1.0

    def begin(self, *, object_alone: bool) -> torch.optim.Optimizer:
        """Choose the phase: what is trained."""
        trained = OBJECT if object_alone else (*BODY, *OBJECT)
        for name, tensor in self.parameters.items():
            tensor.requires_grad_(name in trained)
        self.share = 1.0 if object_alone else SECOND_SHARE
        return torch.optim.Adam([tensor for tensor in self.parameters.values() if tensor.requires_grad], lr=0.05)

    def step(self, adam: torch.optim.Optimizer, *, depth: bool) -> None:
        """One step of the optimiser."""
        adam.zero_grad()
        terms = self.terms(self.posed(), depth=depth)
        torch.stack([self.share * self.weights[name] * value for name, value in terms.items()]).sum().backward()
        adam.step()

    def attract(self) -> None:
        """The interaction terms alone, forward and backward."""
        terms = self.interaction(self.posed())
        torch.stack([self.weights[name] * value for name, value in terms.items()]).sum().backward()

    def posed(self) -> Posed:
        """Both surfaces, whole."""
        of, cameras = self.parameters, self.seen.cameras
        person = cameras.see(by_class(self.scene.body, *(of[name] for name in BODY))[0])
        rotation = rotation_from_6d(of["object_rotation"])
        place = (rotation, of["object_translation"], of["object_scale"], of.get("object_angle"))
        pose = ObjectState(self.scene, cameras, *place)
        return Posed(person, cameras.see(pose.vertices), self.regressor @ person, pose)

    def terms(self, posed: Posed, *, depth: bool) -> dict[str, Tensor]:
        """Every term, one number for the batch."""
        found = {
            "correspondences": self.correspondences(posed.pose),
            "scale_decay": (self.parameters["object_scale"] - 1).square().mean(),
            **self.keypoints(posed.keypoints),
            **self.decays(),
            **self.interaction(posed),
        }
        return found | ({"ordinal_depth": self.ordinal_depth(posed)} if depth else {})

    def keypoints(self, points: Tensor) -> dict[str, Tensor]:
        seen = self.seen
        errors = seen.confidence[..., None] * (1000 * (project(points) - seen.keypoints)).square()
        hands = errors[:, 23:44].mean() + errors[:, 44:65].mean()
        return {"body_keypoints": errors[:, :23].mean(), "hand_keypoints": hands}

    def decays(self) -> dict[str, Tensor]:
        of, first = self.parameters, self.seen.initial
        hands = [name for name in BODY if "hand" in name]
        return {
            "betas_decay": mse_loss(of["betas"], first["betas"]),
            "body_decay": mse_loss(of["body_pose"], first["body_pose"]),
            "hand_decay": sum(mse_loss(of[name], first[name]) for name in hands),
            "body_norm": of["body_pose"].square().mean(),
            "hand_norm": sum(of[name].square().mean() for name in hands),
        }

    def correspondences(self, pose: ObjectState) -> Tensor:
        points, places, moving, kept = self.cells
        versions = []
        for sign in self.scene.mirrors:
            placed = project(pose.cameras.see(pose.place(points * sign, moving)))
            errors = (FOCAL * (placed - places)).square().sum(2).sort(1).values
            versions.append((errors * kept).mean(1))
        return torch.stack(versions).amin(0).mean()

    def interaction(self, posed: Posed) -> dict[str, Tensor]:
        person, thing = posed.person, posed.thing
        coarse = mse_loss(person.mean(1), thing.mean(1)) / len(person)
        pairs, fine = self.assigned(person, thing), torch.zeros_like(coarse)
        for image, part, other in pairs:
            middle = person[image][self.body_parts[part]].mean(0)
            fine = fine + mse_loss(middle, thing[image][self.object_parts[other]].mean(0))
        return dict(zip(INTERACTION, (coarse, fine / max(1, len(pairs))), strict=True))

    def assigned(self, person: Tensor, thing: Tensor) -> list[tuple[int, int, int]]:
        """(image, part of the body, part of the object) of those whose boxes meet and whose depths are near."""
        with torch.no_grad():
            boxes, their_boxes = _boxes(person, self.body_parts), _boxes(thing, self.object_parts)
        found = []
        for image in range(len(person)):
            for part, other, gate in self.pairs:
                (low, high), (its_low, its_high) = boxes[gate], their_boxes[other]
                meet = (low[image] <= its_high[image]).all() and (its_low[image] <= high[image]).all()
                gap = _gap(person[image][self.body_parts[part]], thing[image][self.object_parts[other]])
                if meet and gap < FARTHEST:
                    found.append((image, part, other))
        return found

    def ordinal_depth(self, posed: Posed) -> Tensor:
        """With our own renderer, one image at a time, the whole crop drawn."""
        seen, total, violated = self.seen, posed.thing.new_zeros(()), 0
        focal = posed.thing.new_full((1, 2), FOCAL)
        camera = (focal, torch.full_like(focal, CROP / 2), (CROP, CROP))
        meshes = ((posed.person, self.scene.body_faces), (posed.thing, self.scene.faces))
        for image in range(len(posed.thing)):
            person, thing = (depth_maps(mesh[image, None], faces, *camera).depth[0] for mesh, faces in meshes)
            both = person.isfinite() & thing.isfinite()
            orders = ((seen.person_first, person, thing), (seen.object_first, thing, person))
            for first, meant_nearer, meant_further in orders:
                wrong = both & first[image] & (meant_further < meant_nearer)
                if wrong.any():
                    gap = (meant_nearer[wrong] - meant_further[wrong]).clamp(max=FURTHEST)
                    total, violated = total + gap.exp().log1p().sum(), violated + 1
        return total / max(1, violated)


def _boxes(points: Tensor, parts: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The grown rectangle of each part, image coordinates."""
    flat, found = project(points), []
    for part in parts:
        low, high = flat[:, part].amin(1), flat[:, part].amax(1)
        middle, half = (low + high) / 2, GROWN * (high - low) / 2
        found.append((middle - half, middle + half))
    return found


def _gap(points: Tensor, others: Tensor) -> float | Tensor:
    """Metres between two ranges of depth."""
    near, far, its_near, its_far = (f(p[:, 2]) for p in (points, others) for f in (torch.amin, torch.amax))
    if its_near <= far and near <= its_far:
        return 0.0
    return torch.minimum((its_near - far).abs(), (near - its_far).abs())


def dense_regressor(body: BodyModel) -> np.ndarray:
    """The 65 keypoints from vertices (65, V): joints by the model's own regressor, the others a vertex each."""
    joints = body.module.get_buffer("J_regressor").double().cpu().numpy()
    return np.concatenate([joints, np.eye(body.n_vertices)])[fitted_index(body)]


def read_cells(samples: Sequence[Sample], template: Template, side: int, like: Tensor) -> Cells:
    """The maps of samples resampled to squares of so many cells a side, numbers as those of `like`."""
    squares = [_square(sample, side) for sample in samples]
    points, places = (np.stack(arrays) for arrays in zip(*squares, strict=True))
    seen = points.any(2).sum(1)
    kept = np.arange(side**2) < (98 * seen // 100)[:, None]
    moves = np.zeros(len(template.vertices))
    moves[template.joint_vertices] = 1
    moving = moves[cKDTree(template.vertices).query(points)[1]]
    return Cells(*(torch.as_tensor(a, dtype=like.dtype, device=like.device) for a in (points, places, moving, kept)))


def _square(sample: Sample, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and places (image coordinates) of a square about the map's box: the nearest cell of the map for each."""
    grid, box, camera = sample.object_correspondences, sample.object_correspondences_box, sample.camera
    shape, box = np.array(grid.shape[1::-1]), np.asarray(box, np.float64)
    pitch = box[2:] / shape
    steps = ((np.arange(side) + 0.5) / side - 0.5) * box[2:].max()
    columns, rows = (np.floor(shape[k] / 2 + steps / pitch[k] + 1e-9).astype(int) for k in (0, 1))
    row, column = np.meshgrid(rows, columns, indexing="ij")
    inside = (column >= 0) & (column < shape[0]) & (row >= 0) & (row < shape[1])
    points = np.zeros((side, side, 3))
    points[inside] = np.nan_to_num(grid[row[inside], column[inside]])
    pixels = box[:2] + np.stack([column, row], axis=-1) * pitch
    return points.reshape(-1, 3), ((pixels - camera.principal_point) / camera.focal).reshape(-1, 2)
