import json
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from command import run

import submissions
from evaluation.protocol import FOLDER
from wildhoi import __version__
from wildhoi.dataset import find_data, load_annotations
from wildhoi.schema import Failure
from wildhoi.submission.defects import Defect, DefectError
from wildhoi.submission.folder import read_submission
from wildhoi.workflows import SAMPLE_SUBMISSIONS

COMMANDS = [
    (),
    ("doctor",),
    ("demo",),
    ("evaluate",),
    ("occlusion",),
    ("group",),
    ("run",),
    ("show",),
    ("reproduce",),
    ("train",),
    ("ablate",),
    ("compare",),
    ("rescore",),
    ("methods",),
    ("methods", "list"),
    ("methods", "info"),
    ("data",),
    ("data", "list"),
    ("data", "info"),
    ("data", "verify"),
    ("data", "show"),
    ("data", "sheet"),
    ("data", "convert"),
    ("data", "make"),
    ("data", "download"),
    ("data", "push"),
    ("submission",),
    ("submission", "init"),
    ("submission", "validate"),
    ("submission", "convert"),
    ("submission", "merge"),
    ("submission", "export"),
    ("submission", "push"),
    ("leaderboard",),
    ("leaderboard", "show"),
    ("leaderboard", "build"),
    ("leaderboard", "check"),
    ("leaderboard", "verify"),
    ("study",),
    ("study", "make"),
    ("study", "score"),
    ("body",),
    ("body", "info"),
    ("body", "convert"),
]
HEAVY = (
    "torch",
    "smplx",
    "scipy.spatial",
    "trimesh",
    "igl",
    "cv2",
    "datasets",
    "huggingface_hub",
    "matplotlib",
    "jinja2",
)


@pytest.fixture()
def command(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WILDHOI_DATA", raising=False)
    monkeypatch.delenv("WILDHOI_BODY_MODELS", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    return lambda *words: run(monkeypatch, capfd, *words)


@pytest.fixture()
def one_image(tmp_path):
    """A data folder of one image in open parameters, and a submission that has it right."""
    data = submissions.make_data(tmp_path / "data ü", ["tennis"], 1, body_model="open", name="tiny")
    records = [submissions.as_reconstruction(a) for a in load_annotations(data)]
    manifest = replace(submissions.MANIFEST_ROW, dataset="tiny", revision=data.revision_of("test"))
    submissions.make_submission(tmp_path / "a sub", records, manifest)
    return "a sub", "data ü"


def refused(outcome, code, *words):
    assert outcome.code == code, outcome
    assert outcome.first.startswith("error: ") and all(word in outcome.first for word in words), outcome.first
    assert "Traceback" not in outcome.err and len(outcome.err.splitlines()) <= 21


def python(code, cwd, *words):
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


# Help, and what it costs


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "wildhoi")
def test_help_of_every_command(command, words):
    outcome = command(*words, "--help")
    assert outcome.code == 0 and "Usage: wildhoi" in outcome.out and not outcome.err


def test_every_command_is_tested_here(command):
    from typer.main import get_command

    from wildhoi.cli import app

    root = get_command(app)
    found = {()} | {(name,) for name in root.commands}
    found |= {(name, sub) for name, group in root.commands.items() for sub in getattr(group, "commands", ())}
    assert found == set(COMMANDS)


LIGHT = """
import sys, wildhoi.cli
sys.argv = ["wildhoi", *sys.argv[1:]]
try:
    wildhoi.cli.main()
except SystemExit as exit:
    code = exit.code or 0
else:
    code = 0
print("LOADED", code, *(name for name in %r if name in sys.modules))
"""


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("evaluate", "--help"),
        ("run", "--help"),
        ("submission", "validate", "sub", "--data", "open-sample"),
    ],
    ids=["help", "help of evaluate", "help of run", "validate"],
)
def test_light_commands_import_nothing_heavy(tmp_path, words):
    truth = [Failure(a.image_id, "x") for a in load_annotations(find_data("open-sample"))]
    submissions.make_submission(tmp_path / "sub", truth)
    start = time.perf_counter()
    _, out, err = python(LIGHT % (HEAVY,), tmp_path, *words)
    assert out.splitlines()[-1] == "LOADED 0", (out, err)
    assert time.perf_counter() - start < 10


