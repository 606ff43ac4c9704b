"""What a target is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wildhoi.errors import WildhoiError


def put(path: Path, data: bytes) -> None:
    """Write an input where the parser looks for it."""
    path.write_bytes(data)


def nothing(folder: Path) -> None:
    """For targets that need no other file."""


@dataclass(frozen=True)
class Target:
    """A parser of foreign bytes.

    Attributes:
        name: of the target, and of its folder in the corpus.
        kind: of the files, which says how they are changed.
        parse: given the input's path and a folder for what is written; goes through a public entry point.
        seeds: valid small files, and hostile ones that are there anyway.
        file: the input's name.
        prepare: puts what belongs beside the input into its folder, once.
        place: writes an input, with what depends on its content.
        named: whether a refusal must name the file; parsers of bytes know no name.
    """

    name: str
    kind: str
    parse: Callable[[Path, Path], object]
    seeds: Callable[[], list[bytes]]
    file: str = "input"
    prepare: Callable[[Path], None] = nothing
    place: Callable[[Path, bytes], None] = put
    named: bool = True


def all_of(*parts):
    """Call every part, though one before it refuses; the last refusal counts."""
    refused = None
    for part in parts:
        try:
            part()
        except WildhoiError as error:
            refused = error
    if refused is not None:
        raise refused
