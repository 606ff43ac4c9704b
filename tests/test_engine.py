import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import engine_work
import pytest
from engine_work import Job, is_alive, write

from wildhoi.engine import Local, Ray, contents, map_shards, only_run_in
from wildhoi.engine.folder import LOCK, PARTIAL
from wildhoi.errors import InputError, RunError, ShardsError

BOTH = pytest.mark.parametrize("workers", [1, 2])


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log"
    path.touch()
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def jobs(log, names="abcd", **special):
    """One job per letter; `special` gives a letter's action."""
    return {f"{name}.txt": Job(f"text of {name}", log, special.get(name, "")) for name in names}


def calls(log):
    return sorted(line.split()[0] for line in log.read_text().splitlines())


def published(out):
    return {path.name: path.read_text() for path in out.iterdir() if not path.name.startswith(".")}


def assert_nothing_half_written(out):
    assert {path.name for path in out.iterdir() if path.name.startswith(".")} <= {".fingerprint"}


@BOTH
def test_every_shard_becomes_its_file_in_the_order_of_the_shards(workers, log, out):
    shards = jobs(log, "dbca")
    paths = map_shards(write, shards, out, engine=Local(workers))
    assert paths == [out / key for key in shards]
    assert [path.read_text() for path in paths] == [job.text for job in shards.values()]
    assert calls(log) == sorted(shards)
    assert_nothing_half_written(out)


def test_files_do_not_depend_on_the_number_of_workers(log, tmp_path):
    shards = jobs(log, "abcdefg")
    for workers in (1, 2, 3):
        map_shards(write, shards, tmp_path / str(workers), engine=Local(workers))
    assert published(tmp_path / "1") == published(tmp_path / "2") == published(tmp_path / "3")


def test_more_workers_are_other_processes_and_one_is_this(log, tmp_path):
    map_shards(write, jobs(log), tmp_path / "here")
    here = {line.split()[1] for line in log.read_text().splitlines()}
    log.write_text("")
    map_shards(write, jobs(log), tmp_path / "there", engine=Local(2))
    there = {line.split()[1] for line in log.read_text().splitlines()}
    assert here == {str(os.getpid())}
    assert str(os.getpid()) not in there and 1 <= len(there) <= 2


def test_nothing_to_do_is_no_error(out):
    assert map_shards(write, {}, out, engine=Local(3)) == []


@BOTH
def test_finished_shards_are_skipped(workers, log, out):
    first = jobs(log, "ab")
    map_shards(write, first, out, engine=Local(workers), fingerprint="x")
    paths = map_shards(write, jobs(log, "abcd"), out, engine=Local(workers), fingerprint="x")
    assert len(paths) == 4
    assert calls(log) == ["a.txt", "b.txt", "c.txt", "d.txt"]


@BOTH
def test_another_fingerprint_or_no_resume_does_everything_again(workers, log, out):
    shards = jobs(log, "ab")
    map_shards(write, shards, out, engine=Local(workers), fingerprint="x")
    map_shards(write, shards, out, engine=Local(workers), fingerprint="y")
    map_shards(write, shards, out, engine=Local(workers), fingerprint="y", resume=False)
    assert calls(log) == ["a.txt"] * 3 + ["b.txt"] * 3


def test_a_fingerprint_is_remembered_for_each_shard(log, out):
    map_shards(write, jobs(log, "ab"), out, fingerprint="x")
    map_shards(write, jobs(log, "a"), out, fingerprint="y")
    map_shards(write, jobs(log, "ab"), out, fingerprint="y")
    assert calls(log) == ["a.txt", "a.txt", "b.txt", "b.txt"]


def test_a_stopped_run_leaves_no_old_file_under_the_new_fingerprint(log, out):
    map_shards(write, jobs(log, "abc"), out, fingerprint="x")
    with pytest.raises(InputError):
        map_shards(write, jobs(log, "abc", b="input error"), out, fingerprint="y")
    assert set(published(out)) == {"a.txt"}
    map_shards(write, jobs(log, "abc"), out, fingerprint="y")
    assert calls(log) == ["a.txt"] * 2 + ["b.txt"] * 3 + ["c.txt"] * 2


@pytest.mark.parametrize("text", ["", "not json", "[1]", "\x00"])
def test_a_damaged_ledger_knows_of_no_finished_shard(text, log, out):
    map_shards(write, jobs(log, "a"), out)
    (out / ".fingerprint").write_text(text)
    map_shards(write, jobs(log, "a"), out)
    assert calls(log) == ["a.txt"] * 2


