import pickle
import sys
import types

import numpy as np
import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from smplx_class import by_class

from wildhoi.body import BodyModel, convert_body, load_body, open_body
from wildhoi.body.layout import joint_names
from wildhoi.body.parts import MIDDLE, SIDED, vertex_normals
from wildhoi.body.reading import read_arrays
from wildhoi.errors import InputError, MissingAssetError
from wildhoi.files import sha256_file

SHA256 = "a72b4ec984741dea68fb0b82163c79c75b382b9cc56daa80689d4ed2e040a844"
N_SMPLH = 6890


@pytest.fixture(scope="module")
def body():
    return load_body("open")


@pytest.fixture(scope="module")
def open_arrays():
    return open_body.expand(read_arrays(open_body.PATH))


@pytest.fixture(scope="module")
def smplh_arrays(open_arrays):
    """A made-up SMPL-H file: vertices and joints of the open body without jaw and eyes; faces among those left."""
    joints = [i for i, name in enumerate(joint_names("smplx")) if name in joint_names("smplh")]
    keep = np.linspace(0, len(open_arrays["v_template"]) - 1, N_SMPLH).astype(int)
    weights = open_arrays["weights"][keep][:, joints] + 1e-6
    regressor = open_arrays["J_regressor"][joints][:, keep] + 1e-9
    place = {old: new for new, old in enumerate(joints)}
    parents = [place.get(int(p), 15 if p >= 22 else 0) for p in open_arrays["kintree_table"][0, joints]]
    parents[0] = 2**32 - 1
    return {
        "v_template": open_arrays["v_template"][keep],
        "shapedirs": np.concatenate([open_arrays["shapedirs"][keep]] * 2, axis=2)[:, :, :16],
        "posedirs": np.eye(3, 459, dtype=np.float16) * np.linspace(0, 1e-3, N_SMPLH, dtype=np.float16)[:, None, None],
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([parents, range(52)], np.uint32),
        "f": np.stack([np.arange(N_SMPLH - 2), np.arange(1, N_SMPLH - 1), np.arange(2, N_SMPLH)], 1).astype(np.uint32),
        "hands_meanl": np.full(45, 0.1),
        "hands_meanr": np.full(45, -0.1),
    }


