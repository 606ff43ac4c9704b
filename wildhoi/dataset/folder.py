"""Data folders: finding one by name, sealing a finished one, and the revision that names its content.

A data folder holds `dataset.json` (who it is), `checksums.json`, `samples/OBJ/SPLIT-*.parquet` (inputs),
`annotations/OBJ/SPLIT-*.parquet` (truth), `layouts/OBJ/SPLIT-*.parquet` (further views of the same scenes, without
pictures; few data sets have them), `mini/` (a few rows of all), `objects/OBJ/` (templates) and `lists/`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from wildhoi.dataset.truth import truth_digest
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import canonical_json, read_json, sha256_file, sha256_text, write_text
from wildhoi.layout import CARD, CHECKSUMS, CONVERTING, DOWNLOADING, IDENTITY, RECORD
from wildhoi.schema import BodyKind

SPLITS = ("train", "test")
TRUTH = "truth"  # of dataset.json: the digests of the truth's files, by split
BODY_MODELS: tuple[BodyKind, ...] = get_args(BodyKind)
SHIPPED = {"open-sample": Path(__file__).parents[1] / "assets" / "sample"}


@dataclass(frozen=True)
class DataFolder:
    """A data set on disk; `checksums` are the recorded hashes of its files by relative path.

    `track` says where the initial estimates come from, where there is more than one answer.
    """

    path: Path
    name: str
    body_model: BodyKind
    checksums: Mapping[str, str]
    track: str | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def revision(self) -> str:
        """The name of the folder's content, as it was sealed: truth, templates, lists and `dataset.json`.

        Pictures and inputs, of which folders may have more or fewer, do not name it.
        """
        scored = {name: value for name, value in self.checksums.items() if _is_scored(name)}
        return sha256_text(canonical_json(scored))[:16]

    def revision_of(self, split: str) -> str:
        """The name of what scores of a split are made from; `changed_files` tells whether it still is that.

        It is derived from the content of the split's truth, the templates of its objects, the lists and what
        `dataset.json` says: neither the other split nor the bytes of a Parquet file, which the library that wrote them
        chooses, tell two folders of the same truth apart.
        """
        files = {
            name: value for name, value in self.checksums.items() if fnmatch(name, f"annotations/*/{split}-*.parquet")
        }
        things = {name.split("/")[1] for name in files}
        beside = {
            name: value
            for name, value in self.checksums.items()
            if fnmatch(name, "lists/*") or (name.startswith("objects/") and name.split("/")[1] in things)
        }
        facts = {key: value for key, value in self.identity.items() if key != TRUTH}
        truth = self.identity.get(TRUTH, {}).get(split, files)
        return sha256_text(canonical_json([facts, truth, beside]))[:16]

    @property
    def objects(self) -> Path:
        """Where the templates are."""
        return self.path / "objects"

    def categories(self, split: str, kind: str = "annotations") -> list[str]:
        """The objects that have annotations (or another kind of tables) of a split, sorted."""
        return sorted({path.parent.name for path in self.path.glob(f"{kind}/*/{split}-*.parquet")})

    def files(self, kind: str, split: str, objects: Sequence[str] | None = None) -> list[Path]:
        """The Parquet files of a split, of all objects or those named, in order.

        Args:
            kind: `annotations`, `samples` or `layouts`, or one of these below `mini/`.
            split: `train` or `test`.
            objects: names of categories.

        Raises:
            InputError: the split or an object has none here; says what there is.
        """
        available = self.categories(split, kind)
        if split not in SPLITS or not available:
            there = ", ".join(name for name in SPLITS if self.categories(name, kind)) or "none"
            raise InputError(f"{self.path}: has no {kind} of split {split!r}, there are those of: {there}")
        if objects is not None and not objects:
            raise InputError("objects: an empty list; leave it out for all of them")
        wrong = sorted(set(objects or ()) - set(available))
        if wrong:
            raise InputError(f"{self.path}: no {split} {kind} of {', '.join(wrong)}; there are {', '.join(available)}")
        chosen = available if objects is None else sorted(set(objects))
        return [file for name in chosen for file in sorted((self.path / kind / name).glob(f"{split}-*.parquet"))]

    def changed_files(self, split: str) -> list[str]:
        """The files a score of a split is made from that are not as recorded: changed, added or gone."""
        patterns = _scored_patterns(split)
        there = {p.relative_to(self.path).as_posix(): p for pattern in patterns for p in self.path.glob(pattern)}
        changed = [name for name, path in there.items() if sha256_file(path) != self.checksums.get(name)]
        gone = [
            name for name in self.checksums if name not in there and any(fnmatch(name, pattern) for pattern in patterns)
        ]
        return sorted(changed + gone)

    @property
    def left_out(self) -> frozenset[str]:
        """The files that a download of some objects or splits did not ask for."""
        record = self.path / RECORD
        content = read_json(record) if record.is_file() else {}
        asked = content.get("files") if isinstance(content, dict) else None
        return frozenset(set(self.checksums) - set(asked)) if isinstance(asked, list) else frozenset()

    def problems(self, progress: Callable[[int, int], None] | None = None) -> dict[str, str]:
        """Every file that is not as recorded, and what is wrong with it: changed, gone, or not recorded.

        Args:
            progress: called with (files compared, files).
        """
        found: dict[str, str] = {}
        left_out = self.left_out
        for done, (name, recorded) in enumerate(self.checksums.items(), 1):
            path = self.path / name
            if not path.is_file():
                if name not in left_out:
                    found[name] = "is gone"
            elif sha256_file(path) != recorded:
                found[name] = "is not as recorded"
            if progress is not None:
                progress(done, len(self.checksums))
        extra = set(list_files(self.path)) - {*self.checksums, CHECKSUMS, CARD}
        return dict(sorted({**found, **dict.fromkeys(extra, "is not recorded")}.items()))


def _scored_patterns(split: str) -> tuple[str, ...]:
    """The files that scores of a split are made from."""
    return (IDENTITY, f"annotations/*/{split}-*.parquet", "objects/*/*", "lists/*")


def _is_scored(name: str) -> bool:
    return any(fnmatch(name, pattern) for split in SPLITS for pattern in _scored_patterns(split))


def data_root() -> Path:
    """Where data folders are kept by name: `$WILDHOI_DATA`, else the user's cache."""
    named = os.environ.get("WILDHOI_DATA")
    return Path(named) if named else cache_root()


