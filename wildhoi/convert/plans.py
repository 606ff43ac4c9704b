"""The plan of every raw release by its name, each from the options that concern it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wildhoi.convert.behave_release import plan_behave
from wildhoi.convert.pipeline import Conversion
from wildhoi.convert.rhobin import plan_reference
from wildhoi.convert.wildhoi_release import plan_wildhoi
from wildhoi.dataset.folder import SPLITS


@dataclass(frozen=True)
class Options:
    """What a user may choose; every release looks at its own."""

    data: Path | None = None
    objects: Sequence[str] | None = None
    splits: Sequence[str] = SPLITS
    only: str | None = None
    fps: int = 3
    fits: str | None = None
    keyframes: Path | None = None
    init: Path | None = None
    dataset: str = "behave"


def _wildhoi(raw: Path, o: Options) -> Conversion:
    pictures = o.only is None
    return plan_wildhoi(raw, o.data, objects=o.objects, splits=o.splits, fps=o.fps, pictures=pictures)


def _behave(raw: Path, o: Options) -> Conversion:
    return plan_behave(raw, fits=o.fits, keyframes=o.keyframes, init=o.init, objects=o.objects, splits=o.splits)


def _rhobin(raw: Path, o: Options) -> Conversion:
    return plan_reference(raw, dataset=o.dataset)


PLANS: Mapping[str, Callable[[Path, Options], Conversion]] = {
    "wildhoi": _wildhoi,
    "behave": _behave,
    "rhobin": _rhobin,
}


def plan(release: str, raw: Path, options: Options) -> Conversion:
    """Plan the conversion of a raw release; raises as its own plan does."""
    return PLANS[release](raw, options)
