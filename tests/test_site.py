"""The static site: ranks, charts, meshes, pictures, pages; what is kept, removed and refused."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import command
import numpy as np
import pandas as pd
import pytest
import site_made
from PIL import Image

from evaluation.comparison.reading import Contestant, Field
from evaluation.leaderboard.entries import collect
from evaluation.site import SiteOptions, build_site
from evaluation.site.charts import BOTTOM, HEIGHT, TOP, cumulative, scale_of
from evaluation.site.content import image_slug, sections, slug_of
from evaluation.site.drawing import Picture, Wanted, draw, input_name, names_of
from evaluation.site.ranking import duels, parted, ranks
from evaluation.site.shapes import decimated, packed, sparse_body, sparse_object
from evaluation.surfaces import point_to_surface
from submissions import unchecked
from wildhoi.body import load_body, pose_person
from wildhoi.dataset import find_data, load_annotations
from wildhoi.errors import InputError
from wildhoi.templates import find_template, load_template

BARE = "open-small-1: drawn without photographs: the inputs of open are not at hand; --data says where they are"
FEW = SiteOptions(per_object=1, resamples=500)


@pytest.fixture(scope="module", autouse=True)
def no_data_at_hand(tmp_path_factory):
    """Of the open set only what ships, whatever this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WILDHOI_DATA", str(tmp_path_factory.mktemp("data")))
        yield


# Ranks


def field_of(columns, seed=0):
    images = len(columns[0])
    contestants = tuple(
        Contestant(f"m{k}", Path(f"m{k}"), (), ("scored",) * images, {"translation": np.asarray(values, float)})
        for k, values in enumerate(columns)
    )
    ids = tuple(f"i{k:04}" for k in range(images))
    return Field(contestants, ids, ("ball",) * images, ids, "p", "d", ("translation",), frozenset())


@pytest.fixture(scope="module")
def errors():
    random = np.random.default_rng(0)
    base = random.gamma(2, 5, 120)
    return [base, base + 4, base + random.normal(0, 3, 120), base + 40]


def test_ranks_are_ranges_that_the_images_leave_open(errors):
    won = duels(field_of(errors), "translation", 1000)
    found = [(rank.first, rank.last) for rank in ranks(won)]
    assert found == [(1, 2), (3, 3), (1, 2), (4, 4)]
    np.testing.assert_array_equal(won, -won.T)


def test_ranks_do_not_depend_on_the_order_of_the_rows(errors):
    found = ranks(duels(field_of(errors), "translation", 1000))
    for order in ([3, 1, 0, 2], [2, 0, 3, 1]):
        other = ranks(duels(field_of([errors[k] for k in order]), "translation", 1000))
        assert other == [found[k] for k in order]


def test_a_method_beside_itself_shares_its_rank(errors):
    found = ranks(duels(field_of([errors[0], errors[0], errors[3]]), "translation", 1000))
    assert found[0] == found[1] and (found[0].first, found[0].last, str(found[0])) == (1, 2, "1–2")
    assert str(found[2]) == "3"


def test_one_method_alone_is_first():
    assert [str(rank) for rank in ranks(duels(field_of([np.ones(9)]), "translation", 100))] == ["1"]


def test_many_methods_are_still_told_apart():
    """The smallest p-value there is, times the number of pairs, must stay one that counts."""
    random = np.random.default_rng(3)
    won = duels(field_of([10 * k + random.normal(0, 1, 60) for k in range(34)]), "translation", 200)
    assert [str(rank) for rank in ranks(won)] == [str(k + 1) for k in range(34)]


# Charts


def test_curves_are_shares_of_all_images():
    random = np.random.default_rng(1)
    values = [random.gamma(2, 8, 300), np.where(random.random(300) < 0.4, np.nan, random.gamma(2, 8, 300))]
    chart = cumulative(values)
    for errors, curve in zip(values, chart.curves, strict=True):
        points = np.array([[float(x) for x in point.split(",")] for point in curve.points.split()])
        assert (np.diff(points[:, 0]) > 0).all() and (np.diff(points[:, 1]) <= 0).all()
        for tick in chart.across:
            share = 100 * np.mean(np.nan_to_num(errors, nan=np.inf) <= float(tick.text))
            height = np.interp(tick.place, points[:, 0], points[:, 1])
            assert height == pytest.approx(HEIGHT - BOTTOM - share / 100 * (HEIGHT - TOP - BOTTOM), abs=8)
    assert chart.curves[1].end == pytest.approx(60, abs=8) and chart.curves[0].end >= 98


