"""Ablations: grids read, cells keyed, trained, run and scored once, and their table."""

import csv
import inspect
import json
import re
from dataclasses import replace
from io import StringIO
from itertools import product

import numpy as np
import pytest
import run_methods
from command import run as run_command
from score_files import drawn_scores

import submissions
from baselines.training.options import train_options
from evaluation.evaluate import Options, evaluate
from evaluation.leaderboard.ablation import ablation_board
from evaluation.protocol import FOLDER as PROTOCOLS
from evaluation.protocol import load_protocol
from evaluation.scores import SCORES
from wildhoi import training
from wildhoi.ablation import planning, runner
from wildhoi.ablation.grids import FOLDER, Cell, Grid, grid_names, load_grid
from wildhoi.ablation.planning import Choices, plan_ablation
from wildhoi.ablation.runner import run_ablation
from wildhoi.ablation.stored import GRIDS, Ablation, Placed, read_ablations, write_ablation
from wildhoi.dataset import find_data
from wildhoi.errors import InputError, MissingAssetError, RunError
from wildhoi.files import sha256_file
from wildhoi.method import load_method, require_known
from wildhoi.objects import load_categories
from wildhoi.schema import Failure, Reconstruction
from wildhoi.submission.folder import PREDICTIONS

THINGS = ("baseball", "basketball")
DEFAULTS = {"shift": 0.0, "checkpoint": ""}
TEXT = 'name = "g"\ntitle = "T"\ndataset = "open-sample"\n'


def shifted(sample, shift):
    pose = sample.object_pose
    moved = replace(pose, translation=pose.translation + np.array([0.0, 0.0, shift]))
    return Reconstruction(sample.image_id, sample.human, moved)


class Installed:
    """Methods by name, each the estimates with its object moved; `calls` are (method, settings, image ids)."""

    def __init__(self, behave=None):
        self.calls, self.behave = [], behave

    def load(self, name, settings=None):
        require_known(name, settings or {}, DEFAULTS)
        if name not in ("still", "other"):
            raise InputError(f"method {name!r} is unknown")
        chosen = {**DEFAULTS, **(settings or {})}

        def reconstruct(toy, samples, setup):
            self.calls.append((name, chosen, [sample.image_id for sample in samples]))
            other = self.behave(chosen, samples) if self.behave else None
            return other or [shifted(sample, chosen["shift"]) for sample in samples]

        return run_methods.Toy(reconstruct, name, **chosen)


@pytest.fixture
def install(monkeypatch):
    def installed(behave=None):
        methods = Installed(behave)
        for module in (planning, runner):
            monkeypatch.setattr(module, "load_method", methods.load)
        return methods

    return installed


@pytest.fixture(scope="module")
def data():
    return find_data("open-sample")


def quick(folder):
    """open@1 with few points on a surface, in a file beside the folder."""
    text = (PROTOCOLS / "open@1.toml").read_text().replace('"open@1"', '"quick@1"')
    for name, count in (("points", 200), ("surface_points", 50), ("f_score_points", 200)):
        text = re.sub(rf"(?m)^{name} = \d+", f"{name} = {count}", text)
    path = folder.with_name(f"{folder.name}-rules.toml")
    path.write_text(text)
    return str(path)


def cell(label, shift=0.0, train=None, method="still", **settings):
    return Cell(label, method, {**({"shift": shift} if shift else {}), **settings}, train or {})


def grid(*cells, **changes):
    return replace(Grid("g", "Some title", "", "open-sample", "open@1", THINGS[:1], tuple(cells)), **changes)


def plan(cells, data, out, limit=1, training_data=None, **changes):
    with submissions.unchecked():
        made = grid(*cells, **{"protocol": quick(out), **changes})
        return plan_ablation(made, data, out, Choices(limit, "cpu"), training_data)


def ablate(cells, data, out, only=(), trainer=None, **changes):
    made = plan(cells, data, out, **changes)
    with submissions.unchecked():
        return made, [(o.label, o.status) for o in run_ablation(made, only, trainer)]


def folders(out):
    return {path.name for path in (out / "cells").iterdir()}


# Grids


