"""Who looks at a scene of the open set: views from all round, wild crops, and files that keep every number."""

from dataclasses import fields, replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from wildhoi.body import load_body, pose_person
from wildhoi.errors import InputError
from wildhoi.geometry import camera_position, orthonormality_error, project
from wildhoi.open_scenes.cameras import FAR_FOCAL, draw_camera, draw_view, load_camera_settings, outermost
from wildhoi.open_scenes.making import draw_role, make_scenes, visible_share
from wildhoi.open_scenes.randomness import generator
from wildhoi.open_scenes.scene import as_stored
from wildhoi.open_scenes.scene_files import read_scenes, write_scenes
from wildhoi.schema import Camera, Human, ObjectPose
from wildhoi.templates import SHIPPED, load_template

BODY = load_body("open")
SETTINGS = load_camera_settings()
DRAWS = 240


def made_of(name, count, seed=3):
    template = load_template(SHIPPED / name)
    roles = [draw_role(f"{name}-{number}", seed, template, ()) for number in range(count)]
    return template, make_scenes(roles, template, BODY)


@pytest.fixture(scope="module")
def ball():
    return made_of("basketball", 2)


@pytest.fixture(scope="module")
def bicycle():
    return made_of("bicycle", 1)


@pytest.fixture(scope="module")
def points(ball):
    """A person with a ball: vertices, joints and the way up."""
    template, made = ball
    scene = made.scenes[0]
    skin, joints = pose_person(scene.human, BODY)
    return skin, template.posed(scene.object_pose), joints[:22], scene.upright


@pytest.fixture(scope="module")
def seen(points):
    skin, thing, joints, upright = points
    # the hulls see and are seen as the meshes are, and are drawn faster
    person, object_ = outermost(skin), outermost(thing)
    return [draw_camera(person, object_, joints, upright, generator("camera", n)) for n in range(DRAWS)]


def same(first, second):
    return all(np.array_equal(getattr(first, e.name), getattr(second, e.name)) for e in fields(first))


def shown(points, camera):
    return project(points @ camera.rotation.T + camera.translation, camera.focal, camera.principal_point)


def near_and_far(seen):
    return [s for s in seen if not same(s.camera, s.annotated)], [s for s in seen if same(s.camera, s.annotated)]


# what is drawn -------------------------------------------------------------------------------------------------------


def test_annotated_cameras_are_those_of_the_crop(seen):
    for one in seen:
        box, camera = one.body_box, one.annotated
        assert np.allclose(camera.focal, 5000 / 256 * box[3], rtol=1e-6)
        assert np.allclose(camera.principal_point, box[:2] + box[2:] / 2, rtol=0, atol=1e-3)
        assert np.isclose(box[2] / box[3], 3 / 4, rtol=1e-6)


def test_a_share_of_pictures_is_taken_with_a_real_lens_from_nearby(seen):
    near, far = near_and_far(seen)
    assert abs(len(near) / len(seen) - SETTINGS.lens["near"]) < 4 * np.sqrt(0.25 / len(seen))
    for one in near:
        longer = max(one.frame_size)
        assert SETTINGS.lens["focal_low"] * 0.999 < one.camera.focal[0] / longer < SETTINGS.lens["focal_high"] * 1.001
        assert np.allclose(one.camera.principal_point, np.array(one.frame_size) / 2)
        assert one.camera.translation[2] < one.annotated.translation[2]
    depths = np.array([one.camera.translation[2] for one in far])
    assert 25 < np.median(depths) < 60
    assert depths.min() > 15


def test_a_fitted_camera_shows_the_joints_where_they_are(seen, points):
    joints = points[2]
    near = near_and_far(seen)[0]
    errors = [np.linalg.norm(shown(joints, s.camera) - shown(joints, s.annotated), axis=1) for s in near]
    assert np.median(errors) < 2
    assert np.mean([np.median(error) < 2 for error in errors]) > 0.7
    means = [np.mean(shown(joints, s.camera) - shown(joints, s.annotated), axis=0) for s in near]
    assert np.abs(means).max() < 1


