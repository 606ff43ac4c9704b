"""Fits as a whole: exact data, batches, interruptions, settings, and what becomes of images that lack something."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from body_files import open_arrays, write_smplh
from exact_images import exact_sample
from fit_scenes import samples_of
from rendering_scenes import NoSync

import submissions
from baselines import checkpoint as checkpoints
from baselines import fitting
from baselines.checkpoint import Checkpoint, Progress
from baselines.fitted import FittedMethod
from baselines.fitting import fit
from baselines.losses import TERMS
from baselines.painter import Painter
from baselines.phosa import OURS, RELEASED, build_phosa, build_released
from baselines.scene import BODY
from wildhoi.dataset import find_data, load_annotations
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.geometry import axis_rotation, geodesic_angle
from wildhoi.method import Setup
from wildhoi.schema import Failure, Human, Reconstruction

NAME = "cello"
WITHOUT_INTERACTION = {"coarse_interaction": 0, "fine_interaction": 0, "ordinal_depth": 0}
EXACT = {**WITHOUT_INTERACTION, "scale": "fixed", "scale_decay": 0}
SHORT = {"steps": [6, 4], "precision": "float64"}
BRIEF = {"steps": [2, 1], "precision": "float64"}
DATA = find_data("open-sample")


def setup(**changes):
    return Setup("open", DATA.objects, **changes)


@pytest.fixture(scope="module")
def images():
    with submissions.unchecked():
        return samples_of(NAME)


def numbers(record):
    human, pose = record.human, record.object_pose
    parts = [getattr(human, name) for name in BODY] + [pose.rotation, pose.translation, pose.scale]
    return np.concatenate([np.ravel(part) for part in parts])


def shifted(sample, rng):
    """The same image with the object's estimate 20 cm and 20 degrees off."""
    direction, pose = rng.standard_normal(3), sample.object_pose
    translation = pose.translation + 0.2 * direction / np.linalg.norm(direction)
    rotation = axis_rotation(rng.standard_normal(3), np.radians(20)) @ pose.rotation
    moved = replace(pose, rotation=rotation, translation=translation)
    return replace(sample, image_id=f"{sample.image_id}-off", object_pose=moved)


def test_with_exact_data_a_fit_stays_at_the_truth_and_comes_back_to_it():
    truths = [truth for truth in load_annotations(DATA) if truth.object == NAME][:2]
    at_truth = [exact_sample(truth, setup().template(NAME)) for truth in truths]
    off = [shifted(sample, np.random.default_rng(0)) for sample in at_truth]
    records = build_phosa({**EXACT, "steps": [1000, 0]}).reconstruct([*at_truth, *off], setup())
    for record, truth in zip(records, truths * 2, strict=True):
        apart = np.linalg.norm(record.object_pose.translation - truth.object_pose.translation)
        assert apart < 1e-3, record.image_id
        angle = geodesic_angle(record.object_pose.rotation, truth.object_pose.rotation)
        assert np.degrees(angle) < 0.05, record.image_id
        assert record.object_pose.scale == pytest.approx(truth.object_pose.scale, rel=1e-6)


def test_an_image_does_not_feel_its_batch(images):
    method = build_phosa(SHORT)
    together = method.reconstruct(images, setup())
    alone = [method.reconstruct([image], setup())[0] for image in images]
    reordered = method.reconstruct(images[::-1], setup())[::-1]
    for one, other, third in zip(together, alone, reordered, strict=True):
        assert np.abs(numbers(one) - numbers(other)).max() < 1e-6
        assert np.abs(numbers(one) - numbers(third)).max() < 1e-6


def test_in_the_released_preset_it_does(images):
    method = build_released(SHORT)
    together, alone = method.reconstruct(images, setup())[0], method.reconstruct(images[:1], setup())[0]
    assert np.abs(numbers(together) - numbers(alone)).max() > 1e-4


