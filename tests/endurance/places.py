"""Disks that can be filled: small file systems in memory, where the tests may mount them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path]:
    """A file system of so many bytes; skips the test where none may be mounted."""
    place.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size}", "none", place)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def remount(place: Path, options: str) -> None:
    """Make a file system larger, or read-only."""
    _mount("-o", f"remount,{options}", place)


def _mount(*words: object) -> None:
    try:
        done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs the program mount")
    if done.returncode:
        pytest.skip(f"needs the right to mount a file system ({done.stderr.strip()})")


def used(folder: Path) -> int:
    """Bytes that the files of a folder take on a disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
