"""The initial estimates, and the reconstruction that is nothing but them."""

from dataclasses import fields, replace

import numpy as np
import pytest
from run_methods import run
from scenes import CATEGORIES

import submissions
from baselines.initial import initial_camera, initial_human, initial_object
from baselines.isolation import build
from wildhoi.dataset import find_data, load_samples
from wildhoi.errors import InputError
from wildhoi.method import Setup
from wildhoi.objects import find_category
from wildhoi.schema import Failure, Human, ObjectPose, Reconstruction, Sample

NAN = float("nan")
PLAIN = next(name for name in CATEGORIES if find_category(name).joint is None)
JOINTED = next(name for name in CATEGORIES if find_category(name).joint is not None)


def sample(thing=PLAIN, **changes):
    pose = ObjectPose(submissions.rotation(1), np.array([0.1, 0.2, 0.3]), 1.5, None)
    full = Sample(
        "a",
        thing,
        "v",
        human=submissions.human(),
        camera=submissions.camera(),
        object_pose=pose,
        object_pose_success=True,
    )
    return replace(full, **changes)


def is_fallback(pose):
    return (pose.rotation == np.eye(3)).all() and (pose.translation == 0).all() and pose.scale == 1.0


def test_a_pose_that_is_there_is_kept():
    assert submissions.same(initial_object(sample()), sample().object_pose)
    turned = replace(sample().object_pose, angle=0.25)
    assert submissions.same(initial_object(sample(JOINTED, object_pose=turned)), turned)


@pytest.mark.parametrize("thing", [PLAIN, JOINTED])
@pytest.mark.parametrize(
    "changes",
    [
        {"object_pose": None},
        {"object_pose": ObjectPose(np.eye(3), np.array([0.0, 0.0, -1e3])), "camera": submissions.camera()},
        {"object_pose": ObjectPose(np.full((3, 3), NAN), np.zeros(3))},
        {"object_pose": ObjectPose(np.eye(3), np.array([0, np.inf, 0]))},
        {"object_pose": ObjectPose(np.eye(3), np.ones(3), NAN)},
        {"object_pose": ObjectPose(np.eye(3), np.ones(3), 0.0)},
    ],
)
def test_the_fallback_is_the_persons_own_camera_pose(thing, changes):
    pose = initial_object(sample(thing, **changes))
    assert is_fallback(pose)
    assert pose.angle == (0.0 if thing == JOINTED else None)


def test_the_angle_is_there_exactly_where_the_category_has_a_joint():
    for angle in (None, NAN, 0.5):
        pose = replace(sample().object_pose, angle=angle)
        assert initial_object(sample(PLAIN, object_pose=pose)).angle is None
        found = initial_object(sample(JOINTED, object_pose=pose))
        assert found.angle == (0.5 if angle == 0.5 else 0.0) and not is_fallback(found)


@pytest.mark.parametrize("field", [field.name for field in fields(Human)])
def test_a_body_with_one_number_that_is_not_finite_is_none(field):
    values = np.array(getattr(submissions.human(), field))
    values.flat[-1] = np.inf
    assert initial_human(sample(human=replace(submissions.human(), **{field: values}))) is None
    assert initial_human(sample(human=None)) is None
    assert initial_human(sample()) is not None


def test_a_camera_that_cannot_be_computed_with_is_none():
    camera = submissions.camera()
    for spoilt in (replace(camera, focal=np.zeros(2)), replace(camera, translation=np.full(3, NAN)), None):
        assert initial_camera(sample(camera=spoilt)) is None
    assert initial_camera(sample()) is not None


def test_every_sample_gets_its_estimates_or_a_reason():
    given = [sample(), sample(human=None), sample(human=Human(*(np.full(s, NAN) for s in SHAPES))), sample(camera=None)]
    given = [replace(each, image_id=str(i)) for i, each in enumerate(given)]
    found = build({}).reconstruct(given, Setup("open", submissions.SHIPPED))
    assert [type(row) for row in found] == [Reconstruction, Failure, Failure, Reconstruction]
    assert [row.image_id for row in found] == ["0", "1", "2", "3"]
    assert "no estimate" in found[1].reason and "not finite" in found[2].reason
    assert submissions.same(found[0].human, given[0].human) and submissions.same(found[0].camera, given[0].camera)
    assert found[3].camera is None


SHAPES = ((10,), (21, 3), (15, 3), (15, 3))


def test_an_object_of_no_category_is_refused():
    with pytest.raises(InputError, match="spoon"):
        initial_object(sample("spoon"))


def test_it_has_no_settings():
    with pytest.raises(InputError, match="isolation: has no setting 'lr'"):
        build({"lr": 1})


def test_on_the_sample_data_the_submission_is_the_estimates(tmp_path):
    data = find_data("open-sample")
    ran, submission = run(build({}), data, tmp_path / "run")
    rows = {row.image_id: row for row in submission.rows}
    assert (ran.reconstructions, ran.failures, len(rows)) == (24, 0, 24)
    for wanted in load_samples(data.path, "test", streaming=True):
        found = rows[wanted.image_id]
        np.testing.assert_array_equal(found.human.body_pose, wanted.human.body_pose)
        np.testing.assert_array_equal(found.object_pose.translation, wanted.object_pose.translation)
        np.testing.assert_allclose(found.object_pose.rotation, wanted.object_pose.rotation, atol=1e-6)
        np.testing.assert_array_equal(found.camera.translation, wanted.camera.translation)
        assert found.object_pose.angle == wanted.object_pose.angle and found.seconds >= 0
    assert submission.manifest.inputs == ("human", "camera", "object_pose")
