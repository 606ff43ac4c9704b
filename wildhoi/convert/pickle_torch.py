"""Torch tensors inside pickles, as numpy arrays and without torch: the few calls that torch's pickles make.

A tensor is pickled as a view of a storage, and the storage as the bytes of a whole file in torch's older format: four
pickles (magic number, format version, system information, the storage's persistent id), a pickled list of storage
keys, and then for each storage its number of items (8 bytes) and its raw data.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Shaped

from wildhoi.convert.pickle_arrays import MAX_DIMENSION, MAX_DIMENSIONS, Budget, Global, Handler, Name, Refusal, clip
from wildhoi.convert.pickle_machine import Machine, Table
from wildhoi.convert.pickle_opcodes import run

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
FORMAT_VERSION = 1001
STORAGE_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def torch_globals(budget: Budget) -> Mapping[Name, Handler | None]:
    """The names that a pickled torch tensor mentions."""

    def load_from_bytes(data: Any) -> Shaped[np.ndarray, " n"]:
        if not isinstance(data, bytes):
            raise Refusal("a torch storage that is not bytes")
        return read_storage(data, budget)

    def rebuild_tensor(
        storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
    ) -> Shaped[np.ndarray, "..."]:
        if hooks or metadata:
            raise Refusal("a torch tensor with hooks or metadata")
        array = _view(storage, offset, size, stride)
        budget.spend(array.nbytes)
        return array.copy()

    def ordered_dict() -> dict[Any, Any]:
        return {}

    return {
        ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
        ("torch.storage", "_load_from_bytes"): load_from_bytes,
        ("collections", "OrderedDict"): ordered_dict,
    }


def read_storage(data: bytes, budget: Budget) -> Shaped[np.ndarray, " n"]:
    """Read the one storage of a file in torch's older format.

    Raises:
        Refusal: the bytes are anything else.
    """
    declared: dict[str, tuple[str, int]] = {}

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


def _parse_identity(identity: Any) -> tuple[str, str, int]:
    """Take the key, data type and item count from the id ("storage", type, key, device, count, view)."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
        raise Refusal("a torch storage with an unusual id")
    kind, key, count = identity[1], identity[2], identity[4]
    view = identity[5] if len(identity) == 6 else None
    if not isinstance(kind, Global) or not isinstance(key, str) or type(count) is not int or view is not None:
        raise Refusal("a torch storage with an unusual id")
    return key, STORAGE_DTYPES[kind.name], count


def _read_items(rest: bytes, dtype: str, count: int, budget: Budget) -> Shaped[np.ndarray, " n"]:
    stored = int.from_bytes(rest[:8], "little", signed=True)
    wanted = 8 + count * np.dtype(dtype).itemsize
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
    if len(size) > MAX_DIMENSIONS or not all(type(n) is int and 0 <= n <= MAX_DIMENSION for n in (*size, *stride)):
        raise Refusal("a torch tensor with unusual sizes or strides")
    if prod(size) == 0:
        return np.empty(size, storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= len(storage) or prod(size) > len(storage):
        raise Refusal(f"a torch tensor of {prod(size)} items up to item {last} of a storage of {len(storage)}")
    strides = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)
