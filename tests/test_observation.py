"""What is read from samples: keypoints, maps, masks, contact candidates; and samples that lack some of it."""

from dataclasses import fields, replace

import numpy as np
import pytest
import slow_losses
import torch
from fit_scenes import TRIED, problem, samples_of, template, value_of
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.losses import TERMS
from baselines.observation import LACKS, observe
from baselines.touching import contact_candidates
from submissions import unchecked


def seen_of(*samples, background=False, name="cello"):
    with unchecked():
        return observe(samples, template(name), background=background)


def sample(name="cello", row=0, **changes):
    return replace(samples_of(name)[row], **changes)


def pixels(seen, camera, row=0):
    """The places of the cells that are there, in pixels of the frame."""
    places = seen.places[row][seen.cells[row] > 0].numpy()
    return places * camera.focal + camera.principal_point


# -- keypoints ---------------------------------------------------------------------------------------------------------


def test_keypoints_are_image_coordinates_of_the_65():
    one = sample()
    seen = seen_of(one)
    of_133 = [*range(23), *range(91, 133)]
    wanted = (one.wholebody_keypoints[of_133, :2] - one.camera.principal_point) / one.camera.focal
    sure = one.wholebody_keypoints[of_133, 2] >= 0.5
    assert sure.sum() > 10
    assert np.allclose(seen.keypoints[0][sure], wanted[sure], atol=1e-12)
    assert np.allclose(seen.confidence[0], np.where(sure, one.wholebody_keypoints[of_133, 2], 0))


def test_lost_and_unsure_keypoints_count_nothing_and_are_numbers():
    points = np.tile([300.0, 200.0, 0.9], (133, 1))
    points[0] = np.nan
    points[1, 0], points[2, 1], points[3, 2] = np.nan, np.inf, np.nan
    points[4, 2], points[5, 2], points[6, 2] = 0.49999, 0.5, 0.0
    seen = seen_of(sample(wholebody_keypoints=points))
    assert seen.keypoints.isfinite().all()
    assert seen.confidence[0, :7].tolist() == [0, 0, 0, 0, 0, 0.5, 0] and (seen.confidence[0, 7:] == 0.9).all()
    none = seen_of(sample(wholebody_keypoints=None))
    assert not none.confidence.any() and not none.keypoints.any()


# -- correspondences ---------------------------------------------------------------------------------------------------


def numbered(rows, columns):
    """A map whose cells all differ."""
    y, x = np.mgrid[:rows, :columns] + 1.0
    return np.stack([x / 1000, y / 1000, np.full_like(x, 0.1)], axis=2)


def assert_each_cell_once(rows, columns, pitch=1.0):
    box = np.array([30.0, 40.0, columns * pitch, rows * pitch])
    one = sample(object_correspondences=numbered(rows, columns), object_correspondences_box=box)
    seen = seen_of(one)
    assert seen.grid[0] == max(rows, columns) ** 2
    cells = np.round(seen.points[0][seen.cells[0] == 1].numpy()[:, :2] * 1000).astype(int) - 1
    assert sorted(map(tuple, cells)) == [(x, y) for x in range(columns) for y in range(rows)]
    assert np.allclose(pixels(seen, one.camera), box[:2] + cells * pitch)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 64), st.integers(-32, 32), st.sampled_from([1.0, 2.0, 3.25]))
def test_a_map_of_square_cells_keeps_each_once_with_its_own_pixel(longer, less, pitch):
    shorter = max(1 if longer % 2 else 2, longer - 2 * abs(less))
    assert_each_cell_once(*((shorter, longer) if less < 0 else (longer, shorter)), pitch)


@pytest.mark.parametrize("rows, columns", [(2, 5), (61, 58)])
def test_a_map_of_square_cells_keeps_each_once_whatever_its_sides(rows, columns):
    assert_each_cell_once(rows, columns)


@pytest.mark.parametrize("rows, columns", [(200, 120), (128, 300), (500, 500)])
def test_a_large_map_is_thinned_to_the_nearest_cells(rows, columns):
    box = np.array([30.0, 40.0, columns, rows])
    one = sample(object_correspondences=numbered(rows, columns), object_correspondences_box=box)
    seen = seen_of(one)
    assert seen.grid[0] == 128**2
    found = pixels(seen, one.camera) - box[:2]
    step, middle = max(rows, columns) / 128, np.array([columns, rows]) / 2
    # each cell of the square is found in the map within half a cell of the map
    wanted = [middle + step * (np.array([i, j]) - 63.5) for j in range(128) for i in range(128)]
    wanted = np.array([w for w in wanted if (w >= 0).all() and (w < [columns, rows]).all()])
    assert len(wanted) == len(found)
    assert np.abs(found + 0.5 - wanted).max() <= 0.5 + 1e-9
    cells = seen.points[0][seen.cells[0] == 1].numpy()[:, :2] * 1000 - 1
    assert np.allclose(cells, found)


