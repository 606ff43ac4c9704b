"""What needs more than one part of the project: the demo, the picture of an image, the sheet of an object."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from wildhoi.catalogue import first_ids
from wildhoi.dataset import SPLITS, DataFolder, find_data, find_sample, load_annotations, load_samples
from wildhoi.errors import InputError
from wildhoi.schema import Annotation, Sample
from wildhoi.templates import find_template, load_template

SAMPLE_SUBMISSIONS = Path(__file__).parent / "assets" / "sample_submissions"


def demo(out: Path, *, workers: int = 1, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Score the shipped sample submissions against the shipped sample data into `out`, one folder a method."""
    from evaluation.evaluate import Options, evaluate
    from evaluation.protocol import protocol_for
    from evaluation.scores import write_scores
    from wildhoi.submission.folder import read_submission

    data = find_data("open-sample")
    for folder in sorted(path for path in SAMPLE_SUBMISSIONS.iterdir() if path.is_dir()):
        tell = (lambda done, total, name=folder.name: progress(name, done, total)) if progress else None
        scores = evaluate(read_submission(folder), data, protocol_for(data.name), Options(workers=workers), tell)
        write_scores(out / folder.name, scores)


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
