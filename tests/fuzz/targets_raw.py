# ruff: noqa: E501 - tables of short things
"""Raw releases, result lists and archives."""

import pickle

import body_files
import numpy as np

import submissions
from fuzz import seeds
from fuzz.target import Target, all_of
from fuzz.targets_data import truths
from wildhoi.body import conversion, reading
from wildhoi.convert.archives import read_member
from wildhoi.convert.behave_release import fits, pictures, survey
from wildhoi.convert.behave_release.calibration import read_kinect
from wildhoi.convert.behave_release.keyframes import read_key_frames
from wildhoi.convert.conversion_report import ConversionReport
from wildhoi.convert.rhobin.reference import plan_reference
from wildhoi.convert.rhobin.results import read_rhobin_results
from wildhoi.convert.safe_pickle import load_pickle
from wildhoi.convert.wildhoi_release import fields, images, plan, tracks
from wildhoi.convert.wildhoi_release.records import read_record
from wildhoi.convert.wildhoi_release.results import read_results
from wildhoi.schema import Annotation


def parse_pickle(path, out):
    all_of(
        lambda: load_pickle(path),
        lambda: load_pickle(path, torch_tensors=True),
        lambda: load_pickle(path, encoding="latin1", extra=conversion.STAND_INS),
    )


PLAIN = {
    "a": [1, -2, 2**40, 0.5, "x", b"y", None, True, (1, 2)], "array": np.arange(6.0).reshape(2, 3), "text": np.array(["a", "bc"]),
    "scalar": np.float32(1.5), "big": np.arange(4, dtype=">i4"), "fortran": np.asfortranarray(np.eye(2)),
}  # fmt: skip


def pickles():
    return seeds.pickle_seeds(PLAIN, [PLAIN], {}, list(range(9))) + seeds.tensor_pickles() + seeds.hostile(".pkl", 1000)


def parse_results(path, out):
    all_of(lambda: read_results(path), lambda: read_results(path, nan_as_failed=True))


def results():
    rows = seeds.first_rows("wildhoi_raw/outputs/optim_with_phosa/skateboard_test.pkl", 1)
    return seeds.pickle_seeds(rows, [seeds.result_row()]) + seeds.hostile("_results.pkl")


def parse_annotation(path, out):
    """As the converter reads an annotation of the release."""
    raw = load_pickle(path)
    if isinstance(raw, dict):
        record = read_record(raw, "0001_001_000001", None, camera_required=True)
        if not record.defects:
            return record.human, record.object_pose, record.camera
    return None


def annotation_pickles():
    return seeds.fixture("wildhoi_raw/data/annotation_hoi/skateboard/test/0271_001_000561.pkl") + seeds.pickle_seeds(
        seeds.first_rows("wildhoi_raw/data/annotation_hoi/skateboard/test/0271_001_000561.pkl", 99)
    )


VIDEO, HOI, FRAME = "0001", "001", "000001"


def link_release(folder):
    """One input in every place of a release that has a pickle of a frame or an instance."""
    for kind, name in tracks.FILES.items():
        link(folder / kind / VIDEO / f"{HOI}_{name}.pkl", folder / "input")
    link(folder / "hoi_mask" / VIDEO / HOI / f"{FRAME}.pkl", folder / "input")
    link(folder / "object_annotations" / "corr" / f"{VIDEO}_{FRAME}_{HOI}-corr.pkl", folder / "input")
    link(folder / "occlusion_maps" / VIDEO / HOI / f"{FRAME}.pkl", folder / "input")


def link(place, target):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def parse_release(path, out):
    root = path.parent
    all_of(
        lambda: tracks.read_tracking(path),
        *(lambda kind=kind: parse_track(root, kind) for kind in tracks.FILES),
        lambda: images.read_masks(root, VIDEO, HOI, FRAME, (9, 9)),
        lambda: images.read_correspondences(root, VIDEO, HOI, FRAME),
        lambda: images.read_occlusion(root, VIDEO, HOI, FRAME),
    )


def parse_track(root, kind):
    track = tracks.read_track(root, kind, VIDEO, HOI)
    for frame in list(track.frames)[:3]:
        for shapes in (fields.BODY_FIELDS, fields.FACE_FIELDS, fields.POSE_FIELDS):
            tracks.finite_numbers(track.frames[frame], shapes)
        for name in tracks.PROJECTIONS:
            tracks.numbers(track.frames[frame], name, (22, 2))


