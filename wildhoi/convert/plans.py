"""The plan of every raw release by its name, each from the options that concern it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from wildhoi.convert.behave_release import plan_behave
from wildhoi.convert.pipeline import Conversion
from wildhoi.convert.rhobin import plan_reference
from wildhoi.convert.wildhoi_release import plan_wildhoi
from wildhoi.dataset.folder import SPLITS
from wildhoi.errors import InputError


@dataclass(frozen=True)
class Options:
    """What a user may choose; the names are those of the options at the command line."""

    data: Path | None = None
    objects: Sequence[str] | None = None
    splits: Sequence[str] = SPLITS
    only: str | None = None
    fps: int = 3
    fits: str | None = None
    keyframes: Path | None = None
    init: Path | None = None
    dataset: str = "behave"

    def chosen(self) -> set[str]:
        """The options that are not as they are by default."""
        return {field.name for field in fields(self) if getattr(self, field.name) != field.default}


def _wildhoi(raw: Path, o: Options) -> Conversion:
    pictures = o.only is None
    return plan_wildhoi(raw, o.data, objects=o.objects, splits=o.splits, fps=o.fps, pictures=pictures)


def _behave(raw: Path, o: Options) -> Conversion:
    return plan_behave(raw, fits=o.fits, keyframes=o.keyframes, init=o.init, objects=o.objects, splits=o.splits)


def _rhobin(raw: Path, o: Options) -> Conversion:
    return plan_reference(raw, dataset=o.dataset)


@dataclass(frozen=True)
class Release:
    """A raw release: what plans its conversion, and the options that concern it."""

    plan: Callable[[Path, Options], Conversion]
    options: frozenset[str]


RELEASES: Mapping[str, Release] = {
    "wildhoi": Release(_wildhoi, frozenset({"data", "objects", "splits", "only", "fps"})),
    "behave": Release(_behave, frozenset({"objects", "splits", "fits", "keyframes", "init"})),
    "rhobin": Release(_rhobin, frozenset({"dataset"})),
}


def plan(release: str, raw: Path, options: Options) -> Conversion:
    """Plan the conversion of a raw release.

    Raises:
        InputError: an option does not concern this release; else as the release's own plan raises.
        MissingAssetError: likewise.
    """
    chosen = RELEASES[release]
    strange = sorted(options.chosen() - chosen.options)
    if strange:
        flags, known = (", ".join(f"--{name}" for name in names) for names in (strange, sorted(chosen.options)))
        raise InputError(f"{flags}: not for {release}, whose conversion takes {known}; leave it out")
    return chosen.plan(raw, options)
