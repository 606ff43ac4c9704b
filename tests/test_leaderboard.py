import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from itertools import product
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from score_files import drawn_scores, given_scores, save

from evaluation.leaderboard.board import build, leaderboard
from evaluation.leaderboard.entries import collect, reported_rows
from evaluation.leaderboard.tables import OVERALL, tables
from evaluation.leaderboard.text import clean, latex, markdown, number, short, spreadsheet
from evaluation.protocol import load_protocol
from wildhoi.errors import InputError
from wildhoi.files import sha256_file

REFERENCE = Path(__file__).parents[2] / "shared" / "reference" / "reported_results.yaml"
HOSTILE = [
    "a | b || c",
    "back\\slash \\| \\",
    "$x^2$ ${\\input{secret}}$ 100 % & #1 _under_ ~tilde^",
    "two\nlines\r\n\ttabbed",
    "\x1b[31mred\x1b[0m \x07 bell \u202e reversed \x9b31m",
    "=HYPERLINK(1)",
    "+1",
    "-1",
    "@SUM(A1)",
    "[link](http://evil.example) ![image](x)",
    "<script>alert(1)</script> &amp; `code` **bold** [bold]rich[/bold]",
    "[optional] * starred -- dashes ---",
    "",
    "x" * 500,
]


class Cells(HTMLParser):
    """The rows of every table of a rendered Markdown document: (text, is bold) per cell."""

    def __init__(self, document):
        super().__init__()
        self.tables, self.inside, self.tags = [], False, set()
        self.feed(MarkdownIt("commonmark").enable("table").render(document))

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append(["", False])
            self.inside = True
        elif tag == "strong" and self.inside:
            self.tables[-1][-1][-1][1] = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.tables[-1][-1][-1][0] += data


def shown(board, width=100):
    console = Console(width=width, record=True, file=StringIO(), force_terminal=False)
    console.print(board.to_rich())
    return console.export_text()


def entries_of(tmp_path, *scores):
    for index, content in enumerate(scores):
        save(tmp_path / f"{index:03d}", content)
    return collect(tmp_path)[0]


def names(table):
    return [row.name for row in table.rows]


def test_an_empty_folder_gives_the_published_tables_alone(tmp_path):
    board = leaderboard(tmp_path)
    assert board == leaderboard(None)
    assert [table.key.protocol for table in board.tables] == ["wildhoi@1", "behave@1"]
    assert all(row.entry.reported for table in board.tables for row in table.rows)
    assert all((table.key.hash, table.key.revision, table.apart) == (None, None, "") for table in board.tables)
    assert board.notes == ()


def test_an_absent_folder_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        leaderboard(tmp_path / "absent")


def test_reported_rows_carry_source_protocol_and_no_measurement_of_ours():
    for entry in reported_rows():
        assert entry.source.startswith("reported: ")
        assert entry.protocol in ("wildhoi@1", "behave@1")
        assert entry.split == "test" and entry.dataset in load_protocol(entry.protocol).datasets
        assert entry.sha256 is None and entry.revision is None and entry.overall.coverage is None
        assert set(entry.overall.metrics) == set(entry.headline)
    assert len({(e.protocol, e.method, e.source) for e in reported_rows()}) == 11


# The reference lies outside the repository; its copy in the package is what the other tests read.
@pytest.mark.skipif(not REFERENCE.is_file(), reason="the reference file is not at hand")
def test_reported_rows_are_those_of_the_reference():
    reference = yaml.safe_load(REFERENCE.read_text())
    objects = ["barbell", "baseball", "basketball", "bicycle", "cello", "skateboard", "tennis", "violin"]
    by_name = {(e.protocol, e.source): {} for e in reported_rows()}
    for entry in reported_rows():
        by_name[entry.protocol, entry.source][entry.method] = entry
    readme = by_name["wildhoi@1", "reported: README of huochf/WildHOI"]
    one, two = by_name["behave@1", "reported: paper, table 1"], by_name["behave@1", "reported: paper, table 2"]
    ablation = {f"KPS Flow ({name})": row for name, row in reference["behave_supervision_ablation"].items()}
    for ours, theirs in ((readme, reference["wildhoi"]), (one, reference["behave"]), (two, ablation)):
        assert set(ours) == set(theirs)
        for name, row in theirs.items():
            supervision = row.pop("supervision", None)
            assert {m: s.mean for m, s in ours[name].overall.metrics.items()} == row
            assert supervision in (None, ours[name].supervision)
    for name, row in reference["wildhoi_per_object"].items():
        for metric, values in row.items():
            assert [readme[name].objects[o].metrics[metric].mean for o in objects] == values
    assert {n for n, e in readme.items() if e.objects} == set(reference["wildhoi_per_object"])


