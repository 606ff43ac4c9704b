"""Torch tensors inside pickles, as numpy arrays and without torch: the few calls that torch's pickles make.

A tensor is pickled as a view of a storage, and the storage as the bytes of a whole file in torch's older format: four
pickles (magic number, format version, system information, the storage's persistent id), a pickled list of storage
keys, and then for each storage its number of items (8 bytes) and its raw data.
"""

import re
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Shaped

from wildhoi.convert.pickle_arrays import MAX_DIMENSION, MAX_DIMENSIONS, Budget, Global, Handler, Name, Refusal, clip
from wildhoi.convert.pickle_machine import Machine, Table
from wildhoi.convert.pickle_run import run

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
FORMAT_VERSION = 1001
STORAGE_DTYPES: dict[str, "np.dtype[Any]"] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
# The file up to its items exactly as torch writes it: magic number, version, system, id, keys
USUAL_FILE = re.compile(
    rb"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.\x80\x02M\xe9\x03\."
    rb"\x80\x02}q\x00\(X\x10\x00\x00\x00protocol_versionq\x01M\xe9\x03X\r\x00\x00\x00little_endianq\x02\x88"
    rb"X\n\x00\x00\x00type_sizesq\x03}q\x04\(X\x05\x00\x00\x00shortq\x05K\x02X\x03\x00\x00\x00intq\x06K\x04"
    rb"X\x04\x00\x00\x00longq\x07K\x04uu\.\x80\x02\(X\x07\x00\x00\x00storageq\x00"
    rb"ctorch\n(?P<type>(?:Double|Float|Half|Long|Int|Short|Char|Byte|Bool)Storage)\nq\x01"
    rb"(?P<text>X(?P<length>.)\x00\x00\x00(?P<key>[0-9]+))q\x02X\x03\x00\x00\x00cpuq\x03"
    rb"(?P<count>K.|M..|J...[\x00-\x7f])Ntq\x04Q\."
    rb"\x80\x02\]q\x00(?P=text)q\x01a\.",
    re.DOTALL,
)


def _load_from_bytes(budget: Budget, data: Any) -> Shaped[np.ndarray, " n"]:
    if not isinstance(data, bytes):
        raise Refusal("a torch storage that is not bytes")
    return read_storage(data, budget)


def _rebuild_tensor(
    budget: Budget,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    metadata: Any = None,
) -> Shaped[np.ndarray, "..."]:
    if hooks or metadata:
        raise Refusal("a torch tensor with hooks or metadata")
    array = _view(storage, offset, size, stride)
    budget.spend(array.nbytes)
    return array.copy()


def _ordered_dict(budget: Budget) -> dict[Any, Any]:
    return {}


# The names that a pickled torch tensor mentions
TORCH_GLOBALS: Mapping[Name, Handler | None] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch.storage", "_load_from_bytes"): _load_from_bytes,
    ("collections", "OrderedDict"): _ordered_dict,
}


def read_storage(data: bytes, budget: Budget) -> Shaped[np.ndarray, " n"]:
    """Read the one storage of a file in torch's older format.

    Raises:
        Refusal: the bytes are anything else.
    """
    match = USUAL_FILE.match(data)
    if match is None or match["length"][0] != len(match["key"]):
        return _read_any_storage(data, budget)
    count = int.from_bytes(match["count"][1:], "little")
    return _read_items(data[match.end() :], STORAGE_DTYPES[match["type"].decode()], count, budget)


def _read_any_storage(data: bytes, budget: Budget) -> Shaped[np.ndarray, " n"]:
    """Read a storage through the pickle machine, or refuse it."""
    declared: dict[str, tuple[np.dtype[Any], int]] = {}

    def declare(identity: Any) -> str:
        key, dtype, count = _parse_identity(identity)
        declared[key] = (dtype, count)
        return key

    names: dict[Name, Handler | None] = {("torch", name): None for name in STORAGE_DTYPES}
    plain, with_storages = Table({}, {}), Table(names, {}, declare)
    position, values = 0, []
    for table in (plain, plain, plain, with_storages, plain):
        machine = Machine(data, table, budget, "ASCII", position)
        values.append(run(machine))
        position = machine.position
    magic, version, system, root, keys = values
    if magic != MAGIC_NUMBER or version != FORMAT_VERSION or not isinstance(system, dict):
        raise Refusal("a torch storage of an unknown format")
    if system.get("little_endian") is not True or not isinstance(root, str) or keys != [root] or root not in declared:
        raise Refusal("a torch file that is not one little-endian storage")
    return _read_items(data[position:], *declared[root], budget)


def _parse_identity(identity: Any) -> tuple[str, "np.dtype[Any]", int]:
    """Take the key, data type and item count from the id ("storage", type, key, device, count, view)."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
        raise Refusal("a torch storage with an unusual id")
    kind, key, count = identity[1], identity[2], identity[4]
    view = identity[5] if len(identity) == 6 else None
    if not isinstance(kind, Global) or not isinstance(key, str) or type(count) is not int or view is not None:
        raise Refusal("a torch storage with an unusual id")
    return key, STORAGE_DTYPES[kind.name], count


def _read_items(rest: bytes, dtype: "np.dtype[Any]", count: int, budget: Budget) -> Shaped[np.ndarray, " n"]:
    stored = int.from_bytes(rest[:8], "little", signed=True)
    wanted = 8 + count * dtype.itemsize
    if count < 0 or stored != count or len(rest) != wanted:
        raise Refusal(f"a torch storage of {clip(count)} items in {len(rest)} bytes, want {clip(wanted)}")
    budget.spend(len(rest))
    return np.frombuffer(rest[8:], dtype)


def _view(storage: Any, offset: Any, size: Any, stride: Any) -> Shaped[np.ndarray, "..."]:
    """A strided view of a storage whose every item lies inside it."""
    if not isinstance(storage, np.ndarray) or storage.ndim != 1 or type(offset) is not int or offset < 0:
        raise Refusal("a torch tensor without a storage")
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        raise Refusal("a torch tensor whose sizes and strides do not match")
    if len(size) > MAX_DIMENSIONS:
        raise Refusal("a torch tensor with unusual sizes or strides")
    last = offset
    for n, step in zip(size, stride, strict=True):
        if type(n) is not int or type(step) is not int or not (0 <= n <= MAX_DIMENSION and 0 <= step <= MAX_DIMENSION):
            raise Refusal("a torch tensor with unusual sizes or strides")
        last += (n - 1) * step
    count = prod(size)
    if count == 0:
        return np.empty(size, storage.dtype)
    if last >= len(storage) or count > len(storage):
        raise Refusal(f"a torch tensor of {count} items up to item {last} of a storage of {len(storage)}")
    width = storage.itemsize
    return np.ndarray(size, storage.dtype, storage, offset * width, tuple([step * width for step in stride]))
