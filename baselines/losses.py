"""The terms of a fit: each a pure function of state and observation, one number for each image, before any weight.

A term reads nothing but its own image, so that no image's result depends on its batch. Sources are the paper (section
3.3) and, where it gives none, the authors' published code, whose batch normalisation is in `baselines.phosa`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from baselines.depth import ordinal_depth_sums
from baselines.initial import NEAREST
from baselines.observation import FOCAL, Observation
from baselines.scene import State
from baselines.touching import weighted_chamfer
from wildhoi.body.wholebody import N_BODY, N_HAND
from wildhoi.views import JOINTS

PER_IMAGE = Float[Tensor, " b"]
Function = Callable[[State, Observation], Tensor]

PLANE = 1000.0
"""What image coordinates are multiplied by in the keypoint terms."""
GROWN = 0.5
"""How much a part's box grows before it is asked whether it meets another, as a share of its size."""
FARTHEST = 5.0
"""Metres between two parts' ranges of depth beyond which they do not attract each other."""


@dataclass(frozen=True)
class Term:
    """A term: its function, what it needs of a sample (see `observation.LACKS`), and whether objects matter to it."""

    function: Function
    needs: tuple[str, ...] = ()
    of_body_alone: bool = False

    @property
    def name(self) -> str:
        """What it is called at the command line and in a manifest."""
        return self.function.__name__

    @property
    def meaning(self) -> str:
        """The first line of its documentation."""
        return (self.function.__doc__ or "").splitlines()[0].rstrip(".")


TERMS: dict[str, Term] = {}
"""Every term by name."""


def term(*needs: str, of_body_alone: bool = False) -> Callable[[Function], Function]:
    """Register a function as a term, with what it needs of a sample."""

    def register(function: Function) -> Function:
        TERMS[function.__name__] = Term(function, needs, of_body_alone)
        return function

    return register


def _reprojection(state: State, seen: Observation, first: int, count: int) -> PER_IMAGE:
    """Mean over keypoints and both coordinates of `confidence * (1000 (u - u_seen))^2`."""
    part = slice(first, first + count)
    error = PLANE * (state.human.keypoints[:, part] - seen.keypoints[:, part])
    return (seen.confidence[:, part, None] * error.square()).mean((1, 2))


@term("wholebody_keypoints", of_body_alone=True)
def body_keypoints(state: State, seen: Observation) -> PER_IMAGE:
    """Reprojection of the 23 keypoints of the body (J of equation 15), weighted by their confidence."""
    return _reprojection(state, seen, 0, N_BODY)


@term("wholebody_keypoints", of_body_alone=True)
def hand_keypoints(state: State, seen: Observation) -> PER_IMAGE:
    """Reprojection of the 21 keypoints of each hand, the two hands summed."""
    return _reprojection(state, seen, N_BODY, N_HAND) + _reprojection(state, seen, N_BODY + N_HAND, N_HAND)


@term("object_correspondences")
def correspondences(state: State, seen: Observation) -> PER_IMAGE:
    """Reprojection of the object's correspondences in pixels at focal length 5000, the worst 2 % left out (coor).

    `sum over the kept cells of |x - x_seen|^2 / cells of the square map`, for the better of the map and its symmetric
    twin; so the weight grows with the object's share of the square about its box.
    """
    return torch.stack([_trimmed(state, seen, sign) for sign in state.object.scene.mirrors]).amin(0)


def _trimmed(state: State, seen: Observation, sign: Float[Tensor, "3"]) -> PER_IMAGE:
    """The sum of the least errors: as many as 98 % of the object's cells are, of all the cells that are there.

    Whichever are fewer at most, those kept or those dropped, are looked for; a gradient flows through those kept alone.
    """
    how = seen.trimming
    if how.most_kept < how.most_dropped:
        with torch.no_grad():
            errors = _errors(state, seen.points, seen.places, seen.moving, sign)
            errors = torch.where(seen.cells > 0, errors, torch.inf)
            chosen = errors.topk(how.most_kept, largest=False).indices
        points, places = (
            table.gather(1, chosen[..., None].expand(-1, -1, table.shape[2])) for table in (seen.points, seen.places)
        )
        errors = _errors(state, points, places, seen.moving.gather(1, chosen), sign)
        kept = torch.arange(how.most_kept, device=errors.device) < how.kept
    else:
        errors = _errors(state, seen.points, seen.places, seen.moving, sign)
        ranked = torch.where(seen.cells > 0, errors.detach(), -torch.inf).topk(how.most_dropped)
        worst = torch.arange(how.most_dropped, device=errors.device) < how.dropped
        kept = (seen.cells > 0).scatter(1, ranked.indices, ~worst & (ranked.values >= 0))
    return torch.where(kept, errors, 0).sum(1) / seen.grid


def _errors(
    state: State,
    points: Float[Tensor, "b n 3"],
    places: Float[Tensor, "b n 2"],
    moving: Float[Tensor, "b n"],
    sign: Float[Tensor, "3"],
) -> Float[Tensor, "b n"]:
    """Squared distances in the picture, pixels at focal length 5000."""
    placed = state.object.see(points, moving, sign)
    return (FOCAL * (placed[:, :2] / placed[:, 2:].clamp(min=NEAREST) - places.mT)).square().sum(1)


def _decay(state: State, seen: Observation, name: str) -> PER_IMAGE:
    return (state.parameters[name] - seen.initial[name]).square().flatten(1).mean(1)


