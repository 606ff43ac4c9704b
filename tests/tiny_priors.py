"""Tiny untrained priors, whole with their files, and scorers whose likes are known."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from baselines.encoders import EncoderConfig
from baselines.flow import FlowConfig
from baselines.prior import Prior, PriorConfig
from baselines.prior_files import write_prior
from baselines.rays import View
from submissions import unchecked
from wildhoi.dataset import find_data, load_samples
from wildhoi.mean_maps import mean_of_samples
from wildhoi.templates import SHIPPED, load_template
from wildhoi.view_reading import read_points, read_views

FLOW = FlowConfig(depth=2, width=8, blocks=0, shift=4)
SHOWN, BLIND = EncoderConfig("small", 16, 8), EncoderConfig("none")
FACTS = {"trained": "not at all"}


def template(name):
    with unchecked():
        return load_template(SHIPPED / name)


def tiny_prior(name, *, encoder=SHOWN, supervision="2d", space="metres", seed=0):
    """An untrained prior in evaluation mode, its norms set on the sample data's training views; float32."""
    data = find_data("open-sample")
    with unchecked():
        torch.manual_seed(seed)
        keypoints = 22 + len(template(name).keypoint_vertices)
        config = PriorConfig(name, keypoints, supervision, space, 0.02, 0.02, FLOW, encoder)
        prior = Prior(config)
        if supervision == "3d":
            coordinates = torch.from_numpy(read_points(data, name).points).float().flatten(1)
        else:
            views = read_views(data, name, views="all")
            coordinates = prior.coordinates(
                View(torch.from_numpy(views.rays).float(), torch.from_numpy(views.positions).float())
            )
        generator = torch.Generator().manual_seed(seed)
        coordinates = coordinates.repeat(8, 1)
        coordinates = coordinates + prior.noise(coordinates, generator)
        # conditions of the size that an encoder gives, so that couplings and shifts are not nothing
        context = torch.randn(len(coordinates), prior.encoder.context, generator=generator)
        prior.flow.initialise(coordinates, context)
        for weights in prior.flow.parameters():
            weights.data += 0.02 * torch.randn(weights.shape, generator=generator)
        return prior.eval().requires_grad_(False)


def mean_maps(name):
    """The mean occlusion maps of the sample data's training images."""
    with unchecked():
        return mean_of_samples(load_samples(find_data("open-sample").path, "train", [name], streaming=True))


def write_tiny(folder, name, *, contact=True, **kind):
    """Write a tiny prior of an object below a folder of priors; gives that of the prior."""
    place = folder / name
    with unchecked():
        write_prior(place, tiny_prior(name, **kind), template(name), FACTS, mean_maps(name) if contact else None)
    return place


@dataclass(frozen=True)
class Gaussian:
    """A scorer: the log-density of a normal about `centre` (b, p, 3), of what a camera sees divided by its distance.

    Its `weight` tells one picture from another, so that a wrong row is seen.
    """

    centre: torch.Tensor
    weight: torch.Tensor

    def score(self, points, cameras):
        """Log-density by camera, and by dimension."""
        apart = points - self.centre
        if cameras is None:
            return -0.5 * self.weight[:, None] * apart.square().mean((1, 2))[:, None]
        axis = torch.nn.functional.normalize(cameras, dim=-1)
        along = torch.einsum("bpk,bmk->bmp", apart, axis)
        across = apart[:, None] - along[..., None] * axis[:, :, None]
        return -0.5 * self.weight[:, None] * across.square().mean((2, 3))

    def take(self, rows):
        """Of some pictures."""
        return replace(self, centre=self.centre[rows], weight=self.weight[rows])


def positions(count, number, seed=0, distance=5.0):
    """Virtual cameras all around (count, number, 3), metres, float64."""
    made = np.random.default_rng(seed).normal(size=(count, number, 3))
    return torch.from_numpy(distance * made / np.linalg.norm(made, axis=-1, keepdims=True))
