"""The files of a score: scores.json and per_image.parquet."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildhoi.errors import InputError
from wildhoi.files import atomic_path, read_json, write_text
from wildhoi.submission.defects import Defect

SPEC = 1
TEXTS = ("image_id", "object", "video_id", "status", "reason", "alignment")
FIELDS = ("spec", "protocol", "submission", "dataset", "official", "overall", "objects", "headline")


@dataclass(frozen=True)
class Scores:
    """The result: `scores` is what scores.json holds, `rows` what per_image.parquet holds."""

    scores: dict[str, Any]
    rows: list[dict[str, Any]]
    warnings: list[Defect]


def write_scores(folder: Path, scores: Scores) -> None:
    """Write scores.json and per_image.parquet; scores.json last, so that a folder with one is complete."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(scores.rows[0]) if scores.rows else list(TEXTS)
    schema = pa.schema([(name, pa.string() if name in TEXTS else pa.float64()) for name in names])
    with atomic_path(folder / "per_image.parquet") as temporary:
        pq.write_table(pa.Table.from_pylist(scores.rows, schema=schema), temporary, compression="zstd")
    write_text(folder / "scores.json", json.dumps(scores.scores, indent=1, sort_keys=False, allow_nan=False) + "\n")


def read_scores(path: Path) -> dict[str, Any]:
    """Read a scores.json.

    Raises:
        InputError: it is not one.
    """
    content = read_json(path)
    if not isinstance(content, dict) or any(name not in content for name in FIELDS):
        raise InputError(f"{path}: not a score file of this project; `wildhoi evaluate` writes one")
    if content["spec"] != SPEC:
        raise InputError(f"{path}: has spec {content['spec']!r}, this version reads {SPEC}; score the submission again")
    return content
