"""A trained prior as a folder: what comes back, and one clear error for whatever is damaged, foreign or hostile."""

import json
import resource
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fit_scenes import samples_of
from tiny_priors import BLIND, FACTS, mean_maps, template, tiny_prior, write_tiny

from baselines.prior_files import (
    CONFIG,
    CONTACT,
    WEIGHTS,
    category_digest,
    find_priors,
    read_prior,
    read_tensors,
    write_prior,
    write_tensors,
)
from wildhoi.errors import InputError, MissingAssetError, WildhoiError
from wildhoi.files import sha256_file
from wildhoi.objects import find_category

NAME, OTHER = "skateboard", "barbell"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder of a prior."""
    return write_tiny(tmp_path_factory.mktemp("priors"), NAME)


@pytest.fixture
def folder(written, tmp_path):
    """A copy of it to spoil."""
    return shutil.copytree(written, tmp_path / NAME)


def read(folder):
    return read_prior(folder, template(NAME))


def configure(folder, change):
    """Change the configuration as a hand would."""
    content = json.loads((folder / CONFIG).read_text())
    change(content)
    (folder / CONFIG).write_text(json.dumps(content))


def retensor(folder, change):
    """Change the weights and give the configuration their hash."""
    tensors = read_tensors(folder / WEIGHTS)
    change(tensors)
    write_tensors(folder / WEIGHTS, tensors)
    configure(folder, lambda content: content.update(weights=sha256_file(folder / WEIGHTS)))


def scenes(dtype=torch.float32):
    rng = np.random.default_rng(0)
    points, cameras = 0.5 * rng.normal(size=(2, 30, 3)), 20 * rng.normal(size=(2, 3, 3))
    return torch.from_numpy(points).to(dtype), torch.from_numpy(cameras).to(dtype)


def scores(prior):
    context = torch.linspace(-1, 1, 2 * prior.encoder.context).view(2, -1)
    return prior.score(*scenes(), context)


# -- there and back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [{}, {"encoder": BLIND}, {"supervision": "3d"}, {"space": "rays"}], ids=str)
def test_what_is_written_is_read(tmp_path, kind):
    wanted, maps = tiny_prior(NAME, **kind), mean_maps(NAME)
    write_prior(tmp_path / "a", wanted, template(NAME), FACTS, maps)
    found = read(tmp_path / "a")
    assert found.prior.config == wanted.config and found.facts["trained"] == FACTS["trained"]
    assert found.facts["weights"] == sha256_file(tmp_path / "a" / WEIGHTS)
    for key, tensor in wanted.state_dict().items():
        assert torch.equal(found.prior.state_dict()[key], tensor), key
    if kind.get("supervision") != "3d":
        assert torch.equal(scores(found.prior), scores(wanted))
    for side, mean in maps.items():
        np.testing.assert_allclose(found.contact[side], mean, atol=1e-6)
    assert not found.prior.training and not any(w.requires_grad for w in found.prior.parameters())
    pictures = torch.randint(0, 256, (2, 5, 16, 16), dtype=torch.uint8)
    assert torch.equal(found.prior.context(pictures), wanted.context(pictures))


def test_what_is_written_twice_is_the_same_to_the_last_bit(tmp_path, written):
    again = write_tiny(tmp_path, NAME)
    for name in (CONFIG, WEIGHTS):
        assert (again / name).read_bytes() == (written / name).read_bytes()


def test_16_bits_are_half_as_large_and_nearly_the_same(tmp_path):
    whole = tiny_prior(NAME)
    write_prior(tmp_path / "half", whole, template(NAME), FACTS, half=True)
    write_prior(tmp_path / "whole", whole, template(NAME), FACTS)
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]
    prior = read(tmp_path / "half").prior
    assert {weights.dtype for weights in prior.parameters()} == {torch.float32}
    torch.testing.assert_close(scores(prior), scores(whole), rtol=0.02, atol=0.02)
    assert read(tmp_path / "half").contact is None


def test_a_prior_written_over_another_leaves_nothing_of_it(tmp_path):
    """What is not written again is not that of the prior before."""
    write_tiny(tmp_path, NAME)
    write_tiny(tmp_path, NAME, contact=False, seed=1)
    assert read(tmp_path).contact is None


def test_a_folder_of_priors_has_each_under_its_objects_name(written):
    assert torch.equal(scores(read(written.parent).prior), scores(read(written).prior))
    with pytest.raises(MissingAssetError, match=f"no prior of {OTHER} .it has {NAME}.*train flow-prior.*{OTHER}"):
        read_prior(written.parent, template(OTHER))
    with pytest.raises(MissingAssetError, match="there is no such folder"):
        read(written.parent / "nowhere")


def test_a_name_is_a_folder_or_one_of_a_known_place(written, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WILDHOI_CHECKPOINTS", raising=False)
    assert find_priors(str(written)) == written.resolve()
    with pytest.raises(MissingAssetError, match=f"checkpoint {NAME}: no such folder, and none of this name ships"):
        find_priors(NAME)
    monkeypatch.setenv("WILDHOI_CHECKPOINTS", str(written.parent))
    assert find_priors(NAME) == written.resolve()
    with pytest.raises(MissingAssetError):
        find_priors("nowhere")


# -- of another object, table or template ------------------------------------------------------------------------------


def test_a_prior_of_another_object_is_refused(written):
    with pytest.raises(InputError, match=f"a prior of '{NAME}', want one of '{OTHER}'"):
        read_prior(written, template(OTHER))


CHANGES = {"keypoint_flip": (0, 1, 2, 3, 4, 5, 6, 7), "mirrored_images": False, "meshes": ("other.ply",)}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_category_table_is_refused(written, name):
    changed = replace(template(NAME), category=replace(find_category(NAME), **{name: CHANGES[name]}))
    with pytest.raises(InputError, match=f"the category table has changed {NAME} since this prior was trained"):
        read_prior(written, changed)


def test_what_a_prior_does_not_depend_on_may_change():
    category = find_category(NAME)
    for name, value in (("contact", {}), ("interactions", {}), ("behave", None), ("wildhoi", None)):
        assert category_digest(replace(category, **{name: value})) == category_digest(category), name
    jointed = find_category("bicycle")
    assert category_digest(replace(jointed, joint=None)) != category_digest(jointed)


def test_another_template_is_refused(written):
    with pytest.raises(InputError, match=f"trained with another template of {NAME}"):
        read_prior(written, replace(template(NAME), sha256="0" * 64))


# -- damaged and hostile -----------------------------------------------------------------------------------------------

NAN = float("nan")
CONFIGS = {
    "NaN": (lambda c: c["prior"].update(noise=NAN), "noise: got nan, want a number"),
    "a text": (lambda c: c["prior"].update(noise="0.1"), "noise: got '0.1', want a number"),
    "a flag": (lambda c: c["prior"]["flow"].update(depth=True), "depth: got True, want a whole number"),
    "a share": (lambda c: c["prior"]["flow"].update(depth=2.0), "depth: got 2.0, want a whole number"),
    "no depth": (lambda c: c["prior"]["flow"].update(depth=0), "depth is 0, want at least 1"),
    "huge depth": (lambda c: c["prior"]["flow"].update(depth=10**9), "depth: got 1000000000, want"),
    "great depth": (lambda c: c["prior"]["flow"].update(depth=60_000), "depth: got 60000, want"),
    "great width": (lambda c: c["prior"]["flow"].update(width=60_000), "do not suit the configuration"),
    "many blocks": (lambda c: c["prior"]["flow"].update(blocks=60_000), "blocks: got 60000, want"),
    "great shift": (lambda c: c["prior"]["flow"].update(shift=60_000), "do not suit the configuration"),
    "great context": (lambda c: c["prior"]["encoder"].update(context=60_000), "do not suit the configuration"),
    "great picture": (lambda c: c["prior"]["encoder"].update(size=60_000), "size: got 60000, want"),
    "other space": (lambda c: c["prior"].update(space="miles"), "space: got 'miles', want metres or rays"),
    "a list": (lambda c: c["prior"].update(supervision=["2d"]), r"supervision: got \['2d'\], want 2d or 3d"),
    "other supervision": (lambda c: c["prior"].update(supervision="3d"), "do not suit the configuration"),
    "one keypoint more": (lambda c: c["prior"].update(keypoints=31), "keypoints: got 31, want the 30"),
    "no keypoints": (lambda c: c["prior"].pop("keypoints"), "keypoints is absent"),
    "something more": (lambda c: c["prior"].update(more=1), "'more': unknown, want of object, keypoints"),
    "no prior": (lambda c: c.pop("prior"), "got None, want a table of settings"),
    "a list of priors": (lambda c: c.update(prior=[]), r"got \[\], want a table of settings"),
    "other format": (lambda c: c.update(format=2), "not the configuration of a prior of format 1"),
    "no hash": (lambda c: c.pop("weights"), "not the weights that config.json names"),
    "other hash": (lambda c: c.update(weights="0" * 64), "not the weights that config.json names"),
    "no category": (lambda c: c.pop("category"), "the category table has changed"),
    "an architecture of nothing": (lambda c: c.update(architecture=[1]), "architecture: got list, want a table"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_that_makes_no_sense_is_refused(folder, name):
    change, words = CONFIGS[name]
    configure(folder, change)
    with pytest.raises(InputError, match=words) as caught:
        read(folder)
    assert str(folder) in str(caught.value), "a message says of which file it speaks"
    assert len(str(caught.value).splitlines()) == 1


GREEDY = {
    "wide": {"model_type": "resnet", "depths": [1, 1, 1, 1], "hidden_sizes": [60_000] * 4},
    "deep": {"model_type": "resnet", "depths": [10**6] * 4, "hidden_sizes": [8] * 4},
    "deep in one, less than nothing in another": {
        "model_type": "resnet",
        "depths": [10**6, -(10**6)],
        "hidden_sizes": [8, 8],
    },
    "deep by another name": {"model_type": "vit", "num_hidden_layers": 10**6, "hidden_size": 8, "image_size": 16},
}
LIMITED = """
import resource, sys
sys.path[:0] = {path!r}
from pathlib import Path
from baselines.prior_files import read_prior
from tiny_priors import template
from wildhoi.errors import InputError
template = template({name!r})
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
for folder in {folders!r}:
    try:
        read_prior(Path(folder), template)
    except InputError as error:
        print(error)