@pytest.mark.parametrize("name", grid_names())
def test_a_shipped_grid_is_whole(name):
    found = load_grid(name)
    assert found.name == name and found.note and len(found.cells) >= 2
    assert found.dataset in load_protocol(found.protocol).datasets
    assert set(found.objects) <= set(load_categories())
    variants = [json.dumps([c.method, dict(c.settings), dict(c.train)], sort_keys=True) for c in found.cells]
    assert len(set(variants)) == len(variants)


@pytest.mark.parametrize("name", grid_names())
def test_a_shipped_grid_can_be_trained_and_run(name):
    for found in load_grid(name).cells:
        settings = load_method(found.method, found.settings).settings
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in found.settings.items()}
        assert {key: settings[key] for key in given} == given
        if found.train:
            rest = {key: value for key, value in found.train.items() if key != "preset"}
            options = train_options(found.train["preset"], rest)
            assert {key: getattr(options, key) for key in rest if key != "condition"} == {
                key: value for key, value in rest.items() if key != "condition"
            }
            assert options.encoder.name == rest["condition"]


def test_the_shipped_grids_share_what_is_the_same():
    def variant(name, label):
        found = next(c for c in load_grid(name).cells if c.label == label)
        return found.method, found.settings, found.train

    method, settings, train = variant("losses", "prior")
    assert (method, settings, {**train, "source": "estimates"}) == variant("supervision", "2D, KNN, as estimated")
    assert (
        variant("losses", "prior and contact")
        == variant("neighbours", "k=16")
        == variant("condition", "condition=small")
    )
    trained = {json.dumps(dict(c.train), sort_keys=True) for n in ("cameras", "start") for c in load_grid(n).cells}
    assert len(trained) == 1
    assert [c.train for c in load_grid("losses").cells if not c.method.startswith("flow-prior")] == [{}, {}]


def read(tmp_path, text):
    path = tmp_path / "grid.toml"
    path.write_text(TEXT + text)
    return load_grid(path)


def test_a_cell_inherits_the_base_and_another_method_nothing(tmp_path):
    base = '[base]\nmethod = "a"\nset = { x = 1, y = 2 }\ntrain = { k = 4 }\n'
    cells = '[[cell]]\nlabel = "1"\nset = { y = 3 }\n[[cell]]\nlabel = "2"\nmethod = "b"\nset = { z = 1 }\n'
    assert read(tmp_path, base + cells).cells == (
        Cell("1", "a", {"x": 1, "y": 3}, {"k": 4}),
        Cell("2", "b", {"z": 1}, {}),
    )


def test_axes_are_a_product_behind_the_cells_written_out(tmp_path):
    axes = '[axes]\nset.m = [1, 2]\nset.s = ["u", "v"]\ntrain.k = [4, 8]\n'
    found = read(tmp_path, '[base]\nmethod = "a"\n[[cell]]\nlabel = "first"\n' + axes).cells
    twin = [
        Cell(f"m={m}, s={s}, k={k}", "a", {"m": m, "s": s}, {"k": k}) for m, s, k in product([1, 2], ["u", "v"], [4, 8])
    ]
    assert found == (Cell("first", "a"), *twin)


ONE = '[[cell]]\nlabel = "x"\nmethod = "a"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has 0 cells"),
        ("[[cell]", "not a TOML file"),
        ("x = " + "[" * 5000, "not a TOML file"),
        ("n = " + "1" * 5000, "not a TOML file"),
        (ONE + ONE, "several cells are called 'x'"),
        ('[[cell]]\nlabel = "x"\n', "cell 1: method is missing"),
        ('[[cell]]\nmethod = "x"\n', "cell 1: label is missing"),
        (f'[[cell]]\nlabel = "{"x" * 41}"\nmethod = "a"\n', "want 1 to 40 printable"),
        ('[[cell]]\nlabel = "\\u001b[31m"\nmethod = "a"\n', "want 1 to 40 printable"),
        (ONE + "sett = {}\n", "unknown fields sett; there are label, method, set, train"),
        (ONE + "set = 3\n", "set is 3, want a table"),
        (ONE + 'set = { checkpoint = "c" }\ntrain = { k = 1 }\n', "sets checkpoint, which `train` gives"),
        ("cell = 3\n", "write \\[\\[cell\\]\\]"),
        ("objects = [1]\n" + ONE, "objects is \\[1\\]"),
        ("seed = true\n" + ONE, "seed is True"),
        ("extra = 1\n" + ONE, "unknown fields extra"),
        ('[base]\nmethod = "a"\n[axes]\nset.m = 3\n', "axes.set.m is 3"),
        ('[base]\nmethod = "a"\n[axes]\nm = [3]\n', "axes: unknown fields m"),
        ('[base]\nmethod = "a"\n[axes]\n' + "\n".join(f"set.m{i} = [1, 2]" for i in range(11)), "span 2048 cells"),
    ],
)
def test_a_grid_that_is_none_is_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, text)


