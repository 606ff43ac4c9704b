"""Downloading from and publishing to a Hub of our own; nothing here reaches the network or the user's cache."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hub_server import HubServer, own_hub, read_folder, sha256

from wildhoi import hub
from wildhoi.dataset import SHIPPED, open_folder, seal_folder
from wildhoi.errors import InputError, MissingAssetError, RunError
from wildhoi.hub import committing, contents, downloading, naming, pushing

REPOSITORY = "wildhoi/wildhoi"
CARD = (
    b"---\nlicense: other\nconfigs:\n- config_name: barbell\n  data_files: samples/barbell/*.parquet\n---\n# WildHOI\n"
)
TRAIN = [f"samples/barbell/train-0000{i}-of-00003.parquet" for i in range(3)]
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub's uploads
TEST = "samples/barbell/test-00000-of-00001.parquet"


@pytest.fixture(autouse=True)
def server(tmp_path, monkeypatch):
    with own_hub(tmp_path, monkeypatch, page=7) as running:
        yield running


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A data folder to read."""
    return make_folder(tmp_path_factory.mktemp("data") / "source")


@pytest.fixture
def own(tmp_path):
    """A data folder to spoil."""
    return make_folder(tmp_path / "own")


def make_folder(path, name="wildhoi", salt=b""):
    """A data folder with a file of every kind."""
    for thing in ("barbell", "cello", "tennis"):
        (path / "annotations" / thing).mkdir(parents=True)
        table = f"annotations/{thing}/test-00000-of-00001.parquet"
        shutil.copyfile(SHIPPED["open-sample"] / table, path / table)
    more = {
        "README.md": CARD,
        "conversion_report.json": b"{}",
        "frames.png": b"\x89PNG" + salt,
        "lists/keyframes.json": b"[]",
        "mini/samples/barbell/test-00000-of-00001.parquet": b"PAR1 mini",
        "objects/barbell/keypoints.json": b"{}",
        "objects/barbell/mesh.ply": b"ply" * 1000,
        "objects/tennis/keypoints.json": b"{}",
        "samples/tennis/test-00000-of-00001.parquet": b"PAR1 tennis",
        TEST: b"PAR1 barbell test",
        **{name: b"PAR1" + bytes([i]) * 30_000 + salt for i, name in enumerate(TRAIN)},
    }
    for file, content in more.items():
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).write_bytes(content)
    seal_folder(path, name=name, body_model="open")
    return path


def is_empty(path):
    """Whether a folder has nothing that could be taken for a data folder."""
    return not (path / "dataset.json").exists()


def published(server, source, **settings):
    """The folder on the Hub under the tag v1."""
    commit = server.add(REPOSITORY, source, **settings)
    server.tag(REPOSITORY, "v1")
    return commit


def spoiled(source, **changes):
    """The files of a folder with other entries in its `checksums.json`; None takes one out."""
    files = read_folder(source)
    listed = json.loads(files["checksums.json"]) | changes
    files["checksums.json"] = json.dumps({name: value for name, value in listed.items() if value}).encode()
    return files


# ---- names ---------------------------------------------------------------------------------------------------------


def test_a_name_is_the_owners_and_an_id_is_itself(monkeypatch):
    assert hub.repository("wildhoi") == f"{naming.OWNER}/wildhoi"
    assert hub.repository("someone/else-1.0") == "someone/else-1.0"
    monkeypatch.setenv("WILDHOI_HUB_OWNER", "lab")
    assert hub.repository("behave") == "lab/behave"


@pytest.mark.parametrize(
    "name", ["", "a/b/c", "../x", "a/..", "a b", "a/-b", "a--b", "http://x/y", "a/" + "b" * 97, "a/b\n"]
)
def test_what_no_repository_is_called_is_refused(name):
    with pytest.raises(InputError, match="is no repository"):
        hub.repository(name)


