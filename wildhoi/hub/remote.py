"""Repositories on the Hub: the commit that a revision stands for, the files and the tags."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from logging import ERROR
from pathlib import Path
from typing import TYPE_CHECKING

from wildhoi.errors import MissingAssetError, RunError
from wildhoi.hub.naming import Asked, endpoint, is_offline, repository
from wildhoi.hub.troubles import explain, line_error

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MAX_FILES = 100_000
TIMEOUT = 60.0
COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: bytes, and the hashes it is known by; `sha256` only where it is kept as a large file."""

    size: int
    git_blob: str
    sha256: str | None


def client() -> "HfApi":
    """The Hub as the environment describes it now."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint())


def resolve(name: str, revision: str | None = None) -> tuple[str, str]:
    """The repository of a data set and the commit that a revision (a branch, tag or commit; None: main) stands for now.

    Offline it is the last commit seen.

    Raises:
        InputError: the name cannot be a repository's.
        MissingAssetError: the repository or the revision is absent, gated or closed to this login.
        RunError: the Hub cannot be reached.
    """
    asked = Asked(name, repository(name), revision)
    return asked.repository, pin(asked)


def pin(asked: Asked) -> str:
    """The commit that is asked for; raises as `resolve` does."""
    from huggingface_hub.errors import RevisionNotFoundError

    with explained(asked):
        try:
            return _commit(asked)
        except RevisionNotFoundError:
            pass
    tags = ", ".join(list_tags(asked)) or "none"
    raise MissingAssetError(f"{asked}: {asked.repository} has no such revision; tags: {tags}; main is the newest state")


def _commit(asked: Asked) -> str:
    hub = client()
    if is_offline():
        return _remembered(hub, asked, offline=True)
    hub.auth_check(asked.repository, repo_type=asked.kind)
    if COMMIT.fullmatch(asked.revision or ""):  # which `resolve_revision` takes at its word
        return str(hub.repo_info(asked.repository, repo_type=asked.kind, revision=asked.revision, timeout=TIMEOUT).sha)
    return _remembered(hub, asked, offline=False)


def _remembered(hub: "HfApi", asked: Asked, *, offline: bool) -> str:
    """The commit, by way of the library's cache, so that it can be named offline too."""
    found = hub.resolve_revision(
        asked.repository, repo_type=asked.kind, revision=asked.revision, local_files_only=offline
    )
    return found.resolved


def list_names(name: str, commit: str) -> list[str]:
    """The paths of the files of a data set at a commit; raises as `resolve` does."""
    return sorted(list_files(Asked(name, repository(name), commit), commit))


def fetch(name: str, patterns: Sequence[str], revision: str | None = None) -> tuple[str, Path, list[str]]:
    """Fetch files of a data set into the library's cache, with its progress bars; those that are there are kept.

    Args:
        name: a data set or a repository.
        patterns: of their paths in the repository, such as `annotations/*/test-*.parquet`.
        revision: a branch, tag or commit; None: main.

    Returns:
        what they are of, for messages, the folder they are in, and their paths in it, sorted.

    Raises:
        InputError, MissingAssetError, RunError: as `resolve` does.
    """
    from huggingface_hub import snapshot_download

    asked = Asked(name, repository(name), revision)
    commit = pin(asked)
    with explained(asked, quiet=False):
        folder = snapshot_download(
            asked.repository,
            repo_type=asked.kind,
            revision=commit,
            allow_patterns=list(patterns),
            endpoint=endpoint(),
            local_files_only=is_offline(),
        )
    names = {path.relative_to(folder).as_posix() for pattern in patterns for path in Path(folder).glob(pattern)}
    return f"{asked.repository} at {commit[:12]}", Path(folder), sorted(names)


def list_files(asked: Asked, commit: str) -> dict[str, RemoteFile]:
    """The files of a repository at a commit; raises as `resolve` does."""
    from huggingface_hub.hf_api import RepoFile

    with explained(asked):
        tree = client().list_repo_tree(asked.repository, repo_type=asked.kind, revision=commit, recursive=True)
        items = list(islice(tree, MAX_FILES + 1))
    if len(items) > MAX_FILES:
        raise RunError(f"{asked}: lists more than {MAX_FILES} files, which no data set has; it is left alone")
    return {
        item.path: RemoteFile(item.size, item.blob_id, item.lfs.sha256 if item.lfs else None)
        for item in items
        if isinstance(item, RepoFile)
    }


def list_tags(asked: Asked) -> dict[str, str]:
    """The tags of a repository and the commits they stand for; raises as `resolve` does."""
    with explained(asked):
        refs = client().list_repo_refs(asked.repository, repo_type=asked.kind)
    return {tag.name: tag.target_commit for tag in refs.tags}


@contextmanager
def explained(asked: Asked, *, quiet: bool = True) -> Iterator[None]:
    """Turn what the Hub, the line or the disk answers inside the block into one message that says the way out."""
    from huggingface_hub.errors import RevisionResolutionError

    try:
        with _quiet() if quiet else nullcontext():
            yield
    except (line_error(), OSError, ValueError, RuntimeError, RevisionResolutionError) as error:
        raise explain(error, asked) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's own bars and warnings off the terminal: the caller shows progress, messages say the rest."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    verbosity, silent = logging.get_verbosity(), are_progress_bars_disabled()
    logging.set_verbosity(ERROR)
    disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Not enough free disk space")  # which is refused in our words
            warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")  # a submission's
            yield
    finally:
        logging.set_verbosity(verbosity)
        if not silent:
            enable_progress_bars()
