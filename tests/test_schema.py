from dataclasses import FrozenInstanceError

import numpy as np
import pytest

import submissions
from submissions import same
from wildhoi.errors import InputError
from wildhoi.schema import Camera, Failure, Human, ObjectPose, Reconstruction


@pytest.fixture(autouse=True)
def _no_outer_check():
    """What the dataclasses say themselves is under test."""
    with submissions.unchecked():
        yield


def test_lists_and_float32_become_float64():
    pose = ObjectPose(np.eye(3, dtype=np.float32), [1, 2, 3])
    assert pose.rotation.dtype == pose.translation.dtype == np.float64


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: ObjectPose(np.eye(4), np.zeros(3)), "rotation"),
        (lambda: ObjectPose(np.eye(3), np.zeros(4)), "translation"),
        (lambda: Camera(np.eye(3), np.zeros(3), np.zeros(1), np.zeros(2)), "focal"),
        (lambda: Camera(np.eye(3), np.zeros(3), np.zeros(2), "two"), "principal_point"),
        (lambda: Human(np.zeros(16), np.zeros((21, 3)), np.zeros((15, 3)), np.zeros((15, 3))), "betas"),
        (lambda: Human(np.zeros(10), np.zeros(63), np.zeros((15, 3)), np.zeros((15, 3))), "body_pose"),
        (lambda: Human(np.zeros(10), np.zeros((21, 3)), np.zeros((15, 3)), [[1, 2], [3]]), "right_hand_pose"),
        (lambda: Human(None, np.zeros((21, 3)), np.zeros((15, 3)), np.zeros((15, 3))), "betas"),
    ],
)
def test_shape_errors_name_the_field(make, field):
    with pytest.raises(InputError, match=f"^{field}: got .*, want "):
        make()


def test_values_are_frozen():
    with pytest.raises(FrozenInstanceError):
        submissions.reconstruction("a").image_id = "b"


def test_same_compares_arrays_and_the_rest():
    one, twin = submissions.varied_rows(), submissions.varied_rows()
    assert all(same(a, b) for a, b in zip(one, twin, strict=True))
    assert not any(same(a, b) for a in one for b in one if a is not b)


def test_same_sees_a_single_changed_number():
    row = submissions.reconstruction("a", 1)
    moved = Reconstruction("a", row.human, ObjectPose(row.object_pose.rotation, row.object_pose.translation + 1e-12))
    assert not same(row, moved)
    assert same(row, moved, np.allclose)


def test_same_tells_kinds_apart():
    assert not same(Failure("a", "x"), submissions.reconstruction("a"))
    assert not same(submissions.reconstruction("a"), submissions.reconstruction("a", camera=submissions.camera()))
