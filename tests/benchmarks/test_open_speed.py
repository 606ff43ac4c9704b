"""Speed of the open set on one core at 256 pixels; run with `pytest tests/benchmarks/test_open_speed.py`."""

import time
from collections import defaultdict

import pytest

from submissions import unchecked
from wildhoi.convert.pipeline import run_conversion
from wildhoi.open_scenes import assembling, making
from wildhoi.open_scenes.plan import Request, plan_open
from wildhoi.open_scenes.version import load_version
from wildhoi.threads import one_thread

SCENES, SEED, SIZE = 48, 12, 256  # of each object: what is solved together
TARGET = 2.0
"""Images per second and core, solving, checks, pictures, noise and PnP included; without further views."""
PARTS = {  # what is called for it, and where it is looked up
    "solve": (making, "solve_wishes"),
    "check": (making, "check"),
    "film": (making, "_filmed"),
    "draw": (assembling, "draw_scene"),
    "detect": (assembling, "detect"),
    "occlusion": (assembling, "occlusion_maps"),
}


@pytest.fixture
def spent(monkeypatch):
    """Seconds by part."""
    seconds = defaultdict(float)

    def timed(part, function):
        def call(*arguments):
            start = time.process_time()
            try:
                return function(*arguments)
            finally:
                seconds[part] += time.process_time() - start

        return call

    for part, (module, name) in PARTS.items():
        monkeypatch.setattr(module, name, timed(part, getattr(module, name)))
    return seconds


def make(out, objects, **changes):
    """Training images, so that every scene is solved, and how many seconds of a core they took."""
    choices = {"train": SCENES, "test": 0, "layouts": 0, "seed": SEED, "size": SIZE, **changes}
    start = time.process_time()
    with one_thread(), unchecked():
        report = run_conversion(plan_open(Request(objects, **choices), out), out)
    return report.rows("samples", "train"), time.process_time() - start


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory):
    """Body, template and settings are read once in a process."""
    make(tmp_path_factory.mktemp("warm") / "out", ["tennis"], train=2)


@pytest.mark.parametrize("name", load_version().objects)
def test_images_per_second_and_core(name, tmp_path, spent, say):
    rows, seconds = make(tmp_path / "out", [name])
    parts = ", ".join(f"{part} {1000 * value / rows:.0f}" for part, value in spent.items())
    rest = 1000 * (seconds - sum(spent.values())) / rows
    say(f"{name}: {rows / seconds:.2f} images/s; ms an image: {parts}, rest {rest:.0f}")
    assert rows >= 0.95 * SCENES
    assert rows / seconds >= TARGET


def test_further_views_per_second(tmp_path, say):
    """The layouts of a training scene beside its image."""
    few, many = (make(tmp_path / str(count), ["tennis"], train=16, layouts=count)[1] for count in (0, 64))
    cost = (many - few) / (16 * 64)
    say(f"further views: {1000 * cost:.1f} ms each, 16 of them {1000 * 16 * cost:.0f} ms a scene")
    assert 16 * cost < 0.1  # small beside the half second of an image
