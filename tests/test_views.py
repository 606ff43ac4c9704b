"""Views of an object's scenes: what is read, that both sides of equation 6 agree, and what a mirror does to them."""

from dataclasses import replace

import numpy as np
import pytest
from run_methods import make_runnable
from scenes import CATEGORIES

import submissions
from wildhoi.dataset import find_data, load_annotations, load_layouts, load_samples, seal_folder, write_annotations
from wildhoi.errors import InputError
from wildhoi.geometry import camera_position
from wildhoi.mirror import mirror_sample
from wildhoi.objects import find_category
from wildhoi.view_reading import read_points, read_views
from wildhoi.views import JOINTS, Views, mirror_order, mirror_views, rays_of_pixels, rays_of_points

DATA = find_data("open-sample")
NAMES = DATA.categories("test")
MIRRORED = [name for name in NAMES if find_category(name).mirrored_images]
WHOLE = next(name for name in NAMES if not find_category(name).mirrored_images)
SPLITS = ("train", "test")


def samples(name, split="test"):
    return list(load_samples(DATA.path, split, [name], streaming=True))


def views_of(given):
    """The views of samples, one after the other."""
    rays = [rays_of_pixels(s.body_keypoints, s.object_keypoints, s.camera) for s in given]
    positions = [camera_position(s.camera.rotation, s.camera.translation) for s in given]
    ids = tuple(s.image_id for s in given)
    none = (None,) * len(given)
    return Views(given[0].object, ids, none, none, np.stack(rays), np.stack(positions), len(given))


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


def test_both_sides_of_equation_6_agree_on_data_without_noise(name):
    """Further views are projections written by another module: their pixels against the annotated keypoints."""
    views = read_views(DATA, name, views="all")
    placed = read_points(DATA, name)
    scenes = {truth.scene_id: truth.image_id for truth in load_annotations(DATA, "train", [name])}
    further = range(views.images, len(views))
    assert len(further) >= 4
    for row in further:
        points = placed.points[placed.image_ids.index(scenes[views.scene_ids[row]])]
        right = rays_of_points(points, views.positions[row])
        assert np.abs(views.rays[row] - right).max() < 1e-6


def test_the_truth_of_images_is_equation_6_right(name):
    for split in SPLITS:
        views, placed = read_views(DATA, name, split=split, source="truth"), read_points(DATA, name, split=split)
        assert views.view_ids == placed.image_ids and views.images == len(views) and not views.left_out
        truths = load_annotations(DATA, split, [name])
        for row, truth in enumerate(truths):
            seen = placed.points[row] @ truth.camera.rotation.T + truth.camera.translation
            pixels = seen[:, :2] / seen[:, 2:] * truth.camera.focal + truth.camera.principal_point
            left = rays_of_pixels(pixels[:JOINTS], pixels[JOINTS:], truth.camera)
            assert np.abs(left - views.rays[row]).max() < 1e-9
            assert (views.interactions[row], views.scene_ids[row]) == (truth.interaction, truth.scene_id)


def test_rays_of_a_scenes_views_meet_at_its_keypoints(name):
    views, placed = read_views(DATA, name, views="all", source="truth"), read_points(DATA, name)
    for image, points in zip(placed.image_ids, placed.points, strict=True):
        rows = [k for k, scene in enumerate(views.scene_ids) if scene == views.scene_ids[views.view_ids.index(image)]]
        assert len(rows) >= 5
        for number, wanted in enumerate(points):
            across = [np.eye(3) - np.outer(d, d) for d in views.rays[rows, number]]
            sums = sum(a @ t for a, t in zip(across, views.positions[rows], strict=True))
            met = np.linalg.solve(sum(across), sums)
            assert np.linalg.norm(met - wanted) < 1e-6


