"""WildHOI releases that are damaged or hostile: what is kept, what is counted, what is refused."""

import json
import os
import pickle
import re
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from raw_reader import Raw, read_pickle, read_rows
from wildhoi_rows import copy_release, load_report, planted, said, same_floats, wanted_train

from submissions import unchecked
from wildhoi.convert.pipeline import run_conversion
from wildhoi.convert.wildhoi_release import plan_wildhoi
from wildhoi.engine import Local
from wildhoi.errors import InputError, UnsafeError


@pytest.fixture(scope="module")
def raw(release_dir):
    return Raw(release_dir)


@pytest.fixture(scope="module")
def samples(raw, tmp_path_factory):
    """The rows of the release as it is."""
    out = tmp_path_factory.mktemp("converted") / "fps30"
    with unchecked():  # beartype takes several times as long as the conversion
        run_conversion(plan_wildhoi(raw.root, fps=30), out)
    return read_rows(out, "samples")


# --- a release that is damaged further ------------------------------------------------------------------------------


class Places:
    """Where the release of one object is damaged: images of it that lack nothing that is to be damaged.

    Attributes:
        pair: the training video with two instances; `one` and `two` are their images.
        other: the other training video; `others` are the images of its first instance.
        test: the annotated video; `annotated` are its images with both maps.
    """

    def __init__(self, raw, name):
        gaps = wanted_train(raw, name, 30)
        lacks = planted(raw, name, [image_id for image_id, gap in gaps.items() if gap is None])
        fitted = {}
        for image_id, gap in gaps.items():
            if gap is None and set(lacks.get(image_id, ())) <= {"hoi_kps"}:
                fitted.setdefault(image_id[:8], []).append(image_id)
        videos = [instance[:4] for instance in fitted]
        self.name, self.test = name, raw.videos(name, "test")[0]
        self.pair = next(video for video in videos if videos.count(video) == 2)
        self.other = next(video for video in videos if video != self.pair)
        self.one, self.two = (ids for instance, ids in fitted.items() if instance[:4] == self.pair)
        self.one = [image_id for image_id in self.one if image_id not in lacks]
        self.others = next(ids for instance, ids in fitted.items() if instance[:4] == self.other)
        self.annotated = [i for i in raw.annotations(name) if raw.correspondences(name, i) and raw.occlusion(name, i)]

    def stray(self, n):
        """The n-th image after those of the first instance of two."""
        return f"{self.one[-1][:8]}_{int(self.one[-1][9:]) + n:06}"


@pytest.fixture(scope="module")
def places(raw):
    return [Places(raw, name) for name in raw.objects()]


def rewrite(path, edit):
    content = read_pickle(path)
    path.write_bytes(pickle.dumps(edit(content) or content))


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit_track(release, name, kind, image_id, edit):
    """Change the records of a track; `edit` is given them and the frame."""
    rewrite(release.path(name, kind, image_id), lambda records: edit(records, image_id[9:]))


def drop_record(records, frame):
    return [record for record in records if record["frame_id"] != frame]


def repeat_last(records, frame):
    return [*records, {**records[-1], "frame_id": frame}]


def set_record(**values):
    return lambda records, frame: [{**r, **values} if r["frame_id"] == frame else r for r in records]


def shift_keypoints(records):
    return [{**record, "keypoints": record["keypoints"] + 3} for record in records]


POSES, BODIES, PROJECTED = "object_pose", "smplx_tuned", "hoi_kps"
REFINED, UNREFINED = "wholebody_kps_refined", "wholebody_kps"


