"""The state of a pickle reader that builds plain data itself: nothing is imported, only a table of names is called."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from wildhoi.convert.pickle_arrays import (
    MISFITS,
    Budget,
    Dtype,
    Forbidden,
    Global,
    Handler,
    Name,
    Refusal,
    clip,
    mention,
    set_array_state,
)

MAX_PLACES = 4
RECONSTRUCTORS = (("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor"))
OBJECTS = (("__builtin__", "object"), ("builtins", "object"))


@dataclass(frozen=True)
class Table:
    """What a pickle may mention.

    Attributes:
        callables: names that may be called and what is called in their place, with the budget before the pickle's
            arguments; None: may be mentioned only.
        trusted: names of the caller's own classes and the factories that stand for them.
        persistent: what answers a persistent id, or None when there may be none.
    """

    callables: Mapping[Name, Handler | None]
    trusted: Mapping[Name, Handler]
    persistent: Handler | None = None


class SparseMemo(dict[int, Any]):
    """A memo that numbers leave gaps in, to be used like the list that a memo is otherwise."""

    def append(self, value: Any) -> None:
        """Store a value under the number of values."""
        self[len(self)] = value

    def extend(self, values: Iterable[Any]) -> None:
        """Store values in turn."""
        for value in values:
            self.append(value)


class Machine:
    """The pickle virtual machine, reduced to plain data: a stack with marked levels, a memo, and the bytes left."""

    def __init__(self, data: bytes, table: Table, budget: Budget, encoding: str, position: int = 0) -> None:
        self.data, self.position, self.table = data, position, table
        self.budget, self.encoding = budget, encoding
        self.stack: list[Any] = []
        self.levels: list[list[Any]] = []
        self.memo: list[Any] | SparseMemo = []
        self.instances: dict[int, Any] = {}
        self.opcodes = 0
        # where the next opcode may not lie any more: the end of the frame or of the data
        self.frame_end = len(data)
        self.in_frame = False

    def where(self) -> str:
        """The place in the data under construction, for messages: item and key of each container that is open."""
        places = []
        for parent, level in list(pairwise([*self.levels, self.stack]))[:MAX_PLACES]:
            container = parent[-1] if parent else None
            if isinstance(container, dict) and level and isinstance(level[0], str):
                label = f"{level[0]}={clip(level[1])}, " if len(level) > 2 and isinstance(level[1], str) else ""
                keys = [key for key in level[::2] if isinstance(key, str)]
                places.append(f"{label}key {clip(keys[-1])}")
            elif isinstance(container, list):
                places.append(f"item {len(container) + max(len(level) - 1, 0)}")
        return "".join(f", {place}" for place in places)

    def take(self, size: int) -> bytes:
        """The next `size` bytes, never more than there are."""
        end = self.position + size
        if size < 0 or end > len(self.data):
            raise Refusal(f"a claim of {size} bytes where {len(self.data) - self.position} are left (cut short?)")
        chunk = self.data[self.position : end]
        self.position = end
        return chunk

    def take_counted(self, width: int) -> bytes:
        """A chunk whose length stands before it in `width` bytes."""
        return self.take(int.from_bytes(self.take(width), "little"))

    def take_line(self) -> bytes:
        """The bytes up to the next line end."""
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise Refusal("a text line without an end (cut short?)")
        line = self.take(end - self.position)
        self.position += 1
        return line

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the top of the stack."""
        if not self.stack:
            raise Refusal("a value that is missing (damaged?)")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        """The top of the stack, which must be of this exact type."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise Refusal(f"an opcode for a {kind.__name__} on something else")
        return self.stack[-1]

    def pop_level(self) -> list[Any]:
        """Take everything since the last mark."""
        if not self.levels:
            raise Refusal("a mark that is missing (damaged?)")
        items, self.stack = self.stack, self.levels.pop()
        return items

    def mark(self) -> None:
        """Open a level."""
        self.levels.append(self.stack)
        self.stack = []

    def remember(self, index: int) -> None:
        """Store the top of the stack under a number."""
        if not self.stack:
            raise Refusal("a value that is missing (damaged?)")
        if index == len(self.memo):
            self.memo.append(self.stack[-1])
            return
        if isinstance(self.memo, list) and not 0 <= index < len(self.memo):
            self.memo = SparseMemo(enumerate(self.memo))
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        """Push what is stored under a number."""
        known = index in self.memo if isinstance(self.memo, SparseMemo) else 0 <= index < len(self.memo)
        if not known:
            raise Refusal(f"a reference to value {index}, which is not there (damaged?)")
        self.push(self.memo[index])

    def text(self, raw: bytes, encoding: str, errors: str = "strict") -> str:
        """Decode a string."""
        try:
            return raw.decode(encoding, errors)
        except UnicodeDecodeError:
            hint = "; read a Python 2 pickle with encoding='latin1'" if encoding.lower() == "ascii" else ""
            raise Refusal(f"a string that is not {encoding}{hint}") from None

    def push_global(self, module: Any, name: Any) -> None:
        """Push a name that the table holds."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refusal("a global whose name is not text")
        known = (module, name) in self.table.callables or (module, name) in self.table.trusted
        if not known and not (self.table.trusted and (module, name) in (*RECONSTRUCTORS, *OBJECTS)):
            raise Forbidden(f"the forbidden global {clip(f'{module}.{name}')}")
        self.stack.append(mention(module, name))

    def call(self, function: Any, arguments: Any) -> Any:
        """Call what the table holds for a name."""
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise Refusal("a call of something that is not a name")
        name = (function.module, function.name)
        if self.table.trusted:
            if name in RECONSTRUCTORS and arguments and isinstance(arguments[0], Global):
                return self._make_trusted(arguments[0], ())
            if name in self.table.trusted:
                return self._make_trusted(function, arguments)
        handler = self.table.callables.get(name)
        if handler is None:
            raise Refusal(f"a call of {clip('.'.join(name))}")
        try:
            return handler(self.budget, *arguments)
        except MISFITS:
            raise Refusal(f"a call of {clip('.'.join(name))} with other arguments than expected") from None

    def make_new(self, function: Any, arguments: Any) -> Any:
        """Make an instance of one of the caller's own classes."""
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise Refusal("an instance of something that is not a name")
        return self._make_trusted(function, arguments)

    def build(self, state: Any) -> None:
        """Give the top of the stack its state: an array, a data type or an instance of the caller's own classes."""
        target = self.stack[-1] if self.stack else None
        try:
            if type(target) is np.ndarray:
                set_array_state(target, state, self.budget)
            elif type(target) is Dtype:
                target.set_state(state)
            elif id(target) in self.instances:
                _set_instance_state(target, state)
            else:
                raise Refusal(f"a state for a {type(target).__name__}")
        except MISFITS:
            raise Refusal("a numpy array with an unusual state") from None

    def set_items(self, target: dict[Any, Any], items: list[Any]) -> None:
        """Add keys and values in turn; keys are strings or integers, whose hashes a file cannot make collide."""
        if len(items) % 2:
            raise Refusal("a dict key without a value (damaged?)")
        in_turn = iter(items)
        for key, value in zip(in_turn, in_turn, strict=True):
            if type(key) is not str and (type(key) is not int or abs(key) >= 2**60):
                raise Refusal(f"a dict key that is neither text nor a number: {clip(key)}")
            target[key] = value

    def enter_frame(self, size: int) -> None:
        """Note the end of a protocol-4 frame."""
        if self.in_frame:
            raise Refusal("a frame inside a frame")
        if size > len(self.data) - self.position:
            raise Refusal(f"a frame of {size} bytes where {len(self.data) - self.position} are left (cut short?)")
        self.in_frame, self.frame_end = True, self.position + size

    def leave_frame(self, position: int) -> None:
        """End the frame whose end the opcodes reached; raises Refusal inside an opcode and at the end of the data."""
        self.position = position
        if position > self.frame_end:
            raise Refusal("a frame that ends inside an opcode")
        self.in_frame, self.frame_end = False, len(self.data)
        if position == len(self.data):
            self.take(1)

    def result(self) -> Any:
        """The one value that is left at STOP."""
        if self.levels or len(self.stack) != 1:
            raise Refusal("values left over at the end (damaged?)")
        return self.stack[0]

    def _make_trusted(self, function: Global, arguments: tuple[Any, ...]) -> Any:
        factory = self.table.trusted.get((function.module, function.name))
        if factory is None:
            raise Refusal(f"an instance of {clip(f'{function.module}.{function.name}')}")
        try:
            instance = factory(*arguments)
        except MISFITS as error:
            raise Refusal(f"a {clip(function.name)} that cannot be made ({error})") from None
        self.instances[id(instance)] = instance
        return instance


def _set_instance_state(target: Any, state: Any) -> None:
    try:
        if hasattr(target, "__setstate__"):
            target.__setstate__(state)
        else:
            vars(target).update(state)
    except MISFITS as error:
        raise Refusal(f"a {type(target).__name__} with an unusual state ({error})") from None
