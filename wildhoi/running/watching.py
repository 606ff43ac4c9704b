"""What a run tells while it works."""

from collections.abc import Callable
from dataclasses import dataclass

from wildhoi.method import Moment


def _nobody(*_: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Watch:
    """Who listens to a run.

    Attributes:
        images: called with (images done, images) at the start and after every batch.
        moment: called with a batch's key and what the method tells of its work on it.
        say: called with a sentence for the user, such as that batches were made smaller.
    """

    images: Callable[[int, int], None] = _nobody
    moment: Callable[[str, Moment], None] = _nobody
    say: Callable[[str], None] = _nobody
