import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pipeline_parts
import pyarrow.parquet as pq
import pytest
import yaml
from pipeline_parts import OBJECTS, Stop, conversion

from submissions import unchecked
from wildhoi.convert import shards
from wildhoi.convert.parts import convert_part
from wildhoi.convert.pipeline import run_conversion
from wildhoi.convert.wildhoi_release import plan_wildhoi
from wildhoi.dataset import find_data, open_folder
from wildhoi.engine import Local
from wildhoi.errors import InputError, MissingAssetError, ShardsError, WildhoiError
from wildhoi.files import sha256_file

FPS = 30


@pytest.fixture(scope="module")
def raw(release_dir):
    return release_dir


@pytest.fixture(scope="module")
def objects(raw):
    return sorted(json.loads((raw / "train_test_split.json").read_text()))


@pytest.fixture(scope="module")
def converted(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "wildhoi"
    with unchecked():
        report = run_conversion(plan_wildhoi(raw, fps=FPS), out)
    return out, report


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The contents of the made-up conversion that nothing interrupted."""
    out = tmp_path_factory.mktemp("made-up") / "whole"
    run_conversion(conversion(), out)
    return contents(out)


@pytest.fixture(autouse=True)
def go_on():
    yield
    pipeline_parts.STOP_AT.clear()


def contents(folder):
    """Every file there is, hidden ones too, with its bytes' hash."""
    return {p.relative_to(folder).as_posix(): sha256_file(p) for p in folder.rglob("*") if p.is_file()}


def ids(folder, pattern):
    return [i for p in sorted(folder.glob(pattern)) for i in pq.read_table(p, columns=["image_id"])[0].to_pylist()]


# --- the same bytes -------------------------------------------------------------------------------------------------


def test_the_number_of_workers_changes_no_byte(raw, objects, tmp_path):
    with unchecked():
        one, two = (
            run_conversion(plan_wildhoi(raw, objects=objects[:1]), tmp_path / str(workers), engine=Local(workers))
            for workers in (1, 2)
        )
    assert contents(tmp_path / "1") == contents(tmp_path / "2") and one.to_json() == two.to_json()
    assert one.revision == two.revision == open_folder(tmp_path / "1").revision


def test_every_file_but_the_card_is_recorded_with_its_hash(converted):
    out, _ = converted
    files, recorded = contents(out), json.loads((out / "checksums.json").read_text())
    assert set(files) - set(recorded) == {"README.md", "checksums.json"}
    assert all(files[name] == digest for name, digest in recorded.items())
    assert not open_folder(out).problems() and str(out) not in "".join(files)
    for path in ("README.md", "conversion_report.json", "dataset.json"):
        assert str(out.parent) not in (out / path).read_text()


@pytest.mark.parametrize("stop", ["0003", "0104"])
def test_an_interrupted_conversion_continues_to_the_same_bytes(tmp_path, whole, stop):
    pipeline_parts.STOP_AT.append(stop)
    with pytest.raises((WildhoiError, Stop)):
        run_conversion(conversion(), tmp_path / "halved")
    for look in (open_folder, find_data):
        with pytest.raises((InputError, MissingAssetError)):
            look(tmp_path / "halved")
    assert not {"dataset.json", "checksums.json"} & {p.name for p in (tmp_path / "halved").iterdir()}
    pipeline_parts.STOP_AT.clear()
    run_conversion(conversion(), tmp_path / "halved")
    assert contents(tmp_path / "halved") == whole
    assert not (tmp_path / "halved/.conversion").exists()


def test_what_was_finished_is_not_done_again(tmp_path, monkeypatch):
    pipeline_parts.STOP_AT.append("0101")
    with pytest.raises((WildhoiError, Stop)):
        run_conversion(conversion(), tmp_path / "out")
    pipeline_parts.STOP_AT[:] = ["0001", "0002", "0003", "0004"]  # reading these again would fail
    run_conversion(conversion(), tmp_path / "out")
    assert len(ids(tmp_path / "out", "samples/*/*.parquet")) == 40


def test_bad_parts_keep_no_other_from_being_converted(tmp_path, whole):
    pipeline_parts.STOP_AT[:] = ["0002", "0103"]
    with pytest.raises(ShardsError, match=r"in 2 of 2 tables parts failed; the first: shard 0002.parquet"):
        run_conversion(conversion(), tmp_path / "out")
    pipeline_parts.STOP_AT[:] = [f"{n:04}" for n in (1, 3, 4, 101, 102, 104)]  # reading these again would fail
    run_conversion(conversion(), tmp_path / "out")
    assert contents(tmp_path / "out") == whole


def fail(*args, **kwargs):
    raise Stop


@pytest.mark.parametrize("step", ["write_mini", "write_card", "seal_folder", "Shards.finish"])
def test_an_interruption_after_the_parts_leaves_no_finished_folder(tmp_path, whole, monkeypatch, step):

    with monkeypatch.context() as patch:
        patch.setattr(f"wildhoi.convert.pipeline.{step}", fail)
        with pytest.raises(Stop):
            run_conversion(conversion(), tmp_path / "out")
    assert not (tmp_path / "out/dataset.json").exists()
    run_conversion(conversion(), tmp_path / "out")
    assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_conversion_continues_to_the_same_bytes(raw, converted, tmp_path, workers):
    out, chance = tmp_path / "killed", random.Random(workers)
    command = [sys.executable, pipeline_parts.__file__, str(raw), str(out), str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(chance.uniform(0.1, 0.7))  # so that the kill hits it anywhere in its work, not at its start
        process.send_signal(signal.SIGKILL)
    if not (out / "dataset.json").exists():
        with pytest.raises((InputError, MissingAssetError)):
            open_folder(out)
    if not (out / "dataset.json").exists():
        with unchecked():
            run_conversion(plan_wildhoi(raw, fps=FPS), out)
        assert not (out / ".conversion").exists()
    assert contents(out) == contents(converted[0])


def test_a_file_half_written_by_a_killed_run_is_gone_in_the_end(tmp_path, whole):
    begin(tmp_path / "out")
    half = tmp_path / "out/objects/tennis/.keypoints.json.a1b2c3d4/keypoints.json"
    half.parent.mkdir()
    half.write_text("{")
    run_conversion(conversion(), tmp_path / "out")
    assert contents(tmp_path / "out") == whole


# --- where it may write ---------------------------------------------------------------------------------------------


def begin(out, **settings):
    pipeline_parts.STOP_AT.append("0101")
    with pytest.raises((WildhoiError, Stop)):
        run_conversion(conversion(**settings), out)
    pipeline_parts.STOP_AT.clear()


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-1], lambda data: b"\0" * len(data)])
def test_a_finished_part_that_was_damaged_is_told(tmp_path, damage):
    pipeline_parts.STOP_AT.append("0104")
    with pytest.raises((WildhoiError, Stop)):
        run_conversion(conversion(), tmp_path / "out")
    pipeline_parts.STOP_AT.clear()
    (part,) = (tmp_path / "out/.conversion").rglob("0102.parquet")
    part.write_bytes(damage(part.read_bytes()))
    with pytest.raises(InputError, match=r"0102\.parquet: is damaged; remove the unfinished folder"):
        run_conversion(conversion(), tmp_path / "out")


