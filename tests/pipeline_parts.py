"""A tiny made-up conversion, and a conversion of the fixture as a process of its own that may be killed."""

import sys
from pathlib import Path

import numpy as np

from wildhoi.convert.conversion_report import ObjectReport
from wildhoi.convert.parts import Part
from wildhoi.convert.pipeline import Conversion, run_conversion
from wildhoi.convert.template_report import TemplateReport
from wildhoi.convert.wildhoi_release import plan_wildhoi
from wildhoi.engine import Local
from wildhoi.schema import Sample

OBJECTS = ("tennis", "violin")
STOP_AT = []  # keys of parts whose reading fails


class Stop(Exception):
    """What interrupts a part."""


def read_part(spec, log):
    """`rows` samples with pictures of noise, named by the part."""
    name, key, rows = spec
    if key in STOP_AT:
        raise Stop(key)
    random = np.random.default_rng(int(key))
    log.drop(f"{key}_001_000999", "made up")
    for number in range(rows):
        picture = random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        yield Sample(f"{key}_001_{number:06}", name, key, image=picture, image_box=(0, 0, 40, 40), frame_size=(40, 40))


def prepare(out):
    for name in OBJECTS:
        (out / "objects" / name).mkdir(parents=True, exist_ok=True)
        (out / "objects" / name / "keypoints.json").write_text("{}\n")
    return {name: ObjectReport(TemplateReport()) for name in OBJECTS}


def fail_to_prepare(out):
    prepare(out)
    raise Stop("prepare")


def conversion(n_parts=4, rows=5, prepare=prepare, empty=None, **settings):
    """Parts of two objects; those of one object are listed from the last to the first, those of `empty` have no row."""
    parts = []
    for which, name in enumerate(OBJECTS):
        numbers = [100 * which + number for number in range(1, n_parts + 1)]
        for number in numbers if which else numbers[::-1]:
            spec = (name, f"{number:04}", 0 if name == empty else rows)
            parts.append(Part("samples", name, "train", f"{number:04}.parquet", read_part, spec))
    return Conversion("wildhoi-tiny", "smplx", None, settings, parts, prepare, lambda report: ["made up"])


if __name__ == "__main__":
    raw, out, workers = sys.argv[1:]
    sys.stdout.write("begin\n")
    sys.stdout.flush()
    run_conversion(plan_wildhoi(Path(raw), fps=30), Path(out), engine=Local(int(workers)))
