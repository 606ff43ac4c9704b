"""The same shards on a Ray cluster that is started here: same files, same failures, nothing left running."""

import builtins
import importlib.util
import os
import re
import socket
from pathlib import Path

import engine_work
import pytest
from engine_work import Job, write
from run_methods import Toy, make_runnable, plain_samples, run, without_seconds
from test_engine import assert_nothing_half_written, calls, jobs, published
from test_grouping import made_views, same_groups

from baselines.grouping import GroupSettings, blocks, group_views
from evaluation.evaluate import Options, evaluate
from evaluation.protocol import protocol_for
from wildhoi.convert.pipeline import run_conversion
from wildhoi.convert.wildhoi_release import plan_wildhoi
from wildhoi.dataset import find_data
from wildhoi.engine import Local, Ray, map_shards
from wildhoi.errors import InputError, MissingAssetError, RunError, ShardsError
from wildhoi.submission.folder import read_submission
from wildhoi.workflows import SAMPLE_SUBMISSIONS

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra: cluster)")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of two processors, whose processes find the tests' modules."""
    import ray

    root = Path(__file__).parents[1]
    before, printing = os.environ.get("PYTHONPATH"), builtins.print
    os.environ["PYTHONPATH"] = os.pathsep.join([str(root), str(root / "tests")])
    try:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=80 * 2**20,
        )
        yield
    finally:
        ray.shutdown()
        builtins.print = printing  # Ray has put its own there
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


@pytest.fixture
def engine(cluster):
    return Ray("auto")


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log"
    path.touch()
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_files_are_those_of_this_process(engine, log, tmp_path):
    shards = jobs(log, "dbcaefg")
    values = {}
    paths = map_shards(write, shards, tmp_path / "ray", engine=engine, done=values.__setitem__)
    map_shards(write, shards, tmp_path / "here")
    assert paths == [tmp_path / "ray" / key for key in shards]
    assert published(tmp_path / "ray") == published(tmp_path / "here")
    assert values == dict.fromkeys(shards, 9)
    assert_nothing_half_written(tmp_path / "ray")
    assert engine.memory > 2**20


def test_what_one_engine_finished_another_keeps(engine, log, out):
    map_shards(write, jobs(log, "ab"), out, engine=engine, fingerprint="x")
    map_shards(write, jobs(log, "abcd"), out, engine=Local(2), fingerprint="x")
    map_shards(write, jobs(log, "abcdef"), out, engine=engine, fingerprint="x")
    assert calls(log) == [f"{name}.txt" for name in "abcdef"]


def test_a_worker_that_dies_is_replaced_and_a_poisoned_shard_told(engine, log, out):
    shards = jobs(log, "abcd", b="kill twice") | {"e.txt": Job("", log, "kill", ids=("image-1",))}
    with pytest.raises(RunError, match=r"shard e\.txt \(image-1\): its worker process died 3 times"):
        map_shards(write, shards, out, engine=engine)
    assert set(published(out)) == {f"{name}.txt" for name in "abcd"}
    assert calls(log).count("b.txt") == 3 and calls(log).count("e.txt") == 3
    assert_nothing_half_written(out)


@pytest.mark.parametrize(("action", "kind"), [("input error", InputError), ("gated", engine_work.GatedError)])
def test_what_the_user_has_to_mend_arrives_as_it_was_raised(action, kind, engine, log, out):
    with pytest.raises(kind) as caught:
        map_shards(write, jobs(log, "ab", a=action), out, engine=engine)
    assert type(caught.value) is kind


def test_other_errors_name_their_shard(engine, log, out):
    for action, words in (
        ("value error", "singular"),
        ("unpicklable", "this and that"),
        ("nothing", "without writing"),
    ):
        with pytest.raises(RunError, match=rf"shard b\.txt: .*{words}"):
            map_shards(write, jobs(log, "abc", b=action), out / action.replace(" ", "-"), engine=engine)


def test_a_shard_computes_on_one_thread(engine, log, out):
    (path,) = map_shards(engine_work.threads, jobs(log, "a"), out, engine=engine)
    assert path.read_text() == "1"


def test_no_more_shards_at_once_than_asked_for(cluster, log, out):
    map_shards(write, {f"{i}.txt": Job("", log, seconds=0.1) for i in range(4)}, out, engine=Ray("auto", workers=1))
    assert len({line.split()[1] for line in log.read_text().splitlines()}) == 1