@pytest.mark.parametrize("build", [build_phosa, build_released])
def test_a_fit_is_its_recipe_written_out(images, build):
    """The stages against a plain loop: one table of weights, an optimiser of torch, nothing else."""
    method = build(SHORT)
    problem, plain = (problem_of(method, images) for _ in range(2))
    stages = method.recipe.stages(method.settings)
    fit(problem, stages)
    adam = None
    for stage in stages:
        for name, tensor in plain.parameters.items():
            tensor.requires_grad_(name in stage.train)
            tensor.grad = None
        if adam is None or stage.fresh:
            adam = torch.optim.Adam(plain.parameters.values(), lr=stage.lr, betas=(0.9, stage.beta2))
        for step in range(stage.steps):
            adam.param_groups[0]["lr"] = stage.lr * stage.final_lr ** (step / (stage.steps - 1))
            adam.zero_grad()
            state = plain.state()
            terms = [weight * function(state, plain.observation) for function, weight in stage.terms.values()]
            by_image = sum(terms)
            (by_image.sum() if method.recipe.objective == "sum" else by_image.mean()).backward()
            adam.step()
    for name, tensor in problem.parameters.items():
        assert torch.allclose(tensor, plain.parameters[name], atol=1e-9), name


def problem_of(method, images, painter=None):
    body = setup().body("neutral", method.settings["precision"])
    return method._problem(images, setup().template(images[0].object), body, painter or Painter())


def test_the_first_phase_leaves_people_alone_and_the_second_does_not(images):
    first = build_phosa({**SHORT, "steps": [3, 0]}).reconstruct(images[:1], setup())[0]
    both = build_phosa({**SHORT, "steps": [3, 2]}).reconstruct(images[:1], setup())[0]
    start = images[0].human
    assert all(np.array_equal(getattr(first.human, name), getattr(start, name)) for name in BODY)
    assert all((getattr(both.human, name) != getattr(start, name)).any() for name in BODY)


class Interrupted(Exception):
    """What a test stops a fit with."""


@pytest.mark.parametrize("build", [build_phosa, build_released])
@pytest.mark.parametrize("stop", [4, 8])
def test_an_interrupted_fit_ends_in_the_same_numbers(images, build, stop, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "KEEP_EVERY", 0.0)
    method, file = build(SHORT), tmp_path / "state.npz"
    whole = method.reconstruct(images, setup())
    steps = []

    def watch(moment):
        steps.append(moment.done)
        if moment.done > stop:
            raise Interrupted

    with pytest.raises(Interrupted):
        method.reconstruct(images, setup(checkpoint=file, watch=watch, watch_every=1))
    assert file.is_file()
    steps.clear()
    again = method.reconstruct(images, setup(checkpoint=file, watch=lambda m: steps.append(m.done), watch_every=1))
    assert steps[0] > stop - 1  # it went on, not back to the start
    assert all(np.array_equal(numbers(a), numbers(b)) for a, b in zip(whole, again, strict=True))


