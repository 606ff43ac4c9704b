"""What a pickle may call: numpy arrays, scalars and data types, rebuilt from checked arguments only."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Shaped

Name = tuple[str, str]
Handler = Callable[..., Any]

ACCEPTED = "accepted are lists, tuples, dicts, numbers, strings, bytes and numpy arrays of numbers or strings"
MAX_DIMENSIONS = 32
MAX_DIMENSION = 2**40
PLAIN_CODE = re.compile(r"b1|[iu][1248]|f[248]|[US][1-9][0-9]{0,3}", re.ASCII)
OBJECT_CODE = re.compile(r"[|]?O[0-9]{0,2}", re.ASCII)


class Refusal(Exception):
    """What was found in a pickle that is not accepted; becomes an InputError with file and place."""


class Forbidden(Refusal):
    """The name of something that a pickle wants to have called; becomes an UnsafeError."""


# What checks of a hostile argument can raise before they refuse it: an array compared with a number, and the like
MISFITS = (TypeError, ValueError, OverflowError, AttributeError, LookupError)


class Budget:
    """The bytes that one load may allocate for arrays and copies of strings, nested pickles included."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def spend(self, amount: int) -> None:
        """Count `amount` bytes; raises Refusal when more than the limit is asked for."""
        self.left -= amount
        if self.left < 0:
            raise Refusal("its arrays need more memory than the size limit allows")


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the pickle mentions; it stands for the name and never for the thing of that name."""

    module: str
    name: str


@lru_cache(maxsize=256)
def mention(module: str, name: str) -> Global:
    """The name as one object, as long as there are few; the equal objects that there may be are as good."""
    return Global(module, name)


NDARRAY = mention("numpy", "ndarray")


@dataclass
class Dtype:
    """A numpy data type under construction: the code first, the byte order from its state."""

    code: str
    order: str = "="

    def __post_init__(self) -> None:
        self.resolved = _numpy_dtype(self.order + self.code)

    def set_state(self, state: Any) -> None:
        """Take the byte order from a state tuple that numpy itself would have written for this type."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if not isinstance(order, str) or order not in ("<", ">", "|"):
            raise Refusal("a numpy data type with an unusual state")
        if state != _state_of(order + self.code):
            raise Refusal("a numpy data type with an unusual state")
        self.order = order
        self.resolved = _numpy_dtype(order + self.code)


@lru_cache(maxsize=256)
def _numpy_dtype(name: str) -> "np.dtype[Any]":
    return np.dtype(name)


@lru_cache(maxsize=256)
def _state_of(name: str) -> tuple[Any, ...]:
    state: Any = np.dtype(name).__reduce__()[2]
    return tuple(state)


def make_dtype(budget: Budget, code: Any, align: Any = False, copy: Any = False) -> Dtype:
    """Check a data type's code: booleans, integers, floats of at most 8 bytes, strings; never objects or records."""
    if isinstance(code, bytes):
        code = code.decode("latin1")
    if not isinstance(code, str) or align not in (0, 1) or copy not in (0, 1):
        raise Refusal("a numpy data type that is not named by a code")
    if PLAIN_CODE.fullmatch(code):
        return Dtype(code)
    if OBJECT_CODE.fullmatch(code):
        raise Refusal("a numpy object array")
    raise Refusal(f"the numpy data type {clip(code)}")


def _resolve(dtype: Any) -> "np.dtype[Any]":
    if not isinstance(dtype, Dtype):
        raise Refusal("a numpy array without a data type")
    return dtype.resolved


def _raw_bytes(data: Any) -> bytes:
    # Python 2 wrote array data as a string, which arrives as text under encoding="latin1"
    if type(data) is bytes:
        return data
    if isinstance(data, str):
        try:
            return data.encode("latin1")
        except UnicodeEncodeError:
            raise Refusal("array data that is text beyond latin1") from None
    if isinstance(data, list):
        raise Refusal("a numpy object array")
    if not isinstance(data, bytearray):
        raise Refusal("array data that is not bytes")
    return bytes(data)


