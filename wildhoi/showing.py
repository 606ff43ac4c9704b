"""Looking at the fits of a submission: one as a picture, and how its method came to it as a film."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wildhoi.dataset import DataFolder, find_data, find_sample, load_annotations
from wildhoi.errors import InputError, MissingAssetError, RunError
from wildhoi.files import read_json, require_writable
from wildhoi.method import Moment, Setup, load_method
from wildhoi.running.record import RUN
from wildhoi.running.runner import RUN_SETTINGS
from wildhoi.schema import Annotation, Failure, Reconstruction, Sample
from wildhoi.submission.folder import Submission, read_submission
from wildhoi.templates import find_template, load_template

if TYPE_CHECKING:
    from wildhoi.show.film import Film
    from wildhoi.show.fit import Fit

ELSEWHERE = 0.05
"""Metres between a stored reconstruction and the end of a film from which on they are not the same."""
SHOWN_IDS, FRAMES = 5, 60
FILMS = (".gif", ".mp4")


@dataclass(frozen=True)
class ShownFit:
    """What was drawn: the file, the image, why there is no reconstruction, and the errors where the truth is shown."""

    written: str
    image_id: str
    failure: str | None
    errors: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class ShownFilm:
    """What was filmed: the file, its frames, and how far from the stored reconstruction it ends.

    `apart` is the larger of the mean distances of the body's and of the object's vertices, metres; None where one of
    the two is a failure.
    """

    written: str
    image_id: str
    frames: int
    steps: int
    apart: float | None

    @property
    def elsewhere(self) -> bool:
        """Whether the film ends somewhere else than the stored reconstruction."""
        return self.apart is None or self.apart > ELSEWHERE

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"elsewhere": self.elsewhere}


def show_fit(
    run: Path,
    image_id: str,
    out: Path,
    *,
    data: str | Path | None = None,
    truth: bool = False,
    body: str | None = None,
) -> ShownFit:
    """Draw a row of a submission: the input, the meshes over it and from the front, the side and above.

    Args:
        run: the submission's folder, with `run.json` where the runner made it.
        image_id: of the row.
        out: the PNG to write.
        data: folder or name of the data set; default what `run.json` names, else the manifest.
        truth: draw the truth below, and take the errors.
        body: kind of the body model; default the submission's.

    Raises:
        InputError: the submission, the image or the file is not there or not what it should be.
        MissingAssetError: the data, the body model or the template is not there.
    """
    require_file(out, (".png",))
    submission, folder = _open(run, data)
    row = _row(submission, image_id)
    # torch comes only after everything that can be refused without it
    from wildhoi.show.fit import render_fit

    errors = render_fit(_fit(submission, folder, row, truth=truth, body=body), out)
    return ShownFit(str(out), image_id, row.reason if isinstance(row, Failure) else None, errors)


def film_fit(
    run: Path,
    image_id: str,
    out: Path,
    *,
    data: str | Path | None = None,
    body: str | None = None,
    frames: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ShownFilm:
    """Run a submission's method again on one image, with its settings and seed, and film what it does.

    Args:
        run: the submission's folder.
        image_id: of the row.
        out: the animation to write, .gif or .mp4.
        data: folder or name of the data set; default what `run.json` names, else the manifest.
        body: kind of the body model that is drawn; the method always has the data's.
        frames: at most so many; default 60.
        progress: told the steps done and all of them.

    Raises:
        InputError: as `show_fit` has it, or the method is not installed or tells nothing while it works.
        MissingAssetError: the data, the body model or the template is not there.
        RunError: the method fails on the image, or the film cannot be written.
    """
    require_file(out, FILMS)
    submission, folder = _open(run, data)
    row = _row(submission, image_id)
    from wildhoi.show.film import Film, write_film

    fit = _fit(submission, folder, row, truth=False, body=body)
    if fit.sample is None:
        raise InputError(f"{folder.path}: has no inputs of {image_id}, so no method can be run on it again")
    film = Film(fit, frames or FRAMES)
    ending = _rerun(submission, folder, fit.sample, film, progress)
    film.end(ending)
    return ShownFilm(str(out), image_id, write_film(film, out), film.steps, _apart(fit, row, ending))


def _rerun(
    submission: Submission,
    data: DataFolder,
    sample: Sample,
    film: "Film",
    progress: Callable[[int, int], None] | None,
) -> Reconstruction:
    """Run the method on one image under the film's eyes."""
    manifest, noted = submission.manifest, _noted(submission.path)
    settings = {key: value for key, value in manifest.settings.items() if key not in RUN_SETTINGS}
    method = load_method(manifest.method, settings)

    def watch(moment: Moment) -> None:
        film.take(moment)
        if progress is not None:
            progress(moment.done, moment.total)

    own = {key: noted.get(key, manifest.settings.get(key)) for key in ("seed", "renderer")}
    setup = Setup(
        data.body_model,
        data.objects,
        seed=own["seed"] if isinstance(own["seed"], int) else 0,
        renderer=own["renderer"] if isinstance(own["renderer"], str) else "torch",
        watch=watch,
        watch_every=1,
    )
    (row,) = method.reconstruct([sample], setup)
    if isinstance(row, Failure):
        raise RunError(f"{sample.image_id}: {manifest.method} has no reconstruction when it is run again: {row.reason}")
    if not film.steps:
        raise InputError(
            f"{submission.path}: its method {manifest.method} tells nothing while it works, as those that do not "
            "optimise; there is nothing to film, so leave --video out"
        )
    return row