def test_an_unfinished_folder_is_refused_by_what_reads_data(tmp_path):
    begin(tmp_path / "out")
    with pytest.raises(InputError, match="finish"):
        find_data(tmp_path / "out")
    with pytest.raises(InputError):
        open_folder(tmp_path / "out")


def test_only_the_same_settings_continue(tmp_path):
    begin(tmp_path / "out", fps=3)
    before = contents(tmp_path / "out")
    for other in (conversion(fps=10), conversion(), conversion(fps=3, more=True)):
        with pytest.raises(InputError, match="settings"):
            run_conversion(other, tmp_path / "out")
    assert contents(tmp_path / "out") == before
    run_conversion(conversion(fps=3), tmp_path / "out")


@pytest.mark.parametrize("all_parts", [False, True])
def test_what_was_begun_without_strict_is_refused_with_it_and_finished_without(tmp_path, whole, monkeypatch, all_parts):
    if all_parts:  # so that none is read again
        with monkeypatch.context() as patch, pytest.raises(Stop):
            patch.setattr("wildhoi.convert.pipeline.write_mini", fail)
            run_conversion(conversion(), tmp_path / "out")
    else:
        begin(tmp_path / "out")
    with pytest.raises(WildhoiError, match="made up"):
        run_conversion(conversion(), tmp_path / "out", strict=True)
    assert not {"dataset.json", "checksums.json"} & {p.name for p in (tmp_path / "out").iterdir()}
    run_conversion(conversion(), tmp_path / "out")
    assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"fps": 3}, {"fps": 30}),
        ({"splits": ("train",)}, {}),
        ({"objects": ("bicycle",)}, {}),
    ],
)
def test_every_option_of_the_release_is_a_setting(fixtures_dir, one, other):
    raw = fixtures_dir / "wildhoi_raw"
    assert plan_wildhoi(raw, **one).settings != plan_wildhoi(raw, **other).settings


