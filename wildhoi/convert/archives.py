"""Reading a member of a zip archive of unknown origin: into memory, within limits, nothing unpacked onto the disk."""

import io
import os
import re
import stat
import zlib
from pathlib import Path
from struct import error as StructError
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from wildhoi.convert.pickle_arrays import clip
from wildhoi.errors import InputError
from wildhoi.files import require_size

MAX_BYTES = 512 * 2**20
MAX_RATIO = 200
SMALL = 2**20  # bytes that any ratio may unpack to
CHUNK = 2**20
MAX_DIRECTORY = 2**22  # bytes of the list of members: each takes half a kilobyte of memory per 46 bytes
METHODS = (ZIP_STORED, ZIP_DEFLATED)  # bzip2 and LZMA unpack gigabytes of a few bytes in one step
ENCRYPTED = 0x1
# what zipfile raises; NotImplementedError: packed by a version it does not know, RuntimeError: encrypted
DAMAGED = (BadZipFile, zlib.error, StructError, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)
TRICKS = re.compile(r"[\\\x00-\x1f]|^/|^[A-Za-z]:|(^|/)\.\.(/|$)")
SHOWN = 5


class Bounded(io.FileIO):
    """An archive that refuses to hand out a large list of members."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file does; raises BadZipFile where it is more than any list of members takes."""
        left = os.fstat(self.fileno()).st_size - self.tell()
        if (left if size is None or size < 0 else min(size, left)) > MAX_DIRECTORY:
            raise BadZipFile(f"a list of members of more than {MAX_DIRECTORY} bytes")
        return super().read(size)


def read_member(path: Path, name: str, *, max_bytes: int = MAX_BYTES, max_ratio: int = MAX_RATIO) -> bytes:
    """Read the one file called `name`, in whichever folder of a zip archive it lies.

    Args:
        path: the archive.
        name: the file's own name, without a folder.
        max_bytes: limit of the archive, of the size the member claims and of the size it has.
        max_ratio: limit of the member's size by its packed size, where it is over a megabyte.

    Raises:
        InputError: not a zip archive, damaged, no such member or several, or any member that is not an ordinary one.
    """
    require_size(path, max_bytes, "zip archive")
    try:
        with Bounded(path) as stream, ZipFile(stream) as archive:
            member = _find(path, name, archive.infolist())
            _check_size(path, member, max_bytes, max_ratio)
            return bytes(unpack(archive, member))
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: not a readable zip archive ({reason}); pack {name} again") from None


def _find(path: Path, name: str, members: list[ZipInfo]) -> ZipInfo:
    """The one member of a name, after a look at all of them."""
    for member in members:
        if trick := trick_of(member):
            shown = clip(member.orig_filename)
            raise InputError(f"{path}: holds {shown}, {trick}; want an archive of ordinary files, nothing was unpacked")
    found = [member for member in members if member.filename.rpartition("/")[2] == name]
    if len(found) == 1:
        return found[0]
    listed = [clip(member.orig_filename) for member in found or members]
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    there = f"{', '.join(listed[:SHOWN])}{more}" if listed else "nothing"
    raise InputError(f"{path}: holds {there}, want {'only one' if found else 'a'} {name}")


def trick_of(member: ZipInfo) -> str | None:
    """What is wrong with a member; None for an ordinary file or folder."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if TRICKS.search(member.orig_filename):
        return "which is not a plain path inside the archive"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "which is a link or a device"
    if member.flag_bits & ENCRYPTED:
        return "which is encrypted"
    return None if member.compress_type in METHODS else f"packed by method {member.compress_type} (want deflate)"


def _check_size(path: Path, member: ZipInfo, max_bytes: int, max_ratio: int) -> None:
    """Refuse a member by what it says of itself."""
    if member.file_size > max_bytes:
        raise InputError(f"{path}: {clip(member.filename)} of {member.file_size} bytes, at most {max_bytes} are read")
    if member.file_size > max(SMALL, max_ratio * member.compress_size):
        raise InputError(
            f"{path}: {clip(member.filename)} unpacks {member.compress_size} bytes to {member.file_size}, more than "
            f"{max_ratio} times as many; give the file itself if it is not a trap"
        )


def unpack(archive: ZipFile, member: ZipInfo) -> bytearray:
    """The bytes of a member; raises BadZipFile where they are not as many as it says."""
    content = bytearray()
    with archive.open(member) as stream:
        while chunk := stream.read(CHUNK):
            content += chunk
    if len(content) != member.file_size:
        raise BadZipFile(f"{clip(member.filename)} ends after {len(content)} of {member.file_size} bytes")
    return content