def release():
    zeros = {name: np.zeros(shape, np.float32) for name, shape in (fields.BODY_FIELDS | fields.FACE_FIELDS).items()}
    mask = {"mask": np.packbits(np.eye(4, dtype=bool)), "mask_box": [1, 1, 4, 4], "mask_shape": [4, 4]}
    return [
        *seeds.pickle_seeds(
            {"hoi_instances": [{"hoi_id": HOI, "sequences": [{"frame_id": FRAME, "person_bbox": [0, 1, 2, 3]}]}]},
            [{"frame_id": FRAME, **zeros}, {"frame_id": "000002", "rotmat": np.eye(3), "trans": [[0], [1], [2]]}],
            {"frame_ids": [FRAME], "smpl_kps_seq": np.zeros((1, 22, 2)), "object_kps_seq": np.zeros((1, 8, 2))},
            {"human": mask, "object": {**mask, "mask": None}},
            {"coor": np.zeros((2, 3, 3), np.float32), "l": 1, "u": 2, "w": 3, "h": 2},
            {"smpl_v_mask": np.ones(5, bool), "object_v_mask": np.zeros(3, bool)},
        ),
        *seeds.tensor_pickles(),
    ]


def parse_reference(path, out):
    conversion = plan_reference(path, dataset="behave")
    conversion.remarks(ConversionReport(conversion.prepare(out)))


def prepare_bodies(folder):
    body_files.write_smplh(folder, genders=("male",))


def reference():
    content = load_pickle(seeds.FIXTURES / "rhobin" / "ref.pkl")
    rows = {name: raw for name, raw in content["annotations"].items() if raw["meta"][0] == "behave"}
    first = dict(list(rows.items())[:2])
    used = {raw["meta"][2] for raw in first.values()}
    return seeds.pickle_seeds(
        {"annotations": first, "templates": {name: raw for name, raw in content["templates"].items() if name in used}},
        {"annotations": first, "templates": {"skateboard": {"verts": np.eye(4, 3), "faces": np.array([[0, 1, 2]])}}},
    )


RHOBIN_ID = "1"
RHOBIN = {
    RHOBIN_ID: {
        "pose": np.zeros(156), "betas": np.zeros(10), "trans": np.zeros(3), "obj_rot": np.eye(3), "obj_trans": np.zeros(3),
    },
    "2": {"pose": np.zeros(72), "betas": np.zeros(10), "trans": [0, 0, 1], "obj_angle": np.zeros(3), "obj_trans": [0.0, 1, 2]},
}  # fmt: skip


def parse_rhobin(path, out):
    known = [
        Annotation(name, "skateboard", "v", submissions.human(), truths(1)[0].object_pose, submissions.camera(), "male")
        for name in RHOBIN
    ]
    all_of(lambda: read_rhobin_results(path, known), lambda: read_rhobin_results(path, known, nan_as_failed=True))


def rhobin_zips():
    packed = seeds.pickle_seeds(RHOBIN)[0]
    return seeds.zip_seeds({"results.pkl": packed}, {"a/results.pkl": packed, "readme.txt": b"x"}) + seeds.hostile(
        ".zip"
    )


def parse_body_npz(path, out):
    all_of(lambda: reading.read_npz(path, "smplx"), lambda: reading.read_arrays(path))


def body_pickles():
    return [*seeds.pickle_seeds(seeds.body_arrays(), seeds.body_arrays(joints=52)), chumpy_body()]


def chumpy_body() -> bytes:
    """A body as published, with objects of classes that are not installed."""
    leaf, matrix = Ch(), csc_matrix()
    leaf.x = np.zeros((12, 3, 10))
    matrix.__dict__.update(
        _shape=(55, 12), data=np.ones(2), indices=np.zeros(2, np.int32), indptr=np.array([0, 1, 2] + [2] * 10, np.int32)
    )
    data = pickle.dumps({**seeds.body_arrays(), "shapedirs": leaf, "J_regressor": matrix}, 2)
    here = __name__.encode()
    return data.replace(b"c" + here + b"\nCh", b"cchumpy.ch\nCh").replace(b"c" + here, b"cscipy.sparse.csc")


class Ch:
    """In place of an array of chumpy."""


class csc_matrix:
    """In place of a sparse matrix of scipy."""


def parse_behave_npz(path, out):
    find = fits.track_fits([path.parent], "male")
    for frame in ("t0003.000", "t0004.000"):
        find(frame, None)


def link_tracks(folder):
    prepare_bodies(folder)
    link(folder / "smpl_fit_all.npz", folder / "input")
    link(folder / "object_fit_all.npz", folder / "input")


def behave_npz():
    times = np.array(["t0003.000", "t0004.000"])
    body = {
        "poses": np.zeros((2, 156), np.float32),
        "betas": np.zeros((2, 10)),
        "trans": np.zeros((2, 3)),
        "angles": np.zeros((2, 3)),
    }
    return seeds.npz_seeds({**body, "frame_times": times}, {**body, "frame_times": times.astype("S9")})


def parse_behave_pickle(path, out):
    find = fits.frame_fits(["thing"], "male")
    all_of(lambda: find("t0003.000", path.parent), lambda: read_key_frames(path))


def link_fits(folder):
    prepare_bodies(folder)
    link(folder / "person" / "fit02" / "person_fit.pkl", folder / "input.pkl")
    link(folder / "thing" / "fit01" / "thing_fit.pkl", folder / "input.pkl")