def test_a_table_never_mixes_protocol_hash_data_revision_or_split(tmp_path):
    options = product(["wildhoi@1", "open@1"], [None, "0" * 64], ["a" * 64, "c" * 64], ["test", "train"], ["d1", "d2"])
    scores = []
    for i, (protocol, hashed, revision, split, dataset) in enumerate(options):
        facts = {"revision": revision, "split": split, "dataset": dataset, **({"hash": hashed} if hashed else {})}
        scores.append(drawn_or_given(f"m{i}", protocol, **facts))
    made = tables([*entries_of(tmp_path, *scores), *reported_rows()])
    seen = set()
    for table in made:
        measured = [row.entry for row in table.rows if not row.entry.reported]
        keys = {(e.protocol, e.protocol_hash, e.dataset, e.revision, e.split) for e in measured}
        assert len(keys) <= 1 and not keys & seen
        assert {row.entry.protocol for row in table.rows} == {table.key.protocol}
        seen |= keys
    assert len(seen) == 32
    assert sum(len(table.rows) for table in made) == 32 + len(reported_rows())
    for protocol in ("wildhoi@1", "behave@1", "open@1"):
        of_it = [table for table in made if table.key.protocol == protocol]
        assert of_it[0].apart == "" and all(table.apart for table in of_it[1:])


def drawn_or_given(method, protocol, **facts):
    count = len(load_protocol(protocol).headline)
    return given_scores([1.0] * count, method=method, protocol=protocol, **facts)


def test_reported_rows_stand_only_with_the_shipped_protocol_on_their_data_and_split(tmp_path):
    means = [4.0, 20.0, 9.0, 14.0]
    apart = {
        "protocol hash": {"hash": "0" * 64},
        "split": {"split": "train"},
        "data set": {"dataset": "elsewhere"},
    }
    for i, (reason, facts) in enumerate(apart.items()):
        save(tmp_path / reason, given_scores(means, method="X", **facts))
        first, *others = [t for t in leaderboard(tmp_path).tables if t.key.protocol == "wildhoi@1"]
        assert all(row.entry.reported for row in first.rows)
        assert len(others) == i + 1
        assert any(table.apart.startswith(reason) for table in others)
    save(tmp_path / "y", given_scores(means, method="Y"))
    first = leaderboard(tmp_path).tables[0]
    assert names(first) == ["KPS Flow (with contact)", "KPS Flow (w/o contact)", "Y", "PHOSA", "Isolation"]
    assert first.key.hash == load_protocol("wildhoi@1").hash


def test_another_data_revision_stands_apart_and_says_why(tmp_path):
    for i in range(3):
        save(tmp_path / f"{i}", given_scores([4, 20 + i, 9, 14], method=f"m{i}", revision=("a" if i else "c") * 64))
    one, two = leaderboard(tmp_path).tables[:2]
    assert one.key.revision == "a" * 64 and two.key.revision == "c" * 64
    assert two.apart == "data revision is cccccccccccc, not aaaaaaaaaaaa"
    assert names(two) == ["m0"]
    assert two.apart in leaderboard(tmp_path).to_markdown() and two.apart in shown(leaderboard(tmp_path))


VALUES = st.one_of(st.none(), st.integers(0, 8).map(lambda k: k / 2 + 0.001), st.floats(0, 50))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.tuples(*[VALUES] * 4), st.booleans()), min_size=1, max_size=6))
def test_bold_is_exactly_the_best_of_the_complete_rows_at_the_digits_shown(tmp_path_factory, rows):
    scores = [
        given_scores(m, {"apple": m[::-1]}, scored=10 if whole else 9, method=f"m{i}")
        for i, (m, whole) in enumerate(rows)
    ]
    (table,) = tables(entries_of(tmp_path_factory.mktemp("rows"), *scores))
    for scope, metric in product((OVERALL, "apple"), table.metrics):
        texts = {}
        for row in table.rows:
            group = row.group(scope)
            value = group.metrics[metric.name].mean
            if value is not None and group.coverage.scored == group.coverage.images:
                texts[row.name] = f"{value:.{metric.digits}f}"
        best = min(map(float, texts.values()), default=None)
        expected = {name for name, text in texts.items() if float(text) == best}
        assert {row.name for row in table.rows if (scope, metric.name) in row.best} == expected


