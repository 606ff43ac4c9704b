import json
import struct
from itertools import pairwise

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wildhoi.errors import InputError
from wildhoi.meshes import read_mesh, read_vertex_groups, write_ply

HEADER = (
    "ply\nformat {} 1.0\nelement vertex {}\nproperty {t} x\nproperty {t} y\nproperty {t} z\n"
    "{}element face {}\n{}end_header\n"
)
FACES = "property list uchar int vertex_indices\n"
SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], np.float64)  # the last repeats the first


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        read_mesh(path, **options)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 400
    return message


def write(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def ascii_ply(vertices, polygons):
    rows = [" ".join(map(str, row)) for row in vertices] + [f"{len(p)} {' '.join(map(str, p))}" for p in polygons]
    return HEADER.format("ascii", len(vertices), "", len(polygons), FACES, t="float") + "\n".join(rows) + "\n"


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(3, 12), st.just(3)), elements=st.floats(-99, 99, width=32)), st.data()
)
@settings(max_examples=30, deadline=None)
def test_writing_and_reading_are_inverse_and_keep_every_vertex(tmp_path_factory, vertices, data):
    path = tmp_path_factory.mktemp("ply") / "mesh.ply"
    index = st.integers(0, len(vertices) - 1)
    faces = np.array(data.draw(st.lists(st.tuples(index, index, index), min_size=1, max_size=9)), np.int64)
    write_ply(path, vertices, faces)
    first = path.read_bytes()
    mesh = read_mesh(path)
    assert mesh.vertices.dtype == np.float64 and mesh.faces.dtype == np.int64
    assert np.array_equal(mesh.vertices, vertices) and np.array_equal(mesh.faces, faces)
    write_ply(path, mesh.vertices.astype(np.float32), mesh.faces)
    assert path.read_bytes() == first and [p.name for p in path.parent.iterdir()] == ["mesh.ply"]


def test_fixture_templates_agree_with_trimesh(fixtures_dir):
    paths = sorted((fixtures_dir / "wildhoi_raw" / "data" / "objects").glob("*.ply"))
    assert len(paths) == 4
    for path in paths:
        ours, theirs = read_mesh(path), trimesh.load(path, process=False, maintain_order=True)
        assert np.array_equal(ours.vertices, theirs.vertices) and np.array_equal(ours.faces, theirs.faces)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mixed", [False, True])
def test_binary_of_both_orders_with_further_properties_and_polygons(tmp_path, order, mixed):
    name = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    polygons = [[0, 1, 2, 3], [0, 1, 4]] if mixed else [[0, 1, 2, 3], [1, 2, 3, 4]]
    header = HEADER.format(
        name,
        5,
        "property uchar red\nproperty double weight\n",
        2,
        "property uchar flag\nproperty list int uint vertex_index\nproperty list uchar float texcoord\n"
        "element tail 1\nproperty short last\n",
        t="double",
    )
    body = b"".join(struct.pack(order + "3dBd", *row, 7, 0.5) for row in SQUARE)
    for polygon in polygons:
        body += struct.pack(order + f"Bi{len(polygon)}I", 1, len(polygon), *polygon) + struct.pack(
            order + "B2f", 2, 0, 1
        )
    path = write(tmp_path / "mesh.ply", header.encode() + body + struct.pack(order + "h", 3))
    mesh = read_mesh(path)
    assert np.array_equal(mesh.vertices, SQUARE)
    fans = [[p[0], b, c] for p in polygons for b, c in pairwise(p[1:])]
    assert mesh.faces.tolist() == fans


def test_ascii_and_obj_give_the_same_mesh(tmp_path):
    ply = read_mesh(write(tmp_path / "mesh.ply", ascii_ply(SQUARE, [[0, 1, 2, 3], [2, 3, 4]])))
    lines = [f"v {x} {y} {z}" for x, y, z in SQUARE]
    obj = "\n".join(["# comment", "o thing", *lines, "vt 0 0", "f 1/1 2/1 3/1 4/1", "usemtl m", "f -3//1 4 5", ""])
    read = read_mesh(write(tmp_path / "mesh.obj", obj))
    for mesh in (ply, read):
        assert np.array_equal(mesh.vertices, SQUARE)
        assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [2, 3, 4]]


def test_hostile_meshes_are_refused_by_what_is_wrong(fixtures_dir):
    hostile = fixtures_dir / "hostile"
    message = refusal(hostile / "faces_out_of_range.ply")
    assert "triangle 1 has vertices [0, 2, 9] (2 such), want 0 to 3" in message
    assert "vertex" in refusal(hostile / "nan_vertex.ply") and "nan" in refusal(hostile / "nan_vertex.ply")
    for name in ("control_results.pkl", "empty.pkl", "text.jpg", "csv_in_disguise.parquet"):
        assert "not a mesh" in refusal(hostile / name)


