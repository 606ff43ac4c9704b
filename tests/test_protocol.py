from dataclasses import fields, replace

import numpy as np
import pytest

from evaluation.metrics import METRICS
from evaluation.protocol import FOLDER, Protocol, Recall, load_protocol, protocol_for, protocol_ids
from evaluation.sampling import STREAM
from wildhoi import templates
from wildhoi.errors import InputError
from wildhoi.objects import load_categories

SHIPPED = ("behave@1", "open-small@1", "open@1", "wildhoi@1")
PUBLISHED = {  # scores name these: a hash that changes makes them unofficial
    "behave@1": "9412f25b0aa1c827455c5e52aab128a756f6d909c434da20edeef0e22a2def00",
    "open@1": "f4efe9ea30324de499de81f415864bd0ab09ae54fa5e087915a3bb974006ab5e",
    "wildhoi@1": "5f53cd8553003c433dc68893d694e29533ad163fe333ba248a7ac191116e15ab",
    "open-small@1": "96642275e2340467783df93ca08d63344c55cdeba777a99d5f12ebb951a6adce",
}
FIFTIETHS = tuple(range(5, 51, 5))


def written(path, text):
    path.write_text(text)
    return path


def text_of(name="wildhoi@1"):
    return (FOLDER / f"{name}.toml").read_text()


