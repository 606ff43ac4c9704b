"""What of a submission goes to the Hub: its four files, a card, and its results as the Hub reads them."""

from evaluation.checking import read_table
from evaluation.exporting import read_evaluation
from evaluation.leaderboard.documents import pipe_table
from evaluation.leaderboard.entries import Entry, read_entry
from evaluation.leaderboard.sheet import Cell, Sheet, header, images
from evaluation.leaderboard.text import clean, markdown, number
from evaluation.metrics import METRICS
from evaluation.scores import PER_IMAGE, SCORES
from wildhoi.errors import InputError
from wildhoi.files import sha256_file
from wildhoi.hub import repository
from wildhoi.hub.committing import Content
from wildhoi.hub.publishing import MADE
from wildhoi.hub.results import RESULTS_FILE, card_head, eval_results
from wildhoi.layout import CARD
from wildhoi.submission.folder import MANIFEST, PREDICTIONS, Submission

DIARY = "run.jsonl"
FILES = (MANIFEST, PREDICTIONS, SCORES, PER_IMAGE)


def prepare(submission: Submission, *, diary: bool = False, unofficial: bool = False) -> dict[str, Content]:
    """The files of a valid, scored submission by their names in a repository; nothing else of its folder.

    Args:
        submission: as `read_submission` gives it.
        diary: with the diary of the run that made it.
        unofficial: put scores that stand in no table among the results too.

    Raises:
        InputError: it is not scored, has changed since, a file of it is a link, or there is no diary.
    """
    folder = submission.path
    names = (*FILES, DIARY) if diary else FILES
    for name in names:
        if (folder / name).is_symlink():
            raise InputError(f"{folder / name}: is a link, and what it leads to is not published; put the file there")
        if not (folder / name).is_file():
            way = "leave --run-log out" if name == DIARY else f"`wildhoi evaluate {folder}` makes it"
            raise InputError(f"{folder}: no {name} in it; {way}")
    entry = read_entry(folder / SCORES, SCORES)
    if entry.sha256 != sha256_file(folder / PREDICTIONS):
        raise InputError(f"{folder}: its scores are of other predictions; `wildhoi evaluate {folder}` scores these")
    read_table(folder / PER_IMAGE)
    evaluation = read_evaluation(folder, unofficial=unofficial) if entry.official or unofficial else None
    datasets = [repository(submission.manifest.dataset)]
    made = {CARD: (card_head(datasets, evaluation) + _card(submission, entry)).encode()}
    if evaluation is not None:
        made[RESULTS_FILE] = eval_results(evaluation).encode()
    return {**{name: folder / name for name in names}, **made}


def _card(submission: Submission, entry: Entry) -> str:
    """The page below its head."""
    manifest = submission.manifest
    facts = {
        "authors": manifest.authors,
        "paper": manifest.paper,
        "code": manifest.code,
        "supervision": manifest.supervision,
        "inputs": ", ".join(manifest.inputs),
        "data": f"{entry.dataset} at {entry.revision}, split {entry.split}",
        "protocol": f"{entry.protocol}, hash {entry.protocol_hash}",
        "predictions": f"sha256 {entry.sha256}",
    }
    lines = [f"- {name}: {markdown(clean(text))}" for name, text in facts.items() if text]
    because = "; ".join(entry.unofficial_because) or "not marked official"
    unofficial = [] if entry.official else [f"**These scores are not official:** {markdown(clean(because))}."]
    parts = [
        MADE,
        f"# {markdown(clean(entry.method))}",
        "A submission to `wildhoi`, the benchmark for reconstructing a person and an object in 3D from one photo.",
        "\n".join(lines),
        *unofficial,
        pipe_table(_sheet(entry)),
        "Score it again, to the last bit: download it, then `wildhoi leaderboard check FOLDER`.",
    ]
    return "\n\n".join(parts) + "\n"


def _sheet(entry: Entry) -> Sheet:
    """Mean, median and interval of every headline metric."""
    rows = []
    for name in entry.headline:
        metric, cell = METRICS[name], entry.overall.metrics[name]
        between = "-" if cell.interval is None else " to ".join(number(end, metric.digits) for end in cell.interval)
        texts = (header(metric), number(cell.mean, metric.digits), between, number(cell.median, metric.digits))
        rows.append(tuple(map(Cell, (*texts, images(entry.overall.coverage)))))
    headers = ("Metric", "Mean", "95 % interval", "Median", "Images")
    return Sheet("", "", "", headers, (False, True, True, True, True), tuple(rows), ())
