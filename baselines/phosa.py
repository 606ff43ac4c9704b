"""`phosa` and `phosa-released`: PHOSA's interaction terms in the paper's two-phase fit (paper, 5.2).

Attraction of the whole (coarse) and of parts that touch (fine), and who is in front (ordinal depth), stand where the
paper's method has its prior and its contact term; all else is equal.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from baselines.depth import ordinal_depth_sums
from baselines.fitted import FittedMethod
from baselines.losses import coarse_interaction as coarse
from baselines.losses import pair_distances
from baselines.observation import Observation
from baselines.parts import released_parts
from baselines.recipe import COMMON, Recipe
from baselines.scene import State
from wildhoi.method import MethodInfo

INPUTS = (
    "human",
    "camera",
    "object_pose",
    "wholebody_keypoints",
    "object_correspondences",
    "person_mask",
    "object_mask",
)
PAPER = "Zhang et al., Perceiving 3D Human-Object Spatial Arrangements from a Single Image in the Wild, ECCV 2020"
CODE = "https://github.com/huochf/WildHOI (optimize_with_phosa.py), written afresh"

WEIGHTS = COMMON | {"coarse_interaction": 1.0, "fine_interaction": 1.0, "ordinal_depth": 1e-2}
"""As the authors' code has them; its coarse term is divided by the batch once more than the others, 64 images there."""
PUBLISHED_BATCH = 64


def released_coarse(state: State, seen: Observation) -> Float[Tensor, " b"]:
    """The coarse term divided by the batch: the published code takes the mean over images and then divides again."""
    return coarse(state, seen) / len(seen.keypoints)


def released_fine(state: State, seen: Observation) -> Float[Tensor, " b"]:
    """The fine term as a share of the batch's pairs, not of the image's: its mean is the mean over all pairs."""
    distances, assigned = pair_distances(state)
    return (distances * assigned).sum(1) * len(distances) / assigned.sum().clamp(min=1)


def released_depth(state: State, seen: Observation) -> Float[Tensor, " b"]:
    """The depth term divided by how many (image, direction) of the batch are violated at all."""
    sums = ordinal_depth_sums(state, seen)
    return sums.sum(1) * len(sums) / torch.count_nonzero(sums).clamp(min=1)


OURS = Recipe(
    weights=WEIGHTS | {"coarse_interaction": WEIGHTS["coarse_interaction"] / PUBLISHED_BATCH},
    lr=(0.05, 0.02),
    final_lr=0.01,
    beta2=0.99,
)
RELEASED = Recipe(
    weights=WEIGHTS,
    second_share=1 / 11,
    fresh=False,
    coordinates="smpl",
    objective="mean",
    background=True,
    functions={
        "coarse_interaction": released_coarse,
        "fine_interaction": released_fine,
        "ordinal_depth": released_depth,
    },
    parts=released_parts,
)


def build_phosa(settings: Mapping[str, Any]) -> FittedMethod:
    """PHOSA with terms by image, parts paired as they touch, and object moved in the camera's coordinates.

    Raises:
        InputError: a setting is unknown or of the wrong kind.
    """
    summary = "adapted PHOSA: parts that touch attract each other, masks say who is in front; terms by image"
    return FittedMethod(MethodInfo("phosa", summary, INPUTS, "category table", paper=PAPER, code=CODE), OURS, settings)


def build_released(settings: Mapping[str, Any]) -> FittedMethod:
    """PHOSA as the authors' code has it: terms normalised over the batch, wrong parts paired, one optimiser throughout.

    Raises:
        InputError: a setting is unknown or of the wrong kind.
    """
    summary = "PHOSA as the authors' released code has it; an image's result depends on its batch"
    info = MethodInfo("phosa-released", summary, INPUTS, "category table", paper=PAPER, code=CODE)
    return FittedMethod(info, RELEASED, settings)
