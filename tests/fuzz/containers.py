# ruff: noqa: E501 - tables of short things
"""Valid containers with hostile content: what a seed holds is changed, and packed again with sums that are right."""

import json
import pickle
import struct
import zipfile
import zlib
from copy import copy
from io import BytesIO

import numpy as np

SOURCES = {}
"""What the bytes of a seed were made of; nothing is ever unpacked that a program has changed."""

NAN, INF = float("nan"), float("inf")
PLAIN = (
    None, True, False, 0, -1, 1, 7, 2**31, 2**63, 2**64, -(2**63) - 1, 10**4000, 0.5, -0.0, 1e308, 1e-320, NAN, INF, -INF, "",
    "a", "0", "x" * 3000, "\ud800", "\x00", "a\nb", "\u202e\u2028\x1b[31m", "../../x", "/etc/passwd", [], {}, [[]], [None], {"": 0},
)  # fmt: skip


def known(data: bytes, source) -> bytes:
    """Remember what a seed was made of."""
    SOURCES[data] = source
    return data


def change_tree(tree, tape, odd=PLAIN):
    """Change a node of plain data: put something odd there, drop it, double it, rename it, wrap it."""
    root = [tree]
    for _ in range(1 + tape.below(3)):
        _change_node(*_choose(root, tape), tape, odd)
    return root[0]


def _choose(root, tape):
    """A container and a key of it, on the way down from the root."""
    place, key = root, 0
    for _ in range(12):
        child = place[key]
        if not isinstance(child, dict | list) or not child or tape.below(5) == 0:
            break
        place, key = _own(place, key), tape.pick(list(child)) if isinstance(child, dict) else tape.below(len(child))
    return place, key


def _own(place, key):
    """The container at a place, copied so that a change of it is none of the seed's: all else stays shared."""
    place[key] = copy(place[key])
    return place[key]


def _change_node(place, key, tape, odd):
    what = tape.below(10)
    if what < 5 or place[key] is None:
        place[key] = tape.pick(odd)
    elif what == 5 and isinstance(place, dict):
        del place[key]
    elif what == 6 and isinstance(place, dict):
        place[tape.pick(("", "x", "y" * 300, "\ud800", "../x", "a\nb", "__class__"))] = place[key]
    elif what == 7 and isinstance(place, list):
        place.insert(key, place[key])
    elif what == 8:
        for _ in range(tape.pick((1, 2, 70, 300))):
            place[key] = [place[key]]
    else:
        place[key] = tape.pick((str, repr, lambda value: [value, value], lambda value: {"a": value}))(place[key])


def reshape_json(tree, tape):
    return json.dumps(change_tree(tree, tape), ensure_ascii=bool(tape.below(2))).encode(errors="surrogatepass")


def reshape_lines(rows, tape):
    rows = list(rows)
    number = tape.below(len(rows))
    rows[number] = change_tree(rows[number], tape)
    return b"\n".join(json.dumps(row).encode() for row in rows)


ARRAYS = (
    np.zeros(0), np.zeros((0, 3), np.float32), np.array(1.5), np.array(NAN), np.full(3, NAN), np.full((3, 3), INF), np.eye(3), np.arange(10),
    np.array(["a", "b"]), np.array([b"a"]), np.array("\ud800"), np.array([True, False]), np.zeros((1, 1, 1, 1, 1)), np.full(10, 1e300),
    np.array([2**63], np.uint64), np.float32(NAN), np.int8(-1), np.zeros((4, 4), np.uint8), np.array([1 + 2j]),
)  # fmt: skip
OBJECTS = (
    *PLAIN,
    *ARRAYS,
    b"",
    b"\xff",
    (),
    (1, 2),
    ((),),
    {1: 2},
    {None: 0},
    bytearray(b"a"),
    {1, 2},
    1 + 2j,
    range(3),
    Ellipsis,
)


def reshape_pickle(tree, tape):
    changed = change_tree(tree, tape, OBJECTS) if tape.below(4) else _change_array(tree, tape)
    return pickle.dumps(changed, protocol=tape.below(6))


