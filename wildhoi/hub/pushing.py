"""Publishing a data folder: what is checked before anything leaves, one commit, the gate before the data, and a tag."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import read_bytes, sha256_file
from wildhoi.hub import contents, naming
from wildhoi.hub.naming import KIND, Asked, access_url
from wildhoi.hub.progress import Meter, Progress
from wildhoi.hub.remote import RemoteFile, client, explained, list_files, list_tags
from wildhoi.hub.troubles import LOGIN, is_logged_in
from wildhoi.layout import CARD, CHECKSUMS

if TYPE_CHECKING:
    from wildhoi.dataset import DataFolder

Gate = Literal["auto", "manual"]
NEVER_PUBLIC = {
    "behave": "its licence forbids to pass on its images and registrations",
    "rhobin": "it holds registrations and templates of data sets whose licences forbid to pass them on",
}
BATCH = 32
MAX_CARD = 2**20


@dataclass(frozen=True)
class Change:
    """What a push does to one file; `size` in bytes."""

    name: str
    size: int
    what: Literal["new", "changed", "unchanged", "deleted"]


@dataclass(frozen=True)
class Pushed:
    """A push, or what one would do: `commit` is None where nothing was sent."""

    repository: str
    url: str
    commit: str | None
    tag: str | None
    private: bool
    gate: str | None
    changes: tuple[Change, ...]

    @property
    def sent(self) -> tuple[Change, ...]:
        """The files that are new or changed."""
        return tuple(change for change in self.changes if change.what in ("new", "changed"))

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return sum(change.size for change in self.sent)

    def to_dict(self) -> dict[str, Any]:
        """The push as plain data."""
        return {**asdict(self), "files": len(self.sent), "bytes": self.bytes}


@dataclass(frozen=True)
class Existing:
    """A repository as it is: where main is, who may see it, its tags and files."""

    head: str
    private: bool
    gate: str | None
    tags: Mapping[str, str]
    files: Mapping[str, RemoteFile]


def push(
    folder: Path,
    repository: str | None = None,
    *,
    private: bool = False,
    dry_run: bool = False,
    tag: str | None = None,
    gate: Gate | None = "auto",
    progress: Progress | None = None,
) -> Pushed:
    """Publish a data folder as one commit; files that the folder does not have are deleted from the repository.

    Args:
        folder: a finished data folder whose files are as recorded, with its card as README.md.
        repository: "owner/name", or a name of the owner's; None: the name of the data.
        private: make a new repository private; one that exists must be private already.
        dry_run: only say what would be done.
        tag: a name for the commit, such as "v1"; it must be new, or stand for this very commit.
        gate: who grants access, the Hub once the terms are accepted ("auto") or the owners ("manual"); None leaves the
            gate as it is.
        progress: told the file, the bytes done and the bytes of the whole.

    Raises:
        InputError: the folder is not as recorded or may not be public, or the tag stands for another commit.
        MissingAssetError: nobody is logged in, or the login may not write there.
        RunError: the Hub cannot be reached, or someone else has changed the repository meanwhile.
    """
    from wildhoi.dataset import find_data  # heavier than what a download needs

    data = find_data(Path(folder))
    asked = Asked(data.name, naming.repository(repository or data.name))
    _require_allowed(data.name, private=private)
    with explained(asked):
        files = _checked_files(data)
    _require_card(data.path / CARD)
    if not dry_run:
        _require_login(asked)
    existing = _find(asked)
    if existing and private and not existing.private:
        raise InputError(f"{asked.repository}: is public already; make it private at {access_url(asked.repository)}")
    changes = _compare(data, files, existing)
    _require_free(tag, existing, changes, asked)
    commit = None
    if not dry_run:
        existing = existing or _create(asked, private=private)
        commit = _send(asked, existing, data, changes, gate=gate, tag=tag, meter=Meter(_to_send(changes), progress))
    return Pushed(
        asked.repository,
        access_url(asked.repository),
        commit,
        tag,
        existing.private if existing else private,
        gate or (existing.gate if existing else None),
        changes,
    )


def _require_allowed(name: str, *, private: bool) -> None:
    """Refuse to make public what may not be passed on."""
    reasons = [reason for known, reason in NEVER_PUBLIC.items() if re.fullmatch(rf"{known}([-_.].*)?", name)]
    if reasons and not private:
        raise InputError(f"data set {name!r} must not be public: {reasons[0]}; --private keeps a copy for yourself")


def _checked_files(data: "DataFolder") -> dict[str, Path]:
    """The files of a folder, every one of them as recorded.

    Raises:
        InputError: a file is changed, not listed, gone, a link, or not one that a data folder has.
    """
    there = contents.files_of(data.path)
    listed, free = set(data.checksums), {CARD, CHECKSUMS}
    defects = {
        "are links": [name for name in there if (data.path / name).is_symlink()],
        "are no files of a data folder": [name for name in (*there, *listed) if not contents.is_data_file(name)],
        "are not listed": sorted(set(there) - listed - free),
        "are missing": sorted(listed - set(there)),
    }
    if not any(defects.values()):
        defects["are changed"] = contents.altered(data.path, sorted(listed), data.checksums)
    found = [f"{contents.in_words(names)} {what}" for what, names in defects.items() if names]
    if found:
        raise InputError(f"{data.path}: not as {CHECKSUMS} says: {'; '.join(found)}; convert or download it anew")
    return {name: data.path / name for name in there}


def _require_card(path: Path) -> None:
    """Refuse a card whose YAML head lists no configs; that the head is good YAML, the Hub checks."""
    text = read_bytes(path, MAX_CARD, "data set card").decode("utf-8-sig", errors="replace")
    head = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
    if not head or not re.search(r"^configs:\s*\n\s*-\s+config_name:", head[1], re.MULTILINE):
        raise InputError(f"{path}: want a data set card with a YAML head (between two lines ---) that lists configs")


def _require_login(asked: Asked) -> None:
    if not is_logged_in():
        raise MissingAssetError(f"{asked.repository}: to publish, {LOGIN} with a token that has write access")


def _find(asked: Asked) -> Existing | None:
    """The repository as it is, None where there is none that this login can see."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    with explained(asked):
        try:
            info = client().repo_info(asked.repository, repo_type=KIND)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return None
    files = list_files(asked, str(info.sha))
    return Existing(str(info.sha), bool(info.private), info.gated or None, list_tags(asked), files)