@pytest.mark.parametrize("name", ["../x", "G", "", "x" * 41])
def test_the_name_of_a_grid_is_the_name_of_a_file(tmp_path, name):
    path = tmp_path / "grid.toml"
    path.write_text(f'name = "{name}"\ntitle = "T"\ndataset = "d"\n' + ONE)
    with pytest.raises(InputError, match="name is"):
        load_grid(path)


def test_an_unknown_grid_says_which_ship():
    with pytest.raises(InputError, match=f"want one of {', '.join(grid_names())}"):
        load_grid("loses")
    assert FOLDER.is_dir()


# Keys


def key(data, tmp_path, made=None, **changes):
    return plan([made or cell("a")], data, tmp_path, **changes).ablation.cells[0].key


def test_a_key_is_of_all_that_matters_and_of_nothing_else(tmp_path, data, install):
    install()
    first = key(data, tmp_path)
    assert first == key(data, tmp_path / "elsewhere", cell("b"), title="T", note="N", name="h", objects=THINGS[:1])
    assert first == key(data, tmp_path, cell("a", checkpoint=""))  # a default that is written out
    assert [c.key for c in plan([cell("b", 1.0), cell("a")], data, tmp_path).ablation.cells][1] == first
    others = [
        key(data, tmp_path, cell("a", 1.0)),
        key(data, tmp_path, cell("a", method="other")),
        key(data, tmp_path, cell("a", train={"k": 1})),
        key(data, tmp_path, cell("a", train={"k": 2})),
        key(data, tmp_path, objects=THINGS),
        key(data, tmp_path, protocol="open-small@1"),
        key(data, tmp_path, limit=2),
        key(data, tmp_path, limit=None),
        key(data, tmp_path, seed=1),
        key(data, tmp_path, batch=1),
    ]
    assert len({first, *others}) == 1 + len(others)


def test_a_key_is_of_the_data_and_of_the_version(tmp_path, data, install, monkeypatch):
    install()
    trained = cell("a", train={"k": 1})
    first = plan([trained], data, tmp_path).ablation.cells[0]

    def changed(name):
        assert any(other.startswith(name) for other in data.checksums)
        sums = {other: "0" * 64 if other.startswith(name) else value for other, value in data.checksums.items()}
        return replace(data, checksums=sums)

    train = f"samples/{THINGS[0]}/train-"
    other = replace(data, checksums={**data.checksums, train + "00000-of-00001.parquet": "0" * 64})
    retrained = plan([trained], data, tmp_path, training_data=other).ablation.cells[0]
    assert retrained.training != first.training and retrained.key != first.key
    assert key(other, tmp_path) == key(data, tmp_path)  # nothing is trained
    assert key(changed(f"samples/{THINGS[0]}"), tmp_path) != key(data, tmp_path)
    assert key(replace(data, identity={**data.identity, "truth": {}}), tmp_path) != key(data, tmp_path)
    monkeypatch.setattr(planning, "__version__", "99")
    assert plan([trained], data, tmp_path).ablation.cells[0].training != first.training


def test_what_a_plan_cannot_be_of_is_refused_with_its_cell(tmp_path, data, install):
    install()
    with pytest.raises(InputError, match=r"grid g: cell 'a': still: has no setting 'shft' \(did you mean shift\?\)"):
        plan([cell("a", shft=1)], data, tmp_path)
    with pytest.raises(InputError, match="cell 'a': method 'nothing' is unknown"):
        plan([cell("a", method="nothing")], data, tmp_path)
    with pytest.raises(InputError, match="want a finite number"):
        plan([cell("a", train={"k": float("nan")})], data, tmp_path)
    with pytest.raises(InputError, match="protocol 'x' is unknown"):
        plan([cell("a")], data, tmp_path, protocol="x")
    with pytest.raises(InputError, match="of spoon"):
        plan([cell("a")], data, tmp_path, objects=("spoon",))
    with pytest.raises(MissingAssetError, match="has no samples of split 'test'"):
        plan([cell("a")], submissions.make_data(tmp_path / "bare", THINGS, body_model="open"), tmp_path)
    with pytest.raises(InputError, match="--limit 0"):
        Choices(limit=0)
    assert not (tmp_path / "cells").exists()


