"""The flow prior as a method: fits with tiny untrained priors, and what it refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command import run as command_run
from fit_scenes import samples_of
from run_methods import run, without_seconds
from tiny_priors import BLIND, write_tiny

import submissions
from baselines import checkpoint as checkpoints
from baselines.fitting import fit
from baselines.flow_prior import build_alone, build_flow_prior, build_released
from baselines.painter import Painter
from baselines.prior_files import CONFIG, CONTACT, WEIGHTS
from baselines.scene import BODY, CAMERAS
from wildhoi.dataset import find_data
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.method import Setup
from wildhoi.schema import Failure, Reconstruction

NAME, OTHER = "skateboard", "barbell"
DATA = find_data("open-sample")
BRIEF = {"steps": [3, 2], "search_steps": 2, "candidates": 2, "cameras": 3, "contact_points": 30}
EXACT = {**BRIEF, "precision": "float64"}


@pytest.fixture(scope="module")
def priors(tmp_path_factory):
    """Folders of priors by their kind."""
    root = tmp_path_factory.mktemp("priors")
    for name in (NAME, OTHER):
        write_tiny(root / "shown", name)
    write_tiny(root / "blind", NAME, encoder=BLIND)
    write_tiny(root / "points", NAME, supervision="3d")
    write_tiny(root / "bare", NAME, contact=False)
    return root


def setup(**changes):
    return Setup("open", DATA.objects, **changes)


def images():
    with submissions.unchecked():
        return samples_of(NAME)[:2]


def numbers(record):
    human, pose = record.human, record.object_pose
    parts = [getattr(human, name) for name in BODY] + [pose.rotation, pose.translation, pose.scale]
    return np.concatenate([np.ravel(part) for part in parts])


def fitted(build, priors, kind="shown", given=None, settings=None, **changes):
    method = build({"checkpoint": str(priors / kind), **(settings or EXACT)})
    with submissions.unchecked():
        return method.reconstruct(given or images(), setup(**changes))


def problem_of(method, given):
    """The problem of a method's samples, before anything is searched or fitted."""
    with submissions.unchecked():
        template = setup().template(NAME)
        method.seed, method.trained = 0, method._read(template)
        return method._problem(given, template, setup().body("neutral", method.settings["precision"]), Painter())


# -- fits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [build_flow_prior, build_released])
@pytest.mark.parametrize("kind", ["shown", "blind", "points"])
def test_every_kind_of_prior_is_fitted_with(build, priors, kind):
    for record, sample in zip(fitted(build, priors, kind), images(), strict=True):
        assert isinstance(record, Reconstruction) and record.image_id == sample.image_id
        assert np.isfinite(numbers(record)).all() and record.object_pose.scale > 0
        assert (record.object_pose.translation != sample.object_pose.translation).any()
        assert (record.human.body_pose != sample.human.body_pose).any()


def test_an_image_does_not_feel_its_batch(priors):
    together = fitted(build_flow_prior, priors)
    alone = [fitted(build_flow_prior, priors, given=[image])[0] for image in images()]
    reordered = fitted(build_flow_prior, priors, given=images()[::-1])[::-1]
    for one, other, third in zip(together, alone, reordered, strict=True):
        assert np.abs(numbers(one) - numbers(other)).max() < 1e-6
        assert np.abs(numbers(one) - numbers(third)).max() < 1e-6


def test_the_prior_the_seed_and_the_contact_matter(priors):
    plain = fitted(build_flow_prior, priors, settings={**EXACT, "start": "published"})
    changes = ({"prior": 0}, {"contact": 0}, {"cameras": 4}, {"start": "search"})
    for change in changes:
        other = fitted(build_flow_prior, priors, settings={**EXACT, "start": "published", **change})
        assert np.abs(numbers(plain[0]) - numbers(other[0])).max() > 1e-7, change
    seeded = fitted(build_flow_prior, priors, settings={**EXACT, "start": "published"}, seed=1)
    assert np.abs(numbers(plain[0]) - numbers(seeded[0])).max() > 1e-7


