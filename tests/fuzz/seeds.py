# ruff: noqa: E501 - tables of short things
"""Small valid files of every kind, made by the product's own writers where it has one."""

import io
import json
import pickle
import struct
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import submissions
from fuzz.containers import chunks_of, known
from wildhoi.convert.safe_pickle import load_pickle

FIXTURES = Path(__file__).parents[1] / "data" / "fixtures"
LARGEST = 2**16
"""Bytes of a fixture that is taken as a seed: parsers of larger ones spend their time on what is sound."""


def fixture(name: str) -> list[bytes]:
    """A fixture's bytes, if it is there and small."""
    path = FIXTURES / name
    return [path.read_bytes()] if path.is_file() and path.stat().st_size <= LARGEST else []


def hostile(suffix: str, largest: int = 2**14) -> list[bytes]:
    """The hostile fixtures of a kind, but for large ones; they are changed as bytes alone and never unpacked here."""
    files = sorted((FIXTURES / "hostile").glob(f"*{suffix}"))
    return [data for path in files for data in fixture(f"hostile/{path.name}") if len(data) <= largest]


def json_seeds(*trees) -> list[bytes]:
    return [known(json.dumps(tree).encode(), tree) for tree in trees]


def yaml_seeds(*trees) -> list[bytes]:
    return [known(yaml.safe_dump(tree, sort_keys=False).encode(), tree) for tree in trees]


def line_seeds(*rows) -> list[bytes]:
    return [known(b"\n".join(json.dumps(row).encode() for row in rows) + b"\n", rows)]


def pickle_seeds(*trees) -> list[bytes]:
    return [known(pickle.dumps(tree, protocol=2 + n % 4), tree) for n, tree in enumerate(trees)]


def npz_seeds(*sources) -> list[bytes]:
    found = []
    for number, arrays in enumerate(sources):
        stream = io.BytesIO()
        (np.savez_compressed if number % 2 else np.savez)(stream, **arrays)
        found.append(known(stream.getvalue(), arrays))
    return found


def zip_seeds(*sources) -> list[bytes]:
    found = []
    for members in sources:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name), data)
        found.append(known(stream.getvalue(), members))
    return found


def png_seeds() -> list[bytes]:
    grey = np.zeros((9, 8), np.uint8)
    grey[2:6, 3:] = 255
    plain = [
        cv2.imencode(".png", grey, (cv2.IMWRITE_PNG_BILEVEL, 1))[1].tobytes(),
        cv2.imencode(".png", np.dstack([grey] * 3))[1].tobytes(),
        cv2.imencode(".png", np.dstack([grey] * 4).astype(np.uint16) * 257)[1].tobytes(),
    ]
    return [known(data, chunks_of(data)) for data in plain]


def jpg_seeds() -> list[bytes]:
    picture = np.arange(16 * 8 * 3, dtype=np.uint8).reshape(16, 8, 3)
    return [
        cv2.imencode(".jpg", picture)[1].tobytes(),
        cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 1))[1].tobytes(),
        cv2.imencode(".jpg", picture[..., 0])[1].tobytes(),
    ]


def written(write, *args) -> bytes:
    """What a writer of the product writes into a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed"
        write(path, *args)
        return path.read_bytes()


def table_seeds(*files: bytes) -> list[bytes]:
    return [known(data, pq.read_table(pa.BufferReader(data))) for data in files]


def safetensors_seed(tensors) -> bytes:
    """A safetensors file of float32 arrays, with its head to be changed."""
    head, body = {}, b""
    for name, array in tensors.items():
        data = np.asarray(array, "<f4").tobytes()
        head[name] = {
            "dtype": "F32",
            "shape": list(np.shape(array)),
            "data_offsets": [len(body), len(body) + len(data)],
        }
        body += data
    text = json.dumps(head).encode()
    return known(struct.pack("<Q", len(text)) + text + body, (head, body))


def result_row(image_id="0001_001_000001"):
    """A row of the authors' result lists."""
    person = submissions.human(1)
    return {
        "image_id": image_id,
        "smplx_betas": person.betas.astype(np.float32),
        "smplx_body_pose": person.body_pose.astype(np.float32),
        "lhand_pose": person.left_hand_pose.astype(np.float32),
        "rhand_pose": person.right_hand_pose.astype(np.float32),
        "obj_rel_rotmat": submissions.rotation(1).astype(np.float32),
        "obj_rel_trans": np.array([0.1, 0.2, 0.3]),
        "obj_scale": np.ones(1),
    }


def first_rows(path: str, count: int = 1):
    """The first rows of a fixture's list, or of its dict."""
    content = load_pickle(FIXTURES / path)
    return content[:count] if isinstance(content, list) else dict(list(content.items())[:count])


def tensor_pickles() -> list[bytes]:
    """Torch tensors as the release's tracks have them."""
    import torch

    row = {"frame_id": "000001", "rotmat": torch.eye(3)[None], "trans": torch.zeros(1, 3)}
    return [pickle.dumps([row], 2), pickle.dumps({"a": torch.arange(3)}, 4)]


def body_arrays(vertices=12, joints=55):
    """A body of few vertices: all but the count of them is as it should be."""
    return {
        "v_template": np.zeros((vertices, 3), np.float32),
        "shapedirs": np.zeros((vertices, 3, 10), np.float32),
        "posedirs": np.zeros((vertices, 3, 9 * (joints - 1)), np.float16),
        "J_regressor": np.full((joints, vertices), 1 / vertices, np.float32),
        "weights": np.full((vertices, joints), 1 / joints, np.float32),
        "kintree_table": np.array([[-1, *range(joints - 1)], range(joints)]),
        "f": np.array([[0, 1, 2]], np.int32),
        "hands_meanl": np.zeros(45),
        "hands_meanr": np.zeros(45),
    }


PLY_ASCII = b"""ply
format ascii 1.0
comment x
element vertex 4
property float x
property float y
property float z
property uchar red
element face 2
property list uchar int vertex_indices
end_header
0 0 0 255
1 0 0 0
0 1 0 0
0 0 1.5e-1 7
3 0 1 2
4 0 1 2 3
"""
OBJ = b"# x\nv 0 0 0\nv 1 0 0 0.5 0.5 0.5\nv 0 1 0\nv 0 0 1\nvt 0 0\nvn 0 0 1\ng a\nf 1 2 3\nf 1/1/1 2//1 -1 -2\n"


def ply_binary(order: str) -> bytes:
    name = {"<": "little", ">": "big"}[order]
    head = (
        f"ply\nformat binary_{name}_endian 1.0\nelement vertex 4\nproperty float x\nproperty double y\nproperty float z\n"
        "element face 2\nproperty list uchar int vertex_indices\nelement edge 1\nproperty int a\nend_header\n"
    )
    vertices = b"".join(struct.pack(f"{order}fdf", *row) for row in np.eye(4, 3))
    return head.encode() + vertices + struct.pack(f"{order}BiiiBiiii", 3, 0, 1, 2, 3, 1, 2, 3, 0)


ORDERED = OrderedDict(a=1)