def test_nothing_measured_has_no_chart():
    assert cumulative([np.full(5, np.nan)]) is None and cumulative([]) is None


@pytest.mark.parametrize("values", [[5.0], [0.0], [3.0, 3.0], [1e-9, 1e6], [0.2, 0.21, 0.22]])
def test_any_values_have_a_chart_or_none(values):
    chart = cumulative([np.array(values)])
    assert chart is None or (len(chart.across) >= 2 and chart.curves[0].points)


def test_bars_stand_between_the_ends():
    small, large = scale_of([2.0, 4.0, None]), scale_of([1.0, 1000.0, float("nan")])
    assert (small.share(3.0), large.share(10.0), large.share(1.0), large.share(1e9)) == pytest.approx(
        (0.5, 1 / 3, 0, 1)
    )
    assert scale_of([None]).share(1.0) == scale_of([7.0]).share(7.0) == 0.5


# Meshes


@pytest.fixture(scope="module")
def body():
    return load_body("open", gender="neutral")


def test_a_decimated_body_is_the_body(body):
    truth = load_annotations(find_data("open-sample"), "test")[0]
    sparse = sparse_body(body)
    assert 3000 < len(sparse.faces) <= 4000 and sparse.faces.max() == len(sparse.kept) - 1
    assert len(set(sparse.kept)) == len(sparse.kept)
    posed, _ = pose_person(truth.human, body)
    away = point_to_surface(posed[sparse.kept][sparse.faces].mean(axis=1), posed, np.asarray(body.faces))
    assert np.abs(away).mean() < 0.002 and np.abs(away).max() < 0.03  # metres


def test_a_small_mesh_stays_as_it_is():
    template = load_template(find_template(find_data("open-sample").objects, "basketball", shipped=True))
    whole = decimated(template.vertices, template.faces, len(template.faces))
    np.testing.assert_array_equal(whole.kept[whole.faces], template.faces)
    assert len(sparse_object(template).faces) <= 1500


def test_points_survive_being_packed():
    points = np.random.default_rng(0).normal([3, -2, 9], 0.7, (500, 3))
    found = packed(points)
    whole = np.frombuffer(base64.b64decode(found["points"]), "<i2").reshape(-1, 3)
    np.testing.assert_allclose(whole * found["step"] + found["middle"], points, atol=1e-4)
    assert packed(np.ones((4, 3)))["step"] > 0


# Pictures


def test_an_image_is_drawn_with_its_picture(tmp_path):
    data = find_data("open-sample")
    truth = load_annotations(data, "test")[1]  # the first is left out of it
    large = Path(__file__).parents[1] / "wildhoi" / "assets" / "sample_submissions" / "sample-noise-large"
    wanted = (Wanted("truth", None), Wanted("noisy", large), Wanted("lost", large))
    done = tmp_path / "done"
    draw(Picture(truth.image_id, truth.object, data.path, "test", "seen", wanted[:2], tmp_path), done)
    assert json.loads(done.read_text()) == {}
    pictures = {
        name: np.asarray(Image.open(tmp_path / name).convert("RGB"), int)
        for key in ("truth", "noisy")
        for name in names_of(key)[:3]
    }
    seen = np.asarray(Image.open(tmp_path / input_name("seen")).convert("RGB"), int)
    assert seen.std() > 20 and all(pixels.std() > 5 for pixels in pictures.values())
    assert np.abs(pictures["pictures/truth-side.webp"] - pictures["pictures/noisy-side.webp"]).max() > 60
    assert pictures["pictures/truth-over.webp"].shape == seen.shape
    scene = (tmp_path / "scenes/truth.js").read_text()
    parts = json.loads("[" + scene[scene.index("(") + 1 : scene.rindex(")")] + "]")
    assert parts[0] == "truth" and [part["colour"] for part in parts[1]] == ["person", "object"]
    np.testing.assert_allclose(np.reshape(parts[2], (3, 3)), truth.camera.rotation, atol=1e-5)
    assert all((tmp_path / f"scenes/faces-{part['faces']}.js").is_file() for part in parts[1])


def test_what_has_no_truth_is_refused(tmp_path):
    data = find_data("open-sample")
    with pytest.raises(InputError, match="has no truth of 'nobody'"):
        draw(Picture("nobody", "barbell", data.path, "test", None, (), tmp_path), tmp_path / "done")


