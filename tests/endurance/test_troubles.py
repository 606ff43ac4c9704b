"""Disks that are full or read-only, clocks that are wrong, memory that is short: a clear word, and nothing is lost."""

import os
import shutil
from contextlib import contextmanager
from functools import partial

import pyarrow.parquet as pq
import pytest
from endurance import child
from endurance.commands import COMMANDS, FIRST, LONG
from endurance.contents import contents, hidden, timeless_rows
from endurance.places import remount, small_disk
from endurance.starting import refusal, run, run_killed_at

LARGE = "size=256m"
YEAR = 365.25 * 86400
FULL = ("No space left on device", "File too large")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9] if LONG else [0.5])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_told_and_the_rest_is_done_when_there_is_space(name, share, inputs, whole, tmp_path):
    command, left_alone = COMMANDS[name], whole(name)
    with small_disk(tmp_path / "disk", int(share * left_alone.bytes)) as disk:
        out = disk / "out"
        assert_full(run(command.line(inputs, out), out))
        finished = shards(out)
        remount(disk, LARGE)
        assert_finishes(command, inputs, out, left_alone)
        assert finished.items() <= shards(out).items()


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9] if LONG else [0.9])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_may_not_grow_is_told_and_the_rest_is_done_when_it_may(name, share, inputs, whole, tmp_path):
    command, left_alone, out = COMMANDS[name], whole(name), tmp_path / "out"
    size = int(share * left_alone.largest)
    assert_full(run(command.line(inputs, out), out, partial(child.limit_files, size)))
    finished = shards(out)
    assert_finishes(command, inputs, out, left_alone)
    assert finished.items() <= shards(out).items()


def assert_full(ended):
    assert ended.code == 1, ended.said
    said = refusal(ended)
    assert any(words in said for words in FULL), said


def assert_finishes(command, inputs, out, left_alone):
    ended = run(command.line(inputs, out, again=True), out)
    assert ended.code == 0, ended.said
    assert hidden(out) == set()
    assert contents(out) == left_alone.contents


def shards(out):
    """The finished batches of a run, and whether they are the same files still."""
    return {path.name: path.stat().st_ino for path in out.glob("state/[!.]*-*")}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_may_not_be_written_is_refused_before_any_work(name, inputs, tmp_path):
    with unwritable(tmp_path / "disk") as place:
        ended = run(COMMANDS[name].line(inputs, place / "out"), tmp_path / "out")
        assert ended.code == 2
        said = refusal(ended)
        assert str(place) in said and "cannot be written" in said and "choose another" in said
        assert not list(place.iterdir())


def unwritable(place):
    """A folder that nobody may write; to root its mode says nothing, and the disk must be read-only."""
    if os.geteuid() == 0:
        return read_only_disk(place)
    return read_only_folder(place)


@contextmanager
def read_only_disk(place):
    with small_disk(place, 2**20) as disk:
        remount(disk, "ro")
        yield disk


