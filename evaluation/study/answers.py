"""Answers of raters: files from nobody knows whom, read with limits and checked to the last field."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.leaderboard.text import clean, short
from evaluation.study.key import Key
from wildhoi.errors import InputError
from wildhoi.files import read_json
from wildhoi.submission.defects import Defect, DefectError

FORMAT = 1
MOST_BYTES, MOST_FILES = 2**21, 2000
LONGEST_NAME, LONGEST_REASON = 40, 300
"""Letters of a rater's name, and of what is told of a file that cannot be read."""
LONGEST_ANSWER = 10 * 24 * 3600.0
"""Seconds."""
SIDES, SAME = ("left", "right"), "same"
HEAD = ("format", "study", "rater", "answers")
FIELDS = ("trial", "choice", "seconds")
ASK = "ask for the file as the page saved it"


@dataclass(frozen=True)
class Answers:
    """What a rater answered: by trial the side (or `same`) and the seconds it took, in the order that was shown."""

    rater: str
    choices: Mapping[str, str]
    seconds: tuple[float, ...]


def read_answers(paths: Sequence[Path], key: Key) -> list[Answers]:
    """Read the answers to a study, in the order of the raters' names.

    Args:
        paths: files that the page saved, or folders of them.
        key: of the study.

    Raises:
        DefectError: files are unreadable, damaged, of another study, or two are of one rater; names every defect.
        InputError: there is no file.
    """
    files = _files(paths)
    defects: list[Defect] = []
    found: list[tuple[Path, Answers]] = []
    for path in files:
        try:
            content = read_json(path, MOST_BYTES)
        except InputError as error:
            defects.append(Defect("unreadable", clean(str(error))[:LONGEST_REASON], "a file of answers", ASK))
            continue
        wrong = [
            Defect(code, f"{got} in {clean(str(path))}", want, hint) for code, got, want, hint in _defects(content, key)
        ]
        defects += wrong
        if not wrong:
            found.append((path, _answers(content)))
    defects += _repeated(found)
    if defects:
        raise DefectError("answers", defects)
    return sorted((answers for _, answers in found), key=lambda answers: answers.rater)


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files, and those in the folders, each once."""
    found = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not found or len(found) > MOST_FILES:
        where = ", ".join(short(str(path)) for path in paths[:3]) or "no path given"
        raise InputError(
            f"{where}: {len(found)} files of answers, want 1 to {MOST_FILES}; the page saves them as answers-NAME.json"
        )
    return list(dict.fromkeys(found))


def _answers(content: Mapping[str, Any]) -> Answers:
    answers = content["answers"]
    choices = {answer["trial"]: answer["choice"] for answer in answers}
    return Answers(tidy(content["rater"]), choices, tuple(float(answer["seconds"]) for answer in answers))


def _repeated(found: Sequence[tuple[Path, Answers]]) -> Iterator[Defect]:
    """Raters of whom there are two files: names that differ in case or blanks alone are one rater's."""
    first: dict[str, Path] = {}
    for path, answers in found:
        name = answers.rater.casefold()
        if name in first:
            got = f"{shown(answers.rater)} in {clean(str(first[name]))} and {clean(str(path))}"
            yield Defect("duplicate-rater", got, "one file of each rater", "keep the later one, or ask who is who")
        first.setdefault(name, path)


Found = tuple[str, str, str, str]
"""The code of a defect, what was found, what is wanted, and how to mend it."""


def _defects(content: Any, key: Key) -> Iterator[Found]:
    """What is wrong with the content of a file."""
    if not isinstance(content, dict):
        yield "no-answers", _kind(content), "an object with the answers", ASK
        return
    yield from _fields(content, HEAD, "file")
    if content.get("format", FORMAT) != FORMAT or isinstance(content.get("format"), bool):
        yield "format", shown(content["format"]), str(FORMAT), "it is of another version of the page"
    if "study" in content and content["study"] != key.study:
        yield "other-study", shown(content["study"]), key.study, "answers to another study do not count in this one"
    if "rater" in content and not is_name(content["rater"]):
        wanted = f"1 to {LONGEST_NAME} letters, digits, blanks and . _ -, a letter or digit first"
        yield "odd-name", shown(content["rater"]), wanted, "ask the rater for another pseudonym"
    answers = content.get("answers", ())
    if "answers" in content and (not isinstance(answers, list) or not answers):
        yield "no-answers", _kind(answers), "a list with an answer or more", ASK
    elif len(answers) > len(key.trials):
        yield "many-answers", f"{len(answers)} answers", f"at most {len(key.trials)}", ASK
    else:
        yield from _wrong_answers(answers, key)


def _wrong_answers(answers: Sequence[Any], key: Key) -> Iterator[Found]:
    trials, seen = {trial.name for trial in key.trials}, set()
    allowed = (*SIDES, SAME) if key.ties else SIDES
    for number, answer in enumerate(answers, 1):
        where = f"answer {number}"
        if not isinstance(answer, dict):
            yield "answer-type", f"{_kind(answer)} as {where}", "an object", ASK
            continue
        yield from _fields(answer, FIELDS, where)
        trial, choice, seconds = (answer.get(name) for name in FIELDS)
        if "trial" in answer and (not isinstance(trial, str) or trial not in trials):
            yield "unknown-trial", f"{shown(trial)} as trial of {where}", "a trial of the study", ASK
        elif isinstance(trial, str) and trial in seen:
            yield "duplicate-trial", f"trial {shown(trial)} again as {where}", "each trial once", ASK
        if isinstance(trial, str):
            seen.add(trial)
        if "choice" in answer and (not isinstance(choice, str) or choice not in allowed):
            yield "odd-choice", f"{shown(choice)} as choice of {where}", " or ".join(allowed), ASK
        if "seconds" in answer and not _is_time(seconds):
            yield "odd-seconds", f"{shown(seconds)} as seconds of {where}", "a number of seconds", ASK


def _fields(content: Mapping[str, Any], wanted: Sequence[str], where: str) -> Iterator[Found]:
    """Fields that are missing or that nobody knows."""
    if lost := [name for name in wanted if name not in content]:
        yield "missing-field", f"{where} without {', '.join(lost)}", ", ".join(wanted), ASK
    if extra := [name for name in content if name not in wanted]:
        listed = ", ".join(shown(name) for name in extra[:3]) + (", ..." if len(extra) > 3 else "")
        yield "unknown-field", f"{where} with {listed}", f"{', '.join(wanted)} alone", ASK


def _is_time(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value <= LONGEST_ANSWER  # NaN is neither


def is_name(value: Any) -> bool:
    """Whether something is a rater's name as the page takes it."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or not value[0].isalnum():
        return False
    return all(unicodedata.category(letter)[0] in "LMN" or letter in " ._-" for letter in value)


def tidy(name: str) -> str:
    """A rater's name in the one form in which equal names are equal."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def shown(value: Any) -> str:
    """A foreign value for a message: one line of printable characters, not too long."""
    return short(ascii(value) if isinstance(value, str) else str(value)[:200] if _plain(value) else _kind(value))


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 10**30)


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        int: "a number",
        float: "a number",
        bool: "a truth value",
    }
    if isinstance(value, list) and not value:
        return "an empty list"
    return names.get(type(value), "nothing")
