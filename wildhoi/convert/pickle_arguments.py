"""The arguments of pickle opcodes: numbers, bytes and strings, read from the pickle machine's data and checked."""

import codecs
import struct

from wildhoi.convert.pickle_arrays import Refusal
from wildhoi.convert.pickle_machine import Machine

MAX_INTEGER_BYTES = 64


def read_unsigned(machine: Machine, width: int) -> int:
    """An unsigned number of `width` bytes."""
    return int.from_bytes(machine.take(width), "little")


def read_signed(machine: Machine) -> int:
    """A signed number of 4 bytes."""
    return int.from_bytes(machine.take(4), "little", signed=True)


def read_long(machine: Machine) -> int:
    """A number whose length stands before it."""
    raw = machine.take_counted(1)
    if len(raw) > MAX_INTEGER_BYTES:
        raise Refusal("a number of more than 64 bytes")
    return int.from_bytes(raw, "little", signed=True)


def read_float(machine: Machine) -> float:
    """A float of 8 bytes."""
    value: float = struct.unpack(">d", machine.take(8))[0]
    return value


def read_integer_line(machine: Machine) -> int:
    """A number in text."""
    return _integer(machine.take_line())


def read_int_line(machine: Machine) -> int | bool:
    """A number in text, where two digits stand for the booleans."""
    raw = machine.take_line()
    return raw == b"01" if raw in (b"00", b"01") else _integer(raw)


def read_long_line(machine: Machine) -> int:
    """A number in text with an L behind it."""
    return _integer(machine.take_line().rstrip(b"L"))


def read_float_line(machine: Machine) -> float:
    """A float in text."""
    try:
        return float(machine.take_line())
    except ValueError:
        raise Refusal("a number that cannot be read") from None


def read_quoted_line(machine: Machine) -> str:
    """A Python 2 string in quotes."""
    raw = machine.take_line()
    if len(raw) < 2 or raw[:1] not in (b"'", b'"') or raw[-1:] != raw[:1]:
        raise Refusal("a string without quotes")
    try:
        return machine.text(codecs.escape_decode(raw[1:-1])[0], machine.encoding)
    except ValueError:
        raise Refusal("a string that cannot be read") from None


def read_unicode_line(machine: Machine) -> str:
    """A string on a line, with escapes."""
    return machine.text(machine.take_line(), "raw-unicode-escape")


def read_utf8(machine: Machine, width: int) -> str:
    """A string whose length stands before it in `width` bytes."""
    return machine.text(machine.take_counted(width), "utf-8", "surrogatepass")


def read_old_string(machine: Machine, width: int) -> str:
    """A Python 2 string whose length stands before it in `width` bytes."""
    return machine.text(machine.take_counted(width), machine.encoding)


def read_name_line(machine: Machine) -> str:
    """A line of the opcode that names a global."""
    return machine.text(machine.take_line(), "utf-8")


def check_protocol(machine: Machine) -> None:
    """The version of the pickle's protocol."""
    version = machine.take(1)[0]
    if version > 5:
        raise Refusal(f"pickle protocol {version}, of which 0 to 5 are known")


def _integer(raw: bytes) -> int:
    try:
        if len(raw) > 3 * MAX_INTEGER_BYTES:
            raise ValueError
        return int(raw)
    except ValueError:
        raise Refusal("a number that cannot be read") from None