@contextmanager
def read_only_folder(place):
    place.mkdir(mode=0o500)
    yield place
    place.chmod(0o700)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_result_depends_on_a_clock(name, inputs, whole, tmp_path):
    """Inputs are old; a first start is ahead of time and is killed; then the clock is back, and its files are newer."""
    command, left_alone, out = COMMANDS[name], whole(name), tmp_path / "out"
    given = aged(inputs, tmp_path / "inputs", -50 * YEAR)
    ahead = partial(child.turn_clock, 10 * YEAR)
    ended = run_killed_at(command.line(given, out), out, left_alone.ended.changes * 2 // 3, ahead)
    assert ended.killed, ended.said
    age(out, 10 * YEAR)
    age(given.place, 20 * YEAR)
    ended = run(command.line(given, out, again=True), out, partial(child.turn_clock, -20 * YEAR))
    assert ended.code == 0, ended.said
    found, wanted = contents(out), left_alone.contents
    places = ("run.json",)  # says where the data are
    assert {name: found[name] for name in found if name not in places} == {
        name: wanted[name] for name in wanted if name not in places
    }


def aged(inputs, place, seconds):
    """A copy of what commands read, with times of another age."""
    shutil.copytree(inputs.place, place)
    age(place, seconds)
    return type(inputs)(place)


def age(folder, seconds):
    for path in folder.rglob("*"):
        if not path.is_symlink():
            times = path.stat()
            os.utime(path, (times.st_atime + seconds, times.st_mtime + seconds))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shard_too_large_for_the_memory_is_told_with_its_images_and_the_rest_is_scored(
    workers, inputs, whole, tmp_path
):
    command, out = COMMANDS["evaluate"], tmp_path / "out"
    image = scored(inputs)[1]
    short = partial(child.score_short_of_memory, image, tmp_path / "tries")
    ended = run(command.line(inputs, out, workers), out, short)
    assert ended.code == 1
    said = refusal(ended)
    assert f"shard 00000001.json ({image})" in said and "memory" in said and "resumes" in said
    assert {path.name for path in (out / ".scoring").glob("*.json")} == {"00000000.json"}
    assert (tmp_path / "tries").read_text() == "x" * 3
    assert not command.finished(out)
    assert_finishes(command, inputs, out, whole("evaluate"))


def test_a_worker_that_the_system_ends_is_told_with_its_images_and_the_rest_is_scored(inputs, whole, tmp_path):
    command, out = COMMANDS["evaluate"], tmp_path / "out"
    image = scored(inputs)[0]
    ended = run(command.line(inputs, out, 2), out, partial(child.score_killed, image))
    assert ended.code == 1
    said = refusal(ended)
    assert f"shard 00000000.json ({image})" in said
    assert "died 3 times (signal 9, often too little memory)" in said
    assert {path.name for path in (out / ".scoring").glob("*.json")} == {"00000001.json"}
    assert_finishes(command, inputs, out, whole("evaluate"))


def scored(inputs):
    """The images in the order in which they are scored."""
    rows = pq.read_table(inputs.submission / "predictions.parquet", columns=["image_id"]).to_pylist()
    return sorted(row["image_id"] for row in rows if row["image_id"].startswith(FIRST))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_part_too_large_for_the_memory_is_told_and_the_rest_is_converted(workers, inputs, whole, tmp_path):
    command, out = COMMANDS["make"], tmp_path / "out"
    key = f"{FIRST}-000.parquet"
    ended = run(command.line(inputs, out, workers), out, partial(child.convert_short_of_memory, key))
    assert ended.code == 1
    said = refusal(ended)
    assert f"shard {key} (" in said and f"{FIRST}-test-00000" in said and "memory" in said and "resumes" in said
    assert_finishes(command, inputs, out, whole("make"))


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_too_large_for_the_memory_are_cut_and_an_image_that_is_becomes_a_failure(
    workers, inputs, whole, tmp_path
):
    command, out = COMMANDS["run"], tmp_path / "out"
    never = scored(inputs)[0]
    line = [*command.line(inputs, out, workers), "--batch", 4]
    ended = run(line, out, partial(child.run_short_of_memory, 1, never))
    assert ended.code == 0, ended.said
    assert "too many for the memory" in ended.said or "memory sufficed for" in ended.said
    assert "3 reconstructions, 1 failures" in ended.said and "1 x out of memory" in ended.said
    rows = {row["image_id"]: row for row in timeless_rows(out / "predictions.parquet")}
    wanted = {row["image_id"]: row for row in timeless_rows(inputs.submission / "predictions.parquet")}
    assert rows.pop(never)["reason"] == "out of memory"
    assert rows == {name: row for name, row in wanted.items() if name != never}


def test_a_training_that_memory_does_not_suffice_for_is_told_and_goes_on(inputs, whole, tmp_path):
    command, out = COMMANDS["train"], tmp_path / "out"
    ended = run(command.line(inputs, out), out, partial(child.train_short_of_memory, 1))
    assert ended.code == 1
    assert "error: memory did not suffice: " in refusal(ended) and "--resume" in ended.said
    assert_finishes(command, inputs, out, whole("train"))
