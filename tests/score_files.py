"""Score files for tests: made by the real summary from drawn errors, or straight from given means."""

import json

import numpy as np

from evaluation.metrics import METRICS
from evaluation.protocol import load_protocol
from evaluation.summary import summarise


def head(method="Ours", protocol="wildhoi@1", **changes):
    """Everything of scores.json but the numbers; `changes` are of the fields that tell tables apart."""
    rules = load_protocol(protocol)
    reasons = changes.get("unofficial_because", [])
    return {
        "spec": 1,
        "protocol": {
            "id": protocol,
            "hash": changes.get("hash", rules.hash),
            "title": rules.title,
            "caveat": rules.caveat,
        },
        "submission": {
            "method": method,
            "supervision": changes.get("supervision", "2D"),
            "inputs": ["masks"],
            "body_model": rules.body_model,
            "sha256": changes.get("sha256", "5" * 64),
        },
        "dataset": {
            "name": changes.get("dataset", rules.datasets[0]),
            "revision": changes.get("revision", "a" * 64),
            "split": changes.get("split", "test"),
        },
        "body": {"model": rules.body_model, "sha256": {"neutral": changes.get("body", "b" * 64)}},
        "templates": {},
        "seed": 0,
        "device": "cpu",
        "versions": {},
        "headline": list(rules.headline),
        "official": not reasons,
        "unofficial_because": reasons,
        "spheres": [],
    }


def group(means, images=10, scored=None):
    scored = images if scored is None else scored
    cells = {
        name: {
            "n": scored,
            "mean": value,
            "median": None if value is None else value / 2,
            "interval": None if value is None else [value - 1.0, value + 1.0],
            "clusters": 30,
            "unit": METRICS[name].unit,
            "mean_over_objects": value,
        }
        for name, value in means.items()
    }
    coverage = {"images": images, "scored": scored, "failed": images - scored, "missing": 0}
    return {"coverage": {**coverage, "share": None, "alignments": {"none": scored}}, "metrics": cells, "recalls": {}}


def given_scores(means, objects=None, *, images=10, scored=None, **facts):
    """Scores with the means of the headline metrics, in order, overall and per object."""
    header = head(**facts)
    names = header["headline"]
    return {
        **header,
        "overall": group(dict(zip(names, means, strict=True)), images, scored),
        "objects": {
            name: group(dict(zip(names, values, strict=True)), images, scored)
            for name, values in (objects or {}).items()
        },
    }


def drawn_scores(
    seed=0, protocol="wildhoi@1", objects=("apple", "ball", "chair"), images=40, spheres=("ball",), scale=1.0, **facts
):
    """Scores that `summarise` makes of random errors: a failed image, and videos of four images."""
    rules = load_protocol(protocol)
    rng = np.random.default_rng(seed)
    rows = [
        {
            "image_id": f"{name}-{i}",
            "object": name,
            "video_id": f"{name}-{i // 4}",
            "status": "failed" if i == 3 else "scored",
            "alignment": None if i == 3 else "human" if i == 5 and rules.alignment == "combined" else rules.alignment,
            **{m: float("nan") if i == 3 else float(scale * rng.gamma(4.0, 3.0)) for m in rules.metrics},
        }
        for name in objects
        for i in range(images)
    ]
    table = summarise(rows, rules, dict.fromkeys(objects, 0.6), spheres)
    return {**head(protocol=protocol, **facts), "spheres": list(spheres), **table}


def save(folder, scores):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(json.dumps(scores))
