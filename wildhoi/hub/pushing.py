"""Publishing a data folder: what is checked before anything leaves, one commit, the gate before the data, and a tag."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wildhoi.errors import InputError
from wildhoi.files import read_bytes
from wildhoi.hub import contents, naming
from wildhoi.hub.committing import (
    Change,
    Existing,
    Sent,
    compare_files,
    create_repository,
    find_repository,
    require_login,
    require_private,
    send_commit,
    size_of,
)
from wildhoi.hub.naming import KIND, Asked, access_url
from wildhoi.hub.progress import Meter, Progress
from wildhoi.hub.remote import client, explained, list_tags
from wildhoi.layout import CARD, CHECKSUMS

if TYPE_CHECKING:
    from wildhoi.dataset import DataFolder

Gate = Literal["auto", "manual"]
NEVER_PUBLIC = {
    "behave": "its licence forbids to pass on its images and registrations",
    "rhobin": "it holds registrations and templates of data sets whose licences forbid to pass them on",
}
MAX_CARD = 2**20


@dataclass(frozen=True)
class Pushed(Sent):
    """A push of data, or what one would do."""

    tag: str | None
    gate: str | None


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
        require_login(asked)
    existing = find_repository(asked)
    require_private(asked, existing, private=private)
    changes = compare_files(files, existing, data.checksums, delete=True)
    free = _free_tag(tag, existing, changes, asked)
    commit = None
    if not dry_run:
        existing, meter = existing or create_repository(asked, private=private), Meter(size_of(changes), progress)
        commit = _send(asked, existing.head, data, changes, gate=gate, tag=free, meter=meter)
    return Pushed(
        asked.repository,
        access_url(asked.repository),
        commit,
        existing.private if existing else private,
        changes,
        tag,
        gate or (existing.gate if existing else None),
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


def _free_tag(tag: str | None, existing: Existing | None, changes: Sequence[Change], asked: Asked) -> str | None:
    """The tag that is still to be made; refuses one that stands for something else, before anything is sent."""
    if not existing or not tag:
        return tag
    held = list_tags(asked).get(tag)
    if held and (held != existing.head or any(change.what != "unchanged" for change in changes)):
        raise InputError(f"{asked.repository}: tag {tag} stands for commit {held} already; choose another with --tag")
    return None if held else tag


def _send(
    asked: Asked,
    head: str,
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
        commit = head
        if any(change.what != "unchanged" for change in changes):
            files = {change.name: data.path / change.name for change in changes}
            commit = send_commit(asked, head, files, changes, f"{data.name} {data.revision}", meter).oid
        if tag:
            hub.create_tag(asked.repository, repo_type=KIND, tag=tag, revision=commit)
    return commit
