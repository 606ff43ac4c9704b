from dataclasses import fields

import numpy as np
import pytest

from wildhoi.convert.safe_pickle import load_pickle
from wildhoi.errors import InputError
from wildhoi.geometry import align_similarity, project, rotvec_to_matrix
from wildhoi.mirror import (
    AXIAL,
    BODY_EXCHANGE,
    OPENPOSE_EXCHANGE,
    REFLECTION,
    WHOLEBODY_EXCHANGE,
    mirror_body_keypoints,
    mirror_camera,
    mirror_human,
    mirror_object_keypoints,
    mirror_openpose,
    mirror_sample,
    mirror_wholebody,
)
from wildhoi.objects import find_category, load_categories
from wildhoi.schema import Camera, Human, ObjectPose, Sample
from wildhoi.templates import SHIPPED, load_template

WIDTH, HEIGHT = 480, 270
CATEGORIES = load_categories()
MIRRORED = [name for name, category in CATEGORIES.items() if category.mirrored_images]
NOT_MIRRORED = [name for name in CATEGORIES if name not in MIRRORED]
WITH_KEYPOINTS = [name for name, category in CATEGORIES.items() if category.keypoint_flip]

TABLES = {
    "body": BODY_EXCHANGE,
    "openpose": OPENPOSE_EXCHANGE,
    "wholebody": WHOLEBODY_EXCHANGE,
    **{name: CATEGORIES[name].keypoint_flip for name in CATEGORIES},
}
PUBLISHED_BODY = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20)
LIMBS = ["hip", "knee", "ankle"]
FEET = [f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")]
OPENPOSE_NAMES = [
    "nose", "neck",
    *(f"{side}_{part}" for side in ("right", "left") for part in ("shoulder", "elbow", "wrist")), "middle of the hips",
    *(f"{side}_{part}" for side in ("right", "left") for part in LIMBS),
    *(f"{side}_{part}" for part in ("eye", "ear") for side in ("right", "left")), *FEET,
]  # fmt: skip
WHOLEBODY_NAMES = [
    "nose",
    *(f"{side}_{part}" for part in ("eye", "ear", "shoulder", "elbow", "wrist", *LIMBS) for side in ("left", "right")),
    *FEET,
]

# The 68 face points, by hand in a picture: x to the right from the middle of the face, y down.
FACE = np.array([
    *[(-8 + k, 8 - (k - 8) ** 2 / 8) for k in range(17)],  # jaw, from the picture's left to its right
    *[(-6 + k, -4) for k in range(5)], *[(2 + k, -4) for k in range(5)],  # brows
    *[(0, -3 + k) for k in range(4)],  # bridge of the nose
    *[(-2 + k, 1.5) for k in range(5)],  # nostrils
    (-6, -2), (-5, -3), (-4, -3), (-3, -2), (-4, -1), (-5, -1),  # the eye at the picture's left, clockwise
    (3, -2), (4, -3), (5, -3), (6, -2), (5, -1), (4, -1),  # the other, clockwise
    (-3, 4), (-2, 3), (-1, 2.8), (0, 3), (1, 2.8), (2, 3), (3, 4),  # lips outside, from the left corner, clockwise
    (2, 5), (1, 5.5), (0, 5.6), (-1, 5.5), (-2, 5),
    (-2, 4), (-1, 3.6), (0, 3.6), (1, 3.6), (2, 4), (1, 4.6), (0, 4.6), (-1, 4.6),  # lips inside
])  # fmt: skip

# The skeleton that every picture of the fixtures was drawn with: parents and rest positions, metres.
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
REST = np.array([
    (0, 0, 0), (0.07, -0.09, 0), (-0.07, -0.09, 0), (0, 0.11, -0.02), (0.10, -0.47, 0), (-0.10, -0.47, 0),
    (0, 0.25, 0), (0.09, -0.88, -0.03), (-0.09, -0.88, -0.03), (0, 0.30, 0.02), (0.12, -0.94, 0.09),
    (-0.12, -0.94, 0.09), (0, 0.52, -0.02), (0.08, 0.42, -0.01), (-0.08, 0.42, -0.01), (0, 0.60, 0.03),
    (0.19, 0.44, -0.02), (-0.19, 0.44, -0.02), (0.45, 0.43, -0.04), (-0.45, 0.43, -0.04), (0.70, 0.43, -0.04),
    (-0.70, 0.43, -0.04),
])  # fmt: skip


def skeleton(body_pose):
    """The 22 joints of the fixtures' skeleton, metres."""
    joints, turns = [REST[0]], [np.eye(3)]
    for joint in range(1, 22):
        above = PARENTS[joint]
        joints.append(joints[above] + turns[above] @ (REST[joint] - REST[above]))
        turns.append(turns[above] @ rotvec_to_matrix(body_pose[joint - 1]))
    return np.array(joints)


def pixels(joints, camera):
    return project(joints @ camera.rotation.T + camera.translation, camera.focal, camera.principal_point)


def random_human(rng):
    return Human(*(rng.normal(0, 0.4, shape) for shape in ((10,), (21, 3), (15, 3), (15, 3))))


def random_camera(rng):
    return Camera(
        np.diag([1.0, -1, -1]) @ rotvec_to_matrix(rng.normal(0, 0.3, 3)),
        np.array([0.3, -0.2, 38.0]),
        np.array([3900.0, 3950.0]),
        np.array([261.6, 158.5]),
    )


def random_sample(name, seed=0):
    """A sample with everything in it."""
    rng = np.random.default_rng(seed)
    camera, k = random_camera(rng), max(1, len(find_category(name).keypoints))
    return Sample(
        image_id="0001_001_000001",
        object=name,
        video_id="0001",
        image=rng.integers(0, 256, (60, 80, 3), np.uint8),
        image_box=(100, 40, 80, 60),
        frame_size=(WIDTH, HEIGHT),
        person_box=np.array([110.0, 45.0, 140.0, 95.0]),
        object_box=np.array([120.0, 50.0, 170.0, 80.0]),
        person_mask=rng.random((51, 31)) < 0.5,
        person_mask_box=(110, 45, 31, 51),
        object_mask=rng.random((31, 51)) < 0.5,
        object_mask_box=(120, 50, 51, 31),
        wholebody_keypoints=rng.uniform(0.1, 200, (133, 3)),
        openpose_keypoints=rng.uniform(0.1, 200, (25, 3)),
        human=random_human(rng),
        jaw_pose=rng.normal(0, 0.1, 3),
        expression=rng.normal(0, 1, 10),
        body_box=np.array([80.5, 20.25, 110.5, 130.75]),
        camera=camera,
        focal=camera.focal,
        principal_point=camera.principal_point,
        object_pose=ObjectPose(np.eye(3), np.zeros(3)),
        object_pose_success=True,
        body_keypoints=rng.uniform(0, 200, (22, 2)),
        object_keypoints=rng.uniform(0, 200, (k, 2)),
        object_correspondences=rng.normal(0, 1, (4, 5, 3)),
        object_correspondences_box=np.array([120.0, 50.0, 10.0, 8.0]),
        object_correspondences_weights=rng.uniform(0, 1, (4, 5, 2)),
        human_occlusion=np.zeros(10, bool),
        object_occlusion=np.zeros(7, bool),
    )


# What happens to every field of a sample: a new field must be placed here, and handled.
KEPT = {"image_id", "object", "video_id", "frame_size", "gender", "focal"}
DROPPED = {
    "object_pose", "object_pose_success", "object_correspondences", "object_correspondences_box",
    "object_correspondences_weights", "human_occlusion", "object_occlusion", "expression",
}  # fmt: skip


def leaves(value):
    """The arrays and plain values of a field, dataclasses opened."""
    if isinstance(value, Human | Camera):
        return [leaf for part in fields(value) for leaf in leaves(getattr(value, part.name))]
    return [value]


def assert_same(found, wanted, name):
    for a, b in zip(leaves(found), leaves(wanted), strict=True):
        if isinstance(b, str):
            assert a == b, name
        else:
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_a_permutation_that_undoes_itself(name):
    table = np.array(TABLES[name], int)
    assert sorted(table) == list(range(len(table)))
    assert (table[table] == np.arange(len(table))).all()


def test_the_body_table_is_the_published_one():
    assert BODY_EXCHANGE == PUBLISHED_BODY
    np.testing.assert_array_equal(REST[list(BODY_EXCHANGE)], REST * REFLECTION)


@pytest.mark.parametrize(
    ("names", "table"), [(OPENPOSE_NAMES, OPENPOSE_EXCHANGE), (WHOLEBODY_NAMES, WHOLEBODY_EXCHANGE)]
)
def test_names_with_a_side_are_exchanged_with_their_twins(names, table):
    other = {"left": "right", "right": "left"}
    for k, name in enumerate(names):
        side, _, rest = name.partition("_")
        assert names[table[k]] == (f"{other[side]}_{rest}" if side in other else name)


def test_a_symmetric_face_stays_when_its_points_are_exchanged():
    table = np.array(WHOLEBODY_EXCHANGE[23:91]) - 23
    assert len(FACE) == 68
    np.testing.assert_array_equal(FACE[table], FACE * [-1, 1])


def test_hands_are_exchanged_point_by_point():
    assert WHOLEBODY_EXCHANGE[91:112] == tuple(range(112, 133))
    assert WHOLEBODY_EXCHANGE[112:] == tuple(range(91, 112))


@pytest.mark.parametrize("name", MIRRORED)
def test_twice_is_as_before(name):
    sample = random_sample(name)
    twice = mirror_sample(mirror_sample(sample))
    for field in fields(Sample):
        if field.name not in DROPPED:
            assert_same(getattr(twice, field.name), getattr(sample, field.name), field.name)


def test_every_field_is_mirrored_kept_or_dropped():
    sample = random_sample(MIRRORED[0])
    mirrored = mirror_sample(sample)
    for field in fields(Sample):
        before, after = getattr(sample, field.name), getattr(mirrored, field.name)
        assert before is not None, field.name
        if field.name in DROPPED:
            assert after is None or after is False, field.name
        elif field.name in KEPT:
            assert after is before, field.name
        else:
            assert not all(np.array_equal(a, b) for a, b in zip(leaves(after), leaves(before), strict=True)), field.name


def test_what_is_absent_stays_absent():
    bare = Sample("0001_001_000001", MIRRORED[0], "0001", frame_size=(WIDTH, HEIGHT))
    mirrored = mirror_sample(bare)
    assert all(getattr(mirrored, field.name) == getattr(bare, field.name) for field in fields(Sample))


def paint(pixels, box):
    """The whole frame, empty but for a rectangle."""
    frame = np.zeros((HEIGHT, WIDTH, *pixels.shape[2:]), pixels.dtype)
    x, y, w, h = box
    frame[y : y + h, x : x + w] = pixels
    return frame


def paint_box(corners):
    x1, y1, x2, y2 = corners
    return paint(np.ones((y2 - y1 + 1, x2 - x1 + 1)), (x1, y1, x2 - x1 + 1, y2 - y1 + 1))


def test_the_frame_is_seen_in_a_mirror():
    """The crop, masks and boxes painted into the whole frame, which then is reversed: the slow, obvious twin."""
    sample = random_sample(MIRRORED[0])
    mirrored = mirror_sample(sample)

    for name in ("image", "person_mask", "object_mask"):
        before, after = (paint(getattr(s, name), getattr(s, f"{name}_box")) for s in (sample, mirrored))
        np.testing.assert_array_equal(after, before[:, ::-1])
    for name in ("person_box", "object_box"):
        before, after = (paint_box(getattr(s, name).astype(int)) for s in (sample, mirrored))
        np.testing.assert_array_equal(after, before[:, ::-1])


def test_the_middle_of_the_body_box_stays_the_principal_point():
    camera = random_camera(np.random.default_rng(0))
    x, y = camera.principal_point
    sample = Sample(
        "0001_001_000001", MIRRORED[0], "0001", frame_size=(WIDTH, HEIGHT), camera=camera, focal=camera.focal,
        principal_point=camera.principal_point, body_box=np.array([x - 40, y - 50, 80, 100]),
    )  # fmt: skip
    mirrored = mirror_sample(sample)
    middle = mirrored.body_box[:2] + mirrored.body_box[2:] / 2
    np.testing.assert_allclose(middle, mirrored.camera.principal_point, atol=1e-12)
    np.testing.assert_allclose(middle, mirrored.principal_point, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_mirrored_person_in_the_mirrored_camera_is_the_mirrored_picture(seed):
    rng = np.random.default_rng(seed)
    human, camera = random_human(rng), random_camera(rng)
    joints, mirrored = skeleton(human.body_pose), skeleton(mirror_human(human).body_pose)
    np.testing.assert_allclose(mirrored, (joints * REFLECTION)[list(BODY_EXCHANGE)], atol=1e-12)
    wanted = mirror_body_keypoints(pixels(joints, camera), WIDTH)
    np.testing.assert_allclose(pixels(mirrored, mirror_camera(camera, WIDTH)), wanted, atol=1e-9)


def test_the_fixtures_keypoints_are_those_of_the_mirrored_fit(release_dir):
    """The release's own numbers: its 2D joints mirrored are its tuned body mirrored, posed and projected."""
    folder = release_dir / "skateboard"
    track = next(iter(sorted(folder.glob("smplx_tuned/*/*_smplx.pkl"))))
    rows = load_pickle(track, torch_tensors=True)
    points = load_pickle(next(folder.glob(f"hoi_kps/{track.parent.name}/{track.name[:3]}_*.pkl")))["smpl_kps_seq"]
    compared = 0
    for row, seen in zip(rows, points, strict=True):
        if np.isnan(seen).any() or not np.isfinite(row["body_pose"]).all():
            continue
        human = Human(row["betas"], row["body_pose"], row["left_hand_pose"], row["right_hand_pose"])
        camera = Camera(row["cam_R"], np.ravel(row["cam_T"]), np.ravel(row["focal"]), np.ravel(row["princpt"]))
        found = pixels(skeleton(mirror_human(human).body_pose), mirror_camera(camera, WIDTH))
        np.testing.assert_allclose(found, mirror_body_keypoints(seen, WIDTH), atol=1e-3)
        compared += 1
    assert compared > 5


def test_left_and_right_change_places():
    """A wave of the left arm is a wave of the right arm in the mirror."""
    pose = np.zeros((21, 3))
    pose[15] = 0.2, 0.3, 0.9  # row of joint 16, the left shoulder
    human = Human(np.zeros(10), pose, np.full((15, 3), 0.1), np.full((15, 3), 0.2))
    mirrored = mirror_human(human)
    np.testing.assert_array_equal(mirrored.body_pose[16], [0.2, -0.3, -0.9])
    assert not mirrored.body_pose[15].any()
    np.testing.assert_array_equal(mirrored.left_hand_pose[0], [0.2, -0.2, -0.2])
    np.testing.assert_array_equal(mirrored.right_hand_pose[0], [0.1, -0.1, -0.1])


def test_a_rotation_is_reflected_on_both_sides():
    vector = np.array([0.3, -0.7, 1.1])
    reflection = np.diag(REFLECTION)
    wanted = reflection @ rotvec_to_matrix(vector) @ reflection
    np.testing.assert_allclose(rotvec_to_matrix(vector * AXIAL), wanted, atol=1e-15)


def test_a_symmetric_person_in_the_middle_stays():
    """Arms down on both sides, seen from the front through the middle of the frame."""
    pose = np.zeros((21, 3))
    pose[15], pose[16], pose[2] = (0.1, 0.2, -1.2), (0.1, -0.2, 1.2), (0.3, 0, 0)
    hand = np.full((15, 3), 0.2)
    human = Human(np.ones(10), pose, hand, hand * AXIAL)
    middle = (WIDTH - 1) / 2
    camera = Camera(np.diag([1.0, -1, -1]), np.array([0, 0.1, 40]), np.full(2, 4000.0), np.array([middle, 120.0]))
    sample = Sample(
        "0001_001_000001", MIRRORED[0], "0001", frame_size=(WIDTH, HEIGHT), human=human, camera=camera,
        image=np.full((20, 40, 3), 7, np.uint8), image_box=(220, 100, 40, 20),
        body_keypoints=pixels(skeleton(pose), camera), jaw_pose=np.array([0.2, 0, 0]),
    )  # fmt: skip
    mirrored = mirror_sample(sample)
    for name in ("human", "camera", "image", "image_box", "body_keypoints", "jaw_pose"):
        for a, b in zip(leaves(getattr(mirrored, name)), leaves(getattr(sample, name)), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12, err_msg=name)


# Every shipped template with keypoints is its own mirror image once its keypoints are exchanged: those of the two
# string instruments too, whose mirrored pictures are refused because of the strings and what holds them.
@pytest.mark.parametrize("name", WITH_KEYPOINTS)
def test_reflected_keypoints_exchanged_are_those_of_the_template_moved(name):
    template = load_template(SHIPPED / name)
    keypoints = np.stack(list(template.keypoints.values()))
    exchanged = (keypoints * REFLECTION)[list(template.category.keypoint_flip)]
    moved = align_similarity(keypoints, exchanged)
    np.testing.assert_allclose(moved.apply(keypoints), exchanged, atol=1e-9)
    assert moved.scale == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", [name for name in WITH_KEYPOINTS if name in MIRRORED])
def test_mirrored_object_keypoints_are_those_of_the_object_in_some_pose(name):
    """In the picture: the exchanged keypoints are seen where the template, moved rigidly, has them."""
    rng = np.random.default_rng(3)
    keypoints = np.stack(list(load_template(SHIPPED / name).keypoints.values()))
    camera = random_camera(rng)
    posed = keypoints @ rotvec_to_matrix(rng.normal(0, 1, 3)).T + [0.1, 0.2, 0.3]
    found = mirror_object_keypoints(pixels(posed, camera), find_category(name), WIDTH)
    target = (posed * REFLECTION)[list(find_category(name).keypoint_flip)]
    rigid = align_similarity(keypoints, target)
    np.testing.assert_allclose(found, pixels(rigid.apply(keypoints), mirror_camera(camera, WIDTH)), atol=1e-6)


@pytest.mark.parametrize("name", NOT_MIRRORED)
def test_an_object_that_differs_in_the_mirror_is_refused(name):
    category = find_category(name)
    with pytest.raises(InputError, match=rf"{name}.*mirrored"):
        mirror_sample(random_sample(name))
    with pytest.raises(InputError, match=name):
        mirror_object_keypoints(np.zeros((len(category.keypoints), 2)), category, WIDTH)


def test_what_cannot_be_mirrored_is_said():
    with pytest.raises(InputError, match="frame_size is absent"):
        mirror_sample(Sample("0001_001_000001", MIRRORED[0], "0001"))
    category = find_category(MIRRORED[0])
    with pytest.raises(InputError, match="want the"):
        mirror_object_keypoints(np.zeros((len(category.keypoints) + 1, 2)), category, WIDTH)


@pytest.mark.parametrize("mirror", [mirror_wholebody, mirror_openpose])
def test_keypoints_that_were_not_found_stay_zero(mirror):
    count = 133 if mirror is mirror_wholebody else 25
    points = np.zeros((count, 3))
    np.testing.assert_array_equal(mirror(points, WIDTH), points)


def test_batches_and_nan_pass():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, WIDTH, (4, 3, 22, 2))
    points[1, 2] = np.nan
    mirrored = mirror_body_keypoints(points, WIDTH)
    for row in np.ndindex(4, 3):
        np.testing.assert_array_equal(mirrored[row], mirror_body_keypoints(points[row], WIDTH))
    assert np.isnan(mirrored[1, 2]).all() and np.isfinite(np.delete(mirrored, 1, 0)).all()
    wholebody = rng.uniform(0, WIDTH, (5, 133, 3)).astype(np.float32)
    assert mirror_wholebody(wholebody, WIDTH).dtype == np.float32