def test_the_ledger_keeps_what_it_knew_of_other_shards(log, out):
    map_shards(write, jobs(log, "a"), out, fingerprint="x")
    map_shards(write, jobs(log, "b"), out, fingerprint="y")
    assert json.loads((out / ".fingerprint").read_text()) == {"a.txt": "x", "b.txt": "y"}


@BOTH
def test_progress_counts_from_what_is_finished_to_all(workers, log, out):
    seen = []
    map_shards(write, jobs(log, "ab"), out, progress=lambda *counts: seen.append(counts))
    map_shards(write, jobs(log, "abcd"), out, engine=Local(workers), progress=lambda *counts: seen.append(counts))
    assert seen == [(0, 2), (1, 2), (2, 2), (2, 4), (3, 4), (4, 4)]


@BOTH
def test_an_error_names_its_shard_and_the_rest_is_done(workers, log, out):
    with pytest.raises(RunError, match=r"shard c\.txt: ValueError: the matrix is singular.*resumes") as caught:
        map_shards(write, jobs(log, "abcdefgh", c="value error"), out, engine=Local(workers))
    assert isinstance(caught.value.__cause__, ValueError)
    assert set(published(out)) == {f"{name}.txt" for name in "abdefgh"}
    assert calls(log).count("c.txt") == 1
    assert_nothing_half_written(out)
    map_shards(write, jobs(log, "abcdefgh"), out, engine=Local(workers))
    assert len(published(out)) == 8 and len(calls(log)) == 9


@BOTH
def test_several_failed_shards_are_counted_and_the_first_is_told(workers, log, out):
    with pytest.raises(RunError, match=r"2 of 6 shards failed: b\.txt, e\.txt; the first: shard b\.txt"):
        map_shards(write, jobs(log, "abcdef", b="value error", e="value error"), out, engine=Local(workers))
    assert len(published(out)) == 4


@BOTH
def test_where_everything_fails_the_rest_is_not_begun(workers, log, out):
    names = "abcdefghijklmnop"
    with pytest.raises(RunError, match=r"of 16 shards failed, \d+ were not begun: a\.txt") as caught:
        map_shards(write, jobs(log, names, **dict.fromkeys(names, "value error")), out, engine=Local(workers))
    assert 10 <= len(calls(log)) <= 10 + workers and type(caught.value) is RunError


@BOTH
@pytest.mark.parametrize("finished", ["", "a"])
def test_bad_shards_keep_none_from_being_done_wherever_they_are(workers, finished, log, out):
    bad = dict.fromkeys("bcdefghij" + ("kl" if finished else ""), "value error")
    if finished:  # by an earlier start
        map_shards(write, jobs(log, finished), out)
    with pytest.raises(ShardsError, match=rf"{len(bad)} of 16 shards failed: b\.txt"):
        map_shards(write, jobs(log, "bcdefghijklmnopa", **bad), out, engine=Local(workers))
    assert set(published(out)) == {f"{name}.txt" for name in set("abcdefghijklmnop") - bad.keys()}


@BOTH
def test_what_the_user_has_to_mend_ends_the_run(workers, log, out):
    with pytest.raises(InputError):
        map_shards(write, jobs(log, "abcdefgh", a="input error", b="input error"), out, engine=Local(workers))
    assert len(calls(log)) <= workers and published(out) == {}


@BOTH
def test_a_full_disk_ends_the_run_in_words(workers, log, out):
    with pytest.raises(RunError, match=r"a\.txt: No space left on device; mend that: finished shards are kept"):
        map_shards(write, jobs(log, "abcdefgh", a="full", b="full"), out, engine=Local(workers))
    assert len(calls(log)) <= workers and published(out) == {}
    assert_nothing_half_written(out)


@BOTH
def test_memory_that_is_short_is_tried_again_at_the_end(workers, log, out):
    map_shards(write, jobs(log, "abcd", b="memory twice"), out, engine=Local(workers))
    assert len(published(out)) == 4
    order = [line.split()[0] for line in log.read_text().splitlines()]
    assert order.count("b.txt") == 3 and order[-1] == "b.txt"


@BOTH
@pytest.mark.parametrize(
    ("action", "told"), [("memory", "MemoryError: cannot allocate 8 GiB"), ("no tensor", "RuntimeError: DefaultCPU")]
)
def test_memory_that_never_suffices_is_told_after_three_tries(workers, action, told, log, out):
    shards = jobs(log) | {"b.txt": Job("", log, action, ids=tuple(f"image-{n}" for n in range(7)))}
    told = rf"shard b\.txt \(image-0, .*image-4 and 2 more\): {told}"
    with pytest.raises(RunError, match=told):
        map_shards(write, shards, out, engine=Local(workers))
    assert calls(log).count("b.txt") == 3 and len(published(out)) == 3


