"""A reference submission made again: the same method and settings on some of its images, compared image by image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wildhoi.agreement import Differences, Group, Means, Reproduction, find_differences, find_spreads, join_differences
from wildhoi.dataset import DataFolder, load_annotations
from wildhoi.engine import Local
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.method import load_method
from wildhoi.objects import Symmetry
from wildhoi.schema import Reconstruction
from wildhoi.submission.folder import MANIFEST, Submission, read_submission
from wildhoi.templates import find_template, load_template

if TYPE_CHECKING:
    from evaluation.protocol import Protocol
    from evaluation.scores import Scores
    from wildhoi.running.options import RunOptions
    from wildhoi.running.watching import Watch

SUBMISSIONS = Path("submissions")
TOLERANCE = 0.05


@dataclass(frozen=True)
class Refit:
    """How to make a reference again.

    Attributes:
        objects: names of categories; none for all.
        limit: only the first so many images of every object.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch: images at once; default the reference's.
        tolerance: share of a reference's mean by which the refit's may differ.
        resume: go on with the run that the folder holds.
        workers: processes that score.
        settings: of the method, instead of the reference's.
    """

    objects: tuple[str, ...] = ()
    limit: int | None = None
    device: str = "auto"
    batch: int | None = None
    tolerance: float = TOLERANCE
    resume: bool = False
    workers: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise InputError(f"--tolerance {self.tolerance}: want a share from 0 to below 1, such as {TOLERANCE}")


def find_reference(method: str, dataset: str, folder: Path | None = None) -> Submission:
    """Read a reference submission, by default `submissions/DATASET/METHOD` below the current folder.

    Raises:
        InputError: there is none, or it is invalid.
    """
    path = folder or SUBMISSIONS / dataset / method
    if not (path / MANIFEST).is_file():
        there = ", ".join(sorted(p.parent.name for p in path.parent.glob(f"*/{MANIFEST}"))) or "none"
        hint = "run it where the repository's submissions/ is, or name a submission with --reference"
        raise InputError(f"{path}: no reference submission of {method} (beside it: {there}); {hint}")
    return read_submission(path)


def reproduce(
    reference: Submission, data: DataFolder, out: Path, refit: Refit | None = None, watch: "Watch | None" = None
) -> Reproduction:
    """Run the method of a reference again with its settings, on some of its images, and compare.

    Args:
        reference: a submission whose method is installed.
        data: the data set it is of, with samples and truth.
        out: the folder of the run, a submission like any other.
        refit: which images, on what, and how near the means must be.
        watch: who listens to the run.

    Raises:
        InputError: the reference is of other data, or has none of the images; a setting of it is unknown.
        MissingAssetError: the data have no samples.
        RunError: the method failed.
    """
    from wildhoi.running import run_method

    refit = refit or Refit()
    split = reference.manifest.split
    _require_samples(data, split)
    protocol = _protocol(reference, data)
    objects = {row.image_id: row.object for row in load_annotations(data, split)}
    notes = _notes(reference, data, objects)
    options = _options(reference, objects, refit)
    method = load_method(reference.manifest.method, {**_settings(reference), **refit.settings})
    run_method(method, data, out, options, watch)
    made = read_submission(out)
    if refit.limit or refit.batch:
        notes += ("images are in other batches than the reference's: a method whose results depend on them may differ",)
    return replace(_compare(reference, made, data, protocol, refit, objects=objects), notes=notes)


def compare_rerun(
    reference: Submission, rerun: Submission, data: DataFolder, refit: Refit | None = None
) -> Reproduction:
    """Compare a reference with a run of its method that was made before, as `reproduce` does; the truth is enough.

    Raises:
        InputError: the reference is of other data, the rerun of another method or of other settings, or no run at all.
    """
    from wildhoi.running.record import DIARY

    if not (rerun.path / DIARY).is_file():
        raise InputError(f"{rerun.path}: no {DIARY}, so no run; `wildhoi reproduce` and `wildhoi run` write one")
    _require_same_method(reference, rerun)
    objects = {row.image_id: row.object for row in load_annotations(data, reference.manifest.split)}
    notes, protocol = _notes(reference, data, objects), _protocol(reference, data)
    found = _compare(reference, rerun, data, protocol, refit or Refit(), objects=objects)
    return replace(found, notes=notes)


def _require_same_method(reference: Submission, rerun: Submission) -> None:
    """Refuse a rerun with another setting; what a setting says of objects that were not run again does not count."""
    named = {"method": reference.manifest.method} | _settings(reference)
    other = {"method": rerun.manifest.method} | _settings(rerun)
    for name in dict.fromkeys((*named, *other)):
        one, two = named.get(name), other.get(name)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            one, two = ({key: side[key] for key in one.keys() & two.keys()} for side in (one, two))
        if one != two:
            raise InputError(f"{rerun.path}: {name} is {two!r}, that of {reference.path} is {one!r}; run it with that")


def _require_samples(data: DataFolder, split: str) -> None:
    for kind in ("samples", "annotations"):
        if not data.categories(split, kind):
            raise MissingAssetError(
                f"{data.path}: has no {kind} of split {split!r}, which fitting again and comparing need; "
                "`wildhoi data make open -o DIR` makes the open set, then --dataset DIR"
            )


def _protocol(reference: Submission, data: DataFolder) -> "Protocol":
    """What the reference was scored with; the data set's own where it was not."""
    from evaluation.checking import protocol_of
    from evaluation.protocol import protocol_for
    from evaluation.scores import SCORES, read_scores

    path = reference.path / SCORES
    return protocol_of(path, read_scores(path)) if path.is_file() else protocol_for(data.name)


