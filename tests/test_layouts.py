"""Further views of scenes as a third kind of table, and what a made-up data set adds to a conversion."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from command import run

import submissions
from submissions import same
from wildhoi.catalogue import describe_data
from wildhoi.convert.conversion_report import ObjectReport
from wildhoi.convert.parts import Part
from wildhoi.convert.pipeline import Conversion, run_conversion
from wildhoi.convert.template_report import TemplateReport
from wildhoi.dataset import load_annotations, load_layouts, load_samples, open_folder, write_layouts
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import sha256_file
from wildhoi.hub.contents import group_of, is_data_file
from wildhoi.objects import find_category
from wildhoi.schema import Annotation, ObjectPose, Sample, SceneView

OBJECTS = ("tennis", "violin")
SCENES, VIEWS = 6, 3
TRAIN = "train-00000-of-00001.parquet"


class Stop(Exception):
    """What interrupts a run."""


def scenes(name):
    return [f"{name}_{number:04}" for number in range(SCENES)]


def view(scene, number, name):
    random = np.random.default_rng([number, int(scene[-4:])])
    k = len(find_category(name).keypoints)
    camera = submissions.camera(number)
    return SceneView(scene, name, number, camera, random.normal(100, 30, (22, 2)), random.normal(100, 30, (k, 2)))


def read_samples(name, log):
    for scene in scenes(name):
        log.redraw(scene, "feet below the ground")
        yield Sample(scene, name, scene)
    log.redraw(scenes(name)[0], "feet below the ground")
    log.redraw(scenes(name)[1], "the palm is off")


def read_truth(name, log):
    for number, scene in enumerate(scenes(name)):
        pose = ObjectPose(submissions.rotation(number), np.zeros(3))
        yield Annotation(
            scene,
            name,
            scene,
            submissions.human(number),
            pose,
            submissions.camera(number),
            scene_id=f"scene-{scene}",
            interaction="carried" if number else None,
        )


def read_views(name, log):
    for scene in scenes(name):
        yield from (view(f"scene-{scene}", number, name) for number in range(VIEWS))


READERS = {"samples": read_samples, "annotations": read_truth, "layouts": read_views}


def prepare(out):
    for name in OBJECTS:
        (out / "objects" / name).mkdir(parents=True, exist_ok=True)
        (out / "objects" / name / "keypoints.json").write_text("{}\n")
    return {name: ObjectReport(TemplateReport()) for name in OBJECTS}


def made_up(*kinds, name="open", **changes):
    parts = [Part(kind, thing, "train", "0001", READERS[kind], thing) for kind in kinds for thing in OBJECTS]
    return replace(Conversion(name, "open", None, {}, parts, prepare, lambda report: []), **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "open"
    with submissions.unchecked():
        report = run_conversion(made_up(*READERS, version=1), out)
    return open_folder(out), report


def head(folder):
    _, text, body = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(text), body


def contents(folder):
    return {p.relative_to(folder).as_posix(): sha256_file(p) for p in folder.rglob("*") if p.is_file()}


# The table


def test_views_come_back_as_they_were_in_order(tmp_path):
    views = [view(f"s{n % 4:04}", n // 4, "tennis") for n in range(12)]
    path = tmp_path / "layouts" / "tennis" / TRAIN
    write_layouts(path, views[::-1])
    data = submissions.make_data(tmp_path, ["tennis"])
    found = load_layouts(data)
    wanted = sorted(views, key=lambda v: (v.scene_id, v.view))
    assert [(v.scene_id, v.view, v.object) for v in found] == [(v.scene_id, v.view, "tennis") for v in wanted]
    assert all(same(a, b, lambda x, y: np.allclose(x, y, atol=1e-4)) for a, b in zip(found, wanted, strict=True))
    schema = pq.read_schema(path)
    assert schema.field("view").type == pa.int32() and schema.field("object_keypoints").type == pa.list_(pa.float32())


def test_layouts_are_found_by_object_and_mini(folder):
    data, _ = folder
    assert len(load_layouts(data)) == len(OBJECTS) * SCENES * VIEWS
    assert {v.object for v in load_layouts(data, objects=["violin"])} == {"violin"}
    few = load_layouts(data, mini=True)
    truth = load_annotations(data, "train", mini=True)
    assert {v.scene_id for v in few} == {a.scene_id for a in truth} and len(few) == len(truth) * VIEWS
    for split, objects in (("test", None), ("train", ["cello"])):
        with pytest.raises(InputError):
            load_layouts(data, split, objects)


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("camera_rotation", [1.0, 0, 0, 0, 1, 0, 0, 0, -1], "camera_rotation is no rotation"),
        ("camera_translation", [0.0, float("nan"), 1], "camera_translation is not finite"),
        ("body_keypoints", [0.0] * 43, "body_keypoints: got 43 numbers, want 44"),
        ("object_keypoints", [0.0] * 3, "object_keypoints: got 3 numbers, want 14"),
        ("object_keypoints", None, "object_keypoints is not finite"),
        ("scene_id", None, "scene_id is empty"),
        ("object", "violin", "object is not 'tennis'"),
        ("view", -1, "view is no count"),
        ("view", 0, "view 0 twice"),
    ],
)
def test_a_bad_value_is_refused_by_name(tmp_path, column, value, told):
    path = tmp_path / "layouts" / "tennis" / TRAIN
    write_layouts(path, [view("s0000", number, "tennis") for number in range(2)])
    data = submissions.make_data(tmp_path, ["tennis"])
    table = pq.read_table(path)
    values = [table.column(column).to_pylist()[0], value]
    index, kind = table.schema.get_field_index(column), table.schema.field(column).type
    loose = pa.list_(pa.float32()) if isinstance(value, list) else kind
    pq.write_table(table.set_column(index, column, pa.array(values, loose)), path)
    with pytest.raises(InputError, match=told):
        load_layouts(data)


def test_a_missing_column_is_named(tmp_path):
    path = tmp_path / "layouts" / "tennis" / TRAIN
    write_layouts(path, [view("s0000", 0, "tennis")])
    data = submissions.make_data(tmp_path, ["tennis"])
    pq.write_table(pq.read_table(path).drop_columns(["view", "focal"]), path)
    with pytest.raises(InputError, match=r"view: got absent.*focal"):
        load_layouts(data)


# The folder


def test_the_interaction_is_kept(folder):
    found = load_annotations(folder[0], "train", ["tennis"])
    assert [a.interaction for a in found] == [None, *["carried"] * (SCENES - 1)]


def test_layouts_have_configs_of_their_own_that_load(folder, tmp_path):
    import datasets

    data, _ = folder
    meta, body = head(data.path)
    names = [config["config_name"] for config in meta["configs"]]
    suffixes = ("", "-annotations", "-layouts")
    assert names == [f"{name}{suffix}" for name in ("all", "mini", *OBJECTS) for suffix in suffixes]
    declared = {i["config_name"]: i for i in meta["dataset_info"]}
    assert declared["all-layouts"]["splits"][0]["num_examples"] == len(OBJECTS) * SCENES * VIEWS
    features = datasets.Features._from_yaml_list(declared["all-layouts"]["features"])
    datasets.disable_progress_bars()
    for name in ("all-layouts", "mini-layouts", "violin-layouts"):
        loaded = datasets.load_dataset(str(data.path), name, cache_dir=str(tmp_path))["train"]
        assert loaded.features == features and set(loaded["view"]) == set(range(VIEWS))
    section = body.split("## Columns of layouts")[1].split("\n## ")[0]
    documented = [line.split("|")[1].strip(" `") for line in section.splitlines() if line.startswith("| `")]
    assert documented == pq.read_schema(data.path / "layouts" / "tennis" / TRAIN).names


def test_the_card_of_the_open_set_is_free(folder):
    meta, body = head(folder[0].path)
    assert meta["license"] == "cc0-1.0" and not [key for key in meta if key.startswith(("extra_gated", "license_"))]
    assert meta["annotations_creators"] == ["machine-generated"] and "open@1" in body and "load_layouts" in body


def test_views_are_counted_where_there_are_any(folder, monkeypatch, capfd):
    data, _ = folder
    found = describe_data(data)
    assert [entry.layouts for entry in found.objects] == [{"train": SCENES * VIEWS, "test": 0}] * 2
    assert found.to_dict()["objects"][0]["layouts"]["train"] == SCENES * VIEWS
    shown = run(monkeypatch, capfd, "data", "info", data.path).out
    assert "train layouts" in shown and str(SCENES * VIEWS) in shown
    assert all("scene-" not in image for image in found.images)


def test_folders_without_further_views_do_not_mention_them(tmp_path, monkeypatch, capfd):
    plain = made_up("samples", "annotations", prepare=prepare)
    parts = [replace(part, read=read_plainly) if part.kind == "samples" else part for part in plain.parts]
    report = run_conversion(replace(plain, parts=parts), tmp_path / "out")
    shown = run(monkeypatch, capfd, "data", "info", tmp_path / "out").out
    printed = run(monkeypatch, capfd, "data", "info", tmp_path / "out", "--json").out
    written = [(tmp_path / "out" / name).read_text() for name in ("README.md", "conversion_report.json")]
    for text in (shown, printed, *written, report.to_text(), json.dumps(report.to_dict())):
        assert "layouts" not in text and "drawn again:" not in text and "redrawn" not in text


def read_plainly(name, log):
    return (Sample(scene, name, scene) for scene in scenes(name))


def test_the_hub_takes_layouts_and_nothing_like_them():
    assert is_data_file(f"layouts/tennis/{TRAIN}") and is_data_file(f"mini/layouts/tennis/{TRAIN}")
    assert group_of(f"layouts/tennis/{TRAIN}") == ("layouts", "tennis", "train")
    assert not any(
        is_data_file(name) for name in (f"views/tennis/{TRAIN}", f"layouts/{TRAIN}", "mini/mini/a/b.parquet")
    )


# What a made-up data set adds


def test_what_was_drawn_again_is_counted_as_often_as_it_happened(folder):
    data, report = folder
    assert report.reasons("redrawn") == {"feet below the ground": 2 * (SCENES + 1), "the palm is off": 2}
    assert report.objects["tennis"].redrawn["the palm is off"] == [scenes("tennis")[1]]
    written = json.loads((data.path / "conversion_report.json").read_text())
    assert written["objects"]["violin"]["redrawn"] == report.objects["violin"].redrawn
    assert "- drawn again: 14 (feet below the ground)" in head(data.path)[1]
    assert "drawn again 14: feet below the ground" in report.to_text()


def test_drawing_again_is_nothing_irregular(tmp_path, folder):
    run_conversion(made_up(*READERS, version=1), tmp_path / "strict", strict=True)
    assert contents(tmp_path / "strict") == contents(folder[0].path)


def test_the_version_is_written_and_names_the_content(folder, tmp_path):
    identity = json.loads((folder[0].path / "dataset.json").read_text())
    assert "annotations" in str(identity.pop("truth"))
    assert identity == {"name": "open", "body_model": "open", "version": 1}
    other = run_conversion(made_up(*READERS, version=2), tmp_path / "two").revision
    assert other != folder[0].revision and load_samples(folder[0].path, "train")[0].object in OBJECTS


def test_the_groundwork_is_laid_before_the_parts_and_gone_in_the_end(tmp_path):
    calls = []

    def groundwork(place, engine, progress):
        calls.append((place.relative_to(tmp_path).as_posix(), engine.here, sorted(p.name for p in place.iterdir())))
        assert (tmp_path / "out" / "objects" / "tennis").is_dir() and not (tmp_path / "out" / "layouts").exists()
        (place / "solved").write_text("kept")
        if len(calls) == 1:
            raise Stop
        progress("solving", 1, 1)

    told = []
    plan = made_up("layouts", groundwork=groundwork)
    with pytest.raises(Stop):
        run_conversion(plan, tmp_path / "out")
    with pytest.raises((InputError, MissingAssetError)):
        open_folder(tmp_path / "out")
    run_conversion(plan, tmp_path / "out", progress=lambda *words: told.append(words))
    place = "out/.conversion/groundwork"
    assert calls == [(place, True, []), (place, True, ["solved"])] and ("solving", 1, 1) in told
    assert not (tmp_path / "out/.conversion").exists() and "groundwork" not in str(contents(tmp_path / "out"))


def test_another_version_does_not_continue(tmp_path):
    def stop(place, engine, progress):
        raise Stop

    with pytest.raises(Stop):
        run_conversion(made_up("layouts", version=1, groundwork=stop), tmp_path / "out")
    with pytest.raises(InputError, match="settings"):
        run_conversion(made_up("layouts", version=2), tmp_path / "out")
