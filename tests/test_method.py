"""Finding methods, and a method of one's own as the documentation has it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import run as command_run

from wildhoi.dataset import find_data, load_samples
from wildhoi.errors import InputError
from wildhoi.method import Method, load_method, method_names, require_known
from wildhoi.schema import Failure
from wildhoi.submission.defects import errors
from wildhoi.submission.folder import check_submission

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "methods.md"


def wildhoi(*words, cwd, site=None):
    """Run the command line in a process of its own, with a folder of further packages."""
    code = "from wildhoi.cli import main; main()"
    paths = [str(path) for path in (site, ROOT) if path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}
    line = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


def installed(site, name, **values):
    """A made-up installed package: modules of texts, and its entry points."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wildhoi.methods]\n" + "".join(f"{k} = {k}:build\n" for k in values))
    for module, text in values.items():
        if text is not None:
            (site / f"{module}.py").write_text(text)


# Finding


def test_the_methods_that_ship_are_found_by_entry_points():
    assert {"isolation", "phosa", "phosa-released"} <= set(method_names())
    assert method_names() == sorted(method_names())
    method = load_method("isolation")
    assert method.info.name == "isolation" and isinstance(method, Method)


def test_an_unknown_method_names_those_there_are():
    with pytest.raises(InputError, match=r"'isolatoin' is unknown, want one of: flow-prior, "):
        load_method("isolatoin")


def test_an_unknown_setting_names_the_nearest():
    require_known("m", {"lr": 1}, {"lr": 2, "steps": 3})
    with pytest.raises(InputError, match=r"m: has no setting 'step' \(did you mean steps\?\); it has lr, steps"):
        require_known("m", {"step": 1}, {"lr": 2, "steps": 3})
    with pytest.raises(InputError, match="it has none"):
        require_known("m", {"x": 1}, {})


BROKEN = {
    "absent": None,
    "needy": "import a_package_that_nobody_has\n",
    "hollow": "x = 1\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_method_that_cannot_be_imported_is_said(tmp_path, monkeypatch, name):
    installed(tmp_path, f"{name}-package", **{name: BROKEN[name]})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=f"method '{name}': {name}:build cannot be imported"):
        load_method(name)


FAULTY = {**BROKEN, "unspeakable": "def build(:\n", "angry": "raise RuntimeError('no [bold] mood')\n"}


def test_broken_methods_are_listed_with_their_reasons(tmp_path, monkeypatch, capfd):
    installed(tmp_path / "site", "faulty", **FAULTY)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("COLUMNS", "200")
    done = command_run(monkeypatch, capfd, "methods", "list", "--json")
    assert done.code == 0, done
    rows = {row["name"]: row for row in json.loads(done.out)}
    assert {"isolation", *FAULTY} <= rows.keys()
    assert rows["isolation"]["summary"] and not rows["isolation"]["problem"]
    reasons = {
        "absent": "No module named 'absent'", "needy": "a_package_that_nobody_has", "hollow": "build",
        "unspeakable": "SyntaxError", "angry": "RuntimeError: no [bold] mood",
    }  # fmt: skip
    assert all(reason in rows[name]["problem"] for name, reason in reasons.items())
    table = command_run(monkeypatch, capfd, "methods", "list")
    assert table.code == 0 and "no [bold] mood" in table.out and "Traceback" not in table.err


# The documentation's package


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The package of the page, installed into a folder of its own."""
    folder, text = tmp_path_factory.mktemp("pelvis-depth"), PAGE.read_text()
    (project,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (module,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(module.splitlines()) <= 40
    (folder / "pyproject.toml").write_text(project)
    (folder / "pelvis_depth.py").write_text(module)
    target = folder / "site"
    words = ["install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target), str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


def test_a_method_of_ones_own_is_listed_with_its_settings(tmp_path, site):
    found = json.loads(wildhoi("methods", "info", "pelvis-depth", "--json", cwd=tmp_path, site=site).stdout)
    assert found["inputs"] == ["human", "camera", "object_pose"]
    assert found["options"]["behind"]["default"] == 0.0 and "metres" in found["options"]["behind"]["meaning"]


def test_a_method_of_ones_own_runs(tmp_path, site):
    words = ("run", "pelvis-depth", "--dataset", "open-sample", "--set", "behind=0.25", "-o", "out")
    done = wildhoi(*words, cwd=tmp_path, site=site)
    assert done.returncode == 0, done.stderr
    assert "24 reconstructions, 0 failures" in done.stderr and "wildhoi evaluate out --data open-sample" in done.stderr
    data = find_data("open-sample")
    submission, defects = check_submission(tmp_path / "out", data)
    assert submission is not None and errors(defects) == []
    assert submission.manifest.settings["behind"] == 0.25
    samples = {sample.image_id: sample for sample in load_samples(data.path, "test", streaming=True)}
    for row in submission.rows:
        camera, before = samples[row.image_id].camera, samples[row.image_id].object_pose
        seen = [camera.rotation @ pose.translation + camera.translation for pose in (row.object_pose, before)]
        assert seen[0][2] == pytest.approx(camera.translation[2] + 0.25, abs=1e-4)
        np.testing.assert_allclose(seen[0][:2] / seen[0][2], seen[1][:2] / seen[1][2], atol=1e-6)
    assert not any(isinstance(row, Failure) for row in submission.rows)


def test_a_setting_that_it_does_not_have_is_refused_before_anything_is_written(tmp_path, site):
    words = ("run", "pelvis-depth", "--dataset", "open-sample", "--set", "behnd=1", "-o", "out")
    done = wildhoi(*words, cwd=tmp_path, site=site)
    assert done.returncode == 2 and done.stderr.startswith("error: pelvis-depth: has no setting 'behnd'")
    assert "did you mean behind?" in done.stderr and not (tmp_path / "out").exists()