def test_rows_are_sorted_by_the_object_metric_and_rows_without_it_come_last(tmp_path):
    values = {"b": 3.0, "none": None, "a": 3.0, "best": 1.0}
    scores = [given_scores([9 - i, v, 1, 1], method=m) for i, (m, v) in enumerate(values.items())]
    (table,) = tables(entries_of(tmp_path, *scores))
    assert table.sorted_by.name == "chamfer_object"
    assert names(table) == ["best", "a", "b", "none"]
    save(tmp_path / "open", drawn_or_given("m", "open@1"))
    assert tables(collect(tmp_path)[0])[0].sorted_by.name == "surface_object"


def test_the_order_of_files_changes_nothing(tmp_path):
    scores = [given_scores([4, 20, 9, 14], method="same", sha256=f"{i}" * 64) for i in range(4)]
    for order, folder in ((scores, "x"), (scores[::-1], "y")):
        for i, content in enumerate(order):
            save(tmp_path / folder / f"{i}", content)
    one, two = (leaderboard(tmp_path / folder) for folder in "xy")
    assert one.to_csv() == two.to_csv() and one.to_markdown() == two.to_markdown()


def test_submissions_of_one_method_are_told_apart_by_their_hash(tmp_path):
    scores = [given_scores([4, 20 + i, 9, 14], method="PHOSA", sha256=f"{i}" * 64) for i in range(2)]
    scores.append(given_scores([4, 30, 9, 14], method="other"))
    (table,) = tables(entries_of(tmp_path, *scores))
    assert names(table) == ["PHOSA (00000000)", "PHOSA (11111111)", "other"]
    assert "PHOSA" in names(leaderboard(tmp_path).tables[0])  # the published one keeps its name


def test_unofficial_scores_are_in_no_table_but_in_the_notes(tmp_path):
    save(tmp_path / "in", given_scores([4, 20, 9, 14], method="in"))
    save(tmp_path / "out", given_scores([0, 0, 0, 0], method="Cheat", unofficial_because=["body model open", "GPU"]))
    silent = {**given_scores([0, 0, 0, 0], method="Silent"), "official": False}
    save(tmp_path / "silent", silent)
    board = leaderboard(tmp_path)
    assert all(row.entry.method not in ("Cheat", "Silent") for table in board.tables for row in table.rows)
    assert board.notes[0] == "In no table: 2 unofficial scores."
    assert board.notes[1] == "Cheat (out/scores.json, wildhoi@1): body model open; GPU."
    for text in (board.to_markdown(), board.to_latex(), shown(board)):
        assert all(note in text for note in board.notes)
    assert [row["method"] for row in json.loads(board.to_json())["unofficial"]] == ["Cheat", "Silent"]
    assert "Cheat" not in board.to_csv()


def test_a_score_of_predictions_that_have_changed_is_in_no_table(tmp_path):
    predictions = tmp_path / "mine" / "predictions.parquet"
    predictions.parent.mkdir()
    predictions.write_bytes(b"as scored")
    scores = drawn_scores(protocol="wildhoi@1", images=24, method="mine")
    scores["submission"]["sha256"] = sha256_file(predictions)
    save(predictions.parent, scores)
    assert "mine" in leaderboard(tmp_path).to_csv()
    predictions.write_bytes(b"edited since")
    board = leaderboard(tmp_path)
    assert "mine" not in board.to_csv()
    assert any("predictions.parquet has changed" in note for note in board.notes)