# Runs


def test_a_cell_is_what_running_and_scoring_by_hand_gives(tmp_path, data, install):
    install()
    made, outcomes = ablate([cell("a", 0.25)], data, tmp_path / "out", limit=None)
    assert outcomes == [("a", "done")]
    method = Installed().load("still", {"shift": 0.25})
    by_hand = run_methods.run(method, data, tmp_path / "hand", objects=THINGS[:1])[1]
    with submissions.unchecked():
        wanted = evaluate(by_hand, data, load_protocol(quick(tmp_path)), Options(objects=THINGS[:1])).scores
    found = json.loads((made.folder(made.ablation.cells[0]) / SCORES).read_text())
    assert found["overall"] == wanted["overall"] and found["objects"] == wanted["objects"]
    assert found["protocol"] == wanted["protocol"]


def test_only_what_is_missing_is_run(tmp_path, data, install):
    methods = install()
    cells = [cell("a"), cell("b", 0.1)]
    assert ablate(cells, data, tmp_path)[1] == [("a", "done"), ("b", "done")]
    before, kept = len(methods.calls), folders(tmp_path)
    assert ablate(cells[::-1], data, tmp_path)[1] == [("b", "kept"), ("a", "kept")]
    # a second grid in the folder shares what is the same, under any label
    more = [cell("other name"), cell("c", 0.2)]
    assert ablate(more, data, tmp_path, name="h")[1] == [("other name", "kept"), ("c", "done")]
    assert [settings["shift"] for _, settings, _ in methods.calls[before:]] == [0.2]
    assert kept < folders(tmp_path)
    assert {found.name for found in read_ablations(tmp_path)[0]} == {"g", "h"}
    changed = [cells[0], cell("b", 0.3)]
    assert ablate(changed, data, tmp_path)[1] == [("a", "kept"), ("b", "done")]
    assert ablate(cells, data, tmp_path)[1] == [("a", "kept"), ("b", "kept")]


def test_only_the_cells_asked_for(tmp_path, data, install):
    install()
    cells = [cell("a"), cell("b", 0.1)]
    assert ablate(cells, data, tmp_path, only=("b",))[1] == [("b", "done")]
    (table,) = ablation_board(tmp_path).tables
    assert table.absent == (("a", "not run yet"),) and [row.name for row in table.table.rows] == ["b"]
    with pytest.raises(InputError, match=r"--only x: grid g has no such cell, want some of 'a', 'b'"):
        ablate(cells, data, tmp_path, only=("b", "x"))


def test_a_limit_runs_and_scores_the_first_images(tmp_path, data, install):
    methods = install()
    made, _ = ablate([cell("a")], data, tmp_path, limit=2, objects=THINGS)
    coverage = ablation_board(tmp_path).tables[0].table.rows[0].entry.overall.coverage
    assert (coverage.images, coverage.scored) == (4, 4) and coverage.complete
    assert [len(ids) for _, _, ids in methods.calls] == [2, 2]
    assert made.rules.title in ablation_board(tmp_path).to_markdown() and "only the first 2 images" in made.rules.title
    # no smaller than the protocol has it already
    rules = load_protocol("open-small@1")
    assert plan([cell("a")], data, tmp_path, limit=30, protocol=rules.id).rules == rules


def test_a_cell_that_fails_does_not_stop_the_others(tmp_path, data, install):
    def behave(settings, samples):
        if settings["shift"] == 1:
            raise ValueError("burst")
        return [Failure(s.image_id, "lost") for s in samples] if settings["shift"] == 2 else None

    install(behave)
    made = plan([cell("a", 1), cell("b", 2), cell("c", 3)], data, tmp_path)
    with submissions.unchecked():
        outcomes = run_ablation(made)
    assert [o.status for o in outcomes] == ["failed", "failed", "done"]
    assert "burst" in outcomes[0].reason and outcomes[1].reason == "no image has a reconstruction: lost"
    assert [row.name for row in ablation_board(tmp_path).tables[0].table.rows] == ["c"]
    install()  # mended: the batch that burst is done; what the method itself gave up is its result
    assert [status for _, status in ablate([cell("a", 1), cell("c", 3)], data, tmp_path)[1]] == ["done", "kept"]