def test_data_convert_imports_no_torch(tmp_path, fixtures_dir):
    raw = fixtures_dir / "wildhoi_raw"
    words = ("data", "convert", "wildhoi", str(raw), "--only", "annotations", "--objects", "barbell", "-o", "out")
    _, out, err = python(LIGHT % (("torch", "smplx"),), tmp_path, *words)
    assert out.splitlines()[-1] == "LOADED 0", (out, err)


def test_the_version(command):
    assert command("--version").out == f"wildhoi {__version__}\n"


# Doctor


def test_doctor(command):
    outcome = command("doctor")
    assert outcome.code == 0 and "body: open" in outcome.out and "smpl-x.is.tue.mpg.de" in outcome.out


def test_doctor_as_json(command):
    findings = json.loads(command("doctor", "--json").out)
    assert {"wildhoi", "torch", "device", "body: open", "data: open-sample"} <= {f["what"] for f in findings}
    assert {f["status"] for f in findings} <= {"ok", "optional", "missing"}


def test_body_info(command):
    findings = json.loads(command("body", "info", "--json").out)
    assert findings[0]["what"] == "body: open" and findings[0]["status"] == "ok"


# Submissions


def test_a_started_submission_says_so_as_json(command):
    assert json.loads(command("submission", "init", "new", "--json").out) == {"written": "new", "rows": 24}


def test_a_converted_submission_says_so_as_json(command, fixtures_dir):
    source = fixtures_dir / "hostile" / "extra_key.pkl"
    outcome = command("submission", "convert", source, "-o", "out", "--method", "m", "--json")
    done = json.loads(outcome.out)
    assert (done["written"], done["files"], done["failures"]) == ("out", 1, 0) and not outcome.err
    assert done["reconstructions"] == len(read_submission(Path("out")).rows)
    assert any("extra-key" in warning for warning in done["warnings"])


def test_a_started_submission_is_valid(command):
    assert command("submission", "init", "new/sub", "--method", "méthode").code == 0
    outcome = command("submission", "validate", "new/sub", "--data", "open-sample")
    assert outcome.code == 0 and "valid, 24 rows" in outcome.err
    assert read_submission(Path("new/sub")).manifest.method == "méthode"
    refused(command("submission", "init", "new/sub"), 2, "not empty")
    refused(command("submission", "init", "new/sub/submission.yaml"), 2)
    submissions.make_data(Path("test-only"), ["tennis"], 1)
    refused(command("submission", "init", "other", "--data", "test-only", "--split", "train"), 2, "train")
    refused(command("submission", "init", "other", "--data", "nowhere"), 3, "nowhere")
    assert not Path("other").exists()


def test_validate_lists_every_defect(command, tmp_path):
    table = submissions.frame()
    table.loc[1, "object_scale"], table.loc[2, "status"], table.loc[3, "image_id"] = -1.0, "\x1b[31m[b]", "a\x1b[0mb"
    submissions.spoil(tmp_path / "sub", table)
    outcome = command("submission", "validate", "sub")
    assert outcome.code == 2 and all(word in outcome.out for word in ("object-scale", "status", "image-id"))
    assert "\x1b" not in outcome.out + outcome.err and "3 errors" in outcome.err
    report = json.loads(command("submission", "validate", "sub", "--json").out)
    assert report["valid"] is False
    assert [(d["code"], d["row"]) for d in report["defects"]] == [("object-scale", 1), ("status", 2), ("image-id", 3)]


def test_validate_of_thousands_of_defects_is_readable_and_quick(command, tmp_path):
    records = [submissions.reconstruction(f"{i:06d}") for i in range(3000)]
    table = submissions.frame(records).assign(object_scale=-1.0)
    submissions.spoil(tmp_path / "sub", table)
    start = time.perf_counter()
    outcome = command("submission", "validate", "sub")
    assert outcome.code == 2 and "and 2800 more" in outcome.err and "3000 errors" in outcome.err
    assert time.perf_counter() - start < 5
    assert len(json.loads(command("submission", "validate", "sub", "--json").out)["defects"]) == 3000


