"""What the cells of a grid are on a data set: a key for each that names all that its result depends on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wildhoi import __version__
from wildhoi.ablation.grids import Cell, Grid
from wildhoi.ablation.stored import CELLS, CHECKPOINTS, Ablation, Placed
from wildhoi.dataset import DataFolder
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import canonical_json, sha256_text
from wildhoi.layout import TABLES
from wildhoi.method import Method, load_method

if TYPE_CHECKING:
    from evaluation.protocol import Protocol
    from wildhoi.running.options import RunOptions

SPLIT, TRAIN_SPLIT = "test", "train"
KEY_LENGTH = 16


@dataclass(frozen=True)
class Choices:
    """How to run a grid.

    Attributes:
        limit: only the first so many images of every object; other cells than those of all images.
        device: `auto`, `cpu`, `cuda` or `cuda:N`, for trainings and runs.
        workers: processes that score.
    """

    limit: int | None = None
    device: str = "auto"
    workers: int = 1

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit {self.limit}: want at least 1")


@dataclass(frozen=True)
class Plan:
    """A grid on its data: where every cell belongs, by a key that names all that its result depends on."""

    ablation: Ablation
    data: DataFolder
    training_data: DataFolder
    out: Path
    rules: "Protocol"
    options: "RunOptions"
    objects: tuple[str, ...]
    workers: int

    def folder(self, cell: Placed) -> Path:
        """The folder of a cell: a run, and a submission with its scores."""
        return self.out / CELLS / cell.key

    def checkpoints(self, training: str) -> Path:
        """The folder of a training: below it a folder for each object."""
        return self.out / CHECKPOINTS / training


def plan_ablation(
    grid: Grid, data: DataFolder, out: Path, choices: Choices | None = None, training_data: DataFolder | None = None
) -> Plan:
    """Settle what the cells of a grid are on a data set; nothing is written.

    Args:
        grid: the variants.
        data: with samples and truth of the test split.
        out: the ablation folder.
        choices: how to run it.
        training_data: what checkpoints are trained on; default `data`.

    Raises:
        InputError: a method, a setting, the protocol or an object is unknown.
        MissingAssetError: the data have no samples or no truth, or a method lacks a package.
    """
    from wildhoi.devices import find_device
    from wildhoi.running import RunOptions
    from wildhoi.running.plan import plan_batches

    choices = choices or Choices()
    for kind in ("samples", "annotations"):
        if not data.categories(SPLIT, kind):
            hint = "`wildhoi data make open -o DIR` makes the open set, then --dataset DIR"
            raise MissingAssetError(f"{data.path}: has no {kind} of split {SPLIT!r}, which an ablation needs; {hint}")
    rules = _rules(grid, data, choices.limit)
    # without a list and a least visibility the protocol scores the first images by id: only they are run
    limit = None if rules.image_list or rules.min_visible > 0 else rules.images_per_object or None
    options = RunOptions(SPLIT, grid.objects, choices.device, grid.batch, grid.seed, limit=limit, resume=True)
    batches, device = plan_batches(data, options), find_device(options.device)
    objects = tuple(sorted({batch.object for batch in batches.values()}))

    def fingerprint(method: Method) -> str:
        from wildhoi.running.record import make_record

        return make_record(method, data, options, device, batches).fingerprint

    training_data = training_data or data
    cells = tuple(
        _placed(f"grid {grid.name}: cell {cell.label!r}", cell, rules.hash, fingerprint, training_data)
        for cell in grid.cells
    )
    shared = (rules.id, rules.hash, data.name, data.revision_of(SPLIT), SPLIT)
    ablation = Ablation(grid.name, grid.title, grid.note, *shared, cells)
    return Plan(ablation, data, training_data, out, rules, options, objects, choices.workers)


def _rules(grid: Grid, data: DataFolder, limit: int | None) -> "Protocol":
    """The protocol of a grid; of fewer images it is another one, so that no score of theirs is taken for its own."""
    from evaluation.protocol import load_protocol, protocol_for

    rules = load_protocol(grid.protocol) if grid.protocol else protocol_for(data.name)
    if limit is None or 0 < rules.images_per_object <= limit:
        return rules
    return replace(rules, images_per_object=limit, title=f"{rules.title}; only the first {limit} images of each object")


def _placed(
    where: str, cell: Cell, rules_hash: str, fingerprint: Callable[[Method], str], training_data: DataFolder
) -> Placed:
    """A cell and its keys; its method must know the settings."""
    from wildhoi.running.record import plain

    try:
        run = fingerprint(load_method(cell.method, cell.settings))
        settings, train = plain(dict(cell.settings), "set"), plain(dict(cell.train), "train")
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    training = _key([train, training_data.name, _train_digest(training_data), __version__]) if train else None
    key = _key([run, rules_hash, training])
    return Placed(cell.label, cell.method, key, settings, train, training)


def _train_digest(data: DataFolder) -> str:
    """The name of the recorded content of all that a training may read."""
    patterns = (*(f"{kind}/*/{TRAIN_SPLIT}-*.parquet" for kind in TABLES), "objects/*")
    return _key({name: h for name, h in data.checksums.items() if any(fnmatch(name, pattern) for pattern in patterns)})


def _key(content: Any) -> str:
    return sha256_text(canonical_json(content))[:KEY_LENGTH]
