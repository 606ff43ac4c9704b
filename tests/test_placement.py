"""The coordinates that objects are moved in."""

import numpy as np
import pytest
import torch

from baselines.observation import Cameras
from baselines.placement import CameraCoordinates, Place, SmplCoordinates, initial_tensors, placement
from baselines.scene import rotation_from_6d
from submissions import rotation

N = 4
MIDDLE = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)


def tensor(array):
    return torch.tensor(np.array(array), dtype=torch.float64)


@pytest.fixture
def cameras():
    """Cameras 20 to 50 m away, the person before them."""
    rng = np.random.default_rng(0)
    return Cameras(tensor([rotation(k) for k in range(N)]), tensor(rng.uniform([-1, -1, 20], [1, 1, 50], (N, 3))))


@pytest.fixture
def turns():
    return tensor([rotation(10 + k) for k in range(N)])


@pytest.fixture
def place():
    rng = np.random.default_rng(1)
    return Place(tensor(rng.normal(size=(N, 3))), tensor(rng.uniform(0.5, 1.5, (N, 1))))


def in_camera(cameras, place, turns, point):
    """A point of the template in the cameras, one by one."""
    rows = zip(*place, *cameras, turns, strict=True)
    return torch.stack([r @ (s * turn @ point + t) + c for t, s, r, c, turn in rows])


def close(one, other):
    return all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", ["camera", "smpl"])
def test_decoding_undoes_encoding(name, cameras, turns, place):
    where = placement(name, cameras, MIDDLE, place, turns)
    assert close(where.decode(where.encode(place, turns), turns), place)
    other = Place(place.translation + 0.7, place.scale * 1.3)  # away from where it began
    assert close(where.decode(where.encode(other, turns), turns), other)
    later = tensor([rotation(20 + k) for k in range(N)])
    assert close(where.encode(where.decode(other, later), later), other) or name == "camera"


def test_encoding_undoes_decoding(cameras, turns, place):
    where = placement("camera", cameras, MIDDLE, place, turns)
    moved = where.encode(place, turns)
    moved = Place(moved.translation + tensor([0.2, -0.3, 4.0]), moved.scale * 0.8)
    assert close(where.encode(where.decode(moved, turns), turns), moved)


def test_smpl_coordinates_are_the_place_itself(cameras, turns, place):
    where = placement("smpl", cameras, MIDDLE, place, turns)
    assert isinstance(where, SmplCoordinates)
    assert where.encode(place, turns) is place and where.decode(place, turns) is place


def test_at_the_start_the_coordinates_are_the_middle_in_the_camera(cameras, turns, place):
    where = placement("camera", cameras, MIDDLE, place, turns)
    moved = where.encode(place, turns)
    assert isinstance(where, CameraCoordinates)
    assert torch.allclose(moved.translation, in_camera(cameras, place, turns, MIDDLE))
    assert torch.allclose(moved.scale, place.scale)


@pytest.mark.parametrize("metres", [-5.0, 3.0])
def test_the_third_coordinate_keeps_the_middle_and_the_size_in_the_picture(cameras, turns, place, metres):
    where = placement("camera", cameras, MIDDLE, place, turns)
    moved = where.encode(place, turns)
    nearer = where.decode(Place(moved.translation + tensor([0, 0, metres]), moved.scale), turns)
    before, after = (in_camera(cameras, p, turns, MIDDLE) for p in (place, nearer))
    assert torch.allclose(before[:, :2] / before[:, 2:], after[:, :2] / after[:, 2:], atol=1e-12)
    assert torch.allclose(after[:, 2] - before[:, 2], tensor(metres))
    assert torch.allclose(nearer.scale / after[:, 2:], place.scale / before[:, 2:])


def test_an_object_of_fixed_scale_keeps_it_as_it_goes(cameras, turns, place):
    where = placement("camera", cameras, MIDDLE, place, turns, fixed_scale=True)
    assert close(where.decode(where.encode(place, turns), turns), place)
    other = Place(place.translation + 0.7, place.scale * 1.3)
    assert close(where.decode(where.encode(other, turns), turns), other)
    moved = where.encode(place, turns)
    nearer = where.decode(Place(moved.translation - tensor([0, 0, 5.0]), moved.scale), turns)
    before, after = (in_camera(cameras, p, turns, MIDDLE) for p in (place, nearer))
    assert torch.equal(nearer.scale, place.scale)
    assert torch.allclose(before[:, :2] / before[:, 2:], after[:, :2] / after[:, 2:], atol=1e-12)


def test_a_turn_keeps_the_middle_where_it_is(cameras, turns, place):
    where = placement("camera", cameras, MIDDLE, place, turns)
    moved = where.encode(place, turns)
    later = tensor([rotation(20 + k) for k in range(N)])
    turned = where.decode(moved, later)
    before, after = in_camera(cameras, place, turns, MIDDLE), in_camera(cameras, turned, later, MIDDLE)
    assert torch.allclose(before, after) and torch.allclose(turned.scale, place.scale)


def test_decoding_has_the_right_gradient(cameras, turns, place):
    where = placement("camera", cameras, MIDDLE, place, turns)
    moved = [part.clone().requires_grad_(True) for part in where.encode(place, turns)]
    turning = turns.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda t, s, r: tuple(where.decode(Place(t, s), r)), [*moved, turning])


def test_the_initial_tensors_stand_for_the_start(cameras, place):
    six = tensor([rotation(30 + k)[:2].ravel() for k in range(N)])
    start = {"object_rotation": six, "object_translation": place.translation, "object_scale": place.scale,
             "betas": torch.zeros(N, 10)}  # fmt: skip
    turns = rotation_from_6d(six)
    where = placement("camera", cameras, MIDDLE, place, turns)
    tensors = initial_tensors(start, where)
    assert tensors.keys() == start.keys() and tensors["betas"] is start["betas"] and tensors["object_rotation"] is six
    assert close(where.decode(Place(tensors["object_translation"], tensors["object_scale"]), turns), place)


def test_an_object_that_moves_through_the_camera_stays_a_number(cameras, turns, place):
    where = placement("camera", cameras, MIDDLE, place, turns)
    moved = where.encode(place, turns)
    through = [Place(moved.translation - tensor([0, 0, 100.0]), moved.scale)]
    found = where.decode(*through, turns)
    assert all(part.isfinite().all() for part in found) and (found.scale > 0).all()
    assert (in_camera(cameras, found, turns, MIDDLE)[:, 2] > 0).all()


def test_an_object_that_starts_behind_the_camera_is_not_turned_inside_out(cameras, turns, place):
    ahead = cameras.rotation[:, 2]
    behind = Place(place.translation - 60 * ahead, place.scale)
    where = placement("camera", cameras, MIDDLE, behind, turns)
    found = where.decode(where.encode(behind, turns), turns)
    assert (found.scale > 0).all()
