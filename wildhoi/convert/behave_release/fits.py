"""The annotated bodies and objects: pickles of single frames, or arrays of whole sequences at 30 fps."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wildhoi.convert.behave_release.facts import load_facts
from wildhoi.convert.behave_release.npz import read_npz
from wildhoi.convert.safe_pickle import load_pickle
from wildhoi.convert.smplh import Fit, finite_numbers, read_fit
from wildhoi.errors import InputError, UnsafeError
from wildhoi.geometry import rotvec_to_matrix
from wildhoi.schema import Matrix3, Vector3

MAX_PICKLE_BYTES = 4 * 2**20
BODY_KEYS, OBJECT_KEYS = ("pose", "betas", "trans"), ("angle", "trans")
BODY_TRACK, OBJECT_TRACK = ("poses", "betas", "trans"), ("angles", "trans")

Values = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class FrameFit:
    """A body and an object in the world: `x = rotation (v - mean) + translation` for the object, metres."""

    body: Fit
    rotation: Matrix3
    translation: Vector3


FindFit = Callable[[str, Path | None], FrameFit | str]
"""Gives the fit of a frame, or the reason why there is none, for the frame's name and its folder."""


def frame_fits(names: Sequence[str], gender: str) -> FindFit:
    """Fits that lie in each frame's folder; the object's under one of `names`."""

    def find(_: str, folder: Path | None) -> FrameFit | str:
        facts = load_facts()["fits"]
        places = [pattern.format(name=name) for pattern in facts["object"] for name in names]
        body = _read_first("person", folder, facts["person"], BODY_KEYS)
        if isinstance(body, str):
            return body
        placed = _read_first("object", folder, places, OBJECT_KEYS)
        return placed if isinstance(placed, str) else _make(body, placed, gender)

    return find


def track_fits(folders: Iterable[Path], gender: str) -> FindFit:
    """Fits of a sequence's 30 fps arrays, looked up by time; those of several parts together."""
    facts = load_facts()["thirty_fps"]
    folders = list(folders)
    bodies = _read_tracks("person", [folder / facts["person"] for folder in folders], BODY_TRACK)
    objects = _read_tracks("object", [folder / facts["object"] for folder in folders], OBJECT_TRACK)

    def find(frame: str, _: Path | None) -> FrameFit | str:
        for track in (bodies, objects):
            if frame not in track.rows:
                return track.problem
        return _make(bodies.rows[frame], objects.rows[frame], gender)

    return find


def _make(body: Values, placed: Values, gender: str) -> FrameFit | str:
    try:
        fit = read_fit(body[0], body[1], body[2], gender)
    except InputError:
        return "fit of the person has wrong or NaN numbers"
    try:
        angle, translation = (finite_numbers(name, value) for name, value in zip(OBJECT_KEYS, placed, strict=True))
    except InputError:
        return "fit of the object has wrong or NaN numbers"
    if angle.shape != (3,) or translation.shape != (3,):
        return "fit of the object has wrong or NaN numbers"
    return FrameFit(fit, rotvec_to_matrix(angle), translation)


def _read_first(what: str, folder: Path | None, places: Sequence[str], keys: Sequence[str]) -> Values | str:
    """The named values of the first pickle that exists."""
    path = next((folder / place for place in places if (folder / place).is_file()), None) if folder else None
    if path is None:
        return f"no fit of the {what}"
    raw = _read_pickle(path)
    if not isinstance(raw, dict) or not all(key in raw for key in keys):
        return f"fit of the {what} cannot be read"
    return tuple(raw[key] for key in keys)


def _read_pickle(path: Path) -> Any:
    """A pickle of either age of Python; None where it cannot be read."""
    for encoding in ("ASCII", "latin1"):
        try:
            return load_pickle(path, encoding=encoding, max_bytes=MAX_PICKLE_BYTES)
        except UnsafeError:
            raise
        except InputError:
            continue
    return None


@dataclass(frozen=True)
class _Tracks:
    """The rows of tracks by time, and why one is not there."""

    rows: Mapping[str, Values]
    problem: str


def _read_tracks(what: str, paths: Sequence[Path], keys: Sequence[str]) -> _Tracks:
    """Read the tracks that exist; the first one that has a time counts."""
    rows: dict[str, Values] = {}
    problem = f"no fit of the {what}"
    for path in paths:
        if not path.is_file():
            continue
        try:
            arrays = read_npz(path, (*keys, "frame_times"))
        except InputError:
            problem = f"30 fps fits of the {what} cannot be read"
            continue
        for row, time in enumerate(_times(arrays["frame_times"])):
            rows.setdefault(time, tuple(arrays[key][row] for key in keys))
    return _Tracks(rows, problem)


def _times(raw: np.ndarray) -> list[str]:
    """Frame names as text, whichever kind of string they are stored as."""
    return [name.decode("latin1") if isinstance(name, bytes) else str(name) for name in raw.tolist()]
