"""The one family of errors a user can cause; the command line turns each into one line and an exit code."""

MOST_CHARACTERS = 1400
"""Of a message: about what a terminal shows at a glance, while a file may hold names of any length."""

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


def printable(value: object) -> str:
    """A text of one line without control characters: foreign files may hold any."""
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def one_line(value: object, most: int = MOST_CHARACTERS) -> str:
    """A printable text of at most `most` characters; of a longer one, its beginning and its end."""
    text = printable(value)
    if len(text) <= most:
        return text
    head = (most - 5) * 2 // 3
    return f"{text[:head]} ... {text[len(text) - (most - 5 - head) :]}"


def shown(value: object, most: int = 60) -> str:
    """A foreign value as Python writes it, in at most `most` characters; one that cannot be written, by its type."""
    try:
        return one_line(repr(value), most)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or tables deep within each other
        return f"a {type(value).__name__}"


class WildhoiError(Exception):
    """A problem that the user can mend; the message says what, where, what was found, what is wanted and how.

    Whatever a file put into the message, it is one printable line of bounded length.
    """

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        """Take the message, made fit to be shown."""
        super().__init__(one_line(message))


class RunError(WildhoiError):
    """The work itself failed: a worker died, a disk is full, a result cannot be written."""

    exit_code = 1


class ShardsError(RunError):
    """Some shards of a long work failed, and all others are done."""


class InputError(WildhoiError):
    """A file, an option or a value is invalid."""

    exit_code = 2


class MissingAssetError(WildhoiError):
    """Something that must be downloaded, converted or licensed first is not there."""

    exit_code = 3


class UnsafeError(InputError):
    """A file asks for something to be executed; it is not, and nothing more of its folder is read."""