@pytest.mark.parametrize("name", [*TRIED, "baseball", "tennis"])
def test_real_maps_are_resampled_as_the_twin_says(name):
    for one in samples_of(name):
        cells, side = slow_losses.square_cells(one.object_correspondences.shape, one.object_correspondences_box)
        flat = [one.object_correspondences[cell] for line in cells for cell in line if cell is not None]
        wanted = np.array([point for point in flat if point.any()])
        seen = seen_of(one, name=name)
        assert seen.grid[0] == side**2
        assert np.allclose(seen.points[0], wanted, atol=1e-12)
        full = seen_of(one, name=name, background=True)
        assert full.points.shape[1] == side**2
        assert (full.cells == 1).sum() == len(wanted) and (full.cells == 2).sum() == side**2 - len(wanted)
        assert not full.points[full.cells == 2].any()


def test_empty_broken_and_absent_maps_have_no_cell_and_lose_nothing():
    grid = samples_of("cello")[0].object_correspondences
    broken = [np.zeros_like(grid), np.full_like(grid, np.nan), None]
    samples = [sample(row=k, object_correspondences=broken[k]) for k in range(3)]
    seen = seen_of(*samples)
    assert not seen.cells.any() and (seen.grid > 0).all() and seen.points.isfinite().all()
    of = replace(problem("cello"), observation=replace(problem("cello").observation, **parts_of(seen)))
    loss = value_of(TERMS["correspondences"].function, of)
    assert loss.tolist() == [0, 0, 0]


def parts_of(seen):
    return {name: getattr(seen, name) for name in ("points", "places", "cells", "moving", "grid")}


def test_cells_that_are_not_finite_are_background():
    grid = samples_of("cello")[0].object_correspondences.copy()
    inside = np.argwhere(grid.any(2))
    grid[tuple(inside[0])], grid[tuple(inside[1])] = np.nan, (0.1, np.inf, 0.1)
    blank = grid.copy()
    blank[tuple(inside[0])], blank[tuple(inside[1])] = 0, 0
    for background in (False, True):
        one, other = (seen_of(sample(object_correspondences=g), background=background) for g in (grid, blank))
        assert one.points.isfinite().all()
        assert all(torch.equal(parts_of(one)[name], parts_of(other)[name]) for name in parts_of(one))


def test_the_shorter_of_two_maps_is_filled_up_with_nothing():
    long, short = samples_of("cello")[:2]
    together, apart = seen_of(long, short), [seen_of(long), seen_of(short)]
    for row, alone in enumerate(apart):
        n = alone.points.shape[1]
        assert torch.equal(together.points[row, :n], alone.points[0])
        assert not together.cells[row, n:].any()
    assert torch.equal(together.grid, torch.cat([alone.grid for alone in apart]))


def test_what_the_joint_turns_is_that_of_the_nearest_vertex():
    seen = seen_of(*samples_of("bicycle"), name="bicycle")
    rng = np.random.default_rng(0)
    for row in range(3):
        there = np.flatnonzero(seen.cells[row])
        for k in rng.choice(there, 30):
            assert bool(seen.moving[row, k]) == slow_losses.moves(template("bicycle"), seen.points[row, k].numpy())
    assert 0.1 < seen.moving[seen.cells == 1].mean() < 0.9
    assert not seen_of(*samples_of("cello")).moving.any()


# -- masks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bicycle", "barbell"])
def test_masks_are_cropped_as_the_twin_crops_them(name):
    one = samples_of(name)[0]
    seen = seen_of(one, name=name)
    assert np.array_equal(seen.person[0], slow_losses.crop(one, one.person_mask, one.person_mask_box))
    assert np.array_equal(seen.object[0], slow_losses.crop(one, one.object_mask, one.object_mask_box))
    assert seen.person.any() and seen.object.any()


def test_a_mask_beyond_the_crop_and_one_beyond_the_frame():
    camera = replace(
        samples_of("cello")[0].camera, focal=np.array([5000.0, 5000]), principal_point=np.array([300.0, 200])
    )
    everywhere = np.full((600, 900), 255, np.uint8)
    seen = seen_of(sample(camera=camera, person_mask=everywhere, person_mask_box=(-100, -100, 900, 600),
                          object_mask=everywhere, object_mask_box=(300, 200, 900, 600)))  # fmt: skip
    assert seen.person.all()
    assert seen.object[0, 128:, 128:].all() and seen.object.sum() == 128**2


