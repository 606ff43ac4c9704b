"""The files of a score: scores.json and per_image.parquet."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wildhoi.errors import InputError
from wildhoi.files import atomic_path, read_json, sha256_text, write_text
from wildhoi.submission.defects import Defect

if TYPE_CHECKING:
    import pyarrow as pa

SCORES, PER_IMAGE = "scores.json", "per_image.parquet"
SPEC = 1
WORK = ".scoring"
"""A folder beside them that keeps what is scored until all is."""
SEAL = "seal"
"""Of scores.json: the hash of all its other content and of the rows of per_image.parquet."""
TEXTS = ("image_id", "object", "video_id", "status", "reason", "alignment")
FIELDS = ("spec", "protocol", "submission", "dataset", "official", "overall", "objects", "headline")


@dataclass(frozen=True)
class Scores:
    """The result: `scores` is what scores.json holds, `rows` what per_image.parquet holds."""

    scores: dict[str, Any]
    rows: list[dict[str, Any]]
    warnings: list[Defect]


def sealed(scores: Scores) -> Scores:
    """The same scores with the seal that ties their numbers to body, templates, data, protocol, code and submission."""
    return replace(scores, scores={**scores.scores, SEAL: seal_of(scores.scores, per_image_table(scores).to_pylist())})


def seal_of(scores: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The seal that a score file should have beside a table of images; hexadecimal."""
    content = {name: value for name, value in scores.items() if name != SEAL}
    return sha256_text(json.dumps([content, [*rows]], sort_keys=True, separators=(",", ":")))


def write_scores(folder: Path, scores: Scores) -> None:
    """Write scores.json and per_image.parquet; scores.json last, so that a folder with one is complete."""
    import pyarrow.parquet as pq

    with atomic_path(folder / PER_IMAGE) as temporary:
        pq.write_table(per_image_table(scores), temporary, compression="zstd")
    write_text(folder / SCORES, json.dumps(scores.scores, indent=1, sort_keys=False, allow_nan=False) + "\n")


def per_image_table(scores: Scores) -> "pa.Table":
    """What per_image.parquet holds, as a table."""
    import pyarrow as pa

    names = list(scores.rows[0]) if scores.rows else list(TEXTS)
    schema = pa.schema([(name, pa.string() if name in TEXTS else pa.float64()) for name in names])
    return pa.Table.from_pylist(scores.rows, schema=schema)


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
