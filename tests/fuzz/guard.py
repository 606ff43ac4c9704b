"""What no parser may do, watched from inside the process that runs it: reach out, execute, or take a gigabyte."""

import os
import resource
import sys
from contextlib import contextmanager
from pathlib import Path

from wildhoi.errors import MOST_CHARACTERS, WildhoiError

MEMORY = 2**30
"""Bytes above those after the imports: what a laptop can spare for a file of a few kilobytes."""
MOST_WRITTEN = 2**28
"""Bytes of one file: a parser that fills the disk is stopped long before it has."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "os.utime", "shutil.rmtree", "shutil.move", "shutil.copyfile", "shutil.unpack_archive", "tempfile.mkdtemp",
    "tempfile.mkstemp",
}  # fmt: skip
NEVER = (
    "subprocess.", "os.system", "os.exec", "os.fork", "os.spawn", "os.posix_spawn", "os.startfile", "os.kill", "pty.",
    "socket.", "ctypes.", "pickle.find_class", "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.",
)  # fmt: skip
OUT_OF_MEMORY = ("allocate memory", "insufficient memory", "out of memory", "bad_alloc", "unable to allocate")


class Forbidden(BaseException):
    """A deed that no parser does; no `except Exception` hides it."""


class Guard:
    """Refuses deeds while a parser is at work, and remembers them in case the parser hides the refusal."""

    def __init__(self, allowed: Path) -> None:
        self.allowed = os.path.realpath(allowed) + os.sep
        self.active, self.deeds = False, []
        sys.addaudithook(self._see)  # for the life of the process: it cannot be taken away

    @contextmanager
    def watching(self):
        """Watch what is done inside the block; `deeds` are those of the last one."""
        self.deeds, self.active = [], True
        try:
            yield
        finally:
            self.active = False

    def _see(self, event, args):
        if not self.active:
            return
        deed = self._deed(event, args)
        if deed:
            self.deeds.append(deed)
            raise Forbidden(deed)

    def _deed(self, event, args):
        if event == "open":
            path, _, flags = args
            writes = isinstance(flags, int) and flags & WRITING
            return f"opens {path!r:.200} to write" if writes and not self._is_allowed(path) else None
        if event == "exec":  # code of modules comes from files, what is made of an input does not
            name = args[0].co_filename
            foreign = name.startswith("<") and "frozen" not in name and not _is_importing()
            return f"executes code from {name!r:.80}" if foreign else None
        if event in CHANGES:
            outside = [path for path in args[:2] if isinstance(path, str | bytes | Path) and not self._is_allowed(path)]
            return f"{event} of {outside[0]!r:.200}" if outside else None
        return f"{event} {args!r:.120}" if event.startswith(NEVER) else None

    def _is_allowed(self, path):
        if isinstance(path, int):
            return True  # a descriptor: its file was opened before, under these rules
        return (os.path.realpath(os.fsdecode(path)) + os.sep).startswith(self.allowed)


def _is_importing() -> bool:
    """Whether a module is being imported, which makes code of its own: named tuples and data classes."""
    frame = sys._getframe()
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def limit_memory() -> None:
    """Allow the process a gigabyte of addresses above what it has; no dump when it dies."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_WRITTEN, MOST_WRITTEN))


def _is_nesting(error: BaseException) -> bool:
    """Whether Python's own parser gave up on brackets within brackets, which it calls a lack of memory."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename.endswith("ast.py")


def judge(error, name: str | None) -> str | None:
    """What is wrong with how a parser ended; None for a return or a proper refusal of the file.

    Args:
        error: the exception, or None.
        name: that the message must hold; None where the parser is given bytes and knows no name.
    """
    seen = error
    while seen is not None:  # a refusal to give memory is one even where the parser made a polite message of it
        if (isinstance(seen, MemoryError) and not _is_nesting(seen)) or any(
            words in str(seen).lower() for words in OUT_OF_MEMORY
        ):
            return f"asks for more than {MEMORY} bytes of memory"
        seen = seen.__cause__ or seen.__context__
    if error is None:
        return None
    if not isinstance(error, WildhoiError):
        return f"raises {type(error).__name__}: {error!s:.300}"
    message = str(error)
    if len(message) > MOST_CHARACTERS or not message.isprintable():
        return f"says something of {len(message)} characters, or not printable: {message!a:.200}"
    return f"does not name the file: {message:.300}" if name is not None and name not in message else None