@pytest.fixture(scope="module")
def licensed(tmp_path_factory, open_arrays, smplh_arrays):
    """A folder of made-up files under the licensed names, each in another accepted place."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "smplh" / "female").mkdir(parents=True)
    extra = np.array({"a": 1}, dtype=object)  # the real files hold such entries too
    np.savez(folder / "smplh" / "SMPLH_male.npz", **smplh_arrays)
    np.savez(folder / "smplh" / "female" / "model.npz", part2num=extra, **smplh_arrays)
    np.savez(folder / "SMPLX_NEUTRAL.npz", **open_arrays)
    return folder


def random_pose(batch, sigma=0.35, seed=0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    sizes = ((10,), (21, 3), (15, 3), (15, 3))
    scales = (1.0, sigma, sigma, sigma)
    return [
        (scale * torch.randn(batch, *size, generator=draw, dtype=torch.float64)).to(dtype)
        for size, scale in zip(sizes, scales, strict=True)
    ]


def at_rest(batch=1):
    return [torch.zeros(batch, *size, dtype=torch.float64) for size in ((10,), (21, 3), (15, 3), (15, 3))]


def slow_joints(model, betas, body_pose, left, right):
    """Forward kinematics one joint at a time, one body at a time, on the open arrays."""
    arrays = open_body.expand(read_arrays(open_body.PATH))
    shaped = arrays["v_template"] + arrays["shapedirs"][:, :, :10] @ betas.numpy()
    rest = arrays["J_regressor"] @ shaped
    hands = np.concatenate([left.numpy(), right.numpy()])
    if not model.flat_hand_mean:
        hands = hands + np.concatenate([arrays["hands_meanl"], arrays["hands_meanr"]]).reshape(-1, 3)
    pose = np.concatenate([np.zeros((1, 3)), body_pose.numpy(), np.zeros((3, 3)), hands])
    rotations = roma.rotvec_to_rotmat(torch.from_numpy(pose)).numpy()
    position = rest.copy()
    for j, parent in enumerate(model.parents):
        if parent >= 0:
            position[j] = position[parent] + rotations[parent] @ (rest[j] - rest[parent])
            rotations[j] = rotations[parent] @ rotations[j]
    return position - position[0]


def test_open_body_has_the_layout_of_smplx(body):
    assert (body.n_vertices, body.n_joints, body.kind, body.gender) == (10475, 55, "open", "neutral")
    assert body.faces.max() == 10474 and len(np.unique(body.faces)) == 10475
    _, faces_per_edge = np.unique(
        np.sort(body.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1), axis=0, return_counts=True
    )
    assert (faces_per_edge == 2).all()


def test_shipped_file_is_the_recorded_build(body):
    assert body.sha256 == sha256_file(open_body.PATH) == SHA256
    assert open_body.PATH.stat().st_size < 1.5e6


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_surface_and_joints_equal_the_smplx_class(dtype, tolerance):
    body = load_body("open", dtype=dtype)
    pose = random_pose(8, dtype=dtype)
    vertices, joints = by_class(body, *pose)
    surface = body.surface(*pose)
    torch.testing.assert_close(surface.vertices, vertices, atol=tolerance, rtol=0)
    torch.testing.assert_close(surface.joints, joints, atol=tolerance, rtol=0)
    torch.testing.assert_close(body.joints(*pose), joints, atol=tolerance, rtol=0)


def test_joints_equal_slow_kinematics(body):
    pose = random_pose(3, seed=1)
    fast = body.joints(*pose).numpy()
    for i in range(3):
        np.testing.assert_allclose(fast[i], slow_joints(body, *(p[i] for p in pose)), atol=1e-7)


def test_flat_zero_pose_is_the_template(open_arrays):
    body = load_body("open", flat_hand_mean=True)
    rest = open_arrays["J_regressor"] @ open_arrays["v_template"]
    surface = body.surface(*at_rest())
    np.testing.assert_allclose(body.joints(*at_rest())[0], rest - rest[0], atol=1e-7)
    np.testing.assert_allclose(surface.vertices[0], open_arrays["v_template"] - rest[0], atol=1e-7)


def test_mean_hand_is_added_unless_flat(body):
    flat = load_body("open", flat_hand_mean=True)
    betas, pose, left, right = random_pose(2)
    mean_left, mean_right = torch.from_numpy(read_arrays(open_body.PATH)["hand_mean"]).reshape(2, 15, 3)
    full = flat.surface(betas, pose, left + mean_left, right + mean_right).vertices
    assert torch.allclose(body.surface(betas, pose, left, right).vertices, full, atol=1e-7)
    assert (body.surface(*at_rest()).vertices - flat.surface(*at_rest()).vertices).abs().max() > 0.02


def test_batch_equals_single(body):
    pose = random_pose(5, seed=2)
    whole = body.surface(*pose)
    joints = body.joints(*pose)
    for i in (0, 4):
        single = [p[i : i + 1] for p in pose]
        assert torch.allclose(body.surface(*single).vertices[0], whole.vertices[i], atol=1e-12)
        assert torch.allclose(body.joints(*single)[0], joints[i], atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_bones_keep_their_lengths(seed):
    body = load_body("open")
    pose = random_pose(2, sigma=1.0, seed=seed)
    still = body.joints(pose[0], *at_rest(2)[1:])
    moved = body.joints(*pose)
    above = body.parents[1:]
    lengths = [(j[:, 1:] - j[:, above]).norm(dim=2) for j in (still, moved)]
    assert torch.allclose(*lengths, atol=1e-7)


def test_joint_rotations_compose_down_the_tree(body):
    betas, pose, left, right = random_pose(2, seed=3)
    rotations = body.joint_transforms(betas, pose, left, right).rotations
    elbow, shoulder = body.joint_names.index("left_elbow"), body.joint_names.index("left_shoulder")
    local = roma.rotvec_to_rotmat(pose[:, elbow - 1])
    assert torch.allclose(rotations[:, elbow], rotations[:, shoulder] @ local, atol=1e-7)
    assert torch.allclose(rotations @ rotations.mT, torch.eye(3, dtype=torch.float64), atol=1e-7)
    assert torch.allclose(rotations[:, 0], torch.eye(3, dtype=torch.float64), atol=1e-7)


def test_joints_gradient(body):
    pose = [p.requires_grad_() for p in random_pose(1, seed=4)]
    wanted = torch.randn(1, 55, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *p: (body.joints(*p) * wanted).sum(), pose, eps=1e-6, atol=1e-5)


def test_gradients_are_finite_at_rest_and_equal_smplx(body):
    gradients = []
    for function in (body.joints, lambda *p: by_class(body, *p)[1]):
        pose = [p.requires_grad_() for p in at_rest()]
        function(*pose)[:, :, 1].square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in pose]))
    assert gradients[0].isfinite().all() and gradients[0].abs().max() > 0
    assert torch.allclose(*gradients, atol=1e-6)


def test_single_precision_is_close_to_double(body):
    single = load_body("open", dtype=torch.float32)
    exact, rounded = random_pose(4), random_pose(4, dtype=torch.float32)
    assert single.joints(*rounded).dtype == torch.float32
    assert torch.allclose(single.joints(*rounded).double(), body.joints(*exact), atol=1e-5)
    assert torch.allclose(single.surface(*rounded).vertices.double(), body.surface(*exact).vertices, atol=1e-5)


def test_pelvis_depends_on_betas_alone(body, open_arrays):
    betas = random_pose(3)[0]
    shaped = open_arrays["v_template"] + np.einsum("vcs,bs->bvc", open_arrays["shapedirs"][:, :, :10], betas.numpy())
    np.testing.assert_allclose(body.pelvis(betas), shaped.transpose(0, 2, 1) @ open_arrays["J_regressor"][0], atol=1e-7)


def test_no_edge_stretches_far(body):
    """Posed over rest length, every edge, 200 random bodies and poses."""
    edges = np.unique(np.sort(body.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1), axis=0)
    draw = np.random.default_rng(11)
    single = load_body("open", dtype=torch.float32)
    flat = load_body("open", dtype=torch.float32, flat_hand_mean=True)
    worst = 0.0
    for _ in range(10):
        betas = torch.tensor(draw.normal(size=(20, 10)), dtype=torch.float32)
        pose = torch.tensor(0.35 * draw.normal(size=(20, 21, 3)), dtype=torch.float32)
        hands = torch.zeros(20, 15, 3)
        posed = single.surface(betas, pose, hands, hands).vertices
        rest = flat.surface(betas, torch.zeros_like(pose), hands, hands).vertices
        lengths = [(v[:, edges[:, 0]] - v[:, edges[:, 1]]).norm(dim=2) for v in (posed, rest)]
        worst = max(worst, float((lengths[0] / lengths[1]).max()))
    assert worst <= 2.5


def test_every_beta_and_expression_moves_the_body(open_arrays):
    moved = np.linalg.norm(open_arrays["shapedirs"], axis=1)
    assert (moved.max(0) > 0.002).all()
    assert (np.sqrt((moved[:, :10] ** 2).mean(0)) > 0.0025).all()


def test_body_is_mirror_symmetric(body, open_arrays):
    joints = dict(zip(body.joint_names, open_arrays["J_regressor"] @ open_arrays["v_template"], strict=True))
    for name, place in joints.items():
        if name.startswith("left_"):
            mirrored = joints[name.replace("left", "right")] * [-1, 1, 1]
            np.testing.assert_allclose(place, mirrored, atol=0.006, err_msg=name)


class TestParts:
    def test_all_are_there_and_sides_are_disjoint_mirrors(self, body, open_arrays):
        vertices = open_arrays["v_template"]
        assert all(len(body.parts[name]) > 10 for name in MIDDLE)
        for plural, (singular, _) in SIDED.items():
            left, right = (body.parts[f"{side}_{singular}"] for side in ("left", "right"))
            assert len(left) > 10 and len(right) > 10 and not set(left) & set(right), singular
            assert set(body.parts[plural]) == set(left) | set(right)
            np.testing.assert_allclose(vertices[left].mean(0), vertices[right].mean(0) * [-1, 1, 1], atol=0.02)
            assert vertices[left, 0].mean() > 0.03

    def test_they_lie_where_their_names_say(self, body, open_arrays):
        vertices, parts = open_arrays["v_template"], body.parts
        joint = dict(zip(body.joint_names, open_arrays["J_regressor"] @ vertices, strict=True))
        middle = {name: vertices[ids].mean(0) for name, ids in parts.items()}
        assert np.linalg.norm(vertices[parts["left_palm"]] - joint["left_middle1"], axis=1).max() < 0.15
        assert vertices[parts["soles"], 1].max() < vertices[:, 1].min() + 0.05
        assert middle["bottom"][1] < joint["pelvis"][1] and middle["bottom"][2] < joint["pelvis"][2]
        assert middle["back"][2] < joint["spine3"][2] < middle["chest"][2]
        assert joint["pelvis"][1] < middle["belly"][1] < middle["chest"][1] < middle["chin"][1] < middle["head"][1]
        assert middle["chin"][2] > joint["head"][2]
        assert middle["left_inner_thigh"][0] < middle["left_thigh"][0]
        assert np.linalg.norm(middle["left_shoulder"] - joint["left_shoulder"]) < 0.1
        assert np.linalg.norm(middle["left_knee"] - joint["left_knee"]) < 0.1

    def test_rules_hold_on_other_models(self, licensed):
        for kind, gender in (("smplx", "neutral"), ("smplh", "male")):
            parts = load_body(kind, gender=gender, folder=licensed).parts
            assert set(parts) == set(load_body("open").parts)
            assert all(len(parts[name]) for name in ("palms", "bottom", "head", "soles", "left_hand"))

    def test_normals_point_outwards(self, body, open_arrays):
        vertices = open_arrays["v_template"]
        normals = vertex_normals(vertices, body.faces)
        assert normals[vertices[:, 1].argmax(), 1] > 0.8 and normals[vertices[:, 2].argmin(), 2] < 0
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-9)


class TestLicensedFiles:
    def test_smplh_is_found_by_gender_and_adds_no_mean_hand(self, licensed, smplh_arrays):
        for gender in ("male", "female"):
            body = load_body("smplh", gender=gender, folder=licensed)
            assert (body.kind, body.gender, body.n_joints, body.n_vertices) == ("smplh", gender, 52, N_SMPLH)
            rest = smplh_arrays["J_regressor"] @ smplh_arrays["v_template"]
            np.testing.assert_allclose(body.joints(*at_rest())[0], rest - rest[0], atol=1e-7)
            np.testing.assert_allclose(body.pelvis(torch.zeros(1, 10, dtype=torch.float64))[0], rest[0], atol=1e-7)

    def test_smplh_with_correctives_equals_the_smplx_class(self, licensed):
        body = load_body("smplh", gender="male", folder=licensed)
        pose = random_pose(3)
        vertices, joints = by_class(body, *pose)
        assert body.module.posedirs.any()
        torch.testing.assert_close(body.surface(*pose).vertices, vertices, atol=1e-12, rtol=0)
        torch.testing.assert_close(body.joints(*pose), joints, atol=1e-12, rtol=0)

    def test_mean_hand_can_be_asked_for(self, licensed):
        relative = load_body("smplh", gender="male", folder=licensed, flat_hand_mean=False)
        full = load_body("smplh", gender="male", folder=licensed)
        betas, pose, left, right = random_pose(2)
        assert torch.allclose(
            relative.joints(betas, pose, left - 0.1, right + 0.1), full.joints(betas, pose, left, right), atol=1e-7
        )

    def test_smplx_is_found_through_the_environment(self, licensed, monkeypatch, body):
        monkeypatch.setenv("WILDHOI_BODY_MODELS", str(licensed))
        pose = random_pose(2)
        assert torch.equal(load_body("smplx").joints(*pose), body.joints(*pose))
        assert load_body("smplx").sha256 == sha256_file(licensed / "SMPLX_NEUTRAL.npz") != body.sha256

    def test_full_shape_space_takes_the_first_ten_betas_and_expressions(self, tmp_path, open_arrays, body):
        wide = np.zeros((10475, 3, 400), np.float32)
        wide[:, :, :10], wide[:, :, 300:310] = open_arrays["shapedirs"][:, :, :10], open_arrays["shapedirs"][:, :, 10:]
        np.savez(tmp_path / "SMPLX_NEUTRAL.npz", **{**open_arrays, "shapedirs": wide})
        pose = random_pose(1)
        model = load_body("smplx", folder=tmp_path)
        assert torch.equal(model.surface(*pose).vertices, body.surface(*pose).vertices)

    def test_loading_is_silent_and_cached(self, licensed, capfd):
        first = load_body("smplh", gender="female", folder=licensed, dtype=torch.float32)
        assert first is load_body("smplh", gender="female", folder=licensed, dtype=torch.float32)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("kind, site", [("smplx", "smpl-x.is.tue"), ("smplh", "mano.is.tue")])
    def test_absent_file_says_where_to_get_it(self, kind, site, tmp_path, monkeypatch):
        monkeypatch.delenv("WILDHOI_BODY_MODELS", raising=False)
        for folder, where in ((tmp_path, str(tmp_path)), (tmp_path / "none", "none"), (None, "WILDHOI_BODY_MODELS")):
            with pytest.raises(MissingAssetError) as caught:
                load_body(kind, gender="male", folder=folder)
            message = str(caught.value)
            assert all(p in message for p in (site, where, f"{kind.upper()}_MALE.npz", "--body open"))
            assert "\n" not in message

    def test_unknown_kind_or_gender(self):
        for arguments in ({"kind": "smpl"}, {"kind": "smplx", "gender": "child"}):
            with pytest.raises(InputError, match="is unknown, wanted"):
                load_body(**arguments)


def _without(arrays, key):
    return {k: v for k, v in arrays.items() if k != key}


DAMAGE = {
    "absent": ("J_regressor", lambda a: _without(a, "J_regressor")),
    "other joints": ("weights", lambda a: a | {"weights": a["weights"][:, :24]}),
    "other vertices": ("shapedirs", lambda a: a | {"shapedirs": a["shapedirs"][:-1]}),
    "few shapes": ("shapedirs", lambda a: a | {"shapedirs": a["shapedirs"][:, :, :8]}),
    "nan": ("v_template", lambda a: a | {"v_template": np.full_like(a["v_template"], np.nan)}),
    "pickled": ("weights", lambda a: a | {"weights": a["weights"][:2].astype(object)}),
    "text": ("hands_meanl", lambda a: a | {"hands_meanl": np.full(45, "x")}),
    "face range": ("f", lambda a: a | {"f": a["f"] + 10}),
    "parents": ("kintree_table", lambda a: a | {"kintree_table": a["kintree_table"][:, ::-1]}),
    "unnormalised": ("weights", lambda a: a | {"weights": 2 * a["weights"]}),
}


class TestDamagedFiles:
    @pytest.mark.parametrize("damage", DAMAGE)
    def test_array_is_named(self, damage, tmp_path, smplh_arrays):
        key, change = DAMAGE[damage]
        path = tmp_path / "SMPLH_MALE.npz"
        np.savez(path, **change(smplh_arrays))
        with pytest.raises(InputError) as caught:
            load_body("smplh", gender="male", folder=tmp_path)
        assert str(path) in str(caught.value) and f"`{key}`" in str(caught.value) and "\n" not in str(caught.value)

    def test_small_mesh(self, tmp_path, smplh_arrays):
        small = dict(smplh_arrays)
        for key in ("v_template", "shapedirs", "posedirs", "weights"):
            small[key] = small[key][:100]
        small["J_regressor"], small["f"] = small["J_regressor"][:, :100], small["f"][:10]
        np.savez(tmp_path / "SMPLH_MALE.npz", **small)
        with pytest.raises(InputError, match="100 vertices, wanted at least 6788"):
            load_body("smplh", gender="male", folder=tmp_path)

    @pytest.mark.parametrize("content", [b"", b"not a zip", "truncated", "bits"])
    def test_broken_file(self, content, tmp_path, smplh_arrays):
        path = tmp_path / "SMPLH_MALE.npz"
        np.savez_compressed(path, **_without(smplh_arrays, "posedirs"), posedirs=np.zeros((N_SMPLH, 3, 459)))
        whole = bytearray(path.read_bytes())
        if content == "truncated":
            content = bytes(whole[: len(whole) // 2])
        elif content == "bits":
            whole[2000:4000] = bytes(2000)
            content = bytes(whole)
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            load_body("smplh", gender="male", folder=tmp_path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def chumpy(monkeypatch):
    """Modules that pickle as chumpy does, gone again after the test."""
    modules = {name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    for module, name in (("chumpy.ch", "Ch"), ("chumpy.reordering", "Select")):
        made = type(name, (), {"__module__": module, "__init__": lambda self, x=None: setattr(self, "x", x)})
        setattr(modules[module], name, made)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return types.SimpleNamespace(Ch=modules["chumpy.ch"].Ch, Select=modules["chumpy.reordering"].Select)


class TestConversion:
    @pytest.mark.parametrize(
        "protocol, layout", [(0, sparse.csc_matrix), (1, sparse.csc_matrix), (2, sparse.csr_matrix)]
    )
    def test_published_pickle(self, chumpy, tmp_path, smplh_arrays, protocol, layout):
        small = smplh_arrays
        stored = small | {"J_regressor": layout(small["J_regressor"]), "bs_type": "lrotmin"}
        stored |= {key: chumpy.Ch(small[key]) for key in ("v_template", "shapedirs", "posedirs")}
        source, destination = tmp_path / "SMPLH_male.pkl", tmp_path / "out" / "SMPLH_MALE.npz"
        source.write_bytes(pickle.dumps(stored, protocol=protocol))
        assert convert_body(source, destination) == destination
        for key, array in read_arrays(destination).items():
            np.testing.assert_array_equal(array, small[key], err_msg=key)
        assert load_body("smplh", gender="male", folder=destination.parent).n_vertices == N_SMPLH

    def test_pickle_is_read_where_no_npz_is(self, chumpy, tmp_path, smplh_arrays):
        source = tmp_path / "SMPLH_MALE.pkl"
        source.write_bytes(
            pickle.dumps(smplh_arrays | {"v_template": chumpy.Ch(smplh_arrays["v_template"])}, protocol=2)
        )
        assert load_body("smplh", gender="male", folder=tmp_path).sha256 == sha256_file(source)

    def test_other_chumpy_classes_are_named(self, chumpy, tmp_path, smplh_arrays):
        source = tmp_path / "a.pkl"
        source.write_bytes(pickle.dumps(smplh_arrays | {"v_template": chumpy.Select(1)}, protocol=2))
        with pytest.raises(InputError, match=r"chumpy\.reordering\.Select"):
            convert_body(source, tmp_path / "a.npz")
        assert not (tmp_path / "a.npz").exists()

    def test_sparse_indices_out_of_range(self, tmp_path, smplh_arrays):
        matrix = sparse.csc_matrix(smplh_arrays["J_regressor"])
        matrix.indices[0] = 10**6
        source = tmp_path / "a.pkl"
        source.write_bytes(pickle.dumps(smplh_arrays | {"J_regressor": matrix}, protocol=2))
        with pytest.raises(InputError, match="J_regressor"):
            convert_body(source, tmp_path / "a.npz")

    @pytest.mark.parametrize("content", [[1, 2], {"v_template": [1.0]}, {"v_template": np.zeros((3, 3))}])
    def test_other_content(self, tmp_path, content):
        source = tmp_path / "a.pkl"
        source.write_bytes(pickle.dumps(content, protocol=2))
        with pytest.raises(InputError, match=r"a\.pkl"):
            convert_body(source, tmp_path / "a.npz")


def test_model_keeps_no_gradient_of_its_own(body):
    assert isinstance(body, BodyModel)
    assert not body.surface(*at_rest()).vertices.requires_grad
