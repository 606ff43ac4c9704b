"""`wildhoi data`: get data sets, look at them, make them from raw releases, pass them on."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from wildhoi.cli.shared import (
    Address,
    Data,
    EngineKind,
    Json,
    Objects,
    Processes,
    Progress,
    make_engine,
    names,
    say,
    show,
    show_json,
)
from wildhoi.errors import printable

app = typer.Typer(help="Get, convert, check, look at and publish data sets.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A data folder, or the name of a data set.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="The data folder to write.")]


@app.callback()
def _group() -> None:
    """Get, convert, check, look at and publish data sets."""


@app.command("list")
def list_data(as_json: Json = False) -> None:
    """Say which data sets there are, where they are found, and how to get the others."""
    from wildhoi.catalogue import list_data_sets

    found = list_data_sets()
    if as_json:
        return show_json([entry.to_dict() for entry in found])
    from rich.markup import escape
    from rich.table import Table

    table = Table("data set", "", "what", "where", box=None, pad_edge=False)
    table.columns[-1].overflow = "fold"  # a path is of use only as a whole
    for entry in found:
        mark = "[green]here[/]" if entry.path else "[red]broken[/]" if entry.problem else "[yellow]--[/]"
        where = f"{entry.path} @ {entry.revision}" if entry.path else entry.problem or "not here"
        table.add_row(entry.name, mark, entry.what, escape(where))
    show(table)
    if not all(entry.path for entry in found):
        say("Make `open` with `wildhoi data make open -o DIR`; get the others with `wildhoi data download NAME`, or")
        say("`wildhoi data convert NAME RAW -o DIR` of a release.")


@app.command("info")
def info(name: Name, as_json: Json = False) -> None:
    """Say what a data set holds: objects, splits, counts, revision, size."""
    from wildhoi.catalogue import describe_data
    from wildhoi.dataset import find_data

    found = describe_data(find_data(name))
    if as_json:
        return show_json(found.to_dict())
    show(found.to_rich())


@app.command("verify")
def verify(name: Name, as_json: Json = False) -> None:
    """Compare every file of a data folder with its recorded SHA-256; exit code 2 where one differs."""
    from wildhoi.dataset import find_data

    folder = find_data(name)
    with Progress() as progress:
        problems = folder.problems(lambda done, total: progress("verifying", done, total))
    if as_json:
        show_json({"path": str(folder.path), "revision": folder.revision, "problems": problems})
    for file, problem in {} if as_json else problems.items():
        say(f"error: {printable(file)}: {problem}")
    if problems:
        say(f"{folder.path}: {len(problems)} of {len(folder.checksums)} files are not as recorded; get them again")
        raise typer.Exit(2)
    if not as_json:
        say(f"{folder.path}: {len(folder.checksums)} files are as recorded, revision {folder.revision}")


@app.command("show")
def show_one(
    image_id: Annotated[str, typer.Argument(help="The image, as in the column image_id.")],
    data: Data = "open-sample",
    split: Annotated[Literal["train", "test"] | None, typer.Option(help="Look only there.")] = None,
    body: Annotated[
        Literal["smplx", "smplh", "open"] | None, typer.Option(help="Body model; default the data set's.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The picture; default IMAGE_ID.png.")] = None,
    as_json: Json = False,
) -> None:
    """Draw an image: crop with masks, boxes and keypoints, and the meshes over it and from the side."""
    from wildhoi.dataset import find_data
    from wildhoi.workflows import show_image

    path = out or Path(f"{image_id}.png")
    found = show_image(find_data(str(data)), image_id, path, split=split, body=body)
    if as_json:
        return show_json({"written": str(path), "split": found})
    say(f"wrote {path}")


@app.command("sheet")
def sheet(
    thing: Annotated[str, typer.Argument(metavar="OBJECT", help="As data info lists them.")],
    data: Annotated[str, typer.Option("--data", help="A data folder or the name of a data set.")],
    split: Annotated[Literal["train", "test"], typer.Option(help="Of the images.")] = "test",
    images: Annotated[int, typer.Option(min=1, max=60, help="How many.")] = 12,
    body: Annotated[
        Literal["smplx", "smplh", "open"] | None, typer.Option(help="Body model; default the data set's.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The picture; default OBJECT.png.")] = None,
    as_json: Json = False,
) -> None:
    """Draw a contact sheet: some images of an object, each as given, and its truth from the front and the side."""
    from wildhoi.dataset import find_data
    from wildhoi.files import require_writable
    from wildhoi.objects import find_category
    from wildhoi.workflows import show_sheet

    folder, path = find_data(data), out or Path(f"{find_category(thing).name}.png")
    require_writable(path.parent)
    shown = show_sheet(folder, thing, path, split=split, images=images, body=body)
    if as_json:
        return show_json({"written": str(path), "images": shown})
    say(f"wrote {path}")


@app.command("convert")
def convert(
    release: Annotated[Literal["wildhoi", "behave", "rhobin"], typer.Argument(help="Which raw release.")],
    raw: Annotated[Path, typer.Argument(help="Its unpacked folder; for rhobin the reference pickle.")],
    out: Out,
    data: Annotated[
        Path | None, typer.Option("--data", help="wildhoi: the release's data/ folder; default RAW/data.")
    ] = None,
    objects: Objects = "",
    splits: Annotated[str, typer.Option(help="Of the samples, separated by commas.")] = "train,test",
    only: Annotated[
        Literal["annotations"] | None, typer.Option(help="wildhoi: truth and templates alone, no pictures.")
    ] = None,
    fps: Annotated[int, typer.Option(help="wildhoi: training frames of each second.")] = 3,
    fits: Annotated[
        Literal["frames", "30fps"] | None,
        typer.Option(help="behave: which fits; default frames, 30fps with key frames."),
    ] = None,
    keyframes: Annotated[Path | None, typer.Option(help="behave: only the images of this list.")] = None,
    init: Annotated[Path | None, typer.Option(help="behave: initial estimates (Parquet, docs/data.md).")] = None,
    part: Annotated[str, typer.Option("--dataset", help="rhobin: which of its data sets.")] = "behave",
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a release with any irregularity.")] = False,
    workers: Processes = None,
    engine: EngineKind = "local",
    address: Address = "auto",
    as_json: Json = False,
) -> None:
    """Convert a raw release into a data folder; an interrupted conversion goes on where it stopped."""
    from wildhoi.convert.pipeline import run_conversion
    from wildhoi.convert.plans import Options, plan
    from wildhoi.files import require_writable

    require_writable(out)
    options = Options(data, names(objects) or None, tuple(names(splits)), only, fps, fits, keyframes, init, part)
    chosen = make_engine(engine, workers, address)
    with Progress(chosen) as progress:
        report = run_conversion(plan(release, raw, options), out, engine=chosen, strict=strict, progress=progress)
    if as_json:
        return show_json(report.to_dict())
    show(report.to_rich())
    say(f"wrote {out}, revision {report.revision}; every image is in {out / 'conversion_report.json'}")


@app.command("make")
def make(
    what: Annotated[Literal["open"], typer.Argument(help="Which data set.")],
    out: Out,
    objects: Objects = "",
    train: Annotated[int | None, typer.Option(help="Training images of each object; default 2,000.")] = None,
    test: Annotated[int | None, typer.Option(help="Test images of each object; default 100.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything; default that of the published set.")] = None,
    size: Annotated[int, typer.Option(help="Side of the pictures, pixels.")] = 256,
    kinds: Annotated[str, typer.Option("--interactions", help="Only these, separated by commas; default all.")] = "",
    layouts: Annotated[int | None, typer.Option(help="Further views of each training scene; default 16.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda, for posing and rendering.")] = "cpu",
    workers: Processes = None,
    engine: EngineKind = "local",
    address: Address = "auto",
    as_json: Json = False,
) -> None:
    """Make the open set: people posed with objects, drawn and detected; goes on where it stopped."""
    from wildhoi.convert.pipeline import run_conversion
    from wildhoi.files import require_writable
    from wildhoi.open_scenes.plan import Request, plan_open

    require_writable(out)
    wanted = {"objects": names(objects) or None, "train": train, "test": test, "seed": seed, "layouts": layouts}
    chosen: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    request = Request(size=size, kinds=names(kinds), device=device, **chosen)
    where = make_engine(engine, workers, address, device)
    with Progress(where) as progress:
        report = run_conversion(plan_open(request, out), out, engine=where, progress=progress)
    if as_json:
        return show_json(report.to_dict())
    show(report.to_rich())
    say(f"wrote {out}, revision {report.revision}; look at it with `wildhoi data sheet OBJECT --data {out}`")


@app.command("download")
def download(
    name: Annotated[str, typer.Argument(help="wildhoi, behave, or a repository of the Hub (user/name).")],
    objects: Annotated[list[str] | None, typer.Option("--object", help="Only this object; may be repeated.")] = None,
    splits: Annotated[list[str] | None, typer.Option("--split", help="Only this split; may be repeated.")] = None,
    revision: Annotated[str | None, typer.Option(help="A tag, branch or commit of the repository.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Default: $WILDHOI_DATA/NAME, or the cache.")] = None,
    as_json: Json = False,
) -> None:
    """Download a data set from the Hugging Face Hub: pinned, verified, continued where it stopped."""
    from wildhoi import hub
    from wildhoi.dataset.folder import data_root
    from wildhoi.files import require_writable

    target = out or data_root() / name.split("/")[-1]
    require_writable(target)
    with Progress() as progress:
        done = hub.download(name, target, objects=objects, splits=splits, revision=revision, progress=progress)
    if as_json:
        return show_json(done.to_dict())
    moved = f"{done.fetched} files fetched ({done.bytes / 1e6:,.1f} MB), {done.kept} kept, all verified"
    say(f"{done.path}: {done.repository} at {done.commit[:12]}: {moved}")


@app.command("push")
def push(
    folder: Annotated[Path, typer.Argument(help="A finished data folder.")],
    repository: Annotated[str | None, typer.Option("--repo", help="user/name; default the data set's own.")] = None,
    tag: Annotated[str | None, typer.Option(help="Name this revision, such as v1.")] = None,
    gate: Annotated[
        Literal["auto", "manual", "none"], typer.Option(help="Who gets in: all who accept, those you choose, all.")
    ] = "auto",
    private: Annotated[bool, typer.Option("--private", help="Only you and your organisation see it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and do nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Publish a data folder on the Hugging Face Hub, with its card, its gate and a tag."""
    from wildhoi import hub

    with Progress() as progress:
        done = hub.push(
            folder,
            repository,
            private=private,
            dry_run=dry_run,
            tag=tag,
            gate=None if gate == "none" else gate,
            progress=progress,
        )
    if as_json:
        return show_json(done.to_dict())
    for change in done.changes if dry_run else ():
        if change.what != "unchanged":
            say(f"{change.what:<9}{change.size / 1e6:>10,.2f} MB  {printable(change.name)}")
    who = "private" if done.private else f"gate {done.gate}" if done.gate else "open to all"
    what = f"{len(done.sent)} files, {done.bytes / 1e6:,.1f} MB, {who}" + (f", tag {done.tag}" if done.tag else "")
    say(f"{'would push' if dry_run else 'pushed'} to {done.url}: {what}")