def test_a_killed_run_goes_on(tmp_path, data, install):
    cells, few = [cell("a"), cell("b", 0.1)], {"limit": 2, "batch": 1}

    def killed(settings, samples):
        if len(methods.calls) == 2:
            raise KeyboardInterrupt

    methods = install(killed)
    with pytest.raises(KeyboardInterrupt):
        ablate(cells, data, tmp_path, **few)
    first = [ids for _, _, ids in methods.calls]
    methods = install()
    assert ablate(cells, data, tmp_path, **few)[1] == [("a", "done"), ("b", "done")]
    again = [ids for _, settings, ids in methods.calls if not settings["shift"]]
    assert len(first) == 2 and again == first[1:]


def test_what_changed_since_it_was_scored_is_done_again(tmp_path, data, install):
    install()
    made, _ = ablate([cell("a")], data, tmp_path)
    folder = made.folder(made.ablation.cells[0])
    good = (folder / PREDICTIONS).read_bytes()
    (folder / PREDICTIONS).write_bytes(b"something else")
    assert "has changed since it was scored" in ablation_board(tmp_path).tables[0].absent[0][1]
    assert ablate([cell("a")], data, tmp_path)[1] == [("a", "done")]
    assert (folder / PREDICTIONS).read_bytes() == good
    (folder / SCORES).unlink()
    assert ablation_board(tmp_path).tables[0].absent == (("a", "not finished, or not scored"),)
    assert ablate([cell("a")], data, tmp_path)[1] == [("a", "done")]


# Trainings


class Trainer:
    """Writes what a finished training leaves; `behave(name, options)` may raise, or say that it is not finished."""

    def __init__(self, behave=None):
        self.calls, self.behave = [], behave

    def __call__(self, data, name, out, options, *, device, progress):
        assert device == "cpu"
        self.calls.append((name, dict(options)))
        finished = not (self.behave and self.behave(name, options))
        progress("epochs", 1, 1)
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.json").write_text(json.dumps({"finished": finished}))


def test_equal_trainings_are_one_and_methods_are_told_where(tmp_path, data, install, monkeypatch):
    methods, trainer = install(), Trainer()
    cells = [cell("a", train={"k": 1}), cell("b", 0.1, train={"k": 1}), cell("c", train={"k": 2}), cell("d")]
    monkeypatch.chdir(tmp_path)
    made, outcomes = ablate(cells, data, tmp_path / "out", trainer=trainer, objects=THINGS)
    assert [status for _, status in outcomes] == ["done"] * 4
    assert trainer.calls == [(name, {"k": k}) for k in (1, 2) for name in THINGS]
    placed = made.ablation.cells
    assert placed[0].training == placed[1].training != placed[2].training and placed[3].training is None
    told = {c.label: str(tmp_path / "out" / "checkpoints" / c.training) for c in placed[:3]} | {"d": ""}
    assert [settings["checkpoint"] for _, settings, _ in methods.calls[::2]] == [told[c.label] for c in placed]
    # elsewhere but the same folder, all is there
    assert [s for _, s in ablate(cells, data, type(tmp_path)("out"), trainer=trainer, objects=THINGS)[1]] == [
        "kept"
    ] * 4
    assert len(trainer.calls) == 4


def test_trainings_that_are_finished_are_kept_and_others_go_on(tmp_path, data, install):
    install()
    cells = [cell("a", train={"k": 1}), cell("b", 0.1, train={"k": 1}), cell("c")]

    def burst(name, options):
        if name == THINGS[1]:
            raise RunError("the loss is NaN")

    failing = Trainer(burst)
    made = plan(cells, data, tmp_path, objects=THINGS)
    with submissions.unchecked():
        outcomes = run_ablation(made, (), failing)
    assert [o.status for o in outcomes] == ["failed", "failed", "done"]
    assert [o.reason for o in outcomes[:2]] == [f"training on {THINGS[1]} failed: the loss is NaN"] * 2
    assert [name for name, _ in failing.calls] == list(THINGS)  # not begun again for the second cell
    lazy = Trainer(lambda name, options: True)
    with submissions.unchecked():
        assert "is not finished" in run_ablation(made, ("a",), lazy)[0].reason
    good = Trainer()
    assert [s for _, s in ablate(cells, data, tmp_path, trainer=good, objects=THINGS)[1]] == ["done", "done", "kept"]
    assert [name for name, _ in lazy.calls] == [name for name, _ in good.calls] == [THINGS[1]]


