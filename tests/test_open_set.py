"""The open set as a data set: its plan, its files, resuming to the same bytes, and what a user can get wrong."""

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from itertools import chain, product

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from command import run

from submissions import unchecked
from wildhoi.convert.parts import KINDS, SCHEMAS
from wildhoi.convert.pipeline import run_conversion
from wildhoi.dataset import load_annotations, load_samples, open_folder
from wildhoi.dataset.layouts import load_layouts
from wildhoi.dataset.samples import SCHEMA
from wildhoi.engine import Local
from wildhoi.errors import InputError, RunError
from wildhoi.files import sha256_file
from wildhoi.layout import CONVERTING
from wildhoi.objects import find_category
from wildhoi.open_scenes import plan as planning
from wildhoi.open_scenes.plan import Request, plan_open, stored_scenes
from wildhoi.open_scenes.scene_files import read_scenes
from wildhoi.open_scenes.version import load_version

OBJECTS = ("bicycle", "tennis")  # with a joint, and without
TRAIN, TEST, LAYOUTS, SIZE, SEED = 3, 2, 2, 64, 41
CHUNK = 2  # scenes solved together, so that few scenes are several parts
NEVER = {"object_correspondences_weights"}  # nothing estimates them
OF_THE_POSE = {"object_pose", "human_occlusion", "object_occlusion"}  # a few cells of a small picture may give none


def request(**changes):
    choices = {"train": TRAIN, "test": TEST, "seed": SEED, "size": SIZE, "layouts": LAYOUTS, **changes}
    return Request(choices.pop("objects", OBJECTS), **choices)


def make(out, workers=1, **changes):
    with unchecked():
        return run_conversion(plan_open(request(**changes), out), out, engine=Local(workers))


