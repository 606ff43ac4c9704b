"""What a prior learns from: for each image its picture and the views of its group, on the device it is trained on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

from baselines.prior import Space
from baselines.rays import View, flat, to_metres
from wildhoi.errors import InputError
from wildhoi.mirror import REFLECTION
from wildhoi.objects import find_category
from wildhoi.views import Views, mirror_order, mirror_views

LEAST_IMAGES = 8
"""Fewer teach nothing and leave nothing to be held out."""


@dataclass(frozen=True, eq=False)
class Pool:
    """What is modelled, in the flow's coordinates: a row a view, or a scene; and the same in a mirror, if it may be."""

    coordinates: Float[Tensor, "n d"]
    mirrored: Float[Tensor, "n d"] | None

    def to(self, device: torch.device) -> "Pool":
        """The same on a device."""
        return Pool(self.coordinates.to(device), None if self.mirrored is None else self.mirrored.to(device))


@dataclass(frozen=True, eq=False)
class Examples:
    """The images of a training.

    Attributes:
        image_ids: of the images.
        pool: of all views.
        members: rows of the pool that an image learns from, its own first; -1 where there is none.
        weights: of these.
        pictures: what the encoder is shown of each image; None where it is shown nothing.
        held_out: images that are only watched.
        features: what a frozen backbone makes of the pictures, and of the pictures in a mirror; they are not varied.
    """

    image_ids: tuple[str, ...]
    pool: Pool
    members: Int[Tensor, "i v"]
    weights: Float[Tensor, "i v"]
    pictures: UInt8[Tensor, "i 5 s s"] | None
    held_out: Bool[Tensor, " i"]
    features: Float[Tensor, "2 i n"] | None = None

    @property
    def learned(self) -> Int[Tensor, " t"]:
        """The images that are learned from."""
        return torch.nonzero(~self.held_out)[:, 0]

    @property
    def watched(self) -> Int[Tensor, " h"]:
        """The images that are held out."""
        return torch.nonzero(self.held_out)[:, 0]

    def shown(self, images: Int[Tensor, " b"], mirrored: Bool[Tensor, " b"] | None = None) -> Shaped[Tensor, "b *_"]:
        """What the encoder takes of images: pictures, features, or nothing of the right length; mirrored where said."""
        flags = torch.zeros(len(images), dtype=torch.bool) if mirrored is None else mirrored
        if self.features is not None:
            return self.features[flags.long(), images]
        if self.pictures is None:
            return torch.empty(len(images), 0)
        pictures = self.pictures[images]
        return torch.where(flags[:, None, None, None], pictures.flip(-1), pictures)

    def draw(
        self, images: Int[Tensor, " b"], draws: int, mirrored: Bool[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, "b v d"]:
        """Views of images, drawn from their groups by weight, with replacement; seen in a mirror where said."""
        chosen = torch.multinomial(self.weights[images], draws, replacement=True, generator=generator)
        rows = self.members[images].gather(1, chosen).to(self.pool.coordinates.device)
        found = self.pool.coordinates[rows]
        if self.pool.mirrored is None:
            return found
        flags = mirrored.to(found.device)[:, None, None]
        return torch.where(flags, self.pool.mirrored[rows], found)


def pool_of_views(views: Views, space: Space, *, mirrored: bool) -> Pool:
    """The coordinates of views (float32), and of their mirror images where pictures of the object may be mirrored."""
    both = [views]
    if mirrored and find_category(views.object).mirrored_images:
        both.append(mirror_views(views))
    found = []
    for each in both:
        view = View(torch.from_numpy(each.rays), torch.from_numpy(each.positions))
        found.append((to_metres(view)[0] if space == "metres" else flat(view)).float())
    return Pool(found[0], found[1] if len(found) > 1 else None)


def pool_of_points(name: str, points: Float[np.ndarray, "n p 3"], *, mirrored: bool) -> Pool:
    """Keypoints in space, metres, and their mirror images where pictures of the object may be mirrored."""
    category = find_category(name)
    twin = points[:, mirror_order(category)] * REFLECTION if mirrored and category.mirrored_images else None
    flattened = [None if each is None else torch.from_numpy(each).flatten(1).float() for each in (points, twin)]
    assert flattened[0] is not None
    return Pool(flattened[0], flattened[1])


def hold_out(image_ids: Sequence[str], share: float, videos: Sequence[str] = ()) -> Bool[np.ndarray, " n"]:
    """Which images are held out: whole videos, those with the ids that hash lowest, up to a share of the images.

    Frames of a video resemble each other: one that is learned from says too much of another that is held out. A video
    of more images than the share is learned from; where all are, images are held out one by one.

    Args:
        image_ids: of the images.
        share: of the images that is held out, at least one.
        videos: of each image; without them each is its own.

    Raises:
        InputError: too few images to train with.
    """
    if len(image_ids) < LEAST_IMAGES:
        raise InputError(f"{len(image_ids)} images to train with, want at least {LEAST_IMAGES}; make or convert more")
    count = max(1, round(share * len(image_ids)))
    if len(image_ids) - count < LEAST_IMAGES // 2:
        left = len(image_ids) - count
        raise InputError(
            f"held_out {share:g} leaves {left} of {len(image_ids)} images to learn from; want a smaller share"
        )
    flags = _first_wholes(videos or image_ids, image_ids, count)
    return flags if flags.any() else _first_wholes(image_ids, image_ids, count)


def _first_wholes(wholes: Sequence[str], image_ids: Sequence[str], count: int) -> Bool[np.ndarray, " n"]:
    """At most `count` images, of whole videos in the order of their lowest hash; those too large are passed over."""
    rows: dict[str, list[int]] = {}
    for row in np.argsort([hashlib.sha256(image_id.encode()).hexdigest() for image_id in image_ids]):
        rows.setdefault(wholes[row], []).append(row)
    flags = np.zeros(len(image_ids), bool)
    for whole in rows.values():
        if flags.sum() + len(whole) <= count:
            flags[whole] = True
    return flags


def without_held_out(
    members: Int[np.ndarray, "i v"],
    weights: Float[np.ndarray, "i v"],
    held_out: Bool[np.ndarray, " i"],
    of_pool: Bool[np.ndarray, " n"],
) -> Float[np.ndarray, "i v"]:
    """The weights of members, 0 for those that do not exist or show what is held out; an image's own view stays.

    Args:
        members: rows of the pool; each image's own first.
        weights: of these.
        held_out: images that are only watched.
        of_pool: rows of the pool that show a held-out image or its video.
    """
    allowed = (members >= 0) & ~of_pool[members.clip(min=0)]
    allowed[:, 0] = True
    kept = np.where(allowed, weights, 0)
    kept[held_out, 1:] = 0
    return kept
