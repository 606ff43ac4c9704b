"""Grouping written out from its definitions: one pair of rays, one candidate at a time; shares nothing with ours."""

import numpy as np

PARALLEL = 1e-6


def line_distance(d, t, other_d, other_t, *, divided=True):
    """How far two lines pass each other, each through a point and along a unit vector; positions as they are."""
    cross = np.cross(d, other_d)
    sine = np.linalg.norm(cross)
    if divided and sine < PARALLEL:
        return np.linalg.norm(np.cross(t - other_t, d))
    return abs(cross @ (t - other_t)) / (sine if divided else 1.0)


def distance(views, i, j, *, divided=True):
    """Equation 11."""
    each = [
        line_distance(d, views.positions[i], e, views.positions[j], divided=divided)
        for d, e in zip(views.rays[i], views.rays[j], strict=True)
    ]
    return float(np.mean(each))


def distances(views, *, divided=True):
    count = len(views.rays)
    return np.array([[distance(views, i, j, divided=divided) for j in range(count)] for i in range(count)])


def difference(views, i, j):
    """The mean absolute component between two X_2.5D as unit vectors."""
    one, other = (
        np.concatenate([views.rays[k], views.positions[k : k + 1] / np.linalg.norm(views.positions[k])]) for k in (i, j)
    )
    return float(np.abs(one - other).mean())


def neighbours(views, i, all_pairs, settings):
    """The neighbours of one view, in the order in which they are taken, from the distances of all pairs."""
    rounded = all_pairs.astype(np.float32)
    others = sorted((j for j in range(len(all_pairs)) if j != i), key=lambda j: (rounded[i, j], j))
    candidates, taken, share = others[: settings.candidates], [], settings.consistency
    while len(taken) < settings.k:
        best = None
        for j in candidates:
            alike = settings.diversity and any(difference(views, j, t) <= settings.diversity for t in taken)
            far = settings.threshold is not None and rounded[i, j] > settings.threshold
            if j in taken or alike or far:
                continue
            mixed = all_pairs[i, j]
            if taken:
                mixed = (1 - share) * mixed + share * np.mean([all_pairs[j, t] for t in taken])
            if best is None or mixed < best[0] - 1e-12:
                best = (mixed, j)
        if best is None:
            break
        taken.append(best[1])
    return taken


def weight(metres, steepness=1e5):
    x = steepness * metres**4
    return (x + 1) * np.exp(-x)


def descent(metres, length, rounds, seeds, asked, told):
    """The lists of a search among neighbours of neighbours, one view and one entry at a time: (place, is it new)."""
    count = len(metres)
    lists = [[] for _ in range(count)]
    for number in range(rounds):
        after = []
        for i in range(count):
            if number == 0:
                shown = {(i + seed) % count for seed in seeds}
            else:
                behind = [
                    (j, lists[j][rank][1]) for rank in range(asked) for j in range(count) if lists[j][rank][0] == i
                ]
                behind = behind[:asked]
                ways = lists[i][:asked] + behind
                shown = {b for j, new in ways for b, also in lists[j][:told] if new or also}
                shown |= {j for j, new in behind if new}
            listed = {j for j, _ in lists[i]}
            every = [(metres[i, j], j, j not in listed) for j in listed | shown if j != i]
            after.append([(j, new) for _, j, new in sorted(every)[:length]])
        lists = after
    return lists