def test_importing_costs_nothing():
    code = (
        "import sys, wildhoi.hub; sys.exit(bool({'huggingface_hub', 'pyarrow', 'numpy', 'torch'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ---- resolving, and what goes wrong --------------------------------------------------------------------------------


def test_a_revision_is_resolved_to_a_commit(server, source):
    first = published(server, source)
    second = server.add(REPOSITORY, {"README.md": b"later"})
    assert hub.resolve("wildhoi") == (REPOSITORY, second)
    assert hub.resolve("wildhoi", "v1") == hub.resolve(REPOSITORY, first) == (REPOSITORY, first)
    assert hub.access_url(REPOSITORY) == f"{server.url}/datasets/{REPOSITORY}"


def test_an_absent_repository_says_how_to_convert(server):
    with pytest.raises(
        MissingAssetError, match=r"wildhoi/behave @ main.*hf auth login.*wildhoi data convert behave RAW"
    ):
        hub.resolve("behave")


def test_a_private_repository_is_absent_for_strangers(server, source, monkeypatch):
    commit = published(server, source, private=True)
    monkeypatch.setenv("HF_TOKEN", server.STRANGER)
    with pytest.raises(MissingAssetError, match="private and your login may not see it"):
        hub.resolve("wildhoi")
    monkeypatch.setenv("HF_TOKEN", server.READER)
    assert hub.resolve("wildhoi") == (REPOSITORY, commit)


@pytest.mark.parametrize("gated_listing", [False, True])
@pytest.mark.parametrize(
    ("token", "words"),
    [
        (None, r"not logged in: accept its terms at \S+/datasets/wildhoi/wildhoi, then run `hf auth login` or"),
        (HubServer.PENDING, r"no access \(yet\): ask for it at \S+/datasets/wildhoi/wildhoi"),
    ],
)
def test_a_gate_says_where_to_ask(server, source, monkeypatch, tmp_path, token, words, gated_listing):
    published(server, source, gate="manual")
    server.gated_listing = gated_listing
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    for ask in (lambda: hub.resolve("wildhoi", "v1"), lambda: hub.download("wildhoi", tmp_path / "out", revision="v1")):
        with pytest.raises(MissingAssetError, match=f"wildhoi/wildhoi @ v1 is gated.*{words}"):
            ask()
    assert not (tmp_path / "out").exists()


def test_who_was_let_in_gets_through_the_gate(server, source, monkeypatch, tmp_path):
    published(server, source, gate="manual")
    monkeypatch.setenv("HF_TOKEN", server.READER)
    hub.download("wildhoi", tmp_path / "out")
    assert read_folder(tmp_path / "out") == read_folder(source)


def test_an_absent_revision_lists_the_tags(server, source):
    published(server, source)
    server.tag(REPOSITORY, "v2")
    for wrong in ("v9", "0" * 40):
        with pytest.raises(MissingAssetError, match=f"wildhoi/wildhoi @ {wrong}.*no such revision; tags: v1, v2;"):
            hub.resolve("wildhoi", wrong)


def test_a_token_nobody_has_is_named(server, source, monkeypatch):
    published(server, source)
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(MissingAssetError, match="does not know your token"):
        hub.resolve("wildhoi")


def test_no_network_is_one_message(server, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        RunError, match=r"wildhoi/wildhoi @ main: http://127.0.0.1:9 cannot be reached.*run the same command"
    ):
        hub.download("wildhoi", tmp_path / "out")


def test_offline_the_last_commit_seen_is_named(server, source, monkeypatch):
    commit = published(server, source)
    hub.resolve("wildhoi")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = len(server.requests)
    assert hub.resolve("wildhoi") == hub.resolve("wildhoi", commit) == (REPOSITORY, commit)
    with pytest.raises(MissingAssetError, match="HF_HUB_OFFLINE forbids"):
        hub.resolve("wildhoi", "v1")
    assert len(server.requests) == asked


# ---- downloading ---------------------------------------------------------------------------------------------------


def test_a_download_is_the_folder_that_was_published(server, source, tmp_path):
    commit = published(server, source)
    done = hub.download("wildhoi", tmp_path / "out", revision="v1")
    assert read_folder(tmp_path / "out") == read_folder(source)
    assert open_folder(tmp_path / "out").revision == open_folder(source).revision
    assert (done.repository, done.revision, done.commit, done.kept) == (REPOSITORY, "v1", commit, 0)
    assert done.fetched == len(open_folder(source).checksums)
    assert done.bytes == sum(len(content) for name, content in read_folder(source).items() if name != "checksums.json")
    assert {path.name for path in (tmp_path / "out").glob(".*")} == {".hub.json"}
    assert json.dumps(done.to_dict())


def test_a_tag_is_the_state_it_was_set_on(server, source, tmp_path):
    published(server, source)
    server.add(REPOSITORY, make_folder(tmp_path / "newer", salt=b"newer"))
    hub.download("wildhoi", tmp_path / "v1", revision="v1")
    hub.download("wildhoi", tmp_path / "main")
    assert read_folder(tmp_path / "v1") == read_folder(source)
    assert read_folder(tmp_path / "main") == read_folder(tmp_path / "newer")


ALWAYS = {"README.md", "dataset.json", "checksums.json", "conversion_report.json", "frames.png", "lists/keyframes.json"}


@pytest.mark.parametrize(
    ("objects", "splits", "wanted"),
    [
        (["tennis"], None, lambda name: "/tennis/" in name),
        (None, ["train"], lambda name: "/train-" in name or name.startswith(("objects/", "mini/"))),
        (["barbell"], ["test"], lambda name: "/barbell/test-" in name or "objects/barbell" in name),
        (["barbell", "tennis"], None, lambda name: "/barbell/" in name or "/tennis/" in name),
    ],
)
def test_only_what_is_asked_for_is_fetched(server, source, tmp_path, objects, splits, wanted):
    published(server, source)
    hub.download("wildhoi", tmp_path / "out", objects=objects, splits=splits)
    expected = {name for name in read_folder(source) if name in ALWAYS or wanted(name)}
    assert set(read_folder(tmp_path / "out")) == set(server.fetched()) == expected


def test_a_later_download_adds_what_is_missing(server, source, tmp_path):
    published(server, source)
    hub.download("wildhoi", tmp_path / "out", objects=["tennis"])
    before = server.fetched()
    done = hub.download("wildhoi", tmp_path / "out", objects=["barbell"])
    new = set(server.fetched()) - set(before)
    assert done.fetched == len(new) == len([name for name in read_folder(source) if "/barbell/" in name])
    assert hub.download("wildhoi", tmp_path / "out").fetched == 1  # the annotations of a third object
    assert read_folder(tmp_path / "out") == read_folder(source)
    assert hub.download("wildhoi", tmp_path / "out").fetched == 0


def test_a_changed_file_is_fetched_again(server, source, tmp_path):
    published(server, source)
    hub.download("wildhoi", tmp_path / "out")
    (tmp_path / "out" / TRAIN[1]).write_bytes(b"PAR1 by hand")
    (tmp_path / "out" / TEST).unlink()
    assert hub.download("wildhoi", tmp_path / "out", objects=["barbell"]).fetched == 2
    assert read_folder(tmp_path / "out") == read_folder(source)


def test_another_revision_is_not_mixed_in(server, source, tmp_path):
    first = published(server, source)
    hub.download("wildhoi", tmp_path / "out", objects=["tennis"])
    server.add(REPOSITORY, make_folder(tmp_path / "newer", salt=b"newer"))
    with pytest.raises(InputError, match=f"holds commit {first}.*--out, ask for what is there with --revision {first}"):
        hub.download("wildhoi", tmp_path / "out")
    hub.download("wildhoi", tmp_path / "out", revision=first)
    assert read_folder(tmp_path / "out") == read_folder(source)


def test_a_new_card_is_no_new_revision(server, source, tmp_path):
    published(server, source)
    hub.download("wildhoi", tmp_path / "out")
    newer = server.add(REPOSITORY, {**read_folder(source), "README.md": b"better words"})
    done = hub.download("wildhoi", tmp_path / "out")
    assert (done.fetched, done.commit) == (0, newer)
    assert (tmp_path / "out" / "README.md").read_bytes() == b"better words"


def test_a_folder_with_other_things_is_left_alone(server, source, tmp_path):
    published(server, source)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("words")
    with pytest.raises(InputError, match="is no data folder; choose another with --out"):
        hub.download("wildhoi", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("objects", "splits", "words"),
    [
        (["spoon"], None, "holds no object spoon; there are barbell, cello, tennis"),
        (None, ["validation"], "holds no split validation; there are test, train"),
        (["tennis"], ["train"], "holds no tables for train of tennis"),
    ],
)
def test_what_is_not_there_is_said(server, source, tmp_path, objects, splits, words):
    published(server, source)
    with pytest.raises(InputError, match=words):
        hub.download("wildhoi", tmp_path / "out", objects=objects, splits=splits)
    assert is_empty(tmp_path / "out")


def test_progress_ends_at_the_whole(server, source, tmp_path):
    published(server, source)
    told = []
    done = hub.download("wildhoi", tmp_path / "out", progress=lambda *step: told.append(step))
    assert told[-1][1:] == (done.bytes, done.bytes) and {total for _, _, total in told} == {done.bytes}
    assert {name for name, _, _ in told} == set(read_folder(source)) - {"checksums.json"}
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_offline_a_whole_download_needs_no_request(server, source, tmp_path, monkeypatch):
    commit = published(server, source)
    hub.download("wildhoi", tmp_path / "out", objects=["tennis"], revision="v1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = len(server.requests)
    for revision in (None, "v1", commit):
        done = hub.download("wildhoi", tmp_path / "out", objects=["tennis"], revision=revision)
        assert (done.commit, done.fetched) == (commit, 0) and done.kept
    for wrong in ({"objects": ["barbell"]}, {"revision": "v2"}, {}):
        with pytest.raises(MissingAssetError, match=r"HF_HUB_OFFLINE forbids it.*incomplete or of another revision"):
            hub.download("wildhoi", tmp_path / "out", **wrong)
    with pytest.raises(MissingAssetError, match="HF_HUB_OFFLINE"):
        hub.download("wildhoi", tmp_path / "elsewhere")
    assert len(server.requests) == asked


# ---- a bad line ----------------------------------------------------------------------------------------------------


def test_a_dropped_connection_goes_on(server, source, tmp_path):
    published(server, source)
    server.trouble(TRAIN[0], cut_after=1000)
    hub.download("wildhoi", tmp_path / "out")
    assert read_folder(tmp_path / "out") == read_folder(source)
    assert sum(line.startswith("GET") and TRAIN[0] in line for line in server.requests) == 2


@pytest.mark.parametrize("trouble", [{"cut_after": 0}, {"status": 503}])
def test_a_line_that_always_breaks_keeps_what_is_finished(server, source, tmp_path, trouble):
    published(server, source)
    server.trouble(TRAIN[2], times=-1, **trouble)
    with pytest.raises(RunError, match=r"wildhoi/wildhoi @ main.*run the same command again, what is finished is kept"):
        hub.download("wildhoi", tmp_path / "out")
    assert is_empty(tmp_path / "out") and read_folder(tmp_path / "out") == {}
    kept = set(read_folder(tmp_path / "out" / ".download"))
    server.troubles.clear()
    server.requests.clear()
    hub.download("wildhoi", tmp_path / "out")
    assert read_folder(tmp_path / "out") == read_folder(source)
    assert TRAIN[2] in server.fetched() and not set(server.fetched()) & kept


def test_what_is_left_of_another_commit_is_not_used(server, source, tmp_path):
    published(server, source)
    server.trouble(TRAIN[2], times=-1, status=503)
    with pytest.raises(RunError):
        hub.download("wildhoi", tmp_path / "out")
    server.troubles.clear()
    newer = make_folder(tmp_path / "newer", salt=b"newer")
    server.add(REPOSITORY, newer)
    hub.download("wildhoi", tmp_path / "out")
    assert read_folder(tmp_path / "out") == read_folder(newer)


def test_a_place_that_cannot_be_written_is_named(server, source, tmp_path):
    published(server, source)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".download").touch()
    with pytest.raises(RunError, match=r"wildhoi/wildhoi @ main: \S+\.download\S* cannot be read or written"):
        hub.download("wildhoi", tmp_path / "out")
    with pytest.raises(InputError, match="cannot be written"):
        hub.download("wildhoi", tmp_path / "out" / ".download")


def test_a_damaged_file_is_fetched_once_more(server, source, tmp_path):
    published(server, source)
    server.trouble(TRAIN[0], corrupt=True)
    hub.download("wildhoi", tmp_path / "out")
    assert read_folder(tmp_path / "out") == read_folder(source)


def test_a_file_that_stays_damaged_is_refused(server, source, tmp_path):
    published(server, source)
    server.trouble(TRAIN[0], times=-1, corrupt=True)
    wanted = sha256((source / TRAIN[0]).read_bytes())
    with pytest.raises(RunError, match=f"{TRAIN[0]} arrives damaged, again and again: its sha256 is .* says {wanted}"):
        hub.download("wildhoi", tmp_path / "out")
    assert is_empty(tmp_path / "out") and not (tmp_path / "out" / ".download" / TRAIN[0]).exists()


def test_a_kill_loses_no_finished_file(server, source, tmp_path):
    published(server, source)
    held = server.trouble(TRAIN[2], hold=threading.Event())
    code = "import sys, pathlib; from wildhoi import hub; hub.download('wildhoi', pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    worker = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")], env=environment)
    assert server.asked.acquire(timeout=60)
    wanted = set(read_folder(source)) - {TRAIN[2]}
    staged = tmp_path / "out" / ".download"
    while not wanted <= set(read_folder(staged)):
        assert worker.poll() is None
    worker.send_signal(signal.SIGKILL)
    worker.wait(60)
    held.hold.set()
    assert is_empty(tmp_path / "out")
    server.requests.clear()
    hub.download("wildhoi", tmp_path / "out")
    assert read_folder(tmp_path / "out") == read_folder(source)
    assert set(server.fetched()) - {"README.md"} == {TRAIN[2]}  # the card has no checksum to be known by