def contents(folder):
    """Every file, hidden ones too, and its hash."""
    return {p.relative_to(folder).as_posix(): sha256_file(p) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory):
    import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(planning, "CHUNK", CHUNK)
        datasets.disable_progress_bars()
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small set, and its report."""
    out = tmp_path_factory.mktemp("open") / "whole"
    return out, make(out)


@pytest.fixture(scope="module")
def folder(made):
    return open_folder(made[0])


@pytest.fixture(scope="module")
def annotations(folder):
    return {split: load_annotations(folder, split) for split in ("train", "test")}


@pytest.fixture(scope="module")
def samples(folder):
    return {split: list(load_samples(folder.path, split)) for split in ("train", "test")}


# --- the plan -------------------------------------------------------------------------------------------------------


def test_what_is_left_out_is_as_the_version_has_it(tmp_path):
    whole, version = Request(), load_version()
    assert (whole.train, whole.test, whole.seed, whole.layouts) == (2000, 100, version.seed, version.layouts)
    assert sorted(whole.objects) == sorted(version.objects) and len(whole.objects) == 8 and whole.size == 256
    assert version.seed != version.development_seed
    assert plan_open(Request(train=0), tmp_path).version == version.version


def test_parts_cover_every_scene_once_and_layouts_are_of_training_scenes(tmp_path):
    parts = plan_open(request(train=7, test=5), tmp_path).parts
    for name, split, kind in product(OBJECTS, ("train", "test"), KINDS):
        some = [part for part in parts if (part.object, part.split, part.kind) == (name, split, kind)]
        assert len({part.key for part in some}) == len(some)
        names = list(chain.from_iterable(part.spec.names for part in some))
        count = {"train": 7, "test": 5}[split] if (kind, split) != ("layouts", "test") else 0
        assert names == [f"{name}-{split}-{number:05}" for number in range(count)]
    assert not [part for part in plan_open(request(layouts=0), tmp_path).parts if part.kind == "layouts"]
    assert {part.split for part in plan_open(request(train=0), tmp_path).parts} == {"test"}


def test_the_whole_set_has_the_templates_of_objects_that_nobody_is_posed_with(tmp_path):
    whole = plan_open(Request(train=1, test=0), tmp_path).prepare(tmp_path / "whole")
    some = plan_open(request(), tmp_path).prepare(tmp_path / "some")
    idle = {name for name in whole if not find_category(name).interactions}
    assert set(whole) - idle == set(load_version().objects) and idle and set(some) == set(OBJECTS)
    assert {path.name for path in (tmp_path / "whole" / "objects").iterdir()} == set(whole)


# --- its files ------------------------------------------------------------------------------------------------------


def test_the_folder_is_one_of_a_converted_release(made, folder):
    out, report = made
    assert (folder.name, folder.body_model, folder.track) == ("open", "open", f"seed-{SEED}")
    assert report.revision == folder.revision and not folder.problems()
    assert json.loads((out / "dataset.json").read_text())["version"] == load_version().version
    entries = {path.name for path in out.iterdir()}
    tables = {"samples", "annotations", "layouts", "mini", "objects"}
    assert tables | {"dataset.json", "checksums.json", "conversion_report.json", "README.md"} <= entries
    assert not [name for name in contents(out) if any(part.startswith(".") for part in name.split("/"))]
    counts = json.loads((out / "conversion_report.json").read_text())["objects"]
    for name in OBJECTS:
        for kind, split, rows in (
            ("samples", "train", TRAIN),
            ("annotations", "test", TEST),
            ("layouts", "train", TRAIN * LAYOUTS),
        ):
            assert counts[name][kind][split]["rows"] == rows
        assert not counts[name]["dropped"] and not counts[name]["incomplete"]
    card = (out / "README.md").read_text()
    assert all(name in card for name in OBJECTS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_has_the_schema_of_converted_releases(folder, kind):
    for split, place in product(("train", "test"), (kind, f"mini/{kind}")):
        if kind == "layouts" and split == "test":
            assert not folder.categories(split, place)
            continue
        for path in folder.files(place, split):
            found = pq.read_schema(path)
            assert found.equals(SCHEMAS[kind])
            if kind == "samples":
                assert found.metadata[b"huggingface"] == SCHEMA.metadata[b"huggingface"]


def test_detectors_fill_every_input(samples):
    rows = list(chain(*samples.values()))
    assert sum(sample.object_pose_success for sample in rows) >= 0.8 * len(rows)
    for sample in rows:
        missing = {name for name, value in vars(sample).items() if value is None}
        assert missing == (NEVER if sample.object_pose_success else NEVER | OF_THE_POSE), sample.image_id
        left, top, width, height = sample.image_box
        assert sample.image.shape == (height, width, 3) and max(width, height) <= SIZE and sample.image.std() > 5
        for name in ("person", "object"):
            box, mask = getattr(sample, f"{name}_mask_box"), getattr(sample, f"{name}_mask")
            assert mask.shape == (box[3], box[2]) and mask.any()
            assert (
                box[0] >= left and box[1] >= top and box[0] + box[2] <= left + width and box[1] + box[3] <= top + height
            )
        numbers = ["body_keypoints", "wholebody_keypoints", "jaw_pose", "expression", "body_box"]
        if sample.object_pose is not None:
            assert (sample.object_pose.angle is not None) == (find_category(sample.object).joint is not None)
            numbers.append("object_keypoints")
        assert all(np.isfinite(getattr(sample, name)).all() for name in numbers)


def test_truth_is_apart_from_inputs(folder, samples, annotations):
    for path in chain(*(folder.files("samples", split) for split in ("train", "test"))):
        assert not {"interaction", "scene_id", "visible", "upright"} & set(pq.read_schema(path).names)
    for split in ("train", "test"):
        truth = {annotation.image_id: annotation for annotation in annotations[split]}
        assert sorted(truth) == sorted(sample.image_id for sample in samples[split])
        for sample in samples[split]:
            true = truth[sample.image_id]
            assert true.object == sample.object and true.video_id == sample.video_id
            for part in ("human", "object_pose", "camera") if sample.object_pose_success else ("human", "camera"):
                estimate, exact = vars(getattr(sample, part)), vars(getattr(true, part))
                assert all(
                    np.abs(estimate[name] - exact[name]).max() > 1e-6
                    for name in exact
                    if exact[name] is not None and name not in ("focal", "principal_point")
                )
            assert true.interaction in find_category(true.object).interactions
            assert true.interaction not in sample.image_id


def test_a_scene_is_seen_once_and_splits_share_neither_scenes_nor_people(annotations):
    rows = [*annotations["train"], *annotations["test"]]
    assert len(rows) == len(OBJECTS) * (TRAIN + TEST)
    for name in ("scene_id", "image_id", "video_id"):
        assert len({getattr(row, name) for row in rows}) == len(rows)
    assert len({row.human.betas.tobytes() for row in rows}) == len(rows)
    assert len({row.object_pose.scale for row in rows}) == len(rows)
    assert all(0 < row.visible <= 1 for row in rows)


def test_layouts_are_of_the_training_scenes(folder, annotations):
    counted = Counter(view.scene_id for view in load_layouts(folder))
    assert counted == {row.scene_id: LAYOUTS for row in annotations["train"]}
    with pytest.raises(InputError, match="no layouts of split 'test'"):
        load_layouts(folder, "test")
    assert {view.scene_id for view in load_layouts(folder, mini=True)} <= set(counted)


# --- the same bytes -------------------------------------------------------------------------------------------------


def test_two_workers_make_the_same_bytes(tmp_path):
    few = {"objects": ("tennis",), "test": 0, "layouts": 0}
    for workers in (1, 2):
        make(tmp_path / str(workers), workers=workers, **few)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_another_seed_makes_other_scenes(annotations, tmp_path):
    make(tmp_path / "out", seed=SEED + 1, train=1, test=0, objects=OBJECTS[1:], layouts=0)
    [other], [first, *_] = load_annotations(tmp_path / "out", "train"), annotations["train"][TRAIN:]
    assert other.image_id == first.image_id
    assert np.abs(other.human.betas - first.human.betas).min() > 1e-6


class Stop(BaseException):
    """As Ctrl-C: nothing catches it."""


@contextmanager
def stopped_after(calls, name):
    """Let a function of the plan's module raise when it is called once more than so often."""
    function, seen = getattr(planning, name), []

    def counted(*arguments):
        seen.append(arguments)
        if len(seen) > calls:
            raise Stop
        return function(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        readers = {kind: counted if read is function else read for kind, read in planning.READERS.items()}
        patch.setattr(planning, "READERS", readers)
        patch.setattr(planning, name, counted)
        yield


def test_a_run_interrupted_again_and_again_and_moved_ends_in_the_same_bytes(made, tmp_path):
    out, threads = tmp_path / "out", torch.get_num_threads()
    torch.set_num_threads(2)  # of which bytes must not depend
    try:
        for number, (calls, name) in enumerate(
            [(1, "solve_chunk"), (2, "solve_chunk"), (1, "read_annotations"), (2, "read_layouts"), (3, "read_samples")]
        ):
            with stopped_after(calls, name), pytest.raises(Stop):
                make(out)
            assert (out / CONVERTING).is_dir() and not (out / "dataset.json").exists()
            out = out.rename(tmp_path / f"moved{number}")
        make(out)
    finally:
        torch.set_num_threads(threads)
    assert contents(out) == contents(made[0])


COMMAND = """
import sys
from wildhoi.open_scenes import plan
from wildhoi.cli import main
plan.CHUNK = int(sys.argv.pop(1))
main()
"""


def options(**changes):
    values = {"train": TRAIN, "test": TEST, "seed": SEED, "size": SIZE, "layouts": LAYOUTS, **changes}
    values.setdefault("objects", ",".join(OBJECTS))
    return [str(word) for name, value in values.items() for word in (f"--{name}", value)]


def test_a_killed_command_continues_to_the_same_bytes(made, tmp_path):
    out = tmp_path / "out"
    words = [sys.executable, "-c", COMMAND, str(CHUNK), "data", "make", "open", "-o", str(out), *options()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 120
        while len(list(out.glob(f"{CONVERTING}/groundwork/*.parquet"))) < 2:
            assert process.poll() is None and time.monotonic() < until, process.communicate()
            time.sleep(0.02)  # polls until two chunks are solved; the deadline bounds it
        process.kill()
    assert not (out / "dataset.json").exists()
    make(out)
    assert contents(out) == contents(made[0])


@pytest.mark.parametrize(
    "changes",
    [{"seed": SEED + 1}, {"size": 80}, {"layouts": 1}, {"train": TRAIN + 1}, {"kinds": ("carried",)}],
    ids=lambda changes: next(iter(changes)),
)
def test_an_unfinished_run_is_continued_by_the_same_request_only(tmp_path, changes):
    first = {"objects": ("tennis",)}
    with stopped_after(0, "solve_chunk"), pytest.raises(Stop):
        make(tmp_path / "out", **first)
    with stopped_after(0, "solve_chunk"), pytest.raises(InputError, match="other settings"):
        make(tmp_path / "out", **first, **changes)


# --- scenes that are solved already ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", load_version().objects)
def test_the_solved_test_scenes_are_whole(name):
    stored = read_scenes(stored_scenes(name))
    assert [scene.scene_id for scene in stored.scenes] == [f"{name}-test-{i:05}" for i in range(load_version().test)]
    assert {scene.interaction for scene in stored.scenes} == set(find_category(name).interactions)
    assert {scene.object for scene in stored.scenes} == {name}


def test_the_published_test_split_is_drawn_from_the_solved_scenes(tmp_path):
    with stopped_after(0, "solve_chunk"):  # nothing is solved
        make(tmp_path / "out", seed=load_version().seed, train=0, size=256, objects=("tennis",))
    stored = {scene.scene_id: scene for scene in read_scenes(stored_scenes("tennis")).scenes}
    found = load_annotations(tmp_path / "out")
    assert open_folder(tmp_path / "out").track is None and len(found) == TEST
    for row in found:
        scene = stored[row.scene_id]
        assert np.array_equal(row.human.body_pose, scene.human.body_pose) and row.interaction == scene.interaction
        assert np.allclose(row.object_pose.rotation, scene.object_pose.rotation, rtol=0, atol=1e-6)


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: run(monkeypatch, capfd, "data", "make", "open", *words)


def refused(outcome, code, *words):
    """One line that says it, no traceback."""
    assert outcome.code == code, outcome
    assert outcome.err.startswith("error: ") and len(outcome.err.splitlines()) == 1, outcome.err
    assert all(word in outcome.err for word in words) and not outcome.out, outcome.err


WRONG = {
    "unknown object": ({"objects": "teapot"}, 2, ("teapot", "tennis")),
    "no objects": ({"objects": ","}, 2, ("names nothing",)),
    "unknown interaction": ({"interactions": "juggled"}, 2, ("juggled", "bicycle")),
    "interaction of one of them": ({"interactions": "serve"}, 2, ("serve", "bicycle")),
    "no image": ({"train": 0, "test": 0}, 2, ("no image",)),
    "negative train": ({"train": -1}, 2, ("--train", "-1")),
    "negative test": ({"test": -1}, 2, ("--test", "-1")),
    "negative layouts": ({"layouts": -2}, 2, ("--layouts", "-2")),
    "tiny": ({"size": 10}, 2, ("--size", "10")),
    "huge": ({"size": 100_000}, 2, ("--size", "100000")),
    "without template": ({"objects": "backpack"}, 3, ("backpack", "template")),
    "without interaction": ({"objects": "yogaball"}, 2, ("yogaball", "interaction")),
    "unknown device": ({"device": "abacus"}, 2, ("abacus",)),
}


@pytest.mark.parametrize(("changes", "code", "words"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_made_is_refused_at_once(command, tmp_path, monkeypatch, changes, code, words):
    monkeypatch.setattr(planning, "solve_chunk", None)  # before any scene is solved
    refused(command("-o", "out", *options(**changes)), code, *words)
    assert not list(tmp_path.iterdir())


# Where there is a device, asking for it is no mistake, and there is nothing to refuse.
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_a_device_that_is_not_there_is_refused_at_once(command, tmp_path):
    outcome = command("-o", "out", *options(device="cuda"))
    refused(outcome, outcome.code, "cuda")
    assert outcome.code in (2, 3) and "shard" not in outcome.err and not list(tmp_path.iterdir())


def test_a_seed_that_is_no_number_is_refused(command, tmp_path):
    outcome = command("-o", "out", *options(seed="tuesday"))
    assert outcome.code == 2 and "--seed" in outcome.err and "Traceback" not in outcome.err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_refused_at_once(command, tmp_path):
    (tmp_path / "file").write_text("")
    refused(command("-o", "file/out", *options()), 2, "file/out")
    (tmp_path / "file").unlink()
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(command, made, tmp_path):
    before = contents(made[0])
    refused(command("-o", made[0], *options()), 2, "finished")
    assert contents(made[0]) == before
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    refused(command("-o", "out", *options()), 2, "not empty")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "notes.txt"]


def test_two_runs_do_not_write_to_one_folder(tmp_path):
    def meanwhile(chunk, path):
        with pytest.raises(RunError, match="another run"):
            make(tmp_path / "out", objects=("tennis",))
        raise Stop

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(planning, "solve_chunk", meanwhile)
        make(tmp_path / "out", objects=("tennis",))


def test_the_command_says_what_it_made_and_how(command, tmp_path):
    outcome = command("-o", "out", *options(objects="tennis", train=0, test=1), "--json")
    assert outcome.code == 0, outcome
    report = json.loads(outcome.out)
    assert report["revision"] == open_folder(tmp_path / "out").revision
    outcome = command("-o", "other", *options(objects="tennis", train=0, test=1, interactions="serve"))
    assert outcome.code == 0 and "attempts" in outcome.out and "data sheet" in outcome.err
    assert [row.interaction for row in load_annotations(tmp_path / "other")] == ["serve"]
