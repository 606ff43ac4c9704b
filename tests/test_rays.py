"""X_2.5D in tensors: both sides of equation 6, and the coordinates in metres at the subject."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from baselines.rays import View, camera_of, flat, from_metres, rays_from_pixels, rays_from_points, to_metres, unflat

P = 7


def scene(seed, distance=5.0, count=4):
    """Points within a metre or two of the pelvis and cameras that look at it: (n, p, 3), rotations, translations."""
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(count, random_state=rng).as_matrix()
    translation = np.c_[0.3 * rng.normal(size=(count, 2)), distance * rng.uniform(0.8, 1.2, count)]
    return tuple(map(torch.from_numpy, (0.6 * rng.normal(size=(count, P, 3)), rotation, translation)))


def view(seed, distance=5.0, count=4):
    points, rotation, translation = scene(seed, distance, count)
    return rays_from_points(points, -(rotation.mT @ translation[..., None])[..., 0])


@pytest.mark.parametrize("distance", [2.0, 42.0, 1000.0])
def test_both_sides_of_equation_6_agree(distance):
    points, rotation, translation = scene(0, distance)
    seen = points @ rotation.mT + translation[:, None]
    left = rays_from_pixels(seen[..., :2] / seen[..., 2:], rotation, translation)
    right = rays_from_points(points, left.position)
    torch.testing.assert_close(left.rays, right.rays, rtol=0, atol=1e-12)
    torch.testing.assert_close(left.position, -torch.einsum("bij,bi->bj", rotation, translation))
    torch.testing.assert_close(left.rays.norm(dim=-1), torch.ones(4, P, dtype=torch.float64))


def test_a_ray_reaches_its_point():
    points, _, _ = scene(1)
    rays, position = view(1)
    along = (points - position[:, None]).norm(dim=-1, keepdim=True)
    torch.testing.assert_close(position[:, None] + along * rays, points)


def test_further_batch_dimensions_are_free():
    points, rotation, translation = scene(2, count=6)
    both = [t.unflatten(0, (2, 3)) for t in (points, rotation, translation)]
    seen = both[0] @ both[1].mT + both[2][..., None, :]
    wide = rays_from_pixels(seen[..., :2] / seen[..., 2:], both[1], both[2])
    narrow = view(2, count=6)
    torch.testing.assert_close(wide.rays.flatten(0, 1), narrow.rays)
    coordinates, determinant = to_metres(wide)
    torch.testing.assert_close(coordinates.flatten(0, 1), to_metres(narrow)[0])
    torch.testing.assert_close(determinant.flatten(), to_metres(narrow)[1])
    torch.testing.assert_close(from_metres(coordinates).rays, wide.rays)


@pytest.mark.parametrize("distance", [0.5, 5.0, 42.0, 1000.0])
def test_metres_are_undone(distance):
    there = view(3, distance)
    back = from_metres(to_metres(there)[0])
    torch.testing.assert_close(back.rays, there.rays, rtol=0, atol=1e-12)
    torch.testing.assert_close(back.position, there.position, rtol=1e-12, atol=0)
    torch.testing.assert_close(camera_of(to_metres(there)[0][..., -3:]), there.position)


def test_any_coordinates_come_back_too():
    """Noise and samples are no views: their rays are not of unit length, and still nothing is lost."""
    coordinates = torch.from_numpy(np.random.default_rng(4).normal(size=(5, 3 * P + 3)))
    torch.testing.assert_close(to_metres(from_metres(coordinates))[0], coordinates)


@pytest.mark.parametrize("distance", [0.5, 5.0, 42.0])
def test_its_log_determinant_is_that_of_its_jacobian(distance):
    there = view(5, distance, count=3)
    found = to_metres(there)[1]
    for row in range(3):
        numbers = torch.cat([there.rays[row].flatten(), there.position[row]])
        jacobian = torch.autograd.functional.jacobian(lambda x: to_metres(View(x[:-3].view(P, 3), x[-3:]))[0], numbers)
        assert torch.linalg.slogdet(jacobian)[1].item() == pytest.approx(found[row].item(), abs=1e-9)


def test_offsets_are_metres_at_the_subject():
    """A ray through the pelvis has none; one through a point beside it, as seen from there, has that point."""
    camera = torch.tensor([0.0, 0.0, 50.0], dtype=torch.float64)
    points = torch.tensor([[0.0, 0, 0], [0.3, 0, 0], [0, -0.2, 0], [0, 0, 1.0]], dtype=torch.float64)
    offsets = to_metres(rays_from_points(points, camera))[0][:-3].view(4, 3)
    torch.testing.assert_close(offsets, points * torch.tensor([1.0, 1, 0]), rtol=0, atol=1e-3)


def test_the_camera_is_its_direction_and_the_logarithm_of_its_distance():
    camera = torch.tensor([[3.0, 0.0, 4.0]], dtype=torch.float64)
    found = to_metres(rays_from_points(torch.zeros(1, 1, 3, dtype=torch.float64), camera))[0][0, -3:]
    torch.testing.assert_close(found, torch.tensor([0.6, 0, 0.8], dtype=torch.float64) * np.log(6))


def test_32_bits_are_enough_tens_of_metres_away():
    exact = view(6, 42.0)
    rough = to_metres(View(exact.rays.float(), exact.position.float()))[0]
    assert (rough.double() - to_metres(exact)[0]).abs().max() < 1e-4


def test_a_camera_at_the_pelvis_gives_numbers():
    position = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    there = rays_from_points(torch.ones(1, P, 3, dtype=torch.float64), position)
    coordinates, _ = to_metres(there)
    coordinates.sum().backward()
    assert coordinates.isfinite().all() and position.grad.isfinite().all()


def test_flat_is_undone():
    there = view(7)
    assert flat(there).shape == (4, 3 * P + 3)
    back = unflat(flat(there))
    assert torch.equal(back.rays, there.rays) and torch.equal(back.position, there.position)
    assert torch.equal(flat(there)[:, :3], there.rays[:, 0]) and torch.equal(flat(there)[:, -3:], there.position)