def _check_text(dtype: "np.dtype[Any]", data: bytes) -> None:
    if dtype.kind == "U" and len(data) % 4 == 0:
        points = np.frombuffer(data, np.dtype(dtype.byteorder + "u4"))
        if points.max(initial=0) >= 0x110000:
            raise Refusal("a numpy string array with characters beyond Unicode")


def _checked_shape(shape: Any, itemsize: int, n_bytes: int) -> tuple[int, ...]:
    if isinstance(shape, int):
        shape = (shape,)
    if not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS:
        raise Refusal("a numpy array whose shape is not a short tuple")
    for size in shape:
        if type(size) is not int or not 0 <= size <= MAX_DIMENSION:
            raise Refusal(f"a numpy array of shape {clip(shape)}")
    if prod(shape) * itemsize != n_bytes:
        raise Refusal(
            f"a numpy array of shape {clip(shape)} and {itemsize} bytes an item, with {n_bytes} bytes of data"
        )
    return shape


def clip(value: Any, length: int = 80) -> str:
    """Show a hostile value in one short line of ASCII; containers, which may be deep, by their type alone."""
    if isinstance(value, tuple) and len(value) <= 8 and all(type(item) is int for item in value):
        return str(value)
    if not isinstance(value, (str, bytes, int, float, type(None))):
        return f"a {type(value).__name__}"
    text = ascii(value[:length] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= length else text[: length - 3] + "..."


def set_array_state(array: Shaped[np.ndarray, "..."], state: Any, budget: Budget) -> None:
    """Fill an array made by `_reconstruct` from its state (version, shape, data type, Fortran order, data)."""
    if not isinstance(state, tuple) or len(state) != 5 or state[0] != 1 or state[3] not in (0, 1):
        raise Refusal("a numpy array with an unusual state")
    dtype, data = _resolve(state[2]), _raw_bytes(state[4])
    shape = _checked_shape(state[1], dtype.itemsize, len(data))
    _check_text(dtype, data)
    budget.spend(len(data))
    state_of_numpy: Any = (1, shape, dtype, bool(state[3]), data)
    array.__setstate__(state_of_numpy)  # numpy's stubs forget the version, its pickles do not


def _reconstruct(budget: Budget, subtype: Any, shape: Any, code: Any) -> Shaped[np.ndarray, "..."]:
    if subtype != NDARRAY or shape != (0,) or code not in (b"b", "b"):
        raise Refusal("a numpy array of an unusual class")
    return np.empty(0, np.int8)


def _scalar(budget: Budget, dtype: Any, data: Any) -> Any:
    resolved, raw = _resolve(dtype), _raw_bytes(data)
    _checked_shape((), resolved.itemsize, len(raw))
    _check_text(resolved, raw)
    budget.spend(len(raw))
    return np.frombuffer(raw, resolved)[0]


def _from_buffer(budget: Budget, data: Any, dtype: Any, shape: Any, order: Any) -> Shaped[np.ndarray, "..."]:
    resolved, raw = _resolve(dtype), _raw_bytes(data)
    checked = _checked_shape(shape, resolved.itemsize, len(raw))
    if order not in ("C", "F"):
        raise Refusal("a numpy array with an unusual order")
    _check_text(resolved, raw)
    budget.spend(len(raw))
    return np.frombuffer(bytearray(raw), resolved).reshape(checked, order=order)


def _encode(budget: Budget, text: Any, codec: Any) -> bytes:
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise Refusal("a call of _codecs.encode that is not for bytes")
    budget.spend(len(text))
    return _raw_bytes(text)


def _empty_bytes(budget: Budget) -> bytes:
    return b""


# The names that numpy's own pickles mention, of numpy 1.x and 2.x; None marks a name that may not be called
NUMPY_GLOBALS: Mapping[Name, Handler | None] = {
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): make_dtype,
    **{(f"{core}.multiarray", "_reconstruct"): _reconstruct for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.numeric", "_frombuffer"): _from_buffer for core in ("numpy.core", "numpy._core")},
}
# The names that stand for bytes below protocol 3, which has none: latin1 text that is encoded back
BYTES_GLOBALS: Mapping[Name, Handler | None] = {
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _empty_bytes,
    ("builtins", "bytes"): _empty_bytes,
}
