"""A reference submission made again and compared with it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import run_methods
import typer
from scenes import equivalent, noisy
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

import submissions
from evaluation.evaluate import Options, evaluate
from evaluation.protocol import load_protocol
from evaluation.scores import SCORES, write_scores
from wildhoi import reproducing
from wildhoi.agreement import Means, find_differences, find_spreads, join_differences
from wildhoi.cli.reproduce import reproduce as reproduce_command
from wildhoi.dataset import find_data
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.reproducing import Refit, find_reference, reproduce
from wildhoi.schema import Failure, Reconstruction
from wildhoi.submission.folder import read_submission
from wildhoi.templates import SHIPPED, load_template

THINGS = ("baseball", "basketball")
CHOSEN = {"objects": THINGS, "limit": 2}


def initial(sample, shift=0.0, turn=0.0):
    """What isolation makes of a sample, its object moved by so many metres, its left knee bent by so many radians."""
    pose, human = sample.object_pose, sample.human
    bend = np.zeros((21, 3))
    bend[3, 0] = turn
    moved = replace(pose, translation=pose.translation + np.array([0.0, shift, 0.0]))
    return Reconstruction(sample.image_id, replace(human, body_pose=human.body_pose + bend), moved)


def method(shift=0.0, turn=0.0, lost=(), **settings):
    def behave(self, samples, setup):
        self.setup = setup
        return [
            Failure(s.image_id, "lost") if s.image_id in lost else initial(s, shift=shift, turn=turn) for s in samples
        ]

    return run_methods.Toy(behave, "still", **settings)


@pytest.fixture(scope="module")
def data():
    return find_data("open-sample")


@pytest.fixture(scope="module")
def reference(tmp_path_factory, data):
    """Two images of each of two objects, as isolation has them; never to be changed."""
    folder = tmp_path_factory.mktemp("reference") / "open-sample" / "still"
    made = run_methods.run(method(lr=0.02), data, folder, batch=3, seed=5, **CHOSEN)[1]
    write_scores(folder, evaluate(made, data, load_protocol("open@1"), Options()))
    return made


@pytest.fixture
def install(monkeypatch):
    """Install a method; gives the settings that it is loaded with."""
    asked = {}

    def installed(built):
        def load(name, settings=None):
            asked.update({"name": name, **(settings or {})})
            return built

        monkeypatch.setattr(reproducing, "load_method", load)
        return asked

    return installed


def again(reference, data, out, **choices):
    with submissions.unchecked():
        return reproduce(reference, data, out, Refit(**{"device": "cpu", **choices}))


# What agrees


def test_the_same_method_makes_the_same_again(tmp_path, reference, data, install):
    built = method()
    asked = install(built)
    found = again(reference, data, tmp_path / "out")
    assert asked == {"name": "still", "lr": 0.02}  # and neither seed, batch nor limit, which are the run's
    assert built.setup.seed == 5 and [len(ids) for ids in built.calls] == [2, 2]
    assert found.passed and found.differing == found.unequal == found.notes == () and found.failed == 0
    assert found.overall.images == 4 and {name: g.images for name, g in found.objects.items()} == dict.fromkeys(
        THINGS, 2
    )
    assert all(s.maximum < 1e-5 for group in found.objects.values() for s in group.differences.values())
    assert all(means.reference == means.refit for means in found.overall.means.values())
    assert read_submission(tmp_path / "out").manifest.settings["seed"] == 5


def test_its_means_are_those_that_scoring_the_same_images_gives(tmp_path, reference, data, install):
    install(method())
    found = again(reference, data, tmp_path / "out", objects=THINGS[:1], limit=1)
    assert found.overall.images == 1 and list(found.objects) == [THINGS[0]]
    row = next(r for r in evaluate(reference, data, load_protocol("open@1"), Options(objects=THINGS)).rows)
    means = {name: row[name] for name in load_protocol("open@1").headline}
    assert {name: m.reference for name, m in found.overall.means.items()} == pytest.approx(means, abs=1e-6)


def test_a_known_shift_is_measured_and_fails_where_it_matters(tmp_path, reference, data, install):
    install(method(shift=0.03, turn=0.1))
    near = again(reference, data, tmp_path / "near", limit=1)
    for group in (near.overall, *near.objects.values()):
        spread = group.differences["translation"]
        assert (spread.median, spread.maximum) == pytest.approx((3.0, 3.0), abs=1e-4)
        assert 0 < group.differences["body_pose"].median <= np.degrees(0.1) + 1e-3
    install(method(shift=10.0))
    far = again(reference, data, tmp_path / "far", objects=THINGS[:1], limit=1)
    assert not far.passed and "translation" in far.differing and "surface_human" not in far.differing
    assert "rotation" not in far.differing


def test_an_image_that_one_side_lost_does_not_pass(tmp_path, reference, data, install):
    lost = reference.rows[0].image_id
    install(method(lost=[lost]))
    found = again(reference, data, tmp_path / "out")
    assert found.unequal == (lost,) and not found.passed and found.differing == ()
    assert found.overall.images == 3
    both = replace(reference, rows=[Failure(lost, "lost"), *reference.rows[1:]])
    found = again(both, data, tmp_path / "both")
    assert found.failed == 1 and found.unequal == () and found.passed


def test_where_everything_is_lost_nothing_passes(tmp_path, reference, data, install):
    install(method(lost=[row.image_id for row in reference.rows]))
    found = again(reference, data, tmp_path / "out")
    assert len(found.unequal) == 4 and not found.passed and found.objects == {}


def test_an_interrupted_run_goes_on(tmp_path, reference, data, install):
    few = {"objects": THINGS[:1], "limit": 1}
    install(method())
    again(reference, data, tmp_path / "out", **few)
    built = method()
    install(built)
    with pytest.raises(InputError, match="--resume"):
        again(reference, data, tmp_path / "out", **few)
    assert again(reference, data, tmp_path / "out", resume=True, **few).passed and built.calls == []


# How near is near


@pytest.mark.parametrize(
    ("old", "new", "unit", "agree"),
    [
        (100.0, 105.0, "cm", True),
        (100.0, 105.01, "cm", False),
        (100.0, 94.99, "cm", False),
        (0.5, 0.6, "cm", True),
        (0.5, 0.601, "cm", False),
        (0.0, 0.1, "deg", True),
        (0.9, 0.94, "", True),
        (None, None, "cm", True),
        (None, 1.0, "cm", False),
        (1.0, None, "cm", False),
    ],
)
def test_means_agree_within_a_share_or_the_floor(old, new, unit, agree):
    assert Means(old, new, unit).agree(0.05) is agree


def test_differences_against_a_twin(data):
    of = load_template(SHIPPED / "cello")
    rng = np.random.default_rng(3)
    pairs = [(submissions.reconstruction("a", i), submissions.reconstruction("a", 100 + i)) for i in range(20)]
    found = find_differences(pairs, of.symmetry())
    for (a, b), shift, turn, scale, bend in zip(pairs, *(found[k] for k in found), strict=True):
        p, q = a.object_pose, b.object_pose
        assert shift == pytest.approx(100 * np.sqrt(((p.translation - q.translation) ** 2).sum()))
        assert turn == pytest.approx(np.degrees(Rotation.from_matrix(p.rotation.T @ q.rotation).magnitude()), abs=1e-5)
        assert scale == 0
        joints = zip(a.human.body_pose, b.human.body_pose, strict=True)
        angles = [(Rotation.from_rotvec(x).inv() * Rotation.from_rotvec(y)).magnitude() for x, y in joints]
        assert bend == pytest.approx(np.degrees(max(angles)), abs=1e-5)
    record = pairs[0][0]
    other = replace(record, object_pose=noisy(replace(record.object_pose, scale=1.1), 7, 0.02, int(rng.integers(9))))
    one = find_differences([(record, other)], of.symmetry())
    assert {k: v[0] for k, v in one.items()} == pytest.approx(
        {"translation": 2.0, "rotation": 7.0, "scale": 10.0, "body_pose": 0.0}, abs=1e-4
    )


def test_a_symmetry_is_no_difference_and_a_sphere_has_no_rotation():
    record = submissions.reconstruction("a")
    for name in ("skateboard", "barbell"):
        symmetry = load_template(SHIPPED / name).symmetry()
        turned = replace(record, object_pose=equivalent(record.object_pose, symmetry.rotations[-1], symmetry.point))
        assert find_differences([(record, turned)], symmetry)["rotation"] == [pytest.approx(0, abs=1e-5)]
    assert "rotation" not in find_differences([(record, record)], load_template(SHIPPED / "basketball").symmetry())


def test_differences_join_and_spread():
    joined = join_differences([{"a": [1.0, 5.0], "b": [2.0]}, {"a": [3.0]}, {}])
    assert joined == {"a": [1.0, 5.0, 3.0], "b": [2.0]}
    spreads = find_spreads({**joined, "c": []})
    assert {k: (s.median, s.maximum) for k, s in spreads.items()} == {"a": (3.0, 5.0), "b": (2.0, 2.0)}


# What is refused


def test_a_reference_that_is_not_there_says_which_are(tmp_path, reference, monkeypatch):
    shutil.copytree(reference.path, tmp_path / "submissions" / "open-sample" / "still")
    monkeypatch.chdir(tmp_path)
    assert find_reference("still", "open-sample").manifest == reference.manifest
    with pytest.raises(InputError, match=r"no reference submission of other \(beside it: still\).*--reference"):
        find_reference("other", "open-sample")
    with pytest.raises(InputError, match="beside it: none"):
        find_reference("still", "open", tmp_path / "gone")


def test_data_without_pictures_say_how_to_make_them(tmp_path, reference, data, install):
    install(method())
    shutil.copytree(data.path, tmp_path / "data", ignore=shutil.ignore_patterns("samples"))
    with pytest.raises(MissingAssetError, match=r"no samples of split 'test'.*wildhoi data make open"):
        again(reference, replace(data, path=tmp_path / "data"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def spoilt(reference, **changes):
    return replace(reference, manifest=replace(reference.manifest, **changes))


@pytest.mark.parametrize(
    ("changes", "choices", "words"),
    [
        ({"dataset": "open"}, {}, "its dataset is open"),
        ({"body_model": "smplx"}, {}, "its body_model is smplx"),
        ({"settings": {"batch": "many"}}, {}, "settings.batch is 'many'"),
        ({"settings": {"seed": True}}, {}, "settings.seed is True"),
        ({"settings": {"renderer": "crayon"}}, {}, "--renderer crayon"),
        ({}, {"objects": ("spoon",)}, "no image of spoon, want some of baseball, basketball"),
        ({}, {"device": "cuda:99"}, "--device cuda:99"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(tmp_path, reference, data, install, changes, choices, words):
    built = method()
    install(built)
    with pytest.raises(InputError, match=words):
        again(spoilt(reference, **changes), data, tmp_path / "out", **choices)
    assert built.calls == [] and not (tmp_path / "out").exists()


def test_images_that_the_data_lack_are_refused(tmp_path, reference, data, install):
    install(method())
    with pytest.raises(InputError, match="none of its 10 images"):
        again(replace(reference, rows=submissions.rows()), data, tmp_path / "out")


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, float("nan")])
def test_a_tolerance_that_is_none_is_refused(tolerance):
    with pytest.raises(InputError, match="--tolerance"):
        Refit(tolerance=tolerance)


def test_another_revision_is_said(tmp_path, reference, data, install):
    install(method())
    found = again(spoilt(reference, revision="0" * 16), data, tmp_path / "out", objects=THINGS[:1], limit=1)
    assert found.passed and "of revision" in found.notes[0]
    # other batches than the reference's are said too; apart from that there is nothing to say
    known = again(spoilt(reference, revision="any"), data, tmp_path / "any", limit=1, objects=THINGS[:1])
    assert len(known.notes) == 1 and "other batches" in known.notes[0]


def test_without_scores_the_data_sets_protocol_is_taken(tmp_path, reference, data, install):
    install(method())
    shutil.copytree(reference.path, tmp_path / "bare")
    (tmp_path / "bare" / SCORES).unlink()
    choices = {"objects": THINGS[:1], "limit": 1}
    assert again(read_submission(tmp_path / "bare"), data, tmp_path / "out", **choices).protocol == "open@1"


# The command


def test_the_command_tells_and_its_code_is_the_verdict(tmp_path, reference, install):
    app = typer.Typer()
    app.command()(reproduce_command)
    words = ["still", "--dataset", "open-sample", "--reference", str(reference.path), "--device", "cpu"]
    words += ["--objects", THINGS[0], "--limit", "1"]
    install(method(shift=0.01))
    with submissions.unchecked():
        good = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "a")])
        install(method(shift=9.0))
        bad = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "b"), "--json"])
    assert good.exit_code == 0 and "1.00 (1.00)" in good.output and "reproduced: the headline means" in good.output
    assert bad.exit_code == 1
    found = json.loads(bad.stdout)
    assert found["passed"] is False and "translation" in found["differing"]
    assert found["overall"]["differences"]["translation"]["median"] == pytest.approx(900, abs=1e-2)