@term(of_body_alone=True)
def betas_decay(state: State, seen: Observation) -> PER_IMAGE:
    """Mean square of the betas' distance from the initial estimate."""
    return _decay(state, seen, "betas")


@term(of_body_alone=True)
def body_decay(state: State, seen: Observation) -> PER_IMAGE:
    """Mean square of the body pose's distance from the initial estimate, radians squared."""
    return _decay(state, seen, "body_pose")


@term(of_body_alone=True)
def hand_decay(state: State, seen: Observation) -> PER_IMAGE:
    """Mean squares of the hand poses' distances from the initial estimate, radians squared, the two hands summed."""
    return _decay(state, seen, "left_hand_pose") + _decay(state, seen, "right_hand_pose")


@term(of_body_alone=True)
def body_norm(state: State, seen: Observation) -> PER_IMAGE:
    """Mean square of the body pose, radians squared."""
    return state.parameters["body_pose"].square().mean((1, 2))


@term(of_body_alone=True)
def hand_norm(state: State, seen: Observation) -> PER_IMAGE:
    """Mean squares of the hand poses, radians squared, the two hands summed."""
    left, right = state.parameters["left_hand_pose"], state.parameters["right_hand_pose"]
    return left.square().mean((1, 2)) + right.square().mean((1, 2))


@term()
def scale_decay(state: State, seen: Observation) -> PER_IMAGE:
    """Square of what the object's scale is away from 1."""
    return (state.object.scale[:, 0] - 1).square()


@term()
def coarse_interaction(state: State, seen: Observation) -> PER_IMAGE:
    """Mean over xyz of the squared distance of the mean vertices of body and object, square metres (PHOSA)."""
    return (state.human.means[:, 0] - state.object.means[:, 0]).square().mean(1)


@term()
def fine_interaction(state: State, seen: Observation) -> PER_IMAGE:
    """Mean over xyz and over the assigned pairs of the squared distance of the parts' mean vertices (PHOSA)."""
    distances, assigned = pair_distances(state)
    return (distances * assigned).sum(1) / assigned.sum(1).clamp(min=1)


def pair_distances(state: State) -> tuple[Float[Tensor, "b p"], Bool[Tensor, "b p"]]:
    """For each pair of parts the mean over xyz of the squared distance of their mean vertices; and who is assigned.

    A pair is assigned while the gate's box and the object part's box, each grown by half, meet and the pair's ranges of
    depth are less than 5 m apart.
    """
    human, thing, gate = state.object.scene.pairs.unbind(1)
    distances = (state.human.means[:, 1 + human] - state.object.means[:, 1 + thing]).square().mean(2)
    (low, high), (its_low, its_high) = state.human.boxes, state.object.boxes
    grown, their_grown = (GROWN / 2 * (b.high - b.low)[..., :2] for b in (state.human.boxes, state.object.boxes))
    left, right = (low[..., :2] - grown)[:, gate], (high[..., :2] + grown)[:, gate]
    its_left, its_right = (its_low[..., :2] - their_grown)[:, thing], (its_high[..., :2] + their_grown)[:, thing]
    meet = ((left <= its_right) & (its_left <= right)).all(2)
    near, far, its_near, its_far = low[:, human, 2], high[:, human, 2], its_low[:, thing, 2], its_high[:, thing, 2]
    gap = torch.maximum(its_near - far, near - its_far).clamp(min=0)
    return distances, meet & (gap < FARTHEST)


@term("masks")
def ordinal_depth(state: State, seen: Observation) -> PER_IMAGE:
    """Sum over pixels where, by the masks, the wrong one is in front, of `log(1 + exp(gap))`, gap 0 to 2 m (CHORE)."""
    return ordinal_depth_sums(state, seen).sum(1)


@term("occlusion")
def contact(state: State, seen: Observation) -> PER_IMAGE:
    """Weighted Chamfer distance between the vertices that may touch, weights inside the minimum (equation 14)."""
    return _contact(state, seen, inside=True)


@term("occlusion")
def contact_nearest(state: State, seen: Observation) -> PER_IMAGE:
    """As `contact`, with the nearest vertex found before it is weighted: far ones of low weight are not preferred."""
    return _contact(state, seen, inside=False)


def _contact(state: State, seen: Observation, *, inside: bool) -> PER_IMAGE:
    if seen.human_contact is None or seen.object_contact is None:
        raise ValueError("the observation has no contact candidates")
    index, thing_index = seen.human_contact, seen.object_contact
    weight, thing_weight = seen.human_weight, seen.object_weight
    assert weight is not None and thing_weight is not None
    points, things = state.human.touching(index.clamp(min=0)), state.object.some(thing_index.clamp(min=0))
    return weighted_chamfer((points, weight, index >= 0), (things, thing_weight, thing_index >= 0), inside=inside)


@term()
def prior(state: State, seen: Observation) -> PER_IMAGE:
    """Negative log-density of the keypoints as virtual cameras see them, mean over cameras and dimensions (prior).

    Source: equation 13, whose sum over cameras is their mean here, nats per dimension, so that neither the number of
    cameras nor that of keypoints changes its weight (as the authors' code has it).
    """
    if seen.prior is None:
        raise ValueError("the observation has no prior")
    points = torch.cat([state.human.joints[:, :JOINTS], state.object.keypoints], dim=1)
    return -seen.prior.score(points, state.parameters.get("virtual_cameras")).mean(1)
