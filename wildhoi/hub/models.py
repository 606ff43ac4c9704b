"""Models of the Hub: the few files that a backbone is read from."""

from collections.abc import Sequence
from pathlib import Path


def fetch_model(repository: str, files: Sequence[str]) -> Path:
    """The folder of a model's files, from the Hub's cache or fetched into it.

    Args:
        repository: `user/name`.
        files: patterns of the files that are wanted.

    Raises:
        OSError, ValueError: as `huggingface_hub` does where it is neither in the cache nor to be had.
    """
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(repository, allow_patterns=list(files)))