def test_what_is_no_score_file_is_named_and_nothing_stops(tmp_path):
    good = given_scores([4, 20, 9, 14], method="good")
    save(tmp_path / "good", good)
    for name, text in {"broken": "{", "list": "[]", "nan": json.dumps(good).replace("20", "NaN")}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "scores.json").write_text(text)
    wrong = {
        "method": {**good, "submission": {**good["submission"], "method": 7}},
        "headline": {**good, "headline": ["no_such_metric"]},
        "nothing": {**good, "headline": []},
        "overall": {**good, "overall": {}},
        "objects": {**good, "objects": []},
        "infinite": {**good, "overall": json.loads(json.dumps(good["overall"]).replace("20", "1e999"))},
        "huge": {**good, "overall": json.loads(json.dumps(good["overall"]).replace("20", "1" + "0" * 400))},
        "negative": {**good, "overall": {**good["overall"], "coverage": {"images": -1}}},
        "spec": {**good, "spec": 99},
    }
    for name, content in wrong.items():
        save(tmp_path / name, content)
    (tmp_path / "folder" / "scores.json").mkdir(parents=True)
    save(tmp_path / ".scores.json.tmp", good)  # on its way to its place
    board = leaderboard(tmp_path)
    assert [e.method for e in collect(tmp_path)[0]] == ["good"]
    assert len(board.unreadable) == len(wrong) + 4
    unread = {*wrong, "broken", "list", "nan", "folder"}
    assert {line.split("/")[0] for line in board.unreadable} == unread
    assert str(tmp_path) not in board.to_markdown() + board.to_json()
    assert all("\n" not in line for line in board.unreadable)


def make_board(tmp_path, **options):
    for i in range(3):
        objects = ("apple", "ball", "chair")[: i + 1]
        save(tmp_path / f"{i}", drawn_scores(i, objects=objects, images=8, method=f"m{i}", sha256=f"{i}" * 64))
        facts = {"protocol": "open@1", "method": f"o{i}", "dataset": "open-sample"}
        save(tmp_path / f"o{i}", drawn_scores(i, objects=objects, images=8, **facts))
    return leaderboard(tmp_path, **options)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_every_number_in_markdown_is_the_json_rounded_and_bold_is_its_best(tmp_path, statistic):
    board = make_board(tmp_path, statistic=statistic)
    document, content = Cells(board.to_markdown()), json.loads(board.to_json())
    assert len(document.tables) == len(content["tables"]) == 3
    for (_, *lines), table in zip(document.tables, content["tables"], strict=True):
        for line, row in zip(lines, table["rows"], strict=True):
            assert [line[0][0], line[-1][0]] == [row["name"], row["source"]]
            for (text, bold), metric in zip(line[2:], table["metrics"], strict=False):
                value = row["overall"]["metrics"][metric["name"]][statistic]
                assert text == ("-" if value is None else f"{value:.{metric['digits']}f}")
                assert bold == (metric["name"] in row["overall"]["best"])
            coverage = row["overall"]["coverage"]
            assert line[-2][0] == (f"{coverage['scored']:,}/{coverage['images']:,}" if coverage else "-")


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_the_per_object_table_has_a_row_per_method_and_metric(tmp_path, statistic):
    board = make_board(tmp_path, per_object=True, statistic=statistic)
    document, content = Cells(board.to_markdown()), json.loads(board.to_json())
    for (head, *lines), table in zip(document.tables, content["tables"], strict=True):
        objects = [text for text, _ in head[2:-2]]
        assert objects == sorted(objects) == table["objects"]
        assert head[-2][0] == "Overall"
        expected = []
        for row in table["rows"]:
            groups = [*(row["objects"].get(name) for name in objects), row["overall"]]
            for metric in table["metrics"]:
                cells = [group and group["metrics"].get(metric["name"]) for group in groups]
                values = [cell and cell[statistic] for cell in cells]
                expected.append([number(value, metric["digits"]) for value in values])
            if not row["reported"]:
                counts = [group and group["coverage"] for group in groups]
                expected.append([f"{c['scored']}/{c['images']}" if c else "-" for c in counts])
        assert [[text for text, _ in line[2:-1]] for line in lines] == expected


def test_the_published_per_object_rows_are_in_the_per_object_table():
    lines = Cells(leaderboard(None, per_object=True).to_markdown()).tables[0]
    row = next(line for line in lines if (line[0][0], line[1][0]) == ("PHOSA", "Rotation (deg) ↓"))
    numbers = ["2.56", "26.49", "-", "3.59", "4.95", "3.99", "20.37", "3.25", "11.94"]
    assert [text for text, _ in row[2:-1]] == numbers