def test_the_trainer_of_flow_priors_is_asked_as_it_wants(tmp_path, data, install, monkeypatch):
    install()
    asked = []

    def train(*words, **named):
        asked.append(bind(*words, **named).arguments)
        Trainer()(*words, device="cpu", progress=named["progress"])

    bind = inspect.signature(training.train_flow_prior).bind
    monkeypatch.setattr(training, "train_flow_prior", train)
    assert ablate([cell("a", train={"preset": "paper", "k": 3})], data, tmp_path)[1] == [("a", "done")]
    ((told,), wanted) = asked, {"name": THINGS[0], "options": {"k": 3}, "preset": "paper", "resume": True}
    assert {name: told[name] for name in wanted} == wanted and told["device"] == "cpu"


def test_a_defect_of_a_trainer_is_told_by_its_kind_and_raised_where_that_is_asked_for(
    tmp_path, data, install, monkeypatch
):
    install()

    def defect(name, options):
        raise KeyError("x")

    made = plan([cell("a", train={"k": 1})], data, tmp_path)
    with submissions.unchecked():
        (outcome,) = run_ablation(made, (), Trainer(defect))
        assert outcome.reason == f"training on {THINGS[0]} failed: KeyError: 'x'"
        monkeypatch.setenv("WILDHOI_DEBUG", "1")
        with pytest.raises(KeyError):
            run_ablation(made, (), Trainer(defect))


# Tables


RULES = load_protocol("open-small@1")


def stored(folder, scores, name="g", note=""):
    """An ablation folder with these scores by label, None where a cell was not run."""
    cells = []
    for number, (label, content) in enumerate(scores.items()):
        placed = Placed(label, "still", f"{number:016x}", {}, {})
        cells.append(placed)
        if content is None:
            continue
        place = folder / "cells" / placed.key
        place.mkdir(parents=True)
        (place / PREDICTIONS).write_text(label)
        if isinstance(content, dict):
            content["submission"]["sha256"] = sha256_file(place / PREDICTIONS)
            content = json.dumps(content)
        (place / SCORES).write_text(content)
    facts = (RULES.id, RULES.hash, RULES.datasets[0], "a" * 64, "test")
    write_ablation(folder, Ablation(name, f"Title of {name}", note, *facts, tuple(cells)))
    return folder


def scores(seed, scale=1.0, **changes):
    return drawn_scores(seed, RULES.id, THINGS, spheres=(), scale=scale, **changes)


def whole(seed, scale):
    """Scores of every image: only these are compared for the best."""
    found = scores(seed, scale)
    for group in (found["overall"], *found["objects"].values()):
        group["coverage"] |= {"scored": group["coverage"]["images"], "failed": 0}
    return found


def rendered(board):
    from rich.console import Console

    console = Console(width=100, record=True, file=StringIO())
    console.print(board.to_rich())
    texts = [board.to_markdown(), board.to_latex(), board.to_csv(), board.to_json(), console.export_text()]
    assert all(character.isprintable() or character in "\n\u202f" for text in texts for character in text)
    return texts


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_a_table_has_the_cells_in_order_the_best_marked_and_says_what_is_missing(tmp_path, statistic):
    found = {"worse": whole(1, 2.0), "absent": None, "better": whole(1, 1.0)}
    board = ablation_board(stored(tmp_path, found, note="Mind the gap"), statistic=statistic)
    (made,) = board.tables
    assert [row.name for row in made.table.rows] == ["worse", "better"]
    names = [metric.name for metric in made.table.metrics]
    assert names == list(RULES.headline)
    assert [{metric for of, metric in row.best if not of} for row in made.table.rows] == [set(), set(names)]
    page = board.to_markdown()
    assert page.index("worse") < page.index("better") and "Mind the gap" in page
    assert "Not in the table: absent (not run yet)" in page and "Sorted" not in page
    for label, bold in (("worse", ""), ("better", "**")):
        line = next(line for line in page.splitlines() if line.startswith(f"| {label}"))
        one = found[label]["overall"]["metrics"]["surface_human"]
        low, high = one["interval"]
        between = f" ({low:.2f}–{high:.2f})" if statistic == "mean" else ""
        assert f"| {bold}{one[statistic]:.2f}{between}{bold} |" in " ".join(line.split())
        assert "80/80" in line
    rendered(board)


