"""`wildhoi group`: views of a data set grouped by whether they may show the same scene."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wildhoi.cli.shared import (
    Address,
    EngineKind,
    Json,
    Processes,
    Progress,
    make_engine,
    say,
    show,
    show_json,
)
from wildhoi.errors import printable

if TYPE_CHECKING:
    from rich.table import Table

    from baselines.grouping import GroupReport, Groups, GroupSettings
    from baselines.grouping.report import Agreement
    from wildhoi.engine import Engine
    from wildhoi.views import Views


Name = Annotated[str, typer.Option("--dataset", "--data", help="A data folder or the name of a data set.")]
Thing = Annotated[str, typer.Option("--object", help="The object, such as data info lists them.")]
Out = Annotated[Path | None, typer.Option("-o", "--out", help="Keep the groups in this .npz.")]
K = Annotated[int, typer.Option("--k", min=1, help="Neighbours of a view.")]
Kind = Annotated[
    Literal["true", "unnormalised"], typer.Option(help="Of two rays; unnormalised: as equation 11 is printed.")
]
Pool = Annotated[int | None, typer.Option(min=1, help="Nearest views to choose from; default 8 k.")]
Consistency = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Share of the distance to neighbours already taken; 0: off.")
]
Diversity = Annotated[
    float, typer.Option(min=0.0, max=2.0, help="By how much the views of two neighbours differ at least; 0: off.")
]
Threshold = Annotated[float | None, typer.Option(help="Metres; views further away are no neighbours.")]
Rounds = Annotated[
    int | None,
    typer.Option(min=1, help="Search so many rounds instead of comparing all pairs: for a million views and more."),
]
Which = Annotated[
    Literal["images", "all"], typer.Option(help="One view an image, or the further views of its scenes too.")
]
Source = Annotated[Literal["estimates", "truth"], typer.Option(help="Whose keypoints and camera an image has.")]
Split = Annotated[Literal["train", "test"], typer.Option(help="Of the images.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Memory = Annotated[float, typer.Option(help="Gigabytes that the work may take, beside the views.")]


def group(
    data: Name,
    thing: Thing,
    out: Out = None,
    k: K = 16,
    distance: Kind = "true",
    pool: Pool = None,
    consistency: Consistency = 0.5,
    diversity: Diversity = 0.2,
    threshold: Threshold = None,
    rounds: Rounds = None,
    views: Which = "images",
    source: Source = "estimates",
    split: Split = "train",
    device: Device = "auto",
    memory: Memory = 1.0,
    workers: Processes = None,
    engine: EngineKind = "local",
    address: Address = "auto",
    as_json: Json = False,
) -> None:
    """Find the views whose rays pass a view's own nearest (equations 11 and 12), and say what such groups are worth."""
    from wildhoi.dataset import find_data
    from wildhoi.objects import find_category

    folder = find_data(data)
    find_category(thing)
    _require_file(out)
    # torch comes only after what can be refused without it
    from baselines.grouping import GroupSettings, make_report
    from wildhoi.devices import find_device
    from wildhoi.view_reading import read_views

    settings = GroupSettings(k, distance, pool, consistency, diversity, threshold, rounds, _bytes(memory))
    where, found = find_device(device), read_views(folder, thing, split=split, views=views, source=source)
    provenance = {"data": folder.name, "revision": folder.revision, "split": split, "views": views, "source": source}
    groups = _group(found, settings, out, where, make_engine(engine, workers, address, where), provenance)
    report = make_report(groups, found)
    if as_json:
        return show_json(report.to_dict() | {"settings": settings.to_dict(), "provenance": provenance})
    _show(report, found.left_out, out)


def _group(
    views: "Views",
    settings: "GroupSettings",
    out: Path | None,
    device: str,
    engine: "Engine",
    provenance: Mapping[str, str],
) -> "Groups":
    """Group; with a file, what is finished is kept beside it until the file is there."""
    from baselines.grouping import group_views, work_folder, write_groups

    with Progress(engine) as progress:
        make = partial(
            group_views,
            views,
            settings,
            device=device,
            engine=engine,
            provenance=provenance,
            progress=partial(progress, "grouping"),
        )
        if out is None:
            return make()
        with work_folder(out) as work:
            groups = make(work=work)
            write_groups(out, groups)
    return groups


def _require_file(out: Path | None) -> None:
    from wildhoi.errors import InputError
    from wildhoi.files import require_writable

    if out is None:
        return
    if out.suffix != ".npz" or out.is_dir():
        raise InputError(f"{out}: want the name of an .npz file; change -o")
    require_writable(out.parent)


def _show(report: "GroupReport", left_out: Mapping[str, int], out: Path | None) -> None:
    for reason, number in left_out.items():
        say(f"left out: {number:,} images {printable(reason)}")
    show(_table(report))
    for warning in report.warnings:
        say(f"warning: {printable(warning)}")
    if out is not None:
        say(f"wrote {out}")


def _bytes(gigabytes: float) -> int:
    from math import isfinite

    from wildhoi.errors import InputError

    if not isfinite(gigabytes) or gigabytes * 2**30 < 2**20:
        raise InputError(f"--memory {gigabytes:g}: want gigabytes, at least 0.001")
    return int(gigabytes * 2**30)


def _table(report: "GroupReport") -> "Table":
    """The facts of a report, one a line."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    short = f", {100 * report.short:.1f} % of views have fewer" if report.short else ""
    table.add_row("views", f"{report.views:,} of {printable(report.object)}")
    table.add_row("neighbours", f"{report.neighbours:.1f} of {report.k}{short}")
    table.add_row("distance of the first", f"{_quantiles(report.nearest, 100)} cm (10, 50, 90 % of views)")
    table.add_row("distance at k", f"{_quantiles(report.distance_at_k, 100)} cm")
    table.add_row("effective neighbours", _quantiles(report.effective, 1))
    table.add_row("of the same scene", _agreement(report.same_scene, "no two views are known to be of one scene"))
    table.add_row("of the same interaction", _agreement(report.same_interaction, "not known"))
    return table


def _quantiles(values: tuple[float, ...], scale: float) -> str:
    return ", ".join(f"{scale * value:.1f}" for value in values)


def _agreement(found: "Agreement | None", unknown: str) -> str:
    if found is None:
        return unknown
    return (
        f"{100 * found.share:.1f} % (at random {100 * found.chance:.1f} %, at best {100 * found.best:.1f} %; "
        f"{found.kinds:,} different ones)"
    )