def test_a_foreign_or_damaged_state_is_not_used(images, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "KEEP_EVERY", 0.0)
    file, method = tmp_path / "state.npz", build_phosa(BRIEF)
    wanted = numbers(method.reconstruct(images[:1], setup())[0])
    build_phosa({**BRIEF, "lr": 0.01}).reconstruct(images[:1], setup(checkpoint=file))  # other settings
    assert np.array_equal(numbers(method.reconstruct(images[:1], setup(checkpoint=file))[0]), wanted)
    sound = file.read_bytes()
    for damaged in (b"", b"no state", sound[: len(sound) // 2], sound[:-100]):
        file.write_bytes(damaged)
        assert np.array_equal(numbers(method.reconstruct(images[:1], setup(checkpoint=file))[0]), wanted)


def test_seconds_count_those_before_an_interruption(tmp_path, monkeypatch, images):
    monkeypatch.setattr(checkpoints, "KEEP_EVERY", 0.0)
    problem = problem_of(build_phosa(SHORT), images)
    before = Checkpoint(tmp_path / "a.npz", "x", seconds=100.0)
    fit(problem, build_phosa(SHORT).recipe.stages(build_phosa(SHORT).settings), checkpoint=before)
    after = Checkpoint(tmp_path / "a.npz", "x")
    after.restore(problem.parameters)
    assert after.elapsed > 100


def test_too_little_room_for_pictures_costs_time_alone(images, monkeypatch):
    monkeypatch.setattr(fitting, "CHECK_EVERY", 2)
    method = build_phosa(BRIEF)
    stages = method.recipe.stages(method.settings)
    wanted = problem_of(method, images[:2], Painter(fixed=True))
    fit(wanted, stages)
    cramped = Painter(fixed=True)
    cramped.capacities = {"object": 500, "body": 500}
    problem = problem_of(method, images[:2], cramped)
    fit(problem, stages)
    assert cramped.capacities["object"] > 500  # it did not suffice
    for name, tensor in problem.parameters.items():
        assert torch.equal(tensor, wanted.parameters[name]), name


@pytest.mark.parametrize("build", [build_phosa, build_released])
def test_a_step_of_fixed_shapes_never_waits_for_the_device(images, build):
    """State, losses and gradients of both phases; the first step, which measures, is allowed to."""
    method = build(BRIEF)
    problem = problem_of(method, images[:1], Painter(fixed=True))
    with submissions.unchecked():
        for stage in method.recipe.stages(method.settings):
            for name, tensor in problem.parameters.items():
                tensor.requires_grad_(name in stage.train)
            still = None if set(stage.train) & set(BODY) else problem.state().human
            _loss(problem, stage, still)
            with NoSync():
                _loss(problem, stage, still).backward()


def _loss(problem, stage, still):
    state = problem.state(still)
    return sum(weight * function(state, problem.observation) for function, weight in stage.terms.values()).sum()


def test_images_that_have_converged_rest(images, monkeypatch):
    monkeypatch.setattr(fitting, "CHECK_EVERY", 2)
    done = []
    settings = {**SHORT, "steps": [40, 0], "tolerance": 0.9}
    method = build_phosa({**settings, "ordinal_depth": 0})
    together = method.reconstruct(images, setup(watch=lambda m: done.append(m.done), watch_every=1))
    assert len(done) < 40  # a fall by nine tenths in two steps is rare
    alone = [method.reconstruct([image], setup())[0] for image in images]
    assert all(np.abs(numbers(a) - numbers(b)).max() < 1e-6 for a, b in zip(together, alone, strict=True))


def test_what_is_told_while_it_works(images):
    moments = []
    build_phosa(SHORT).reconstruct(images, setup(watch=moments.append, watch_every=2))
    assert [m.done for m in moments] == [1, 2, 4, 6, 8, 10, 10] and {m.total for m in moments} == {10}
    assert "body_keypoints" not in moments[0].losses  # nothing that moves in the first phase matters to it
    assert set(moments[-1].losses) == {name for name, weight in OURS.weights.items() if weight}
    assert all(np.isfinite(value) for moment in moments for value in moment.losses.values())
    last = moments[-1].reconstructions()
    assert [record.image_id for record in last] == [image.image_id for image in images]


def test_a_term_of_no_weight_is_not_worked_out(images):
    moments = []
    settings = {**SHORT, **WITHOUT_INTERACTION}
    build_phosa(settings).reconstruct(images, setup(watch=moments.append, watch_every=1))
    assert not {name for moment in moments for name in moment.losses} & set(WITHOUT_INTERACTION)


def test_a_phase_in_which_nothing_is_minimised_moves_nothing(images):
    of_objects = {name: 0 for name in OURS.weights if not TERMS[name].of_body_alone}
    (record,) = build_phosa({**BRIEF, **of_objects}).reconstruct(images[:1], setup())
    assert np.allclose(record.object_pose.translation, images[0].object_pose.translation, atol=1e-6)
    assert (record.human.body_pose != images[0].human.body_pose).any()  # the second phase has the body's terms
    rest = {**dict.fromkeys(OURS.weights, 0), "scale_decay": 1, "scale": "fixed"}
    (record,) = build_phosa({**BRIEF, **rest}).reconstruct(images[:1], setup())
    assert np.array_equal(record.human.body_pose, images[0].human.body_pose)


def test_a_submission_declares_what_was_read():
    assert "person_mask" in build_phosa({}).info.inputs
    without = build_phosa({"ordinal_depth": 0, "hand_keypoints": 0}).info.inputs
    assert not {"person_mask", "object_mask"} & set(without) and "wholebody_keypoints" in without


@pytest.mark.parametrize("wrong", ["seconds", "at", "parameter.betas", "moment.0.step.more"])
def test_a_state_of_another_form_is_not_used(images, tmp_path, wrong):
    problem = problem_of(build_phosa(SHORT), images[:1])
    kept = {f"parameter.{name}": tensor.numpy() + 1 for name, tensor in problem.parameters.items()}
    sound = {**kept, "fingerprint": np.array("x"), "at": np.array([0, 3]), "seconds": np.array(1.0)}
    np.savez(tmp_path / "a.npz", **{**sound, wrong: np.array(["no number", "of that form", "here"])})
    before = {name: tensor.clone() for name, tensor in problem.parameters.items()}
    assert Checkpoint(tmp_path / "a.npz", "x").restore(problem.parameters) == (Progress(), {})
    assert all(torch.equal(tensor, before[name]) for name, tensor in problem.parameters.items())


NAN = float("nan")


def without_numbers(human):
    return Human(np.full(10, NAN), human.body_pose, human.left_hand_pose, human.right_hand_pose)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"human": None}, "no usable estimate of the person"),
        ({"camera": None}, "no usable camera"),
        ({"object_correspondences": None}, "for correspondences; --set correspondences=0 fits without"),
        ({"object_correspondences": np.zeros((4, 4, 3))}, "for correspondences; --set correspondences=0 fits without"),
        ({"person_mask": None}, "--set ordinal_depth=0 fits without"),
        ({"wholebody_keypoints": None}, "--set body_keypoints=0 --set hand_keypoints=0 fits without"),
    ],
)
def test_what_lacks_an_input_fails_and_the_rest_goes_on(images, changes, words):
    broken = replace(images[0], **changes)
    records = build_phosa(BRIEF).reconstruct([images[1], broken, images[2]], setup())
    assert [type(record) for record in records] == [Reconstruction, Failure, Reconstruction]
    assert words in records[1].reason
    good = build_phosa(BRIEF).reconstruct([images[1], images[2]], setup())
    assert np.abs(numbers(records[0]) - numbers(good[0])).max() < 1e-6


