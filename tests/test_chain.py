"""The chain of trust: a changed byte in anything that a score was made from is noticed when it is checked."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import submissions
from evaluation import evaluate as evaluating
from evaluation import protocol as protocols
from evaluation.checking import check_submissions
from evaluation.evaluate import Options, evaluate_into
from evaluation.protocol import load_protocol
from evaluation.scores import PER_IMAGE, SCORES, SEAL, read_scores, seal_of
from wildhoi import code_version
from wildhoi.body import open_body
from wildhoi.dataset import load_annotations, open_folder
from wildhoi.schema import Failure
from wildhoi.submission.folder import MANIFEST, PREDICTIONS, read_submission
from wildhoi.templates import load_template

THINGS = ("baseball", "basketball")
RULES = "open-small@1"


@pytest.fixture
def place(tmp_path):
    """A data folder and a scored submission, to be changed: half of the images failed."""
    data = submissions.make_data(tmp_path / "data", THINGS, 2, body_model="open", name="open")
    folder = tmp_path / "subs" / "open" / "mine"
    records = [submissions.as_reconstruction(a) for a in load_annotations(data)]
    records[::2] = [Failure(record.image_id, "x") for record in records[::2]]
    manifest = replace(submissions.MANIFEST_ROW, dataset="open", method="mine")
    submissions.make_submission(folder, records, manifest)
    evaluate_into(folder, read_submission(folder), data, load_protocol(RULES), Options())
    return data.path, folder


def verdict(place):
    (found,) = check_submissions(place[1].parents[1], place[0])
    return found


def fields(place):
    return {difference.field for difference in verdict(place).differences}


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_nobody_changed_is_what_it_was(place):
    found = verdict(place)
    assert found.status == "ok" and found.versions == ()
    stored = read_scores(place[1] / SCORES)
    assert stored[SEAL] == seal_of(stored, pq.read_table(place[1] / PER_IMAGE).to_pylist())


def test_the_score_names_all_that_it_was_made_from(place):
    stored = read_scores(place[1] / SCORES)
    names = [
        stored["protocol"]["hash"],
        stored["submission"]["sha256"],
        stored["submission"]["manifest"],
        stored["body"]["sha256"]["neutral"],
        stored["versions"]["code"],
        *(stored["templates"][name] for name in THINGS),
    ]
    assert len({*names}) == 7 and all(len(name) == 64 for name in names)
    assert stored["dataset"]["revision"] == open_folder(place[0]).revision_of("test")


def test_the_submission(place):
    path = place[1] / MANIFEST
    path.write_text(path.read_text() + "# hello\n")
    assert fields(place) == {"submission.manifest"}


def test_the_predictions(place):
    table = pq.read_table(place[1] / PREDICTIONS)
    pq.write_table(table, place[1] / PREDICTIONS, compression="gzip")  # the same numbers in other bytes
    assert fields(place) == {"submission.sha256"}


def test_the_stored_scores(place):
    edit(place[1] / SCORES, lambda scores: scores["versions"].update(torch="0.1"))
    assert fields(place) == {SEAL}


def test_a_score_that_was_never_sealed(place):
    edit(place[1] / SCORES, lambda scores: scores.pop(SEAL))
    assert fields(place) == {SEAL}


def test_the_table_of_images(place):
    table = pq.read_table(place[1] / PER_IMAGE)
    values = table["translation"].to_numpy().copy()
    values[-1] = np.nextafter(values[-1], 1)
    column = table.schema.get_field_index("translation")
    pq.write_table(table.set_column(column, "translation", [values]), place[1] / PER_IMAGE)
    assert any(name.startswith(PER_IMAGE) for name in fields(place))


def test_the_truth(place):
    path = next((place[0] / "annotations" / THINGS[0]).glob("test-*.parquet"))
    table = pq.read_table(path)
    pq.write_table(table, path, compression="gzip")
    assert {"official", "unofficial_because"} <= {name.partition("[")[0] for name in fields(place)}


def test_the_list_of_what_the_data_were(place):
    edit(place[0] / "checksums.json", lambda sums: sums.update({name: "0" * 64 for name in sums if "test" in name}))
    assert {"official", "unofficial_because"} <= {name.partition("[")[0] for name in fields(place)}


def test_the_protocol(place, tmp_path, monkeypatch):
    shutil.copytree(protocols.FOLDER, tmp_path / "protocols")
    path = tmp_path / "protocols" / f"{RULES}.toml"
    path.write_text(path.read_text().replace("seed = 0", "seed = 1"))
    monkeypatch.setattr(protocols, "FOLDER", tmp_path / "protocols")
    assert {"protocol.hash", "seed"} <= fields(place)


def test_the_body_file(place, tmp_path, monkeypatch):
    content = dict(np.load(open_body.PATH))
    content["vertices"] = content["vertices"].copy()
    content["vertices"].view(np.uint8)[0, 0] ^= 1
    np.savez_compressed(tmp_path / "body.npz", **content)
    monkeypatch.setattr(open_body, "PATH", tmp_path / "body.npz")
    assert "body.sha256.neutral" in fields(place)


def test_a_template(place):
    path = place[0] / "objects" / THINGS[0] / "keypoints.json"
    path.write_bytes(path.read_bytes() + b" ")
    load_template.cache_clear()  # which is read once in a process
    assert f"templates.{THINGS[0]}" in fields(place)


def test_the_code_is_told(place, monkeypatch):
    monkeypatch.setattr(evaluating, "code_version", lambda: "0" * 64)
    found = verdict(place)
    assert found.status == "ok" and [each.field for each in found.versions] == ["versions.code"]


def test_every_source_file_is_in_the_name_of_the_code(monkeypatch):
    sources = code_version._sources()
    assert {"evaluation/metrics.py", "evaluation/protocols/open-small@1.toml", "wildhoi/objects.toml"} <= {*sources}
    hashes = code_version.sha256_file
    for name in ("evaluation/metrics.py", "wildhoi/objects.toml"):
        changed = sources[name]
        monkeypatch.setattr(code_version, "sha256_file", lambda p, c=changed: "0" if p == c else hashes(p))
        assert code_version.code_version.__wrapped__() != code_version.code_version()