def damage_files(release, at, hostile):
    """Files that are gone, cut short or of something else, and records that cannot be."""
    name = at.name
    cut_short(release.mask_path(name, at.two[0]))
    release.mask_path(name, at.two[1]).unlink()
    release.mask_path(name, at.two[2]).write_bytes(pickle.dumps({"human": 3, "object": {"mask": "text"}}))
    edit_track(release, name, BODIES, at.one[3], drop_record)
    edit_track(release, name, BODIES, at.one[5], set_record(cam_R=np.zeros((2, 2))))
    edit_track(release, name, BODIES, at.one[6], set_record(body_pose="text"))
    edit_track(release, name, BODIES, at.stray(1), repeat_last)
    edit_track(release, name, POSES, at.one[7], set_record(rotmat=np.full((3, 3), 9.0)))
    edit_track(release, name, POSES, at.stray(10), repeat_last)
    refined, unrefined = (release.path(name, kind, at.one[0]) for kind in (REFINED, UNREFINED))
    if not unrefined.exists():
        unrefined.parent.mkdir(parents=True)
        shutil.copy(refined, unrefined)
        rewrite(unrefined, shift_keypoints)
    refined.unlink()
    cut_short(release.correspondences_path(name, at.annotated[1]))
    shutil.copy(hostile / "truncated.jpg", release.picture_path(name, at.annotated[0]))
    release.picture_path(name, at.annotated[1]).unlink()
    cut_short(release.path(name, POSES, at.others[0]))
    shutil.copy(hostile / "truncated.jpg", release.picture_path(name, at.others[1]))
    shutil.copy(hostile / "text.jpg", release.picture_path(name, at.others[2]))
    release.picture_path(name, at.others[3]).write_bytes(b"")
    rewrite(release.tracking_path(name, at.other), lambda t: t["hoi_instances"].append(t["hoi_instances"][0]))


BOXES = [np.full(4, np.nan), np.array([0.0, 0.0, np.inf, 5.0]), "text", np.zeros(3), None]  # of images of `one`


def damage_tracking(release, at, hostile):
    """Videos, instances and boxes that the tracking lacks, and a track that is gone."""
    name = at.name
    release.tracking_path(name, at.other).unlink()
    release.tracking_path(name, at.test).unlink()
    release.path(name, PROJECTED, at.one[0]).unlink()

    def edit(tracking):
        instance = next(item for item in tracking["hoi_instances"] if item["hoi_id"] == at.one[0][5:8])
        for image_id, box in zip(at.one, BOXES, strict=False):
            next(e for e in instance["sequences"] if e["frame_id"] == image_id[9:])["person_bbox"] = box
        return {"hoi_instances": [instance]}

    rewrite(release.tracking_path(name, at.pair), edit)


NAN, FAR = np.full((3, 3), np.nan), np.array([0.0, 0.0, 1e300])
SPOILED = [  # kind of file, changes of a record: one for each image of `one`
    (POSES, {"rotmat": NAN}),
    (POSES, {"trans": np.array([0.0, np.inf, 0.0])}),
    (BODIES, {"body_pose": np.full((21, 3), np.nan)}),
    (BODIES, {"focal": None}),
    (REFINED, {"keypoints": np.zeros((17, 3))}),
    (BODIES, {"cam_T": FAR}),
    (BODIES, {"cam_R": np.zeros((3, 3))}),
    (BODIES, {"jaw_pose": np.full((1, 3), np.nan)}),
    (REFINED, {"keypoints": np.full((133, 3), np.nan)}),
    (POSES, {"rot_angle": np.float32(np.nan)}),
]
SUCCESS = [(0, False), (np.array([0.0]), False), (np.float64(1), True)]  # of the last images of `two`: written, meant
SHIFTS = [2**40, 1000, -1000]  # of the first images of `two`: by how much the mask's box is moved


def move_mask(shift):
    def edit(masks):
        human = masks["human"]
        return {**masks, "human": {**human, "mask_box": np.array(human["mask_box"]) + shift}}

    return edit