def test_no_official_scores_are_compared_and_called_so(tmp_path):
    reason = "only the objects x are scored"
    board = ablation_board(stored(tmp_path, {"a": scores(1, unofficial_because=[reason]), "b": scores(2)}))
    assert [row.name for row in board.tables[0].table.rows] == ["a", "b"]
    page = board.to_markdown()
    assert f"No official scores: {reason}." in page
    # an image of each object failed: nobody is called the best
    assert "not compared for the best" in page and "**" not in page


def test_the_numbers_of_csv_and_json_are_those_of_the_scores(tmp_path):
    found = {"a": scores(1), "=1+1": scores(2)}
    board = ablation_board(stored(tmp_path, found), per_object=True)
    lines = list(csv.DictReader(StringIO(board.to_csv())))
    assert len(lines) == 2 * (1 + len(THINGS)) * len(RULES.headline)
    for line in lines:
        source = found[line["cell"].removeprefix("'")]
        group = source["objects"][line["object"]] if line["object"] else source["overall"]
        one = group["metrics"][line["metric"]]
        numbers = [float(line[name]) if line[name] else None for name in ("mean", "median", "low", "high")]
        assert numbers == [one["mean"], one["median"], *(one["interval"] or [None, None])]
        assert int(line["scored"]) == group["coverage"]["scored"]
    content = json.loads(board.to_json())["grids"][0]["cells"]
    for one, source in zip(content, found.values(), strict=True):
        assert one["overall"]["metrics"]["rotation"]["mean"] == source["overall"]["metrics"]["rotation"]["mean"]
        assert set(one["objects"]) == set(THINGS) and one["absent_because"] is None
    assert all(f" {name} " in board.to_markdown() for name in (*THINGS, "Overall"))
    rendered(board)


def spoilt(**changes):
    return {**scores(3), **changes}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[]", "not a score file"),
        (spoilt(overall={}), "malformed"),
        (spoilt(headline=["x"]), "malformed"),
        (spoilt(protocol={**scores(3)["protocol"], "hash": "f" * 64}), "another protocol, or of other data"),
        (spoilt(dataset={**scores(3)["dataset"], "name": "open-other"}), "another protocol, or of other data"),
        (spoilt(dataset={**scores(3)["dataset"], "revision": "b"}), "another protocol, or of other data"),
        (json.dumps(scores(3)), "is gone, or has changed"),
    ],
)
def test_a_hostile_score_file_is_told_and_the_rest_is_shown(tmp_path, content, words):
    board = ablation_board(stored(tmp_path, {"bad": content, "good": scores(1)}))
    (made,) = board.tables
    assert [row.name for row in made.table.rows] == ["good"]
    ((label, reason),) = made.absent
    assert label == "bad" and words in reason and str(tmp_path) not in reason
    rendered(board)


def test_where_nothing_is_scored_every_format_says_so(tmp_path):
    for per_object in (False, True):
        board = ablation_board(stored(tmp_path, {"a": None}), per_object=per_object)
        texts = rendered(board)
        assert all("not run yet" in text for place, text in enumerate(texts) if place != 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spec": 2}, "spec 2"),
        ({"cells": 3}, "want a value of type list"),
        ({"title": None}, "want a value of type str"),
        ({"name": "other"}, "its name is another"),
        ({"cells": [{"label": "x"}]}, "no field 'method'"),
        ({"key": "../../../etc"}, "want 16 hexadecimal digits"),
        ({"training": "../x"}, "want 16 hexadecimal digits"),
        ({"settings": {"x": float("nan")}}, "not finite"),
        ({"settings": json.loads("[" * 400 + "]" * 400)}, "want a value of type dict"),
        ({"settings": {"x": json.loads("[" * 400 + "]" * 400)}}, "too deep"),
    ],
)
def test_a_hostile_grid_is_told_and_the_rest_is_shown(tmp_path, change, words):
    stored(tmp_path, {"a": scores(1)})
    good = json.loads((tmp_path / GRIDS / "g.json").read_text())
    bad = {**good, "name": "bad"}
    if set(change) <= set(bad):
        bad |= change
    else:
        bad["cells"][0] |= change
    (tmp_path / GRIDS / "bad.json").write_text(json.dumps(bad))
    (tmp_path / GRIDS / "worse.json").write_text("{")
    board = ablation_board(tmp_path)
    assert [made.ablation.name for made in board.tables] == ["g"]
    assert len(board.unreadable) == 2 and words in board.unreadable[0] and str(tmp_path) not in board.unreadable[0]
    assert words.split()[0] in rendered(board)[0]


