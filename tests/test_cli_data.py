"""`wildhoi data` from a raw release to the Hub and back, as a user types it."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import body_files
import huggingface_hub.constants
import numpy as np
import pyarrow.parquet as pq
import pytest
from command import Outcome, run
from hub_server import HubServer, read_folder
from PIL import Image

import submissions
from wildhoi.dataset import find_data, load_annotations, load_samples
from wildhoi.submission.folder import read_submission

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub's uploads
OBJECT = "skateboard"
TEST = f"annotations/{OBJECT}/test-00000-of-00001.parquet"
KEY_FRAME = "Date01_Sub01_basketball/t0003.000/k1.color.jpg"
HIDDEN = {".conversion", ".download", ".hub.json"}


def wildhoi(*words) -> Outcome:
    """Run `wildhoi WORDS` where there is no `capfd` yet: in what several tests share."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, submissions.unchecked():
        from wildhoi.cli import main

        patch.setattr(sys, "argv", ["wildhoi", *map(str, words)])
        patch.setenv("COLUMNS", "120")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as exit:
                code = exit.code or 0
    return Outcome(int(code), out.getvalue(), err.getvalue())


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory):
    """SMPL-H files, a home without data or logins, and a cache of `datasets` of its own."""
    import datasets

    bodies, home = tmp_path_factory.mktemp("bodies"), tmp_path_factory.mktemp("home")
    body_files.write_smplh(bodies, pelvis_at_origin=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "WILDHOI_HUB_OWNER", "WILDHOI_DATA"):
            patch.delenv(name, raising=False)
        for name, value in {"WILDHOI_BODY_MODELS": bodies, "XDG_CACHE_HOME": home, "HF_HOME": home}.items():
            patch.setenv(name, str(value))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(home / "datasets"))
        datasets.disable_progress_bars()
        yield home


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("COLUMNS", "120")
    return lambda *words: run(monkeypatch, capfd, *words)


@pytest.fixture(scope="module")
def release(fixtures_dir):
    return fixtures_dir / "wildhoi_raw"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return tmp_path_factory.mktemp("converted")


@pytest.fixture(scope="module")
def video_data(release, places):
    """WildHOI's folder and what was said while it was made."""
    return places / "wild", wildhoi("data", "convert", "wildhoi", release, "--objects", OBJECT, "-o", places / "wild")


@pytest.fixture(scope="module")
def kinect_data(fixtures_dir, places):
    raw = fixtures_dir / "behave_raw"
    return places / "behave", wildhoi("data", "convert", "behave", raw, "-o", places / "behave")


@pytest.fixture(scope="module")
def challenge_data(fixtures_dir, places):
    raw = fixtures_dir / "rhobin" / "ref.pkl"
    return places / "rhobin", wildhoi("data", "convert", "rhobin", raw, "-o", places / "rhobin")