def test_csv_reads_back_at_full_precision(tmp_path):
    board = make_board(tmp_path)
    lines = list(csv.DictReader(StringIO(board.to_csv())))
    rows = [(table, row) for table in board.tables for row in table.rows]
    assert len(lines) == len(rows)
    for line, (table, row) in zip(lines, rows, strict=True):
        key = (table.key.protocol, table.key.hash or "", table.key.revision or "", table.key.split)
        assert key == (line["protocol"], line["protocol_hash"], line["revision"], line["split"])
        assert (line["method"], line["source"]) == (row.entry.method, row.entry.source)
        for metric in table.metrics:
            value = row.entry.overall.metrics[metric.name].mean
            text = line[f"{metric.name} [{metric.unit}]"]
            assert (None if text == "" else float(text)) == value
    per_object = list(csv.DictReader(StringIO(make_board(tmp_path, per_object=True).to_csv())))
    assert len(per_object) == sum(len(table.metrics) for table, _ in rows)
    first = next(line for line in per_object if (line["method"], line["metric"]) == ("PHOSA", "rotation"))
    assert (first["barbell"], first["basketball"], first["apple"], first["overall"]) == ("2.56", "", "", "11.94")


def test_the_same_numbers_are_bold_in_latex(tmp_path):
    board = make_board(tmp_path)
    bold = re.findall(r"\\textbf\{([^}]*)\}", board.to_latex())
    cells = [text for table in Cells(board.to_markdown()).tables for line in table for text, best in line if best]
    assert bold == cells
    assert board.to_latex().count(r"\begin{tabular}") == len(board.tables) == board.to_latex().count(r"\bottomrule")


def test_a_method_stands_once_beside_its_metrics_in_latex(tmp_path):
    board = make_board(tmp_path, per_object=True)
    floats = re.findall(r"\\begin\{table\*?\}.*?\\end\{table\*?\}", board.to_latex(), re.DOTALL)
    for text, table, (head, *lines) in zip(floats, board.tables, Cells(board.to_markdown()).tables, strict=True):
        rows = [line.removesuffix(r" \\").split(" & ") for line in text.split("\n") if line.endswith(r"\\")]
        assert {len(row) for row in rows} == {len(head)}
        assert [row[0] for row in rows[1:] if row[0]] == [latex(name) for name in names(table)]
        assert text.count(r"\midrule") == len(table.rows)  # below the head, and between the methods
        plain = [[re.sub(r"\\textbf\{([^}]*)\}", r"\1", cell) for cell in row[2:-1]] for row in rows[1:]]
        assert plain == [[cell for cell, _ in line[2:-1]] for line in lines]
        assert (r"\begin{table*}" in text) == (len(head) > 6)


def unlatex(text):
    """Undo the escapes one by one, and fail at a character that TeX would act on."""
    commands = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^"}
    commands |= {"textless": "<", "textgreater": ">", "textbar": "|", "textasciigrave": "`"}
    out = ""
    while text:
        if match := re.match(r"\\([a-z]+)\{\}", text):
            out += commands[match[1]]
        elif (match := re.match(r"\\([{}$&#%_])", text)) or (match := re.match(r"\{([\[\]*])\}", text)):
            out += match[1]
        elif match := re.match(r"-\{\}", text):
            out += "-"
        else:
            match = re.match(r"[^\\{}$&#%_~^\[\]*<>|`]", text)
            assert match, text
            out += match[0]
        text = text[match.end() :]
    return out


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.sampled_from([*HOSTILE, "half a pair \ud800"]), st.text(max_size=70)))
def test_no_name_breaks_a_format(name):
    line = clean(name)
    assert line.isprintable() and not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", line)
    assert clean(line) == line
    assert unlatex(latex(line.replace("↓", "").replace("↑", ""))) == line.replace("↓", "").replace("↑", "")
    document = Cells(f"| a | b |\n|---|---|\n| {markdown(line)} | end |\n")
    assert [text for text, _ in document.tables[0][1]] == [line, "end"]
    assert document.tags <= {"table", "thead", "tbody", "tr", "th", "td"}
    assert not spreadsheet(name).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert spreadsheet(name).removeprefix("'") == line.removeprefix("'")


