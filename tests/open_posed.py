"""Batches of people posed with objects, for the tests of the open set's solver."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from wildhoi.body import load_body
from wildhoi.open_scenes.posing.checks import check
from wildhoi.open_scenes.posing.settings import load_posing_settings
from wildhoi.open_scenes.posing.solving import into_smpl_frame, solve_wishes
from wildhoi.open_scenes.posing.wishes import draw_person, draw_wish
from wildhoi.open_scenes.randomness import generator
from wildhoi.templates import SHIPPED, load_template

BODY = load_body("open")
SETTINGS = load_posing_settings()
NAMED = {
    "barbell": ("overhead", "shoulders", "deadlift", "bent_row"),
    "baseball": ("stance", "swing", "follow_through", "carried"),
    "basketball": ("two_hand_hold", "dribble", "shot", "under_arm", "in_air"),
    "bicycle": ("seated", "standing", "walking_beside", "steered"),
    "cello": ("played",),
    "skateboard": ("regular", "goofy", "pushing", "crouched", "carried"),
    "tennis": ("forehand", "backhand", "serve", "carried"),
    "violin": ("played",),
}
OBJECTS = {name: load_template(SHIPPED / name) for name in NAMED}
KINDS = [(name, kind) for name, template in OBJECTS.items() for kind in template.category.interactions]
BATCH, ATTEMPTS, HOLDING = 3, 8, 2


def interaction_of(name, kind):
    return OBJECTS[name].category.interactions[kind]


def draw(name, kind, seed, batch=BATCH):
    people = [draw_person(generator(seed, row, "person"), SETTINGS) for row in range(batch)]
    template, interaction = OBJECTS[name], interaction_of(name, kind)
    wishes = [draw_wish(interaction, template, generator(seed, row, "wish"), SETTINGS) for row in range(batch)]
    return people, wishes


def attempt(name, kind, seed, batch=BATCH):
    people, wishes = draw(name, kind, seed, batch)
    solved = solve_wishes(interaction_of(name, kind), OBJECTS[name], BODY, people, wishes, SETTINGS)
    return solved, wishes, into_smpl_frame(solved, wishes)


@lru_cache(maxsize=64)
def found(name, kind):
    """Batches solved until enough scenes hold: (solved, row, posed, verdict) of those that do."""
    good = []
    for seed in range(ATTEMPTS):
        solved, _, posed = attempt(name, kind, seed, HOLDING)
        verdicts = check(solved, posed, OBJECTS[name], SETTINGS)
        good += [
            (solved, row, posed[row], verdict)
            for row, verdict in enumerate(verdicts)
            if verdict.reason(SETTINGS) is None
        ]
        if len(good) >= HOLDING:
            break
    return good


def chest_of(solved):
    posed = solved.problem.kinematics.pose(solved.state)
    return posed.positions[:, BODY.joint_names.index("spine3")]


def with_ball_at(solved, place):
    return replace(solved.state, object_translation=place)


def slow_distances(points, vertices, faces):
    """Distances from triangles by the nearest of many points of each, and inside by the sum of solid angles."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    signed = np.empty(len(points))
    for row, point in enumerate(points):
        u, v, w = a - point, b - point, c - point
        lengths = [np.linalg.norm(x, axis=1) for x in (u, v, w)]
        top = np.einsum("ij,ij->i", u, np.cross(v, w))
        dots = [np.einsum("ij,ij->i", x, y) for x, y in ((u, v), (u, w), (v, w))]
        low = np.prod(lengths, axis=0) + dots[0] * lengths[2] + dots[1] * lengths[1] + dots[2] * lengths[0]
        winding = np.arctan2(top, low).sum() / (2 * np.pi)
        signed[row] = _triangle_distances(u, v, w).min() * (-1 if winding > 0.5 else 1)
    return signed


def _triangle_distances(u, v, w):
    """Distances of the origin from triangles: from the plane where it is above the triangle, else from the sides."""
    normal = np.cross(v - u, w - u)
    size = np.linalg.norm(normal, axis=1).clip(1e-15)
    height = np.einsum("ij,ij->i", u, normal) / size
    foot = (height / size)[:, None] * normal
    edges = [(u, v), (v, w), (w, u)]
    above = np.all([np.einsum("ij,ij->i", np.cross(q - p, foot - p), normal) >= 0 for p, q in edges], axis=0)
    sides = []
    for p, q in edges:
        line = q - p
        share = (-np.einsum("ij,ij->i", p, line) / np.einsum("ij,ij->i", line, line).clip(1e-18)).clip(0, 1)
        sides.append(np.linalg.norm(p + share[:, None] * line, axis=1))
    return np.where(above, np.abs(height), np.min(sides, axis=0))
