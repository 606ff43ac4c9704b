"""`wildhoi run`: a method over the images of a split."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wildhoi.cli.shared import (
    Address,
    EngineKind,
    Json,
    Objects,
    Processes,
    Progress,
    make_engine,
    names,
    say,
    show_json,
)
from wildhoi.errors import InputError, printable

if TYPE_CHECKING:
    from wildhoi.method import Moment
    from wildhoi.running.runner import Ran
    from wildhoi.running.watching import Watch

SHOWN_REASONS = 5
WORDS = {"true": True, "false": False, "null": None}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of the method; repeatable.")
]

Checkpoint = Annotated[
    str, typer.Option(help="What a learned method has learned: a folder, or a name that ships; --set checkpoint=.")
]
Contact = Annotated[bool, typer.Option("--contact/--no-contact", help="Off: --set contact=0.")]
Start = Annotated[str, typer.Option(help="Where a fit starts: search or published; --set start=.")]
Shard = Annotated[str, typer.Option(metavar="I/N", help="Only the I-th of N shares of every object.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run that the folder holds.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many images of every object.")]
Batch = Annotated[int, typer.Option(min=1, help="Images of one object at once; fewer where memory is short.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N; auto takes a GPU where there is one.")]
Renderer = Annotated[Literal["torch", "pytorch3d"], typer.Option(help="What renders, if the method does.")]


def run(
    method: Annotated[str, typer.Argument(help="As methods list has it.")],
    dataset: Annotated[str, typer.Option("--dataset", "--data", help="A data folder or the name of a data set.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder of the run, which is a submission.")],
    split: Annotated[Literal["train", "test"], typer.Option(help="Which images.")] = "test",
    objects: Objects = "",
    device: Device = "auto",
    batch: Batch = 64,
    resume: Resume = False,
    shard: Shard = "1/1",
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    limit: Limit = None,
    settings: Settings = None,
    checkpoint: Checkpoint = "",
    contact: Contact = True,
    start: Start = "",
    renderer: Renderer = "torch",
    workers: Processes = None,
    engine: EngineKind = "local",
    address: Address = "auto",
    as_json: Json = False,
) -> None:
    """Run a method over a data set and write a submission; an interrupted run goes on with --resume."""
    from wildhoi.dataset import find_data
    from wildhoi.files import require_writable
    from wildhoi.method import load_method

    require_writable(out)
    part = parse_shard(shard)
    chosen = _settings(settings or [], checkpoint=checkpoint, contact="" if contact else 0, start=start)
    folder = find_data(dataset)
    built = load_method(method, chosen)
    from wildhoi.running import RunOptions, run_method

    options = RunOptions(split, names(objects), device, batch, seed, part, limit, renderer, resume)
    where = make_engine(engine, workers, address, device)
    with Progress(where) as progress:
        ran = run_method(built, folder, out, options, _watch(progress), engine=where)
    _show_json(ran, out) if as_json else _say_result(ran, out, dataset, shard=shard, sharded=part[1] > 1)
    if not ran.reconstructions:
        raise typer.Exit(1)


def _settings(words: list[str], **options: Any) -> Mapping[str, Any]:
    """The settings of --set, and those that have an option of their own, where it is given."""
    found, short = parse_settings(words), {name: value for name, value in options.items() if value != ""}
    twice = sorted(found.keys() & short.keys())
    if twice:
        raise InputError(f"--set {twice[0]}: is given by an option too; give it once")
    return {**found, **short}


def _show_json(ran: "Ran", out: Path) -> None:
    facts = {"reconstructions": ran.reconstructions, "failures": ran.failures, "reasons": dict(ran.reasons)}
    show_json({"written": str(out), **facts})


def _say_result(ran: "Ran", out: Path, dataset: str, *, shard: str, sharded: bool) -> None:
    say(f"wrote {out}: {ran.reconstructions} reconstructions, {ran.failures} failures")
    for reason, count in list(ran.reasons.items())[:SHOWN_REASONS]:
        say(f"  {count} x {printable(reason)}")
    if len(ran.reasons) > SHOWN_REASONS:
        say(f"  ... and {len(ran.reasons) - SHOWN_REASONS} further reasons")
    if sharded:
        say(f"Next, when all shards are done (this is {shard}): wildhoi submission merge {out} OTHERS... -o MERGED")
    else:
        say(f"Next: wildhoi evaluate {out} --data {dataset}")


def _watch(progress: Progress) -> "Watch":
    """Two lines of progress: the images done, and the steps of the batch at work with its losses."""
    from wildhoi.running.watching import Watch

    def moment(key: str, told: "Moment") -> None:
        losses = " ".join(f"{name} {value:.4g}" for name, value in told.losses.items())
        progress("steps", told.done, told.total, printable(f"of {key} {losses}"))

    return Watch(images=lambda done, total: progress("images", done, total), moment=moment, say=say)


def parse_shard(text: str) -> tuple[int, int]:
    """The numbers of a shard `i/n`.

    Raises:
        InputError: it is none.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if not found:
        raise InputError(f"--shard {text}: want i/n with i from 1 to n, such as 1/4")
    return int(found[1]), int(found[2])


def parse_settings(words: list[str]) -> Mapping[str, Any]:
    """The settings of words `name=value`; see `parse_value`.

    Raises:
        InputError: a word is no such thing, or a name is there twice.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, sign, text = (piece.strip() for piece in word.partition("="))
        if not name or not sign:
            raise InputError(f"--set {word}: want NAME=VALUE, such as lr=0.02; `wildhoi methods info` lists the names")
        if name in found:
            raise InputError(f"--set {word}: {name} is set twice; give it once")
        found[name] = parse_value(text)
    return found


def parse_value(text: str) -> Any:
    """A value as typed: true, false, null, a number, a list with commas (in brackets or not), else text.

    Raises:
        InputError: it is a number too large to hold.
    """
    bracketed = text.startswith("[") and text.endswith("]")
    inner = text[1:-1] if bracketed else text
    if bracketed or "," in inner:
        return [parse_value(item.strip()) for item in inner.split(",") if item.strip()]
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if not NUMBER.fullmatch(text):
        return text
    if re.fullmatch(r"[+-]?\d{1,18}", text):
        return int(text)
    if not math.isfinite(float(text)):
        raise InputError(f"--set: {text} is too large a number")
    return float(text)
