import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from evaluation.metrics import METRICS
from wildhoi.cli import app
from wildhoi.submission.folder import check_submission
from wildhoi.submission.table import PREDICTIONS

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("submissions/*.md")]


def test_the_python_of_the_submission_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = CliRunner().invoke(app, ["submission", "init", "my-run", "--data", "open-sample"])
    assert started.exit_code == 0, started.output
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/submission.md").read_text(), re.DOTALL)
    exec(compile(code, "docs/submission.md", "exec"), {})
    submission, defects = check_submission(tmp_path / "my-run")
    assert submission is not None
    assert defects == []
    assert {type(row).__name__ for row in submission.rows} == {"Failure", "Reconstruction"}


def test_every_column_is_documented():
    text = (ROOT / "docs/submission.md").read_text()
    columns = (*PREDICTIONS.texts, *PREDICTIONS.optional_texts, *PREDICTIONS.all_numbers)
    assert [name for name in columns if f"`{name}`" not in text] == []


def test_every_metric_is_documented():
    text = (ROOT / "docs/metrics.md").read_text().replace("f_score_*", "f_score_human f_score_object f_score_combined")
    assert [name for name in METRICS if name not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_local_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.resolve().parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_commands_named_in_the_pages_exist(page):
    for words in re.findall(r"`wildhoi ([a-z]+(?: [a-z]+)?)", page.read_text()):
        arguments = words.split()
        group = next((g for g in app.registered_groups if g.name == arguments[0]), None)
        commands = {c.name or c.callback.__name__ for c in (group.typer_instance if group else app).registered_commands}
        wanted = arguments[1] if group and len(arguments) > 1 else arguments[0]
        assert (group and len(arguments) == 1) or wanted in commands, f"{page.name}: wildhoi {words}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_figure_was_left_to_fill_in(page):
    assert re.findall(r"@[A-Z]+\d*@", page.read_text()) == []


def scripts(page):
    return re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)


def told(page):
    """The commands of a page's scripts, a list of words each, comments and continued lines joined."""
    for script in scripts(page):
        for line in script.replace("\\\n", " ").splitlines():
            found = re.search(r"(?:^|[\s(])wildhoi ((?:[a-z]+ )+.*)", line.partition(" #")[0])
            if found and not line.startswith("#"):
                yield shlex.split(re.split(r" (?:&&|\|\|?|>) ", found[1])[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_scripts_in_the_pages_are_sound(page):
    for script in scripts(page):
        checked = subprocess.run(["bash", "-n"], input=script.replace("...", ""), capture_output=True, text=True)
        assert checked.returncode == 0, script + checked.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_options_in_the_pages_exist(page):
    tree = get_command(app)
    for words in told(page):
        command = tree
        while hasattr(command, "commands") and words and words[0] in command.commands:
            command, words = command.commands[words[0]], words[1:]
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        wrong = [
            word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in {*known, "--help"}
        ]
        assert wrong == [], f"{page.name}: {command.name} {words}"
