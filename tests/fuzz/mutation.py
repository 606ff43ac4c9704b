"""Inputs made of seeds: a program of bytes, drawn by hypothesis or by a guided fuzzer, says which changes are made."""

import re
from contextlib import suppress

from fuzz.containers import RESHAPE, SOURCES
from fuzz.tokens import NUMBERS, TOKENS

MOST_BYTES = 2**18
"""Of an input: what a parser does with more of the same is the business of its own limits."""
PROGRAM = 56
"""Bytes: enough for a reshaping and about five changes after it."""
WORD = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|\"[^\"\n]*\"|'[^'\n]*'|[A-Za-z_@.!&*-][\w@.-]*")


class Tape:
    """Choices read off a program; where it has ended, the first of everything."""

    def __init__(self, program: bytes) -> None:
        self.program, self.at = program, 0

    @property
    def ended(self) -> bool:
        return self.at >= len(self.program)

    def below(self, count: int) -> int:
        width = 1 if count <= 2**8 else 2 if count <= 2**16 else 4
        chunk = self.program[self.at : self.at + width]
        self.at += width
        return int.from_bytes(chunk, "little") % count

    def pick(self, choices):
        return choices[self.below(len(choices))]


def make_input(kind: str, seeds: list[bytes], program: bytes) -> bytes:
    """The input that a program makes of seeds of a kind: reshaped as what they hold, then changed as bytes."""
    tape = Tape(program)
    data = tape.pick(seeds)
    reshaped = data in SOURCES and kind in RESHAPE and tape.below(4) > 0
    if reshaped:
        with suppress(Exception):  # some changes make what no library packs: then the seed stays
            data = RESHAPE[kind](SOURCES[data], tape)
    tokens = TOKENS[kind]
    for _ in range(tape.below(4) + (not reshaped)):
        if tape.ended:
            break
        data = tape.pick(CHANGES)(data, seeds, tokens, tape)[:MOST_BYTES]
    return data


def flip(data, _, __, tape):
    if not data:
        return data
    at = tape.below(len(data))
    return data[:at] + bytes([data[at] ^ (1 << tape.below(8))]) + data[at + 1 :]


def set_number(data, _, __, tape):
    """Write an interesting integer of some width and byte order."""
    width, order = tape.pick((1, 2, 4, 8)), tape.pick(("little", "big"))
    number = tape.pick(NUMBERS) % 2 ** (8 * width)
    at = tape.below(max(1, len(data) - width + 1))
    return data[:at] + number.to_bytes(width, order) + data[at + width :]


def truncate(data, _, __, tape):
    return data[: tape.below(len(data) + 1)]


def delete(data, _, __, tape):
    at, length = tape.below(len(data) + 1), 1 + tape.below(64)
    return data[:at] + data[at + length :]


def repeat(data, _, __, tape):
    at, length = tape.below(len(data) + 1), 1 + tape.below(64)
    return data[:at] + data[at : at + length] * (2 + tape.below(60)) + data[at + length :]


def splice(data, seeds, _, tape):
    other = tape.pick(seeds)
    return data[: tape.below(len(data) + 1)] + other[tape.below(len(other) + 1) :]


def insert_token(data, _, tokens, tape):
    at = tape.below(len(data) + 1)
    return data[:at] + tape.pick(tokens) + data[at:]


def overwrite_token(data, _, tokens, tape):
    at, token = tape.below(len(data) + 1), tape.pick(tokens)
    return data[:at] + token + data[at + len(token) :]


def replace_word(data, seeds, tokens, tape):
    """Put a token, or a word of another seed, in the place of a word or number of a text."""
    words = list(WORD.finditer(data, 0, 4096))
    if not words:
        return insert_token(data, seeds, tokens, tape)
    word = tape.pick(words)
    return data[: word.start()] + tape.pick(tokens) + data[word.end() :]


def drop_line(data, _, __, tape):
    lines = data.split(b"\n")
    del lines[tape.below(len(lines))]
    return b"\n".join(lines)


CHANGES = (
    flip, flip, set_number, set_number, truncate, delete, repeat, splice, insert_token, overwrite_token,
    replace_word, replace_word, replace_word, drop_line,
)  # fmt: skip
