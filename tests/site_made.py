"""A small site of the committed rows, made once for all tests that look at one."""

import json
import shutil
from pathlib import Path

import pandas as pd

from wildhoi.files import sha256_file

ROWS = Path(__file__).parents[1] / "submissions" / "open"
METHODS = ("phosa", "flow-prior", "isolation")
HOSTILE = "<script>alert(1)</script>\u202e[x](javascript:alert(1)) 'quoted\"& co"


def copy_row(folder, method, name=None):
    """A committed row below a folder of submissions."""
    place = folder / (name or method)
    shutil.copytree(ROWS / method, place)
    return place


def rename(place, method):
    """Give a row's method another name, wherever it stands; its predictions stay the same."""
    scores = json.loads((place / "scores.json").read_text())
    scores["submission"]["method"] = method
    (place / "scores.json").write_text(json.dumps(scores))


def fail(place, image_id):
    """Make an image of a row a failure in its scores."""
    table = pd.read_parquet(place / "per_image.parquet")
    chosen = table.image_id == image_id
    table.loc[chosen, "status"] = "failed"
    table.loc[chosen, table.select_dtypes("number").columns] = float("nan")
    table.to_parquet(place / "per_image.parquet", index=False)
    scores = json.loads((place / "scores.json").read_text())
    for group in (scores["overall"], scores["objects"][table.object[chosen].iloc[0]]):
        group["coverage"]["scored"] -= 1
        group["coverage"]["failed"] += 1
    (place / "scores.json").write_text(json.dumps(scores))


def reseal(place):
    """Let a row's scores say that they are of the predictions beside them."""
    scores = json.loads((place / "scores.json").read_text())
    scores["submission"]["sha256"] = sha256_file(place / "predictions.parquet")
    (place / "scores.json").write_text(json.dumps(scores))


def reorder(place, seed):
    """Shuffle a row's predictions: other bytes, and another hash, of the same reconstructions."""
    table = pd.read_parquet(place / "predictions.parquet").sample(frac=1, random_state=seed)
    table.to_parquet(place / "predictions.parquet", index=False)
    reseal(place)
