"""The opcodes of plain data, protocols 0 to 5, as steps of the pickle machine; any other opcode is refused.

A step is given the machine and the position after its opcode, and returns the position after its argument. The steps
that make up nearly all of a pickle work on the machine's data, stack and memo directly; what these do not expect, and
every other opcode, goes through the machine's methods, which read on from the machine's own position and refuse.
"""

from collections.abc import Callable
from pickletools import opcodes as documented
from typing import Any

from wildhoi.convert import pickle_arguments as arguments
from wildhoi.convert.pickle_arrays import Global, Refusal
from wildhoi.convert.pickle_machine import Machine
from wildhoi.convert.pickle_shortcuts import read_call

Step = Callable[[Machine, int], int]


class Stop(Exception):
    """STOP was reached."""


def _reading(read: Callable[[Machine], Any]) -> Step:
    """The step that pushes what `read` makes of the machine's data or stack."""

    def step(machine: Machine, position: int) -> int:
        machine.position = position
        value = read(machine)
        machine.stack.append(value)
        return machine.position

    return step


def _doing(act: Callable[[Machine], None]) -> Step:
    """The step that changes the machine and pushes nothing of its own."""

    def step(machine: Machine, position: int) -> int:
        machine.position = position
        act(machine)
        return machine.position

    return step


def _unknown(machine: Machine, position: int) -> int:
    code = machine.data[position - 1]
    names = {ord(opcode.code): opcode.name for opcode in documented}
    raise Refusal(f"the opcode {names.get(code, f'{code:#04x}, which no pickle has (not a pickle?)')}")


def _stop(machine: Machine, position: int) -> int:
    raise Stop


def _mark(machine: Machine, position: int) -> int:
    machine.levels.append(machine.stack)
    machine.stack = []
    return position


def _pop_top(machine: Machine) -> None:
    if machine.stack:
        machine.pop()
    else:
        machine.pop_level()


def _constant(value: bool | tuple[()] | None) -> Step:
    def step(machine: Machine, position: int) -> int:
        machine.stack.append(value)
        return position

    return step


def _empty(kind: Callable[[], Any]) -> Step:
    def step(machine: Machine, position: int) -> int:
        machine.stack.append(kind())
        return position

    return step


def _byte(machine: Machine, position: int) -> int:
    machine.stack.append(machine.data[position])
    return position + 1


def _number(width: int, *, signed: bool) -> Step:
    careful = _reading(lambda m: arguments.read_signed(m) if signed else arguments.read_unsigned(m, width))

    def step(machine: Machine, position: int) -> int:
        end = position + width
        if end > len(machine.data):
            return careful(machine, position)
        machine.stack.append(int.from_bytes(machine.data[position:end], "little", signed=signed))
        return end

    return step


def _bytes(width: int) -> Step:
    careful = _reading(lambda m: m.take_counted(width))

    def step(machine: Machine, position: int) -> int:
        data, start = machine.data, position + width
        end = start + (data[position] if width == 1 else int.from_bytes(data[position:start], "little"))
        if end > len(data):
            return careful(machine, position)
        machine.stack.append(data[start:end])
        return end

    return step


def _text(width: int) -> Step:
    careful = _reading(lambda m: arguments.read_utf8(m, width))

    def step(machine: Machine, position: int) -> int:
        data, start = machine.data, position + width
        end = start + (data[position] if width == 1 else int.from_bytes(data[position:start], "little"))
        if end > len(data):
            return careful(machine, position)
        try:
            machine.stack.append(data[start:end].decode())
        except UnicodeDecodeError:
            return careful(machine, position)
        return end

    return step


def _tuple_of(count: int) -> Step:
    careful = _reading(lambda m: tuple([m.pop() for _ in range(count)][::-1]))

    def step(machine: Machine, position: int) -> int:
        stack = machine.stack
        if len(stack) < count:
            return careful(machine, position)
        stack[-count:] = (tuple(stack[-count:]),)
        return position

    return step


def _tuple(machine: Machine, position: int) -> int:
    items = machine.pop_level()
    machine.stack.append(tuple(items))
    return position


def _append(machine: Machine) -> None:
    value = machine.pop()
    machine.top(list).append(value)


def _appends(machine: Machine) -> None:
    items = machine.pop_level()
    machine.top(list).extend(items)