def test_the_user_may_stop_it(server, source, tmp_path):
    published(server, source)

    def enough(name, done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.download("wildhoi", tmp_path / "out", progress=enough)
    assert is_empty(tmp_path / "out")


@pytest.mark.parametrize("moved", [0, 3, 6])
def test_a_stop_while_files_move_leaves_no_half_folder(server, source, tmp_path, monkeypatch, moved):
    published(server, source)
    out, moves, replace = tmp_path / "out", [], Path.replace
    hub.download("wildhoi", out, objects=["tennis"])

    def stopped(path, target):
        if path == out / ".download" / target.relative_to(out):
            if len(moves) == moved:
                raise KeyboardInterrupt
            moves.append(path)
        return replace(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", stopped)
        hub.download("wildhoi", out, objects=["barbell"])
    assert is_empty(out)
    # what was begun is completed, though what is asked for next has no part in it
    hub.download("wildhoi", out, objects=["cello"])
    assert {path.relative_to(out).as_posix() for path in out.glob("samples/barbell/train-*")} in (set(), set(TRAIN))
    open_folder(out)


def test_a_full_disk_is_said_before_and_while(server, source, tmp_path, monkeypatch):
    published(server, source)
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
        with pytest.raises(RunError, match=r"GB are to come and .* GB free; make room"):
            hub.download("wildhoi", tmp_path / "out")
    fetch = downloading._fetch_once

    def full(remote, name, staging, meter):
        if name == TRAIN[1]:
            raise OSError(errno.ENOSPC, "No space left on device", "disk")
        fetch(remote, name, staging, meter)

    monkeypatch.setattr(downloading, "_fetch_once", full)
    with pytest.raises(RunError, match="wildhoi/wildhoi @ main: the disk is full at disk"):
        hub.download("wildhoi", tmp_path / "out")
    assert is_empty(tmp_path / "out")


# ---- hostile repositories ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../outside.json",
        "samples/../../outside.parquet",
        "samples\\barbell\\x.parquet",
        "C:/x.json",
        ".hub.json",
        "samples/.ssh/x.parquet",
        "samples/barbell/deep/x.parquet",
        "wildhoi.py",
        "objects/barbell/../../../x",
        "checksums.json",
        "samples/barbell/x.parquet\n",
        "",
    ],
)
def test_names_that_no_data_folder_has_are_refused(tmp_path, name):
    (tmp_path / "checksums.json").write_text(json.dumps({"dataset.json": "0" * 64, name: "0" * 64}))
    with pytest.raises(InputError, match=r"there: its .* which no data folder holds; refused"):
        contents.read_checksums(tmp_path / "checksums.json", "there")