@pytest.fixture(scope="module", params=["video_data", "kinect_data", "challenge_data"])
def converted(request):
    """Each release in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def copy(video_data, tmp_path):
    """A data folder to spoil."""
    return Path(shutil.copytree(video_data[0], tmp_path / "copy"))


def refused(outcome, code, *words):
    assert outcome.code == code, outcome
    assert outcome.first.startswith("error: ") and all(word in outcome.first for word in words), outcome
    assert "Traceback" not in outcome.err and "defect of wildhoi" not in outcome.err and not outcome.out
    assert all(line.startswith(("error: ", "  error: ")) for line in outcome.err.splitlines()), outcome.err


def names_in(folder="."):
    """What lies in a folder."""
    return {path.name for path in Path(folder).iterdir()}


def rows_of(folder):
    """Rows by kind, object and split, counted from the files themselves."""
    found = {}
    for kind in ("samples", "annotations"):
        for path in (folder / kind).glob("*/*.parquet"):
            key = kind, path.parent.name, path.name.partition("-")[0]
            found[key] = found.get(key, 0) + pq.read_metadata(path).num_rows
    return found


# Every release: converted, described, verified


def test_a_conversion_says_counts_place_and_revision(converted):
    folder, outcome = converted
    assert outcome.code == 0, outcome
    where = f"every image is in {folder / 'conversion_report.json'}"
    assert outcome.err == f"wrote {folder}, revision {find_data(folder).revision}; {where}\n"
    names = names_in(folder / "objects")
    assert names and all(re.search(rf"^{name} .*\d", outcome.out, re.MULTILINE) for name in names)
    for fate, title in (("dropped", "left out"), ("incomplete", "kept without")):
        report = json.loads((folder / "conversion_report.json").read_text())
        reasons = {reason for entry in report["objects"].values() for reason in entry[fate]}
        found = re.findall(rf"^ +{title} [\d,]+: (.*?) *$", outcome.out, re.MULTILINE)
        assert set(found) == reasons


def test_a_folder_is_complete_and_keeps_nothing_of_the_work(converted):
    folder, _ = converted
    names = submissions.files_below(folder)
    assert {"README.md", "dataset.json", "checksums.json", "conversion_report.json", "frames.png"} <= names
    assert not HIDDEN & names_in(folder)
    assert any(name.startswith("annotations/") for name in names) and any(name.startswith("objects/") for name in names)


@pytest.mark.parametrize("width", [80, 120])
def test_info_counts_rows_and_fits_the_screen(converted, command, monkeypatch, width):
    folder, _ = converted
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.chdir(folder.parent)
    outcome = command("data", "info", f"./{folder.name}")
    assert outcome.code == 0 and not outcome.err
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= width and lines[0].endswith(f" at {folder.name}")
    (head,) = (number for number, line in enumerate(lines) if line.startswith("object "))
    body = [line for line in lines[head + 1 :] if line and not line.startswith(" ")]
    table = {line.split()[0]: line.split()[1:] for line in body if line.split()[0] in names_in(folder / "objects")}
    order = [(kind, split) for kind in ("samples", "annotations") for split in ("train", "test")]
    counts = rows_of(folder)
    assert {name for _, name, _ in counts} == table.keys()
    for name, cells in table.items():
        assert cells == [str(counts.get((kind, name, split), "-")) for kind, split in order]


def test_info_as_json_has_the_same_counts(converted, command):
    folder, _ = converted
    found = json.loads(command("data", "info", folder, "--json").out)
    printed = {
        (kind, entry["name"], split): entry[kind][split]
        for entry in found["objects"]
        for kind in ("samples", "annotations")
        for split in ("train", "test")
    }
    assert {key: number for key, number in printed.items() if number} == rows_of(folder)
    assert found["revision"] == find_data(folder).revision and found["bytes"] > 10_000


def test_what_was_converted_verifies(converted, command):
    folder, _ = converted
    outcome = command("data", "verify", folder)
    assert outcome.code == 0 and not outcome.out and "files are as recorded" in outcome.err
    report = json.loads(command("data", "verify", folder, "--json").out)
    assert report == {"path": str(folder), "revision": find_data(folder).revision, "problems": {}}


def test_truth_and_inputs_are_read_back(converted):
    folder, _ = converted
    for (kind, name, split), rows in rows_of(folder).items():
        with submissions.unchecked():
            found = (load_samples if kind == "samples" else load_annotations)(folder, split, [name])
        assert len(found) == rows and all(entry.object == name for entry in found)


def test_a_second_conversion_into_it_is_refused(video_data, release, command):
    folder, before = video_data[0], read_folder(video_data[0])
    outcome = command("data", "convert", "wildhoi", release, "--objects", OBJECT, "-o", folder)
    refused(outcome, 2, str(folder), "finished data folder", "choose another folder")
    assert read_folder(folder) == before


def test_a_conversion_as_json_is_its_report(release, command, video_data):
    words = ("--objects", OBJECT, "--splits", "test", "-o", "out", "--json")
    outcome = command("data", "convert", "wildhoi", release, *words)
    printed = json.loads(outcome.out)
    assert printed.pop("revision") == find_data("./out").revision and not outcome.err
    assert printed == json.loads(Path("out/conversion_report.json").read_text())
    assert printed["objects"][OBJECT]["samples"].keys() == {"test"}
    assert not list(Path("out").rglob("train-*"))


# Verify


def test_verify_names_each_file_that_is_not_as_recorded(copy, command):
    content = bytearray((copy / TEST).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / TEST).write_bytes(content)
    (copy / "frames.png").unlink()
    (copy / "extra.json").write_text("{}")
    outcome = command("data", "verify", copy)
    assert outcome.code == 2 and not outcome.out and "Traceback" not in outcome.err
    lines = outcome.err.splitlines()
    wanted = {TEST: "is not as recorded", "frames.png": "is gone", "extra.json": "is not recorded"}
    assert set(lines[:-1]) == {f"error: {name}: {problem}" for name, problem in wanted.items()}
    assert lines[-1].startswith(f"{copy}: 3 of ")
    outcome = command("data", "verify", copy, "--json")
    assert outcome.code == 2 and json.loads(outcome.out)["problems"] == wanted


def test_file_names_cannot_speak_to_the_terminal(copy, command):
    (copy / "a\x1b[31m\nb.json").write_text("{}")
    outcome = command("data", "verify", copy)
    assert outcome.code == 2 and "\x1b" not in outcome.err and "error: a [31m b.json: is not recorded" in outcome.err


def test_a_damaged_table_is_named_by_info_and_found_by_verify(copy, command):
    (copy / TEST).write_bytes(b"PAR1 and nothing")
    refused(command("data", "info", copy), 2, TEST, "wildhoi data verify")
    assert TEST in command("data", "verify", copy).err


@pytest.mark.parametrize("what", ["info", "verify"])
@pytest.mark.parametrize(
    ("place", "code", "said"),
    [("nowhere", 3, "wildhoi data list"), ("./empty", 2, "no data folder"), ("./file", 3, "not at hand")],
)
def test_what_is_no_data_folder(command, what, place, code, said):
    Path("empty").mkdir()
    Path("file").touch()
    refused(command("data", what, place), code, place.removeprefix("./"), said)


# List


@pytest.mark.parametrize("width", [80, 120])
def test_list_says_what_is_here_and_how_to_get_the_rest(command, monkeypatch, tmp_path, kinect_data, width):
    shutil.copytree(kinect_data[0], tmp_path / "data" / "behave")
    monkeypatch.setenv("WILDHOI_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", str(width))
    outcome = command("data", "list")
    assert outcome.code == 0 and max(map(len, outcome.out.splitlines())) <= width
    words = "".join(outcome.out.split())
    assert words.count("here") >= 2 and find_data(kinect_data[0]).revision in words and "…" not in words
    assert "wildhoi data download NAME" in outcome.err and "wildhoi data convert NAME" in outcome.err
    entries = {entry["name"]: entry for entry in json.loads(command("data", "list", "--json").out)}
    assert entries["behave"]["path"] == str(tmp_path / "data" / "behave") and entries["wildhoi"]["path"] is None


def test_list_survives_a_broken_folder(command, monkeypatch, tmp_path):
    (tmp_path / "data" / "wildhoi").mkdir(parents=True)
    (tmp_path / "data" / "wildhoi" / "dataset.json").write_text("[red]{")
    monkeypatch.setenv("WILDHOI_DATA", str(tmp_path / "data"))
    outcome = command("data", "list")
    assert outcome.code == 0 and "broken" in outcome.out and "Traceback" not in outcome.err


# Show


def is_picture(path):
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and min(pixels.shape[:2]) > 200 and pixels.std() > 10


def test_an_image_is_shown_with_the_open_body(video_data, command):
    truth = load_annotations(video_data[0])[0]
    outcome = command("data", "show", truth.image_id, "--data", video_data[0], "--body", "open")
    assert (outcome.code, outcome.err) == (0, f"wrote {truth.image_id}.png\n")
    assert is_picture(Path(f"{truth.image_id}.png")) and len(names_in()) == 1


def test_an_image_is_shown_with_the_body_of_its_data(kinect_data, command):
    truth = load_annotations(kinect_data[0], "train")[0]
    words = ("--data", kinect_data[0], "--split", "train", "-o", "new/picture.png")
    assert command("data", "show", truth.image_id, *words).code == 0
    assert is_picture(Path("new/picture.png"))


def test_what_cannot_be_shown(video_data, command):
    image = load_annotations(video_data[0])[0].image_id
    refused(command("data", "show", "nothing", "--data", video_data[0], "--body", "open"), 2, "'nothing'", "it has 0")
    refused(
        command("data", "show", image, "--data", video_data[0], "--body", "open", "--split", "train"), 2, image, "train"
    )
    refused(command("data", "show", image, "--data", video_data[0]), 3, "SMPLX_NEUTRAL", "--body open")
    refused(command("data", "show", image, "--data", "nowhere"), 3, "nowhere")
    assert not names_in()


# Scoring what was converted


def test_the_authors_results_are_scored_on_converted_truth(video_data, release, command):
    sources = release / "outputs" / "optim_with_contact_kps_flow"
    results = next(path for path in sources.rglob("*.pkl") if OBJECT in path.as_posix())
    assert command("submission", "convert", results, "-o", "sub", "--method", "flow").code == 0
    outcome = command("evaluate", "sub", "--data", video_data[0], "--body", "open", "--json")
    scores = json.loads(outcome.out)
    assert outcome.code == 0 and scores["overall"]["coverage"]["missing"] == 0
    refused(command("evaluate", "sub", "--data", video_data[0]), 3, "SMPLX_NEUTRAL", "--body open")


def test_truth_alone_is_enough_to_score(release, video_data, command):
    words = ("--objects", OBJECT, "--only", "annotations", "-o", "truth")
    assert command("data", "convert", "wildhoi", release, *words).code == 0
    assert set(rows_of(Path("truth"))) == {("annotations", OBJECT, "test")}
    assert (Path("truth") / TEST).read_bytes() == (video_data[0] / TEST).read_bytes()
    assert command("data", "verify", "./truth").code == 0
    assert command("submission", "init", "sub", "--data", "./truth").code == 0
    assert {r.image_id for r in read_submission(Path("sub")).rows} == {
        a.image_id for a in load_annotations(video_data[0])
    }


def test_results_of_the_challenge_are_scored_on_its_reference(challenge_data, fixtures_dir, command):
    folder = challenge_data[0]
    words = ("--from", "rhobin", "--data", folder, "-o", "mine", "--method", "m")
    outcome = command("submission", "convert", fixtures_dir / "rhobin" / "results.zip", *words)
    assert outcome.code == 0 and "reconstructions" in outcome.err, outcome
    assert command("submission", "validate", "mine", "--data", folder).code == 0
    assert {row.image_id for row in read_submission(Path("mine")).rows} == {
        a.image_id for a in load_annotations(folder)
    }
    refused(command("evaluate", "mine", "--data", folder), 2, "open@1")
    outcome = command("evaluate", "mine", "--data", folder, "--protocol", "behave@1", "--json")
    assert outcome.code == 0 and json.loads(outcome.out)["overall"]["coverage"]["missing"] == 0


# Interrupted, refused, wrong

KILLED = """
import os, signal, sys
from wildhoi.convert import pipeline
from wildhoi.cli import main

