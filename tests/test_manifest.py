"""What can be wrong with submission.yaml."""

import datetime
import time
from dataclasses import replace
from pathlib import Path

import pytest
from submission_checks import VALID, codes

import submissions
from wildhoi.submission.folder import MANIFEST
from wildhoi.submission.manifest import read_manifest, write_manifest

# The manifest


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ["manifest-unreadable"]),
        ("- a\n- list\n", ["manifest-unreadable"]),
        ("a: b: c", ["manifest-unreadable"]),
        ("\x00", ["manifest-unreadable"]),
        ("x: " + "[" * 5000, ["manifest-unreadable"]),
        ("!!python/object/apply:os.system ['touch pwned']\n", ["manifest-unreadable"]),
        (VALID + "settings: !!python/object/apply:os.system ['touch pwned']\n", ["manifest-unreadable"]),
        (VALID + "settings: &a {x: 1}\nenvironment: *a\n", ["manifest-unreadable"]),
        (VALID + "authors: " + "x" * 200_000, ["manifest-size"]),
        (VALID.replace("made up", "123"), ["manifest-field-type"]),
        (VALID.replace("made up", "[a]"), ["manifest-field-type"]),
        (VALID.replace("made up", "''"), ["manifest-field-missing"]),
        (VALID.replace("made up", "2024-01-01"), ["manifest-field-type"]),
        (VALID.replace("spec: 1", "spec: '1'"), ["manifest-field-type"]),
        (VALID.replace("spec: 1", "spec: true"), ["manifest-field-type"]),
        (VALID.replace("spec: 1", "spec: 2"), ["manifest-field-value"]),
        (VALID.replace("split: test", "split: val"), ["manifest-field-value"]),
        (VALID.replace("body_model: open", "body_model: SMPL"), ["manifest-field-value"]),
        (VALID + "inputs: masks\n", ["manifest-field-type"]),
        (VALID + "inputs: [masks, 3]\n", ["manifest-field-type"]),
        (VALID + "settings: [1]\n", ["manifest-field-type"]),
        (VALID + "settings: {a: [!!omap [a: 1]]}\n", ["manifest-field-value"]),
        (VALID + "environment: {!!set {a} : 1}\n", ["manifest-unreadable"]),
        (VALID + "settings: {a: {b: !!binary eA==}}\n", ["manifest-field-value"]),
        (VALID + "settings: {seed: 0x" + "f" * 6000 + "}\n", ["manifest-field-value"]),
        (VALID + "settings: {a: " + "[" * 40 + "]" * 40 + "}\n", ["manifest-field-value"]),
        ("{}", ["manifest-field-missing"] * 5),
        (
            "spec: 1\nsplit: val\nmethod: 3\n",
            [*["manifest-field-missing"] * 2, "manifest-field-type", "manifest-field-value"],
        ),
    ],
)
def test_each_defect_of_a_manifest(tmp_path, text, wanted, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / MANIFEST).write_text(text)
    manifest, defects = read_manifest(tmp_path / MANIFEST)
    assert manifest is None and sorted(codes(defects)) == sorted(wanted)
    assert all(len(str(defect)) < 1000 for defect in defects)
    assert not Path("pwned").exists()


def test_plain_settings_come_back_as_they_were(tmp_path):
    plain = {"steps": [1, 2.5, None, True], "when": {2: datetime.date(2026, 1, 2)}, "deep": [[[["x"]]]], "n": 2**62}
    write_manifest(tmp_path / MANIFEST, replace(submissions.MANIFEST_ROW, settings=plain))
    assert read_manifest(tmp_path / MANIFEST) == (replace(submissions.MANIFEST_ROW, settings=plain), [])


def test_a_yaml_bomb_takes_no_time(tmp_path):
    lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 12)]
    (tmp_path / MANIFEST).write_text("\n".join(lines))
    start = time.process_time()
    assert codes(read_manifest(tmp_path / MANIFEST)[1]) == ["manifest-unreadable"]
    assert time.process_time() - start < 1


def test_an_unknown_field_is_said_and_the_manifest_used(tmp_path):
    (tmp_path / MANIFEST).write_text(VALID + "colour: blue\n1: 2\n")
    manifest, defects = read_manifest(tmp_path / MANIFEST)
    assert manifest == submissions.MANIFEST_ROW and codes(defects, "warning") == ["manifest-extra-field"] * 2
