"""The open set's truth without its pictures."""

import numpy as np
import pytest

import submissions
from wildhoi.dataset import load_annotations, open_folder
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.open_scenes.plan import stored_scenes
from wildhoi.open_scenes.scene_files import read_scenes
from wildhoi.open_scenes.truth import truth_of, write_open_truth
from wildhoi.open_scenes.version import load_version

REVISION = "671e31274e3dac6c"  # of the test split of version 1, which every score of it names


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    with submissions.unchecked():
        return write_open_truth(tmp_path_factory.mktemp("truth") / "open")


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("WILDHOI_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_it_is_the_published_test_split(truth):
    assert (truth.name, truth.body_model, truth.track) == ("open", "open", None)
    assert truth.revision_of("test") == REVISION
    assert truth.changed_files("test") == [] and not truth.problems()
    assert truth.categories("test") == sorted(load_version().objects)
    assert not truth.categories("test", "samples") and not truth.categories("train")


def test_its_rows_are_the_scenes_that_ship(truth):
    for name in load_version().objects:
        scenes = read_scenes(stored_scenes(name)).scenes
        found = load_annotations(truth, "test", [name])
        assert [a.image_id for a in found] == [scene.scene_id for scene in scenes]
        for annotation, scene in zip(found, scenes, strict=True):
            assert submissions.same(annotation, scene.annotation(), lambda a, b: np.allclose(a, b, atol=1e-6))


def test_a_data_set_at_hand_comes_first(truth, tmp_path):
    made = submissions.make_data(tmp_path / "data" / "open", ["tennis"], 1, body_model="open", name="open")
    with truth_of("open") as found:
        assert found.path == made.path
    with truth_of(truth.path) as found:
        assert found == open_folder(truth.path)


def test_the_open_set_has_its_truth_for_a_while_without_a_folder(tmp_path):
    with submissions.unchecked(), truth_of("open") as found:
        assert found.revision_of("test") == REVISION
        place = found.path
    assert not place.exists() and not list(tmp_path.iterdir())


def test_other_data_sets_must_be_at_hand(tmp_path):
    for name in ("wildhoi", str(tmp_path / "open"), "./open"):
        with pytest.raises(MissingAssetError), truth_of(name):
            pass


def test_an_error_of_the_work_is_no_reason_to_look_elsewhere(truth):
    with pytest.raises(MissingAssetError, match="mine"), truth_of(truth.path):
        raise MissingAssetError("mine")


def test_it_is_written_into_no_folder_that_holds_something(tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(InputError):
        write_open_truth(tmp_path)
    assert (tmp_path / "x").read_text() == "mine"