def damage_numbers(release, at, hostile):
    """Numbers that cannot be, or cannot belong together."""
    name = at.name
    for image_id, (kind, values) in zip(at.one, SPOILED, strict=True):
        if "rot_angle" not in values or "rot_angle" in release.track(name, kind, image_id):
            edit_track(release, name, kind, image_id, set_record(**values))
    for image_id, (success, _) in zip(at.two[-3:], SUCCESS, strict=True):
        edit_track(release, name, POSES, image_id, set_record(success=success))
    for image_id, shift in zip(at.two, SHIFTS, strict=False):
        rewrite(release.mask_path(name, image_id), move_mask(shift))
    rewrite(release.path(name, PROJECTED, at.others[0]), lambda t: {**t, "object_kps_seq": t["object_kps_seq"][:5]})

    def repeat_first(tracking):
        entries = tracking["hoi_instances"][0]["sequences"]
        entries.insert(1, dict(entries[0]))

    rewrite(release.tracking_path(name, at.other), repeat_first)


@pytest.fixture(scope="module")
def damaged(raw, places, fixtures_dir, tmp_path_factory):
    """The release with every object damaged, converted: what was done -> rows, report and the damaged release."""
    base = tmp_path_factory.mktemp("damaged")
    done = SimpleNamespace()
    for damage in (damage_files, damage_tracking, damage_numbers):
        what = damage.__name__.removeprefix("damage_")
        release = copy_release(raw, base / f"raw_{what}")
        for at in places:
            damage(release, at, fixtures_dir / "hostile")
        with unchecked():
            run_conversion(plan_wildhoi(release.root, fps=30), base / what)
        rows, report = read_rows(base / what, "samples"), load_report(base / what)
        setattr(done, what, SimpleNamespace(rows=rows, report=report, raw=Raw(release.root)))
    return done


def differing(before, after):
    return {k for k in before if not np.array_equal(repr(before[k]), repr(after[k]))}


@pytest.mark.parametrize("damage", range(3))
def test_a_row_without_readable_masks_is_kept_and_counted(samples, places, damaged, damage):
    columns = {"person_mask", "person_mask_box", "object_mask", "object_mask_box"}
    for at in places:
        image_id = at.two[damage]
        row = damaged.files.rows[image_id]
        assert differing(samples[image_id], row) == columns
        assert all(row[column] is None for column in columns)
        assert "mask" in " ".join(said(damaged.files.report, "incomplete", at.name)[image_id])


@pytest.mark.parametrize("damage", [3, 5, 6])
def test_a_row_without_a_usable_body_is_kept_and_its_neighbours_keep_theirs(samples, places, damaged, damage):
    for at in places:
        row = damaged.files.rows[at.one[damage]]
        assert all(row[column] is None for column in ("betas", "camera_rotation", "object_rotation"))
        assert row["image"] is not None and row["body_keypoints"] is not None
        assert "smplx_tuned" in " ".join(said(damaged.files.report, "incomplete", at.name)[at.one[damage]])
        for other in (at.one[2], at.one[4], at.one[9]):
            assert differing(samples[other], damaged.files.rows[other]) <= {"wholebody_keypoints"}


def test_a_pose_that_is_no_rotation_is_not_passed_on(places, damaged):
    for at in places:
        row = damaged.files.rows[at.one[7]]
        assert row["object_rotation"] is None and row["betas"] is not None
        assert "object_pose" in " ".join(said(damaged.files.report, "incomplete", at.name)[at.one[7]])


def test_without_refined_keypoints_the_unrefined_stand_in_and_that_is_said_for_each(samples, places, damaged):
    for at in places:
        noted = said(damaged.files.report, "incomplete", at.name)
        for image_id in (i for i in samples if i.startswith(at.one[0][:8])):
            unrefined = damaged.files.raw.track(at.name, "wholebody_kps", image_id)["keypoints"]
            assert same_floats(damaged.files.rows[image_id]["wholebody_keypoints"], unrefined)
            assert "wholebody_kps_refined" in " ".join(noted.get(image_id, []))
        assert differing(samples[at.one[9]], damaged.files.rows[at.one[9]]) == {"wholebody_keypoints"}


