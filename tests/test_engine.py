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

from wildhoi import engine
from wildhoi.engine import map_shards
from wildhoi.errors import InputError, RunError

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
    paths = map_shards(write, shards, out, workers=workers)
    assert paths == [out / key for key in shards]
    assert [path.read_text() for path in paths] == [job.text for job in shards.values()]
    assert calls(log) == sorted(shards)
    assert_nothing_half_written(out)


def test_files_do_not_depend_on_the_number_of_workers(log, tmp_path):
    shards = jobs(log, "abcdefg")
    for workers in (1, 2, 3):
        map_shards(write, shards, tmp_path / str(workers), workers=workers)
    assert published(tmp_path / "1") == published(tmp_path / "2") == published(tmp_path / "3")


def test_more_workers_are_other_processes_and_one_is_this(log, tmp_path):
    map_shards(write, jobs(log), tmp_path / "here")
    here = {line.split()[1] for line in log.read_text().splitlines()}
    log.write_text("")
    map_shards(write, jobs(log), tmp_path / "there", workers=2)
    there = {line.split()[1] for line in log.read_text().splitlines()}
    assert here == {str(os.getpid())}
    assert str(os.getpid()) not in there and 1 <= len(there) <= 2


def test_nothing_to_do_is_no_error(out):
    assert map_shards(write, {}, out, workers=3) == []


@BOTH
def test_finished_shards_are_skipped(workers, log, out):
    first = jobs(log, "ab")
    map_shards(write, first, out, workers=workers, fingerprint="x")
    paths = map_shards(write, jobs(log, "abcd"), out, workers=workers, fingerprint="x")
    assert len(paths) == 4
    assert calls(log) == ["a.txt", "b.txt", "c.txt", "d.txt"]


@BOTH
def test_another_fingerprint_or_no_resume_does_everything_again(workers, log, out):
    shards = jobs(log, "ab")
    map_shards(write, shards, out, workers=workers, fingerprint="x")
    map_shards(write, shards, out, workers=workers, fingerprint="y")
    map_shards(write, shards, out, workers=workers, fingerprint="y", resume=False)
    assert calls(log) == ["a.txt"] * 3 + ["b.txt"] * 3


def test_a_fingerprint_is_remembered_for_each_shard(log, out):
    map_shards(write, jobs(log, "ab"), out, fingerprint="x")
    map_shards(write, jobs(log, "a"), out, fingerprint="y")
    map_shards(write, jobs(log, "ab"), out, fingerprint="y")
    assert calls(log) == ["a.txt", "a.txt", "b.txt", "b.txt"]


def test_a_stopped_run_leaves_no_old_file_under_the_new_fingerprint(log, out):
    map_shards(write, jobs(log, "abc"), out, fingerprint="x")
    with pytest.raises(RunError):
        map_shards(write, jobs(log, "abc", b="value error"), out, fingerprint="y")
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
    map_shards(write, jobs(log, "abcd"), out, workers=workers, progress=lambda *counts: seen.append(counts))
    assert seen == [(0, 2), (1, 2), (2, 2), (2, 4), (3, 4), (4, 4)]


@BOTH
def test_an_error_names_its_shard_and_keeps_what_is_finished(workers, log, out):
    with pytest.raises(RunError, match=r"shard c\.txt: ValueError: the matrix is singular.*resumes") as caught:
        map_shards(write, jobs(log, "abcdefgh", c="value error"), out, workers=workers)
    assert isinstance(caught.value.__cause__, ValueError)
    assert {"a.txt", "b.txt"} <= set(published(out)) and "c.txt" not in published(out)
    assert len(calls(log)) < 8
    assert_nothing_half_written(out)
    map_shards(write, jobs(log, "abcdefgh"), out, workers=workers)
    assert len(published(out)) == 8 and calls(log).count("a.txt") == 1


def test_running_shards_finish_after_an_error(log, out):
    shards = {"slow.txt": Job("slow", log, seconds=1.0), "bad.txt": Job("", log, "value error")}
    with pytest.raises(RunError, match=r"bad\.txt"):
        map_shards(write, shards, out, workers=2)
    assert published(out) == {"slow.txt": "slow"}


