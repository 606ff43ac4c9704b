import io
import pickle
import pickletools
import random
import re
import struct
import time
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jaxtyping import config
from torch_pickles import TorchNames

from wildhoi.convert import pickle_opcodes, pickle_run, pickle_torch
from wildhoi.convert.pickle_arrays import Budget, Refusal
from wildhoi.convert.safe_pickle import load_pickle, loads_pickle
from wildhoi.errors import InputError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def loads(data, **options):
    return loads_pickle(data, source="test.pkl", **options)


def refusal(data, **options):
    with pytest.raises(InputError) as caught:
        loads(data, **options)
    message = str(caught.value)
    assert message.startswith("test.pkl: ") and "\n" not in message and len(message) < 600
    return message


def same(left, right):
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray | np.generic):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right or (left != left and right != right)


DTYPES = st.sampled_from(["?", "i1", "<i2", ">i4", "<i8", "u1", ">u8", "<f2", "<f4", ">f4", "<f8", "S3", "<U5"])
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
INTEGERS = st.integers(-(2**80), 2**80)
LEAVES = st.one_of(st.none(), st.booleans(), INTEGERS, st.floats(), st.text(), st.binary(max_size=300), ARRAYS)
KEYS = st.one_of(st.text(), st.integers(-(2**31), 2**31))
VALUES = st.recursive(
    LEAVES, lambda v: st.one_of(st.lists(v), st.tuples(v, v), st.dictionaries(KEYS, v), st.tuples()), max_leaves=12
)


@given(VALUES, st.sampled_from(PROTOCOLS))
@settings(max_examples=60, deadline=None)
def test_plain_data_of_every_protocol_comes_back(value, protocol):
    data = pickle.dumps(value, protocol)
    assert same(loads(data), pickle.loads(data))


@given(ARRAYS, st.sampled_from(PROTOCOLS))
@settings(max_examples=60, deadline=None)
def test_scalars_and_fortran_arrays_come_back(array, protocol):
    scalars = array.ravel()[:3] if array.dtype.kind not in "SU" else []
    value = [np.asfortranarray(array), *scalars]
    data = pickle.dumps(value, protocol)
    assert same(loads(data), pickle.loads(data))


@given(st.lists(st.one_of(ARRAYS, ARRAYS.map(np.asfortranarray)), max_size=8), st.sampled_from(PROTOCOLS))
@settings(max_examples=60, deadline=None)
def test_arrays_one_after_another_come_back(arrays, protocol):
    value = [{"id": f"{number:06d}", "array": array, "again": array} for number, array in enumerate(arrays)]
    data = pickle.dumps(value, protocol)
    read = loads(data)
    assert same(read, pickle.loads(data))
    assert all(row["array"] is row["again"] and row["array"].flags.writeable for row in read)


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes_end_in_a_value_or_one_line(data):
    try:
        loads(data)
    except InputError as error:
        assert "\n" not in str(error)


@given(VALUES, st.sampled_from(PROTOCOLS), st.data())
@settings(max_examples=100, deadline=None)
def test_any_damage_ends_in_a_value_or_one_line(value, protocol, draw):
    data = bytearray(pickle.dumps(value, protocol))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        loads(bytes(data))
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("module", ["numpy.core", "numpy._core"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_both_spellings_of_numpy_are_read(module, protocol):
    value = {"a": np.arange(6.0).reshape(2, 3), "s": np.float32(0.5)}
    data = pickle.dumps(value, protocol)
    if protocol >= 4:
        spelled = data.replace(
            b"\x8c\x16numpy._core.multiarray", b"\x8c" + bytes([len(module) + 11]) + f"{module}.multiarray".encode()
        )
        spelled = spelled.replace(
            b"\x8c\x13numpy._core.numeric", b"\x8c" + bytes([len(module) + 8]) + f"{module}.numeric".encode()
        )
        data = _without_frames(spelled)
    else:
        data = data.replace(b"numpy._core", module.encode())
    assert same(loads(data), value)


def _without_frames(data):
    return data[:2] + data[11:] if data[2] == 0x95 else data


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("run_command.pkl", "posix.system"),
        ("run_command_tail.pkl", "posix.system"),
        ("truncated.pkl", "cut short"),
        ("object_array.pkl", "object array"),
        ("deep_nesting.pkl", "too deep"),
        ("huge_array_claim.pkl", "4611686018427387904 bytes"),
        ("empty.pkl", "empty"),
    ],
)
def test_hostile_files_are_refused_by_name_and_run_nothing(fixtures_dir, tmp_path, monkeypatch, name, found):
    monkeypatch.chdir(tmp_path)
    path = fixtures_dir / "hostile" / name
    if name == "deep_nesting.pkl":
        path = tmp_path / name
        path.write_bytes(b"\x80\x04" + b"]" * 10**6 + b"a" * (10**6 - 1) + b".")
    started = time.process_time()
    with pytest.raises(InputError, match=found) as caught:
        load_pickle(path)
    assert time.process_time() - started < 5
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "pwned").exists()