def test_every_cut_of_a_mesh_is_refused(tmp_path, fixtures_dir):
    path = tmp_path / "mesh.ply"
    write_ply(path, SQUARE.astype(np.float32), np.array([[0, 1, 2], [2, 3, 4]]))
    binary = path.read_bytes()
    for data in (binary, ascii_ply(SQUARE, [[0, 1, 2], [2, 3, 4]]).encode().rstrip()):
        for length in range(0, len(data) - 1, 3):
            refusal(write(path, data[:length]))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (HEADER.format("binary_little_endian", 10**15, "", 1, FACES, t="float"), "claims 1000000000000000"),
        (HEADER.format("binary_little_endian", 9_999_999, "", 1, FACES, t="float"), "claims 9999999"),
        (HEADER.format("ascii", -1, "", 1, FACES, t="float"), "claims -1"),
        (HEADER.format("ascii", 3, "", 0, FACES, t="float") + "0 0 0\n1 0 0\n0 1 0\n", "0 triangles"),
        (HEADER.format("ascii", 3, "", 1, "", t="float") + "0 0 0\n1 0 0\n0 1 0\n \n", "do not fit"),
        (HEADER.format("ascii", 3, "", 1, FACES, t="list") + "0\n", "not understood"),
        (HEADER.format("utf9", 3, "", 1, FACES, t="float"), "format utf9"),
        (
            "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n0\n",
            "without format, vertex or face",
        ),
        ("ply\n" + "comment x\n" * 10_000, "without an end"),
        (ascii_ply(SQUARE, [[0, 1]]), "2 corners"),
        (ascii_ply(SQUARE, [[0, 1, 2**70]]), "do not fit"),
        (ascii_ply([[0, 0, 1e300]] * 3, [[0, 1, 2]]), "vertex 0"),
        (ascii_ply([[0, 0, "inf"]] * 3, [[0, 1, 2]]), "vertex 0"),
        (ascii_ply(SQUARE, [[0, 1, 2]]).replace("3 0 1 2", "200 0 1 2"), "do not fit"),
        (ascii_ply(SQUARE, [[0, 1, 2]]).replace("3 0 1 2", "-3 0 1 2"), "do not fit"),
        (ascii_ply(SQUARE, [[0, 1, 2]]).replace("3 0 1 2", "3 0 1.5 2"), "do not fit"),
        (ascii_ply(SQUARE, [[0, 1, 2]]).replace("property float x", "property float w"), "no x, y, z"),
    ],
)
def test_bad_headers_and_bodies_are_refused(tmp_path, data, found):
    assert found in refusal(write(tmp_path / "mesh.ply", data))


@given(st.integers(0, 400), st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_any_damage_ends_in_a_mesh_or_one_line(tmp_path_factory, position, value):
    path = tmp_path_factory.mktemp("ply") / "mesh.ply"
    write_ply(path, SQUARE.astype(np.float32), np.array([[0, 1, 2], [2, 3, 4]]))
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    try:
        mesh = read_mesh(write(path, bytes(data)))
        assert np.isfinite(mesh.vertices).all() and mesh.faces.max() < len(mesh.vertices)
    except InputError as error:
        assert "\n" not in str(error)


def test_limits_and_bad_obj_lines_are_refused(tmp_path):
    path = write(tmp_path / "mesh.ply", ascii_ply(SQUARE, [[0, 1, 2, 3]]))
    assert "want 0 to 4" in refusal(path, max_vertices=4)
    assert "more than 1 triangles" in refusal(path, max_faces=1)
    obj = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
    for line, found in [("f 1 2", "line 4"), ("v 1 x 2", "line 4"), ("f 0 1 2", "line 4"), ("f 1 2 9", "want 0 to 2")]:
        assert found in refusal(write(tmp_path / "mesh.obj", obj + line + "\n"))
    assert "0 triangles" in refusal(write(tmp_path / "mesh.obj", obj))
    assert "more than 2 vertices" in refusal(write(tmp_path / "mesh.obj", obj), max_vertices=2)
    assert "64 bits" in refusal(write(tmp_path / "mesh.obj", obj + f"f 1 2 {2**70}\n"))
    assert "no such file" in refusal(tmp_path / "absent.ply")
    assert "cannot be read" in refusal(tmp_path)


def test_vertex_groups_keep_their_order_and_name_what_is_wrong(tmp_path, fixtures_dir):
    path = write(tmp_path / "keypoints.json", json.dumps({"2": [3, 1], "10": [0], "1": [2]}))
    assert list(read_vertex_groups(path, 4).items()) == [("2", [3, 1]), ("10", [0]), ("1", [2])]
    with pytest.raises(InputError) as caught:
        read_vertex_groups(fixtures_dir / "hostile" / "keypoints_out_of_range.json", 8)
    assert "'2' has 1000000, '3' has -2, '4' is empty; want vertex indices from 0 to 7" in str(caught.value)
    with pytest.raises(InputError, match="JSON"):
        read_vertex_groups(fixtures_dir / "hostile" / "keypoints_truncated.json", 8)
    for content in ("[1]", '{"1": 3}', '{"1": [1.5]}', '{"1": [true]}', '{"1": ["0"]}'):
        with pytest.raises(InputError, match=r"got a list|whole numbers"):
            read_vertex_groups(write(path, content), 8)


def test_indices_of_a_float_type_are_refused(tmp_path):
    path = tmp_path / "a.ply"
    header = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    faces = "element face 1\nproperty list uchar float vertex_indices\nend_header\n"
    path.write_text(header + faces + "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    with pytest.raises(InputError, match="integer type"):
        read_mesh(path)
