"""People posed as records: one by one, in batches, and by the body model itself."""

import numpy as np
import pytest
import torch

from submissions import human
from wildhoi.body import body_parameters, load_body, pose_people, pose_person


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=str)
def body(request):
    return load_body("open", dtype=request.param)


def test_people_are_posed_alike_alone_and_together(body):
    humans = [human(seed) for seed in range(5)]
    people = pose_people(humans, body)
    for row, one in enumerate(humans):
        vertices, joints = pose_person(one, body)
        assert np.allclose(vertices, people.vertices[row], atol=1e-12 if body.dtype == torch.float64 else 1e-6)
        assert np.allclose(joints, people.joints[row], atol=1e-12 if body.dtype == torch.float64 else 1e-6)


def test_a_posed_person_is_what_the_body_model_says(body):
    one = human(3)
    arrays = (one.betas, one.body_pose, one.left_hand_pose, one.right_hand_pose)
    surface = body.surface(*(torch.as_tensor(array, dtype=body.dtype)[None] for array in arrays))
    vertices, joints = pose_person(one, body)
    assert vertices.dtype == joints.dtype == np.float64
    assert np.array_equal(vertices, surface.vertices[0].double())
    assert np.array_equal(joints, surface.joints[0].double())


def test_parameters_are_the_fields_in_the_model_s_order(body):
    humans = [human(1), human(2)]
    parameters = body_parameters(humans, body)
    names = ("betas", "body_pose", "left_hand_pose", "right_hand_pose")
    for name, tensor in zip(names, parameters, strict=True):
        assert tensor.dtype == body.dtype
        assert np.allclose(tensor, np.stack([getattr(one, name) for one in humans]), atol=1e-6)