def test_frames_that_only_a_track_has_make_no_rows_and_are_counted(samples, places, damaged):
    for at in places:
        of_pair = ({i for i in rows if i.startswith(at.pair)} for rows in (damaged.files.rows, samples))
        assert len({*map(frozenset, of_pair)}) == 1
        text = json.dumps(damaged.files.report["objects"][at.name])
        assert at.stray(1) in text and at.stray(10) in text


def test_an_annotated_image_that_cannot_be_decoded_keeps_its_row(places, damaged):
    for at in places:
        noted = said(damaged.files.report, "incomplete", at.name)
        for image_id in at.annotated[:2]:
            row = damaged.files.rows[image_id]
            assert row["image"] is None and row["betas"] is not None
            assert "images_temp" in " ".join(noted[image_id])
        assert damaged.files.rows[at.annotated[1]]["object_correspondences"] is None
        assert "object_annotations" in " ".join(noted[at.annotated[1]])


def test_a_video_without_tracking_is_named(places, damaged):
    for at in places:
        assert not [i for i in damaged.tracking.rows if i.startswith(at.other)]
        assert [i for i in damaged.tracking.rows if i.startswith(at.pair)]
        text = json.dumps(damaged.tracking.report["objects"][at.name])
        assert at.other in text and "hoi_tracking" in text


def test_annotated_images_without_tracking_are_each_accounted_for(raw, damaged):
    for name in raw.objects():
        noted = said(damaged.tracking.report, "dropped", name) | said(damaged.tracking.report, "incomplete", name)
        for image_id in raw.annotations(name):
            assert image_id in noted
            assert image_id in damaged.tracking.rows, "kept whatever they lack: their truth is scored"


def test_an_instance_that_tracks_have_and_the_tracking_lacks_is_named(places, damaged):
    for at in places:
        assert not [i for i in damaged.tracking.rows if i.startswith(at.two[0][:8])]
        assert at.two[0][:8] in json.dumps(damaged.tracking.report)


def test_a_truncated_pose_file_takes_the_poses_alone(samples, places, damaged):
    for at in places:
        noted = said(damaged.files.report, "incomplete", at.name)
        angle = {"object_angle"} - {k for k, v in samples[at.others[0]].items() if v is None}
        for image_id in (i for i in at.others if i in damaged.files.rows):
            assert differing(samples[image_id], damaged.files.rows[image_id]) == {
                *("object_rotation", "object_translation", "object_scale", "object_pose_success"),
                *angle,
            }
            assert "object_pose" in " ".join(noted[image_id])


@pytest.mark.parametrize("damage", [1, 2, 3])
def test_a_training_image_that_cannot_be_decoded_is_dropped_and_counted(places, damaged, damage):
    for at in places:
        assert at.others[damage] not in damaged.files.rows
        assert "images_temp" in " ".join(said(damaged.files.report, "dropped", at.name)[at.others[damage]])


def check_spoiled(at, damaged, number):
    row, kind = damaged.numbers.rows[at.one[number]], SPOILED[number][0]
    assert kind in " ".join(said(damaged.numbers.report, "incomplete", at.name)[at.one[number]])
    for column, value in row.items():
        if isinstance(value, np.ndarray | float) and "keypoints" not in column:
            assert np.isfinite(value).all(), column


@pytest.mark.parametrize("number", range(len(SPOILED) - 1))
def test_numbers_that_cannot_be_are_counted_and_not_passed_on(places, damaged, number):
    for at in places:
        check_spoiled(at, damaged, number)


def test_an_angle_that_cannot_be_is_counted_and_not_passed_on(full_fixtures_dir, places, damaged):
    check_spoiled(next(at for at in places if at.name == "bicycle"), damaged, len(SPOILED) - 1)


