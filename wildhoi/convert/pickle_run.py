"""Running the pickle machine within limits on opcodes and on the depth of its stack."""

from typing import Any

from wildhoi.convert.pickle_arrays import Refusal
from wildhoi.convert.pickle_machine import Machine
from wildhoi.convert.pickle_opcodes import STEPS, Stop
from wildhoi.convert.pickle_shortcuts import MAX_CALL_OPCODES

MAX_OPCODES = 20_000_000
MAX_STACK = 100_000
BLOCK = 1_000


def run(machine: Machine) -> Any:
    """Read one pickle up to its STOP and return the value; raises Refusal for anything that is not accepted.

    Steps are taken in blocks as long as no block can go beyond a limit, and from then on one by one.
    """
    far = True
    while not _take_steps(machine, BLOCK if far else 1):
        if machine.opcodes > MAX_OPCODES or len(machine.stack) > MAX_STACK or len(machine.levels) > MAX_STACK:
            raise Refusal("a structure that is too deep or too large")
        far = far and _far_from_limits(machine)
    return machine.result()


def _far_from_limits(machine: Machine) -> bool:
    """Whether a block stays within the limits, as each of its steps adds one value or one level at most."""
    if machine.opcodes > MAX_OPCODES - BLOCK * MAX_CALL_OPCODES or len(machine.levels) > min(BLOCK, MAX_STACK - BLOCK):
        return False
    return max(map(len, (machine.stack, *machine.levels))) <= MAX_STACK - BLOCK


def _take_steps(machine: Machine, count: int) -> bool:
    """Take this many steps, or fewer if STOP comes before; returns whether it came."""
    data, steps, position = machine.data, STEPS, machine.position
    try:
        for _ in range(count):
            if position >= machine.frame_end:
                machine.leave_frame(position)
            code = data[position]
            position += 1
            position = steps[code](machine, position)
    except Stop:
        machine.position = position
        return True
    except Refusal:
        machine.position = max(machine.position, position)
        raise
    except IndexError:
        machine.position = position
        machine.take(1)  # refuses: nothing but the data is indexed beyond its end
        raise
    machine.opcodes += count
    machine.position = position
    return False