def test_another_release_does_not_continue(raw, objects, tmp_path, monkeypatch):
    other, name = tmp_path / "other", objects[-1]
    shutil.copytree(raw, other)
    video = json.loads((raw / "train_test_split.json").read_text())[name]["train_videos"][0]
    frame, stranger = sorted((other / name / "images_temp" / video).iterdir())[:2]
    frame.chmod(0o644)
    shutil.copy(stranger, frame)
    with unchecked():
        run_conversion(plan_wildhoi(other, objects=[name]), tmp_path / "whole")
    with unchecked(), monkeypatch.context() as patch:
        patch.setattr("wildhoi.convert.pipeline.write_mini", lambda out: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_conversion(plan_wildhoi(raw, objects=[name]), tmp_path / "out")
    try:
        with unchecked():
            run_conversion(plan_wildhoi(other, objects=[name]), tmp_path / "out")
    except InputError:
        return
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_finished_folder_is_left_alone(tmp_path):
    run_conversion(conversion(), tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match="finished"):
        run_conversion(conversion(), tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_a_folder_of_something_else_is_refused_and_untouched(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("no folder")
    before = contents(tmp_path)
    for out in (tmp_path / "out", tmp_path / "file"):
        with pytest.raises(InputError):
            run_conversion(conversion(), out)
    assert contents(tmp_path) == before


def test_a_failing_preparation_leaves_nothing_behind(tmp_path):
    with pytest.raises(Stop):
        run_conversion(conversion(prepare=pipeline_parts.fail_to_prepare), tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.iterdir())


def test_a_failing_preparation_of_a_begun_conversion_keeps_what_is_done(tmp_path):
    begin(tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(Stop):
        run_conversion(conversion(prepare=pipeline_parts.fail_to_prepare), tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_an_empty_folder_is_as_good_as_none(tmp_path):
    (tmp_path / "out").mkdir()
    run_conversion(conversion(), tmp_path / "out")
    assert open_folder(tmp_path / "out").name == "wildhoi-tiny"


# --- shards ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shard_bytes", "group_bytes"), [(30_000, 8_000), (12_000, 4_000), (1, 1)])
def test_shards_hold_every_row_once_in_order_and_stay_below_the_limit(tmp_path, monkeypatch, shard_bytes, group_bytes):
    run_conversion(conversion(n_parts=3, rows=6), tmp_path / "one")
    monkeypatch.setattr(shards, "SHARD_BYTES", shard_bytes)
    monkeypatch.setattr(shards, "GROUP_BYTES", group_bytes)
    run_conversion(conversion(n_parts=3, rows=6), tmp_path / "many")
    for name in OBJECTS:
        files = sorted((tmp_path / "many/samples" / name).iterdir())
        assert [f.name for f in files] == [f"train-{i:05}-of-{len(files):05}.parquet" for i in range(len(files))]
        numbers = [3, 2, 1] if name == OBJECTS[0] else [101, 102, 103]
        wanted = [f"{number:04}_001_{row:06}" for number in numbers for row in range(6)]
        assert ids(tmp_path / "many", f"samples/{name}/*") == wanted == ids(tmp_path / "one", f"samples/{name}/*")
        footers = [pq.read_metadata(file) for file in files]
        for file, footer in zip(files, footers, strict=True):
            row_bytes = file.stat().st_size / footer.num_rows
            assert (
                footer.num_rows == 1
                or file.stat().st_size - footer.serialized_size < shard_bytes + 2 * group_bytes + row_bytes
            )
        assert len(files) >= {30_000: 2, 12_000: 3, 1: 18}[shard_bytes]


@pytest.mark.parametrize("seed", range(5))
def test_parts_that_finish_in_any_order_are_joined_in_theirs(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(shards, "SHARD_BYTES", 30_000)
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", 7)
    made = [tmp_path / "made" / part.key for part in conversion(n_parts=6).parts[:6]]
    made[0].parent.mkdir()
    for path, part in zip(made, conversion(n_parts=6).parts, strict=False):
        convert_part(part, path)
    with shards.Shards(made, tmp_path / "once", "train", "samples") as once:
        wanted = once.finish()
    files = [tmp_path / path.name for path in made]
    with shards.Shards(files, tmp_path / "arriving", "train", "samples") as arriving:
        begun = []
        for i in random.Random(seed).sample(range(6), 6):
            shutil.copy(made[i], files[i])
            arriving.join_finished()
            begun.append((tmp_path / "arriving").exists())
        names = arriving.finish()
    assert contents(tmp_path / "arriving") == contents(tmp_path / "once") and len(names) == len(wanted) > 1
    assert ids(tmp_path, "arriving/*") == [name for file in made for name in ids(file.parent, file.name)]
    first = random.Random(seed).sample(range(6), 6).index(0)
    assert not any(begun[:first])  # nothing stands before the first part


def test_shards_are_begun_before_the_last_part_is_converted(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", 5)
    begun = []
    run_conversion(
        conversion(), tmp_path / "out", progress=lambda *_: begun.append(len([*tmp_path.rglob(".train-*.parquet")]))
    )
    assert begun == [0, 0, 1, 1, 1] * 2


def test_the_limit_of_a_shard_is_below_that_of_the_format():
    assert shards.SHARD_BYTES + shards.GROUP_BYTES < 300e6


def test_parts_without_rows_leave_no_file(tmp_path):
    run_conversion(conversion(empty="tennis"), tmp_path / "out")
    assert list((tmp_path / "out").rglob("violin/*.parquet")) and not list((tmp_path / "out").rglob("tennis/*.parquet"))
    report = json.loads((tmp_path / "out/conversion_report.json").read_text())
    assert sorted(report["objects"]["tennis"]["dropped"]["made up"]) == [f"{n:04}_001_000999" for n in range(1, 5)]


def test_a_conversion_without_a_row_is_refused_with_its_reasons(tmp_path):
    with pytest.raises(InputError, match="8 images: made up") as caught:
        run_conversion(conversion(rows=0), tmp_path / "out")
    assert "\n" not in str(caught.value)
    with pytest.raises((InputError, MissingAssetError)):
        open_folder(tmp_path / "out")


def test_progress_tells_every_part(tmp_path):
    told = []
    run_conversion(conversion(), tmp_path / "out", progress=lambda what, done, total: told.append((what, done, total)))
    assert {what for what, _, _ in told} and all(0 <= done <= total for _, done, total in told)
    assert sum(done == total == 4 for _, done, total in told) >= 2


# --- the card -------------------------------------------------------------------------------------------------------


def head(folder):
    text = (folder / "README.md").read_text()
    _, yaml_text, body = text.split("---\n", 2)
    return yaml.safe_load(yaml_text), body


def test_the_cards_counts_are_those_of_the_files(converted, objects):
    out, _ = converted
    meta, body = head(out)
    for info in meta["dataset_info"]:
        config = next(c for c in meta["configs"] if c["config_name"] == info["config_name"])
        patterns = {entry["split"]: entry["path"] for entry in config["data_files"]}
        for split in info["splits"]:
            files = list(out.glob(patterns[split["name"]]))
            assert split["num_examples"] == sum(pq.read_metadata(f).num_rows for f in files) > 0
            assert split["num_bytes"] > 0
    rows = {line.split("|")[1].strip(): line for line in body.splitlines() if line.startswith("| ")}
    for name in objects:
        train, test = (ids(out, f"samples/{name}/{split}-*") for split in ("train", "test"))
        numbers = [len(train), len({i[:4] for i in train}), len(test), len({i[:4] for i in test})]
        numbers.append(len(ids(out, f"annotations/{name}/*")))
        assert [int(cell) for cell in rows[name].strip(" |").split("|")[1:]] == numbers
    total = [len(ids(out, f"{kind}/*/{split}-*")) for kind, split in (("samples", "train"), ("samples", "test"))]
    size = next(size for limit, size in ((1_000, "n<1K"), (10_000, "1K<n<10K")) if sum(total) < limit)
    assert meta["size_categories"] == [size]


def test_the_card_documents_every_column_and_no_other(converted):
    out, _ = converted
    _, body = head(out)
    for title, kind in (("samples", "samples"), ("annotations", "annotations")):
        section = body.split(f"## Columns of {title}")[1].split("\n## ")[0]
        documented = [line.split("|")[1].strip(" `") for line in section.splitlines() if line.startswith("| `")]
        for path in out.glob(f"{kind}/*/*.parquet"):
            assert pq.read_schema(path).names == documented


def test_the_card_has_what_the_hub_and_the_reader_need(converted, objects):
    out, _ = converted
    meta, body = head(out)
    assert {"license", "configs", "dataset_info", "tags", "size_categories", "citation", "extra_gated_prompt"} <= set(
        meta
    )
    names = [config["config_name"] for config in meta["configs"]]
    kinds = {"all", "mini", *objects}
    assert set(names) == kinds | {f"{kind}-annotations" for kind in kinds} and len(names) == len(set(names))
    assert [config["config_name"] for config in meta["configs"] if config.get("default")] == ["all"]
    report = json.loads((out / "conversion_report.json").read_text())
    for fate in ("dropped", "incomplete"):
        for entry in report["objects"].values():
            for reason in entry[fate]:
                total = sum(len(e[fate].get(reason, [])) for e in report["objects"].values())
                assert any(reason in line and str(total) in line for line in body.splitlines())
    for picture in body.split("](")[1:]:
        target = picture.split(")")[0]
        assert target.startswith("http") or (out / target).is_file()


@pytest.fixture(scope="module")
def configs(converted, tmp_path_factory):
    """Every config as the library `datasets` loads it."""
    import datasets

    out, _ = converted
    datasets.disable_progress_bars()
    cache = tmp_path_factory.mktemp("cache")
    names = [config["config_name"] for config in head(out)[0]["configs"]]
    return {name: datasets.load_dataset(str(out), name, cache_dir=str(cache)) for name in names}


def test_every_config_loads_with_all_its_rows(converted, configs):
    out, _ = converted
    for config in head(out)[0]["configs"]:
        loaded = configs[config["config_name"]]
        assert set(loaded) == {entry["split"] for entry in config["data_files"]}
        for entry in config["data_files"]:
            assert loaded[entry["split"]]["image_id"] == ids(out, entry["path"])


def test_the_features_are_those_of_the_card(converted, configs):
    import datasets

    out, _ = converted
    declared = {
        i["config_name"]: datasets.Features._from_yaml_list(i["features"]) for i in head(out)[0]["dataset_info"]
    }
    assert {"all", "all-annotations"} <= set(declared)
    for name, loaded in configs.items():
        wanted = declared["all-annotations" if name.endswith("annotations") else "all"]
        assert all(split.features == wanted for split in loaded.values()), name


def test_pictures_show_as_pictures(configs, objects):
    for name in objects:
        row = configs[name]["train"][0]
        assert row["image"].size == tuple(row["image_box"][2:]) and row["image"].mode == "RGB"
        assert row["person_mask"].size == tuple(row["person_mask_box"][2:])


def test_mini_is_a_few_rows_of_every_object_with_their_truth(converted, objects):
    out, _ = converted
    for name in objects:
        test = {i for i in ids(out, "mini/samples/**/test-*") if i in ids(out, f"samples/{name}/test-*")}
        truth = {i for i in ids(out, "mini/annotations/**/test-*") if i in ids(out, f"annotations/{name}/test-*")}
        train = {i for i in ids(out, "mini/samples/**/train-*") if i in ids(out, f"samples/{name}/train-*")}
        assert test == truth and 0 < len(test) <= 10 and 0 < len(train) <= 10
