"""Making a study: two submissions become a page of blinded pairs, and a key that stays with who asks."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.study.drawing import Candidate, Drawn, Method, Trial, draw_trials, other
from evaluation.study.key import KEY, PAGE, Contender, Key, write_key
from wildhoi.dataset import DataFolder, find_data, load_annotations
from wildhoi.engine import Local, map_shards
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import canonical_json, require_writable, sha256_text
from wildhoi.schema import Annotation, BodyKind, Reconstruction
from wildhoi.submission.folder import Submission, read_submission

if TYPE_CHECKING:
    from evaluation.study.sheets import Pair

PAGE_FILES = Path(__file__).parent / "page"
INDEX, DATA_MARK = "index.html", "__STUDY__"
STATE, PICTURES = "state", "pictures"
SUFFIX = ".webp"
LONG_AGO = 946_684_800
"""The time stamp of everything on the page, seconds since 1970: when a file was written would tell of its making."""
LIBRARIES = ("wildhoi", "torch", "numpy", "pillow")

Progress = Callable[[str, int, int], None]
"""Told (what, done, of how many)."""


@dataclass(frozen=True)
class StudyOptions:
    """What to show: so many images (None: all), of some objects (empty: all), drawn with a seed; whether raters may say
    that two are about the same; the kind of body model, by default the submissions'.
    """

    images: int | None = None
    objects: tuple[str, ...] = ()
    seed: int = 0
    ties: bool = False
    body: BodyKind | None = None


@dataclass(frozen=True)
class MadeStudy:
    """What was made: the study's name, methods A and B, how many images, repeats among the trials, and bytes."""

    written: str
    page: str
    key: str
    study: str
    methods: Mapping[str, str]
    images: int
    repeats: int
    objects: Mapping[str, int]
    left_out: Mapping[str, int]
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class _Field:
    """The two submissions, their data, the truth of every image, and who reconstructed which."""

    submissions: Mapping[Method, Submission]
    data: DataFolder
    truth: Mapping[str, Annotation]
    rows: Mapping[Method, Mapping[str, Reconstruction]]

    def left_out(self) -> dict[str, int]:
        """Images that only one or neither reconstructed."""
        has = {name: self.truth.keys() & self.rows[name].keys() for name in self.rows}
        one, two = has["A"], has["B"]
        return {"A": len(one - two), "B": len(two - one), "neither": len(self.truth.keys() - one - two)}


