"""Whole calls read at once: the forms in which numpy's arrays follow one another in a pickle of protocol 4.

A shortcut begins with a reference to what is called. It gives what the opcodes would give one by one, in the memo too,
or nothing: any other form, and any that has to be refused, is left to the opcodes with nothing changed.
"""

import re
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from wildhoi.convert.pickle_arrays import MISFITS, NDARRAY, Budget, Dtype, Global, Refusal, make_dtype, mention

# From the number of `_reconstruct` in the memo: ndarray (0,) b"b" REDUCE, then the state: version 1, sizes, data type,
# not in Fortran order, data, of which the length is matched
ARRAY = re.compile(
    rb".h(.)K\x00\x85\x94h(.)\x87\x94R\x94\(K\x01"
    rb"((?:K.|M..)\x85|(?:K.|M..){2}\x86|(?:K.|M..){3}\x87)\x94(h.|j....)\x89(C.|B....)",
    re.DOTALL,
)
ARRAY_END = b"\x94t\x94b"
SIZE = re.compile(rb"K(.)|M(..)", re.DOTALL)
# From the number of `dtype` in the memo: code False True REDUCE, then the state: version 3, byte order, nothing else
DTYPE = re.compile(
    rb".\x8c\x02([a-z][0-9])\x94\x89\x88\x87\x94R\x94\(K\x03(\x8c\x01[<>|]\x94|h.)NNNJ\xff{4}J\xff{4}K\x00t\x94b",
    re.DOTALL,
)
MAX_CALL_OPCODES = 24
RECONSTRUCT_1, RECONSTRUCT_2 = (mention(f"{core}.multiarray", "_reconstruct") for core in ("numpy.core", "numpy._core"))
NUMPY_DTYPE = mention("numpy", "dtype")
Found = tuple[Any, int, int]


def read_call(function: Global, data: bytes, position: int, end: int, memo: list[Any], budget: Budget) -> Found | None:
    """Read the whole call that begins with a reference to this function, if it has a usual form.

    Args:
        function: what the reference stands for.
        data: the pickle.
        position: of the reference's number in the memo.
        end: of the frame.
        memo: is added to.
        budget: is charged.

    Returns:
        the value, the position after it and its number of opcodes, at most `MAX_CALL_OPCODES`; None for other forms.
    """
    if function is RECONSTRUCT_1 or function is RECONSTRUCT_2:
        return _read_array(data, position, end, memo, budget)
    if function is NUMPY_DTYPE:
        return _read_dtype(data, position, end, memo, budget)
    return None


def _read_array(data: bytes, position: int, end: int, memo: list[Any], budget: Budget) -> Found | None:
    """Read an array of at most 3 dimensions whose data type occurred before."""
    match = ARRAY.match(data, position, end)
    if match is None:
        return None
    subtype, code, dtype, shape, count, length = _array_header(match.group())
    start = match.end()
    stop = start + length
    known, after = len(memo), stop + len(ARRAY_END)
    # a number that is not known yet may come to stand for one of the array's own parts
    if after > end or data[stop:after] != ARRAY_END or subtype >= known or code >= known or dtype >= known:
        return None
    call, kind = (memo[subtype], (0,), memo[code]), memo[dtype]
    if call[0] is not NDARRAY or type(call[2]) is not bytes or call[2] != b"b" or type(kind) is not Dtype:
        return None
    resolved, raw = kind.resolved, data[start:stop]
    if resolved.kind == "U" or count * resolved.itemsize != length or length > budget.left:
        return None
    budget.spend(length)
    array = np.empty(0, np.int8)
    state: Any = (1, shape, resolved, False, raw)
    array.__setstate__(state)
    memo.extend((call[1], call, array, shape, raw, (1, shape, kind, False, raw)))
    return array, after, 21 + len(shape)


@lru_cache(maxsize=1024)
def _array_header(header: bytes) -> tuple[int, int, int, tuple[int, ...], int, int]:
    """Take apart what `ARRAY` matched: the numbers of subtype, code and data type; shape, items and bytes."""
    match = ARRAY.fullmatch(header)
    assert match is not None
    subtype, code, sizes, dtype, length = match.groups()
    shape = tuple(int.from_bytes(short or long, "little") for short, long in SIZE.findall(sizes))
    dtype_number, n_bytes = (int.from_bytes(number[1:], "little") for number in (dtype, length))
    return subtype[0], code[0], dtype_number, shape, prod(shape), n_bytes


def _read_dtype(data: bytes, position: int, end: int, memo: list[Any], budget: Budget) -> Found | None:
    """Read a data type of numbers."""
    match = DTYPE.match(data, position, end)
    if match is None:
        return None
    code, order_text = match.groups()
    new = order_text[0] != ord("h")
    if not new and order_text[1] >= len(memo):
        return None
    order = order_text[2:3].decode() if new else memo[order_text[1]]
    call, state = (code.decode(), False, True), (3, order, None, None, None, -1, -1, 0)
    try:
        dtype = make_dtype(budget, *call)
        dtype.set_state(state)
    except (Refusal, *MISFITS):
        return None
    memo.extend((call[0], call, dtype, *([order] if new else []), state))
    return dtype, match.end(), 22 if new else 21
