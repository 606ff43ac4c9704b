import io
import stat
import struct
import zipfile
import zlib

import numpy as np
import pytest

from wildhoi.convert.archives import MAX_DIRECTORY, read_member
from wildhoi.errors import InputError

NAME = "results.pkl"


def pack(path, *members, method=zipfile.ZIP_DEFLATED):
    """A zip archive of (name or ZipInfo, content)."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content, compress_type=method)
    return path


def info(name, mode=0, system=3):
    made = zipfile.ZipInfo(name)
    made.create_system, made.external_attr = system, mode << 16
    return made


def edit(path, offset_in_directory, fmt, value, *, local=None):
    """Overwrite a field of the first member in the list of members, and in its own header where it is there too."""
    data = bytearray(path.read_bytes())
    struct.pack_into(fmt, data, data.index(b"PK\x01\x02") + offset_in_directory, value)
    if local is not None:
        struct.pack_into(fmt, data, local, value)
    path.write_bytes(bytes(data))
    return path


def refused(path, *parts, **limits):
    with pytest.raises(InputError) as caught:
        read_member(path, NAME, **limits)
    message = str(caught.value)
    assert "\n" not in message and path.name in message and all(part in message for part in parts), message


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("folder", ["", "submission/", "a/b/c/"])
def test_the_member_is_read_at_any_depth_whatever_lies_beside_it(tmp_path, method, folder):
    content = np.random.default_rng(0).bytes(2_500_000)
    beside = [("readme.txt", "hello"), ("__MACOSX/._results.pkl", "junk"), ("results.pkl.txt", "x"), ("empty/", "")]
    path = pack(tmp_path / "a.zip", *beside, (folder + NAME, content), method=method)
    assert read_member(path, NAME) == content
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_an_empty_member_is_empty(tmp_path):
    assert read_member(pack(tmp_path / "a.zip", (NAME, b"")), NAME) == b""


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("path_escape", ["'../escaped.txt'", "not a plain path"]),
        ("zeros_10mb", ["9732 bytes to 10000000", "200 times"]),
        ("no_results", ["holds 'other.txt', want a results.pkl"]),
        ("not_a_zip", ["not a readable zip archive"]),
    ],
)
def test_hostile_archives_are_refused(fixtures_dir, tmp_path, monkeypatch, name, parts):
    monkeypatch.chdir(tmp_path)
    refused(fixtures_dir / "hostile" / f"{name}.zip", *parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "/etc/x",
        "../x",
        "a/../../x",
        "a/..",
        "a\\b",
        "C:/x",
        "c:x",
        "\\\\host\\x",
        "a\nb",
        "/results.pkl",
        "..\\x",
        "a\x00.txt",
    ],
)
def test_paths_that_lead_elsewhere_are_refused_wherever_they_are(tmp_path, name):
    # as written by a tool that does not tidy names up
    placeholder = "x" * len(name.encode())
    path = pack(tmp_path / "a.zip", (NAME, b"fine"), (placeholder, b"bad"))
    path.write_bytes(path.read_bytes().replace(placeholder.encode(), name.encode()))
    refused(path, "nothing was unpacked")


@pytest.mark.parametrize("name", ["a..b/x", "...", "x..", "ab:c/d", "ü/é.txt"])
def test_odd_but_plain_names_are_none_of_our_business(tmp_path, name):
    assert read_member(pack(tmp_path / "a.zip", (name, b"x"), (NAME, b"fine")), NAME) == b"fine"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path, kind):
    refused(pack(tmp_path / "a.zip", (info(NAME, kind | 0o777), b"/etc/passwd")), "a link or a device")
    refused(pack(tmp_path / "b.zip", (info("x", kind | 0o777), b"/etc"), (NAME, b"fine")), "a link or a device")


def test_ordinary_file_modes_are_fine(tmp_path):
    path = pack(tmp_path / "a.zip", (info("d/", stat.S_IFDIR | 0o755), b""), (info(NAME, stat.S_IFREG | 0o644), b"x"))
    assert read_member(path, NAME) == b"x"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_several_of_the_name_are_refused(tmp_path):
    refused(pack(tmp_path / "a.zip", (NAME, b"1"), (f"b/{NAME}", b"2")), "'b/results.pkl', want only one")
    refused(pack(tmp_path / "b.zip", (NAME, b"1"), (NAME, b"2")), "want only one")
    refused(pack(tmp_path / "c.zip", (f"{NAME}/", b""), ("other", b"")), "want a results.pkl")


def test_an_archive_of_nothing_and_of_much(tmp_path):
    refused(pack(tmp_path / "a.zip"), "holds nothing")
    refused(pack(tmp_path / "b.zip", *((str(k), b"") for k in range(9))), "'4' and 4 more")


def test_encrypted_members_are_refused(tmp_path):
    refused(edit(pack(tmp_path / "a.zip", (NAME, b"secret")), 8, "<H", 1, local=6), "encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_bound_are_refused(tmp_path, method):
    refused(pack(tmp_path / "a.zip", (NAME, b"x" * 100), method=method), f"method {int(method)}")


def test_sizes_are_limited_as_claimed_and_as_they_are(tmp_path):
    path = pack(tmp_path / "a.zip", (NAME, bytes(1000)))
    assert len(read_member(path, NAME, max_bytes=1000)) == 1000
    refused(path, "1000 bytes, at most 999", max_bytes=999)
    refused(path, "zip archive of", "at most 50", max_bytes=50)
    refused(edit(path, 24, "<I", 10), "not a readable zip archive")  # claims less than it has
    path = pack(tmp_path / "b.zip", (NAME, bytes(1000)))
    refused(edit(path, 24, "<I", 2000), "ends after 1000 of 2000")  # claims more


def test_a_small_member_may_be_packed_tightly(tmp_path):
    assert read_member(pack(tmp_path / "a.zip", (NAME, bytes(2**20))), NAME) == bytes(2**20)
    refused(pack(tmp_path / "b.zip", (NAME, bytes(2**20 + 1))), "times as many")


def test_a_lying_bomb_is_never_unpacked_beyond_its_claim(tmp_path):
    bomb = pack(tmp_path / "a.zip", (NAME, bytes(50 * 2**20)))
    refused(edit(bomb, 24, "<I", 2**19), "not a readable zip archive")


def test_damage_is_one_clear_error(tmp_path):
    path = pack(tmp_path / "a.zip", (NAME, bytes(range(256)) * 40))
    whole = path.read_bytes()
    for cut in (1, 10, 22, 60, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:-cut])
        refused(path, "not a readable zip archive")
    spoilt = bytearray(whole)
    spoilt[60] ^= 0xFF
    path.write_bytes(bytes(spoilt))
    refused(path, "not a readable zip archive")
    with pytest.raises(InputError, match="no such file"):
        read_member(tmp_path / "absent.zip", NAME)


def test_any_single_flipped_byte_is_an_error_or_the_content(tmp_path):
    content = b"some content that matters" * 3
    path = pack(tmp_path / "a.zip", (f"d/{NAME}", content))
    whole = path.read_bytes()
    for position in range(len(whole)):
        for mask in (0x01, 0x80, 0xFF):
            spoilt = bytearray(whole)
            spoilt[position] ^= mask
            path.write_bytes(bytes(spoilt))
            try:
                assert read_member(path, NAME) == content
            except InputError as error:
                assert "\n" not in str(error)


def test_a_long_list_of_members_is_refused_before_it_is_parsed(tmp_path):
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *[0] * 18) + b""
    entries = entry * (MAX_DIRECTORY // len(entry) + 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(entries), 0, 0)
    path = tmp_path / "a.zip"
    path.write_bytes(entries + end)
    refused(path, "list of members")


def test_the_reader_agrees_with_an_independent_one(tmp_path):
    content = bytes(range(256)) * 100
    path = pack(tmp_path / "a.zip", (NAME, content))
    data = io.BytesIO(path.read_bytes())
    header = struct.unpack("<4s5H3L2H", data.read(30))
    data.seek(30 + header[9] + header[10])
    assert zlib.decompress(data.read(header[7]), -15) == read_member(path, NAME) == content