def test_estimates_are_what_the_samples_say(name):
    for split in SPLITS:
        found, wanted = read_views(DATA, name, split=split), views_of(samples(name, split))
        assert found.view_ids == wanted.view_ids and found.images == len(found)
        np.testing.assert_allclose(found.rays, wanted.rays, atol=1e-12)
        np.testing.assert_allclose(found.positions, wanted.positions)
        np.testing.assert_allclose(np.linalg.norm(found.rays, axis=-1), 1)
        kinds = {truth.image_id: (truth.scene_id, truth.interaction) for truth in load_annotations(DATA, split, [name])}
        assert [kinds[i] for i in found.view_ids] == list(zip(found.scene_ids, found.interactions, strict=True))
        # estimates are near the truth, and are not the truth
        apart = np.abs(found.rays - read_views(DATA, name, split=split, source="truth").rays).max()
        assert 1e-5 < apart < 0.5


def test_all_views_are_the_images_and_then_every_layout(name):
    images, everything = read_views(DATA, name), read_views(DATA, name, views="all")
    assert everything.images == images.images and everything.view_ids[: len(images)] == images.view_ids
    np.testing.assert_array_equal(everything.rays[: len(images)], images.rays)
    layouts = [f"{view.scene_id}/view-{view.view}" for view in load_layouts(DATA, "train", [name])]
    assert sorted(everything.view_ids[len(images) :]) == sorted(layouts)
    assert all(kind is not None for kind in everything.interactions)


def test_some_views_are_taken_in_the_order_given():
    views = read_views(DATA, WHOLE, views="all")
    taken = views.take([0, 3, 2])
    assert taken.view_ids == tuple(views.view_ids[k] for k in (0, 3, 2)) and taken.images == 1
    np.testing.assert_array_equal(taken.rays, views.rays[[0, 3, 2]])
    np.testing.assert_array_equal(taken.positions, views.positions[[0, 3, 2]])
    assert len(views.take(np.array([2, 1]))) == 2 and views.take([2, 1]).images == 0
    assert len(views.take([])) == 0


# -- mirrors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thing", [name for name in CATEGORIES if find_category(name).keypoints])
def test_a_mirror_puts_every_keypoint_where_it_came_from(thing):
    category = find_category(thing)
    order = mirror_order(category)
    assert sorted(order) == list(range(JOINTS + len(category.keypoints)))
    assert (order[order] == np.arange(len(order))).all()


@pytest.mark.parametrize("thing", MIRRORED)
def test_the_view_of_a_mirrored_sample_is_the_mirrored_view(thing):
    given = samples(thing) + samples(thing, "train")
    wanted, found = mirror_views(views_of(given)), views_of([mirror_sample(sample) for sample in given])
    np.testing.assert_allclose(found.rays, wanted.rays, atol=1e-6)  # pixels have 32 bits
    np.testing.assert_allclose(found.positions, wanted.positions)
    assert np.abs(found.rays - views_of(given).rays).max() > 0.01


@pytest.mark.parametrize("thing", MIRRORED)
def test_a_mirror_undoes_itself_and_exchanges_left_and_right(thing):
    views = read_views(DATA, thing, views="all")
    mirrored = mirror_views(views)
    again = mirror_views(mirrored)
    np.testing.assert_array_equal(again.rays, views.rays)
    np.testing.assert_array_equal(again.positions, views.positions)
    left, right = 20, 21  # wrists of SMPL
    reflected = views.rays * [-1, 1, 1]
    np.testing.assert_array_equal(mirrored.rays[:, [left, right, 0]], reflected[:, [right, left, 0]])
    assert mirrored.view_ids == views.view_ids and mirrored.images == views.images


@pytest.mark.parametrize("thing", MIRRORED)
def test_mirrored_rays_are_of_the_mirrored_scene(thing):
    placed = read_points(DATA, thing)
    views = read_views(DATA, thing, source="truth")
    order = mirror_order(find_category(thing))
    points, positions = placed.points[:, order] * [-1, 1, 1], views.positions * [-1, 1, 1]
    np.testing.assert_allclose(mirror_views(views).rays, rays_of_points(points, positions), atol=1e-12)


