"""Scoring end to end, on the data and submissions that ship."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scenes import equivalent

import submissions
from evaluation import scoring
from evaluation.evaluate import Options, evaluate, evaluate_into
from evaluation.protocol import load_protocol, protocol_for
from evaluation.scores import WORK, write_scores
from wildhoi.body import open_body
from wildhoi.body.reading import read_arrays
from wildhoi.dataset import find_data, load_annotations
from wildhoi.engine import Local, only_run_in
from wildhoi.errors import InputError, MissingAssetError, RunError
from wildhoi.schema import Failure
from wildhoi.submission.defects import DefectError
from wildhoi.submission.folder import read_submission
from wildhoi.templates import find_template, load_template
from wildhoi.workflows import SAMPLE_SUBMISSIONS

FLOOR_FREE = ("surface_human", "surface_object", "v2v_human", "v2v_object", "rotation", "translation", "mssd", "add_s")
FEW = ("baseball", "basketball")


@pytest.fixture(scope="module")
def data():
    return find_data("open-sample")


@pytest.fixture(scope="module")
def truth(data):
    return [submissions.as_reconstruction(annotation) for annotation in load_annotations(data)]


def fast(protocol="open@1", **changes):
    """A protocol with few points: what is tested here is not the size of the sample."""
    return replace(load_protocol(protocol), points=400, surface_points=200, **changes)


def score(folder, records, data, protocol=None, manifest=submissions.MANIFEST_ROW, **options):
    submission = read_submission(submissions.make_submission(folder, records, manifest))
    return evaluate(submission, data, protocol or fast(), Options(**{"objects": FEW, **options}))


def mean(scores, metric, scope="overall"):
    table = scores.scores["overall"] if scope == "overall" else scores.scores["objects"][scope]
    return table["metrics"][metric]["mean"]


def sample(name):
    return read_submission(SAMPLE_SUBMISSIONS / f"sample-noise-{name}")


def text(scores):
    return json.dumps(scores.scores, sort_keys=True) + json.dumps(scores.rows)


# What is right


def test_the_truth_scores_zero_where_nothing_is_sampled(tmp_path, data, truth):
    scores = score(tmp_path, truth, data, objects=("barbell", "basketball", "bicycle"))
    for row in scores.rows:
        assert all(row[name] == 0 for name in FLOOR_FREE if not (row["object"] == "basketball" and name == "rotation"))
        assert row["contact_f1"] in (1, None) or np.isnan(row["contact_f1"])
    assert mean(scores, "rotation") == mean(scores, "joint_angle") == 0
    assert mean(scores, "chamfer_human") > 0 and mean(scores, "f_score_human") > 0.1


def test_an_equivalent_pose_has_no_error_of_rotation(tmp_path, data, truth):
    objects = ("barbell", "baseball", "skateboard")
    turned = []
    for record, annotation in zip(truth, load_annotations(data), strict=True):
        symmetry = load_template(find_template(data.objects, annotation.object, shipped=True)).symmetry()
        element = symmetry.candidates(np.eye(3))[-1]
        turned.append(replace(record, object_pose=equivalent(record.object_pose, element, symmetry.point)))
    scores = score(tmp_path, turned, data, objects=objects)
    for thing in objects:
        assert mean(scores, "rotation", thing) < 1e-4 and mean(scores, "mssd", thing) < 1e-3
    assert mean(scores, "v2v_object", "skateboard") > 1


def test_more_noise_scores_worse(data):
    results = [evaluate(sample(name), data, fast(), Options(objects=FEW)) for name in ("small", "medium", "large")]
    for metric in ("surface_human", "surface_object", "translation", "mssd", "v2v_human", "v2v_object"):
        small, medium, large = (mean(scores, metric) for scores in results)
        assert 0 < small < medium < large


def test_a_known_shift_is_measured_in_centimetres(tmp_path, data, truth):
    shift = np.array([0.03, 0.0, 0.04])
    moved = [
        replace(r, object_pose=replace(r.object_pose, translation=r.object_pose.translation + shift)) for r in truth
    ]
    scores = score(tmp_path, moved, data)
    assert mean(scores, "translation") == pytest.approx(5, abs=1e-4)
    assert mean(scores, "v2v_object") == pytest.approx(5, abs=1e-4)
    assert mean(scores, "v2v_human") == 0


# The same, always


def test_neither_processes_nor_the_order_of_rows_change_a_bit(data, monkeypatch):
    monkeypatch.setattr("evaluation.scoring.SHARD", 2)  # three shards of six images
    submission, protocol = sample("medium"), fast()
    one = text(evaluate(submission, data, protocol, Options(objects=FEW)))
    shuffled = replace(submission, rows=submission.rows[7:][::-1] + submission.rows[:7])
    assert text(evaluate(shuffled, data, protocol, Options(objects=FEW))) == one
    assert text(evaluate(shuffled, data, protocol, Options(objects=FEW, engine=Local(2)))) == one


def test_running_again_writes_the_same_bytes(tmp_path, data):
    for run in ("1", "2"):
        write_scores(tmp_path / run, evaluate(sample("small"), data, fast(), Options(objects=FEW)))
    for file in ("scores.json", "per_image.parquet"):
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()
    assert submissions.files_below(tmp_path / "1") == {"scores.json", "per_image.parquet"}


@pytest.fixture
def counted(monkeypatch):
    """Which shards are scored here, and after how many the scoring is interrupted."""
    counts, real = {"done": [], "most": 1000}, scoring.score_shard

    def score_shard(shard, path):
        if len(counts["done"]) == counts["most"]:
            raise KeyboardInterrupt
        counts["done"].append(path.name)
        real(shard, path)

    monkeypatch.setattr(scoring, "score_shard", score_shard)
    monkeypatch.setattr(scoring, "SHARD", 1)
    return counts


def scored_into(folder, submission, data, **options):
    return evaluate_into(folder, submission, data, fast(), Options(objects=FEW, **options))


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_interrupted_scoring_goes_on_and_writes_the_same_bytes(tmp_path, data, counted):
    scored_into(tmp_path / "whole", sample("small"), data)
    every = [*counted["done"]]
    counted |= {"done": [], "most": 2}
    with pytest.raises(KeyboardInterrupt):
        scored_into(tmp_path / "out", sample("small"), data)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {WORK}
    counted |= {"done": [], "most": 1000}
    scored_into(tmp_path / "out", sample("small"), data)
    assert counted["done"] == every[2:] and len(every) > 3
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_what_was_scored_of_another_submission_is_not_taken_for_this_one(tmp_path, data, counted):
    counted["most"] = 2
    with pytest.raises(KeyboardInterrupt):
        scored_into(tmp_path / "out", sample("small"), data)
    counted["most"] = 1000
    scored_into(tmp_path / "out", sample("large"), data)
    scored_into(tmp_path / "whole", sample("large"), data)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_two_scorings_do_not_share_a_folder(tmp_path, data):
    with only_run_in(tmp_path), pytest.raises(RunError, match="another run is writing here"):
        scored_into(tmp_path, sample("small"), data)


def test_the_score_of_an_image_does_not_depend_on_the_others(tmp_path, data):
    alone = evaluate(sample("small"), data, fast(), Options(objects=("basketball",))).rows
    among = evaluate(sample("small"), data, fast(), Options(objects=FEW)).rows
    together = {row["image_id"]: row for row in among}
    for row in alone:
        for name, value in row.items():
            other = together[row["image_id"]][name]
            assert value == other or (value != value and other != other) or abs(value - other) <= 1e-6


# Failures and coverage


def test_failed_and_missing_images_are_in_every_denominator(tmp_path, data, truth):
    few = [r for r in truth if r.image_id in {a.image_id for a in load_annotations(data, objects=["baseball"])}]
    records = [few[0], Failure(few[1].image_id, "no person"), *[r for r in truth if r not in few]]
    scores = score(tmp_path, records, data, objects=("baseball",))
    table = scores.scores["overall"]
    counts = {key: table["coverage"][key] for key in ("images", "scored", "failed", "missing")}
    assert counts == {"images": 3, "scored": 1, "failed": 1, "missing": 1}
    assert table["recalls"]["translation"]["curve"] == [pytest.approx(1 / 3, abs=1e-6)] * 10
    assert mean(scores, "translation") == 0 and table["metrics"]["translation"]["n"] == 1
    assert {row["image_id"]: row["reason"] for row in scores.rows}[few[1].image_id] == "no person"
    assert [w.code for w in scores.warnings] == ["missing-id"]


def test_nothing_scored_is_nothing_not_zero(tmp_path, data, truth):
    scores = score(tmp_path, [Failure(r.image_id, "x") for r in truth], data)
    assert mean(scores, "translation") is None
    assert scores.scores["overall"]["recalls"]["translation"]["average"] == 0
    write_scores(tmp_path / "out", scores)
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["overall"]["coverage"]["share"] == 0


def test_strict_refuses_what_is_incomplete(tmp_path, data, truth):
    with pytest.raises(DefectError, match=r"incomplete.*1 of 24 missing"):
        score(tmp_path / "less", truth[1:], data, strict=True)
    assert score(tmp_path / "all", truth, data, strict=True).warnings == []


# The first images of every object

PARTIAL = fast(images_per_object=2)


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """Five images of each of two objects: the folder, its truth, and the manifest of a submission to it."""
    data = submissions.make_data(tmp_path_factory.mktemp("five"), FEW, 5, body_model="open", name="open")
    records = [submissions.as_reconstruction(a) for a in load_annotations(data)]
    return data, records, replace(submissions.MANIFEST_ROW, dataset="open")


def test_the_first_images_of_each_object_by_id_are_scored(tmp_path, five):
    data, records, manifest = five
    found = score(tmp_path, records[::-1], data, PARTIAL, manifest, objects=())
    wanted = [name for thing in FEW for name in sorted(r.image_id for r in records if thing in r.image_id)[:2]]
    assert sorted(row["image_id"] for row in found.rows) == sorted(wanted)
    assert found.scores["overall"]["coverage"]["images"] == 4
    assert all(found.scores["objects"][thing]["coverage"]["scored"] == 2 for thing in FEW)


def test_images_that_the_protocol_leaves_out_are_neither_missed_nor_counted(tmp_path, five):
    data, records, manifest = five
    first = [r for r in records if r.image_id.endswith(("0000", "0001"))]
    some = score(tmp_path / "some", first, data, PARTIAL, manifest, objects=(), strict=True)
    assert some.warnings == [] and some.scores["overall"]["coverage"]["share"] == 1
    spoilt = [r if r in first else Failure(r.image_id, "x") for r in records]
    every = score(tmp_path / "every", spoilt, data, PARTIAL, manifest, objects=(), strict=True)
    assert every.warnings == [] and json.dumps(every.rows) == json.dumps(some.rows)
    assert every.scores["overall"] == some.scores["overall"]


def test_a_missing_image_among_the_first_is_still_missed(tmp_path, five):
    data, records, manifest = five
    found = score(tmp_path, records[1:], data, PARTIAL, manifest, objects=())
    assert [w.code for w in found.warnings] == ["missing-id"] and "1 of 4 missing" in found.warnings[0].found
    assert found.scores["overall"]["coverage"]["missing"] == 1


def test_an_unknown_image_is_named_with_its_own_row(tmp_path, five):
    data, records, manifest = five
    with pytest.raises(DefectError) as caught:
        score(tmp_path, [*records, submissions.reconstruction("nobody")], data, PARTIAL, manifest, objects=())
    assert [(d.code, d.row, d.image_id) for d in caught.value.defects] == [("unknown-id", len(records), "nobody")]


def test_a_submission_of_left_out_images_alone_scores_nothing(tmp_path, five):
    data, records, manifest = five
    last = [r for r in records if r.image_id.endswith("0004")]
    found = score(tmp_path, last, data, PARTIAL, manifest, objects=())
    assert found.scores["overall"]["coverage"]["scored"] == 0
    assert "no image is reconstructed" in found.scores["unofficial_because"]


def test_fewer_images_than_the_protocol_takes_are_all_of_them(tmp_path, five):
    data, records, manifest = five
    found = score(tmp_path, records, data, fast(images_per_object=25), manifest, objects=("baseball",))
    assert found.scores["overall"]["coverage"]["images"] == 5


# What is refused


@pytest.mark.parametrize(
    ("change", "options", "wanted"),
    [
        ({"dataset": "wildhoi"}, {}, "wrong-dataset"),
        ({"body_model": "smplx"}, {}, "wrong-body_model"),
        ({"split": "train"}, {}, "want images of split train"),
        ({}, {"objects": ("spoon",)}, "spoon"),
        ({}, {"body": "smplx"}, "--body smplx"),
        ({}, {"device": "gpu"}, "--device gpu"),
        ({}, {"device": "cuda:99"}, "--device cuda:99"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, data, truth, change, options, wanted):
    manifest = replace(submissions.MANIFEST_ROW, **change)
    with pytest.raises(InputError, match=wanted):
        score(tmp_path, truth, data, manifest=manifest, **options)


def test_a_split_that_the_data_lack_is_refused(tmp_path):
    data = submissions.make_data(tmp_path / "data", ["tennis"], 1)
    records = [submissions.as_reconstruction(a) for a in load_annotations(data)]
    with pytest.raises(InputError, match="no annotations of split 'train'"):
        score(tmp_path / "sub", records, data, manifest=replace(submissions.MANIFEST_ROW, split="train"))


def test_unknown_images_are_refused(tmp_path, data, truth):
    with pytest.raises(DefectError, match="no-known-image"):
        score(tmp_path / "none", submissions.rows(), data)
    with pytest.raises(DefectError, match=r"unknown-id.*and 1 more"):
        score(tmp_path / "two", [*truth, *submissions.rows(2)], data)


def test_another_stream_of_random_numbers_is_refused(tmp_path, data, truth):
    with pytest.raises(InputError, match="stream 'pcg@9'"):
        score(tmp_path, truth, data, fast(stream="pcg@9"))


# Official or not, and which numbers these are


def test_the_whole_sample_under_its_protocol_is_official(tmp_path, data, truth):
    one = [truth[0], *(Failure(r.image_id, "x") for r in truth[1:])]
    scores = score(tmp_path, one, data, load_protocol("open@1"), objects=()).scores
    assert scores["official"] is True and scores["unofficial_because"] == []
    assert protocol_for(data.name).id == "open@1"


def test_a_changed_protocol_under_an_official_id_is_unofficial(tmp_path, data, truth):
    failures = [Failure(r.image_id, "x") for r in truth]
    scores = score(tmp_path, failures, data, fast(), objects=()).scores
    assert scores["official"] is False and "not the one that ships" in scores["unofficial_because"][0]


def test_a_subset_is_unofficial(tmp_path, data, truth):
    scores = score(tmp_path, truth, data, objects=("baseball",)).scores
    assert scores["official"] is False and "only the objects baseball" in scores["unofficial_because"][0]
    assert list(scores["objects"]) == ["baseball"]


def test_licensed_data_on_the_open_body_are_unofficial(tmp_path):
    data = submissions.make_data(tmp_path / "data", ["tennis"], body_model="smplx", name="wildhoi")
    records = [submissions.as_reconstruction(a) for a in load_annotations(data)]
    manifest = replace(submissions.MANIFEST_ROW, dataset="wildhoi", body_model="smplx")
    found = score(tmp_path / "sub", records, data, fast("wildhoi@1"), manifest, body="open", objects=())
    assert found.scores["official"] is False
    assert "body model open, the protocol's is smplx" in found.scores["unofficial_because"]
    assert mean(found, "v2v_human") == mean(found, "rotation") == 0


def test_without_the_licensed_body_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("WILDHOI_BODY_MODELS", raising=False)
    data = submissions.make_data(tmp_path / "data", ["tennis"], body_model="smplx", name="wildhoi")
    records = [submissions.as_reconstruction(a) for a in load_annotations(data)]
    manifest = replace(submissions.MANIFEST_ROW, dataset="wildhoi", body_model="smplx")
    with pytest.raises(MissingAssetError, match="--body open"):
        score(tmp_path / "sub", records, data, fast("wildhoi@1"), manifest, objects=())


def test_smplh_data_score_on_the_open_body_under_the_combined_alignment(tmp_path):
    data = submissions.make_data(tmp_path / "data", ["tennis"], body_model="smplh", name="behave")
    records = [submissions.as_reconstruction(a) for a in load_annotations(data)]
    manifest = replace(submissions.MANIFEST_ROW, dataset="behave", body_model="smplh")
    found = score(tmp_path / "sub", records, data, fast("behave@1"), manifest, body="open", objects=())
    assert found.scores["overall"]["coverage"]["alignments"] == {"combined": 2}
    assert mean(found, "v2v_human") < 1e-6 and mean(found, "rotation") < 1e-4 and mean(found, "surface_object") < 1e-6
    assert any("keyframes" in reason for reason in found.scores["unofficial_because"])


def test_an_image_list_picks_the_official_images(tmp_path):
    data = submissions.make_data(tmp_path / "data", ["tennis"], 3, body_model="smplh", name="behave")
    truth = load_annotations(data)
    (data.path / "lists").mkdir()
    (data.path / "lists" / "keyframes.json").write_text(json.dumps([truth[0].image_id, truth[2].image_id]))
    manifest = replace(submissions.MANIFEST_ROW, dataset="behave", body_model="smplh")
    records = [Failure(a.image_id, "x") for a in truth]
    found = score(tmp_path / "sub", records, data, fast("behave@1"), manifest, body="open", objects=())
    assert [row["image_id"] for row in found.rows] == [truth[0].image_id, truth[2].image_id]


@pytest.mark.parametrize("content", ['{"a": 1}', "[1]", "[[]]", '["nobody"]', "[]"])
def test_an_image_list_that_lists_nothing_is_refused(tmp_path, content):
    data = submissions.make_data(tmp_path / "data", ["tennis"], 1, body_model="smplh", name="behave")
    (data.path / "lists").mkdir()
    (data.path / "lists" / "keyframes.json").write_text(content)
    manifest = replace(submissions.MANIFEST_ROW, dataset="behave", body_model="smplh")
    records = [Failure(a.image_id, "x") for a in load_annotations(data)]
    with pytest.raises(InputError, match=r"list of image ids|no annotated image"):
        score(tmp_path / "sub", records, data, fast("behave@1"), manifest, body="open", objects=())


def test_scores_say_which_numbers_they_are(tmp_path, data, truth):
    protocol = load_protocol("open@1")
    submission = read_submission(submissions.make_submission(tmp_path, truth))
    failed = replace(submission, rows=[Failure(r.image_id, "x") for r in truth])
    scores = evaluate(failed, data, protocol, Options()).scores
    assert scores["protocol"]["id"] == "open@1" and scores["protocol"]["hash"] == protocol.hash
    assert scores["dataset"] == {
        "name": "open-sample",
        "revision": data.revision_of("test"),
        "split": "test",
        "track": None,
    }
    assert scores["body"]["model"] == "open" and len(scores["body"]["sha256"]["neutral"]) == 64
    assert set(scores["templates"]) == set(scores["objects"]) and all(
        len(h) == 64 for h in scores["templates"].values()
    )
    assert scores["seed"] == 0 and scores["device"] == "cpu"
    assert {"wildhoi", "torch", "numpy", "scipy", "python"} <= set(scores["versions"])
    assert scores["submission"]["sha256"] == submission.sha256


def test_per_image_holds_every_image_and_metric(tmp_path, data, truth):
    protocol = fast()
    write_scores(tmp_path / "out", score(tmp_path / "sub", truth[1:], data, protocol))
    table = pd.read_parquet(tmp_path / "out" / "per_image.parquet")
    assert len(table) == 6 and set(protocol.metrics) <= set(table.columns)
    assert list(table["image_id"]) == sorted(table["image_id"]) or list(table["object"]) == sorted(table["object"])


def test_nothing_is_written_while_scoring(tmp_path, data, truth, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = submissions.make_submission(tmp_path / "sub", truth)
    evaluate(read_submission(folder), data, fast(), Options(objects=("baseball",)))
    assert submissions.files_below(tmp_path) == {"sub", "sub/submission.yaml", "sub/predictions.parquet"}
    assert not list(Path.cwd().glob("*.json"))


# What must not pass for a score of the real thing


def test_a_data_set_that_is_not_open_needs_its_own_templates(tmp_path):
    data = submissions.make_data(tmp_path / "data", ["bicycle"], 1, name="wildhoi")
    (data.objects / "bicycle" / "front.ply").unlink()
    manifest = replace(submissions.MANIFEST_ROW, dataset="wildhoi", body_model="smplx")
    records = [Failure(a.image_id, "x") for a in load_annotations(data)]
    with pytest.raises(MissingAssetError, match=r"bicycle.*front\.ply"):
        score(tmp_path / "sub", records, data, fast("wildhoi@1"), manifest, body="open", objects=())


@pytest.mark.parametrize("touched", ["annotations", "objects", "lists"])
def test_data_that_are_not_as_they_were_sealed_make_no_official_score(tmp_path, touched):
    data = submissions.make_data(tmp_path / "data", ["tennis"], 2, body_model="open", name="open")
    records = [submissions.as_reconstruction(a) for a in load_annotations(data)]
    manifest = replace(submissions.MANIFEST_ROW, dataset="open", body_model="open")
    protocol = load_protocol("open@1")
    sealed = score(tmp_path / "sub", records, data, protocol, manifest, objects=())
    assert sealed.scores["official"] and sealed.scores["unofficial_because"] == []
    if touched == "lists":
        (data.path / "lists").mkdir()
        (data.path / "lists" / "x.json").write_text("[]")
    else:
        path = next((data.path / touched / "tennis").iterdir())
        path.write_bytes(path.read_bytes() + b"\n")
    if touched != "annotations":  # a footer that is not at the end is another story
        found = score(tmp_path / "again", records, data, protocol, manifest, objects=())
        assert any(f"{touched}/" in reason for reason in found.scores["unofficial_because"])
    assert data.changed_files("test")[0].startswith(touched)


def test_the_open_body_does_not_pass_as_smplx(tmp_path):
    arrays = open_body.expand(read_arrays(open_body.PATH))
    (tmp_path / "smplx").mkdir()
    np.savez(tmp_path / "smplx" / "SMPLX_NEUTRAL.npz", **arrays)
    data = submissions.make_data(tmp_path / "data", ["tennis"], 1, name="wildhoi")
    manifest = replace(submissions.MANIFEST_ROW, dataset="wildhoi", body_model="smplx")
    records = [submissions.as_reconstruction(a) for a in load_annotations(data)]
    protocol = load_protocol("wildhoi@1")
    found = score(tmp_path / "sub", records, data, protocol, manifest, body_folder=tmp_path, objects=())
    assert found.scores["unofficial_because"] == ["the file of body model smplx holds the open body"]


def test_a_submission_without_any_reconstruction_is_not_official(tmp_path, data):
    records = [Failure(a.image_id, "x") for a in load_annotations(data)]
    found = score(tmp_path, records, data, load_protocol("open@1"), objects=())
    assert found.scores["unofficial_because"] == ["no image is reconstructed"]


def test_the_sample_keeps_its_scores(data):
    golden = json.loads((Path(__file__).parent / "data" / "golden_sample.json").read_text())
    protocol = load_protocol("open@1")
    assert protocol.hash == golden["protocol_hash"]
    found = evaluate(sample("small"), data, protocol, Options()).scores["overall"]["metrics"]
    assert {name: cell["mean"] for name, cell in found.items()} == pytest.approx(golden["means"], abs=2e-6)