def make_study(
    first: Path,
    second: Path,
    out: Path,
    options: StudyOptions,
    *,
    data: str | Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> MadeStudy:
    """Write a study of two submissions: `page/` for raters, `key.json` to score their answers with.

    Stopped, it goes on with the same command. The page is the same whichever submission is called A.

    Args:
        first: folder of submission A.
        second: of submission B.
        out: the folder to make.
        options: which images, how drawn.
        data: folder or name of their data set; default the name that they give.
        workers: processes that draw.
        progress: called with (what, done, of how many).

    Raises:
        InputError: the submissions or the data do not belong together, too few images, or `out` holds something.
        MissingAssetError: the data, their pictures, the body model or a template is not there.
    """
    _require_free(out)
    field = _field(first, second, data, options.objects)
    ahead = _ahead(field)
    both = [name for name in sorted(field.truth) if all(name in field.rows[m] for m in ("A", "B"))]
    candidates = [Candidate(name, field.truth[name].object, field.truth[name].video_id) for name in both]
    hashes = [field.submissions[method].sha256 for method in (ahead, other(ahead))]
    drawn = draw_trials(candidates, options.images, ahead, options.seed, *hashes)
    body, kind = _body(field, options)
    pairs = {trial.image_id: _pair(field, trial.image_id, ahead, kind) for trial in drawn.trials}
    files = _draw(pairs, out / STATE, [*hashes, body["sha256"], field.data.revision], workers, progress)
    study = _write_page(out / PAGE, drawn, files, ahead, options.ties)
    names = _names(field.submissions)
    methods: dict[str, Contender] = {
        m: Contender(names[m], s.path.resolve().name, s.sha256) for m, s in field.submissions.items()
    }
    manifest = field.submissions["A"].manifest
    dataset = {
        "name": field.data.name,
        "revision": field.data.revision_of(manifest.split),
        "split": manifest.split,
    }
    left_out = field.left_out()
    write_key(out, Key(study, methods, drawn.trials, options.ties, options.seed, dataset, body, left_out))
    shutil.rmtree(out / STATE)
    return _made(out, study, methods, drawn, left_out)


def _require_free(out: Path) -> None:
    """Refuse a folder with anything but what a study that was stopped left there."""
    require_writable(out)
    found = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if found and not {STATE} <= found <= {STATE, PAGE}:
        raise InputError(f"{out}: exists and is not empty; choose another folder, or remove it")


def _field(first: Path, second: Path, data: str | Path | None, objects: Sequence[str]) -> _Field:
    """The submissions and their data, if they belong together."""
    submissions: dict[Method, Submission] = {"A": read_submission(first), "B": read_submission(second)}
    one, two = (submission.manifest for submission in submissions.values())
    folder = find_data(data or one.dataset)
    revision = folder.revision_of(one.split)
    differing = [
        f"{name}: {getattr(one, name)} in {first}, {getattr(two, name)} in {second}"
        for name in ("dataset", "split", "body_model")
        if getattr(one, name) != getattr(two, name)
    ]
    if one.revision != two.revision and "any" not in (one.revision, two.revision):
        differing.append(f"revision: {one.revision} in {first}, {two.revision} in {second}")
    wanted = {"dataset": (one.dataset, folder.name), "revision": (_revision(one.revision, two.revision), revision)}
    differing += [
        f"{name}: {said} in {first}, {found} of the data at {folder.path}"
        for name, (said, found) in wanted.items()
        if said not in ("any", found) and not any(text.startswith(name) for text in differing)
    ]
    if differing:
        raise InputError(
            f"a study wants two submissions for the same data: {'; '.join(differing)}; --data says where theirs are"
        )
    if submissions["A"].sha256 == submissions["B"].sha256:
        raise InputError(f"{first} and {second}: have the same predictions, so there is nothing to prefer")
    if not folder.categories(one.split, "samples"):
        raise MissingAssetError(f"{folder.path}: has no pictures of split {one.split}, and a study shows them")
    truth = {a.image_id: a for a in load_annotations(folder, one.split, objects or None)}
    return _Field(submissions, folder, truth, {m: _rows(s) for m, s in submissions.items()})


def _revision(one: str, two: str) -> str:
    return two if one == "any" else one


def _rows(submission: Submission) -> dict[str, Reconstruction]:
    return {row.image_id: row for row in submission.rows if isinstance(row, Reconstruction)}


def _ahead(field: _Field) -> Method:
    """The submission that is drawn first: by its content, so that the names A and B change nothing on the page."""
    return "A" if field.submissions["A"].sha256 < field.submissions["B"].sha256 else "B"


def _names(submissions: Mapping[Method, Submission]) -> dict[Method, str]:
    """The methods' names; with the folder's where both are called alike."""
    names = {method: submission.manifest.method for method, submission in submissions.items()}
    if names["A"] != names["B"]:
        return names
    return {method: f"{names[method]} ({s.path.resolve().name})" for method, s in submissions.items()}


def _body(field: _Field, options: StudyOptions) -> tuple[dict[str, str], BodyKind]:
    """The body model that is posed; asked for before any work, so that a missing one is told at once."""
    from wildhoi.body import load_body

    manifest = field.submissions["A"].manifest
    kind: BodyKind = options.body or manifest.body_model  # type: ignore[assignment]  # a read manifest has a known one
    genders = sorted({annotation.gender for annotation in field.truth.values()})
    models = [load_body(kind, gender=gender, flat_hand_mean=manifest.body_model == "smplh") for gender in genders]
    return {"kind": kind, "sha256": ",".join(model.sha256 for model in models)}, kind


def _pair(field: _Field, image_id: str, ahead: Method, kind: BodyKind) -> "Pair":
    from evaluation.study.sheets import Pair

    manifest = field.submissions["A"].manifest
    rows = (field.rows[ahead][image_id], field.rows[other(ahead)][image_id])
    flat = manifest.body_model == "smplh"
    return Pair(field.truth[image_id], rows, field.data.path, manifest.split, kind, flat)


def _draw(
    pairs: Mapping[str, "Pair"], state: Path, inputs: Sequence[str], workers: int, progress: Progress | None
) -> dict[str, Path]:
    """The pictures of each image, a file each; finished ones of the same inputs are kept."""
    from evaluation.study.sheets import draw_pair

    keys = {image_id: sha256_text(image_id)[:24] for image_id in pairs}
    fingerprint = sha256_text(canonical_json([*inputs, {name: version(name) for name in LIBRARIES}]))
    shards = {keys[image_id]: pair for image_id, pair in pairs.items()}
    tell = (lambda done, total: progress("drawing", done, total)) if progress else None
    paths = map_shards(draw_pair, shards, state, engine=Local(workers), fingerprint=fingerprint, progress=tell)
    return dict(zip(pairs, paths, strict=True))


def _write_page(page: Path, drawn: Drawn, files: Mapping[str, Path], ahead: Method, ties: bool) -> str:
    """Write the page that raters get; returns the study's name, a hash of all they see."""
    from evaluation.study.sheets import read_pictures

    shutil.rmtree(page, ignore_errors=True)
    (page / PICTURES).mkdir(parents=True)
    digests = {}
    for trial in drawn.trials:
        for name, content in _named(trial, read_pictures(files[trial.image_id]), ahead).items():
            (page / PICTURES / name).write_bytes(content)
            digests[name] = sha256(content).hexdigest()
    texts = {path.name: path.read_text() for path in sorted(PAGE_FILES.iterdir()) if path.is_file()}
    shown = {"blocks": [[t.name for t in block] for block in (drawn.first, drawn.second)], "ties": ties}
    study = sha256_text(canonical_json([texts, shown, digests]))[:16]
    for name, text in texts.items():
        (page / name).write_text(text.replace(DATA_MARK, canonical_json({"study": study, **shown})))
    for path in (*page.rglob("*"), page):
        os.utime(path, (LONG_AGO, LONG_AGO))
    return study


def _named(trial: Trial, pictures: Mapping[str, bytes], ahead: Method) -> dict[str, bytes]:
    """The pictures of a trial by the names that they have on the page."""
    from evaluation.study.sheets import AROUND, INPUT, OVERLAID

    named = {f"{trial.name}-{INPUT}{SUFFIX}": pictures[INPUT]}
    for side in ("left", "right"):
        number = 0 if trial.method(side) == ahead else 1
        for what in (OVERLAID, AROUND):
            named[f"{trial.name}-{side}-{what}{SUFFIX}"] = pictures[f"{number}-{what}"]
    return named


def _made(
    out: Path, study: str, methods: Mapping[str, Contender], drawn: Drawn, left_out: Mapping[str, int]
) -> MadeStudy:
    once = [trial for trial in drawn.trials if trial.repeats is None]
    kinds = sorted({trial.object for trial in once})
    return MadeStudy(
        written=str(out),
        page=str(out / PAGE / INDEX),
        key=str(out / KEY),
        study=study,
        methods={name: methods[name].name for name in ("A", "B")},
        images=len(once),
        repeats=len(drawn.trials) - len(once),
        objects={kind: sum(trial.object == kind for trial in once) for kind in kinds},
        left_out=dict(left_out),
        bytes=sum(path.stat().st_size for path in (out / PAGE).rglob("*") if path.is_file()),
    )
