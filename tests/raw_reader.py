"""The raw WildHOI fixture and the converted Parquet, read without a line of the package under test."""

import io
import json
import pickle

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

TRACKS = {
    "smplx_tuned": "smplx",
    "object_pose": "obj_RT",
    "wholebody_kps_refined": "wholebody_kps",
    "wholebody_kps": "wholebody_kps",
    "hoi_kps": "hoi_kps",
}
ALLOWED = {
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("collections", "OrderedDict"),
}


class Unpickler(pickle.Unpickler):
    """For the files of `wildhoi_raw` alone, never for `hostile`."""

    def find_class(self, module, name):
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            import torch

            return lambda data: torch.load(io.BytesIO(data), weights_only=True)
        module = module.replace("numpy.core", "numpy._core")
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)


def read_pickle(path):
    with path.open("rb") as file:
        return Unpickler(file).load()


def plain(value):
    """Lists of tensors, arrays and scalars as one float64 array without dimensions of one."""
    if isinstance(value, list):
        value = [float(item) for item in value]
    return np.asarray(value, np.float64).squeeze()


class Raw:
    """The release by object, video, instance and frame."""

    def __init__(self, root):
        self.root = root
        self.split = json.loads((root / "train_test_split.json").read_text())
        self._tracks = {}

    def objects(self):
        return sorted(self.split)

    def videos(self, name, split):
        return self.split[name][f"{split}_videos"]

    def instances(self, name, video):
        """Instance id -> its entries, in order."""
        if (name, video) not in self._tracks:
            tracking = read_pickle(self.tracking_path(name, video))
            self._tracks[name, video] = {item["hoi_id"]: item["sequences"] for item in tracking["hoi_instances"]}
        return self._tracks[name, video]

    def entry(self, name, image_id):
        video, hoi, frame = image_id.split("_")
        return next(e for e in self.instances(name, video)[hoi] if e["frame_id"] == frame)

    def ids(self, name, video, hoi):
        """The image ids of an instance, in order."""
        return [f"{video}_{hoi}_{entry['frame_id']}" for entry in self.instances(name, video)[hoi]]

    def tracking_path(self, name, video):
        return self.root / name / "hoi_tracking" / f"{video}_tracking.pkl"

    def path(self, name, kind, image_id):
        """The file of a track that an image's instance has."""
        video, hoi, _ = image_id.split("_")
        return self.root / name / kind / video / f"{hoi}_{TRACKS[kind]}.pkl"

    def track(self, name, kind, image_id):
        """The record of a frame; None where the file or the frame is absent."""
        video, hoi, frame = image_id.split("_")
        key = (name, kind, video, hoi)
        if key not in self._tracks:
            path = self.path(name, kind, image_id)
            content = read_pickle(path) if path.is_file() else []
            if isinstance(content, dict):
                arrays = {k: v for k, v in content.items() if k != "frame_ids"}
                content = [
                    {"frame_id": f, **{k: v[i] for k, v in arrays.items()}}
                    for i, f in enumerate(content["frame_ids"])
                    if arrays
                ]
            self._tracks[key] = {record["frame_id"]: record for record in content}
        return self._tracks[key].get(frame)

    def picture_path(self, name, image_id):
        video, _, frame = image_id.split("_")
        return self.root / name / "images_temp" / video / f"{frame}.jpg"

    def picture(self, name, image_id):
        return np.asarray(Image.open(self.picture_path(name, image_id)).convert("RGB"))

    def mask_path(self, name, image_id):
        return self.root.joinpath(name, "hoi_mask", *image_id.split("_")).with_suffix(".pkl")

    def mask(self, name, image_id, of, frame_size):
        """The full frame's mask, or None."""
        entry = read_pickle(self.mask_path(name, image_id))[of]
        if entry["mask"] is None:
            return None
        x1, y1, x2, y2 = (int(v) for v in entry["mask_box"])
        h, w = y2 - y1 + 1, x2 - x1 + 1
        full = np.zeros((frame_size[1], frame_size[0]), bool)
        full[y1 : y2 + 1, x1 : x2 + 1] = np.unpackbits(entry["mask"])[: h * w].reshape(h, w)
        return full

    def correspondences_path(self, name, image_id):
        video, hoi, frame = image_id.split("_")
        return self.root / name / "object_annotations" / "corr" / f"{video}_{frame}_{hoi}-corr.pkl"

    def correspondences(self, name, image_id):
        path = self.correspondences_path(name, image_id)
        return read_pickle(path) if path.is_file() else None

    def occlusion_path(self, name, image_id):
        return self.root.joinpath(name, "occlusion_maps", *image_id.split("_")).with_suffix(".pkl")

    def occlusion(self, name, image_id):
        path = self.occlusion_path(name, image_id)
        return read_pickle(path) if path.is_file() else None

    def files(self, kind):
        """How many files of a kind all objects have together."""
        return sum(1 for name in self.objects() for _ in (self.root / name / kind).rglob("*.pkl"))

    def annotation_path(self, name, image_id):
        return self.root / "data" / "annotation_hoi" / name / "test" / f"{image_id}.pkl"

    def annotations(self, name):
        folder = self.root / "data" / "annotation_hoi" / name / "test"
        return {path.stem: read_pickle(path) for path in sorted(folder.glob("*.pkl"))}


def read_rows(folder, kind, split=None, name="*"):
    """The rows of a converted folder by image id, with plain pyarrow; lists as arrays."""
    rows = {}
    for path in sorted((folder / kind).glob(f"{name}/{split or '*'}-*.parquet")):
        for row in pq.read_table(path).to_pylist():
            assert row["image_id"] not in rows
            rows[row["image_id"]] = {k: np.asarray(v) if isinstance(v, list) else v for k, v in row.items()} | {
                "file": path.relative_to(folder).as_posix()
            }
    return rows


def image_of(cell):
    """A picture cell as an array; a mask as booleans."""
    image = Image.open(io.BytesIO(cell["bytes"]))
    return np.asarray(image) if image.mode in ("1", "RGB") else np.asarray(image.convert("RGB"))
