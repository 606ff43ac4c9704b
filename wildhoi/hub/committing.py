"""One commit to a repository of the Hub: what is there, what would change, and the sending of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import sha256_file
from wildhoi.hub.naming import Asked, access_url
from wildhoi.hub.progress import Meter
from wildhoi.hub.remote import RemoteFile, client, explained, list_files
from wildhoi.hub.troubles import LOGIN, is_logged_in

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, CommitOperationAdd

BATCH = 32
Content = Path | bytes
"""A file to send: where it lies, or what is in it."""


@dataclass(frozen=True)
class Change:
    """What a push does to one file; `size` in bytes."""

    name: str
    size: int
    what: Literal["new", "changed", "unchanged", "deleted"]


@dataclass(frozen=True)
class Sent:
    """What a push did, or would do: `commit` is None where nothing was sent."""

    repository: str
    url: str
    commit: str | None
    private: bool
    changes: tuple[Change, ...]

    @property
    def sent(self) -> tuple[Change, ...]:
        """The files that are new or changed."""
        return to_send(self.changes)

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return size_of(self.changes)

    def to_dict(self) -> dict[str, Any]:
        """The push as plain data."""
        return {**asdict(self), "files": len(self.sent), "bytes": self.bytes}


@dataclass(frozen=True)
class Existing:
    """A repository as it is: where main is, who may see it, its files."""

    head: str
    private: bool
    gate: str | None
    files: Mapping[str, RemoteFile]


def to_send(changes: Sequence[Change]) -> tuple[Change, ...]:
    """The files that are new or changed."""
    return tuple(change for change in changes if change.what in ("new", "changed"))


def size_of(changes: Sequence[Change]) -> int:
    """The bytes of the files that are new or changed."""
    return sum(change.size for change in to_send(changes))


def require_login(asked: Asked) -> None:
    """Refuse to begin where nobody is logged in."""
    if not is_logged_in():
        raise MissingAssetError(f"{asked.repository}: to publish, {LOGIN} with a token that has write access")


def find_repository(asked: Asked) -> Existing | None:
    """The repository as it is, None where there is none that this login can see."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    with explained(asked):
        try:
            info = client().repo_info(asked.repository, repo_type=asked.kind)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return None
    return Existing(str(info.sha), bool(info.private), info.gated or None, list_files(asked, str(info.sha)))


def require_private(asked: Asked, existing: Existing | None, *, private: bool) -> None:
    """Refuse to put what is to be private where everybody sees it."""
    if existing and private and not existing.private:
        page = access_url(asked.repository, asked.kind)
        raise InputError(f"{asked.repository}: is public already; make it private at {page}")


def create_repository(asked: Asked, *, private: bool) -> Existing:
    """A new repository."""
    with explained(asked):
        client().create_repo(asked.repository, repo_type=asked.kind, private=private, exist_ok=True)
        info = client().repo_info(asked.repository, repo_type=asked.kind)
    return Existing(str(info.sha), bool(info.private), None, {})


def compare_files(
    files: Mapping[str, Content], existing: Existing | None, known: Mapping[str, str], *, delete: bool
) -> tuple[Change, ...]:
    """What a push of these files does; the Hub's own settings and hidden files stay.

    Args:
        files: by their names in the repository.
        existing: the repository, None for a new one.
        known: sha256 of some of them, so that they need not be read again.
        delete: whether what is there and not among them goes.
    """
    remote = existing.files if existing else {}
    changes = []
    for name, content in files.items():
        what: Literal["new", "changed", "unchanged"] = "new"
        if name in remote:
            what = "unchanged" if _is_same(content, remote[name], known.get(name)) else "changed"
        changes.append(Change(name, _size(content), what))
    gone = [name for name in remote if name not in files and not name.startswith(".")] if delete else []
    return (*changes, *(Change(name, remote[name].size, "deleted") for name in gone))


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _is_same(content: Content, remote: RemoteFile, sha256: str | None) -> bool:
    """Whether a file, of that hash where it is known, is what the repository holds."""
    if _size(content) != remote.size:
        return False
    if remote.sha256 is not None:
        return remote.sha256 == (sha256 or _sha256(content))
    held = content if isinstance(content, bytes) else content.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(held) + held, usedforsecurity=False).hexdigest() == remote.git_blob


def _sha256(content: Content) -> str:
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else sha256_file(content)


def send_commit(
    asked: Asked,
    head: str,
    files: Mapping[str, Content],
    changes: Sequence[Change],
    message: str,
    meter: Meter,
    *,
    create_pr: bool = False,
) -> "CommitInfo":
    """Send the files in batches, which a second attempt need not send again, then the one commit that shows them.

    With `create_pr` the commit is a pull request, which asks for no right to write.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    hub, sent = client(), to_send(changes)
    additions: list[CommitOperationAdd] = []
    for batch in (sent[start : start + BATCH] for start in range(0, len(sent), BATCH)):
        operations = [_addition(change.name, files[change.name]) for change in batch]
        hub.preupload_lfs_files(
            asked.repository, additions=operations, repo_type=asked.kind, free_memory=False, create_pr=create_pr
        )
        additions += operations
        for change in batch:
            meter.add(change.name, change.size)
    deletions = [CommitOperationDelete(change.name) for change in changes if change.what == "deleted"]
    return hub.create_commit(
        asked.repository,
        operations=[*additions, *deletions],
        commit_message=message,
        repo_type=asked.kind,
        parent_commit=head,
        create_pr=create_pr,
    )


def _addition(name: str, content: Content) -> "CommitOperationAdd":
    from huggingface_hub import CommitOperationAdd

    return CommitOperationAdd(name, content if isinstance(content, bytes) else str(content))
