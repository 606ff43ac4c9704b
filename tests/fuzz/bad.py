"""Parsers as they must not be, one for each thing that the harness has to catch."""

import os
from pathlib import Path

BOMB = b"bomb"


def _refuses(parse):
    """Do the deed where the input says so, as hostile inputs do."""

    def run(path, out):
        if path.read_bytes()[:1] == b"b":
            parse(path)

    return run


def dies(path):
    os.abort()


def hangs(path):
    while True:
        pass


def grows(path):
    return bytearray(2 * 2**30)


def hides_growth(path):
    from wildhoi.errors import InputError

    try:
        return bytearray(2 * 2**30)
    except MemoryError:
        raise InputError(f"{path}: damaged") from None


def writes(path):
    try:
        (path.parent / "escaped").write_text("x")
    except Exception:  # noqa: BLE001 - as a parser might
        return


def executes(path):
    exec(compile("x = 1", "<input>", "exec"), {})


def raises(path):
    raise ValueError("no refusal")

    raise InputError(f"{path}: {'x' * 10**5}")


def is_nameless(path):
    from wildhoi.errors import InputError

    raise InputError("damaged")


def calls_out(path):
    import socket

    socket.socket().connect(("127.0.0.1", 9))


EXPECTED = {
    "dies": "ends the process by signal 6",
    "hangs": "hangs",
    "grows": "asks for more than",
    "hides_growth": "asks for more than",
    "writes": "to write",
    "executes": "executes code",
    "raises": "raises ValueError",
    "is_nameless": "does not name the file",
    "calls_out": "socket.",
}
PARSERS = {name: _refuses(globals()[name]) for name in EXPECTED}
FOLDER = Path(__file__).parent