def test_a_person_that_is_not_finite_fails(images):
    broken = replace(images[0], human=without_numbers(images[0].human))
    (record,) = build_phosa(SHORT).reconstruct([broken], setup())
    assert isinstance(record, Failure) and "estimate of the person" in record.reason


def test_the_hint_holds(images):
    broken = replace(images[0], person_mask=None)
    (record,) = build_phosa({**SHORT, "ordinal_depth": 0}).reconstruct([broken], setup())
    assert isinstance(record, Reconstruction)


def test_a_pose_that_is_not_finite_starts_at_the_person(images):
    pose = replace(images[0].object_pose, translation=np.full(3, NAN))
    (record,) = build_phosa({**SHORT, "steps": [0, 0]}).reconstruct([replace(images[0], object_pose=pose)], setup())
    assert np.abs(record.object_pose.translation).max() < 1e-6
    assert np.abs(record.object_pose.rotation - np.eye(3)).max() < 1e-9


def test_a_fit_that_diverges_is_a_failure_and_the_rest_goes_on(images, monkeypatch):
    method = build_phosa(BRIEF)
    (alone,) = method.reconstruct([images[1]], setup())
    make = FittedMethod._problem

    def spoiled(*arguments):
        problem = make(*arguments)
        problem.parameters["object_translation"][0, 1] = NAN
        return problem

    monkeypatch.setattr(FittedMethod, "_problem", spoiled)
    records = method.reconstruct(images[:2], setup())
    assert isinstance(records[0], Failure) and "diverged" in records[0].reason
    assert np.abs(numbers(records[1]) - numbers(alone)).max() < 1e-6


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ordnal_depth": 0}, "did you mean ordinal_depth"),
        ({"contact": 1}, "has no setting 'contact'"),
        ({"lr": "fast"}, "lr is 'fast'"),
        ({"lr": [1, 2, 3]}, "one number or two"),
        ({"steps": [1.5, 2]}, "two whole numbers"),
        ({"steps": -1}, "not negative"),
        ({"steps": 10**9 - 1}, "two whole numbers"),
        ({"ordinal_depth": -1}, "not negative"),
        ({"ordinal_depth": NAN}, "not negative"),
        ({"ordinal_depth": True}, "not negative"),
        ({"coordinates": "world"}, "camera or smpl"),
        ({"precision": 16}, "float32 or float64"),
        ({"beta2": 1}, "less than 1"),
    ],
)
def test_settings_are_checked(settings, words):
    with pytest.raises(InputError, match=r"^phosa: ") as caught:
        build_phosa(settings)
    assert words in str(caught.value)


def test_one_number_stands_for_both_phases():
    assert build_phosa({"lr": 0.02, "steps": 7}).settings["lr"] == (0.02, 0.02)
    assert build_phosa({"steps": 7}).settings["steps"] == (7, 7)