def test_what_the_work_returns_comes_back_before_its_file_has_a_name(log, out):
    seen = {}
    for workers in (1, 2):
        map_shards(
            write,
            jobs(log, "ab"),
            out / str(workers),
            engine=Local(workers),
            done=lambda key, value: seen.setdefault(key, []).append((value, (out / str(workers) / key).exists())),  # noqa: B023
        )
    assert seen == {"a.txt": [(9, False)] * 2, "b.txt": [(9, False)] * 2}


def test_processes_are_kept_between_calls_and_end_with_the_engine(log, tmp_path):
    with Local(2) as engine:
        for name in "xyz":
            map_shards(write, jobs(log), tmp_path / name, engine=engine)
        processes = {line.split()[1] for line in log.read_text().splitlines()}
        assert len(processes) <= 2 and all(is_alive(pid) for pid in processes)
    assert not any(is_alive(pid) for pid in processes)
    assert engine.memory > 2**20


@BOTH
@pytest.mark.parametrize(
    ("action", "kind", "code"), [("input error", InputError, 2), ("gated", engine_work.GatedError, 3)]
)
def test_the_package_s_own_errors_keep_class_message_and_exit_code(workers, action, kind, code, log, out):
    with pytest.raises(kind) as caught:
        map_shards(write, jobs(log, "ab", a=action), out, engine=Local(workers))
    assert type(caught.value) is kind and caught.value.exit_code == code
    assert str(caught.value) in ("row 3: got nan, wanted a number", "the body model is missing")


def test_an_exception_that_cannot_travel_sends_its_text(log, out):
    with pytest.raises(RunError, match=r"shard b\.txt: .*Unpicklable: this and that"):
        map_shards(write, jobs(log, "ab", b="unpicklable"), out, engine=Local(2))


@BOTH
def test_work_that_writes_nothing_is_an_error(workers, log, out):
    with pytest.raises(RunError, match=r"shard b\.txt: .*without writing"):
        map_shards(write, jobs(log, "ab", b="nothing"), out, engine=Local(workers))
    assert published(out) == {"a.txt": "text of a"}


@pytest.mark.parametrize(("action", "ending"), [("kill", "signal 9"), ("exit", "exit code 7")])
def test_a_shard_that_kills_its_worker_is_told_after_three_tries_and_the_rest_is_done(action, ending, log, out):
    with pytest.raises(RunError, match=rf"shard b\.txt: .*died 3 times \({ending}.*finished shards are kept.*resumes"):
        map_shards(write, jobs(log, "abcd", b=action), out, engine=Local(2))
    assert set(published(out)) == {"a.txt", "c.txt", "d.txt"}
    assert calls(log).count("b.txt") == 3
    assert_nothing_half_written(out)
    map_shards(write, jobs(log, "abcd"), out, engine=Local(2))
    assert len(published(out)) == 4 and len(calls(log)) == 7


def test_a_shard_whose_worker_dies_is_done_by_another(log, tmp_path):
    map_shards(write, jobs(log, "abcd"), tmp_path / "whole")
    log.write_text("")
    map_shards(write, jobs(log, "abcd", b="kill twice"), tmp_path / "out", engine=Local(2))
    assert published(tmp_path / "out") == published(tmp_path / "whole")
    assert calls(log).count("b.txt") == 3 and len({line.split()[1] for line in log.read_text().splitlines()}) >= 3


def test_the_first_failure_in_the_order_of_the_shards_is_raised(log, out):
    shards = {
        "a.txt": Job("", log, "value error", seconds=0.5),
        "b.txt": Job("", log, "value error"),
    }
    with pytest.raises(RunError, match=r"shard a\.txt"):
        map_shards(write, shards, out, engine=Local(2))


def test_an_interrupt_in_this_process_leaves_nothing_half_written(log, out):
    with pytest.raises(KeyboardInterrupt):
        map_shards(write, jobs(log, "abc", b="interrupt"), out)
    assert set(published(out)) == {"a.txt"}
    assert_nothing_half_written(out)


def start_slow_run(out, log, workers):
    """Start a run of four slow shards in a process of its own and wait until the first one works."""
    program = f"""
        from pathlib import Path
        from engine_work import Job, is_alive, write
        from wildhoi.engine import Local, map_shards
        if __name__ == "__main__":
            shards = {{f"{{i}}.txt": Job(str(i), Path({str(log)!r}), seconds=30) for i in range(4)}}
            map_shards(write, shards, Path({str(out)!r}), engine=Local({workers}))
    """
    script = out.parent / "run.py"
    script.write_text(textwrap.dedent(program))
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": path},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while len(calls(log)) < workers and time.monotonic() < deadline:
        time.sleep(0.05)  # polls until the other process has begun; the deadline bounds it
    return process