@pytest.mark.parametrize("place", ["nowhere", "file", "empty"])
def test_validate_of_what_is_no_submission(command, tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    outcome = command("submission", "validate", place)
    assert outcome.code == 2 and "not valid" in outcome.err


# Evaluate


def test_evaluate_prints_a_table_and_writes_beside_the_submission(command, one_image):
    sub, data = one_image
    outcome = command("evaluate", sub, "--data", data, "--protocol", "open@1")
    assert outcome.code == 0, outcome
    assert "tennis" in outcome.out and "UNOFFICIAL" in outcome.out and "wrote" in outcome.err
    names = {"submission.yaml", "predictions.parquet", "scores.json", "per_image.parquet"}
    assert submissions.files_below(Path(sub)) == names


def test_evaluate_as_json_is_what_it_writes(command, one_image):
    sub, data = one_image
    outcome = command("evaluate", sub, "--data", data, "--protocol", "open@1", "--json", "-o", "new/out")
    assert json.loads(outcome.out) == json.loads(Path("new/out/scores.json").read_text())
    assert submissions.files_below(Path(sub)) == {"submission.yaml", "predictions.parquet"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--data", "nowhere"), 3, "nowhere"),
        (("--data", "./a sub"), 2, "no data folder"),
        (("--objects", "spoon"), 2, "spoon"),
        (("--protocol", "none@1"), 2, "none@1"),
        (("--protocol", "absent.toml"), 2, "absent.toml"),
        (("--protocol", "wildhoi@1"), 2, "smplx"),
        (("--body", "smplx"), 2, "--body smplx"),
        (("--device", "cuda:77"), 2, "cuda:77"),
        (("--device", "abacus"), 2, "abacus"),
        (("-o", "a sub/submission.yaml"), 2, "no writable folder"),
    ],
)
def test_evaluate_refuses_in_one_line(command, one_image, words, code, said):
    sub, data = one_image
    before = submissions.files_below(Path())
    chosen = () if "--protocol" in words else ("--protocol", "open@1")
    chosen += () if "--data" in words else ("--data", data)
    refused(command("evaluate", sub, *chosen, *words), code, said)
    assert submissions.files_below(Path()) == before


def test_a_data_set_that_is_not_at_hand_names_the_way(command, tmp_path):
    submissions.make_submission(tmp_path / "sub", None, replace(submissions.MANIFEST_ROW, dataset="wildhoi"))
    refused(command("evaluate", "sub"), 3, "wildhoi data convert")


def test_a_data_set_without_a_protocol_asks_for_one(command, one_image):
    sub, data = one_image
    refused(command("evaluate", sub, "--data", data), 2, "tiny", "open@1")


@pytest.mark.parametrize("content", ["", "id = 3", "[recalls", "\xff", "id = nan\n", "points = -1"])
def test_a_broken_protocol_is_refused(command, one_image, content):
    sub, data = one_image
    Path("own.toml").write_bytes(content.encode("latin1"))
    refused(command("evaluate", sub, "--data", data, "--protocol", "own.toml"), 2, "own.toml")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("points", '"x"'),
        ("points", "0"),
        ("points", "400000000"),
        ("points", "true"),
        ("seed", "nan"),
        ("seed", "1.5"),
        ("min_visible", "2"),
        ("contact_distance", "-1"),
        ("contact_distance", "nan"),
        ("datasets", '"open"'),
        ("metrics", "[3]"),
        ("headline", '["beauty"]'),
        ("id", '"../x"'),
        ("image_list", '"../../secret"'),
        ("recalls.mssd", "3"),
        ("recalls.mssd", '{metric = "beauty", unit = "cm", thresholds = [1]}'),
        ("recalls.mssd", '{metric = "mssd", unit = "cm", thresholds = "all"}'),
        ("recalls.mssd", '{metric = "mssd", unit = "cm"}'),
    ],
)
def test_a_protocol_with_a_wrong_value_is_refused(command, one_image, field, value):
    sub, data = one_image
    own = tomllib.loads((FOLDER / "open@1.toml").read_text())
    own["recalls"] = {"mssd": own["recalls"]["mssd"]}
    plain = {name: entry for name, entry in own.items() if not isinstance(entry, dict) and name != field}
    lines = [f"{name} = {json.dumps(entry)}" for name, entry in plain.items()]
    if not field.startswith("recalls"):
        recall = own["recalls"]["mssd"]
        lines.append(f'recalls.mssd = {{metric = "mssd", unit = "cm", thresholds = {recall["thresholds"]}}}')
    Path("own.toml").write_text("\n".join([*lines, f"{field} = {value}"]))
    refused(command("evaluate", sub, "--data", data, "--protocol", "own.toml"), 2, "own.toml", field)


@pytest.mark.parametrize("place", ["nowhere", "a sub/submission.yaml", "empty"])
def test_evaluate_of_what_is_no_submission(command, one_image, place):
    Path("empty").mkdir()
    refused(command("evaluate", place), 2, place)