def test_a_repository_that_names_other_places_writes_nothing(server, source, tmp_path):
    server.add(REPOSITORY, {**spoiled(source, **{"../outside.json": sha256(b"x")}), "../outside.json": b"x"})
    with pytest.raises(InputError, match=r"wildhoi/wildhoi @ main: .*'../outside.json'"):
        hub.download("wildhoi", tmp_path / "out")
    assert is_empty(tmp_path / "out") and {path.name for path in tmp_path.iterdir()} <= {"home", "out"}


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ({"README.md": b"x"}, InputError, "has no dataset.json"),
        ({"dataset.json": b"{}", "checksums.json": b"not json"}, InputError, "cannot be read as JSON"),
        ({"dataset.json": b"{}", "checksums.json": b"[]"}, InputError, "does not list dataset.json"),
        ({"dataset.json": b"{}", "checksums.json": b'{"dataset.json": 1}'}, InputError, "want a sha256"),
        ({"dataset.json": b"{}", "checksums.json": b""}, InputError, "empty or huge"),
    ],
)
def test_what_is_no_data_folder_is_refused(server, tmp_path, files, error, words):
    server.add(REPOSITORY, files)
    with pytest.raises(error, match=words):
        hub.download("wildhoi", tmp_path / "out")
    assert is_empty(tmp_path / "out")