def _compare(data: "DataFolder", files: Mapping[str, Path], existing: Existing | None) -> tuple[Change, ...]:
    """What a push of these files does; the Hub's own settings and hidden files stay."""
    remote = existing.files if existing else {}
    changes = []
    for name, path in files.items():
        what: Literal["new", "changed", "unchanged"] = "new"
        if name in remote:
            what = "unchanged" if _is_same(path, remote[name], data.checksums.get(name)) else "changed"
        changes.append(Change(name, path.stat().st_size, what))
    gone = [name for name in remote if name not in files and not name.startswith(".")]
    return (*changes, *(Change(name, remote[name].size, "deleted") for name in gone))


def _is_same(path: Path, remote: RemoteFile, sha256: str | None) -> bool:
    """Whether a file, of that hash where it is known, is what the repository holds."""
    if path.stat().st_size != remote.size:
        return False
    if remote.sha256 is not None:
        return remote.sha256 == (sha256 or sha256_file(path))
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == remote.git_blob


def _require_free(tag: str | None, existing: Existing | None, changes: Sequence[Change], asked: Asked) -> None:
    """Refuse a tag that stands for something else, before anything is sent."""
    held = existing.tags.get(tag) if existing and tag else None
    if existing and held and (held != existing.head or any(change.what != "unchanged" for change in changes)):
        raise InputError(f"{asked.repository}: tag {tag} stands for commit {held} already; choose another with --tag")


def _create(asked: Asked, *, private: bool) -> Existing:
    """A new repository."""
    with explained(asked):
        client().create_repo(asked.repository, repo_type=KIND, private=private, exist_ok=True)
        info = client().repo_info(asked.repository, repo_type=KIND)
    return Existing(str(info.sha), bool(info.private), None, {}, {})


def _send(
    asked: Asked,
    existing: Existing,
    data: "DataFolder",
    changes: Sequence[Change],
    *,
    gate: Gate | None,
    tag: str | None,
    meter: Meter,
) -> str:
    """Set the gate, send the commit, set the tag, in this order; the commit that main then is."""
    hub = client()
    with explained(asked):
        if gate:
            hub.update_repo_settings(asked.repository, repo_type=KIND, gated=gate)
        commit = existing.head
        if any(change.what != "unchanged" for change in changes):
            commit = _commit(asked, existing.head, data, changes, meter)
        if tag and tag not in existing.tags:
            hub.create_tag(asked.repository, repo_type=KIND, tag=tag, revision=commit)
    return commit


def _commit(asked: Asked, head: str, data: "DataFolder", changes: Sequence[Change], meter: Meter) -> str:
    """Send the files in batches, which a second attempt need not send again, then the one commit that shows them."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    hub = client()
    sent = [change for change in changes if change.what in ("new", "changed")]
    additions: list[CommitOperationAdd] = []
    for batch in (sent[start : start + BATCH] for start in range(0, len(sent), BATCH)):
        operations = [CommitOperationAdd(change.name, str(data.path / change.name)) for change in batch]
        hub.preupload_lfs_files(asked.repository, additions=operations, repo_type=KIND, free_memory=False)
        additions += operations
        for change in batch:
            meter.add(change.name, change.size)
    deletions = [CommitOperationDelete(change.name) for change in changes if change.what == "deleted"]
    done = hub.create_commit(
        asked.repository,
        operations=[*additions, *deletions],
        commit_message=f"{data.name} {data.revision}",
        repo_type=KIND,
        parent_commit=head,
    )
    return done.oid


def _to_send(changes: Sequence[Change]) -> int:
    return sum(change.size for change in changes if change.what in ("new", "changed"))
