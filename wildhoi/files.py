"""Writing that is never half done, and the hashes that name what was read."""

import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from wildhoi.errors import InputError

UNFINISHED = ".unfinished"
"""Ends the name of the hidden folder that a file is in until it is whole."""
ONE_READ = 2**30  # bytes that a single read of a file is sure to give on Linux


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to `path` when the block ends well and removed when it does not.

    Args:
        path: the file to appear, complete or not at all; its folder is made if absent.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(UNFINISHED, f".{path.name}.", path.parent))
    temporary = folder / path.name
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        folder.rmdir()


def remove_unfinished(folder: Path, name: str = "*") -> None:
    """Remove what writers that were killed left of the files of a folder; for whoever alone writes to it.

    Args:
        folder: not what is below it; need not be there.
        name: of the file, if only one is meant.
    """
    for left in list(Path(folder).glob(f".{name}.*{UNFINISHED}")):
        shutil.rmtree(left, ignore_errors=True)


def require_writable(path: Path) -> None:
    """Refuse a folder that cannot be written, before long work is done for it; changes nothing.

    Raises:
        InputError: the folder, or the nearest one above it that exists, is a file or may not be written.
    """
    path = Path(path)
    above = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{path}: cannot be written ({above} is no writable folder); choose another with -o")


def require_new(path: Path) -> None:
    """Refuse a folder that holds something already, so that nothing is ever mixed with what was there.

    Raises:
        InputError: the path is a file, or a folder that is not empty.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path}: exists and is not empty; choose another folder, or remove it")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8, with the line ends given."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode())


def canonical_json(value: Any) -> str:
    """Serialise to the one JSON text that hashes are taken of: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def sha256_text(text: str) -> str:
    """Hash a text; hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Hash a file's bytes in blocks; hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_bytes(path: Path, limit: int, kind: str) -> bytes:
    """Read a file of at most `limit` bytes; `kind` is what messages call it.

    Raises:
        InputError: the file is absent, too large or cannot be read.
    """
    try:
        # unbuffered, at the size the open file states: half the time of `Path.read_bytes` on the many small files
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - Path.open costs as much as the reading
            size = os.fstat(stream.fileno()).st_size
            if size > limit:
                raise InputError(f"{path}: {kind} of {size} bytes, at most {limit} are read")
            return stream.read(size) if size < ONE_READ else stream.readall()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def require_size(path: Path, limit: int, kind: str) -> None:
    """Refuse a file of more than `limit` bytes; raises as `read_bytes` does, whose message it has."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if size > limit:
        raise InputError(f"{path}: {kind} of {size} bytes, at most {limit} are read")


def read_json(path: Path, limit: int = 64 * 2**20) -> Any:
    """Read a JSON file of at most `limit` bytes.

    Raises:
        InputError: the file is absent, too large, not UTF-8, not JSON, or with texts that are no Unicode.
    """
    try:
        text = read_bytes(path, limit, "JSON file").decode("utf-8-sig")
        content = json.loads(text)
        if "\\ud" in text or "\\uD" in text:  # half of a pair, which no file can hold nor hash be taken of
            json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(error.object[error.start]):X}"
        raise InputError(f"{path}: a text in it holds {half}, half of a pair that is no Unicode alone") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None
    return content


def read_toml(path: Path, limit: int = 2**20) -> dict[str, Any]:
    """Read a TOML file of at most `limit` bytes; its integers have 64 bits at most, as TOML has it.

    Raises:
        InputError: the file is absent, too large, not UTF-8 or not TOML.
    """
    try:
        content = tomllib.loads(read_bytes(path, limit, "TOML file").decode())
        _require_short_integers(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from None
    return content


def _require_short_integers(value: Any) -> None:
    """Refuse integers that Python takes and cannot even write down again: hexadecimal ones of any length."""
    if isinstance(value, int) and value.bit_length() > 63:
        raise ValueError("an integer of more than 64 bits")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _require_short_integers(part)