@BOTH
def test_ctrl_c_stops_promptly_and_cleanly(workers, log, out):
    process = start_slow_run(out, log, workers)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - began < 10
    assert errors.decode().rstrip().endswith("KeyboardInterrupt")
    assert errors.decode().count("Traceback") == 1
    assert published(out) == {}
    assert_nothing_half_written(out)
    assert not any(is_alive(line.split()[1]) for line in log.read_text().splitlines())


def test_leftovers_of_a_killed_run_are_removed(log, out):
    process = start_slow_run(out, log, 1)
    process.kill()
    process.communicate()
    (partial,) = out.glob(f"{PARTIAL}*")
    (partial / "half.txt").write_text("ha")
    map_shards(write, jobs(log, "a"), out)
    assert_nothing_half_written(out)
    assert published(out) == {"a.txt": "text of a"}


def test_workers_end_with_a_parent_that_is_killed_and_write_nothing_into_the_next_run(log, out):
    process = start_slow_run(out, log, 2)
    process.kill()
    process.communicate()
    map_shards(write, {f"{i}.txt": Job("new", log) for i in range(4)}, out, engine=Local(2))
    assert set(published(out).values()) == {"new"}
    first = [line.split()[1] for line in log.read_text().splitlines()][:2]
    assert not any(is_alive(pid) for pid in first)


def test_a_second_run_in_the_same_folder_is_refused(log, out):
    process = start_slow_run(out, log, 1)
    try:
        with pytest.raises(RunError, match="another run is writing here"):
            map_shards(write, jobs(log, "a"), out)
        assert len([*out.glob(f"{PARTIAL}*")]) == 1
    finally:
        process.kill()
        process.communicate()


def test_the_lock_is_a_file_while_it_is_held_and_no_content(tmp_path):
    (tmp_path / "result").touch()
    with only_run_in(tmp_path):
        assert (tmp_path / LOCK).is_file() and contents(tmp_path) == [tmp_path / "result"]
        with pytest.raises(RunError, match="another run is writing here"), only_run_in(tmp_path):
            pytest.fail("two hold it")
        assert (tmp_path / LOCK).is_file()  # whoever is refused removes nothing
    assert not (tmp_path / LOCK).exists()
    with pytest.raises(ValueError, match="of the work"), only_run_in(tmp_path):
        (tmp_path / LOCK).unlink()  # or whatever else keeps the lock from being removed
        raise ValueError("of the work")
    (tmp_path / LOCK).touch()  # of a killed run
    with only_run_in(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("again", [False, True])
def test_the_lock_of_a_file_that_its_holder_has_removed_is_none(tmp_path, monkeypatch, again):
    def flock(descriptor, how):
        (tmp_path / LOCK).unlink()
        if again:
            (tmp_path / "other").touch()
            (tmp_path / "other").rename(tmp_path / LOCK)

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(RunError, match="another run is writing here"), only_run_in(tmp_path):
        pytest.fail("held")
    assert (tmp_path / LOCK).exists() == again


@pytest.mark.parametrize(
    "key", ["", ".", "..", ".hidden", "a/b", "/etc/passwd", "a\\b", "a\n", "a b", "é", "a" * 201, "-rf"]
)
def test_unsafe_keys_are_refused_before_anything_is_written(key, log, out):
    with pytest.raises(InputError, match="safe file name"):
        map_shards(write, {"good": Job("", log), key: Job("", log)}, out)
    assert not out.exists()


@pytest.mark.parametrize("workers", [0, -1])
@pytest.mark.parametrize("kind", [Local, lambda workers: Ray("local", workers)])
def test_fewer_than_one_worker_is_refused(kind, workers):
    with pytest.raises(InputError, match="workers"):
        kind(workers)


def test_more_workers_than_a_machine_can_hold_are_refused():
    with pytest.raises(InputError, match=r"workers: got 1000000, wanted 1 to \d+, 16 for each processor here"):
        Local(10**6)


def test_workers_compute_on_one_thread_and_this_process_keeps_its_environment(log, out):
    before = dict(os.environ)
    paths = map_shards(engine_work.environment, jobs(log, "ab"), out, engine=Local(2))
    assert [path.read_text() for path in paths] == ["1,1"] * 2
    assert dict(os.environ) == before


def test_torch_in_a_worker_has_one_thread(log, out):
    (path, _) = map_shards(engine_work.threads, jobs(log, "ab"), out, engine=Local(2))
    assert path.read_text() == "1"


def test_the_engine_imports_no_torch():
    program = "import sys, wildhoi.engine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1]).returncode == 0
