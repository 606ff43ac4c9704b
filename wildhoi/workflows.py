"""What needs more than one part of the project: the demo."""

from collections.abc import Callable
from pathlib import Path

SAMPLE_SUBMISSIONS = Path(__file__).parent / "assets" / "sample_submissions"


def demo(out: Path, *, workers: int = 1, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Score the shipped sample submissions against the shipped sample data into `out`, one folder a method."""
    from evaluation.evaluate import Options, evaluate
    from evaluation.protocol import protocol_for
    from evaluation.scores import write_scores
    from wildhoi.dataset import find_data
    from wildhoi.submission.folder import read_submission

    data = find_data("open-sample")
    for folder in sorted(path for path in SAMPLE_SUBMISSIONS.iterdir() if path.is_dir()):
        tell = (lambda done, total, name=folder.name: progress(name, done, total)) if progress else None
        scores = evaluate(read_submission(folder), data, protocol_for(data.name), Options(workers=workers), tell)
        write_scores(out / folder.name, scores)