def refused(path, *words):
    """The error of a bad file: one line that names the file and the words."""
    with pytest.raises(InputError) as caught:
        load_protocol(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (path.name, *words):
        assert word in message
    return message


# what ships


def test_the_protocols_ship_under_their_ids():
    assert sorted(protocol_ids()) == sorted(SHIPPED)
    for name in SHIPPED:
        assert load_protocol(name).id == name


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocols_obey_the_definitions(name):
    protocol = load_protocol(name)
    assert protocol.points == 10_000
    assert protocol.frame == "smpl"
    assert protocol.contact_distance == 0.05
    assert protocol.f_score_threshold == 0.01
    assert protocol.articulation == "ignored"
    assert protocol.stream == STREAM
    assert protocol.failures == "counted"
    assert 0 < protocol.surface_points <= protocol.points


@pytest.mark.parametrize(
    ("name", "alignment", "body", "sphere"),
    [
        ("wildhoi@1", "none", "smplx", "zero"),
        ("behave@1", "combined", "smplh", "excluded"),
        ("open@1", "none", "open", "excluded"),
    ],
)
def test_shipped_protocols_differ_where_the_definitions_do(name, alignment, body, sphere):
    protocol = load_protocol(name)
    assert (protocol.alignment, protocol.body_model, protocol.sphere_rotation) == (alignment, body, sphere)


def test_only_the_published_protocol_overrides_a_symmetry_and_only_the_flip_of_the_barbell():
    assert {object_: dict(entry) for object_, entry in load_protocol("wildhoi@1").symmetry.items()} == {
        "barbell": {"flip": False}
    }
    assert not load_protocol("open@1").symmetry
    assert not load_protocol("behave@1").symmetry


@pytest.mark.parametrize("name", SHIPPED)
def test_every_metric_a_protocol_names_exists(name):
    protocol = load_protocol(name)
    assert set(protocol.metrics) <= set(METRICS)
    assert set(protocol.headline) <= set(protocol.metrics)
    assert {recall.metric for recall in protocol.recalls.values()} <= set(protocol.metrics)
    assert len(set(protocol.metrics)) == len(protocol.metrics)
    assert set(protocol.symmetry) <= set(load_categories())


@pytest.mark.parametrize("name", SHIPPED)
def test_recall_thresholds_are_those_of_the_design(name):
    recalls = load_protocol(name).recalls
    assert sorted(recalls) == ["add_s", "mssd", "rotation", "translation"]
    for metric in ("translation", "rotation"):
        assert recalls[metric].thresholds == FIFTIETHS
    for metric in ("mssd", "add_s"):
        np.testing.assert_allclose(recalls[metric].thresholds, [t / 100 for t in FIFTIETHS])
        assert recalls[metric].unit == "diameter"


def test_headlines_begin_with_what_each_table_shows():
    published = ("chamfer_human", "chamfer_object", "rotation", "translation")
    assert load_protocol("wildhoi@1").headline == published
    assert load_protocol("behave@1").headline[:2] == published[:2]
    assert load_protocol("open@1").headline[:2] == ("surface_human", "surface_object")


def test_the_small_protocol_differs_from_the_whole_one_in_its_images_alone():
    small, whole = load_protocol("open-small@1"), load_protocol("open@1")
    changed = {f.name for f in fields(Protocol) if getattr(small, f.name) != getattr(whole, f.name)}
    assert changed == {"id", "title", "datasets", "images_per_object", "default"}
    assert (small.images_per_object, whole.images_per_object) == (25, 0)
    assert small.datasets == ("open",) and "25 test images of each object" in small.title


def test_a_protocol_that_is_no_default_is_found_by_its_name_alone():
    assert not load_protocol("open-small@1").default
    assert all(load_protocol(name).default for name in SHIPPED if name != "open-small@1")
    assert protocol_for("open").id == "open@1"


def test_a_data_set_finds_its_protocol():
    for dataset, name in (
        ("wildhoi", "wildhoi@1"),
        ("behave", "behave@1"),
        ("open", "open@1"),
        ("open-sample", "open@1"),
    ):
        assert protocol_for(dataset).id == name
    with pytest.raises(InputError, match="kitti"):
        protocol_for("kitti")


# the hash

CHANGED = {
    "bool": False, "str": "other", "int": 7, "float": 0.123, "tuple[str, ...]": ("other",),
}  # fmt: skip


@pytest.mark.parametrize("field", [f.name for f in fields(Protocol)])
def test_the_hash_changes_with_any_field(field):
    protocol = load_protocol("wildhoi@1")
    kind = next(str(f.type) for f in fields(Protocol) if f.name == field)
    kind = kind.removeprefix("<class '").removesuffix("'>")
    other = CHANGED.get(kind, {"basketball": {"kind": "sphere"}})
    if field == "recalls":
        other = {"translation": Recall("translation", (5.0, 10.0), "cm")}
    if field == "body_model":
        other = "smplh"
    if field == "templates":
        other = {"barbell": "0123"}
    assert replace(protocol, **{field: other}).hash != protocol.hash


def test_the_hash_is_that_of_the_content_and_not_of_its_writing(tmp_path):
    lines = text_of().split("\n[", 1)
    head = [line for line in lines[0].splitlines() if line.strip()]
    # entries of the head in any order: those that span lines are kept together
    entries, current = [], []
    for line in head:
        if current and "=" in line.split("#")[0] and not line.startswith(" "):
            entries.append("\n".join(current))
            current = []
        if not line.startswith("#"):
            current.append(line)
    entries.append("\n".join(current))
    tables = ("[" + lines[1]).split("\n[")
    tables = ["[" + entry.lstrip("[") for entry in tables]
    shuffled = "# another remark\n" + "\n".join(entries[::-1]) + "\n" + "\n".join(tables[::-1]) + "\n"
    assert load_protocol(written(tmp_path / "again.toml", shuffled)).hash == load_protocol("wildhoi@1").hash
    whole_numbers = text_of().replace("min_visible = 0.0", "min_visible = 0")
    assert load_protocol(written(tmp_path / "zero.toml", whole_numbers)).hash == load_protocol("wildhoi@1").hash


@pytest.mark.parametrize("name", SHIPPED)
def test_the_hashes_that_published_scores_name_do_not_change(name):
    assert load_protocol(name).hash == PUBLISHED[name]


@pytest.mark.parametrize("line", ["images_per_object = 0", "default = true"])
def test_a_field_that_came_later_is_in_no_hash_where_it_says_nothing_new(tmp_path, line):
    spelled_out = load_protocol(written(tmp_path / "p.toml", f"{line}\n{text_of()}"))
    assert spelled_out == load_protocol("wildhoi@1") and spelled_out.hash == PUBLISHED["wildhoi@1"]


def test_shipped_protocols_have_different_hashes_of_64_digits():
    hashes = {load_protocol(name).hash for name in SHIPPED}
    assert len(hashes) == len(SHIPPED)
    assert all(len(h) == 64 for h in hashes)


# bad files


def test_an_unknown_name_says_which_there_are():
    with pytest.raises(InputError, match="wildhoi@1") as caught:
        load_protocol("wildhoi@9")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_absent_or_no_toml_is_refused(tmp_path):
    refused(tmp_path / "absent.toml")
    refused(written(tmp_path / "bad.toml", "points = = 3\n"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    refused(tmp_path / "binary.toml")


def test_an_unknown_field_is_named(tmp_path):
    refused(written(tmp_path / "p.toml", "pionts = 3\n" + text_of()), "pionts")


@pytest.mark.parametrize("field", ["points", "alignment", "id", "seed", "contact_distance", "failures"])
def test_a_missing_field_is_named(tmp_path, field):
    kept = "\n".join(line for line in text_of().splitlines() if not line.startswith(f"{field} ="))
    refused(written(tmp_path / "p.toml", kept), field)


def test_missing_recalls_are_named(tmp_path):
    refused(written(tmp_path / "p.toml", text_of().split("[symmetry")[0]), "recalls")


def changed(tmp_path, before, after):
    text = text_of()
    assert before in text
    return written(tmp_path / "p.toml", text.replace(before, after, 1))


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ('alignment = "none"', 'alignment = "procrustes"', "alignment"),
        ('frame = "smpl"', 'frame = "camera"', "frame"),
        ('articulation = "ignored"', 'articulation = "maybe"', "articulation"),
        ('sphere_rotation = "zero"', 'sphere_rotation = 0', "sphere_rotation"),
        ('body_model = "smplx"', 'body_model = "smpl"', "body_model"),
        ('alignment = "none"', 'alignment = ["none"]', "alignment"),
        ('failures = "counted"', 'failures = "ignored"', "failures"),
        ('stream = "philox-sha256@1"', 'stream = "mersenne"', "stream"),
        ("points = 10000", 'points = "many"', "points"),
        ("points = 10000", "points = 0", "points"),
        ("points = 10000", "points = 2000.5", "points"),
        ("surface_points = 2500", "surface_points = 25000", "surface_points"),
        ("contact_distance = 0.05", "contact_distance = -1.0", "contact_distance"),
        ('"chamfer_human", "chamfer_object", "rotation", "translation",\n', '"chamfer_wheel",\n', "chamfer_wheel"),
        ('headline = ["chamfer_human"', 'headline = ["no_such_metric"', "no_such_metric"),
        ('datasets = ["wildhoi"]', 'datasets = "wildhoi"', "datasets"),
        ('metric = "translation"', 'metric = "no_such_metric"', "no_such_metric"),
        ('unit = "cm"\n', "", "unit"),
        ('unit = "cm"', 'unit = "feet"', "unit"),
        ("thresholds = [5,", 'thresholds = ["five",', "thresholds"),
        ("[symmetry.barbell]", "[symmetry.barbel]", "barbel"),
        ("flip = false", "filp = false", "filp"),
        ('id = "wildhoi@1"', 'id = "wildhoi"', "id"),
        ("points = 10000", "points = 10000\nimages_per_object = -1", "images_per_object"),
        ("points = 10000", "points = 10000\nimages_per_object = true", "images_per_object"),
        ("points = 10000", "points = 10000\nimages_per_object = 2.5", "images_per_object"),
        ("points = 10000", "points = 10000\ndefault = 1", "default"),
        ("points = 10000", 'points = 10000\ndefault = "no"', "default"),
    ],
)  # fmt: skip
def test_a_forbidden_value_is_named_in_one_line(tmp_path, before, after, field):
    refused(changed(tmp_path, before, after), field)


@pytest.mark.parametrize("name", ["open@1", "open-small@1"])
def test_the_open_protocol_names_the_shipped_templates(name):
    folders = [folder for folder in templates.SHIPPED.iterdir() if folder.is_dir()]
    shipped = {folder.name: templates.load_template(folder).sha256 for folder in folders}
    assert load_protocol(name).templates == shipped
