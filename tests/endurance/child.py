"""A command in a process of its own: a fork of a server that has imported everything once."""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import accelerate  # noqa: F401 - imported once, for all forks
import datasets  # noqa: F401 - likewise
import matplotlib.backends.backend_agg  # noqa: F401 - likewise
import torch
import torch._dynamo

import baselines.grouping
import baselines.isolation
import baselines.phosa
import baselines.training.card
import baselines.training.diary
import baselines.training.loop
import baselines.training.shown
import evaluation.evaluate
import evaluation.report
import evaluation.scoring
import wildhoi.convert.card
import wildhoi.convert.parts
import wildhoi.convert.plans
import wildhoi.engine.local
import wildhoi.open_scenes.plan
import wildhoi.running.record
import wildhoi.training
from wildhoi import cli
from wildhoi.body import load_body

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")
load_body("open")
Trouble = Callable[[Path], None]
"""Makes a process's life hard before it begins; given the folder that the command writes."""


def serve(words: list[str], out: Path, log: Path, told: Connection, troubles: list[Trouble]) -> None:
    """Do what `wildhoi WORDS` does, in a session of its own; tell when it begins, and what it took."""
    os.setsid()
    with log.open("wb", buffering=0) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    os.environ.pop("COLUMNS", None)
    torch.set_num_threads(1)
    make_small()
    for trouble in troubles:
        trouble(out)
    counted = count_changes(out)
    sys.argv = ["wildhoi", *words]
    told.send("begun")
    began = time.monotonic()
    try:
        cli.main()
    finally:
        told.send((time.monotonic() - began, counted()))


def make_small() -> None:
    """Cut work into small shards, keep states often, and fork workers, which need not import everything again."""
    evaluation.scoring.SHARD = 1
    wildhoi.open_scenes.plan.CHUNK = 1
    baselines.training.diary.KEEP_EVERY = 0.0
    wildhoi.engine.local.get_context = lambda _: get_context("fork")


def spawn_workers(out: Path) -> None:
    """Let workers be what they are to a user: processes that import everything themselves."""
    wildhoi.engine.local.get_context = get_context


def is_change(folder: Path, event: str, arguments: tuple) -> bool:
    """Whether something happens to a file in a folder."""
    writes = event == "open" and isinstance(arguments[1], str) and set("wax") & set(arguments[1])
    inside = arguments and isinstance(arguments[0], str | os.PathLike) and str(arguments[0]).startswith(str(folder))
    return bool(inside and (writes or event in CHANGES))


def count_changes(folder: Path) -> Callable[[], int]:
    """Count the changes of files in a folder from here on."""
    counted = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal counted
        counted += is_change(folder, event, arguments)

    sys.addaudithook(hook)
    return lambda: counted


def kill_at(number: int, folder: Path) -> None:
    """End this process without warning just before so many-th change of a file in the folder."""
    own, left = os.getpid(), number

    def hook(event: str, arguments: tuple) -> None:
        nonlocal left
        if os.getpid() == own and is_change(folder, event, arguments):
            left -= 1
            if left == 0:
                os.kill(own, signal.SIGKILL)

    sys.addaudithook(hook)


def limit_files(size: int, out: Path) -> None:
    """Let no file grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def pause_at(number: int, gate: Path, out: Path) -> None:
    """Wait just before so many-th change of a file until there is a gate; say so by a file beside it."""
    own, left = os.getpid(), number

    def hook(event: str, arguments: tuple) -> None:
        nonlocal left
        if os.getpid() == own and is_change(out, event, arguments):
            left -= 1
            if left == 0:
                gate.with_name("paused").touch()
                while not gate.exists():
                    time.sleep(0.01)  # the other process works meanwhile

    sys.addaudithook(hook)


def turn_clock(seconds: float, out: Path) -> None:
    """Let the clock be so much ahead, or behind."""
    of_system, of_calendar = time.time, wildhoi.running.record.datetime

    class Turned(of_calendar):
        @classmethod
        def now(cls, zone=None):
            return of_calendar.now(zone) + timedelta(seconds=seconds)

    time.time = lambda: of_system() + seconds
    wildhoi.running.record.datetime = Turned


def too_much() -> None:
    """Ask for more memory than this process may have."""
    allowed = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**33, allowed[1]))
    try:
        torch.ones(2**34)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, allowed)


def score_short_of_memory(image_id: str, tries: Path, out: Path) -> None:
    """Let memory be too small for the shard of an image; every try leaves a mark."""
    whole = evaluation.scoring._make_pairs

    def short(items, *more):
        if any(item.annotation.image_id == image_id for item in items):
            with tries.open("a") as stream:
                stream.write("x")
            too_much()
        return whole(items, *more)

    evaluation.scoring._make_pairs = short


def score_killed(image_id: str, out: Path) -> None:
    """Let the system end whoever scores the shard of an image, as it does where memory is short."""
    whole = evaluation.scoring._make_pairs

    def killed(items, *more):
        if any(item.annotation.image_id == image_id for item in items):
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(items, *more)

    evaluation.scoring._make_pairs = killed


def convert_short_of_memory(key: str, out: Path) -> None:
    """Let memory be too small for a part."""
    whole = wildhoi.convert.parts.open_part_writer

    def short(kind, sink):
        if Path(str(sink)).name == key and kind == "samples":
            too_much()
        return whole(kind, sink)

    wildhoi.convert.parts.open_part_writer = short


def run_short_of_memory(most: int, never: str, out: Path) -> None:
    """Let memory suffice for so many images at once, and for one of them never."""
    whole = baselines.isolation.Isolation.reconstruct

    def short(method, samples, setup):
        if len(samples) > most or any(sample.image_id == never for sample in samples):
            too_much()
        return whole(method, samples, setup)

    baselines.isolation.Isolation.reconstruct = short


def train_short_of_memory(epoch: int, out: Path) -> None:
    """Let memory be too small from an epoch on."""
    whole = baselines.training.loop.Trainer._epoch

    def short(trainer):
        if trainer.standing.epoch == epoch:
            too_much()
        whole(trainer)

    baselines.training.loop.Trainer._epoch = short
