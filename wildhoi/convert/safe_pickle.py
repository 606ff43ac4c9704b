"""Reading pickles of unknown origin: plain data and numpy arrays, never code."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from wildhoi.convert.pickle_arrays import ACCEPTED, BYTES_GLOBALS, NUMPY_GLOBALS, Budget, Forbidden, Name, Refusal
from wildhoi.convert.pickle_machine import Machine, Table
from wildhoi.convert.pickle_run import run
from wildhoi.convert.pickle_torch import TORCH_GLOBALS
from wildhoi.errors import InputError, UnsafeError
from wildhoi.files import read_bytes

MAX_BYTES = 512 * 2**20
MAX_DEPTH = 64
MAX_EXPANDED = 100_000_000
PLAIN = frozenset(
    {str, bytes, int, float, bool, type(None), np.ndarray, *(np.dtype(code).type for code in "?bhilqBHILQefdSU")}
)
CONTAINERS = frozenset({list, tuple, dict})
PLAIN_GLOBALS = {**BYTES_GLOBALS, **NUMPY_GLOBALS}
PLAIN_TABLE, TORCH_TABLE = Table(PLAIN_GLOBALS, {}), Table({**PLAIN_GLOBALS, **TORCH_GLOBALS}, {})
NO_CLASSES: Mapping[Name, Callable[..., Any]] = MappingProxyType({})


def load_pickle(
    path: Path,
    *,
    extra: Mapping[Name, Callable[..., Any]] = NO_CLASSES,
    torch_tensors: bool = False,
    encoding: str = "ASCII",
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
) -> Any:
    """Read a pickle file of plain data without running anything that it asks for.

    Args:
        path: the file.
        extra: (module, name) of further classes that may occur, with the factories called in their place; a factory
            takes what the pickle gives, so it must be harmless for any argument.
        torch_tensors: accept torch tensors and return them as numpy arrays; torch is not needed.
        encoding: of Python 2 strings; "latin1" where they hold array data.
        max_bytes: limit of the file's size, and again of the arrays and strings made from it.
        max_depth: limit of containers within containers.

    Returns:
        lists, tuples, dicts, strings, bytes, numbers, numpy arrays and numpy scalars.

    Raises:
        UnsafeError: the file names something to be executed.
        InputError: the file is unreadable, damaged, or holds anything else; names file, place and finding.
    """
    return loads_pickle(
        read_bytes(path, max_bytes, "pickle"),
        source=str(path),
        extra=extra,
        torch_tensors=torch_tensors,
        encoding=encoding,
        max_bytes=max_bytes,
        max_depth=max_depth,
    )


def loads_pickle(
    data: bytes,
    *,
    source: str,
    extra: Mapping[Name, Callable[..., Any]] = NO_CLASSES,
    torch_tensors: bool = False,
    encoding: str = "ASCII",
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
) -> Any:
    """Read pickled bytes as `load_pickle` does; `source` names them in messages."""
    if not data:
        raise InputError(f"{source}: empty, want a pickle")
    if data.startswith(b"PK\x03\x04"):
        raise InputError(f"{source}: is a zip archive, want a pickle")
    if len(data) > max_bytes:
        raise InputError(f"{source}: pickle of {len(data)} bytes, at most {max_bytes} are read")
    budget = Budget(max_bytes)
    table = TORCH_TABLE if torch_tensors else PLAIN_TABLE
    machine = Machine(data, Table(table.callables, extra) if extra else table, budget, encoding)
    try:
        value = run(machine)
        if machine.position < len(data):
            raise Refusal(f"{len(data) - machine.position} bytes after its end")
        _check_tree(value, max_depth, frozenset(machine.instances))
    except Refusal as refusal:
        place = f"byte {machine.position}{machine.where()}"
        message = f"{source}: the pickle holds {refusal} ({place}); {ACCEPTED}; nothing was run"
        raise (UnsafeError if isinstance(refusal, Forbidden) else InputError)(message) from None
    return value


def _check_tree(root: Any, max_depth: int, instances: frozenset[int]) -> None:
    """Refuse cycles, deep nesting, shared parts that expand without bound, and anything that is not plain data.

    Walks with its own stack, since the nesting is not yet known to be bounded.
    """
    extents: dict[int, tuple[int, int]] = {}
    open_nodes: set[int] = set()
    pending: list[tuple[Any, list[Any] | None]] = [(root, None)]
    while pending:
        node, parts = pending.pop()
        if parts is None:
            if type(node) not in CONTAINERS:
                _check_leaf(node, instances)
                continue
            if id(node) in open_nodes:
                raise Refusal("a structure that contains itself")
            if id(node) in extents:
                continue
            parts = _parts_to_check(node)
            if parts:
                open_nodes.add(id(node))
                pending.append((node, parts))
                pending.extend([(part, None) for part in parts])
                continue
        open_nodes.discard(id(node))
        extents[id(node)] = _extent(node, [extents[id(part)] for part in parts if type(part) in CONTAINERS], max_depth)


def _parts_to_check(node: Any) -> list[Any]:
    """The children of a container but for the leaves that are plain at a glance."""
    children = [*node.keys(), *node.values()] if type(node) is dict else node
    if PLAIN.issuperset(map(type, children)):
        return []
    return [child for child in children if type(child) not in PLAIN]


def _extent(node: Any, parts: list[tuple[int, int]], max_depth: int) -> tuple[int, int]:
    """Height and expanded size of a container whose parts have these; raises Refusal where they are too large."""
    height, size = 1, 1 + len(node)
    if parts:
        height += max(part[0] for part in parts)
        size += sum(part[1] for part in parts)
    if height > max_depth:
        raise Refusal(f"containers nested more than {max_depth} deep")
    if size > MAX_EXPANDED:
        raise Refusal("shared parts that expand without bound")
    return height, size


def _check_leaf(leaf: Any, instances: frozenset[int]) -> None:
    if type(leaf) not in PLAIN and not isinstance(leaf, np.generic) and id(leaf) not in instances:
        raise Refusal(f"a bare {type(leaf).__name__}")