def test_a_fitted_camera_is_the_best_there_is_near_it(seen, points):
    joints = points[2]
    rng = np.random.default_rng(0)

    def missed(camera, goal):
        return ((shown(joints, camera) - goal) ** 2).sum()

    for one in near_and_far(seen)[0][:10]:
        goal, camera = shown(joints, one.camera), one.annotated
        least = missed(camera, goal)
        for _ in range(20):
            turned = camera.rotation @ _small_turn(rng, 2e-3)
            moved = camera.translation + rng.normal(0, [2e-3, 2e-3, 0.2])
            assert missed(replace(camera, rotation=turned, translation=moved), goal) > least - 1e-3


def _small_turn(rng, size):
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(rng.normal(0, size, 3)).as_matrix()


def test_person_and_object_fill_the_window_as_wild_crops_do(seen, points):
    everything = outermost(np.concatenate(points[:2]))
    for one in seen:
        x, y, side = one.window
        pixels = shown(everything, one.camera)
        low, high = pixels.min(0), pixels.max(0)
        assert side == SETTINGS.side
        assert abs((high - low).max() - side / 1.2) < 0.5
        assert np.abs((low + high) / 2 - [x + side / 2, y + side / 2]).max() < 0.5


def test_everything_is_in_front_of_the_camera(seen, points):
    for one in seen:
        for camera in (one.camera, one.annotated):
            for part in points[:2]:
                assert (part @ camera.rotation.T + camera.translation)[:, 2].min() > 0.5
            assert orthonormality_error(camera.rotation) < 1e-6
            assert np.isclose(np.linalg.det(camera.rotation), 1, atol=1e-6)


def test_views_are_from_all_round_from_above_and_from_below(seen, points):
    upright = points[3]
    places = np.stack([camera_position(s.camera.rotation, s.camera.translation) for s in seen]) @ upright.T
    azimuth = np.degrees(np.arctan2(places[:, 0], places[:, 2]))
    counts = np.histogram(azimuth, np.linspace(-180, 180, 13))[0]
    assert counts.min() > DRAWS / 12 / 3
    assert counts.max() < DRAWS / 12 * 2
    elevation = np.degrees(np.arcsin(places[:, 1] / np.linalg.norm(places, axis=1)))
    assert np.mean(elevation > 15) > 0.08
    assert np.mean(elevation < -5) > 0.1
    assert elevation.min() > -60


def test_pictures_are_upright_but_for_a_roll(seen, points):
    up = points[3][1]
    rolls = []
    for one in seen:
        place = shown(np.stack([np.zeros(3), 0.1 * up]), one.camera)
        rolls.append(np.degrees(np.arctan2(*(place[1] - place[0]) * [1, -1])))
    assert np.abs(np.median(rolls)) < 2
    assert np.quantile(np.abs(rolls), 0.9) < 25
    assert np.std(rolls) > 1


def outside(one):
    x, y, side = one.window
    return max(-x, -y, x + side - one.frame_size[0], y + side - one.frame_size[1], 0) / side


def test_a_share_of_subjects_is_truncated_and_none_too_far(seen):
    depths = np.array([outside(one) for one in seen])
    assert abs(np.mean(depths > 0) - SETTINGS.window["truncated"]) < 0.06
    least, most = SETTINGS.window["truncated_depth"]
    cut, pixel = depths[depths > 0], 1 / SETTINGS.side
    assert least - pixel <= cut.min() <= cut.max() <= most + pixel
    assert all(min(one.frame_size) >= SETTINGS.side for one in seen)


def test_subjects_are_off_the_middle_of_the_frame(seen):
    middles = np.array([(np.array(s.window[:2]) + s.window[2] / 2) / s.frame_size for s in seen])
    assert (middles.std(0) > 0.1).all()
    assert np.abs(middles.mean(0) - 0.5).max() < 0.05


