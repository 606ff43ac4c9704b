"""The page of a study in a real browser: what raters do, what is kept, what is saved, and that nothing is sent."""

import json
import re
import time
from pathlib import Path

import pytest
from browser import Browser, find_chromium
from study_made import make, two

from evaluation.study.answers import LONGEST_NAME, is_name, read_answers
from evaluation.study.key import read_key
from evaluation.study.making import PAGE_FILES


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """A study with a choice that is forced, and one with ties."""
    find_chromium()
    folder = tmp_path_factory.mktemp("studies")
    pair = two(folder)
    for out, ties in (("forced", False), ("ties", True)):
        make(folder, pair, out, images=10, ties=ties)
    return folder


@pytest.fixture
def browser(tmp_path):
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()
    assert opened.problems == []


def page(studies, name="forced"):
    return studies / name / "page" / "index.html"


def enter(browser, name):
    browser.run(f"at('name').value = {json.dumps(name)}; at('enter').requestSubmit()")


def shown(browser):
    """Wait for the pictures of a pair; its number on the page."""
    browser.wait("ready")
    return browser.run("order[place]")


def answer(browser, *keys):
    """Press a key for each pair in turn; the numbers of the pairs."""
    numbers = []
    for key in keys:
        numbers.append(shown(browser))
        browser.press(key)
        browser.wait(
            f"{json.dumps(numbers[-1])} in answers && (order[place] !== {json.dumps(numbers[-1])} || !at('end').hidden)"
        )
    return numbers


def visible(browser):
    return browser.run("['start', 'trial', 'end'].filter((id) => !at(id).hidden).join()")


def saved(browser, folder, button="download"):
    """The file that a button saves."""
    folder.mkdir(exist_ok=True)
    browser.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    browser.run(f"at('{button}').click()")
    end = time.monotonic() + 30
    while not (files := [path for path in folder.glob("*.json") if path.stat().st_size]):
        assert time.monotonic() < end, "nothing was saved"
        time.sleep(0.05)
    return files[0]


def test_a_rater_answers_everything_and_the_file_scores(studies, browser, tmp_path):
    key = read_key(studies / "forced")
    browser.open(page(studies))
    assert visible(browser) == "start" and browser.run("at('count').textContent") == "11"
    enter(browser, "  Zoë   L. ")
    pressed = ["ArrowLeft", "ArrowRight", "ArrowRight"] * 3 + ["ArrowLeft"] * 2
    numbers = answer(browser, *pressed)
    assert visible(browser) == "end" and browser.run("at('thanks').textContent") == "Thank you, Zoë L."
    assert sorted(numbers) == [trial.name for trial in key.trials]
    path = saved(browser, tmp_path / "saved")
    assert path.name == "answers-Zoë-L..json"
    (read,) = read_answers([path], key)
    assert read.rater == "Zoë L." and list(read.choices) == numbers
    assert list(read.choices.values()) == [each.removeprefix("Arrow").lower() for each in pressed]


def test_nothing_is_asked_of_any_machine(studies, browser, tmp_path):
    browser.open(page(studies))
    enter(browser, "Ada")
    answer(browser, *["ArrowLeft"] * 11)
    saved(browser, tmp_path / "saved")
    folder = page(studies).parent.as_uri()
    loaded = {url for url in browser.requests if not url.startswith(("data:", "blob:", "about:"))}
    assert loaded and all(url.startswith(folder) for url in loaded)
    assert len(loaded) == 3 + 5 * 11
    blocked = browser.run("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')")
    assert blocked == "refused" and any("Content Security Policy" in str(each) for each in browser.problems)
    browser.problems.clear()


def test_a_reload_loses_nothing(studies, browser):
    browser.open(page(studies))
    enter(browser, "Ada")
    done = answer(browser, "ArrowLeft", "ArrowRight", "ArrowLeft")
    before, next_one = browser.run("content()"), shown(browser)
    browser.open(page(studies))
    assert visible(browser) == "trial" and shown(browser) == next_one
    assert browser.run("content()") == before and browser.run("order.slice(0, 3)") == done
    assert browser.run("at('heading').textContent") == "Pair 4 of 11"