KEYS = ["Date03_Sub03_basketball/t0003.000/k1.color.jpg", "a/b/Date03_Sub03_basketball/t0004.000/k0.color.jpg"]


def behave_pickles():
    fit = {"pose": np.zeros(156), "betas": np.zeros(10), "trans": np.zeros(3), "angle": np.zeros(3)}
    return seeds.pickle_seeds(fit, {**fit, "pose": np.zeros(72)}, KEYS, {"train": KEYS[:1], "test": KEYS[1:]})


CAMERA = ("Date01", 0)


def link_behave(folder):
    """One JSON file in every place of the release that has one."""
    for name in ("k0.color.json", "split.json", "sequences/Date03_Sub03_basketball/info.json", "train_test_split.json", "keys.json",
                 "calibs/Date01/config/0/config.json", "calibs/intrinsics/0/calibration.json"):  # fmt: skip
        link(folder / name, folder / "input")
    for name in ("objects", "sequences/Date03_Sub03_basketball/t0003.000"):
        (folder / name).mkdir(parents=True, exist_ok=True)


def parse_behave_json(path, out):
    root = path.parent
    all_of(
        lambda: read_kinect.__wrapped__(root, *CAMERA),
        lambda: pictures.read_keypoints(root, 0),
        lambda: read_behave(root),
        lambda: plan._read_split(root / "train_test_split.json"),
        lambda: read_key_frames(root / "keys.json"),
    )


def read_behave(root):
    found = survey.survey_release(root, None, ("train", "test"))
    for sequence in found.sequences:
        survey.read_info(root, sequence, found)


def behave_json():
    lens = {"fx": 900.0, "fy": 900.5, "cx": 320, "cy": 240, "width": 640, "height": 480}
    place = {"rotation": [1, 0, 0, 0, 1, 0, 0, 0, 1], "translation": [0.0, 1.5, 2]}
    split = {"train": ["Date01_Sub01_basketball"], "test": ["Date03_Sub03_basketball"]}
    videos = {"skateboard": {"train_videos": ["0001"], "test_videos": ["0002"]}}
    info = {"gender": "male", "kinects": [0, 1]}
    return seeds.json_seeds(
        {**place, "color": lens}, {"body_joints": [0.5] * 75}, {**split, **info}, videos, KEYS, {"test": KEYS}
    )


def parse_key_text(path, out):
    return read_key_frames(path)


def parse_behave_picture(path, out):
    for kind in ("person_mask", "object_mask", "object_full"):
        pictures.read_mask(kind, path.parent, 0, (8, 9))
    pictures.read_color(path.parent, 0, (8, 9))
    pictures.visible_share(path.parent, 0, (8, 9))
    images.read_frame(path.parent, VIDEO, FRAME)


def link_pictures(folder):
    for name in (
        "k0.color.jpg",
        "k0.person_mask.jpg",
        "k0.obj_rend_mask.jpg",
        "k0.obj_rend_full.jpg",
        f"images_temp/{VIDEO}/{FRAME}.jpg",
    ):
        link(folder / name, folder / "input")


def parse_archive(path, out):
    return read_member(path, "results.pkl")


TARGETS = (
    Target("pickle", "pickle", parse_pickle, pickles),
    Target("result_list", "pickle", parse_results, results),
    Target("release_annotation", "pickle", parse_annotation, annotation_pickles),
    Target("release_pickle", "pickle", parse_release, release, "input", link_release, named=False),
    Target("rhobin_reference", "pickle", parse_reference, reference, "ref.pkl", prepare_bodies),
    Target("rhobin_results", "pickle", parse_rhobin, lambda: seeds.pickle_seeds(RHOBIN), "results.pkl", prepare_bodies),
    Target("rhobin_zip", "zip", parse_rhobin, rhobin_zips, "results.zip", prepare_bodies),
    Target("archive", "zip", parse_archive, rhobin_zips, "results.zip"),
    Target("body_npz", "npz", parse_body_npz, lambda: seeds.npz_seeds(seeds.body_arrays(), seeds.body_arrays(9, 52)), "SMPLX.npz"),
    Target("body_pickle", "pickle", lambda path, out: conversion.convert_body(path, out / "body.npz"), body_pickles, "SMPLX.pkl"),
    Target("behave_npz", "npz", parse_behave_npz, behave_npz, "input", link_tracks),
    Target("behave_pickle", "pickle", parse_behave_pickle, behave_pickles, "input.pkl", link_fits),
    Target("release_json", "json", parse_behave_json, behave_json, "input", link_behave, named=False),
    Target("key_frames", "lines", parse_key_text, lambda: ["\n".join(KEYS).encode()], "keys.txt"),
    Target("behave_picture", "png", parse_behave_picture, lambda: seeds.png_seeds() + seeds.jpg_seeds(), "input", link_pictures),
)  # fmt: skip