def _notes(reference: Submission, data: DataFolder, objects: Mapping[str, str]) -> tuple[str, ...]:
    """Refuse a reference of other data; say where only the revision is another."""
    manifest = reference.manifest
    for what, said, there in (
        ("dataset", manifest.dataset, data.name),
        ("body_model", manifest.body_model, data.body_model),
    ):
        if said != there:
            raise InputError(f"{reference.path}: its {what} is {said}, that of {data.path} is {there}; name its data")
    if not any(row.image_id in objects for row in reference.rows):
        raise InputError(f"{reference.path}: none of its {len(reference.rows)} images is in {data.path}")
    revision = data.revision_of(manifest.split)
    if manifest.revision in ("any", revision):
        return ()
    return (f"the data are of revision {revision}, the reference of {manifest.revision}: the truth may be another",)


def _settings(reference: Submission) -> dict[str, Any]:
    """The method's own settings, without what the runner adds to a manifest."""
    from wildhoi.running.runner import RUN_SETTINGS

    return {name: value for name, value in reference.manifest.settings.items() if name not in RUN_SETTINGS}


def _options(reference: Submission, objects: Mapping[str, str], refit: Refit) -> "RunOptions":
    """How to run: as the reference was, on no more images of an object than it has of any."""
    from wildhoi.running import RunOptions

    counts = Counter(objects[row.image_id] for row in reference.rows if row.image_id in objects)
    if unknown := sorted(set(refit.objects) - set(counts)):
        there = ", ".join(sorted(counts))
        raise InputError(f"--objects: the reference has no image of {', '.join(unknown)}, want some of {there}")
    chosen = {name: count for name, count in counts.items() if not refit.objects or name in refit.objects}
    most = max(chosen.values())
    return RunOptions(
        split=reference.manifest.split,
        objects=tuple(sorted(chosen)),
        device=refit.device,
        batch=refit.batch or _number(reference, "batch", RunOptions.batch),
        seed=_number(reference, "seed", RunOptions.seed),
        limit=most if refit.limit is None else min(refit.limit, most),
        renderer=str(reference.manifest.settings.get("renderer", RunOptions.renderer)),
        resume=refit.resume,
    )


def _number(reference: Submission, name: str, default: int) -> int:
    """A setting of the reference's run."""
    value = reference.manifest.settings.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{reference.path / MANIFEST}: settings.{name} is {value!r}, want a whole number")
    return value


def _compare(
    reference: Submission,
    made: Submission,
    data: DataFolder,
    protocol: "Protocol",
    refit: Refit,
    *,
    objects: Mapping[str, str],
) -> Reproduction:
    """Both sides on the images that the refit has and the reference has."""
    ids = [{row.image_id for row in side.rows if row.image_id in objects} for side in (reference, made)]
    shared = sorted(ids[0] & ids[1])
    if not shared:
        raise InputError(f"{made.path}: none of its {len(made.rows)} images is in {reference.path}")
    old, new = _solved(reference), _solved(made)
    both = [image_id for image_id in shared if image_id in old and image_id in new]
    sides = [_score(side, both, data, protocol, refit.workers) for side in (reference, made)]
    scored = [row["image_id"] for row in sides[0].rows if row["status"] == "scored"]
    if both and not scored:
        raise InputError(f"{protocol.id} scores none of the {len(both)} images; choose others")
    apart: dict[str, Differences] = {}
    for name in sorted({objects[image_id] for image_id in scored}):
        pairs = [(old[image_id], new[image_id]) for image_id in scored if objects[image_id] == name]
        apart[name] = find_differences(pairs, _symmetry(data, name))
    return Reproduction(
        reference.manifest.method,
        data.name,
        protocol.id,
        refit.tolerance,
        _group(len(scored), join_differences(apart.values()), [side.scores["overall"] for side in sides], protocol),
        {
            name: _group(len(found["scale"]), found, [side.scores["objects"][name] for side in sides], protocol)
            for name, found in apart.items()
        },
        unequal=tuple(image_id for image_id in shared if (image_id in old) != (image_id in new)),
        failed=sum(image_id not in old and image_id not in new for image_id in shared),
    )


def _solved(side: Submission) -> dict[str, Reconstruction]:
    return {row.image_id: row for row in side.rows if isinstance(row, Reconstruction)}


def _score(side: Submission, images: Sequence[str], data: DataFolder, protocol: "Protocol", workers: int) -> "Scores":
    """The scores of some images of a submission; the others count as missing, in no mean."""
    from evaluation.evaluate import Options, evaluate

    wanted = set(images)
    some = replace(side, rows=[row for row in side.rows if row.image_id in wanted])
    return evaluate(some, data, protocol, Options(engine=Local(workers)))


def _group(images: int, differences: Differences, scores: Sequence[Mapping[str, Any]], protocol: "Protocol") -> Group:
    """An object's images, or all, with the headline means of both sides."""
    cells = {name: [score["metrics"][name] for score in scores] for name in protocol.headline}
    means = {name: Means(old["mean"], new["mean"], old["unit"]) for name, (old, new) in cells.items()}
    return Group(images, find_spreads(differences), means)


def _symmetry(data: DataFolder, name: str) -> Symmetry:
    return load_template(find_template(data.objects, name, shipped=data.body_model == "open")).symmetry()
