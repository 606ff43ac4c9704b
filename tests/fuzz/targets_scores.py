# ruff: noqa: E501 - tables of short things
"""Scores and what is made of them: protocols, grids, tables of images, studies, ledgers."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
from score_files import drawn_scores
from study_made import key_of

from evaluation.checking import read_table
from evaluation.comparison.reading import read_field
from evaluation.exporting import export_scores
from evaluation.ledger import read_ledger
from evaluation.protocol import FOLDER, load_protocol
from evaluation.scores import read_scores
from evaluation.study import key as keys
from evaluation.study.answers import read_answers
from fuzz import seeds
from fuzz.target import Target, all_of
from wildhoi.ablation.grids import FOLDER as GRIDS
from wildhoi.ablation.grids import load_grid
from wildhoi.ablation.stored import read_ablations
from wildhoi.engine.folder import _read_ledger as read_shards
from wildhoi.running.record import Diary

PROTOCOL = "behave@1"


def parse_protocol(path, out):
    return load_protocol(path).hash


def protocols():
    short = "\n".join(line.split(" #")[0] for line in (FOLDER / f"{PROTOCOL}.toml").read_text().splitlines())
    return [short.encode()]


def grids():
    return [path.read_bytes() for path in sorted(GRIDS.glob("*.toml"))[:4]]


def scores():
    small = drawn_scores(images=4, objects=("skateboard",), spheres=())
    small["headline"] = small["headline"][:2]
    return seeds.json_seeds(small)


def parse_scores(path, out):
    folder = path.parent
    all_of(
        lambda: read_scores(path),
        lambda: export_scores(folder, "eval-results", unofficial=True),
        lambda: export_scores(folder, "model-index", unofficial=True),
        lambda: read_field([folder]),
    )


def prepare_scores(folder):
    (folder / "per_image.parquet").write_bytes(tables()[0])


def tables():
    names = drawn_scores(images=4, objects=("skateboard",), spheres=())["overall"]["metrics"]
    rows = [
        {"image_id": f"skateboard-{n}", "object": "skateboard", "video_id": f"v{n}", "status": "failed" if n == 3 else "scored", "reason": None, "alignment": "none"}
        | {name: None if n == 3 else float(n) for name in names}
        for n in range(4)
    ]  # fmt: skip
    sink = pa.BufferOutputStream()
    texts = ("image_id", "object", "video_id", "status", "reason", "alignment")
    schema = pa.schema([(name, pa.string() if name in texts else pa.float64()) for name in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, schema), sink)
    return seeds.table_seeds(sink.getvalue().to_pybytes())


def prepare_table(folder):
    (folder / "scores.json").write_bytes(scores()[0])


def parse_table(path, out):
    from evaluation.site.content import _seconds

    all_of(lambda: read_table(path), lambda: read_field([path.parent]), lambda: _seconds(path))


def prepare_study(folder):
    keys.write_key(folder, key_of(images=2, repeats=0))


def parse_answers(path, out):
    return read_answers([path], keys.read_key(path.parent))


def answers():
    known = key_of(images=2, repeats=0)
    given = [{"trial": trial.name, "choice": "left", "seconds": 1.5} for trial in known.trials]
    return seeds.json_seeds({"format": 1, "study": known.study, "rater": "Ann", "answers": given})


def study_keys():
    from dataclasses import asdict

    return seeds.json_seeds(json.loads(json.dumps({"format": keys.FORMAT, **asdict(key_of(images=2, repeats=1))})))


LINE = {
    "spec": 1, "date": "2026-01-02T03:04:05Z", "by": "x", "wildhoi": "0.1.0", "path": "open/a", "verdict": "added", "changed": ["a"], "how": "",
    "method": "m", "protocol": "p@1", "protocol_hash": "h", "dataset": "open", "revision": "r", "predictions": "a" * 64, "scores": "b" * 64,
    "means": {"rotation": 1.5, "translation": None},
}  # fmt: skip


def parse_ablation(path, out):
    return read_ablations(path.parents[1])


def ablations():
    cell = {"label": "a", "method": "m", "key": "0" * 16, "settings": {"a": [1, 2]}, "train": {}, "training": None}
    head = ("name", "title", "note", "protocol", "protocol_hash", "dataset", "revision", "split")
    return seeds.json_seeds(
        {"spec": 1, **dict.fromkeys(head, "grid"), "cells": [cell, {**cell, "label": "b", "training": "1" * 16}]}
    )


def parse_run(path, out):
    """As a run resumes: what was computed, by whom; and which shards are done."""
    return Diary(path.parent).environments(), read_shards(path.parent)


def run_lines():
    return seeds.line_seeds({"event": "start", "environment": {"python": "3.11"}}, {"event": "batch", "images": 3})


TARGETS = (
    Target("protocol", "toml", parse_protocol, protocols, "p.toml"),
    Target("grid", "toml", lambda path, out: load_grid(path), grids, "g.toml"),
    Target("scores", "json", parse_scores, scores, "scores.json", prepare_scores, named=False),
    Target("per_image", "parquet", parse_table, tables, "per_image.parquet", prepare_table, named=False),
    Target("study_key", "json", lambda path, out: keys.read_key(path.parent), study_keys, "key.json"),
    Target("study_answers", "json", parse_answers, answers, "answers.json", prepare_study),
    Target("ledger", "lines", lambda path, out: read_ledger(path), lambda: seeds.line_seeds(LINE, {**LINE, "verdict": "removed"}), "ledger.jsonl"),
    Target("ablation", "json", parse_ablation, ablations, "grids/grid.json", lambda folder: (folder / "grids").mkdir(), named=False),
    Target("run_record", "lines", parse_run, run_lines, "run.jsonl"),
)  # fmt: skip