def test_a_listed_file_that_is_not_there_is_said(server, source, tmp_path):
    server.add(REPOSITORY, spoiled(source, **{"samples/barbell/train-9.parquet": "0" * 64}))
    with pytest.raises(RunError, match=r"lacks samples/barbell/train-9.parquet"):
        hub.download("wildhoi", tmp_path / "out")


def test_sizes_and_numbers_are_bounded(server, source, tmp_path, monkeypatch):
    published(server, source)
    with monkeypatch.context() as patch:
        patch.setattr(downloading, "MAX_FILE", 20_000)
        with pytest.raises(InputError, match=r"train-00000-of-00003.parquet has 30004 bytes, at most 20000"):
            hub.download("wildhoi", tmp_path / "out")
    monkeypatch.setattr("wildhoi.hub.remote.MAX_FILES", 10)
    with pytest.raises(RunError, match="more than 10 files"):
        hub.download("wildhoi", tmp_path / "out")
    assert TRAIN[0] not in server.fetched()


# ---- publishing ----------------------------------------------------------------------------------------------------


@pytest.fixture
def login(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", server.WRITER)


def writes(server):
    return [line for line in server.requests if line.startswith(("POST", "PUT"))]


def test_what_is_pushed_is_what_is_downloaded(server, source, tmp_path, login):
    told = []
    done = hub.push(source, REPOSITORY, tag="v1", gate="manual", progress=lambda *step: told.append(step))
    assert done.commit == server.repositories[REPOSITORY].tags["v1"] == server.repositories[REPOSITORY].main
    assert (done.url, done.private, done.gate) == (hub.access_url(REPOSITORY), False, "manual")
    assert {change.name for change in done.sent} == set(read_folder(source)) and told[-1][1:] == (
        done.bytes,
        done.bytes,
    )
    assert json.dumps(done.to_dict())
    hub.download("wildhoi", tmp_path / "out", revision="v1")
    assert read_folder(tmp_path / "out") == read_folder(source)


def test_the_gate_stands_before_the_data_come(server, source, login):
    hub.push(source, REPOSITORY)
    words = ("repos/create", "settings", "lfs/objects", "commit/")
    firsts = [next(i for i, line in enumerate(server.requests) if word in line) for word in words]
    assert firsts == sorted(firsts) and server.repositories[REPOSITORY].gate == "auto"


def test_a_push_is_one_commit_and_a_second_is_none(server, source, login):
    first = hub.push(source)
    assert len(server.repositories[REPOSITORY].commits) == 2  # the empty one it begins with, and this
    again = hub.push(source, REPOSITORY, tag="v1")
    assert again.commit == first.commit == server.repositories[REPOSITORY].tags["v1"] and again.sent == ()
    assert hub.push(source, REPOSITORY, tag="v1").commit == first.commit


def test_a_push_deletes_what_the_folder_lacks(server, source, login, tmp_path):
    published(server, source)
    newer = make_folder(tmp_path / "newer", salt=b"newer")
    (newer / TEST).unlink()
    seal_folder(newer, name="wildhoi", body_model="open")
    done = hub.push(newer, REPOSITORY)
    what = {change.name: change.what for change in done.changes}
    assert what[TEST] == "deleted" and what[TRAIN[0]] == "changed" and what["lists/keyframes.json"] == "unchanged"
    held = dict(server.files(REPOSITORY))
    assert held.pop(".gitattributes") and held == read_folder(newer)
    assert server.files(REPOSITORY, "v1")[TEST] == (source / TEST).read_bytes()


def test_a_dry_run_touches_nothing(server, own, monkeypatch, tmp_path):
    assert {change.what for change in hub.push(own, REPOSITORY, dry_run=True).changes} == {"new"}
    assert not server.repositories and not writes(server)
    published(server, own)
    (own / "README.md").write_bytes(CARD + b"more")
    done = hub.push(own, REPOSITORY, dry_run=True, tag="v2")
    assert [change.name for change in done.sent] == ["README.md"] and done.commit is None
    assert done.bytes == len(CARD) + 4
    assert not writes(server) and list(server.repositories[REPOSITORY].tags) == ["v1"]


def test_hidden_files_stay_at_home(server, source, login, tmp_path):
    hub.push(source, REPOSITORY)
    hub.download("wildhoi", tmp_path / "out")
    (tmp_path / "out" / ".secret").write_text("token")
    (tmp_path / "out" / ".git").mkdir()
    (tmp_path / "out" / ".git" / "config").write_text("token")
    assert hub.push(tmp_path / "out", "lab/copy").commit
    assert not any(".secret" in name or ".git/" in name or ".hub" in name for name in server.files("lab/copy"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / TEST).write_bytes(b"other"), f"{TEST} are changed"),
        (lambda f: (f / TEST).unlink(), f"{TEST} are missing"),
        (
            lambda f: (f / "samples/cello").mkdir() or (f / "samples/cello/test-1.parquet").touch(),
            "cello.* are not listed",
        ),
        (lambda f: (f / "notes.docx").touch(), "notes.docx are no files of a data folder"),
        (lambda f: (f / "objects/barbell/x.ply").symlink_to("/etc/passwd"), "x.ply are links"),
        (lambda f: (f / "samples/cello").symlink_to("/etc"), "samples/cello are links"),
        (lambda f: (f / "README.md").unlink(), "README.md: no such file"),
        (lambda f: (f / "README.md").write_text("# no head"), "README.md: want a data set card"),
        (lambda f: (f / "README.md").write_text("---\nlicense: mit\n---\n"), "that lists configs"),
        (lambda f: (f / "checksums.json").unlink(), "checksums.json: no such file"),
        (lambda f: (f / "dataset.json").unlink(), "has no dataset.json"),
    ],
)
def test_a_folder_that_is_not_as_recorded_stays_at_home(server, own, login, spoil, words):
    spoil(own)
    with pytest.raises(InputError, match=words):
        hub.push(own, REPOSITORY)
    assert not server.requests


