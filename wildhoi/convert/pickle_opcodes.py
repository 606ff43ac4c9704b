"""The opcodes of plain data, protocols 0 to 5, as steps of the pickle machine; any other opcode is refused."""

import codecs
import struct
from collections.abc import Callable
from pickletools import opcodes as documented
from typing import Any

from wildhoi.convert.pickle_arrays import Refusal
from wildhoi.convert.pickle_machine import Machine

MAX_OPCODES = 20_000_000
MAX_STACK = 100_000
MAX_INTEGER_BYTES = 64


def run(machine: Machine) -> Any:
    """Read one pickle up to its STOP and return the value; raises Refusal for anything that is not accepted."""
    opcodes = 0
    while True:
        start = machine.position
        code = machine.take(1)[0]
        if code == ord("."):
            return machine.result()
        step = STEPS.get(code)
        if step is None:
            raise Refusal(f"the opcode {_opcode_name(code)}")
        step(machine)
        opcodes += 1
        if opcodes > MAX_OPCODES or len(machine.stack) > MAX_STACK or len(machine.levels) > MAX_STACK:
            raise Refusal("a structure that is too deep or too large")
        if machine.frame_end and machine.position >= machine.frame_end:
            machine.leave_frame(start)


def _opcode_name(code: int) -> str:
    names = {ord(opcode.code): opcode.name for opcode in documented}
    return names.get(code, f"{code:#04x}, which no pickle has (not a pickle?)")


def _integer(raw: bytes) -> int:
    try:
        if len(raw) > 3 * MAX_INTEGER_BYTES:
            raise ValueError
        return int(raw)
    except ValueError:
        raise Refusal("a number that cannot be read") from None


def _float_line(machine: Machine) -> float:
    try:
        return float(machine.take_line())
    except ValueError:
        raise Refusal("a number that cannot be read") from None


def _int_line(machine: Machine) -> int | bool:
    raw = machine.take_line()
    return raw == b"01" if raw in (b"00", b"01") else _integer(raw)


def _long(machine: Machine) -> int:
    raw = machine.take_counted(1)
    if len(raw) > MAX_INTEGER_BYTES:
        raise Refusal("a number of more than 64 bytes")
    return int.from_bytes(raw, "little", signed=True)


def _quoted(machine: Machine) -> str:
    raw = machine.take_line()
    if len(raw) < 2 or raw[:1] not in (b"'", b'"') or raw[-1:] != raw[:1]:
        raise Refusal("a string without quotes")
    try:
        return machine.text(codecs.escape_decode(raw[1:-1])[0], machine.encoding)
    except ValueError:
        raise Refusal("a string that cannot be read") from None


def _unicode_line(machine: Machine) -> str:
    return machine.text(machine.take_line(), "raw-unicode-escape")


def _protocol(machine: Machine) -> None:
    version = machine.take(1)[0]
    if version > 5:
        raise Refusal(f"pickle protocol {version}, of which 0 to 5 are known")


def _pop_top(machine: Machine) -> None:
    if machine.stack:
        machine.pop()
    else:
        machine.pop_level()


def _append(machine: Machine) -> None:
    value = machine.pop()
    machine.top(list).append(value)


def _appends(machine: Machine) -> None:
    items = machine.pop_level()
    machine.top(list).extend(items)


def _set_item(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items(machine.top(dict), [key, value])


def _set_items(machine: Machine) -> None:
    items = machine.pop_level()
    machine.set_items(machine.top(dict), items)


def _dict(machine: Machine) -> None:
    items, made = machine.pop_level(), dict[Any, Any]()
    machine.set_items(made, items)
    machine.push(made)


def _tuple_of(count: int) -> Callable[[Machine], None]:
    def step(machine: Machine) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.push(tuple(reversed(items)))

    return step


def _reduce(machine: Machine) -> None:
    arguments, function = machine.pop(), machine.pop()
    machine.push(machine.call(function, arguments))


def _new_object(machine: Machine) -> None:
    arguments, function = machine.pop(), machine.pop()
    machine.push(machine.make_new(function, arguments))


def _global(machine: Machine) -> None:
    module = machine.text(machine.take_line(), "utf-8")
    machine.push_global(module, machine.text(machine.take_line(), "utf-8"))


def _stack_global(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.push_global(module, name)


def _persistent(machine: Machine) -> None:
    identity = machine.pop()
    if machine.table.persistent is None:
        raise Refusal("a persistent id")
    machine.push(machine.table.persistent(identity))


def _unsigned(machine: Machine, width: int) -> int:
    return int.from_bytes(machine.take(width), "little")


def _utf8(machine: Machine, width: int) -> str:
    return machine.text(machine.take_counted(width), "utf-8", "surrogatepass")


def _old_string(machine: Machine, width: int) -> str:
    return machine.text(machine.take_counted(width), machine.encoding)


STEPS: dict[int, Callable[[Machine], None]] = {
    0x80: _protocol,
    0x95: lambda m: m.enter_frame(_unsigned(m, 8)),
    ord("("): Machine.mark,
    ord("0"): _pop_top,
    ord("1"): lambda m: m.pop_level().clear(),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): lambda m: m.push(_int_line(m)),
    ord("L"): lambda m: m.push(_integer(m.take_line().rstrip(b"L"))),
    ord("J"): lambda m: m.push(struct.unpack("<i", m.take(4))[0]),
    ord("K"): lambda m: m.push(m.take(1)[0]),
    ord("M"): lambda m: m.push(_unsigned(m, 2)),
    0x8A: lambda m: m.push(_long(m)),
    ord("F"): lambda m: m.push(_float_line(m)),
    ord("G"): lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    ord("S"): lambda m: m.push(_quoted(m)),
    ord("T"): lambda m: m.push(_old_string(m, 4)),
    ord("U"): lambda m: m.push(_old_string(m, 1)),
    ord("V"): lambda m: m.push(_unicode_line(m)),
    ord("X"): lambda m: m.push(_utf8(m, 4)),
    0x8C: lambda m: m.push(_utf8(m, 1)),
    0x8D: lambda m: m.push(_utf8(m, 8)),
    ord("B"): lambda m: m.push(m.take_counted(4)),
    ord("C"): lambda m: m.push(m.take_counted(1)),
    0x8E: lambda m: m.push(m.take_counted(8)),
    0x96: lambda m: m.push(bytearray(m.take_counted(8))),
    ord("]"): lambda m: m.push([]),
    ord("}"): lambda m: m.push({}),
    ord(")"): lambda m: m.push(()),
    ord("l"): lambda m: m.push(m.pop_level()),
    ord("d"): _dict,
    ord("t"): lambda m: m.push(tuple(m.pop_level())),
    0x85: _tuple_of(1),
    0x86: _tuple_of(2),
    0x87: _tuple_of(3),
    ord("a"): _append,
    ord("e"): _appends,
    ord("s"): _set_item,
    ord("u"): _set_items,
    ord("g"): lambda m: m.recall(_integer(m.take_line())),
    ord("h"): lambda m: m.recall(m.take(1)[0]),
    ord("j"): lambda m: m.recall(_unsigned(m, 4)),
    ord("p"): lambda m: m.remember(_integer(m.take_line())),
    ord("q"): lambda m: m.remember(m.take(1)[0]),
    ord("r"): lambda m: m.remember(_unsigned(m, 4)),
    0x94: lambda m: m.remember(len(m.memo)),
    ord("c"): _global,
    0x93: _stack_global,
    ord("R"): _reduce,
    0x81: _new_object,
    ord("b"): lambda m: m.build(m.pop()),
    ord("Q"): _persistent,
}
