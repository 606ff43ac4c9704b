"""`wildhoi leaderboard build`: a folder of submissions in, a folder of plain files out."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from evaluation.comparison.statistics import RESAMPLES
from evaluation.leaderboard.ablation import ablation_board
from evaluation.leaderboard.board import Leaderboard, board_of, write_tables
from evaluation.leaderboard.entries import collect, reported_rows
from evaluation.leaderboard.tables import Statistic
from evaluation.site.content import Section, sections
from evaluation.site.drawing import names_of
from evaluation.site.gallery import Gallery, Part, Progress, draw_gallery, find_folder, named_folders, plan_gallery
from evaluation.site.pages import render_pages, static_files
from wildhoi.dataset import DataFolder
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import require_writable, write_text

MARK = ".wildhoi-site"
"""Names a folder as a site, whose stale files may be removed."""
OWN = ("methods", "images", "pictures", "scenes")
"""Folders of a site that hold nothing else."""
PER_OBJECT = 10


@dataclass(frozen=True)
class SiteOptions:
    """What a site shows.

    Attributes:
        per_object: images of each object that have a page; None for all.
        data: folders of data sets, or names; what is not given is looked for by name.
        ablations: folders that `wildhoi ablate` made.
        statistic: that tables show and are sorted by at first.
        resamples: behind ranks.
        workers: processes that draw.
    """

    per_object: int | None = PER_OBJECT
    data: tuple[str | Path, ...] = ()
    ablations: tuple[Path, ...] = ()
    statistic: Statistic = "median"
    resamples: int = RESAMPLES
    workers: int = 1


@dataclass(frozen=True)
class Site:
    """A site: its folder, how many pages and pictures it has and files it lost, what it lacks, what is in no table."""

    path: Path
    pages: int
    pictures: int
    removed: int
    troubles: tuple[str, ...]
    notes: tuple[str, ...]


def build_site(folder: Path, out: Path, options: SiteOptions | None = None, progress: Progress | None = None) -> Site:
    """Build the site of a folder of scored submissions; what is drawn already is kept.

    Args:
        folder: searched for scores.json at any depth.
        out: a new folder, or a site, whose pages are made anew.
        options: what it shows.
        progress: told (what, done, of how many).

    Raises:
        InputError: there is no such folder, `out` holds something else, or an ablation folder is none.
        MissingAssetError: data that were named are not at hand.
        RunError: a process that draws died.
    """
    options = options or SiteOptions()
    _require_site(out)
    entries, unreadable = collect(folder)
    made = sections(folder, [*entries, *reported_rows()], options.statistic, options.resamples)
    sheets = [sheet for place in options.ablations for sheet in ablation_board(place).sheets()]
    board = board_of(entries, unreadable, statistic=options.statistic)
    given = named_folders(options.data)
    write_text(out / MARK, "")  # now that nothing given is wrong; drawing may be broken off, and goes on
    with ExitStack() as stack:
        parts = [_part(section, out, given, stack, options, progress) for section in made]
        pages = render_pages(parts, sheets, board.notes)
    _write(out, pages, board)
    removed = _clear(out, set(pages) | {name for part in parts for name in part.gallery.files()} | _faces(out))
    troubles = tuple(f"{part.section.slug}: {trouble}" for part in parts for trouble in _troubles(part))
    drawn = sum(len(part.drawn) for part in parts)
    return Site(out, len(pages), drawn, removed, troubles, board.notes)


def _part(
    section: Section,
    out: Path,
    given: Mapping[str, DataFolder],
    stack: ExitStack,
    options: SiteOptions,
    progress: Progress | None,
) -> Part:
    """A section with its pictures; without them where something that they take is not there, which is told."""
    if not section.measured:
        return Part(section, Gallery(), frozenset())
    data = find_folder(section, given, stack)
    if isinstance(data, str):
        return Part(section, Gallery(trouble=data), frozenset())
    gallery = plan_gallery(section, data, options.per_object)
    try:
        draw_gallery(section, gallery, out, workers=options.workers, progress=progress)
    except (InputError, MissingAssetError) as error:
        return Part(section, Gallery(trouble=str(error)), frozenset())
    return Part(section, gallery, frozenset(name for name in gallery.files() if (out / name).is_file()))


def _troubles(part: Part) -> Iterator[str]:
    """Why there are no pictures, or which are not there although there are scores."""
    if part.gallery.trouble:
        yield f"no pictures: {part.gallery.trouble}"
    if part.gallery.note:
        yield part.gallery.note
    for result in part.section.measured:
        keys = {shot.keys[result.slug] for shot in part.gallery.every if result.slug in shot.keys}
        lost = sum(not all(part.has(name) for name in names_of(key)) for key in keys)
        if lost and not part.gallery.trouble:
            yield f"{result.row.name}: {lost} images could not be drawn; `wildhoi submission validate` may say why"


def _require_site(out: Path) -> None:
    """Refuse a folder that holds what is not a site's."""
    require_writable(out)
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise InputError(
            f"{out}: holds something else than a site; give a new or an empty folder, or --tables for the tables"
        )


def _write(out: Path, pages: Mapping[str, str], board: Leaderboard) -> None:
    """Pages, stylesheet, script and tables; a file that would be the same is left alone."""
    for name, text in {**pages, **static_files()}.items():
        path = out / name
        if not path.is_file() or path.read_bytes() != text.encode():
            write_text(path, text)
    write_tables(board, out)


def _faces(out: Path) -> set[str]:
    """Faces that scenes share: few, and right for as long as there are scenes of them."""
    return {path.relative_to(out).as_posix() for path in out.glob("scenes/faces-*.js")}


def _clear(out: Path, kept: set[str]) -> int:
    """Remove what earlier builds left in the site's own folders; how many files that were."""
    stale = [
        path
        for name in OWN
        for path in sorted((out / name).rglob("*"))
        if path.is_file() and path.relative_to(out).as_posix() not in kept
    ]
    for path in stale:
        path.unlink()
    return len(stale)
