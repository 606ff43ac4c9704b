"""Lists of key frames: which images of which sequences a score is taken over."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildhoi.convert.behave_release.facts import first_part, parse_sequence
from wildhoi.convert.safe_pickle import load_pickle
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import read_bytes, read_json

MAX_BYTES = 64 * 2**20
ENTRY = re.compile(r"(?:.*/)?([^/]+)/(t0\d{3}\.\d{3})/k([0-3])\.color\.jpg", re.ASCII | re.DOTALL)


@dataclass(frozen=True, order=True)
class KeyFrame:
    """An image: its sequence (the first part, where it was cut in two), frame and camera."""

    sequence: str
    frame: str
    camera: int

    @property
    def image_id(self) -> str:
        """The id of the image, with milliseconds."""
        return parse_sequence(self.sequence).image_id(self.frame, self.camera, whole_seconds=False)


def read_key_frames(path: Path) -> list[KeyFrame]:
    """Read a list of `SEQ/tNNNN.MMM/kK.color.jpg`: a pickle or JSON of one list or lists by split, or lines of text.

    Args:
        path: .pkl, .json or .txt; entries that are there twice count once.

    Raises:
        MissingAssetError: there is no such file.
        InputError: the file holds something else; names an entry.
    """
    if not path.is_file():
        raise MissingAssetError(f"{path}: no such file; the lists come with VisTracker's split archive")
    entries = _entries(path)
    found = set()
    for entry in entries:
        match = ENTRY.fullmatch(entry) if isinstance(entry, str) else None
        if match is None:
            wanted = "text such as Date03_Sub03_object/t0003.000/k1.color.jpg"
            raise InputError(f"{path}: entry {str(entry)[:80]!a}, want {wanted}")
        name = first_part(match[1])
        try:
            parse_sequence(name)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        found.add(KeyFrame(name, match[2], int(match[3])))
    if not found:
        raise InputError(f"{path}: lists no image")
    return sorted(found)


def _entries(path: Path) -> list[Any]:
    if path.suffix.lower() == ".txt":
        text = read_bytes(path, MAX_BYTES, "list").decode("utf-8", "replace")
        return [line.strip() for line in text.splitlines() if line.strip()]
    if path.suffix.lower() not in (".pkl", ".json"):
        raise InputError(f"{path}: want a list of key frames as .pkl, .json or .txt")
    pickled = path.suffix.lower() == ".pkl"
    content = load_pickle(path, max_bytes=MAX_BYTES) if pickled else read_json(path, MAX_BYTES)
    lists = list(content.values()) if isinstance(content, dict) else [content]
    if not all(isinstance(entries, list) for entries in lists):
        raise InputError(f'{path}: want a list of images, or {{"train": [...], "test": [...]}}')
    return [entry for entries in lists for entry in entries]
