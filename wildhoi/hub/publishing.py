"""Publishing a submission: its files beside what a model's repository holds, as one commit or one pull request.

The repository is a model's: the Hub reads results from those alone, and a method's weights may lie in the same place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wildhoi.errors import InputError, MissingAssetError
from wildhoi.hub import naming
from wildhoi.hub.committing import (
    Change,
    Content,
    Existing,
    Sent,
    compare_files,
    create_repository,
    find_repository,
    require_login,
    require_private,
    send_commit,
    size_of,
    to_send,
)
from wildhoi.hub.naming import Asked, access_url
from wildhoi.hub.progress import Meter, Progress
from wildhoi.hub.remote import client, explained
from wildhoi.layout import CARD

MADE = "<!-- made by `wildhoi submission push`: a later push replaces this page -->"
MAX_CARD = 2**20


@dataclass(frozen=True)
class Published(Sent):
    """A push of a submission, or what one would do; `kept` are files that are somebody's own and stay."""

    pull_request: str | None
    kept: tuple[str, ...]


def push_files(
    files: Mapping[str, Content],
    repository: str,
    message: str,
    *,
    private: bool = False,
    create_pr: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Published:
    """Publish files in a model's repository; nothing else that is there is touched, nor a card that others wrote.

    Args:
        files: by their names in the repository.
        repository: "owner/name".
        message: of the commit.
        private: make a new repository private; one that exists must be private already.
        create_pr: open a pull request instead of changing main.
        dry_run: only say what would be done.
        progress: told the file, the bytes done and the bytes of the whole.

    Raises:
        InputError: the name is no repository's, or what is to be private is public already.
        MissingAssetError: nobody is logged in, the login may not write there, or a pull request has no repository.
        RunError: the Hub cannot be reached, or someone else has changed the repository meanwhile.
    """
    if "/" not in repository:
        raise InputError(f"{repository!r}: want the repository as OWNER/NAME")
    asked = Asked(repository, naming.repository(repository), kind="model")
    if not dry_run:
        require_login(asked)
    existing = find_repository(asked)
    _require_possible(asked, existing, private=private, create_pr=create_pr)
    kept = (CARD,) if existing and CARD in files and _is_foreign_card(asked, existing) else ()
    own = {name: content for name, content in files.items() if name not in kept}
    with explained(asked):
        changes = compare_files(own, existing, {}, delete=False)
    commit = pull_request = None
    if not dry_run:
        existing = existing or create_repository(asked, private=private)
        commit, pull_request = _send(asked, existing, own, changes, message, progress, create_pr=create_pr)
    return Published(
        asked.repository,
        access_url(asked.repository, asked.kind),
        commit,
        existing.private if existing else private,
        changes,
        pull_request,
        kept,
    )


def _require_possible(asked: Asked, existing: Existing | None, *, private: bool, create_pr: bool) -> None:
    require_private(asked, existing, private=private)
    if create_pr and existing is None:
        raise MissingAssetError(
            f"{asked.repository}: no such repository that this login can see, so none to open a pull request in; "
            "without --create-pr it is made"
        )


def _is_foreign_card(asked: Asked, existing: Existing) -> bool:
    """Whether the repository has a card that no push of ours has made."""
    if CARD not in existing.files:
        return False
    if existing.files[CARD].size > MAX_CARD:
        return True
    with explained(asked):
        path = client().hf_hub_download(asked.repository, CARD, repo_type=asked.kind, revision=existing.head)
        return MADE.encode() not in Path(path).read_bytes()


def _send(
    asked: Asked,
    existing: Existing,
    files: Mapping[str, Content],
    changes: tuple[Change, ...],
    message: str,
    progress: Progress | None,
    *,
    create_pr: bool,
) -> tuple[str | None, str | None]:
    """The commit that shows the files, and the address of its pull request; none of both where all is there already."""
    if not to_send(changes):
        return (None if create_pr else existing.head), None
    meter = Meter(size_of(changes), progress)
    with explained(asked):
        done = send_commit(asked, existing.head, files, changes, message, meter, create_pr=create_pr)
    return done.oid, done.pr_url