@BOTH
@pytest.mark.parametrize(
    ("action", "kind", "code"), [("input error", InputError, 2), ("gated", engine_work.GatedError, 3)]
)
def test_the_package_s_own_errors_keep_class_message_and_exit_code(workers, action, kind, code, log, out):
    with pytest.raises(kind) as caught:
        map_shards(write, jobs(log, "ab", a=action), out, workers=workers)
    assert type(caught.value) is kind and caught.value.exit_code == code
    assert str(caught.value) in ("row 3: got nan, wanted a number", "the body model is missing")


def test_an_exception_that_cannot_travel_sends_its_text(log, out):
    with pytest.raises(RunError, match=r"shard b\.txt: .*Unpicklable: this and that"):
        map_shards(write, jobs(log, "ab", b="unpicklable"), out, workers=2)


@BOTH
def test_work_that_writes_nothing_is_an_error(workers, log, out):
    with pytest.raises(RunError, match=r"shard b\.txt: .*without writing"):
        map_shards(write, jobs(log, "ab", b="nothing"), out, workers=workers)
    assert published(out) == {"a.txt": "text of a"}


@pytest.mark.parametrize(("action", "ending"), [("kill", "signal 9"), ("exit", "exit code 7")])
def test_a_dead_worker_is_named_and_the_same_call_resumes(action, ending, log, out):
    with pytest.raises(RunError, match=rf"shard b\.txt: .*died \({ending}.*finished shards are kept.*resumes"):
        map_shards(write, jobs(log, "abcd", b=action), out, workers=2)
    assert "b.txt" not in published(out)
    assert_nothing_half_written(out)
    kept = set(published(out))
    map_shards(write, jobs(log, "abcd"), out, workers=2)
    assert len(published(out)) == 4
    assert all(calls(log).count(key) == 1 for key in kept)


def test_the_first_failure_in_the_order_of_the_shards_is_raised(log, out):
    shards = {
        "a.txt": Job("", log, "value error", seconds=0.5),
        "b.txt": Job("", log, "value error"),
    }
    with pytest.raises(RunError, match=r"shard a\.txt"):
        map_shards(write, shards, out, workers=2)


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
        from wildhoi.engine import map_shards
        if __name__ == "__main__":
            shards = {{f"{{i}}.txt": Job(str(i), Path({str(log)!r}), seconds=30) for i in range(4)}}
            map_shards(write, shards, Path({str(out)!r}), workers={workers})
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
    assert (out / engine.PARTIAL).is_dir()
    (out / engine.PARTIAL / "half.txt").write_text("ha")
    map_shards(write, jobs(log, "a"), out)
    assert_nothing_half_written(out)
    assert published(out) == {"a.txt": "text of a"}


def test_a_second_run_in_the_same_folder_is_refused(log, out):
    process = start_slow_run(out, log, 1)
    try:
        with pytest.raises(RunError, match="another run is writing here"):
            map_shards(write, jobs(log, "a"), out)
        assert (out / engine.PARTIAL).is_dir()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "key", ["", ".", "..", ".hidden", "a/b", "/etc/passwd", "a\\b", "a\n", "a b", "é", "a" * 201, "-rf"]
)
def test_unsafe_keys_are_refused_before_anything_is_written(key, log, out):
    with pytest.raises(InputError, match="safe file name"):
        map_shards(write, {"good": Job("", log), key: Job("", log)}, out)
    assert not out.exists()


@pytest.mark.parametrize("workers", [0, -1])
def test_fewer_than_one_worker_is_refused(workers, out):
    with pytest.raises(InputError, match="workers"):
        map_shards(write, {}, out, workers=workers)


def test_workers_compute_on_one_thread_and_this_process_keeps_its_environment(log, out):
    before = dict(os.environ)
    paths = map_shards(engine_work.environment, jobs(log, "ab"), out, workers=2)
    assert [path.read_text() for path in paths] == ["1,1"] * 2
    assert dict(os.environ) == before


def test_torch_in_a_worker_has_one_thread(log, out):
    (path, _) = map_shards(engine_work.threads, jobs(log, "ab"), out, workers=2)
    assert path.read_text() == "1"


def test_the_engine_imports_no_torch():
    program = "import sys, wildhoi.engine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1]).returncode == 0