def test_the_method_without_contact_is_the_method_told_so(priors):
    alone = fitted(build_alone, priors)
    told = fitted(build_flow_prior, priors, settings={**EXACT, "contact": 0})
    assert all(np.array_equal(numbers(one), numbers(other)) for one, other in zip(alone, told, strict=True))
    both = [build({**given}).settings for build, given in ((build_alone, {}), (build_flow_prior, {"contact": 0}))]
    assert both[0] == both[1]


def test_the_same_run_gives_the_same_numbers(priors):
    first, second = (fitted(build_flow_prior, priors) for _ in range(2))
    assert all(np.array_equal(numbers(a), numbers(b)) for a, b in zip(first, second, strict=True))


class Interrupted(Exception):
    """What a test stops a fit with."""


@pytest.mark.parametrize("build", [build_flow_prior, build_released])
@pytest.mark.parametrize("stop", [2, 4])
def test_an_interrupted_fit_ends_in_the_same_numbers(priors, build, stop, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "KEEP_EVERY", 0.0)
    file, told = tmp_path / "state.npz", []
    whole = fitted(build, priors)

    def watch(moment):
        told.append(moment.done)
        if moment.done > stop:
            raise Interrupted

    with pytest.raises(Interrupted):
        fitted(build, priors, checkpoint=file, watch=watch, watch_every=1)
    told.clear()
    again = fitted(build, priors, checkpoint=file, watch=lambda m: told.append(m.done), watch_every=1)
    assert told[0] > stop - 1
    assert all(np.array_equal(numbers(a), numbers(b)) for a, b in zip(whole, again, strict=True))


def test_cameras_move_at_their_own_rate_or_stay(priors):
    for rate in (0.0, 1e-3):
        method = build_flow_prior({"checkpoint": str(priors / "shown"), **EXACT, "camera_lr": rate})
        problem = problem_of(method, images())
        drawn = problem.parameters[CAMERAS].clone()
        with submissions.unchecked():
            fit(problem, method._stages(setup().template(NAME)))
        moved = (problem.parameters[CAMERAS] - drawn).abs()
        # Adam's steps are at most a little more than its rate, which falls
        assert moved.max() <= 5.5 * rate and bool(moved.any()) == bool(rate)


def test_what_is_told_names_prior_and_contact(priors):
    moments = []
    fitted(build_flow_prior, priors, watch=moments.append, watch_every=1)
    assert {"prior", "contact", "correspondences"} <= set(moments[-1].losses)
    assert all(np.isfinite(value) for moment in moments for value in moment.losses.values())
    moments.clear()
    fitted(build_flow_prior, priors, settings={**EXACT, "contact": 0}, watch=moments.append, watch_every=1)
    assert "contact" not in moments[-1].losses and "prior" in moments[-1].losses


def test_vertices_that_may_touch_are_those_of_equation_14(priors):
    method = build_flow_prior({"checkpoint": str(priors / "shown"), **EXACT, "contact_points": 0})
    seen, means = problem_of(method, images()).observation, method.trained.contact
    for row, sample in enumerate(images()):
        for side in ("human", "object"):
            product = np.asarray(getattr(sample, f"{side}_occlusion"), float) * means[side]
            index, weight = (getattr(seen, f"{side}_{what}")[row] for what in ("contact", "weight"))
            assert index[index >= 0].tolist() == np.flatnonzero(product > 0.05).tolist()
            np.testing.assert_allclose(weight[index >= 0], product[product > 0.05])
    state = problem_of(method, images()).state()
    index = seen.human_contact.clamp(min=0)
    wanted = state.human.vertices.gather(1, index[..., None].expand(-1, -1, 3))
    torch.testing.assert_close(state.human.touching(index), wanted, rtol=0, atol=1e-9)
    few = build_flow_prior({"checkpoint": str(priors / "shown"), **EXACT})
    thinned = problem_of(few, images()).observation
    assert thinned.human_contact.shape[1] <= 30 and (thinned.human_contact >= 0).sum() > 0