# The site


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    for method in site_made.METHODS:
        site_made.copy_row(folder, method)
    hostile = site_made.copy_row(folder, "phosa-released", "odd")
    site_made.rename(hostile, site_made.HOSTILE)
    site_made.fail(hostile, "violin-test-00000")
    return folder


@pytest.fixture(scope="module")
def site(rows, tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "site"
    return build_site(rows, out, FEW)


def pages_of(site):
    return sorted(site.path.rglob("*.html"))


class Links(HTMLParser):
    """Where a page points, its texts, and its elements."""

    def __init__(self, path):
        super().__init__()
        self.links, self.tags, self.scripts = [], [], 0
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("href", "src")]


def test_every_link_leads_to_a_file_of_the_site(site):
    assert site.pages == len(pages_of(site)) and site.troubles == (BARE,)
    for page in pages_of(site):
        for link in Links(page).links:
            if link.startswith(("#", "data:")):
                continue
            target, _, anchor = link.partition("#")
            assert ":" not in target, (page.name, link)
            place = page.parent / unquote(target)
            assert place.is_file(), (page.name, link)
            assert not anchor or f'id="{anchor}"' in place.read_text()


def test_pages_are_small_and_pictures_wait(site):
    first = sum((site.path / name).stat().st_size for name in ("index.html", "style.css", "site.js"))
    assert first < 300_000
    for page in pages_of(site):
        late = re.findall(r"<img (?!loading)", page.read_text())
        assert len(late) <= 1, page  # an image's own picture


def test_hostile_names_are_text(site):
    texts = [page.read_text() for page in pages_of(site)]
    assert not any("<script>alert" in text or "\u202e" in text or 'href="javascript' in text for text in texts)
    assert any("&lt;script&gt;alert(1)" in text for text in texts)
    assert all(Links(page).tags.count("script") == 1 for page in pages_of(site))
    assert all(re.fullmatch(r"[\w.-]+", path.name) for path in site.path.rglob("*"))


def test_the_front_page_says_ranks_and_intervals(site):
    text = (site.path / "index.html").read_text()
    for words in (">1<", ">3<", "Who beats whom", "better", "199/200", "reported", "Object by object", "polyline"):
        assert words in text, words
    assert text.index("Open set") < text.index("WildHOI")


def test_published_rows_stand_in_the_order_of_their_means(site):
    text = (site.path / "index.html").read_text()
    board = text[text.index('id="wildhoi-1"') :]
    places = [
        board.index(f">{name}<") for name in ("KPS Flow (with contact)", "KPS Flow (w/o contact)", "PHOSA", "Isolation")
    ]
    assert places == sorted(places)


def test_lines_part_what_is_surely_apart(errors):
    order = [0, 2, 1, 3]
    assert parted(duels(field_of([errors[k] for k in order]), "translation", 1000)) == [2, 3]
    assert parted(np.array([[0, 0, 1], [0, 0, 0], [-1, 0, 0]])) == []
    assert parted(np.zeros((0, 0), int)) == []


def test_a_failure_is_shown_as_one(site):
    (odd,) = (page for page in (site.path / "methods").iterdir() if "script" in page.name)
    text = odd.read_text()
    assert "no rank: 1 of 200 images not scored" in text
    worst = text[text.index("Worst images") :]
    assert worst.index("no reconstruction") < worst.index("<img") and "violin-test-00000" in worst
    page = (site.path / "images" / "open-small-1" / "violin-test-00000.html").read_text()
    assert page.count("no reconstruction") == 1


def test_building_again_changes_nothing(rows, site):
    def stamps():
        return {path: path.stat().st_mtime_ns for path in site.path.rglob("*") if path.is_file()}

    before = stamps()
    again = build_site(rows, site.path, FEW)
    after = stamps()
    tables = {
        site.path / name for name in ("LEADERBOARD.md", *(f"leaderboard.{kind}" for kind in ("csv", "json", "tex")))
    }
    assert {path for path in before if before[path] != after[path]} <= tables | {site.path / ".wildhoi-site"}
    assert before.keys() == after.keys() and again == site


def test_a_row_that_goes_takes_its_pages_along(rows, site, tmp_path):
    fewer, out = tmp_path / "rows", tmp_path / "site"
    shutil.copytree(rows, fewer)
    shutil.copytree(site.path, out)
    shutil.rmtree(fewer / "odd")
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "pictures").iterdir()}
    with unchecked():
        found = build_site(fewer, out, FEW)
    assert found.removed > 10 and not any("script" in page.name for page in (out / "methods").iterdir())
    left = {path.name: path.stat().st_mtime_ns for path in (out / "pictures").iterdir()}
    assert left.items() <= kept.items() and len(left) < len(kept)


