"""Every metric: one pure function of a Pair under `@metric`. Adding one here is all it takes to have it scored.

Lengths inside are metres; a metric's value is in its stated unit. NaN means that the metric does not apply to the
image; it is left out of means, never counted as 0.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from evaluation.neighbours import chamfer_distance, nearest_distances, within
from evaluation.pair import Pair, Surface
from evaluation.sampling import spread_over
from evaluation.surfaces import point_to_surface
from wildhoi.geometry import geodesic_angle

CM = 100.0


@dataclass(frozen=True)
class Metric:
    """A metric's name, unit, direction and function; `label` heads its column."""

    name: str
    label: str
    unit: str
    lower_is_better: bool
    digits: int
    function: Callable[[Pair], float]


METRICS: dict[str, Metric] = {}


def metric(
    label: str, unit: str, *, lower_is_better: bool = True, digits: int = 2
) -> Callable[[Callable[[Pair], float]], Callable[[Pair], float]]:
    """Register a function of a Pair as a metric under its own name."""

    def register(function: Callable[[Pair], float]) -> Callable[[Pair], float]:
        name = function.__name__
        METRICS[name] = Metric(name, label, unit, lower_is_better, digits, function)
        return function

    return register


@metric("Chamfer human", "cm")
def chamfer_human(pair: Pair) -> float:
    """Chamfer distance of the human surfaces as published: independent points, both directions added."""
    return _chamfer(pair, "human")


@metric("Chamfer object", "cm")
def chamfer_object(pair: Pair) -> float:
    """Chamfer distance of the object surfaces as published: independent points, both directions added."""
    return _chamfer(pair, "object")


def _chamfer(pair: Pair, part: str) -> float:
    if part in pair.chamfers:
        return CM * pair.chamfers[part]
    prediction, truth = getattr(pair.prediction, part), getattr(pair.truth, part)
    return CM * chamfer_distance(prediction.points, truth.points)


@metric("Surface human", "cm")
def surface_human(pair: Pair) -> float:
    """As the Chamfer distance, but from points to the other surface itself: 0 for a perfect human."""
    return _surface(pair.prediction.human, pair.truth.human, pair.protocol.surface_points)


@metric("Surface object", "cm")
def surface_object(pair: Pair) -> float:
    """As the Chamfer distance, but from points to the other surface itself: 0 for a perfect object."""
    return _surface(pair.prediction.object, pair.truth.object, pair.protocol.surface_points)


def _surface(prediction: Surface, truth: Surface, count: int) -> float:
    there = point_to_surface(spread_over(prediction.points, count), truth.vertices, truth.faces)
    back = point_to_surface(spread_over(truth.points, count), prediction.vertices, prediction.faces)
    return CM * float(there.mean() + back.mean())


@metric("v2v human", "cm")
def v2v_human(pair: Pair) -> float:
    """Mean distance of corresponding vertices of the human; NaN without correspondence."""
    return _vertex_to_vertex(pair.prediction.human, pair.truth.human)


@metric("v2v object", "cm")
def v2v_object(pair: Pair) -> float:
    """Mean distance of corresponding vertices of the object; NaN without correspondence."""
    return _vertex_to_vertex(pair.prediction.object, pair.truth.object)


def _vertex_to_vertex(prediction: Surface, truth: Surface) -> float:
    if prediction.vertices.shape != truth.vertices.shape:
        return float("nan")
    return CM * float(np.linalg.norm(prediction.vertices - truth.vertices, axis=1).mean())


@metric("Rotation", "deg")
def rotation(pair: Pair) -> float:
    """`min over symmetries S of angle(R_p (R_g S)^T)`, exact for a continuous axis, 0 on a sphere."""
    relative = pair.truth.pose.rotation.T @ pair.prediction.pose.rotation
    return float(np.degrees(geodesic_angle(relative, pair.symmetry.nearest(relative))))


@metric("Translation", "cm")
def translation(pair: Pair) -> float:
    """`|t_p - t_g|` of the object in the scored frame; scale is ignored."""
    return CM * float(np.linalg.norm(pair.prediction.pose.translation - pair.truth.pose.translation))


@metric("MSSD", "cm")
def mssd(pair: Pair) -> float:
    """Maximum symmetry-aware surface distance (BOP): `min over S of max over v of |p(v) - g(S v)|`, scales included."""
    prediction, truth = pair.prediction.pose, pair.truth.pose
    vertices = pair.template.extreme_points  # a norm of an affine map is largest at one of them
    symmetric = pair.symmetry.candidates(truth.rotation.T @ prediction.rotation)
    posed = prediction.scale * vertices @ prediction.rotation.T + prediction.translation
    centred = vertices - pair.symmetry.point
    turned = np.einsum("sij,vj->svi", symmetric, centred) + pair.symmetry.point
    target = truth.scale * turned @ truth.rotation.T + truth.translation
    return CM * float(np.linalg.norm(posed - target, axis=2).max(axis=1).min())


