"""Tiny untrained priors, whole with their files, and scorers whose likes are known."""

from dataclasses import dataclass

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
class Planted:
    """A scorer that likes keypoints where they are wanted, (b, p, 3), and thinks nothing of cameras."""

    wanted: torch.Tensor

    def score(self, points, cameras):
        """Minus the mean squared distance, square metres."""
        return -(points - self.wanted).square().mean((1, 2))[:, None]

    def take(self, rows):
        """Of some pictures."""
        return Planted(self.wanted[rows])