def test_hostile_words_steer_nothing(tmp_path):
    evil = "\x1b[31m\u202e <script> | $x$ \\input{y}\n- z"
    stored(tmp_path, {"a": scores(1), evil: scores(2), evil + "2": None})
    content = json.loads((tmp_path / GRIDS / "g.json").read_text())
    (tmp_path / GRIDS / "g.json").write_text(json.dumps({**content, "title": evil, "note": evil}))
    board = ablation_board(tmp_path)
    page, paper, *_ = rendered(board)
    assert "<script>" not in page.replace("\\<script\\>", "")
    assert "\\input" not in "".join(line for line in paper.splitlines() if not line.startswith("%"))
    assert len(board.tables[0].table.rows) == 2


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="no ablation folder"):
        ablation_board(tmp_path)
    with pytest.raises(InputError, match="has no grid x; there are g"):
        ablation_board(stored(tmp_path, {"a": None}), names=("x",))


# The commands


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WILDHOI_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    return lambda *words: run_command(monkeypatch, capfd, *words)


def test_the_commands_run_list_and_print(tmp_path, command):
    text = f'protocol = "{quick(tmp_path)}"\nobjects = ["{THINGS[0]}"]\n'
    (tmp_path / "g.toml").write_text(TEXT + text + '[[cell]]\nlabel = "as it is"\nmethod = "isolation"\n')
    words = ("ablate", "g.toml", "-o", "out", "--limit", 1, "--device", "cpu")
    listed = command(*words, "--list", "--json")
    assert listed.code == 0 and [c["status"] for c in json.loads(listed.out)] == ["missing"]
    assert not (tmp_path / "out").exists()
    done = command(*words)
    assert done.code == 0 and "as it is" in done.out and "1 done, 0 kept, 0 failed" in done.err
    assert "done" in command(*words, "--list").out
    assert json.loads(command(*words, "--json").out) == [{"label": "as it is", "status": "kept", "reason": ""}]
    for form, start in (("table", "T\n"), ("markdown", "# Ablations"), ("csv", "grid,"), ("latex", "%"), ("json", "{")):
        shown = command("leaderboard", "--ablation", "out", "--format", form)
        assert shown.code == 0 and shown.out.startswith(start) and "as it is" in shown.out


def test_a_failed_cell_is_told_with_its_reason_and_exit_code_1(tmp_path, command, install):
    def behave(settings, samples):
        if settings["shift"]:
            raise ValueError("burst")

    install(behave)
    cells = "".join(f'[[cell]]\nlabel = "{n}"\nmethod = "still"\nset = {{ shift = {n} }}\n' for n in (1, 0))
    (tmp_path / "g.toml").write_text(TEXT + f'protocol = "{quick(tmp_path)}"\nobjects = ["{THINGS[0]}"]\n' + cells)
    outcome = command("ablate", "g.toml", "-o", "out", "--limit", 1, "--device", "cpu")
    assert outcome.code == 1 and "1 done, 0 kept, 1 failed" in outcome.err
    assert "failed: 1: " in outcome.err and "burst" in outcome.err and "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("ablate", "nothing", "-o", "out"), "grid 'nothing' is unknown"),
        (("leaderboard", "--per-object"), "want --ablation DIR"),
        (("leaderboard", "--ablation", "out"), "no ablation folder"),
        (("leaderboard", "--ablation", "out", "show"), "stands alone"),
        (("leaderboard", "--per-object", "show"), "put them behind the command"),
    ],
)
def test_misuse_is_told_in_a_line(command, words, told):
    outcome = command(*words)
    assert outcome.code == 2 and told in outcome.first and len(outcome.err.splitlines()) == 1


def test_a_data_set_that_is_not_at_hand_is_exit_code_3(command, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    outcome = command("ablate", grid_names()[0], "-o", "out")
    assert outcome.code == 3 and "data set 'open' is not at hand" in outcome.first