def _apart(fit: "Fit", stored: Reconstruction | Failure, ending: Reconstruction) -> float | None:
    """The larger of the mean distances of the vertices of body and object, metres."""
    if isinstance(stored, Failure):
        return None
    before, after = (fit.meshes(row.human, row.object_pose).vertices for row in (stored, ending))
    moved, people = np.linalg.norm(before - after, axis=1), fit.body.n_vertices
    return float(max(moved[:people].mean(), moved[people:].mean()))


def require_file(out: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse a file that cannot be written or has a name of another kind, before long work is done for it.

    Raises:
        InputError: it is a folder, its folder is not writable, or its suffix is none of those wanted.
    """
    if out.suffix.lower() not in suffixes:
        raise InputError(f"{out}: got the suffix {out.suffix!r}, want a file named *{' or *'.join(suffixes)}")
    if out.is_dir():
        raise InputError(f"{out}: is a folder, want the name of a file to write")
    require_writable(out.parent)


def _open(run: Path, data: str | Path | None) -> tuple[Submission, DataFolder]:
    """A submission and the data it is for."""
    submission = read_submission(run)
    manifest = submission.manifest
    folder = _find_data(submission, data)
    if folder.name != manifest.dataset:
        raise InputError(
            f"{run}: is a submission for {manifest.dataset}, the data at {folder.path} are {folder.name}; "
            "say where its own are with --data"
        )
    return submission, folder


def _find_data(submission: Submission, data: str | Path | None) -> DataFolder:
    """The data that are asked for, else those that the runner noted, else those of the manifest's name."""
    if data is not None:
        return find_data(data)
    noted = _noted(submission.path).get("data")
    if isinstance(noted, str):
        # a folder that was moved since may still be found by its name
        with suppress(InputError, MissingAssetError):
            return find_data(noted)
    try:
        return find_data(submission.manifest.dataset)
    except MissingAssetError as error:
        raise MissingAssetError(f"{submission.path}: say with --data where its data are; {error}") from None


def _noted(run: Path) -> dict[str, Any]:
    """What the runner wrote down beside a submission; nothing where something else made it."""
    path = run / RUN
    record = read_json(path) if path.is_file() else {}
    if not isinstance(record, dict):
        raise InputError(f"{path}: got {type(record).__name__}, want the runner's record, a mapping; or remove it")
    return record


def _row(submission: Submission, image_id: str) -> Reconstruction | Failure:
    """The row of an image."""
    for row in submission.rows:
        if row.image_id == image_id:
            return row
    some = [row.image_id for row in submission.rows[:SHOWN_IDS]] + ["..."] * (len(submission.rows) > SHOWN_IDS)
    raise InputError(f"{submission.path}: has no image {image_id!r}; it has {', '.join(some) or 'none at all'}")


def _fit(
    submission: Submission, data: DataFolder, row: Reconstruction | Failure, *, truth: bool, body: str | None
) -> "Fit":
    """A row with its image's inputs and truth, its template and its body."""
    from wildhoi.body import load_body
    from wildhoi.show.fit import Fit

    manifest = submission.manifest
    sample, annotation = _image(data, manifest.split, row.image_id)
    image = sample or annotation
    if image is None:
        raise InputError(
            f"{data.path}: has no image {row.image_id!r} in split {manifest.split!r}, which {submission.path} has; "
            "is the submission for another split or revision? Say where its data are with --data"
        )
    if truth and annotation is None:
        raise InputError(f"{data.path}: has no annotation of {row.image_id}, so leave --truth out")
    template = load_template(find_template(data.objects, image.object, shipped=data.body_model == "open"))
    flat = manifest.body_model == "smplh"
    model = load_body(body or manifest.body_model, gender=image.gender, flat_hand_mean=flat)
    return Fit(manifest.method, row, sample, annotation if truth else None, template, model)


def _image(data: DataFolder, split: str, image_id: str) -> tuple[Sample | None, Annotation | None]:
    """The inputs and the truth of an image, each where the data have it."""
    sample = find_sample(data, image_id, split) if data.categories(split, "samples") else None
    annotations = load_annotations(data, split) if data.categories(split) else []
    return sample, next((a for a in annotations if a.image_id == image_id), None)
