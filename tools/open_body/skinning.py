"""Softening skinning weights and blend shapes by diffusion over the mesh, as far as the stretch of edges asks for."""

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix

from .skeleton import JOINT, NAMES
from .stretch import Body, edge_stretches, edges_of

GENERAL_STEPS = 30  # of diffusion, everywhere but on head and hands
STRAIN = 0.16  # relative change of an edge per unit of random betas; displacements beyond it are softened
LIMIT = 2.0  # edges that stretch further are softened; below the promised bound, which holds on other poses
ROUNDS = 60
SHAPE_ROUNDS = 300
STEPS = 3  # diffusion steps a round
POSITION_SHARE = 0.3  # of a diffusion step that positions take
RINGS = 3  # of neighbours softened along
POSES, SIGMA, SEED = 160, 0.42, 7  # poses to soften against; wider than those the bound is stated for
INFLUENCES = 6  # joints a vertex may follow
CRISP = ("head", "jaw", "eye", "index", "middle", "pinky", "ring", "thumb")


def spread(weights: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Widen the transitions between joints everywhere but on head and hands; (V,55)."""
    crisp = weights[:, [JOINT[n] for n in NAMES if any(part in n for part in CRISP)]].sum(1)
    return _diffuse(weights, _neighbour_average(faces, len(weights)), 1 - crisp, GENERAL_STEPS)


def soften(body: Body) -> Body:
    """Soften shapes, then whatever stretches over poses, then shapes again on the relaxed positions."""
    return soften_shapes(soften_stretch(soften_shapes(body)))


def soften_shapes(body: Body) -> Body:
    """Diffuse the displacements per beta where they would squeeze or stretch an edge beyond `STRAIN`."""
    template, (a, b) = body.template, edges_of(body.faces).T
    length = np.linalg.norm(template[a] - template[b], axis=1)
    average = _neighbour_average(body.faces, len(template), 1 / length)  # the ends of a short edge must agree most
    field = body.directions.transpose(1, 0, 2).reshape(len(template), -1)
    for _ in range(SHAPE_ROUNDS):
        strained = np.linalg.norm(field[a] - field[b], axis=1) > STRAIN * length
        if not strained.any():
            break
        field = _diffuse(field, average, _around(np.r_[a[strained], b[strained]], average), STEPS)
    return replace(body, directions=field.reshape(len(template), -1, 3).transpose(1, 0, 2))


def soften_stretch(body: Body) -> Body:
    """Diffuse weights, displacements and, gently, positions about the edges that stretch beyond `LIMIT`.

    Diffused positions even out the edge lengths, which helps where the rest pose squeezes them, as in the groin.
    """
    average, edges = _neighbour_average(body.faces, len(body.template)), edges_of(body.faces)
    for _ in range(ROUNDS):
        trial = replace(body, weights=strongest(body.weights))
        stretched = edges[edge_stretches(trial, POSES, SIGMA, SEED).max(0) > LIMIT]
        if not len(stretched):
            break
        amount = _around(stretched, average)
        field = body.directions.transpose(1, 0, 2).reshape(len(body.template), -1)
        field = _diffuse(field, average, amount, STEPS)
        body = replace(
            body,
            weights=_diffuse(body.weights, average, amount, STEPS),
            directions=field.reshape(len(body.template), -1, 3).transpose(1, 0, 2),
            template=_diffuse(body.template, average, POSITION_SHARE * amount, STEPS),
        )
    return replace(body, weights=strongest(body.weights))


def strongest(weights: np.ndarray) -> np.ndarray:
    """Keep the `INFLUENCES` largest weights of each vertex, fading the next one out so that neighbours agree."""
    ordered = -np.partition(-weights, INFLUENCES, axis=1)
    kept = np.maximum(weights - ordered[:, INFLUENCES : INFLUENCES + 1], 0)
    return kept / kept.sum(1, keepdims=True)


def _diffuse(weights: np.ndarray, average: csr_matrix, amount: np.ndarray, steps: int) -> np.ndarray:
    rate = 0.5 * amount[:, None]
    for _ in range(steps):
        weights = weights + rate * (average @ weights - weights)
    return weights


def _around(vertices: np.ndarray, average: csr_matrix) -> np.ndarray:
    """Mark vertices with 1 and three rings about them with what fades from it; (V,)."""
    amount = np.zeros(average.shape[0])
    amount[vertices] = 1
    for _ in range(RINGS):
        amount = np.maximum(amount, average @ amount)
    return amount


def _neighbour_average(faces: np.ndarray, n_vertices: int, closeness: np.ndarray | float = 1.0) -> csr_matrix:
    """Average over each vertex's neighbours, weighted by a closeness of each edge; (V,V)."""
    a, b = edges_of(faces).T
    entries = np.tile(np.broadcast_to(closeness, len(a)), 2)
    neighbours = csr_matrix((entries, (np.r_[a, b], np.r_[b, a])), (n_vertices, n_vertices))
    return csr_matrix(neighbours.multiply(1 / neighbours.sum(1)))