def test_paths_and_settings_mean_there_what_they_mean_here(engine, log, out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WILDHOI_BODY_MODELS", "models")
    (path,) = map_shards(engine_work.place, jobs(log, "a"), out, engine=engine)
    assert path.read_text() == f"{log} models"


def test_a_full_disk_of_a_machine_is_no_end_of_the_run(engine, log, out):
    with pytest.raises(ShardsError, match=rf"shard b\.txt: OSError: on {socket.gethostname()}: .*No space left"):
        map_shards(write, jobs(log, "abcd", b="full"), out, engine=engine)
    assert set(published(out)) == {"a.txt", "c.txt", "d.txt"} and calls(log).count("b.txt") == 3


def test_a_cluster_without_gpus_says_so(cluster, log, out):
    engine = Ray("auto", gpus=1.0)
    with pytest.raises(RunError, match="no GPU to give"):
        map_shards(write, jobs(log), out, engine=engine)
    assert engine._ray is None and engine._depth == 0  # it has left the cluster


def test_the_processes_of_another_version_are_refused(engine, log, out, monkeypatch):
    monkeypatch.setattr("wildhoi.engine.cluster.__version__", "9.9")
    with pytest.raises(RunError, match=r"has wildhoi .*, this one 9\.9; install one version"):
        map_shards(write, jobs(log, "a"), out, engine=engine)


def test_without_the_package_the_extra_is_named(monkeypatch, log, out):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingAssetError, match=r"wildhoi\[cluster\]"):
        map_shards(write, jobs(log), out, engine=Ray())


def test_where_no_cluster_answers_it_is_said_how_to_start_one(monkeypatch, log, out):
    import ray

    def nobody(**_):
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", nobody)
    with pytest.raises(RunError, match=r"--address auto: no Ray cluster answers .*ray start --head"):
        map_shards(write, jobs(log), out, engine=Ray())


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "nowhere.invalid:6379", "127.0.0.1:x"])
def test_an_address_where_nothing_is_is_not_waited_for(address, monkeypatch, log, out):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray would ask for minutes"))
    with pytest.raises(RunError, match=rf"--address {re.escape(address)}: no Ray cluster answers"):
        map_shards(write, jobs(log), out, engine=Ray(address))


def test_a_run_that_finds_no_cluster_leaves_its_folder_as_it_was(monkeypatch, tmp_path):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    data = make_runnable(tmp_path / "data", plain_samples({"tennis": 2}))
    with pytest.raises(RunError, match="no Ray cluster answers"):
        run(Toy(), data, tmp_path / "out", engine=Ray("127.0.0.1:1"))
    run(Toy(), data, tmp_path / "out")


# What the commands do


def test_a_run_is_the_same(engine, tmp_path):
    data = make_runnable(tmp_path / "data", plain_samples({"tennis": 5, "cello": 2}))
    _, there = run(Toy(), data, tmp_path / "there", engine=engine, batch=2)
    _, here = run(Toy(), data, tmp_path / "here", batch=2)
    assert without_seconds(there.rows) == without_seconds(here.rows)
    assert there.manifest.environment == {**here.manifest.environment, "threads": 1}


def test_a_score_is_the_same(engine):
    data, submission = find_data("open-sample"), read_submission(SAMPLE_SUBMISSIONS / "sample-noise-small")
    options = {"objects": ("baseball", "basketball")}
    there, here = (
        evaluate(submission, data, protocol_for(data.name), Options(engine=where, **options))
        for where in (engine, None)
    )
    assert there.scores == here.scores
    assert [str(row) for row in there.rows] == [str(row) for row in here.rows]


def test_a_conversion_is_the_same(engine, fixtures_dir, tmp_path):
    for name, where in (("there", engine), ("here", None)):
        plan = plan_wildhoi(fixtures_dir / "wildhoi_raw", objects=["barbell"])
        run_conversion(plan, tmp_path / name, engine=where)
    there, here = (
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.parquet")}
        for n in ("there", "here")
    )
    assert [*there.values()] == [*here.values()] and there


@pytest.mark.parametrize("rounds", [None, 2])
def test_a_grouping_is_the_same(rounds, engine, tmp_path, monkeypatch):
    views, settings = made_views(scenes=60, of_each=4, noise=0.05), GroupSettings(k=4, rounds=rounds)
    whole = group_views(views, settings)
    monkeypatch.setitem(blocks.SIDE, "cpu", 120)
    monkeypatch.setattr(blocks, "PARTS", 2**20)
    same_groups(whole, group_views(views, settings, engine=engine, work=tmp_path))
