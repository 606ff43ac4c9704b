"""What needs more than one part of the project: the demo, the picture of an image, the sheet of an object."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from wildhoi.catalogue import first_ids
from wildhoi.dataset import SPLITS, DataFolder, find_data, find_sample, load_annotations, load_samples
from wildhoi.engine import Local
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.method import load_method
from wildhoi.schema import Annotation, Sample
from wildhoi.templates import find_template, load_template

if TYPE_CHECKING:
    from wildhoi.submission.folder import Submission

SAMPLE = "open-sample"
ASSETS = Path(__file__).parent / "assets"
SAMPLE_SUBMISSIONS, CHECKPOINTS = ASSETS / "sample_submissions", ASSETS / "checkpoints"
CHECKPOINT = "small"
STEPS, RATES = (300, 60), (0.2, 0.02)
"""Of the demo's fits: enough for an object that starts seven metres off to arrive within a minute on a CPU."""
PACKAGES = ("normflows", "safetensors")
"""What the extra `baselines` has of use to a small prior."""

Progress = Callable[[str, int, int], None]
"""Told (what, done, of how many)."""


@dataclass(frozen=True)
class Comparison:
    """Methods side by side on the same images.

    Attributes:
        objects: that the images are of.
        steps: of the two phases of every fit.
        scores: by method, as scores.json has them.
        seconds: that each method took.
        picture: the file that was drawn, None where none was asked for.
    """

    objects: tuple[str, ...]
    steps: tuple[int, int]
    scores: Mapping[str, Mapping[str, Any]]
    seconds: Mapping[str, float]
    picture: str | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def demo(out: Path, *, workers: int = 1, progress: Progress | None = None) -> None:
    """Score the shipped sample submissions against the shipped sample data into `out`, one folder a method."""
    from wildhoi.submission.folder import read_submission

    for folder in sorted(path for path in SAMPLE_SUBMISSIONS.iterdir() if path.is_dir()):
        _score(read_submission(folder), out / folder.name, (), workers=workers, progress=progress)


def compared_methods() -> dict[str, dict[str, Any]]:
    """The methods that the demo shows side by side, with their settings: few and long steps instead of many."""
    few = {"steps": STEPS, "lr": RATES}
    return {"isolation": {}, "phosa": few, "flow-prior": {**few, "checkpoint": CHECKPOINT}}


def lacking_packages() -> tuple[str, ...]:
    """The packages that comparing methods takes and that are not installed."""
    return tuple(name for name in PACKAGES if find_spec(name) is None)


def compare(
    out: Path, *, picture: Path | None = None, workers: int = 1, progress: Progress | None = None
) -> Comparison:
    """Run and score some methods on the shipped sample data, on the objects whose small priors ship.

    Args:
        out: gets a submission with its scores for each method; what it held of them is overwritten.
        picture: a PNG to draw: the first image of each object with what every method made of it.
        workers: processes that score.
        progress: called with (what, done, of how many).

    Raises:
        MissingAssetError: no prior ships, or a package is not installed.
        RunError: a method failed.
    """
    objects = tuple(sorted(path.parent.name for path in (CHECKPOINTS / CHECKPOINT).glob("*/config.json")))
    if not objects:
        raise MissingAssetError(f"{CHECKPOINTS / CHECKPOINT}: no prior ships with this installation; install it again")
    if lacking := lacking_packages():
        raise MissingAssetError(f"not installed: {', '.join(lacking)}; pip install 'wildhoi[baselines]'")
    made, scores, seconds = [], {}, {}
    for name, settings in compared_methods().items():
        start = perf_counter()
        made.append(_run(name, settings, objects, out / name, progress))
        seconds[name] = perf_counter() - start
        scores[name] = _score(made[-1], out / name, objects, workers=workers, progress=progress)
    if picture is not None:
        _draw(made, objects, picture)
    return Comparison(objects, STEPS, scores, seconds, None if picture is None else str(picture))


def _run(
    name: str, settings: Mapping[str, Any], objects: tuple[str, ...], out: Path, progress: Progress | None
) -> "Submission":
    """What a method makes of the sample data: a submission."""
    from wildhoi.running import RunOptions, Watch, run_method
    from wildhoi.submission.folder import read_submission, write_submission
    from wildhoi.threads import one_thread

    watch = Watch(moment=lambda key, at: progress(f"{name} {key}", at.done, at.total)) if progress else Watch()
    # a run goes into an empty folder, and a demo may be repeated; threads gain nothing on a few images, and hinder each
    # other where cores are busy
    with TemporaryDirectory(prefix="wildhoi-demo-") as work, one_thread():
        options = RunOptions(objects=objects, device="cpu")
        run_method(load_method(name, settings), find_data(SAMPLE), Path(work), options, watch)
        made = read_submission(Path(work))
        write_submission(out, made.manifest, made.rows)
    return read_submission(out)


