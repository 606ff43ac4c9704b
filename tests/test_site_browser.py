"""The site in a real browser: sorting, filters, curves, meshes that turn, dark mode; nothing leaves the machine."""

import json

import numpy as np
import pytest
import site_made
from browser import Browser
from PIL import Image

from evaluation.site import SiteOptions, build_site
from submissions import unchecked

ABLATIONS = site_made.ROWS.parents[1] / "ablations"
OPTIONS = SiteOptions(per_object=1, resamples=300, ablations=(ABLATIONS,))
ROWS = "[...document.querySelectorAll('table.main')[0].tBodies[0].rows]"
NAMES = f"{ROWS}.filter(r => !r.hidden).map(r => r.dataset.name)"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browsed")
    for method in site_made.METHODS:
        site_made.copy_row(folder / "rows", method)
    with unchecked():
        return build_site(folder / "rows", folder / "site", OPTIONS).path


@pytest.fixture
def browser(tmp_path):
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()
    assert not opened.problems
    assert all(url.startswith(("file:", "data:")) for url in opened.requests)


def click(browser, script):
    browser.run(f"{script}.click()")


def test_tables_sort_both_ways(site, browser):
    browser.open(site / "index.html")
    head = "[...document.querySelectorAll('table.main th')].find(h => h.textContent.startsWith('Surface human')"
    head += " && getComputedStyle(h).display !== 'none').querySelector('button')"
    cell = "[...document.querySelectorAll('table.main')[0].tBodies[0].rows].map(r => Number(r.cells[3].dataset.value))"
    start = browser.run(NAMES)
    assert start[0] == "flow-prior" and len(start) == 3
    click(browser, head)
    values = browser.run(cell)
    assert values == sorted(values) and browser.run(NAMES)[0] == "isolation"
    assert browser.run(f"{head}.closest('th').getAttribute('aria-sort')") == "ascending"
    click(browser, head)
    assert browser.run(cell) == values[::-1]


def test_numbers_with_intervals_sort_as_numbers(site, browser):
    browser.open(site / "ablations.html")
    click(browser, "document.querySelectorAll('thead tr')[0].cells[2].querySelector('button')")
    cells = browser.run(f"{ROWS}.map(r => r.cells[2].textContent)".replace("table.main", "table"))
    values = [float(text.split()[0]) for text in cells]
    assert values == sorted(values) and max(values) >= 10 > min(values)


def test_tables_filter_and_switch(site, browser):
    browser.open(site / "index.html")
    assert browser.run("document.querySelector('.controls').hidden") is False
    choose = (
        (
            "(name, value) => {{ const f = document.querySelector(`[data-filter=${{name}}]`); f.value = value;"
            " f.dispatchEvent(new Event('input')); }}"
        )
        .replace("{{", "{")
        .replace("}}", "}")
    )
    browser.run(f"({choose})('supervision', '2D images')")
    assert browser.run(NAMES) == ["flow-prior"]
    assert browser.run("document.querySelector('output').textContent") == "1 of 3"
    browser.run(f"({choose})('supervision', '')")
    browser.run(f"({choose})('inputs', 'object_mask')")
    assert browser.run(NAMES) == ["isolation"]
    browser.run(f"({choose})('inputs', '')")
    browser.run(f"({choose})('name', 'PRIOR')")
    assert browser.run(NAMES) == ["flow-prior"]
    shown = "[...document.querySelectorAll('table.main')[0].tBodies[0].rows[0].cells].filter(c =>"
    shown += " getComputedStyle(c).display !== 'none').map(c => c.className.trim()).join()"
    assert "only-median" in browser.run(shown) and "only-mean" not in browser.run(shown)
    click(browser, "document.querySelector('input[value=mean]')")
    assert "only-mean" in browser.run(shown) and "only-median" not in browser.run(shown)


def test_the_other_statistic_sorts_too(site, browser):
    browser.open(site / "index.html")
    sorting = "document.querySelector('table.main th[aria-sort]')"
    values = f"{ROWS}.map(r => Number(r.cells[{sorting}.cellIndex].dataset.value))"
    median, label = browser.run(values), browser.run(f"{sorting}.textContent")
    click(browser, "document.querySelector('input[value=mean]')")
    mean = browser.run(values)
    assert median == sorted(median) and mean == sorted(mean) and mean != median
    assert browser.run(f"{sorting}.textContent") == label
    assert browser.run(f"getComputedStyle({sorting}).display") != "none"


def test_what_is_not_known_passes_no_filter(site, browser):
    browser.open(site / "index.html")
    browser.run(f"delete {ROWS}[0].dataset.inputs")
    browser.run(
        "(f => { f.value = 'human_occlusion'; f.dispatchEvent(new Event('input')); })"
        "(document.querySelector('[data-filter=inputs]'))"
    )
    assert "flow-prior" not in browser.run(NAMES) and len(browser.run(NAMES)) == 2


def test_tabs_and_curves(site, browser):
    browser.open(site / "index.html")
    tabs = "[...document.querySelector('.tabs').querySelectorAll('.tab')].map(t => t.hidden)"
    assert browser.run(tabs) == [False] + [True] * 5
    browser.run("document.querySelectorAll('[role=tab]')[0].focus()")
    browser.press("ArrowRight")
    assert browser.run(tabs) == [True, False] + [True] * 4
    hidden = "[...document.querySelectorAll('.curve')].map(c => getComputedStyle(c).display === 'none')"
    assert browser.run(hidden) == [False] * 9
    click(browser, "document.querySelectorAll('.legend input')[1]")
    assert browser.run(hidden) == [False, True, False] * 3


