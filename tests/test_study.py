"""Making a study: what is drawn, that nothing tells which method is where, and what is refused."""

import json
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from command import run
from study_made import NAMES, make, named, plain, two

import submissions
from evaluation.study import sheets
from evaluation.study.drawing import REPEATED, Candidate, draw_trials, other
from evaluation.study.key import read_key
from evaluation.study.sheets import OVER, VIEW, Pair, _pictures, picture_names, ring
from wildhoi.dataset import find_data, load_annotations
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.geometry import geodesic_angle
from wildhoi.schema import Failure
from wildhoi.submission.folder import read_submission, write_submission


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return two(tmp_path_factory.mktemp("pair"))


def everything(folder):
    """All files of a folder by name, with their bytes."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# Drawing


def candidates(per_object, per_video=1):
    return [
        Candidate(f"{name} {n:03d}", name, f"{name} {n // per_video}")
        for name, count in per_object.items()
        for n in range(count)
    ]


MANY = candidates({"one": 40, "two": 40, "three": 5, "four": 31})


def test_images_are_spread_evenly_over_objects():
    drawn = draw_trials(MANY, 42, "A", 0)
    counts = Counter(trial.object for trial in drawn.trials if trial.repeats is None)
    assert counts["three"] == 5 and sum(counts.values()) == 42
    assert max(counts[n] for n in ("one", "two", "four")) - min(counts[n] for n in ("one", "two", "four")) <= 1


def test_and_over_videos():
    drawn = draw_trials(candidates({"one": 40}, per_video=4), 10, "A", 0)
    assert len({trial.video_id for trial in drawn.trials}) == 10


@pytest.mark.parametrize("count", [1, 4, 5, 14, 15, 96, None])
def test_a_tenth_is_shown_again_with_its_sides_exchanged_and_later(count):
    drawn = draw_trials(MANY, count, "A", 0)
    once = {trial.name: trial for trial in drawn.trials if trial.repeats is None}
    again = [trial for trial in drawn.trials if trial.repeats is not None]
    assert len(once) == (count or len(MANY)) == len({trial.image_id for trial in once.values()})
    assert len(again) == (0 if len(once) < 5 else max(1, round(REPEATED * len(once))))
    assert [int(trial.name) for trial in drawn.trials] == list(range(1, len(drawn.trials) + 1))
    for trial in again:
        first = once[trial.repeats]
        assert (first.image_id, first.left) == (trial.image_id, other(trial.left))
        assert trial in drawn.second and first in drawn.first
    assert abs(len(drawn.first) - len(drawn.second)) <= 1


def test_sides_are_even_in_every_study_and_object():
    for seed in range(20):
        trials = [trial for trial in draw_trials(MANY, None, "A", seed).trials if trial.repeats is None]
        for name in ("one", "two", "three", "four"):
            lefts = Counter(trial.left for trial in trials if trial.object == name)
            assert abs(lefts["A"] - lefts["B"]) <= 1
        assert abs(sum(1 if trial.left == "A" else -1 for trial in trials)) <= 1


def test_sides_tell_nothing_over_many_studies():
    """Neither an image nor a number on the page goes with a side: 4 standard errors of 400 coins are 40."""
    of_image, of_number = Counter(), Counter()
    for seed in range(400):
        for trial in draw_trials(MANY, 30, "A", seed).trials:
            of_number[trial.name] += 1 if trial.left == "A" else -1
        for trial in draw_trials(MANY[:12], None, "A", seed).trials:
            of_image[trial.image_id] += (1 if trial.left == "A" else -1) if trial.repeats is None else 0
    assert len(of_image) == 12 and all(abs(total) < 80 for total in (*of_image.values(), *of_number.values()))


def test_the_seed_alone_draws():
    one, two_, again = (draw_trials(images, 30, "A", seed) for images, seed in ((MANY, 1), (MANY, 2), (MANY[::-1], 1)))
    assert one == again != two_


def test_the_order_of_a_page_is_no_order_of_objects():
    drawn = draw_trials(MANY, None, "A", 0)
    assert [t.image_id for t in drawn.trials] != sorted(t.image_id for t in drawn.trials)


@pytest.mark.parametrize("count", [0, 117])
def test_more_images_than_there_are_are_refused(count):
    with pytest.raises(InputError, match=f"--images {count}: both methods reconstructed 116"):
        draw_trials(MANY, count, "A", 0)
    with pytest.raises(InputError, match="reconstructed 0 of the images"):
        draw_trials([], None, "A", 0)


# Blindness


def parts(text):
    """What a name could be known by: itself, and its words of four letters or more."""
    words = "".join(c if c.isalnum() else " " for c in text).split()
    return {text.casefold(), *(word.casefold() for word in words if len(word) > 3)}


def test_nothing_on_the_page_tells_the_methods(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(sheets, "OVER", 96)
    monkeypatch.setattr(sheets, "VIEW", 64)
    make(tmp_path, pair, "study", drawn=True, images=5)
    key = read_key(tmp_path / "study")
    secrets = {part for name in NAMES for part in parts(name)}
    secrets |= {c.sha256 for c in key.methods.values()} | {t.image_id for t in key.trials}
    files = everything(tmp_path / "study" / "page")
    assert len(files) == 3 + 5 * len(key.trials)
    for name, content in files.items():
        for form in (content.lower(), content[::2].lower(), content[1::2].lower()):
            assert not [secret for secret in secrets if secret.encode() in form or secret in name.casefold()], name
    assert {p.stat().st_mtime for p in (tmp_path / "study" / "page").rglob("*")} == {946684800.0}


def test_pictures_hold_no_metadata(pair, tmp_path):
    from PIL import Image

    make(tmp_path, pair, "study", images=2)
    for path in (tmp_path / "study" / "page" / "pictures").iterdir():
        with Image.open(path) as picture:
            assert picture.format == "WEBP" and not picture.getexif()
            assert not {"exif", "xmp", "icc_profile", "comment"} & set(picture.info)


def test_the_page_is_the_same_whichever_is_called_a_and_whatever_they_are_called(pair, tmp_path):
    others = [named(tmp_path / name, size, name) for name, size in (("x", "large"), ("y", "small"))]
    made = [make(tmp_path, subs, f"study {n}", seed=5) for n, subs in enumerate((pair, pair[::-1], others))]
    pages = [everything(tmp_path / f"study {n}" / "page") for n in range(3)]
    assert pages[0] == pages[1] == pages[2] and len({each.study for each in made}) == 1
    keys = [read_key(tmp_path / f"study {n}") for n in range(3)]
    assert keys[0].methods["A"] == keys[1].methods["B"] and keys[2].methods["A"].name == "x"
    assert keys[0].trials == keys[2].trials
    assert keys[0].trials == tuple(replace(trial, left=other(trial.left)) for trial in keys[1].trials)


def test_the_same_seed_is_the_same_bytes_and_another_is_another_study(pair, tmp_path):
    for out, seed in (("one", 1), ("two", 1), ("three", 2)):
        make(tmp_path, pair, out, seed=seed, images=12)
    one, two_, three = (everything(tmp_path / out) for out in ("one", "two", "three"))
    assert one == two_ and one["page/index.html"] != three["page/index.html"]
    assert read_key(tmp_path / "one").study != read_key(tmp_path / "three").study


def test_drawn_pictures_are_the_same_bytes(pair, tmp_path):
    for out in ("one", "two"):
        make(tmp_path, pair, out, drawn=True, images=1, objects=("tennis",))
    assert everything(tmp_path / "one") == everything(tmp_path / "two")


def test_a_repeat_shows_the_same_pictures_on_the_other_sides(pair, tmp_path):
    make(tmp_path, pair, "study")
    pictures = everything(tmp_path / "study" / "page" / "pictures")
    again = [trial for trial in read_key(tmp_path / "study").trials if trial.repeats]
    assert len(again) == 2
    for trial in again:
        for what in ("over", "around"):
            assert pictures[f"{trial.name}-left-{what}.webp"] == pictures[f"{trial.repeats}-right-{what}.webp"]
            assert pictures[f"{trial.name}-right-{what}.webp"] == pictures[f"{trial.repeats}-left-{what}.webp"]


def test_the_key_tells_where_each_picture_came_from(pair, tmp_path):
    make(tmp_path, pair, "study", images=8)
    key, data = read_key(tmp_path / "study"), find_data("open-sample")
    truth = {annotation.image_id: annotation for annotation in load_annotations(data)}
    rows = {name: {r.image_id: r for r in read_submission(path).rows} for name, path in zip("AB", pair, strict=True)}
    pictures = everything(tmp_path / "study" / "page" / "pictures")
    for trial in key.trials:
        ordered = tuple(rows[name][trial.image_id] for name in "AB")
        colours = plain(Pair(truth[trial.image_id], ordered, data.path, "test", "open", False))
        for side, number in (("left", "AB".index(trial.left)), ("right", 1 - "AB".index(trial.left))):
            wanted = sheets._encoded(colours[picture_names().index(f"{number}-over")])
            assert pictures[f"{trial.name}-{side}-over.webp"] == wanted
    assert [key.methods[name].sha256 for name in "AB"] == [read_submission(path).sha256 for path in pair]
    assert key.dataset["revision"] == data.revision_of("test") and key.body["kind"] == "open"


# Sheets


@pytest.fixture(scope="module")
def shown():
    """An image with its truth as two reconstructions, of which the second may be changed."""
    data = find_data("open-sample")
    truth = next(a for a in load_annotations(data) if a.object == "tennis")
    row = replace(submissions.as_reconstruction(truth), camera=truth.camera)

    def pictures(shift=(0.0, 0.0, 0.0)):
        moved = replace(row.object_pose, translation=row.object_pose.translation + np.array(shift))
        rows = (row, replace(row, object_pose=moved))
        return dict(zip(picture_names(), _pictures(Pair(truth, rows, data.path, "test", "open", False)), strict=True))

    return truth, pictures


def person(pixels):
    return pixels[..., 2].astype(int) - pixels[..., 0] > 40


def thing(pixels):
    return pixels[..., 0].astype(int) - pixels[..., 2] > 40


def test_equal_reconstructions_have_equal_sheets(shown):
    _, draw = shown
    found = draw()
    assert found["input"].shape == (OVER, OVER, 3) and found["0-around"].shape == (VIEW, 6 * VIEW, 3)
    for what in ("over", "around"):
        assert np.array_equal(found[f"0-{what}"], found[f"1-{what}"])
        assert person(found[f"0-{what}"]).any() and thing(found[f"0-{what}"]).any()


def test_both_sides_have_one_scale_and_one_camera(shown):
    """With the second object elsewhere, the people of both sheets cover the same pixels, but for what it hides."""
    truth, draw = shown
    found = draw(1.5 * truth.camera.rotation[2])
    one, two_ = found["0-around"], found["1-around"]
    apart = person(one) != person(two_)
    assert apart.sum() < 0.1 * person(one).sum() and not np.array_equal(thing(one), thing(two_))
    hidden = thing(one) | thing(two_)
    assert (apart & ~hidden).sum() < 0.02 * person(one).sum()


def test_views_go_around_the_vertical_of_the_picture(shown):
    truth, _ = shown
    found = ring(truth.camera)
    assert np.allclose(found[0], truth.camera.rotation)
    for one, two_ in zip(found, [*found[1:], found[0]], strict=True):
        assert np.degrees(geodesic_angle(one, two_)) == pytest.approx(60)
        assert np.allclose(one[1], truth.camera.rotation[1])


def test_an_arrow_points_to_what_is_far_away(shown):
    """Fifty metres to the right of the picture: at the right edge from the front, at the left one from behind."""
    truth, draw = shown
    around = draw(50 * truth.camera.rotation[0])["1-around"]
    views = np.split(around, 6, axis=1)
    for view, side in ((views[0], slice(VIEW - 30, VIEW)), (views[3], slice(0, 30))):
        columns = np.flatnonzero(thing(view).any(axis=0))
        assert len(columns) and set(columns) <= {*range(VIEW)[side]}
    assert all(person(view).sum() > 200 for view in views)


def test_a_sheet_is_small(shown):
    _, draw = shown
    found = draw((0.1, 0.1, 0.1))
    assert sum(len(sheets._encoded(found[f"1-{what}"])) for what in ("over", "around")) < 60_000


# What is refused, and what goes on


def test_what_does_not_belong_together_is_told_at_once(pair, tmp_path):
    odd = named(tmp_path / "odd", "small", "odd", split="train", revision="other", body_model="smplx")
    with pytest.raises(InputError) as error:
        make(tmp_path, [pair[0], odd], "study")
    text = str(error.value)
    assert all(name in text for name in ("split: test in", "train in", "body_model: open in", "revision:", "other in"))
    assert "dataset:" not in text and not (tmp_path / "study").exists()
    both = [named(tmp_path / name, size, name, revision="old") for name, size in (("x", "small"), ("y", "large"))]
    with pytest.raises(InputError, match=r"revision: old in .*, [0-9a-f]{16} of the data at"):
        make(tmp_path, both, "study")


def test_any_revision_fits(pair, tmp_path):
    loose = named(tmp_path / "loose", "large", "loose", revision="any")
    assert make(tmp_path, [loose, pair[1]], "study", images=2).images == 2


def test_a_submission_is_not_compared_with_itself(pair, tmp_path):
    with pytest.raises(InputError, match="have the same predictions"):
        make(tmp_path, [pair[0], named(tmp_path / "copy", "large", "copy")], "study")


def test_images_that_one_lacks_are_left_out_and_counted(pair, tmp_path):
    found = read_submission(pair[1])
    rows = [Failure(r.image_id, "x") if n < 3 else r for n, r in enumerate(found.rows)]
    write_submission(tmp_path / "fewer", found.manifest, rows[:-2])
    made = make(tmp_path, [pair[0], tmp_path / "fewer"], "study")
    ids = {trial.image_id for trial in read_key(tmp_path / "study").trials}
    have = [
        {r.image_id for r in read_submission(p).rows if not isinstance(r, Failure)}
        for p in (pair[0], tmp_path / "fewer")
    ]
    assert ids == have[0] & have[1] and made.images == len(ids)
    assert made.left_out["A"] == len(have[0] - have[1]) and made.left_out["B"] == len(have[1] - have[0])


def test_data_without_pictures_are_told(pair, tmp_path):
    from evaluation.study import StudyOptions, make_study

    shutil.copytree(find_data("open-sample").path, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "samples")
    with pytest.raises(MissingAssetError, match="has no pictures of split test"):
        make_study(*pair, tmp_path / "study", StudyOptions(), data=tmp_path / "data")


def test_methods_of_one_name_are_told_apart(tmp_path):
    same = [named(tmp_path / size, size, "same") for size in ("large", "small")]
    assert make(tmp_path, same, "study", images=1).methods == {"A": "same (large)", "B": "same (small)"}


def test_a_folder_that_holds_something_is_left_alone(pair, tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine").write_text("x")
    with pytest.raises(InputError, match="exists and is not empty"):
        make(tmp_path, pair, "study")
    assert [p.name for p in (tmp_path / "study").iterdir()] == ["mine"]
    make(tmp_path, pair, "made", images=2)
    with pytest.raises(InputError, match="exists and is not empty"):
        make(tmp_path, pair, "made", images=2)


def test_a_study_that_was_stopped_goes_on(pair, tmp_path, monkeypatch):
    from evaluation.study import StudyOptions, make_study

    drawn = []

    def stopping(pair):
        drawn.append(pair.truth.image_id)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return plain(pair)

    monkeypatch.setattr(sheets, "_pictures", stopping)
    options = StudyOptions(images=6)
    with pytest.raises(KeyboardInterrupt):
        make_study(*pair, tmp_path / "study", options)
    assert not (tmp_path / "study" / "key.json").exists()
    make_study(*pair, tmp_path / "study", options)
    assert len(drawn) == 7 and len(set(drawn)) == 6
    make_study(*pair, tmp_path / "whole", options)
    assert everything(tmp_path / "study") == everything(tmp_path / "whole")


# Commands


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sheets, "_pictures", plain)
    return lambda *words: run(monkeypatch, capfd, "study", *words)


def answers(folder, rater):
    key = read_key(folder)
    rows = [
        {"trial": t.name, "choice": "left" if t.left == ("A" if n % 6 else "B") else "right", "seconds": 2}
        for n, t in enumerate(key.trials)
    ]
    path = folder.parent / f"answers-{rater}.json"
    path.write_text(json.dumps({"format": 1, "study": key.study, "rater": rater, "answers": rows}))
    return path


def test_the_commands(command, pair, tmp_path):
    made = command("make", *pair, "-o", "study", "--images", "12", "--seed", "3", "--json")
    assert made.code == 0 and json.loads(made.out)["images"] == 12 and json.loads(made.out)["repeats"] == 1
    files = [answers(tmp_path / "study", name) for name in ("ada", "bo", "cy", "di", "eve")]
    scored = command("score", "study", *files)
    assert scored.code == 0 and f"{NAMES[0]} preferred: " in scored.out and "Krippendorff" in scored.out
    assert json.loads(command("score", "study", *files, "--json").out)["overall"]["verdict"] == "A preferred"
    assert command("score", "study", tmp_path).out == scored.out
    marked = command("score", "study", *files, "--markdown")
    assert marked.code == 0 and marked.out.startswith("# A Quixotron Vermilion against B")
    both = command("score", "study", *files, "--markdown", "--json")
    assert both.code == 2 and "leave one out" in both.first


def test_make_says_where_things_are(command, pair):
    made = command("make", *pair, "-o", "study", "--objects", "cello,tennis", "--ties")
    assert made.code == 0 and "of 2 objects" in made.err and "study/page: give this folder to the raters" in made.err
    assert read_key(type(pair[0])("study")).ties


def test_mistakes_are_one_line(command, pair, tmp_path):
    for words, code, text in (
        (("make", *pair, "-o", "study", "--objects", "sofa"), 2, "sofa"),
        (("make", *pair, "-o", "study", "--images", "1000"), 2, "--images 1000"),
        (("make", pair[0], "nowhere", "-o", "study"), 2, "nowhere"),
        (("make", *pair, "-o", "study", "--data", "gone"), 3, "gone"),
        (("score", "nowhere", "a.json"), 2, "nowhere"),
    ):
        outcome = command(*words)
        assert outcome.code == code and text in outcome.first and "Traceback" not in outcome.err
    assert not (tmp_path / "study").exists()
    command("make", *pair, "-o", "study", "--images", "2")
    path = answers(tmp_path / "study", "ada")
    path.write_text(path.read_text().replace('"ada"', '"\\u001b[31m"').replace('"001"', '"901"'))
    outcome = command("score", "study", path, "gone.json")
    assert outcome.code == 2 and "odd-name" in outcome.err and "unknown-trial" in outcome.err
    assert "unreadable" in outcome.err and "\x1b" not in outcome.err
