"""`wildhoi reproduce`: a reference submission made again and compared with it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wildhoi.cli.run import Settings, parse_settings
from wildhoi.cli.shared import Json, Objects, Progress, Workers, names, say, show, show_json
from wildhoi.errors import printable

if TYPE_CHECKING:
    from rich.table import Table

    from wildhoi.agreement import Means, Reproduction
    from wildhoi.running.watching import Watch

SHOWN_IMAGES = 5
UNITS = {"translation": "cm", "rotation": "deg", "scale": "%", "body_pose": "deg"}


def reproduce(
    method: Annotated[str, typer.Argument(help="As methods list has it.")],
    dataset: Annotated[str, typer.Option("--dataset", "--data", help="A data folder or the name of a data set.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder of the run, which is a submission.")],
    objects: Objects = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many images of every object.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="The submission to compare with; default submissions/DATASET/METHOD.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    batch: Annotated[int | None, typer.Option(min=1, help="Images at once; default the reference's.")] = None,
    tolerance: Annotated[
        float, typer.Option(help="Share of a mean by which it may differ; 0.1 cm and 0.1 degrees are always allowed.")
    ] = 0.05,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that the folder holds.")] = False,
    workers: Workers = 1,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Fit images of a reference submission again, with its settings, and compare with it; exit code 1 if it differs.

    No two machines round alike, and over 1,300 steps of an optimiser the last bits of a number grow: images may
    differ visibly where a fit stands between two solutions. So it is the headline means that must agree, within
    `--tolerance`, and the same images that must have a reconstruction; how far images are apart is shown.
    """
    from wildhoi.dataset import find_data
    from wildhoi.files import require_writable
    from wildhoi.reproducing import Refit, find_reference
    from wildhoi.reproducing import reproduce as make_again

    require_writable(out)
    wanted = Refit(names(objects), limit, device, batch, tolerance, resume, workers, parse_settings(settings or []))
    data = find_data(dataset)
    original = find_reference(method, data.name, reference)
    with Progress() as progress:
        found = make_again(original, data, out, wanted, _watch(progress))
    if as_json:
        show_json(found.to_dict())
    else:
        show(*_report(found))
        _say_verdict(found)
    if not found.passed:
        raise typer.Exit(1)


def _watch(progress: Progress) -> "Watch":
    from wildhoi.running.watching import Watch

    return Watch(
        images=lambda done, total: progress("images", done, total),
        moment=lambda key, told: progress("steps", told.done, told.total, printable(f"of {key}")),
        say=say,
    )


def _report(found: "Reproduction") -> "tuple[Table, str, Table]":
    """How far images are apart, and the means that decide; the reference's above the refit's."""
    from rich.table import Table

    groups = {**found.objects, "all images": found.overall}
    apart = Table("Object", "Images", box=None, pad_edge=False)
    for kind, unit in UNITS.items():
        apart.add_column(f"{kind.replace('_', ' ').capitalize()}\n{unit}: median (max)", justify="right")
    means = Table("Mean of", box=None, pad_edge=False)
    for name, mean in found.overall.means.items():
        means.add_column(f"{name.replace('_', ' ').capitalize()}\n{mean.unit}", justify="right")
    for name, group in groups.items():
        spreads = (group.differences.get(kind) for kind in UNITS)
        cells = ("-" if s is None else f"{s.median:.2f} ({s.maximum:.2f})" for s in spreads)
        apart.add_row(printable(name), str(group.images), *cells)
        means.add_row(f"{printable(name)}\n  made again", *map(_stacked, group.means.values()))
    return apart, "", means


def _stacked(means: "Means") -> str:
    return "\n".join("-" if value is None else f"{value:.2f}" for value in (means.reference, means.refit))


def _say_verdict(found: "Reproduction") -> None:
    for note in found.notes:
        say(f"warning: {printable(note)}")
    if found.failed:
        say(f"{found.failed} images have no reconstruction on either side")
    if found.unequal:
        some = ", ".join(found.unequal[:SHOWN_IMAGES]) + (", ..." if len(found.unequal) > SHOWN_IMAGES else "")
        say(f"{len(found.unequal)} images have a reconstruction on one side alone: {printable(some)}")
    for name in found.differing:
        means = found.overall.means[name]
        say(f"{name}: {means.reference} {means.unit} in the reference, {means.refit} made again")
    within = f"within {100 * found.tolerance:g} % under {found.protocol}"
    images = f"{found.overall.images} images"
    if found.passed:
        return say(f"reproduced: the headline means of {images} agree {within}")
    say(f"not reproduced: want the same images reconstructed, and headline means of {images} that agree {within}")
