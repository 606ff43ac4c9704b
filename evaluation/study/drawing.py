"""Which images a study shows, on which side which method stands, and which images are shown twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evaluation.sampling import uniform_numbers
from wildhoi.errors import InputError

REPEATED = 0.1
"""Share of the images that are shown again with the sides exchanged."""
LEAST = 5
"""Images of a study that shows any of them twice."""

Method = Literal["A", "B"]


@dataclass(frozen=True)
class Candidate:
    """An image that both methods reconstructed; `video_id` names what was filmed together."""

    image_id: str
    object: str
    video_id: str


@dataclass(frozen=True)
class Trial:
    """A pair of sheets that a rater sees.

    Attributes:
        name: a number, which is all that the page knows.
        image_id: what is reconstructed.
        object: that the image shows.
        video_id: what was filmed together.
        left: the method on the left.
        repeats: the earlier trial of the same image with the sides exchanged; None for a first one.
    """

    name: str
    image_id: str
    object: str
    video_id: str
    left: Method
    repeats: str | None = None

    def method(self, side: Literal["left", "right"]) -> Method:
        """The method on a side."""
        return self.left if side == "left" else other(self.left)


@dataclass(frozen=True)
class Drawn:
    """The trials in two blocks: repeats stand in the second, what they repeat in the first."""

    first: tuple[Trial, ...]
    second: tuple[Trial, ...]

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All of them, in the order of their numbers."""
        return self.first + self.second


def other(method: Method) -> Method:
    """The method that is not this one."""
    return "B" if method == "A" else "A"


def draw_trials(candidates: Sequence[Candidate], count: int | None, ahead: Method, *key: str | int) -> Drawn:
    """Draw images evenly over objects, their sides evenly over left and right, and the order of the page.

    Args:
        candidates: the images there are, in any order.
        count: of images; None for all of them.
        ahead: the method that the drawing takes first, so that it does not depend on which is called A.
        key: keys the random streams; the same key draws the same study.

    Raises:
        InputError: fewer images than asked for, or none.
    """
    if not candidates or (count is not None and not 1 <= count <= len(candidates)):
        asked = "a study" if count is None else f"--images {count}"
        raise InputError(f"{asked}: both methods reconstructed {len(candidates)} of the images, want 1 to that many")
    chosen = _evenly(candidates, key)[:count]
    left = _sides(chosen, ahead, key)
    repeated = _shuffled(chosen, *key, "repeats")[: _repeats(len(chosen))]
    once = [c for c in _shuffled(chosen, *key, "blocks") if c not in repeated]
    half = (len(once) + 1) // 2
    width = max(3, len(str(len(chosen) + len(repeated))))
    first = _shuffled([*repeated, *once[:half]], *key, "first")
    second = _shuffled([*repeated, *once[half:]], *key, "second")
    names = {c.image_id: f"{n:0{width}d}" for n, c in enumerate(first, 1)}
    return Drawn(
        tuple(Trial(names[c.image_id], c.image_id, c.object, c.video_id, left[c.image_id]) for c in first),
        tuple(_later(c, f"{n:0{width}d}", names, left) for n, c in enumerate(second, len(first) + 1)),
    )


def _later(image: Candidate, name: str, names: dict[str, str], left: dict[str, Method]) -> Trial:
    """A trial of the second block: a repeat has its sides exchanged."""
    repeats, side = names.get(image.image_id), left[image.image_id]
    facts = (name, image.image_id, image.object, image.video_id)
    return Trial(*facts, side) if repeats is None else Trial(*facts, other(side), repeats)


def _repeats(images: int) -> int:
    return max(1, round(REPEATED * images)) if images >= LEAST else 0


def _shuffled(images: Sequence[Candidate], *key: str | int) -> list[Candidate]:
    """The images in an order that depends on the key alone."""
    ordered = sorted(images, key=lambda image: image.image_id)
    numbers = uniform_numbers(len(ordered), 1, "study", *key)[:, 0]
    return [image for _, image in sorted(zip(numbers, ordered, strict=True), key=lambda pair: pair[0])]


def _evenly(images: Sequence[Candidate], key: tuple[str | int, ...]) -> list[Candidate]:
    """The images in such an order that any first ones are spread over objects, and in each over videos."""
    turn: dict[tuple[str, str], int] = {}
    ranked = []
    for image in _shuffled(images, *key, "images"):
        place = (image.object, image.video_id)
        turn[place] = turn.get(place, -1) + 1
        ranked.append((turn[place], image))
    within: dict[str, int] = {}
    rounds = []
    for _, image in sorted(ranked, key=lambda pair: pair[0]):  # stable: the shuffled order within a turn
        within[image.object] = within.get(image.object, -1) + 1
        rounds.append((within[image.object], image))
    return [image for _, image in sorted(rounds, key=lambda pair: pair[0])]


def _sides(images: Sequence[Candidate], ahead: Method, key: tuple[str | int, ...]) -> dict[str, Method]:
    """The method on the left of each image: in turn within each object, so that both are there equally often."""
    ordered = sorted(_shuffled(images, *key, "sides"), key=lambda image: image.object)
    start = int(uniform_numbers(1, 1, "study", *key, "start")[0, 0] < 0.5)
    return {image.image_id: ahead if (n + start) % 2 else other(ahead) for n, image in enumerate(ordered)}