def test_frames_have_the_shapes_of_videos(seen):
    shapes = {tuple(shape) for shape in SETTINGS.window["frames"]}
    for one in seen:
        width, height = one.frame_size
        assert min(abs(width / height - a / b) for a, b in shapes) < 0.05 or min(width, height) == SETTINGS.side
    landscape = np.mean([s.frame_size[0] > s.frame_size[1] for s in seen])
    assert landscape > 0.5


def test_the_same_generator_draws_the_same_camera(points):
    first, again = (draw_camera(*points, generator("again", 1)) for _ in range(2))
    assert same(first.camera, again.camera)
    assert same(first.annotated, again.annotated)
    assert (first.frame_size, first.window) == (again.frame_size, again.window)
    assert np.array_equal(first.body_box, again.body_box)


def test_hulls_are_looked_at_as_their_meshes_are(points):
    skin, thing, joints, upright = points
    whole = draw_camera(skin, thing, joints, upright, generator("hull", 1))
    corners = draw_camera(outermost(skin), outermost(thing), joints, upright, generator("hull", 1))
    assert np.allclose(whole.camera.translation, corners.camera.translation)
    assert np.allclose(whole.body_box, corners.body_box)


def test_numbers_are_as_float32_columns_hold_them(seen):
    for one in seen[:50]:
        for camera in (one.camera, one.annotated):
            assert all(
                np.array_equal(getattr(camera, e.name), as_stored(getattr(camera, e.name))) for e in fields(camera)
            )
        assert np.array_equal(one.body_box, as_stored(one.body_box))


def test_further_views_are_far_cameras_from_elsewhere(points):
    skin, thing, _, upright = points
    everything, person = outermost(np.concatenate([skin, thing])), outermost(skin)
    cameras = [draw_view(everything, person, upright, generator("view", n)) for n in range(60)]
    azimuth = []
    for camera in cameras:
        pixels = shown(everything, camera)
        low, high = pixels.min(0), pixels.max(0)
        assert abs((high - low).max() - SETTINGS.side / 1.2) < 0.5
        assert np.abs((low + high) / 2 - SETTINGS.side / 2).max() < 0.5
        tall = np.ptp(shown(person, camera), axis=0)
        height = camera.focal[0] / FAR_FOCAL
        assert 1.0 < height / max(tall[1], tall[0] * 4 / 3) < 1.6
        place = upright @ camera_position(camera.rotation, camera.translation)
        azimuth.append(np.degrees(np.arctan2(place[0], place[2])))
    assert (np.histogram(azimuth, np.linspace(-180, 180, 5))[0] > 5).all()


# scenes --------------------------------------------------------------------------------------------------------------


def test_a_role_depends_on_its_names_alone():
    template = load_template(SHIPPED / "tennis")
    kinds = [draw_role(f"s{n}", 1, template, ()).interaction.name for n in range(200)]
    assert kinds == [draw_role(f"s{n}", 1, template, ()).interaction.name for n in range(200)]
    shares = {name: interaction.share for name, interaction in template.category.interactions.items()}
    for name, share in shares.items():
        assert abs(kinds.count(name) / 200 - share / sum(shares.values())) < 0.15
    assert {draw_role(f"s{n}", 1, template, ["serve"]).interaction.name for n in range(5)} == {"serve"}


def test_a_scene_made_again_is_the_same_scene(ball):
    again = made_of("basketball", 2)[1]
    for first, second in zip(ball[1].scenes, again.scenes, strict=True):
        assert same(first.human, second.human)
        assert same(first.object_pose, second.object_pose)
        assert same(first.camera, second.camera)
        assert first.visible == second.visible


