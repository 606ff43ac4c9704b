"""The Parquet files of a split, of a folder at hand or fetched from the Hub."""

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from wildhoi.dataset.folder import DataFolder, find_local
from wildhoi.errors import InputError


def table_patterns(kind: str, split: str, objects: Sequence[str] | None) -> list[str]:
    """The patterns of the tables of a split, of all objects or those named.

    Raises:
        InputError: an empty list of objects.
    """
    if objects is not None and not objects:
        raise InputError("objects: an empty list; leave it out for all of them")
    return [f"{kind}/{name}/{split}-*.parquet" for name in (sorted(set(objects)) if objects else ("*",))]


def find_tables(
    data: DataFolder | str | Path, kind: str, split: str, objects: Sequence[str] | None, revision: str | None
) -> tuple[str, list[Path]]:
    """The Parquet files of a split, of a folder at hand or fetched from the Hub, and what they are of.

    Raises:
        InputError: the split or an object has none there.
        MissingAssetError, RunError: as `find_local` and `hub.resolve` do.
    """
    folder = data if isinstance(data, DataFolder) else find_local(data, revision)
    if folder is not None:
        return str(folder.path), folder.files(kind, split, objects)
    return fetch_files(str(data), table_patterns(kind, split, objects), revision)


def require_matches(source: str, names: Sequence[str], patterns: Sequence[str]) -> None:
    """Refuse patterns that no file of the Hub has.

    Raises:
        InputError: names them.
    """
    vain = [pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in names)]
    if vain:
        raise InputError(f"{source}: has none of {', '.join(vain)}")


def fetch_files(name: str, patterns: Sequence[str], revision: str | None) -> tuple[str, list[Path]]:
    """Files of a data set of the Hub, by patterns of their paths, and what they are of; fetched once.

    Raises:
        InputError: there are none.
        MissingAssetError, RunError: as `hub.resolve` does.
    """
    from wildhoi import hub

    source, folder, names = hub.fetch(name, patterns, revision)
    require_matches(source, names, patterns)
    return source, [folder / file for file in names]
