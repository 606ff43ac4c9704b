"""What a command left in a folder, as values that do not depend on when it was, nor on how long it took."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ALLOWED = (".fingerprint",)
"""Hidden files that belong to a result: the ledger of finished batches."""
FOLDER = "folder"
TIMES = {"time", "seconds", "images_per_second", "batches"}


def contents(folder: Path) -> dict[str, Any]:
    """Every path below a folder, hidden ones too, with what it holds."""
    return {path.relative_to(folder).as_posix(): content(path) for path in sorted(folder.rglob("*"))}


def content(path: Path) -> Any:
    if path.is_dir():
        return FOLDER
    if path.suffix == ".jsonl":
        return diary(path)
    data = path.read_bytes()
    if path.name == "predictions.parquet" or (path.parent.name == "state" and data[:4] == b"PAR1"):
        return timeless_rows(path)
    return sha256(data).hexdigest()


def timeless_rows(path: Path) -> list[dict[str, Any]]:
    rows = pq.read_table(path).to_pylist()
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def diary(path: Path) -> list[str]:
    """The lines without their times; each once and no start, since a run that is killed starts and tells again."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [{name: fact for name, fact in line.items() if name not in TIMES} for line in lines]
    return sorted({json.dumps(line, sort_keys=True) for line in kept if line.get("event") != "start"})


def hidden(folder: Path) -> set[str]:
    """Hidden paths that belong to no result."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob(".*")}
    return {name for name in found if Path(name).name not in ALLOWED}
