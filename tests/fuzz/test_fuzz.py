"""A thousand inputs for every parser of foreign bytes, those that once failed, and parsers that the harness catches."""

import pytest

from fuzz import bad, runner
from fuzz.targets import CORPUS, TARGETS, corpus

INPUTS = 1000
LARGEST_CORPUS = 300_000


@pytest.fixture(scope="module", autouse=True)
def server():
    runner.start_server()


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_parser(name):
    result = runner.run_target(name, INPUTS)
    assert result.failures == []
    assert result.inputs == INPUTS


@pytest.mark.parametrize("name", [name for name in TARGETS if corpus(name)])
def test_what_once_failed_does_not_again(name):
    result = runner.replay(name, corpus(name))
    assert result.failures == [] and result.inputs == len(corpus(name))


def test_the_corpus_is_small_and_of_targets():
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < LARGEST_CORPUS


@pytest.mark.parametrize("name", bad.EXPECTED)
def test_a_bad_parser_is_caught_with_the_input_that_did_it(tmp_path, name):
    for number, content in enumerate((b"[1]", bad.BOMB, b"[2]")):
        (tmp_path / str(number)).write_bytes(content)
    result = runner.replay(name, sorted(tmp_path.iterdir()))
    assert [failure.data for failure in result.failures] == [bad.BOMB]
    assert bad.EXPECTED[name] in result.failures[0].wrong
    assert result.inputs == 3


def test_the_same_batch_has_the_same_inputs():
    one, two = (runner.run_target("raises", 200).failures for _ in range(2))
    assert one == two != []
