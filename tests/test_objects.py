from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import AXIS_CATEGORIES, CATEGORIES, SPHERES, template
from scipy.spatial.transform import Rotation
from slow_metrics import TABLE, angle_between, symmetry_of, turn

from evaluation.protocol import load_protocol
from wildhoi.errors import InputError
from wildhoi.objects import find_category, load_categories, resolve_symmetry
from wildhoi.templates import SHIPPED, load_template

WILD = ("barbell", "baseball", "basketball", "bicycle", "cello", "skateboard", "tennis", "violin", "yogaball")
INDOORS = (
    "backpack", "basketball", "boxlarge", "boxlong", "boxmedium", "boxsmall", "boxtiny", "chairblack", "chairwood",
    "keyboard", "monitor", "plasticcontainer", "stool", "suitcase", "tablesmall", "tablesquare", "toolbox", "trashbin",
    "yogaball", "yogamat",
)  # fmt: skip
FINITE = {
    "boxlarge": 8, "boxlong": 8, "boxmedium": 4, "boxsmall": 4, "boxtiny": 4, "plasticcontainer": 2, "stool": 3,
    "tablesquare": 4, "toolbox": 2, "skateboard": 2, "tennis": 2,
}  # fmt: skip
FLIPPED = ("barbell",)
NO_SYMMETRY = sorted({*WILD, *INDOORS} - set(FINITE) - set(AXIS_CATEGORIES) - set(SPHERES))
REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
seeds = st.integers(0, 2**32 - 1)


def group(name):
    return template(name).symmetry()


def random_relative(seed):
    return Rotation.random(random_state=seed).as_matrix()


def test_the_table_has_the_nine_objects_in_the_wild_and_the_twenty_indoors():
    table = load_categories()
    assert sorted(table) == sorted({*WILD, *INDOORS})
    assert sorted(n for n, c in table.items() if "wildhoi" in c.datasets) == sorted(WILD)
    assert sorted(n for n, c in table.items() if "behave" in c.datasets) == sorted(INDOORS)
    assert sorted(c.behave.index for c in table.values() if c.behave) == list(range(20))


def test_every_category_is_found_by_its_name_and_an_unknown_one_is_an_error_of_one_line():
    for name in CATEGORIES:
        assert find_category(name).name == name
    with pytest.raises(InputError, match=r"teapot.*barbell") as caught:
        find_category("teapot")
    assert "\n" not in str(caught.value)


# groups


@pytest.mark.parametrize("name", CATEGORIES)
def test_every_group_is_of_the_kind_and_order_of_the_reference(name):
    symmetry = group(name)
    if name in SPHERES:
        assert symmetry.kind == "sphere"
    elif name in AXIS_CATEGORIES:
        assert symmetry.kind == "axis"
        assert len(symmetry.rotations) == (2 if name in FLIPPED else 1)
    else:
        assert symmetry.kind == "finite"
        assert len(symmetry.rotations) == FINITE.get(name, 1)


@pytest.mark.parametrize("name", CATEGORIES)
def test_every_element_is_a_rotation_and_the_identity_is_one(name):
    rotations = group(name).rotations
    identities = np.broadcast_to(np.eye(3), rotations.shape)
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), identities, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    np.testing.assert_array_equal(rotations[0], np.eye(3))


@pytest.mark.parametrize("name", sorted(FINITE))
def test_a_finite_group_is_closed_under_products_and_inverses_and_has_no_element_twice(name):
    rotations = group(name).rotations

    def places(element):
        return int((np.abs(rotations - element).max(axis=(1, 2)) < 1e-9).sum())

    for a in rotations:
        assert places(a) == places(a.T) == 1
        assert all(places(a @ b) == 1 for b in rotations)


@pytest.mark.parametrize("name", sorted(set(FINITE) & set(INDOORS)))
def test_the_published_turns_are_in_the_group_within_the_accuracy_of_the_fit(name):
    spec, rotations = TABLE[name]["symmetry"], group(name).rotations
    published = [turn(np.array(spec["axis"]) / np.linalg.norm(spec["axis"]), 360 / spec["order"])]
    if "across" in spec:
        published.append(turn(np.array(spec["across"]) / np.linalg.norm(spec["across"]), 180))
    for one in published:
        assert min(angle_between(one, s) for s in rotations) < 4.0  # the published axes are up to 1.8 degrees askew


@pytest.mark.parametrize("name", CATEGORIES)
def test_groups_equal_those_made_anew_from_the_table(name):
    of = template(name)
    kind, rotations, axis, point = symmetry_of(name, of.keypoints)
    symmetry = of.symmetry()
    assert symmetry.kind == kind
    np.testing.assert_allclose(symmetry.point, point if kind != "sphere" else symmetry.point, atol=1e-12)
    if kind == "finite":
        for element in symmetry.rotations:
            assert min(np.abs(element - other).max() for other in rotations) < 1e-9
    if kind == "axis":
        np.testing.assert_allclose(np.abs(symmetry.axis @ axis), 1, atol=1e-12)


@pytest.mark.parametrize("name", AXIS_CATEGORIES)
def test_every_turn_about_a_continuous_axis_is_its_own_nearest_element(name):
    symmetry = group(name)
    for degrees in np.linspace(-180, 180, 50):
        for end in symmetry.rotations:
            element = turn(symmetry.axis, degrees) @ end
            assert angle_between(symmetry.nearest(element), element) < 1e-5


def test_the_flip_of_an_axis_turns_the_axis_round():
    symmetry = group("barbell")
    np.testing.assert_allclose(symmetry.rotations[1] @ symmetry.axis, -symmetry.axis, atol=1e-12)