"""


def test_a_backbone_cannot_ask_for_more_than_the_file_holds(written, tmp_path):
    """In a process that may have 4 GiB and half a minute."""
    folders = [str(shutil.copytree(written, tmp_path / str(number))) for number in range(len(GREEDY))]
    for folder, greedy in zip(folders, GREEDY.values(), strict=True):
        configure(
            Path(folder),
            lambda c, own=greedy: (c["prior"]["encoder"].update(name="resnet"), c.update(architecture=own)),
        )
    code = LIMITED.format(path=sys.path, name=NAME, folders=folders)
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30,) * 2),
    )  # fmt: skip
    told = dict(zip(GREEDY, ended.stdout.splitlines(), strict=False))
    assert ended.returncode == 0 and len(told) == len(GREEDY), ended
    assert not [name for name, line in told.items() if "allocate" in line], told


FILES = {
    "an empty list": b"[]",
    "not JSON": b"{",
    "not text": b"\xff\xfe\x00",
    "endless brackets": b"[" * 100_000,
    "nothing": b"",
    "a megabyte and more": b" " * (2**20 + 1),
}


@pytest.mark.parametrize("name", FILES)
def test_a_configuration_that_is_none_is_refused(folder, name):
    (folder / CONFIG).write_bytes(FILES[name])
    with pytest.raises(InputError, match=CONFIG):
        read(folder)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


def become(path, kind):
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("/nowhere")


WEIGHT_FILES = {
    "absent": (lambda path: path.unlink(), MissingAssetError, "is not there"),
    "a link to nothing": (lambda path: become(path, "link"), MissingAssetError, "is not there"),
    "a folder": (lambda path: become(path, "folder"), InputError, "damaged, or no safetensors file"),
    "empty": (lambda path: path.write_bytes(b""), InputError, "damaged, or no safetensors file"),
    "garbage": (lambda path: path.write_bytes(b"\xff" * 999), InputError, "damaged, or no safetensors file"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-99]), InputError, "damaged, or no safetensors file"),
    "one bit off": (flip, InputError, "not the weights that config.json names"),
}


@pytest.mark.parametrize("name", WEIGHT_FILES)
def test_weights_that_are_damaged_are_refused(folder, name):
    spoil, error, words = WEIGHT_FILES[name]
    spoil(folder / WEIGHTS)
    with pytest.raises(error, match=words) as caught:
        read(folder)
    assert str(folder / WEIGHTS) in str(caught.value)


BIAS, ORDER = "flow.last.bias", "flow.steps.0.linear.order"
TENSORS = {
    "NaN": (lambda t: t.update({BIAS: t[BIAS] * NAN}), "not finite"),
    "infinite to 32 bits": (lambda t: t.update({BIAS: t[BIAS].double() * 0 + 1e300}), "not finite"),
    "one absent": (lambda t: t.pop(BIAS), f"{BIAS} absent"),
    "one more": (lambda t: t.update(more=torch.zeros(3)), r"more \(3,\), want none"),
    "another shape": (lambda t: t.update({BIAS: t[BIAS][:-1]}), BIAS),
    "an order of places that are not there": (lambda t: t.update({ORDER: t[ORDER] + 10**6}), ORDER),
    "an order that takes one place for all": (lambda t: t.update({ORDER: t[ORDER] * 0}), ORDER),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_make_no_prior_are_refused(folder, name):
    """Whoever writes them can give them the right hash."""
    change, words = TENSORS[name]
    retensor(folder, change)
    with pytest.raises(InputError, match=words):
        read(folder)


# -- mean occlusion maps -----------------------------------------------------------------------------------------------


def save_maps(path, **arrays):
    with path.open("wb") as stream:
        np.savez(stream, **{"human": np.zeros(10_475), "object": np.zeros(2912), **arrays})


def bits(path, header, offset, value):
    """Change a byte of every entry of an archive."""
    content = bytearray(path.read_bytes())
    at = content.find(header)
    while at >= 0:
        content[at + offset] = value
        at = content.find(header, at + 4)
    path.write_bytes(bytes(content))


def locked(path):
    bits(path, b"PK\x01\x02", 8, 1)
    bits(path, b"PK\x03\x04", 6, 1)


def packed_otherwise(path):
    bits(path, b"PK\x01\x02", 10, 99)
    bits(path, b"PK\x03\x04", 8, 99)


def endless(path):
    """An array that says it has a million million numbers."""
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    head += b" " * (117 - len(head)) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("human", "object"):
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + b"\0" * 64)


def ragged(path):
    """A header that ends in the middle of a word."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("human", "object"):
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00\x08\x00{'descr'\x00")


MAPS = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"xx"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-99]),
    "one array": lambda path: np.save(path.open("wb"), np.zeros(3)),
    "no object": lambda path: np.savez(path.open("wb"), human=np.zeros(3)),
    "things": lambda path: save_maps(path, human=np.array([{}], object)),
    "texts": lambda path: save_maps(path, human=np.array(["a"])),
    "a number": lambda path: save_maps(path, human=np.array(1.0)),
    "NaN": lambda path: save_maps(path, human=np.full(10_475, NAN)),
    "more than all": lambda path: save_maps(path, object=np.full(2912, 1.5)),
    "another template": lambda path: save_maps(path, object=np.zeros(2911)),
    "locked": locked,
    "packed otherwise": packed_otherwise,
    "endless": endless,
    "ragged": ragged,
}


