import dataclasses
import json
import pickle
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from random_samples import random_sample

from submissions import unchecked
from wildhoi.dataset import Samples, find_data, load_annotations, load_samples, seal_folder, stored
from wildhoi.dataset.samples import SCHEMA, write_samples
from wildhoi.errors import InputError
from wildhoi.schema import Camera, Human, ObjectPose, Sample

PICTURES = ("image", "person_mask", "object_mask")
LOSSY = ("image",)
LAYOUT = {"tennis": {"train": [5, 1, 4], "test": [3]}, "violin": {"train": [6], "test": [2, 2]}}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """The library `datasets` keeps what it copies in a folder of its own."""
    import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)  # which it does after a shuffled stream
        datasets.disable_progress_bars()
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A data folder of random samples of two objects in several files, and those samples by split."""
    folder, random = tmp_path_factory.mktemp("data") / "made-up", np.random.default_rng(0)
    samples = {"train": [], "test": []}
    for name, splits in LAYOUT.items():
        for split, sizes in splits.items():
            for shard, size in enumerate(sizes):
                ids = [f"{name}_{split}_{shard}_{row}" for row in range(size)]
                rows = [random_sample(random, i, name, video=f"v{row % 2}") for row, i in enumerate(ids)]
                file = f"{split}-{shard:05}-of-{len(sizes):05}.parquet"
                assert write_samples(folder / "samples" / name / file, rows) == size
                samples[split] += rows
            write_samples(folder / "mini/samples" / name / f"{split}-00000-of-00001.parquet", rows[:1])
    seal_folder(folder, name="made-up", body_model="smplx")
    return folder, samples


@pytest.fixture
def copy(written, tmp_path):
    shutil.copytree(written[0], tmp_path / "copy")
    return tmp_path / "copy"


def same(ours, theirs, *, lossy=False):
    """Whether values are equal as float32, Nones where there are Nones, NaN where there is NaN."""
    if ours is None or theirs is None:
        return ours is None and theirs is None
    if isinstance(theirs, Camera | Human | ObjectPose):
        names = [f.name for f in dataclasses.fields(theirs)]
        return type(ours) is type(theirs) and all(same(getattr(ours, n), getattr(theirs, n)) for n in names)
    if isinstance(theirs, str | bool):
        return ours == theirs and isinstance(ours, type(theirs))
    if isinstance(theirs, tuple):
        return tuple(ours) == theirs and all(isinstance(v, int) for v in ours)
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if lossy:
        return ours.shape == theirs.shape and np.abs(ours.astype(int) - theirs).mean() < 4 and ours.dtype == np.uint8
    if theirs.dtype == bool:
        return ours.dtype == bool and np.array_equal(ours, theirs)
    return np.array_equal(ours.astype(np.float32), theirs.astype(np.float32), equal_nan=True)


def differences(ours, theirs):
    names = [f.name for f in dataclasses.fields(Sample)]
    return [n for n in names if not same(getattr(ours, n), getattr(theirs, n), lossy=n in LOSSY)]


def ids(samples):
    return [sample.image_id for sample in samples]


# --- what was written is read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("split", ["train", "test"])
def test_samples_are_those_that_were_written(written, split, streaming):
    folder, samples = written
    loaded = list(load_samples(folder, split, streaming=streaming))
    assert ids(loaded) == ids(samples[split])
    for ours, theirs in zip(loaded, samples[split], strict=True):
        assert isinstance(ours, Sample) and not differences(ours, theirs), ours.image_id


def test_fields_are_there_and_lacking_in_the_random_samples(written):
    rows = [sample for samples in written[1].values() for sample in samples]
    for field in dataclasses.fields(Sample)[3:]:
        lacking = {getattr(row, field.name) is None for row in rows}
        assert lacking == {True, False} or field.name in ("object_pose_success", "gender")


@pytest.mark.parametrize("lacks", [0.0, 1.0])
def test_full_and_bare_samples_come_back(tmp_path, lacks):
    random = np.random.default_rng(5)
    samples = [random_sample(random, f"{i}", "cello", lacks=lacks) for i in range(120)]
    write_samples(tmp_path / "samples/cello/test-00000-of-00001.parquet", samples)
    seal_folder(tmp_path, name="x", body_model="smplx")
    for ours, theirs in zip(load_samples(tmp_path), samples, strict=True):
        assert not differences(ours, theirs)


def test_writing_twice_gives_the_same_bytes(written, tmp_path):
    for name in "ab":
        write_samples(tmp_path / name, iter(written[1]["train"]))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_reading_changes_nothing_in_the_folder(written):
    folder, _ = written
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    list(load_samples(folder, "train"))
    list(load_samples(folder, "train", streaming=True))
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    assert find_data(folder).problems() == {}


def test_a_file_that_changed_is_read_anew(copy):
    path = copy / "samples/tennis/test-00000-of-00001.parquet"
    first = ids(load_samples(copy, objects=["tennis"]))
    random = np.random.default_rng(9)
    write_samples(path, [random_sample(random, f"new_{i}", "tennis") for i in range(len(first))])
    assert ids(load_samples(copy, objects=["tennis"])) == [f"new_{i}" for i in range(len(first))]


# --- choosing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [False, True])
def test_objects_and_mini_choose_files(written, streaming):
    folder, samples = written
    for name in LAYOUT:
        loaded = load_samples(folder, "train", [name], streaming=streaming)
        assert ids(loaded) == [s.image_id for s in samples["train"] if s.object == name]
    mini = ids(load_samples(folder, "train", mini=True, streaming=streaming))
    assert mini == ["tennis_train_2_0", "violin_train_0_0"]
    assert ids(load_samples(folder, "train", ["violin"], mini=True, streaming=streaming)) == mini[1:]
    assert set(ids(load_samples(folder, "train", ["violin", "tennis"]))) == set(ids(samples["train"]))


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("chosen", [("val", None), ("../train", None), ("test", ["cello"]), ("test", ["../tennis"])])
def test_what_is_not_there_is_said(written, chosen, streaming):
    with pytest.raises(InputError, match=r"tennis|train, test") as caught:
        load_samples(written[0], *chosen, streaming=streaming)
    assert "\n" not in str(caught.value)


def test_indices_and_slices_are_those_of_a_list(written):
    folder, rows = written
    wanted = ids(rows["train"])
    samples = load_samples(folder, "train")
    assert len(samples) == len(wanted) and ids(samples) == wanted and ids(reversed(samples)) == wanted[::-1]
    for index in (0, 3, len(wanted) - 1, -1, -len(wanted)):
        assert samples[index].image_id == wanted[index]
    with unchecked():
        assert samples[np.int64(2)].image_id == wanted[2]
    for part in (slice(2, 9), slice(None, None, 3), slice(-4, None), slice(9, 2, -2), slice(5, 5), slice(0, 999)):
        assert isinstance(samples[part], Samples) and ids(samples[part]) == wanted[part]
    assert ids(samples[2:14][1:-1][::2]) == wanted[2:14][1:-1][::2] and samples[2:14][3].image_id == wanted[5]
    for index in (len(wanted), -len(wanted) - 1, 10**9):
        with pytest.raises(IndexError):
            samples[index]


def test_find_finds_by_name(written):
    folder, rows = written
    samples = load_samples(folder, "train")
    for row in rows["train"]:
        assert samples.find(row.image_id).image_id == row.image_id
    for where in (samples, samples[:3]):
        with pytest.raises(InputError, match="violin_train_0_9"):
            where.find("violin_train_0_9")
    with pytest.raises(InputError):
        samples[:3].find(rows["train"][5].image_id)
    assert samples[4:8].find(rows["train"][5].image_id).image_id == rows["train"][5].image_id


def test_a_data_set_is_found_by_name(written, monkeypatch):
    folder, rows = written
    monkeypatch.setenv("WILDHOI_DATA", str(folder.parent))
    assert ids(load_samples(folder.name)) == ids(rows["test"])


# --- columns as arrays ----------------------------------------------------------------------------------------------


def field_of(sample, column):
    """A column of a sample, by the names of the schema."""
    owners = {
        **dict.fromkeys(("betas", "body_pose", "left_hand_pose", "right_hand_pose"), ("human", column)),
        "camera_rotation": ("camera", "rotation"),
        "camera_translation": ("camera", "translation"),
        "object_rotation": ("object_pose", "rotation"),
        "object_translation": ("object_pose", "translation"),
        "object_scale": ("object_pose", "scale"),
        "object_angle": ("object_pose", "angle"),
    }
    owner, name = owners.get(column, (None, column))
    holder = getattr(sample, owner) if owner else sample
    return None if holder is None else getattr(holder, name)


COLUMNS = {
    "body_pose": (21, 3),
    "camera_rotation": (3, 3),
    "camera_translation": (3,),
    "focal": (2,),
    "object_rotation": (3, 3),
    "object_scale": (),
    "object_angle": (),
    "wholebody_keypoints": (133, 3),
    "body_keypoints": (22, 2),
    "person_box": (4,),
    "image_box": (4,),
    "frame_size": (2,),
}


def test_arrays_are_the_samples_side_by_side(written):
    folder, rows = written
    wanted = rows["train"]
    arrays = load_samples(folder, "train").arrays("image_id", "object", "gender", *COLUMNS)
    for name in ("image_id", "object", "gender"):
        assert arrays[name].tolist() == [getattr(row, name) for row in wanted]
    for name, shape in COLUMNS.items():
        assert arrays[name].shape == (len(wanted), *shape)
        absent = -1 if name in ("image_box", "frame_size") else np.nan
        for ours, row in zip(arrays[name], wanted, strict=True):
            theirs = field_of(row, name)
            assert same(ours, np.full(shape, absent) if theirs is None else np.asarray(theirs)), (row.image_id, name)


def test_arrays_of_parts_are_parts_of_the_arrays(written):
    samples = load_samples(written[0], "train")
    whole = samples.arrays("betas", "image_id", "image_box")
    for part in (slice(1, 9), slice(None, None, 2), slice(8, 2, -1), slice(3, 3)):
        for name, array in samples[part].arrays("betas", "image_id", "image_box").items():
            assert array.shape == whole[name][part].shape
            np.testing.assert_array_equal(array, whole[name][part])


@pytest.mark.parametrize("name", ["image", "object_keypoints", "nothing", "human"])
def test_columns_that_are_no_arrays_are_refused(written, name):
    with pytest.raises(InputError, match=name):
        load_samples(written[0]).arrays("betas", name)


# --- pictures -------------------------------------------------------------------------------------------------------


@pytest.fixture
def decoded(monkeypatch):
    """The names of the pictures that are decoded, in turn."""
    calls = []
    for name, decode in stored.DECODERS.items():
        monkeypatch.setitem(
            stored.DECODERS, name, lambda data, name=name, decode=decode: (calls.append(name), decode(data))[1]
        )
    return calls


@pytest.mark.parametrize("streaming", [False, True])
def test_pictures_are_decoded_once_and_only_when_touched(written, decoded, streaming):
    samples = load_samples(written[0], "train", streaming=streaming)
    loaded = list(samples)
    if not streaming:
        samples.arrays("betas", "image_id")
        samples.find(loaded[3].image_id)
    numbers = [(s.human, s.camera, s.wholebody_keypoints, s.object_correspondences, s.image_box) for s in loaded]
    assert decoded == [] and numbers
    one = next(s for s in loaded if s.encoded["image"] and s.encoded["person_mask"])
    assert one.image is one.image and one.person_mask is one.person_mask
    assert sorted(decoded) == ["image", "person_mask"]


def replace_cell(path, column, row, value):
    table = pq.read_table(path)
    cells = table[column].to_pylist()
    cells[row] = value
    index = table.schema.get_field_index(column)
    pq.write_table(
        table.set_column(index, table.schema.field(index), pa.array(cells, table.schema.field(index).type)), path
    )


@pytest.mark.parametrize(
    ("column", "damage"),
    [("image", "short"), ("image", "text"), ("image", "empty"), ("person_mask", "text"), ("object_mask", "empty")],
)
def test_a_damaged_picture_fails_alone_and_when_touched(copy, fixtures_dir, column, damage):
    hostile = fixtures_dir / "hostile"
    data = {
        "short": (hostile / "truncated.jpg").read_bytes(),
        "text": (hostile / "text.jpg").read_bytes(),
        "empty": b"",
    }
    replace_cell(copy / "samples/violin/train-00000-of-00001.parquet", column, 2, {"bytes": data[damage], "path": None})
    for streaming in (False, True):
        loaded = list(load_samples(copy, "train", ["violin"], streaming=streaming))
        for sample in loaded:
            for name in PICTURES:
                if (sample.image_id, name) != ("violin_train_0_2", column):
                    getattr(sample, name)
        with pytest.raises(InputError, match=rf"violin_train_0_2.*{column}") as caught:
            getattr(loaded[2], column)
        assert "\n" not in str(caught.value)


def test_samples_can_be_pickled_copied_and_replaced(written):
    folder, rows = written
    for ours, theirs in zip(load_samples(folder, "train"), rows["train"], strict=True):
        assert not differences(pickle.loads(pickle.dumps(ours)), theirs)
        changed = dataclasses.replace(ours, gender="female", object_keypoints=np.zeros((2, 2), np.float32))
        assert set(differences(changed, theirs)) <= {"gender", "object_keypoints"} and changed.gender == "female"
        assert not differences(pickle.loads(pickle.dumps(changed)), changed)
        assert not differences(ours, theirs), "a copy must not change what it was made of"
    blank = dataclasses.replace(ours, image=None, person_mask=np.ones((2, 3), bool))
    assert blank.image is None and blank.person_mask.shape == (2, 3)


def test_the_samples_of_a_split_can_be_pickled(written):
    samples = pickle.loads(pickle.dumps(load_samples(written[0], "train")[3:7]))
    assert ids(samples) == ids(written[1]["train"])[3:7]


# --- torch ----------------------------------------------------------------------------------------------------------


def as_they_are(batch):
    return batch


@pytest.mark.parametrize(
    ("kind", "workers"),
    [("map", 0), ("shuffled", 2), ("stream", 0), ("stream", 2), ("one file", 2), ("shuffled stream", 2)],
)
def test_a_loader_gives_each_sample_once(written, kind, workers):
    from torch.utils.data import DataLoader

    folder, rows = written
    objects = ["violin"] if kind == "one file" else None
    wanted = [row for row in rows["train"] if objects is None or row.object in objects]
    source = load_samples(folder, "train", objects, streaming=kind not in ("map", "shuffled"))
    if kind == "shuffled stream":
        source = source.shuffle(3)
    options = {"shuffle": True} if kind == "shuffled" else {}
    loader = DataLoader(source, batch_size=3, num_workers=workers, collate_fn=as_they_are, **options)
    for _ in range(2 if workers == 0 else 1):  # every epoch
        found = {sample.image_id: sample for batch in loader for sample in batch}
        assert sorted(found) == sorted(ids(wanted))
        assert sum(len(batch) for batch in loader) == len(wanted)
    row = next(row for row in wanted if row.image is not None)
    assert not differences(found[row.image_id], row)


# --- hostile folders ------------------------------------------------------------------------------------------------

FILE = "samples/violin/train-00000-of-00001.parquet"


def refuse(folder, pattern):
    """At random access and as a stream alike."""
    for streaming in (False, True):
        with unchecked(), pytest.raises(InputError, match=pattern) as caught:  # beartype looks at samples by itself
            list(load_samples(folder, "train", ["violin"], streaming=streaming))
        assert "\n" not in str(caught.value).strip()


@pytest.mark.parametrize(
    "file", ["truncated.parquet", "wrong_types.parquet", "csv_in_disguise.parquet", "empty.parquet"]
)
def test_files_that_are_none_are_refused_by_name(copy, fixtures_dir, file):
    shutil.copyfile(fixtures_dir / "hostile" / file, copy / FILE)
    refuse(copy, "train-00000-of-00001.parquet")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_cut_short_is_refused_by_name(copy, share):
    data = (copy / FILE).read_bytes()
    (copy / FILE).write_bytes(data[: int(share * len(data))])
    refuse(copy, "violin.train-00000-of-00001.parquet")


def retyped(table, column, kind):
    values = [None] * table.num_rows
    return table.set_column(table.schema.get_field_index(column), pa.field(column, kind), pa.array(values, kind))


WRONG = {
    "image_id": pa.int64(),
    "betas": pa.list_(pa.float64(), 10),
    "body_pose": pa.list_(pa.float32(), 72),
    "image": pa.binary(),
    "person_mask": pa.struct([("data", pa.binary())]),
    "image_box": pa.list_(pa.int64(), 4),
    "wholebody_keypoints": pa.list_(pa.string()),
    "object_scale": pa.string(),
    "object_keypoints": pa.float32(),
    "human_occlusion": pa.list_(pa.int8()),
    "object_pose_success": pa.int32(),
    "object_correspondences_size": pa.list_(pa.int32(), 3),
}


@pytest.mark.parametrize("column", WRONG)
def test_a_column_of_another_type_is_refused_by_name(copy, column):
    pq.write_table(retyped(pq.read_table(copy / FILE), column, WRONG[column]), copy / FILE)
    refuse(copy, rf"violin.train-00000-of-00001.parquet.*{column}")


@pytest.mark.parametrize(
    "notes", [b"[" * 9000, b"\xff", b"1", b'{"info": {"features": {"image_id": {"_type": "List"}}}}']
)
def test_notes_that_are_none_are_refused_by_name(copy, notes):
    pq.write_table(pq.read_table(copy / FILE).replace_schema_metadata({b"huggingface": notes}), copy / FILE)
    refuse(copy, r"violin.train-00000-of-00001.parquet: its notes on columns")


@pytest.mark.parametrize("column", ["image_id", "image", "focal", "object_occlusion", "object_pose_success"])
def test_a_column_that_is_absent_is_refused_by_name(copy, column):
    pq.write_table(pq.read_table(copy / FILE).drop_columns([column]), copy / FILE)
    refuse(copy, rf"violin.train-00000-of-00001.parquet.*{column}")


@pytest.mark.parametrize("streaming", [False, True])
def test_columns_in_another_order_read_the_same(written, copy, streaming):
    table = pq.read_table(copy / FILE)
    pq.write_table(table.select(table.column_names[::-1]), copy / FILE)
    loaded = list(load_samples(copy, "train", streaming=streaming))
    assert ids(loaded) == ids(written[1]["train"])
    assert not any(differences(a, b) for a, b in zip(loaded, written[1]["train"], strict=True))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("image_id", None),
        ("image_id", ""),
        ("object", None),
        ("video_id", None),
        ("object_correspondences_size", [1000, 1000]),
        ("object_correspondences_size", [-1, 7]),
        ("object_correspondences_size", [2**31 - 1, 2**31 - 1]),
        ("object_correspondences", [1.0, 2.0]),
        ("object_keypoints", [1.0, 2.0, 3.0]),
    ],
)  # fmt: skip
def test_a_cell_that_cannot_be_is_one_error(copy, column, value):
    if column.startswith("object_corr"):
        replace_cell(copy / FILE, "object_correspondences", 1, [0.5] * 12)
        replace_cell(copy / FILE, "object_correspondences_size", 1, [2, 2])
        replace_cell(copy / FILE, "object_correspondences_weights", 1, None)
    replace_cell(copy / FILE, column, 1, value)
    refuse(copy, r"sample|image_id")


@pytest.mark.parametrize("streaming", [False, True])
def test_bytes_turned_over_give_an_error_of_ours_or_none(copy, streaming):
    random, good = np.random.default_rng(2), (copy / FILE).read_bytes()
    refused = 0
    for _ in range(12):
        data = bytearray(good)
        start = int(random.integers(0, len(data) - 64))
        data[start : start + 64] = random.bytes(64)
        (copy / FILE).write_bytes(data)
        try:
            for sample in load_samples(copy, "train", ["violin"], streaming=streaming):
                _ = sample.image, sample.person_mask, sample.object_mask
        except InputError as error:
            assert "\n" not in str(error).strip()
            refused += 1
    assert refused


def test_a_folder_of_samples_alone_has_no_truth_and_says_so(written):
    with pytest.raises(InputError):
        load_annotations(find_data(written[0]), "test")


def test_the_schema_is_what_every_file_has(written):
    for path in written[0].rglob("*.parquet"):
        assert pq.read_schema(path).remove_metadata() == SCHEMA.remove_metadata()
        info = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
        assert list(info) == SCHEMA.names