def test_every_other_hostile_pickle_is_plain_data(fixtures_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = {
        "run_command",
        "run_command_tail",
        "truncated",
        "object_array",
        "deep_nesting",
        "huge_array_claim",
        "empty",
    }
    for path in sorted((fixtures_dir / "hostile").glob("*.pkl")):
        if path.stem not in refused:
            load_pickle(path)
    assert list(tmp_path.iterdir()) == []


def test_object_array_is_named_with_image_and_field(fixtures_dir):
    with pytest.raises(InputError, match=r"item \d, image_id='\d{4}_\d{3}_\d{6}', key 'obj_rel_trans'|key 'smplx"):
        load_pickle(fixtures_dir / "hostile" / "object_array.pkl")


class Calls:
    """Pickles as a call of a function of any name, which need not exist here."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def short(text):
    return b"\x8c" + bytes([len(text)]) + text.encode()


def global_call(module, name, arguments):
    return b"\x80\x04" + short(module) + short(name) + b"\x93" + arguments + b"R."


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("numpy", "load"),
        ("numpy", "ndarray.dump"),
        ("numpy.core.multiarray", "_reconstruct.__globals__"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy.f2py.diagnose", "run"),
        ("_codecs", "decode"),
        ("codecs", "encode"),
        ("copyreg", "_reconstructor"),
        ("torch.storage", "_load_from_bytes"),
        ("wildhoi.convert.safe_pickle", "load_pickle"),
    ],
)
def test_other_names_are_refused_however_they_are_spelled(module, name):
    forms = [
        global_call(module, name, short("x") + b"\x85"),
        b"c" + f"{module}\n{name}\n".encode() + b"(S'x'\ntR.",
        # the module's name out of the memo, the name after a value that is dropped
        b"\x80\x04" + short(module) + b"\x940h\x00" + short(name) + b"\x93)R.",
        b"(i" + f"{module}\n{name}\n.".encode(),
    ]
    for form in forms[:3]:
        assert f"forbidden global '{module}.{name}'" in refusal(form)
    assert "INST" in refusal(forms[3])


def test_memory_is_not_taken_on_a_claim_or_by_repetition():
    dtype = b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR"
    assert "bytes of data" in refusal(_frombuffer(b"B\x08\x00\x00\x00" + b"0" * 8, dtype, b"J\xff\xff\xff\x7f\x85"))
    arrays = (
        b"(B\x00\x00\x10\x00"
        + b"0" * 2**20
        + b"\x940"
        + b"".join(_frombuffer(b"h\x00", dtype, b"J\x00\x00\x02\x00\x85", head=b"") for _ in range(40))
    )
    assert "size limit" in refusal(b"\x80\x04" + arrays + b"l.", max_bytes=16 * 2**20)
    assert "LONG4" in refusal(b"\x8b\xff\xff\xff\x7f1.")
    assert "at most 10" in refusal(b"N" * 11 + b".", max_bytes=10)
    assert loads(b"\x80\x02Nr\xff\xff\xff\xff.") is None


def _frombuffer(data, dtype, shape, head=b"\x80\x04"):
    call = b"cnumpy._core.numeric\n_frombuffer\n(" + data + dtype + shape + b"U\x01CtR"
    return head + call + (b"." if head else b"")


def test_nested_pickles_in_object_scalars_and_object_lists_are_refused():
    inner = pickle.dumps(Calls(print, "run"), 4)
    scalar = (
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02O8K\x00K\x01tRC" + bytes([len(inner)]) + inner + b"tR."
    )
    assert "object array" in refusal(scalar)
    assert "object array" in refusal(pickle.dumps(np.array([{}, []], dtype=object)))
    state = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x01\x85"
    assert "object array" in refusal(state + b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR\x89]tb.")
    record = np.zeros(2, dtype=[("a", "f4")])
    assert "data type" in refusal(pickle.dumps(record))
    assert "data type" in refusal(pickle.dumps(np.zeros(2, "datetime64[s]")))
    assert "data type" in refusal(pickle.dumps(np.zeros(2, "c16")))


def test_flags_of_a_data_type_cannot_be_set():
    data = pickle.dumps(np.zeros(2), 2)
    assert data.count(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t") == 1
    assert "unusual state" in refusal(data.replace(b"J\xff\xff\xff\xffK\x00t", b"J\xff\xff\xff\xffK\x3ft"))


def test_structures_without_end_are_refused():
    endless = []
    endless.append(endless)
    assert "contains itself" in refusal(pickle.dumps(endless))
    pair = ([],)
    pair[0].append(pair)
    assert "contains itself" in refusal(pickle.dumps(pair))
    laughs = ["ha"]
    for _ in range(30):
        laughs = [laughs] * 10
    assert "expand" in refusal(pickle.dumps(laughs))
    assert "65 deep" in refusal(b"]" * 66 + b"a" * 65 + b".", max_depth=65)
    assert "64 deep" in refusal(b")" + b"\x85" * 4_999 + b".")
    # each list is put into the one before after that was put into its own parent
    grown = b"]q\x00" + b"".join(b"]q%ch%ch%ca00" % (i + 1, i, i + 1) for i in range(100)) + b"."
    assert "deep" in refusal(b"\x80\x02" + grown)


def test_arrays_in_the_place_of_other_arguments_are_refused():
    array = (
        b"cnumpy._core.numeric\n_frombuffer\n(C\x10"
        + b"0" * 16
        + b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tRK\x02\x85U\x01CtRq\x07"
    )
    calls = [
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nh\x07U\x01btR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85h\x07tR.",
        b"cnumpy\ndtype\n(U\x02f8h\x07h\x07tR.",
        b"cnumpy._core.numeric\n_frombuffer\n(h\x07h\x07h\x07h\x07tR.",
        b"c_codecs\nencode\n(h\x07h\x07tR.",
        b"h\x07(h\x07h\x07h\x07h\x07h\x07tb.",
        b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(h\x07U\x01<h\x07NNNNNtb.",
    ]
    for call in calls:
        assert "pickle holds" in refusal(b"\x80\x04" + array + b"0" + call)
        assert "pickle holds" in refusal(b"\x80\x04" + array + b"0" + call, torch_tensors=True)


def test_frames_and_ends_must_be_honest():
    body = b"]N" + b"a."
    assert loads(b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body) == [None]
    assert "frame" in refusal(b"\x80\x04\x95" + struct.pack("<Q", 2**60) + body)
    assert "inside an opcode" in refusal(b"\x80\x04\x95" + struct.pack("<Q", 2) + b"X\x01\x00\x00\x00a.")
    assert "frame inside" in refusal(b"\x80\x04" + (b"\x95" + struct.pack("<Q", 11)) * 2 + body)
    assert "bytes after its end" in refusal(pickle.dumps(1) + b"cposix\nsystem\n.")
    assert "protocol 9" in refusal(b"\x80\x09N.")


@pytest.mark.parametrize(
    "data", [b"a.", b"s.", b"u.", b"t.", b"e.", b"0.", b"R.", b"b.", b"\x93.", b"\x94.", b"h\x07.", b"(."]
)
def test_a_stack_that_is_too_short_is_refused(data):
    assert "pickle holds" in refusal(data)


def test_states_and_persistent_ids_for_plain_data_are_refused():
    assert "a state for a list" in refusal(b"]}b.")
    assert "persistent id" in refusal(b"U\x01xQ.")
    assert "PERSID" in refusal(b"Px\n.")
    assert "EXT1" in refusal(b"\x82\x01.")
    assert "NEXT_BUFFER" in refusal(b"\x80\x05\x97.")
    assert "bare Global" in refusal(b"cnumpy\nndarray\n.")
    assert "bare Dtype" in refusal(pickle.dumps([np.dtype("f4")]))
    assert "neither text nor a number" in refusal(pickle.dumps({(1, 2): 3}))
    assert "__builtin__.set" in refusal(pickle.dumps({1, 2}, 2))


def test_python_2_pickles_need_their_encoding():
    array = np.arange(4, dtype=np.float32) * 255.7
    raw = array.tobytes()
    data = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x04\x85"
        b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U" + bytes([len(raw)]) + raw + b"tb."
    )
    assert same(loads(data, encoding="latin1"), array)
    assert "encoding='latin1'" in refusal(data)


class Stub:
    def __init__(self, *arguments):
        self.arguments = arguments


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_extra_classes_are_made_by_the_callers_factories(protocol):
    original = Stub(3)
    original.payload = np.arange(3)
    read = loads(pickle.dumps([original], protocol), extra={(Stub.__module__, "Stub"): Stub})[0]
    assert type(read) is Stub and same(read.payload, original.payload)
    assert f"forbidden global '{Stub.__module__}.Stub'" in refusal(pickle.dumps([original], 2))
    with pytest.raises(InputError, match="forbidden"):
        loads(pickle.dumps([original, Calls(print, "x")]), extra={(Stub.__module__, "Stub"): Stub})


TENSORS = [
    torch.tensor(3.5),
    torch.arange(6, dtype=torch.float64).reshape(2, 3).T,
    torch.arange(10)[2::3],
    torch.tensor([True, False]),
    torch.zeros(0, 3),
    torch.tensor([1, 2], dtype=torch.int32),
]


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: str(tuple(t.shape)))
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_torch_tensors_come_back_as_arrays(tensor, protocol):
    data = pickle.dumps({"focal": [tensor, tensor]}, protocol)
    read = loads(data, torch_tensors=True)["focal"]
    assert all(
        same(value, tensor.numpy().copy(order="K"))
        or same(value, np.ascontiguousarray(tensor.numpy()).reshape(tensor.shape))
        for value in read
    )
    assert "forbidden global 'torch." in refusal(data)


def test_torch_storages_that_lie_are_refused():
    good = pickle.dumps(torch.tensor([1.0, 2.0]), 2)
    assert loads(good, torch_tensors=True).tolist() == [1.0, 2.0]
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(torch.tensor([1.0, 2.0]).storage(), stream, _use_new_zipfile_serialization=False)
    storage = stream.getvalue()
    for changed in (storage[:-1], storage[:40], storage + b"x", storage.replace(b"FloatStorage", b"evil_Storage"), b""):
        assert "pickle holds" in refusal(_tensor(changed, 0, 2, 1), torch_tensors=True)
    for offset, size, stride in [(1, 2, 1), (0, 3, 1), (0, 100, 0), (0, 2, 2)]:
        assert "torch tensor" in refusal(_tensor(storage, offset, size, stride), torch_tensors=True)
    hidden = pickle.dumps(Calls(print, "run"), 2)
    assert "forbidden global '__builtin__.print'" in refusal(_tensor(hidden + storage, 0, 2, 1), torch_tensors=True)


def _tensor(storage, offset, size, stride):
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(storage))
    return (
        call
        + storage
        + b"\x85R"
        + b"K%cK%c\x85K%c\x85\x89" % (offset, size, stride)
        + b"ccollections\nOrderedDict\n)RtR."
    )


def test_tracks_of_the_raw_release_agree_with_torch(fixtures_dir):
    class Trusting(TorchNames, pickle.Unpickler):
        pass

    paths = sorted((fixtures_dir / "wildhoi_raw").glob("*/smpl*/*/*_smplx.pkl"))[::8]
    assert paths
    for path in paths:
        ours = load_pickle(path, torch_tensors=True)
        theirs = Trusting(io.BytesIO(path.read_bytes())).load()
        for mine, other in zip(ours, theirs, strict=True):
            for name in ("focal", "princpt"):
                assert [float(v) for v in mine[name]] == [float(v) for v in other[name]]
                mine, other = dict(mine), dict(other)
                del mine[name], other[name]
            assert same(mine, other)


def test_pickles_of_the_fixtures_read_as_pickle_reads_it(full_fixtures_dir):
    paths = [
        p for p in sorted(full_fixtures_dir.rglob("*.pkl")) if "hostile" not in p.parts and "smpl" not in p.parts[-3]
    ]
    assert len(paths) > 250
    for path in paths[::12]:
        assert same(load_pickle(path), pickle.loads(path.read_bytes()))


def test_missing_and_unreadable_files_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_pickle(tmp_path / "absent.pkl")
    with pytest.raises(InputError, match="cannot be read"):
        load_pickle(tmp_path)


def arrays_and_tensors():
    """A short track: arrays that share their data types, scalars, and tensors."""
    return [
        {
            "id": f"{number:06d}",
            "pose": np.full((number + 1, 3), 0.5, np.float32),
            "box": np.arange(4.0),
            "mask": np.arange(300, dtype=np.uint8).reshape(2, 50, 3),
            "success": np.float64(number),
            "focal": [torch.tensor(2.5 + number), torch.arange(number, dtype=torch.int64)],
        }
        for number in range(3)
    ]


def outcome(data, **options):
    try:
        return loads(data, torch_tensors=True, **options)
    except InputError as error:
        return str(error)


@pytest.fixture
def without_checks_of_types():
    """For the tests that read thousands of pickles."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture
def outcome_step_by_step():
    """The outcome without whole calls read at once, torch files read by pattern, and limits looked at in blocks."""

    def slow(data, **options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pickle_opcodes, "read_call", lambda *_: None)
            patch.setattr(pickle_torch, "USUAL_FILE", re.compile(rb"(?!)"))
            patch.setattr(pickle_run, "BLOCK", 1)
            return outcome(data, **options)

    return slow


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_quick_forms_are_taken_and_agree_with_the_opcodes(protocol, outcome_step_by_step, monkeypatch):
    value = arrays_and_tensors()
    data = pickle.dumps(value, protocol)
    steps, wrapped = [], pickle_opcodes.read_call
    monkeypatch.setattr(pickle_opcodes, "read_call", lambda *a: steps.append(wrapped(*a)) or steps[-1])
    quick = outcome(data)
    assert isinstance(quick, list) and same(quick, outcome_step_by_step(data))
    assert [row["focal"][0].tolist() for row in quick] == [2.5, 3.5, 4.5]
    numpy_again = pickle.loads(
        pickle.dumps([{k: v for k, v in row.items() if k != "focal"} for row in value], protocol)
    )
    assert same([{k: v for k, v in row.items() if k != "focal"} for row in quick], numpy_again)
    if protocol == 4:
        assert sum(step is not None for step in steps) == 2 + 6  # data types and arrays after the first


@pytest.mark.usefixtures("without_checks_of_types")
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_cut_at_any_byte_is_refused_and_alike(protocol, outcome_step_by_step):
    data = pickle.dumps([np.zeros(2), np.ones((1, 2)), np.zeros(1, np.int8), torch.tensor(1.0)], protocol)
    if protocol >= 4:
        data = _without_frames(data)
    for end in range(1, len(data)):
        quick = outcome(data[:end])
        assert isinstance(quick, str) and quick == outcome_step_by_step(data[:end])


@pytest.mark.usefixtures("without_checks_of_types")
@pytest.mark.parametrize("seed", range(2))
def test_quick_forms_agree_with_the_opcodes_on_damage(seed, outcome_step_by_step):
    draw = random.Random(seed)
    opcodes = b"KMJhjqr\x94\x85\x86\x87RbtuesaNl()]}.\x88\x89\x93CBX\x8c\x8e\x950"
    whole = [_without_frames(pickle.dumps(arrays_and_tensors(), protocol)) for protocol in (4, 4, 5)]
    whole.append(pickle.dumps(arrays_and_tensors(), 2))
    read = 0
    for _ in range(400):
        data = bytearray(draw.choice(whole))
        for _ in range(draw.choice([1, 1, 2, 4])):
            place = draw.randrange(len(data))
            how = draw.randrange(5)
            if how == 0:
                data[place] = draw.randrange(256)
            elif how == 1:
                data[place] = draw.choice(opcodes)
            elif how == 2:
                data[place] = (data[place] + draw.choice([-1, 1])) % 256
            elif how == 3:
                del data[place]
            else:
                other = draw.randrange(len(data))
                data[place:place] = data[other : other + draw.randrange(40)]
        options = {"max_bytes": len(data) + draw.choice([0, 900, 10**6])}
        quick, slow = outcome(bytes(data), **options), outcome_step_by_step(bytes(data), **options)
        assert same(quick, slow)
        read += not isinstance(quick, str)
    assert read > 20


def test_data_types_after_the_first_are_checked_too():
    data = _without_frames(pickle.dumps([np.zeros(2, np.float32), np.zeros(2, np.int16), np.zeros(2, np.int16)], 4))
    assert data.count(b"\x02i2") == 1
    for code, found in (("f1", "data type 'f1'"), ("i3", "data type 'i3'"), ("c8", "data type 'c8'")):
        assert found in refusal(data.replace(b"\x02i2", b"\x02" + code.encode()))
    assert "unusual state" in refusal(data.replace(b"\x02i2", b"\x02i1"))


def storage_file(tensor):
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(tensor.storage(), stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def storage_outcome(read, data):
    try:
        return read(data, Budget(10**6))
    except Refusal as refusal:
        return str(refusal)


TYPES = [torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]


@pytest.mark.parametrize("dtype", [*TYPES, torch.bool], ids=str)
@pytest.mark.parametrize("count", [0, 1, 300, 70_000])
def test_storages_as_torch_writes_them_are_read_by_pattern(dtype, count, monkeypatch):
    tensor = (torch.arange(count) % 100).to(dtype)
    data = storage_file(tensor)
    slow = pickle_torch._read_any_storage(data, Budget(10**6))
    monkeypatch.setattr(pickle_torch, "_read_any_storage", None)
    assert same(pickle_torch.read_storage(data, Budget(10**6)), slow) and same(slow, tensor.numpy())


@pytest.mark.usefixtures("without_checks_of_types")
def test_any_change_of_a_storage_gives_the_same_by_pattern_and_by_opcodes():
    data = storage_file(torch.arange(3))
    changed = [data[:end] for end in range(len(data))] + [data + b"x", data + data]
    for place in range(len(data)):
        for byte in {ord("9"), (data[place] + 1) % 256, (data[place] - 1) % 256, data[place] ^ 0x80}:
            changed.append(data[:place] + bytes([byte]) + data[place + 1 :])
        changed.append(data[:place] + data[place + 1 :])
        changed.append(data[: place + 1] + data[place:])
    for other in changed:
        quick = storage_outcome(pickle_torch.read_storage, other)
        assert same(quick, storage_outcome(pickle_torch._read_any_storage, other))


@pytest.mark.usefixtures("without_checks_of_types")
@pytest.mark.parametrize("block", [1, 3, 1_000])
def test_limits_of_opcodes_and_of_the_stack_hold_to_the_last_one(block, monkeypatch):
    monkeypatch.setattr(pickle_run, "BLOCK", block)
    most = pickle_run.MAX_STACK
    assert len(loads(b"(" + b"N" * most + b"t.")) == most
    for data in (b"(" + b"N" * (most + 1) + b"t.", b"N" * (most + 1) + b"(N0" + b"0" * most + b".", b"(" * (most + 1)):
        assert "too deep or too large" in refusal(data)
    data = pickle.dumps([np.full((2, 2), number, np.float32) for number in range(1500)], 4)
    opcodes = sum(1 for _ in pickletools.genops(data)) - 1
    monkeypatch.setattr(pickle_run, "MAX_OPCODES", opcodes)
    assert len(loads(data)) == 1500
    monkeypatch.setattr(pickle_run, "MAX_OPCODES", opcodes - 1)
    assert "too deep or too large" in refusal(data)


def test_numbers_of_the_memo_may_leave_gaps():
    for data in (
        b"\x80\x04(K\x01q\x05\x94K\x02\x94K\x03q\x03h\x05h\x01h\x02h\x03t.",
        b"\x80\x04(K\x01\x94K\x02q\x00K\x03r\x00\x01\x00\x00K\x04\x94h\x00j\x00\x01\x00\x00h\x02t.",
        b"(I5\np3\nI6\np0\ng3\ng0\nt.",
        b"\x80\x04(K\x01q\x01K\x02\x94K\x03\x94h\x01t.",
    ):
        assert loads(data) == pickle.loads(data)
    assert "reference to value -1," in refusal(b"Nq\x00g-1\n.")
    assert "reference to value 1," in refusal(b"Nq\x00h\x01.")
