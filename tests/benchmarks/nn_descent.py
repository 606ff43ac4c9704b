"""The published grouping, NN-descent, written afresh from its description: random, approximate, order-dependent.

Every view starts with k random neighbours. In a sweep each view picks at most `sample` of its neighbours and of the
views it is a neighbour of that are new, and compares them with all of them; of a compared pair each becomes a neighbour
of the other where its mixed distance beats the worst there and it is seen from elsewhere than all that are there. After
a sweep the mixed distances are worked out again.
"""

from dataclasses import dataclass

import numpy as np

BATCH = 4096


@dataclass
class Row:
    """A view's neighbours, their mixed distances, whether they are new, and whose neighbour the view is."""

    neighbours: list
    metres: np.ndarray
    new: list
    inverse: dict


class Descent:
    """The state of the search."""

    def __init__(self, views, k=16, *, sample=8, consistency=0.5, diversity=0.2, seed=0):
        self.rays, self.positions = views.rays.astype(np.float32), views.positions.astype(np.float32)
        away = np.linalg.norm(self.positions, axis=1, keepdims=True)
        self.vectors = np.concatenate([self.rays, (self.positions / away)[:, None]], axis=1).reshape(len(self.rays), -1)
        self.sample, self.share, self.diversity = sample, consistency, diversity
        self.random = np.random.default_rng(seed)
        count = len(self.rays)
        others = [np.delete(np.arange(count), i) for i in range(count)]
        starts = [self.random.choice(each, k, replace=False).tolist() for each in others]
        self.rows = [Row(start, np.zeros(k), [True] * k, {}) for start in starts]
        for i, start in enumerate(starts):
            for j in start:
                self.rows[j].inverse[i] = True
        self.remeasure()

    def distances(self, i, j):
        """Equation 11, divided, of views whose indices broadcast."""
        cross = np.cross(self.rays[i], self.rays[j])
        gap = (self.positions[i] - self.positions[j])[..., None, :]
        return (np.abs((cross * gap).sum(-1)) / (np.linalg.norm(cross, axis=-1) + 1e-8)).mean(-1)

    def remeasure(self):
        """The mixed distance of every neighbour: to the view, and the mean to all of its neighbours."""
        for i, row in enumerate(self.rows):
            near = np.array(row.neighbours)
            to_view = self.distances(i, near)
            among = self.distances(near[:, None], near[None]).mean(1) if self.share else 0
            row.metres = (1 - self.share) * to_view + self.share * among

    def sweep(self):
        """Compare once; tells how many neighbours changed."""
        pairs = [pair for i in range(len(self.rows)) for pair in self._pairs(self.rows[i])]
        changes = 0
        for start in range(0, len(pairs), BATCH):
            one, other = np.array(pairs[start : start + BATCH]).T
            changes += self._offer(one, other) + self._offer(other, one)
        self.remeasure()
        return changes

    def _pairs(self, row):
        everyone = [*row.neighbours, *row.inverse]
        news = [(j, p) for p, j in enumerate(row.neighbours) if row.new[p]]
        news += [(j, None) for j, new in row.inverse.items() if new]
        picked = self.random.permutation(len(news))[: self.sample]
        for j, place in (news[n] for n in picked):
            if place is None:
                row.inverse[j] = False
            else:
                row.new[place] = False
            yield from ((j, other) for other in everyone if other != j)

    def _offer(self, guests, hosts):
        """Offer views as neighbours of others."""
        near = np.array([self.rows[host].neighbours for host in hosts])
        mixed = self.distances(guests, hosts)
        if self.share:
            mixed = (1 - self.share) * mixed + self.share * self.distances(guests[:, None], near).mean(1)
        apart = np.abs(self.vectors[guests][:, None] - self.vectors[near]).mean(-1).min(1)
        changes = 0
        for guest, host, metres in zip(*(x[apart > self.diversity] for x in (guests, hosts, mixed)), strict=True):
            row = self.rows[host]
            worst = int(row.metres.argmax())
            if guest == host or guest in row.neighbours or metres >= row.metres[worst]:
                continue
            del self.rows[row.neighbours[worst]].inverse[host]
            row.neighbours[worst], row.metres[worst], row.new[worst] = int(guest), metres, True
            self.rows[guest].inverse[int(host)] = True
            changes += 1
        return changes

    @property
    def neighbours(self):
        return np.array([row.neighbours for row in self.rows])