def _change_array(tree, tape):
    """Change an array or number somewhere in a tree in its type, shape or values."""
    root = [tree]
    place, key = root, 0
    for _ in range(12):
        child = place[key]
        if not isinstance(child, dict | list) or not child:
            break
        place, key = _own(place, key), tape.pick(list(child)) if isinstance(child, dict) else tape.below(len(child))
    place[key] = odd_array(np.asarray(place[key]), tape)
    return root[0]


TYPES = (
    "f2",
    "f4",
    "f8",
    ">f8",
    "i1",
    "u1",
    "i2",
    "i4",
    "u4",
    "i8",
    "u8",
    "c16",
    "b1",
    "U5",
    "S5",
    "M8[s]",
    "m8",
    "O",
    "V8",
    "f4,f4",
    "g",
)


def odd_array(array, tape):
    """An array like another, but not the one that is wanted."""
    what = tape.below(8)
    try:
        if what < 2:
            return array.astype(tape.pick(TYPES))
        if what == 2:
            return array.reshape(tape.pick(((-1,), (1, -1), (-1, 1), (1, 1, -1), (-1, 1, 1, 1, 1))))
        if what == 3:
            return array[: tape.below(len(array) + 1)] if array.ndim else array
        if what == 4:
            return np.concatenate([array] * tape.pick((2, 3, 100)))[: 2**14]
        if what == 5:
            return np.asarray(tape.pick(ARRAYS))
        changed = np.asfortranarray(array).copy(order="F") if what == 6 else array.copy()
        changed.reshape(-1, order="A")[tape.below(max(1, changed.size))] = tape.pick(
            (NAN, INF, 1e30, -1, 0, 255, 1e-30)
        )
        return changed
    except (ValueError, TypeError, IndexError, OverflowError):
        return np.asarray(tape.pick(ARRAYS))


HEADERS = (
    "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }", "{'descr': '<f8', 'fortran_order': False, 'shape': (2**40,), }",
    "{'descr': '|V2147483647', 'fortran_order': False, 'shape': (), }", "{'descr': '<U1000000000', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (300000000,), }", "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 99999999999999), }",
    "{'descr': [('a', '<f8', (10, 10))], 'fortran_order': False, 'shape': (1,), }", "{'descr': '<f8', 'fortran_order': 3, 'shape': 'x'}",
    "{'descr': '<f8'", "(" * 300, "[" * 90 + "]" * 90, "{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1,), }", "-" * 9000 + "1", "''", "",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (1L,), }", "{'descr': '\\ud800', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1e9)}", "{'descr': None, 'fortran_order': False, 'shape': ()}",
)  # fmt: skip