# -- what an image lacks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": None}, "no picture, which the prior is conditioned on; one trained with --condition none"),
        ({"human_occlusion": None}, "no occlusion, for contact; --set contact=0 fits without"),
        ({"object_correspondences": None}, "for correspondences; --set correspondences=0 fits without"),
        ({"camera": None}, "no usable camera"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_image_that_lacks_something_fails_and_the_rest_goes_on(priors, changes, words):
    first, second = images()
    records = fitted(build_flow_prior, priors, given=[replace(first, **changes), second])
    assert [type(record) for record in records] == [Failure, Reconstruction]
    assert words in records[0].reason and records[0].image_id == first.image_id
    alone = fitted(build_flow_prior, priors, given=[second])
    assert np.abs(numbers(records[1]) - numbers(alone[0])).max() < 1e-6


def test_a_prior_that_looks_at_no_picture_needs_none(priors):
    given = [replace(image, image=None) for image in images()]
    assert [type(record) for record in fitted(build_flow_prior, priors, "blind", given)] == [Reconstruction] * 2


def test_without_contact_nothing_of_it_is_needed(priors):
    given = [replace(image, human_occlusion=None, object_occlusion=None) for image in images()]
    settings = {**EXACT, "contact": 0}
    assert isinstance(fitted(build_flow_prior, priors, "bare", given, settings)[0], Reconstruction)
    with pytest.raises(InputError, match="has no mean occlusion maps, for contact; --no-contact fits without"):
        fitted(build_flow_prior, priors, "bare")


def test_a_submission_declares_what_was_read(priors):
    inputs = build_flow_prior({"checkpoint": str(priors / "shown")}).info.inputs
    assert {"human_occlusion", "object_occlusion"} <= set(inputs)
    without = build_flow_prior({"checkpoint": str(priors / "shown"), "contact": 0}).info.inputs
    assert not {"human_occlusion", "object_occlusion"} & set(without)


def test_a_submission_declares_the_masks_that_its_prior_is_shown(priors):
    """An encoder sees colours and both masks, as `baselines.pictures` cuts them out."""
    masks = {"person_mask", "object_mask"}
    assert masks <= set(build_flow_prior({"checkpoint": str(priors / "shown")}).info.inputs)
    assert not masks & set(build_flow_prior({"checkpoint": str(priors / "blind")}).info.inputs)


# -- settings ----------------------------------------------------------------------------------------------------------


def test_hands_are_bound_less_where_there_is_contact():
    touching, alone = build_flow_prior({}).settings, build_flow_prior({"contact": 0}).settings
    assert touching["contact"] == 1 and touching["prior"] == alone["prior"] == 0.1
    assert (touching["hand_keypoints"], alone["hand_keypoints"]) == (1e-2, 1e-1)
    assert (touching["hand_norm"], alone["hand_norm"]) == (1e-2, 1e-1)
    assert (touching["hand_decay"], alone["hand_decay"]) == (1e-2, 1.0)
    assert build_flow_prior({"contact": 0, "hand_decay": 3}).settings["hand_decay"] == 3


def test_the_published_setting_is_the_papers_and_its_codes():
    settings = build_released({}).settings
    assert settings["start"] == "published" and settings["coordinates"] == "smpl"
    assert settings["steps"] == (4000, 1000) and settings["lr"] == (0.05, 0.05) and settings["camera_lr"] == 1e-3
    assert settings["contact_points"] == 0 and settings["cameras"] == 16
    first, second = build_released({}).recipe.stages(settings)
    assert {name: weight for name, (_, weight) in first.terms.items()}["prior"] == 0.1
    assert second.terms["contact"][1] == pytest.approx(1 / 11) and not second.fresh


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cameras": 0}, "cameras is 0, want a whole number from 1"),
        ({"cameras": 2.5}, "cameras is 2.5, want a whole number"),
        ({"cameras": True}, "cameras is True, want a whole number"),
        ({"candidates": 0}, "candidates is 0"),
        ({"camera_lr": -1}, "camera_lr is -1"),
        ({"camera_lr": float("nan")}, "camera_lr is nan"),
        ({"search_steps": "many"}, "search_steps is 'many'"),
        ({"start": "nowhere"}, "start is 'nowhere', want search or published"),
        ({"start": ["search"]}, "start is .*, want search or published"),
        ({"checkpoint": 3}, "checkpoint is 3, want text"),
        ({"hashes": "abc"}, "hashes is 'abc', want a table of texts"),
        ({"hashes": {"a": 1}}, "hashes is .*, want a table of texts"),
        ({"trained": "well"}, "trained is 'well', want a table of texts"),
        ({"coordinates": "smpl"}, "start=search moves objects in camera coordinates; give start=published"),
        ({"camera": 3}, r"has no setting 'camera' \(did you mean cameras"),
        ({"prior": -1}, "prior is -1"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        build_flow_prior(settings)


def test_a_search_in_other_coordinates_is_refused_of_the_released_too():
    with pytest.raises(InputError, match="start=search moves objects in camera coordinates"):
        build_released({"start": "search"})
    assert build_flow_prior({"coordinates": "smpl", "start": "published"}).settings["coordinates"] == "smpl"


def test_no_checkpoint_is_told_when_it_is_needed():
    with submissions.unchecked(), pytest.raises(InputError, match="no checkpoint; give --checkpoint DIR"):
        build_flow_prior(EXACT).reconstruct(images(), setup())
    with pytest.raises(MissingAssetError, match="checkpoint nowhere: no such folder"):
        build_flow_prior({"checkpoint": "nowhere"})


def test_other_weights_than_those_wanted_are_refused(priors):
    folder = str(priors / "shown")
    known = build_flow_prior({"checkpoint": folder}).settings["hashes"]
    weights = json.loads((priors / "shown" / NAME / CONFIG).read_text())["weights"]
    assert known.keys() == {NAME, OTHER} and weights.startswith(known[NAME])
    with submissions.unchecked():
        again = build_flow_prior({"checkpoint": folder, **EXACT, "hashes": known}).reconstruct(images()[:1], setup())
        assert isinstance(again[0], Reconstruction)
        for wrong in ("0" * 16, ""):
            method = build_flow_prior({"checkpoint": folder, **EXACT, "hashes": {NAME: wrong}})
            with pytest.raises(InputError, match=f"the weights of {NAME} are not those wanted"):
                method.reconstruct(images(), setup())


def test_the_whole_hash_names_weights_too(priors):
    weights = json.loads((priors / "shown" / NAME / CONFIG).read_text())["weights"]
    method = build_flow_prior({"checkpoint": str(priors / "shown"), **EXACT, "hashes": {NAME: weights}})
    with submissions.unchecked():
        assert isinstance(method.reconstruct(images()[:1], setup())[0], Reconstruction)


def test_supervision_is_that_of_the_priors(priors):
    assert build_flow_prior({"checkpoint": str(priors / "shown")}).info.supervision == "2D images"
    assert build_flow_prior({"checkpoint": str(priors / "points")}).info.supervision == "3D annotations"


# -- runs and the command line -----------------------------------------------------------------------------------------


def test_a_run_resumes_and_its_manifest_holds_no_path(priors, tmp_path):
    method = build_flow_prior({"checkpoint": str(priors / "shown"), **BRIEF})
    options = {"objects": (NAME,), "limit": 2, "batch": 1}
    ran, submission = run(method, DATA, tmp_path / "run", **options)
    assert (ran.reconstructions, ran.failures) == (2, 0)
    settings = submission.manifest.settings
    assert settings["checkpoint"] == "shown" and settings["start"] == "search" and len(settings["hashes"][NAME]) == 16
    written = (tmp_path / "run" / "submission.yaml").read_text() + (tmp_path / "run" / "run.jsonl").read_text()
    assert str(priors) not in written
    batches = [path for path in (tmp_path / "run" / "state").iterdir() if path.is_file() and path.name[0] != "."]
    assert len(batches) == 2
    batches[0].unlink()
    again, resumed = run(method, DATA, tmp_path / "run", resume=True, **options)
    assert again.reconstructions == 2 and without_seconds(resumed.rows) == without_seconds(submission.rows)


def test_a_run_does_not_go_on_with_other_weights(priors, tmp_path):
    copy = shutil.copytree(priors / "shown", tmp_path / "shown")
    options = {"objects": (NAME,), "limit": 1}
    run(build_flow_prior({"checkpoint": str(copy), **BRIEF}), DATA, tmp_path / "run", **options)
    write_tiny(copy, NAME, seed=5)
    with pytest.raises(InputError, match="hashes"):
        run(build_flow_prior({"checkpoint": str(copy), **BRIEF}), DATA, tmp_path / "run", resume=True, **options)


@pytest.fixture()
def command(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WILDHOI_CHECKPOINTS", raising=False)
    short = ("--set", "steps=1,1", "--set", "search_steps=1", "--set", "candidates=1", "--set", "cameras=2")
    words = ("run", "flow-prior", "--dataset", "open-sample", "--objects", NAME, "--limit", "1", "--device", "cpu")
    return lambda *more: command_run(monkeypatch, capfd, *words, *short, "-o", "out", *more)


def test_the_command_line_has_options_of_its_own(command, priors):
    outcome = command("--checkpoint", priors / "shown", "--no-contact", "--start", "published")
    assert outcome.code == 0, outcome
    manifest = Path("out/submission.yaml").read_text()
    assert "start: published" in manifest and "contact: 0" in manifest
    assert command("--checkpoint", priors / "shown", "--set", "start=search", "--start", "search").code == 2


def broken(folder, kind):
    """A folder of priors that cannot be used, and the exit code that tells so."""
    place = folder / NAME
    config = json.loads((place / CONFIG).read_text())
    if kind == "corrupted":
        (place / WEIGHTS).write_bytes(b"\xff" * 100)
    elif kind == "cut":
        (place / WEIGHTS).write_bytes((place / WEIGHTS).read_bytes()[:-50])
    elif kind == "without weights":
        (place / WEIGHTS).unlink()
    elif kind == "of no format":
        (place / CONFIG).write_text("[" * 100_000)
    elif kind == "of another object":
        shutil.rmtree(place)
    elif kind == "of another table":
        (place / CONFIG).write_text(json.dumps({**config, "category": "0" * 64}))
    elif kind == "with damaged maps":
        (place / CONTACT).write_bytes(b"no maps")
    elif kind == "huge":
        config["prior"]["flow"]["depth"] = 60_000
        (place / CONFIG).write_text(json.dumps(config))


BROKEN = {
    "corrupted": (2, "damaged, or no safetensors file"),
    "cut": (2, "damaged, or no safetensors file"),
    "without weights": (3, "is not there"),
    "of no format": (2, "cannot be read as JSON"),
    "of another object": (3, f"no prior of {NAME}"),
    "of another table": (2, "the category table has changed"),
    "with damaged maps": (2, "not the mean occlusion maps"),
    "huge": (2, "depth: got 60000"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_bad_checkpoint_is_one_error_with_its_exit_code(command, priors, tmp_path, kind):
    folder = shutil.copytree(priors / "shown", tmp_path / "broken")
    broken(folder, kind)
    outcome = command("--checkpoint", folder)
    code, words = BROKEN[kind]
    assert outcome.code == code, outcome
    assert words in outcome.err and "Traceback" not in outcome.err
    assert not Path("out/submission.yaml").exists()


def test_no_checkpoint_at_all_is_one_error(command):
    outcome = command()
    assert outcome.code == 2 and "--checkpoint" in outcome.err and "Traceback" not in outcome.err
    outcome = command("--checkpoint", "nowhere")
    assert outcome.code == 3 and "checkpoint nowhere: no such folder" in outcome.err


def test_draws_come_from_the_seed_of_the_run(priors):
    method = build_flow_prior({"checkpoint": str(priors / "shown"), **EXACT})
    one, other = (problem_of(method, images()).parameters[CAMERAS] for _ in range(2))
    assert torch.equal(one, other) and one.shape == (2, 3, 3)


def test_a_row_says_how_and_where_its_priors_were_trained():
    told = build_flow_prior({"checkpoint": "small"}).settings["trained"]
    assert {*told} >= {"skateboard", "barbell"}
    for line in told.values():
        for word in ("small", "knn (16)", "estimates", "40 epochs", "2000 images of open@", "cpu, 1 process"):
            assert word in line, line
    again = build_flow_prior({"checkpoint": "small", "trained": {"skateboard": "on the moon"}})
    assert again.settings["trained"] == told
