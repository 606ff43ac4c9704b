"""Looking at fits: the views, the page, the film, the errors, and what is refused."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import typer
from matplotlib.figure import Figure
from PIL import Image
from scipy.spatial.transform import Rotation
from test_show import centre, covered, template_of
from typer.testing import CliRunner

import submissions
from wildhoi import showing
from wildhoi.body import load_body
from wildhoi.cli.fits import show
from wildhoi.dataset import find_data, find_sample, load_annotations
from wildhoi.errors import InputError, MissingAssetError, RunError
from wildhoi.method import Moment
from wildhoi.schema import Camera, Failure, ObjectPose, Reconstruction
from wildhoi.show import film as filming
from wildhoi.show import fit as fitting
from wildhoi.show.fit import Fit, fit_errors, render_fit
from wildhoi.show.page import write_page
from wildhoi.show.scene import OBJECT, PERSON
from wildhoi.show.views import LONGEST_BAR, directions, space_around
from wildhoi.showing import film_fit, show_fit

DATA = "open-sample"
THING = "violin"


@pytest.fixture(scope="module")
def truth():
    return next(a for a in load_annotations(find_data(DATA)) if a.object == THING and estimate(a.image_id))


def estimate(image_id):
    sample = find_sample(find_data(DATA), image_id)
    whole = sample is not None and sample.human is not None and sample.object_pose is not None
    return Reconstruction(image_id, sample.human, sample.object_pose) if whole else None


@pytest.fixture(scope="module")
def row(truth):
    return estimate(truth.image_id)


@pytest.fixture(scope="module")
def body():
    return load_body("open")


@pytest.fixture
def fit(truth, row, body):
    return Fit("made up", row, find_sample(find_data(DATA), truth.image_id), truth, template_of(THING), body)


@pytest.fixture
def run(tmp_path, row):
    """A submission of an estimate and a failure, made by a method of some settings."""
    other = next(a.image_id for a in load_annotations(find_data(DATA)) if a.object == "tennis")
    manifest = replace(submissions.MANIFEST_ROW, settings={"lr": 0.5, "seed": 7, "batch": 64, "limit": 3})
    folder = submissions.make_submission(tmp_path / "run", [row, Failure(other, "the map\x1b is empty")], manifest)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Panels of a fraction of the usual area: faster."""
    monkeypatch.setattr(fitting, "AREA", 120**2)
    monkeypatch.setattr(filming, "AREA", 100**2)


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Draw a fit; gives the panels by title, the words of the page, and the errors."""
    written = []

    def page(*words, **options):
        written.append(words)
        return write_page(*words, **options)

    monkeypatch.setattr(fitting, "write_page", page)

    def run(fit):
        errors = render_fit(fit, tmp_path / "fit.png")
        _, panels, *words = written[-1]
        return {panel.title: panel for panel in panels}, words, errors

    return run


def texts(panel):
    """What is written over a panel."""
    axes = Figure().add_subplot()
    panel.draw(axes)
    return "\n".join(text.get_text() for text in axes.texts)


def camera_of(rotation):
    return Camera(rotation, np.array([0.0, 0.0, 5.0]), np.full(2, 1000.0), np.full(2, 128.0))


def moved(row, shift):
    return replace(row, object_pose=replace(row.object_pose, translation=row.object_pose.translation + shift))


# views


DOWN, UP = (np.array([[1.0, 0, 0], [0, 0, s], [0, -s, 0]]) for s in (1, -1))
CAMERAS = [*Rotation.random(20, random_state=np.random.default_rng(0)).as_matrix(), DOWN, UP, np.diag([1.0, -1, -1])]


@pytest.mark.parametrize("rotation", CAMERAS)
def test_the_views_are_rotations_that_see_along_the_cameras_axis(rotation):
    seen = directions(camera_of(rotation))
    assert np.array_equal(seen["front"], rotation)
    for turned in seen.values():
        np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turned) > 0
    np.testing.assert_allclose(seen["side"][1], [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(seen["top"][2], [0, -1, 0], atol=1e-12)
    # what the camera cannot see, the way along its axis, lies in the plane of the side view
    assert abs(seen["side"][2] @ rotation[2]) < 1e-12
    # right in the side view is up in the view from above
    np.testing.assert_allclose(seen["side"][0], -seen["top"][1], atol=1e-12)


@pytest.mark.parametrize("reach", [0.001, 1.0, 70.0, 4000.0])
def test_all_points_are_in_every_view_at_one_scale(reach):
    rng = np.random.default_rng(1)
    points, rotations = reach * rng.standard_normal((50, 3)) + 3, directions(camera_of(CAMERAS[0]))
    space = space_around(points, rotations, (300, 200))
    for rotation in rotations.values():
        camera = space.camera(rotation)
        seen = points @ camera.rotation.T + camera.translation
        pixels = seen[:, :2] / seen[:, 2:] * camera.focal + camera.principal_point
        assert ((pixels > 0) & (pixels < [300, 200])).all()
        flat = (points - space.middle) @ rotation[:2].T * space.metre
        np.testing.assert_allclose(pixels - camera.principal_point, flat, atol=1.5)
    assert space.bar * space.metre <= LONGEST_BAR * 300 < 2.5 * space.bar * space.metre


def test_what_is_far_along_the_cameras_axis_is_right_from_the_side_and_up_from_above(draw, fit):
    for metres in (-3.0, 3.0):
        panels, _, _ = draw(replace(fit, truth=None, row=moved(fit.row, metres * fit.camera.rotation[2])))
        side = centre(covered(panels["Side"], OBJECT)) - centre(covered(panels["Side"], PERSON))
        above = centre(covered(panels["Top"], OBJECT)) - centre(covered(panels["Top"], PERSON))
        assert np.sign(side[0]) == np.sign(metres)
        assert np.sign(above[1]) == -np.sign(metres)


# the page


def test_one_row_without_the_truth_and_a_second_with_it(draw, fit):
    titles = ["Input", "Reconstruction over the input", "Front", "Side", "Top"]
    panels, (title, subtitle, caption), errors = draw(replace(fit, truth=None))
    assert list(panels) == titles and errors == {}
    assert (title, subtitle) == ("made up", f"{fit.row.image_id} · {THING}")
    assert "open body" in caption and "Errors" not in caption
    panels, (_, _, caption), errors = draw(fit)
    assert list(panels) == [*titles, "Errors", "Truth over the input", "Front, truth", "Side, truth", "Top, truth"]
    assert "nothing aligned" in caption and f"{errors['object_translation_cm']:,.1f} cm" in texts(panels["Errors"])
    assert len({panel.pixels.shape for panel in panels.values()}) == 1
    for panel in panels.values():
        if panel.title not in ("Input", "Errors"):
            assert covered(panel, PERSON).any() and covered(panel, OBJECT).any()
    assert [" m" in texts(panels[name]) for name in ("Front", "Side", "Top")] == [True] * 3
    assert ["camera" in texts(panels[name]) for name in ("Front", "Side", "Top")] == [False, True, True]


def test_the_overlay_is_seen_by_the_reconstructions_own_camera(draw, fit):
    """Another focal length: the person is smaller over the same crop; the truth keeps its own."""
    camera = replace(fit.sample.camera, translation=fit.sample.camera.translation * [1, 1, 2])
    plain, own = (draw(f)[0] for f in (fit, replace(fit, row=replace(fit.row, camera=camera))))
    seen = [covered(panels["Reconstruction over the input"], PERSON).sum() for panels in (plain, own)]
    assert 0.15 < seen[1] / seen[0] < 0.4
    assert np.array_equal(plain["Truth over the input"].pixels, own["Truth over the input"].pixels)


@pytest.mark.parametrize("metres", [50.0, -60.0])
def test_an_object_far_away_or_behind_the_camera_is_seen_in_the_views(draw, fit, metres, monkeypatch):
    monkeypatch.setattr(fitting, "AREA", 300**2)
    far = moved(fit.row, metres * fit.camera.rotation[2])
    panels, _, _ = draw(replace(fit, row=replace(far, object_pose=replace(far.object_pose, scale=20.0))))
    for name in ("Side", "Top"):
        assert covered(panels[name], PERSON).any() and covered(panels[name], OBJECT).any()
        assert "20 m" in texts(panels[name])
    assert covered(panels["Reconstruction over the input"], OBJECT).any() == (metres > 0)


def test_a_failure_is_its_reason_over_the_input(draw, fit):
    failure = Failure(fit.row.image_id, "no map of correspondences, so nothing can be solved")
    panels, _, errors = draw(replace(fit, row=failure, truth=None))
    assert list(panels) == ["Input"] and errors == {}
    assert "no map of correspondences" in " ".join(texts(panels["Input"]).split())
    panels, (_, _, caption), errors = draw(replace(fit, row=failure))
    assert list(panels) == ["Input", "Truth over the input", "Front, truth", "Side, truth", "Top, truth"]
    assert "Meshes: the truth" in caption and errors == {}


def test_without_picture_inputs_or_camera(draw, fit):
    blind = replace(fit.sample, image=None, image_box=None)
    assert texts(draw(replace(fit, sample=blind))[0]["Input"]) == "no picture"
    assert "Reconstruction in the camera" in draw(replace(fit, sample=None))[0]
    panels, (_, _, caption), _ = draw(replace(fit, sample=None, truth=None))
    assert "No camera is known" in caption
    assert covered(panels["Reconstruction in the camera"], PERSON).any()


def test_the_same_fit_has_the_same_bytes(draw, fit, tmp_path):
    draw(fit)
    first = (tmp_path / "fit.png").read_bytes()
    draw(fit)
    assert (tmp_path / "fit.png").read_bytes() == first and Image.open(tmp_path / "fit.png").format == "PNG"


# errors


def test_the_truth_has_no_error(fit):
    right = replace(fit, row=submissions.as_reconstruction(fit.truth))
    errors = fit_errors(right)
    assert errors.pop("object_scale") == 1
    assert errors == pytest.approx(dict.fromkeys(errors, 0), abs=1e-9) and "joint_angle_deg" not in errors


def test_errors_are_the_distances_that_were_made(fit):
    pose = fit.truth.object_pose
    turn = Rotation.from_rotvec(np.radians(7) * np.array([0.6, 0.0, 0.8])).as_matrix()
    spoilt = ObjectPose(pose.rotation @ turn, pose.translation + np.array([0.03, 0, 0.04]), 1.5 * pose.scale)
    errors = fit_errors(replace(fit, row=Reconstruction(fit.truth.image_id, fit.truth.human, spoilt)))
    expected = {"object_translation_cm": 5, "object_rotation_deg": 7, "object_scale": 1.5, "human_cm": 0}
    assert errors == pytest.approx(expected, abs=1e-9)


def test_a_symmetric_turn_is_no_error_and_a_bent_part_is_one(body):
    truths = {a.object: a for a in load_annotations(find_data(DATA))}
    for name, changes in (("barbell", {}), ("bicycle", {"angle": (truths["bicycle"].object_pose.angle or 0) + 0.1})):
        template, pose = template_of(name), truths[name].object_pose
        symmetric = template.symmetry().candidates(np.eye(3))[-1]
        row = replace(
            submissions.as_reconstruction(truths[name]),
            object_pose=replace(pose, rotation=pose.rotation @ symmetric, **changes),
        )
        errors = fit_errors(Fit("", row, None, truths[name], template, body))
        assert errors["object_rotation_deg"] < 1e-5
        assert errors.get("joint_angle_deg") == (pytest.approx(np.degrees(0.1)) if changes else None)


# submissions and data


def test_a_row_of_a_submission_is_drawn(run, row, tmp_path):
    out = tmp_path / "new" / "fit.png"
    shown = show_fit(run, row.image_id, out, truth=True)
    assert shown.to_dict()["written"] == str(out) and shown.failure is None and shown.errors["human_cm"] > 0
    assert Image.open(out).size[0] > 600
    failed = next(f.image_id for f in showing.read_submission(run).rows if isinstance(f, Failure))
    assert show_fit(run, failed, out).failure == "the map\x1b is empty"


def test_the_data_are_those_asked_for_else_noted_else_named(run, row, tmp_path):
    submission = showing.read_submission(run)
    elsewhere = submissions.make_data(tmp_path / "elsewhere", [THING], name=DATA, body_model="open")
    noted = run / "run.json"
    assert showing._find_data(submission, None).path == find_data(DATA).path
    noted.write_text(json.dumps({"data": str(elsewhere.path)}))
    assert showing._find_data(submission, None).path == elsewhere.path
    assert showing._find_data(submission, DATA).path == find_data(DATA).path
    noted.write_text(json.dumps({"data": str(tmp_path / "moved away")}))
    assert showing._find_data(submission, None).path == find_data(DATA).path
    noted.write_text("[]")
    with pytest.raises(InputError, match=r"run\.json: got list"):
        show_fit(run, row.image_id, tmp_path / "fit.png")


def test_what_cannot_be_shown_is_said(run, row, tmp_path):
    out, image = tmp_path / "fit.png", row.image_id
    with pytest.raises(InputError, match=f"has no image 'nobody'; it has tennis-test-00000, {image}$"):
        show_fit(run, "nobody", out)
    with pytest.raises(InputError, match="nothing at"):
        show_fit(tmp_path / "nowhere", image, out)
    other = submissions.make_data(tmp_path / "other", [THING], body_model="open")
    with pytest.raises(InputError, match=r"for open-sample, the data at .* are made-up; .*--data"):
        show_fit(run, image, out, data=other.path)
    same = submissions.make_data(tmp_path / "same", [THING], name=DATA, body_model="open")
    with pytest.raises(InputError, match=f"{same.path}: has no image '{image}' in split 'test'"):
        show_fit(run, image, out, data=same.path)
    lost = submissions.make_submission(tmp_path / "lost", [row], replace(submissions.MANIFEST_ROW, dataset="gone"))
    with pytest.raises(MissingAssetError, match=r"lost: say with --data .*'gone'"):
        show_fit(lost, image, out)
    assert not out.exists()


def test_files_that_cannot_be_written_are_refused_first(run, row, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    for name, words in (
        ("fit.jpg", r"suffix '.jpg', want a file named \*\.png"),
        ("fit", r"suffix ''"),
        ("folder.png", "is a folder"),
        ("file/fit.png", "cannot be written"),
    ):
        with pytest.raises(InputError, match=words):
            show_fit(tmp_path / "nowhere", row.image_id, tmp_path / name)
    with pytest.raises(InputError, match=r"want a file named \*\.gif or \*\.mp4"):
        film_fit(run, row.image_id, tmp_path / "film.png")


# films


class Sliding:
    """A method that brings the object to its place in so many steps, and tells of it."""

    def __init__(self, steps=200, ends=0.0, tells=True, fails=False):
        self.steps, self.ends, self.tells, self.fails = steps, ends, tells, fails
        self.given, self.asked = None, 0

    def load(self, name, settings):
        self.settings = (name, settings)
        return self

    def reconstruct(self, samples, setup):
        (sample,), self.given = samples, setup

        def at(share):
            self.asked += 1
            return [moved(estimate(sample.image_id), np.array([2 * (1 - share) + self.ends, 0, 0]))]

        for step in range(1, self.steps + 1) if self.tells else ():
            losses = {"total": 1 / step, "late": 0.1} if step > 100 else {"total": 1 / step, "broken": np.nan}
            setup.watch(Moment(step, self.steps, losses, lambda step=step: at(step / self.steps)))
        return [Failure(sample.image_id, "diverged")] if self.fails else at(1.0)


@pytest.fixture
def film(run, row, tmp_path, monkeypatch):
    """Film a method; gives what was shown and the file."""
    monkeypatch.setattr(showing, "FRAMES", 3)

    def film(method, suffix=".gif", image_id=row.image_id, **options):
        monkeypatch.setattr(showing, "load_method", method.load)
        out = tmp_path / f"film{suffix}"
        return film_fit(run, image_id, out, **options), out

    return film


def test_a_film_shows_the_optimisation(film):
    method, told = Sliding(), []
    shown, out = film(method, progress=lambda done, total: told.append((done, total)))
    assert (shown.frames, shown.steps, shown.elsewhere) == (3, 200, False) and shown.apart < 1e-6
    assert method.settings == ("made up", {"lr": 0.5})
    assert (method.given.seed, method.given.body_model, method.given.renderer) == (7, "open", "torch")
    assert method.asked <= 5, "only moments that are shown are asked for"
    assert told[0] == (1, 200) and told[-1] == (200, 200)
    with Image.open(out) as picture:
        assert picture.n_frames == 3 and picture.info["loop"] == 0
        first = np.asarray(picture.convert("RGB"))
        picture.seek(2)
        last = np.asarray(picture.convert("RGB"))
    assert tuple(first[0, 0]) == tuple(last[0, 0]) == (255, 255, 255)
    assert (first != last).any(axis=2).mean() > 0.01


def test_the_same_film_has_the_same_bytes(film):
    for suffix in (".gif", ".mp4"):
        first = film(Sliding(), suffix)[1].read_bytes()
        assert film(Sliding(), suffix)[1].read_bytes() == first


def test_a_film_as_mp4(film):
    _, out = film(Sliding(), ".mp4")
    video = cv2.VideoCapture(str(out))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 3 + 20
    found, frame = video.read()
    assert found and frame.mean() > 150


def test_an_ending_elsewhere_is_told(film):
    shown, _ = film(Sliding(ends=0.2))
    assert shown.elsewhere and shown.apart == pytest.approx(0.2)
    assert not film(Sliding(ends=0.04))[0].elsewhere


def test_films_that_cannot_be_made(film, run):
    with pytest.raises(InputError, match="made up tells nothing while it works"):
        film(Sliding(tells=False))
    with pytest.raises(RunError, match="has no reconstruction when it is run again: diverged"):
        film(Sliding(fails=True))
    assert sorted(path.name for path in run.parent.iterdir()) == ["run"]


def test_a_method_that_stops_early_or_says_little_is_filmed(fit):
    film = filming.Film(fit, 10)
    for step in (1, 2, 3):
        film.take(Moment(step, 1000, {}, list))
    film.end(submissions.reconstruction("a"))
    assert [step for step, _ in film.frames] == [3] and film.steps == 3
    many = filming.Film(fit, 10)
    for step in range(500):
        many.take(Moment(step, 0, {}, lambda: [submissions.reconstruction("a")]))
    many.end(submissions.reconstruction("b"))
    steps = [step for step, _ in many.frames]
    assert (len(steps), steps[0], steps[-1], many.frames[-1][1].image_id) == (10, 0, 499, "b")


# the command


def call(*words):
    app = typer.Typer()
    app.command()(show)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_command(run, row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = call(run, row.image_id, "--truth", "--json")
    assert outcome.exit_code == 0, outcome.output
    found = json.loads(outcome.stdout)
    assert found["written"] == f"{row.image_id}.png" and found["errors"]["object_scale"] > 0
    assert (tmp_path / found["written"]).exists()
    failed = next(f.image_id for f in showing.read_submission(run).rows if isinstance(f, Failure))
    assert "a failure, the map  is empty" in call(run, failed, "-o", "failed.png").output
    assert isinstance(call(run, "nobody").exception, InputError)
    assert isinstance(call(run, row.image_id, "--video", "film.avi").exception, InputError)


def test_the_command_films(run, row, film, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(showing, "load_method", Sliding(ends=1.0).load)
    words = (run, row.image_id, "--video", "film.gif")
    outcome = call(*words)
    assert outcome.exit_code == 0, outcome.output
    assert "3 frames of 200 steps" in outcome.output and "100.0 cm away" in outcome.output
    assert json.loads(call(*words, "--json").stdout)["film"]["elsewhere"]