def test_every_rater_has_an_order_of_their_own_within_the_blocks(studies, browser):
    browser.open(page(studies))
    orders = [browser.run(f"orderOf('{name}').join()") for name in ("Ada", "Bo", "ada", "Ada")]
    assert orders[0] == orders[2] == orders[3] != orders[1]
    blocks = browser.run("STUDY.blocks")
    first = [browser.run(f"orderOf('rater {n}')")[0] for n in range(300)]
    assert set(first) == set(blocks[0]) and max(map(first.count, blocks[0])) < 300 / len(blocks[0]) + 40
    for name in ("Ada", "Bo"):
        order = browser.run(f"orderOf('{name}')")
        assert [sorted(order[: len(blocks[0])]), sorted(order[len(blocks[0]) :])] == blocks


def test_back_and_another_answer(studies, browser):
    browser.open(page(studies))
    enter(browser, "Ada")
    first, second = answer(browser, "ArrowLeft", "ArrowLeft")
    shown(browser)
    browser.press("Backspace")
    assert shown(browser) == second
    pressed = "[...document.querySelectorAll('[aria-pressed=true]')].map((b) => b.id).join()"
    assert browser.run(pressed) == "choose-left"
    answer(browser, "ArrowRight")
    browser.run("at('back').click()")
    shown(browser)
    assert browser.run(pressed) == "choose-right"
    assert browser.run(f"answers['{first}'][0] + answers['{second}'][0]") == "leftright"


def test_ties_only_where_they_are_allowed(studies, browser):
    for name, tie in (("forced", False), ("ties", True)):
        browser.open(page(studies, name))
        enter(browser, "Ada")
        shown(browser)
        assert browser.run("at('choose-same').hidden") != tie
        browser.press("ArrowDown")
        browser.press(" ")
        if tie:
            answer(browser, "ArrowDown")
        assert set(browser.run("Object.values(answers).map((answer) => answer[0])")) == ({"same"} if tie else set())


def test_space_presses_the_button_that_has_the_focus(studies, browser):
    browser.open(page(studies, "ties"))
    enter(browser, "Ada")
    number = shown(browser)
    browser.run("at('choose-right').focus()")
    browser.press(" ")
    browser.wait(f"'{number}' in answers")
    assert browser.run(f"answers['{number}'][0]") == "right"


def test_names(studies, browser):
    browser.open(page(studies))
    names = [
        "Ada",
        "R2-D2",
        "नमिता",
        "李 四",
        "a" * LONGEST_NAME,
        "a" * (LONGEST_NAME + 1),
        "",
        "<b>",
        "../x",
        "-x",
        "😀",
        "x\u202ey",
    ]
    for name in names:
        assert browser.run(f"NAME.test({json.dumps(name)})") == is_name(name), name
    enter(browser, " <b> ")
    assert visible(browser) == "start" and browser.run("at('wrong').textContent").startswith("Please give")
    assert browser.run("document.activeElement.id + at('name').getAttribute('aria-invalid')") == "nametrue"


def test_two_raters_on_one_device(studies, browser):
    browser.open(page(studies))
    enter(browser, "Ada")
    answer(browser, *["ArrowLeft"] * 11)
    browser.run("at('someone').click()")
    assert visible(browser) == "start"
    enter(browser, "Bo")
    answer(browser, "ArrowRight")
    assert browser.run("Object.keys(answers).length") == 1
    browser.run("begin('Ada')")
    assert visible(browser) == "end" and browser.run("Object.keys(answers).length") == 11


def test_a_part_is_saved_too(studies, browser, tmp_path):
    browser.open(page(studies))
    enter(browser, "Ada")
    answer(browser, "ArrowLeft", "ArrowRight")
    shown(browser)
    (read,) = read_answers([saved(browser, tmp_path / "saved", "save")], read_key(studies / "forced"))
    assert list(read.choices.values()) == ["left", "right"]


def test_a_browser_that_keeps_nothing_says_so_and_goes_on(studies, browser):
    browser.open(page(studies))
    browser.run(
        "Storage.prototype.setItem = () => { throw new Error('full') }; "
        "Storage.prototype.getItem = Storage.prototype.setItem; 0"
    )
    enter(browser, "Ada")
    answer(browser, "ArrowLeft")
    assert "keeps no answers" in browser.run("at('notice').textContent") and not browser.run("at('notice').hidden")
    assert browser.run("Object.keys(answers).length") == 1


