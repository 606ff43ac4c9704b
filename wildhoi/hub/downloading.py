"""Downloading a data folder: pinned to a commit, checked file by file, and never half there.

Files gather in a hidden folder inside the one asked for and move out together; `dataset.json` and `checksums.json` come
last, so that a folder which has them is whole. What is finished survives whatever stops a download.
"""

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wildhoi.errors import InputError, RunError
from wildhoi.files import canonical_json, read_json, require_writable, sha256_file, write_text
from wildhoi.hub import contents
from wildhoi.hub.naming import KIND, Asked, is_offline, repository
from wildhoi.hub.progress import Meter, Progress, bar_of
from wildhoi.hub.remote import client, explained, list_files, pin
from wildhoi.hub.troubles import line_error, offline
from wildhoi.layout import CARD, CHECKSUMS, DOWNLOADING, IDENTITY, RECORD

ATTEMPTS = 2
MAX_FILE = 4 * 2**30
MAX_JSON = 64 * 2**20


@dataclass(frozen=True)
class Downloaded:
    """A download: where it is, what was asked for, the commit it is pinned to, and the files and bytes that moved."""

    path: Path
    repository: str
    revision: str
    commit: str
    fetched: int
    kept: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The download as plain data."""
        return {**asdict(self), "path": str(self.path)}


@dataclass(frozen=True)
class Remote:
    """A data folder on the Hub at one commit: sizes and hashes of its files by relative path."""

    asked: Asked
    commit: str
    sizes: Mapping[str, int]
    checksums: Mapping[str, str]


def download(
    name: str,
    out: Path,
    *,
    objects: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    revision: str | None = None,
    progress: Progress | None = None,
) -> Downloaded:
    """Download a data set, or the objects and splits asked for, into a folder; a second call adds what is missing.

    Args:
        name: a data set ("wildhoi") or a repository ("owner/name").
        out: the folder; absent, empty, an unfinished download, or one of the same revision.
        objects: the categories whose tables and templates are wanted; None: all.
        splits: the splits whose tables are wanted; None: all.
        revision: a branch, tag or commit; None: main.
        progress: told the file, the bytes done and the bytes of the whole.

    Raises:
        InputError: the folder holds something else, the repository is no data folder or lacks an object or split.
        MissingAssetError: the repository or the revision is absent, gated or closed to this login; or offline.
        RunError: the line broke off, a file arrives damaged, or the disk is full.
    """
    asked, out = Asked(name, repository(name), revision), Path(out)
    require_writable(out)
    _require_ours(out)
    if is_offline():
        return _at_hand(asked, out, objects, splits)
    commit = pin(asked)
    remote = _describe(asked, commit, out / DOWNLOADING)
    _require_same(remote, out)
    wanted = _wanted(remote.checksums, out, contents.select(remote.checksums, objects, splits, str(asked)))
    with explained(asked):
        missing = contents.altered(out, wanted, remote.checksums)
    card = [CARD] if CARD in set(remote.sizes) - set(remote.checksums) else []
    _require_possible(remote, [*missing, *card], out)
    meter = Meter(contents.total_size(remote.sizes, [*missing, *card]), progress)
    with explained(asked):
        _fetch_all(remote, [*missing, *card], out / DOWNLOADING, meter)
        _publish(remote, out, [*missing, *card], wanted)
    return Downloaded(
        out, asked.repository, revision or "main", commit, len(missing), len(wanted) - len(missing), meter.total
    )


def _require_ours(out: Path) -> None:
    """Refuse a folder that holds something that no download has put there."""
    marks = (IDENTITY, DOWNLOADING)
    if out.exists() and any(out.iterdir()) and not any((out / mark).exists() for mark in marks):
        raise InputError(f"{out}: holds files and is no data folder; choose another with --out, or empty it")


def _at_hand(asked: Asked, out: Path, objects: Sequence[str] | None, splits: Sequence[str] | None) -> Downloaded:
    """The download as it lies there, whole and of the revision asked for, without a request."""
    repository, revision, commit = _record(out)
    if repository != asked.repository or asked.revision not in (None, revision, commit) or not _is_finished(out):
        raise offline(asked)
    checksums = contents.read_checksums(out / CHECKSUMS, str(out))
    wanted = contents.select(checksums, objects, splits, str(out))
    if contents.altered(out, wanted, checksums):
        raise offline(asked)
    return Downloaded(out, repository, revision, commit, 0, len(wanted), 0)


def _is_finished(out: Path) -> bool:
    return (out / IDENTITY).is_file() and (out / CHECKSUMS).is_file()


def _record(out: Path) -> tuple[str, str, str]:
    """The repository, revision and commit that a folder was downloaded from; empty where it was not."""
    content = read_json(out / RECORD) if (out / RECORD).is_file() else {}
    return content.get("repository", ""), content.get("revision", ""), content.get("commit", "")


def _describe(asked: Asked, commit: str, staging: Path) -> Remote:
    """What the repository holds at a commit; its `dataset.json` and `checksums.json` are fetched and checked."""
    sizes = {name: file.size for name, file in list_files(asked, commit).items()}
    for name in (IDENTITY, CHECKSUMS):
        if not 0 < sizes.get(name, 0) <= MAX_JSON:
            raise InputError(f"{asked}: has no {name}, or an empty or huge one, so it is no data folder")
    with explained(asked):
        fetch = Remote(asked, commit, sizes, {})
        for name in (IDENTITY, CHECKSUMS):
            _fetch(fetch, name, staging, Meter(0, None))
    checksums = contents.read_checksums(staging / CHECKSUMS, str(asked))
    lost = sorted(set(checksums) - set(sizes))
    if lost:
        raise RunError(f"{asked}: lacks {contents.in_words(lost)}, which its {CHECKSUMS} lists; tell its owners")
    return Remote(asked, commit, sizes, checksums)


def _require_same(remote: Remote, out: Path) -> None:
    """Refuse to mix two states of a data set in one folder."""
    path = out / CHECKSUMS
    if path.is_file():
        is_same = contents.read_checksums(path, str(out)) == remote.checksums
    else:
        is_same = set(contents.files_of(out)) <= {CARD, *remote.checksums}
    if not is_same:
        commit = _record(out)[2]
        held = f"commit {commit}" if commit else "other files"
        again = f", ask for what is there with --revision {commit}" if commit else ""
        raise InputError(
            f"{out}: holds {held}, and {remote.asked} is commit {remote.commit}, which differs; "
            f"choose another folder with --out{again}, or remove the folder"
        )


def _wanted(checksums: Mapping[str, str], out: Path, asked_for: Sequence[str]) -> list[str]:
    """What was asked for, and the rest of every table and template of which the folder has a part already."""
    there = {contents.group_of(name) for name in contents.files_of(out)} - {None}
    wanted = set(asked_for)
    return [name for name in checksums if name in wanted or contents.group_of(name) in there]


def _require_possible(remote: Remote, names: Sequence[str], out: Path) -> None:
    """Refuse sizes that no data folder has, and what the disk has no room for."""
    huge = [name for name in names if remote.sizes[name] > MAX_FILE]
    if huge:
        raise InputError(f"{remote.asked}: {huge[0]} has {remote.sizes[huge[0]]} bytes, at most {MAX_FILE} are fetched")
    place = next(place for place in (out, *out.absolute().parents) if place.is_dir())
    need, free = contents.total_size(remote.sizes, names), shutil.disk_usage(place).free
    if need > free:
        raise RunError(
            f"{remote.asked}: {need / 1e9:.1f} GB are to come and {place} has {free / 1e9:.1f} GB free; make room, "
            "choose another folder with --out, or fewer objects with --object"
        )


def _fetch_all(remote: Remote, names: Sequence[str], staging: Path, meter: Meter) -> None:
    """Fetch several files at a time; the first that fails stops the rest, those finished stay."""
    with ThreadPoolExecutor(contents.WORKERS) as pool:
        try:
            for done in as_completed([pool.submit(_fetch, remote, name, staging, meter) for name in names]):
                done.result()
        finally:
            meter.stop()
            pool.shutdown(cancel_futures=True)


def _fetch(remote: Remote, name: str, staging: Path, meter: Meter) -> None:
    """Have a file in the staging folder with the hash it must have; what breaks off or is damaged is tried again."""
    target, wanted = staging / name, remote.checksums.get(name)
    for left in reversed(range(ATTEMPTS)):
        if wanted is None or not contents.is_intact(target, wanted):
            if wanted:  # else the library knows whether what lies here is of this commit
                target.unlink(missing_ok=True)
            meter.put(name, 0)
            try:
                _fetch_once(remote, name, staging, meter)
            except (line_error(), OSError) as error:
                if not left or not _may_pass(error):
                    raise
                continue
        found = sha256_file(target)
        if wanted in (None, found):
            return meter.put(name, remote.sizes[name])
        target.unlink()
    raise RunError(
        f"{remote.asked}: {name} arrives damaged, again and again: its sha256 is {found}, {CHECKSUMS} says {wanted}; "
        "try another line, or tell the owners of the repository"
    )


def _fetch_once(remote: Remote, name: str, staging: Path, meter: Meter) -> None:
    # a cache that no one else has: what lies in the user's may be damaged, and would come back at every attempt
    client().hf_hub_download(
        remote.asked.repository,
        name,
        repo_type=KIND,
        revision=remote.commit,
        local_dir=staging,
        cache_dir=staging / ".cache",
        tqdm_class=bar_of(meter, name),
    )


def _may_pass(error: Exception) -> bool:
    """Whether another attempt may succeed: not after a refusal, nor where the disk is the cause."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500
    return getattr(error, "errno", None) is None


def _publish(remote: Remote, out: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Move what was fetched to its place; while that lasts the folder is an unfinished one."""
    staging, last = out / DOWNLOADING, (CHECKSUMS, IDENTITY)
    data = [name for name in names if name not in (CARD, *last)]
    if data:
        (out / IDENTITY).unlink(missing_ok=True)
    for name in [name for name in names if name not in last]:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(out / name)
    asked = remote.asked
    record = {
        "repository": asked.repository,
        "revision": asked.revision or "main",
        "commit": remote.commit,
        "files": sorted(wanted),
    }
    write_text(out / RECORD, canonical_json(record) + "\n")
    for name in last:
        (staging / name).replace(out / name)
    shutil.rmtree(staging)