def test_a_pose_without_success_is_kept_and_marked(samples, places, damaged):
    for at in places:
        for image_id, (_, success) in zip(at.two[-3:], SUCCESS, strict=True):
            row = damaged.numbers.rows[image_id]
            assert row["object_pose_success"] is success
            assert same_floats(row["object_rotation"], samples[image_id]["object_rotation"])


@pytest.mark.parametrize("number", range(len(SHIFTS)))
def test_a_mask_outside_the_frame_is_counted_and_not_passed_on(places, damaged, number):
    for at in places:
        assert damaged.numbers.rows[at.two[number]]["person_mask_box"] is None
        assert "hoi_mask" in " ".join(said(damaged.numbers.report, "incomplete", at.name)[at.two[number]])


def test_projections_of_another_length_than_their_frames_are_not_guessed(places, damaged):
    for at in places:
        noted = said(damaged.numbers.report, "incomplete", at.name)
        for image_id in at.others:
            assert damaged.numbers.rows[image_id]["object_keypoints"] is None
            assert "hoi_kps" in " ".join(noted[image_id])


@pytest.mark.parametrize("number", range(len(BOXES)))
def test_a_box_that_is_not_four_finite_numbers_is_no_box(places, damaged, number):
    for at in places:
        assert at.one[number] not in damaged.tracking.rows
        assert "person" in " ".join(said(damaged.tracking.report, "dropped", at.name)[at.one[number]])


def test_what_is_tracked_twice_is_one_row_and_said(samples, places, damaged):
    for at in places:
        first = at.others[0]
        for done in (damaged.files, damaged.numbers):  # the reading of rows refuses a second of a name
            assert first in done.rows and first in json.dumps(done.report["objects"][at.name])
        left_out = set(at.others) - set(damaged.files.rows)
        assert left_out == set(at.others[1:4]) and set(at.others) <= set(damaged.numbers.rows)


def test_deleted_projections_of_one_instance_are_counted_for_each_image(samples, places, damaged):
    for at in places:
        noted = said(damaged.tracking.report, "incomplete", at.name)
        hit = at.one[len(BOXES) :]
        assert len(hit) > 4
        for image_id in hit:
            row = damaged.tracking.rows[image_id]
            assert differing(samples[image_id], row) == {"body_keypoints", "object_keypoints"}
            assert "hoi_kps" in " ".join(noted[image_id])


# --- hostile releases -----------------------------------------------------------------------------------------------

HOSTILE = {  # a file of each kind, all read at the lowest frame rate
    "body": lambda release, at: release.path(at.name, BODIES, at.two[0]),
    "pose": lambda release, at: release.path(at.name, POSES, at.two[0]),
    "projections": lambda release, at: release.path(at.name, PROJECTED, at.two[0]),
    "keypoints": lambda release, at: release.path(at.name, REFINED, at.two[0]),
    "mask": lambda release, at: release.mask_path(at.name, at.one[0]),
    "tracking": lambda release, at: release.tracking_path(at.name, at.pair),
    "correspondences": lambda release, at: release.correspondences_path(at.name, at.annotated[0]),
    "occlusion": lambda release, at: release.occlusion_path(at.name, at.annotated[0]),
    "annotation": lambda release, at: release.annotation_path(at.name, at.annotated[0]),
}


@pytest.mark.parametrize(
    ("file", "kind"), [("run_command_tail.pkl", "body"), *(("run_command.pkl", kind) for kind in HOSTILE)]
)
def test_a_pickle_with_code_stops_the_conversion(raw, places, fixtures_dir, tmp_path, monkeypatch, kind, file):
    at = places[0]
    release = copy_release(raw, tmp_path / "raw", [at.name], train_videos=[at.pair])
    place = HOSTILE[kind](release, at)
    assert place.is_file()
    shutil.copy(fixtures_dir / "hostile" / file, place)
    monkeypatch.chdir(tmp_path)
    with unchecked(), pytest.raises(InputError) as caught:
        run_conversion(plan_wildhoi(release.root), tmp_path / "out")
    assert place.name in str(caught.value) and "\n" not in str(caught.value).strip()
    assert not list(tmp_path.rglob("pwned")) and not (tmp_path / "out/dataset.json").exists()
    assert isinstance(caught.value, UnsafeError) or kind == "annotation"  # defects of annotations come all at once


