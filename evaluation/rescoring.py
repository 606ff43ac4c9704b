"""`wildhoi rescore`: stored predictions scored again under a protocol; no method runs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shutil import copyfile, rmtree
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.checking import find_submissions, protocol_of, read_table
from evaluation.metrics import METRICS
from evaluation.protocol import Protocol, load_protocol, protocol_ids
from evaluation.scores import PER_IMAGE, SCORES, WORK, Scores, read_scores, write_scores
from wildhoi.dataset import BODY_MODELS, DataFolder
from wildhoi.engine import Engine
from wildhoi.errors import InputError, MissingAssetError, ShardsError
from wildhoi.open_scenes.truth import truth_of
from wildhoi.submission.folder import read_submission

if TYPE_CHECKING:
    from evaluation.evaluate import Options

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Change:
    """A metric before and after.

    Attributes:
        unit: of its numbers.
        old, new: mean over the scored images; None of nothing, or where the other protocol alone computes it.
        difference: mean of new minus old over the images that have both.
        images: how many these are.
        changed: how many images have another value, or one on one side alone.
    """

    unit: str
    old: float | None
    new: float | None
    difference: float | None
    images: int
    changed: int


@dataclass(frozen=True)
class Rescored:
    """A submission scored again; where `new` is None, `reason` and `exit_code` say why it was not.

    `coverage` is images scored and images there are, before and now.
    """

    path: str
    old: str = ""
    protocol: str = ""
    official: bool = False
    metrics: Mapping[str, Change] = field(default_factory=dict)
    coverage: tuple[tuple[int, int] | None, tuple[int, int] | None] = (None, None)
    reason: str = ""
    exit_code: int = 0
    new: Scores | None = None

    def to_dict(self) -> dict[str, Any]:
        """What came of it as plain data, without the scores."""
        return {
            "done": self.new is not None,
            "old": self.old,
            "protocol": self.protocol,
            "official": self.official,
            "coverage": [None if side is None else {"scored": side[0], "images": side[1]} for side in self.coverage],
            "metrics": {name: asdict(change) for name, change in self.metrics.items()},
            "reason": self.reason,
        }


def rescore(
    folder: Path,
    protocol: str | None = None,
    data: str | Path | None = None,
    *,
    engine: Engine | None = None,
    work: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[Rescored]:
    """Score every scored submission below a folder again, one after the other; no scores are written.

    Args:
        folder: a submission, or searched at any depth.
        protocol: an id or a .toml file; default the newest version of the one that a submission was scored under.
        data: the truth of all of them; default the data set that a submission names.
        engine: where images are scored; default in this process.
        work: a folder of the same layout that keeps what is scored of a submission until the next one is asked for, so
            that an interrupted scoring goes on; default none.
        progress: called with (submission, images scored, images).

    Raises:
        InputError: there is no such folder, no submission in it, or no such protocol; `data` is no data folder.
        MissingAssetError: `data` is not at hand.
    """
    paths = find_submissions(folder) if folder.is_dir() else []
    if not paths:
        raise InputError(f"{folder}: no submission is there or below it; want a folder with submission.yaml")
    rules = load_protocol(protocol) if protocol else None
    from evaluation.evaluate import Options  # torch, for those that have something to score

    with ExitStack() as stack:
        given = None if data is None else stack.enter_context(truth_of(data))
        for path in paths:
            name = path.relative_to(folder).as_posix()
            told = None if progress is None else (lambda done, total, name=name: progress(name, done, total))
            try:
                options = Options(engine=engine, work=None if work is None else work / name / WORK)
                yield _rescored(path, name, rules, given, options, told)
            except (InputError, MissingAssetError, ShardsError) as error:
                yield Rescored(name, reason=str(error), exit_code=error.exit_code)
                if isinstance(error, ShardsError):
                    continue  # what is scored is kept
            if work is not None:
                rmtree(work / name / WORK, ignore_errors=True)


def newest(protocol: str) -> str:
    """The id of the newest shipped version of a protocol."""
    name = protocol.rpartition("@")[0]
    versions = [known for known in protocol_ids() if known.rpartition("@")[0] == name]
    return max(versions, key=lambda known: int(known.rpartition("@")[2]))


def _rescored(
    path: Path,
    name: str,
    rules: Protocol | None,
    given: DataFolder | None,
    options: "Options",
    progress: Callable[[int, int], None] | None,
) -> Rescored:
    from evaluation.evaluate import evaluate

    submission = read_submission(path)
    stored = read_scores(path / SCORES)
    before = read_table(path / PER_IMAGE)
    rules = rules or load_protocol(newest(protocol_of(path / SCORES, stored).id))
    with ExitStack() as stack:
        data = given or stack.enter_context(truth_of(submission.manifest.dataset))
        new = evaluate(submission, data, rules, replace(options, body=_body(stored)), progress)
    protocol = new.scores["protocol"]
    return Rescored(
        name,
        _called(stored["protocol"]),
        _called(protocol),
        new.scores["official"],
        _changes(path / PER_IMAGE, before, new, _ignored(stored, rules)),
        coverage=(_coverage(stored), _coverage(new.scores)),
        new=new,
    )


def _called(protocol: Any) -> str:
    """A protocol's id and the first of its hash, as a score file has them."""
    if not isinstance(protocol, dict):
        return "?"
    return f"{str(protocol.get('id'))[:60]} ({str(protocol.get('hash'))[:12]})"