@pytest.mark.parametrize("name", CATEGORIES)
@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_the_nearest_element_equals_a_brute_force_and_is_never_farther(name, seed):
    symmetry, relative = group(name), random_relative(seed)
    found = angle_between(symmetry.nearest(relative), relative)
    if symmetry.kind == "sphere":
        assert found < 1e-5
        return
    turns = np.eye(3)[None]
    if symmetry.kind == "axis":
        turns = Rotation.from_rotvec(np.radians(np.arange(360))[:, None] * symmetry.axis).as_matrix()
    every = np.concatenate([turns @ end for end in symmetry.rotations])
    brute = np.degrees(Rotation.from_matrix(every.transpose(0, 2, 1) @ relative).magnitude()).min()
    assert brute - 0.5 <= found <= brute + 1e-6


@pytest.mark.parametrize("name", CATEGORIES)
def test_candidates_are_elements_of_the_group_and_hold_the_nearest(name):
    symmetry, relative = group(name), random_relative(7)
    candidates = symmetry.candidates(relative)
    assert min(np.abs(symmetry.nearest(relative) - c).max() for c in candidates) < 1e-12
    for element in candidates[:: max(1, len(candidates) // 20)]:
        assert angle_between(symmetry.nearest(element), element) < 1e-5


@pytest.mark.parametrize("name", CATEGORIES)
def test_the_nearest_element_of_a_turned_rotation_turns_with_it(name):
    """The distance to the group does not change when an element of it is multiplied on."""
    symmetry, relative = group(name), random_relative(11)
    before = angle_between(symmetry.nearest(relative), relative)
    for element in symmetry.candidates(relative)[::97]:
        after = angle_between(symmetry.nearest(relative @ element), relative @ element)
        assert after == pytest.approx(before, abs=1e-5)


def test_a_protocol_overrides_single_entries_and_leaves_the_rest():
    override = load_protocol("wildhoi@1").symmetry["barbell"]
    symmetry = template("barbell").symmetry(override)
    assert symmetry.kind == "axis"
    assert len(symmetry.rotations) == 1
    np.testing.assert_array_equal(symmetry.axis, group("barbell").axis)
    np.testing.assert_array_equal(symmetry.point, group("barbell").point)


def test_a_symmetry_that_names_an_absent_keypoint_or_an_unknown_kind_is_an_input_error():
    with pytest.raises(InputError, match="9"):
        resolve_symmetry({"kind": "axis", "axis": [["1", "9"]], "flip": False}, {"1": np.zeros(3)})
    for spec in ({"kind": "cube"}, {"kind": "cube", "axis": [1.0, 0.0, 0.0]}):
        with pytest.raises(InputError, match="cube"):
            resolve_symmetry(spec, {})


# keypoints


@pytest.mark.parametrize("name", WILD)
def test_flips_are_involutions_and_permutations_hold_the_identity(name):
    category = find_category(name)
    count = len(category.keypoint_flip)
    assert count == sum(len(ids) for _, ids in category.wildhoi.keypoints)
    assert [category.keypoint_flip[k] for k in category.keypoint_flip] == list(range(count))
    assert tuple(range(count)) in category.keypoint_permutations
    for permutation in category.keypoint_permutations:
        assert sorted(permutation) == list(range(count))


def permutation_of(keypoints, element, point, tolerance):
    """Where each keypoint goes under a symmetry; None where one lands on no keypoint."""
    moved = (keypoints - point) @ element.T + point
    distances = np.linalg.norm(moved[:, None] - keypoints, axis=2)
    return tuple(distances.argmin(axis=1)) if (distances.min(axis=1) < tolerance).all() else None


def check_permutations(of, tolerance):
    symmetry = of.symmetry()
    keypoints = np.array(list(of.keypoints.values()))
    elements = [*symmetry.rotations]
    if symmetry.kind == "axis":
        elements += [turn(symmetry.axis, degrees) @ end for degrees in (33, 121, 270) for end in symmetry.rotations]
    found = {permutation_of(keypoints, element, symmetry.point, tolerance) for element in elements}
    assert found == set(of.category.keypoint_permutations)


@pytest.mark.parametrize("name", WILD)
def test_the_group_permutes_the_keypoints_of_a_made_up_template_as_the_table_says(name):
    check_permutations(template(name), 1e-9)


SHIPPED_NAMES = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir()) if SHIPPED.is_dir() else []


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_the_group_permutes_the_keypoints_of_the_shipped_template_as_the_table_says(name):
    of = load_template(SHIPPED / name)
    check_permutations(of, 0.02 * of.diameter)


@pytest.mark.parametrize("name", sorted(set(SHIPPED_NAMES) & set(WILD)))
def test_the_shipped_template_has_the_extents_and_keypoints_of_the_table(name):
    of = load_template(SHIPPED / name)
    np.testing.assert_allclose(np.ptp(of.vertices, axis=0), of.category.wildhoi.extents, rtol=0.01)
    assert len(of.keypoints) == len(of.category.keypoint_flip)


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_the_symmetry_of_a_category_maps_its_shipped_surface_onto_itself(name):
    from evaluation.surfaces import point_to_surface

    of = load_template(SHIPPED / name)
    symmetry = of.symmetry()
    elements = [*symmetry.rotations[1:]] + ([turn(symmetry.axis, 77)] if symmetry.kind == "axis" else [])
    for element in elements:
        moved = (of.vertices - symmetry.point) @ element.T + symmetry.point
        assert point_to_surface(moved, of.vertices, of.faces).max() < 0.03 * of.diameter
