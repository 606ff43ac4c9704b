"""Proxies of bodies and solids of objects: how deep one is in the other, and how that changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from open_posed import BODY, OBJECTS, SETTINGS, attempt, chest_of, slow_distances, with_ball_at
from scipy.spatial import cKDTree

from wildhoi.open_scenes.posing.checks import depth_inside
from wildhoi.open_scenes.posing.kinematics import OBJECT_PLACE, ROOT_PLACE
from wildhoi.open_scenes.posing.proxies import spread_points
from wildhoi.open_scenes.posing.skin import segment_distance
from wildhoi.open_scenes.posing.solids import CELLS, MARGIN, make_solid

# proxies and solids --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ball():
    """The solver's terms with a ball, in the air: proxies are the last ones, before the ground's."""
    solved, _, _ = attempt("basketball", "in_air", 12, 1)
    return solved


def proxy_terms(solved, state):
    return solved.proxies.terms(state, solved.problem.kinematics.pose(state))


def test_a_ball_in_the_chest_is_pushed_out_and_one_in_the_air_is_left_alone(ball):
    out = torch.tensor([[0.0, 0.05, 0.18]], dtype=BODY.dtype)
    inside = with_ball_at(ball, chest_of(ball) + out)
    far = with_ball_at(ball, chest_of(ball) + 10 * out)
    assert all(not term.residual.any() for term in proxy_terms(ball, far)[:2])
    for term in proxy_terms(ball, inside)[:2]:
        assert term.residual.max() > 1
        slope = (term.residual[..., None] * term.jacobian).sum(1)
        assert slope[0, OBJECT_PLACE + 2] < 0  # the ball to the front ...
        assert slope[0, ROOT_PLACE + 2] > 0  # ... or the person to the back


def test_what_sinks_into_the_ground_is_lifted(ball):
    low = with_ball_at(ball, torch.tensor([[3.0, 0.05, 0.0]], dtype=BODY.dtype))
    term = proxy_terms(ball, low)[-1]
    assert (term.residual < 0).all()
    assert torch.allclose(
        term.residual.min() * SETTINGS.wanted["inside"], 0.05 - 0.1225 * ball.problem.scale[0], atol=2e-3
    )
    slope = (term.residual[..., None] * term.jacobian).sum(1)
    assert slope[0, OBJECT_PLACE + 1] < 0
    high = with_ball_at(ball, torch.tensor([[3.0, 0.2, 0.0]], dtype=BODY.dtype))
    assert not proxy_terms(ball, high)[-1].residual.any()


def test_how_deep_points_of_the_object_are_is_how_near_they_are_to_an_axis(ball):
    state = with_ball_at(ball, chest_of(ball) + torch.tensor([[0.03, 0.02, 0.15]], dtype=BODY.dtype))
    posed = ball.problem.kinematics.pose(state)
    capsules, slack = ball.proxies.capsules, SETTINGS.wanted["slack"]
    points = ball.proxies.points @ state.object_rotation.transpose(1, 2) + state.object_translation[:, None]
    ends = capsules.ends[:, None] @ posed.positions
    deepest = []
    for number, name in enumerate(capsules.names):
        if not name.endswith("hand"):
            near = segment_distance(points, ends[0][:, number], ends[1][:, number]).sort().values[0, :3]
            deepest += (capsules.radii[0, number] - slack - near).clamp(min=0).tolist()
    term = ball.proxies.terms(state, posed)[0]
    found = np.sort((term.residual[0] * SETTINGS.wanted["inside"]).numpy())
    assert np.allclose(found, np.sort([depth for depth in deepest if depth > 0]), atol=1e-12)


def test_limbs_are_pushed_out_of_each_other(ball):
    state = ball.state
    turns = state.rotations.clone()
    turns[:, 1:3] = torch.eye(3, dtype=BODY.dtype)
    angle = torch.tensor([[0.0, 0.0, -0.3], [0.0, 0.0, 0.3]], dtype=BODY.dtype)
    crossed = replace(state, rotations=turns).moved(torch.nn.functional.pad(angle.flatten()[None], (3, 66)))
    posed = ball.problem.kinematics.pose(crossed)
    assert ball.proxies.deepest_limb(posed)[0] > 0.02
    term = ball.proxies.terms(crossed, posed)[2]
    slope = (term.residual[..., None] * term.jacobian).sum(1)[0]
    assert slope[3 + 2] < 0 < slope[6 + 2]  # apart is the way out
    straight = replace(state, rotations=turns).moved(torch.nn.functional.pad(-angle.flatten()[None], (3, 66)))
    assert ball.proxies.deepest_limb(ball.problem.kinematics.pose(straight))[0] < 0.02


@pytest.mark.parametrize("name", ["basketball", "skateboard", "bicycle"])
def test_a_solid_holds_signed_distances_at_its_nodes(name):
    template = OBJECTS[name]
    solid = make_solid(template, torch.float64, torch.device("cpu"))
    rng = np.random.default_rng(13)
    shape = np.array(solid.values.shape)
    assert shape.max() in (CELLS + 1, CELLS + 2)
    depth = solid.values.numpy()
    deep = np.argwhere(depth < 0)
    nodes = np.concatenate([rng.integers(0, shape, (60, 3)), deep[rng.integers(len(deep), size=20)]])
    places = solid.origin.numpy() + solid.step * nodes
    slow = slow_distances(places, template.vertices, template.faces)
    assert np.allclose(depth[tuple(nodes.T)], slow, atol=1e-6)
    assert (slow[-20:] < 0).all()
    at_nodes = solid.look_up(torch.tensor(places)[None])[0][0].numpy()
    inner = (nodes < shape - 1).all(1)
    assert np.allclose(at_nodes[inner], slow[inner], atol=1e-6)


def test_a_ball_is_as_deep_as_its_radius_says():
    solid = make_solid(OBJECTS["basketball"], torch.float64, torch.device("cpu"))
    rng = np.random.default_rng(14)
    points = rng.normal(0, 1, (300, 3))
    points *= (rng.uniform(0.03, 0.2, 300) / np.linalg.norm(points, axis=1))[:, None]
    distance, gradient = (found[0].numpy() for found in solid.look_up(torch.tensor(points)[None]))
    radii = np.linalg.norm(points, axis=1)
    assert np.abs(distance - (radii - 0.1225)).max() < 0.004
    outward = (gradient * points).sum(1) / radii
    assert (outward[radii > 0.06] > 0.8).all()  # the middle of a ball has no way out


def test_gradients_of_a_solid_are_those_of_what_it_says():
    solid = make_solid(OBJECTS["skateboard"], torch.float64, torch.device("cpu"))
    rng = np.random.default_rng(15)
    cells = rng.integers(0, np.array(solid.values.shape) - 1, (400, 3))
    points = torch.tensor(solid.origin.numpy() + solid.step * (cells + rng.uniform(0.1, 0.9, (400, 3))))[None]
    gradient = solid.look_up(points)[1]
    for axis in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[axis] = 1e-6
        slow = (solid.look_up(points + step)[0] - solid.look_up(points - step)[0]) / 2e-6
        assert torch.allclose(gradient[..., axis], slow, atol=1e-7)


def test_beyond_its_grid_a_solid_is_away_and_pulls_nothing():
    solid = make_solid(OBJECTS["skateboard"], torch.float64, torch.device("cpu"))
    far = torch.tensor([[[5.0, 0, 0], [0, -5.0, 0], [0, 0, 5.0]]], dtype=torch.float64)
    distance, gradient = solid.look_up(far)
    assert (distance == MARGIN).all()
    assert not gradient.any()


def test_what_is_beyond_the_grid_of_a_solid_is_in_no_proxy():
    """Else a thick part far from a small object would count as deep in it, without a way out."""
    solved, _, _ = attempt("basketball", "in_air", 2, 2)  # a large person
    far = replace(solved.state, object_translation=solved.state.object_translation + 5.0)
    for term in proxy_terms(solved, far)[:2]:
        assert not term.residual.any()


def test_points_of_a_template_are_spread_over_it():
    template = OBJECTS["violin"]
    points = spread_points(template)
    assert {tuple(point) for point in points} <= {tuple(vertex) for vertex in template.vertices}
    assert len(np.unique(points, axis=0)) == len(points)
    gaps = cKDTree(points).query(template.vertices)[0]
    nearest = cKDTree(points).query(points, 2)[0][:, 1]
    assert (
        gaps.max() <= nearest.min() + 1e-12
    )  # farthest first: no vertex is farther than two points are from each other


@pytest.mark.parametrize("name", ["basketball", "skateboard"])
def test_the_deepest_point_is_that_of_a_slow_search(name):
    template = OBJECTS[name]
    rng = np.random.default_rng(16)
    points = rng.uniform(template.vertices.min(0) - 0.02, template.vertices.max(0) + 0.02, (150, 3))
    slow = slow_distances(points, template.vertices, template.faces)
    assert slow.min() < 0
    assert np.isclose(depth_inside(points, template.vertices, template.faces), -slow.min(), atol=1e-6)
    assert depth_inside(points[slow > 1e-6], template.vertices, template.faces) == 0
    assert depth_inside(points + 9, template.vertices, template.faces) == 0
