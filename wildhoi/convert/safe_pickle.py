"""Reading pickles of unknown origin: plain data and numpy arrays, never code."""

from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from wildhoi.convert.pickle_arrays import ACCEPTED, Budget, Name, Refusal, bytes_globals, numpy_globals
from wildhoi.convert.pickle_machine import Machine, Table
from wildhoi.convert.pickle_opcodes import run
from wildhoi.convert.pickle_torch import torch_globals
from wildhoi.errors import InputError
from wildhoi.files import read_bytes

MAX_BYTES = 512 * 2**20
MAX_DEPTH = 64
MAX_EXPANDED = 100_000_000
PLAIN = frozenset({str, bytes, int, float, bool, type(None), np.ndarray})
CONTAINERS = frozenset({list, tuple, dict})
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
    callables = {**bytes_globals(budget), **numpy_globals(budget), **(torch_globals(budget) if torch_tensors else {})}
    machine = Machine(data, Table(callables, extra), budget, encoding)
    try:
        value = run(machine)
        if machine.position < len(data):
            raise Refusal(f"{len(data) - machine.position} bytes after its end")
        _check_tree(value, max_depth, frozenset(machine.instances))
    except Refusal as refusal:
        place = f"byte {machine.position}{machine.where()}"
        message = f"{source}: the pickle holds {refusal} ({place}); {ACCEPTED}; nothing was run"
        raise InputError(message) from None
    return value


def _check_tree(root: Any, max_depth: int, instances: frozenset[int]) -> None:
    """Refuse cycles, deep nesting, shared parts that expand without bound, and anything that is not plain data.

    Walks with its own stack, since the nesting is not yet known to be bounded.
    """
    sizes: dict[int, int] = {}
    heights: dict[int, int] = {}
    open_nodes: set[int] = set()
    pending: list[tuple[Any, bool]] = [(root, False)]
    while pending:
        node, done = pending.pop()
        if done:
            children = [child for child in _children(node) if type(child) in CONTAINERS]
            open_nodes.discard(id(node))
            heights[id(node)] = 1 + max((heights[id(child)] for child in children), default=0)
            sizes[id(node)] = 1 + len(node) + sum(sizes[id(child)] for child in children)
            _check_bounds(heights[id(node)], sizes[id(node)], max_depth)
        elif type(node) not in CONTAINERS:
            _check_leaf(node, instances)
        elif id(node) in open_nodes:
            raise Refusal("a structure that contains itself")
        elif id(node) not in heights:
            open_nodes.add(id(node))
            pending.append((node, True))
            pending.extend((child, False) for child in _children(node))


def _children(node: Any) -> Any:
    return chain(node.keys(), node.values()) if type(node) is dict else iter(node)


def _check_bounds(height: int, size: int, max_depth: int) -> None:
    if height > max_depth:
        raise Refusal(f"containers nested more than {max_depth} deep")
    if size > MAX_EXPANDED:
        raise Refusal("shared parts that expand without bound")


def _check_leaf(leaf: Any, instances: frozenset[int]) -> None:
    if type(leaf) not in PLAIN and not isinstance(leaf, np.generic) and id(leaf) not in instances:
        raise Refusal(f"a bare {type(leaf).__name__}")
