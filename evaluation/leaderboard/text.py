"""Numbers and foreign texts as they are shown, and as each format needs them: a method's name is whatever it says."""

import math
import re
import unicodedata

NOTHING = "-"
SHOWN = 60  # characters of a foreign text in a table

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after a line's end it would open an optional argument
    "]": "{]}",
    "*": "{*}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    **{character: "\\" + character for character in "{}$&#%_"},
}


def clean(text: str) -> str:
    """One printable line: white space becomes a space, what could steer a terminal or reorder text is replaced."""
    return " ".join("".join(map(_visible, text)).split())


def _visible(character: str) -> str:
    if character.isspace():
        return " "
    return "\ufffd" if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn") else character


def short(text: str) -> str:
    """`clean`, cut to what a table has room for."""
    line = clean(text)
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"


def rounded(value: float, digits: int) -> float:
    """The value as it is shown, so that what looks equal is equal; never minus zero."""
    return float(f"{value:.{digits}f}") + 0.0


def number(value: float | None, digits: int) -> str:
    """A value with a fixed number of digits, "-" where there is none."""
    if value is None or math.isnan(value):
        return NOTHING
    return f"{rounded(value, digits):.{digits}f}"


def markdown(text: str) -> str:
    """Escape what GitHub's Markdown would read as markup, links and formulas included.

    A bar is written as an entity, because not every renderer splits a table's row by the same rule.
    """
    escaped = re.sub(r"([\\`*_\[\]<>#&~$!{}]|:(?=//))", r"\\\1", text).replace("|", "&#124;")
    return re.sub(r"(?i)\bwww\.", lambda match: match[0][:-1] + r"\.", escaped)


def latex(text: str) -> str:
    """Escape every character that TeX reads as a command."""
    escaped = "".join(LATEX.get(character, character) for character in text)
    return re.sub("-(?=-)", "-{}", escaped)  # two in a row would become a dash


def spreadsheet(text: str) -> str:
    """Keep a spreadsheet from reading a text as a formula: one that starts like it gets an apostrophe in front."""
    line = clean(text)
    return "'" + line if line.startswith(FORMULA) else line
