"""A step of the published fit with the learned prior, as its code takes it: what `baselines.flow_prior` is beside.

All of `plain_fit` but its interaction and depth, and two terms more. The prior embeds the picture's 2,048 numbers and
runs the whole flow (`plain_flow`) in training mode for every virtual camera, in every step, and differentiates its
weights too. Contact is a loop over images, with all candidates of both sides, the distances of all pairs from their
differences, all of them differentiated. Kinder than the published code: see `plain_fit` and `plain_flow`; cameras are
given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from plain_fit import PlainFit, Posed
from plain_flow import PlainFlow
from smplx_class import by_class
from torch import Tensor, nn

from baselines.fitting import Problem
from baselines.flow import PRESETS
from baselines.losses import JOINTS
from baselines.scene import BODY, CAMERAS, ObjectState, rotation_from_6d
from wildhoi.schema import Sample

FEATURES, CONTEXT = 2048, 256
"""Numbers of a picture as the published backbone gives them, and as the flow is conditioned on them."""
FLOW = replace(PRESETS["released"], dropout=0.0)
"""As it is when fitting."""
THRESHOLD, CAMERA_LR = 0.05, 1e-3


class Looked(NamedTuple):
    """Both surfaces and more, camera; and the keypoints of the prior, SMPL frame. Metres."""

    posed: Posed
    known: Tensor


class PlainPrior:
    """The fit of a problem's batch with prior and contact, begun where the problem stands."""

    def __init__(
        self,
        problem: Problem,
        samples: Sequence[Sample],
        means: Mapping[str, np.ndarray],
        weights: Mapping[str, float],
    ) -> None:
        self.fit = PlainFit(problem, samples, weights)
        self.scene = problem.scene
        self.cameras = self.fit.parameters[CAMERAS]
        self.start = {name: tensor.clone() for name, tensor in self.fit.parameters.items()}
        like, count = self.cameras, len(self.scene.object_keypoints.share)
        self.embedding = nn.Linear(FEATURES, CONTEXT).to(like)
        self.flow = PlainFlow(3 * (JOINTS + count + 1), CONTEXT, FLOW).to(like)
        self.features = torch.randn(len(samples), FEATURES).to(like)
        self.occlusion = {side: _products(samples, side, means[side]).to(like) for side in ("human", "object")}

    def begin(self, cameras: Tensor, *, object_alone: bool) -> torch.optim.Optimizer:
        """Go back to the start with some cameras, and choose the phase: what is trained."""
        for name, tensor in self.fit.parameters.items():
            tensor.data.copy_(self.start[name])
        self.cameras = cameras.detach().clone()
        adam = self.fit.begin(object_alone=object_alone)
        adam.add_param_group({"params": [self.cameras.requires_grad_()], "lr": CAMERA_LR})
        return adam

    def step(self, adam: torch.optim.Optimizer, *, contact: bool) -> None:
        """One step of the optimiser; gradients of the flow's weights pile up, as published."""
        adam.zero_grad()
        terms, fit = self.terms(contact=contact), self.fit
        torch.stack([fit.share * fit.weights[name] * value for name, value in terms.items()]).sum().backward()
        adam.step()

    def terms(self, *, contact: bool) -> dict[str, Tensor]:
        """Every term, one number for the batch."""
        posed, known = self.looked()
        found = {
            "correspondences": self.fit.correspondences(posed.pose),
            "scale_decay": (self.fit.parameters["object_scale"] - 1).square().mean(),
            **self.fit.keypoints(posed.keypoints),
            **self.fit.decays(),
            "prior": self.prior(known),
        }
        return found | ({"contact": self.contact(posed.person, posed.thing)} if contact else {})

    def looked(self) -> Looked:
        """Both surfaces, whole."""
        of, cameras = self.fit.parameters, self.fit.seen.cameras
        vertices, joints = by_class(self.scene.body, *(of[name] for name in BODY))
        rotation = rotation_from_6d(of["object_rotation"])
        place = (rotation, of["object_translation"], of["object_scale"], of.get("object_angle"))
        pose = ObjectState(self.scene, cameras, *place)
        person = cameras.see(vertices)
        posed = Posed(person, cameras.see(pose.vertices), self.fit.regressor @ person, pose)
        return Looked(posed, torch.cat([joints[:, :JOINTS], pose.keypoints], dim=1))

    def prior(self, points: Tensor) -> Tensor:
        """Negative log-density by dimension, of bare rays and positions."""
        count, number, _ = self.cameras.shape
        points = points[:, None].repeat(1, number, 1, 1)
        rays = points - self.cameras[:, :, None]
        rays = rays / (rays.norm(dim=-1, keepdim=True) + 1e-8)
        x = torch.cat([rays, self.cameras[:, :, None]], dim=-2).reshape(count * number, -1)
        features = self.features[:, None].repeat(1, number, 1).reshape(count * number, -1)
        return -(self.flow.log_prob(x, self.embedding(features)) / x.shape[1]).mean()

    def contact(self, person: Tensor, thing: Tensor) -> Tensor:
        """Equation 14, mean over the images that have candidates of both sides."""
        total, count = person.new_zeros(()), 0
        for image in range(len(person)):
            (points, weight), (things, thing_weight) = (
                (surface[image][product[image] > THRESHOLD], product[image][product[image] > THRESHOLD])
                for surface, product in zip((person, thing), self.occlusion.values(), strict=True)
            )
            if len(points) and len(things):
                distances = (points[:, None] - things).square().sum(-1).sqrt()
                weighted = distances * (weight[:, None] * thing_weight)
                total = total + weighted.amin(1).mean() + weighted.amin(0).mean()
                count += 1
        return total / max(1, count)


def _products(samples: Sequence[Sample], side: str, mean: np.ndarray) -> Tensor:
    """Occlusion times mean occlusion by vertex."""
    maps = np.stack([getattr(sample, f"{side}_occlusion") for sample in samples])
    return torch.as_tensor(maps * mean)
