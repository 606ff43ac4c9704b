"""The one family of errors a user can cause; the command line turns each into one line and an exit code."""


class WildhoiError(Exception):
    """A problem that the user can mend; the message says what, where, what was found, what is wanted and how."""

    exit_code = 1


class RunError(WildhoiError):
    """The work itself failed: a worker died, a disk is full, a result cannot be written."""

    exit_code = 1


class InputError(WildhoiError):
    """A file, an option or a value is invalid."""

    exit_code = 2


class MissingAssetError(WildhoiError):
    """Something that must be downloaded, converted or licensed first is not there."""

    exit_code = 3


class UnsafeError(InputError):
    """A file asks for something to be executed; it is not, and nothing more of its folder is read."""