def test_hostile_methods_leave_every_document_whole(tmp_path):
    for i, name in enumerate(HOSTILE):
        facts = {"supervision": name, "sha256": f"{i:064x}"}
        save(tmp_path / f"a{i}", given_scores([1, i, 1, 1], {name or "-": [1] * 4}, method=name, **facts))
        save(tmp_path / f"b{i}", given_scores([1] * 4, method=name, unofficial_because=[name]))
    for per_object in (False, True):
        board = leaderboard(tmp_path, per_object=per_object)
        texts = [board.to_markdown(), board.to_csv(), board.to_latex(), board.to_json(), shown(board)]
        assert all(not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text) for text in texts)
        assert all(text.encode() for text in texts)
        for table in Cells(texts[0]).tables:
            assert {len(line) for line in table} == {len(table[0])}
        lines = list(csv.reader(StringIO(texts[1])))
        assert {len(line) for line in lines} == {len(lines[0])}
        assert all(line.count(" & ") for line in texts[2].split("\n") if line.endswith(r"\\"))
        assert [row["method"] for row in json.loads(texts[3])["tables"][0]["rows"][: len(HOSTILE)]] == HOSTILE[:14]
    assert names(board.tables[0])[: len(HOSTILE)] == [short(name) for name in HOSTILE]


def test_a_method_whose_name_is_no_unicode_is_in_no_table_but_in_the_notes(tmp_path):
    save(tmp_path / "half", given_scores([0, 0, 0, 0], method="half a pair \ud800"))
    board = leaderboard(tmp_path)
    assert board.tables == leaderboard(None).tables
    (note,) = (note for note in board.notes if "half/scores.json" in note)
    assert "Unicode" in note and note in board.to_markdown()


@pytest.mark.parametrize("per_object", [False, True])
def test_the_terminal_view_fits_a_hundred_columns_and_shows_every_number(tmp_path, per_object):
    board = make_board(tmp_path, per_object=per_object)
    text = shown(board)
    assert max(map(len, text.split("\n"))) <= 100
    assert "…" not in text
    for table in board.tables:
        for row in table.rows:
            scopes = (OVERALL, *row.entry.objects) if per_object else (OVERALL,)
            for scope, metric in product(scopes, table.metrics):
                assert number(row.group(scope).metrics[metric.name].mean, metric.digits) in text


@pytest.mark.parametrize("count", [1, 9, 10, 25])
def test_no_number_is_cut_however_many_objects_there_are(tmp_path, count):
    means = {
        f"an-object-with-a-long-name-{i}"[i % 20 :]: [1000.25 + i + 100 * k for k in range(4)] for i in range(count)
    }
    save(tmp_path, given_scores([1, 2, 3, 4], means, images=1000))
    text = shown(leaderboard(tmp_path, per_object=True))
    assert max(map(len, text.split("\n"))) <= 100
    assert all(f"{value:.2f}" in text for values in means.values() for value in values)
    assert text.count("1,000/1,000") == len(means) + 1


def test_different_body_files_in_a_table_are_said(tmp_path):
    save(tmp_path / "1", given_scores([1, 1, 1, 1], body="1" * 64))
    assert "body files" not in leaderboard(tmp_path).to_markdown()
    save(tmp_path / "2", given_scores([1, 1, 1, 1], body="2" * 64))
    assert "body files" in leaderboard(tmp_path).to_markdown()


def test_build_writes_the_four_files_and_nothing_else(tmp_path):
    save(tmp_path / "in", given_scores([4, 20, 9, 14]))
    out = tmp_path / "out"
    paths = build(tmp_path, out)
    assert [path.name for path in paths] == ["LEADERBOARD.md", "leaderboard.csv", "leaderboard.tex", "leaderboard.json"]
    assert sorted(out.iterdir()) == sorted(paths)
    before = [path.read_bytes() for path in paths]
    build(tmp_path, out)
    assert [path.read_bytes() for path in paths] == before
    assert paths[0].read_text() == leaderboard(tmp_path).to_markdown()


def test_higher_is_better_turns_order_and_bold(tmp_path):
    scores = [drawn_scores(i, objects=("apple",), images=4, spheres=(), method=f"m{i}") for i in range(3)]
    for content in scores:
        content["headline"] = ["f_score_object"]
        content["overall"]["coverage"].update(scored=4, failed=0)
    entries = entries_of(tmp_path, *scores)
    (table,) = tables([replace(entry, official=True) for entry in entries])
    values = [row.entry.overall.metrics["f_score_object"].mean for row in table.rows]
    assert values == sorted(values, reverse=True)
    assert [bool(row.best & {(OVERALL, "f_score_object")}) for row in table.rows] == [True, False, False]
