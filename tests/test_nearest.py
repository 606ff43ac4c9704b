"""Nearest neighbours in batches, against loops; by pytorch3d where it is installed, and by an imitation of it."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rendering_scenes import NoSync

from wildhoi import nearest
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.nearest import nearest_points


def clouds(seed=0, batch=3, count=17, available=23, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(batch, n, 3, generator=draw, dtype=dtype) for n in (count, available))


def slow_nearest(points, others, lengths, other_lengths):
    """One point and one other at a time."""
    distance = np.zeros(points.shape[:2])
    index = np.full(points.shape[:2], -1)
    for image in range(len(points)):
        for i in range(lengths[image]):
            distance[image, i] = np.inf
            for j in range(other_lengths[image]):
                between = float(np.linalg.norm(points[image, i].double() - others[image, j].double()))
                if between < distance[image, i]:
                    distance[image, i], index[image, i] = between, j
    return torch.tensor(distance), torch.tensor(index)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64]))
def test_equals_loops_with_padding(seed, dtype):
    points, others = clouds(seed, dtype=dtype)
    rng = np.random.default_rng(seed)
    lengths, other_lengths = torch.tensor(rng.integers(0, 18, 3)), torch.tensor(rng.integers(0, 24, 3))
    padded = others.clone()
    for image, length in enumerate(other_lengths):
        padded[image, length:] = points[image, :1]  # nearest of all, were it looked at
    found = nearest_points(points, padded, lengths=lengths, other_lengths=other_lengths)
    distance, index = slow_nearest(points, others, lengths, other_lengths)
    assert torch.equal(found.neighbour, index) and found.neighbour.dtype == torch.int64
    assert torch.allclose(found.distance.double(), distance, atol=1e-6) and found.distance.dtype == dtype


def test_without_lengths_all_count_and_blocks_do_not_matter(monkeypatch):
    points, others = clouds(1)
    whole = nearest_points(points, others)
    distance, index = slow_nearest(points, others, [17] * 3, [23] * 3)
    assert torch.equal(whole.neighbour, index) and torch.allclose(whole.distance.double(), distance, atol=1e-6)
    for limit in (1, 150, 400):
        monkeypatch.setattr(nearest, "MAX_DISTANCES", {"cpu": limit})
        assert all(torch.equal(one, other) for one, other in zip(whole, nearest_points(points, others), strict=True))


def test_far_from_the_origin_it_is_as_exact_as_float32_allows():
    points, others = clouds(2, count=200, available=300)
    near = nearest_points(points.double(), others.double())
    offset = torch.tensor([1.0, -2.0, 42.0])
    far = nearest_points(points + offset, others + offset)
    assert (far.distance - near.distance).abs().max() < 2e-5


def test_its_gradient_is_right():
    points, others = clouds(3, count=5, available=6, dtype=torch.float64)
    lengths, other_lengths = torch.tensor([5, 3, 5]), torch.tensor([6, 6, 4])
    points.requires_grad_(True), others.requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda p, q: nearest_points(p, q, lengths=lengths, other_lengths=other_lengths).distance, (points, others)
    )


def test_touching_points_padding_and_empty_clouds_have_no_gradient():
    points, others = clouds(4)
    others[0, 3] = points[0, 2]
    points[0, 9] = others[1, 0] = torch.nan  # padding may hold anything
    points.requires_grad_(True), others.requires_grad_(True)
    found = nearest_points(points, others, lengths=torch.tensor([9, 0, 17]), other_lengths=torch.tensor([23, 0, 0]))
    assert found.distance[0, 2] == 0 and found.neighbour[0, 2] == 3
    assert (found.distance[0, 9:] == 0).all() and (found.distance[1] == 0).all()
    assert found.distance[2].isinf().all() and (found.neighbour[1:] == -1).all()
    found.distance.sum().backward()
    assert (points.grad[0, 2] == 0).all() and (points.grad[1:] == 0).all() and (points.grad[0, 9:] == 0).all()
    assert torch.allclose(points.grad[0, 0].norm(), torch.tensor(1.0))
    assert others.grad.isfinite().all()


def test_clouds_of_no_points():
    points, others = clouds(5)
    found = nearest_points(points, others[:, :0], lengths=torch.tensor([2, 0, 17]))
    assert found.distance.isinf().sum(1).tolist() == [2, 0, 17] and (found.neighbour == -1).all()
    assert nearest_points(points[:, :0], others).distance.shape == (3, 0)
    assert nearest_points(points[:0], others[:0]).neighbour.shape == (0, 17)


def test_the_host_never_waits():
    points, others = clouds(6)
    points.requires_grad_(True)
    lengths = torch.tensor([17, 4, 0])
    with NoSync():
        nearest_points(points, others, lengths=lengths, other_lengths=lengths).distance.nan_to_num(
            posinf=0
        ).sum().backward()
    found = nearest_points(points.to("meta"), others.to("meta"), lengths=lengths.to("meta"))
    assert found.distance.device.type == found.neighbour.device.type == "meta"


def fake_knn_points(p1, p2, lengths1=None, lengths2=None, norm=2, K=1):
    """A slow pytorch3d: squared distances, (b, n, k), padding with zeros."""
    assert p1.dtype == p2.dtype == torch.float32 and lengths1.dtype == lengths2.dtype == torch.int64
    assert not p1.requires_grad and (norm, K) == (2, 1)
    distance, index = slow_nearest(p1, p2, lengths1, lengths2)
    empty = index < 0
    return SimpleNamespace(
        dists=(distance**2).masked_fill(empty, 0)[..., None], idx=index.masked_fill(empty, 0)[..., None]
    )


def both_backends(points, others):
    lengths, other_lengths = torch.tensor([17, 5, 0, 9]), torch.tensor([23, 11, 4, 0])
    return [
        nearest_points(points, others, lengths=lengths, other_lengths=other_lengths, backend=name)
        for name in ("torch", "pytorch3d")
    ]


def test_the_pytorch3d_backend_speaks_its_conventions(monkeypatch):
    ops = ModuleType("ops")
    ops.knn_points = fake_knn_points
    monkeypatch.setitem(sys.modules, "pytorch3d", ModuleType("pytorch3d"))
    monkeypatch.setitem(sys.modules, "pytorch3d.ops", ops)
    for dtype in (torch.float32, torch.float64):
        points, others = clouds(7, batch=4, dtype=dtype)
        ours, theirs = both_backends(points.requires_grad_(True), others)
        assert torch.equal(ours.neighbour, theirs.neighbour) and torch.equal(ours.distance, theirs.distance)
        assert theirs.distance.requires_grad


def test_the_real_pytorch3d_agrees():
    pytest.importorskip("pytorch3d", reason="pytorch3d is not installed: its nearest neighbours are not compared")
    ours, theirs = both_backends(*clouds(8, batch=4))
    assert torch.equal(ours.neighbour, theirs.neighbour) and torch.equal(ours.distance, theirs.distance)


def test_an_unknown_backend_and_an_absent_one_are_clear_errors(monkeypatch):
    with pytest.raises(InputError, match="wanted one of torch, pytorch3d"):
        nearest_points(*clouds(), backend="faiss")
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    monkeypatch.setitem(sys.modules, "pytorch3d.ops", None)
    with pytest.raises(MissingAssetError, match="docs/renderers"):
        nearest_points(*clouds(), backend="pytorch3d")
