"""Mean occlusion maps of samples, against a count by hand; what is left out, and the file."""

from dataclasses import replace

import numpy as np
import pytest
from run_methods import make_runnable

from wildhoi.dataset import find_data, load_samples
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.mean_maps import LIMIT, mean_of_samples, read_mean_maps
from wildhoi.occlusion_maps import write_occlusion_maps

DATA = find_data("open-sample")
NAME = "tennis"
SIDES = ("human", "object")


def samples():
    return [sample for split in ("train", "test") for sample in load_samples(DATA.path, split, [NAME], streaming=True)]


def vectors(sample):
    """X_2.5D as unit vectors, from the definition: a row of numbers for each keypoint and the camera."""
    camera = sample.camera
    rows = [
        camera.rotation.T @ [*((np.float64(pixel) - camera.principal_point) / camera.focal), 1.0]
        for pixel in [*sample.body_keypoints, *sample.object_keypoints]
    ]
    rows.append(-camera.rotation.T @ camera.translation)
    return np.array([row / np.linalg.norm(row) for row in rows])


def slow_means(given, limit=LIMIT):
    kept = []
    for sample in given:
        if all(np.abs(vectors(sample) - vectors(other)).mean() >= limit for other in kept):
            kept.append(sample)
    return {side: np.mean([getattr(s, f"{side}_occlusion") for s in kept], axis=0) for side in SIDES}, len(kept)


@pytest.mark.parametrize("limit", [0.0, 0.3, 0.6, 10.0])
def test_means_are_shares_of_the_images_that_are_no_near_duplicates(limit):
    given = samples() * 2
    wanted, count = slow_means(given, limit)
    assert count == {0.0: 8, 10.0: 1}.get(limit, count)
    found = mean_of_samples(given, limit)
    assert found.keys() == set(SIDES)
    for side in SIDES:
        np.testing.assert_allclose(found[side], wanted[side], atol=1e-12)


def test_an_image_twice_counts_once():
    once, twice = mean_of_samples(samples()), mean_of_samples([*samples(), *samples()])
    assert all(np.array_equal(once[side], twice[side]) for side in SIDES)


@pytest.mark.parametrize(
    "lacking",
    [
        {"camera": None},
        {"body_keypoints": None},
        {"object_keypoints": None},
        {"human_occlusion": None},
        {"object_occlusion": None},
        {"body_keypoints": np.full((22, 2), np.nan)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_images_that_lack_something_do_not_count(lacking):
    first, *rest = samples()
    found, wanted = mean_of_samples([replace(first, **lacking), *rest]), mean_of_samples(rest)
    assert all(np.array_equal(found[side], wanted[side]) for side in SIDES)
    assert mean_of_samples([replace(first, **lacking)]) is None and mean_of_samples([]) is None


def test_the_file_of_the_occlusion_command_is_read(tmp_path):
    data = make_runnable(tmp_path / "data", samples()[:2], split="train")
    report = write_occlusion_maps(data, NAME, tmp_path / "maps")
    found = read_mean_maps(tmp_path / "maps" / f"{NAME}-mean.npz")
    with np.load(report.mean) as stored:
        assert all(np.array_equal(found[side], stored[side]) for side in SIDES)
    assert found["human"].shape == (10_475,) and found["human"].dtype == np.float64


def test_a_file_that_is_absent_or_no_such_file_is_told(tmp_path):
    with pytest.raises(MissingAssetError, match="is not there; `wildhoi occlusion` writes such a file"):
        read_mean_maps(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", human=np.array([0.5, -0.1]), object=np.zeros(3))
    with pytest.raises(InputError, match=r"b\.npz: human: want shares from 0 to 1"):
        read_mean_maps(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", human=np.zeros(3))
    with pytest.raises(InputError, match=r"c\.npz: no mean occlusion maps"):
        read_mean_maps(tmp_path / "c.npz")