@pytest.mark.parametrize("name", ["behave", "behave-gt", "behave_30fps", "rhobin-behave"])
def test_what_may_not_be_passed_on_is_never_public(server, tmp_path, login, name):
    folder = make_folder(tmp_path / "behave", name=name)
    with pytest.raises(InputError, match=r"must not be public: .* licences? forbids? .*--private"):
        hub.push(folder, "lab/anything")
    server.add("lab/open", {})
    with pytest.raises(InputError, match="lab/open: is public already"):
        hub.push(folder, "lab/open", private=True)
    hub.push(folder, "lab/mine", private=True)
    hub.push(folder, "lab/mine", private=True)
    assert server.repositories["lab/mine"].private and "README.md" not in server.files("lab/open")
    assert set(pushing.NEVER_PUBLIC) == {"behave", "rhobin"}


def test_publishing_needs_a_login_that_may(server, own, monkeypatch):
    with pytest.raises(MissingAssetError, match=r"to publish, run `hf auth login` or set HF_TOKEN.*write access"):
        hub.push(own)
    assert not server.requests
    monkeypatch.setenv("HF_TOKEN", server.READER)
    with pytest.raises(MissingAssetError, match="your login may not do this"):
        hub.push(own, REPOSITORY)
    published(server, own)
    (own / "README.md").write_bytes(CARD + b"more")
    with pytest.raises(MissingAssetError, match="your login may not do this"):
        hub.push(own, REPOSITORY)


