"""Small studies for tests: of the sample submissions under made-up names, drawn for real or as plain colours."""

import colorsys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from evaluation.study import StudyOptions, make_study, sheets
from evaluation.study.drawing import Trial, other
from evaluation.study.key import Contender, Key
from wildhoi.submission.folder import read_submission, write_submission
from wildhoi.workflows import SAMPLE_SUBMISSIONS

NAMES = ("Quixotron Vermilion", "Zephyrine-Bramblewood")


def named(folder: Path, source: str, method: str, **changes) -> Path:
    """A copy of a sample submission under another name."""
    found = read_submission(SAMPLE_SUBMISSIONS / f"sample-noise-{source}")
    write_submission(folder, replace(found.manifest, method=method, **changes), found.rows)
    return folder


def two(folder: Path, names=NAMES) -> list[Path]:
    return [named(folder / name.lower(), size, name) for name, size in zip(names, ("large", "small"), strict=True)]


def plain(pair):
    """In place of drawings: a colour of its own for each image and reconstruction."""
    pictures = []
    for name in sheets.picture_names():
        number = 0 if name[0] == "i" else 1 + int(name[0])
        at = "" if number == 0 else str(pair.rows[number - 1].object_pose.translation)
        hue = sha256(f"{pair.truth.image_id}{at}".encode()).digest()[0] / 256
        size = (16, 16 * (len(sheets.TURNS) if "around" in name else 1), 3)
        pictures.append(np.full(size, [round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.6, 0.9)], np.uint8))
    return pictures


def make(folder: Path, pair, out: str, *, drawn: bool = False, **options):
    """Make a study of the sample data; with plain colours unless it is to be drawn."""
    with pytest.MonkeyPatch.context() as patch:
        if not drawn:
            patch.setattr(sheets, "_pictures", plain)
        return make_study(*pair, folder / out, StudyOptions(**options))


def key_of(images=40, objects=("one", "two"), repeats=4, ties=False, per_video=1) -> Key:
    """A key without a page: A is on the left of every other trial, the last trials repeat the first."""
    trials = [
        Trial(f"{n + 1:03d}", f"image {n}", objects[n % len(objects)], f"video {n // per_video}", "A" if n % 2 else "B")
        for n in range(images)
    ]
    trials += [
        replace(trials[n], name=f"{images + n + 1:03d}", left=other(trials[n].left), repeats=trials[n].name)
        for n in range(repeats)
    ]
    methods = {name: Contender(f"method {name}", name.lower(), name * 64) for name in "AB"}
    data = {"name": "open-sample", "revision": "0" * 16, "split": "test"}
    return Key("f" * 16, methods, tuple(trials), ties, 0, data, {"kind": "open", "sha256": "0" * 64}, {})
