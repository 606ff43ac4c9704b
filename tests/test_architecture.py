"""What the layout promises, checked on the files themselves."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import wildhoi
from wildhoi.objects import load_categories

ROOT = Path(__file__).parents[1]
PACKAGES = ("wildhoi", "evaluation", "baselines")
MB = 2**20


def sources(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def named(path):
    return path.relative_to(ROOT).as_posix()


def tracked():
    """The files of the repository, or of the folder where it is no checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    return [path for folder in (*PACKAGES, "tools", "tests", "docs") for path in (ROOT / folder).rglob("*.*")]


def functions(path):
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(function):
    """Lines of a function without its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        lines -= function.body[0].end_lineno - function.body[0].lineno + 1
    return lines


def imported(path):
    """The modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_no_category_is_named_in_the_code():
    names = re.compile(rf"\b({'|'.join(load_categories())})\b", re.IGNORECASE)
    found = [
        f"{named(path)}:{number}: {match[0]}"
        for path in sources(*PACKAGES)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for match in names.finditer(line)
    ]
    assert found == []


def test_files_are_short():
    long = {named(path): n for path in sources(*PACKAGES, "tools") if (n := len(path.read_text().splitlines())) > 300}
    assert long == {}


def test_functions_are_short():
    long = {
        f"{named(path)}:{function.name}": length(function)
        for path in sources(*PACKAGES, "tools")
        for function in functions(path)
        if length(function) > 40
    }
    assert long == {}


def test_nothing_prints_on_its_own():
    calls = [
        f"{named(path)}:{node.lineno}"
        for path in sources(*PACKAGES, "tools")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert calls == []


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("smplx", ("wildhoi/body/",)),
        ("huggingface_hub", ("wildhoi/hub.py", "wildhoi/hub/")),
        ("datasets", ("wildhoi/dataset.py", "wildhoi/dataset/")),
        ("pickle", ("wildhoi/convert/", "wildhoi/engine/")),
        ("yaml", ("wildhoi/submission/manifest.py", "evaluation/leaderboard/")),
        ("typer", ("wildhoi/cli/",)),
    ],
)
def test_one_place_imports(module, allowed):
    others = [
        named(path)
        for path in sources(*PACKAGES)
        if not named(path).startswith(allowed) and any(name.split(".")[0] == module for name in imported(path))
    ]
    assert others == []


def test_modules_are_imported_never_the_package_roots():
    roots = [
        named(path)
        for path in sources("wildhoi", "evaluation")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module in PACKAGES
        if not {alias.name for alias in node.names} <= _modules_and_version(node.module)
    ]
    assert roots == []


def _modules_and_version(package):
    return {"__version__"} | {path.stem for path in (ROOT / package).iterdir()}


def test_no_pickle_is_loaded_by_its_own_machine():
    loads = (
        r"pickle\.loads?\((?!pickle\.dumps)|torch\.load\(|allow_pickle=True|yaml\.(unsafe_|full_)?load\((?!.*_Loader)"
    )
    calls = re.compile(loads + r"|(?<!\.)\b(eval|exec)\(")
    found = [
        f"{named(path)}:{number}: {line.strip()}"
        for path in sources(*PACKAGES)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if calls.search(line)
    ]
    assert found == []


def test_the_import_contracts_hold():
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    words = [sys.executable, "-c", code, "--no-cache"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_version():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == wildhoi.__version__


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        (["open_body.npz"], 1.5),
        (["sample", "sample_submissions"], 6),
        (["objects", "open-v1"], 4),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else None,
)
def test_shipped_assets_are_small(what, limit):
    assets = ROOT / "wildhoi" / "assets"
    files = [path for name in what for path in (assets / name, *(assets / name).rglob("*"))]
    sizes = [path.stat().st_size for path in files if path.is_file()]
    assert 0 < sum(sizes) <= limit * MB


def test_the_fixtures_that_ship_are_small():
    sizes = [path.stat().st_size for path in (ROOT / "tests" / "data").rglob("*") if path.is_file()]
    assert sum(sizes) <= 2 * MB


def test_no_file_of_the_repository_is_large():
    """But for the weights of the priors that ship: two of at most 2 MB."""
    large = {named(path): path.stat().st_size for path in tracked() if path.stat().st_size > MB}
    weights = {name: size for name, size in large.items() if name.startswith("wildhoi/assets/checkpoints/")}
    assert large == weights and len(weights) <= 2 and all(size <= 2 * MB for size in weights.values())


def test_no_path_of_a_machine_is_written_down():
    machine = re.compile("/" + "work/|/" + "root/|/" + r"home/\w")
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{named(path)}: {match[0]}" for match in machine.finditer(text)]
    assert found == []