def test_what_a_mirror_would_change_is_not_mirrored():
    with pytest.raises(InputError, match="mirrored picture would show another object"):
        mirror_views(read_views(DATA, WHOLE))


# -- what is left out, and what is refused -----------------------------------------------------------------------------

NAN = float("nan")


def without_numbers(sample):
    spoilt = sample.body_keypoints.copy()
    spoilt[3, 0] = NAN
    return spoilt


def spoilt_data(folder, thing=WHOLE):
    """A folder of one whole sample and three that lack something each; no annotations."""
    whole = samples(thing)[0]
    camera = replace(whole.camera, translation=np.array([0.0, NAN, 40.0]))
    broken = [{"camera": None}, {"object_keypoints": None}, {"body_keypoints": without_numbers(whole)},
              {"camera": camera}]  # fmt: skip
    made = [replace(whole, image_id=f"broken-{k}", **changes) for k, changes in enumerate(broken)]
    return make_runnable(folder, [whole, *made], split="train")


def test_images_that_lack_something_are_left_out_and_counted(tmp_path):
    views = read_views(spoilt_data(tmp_path), WHOLE)
    assert views.view_ids == (samples(WHOLE)[0].image_id,)
    assert (views.scene_ids, views.interactions) == ((None,), (None,))
    assert dict(views.left_out) == {
        "without camera": 1,
        "without object keypoints": 1,
        "with keypoints or a camera that are not finite": 2,
    }


def test_no_view_at_all_is_an_error_that_says_why(tmp_path):
    data = make_runnable(tmp_path, [replace(samples(WHOLE)[0], camera=None)], split="train")
    with pytest.raises(InputError, match=f"no view of {WHOLE} in split 'train': 1 without camera"):
        read_views(data, WHOLE)


def test_another_number_of_keypoints_is_refused(tmp_path):
    sample = samples(WHOLE)[0]
    data = make_runnable(tmp_path, [replace(sample, object_keypoints=sample.object_keypoints[:-1])], split="train")
    with pytest.raises(InputError, match=f"{sample.image_id}: object_keypoints: got .* want the .* of the table"):
        read_views(data, WHOLE)


def test_the_truth_is_asked_for_only_where_it_is_read(tmp_path):
    data = spoilt_data(tmp_path)
    with pytest.raises(InputError, match=f"no annotations of {WHOLE}"):
        read_views(data, WHOLE, source="truth")
    with pytest.raises(InputError, match=f"no annotations of {WHOLE}"):
        read_points(data, WHOLE)
    with pytest.raises(InputError, match="spoon"):
        read_views(data, "spoon")


def test_annotations_of_other_objects_do_not_matter(tmp_path):
    """Estimates alone are enough for an object, whatever else the folder knows the truth of."""
    spoilt_data(tmp_path)
    other = NAMES[0]
    write_annotations(
        tmp_path / "annotations" / other / "train-00000-of-00001.parquet", load_annotations(DATA, "train", [other])
    )
    data = seal_folder(tmp_path, name="other", body_model="open")
    assert len(read_views(data, WHOLE)) == 1


def test_a_pose_is_read_as_the_annotation_has_it():
    """A keypoint of X_3D by hand: the template's own, turned, scaled and moved."""
    from wildhoi.templates import SHIPPED, load_template

    name = next(name for name in NAMES if find_category(name).joint is None)
    placed, template = read_points(DATA, name), load_template(SHIPPED / name)
    for truth, points in zip(load_annotations(DATA, "train", [name]), placed.points, strict=True):
        pose = truth.object_pose
        wanted = [pose.scale * pose.rotation @ point + pose.translation for point in template.keypoints.values()]
        np.testing.assert_allclose(points[JOINTS:], wanted, atol=1e-9)
        with submissions.unchecked():
            assert np.linalg.norm(points[0]) < 1e-6  # the pelvis is the origin
