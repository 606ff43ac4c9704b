# ruff: noqa: E501 - tables of short things
"""Submissions and data folders."""

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import submissions
from fuzz import seeds
from fuzz.target import Target, all_of
from wildhoi import columns
from wildhoi.catalogue import first_ids
from wildhoi.convert.behave_release import initial
from wildhoi.dataset import annotations, finding, layouts, loading, open_folder, pictures, samples, seal_folder, truth
from wildhoi.dataset.stored import read_sample
from wildhoi.hub import contents
from wildhoi.meshes import read_mesh, read_vertex_groups
from wildhoi.schema import Annotation, Failure, ObjectPose, Sample, SceneView
from wildhoi.submission.defects import DefectError
from wildhoi.submission.folder import read_submission
from wildhoi.submission.manifest import read_manifest, write_manifest
from wildhoi.submission.table import write_predictions

MANIFEST = {"spec": 1, "method": "m", "dataset": "open", "split": "test", "body_model": "open"}
FULL_MANIFEST = {
    **MANIFEST,
    "inputs": ["masks"],
    "settings": {"a": [1, 2.5, None, "x"], "b": {"c": True}},
    "environment": {"x": 1},
}


def parse_manifest(path, out):
    manifest, defects = read_manifest(path)
    for defect in defects:
        if len(str(defect)) > 1500 or not str(defect).isprintable():
            raise ValueError(f"a defect of {len(str(defect))} characters, or not printable: {str(defect)!a:.200}")
    if manifest is None:
        raise DefectError(str(path), defects)
    write_manifest(out / "submission.yaml", manifest)
    if read_manifest(out / "submission.yaml")[0] != manifest and "nan" not in repr(manifest):
        raise ValueError("written and read again, it is another")


def parse_predictions(path, out):
    return read_submission(path.parent)


def prepare_predictions(folder):
    submissions.make_submission(folder, [])


def predictions():
    rows = submissions.varied_rows()[:3]
    return seeds.table_seeds(
        seeds.written(write_predictions, rows), seeds.written(write_predictions, [Failure("a", "no reason")])
    ) + seeds.hostile(".parquet")


def truths(count=2):
    return [
        Annotation(
            f"{n:04d}_001_000001", "skateboard", f"{n:04d}", submissions.human(n),
            ObjectPose(submissions.rotation(n), np.ones(3)), submissions.camera(n), visible=0.5,
        )
        for n in range(count)
    ]  # fmt: skip


def parse_annotations(path, out):
    truth.truth_digest(path)
    return annotations.read_annotations(path)


def views():
    return [
        SceneView(f"s{n}", "skateboard", n, submissions.camera(n), np.zeros((22, 2)), np.ones((8, 2))) for n in range(2)
    ]


def sample_rows():
    mask = np.eye(6, dtype=bool)
    full = Sample(
        "a", "skateboard", "v", image=np.zeros((6, 6, 3), np.uint8), image_box=(0, 0, 6, 6), frame_size=(9, 9),
        person_mask=mask, person_mask_box=(0, 0, 6, 6), object_mask=mask, object_mask_box=(0, 0, 6, 6),
        human=submissions.human(), camera=submissions.camera(), object_keypoints=np.zeros((8, 2)),
        object_correspondences=np.zeros((2, 2, 3)), human_occlusion=np.ones(5, bool),
        object_pose=ObjectPose(submissions.rotation(1), np.zeros(3)),
    )  # fmt: skip
    return [full, Sample("b", "skateboard", "v")]


def parse_samples(path, out):
    """As samples are read, without the library that hands out the rows: it takes longer than all the rest."""
    finding.check_file(path)
    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError):
        return
    for row in range(min(3, table.num_rows)):
        touch(read_sample(table, row))


def touch(sample):
    all_of(lambda: sample.image, lambda: sample.person_mask, lambda: sample.object_mask)


def parse_loaded(path, out):
    first_ids(open_folder(path.parents[2]))
    for sample in loading.load_samples(path.parents[2], "test", streaming=True):
        touch(sample)


def prepare_samples(folder):
    datasets.config.HF_DATASETS_CACHE = (
        folder.parent / "out"
    )  # the library's own folder, which is else in the user's cache
    (folder / "samples" / "skateboard").mkdir(parents=True)
    seal_folder(folder, name="x", body_model="open")


