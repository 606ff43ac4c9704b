"""Mean occlusion maps of training images, from the maps that samples carry or a file of `wildhoi occlusion`."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from wildhoi.errors import InputError, MissingAssetError
from wildhoi.geometry import camera_position
from wildhoi.npz import read_npz
from wildhoi.schema import Sample
from wildhoi.views import rays_of_pixels

LIMIT = 0.1
"""View distance below which an image is a near-duplicate, as published."""
LARGEST_BYTES = 2**26
"""Of both maps: millions of vertices, where bodies have ten thousand."""
Means = dict[str, Float[np.ndarray, " _"]]


def view_distance(one: Float[np.ndarray, "*batch n 3"], other: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "*batch"]:
    """The mean absolute difference of two X_2.5D, over their vectors and components."""
    return np.asarray(np.abs(one - other).mean(axis=(-2, -1)))


class Tally:
    """The mean maps of the images that are no near-duplicates, one image after the other."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.views: list[Float[np.ndarray, "n 3"]] = []
        self.totals: tuple[Float[np.ndarray, " v"], Float[np.ndarray, " n"]] | None = None

    def add(self, human: Bool[np.ndarray, " v"], thing: Bool[np.ndarray, " n"], view: Float[np.ndarray, "k 3"]) -> bool:
        """Count an image in unless it is a near-duplicate; tells whether it was."""
        if self.views and view_distance(np.stack(self.views), view).min() < self.limit:
            return False
        self.views.append(view)
        before = self.totals or (np.zeros(len(human)), np.zeros(len(thing)))
        self.totals = before[0] + human, before[1] + thing
        return True

    @property
    def means(self) -> dict[str, Float[np.ndarray, " _"]]:
        """The share of the kept images in which each vertex is marked."""
        if self.totals is None:
            raise ValueError("no image was counted")
        return {"human": self.totals[0] / len(self.views), "object": self.totals[1] / len(self.views)}


def mean_of_samples(samples: Iterable[Sample], limit: float = LIMIT) -> Means | None:
    """The mean maps `human` and `object` of images that are no near-duplicates; None where no sample has maps.

    Near-duplicates are told as `wildhoi.occlusion_maps` does, by the keypoints that the samples have.
    """
    tally = Tally(limit)
    for sample in samples:
        view = _view(sample)
        if view is None or sample.human_occlusion is None or sample.object_occlusion is None:
            continue
        maps = np.asarray(sample.human_occlusion, bool), np.asarray(sample.object_occlusion, bool)
        lengths = tuple(map(len, maps))
        if tally.totals is not None and lengths != tuple(map(len, tally.totals)):
            want = tuple(map(len, tally.totals))
            raise InputError(f"{sample.image_id}: occlusion maps of {lengths} vertices, want {want} as in other images")
        tally.add(*maps, view)
    return dict(tally.means) if tally.views else None


def _view(sample: Sample) -> Float[np.ndarray, "_ 3"] | None:
    camera, body, thing = sample.camera, sample.body_keypoints, sample.object_keypoints
    if camera is None or body is None or thing is None:
        return None
    position = camera_position(camera.rotation, camera.translation)
    view = np.concatenate([rays_of_pixels(body, thing, camera), position[None] / np.linalg.norm(position)])
    return view if np.isfinite(view).all() else None


def read_mean_maps(path: Path) -> Means:
    """Read a file `NAME-mean.npz` of `wildhoi occlusion`.

    Raises:
        MissingAssetError: it is not there.
        InputError: it holds no mean maps.
    """
    if not path.is_file():
        raise MissingAssetError(f"{path}: is not there; `wildhoi occlusion` writes such a file")
    try:
        arrays = read_npz(path, ("human", "object"), max_bytes=LARGEST_BYTES)
        found = {name: array.astype(np.float64) for name, array in arrays.items()}
    except (InputError, ValueError) as error:  # ValueError: texts that are no numbers
        raise InputError(f"{path}: no mean occlusion maps ({error}); `wildhoi occlusion` makes them") from None
    for name, mean in found.items():
        if mean.ndim != 1 or not np.isfinite(mean).all() or (mean < 0).any() or (mean > 1).any():
            raise InputError(f"{path}: {name}: want shares from 0 to 1, one for each vertex")
    return found