def _set_item(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items(machine.top(dict), [key, value])


def _set_items(machine: Machine, position: int) -> int:
    items = machine.pop_level()
    machine.set_items(machine.top(dict), items)
    return position


def _dict(machine: Machine) -> dict[Any, Any]:
    items, made = machine.pop_level(), dict[Any, Any]()
    machine.set_items(made, items)
    return made


_remember_next = _doing(lambda m: m.remember(len(m.memo)))
_recall_byte = _doing(lambda m: m.recall(m.take(1)[0]))


def _memoize(machine: Machine, position: int) -> int:
    if not machine.stack:
        return _remember_next(machine, position)
    machine.memo.append(machine.stack[-1])
    return position


def _recall(machine: Machine, position: int) -> int:
    """Push what is stored under a number of one byte, or the result of the whole call that begins with it."""
    try:
        value = machine.memo[machine.data[position]]
    except LookupError:
        return _recall_byte(machine, position)
    if type(value) is Global and isinstance(machine.memo, list) and not machine.table.trusted:
        found = read_call(value, machine.data, position, machine.frame_end, machine.memo, machine.budget)
        if found is not None:
            value, end, opcodes = found
            machine.opcodes += opcodes - 1
            machine.stack.append(value)
            return end
    machine.stack.append(value)
    return position + 1


def _global(machine: Machine) -> None:
    module = arguments.read_name_line(machine)
    machine.push_global(module, arguments.read_name_line(machine))


def _stack_global(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.push_global(module, name)


def _reduce(machine: Machine, position: int) -> int:
    values, function = machine.pop(), machine.pop()
    machine.stack.append(machine.call(function, values))
    return position


def _new_object(machine: Machine) -> Any:
    values, function = machine.pop(), machine.pop()
    return machine.make_new(function, values)


def _build(machine: Machine, position: int) -> int:
    machine.build(machine.pop())
    return position


def _persistent(machine: Machine) -> Any:
    identity = machine.pop()
    if machine.table.persistent is None:
        raise Refusal("a persistent id")
    return machine.table.persistent(identity)


STEP_OF_OPCODE: dict[int, Step] = {
    ord("."): _stop,
    0x80: _doing(arguments.check_protocol),
    0x95: _doing(lambda m: m.enter_frame(arguments.read_unsigned(m, 8))),
    ord("("): _mark,
    ord("0"): _doing(_pop_top),
    ord("1"): _doing(lambda m: m.pop_level().clear()),
    ord("N"): _constant(None),
    0x88: _constant(True),
    0x89: _constant(False),
    ord("I"): _reading(arguments.read_int_line),
    ord("L"): _reading(arguments.read_long_line),
    ord("J"): _number(4, signed=True),
    ord("K"): _byte,
    ord("M"): _number(2, signed=False),
    0x8A: _reading(arguments.read_long),
    ord("F"): _reading(arguments.read_float_line),
    ord("G"): _reading(arguments.read_float),
    ord("S"): _reading(arguments.read_quoted_line),
    ord("T"): _reading(lambda m: arguments.read_old_string(m, 4)),
    ord("U"): _reading(lambda m: arguments.read_old_string(m, 1)),
    ord("V"): _reading(arguments.read_unicode_line),
    ord("X"): _text(4),
    0x8C: _text(1),
    0x8D: _text(8),
    ord("B"): _bytes(4),
    ord("C"): _bytes(1),
    0x8E: _bytes(8),
    0x96: _reading(lambda m: bytearray(m.take_counted(8))),
    ord("]"): _empty(list),
    ord("}"): _empty(dict),
    ord(")"): _constant(()),
    ord("l"): _reading(Machine.pop_level),
    ord("d"): _reading(_dict),
    ord("t"): _tuple,
    0x85: _tuple_of(1),
    0x86: _tuple_of(2),
    0x87: _tuple_of(3),
    ord("a"): _doing(_append),
    ord("e"): _doing(_appends),
    ord("s"): _doing(_set_item),
    ord("u"): _set_items,
    ord("g"): _doing(lambda m: m.recall(arguments.read_integer_line(m))),
    ord("h"): _recall,
    ord("j"): _doing(lambda m: m.recall(arguments.read_unsigned(m, 4))),
    ord("p"): _doing(lambda m: m.remember(arguments.read_integer_line(m))),
    ord("q"): _doing(lambda m: m.remember(m.take(1)[0])),
    ord("r"): _doing(lambda m: m.remember(arguments.read_unsigned(m, 4))),
    0x94: _memoize,
    ord("c"): _doing(_global),
    0x93: _doing(_stack_global),
    ord("R"): _reduce,
    0x81: _reading(_new_object),
    ord("b"): _build,
    ord("Q"): _reading(_persistent),
}
STEPS = [STEP_OF_OPCODE.get(code, _unknown) for code in range(256)]