def parse_identity(path, out):
    folder = open_folder(path.parent)
    return folder.revision, folder.revision_of("test"), folder.left_out


def place_identity(path, data):
    for name in ("dataset.json", "checksums.json", ".hub.json"):
        (path.parent / name).write_bytes(data)


def parse_checksums(path, out):
    names = contents.read_checksums(path, str(path))
    return [contents.group_of(name) for name in names]


def parse_mesh(path, out):
    return read_mesh(path)


def parse_groups(path, out):
    return read_vertex_groups(path, 8)


def parse_png(path, out):
    data = path.read_bytes()
    all_of(
        lambda: pictures.decode_picture(data), lambda: pictures.decode_grey(data), lambda: pictures.decode_mask(data)
    )


def estimates():
    """A table of initial estimates of BEHAVE without the large maps."""
    layout = columns.Layout(
        texts=("image_id",), numbers={n: s for n, s in initial.LAYOUT.all_numbers.items() if len(n) > 3}
    )
    rows = [
        {"image_id": f"1_1_a_b_00{n}_0"} | {name: np.full(shape, 0.5) for name, shape in layout.numbers.items()}
        for n in range(2)
    ]
    return seeds.table_seeds(seeds.written(columns.write_rows, layout, rows))


def parse_estimates(path, out):
    from wildhoi.convert.behave_release.calibration import Kinect

    initial.check_file(path)
    kinect = Kinect(np.eye(3), np.zeros(3), np.ones(2), np.ones(2), (9, 9))
    known = initial.Estimates((path,))
    for name in ("1_1_a_b_000_0", "1_1_a_b_001_0"):
        known.find(name, kinect)
    initial._keep_file.cache_clear()


IDENTITY = {
    "name": "x",
    "body_model": "open",
    "track": "common",
    "truth": {"test": {"a": "0" * 64}},
    "dataset.json": "0" * 64,
}
SUMS = {
    "dataset.json": "0" * 64,
    "samples/skateboard/test-00000-of-00001.parquet": "a" * 64,
    "objects/skateboard/mesh.ply": "b" * 64,
}

TARGETS = (
    Target("manifest", "yaml", parse_manifest, lambda: seeds.yaml_seeds(MANIFEST, FULL_MANIFEST), "submission.yaml", named=True),
    Target("predictions", "parquet", parse_predictions, predictions, "predictions.parquet", prepare_predictions, named=False),
    Target("annotations", "parquet", parse_annotations, lambda: seeds.table_seeds(seeds.written(annotations.write_annotations, truths()))),
    Target("layouts", "parquet", lambda path, out: layouts.read_layouts(path), lambda: seeds.table_seeds(seeds.written(layouts.write_layouts, views())), "skateboard/test.parquet", lambda folder: (folder / "skateboard").mkdir()),
    Target("samples", "parquet", parse_samples, lambda: seeds.table_seeds(seeds.written(samples.write_samples, sample_rows())), "samples/skateboard/test-00000-of-00001.parquet", prepare_samples, named=False),
    Target("samples_loaded", "parquet", parse_loaded, lambda: seeds.table_seeds(seeds.written(samples.write_samples, sample_rows())), "samples/skateboard/test-00000-of-00001.parquet", prepare_samples, named=False),
    Target("estimates", "parquet", parse_estimates, estimates),
    Target("data_folder", "json", parse_identity, lambda: seeds.json_seeds(IDENTITY), "dataset.json", place=place_identity, named=False),
    Target("checksums", "json", parse_checksums, lambda: seeds.json_seeds(SUMS)),
    Target("mesh_ply", "ply", parse_mesh, lambda: [seeds.PLY_ASCII, seeds.ply_binary("<"), seeds.ply_binary(">")], "mesh.ply"),
    Target("mesh_obj", "obj", parse_mesh, lambda: [seeds.OBJ], "mesh.obj"),
    Target("vertex_groups", "json", parse_groups, lambda: [*seeds.json_seeds({"0": [0, 1], "seat": [7]}), *seeds.hostile(".json")]),
    Target("png", "png", parse_png, seeds.png_seeds, named=False),
    Target("jpg", "jpg", parse_png, lambda: [*seeds.jpg_seeds(), *seeds.hostile(".jpg")], named=False),
)  # fmt: skip