@pytest.mark.parametrize("name", MAPS)
def test_mean_maps_that_are_none_are_refused(folder, name):
    MAPS[name](folder / CONTACT)
    with pytest.raises(InputError, match=CONTACT) as caught:
        read(folder)
    assert len(str(caught.value).splitlines()) == 1


def test_mean_maps_that_are_no_file_are_told(folder):
    become(folder / CONTACT, "folder")
    with pytest.raises(InputError, match=CONTACT):
        read(folder)


@pytest.mark.parametrize("file", [CONFIG, WEIGHTS, CONTACT])
def test_flipped_bits_are_an_error_or_nothing(folder, file):
    """No damage ends in a traceback; what it does not reach is read."""
    sound, rng = (folder / file).read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(sound)
        for place in rng.integers(0, min(len(sound), 4000), rng.integers(1, 4)):
            content[place] ^= 1 << rng.integers(8)
        (folder / file).write_bytes(bytes(content))
        try:
            read(folder)
        except WildhoiError as error:
            assert len(str(error).splitlines()) == 1


def test_nothing_is_unpickled(folder):
    torch.save({"a": torch.zeros(1)}, folder / WEIGHTS)
    with pytest.raises(InputError, match="no safetensors file"):
        read(folder)
    assert samples_of(NAME) and Path(folder).is_dir()
