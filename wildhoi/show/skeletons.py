"""Which keypoints are joined by lines: the left side as data, the right side by exchange."""

from dataclasses import dataclass
from itertools import pairwise

from wildhoi.mirror import BODY_EXCHANGE, OPENPOSE_EXCHANGE, WHOLEBODY_EXCHANGE

Lines = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Skeleton:
    """Lines between the numbers of a keypoint layout; `fine` ones are of the hands and the face."""

    left: Lines
    middle: Lines
    exchange: tuple[int, ...]
    fine_left: Lines = ()
    fine_middle: Lines = ()

    @property
    def right(self) -> Lines:
        """The left side's twins."""
        return self._twins(self.left)

    @property
    def fine_right(self) -> Lines:
        """The left hand's twins."""
        return self._twins(self.fine_left)

    def _twins(self, lines: Lines) -> Lines:
        return tuple((self.exchange[a], self.exchange[b]) for a, b in lines)


def _chain(*numbers: int) -> Lines:
    return tuple(pairwise(numbers))


def _range(first: int, last: int, *, closed: bool = False) -> Lines:
    return _chain(*range(first, last + 1), *((first,) if closed else ()))


SMPL = Skeleton(
    left=(*_chain(0, 1, 4, 7, 10), *_chain(9, 13, 16, 18, 20)),
    middle=_chain(0, 3, 6, 9, 12, 15),
    exchange=BODY_EXCHANGE,
)

OPENPOSE = Skeleton(
    left=(*_chain(1, 5, 6, 7), *_chain(8, 12, 13, 14, 19, 20), (14, 21), *_chain(0, 16, 18)),
    middle=_chain(0, 1, 8),
    exchange=OPENPOSE_EXCHANGE,
)

WHOLEBODY = Skeleton(
    left=(*_chain(5, 7, 9), *_chain(5, 11, 13, 15, 17, 18), (15, 19)),
    middle=((5, 6), (11, 12)),
    exchange=WHOLEBODY_EXCHANGE,
    fine_left=((9, 91), *(line for k in range(92, 112, 4) for line in ((91, k), *_range(k, k + 3)))),
    fine_middle=(
        *_range(23, 39), *_range(40, 44), *_range(45, 49), *_range(50, 53), *_range(54, 58),
        *_range(59, 64, closed=True), *_range(65, 70, closed=True), *_range(71, 82, closed=True),
        *_range(83, 90, closed=True),
    ),
)  # fmt: skip
"""Face points are counted from 23: jaw, brows, bridge, nostrils, eyes, outer lip, inner lip."""
