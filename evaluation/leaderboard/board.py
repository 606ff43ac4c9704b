"""`wildhoi leaderboard`: scored submissions and published results as tables, in every format."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType

from evaluation.leaderboard.data import csv_document, json_document
from evaluation.leaderboard.documents import latex_document, markdown_document
from evaluation.leaderboard.entries import Entry, collect, reported_rows
from evaluation.leaderboard.overview import END, START, fill_in
from evaluation.leaderboard.sheet import Sheet, exclusions, make_sheet
from evaluation.leaderboard.tables import LeaderboardTable, Statistic, tables
from evaluation.leaderboard.terminal import terminal_view
from wildhoi.errors import InputError
from wildhoi.files import write_text

README, TABLES = "README.md", "LEADERBOARD.md"


@dataclass(frozen=True)
class Leaderboard:
    """Tables of comparable results, and what stands in none: unofficial scores and files that are no scores."""

    tables: tuple[LeaderboardTable, ...]
    unofficial: tuple[Entry, ...]
    unreadable: tuple[str, ...]
    statistic: Statistic
    per_object: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found and stands in no table, with the reason, a line each."""
        return exclusions(self.unofficial, self.unreadable)

    def to_markdown(self) -> str:
        """Pipe tables, the best of a column in bold."""
        return markdown_document(self._sheets(), self.notes)

    def to_latex(self) -> str:
        """Tables for a paper, with booktabs."""
        return latex_document(self._sheets(), self.notes)

    def to_csv(self) -> str:
        """All rows in one file at full precision, the first columns naming their table."""
        return csv_document(self.tables, per_object=self.per_object)

    def to_json(self) -> str:
        """Everything at full precision, with intervals and numbers per object."""
        return json_document(self.tables, self.unofficial, self.unreadable, self.statistic)

    def to_rich(self) -> RenderableType:
        """A view for the terminal."""
        return terminal_view(self.tables, self.notes, per_object=self.per_object)

    def _sheets(self) -> list[Sheet]:
        return [make_sheet(table, per_object=self.per_object) for table in self.tables]


def leaderboard(
    folder: Path | None, *, per_object: bool = False, statistic: Statistic = "mean", reported: bool = True
) -> Leaderboard:
    """Make the leaderboard of a folder of scored submissions and the published results.

    Args:
        folder: searched for scores.json at any depth; None for the published results alone.
        per_object: a row per method and metric with a column per object, as the paper's table has it.
        statistic: over images; published results have means only.
        reported: whether published results stand beside.

    Raises:
        InputError: there is no such folder.
    """
    entries, unreadable = ([], []) if folder is None else collect(folder)
    return board_of(entries, unreadable, per_object=per_object, statistic=statistic, reported=reported)


def board_of(
    entries: Sequence[Entry],
    unreadable: Sequence[str],
    *,
    per_object: bool = False,
    statistic: Statistic = "mean",
    reported: bool = True,
) -> Leaderboard:
    """Make the leaderboard of what `collect` found; arguments as `leaderboard` has them."""
    return Leaderboard(
        tuple(tables([*entries, *(reported_rows() if reported else ())], statistic)),
        tuple(entry for entry in entries if not entry.official),
        tuple(unreadable),
        statistic,
        per_object,
    )


def build(
    folder: Path,
    out: Path,
    *,
    per_object: bool = False,
    statistic: Statistic = "mean",
    readmes: Sequence[Path] = (),
) -> list[Path]:
    """Write LEADERBOARD.md, leaderboard.csv, leaderboard.tex and leaderboard.json into a folder, each atomically.

    A README.md there that has marks for it gets an overview of the measured rows between them, and so do `readmes`.

    Raises:
        InputError: there is no such folder, or a README has one mark without the other, or one of `readmes` none.
    """
    pages = {path: _filled(folder, path, out) for path in (out / README, *readmes)}
    if unmarked := [str(path) for path in readmes if pages[path] is None]:
        raise InputError(f"{unmarked[0]}: has no place for the overview; put the line {START} in it, and then {END}")
    written = write_tables(leaderboard(folder, per_object=per_object, statistic=statistic), out)
    for path, text in pages.items():
        if text is not None:
            write_text(path, text)
            written.append(path)
    return written


def write_tables(board: Leaderboard, out: Path) -> list[Path]:
    """Write LEADERBOARD.md, leaderboard.csv, leaderboard.tex and leaderboard.json, each atomically."""
    texts = {
        TABLES: board.to_markdown(),
        "leaderboard.csv": board.to_csv(),
        "leaderboard.tex": board.to_latex(),
        "leaderboard.json": board.to_json(),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]


def _filled(folder: Path, path: Path, out: Path) -> str | None:
    """A page with its overview made anew; None where there is none, or it has no marks."""
    if not path.is_file():
        return None
    try:
        tables_at = Path(os.path.relpath(out / TABLES, path.parent)).as_posix()
        return fill_in(path.read_text(encoding="utf-8"), collect(folder)[0], tables_at)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
