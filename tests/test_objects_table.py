"""The category table against the references it was taken from."""

import re
from pathlib import Path

import pytest
from scenes import CATEGORIES

from wildhoi.objects import find_category

WILD = ("barbell", "baseball", "basketball", "bicycle", "cello", "skateboard", "tennis", "violin", "yogaball")
INDOORS = (
    "backpack", "basketball", "boxlarge", "boxlong", "boxmedium", "boxsmall", "boxtiny", "chairblack", "chairwood",
    "keyboard", "monitor", "plasticcontainer", "stool", "suitcase", "tablesmall", "tablesquare", "toolbox", "trashbin",
    "yogaball", "yogamat",
)  # fmt: skip
REFERENCE = Path(__file__).parents[2] / "shared" / "reference"


@pytest.fixture
def reference():
    if not REFERENCE.is_dir():
        pytest.skip("needs the reference notes beside the repository")
    return {path.stem: path.read_text() for path in REFERENCE.glob("*.md")}


def test_extents_are_those_of_the_reference(reference):
    listed = reference["raw_release"].split("Full bounding-box extents")[1].split("\n")[0]
    found = re.findall(r"(\w+) (\d\.\d+) x (\d\.\d+) x (\d\.\d+)", listed)
    assert {name: tuple(map(float, sizes)) for name, *sizes in found} == {
        name: find_category(name).wildhoi.extents for name in WILD
    }


def test_keypoint_tables_are_those_of_the_reference(reference):
    rows = reference["raw_release"].split("| object | keypoints | keypoint permutations")[1].split("\n\n")[0]
    for line in rows.splitlines()[2:]:
        name, count, permutations, flip, mirrored, _ = (cell.strip() for cell in line.strip("|").split("|"))
        category, identity = find_category(name), list(range(int(count)))
        expected = [identity] + [list(map(int, p.split(","))) for p in re.findall(r"\(([\d,]+)\)", permutations)]
        if name != "tennis":  # its half turn also swaps the rims, which the published list leaves out
            assert [list(p) for p in category.keypoint_permutations] == expected, name
        assert list(category.keypoint_flip) == flipped(flip, identity), name
        assert category.mirrored_images == (mirrored == "yes"), name


def flipped(cell, identity):
    if full := re.findall(r"\(([\d,]+)\)", cell):
        return list(map(int, full[0].split(",")))
    swapped = list(identity)
    for a, b in re.findall(r"(\d+)<->(\d+)", cell):
        swapped[int(a)], swapped[int(b)] = int(b), int(a)
    return swapped


def test_indoor_facts_are_those_of_the_reference(reference):
    rows = reference["behave_rhobin"].split("| object | index | template vertices")[1].split("\n\n")[0]
    lines = rows.splitlines()[2:]
    assert len(lines) == 20
    for line in lines:
        name, index, vertices, keypoints, norm, told = (cell.strip() for cell in line.strip("|").split("|"))
        facts = find_category(name).behave
        assert (facts.index, facts.template_vertices, facts.keypoints) == (int(index), int(vertices), int(keypoints))
        assert facts.coordinate_norm == tuple(map(float, norm.split()))
        check_told_symmetry(find_category(name), told)


def check_told_symmetry(category, told):
    numbers = [tuple(map(float, v.split())) for v in re.findall(r"\(([-. \d]+)\)", told)]
    if told in ("none", "sphere"):
        assert category.symmetry.get("kind") == (None if told == "none" else "sphere")
        return
    assert category.symmetry["point"] == numbers[-1], category.name
    assert category.symmetry["axis"] == numbers[0], category.name
    if told.startswith("D"):
        assert category.symmetry["across"] == numbers[1], category.name


def test_templates_and_aliases_are_those_of_the_reference():
    special = {
        "chairblack": "_f2500", "chairwood": "_f2500", "tablesquare": "_f2000", "monitor": "_closed_f1000",
    }  # fmt: skip
    alias = dict.fromkeys(("basketball", "yogaball"), "sports ball") | dict.fromkeys(
        ("chairblack", "chairwood"), "chair"
    )
    for name in INDOORS:
        facts = find_category(name).behave
        assert facts.template == f"{name}{special.get(name, '_f1000')}.ply"
        assert facts.alias == alias.get(name)


def test_mirror_axes_are_the_half_turns_of_the_correspondence_loss():
    negated = {"skateboard": (-1, 1, -1), "tennis": (-1, 1, -1), "barbell": (-1, 1, -1), "baseball": (-1, -1, 1)}
    for name in CATEGORIES:
        assert find_category(name).mirror_axes == negated.get(name)


def test_the_bicycle_alone_has_a_joint_and_it_is_the_front():
    with_joint = [name for name in CATEGORIES if find_category(name).joint]
    assert with_joint == ["bicycle"]
    joint = find_category("bicycle").joint
    assert (joint.mesh, joint.axis_keypoints) == ("front.ply", ("5", "6"))


@pytest.mark.parametrize("name", WILD)
def test_every_object_in_the_wild_has_contact_parts(name):
    contact = find_category(name).contact
    assert contact
    assert all(parts for parts in contact.values())


def test_every_keypoint_in_the_wild_is_described():
    described = {name: len(find_category(name).keypoints) for name in WILD}
    assert described == {name: len(find_category(name).keypoint_flip) for name in WILD}