def test_a_spoiled_memory_is_no_trap(studies, browser):
    browser.open(page(studies))
    browser.run(
        "localStorage.setItem(shelfOf('Ada'), '{{'); "
        'localStorage.setItem(shelfOf(\'Bo\'), \'{"999": ["left", 1], "001": 3}\'); 0'
    )
    for name in ("Ada", "Bo"):
        browser.run(f"begin('{name}')")
        assert visible(browser) == "trial" and browser.run("Object.keys(answers).length") == 0


def test_a_missing_picture_is_said_and_cannot_be_judged(studies, browser):
    browser.open(page(studies))
    trial = browser.run("orderOf('Ada')[0]")
    path = page(studies).parent / "pictures" / f"{trial}-right-around.webp"
    moved = path.rename(path.with_suffix(".gone"))
    try:
        enter(browser, "Ada")
        browser.wait("!at('notice').hidden")
        browser.press("ArrowLeft")
        assert browser.run("Object.keys(answers).length") == 0 and trial in browser.run("at('notice').textContent")
    finally:
        moved.rename(path)
    browser.problems.clear()  # it told of the file that was not there


def test_enlarged_pictures_answer_nothing(studies, browser):
    browser.open(page(studies))
    enter(browser, "Ada")
    number = shown(browser)
    browser.run("document.querySelectorAll('#right .picture')[3].click()")
    assert browser.run("at('zoom').open && at('zoom-what').textContent") == "Walked 120° around"
    browser.press("ArrowRight")
    assert browser.run("at('zoom-what').textContent") == "Walked 180° around"
    assert f"{number}-left-around" in browser.run("at('zoom-left').style.backgroundImage")
    browser.press("Escape")
    browser.wait("!at('zoom').open")
    assert browser.run("Object.keys(answers).length") == 0


def test_left_is_left_and_every_view_is_the_one_it_says(studies, browser):
    browser.open(page(studies))
    enter(browser, "Ada")
    number = shown(browser)
    for side in ("left", "right"):
        found = browser.run(
            f"[...at('{side}').querySelectorAll('.picture')].map((p) => p.style)"
            ".map((style) => [style.backgroundImage, style.backgroundPosition])"
        )
        names = [re.search(r"pictures/(.*)\.webp", image)[1] for image, _ in found]
        assert names == [f"{number}-{side}-over", *[f"{number}-{side}-around"] * 6]
        assert [place for _, place in found[1:]] == [f"{20 * n}% 0px" for n in range(6)]
    boxes = [browser.run(f"at('{side}').getBoundingClientRect().x") for side in ("left", "right")]
    assert boxes[0] < boxes[1]


@pytest.mark.parametrize("size", [(1280, 800), (390, 844), (320, 640), (844, 390)])
def test_it_fits_the_screen(studies, browser, tmp_path, size):
    browser.open(page(studies))
    for screen in ("start", "trial"):
        browser.screenshot(tmp_path / "page.png", *size, mobile=size[0] < 900)
        assert browser.run("document.documentElement.scrollWidth <= innerWidth"), screen
        if screen == "start":
            enter(browser, "Ada")
            shown(browser)
    bottom = browser.run(
        "Math.max(...[...document.querySelectorAll('.choices button:not([hidden])')]"
        ".map((button) => button.getBoundingClientRect().bottom))"
    )
    assert bottom <= size[1]


def test_everything_that_can_be_used_has_a_name(studies, browser):
    browser.open(page(studies))
    enter(browser, "Ada")
    shown(browser)
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "image", "textbox", "progressbar", "heading", "region", "group"}
    found = [n for n in nodes if not n.get("ignored") and n.get("role", {}).get("value") in roles]
    assert len(found) > 15
    assert [n for n in found if not n.get("name", {}).get("value")] == []


# The files as they are


def test_the_page_names_no_other_machine():
    for path in Path(PAGE_FILES).iterdir():
        assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]", path.read_text()), path
    index = (PAGE_FILES / "index.html").read_text()
    assert "default-src 'none'" in index and "form-action 'none'" in index
    assert set(re.findall(r'(?:src|href)="([^"]+)"', index)) == {"style.css", "study.js", "data:,"}


def test_the_page_is_installed_with_the_package():
    import tomllib

    root = Path(__file__).parents[1]
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["evaluation"]
    installed = {path for pattern in patterns for path in (root / "evaluation").glob(pattern)}
    assert {*PAGE_FILES.iterdir()} <= installed
