"""What a repository may hold to be a data folder, and which of its files a download wants."""

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wildhoi.errors import InputError
from wildhoi.files import read_json, sha256_file
from wildhoi.layout import CHECKSUMS, IDENTITY, TABLES

WORKERS = 4

# plain names of one component each, so that no name can lead out of the folder or hide in it
WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}"
LAYOUT = re.compile(
    rf"{WORD}\.(?:json|jsonl|md|png|jpg|txt)|LICENSE|NOTICE|(?:mini/)?(?:{'|'.join(TABLES)})/{WORD}/{WORD}\.parquet"
    rf"|objects/{WORD}/{WORD}|lists/{WORD}\.json",
    re.ASCII,
)
SHA256 = re.compile("[0-9a-f]{64}")


def is_data_file(name: str) -> bool:
    """Whether a relative path is one that a data folder may have."""
    return LAYOUT.fullmatch(name) is not None


def read_checksums(path: Path, where: str) -> dict[str, str]:
    """Read the `checksums.json` of a repository, which is foreign; `where` is what messages call it.

    Raises:
        InputError: it is not an object of hashes, or names a file that no data folder has.
    """
    content = read_json(path)
    if not isinstance(content, dict) or IDENTITY not in content:
        raise InputError(f"{where}: its {CHECKSUMS} does not list {IDENTITY}, so it is no data folder")
    for name, value in content.items():
        if not is_data_file(name) or name == CHECKSUMS:
            raise InputError(f"{where}: its {CHECKSUMS} lists {name[:200]!r}, which no data folder holds; refused")
        if not isinstance(value, str) or not SHA256.fullmatch(value):
            raise InputError(f"{where}: its {CHECKSUMS} gives {name} the hash {str(value)[:80]!r}, want a sha256")
    return content


def group_of(name: str) -> tuple[str, str, str] | None:
    """The files that belong together: kind, object and split of a table, kind and object of a template; else None."""
    if not is_data_file(name):
        return None
    kind, *rest = name.split("/")
    if kind in TABLES:
        return kind, rest[0], rest[1].partition("-")[0]
    if kind == "mini":
        return f"{kind}/{rest[0]}", rest[1], rest[2].partition("-")[0]
    return (kind, rest[0], "") if kind == "objects" else None


def select(names: Iterable[str], objects: Sequence[str] | None, splits: Sequence[str] | None, where: str) -> list[str]:
    """The files wanted: tables and templates of the objects and splits asked for (None: all), and all that is no such.

    Raises:
        InputError: an object or a split is not there, or not together.
    """
    groups = {name: group_of(name) for name in names}
    tables = {group for group in groups.values() if group and group[0] in TABLES}
    _require_known("object", objects, {group[1] for group in groups.values() if group}, where)
    _require_known("split", splits, {split for _, _, split in tables}, where)

    def is_wanted(group: tuple[str, str, str]) -> bool:
        kind, thing, split = group
        return (objects is None or thing in objects) and (splits is None or kind not in TABLES or split in splits)

    if not any(is_wanted(group) for group in tables):
        asked = f"{', '.join(splits or ('any split',))} of {', '.join(objects or ('any object',))}"
        raise InputError(f"{where}: holds no tables for {asked}")
    return [name for name, group in groups.items() if group is None or is_wanted(group)]


def _require_known(what: str, wanted: Sequence[str] | None, there: set[str], where: str) -> None:
    if unknown := sorted(set(wanted or ()) - there):
        known = ", ".join(sorted(there)) or "none"
        raise InputError(f"{where}: holds no {what} {', '.join(unknown)}; there are {known}")


def is_intact(path: Path, sha256: str) -> bool:
    """Whether a file is there and is what its checksum says."""
    return path.is_file() and not path.is_symlink() and sha256_file(path) == sha256


def altered(folder: Path, names: Sequence[str], checksums: Mapping[str, str]) -> list[str]:
    """The files that are absent or not what their checksums say; several are read at a time."""
    with ThreadPoolExecutor(WORKERS) as pool:
        intact = pool.map(lambda name: is_intact(folder / name, checksums[name]), names)
        return [name for name, good in zip(names, intact, strict=True) if not good]


def files_of(folder: Path) -> list[str]:
    """The relative paths of what lies in a folder, sorted; hidden files and folders are left out, links are kept."""
    inside = sorted(folder.rglob("*"))
    names = [path.relative_to(folder) for path in inside if path.is_symlink() or not path.is_dir()]
    return [name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts)]


def in_words(names: Sequence[str], most: int = 5) -> str:
    """The first few of many names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def total_size(sizes: Mapping[str, int], names: Iterable[str]) -> int:
    """The bytes of some files."""
    return sum(sizes[name] for name in names)
