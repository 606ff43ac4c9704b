"""What the site tells: the tables of a leaderboard, with everything that lies beside the scores of their rows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from evaluation.comparison.reading import Contestant, Field, read_field
from evaluation.leaderboard.entries import Entry
from evaluation.leaderboard.tables import LeaderboardTable, Statistic, TableRow, tables
from evaluation.leaderboard.text import clean
from evaluation.ledger import LEDGER, REPORTED, Ledger, Mark, mark_of, read_ledger
from evaluation.scores import SCORES
from evaluation.site.ranking import Rank, duels, ranks
from wildhoi import columns
from wildhoi.errors import InputError
from wildhoi.files import sha256_file, sha256_text
from wildhoi.submission.folder import MANIFEST, PREDICTIONS
from wildhoi.submission.manifest import Manifest, read_manifest

LONGEST_SLUG = 60
SAFE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


SECONDS = columns.Layout(texts=("image_id",), numbers={}, optional_numbers={"seconds": ()})


@dataclass(frozen=True, eq=False)
class Result:
    """A row of a table: its page, and what lies beside its scores; a published row has only its numbers.

    Attributes:
        row: of the table.
        slug: the name of its page; empty for a published row.
        folder: of the submission; None for a published row.
        manifest: of the submission; None where it cannot be read.
        seconds: that each image took, by image id; empty where nothing says so.
        contestant: what it scored on each image; None where the rows' scores do not compare.
        rank: among the rows that scored every image.
        mark: how far the ledger beside the submissions vouches for it.
    """

    row: TableRow
    slug: str
    folder: Path | None
    manifest: Manifest | None
    seconds: Mapping[str, float]
    contestant: Contestant | None
    rank: Rank | None
    mark: Mark

    @property
    def entry(self) -> Entry:
        """The numbers."""
        return self.row.entry

    @property
    def origin(self) -> str:
        """What the mark means here."""
        line = self.mark.line
        if line is None:
            return self.entry.source if self.entry.reported else "its author's numbers, not scored again"
        how = line.how or "every number found again"
        return clean(f"{how}; {line.date[:10]}, {line.by}, wildhoi {line.wildhoi}")

    @property
    def inputs(self) -> tuple[str, ...] | None:
        """What the method was given; None where nothing says so."""
        return None if self.manifest is None else self.manifest.inputs


@dataclass(frozen=True, eq=False)
class Section:
    """A table of the leaderboard and its results.

    Attributes:
        slug: names its part of the site.
        table: as `wildhoi leaderboard` has it.
        results: of its rows, in their order.
        field: the images that all measured rows were scored on; None where there is none, or they do not compare.
        won: who is surely better than whom, of `ranked`.
        ranked: the results that have a rank.
        trouble: why there is no field.
    """

    slug: str
    table: LeaderboardTable
    results: tuple[Result, ...]
    field: Field | None
    won: Int[np.ndarray, "n n"]
    ranked: tuple[Result, ...]
    trouble: str

    @cached_property
    def measured(self) -> tuple[Result, ...]:
        """The rows that were scored here."""
        return tuple(result for result in self.results if result.folder is not None)

    def values(self, result: Result, metric: str) -> Float[np.ndarray, " n"]:
        """A metric of a result on every image of the section."""
        assert self.field is not None and result.contestant is not None
        return self.field.values(result.contestant, metric)


def sections(folder: Path, entries: Sequence[Entry], statistic: Statistic, resamples: int) -> list[Section]:
    """The tables with their results.

    Args:
        folder: that the entries were found below, with the ledger where there is one.
        entries: scored and published.
        statistic: that sorts the tables.
        resamples: behind ranks.

    Raises:
        InputError: the ledger is damaged.
    """
    ledger = read_ledger(folder / LEDGER)
    made = tables(entries, statistic)
    # what has rows of our own comes first: a reader wants what can be looked into
    made.sort(key=lambda table: all(row.entry.reported for row in table.rows))
    slugs: dict[str, int] = {}
    return [_section(folder, table, _free(slug_of(table.key.protocol), slugs), ledger, resamples) for table in made]


def slug_of(text: str) -> str:
    """A text as a file name: letters, digits and dashes; never empty."""
    plain = re.sub(r"[^a-z0-9]+", "-", clean(text).lower()).strip("-")[:LONGEST_SLUG].strip("-")
    return plain or sha256_text(text)[:12]


def image_slug(image_id: str) -> str:
    """The file name of an image's page: its id where that is a harmless one."""
    return image_id if SAFE_ID.fullmatch(image_id) else f"image-{sha256_text(image_id)[:16]}"


def _free(slug: str, taken: dict[str, int]) -> str:
    """A slug that is not taken yet."""
    taken[slug] = taken.get(slug, 0) + 1
    return slug if taken[slug] == 1 else _free(f"{slug}-{taken[slug]}", taken)


def _section(folder: Path, table: LeaderboardTable, slug: str, ledger: Ledger, resamples: int) -> Section:
    measured = [row for row in table.rows if not row.entry.reported]
    field, trouble = None, ""
    if measured:
        try:
            field = read_field([_place(folder, row) for row in measured])
        except InputError as error:
            trouble = clean(str(error).replace(f"{folder}/", ""))
    scored = {} if field is None else dict(zip(map(id, measured), field.contestants, strict=True))
    complete = [row for row in measured if id(row) in scored and row.entry.overall.complete]
    won = np.zeros((0, 0), np.int64)
    if field is not None and complete:
        whole = _only(field, [scored[id(row)] for row in complete])
        won = duels(whole, table.sorted_by.name, resamples)
    rank = dict(zip(map(id, complete), ranks(won), strict=True))
    slugs: dict[str, int] = {}
    results = tuple(
        Result(row, "", None, None, {}, None, None, REPORTED)
        if row.entry.reported
        else _result(
            _place(folder, row),
            row,
            _free(f"{slug}-{slug_of(row.name)}", slugs),
            (scored.get(id(row)), rank.get(id(row))),
            ledger,
        )
        for row in table.rows
    )
    ranked = tuple(result for result in results if result.rank is not None)
    return Section(slug, table, results, field, won, ranked, trouble)


def _place(folder: Path, row: TableRow) -> Path:
    return folder / Path(str(row.entry.path)).parent


def _only(field: Field, contestants: list[Contestant]) -> Field:
    return replace(field, contestants=tuple(contestants))


def _result(
    place: Path, row: TableRow, slug: str, found: tuple[Contestant | None, Rank | None], ledger: Ledger
) -> Result:
    manifest, _ = read_manifest(place / MANIFEST)
    mark = mark_of(ledger, str(row.entry.sha256), sha256_file(place / SCORES))
    return Result(row, slug, place, manifest, _seconds(place / PREDICTIONS), *found, mark)


def _seconds(path: Path) -> dict[str, float]:
    """How long each image took, of a file that may be anything."""
    try:
        table = columns.read_columns(path, SECONDS)
    except InputError:
        return {}
    if "image_id" not in table.texts or "seconds" not in table.numbers:
        return {}
    pairs = zip(table.texts["image_id"], table.numbers["seconds"], strict=True)
    return {name: float(value) for name, value in pairs if name and np.isfinite(value) and value >= 0}