def _body(stored: Mapping[str, Any]) -> Any:
    """The body model that was scored with, so that the numbers can be compared; None for the protocol's."""
    body = stored.get("body")
    model = body.get("model") if isinstance(body, dict) else None
    return model if model in BODY_MODELS else None


def _coverage(scores: Mapping[str, Any]) -> tuple[int, int] | None:
    """How many images were scored, of how many; None where a score file does not say."""
    overall = scores.get("overall")
    found = overall.get("coverage") if isinstance(overall, dict) else None
    scored, images = (found.get(name) if isinstance(found, dict) else None for name in ("scored", "images"))
    return (scored, images) if isinstance(scored, int) and isinstance(images, int) else None


def _ignored(stored: Mapping[str, Any], rules: Protocol) -> frozenset[str]:
    """Objects whose rotation no mean counts: spheres, unless the protocol says that theirs is 0."""
    spheres = stored.get("spheres")
    if rules.sphere_rotation == "zero" or not isinstance(spheres, list):
        return frozenset()
    return frozenset(map(str, spheres))


def _changes(path: Path, before: Any, new: Scores, spheres: frozenset[str]) -> dict[str, Change]:
    """Every metric that either side has, image by image; raises InputError where the stored table is none of scores."""
    metrics = [name for name in METRICS if name in before.schema.names or (new.rows and name in new.rows[0])]
    try:
        ids = before["image_id"].to_pylist()
        stored = {name: dict(zip(ids, _numbers(before, name), strict=True)) for name in metrics}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a table of scores ({error}); evaluate the submission again") from None
    found = {name: {row["image_id"]: float(row.get(name, np.nan)) for row in new.rows} for name in metrics}
    for row in new.rows:
        for side in (stored, found):
            if row["object"] in spheres and "rotation" in side:
                side["rotation"][row["image_id"]] = np.nan
    return {name: _change(METRICS[name].unit, stored[name], found[name]) for name in metrics}


def _numbers(table: Any, name: str) -> list[float]:
    if name not in table.schema.names:
        return [np.nan] * len(table)
    return [np.nan if value is None else float(value) for value in table[name].to_pylist()]


def _change(unit: str, old: Mapping[str, float], new: Mapping[str, float]) -> Change:
    images = sorted({*old, *new})
    sides = [np.array([side.get(image, np.nan) for image in images], np.float64) for side in (old, new)]
    lost = [np.isnan(side) for side in sides]
    both = ~lost[0] & ~lost[1]
    changed = (lost[0] != lost[1]) | (both & (sides[0] != sides[1]))
    difference = float(np.mean(sides[1][both] - sides[0][both])) if both.any() else None
    before, after = (
        None if gone.all() else float(np.mean(side[~gone])) for side, gone in zip(sides, lost, strict=True)
    )
    return Change(unit, before, after, difference, int(both.sum()), int(changed.sum()))


def replace_scores(folder: Path, scores: Scores) -> None:
    """Put scores.json and per_image.parquet in the place of those that a folder has: both, or none.

    Raises:
        OSError: they cannot be written; the old ones are as they were.
    """
    names, moved = (PER_IMAGE, SCORES), []
    with TemporaryDirectory(prefix=".rescore-", dir=folder) as place:
        kept, made = Path(place) / "old", Path(place) / "new"
        write_scores(made, scores)
        kept.mkdir()
        for name in names:
            copyfile(folder / name, kept / name)
        try:
            for name in names:
                moved.append(name)
                (made / name).replace(folder / name)
        except BaseException:
            for name in moved:
                (kept / name).replace(folder / name)
            raise