def test_missing_masks_are_empty_and_lose_nothing():
    seen = seen_of(
        sample(person_mask=None, person_mask_box=None),
        sample(row=1, object_mask=None, object_mask_box=None),
        sample(row=2),
    )
    assert [mask.any().item() for mask in seen.person] == [False, True, True]
    assert [mask.any().item() for mask in seen.object] == [True, False, True]
    of = problem("cello")
    none = torch.zeros_like(seen.person)
    blank = replace(of, observation=replace(of.observation, person=none, object=none))
    assert value_of(TERMS["ordinal_depth"].function, blank).tolist() == [0, 0, 0]


def test_what_a_term_lacks_is_told():
    whole = sample(human_occlusion=np.ones(5, bool), object_occlusion=np.ones(5, bool))
    assert {need for term in TERMS.values() for need in term.needs} == LACKS.keys()
    assert not any(lacks(whole) for lacks in LACKS.values())
    for need, missing in (
        ("wholebody_keypoints", {"wholebody_keypoints": None}),
        ("object_correspondences", {"object_correspondences": None}),
        ("object_correspondences", {"object_correspondences_box": None}),
        ("object_correspondences", {"object_correspondences": np.zeros((8, 8, 3))}),
        ("masks", {"person_mask": None}),
        ("masks", {"object_mask": None}),
        ("occlusion", {"human_occlusion": None}),
        ("occlusion", {"object_occlusion": None}),
    ):
        found = {name for name, lacks in LACKS.items() if lacks(replace(whole, **missing))}
        assert found == {need}


def test_a_map_without_a_usable_cell_is_lacking():
    grid = np.full((8, 8, 3), np.nan)
    assert LACKS["object_correspondences"](sample(object_correspondences=grid))


def test_a_mask_without_a_box_is_lacking():
    assert LACKS["masks"](sample(person_mask_box=None))


@pytest.mark.parametrize("box", [(10.0, 10, 0, 5), (np.nan,) * 4], ids=["no width", "NaN"])
def test_a_broken_box_of_a_map_is_an_absent_map(box):
    seen = seen_of(sample(object_correspondences_box=np.array(box)), sample(row=1))
    assert not seen.cells[0].any() and seen.cells[1].any()


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_a_sample_without_camera_or_body_is_refused():
    with unchecked():
        with pytest.raises(ValueError, match=r"cello-test-00000.*camera"):
            observe([sample(camera=None)], template("cello"))
        with pytest.raises(ValueError, match=r"cello-test-00000.*body"):
            observe([sample(human=None)], template("cello"))


def test_moving_an_observation_changes_real_numbers_alone():
    seen = problem("cello").observation
    moved = seen.to(torch.device("cpu"), torch.float32)
    for field in fields(seen):
        value = getattr(seen, field.name)
        if isinstance(value, torch.Tensor):
            kept = getattr(moved, field.name)
            assert kept.dtype == (torch.float32 if value.is_floating_point() else value.dtype)
            assert torch.equal(kept, value.to(kept.dtype))
    assert all(tensor.dtype == torch.float32 for tensor in (*moved.cameras, *moved.initial.values()))
    point = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 5, 3)))
    wanted = torch.stack([seen.cameras.rotation[k] @ point[k].T for k in range(3)]).mT
    assert torch.allclose(seen.cameras.see(point), wanted + seen.cameras.translation[:, None])


def test_contact_candidates_are_the_twin_s():
    rng = np.random.default_rng(0)
    mean = rng.random(60)
    maps = [rng.random(60) < 0.3, np.zeros(60, bool), rng.random(60)]
    index, weight = contact_candidates(maps, mean, 0.2)
    for row, occluded in enumerate(maps):
        there = index[row] >= 0
        found = dict(zip(index[row][there].tolist(), weight[row][there].tolist(), strict=True))
        assert found == slow_losses.candidates(occluded, mean, 0.2)
        assert not weight[row][~there].any()
    assert not (index[1] >= 0).any() and index.shape[1] > 5
    exactly, _ = contact_candidates([np.ones(2)], np.array([0.05, 0.0500001]), 0.05)
    assert exactly[0][exactly[0] >= 0].tolist() == [1]  # above, not at, the threshold


def test_initial_parameters_are_the_sample_s():
    seen = seen_of(*samples_of("cello"))
    for name, tensor in seen.initial.items():
        assert np.array_equal(tensor, np.stack([getattr(one.human, name) for one in samples_of("cello")]))
    assert seen.initial.keys() == {"betas", "body_pose", "left_hand_pose", "right_hand_pose"}