def cache_root() -> Path:
    """The user's cache of downloaded data folders."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "wildhoi" / "data"


def find_data(name: str | Path) -> DataFolder:
    """Resolve a data set: a folder given, `$WILDHOI_DATA/NAME`, the cache, or one that ships with the package.

    Raises:
        MissingAssetError: nothing of that name is at hand.
        InputError: the folder is not a data folder, or not a finished one.
    """
    places = [
        Path(name),
        data_root() / name,
        cache_root() / name,
        *([SHIPPED[str(name)]] if str(name) in SHIPPED else []),
    ]
    for place in places:
        if (place / IDENTITY).is_file():
            return open_folder(place)
    unfinished = any((Path(name) / hidden).exists() for hidden in (CONVERTING, DOWNLOADING))
    if Path(name).is_dir() and (os.sep in str(name) or unfinished):
        raise InputError(
            f"{name}: has no {IDENTITY}, so it is no data folder, or one that is not finished; "
            "`wildhoi data convert` or `wildhoi data download` makes one, and the same command finishes it"
        )
    raise MissingAssetError(
        f"data set {str(name)!r} is not at hand: no such folder, and neither $WILDHOI_DATA "
        f"({os.environ.get('WILDHOI_DATA') or 'not set'}) nor {cache_root()} has it; `wildhoi data download` gets a "
        "published one, `wildhoi data convert` makes one of a raw release, `wildhoi data make open` the open set, "
        "`wildhoi data list` says what there is"
    )


def find_local(name: str | Path, revision: str | None = None) -> DataFolder | None:
    """The data folder of a name; None where a revision of the Hub is asked for, or where only the Hub may have it.

    Raises:
        InputError: the folder is not a data folder, or not a finished one.
        MissingAssetError: the name is the path of a folder that is not there.
    """
    try:
        return find_data(name) if revision is None else None
    except MissingAssetError:
        if isinstance(name, Path) or str(name).startswith((".", "~", os.sep)) or str(name).count("/") > 1:
            raise
        return None


def open_folder(path: Path) -> DataFolder:
    """Read what a data folder says of itself.

    Raises:
        InputError: `dataset.json` or `checksums.json` is absent or invalid.
    """
    identity = read_json(path / IDENTITY)
    if not isinstance(identity, dict) or not isinstance(identity.get("name"), str):
        raise InputError(f"{path / IDENTITY}: want an object with the fields name and body_model")
    if identity.get("body_model") not in BODY_MODELS:
        raise InputError(f"{path / IDENTITY}: body_model is {identity.get('body_model')!r}, want one of {BODY_MODELS}")
    track = identity.get("track")
    if track is not None and not isinstance(track, str):
        raise InputError(f"{path / IDENTITY}: track is {track!r}, want a name or nothing")
    if not isinstance(identity.get(TRUTH, {}), dict):
        raise InputError(f"{path / IDENTITY}: {TRUTH} is {identity[TRUTH]!r}, want hashes by split")
    checksums = read_json(path / CHECKSUMS)
    if not isinstance(checksums, dict) or not all(isinstance(value, str) for value in checksums.values()):
        raise InputError(f"{path / CHECKSUMS}: want an object of file names and their hashes")
    facts = MappingProxyType(identity)
    return DataFolder(path, identity["name"], identity["body_model"], MappingProxyType(checksums), track, facts)


def seal_folder(path: Path, *, name: str, body_model: str, **more: str | int | None) -> DataFolder:
    """Write `checksums.json` and `dataset.json` of a finished data folder, and open it; hidden files are left out.

    `dataset.json`, without which nothing is a data folder, comes last.

    Args:
        path: the folder.
        name: of the data set.
        body_model: whose parameters its bodies are.
        more: further facts that name it, such as its `track` or `version`; None for none.
    """
    facts = {key: value for key, value in more.items() if value not in (None, "")}
    content = {"name": name, "body_model": body_model, **facts, TRUTH: _truth(path)}
    identity = canonical_json(content) + "\n"
    hashes = {name: sha256_file(path / name) for name in list_files(path) if name not in (IDENTITY, CHECKSUMS, CARD)}
    write_text(path / CHECKSUMS, canonical_json({**hashes, IDENTITY: sha256_text(identity)}) + "\n")
    write_text(path / IDENTITY, identity)
    return open_folder(path)


def _truth(path: Path) -> dict[str, dict[str, str]]:
    """The digests of the truth's files, by split and path."""
    found = {split: sorted(path.glob(f"annotations/*/{split}-*.parquet")) for split in SPLITS}
    return {
        split: {file.relative_to(path).as_posix(): truth_digest(file) for file in files}
        for split, files in found.items()
        if files
    }


def list_files(path: Path) -> list[str]:
    """The files of a folder by relative path, sorted; hidden ones and what is in hidden folders are left out."""
    names = [p.relative_to(path) for p in path.rglob("*") if p.is_file()]
    return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))
