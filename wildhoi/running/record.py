"""What a run folder says of its run: `run.json`, which a resumed run must agree with, and the diary `run.jsonl`."""

import json
import math
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from io import FileIO
from pathlib import Path
from typing import Any

from wildhoi import __version__
from wildhoi.dataset import DataFolder
from wildhoi.devices import describe_device
from wildhoi.engine import contents
from wildhoi.errors import InputError
from wildhoi.files import canonical_json, read_json, remove_unfinished, sha256_text, write_text
from wildhoi.method import Method
from wildhoi.running.options import RunOptions
from wildhoi.running.plan import Batch, samples_digest
from wildhoi.submission.merge import join_environments

RUN, DIARY, STATE, CHECKPOINTS = "run.json", "run.jsonl", "state", "checkpoints"
PLACE = "data"  # a data folder may be moved between two starts of a run
SHOWN = 120  # characters of a value in a message


@dataclass(frozen=True)
class Record:
    """The facts of a run, as `run.json` has them; the results depend on all of them but the data's place."""

    facts: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """The name of what the results depend on."""
        return sha256_text(canonical_json({name: fact for name, fact in self.facts.items() if name != PLACE}))


def make_record(
    method: Method, data: DataFolder, options: RunOptions, device: str, batches: Mapping[str, Batch]
) -> Record:
    """The facts of a run.

    Raises:
        InputError: a setting of the method is no number, text, list or mapping of these.
    """
    objects = sorted({batch.object for batch in batches.values()})
    ids = [image_id for batch in batches.values() for image_id in batch.ids]
    return Record(
        {
            "method": method.info.name,
            "settings": plain(dict(method.settings), f"{method.info.name}: settings"),
            "dataset": data.name,
            PLACE: str(data.path),
            "revision": data.revision_of(options.split),
            "samples": samples_digest(data, options.split, objects),
            "split": options.split,
            "objects": objects,
            "limit": options.limit,
            "shard": "/".join(map(str, options.shard)),
            "batch": options.batch,
            "seed": options.seed,
            "renderer": options.renderer,
            "device": device.partition(":")[0],
            "images": len(ids),
            "image_ids": sha256_text(canonical_json(ids)),
            "wildhoi": __version__,
        }
    )


def plain(value: Any, where: str) -> Any:
    """A value as JSON and YAML have it: mappings, lists, texts, numbers, truth values and nothing.

    Raises:
        InputError: it is something else, or a number that is not finite.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, where) for item in value]
    item = value.item() if hasattr(value, "item") else value
    if item is None or isinstance(item, str | bool | int) or (isinstance(item, float) and math.isfinite(item)):
        return item
    raise InputError(f"{where}: got {value!r}, want a finite number, text, list, mapping, true, false or null")


def start_folder(out: Path, record: Record, *, resume: bool) -> None:
    """Make the folder of a run, or find that it holds this very run.

    Raises:
        InputError: it holds something and `resume` is not set, or something that is no run, or another run.
    """
    remove_unfinished(out)
    held = {path.name for path in contents(out)}
    if held and not resume:
        hint = "--resume goes on with a run; or choose another folder" if RUN in held else "choose another folder"
        raise InputError(f"{out}: exists and is not empty; {hint}")
    if held and RUN not in held:
        raise InputError(f"{out}: has no {RUN}, so there is no run to resume; choose another folder")
    if held:
        _require_same(out, read_json(out / RUN), record)
    else:
        write_text(out / RUN, json.dumps(dict(record.facts), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _require_same(out: Path, held: Any, record: Record) -> None:
    if not isinstance(held, dict):
        raise InputError(f"{out / RUN}: want an object of facts, got {type(held).__name__}")
    wanted = dict(record.facts)
    names = [name for name in (*wanted, *(held.keys() - wanted)) if name != PLACE]
    differing = [text for name in names for text in _differences(name, held.get(name), wanted.get(name))]
    if differing:
        raise InputError(
            f"{out}: holds another run: {'; '.join(differing)}; ask for the same, or choose another folder"
        )


def _differences(name: str, held: Any, wanted: Any) -> list[str]:
    """What to say of a fact that is not the same."""
    if isinstance(held, dict) and isinstance(wanted, dict):
        keys = [*wanted, *sorted(held.keys() - wanted)]
        return [text for key in keys for text in _differences(f"{name}.{key}", held.get(key), wanted.get(key))]
    return [] if held == wanted else [f"{name} is {str(held)[:SHOWN]} there and {str(wanted)[:SHOWN]} now"]


def environment(device: str) -> dict[str, Any]:
    """What a run computes with; neither the machine's name nor a path."""
    import torch

    packages = {name: _version(name) for name in ("torch", "numpy")}
    return {
        "python": platform.python_version(),
        "wildhoi": __version__,
        **packages,
        "machine": platform.machine(),
        "processor": describe_device(device),
        "threads": torch.get_num_threads(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


class Diary:
    """`run.jsonl`: a line for every start of the run and for every batch."""

    def __init__(self, out: Path) -> None:
        self.path = out / DIARY

    def write(self, event: str, **facts: Any) -> None:
        """Append a line in one piece, so that whoever is killed leaves whole lines.

        A disk that is full may cut it: the next line begins anew.
        """
        line = json.dumps({"event": event, "time": _now(), **facts}, ensure_ascii=False).encode() + b"\n"
        with self.path.open("a+b", buffering=0) as stream:
            if stream.tell() and not _has_end(stream):
                line = b"\n" + line
            while line:
                line = line[stream.write(line) :]

    def environments(self) -> dict[str, Any]:
        """What computed the batches: one environment, with lists where several starts had different ones."""
        found: list[dict[str, Any]] = []
        started: dict[str, Any] = {}
        for line in self._lines():
            if line.get("event") == "start":
                started = _table(line.get("environment"))
            elif line.get("event") == "batch" and (there := _table(line.get("environment")) or started) not in found:
                found.append(there)
        return join_environments(found)

    def _lines(self) -> Iterator[dict[str, Any]]:
        for line in self.path.read_text(errors="replace").splitlines() if self.path.is_file() else ():
            try:
                content = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(content, dict):
                yield content


def _table(value: Any) -> dict[str, Any]:
    """A table of a line that was read; an empty one where it has none, or something else."""
    return value if isinstance(value, dict) else {}


def _has_end(stream: FileIO) -> bool:
    """Whether the last line of a file has its end."""
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) == b"\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