def packed_array(array, tape) -> bytes:
    """An array as an .npy file, now and then with a header that lies."""
    stream = BytesIO()
    np.save(stream, array, allow_pickle=True)
    data = stream.getvalue()
    what = tape.below(6)
    if what == 1:
        header = tape.pick(HEADERS).encode("utf-8", "surrogatepass") + b"\n"
        version = tape.pick((b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
        length = struct.pack("<H" if version[0] == 1 else "<I", len(header))
        return b"\x93NUMPY" + version + length + header + data[128:]
    if what == 2:
        return data[: tape.below(len(data))]
    return data


def reshape_npz(arrays, tape):
    arrays = dict(arrays)
    for _ in range(1 + tape.below(2)):
        name = tape.pick(list(arrays))
        what = tape.below(8)
        if what == 0 and len(arrays) > 1:
            del arrays[name]
        elif what == 1:
            arrays[tape.pick(("x", "../x", "", "\ud800", "a/b", "facts", "human"))] = arrays[name]
        else:
            arrays[name] = odd_array(np.asarray(arrays[name]), tape)
    return pack({f"{name}.npy": packed_array(np.asarray(array), tape) for name, array in arrays.items()}, tape)


METHODS = (zipfile.ZIP_STORED,) * 8 + (zipfile.ZIP_DEFLATED,) * 6 + (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
"""The last two are refused whatever is inside, and take longest to make."""


def pack(members, tape) -> bytes:
    """A zip archive, now and then with what archives may have and should not."""
    stream = BytesIO()
    method = tape.pick(METHODS)
    what = tape.below(12)
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            member = zipfile.ZipInfo(name.encode("utf-8", "replace").decode(), (1980, 1, 1, 0, 0, 0))
            member.compress_type = method
            member.external_attr = 0o120777 << 16 if what == 1 else 0o600 << 16
            archive.writestr(member, data)
    data = stream.getvalue()
    if what == 2:  # encrypted, says the list of members
        return data.replace(b"PK\x01\x02\x14\x00\x14\x00\x00", b"PK\x01\x02\x14\x00\x14\x00\x01")
    if what == 3:  # another size than it has
        at = data.find(b"PK\x01\x02") + tape.pick((20, 24, 28, 42))
        return data[:at] + struct.pack("<I", tape.pick((0, 1, 2**16, 2**28, 2**31, 2**32 - 1))) + data[at + 4 :]
    return data


def reshape_zip(members, tape):
    members = dict(members)
    name = tape.pick(list(members))
    what = tape.below(5)
    if what == 0:
        members[name] = members[name][: tape.below(len(members[name]) + 1)]
    elif what == 1:
        other = tape.pick(
            (
                "../results.pkl",
                "a/results.pkl",
                "/results.pkl",
                "results.pkl\x00",
                "C:\\results.pkl",
                "x" * 3000,
                "é",
                "\u202e",
            )
        )
        members[other] = members.pop(name)
    elif what == 2:
        members[tape.pick(("b/results.pkl", "x", "dir/"))] = b""
    elif what == 3:
        members[name] = bytes(tape.pick((10**5, 10**6)))
    return pack(members, tape)


def reshape_png(chunks, tape):
    chunks = list(chunks)
    for _ in range(1 + tape.below(2)):
        number = tape.below(len(chunks))
        kind, data = chunks[number]
        what = tape.below(6)
        if kind == b"IHDR" and what < 4:
            side = tape.pick((0, 1, 8, 9, 500, 2**14, 2**14 + 1, 2**31 - 1, 2**32 - 1))
            other = tape.pick((1, 8, 9, 64, 2**12))
            kinds = bytes([tape.pick((1, 2, 4, 8, 16, 3)), tape.pick((0, 2, 3, 4, 6, 1)), 0, 0, tape.below(3)])
            data = struct.pack(">II", *((side, other) if what % 2 else (other, side))) + (
                kinds if what < 2 else data[8:]
            )
        elif what == 4:
            data = tape.pick(
                (b"", bytes(64), zlib.compress(bytes(10**6)), b"\xff" * 13, data[: tape.below(len(data) + 1)])
            )
        elif what == 5:
            chunks.insert(
                number,
                (
                    tape.pick((b"PLTE", b"tRNS", b"IDAT", b"iCCP", b"acTL", b"fcTL", b"fdAT", b"eXIf", b"tEXt")),
                    bytes(30),
                ),
            )
            continue
        chunks[number] = (kind, data)
    return pack_png(chunks)


def pack_png(chunks) -> bytes:
    packed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def chunks_of(png: bytes):
    at, found = 8, []
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def reshape_safetensors(source, tape):
    header, body = source
    text = json.dumps(change_tree(header, tape)).encode()
    length = tape.pick((len(text), len(text), len(text), len(text) + 1, 0, 2**40, 2**64 - 1))
    return struct.pack("<Q", length) + text + body


def reshape_parquet(table, tape):
    from fuzz.tables import reshape_table

    return reshape_table(table, tape)


RESHAPE = {
    "json": reshape_json,
    "yaml": reshape_json,  # JSON is YAML
    "lines": reshape_lines,
    "pickle": reshape_pickle,
    "npz": reshape_npz,
    "zip": reshape_zip,
    "png": reshape_png,
    "safetensors": reshape_safetensors,
    "parquet": reshape_parquet,
}