def test_a_tag_never_moves(server, source, login, tmp_path):
    first = published(server, source)
    newer = make_folder(tmp_path / "newer", salt=b"newer")
    for dry_run in (True, False):
        with pytest.raises(InputError, match=f"tag v1 stands for commit {first} already; choose another with --tag"):
            hub.push(newer, REPOSITORY, tag="v1", dry_run=dry_run)
    assert not writes(server)
    assert hub.push(newer, REPOSITORY, tag="v2").commit == server.repositories[REPOSITORY].tags["v2"]
    assert server.repositories[REPOSITORY].tags["v1"] == first


def test_what_someone_else_changed_meanwhile_is_not_overwritten(server, source, login, tmp_path):
    published(server, source)
    newer = make_folder(tmp_path / "newer", salt=b"newer")

    def meddle(name, done, total):
        if done == total:
            server.add(REPOSITORY, {"README.md": b"meddled"})

    with pytest.raises(RunError, match="someone else has changed it meanwhile"):
        hub.push(newer, REPOSITORY, progress=meddle)
    assert server.files(REPOSITORY)["README.md"] == b"meddled"


def test_a_push_that_broke_off_sends_the_rest(server, source, login, monkeypatch):
    monkeypatch.setattr(committing, "BATCH", 2)

    def enough(name, done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.push(source, REPOSITORY, progress=enough)
    assert set(server.files(REPOSITORY)) == {".gitattributes"}
    sent = [line for line in server.requests if line.startswith("PUT /lfs")]
    hub.push(source, REPOSITORY)
    all_sent = [line for line in server.requests if line.startswith("PUT /lfs")]
    assert sent and len(all_sent) == len(set(all_sent))
