"""Reading samples and truth from the Hub: at random, as a stream, at a tag, offline, and what cannot be had."""

import json
import os
import subprocess
import sys

import pytest
from hub_server import HubServer, read_folder

from wildhoi.convert.pipeline import run_conversion
from wildhoi.convert.wildhoi_release import plan_wildhoi
from wildhoi.dataset import load_annotations, open_folder
from wildhoi.dataset.loading import load_samples

REPOSITORY, OBJECT = "lab/wild", "skateboard"

READ = """
import json, sys
import datasets
from wildhoi.dataset import load_annotations, load_samples
from wildhoi.errors import WildhoiError
datasets.disable_progress_bars()
found = {}
for name, read in {
    "samples": lambda: [[s.image_id, int(s.image.sum())] for s in load_samples("lab/wild", "test")],
    "truth": lambda: [a.image_id for a in load_annotations("lab/wild", "test")],
    "one object": lambda: len(load_samples("lab/wild", "train", ["skateboard"], mini=True)),
    **({} if %(offline)r else {
        "stream": lambda: [s.image_id for s in load_samples("lab/wild", "test", streaming=True)],
        "tag": lambda: len(load_samples("lab/wild", "test", revision="v1")),
        "tagged stream": lambda: sum(1 for _ in load_samples("lab/wild", "test", streaming=True, revision="v1")),
    }),
    "no such object": lambda: load_samples("lab/wild", "test", ["violin"]),
    "no such stream": lambda: load_samples("lab/wild", "test", ["violin"], streaming=True),
    "no such tag": lambda: load_samples("lab/wild", "test", revision="v9"),
    "no such repository": lambda: load_annotations("lab/nothing"),
    "gated": lambda: load_samples("lab/gated", "test", streaming=True),
}.items():
    try:
        found[name] = read()
    except WildhoiError as error:
        found[name] = [type(error).__name__, str(error)]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(fixtures_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("hub") / "data"
    run_conversion(plan_wildhoi(fixtures_dir / "wildhoi_raw", objects=[OBJECT], fps=10), out)
    return out


@pytest.fixture(scope="module")
def reads(folder, tmp_path_factory):
    """What a process reads with the Hub at hand, and what another reads after it without."""
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "JAXTYPING_DISABLE": "1"}
    environment = {k: v for k, v in environment.items() if k not in ("HF_TOKEN", "WILDHOI_DATA")}
    environment |= {"XDG_CACHE_HOME": str(home)}
    with HubServer() as hub:
        first = hub.add(REPOSITORY, folder)
        hub.tag(REPOSITORY, "v1", first)
        contents = read_folder(folder)
        shard = next(name for name in contents if name.startswith(f"samples/{OBJECT}/test"))
        mini = contents[next(name for name in contents if name.startswith(f"mini/samples/{OBJECT}/test"))]
        train = contents[next(name for name in contents if name.startswith(f"mini/samples/{OBJECT}/train"))]
        assert train != mini
        hub.add(REPOSITORY, {**contents, shard: train})  # main moves on; the tag stays
        hub.add("lab/gated", folder, gate="manual")
        environment["HF_ENDPOINT"] = hub.url
        online = read(environment, offline=False)
        offline = read({**environment, "HF_HUB_OFFLINE": "1"}, offline=True)
    return online, offline, load_samples(folder, "train", mini=True)


def read(environment, *, offline):
    words = [sys.executable, "-c", READ % {"offline": offline}]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_samples_and_truth_are_those_of_the_folder(reads, folder):
    online, _, moved = reads
    assert online["samples"] == [[s.image_id, int(s.image.sum())] for s in moved]
    assert online["stream"] == [s.image_id for s in moved]
    assert online["truth"] == [a.image_id for a in load_annotations(open_folder(folder))]
    assert online["one object"] == len(moved)


def test_a_tag_reads_what_it_named(reads, folder):
    online, _, _ = reads
    there = len(load_samples(folder, "test"))
    assert online["tag"] == online["tagged stream"] == there


def test_what_was_read_once_is_read_without_the_hub(reads):
    online, offline, _ = reads
    for name in ("samples", "truth", "one object"):
        assert offline[name] == online[name]


def test_a_stream_needs_the_hub(reads):
    _, offline, _ = reads
    assert offline["no such stream"][0] == "MissingAssetError" and "HF_HUB_OFFLINE" in offline["no such stream"][1]


@pytest.mark.parametrize(
    ("what", "kind", "words"),
    [
        ("no such object", "InputError", "has none of samples/violin/test-*.parquet"),
        ("no such stream", "InputError", "has none of samples/violin/test-*.parquet"),
        ("no such tag", "MissingAssetError", "tags: v1"),
        ("no such repository", "MissingAssetError", "wildhoi data convert"),
        ("gated", "MissingAssetError", "hf auth login"),
    ],
)
def test_what_cannot_be_had_is_said(reads, what, kind, words):
    online, _, _ = reads
    assert online[what][0] == kind and words in online[what][1] and "\n" not in online[what][1]