def test_what_is_in_no_table_is_told(rows, tmp_path, monkeypatch, capfd):
    broken = tmp_path / "rows"
    for name in ("phosa", "isolation"):
        shutil.copytree(rows / name, broken / name)
    (broken / "isolation" / "scores.json").write_text("{")
    for words in (("-o", tmp_path / "tables", "--tables"), ("-o", tmp_path / "site", "--images", "1")):
        told = command.run(monkeypatch, capfd, "leaderboard", "build", broken, *words)
        assert told.code == 0 and "isolation/scores.json" in told.err


def test_foreign_folders_are_left_alone(rows, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="holds something else than a site"):
        build_site(rows, tmp_path, FEW)
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.tex"}


def test_without_pictures_the_tables_stand(rows, tmp_path):
    bare = tmp_path / "rows"
    shutil.copytree(rows, bare)
    for place in bare.iterdir():
        (place / "predictions.parquet").unlink()
        (place / "submission.yaml").unlink()
    site = build_site(bare, tmp_path / "site", FEW)
    assert site.troubles == ("open-small-1: no pictures: no submission lies beside the scores",)
    assert "no submission lies beside the scores" in (site.path / "index.html").read_text()


def test_rows_that_do_not_compare_have_no_ranks(rows, tmp_path):
    other = tmp_path / "rows"
    shutil.copytree(rows, other)
    scores = json.loads((other / "phosa" / "scores.json").read_text())
    scores["templates"]["violin"] = "0" * 64
    (other / "phosa" / "scores.json").write_text(json.dumps(scores))
    (section, *_) = sections(other, collect(other)[0], "median", 200)
    assert "do not compare" in section.trouble and not section.ranked and len(section.results) == 4


def test_one_bad_submission_takes_nobody_s_pictures(rows, tmp_path):
    mixed = tmp_path / "rows"
    for name in ("phosa", "isolation"):
        shutil.copytree(rows / name, mixed / name)
    (mixed / "isolation" / "predictions.parquet").write_bytes(b"PAR1 but not for long")
    site_made.reseal(mixed / "isolation")
    with unchecked():
        site = build_site(mixed, tmp_path / "site", FEW)
    trouble, note = sorted(site.troubles, reverse=True)
    assert note == BARE
    assert trouble.startswith("open-small-1: isolation: ") and "could not be drawn" in trouble
    page = (site.path / "images" / "open-small-1" / "cello-test-00000.html").read_text()
    assert page.count("no picture") == 1 and page.count("over the picture") >= 2


def test_objects_at_the_end_of_the_world_are_drawn(rows, tmp_path):
    far = tmp_path / "rows"
    shutil.copytree(rows / "phosa", far / "phosa")
    table = pd.read_parquet(far / "phosa" / "predictions.parquet")
    places = [[1e6, 0, 0], [0, 0, -50.0], [0, 0, 1e-3], [3e4, -3e4, 3e4]]
    for row in range(len(table)):
        table.at[row, "object_translation"] = np.float32(places[row % 4])
    table.to_parquet(far / "phosa" / "predictions.parquet", index=False)
    site_made.reseal(far / "phosa")
    with unchecked():
        site = build_site(far, tmp_path / "site", FEW)
    assert site.troubles == (BARE,) and site.pictures == 8 * 8 + 8 * 4


def test_names_of_files_are_harmless():
    assert slug_of("Ünïcode / ../etc") == "n-code-etc" and slug_of("../..") and "/" not in slug_of("a/b")
    assert image_slug("barbell-test-00001") == "barbell-test-00001"
    for odd in ("../x", ".hidden", "a/b", "", "a\nb", "x" * 300):
        assert re.fullmatch(r"image-[0-9a-f]{16}", image_slug(odd))


def test_the_command(rows, tmp_path, monkeypatch, capfd):
    out = tmp_path / "x"

    def build(*words):
        return command.run(monkeypatch, capfd, "leaderboard", "build", rows, "-o", out, *words)

    tables = build("--tables", "--json")
    assert tables.code == 0 and len(json.loads(tables.out)["written"]) == 4
    assert not (out / "index.html").exists()
    assert build().code == 2 and "holds something else than a site" in build().first
    shutil.rmtree(out)
    twice = build("--data", "open-sample", "--data", "open-sample")
    assert twice.code == 2 and "given twice" in twice.first and not out.exists()
    assert build("--readme", "x.md").code == 2