def test_incomplete_and_strict(command, tmp_path):
    truth = load_annotations(find_data("open-sample"))
    records = [Failure(a.image_id, "x") for a in truth[:-1]]
    submissions.make_submission(tmp_path / "sub", records)
    refused(command("evaluate", "sub", "--strict"), 2, "incomplete")
    assert command("evaluate", "sub").code == 0
    assert json.loads(Path("sub/scores.json").read_text())["overall"]["coverage"]["missing"] == 1


@pytest.mark.parametrize(
    "words", [("nonsense",), ("evaluate",), ("evaluate", "a", "b"), ("evaluate", "x", "--workers", "0"), ("--colour",)]
)
def test_misused_commands_exit_with_two_and_a_hint(command, words):
    outcome = command(*words)
    assert outcome.code == 2 and "Usage: wildhoi" in outcome.err and "Traceback" not in outcome.err


def test_raw_data_that_is_not_there(command, tmp_path):
    refused(
        command("data", "convert", "wildhoi", "nowhere", "--only", "annotations", "-o", "out"),
        3,
        "nowhere: does not exist",
    )
    assert not Path("out").exists()


def test_every_defect_is_said_once_whatever_comes_first(command, monkeypatch):
    found = [Defect("extra", "x", "y", "z", severity="warning"), Defect("first", "x", "y", "z")]
    found.append(Defect("second", "x", "y", "z"))

    def fail(*_):
        raise DefectError("file", found)

    monkeypatch.setattr("wildhoi.doctor.examine", fail)
    outcome = command("doctor")
    refused(outcome, 2, "first")
    assert [sum(f"{d.code}:" in line for line in outcome.err.splitlines()) for d in found] == [1, 1, 1]


def test_a_body_file_that_is_none(command, tmp_path):
    (tmp_path / "x.pkl").write_bytes(b"not a pickle")
    refused(command("body", "convert", "x.pkl", "out.npz"), 2, "x.pkl")
    assert not Path("out.npz").exists()


# Leaderboard


def test_leaderboard_forms(command, tmp_path):
    truth = load_annotations(find_data("open-sample"))
    records = [submissions.as_reconstruction(truth[0]), *(Failure(a.image_id, "x") for a in truth[1:])]
    submissions.make_submission(tmp_path / "subs" / "one", records)
    assert command("evaluate", "subs/one").code == 0
    for form in ("table", "markdown", "csv", "latex", "json"):
        outcome = command("leaderboard", "show", "subs", "--format", form)
        assert outcome.code == 0 and "made up" in " ".join(outcome.out.split()), (form, outcome)
    json.loads(command("leaderboard", "show", "subs", "--format", "json").out)
    assert command("leaderboard", "build", "subs", "-o", "board").code == 0
    assert {"LEADERBOARD.md"} < submissions.files_below(tmp_path / "board")


def test_leaderboard_of_a_broken_score_file(command, tmp_path):
    (tmp_path / "subs" / "one").mkdir(parents=True)
    (tmp_path / "subs" / "one" / "scores.json").write_text("{}")
    outcome = command("leaderboard", "show", "subs")
    assert "one/scores.json" in outcome.out + outcome.err and "Traceback" not in outcome.err


# A process of its own


def test_the_real_process_says_one_line_and_the_code(tmp_path):
    code = "from wildhoi.cli import main; main()"
    status, out, err = python(code, tmp_path, "evaluate", "nowhere")
    assert (status, out) == (2, "") and err.count("\n") == 1 and err.startswith("error: nowhere")
    status, _, err = python(
        code, tmp_path, "evaluate", str(SAMPLE_SUBMISSIONS / "sample-noise-small"), "--data", "gone"
    )
    assert status == 3 and err.count("\n") == 1


def test_the_package_runs_as_a_module(tmp_path):
    line = [sys.executable, "-m", "wildhoi", "--version"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"wildhoi {__version__}\n")


def test_what_stops_it_while_it_is_read_is_no_error(tmp_path):
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")  # found first
    assert python("from wildhoi.__main__ import main; main()", tmp_path) == (130, "", "")


def test_a_closed_pipe_is_no_error(tmp_path):
    line = f"{sys.executable} -c 'from wildhoi.cli import main; main()' leaderboard show --format json | head -c 1"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr and "Error" not in done.stderr
