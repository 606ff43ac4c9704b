"""Running the command line inside the test process, as the console script does."""

import sys
from typing import NamedTuple

import submissions
from wildhoi import cli


class Outcome(NamedTuple):
    """What a command left: its exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def first(self) -> str:
        """The line that tells a user what is wrong."""
        return self.err.splitlines()[0] if self.err else ""


def run(monkeypatch, capfd, *words) -> Outcome:
    """Run `wildhoi WORDS`."""
    monkeypatch.setattr(sys, "argv", ["wildhoi", *map(str, words)])
    capfd.readouterr()
    code = 0
    with submissions.unchecked():
        try:
            cli.main()
        except SystemExit as exit:
            code = exit.code or 0
    return Outcome(int(code), *capfd.readouterr())
