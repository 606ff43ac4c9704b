import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation
from slow_metrics import umeyama

from wildhoi.geometry import (
    Similarity,
    align_similarity,
    axis_rotation,
    camera_position,
    cross_matrix,
    geodesic_angle,
    nearest_rotation,
    orthonormality_error,
    project,
    rotvec_to_matrix,
    viewing_rays,
)

vectors = arrays(np.float64, 3, elements=st.floats(-10, 10))
seeds = st.integers(0, 2**32 - 1)


def rotation(seed):
    return Rotation.random(random_state=seed).as_matrix()


@given(vectors)
def test_rotation_vectors_turn_into_the_matrices_of_scipy(vector):
    np.testing.assert_allclose(rotvec_to_matrix(vector), Rotation.from_rotvec(vector).as_matrix(), atol=1e-12)


@given(seeds)
def test_a_rotation_vector_comes_back_from_its_matrix(seed):
    vector = Rotation.random(random_state=seed).as_rotvec()
    np.testing.assert_allclose(Rotation.from_matrix(rotvec_to_matrix(vector)).as_rotvec(), vector, atol=1e-7)


@pytest.mark.parametrize("size", [0.0, 1e-300, 1e-12, 1e-8, 1e-4])
def test_small_rotation_vectors_keep_their_digits(size):
    vector = size * np.array([0.6, 0.0, 0.8])
    np.testing.assert_allclose(rotvec_to_matrix(vector) - np.eye(3), cross_matrix(vector), rtol=1e-4, atol=size**2)
    if size == 0:
        np.testing.assert_array_equal(rotvec_to_matrix(vector), np.eye(3))


def test_a_batch_of_rotation_vectors_equals_one_at_a_time():
    batch = np.random.default_rng(0).standard_normal((2, 4, 3))
    one_by_one = np.array([[rotvec_to_matrix(v) for v in row] for row in batch])
    np.testing.assert_allclose(rotvec_to_matrix(batch), one_by_one, atol=1e-15)


@given(vectors, vectors)
def test_the_cross_matrix_multiplies_as_the_cross_product(a, b):
    np.testing.assert_allclose(cross_matrix(a) @ b, np.cross(a, b), atol=1e-12)


def test_axis_rotation_ignores_the_length_of_the_axis():
    axis = np.array([0.3, -2.0, 0.5])
    expected = Rotation.from_rotvec(0.7 * axis / np.linalg.norm(axis)).as_matrix()
    for length in (1e-6, 1.0, 1e6):
        np.testing.assert_allclose(axis_rotation(length * axis, 0.7), expected, atol=1e-12)


@given(seeds, seeds)
def test_the_geodesic_angle_is_the_magnitude_of_the_relative_rotation(first, second):
    a, b = rotation(first), rotation(second)
    expected = Rotation.from_matrix(a.T @ b).magnitude()
    assert geodesic_angle(a, b) == pytest.approx(expected, abs=1e-7)
    assert geodesic_angle(a, b) == pytest.approx(float(geodesic_angle(b, a)), abs=1e-15)


@given(seeds)
def test_the_angle_between_equal_rotations_is_exactly_zero(seed):
    matrix = rotation(seed)
    assert geodesic_angle(matrix, matrix.copy()) == 0.0


@pytest.mark.parametrize("angle", [1e-9, 1e-7, 1e-4, 0.5, np.pi / 2, 3.0, np.pi - 1e-4, np.pi - 1e-6, np.pi])
def test_the_geodesic_angle_is_accurate_near_zero_and_near_a_half_turn(angle):
    start = rotation(3)
    turned = start @ Rotation.from_rotvec(angle * np.array([0.48, 0.6, 0.64])).as_matrix()
    tolerance = 1e-13 if angle < 1 else 5e-8
    assert geodesic_angle(start, turned) == pytest.approx(angle, abs=tolerance)