def test_a_pickle_with_code_stops_workers_too(raw, places, fixtures_dir, tmp_path, monkeypatch):
    at = places[0]
    release = copy_release(raw, tmp_path / "raw", [at.name])
    place = release.path(at.name, BODIES, at.two[0])
    shutil.copy(fixtures_dir / "hostile/run_command.pkl", place)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(place.name)):
        run_conversion(plan_wildhoi(release.root), tmp_path / "out", engine=Local(2))
    assert not list(tmp_path.rglob("pwned")) and not (tmp_path / "out/dataset.json").exists()


OPENED = []
LISTENING = []


def _listen(event, arguments):
    if LISTENING and event in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename") and arguments:
        OPENED.append(arguments[0])


@pytest.fixture
def opened():
    """Every path that Python opens or lists while a test runs."""
    if not OPENED:
        sys.addaudithook(_listen)
    OPENED.clear()
    LISTENING.append(True)
    yield OPENED
    LISTENING.clear()
    OPENED[:] = ["hooked"]


def outside(paths, secret):
    names = (os.fspath(p) for p in paths if isinstance(p, str | bytes | os.PathLike))
    texts = (n.decode(errors="replace") if isinstance(n, bytes) else n for n in names)
    return [t for t in texts if os.path.realpath(t).startswith(str(secret))]


def tree(folder, *without):
    return {
        p.relative_to(folder): p.stat().st_mtime_ns
        for p in folder.rglob("*")
        if p.is_file() and not any(w in p.parents for w in without)
    }


@pytest.mark.parametrize("escape", ["../../../secret/x", "/SECRET/x", "PAIR/../../../../secret", "x\0y", 7])
@pytest.mark.parametrize("field", ["hoi_id", "frame_id", "train_videos", "test_videos"])
def test_ids_that_are_paths_lead_nowhere(raw, places, tmp_path, opened, escape, field):
    at = places[0]
    secret = tmp_path / "secret"
    (secret / "x").mkdir(parents=True)
    (secret / "x.jpg").write_bytes(raw.picture_path(at.name, at.one[0]).read_bytes())
    for name in ("_tracking.pkl", "x_tracking.pkl", "x_smplx.pkl", "x_hoi_kps.pkl"):
        (secret / name).write_bytes(pickle.dumps([]))
    if isinstance(escape, str):
        escape = escape.replace("/SECRET", str(secret)).replace("PAIR", at.pair)
    release = tmp_path / "raw"
    shutil.copytree(raw.root / "data/objects", release / "data/objects")
    shutil.copytree(raw.root / "data/contact", release / "data/contact")
    split = {"train_videos": [at.pair], "test_videos": [at.test]}
    tracking = read_pickle(raw.tracking_path(at.name, at.pair))
    instance = tracking["hoi_instances"][0]
    if field == "hoi_id":
        instance["hoi_id"] = escape
    elif field == "frame_id":
        instance["sequences"][0]["frame_id"] = escape
    else:
        split[field] = [escape, *split[field]]
    (release / "train_test_split.json").write_text(json.dumps({at.name: split}))
    path = Raw(release).tracking_path(at.name, at.pair)
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(tracking))
    before = tree(tmp_path)
    opened.clear()
    try:
        run_conversion(plan_wildhoi(release, fps=30), tmp_path / "out")
    except InputError as error:
        assert "\n" not in str(error).strip()
    assert not outside(opened, secret)
    assert tree(tmp_path, tmp_path / "out") == before