def _score(
    submission: "Submission", out: Path, objects: tuple[str, ...], *, workers: int, progress: Progress | None
) -> dict[str, Any]:
    """Score a submission for the sample data, on some objects or on all, and write its scores."""
    from evaluation.evaluate import Options, evaluate
    from evaluation.protocol import protocol_for
    from evaluation.scores import write_scores

    data, name = find_data(SAMPLE), submission.manifest.method
    tell = (lambda done, total: progress(f"scoring {name}", done, total)) if progress else None
    scores = evaluate(submission, data, protocol_for(data.name), Options(objects=objects, engine=Local(workers)), tell)
    write_scores(out, scores)
    return scores.scores


def _draw(submissions: "Sequence[Submission]", objects: tuple[str, ...], out: Path) -> None:
    """Draw what several methods made of the first test image of each object."""
    from wildhoi.body import load_body
    from wildhoi.show.comparison import render_comparison
    from wildhoi.show.fit import Fit

    data, images = find_data(SAMPLE), []
    truths = sorted(load_annotations(data, "test", objects), key=lambda truth: truth.image_id)
    for name in objects:
        truth = next(truth for truth in truths if truth.object == name)
        sample = find_sample(data, truth.image_id, "test")
        template = load_template(find_template(data.objects, name, shipped=True))
        body = load_body(data.body_model, gender=truth.gender)
        rows = ((s.manifest.method, row) for s in submissions for row in s.rows if row.image_id == truth.image_id)
        images.append([Fit(method, row, sample, truth, template, body) for method, row in rows])
    note = f"the first test image of each object, {STEPS[0]} + {STEPS[1]} steps"
    render_comparison(images, out, title="One picture, method by method", subtitle=note)


def show_image(data: DataFolder, image_id: str, out: Path, *, split: str | None = None, body: str | None = None) -> str:
    """Draw an image of a data set: inputs, meshes over the crop and from the side.

    Args:
        data: where it is.
        image_id: which.
        out: the PNG to write.
        split: where to look for it; default everywhere.
        body: kind of the body model; default the data set's.

    Returns:
        the split it is in.

    Raises:
        InputError: there is no such image.
        MissingAssetError: the body model or the template is not there.
    """
    from wildhoi.body import load_body
    from wildhoi.show import render_image

    for place in SPLITS if split is None else (split,):
        sample, annotation = _find_image(data, image_id, place)
        image = annotation or sample
        if image is not None:
            template = load_template(find_template(data.objects, image.object, shipped=data.body_model == "open"))
            model = load_body(body or data.body_model, gender=image.gender, flat_hand_mean=data.body_model == "smplh")
            render_image(sample, annotation, template, model, out, split=place)
            return place
    some = ", ".join(first_ids(data)) or "none at all"
    where = f" in split {split}" if split else ""
    raise InputError(f"{data.path}: has no image {image_id!r}{where}; it has {some}, ...")


def _find_image(data: DataFolder, image_id: str, split: str) -> tuple[Sample | None, Annotation | None]:
    """The inputs and the truth of an image, each where the data set has it."""
    sample = find_sample(data, image_id, split) if data.categories(split, "samples") else None
    annotations = load_annotations(data, split) if data.categories(split) else []
    return sample, next((a for a in annotations if a.image_id == image_id), None)


def show_sheet(
    data: DataFolder, name: str, out: Path, *, split: str = "test", images: int = 12, body: str | None = None
) -> list[str]:
    """Draw a contact sheet of an object: images at even distances through what people do, inputs and truth.

    Args:
        data: with samples and annotations of the split.
        name: of the object.
        out: the PNG to write.
        split: `train` or `test`.
        images: at most so many.
        body: kind of the body model; default the data set's.

    Returns:
        the images on it.

    Raises:
        InputError: the object has no image with inputs and truth.
        MissingAssetError: the body model or the template is not there.
    """
    from wildhoi.body import load_body
    from wildhoi.show import render_sheet

    samples = {s.image_id: s for s in load_samples(data.path, split, [name], streaming=True)}
    truths = [truth for truth in load_annotations(data, split, [name]) if truth.image_id in samples]
    if not truths:
        raise InputError(f"{data.path}: no image of {name} in split {split!r} has both inputs and truth")
    truths.sort(key=lambda truth: (truth.interaction or "", truth.image_id))
    places = np.unique(np.linspace(0, len(truths) - 1, images).round().astype(int))
    chosen = [truths[place] for place in places]
    template = load_template(find_template(data.objects, name, shipped=data.body_model == "open"))
    flat, kind = data.body_model == "smplh", body or data.body_model
    models = {g: load_body(kind, gender=g, flat_hand_mean=flat) for g in {truth.gender for truth in chosen}}
    entries = [(samples[truth.image_id], truth) for truth in chosen]
    title = f"{name} · {len(chosen)} of {len(truths):,} {split} images of {data.name}"
    render_sheet(entries, template, models, out, title=title)
    return [truth.image_id for truth in chosen]