def test_angles_of_a_batch_have_the_shape_of_the_batch():
    a = Rotation.random(6, random_state=0).as_matrix().reshape(2, 3, 3, 3)
    b = Rotation.random(6, random_state=1).as_matrix().reshape(2, 3, 3, 3)
    expected = [[geodesic_angle(a[i, j], b[i, j]) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(geodesic_angle(a, b), expected, atol=1e-14)


def test_orthonormality_error_is_zero_of_rotations_and_reflections_alone():
    assert orthonormality_error(rotation(0)) < 1e-14
    assert orthonormality_error(-rotation(0)) < 1e-14
    assert orthonormality_error(1.1 * np.eye(3)) == pytest.approx(0.21)


@given(seeds)
def test_the_nearest_rotation_is_no_reflection_and_no_other_rotation_is_nearer(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((3, 3))
    found = nearest_rotation(matrix)
    assert np.linalg.det(found) == pytest.approx(1)
    assert orthonormality_error(found) < 1e-12
    for other in Rotation.random(20, random_state=seed).as_matrix():
        assert np.linalg.norm(found - matrix) <= np.linalg.norm(other - matrix) + 1e-12


def test_a_rotation_is_its_own_nearest_rotation_in_batches_too():
    batch = Rotation.random(5, random_state=2).as_matrix()
    np.testing.assert_allclose(nearest_rotation(batch), batch, atol=1e-14)


FOCAL, PRINCIPAL = np.array([1200.0, 1100.0]), np.array([300.0, 250.0])


def test_projection_is_the_pinhole_formula():
    pixels = project(np.array([[0.5, -0.25, 2.0]]), FOCAL, PRINCIPAL)
    np.testing.assert_allclose(pixels, [[1200 * 0.25 + 300, -1100 * 0.125 + 250]])


def test_points_in_front_of_the_camera_lie_on_the_rays_of_their_pixels():
    rng = np.random.default_rng(0)
    turn, shift = rotation(5), np.array([0.1, 0.2, 4.0])
    points = rng.standard_normal((50, 3))
    pixels = project(points @ turn.T + shift, FOCAL, PRINCIPAL)
    rays = viewing_rays(pixels, turn, FOCAL, PRINCIPAL)
    from_camera = points - camera_position(turn, shift)
    np.testing.assert_allclose(rays, from_camera / np.linalg.norm(from_camera, axis=1, keepdims=True), atol=1e-12)


def test_rays_project_to_their_pixels():
    pixels = np.random.default_rng(1).uniform(0, 600, (40, 2))
    turn, shift = rotation(6), np.array([0.3, -0.2, 5.0])
    rays = viewing_rays(pixels, turn, FOCAL, PRINCIPAL)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1, atol=1e-14)
    points = camera_position(turn, shift) + 3.0 * rays
    np.testing.assert_allclose(project(points @ turn.T + shift, FOCAL, PRINCIPAL), pixels, atol=1e-9)


def test_the_camera_sits_where_its_own_coordinates_are_zero():
    turns, shifts = Rotation.random(4, random_state=0).as_matrix(), np.random.default_rng(0).standard_normal((4, 3))
    positions = camera_position(turns, shifts)
    np.testing.assert_allclose(np.einsum("bij,bj->bi", turns, positions) + shifts, 0, atol=1e-14)


# similarity alignment


def cloud(seed, count=30, spread=1.0):
    return spread * np.random.default_rng(seed).standard_normal((count, 3)) + [0.3, -0.2, 5.0]


def is_rotation(matrix):
    return np.linalg.det(matrix) == pytest.approx(1) and orthonormality_error(matrix) < 1e-9


@given(seeds, st.floats(0.01, 100))
@settings(max_examples=50)
def test_alignment_recovers_any_similarity(seed, scale):
    source = cloud(seed)
    true = Similarity(rotation(seed), np.random.default_rng(seed + 1).uniform(-3, 3, 3), scale)
    found = align_similarity(source, true.apply(source))
    np.testing.assert_allclose(found.rotation, true.rotation, atol=1e-10)
    assert found.scale == pytest.approx(scale, rel=1e-10)
    np.testing.assert_allclose(found.apply(source), true.apply(source), atol=1e-9 * max(1, scale))


@given(seeds)
@settings(max_examples=30)
def test_alignment_equals_the_formula_of_its_definition(seed):
    source, target = cloud(seed), cloud(seed + 1)
    found, expected = align_similarity(source, target), umeyama(source, target)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10)


@given(seeds)
@settings(max_examples=30)
def test_the_rotation_of_an_alignment_is_that_of_scipy(seed):
    source, target = cloud(seed), cloud(seed + 1)
    centred = [points - points.mean(axis=0) for points in (target, source)]
    expected = Rotation.align_vectors(*centred)[0].as_matrix()
    np.testing.assert_allclose(align_similarity(source, target).rotation, expected, atol=1e-7)


def test_no_similarity_nearby_aligns_better():
    source, target = cloud(0), cloud(1)
    best = align_similarity(source, target)
    least = ((best.apply(source) - target) ** 2).sum()
    rng = np.random.default_rng(2)
    for size in (1e-3, 1e-2, 0.1):
        turn = rotvec_to_matrix(size * rng.standard_normal(3))
        other = Similarity(turn @ best.rotation, best.translation + size * rng.standard_normal(3), best.scale + size)
        assert ((other.apply(source) - target) ** 2).sum() > least


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_mirrored_cloud_is_never_aligned_by_a_reflection(noise):
    source = cloud(4)
    target = source * [-1, 1, 1] + noise * np.random.default_rng(0).standard_normal(source.shape)
    found = align_similarity(source, target)
    assert is_rotation(found.rotation)
    assert found.scale > 0


@pytest.mark.parametrize("seed", range(5))
def test_a_planar_cloud_is_aligned_by_a_rotation(seed):
    source = cloud(seed) * [1, 1, 0]
    true = Similarity(rotation(seed), np.array([1.0, 2.0, 3.0]), 1.7)
    found = align_similarity(source, true.apply(source))
    assert is_rotation(found.rotation)
    np.testing.assert_allclose(found.rotation, true.rotation, atol=1e-10)
    np.testing.assert_allclose(found.apply(source), true.apply(source), atol=1e-9)


def test_a_collinear_cloud_is_aligned_by_a_rotation():
    source = np.linspace(-1, 1, 9)[:, None] * np.array([[0.6, 0.0, 0.8]])
    true = Similarity(rotation(1), np.array([0.1, 0.2, 0.3]), 0.5)
    found = align_similarity(source, true.apply(source))
    assert is_rotation(found.rotation)
    np.testing.assert_allclose(found.apply(source), true.apply(source), atol=1e-12)


@pytest.mark.parametrize("size", [1e-9, 1e-6, 1e6])
def test_tiny_and_huge_clouds_keep_their_digits(size):
    source = size * np.random.default_rng(0).standard_normal((20, 3))
    target = 3 * source @ rotation(2).T
    found = align_similarity(source, target)
    np.testing.assert_allclose(found.rotation, rotation(2), atol=1e-10)
    assert found.scale == pytest.approx(3, rel=1e-10)


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("place", [0.0, 0.1])
def test_a_cloud_without_extent_is_only_shifted(count, place):
    source, target = np.full((count, 3), place), cloud(0, count)
    found = align_similarity(source, target)
    assert is_rotation(found.rotation)
    assert found.scale == 1.0
    np.testing.assert_allclose(found.apply(source), np.tile(target.mean(axis=0), (count, 1)), atol=1e-12)


def test_float32_clouds_are_aligned_in_float64():
    source, target = cloud(0, 2000).astype(np.float32), cloud(1, 2000).astype(np.float32)
    found = align_similarity(source, target)
    expected = align_similarity(source.astype(np.float64), target.astype(np.float64))
    assert found.rotation.dtype == np.float64
    np.testing.assert_array_equal(found.rotation, expected.rotation)
    np.testing.assert_array_equal(found.translation, expected.translation)
    assert found.scale == expected.scale