def dies(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(pipeline, sys.argv.pop(1), dies)
main()
"""


@pytest.mark.parametrize("step", ["read_notes", "seal_folder"])
def test_a_killed_conversion_goes_on_with_any_workers_and_ends_in_the_same_bytes(release, video_data, command, step):
    words = ("data", "convert", "wildhoi", str(release), "--objects", OBJECT, "-o", "out")
    killed = subprocess.run([sys.executable, "-c", KILLED, step, *words], capture_output=True, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    refused(command("data", "verify", "./out"), 2, "not finished", "the same command finishes it")
    refused(command(*words, "--fps", "10"), 2, "other settings")
    outcome = command(*words, "--workers", "2")
    assert outcome.code == 0 and outcome.out == video_data[1].out
    assert read_folder(Path("out")) == read_folder(video_data[0]) and not HIDDEN & names_in("out")


def test_strict_refuses_what_is_irregular_with_image_and_reason(release, video_data, command):
    words = ("data", "convert", "wildhoi", release, "--objects", OBJECT, "-o", "out", "--strict")
    report = json.loads((video_data[0] / "conversion_report.json").read_text())["objects"][OBJECT]
    outcome = command(*words)
    refused(outcome, 2, "irregular", "without --strict")
    said = re.findall(r"image_id '(\S+)', irregular: got (.*?), want", outcome.err)
    known = [
        (image, reason)
        for fate in ("dropped", "incomplete")
        for reason in report[fate]
        for image in report[fate][reason]
    ]
    assert said and set(said) <= set(known) and not Path("out/dataset.json").exists()


def test_key_frames_alone_are_converted_and_named(fixtures_dir, command):
    Path("list.txt").write_text(KEY_FRAME)
    words = ("data", "convert", "behave", fixtures_dir / "behave_raw", "-o", "out", "--keyframes", "list.txt")
    assert command(*words).code == 0
    listed = json.loads(Path("out/lists/keyframes.json").read_text())
    assert [a.image_id for a in load_annotations(Path("out"), "train")] == listed and len(listed) == 1
    assert json.loads(command("data", "info", "./out", "--json").out)["lists"] == ["keyframes", "split"]


def test_body_models_are_asked_for_by_name(fixtures_dir, command, monkeypatch, tmp_path):
    monkeypatch.setenv("WILDHOI_BODY_MODELS", str(tmp_path))
    outcome = command("data", "convert", "behave", fixtures_dir / "behave_raw", "-o", "out")
    refused(outcome, 3, "SMPLH_", "mano.is.tue.mpg.de")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("release", "raw", "words", "code", "said"),
    [
        ("wildhoi", "nowhere", (), 3, "nowhere"),
        ("wildhoi", "empty", (), 3, "empty"),
        ("wildhoi", "file", (), 3, "file"),
        ("wildhoi", "behave_raw", (), 3, "behave_raw"),
        ("wildhoi", "wildhoi_raw", ("--data", "empty"), 2, "empty"),
        ("wildhoi", "wildhoi_raw", ("--objects", "spoon"), 2, "'spoon' is unknown"),
        ("wildhoi", "wildhoi_raw", ("--objects", "cello"), 3, "has no cello"),
        ("wildhoi", "wildhoi_raw", ("--objects", "keyboard"), 2, "keyboard"),
        ("wildhoi", "wildhoi_raw", ("--fps", "7"), 2, "1, 2, 3, 5, 6, 10, 15, 30"),
        ("wildhoi", "wildhoi_raw", ("--fps", "0"), 2, "1, 2, 3, 5, 6, 10, 15, 30"),
        ("wildhoi", "wildhoi_raw", ("--splits", "val"), 2, "train, test"),
        ("wildhoi", "wildhoi_raw", ("--splits", ""), 2, "train, test"),
        ("wildhoi", "wildhoi_raw", ("--keyframes", "x", "--init", "y", "--fits", "30fps"), 2, "--keyframes"),
        ("wildhoi", "wildhoi_raw", ("--dataset", "icap"), 2, "--dataset"),
        ("behave", "wildhoi_raw", (), 3, "split.json"),
        ("behave", "file", (), 3, "split.json"),
        ("behave", "behave_raw", ("--splits", "val"), 2, "want train or test"),
        ("behave", "behave_raw", ("--keyframes", "nowhere.pkl"), 3, "nowhere.pkl"),
        ("behave", "behave_raw", ("--keyframes", "file"), 2, "file"),
        ("behave", "behave_raw", ("--init", "nowhere.parquet"), 3, "nowhere.parquet"),
        ("behave", "behave_raw", ("--fps", "10"), 2, "--fps"),
        ("behave", "behave_raw", ("--only", "annotations"), 2, "--only"),
        ("rhobin", "nowhere", (), 2, "nowhere"),
        ("rhobin", "empty", (), 2, "empty"),
        ("rhobin", "file", (), 2, "file"),
        ("rhobin", "rhobin/results.pkl", (), 2, "ref.pkl"),
        ("rhobin", "rhobin/results.zip", (), 2, "zip"),
        ("rhobin", "rhobin/ref.pkl", ("--dataset", "other"), 2, "behave, synz, icap, imhd"),
        ("rhobin", "rhobin/ref.pkl", ("--objects", "basketball"), 2, "--objects"),
        ("rhobin", "hostile/run_command.pkl", (), 2, "run_command.pkl"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_written(fixtures_dir, command, release, raw, words, code, said):
    Path("empty").mkdir()
    Path("file").write_text("not a release\n")
    source = raw if raw in ("nowhere", "empty", "file") else fixtures_dir / raw
    refused(command("data", "convert", release, source, "-o", "out", *words), code, said)
    assert names_in() == {"empty", "file"} and not names_in("empty")


@pytest.mark.parametrize("out", ["file", "file/below", "full"])
def test_places_that_cannot_be_written_are_refused_before_the_work(release, command, out):
    Path("file").write_text("mine")
    Path("full").mkdir()
    Path("full/mine").write_text("mine")
    refused(command("data", "convert", "wildhoi", release, "--objects", OBJECT, "-o", out), 2, out)
    assert Path("file").read_text() == Path("full/mine").read_text() == "mine" and names_in("full") == {"mine"}


def test_code_in_a_track_is_never_run(release, fixtures_dir, command, tmp_path):
    raw = Path(shutil.copytree(release, tmp_path / "raw"))
    track = next((raw / OBJECT / "hoi_tracking").iterdir())
    shutil.copy(fixtures_dir / "hostile" / "run_command.pkl", track)
    before = read_folder(tmp_path)
    outcome = command("data", "convert", "wildhoi", raw, "--objects", OBJECT, "-o", "out")
    refused(outcome, 2, track.name, "nothing was run")
    assert (
        read_folder(tmp_path).keys() - before.keys()
        == {name for name in read_folder(tmp_path) if name.startswith("work/out/")}
        and not Path("out/dataset.json").exists()
    )


# The Hub


@pytest.fixture(scope="module")
def server(surroundings):
    """A Hub, and an environment that knows no other."""
    with pytest.MonkeyPatch.context() as patch, HubServer() as running:
        for name, place in {"HF_TOKEN_PATH": "token", "HF_STORED_TOKENS_PATH": "tokens", "HF_HUB_CACHE": "hub"}.items():
            patch.setattr(huggingface_hub.constants, name, str(surroundings / place))
        patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        patch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture(scope="module")
def pushed(server, video_data):
    """The folder as the repository lab/boards, tagged v1, open to all who accept; and what push said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", server.WRITER)
        return wildhoi("data", "push", video_data[0], "--repo", "lab/boards", "--tag", "v1")


@pytest.fixture
def reader(server, pushed, monkeypatch):
    """Somebody who may read it."""
    monkeypatch.setenv("HF_TOKEN", server.READER)


def test_push_says_where_it_went_and_sends_the_folder(server, pushed, video_data):
    files = read_folder(video_data[0])
    assert pushed.code == 0, pushed
    assert pushed.err.startswith(f"pushed to {server.url}/datasets/lab/boards: {len(files)} files, ")
    assert pushed.err.endswith("gate auto, tag v1\n")
    sent = dict(server.files("lab/boards", "v1"))
    assert sent.pop(".gitattributes") and sent == files


def test_a_dry_run_lists_every_file_and_needs_no_login(server, video_data, command):
    before = len(server.repositories)
    outcome = command("data", "push", video_data[0], "--repo", "lab/other", "--dry-run")
    lines = outcome.err.splitlines()
    assert outcome.code == 0 and len(server.repositories) == before
    assert [line.split()[-1] for line in lines[:-1]] == sorted(read_folder(video_data[0]))
    assert lines[-1].startswith("would push to ")
    report = json.loads(command("data", "push", video_data[0], "--repo", "lab/other", "--dry-run", "--json").out)
    assert report["commit"] is None and report["gate"] == "auto"


def test_what_may_not_be_pushed_says_why(server, video_data, kinect_data, copy, command, monkeypatch):
    refused(command("data", "push", video_data[0], "--repo", "lab/x"), 3, "hf auth login", "HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", server.WRITER)
    refused(command("data", "push", kinect_data[0], "--repo", "lab/x"), 2, "must not be public", "--private")
    (copy / "frames.png").unlink()
    refused(command("data", "push", copy, "--repo", "lab/x"), 2, "frames.png")
    refused(command("data", "push", "nowhere", "--repo", "lab/x"), 3, "nowhere")
    assert "lab/x" not in server.repositories


def test_a_download_has_equal_bytes_and_a_second_fetches_nothing(reader, video_data, command):
    first = command("data", "download", "lab/boards", "--revision", "v1", "-o", "new")
    assert first.code == 0 and first.err.startswith("new: lab/boards at ") and "all verified" in first.err
    assert read_folder(Path("new")) == read_folder(video_data[0])
    assert command("data", "verify", "./new").code == 0
    again = json.loads(command("data", "download", "lab/boards", "--revision", "v1", "-o", "new", "--json").out)
    assert again["fetched"] == 0 and again["kept"] > 10
    samples = load_samples(Path("new"), "train")
    assert [s.image_id for s in samples] == [s.image_id for s in load_samples(video_data[0], "train")]


def test_a_part_of_it_is_a_data_folder_too(reader, video_data, command):
    words = ("--object", OBJECT, "--split", "test", "-o", "part")
    assert command("data", "download", "lab/boards", *words).code == 0
    assert not list(Path("part/samples").rglob("train-*"))
    assert (Path("part") / TEST).read_bytes() == (video_data[0] / TEST).read_bytes()
    assert find_data("./part").revision == find_data(video_data[0]).revision
    assert len(load_samples(Path("part"), "test")) == len(load_samples(video_data[0], "test"))
    refused(command("data", "download", "lab/boards", "--object", "spoon", "-o", "o"), 2, "spoon", OBJECT)
    refused(command("data", "download", "lab/boards", "--split", "val", "-o", "o"), 2, "val", "test, train")


def test_a_part_that_was_downloaded_verifies(reader, command):
    assert command("data", "download", "lab/boards", "--split", "test", "-o", "part").code == 0
    assert command("data", "verify", "./part").code == 0


@pytest.mark.parametrize(
    ("name", "who", "more", "said"),
    [
        ("lab/boards", None, (), ("gated", "not logged in", "accept", "hf auth login")),
        ("lab/boards", "STRANGER", (), ("gated", "no access", "/datasets/lab/boards")),
        ("lab/boards", "READER", ("--revision", "v9"), ("no such revision", "v1")),
        ("lab/closed", None, (), ("no such data set", "private", "hf auth login")),
        ("lab/closed", "STRANGER", (), ("no such data set", "private", "may not see it")),
        ("wildhoi", None, (), ("wildhoi/wildhoi", "wildhoi data convert wildhoi")),
        ("behave", "READER", (), ("wildhoi/behave", "wildhoi data convert behave")),
    ],
)
def test_what_cannot_be_downloaded_names_the_way(server, pushed, command, monkeypatch, name, who, more, said):
    server.add("lab/closed", {}, private=True)
    if who:
        monkeypatch.setenv("HF_TOKEN", getattr(server, who))
    refused(command("data", "download", name, "-o", "new", *more), 3, *said)
    assert not Path("new/dataset.json").exists()


def test_offline_what_is_here_is_enough_and_the_rest_is_explained(reader, command, monkeypatch):
    assert command("data", "download", "lab/boards", "-o", "new").code == 0
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert command("data", "download", "lab/boards", "-o", "new").code == 0
    refused(command("data", "download", "lab/boards", "-o", "other"), 3, "HF_HUB_OFFLINE", "unset it")


def test_without_out_a_download_is_found_by_its_name(reader, command, monkeypatch, tmp_path):
    monkeypatch.setenv("WILDHOI_DATA", str(tmp_path / "data"))
    assert command("data", "download", "lab/boards").code == 0
    assert json.loads(command("data", "info", "boards", "--json").out)["path"] == str(tmp_path / "data" / "boards")


READ = """
import json, sys
import datasets
from wildhoi.dataset import load_annotations, load_samples

datasets.disable_progress_bars()
name, config, folder = sys.argv[1:]
streamed = list(load_samples(name, "test", streaming=True, revision="v1"))
local = load_samples(folder, "test")
same = all((a.image == b.image).all() and a.image_id == b.image_id for a, b in zip(streamed, local, strict=True))
plain = datasets.load_dataset(name, config, revision="v1")
truth = datasets.load_dataset(name, config + "-annotations", revision="v1")
default = datasets.load_dataset(folder)
counts = [{split: len(rows) for split, rows in table.items()} for table in (plain, truth, default)]
print(json.dumps({"same": same, "counts": counts, "picture": str(plain["test"].features["image"]),
                  "read": [len(load_annotations(folder)), len(load_samples(name, "train", revision="v1"))]}))
"""


def test_the_hub_is_read_like_the_folder(server, pushed, video_data, surroundings):
    settings = {"HF_TOKEN": server.READER, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(surroundings / "reader")}
    line = [sys.executable, "-c", READ, "lab/boards", OBJECT, str(video_data[0])]
    done = subprocess.run(line, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found, counts = json.loads(done.stdout), rows_of(video_data[0])
    inputs = {split: counts["samples", OBJECT, split] for split in ("train", "test")}
    truth = {"test": counts["annotations", OBJECT, "test"]}
    assert found["same"] and found["counts"] == [inputs, truth, inputs] and "Image" in found["picture"]
    assert found["read"] == [truth["test"], inputs["train"]]


def test_an_option_that_names_nothing_is_not_left_out(command, fixtures_dir):
    refused(
        command("data", "convert", "wildhoi", fixtures_dir / "wildhoi_raw", "--objects", ",", "-o", "out"), 2, "','"
    )


def test_a_user_who_stops_is_told_how_it_goes_on(command, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr("wildhoi.catalogue.list_data_sets", stop)
    outcome = command("data", "list")
    assert outcome.code == 130 and "same command" in outcome.err and "Traceback" not in outcome.err
