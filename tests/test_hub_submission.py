"""Submissions on a Hub of our own: what is exported, what is pushed, and what never leaves."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from command import run
from hub_server import own_hub

import submissions
from evaluation.exporting import export_scores, read_evaluation
from evaluation.publishing import FILES, prepare
from evaluation.scores import PER_IMAGE, SCORES
from wildhoi import hub
from wildhoi.errors import InputError, MissingAssetError, RunError
from wildhoi.hub import publishing
from wildhoi.hub.results import RESULTS_FILE
from wildhoi.submission.folder import PREDICTIONS, read_submission

COMMITTED = Path(__file__).parents[1] / "submissions" / "open" / "isolation"
REPOSITORY = "me/my-method"
MODEL = f"models/{REPOSITORY}"
SENT = {*FILES, "README.md", RESULTS_FILE}
pytestmark = [
    pytest.mark.filterwarnings("error:It seems that you are about to commit"),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # of huggingface_hub's uploads
]


@pytest.fixture(autouse=True)
def server(tmp_path, monkeypatch):
    with own_hub(tmp_path, monkeypatch, page=7) as running:
        yield running


@pytest.fixture
def login(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", server.WRITER)


@pytest.fixture
def mine(tmp_path):
    """A scored submission, in a run folder with more in it."""
    shutil.copytree(COMMITTED, tmp_path / "mine")
    (tmp_path / "mine" / "state").mkdir()
    (tmp_path / "mine" / "state" / "secret.json").write_text("{}")
    (tmp_path / "mine" / "run.jsonl").write_text('{"host": "of mine"}\n')
    (tmp_path / "mine" / "run.json").write_text("{}")
    (tmp_path / "mine" / "notes.txt").write_text("to myself")
    return tmp_path / "mine"


@pytest.fixture
def command(monkeypatch, capfd):
    return lambda *words: run(monkeypatch, capfd, *words)


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def push(folder, **settings):
    return hub.push_files(prepare(read_submission(folder)), REPOSITORY, "isolation on open", **settings)


def own_files(server):
    return {name: content for name, content in server.files(MODEL).items() if name != ".gitattributes"}


def writes(server):
    return [line for line in server.requests if line.startswith(("POST", "PUT"))]


# Export


def test_results_are_the_scores_at_full_precision(mine):
    scores = json.loads((mine / SCORES).read_text())
    entries = {entry["dataset"]["task_id"]: entry for entry in yaml.safe_load(export_scores(mine, "eval-results"))}
    for name in scores["headline"]:
        assert entries[f"open_small_1_{name}"]["value"] == scores["overall"]["metrics"][name]["mean"]
    for name, curve in scores["overall"]["recalls"].items():
        assert entries[f"open_small_1_recall_{name}"]["value"] == pytest.approx(100 * curve["average"], abs=1e-9)
    assert len(entries) == len(scores["headline"]) + len(scores["overall"]["recalls"])
    for entry in entries.values():
        assert (entry["dataset"]["id"], entry["dataset"]["revision"]) == ("wildhoi/open", scores["dataset"]["revision"])
        assert f"open-small@1 ({scores['protocol']['hash']})" in entry["notes"]
        assert scores["submission"]["sha256"] in entry["notes"] and "200 of 200 images" in entry["notes"]


def test_both_forms_have_the_same_numbers(mine):
    (index,) = yaml.safe_load(export_scores(mine, "model-index"))["model-index"]
    (result,) = index["results"]
    entries = yaml.safe_load(export_scores(mine, "eval-results"))
    assert index["name"] == "isolation" and result["dataset"]["type"] == "wildhoi/open"
    assert [metric["value"] for metric in result["metrics"]] == [entry["value"] for entry in entries]
    assert result["dataset"]["revision"] == entries[0]["dataset"]["revision"]


def test_unofficial_scores_are_exported_only_where_asked_for_and_say_so(mine):
    edit(mine / SCORES, lambda scores: scores.update(official=False, unofficial_because=["computed on\x1b cuda"]))
    for form in ("eval-results", "model-index"):
        with pytest.raises(InputError, match=r"not official \(computed on. cuda\); --unofficial"):
            export_scores(mine, form)
        assert "unofficial: computed on" in export_scores(mine, form, unofficial=True)


def test_predictions_that_have_changed_are_not_official(mine):
    (mine / PREDICTIONS).write_bytes(b"other")
    with pytest.raises(InputError, match="has changed since it was scored"):
        export_scores(mine, "eval-results")


@pytest.mark.parametrize(
    "method",
    ["- a: [b]", "x: &a *a", "!!python/object:os.system x", "\x1b[31m\nlicense: mit", "---\n", "%", '"', "1e5"],
)
def test_a_hostile_name_stays_a_text(mine, method):
    edit(mine / SCORES, lambda scores: scores["submission"].update(method=method))
    for form in ("eval-results", "model-index"):
        text = export_scores(mine, form)
        assert yaml.safe_load(text) and "\x1b" not in text
    (index,) = yaml.safe_load(export_scores(mine, "model-index"))["model-index"]
    assert isinstance(index["name"], str) and "\n" not in index["name"]
    head = yaml.safe_load(prepare(read_submission(mine))["README.md"].decode().split("\n---\n")[0])
    assert set(head) == {"datasets", "model-index", "pipeline_tag", "tags"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s["overall"]["recalls"]["mssd"].update(average=2), "recall 'mssd' is no curve"),
        (lambda s: s["overall"]["recalls"]["mssd"].update(average="1"), "recall 'mssd' is no curve"),
        (lambda s: s["overall"]["recalls"]["mssd"].update(metric=["x"]), "recall 'mssd' is no curve"),
        (lambda s: s["overall"]["metrics"]["translation"].update(mean="1"), "malformed"),
        (lambda s: s["dataset"].update(name="../x"), "no repository"),
    ],
)
def test_damaged_scores_are_refused(mine, change, words):
    edit(mine / SCORES, change)
    with pytest.raises(InputError, match=words):
        export_scores(mine, "eval-results")


def test_the_command_prints_or_writes(command, mine, tmp_path):
    done = command("submission", "export", mine)
    assert done.code == 0 and done.out == export_scores(mine, "eval-results") and not done.err
    target = tmp_path / ".eval_results" / "wildhoi.yaml"
    assert command("submission", "export", mine, "--format", "model-index", "-o", target).out == ""
    assert target.read_text() == export_scores(mine, "model-index")
    (mine / SCORES).unlink()
    assert "wildhoi evaluate" in command("submission", "export", mine).first


# Push


def test_a_push_is_one_commit_of_the_four_files_a_card_and_the_results(server, mine, login):
    done = push(mine)
    repository = server.repositories[MODEL]
    assert len(repository.commits) == 2 and done.commit == repository.main  # the empty one it begins with, and this
    held = own_files(server)
    assert set(held) == SENT == {change.name for change in done.sent}
    assert all(held[name] == (mine / name).read_bytes() for name in FILES)
    assert held[RESULTS_FILE].decode() == export_scores(mine, "eval-results")
    assert done.url == f"{server.url}/{REPOSITORY}" and json.dumps(done.to_dict()) and not done.private
    submissions_of_it = read_evaluation(mine)
    card = held["README.md"].decode()
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["model-index"] == yaml.safe_load(export_scores(mine, "model-index"))["model-index"]
    assert publishing.MADE in card and submissions_of_it.method in card and "open-small@1" in card


def test_nothing_else_of_the_folder_leaves(server, mine, login):
    push(mine)
    assert not any(b"of mine" in content or b"myself" in content for content in own_files(server).values())
    files = prepare(read_submission(mine), diary=True)
    assert set(files) == SENT | {"run.jsonl"}
    (mine / "run.jsonl").unlink()
    with pytest.raises(InputError, match=r"no run\.jsonl"):
        prepare(read_submission(mine), diary=True)


def test_a_second_push_sends_nothing_and_a_third_what_changed(server, mine, login):
    first = push(mine)
    again = push(mine)
    assert (again.commit, again.sent) == (first.commit, ()) and len(server.repositories[MODEL].commits) == 2
    with (mine / "submission.yaml").open("a") as stream:
        stream.write("# more\n")
    assert [change.name for change in push(mine).sent] == ["submission.yaml"]


def test_what_is_there_already_stays(server, mine, login):
    weights, card = b"weights", b"---\nlicense: mit\n---\n# Mine\n"
    server.add(MODEL, {"model.safetensors": weights, "README.md": card})
    done = push(mine)
    assert done.kept == ("README.md",) and {change.what for change in done.changes} == {"new"}
    assert own_files(server)["README.md"] == card and own_files(server)["model.safetensors"] == weights
    assert set(own_files(server)) == SENT | {"model.safetensors"}


def test_a_pull_request_leaves_main_and_needs_no_right_to_write(server, mine, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", server.STRANGER)
    with pytest.raises(MissingAssetError, match="without --create-pr it is made"):
        push(mine, create_pr=True)
    first = server.add(MODEL, {"README.md": b"# Theirs\n"})
    with pytest.raises(MissingAssetError, match="your login may not do this"):
        push(mine)
    done = push(mine, create_pr=True)
    repository = server.repositories[MODEL]
    assert repository.main == first and repository.pulls == [done.commit]
    assert done.pull_request == f"{server.url}/{REPOSITORY}/discussions/1"
    assert set(repository.commits[done.commit]) - {".gitattributes"} == SENT


def test_a_dry_run_asks_and_changes_nothing(server, mine):
    done = push(mine, dry_run=True, private=True)
    assert done.commit is None and done.private and {change.name for change in done.sent} == SENT
    assert not writes(server) and not server.repositories


def test_private_is_kept(server, mine, login):
    assert push(mine, private=True).private and server.repositories[MODEL].private
    server.add(MODEL, {}, private=False)
    with pytest.raises(InputError, match="is public already"):
        push(mine, private=True)


def test_nobody_logged_in_no_right_no_line_and_another_hand(server, mine, monkeypatch):
    with pytest.raises(MissingAssetError, match="to publish, run `hf auth login`"):
        push(mine)
    assert not server.requests
    monkeypatch.setenv("HF_TOKEN", server.READER)
    with pytest.raises(MissingAssetError, match="your login may not do this"):
        push(mine)
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    with pytest.raises(MissingAssetError, match="does not know your token"):
        push(mine)
    monkeypatch.setenv("HF_TOKEN", server.WRITER)
    push(mine)
    (mine / "submission.yaml").write_text((mine / "submission.yaml").read_text() + "# more\n")

    def meddle(name, done, total):
        server.add(MODEL, {"README.md": b"meddled"})

    with pytest.raises(RunError, match="someone else has changed it meanwhile"):
        push(mine, progress=meddle)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RunError, match="cannot be reached"):
        push(mine)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MissingAssetError, match="HF_HUB_OFFLINE forbids it"):
        push(mine)


@pytest.mark.parametrize("name", ["my-method", "a/b/c", "../x", "a b/c"])
def test_what_is_no_repository_is_refused(server, mine, login, name):
    with pytest.raises(InputError, match="OWNER/NAME"):
        hub.push_files(prepare(read_submission(mine)), name, "x")
    assert not server.requests


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / SCORES).unlink(), r"no scores\.json in it; `wildhoi evaluate"),
        (lambda f: (f / PER_IMAGE).unlink(), r"no per_image\.parquet in it"),
        (lambda f: (f / PER_IMAGE).write_bytes(b"PAR1"), "not a readable Parquet"),
        (lambda f: edit(f / SCORES, lambda s: s["submission"].update(sha256="0" * 64)), "of other predictions"),
        (lambda f: (f / SCORES).rename(f / "x.json") and (f / SCORES).symlink_to(f / "x.json"), "is a link"),
    ],
)
def test_what_is_not_scored_as_it_is_stays_at_home(mine, spoil, words):
    spoil(mine)
    with pytest.raises(InputError, match=words):
        prepare(read_submission(mine))


def test_unofficial_scores_are_no_results_but_may_be_published(mine):
    edit(mine / SCORES, lambda scores: scores.update(official=False, unofficial_because=["on a GPU | x"]))
    files = prepare(read_submission(mine))
    card = files["README.md"].decode()
    assert RESULTS_FILE not in files and "model-index" not in card and "not official:** on a GPU" in card
    assert RESULTS_FILE in prepare(read_submission(mine), unofficial=True)


# The command


def test_the_command_says_what_it_does(command, server, mine, login):
    done = command("submission", "push", mine, REPOSITORY, "--dry-run")
    assert done.code == 0 and "would push to" in done.err and RESULTS_FILE in done.err and not writes(server)
    done = command("submission", "push", mine, REPOSITORY)
    assert "pushed to" in done.err and len(done.err.splitlines()) == 1  # and no word of the library's
    assert "has all of it already" in command("submission", "push", mine, REPOSITORY).err
    found = json.loads(command("submission", "push", mine, REPOSITORY, "--json").out)
    assert (found["files"], found["commit"]) == (0, server.repositories[MODEL].main)
    server.add(MODEL, {"README.md": b"# Mine\n"})
    assert "somebody's own and stays" in command("submission", "push", mine, REPOSITORY, "--create-pr").err


def test_every_defect_is_listed_and_nothing_is_asked(command, server, tmp_path, login):
    records = submissions.rows(4)
    table = submissions.frame(records)
    table["object_scale"] = [-1.0, 0.0, float("nan"), 1.0]
    submissions.spoil(tmp_path / "bad", table)
    done = command("submission", "push", tmp_path / "bad", REPOSITORY)
    assert done.code == 2 and "3 errors" in done.err and len(done.out.splitlines()) > 3
    found = json.loads(command("submission", "push", tmp_path / "bad", REPOSITORY, "--json").out)
    assert [defect["row"] for defect in found["defects"]] == [0, 1, 2] and not server.requests


def test_it_is_compared_with_its_data_where_they_are_given(command, server, mine, tmp_path, login):
    other = submissions.make_data(tmp_path / "data", ["tennis"], 1, body_model="open", name="other")
    done = command("submission", "push", mine, REPOSITORY, "--data", other.path)
    assert done.code == 2 and "wrong-dataset" in done.out and not server.requests


def test_the_two_kinds_of_one_name_are_two_repositories(server, mine, login):
    server.add(REPOSITORY, {"README.md": b"data"})
    push(mine)
    assert server.files(REPOSITORY)["README.md"] == b"data" and set(own_files(server)) == SENT