def test_scenes_are_in_the_order_of_their_roles_and_enough_is_seen(ball, bicycle):
    assert [scene.scene_id for scene in ball[1].scenes] == ["basketball-0", "basketball-1"]
    assert [scene.scene_id for scene in bicycle[1].scenes] == ["bicycle-0"]
    for template, made in (ball, bicycle):
        for scene in made.scenes:
            skin, _ = pose_person(scene.human, BODY)
            thing = template.posed(scene.object_pose, articulate=True)
            assert scene.visible == visible_share(scene, skin, thing, BODY, template)
            assert SETTINGS.window["visible"] <= scene.visible <= 1


def test_the_truth_is_the_scene_with_the_annotated_camera(bicycle):
    scene = bicycle[1].scenes[0]
    truth = scene.annotation()
    assert same(truth.camera, scene.annotated)
    assert (truth.human, truth.object_pose) == (scene.human, scene.object_pose)
    assert truth.interaction == scene.interaction
    assert truth.image_id == truth.video_id == truth.scene_id == scene.scene_id
    assert truth.visible == scene.visible


def test_an_image_box_is_the_part_of_the_window_inside_the_frame(ball):
    scene = replace(ball[1].scenes[0], frame_size=(400, 300), window=(-20, 60, 256))
    inside = np.zeros((300, 400), bool)
    inside[max(0, 60) : 316, 0:236] = True
    rows, columns = np.nonzero(inside)
    assert scene.image_box == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)


# other sizes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [64, 200, 256, 384, 512, 1001])
def test_a_resized_scene_shows_the_same_in_other_pixels(ball, bicycle, side):
    for template, made in (ball, bicycle):
        for scene in made.scenes:
            larger = scene.resized(side)
            factor = side / scene.window[2]
            assert larger.window[2] == side
            skin, _ = pose_person(scene.human, BODY)
            points = np.concatenate([skin, template.posed(scene.object_pose, articulate=True)])
            for one, other in ((scene.camera, larger.camera), (scene.annotated, larger.annotated)):
                # a pixel is the point at its middle, so the window begins half a pixel before its corner
                before = (shown(points, one) - scene.window[:2] + 0.5) * factor
                after = shown(points, other) - larger.window[:2] + 0.5
                assert np.abs(before - after).max() < 1e-6 * side
            assert np.allclose(larger.annotated.focal, FAR_FOCAL * larger.body_box[3], rtol=1e-6)
            middle = larger.body_box[:2] + larger.body_box[2:] / 2
            assert np.allclose(larger.annotated.principal_point, middle, rtol=0, atol=0.51 * abs(factor - 1) + 1e-3)
            assert np.abs(np.array(larger.frame_size) - np.array(scene.frame_size) * factor).max() <= 0.5


def test_the_principal_point_of_a_resized_scene_stays_in_the_middle_of_the_crop(ball):
    """As annotated cameras have it, to the digit, in whatever size."""
    scene = ball[1].scenes[0]
    for side in (64, 512):
        larger = scene.resized(side)
        middle = larger.body_box[:2] + larger.body_box[2:] / 2
        assert np.allclose(larger.annotated.principal_point, middle, rtol=0, atol=1e-3)


def test_a_resized_scene_keeps_what_is_cut(ball):
    scene = replace(ball[1].scenes[0], frame_size=(400, 300), window=(-40, 20, 256))
    for side in (128, 512):
        larger = scene.resized(side)
        assert np.allclose(np.array(larger.image_box) * 256 / side, scene.image_box, atol=1.01 * max(1, 256 / side))


def test_a_scene_of_its_own_size_is_itself(ball):
    scene = ball[1].scenes[0]
    assert scene.resized(scene.window[2]) is scene


# files ---------------------------------------------------------------------------------------------------------------