@metric("ADD-S", "cm")
def add_s(pair: Pair) -> float:
    """Mean distance of each true vertex to the nearest predicted one (ADI of BOP; Hinterstoisser et al. 2012)."""
    template, prediction, truth = pair.template, pair.prediction.pose, pair.truth.pose
    return CM * float(nearest_distances(template.posed(truth), template.posed(prediction)).mean())


def _contact_scores(pair: Pair) -> tuple[float, float]:
    """Precision and recall of the predicted contact vertices against the true ones; NaN of nothing."""
    if len(pair.contacts.prediction) != len(pair.contacts.truth):
        return float("nan"), float("nan")
    predicted, true = pair.contacts
    both = float((predicted & true).sum())
    precision = both / predicted.sum() if predicted.any() else float("nan")
    return precision, both / true.sum() if true.any() else float("nan")


@metric("Contact precision", "", lower_is_better=False, digits=3)
def contact_precision(pair: Pair) -> float:
    """Share of the predicted contact vertices of the human that truly touch; NaN where none is predicted (CONTHO)."""
    return _contact_scores(pair)[0]


@metric("Contact recall", "", lower_is_better=False, digits=3)
def contact_recall(pair: Pair) -> float:
    """Share of the true contact vertices of the human that are predicted; NaN where none is true (CONTHO)."""
    return _contact_scores(pair)[1]


@metric("Contact F1", "", lower_is_better=False, digits=3)
def contact_f1(pair: Pair) -> float:
    """Harmonic mean of contact precision and recall; 0 where only one side touches, NaN where neither does."""
    precision, recall = _contact_scores(pair)
    if np.isnan(precision) and np.isnan(recall):
        return float("nan")
    return _harmonic_mean(np.nan_to_num(precision), np.nan_to_num(recall))


def _harmonic_mean(a: float, b: float) -> float:
    return float(2 * a * b / (a + b)) if a + b > 0 else 0.0


@metric("Penetration", "%")
def penetration_share(pair: Pair) -> float:
    """Share of the predicted object's vertices inside the predicted human, percent."""
    return 100 * pair.penetration.share


@metric("Penetration depth", "cm")
def penetration_depth(pair: Pair) -> float:
    """How deep the deepest vertex of the predicted object is inside the predicted human; 0 where none is."""
    return CM * pair.penetration.depth


@metric("F human", "", lower_is_better=False, digits=3)
def f_score_human(pair: Pair) -> float:
    """F-score of the human's points in the truth's normalised frame (RHOBIN, template-free)."""
    return _f_score(pair, ("human",))


@metric("F object", "", lower_is_better=False, digits=3)
def f_score_object(pair: Pair) -> float:
    """F-score of the object's points in the truth's normalised frame (RHOBIN, template-free)."""
    return _f_score(pair, ("object",))


@metric("F combined", "", lower_is_better=False, digits=3)
def f_score_combined(pair: Pair) -> float:
    """F-score of human and object points together in the truth's normalised frame (RHOBIN, template-free)."""
    return _f_score(pair, ("human", "object"))


def _f_score(pair: Pair, parts: tuple[str, ...]) -> float:
    """Nearer than the threshold counts as found, in the frame divided by twice the truth's radius."""
    scene = np.concatenate([pair.truth.human.f_score_points, pair.truth.object.f_score_points])
    size = 2 * np.linalg.norm(scene - scene.mean(axis=0), axis=1).max()
    near = size * pair.protocol.f_score_threshold
    prediction, truth = (
        np.concatenate([getattr(side, part).f_score_points for part in parts]) for side in (pair.prediction, pair.truth)
    )
    return _harmonic_mean(float(within(prediction, truth, near).mean()), float(within(truth, prediction, near).mean()))


@metric("Joint angle", "deg")
def joint_angle(pair: Pair) -> float:
    """Difference of the movable part's angle; NaN without a joint, a missing angle is 0 (straight)."""
    if pair.template.category.joint is None:
        return float("nan")
    difference = (pair.prediction.pose.angle or 0.0) - (pair.truth.pose.angle or 0.0)
    return float(np.degrees(abs((difference + np.pi) % (2 * np.pi) - np.pi)))


@metric("Chamfer articulated", "cm")
def chamfer_articulated(pair: Pair) -> float:
    """Chamfer distance of the object with its movable part turned on both sides; NaN without a joint."""
    if pair.template.category.joint is None:
        return float("nan")
    clouds = []
    for side in (pair.prediction, pair.truth):
        vertices = pair.template.posed(side.pose, articulate=True)
        clouds.append(replace(side.object, vertices=vertices).points)
    return CM * chamfer_distance(*clouds)