def test_the_released_recipe_is_the_published_one():
    first, second = RELEASED.stages(build_released({}).settings)
    assert (first.steps, second.steps, first.lr, second.lr) == (4000, 1000, 0.05, 0.05)
    assert first.final_lr == second.final_lr == 1 and first.beta2 == 0.999 and not second.fresh
    assert {name: weight for name, (_, weight) in first.terms.items()} == {
        "correspondences": 0.1,
        "scale_decay": 0.1,
        "coarse_interaction": 1,
        "fine_interaction": 1,
        "ordinal_depth": 0.01,
    }
    for name, (_, weight) in second.terms.items():
        assert weight == pytest.approx(RELEASED.weights[name] / 11)


def test_an_object_without_named_parts_is_attracted_as_a_whole(images, monkeypatch):
    template = setup().template(NAME)
    bare = replace(template, contact_vertices={})
    monkeypatch.setattr(Setup, "template", lambda self, name: bare)
    records = build_phosa(BRIEF).reconstruct(images[:1], setup())
    assert isinstance(records[0], Reconstruction)
    nothing = replace(bare, category=replace(bare.category, contact={}))
    monkeypatch.setattr(Setup, "template", lambda self, name: nothing)
    for build in (build_phosa, build_released):
        assert isinstance(build(BRIEF).reconstruct(images[:1], setup())[0], Reconstruction)


def test_methods_say_what_they_are():
    for build in (build_phosa, build_released):
        method = build({})
        assert isinstance(method, FittedMethod) and set(method.info.options) == set(method.settings)
        assert all(option.meaning for option in method.info.options.values())


def made_up_bodies(folder):
    """SMPL-X and SMPL-H files in the layout of the licensed ones, and the authors' regressor; made of the open body."""
    arrays = open_arrays()
    (folder / "smplx").mkdir()
    np.savez(folder / "smplx" / "SMPLX_NEUTRAL.npz", **arrays)
    matrix = np.zeros((65, len(arrays["v_template"])), np.float32)
    matrix[np.arange(65), np.arange(65)] = 1
    np.savez(folder / "smplx" / "smplx_wholebody_regressor.npz", wholebody_regressor=matrix)
    write_smplh(folder, genders=("male",))
    return folder


def test_licensed_bodies_fit_too(images, tmp_path, monkeypatch):
    monkeypatch.setenv("WILDHOI_BODY_MODELS", str(made_up_bodies(tmp_path)))
    template = setup().template(NAME)
    monkeypatch.setattr(Setup, "template", lambda self, name: template)
    male = [replace(image, gender="male") for image in images[:2]]
    for kind, samples in (("smplx", images[:2]), ("smplh", male)):
        records = build_phosa(BRIEF).reconstruct(samples, Setup(kind, DATA.objects))
        assert all(isinstance(record, Reconstruction) for record in records)
    table, regressor = (
        build_phosa({**BRIEF, "keypoints": keypoints}).reconstruct(images[:1], Setup("smplx", DATA.objects))[0]
        for keypoints in ("table", "regressor")
    )
    assert (table.human.body_pose != regressor.human.body_pose).any()
    with pytest.raises(InputError, match="data's body model is open"):
        build_phosa({**BRIEF, "keypoints": "regressor"}).reconstruct(images[:1], setup())


def test_a_regressor_that_is_not_there_is_named(images, tmp_path, monkeypatch):
    monkeypatch.setenv("WILDHOI_BODY_MODELS", str(tmp_path))
    with pytest.raises(MissingAssetError, match=r"smplx_wholebody_regressor\.npz is missing: not in"):
        build_phosa({**BRIEF, "keypoints": "regressor"}).reconstruct(images[:1], setup())


def test_the_documentation_has_every_term_with_its_weights():
    text = (Path(__file__).parents[1] / "docs" / "fitting.md").read_text()
    rows = {
        line.split("`")[1]: line.replace(r"\|", "/").split("|") for line in text.splitlines() if line.startswith("| `")
    }
    for name in TERMS:
        weight = rows[name][5].strip()
        assert weight == "-" if name not in OURS.weights else float(Fraction(weight)) == OURS.weights[name], name
        released = rows[name][6].strip()
        if name in RELEASED.weights:
            assert float(released.split(";")[1].split(" / 11")[0]) == RELEASED.weights[name], name
        else:
            assert released == "-", name