PIXELS = """(() => {
  const canvas = document.querySelectorAll('.turn canvas')[%d];
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let ground = [data[0], data[1], data[2]].join(), person = 0, thing = 0, sum = 0;
  for (let i = 0; i < data.length; i += 4) {
    if ([data[i], data[i + 1], data[i + 2]].join() === ground) continue;
    if (data[i + 2] > data[i]) person++; else thing++;
    sum = (sum * 31 + data[i]) %% 1000000007;
  }
  return { person, thing, sum };
})()"""


def drawn(browser, count):
    browser.wait(f"Number(document.querySelector('.turn').dataset.drawn ?? 0) >= {count}")


def test_meshes_turn(site, browser):
    browser.open(site / "images" / "open-small-1" / "skateboard-test-00000.html")
    drawn(browser, 1)
    left, right = (browser.run(PIXELS % side) for side in (0, 1))
    assert left["person"] > 5000 and left["thing"] > 500 and right["sum"] != left["sum"]
    browser.run("document.querySelector('canvas').focus()")
    browser.press("ArrowRight")
    drawn(browser, 2)
    turned = browser.run(PIXELS % 0)
    assert turned["sum"] != left["sum"] and abs(turned["person"] - left["person"]) < 0.5 * left["person"]
    assert browser.run("location.href").endswith("skateboard-test-00000.html")
    browser.send("Input.dispatchKeyEvent", type="keyDown", key="0", text="0")
    drawn(browser, 3)
    assert browser.run(PIXELS % 0) == left
    for kind, x in (("mousePressed", 300), ("mouseMoved", 340), ("mouseReleased", 340)):
        place = browser.run("(({x, y}) => ({x, y}))(document.querySelector('canvas').getBoundingClientRect())")
        browser.send(
            "Input.dispatchMouseEvent",
            type=kind,
            x=place["x"] + x,
            y=place["y"] + 200,
            button="left",
            buttons=1,
            clickCount=1,
        )
    drawn(browser, 4)
    assert browser.run(PIXELS % 0)["sum"] != left["sum"]


OUTLINE = """(() => {
  const canvas = document.querySelectorAll('.turn canvas')[1];
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const seen = [];
  for (let i = 0; i < data.length; i += 4) if (data[i + 2] > data[i] + 30) seen.push(i / 4);
  return [canvas.width, seen];
})()"""


def shape(mask):
    """Height over width of what is seen, and how much of its rectangle it fills."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    return height / width, mask.sum() / height / width


@pytest.mark.parametrize("name", ["violin", "skateboard", "cello"])
def test_the_first_view_is_the_camera_s(site, browser, name):
    browser.open(site / "images" / "open-small-1" / f"{name}-test-00000.html")
    drawn(browser, 1)
    size, seen = browser.run(OUTLINE)
    own = np.zeros(size * size, bool)
    own[seen] = True
    place = browser.run("document.querySelectorAll('.truth img')[1].getAttribute('src')")
    picture = np.asarray(Image.open(site / place.removeprefix("../../")).convert("RGB"), int)
    front = picture[..., 2] > picture[..., 0] + 30
    (tall, filled), (wanted, share) = shape(own.reshape(size, size)), shape(front)
    assert tall == pytest.approx(wanted, rel=0.04) and filled == pytest.approx(share, rel=0.15)  # shades differ


def test_both_sides_show_the_same_of_the_same(site, browser):
    browser.open(site / "images" / "open-small-1" / "violin-test-00000.html")
    drawn(browser, 1)
    browser.run(
        "(([one, two]) => { one.value = two.value; one.dispatchEvent(new Event('change')); })"
        "(document.querySelectorAll('.turn select'))"
    )
    drawn(browser, 2)
    assert browser.run(PIXELS % 0) == browser.run(PIXELS % 1)


def test_arrows_turn_pages(site, browser):
    browser.open(site / "images" / "open-small-1" / "barbell-test-00000.html")
    browser.press("ArrowRight")
    browser.wait("location.href.endsWith('baseball-test-00000.html')")
    browser.wait("document.readyState === 'complete' && !!document.querySelector('.turn')?.dataset.drawn")
    browser.press("ArrowLeft")
    browser.wait("location.href.endsWith('barbell-test-00000.html')")


def test_dark_mode_follows_and_can_be_chosen(site, browser):
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.open(site / "index.html")
    dark = browser.run(ground)
    click(browser, "document.querySelector('.theme')")
    light = browser.run(ground)
    assert sum(json.loads(f"[{dark[4:-1]}]")) < 120 < 600 < sum(json.loads(f"[{light[4:-1]}]"))
    browser.open(site / "methods" / "open-small-1-phosa.html")
    assert browser.run(ground) == light


def test_it_reads_without_scripts_on_a_phone_and_on_paper(site, browser):
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(site / "index.html")
    browser.send("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.run("document.querySelectorAll('.tab').length") > 5
    browser.send("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    for page in ("index.html", "methods/open-small-1-phosa.html", "images/open-small-1/cello-test-00000.html"):
        browser.open(site / page)
        assert browser.run("document.documentElement.scrollWidth") <= 360, page
    browser.send("Emulation.setEmulatedMedia", media="print")
    browser.open(site / "index.html")
    assert browser.run("getComputedStyle(document.querySelector('.controls')).display") == "none"
    assert browser.run("[...document.querySelectorAll('.tab')].every(t => getComputedStyle(t).display === 'block')")
