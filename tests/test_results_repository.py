"""The page on results repositories: its workflow is YAML that asks for little, and its commands are the real ones."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from wildhoi import __version__
from wildhoi.cli import app

PAGE = (Path(__file__).parents[1] / "docs" / "results_repository.md").read_text()
(WORKFLOW,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
SHELL = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


def steps():
    (job,) = yaml.safe_load(WORKFLOW)["jobs"].values()
    return job["steps"]


def commands():
    lines = [line for block in SHELL for line in block.splitlines()]
    lines += [line for step in steps() for line in step.get("run", "").splitlines()]
    return [line for line in lines if line.split(" ")[0] == "wildhoi"]


def parse(words):
    """Parse a command line without running it; what does not parse raises."""
    command, context, arguments = get_command(app), None, list(words)
    while True:
        context = command.make_context(command.name, arguments, parent=context)
        if not hasattr(command, "resolve_command") or not (rest := [*context._protected_args, *context.args]):
            return command, context
        name, command, arguments = command.resolve_command(context, rest)
        assert command is not None, name


def test_the_workflow_reads_a_pull_request_and_nothing_more():
    content = yaml.safe_load(WORKFLOW)
    assert set(content[True]) == {"pull_request"}  # YAML 1.1 reads the key `on` so
    assert content["permissions"] == {"contents": "read"}
    assert "secrets." not in WORKFLOW and "pull_request_target" not in WORKFLOW
    (checkout,) = [step for step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert checkout["with"]["persist-credentials"] is False


def test_everything_the_workflow_takes_from_elsewhere_is_pinned():
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", name) for name in used)
    assert f'pip install "wildhoi=={__version__}"' in WORKFLOW


def test_no_text_of_a_pull_request_is_put_into_a_script():
    assert all("${{" not in step.get("run", "") for step in steps())


def test_the_workflow_checks_without_writing_and_keeps_the_tables():
    lines = [line for step in steps() for line in step.get("run", "").splitlines()]
    (check,) = [line for line in lines if line.startswith("wildhoi leaderboard check")]
    (build,) = [shlex.split(line) for line in lines if line.startswith("wildhoi leaderboard build")]
    (upload,) = [step for step in steps() if step.get("uses", "").startswith("actions/upload-artifact@")]
    assert "--ledger" not in check
    assert build[build.index("-o") + 1] == upload["with"]["path"]


@pytest.mark.parametrize("line", commands())
def test_every_command_line_parses(line):
    command, _ = parse(shlex.split(line, comments=True)[1:])
    assert not hasattr(command, "commands"), "a group alone does nothing"


def test_a_command_line_that_does_not_exist_does_not_parse():
    for words in (["leaderboard", "check"], ["leaderboard", "check", ".", "--no-such"], ["leaderboard", "chek", "."]):
        with pytest.raises(Exception, match=r"(?i)missing|no such"):
            parse(words)
