"""Starting a fit where the prior says: a grid of depths along each object's viewing ray, the best few refined.

What a picture says of an object's depth is next to nothing, and far from what it has learned a prior's gradient leads
nowhere. So the one direction that is not seen is searched before anything is refined.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from baselines.fitting import Problem, Stage, fit
from baselines.placement import Place
from baselines.scene import CAMERAS, rotation_from_6d
from wildhoi.objects import Symmetry
from wildhoi.views import JOINTS

REACH = 1.5
"""Metres before and behind the person's pelvis that are searched."""
STEP = 0.025
"""Metres between two depths."""
APART = 0.15
"""Metres between two candidates of one rotation: nearer ones are one."""
PIECE = 4096
"""Candidates scored at once."""


@dataclass(frozen=True)
class Search:
    """How to search: candidates that are refined, steps of that, weights of prior and scale."""

    candidates: int
    steps: int
    prior: float
    scale: float


def search(problem: Problem, stage: Stage, symmetry: Symmetry, how: Search) -> None:
    """Move a problem's objects to where the prior likes them best.

    Every depth on the grid and every turn of the template onto itself is scored by prior and scale; the best few of an
    image are refined by the terms of a stage, all at once, and the best of them stays.

    Args:
        problem: in camera coordinates; its parameters are changed in place.
        stage: whose terms decide in the end.
        symmetry: of the template; its finite turns are tried too.
        how: how to search.
    """
    grid = _grid(problem, symmetry)
    with torch.no_grad():
        totals = _totals(problem, grid, how)
    chosen = _best_few(totals, how.candidates)
    rows = torch.arange(len(totals), device=totals.device).repeat_interleave(how.candidates)
    wide = _widened(problem, rows, {name: _picked(tensor, chosen) for name, tensor in grid.items()})
    fit(wide, [replace(stage, steps=how.steps)])
    with torch.no_grad():
        state = wide.state()
        terms = [weight * function(state, wide.observation) for function, weight in stage.terms.values() if weight]
        loss = torch.nan_to_num(torch.stack(terms).sum(0), nan=torch.inf).view(-1, how.candidates)
        best = loss.argmin(1) + how.candidates * torch.arange(len(loss), device=loss.device)
        for name, tensor in problem.parameters.items():
            tensor.copy_(wide.parameters[name][best])


def _grid(problem: Problem, symmetry: Symmetry) -> dict[str, Tensor]:
    """The parameters of every candidate that a search changes, (b, rotations, depths, n)."""
    moved, cameras = problem.parameters, problem.observation.cameras
    with torch.no_grad():
        rotation = rotation_from_6d(moved["object_rotation"])
        place = problem.placement.decode(Place(moved["object_translation"], moved["object_scale"]), rotation)
        turns = [np.eye(3)] if symmetry.kind == "sphere" else symmetry.rotations
        turned, encoded = [], []
        for turn in turns:
            shift = torch.from_numpy(symmetry.point - turn @ symmetry.point).to(rotation)
            turned.append(rotation @ torch.from_numpy(turn).to(rotation))
            moved_place = place._replace(translation=place.translation + place.scale * (rotation @ shift))
            encoded.append(problem.placement.encode(moved_place, turned[-1]))
        offsets = torch.arange(-REACH, REACH + STEP / 2, STEP).to(rotation)
        depths = cameras.translation[:, 2:] + offsets  # the pelvis is the origin
        translation = torch.stack([each.translation for each in encoded], 1)[:, :, None].repeat(1, 1, len(offsets), 1)
        translation[..., 2] = depths[:, None]
        scale = torch.stack([each.scale for each in encoded], 1)[:, :, None].expand(-1, -1, len(offsets), -1)
        six = torch.stack([each[:, :2].flatten(1) for each in turned], 1)[:, :, None]
    return {
        "object_rotation": six.expand(-1, -1, len(offsets), -1),
        "object_translation": translation,
        "object_scale": scale,
    }


def _totals(problem: Problem, grid: dict[str, Tensor], how: Search) -> Float[Tensor, "b r z"]:
    """What prior and scale say of each candidate: lower is better."""
    shape = grid["object_scale"].shape[:3]
    flat = {name: tensor.reshape(-1, tensor.shape[-1]) for name, tensor in grid.items()}
    rows = torch.arange(shape[0], device=flat["object_scale"].device).repeat_interleave(shape[1] * shape[2])
    found = []
    joints = problem.state().human.joints[:, :JOINTS]
    for piece in torch.split(torch.arange(len(rows), device=rows.device), PIECE):
        part = _widened(problem, rows[piece], {name: tensor[piece] for name, tensor in flat.items()}, light=True)
        thing = part.state().object
        points = torch.cat([joints[rows[piece]], thing.keypoints], dim=1)
        prior = part.observation.prior
        assert prior is not None
        score = prior.score(points, part.parameters.get(CAMERAS)).mean(1)
        found.append(how.scale * (thing.scale[:, 0] - 1).square() - how.prior * score)
    return torch.nan_to_num(torch.cat(found), nan=torch.inf).view(shape)


def _best_few(totals: Float[Tensor, "b r z"], count: int) -> Int[Tensor, "b n"]:
    """The best candidates of each image, none within reach of a better one of the same rotation; flat numbers."""
    remaining = totals.clone()
    depth = torch.arange(totals.shape[2], device=totals.device)
    rotation = torch.arange(totals.shape[1], device=totals.device)
    found = []
    for _ in range(count):
        best = remaining.flatten(1).argmin(1)
        found.append(best)
        turn, place = best // totals.shape[2], best % totals.shape[2]
        near = (depth - place[:, None]).abs() * STEP < APART
        same = rotation == turn[:, None]
        remaining.masked_fill_(same[:, :, None] & near[:, None], torch.inf)
    return torch.stack(found, 1)


def _picked(tensor: Float[Tensor, "b r z n"], chosen: Int[Tensor, "b c"]) -> Float[Tensor, "_ n"]:
    flat = tensor.flatten(1, 2)
    return flat.gather(1, chosen[..., None].expand(-1, -1, flat.shape[2])).flatten(0, 1)


def _widened(problem: Problem, rows: Int[Tensor, " n"], changed: dict[str, Tensor], *, light: bool = False) -> Problem:
    """The problem with each image as often as named, and other objects; `light` without what correspondences need."""
    parameters = {name: tensor[rows].clone() for name, tensor in problem.parameters.items()}
    parameters |= {name: tensor.clone() for name, tensor in changed.items()}
    observation = problem.observation
    if light:
        observation = replace(
            observation, **{name: getattr(observation, name)[:, :1] for name in ("points", "places", "cells", "moving")}
        )
    return replace(
        problem, observation=observation.take(rows), placement=problem.placement.take(rows), parameters=parameters
    )