def equal_scenes(first, second):
    for entry in fields(first):
        mine, other = getattr(first, entry.name), getattr(second, entry.name)
        if isinstance(mine, Camera | Human | ObjectPose):
            assert mine.__class__ is other.__class__
            for number in fields(mine):
                a, b = getattr(mine, number.name), getattr(other, number.name)
                if number.name == "rotation":  # brought onto the nearest exact one
                    assert np.allclose(a, b, rtol=0, atol=2e-7)
                else:
                    assert (a is None) == (b is None)
                    assert a is None or np.array_equal(a, b)
        elif entry.name == "upright":
            assert np.allclose(mine, other, rtol=0, atol=2e-7)
        else:
            assert np.array_equal(mine, other)


def test_scenes_come_back_from_a_file_as_they_were(ball, bicycle, tmp_path):
    scenes = [*ball[1].scenes, *bicycle[1].scenes]
    redrawn = [("a", "a contact is open"), ("é", "b")]
    write_scenes(tmp_path / "scenes.parquet", scenes, redrawn)
    found = read_scenes(tmp_path / "scenes.parquet")
    assert found.redrawn == redrawn
    for first, second in zip(scenes, found.scenes, strict=True):
        equal_scenes(first, second)
    again = tmp_path / "again.parquet"
    write_scenes(again, scenes, redrawn)
    assert again.read_bytes() == (tmp_path / "scenes.parquet").read_bytes()


def test_a_file_read_and_written_reads_the_same(ball, tmp_path):
    write_scenes(tmp_path / "one", ball[1].scenes, [])
    first = read_scenes(tmp_path / "one").scenes
    write_scenes(tmp_path / "two", first, [])
    for a, b in zip(first, read_scenes(tmp_path / "two").scenes, strict=True):
        equal_scenes(a, b)
        # a rotation brought near twice is where it was brought once, to a float32
        assert np.allclose(a.camera.rotation, b.camera.rotation, rtol=0, atol=2e-7)


def test_a_file_without_scenes_is_one(tmp_path):
    write_scenes(tmp_path / "none", [], [])
    assert read_scenes(tmp_path / "none").scenes == []


@pytest.fixture
def written(ball, tmp_path):
    path = tmp_path / "scenes.parquet"
    write_scenes(path, ball[1].scenes, [("x", "y")])
    return path


def test_files_that_are_none_of_scenes_are_refused(written):
    with pytest.raises(InputError, match="nowhere"):
        read_scenes(written.parent / "nowhere.parquet")
    whole = written.read_bytes()
    for broken in (b"", b"PAR1", whole[: len(whole) // 2], b"x" * 500, whole[:-4] + b"oops"):
        written.write_bytes(broken)
        with pytest.raises(InputError, match=r"scenes\.parquet"):
            read_scenes(written)


def test_damaged_bytes_are_an_error_or_a_scene(written):
    whole = written.read_bytes()
    rng = np.random.default_rng(4)
    for _ in range(40):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 8):
            damaged[place] ^= int(rng.integers(1, 256))
        written.write_bytes(bytes(damaged))
        try:
            read_scenes(written)
        except InputError as error:
            assert "scenes.parquet" in str(error)


def altered(path, change):
    table = pq.read_table(path)
    pq.write_table(change(table), path)


def test_files_without_a_column_or_without_notes_are_refused(written):
    whole = written.read_bytes()
    for name in ("camera_focal", "window", "upright", "scene_id", "taken_camera_rotation"):
        columns = pq.read_table(written).column_names
        wanted = next((c for c in columns if c == name or c.endswith(name)), columns[0])
        altered(written, lambda table, wanted=wanted: table.drop_columns([wanted]))
        with pytest.raises(InputError):
            read_scenes(written)
        written.write_bytes(whole)
    for notes in (
        None,
        {b"wildhoi": b"{"},
        {b"wildhoi": b"[]"},
        {b"wildhoi": b'{"redrawn": [1]}'},
        {b"wildhoi": b'{"redrawn": 3}'},
    ):
        altered(written, lambda table, notes=notes: table.replace_schema_metadata(notes))
        with pytest.raises(InputError, match=r"scenes\.parquet"):
            read_scenes(written)
        written.write_bytes(whole)
